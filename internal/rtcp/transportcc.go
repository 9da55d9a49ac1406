package rtcp

import "encoding/binary"

const (
	transportCCLen = 20 // without chunks and deltas
	chunkSize      = 2

	vectorFlag   = 1 << 15 // chunk is a vector, not a run
	twoBitFlag   = 1 << 14 // of a vector
	runMask      = 1<<13 - 1
	oneBitVector = 14 // symbols in it
	twoBitVector = 7

	symbolSmall = 1 // received, delta of one byte
	symbolLarge = 2 // received, delta of two bytes

	deltaUnit = 250 // µs
)

// A TransportCC is a view of transport-wide congestion control feedback: which
// packets arrived and when (draft-holmer-rmcat-transport-wide-cc-extensions-01
// §3.1).
//
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|      base sequence number     |      packet status count      | 12
//	|             reference time, 64 ms             | feedback count| 16
//	|          chunk                |         chunk …               | 20
//	|  delta …                                                      |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
type TransportCC []byte

// TransportCC returns the feedback in a TypeRTPFB packet of FormatTransportCC.
func (p Packet) TransportCC() (f TransportCC, ok bool) {
	if !p.isFeedback(TypeRTPFB, FormatTransportCC) || len(p) < transportCCLen {
		return nil, false
	}
	return TransportCC(p), true
}

// BaseSeq returns the first transport-wide sequence number that is reported.
func (f TransportCC) BaseSeq() uint16 { return binary.BigEndian.Uint16(f[12:]) }

// Count returns how many sequence numbers are reported, lost ones included.
func (f TransportCC) Count() int { return int(binary.BigEndian.Uint16(f[14:])) }

// ReferenceTime returns the time that the first delta refers to, in 64 ms of
// the receiver's clock. It is a signed number of 24 bits.
func (f TransportCC) ReferenceTime() int32 { return int32(binary.BigEndian.Uint32(f[16:])) >> 8 }

// FeedbackCount returns the number of the packet, modulo 256.
func (f TransportCC) FeedbackCount() uint8 { return f[19] }

// A chunk is one 16 bit word of statuses.
type chunk uint16

// len returns how many statuses there are.
func (c chunk) len() int {
	switch {
	case c&vectorFlag == 0:
		return int(c & runMask)
	case c&twoBitFlag == 0:
		return oneBitVector
	}
	return twoBitVector
}

// at returns status i < len. The reserved symbol 3 counts as not received, as
// nothing is known of its delta.
func (c chunk) at(i int) uint8 {
	switch {
	case c&vectorFlag == 0:
		return uint8(c >> 13)
	case c&twoBitFlag == 0:
		return uint8(c>>(oneBitVector-1-i)) & 1
	}
	return uint8(c>>(2*(twoBitVector-1-i))) & 3
}

// deltas returns how many bytes the deltas of the first n statuses take.
func (c chunk) deltas(n int) int {
	if c&vectorFlag == 0 {
		return n * deltaSize(c.at(0))
	}
	total := 0
	for i := range n {
		total += deltaSize(c.at(i))
	}
	return total
}

func deltaSize(symbol uint8) int {
	if symbol == symbolSmall || symbol == symbolLarge {
		return int(symbol)
	}
	return 0
}

// layout returns where the deltas begin and end; ok is false when chunks are
// missing.
func (f TransportCC) layout() (begin, end int, ok bool) {
	size := 0
	begin = transportCCLen
	for left := f.Count(); left > 0; begin += chunkSize {
		if begin+chunkSize > len(f) {
			return 0, 0, false
		}
		c := chunk(binary.BigEndian.Uint16(f[begin:]))
		n := min(c.len(), left)
		size += c.deltas(n)
		left -= n
	}
	return begin, begin + size, true
}

func (p Packet) validTransportCC() bool {
	if len(p) < transportCCLen {
		return false
	}
	_, end, ok := TransportCC(p).layout()
	return ok && end <= len(p)
}

// A PacketStatus is what the receiver says about one packet.
type PacketStatus struct {
	Seq      uint16 // transport-wide
	Received bool
	// Delta is the arrival time relative to the received packet before, to the
	// reference time for the first, in µs; a multiple of 250.
	Delta int32
}

// PacketStatuses walks the packets that are reported.
type PacketStatuses struct {
	chunks []byte
	deltas []byte
	seq    uint16
	left   int // statuses in all

	chunk chunk
	i, n  int // in chunk
}

// Statuses returns the packets that are reported, in the order of their
// numbers.
func (f TransportCC) Statuses() PacketStatuses {
	begin, end, ok := f.layout()
	if !ok || end > len(f) {
		return PacketStatuses{}
	}
	return PacketStatuses{chunks: f[transportCCLen:begin], deltas: f[begin:end], seq: f.BaseSeq(), left: f.Count()}
}

// Next returns the next status.
func (s *PacketStatuses) Next() (st PacketStatus, ok bool) {
	if s.left == 0 {
		return PacketStatus{}, false
	}
	for s.i == s.n {
		s.chunk = chunk(binary.BigEndian.Uint16(s.chunks))
		s.chunks = s.chunks[chunkSize:]
		s.i, s.n = 0, s.chunk.len()
	}
	st.Seq = s.seq
	switch s.chunk.at(s.i) {
	case symbolSmall:
		st.Received, st.Delta = true, int32(s.deltas[0])*deltaUnit
		s.deltas = s.deltas[1:]
	case symbolLarge:
		st.Received, st.Delta = true, int32(int16(binary.BigEndian.Uint16(s.deltas)))*deltaUnit
		s.deltas = s.deltas[2:]
	}
	s.i++
	s.seq++
	s.left--
	return st, true
}
