// Package rtcp reads and writes RTCP packets as byte views.
//
// A [Reader] walks a compound and checks each packet for its type, once. What
// it returns is a [Packet], a view of the bytes, and the typed views of that
// packet (SenderReport, ReportBlocks, NACKs, …) neither copy nor allocate. A
// view of a packet of another type is empty, so no call can go wrong.
//
// The Append functions write one packet each, or as many as their input needs,
// at the end of a slice and return it. They do not allocate when it has room.
package rtcp

import "encoding/binary"

// Packet types (RFC 3550 §12.1, RFC 4585 §6.1, RFC 3611 §2).
const (
	TypeSR    = 200 // sender report
	TypeRR    = 201 // receiver report
	TypeSDES  = 202 // source description
	TypeBYE   = 203 // goodbye
	TypeAPP   = 204 // application-defined, never read
	TypeRTPFB = 205 // transport-layer feedback
	TypePSFB  = 206 // payload-specific feedback
	TypeXR    = 207 // extended report
)

// Formats of TypeRTPFB.
const (
	FormatNACK        = 1  // RFC 4585 §6.2.1
	FormatTransportCC = 15 // draft-holmer-rmcat-transport-wide-cc-extensions-01
)

// Formats of TypePSFB.
const (
	FormatPLI = 1  // RFC 4585 §6.3.1
	FormatFIR = 4  // RFC 5104 §4.3.1
	FormatAFB = 15 // application layer feedback, REMB among others
)

const (
	version    = 0x80 // version 2 in the first byte
	padding    = 0x20 // flag in the first byte
	countMask  = 0x1f
	headerLen  = 4
	ssrcLen    = 4
	maxCount   = 31 // what the five bits of the header can count
	maxWords   = 1<<16 - 1
	sendersLen = headerLen + ssrcLen
)

// Is reports whether a datagram looks like RTCP and not like RTP, STUN or DTLS
// (RFC 5761 §4). It must be asked before it is taken for RTP.
func Is(b []byte) bool {
	return len(b) >= headerLen && b[0] >= 128 && b[0] <= 191 && b[1] >= 192 && b[1] <= 223
}

// A Packet is a view of one RTCP packet of a compound, its padding left out.
// It owns nothing. Only a [Reader] makes one.
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|V=2|P|  count  |     type      |       length in words - 1     |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|                      SSRC of the sender                       |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
type Packet []byte

// Type returns the packet type, one of the Type constants but TypeAPP.
func (p Packet) Type() uint8 {
	if len(p) < headerLen {
		return 0
	}
	return p[1]
}

// Count returns the five bits beside the version: how many blocks, chunks or
// SSRCs follow, and in feedback the format.
func (p Packet) Count() uint8 {
	if len(p) < headerLen {
		return 0
	}
	return p[0] & countMask
}

// Format is what feedback calls its Count: one of the Format constants, or
// another one that nobody here reads.
func (p Packet) Format() uint8 { return p.Count() }

// SSRC returns the SSRC of the sender of the packet. SDES and BYE have none,
// the first of theirs is returned; 0 when there is not one.
func (p Packet) SSRC() uint32 {
	if len(p) < sendersLen {
		return 0
	}
	return binary.BigEndian.Uint32(p[headerLen:])
}

// is reports whether p is of that type.
func (p Packet) is(typ uint8) bool { return len(p) >= headerLen && p[1] == typ }

// isFeedback reports whether p is feedback of that type and format.
func (p Packet) isFeedback(typ, format uint8) bool {
	return len(p) >= feedbackLen && p[1] == typ && p[0]&countMask == format
}

// A Reader walks the packets of a compound.
type Reader struct{ rest []byte }

// NewReader returns a Reader of a datagram. The Reader and its packets refer to
// b and do not change it.
func NewReader(b []byte) Reader { return Reader{rest: b} }

// Next returns the next packet. It ends at the end of the compound, and for
// good at the first packet that is malformed, of unknown type or
// application-defined, as mediasoup does (RTC/RTCP/Packet.cpp). Feedback of an
// unknown format is returned unread.
func (r *Reader) Next() (Packet, bool) {
	b := r.rest
	r.rest = nil
	if !Is(b) {
		return nil, false
	}
	n := (int(binary.BigEndian.Uint16(b[2:])) + 1) * 4
	if n > len(b) {
		return nil, false
	}
	p := Packet(b[:n:n])
	if p[0]&padding != 0 {
		// The count need not be a multiple of four: transport-wide feedback
		// is padded by the byte.
		pad := int(p[n-1])
		if pad == 0 || pad > n-headerLen {
			return nil, false
		}
		p = p[:n-pad]
	}
	if !p.valid() {
		return nil, false
	}
	r.rest = b[n:]
	return p, true
}

// valid checks everything that the views rely on.
func (p Packet) valid() bool {
	switch p[1] {
	case TypeSR:
		return len(p) >= senderReportLen+int(p.Count())*reportBlockLen
	case TypeRR:
		return len(p) >= sendersLen+int(p.Count())*reportBlockLen
	case TypeSDES:
		return p.validSDES()
	case TypeBYE:
		return p.validBye()
	case TypeRTPFB:
		if len(p) < feedbackLen {
			return false
		}
		switch p.Format() {
		case FormatNACK:
			return validEntries(len(p)-feedbackLen, nackLen)
		case FormatTransportCC:
			return p.validTransportCC()
		}
		return true
	case TypePSFB:
		if len(p) < feedbackLen {
			return false
		}
		switch p.Format() {
		case FormatFIR:
			return validEntries(len(p)-feedbackLen, firLen)
		case FormatAFB:
			return p.validREMB()
		}
		return true
	case TypeXR:
		return p.validXR()
	}
	return false
}

// validEntries reports whether n bytes are one or more entries.
func validEntries(n, entry int) bool { return n > 0 && n%entry == 0 }

// appendHeader begins a packet; finish writes its length.
func appendHeader(dst []byte, count, typ uint8, sender uint32) []byte {
	dst = append(dst, version|count, typ, 0, 0)
	return binary.BigEndian.AppendUint32(dst, sender)
}

// finish writes the length of the packet that begins at start and goes to the
// end of b, which is a multiple of four.
func finish(b []byte, start int) []byte {
	binary.BigEndian.PutUint16(b[start+2:], uint16((len(b)-start)/4-1))
	return b
}

// SSRCs is a view of a list of SSRCs.
type SSRCs []byte

// Len returns how many there are.
func (s SSRCs) Len() int { return len(s) / ssrcLen }

// At returns one of them, i < Len.
func (s SSRCs) At(i int) uint32 { return binary.BigEndian.Uint32(s[i*ssrcLen:]) }
