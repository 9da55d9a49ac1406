package acceptance

import (
	"context"
	"net/netip"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/internal/peer"
)

var webRTCTransportCases = []testCase{
	{
		name:        "WebRTCTransport/Create",
		explanation: "candidates follow the ListenInfos with what they announce and falling priority; ICE and DTLS are new; the dump agrees with the getters",
		upstream:    []string{"WebRtcTransport 1"},
		run:         testWebRTCTransportCreate,
	},
	{
		name:        "WebRTCTransport/WrongArguments",
		explanation: "wrong options are ErrInvalidArgument",
		upstream:    []string{"WebRtcTransport 5"},
		run:         testWebRTCTransportWrongArguments,
	},
	{
		name:        "WebRTCTransport/Connect",
		explanation: "Connect takes effect once and settles the DTLS role: the server of a client, the client of a server or of who leaves it open",
		upstream:    []string{"WebRtcTransport 8"},
		run:         testWebRTCTransportConnect,
	},
	{
		name:        "WebRTCTransport/ConnectWrongArguments",
		explanation: "a wrong Connect is ErrInvalidArgument, changes nothing and may be repeated",
		upstream:    []string{"WebRtcTransport 9"},
		run:         testWebRTCTransportConnectWrongArguments,
	},
	{
		name:        "WebRTCTransport/MaxIncomingBitrate",
		explanation: "a limit can be set and lifted and is in the stats; a negative one is ErrInvalidArgument",
		upstream:    []string{"WebRtcTransport 10"},
		run:         testWebRTCTransportMaxIncomingBitrate,
	},
	{
		name:        "WebRTCTransport/RestartICE",
		explanation: "RestartICE returns new credentials, which the getter then has",
		upstream:    []string{"WebRtcTransport 15"},
		run:         testWebRTCTransportRestartICE,
	},
	{
		name:        "WebRTCTransport/Events",
		explanation: "ICE, its tuple and DTLS tell their changes to Events and Observer, with the getters up to date and in order",
		upstream:    []string{"WebRtcTransport 18"},
		run:         testWebRTCTransportEvents,
	},
	{
		name:        "WebRTCTransport/CloseStates",
		explanation: "a closed transport has closed states and no tuple, whatever closed it, and tells no state by event",
		upstream:    []string{"WebRtcTransport 19", "WebRtcTransport 20", "WebRtcTransport 21"},
		run:         testWebRTCTransportCloseStates,
	},
	{
		name:        "WebRTCTransport/ClosePeer",
		explanation: "closing a connected transport ends DTLS: the peer hears close_notify",
		run:         testWebRTCTransportClosePeer,
	},
}

func dumpTransport(t testing.TB, tr mafalda.Transport) mafalda.TransportDump {
	t.Helper()
	d, err := tr.Dump(t.Context())
	require.NoError(t, err)
	return d
}

func testWebRTCTransportCreate(t *testing.T, s *suite) {
	r := s.room(t)
	ports := mafalda.PortRange{Min: 24000, Max: 25000}
	any4 := netip.IPv4Unspecified()
	infos := []mafalda.ListenInfo{
		{Protocol: "udp", IP: loopback, AnnouncedAddress: "9.9.9.1", PortRange: ports},
		{Protocol: "tcp", IP: loopback, AnnouncedAddress: "9.9.9.1", PortRange: ports},
		{Protocol: "udp", IP: any4, AnnouncedAddress: "foo1.bar.org", PortRange: ports},
		{Protocol: "tcp", IP: any4, AnnouncedAddress: "foo2.bar.org", PortRange: ports},
		{Protocol: "udp", IP: loopback, PortRange: ports},
		{Protocol: "tcp", IP: loopback, PortRange: ports},
	}
	var seen []mafalda.Transport
	r.router.Observer().NewTransport.On(func(tr mafalda.Transport) { seen = append(seen, tr) })
	tr := r.webRTC(t, mafalda.WebRTCTransportOptions{ListenInfos: infos, AppData: "foo"})
	require.Equal(t, []mafalda.Transport{tr}, seen)
	require.NotEmpty(t, tr.ID())
	require.False(t, tr.Closed())
	require.Equal(t, "foo", tr.AppData())
	require.Equal(t, mafalda.ICERoleControlled, tr.ICERole())
	ice := tr.ICEParameters()
	require.True(t, ice.ICELite)
	require.NotEmpty(t, ice.UsernameFragment)
	require.NotEmpty(t, ice.Password)

	candidates := tr.ICECandidates()
	require.Len(t, candidates, 6)
	used := map[mafalda.ICECandidate]bool{}
	for i, c := range candidates {
		want := infos[i].AnnouncedAddress
		if want == "" {
			want = infos[i].IP.String()
		}
		require.Equal(t, want, c.Address)
		require.Equal(t, want, c.IP)
		require.Equal(t, infos[i].Protocol, c.Protocol)
		require.GreaterOrEqual(t, c.Port, ports.Min)
		require.LessOrEqual(t, c.Port, ports.Max)
		require.Equal(t, "host", c.Type)
		require.NotEmpty(t, c.Foundation)
		tcpType := ""
		if c.Protocol == mafalda.ProtocolTCP {
			tcpType = "passive"
		}
		require.Equal(t, tcpType, c.TCPType)
		if i > 0 {
			require.Less(t, c.Priority, candidates[i-1].Priority)
		}
		used[c] = true
	}
	require.Len(t, used, 6)
	require.Equal(t, mafalda.ICEStateNew, tr.ICEState())
	require.Nil(t, tr.ICESelectedTuple())
	require.Equal(t, mafalda.DTLSRoleAuto, tr.DTLSParameters().Role)
	require.NotEmpty(t, tr.DTLSParameters().Fingerprints)
	require.Equal(t, mafalda.DTLSStateNew, tr.DTLSState())
	require.Empty(t, tr.DTLSRemoteCert())

	d := dumpTransport(t, tr)
	require.Equal(t, tr.ID(), d.ID)
	require.Empty(t, d.ProducerIDs)
	require.Empty(t, d.ConsumerIDs)
	require.Equal(t, tr.ICERole(), d.ICERole)
	require.Equal(t, &ice, d.ICEParameters)
	require.Equal(t, candidates, d.ICECandidates)
	require.Equal(t, tr.ICEState(), d.ICEState)
	require.Equal(t, new(tr.DTLSParameters()), d.DTLSParameters)
	require.Equal(t, tr.DTLSState(), d.DTLSState)
	require.Nil(t, d.Tuple)
	require.NoError(t, tr.Close())
	require.True(t, tr.Closed())
}

func testWebRTCTransportWrongArguments(t *testing.T, s *suite) {
	r := s.room(t)
	ranged := listenUDP()
	ranged.PortRange = mafalda.PortRange{Min: 3000, Max: 2999}
	noIP := mafalda.ListenInfo{Protocol: "udp"}
	for name, o := range map[string]mafalda.WebRTCTransportOptions{
		"nothing":         {},
		"no address":      {ListenInfos: []mafalda.ListenInfo{}},
		"port range":      {ListenInfos: []mafalda.ListenInfo{ranged}},
		"no IP":           {ListenInfos: []mafalda.ListenInfo{noIP}},
		"protocol":        {ListenInfos: []mafalda.ListenInfo{{Protocol: "chicken", IP: loopback}}},
		"consent timeout": {ListenInfos: []mafalda.ListenInfo{listenUDP()}, ICEConsentTimeout: new(time.Second)},
		"long timeout":    {ListenInfos: []mafalda.ListenInfo{listenUDP()}, ICEConsentTimeout: new(time.Hour)},
		"negative":        {ListenInfos: []mafalda.ListenInfo{listenUDP()}, ICEConsentTimeout: new(-time.Second)},
	} {
		_, err := r.router.CreateWebRTCTransport(t.Context(), o)
		requireErrorIn(t, name, err, mafalda.ErrInvalidArgument)
	}
	require.Empty(t, r.router.Transports())
	for _, d := range []time.Duration{0, 10 * time.Second, time.Minute} {
		o := overUDP()
		o.ICEConsentTimeout = &d
		r.webRTC(t, o)
	}
}

// fingerprint is one that no certificate has.
func fingerprint(algorithm mafalda.FingerprintAlgorithm) mafalda.DTLSFingerprint {
	return mafalda.DTLSFingerprint{
		Algorithm: algorithm,
		Value: "82:5A:68:3D:36:C3:0A:DE:AF:E7:32:43:D2:88:83:57:" +
			"AC:2D:65:E5:80:C4:B6:FB:AF:1A:A0:21:9F:6D:0C:AD",
	}
}

func connectOptions(role mafalda.DTLSRole, f ...mafalda.DTLSFingerprint) mafalda.WebRTCTransportConnectOptions {
	return mafalda.WebRTCTransportConnectOptions{
		DTLSParameters: mafalda.DTLSParameters{Role: role, Fingerprints: f},
	}
}

func testWebRTCTransportConnect(t *testing.T, s *suite) {
	r := s.room(t)
	for remote, local := range map[mafalda.DTLSRole]mafalda.DTLSRole{
		mafalda.DTLSRoleClient: mafalda.DTLSRoleServer,
		mafalda.DTLSRoleServer: mafalda.DTLSRoleClient,
		mafalda.DTLSRoleAuto:   mafalda.DTLSRoleClient,
		"":                     mafalda.DTLSRoleClient,
	} {
		tr := r.webRTC(t, overUDP())
		o := connectOptions(remote, fingerprint(mafalda.FingerprintSHA256))
		require.NoError(t, tr.Connect(t.Context(), o))
		require.Equal(t, local, tr.DTLSParameters().Role, "of the other side: %q", remote)
		requireError(t, tr.Connect(t.Context(), o), mafalda.ErrInvalidState)
		require.NotErrorIs(t, tr.Connect(t.Context(), o), mafalda.ErrClosed)
		require.Equal(t, local, tr.DTLSParameters().Role)
	}
}

func testWebRTCTransportConnectWrongArguments(t *testing.T, s *suite) {
	tr := s.room(t).webRTC(t, overUDP())
	good := fingerprint(mafalda.FingerprintSHA256)
	short, text := good, good
	short.Value = "82:5A"
	text.Value = "chicken"
	for name, o := range map[string]mafalda.WebRTCTransportConnectOptions{
		"nothing":         {},
		"no fingerprints": connectOptions(mafalda.DTLSRoleClient),
		"algorithm":       connectOptions(mafalda.DTLSRoleClient, fingerprint("sha-256000")),
		"role":            connectOptions("chicken", good),
		"length":          connectOptions(mafalda.DTLSRoleClient, short),
		"text":            connectOptions(mafalda.DTLSRoleClient, text),
		"other length":    connectOptions(mafalda.DTLSRoleClient, fingerprint(mafalda.FingerprintSHA1)),
	} {
		requireErrorIn(t, name, tr.Connect(t.Context(), o), mafalda.ErrInvalidArgument)
		require.Equal(t, mafalda.DTLSRoleAuto, tr.DTLSParameters().Role, name)
	}
	require.NoError(t, tr.Connect(t.Context(), connectOptions(mafalda.DTLSRoleClient, good)))
}

func testWebRTCTransportMaxIncomingBitrate(t *testing.T, s *suite) {
	tr := s.room(t).webRTC(t, overUDP())
	require.NoError(t, tr.SetMaxIncomingBitrate(t.Context(), 1_000_000))
	require.Equal(t, 1_000_000, transportStats(t, tr).MaxIncomingBitrate)
	requireError(t, tr.SetMaxIncomingBitrate(t.Context(), -1), mafalda.ErrInvalidArgument)
	require.Equal(t, 1_000_000, transportStats(t, tr).MaxIncomingBitrate)
	require.NoError(t, tr.SetMaxIncomingBitrate(t.Context(), 0))
	require.Zero(t, transportStats(t, tr).MaxIncomingBitrate)
}

func testWebRTCTransportRestartICE(t *testing.T, s *suite) {
	tr := s.room(t).webRTC(t, overUDP())
	old := tr.ICEParameters()
	fresh, err := tr.RestartICE(t.Context())
	require.NoError(t, err)
	require.NotEqual(t, old.UsernameFragment, fresh.UsernameFragment)
	require.NotEqual(t, old.Password, fresh.Password)
	require.True(t, fresh.ICELite)
	require.Equal(t, fresh, tr.ICEParameters())
	require.Equal(t, &fresh, dumpTransport(t, tr).ICEParameters)
}

func testWebRTCTransportEvents(t *testing.T, s *suite) {
	r := s.room(t)
	tr := r.webRTC(t, overUDP())
	var j, o journal
	tr.Events().ICEStateChange.On(func(v mafalda.ICEState) {
		j.write("ice " + string(v))
		if got := tr.ICEState(); got != v {
			t.Errorf("ICEState is %s in the event %s", got, v)
		}
	})
	tr.Events().ICESelectedTupleChange.On(func(v mafalda.TransportTuple) {
		j.write("tuple")
		if got := tr.ICESelectedTuple(); got == nil || *got != v {
			t.Errorf("ICESelectedTuple is %v in the event %v", got, v)
		}
	})
	tr.Events().DTLSStateChange.On(func(v mafalda.DTLSState) {
		j.write("dtls " + string(v))
		if v == mafalda.DTLSStateConnected && tr.DTLSRemoteCert() == "" {
			t.Error("DTLSRemoteCert is empty in the event connected")
		}
	})
	tr.Observer().ICEStateChange.On(func(v mafalda.ICEState) { o.write("ice " + string(v)) })
	note(&o, &tr.Observer().ICESelectedTupleChange, "tuple")
	tr.Observer().DTLSStateChange.On(func(v mafalda.DTLSState) { o.write("dtls " + string(v)) })

	e := dial(t, tr, peer.Config{})
	want := []string{"tuple", "ice completed", "dtls connecting", "dtls connected"}
	eventually(t, "all events", func() bool { return len(o.read()) >= len(want) })
	require.Equal(t, want, j.read())
	require.Equal(t, want, o.read())
	local := tr.ICECandidates()[0]
	require.Equal(t, &mafalda.TransportTuple{
		LocalIP: "127.0.0.1", LocalAddress: "127.0.0.1", LocalPort: local.Port,
		RemoteIP: "127.0.0.1", RemotePort: e.peer.LocalAddr().Port(), Protocol: mafalda.ProtocolUDP,
	}, tr.ICESelectedTuple())
	d := dumpTransport(t, tr)
	require.Equal(t, mafalda.ICEStateCompleted, d.ICEState)
	require.Equal(t, mafalda.DTLSStateConnected, d.DTLSState)
}

func testWebRTCTransportCloseStates(t *testing.T, s *suite) {
	r := s.room(t)
	second := newRoom(t, r.worker)
	for name, v := range map[string]struct {
		r   *room
		end func(mafalda.WebRTCTransport) mafalda.Lifetime
	}{
		"1 transport": {r, func(tr mafalda.WebRTCTransport) mafalda.Lifetime { return tr }},
		"2 router":    {second, func(mafalda.WebRTCTransport) mafalda.Lifetime { return second.router }},
	} {
		tr := v.r.webRTC(t, overUDP())
		dial(t, tr, peer.Config{})
		requireClosedStates(t, name, tr, v.end(tr))
	}
	tr := r.webRTC(t, overUDP())
	requireClosedStates(t, "worker", tr, r.worker)
}

func requireClosedStates(t testing.TB, name string, tr mafalda.WebRTCTransport, what mafalda.Lifetime) {
	t.Helper()
	states, dtls := hear(t, &tr.Events().ICEStateChange), hear(t, &tr.Events().DTLSStateChange)
	var inside []any
	tr.Observer().Close.On(func(struct{}) {
		inside = []any{tr.ICEState(), tr.DTLSState(), tr.ICESelectedTuple() == nil}
	})
	require.NoError(t, what.Close())
	done(t, tr)
	require.Equal(t, []any{mafalda.ICEStateClosed, mafalda.DTLSStateClosed, true}, inside, name)
	require.Equal(t, mafalda.ICEStateClosed, tr.ICEState(), name)
	require.Equal(t, mafalda.DTLSStateClosed, tr.DTLSState(), name)
	require.Nil(t, tr.ICESelectedTuple(), name)
	require.Empty(t, states, name)
	require.Empty(t, dtls, name)
}

func testWebRTCTransportClosePeer(t *testing.T, s *suite) {
	r := s.room(t)
	for range 5 { // it is one datagram, which may get lost
		e := r.webRTCEnd(t, overUDP(), peer.Config{})
		require.NoError(t, e.transport.Close())
		select {
		case <-e.peer.DTLSClosed():
			return
		case <-time.After(time.Second):
		}
	}
	t.Fatal("no peer heard close_notify")
}

// upperHex is how our fingerprints are written.
var upperHex = regexp.MustCompile(`^([0-9A-F]{2}:)+[0-9A-F]{2}$`)

// within returns a context for one step that may take its time.
func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
