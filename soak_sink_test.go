package mafalda_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/pion/rtp"

	"github.com/mafalda-sfu/mafalda"
)

// A sink checks what a Consumer sends.
type sink struct {
	guest    *guest
	source   *origin
	consumer mafalda.Consumer
	ssrc     uint32
	rtx      uint32 // 0: none
	nack     bool
	wide     uint8 // the header extension with the transport-wide number; 0: none

	// Owned by the meeting.
	paused, gone bool
	preferred    *mafalda.ConsumerLayers

	got atomic.Int64

	mu      sync.Mutex
	rng     *rand.Rand     // guarded by mu; not nil: it loses packets
	newest  int64          // guarded by mu; -1 before the first packet
	seen    [256]seen      // guarded by mu; by sequence number
	missing map[uint16]int // guarded by mu; how often they were asked for
	wrong   string         // guarded by mu; what was wrong first
}

// seen is a packet that came.
type seen struct {
	seq    int64 // plus 1: 0 is none
	stream uint32
	packet uint64
}

func newSink(g *guest, s *origin, c mafalda.Consumer) *sink {
	k := &sink{guest: g, source: s, consumer: c, newest: -1, missing: map[uint16]int{}}
	p := c.RTPParameters()
	k.ssrc = p.Encodings[0].SSRC
	if x := p.Encodings[0].RTX; x != nil {
		k.rtx = x.SSRC
	}
	for _, f := range p.Codecs[0].RTCPFeedback {
		k.nack = k.nack || f == mafalda.RTCPFeedback{Type: "nack"}
	}
	for _, e := range p.HeaderExtensions {
		if e.URI == mafalda.RTPHeaderExtensionTransportWideCC {
			k.wide = uint8(e.ID)
		}
	}
	return k
}

// fault is what was wrong first.
func (k *sink) fault() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.wrong
}

func (k *sink) wrongLocked(format string, args ...any) {
	if k.wrong == "" {
		k.wrong = fmt.Sprintf(format, args...)
	}
}

// take is given each packet of the Consumer.
func (k *sink) take(p *rtp.Packet) {
	k.mu.Lock()
	defer k.mu.Unlock()
	again := p.SSRC != k.ssrc
	seq, payload := p.SequenceNumber, p.Payload
	if again {
		if len(payload) < 2 {
			k.wrongLocked("an RTX packet of %d bytes", len(payload))
			return
		}
		seq, payload = binary.BigEndian.Uint16(payload), payload[2:]
	} else if k.rng != nil && k.rng.IntN(50) == 0 {
		return // lost
	}
	tag, stream, packet, ok := readMark(payload)
	if !ok || tag != k.source.tag {
		k.wrongLocked("packet %d of source %x, not %x: %x", seq, tag, k.source.tag, payload)
		return
	}
	if k.newest < 0 {
		k.newest = 1<<16 + int64(seq) - 1
	}
	n := k.newest + int64(int16(seq-uint16(k.newest)))
	if _, asked := k.missing[seq]; asked && n <= k.newest {
		delete(k.missing, seq)
		if again {
			k.guest.m.h.repaired.Add(1)
		}
	}
	k.placeLocked(n, stream, packet)
	for q := max(k.newest+1, n-32); k.nack && q < n; q++ {
		k.missing[uint16(q)] = 0
	}
	k.newest = max(k.newest, n)
	k.got.Add(1)
	k.guest.m.h.packets.Add(1)
}

// placeLocked checks that the packets of a stream are numbered in the order in
// which they were sent.
func (k *sink) placeLocked(n int64, stream uint32, packet uint64) {
	own := &k.seen[n&255]
	if own.seq == n+1 {
		if own.stream != stream || own.packet != packet {
			k.wrongLocked("number %d was packet %d of stream %d, now is packet %d of stream %d", n, own.packet, own.stream, packet, stream)
		}
		return
	}
	if n <= k.newest-255 {
		return
	}
	*own = seen{n + 1, stream, packet}
	for q := n - 1; q > n-255; q-- {
		if o := k.seen[q&255]; o.seq == q+1 && o.stream == stream {
			if o.packet >= packet {
				k.wrongLocked("stream %d: number %d is packet %d, number %d packet %d", stream, q, o.packet, n, packet)
			}
			break
		}
	}
	for q := n + 1; q <= k.newest; q++ {
		if o := k.seen[q&255]; o.seq == q+1 && o.stream == stream {
			if o.packet <= packet {
				k.wrongLocked("stream %d: number %d is packet %d, number %d packet %d", stream, n, packet, q, o.packet)
			}
			break
		}
	}
}

// asks returns what to ask for.
func (k *sink) asks() (lost []uint16) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for seq, times := range k.missing {
		if times == 4 {
			delete(k.missing, seq)
			continue
		}
		k.missing[seq]++
		lost = append(lost, seq)
	}
	return lost
}

// A dataSink checks what a DataConsumer sends.
type dataSink struct {
	guest    *guest
	source   *dataSource
	consumer mafalda.DataConsumer
	ordered  bool

	paused, gone bool // owned by the meeting

	got atomic.Int64

	mu    sync.Mutex
	last  uint64          // guarded by mu; the number of the newest, plus 1
	had   map[uint64]bool // guarded by mu; of those without order
	wrong string          // guarded by mu
}

func (k *dataSink) fault() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.wrong
}

func (k *dataSink) take(b []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	tag, _, n, ok := readMark(b)
	switch {
	case ok && tag == 0: // from DataConsumer.Send
	case !ok || tag != k.source.tag:
		k.wrong = fmt.Sprintf("a message of %x, not %x: %x", tag, k.source.tag, b)
	case len(b) != int(tag%300)+markLen:
		k.wrong = fmt.Sprintf("a message of %d bytes", len(b))
	case k.ordered && n < k.last:
		k.wrong = fmt.Sprintf("message %d after message %d", n, k.last-1)
	case !k.ordered && k.had[n]:
		k.wrong = fmt.Sprintf("message %d for the second time", n)
	default:
		k.last = n + 1
		if !k.ordered {
			k.had[n] = true
			delete(k.had, n-1000)
		}
		k.got.Add(1)
		k.guest.m.h.messages.Add(1)
	}
}
