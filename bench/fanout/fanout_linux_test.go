package main

import (
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSource(t *testing.T) {
	s := &source{
		info: streamInfo{SSRC: 7, PayloadType: 96, MID: "0", MIDExtension: 4, AbsSendTimeExtension: 2, WideExtension: 3},
		size: 200, interval: 20 * time.Millisecond,
	}
	for i := range 8 {
		b := s.next(time.Second, i%4, 4, i < 4)
		var p rtp.Packet
		require.NoError(t, p.Unmarshal(b))
		assert.Equal(t, uint32(7), p.SSRC)
		assert.Equal(t, uint16(i+1), p.SequenceNumber)
		assert.Equal(t, i%4 == 3, p.Marker)
		assert.Equal(t, uint32(1800*(1+i/4)), p.Timestamp)
		assert.Equal(t, []byte("0"), p.GetExtension(4))
		assert.Equal(t, []byte{4, 0, 0}, p.GetExtension(2), "1 s in 6.18 fixed point")
		assert.Equal(t, []byte{0, byte(i + 1)}, p.GetExtension(3))
		assert.Equal(t, p.GetExtension(3), extension(b, 3))
		assert.Nil(t, extension(b, 9))

		var d codecs.VP8Packet
		frame, err := d.Unmarshal(p.Payload)
		require.NoError(t, err)
		assert.Equal(t, i%4 == 0, d.S == 1)
		assert.Equal(t, uint16(1+i/4), d.PictureID)
		if i%4 == 0 {
			assert.Equal(t, i == 0, frame[0]&1 == 0, "key frame")
		}

		payload := b[headerLen(b):]
		number, ok := checkPayload(payload, s.size)
		assert.True(t, ok)
		assert.Equal(t, uint32(i+1), number)
		payload[len(payload)-1]++
		_, ok = checkPayload(payload, s.size)
		assert.False(t, ok)
	}
}

func TestFeedback(t *testing.T) {
	b := appendReport(nil, 7, 0x10005)
	list, err := rtcp.Unmarshal(b)
	require.NoError(t, err)
	require.Len(t, list, 1)
	report := list[0].(*rtcp.ReceiverReport)
	assert.Equal(t, uint32(7), report.Reports[0].SSRC)
	assert.Equal(t, uint32(0x10005), report.Reports[0].LastSequenceNumber)

	for n := 1; n < 30; n++ {
		b := appendWide(nil, 7, 65530, n, 3, time.Second, 4, 20*time.Millisecond)
		list, err := rtcp.Unmarshal(b)
		require.NoError(t, err)
		wide := list[0].(*rtcp.TransportLayerCC)
		assert.Equal(t, uint16(65530), wide.BaseSequenceNumber)
		assert.Equal(t, uint16(n), wide.PacketStatusCount)
		require.Len(t, wide.RecvDeltas, n)
		for i, d := range wide.RecvDeltas {
			want := int64(0)
			if i%4 == 0 {
				want = 20_000
			}
			assert.Equal(t, want, d.Delta)
		}
	}
}

func TestUDPOverIPv4(t *testing.T) {
	for _, i := range []int{0, 1, 254, 255, 300, 10000} {
		from := peerAddr(tunPeers, i)
		p := append(appendUDP(nil, netip.AddrPortFrom(tunServer, 5), from, len("payload")), "payload"...)
		assert.Equal(t, uint16(0), checksum(p[:ipHeader]), "the sum over a header with its checksum")
		got, b, ok := udpOf(p)
		require.True(t, ok)
		assert.Equal(t, i, got)
		assert.Equal(t, "payload", string(b))
	}
	_, _, ok := udpOf([]byte{0x60})
	assert.False(t, ok)
}

func TestBurst(t *testing.T) {
	from, to := peerAddr(tunPeers, 0), netip.AddrPortFrom(tunServer, 5)
	p := appendBurst(nil, from, to, [][]byte{[]byte("first one"), []byte("then more"), []byte("the end")})
	assert.Equal(t, []byte{1, 5, 28, 0, 9, 0, 20, 0, 6, 0}, p[:virtioHeader])
	_, b, ok := udpOf(p[virtioHeader:])
	require.True(t, ok)
	assert.Equal(t, "first onethen morethe end", string(b))

	p = appendBurst(nil, from, to, [][]byte{[]byte("alone")})
	assert.Equal(t, make([]byte, virtioHeader), p[:virtioHeader])
}

func TestRota(t *testing.T) {
	r := newRota(rand.New(rand.NewPCG(1, 2)), 10, 100*time.Millisecond)
	calls := map[int]int{}
	var last time.Duration
	for r.due() < time.Second {
		assert.GreaterOrEqual(t, r.due(), last)
		last = r.due()
		calls[r.call()]++
	}
	require.Len(t, calls, 10)
	for i, n := range calls {
		assert.Equal(t, 10, n, i)
	}
}

func TestSummarize(t *testing.T) {
	const ms = time.Millisecond
	l := summarize([]time.Duration{
		1 * ms, 3 * ms, 2 * ms,
		3 * ms, 0, 5 * ms, // one is lost
		0, 0, 0,
	}, 3)
	assert.Equal(t, latency{P50: 3, P99: 5, First: 3, Median: 5, Last: 5}, l)
	assert.Zero(t, summarize(nil, 3))
}

func TestOptions(t *testing.T) {
	o, err := parseOptions([]string{"-consumers", "20", "-transport", "plain"})
	require.NoError(t, err)
	assert.Equal(t, portsEach, o.Ports)
	assert.GreaterOrEqual(t, o.Seconds, minPairs)
	for _, bad := range [][]string{
		{"-consumers", "0"}, {"-consumers", "10001"}, {"-pps", "0"}, {"-seconds", "4"}, {"-size", "10"}, {"-burst", "65"},
		{"-suite", "NULL"}, {"-transport", "tcp"}, {"-ports", "two"}, {"-tick", "-1s"}, {"more"},
	} {
		_, err := parseOptions(bad)
		assert.Error(t, err, bad)
	}
}

func TestGate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "baseline.json")
	require.NoError(t, os.WriteFile(file, []byte(`{"ratio": 2.0}`), 0o600))
	for _, c := range []struct {
		name string
		r    result
		ok   bool
	}{
		{"as good", result{Sink: sinkTUN, Ratio: 2, Forwarded: 1}, true},
		{"a little worse", result{Sink: sinkTUN, Ratio: 1.41, Forwarded: 1}, true},
		{"worse", result{Sink: sinkTUN, Ratio: 1.39, Forwarded: 1}, false},
		{"allocates", result{Sink: sinkTUN, Ratio: 3, AllocsPerPacket: 0.001, Forwarded: 1}, false},
		{"no gate on loopback", result{Sink: sinkLoopback, Ratio: 0.1, AllocsPerPacket: 1, Forwarded: 1}, true},
		{"loses packets", result{Sink: sinkLoopback, Ratio: 3, Forwarded: 0.98}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &server{o: &options{baseline: file}}
			err := s.check(&c.r)
			assert.Equal(t, c.ok, err == nil, "%v", err)
		})
	}
}
