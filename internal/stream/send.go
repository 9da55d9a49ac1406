package stream

import (
	"math/bits"
	"time"

	"github.com/mafalda-sfu/mafalda/internal/rate"
	"github.com/mafalda-sfu/mafalda/internal/rtx"
	"github.com/mafalda-sfu/mafalda/internal/score"
)

const (
	// reportAge is how long after its last packet a stream still has sender
	// reports.
	reportAge = 2000 * time.Millisecond
	// defaultRTT stands for a round trip time that is not known.
	defaultRTT = 100 * time.Millisecond
)

// An Outgoing is a packet about to be sent, as a [Send] wants to know it.
type Outgoing struct {
	Seq         uint16
	Size        int // whole RTP packet, bytes
	PayloadSize int // 0 for padding only
	// Captured is when, on the Worker's clock, the sender captured what the
	// packet carries; for the timestamps of sender reports. HasCaptured is false
	// when that is not known, then the time of forwarding stands for it.
	Captured    time.Duration
	HasCaptured bool
	// Item has the timestamp, and what a retransmission needs.
	Item rtx.Item
}

// A Send is an RTP stream that we send. Make it with [NewSend].
type Send struct {
	p Params

	traffic
	seq       sequence
	used      window
	reference time.Duration // capture time of the newest timestamp
	rate      rate.Counter
	sent      rtx.Map
	rtxSeq    uint16

	score        score.History
	scoreChanged bool
	prior        interval // delivered: sent; expected: lost
	lost         int32    // as the remote reports
	fraction     uint8
	jitter       uint32
}

// NewSend returns a stream with the score 10, for its place in a larger struct; it
// must not be copied once it is in use. Its retransmissions are numbered
// from rtxSeq, which should be random.
func NewSend(now time.Duration, p Params, rtxSeq uint16) Send {
	age := rtx.AudioAge
	if p.Video {
		age = rtx.VideoAge
	}
	s := Send{
		p:      p,
		rate:   rate.New(mediaWindow),
		sent:   rtx.NewMap(age, p.ClockRate),
		rtxSeq: rtxSeq,
	}
	s.activeSince = now
	s.score.Reset(score.Max)
	return s
}

// Params returns the description of the stream.
func (s *Send) Params() *Params { return &s.p }

// Accept takes note of a packet about to be sent. When it returns false the
// packet must not be sent: its number is far off, or was used before, which
// SRTP forbids.
func (s *Send) Accept(now time.Duration, o *Outgoing) bool {
	verdict, newest := s.seq.receive(now, o.Seq, o.Item.Timestamp)
	switch verdict {
	case dropped:
		return false
	case restarted:
		s.sent.Clear()
		s.used = window{}
	}
	if !s.used.use(o.Seq) {
		return false
	}
	if newest {
		s.reference = now
		if o.HasCaptured {
			s.reference = o.Captured
		}
	}
	if s.p.UseNACK {
		s.sent.Insert(now, o.Seq, o.Item)
	}
	s.packets++
	if o.PayloadSize > 0 {
		s.bytes += uint64(o.Size)
		s.rate.Update(now, o.Size)
	}
	return true
}

// Prefetch asks for the memory beside the Send itself that the next packets
// need.
func (s *Send) Prefetch() {
	s.sent.Prefetch()
	s.rate.Prefetch()
}

// Pause forgets what was sent, because the Consumer was paused.
func (s *Send) Pause() {
	s.Forget()
	s.jitter = 0
}

// Forget makes that nothing sent so far is sent again.
func (s *Send) Forget() { s.sent.Clear() }

// CountNACK counts a NACK packet that the remote sent.
func (s *Send) CountNACK() { s.nackCount++ }

// CountPLI and CountFIR count requests for key frames that the remote sent.
func (s *Send) CountPLI() { s.pliCount++ }

// CountFIR is described at CountPLI.
func (s *Send) CountFIR() { s.firCount++ }

// NACK answers one item of a NACK: packet pid and those that follow it by the
// positions of the bits in blp plus one. It calls resend for each that was sent,
// is remembered and was not answered within the last round trip; resend reports
// whether it could be sent again.
func (s *Send) NACK(now time.Duration, pid, blp uint16, resend func(seq uint16, i rtx.Item) bool) {
	s.nackPacketCount += 1 + uint32(bits.OnesCount16(blp))
	if !s.p.UseNACK {
		return
	}
	rtt := s.RTT()
	if rtt == 0 {
		rtt = defaultRTT
	}
	for wanted := uint32(blp)<<1 | 1; wanted != 0; wanted &= wanted - 1 {
		seq := pid + uint16(bits.TrailingZeros32(wanted))
		item, ok := s.sent.Due(now, rtt, seq)
		if !ok || !resend(seq, item) {
			continue
		}
		s.retransmitted++
		if s.sent.Resent(now, seq) {
			s.repaired++
		}
	}
}

// NextRTXSeq returns the sequence number of the next retransmission.
func (s *Send) NextRTXSeq() uint16 {
	s.rtxSeq++
	return s.rtxSeq
}

// Score returns the score of the stream, 0 to 10.
func (s *Send) Score() uint8 { return s.score.Value() }

// ScoreChanged reports, once, that a report has changed the score.
func (s *Send) ScoreChanged() bool {
	changed := s.scoreChanged
	s.scoreChanged = false
	return changed
}

// ResetScore makes the score 10, as a change of the spatial layer does. That is
// no change to be notified.
func (s *Send) ResetScore(now time.Duration) {
	if s.score.Value() == 0 {
		s.activeSince = now
	}
	s.score.Reset(score.Max)
}

// ActiveFor returns how long the score has been above 0.
func (s *Send) ActiveFor(now time.Duration) time.Duration { return now - s.activeSince }

// RTT returns the round trip time to the receiver, 0 while unknown.
func (s *Send) RTT() time.Duration { return compactToDuration(s.rtt) }

// FractionLost returns the loss that the receiver reported last, of 256.
func (s *Send) FractionLost() uint8 { return s.fraction }

// LossPercentage is FractionLost of 100.
func (s *Send) LossPercentage() float64 { return float64(s.fraction) * 100 / 256 }

// Bitrate returns the bits per second sent, retransmissions excepted.
func (s *Send) Bitrate(now time.Duration) uint32 { return uint32(s.rate.Rate(now)) }

// MaxTimestamp returns the newest RTP timestamp; ok is false before the first
// packet.
func (s *Send) MaxTimestamp() (timestamp uint32, ok bool) { return s.seq.timestamp, s.seq.started }
