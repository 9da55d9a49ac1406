package rate

import (
	"math/rand/v2"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
)

const ms = time.Millisecond

// TestRate follows the cases of mediasoup's TestRateCalculator.cpp.
func TestRate(t *testing.T) {
	t.Parallel()
	type step struct {
		at    time.Duration
		bytes int // 0: none
		want  uint64
	}
	for name, c := range map[string]struct {
		window time.Duration
		steps  []step
	}{
		"nothing": {1000 * ms, []step{{0, 0, 0}, {5000 * ms, 0, 0}}},
		"one packet in a second": {1000 * ms, []step{
			{0, 5, 40}, {999 * ms, 0, 40}, {1000 * ms, 0, 0},
		}},
		"two packets": {1000 * ms, []step{
			{0, 5, 40}, {999 * ms, 2, 56}, {1001 * ms, 0, 16}, {1998 * ms, 0, 16}, {1999 * ms, 0, 0},
		}},
		"whole window without packets": {1000 * ms, []step{
			{0, 5, 40}, {1000 * ms, 2, 16}, {2001 * ms, 0, 0}, {2002 * ms, 7, 56},
		}},
		"items of 10 ms go as a whole": {1000 * ms, []step{
			{0, 5, 40}, {9 * ms, 5, 80}, {10 * ms, 5, 120}, {1000 * ms, 0, 40}, {1009 * ms, 0, 40}, {1010 * ms, 0, 0},
		}},
		"an item begins with its packet": {1000 * ms, []step{
			{5 * ms, 1, 8}, {14 * ms, 1, 16}, {15 * ms, 1, 24}, {1004 * ms, 0, 24}, {1005 * ms, 0, 8}, {1015 * ms, 0, 0},
		}},
		"scaled to a second": {2500 * ms, []step{
			{0, 1000, 3200}, {2400 * ms, 1000, 6400}, {2500 * ms, 0, 3200},
		}},
		"rounded to the nearest": {3000 * ms, []step{
			{0, 1, 3}, {1 * ms, 1, 5}, // 2.67, 5.33
		}},
		"window shorter than its items": {50 * ms, []step{
			{0, 10, 1600}, {49 * ms, 10, 3200}, {50 * ms, 0, 1600},
		}},
		"window of nothing": {0, []step{{0, 1, 8000}, {ms, 0, 0}}},
		"window of an hour": {time.Hour, []step{{0, 6000, 1600}, {29_999 * ms, 0, 1600}, {30 * time.Second, 0, 0}}},
		"oldest is almost two windows old": {30 * time.Second, []step{
			{0, 6000, 1600}, {29_990 * ms, 3000, 2400}, {59_980 * ms, 0, 800}, {59_990 * ms, 0, 0},
		}},
		"time does not begin at zero": {1000 * ms, []step{
			{65_530 * ms, 5, 40}, {65_540 * ms, 5, 80}, {66_529 * ms, 0, 80}, {66_530 * ms, 0, 40}, {66_540 * ms, 0, 0},
		}},
		"a long silence": {1000 * ms, []step{{0, 5, 40}, {65_536 * ms, 0, 0}, {65_537 * ms, 1, 8}}},
		"time goes back": {1000 * ms, []step{{500 * ms, 5, 40}, {400 * ms, 5, 80}, {1499 * ms, 0, 80}, {1500 * ms, 0, 0}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			counter := New(c.window)
			var packets, bytes uint64
			for _, s := range c.steps {
				if s.bytes > 0 {
					counter.Update(s.at, s.bytes)
					packets, bytes = packets+1, bytes+uint64(s.bytes)
				}
				require.Equal(t, s.want, counter.Rate(s.at), "at %v", s.at)
				require.Equal(t, s.want, counter.Rate(s.at), "again at %v", s.at)
			}
			require.Equal(t, packets, counter.Packets())
			require.Equal(t, bytes, counter.Bytes())
		})
	}
}

// TestSteady counts a constant rate for long enough to go around everything.
func TestSteady(t *testing.T) {
	t.Parallel()
	for _, window := range []time.Duration{100 * ms, 1000 * ms, 1010 * ms, 2500 * ms, 6000 * ms, 30 * time.Second} {
		c := New(window)
		for now := time.Duration(0); now < 70*time.Second; now += 2 * ms {
			c.Update(now, 250)
			if now > window {
				require.InEpsilon(t, 1_000_000, c.Rate(now), 0.021, "window %v at %v", window, now)
			}
		}
	}
}

// TestModel compares with a list that forgets nothing.
func TestModel(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(5, 6))
	for range 15 {
		window := int64(1 + rnd.IntN(30_000))
		c := New(time.Duration(window) * ms)
		step := (window + 99) / 100
		type item struct{ start, bytes int64 }
		var all []item
		now := int64(rnd.IntN(100_000))
		for range 3000 {
			now += int64(rnd.ExpFloat64() * float64(rnd.IntN(int(window))) / 20)
			bytes := int64(rnd.IntN(1500))
			c.Update(time.Duration(now)*ms, int(bytes))
			n := len(all)
			if n > 0 && now-all[n-1].start < min(step, window) {
				all[n-1].bytes += bytes
			} else {
				all = append(all, item{now, bytes})
			}
			var total int64
			for i := range all {
				if now-all[i].start < window {
					total += all[i].bytes
				}
			}
			require.Equal(t, uint64(float64(total)*8000/float64(window)+0.5), c.Rate(time.Duration(now)*ms))
		}
	}
}

func TestSize(t *testing.T) {
	t.Parallel()
	c := New(time.Second)
	require.LessOrEqual(t, unsafe.Sizeof(c), uintptr(72))
	c.Update(0, 1)
	require.Len(t, c.ring, minItems)
	for now := range 10_000 * ms / (3 * ms) {
		c.Update(now*3*ms, 1)
	}
	require.Len(t, c.ring, items)
}

func BenchmarkUpdate(b *testing.B) {
	c := New(time.Second)
	now := time.Duration(0)
	b.ReportAllocs()
	for b.Loop() {
		now += 300 * time.Microsecond
		c.Update(now, 1200)
	}
}
