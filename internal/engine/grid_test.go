package engine

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestGridForwards sends through a grid whose driver looks ahead.
func TestGridForwards(t *testing.T) {
	g := newGrid(t, 3*gridBatch)
	for round := range 4 {
		for at := 0; at < len(g.peers); at += gridBatch {
			g.next(t, at, byte(min(round, 1))) // key frames first
			sent := g.d.sent
			g.batch(at)
			require.Equal(t, gridBatch*gridBurst, g.d.sent-sent, "round %d, peers from %d on", round, at)
		}
	}
}

// TestExpect is told of peers that are unknown, have no media yet or are closed
// meanwhile.
func TestExpect(t *testing.T) {
	g := newGrid(t, gridBatch)
	_, err := g.m.CreateWebRTCTransport("r", WebRTCTransportOptions{ID: "new", ServerID: "s", EnableUDP: true})
	require.NoError(t, err)
	w := g.m.transports["new"].part.(*webRTCTransport)
	w.dtlsState = "failed" // no handshake
	ufrag, pwd := w.ice.Credentials()
	from := netip.MustParseAddrPort("10.0.1.2:7")
	g.m.HandleUDP(g.s, from, bindingRequest(t, ufrag, pwd))
	expect := func(a netip.AddrPort) {
		for range 2 {
			g.m.Expect(g.s, a)
		}
	}
	expect(from)
	expect(g.peers[0].from)
	expect(netip.MustParseAddrPort("10.9.9.9:9"))
	g.next(t, 0, 0)
	g.batch(0)
	require.NotZero(t, g.d.sent)
	expect(g.peers[0].from)
	expect(from)
	require.NoError(t, g.m.CloseWebRTCServer("s"))
	for range 4 {
		expect(netip.AddrPort{})
	}
	g.s.SetOwner(nil)
	expect(from)
}

// TestGridAllocations is about what BenchmarkGrid measures.
func TestGridAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	g := newGrid(t, gridBatch)
	key := byte(0)
	for range 60 * gridPeers / gridBatch { // stores and counters reach their size
		g.next(t, 0, key)
		g.batch(0)
		key = 1
	}
	g.next(t, 0, 1)
	require.Zero(t, testing.AllocsPerRun(200, func() {
		g.next(t, 0, 1)
		g.batch(0)
	}))
}
