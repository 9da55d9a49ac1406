package srtp

// A window remembers which of the newest [Window] indices came (RFC 3711
// §3.3.2). The zero value remembers none.
type window struct {
	newest  uint64
	started bool
	bits    [Window / 64]uint64 // by the low bits of the index
}

// fresh reports whether an index has not come and is not older than the window.
func (w *window) fresh(index uint64) bool {
	switch {
	case !w.started || index > w.newest:
		return true
	case w.newest-index >= Window:
		return false
	}
	word, bit := w.place(index)
	return *word&bit == 0
}

// accept takes note of a fresh index.
func (w *window) accept(index uint64) {
	switch {
	case !w.started || index > w.newest && index-w.newest >= Window:
		clear(w.bits[:])
		w.started, w.newest = true, index
	case index > w.newest:
		for w.newest != index {
			w.newest++
			word, bit := w.place(w.newest)
			*word &^= bit
		}
	}
	word, bit := w.place(index)
	*word |= bit
}

func (w *window) place(index uint64) (word *uint64, bit uint64) {
	i := index % Window
	return &w.bits[i/64], 1 << (i % 64)
}
