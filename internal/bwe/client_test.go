package bwe

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/assert"
)

func TestClientLimits(t *testing.T) {
	c := NewClient(600_000)
	want := func(l Limits) {
		t.Helper()
		if d := cmp.Diff(l, c.Limits()); d != "" {
			t.Errorf("limits (-want +got):\n%s", d)
		}
	}
	want(Limits{Min: 30_000, Max: 600_000, Padding: 510_000})
	c.SetDesired(0, 100_000, false)
	want(Limits{Min: 30_000, Max: 600_000, Padding: 510_000})
	c.SetDesired(0, 1_000_000, false)
	want(Limits{Min: 30_000, Max: 1_350_000, Padding: 1_147_500})
	c.SetDesired(0, 1_080_000, false)
	want(Limits{Min: 30_000, Max: 1_350_000, Padding: 1_147_500}) // within 10 %
	c.SetDesired(0, 2_000_000, false)
	want(Limits{Min: 30_000, Max: 2_700_000, Padding: 2_295_000})
	c.SetMaximum(1_000_000)
	want(Limits{Min: 30_000, Max: 1_000_000, Padding: 850_000})
	c.SetMinimum(200_000)
	want(Limits{Min: 200_000, Max: 1_000_000, Padding: 850_000})
	c.SetMaximum(0)
	c.SetMinimum(0)
	want(Limits{Min: 30_000, Max: 2_700_000, Padding: 2_295_000})
}

func TestClientTrend(t *testing.T) {
	c := NewClient(100_000)
	effective := func(now time.Duration, desired uint64, force bool) uint64 {
		c.SetDesired(now, desired, force)
		assert.Equal(t, desired, c.Trace().Desired)
		return c.Trace().EffectiveDesired
	}
	assert.EqualValues(t, 1_000_000, effective(0, 1_000_000, false))
	assert.EqualValues(t, 950_000, effective(time.Second, 500_000, false))
	assert.EqualValues(t, 800_000, effective(4*time.Second, 500_000, false))
	assert.EqualValues(t, 500_000, effective(20*time.Second, 500_000, false))
	assert.EqualValues(t, 600_000, effective(21*time.Second, 600_000, false))
	assert.EqualValues(t, 570_000, effective(22*time.Second, 100_000, false))
	assert.EqualValues(t, 0, effective(22*time.Second, 0, true))
	assert.EqualValues(t, 100_000, c.Limits().Max)
}

func TestClientNotifications(t *testing.T) {
	c := NewClient(600_000)
	steps := []struct {
		at        time.Duration
		available uint64
		want      bool
	}{
		{0, 600_000, false},                       // arms
		{10 * msec, 700_000, true},                // the first
		{20 * msec, 800_000, false},               // little more
		{30 * msec, 1_060_000, true},              // more than 1.5 times
		{40 * msec, 800_000, false},               // little less
		{50 * msec, 790_000, true},                // less than 0.75 times
		{1049 * msec, 800_000, false},             // too early
		{1050 * msec, 800_000, true},              // a second later
		{2100 * msec, 600_000, false},             // the initial value says nothing
		{2110 * msec, 601_000, true},              //
		{3110 * msec, 601_000, true},              // every second
		{10*time.Second + 0*msec, 100_000, true},  //
		{10*time.Second + 10*msec, 99_000, false}, //
	}
	for _, s := range steps {
		assert.Equal(t, s.want, c.Update(s.at, s.available), "%v: %d", s.at, s.available)
		if s.want {
			assert.Equal(t, s.available, c.Available())
		}
	}
	c.Distributed(10*time.Second + 900*msec)
	assert.False(t, c.Update(11*time.Second+100*msec, 99_000))
	assert.True(t, c.Update(11*time.Second+900*msec, 99_000))
	c.SetDesired(12*time.Second, 1_000_000, false)
	assert.Equal(t, Trace{
		Desired: 1_000_000, EffectiveDesired: 1_000_000, Min: 30_000, Max: 1_350_000, Start: 99_000,
		MaxPadding: 1_147_500, Available: 99_000,
	}, c.Trace())
}
