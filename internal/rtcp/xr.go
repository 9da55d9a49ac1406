package rtcp

import "encoding/binary"

const (
	xrBlockHeader = 4
	rrtLen        = 12 // with the block header
	dlrrLen       = 12 // of an entry
)

// Block types of extended reports that are read here (RFC 3611 §4).
const (
	XRReferenceTime = 4 // receiver reference time
	XRDLRR          = 5 // delay since the last receiver reference time
)

// An XRBlock is a view of one block of an extended report.
//
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|  block type   | type-specific |      length in words - 1      |
//	|                            content                            |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
type XRBlock []byte

// Type returns the block type.
func (b XRBlock) Type() uint8 { return b[0] }

// ReferenceTime returns when the receiver sent an XRReferenceTime block, by its
// clock, seconds since 1900 in 32.32 fixed point.
func (b XRBlock) ReferenceTime() (ntp uint64, ok bool) {
	if b[0] != XRReferenceTime || len(b) < rrtLen {
		return 0, false
	}
	return binary.BigEndian.Uint64(b[xrBlockHeader:]), true
}

// A DLRREntry answers a receiver reference time.
type DLRREntry struct {
	SSRC uint32 // of the receiver that sent it
	LRR  uint32 // compact NTP of it, 0: none came
	DLRR uint32 // since it arrived, 1/65,536 s
}

// DLRRs is a view of the entries of an XRDLRR block.
type DLRRs []byte

// DLRRs returns the entries of an XRDLRR block.
func (b XRBlock) DLRRs() DLRRs {
	if b[0] != XRDLRR {
		return nil
	}
	return DLRRs(b[xrBlockHeader:])
}

// Len returns how many entries there are.
func (d DLRRs) Len() int { return len(d) / dlrrLen }

// At returns one of them, i < Len.
func (d DLRRs) At(i int) DLRREntry {
	d = d[i*dlrrLen:]
	return DLRREntry{binary.BigEndian.Uint32(d), binary.BigEndian.Uint32(d[4:]), binary.BigEndian.Uint32(d[8:])}
}

// XRBlocks walks the blocks of a TypeXR packet.
type XRBlocks struct{ rest []byte }

// XRBlocks returns the blocks of a TypeXR packet, those of other types
// included.
func (p Packet) XRBlocks() XRBlocks {
	if !p.is(TypeXR) || len(p) < sendersLen {
		return XRBlocks{}
	}
	return XRBlocks{p[sendersLen:]}
}

// Next returns the next block.
func (x *XRBlocks) Next() (XRBlock, bool) {
	if len(x.rest) < xrBlockHeader {
		return nil, false
	}
	n := (int(binary.BigEndian.Uint16(x.rest[2:])) + 1) * 4
	if n > len(x.rest) {
		return nil, false
	}
	b := XRBlock(x.rest[:n])
	x.rest = x.rest[n:]
	return b, true
}

func (p Packet) validXR() bool {
	if len(p) < sendersLen {
		return false
	}
	blocks := p.XRBlocks()
	for {
		b, ok := blocks.Next()
		if !ok {
			return len(blocks.rest) == 0
		}
		switch {
		case b.Type() == XRReferenceTime && len(b) != rrtLen,
			b.Type() == XRDLRR && (len(b)-xrBlockHeader)%dlrrLen != 0:
			return false
		}
	}
}

// AppendXR appends a TypeXR packet with the receiver's time unless that is 0
// and with the delays if there are any; none without both. Of the entries at
// most 5,000 are written.
func AppendXR(dst []byte, sender uint32, ntp uint64, entries []DLRREntry) []byte {
	if ntp == 0 && len(entries) == 0 {
		return dst
	}
	start := len(dst)
	dst = appendHeader(dst, 0, TypeXR, sender)
	if ntp != 0 {
		dst = append(dst, XRReferenceTime, 0, 0, rrtLen/4-1)
		dst = binary.BigEndian.AppendUint64(dst, ntp)
	}
	if entries = entries[:min(len(entries), 5000)]; len(entries) > 0 {
		dst = append(dst, XRDLRR, 0)
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(entries)*dlrrLen/4))
		for _, e := range entries {
			dst = binary.BigEndian.AppendUint32(dst, e.SSRC)
			dst = binary.BigEndian.AppendUint32(dst, e.LRR)
			dst = binary.BigEndian.AppendUint32(dst, e.DLRR)
		}
	}
	return finish(dst, start)
}
