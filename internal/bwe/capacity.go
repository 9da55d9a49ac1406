package bwe

import "math"

const (
	capacityOver  = 0.05 // weight of what over-use showed
	capacityProbe = 0.5  // weight of what a probe showed
	minDeviation  = 0.4  // variance / mean, kbit/s
	maxDeviation  = 2.5
	deviations    = 3 // around the mean that still mean the same link
)

// A capacity is what the narrowest link was seen to carry when it was full,
// and how far such observations scatter.
type capacity struct {
	mean      float64 // kbit/s; 0: unknown
	deviation float64 // variance / mean
}

func (c *capacity) forget() { c.mean = 0 }

// add takes a rate that filled the link, in bit/s.
func (c *capacity) add(rate, weight float64) {
	kbit := rate / 1000
	if c.deviation == 0 {
		c.deviation = minDeviation
	}
	if c.mean == 0 {
		c.mean = kbit
		return
	}
	off := c.mean - kbit
	c.mean += weight * (kbit - c.mean)
	norm := max(c.mean, 1)
	c.deviation += weight * (off*off/norm - c.deviation)
	c.deviation = min(max(c.deviation, minDeviation), maxDeviation)
}

func (c *capacity) spread() float64 { return deviations * math.Sqrt(c.deviation*c.mean) }

// low and high bound the rates that mean the same link, in bit/s.
func (c *capacity) low() float64  { return 1000 * max(0, c.mean-c.spread()) }
func (c *capacity) high() float64 { return 1000 * (c.mean + c.spread()) }
