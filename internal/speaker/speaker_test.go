package speaker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	quiet = 127 // levels as packets have them
	loud  = 10
	hum   = 100
)

// A room has people who send a packet every 20 ms, and ticks every 300 ms.
type room struct {
	*Observer
	now      time.Duration
	speakers map[string]*Speaker
	changes  []string
	at       []time.Duration
}

func newRoom(ids ...string) *room {
	r := &room{Observer: New(), now: time.Second, speakers: map[string]*Speaker{}}
	for _, id := range ids {
		r.speakers[id] = r.Add(r.now, id)
	}
	return r
}

// run lets time pass; whoever is not in levels sends nothing.
func (r *room) run(d time.Duration, levels map[string]uint8) {
	for end := r.now + d; r.now < end; {
		r.now += sample
		for id, level := range levels {
			r.speakers[id].Level(r.now, level)
		}
		if r.now%(300*time.Millisecond) == 0 {
			r.note(r.Tick(r.now))
		}
	}
}

func (r *room) note(id string, changed bool) {
	if changed {
		r.changes = append(r.changes, id)
		r.at = append(r.at, r.now)
	}
}

func TestScores(t *testing.T) {
	for _, c := range []struct {
		v      uint8
		n      int
		lambda float64
		want   float64
	}{
		{0, n1, .78, minScore},
		{9, n1, .78, 4.8297},
		{12, n1, .78, 3.1625},
		{3, n2, 24, 67.6589},
		{5, n2, 24, 113.3562},
		{10, n3, 47, 459.2184},
	} {
		assert.InDelta(t, c.want, score(c.v, c.n, c.lambda), 1e-3, "%d of %d", c.v, c.n)
	}
	assert.Equal(t, []float64{1, 13, 78, 1716, 1}, []float64{binomial(13, 0), binomial(13, 1), binomial(13, 11), binomial(13, 7), binomial(13, 13)})
	assert.Equal(t, 10, step)
}

func TestTheOnlyOneDominates(t *testing.T) {
	r := newRoom("a")
	r.run(time.Second, nil)
	assert.Equal(t, []string{"a"}, r.changes)
	assert.Equal(t, 1200*time.Millisecond, r.at[0], "at the first tick")
}

func TestNobody(t *testing.T) {
	r := newRoom()
	r.run(time.Second, nil)
	assert.Empty(t, r.changes)
}

func TestTheFirstDominatesAmongSilent(t *testing.T) {
	r := newRoom("a", "b", "c")
	r.run(5*time.Second, map[string]uint8{"a": quiet, "b": quiet, "c": quiet})
	assert.Equal(t, []string{"a"}, r.changes)
}

func TestWhoSpeaksDominates(t *testing.T) {
	r := newRoom("a", "b")
	hush := map[string]uint8{"a": hum, "b": hum}
	r.run(3*time.Second, hush)
	r.run(2*time.Second, map[string]uint8{"a": hum, "b": loud})
	require.Equal(t, []string{"a", "b"}, r.changes)
	assert.Less(t, r.at[1], 5*time.Second)
	r.run(3*time.Second, hush)
	assert.Len(t, r.changes, 2, "silence changes nothing")
	r.run(2*time.Second, map[string]uint8{"a": loud, "b": hum})
	assert.Equal(t, []string{"a", "b", "a"}, r.changes)
}

// A cough is ahead on the short scale only.
func TestACoughDominatesNobody(t *testing.T) {
	r := newRoom("a", "b")
	r.run(3*time.Second, map[string]uint8{"a": hum, "b": hum})
	r.run(2*sample, map[string]uint8{"a": hum, "b": loud})
	r.run(3*time.Second, map[string]uint8{"a": hum, "b": hum})
	assert.Equal(t, []string{"a"}, r.changes)
}

func TestPausedDominatesNobody(t *testing.T) {
	r := newRoom("a", "b")
	r.run(time.Second, map[string]uint8{"a": hum, "b": hum})
	r.speakers["b"].SetPaused(true)
	r.run(2*time.Second, map[string]uint8{"a": hum, "b": loud})
	assert.Equal(t, []string{"a"}, r.changes)
	r.speakers["b"].SetPaused(false)
	r.run(time.Second, map[string]uint8{"a": hum, "b": loud})
	assert.Equal(t, []string{"a", "b"}, r.changes)
}

func TestRemove(t *testing.T) {
	r := newRoom("a", "b", "c")
	r.run(time.Second, map[string]uint8{"a": hum, "b": hum, "c": hum})
	r.note(r.Remove(r.now, r.speakers["b"]))
	assert.Equal(t, []string{"a"}, r.changes, "not the dominant one")
	r.note(r.Remove(r.now, r.speakers["a"]))
	assert.Equal(t, []string{"a", "c"}, r.changes, "who is left")
	r.note(r.Remove(r.now, r.speakers["c"]))
	assert.Len(t, r.changes, 2, "nobody")
	r.speakers["d"] = r.Add(r.now, "d")
	r.run(time.Second, nil)
	assert.Equal(t, []string{"a", "c", "d"}, r.changes)
}

// Who sends nothing falls silent, and can be overtaken.
// When thousands leave at once each departure compares all that are left: their
// scores must not be worked out anew for it.
func TestScoresAreKept(t *testing.T) {
	r := newRoom("a", "b", "c", "d")
	r.run(time.Second, map[string]uint8{"a": loud, "b": hum, "c": hum, "d": hum})
	c := r.speakers["c"]
	r.Remove(r.now, r.speakers["a"])
	c.immediates[0] = 99 // a mark that evaluating would remove
	r.Remove(r.now, r.speakers["b"])
	assert.EqualValues(t, 99, c.immediates[0])
	r.run(2*sample, map[string]uint8{"c": hum})
	c.evaluate()
	assert.NotEqualValues(t, 99, c.immediates[0])
}

func TestDiscontinuousTransmission(t *testing.T) {
	r := newRoom("a", "b")
	r.run(2*time.Second, map[string]uint8{"a": loud, "b": hum})
	require.Equal(t, []string{"a"}, r.changes)
	r.run(2*time.Second, map[string]uint8{"b": loud})
	assert.Equal(t, []string{"a", "b"}, r.changes)
}

// After an hour of silence a speaker is out, until the next word.
func TestIdleSpeaker(t *testing.T) {
	r := newRoom("a", "b")
	r.run(2*time.Second, map[string]uint8{"a": hum, "b": hum})
	b := r.speakers["b"]
	// Silence is sampled at every tick, so only one without ticks is idle.
	r.now += idleSpeaker + time.Second
	r.speakers["a"].Level(r.now, hum)
	r.Tick(r.now)
	assert.True(t, b.idle)
	assert.False(t, r.speakers["a"].idle)
	b.Level(r.now, loud)
	assert.False(t, b.idle)
}

// Packets of 60 ms count as three samples, a pause of a minute as fifty.
func TestSamples(t *testing.T) {
	s := New().Add(0, "a")
	s.Level(60*time.Millisecond, loud)
	assert.Equal(t, 3, s.next)
	s.Level(60*time.Millisecond, loud)
	assert.Equal(t, 4, s.next, "one at least")
	s.Level(30*time.Millisecond, loud)
	assert.Equal(t, 4, s.next, "none from the past")
	s.Level(time.Minute, quiet)
	assert.Equal(t, [samples]uint8{}, s.levels)
	s.Level(time.Minute+sample, 200)
	assert.Equal(t, [samples]uint8{}, s.levels, "no more than 127")
}

// The level of silence follows a room that gets louder within 15 s, half of the way
// (as a geometric mean).
func TestFloor(t *testing.T) {
	s := New().Add(0, "a")
	s.learnFloor(16)
	for range int(minSamples) {
		s.learnFloor(36)
	}
	assert.EqualValues(t, 24, s.floor)
	s.learnFloor(10)
	assert.EqualValues(t, 10, s.floor)
	s.learnFloor(0)
	assert.EqualValues(t, 10, s.floor, "silence is no level")
	assert.EqualValues(t, 750, minSamples)
}

func TestNoAllocations(t *testing.T) {
	r := newRoom("a", "b", "c")
	n := 0
	assert.Zero(t, testing.AllocsPerRun(1000, func() {
		n++
		r.now += sample
		for i, s := range r.Observer.speakers {
			s.Level(r.now, uint8(n*(i+7)))
		}
		r.Tick(r.now)
	}))
}
