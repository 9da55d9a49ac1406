package bwe

import (
	"math"
	"time"
)

const (
	backoff      = 0.85 // of what was delivered, after over-use
	growth       = 1.08 // a second, far from the capacity
	minGrowth    = 4000 // bit/s a second, near it
	packetSize   = 1200 // bytes
	packets      = 2    // the step near the capacity in one response time
	responseTime = 100 * time.Millisecond
	// headroom is how far the rate may grow over what was delivered: beyond it
	// nothing is known.
	headroom = 1.3
	// A path that went on being over-used for one round trip is backed off from
	// again.
	minBackoffInterval = 100 * time.Millisecond
	maxBackoffInterval = 300 * time.Millisecond
	// A queue that grows although this part of the rate is delivered is mostly
	// that of others: there is no hurry.
	mild              = 0.9
	mildInterval      = 800 * time.Millisecond
	maxUpdateInterval = time.Second

	// What a train shows of a full line is its share among the trains of
	// others, more than what one can get for long. So for a while after over-use
	// it must be this much more than what was delivered then.
	shareFactor = 1.5
	shareMemory = 15 * time.Second
)

// An aimd raises a rate until the path is over-used and then falls below what
// was delivered: additive near the known capacity, multiplicative far from it
// (draft-ietf-rmcat-gcc-02 §5.6).
type aimd struct {
	rate      float64 // bit/s
	holding   bool    // after a decrease, until the path is seen normal
	updated   time.Duration
	decreased time.Duration // last time
	dropped   bool          // decreased is set
	reached   float64       // what was delivered at that time, bit/s
	capacity  capacity
	spare     float64 // bit/s beyond the headroom; constant
}

// set gives the rate a value from elsewhere.
func (a *aimd) set(now time.Duration, rate float64) {
	a.rate, a.updated = rate, now
}

// update takes what the delay says. delivered is the rate at which the path
// delivers, in bit/s, 0 while unknown; still says that the rate must not grow.
func (a *aimd) update(now time.Duration, u usage, delivered float64, rtt time.Duration, still bool) {
	dt := min(max(now-a.updated, 0), maxUpdateInterval)
	a.updated = now
	switch {
	case u == overUse:
		a.decrease(now, delivered, rtt)
	case u == underUse:
		a.holding = true
	case still:
	case a.holding:
		a.holding = false
	default:
		a.increase(dt, delivered, rtt)
	}
}

func (a *aimd) decrease(now time.Duration, delivered float64, rtt time.Duration) {
	a.holding = true
	wait := min(max(rtt, minBackoffInterval), maxBackoffInterval)
	if delivered > mild*a.rate {
		wait = mildInterval
	}
	if a.dropped && now-a.decreased < wait && delivered > a.rate/2 {
		return
	}
	if delivered == 0 {
		a.rate *= backoff
	} else {
		rate := backoff * delivered
		if rate > a.rate && a.capacity.mean != 0 {
			rate = backoff * a.capacity.mean * 1000
		}
		a.rate = min(a.rate, rate)
		if delivered < a.capacity.low() {
			a.capacity.forget()
		}
		a.capacity.add(delivered, capacityOver)
	}
	a.dropped, a.decreased, a.reached = true, now, max(delivered, a.rate)
}

// fall lowers the rate to what losses say that the line carries.
func (a *aimd) fall(now time.Duration, rate float64) {
	if rate < a.capacity.low() {
		a.capacity.forget()
	}
	a.capacity.add(rate, capacityOver)
	a.dropped, a.decreased, a.reached = true, now, rate
	a.set(now, rate)
}

// trust returns how much of the rate to believe that a probe showed; saturated
// says that it filled the line.
func (a *aimd) trust(now time.Duration, rate float64, saturated bool) float64 {
	switch {
	case !a.dropped || now-a.decreased > shareMemory:
		return rate
	case !saturated: // perhaps the others were just silent
		return min(rate, shareFactor*a.rate)
	case rate > shareFactor*a.reached:
		return rate
	}
	return min(rate, backoff*a.reached)
}

func (a *aimd) increase(dt time.Duration, delivered float64, rtt time.Duration) {
	if delivered == 0 {
		return
	}
	if a.capacity.mean != 0 && delivered > a.capacity.high() {
		a.capacity.forget()
	}
	var rate float64
	if a.capacity.mean != 0 {
		rate = a.rate + a.slope(rtt)*dt.Seconds()
	} else {
		rate = a.rate * math.Pow(growth, dt.Seconds())
	}
	a.rate = max(a.rate, min(rate, headroom*delivered+a.spare))
}

// slope returns the growth near the capacity, in bit/s a second: about one
// packet in each response time.
func (a *aimd) slope(rtt time.Duration) float64 {
	return max(minGrowth, packets*packetSize*8/(rtt+responseTime).Seconds())
}
