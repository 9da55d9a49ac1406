package acceptance

import (
	"net"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
)

var webRTCServerCases = []testCase{
	{
		name:        "WebRTCServer/Create",
		explanation: "a WebRTCServer binds the given ports, says so in its dump, and is known to its Worker",
		upstream:    []string{"3.20.9", "WebRtcServer 1"},
		run:         testServerCreate,
	},
	{
		name:        "WebRTCServer/PortRange",
		explanation: "a port range of one port is that port",
		upstream:    []string{"WebRtcServer 2"},
		run:         testServerPortRange,
	},
	{
		name:        "WebRTCServer/AnyPort",
		explanation: "without port and range a port of the Worker's range is taken",
		upstream:    []string{"WebRtcServer 3"},
		run:         testServerAnyPort,
	},
	{
		name:        "WebRTCServer/WrongArguments",
		explanation: "wrong options are ErrInvalidArgument",
		upstream:    []string{"WebRtcServer 4"},
		run:         testServerWrongArguments,
	},
	{
		name:        "WebRTCServer/Unavailable",
		explanation: "what can't be bound is ErrUnavailable, and then nothing stays bound",
		upstream:    []string{"WebRtcServer 5"},
		run:         testServerUnavailable,
	},
	{
		name:        "WebRTCServer/ManyListenInfos",
		explanation: "there is no limit of eight ListenInfos",
		upstream:    []string{"3.17.1"},
		run:         testServerManyListenInfos,
	},
	{
		name:        "WebRTCServer/Close",
		explanation: "Close is idempotent, heard once, and frees the ports before it returns",
		upstream:    []string{"WebRtcServer 7"},
		run:         testServerClose,
	},
	{
		name:        "WebRTCServer/WorkerClose",
		explanation: "when its Worker closes, a server hears WorkerClose and then its observer Close",
		upstream:    []string{"WebRtcServer 8"},
		run:         testServerWorkerClose,
	},
	{
		name:        "WebRTCServer/TransportOverTCPOnly",
		explanation: "a transport with EnableUDP false has the TCP candidate alone; NewTransport, then WebRTCTransportHandled; closing it is WebRTCTransportUnhandled, before its Close, and empties the dump",
		upstream:    []string{"WebRtcServer 9"},
		run:         testServerTransportOverTCPOnly,
	},
	{
		name:        "WebRTCServer/ClosesItsTransports",
		explanation: "closing the server closes its transports with ListenServerClose, WebRTCTransportUnhandled after the Close of each; RestartICE adds a username to the dump",
		upstream:    []string{"WebRtcServer 10", "WebRtcTransport 15"},
		run:         testServerClosesItsTransports,
	},
	{
		name:        "WebRTCServer/UnhandledByRouterClose",
		explanation: "a transport closed by its Router or Worker is unhandled too",
		run:         testServerUnhandledByRouterClose,
	},
	{
		name:        "WebRTCServer/Candidates",
		explanation: "candidates of a transport follow the server's ListenInfos, filtered by EnableUDP and EnableTCP, and PreferUDP and PreferTCP add 1000 to the local preference",
		run:         testServerCandidates,
	},
	{
		name:        "WebRTCServer/NotOurs",
		explanation: "a WebRTCServer of another Worker or implementation, or a closed one, is refused",
		run:         testServerNotOurs,
	},
}

func (s *suite) createServer(t testing.TB, w mafalda.Worker, infos ...mafalda.ListenInfo) mafalda.WebRTCServer {
	t.Helper()
	x, err := w.CreateWebRTCServer(t.Context(), mafalda.WebRTCServerOptions{ListenInfos: infos})
	require.NoError(t, err)
	return x
}

func dumpServer(t testing.TB, s mafalda.WebRTCServer) mafalda.WebRTCServerDump {
	t.Helper()
	d, err := s.Dump(t.Context())
	require.NoError(t, err)
	return d
}

func testServerCreate(t *testing.T, s *suite) {
	w := s.worker(t)
	udp, tcp := listenUDP(), listenTCP()
	udp.Port, tcp.Port = freePort(t), freePort(t)
	tcp.AnnouncedAddress = "foo.bar.org"
	x, err := w.CreateWebRTCServer(t.Context(), mafalda.WebRTCServerOptions{
		ListenInfos: []mafalda.ListenInfo{udp, tcp}, AppData: "foo",
	})
	require.NoError(t, err)
	require.NotEmpty(t, x.ID())
	require.False(t, x.Closed())
	require.Equal(t, "foo", x.AppData())
	require.Equal(t, mafalda.WebRTCServerDump{
		ID:                        x.ID(),
		UDPSockets:                []mafalda.IPPort{{IP: "127.0.0.1", Port: udp.Port}},
		TCPServers:                []mafalda.IPPort{{IP: "127.0.0.1", Port: tcp.Port}},
		WebRTCTransportIDs:        []string{},
		LocalICEUsernameFragments: []mafalda.ICEUsernameOwner{},
	}, dumpServer(t, x))
	d, err := w.Dump(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{x.ID()}, d.WebRTCServerIDs)
	require.Equal(t, []string{x.ID()}, d.MessageHandlers.RequestHandlers)
	require.Empty(t, d.MessageHandlers.NotificationHandlers)
	require.NoError(t, w.Close())
	require.True(t, x.Closed())
	require.Empty(t, w.WebRTCServers())
}

func testServerPortRange(t *testing.T, s *suite) {
	w := s.worker(t)
	udp, tcp := listenUDP(), listenTCP()
	u, c := freePort(t), freePort(t)
	udp.PortRange, tcp.PortRange = mafalda.PortRange{Min: u, Max: u}, mafalda.PortRange{Min: c, Max: c}
	udp.Port = 9 // the range wins
	d := dumpServer(t, s.createServer(t, w, udp, tcp))
	require.Equal(t, []mafalda.IPPort{{IP: "127.0.0.1", Port: u}}, d.UDPSockets)
	require.Equal(t, []mafalda.IPPort{{IP: "127.0.0.1", Port: c}}, d.TCPServers)
}

func testServerAnyPort(t *testing.T, s *suite) {
	w, err := s.sfu.CreateWorker(t.Context(), mafalda.WorkerSettings{RTCMinPort: 20000, RTCMaxPort: 21000})
	require.NoError(t, err)
	d := dumpServer(t, s.createServer(t, w, listenUDP(), listenTCP()))
	require.Len(t, d.UDPSockets, 1)
	require.Len(t, d.TCPServers, 1)
	for _, a := range []mafalda.IPPort{d.UDPSockets[0], d.TCPServers[0]} {
		require.Equal(t, "127.0.0.1", a.IP)
		require.GreaterOrEqual(t, a.Port, uint16(20000))
		require.LessOrEqual(t, a.Port, uint16(21000))
	}
}

func testServerWrongArguments(t *testing.T, s *suite) {
	w := s.worker(t)
	noIP := listenUDP()
	noIP.IP = netip.Addr{}
	noProtocol := listenUDP()
	noProtocol.Protocol = ""
	badRange := listenUDP()
	badRange.PortRange = mafalda.PortRange{Min: 4000, Max: 3000}
	halfRange := listenUDP()
	halfRange.PortRange = mafalda.PortRange{Max: 3000}
	for name, infos := range map[string][]mafalda.ListenInfo{
		"none": nil, "empty": {}, "no IP": {noIP}, "no protocol": {noProtocol},
		"range": {listenTCP(), badRange}, "half a range": {halfRange},
		"protocol": {{Protocol: "sctp", IP: loopback}}, "buffer": {{Protocol: "udp", IP: loopback, SendBufferSize: -1}},
	} {
		_, err := w.CreateWebRTCServer(t.Context(), mafalda.WebRTCServerOptions{ListenInfos: infos})
		requireErrorIn(t, name, err, mafalda.ErrInvalidArgument)
	}
	require.Empty(t, w.WebRTCServers())
}

// elsewhere is an address that no machine has (RFC 5737).
var elsewhere = netip.AddrFrom4([4]byte{192, 0, 2, 1})

func testServerUnavailable(t *testing.T, s *suite) {
	a, b := s.worker(t), s.worker(t)
	udp := listenUDP()
	udp.Port = freePort(t)
	far := listenUDP()
	far.IP = elsewhere
	far.Port = udp.Port
	create := func(w mafalda.Worker, infos ...mafalda.ListenInfo) error {
		_, err := w.CreateWebRTCServer(t.Context(), mafalda.WebRTCServerOptions{ListenInfos: infos})
		return err
	}
	requireError(t, create(a, udp, far), mafalda.ErrUnavailable)
	requireError(t, create(a, udp, udp), mafalda.ErrUnavailable)
	require.Empty(t, a.WebRTCServers())
	require.NoError(t, create(a, udp), "the failed attempts left the port free")
	requireError(t, create(b, udp), mafalda.ErrUnavailable)
	requireError(t, create(a, udp), mafalda.ErrUnavailable)
	require.Len(t, a.WebRTCServers(), 1)
	require.Empty(t, b.WebRTCServers())
}

func testServerManyListenInfos(t *testing.T, s *suite) {
	w := s.worker(t)
	var infos []mafalda.ListenInfo
	for range 6 {
		infos = append(infos, listenUDP(), listenTCP())
	}
	d := dumpServer(t, s.createServer(t, w, infos...))
	require.Len(t, d.UDPSockets, 6)
	require.Len(t, d.TCPServers, 6)
}

func testServerClose(t *testing.T, s *suite) {
	w := s.worker(t)
	x := newRoom(t, w).server(t)
	d := dumpServer(t, x)
	var j journal
	note(&j, &x.Events().WorkerClose, "workerclose")
	noteIf(t, &j, &x.Observer().Close, "close", x.Closed)
	require.NoError(t, x.Close())
	require.NoError(t, x.Close())
	requirePortsFree(t, d.UDPSockets, d.TCPServers)
	done(t, x)
	require.Equal(t, []string{"close"}, j.read())
	_, err := x.Dump(t.Context())
	requireError(t, err, mafalda.ErrClosed)
	require.NotErrorIs(t, err, mafalda.ErrWorkerClosed)
	require.Empty(t, w.WebRTCServers())
}

// requirePortsFree binds what should be free.
func requirePortsFree(t testing.TB, udp, tcp []mafalda.IPPort) {
	t.Helper()
	for _, a := range udp {
		c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(a.IP), Port: int(a.Port)})
		require.NoError(t, err, "UDP port is still bound")
		c.Close()
	}
	for _, a := range tcp {
		c, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.ParseIP(a.IP), Port: int(a.Port)})
		require.NoError(t, err, "TCP port is still bound")
		c.Close()
	}
}

func testServerWorkerClose(t *testing.T, s *suite) {
	w := s.worker(t)
	x := newRoom(t, w).server(t)
	var j journal
	noteIf(t, &j, &x.Events().WorkerClose, "workerclose", x.Closed)
	note(&j, &x.Observer().Close, "close")
	require.NoError(t, w.Close())
	done(t, x)
	require.Equal(t, []string{"workerclose", "close"}, j.read())
	_, err := x.Dump(t.Context())
	requireError(t, err, mafalda.ErrWorkerClosed)
}

func testServerTransportOverTCPOnly(t *testing.T, s *suite) {
	r := s.room(t)
	x := r.server(t)
	var j journal
	var seen mafalda.Transport
	r.router.Observer().NewTransport.On(func(tr mafalda.Transport) { seen = tr })
	note(&j, &r.router.Observer().NewTransport, "newtransport")
	var handled, unhandled mafalda.WebRTCTransport
	x.Observer().WebRTCTransportHandled.On(func(tr mafalda.WebRTCTransport) { handled = tr })
	note(&j, &x.Observer().WebRTCTransportHandled, "handled")
	x.Observer().WebRTCTransportUnhandled.On(func(tr mafalda.WebRTCTransport) { unhandled = tr })
	note(&j, &x.Observer().WebRTCTransportUnhandled, "unhandled")

	tr := r.webRTC(t, mafalda.WebRTCTransportOptions{WebRTCServer: x, EnableUDP: new(false), AppData: 7})
	require.True(t, seen == mafalda.Transport(tr))
	require.True(t, handled == tr)
	require.Equal(t, 7, tr.AppData())
	require.Equal(t, []string{tr.ID()}, dumpRouter(t, r.router).TransportIDs)
	d := dumpServer(t, x)
	c := tr.ICECandidates()
	require.Len(t, c, 1)
	require.Equal(t, mafalda.ProtocolTCP, c[0].Protocol)
	require.Equal(t, "passive", c[0].TCPType)
	require.Equal(t, "127.0.0.1", c[0].Address)
	require.Equal(t, "127.0.0.1", c[0].IP)
	if s.Pipes == 0 { // else there is one for each Worker that the Router is spread over
		require.Len(t, d.TCPServers, 1)
	}
	require.Contains(t, d.TCPServers, mafalda.IPPort{IP: "127.0.0.1", Port: c[0].Port})
	require.Equal(t, "host", c[0].Type)
	require.Equal(t, mafalda.ICEStateNew, tr.ICEState())
	require.Nil(t, tr.ICESelectedTuple())
	require.Equal(t, []string{tr.ID()}, d.WebRTCTransportIDs)
	require.Equal(t, []mafalda.ICEUsernameOwner{{
		LocalICEUsernameFragment: tr.ICEParameters().UsernameFragment, WebRTCTransportID: tr.ID(),
	}}, d.LocalICEUsernameFragments)

	note(&j, &tr.Observer().Close, "close")
	require.NoError(t, tr.Close())
	require.True(t, unhandled == tr)
	require.Equal(t, []string{"newtransport", "handled", "unhandled", "close"}, j.read())
	d = dumpServer(t, x)
	require.Empty(t, d.WebRTCTransportIDs)
	require.Empty(t, d.LocalICEUsernameFragments)
	require.Empty(t, dumpRouter(t, r.router).TransportIDs)
	require.False(t, x.Closed())
}

func testServerClosesItsTransports(t *testing.T, s *suite) {
	r := s.room(t)
	x := r.server(t)
	tr := r.webRTC(t, mafalda.WebRTCTransportOptions{WebRTCServer: x})
	p := produce(t, tr, mafalda.MediaKindAudio, audio("a", 11))
	elsewhere := r.direct(t)
	c := r.consume(t, elsewhere, p)
	candidates := tr.ICECandidates()
	require.Len(t, candidates, 2)
	require.Equal(t, mafalda.ProtocolUDP, candidates[0].Protocol)
	require.Empty(t, candidates[0].TCPType)
	require.Equal(t, mafalda.ProtocolTCP, candidates[1].Protocol)
	require.Greater(t, candidates[0].Priority, candidates[1].Priority)

	old := tr.ICEParameters()
	fresh, err := tr.RestartICE(t.Context())
	require.NoError(t, err)
	require.Equal(t, []mafalda.ICEUsernameOwner{
		{LocalICEUsernameFragment: old.UsernameFragment, WebRTCTransportID: tr.ID()},
		{LocalICEUsernameFragment: fresh.UsernameFragment, WebRTCTransportID: tr.ID()},
	}, dumpServer(t, x).LocalICEUsernameFragments)

	var j journal
	note(&j, &p.Events().TransportClose, "producer transportclose")
	note(&j, &p.Observer().Close, "producer close")
	note(&j, &c.Events().ProducerClose, "producerclose")
	note(&j, &c.Observer().Close, "consumer close")
	note(&j, &tr.Events().RouterClose, "routerclose")
	noteIf(t, &j, &tr.Events().ListenServerClose, "listenserverclose", tr.Closed)
	note(&j, &tr.Observer().Close, "transport close")
	note(&j, &x.Observer().WebRTCTransportUnhandled, "unhandled")
	note(&j, &x.Observer().Close, "server close")
	require.NoError(t, x.Close())
	done(t, x)
	done(t, c)
	j.requireOrder(t, "producer transportclose", "producer close", "listenserverclose", "transport close",
		"unhandled", "server close")
	j.requireOrder(t, "producerclose", "consumer close")
	require.False(t, j.has("routerclose"))
	require.Equal(t, mafalda.ICEStateClosed, tr.ICEState())
	require.Equal(t, mafalda.DTLSStateClosed, tr.DTLSState())
	require.Nil(t, tr.ICESelectedTuple())
	require.False(t, r.router.CanConsume(p.ID(), r.router.RTPCapabilities()))
	require.Equal(t, []string{elsewhere.ID()}, dumpRouter(t, r.router).TransportIDs)
	d, err := r.worker.Dump(t.Context())
	require.NoError(t, err)
	require.Empty(t, d.WebRTCServerIDs)
	require.NotContains(t, d.MessageHandlers.RequestHandlers, tr.ID())
}

func testServerUnhandledByRouterClose(t *testing.T, s *suite) {
	r := s.room(t)
	x := r.server(t)
	for _, end := range []mafalda.Lifetime{r.router, r.worker} {
		tr := newRoom(t, r.worker).webRTC(t, mafalda.WebRTCTransportOptions{WebRTCServer: x})
		if end == mafalda.Lifetime(r.router) {
			tr = r.webRTC(t, mafalda.WebRTCTransportOptions{WebRTCServer: x})
		}
		var j journal
		x.Observer().WebRTCTransportUnhandled.On(func(u mafalda.WebRTCTransport) {
			if u == tr {
				j.write("unhandled")
			}
		})
		note(&j, &tr.Observer().Close, "close")
		require.NoError(t, end.Close())
		done(t, tr)
		done(t, end)
		j.requireOrder(t, "unhandled", "close")
	}
}

func testServerCandidates(t *testing.T, s *suite) {
	r := s.room(t)
	x := s.createServer(t, r.worker, listenUDP(), listenTCP(), listenUDP())
	const (
		base = 64<<24 + 255
		step = 100 << 8
		more = 1000 << 8
		top  = 10000 << 8
	)
	type c struct {
		protocol mafalda.Protocol
		priority uint32
	}
	for name, v := range map[string]struct {
		o    mafalda.WebRTCTransportOptions
		want []c
	}{
		"all": {want: []c{{"udp", base + top}, {"tcp", base + top - step}, {"udp", base + top - 2*step}}},
		"udp": {
			o:    mafalda.WebRTCTransportOptions{EnableTCP: new(false)},
			want: []c{{"udp", base + top}, {"udp", base + top - 2*step}},
		},
		"prefer tcp": {
			o:    mafalda.WebRTCTransportOptions{PreferTCP: true},
			want: []c{{"udp", base + top}, {"tcp", base + top - step + more}, {"udp", base + top - 2*step}},
		},
		"prefer udp": {
			o:    mafalda.WebRTCTransportOptions{PreferUDP: true},
			want: []c{{"udp", base + top + more}, {"tcp", base + top - step}, {"udp", base + top - 2*step + more}},
		},
	} {
		v.o.WebRTCServer = x
		var got []c
		for _, x := range r.webRTC(t, v.o).ICECandidates() {
			got = append(got, c{x.Protocol, x.Priority})
		}
		require.Equal(t, v.want, got, name)
	}
	_, err := r.router.CreateWebRTCTransport(t.Context(), mafalda.WebRTCTransportOptions{
		WebRTCServer: x, EnableUDP: new(false), EnableTCP: new(false),
	})
	requireError(t, err, mafalda.ErrInvalidArgument)
}

func testServerNotOurs(t *testing.T, s *suite) {
	a, b := s.room(t), s.room(t)
	of := func(x mafalda.WebRTCServer) error {
		_, err := a.router.CreateWebRTCTransport(t.Context(), mafalda.WebRTCTransportOptions{WebRTCServer: x})
		return err
	}
	requireError(t, of(b.server(t)), mafalda.ErrInvalidArgument)
	requireError(t, of(struct{ mafalda.WebRTCServer }{a.server(t)}), mafalda.ErrInvalidArgument)
	closed := a.server(t)
	require.NoError(t, closed.Close())
	requireError(t, of(closed), mafalda.ErrInvalidState)
	require.Empty(t, a.router.Transports())
}
