package main

import (
	"encoding/binary"
	"errors"
)

// Wire types of protocol buffers.
const (
	wireNumber = 0
	wireEight  = 1
	wireBytes  = 2
	wireFour   = 5
)

// appendNumber appends a field that is a number, a flag or an enumeration.
func appendNumber(b []byte, field int, v uint64) []byte {
	b = binary.AppendUvarint(b, uint64(field)<<3|wireNumber)
	return binary.AppendUvarint(b, v)
}

// appendBytes appends a field that is a string or a message.
func appendBytes(b []byte, field int, v []byte) []byte {
	b = binary.AppendUvarint(b, uint64(field)<<3|wireBytes)
	b = binary.AppendUvarint(b, uint64(len(v)))
	return append(b, v...)
}

var errNoMessage = errors.New("not a protocol buffer message")

// fields calls f with each field of a message, in order: with a number, or with
// bytes that are part of b. It ends with the first error of f.
func fields(b []byte, f func(field int, number uint64, bytes []byte) error) error {
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		if n <= 0 || tag>>3 == 0 || tag>>3 > 1<<29 {
			return errNoMessage
		}
		b = b[n:]
		var number uint64
		var bytes []byte
		switch tag & 7 {
		case wireNumber:
			if number, n = binary.Uvarint(b); n <= 0 {
				return errNoMessage
			}
			b = b[n:]
		case wireBytes:
			size, n := binary.Uvarint(b)
			if n <= 0 || size > uint64(len(b)-n) {
				return errNoMessage
			}
			bytes, b = b[n:n+int(size)], b[n+int(size):]
		case wireEight, wireFour:
			size := 8
			if tag&7 == wireFour {
				size = 4
			}
			if len(b) < size {
				return errNoMessage
			}
			b = b[size:]
		default:
			return errNoMessage
		}
		if err := f(int(tag>>3), number, bytes); err != nil {
			return err
		}
	}
	return nil
}
