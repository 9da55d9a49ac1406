package stream

import (
	"math"
	"time"
)

// maxLost is the largest loss that 24 bits hold.
const maxLost = 1<<23 - 1

// A reception makes the report blocks about one received stream of packets.
type reception struct {
	seq      sequence
	received uint32 // packets

	expectedPrior, receivedPrior uint32 // at the last report
	extraLost                    int64  // reported on behalf of receivers
	lost                         int32  // as reported last
	fraction                     uint8

	lastNTP uint64 // of the last sender report
	lastRTP uint32
	lastAt  time.Duration
	hasLast bool
}

// senderReport takes note of the times of a sender report.
func (r *reception) senderReport(now time.Duration, ntp uint64, timestamp uint32) {
	if ntp == 0 {
		return
	}
	r.lastNTP, r.lastRTP, r.lastAt, r.hasLast = ntp, timestamp, now, true
}

// block closes an interval. When worst, the fraction lost that some receiver
// reported, is above ours, then it is reported in its place, so that the sender
// adds forward error correction.
func (r *reception) block(now time.Duration, ssrc, jitter uint32, worst uint8) ReportBlock {
	expected := r.seq.expected()
	interval := int64(expected) - int64(r.expectedPrior)
	lost := interval - (int64(r.received) - int64(r.receivedPrior))
	r.expectedPrior, r.receivedPrior = expected, r.received

	r.fraction = 0
	if interval > 0 && lost > 0 {
		r.fraction = uint8(min(255, math.Round(float64(lost)*256/float64(interval))))
	}
	if worst > r.fraction {
		r.extraLost += max(0, int64(worst)*interval>>8) - max(0, lost)
		r.fraction = worst
	}
	total := int64(expected) - int64(r.received) + r.extraLost
	r.lost = int32(min(maxLost, max(0, total)))

	b := ReportBlock{
		SSRC:           ssrc,
		FractionLost:   r.fraction,
		CumulativeLost: r.lost,
		HighestSeq:     r.seq.highest(),
		Jitter:         jitter,
	}
	if r.hasLast {
		b.LSR = uint32(r.lastNTP >> 16)
		b.DLSR = compactDuration(now - r.lastAt)
	}
	return b
}

// A jitter estimates the variation of transit times (RFC 3550 §A.8).
type jitter struct {
	value   float64 // units of the RTP clock
	transit uint32
	seeded  bool
}

func (j *jitter) receive(now time.Duration, timestamp, clockRate uint32) {
	arrival := uint32(now.Microseconds() * int64(clockRate) / 1_000_000)
	transit := arrival - timestamp
	if j.seeded {
		d := math.Abs(float64(int32(transit - j.transit)))
		j.value += (d - j.value) / 16
	}
	j.transit, j.seeded = transit, true
}
