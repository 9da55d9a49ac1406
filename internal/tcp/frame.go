// Package tcp frames packets on a byte stream as RFC 4571 §2 does: a big-endian
// 16-bit length, then as many bytes.
//
//	 0                   1
//	|            length             |  payload …
//
// It does no I/O.
package tcp

import "encoding/binary"

const (
	// HeaderSize is the size of the length before each payload, in bytes.
	HeaderSize = 2
	// MaxPayload is the longest payload, in bytes: with its header it fits
	// mediasoup's receive buffer of 64 KiB.
	MaxPayload = 65536 - HeaderSize
)

// AppendFrame appends the frame of payload to dst. A payload that is longer than
// [MaxPayload] is not appended: no peer could read it.
func AppendFrame(dst, payload []byte) []byte {
	if len(payload) > MaxPayload {
		return dst
	}
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(payload))), payload...)
}
