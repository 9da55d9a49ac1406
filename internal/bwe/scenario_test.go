package bwe

import (
	"fmt"
	"slices"
	"time"
)

// A scenario is a path and what is sent over it.
type scenario struct {
	name  string // of its plot
	about string
	link  link // queue in seconds of the highest rate, see variant
	long  time.Duration
	start func(w *world)
	gates func(r *run) []gate
}

// A variant is one way to run a scenario.
type variant struct {
	seed  uint64
	queue time.Duration // of the link's first rate
}

// A gate is a measured figure and its bound.
type gate struct {
	what  string
	value float64
	bound float64
	most  bool // bound is the highest value, not the lowest
	unit  string
}

func (g gate) passed() bool {
	if g.most {
		return g.value <= g.bound
	}
	return g.value >= g.bound
}

func (g gate) String() string {
	sign := "≥"
	if g.most {
		sign = "≤"
	}
	return fmt.Sprintf("%s %.4g%s (%s %.4g%s)", g.what, g.value, g.unit, sign, g.bound, g.unit)
}

// A run is a scenario that was run.
type run struct {
	*world
	long time.Duration
}

func (s *scenario) run(v variant) *run {
	w := newWorld(v.seed)
	w.link = s.link
	if w.link.delay == 0 {
		w.link.delay = 25 * time.Millisecond
	}
	w.link.queue = w.link.steps[0].rate / 8 * v.queue.Seconds()
	s.start(w)
	w.run(s.long)
	return &run{w, s.long}
}

func constant(rate float64) []step { return []step{{0, rate}} }

// carried returns what the line carried, in bytes; flow < 0: all.
func (r *run) carried(flow int, from, to time.Duration) float64 {
	sum := 0
	for _, c := range r.link.bytes {
		if c.at > from && c.at <= to && (flow < 0 || c.flow == flow) {
			sum += c.size
		}
	}
	return float64(sum)
}

// utilisation returns which part of the line was used.
func (r *run) utilisation(from, to time.Duration) float64 {
	capacity := 0.0
	for at := from; at < to; at += 10 * time.Millisecond {
		capacity += r.link.rate(at) / 8 * 0.01
	}
	return r.carried(-1, from, to) / capacity
}

// p95 returns the 95th percentile of the queueing delay in ms, without the
// first 2 s after each change.
func (r *run) p95() float64 {
	var all []time.Duration
	for _, w := range r.waits {
		steady := true
		for _, s := range r.link.steps {
			steady = steady && (w.at < s.at || w.at >= s.at+2*time.Second)
		}
		if steady {
			all = append(all, w.d)
		}
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return ms(all[len(all)*95/100])
}

func (r *run) queueGate() gate {
	return gate{what: "queue p95", value: r.p95(), bound: 150, most: true, unit: " ms"}
}

// reaches returns how many seconds after from the estimate of a flow is at
// least rate.
func (r *run) reaches(f *flow, from time.Duration, rate float64) float64 {
	for _, s := range f.samples {
		if s.at >= from && s.estimate >= rate {
			return (s.at - from).Seconds()
		}
	}
	return 1e9
}

// falls returns how many seconds after from neither the estimate nor what is
// sent is above rate, for a second.
func (r *run) falls(f *flow, from time.Duration, rate float64) float64 {
	since := time.Duration(-1)
	for _, s := range f.samples {
		switch {
		case s.at < from:
		case s.estimate > rate || s.sent > rate:
			since = -1
		case since < 0:
			since = s.at
		case s.at-since >= time.Second:
			return (since - from).Seconds()
		}
	}
	return 1e9
}

// runaway returns the highest quotient of the estimate and what was sent within
// 5 s, in an interval.
func (r *run) runaway(f *flow, from, to time.Duration) float64 {
	worst := 0.0
	for _, s := range f.samples {
		if s.at >= from && s.at <= to {
			worst = max(worst, s.estimate/f.rate(s.at-5*time.Second, s.at))
		}
	}
	return worst
}

func jain(x ...float64) float64 {
	var sum, squares float64
	for _, v := range x {
		sum += v
		squares += v * v
	}
	return sum * sum / (float64(len(x)) * squares)
}

var simulcast = []float64{150e3, 500e3, 1.6e6}

func stepGates(r *run) []gate {
	f := r.flows[0]
	g := []gate{
		{what: "down", value: r.falls(f, 30*time.Second, 550e3), bound: 4, most: true, unit: " s"},
		{what: "up", value: r.reaches(f, 60*time.Second, 1.7e6), bound: 8, most: true, unit: " s"},
		r.queueGate(),
	}
	if l, ok := f.source.(*layered); ok {
		at := 1e9
		for _, t := range l.tops {
			if t > 60*time.Second {
				at = (t - 60*time.Second).Seconds()
				break
			}
		}
		g = append(g, gate{what: "top layer after", value: at, bound: 9, most: true, unit: " s"})
	}
	return g
}

var steps = []step{{0, 2e6}, {30 * time.Second, 500e3}, {60 * time.Second, 2e6}}

func utilisationGates(bound float64) func(r *run) []gate {
	return func(r *run) []gate {
		return []gate{
			{what: "utilisation", value: 100 * r.utilisation(10*time.Second, r.long), bound: bound, unit: " %"},
			r.queueGate(),
		}
	}
}

// watchShares counts how often consumers of a higher priority have at least the
// layer of those of a lower one, and how often all have one, from second 10 on.
func watchShares(f *flow, s *shared) {
	var look func()
	look = func() {
		c := &f.w.shares
		c.n++
		ordered, served := true, true
		for i, t := range s.targets {
			served = served && t >= 0
			ordered = ordered && (i == 0 || s.targets[i-1] >= t)
		}
		if ordered {
			c.ordered++
		}
		if served {
			c.served++
		}
		f.w.at(f.w.now+sampleEvery, look)
	}
	f.w.at(10*time.Second, look)
}

func oneElastic(w *world) { w.start(0, 300_000, &elastic{max: 3e6}, nil) }

// oneLossy loses feedback like packets.
func oneLossy(w *world) { w.start(0, 300_000, &elastic{max: 3e6}, nil).lossy = true }

var scenarios = []scenario{
	{
		name: "step-layered", about: "2 M → 500 k → 2 M, simulcast of three layers (150 k, 500 k, 1.6 M)",
		link: link{steps: steps}, long: 90 * time.Second,
		start: func(w *world) { w.start(0, 600_000, &layered{rates: simulcast}, nil) },
		gates: stepGates,
	},
	{
		name: "step-elastic", about: "2 M → 500 k → 2 M, an encoder that follows the estimate",
		link: link{steps: steps}, long: 90 * time.Second,
		start: func(w *world) { w.start(0, 600_000, &elastic{max: 3e6}, nil) },
		gates: stepGates,
	},
	{
		name: "ramp-elastic", about: "from 300 k to a line of 2 M, an encoder that follows the estimate",
		link: link{steps: constant(2e6)}, long: 20 * time.Second,
		start: oneElastic,
		gates: func(r *run) []gate {
			return []gate{{what: "reaches 1.8 M", value: r.reaches(r.flows[0], 0, 1.8e6), bound: 4, most: true, unit: " s"}, r.queueGate()}
		},
	},
	{
		name: "ramp-layered", about: "from 300 k to a line of 2 M, simulcast of three layers",
		link: link{steps: constant(2e6)}, long: 20 * time.Second,
		start: func(w *world) { w.start(0, 300_000, &layered{rates: simulcast}, nil) },
		gates: func(r *run) []gate {
			return []gate{{what: "reaches 1.8 M", value: r.reaches(r.flows[0], 0, 1.8e6), bound: 4, most: true, unit: " s"}, r.queueGate()}
		},
	},
	{
		name: "limited", about: "a source of 250 k on a line of 2 M, nothing probed until second 30, then wanting 2 M",
		link: link{steps: constant(2e6)}, long: 45 * time.Second,
		start: func(w *world) {
			f := w.start(0, 300_000, &fixed{rate: 250e3}, &Limits{})
			w.at(30*time.Second, func() { f.est.SetLimits(w.now, Limits{Max: 3e6, Padding: 2e6}) })
		},
		gates: func(r *run) []gate {
			f := r.flows[0]
			return []gate{
				{what: "estimate / sent", value: r.runaway(f, 5*time.Second, 30*time.Second), bound: 1.5, most: true},
				{what: "probed 1.7 M after", value: r.reaches(f, 30*time.Second, 1.7e6), bound: 4, most: true, unit: " s"},
				r.queueGate(),
			}
		},
	},
	{
		name: "loss-random", about: "10 % random loss on 2 M, feedback too",
		link: link{steps: constant(2e6), loss: randomLoss(0.1)}, long: 60 * time.Second,
		start: oneLossy, gates: utilisationGates(85),
	},
	{
		name: "loss-bursts", about: "5 % loss in bursts (Gilbert-Elliott, 8 packets long) on 2 M, feedback too",
		link: link{steps: constant(2e6), loss: burstLoss(0.05, 4)}, long: 60 * time.Second,
		start: oneLossy, gates: utilisationGates(80),
	},
	{
		name: "rtt-200", about: "200 ms round trip on 2 M",
		link: link{steps: constant(2e6), delay: 100 * time.Millisecond}, long: 60 * time.Second,
		start: oneElastic, gates: utilisationGates(80),
	},
	{
		name: "two-flows", about: "two flows on 3 M, the second from second 10 on",
		link: link{steps: constant(3e6)}, long: 120 * time.Second,
		start: func(w *world) {
			w.start(0, 300_000, &elastic{max: 3e6}, nil)
			w.start(10*time.Second, 300_000, &elastic{max: 3e6}, nil)
		},
		gates: func(r *run) []gate {
			a, b := r.carried(0, 60*time.Second, r.long), r.carried(1, 60*time.Second, r.long)
			return []gate{
				{what: "Jain", value: jain(a, b), bound: 0.9},
				{what: "utilisation", value: 100 * r.utilisation(10*time.Second, r.long), bound: 80, unit: " %"},
				r.queueGate(),
			}
		},
	},
	{
		name: "priority", about: "eight consumers of three layers (100 k, 300 k, 900 k) on 3 M, two of each priority 8, 4, 2, 1",
		link: link{steps: constant(3e6)}, long: 60 * time.Second,
		start: func(w *world) {
			s := newShared([]float64{100e3, 300e3, 900e3}, 8, 8, 4, 4, 2, 2, 1, 1)
			f := w.start(0, 600_000, s, nil)
			watchShares(f, s)
		},
		gates: func(r *run) []gate {
			s := r.shares
			return []gate{
				{what: "in order of priority", value: 100 * float64(s.ordered) / float64(s.n), bound: 95, unit: " %"},
				{what: "all served", value: 100 * float64(s.served) / float64(s.n), bound: 95, unit: " %"},
				{what: "utilisation", value: 100 * r.utilisation(10*time.Second, r.long), bound: 70, unit: " %"},
				r.queueGate(),
			}
		},
	},
	{
		name: "tcp", about: "a flow that fills the queue (window halved on loss) from second 20 to the end, on 3 M",
		link: link{steps: constant(3e6)}, long: 80 * time.Second,
		start: func(w *world) {
			w.start(0, 300_000, &elastic{max: 3e6}, nil)
			w.startTCP(20 * time.Second)
		},
		gates: func(r *run) []gate {
			return []gate{{what: "share", value: 100 * r.carried(0, 30*time.Second, r.long) / r.carried(-1, 30*time.Second, r.long), bound: 2, unit: " %"}}
		},
	},
	{
		name: "shallow", about: "a queue of a third of the usual on 2 M, frames paced",
		link: link{steps: constant(2e6)}, long: 60 * time.Second,
		start: func(w *world) {
			w.link.queue /= 3
			w.start(0, 300_000, &elastic{max: 3e6}, nil).paced = true
		},
		gates: func(r *run) []gate {
			return append(utilisationGates(60)(r), gate{what: "lost", value: 100 * float64(r.count.lost) / float64(r.count.sent), bound: 15, most: true, unit: " %"})
		},
	},
	{
		name: "jitter", about: "up to 30 ms of jitter on 2 M",
		link: link{steps: constant(2e6), jitter: 30 * time.Millisecond}, long: 60 * time.Second,
		start: oneElastic, gates: utilisationGates(70),
	},
}
