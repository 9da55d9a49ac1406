// Package placement decides on which Worker a Transport goes. It knows loads
// and nothing else: no Worker, no clock, no lock. Package vertical asks it, and
// its tests ask it ten thousand times against a model of what media costs.
//
// A room whose Transports are on one Worker needs no pipe. So the question is
// always the same: stay together, or go where there is room?
package placement

import "time"

// New is what [Policy.Place] returns for a Worker that is yet to be started.
const New = -1

// DefaultWatermark is the load, 1 is one core, above which a Worker gets no more
// Transports while there is another one.
const DefaultWatermark = 0.6

// A Candidate is a Worker on which a Transport can be placed.
type Candidate struct {
	// Load is the share of one core that the Worker used when it was last
	// measured: 1 is all of it.
	Load float64
	// Recent is what Transports will add to Load that were placed since; see [Meter].
	Recent float64
	// PacketsPerSecond is how many packets the Worker received and sent in the last
	// second, 0 if nobody knows. Policies of this package go by the CPU, which is what
	// packets cost; where something else gives out first, the network for one, a
	// policy of your own may weigh them.
	PacketsPerSecond float64
	// Transports is how many the Worker has, those of all Routers.
	Transports int
	// Registered says that the Router in question has Transports there already.
	Registered bool
}

// Expected returns the load that the Worker will have once everybody who was
// placed on it sends and receives, 1 is one core.
func (c *Candidate) Expected() float64 { return c.Load + c.Recent }

// A View is what a policy decides upon.
type View struct {
	// Candidates are the Workers in the order in which they were started.
	Candidates []Candidate
	// CanGrow says that one more may be started. It is true where there is no
	// candidate.
	CanGrow bool
	// Watermark is the load, 1 is one core, above which a Worker counts as full.
	Watermark float64
}

// A Policy chooses a Worker for a Transport. It may remember what it did, so each
// SFU needs one of its own.
type Policy interface {
	// Place returns the index of a candidate of v, or [New] if v.CanGrow. Package
	// vertical takes anything else for New, or where it can't grow for 0. It calls
	// Place on one goroutine at a time, with a lock of the SFU held: Place must not
	// wait, nor call the SFU. v is the caller's: it must not be kept.
	Place(v *View) int
}

// least returns the index of the candidate of those that ok takes which expects
// the least load, the first of equals; New if ok takes none.
func (v *View) least(ok func(*Candidate) bool) int {
	best := New
	for i := range v.Candidates {
		c := &v.Candidates[i]
		if ok(c) && (best == New || c.Expected() < v.Candidates[best].Expected()) {
			best = i
		}
	}
	return best
}

// most is least for the highest load.
func (v *View) most(ok func(*Candidate) bool) int {
	best := New
	for i := range v.Candidates {
		c := &v.Candidates[i]
		if ok(c) && (best == New || c.Expected() > v.Candidates[best].Expected()) {
			best = i
		}
	}
	return best
}

// expected returns what candidate i expects; one that does not exist yet has no load.
func (v *View) expected(i int) float64 {
	if i == len(v.Candidates) {
		return 0
	}
	return v.Candidates[i].Expected()
}

// lean returns the least loaded candidate of the Router, unless another one has
// at least slack less. There must be a candidate.
func (v *View) lean(slack float64) int {
	own, best := v.least(registered), v.least(anyone)
	if own != New && v.Candidates[own].Expected()-v.Candidates[best].Expected() < slack {
		return own
	}
	return best
}

func anyone(*Candidate) bool       { return true }
func registered(c *Candidate) bool { return c.Registered }

func (v *View) below(c *Candidate) bool { return c.Expected() < v.Watermark }

// Cost is what a [Meter] takes for the load of one Transport of which nothing
// was measured yet; 1 is one core.
const Cost = 0.01

// window is how long it takes until what a Transport costs is in what is
// measured: the endpoint has to connect and to be heard.
const window = 10 * time.Second

// A Meter remembers what was measured of one Worker, and which Transports were
// placed there since, so that a herd that joins within a second is not taken for
// no load at all. The zero Meter is an idle Worker. It is for one goroutine at a
// time.
type Meter struct {
	load   float64
	placed []time.Time // within the last window, in ascending order
}

// Measure says what load was measured, 1 is one core.
func (m *Meter) Measure(load float64) { m.load = load }

// Place says that a Transport was placed. now must not go back.
func (m *Meter) Place(now time.Time) {
	m.forget(now)
	m.placed = append(m.placed, now)
}

func (m *Meter) forget(now time.Time) {
	n := 0
	for n < len(m.placed) && now.Sub(m.placed[n]) >= window {
		n++
	}
	m.placed = m.placed[n:]
}

// Read returns the load that was measured last, and what the Transports add that
// were placed lately: [Cost] for each at first, and evenly less until, ten seconds
// later, it is in what is measured. now must not go back.
func (m *Meter) Read(now time.Time) (load, recent float64) {
	m.forget(now)
	for _, at := range m.placed {
		recent += Cost * (1 - float64(now.Sub(at))/float64(window))
	}
	return m.load, recent
}
