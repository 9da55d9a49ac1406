package sctp

const (
	// maxAhead is how far a TSN may be ahead: beyond, pion refuses it.
	maxAhead = 40000
	// rememberedTSNs is how many of the last ones are told apart.
	rememberedTSNs = 1 << 16
)

// tsns remembers which TSNs came.
type tsns struct {
	last uint32
	bits []uint64 // made when the first comes
}

// init forgets all; next is the one that the peer sends first.
func (s *tsns) init(next uint32) {
	s.last = next - 1
	clear(s.bits)
}

// has reports whether a TSN came before, or is none that may come. Ahead says
// that it is later than all that did.
func (s *tsns) has(tsn uint32) (before, ahead bool) {
	d := int32(tsn - s.last)
	if d > 0 {
		return d > maxAhead, d <= maxAhead
	}
	if -d >= rememberedTSNs || s.bits == nil {
		return true, false
	}
	return s.bits[tsn/64%(rememberedTSNs/64)]&(1<<(tsn%64)) != 0, false
}

// add notes a TSN of which has says that it may come.
func (s *tsns) add(tsn uint32) {
	if s.bits == nil {
		s.bits = make([]uint64, rememberedTSNs/64)
	}
	for int32(tsn-s.last) > 0 {
		s.last++
		s.bits[s.last/64%(rememberedTSNs/64)] &^= 1 << (s.last % 64)
	}
	s.bits[tsn/64%(rememberedTSNs/64)] |= 1 << (tsn % 64)
}
