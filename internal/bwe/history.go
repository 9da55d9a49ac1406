package bwe

import "time"

const (
	minHistory = 1 << 6
	// maxHistory bounds the memory of sent packets: 1.6 s at 5,000 packets/s.
	// It is below half of the sequence numbers, so that each means one packet.
	maxHistory = 1 << 13
	// unusedPart is the part of a history that what is not acknowledged must leave, once
	// around, so that half of it is given up.
	unusedPart = 8
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

	// probed is a bit beside the others: the packet belongs to a cluster.
	probed sentState = 1 << 7
)

// A sent is one packet that left. It is small, since a burst touches the memory
// of every peer: all numbers but the size are the low bits of what the history,
// which is newer, makes whole again.
type sent struct {
	seq   uint32 // of the extended number; those begin at 1<<16
	at    uint32 // µs
	total uint32 // bytes sent up to here
	size  uint16
	probe uint8 // cluster, when probed
	state sentState
}

func (p *sent) is(s sentState) bool { return p.state&^probed == s }
func (p *sent) become(s sentState)  { p.state = p.state&probed | s }

// A history remembers the packets that were sent, by transport-wide sequence
// number.
type history struct {
	ring    []sent        // a power of two
	newest  int64         // extended; 0: none
	at      time.Duration // when the newest left
	cluster int           // the newest
	acked   int64         // highest that was reported as received; 0: none
	told    int64         // highest that was reported in any way; 0: none
	total   int64         // bytes ever sent
	atAck   int64         // of these, up to acked
}

// add remembers a packet. It returns false for a number that is not new.
func (h *history) add(now time.Duration, wideSeq uint16, size int) bool {
	seq := 1<<16 + int64(wideSeq)
	if h.newest != 0 {
		seq = h.newest + int64(int16(wideSeq-uint16(h.newest)))
		if seq <= h.newest {
			return false
		}
	}
	if h.ring == nil {
		h.ring = make([]sent, minHistory)
	}
	p := &h.ring[seq&int64(len(h.ring)-1)]
	if p.seq != 0 && h.seqOf(p) > h.acked && now-h.sentAt(p) < memory && len(h.ring) < maxHistory {
		h.resize(2 * len(h.ring))
		p = &h.ring[seq&int64(len(h.ring)-1)]
	}
	if n := int64(len(h.ring)); seq&(n-1) == 0 && n > minHistory && seq-max(h.acked, 1<<16) < n/unusedPart {
		h.resize(int(n / 2))
		p = &h.ring[seq&(n/2-1)]
	}
	h.newest, h.at = seq, now
	h.total += int64(size)
	*p = sent{seq: uint32(seq), at: micros(now), total: uint32(h.total), size: uint16(size)}
	return true
}

// mark says that the newest packet belongs to a cluster.
func (h *history) mark(cluster int) {
	p := h.find(h.newest)
	p.state |= probed
	p.probe = uint8(cluster)
	h.cluster = cluster
}

func micros(t time.Duration) uint32 { return uint32(t / time.Microsecond) }

// seqOf, sentAt, totalAt and clusterOf make numbers of p whole.
func (h *history) seqOf(p *sent) int64 { return h.newest - int64(uint32(h.newest)-p.seq) }

func (h *history) sentAt(p *sent) time.Duration {
	return h.at - time.Duration(micros(h.at)-p.at)*time.Microsecond
}

func (h *history) totalAt(p *sent) int64 { return h.total - int64(uint32(h.total)-p.total) }

// clusterOf returns the cluster of p, 0 for none.
func (h *history) clusterOf(p *sent) int {
	if p.state&probed == 0 {
		return 0
	}
	return h.cluster - int(uint8(h.cluster)-p.probe)
}

// resize makes room for n packets, the newest.
func (h *history) resize(n int) {
	old := h.ring
	h.ring = make([]sent, n)
	for seq := max(h.newest-int64(min(n, len(old)))+1, 1<<16); seq <= h.newest; seq++ {
		if p := &old[seq&int64(len(old)-1)]; p.seq == uint32(seq) {
			h.ring[seq&int64(n-1)] = *p
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
	if p := &h.ring[seq&int64(len(h.ring)-1)]; p.seq == uint32(seq) && p.seq != 0 {
		return p
	}
	return nil
}

// ack takes note that p arrived.
func (h *history) ack(p *sent) {
	p.become(received)
	if seq := h.seqOf(p); seq > h.acked {
		h.acked, h.atAck = seq, h.totalAt(p)
	}
}

// skip takes note that a feedback begins at seq. It returns the bytes of which
// no feedback spoke that came before: it was lost, or comes later.
func (h *history) skip(seq int64) (bytes int) {
	if h.told == 0 {
		return 0
	}
	for i := max(h.told+1, h.newest-int64(len(h.ring))+1); i < seq; i++ {
		if p := h.find(i); p != nil && p.is(unknown) {
			p.become(assumed)
			bytes += int(p.size)
		}
	}
	return bytes
}
