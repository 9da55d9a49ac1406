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

func TestEmitAllocatesNothing(t *testing.T) {
	var e Event[[]byte]
	n := 0
	e.On(func(p []byte) { n += len(p) })
	p := make([]byte, 1)
	assert.Zero(t, testing.AllocsPerRun(100, func() { e.Emit(p) }))
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
