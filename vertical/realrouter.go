package vertical

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/mafalda-sfu/mafalda"
)

// A realRouter is what a virtual Router has on one real Worker.
type realRouter struct {
	// Constant after its constructor.
	r *router
	w *realWorker

	ready chan struct{} // closed when it was created or could not be

	// Constant once ready is closed.
	inner mafalda.Router
	err   error

	// Guarded by s.mu.
	uses int         // Transports and RTPObservers
	idle *time.Timer // until it is closed, while it has no uses
	over bool        // it is closing

	forgotten bool // it has ended

	changing sync.Mutex // held while inner gets other codecs, so that no listener runs

	// Written with changing and s.mu held, in this order; read with one of them.
	era  era   // whose codecs it has
	turn *turn // of those codecs

	// Guarded by s.mu.
	eras      []era // those it may have had since the first of producing began, the newest last
	producing int   // how many Producers are being made
}

// attempts is how many real Workers may die under one call.
const attempts = 3

// enter chooses a real Router of r for a Transport or an RTPObserver: one on the
// real Worker only, if that is not nil. The caller has a use of it then, which it
// gives back with leave.
func (r *router) enter(ctx context.Context, only *realWorker) (*realRouter, error) {
	for i := 0; ; i++ {
		x, err := r.w.place(ctx, func(x *realWorker) bool { return r.reals[x] != nil }, only)
		if err != nil {
			return nil, err
		}
		rr, err := r.on(x)
		if err != nil {
			r.w.leave(x)
			return nil, err
		}
		select {
		case <-rr.ready:
		case <-ctx.Done():
			rr.leave()
			return nil, ctx.Err()
		}
		if rr.err == nil {
			return rr, nil
		}
		rr.leave()
		if err := rr.again(rr.err, i); err != nil {
			return nil, cause(err)
		}
	}
}

// again returns nil if a call that got err, the (i+1)th time, can be tried on
// another real Router, since the real Worker has died or rr was closed. It sees to
// it that nothing is placed there any more: the close events may be under way.
func (rr *realRouter) again(err error, i int) error {
	died := rr.w.died(err)
	if rr.r.Closed() || !died && !(errors.Is(err, mafalda.ErrClosed) && rr.inner != nil && rr.inner.Closed()) {
		return err
	}
	rr.gone()
	return exhausted(i)
}

// exhausted returns the error of a call under which i+1 real Workers have died, nil
// if it can be tried once more.
func exhausted(i int) error {
	if i < attempts {
		return nil
	}
	return fmt.Errorf("%d Workers in a row have died: %w", i+1, mafalda.ErrUnavailable)
}

// alive asks rr whether it is there.
func (rr *realRouter) alive(ctx context.Context) bool {
	_, err := rr.inner.Dump(ctx)
	return !errors.Is(err, mafalda.ErrClosed)
}

// on returns the real Router of r on x, where the caller has a use, and one more
// use of it.
func (r *router) on(x *realWorker) (*realRouter, error) {
	s := r.w.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := r.openError(); err != nil {
		return nil, err
	}
	rr := r.reals[x]
	if rr == nil {
		rr = &realRouter{r: r, w: x, ready: make(chan struct{}), era: r.nowLocked(), eras: []era{r.nowLocked()}, turn: new(turn)}
		r.reals[x] = rr
		x.routers++
		go rr.create(mafalda.RouterOptions{MediaCodecs: cloneCodecs(r.codecs)}) // ends when it is created
	}
	rr.uses++
	if rr.idle != nil {
		rr.idle.Stop()
		rr.idle = nil
	}
	return rr, nil
}

func (rr *realRouter) create(o mafalda.RouterOptions) {
	rr.inner, rr.err = something(rr.w.inner.CreateRouter(context.Background(), o))
	if rr.err != nil {
		rr.inner = nil // not a nil pointer in an interface
		rr.gone()
		close(rr.ready)
		return
	}
	rr.inner.Observer().NewTransport.On(rr.r.newTransport)
	rr.inner.Observer().NewRTPObserver.On(rr.r.newRTPObserver)
	rr.inner.Observer().Close.On(func(struct{}) { rr.gone() })
	rr.open()
	if rr.inner.Closed() { // perhaps before that
		rr.gone()
		return
	}
	if rr.r.Closed() || rr.isOver() {
		_ = rr.Close() // nothing can be done about it
		return
	}
	rr.r.w.s.events.NewRouter.Emit(NewRouter{Router: rr.r, WorkerID: rr.w.inner.ID()})
}

// isOver reports whether everybody who wanted rr gave up.
func (rr *realRouter) isOver() bool {
	s := rr.r.w.s
	s.mu.Lock()
	defer s.mu.Unlock()
	return rr.over
}

// leave gives back a use.
func (rr *realRouter) leave() {
	s := rr.r.w.s
	s.mu.Lock()
	rr.uses--
	rr.restLocked()
	s.mu.Unlock()
	rr.r.w.leave(rr.w)
}

// restLocked has rr closed soon if nothing is there.
func (rr *realRouter) restLocked() {
	if rr.uses > 0 || rr.over || rr.idle != nil {
		return
	}
	s := rr.r.w.s
	rr.idle = s.later(func() {
		s.mu.Lock()
		rr.idle = nil
		if rr.uses > 0 || rr.over {
			s.mu.Unlock()
			return
		}
		rr.overLocked()
		s.mu.Unlock()
		_ = rr.Close() // nothing can be done about it
	})
}

// overLocked sees to it that nothing goes there any more.
func (rr *realRouter) overLocked() {
	rr.over = true
	if rr.r.reals[rr.w] == rr {
		delete(rr.r.reals, rr.w)
	}
	if rr.idle != nil {
		rr.idle.Stop()
		rr.idle = nil
	}
}

// Close closes the real Router; one that is being created closes itself.
func (rr *realRouter) Close() error {
	select {
	case <-rr.ready:
		if rr.inner != nil {
			return rr.inner.Close()
		}
	default:
	}
	return nil
}

// gone forgets rr, which has ended or was never there.
func (rr *realRouter) gone() {
	s := rr.r.w.s
	s.mu.Lock()
	defer s.mu.Unlock()
	rr.overLocked()
	if !rr.forgotten {
		rr.forgotten = true
		rr.w.routers--
		rr.w.restLocked()
	}
}
