package mafalda

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"

	"github.com/mafalda-sfu/mafalda/internal/engine"
)

// A moment comes once. What is to happen after it waits without a goroutine.
type moment struct {
	mu   sync.Mutex
	next []func()      // guarded by mu
	ch   chan struct{} // guarded by mu; nil while nobody asked for it, closed by come
}

// past is the channel of moments that came before anybody asked for it.
var past = func() chan struct{} {
	ch := make(chan struct{})
	close(ch)
	return ch
}()

// come lets everything that waits for m go on, on the goroutine of the caller.
// It is called once, with no lock held.
func (m *moment) come() {
	m.mu.Lock()
	next := m.next
	m.next = nil
	if m.ch == nil {
		m.ch = past
	} else {
		close(m.ch)
	}
	m.mu.Unlock()
	for _, f := range next {
		f()
	}
}

// done returns a channel that is closed when m has come.
func (m *moment) done() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ch == nil {
		m.ch = make(chan struct{})
	}
	return m.ch
}

// then reports whether m has come. If not, f is called when it does.
func (m *moment) then(f func()) (now bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-m.ch:
		return true
	default:
		m.next = append(m.next, f)
		return false
	}
}

// A life is the part of a live object that implements [Lifetime], but for Close.
type life struct {
	closed atomic.Bool // set once, with the lock of the tree held
	born   moment      // comes when the birth event has returned, or will never be
	ended  moment      // comes after the last close event
}

// Closed implements [Lifetime].
func (l *life) Closed() bool { return l.closed.Load() }

// Done implements [Lifetime].
func (l *life) Done() <-chan struct{} { return l.ended.done() }

// appData implements [AppDataHolder].
type appData struct {
	mu sync.Mutex
	v  any // guarded by mu
}

// AppData implements [AppDataHolder].
func (a *appData) AppData() any {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.v
}

// SetAppData implements [AppDataHolder].
func (a *appData) SetAppData(v any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.v = v
}

// An object is what a Worker and everything in it have in common.
//
// All state of a Worker and of what is below it, but for what the engine has,
// is guarded by one lock, worker.mu. No event is emitted with it held.
type object struct {
	life
	appData
	// Constant after init.
	w    *worker
	kind string // as in Error.Object
	id   string
}

func (o *object) init(w *worker, kind, id string, data any) {
	o.w, o.kind, o.id, o.v = w, kind, id, data
}

func newID() string { return uuid.NewString() }

// ID returns the id of the object.
func (o *object) ID() string { return o.id }

func (o *object) base() *object { return o }

// openError returns what a method of a closed object returns, nil while it is open.
func (o *object) openError() error {
	switch {
	case o.w.closed.Load():
		return ErrWorkerClosed
	case o.closed.Load():
		return ErrClosed
	}
	return nil
}

// fail returns err as what the method op of o returns. An id that the engine
// does not know is taken for that of o. Whatever state is wrong on an o that is
// closed, that is the reason.
func (o *object) fail(op string, err error) error {
	err = classified(err)
	if closed := o.openError(); closed != nil && (errors.Is(err, ErrNotFound) || errors.Is(err, ErrInvalidState)) {
		err = closed
	} else if errors.Is(err, ErrNotFound) {
		err = ErrClosed
	}
	return &Error{Op: op, Object: o.kind, ID: o.id, Err: err}
}

// failArgument is fail for a method with another id as argument: that is what
// the engine does not know, unless o is closed.
func (o *object) failArgument(op string, err error) error {
	err = classified(err)
	if closed := o.openError(); closed != nil && (errors.Is(err, ErrNotFound) || errors.Is(err, ErrInvalidState)) {
		err = closed
	}
	return &Error{Op: op, Object: o.kind, ID: o.id, Err: err}
}

// A reason is an error of the engine in terms of this package.
type reason struct {
	text  string
	class error
}

func (r *reason) Error() string { return r.text }
func (r *reason) Unwrap() error { return r.class }

// classified returns err so that it matches one class of errors.go.
func classified(err error) error {
	if errors.Is(err, engine.ErrClosed) {
		return ErrWorkerClosed
	}
	for _, c := range []struct{ engine, ours error }{
		{engine.ErrInvalidArgument, ErrInvalidArgument},
		{engine.ErrInvalidState, ErrInvalidState},
		{engine.ErrNotFound, ErrNotFound},
		{engine.ErrUnavailable, ErrUnavailable},
	} {
		if errors.Is(err, c.engine) {
			return &reason{err.Error(), c.ours}
		}
	}
	for _, class := range []error{
		ErrInvalidArgument, ErrInvalidState, ErrNotFound, ErrUnavailable,
		errors.ErrUnsupported, context.Canceled, context.DeadlineExceeded,
	} {
		if errors.Is(err, class) {
			return err
		}
	}
	return &reason{err.Error(), ErrUnavailable}
}

// ask does the operation f for the method op of o.
func ask[R any](ctx context.Context, o *object, op string, f func(machine) (R, error)) (R, error) {
	r, notes, err := askNotes(ctx, o, f)
	if err != nil {
		return r, o.fail(op, err)
	}
	o.w.deliver(notes)
	return r, nil
}

// askNotes is ask without the mapping of errors; the caller delivers the notes.
func askNotes[R any](ctx context.Context, o *object, f func(machine) (R, error)) (R, []engine.Notification, error) {
	if err := o.openError(); err != nil {
		var none R
		return none, nil, err
	}
	var r R
	notes, err := o.w.back.do(ctx, func(m machine) (err error) {
		r, err = f(m)
		return err
	})
	return r, notes, err
}

// A closing is the closing of a part of a tree: what was marked as closed under
// the lock, and then has to be emitted without it.
//
// Its steps are played by the goroutine that called Close. They never wait: if
// the next one has to come after something that another goroutine emits just
// now, or a listener that is our caller (the birth event of a child; the close
// events of a child that was closed a moment earlier), what remains is left to
// that goroutine. Steps depend on births and on closings marked earlier only,
// so no two closings wait for each other.
type closing struct {
	steps         []step
	producers     []*producer // closed with it
	dataProducers []*dataProducer
}

// A step does its part and reports true. If it has to wait it reports false,
// and resume is called later.
type step func(resume func()) bool

func play(steps []step) {
	for i, s := range steps {
		if !s(func() { play(steps[i+1:]) }) {
			return
		}
	}
}

// begin marks l as closed and lets its birth event come first. If l is closed
// already it reports false, and what follows waits for the end of l.
func (c *closing) begin(l *life) bool {
	if l.closed.Swap(true) {
		c.steps = append(c.steps, l.ended.then)
		return false
	}
	c.steps = append(c.steps, l.born.then)
	return true
}

func (c *closing) emit(e *Event[struct{}]) {
	if e != nil {
		c.do(func() { e.Emit(struct{}{}) })
	}
}

func (c *closing) do(f func()) {
	c.steps = append(c.steps, func(func()) bool {
		f()
		return true
	})
}

// end ends l. Before, forgetLocked takes it from the lists of its parents, where
// it stayed so that their closing waits for its end.
func (c *closing) end(o *object, forgetLocked func()) {
	c.do(func() {
		o.w.mu.Lock()
		forgetLocked()
		o.w.mu.Unlock()
		o.ended.come()
	})
}

// forget takes v from a list of its parent, in a new array. A parent that is
// closed forgets all of its list when it ends, so that closing many is linear.
func forget[T comparable](parent *life, list *[]T, v T) {
	if !parent.closed.Load() {
		*list = remove(*list, v)
	}
}

// remove returns list without v, in a new array.
func remove[T comparable](list []T, v T) []T {
	return slices.DeleteFunc(slices.Clone(list), func(x T) bool { return x == v })
}

// open returns those of list that are open, as the interface that they implement.
func open[I any, T interface{ Closed() bool }](list []T) []I {
	out := make([]I, 0, len(list))
	for _, v := range list {
		if !v.Closed() {
			out = append(out, any(v).(I))
		}
	}
	return out
}

// A target gets notifications of the engine.
type target interface {
	base() *object
	// notify applies one and emits what it causes. It may be called by several
	// goroutines at a time, with no lock held.
	notify(n engine.Notification)
}

// A recency remembers the newest notification of each kind that an object gets,
// since two goroutines may bring them out of order.
type recency [noteKinds]uint64

// A noteKind is one of the kinds that objects of one type get.
type noteKind uint8

// Those of a transport, which gets the most.
const (
	noteICE noteKind = iota
	noteTuple
	noteDTLS
	noteRTCPTuple
	noteSCTP
	noteSCTPNegotiated
	noteKinds
)

// Those of a Producer or Consumer, and of their like for data.
const (
	noteScore noteKind = iota
	noteLayers
	noteOrientation
	notePause
)

// Those of an RTPObserver.
const (
	noteLevels noteKind = iota
	noteSpeaker
)

// fresh reports whether seq is newer than what came before it.
func (r *recency) fresh(k noteKind, seq uint64) bool {
	if seq <= r[k] {
		return false
	}
	r[k] = seq
	return true
}
