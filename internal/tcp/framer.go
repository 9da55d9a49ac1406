// Package tcp frames packets on a byte stream as RFC 4571 §2 does: a big-endian
// 16-bit length, then as many bytes.
//
//	 0                   1
//	|            length             |  payload …
//
// It does no I/O.
package tcp

import (
	"encoding/binary"
	"errors"
)

const (
	// HeaderSize is the size of the length before each payload, in bytes.
	HeaderSize = 2
	// BufferSize is how many bytes a [Framer] holds, as in mediasoup.
	BufferSize = 65536
	// MaxPayload is the longest payload that a Framer accepts.
	MaxPayload = BufferSize - HeaderSize
)

// ErrFrameTooLong is the error of a stream that announces a payload of more than
// [MaxPayload] bytes. Nothing after it can be read: close the connection.
var ErrFrameTooLong = errors.New("frame is longer than the buffer")

// A Framer cuts a byte stream into payloads. The zero value is ready. One reads
// into it directly:
//
//	n, err := conn.Read(f.Space())
//	f.Filled(n)
//	for frame, ok := f.Next(); ok; frame, ok = f.Next() { … }
//
// Payloads are handed over where they were read. Only the begin of a payload for
// which the rest of the buffer is too short is moved, once.
type Framer struct {
	buf        []byte // BufferSize bytes, or nil while nothing is held
	start, end int    // what is held and not yet handed over
	err        error
}

// Space returns where to read to. It is empty only before [Framer.Next] has
// returned false and after an error. It ends the life of the payloads that Next
// has returned.
func (f *Framer) Space() []byte {
	if f.err != nil {
		return nil
	}
	if f.buf == nil {
		f.buf = make([]byte, BufferSize)
	}
	held := f.end - f.start
	if held == 0 {
		f.start, f.end = 0, 0
	} else if f.start+f.need() > BufferSize {
		copy(f.buf, f.buf[f.start:f.end])
		f.start, f.end = 0, held
	}
	return f.buf[f.end:]
}

// Filled tells that the first n bytes of the last Space were read.
func (f *Framer) Filled(n int) {
	f.end = min(f.end+max(n, 0), len(f.buf))
}

// Append takes bytes that were read elsewhere. It returns how many of them there
// was space for: fewer than len(b) when Next must be called first.
func (f *Framer) Append(b []byte) int {
	n := copy(f.Space(), b)
	f.Filled(n)
	return n
}

// Next returns the next payload; ok is false when none is complete, or after an
// error. Empty payloads are skipped. The payload is valid until the next call of
// Space or Append.
func (f *Framer) Next() (payload []byte, ok bool) {
	for f.err == nil && f.end-f.start >= HeaderSize {
		n := f.need()
		switch {
		case n > BufferSize:
			f.err = ErrFrameTooLong
		case n == HeaderSize:
			f.start += n
		case f.end-f.start >= n:
			payload = f.buf[f.start+HeaderSize : f.start+n : f.start+n]
			f.start += n
			return payload, true
		default:
			return nil, false
		}
	}
	return nil, false
}

// Err returns [ErrFrameTooLong] once the stream can't be read on, else nil.
func (f *Framer) Err() error { return f.err }

// need returns the size of the first frame, header included, or of a header
// while the length is not known.
func (f *Framer) need() int {
	if f.end-f.start < HeaderSize {
		return HeaderSize
	}
	return HeaderSize + int(binary.BigEndian.Uint16(f.buf[f.start:]))
}

// AppendFrame appends the frame of payload to dst. A payload that is longer than
// [MaxPayload] is not appended: no peer could read it.
func AppendFrame(dst, payload []byte) []byte {
	if len(payload) > MaxPayload {
		return dst
	}
	return append(AppendHeader(dst, len(payload)), payload...)
}

// AppendHeader appends the length of a payload of n bytes, 0 to [MaxPayload], for
// a gathered write of the two.
func AppendHeader(dst []byte, n int) []byte {
	return binary.BigEndian.AppendUint16(dst, uint16(n))
}
