// Package score rates an RTP stream from 0 (dead) to 10 (perfect).
//
// A report that arrives from the remote side closes an interval; the counters
// of that interval give one sample, and the score is a weighted mean of the
// last 24 samples in which the newest weighs most. Formula and constants are
// mediasoup's (RtpStream, RtpStreamRecv, RtpStreamSend).
package score

import "math"

const (
	// Max is the score of a stream without loss, and of a new stream.
	Max = 10
	// window is how many samples count.
	window = 24
)

// A History is the score of one stream. The zero value has score 0; give it
// its first one with [History.Reset].
type History struct {
	samples [window]uint8
	n       uint8 // samples held
	next    uint8 // where the next one goes
	value   uint8
}

// Value returns the current score.
func (h *History) Value() uint8 { return h.value }

// Add takes a sample of 0 to 10 and reports whether the score changed.
func (h *History) Add(sample uint8) (changed bool) {
	h.samples[h.next] = sample
	h.next = (h.next + 1) % window
	if h.n < window {
		h.n++
	}
	// The newest sample weighs n, the oldest 1.
	i := int(h.next)
	total, weights := 0, 0
	for weight := int(h.n); weight > 0; weight-- {
		i = (i + window - 1) % window
		total += weight * int(h.samples[i])
		weights += weight
	}
	value := uint8(math.Round(float64(total) / float64(weights)))
	changed = value != h.value
	h.value = value
	return changed
}

// Reset forgets all samples, sets the score and reports whether it changed.
func (h *History) Reset(value uint8) (changed bool) {
	changed = value != h.value
	*h = History{value: value}
	return changed
}

// An Interval is what happened to a stream between two reports.
type Interval struct {
	Delivered     uint32 // packets received (or sent, for a stream that we send)
	Lost          uint32 // packets that did not arrive at first
	Repaired      uint32 // lost packets that a retransmission brought
	Retransmitted uint32 // retransmissions, vain ones included
	// LateRepairs says that repairs without loss show that there was loss: on a
	// stream without RTX a repaired packet is not counted as lost.
	LateRepairs bool
}

// Sample rates an interval in which packets were expected. Repairs redeem a
// part of the loss that shrinks with their number and with the number of vain
// retransmissions.
func (v Interval) Sample() uint8 {
	if v.Delivered == 0 {
		return 0
	}
	lost, repaired := min(v.Lost, v.Delivered), v.Repaired
	if repaired > lost {
		if v.LateRepairs {
			lost = min(repaired, v.Delivered)
		}
		repaired = lost
	}
	ratio := float64(repaired) / float64(v.Delivered)
	weight := math.Pow(1/(ratio+1), 4)
	if v.Retransmitted > 0 {
		weight *= float64(repaired) / float64(v.Retransmitted)
	}
	// Whole packets, as mediasoup: a fraction is still a lost packet less.
	left := uint32(max(0, float64(lost)-float64(repaired)*weight))
	delivered := float64(v.Delivered-left) / float64(v.Delivered)
	return uint8(math.Round(math.Pow(delivered, 4) * Max))
}
