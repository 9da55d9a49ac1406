package dtls

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// A Limiter bounds how many handshakes compute at the same time, so that a
// flood of hellos takes its turn instead of all CPUs. It is for all Conns of a
// process, and safe for concurrent use.
//
// A handshake holds a turn while it works on a datagram: until it answers, or
// for [grace] after it asked for the next one. It waits for its peer without.
type Limiter struct {
	turns chan struct{}
	busy  atomic.Int64
}

// grace is how long an answer may be in the making while pion/dtls already
// reads on. It does so even if the answer is still being computed, and does
// not tell.
const grace = 2 * time.Millisecond

// NewLimiter returns a Limiter for n handshakes at a time; n = 0 means two for
// each CPU that Go uses.
func NewLimiter(n int) *Limiter {
	if n <= 0 {
		n = 2 * runtime.GOMAXPROCS(0)
	}
	return &Limiter{turns: make(chan struct{}, n)}
}

// Busy returns the time that all handshakes so far have computed.
func (l *Limiter) Busy() time.Duration { return time.Duration(l.busy.Load()) }

// A turn is the right of one handshake to compute.
type turn struct {
	limiter *Limiter // nil: no limit
	busy    *atomic.Int64

	mu    sync.Mutex
	over  bool          // guarded by mu; none is taken any more
	held  bool          // guarded by mu
	began time.Time     // guarded by mu
	ended chan struct{} // guarded by mu; closed when the turn held is given back
}

// take waits for a turn, but not longer than for one of the channels.
func (t *turn) take(closed, expired <-chan struct{}) bool {
	if t.limiter != nil {
		select {
		case t.limiter.turns <- struct{}{}:
		case <-closed:
			return false
		case <-expired:
			return false
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		if t.limiter != nil {
			<-t.limiter.turns
		}
		return false
	}
	t.held, t.began, t.ended = true, time.Now(), make(chan struct{})
	return true
}

// end gives the turn back, if held, and lets no other be taken: pion reads on
// for a moment, and might not come back to give one.
func (t *turn) end() {
	t.mu.Lock()
	t.over = true
	t.mu.Unlock()
	t.give()
}

// give returns the turn, if held, and counts the time until now as work.
func (t *turn) give() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.held {
		t.endLocked(time.Since(t.began))
	}
}

// settle returns the turn, if held, when an answer was sent or none came for a
// while; in the latter case the work ended at the call.
func (t *turn) settle(closed, expired <-chan struct{}) {
	t.mu.Lock()
	held, ended, work := t.held, t.ended, time.Since(t.began)
	t.mu.Unlock()
	if !held {
		return
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
	case <-closed:
	case <-expired:
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.held && t.ended == ended {
		t.endLocked(work)
	}
}

func (t *turn) endLocked(work time.Duration) {
	t.held = false
	close(t.ended)
	t.busy.Add(int64(work))
	if t.limiter != nil {
		t.limiter.busy.Add(int64(work))
		<-t.limiter.turns
	}
}
