package rtptest

import "github.com/mafalda-sfu/mafalda/internal/rtp"

// A Packet is what an RTP packet is built from.
type Packet struct {
	rtp.Header
	Extensions []rtp.Element
	Payload    []byte
	Padding    uint8 // bytes of padding, 0 for none
}

// Bytes returns the packet in memory of its own, with capacity to spare.
func (p Packet) Bytes() []byte {
	b := rtp.AppendHeader(make([]byte, 0, 512+len(p.Payload)), p.Header, p.Extensions)
	b = append(b, p.Payload...)
	return rtp.AppendPadding(b, 0, p.Padding)
}

// RTX returns the packet as a retransmission.
func (p Packet) RTX(ssrc uint32, pt uint8, seq uint16) []byte {
	return rtp.AppendRTX(nil, p.Bytes(), ssrc, pt, seq)
}

// A Source makes the packets of one stream: Next gives the sequence number after
// the last, and the timestamp of the last plus Step.
type Source struct {
	Header     rtp.Header // of the next packet
	Step       uint32     // in units of the codec's clock
	Extensions []rtp.Element
}

// Next returns a packet with payload.
func (s *Source) Next(payload []byte) []byte {
	b := Packet{Header: s.Header, Extensions: s.Extensions, Payload: payload}.Bytes()
	s.Skip(1)
	return b
}

// Skip leaves out n packets, as if they were lost.
func (s *Source) Skip(n int) {
	s.Header.SequenceNumber += uint16(n)
	s.Header.Timestamp += uint32(n) * s.Step
}
