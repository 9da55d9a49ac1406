package rtp

import "encoding/binary"

// A Header has the fields of the fixed header, for packets that we build.
type Header struct {
	Marker         bool
	PayloadType    uint8
	SequenceNumber uint16
	Timestamp      uint32
	SSRC           uint32
}

// An Element is a header extension to write. Its id is 1 to 255, its value up
// to 255 bytes long; [AppendHeader] leaves out others.
type Element struct {
	ID    uint8
	Value []byte
}

func (e Element) valid() bool { return e.ID != 0 && len(e.Value) <= 255 }

// AppendHeader appends a header without CSRCs to dst and returns the extended
// slice; the payload is to follow. The extension block has the one-byte form if
// all ids are at most 14 and all lengths 1 to 16, else the two-byte form. It
// ends at a multiple of four bytes. Without elements there is no block.
func AppendHeader(dst []byte, h Header, elements []Element) []byte {
	some, one := false, true
	for _, e := range elements {
		if e.valid() {
			some = true
			one = one && e.ID <= 14 && len(e.Value) >= 1 && len(e.Value) <= 16
		}
	}
	first, second := byte(flagVersion), h.PayloadType&maskPT
	if some {
		first |= flagExtension
	}
	if h.Marker {
		second |= flagMarker
	}
	dst = append(dst, first, second)
	dst = binary.BigEndian.AppendUint16(dst, h.SequenceNumber)
	dst = binary.BigEndian.AppendUint32(dst, h.Timestamp)
	dst = binary.BigEndian.AppendUint32(dst, h.SSRC)
	if !some {
		return dst
	}
	profile := uint16(ProfileTwoByte)
	if one {
		profile = ProfileOneByte
	}
	dst = binary.BigEndian.AppendUint16(dst, profile)
	dst = append(dst, 0, 0)
	start := len(dst)
	for _, e := range elements {
		switch {
		case !e.valid():
			continue
		case one:
			dst = append(dst, e.ID<<4|byte(len(e.Value)-1))
		default:
			dst = append(dst, e.ID, byte(len(e.Value)))
		}
		dst = append(dst, e.Value...)
	}
	for (len(dst)-start)%4 != 0 {
		dst = append(dst, 0)
	}
	binary.BigEndian.PutUint16(dst[start-2:], uint16((len(dst)-start)/4))
	return dst
}

// AppendPadding appends n bytes of padding, 1 to 255, to the packet that begins
// at dst[start] and sets its padding bit.
func AppendPadding(dst []byte, start int, n uint8) []byte {
	if n == 0 || start >= len(dst) {
		return dst
	}
	for range n - 1 {
		dst = append(dst, 0)
	}
	dst[start] |= flagPadding
	return append(dst, n)
}
