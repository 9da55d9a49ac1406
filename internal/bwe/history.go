package bwe

import "time"

const (
	minHistory = 1 << 8
	// maxHistory bounds the memory of sent packets: 1.6 s at 5,000 packets/s.
	// It is below half of the sequence numbers, so that each means one packet.
	maxHistory = 1 << 13
	// memory is how long a packet that is not acknowledged is worth a bigger
	// history.
	memory = 3 * time.Second
)

type sentState uint8

const (
	unknown  sentState = iota // nothing was reported
	lost                      // reported as missing
	received                  // reported as received
	assumed                   // the report on it was lost
)

// A sent is one packet that left.
type sent struct {
	seq     int64 // extended, from 1<<16 on; 0: no packet
	at      time.Duration
	total   int64 // bytes sent up to here
	size    int32
	cluster int32 // probe
	state   sentState
}

// A history remembers the packets that were sent, by transport-wide sequence
// number.
type history struct {
	ring   []sent // a power of two
	newest int64  // extended; 0: none
	acked  int64  // highest that was reported as received; 0: none
	told   int64  // highest that was reported in any way; 0: none
	total  int64  // bytes ever sent
	atAck  int64  // of these, up to acked
}

// add remembers a packet. It returns nil for a number that is not new.
func (h *history) add(now time.Duration, wideSeq uint16, size int) *sent {
	seq := 1<<16 + int64(wideSeq)
	if h.newest != 0 {
		seq = h.newest + int64(int16(wideSeq-uint16(h.newest)))
		if seq <= h.newest {
			return nil
		}
	}
	if h.ring == nil {
		h.ring = make([]sent, minHistory)
	}
	p := &h.ring[seq&int64(len(h.ring)-1)]
	if p.seq > h.acked && now-p.at < memory && len(h.ring) < maxHistory {
		h.grow()
		p = &h.ring[seq&int64(len(h.ring)-1)]
	}
	h.newest = seq
	h.total += int64(size)
	*p = sent{seq: seq, at: now, total: h.total, size: int32(size)}
	return p
}

func (h *history) grow() {
	old := h.ring
	h.ring = make([]sent, 2*len(old))
	for _, p := range old {
		if p.seq != 0 {
			h.ring[p.seq&int64(len(h.ring)-1)] = p
		}
	}
}

// extend returns the sequence number near the newest.
func (h *history) extend(wideSeq uint16) int64 {
	return h.newest + int64(int16(wideSeq-uint16(h.newest)))
}

// find returns the packet of an extended number, nil for one that was never
// sent or is forgotten.
func (h *history) find(seq int64) *sent {
	if seq <= 0 || len(h.ring) == 0 {
		return nil
	}
	if p := &h.ring[seq&int64(len(h.ring)-1)]; p.seq == seq {
		return p
	}
	return nil
}

// ack takes note that p arrived.
func (h *history) ack(p *sent) {
	p.state = received
	if p.seq > h.acked {
		h.acked, h.atAck = p.seq, p.total
	}
}

// skip takes note that a feedback begins at seq. It returns the bytes of which
// no feedback spoke that came before: it was lost, or comes later.
func (h *history) skip(seq int64) (bytes int) {
	if h.told == 0 {
		return 0
	}
	for i := max(h.told+1, h.newest-int64(len(h.ring))+1); i < seq; i++ {
		if p := h.find(i); p != nil && p.state == unknown {
			p.state = assumed
			bytes += int(p.size)
		}
	}
	return bytes
}

// inFlight returns the bytes of which nothing is known yet.
func (h *history) inFlight() int64 { return h.total - h.atAck }
