package rtp

import "encoding/binary"

//	0                   1                   2                   3
//	0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// |V=2|P|X|  CC   |M|     PT      |       sequence number         |
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// |                           timestamp                           |
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// |                             SSRC                              |
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// |                 CSRC, CC times                                |
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// |      profile (if X)           |  length in 32-bit words       |
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// |                 extension elements                            |
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
const (
	offSecond    = 1 // marker and payload type
	offSequence  = 2
	offTimestamp = 4
	offSSRC      = 8
	offCSRC      = 12

	flagVersion   = 0x80
	flagPadding   = 0x20
	flagExtension = 0x10
	maskCSRC      = 0x0f
	flagMarker    = 0x80
	maskPT        = 0x7f

	blockHead = 4 // profile and length of the extension block
)

// MinLen is the length of the fixed header, and so of the shortest packet.
const MinLen = 12

// A Packet is a view of the bytes of one RTP packet: it owns nothing, and its
// methods neither allocate nor check bounds. Make one with [Parse].
type Packet []byte

// Is reports whether b looks like RTP: twelve bytes at least, the first from
// 128 to 191. RTCP looks like that too and must be ruled out before (RFC 7983).
func Is(b []byte) bool {
	return len(b) >= MinLen && b[0]&0xc0 == flagVersion
}

// Parse checks that b is an RTP packet and returns it as a view that shares b.
// It refuses a CSRC list or an extension block that passes the end, an
// extension element that passes the end of its block, and padding of 0 bytes or
// of more than follow the header. An extension block of an unknown profile is
// accepted as opaque.
func Parse(b []byte) (Packet, bool) {
	if !Is(b) {
		return nil, false
	}
	p := Packet(b)
	n := p.csrcEnd()
	if b[0]&flagExtension != 0 {
		if len(b) < n+blockHead {
			return nil, false
		}
		end := n + blockHead + 4*int(binary.BigEndian.Uint16(b[n+2:]))
		if len(b) < end {
			return nil, false
		}
		w := walker{b: b[:end], at: n + blockHead, form: formOf(binary.BigEndian.Uint16(b[n:]))}
		for w.next() {
		}
		if w.bad {
			return nil, false
		}
		n = end
	}
	if len(b) < n {
		return nil, false
	}
	if b[0]&flagPadding != 0 {
		pad := int(b[len(b)-1])
		if pad == 0 || pad > len(b)-n {
			return nil, false
		}
	}
	return p, true
}

// Marker returns the marker bit.
func (p Packet) Marker() bool { return p[offSecond]&flagMarker != 0 }

// SetMarker writes the marker bit.
func (p Packet) SetMarker(v bool) {
	if v {
		p[offSecond] |= flagMarker
	} else {
		p[offSecond] &^= flagMarker
	}
}

// PayloadType returns the payload type, 0 to 127.
func (p Packet) PayloadType() uint8 { return p[offSecond] & maskPT }

// SetPayloadType writes the low seven bits of v.
func (p Packet) SetPayloadType(v uint8) {
	p[offSecond] = p[offSecond]&flagMarker | v&maskPT
}

// SequenceNumber returns the sequence number.
func (p Packet) SequenceNumber() uint16 { return binary.BigEndian.Uint16(p[offSequence:]) }

// SetSequenceNumber writes the sequence number.
func (p Packet) SetSequenceNumber(v uint16) { binary.BigEndian.PutUint16(p[offSequence:], v) }

// Timestamp returns the timestamp, in units of the codec's clock.
func (p Packet) Timestamp() uint32 { return binary.BigEndian.Uint32(p[offTimestamp:]) }

// SetTimestamp writes the timestamp.
func (p Packet) SetTimestamp(v uint32) { binary.BigEndian.PutUint32(p[offTimestamp:], v) }

// SSRC returns the synchronization source.
func (p Packet) SSRC() uint32 { return binary.BigEndian.Uint32(p[offSSRC:]) }

// SetSSRC writes the synchronization source.
func (p Packet) SetSSRC(v uint32) { binary.BigEndian.PutUint32(p[offSSRC:], v) }

// Header returns a copy of the fields of the fixed header.
func (p Packet) Header() Header {
	return Header{
		Marker: p.Marker(), PayloadType: p.PayloadType(), SequenceNumber: p.SequenceNumber(),
		Timestamp: p.Timestamp(), SSRC: p.SSRC(),
	}
}

// CSRCs returns a view of the list of contributing sources, four bytes each.
func (p Packet) CSRCs() []byte { return p[offCSRC:p.csrcEnd()] }

// HeaderLen returns the length of all that comes before the payload: fixed
// header, CSRC list and extension block.
func (p Packet) HeaderLen() int {
	n := p.csrcEnd()
	if p[0]&flagExtension != 0 {
		n += blockHead + 4*int(binary.BigEndian.Uint16(p[n+2:]))
	}
	return n
}

// PaddingLen returns the length of the padding at the end, its count byte
// included; 0 if there is none.
func (p Packet) PaddingLen() int {
	if p[0]&flagPadding == 0 {
		return 0
	}
	return int(p[len(p)-1])
}

// Payload returns a view of the payload without padding; it is empty in a
// packet that has only padding.
func (p Packet) Payload() []byte { return p[p.HeaderLen() : len(p)-p.PaddingLen()] }

func (p Packet) csrcEnd() int { return offCSRC + 4*int(p[0]&maskCSRC) }
