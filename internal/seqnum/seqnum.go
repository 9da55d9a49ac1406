// Package seqnum compares numbers that wrap around: RTP sequence numbers and
// timestamps, VP8 picture ids (15 bits) and TL0PICIDX (8 bits).
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
