package rtcp

import (
	"encoding/binary"
	"math/bits"
)

const (
	feedbackLen = 12 // header, sender, media source
	nackLen     = 4
	firLen      = 8
	rembLen     = 20 // without SSRCs
	rembID      = 0x52454d42

	mantissaBits = 18
	maxNACKs     = maxWords - feedbackLen/4
)

// Feedback is who speaks and about what, in every TypeRTPFB and TypePSFB
// packet (RFC 4585 §6.1).
type Feedback struct {
	SenderSSRC uint32
	MediaSSRC  uint32
}

// Feedback returns the head of a TypeRTPFB or TypePSFB packet.
func (p Packet) Feedback() (f Feedback, ok bool) {
	if t := p.Type(); t != TypeRTPFB && t != TypePSFB || len(p) < feedbackLen {
		return Feedback{}, false
	}
	return Feedback{binary.BigEndian.Uint32(p[4:]), binary.BigEndian.Uint32(p[8:])}, true
}

// MediaSSRC returns the SSRC that feedback is about; 0 for other packets.
func (p Packet) MediaSSRC() uint32 {
	f, _ := p.Feedback()
	return f.MediaSSRC
}

// NACKs is a view of the entries of a generic NACK.
type NACKs []byte

// NACKs returns the entries of a TypeRTPFB packet of FormatNACK.
func (p Packet) NACKs() NACKs {
	if !p.isFeedback(TypeRTPFB, FormatNACK) {
		return nil
	}
	return NACKs(p[feedbackLen:])
}

// Len returns how many entries there are; each asks for 1 to 17 packets.
func (n NACKs) Len() int { return len(n) / nackLen }

// At returns one of them, i < Len: a sequence number and the mask of the
// sixteen that follow it, the lowest bit for the first.
func (n NACKs) At(i int) (pid, blp uint16) {
	n = n[i*nackLen:]
	return binary.BigEndian.Uint16(n), binary.BigEndian.Uint16(n[2:])
}

// AppendNACK appends a generic NACK for the sequence numbers, which should
// ascend so that neighbours share an entry; nothing for none of them.
func AppendNACK(dst []byte, sender, media uint32, seqs []uint16) []byte {
	for len(seqs) > 0 {
		start := len(dst)
		dst = appendFeedback(dst, FormatNACK, TypeRTPFB, sender, media)
		for n := 0; len(seqs) > 0 && n < maxNACKs; n++ {
			pid, blp := seqs[0], uint16(0)
			seqs = seqs[1:]
			for len(seqs) > 0 && seqs[0]-pid-1 < 16 {
				blp |= 1 << (seqs[0] - pid - 1)
				seqs = seqs[1:]
			}
			dst = binary.BigEndian.AppendUint16(dst, pid)
			dst = binary.BigEndian.AppendUint16(dst, blp)
		}
		dst = finish(dst, start)
	}
	return dst
}

// IsPLI reports whether p asks for a key frame of its media SSRC.
func (p Packet) IsPLI() bool { return p.isFeedback(TypePSFB, FormatPLI) }

// AppendPLI appends a picture loss indication.
func AppendPLI(dst []byte, sender, media uint32) []byte {
	start := len(dst)
	return finish(appendFeedback(dst, FormatPLI, TypePSFB, sender, media), start)
}

// FIRs is a view of the entries of a full intra request.
type FIRs []byte

// FIRs returns the entries of a TypePSFB packet of FormatFIR.
func (p Packet) FIRs() FIRs {
	if !p.isFeedback(TypePSFB, FormatFIR) {
		return nil
	}
	return FIRs(p[feedbackLen:])
}

// Len returns how many entries there are.
func (f FIRs) Len() int { return len(f) / firLen }

// At returns one of them, i < Len: whose key frame is wanted, and a number that
// changes with each request but not with its repetition.
func (f FIRs) At(i int) (ssrc uint32, seq uint8) {
	f = f[i*firLen:]
	return binary.BigEndian.Uint32(f), f[4]
}

// AppendFIR appends a full intra request with one entry. RFC 5104 wants media
// to be 0, mediasoup repeats ssrc there.
func AppendFIR(dst []byte, sender, media, ssrc uint32, seq uint8) []byte {
	start := len(dst)
	dst = appendFeedback(dst, FormatFIR, TypePSFB, sender, media)
	dst = binary.BigEndian.AppendUint32(dst, ssrc)
	return finish(append(dst, seq, 0, 0, 0), start)
}

// A REMB is the bitrate that a receiver believes the path can carry
// (draft-alvestrand-rmcat-remb-03).
//
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|                        'R' 'E' 'M' 'B'                        | 12
//	| number of SSRC|  exponent |     mantissa, 18 bits             | 16
//	|                            SSRCs                              | 20
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
type REMB struct {
	Bitrate uint64 // bit/s
	SSRCs   SSRCs  // a view
}

// REMB returns the estimate in a TypePSFB packet of FormatAFB; ok is false for
// other application layer feedback.
func (p Packet) REMB() (r REMB, ok bool) {
	if !p.isFeedback(TypePSFB, FormatAFB) || !p.hasREMB() {
		return REMB{}, false
	}
	exp, mantissa := p.remb()
	return REMB{Bitrate: mantissa << exp, SSRCs: SSRCs(p[rembLen:])}, true
}

func (p Packet) hasREMB() bool {
	return len(p) >= rembLen && binary.BigEndian.Uint32(p[feedbackLen:]) == rembID
}

func (p Packet) remb() (exp uint, mantissa uint64) {
	v := binary.BigEndian.Uint32(p[16:]) & 0xffffff
	return uint(v >> mantissaBits), uint64(v & (1<<mantissaBits - 1))
}

// validREMB lets pass what isn't REMB.
func (p Packet) validREMB() bool {
	if !p.hasREMB() {
		return true
	}
	exp, mantissa := p.remb()
	return len(p) == rembLen+int(p[16])*ssrcLen && bits.Len64(mantissa)+int(exp) <= 64
}

// AppendREMB appends an estimate in bit/s. The wire format keeps its upper 18
// bits and at most 255 SSRCs.
func AppendREMB(dst []byte, sender, media uint32, bitrate uint64, ssrcs []uint32) []byte {
	start := len(dst)
	ssrcs = ssrcs[:min(len(ssrcs), 255)]
	exp := max(bits.Len64(bitrate)-mantissaBits, 0)
	dst = appendFeedback(dst, FormatAFB, TypePSFB, sender, media)
	dst = binary.BigEndian.AppendUint32(dst, rembID)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(ssrcs))<<24|uint32(exp)<<mantissaBits|uint32(bitrate>>exp))
	for _, s := range ssrcs {
		dst = binary.BigEndian.AppendUint32(dst, s)
	}
	return finish(dst, start)
}

func appendFeedback(dst []byte, format, typ uint8, sender, media uint32) []byte {
	return binary.BigEndian.AppendUint32(appendHeader(dst, format, typ, sender), media)
}
