package mafalda_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v3"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/internal/peer"
)

// capture returns real packets of a peer: STUN, DTLS, SRTP, SRTCP; and its tap,
// through which it is still connected.
func capture(t *testing.T, r mafalda.Router, o mafalda.WebRTCTransportOptions) (mafalda.WebRTCTransport, *peer.Peer, *tap) {
	tr := newWebRTC(t, r, o)
	p := newTap(t, candidate(t, tr, mafalda.ProtocolUDP))
	e := dialTo(t, tr, peer.Config{Remote: p.addr()})
	for i := range 20 {
		require.NoError(t, e.WriteRTP(vp8(7, uint16(i), i == 0, "")))
		require.NoError(t, e.WriteRTCP([]byte{0x80, 201, 0, 1, 0, 0, 0, 1}))
	}
	return tr, e, p
}

// TestAbuseBytes throws damaged and random packets at every kind of port, from
// strangers and in the name of a connected peer, whose session survives.
func TestAbuseBytes(t *testing.T) {
	s := newSiege(t)
	rng := rand.New(rand.NewPCG(1, 2))
	server := newServer(t, s.worker)
	out := newWebRTC(t, s.router, webRTCOptions())
	var victims []*peer.Peer
	for _, o := range []mafalda.WebRTCTransportOptions{webRTCOptions(), {WebRTCServer: server}} {
		tr, e, p := capture(t, s.router, o)
		producer := produce(t, tr, video(7, "v"))
		consume(t, s.router, out, producer)
		var corpus [][]byte
		require.Eventually(t, func() bool { corpus = p.packets(); return len(corpus) > 40 }, 5*time.Second, time.Millisecond)
		var strangers []*net.UDPConn
		for range 16 {
			strangers = append(strangers, udpSocket(t))
		}
		var f flood
		for range much(6000, 300_000) {
			b := corpus[rng.IntN(len(corpus))]
			switch rng.IntN(4) {
			case 0:
				p.inject(spoil(rng, b))
			case 1: // as it was: replayed
				p.inject(b)
			default:
				strangers[rng.IntN(len(strangers))].WriteToUDPAddrPort(spoil(rng, b), p.sfu)
			}
			f.pace()
		}
		killers(p.inject)
		require.Equal(t, mafalda.DTLSStateConnected, tr.DTLSState())
		before := received(t, producer)
		for i := range 20 {
			require.NoError(t, e.WriteRTP(vp8(7, uint16(100+i), i == 0, "")))
		}
		require.Eventually(t, func() bool { return received(t, producer) >= before+20 }, 5*time.Second, 5*time.Millisecond,
			"packets of the peer whose address was abused")
		victims = append(victims, e)
		garbageTCP(t, rng, candidate(t, tr, mafalda.ProtocolTCP), corpus)
		for _, c := range strangers {
			c.Close()
		}
		p.near.Close()
		p.far.Close()
		require.NoError(t, tr.Close())
	}
	for _, e := range victims {
		e.Vanish()
	}
	plainPorts(t, s, rng)
	require.NoError(t, out.Close())
	require.NoError(t, server.Close())
	s.end(32)
}

func received(t *testing.T, p mafalda.Producer) (n uint64) {
	t.Helper()
	stats, err := p.Stats(t.Context())
	require.NoError(t, err)
	for _, s := range stats {
		n += uint64(s.PacketCount)
	}
	return n
}

// killers are records in clear that end an established connection of pion's.
func killers(send func([]byte)) {
	record := func(typ byte, epoch uint16, body ...byte) []byte {
		b := []byte{typ, 0xfe, 0xfd, byte(epoch >> 8), byte(epoch), 0, 0, 0, 0, 0, 99, 0, byte(len(body))}
		return append(b, body...)
	}
	for _, b := range [][]byte{
		record(20, 0, 2), record(20, 0, 1, 1), record(20, 1, 7), // ChangeCipherSpec
		record(23, 0, 1, 2, 3),             // application data
		record(25, 0, 1), record(63, 0, 1), // unknown types
		record(21, 0, 2, 40), record(21, 0, 1, 0), // fatal alert, close_notify
		record(22, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), // HelloRequest
		append(record(22, 0, 1), record(23, 0, 9)...),
	} {
		send(b)
		time.Sleep(time.Millisecond) // the pace of a sender
	}
}

// garbageTCP sends unframed, framed, cut and endless bytes over TCP.
func garbageTCP(t *testing.T, rng *rand.Rand, to netip.AddrPort, corpus [][]byte) {
	frame := func(b []byte) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...) }
	for range much(150, 5000) {
		c, err := net.Dial("tcp", to.String())
		require.NoError(t, err)
		for range 1 + rng.IntN(5) {
			b := spoil(rng, corpus[rng.IntN(len(corpus))])
			switch rng.IntN(5) {
			case 0:
				c.Write(b)
			case 1:
				c.Write(frame(b)[:1+rng.IntN(len(b)+1)])
			case 2:
				c.Write([]byte{0, 0, 0, 0, 0})
			case 3:
				c.Write([]byte{0xff, 0xff, 1, 2})
			default:
				c.Write(frame(b))
			}
		}
		if rng.IntN(2) == 0 {
			c.(*net.TCPConn).SetLinger(0) // a reset
		}
		c.Close()
	}
}

// plainPorts does the same to PlainTransports, with and without SRTP.
func plainPorts(t *testing.T, s *siege, rng *rand.Rand) {
	for _, o := range []mafalda.PlainTransportOptions{
		{Comedia: true}, {Comedia: true, EnableSRTP: true}, {RTCPMux: new(false), Comedia: true}, {},
	} {
		o.ListenInfo = mafalda.ListenInfo{Protocol: mafalda.ProtocolUDP, IP: loopback}
		tr, err := s.router.CreatePlainTransport(t.Context(), o)
		require.NoError(t, err)
		produce(t, tr, video(7, "v"))
		produce(t, tr, audio(9))
		corpus := [][]byte{
			vp8(7, 1, true, ""), vp8(7, 2, false, "v"), opus(9, 1, []byte{1, 2, 3}),
			{0x81, 200, 0, 6, 0, 0, 0, 7, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1},
			{0x81, 205, 0, 3, 0, 0, 0, 1, 0, 0, 0, 7, 0, 1, 0xff, 0xff},
			{0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 7},
			{0x80, 207, 0, 4, 0, 0, 0, 1, 4, 0, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8},
		}
		targets := []mafalda.TransportTuple{tr.Tuple()}
		if x := tr.RTCPTuple(); x != nil {
			targets = append(targets, *x)
		}
		c, other := udpSocket(t), udpSocket(t)
		var f flood
		for range much(3000, 100_000) {
			b := corpus[rng.IntN(len(corpus))]
			if rng.IntN(4) > 0 {
				b = spoil(rng, b)
			}
			from := c
			if rng.IntN(4) == 0 {
				from = other
			}
			from.WriteToUDPAddrPort(b, netip.AddrPortFrom(loopback, targets[rng.IntN(len(targets))].LocalPort))
			f.pace()
		}
		_, err = tr.Stats(t.Context())
		require.NoError(t, err)
		c.Close()
		other.Close()
		require.NoError(t, tr.Close())
	}
}

// TestAbuseTCPIdle opens thousands of TCP connections that say nothing, or half
// of something, while a peer talks over the same port.
func TestAbuseTCPIdle(t *testing.T) {
	s := newSiege(t)
	server := newServer(t, s.worker)
	tr, e := dial(t, s.router, mafalda.WebRTCTransportOptions{WebRTCServer: server}, peer.Config{TCP: true})
	producer := produce(t, tr, audio(1))
	to := candidate(t, tr, mafalda.ProtocolTCP)
	var conns []net.Conn
	for i := range much(1500, 8500) {
		c, err := net.Dial("tcp", to.String())
		require.NoError(t, err, "connection %d", i)
		conns = append(conns, c)
		switch i % 4 {
		case 1:
			c.Write([]byte{0xff})
		case 2:
			c.Write([]byte{0xff, 0xfd, 0, 1, 0, 0})
		case 3:
			c.Write([]byte{0, 100, 0, 1})
		}
	}
	for i := range 50 {
		require.NoError(t, e.WriteRTP(opus(1, uint16(i), []byte{1})))
	}
	require.Eventually(t, func() bool { return received(t, producer) == 50 }, 10*time.Second, 5*time.Millisecond)
	if *long { // nobody may stay without being a tuple
		c := conns[len(conns)-1]
		c.SetReadDeadline(time.Now().Add(30 * time.Second))
		_, err := c.Read(make([]byte, 1))
		require.Error(t, err)
		require.NotErrorIs(t, err, net.ErrClosed)
		ne, ok := err.(net.Error)
		require.False(t, ok && ne.Timeout(), "an idle connection is still open")
	}
	for _, c := range conns {
		c.Close()
	}
	require.NoError(t, e.WriteRTP(opus(1, 50, []byte{1})))
	require.Eventually(t, func() bool { return received(t, producer) == 51 }, 10*time.Second, 5*time.Millisecond)
	e.Close()
	require.NoError(t, server.Close())
	s.end(24)
}

// A check is a Binding request as an attacker makes it.
type check struct {
	ufrag, password string
	attributes      []stun.RawAttribute
	bare            bool // no PRIORITY
}

func (c check) build(t testing.TB) []byte {
	t.Helper()
	setters := []stun.Setter{stun.TransactionID, stun.BindingRequest, stun.NewUsername(c.ufrag + ":x")}
	if !c.bare {
		setters = append(setters, raw{stun.RawAttribute{Type: stun.AttrPriority, Value: []byte{1, 2, 3, 4}}})
	}
	for _, a := range c.attributes {
		setters = append(setters, raw{a})
	}
	setters = append(setters, stun.NewShortTermIntegrity(c.password), stun.Fingerprint)
	m, err := stun.Build(setters...)
	require.NoError(t, err)
	return m.Raw
}

type raw struct{ stun.RawAttribute }

func (r raw) AddTo(m *stun.Message) error {
	m.Add(r.Type, r.Value)
	return nil
}

// TestAbuseSTUN floods a transport with checks: guessed and right user names
// with wrong passwords, more addresses than it remembers, nominations of all
// kinds, role conflicts. The peer's media go on.
func TestAbuseSTUN(t *testing.T) {
	s := newSiege(t)
	rng := rand.New(rand.NewPCG(3, 4))
	server := newServer(t, s.worker)
	tr, e := dial(t, s.router, mafalda.WebRTCTransportOptions{WebRTCServer: server}, peer.Config{Keepalive: 20 * time.Millisecond})
	producer := produce(t, tr, audio(1))
	to := candidate(t, tr, mafalda.ProtocolUDP)
	good := tr.ICEParameters()
	var strangers []*net.UDPConn
	for range 40 {
		strangers = append(strangers, udpSocket(t))
	}
	send := func(c check) {
		strangers[rng.IntN(len(strangers))].WriteToUDPAddrPort(c.build(t), to)
	}
	var f flood
	for range much(5000, 200_000) { // who does not know the password
		switch rng.IntN(3) {
		case 0:
			send(check{ufrag: good.UsernameFragment, password: "wrong"})
		case 1:
			send(check{ufrag: fmt.Sprintf("%032x", rng.Uint64()), password: "guess"})
		default:
			send(check{ufrag: good.UsernameFragment, password: "wrong", bare: true})
		}
		f.pace()
	}
	require.Equal(t, uint16(e.LocalAddr().Port()), tr.ICESelectedTuple().RemotePort, "strangers took over")
	d, err := server.Dump(t.Context())
	require.NoError(t, err)
	require.Len(t, d.LocalICEUsernameFragments, 1)

	// One who does: it is the peer, or as good as it.
	nomination := func(v uint32) stun.RawAttribute {
		return stun.RawAttribute{Type: 0xC001, Value: binary.BigEndian.AppendUint32(nil, v)}
	}
	for i := range much(2000, 100_000) {
		c := check{ufrag: good.UsernameFragment, password: good.Password}
		switch rng.IntN(6) {
		case 0:
			c.attributes = []stun.RawAttribute{{Type: stun.AttrUseCandidate}}
		case 1:
			c.attributes = []stun.RawAttribute{nomination(rng.Uint32())}
		case 2:
			c.attributes = []stun.RawAttribute{{Type: stun.AttrUseCandidate}, nomination(uint32(i))}
		case 3:
			c.attributes = []stun.RawAttribute{{Type: stun.AttrICEControlled, Value: fill(rng, make([]byte, 8))}}
		case 4:
			c.attributes = []stun.RawAttribute{nomination(0xffffffff)}
		}
		send(c)
		if i%500 == 0 {
			good, err = tr.RestartICE(t.Context())
			require.NoError(t, err)
		}
		f.pace()
	}
	for _, c := range strangers {
		c.Close()
	}
	require.NoError(t, e.Check(t.Context(), good))
	before := received(t, producer)
	for i := range 50 {
		require.NoError(t, e.WriteRTP(opus(1, uint16(i), []byte{1})))
	}
	require.Eventually(t, func() bool { return received(t, producer) == before+50 }, 10*time.Second, 5*time.Millisecond)
	require.Eventually(t, func() bool { return tr.ICESelectedTuple().RemotePort == e.LocalAddr().Port() }, 5*time.Second, time.Millisecond,
		"media did not bring the path back")
	e.Close()
	require.NoError(t, server.Close())
	s.end(16)
}

// TestAbuseHello opens many DTLS handshakes that nobody finishes, from peers
// that ICE has let in, and from strangers.
func TestAbuseHello(t *testing.T) {
	s := newSiege(t)
	server := newServer(t, s.worker)
	own, e, p := capture(t, s.router, mafalda.WebRTCTransportOptions{WebRTCServer: server})
	var hello []byte
	for _, b := range p.packets() {
		if b[0] == 22 {
			hello = b
			break
		}
	}
	require.NotNil(t, hello)
	stranger := udpSocket(t)
	var f flood
	for range much(5000, 100_000) {
		stranger.WriteToUDPAddrPort(hello, p.sfu)
		f.pace()
	}
	alert := func(level, what byte) []byte {
		return []byte{21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, level, what}
	}
	const batch = 100
	for range much(1, 30) {
		var transports []mafalda.WebRTCTransport
		var conns []*net.UDPConn
		for i := range batch {
			tr := newWebRTC(t, s.router, mafalda.WebRTCTransportOptions{WebRTCServer: server})
			transports = append(transports, tr)
			c := udpSocket(t)
			conns = append(conns, c)
			ice := tr.ICEParameters()
			to := candidate(t, tr, mafalda.ProtocolUDP)
			c.WriteToUDPAddrPort(check{ufrag: ice.UsernameFragment, password: ice.Password}.build(t), to)
			require.Eventually(t, func() bool { return tr.DTLSState() == mafalda.DTLSStateConnecting }, 5*time.Second, time.Millisecond)
			for range 20 {
				c.WriteToUDPAddrPort(hello, to)
			}
			switch i % 4 {
			case 1:
				c.WriteToUDPAddrPort(alert(1, 0), to) // close_notify
			case 2:
				c.WriteToUDPAddrPort(alert(2, 40), to)
			case 3:
				require.NoError(t, tr.Close())
			}
		}
		for i := range transports {
			require.NoError(t, transports[i].Close())
			conns[i].Close()
		}
	}
	stranger.Close()
	e.Close()
	require.NoError(t, own.Close())
	p.near.Close()
	p.far.Close()
	require.NoError(t, server.Close())
	s.end(24)
}
