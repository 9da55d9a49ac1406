package pcapng

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/ipv4"
)

// blocks takes a file apart as a reader would.
func blocks(t *testing.T, b []byte) (kinds []uint32, bodies [][]byte) {
	t.Helper()
	for len(b) > 0 {
		require.GreaterOrEqual(t, len(b), 12)
		n := binary.LittleEndian.Uint32(b[4:])
		require.LessOrEqual(t, int(n), len(b))
		require.Zero(t, n%4)
		require.Equal(t, n, binary.LittleEndian.Uint32(b[n-4:]), "the length stands at both ends")
		kinds, bodies = append(kinds, binary.LittleEndian.Uint32(b)), append(bodies, b[8:n-4])
		b = b[n:]
	}
	return kinds, bodies
}

func TestFile(t *testing.T) {
	now := time.Unix(1_700_000_000, 123_456_789)
	from, to := netip.MustParseAddrPort("192.0.2.1:4000"), netip.MustParseAddrPort("198.51.100.2:5000")
	b := AppendHeader(nil, 1600)
	start := len(b)
	b = AppendPacket(b, &Packet{Time: now, From: from, To: to, Out: true, Payload: []byte("payload"), Length: 20})
	assert.LessOrEqual(t, len(b)-start, len("payload")+MaxOverhead)
	start = len(b)
	six := netip.MustParseAddrPort("[2001:db8::1]:6000")
	b = AppendPacket(b, &Packet{Time: now, From: six, To: from, Payload: []byte("12345678"), Length: 8})
	assert.LessOrEqual(t, len(b)-start, 8+MaxOverhead)
	for _, a := range []netip.AddrPort{from, six} {
		b = AppendPacket(b, &Packet{Time: now, From: a, To: a, SCTP: true, Payload: []byte("12345678"), Length: 8})
	}
	b = AppendCounts(b, now, 12, 3)

	kinds, bodies := blocks(t, b)
	assert.Equal(t, []uint32{sectionBlock, interfaceBlock, packetBlock, packetBlock, packetBlock, packetBlock, countsBlock}, kinds)
	assert.Equal(t, []byte{0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0}, bodies[0][:8])

	p := bodies[2]
	ns := uint64(binary.LittleEndian.Uint32(p[4:]))<<32 | uint64(binary.LittleEndian.Uint32(p[8:]))
	assert.Equal(t, now, time.Unix(0, int64(ns)))
	captured := binary.LittleEndian.Uint32(p[12:])
	assert.EqualValues(t, 28+7, captured)
	assert.EqualValues(t, 28+20, binary.LittleEndian.Uint32(p[16:]))
	h, err := ipv4.ParseHeader(p[20:])
	require.NoError(t, err)
	assert.Equal(t, "192.0.2.1", h.Src.String())
	assert.Equal(t, "198.51.100.2", h.Dst.String())
	assert.Equal(t, 48, h.TotalLen)
	assert.Equal(t, []byte{4000 >> 8, 4000 & 255, 5000 >> 8, 5000 & 255, 0, 28, 0, 0}, p[40:48])
	assert.Equal(t, "payload", string(p[48:55]))
	assert.Equal(t, []byte{optionFlags, 0, 4, 0, flagOut, 0, 0, 0, 0, 0, 0, 0}, p[56:])

	p = bodies[3]
	assert.Equal(t, byte(0x60), p[20])
	assert.Equal(t, "12345678", string(p[20+48:20+56]))
	assert.Equal(t, byte(flagIn), p[20+56+4])

	p = bodies[4]
	h, err = ipv4.ParseHeader(p[20:])
	require.NoError(t, err)
	assert.Equal(t, protocolSCTP, h.Protocol)
	assert.Equal(t, 28, h.TotalLen)
	assert.Equal(t, "12345678", string(p[40:48]))
	p = bodies[5]
	assert.Equal(t, []byte{0, 8, protocolSCTP}, p[24:27])
	assert.Equal(t, "12345678", string(p[60:68]))
	assert.EqualValues(t, 12, binary.LittleEndian.Uint64(bodies[6][16:]))
	assert.EqualValues(t, 3, binary.LittleEndian.Uint64(bodies[6][28:]))
}
