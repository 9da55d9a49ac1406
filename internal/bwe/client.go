package bwe

import (
	"math"
	"time"
)

const (
	desiredFactor = 1.35 // of what is desired, may be sent
	paddingFactor = 0.85 // of that, may be probed for
	trendFall     = 0.05 // of the peak, a second
	// A maximum stays while it is this near to the one that it would become.
	keepLow, keepHigh = 0.9, 1.1

	notifyInterval = time.Second
	notifyDrop     = 0.75 // of the last value: heard at once
	notifyRise     = 1.5
)

// A Client says what an Estimator may be asked for, given what the application
// desires, and when the application hears of a new estimate. The rules are
// those of mediasoup's transport congestion control client. Make it with
// [NewClient].
type Client struct {
	initial          uint64
	minimum, maximum uint64 // set by the application; 0: none

	desired uint64
	trend   float64
	peak    float64
	peakAt  time.Duration

	max, padding uint64
	start        uint64

	armed  bool // a first value came
	told   bool // the application heard of one
	toldAt time.Duration
	last   uint64 // value that the application heard
}

// NewClient returns a Client that has no desire; initial is the initial
// available outgoing bitrate in bit/s, at least 30,000.
func NewClient(initial uint64) *Client {
	c := &Client{initial: max(initial, AbsoluteMin)}
	c.start = c.initial
	c.resize()
	return c
}

// SetMaximum sets the highest outgoing bitrate, in bit/s; 0: none.
func (c *Client) SetMaximum(bitrate uint64) { c.maximum = bitrate; c.resize() }

// SetMinimum sets the lowest outgoing bitrate, in bit/s; 0: none.
func (c *Client) SetMinimum(bitrate uint64) { c.minimum = bitrate }

// SetDesired tells the sum of what all consumers could use, in bit/s. A lower
// value comes into force slowly, 5 % of the highest a second; force makes it so
// at once.
func (c *Client) SetDesired(now time.Duration, bitrate uint64, force bool) {
	c.desired = bitrate
	v := float64(min(bitrate, math.MaxUint32))
	switch {
	case force || v >= c.trend:
		c.trend, c.peak, c.peakAt = v, v, now
	default:
		fall := c.peak * trendFall * (now - c.peakAt).Seconds()
		c.trend = math.Floor(max(v, c.peak-fall))
	}
	c.resize()
	c.start = max(AbsoluteMin, c.last)
}

// resize computes the highest rate to ask for.
func (c *Client) resize() {
	limit := c.initial
	if c.trend > 0 {
		limit = max(limit, uint64(math.Round(c.trend*desiredFactor)))
	}
	if old := float64(c.max); old > keepLow*float64(limit) && old < keepHigh*float64(limit) {
		limit = c.max
	}
	if c.maximum > 0 {
		limit = min(limit, c.maximum)
	}
	if limit != c.max {
		c.max = limit
		c.padding = uint64(paddingFactor * float64(limit))
	}
}

// Limits returns what [Estimator.SetLimits] is to be told after a change.
func (c *Client) Limits() Limits {
	return Limits{Min: max(c.minimum, AbsoluteMin), Max: c.max, Padding: c.padding}
}

// Update takes the estimate, after each [Estimator.Feedback] and
// [Estimator.Tick]. It reports whether the application has to hear of it now:
// distribute it among the consumers. The first value is never told.
func (c *Client) Update(now time.Duration, available uint64) bool {
	if !c.armed {
		c.armed, c.toldAt = true, now
		return false
	}
	if !c.told {
		c.told = true
		c.tell(now, available)
		return true
	}
	if available == c.initial && available != c.last {
		return false
	}
	if now-c.toldAt < notifyInterval &&
		float64(available) >= notifyDrop*float64(c.last) && float64(available) <= notifyRise*float64(c.last) {
		return false
	}
	c.tell(now, available)
	return true
}

func (c *Client) tell(now time.Duration, available uint64) { c.toldAt, c.last = now, available }

// Distributed takes note that the estimate was distributed for another reason,
// so that there is no hurry to do it again.
func (c *Client) Distributed(now time.Duration) { c.toldAt = now }

// Available returns the bitrate to distribute, in bit/s: the last that the
// application heard of.
func (c *Client) Available() uint64 {
	if !c.told {
		return c.initial
	}
	return c.last
}

// A Trace describes a Client for the «bwe» trace event; all in bit/s.
type Trace struct {
	Desired          uint64
	EffectiveDesired uint64 // falls slowly
	Min, Max         uint64
	Start            uint64
	MaxPadding       uint64
	Available        uint64
}

// Trace returns the state of the Client.
func (c *Client) Trace() Trace {
	return Trace{
		Desired: c.desired, EffectiveDesired: uint64(c.trend), Min: max(c.minimum, AbsoluteMin), Max: c.max,
		Start: c.start, MaxPadding: c.padding, Available: c.Available(),
	}
}
