package bwe

import (
	"math"
	"time"
)

const (
	observationTime    = 250 * time.Millisecond
	observationPackets = 20
	observations       = 24
	lossMemory         = 0.95 // weight of an observation relative to the next
	recentObservations = 4    // that show a sudden change

	// A path may lose this part of the packets without being congested, and the
	// more the less is sent: what is lost at a low rate is not lost to
	// congestion.
	inherentBase    = 0.15
	inherentBalance = 100_000 // bit/s
	maxInherent     = 0.5

	// What a path loses of itself it loses all the time: no more than in the best
	// of the last blocks of observations, and some more by chance.
	blockLen       = 4
	blocks         = 30
	blockTolerance = 0.06

	// certainty is by how much a bound must explain the losses better, as a
	// logarithm of the likelihood. Losses come in bursts: it is far more than
	// independent ones would ask for.
	certainty = 10
	// boundMargin below the bound the losses end, which shows what is inherent.
	boundMargin = 0.95
	// boundGrowth is how a bound is lifted in a second that does not ask for it.
	boundGrowth  = 1.08
	fitSteps     = 4
	minLossRate  = 1e-4
	maxLossRate  = 0.999
	minLossBound = 0.5 // of what is sent, in one step
)

// candidates are the bounds that are tried, relative to the highest rate of
// the observations.
var candidates = [...]float64{0.25, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95}

// An observation is what became of the packets that were sent within a short
// time.
type observation struct {
	lost, total float64
	rate        float64 // bit/s sent
}

// A lossModel tells losses that a path has of itself from those of a rate that
// it cannot carry. A path with capacity b and inherent loss p, sent to at rate
// s > b, loses p + (1-p)(1-b/s). Of each candidate b the likeliest p is sought;
// a b below what is sent counts only when it explains the losses much better
// than any inherent loss does.
type lossModel struct {
	bound    float64 // bit/s; +Inf: none
	inherent float64 // 0 to maxInherent

	list  [observations]observation // ring
	at, n int

	block  observation // in the making
	blockN int
	floor  [blocks]float64 // ring of losses
	floors int             // ever

	current observation
	bytes   float64
	begin   time.Duration // of sending
	open    bool

	since   time.Duration // packets sent before are too old
	lowered time.Duration
	updated time.Duration
}

func (l *lossModel) reset() { *l = lossModel{bound: math.Inf(1)} }

// packet takes a packet that was reported. done says that an observation is
// complete, so that [lossModel.update] has something to do.
func (l *lossModel) packet(sentAt time.Duration, size int, wasLost bool) (done bool) {
	if sentAt < l.since {
		return false
	}
	if l.open && sentAt-l.begin > 4*observationTime { // silence
		l.open = false
	}
	if l.open && sentAt-l.begin >= observationTime && l.current.total >= observationPackets {
		l.current.rate = l.bytes * 8 / max(sentAt-l.begin, observationTime).Seconds()
		l.push(l.current)
		l.open, done = false, true
	}
	if !l.open {
		l.open, l.begin, l.bytes, l.current = true, sentAt, 0, observation{}
	}
	l.current.total++
	l.bytes += float64(size)
	if wasLost {
		l.current.lost++
	}
	return done
}

// undo takes back a loss: the packet was only late.
func (l *lossModel) undo() {
	if l.current.lost > 0 {
		l.current.lost--
	} else if l.n > 0 {
		o := &l.list[(l.at+observations-1)%observations]
		o.lost = max(0, o.lost-1)
	}
}

// report takes a receiver report: how many packets were expected since the one
// before, and how many of them were lost, while rate was sent.
func (l *lossModel) report(lost, expected, rate float64) {
	l.push(observation{lost: min(lost, expected), total: expected, rate: rate})
}

func (l *lossModel) push(o observation) {
	l.list[l.at] = o
	l.at = (l.at + 1) % observations
	l.n = min(l.n+1, observations)
	l.block.lost += o.lost
	l.block.total += o.total
	if l.blockN++; l.blockN == blockLen {
		l.floor[l.floors%blocks] = l.block.lost / max(l.block.total, 1)
		l.floors++
		l.blockN, l.block = 0, observation{}
	}
}

// limit returns the highest inherent loss to believe in at a rate.
func (l *lossModel) limit(rate float64) float64 {
	limit := min(inherentBase+inherentBalance/rate, maxInherent)
	if l.floors < 2 {
		return limit
	}
	floor := 1.0
	for _, f := range l.floor[:min(l.floors, blocks)] {
		floor = min(floor, f)
	}
	return min(limit, floor+blockTolerance)
}

// update fits the model.
func (l *lossModel) update(now time.Duration) {
	dt := min(max(now-l.updated, 0), maxUpdateInterval)
	l.updated = now
	var total, losses, top float64
	weight := 1.0
	for i := range l.n {
		o := l.last(i)
		total += weight * o.total
		losses += weight * o.lost
		top = max(top, o.rate)
		weight *= lossMemory
	}
	if total == 0 {
		return
	}
	if losses < 0.5 || top == 0 {
		l.inherent = 0
		l.lift(dt)
		return
	}
	_, l.inherent = l.fit(math.Inf(1), top, l.n)
	bound := math.Inf(1)
	for _, n := range [...]int{l.n, min(l.n, recentObservations)} {
		base, _ := l.fit(math.Inf(1), top, n)
		best, at := base+certainty, math.Inf(1)
		for _, c := range candidates {
			if v, _ := l.fit(c*top, top, n); v > best {
				best, at = v, c*top
			}
		}
		bound = min(bound, at)
	}
	if newest := l.last(0).rate; bound >= newest {
		l.lift(dt)
		return
	} else {
		bound = max(boundMargin*bound, minLossBound*newest)
	}
	if bound < l.bound {
		l.bound, l.lowered, l.since = bound, now, now
		l.n, l.open = 0, false
	}
}

func (l *lossModel) lift(dt time.Duration) {
	l.bound *= math.Pow(boundGrowth, dt.Seconds())
}

// last returns the observation i before the newest.
func (l *lossModel) last(i int) *observation {
	return &l.list[(l.at+2*observations-1-i)%observations]
}

// fit returns the logarithm of the likelihood of the last n observations when
// the path carries bound, and the likeliest inherent loss; top is the highest
// rate sent.
func (l *lossModel) fit(bound, top float64, n int) (likelihood, inherent float64) {
	limit := l.limit(min(bound, top))
	p := 0.02
	for range fitSteps {
		var d1, d2 float64
		weight := 1.0
		for i := range n {
			o := l.last(i)
			f := fraction(bound, o.rate)
			q := min(max(f+(1-f)*p, minLossRate), maxLossRate)
			lost, kept := o.lost/q, (o.total-o.lost)/(1-q)
			d1 += weight * (1 - f) * (lost - kept)
			d2 -= weight * (1 - f) * (1 - f) * (lost/q + kept/(1-q))
			weight *= lossMemory
		}
		if d2 >= 0 {
			break
		}
		p = min(max(p-d1/d2, 0), limit)
	}
	weight := 1.0
	for i := range n {
		o := l.last(i)
		f := fraction(bound, o.rate)
		q := min(max(f+(1-f)*p, minLossRate), maxLossRate)
		likelihood += weight * (o.lost*math.Log(q) + (o.total-o.lost)*math.Log(1-q))
		weight *= lossMemory
	}
	return likelihood, p
}

// fraction returns what is lost of rate to a bound.
func fraction(bound, rate float64) float64 {
	if rate <= bound {
		return 0
	}
	return 1 - bound/rate
}
