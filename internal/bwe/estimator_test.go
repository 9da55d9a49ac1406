package bwe

import (
	"encoding/binary"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/rtcp"
	"github.com/mafalda-sfu/mafalda/internal/twcc"
)

// A path delivers packets with a delay and tells so.
type path struct {
	e     *Estimator
	rec   *twcc.Recorder
	seq   uint16
	now   time.Duration
	delay time.Duration
}

func newPath(c Config, l Limits) *path {
	p := &path{e: New(c, 0), rec: twcc.New(), delay: 20 * time.Millisecond}
	p.e.SetLimits(0, l)
	p.e.SetNetwork(0, true)
	return p
}

func (p *path) send(size, cluster int, arrives bool) {
	p.seq++
	p.e.Sent(p.now, p.seq, size, cluster)
	if arrives {
		p.rec.Received(p.now+p.delay, p.seq, 1)
	}
}

// report tells what arrived until now.
func (p *path) report(t testing.TB) {
	t.Helper()
	for {
		b, ok := p.rec.Next(nil)
		if !ok {
			return
		}
		p.e.Feedback(p.now+p.delay, feedbackOf(t, b))
	}
}

func feedbackOf(t testing.TB, b []byte) rtcp.TransportCC {
	t.Helper()
	r := rtcp.NewReader(b)
	p, ok := r.Next()
	require.True(t, ok)
	f, ok := p.TransportCC()
	require.True(t, ok)
	return f
}

// stream sends packets of a rate for some time, with feedback each 100 ms.
func (p *path) stream(t testing.TB, d time.Duration, rate float64) {
	t.Helper()
	const size = 1000
	gap := time.Duration(size * 8 / rate * float64(time.Second))
	end, report := p.now+d, p.now+100*time.Millisecond
	for next := p.now; p.now < end; {
		p.e.Tick(p.now)
		for {
			size, cluster, ok := p.e.NextProbe(p.now)
			if !ok {
				break
			}
			p.send(size, cluster, true)
		}
		if p.now >= next {
			p.send(size, 0, true)
			next += gap
		}
		if p.now >= report {
			p.report(t)
			report += 100 * time.Millisecond
		}
		at, ok := p.e.Deadline()
		require.True(t, ok)
		p.now = min(max(at, p.now+time.Millisecond), max(next, p.now+1), end)
	}
}

func TestDefaults(t *testing.T) {
	e := New(Config{}, 0)
	assert.EqualValues(t, 600_000, e.Available())
	_, ok := e.Deadline()
	assert.False(t, ok, "a deadline while the network is down")
	_, _, ok = e.NextProbe(0)
	assert.False(t, ok, "a probe while the network is down")
	assert.EqualValues(t, AbsoluteMin, New(Config{Initial: 1}, 0).Available())
}

func TestLimits(t *testing.T) {
	e := New(Config{Initial: 500_000}, 0)
	e.SetNetwork(0, true)
	e.SetLimits(0, Limits{Max: 200_000})
	assert.EqualValues(t, 200_000, e.Available())
	e.SetLimits(0, Limits{Min: 300_000, Max: 1_000_000})
	assert.EqualValues(t, 300_000, e.Available())
	e.SetLimits(0, Limits{})
	assert.EqualValues(t, 300_000, e.Available())
}

func TestFirstProbes(t *testing.T) {
	p := newPath(Config{Initial: 300_000}, Limits{Max: 5_000_000, Padding: 4_000_000})
	var sizes []int
	for p.now < 100*time.Millisecond {
		at, ok := p.e.Deadline()
		require.True(t, ok)
		p.now = max(p.now, at)
		p.e.Tick(p.now)
		for {
			size, cluster, ok := p.e.NextProbe(p.now)
			if !ok {
				break
			}
			sizes = append(sizes, size)
			p.send(size, cluster, true)
		}
	}
	require.NotEmpty(t, sizes)
	assert.Equal(t, 225, sizes[0], "2 ms of 900,000 bit/s")
	assert.Equal(t, 450, sizes[len(sizes)-1], "2 ms of 1,800,000 bit/s")
	p.report(t)
	assert.InEpsilon(t, 1_800_000, p.e.Available(), 0.1)
}

func TestProbeAtTheBeginning(t *testing.T) {
	p := newPath(Config{Initial: 600_000, Probe: true}, Limits{Max: 600_000})
	p.stream(t, time.Second, 50_000)
	assert.EqualValues(t, 600_000, p.e.Available(), "the limit")
	p.e.SetLimits(p.now, Limits{Max: 2_000_000})
	assert.EqualValues(t, 2_000_000, p.e.Available(), "the probes showed 3.6 M")
	p.stream(t, 11*time.Second, 50_000)
	p.e.SetLimits(p.now, Limits{Max: 3_000_000})
	assert.EqualValues(t, 2_000_000, p.e.Available(), "that was long ago")
}

func TestPacketLoss(t *testing.T) {
	p := newPath(Config{}, Limits{})
	for i := range 20 {
		p.send(1000, 0, i%4 != 1)
	}
	p.report(t)
	assert.InDelta(t, 0.25, p.e.PacketLoss(), 0.03)
	for range 24 {
		p.send(1000, 0, true)
		p.report(t)
	}
	assert.Zero(t, p.e.PacketLoss())
}

func TestNoProbeThatNobodyWants(t *testing.T) {
	p := newPath(Config{Initial: 300_000}, Limits{})
	p.stream(t, 10*time.Second, 250_000)
	assert.Equal(t, int(p.e.history.newest-1<<16), int(p.seq))
	assert.False(t, p.e.pacer.Active())
	assert.False(t, p.e.planner.started)
	assert.LessOrEqual(t, p.e.Available(), uint64(1.5*250_000))
}

func TestApplicationLimited(t *testing.T) {
	p := newPath(Config{Initial: 1_000_000}, Limits{})
	p.stream(t, 3*time.Second, 200_000)
	assert.True(t, p.e.Limited())
	assert.EqualValues(t, 1_000_000, p.e.Available())
	p.stream(t, 3*time.Second, 950_000)
	assert.False(t, p.e.Limited())
}

func TestProbeWhenMoreIsWanted(t *testing.T) {
	p := newPath(Config{Initial: 300_000}, Limits{})
	p.stream(t, 3*time.Second, 250_000)
	p.e.SetLimits(p.now, Limits{Max: 2_700_000, Padding: 2_200_000})
	p.stream(t, 3*time.Second, 250_000)
	assert.Greater(t, p.e.Available(), uint64(2_000_000))
}

func TestREMBCaps(t *testing.T) {
	p := newPath(Config{Initial: 800_000}, Limits{})
	p.stream(t, time.Second, 700_000)
	before := p.e.Available()
	p.e.REMB(p.now, 400_000)
	assert.EqualValues(t, 400_000, p.e.Available())
	p.e.REMB(p.now, 0)
	assert.Equal(t, before, p.e.Available())
}

func TestREMBIsTheEstimateWithoutFeedback(t *testing.T) {
	e := New(Config{Initial: 600_000, REMB: true}, 0)
	e.SetNetwork(0, true)
	e.REMB(time.Second, 1_500_000)
	assert.EqualValues(t, 1_500_000, e.Available())
	e.REMB(2*time.Second, 350_000)
	assert.EqualValues(t, 350_000, e.Available())
}

func TestReceiverReportsLimitREMB(t *testing.T) {
	e := New(Config{Initial: 1_000_000, REMB: true}, 0)
	e.SetNetwork(0, true)
	e.REMB(0, 2_000_000)
	seq := uint16(0)
	for now := time.Duration(0); now < 20*time.Second; now += 5 * time.Millisecond {
		seq++
		e.Sent(now, seq, 1200, 0)
		if seq%200 == 0 {
			e.ReceiverReport(now, 100, 200, 50*time.Millisecond)
		}
	}
	assert.Less(t, e.Available(), uint64(1_500_000))
	assert.Equal(t, 50*time.Millisecond, e.RTT())
}

func TestSilence(t *testing.T) {
	p := newPath(Config{Initial: 800_000}, Limits{})
	p.stream(t, 2*time.Second, 700_000)
	before := p.e.Available()
	for range 40 {
		p.now += 100 * time.Millisecond
		p.send(1000, 0, false)
		p.e.Tick(p.now)
	}
	assert.Less(t, p.e.Available(), before/2)
	p.stream(t, 500*time.Millisecond, 300_000)
	assert.Greater(t, p.e.Available(), before/2, "the peer is heard again")
}

func TestNothingSentIsNoSilence(t *testing.T) {
	p := newPath(Config{Initial: 800_000}, Limits{})
	p.stream(t, 2*time.Second, 700_000)
	p.now += time.Second
	p.report(t)
	before := p.e.Available()
	for range 100 {
		p.now += 100 * time.Millisecond
		p.e.Tick(p.now)
	}
	assert.Equal(t, before, p.e.Available())
}

func TestDownAndUpIsANewPath(t *testing.T) {
	p := newPath(Config{Initial: 800_000}, Limits{})
	p.e.REMB(0, 100_000)
	p.stream(t, time.Second, 700_000)
	p.e.SetNetwork(p.now, false)
	p.e.REMB(p.now, 50_000)
	p.e.SetNetwork(p.now, true)
	assert.EqualValues(t, 800_000, p.e.Available())
	assert.Zero(t, p.e.RTT())
	p.stream(t, time.Second, 700_000)
	assert.NotZero(t, p.e.RTT(), "sequence numbers go on")
}

// inFlight returns the bytes of which nothing is known yet.
func inFlight(h *history) int64 { return h.total - h.atAck }

func TestNumbersWrap(t *testing.T) {
	p := newPath(Config{Initial: 800_000}, Limits{})
	p.seq = 65_500
	p.stream(t, 2*time.Second, 700_000)
	assert.Less(t, inFlight(&p.e.history), int64(20_000))
	assert.NotZero(t, p.e.feedbacks)
}

func TestLateIsNotLost(t *testing.T) {
	p := newPath(Config{}, Limits{})
	for i := range 10 {
		p.send(1000, 0, i != 5)
	}
	p.report(t)
	assert.EqualValues(t, 1, p.e.loss.current.lost)
	p.rec.Received(p.now+p.delay, 6, 1)
	p.report(t)
	assert.Zero(t, p.e.loss.current.lost)
	assert.EqualValues(t, 10, p.e.loss.current.total)
}

func TestRepeatedFeedbackCountsOnce(t *testing.T) {
	p := newPath(Config{}, Limits{})
	for range 10 {
		p.send(1000, 0, true)
	}
	b, ok := p.rec.Next(nil)
	require.True(t, ok)
	for range 5 {
		p.e.Feedback(p.now, feedbackOf(t, b))
	}
	assert.EqualValues(t, 10, p.e.loss.current.total)
	assert.Equal(t, 1, p.e.feedbacks)
}

func TestFeedbackOfWhatWasNeverSent(t *testing.T) {
	p := newPath(Config{}, Limits{})
	p.send(1000, 0, false)
	other := twcc.New()
	for _, seq := range []uint16{2, 3, 40_000, 60_000} {
		other.Received(time.Second, seq, 1)
	}
	for {
		b, ok := other.Next(nil)
		if !ok {
			break
		}
		p.e.Feedback(p.now, feedbackOf(t, b))
	}
	assert.Zero(t, p.e.feedbacks)
	assert.EqualValues(t, 1000, inFlight(&p.e.history))
}

// TestFeedbackFlood: feedback of 28 bytes that speaks of all numbers there are, and
// calls them lost, is read a few times and not for ever.
func TestFeedbackFlood(t *testing.T) {
	p := newPath(Config{}, Limits{})
	p.stream(t, 10*time.Second, 8_000_000)
	b := []byte{0x8f, 205, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 0xfc, 0, 0, 0, 0, 0x1f, 0xff, 0x1f, 0xff, 0x1f, 0xff, 0x1f, 0xff}
	binary.BigEndian.PutUint16(b[12:], p.seq-0x7ffb)
	f := feedbackOf(t, b)
	before := p.e.statuses
	for range 1000 {
		p.e.Feedback(p.now, f)
	}
	assert.Less(t, before-p.e.statuses, 2*0x7ffc)

	// That does not last.
	p.stream(t, 10*time.Second, 2_000_000)
	assert.LessOrEqual(t, p.now-p.e.heard, 200*time.Millisecond)
}

func TestNoAllocations(t *testing.T) {
	if race {
		t.Skip("the race detector allocates")
	}
	p := newPath(Config{Initial: 2_000_000}, Limits{Max: 3_000_000, Padding: 2_500_000})
	p.stream(t, 5*time.Second, 2_000_000)
	var feedback [50]rtcp.TransportCC
	seq := p.seq
	for i := range feedback {
		for range 20 {
			seq++
			p.rec.Received(p.now+time.Duration(i)*100*time.Millisecond+p.delay, seq, 1)
		}
		b, ok := p.rec.Next(nil)
		require.True(t, ok)
		feedback[i] = feedbackOf(t, b)
	}
	i := 0
	assert.Zero(t, testing.AllocsPerRun(len(feedback)-2, func() {
		for range 20 {
			p.seq++
			p.e.Sent(p.now, p.seq, 1200, 0)
			p.now += 5 * time.Millisecond
			p.e.Tick(p.now)
			p.e.NextProbe(p.now)
		}
		p.e.Feedback(p.now, feedback[i])
		p.e.Available()
		i++
	}))
}

func FuzzEstimator(f *testing.F) {
	p := newPath(Config{}, Limits{})
	for range 20 {
		p.send(1000, 0, true)
	}
	b, _ := p.rec.Next(nil)
	f.Add(b, uint16(1), uint32(100))
	f.Add(append([]byte{0x8f, 205, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0}, 0, 1, 0, 20, 0x7f, 0xff, 0xff, 0, 0x20, 20, 1, 1, 1, 1, 1, 1), uint16(65_530), uint32(5000))
	f.Fuzz(func(t *testing.T, b []byte, first uint16, gap uint32) {
		e := New(Config{}, 0)
		e.SetLimits(0, Limits{Max: 10_000_000, Padding: 5_000_000})
		e.SetNetwork(0, true)
		now := time.Duration(0)
		seq := first
		for range 4 {
			for range 300 {
				seq++
				now += time.Duration(gap%100_000) * time.Microsecond
				e.Sent(now, seq, 1000, 0)
				e.Tick(now)
				if size, cluster, ok := e.NextProbe(now); ok {
					seq++
					e.Sent(now, seq, size, cluster)
				}
			}
			r := rtcp.NewReader(b)
			for {
				p, ok := r.Next()
				if !ok {
					break
				}
				if fb, ok := p.TransportCC(); ok {
					e.Feedback(now, fb)
				}
				if len(b) > 20 {
					e.ReceiverReport(now, int(int8(b[12])), int(b[13]), time.Duration(b[14])*time.Second)
					e.REMB(now, uint64(b[15])<<(b[16]&63))
				}
			}
			v := e.Available()
			if v < AbsoluteMin || v > 10_000_000 {
				t.Fatalf("available %d", v)
			}
			if len(e.history.ring) > maxHistory {
				t.Fatalf("history of %d", len(e.history.ring))
			}
		}
		if math.IsNaN(e.aimd.rate) || math.IsNaN(e.loss.bound) || math.IsNaN(e.loss.inherent) || math.IsNaN(e.trend.threshold) || math.IsNaN(e.aimd.capacity.mean) {
			t.Fatal("not a number")
		}
	})
}
