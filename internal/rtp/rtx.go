package rtp

import "encoding/binary"

const osnLen = 2 // original sequence number before the payload (RFC 4588 §4)

// AppendRTX appends p as a retransmission with the given SSRC, payload type and
// sequence number: header and extensions of p, its sequence number, its payload
// without padding. It may need two bytes more than p has.
func AppendRTX(dst []byte, p Packet, ssrc uint32, pt uint8, seq uint16) []byte {
	start := len(dst)
	dst = append(dst, p[:p.HeaderLen()]...)
	r := Packet(dst[start:])
	r[0] &^= flagPadding
	r.SetPayloadType(pt)
	r.SetSequenceNumber(seq)
	r.SetSSRC(ssrc)
	dst = binary.BigEndian.AppendUint16(dst, p.SequenceNumber())
	return append(dst, p.Payload()...)
}

// DecodeRTX turns the retransmission p into the packet that it repeats, with the
// given SSRC and payload type, in place and without padding; the result begins
// where p began. It returns false, and p is unchanged, when the payload has less
// than the two bytes of the original sequence number.
func DecodeRTX(p Packet, ssrc uint32, pt uint8) (Packet, bool) {
	n := p.HeaderLen()
	payload := p.Payload()
	if len(payload) < osnLen {
		return nil, false
	}
	p.SetSequenceNumber(binary.BigEndian.Uint16(payload))
	p.SetSSRC(ssrc)
	p.SetPayloadType(pt)
	p[0] &^= flagPadding
	copy(payload, payload[osnLen:])
	return p[:n+len(payload)-osnLen], true
}
