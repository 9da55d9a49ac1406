package placement

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// on is a View of Workers with the given loads, of which those in own are the
// Router's.
func on(grow bool, own []int, loads ...float64) *View {
	v := &View{CanGrow: grow, Watermark: DefaultWatermark}
	for _, l := range loads {
		v.Candidates = append(v.Candidates, Candidate{Load: l, Transports: 1})
	}
	for _, i := range own {
		v.Candidates[i].Registered = true
	}
	return v
}

func TestPolicies(t *testing.T) {
	idle := on(true, nil, 0.2, 0)
	idle.Candidates[1].Transports = 0
	herd := on(true, []int{0}, 0.3, 0.1)
	herd.Candidates[0].Recent = 0.4
	for _, c := range []struct {
		name   string
		policy Policy
		view   *View
		want   int
	}{
		{"nothing there", Concentrate(), on(true, nil), New},
		{"the fullest of our own", Concentrate(), on(true, []int{0, 2}, 0.1, 0.5, 0.3), 2},
		{"the fullest of others", Concentrate(), on(true, []int{0}, 0.7, 0.2, 0.5), 2},
		{"a new one", Concentrate(), on(true, []int{0}, 0.7, 0.65), New},
		{"stay with the least bad of our own", Concentrate(), on(false, []int{0}, 0.7, 0.65, 0.9), 0},
		{"until another is 10 points better", Concentrate(), on(false, []int{0}, 0.8, 0.65, 0.9), 1},
		{"at the watermark is full", Concentrate(), on(true, []int{0}, 0.6), New},
		{"a herd counts", Concentrate(), herd, 1},

		{"spread: nothing there", Spread(), on(true, nil), New},
		{"spread: new while it can", Spread(), on(true, []int{0}, 0.1), New},
		{"spread: idle before new", Spread(), idle, 1},
		{"spread: least loaded", Spread(), on(false, []int{0}, 0.3, 0.2, 0.4), 1},

		{"cascade: nothing there", CascadeHysteresis(0, 0), on(true, nil), New},
		{"cascade: least loaded for a new Router", CascadeHysteresis(0, 0), on(false, nil, 0.3, 0.1), 1},
		{"cascade: stay below 66 %", CascadeHysteresis(0, 0), on(true, []int{0}, 0.65, 0.1), 0},
		{"cascade: stay within 10 points", CascadeHysteresis(0, 0), on(false, []int{0}, 0.70, 0.61), 0},
		{"cascade: go", CascadeHysteresis(0, 0), on(false, []int{0}, 0.70, 0.59), 1},
		{"cascade: go to a new one", CascadeHysteresis(0, 0), on(true, []int{0}, 0.70, 0.65), New},
		{"cascade: least loaded already", CascadeHysteresis(0, 0), on(false, []int{1}, 0.95, 0.90), 1},

		{"two: nothing there", TwoChoice(1), on(true, nil), New},
		{"two: only one", TwoChoice(1), on(false, nil, 0.9), 0},
		{"two: the better one", TwoChoice(1), on(false, nil, 0.5, 0.1), 1},
		{"two: new has no load", TwoChoice(1), on(true, nil, 0.5), New},
		{"two: over the watermark", TwoChoice(1), on(false, nil, 0.7, 0.8), 0},
	} {
		assert.Equal(t, c.want, c.policy.Place(c.view), c.name)
	}
}

func TestTwoChoiceIsDeterministic(t *testing.T) {
	draw := func(seed uint64) (out []int) {
		p := TwoChoice(seed)
		for range 100 {
			out = append(out, p.Place(on(false, nil, 0.1, 0.2, 0.3, 0.4)))
		}
		return out
	}
	assert.Equal(t, draw(7), draw(7))
	assert.NotEqual(t, draw(7), draw(8))
	assert.NotContains(t, draw(7), 3, "the most loaded one never wins of two")
}

func TestMeter(t *testing.T) {
	var m Meter
	start := time.Unix(100, 0)
	at := func(d time.Duration) float64 {
		load, recent := m.Read(start.Add(d))
		assert.Zero(t, load)
		return recent
	}
	assert.Zero(t, at(0))
	m.Place(start)
	m.Place(start)
	assert.InDelta(t, 2*Cost, at(0), 1e-9)
	assert.InDelta(t, Cost, at(window/2), 1e-9)
	m.Place(start.Add(window / 2))
	assert.InDelta(t, 2*Cost, at(window/2), 1e-9)
	assert.InDelta(t, Cost/2, at(window), 1e-9)
	assert.Zero(t, at(2*window))
	assert.Empty(t, m.placed, "what is over is forgotten")
	m.Measure(0.4)
	load, _ := m.Read(start)
	assert.Equal(t, 0.4, load)
}
