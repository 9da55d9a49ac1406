// Package twcc tells a sender which of its packets arrived and when, by
// transport-wide congestion control feedback
// (draft-holmer-rmcat-transport-wide-cc-extensions-01).
//
// A [Recorder] takes the transport-wide sequence number of each packet and
// writes the feedback of all that came since the last one. Which packets are
// reported, and repeated after a late one, is as in mediasoup's
// TransportCongestionControlServer.
package twcc

import (
	"slices"
	"time"
	"unsafe"

	"github.com/mafalda-sfu/mafalda/internal/prefetch"
)

const (
	// maxSize is the longest feedback, in bytes.
	maxSize = 1292
	// memory is how long a reported packet is remembered, to be reported again
	// together with one that comes late.
	memory = 500 * time.Millisecond
	// maxArrivals bounds the memory, and with it the work of a packet that comes
	// out of order: 80,000 packets/s for 100 ms. Beyond it the lowest numbers
	// are forgotten.
	maxArrivals = 1 << 13
	// minArrivals is the room to begin with.
	minArrivals = 64
	// lossWindow is how many feedbacks the loss is taken from.
	lossWindow = 24
)

// An arrival is one packet.
type arrival struct {
	seq int64         // extended
	at  time.Duration // of the Worker
}

// A Recorder remembers what arrived on one transport. Its memory is bounded,
// whatever sequence numbers come. Make it with [New].
type Recorder struct {
	started bool
	newest  int64 // highest sequence number
	start   int64 // where the next feedback begins
	ssrc    uint32

	// buf[head:] are the packets, ascending.
	buf  []arrival
	head int

	sent  bool
	count uint8 // of the next feedback
	enc   encoder

	lost, expected int // of the last feedback
	losses         [lossWindow]float32
	firstLoss      int // ring
	lossCount      int
}

// Prefetch asks for the memory beside the first fields of the Recorder that the
// next packet needs; PrefetchHead for those.
func (r *Recorder) Prefetch() {
	if n := len(r.buf); n > 0 {
		prefetch.Of(&r.buf[n-1])
	}
	if r.head < len(r.buf) {
		prefetch.Of(&r.buf[r.head])
	}
}

// PrefetchHead is described at Prefetch.
func (r *Recorder) PrefetchHead() { prefetch.Head(r, unsafe.Offsetof(r.sent)) }

// New returns a Recorder that has seen nothing.
func New() *Recorder { return &Recorder{} }

// Received takes note of a packet with that transport-wide sequence number. Of
// a duplicate the first arrival counts.
func (r *Recorder) Received(now time.Duration, wideSeq uint16, ssrc uint32) {
	r.ssrc = ssrc
	if !r.started {
		r.started = true
		r.newest, r.start = int64(wideSeq), int64(wideSeq)
	}
	seq := r.newest + int64(int16(wideSeq-uint16(r.newest)))
	r.forget(now, seq)
	if !r.insert(arrival{seq, now}) {
		return
	}
	r.newest = max(r.newest, seq)
	r.start = min(r.start, seq)
	if len(r.buf)-r.head > maxArrivals {
		r.head++
		r.start = max(r.start, r.buf[r.head].seq)
	}
}

// forget drops the first packets as far as they were reported, are older than
// seq and arrived long ago.
func (r *Recorder) forget(now time.Duration, seq int64) {
	limit := min(r.start, seq)
	for r.head < len(r.buf) && r.buf[r.head].seq < limit && now-r.buf[r.head].at >= memory {
		r.head++
	}
}

// insert returns false for a duplicate, and when the memory is full of higher
// numbers.
func (r *Recorder) insert(a arrival) bool {
	if r.head == len(r.buf) {
		r.buf, r.head = r.buf[:0], 0
	}
	i := len(r.buf)
	if i > r.head && r.buf[i-1].seq >= a.seq {
		var found bool
		if i, found = r.find(a.seq); found || i == r.head && len(r.buf)-r.head >= maxArrivals {
			return false
		}
	}
	if len(r.buf) == cap(r.buf) {
		// Move down what is left if that gains a quarter, else grow.
		if r.head > 0 && r.head >= cap(r.buf)/4 {
			r.buf = r.buf[:copy(r.buf, r.buf[r.head:])]
			i -= r.head
			r.head = 0
		} else {
			r.buf = slices.Grow(r.buf, max(minArrivals, len(r.buf)))
		}
	}
	r.buf = append(r.buf, arrival{})
	copy(r.buf[i+1:], r.buf[i:])
	r.buf[i] = a
	return true
}

// find returns where in buf seq is or would be.
func (r *Recorder) find(seq int64) (int, bool) {
	i, found := slices.BinarySearchFunc(r.buf[r.head:], seq, func(a arrival, seq int64) int {
		switch {
		case a.seq < seq:
			return -1
		case a.seq > seq:
			return 1
		}
		return 0
	})
	return r.head + i, found
}

// Next appends the next feedback to dst, at most 1,292 bytes, and counts it as
// sent. It is to be called every 100 ms until ok is false, which is when there
// is nothing new. The sender SSRC is 0; the media SSRC that of the last packet,
// in the first feedback 0.
func (r *Recorder) Next(dst []byte) (packet []byte, ok bool) {
	i, _ := r.find(r.start)
	if i == len(r.buf) {
		return dst, false
	}
	if r.buf[i].seq-r.start > maxGap {
		// Unlike mediasoup, which throws away what it wrote before such a gap
		// and so never reports it: Next ended there, and begins after it.
		r.start = r.buf[i].seq
	}
	ssrc := r.ssrc
	if !r.sent {
		ssrc = 0
	}
	e := &r.enc
	e.begin(r.start, r.buf[i].at)
	received := 0
	for ; i < len(r.buf) && e.add(r.buf[i].seq, r.buf[i].at); i++ {
		received++
	}
	r.expected = e.statuses
	r.lost = r.expected - received
	r.start = e.next
	packet = e.append(dst, ssrc, r.count)
	r.sent = true
	r.count++
	r.addLoss(float32(r.lost) / float32(r.expected))
	return packet, true
}

func (r *Recorder) addLoss(loss float32) {
	r.losses[(r.firstLoss+r.lossCount)%lossWindow] = loss
	if r.lossCount < lossWindow {
		r.lossCount++
	} else {
		r.firstLoss = (r.firstLoss + 1) % lossWindow
	}
}

// Last returns how many packets the last feedback reported, and how many of
// them as lost.
func (r *Recorder) Last() (lost, expected int) { return r.lost, r.expected }

// Loss returns the share of packets that were reported as lost, 0 to 1: the
// mean of the last 24 feedbacks, the newest of which counts 24 times the
// oldest.
func (r *Recorder) Loss() float64 {
	var sum, weights float64
	for i := range r.lossCount {
		weight := float64(i + 1)
		sum += weight * float64(r.losses[(r.firstLoss+i)%lossWindow])
		weights += weight
	}
	if weights == 0 {
		return 0
	}
	return sum / weights
}
