package main

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFields(t *testing.T) {
	b := appendBytes(appendNumber(nil, 1, 300), 25, []byte("abc"))
	assert.Equal(t, []byte{0x08, 0xac, 0x02, 0xca, 0x01, 3, 'a', 'b', 'c'}, b)
	b = append(b, 0x11, 1, 2, 3, 4, 5, 6, 7, 8, 0x1d, 1, 2, 3, 4) // eight and four bytes, which nobody needs
	got := map[int]any{}
	require.NoError(t, fields(b, func(field int, number uint64, bytes []byte) error {
		got[field] = number
		if bytes != nil {
			got[field] = string(bytes)
		}
		return nil
	}))
	assert.Equal(t, map[int]any{1: uint64(300), 25: "abc", 2: uint64(0), 3: uint64(0)}, got)

	failed := errors.New("enough")
	assert.ErrorIs(t, fields(b, func(int, uint64, []byte) error { return failed }), failed)
	none := func(int, uint64, []byte) error { return nil }
	for i := range len(b) {
		if i != 3 && i != 9 && i != 18 { // where a field ends
			assert.Equal(t, i > 0, fields(b[:i], none) != nil, i)
		}
	}
	for name, b := range map[string][]byte{
		"field 0": {0x00, 1}, "a group": {0x0b}, "a size without bound": {0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1},
	} {
		assert.Error(t, fields(b, none), name)
	}
}

func TestAnswer(t *testing.T) {
	const answer = "v=0\r\na=ice-ufrag:u\r\na=ice-pwd:p\r\na=ssrc-group:FID 77 78\r\na=ssrc:77 cname:x\r\na=ssrc:78 cname:x\r\n"
	ice, err := iceOf(answer)
	require.NoError(t, err)
	assert.Equal(t, "u", ice.UsernameFragment)
	assert.Equal(t, "p", ice.Password)
	ssrc, err := ssrcOf(answer)
	require.NoError(t, err)
	assert.EqualValues(t, 77, ssrc)

	_, err = iceOf("v=0\r\na=ice-ufrag:u\r\n")
	assert.ErrorContains(t, err, "without ICE")
	_, err = ssrcOf("v=0\r\na=ssrc:77 cname:x\r\n")
	assert.ErrorContains(t, err, "without RTX")
	_, err = ssrcOf("v=0\r\na=ssrc-group:FID 77 78\r\n")
	assert.ErrorContains(t, err, "without a stream")
}
