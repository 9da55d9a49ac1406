package rtp

import (
	"encoding/binary"
	"time"
)

// Uint24 reads the first three bytes of b.
func Uint24(b []byte) uint32 {
	_ = b[2]
	return uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2])
}

// AbsSendTime returns now as the value of the abs-send-time extension: seconds
// modulo 64, 6 bits before and 18 after the point, rounded to the nearest.
func AbsSendTime(now time.Duration) uint32 {
	ns := uint64(now % (64 * time.Second))
	return uint32((ns<<18+uint64(time.Second)/2)/uint64(time.Second)) & 0xffffff
}

// ParseAudioLevel reads the value of the ssrc-audio-level extension: the level
// in -dBov, 0 (loudest) to 127 (silence), and whether it is voice (RFC 6464).
func ParseAudioLevel(v byte) (level uint8, voice bool) { return v & 0x7f, v&0x80 != 0 }

// ParseVideoOrientation reads the value of the video-orientation extension: back
// camera or not, mirrored or not, rotation in degrees, one of 0, 90, 180, 270
// (3GPP TS 26.114 §7.4.5).
func ParseVideoOrientation(v byte) (camera, flip bool, rotation uint16) {
	return v&0x08 != 0, v&0x04 != 0, uint16(v&0x03) * 90
}

// ParseAbsCaptureTime reads the value of the abs-capture-time extension, 8 or 16
// bytes: when the frame was captured, as an NTP timestamp of the capturer's
// clock, and by how much that clock is ahead of the sender's, in units of 2⁻³² s;
// 0 if the value lacks it.
func ParseAbsCaptureTime(v []byte) (capture uint64, offset int64, ok bool) {
	switch len(v) {
	case 8:
		return binary.BigEndian.Uint64(v), 0, true
	case 16:
		return binary.BigEndian.Uint64(v), int64(binary.BigEndian.Uint64(v[8:])), true
	}
	return 0, 0, false
}

// AppendAbsCaptureTime appends the 16-byte value of the extension.
func AppendAbsCaptureTime(dst []byte, capture uint64, offset int64) []byte {
	dst = binary.BigEndian.AppendUint64(dst, capture)
	return binary.BigEndian.AppendUint64(dst, uint64(offset))
}
