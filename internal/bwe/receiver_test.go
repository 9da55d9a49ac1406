package bwe

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/rtp"
)

// A pacedSender is an endpoint that sends what REMB allows, evenly spread, but
// no more than its source has.
type pacedSender struct {
	w      *world
	r      Receiver
	target float64 // bit/s: what it was told, or begins with
	source func(now time.Duration) float64
	clock  time.Duration // how far its clock is ahead
	sent   []carried
	rembs  []remb
}

type remb struct {
	at   time.Duration
	rate float64
}

const pacedSize = 1100 // bytes of payload

func (s *pacedSender) start() {
	var next func()
	next = func() {
		rate := min(s.target, s.source(s.w.now))
		if rate == 0 {
			s.w.at(s.w.now+10*time.Millisecond, next)
			return
		}
		size := int(min(max(rate/8/20, 60), pacedSize)) // 20 packets a second, or more
		s.send(size)
		s.w.at(s.w.now+time.Duration(float64(size)*8/rate*float64(time.Second)), next)
	}
	s.w.at(s.w.now, next)
}

func (s *pacedSender) send(size int) {
	stamp := rtp.AbsSendTime(s.w.now + s.clock)
	s.sent = append(s.sent, carried{s.w.now, size, 0})
	s.w.send(0, size, func() {
		if !s.r.Received(s.w.now, stamp, size) {
			return
		}
		rate := float64(s.r.Available())
		s.rembs = append(s.rembs, remb{s.w.now, rate})
		s.w.at(s.w.now+s.w.link.delay, func() { s.target = rate })
	})
}

// rate returns what was sent in an interval, in bit/s.
func (s *pacedSender) rate(from, to time.Duration) float64 {
	bytes := 0
	for _, c := range s.sent {
		if c.at > from && c.at <= to {
			bytes += c.size
		}
	}
	return float64(bytes) * 8 / (to - from).Seconds()
}

// waited returns how long 95 % of the packets of an interval stood in the queue
// at most.
func (w *world) waited(from, to time.Duration) time.Duration {
	var list []time.Duration
	for _, x := range w.waits {
		if x.at > from && x.at <= to {
			list = append(list, x.d)
		}
	}
	slices.Sort(list)
	return list[len(list)*95/100]
}

func newPaced(rate float64, queue time.Duration, steps ...step) *pacedSender {
	w := newWorld(1)
	w.link = link{steps: append([]step{{0, rate}}, steps...), queue: rate / 8 * queue.Seconds(), delay: 25 * time.Millisecond}
	return &pacedSender{w: w, target: 300_000, clock: 20 * time.Second, source: func(time.Duration) float64 { return 10e6 }}
}

// TestReceiverSteady: the line is used, with a short queue, for more than the 64
// s after which abs-send-time wraps.
func TestReceiverSteady(t *testing.T) {
	s := newPaced(1e6, 300*time.Millisecond)
	s.start()
	s.w.run(200 * time.Second)
	used := s.rate(40*time.Second, 200*time.Second)
	assert.Greater(t, used, 0.8e6)
	assert.Less(t, used, 1.02e6)
	assert.Less(t, s.w.waited(40*time.Second, 200*time.Second), 150*time.Millisecond)
	for i, x := range s.rembs[1:] {
		assert.GreaterOrEqual(t, x.at-s.rembs[i].at, adaptInterval)
		assert.LessOrEqual(t, x.at-s.rembs[i].at, maxReport+adaptInterval)
	}
}

func TestReceiverSteps(t *testing.T) {
	s := newPaced(2e6, 300*time.Millisecond, step{60 * time.Second, 500e3}, step{90 * time.Second, 2e6})
	s.target = 1.5e6
	s.start()
	s.w.run(150 * time.Second)
	assert.Greater(t, s.rate(40*time.Second, 60*time.Second), 1.5e6)
	assert.Less(t, s.rate(64*time.Second, 90*time.Second), 510e3, "4 s after the step down")
	assert.Greater(t, s.rate(70*time.Second, 90*time.Second), 380e3)
	assert.Less(t, s.w.waited(64*time.Second, 90*time.Second), 300*time.Millisecond)
	assert.Greater(t, s.rate(130*time.Second, 150*time.Second), 1.5e6, "after the step up")
}

// TestReceiverNoise: jitter and losses at random are not taken for a queue.
func TestReceiverNoise(t *testing.T) {
	for name, l := range map[string]link{
		"jitter":    {jitter: 15 * time.Millisecond},
		"losses":    {loss: randomLoss(0.05)},
		"long path": {delay: 100 * time.Millisecond},
	} {
		s := newPaced(1e6, 300*time.Millisecond)
		s.w.link.jitter, s.w.link.loss = l.jitter, l.loss
		s.w.link.delay = max(s.w.link.delay, l.delay)
		s.start()
		s.w.run(120 * time.Second)
		used := s.rate(40*time.Second, 120*time.Second)
		assert.Greater(t, used, 0.75e6, name)
		assert.Less(t, s.w.waited(40*time.Second, 120*time.Second), 150*time.Millisecond, name)
		t.Logf("%s: %.0f kbit/s, 95 %% waited %v at most", name, used/1000, s.w.waited(40*time.Second, 120*time.Second))
	}
}

// TestReceiverBegins: without a probe the first estimate is what arrived, after
// 5 s; it is told again as often as befits it.
func TestReceiverBegins(t *testing.T) {
	s := newPaced(2e6, 300*time.Millisecond)
	s.source = func(time.Duration) float64 { return 24_000 }
	s.start()
	s.w.run(7 * time.Second)
	require.GreaterOrEqual(t, len(s.rembs), 3)
	assert.InDelta(t, 5*time.Second, s.rembs[0].at, float64(150*time.Millisecond))
	assert.InDelta(t, 24_000, s.rembs[0].rate, 1500)
	assert.InDelta(t, 533*time.Millisecond, s.rembs[1].at-s.rembs[0].at, float64(110*time.Millisecond))
	assert.InDelta(t, 24_000*1.04, s.rembs[1].rate, 2000)
}

// TestReceiverTrain: a probe at the beginning is believed, as far as it came
// through.
func TestReceiverTrain(t *testing.T) {
	for line, want := range map[float64]float64{10e6: 1.8e6, 1e6: 1e6} {
		s := newPaced(line, time.Second)
		s.source = func(now time.Duration) float64 { return 100_000 }
		s.start()
		for i := range 10 {
			s.w.at(200*time.Millisecond+time.Duration(i)*4*time.Millisecond, func() { s.send(900) })
		}
		s.w.run(time.Second)
		require.NotEmpty(t, s.rembs, "%.0f", line)
		assert.InDelta(t, want, s.rembs[0].rate, 0.15*want)
		assert.Less(t, s.rembs[0].at, 500*time.Millisecond)
	}
}

// TestReceiverLimited: while the source has little, the estimate does not run
// away.
func TestReceiverLimited(t *testing.T) {
	s := newPaced(5e6, 300*time.Millisecond)
	s.source = func(now time.Duration) float64 {
		if now > 60*time.Second {
			return 10e6
		}
		return 200_000
	}
	s.start()
	s.w.run(60 * time.Second)
	for _, x := range s.rembs {
		assert.Less(t, x.rate, 1.5*200_000)
	}
	s.w.run(120 * time.Second)
	assert.Greater(t, s.rate(110*time.Second, 120*time.Second), 3.5e6)
}

// TestReceiverSilence: after a silence, or with a clock that jumps, nothing is
// made of the delays of before.
func TestReceiverSilence(t *testing.T) {
	s := newPaced(5e6, 300*time.Millisecond)
	s.source = func(now time.Duration) float64 {
		if now > 20*time.Second && now < 60*time.Second {
			return 0
		}
		return 400_000
	}
	s.start()
	s.w.run(30 * time.Second)
	s.w.run(61 * time.Second)
	before := s.r.Available()
	assert.Greater(t, before, uint64(380_000))
	s.clock += 7 * time.Second
	s.w.run(75 * time.Second)
	s.clock -= 9 * time.Second
	s.w.run(90 * time.Second)
	assert.GreaterOrEqual(t, s.r.Available(), before)
}

// TestReceiverNonsense: whatever the values are, the estimate stays in its
// bounds.
func TestReceiverNonsense(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, stride := range []uint32{0, 1, 1 << 23, 1<<23 - 1, 786_000, 1<<24 - 786_000, 1<<24 - 1} {
		var r Receiver
		now, v := time.Duration(0), uint32(0)
		for range 50_000 {
			now += time.Duration(rng.IntN(3)) * time.Millisecond
			if v += stride; stride == 0 {
				v = rng.Uint32()
			}
			r.Received(now, v&(1<<24-1), rng.IntN(2000))
			require.LessOrEqual(t, r.Available(), uint64(100e6))
			require.True(t, r.Available() == 0 || r.Available() >= minReceived)
		}
		require.NotZero(t, r.Available(), "%d", stride)
	}
}

func TestReceiverDoesNotAllocate(t *testing.T) {
	if race {
		t.Skip("the race detector allocates")
	}
	var r Receiver
	now := time.Duration(0)
	assert.Zero(t, testing.AllocsPerRun(2000, func() {
		now += 5 * time.Millisecond
		r.Received(now, rtp.AbsSendTime(now), 1000)
	}))
}
