package audiolevel

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func talk(s *Source, packets int, level uint8) {
	for range packets {
		s.Level(level)
	}
}

func TestVolumes(t *testing.T) {
	o := New(-80, 2)
	a, b, c := o.Add("a"), o.Add("b"), o.Add("c")
	talk(a, 10, 60)
	talk(b, 10, 20)
	talk(c, 10, 40)
	v, silence := o.Tick()
	assert.Equal(t, []Volume{{"b", -20}, {"c", -40}}, v, "the loudest first, two at most")
	assert.False(t, silence)

	talk(a, 10, 80)
	talk(b, 9, 0)
	talk(c, 10, 81)
	v, _ = o.Tick()
	assert.Equal(t, []Volume{{"a", -80}}, v, "as loud as the threshold, and often enough")
}

func TestMeanIsTruncated(t *testing.T) {
	o := New(-127, 1)
	a := o.Add("a")
	talk(a, 5, 20)
	talk(a, 6, 21)
	v, _ := o.Tick()
	assert.Equal(t, []Volume{{"a", -20}}, v)
	talk(a, 20, 127)
	v, _ = o.Tick()
	assert.Equal(t, []Volume{{"a", -127}}, v)
}

func TestEqualVolumes(t *testing.T) {
	o := New(-127, 3)
	for _, id := range []string{"a", "b", "c"} {
		talk(o.Add(id), 10, 30)
	}
	v, _ := o.Tick()
	assert.Equal(t, []Volume{{"a", -30}, {"b", -30}, {"c", -30}}, v)
}

func TestSilenceComesOnce(t *testing.T) {
	o := New(-50, 1)
	a := o.Add("a")
	tick := func(level uint8) (heard, silence bool) {
		talk(a, 50, level)
		v, silence := o.Tick()
		return v != nil, silence
	}
	for i, c := range []struct {
		level          uint8
		heard, silence bool
	}{
		{127, false, false}, // it was silent from the beginning
		{30, true, false}, {30, true, false}, {60, false, true}, {60, false, false}, {50, true, false}, {51, false, true},
	} {
		heard, silence := tick(c.level)
		assert.Equal(t, []bool{c.heard, c.silence}, []bool{heard, silence}, i)
	}
}

func TestPause(t *testing.T) {
	o := New(-80, 1)
	a := o.Add("a")
	assert.False(t, o.Pause(), "silent already")
	talk(a, 10, 10)
	o.Tick()
	talk(a, 10, 10)
	assert.True(t, o.Pause())
	assert.False(t, o.Pause())
	v, silence := o.Tick()
	assert.Nil(t, v, "counted anew")
	assert.False(t, silence)
}

func TestRemove(t *testing.T) {
	o := New(-80, 1)
	a := o.Add("a")
	talk(a, 10, 10)
	o.Remove(a)
	v, _ := o.Tick()
	assert.Nil(t, v)
	o.Remove(a)
}
