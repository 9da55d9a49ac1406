package harness

import (
	"math/rand/v2"
	"slices"
	"time"
)

// A rota calls everybody once in each period, at a time of his own.
type rota struct {
	period time.Duration
	who    []int           // in the order of their times
	at     []time.Duration // within the period, ascending
	next   int
	start  time.Duration // of the period under way
}

func newRota(random *rand.Rand, n int, period time.Duration) rota {
	r := rota{period: period, who: random.Perm(n)}
	for range n {
		r.at = append(r.at, time.Duration(random.Int64N(int64(period))))
	}
	slices.Sort(r.at)
	return r
}

func (r *rota) reset() { r.next, r.start = 0, 0 }

// due returns when the next one is called.
func (r *rota) due() time.Duration { return r.start + r.at[r.next] }

// call returns who is called and goes on to the next.
func (r *rota) call() int {
	i := r.who[r.next]
	if r.next++; r.next == len(r.who) {
		r.next = 0
		r.start += r.period
	}
	return i
}
