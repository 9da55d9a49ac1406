package wrap

import (
	"container/list"
	"sync"

	"github.com/mafalda-sfu/mafalda"
)

// A live is what all inner objects but the SFU are.
type live interface {
	mafalda.Lifetime
	mafalda.AppDataHolder
	ID() string
}

// An object is what the pass-throughs of all inner objects have in common.
type object[I live] struct {
	Life
	// Constant once the outer object is known.
	s     *Space
	outer any
	inner I
}

func (o *object[I]) init(s *Space, inner I) {
	o.Life.Init()
	o.Life.inner, o.s, o.inner = inner, s, inner
}

func (o *object[I]) life() *Life { return &o.Life }

// Inner returns the inner object.
func (o *object[I]) Inner() I { return o.inner }

// ID returns the id of the inner object.
func (o *object[I]) ID() string { return o.inner.ID() }

// AppData returns that of the inner object.
func (o *object[I]) AppData() any { return o.inner.AppData() }

// SetAppData sets that of the inner object.
func (o *object[I]) SetAppData(v any) { o.inner.SetAppData(v) }

// Close closes the inner object, whose events are relayed.
func (o *object[I]) Close() error { return o.fail(o.inner.Close()) }

// fail returns what a method of the outer object returns for err, which may be
// nil.
func (o *object[I]) fail(err error) error { return o.s.fail(o.outer, err) }

func (s *Space) fail(outer any, err error) error {
	if err == nil || s.hooks.Error == nil {
		return err
	}
	return s.hooks.Error(outer, err)
}

// event relays events of the inner object while it is open.
func event[T any](l *Life, from, to *mafalda.Event[T]) {
	from.On(func(v T) { to.EmitUnlessClosed(l, v) })
}

// report relays events that come while the inner object closes, too.
func report[T any](l *Life, from, to *mafalda.Event[T], outer func(T) T) {
	from.On(func(v T) {
		if l.how.Load() != byParent {
			to.Emit(outer(v))
		}
	})
}

// cause relays an event that says why the inner object is closed.
func cause[T any](l *Life, from, to *mafalda.Event[T]) {
	from.On(func(v T) {
		if l.relaying() {
			to.Emit(v)
		}
	})
}

// end relays the last event of the inner object.
func (s *Space) end(l *Life, from, to *mafalda.Event[struct{}]) {
	from.On(func(struct{}) {
		if l.relaying() {
			to.Emit(struct{}{})
			l.ended.come()
		}
		s.retire(l.inner, l)
	})
}

// birth relays the birth of a child, which becomes one of family, if that is not
// nil.
func birth[I mafalda.Lifetime](l *Life, from, to *mafalda.Event[I], outer func(I) I, family *children) {
	from.On(func(v I) {
		if l.how.Load() == byParent {
			return
		}
		o := outer(v)
		if family != nil {
			family.add(o)
		}
		to.Emit(o)
		bear(o)
	})
}

// bear says that the birth event of an outer object is over.
func bear(outer any) {
	if p, ok := outer.(interface{ life() *Life }); ok {
		p.life().Born()
	}
}

// met returns the outer object of a child that comes from a call, or err as the
// outer parent's.
func met[I any, O any](inner I, err error, outer func(I) O, fail func(error) error) (O, error) {
	if err != nil {
		var none O
		return none, fail(err)
	}
	o := outer(inner)
	bear(o) // it was told before the call returned
	return o, nil
}

// outers returns what stands for each of the inner objects and is open. They
// become part of family, if that is not nil.
func outers[I mafalda.Lifetime](inner []I, outer func(I) I, family *children) []I {
	out := make([]I, 0, len(inner))
	for _, v := range inner {
		o := outer(v)
		if o.Closed() {
			continue
		}
		if family != nil {
			family.add(o)
		}
		bear(o)
		out = append(out, o)
	}
	return out
}

// children are the outer objects of one kind below a pass-through that have not
// ended, in the order in which they were met.
type children struct {
	mu    sync.Mutex
	order list.List               // guarded by mu; of member
	known map[*Life]*list.Element // guarded by mu
}

// A member is a pass-through, with whatever embeds it.
type member interface {
	life() *Life
	// mark marks it as closed with what is below it, and adds its close events to
	// c, after cause, which may be nil.
	mark(c *Closing, cause *mafalda.Event[struct{}])
	// parentClose is the event that says that the parent closed.
	parentClose() *mafalda.Event[struct{}]
}

// add makes an outer object a child, if it is not one and has not ended.
func (x *children) add(outer any) {
	m, ok := outer.(member)
	if !ok {
		return // made by a hook that forgot to embed
	}
	l := m.life()
	x.mu.Lock()
	if x.known[l] != nil {
		x.mu.Unlock()
		return
	}
	if x.known == nil {
		x.known = map[*Life]*list.Element{}
	}
	x.known[l] = x.order.PushBack(m)
	x.mu.Unlock()
	remove := func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		if e := x.known[l]; e != nil {
			x.order.Remove(e)
			delete(x.known, l)
		}
	}
	if l.ended.then(remove) {
		remove()
	}
}

// mark marks all of them, because of their parent.
func (x *children) mark(c *Closing) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for e := x.order.Front(); e != nil; e = e.Next() {
		m := e.Value.(member)
		m.mark(c, m.parentClose())
	}
}
