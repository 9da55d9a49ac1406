package score

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestSample(t *testing.T) {
	tests := map[string]struct {
		interval Interval
		want     uint8
	}{
		"nothing arrived":                    {Interval{Lost: 50}, 0},
		"all arrived":                        {Interval{Delivered: 50}, 10},
		"a fifth lost":                       {Interval{Delivered: 25, Lost: 5}, 4},
		"lost as much as delivered":          {Interval{Delivered: 25, Lost: 25}, 0},
		"lost more than delivered":           {Interval{Delivered: 25, Lost: 5000}, 0},
		"a fifth lost and repaired":          {Interval{Delivered: 25, Lost: 5, Repaired: 5, Retransmitted: 5}, 7},
		"repaired at the second attempt":     {Interval{Delivered: 25, Lost: 5, Repaired: 5, Retransmitted: 10}, 6},
		"retransmitted in vain":              {Interval{Delivered: 25, Lost: 5, Retransmitted: 10}, 4},
		"repairs without loss":               {Interval{Delivered: 25, Repaired: 5, Retransmitted: 5}, 10},
		"repairs without loss and RTX":       {Interval{Delivered: 25, Repaired: 5, Retransmitted: 5, LateRepairs: true}, 7},
		"more late repairs than packets":     {Interval{Delivered: 5, Repaired: 50, Retransmitted: 50, LateRepairs: true}, 0},
		"three of 28 lost and repaired (03)": {Interval{Delivered: 25, Lost: 3, Repaired: 3, Retransmitted: 3}, 8},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, test.want, test.interval.Sample())
		})
	}
}

// TestRecorded compares with the scores that mediasoup's worker gave in the
// scenarios 09-score-*: one sample for each report, and the scores notified.
func TestRecorded(t *testing.T) {
	repeat := func(n int, v ...uint8) (list []uint8) {
		for range n {
			list = append(list, v...)
		}
		return list
	}
	join := func(parts ...[]uint8) (list []uint8) {
		for _, p := range parts {
			list = append(list, p...)
		}
		return list
	}
	lossy := Interval{Delivered: 25, Lost: 5}.Sample()
	repaired := Interval{Delivered: 25, Lost: 5, Repaired: 5, Retransmitted: 5}.Sample()
	upstream := Interval{Delivered: 40, Lost: 10}.Sample()
	edge := Interval{Delivered: 45, Lost: 5}.Sample() // loss began or ended in the middle
	tests := map[string]struct {
		samples []uint8
		want    []uint8 // changes
	}{
		"downstream":          {join(repeat(3, 10), repeat(5, lossy), repeat(8, 10)), []uint8{8, 6, 5, 6, 7, 8, 9}},
		"downstream repaired": {join(repeat(3, 10), repeat(5, repaired), repeat(4, 10)), []uint8{9, 8, 9}},
		"upstream":            {join(repeat(2, 10), repeat(1, edge), repeat(3, upstream), repeat(1, edge), repeat(7, 10)), []uint8{8, 6, 5, 4, 5, 6, 7, 8, 9}},
		"upstream total":      {join(repeat(8, 10), repeat(1, 0), repeat(7, 10)), []uint8{8, 9}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var h History
			h.Reset(Max)
			var got []uint8
			for _, s := range test.samples {
				if h.Add(s) {
					got = append(got, h.Value())
				}
			}
			assert.Equal(t, test.want, got)
		})
	}
}

func TestHistory(t *testing.T) {
	var h History
	assert.Zero(t, h.Value())
	assert.True(t, h.Reset(Max))
	assert.False(t, h.Reset(Max))
	for range window {
		h.Add(0)
	}
	assert.Zero(t, h.Value(), "what preceded the window is forgotten")
	for range window {
		h.Add(10)
	}
	assert.Equal(t, uint8(10), h.Value())
	h.Add(0)
	assert.Equal(t, uint8(9), h.Value(), "the newest sample weighs 24 of 300")
	assert.True(t, h.Reset(0))
	assert.True(t, h.Add(10))
	assert.Equal(t, uint8(10), h.Value(), "a reset forgets the samples")
	assert.Zero(t, testing.AllocsPerRun(100, func() { h.Add(3) }))
}
