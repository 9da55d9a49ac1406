package rtp

import (
	"bytes"
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRTX(t *testing.T) {
	original := unhex(t, "b1"+fixed+"0000000a bede0001 10ff0000 112233 000003")
	p, ok := Parse(bytes.Clone(original))
	require.True(t, ok)

	r, ok := Parse(AppendRTX(nil, p, 99, 103, 7000))
	require.True(t, ok)
	assert.Equal(t, original, []byte(p), "the original is as it was")
	assert.Equal(t, Header{true, 103, 7000, 4, 99}, r.Header())
	assert.Equal(t, "0001112233", hex.EncodeToString(r.Payload()))
	assert.Zero(t, r.PaddingLen())
	assert.Equal(t, p.HeaderLen(), r.HeaderLen())
	assert.Equal(t, p.Extension(1), r.Extension(1))

	// The repeated packet is the original without padding.
	padded := AppendPadding(r, 0, 5)
	r, ok = Parse(padded)
	require.True(t, ok)
	d, ok := DecodeRTX(r, 5, 102)
	require.True(t, ok)
	want := unhex(t, "91"+fixed+"0000000a bede0001 10ff0000 112233")
	assert.Equal(t, want, []byte(d))
	assert.Same(t, &padded[0], &d[0])
	again, ok := Parse(d)
	require.True(t, ok)
	assert.Equal(t, d, again)
}

func TestDecodeRTXTooShort(t *testing.T) {
	for _, c := range []struct {
		name, in string
		ok       bool
	}{
		{"empty", "80" + fixed, false},
		{"one byte", "80" + fixed + "11", false},
		{"only padding", "a0" + fixed + "00000003"[2:], false},
		{"one byte and padding", "a0" + fixed + "11 0002", false},
		{"the number alone", "80" + fixed + "1122", true},
		{"the number and padding", "a0" + fixed + "1122 01", true},
	} {
		p, ok := Parse(unhex(t, c.in))
		require.True(t, ok, c.name)
		before := bytes.Clone(p)
		d, ok := DecodeRTX(p, 8, 9)
		require.Equal(t, c.ok, ok, c.name)
		if !ok {
			assert.Equal(t, before, []byte(p), c.name)
			continue
		}
		assert.Empty(t, d.Payload(), c.name)
		assert.Equal(t, Header{true, 9, 0x1122, 4, 8}, d.Header(), c.name)
	}
}
