package placement

import "math/rand/v2"

// Concentrate returns the policy that keeps Transports together: it fills one
// Worker up to the watermark before it takes the next one. Workers of the Router
// come first, then those of others, then a new one; of several, the most loaded.
// So there are as few pipes and as few Workers as the load allows. Once nothing
// is below the watermark and nothing can be started it stays on the least loaded
// Worker of the Router, unless another one has 10 points less.
func Concentrate() Policy { return concentrate{} }

type concentrate struct{}

func (concentrate) Place(v *View) int {
	if i := v.most(func(c *Candidate) bool { return c.Registered && v.below(c) }); i != New {
		return i
	}
	if i := v.most(v.below); i != New {
		return i
	}
	if v.CanGrow {
		return New
	}
	return v.lean(DefaultCascadeSlack)
}

// Spread returns the policy that puts each Transport on the least loaded
// Worker, and starts Workers as long as it can and none is idle. It has the
// shortest queues and the most pipes.
func Spread() Policy { return spread{} }

type spread struct{}

func (spread) Place(v *View) int {
	i := v.least(anyone)
	if v.CanGrow && (i == New || v.Candidates[i].Transports > 0) {
		return New
	}
	return i
}

// Defaults of [CascadeHysteresis]; 1 is one core.
const (
	// DefaultCascadeLimit is the load from which a Router moves on.
	DefaultCascadeLimit = 0.66
	// DefaultCascadeSlack is how much less load another Worker must have.
	DefaultCascadeSlack = 0.10
)

// CascadeHysteresis returns the policy that gives each Router the least loaded
// Worker, and leaves it there while that has less than limit; then it moves on
// only to a Worker that has at least slack less load, or to a new one. Both are
// loads, 1 is one core; 0 means [DefaultCascadeLimit] and [DefaultCascadeSlack].
func CascadeHysteresis(limit, slack float64) Policy {
	p := cascade{limit, slack}
	if limit == 0 {
		p.limit = DefaultCascadeLimit
	}
	if slack == 0 {
		p.slack = DefaultCascadeSlack
	}
	return p
}

type cascade struct{ limit, slack float64 }

func (p cascade) Place(v *View) int {
	own := v.least(registered)
	if own != New && v.Candidates[own].Expected() < p.limit {
		return own
	}
	if v.CanGrow {
		return Spread().Place(v)
	}
	return v.lean(p.slack)
}

// TwoChoice returns the policy that draws two Workers, of which one may be yet
// to be started, and takes the one with less load. It keeps loads even without
// sending everybody to the one Worker that was idle a moment ago. When both are
// over the watermark it does what [Concentrate] does. Equal seeds draw equally.
func TwoChoice(seed uint64) Policy {
	return &twoChoice{rand.New(rand.NewPCG(seed, 0))}
}

type twoChoice struct{ rand *rand.Rand }

func (p *twoChoice) Place(v *View) int {
	slots := len(v.Candidates)
	if v.CanGrow {
		slots++
	}
	i := p.rand.IntN(slots)
	if slots > 1 {
		j := p.rand.IntN(slots - 1)
		if j >= i {
			j++ // two different ones
		}
		if a, b := v.expected(i), v.expected(j); b < a || b == a && j < i {
			i = j
		}
	}
	switch {
	case i == len(v.Candidates):
		return New
	case !v.below(&v.Candidates[i]):
		return concentrate{}.Place(v)
	}
	return i
}
