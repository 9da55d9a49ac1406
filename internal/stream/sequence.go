package stream

import (
	"time"

	"github.com/mafalda-sfu/mafalda/internal/seqnum"
)

const (
	// A packet ahead of the newest by less than maxDropout is a gap, one behind
	// by less than maxMisorder is late; all others are suspicious (RFC 3550
	// §A.1 with mediasoup's constants).
	maxDropout  = 3000
	maxMisorder = 1500
	// noBadSeq is no sequence number.
	noBadSeq = 1 << 16
)

type verdict uint8

const (
	dropped verdict = iota
	accepted
	restarted // accepted; the numbering begins anew
)

// A sequence validates the numbers of a stream and knows the newest packet.
type sequence struct {
	started   bool
	base, max uint16
	cycles    uint32 // multiple of 65,536
	bad       uint32
	discarded uint32

	timestamp uint32        // newest
	at        time.Duration // when the packet with that timestamp came
}

// receive takes note of a packet and judges it. advanced says that its
// timestamp is now the newest.
func (s *sequence) receive(now time.Duration, seq uint16, timestamp uint32) (v verdict, advanced bool) {
	if !s.started {
		s.started = true
		s.begin(now, seq, timestamp)
		return accepted, true
	}
	switch delta := seq - s.max; {
	case delta < maxDropout:
		if seq < s.max {
			s.cycles += 1 << 16
		}
		s.max = seq
		if seqnum.Newer32(s.timestamp, timestamp) {
			// The sender set its clock back.
			s.timestamp, s.at = timestamp, now
			return accepted, true
		}
	case uint32(delta) <= 1<<16-maxMisorder:
		if uint32(seq) == s.bad {
			// Two in a row: the sender has started again.
			s.begin(now, seq, timestamp)
			return restarted, true
		}
		s.bad = uint32(seq + 1)
		s.discarded++
		return dropped, false
	}
	if seqnum.Newer32(timestamp, s.timestamp) {
		s.timestamp, s.at = timestamp, now
		return accepted, true
	}
	return accepted, false
}

func (s *sequence) begin(now time.Duration, seq uint16, timestamp uint32) {
	s.base, s.max = seq, seq
	s.cycles = 0
	s.bad = noBadSeq
	s.timestamp, s.at = timestamp, now
}

// highest returns the extended highest sequence number.
func (s *sequence) highest() uint32 { return s.cycles + uint32(s.max) }

// expected returns how many packets the remote sent since the numbering began,
// lost ones included (RFC 3550 §A.3).
func (s *sequence) expected() uint32 {
	if !s.started {
		return 0
	}
	return s.highest() - uint32(s.base) + 1
}
