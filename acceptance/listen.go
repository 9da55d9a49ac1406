package acceptance

import (
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/internal/peer"
)

var listenCases = []testCase{
	{
		name:        "Listen/FixedPort",
		explanation: "a port that is given is the port that is bound; flags that don't fit are ignored",
		upstream:    []string{"WebRtcTransport 3", "PlainTransport 11"},
		run:         testListenFixedPort,
	},
	{
		name:        "Listen/PortRange",
		explanation: "a range gives as many ports as it has, then ErrUnavailable, and a closed transport gives its port back",
		upstream:    []string{"WebRtcTransport 4", "3.15.2"},
		run:         testListenPortRange,
	},
	{
		name:        "Listen/WorkerRange",
		explanation: "without port and range the port is of the Worker's range, for every kind of transport",
		upstream:    []string{"WebRtcServer 3"},
		run:         testListenWorkerRange,
	},
	{
		name:        "Listen/NotLocal",
		explanation: "an address that is not ours is ErrUnavailable",
		upstream:    []string{"WebRtcTransport 6", "PlainTransport 4"},
		run:         testListenNotLocal,
	},
	{
		name:        "Listen/PortInUse",
		explanation: "a port in use is ErrUnavailable, and nothing else stays bound",
		upstream:    []string{"WebRtcServer 5"},
		run:         testListenPortInUse,
	},
	{
		name:        "Listen/Released",
		explanation: "Close returns when the ports are free, whatever is closed",
		run:         testListenReleased,
	},
	{
		name:        "Listen/Announced",
		explanation: "an announced address or host name stands for the bound IP in candidates and tuples",
		upstream:    []string{"WebRtcTransport 1", "PlainTransport 1"},
		run:         testListenAnnounced,
	},
	{
		name:        "Listen/ExposeInternalIP",
		explanation: "ExposeInternalIP adds a candidate with the bound IP after the announced one, its priority 1000 lower",
		upstream:    []string{"newer 3", "3.17.0"},
		run:         testListenExposeInternalIP,
	},
	{
		name:        "Listen/IPv6",
		explanation: "transports listen on IPv6 and media flows over it",
		run:         testListenIPv6,
	},
	{
		name:        "Listen/DualStack",
		explanation: "a transport on :: is reached over IPv4 too",
		run:         testListenDualStack,
	},
	{
		name:        "Listen/IPv6Only",
		explanation: "IPv6Only leaves the IPv4 side of the port to others",
		run:         testListenIPv6Only,
	},
	{
		name:        "Listen/ReusePort",
		explanation: "UDPReusePort lets two transports bind one address and port, multicast or not; without it the second fails",
		upstream:    []string{"PlainTransport 5", "PlainTransport 6"},
		run:         testListenReusePort,
	},
	{
		name:        "Listen/BufferSizes",
		explanation: "socket buffer sizes are taken",
		run:         testListenBufferSizes,
	},
}

func testListenFixedPort(t *testing.T, s *suite) {
	r := s.room(t)
	for _, l := range []mafalda.ListenInfo{listenUDP(), listenTCP()} {
		l.Port = freePort(t)
		l.Flags = mafalda.SocketFlags{IPv6Only: true}
		if l.Protocol == mafalda.ProtocolTCP {
			l.Flags.UDPReusePort = true
		}
		tr := r.webRTC(t, mafalda.WebRTCTransportOptions{ListenInfos: []mafalda.ListenInfo{l}})
		require.Equal(t, l.Port, tr.ICECandidates()[0].Port)
	}
	l, ctl := listenUDP(), listenUDP()
	l.Port, ctl.Port = freePort(t), freePort(t)
	tr := r.plain(t, mafalda.PlainTransportOptions{ListenInfo: l, RTCPListenInfo: &ctl})
	require.Equal(t, l.Port, tr.Tuple().LocalPort)
	require.Equal(t, ctl.Port, tr.RTCPTuple().LocalPort)
}

func testListenPortRange(t *testing.T, s *suite) {
	r := s.room(t)
	for _, protocol := range []mafalda.Protocol{mafalda.ProtocolUDP, mafalda.ProtocolTCP} {
		l := listen(protocol)
		l.PortRange = twoFreePorts(t)
		o := mafalda.WebRTCTransportOptions{ListenInfos: []mafalda.ListenInfo{l}}
		a, b := r.webRTC(t, o), r.webRTC(t, o)
		ports := []uint16{a.ICECandidates()[0].Port, b.ICECandidates()[0].Port}
		require.ElementsMatch(t, []uint16{l.PortRange.Min, l.PortRange.Max}, ports)
		_, err := r.router.CreateWebRTCTransport(t.Context(), o)
		requireError(t, err, mafalda.ErrUnavailable)
		require.NoError(t, a.Close())
		require.Equal(t, ports[0], r.webRTC(t, o).ICECandidates()[0].Port)
	}
}

func testListenWorkerRange(t *testing.T, s *suite) {
	w, err := s.sfu.CreateWorker(t.Context(), mafalda.WorkerSettings{RTCMinPort: 21000, RTCMaxPort: 22000})
	require.NoError(t, err)
	r := newRoom(t, w)
	tr := r.webRTC(t, mafalda.WebRTCTransportOptions{ListenInfos: []mafalda.ListenInfo{listenUDP(), listenTCP()}})
	p := r.plain(t, mafalda.PlainTransportOptions{RTCPMux: new(false)})
	c := tr.ICECandidates()
	for _, port := range []uint16{c[0].Port, c[1].Port, p.Tuple().LocalPort, p.RTCPTuple().LocalPort} {
		require.GreaterOrEqual(t, port, uint16(21000))
		require.LessOrEqual(t, port, uint16(22000))
	}
}

func testListenNotLocal(t *testing.T, s *suite) {
	r := s.room(t)
	for _, protocol := range []mafalda.Protocol{mafalda.ProtocolUDP, mafalda.ProtocolTCP} {
		l := mafalda.ListenInfo{Protocol: protocol, IP: elsewhere}
		_, err := r.router.CreateWebRTCTransport(t.Context(), mafalda.WebRTCTransportOptions{ListenInfos: []mafalda.ListenInfo{l}})
		requireError(t, err, mafalda.ErrUnavailable)
	}
	l := mafalda.ListenInfo{Protocol: mafalda.ProtocolUDP, IP: elsewhere}
	_, err := r.router.CreatePlainTransport(t.Context(), mafalda.PlainTransportOptions{ListenInfo: l})
	requireError(t, err, mafalda.ErrUnavailable)
	_, err = r.router.CreatePlainTransport(t.Context(), mafalda.PlainTransportOptions{ListenInfo: listenUDP(), RTCPListenInfo: &l})
	requireError(t, err, mafalda.ErrUnavailable)
	require.Empty(t, r.router.Transports())
}

func testListenPortInUse(t *testing.T, s *suite) {
	r := s.room(t)
	taken, first := listenUDP(), listenUDP()
	u := openUDP(t, loopback)
	taken.Port = addrOf(u).Port()
	first.Port = freePort(t)
	_, err := r.router.CreateWebRTCTransport(t.Context(), mafalda.WebRTCTransportOptions{
		ListenInfos: []mafalda.ListenInfo{first, taken},
	})
	requireError(t, err, mafalda.ErrUnavailable)
	_, err = r.router.CreatePlainTransport(t.Context(), mafalda.PlainTransportOptions{ListenInfo: first, RTCPListenInfo: &taken})
	requireError(t, err, mafalda.ErrUnavailable)
	requirePortsFree(t, []mafalda.IPPort{{IP: "127.0.0.1", Port: first.Port}}, nil)
}

func testListenReleased(t *testing.T, s *suite) {
	r := s.room(t)
	other := newRoom(t, r.worker)
	udp, tcp := listenUDP(), listenTCP()
	udp.Port, tcp.Port = freePort(t), freePort(t)
	infos := []mafalda.ListenInfo{udp, tcp}
	free := func() {
		t.Helper()
		requirePortsFree(t, []mafalda.IPPort{{IP: "127.0.0.1", Port: udp.Port}}, []mafalda.IPPort{{IP: "127.0.0.1", Port: tcp.Port}})
	}
	tr := r.webRTC(t, mafalda.WebRTCTransportOptions{ListenInfos: infos})
	require.NoError(t, tr.Close())
	free()
	p := r.plain(t, mafalda.PlainTransportOptions{ListenInfo: udp})
	require.NoError(t, p.Close())
	free()
	other.webRTC(t, mafalda.WebRTCTransportOptions{ListenInfos: infos})
	require.NoError(t, other.router.Close())
	free()
	s.createServer(t, r.worker, infos...)
	require.NoError(t, r.worker.Close())
	free()
	last := s.room(t)
	last.webRTC(t, mafalda.WebRTCTransportOptions{ListenInfos: infos})
	require.NoError(t, s.sfu.Close())
	free()
}

func testListenAnnounced(t *testing.T, s *suite) {
	r := s.room(t)
	for _, name := range []string{"9.9.9.1", "2001:db8::1", "sfu.example.org"} {
		l := listenUDP()
		l.AnnouncedAddress = name
		tr := r.webRTC(t, mafalda.WebRTCTransportOptions{ListenInfos: []mafalda.ListenInfo{l}})
		require.Len(t, tr.ICECandidates(), 1)
		c := tr.ICECandidates()[0]
		require.Equal(t, []string{name, name}, []string{c.Address, c.IP})
		p := r.plain(t, mafalda.PlainTransportOptions{ListenInfo: l, RTCPMux: new(false)})
		require.Equal(t, name, p.Tuple().LocalAddress)
		require.Equal(t, name, p.Tuple().LocalIP)
		require.Equal(t, name, p.RTCPTuple().LocalAddress)

		reach := netip.AddrPortFrom(loopback, c.Port)
		dial(t, tr, peer.Config{Remote: reach})
		require.Equal(t, name, tr.ICESelectedTuple().LocalAddress)
	}
}

func testListenExposeInternalIP(t *testing.T, s *suite) {
	r := s.room(t)
	l := listenUDP()
	l.AnnouncedAddress, l.ExposeInternalIP = "9.9.9.1", true
	plain := listenTCP()
	plain.ExposeInternalIP = true // nothing is announced: nothing to add
	server := s.createServer(t, r.worker, l, plain)
	for _, o := range []mafalda.WebRTCTransportOptions{
		{ListenInfos: []mafalda.ListenInfo{l, plain}}, {WebRTCServer: server},
	} {
		c := r.webRTC(t, o).ICECandidates()
		require.Len(t, c, 3)
		require.Equal(t, "9.9.9.1", c[0].Address)
		require.Equal(t, "127.0.0.1", c[1].Address)
		require.Equal(t, c[0].Port, c[1].Port)
		require.Equal(t, c[0].Priority-1000, c[1].Priority)
		require.Equal(t, mafalda.ProtocolTCP, c[2].Protocol)
	}
}

// unable skips where this machine can't do what a case needs. A machine of the
// CI must be able to: there the case fails.
func unable(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

func needIPv6(t *testing.T) {
	t.Helper()
	c, err := net.ListenUDP("udp6", &net.UDPAddr{IP: net.IPv6loopback})
	if err != nil {
		unable(t, "this machine has no IPv6: %v", err)
	}
	c.Close()
}

func testListenIPv6(t *testing.T, s *suite) {
	needIPv6(t)
	r := s.room(t)
	l := mafalda.ListenInfo{Protocol: mafalda.ProtocolUDP, IP: netip.IPv6Loopback()}
	tcp := l
	tcp.Protocol = mafalda.ProtocolTCP
	o := mafalda.WebRTCTransportOptions{ListenInfos: []mafalda.ListenInfo{l, tcp}}
	udpEnd := r.webRTCEnd(t, o, peer.Config{})
	tcpEnd := r.webRTCEnd(t, o, peer.Config{TCP: true})
	plainEnd := r.plainEnd(t, mafalda.PlainTransportOptions{ListenInfo: l})
	require.Equal(t, "::1", udpEnd.transport.(mafalda.WebRTCTransport).ICECandidates()[0].Address)
	require.Equal(t, "::1", plainEnd.transport.(mafalda.PlainTransport).Tuple().LocalAddress)
	p := udpEnd.produce(t, mafalda.MediaKindAudio, audio("", 1))
	a, b := tcpEnd.consume(t, r, p), plainEnd.consume(t, r, p)
	udpEnd.sendRTP(t, opusSource(1).packet([]byte("over IPv6")))
	require.Equal(t, "over IPv6", string(tcpEnd.next(t, a).Payload))
	require.Equal(t, "over IPv6", string(plainEnd.next(t, b).Payload))
	require.Equal(t, "::1", udpEnd.transport.(mafalda.WebRTCTransport).ICESelectedTuple().RemoteIP)
}

func testListenDualStack(t *testing.T, s *suite) {
	needIPv6(t)
	r := s.room(t)
	for _, protocol := range []mafalda.Protocol{mafalda.ProtocolUDP, mafalda.ProtocolTCP} {
		l := mafalda.ListenInfo{Protocol: protocol, IP: netip.IPv6Unspecified(), AnnouncedAddress: "127.0.0.1"}
		o := mafalda.WebRTCTransportOptions{ListenInfos: []mafalda.ListenInfo{l}}
		cfg := peer.Config{TCP: protocol == mafalda.ProtocolTCP}
		four := r.webRTCEnd(t, o, cfg)
		six := r.webRTC(t, o)
		cfg.Remote = netip.AddrPortFrom(netip.IPv6Loopback(), six.ICECandidates()[0].Port)
		sixEnd := dial(t, six, cfg)
		p := four.produce(t, mafalda.MediaKindAudio, audio("", 1))
		c := sixEnd.consume(t, r, p)
		four.sendRTP(t, opusSource(1).packet([]byte("from four to six")))
		require.Equal(t, "from four to six", string(sixEnd.next(t, c).Payload))
		tuple := four.transport.(mafalda.WebRTCTransport).ICESelectedTuple()
		require.Equal(t, "127.0.0.1", tuple.RemoteIP, "an IPv4 address is written as one")
	}
}

func testListenIPv6Only(t *testing.T, s *suite) {
	needIPv6(t)
	r := s.room(t)
	l := mafalda.ListenInfo{
		Protocol: mafalda.ProtocolUDP, IP: netip.IPv6Unspecified(), AnnouncedAddress: "::1",
		Port: freePort(t), Flags: mafalda.SocketFlags{IPv6Only: true},
	}
	r.webRTC(t, mafalda.WebRTCTransportOptions{ListenInfos: []mafalda.ListenInfo{l}})
	four := l
	four.IP, four.Flags = netip.IPv4Unspecified(), mafalda.SocketFlags{}
	r.webRTC(t, mafalda.WebRTCTransportOptions{ListenInfos: []mafalda.ListenInfo{four}})
}

func testListenReusePort(t *testing.T, s *suite) {
	if runtime.GOOS == "windows" {
		unable(t, "no SO_REUSEPORT on windows")
	}
	r := s.room(t)
	for _, v := range []struct {
		ip    netip.Addr
		reuse bool
	}{{netip.AddrFrom4([4]byte{224, 0, 0, 1}), true}, {loopback, true}, {loopback, false}} {
		l := mafalda.ListenInfo{
			Protocol: mafalda.ProtocolUDP, IP: v.ip, Port: freePort(t),
			Flags: mafalda.SocketFlags{UDPReusePort: v.reuse, IPv6Only: true},
		}
		o := mafalda.PlainTransportOptions{ListenInfo: l, RTCPMux: new(true)}
		a := r.plain(t, o)
		require.Equal(t, l.Port, a.Tuple().LocalPort)
		b, err := r.router.CreatePlainTransport(t.Context(), o)
		if v.reuse {
			require.NoError(t, err)
			require.Equal(t, l.Port, b.Tuple().LocalPort)
		} else {
			requireError(t, err, mafalda.ErrUnavailable)
		}
	}
}

func testListenBufferSizes(t *testing.T, s *suite) {
	r := s.room(t)
	udp, tcp := listenUDP(), listenTCP()
	udp.SendBufferSize, udp.RecvBufferSize = 1<<18, 1<<18
	tcp.SendBufferSize, tcp.RecvBufferSize = 1<<17, 1<<17
	o := mafalda.WebRTCTransportOptions{ListenInfos: []mafalda.ListenInfo{udp, tcp}}
	r.webRTCEnd(t, o, peer.Config{})
	r.webRTCEnd(t, o, peer.Config{TCP: true})
}
