package mafalda

import (
	"slices"
	"sync/atomic"
)

// An Event delivers values of type T to the listeners registered with [Event.On].
// The zero Event is ready to use. It must not be copied after first use.
// Its methods may be called by many goroutines at a time.
type Event[T any] struct {
	listeners atomic.Pointer[[]*listener[T]] // replaced, never modified in place
}

type listener[T any] struct {
	f       func(T)
	stopped atomic.Bool
}

// On registers f and returns a function that removes it.
//
// Listeners are called one after the other, in the order of On, on the
// goroutine that emits and with no lock held. Two emissions may overlap, so f
// must be safe for concurrent use. Calling stop again does nothing. Once stop
// has returned no new call of f begins, but one that began earlier may still
// be running.
func (e *Event[T]) On(f func(T)) (stop func()) {
	l := &listener[T]{f: f}
	e.replace(func(old []*listener[T]) []*listener[T] { return append(slices.Clip(old), l) })
	return func() {
		if !l.stopped.Swap(true) {
			e.replace(func(old []*listener[T]) []*listener[T] { return remove(old, l) })
		}
	}
}

// replace puts what f makes of the list, a new one, in its place.
func (e *Event[T]) replace(f func(old []*listener[T]) []*listener[T]) {
	for {
		var old []*listener[T]
		p := e.listeners.Load()
		if p != nil {
			old = *p
		}
		if e.listeners.CompareAndSwap(p, new(f(old))) {
			return
		}
	}
}

// Emit calls every listener with v. All of them get the same v and must not
// modify what it refers to.
//
// Only the implementation of an object emits its events: to call Emit on an
// object that you don't implement is a bug.
func (e *Event[T]) Emit(v T) {
	p := e.listeners.Load()
	if p == nil {
		return
	}
	for _, l := range *p {
		if !l.stopped.Load() {
			l.f(v)
		}
	}
}

// EmitUnlessClosed is [Event.Emit] for an event of o that must not come after
// its end: a listener may close o, and then the remaining ones are not called.
func (e *Event[T]) EmitUnlessClosed(o interface{ Closed() bool }, v T) {
	p := e.listeners.Load()
	if p == nil {
		return
	}
	for _, l := range *p {
		if o.Closed() {
			return
		}
		if !l.stopped.Load() {
			l.f(v)
		}
	}
}

// Heard reports whether the event has a listener now. Implementations use it
// to leave out work that nobody would see.
func (e *Event[T]) Heard() bool {
	p := e.listeners.Load()
	return p != nil && len(*p) > 0
}
