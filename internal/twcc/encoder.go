package twcc

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/mafalda-sfu/mafalda/internal/rtcp"
)

const (
	tick        = 250 * time.Microsecond // of deltas
	ticksPerRef = 256                    // in 64 ms, the unit of the reference time

	headLen     = 20
	maxStatuses = math.MaxUint16 - 7
	maxGap      = 1<<13 - 1 // missing packets, and the longest run

	twoBitVector = 7 // symbols of a vector chunk
	oneBitVector = 14

	version2 = 0x80
	padded   = 0x20
)

// Symbols of a packet: also the length of its delta.
const (
	missing = 0
	small   = 1
	large   = 2
)

// A run collects the symbols of the chunk that comes next: any number of the
// same up to maxGap, or 14 without a large one, or 7.
type run struct {
	n        int
	same     bool // all are symbols[0]
	hasLarge bool
	symbols  [oneBitVector]uint8 // the first n, or 14 of the same
}

// fits reports whether one more symbol can join.
func (r *run) fits(s uint8) bool {
	switch {
	case r.n < twoBitVector:
		return true
	case r.same && r.symbols[0] == s:
		return r.n < maxGap
	case r.n < oneBitVector:
		return !r.hasLarge && s != large
	}
	return false
}

func (r *run) add(s uint8) {
	r.same = r.n == 0 || r.same && r.symbols[0] == s
	r.hasLarge = r.n > 0 && r.hasLarge || s == large
	if r.n < oneBitVector {
		r.symbols[r.n] = s
	}
	r.n++
}

// take returns a chunk of the first symbols and removes them. last says that
// none will follow, so that a vector may be left incomplete.
func (r *run) take(last bool) uint16 {
	switch {
	case r.same:
		c := uint16(r.symbols[0])<<13 | uint16(r.n)
		r.n = 0
		return c
	case r.n == oneBitVector || last && r.n > twoBitVector:
		c := uint16(1 << 15)
		for i, s := range r.symbols[:r.n] {
			c |= uint16(s) << (oneBitVector - 1 - i)
		}
		r.n = 0
		return c
	}
	c := uint16(3 << 14)
	n := min(r.n, twoBitVector)
	for i, s := range r.symbols[:n] {
		c |= uint16(s) << (2 * (twoBitVector - 1 - i))
	}
	rest := *r
	r.n = 0
	for _, s := range rest.symbols[n:rest.n] {
		r.add(s)
	}
	return c
}

// An encoder builds one feedback.
type encoder struct {
	base, next int64 // first number, and the one after the last
	reference  int64 // 64 ms
	last       int64 // ticks of the last received packet
	statuses   int

	run    run
	chunks int
	deltas int // bytes
	buf    struct {
		chunks [maxSize]byte
		deltas [maxSize]byte
	}
}

// ticks rounds to the nearest, so that errors do not add up.
func ticks(at time.Duration) int64 { return int64((at + tick/2) / tick) }

// begin starts a feedback at sequence number base; first is when the first
// packet arrived that it reports.
func (e *encoder) begin(base int64, first time.Duration) {
	e.base, e.next = base, base
	e.reference = ticks(first) / ticksPerRef
	e.last = e.reference * ticksPerRef
	e.statuses, e.chunks, e.deltas = 0, 0, 0
	e.run = run{}
}

// add reports a packet, seq ≥ next, and those before it as lost. It returns
// false, and nothing has changed, when that does not go into this feedback.
func (e *encoder) add(seq int64, at time.Duration) bool {
	gap := seq - e.next
	now := ticks(at)
	delta := now - e.last
	symbol := uint8(small)
	if delta < 0 || delta > math.MaxUint8 {
		symbol = large
	}
	if gap > maxGap || delta < math.MinInt16 || delta > math.MaxInt16 || e.statuses+int(gap)+1 > maxStatuses {
		return false
	}
	before, chunks := e.run, e.chunks
	for gap > 0 {
		if r := &e.run; r.same && r.n >= oneBitVector && r.symbols[0] == missing {
			n := min(int(gap), maxGap-r.n)
			r.n += n
			if gap -= int64(n); gap == 0 {
				break
			}
		}
		e.push(missing)
		gap--
	}
	e.push(symbol)
	size := headLen + 2*(e.chunks+1) + e.deltas + int(symbol)
	if (size+3)&^3 > maxSize {
		e.run, e.chunks = before, chunks
		return false
	}
	if symbol == small {
		e.buf.deltas[e.deltas] = uint8(delta)
	} else {
		binary.BigEndian.PutUint16(e.buf.deltas[e.deltas:], uint16(delta))
	}
	e.deltas += int(symbol)
	e.statuses += int(seq - e.next + 1)
	e.next = seq + 1
	e.last = now
	return true
}

// push adds one symbol. It writes at most one chunk: what is left of a run fits
// with any symbol.
func (e *encoder) push(s uint8) {
	if !e.run.fits(s) {
		binary.BigEndian.PutUint16(e.buf.chunks[2*e.chunks:], e.run.take(false))
		e.chunks++
	}
	e.run.add(s)
}

// append writes the feedback.
func (e *encoder) append(dst []byte, ssrc uint32, count uint8) []byte {
	if e.run.n > 0 {
		binary.BigEndian.PutUint16(e.buf.chunks[2*e.chunks:], e.run.take(true))
		e.chunks++
	}
	size := headLen + 2*e.chunks + e.deltas
	pad := -size & 3
	first := uint8(version2 | rtcp.FormatTransportCC)
	if pad > 0 {
		first |= padded
	}
	dst = append(dst, first, rtcp.TypeRTPFB)
	dst = binary.BigEndian.AppendUint16(dst, uint16((size+pad)/4-1))
	dst = binary.BigEndian.AppendUint32(dst, 0)
	dst = binary.BigEndian.AppendUint32(dst, ssrc)
	dst = binary.BigEndian.AppendUint16(dst, uint16(e.base))
	dst = binary.BigEndian.AppendUint16(dst, uint16(e.statuses))
	dst = binary.BigEndian.AppendUint32(dst, uint32(e.reference)<<8|uint32(count))
	dst = append(dst, e.buf.chunks[:2*e.chunks]...)
	dst = append(dst, e.buf.deltas[:e.deltas]...)
	for i := range pad {
		if i == pad-1 {
			dst = append(dst, uint8(pad))
		} else {
			dst = append(dst, 0)
		}
	}
	return dst
}
