package nack

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const ms = time.Millisecond

// step is one packet and what it makes the Generator ask for.
type step struct {
	seq      uint16
	key      bool
	want     []uint16
	keyFrame bool // a key frame is requested
	missing  int
}

// TestReceived follows the cases of upstream's TestNackGenerator: without a
// send delay every gap is asked for at once.
func TestReceived(t *testing.T) {
	seqs := func(first, last int) (list []uint16) {
		for s := first; s <= last; s++ {
			list = append(list, uint16(s))
		}
		return list
	}
	tests := map[string][]step{
		"in order": {{seq: 2371}, {seq: 2372}, {seq: 2373}, {seq: 2374}},
		"one missing": {
			{seq: 2371}, {seq: 2373, want: seqs(2372, 2372), missing: 1}, {seq: 2374, missing: 1},
		},
		"one missing, repaired late": {
			{seq: 10}, {seq: 12, want: seqs(11, 11), missing: 1}, {seq: 11}, {seq: 13},
		},
		"several missing": {
			{seq: 2558}, {seq: 2562, want: seqs(2559, 2561), missing: 3},
		},
		"wrap": {
			{seq: 65534}, {seq: 65535}, {seq: 0},
			{seq: 3, want: seqs(1, 2), missing: 2},
		},
		"gap over the wrap": {
			{seq: 65533}, {seq: 1, want: []uint16{65534, 65535, 0}, missing: 3}, {seq: 65535, missing: 2},
		},
		"duplicates": {
			{seq: 7}, {seq: 7}, {seq: 8}, {seq: 7}, {seq: 8},
		},
		"jump of half the range": {
			{seq: 1}, {seq: 32768, keyFrame: true},
		},
		"older packets count for nothing": {
			{seq: 100}, {seq: 50}, {seq: 101}, {seq: 60}, {seq: 102},
		},
		"list too long": {
			{seq: 3000}, {seq: 3001}, {seq: 4002, want: seqs(3002, 4001), missing: 1000},
			{seq: 4004, keyFrame: true},
			{seq: 4005}, {seq: 4007, want: seqs(4006, 4006), missing: 1},
		},
		"list too long, cut at the key frame": {
			{seq: 1}, {seq: 3, want: seqs(2, 2), missing: 1},
			{seq: 501, want: seqs(4, 500), missing: 498},
			{seq: 502, key: true, missing: 498},
			{seq: 1503, want: seqs(503, 1502), missing: 1000},
		},
		"list too long, no key frame helps": {
			{seq: 1, key: true}, {seq: 300, want: seqs(2, 299), missing: 298},
			{seq: 301, key: true, missing: 298},
			{seq: 1400, keyFrame: true},
		},
	}
	for name, steps := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := New(0)
			for i, s := range steps {
				g.Received(time.Duration(i)*ms, s.seq, s.key, false)
				assert.Equal(t, s.want, append([]uint16(nil), g.Pending()...), "pending after step %d", i)
				assert.Empty(t, g.Pending(), "pending twice after step %d", i)
				assert.Equal(t, s.keyFrame, g.NeedKeyFrame(), "key frame after step %d", i)
				assert.False(t, g.NeedKeyFrame(), "key frame twice after step %d", i)
				assert.Equal(t, s.missing, g.Missing(), "missing after step %d", i)
			}
		})
	}
}

func TestRecovered(t *testing.T) {
	g := New(0)
	assert.False(t, g.Received(0, 1, false, false))
	assert.False(t, g.Received(0, 5, false, false))
	assert.True(t, g.Received(0, 3, false, true), "listed")
	assert.False(t, g.Received(0, 3, false, true), "duplicate")
	assert.False(t, g.Received(0, 5, false, true), "newest again")
	assert.True(t, g.Received(0, 8, false, true), "newer than all")
	assert.False(t, g.Received(0, 8, false, true), "and its duplicate")
	assert.False(t, g.Received(0, 8, false, false), "and the original")
	assert.True(t, g.Received(0, 2, false, false), "late original of a listed packet")
	assert.Equal(t, 3, g.Missing(), "4, 6 and 7")
}

// TestRetryTimes pins the schedule: the first request waits for the send delay,
// repetitions for one round trip, rounded up to the 40 ms timer, ten in all.
func TestRetryTimes(t *testing.T) {
	tests := []struct {
		name string
		rtt  time.Duration
		want []time.Duration
	}{
		{"unknown round trip", 0, []time.Duration{40, 160, 280, 400, 520, 640, 760, 880, 1000, 1120}},
		{"30 ms", 30 * ms, []time.Duration{40, 80, 120, 160, 200, 240, 280, 320, 360, 400}},
		{"200 ms", 200 * ms, []time.Duration{40, 240, 440, 640, 840, 1040, 1240, 1440, 1640, 1840}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			g := New(10 * ms)
			g.SetRTT(test.rtt)
			g.Received(0, 1, false, false)
			g.Received(0, 3, false, false)
			assert.Empty(t, g.Pending(), "younger than the send delay")
			var got []time.Duration
			for now := time.Duration(0); now < 5*time.Second; now += ms {
				g.Tick(now)
				if p := g.Pending(); len(p) > 0 {
					assert.Equal(t, []uint16{2}, p)
					got = append(got, now/ms)
				}
			}
			assert.Equal(t, test.want, got)
			_, armed := g.Deadline()
			assert.False(t, armed, "nothing left to ask for")
		})
	}
}

func TestReset(t *testing.T) {
	g := New(0)
	g.Received(0, 1, true, false)
	g.Received(0, 100, false, false)
	g.Reset()
	assert.Empty(t, g.Pending())
	assert.Zero(t, g.Missing())
	_, armed := g.Deadline()
	assert.False(t, armed)
	g.Received(ms, 5000, false, false)
	assert.Empty(t, g.Pending(), "the next packet begins anew")
}

// A timer that fires late does not make the next one late as well.
func TestTicksKeepTime(t *testing.T) {
	g := New(0)
	g.Received(0, 1, true, false)
	g.Received(0, 3, false, false)
	for i := range time.Duration(20) {
		at, ok := g.Deadline()
		require.True(t, ok)
		require.Equal(t, (i+1)*interval, at)
		g.Tick(at + 4*ms)
	}
	at, _ := g.Deadline()
	g.Tick(at + time.Second)
	again, _ := g.Deadline()
	assert.Equal(t, at+time.Second+interval, again, "what was missed is not made up for")
}

// TestBounds feeds a generator with hostile sequence numbers.
func TestBounds(t *testing.T) {
	g := New(0)
	seq, x := uint16(0), uint32(1)
	for i := range 30_000 {
		x = x*1664525 + 1013904223
		seq += uint16(x >> 30)
		if x>>8&1023 == 0 {
			seq += uint16(x >> 16)
		}
		g.Received(time.Duration(i)*ms, seq, x>>5&3 == 0, x>>7&7 == 0)
		g.Tick(time.Duration(i) * ms)
		require.LessOrEqual(t, g.Missing(), maxMissing)
		require.LessOrEqual(t, len(g.keys), maxKeyFrames)
		require.LessOrEqual(t, len(g.pending), 2*maxMissing)
		g.Pending()
		require.True(t, slices.IsSortedFunc(g.list, func(a, b missing) int { return int(a.seq - b.seq) }))
	}
}

func TestNoAllocation(t *testing.T) {
	if race {
		t.Skip("the race detector allocates")
	}
	g := New(10 * ms)
	now, seq := time.Duration(0), uint16(0)
	turn := func() {
		for i := range 100 {
			now += 5 * ms
			seq++
			if i%10 == 3 {
				seq += 5
			}
			g.Received(now, seq, i == 0, false)
			g.Pending()
			g.Tick(now)
			g.Pending()
		}
	}
	for range 20 {
		turn()
	}
	assert.Zero(t, testing.AllocsPerRun(20, turn))
}

func BenchmarkReceived(b *testing.B) {
	g := New(10 * ms)
	b.ReportAllocs()
	now, seq := time.Duration(0), uint16(0)
	for b.Loop() {
		now += ms
		seq++
		if seq%100 == 0 {
			seq++
		}
		g.Received(now, seq, false, false)
		g.Tick(now)
		g.Pending()
	}
}
