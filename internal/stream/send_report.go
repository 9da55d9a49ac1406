package stream

import (
	"time"

	"github.com/mafalda-sfu/mafalda/internal/score"
)

// A SenderReport is what a sender report says beside the present NTP time (RFC
// 3550 §6.4.1).
type SenderReport struct {
	SSRC         uint32
	RTPTimestamp uint32
	PacketCount  uint32
	OctetCount   uint32 // whole RTP packets, retransmissions excepted
}

// SenderReport returns the report on the stream. There is none before the first
// packet, nor when the last one is more than two seconds old.
func (s *Send) SenderReport(now time.Duration) (r SenderReport, ok bool) {
	if s.packets == 0 || now-s.seq.at > reportAge {
		return SenderReport{}, false
	}
	since := max(0, now-s.reference)
	return SenderReport{
		SSRC:         s.p.SSRC,
		RTPTimestamp: s.seq.timestamp + uint32(since.Microseconds()*int64(s.p.ClockRate)/1_000_000),
		PacketCount:  uint32(s.packets),
		OctetCount:   uint32(s.bytes),
	}, true
}

// ReceiverReport takes the report of the remote on this stream. ntpNow is the
// present time, in compact form.
func (s *Send) ReceiverReport(now time.Duration, ntpNow uint32, b *ReportBlock) {
	if b.LSR != 0 && b.DLSR != 0 {
		s.rtt = roundTrip(ntpNow, b.LSR, b.DLSR)
	}
	s.lost, s.fraction, s.jitter = b.CumulativeLost, b.FractionLost, b.Jitter

	at := interval{uint32(max(0, b.CumulativeLost)), uint32(s.packets), s.repaired, s.retransmitted}
	v := score.Interval{
		Delivered:     at.delivered - s.prior.delivered,
		Repaired:      at.repaired - s.prior.repaired,
		Retransmitted: at.retransmitted - s.prior.retransmitted,
	}
	if at.expected > s.prior.expected {
		v.Lost = at.expected - s.prior.expected
	}
	s.prior = at
	sample := uint8(score.Max)
	if v.Delivered > 0 {
		sample = v.Sample()
	}
	before := s.score.Value()
	if s.score.Add(sample) {
		s.scoreChanged = true
		if before == 0 {
			s.activeSince = now
		}
	}
}

// A ReferenceTime is the last receiver reference time of a peer (RFC 3611 §4.4),
// which is for all streams that are sent to it. The zero value is none.
type ReferenceTime struct {
	last uint32 // compact NTP
	at   time.Duration
}

// Set takes the time of an extended report.
func (r *ReferenceTime) Set(now time.Duration, ntp uint64) {
	r.last, r.at = uint32(ntp>>16), now
}

// Delay returns the DLRR sub-block that answers r, for any stream; ok is false
// when there is nothing to answer.
func (r *ReferenceTime) Delay(now time.Duration) (last, delay uint32, ok bool) {
	if r.last == 0 {
		return 0, 0, false
	}
	return r.last, compactDuration(now - r.at), true
}

// Stats returns the statistics.
func (s *Send) Stats(now time.Duration) SendStats {
	v := SendStats{s.traffic.stats(&s.p)}
	v.PacketsLost = s.lost
	v.FractionLost = s.fraction
	v.Jitter = s.jitter
	v.PacketsDiscarded = s.seq.discarded
	v.Score = s.score.Value()
	v.Bitrate = s.Bitrate(now)
	return v
}
