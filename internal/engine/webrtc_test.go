package engine

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/dtls"
	"github.com/mafalda-sfu/mafalda/internal/rtcp"
	"github.com/mafalda-sfu/mafalda/internal/rtp"
	"github.com/mafalda-sfu/mafalda/internal/srtp"
)

// A webPeer is the other end of a WebRTCTransport: it checks, shakes hands for
// real and sends media, on one address at a time.
type webPeer struct {
	*serverWorld
	id    string // of the transport
	addr  netip.AddrPort
	conn  *dtls.Conn
	out   chan []byte
	event chan dtls.Event
	tx    *srtp.Sender
	rx    *srtp.Receiver

	rtp, rtcp [][]byte // received
}

func newWebPeer(t *testing.T) *webPeer {
	p := &webPeer{
		serverWorld: newServerWorld(t, "a"), id: "a", addr: netip.MustParseAddrPort("10.1.0.1:5"),
		out: make(chan []byte, 1024), event: make(chan dtls.Event, 16),
	}
	// A Producer and two Consumers of another: one on the transport itself,
	// one that the application reads.
	require.NoError(t, produceOn(p.m, "a", ProduceOptions{
		ID: "p", Kind: Video, RTPParameters: vp8Params(rigSSRC, rigRTX, ""), RTPMapping: identity(vp8Params(rigSSRC, rigRTX, ""), 7),
	}))
	_, err := p.m.Consume("a", ConsumeOptions{
		ID: "c", ProducerID: "p", RTPParameters: vp8Params(3000, 3001, "0"), ConsumableEncodings: []Encoding{{SSRC: 7}},
	})
	require.NoError(t, err)
	p.d.onUDP = func(_ *virtualUDP, to netip.AddrPort, b []byte) {
		switch {
		case isSuccess(b):
			p.replies[to]++
		case isDTLS(b):
			if p.conn != nil {
				p.conn.Feed(b)
			}
		case isProbation(b):
		case p.rx == nil:
			t.Errorf("%x came without keys", b[:2])
		case rtcp.Is(b):
			plain, err := p.rx.UnprotectRTCP(nil, b)
			require.NoError(t, err)
			p.rtcp = append(p.rtcp, plain)
		default:
			plain, err := p.rx.UnprotectRTP(nil, b)
			require.NoError(t, err)
			p.rtp = append(p.rtp, plain)
		}
	}
	return p
}

// shake starts the handshake of the peer.
func (p *webPeer) shake(role dtls.Role) {
	p.conn = dtls.Start(dtls.Config{
		Certificate: testCertificate(),
		Send:        func(b []byte) { p.out <- b },
		Event:       func(e dtls.Event) { p.event <- e },
	}, role)
	p.t.Cleanup(p.conn.Close)
}

// pump moves packets and calls until done.
func (p *webPeer) pump(done func() bool) {
	p.t.Helper()
	end := time.After(10 * time.Second)
	for !done() {
		select {
		case f := <-p.posted:
			f(p.m)
			p.flush()
		case b := <-p.out:
			p.udp(p.socket(p.udpAddr), p.addr, b)
		case e := <-p.event:
			if e.State == dtls.Connected {
				var err error
				p.tx, err = srtp.NewSender(e.Keys.Suite, e.Keys.LocalMaster)
				require.NoError(p.t, err)
				p.rx, err = srtp.NewReceiver(e.Keys.Suite, e.Keys.RemoteMaster)
				require.NoError(p.t, err)
			}
		case <-end:
			p.t.Fatalf("nothing happens any more; notes: %+v", p.notes)
		}
	}
}

func (p *webPeer) dtlsState() string { return p.m.transports[p.id].part.(*webRTCTransport).dtlsState }

func (p *webPeer) connected() bool { return p.dtlsState() == "connected" && p.tx != nil }

// media sends a packet from an address and returns how many were forwarded.
func (p *webPeer) media(from netip.AddrPort, seq uint16, key bool) int {
	b, err := p.tx.ProtectRTP(nil, vp8Packet(seq, key))
	require.NoError(p.t, err)
	before := len(p.rtp)
	p.udp(p.socket(p.udpAddr), from, b)
	return len(p.rtp) - before
}

// plis counts the requests for key frames and forgets what came.
func (p *webPeer) plis() (n int) {
	for _, b := range p.rtcp {
		r := rtcp.NewReader(b)
		for x, ok := r.Next(); ok; x, ok = r.Next() {
			if x.IsPLI() {
				n++
			}
		}
	}
	p.rtcp = nil
	return n
}

func (p *webPeer) states() (list []string) {
	for _, n := range p.notes {
		switch b := n.Body.(type) {
		case ICEStateChange:
			list = append(list, "ice "+b.State)
		case ICESelectedTupleChange:
			list = append(list, "tuple "+b.Tuple.RemoteIP)
		case DTLSStateChange:
			list = append(list, "dtls "+b.State)
		}
	}
	p.notes = nil
	return list
}

func fingerprint() []dtls.Fingerprint { return testCertificate().Fingerprints()[:1] }

var connectedStates = []string{"tuple 10.1.0.1", "ice completed", "dtls connecting", "dtls connected"}

func TestWebRTCRoles(t *testing.T) {
	for _, test := range []struct {
		name   string
		remote DTLSRole // told to connect
		local  DTLSRole
		peer   dtls.Role
		early  bool // the peer shakes hands before connect
		late   bool // and even ends before
	}{
		{"we are the client", DTLSServer, DTLSClient, dtls.Server, false, false},
		{"auto makes us the client", DTLSAuto, DTLSClient, dtls.Server, false, false},
		{"we are the server", DTLSClient, DTLSServer, dtls.Client, false, false},
		{"an early peer", DTLSClient, DTLSServer, dtls.Client, true, false},
		{"connect comes after the handshake", DTLSClient, DTLSServer, dtls.Client, true, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newWebPeer(t)
			ufrag, pwd := p.credentials("a")
			if test.early {
				require.True(t, p.check(p.addr, ufrag, pwd))
				p.shake(test.peer)
				if test.late {
					p.pump(func() bool { return p.tx != nil && p.m.transports["a"].part.(*webRTCTransport).keys != nil })
					require.Equal(t, "connecting", p.dtlsState())
				}
			}
			role, err := p.m.ConnectWebRTC("a", test.remote, fingerprint())
			require.NoError(t, err)
			require.Equal(t, test.local, role)
			_, err = p.m.ConnectWebRTC("a", test.remote, fingerprint())
			require.ErrorIs(t, err, ErrInvalidState)
			p.flush()
			if !test.early {
				require.True(t, p.check(p.addr, ufrag, pwd))
				p.shake(test.peer)
			}
			p.pump(p.connected)
			require.Equal(t, connectedStates, p.states())
			require.Equal(t, 1, p.media(p.addr, 1, true))
			pkt, ok := rtp.Parse(p.rtp[0])
			require.True(t, ok)
			require.EqualValues(t, 3000, pkt.SSRC())
			require.Equal(t, "0", string(pkt.Extension(rtp.IDMID)))
			d, err := p.m.DumpTransport("a")
			require.NoError(t, err)
			require.Equal(t, test.local, d.WebRTC.DTLSRole)
			require.Contains(t, d.WebRTC.RemoteCertificate, "BEGIN CERTIFICATE")
		})
	}
}

// TestWebRTCRoleAfterStart has connect say that we are the client, when we
// already wait as server.
func TestWebRTCRoleAfterStart(t *testing.T) {
	p := newWebPeer(t)
	ufrag, pwd := p.credentials("a")
	require.True(t, p.check(p.addr, ufrag, pwd))
	require.Equal(t, "connecting", p.dtlsState())
	d, err := p.m.DumpTransport("a")
	require.NoError(t, err)
	require.Equal(t, DTLSServer, d.WebRTC.DTLSRole)
	role, err := p.m.ConnectWebRTC("a", DTLSServer, fingerprint())
	require.NoError(t, err)
	require.Equal(t, DTLSClient, role)
	p.shake(dtls.Server)
	p.pump(p.connected)
	require.Equal(t, connectedStates, p.states())
	require.Equal(t, 1, p.media(p.addr, 1, true))
}

func TestWebRTCWrongFingerprint(t *testing.T) {
	p := newWebPeer(t)
	ufrag, pwd := p.credentials("a")
	other, err := dtls.Generate(nil)
	require.NoError(t, err)
	_, err = p.m.ConnectWebRTC("a", DTLSClient, other.Fingerprints()[:1])
	require.NoError(t, err)
	require.True(t, p.check(p.addr, ufrag, pwd))
	p.shake(dtls.Client)
	p.pump(func() bool { return p.dtlsState() == "failed" && p.tx != nil })
	require.Equal(t, []string{"tuple 10.1.0.1", "ice completed", "dtls connecting", "dtls failed"}, p.states())
	require.Zero(t, p.media(p.addr, 1, true))
	require.EqualValues(t, 1, p.m.count.DropNotConnected)
	require.False(t, p.m.transports["a"].connected)
	// It is final.
	require.True(t, p.check(p.addr, ufrag, pwd))
	require.Empty(t, p.states())
}

// TestWebRTCPaths follows the media of a peer that moves, is lost, comes back
// and hangs up.
func TestWebRTCPaths(t *testing.T) {
	p := newWebPeer(t)
	ufrag, pwd := p.credentials("a")
	_, err := p.m.ConnectWebRTC("a", DTLSClient, fingerprint())
	require.NoError(t, err)
	require.True(t, p.check(p.addr, ufrag, pwd))
	p.shake(dtls.Client)
	p.pump(p.connected)
	require.Equal(t, 1, p.media(p.addr, 1, true))
	p.states()

	stranger, second := netip.MustParseAddrPort("10.8.0.1:5"), netip.MustParseAddrPort("10.2.0.1:5")
	require.Zero(t, p.media(stranger, 2, false))
	require.EqualValues(t, 1, p.m.count.DropUnknownTuple)
	require.Equal(t, "10.1.0.1", p.selected("a"))
	// A replay, also from a good address.
	b, err := p.tx.ProtectRTP(nil, vp8Packet(3, false))
	require.NoError(t, err)
	p.udp(p.socket(p.udpAddr), p.addr, b)
	n := len(p.rtp)
	p.udp(p.socket(p.udpAddr), p.addr, b)
	require.Len(t, p.rtp, n)
	require.EqualValues(t, 1, p.m.count.DropSRTP)

	// A second path without nomination; then media comes that way.
	p.udp(p.socket(p.udpAddr), second, withoutNomination(t, ufrag, pwd))
	require.Equal(t, 1, p.replies[second])
	require.Equal(t, "10.1.0.1", p.selected("a"))
	require.Equal(t, 1, p.media(second, 4, false))
	require.Equal(t, []string{"tuple 10.2.0.1"}, p.states())

	// The peer is silent for too long; media does not count as consent.
	p.plis()
	p.advance(p.d.now + 20*time.Second)
	require.Equal(t, 1, p.media(second, 5, false))
	p.advance(p.d.now + 11*time.Second)
	require.Equal(t, []string{"ice disconnected"}, p.states())
	require.Zero(t, p.media(second, 6, false))
	p.plis()
	p.advance(p.d.now + 20*time.Second)
	require.Empty(t, p.rtcp, "reports go on without a peer")

	// It comes back with the keys that it had.
	require.True(t, p.check(second, ufrag, pwd))
	require.Equal(t, []string{"tuple 10.2.0.1", "ice completed"}, p.states())
	require.Equal(t, 1, p.plis(), "the Consumer has to begin anew")
	require.Zero(t, p.media(second, 7, false))
	require.Equal(t, 1, p.media(second, 8, true))

	p.conn.Close()
	p.addr = second // where it sends from
	p.pump(func() bool { return p.dtlsState() == "closed" })
	require.Equal(t, []string{"dtls closed"}, p.states())
	require.Zero(t, p.media(second, 9, false))
	p.plis()
	p.advance(p.d.now + 5*time.Second)
	require.Empty(t, p.rtcp)
}

// TestWebRTCGoodbye checks that the peer hears of the end, whatever ends.
func TestWebRTCGoodbye(t *testing.T) {
	for name, end := range map[string]func(*Machine) []<-chan struct{}{
		"transport": func(m *Machine) []<-chan struct{} { return m.leave("a") },
		"router":    func(m *Machine) []<-chan struct{} { return m.leave("r") },
		"server":    func(m *Machine) []<-chan struct{} { return m.leave("s") },
		"worker":    (*Machine).leaveAll,
	} {
		t.Run(name, func(t *testing.T) {
			p := newWebPeer(t)
			require.Empty(t, end(p.m), "there is nobody to tell")
			p.connect()
			ended := end(p.m)
			require.Len(t, ended, 1)
			require.Equal(t, ended, end(p.m), "the second time")
			select {
			case <-ended[0]:
			case <-time.After(10 * time.Second):
				t.Fatal("DTLS does not end")
			}
			require.Equal(t, "connected", p.dtlsState())
			// What it had to say waits for the loop, before anything that comes now.
			for range len(p.posted) {
				(<-p.posted)(p.m)
			}
			select {
			case e := <-p.event:
				require.Equal(t, dtls.Closed, e.State)
			case <-time.After(10 * time.Second):
				t.Error("the peer did not hear it")
			}
		})
	}
}

// TestCloseNeverWaits closes a transport whose DTLS has nothing to say, on the
// loop.
func TestCloseNeverWaits(t *testing.T) {
	least := time.Hour // of some, since the machine may be busy
	for range 5 {
		p := newWebPeer(t)
		p.connect()
		w := p.m.transports["a"].part.(*webRTCTransport)
		w.dtls.Close()
		w.dtls.Wait()
		w.dtls = dtls.Start(dtls.Config{
			Certificate: testCertificate(), Send: func([]byte) {}, Event: func(dtls.Event) {},
		}, dtls.Server)
		began := time.Now()
		require.NoError(t, p.m.CloseTransport("a"))
		least = min(least, time.Since(began))
		w.dtls.Wait()
	}
	require.Less(t, least, 5*time.Millisecond)
}

// connect connects the peer with the transport a.
func (p *webPeer) connect() {
	p.t.Helper()
	ufrag, pwd := p.credentials("a")
	_, err := p.m.ConnectWebRTC("a", DTLSClient, fingerprint())
	require.NoError(p.t, err)
	require.True(p.t, p.check(p.addr, ufrag, pwd))
	p.shake(dtls.Client)
	p.pump(p.connected)
	p.turn(p.d.now)
}
