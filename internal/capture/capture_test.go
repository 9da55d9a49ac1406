package capture

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	ms    = time.Millisecond
	epoch = 3_900_000_000 * time.Second // when our clock is 0, on the remote's
)

// ntp returns the remote's time when ours is t.
func ntp(t time.Duration) uint64 {
	t += epoch
	return uint64(t/time.Second)<<32 | (uint64(t%time.Second)<<32+uint64(time.Second)-1)/uint64(time.Second)
}

// near allows for the rounding of NTP.
func near(t *testing.T, want, got time.Duration, msg ...any) {
	t.Helper()
	assert.InDelta(t, float64(want), float64(got), 2, msg...)
}

func TestClock(t *testing.T) {
	type report struct{ at, sent, rtt time.Duration }
	for _, c := range []struct {
		name    string
		reports []report
		want    time.Duration // beside -epoch
		ok      bool
	}{
		{"none", nil, 0, false},
		{"two are too few", []report{{100 * ms, 100 * ms, 0}, {200 * ms, 200 * ms, 0}}, 0, false},
		{"three are enough", []report{{100 * ms, 100 * ms, 0}, {200 * ms, 200 * ms, 0}, {300 * ms, 300 * ms, 0}}, 0, true},
		{"the way here counts when nothing is known about it",
			[]report{{110 * ms, 100 * ms, 0}, {210 * ms, 200 * ms, 0}, {310 * ms, 300 * ms, 0}}, 10 * ms, true},
		{"half the round trip is the way here",
			[]report{{110 * ms, 100 * ms, 20 * ms}, {210 * ms, 200 * ms, 20 * ms}, {310 * ms, 300 * ms, 20 * ms}}, 0, true},
		{"one that was held up counts for nothing",
			[]report{{100 * ms, 100 * ms, 0}, {900 * ms, 200 * ms, 0}, {1000 * ms, 1000 * ms, 0}}, 0, true},
		{"one that came too early counts for nothing",
			[]report{{100 * ms, 100 * ms, 0}, {200 * ms, 900 * ms, 0}, {1000 * ms, 1000 * ms, 0}}, 0, true},
		{"of an even number the upper middle",
			[]report{{101 * ms, 100 * ms, 0}, {202 * ms, 200 * ms, 0}, {303 * ms, 300 * ms, 0}, {404 * ms, 400 * ms, 0}}, 3 * ms, true},
		{"two are too few",
			[]report{{100 * ms, 100 * ms, 0}, {200 * ms, 200 * ms, 0}}, 0, false},
		{"the remote may be ahead",
			[]report{{100 * ms, 5100 * ms, 0}, {200 * ms, 5200 * ms, 0}, {300 * ms, 5300 * ms, 0}}, -5000 * ms, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var clock Clock
			for _, r := range c.reports {
				clock.Add(r.at, ntp(r.sent), r.rtt)
			}
			got, ok := clock.Offset()
			require.Equal(t, c.ok, ok)
			if ok {
				near(t, c.want-epoch, got)
			}
		})
	}
}

func TestClockIgnoresZero(t *testing.T) {
	var clock Clock
	for at := range 5 * ms {
		if at%ms == 0 {
			clock.Add(at, 0, 0)
		}
	}
	_, ok := clock.Offset()
	assert.False(t, ok)
}

// The last seven reports make the estimate, so it follows a clock that drifts.
func TestClockFollows(t *testing.T) {
	var clock Clock
	for i := range 100 {
		at := time.Duration(i+1) * time.Second
		clock.Add(at, ntp(at-time.Duration(i)*ms), 0) // 1 ms slower each second
	}
	got, ok := clock.Offset()
	require.True(t, ok)
	near(t, 96*ms-epoch, got, "the middle of 93 to 99")
}

// synced is a Source whose clock differs by nothing but the epoch.
func synced(extension bool) Source {
	s := NewSource(extension)
	for i := range 3 {
		at := time.Duration(i+1) * time.Second
		s.Add(at, ntp(at), 0)
	}
	return s
}

func TestReports(t *testing.T) {
	s := synced(false)
	var r Reference
	_, ok := r.Local(&s, 90_000, 90_000)
	assert.False(t, ok, "no report yet")
	assert.False(t, r.Report(&s, 0, 90_000))
	_, ok = r.Local(&s, 90_000, 90_000)
	assert.False(t, ok, "0 is no time")

	assert.True(t, r.Report(&s, ntp(20*time.Second), 90_000))
	assert.False(t, r.Report(&s, ntp(20*time.Second), 90_000), "known already")
	for _, c := range []struct {
		name      string
		timestamp uint32
		want      time.Duration
		ok        bool
	}{
		{"the same", 90_000, 20 * time.Second, true},
		{"a second later", 180_000, 21 * time.Second, true},
		{"earlier, around the wrap", (1 << 32) - 90_000, 18 * time.Second, true},
		{"10 s later", 11 * 90_000, 30 * time.Second, true},
		{"more than 10 s later", 11*90_000 + 1, 0, false},
		{"10 s earlier", (1 << 32) - 9*90_000, 10 * time.Second, true},
		{"more than 10 s earlier", (1 << 32) - 9*90_000 - 1, 0, false},
	} {
		got, ok := r.Local(&s, c.timestamp, 90_000)
		assert.Equal(t, c.ok, ok, c.name)
		near(t, c.want, got, c.name)
	}
	r.Extension(&s, ntp(0), 0, 90_000)
	got, _ := r.Local(&s, 90_000, 90_000)
	near(t, 20*time.Second, got, "the extension is not the source")
	_, ok = r.Local(&s, 90_000, 0)
	assert.False(t, ok, "no clock")
}

func TestExtension(t *testing.T) {
	s := synced(true)
	var r Reference
	assert.False(t, r.Report(&s, ntp(20*time.Second), 48_000))
	_, ok := r.Local(&s, 48_000, 48_000)
	assert.False(t, ok, "reports are not the source")
	r.Extension(&s, 0, 0, 48_000)
	_, ok = r.Local(&s, 48_000, 48_000)
	assert.False(t, ok, "0 is no time")

	// The clock of the capturer is 3 s ahead of the sender's.
	ahead, ok := Fixed(3 * time.Second)
	require.True(t, ok)
	r.Extension(&s, ntp(23*time.Second), ahead, 48_000)
	for _, c := range []struct {
		timestamp uint32
		want      time.Duration
		ok        bool
	}{
		{48_000, 20 * time.Second, true},
		{0, 19 * time.Second, true},
		{6 * 48_000, 25 * time.Second, true},
		{6*48_000 + 1, 0, false},
	} {
		got, ok := r.Local(&s, c.timestamp, 48_000)
		assert.Equal(t, c.ok, ok, c.timestamp)
		near(t, c.want, got, c.timestamp)
	}
}

// Without the clock there is no local time, but one stream can be compared with
// another.
func TestRemote(t *testing.T) {
	s := NewSource(false)
	var r Reference
	r.Report(&s, ntp(20*time.Second), 90_000)
	_, ok := r.Local(&s, 90_000, 90_000)
	assert.False(t, ok)
	got, ok := r.Remote(&s, 180_000, 90_000)
	assert.True(t, ok)
	near(t, epoch+21*time.Second, got)
}

func TestBeforeOurClockBegan(t *testing.T) {
	s := synced(false)
	var r Reference
	r.Report(&s, ntp(time.Second), 90_000)
	_, ok := r.Local(&s, 0, 90_000)
	assert.True(t, ok)
	_, ok = r.Local(&s, 1<<32-90_000, 90_000)
	assert.False(t, ok)
}

// A stream without the extension makes reports the source, and nothing goes back.
func TestSwitch(t *testing.T) {
	s := synced(true)
	var r Reference
	r.Extension(&s, ntp(20*time.Second), 0, 90_000)
	_, ok := r.Local(&s, 90_000, 90_000)
	assert.True(t, ok)
	s.Join(true)
	assert.True(t, s.UsesExtension())
	s.Join(false)
	assert.False(t, s.UsesExtension())
	_, ok = r.Local(&s, 90_000, 90_000)
	assert.False(t, ok, "what the extension said counts no more")
	assert.True(t, r.Report(&s, ntp(30*time.Second), 90_000))
	got, ok := r.Local(&s, 90_000, 90_000)
	assert.True(t, ok)
	near(t, 30*time.Second, got)
	s.Join(true)
	assert.False(t, s.UsesExtension())

	s = NewSource(false)
	s.Join(true)
	assert.False(t, s.UsesExtension())
}

func TestFixed(t *testing.T) {
	for _, d := range []time.Duration{0, time.Second, -time.Second, 1500 * ms, -1500 * ms, math.MaxInt32 * time.Second} {
		v, ok := Fixed(d)
		assert.True(t, ok)
		near(t, d, Duration(v))
	}
	for _, d := range []time.Duration{math.MaxInt64, (math.MaxInt32 + 1) * time.Second, (math.MinInt32 - 1) * time.Second} {
		_, ok := Fixed(d)
		assert.False(t, ok, d)
	}
	v, _ := Fixed(1500 * ms)
	assert.EqualValues(t, 3<<31, v)
	v, _ = Fixed(-1500 * ms)
	assert.EqualValues(t, -3<<31, v)
}

func TestNoAllocations(t *testing.T) {
	s := synced(false)
	var r Reference
	at := time.Second
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		at += ms
		s.Add(at, ntp(at), ms)
		r.Report(&s, ntp(at), 90_000)
		r.Local(&s, 91_000, 90_000)
	}))
}
