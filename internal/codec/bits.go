package codec

import "math/bits"

// A bitReader reads big-endian bit fields. Past the end it reads zeros and
// remembers that it did.
type bitReader struct {
	b    []byte
	at   int // bits read
	over bool
}

// read returns the next n bits, 32 at most.
func (r *bitReader) read(n int) uint32 {
	if n > 8*len(r.b)-r.at {
		r.over = true
		r.at = 8 * len(r.b)
		return 0
	}
	var v uint32
	for n > 0 {
		free := 8 - r.at%8
		take := min(n, free)
		part := r.b[r.at/8] >> (free - take) & (1<<take - 1)
		v = v<<take | uint32(part)
		r.at += take
		n -= take
	}
	return v
}

func (r *bitReader) flag() bool { return r.read(1) == 1 }

// readBelow returns a number below n, written in as many bits as n needs or one
// less (ns(n) of the AV1 bitstream specification, §4.10.7).
func (r *bitReader) readBelow(n uint32) uint32 {
	w := bits.Len32(n)
	if w == 0 {
		return 0
	}
	m := uint32(1)<<w - n
	v := r.read(w - 1)
	if v < m {
		return v
	}
	return v<<1 - m + r.read(1)
}
