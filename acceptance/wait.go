package acceptance

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
)

// eventually waits until cond holds.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	end := time.NewTimer(patience)
	defer end.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-end.C:
			t.Fatalf("waited %v for: %s", patience, what)
		}
	}
}

// receive waits for a value.
func receive[T any](t testing.TB, from <-chan T, what string) T {
	t.Helper()
	end := time.NewTimer(patience)
	defer end.Stop()
	select {
	case v := <-from:
		return v
	case <-end.C:
		t.Fatalf("waited %v for: %s", patience, what)
		panic("unreachable")
	}
}

// done waits for the end of an object.
func done(t testing.TB, o mafalda.Lifetime) {
	t.Helper()
	receive(t, o.Done(), "the end of an object")
}

// ended reports whether the channel is closed.
func ended(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// hear returns a channel with what e emits from now on.
func hear[T any](t testing.TB, e *mafalda.Event[T]) <-chan T {
	t.Helper()
	c := make(chan T, 4096)
	stop := e.On(func(v T) {
		select {
		case c <- v:
		default:
		}
	})
	t.Cleanup(stop)
	return c
}

// A journal keeps the names of events in the order in which they are heard.
type journal struct {
	mu    sync.Mutex
	names []string // guarded by mu
}

func (j *journal) write(name string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.names = append(j.names, name)
}

// read returns what was written until now.
func (j *journal) read() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.names)
}

// only returns those of the given names that were written, in order.
func (j *journal) only(names ...string) []string {
	return slices.DeleteFunc(j.read(), func(n string) bool { return !slices.Contains(names, n) })
}

// has reports whether name was written.
func (j *journal) has(name string) bool { return slices.Contains(j.read(), name) }

// count returns how often name was written.
func (j *journal) count(name string) int { return len(j.only(name)) }

// requireOrder checks that the names were written once each, in this order.
func (j *journal) requireOrder(t testing.TB, names ...string) {
	t.Helper()
	require.Equal(t, names, j.only(names...))
}

// note writes name into j whenever e is emitted.
func note[T any](j *journal, e *mafalda.Event[T], name string) {
	e.On(func(T) { j.write(name) })
}

// noteIf does it and checks that ok holds at that moment.
func noteIf[T any](t testing.TB, j *journal, e *mafalda.Event[T], name string, ok func() bool) {
	e.On(func(T) {
		if !ok() {
			t.Errorf("%s: the getters are behind the event", name)
		}
		j.write(name)
	})
}
