package bwe

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const msec = time.Millisecond

func TestGroups(t *testing.T) {
	type packet struct{ sent, arrival time.Duration }
	tests := map[string]struct {
		packets []packet
		want    []delta
	}{
		"the third group gives the first delta": {
			[]packet{{0, 50 * msec}, {20 * msec, 75 * msec}, {40 * msec, 99 * msec}},
			[]delta{{20 * msec, 25 * msec}},
		},
		"packets within 5 ms belong together": {
			[]packet{{0, 50 * msec}, {4 * msec, 60 * msec}, {20 * msec, 70 * msec}, {40 * msec, 90 * msec}},
			[]delta{{16 * msec, 10 * msec}},
		},
		"packets that were held up together count as one": {
			[]packet{{0, 50 * msec}, {20 * msec, 100 * msec}, {30 * msec, 101 * msec}, {40 * msec, 102 * msec}, {90 * msec, 150 * msec}},
			[]delta{{40 * msec, 52 * msec}},
		},
		"a late packet of an older group is ignored": {
			[]packet{{0, 50 * msec}, {20 * msec, 70 * msec}, {10 * msec, 71 * msec}, {40 * msec, 90 * msec}},
			[]delta{{20 * msec, 20 * msec}},
		},
		"a clock that jumps begins anew": {
			[]packet{{0, 50 * msec}, {20 * msec, 10 * time.Second}, {40 * msec, 10020 * msec}, {60 * msec, 10040 * msec}, {80 * msec, 10060 * msec}, {100 * msec, 10080 * msec}},
			[]delta{{20 * msec, 20 * msec}},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var g groups
			var got []delta
			for _, p := range tt.packets {
				if d, ok := g.add(p.sent, p.arrival); ok {
					got = append(got, d)
				}
			}
			require.NotEmpty(t, got)
			assert.Equal(t, tt.want, got[:len(tt.want)])
		})
	}
}

// feed gives the trend groups every 20 ms that arrive at a part of the rate.
func feed(tr *trend, n int, at *time.Duration, stretch float64) (over, under int) {
	for range n {
		arrival := time.Duration(20 * stretch * float64(msec))
		*at += arrival
		tr.add(delta{20 * msec, arrival}, *at)
		switch tr.usage {
		case overUse:
			over++
		case underUse:
			under++
		}
	}
	return over, under
}

func TestTrend(t *testing.T) {
	t.Run("steady", func(t *testing.T) {
		var tr trend
		var at time.Duration
		over, under := feed(&tr, 200, &at, 1)
		assert.Zero(t, over+under)
	})
	t.Run("slower than sent", func(t *testing.T) {
		var tr trend
		var at time.Duration
		feed(&tr, 60, &at, 1)
		over, _ := feed(&tr, 40, &at, 1.15)
		assert.NotZero(t, over)
	})
	t.Run("faster than sent", func(t *testing.T) {
		var tr trend
		var at time.Duration
		feed(&tr, 60, &at, 1.1)
		_, under := feed(&tr, 40, &at, 0.9)
		assert.NotZero(t, under)
	})
	t.Run("one spike", func(t *testing.T) {
		var tr trend
		var at time.Duration
		feed(&tr, 60, &at, 1)
		tr.add(delta{20 * msec, 28 * msec}, at+28*msec)
		at += 28 * msec
		tr.add(delta{20 * msec, 12 * msec}, at+12*msec)
		at += 12 * msec
		over, _ := feed(&tr, 60, &at, 1)
		assert.Zero(t, over)
	})
	t.Run("recovers", func(t *testing.T) {
		var tr trend
		var at time.Duration
		feed(&tr, 60, &at, 1.15)
		feed(&tr, 60, &at, 1)
		assert.Equal(t, normalUse, tr.usage)
	})
	t.Run("same arrival", func(t *testing.T) {
		var tr trend
		for range 100 {
			tr.add(delta{20 * msec, 0}, time.Second)
		}
		assert.False(t, math.IsNaN(tr.last))
	})
}

func TestThroughput(t *testing.T) {
	var tp throughput
	_, ok := tp.rate(longWindow)
	assert.False(t, ok, "nothing arrived")
	at := 5 * time.Second
	send := func(n int, gap time.Duration, size int) {
		for range n {
			tp.add(at, size)
			at += gap
		}
	}
	send(5, 10*msec, 1000)
	_, ok = tp.rate(longWindow)
	assert.False(t, ok, "five packets")
	send(200, 10*msec, 1000)
	r, ok := tp.rate(longWindow)
	require.True(t, ok)
	assert.InEpsilon(t, 800_000, r, 0.05)
	send(100, 10*msec, 500)
	r, _ = tp.rate(longWindow)
	assert.InEpsilon(t, 400_000, r, 0.05, "the rate halves")
	at += time.Minute
	tp.add(at, 1000)
	_, ok = tp.rate(longWindow)
	assert.False(t, ok, "after a silence it begins anew")
	send(100, 10*msec, 1000)
	at -= time.Minute
	tp.add(at, 1000)
	_, ok = tp.rate(longWindow)
	assert.False(t, ok, "a clock that goes back begins anew")
}

func TestThroughputFill(t *testing.T) {
	var tp throughput
	at := time.Duration(0)
	for i := range 100 {
		at += 10 * msec
		if i >= 60 && i < 80 { // these reports are lost
			continue
		}
		if i == 80 {
			tp.fill(at, 20*1000)
		}
		tp.add(at, 1000)
	}
	r, ok := tp.rate(longWindow)
	require.True(t, ok)
	assert.InEpsilon(t, 800_000, r, 0.05)
}

func TestCapacity(t *testing.T) {
	var c capacity
	assert.Zero(t, c.mean)
	c.add(1_000_000, capacityOver)
	assert.EqualValues(t, 1000, c.mean)
	c.add(2_000_000, capacityOver)
	assert.EqualValues(t, 1050, c.mean)
	c.add(2_000_000, capacityProbe)
	assert.EqualValues(t, 1525, c.mean)
	assert.Less(t, c.low(), 1_525_000.0)
	assert.Greater(t, c.high(), 1_525_000.0)
	c.forget()
	assert.Zero(t, c.mean)
	assert.NotZero(t, c.deviation, "the noise stays")
}

func TestAIMD(t *testing.T) {
	grow := func(a *aimd, d time.Duration, delivered float64) {
		for end := a.updated + d; a.updated < end; {
			a.update(a.updated+50*msec, normalUse, delivered, 100*msec, false)
		}
	}
	t.Run("grows by 8 % a second", func(t *testing.T) {
		var a aimd
		a.set(0, 1_000_000)
		grow(&a, time.Second, 1_000_000)
		assert.InEpsilon(t, 1_080_000, a.rate, 0.001)
	})
	t.Run("grows by packets near the capacity", func(t *testing.T) {
		var a aimd
		a.set(0, 1_000_000)
		a.capacity.add(1_000_000, capacityOver)
		grow(&a, time.Second, 1_000_000)
		assert.InEpsilon(t, 1_000_000+packets*1200*8/0.2, a.rate, 0.001)
	})
	t.Run("grows at least by 4 kbit/s a second", func(t *testing.T) {
		var a aimd
		assert.EqualValues(t, 4000, a.slope(time.Minute))
	})
	t.Run("does not outgrow what is delivered", func(t *testing.T) {
		var a aimd
		a.set(0, 1_000_000)
		grow(&a, 20*time.Second, 900_000)
		assert.EqualValues(t, headroom*900_000, a.rate)
	})
	t.Run("knows nothing while nothing is delivered", func(t *testing.T) {
		var a aimd
		a.set(0, 1_000_000)
		grow(&a, time.Second, 0)
		assert.EqualValues(t, 1_000_000, a.rate)
	})
	t.Run("falls below what is delivered", func(t *testing.T) {
		var a aimd
		a.set(0, 2_000_000)
		a.update(50*msec, overUse, 1_000_000, 100*msec, false)
		assert.EqualValues(t, 850_000, a.rate)
		a.update(100*msec, overUse, 840_000, 100*msec, false)
		assert.EqualValues(t, 850_000, a.rate, "not again at once")
		a.update(1000*msec, overUse, 800_000, 100*msec, false)
		assert.EqualValues(t, 680_000, a.rate)
	})
	t.Run("falls without a word of what is delivered", func(t *testing.T) {
		var a aimd
		a.set(0, 1_000_000)
		a.update(50*msec, overUse, 0, 100*msec, false)
		assert.EqualValues(t, 850_000, a.rate)
	})
	t.Run("never falls upwards", func(t *testing.T) {
		var a aimd
		a.set(0, 100_000)
		a.update(50*msec, overUse, 1_000_000, 100*msec, false)
		assert.EqualValues(t, 100_000, a.rate)
	})
	t.Run("waits while the queue drains", func(t *testing.T) {
		var a aimd
		a.set(0, 1_000_000)
		a.update(time.Second, underUse, 1_000_000, 100*msec, false)
		a.update(2*time.Second, normalUse, 1_000_000, 100*msec, false)
		assert.EqualValues(t, 1_000_000, a.rate)
		a.update(3*time.Second, normalUse, 1_000_000, 100*msec, false)
		assert.Greater(t, a.rate, 1_000_000.0)
	})
	t.Run("trusts a full line only far above what was reached", func(t *testing.T) {
		var a aimd
		a.set(0, 1_200_000)
		a.update(time.Second, overUse, 1_000_000, 100*msec, false)
		assert.EqualValues(t, 850_000, a.trust(2*time.Second, 1_400_000, true))
		assert.EqualValues(t, 1_800_000, a.trust(2*time.Second, 1_800_000, true))
		assert.EqualValues(t, 1_400_000, a.trust(20*time.Second, 1_400_000, true))
	})
}

// lossy feeds a loss model packets of a rate.
func lossy(l *lossModel, now *time.Duration, d time.Duration, rate float64, lose func() bool) {
	const size = 1200
	gap := time.Duration(size * 8 / rate * float64(time.Second))
	for end := *now + d; *now < end; *now += gap {
		if l.packet(*now, size, lose()) {
			l.update(*now)
		}
	}
}

func TestLossModel(t *testing.T) {
	random := func(p float64) func() bool {
		r := rand.New(rand.NewPCG(1, 2))
		return func() bool { return r.Float64() < p }
	}
	t.Run("no loss, no bound", func(t *testing.T) {
		var l lossModel
		l.reset()
		var now time.Duration
		lossy(&l, &now, 20*time.Second, 2e6, random(0))
		assert.True(t, math.IsInf(l.bound, 1))
		assert.Zero(t, l.inherent)
	})
	t.Run("ten per cent are inherent", func(t *testing.T) {
		var l lossModel
		l.reset()
		var now time.Duration
		lossy(&l, &now, 60*time.Second, 2e6, random(0.1))
		assert.True(t, math.IsInf(l.bound, 1))
		assert.InDelta(t, 0.1, l.inherent, 0.04)
	})
	t.Run("half are not", func(t *testing.T) {
		var l lossModel
		l.reset()
		var now time.Duration
		lossy(&l, &now, 5*time.Second, 2e6, random(0.5))
		assert.Less(t, l.bound, 1.6e6)
	})
	t.Run("a limit of rate without a queue", func(t *testing.T) {
		var l lossModel
		l.reset()
		var now time.Duration
		r := rand.New(rand.NewPCG(1, 2))
		lossy(&l, &now, 5*time.Second, 0.9e6, random(0))
		lossy(&l, &now, 3*time.Second, 1.5e6, func() bool { return r.Float64() < 1-1/1.5 })
		assert.InEpsilon(t, 1e6, l.bound, 0.25)
	})
	t.Run("a bound is lifted when it is not needed", func(t *testing.T) {
		var l lossModel
		l.reset()
		var now time.Duration
		lossy(&l, &now, 5*time.Second, 2e6, random(0.6))
		before := l.bound
		lossy(&l, &now, 20*time.Second, 0.3e6, random(0))
		assert.Greater(t, l.bound, 1.5*before)
	})
	t.Run("reports", func(t *testing.T) {
		var l lossModel
		l.reset()
		for i := range 20 {
			l.report(50, 100, 1e6)
			l.update(time.Duration(i) * time.Second)
		}
		assert.Less(t, l.bound, 1e6)
	})
}

func TestALR(t *testing.T) {
	var a alr
	send := func(n int, rate float64) {
		for range n {
			a.sent(a.updated+10*msec, int(rate/800), 1e6)
		}
	}
	send(200, 900_000)
	assert.False(t, a.limited)
	send(200, 100_000)
	assert.True(t, a.limited)
	send(200, 900_000)
	assert.False(t, a.limited)
}

func TestQueue(t *testing.T) {
	var q queue
	see := func(now, oneWay time.Duration) {
		q.packet(oneWay + 40*msec)
		q.packet(oneWay)
		q.end(now)
	}
	const offset = 77 * time.Second // of the clocks
	see(0, offset)
	see(time.Second, offset+140*msec)
	assert.Equal(t, 140*msec, q.delay)
	assert.EqualValues(t, 0.75, q.drain(time.Second))
	assert.EqualValues(t, 1, q.drain(time.Minute), "the queue of others")
	see(2*time.Second, offset+2*time.Second)
	assert.EqualValues(t, minDrain, q.drain(time.Second))
	see(3*time.Second, -offset)
	assert.Zero(t, q.delay, "a clock jumped")
	for i := range 120 {
		see(time.Duration(4+i)*time.Second, -offset+100*msec)
	}
	assert.Zero(t, q.delay, "the way became longer")
}

func TestHistory(t *testing.T) {
	t.Run("numbers", func(t *testing.T) {
		var h history
		require.True(t, h.add(0, 65_534, 100))
		require.True(t, h.add(0, 1, 100))
		assert.False(t, h.add(0, 1, 100), "used twice")
		assert.False(t, h.add(0, 65_000, 100), "older")
		assert.Equal(t, int64(1<<16+65_534), h.extend(65_534))
		assert.NotNil(t, h.find(h.extend(65_534)))
		assert.Nil(t, h.find(h.extend(65_535)), "never sent")
		assert.Nil(t, h.find(h.extend(2)))
		assert.EqualValues(t, 200, inFlight(&h))
		h.ack(h.find(h.newest))
		assert.Zero(t, inFlight(&h))
	})
	t.Run("grows and is bounded", func(t *testing.T) {
		var h history
		for i := range 100_000 {
			h.add(time.Duration(i)*10*time.Microsecond, uint16(i), 100)
		}
		assert.Len(t, h.ring, maxHistory)
		assert.NotNil(t, h.find(h.newest-maxHistory+1))
		assert.Nil(t, h.find(h.newest-maxHistory))
	})
	t.Run("does not grow when all is acknowledged", func(t *testing.T) {
		var h history
		for i := range 10_000 {
			require.True(t, h.add(time.Duration(i)*msec, uint16(i), 100))
			h.ack(h.find(h.newest))
		}
		assert.Len(t, h.ring, minHistory)
	})
	t.Run("gives up what it does not need", func(t *testing.T) {
		var h history
		for i := range 3000 {
			require.True(t, h.add(time.Duration(i)*msec, uint16(i), 100))
		}
		require.Len(t, h.ring, 4096)
		for i := 3000; i < 30_000; i++ {
			require.True(t, h.add(time.Duration(i)*msec, uint16(i), 100))
			require.Equal(t, time.Duration(i-5)*msec, h.sentAt(h.find(h.newest-5)))
			h.ack(h.find(h.newest))
		}
		require.Len(t, h.ring, minHistory)
	})
	t.Run("makes numbers whole", func(t *testing.T) {
		const start, size = 3 * time.Hour, 65_535 // beyond 32 bits of µs and, soon, of bytes
		var h history
		for i := range 200_000 {
			at := start + time.Duration(i)*msec + 7*time.Microsecond
			require.True(t, h.add(at, uint16(i), size))
			if i%5 == 0 {
				h.mark(i/1000 + 1)
			}
			h.acked = max(0, h.newest-256) // so that it grows to hold these
			if i < 300 || i%97 != 0 {
				continue
			}
			for _, back := range []int{0, 1, 100, 255} {
				p, n := h.find(h.newest-int64(back)), i-back
				require.NotNil(t, p)
				require.Equal(t, 1<<16+int64(n), h.seqOf(p))
				require.Equal(t, start+time.Duration(n)*msec+7*time.Microsecond, h.sentAt(p))
				require.EqualValues(t, (n+1)*size, h.totalAt(p))
				want := 0
				if n%5 == 0 {
					want = n/1000 + 1
				}
				require.Equal(t, want, h.clusterOf(p))
			}
		}
		assert.EqualValues(t, 16, unsafe.Sizeof(sent{}))
	})
	t.Run("skips", func(t *testing.T) {
		var h history
		for i := range 10 {
			h.add(0, uint16(i), 100)
		}
		assert.Zero(t, h.skip(h.newest-5), "nothing was told yet")
		h.told = h.newest - 6
		assert.Equal(t, 300, h.skip(h.newest-2))
		assert.Zero(t, h.skip(h.newest-2), "once")
	})
}

func TestRemoteClock(t *testing.T) {
	var c remoteClock
	first := c.extend(1<<23 - 2)
	assert.Equal(t, 4*referenceUnit, c.extend(-(1<<23)+2)-first, "wraps")
	assert.Equal(t, 2*referenceUnit, c.extend(-(1<<23))-first, "goes back")
}
