package mafalda

import (
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/driver"
	"github.com/mafalda-sfu/mafalda/internal/engine"
)

// Every number that the engine counts as dropped has a reason here.
func TestCountersHaveEveryDrop(t *testing.T) {
	var loop engine.Counters
	var net driver.Stats
	var want uint64
	for _, v := range []reflect.Value{reflect.ValueOf(&loop).Elem(), reflect.ValueOf(&net).Elem()} {
		for i := range v.NumField() {
			if name := v.Type().Field(i).Name; len(name) > 4 && name[:4] == "Drop" {
				want += 1 << i
				v.Field(i).SetUint(1 << i)
			}
		}
	}
	c := counters(&loop, &net)
	assert.Equal(t, want, c.Dropped())
	for reason, n := range c.Drops {
		assert.NotZero(t, n, reason)
	}
}

func TestCountersTurnLengths(t *testing.T) {
	loop := engine.Counters{Turns: 4, MaxTurn: 3 * time.Millisecond}
	loop.TurnLength[0], loop.TurnLength[1], loop.TurnLength[11] = 2, 1, 1
	c := counters(&loop, &driver.Stats{})
	require.Len(t, c.TurnLengths, 12)
	assert.Equal(t, TurnLength{16 * time.Microsecond, 2}, c.TurnLengths[0])
	assert.Equal(t, TurnLength{32 * time.Microsecond, 1}, c.TurnLengths[1])
	assert.Equal(t, TurnLength{0, 1}, c.TurnLengths[11])
	assert.Equal(t, 3*time.Millisecond, c.MaxTurn)
}

func TestCountersSince(t *testing.T) {
	fill := func(factor uint64) Counters {
		var c Counters
		v := reflect.ValueOf(&c).Elem()
		for i := range v.NumField() {
			if v.Field(i).Kind() == reflect.Uint64 {
				v.Field(i).SetUint(factor * uint64(i+1))
			}
		}
		c.Drops = map[DropReason]uint64{DropSRTP: 100 * factor}
		c.TurnLengths = []TurnLength{{time.Millisecond, 10 * factor}, {0, factor}}
		c.MaxTurn = time.Duration(factor)
		return c
	}
	before, after := fill(1), fill(3)
	want := fill(2)
	want.MaxTurn = 3
	assert.Equal(t, want, after.Since(before))
	assert.Equal(t, fill(3), after, "Since changed a reading")
	assert.Equal(t, uint64(1), before.TurnLengths[1].Turns)
	assert.Equal(t, after.Drops, after.Since(Counters{}).Drops)
}

func TestCountersPerCall(t *testing.T) {
	c := Counters{PacketsReceived: 6, ReceiveCalls: 4, PacketsSent: 30, SendCalls: 10}
	assert.Equal(t, 1.5, c.PacketsPerReceiveCall())
	assert.Equal(t, 3.0, c.PacketsPerSendCall())
	assert.Zero(t, Counters{}.PacketsPerReceiveCall())
	assert.Zero(t, Counters{}.PacketsPerSendCall())
}

func TestWorkerCounters(t *testing.T) {
	s := New()
	t.Cleanup(func() { s.Close() })
	w, err := s.CreateWorker(t.Context(), WorkerSettings{})
	require.NoError(t, err)
	r, ok := w.(CounterReporter)
	require.True(t, ok)

	first, err := r.Counters(t.Context())
	require.NoError(t, err)
	second, err := r.Counters(t.Context())
	require.NoError(t, err)
	assert.GreaterOrEqual(t, second.Turns, first.Turns)
	assert.NotZero(t, second.Turns)
	assert.Zero(t, second.PacketsReceived)

	require.NoError(t, w.Close())
	_, err = r.Counters(t.Context())
	assert.ErrorIs(t, err, ErrWorkerClosed)
}
