package sctp

import "time"

const (
	// largeQueue is how many bytes may wait in streams, in fragments of any
	// size. What waits costs pion hundreds of bytes for each fragment.
	largeQueue = 256 << 10
	// smallChunk is when a fragment counts as small, in bytes.
	smallChunk = 128
	// maxSmall is how many small fragments are taken while more than largeQueue
	// waits.
	maxSmall = 1 << 16
	// maxShut is how many fragments are taken while our readers wait: fewer than
	// [maxEntries], at which pion gives up.
	maxShut = 8192
	// maxEntries is how many fragments pion keeps for a stream.
	maxEntries = 16384
)

// A window bounds what pion keeps of messages that nobody can take yet: they
// are incomplete, wait for another or for a slow listener. pion counts payload
// bytes only, and takes more than its window to fill gaps.
type window struct {
	size uint32 // as advertised at most

	queued uint32    // bytes that waited when we last told the peer
	full   time.Time // since when there is no room; zero: there is
	over   int       // bytes taken since
	small  int       // small fragments taken while queued > largeQueue
	shut   int       // fragments taken while readers wait
}

// told notes what we advertise.
func (w *window) told(credit uint32, now time.Time) {
	w.queued = w.size - min(credit, w.size)
	if w.queued <= largeQueue {
		w.small = 0
	}
	switch {
	case credit > 0:
		w.full, w.over = time.Time{}, 0
	case w.full.IsZero():
		w.full = now
	}
}

// admit reports whether pion may get a fragment of n bytes; holding says that
// readers wait. A fragment that it refuses is one that the network lost.
func (w *window) admit(n int, holding bool) bool {
	if !holding {
		w.shut = 0
	} else if w.shut++; w.shut > maxShut {
		return false
	}
	if n < smallChunk && w.queued > largeQueue {
		if w.small++; w.small > maxSmall {
			return false
		}
	}
	if !w.full.IsZero() {
		if w.over += n; w.over > int(w.size) {
			return false
		}
	}
	return true
}
