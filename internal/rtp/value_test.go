package rtp

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestAbsSendTime(t *testing.T) {
	for _, c := range []struct {
		now  time.Duration
		want uint32
	}{
		{0, 0},
		{time.Second, 1 << 18},
		{1500 * time.Millisecond, 3 << 17},
		{63 * time.Second, 63 << 18},
		{64 * time.Second, 0},
		{64*time.Second - 1, 0}, // rounds up, around
		{1000*time.Hour + time.Second, 1<<18 + uint32(3600000%64)<<18},
		{time.Millisecond, 262},
	} {
		assert.Equal(t, c.want, AbsSendTime(c.now), "AbsSendTime(%v)", c.now)
	}
}

func TestUint24(t *testing.T) {
	assert.EqualValues(t, 0x123456, Uint24([]byte{0x12, 0x34, 0x56, 9}))
}

func TestParseAudioLevel(t *testing.T) {
	level, voice := ParseAudioLevel(0xff)
	assert.True(t, voice)
	assert.EqualValues(t, 127, level)
	level, voice = ParseAudioLevel(30)
	assert.False(t, voice)
	assert.EqualValues(t, 30, level)
}

func TestParseVideoOrientation(t *testing.T) {
	for v, want := range map[byte]struct {
		camera, flip bool
		rotation     uint16
	}{
		0x00: {false, false, 0}, 0x01: {false, false, 90}, 0x06: {false, true, 180},
		0x0b: {true, false, 270}, 0xf0: {false, false, 0},
	} {
		camera, flip, rotation := ParseVideoOrientation(v)
		assert.Equal(t, want.camera, camera)
		assert.Equal(t, want.flip, flip)
		assert.Equal(t, want.rotation, rotation)
	}
}

func TestParseAbsCaptureTime(t *testing.T) {
	v := AppendAbsCaptureTime(nil, 0x1122334455667788, -5)
	capture, offset, ok := ParseAbsCaptureTime(v)
	assert.True(t, ok)
	assert.EqualValues(t, 0x1122334455667788, capture)
	assert.EqualValues(t, -5, offset)
	capture, offset, ok = ParseAbsCaptureTime(v[:8])
	assert.True(t, ok)
	assert.EqualValues(t, 0x1122334455667788, capture)
	assert.Zero(t, offset)
	for n := range 18 {
		_, _, ok = ParseAbsCaptureTime(make([]byte, n))
		assert.Equal(t, n == 8 || n == 16, ok, "%d bytes", n)
	}
}
