package engine

import "sync/atomic"

const (
	maxBacklog = 16 << 20       // bytes of messages that wait in one Worker
	lowBacklog = maxBacklog / 2 // when more are taken again
)

// A backlog counts the bytes of data messages that wait for the loop or for
// listeners. Messages are never dropped for a listener that is slow: instead
// nobody may send more, and SCTP stops reading.
type backlog struct {
	n       atomic.Int64
	stopped atomic.Bool // somebody waits for drained
	drained func()      // called when few wait again; constant after Start
}

func (b *backlog) add(n int) { b.n.Add(int64(n)) }

// full reports whether no more messages are to be taken.
func (b *backlog) full() bool { return b.n.Load() > maxBacklog }

// stop asks for a call of drained, which then comes once.
func (b *backlog) stop() {
	b.stopped.Store(true)
	if b.n.Load() <= lowBacklog { // it drained meanwhile, unseen
		b.wake()
	}
}

func (b *backlog) sub(n int) {
	if b.n.Add(-int64(n)) <= lowBacklog && b.stopped.Load() {
		b.wake()
	}
}

func (b *backlog) wake() {
	if b.stopped.Swap(false) && b.drained != nil {
		b.drained()
	}
}
