package stream

import (
	"math"
	"time"

	"github.com/mafalda-sfu/mafalda/internal/rate"
	"github.com/mafalda-sfu/mafalda/internal/score"
)

// SenderReport takes note of a sender report about the media: ntp and timestamp
// name the same instant. It closes an interval of the score.
func (r *Recv) SenderReport(now time.Duration, ntp uint64, timestamp uint32) {
	r.media.senderReport(now, ntp, timestamp)
	r.sample(now)
}

// RTXSenderReport takes note of a sender report about the retransmissions.
func (r *Recv) RTXSenderReport(now time.Duration, ntp uint64, timestamp uint32) {
	if r.rtx != nil {
		r.rtx.senderReport(now, ntp, timestamp)
	}
}

// SenderClock returns the times of the last sender report and when it came.
func (r *Recv) SenderClock() (ntp uint64, timestamp uint32, at time.Duration, ok bool) {
	m := &r.media
	return m.lastNTP, m.lastRTP, m.lastAt, m.hasLast
}

// sample rates the interval since the last sender report.
func (r *Recv) sample(now time.Duration) {
	at := interval{r.media.seq.expected(), r.media.received, r.repaired, r.retransmitted}
	expected := at.expected - r.prior.expected
	v := score.Interval{
		Delivered:     at.delivered - r.prior.delivered,
		Repaired:      at.repaired - r.prior.repaired,
		Retransmitted: at.retransmitted - r.prior.retransmitted,
		LateRepairs:   r.rtx == nil,
	}
	if at.expected < r.prior.expected {
		// The numbering began anew: as in mediasoup, all counts as lost.
		expected = math.MaxUint32
	}
	if expected > v.Delivered {
		v.Lost = expected - v.Delivered
	}
	r.prior = at
	if r.inactive {
		return
	}
	sample := uint8(score.Max)
	if expected > 0 {
		sample = v.Sample()
	}
	before := r.score.Value()
	if r.score.Add(sample) {
		r.scored(now, before)
	}
}

// ReportBlock closes an interval of receiver reports and returns the report on
// the media. worst is the highest fraction lost that receivers of a stream with
// in-band FEC reported, 0 without.
func (r *Recv) ReportBlock(now time.Duration, worst uint8) ReportBlock {
	return r.media.block(now, r.p.SSRC, uint32(r.jitter.value), worst)
}

// RTXReportBlock returns the report on the retransmissions; ok is false when
// there are none.
func (r *Recv) RTXReportBlock(now time.Duration) (b ReportBlock, ok bool) {
	if r.rtx == nil {
		return ReportBlock{}, false
	}
	return r.rtx.block(now, r.p.RTXSSRC, 0, 0), true
}

// DelaySinceLastRR takes a DLRR sub-block (RFC 3611 §4.5) that answers our
// receiver reference time, and measures the round trip. ntpNow is the present
// time, in compact form like last and delay.
func (r *Recv) DelaySinceLastRR(ntpNow, last, delay uint32) {
	if last == 0 {
		return
	}
	r.rtt = roundTrip(ntpNow, last, delay)
	if r.nack != nil {
		r.nack.SetRTT(r.RTT())
	}
}

// RTT returns the round trip time to the sender, 0 while unknown.
func (r *Recv) RTT() time.Duration { return compactToDuration(r.rtt) }

// MaxTimestamp returns the newest RTP timestamp and when it came; ok is false
// before the first packet.
func (r *Recv) MaxTimestamp() (timestamp uint32, at time.Duration, ok bool) {
	s := &r.media.seq
	return s.timestamp, s.at, s.started
}

func (r *Recv) layer(spatial, temporal uint8) *rate.Counter {
	s, t := min(spatial, r.p.SpatialLayers-1), min(temporal, r.p.TemporalLayers-1)
	return &r.layers[int(s)*int(r.p.TemporalLayers)+int(t)]
}

// Bitrate returns the bits per second of all layers.
func (r *Recv) Bitrate(now time.Duration) (bitrate uint32) {
	for i := range r.layers {
		bitrate += uint32(r.layers[i].Rate(now))
	}
	return bitrate
}

// BitrateUpTo returns the bits per second that a receiver of that spatial and
// temporal layer needs, lower layers included; 0 when that very layer is
// silent.
func (r *Recv) BitrateUpTo(now time.Duration, spatial, temporal uint8) (bitrate uint32) {
	if spatial >= r.p.SpatialLayers || temporal >= r.p.TemporalLayers || r.LayerBitrate(now, spatial, temporal) == 0 {
		return 0
	}
	for s := range spatial {
		bitrate += r.SpatialBitrate(now, s)
	}
	for t := range temporal + 1 {
		bitrate += r.LayerBitrate(now, spatial, t)
	}
	return bitrate
}

// LayerBitrate returns the bits per second of one layer alone.
func (r *Recv) LayerBitrate(now time.Duration, spatial, temporal uint8) uint32 {
	if spatial >= r.p.SpatialLayers || temporal >= r.p.TemporalLayers {
		return 0
	}
	return uint32(r.layer(spatial, temporal).Rate(now))
}

// SpatialBitrate returns the bits per second of one spatial layer with all its
// temporal layers.
func (r *Recv) SpatialBitrate(now time.Duration, spatial uint8) (bitrate uint32) {
	for t := range r.p.TemporalLayers {
		bitrate += r.LayerBitrate(now, spatial, t)
	}
	return bitrate
}

// Stats returns the statistics.
func (r *Recv) Stats(now time.Duration) RecvStats {
	v := RecvStats{Stats: r.traffic.stats(&r.p)}
	v.PacketsLost = r.media.lost
	v.FractionLost = r.media.fraction
	v.Jitter = uint32(r.jitter.value)
	v.PacketsDiscarded = r.media.seq.discarded
	v.Score = r.score.Value()
	v.Bitrate = r.Bitrate(now)
	if r.rtx != nil {
		v.RTXPacketsDiscarded = r.rtx.seq.discarded
	}
	if len(r.layers) > 1 {
		for s := range r.p.SpatialLayers {
			for t := range r.p.TemporalLayers {
				v.Layers = append(v.Layers, LayerBitrate{s, t, r.BitrateUpTo(now, s, t)})
			}
		}
	}
	return v
}
