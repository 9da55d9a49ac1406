package engine

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/rtcp"
)

// newAudience has a plain transport with so many Consumers, whose peer is known.
func newAudience(t testing.TB, consumers int) (w *virtualWorld, local, peer netip.AddrPort) {
	t.Helper()
	w = newVirtualWorld(t)
	m := w.m
	require.NoError(t, m.CreateRouter("r"))
	local, peer = netip.MustParseAddrPort("10.0.0.1:1000"), netip.MustParseAddrPort("10.0.0.2:2000")
	_, err := m.CreatePlainTransport("r", PlainTransportOptions{
		ID: "t", ListenInfo: ListenInfo{Protocol: UDP, IP: local.Addr(), Port: local.Port()},
	})
	require.NoError(t, err)
	_, err = m.ConnectPlain("t", PlainConnectOptions{Remote: peer})
	require.NoError(t, err)
	params := opusParams(1000)
	require.NoError(t, produceOn(m, "t", ProduceOptions{ID: "p", Kind: Audio, RTPParameters: params, RTPMapping: identity(params, 5000)}))
	for i := range uint32(consumers) {
		_, err := m.Consume("t", ConsumeOptions{
			ID: fmt.Sprint("c", i), ProducerID: "p", RTPParameters: opusParams(2000 + i), ConsumableEncodings: []Encoding{{SSRC: 5000}},
		})
		require.NoError(t, err)
	}
	return w, local, peer
}

// referenceTimes is a compound with as many reference times as a datagram has
// room for.
func referenceTimes() (b []byte, last uint64) {
	for last = 1 << 40; len(b) < 1200-20; last += 1 << 20 {
		b = rtcp.AppendXR(b, 1, last, nil)
	}
	return b, last - 1<<20
}

// TestReferenceTimes: however many reference times a peer sends, each Consumer
// answers the last one, in its next report, whenever it was created.
func TestReferenceTimes(t *testing.T) {
	w, local, peer := newAudience(t, 3)
	b, last := referenceTimes()
	w.udp(w.socket(local), peer, b)
	_, err := w.m.Consume("t", ConsumeOptions{
		ID: "late", ProducerID: "p", RTPParameters: opusParams(3000), ConsumableEncodings: []Encoding{{SSRC: 5000}},
	})
	require.NoError(t, err)
	w.udp(w.socket(local), peer, opusPacket(1000, 7))
	answers := map[uint32]rtcp.DLRREntry{}
	w.d.onUDP = func(_ *virtualUDP, _ netip.AddrPort, b []byte) {
		r := rtcp.NewReader(b)
		for p, ok := r.Next(); ok; p, ok = r.Next() {
			if p.Type() != rtcp.TypeXR {
				continue
			}
			blocks := p.XRBlocks()
			for x, ok := blocks.Next(); ok; x, ok = blocks.Next() {
				delays := x.DLRRs()
				for i := range delays.Len() {
					answers[delays.At(i).SSRC] = delays.At(i)
				}
			}
		}
	}
	w.advance(w.d.now + rtcpFirst + 10*time.Millisecond)
	require.Len(t, answers, 4)
	for _, ssrc := range []uint32{2000, 2001, 2002, 3000} {
		require.Equal(t, uint32(last>>16), answers[ssrc].LRR)
		require.Positive(t, answers[ssrc].DLRR)
	}
}

// TestReferenceTimesTouchNoConsumer: what a datagram of reference times costs must
// not grow with the Consumers. Without them nothing could be gone through.
func TestReferenceTimesTouchNoConsumer(t *testing.T) {
	w, local, peer := newAudience(t, 3)
	tr := w.m.transports["t"]
	consumers := tr.consumers
	tr.consumers = []*consumer{nil} // whoever touches it panics
	b, last := referenceTimes()
	w.udp(w.socket(local), peer, b)
	tr.consumers = consumers
	got, _, ok := tr.reference.Delay(w.m.now)
	require.True(t, ok)
	require.Equal(t, uint32(last>>16), got)
}

// BenchmarkReferenceTimes has a peer with 1,000 Consumers send datagrams full of
// reference times.
func BenchmarkReferenceTimes(b *testing.B) {
	w, local, peer := newAudience(b, 1000)
	packet, _ := referenceTimes()
	s := w.socket(local)
	b.ReportAllocs()
	for b.Loop() {
		w.udp(s, peer, packet)
	}
}
