package vertical

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/mafalda-sfu/mafalda"
)

// pipes are those of one Producer or DataProducer, by destination. They are
// guarded by s.mu.
type pipes map[*realRouter]*pipe

// A pipe brings what is produced on one real Router to another one.
type pipe struct {
	of       pipes
	from, to *realRouter
	born     era // in which the Producer was made; of no use for data

	ready chan struct{} // closed when it was made or could not be

	// Constant once ready is closed.
	id    string                 // of the far end
	media *mafalda.RTPParameters // of the far end; nil for data
	near  io.Closer
	err   error

	// Guarded by s.mu.
	uses int
	idle *time.Timer // until it is closed, while it has no uses
}

// An outlet is where something can be consumed: the Producer itself, or the far
// end of a pipe. Who is given one calls release when it does not need it any more.
type outlet struct {
	id   string // of the inner Producer or DataProducer
	pipe *pipe  // nil if there is none

	released atomic.Bool
}

// release gives o back. Only the first call has an effect.
func (o *outlet) release() {
	if o.pipe != nil && !o.released.Swap(true) {
		o.pipe.release()
	}
}

// reach returns how what o names, on the real Router from, can be consumed on to.
// If it needs a pipe and there is none it is made: ten who want it at once make
// one. born is the era of the Producer. Errors: [mafalda.ErrClosed] if to has
// ended, [mafalda.ErrNotFound] if from has.
func (of pipes) reach(ctx context.Context, from, to *realRouter, o mafalda.PipeToRouterOptions, born era) (*outlet, error) {
	if to == from {
		return &outlet{id: o.ProducerID + o.DataProducerID}, nil // one of them is empty
	}
	for i := 0; ; i++ {
		x := of.join(from, to, o, born)
		select {
		case <-x.ready:
		case <-ctx.Done():
			x.release()
			return nil, ctx.Err()
		}
		if x.err == nil {
			return &outlet{id: x.id, pipe: x}, nil
		}
		x.release()
		if err := x.reason(ctx); err != nil {
			return nil, err
		}
		if i == attempts {
			return nil, fmt.Errorf("%d pipes in a row were closed: %w", i+1, mafalda.ErrUnavailable)
		}
	}
}

// join returns the pipe to a real Router, which is made if there is none, and one
// more use of it.
func (of pipes) join(from, to *realRouter, o mafalda.PipeToRouterOptions, born era) *pipe {
	s := from.r.w.s
	s.mu.Lock()
	defer s.mu.Unlock()
	x := of[to]
	if x == nil {
		x = &pipe{of: of, from: from, to: to, born: born, ready: make(chan struct{})}
		of[to] = x
		s.pipesMade++
		go x.connect(o) // ends when it is connected
	}
	x.uses++
	if x.idle != nil {
		x.idle.Stop()
		x.idle = nil
	}
	return x
}

// reason returns why x could not be made, for who wants to consume at its far end:
// nil if something in between has ended, and another one may be made. The close
// events of what ended may be under way.
func (x *pipe) reason(ctx context.Context) error {
	switch {
	case !errors.Is(x.err, mafalda.ErrClosed):
		return cause(x.err)
	case !x.to.alive(ctx):
		return mafalda.ErrClosed
	case !x.from.alive(ctx):
		return fmt.Errorf("where it is produced has ended: %w", mafalda.ErrNotFound)
	}
	return nil
}

func (x *pipe) connect(o mafalda.PipeToRouterOptions) {
	defer close(x.ready)
	o.Router, o.KeepID = x.to.inner, new(false)
	var r mafalda.PipeToRouterResult
	pipe := func() (err error) {
		r, err = x.from.inner.PipeToRouter(context.Background(), o)
		return err
	}
	var err error
	if o.ProducerID != "" {
		err = x.to.during(context.Background(), x.born, pipe, func() {
			for _, end := range []io.Closer{r.PipeConsumer, r.PipeProducer} {
				if end != nil {
					_ = end.Close() // nothing can be done about it
				}
			}
		})
	} else {
		err = pipe()
	}
	if err == nil && (r.PipeProducer == nil || r.PipeConsumer == nil) && (r.PipeDataProducer == nil || r.PipeDataConsumer == nil) {
		err = fmt.Errorf("PipeToRouter returned no pipe: %w", mafalda.ErrUnavailable)
	}
	if err != nil {
		x.err = err
		x.forget()
		return
	}
	if far := r.PipeProducer; far != nil {
		x.id, x.near, x.media = far.ID(), r.PipeConsumer, new(far.RTPParameters())
		far.Observer().Close.On(func(struct{}) { x.forget() })
		if far.Closed() { // perhaps before that
			x.forget()
		}
		return
	}
	far := r.PipeDataProducer
	x.id, x.near = far.ID(), r.PipeDataConsumer
	far.Observer().Close.On(func(struct{}) { x.forget() })
	if far.Closed() {
		x.forget()
	}
}

// forget sees to it that nobody is given x any more.
func (x *pipe) forget() {
	s := x.from.r.w.s
	s.mu.Lock()
	defer s.mu.Unlock()
	x.forgetLocked()
}

func (x *pipe) forgetLocked() {
	if x.of[x.to] == x {
		delete(x.of, x.to)
	}
	if x.idle != nil {
		x.idle.Stop()
		x.idle = nil
	}
}

// release gives back a use. A pipe without uses is closed after a while.
func (x *pipe) release() {
	s := x.from.r.w.s
	s.mu.Lock()
	defer s.mu.Unlock()
	x.uses--
	if x.uses > 0 || x.of[x.to] != x || x.idle != nil {
		return
	}
	x.idle = s.later(func() {
		s.mu.Lock()
		x.idle = nil
		if x.uses > 0 || x.of[x.to] != x {
			s.mu.Unlock()
			return
		}
		x.forgetLocked()
		s.mu.Unlock()
		<-x.ready
		if x.near != nil {
			_ = x.near.Close() // and with it the far end
		}
	})
}
