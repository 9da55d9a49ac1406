package engine

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/rtcp"
)

// TestReportsSplit has a transport report on more streams than one compound
// has room for.
func TestReportsSplit(t *testing.T) {
	const streams = 80
	w := newVirtualWorld(t)
	m := w.m
	require.NoError(t, m.CreateRouter("r"))
	local, remote := netip.MustParseAddrPort("10.0.0.1:1000"), netip.MustParseAddrPort("10.0.0.2:2000")
	_, err := m.CreatePlainTransport("r", PlainTransportOptions{
		ID: "t", ListenInfo: ListenInfo{Protocol: UDP, IP: local.Addr(), Port: local.Port()},
	})
	require.NoError(t, err)
	_, err = m.ConnectPlain("t", PlainConnectOptions{Remote: remote})
	require.NoError(t, err)
	for i := range uint32(streams) {
		id := fmt.Sprint(i)
		params := opusParams(1000 + i)
		params.MID = ""
		require.NoError(t, produceOn(m, "t", ProduceOptions{
			ID: "p" + id, Kind: Audio, RTPParameters: params, RTPMapping: identity(params, 5000+i),
		}))
		params = opusParams(2000 + i)
		params.CNAME = strings.Repeat("x", int(i))
		if i == 0 {
			params.CNAME = "y"
		}
		_, err := m.Consume("t", ConsumeOptions{
			ID: "c" + id, ProducerID: "p" + id, RTPParameters: params, ConsumableEncodings: []Encoding{{SSRC: 5000 + i}},
		})
		require.NoError(t, err)
		w.udp(w.socket(local), remote, opusPacket(1000+i, 7))
	}
	var compounds [][]byte
	w.d.onUDP = func(_ *virtualUDP, to netip.AddrPort, b []byte) {
		require.Equal(t, remote, to)
		if rtcp.Is(b) {
			compounds = append(compounds, b)
		}
	}
	w.advance(w.d.now + rtcpFirst + 10*time.Millisecond)

	require.Greater(t, len(compounds), 2)
	senders, blocks, cnames := map[uint32]int{}, map[uint32]int{}, map[uint32]int{}
	for _, b := range compounds {
		require.LessOrEqual(t, len(b), maxRTCP)
		size, hasBlocks, hasTime, hasReport := 0, false, false, false
		r := rtcp.NewReader(b)
		for p, ok := r.Next(); ok; p, ok = r.Next() {
			size += len(p)
			switch p.Type() {
			case rtcp.TypeSR:
				require.False(t, hasBlocks, "sender reports come first")
				senders[p.SSRC()]++
				hasReport = true
			case rtcp.TypeRR:
				hasBlocks, hasReport = true, true
				list := p.ReportBlocks()
				for i := range list.Len() {
					blocks[list.At(i).SSRC]++
				}
			case rtcp.TypeSDES:
				chunks := p.Sources()
				for c, ok := chunks.Next(); ok; c, ok = chunks.Next() {
					require.NotEmpty(t, c.CNAME())
					cnames[c.SSRC()]++
				}
			case rtcp.TypeXR:
				hasTime = true
			}
		}
		require.Equal(t, len(b), size, "a part does not parse")
		require.True(t, hasReport)
		require.Equal(t, hasBlocks, hasTime, "the time comes with receiver reports")
	}
	require.Len(t, senders, streams)
	require.Len(t, blocks, streams)
	require.Equal(t, senders, cnames)
	for _, counts := range []map[uint32]int{senders, blocks} {
		for ssrc, n := range counts {
			require.Equal(t, 1, n, "reports of %d", ssrc)
		}
	}
}

// TestReportsStopWithTheirTransport checks that nothing is sent for what is
// gone.
func TestReportsStopWithTheirTransport(t *testing.T) {
	w := newVirtualWorld(t)
	require.NoError(t, w.m.CreateRouter("r"))
	local, remote := netip.MustParseAddrPort("10.0.0.1:1000"), netip.MustParseAddrPort("10.0.0.2:2000")
	_, err := w.m.CreatePlainTransport("r", PlainTransportOptions{
		ID: "t", Comedia: true, ListenInfo: ListenInfo{Protocol: UDP, IP: local.Addr(), Port: local.Port()},
	})
	require.NoError(t, err)
	params := opusParams(1000)
	require.NoError(t, produceOn(w.m, "t", ProduceOptions{
		ID: "p", Kind: Audio, RTPParameters: params, RTPMapping: identity(params, 5000),
	}))
	sent := 0
	w.d.onUDP = func(*virtualUDP, netip.AddrPort, []byte) { sent++ }
	w.advance(w.d.now + 5*time.Second)
	require.Zero(t, sent, "nobody is there")
	w.udp(w.socket(local), remote, opusPacket(1000, 7))
	w.advance(w.d.now + 5*time.Second)
	require.GreaterOrEqual(t, sent, 3)
	sent = 0
	require.NoError(t, w.m.CloseTransport("t"))
	w.advance(w.d.now + 5*time.Second)
	require.Zero(t, sent)
	_, pending := w.m.wheel.Next()
	require.False(t, pending, "a timer is left")
}
