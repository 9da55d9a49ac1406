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
	// maxBacklog is how many short messages may wait for their readers: fewer
	// than [maxEntries], at which pion gives up. From slowBacklog on the peer is
	// told that there is no room: what pion does for each grows with their number.
	maxBacklog  = 12288
	slowBacklog = 1024
	// maxEntries is how many fragments pion keeps for a stream.
	maxEntries = 16384
)

// A window bounds what pion keeps of messages that nobody can take yet: they
// are incomplete, wait for another or for a slow listener. pion counts payload
// bytes only, and takes more than its window to fill gaps.
type window struct {
	size uint32 // as advertised at most

	queued uint32    // bytes that waited when we last told the peer, less those taken since
	full   time.Time // since when there is no room; zero: there is
	over   int       // bytes received since
	small  int       // small fragments received while queued > largeQueue
	// backlog counts messages of one fragment that were received and not taken.
	backlog int
	zero    bool // the peer was told that there is no room
}

// told notes what pion is about to advertise, and returns what to advertise:
// when readers are behind, less than pion believes to have.
func (w *window) told(credit uint32, now time.Time) uint32 {
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
	if w.backlog > slowBacklog || w.small > maxSmall/2 {
		credit = 0
	}
	w.zero = credit == 0
	return credit
}

// took notes that a reader took n bytes. It returns what the peer should be
// told now; false if it can wait for the next acknowledgement. pion would leave
// it to the probes of the peer, which come up to a minute apart.
func (w *window) took(n int) (credit uint32, tell bool) {
	w.queued -= min(uint32(n), w.queued)
	w.full, w.over = time.Time{}, 0
	if n < mtu {
		w.backlog = max(w.backlog-1, 0)
	}
	if w.queued <= largeQueue {
		w.small = 0
	}
	if !w.zero || w.queued > w.size/2 || w.backlog > slowBacklog/2 || w.small > maxSmall/2 {
		return 0, false
	}
	w.zero = false
	return w.size - w.queued, true
}

// admit reports whether pion may get a fragment of n bytes; single says that it
// is a whole message that did not come before, ahead that it fills no gap. A
// fragment that is refused is one that the network lost.
func (w *window) admit(n int, single, ahead bool) bool {
	if single {
		if ahead && w.backlog > maxBacklog {
			return false
		}
		w.backlog++
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
