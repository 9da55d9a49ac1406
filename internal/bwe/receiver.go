package bwe

import (
	"math"
	"time"

	"github.com/mafalda-sfu/mafalda/internal/rate"
)

const (
	// learnTime is for how long a Receiver looks on before it takes what arrives
	// for what the path can carry at least.
	learnTime = 5 * time.Second
	// trainTime is for how long, from the first packet on, trains count.
	trainTime = 2 * time.Second
	// adaptInterval is how often the delay is judged.
	adaptInterval = 100 * time.Millisecond
	// forgetTime is the silence after which the delays of before mean nothing.
	forgetTime = 2 * time.Second
	// assumedRTT stands for a round trip time that a receiver does not know.
	assumedRTT = 200 * time.Millisecond
	// rateWindow is that of a rate of few packets.
	rateWindow = time.Second
	// spare is by how much, in bit/s, the rate may be above what arrives and its
	// headroom: else who sends little could never send more.
	spare = 10_000
	// minReceived is what the estimate never falls below, in bit/s.
	minReceived = 5_000

	// A REMB takes this part of the rate, but comes once a second at least and
	// five times at most.
	reportShare = 0.05
	reportBits  = 8 * 80
	minReport   = 200 * time.Millisecond
	maxReport   = time.Second
)

// A Receiver estimates how much a peer may send that stamps its packets with
// the time of their sending (abs-send-time), so that it can be told by REMB
// (draft-ietf-rmcat-gcc-02 §3, draft-alvestrand-rmcat-remb-03). The zero value
// is ready.
//
// The rate follows from the trend of the delay as that of an [Estimator] does.
// The receiver can't probe; what it knows at first comes from trains, packets
// that the peer sends at even distances in order to probe, or else is the rate
// of the first five seconds.
type Receiver struct {
	clock      sendClock
	groups     groups
	trend      trend
	queue      queue
	throughput throughput
	slow       rate.Counter
	train      train
	aimd       aimd

	began   bool
	first   time.Duration // packet
	heard   time.Duration // last packet
	adapted time.Duration
	valid   bool // there is an estimate
	told    time.Duration
	last    float64 // rate that was told
}

// Received takes note of a packet that arrives now with a value of
// abs-send-time and so many bytes of payload. It reports whether the peer has
// to be told of the estimate.
func (r *Receiver) Received(now time.Duration, sendTime uint32, size int) (tell bool) {
	if !r.began {
		r.began, r.first, r.adapted = true, now, now
		r.slow = rate.New(rateWindow)
		r.aimd.spare = spare
	}
	if now-r.heard > forgetTime {
		r.forget()
	}
	r.heard = now
	sent, ok := r.clock.extend(now, sendTime)
	if !ok {
		r.forget()
		sent, _ = r.clock.extend(now, sendTime)
	}
	arrival := clockOrigin + now
	r.throughput.add(arrival, size)
	r.slow.Update(now, size)
	r.queue.packet(arrival - sent)
	if d, ok := r.groups.add(sent, arrival); ok {
		r.trend.add(d, r.groups.previous.lastArrival)
	}
	if now-r.first <= trainTime {
		if shown, ok := r.train.add(sent, arrival, size); ok && shown > r.aimd.rate {
			r.aimd.set(now, max(shown, minReceived))
			r.valid = true
		}
	}
	if now-r.adapted < adaptInterval {
		return false
	}
	r.adapted = now
	r.adapt(now)
	if !r.valid || now-r.told < r.interval() && r.aimd.rate >= r.last {
		return false
	}
	r.told, r.last = now, r.aimd.rate
	return true
}

// Available returns the estimate in bit/s, 0 while there is none.
func (r *Receiver) Available() uint64 {
	if !r.valid {
		return 0
	}
	return uint64(math.Round(r.aimd.rate))
}

// forget forgets the delays.
func (r *Receiver) forget() {
	r.clock = sendClock{}
	r.groups.reset()
	r.trend.reset()
	r.queue.reset()
	r.train = train{}
}

// adapt draws the conclusions.
func (r *Receiver) adapt(now time.Duration) {
	r.queue.end(now)
	u := r.trend.usage
	if u == overUse && r.queue.delay < noticeable {
		u = normalUse // the bursts of somebody, which the line has got over
	}
	window := longWindow
	if u == overUse {
		window = shortWindow
	}
	delivered, ok := r.throughput.rate(window)
	if !ok {
		delivered = float64(r.slow.Rate(now))
	}
	if !r.valid {
		if u != overUse && now-r.first < learnTime || delivered == 0 {
			return
		}
		r.valid = true
		r.aimd.set(now, max(delivered, minReceived))
	}
	still := r.queue.delay > standing && r.aimd.dropped && now-r.aimd.decreased < drainAfter
	r.aimd.update(now, u, delivered, assumedRTT, still)
	r.aimd.rate = max(r.aimd.rate, minReceived)
}

// interval returns the time between two REMBs.
func (r *Receiver) interval() time.Duration {
	d := time.Duration(reportBits / (reportShare * r.aimd.rate) * float64(time.Second))
	return min(max(d, minReport), maxReport)
}

const (
	sendTimeBits = 24 // 6 of them are seconds
	// clockOrigin is far from zero, so that earlier times are positive.
	clockOrigin = 24 * time.Hour
)

// A sendClock makes one line of the values of abs-send-time, which wrap every
// 64 s. It begins with the time of the first arrival.
type sendClock struct {
	known bool
	last  uint32
	at    int64         // units
	began time.Duration // the first arrival
}

// extend returns the time that a value means to a packet that arrives now. ok is
// false when the clock jumped.
func (c *sendClock) extend(now time.Duration, v uint32) (at time.Duration, ok bool) {
	const unused, fraction = 32 - sendTimeBits, 18
	if !c.known {
		*c = sendClock{known: true, last: v}
		c.began = now
	}
	c.at += int64(int32((v-c.last)<<unused) >> unused)
	c.last = v
	since := time.Duration(c.at>>fraction)*time.Second + time.Duration(c.at&(1<<fraction-1)*int64(time.Second)>>fraction)
	if off := now - c.began - since; off > maxShift || off < -maxShift {
		return 0, false
	}
	return clockOrigin + c.began + since, true
}

const (
	minTrain = 5   // packets
	minSize  = 200 // bytes
	// evenly is by how much their distances may differ from the mean.
	evenly = 2500 * time.Microsecond
	// Packets that are nearer, or further apart, are no probe.
	minDistance = time.Millisecond
	maxDistance = 20 * time.Millisecond
	// early is by how much their mean distance may be less at the arrival than
	// when they were sent: more means that they were held up.
	early = 5 * time.Millisecond
)

// A train is large packets that were sent at even distances.
type train struct {
	n                         int
	bytes                     int // without the first packet
	firstSent, lastSent       time.Duration
	firstArrival, lastArrival time.Duration
}

// add takes a packet. ok is true when the train with it is long enough to show a
// rate in bit/s.
func (t *train) add(sent, arrival time.Duration, size int) (shown float64, ok bool) {
	if size < minSize {
		return 0, false
	}
	gap := sent - t.lastSent
	mean := gap
	if t.n > 1 {
		mean = (t.lastSent - t.firstSent) / time.Duration(t.n-1)
	}
	if t.n == 0 || gap < 0 || gap > maxDistance || gap > mean+evenly || gap < mean-evenly {
		*t = train{n: 1, firstSent: sent, lastSent: sent, firstArrival: arrival, lastArrival: arrival}
		return 0, false
	}
	t.n++
	t.bytes += size
	t.lastSent, t.lastArrival = sent, arrival
	if t.n < minTrain {
		return 0, false
	}
	gaps := time.Duration(t.n - 1)
	took, arrived := t.lastSent-t.firstSent, t.lastArrival-t.firstArrival
	if took < gaps*minDistance || arrived < took-gaps*early {
		return 0, false
	}
	return float64(t.bytes) * 8 / max(took, arrived).Seconds(), true
}
