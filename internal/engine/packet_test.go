package engine

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/rtp"
	"github.com/mafalda-sfu/mafalda/internal/srtp"
)

// TestLongDescriptor forwards a dependency descriptor that is too long for the
// one-byte form of header extensions, and all others with it.
func TestLongDescriptor(t *testing.T) {
	for _, n := range []int{3, 16, 17, 80, 255} {
		w := newHostileWorld(t)
		var out []byte
		w.d.onUDP = func(_ *virtualUDP, _ netip.AddrPort, b []byte) { out = b }
		descriptor := bytes.Repeat([]byte{0xc3}, n)
		capture := []byte{1, 2, 3, 4, 5, 6, 7, 8}
		b := rtp.AppendHeader(nil, rtp.Header{
			Marker: true, PayloadType: 101, SequenceNumber: 9, Timestamp: 90, SSRC: rigSSRC,
		}, []rtp.Element{{ID: 7, Value: descriptor}, {ID: 8, Value: []byte{1}}, {ID: 10, Value: capture}, {ID: 12, Value: []byte{9, 8, 7, 6}}})
		payload := []byte{0x10, 0, 1, 2, 3}
		w.udp(w.in, w.from, append(b, payload...))
		require.NotNil(t, out, "%d bytes", n)
		pkt, ok := rtp.Parse(out)
		require.True(t, ok)
		require.Equal(t, payload, pkt.Payload())
		require.Equal(t, "0", string(pkt.Extension(rtp.IDMID)))
		require.Equal(t, descriptor, slices.Clone(pkt.Extension(rtp.IDDependencyDescriptor)))
		require.Equal(t, []byte{1}, pkt.Extension(rtp.IDVideoOrientation))
		require.Equal(t, append(capture, make([]byte, 8)...), pkt.Extension(rtp.IDAbsCaptureTime))
		require.Equal(t, []byte{9, 8, 7, 6}, pkt.Extension(rtp.IDPacketID))
		require.Len(t, pkt.Extension(rtp.IDAbsSendTime), 3)
		require.Len(t, pkt.Extension(rtp.IDTransportWideCC), 2)
		require.Equal(t, n > 16, pkt.ExtensionProfile() != 0xbede)
		require.LessOrEqual(t, pkt.HeaderLen()-12, maxExtensions)
	}
}

// TestLargestExtensions forwards a packet with all that a header may carry.
func TestLargestExtensions(t *testing.T) {
	w := newHostileWorld(t)
	var out []byte
	w.d.onUDP = func(_ *virtualUDP, _ netip.AddrPort, b []byte) { out = b }
	b := rtp.AppendHeader(nil, rtp.Header{PayloadType: 101, SequenceNumber: 9, SSRC: rigSSRC}, []rtp.Element{
		{ID: 7, Value: make([]byte, 255)}, {ID: 8, Value: []byte{1}}, {ID: 10, Value: make([]byte, 16)}, {ID: 12, Value: make([]byte, 4)},
	})
	csrcs := bytes.Repeat([]byte{0, 0, 0, 5}, 15)
	b[0] |= 15
	b = slices.Insert(b, 12, csrcs...)
	b = append(b, 0x10, 0, 1, 2, 3)
	b = append(b, make([]byte, slotSize-slotSlack-len(b))...)
	w.udp(w.in, w.from, b)
	pkt, ok := rtp.Parse(out)
	require.True(t, ok)
	require.Equal(t, csrcs, []byte(pkt[12:72]))
	require.Equal(t, byte(0x10), pkt.Payload()[0])
}

// TestPacketID numbers what has no number.
func TestPacketID(t *testing.T) {
	w := newHostileWorld(t)
	var ids [][]byte
	w.d.onUDP = func(_ *virtualUDP, _ netip.AddrPort, b []byte) {
		if pkt, ok := rtp.Parse(b); ok {
			ids = append(ids, slices.Clone(pkt.Extension(rtp.IDPacketID)))
		}
	}
	w.udp(w.in, w.from, vp8Packet(1, true))
	w.udp(w.in, w.from, vp8Packet(2, false))
	require.Len(t, ids, 2)
	require.Equal(t, be32(ids[0])+1, be32(ids[1]))
}

// TestSourceRestarts: a source that begins again with lower sequence numbers, as
// a restarted ffmpeg does, must not make two packets share an SRTP index.
func TestSourceRestarts(t *testing.T) {
	r := newRig(t, 1, srtp.AEADAES128GCM)
	in := r.m.transports["in"] // whose SRTP would refuse the old numbers
	in.rx, in.part.(*plainTransport).local = nil, nil
	used := map[uint16]bool{}
	send := func(seq uint16) {
		before := r.d.sent
		b := rtp.AppendHeader(nil, rtp.Header{PayloadType: 101, SequenceNumber: seq, Timestamp: 3000 * uint32(seq), SSRC: rigSSRC}, nil)
		r.m.HandleUDP(r.in, r.from, append(b, 0x10, byte(min(seq%50, 1)), 0, 0))
		r.m.EndOfBatch()
		if r.d.sent == before {
			return
		}
		out := rtp.Packet(r.d.last).SequenceNumber()
		require.False(t, used[out], "SRTP index of %d is used twice", out)
		used[out] = true
	}
	for seq := uint16(20000); seq < 26000; seq++ {
		send(seq)
	}
	sent := len(used)
	for seq := uint16(20500); seq < 26500; seq++ {
		send(seq)
		r.turn(time.Millisecond)
	}
	require.Greater(t, len(used), sent+5900)
}
