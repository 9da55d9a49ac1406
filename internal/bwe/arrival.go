package bwe

import "time"

const (
	// groupSpan: packets sent within it belong together.
	groupSpan = 5 * time.Millisecond
	// burstGap: packets that arrive closer than this, and faster than they were
	// sent, were held up together and count as one group…
	burstGap = 5 * time.Millisecond
	// …up to this length.
	maxBurst = 100 * time.Millisecond
	// maxShift is by how much the arrival may be later than the sending says,
	// before the receiver's clock is believed to have jumped.
	maxShift = 3 * time.Second
	// maxReordered is how many groups in a row may arrive before the one before
	// them, until all is begun anew.
	maxReordered = 3
)

// A group is what was sent, or arrived, in one burst.
type group struct {
	firstSent, lastSent       time.Duration
	firstArrival, lastArrival time.Duration
	n                         int
}

// A delta compares a group with the one before.
type delta struct {
	sent    time.Duration // between their sendings
	arrival time.Duration // between their arrivals
}

// Groups cut the packets into groups and tell how the distance of two groups
// changed on the way (draft-ietf-rmcat-gcc-02 §5.2).
type groups struct {
	current, previous group
	reordered         int
}

func (g *groups) reset() { *g = groups{} }

// add takes a packet that arrived at a time of the receiver's clock. ok is
// true when it begins a new group and so ends one that has a predecessor.
func (g *groups) add(sent, arrival time.Duration) (d delta, ok bool) {
	c := &g.current
	switch {
	case c.n == 0:
		g.begin(sent, arrival)
		return d, false
	case sent < c.firstSent: // belongs to an older group
		return d, false
	case !g.joins(sent, arrival):
		d, ok = g.compare()
		if c.n == 0 {
			return d, false // compare has begun anew
		}
		g.previous = g.current
		g.begin(sent, arrival)
		return d, ok
	}
	c.lastSent = max(c.lastSent, sent)
	c.lastArrival = max(c.lastArrival, arrival)
	c.n++
	return d, false
}

func (g *groups) begin(sent, arrival time.Duration) {
	g.current = group{firstSent: sent, lastSent: sent, firstArrival: arrival, lastArrival: arrival, n: 1}
}

func (g *groups) joins(sent, arrival time.Duration) bool {
	c := &g.current
	if sent-c.firstSent <= groupSpan {
		return true
	}
	gap, apart := arrival-c.lastArrival, sent-c.lastSent
	if gap < 0 {
		return false
	}
	return gap-apart < 0 && gap <= burstGap && arrival-c.firstArrival < maxBurst
}

func (g *groups) compare() (d delta, ok bool) {
	c, p := &g.current, &g.previous
	if p.n == 0 {
		return d, false
	}
	d = delta{sent: c.lastSent - p.lastSent, arrival: c.lastArrival - p.lastArrival}
	if shift := d.arrival - d.sent; shift > maxShift || shift < -maxShift {
		g.reset()
		return d, false
	}
	if d.arrival < 0 {
		if g.reordered++; g.reordered >= maxReordered {
			g.reset()
		}
		return d, false
	}
	g.reordered = 0
	return d, true
}
