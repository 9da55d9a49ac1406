package layers

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// A fake is a Source whose streams a test makes up. Bitrates are per layer, by
// spatial layer.
type fake struct {
	bitrates [][]uint32
	dead     map[int8]bool
	young    map[int8]bool
	unknown  map[int8]bool // whose time of capture is not known
}

func (f *fake) Alive(s int8) bool     { return !f.dead[s] && int(s) < len(f.bitrates) }
func (f *fake) CanSwitch(s int8) bool { return !f.unknown[s] }
func (f *fake) Layer(s, t int8) uint32 {
	if int(s) >= len(f.bitrates) || int(t) >= len(f.bitrates[s]) {
		return 0
	}
	return f.bitrates[s][t]
}

func (f *fake) ActiveFor(s int8) time.Duration {
	if f.young[s] {
		return time.Second
	}
	return time.Minute
}

func (f *fake) UpTo(s, t int8) (sum uint32) {
	for i := range t + 1 {
		sum += f.Layer(s, i)
	}
	return sum
}

func (f *fake) Spatial(s int8) uint32 {
	if int(s) >= len(f.bitrates) {
		return 0
	}
	return f.UpTo(s, int8(len(f.bitrates[s])-1))
}

// three streams of three temporal layers.
func three() *fake {
	return &fake{bitrates: [][]uint32{{100, 50, 50}, {300, 100, 100}, {1000, 500, 500}}}
}

func TestPrefer(t *testing.T) {
	c := New(Simulcast, 3, 2)
	assert.Equal(t, Layers{2, 1}, c.Preferred, "the highest by default")
	for _, test := range []struct{ in, want Layers }{
		{Layers{1, 0}, Layers{1, 0}}, {Layers{9, 9}, Layers{2, 1}}, {Layers{0, None}, Layers{0, 1}},
		{Layers{-5, 0}, Layers{0, 0}}, {Layers{127, 127}, Layers{2, 1}},
	} {
		c.Prefer(test.in)
		assert.Equal(t, test.want, c.Preferred, test.in)
	}
}

func TestRecalculate(t *testing.T) {
	for _, test := range []struct {
		name      string
		preferred Layers
		managed   bool
		change    func(*fake)
		want      Layers
	}{
		{"the preferred ones", Layers{2, 1}, false, nil, Layers{2, 1}},
		{"a lower preference", Layers{0, 2}, false, nil, Layers{0, 2}},
		{"a dead one is left out", Layers{2, 2}, false, func(f *fake) { f.dead = map[int8]bool{2: true} }, Layers{1, 2}},
		{"a higher one when those up to the preferred are dead", Layers{1, 2}, false, func(f *fake) {
			f.dead = map[int8]bool{0: true, 1: true}
		}, Layers{2, 2}},
		{"no higher one when there is a lower one", Layers{1, 2}, false, func(f *fake) {
			f.dead = map[int8]bool{1: true}
		}, Layers{0, 2}},
		{"nothing alive", Layers{2, 2}, false, func(f *fake) { f.dead = map[int8]bool{0: true, 1: true, 2: true} }, Nothing},
		{"what can't be aligned", Layers{2, 2}, false, func(f *fake) { f.unknown = map[int8]bool{1: true, 2: true} }, Layers{0, 2}},
		{"a young stream", Layers{2, 2}, false, func(f *fake) { f.young = map[int8]bool{2: true} }, Layers{2, 2}},
		{"a young stream when bandwidth is distributed", Layers{2, 2}, true, func(f *fake) { f.young = map[int8]bool{2: true} }, Layers{1, 2}},
		{"only young streams", Layers{2, 2}, true, func(f *fake) { f.young = map[int8]bool{0: true, 1: true, 2: true} }, Layers{0, 2}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := three()
			if test.change != nil {
				test.change(f)
			}
			c := New(Simulcast, 3, 3)
			c.Prefer(test.preferred)
			assert.Equal(t, test.want, c.Recalculate(0, f, test.managed))
		})
	}
	t.Run("SVC knows neither age nor alignment", func(t *testing.T) {
		f := three()
		f.young, f.unknown = map[int8]bool{2: true}, map[int8]bool{2: true}
		c := New(SVC, 3, 3)
		assert.Equal(t, Layers{2, 2}, c.Recalculate(0, f, true))
	})
}

// round is one round of distribution for one Consumer.
func round(c *Chooser, f *fake, bitrate uint32) (used uint32, steps []Layers) {
	for {
		n := c.Increase(time.Minute, f, bitrate-used, false, 0)
		if n == 0 {
			return used, steps
		}
		used += n
		steps = append(steps, c.provisional)
	}
}

func TestIncrease(t *testing.T) {
	for _, test := range []struct {
		name      string
		kind      Kind
		preferred Layers
		bitrate   uint32
		change    func(*fake)
		used      uint32
		steps     []Layers
	}{
		{"everything", Simulcast, Layers{2, 2}, 5000, nil, 2000, []Layers{
			{0, 0}, {0, 1}, {0, 2}, {1, 0}, {1, 1}, {1, 2}, {2, 0}, {2, 1}, {2, 2},
		}},
		{"nothing fits", Simulcast, Layers{2, 2}, 99, nil, 0, nil},
		{"some of it", Simulcast, Layers{2, 2}, 449, nil, 400, []Layers{{0, 0}, {0, 1}, {0, 2}, {1, 0}, {1, 1}}},
		{"no more than preferred", Simulcast, Layers{1, 0}, 5000, nil, 300, []Layers{{0, 0}, {1, 0}}},
		{"a silent temporal layer ends a stream", Simulcast, Layers{1, 2}, 5000, func(f *fake) { f.bitrates[0][1] = 0 },
			500, []Layers{{0, 0}, {1, 0}, {1, 1}, {1, 2}}},
		{"a higher stream is never for free", Simulcast, Layers{1, 0}, 5000, func(f *fake) { f.bitrates[1][0] = 60 },
			101, []Layers{{0, 0}, {1, 0}}},
		{"a dead stream", Simulcast, Layers{2, 0}, 5000, func(f *fake) { f.dead = map[int8]bool{1: true} },
			1000, []Layers{{0, 0}, {2, 0}}},
		{"above the preferred one if that is dead", Simulcast, Layers{0, 0}, 5000, func(f *fake) { f.dead = map[int8]bool{0: true} },
			300, []Layers{{1, 0}}},
		{"a young stream takes the place of no settled one", Simulcast, Layers{2, 0}, 5000, func(f *fake) { f.young = map[int8]bool{2: true} },
			300, []Layers{{0, 0}, {1, 0}}},
		{"young streams among themselves", Simulcast, Layers{2, 0}, 5000, func(f *fake) { f.young = map[int8]bool{0: true, 1: true, 2: true} },
			1000, []Layers{{0, 0}, {1, 0}, {2, 0}}},
		{"what can't be aligned", Simulcast, Layers{2, 0}, 5000, func(f *fake) { f.unknown = map[int8]bool{1: true} },
			1000, []Layers{{0, 0}, {2, 0}}},
		{"SVC adds up", SVC, Layers{1, 1}, 5000, nil, 550, []Layers{{0, 0}, {0, 1}, {1, 0}, {1, 1}}},
		{"K-SVC replaces", KeySVC, Layers{1, 1}, 5000, nil, 350, []Layers{{0, 0}, {0, 1}, {1, 0}, {1, 1}}},
		{"K-SVC, never for free", KeySVC, Layers{1, 0}, 5000, func(f *fake) { f.bitrates[1][0] = 10 },
			101, []Layers{{0, 0}, {1, 0}}},
		{"SVC without the lowest layers", SVC, Layers{0, 0}, 5000, func(f *fake) { f.bitrates[0][0] = 0 }, 300, []Layers{{1, 0}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := three()
			if test.change != nil {
				test.change(f)
			}
			c := New(test.kind, 3, 3)
			c.Prefer(test.preferred)
			used, steps := round(&c, f, test.bitrate)
			assert.Equal(t, test.steps, steps)
			assert.Equal(t, test.used, used)
			last := Nothing
			if len(steps) > 0 {
				last = steps[len(steps)-1]
			}
			assert.Equal(t, last, c.Apply(time.Minute, 0))
			again, _ := round(&c, f, test.bitrate)
			assert.Equal(t, used, again, "a round begins with nothing")
		})
	}
}

func TestConsiderLoss(t *testing.T) {
	for _, test := range []struct {
		bitrate, required uint32
		loss              float64
		want              uint32
	}{
		{1000, 1080, 0, 1000},    // 8 % more may be tried, but no more is used than there is
		{1000, 1080, 1.9, 1000},  //
		{1000, 1080, 2, 0},       //
		{1000, 1000, 10, 1000},   //
		{1000, 1000, 20, 0},      // 10 % less
		{1000, 900, 20, 900},     //
		{1 << 31, 5, 0.0, 5},     //
		{1<<32 - 1, 5, 0.0, 5},   // no overflow
		{1<<32 - 1, 5, 100.0, 5}, //
	} {
		c := New(Simulcast, 1, 1)
		f := &fake{bitrates: [][]uint32{{test.required}}}
		assert.Equal(t, test.want, c.Increase(0, f, test.bitrate, true, test.loss), test)
	}
}

// TestDowngrade: after bandwidth has forced a lower spatial layer, no higher one
// is tried for ten seconds.
func TestDowngrade(t *testing.T) {
	f := three()
	begin := func(preferred Layers, sending time.Duration) *Chooser {
		c := New(Simulcast, 3, 3)
		c.Prefer(preferred)
		c.Target, c.Current = Layers{1, 2}, Layers{1, 2}
		c.Increase(time.Minute, f, 100, false, 0)
		assert.Equal(t, Layers{0, 0}, c.Apply(time.Minute, sending))
		c.Target, c.Current = Layers{0, 0}, Layers{0, 0}
		return &c
	}
	c := begin(Layers{2, 2}, 9*time.Second)
	assert.Equal(t, Layers{0, 2}, c.Recalculate(time.Minute+9*time.Second, f, true))
	steps := func(now time.Duration) (steps []Layers) {
		for c.Increase(now, f, 5000, false, 0) != 0 {
			steps = append(steps, c.provisional)
		}
		c.Apply(now, 0)
		return steps
	}
	assert.Equal(t, []Layers{{0, 0}, {0, 1}, {0, 2}}, steps(time.Minute+9*time.Second))
	assert.Len(t, steps(time.Minute+10*time.Second), 9)
	assert.Equal(t, Layers{2, 2}, c.Recalculate(time.Minute+10*time.Second, f, true))

	c = begin(Layers{2, 2}, 9*time.Second)
	c.Forget()
	assert.Equal(t, Layers{2, 2}, c.Recalculate(time.Minute+time.Second, f, true))
	c = begin(Layers{2, 2}, 8*time.Second)
	assert.Equal(t, Layers{2, 2}, c.Recalculate(time.Minute+time.Second, f, true), "it has hardly begun")
	c = begin(Layers{0, 2}, 9*time.Second)
	c.Prefer(Layers{2, 2})
	assert.Equal(t, Layers{2, 2}, c.Recalculate(time.Minute+time.Second, f, true), "it was what was preferred")
}

func TestDesired(t *testing.T) {
	for kind, want := range map[Kind]uint32{Simulcast: 2000, KeySVC: 2000, SVC: 2700} {
		c := New(kind, 3, 3)
		c.Prefer(Layers{0, 0})
		assert.Equal(t, want, c.Desired(three()))
	}
}
