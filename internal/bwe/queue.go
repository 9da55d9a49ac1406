package bwe

import "time"

const (
	baseWindow = 45 * time.Second // the base delay is that of one to two of these
	// noticeable is the queueing delay from which on a growing delay is believed
	// to mean over-use.
	noticeable = 30 * time.Millisecond
	// standing is the queueing delay from which on the queue is drained after a
	// decrease.
	standing = 40 * time.Millisecond
	// standTime is for how long it has to be there, so that losses are those of
	// a full queue.
	standTime = 300 * time.Millisecond
	// drainTime: a queue that is this much longer halves the rate.
	drainTime = 200 * time.Millisecond
	minDrain  = 0.5
	// drainAfter is for how long after a decrease a queue is taken for our own
	// and not that of others.
	drainAfter = 2 * time.Second
)

// A queue tells how long packets wait on the way: the one-way delay above the
// lowest that was seen lately. The offset of the clocks cancels out.
type queue struct {
	known  bool
	base   [2]time.Duration // lowest in this and in the previous window
	begin  time.Duration
	delay  time.Duration // of the last feedback
	lowest time.Duration // within a feedback
	any    bool
	since  time.Duration // when the queue began to stand; 0: it does not
}

func (q *queue) reset() { *q = queue{} }

// packet takes the one-way delay of a packet, clock offset included.
func (q *queue) packet(oneWay time.Duration) {
	if !q.any || oneWay < q.lowest {
		q.any, q.lowest = true, oneWay
	}
}

// end takes note that the feedback is over. The shortest delay in it is what
// all packets had to wait; more was due to what was sent along with them.
func (q *queue) end(now time.Duration) {
	if !q.any {
		return
	}
	q.any = false
	if q.known {
		if off := q.lowest - q.base[0]; off > maxShift || off < -maxShift {
			q.known = false // a clock jumped
		}
	}
	switch {
	case !q.known:
		q.known, q.begin = true, now
		q.base = [2]time.Duration{q.lowest, q.lowest}
	case now-q.begin > baseWindow:
		q.base = [2]time.Duration{q.lowest, q.base[0]}
		q.begin = now
	default:
		q.base[0] = min(q.base[0], q.lowest)
	}
	q.delay = q.lowest - min(q.base[0], q.base[1])
	switch {
	case q.delay <= standing:
		q.since = 0
	case q.since == 0:
		q.since = now
	}
}

// stands reports whether there is a queue that does not go away.
func (q *queue) stands(now time.Duration) bool { return q.since != 0 && now-q.since > standTime }

// drain returns by what to multiply the rate so that a queue of our own goes
// away; since is how long ago the rate was last decreased.
func (q *queue) drain(since time.Duration) float64 {
	if !q.known || q.delay <= standing || since > drainAfter {
		return 1
	}
	return max(minDrain, 1-float64(q.delay-standing)/float64(drainTime)*(1-minDrain))
}
