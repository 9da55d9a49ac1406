package tcp

import "encoding/binary"

// A Deframer cuts a byte stream into frames. It has no buffer for reading: many
// connections can be read into one, whole frames are handed over where they
// lie, and only the rest of a read is kept. Read to [Deframer.Space] while that
// is not nil and call [Deframer.Filled]; else read to any buffer and call
// [Deframer.Next] until it has no more.
type Deframer struct {
	// Headroom is how many bytes of capacity a frame has at least behind its
	// length, if it is one of those that Filled returns.
	Headroom int

	part []byte // begin of an incomplete frame, header included
}

// Next returns the first frame of b and what follows it. ok is false when b
// has no whole frame: then call Keep(rest). Empty frames are skipped. bad
// reports a frame longer than [MaxPayload].
func (f *Deframer) Next(b []byte) (frame, rest []byte, ok, bad bool) {
	for len(b) >= HeaderSize {
		n := int(binary.BigEndian.Uint16(b))
		switch {
		case n > MaxPayload:
			return nil, nil, false, true
		case n == 0:
			b = b[HeaderSize:]
			continue
		case len(b) < HeaderSize+n:
			return nil, b, false, false
		}
		return b[HeaderSize : HeaderSize+n], b[HeaderSize+n:], true, false
	}
	return nil, b, false, false
}

// Keep copies the rest that [Deframer.Next] returned.
func (f *Deframer) Keep(rest []byte) {
	if len(rest) > 0 {
		f.part = append(f.part[:0], rest...)
	}
}

// Space returns where to read to while a frame is incomplete: what it lacks,
// and no more. It is nil between frames. Memory grows with what has come, not
// with what was announced.
func (f *Deframer) Space() []byte {
	have := len(f.part)
	if have == 0 {
		return nil
	}
	need := HeaderSize
	if have >= HeaderSize {
		need += int(binary.BigEndian.Uint16(f.part))
	}
	end := min(need, cap(f.part)-f.Headroom)
	if end <= have {
		end = min(need, max(2*have, 2048))
		f.part = append(make([]byte, 0, end+f.Headroom), f.part...)
	}
	return f.part[have:end]
}

// Filled tells that n bytes were read to [Deframer.Space]. It returns the frame
// if that completed it, valid until the next call. bad reports one longer than
// [MaxPayload].
func (f *Deframer) Filled(n int) (frame []byte, bad bool) {
	f.part = f.part[:len(f.part)+n]
	if len(f.part) < HeaderSize {
		return nil, false
	}
	size := int(binary.BigEndian.Uint16(f.part))
	switch {
	case size > MaxPayload:
		return nil, true
	case size == 0:
		f.part = f.part[:0]
		return nil, false
	}
	if len(f.part) < HeaderSize+size {
		return nil, false
	}
	frame = f.part[HeaderSize:]
	if cap(f.part) > 4096 {
		f.part = nil // the next one is likely to be short
	} else {
		f.part = f.part[:0]
	}
	return frame, false
}
