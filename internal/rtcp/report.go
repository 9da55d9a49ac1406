package rtcp

import "encoding/binary"

const (
	senderReportLen = 28 // without report blocks
	reportBlockLen  = 24
)

// A SenderReport is what the sender of a stream says about it (RFC 3550
// §6.4.1). The report blocks of the same packet are seen by
// [Packet.ReportBlocks].
//
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|                     SSRC of the sender                        |  4
//	|                  NTP timestamp, 32.32 bits                    |  8
//	|                                                               | 12
//	|                         RTP timestamp                         | 16
//	|                     sender's packet count                     | 20
//	|                      sender's octet count                     | 24
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
type SenderReport struct {
	SSRC         uint32
	NTP          uint64 // seconds since 1900, 32.32
	RTPTimestamp uint32 // at NTP
	PacketCount  uint32
	OctetCount   uint32
}

// SenderReport returns the report in a TypeSR packet.
func (p Packet) SenderReport() (r SenderReport, ok bool) {
	if !p.is(TypeSR) || len(p) < senderReportLen {
		return SenderReport{}, false
	}
	return SenderReport{
		SSRC:         binary.BigEndian.Uint32(p[4:]),
		NTP:          binary.BigEndian.Uint64(p[8:]),
		RTPTimestamp: binary.BigEndian.Uint32(p[16:]),
		PacketCount:  binary.BigEndian.Uint32(p[20:]),
		OctetCount:   binary.BigEndian.Uint32(p[24:]),
	}, true
}

// A ReportBlock is what the receiver of a stream says about it (RFC 3550
// §6.4.1).
//
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|                     SSRC of the stream                        |  0
//	| fraction lost |       cumulative number of packets lost       |  4
//	|           extended highest sequence number received           |  8
//	|                      interarrival jitter                      | 12
//	|                         last SR (LSR)                         | 16
//	|                   delay since last SR (DLSR)                  | 20
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
type ReportBlock struct {
	SSRC           uint32
	FractionLost   uint8  // of 256, since the previous report
	CumulativeLost int32  // since the beginning, 24 bits on the wire
	HighestSeq     uint32 // with the count of cycles in the upper half
	Jitter         uint32 // units of the RTP clock
	LSR            uint32 // compact NTP of the last sender report, 0: none
	DLSR           uint32 // since it arrived, 1/65,536 s
}

// ReportBlocks is a view of report blocks.
type ReportBlocks []byte

// ReportBlocks returns the blocks of a TypeSR or TypeRR packet.
func (p Packet) ReportBlocks() ReportBlocks {
	first := sendersLen
	switch p.Type() {
	case TypeSR:
		first = senderReportLen
	case TypeRR:
	default:
		return nil
	}
	end := first + int(p.Count())*reportBlockLen
	if end > len(p) {
		return nil
	}
	return ReportBlocks(p[first:end])
}

// Len returns how many blocks there are.
func (b ReportBlocks) Len() int { return len(b) / reportBlockLen }

// At returns one of them, i < Len.
func (b ReportBlocks) At(i int) ReportBlock {
	b = b[i*reportBlockLen:]
	lost := binary.BigEndian.Uint32(b[4:])
	return ReportBlock{
		SSRC:           binary.BigEndian.Uint32(b),
		FractionLost:   uint8(lost >> 24),
		CumulativeLost: int32(lost<<8) >> 8, // sign-extended
		HighestSeq:     binary.BigEndian.Uint32(b[8:]),
		Jitter:         binary.BigEndian.Uint32(b[12:]),
		LSR:            binary.BigEndian.Uint32(b[16:]),
		DLSR:           binary.BigEndian.Uint32(b[20:]),
	}
}

// AppendSenderReport appends a TypeSR packet without report blocks.
func AppendSenderReport(dst []byte, r SenderReport) []byte {
	start := len(dst)
	dst = appendHeader(dst, 0, TypeSR, r.SSRC)
	dst = binary.BigEndian.AppendUint64(dst, r.NTP)
	dst = binary.BigEndian.AppendUint32(dst, r.RTPTimestamp)
	dst = binary.BigEndian.AppendUint32(dst, r.PacketCount)
	dst = binary.BigEndian.AppendUint32(dst, r.OctetCount)
	return finish(dst, start)
}

// AppendReceiverReport appends as many TypeRR packets as the blocks need, 31
// to each, and an empty one for no blocks. A cumulative loss that 24 bits can
// not hold is clamped.
func AppendReceiverReport(dst []byte, sender uint32, blocks []ReportBlock) []byte {
	for {
		n := min(len(blocks), maxCount)
		start := len(dst)
		dst = appendHeader(dst, uint8(n), TypeRR, sender)
		for i := range blocks[:n] {
			dst = appendReportBlock(dst, &blocks[i])
		}
		dst = finish(dst, start)
		blocks = blocks[n:]
		if len(blocks) == 0 {
			return dst
		}
	}
}

func appendReportBlock(dst []byte, b *ReportBlock) []byte {
	const limit = 1 << 23
	lost := min(max(b.CumulativeLost, -limit), limit-1)
	dst = binary.BigEndian.AppendUint32(dst, b.SSRC)
	dst = binary.BigEndian.AppendUint32(dst, uint32(b.FractionLost)<<24|uint32(lost)&0xffffff)
	dst = binary.BigEndian.AppendUint32(dst, b.HighestSeq)
	dst = binary.BigEndian.AppendUint32(dst, b.Jitter)
	dst = binary.BigEndian.AppendUint32(dst, b.LSR)
	return binary.BigEndian.AppendUint32(dst, b.DLSR)
}
