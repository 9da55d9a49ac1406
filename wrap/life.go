package wrap

import (
	"io"
	"sync"
	"sync/atomic"

	"github.com/mafalda-sfu/mafalda"
)

// A moment comes once. What is to happen after it waits without a goroutine.
type moment struct {
	ch   chan struct{} // closed by come; constant
	mu   sync.Mutex
	next []func() // guarded by mu
}

// come lets everything that waits for m go on, on the goroutine of the caller.
// Only the first call has an effect; the others return at once. It is called
// with no lock held.
func (m *moment) come() {
	m.mu.Lock()
	select {
	case <-m.ch:
		m.mu.Unlock()
		return
	default:
	}
	next := m.next
	m.next = nil
	close(m.ch)
	m.mu.Unlock()
	for _, f := range next {
		f()
	}
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

// How a Life ends.
const (
	open     int32 = iota
	byInner        // the close events of the inner object are relayed
	byParent       // a Closing emits them, and those of the inner object are not
)

// A Life is the part of a live object that implements [mafalda.Lifetime], but
// for Close. Its methods may be called by many goroutines at a time, Init excepted,
// and none waits. Every wrapper has one. A virtual object, which stands for several
// inner ones or for none, embeds one of its own and calls Init.
type Life struct {
	inner mafalda.Lifetime // nil for a virtual object; constant
	how   atomic.Int32
	born  moment // comes when the birth event has returned
	ended moment // comes after the last close event
}

// Init makes a Life of a virtual object. It is called before any other method.
func (l *Life) Init() {
	l.born.ch, l.ended.ch = make(chan struct{}), make(chan struct{})
}

// Closed implements [mafalda.Lifetime].
func (l *Life) Closed() bool {
	return l.how.Load() != open || l.inner != nil && l.inner.Closed()
}

// Done implements [mafalda.Lifetime].
func (l *Life) Done() <-chan struct{} { return l.ended.ch }

// OnEnd has f called once, after the last close event: at once if that is over.
// An object that was closed before anybody here met it has an end, but no close
// events.
func (l *Life) OnEnd(f func()) {
	if l.ended.then(f) {
		f()
	}
}

// Born says that the birth event was emitted: close events come after that.
// Of a wrapper this package does it, of a virtual object its owner. Only the
// first call has an effect.
func (l *Life) Born() { l.born.come() }

// relaying reports whether close events of the inner object count: not if a
// parent was faster.
func (l *Life) relaying() bool {
	return l.how.CompareAndSwap(open, byInner) || l.how.Load() == byInner
}

// A Closing closes wrappers and virtual objects as one tree, whatever inner
// objects they have: first everything is marked as closed, then Play closes the
// inner objects and emits the events in the order in which they were added.
// What the inner objects emit of it is not heard.
//
// The steps never wait. If the next one has to come after something that
// another goroutine emits just now (the birth of a child, or the close events
// of one that was closed a moment earlier), the rest is left to that goroutine.
//
// Everything but Play may be called with locks held, and has to be done under
// one lock by all Closings that can have an object in common. The zero Closing is
// ready for use, once, by one goroutine.
type Closing struct {
	inner []io.Closer
	steps []step
}

// A step does its part and reports true. If it has to wait it reports false,
// and resume is called later.
type step func(resume func()) bool

// Begin marks l as closed, and lets its birth event come first. If it is closed
// already Begin reports false, and what is added next comes after its end.
func (c *Closing) Begin(l *Life) bool {
	if !l.how.CompareAndSwap(open, byParent) {
		c.steps = append(c.steps, l.ended.then)
		return false
	}
	c.steps = append(c.steps, l.born.then)
	return true
}

// Emit adds an event; nil is none.
func (c *Closing) Emit(e *mafalda.Event[struct{}]) {
	if e != nil {
		c.Do(func() { e.Emit(struct{}{}) })
	}
}

// Do adds a call of f, which may take locks.
func (c *Closing) Do(f func()) {
	c.steps = append(c.steps, func(func()) bool {
		f()
		return true
	})
}

// End adds the end of l: its Done channel is closed.
func (c *Closing) End(l *Life) { c.Do(l.ended.come) }

// Inner adds an inner object that Play closes, in the order of these calls, before
// it emits anything. The CloseIn of a wrapper does that itself.
func (c *Closing) Inner(o io.Closer) { c.inner = append(c.inner, o) }

// Play closes the inner objects and emits the events. It is called once, with no
// lock held, and may return before what is left to other goroutines was emitted.
// The error is the first of the inner objects.
func (c *Closing) Play() error {
	var first error
	for _, o := range c.inner {
		if err := o.Close(); err != nil && first == nil {
			first = err
		}
	}
	play(c.steps)
	return first
}

func play(steps []step) {
	for i, s := range steps {
		if !s(func() { play(steps[i+1:]) }) {
			return
		}
	}
}
