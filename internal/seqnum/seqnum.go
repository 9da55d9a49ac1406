// Package seqnum compares and unwraps numbers that wrap around: RTP sequence
// numbers and timestamps, VP8 picture ids (15 bits) and TL0PICIDX (8 bits).
//
// The order is that of RFC 1982. Where the RFC leaves it open, at a distance of
// exactly half the range, the numerically larger number is the newer one, so
// that of two different numbers one is always newer.
package seqnum

// Newer16 reports whether a comes after b.
func Newer16(a, b uint16) bool {
	d := a - b
	return d != 0 && (d < 1<<15 || d == 1<<15 && a > b)
}

// Newer32 reports whether a comes after b.
func Newer32(a, b uint32) bool {
	d := a - b
	return d != 0 && (d < 1<<31 || d == 1<<31 && a > b)
}

// Newer reports whether a comes after b in a space of the given number of bits,
// 1 up to the size of T. Higher bits of a and b are ignored.
func Newer[T uint8 | uint16 | uint32](a, b T, bits int) bool {
	mask := T(1)<<bits - 1
	half := T(1) << (bits - 1)
	d := (a - b) & mask
	return d != 0 && (d < half || d == half && a&mask > b&mask)
}

// An Unwrapper16 turns 16-bit numbers that wrap around into ones that don't.
// The first comes out as it is; each later one comes out next to its
// predecessor, before or after it, so that late numbers of the previous cycle
// are unwrapped into that cycle. Results may be negative.
// The zero value is ready for use.
type Unwrapper16 struct {
	last    int64
	started bool
}

// Unwrap returns v without wrap-around.
func (u *Unwrapper16) Unwrap(v uint16) int64 {
	if !u.started {
		u.started = true
		u.last = int64(v)
		return u.last
	}
	last := uint16(u.last)
	if Newer16(v, last) {
		u.last += int64(v - last)
	} else {
		u.last -= int64(last - v)
	}
	return u.last
}
