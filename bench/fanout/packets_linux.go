package main

import (
	"encoding/binary"
	"time"
)

const (
	rtpHeader  = 12
	rtcpHeader = 8
	// Of a payload: VP8 descriptor, VP8 header, the number of the packet. What
	// follows is derived from the number.
	vp8Descriptor = 4
	numberAt      = vp8Descriptor + 10
	patternAt     = numberAt + 4
	minPayload    = 32
	clockRate     = 90000
)

// A source makes the packets of one VP8 stream: each burst is a frame.
type source struct {
	info     streamInfo
	size     int           // of a payload, in bytes
	interval time.Duration // of frames

	seq    uint16
	wide   uint16
	number uint32
	frame  uint32
	buf    []byte
}

// next returns packet i of n of a frame, which is sent at now. It is valid
// until the following call.
func (s *source) next(now time.Duration, i, n int, key bool) []byte {
	if i == 0 {
		s.frame++
	}
	s.seq++
	s.wide++
	s.number++
	b := s.buf[:0]
	b = append(b, 0x90, s.info.PayloadType)
	if i == n-1 {
		b[1] |= 0x80
	}
	b = binary.BigEndian.AppendUint16(b, s.seq)
	b = binary.BigEndian.AppendUint32(b, uint32(uint64(s.frame)*uint64(s.interval)*clockRate/uint64(time.Second)))
	b = binary.BigEndian.AppendUint32(b, s.info.SSRC)
	b = append(b, 0xbe, 0xde, 0, 0)
	if id := s.info.MIDExtension; id != 0 {
		b = append(append(b, id<<4|byte(len(s.info.MID)-1)), s.info.MID...)
	}
	if id := s.info.AbsSendTimeExtension; id != 0 {
		t := uint32(uint64(now) << 18 / uint64(time.Second))
		b = append(b, id<<4|2, byte(t>>16), byte(t>>8), byte(t))
	}
	if id := s.info.WideExtension; id != 0 {
		b = append(b, id<<4|1, byte(s.wide>>8), byte(s.wide))
	}
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	binary.BigEndian.PutUint16(b[rtpHeader+2:], uint16(len(b)-rtpHeader-4)/4)
	b = s.payload(b, i == 0, key)
	s.buf = b
	return b
}

func (s *source) payload(b []byte, start, key bool) []byte {
	descriptor := byte(0x80) // extended
	if start {
		descriptor |= 0x10
	}
	b = append(b, descriptor, 0x80 /* picture id */, 0x80|byte(s.frame>>8)&0x7f, byte(s.frame))
	header := [numberAt - vp8Descriptor]byte{0x31} // not a key frame
	if key {
		header = [...]byte{0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01}
	}
	b = append(b, header[:]...)
	b = binary.BigEndian.AppendUint32(b, s.number)
	for k := patternAt; k < s.size; k++ {
		b = append(b, pattern(s.number, k))
	}
	return b
}

func pattern(number uint32, k int) byte { return byte(number>>8) ^ byte(number) + byte(k) }

// checkPayload returns the number of a packet whose payload is as it was made.
func checkPayload(b []byte, size int) (number uint32, ok bool) {
	if len(b) != size {
		return 0, false
	}
	number = binary.BigEndian.Uint32(b[numberAt:])
	for k := patternAt; k < size; k++ {
		if b[k] != pattern(number, k) {
			return 0, false
		}
	}
	return number, true
}

// headerLen returns the length of an RTP header with one extension block, 0 if
// b is too short for it.
func headerLen(b []byte) int {
	n := rtpHeader
	if len(b) < n {
		return 0
	}
	if b[0]&0x10 != 0 {
		if len(b) < n+4 {
			return 0
		}
		n += 4 + 4*int(binary.BigEndian.Uint16(b[n+2:]))
	}
	if len(b) < n {
		return 0
	}
	return n
}

// extension returns the value of a one-byte header extension, nil if absent.
func extension(b []byte, id uint8) []byte {
	end := headerLen(b)
	if end == 0 || b[0]&0x10 == 0 || id == 0 {
		return nil
	}
	for at := rtpHeader + 4; at < end; {
		if b[at] == 0 {
			at++
			continue
		}
		n := int(b[at]&0x0f) + 1
		if at+1+n > end {
			return nil
		}
		if b[at]>>4 == id {
			return b[at+1 : at+1+n]
		}
		at += 1 + n
	}
	return nil
}

// receiverSSRC is the SSRC that browsers report under when they send nothing.
const receiverSSRC = 1

// appendReport appends a receiver report (RFC 3550 §6.4.2) without loss.
func appendReport(b []byte, ssrc, highest uint32) []byte {
	b = append(b, 0x81, 201, 0, 7)
	b = binary.BigEndian.AppendUint32(b, receiverSSRC)
	b = binary.BigEndian.AppendUint32(b, ssrc)
	b = append(b, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, highest)
	b = binary.BigEndian.AppendUint32(b, 90) // jitter: 1 ms
	return append(b, 0, 0, 0, 0, 0, 0, 0, 0)
}

// maxReported is how many packets one transport-cc feedback speaks of.
const maxReported = 1000

// appendWide appends transport-cc feedback
// (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1): n packets from
// base on came, in bursts that are interval apart.
func appendWide(b []byte, ssrc uint32, base uint16, n int, count uint8, now time.Duration, burst int, interval time.Duration) []byte {
	start := len(b)
	b = append(b, 0x8f, 205, 0, 0)
	b = binary.BigEndian.AppendUint32(b, receiverSSRC)
	b = binary.BigEndian.AppendUint32(b, ssrc)
	b = binary.BigEndian.AppendUint16(b, base)
	b = binary.BigEndian.AppendUint16(b, uint16(n))
	b = binary.BigEndian.AppendUint32(b, uint32(now/(64*time.Millisecond))<<8|uint32(count))
	b = binary.BigEndian.AppendUint16(b, 1<<13|uint16(n)) // a run of small deltas
	step := byte(min(interval/(250*time.Microsecond), 255))
	for i := range n {
		if i%burst == 0 {
			b = append(b, step)
		} else {
			b = append(b, 0)
		}
	}
	if pad := (4 - (len(b)-start)%4) % 4; pad > 0 {
		b = append(b, make([]byte, pad)...)
		b[start] |= 0x20
		b[len(b)-1] = byte(pad)
	}
	binary.BigEndian.PutUint16(b[start+2:], uint16((len(b)-start)/4-1))
	return b
}
