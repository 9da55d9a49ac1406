package bwe

import (
	"time"
)

const (
	firstProbe  = 3 // × the initial rate, when the network comes up
	secondProbe = 6
	// A probe that shows this part of its rate is followed by one of twice what
	// it showed.
	furtherProbe = 0.7
	doubling     = 2
	// defaultProbeLimit bounds probes when the rate has no limit.
	defaultProbeLimit = 5e6

	answerTime = time.Second // for the feedback of a probe

	minProbeInterval = 2 * time.Second
	maxProbeInterval = 4 * time.Second
	probeRelax       = 1.5
	// settled is for how long the path must not have been over-used.
	settled = time.Second

	dropped     = 0.66 // of the rate before: a drop to recover from
	recovery    = 0.85 // of the rate before, to probe for
	recoverTime = 5 * time.Second
)

// A planner decides when to probe, and for what rate.
type planner struct {
	started bool          // first probes were sent
	asked   time.Duration // the last probe
	waiting bool          // for the result of it
	next    time.Duration // periodic probe
	every   time.Duration
	wake    bool // limits were raised: probe soon

	before    float64 // rate before a drop
	droppedAt time.Duration
}

func (p *planner) reset() { *p = planner{} }

// drop takes note that the rate fell.
func (p *planner) drop(now time.Duration, from, to float64) {
	if now-p.droppedAt < recoverTime && p.before > from {
		from = p.before
	}
	if to < dropped*from {
		p.before, p.droppedAt = from, now
		p.every = minProbeInterval
	}
	p.next = max(p.next, now+p.every)
}

// begin takes note that the first probes are under way.
func (p *planner) begin(now time.Duration) {
	p.started = true
	p.every = minProbeInterval
	p.ask(now)
}

// plan returns the rates to probe for now, 0 for none. rate is the estimate,
// wanted what the application could use and limit the most that may be probed
// for; clear says that nothing hinders a probe.
func (p *planner) plan(now time.Duration, rate, wanted, limit float64, clear bool) (first, second float64) {
	if limit <= 0 {
		limit = defaultProbeLimit
	}
	if wanted <= 0 || rate >= wanted {
		return 0, 0
	}
	if !p.started {
		p.begin(now)
		first, second = min(firstProbe*rate, limit), min(secondProbe*rate, limit)
		if second <= first {
			second = 0
		}
		return first, second
	}
	if p.waiting {
		if now-p.asked <= answerTime {
			return 0, 0
		}
		p.waiting = false
		p.relax()
	}
	if !clear || !p.wake && now < p.next {
		return 0, 0
	}
	p.wake = false
	first = doubling * rate
	if p.before > 0 && now-p.droppedAt < recoverTime && recovery*p.before > first {
		first = recovery * p.before
	}
	p.before = 0
	p.ask(now)
	return min(first, limit), 0
}

func (p *planner) ask(now time.Duration) {
	p.asked, p.waiting = now, true
	p.next = now + p.every
}

func (p *planner) relax() {
	p.every = min(time.Duration(float64(p.every)*probeRelax), maxProbeInterval)
	p.next = p.asked + p.every
}

// result takes what a probe showed and returns the rate to probe for next, 0
// for none.
func (p *planner) result(now time.Duration, planned, got, wanted, limit float64, helped bool) float64 {
	p.waiting = false
	if limit <= 0 {
		limit = defaultProbeLimit
	}
	if !helped {
		p.relax()
		return 0
	}
	p.every = minProbeInterval
	p.next = now + p.every
	if got < furtherProbe*planned || planned >= limit || got >= wanted {
		return 0
	}
	next := min(doubling*got, limit)
	if next <= planned {
		return 0
	}
	p.ask(now)
	return next
}
