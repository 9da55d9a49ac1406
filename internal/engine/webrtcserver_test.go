package engine

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun/v3"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/ice"
)

// bindingRequest is a check of ICE with the password pwd, which nominates.
func bindingRequest(t testing.TB, ufrag, pwd string) []byte {
	t.Helper()
	return buildCheck(t, ufrag, pwd, stun.RawAttribute{Type: stun.AttrUseCandidate})
}

// withoutNomination is a check that nominates nothing.
func withoutNomination(t testing.TB, ufrag, pwd string) []byte {
	t.Helper()
	return buildCheck(t, ufrag, pwd)
}

func buildCheck(t testing.TB, ufrag, pwd string, more ...stun.Setter) []byte {
	t.Helper()
	priority := binary.BigEndian.AppendUint32(nil, 1)
	setters := append([]stun.Setter{
		stun.TransactionID, stun.BindingRequest, stun.NewUsername(ufrag + ":them"),
		stun.RawAttribute{Type: stun.AttrPriority, Value: priority},
	}, more...)
	m, err := stun.Build(append(setters, stun.NewShortTermIntegrity(pwd), stun.Fingerprint)...)
	require.NoError(t, err)
	return m.Raw
}

// isSuccess reports whether b answers a check with success.
func isSuccess(b []byte) bool { return ice.IsSTUN(b) && b[0] == 1 && b[1] == 1 }

// A serverWorld has a WebRTCServer with a UDP and a TCP port and transports on it.
type serverWorld struct {
	*virtualWorld
	udpAddr, tcpAddr netip.AddrPort
	replies          map[netip.AddrPort]int // successful ones by UDP destination
}

func newServerWorld(t testing.TB, transports ...string) *serverWorld {
	t.Helper()
	w := &serverWorld{
		virtualWorld: newVirtualWorld(t), replies: map[netip.AddrPort]int{},
		udpAddr: netip.MustParseAddrPort("10.0.0.1:1000"), tcpAddr: netip.MustParseAddrPort("10.0.0.1:1001"),
	}
	t.Cleanup(w.m.release)
	w.d.onUDP = func(_ *virtualUDP, to netip.AddrPort, b []byte) {
		if isSuccess(b) {
			w.replies[to]++
		}
	}
	require.NoError(t, w.m.CreateWebRTCServer("s", []ListenInfo{
		{Protocol: UDP, IP: w.udpAddr.Addr(), Port: w.udpAddr.Port()},
		{Protocol: TCP, IP: w.tcpAddr.Addr(), Port: w.tcpAddr.Port()},
	}))
	require.NoError(t, w.m.CreateRouter("r"))
	for _, id := range transports {
		_, err := w.m.CreateWebRTCTransport("r", WebRTCTransportOptions{
			ID: id, ServerID: "s", EnableUDP: true, EnableTCP: true, ICEConsentTimeout: 30 * time.Second,
		})
		require.NoError(t, err)
	}
	return w
}

func (w *serverWorld) credentials(id string) (ufrag, pwd string) {
	w.t.Helper()
	d, err := w.m.DumpTransport(id)
	require.NoError(w.t, err)
	return d.WebRTC.Ufrag, d.WebRTC.Password
}

// check sends a check from a peer and reports whether it was answered.
func (w *serverWorld) check(from netip.AddrPort, ufrag, pwd string) bool {
	before := w.replies[from]
	w.udp(w.socket(w.udpAddr), from, bindingRequest(w.t, ufrag, pwd))
	return w.replies[from] > before
}

func (w *serverWorld) selected(id string) string {
	d, err := w.m.DumpTransport(id)
	require.NoError(w.t, err)
	if d.WebRTC.SelectedTuple == nil {
		return ""
	}
	return d.WebRTC.SelectedTuple.RemoteIP
}

func TestServerDemux(t *testing.T) {
	w := newServerWorld(t, "a", "b")
	server := w.m.servers["s"]
	ua, pa := w.credentials("a")
	ub, pb := w.credentials("b")
	peerA, peerB := netip.MustParseAddrPort("10.1.0.1:5"), netip.MustParseAddrPort("10.1.0.2:5")

	// Media from nobody, and a check for nobody.
	w.udp(w.socket(w.udpAddr), peerA, opusPacket(1, 1))
	require.False(t, w.check(peerA, strings.Repeat("x", 32), pa))
	require.EqualValues(t, 2, w.m.count.DropUnknownTuple)
	// A check that is for a but has not its password teaches nothing.
	require.False(t, w.check(peerA, ua, pb))
	require.Empty(t, server.tuples)

	require.True(t, w.check(peerA, ua, pa))
	require.True(t, w.check(peerB, ub, pb))
	require.Len(t, server.tuples, 2)
	require.Equal(t, "10.1.0.1", w.selected("a"))
	require.Equal(t, "10.1.0.2", w.selected("b"))

	// Now the addresses decide: that of a leads to a whatever the check says.
	require.False(t, w.check(peerA, ub, pb))
	require.Equal(t, "10.1.0.2", w.selected("b"))
	received := func(id string) uint64 {
		s, err := w.m.TransportStats(id)
		require.NoError(t, err)
		return s.BytesReceived
	}
	a, b := received("a"), received("b")
	w.udp(w.socket(w.udpAddr), peerB, opusPacket(1, 1))
	require.Equal(t, a, received("a"))
	require.Equal(t, b+uint64(len(opusPacket(1, 1))), received("b"))

	// A closed transport leaves nothing.
	require.NoError(t, w.m.CloseTransport("b"))
	require.Len(t, server.tuples, 1)
	require.Len(t, server.ufrags, 1)
	require.False(t, w.check(peerB, ub, pb))

	d, err := w.m.DumpWebRTCServer("s")
	require.NoError(t, err)
	require.Equal(t, []UfragOwner{{ua, "a"}}, d.Ufrags)
	require.Equal(t, []netip.AddrPort{w.udpAddr}, d.UDPSockets)
	require.Equal(t, []netip.AddrPort{w.tcpAddr}, d.TCPServers)

	// Closing the server closes its transports, and frees its ports.
	require.NoError(t, w.m.CloseWebRTCServer("s"))
	require.Empty(t, w.m.transports)
	require.Empty(t, w.d.bound)
	require.ErrorIs(t, w.m.CloseWebRTCServer("s"), ErrNotFound)
}

// TestServerICERestart follows the ways to a transport while its credentials
// change.
func TestServerICERestart(t *testing.T) {
	w := newServerWorld(t, "a")
	server := w.m.servers["s"]
	oldUfrag, oldPwd := w.credentials("a")
	wifi, lte, late := netip.MustParseAddrPort("10.1.0.1:5"), netip.MustParseAddrPort("10.2.0.1:5"), netip.MustParseAddrPort("10.3.0.1:5")
	require.True(t, w.check(wifi, oldUfrag, oldPwd))

	ufrag, pwd, err := w.m.RestartICE("a")
	require.NoError(t, err)
	require.NotEqual(t, oldUfrag, ufrag)
	require.Len(t, server.ufrags, 2)
	require.True(t, w.check(wifi, oldUfrag, oldPwd), "the old pair is good until the new one is used")
	require.True(t, w.check(late, oldUfrag, oldPwd), "from elsewhere too")
	require.True(t, w.check(lte, ufrag, pwd))
	require.Equal(t, "10.2.0.1", w.selected("a"))
	require.Len(t, server.ufrags, 1)
	require.False(t, w.check(wifi, oldUfrag, oldPwd), "the new pair was used")
	require.True(t, w.check(wifi, ufrag, pwd))

	// Two restarts without use: only one generation is kept.
	_, _, err = w.m.RestartICE("a")
	require.NoError(t, err)
	third, pwd3, err := w.m.RestartICE("a")
	require.NoError(t, err)
	require.Len(t, server.ufrags, 2)
	require.False(t, w.check(netip.MustParseAddrPort("10.4.0.1:5"), ufrag, pwd))
	require.True(t, w.check(netip.MustParseAddrPort("10.4.0.1:5"), third, pwd3))
	require.NoError(t, w.m.CloseTransport("a"))
	require.Empty(t, server.ufrags)
	require.Empty(t, server.tuples)
}

// TestServerConsent checks that a peer that is silent for too long is forgotten.
func TestServerConsent(t *testing.T) {
	w := newServerWorld(t, "a")
	ufrag, pwd := w.credentials("a")
	peer := netip.MustParseAddrPort("10.1.0.1:5")
	require.True(t, w.check(peer, ufrag, pwd))
	for range 5 {
		w.advance(w.d.now + 20*time.Second)
		require.True(t, w.check(peer, ufrag, pwd))
	}
	w.notes = nil
	w.advance(w.d.now + 31*time.Second)
	require.Equal(t, []Notification{{Seq: w.notes[0].Seq, Target: "a", Body: ICEStateChange{"disconnected"}}}, w.notes)
	require.Empty(t, w.m.servers["s"].tuples)
	require.Empty(t, w.selected("a"))
	require.True(t, w.check(peer, ufrag, pwd), "it may come back")
}

// TestServerIdleTCP opens connections that say nothing, or nothing useful.
func TestServerIdleTCP(t *testing.T) {
	w := newServerWorld(t, "a")
	ufrag, pwd := w.credentials("a")
	l := w.d.tcp[0]
	peer := func(i int) netip.AddrPort {
		return netip.AddrPortFrom(netip.MustParseAddr("10.1.0.1"), uint16(1000+i))
	}
	silent, chatty, good := w.accept(l, peer(1)), w.accept(l, peer(2)), w.accept(l, peer(3))
	w.frame(chatty, bindingRequest(t, "nobody", pwd))
	w.frame(chatty, []byte("GET / HTTP/1.1\r\n"))
	w.frame(good, bindingRequest(t, ufrag, pwd))
	require.Len(t, good.frames, 1)
	require.True(t, isSuccess(good.frames[0]))
	require.Empty(t, chatty.frames)
	w.advance(w.d.now + 5*time.Second)
	young := w.accept(l, peer(4))
	w.advance(w.d.now + 6*time.Second)
	require.True(t, silent.closed)
	require.True(t, chatty.closed)
	require.False(t, good.closed, "it is a tuple")
	require.False(t, young.closed, "it has time left")
	w.advance(w.d.now + 10*time.Second)
	require.True(t, young.closed)
	require.Equal(t, "10.1.0.1", w.selected("a"))

	// The peer hangs up.
	w.m.HandleTCPClose(good)
	w.flush()
	require.Empty(t, w.selected("a"))
	require.Empty(t, w.m.servers["s"].tuples)
	require.Empty(t, w.m.servers["s"].conns.conns)
	w.advance(w.d.now + 20*time.Second)
	require.False(t, w.m.servers["s"].conns.sweep.Pending(), "nothing is left to sweep")
}

// TestServerManyTCP opens more connections than a server takes.
func TestServerManyTCP(t *testing.T) {
	w := newServerWorld(t, "a")
	ufrag, pwd := w.credentials("a")
	l := w.d.tcp[0]
	good := w.accept(l, netip.MustParseAddrPort("10.1.0.1:1"))
	w.frame(good, bindingRequest(t, ufrag, pwd))
	open := 0
	for i := range 10 * maxUnused {
		w.accept(l, netip.AddrPortFrom(netip.MustParseAddr("10.2.0.1"), uint16(1+i)))
		open = max(open, len(w.m.servers["s"].conns.conns))
	}
	require.LessOrEqual(t, open, maxUnused+1)
	require.False(t, good.closed, "who is used stays")
	last := w.accept(l, netip.MustParseAddrPort("10.3.0.1:1"))
	require.False(t, last.closed, "who is new gets in")
}

// TestServerManyTCPSlowly opens them at a pace that leaves each its moment.
func TestServerManyTCPSlowly(t *testing.T) {
	w := newServerWorld(t, "a")
	ufrag, pwd := w.credentials("a")
	l := w.d.tcp[0]
	for i := range 5 * maxUnused {
		c := w.accept(l, netip.AddrPortFrom(netip.MustParseAddr("10.2.0.1"), uint16(1+i)))
		w.advance(w.d.now + 2*time.Millisecond)
		if i%100 == 0 { // one in a hundred means it, and needs half a second
			w.advance(w.d.now + unusedMoment/2)
			require.False(t, c.closed, "connection %d", i)
			w.frame(c, bindingRequest(t, ufrag, pwd))
			require.Len(t, c.frames, 1)
			w.m.HandleTCPClose(c)
			w.flush()
		}
		require.LessOrEqual(t, len(w.m.servers["s"].conns.conns), maxUnused+1)
	}
}

// TestServerManyUsedTCP fills a server with connections that are all tuples.
func TestServerManyUsedTCP(t *testing.T) {
	w := newServerWorld(t)
	l := w.d.tcp[0]
	used := 0
	for i := range 500 {
		id := "t" + strconv.Itoa(i)
		_, err := w.m.CreateWebRTCTransport("r", WebRTCTransportOptions{ID: id, ServerID: "s", EnableTCP: true})
		require.NoError(t, err)
		ufrag, pwd := w.credentials(id)
		for j := range 4 {
			c := w.accept(l, netip.AddrPortFrom(netip.MustParseAddr("10.2.0.1"), uint16(1+4*i+j)))
			w.frame(c, bindingRequest(t, ufrag, pwd))
			used++
		}
	}
	require.Greater(t, used, maxUnused)
	require.Len(t, w.m.servers["s"].conns.conns, used, "none was closed")
}
