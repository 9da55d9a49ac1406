package seqnum

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestNewer16(t *testing.T) {
	for _, c := range []struct {
		name string
		a, b uint16
		want bool
	}{
		{"equal", 7, 7, false},
		{"next", 8, 7, true},
		{"previous", 7, 8, false},
		{"after the wrap", 0, 65535, true},
		{"before the wrap", 65535, 0, false},
		{"just less than half", 32767, 0, true},
		{"half, larger", 32768, 0, true},
		{"half, smaller", 0, 32768, false},
		{"just more than half", 32769, 0, false},
		{"far over the wrap", 20000, 60000, true},
	} {
		assert.Equal(t, c.want, Newer16(c.a, c.b), "%s: Newer16(%d, %d)", c.name, c.a, c.b)
		assert.Equal(t, c.want, Newer(c.a, c.b, 16), "%s: Newer(%d, %d, 16)", c.name, c.a, c.b)
		// The order is the same in 32 bits when the numbers are the high halves.
		assert.Equal(t, c.want, Newer32(uint32(c.a)<<16, uint32(c.b)<<16), "%s: Newer32", c.name)
	}
}

func TestNewerBits(t *testing.T) {
	for _, c := range []struct {
		a, b uint16
		bits int
		want bool
	}{
		{0, 32767, 15, true},
		{32767, 0, 15, false},
		{16384, 0, 15, true},
		{0, 16384, 15, false},
		{32768 + 1, 0, 15, true}, // the 16th bit does not count
		{0, 255, 8, true},
		{255, 0, 8, false},
		{128, 0, 8, true},
		{129, 0, 8, false},
	} {
		assert.Equal(t, c.want, Newer(c.a, c.b, c.bits), "Newer(%d, %d, %d)", c.a, c.b, c.bits)
	}
	assert.True(t, Newer[uint8](3, 250, 8))
	assert.True(t, Newer[uint32](3, 1<<32-1, 32))
}

// Of two different numbers exactly one is newer.
func TestNewerIsTotal(t *testing.T) {
	for a := range 256 {
		for b := range 256 {
			x, y := uint8(a), uint8(b)
			assert.Equal(t, x != y, Newer(x, y, 8) != Newer(y, x, 8))
		}
	}
}
