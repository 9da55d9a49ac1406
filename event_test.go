package mafalda

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestEventOrder(t *testing.T) {
	var e Event[int]
	assert.False(t, e.Heard())
	e.Emit(0) // nobody listens
	var got []string
	e.On(func(int) { got = append(got, "a") })
	stop := e.On(func(int) { got = append(got, "b") })
	e.On(func(int) { got = append(got, "c") })
	assert.True(t, e.Heard())
	e.Emit(1)
	stop()
	stop()
	e.Emit(2)
	assert.Equal(t, []string{"a", "b", "c", "a", "c"}, got)
}

func TestEventChangedWhileEmitting(t *testing.T) {
	var e Event[int]
	var got []string
	var stopB func()
	e.On(func(int) {
		got = append(got, "a")
		stopB()
		e.On(func(int) { got = append(got, "late") })
	})
	stopB = e.On(func(int) { got = append(got, "b") })
	e.Emit(1)
	assert.Equal(t, []string{"a"}, got, "a stopped listener was called, or a new one heard the past")
}

func TestEventConcurrent(t *testing.T) {
	var e Event[int]
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 100 {
				stop := e.On(func(int) {})
				e.Emit(i)
				stop()
			}
		})
	}
	wg.Wait()
	assert.False(t, e.Heard(), "a listener is left")
}

func TestEmitUnlessClosed(t *testing.T) {
	var l life
	var e Event[int]
	e.EmitUnlessClosed(&l, 0) // nobody listens
	var got []string
	stop := e.On(func(int) { got = append(got, "stopped") })
	e.On(func(int) { got = append(got, "a") })
	e.On(func(int) { l.closed.Store(true) })
	e.On(func(int) { got = append(got, "b") })
	stop()
	e.EmitUnlessClosed(&l, 1)
	e.EmitUnlessClosed(&l, 2)
	assert.Equal(t, []string{"a"}, got, "the second listener closed it")
}

func TestEmitAllocatesNothing(t *testing.T) {
	var l life
	var e Event[[]byte]
	n := 0
	e.On(func(p []byte) { n += len(p) })
	p := make([]byte, 1)
	assert.Zero(t, testing.AllocsPerRun(100, func() { e.Emit(p) }))
	assert.Zero(t, testing.AllocsPerRun(100, func() { e.EmitUnlessClosed(&l, p) }))
}

func BenchmarkEmit(b *testing.B) {
	var e Event[[]byte]
	n := 0
	e.On(func(p []byte) { n += len(p) })
	p := make([]byte, 1)
	b.ReportAllocs()
	for b.Loop() {
		e.Emit(p)
	}
}
