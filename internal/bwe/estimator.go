// Package bwe estimates how much may be sent to a peer.
//
// An [Estimator] is told what was sent and what the peer says of it, by
// transport-wide feedback, receiver reports or REMB, and says how many bit/s
// the path can take, and which padding to send in order to find out whether it
// can take more. The rate is the lowest of what the delay allows (trend of the
// one-way delay, additive increase and multiplicative decrease), what the
// losses allow beyond those that the path has of itself, and what the peer
// asks for. The method is that of draft-ietf-rmcat-gcc-02, with probes, a line
// fit instead of the Kalman filter, and a loss model instead of fixed
// thresholds; docs/bandwidth.md shows what it does.
//
// A [Client] holds the rules of mediasoup on top: what the application desires,
// and when it hears of a new estimate.
//
// A [Receiver] is the other way round: it estimates what a peer may send that
// has no estimator of its own, and is told by REMB.
//
// Nothing here reads a clock or does I/O: now is the monotonic time of the
// Worker. All rates are in bit/s.
package bwe

import (
	"math"
	"time"
	"unsafe"

	"github.com/mafalda-sfu/mafalda/internal/prefetch"
	"github.com/mafalda-sfu/mafalda/internal/probe"
)

const (
	// DefaultInitial is the estimate to begin with, in bit/s.
	DefaultInitial = 600_000
	// AbsoluteMin is what an estimate never falls below, in bit/s.
	AbsoluteMin = 30_000

	interval = 25 * time.Millisecond // of Tick

	// A peer that says nothing for silence, and some round trips, although we
	// send, is not hearing us.
	silence       = 500 * time.Millisecond
	silenceRTTs   = 3
	silenceFactor = 0.8

	// shownMemory is for how long a rate that a probe showed, above the limit of
	// that time, is good when the limit is raised.
	shownMemory = 10 * time.Second

	rttSmoothing = 0.125
	maxRTT       = 10 * time.Second
)

// A Config says how an Estimator begins.
type Config struct {
	// Initial is the first estimate, in bit/s. 0 means 600,000; it is at least
	// 30,000.
	Initial uint64
	// Probe says that the path is probed at three and six times Initial when the
	// network comes up, whether or not that much can be used.
	Probe bool
	// REMB says that the peer sends REMB and no transport-wide feedback: REMB is
	// the estimate then, and not only an upper bound of it.
	REMB bool
	// Tick is how coarse the timers are that call [Estimator.NextProbe].
	Tick time.Duration
}

// Limits bound an estimate and say what more would be good for.
type Limits struct {
	Min uint64 // bit/s; never less than 30,000
	Max uint64 // bit/s; 0: none
	// Padding is the rate up to which it is worth to probe, in bit/s: what the
	// application could use, or a part of it. 0: no probes.
	Padding uint64
}

// An Estimator is the state of one path. Make it with [New].
type Estimator struct {
	// What each packet touches; see Prefetch.
	history   history
	alr       alr
	sentRate  sentRate
	sentAt    time.Duration // last packet
	firstSent time.Duration // since something was heard
	owed      bool          // something was sent since
	statuses  int           // how many more are read
	aimd      aimd
	pacer     probe.Pacer

	initial  float64
	min, max float64 // max 0: none
	wanted   float64
	up       bool
	probe    bool // when the network comes up
	byREMB   bool // there is no other feedback

	clock      remoteClock
	groups     groups
	queue      queue
	planner    planner
	rtt        time.Duration // smoothed; 0: unknown
	feedbacks  int
	heard      time.Duration // last feedback
	quietAt    time.Duration // last reduction for silence
	quiet      float64       // factor for silence, 1: none
	remb       float64       // 0: none
	shown      float64       // by a probe, above max
	shownAt    time.Duration
	ticked     time.Duration
	reported   reportedLoss
	loss       lossModel
	throughput throughput
	trend      trend
	meter      probe.Meter
}

// sentHead is how many bytes of an Estimator a packet touches.
const sentHead = unsafe.Offsetof(Estimator{}.initial)

// Prefetch asks for the memory of the Estimator that the next packets to be
// sent need; once that is there, PrefetchHistory for the rest.
func (e *Estimator) Prefetch() { prefetch.Head(e, sentHead) }

// PrefetchHistory is described at Prefetch.
func (e *Estimator) PrefetchHistory() {
	h := &e.history
	if n := int64(len(h.ring)); n > 0 {
		prefetch.Of(&h.ring[(h.newest+1)&(n-1)])
		prefetch.Of(&h.ring[(h.newest+4)&(n-1)])
	}
}

// New returns an Estimator for a path that is down.
func New(c Config, now time.Duration) *Estimator {
	if c.Initial == 0 {
		c.Initial = DefaultInitial
	}
	e := &Estimator{initial: max(float64(c.Initial), AbsoluteMin), min: AbsoluteMin, ticked: now, probe: c.Probe, byREMB: c.REMB}
	e.pacer.Tick = c.Tick
	e.statuses = maxStatuses
	e.reset(now)
	return e
}

// reset forgets the path.
func (e *Estimator) reset(now time.Duration) {
	e.groups.reset()
	e.trend.reset()
	e.throughput.reset()
	e.queue.reset()
	e.loss.reset()
	e.planner.reset()
	e.pacer.Reset()
	e.meter.Reset()
	e.clock = remoteClock{}
	e.alr = alr{updated: now}
	e.aimd = aimd{}
	e.aimd.set(now, e.clamp(e.initial))
	e.remb, e.shown = 0, 0
	e.quiet = 1
	e.owed = false
	e.heard = now
	e.rtt = 0
	e.feedbacks = 0
}

func (e *Estimator) clamp(rate float64) float64 {
	if e.max > 0 {
		rate = min(rate, e.max)
	}
	return max(rate, e.min)
}

// SetLimits sets what bounds the estimate.
func (e *Estimator) SetLimits(now time.Duration, l Limits) {
	e.min = max(float64(l.Min), AbsoluteMin)
	e.max = float64(l.Max)
	wanted := float64(l.Padding)
	if wanted > e.wanted && e.wanted < e.aimd.rate {
		e.planner.wake = true
	}
	e.wanted = wanted
	if e.shown > e.aimd.rate && now-e.shownAt < shownMemory {
		e.aimd.set(now, min(e.shown, max(e.max, e.aimd.rate)))
	}
	e.aimd.rate = e.clamp(e.aimd.rate)
	e.plan(now)
}

// SetNetwork says whether packets can be sent. A path that comes up is a new
// one: nothing is known of it.
func (e *Estimator) SetNetwork(now time.Duration, up bool) {
	if e.up == up {
		return
	}
	e.up = up
	e.reset(now)
	if up && e.probe {
		e.planner.begin(now)
		e.pacer.Add(now, firstProbe*e.initial)
		e.pacer.Add(now, secondProbe*e.initial)
	}
	e.plan(now)
}

// Available returns the bitrate that may be sent, in bit/s, all packets
// included.
func (e *Estimator) Available() uint64 {
	rate := min(e.aimd.rate, e.loss.bound) * e.quiet
	if e.aimd.dropped {
		rate *= e.queue.drain(e.heard - e.aimd.decreased)
	}
	if e.remb > 0 {
		rate = min(rate, e.remb)
	}
	return uint64(math.Round(e.clamp(rate)))
}

// RTT returns the round trip time, 0 while it is unknown.
func (e *Estimator) RTT() time.Duration { return e.rtt }

// InherentLoss returns the part of the packets, 0 to 1, that is believed to get
// lost whatever is sent.
func (e *Estimator) InherentLoss() float64 { return e.loss.inherent }

// PacketLoss returns the part of the packets, 0 to 1, that the last feedbacks
// reported as lost; the newest of 24 weighs most.
func (e *Estimator) PacketLoss() float64 { return e.reported.mean() }

// Limited reports whether the application sends much less than it may.
func (e *Estimator) Limited() bool { return e.alr.limited }

// Tick does what the passing of time asks for. Call it at the time of
// [Estimator.Deadline] or more often.
func (e *Estimator) Tick(now time.Duration) {
	e.ticked = now
	if !e.up {
		return
	}
	e.alr.update(now, 0, e.aimd.rate)
	e.listen(now)
	e.plan(now)
}

// Deadline returns when to call [Estimator.Tick] and [Estimator.NextProbe]; ok
// is false while the network is down.
func (e *Estimator) Deadline() (at time.Duration, ok bool) {
	if !e.up {
		return 0, false
	}
	at = e.ticked + interval
	if due, ok := e.pacer.Deadline(); ok {
		at = min(at, due)
	}
	return at, true
}

// NextProbe returns the size of a padding packet to send now, in bytes, and the
// cluster that it belongs to; ok is false when none is due. It has to be sent
// and told by [Estimator.Sent] before the next call.
func (e *Estimator) NextProbe(now time.Duration) (size, cluster int, ok bool) {
	if !e.up {
		return 0, 0, false
	}
	size, c, ok := e.pacer.Next(now)
	return size, c.ID, ok
}

// plan begins probes.
func (e *Estimator) plan(now time.Duration) {
	if !e.up || e.pacer.Active() {
		return
	}
	clear := e.trend.usage == normalUse && e.queue.delay < standing && e.quiet == 1 &&
		(!e.aimd.dropped || now-e.aimd.decreased > settled) && (e.loss.lowered == 0 || now-e.loss.lowered > settled)
	first, second := e.planner.plan(now, min(e.aimd.rate, e.loss.bound), e.wanted, e.max, clear)
	if first > 0 {
		e.pacer.Add(now, first)
	}
	if second > 0 {
		e.pacer.Add(now, second)
	}
}

// listen lowers the rate while the peer says nothing.
func (e *Estimator) listen(now time.Duration) {
	if e.feedbacks == 0 || !e.owed {
		return
	}
	limit := silence + silenceRTTs*e.rtt
	if now-max(e.firstSent, e.heard) < limit || now-e.quietAt < silence {
		return
	}
	e.quiet *= silenceFactor
	e.quietAt = now
	if e.quiet*e.aimd.rate < e.min {
		e.quiet = e.min / e.aimd.rate
	}
}
