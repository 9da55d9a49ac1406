package impair

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const ms = time.Millisecond

func TestLinkPassesEverythingByDefault(t *testing.T) {
	l := NewLink(Config{})
	for i := range 1000 {
		at, ok := l.Send(time.Duration(i)*ms, 1200)
		require.True(t, ok)
		require.Equal(t, time.Duration(i)*ms, at)
	}
}

func TestLinkLoss(t *testing.T) {
	l := NewLink(Config{Loss: 0.05, Seed: 1})
	lost := 0
	for i := range 100_000 {
		if _, ok := l.Send(time.Duration(i)*ms, 1200); !ok {
			lost++
		}
	}
	require.InDelta(t, 5000, lost, 250)
}

func TestLinkIsDeterministic(t *testing.T) {
	run := func(seed uint64) (times []time.Duration) {
		l := NewLink(Config{Loss: 0.1, Jitter: 20 * ms, Seed: seed})
		for i := range 200 {
			at, ok := l.Send(time.Duration(i)*ms, 1200)
			if !ok {
				at = -1
			}
			times = append(times, at)
		}
		return times
	}
	require.Equal(t, run(7), run(7))
	require.NotEqual(t, run(7), run(8))
}

func TestLinkOptionsKeepTheirRandomness(t *testing.T) {
	lost := func(c Config) (lost []int) {
		l := NewLink(c)
		for i := range 500 {
			if _, ok := l.Send(time.Duration(i)*ms, 1200); !ok {
				lost = append(lost, i)
			}
		}
		return lost
	}
	require.Equal(t, lost(Config{Loss: 0.1, Seed: 3}), lost(Config{Loss: 0.1, Seed: 3, Delay: 50 * ms, Jitter: 30 * ms}))
}

func TestLinkJitter(t *testing.T) {
	for _, reorder := range []bool{false, true} {
		l := NewLink(Config{Delay: 50 * ms, Jitter: 30 * ms, Reorder: reorder})
		overtaken := 0
		var last time.Duration
		for i := range 1000 {
			now := time.Duration(i) * ms
			at, ok := l.Send(now, 1200)
			require.True(t, ok)
			require.GreaterOrEqual(t, at, now+50*ms)
			require.Less(t, at, now+80*ms)
			if at < last {
				overtaken++
			}
			last = at
		}
		require.Equal(t, reorder, overtaken > 0)
	}
}

func TestLinkRate(t *testing.T) {
	// 1,000 bytes take 10 ms; 3,000 may wait.
	l := NewLink(Config{Rate: 800_000, Queue: 3000})
	var arrived []time.Duration
	for range 10 {
		if at, ok := l.Send(0, 1000); ok {
			arrived = append(arrived, at)
		}
	}
	require.Equal(t, []time.Duration{10 * ms, 20 * ms, 30 * ms}, arrived)
	at, ok := l.Send(100*ms, 1000)
	require.True(t, ok)
	require.Equal(t, 110*ms, at, "the queue is empty again")

	l = NewLink(Config{Rate: 1_000_000})
	got := 0
	for i := range 1000 { // 8 Mbit/s
		if at, ok := l.Send(time.Duration(i)*ms, 1000); ok {
			got += 8000
			require.LessOrEqual(t, at, time.Duration(i)*ms+200*ms, "the default queue is 200 ms")
		}
	}
	require.InDelta(t, 1_200_000, got, 20_000)
}

func TestLinkTakesAPacketLargerThanTheQueue(t *testing.T) {
	l := NewLink(Config{Rate: 8000, Queue: 1})
	_, ok := l.Send(0, 1000)
	require.True(t, ok)
	_, ok = l.Send(0, 1000)
	require.False(t, ok)
}

func TestConfigValidate(t *testing.T) {
	require.NoError(t, Config{Loss: 1, Delay: ms, Rate: 1}.Validate())
	for _, c := range []Config{{Loss: -0.1}, {Loss: 1.1}, {Delay: -1}, {Jitter: -1}, {Rate: -1}, {Queue: -1}} {
		require.Error(t, c.Validate(), "%+v", c)
	}
}
