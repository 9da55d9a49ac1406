package probe

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const msec = time.Millisecond

func TestPacer(t *testing.T) {
	var p Pacer
	_, ok := p.Deadline()
	assert.False(t, ok)
	c, ok := p.Add(0, 1_800_000)
	require.True(t, ok)
	assert.Equal(t, Cluster{ID: 1, Rate: 1_800_000}, c)
	var at []time.Duration
	for p.Active() {
		due, ok := p.Deadline()
		require.True(t, ok)
		size, got, ok := p.Next(due)
		require.True(t, ok)
		assert.Equal(t, c, got)
		assert.Equal(t, 450, size)
		_, _, ok = p.Next(due - 1)
		assert.False(t, ok && len(at) > 0, "too early")
		_, last := p.Sent(due, size, true)
		at = append(at, due)
		assert.Equal(t, !p.Active(), last)
	}
	assert.Len(t, at, 8, "15 ms of the rate")
	assert.Equal(t, 2*msec, at[1])
	assert.Equal(t, 14*msec, at[7])
}

func TestPacerAtLowRates(t *testing.T) {
	var p Pacer
	p.Add(0, 90_000)
	n := 0
	for p.Active() {
		due, _ := p.Deadline()
		size, _, _ := p.Next(due)
		assert.Equal(t, MinSize, size)
		p.Sent(due, size, true)
		n++
	}
	assert.Equal(t, minPackets, n)
}

func TestPacerWithCoarseTimers(t *testing.T) {
	p := Pacer{Tick: 5 * msec}
	p.Add(0, 1_800_000)
	var groups []int
	for p.Active() {
		due, _ := p.Deadline()
		now := (due + 5*msec - 1).Truncate(5 * msec)
		n := 0
		for {
			size, _, ok := p.Next(now)
			if !ok {
				break
			}
			p.Sent(now, size, true)
			n++
		}
		groups = append(groups, n)
		require.Equal(t, time.Duration(len(groups)-1)*5*msec, now)
	}
	assert.Equal(t, []int{3, 2, 3}, groups, "what is due before the next tick")
}

func TestPacerCountsMedia(t *testing.T) {
	var p Pacer
	p.Add(0, 1_800_000)
	c, _ := p.Sent(0, 1200, false)
	assert.Zero(t, c.ID, "media before the first padding")
	size, _, _ := p.Next(0)
	p.Sent(0, size, true)
	c, _ = p.Sent(msec, 900, false)
	assert.Equal(t, 1, c.ID)
	due, _ := p.Deadline()
	assert.Equal(t, 6*msec, due, "media takes the place of padding")
}

func TestPacerIsBounded(t *testing.T) {
	var p Pacer
	for range maxQueue {
		_, ok := p.Add(0, 1e6)
		assert.True(t, ok)
	}
	_, ok := p.Add(0, 1e6)
	assert.False(t, ok)
	_, _, ok = p.Next(timeout + 1)
	assert.False(t, ok, "too old")
	assert.False(t, p.Active())
}

// measureTrain sends a train of packets with a gap and receives it with another.
func measureTrain(planned float64, n int, out, in time.Duration, lost func(i int) bool, loss float64) (Result, bool) {
	var m Meter
	c := Cluster{ID: 7, Rate: planned}
	for i := range n {
		m.Sent(c, int64(100+i), 500, i == n-1)
	}
	for i := range n {
		if !lost(i) {
			m.Arrived(7, time.Duration(i)*out, time.Hour+time.Duration(i)*in, 500)
		}
	}
	if _, ok := m.Take(int64(100+n-2), loss); ok {
		return Result{}, false // too early
	}
	return m.Take(int64(100+n-1), loss)
}

func TestMeter(t *testing.T) {
	none := func(int) bool { return false }
	tests := map[string]struct {
		out, in   time.Duration
		lost      func(int) bool
		loss      float64
		want      float64
		saturated bool
	}{
		"passes":                    {2 * msec, 2 * msec, none, 0, 2e6, false},
		"passes a little slower":    {2 * msec, 2100 * time.Microsecond, none, 0, 500 * 8 / 0.0021, false},
		"is stretched":              {2 * msec, 4 * msec, none, 0, 0.95 * 1e6, true},
		"is compressed":             {2 * msec, 1500 * time.Microsecond, none, 0, 2e6, false},
		"arrives all at once":       {2 * msec, 0, none, 0, 0, false},
		"arrives much too fast":     {2 * msec, 500 * time.Microsecond, none, 0, 0, false},
		"is mostly lost":            {2 * msec, 2 * msec, func(i int) bool { return i%2 == 0 }, 0, 0, false},
		"loses some by chance":      {2 * msec, 2 * msec, func(i int) bool { return i == 3 }, 0.1, 2e6, false},
		"loses some to a full line": {2 * msec, 2 * msec, func(i int) bool { return i%4 == 3 }, 0, 0.95 * 2e6 * 0.737, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r, ok := measureTrain(2e6, 20, tt.out, tt.in, tt.lost, tt.loss)
			require.True(t, ok)
			assert.InDelta(t, tt.want, r.Bitrate, tt.want*0.06)
			assert.Equal(t, tt.saturated, r.Saturated)
		})
	}
}

func TestMeterForgets(t *testing.T) {
	var m Meter
	m.Sent(Cluster{ID: 1, Rate: 1e6}, 1, 500, true)
	m.Sent(Cluster{ID: 1 + maxClusters, Rate: 1e6}, 2, 500, true)
	m.Arrived(1, 0, 0, 500) // of the one that is forgotten
	m.Arrived(0, 0, 0, 500)
	r, ok := m.Take(10, 0)
	require.True(t, ok)
	assert.Equal(t, 1+maxClusters, r.ID)
	assert.Zero(t, r.Bitrate)
	_, ok = m.Take(10, 0)
	assert.False(t, ok)
}
