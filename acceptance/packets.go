package acceptance

import (
	"encoding/binary"
	"testing"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"
)

// A source makes the packets of one RTP stream.
type source struct {
	ssrc uint32
	pt   uint8
	seq  uint16 // of the next packet
	ts   uint32 // of the next packet
	step uint32 // what ts grows by
}

func opusSource(ssrc uint32) *source {
	return &source{ssrc: ssrc, pt: 111, seq: 5000, ts: 100000, step: 960}
}

func vp8Source(ssrc uint32) *source {
	return &source{ssrc: ssrc, pt: 112, seq: 6000, ts: 200000, step: 3000}
}

// packet returns the next packet; change may alter it first.
func (s *source) packet(payload []byte, change ...func(*rtp.Packet)) *rtp.Packet {
	p := &rtp.Packet{
		Header: rtp.Header{
			Version: 2, PayloadType: s.pt, SequenceNumber: s.seq, Timestamp: s.ts, SSRC: s.ssrc,
		},
		Payload: payload,
	}
	s.seq++
	s.ts += s.step
	for _, f := range change {
		f(p)
	}
	return p
}

// skip leaves out n packets.
func (s *source) skip(n int) {
	s.seq += uint16(n)
	s.ts += uint32(n) * s.step
}

func marked(p *rtp.Packet) { p.Marker = true }

// extended adds a header extension.
func extended(t testing.TB, id uint8, value []byte) func(*rtp.Packet) {
	return func(p *rtp.Packet) { require.NoError(t, p.SetExtension(id, value)) }
}

func marshal(t testing.TB, p *rtp.Packet) []byte {
	t.Helper()
	b, err := p.Marshal()
	require.NoError(t, err)
	return b
}

func parseRTP(t testing.TB, b []byte) *rtp.Packet {
	t.Helper()
	p := new(rtp.Packet)
	require.NoError(t, p.Unmarshal(b))
	return p
}

func parseRTCP(t testing.TB, b []byte) []rtcp.Packet {
	t.Helper()
	p, err := rtcp.Unmarshal(b)
	require.NoError(t, err)
	return p
}

func marshalRTCP(t testing.TB, p ...rtcp.Packet) []byte {
	t.Helper()
	b, err := rtcp.Marshal(p)
	require.NoError(t, err)
	return b
}

// The payloads begin with what tells a key frame from another and end with
// text that tells one packet from the other.

func vp8Key(text string) []byte {
	return append([]byte{0x10, 0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0x00}, text...)
}
func vp8Delta(text string) []byte { return append([]byte{0x10, 0x11, 0x02, 0x00}, text...) }

// h264Key is a sequence parameter set, h264Delta a slice of no IDR picture.
func h264Key(text string) []byte   { return append([]byte{0x67, 0x4d, 0x00, 0x32}, text...) }
func h264Delta(text string) []byte { return append([]byte{0x41, 0x9a, 0x00, 0x00}, text...) }

// vp9Key begins a picture that depends on none, vp9Delta one that does.
func vp9Key(text string) []byte   { return append([]byte{0x8c, 0x80, 0x01}, text...) }
func vp9Delta(text string) []byte { return append([]byte{0xcc, 0x80, 0x02}, text...) }

// retransmission wraps p in a packet of the RTX stream (RFC 4588 §4).
func retransmission(p *rtp.Packet, ssrc uint32, pt uint8, seq uint16) *rtp.Packet {
	x := p.Clone()
	x.SSRC, x.PayloadType, x.SequenceNumber = ssrc, pt, seq
	x.Payload = append(binary.BigEndian.AppendUint16(nil, p.SequenceNumber), p.Payload...)
	return x
}

// original unwraps a packet of an RTX stream.
func original(t testing.TB, x *rtp.Packet) (seq uint16, payload []byte) {
	t.Helper()
	require.GreaterOrEqual(t, len(x.Payload), 2, "an RTX packet has a sequence number")
	return binary.BigEndian.Uint16(x.Payload), x.Payload[2:]
}
