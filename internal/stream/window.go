package stream

// windowSize is how many numbers a window knows; a sequence accepts none that is
// later than maxMisorder.
const windowSize = 2048

// A window remembers which of the newest sequence numbers were used. The zero
// value remembers none.
type window struct {
	bits    [windowSize / 64]uint64 // by the low bits of the number
	newest  uint16
	started bool
}

// use takes note of seq and reports whether it was not used before. A number
// that is older than the window counts as used.
func (w *window) use(seq uint16) bool {
	if !w.started {
		w.started, w.newest = true, seq
	}
	switch ahead := int(int16(seq - w.newest)); {
	case ahead >= windowSize:
		clear(w.bits[:])
		w.newest = seq
	case ahead > 0:
		for ; w.newest != seq; w.newest++ {
			word, bit := place(w.newest + 1)
			w.bits[word] &^= bit
		}
	case ahead <= -windowSize:
		return false
	}
	word, bit := place(seq)
	if w.bits[word]&bit != 0 {
		return false
	}
	w.bits[word] |= bit
	return true
}

func place(seq uint16) (word int, bit uint64) {
	i := int(seq % windowSize)
	return i / 64, 1 << (i % 64)
}
