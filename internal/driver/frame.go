package driver

import (
	"encoding/binary"

	"github.com/mafalda-sfu/mafalda/internal/tcp"
)

const frameHeader = tcp.HeaderSize

// deframer cuts a byte stream into frames (RFC 4571 §2). Unlike [tcp.Framer] it
// has no buffer of its own: all connections of a loop are read into one, whole
// frames are handed over where they lie, with headroom, and only the rest of a
// read is kept.
type deframer struct {
	part []byte // begin of an incomplete frame, header included
}

// next returns the first frame of b and what follows it. ok is false when b
// has no whole frame: then call keep(rest). Empty frames are skipped. bad
// reports a frame longer than [MaxFrame].
func (f *deframer) next(b []byte) (frame, rest []byte, ok, bad bool) {
	for len(b) >= frameHeader {
		n := int(binary.BigEndian.Uint16(b))
		switch {
		case n > MaxFrame:
			return nil, nil, false, true
		case n == 0:
			b = b[frameHeader:]
			continue
		case len(b) < frameHeader+n:
			return nil, b, false, false
		}
		return b[frameHeader : frameHeader+n], b[frameHeader+n:], true, false
	}
	return nil, b, false, false
}

// keep copies the rest that next returned.
func (f *deframer) keep(rest []byte) {
	if len(rest) > 0 {
		f.part = append(f.part[:0], rest...)
	}
}

// space returns where to read to while a frame is incomplete: what it lacks,
// and no more. It is nil between frames. Memory grows with what has come, not
// with what was announced.
func (f *deframer) space() []byte {
	have := len(f.part)
	if have == 0 {
		return nil
	}
	need := frameHeader
	if have >= frameHeader {
		need += int(binary.BigEndian.Uint16(f.part))
	}
	end := min(need, max(2*have, 2048))
	if cap(f.part) < end+Headroom {
		f.part = append(make([]byte, 0, end+Headroom), f.part...)
	}
	return f.part[have:end]
}

// filled tells that n bytes were read to space. It returns the frame if that
// completed it, valid until the next call. bad reports one longer than
// [MaxFrame].
func (f *deframer) filled(n int) (frame []byte, bad bool) {
	f.part = f.part[:len(f.part)+n]
	if len(f.part) < frameHeader {
		return nil, false
	}
	size := int(binary.BigEndian.Uint16(f.part))
	switch {
	case size > MaxFrame:
		return nil, true
	case size == 0:
		f.part = f.part[:0]
		return nil, false
	}
	if len(f.part) < frameHeader+size {
		return nil, false
	}
	frame = f.part[frameHeader:]
	if cap(f.part) > 4096 {
		f.part = nil // the next one is likely to be short
	} else {
		f.part = f.part[:0]
	}
	return frame, false
}
