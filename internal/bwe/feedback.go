package bwe

import (
	"time"

	"github.com/mafalda-sfu/mafalda/internal/rtcp"
)

const (
	referenceUnit = 64 * time.Millisecond
	referenceBits = 24

	// Feedback may say something of each packet that was sent this often, which
	// can be saved up. Who says more is not listened to: a few bytes can speak of
	// tens of thousands of packets, again and again.
	statusesPerPacket = 4
	maxStatuses       = statusesPerPacket * maxHistory
)

// A remoteClock makes one line of the reference times of feedbacks, which wrap
// every twelve days.
type remoteClock struct {
	known bool
	last  int32
	at    time.Duration
}

func (c *remoteClock) extend(reference int32) time.Duration {
	if !c.known {
		c.known, c.last = true, reference
		// Far from zero, so that earlier times are positive.
		c.at = referenceUnit << referenceBits
	}
	const spare = 32 - referenceBits
	c.at += time.Duration((reference-c.last)<<spare>>spare) * referenceUnit
	c.last = reference
	return c.at
}

// sentRate is the rate of what is sent, for receiver reports.
type sentRate struct {
	begin time.Duration
	bytes float64
	rate  float64
}

func (s *sentRate) sent(now time.Duration, size int) {
	s.bytes += float64(size)
	if d := now - s.begin; d >= time.Second {
		s.rate = s.bytes * 8 / d.Seconds()
		s.begin, s.bytes = now, 0
	}
}

// Sent takes note of a packet that leaves now, with its transport-wide sequence
// number and its size in bytes; probe is the cluster of a padding packet, 0 for
// media. A number that was used before counts as sent, but is not measured.
func (e *Estimator) Sent(now time.Duration, wideSeq uint16, size, probe int) {
	e.alr.sent(now, size, e.aimd.rate)
	e.sentRate.sent(now, size)
	e.sentAt = now
	e.statuses = min(e.statuses+statusesPerPacket, maxStatuses)
	if !e.owed {
		e.owed, e.firstSent = true, now
	}
	if !e.history.add(now, wideSeq, size) {
		return
	}
	c, last := e.pacer.Sent(now, size, probe != 0)
	if c.ID != 0 {
		e.history.mark(c.ID)
		e.meter.Sent(c, e.history.newest, size, last)
	}
}

// Feedback takes what the peer says of the packets that were sent. What it
// says of others, or says again, is ignored.
func (e *Estimator) Feedback(now time.Duration, f rtcp.TransportCC) {
	h := &e.history
	if h.newest == 0 || !e.up {
		return
	}
	seq := h.extend(f.BaseSeq())
	if seq > h.newest {
		return
	}
	count := min(int64(f.Count()), h.newest-seq+1)
	if int64(e.statuses) < count {
		return
	}
	e.statuses -= int(count)
	unheard := int(float64(h.skip(seq)) * (1 - e.loss.inherent))
	h.told = max(h.told, seq+count-1)
	arrival := e.clock.extend(f.ReferenceTime())
	statuses := f.Statuses()
	var newest *sent
	observed := false
	lostNow, expected := 0, count
	for ; count > 0; count-- {
		st, ok := statuses.Next()
		if !ok {
			break
		}
		arrival += time.Duration(st.Delta) * time.Microsecond
		p := h.find(seq)
		seq++
		switch {
		case p == nil || p.is(received):
		case st.Received:
			if unheard > 0 {
				e.throughput.fill(arrival, unheard)
				unheard = 0
			}
			observed = e.arrived(p, arrival) || observed
			if newest == nil || h.seqOf(p) > h.seqOf(newest) {
				newest = p
			}
		case p.is(unknown) || p.is(assumed):
			p.become(lost)
			lostNow++
			observed = e.loss.packet(h.sentAt(p), int(p.size), true) || observed
		}
	}
	if observed {
		e.learnLoss(now)
	}
	if newest == nil {
		return
	}
	e.reported.add(float32(lostNow) / float32(expected))
	e.heard, e.owed, e.quiet = now, h.acked < h.newest, 1
	e.firstSent = now
	e.feedbacks++
	e.roundTrip(now - h.sentAt(newest))
	e.queue.end(now)
	e.adapt(now)
}

// learnLoss fits the loss model. A lower bound is a sign of a full line like the
// delay is: the rate goes on from there, step by step.
func (e *Estimator) learnLoss(now time.Duration) {
	before := e.loss.bound
	e.loss.update(now)
	if b := e.loss.bound; b < before && b < e.aimd.rate {
		e.planner.drop(now, e.aimd.rate, b)
		e.aimd.fall(now, e.clamp(b))
	}
}

// arrived takes note of one packet, by the receiver's clock. It reports whether
// an observation of losses is complete.
func (e *Estimator) arrived(p *sent, arrival time.Duration) (observed bool) {
	at := e.history.sentAt(p)
	if p.is(lost) {
		e.loss.undo()
	} else {
		observed = e.loss.packet(at, int(p.size), false)
	}
	size := int(p.size)
	if !p.is(assumed) {
		e.throughput.add(arrival, size)
	}
	e.history.ack(p)
	e.queue.packet(arrival - at)
	if c := e.history.clusterOf(p); c != 0 {
		e.meter.Arrived(c, at, arrival, size)
	}
	if d, ok := e.groups.add(at, arrival); ok {
		e.trend.add(d, e.groups.previous.lastArrival)
	}
	return observed
}

func (e *Estimator) roundTrip(rtt time.Duration) {
	rtt = min(max(rtt, 0), maxRTT)
	if e.rtt == 0 {
		e.rtt = rtt
		return
	}
	e.rtt += time.Duration(rttSmoothing * float64(rtt-e.rtt))
}

// fullLoss is what a full queue loses at least.
const fullLoss = 0.02

// adapt draws the conclusions of a feedback.
func (e *Estimator) adapt(now time.Duration) {
	u := e.trend.usage
	if u == overUse && e.queue.delay < noticeable {
		u = normalUse // the bursts of somebody, which the line has got over
	}
	window := longWindow
	if u == overUse {
		window = shortWindow
	}
	delivered, _ := e.throughput.rate(window)
	if u != underUse && e.queue.stands(now) && e.reported.mean() > fullLoss {
		// The queue is full, though it grows no more: nothing is lost by itself
		// while that is so.
		u = overUse
	} else {
		delivered /= 1 - e.loss.inherent // what gets lost by itself has to be sent too
	}
	before := e.aimd.rate
	still := e.queue.delay > standing && e.aimd.dropped && now-e.aimd.decreased < drainAfter
	e.aimd.update(now, u, delivered, e.rtt, still)
	e.aimd.rate = e.clamp(e.aimd.rate)
	if e.aimd.rate < before {
		e.planner.drop(now, before, e.aimd.rate)
	}
	e.probed(now)
}

// probed takes the results of probes.
func (e *Estimator) probed(now time.Duration) {
	for {
		r, ok := e.meter.Take(e.history.acked, e.loss.inherent)
		if !ok {
			return
		}
		r.Bitrate = e.aimd.trust(now, r.Bitrate, r.Saturated)
		helped := r.Bitrate > min(e.aimd.rate, e.loss.bound) && e.trend.usage != overUse
		if helped {
			e.aimd.set(now, e.clamp(r.Bitrate))
			if r.Saturated {
				e.aimd.capacity.add(r.Bitrate, capacityProbe)
			} else {
				e.aimd.capacity.forget()
			}
			e.loss.bound = max(e.loss.bound, r.Bitrate)
		}
		if r.Bitrate > e.aimd.rate && e.max > 0 && r.Bitrate > e.max {
			e.shown, e.shownAt = r.Bitrate, now
		}
		if next := e.planner.result(now, r.Rate, r.Bitrate, e.wanted, e.max, helped); next > 0 {
			e.pacer.Add(now, next)
		}
	}
}

// ReceiverReport takes what a receiver report says of the time since the one
// before: how many packets were lost of those expected, and the round trip
// time, 0 when unknown. It counts where there is no transport-wide feedback.
func (e *Estimator) ReceiverReport(now time.Duration, lost, expected int, rtt time.Duration) {
	if !e.byREMB || !e.up {
		return
	}
	if rtt > 0 {
		e.roundTrip(rtt)
	}
	if expected <= 0 {
		return
	}
	e.loss.report(float64(max(lost, 0)), float64(expected), e.sentRate.rate)
	e.learnLoss(now)
}

// REMB takes the bitrate that the peer asks for at most; 0 lifts it. Where there
// is no transport-wide feedback it is the estimate.
func (e *Estimator) REMB(now time.Duration, bitrate uint64) {
	if !e.up {
		return
	}
	e.remb = float64(bitrate)
	if e.byREMB && bitrate > 0 {
		before := e.aimd.rate
		e.aimd.set(now, e.clamp(e.remb))
		e.planner.waiting = false
		if e.aimd.rate < before {
			e.planner.drop(now, before, e.aimd.rate)
		}
	}
}

// lossWindow is how many feedbacks the reported loss is taken from.
const lossWindow = 24

// A reportedLoss is the loss in the last feedbacks.
type reportedLoss struct {
	list  [lossWindow]float32 // ring
	at, n int
}

func (r *reportedLoss) add(loss float32) {
	r.list[r.at] = loss
	r.at = (r.at + 1) % lossWindow
	r.n = min(r.n+1, lossWindow)
}

// mean weighs the newest with how many there are, the oldest with one.
func (r *reportedLoss) mean() float64 {
	var sum, weights float64
	for i := range r.n {
		w := float64(r.n - i)
		sum += w * float64(r.list[(r.at+2*lossWindow-1-i)%lossWindow])
		weights += w
	}
	if weights == 0 {
		return 0
	}
	return sum / weights
}
