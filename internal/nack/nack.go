// Package nack decides which packets of a received RTP stream to ask for again.
//
// A [Generator] watches sequence numbers. A gap becomes a list of missing
// packets; each is requested for the first time when it has been missing for
// the send delay, again whenever a round trip has passed without an answer,
// and is given up after ten requests. A list that would grow past 1,000
// entries is cut at a key frame, and when that does not help it is dropped in
// favour of a request for a new key frame.
//
// The rules and constants are those of mediasoup's NackGenerator, the observed
// times those of its worker: with a round trip unknown the second request goes
// out 100 ms after the first, each further one 120 ms later.
package nack

import (
	"slices"
	"time"
)

const (
	// interval is the period of the timer that repeats requests. It runs only
	// while packets are missing.
	interval = 40 * time.Millisecond
	// defaultRTT stands for a round trip time that is not known.
	defaultRTT = 100 * time.Millisecond
	// maxAge is how far behind the newest packet, in sequence numbers, a
	// missing packet or a key frame is remembered.
	maxAge = 10_000
	// maxMissing is the longest list of missing packets.
	maxMissing = 1000
	// maxRequests is how often one packet is asked for.
	maxRequests = 10
	// maxKeyFrames bounds the memory of key frames. Only the oldest one inside
	// the list of missing packets matters.
	maxKeyFrames = 64
)

// missing is one packet that has not arrived.
type missing struct {
	seq      int64
	created  time.Duration
	sent     time.Duration // last request, meaningful when requests > 0
	requests uint8
}

// A Generator makes the NACKs of one stream. Make it with [New].
type Generator struct {
	// Constant after New.
	delay time.Duration

	rtt     time.Duration // 0: unknown
	started bool
	last    int64     // newest sequence number, extended
	list    []missing // ascending
	keys    []int64   // first packets of key frames, ascending

	armed    bool
	deadline time.Duration

	pending      []uint16
	drained      bool // pending was handed out and may be overwritten
	needKeyFrame bool
}

// New returns a Generator that asks for a packet once it has been missing for
// sendDelay. mediasoup uses 10 ms, which forgives small reordering.
func New(sendDelay time.Duration) *Generator {
	return &Generator{delay: sendDelay}
}

// SetRTT sets the round trip time to the sender; 0 means unknown, for which
// 100 ms is assumed.
func (g *Generator) SetRTT(rtt time.Duration) { g.rtt = rtt }

// Received takes note of a packet of the media stream. keyFrame says that it
// begins a key frame, recovered that it came by retransmission (RTX).
//
// It reports whether the packet repairs something: it was listed as missing,
// or it is a recovered packet newer than all others. A recovered packet for
// which it returns false is a duplicate. Afterwards ask [Generator.Pending]
// and [Generator.NeedKeyFrame].
func (g *Generator) Received(now time.Duration, seq uint16, keyFrame, recovered bool) bool {
	if !g.started {
		g.started = true
		g.last = int64(seq)
		if keyFrame {
			g.addKeyFrame(g.last)
		}
		return false
	}
	ext := g.extend(seq)
	if ext == g.last {
		return false
	}
	if ext < g.last {
		i, found := g.find(ext)
		if !found {
			return false
		}
		g.list = slices.Delete(g.list, i, i+1)
		g.rearm(now)
		return true
	}
	if keyFrame {
		g.addKeyFrame(ext)
	}
	g.addMissing(now, g.last+1, ext)
	g.last = ext
	g.request(now, false)
	g.rearm(now)
	return recovered
}

// Tick repeats requests when the time of [Generator.Deadline] has come and
// does nothing before.
func (g *Generator) Tick(now time.Duration) {
	if !g.armed || now < g.deadline {
		return
	}
	g.armed = false
	g.request(now, true)
	// From when it was due, so that delays don't add up.
	if now-g.deadline < interval {
		now = g.deadline
	}
	g.rearm(now)
}

// Deadline returns when to call [Generator.Tick]; ok is false while nothing is
// missing.
func (g *Generator) Deadline() (at time.Duration, ok bool) { return g.deadline, g.armed }

// Pending returns the sequence numbers to ask for now, oldest first, and
// forgets them. They belong into one NACK. The slice is valid until the next
// call of Received or Tick.
func (g *Generator) Pending() []uint16 {
	if g.drained {
		return nil
	}
	g.drained = true
	return g.pending
}

// NeedKeyFrame reports, once, that so much is missing that only a key frame
// helps.
func (g *Generator) NeedKeyFrame() bool {
	need := g.needKeyFrame
	g.needKeyFrame = false
	return need
}

// Missing returns how many packets are on the list.
func (g *Generator) Missing() int { return len(g.list) }

// Reset forgets the stream, as pausing its producer does. The round trip time
// stays.
func (g *Generator) Reset() {
	g.started = false
	g.list = g.list[:0]
	g.keys = g.keys[:0]
	g.pending = g.pending[:0]
	g.armed = false
	g.needKeyFrame = false
}

// extend widens seq to the number nearest to the newest one; at half the range
// the numerically larger is the newer.
func (g *Generator) extend(seq uint16) int64 {
	last := uint16(g.last)
	d := int64(int16(seq - last))
	if d == -1<<15 && seq > last {
		d = 1 << 15
	}
	return g.last + d
}

func (g *Generator) find(ext int64) (int, bool) {
	return slices.BinarySearchFunc(g.list, ext, func(m missing, ext int64) int {
		switch {
		case m.seq < ext:
			return -1
		case m.seq > ext:
			return 1
		}
		return 0
	})
}

// addKeyFrame remembers a key frame, and forgets those that are of no use any
// more: because of age, and because nothing is missing from before them.
func (g *Generator) addKeyFrame(ext int64) {
	first := ext
	if len(g.list) > 0 {
		first = g.list[0].seq
	}
	old := 0
	for old < len(g.keys) && (g.keys[old] <= first || g.keys[old] < ext-maxAge || len(g.keys)-old >= maxKeyFrames) {
		old++
	}
	g.keys = append(slices.Delete(g.keys, 0, old), ext)
}

// addMissing lists the packets from first to before end.
func (g *Generator) addMissing(now time.Duration, first, end int64) {
	if first == end {
		return
	}
	g.dropOlder(end - maxAge)
	n := int(end - first)
	for len(g.list)+n > maxMissing && g.dropToKeyFrame() {
	}
	if len(g.list)+n > maxMissing {
		g.list = g.list[:0]
		g.needKeyFrame = true
		return
	}
	for seq := first; seq < end; seq++ {
		g.list = append(g.list, missing{seq: seq, created: now})
	}
}

// dropOlder unlists what is older than ext and reports whether there was any.
func (g *Generator) dropOlder(ext int64) bool {
	i, _ := g.find(ext)
	g.list = slices.Delete(g.list, 0, i)
	return i > 0
}

// dropToKeyFrame unlists what precedes the oldest key frame that has anything
// before it, and reports whether there is one.
func (g *Generator) dropToKeyFrame() bool {
	for i, key := range g.keys {
		if g.dropOlder(key) {
			g.keys = slices.Delete(g.keys, 0, i)
			return true
		}
	}
	g.keys = g.keys[:0]
	return false
}

// request moves what is due to the pending requests: on a packet only what was
// never asked for, on the timer also what got no answer for one round trip.
func (g *Generator) request(now time.Duration, again bool) {
	if g.drained {
		g.pending = g.pending[:0]
		g.drained = false
	}
	rtt := g.rtt
	if rtt <= 0 {
		rtt = defaultRTT
	}
	// What was never asked for stands at the end, because the list is in order
	// of age.
	first := 0
	if !again {
		for first = len(g.list); first > 0 && g.list[first-1].requests == 0; first-- {
		}
	}
	kept := g.list[:first]
	for _, m := range g.list[first:] {
		due := m.requests == 0 || again && now-m.sent >= rtt
		if due && now-m.created >= g.delay {
			g.pending = append(g.pending, uint16(m.seq))
			m.sent = now
			m.requests++
			if m.requests >= maxRequests {
				continue
			}
		}
		kept = append(kept, m)
	}
	g.list = kept
}

// rearm runs the timer while something is missing.
func (g *Generator) rearm(now time.Duration) {
	switch {
	case len(g.list) == 0:
		g.armed = false
	case !g.armed:
		g.armed = true
		g.deadline = now + interval
	}
}
