package acceptance

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/internal/peer"
)

var iceCases = []testCase{
	{
		name:        "ICE/WrongCredentials",
		explanation: "a check with an unknown username or a wrong password is refused and connects nothing (RFC 8445 §7.3)",
		run:         testICEWrongCredentials,
	},
	{
		name:        "ICE/WithoutNomination",
		explanation: "a check that nominates nothing makes ICE connected, a nomination makes it completed",
		upstream:    []string{"WebRtcTransport 18", "3.19.2"},
		run:         testICEWithoutNomination,
	},
	{
		name:        "ICE/RestartKeepsOldCredentials",
		explanation: "after RestartICE the old credentials work until the new ones are used, and media flows on",
		upstream:    []string{"WebRtcTransport 15", "WebRtcServer 10"},
		run:         testICERestartKeepsOldCredentials,
	},
	{
		name:        "ICE/Migration",
		explanation: "an endpoint whose address changes goes on from the new one after a nominating check, without a handshake, in both directions",
		upstream:    []string{"3.18.1"},
		run:         testICEMigration,
	},
	{
		name:        "ICE/MediaSelectsTuple",
		explanation: "media from a known tuple selects it without nomination; from an unknown one it is ignored",
		upstream:    []string{"3.19.2"},
		run:         testICEMediaSelectsTuple,
	},
	{
		name:        "ICE/ConsentTimeout",
		explanation: "an endpoint that is silent for ICEConsentTimeout makes ICE disconnected, not closed; its next check continues, without a handshake",
		run:         testICEConsentTimeout,
	},
	{
		name:        "ICE/TCPClosed",
		explanation: "when the only TCP connection ends ICE is disconnected, and a new connection continues",
		run:         testICETCPClosed,
	},
	{
		name:        "ICE/ServerDemux",
		explanation: "transports of several Routers share the ports of a WebRTCServer, each with its own endpoint over UDP and TCP",
		upstream:    []string{"WebRtcServer 9"},
		run:         testICEServerDemux,
	},
	{
		name:        "ICE/BeforeConnect",
		explanation: "ICE connects before Connect is called; media follows when DTLS is allowed to",
		run:         testICEBeforeConnect,
	},
}

func testICEWrongCredentials(t *testing.T, s *suite) {
	r := s.room(t)
	server := r.server(t)
	for _, o := range []mafalda.WebRTCTransportOptions{overUDP(), {WebRTCServer: server}} {
		tr := r.webRTC(t, o)
		p, err := peer.New(peer.Config{Keepalive: -1})
		require.NoError(t, err)
		t.Cleanup(p.Close)
		wrong := tr.ICEParameters()
		wrong.Password = "x" + wrong.Password[1:] + "y"
		require.Error(t, p.ConnectICE(within(t, patience), wrong, tr.ICECandidates()), "wrong password")
		require.Equal(t, mafalda.ICEStateNew, tr.ICEState())
		require.NoError(t, p.Check(within(t, patience), tr.ICEParameters()))
		eventually(t, "ICE is completed", func() bool { return tr.ICEState() == mafalda.ICEStateCompleted })
		unknown := tr.ICEParameters()
		unknown.UsernameFragment = "nobody"
		if o.WebRTCServer == nil {
			require.Error(t, p.Check(within(t, patience), unknown))
		}
	}
}

func testICEWithoutNomination(t *testing.T, s *suite) {
	tr := s.room(t).webRTC(t, overUDP())
	states, tuples := hear(t, &tr.Events().ICEStateChange), hear(t, &tr.Events().ICESelectedTupleChange)
	one, err := peer.New(peer.Config{NoNominate: true})
	require.NoError(t, err)
	t.Cleanup(one.Close)
	require.NoError(t, one.ConnectICE(within(t, patience), tr.ICEParameters(), tr.ICECandidates()))
	require.Equal(t, mafalda.ICEStateConnected, receive(t, states, "connected"))
	require.Equal(t, one.LocalAddr().Port(), receive(t, tuples, "the tuple").RemotePort)

	two, err := peer.New(peer.Config{})
	require.NoError(t, err)
	t.Cleanup(two.Close)
	require.NoError(t, two.ConnectICE(within(t, patience), tr.ICEParameters(), tr.ICECandidates()))
	require.Equal(t, mafalda.ICEStateCompleted, receive(t, states, "completed"))
	require.Equal(t, two.LocalAddr().Port(), receive(t, tuples, "the nominated tuple").RemotePort)

	require.NoError(t, one.Check(within(t, patience), tr.ICEParameters()))
	require.Equal(t, two.LocalAddr().Port(), tr.ICESelectedTuple().RemotePort, "a check without nomination selects nothing")
}

func testICERestartKeepsOldCredentials(t *testing.T, s *suite) {
	r := s.room(t)
	for _, o := range []mafalda.WebRTCTransportOptions{overUDP(), {WebRTCServer: r.server(t)}} {
		e := r.webRTCEnd(t, o, peer.Config{Keepalive: -1})
		tr := e.transport.(mafalda.WebRTCTransport)
		out := r.directEnd(t)
		p := e.produce(t, mafalda.MediaKindAudio, audio("", 1))
		c := out.consume(t, r, p)
		src := opusSource(1)
		flows := func(text string) {
			t.Helper()
			e.sendRTP(t, src.packet([]byte(text)))
			require.Equal(t, text, string(out.next(t, c).Payload))
		}
		flows("before")
		old := tr.ICEParameters()
		fresh, err := tr.RestartICE(t.Context())
		require.NoError(t, err)
		require.Equal(t, mafalda.ICEStateCompleted, tr.ICEState())
		flows("restarted")
		require.NoError(t, e.peer.Check(within(t, patience), old), "the old credentials still work")
		flows("old")
		require.NoError(t, e.peer.Check(within(t, patience), fresh))
		flows("new")
		require.Error(t, e.peer.Check(within(t, patience), old), "the new credentials were used")
		flows("still")
		require.Equal(t, mafalda.DTLSStateConnected, tr.DTLSState())
		require.NoError(t, tr.Close())
	}
}

func testICEMigration(t *testing.T, s *suite) {
	r := s.room(t)
	tr := r.webRTC(t, overUDP())
	c := tr.ICECandidates()[0]
	nat := relayTo(t, c.Address, c.Port)
	e := dial(t, tr, peer.Config{Remote: nat.addr(), Keepalive: -1})
	require.Equal(t, nat.source().Port(), tr.ICESelectedTuple().RemotePort)
	dtls := hear(t, &tr.Events().DTLSStateChange)
	tuples := hear(t, &tr.Observer().ICESelectedTupleChange)
	far := r.directEnd(t)
	up := e.produce(t, mafalda.MediaKindAudio, audio("", 1))
	atFar := far.consume(t, r, up)
	down := far.produce(t, mafalda.MediaKindAudio, audio("", 2))
	atEnd := e.consume(t, r, down)
	src, back := opusSource(1), opusSource(2)

	for i := range 3 {
		if i > 0 {
			nat.move()
			require.NoError(t, e.peer.Check(within(t, patience), tr.ICEParameters()))
			require.Equal(t, nat.source().Port(), receive(t, tuples, "the new tuple").RemotePort)
		}
		require.Equal(t, nat.source().Port(), tr.ICESelectedTuple().RemotePort)
		e.sendRTP(t, src.packet([]byte("up")))
		require.Equal(t, "up", string(far.next(t, atFar).Payload))
		far.sendRTP(t, back.packet([]byte("down")))
		require.Equal(t, "down", string(e.next(t, atEnd).Payload))
	}
	require.Equal(t, mafalda.ICEStateCompleted, tr.ICEState())
	require.Empty(t, dtls)
}

func testICEMediaSelectsTuple(t *testing.T, s *suite) {
	r := s.room(t)
	tr := r.webRTC(t, overUDP())
	c := tr.ICECandidates()[0]
	nat := relayTo(t, c.Address, c.Port)
	e := dial(t, tr, peer.Config{Remote: nat.addr(), Keepalive: -1, NoNominate: true})
	far := r.directEnd(t)
	p := e.produce(t, mafalda.MediaKindAudio, audio("", 1))
	atFar := far.consume(t, r, p)
	src := opusSource(1)
	e.sendRTP(t, src.packet([]byte("one")))
	require.Equal(t, "one", string(far.next(t, atFar).Payload))

	first := nat.source()
	nat.move()
	e.sendRTP(t, src.packet([]byte("from an unknown tuple")))
	require.NoError(t, e.peer.Check(within(t, patience), tr.ICEParameters()))
	require.Equal(t, first.Port(), tr.ICESelectedTuple().RemotePort, "nothing was nominated")
	e.sendRTP(t, src.packet([]byte("from a known tuple")))
	require.Equal(t, "from a known tuple", string(far.next(t, atFar).Payload))
	eventually(t, "the media's tuple is selected", func() bool {
		return tr.ICESelectedTuple().RemotePort == nat.source().Port()
	})
}

func testICEConsentTimeout(t *testing.T, s *suite) {
	r := s.room(t)
	o := overUDP()
	o.ICEConsentTimeout = new(10 * time.Second)
	forever := overUDP()
	forever.ICEConsentTimeout = new(time.Duration(0))
	quiet := r.webRTCEnd(t, forever, peer.Config{Keepalive: -1})
	o.ListenInfos, o.WebRTCServer = nil, r.serverOfOnePort(t)
	lively := r.webRTCEnd(t, o, peer.Config{})
	e := r.webRTCEnd(t, o, peer.Config{Keepalive: -1})
	began := time.Now()
	tr := e.transport.(mafalda.WebRTCTransport)
	states := hear(t, &tr.Events().ICEStateChange)
	far := r.directEnd(t)
	up := far.produce(t, mafalda.MediaKindAudio, audio("", 2))
	c := e.consume(t, r, up)
	witness := lively.consume(t, r, up) // on the same port: what has come there has come to c
	src := opusSource(2)
	far.sendRTP(t, src.packet([]byte("before")))
	require.Equal(t, "before", string(e.next(t, c).Payload))

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	select {
	case state := <-states:
		require.Equal(t, mafalda.ICEStateDisconnected, state)
	case <-ctx.Done():
		t.Fatal("ICE never became disconnected")
	}
	require.Greater(t, time.Since(began), 9*time.Second)
	require.Equal(t, mafalda.ICEStateDisconnected, tr.ICEState())
	require.Nil(t, tr.ICESelectedTuple())
	require.False(t, tr.Closed())
	require.Equal(t, mafalda.DTLSStateConnected, tr.DTLSState())
	require.Equal(t, mafalda.ICEStateCompleted, lively.transport.(mafalda.WebRTCTransport).ICEState())
	require.Equal(t, mafalda.ICEStateCompleted, quiet.transport.(mafalda.WebRTCTransport).ICEState())
	far.sendRTP(t, src.packet([]byte("lost")))
	for string(lively.next(t, witness).Payload) != "lost" {
	}
	require.Equal(t, mafalda.ICEStateDisconnected, dumpTransport(t, tr).ICEState)

	require.NoError(t, e.peer.Check(within(t, patience), tr.ICEParameters()))
	require.Equal(t, mafalda.ICEStateCompleted, receive(t, states, "completed again"))
	far.sendRTP(t, src.packet([]byte("after")))
	require.Equal(t, "after", string(e.next(t, c).Payload))
}

func testICETCPClosed(t *testing.T, s *suite) {
	r := s.room(t)
	server := r.server(t)
	for _, o := range []mafalda.WebRTCTransportOptions{
		{ListenInfos: []mafalda.ListenInfo{listenTCP()}}, {WebRTCServer: server},
	} {
		tr := r.webRTC(t, o)
		states := hear(t, &tr.Events().ICEStateChange)
		one, err := peer.New(peer.Config{TCP: true})
		require.NoError(t, err)
		require.NoError(t, one.ConnectICE(within(t, patience), tr.ICEParameters(), tr.ICECandidates()))
		require.Equal(t, mafalda.ICEStateCompleted, receive(t, states, "completed"))
		require.Equal(t, mafalda.ProtocolTCP, tr.ICESelectedTuple().Protocol)
		one.Vanish()
		require.Equal(t, mafalda.ICEStateDisconnected, receive(t, states, "disconnected"))
		require.Nil(t, tr.ICESelectedTuple())
		e := dial(t, tr, peer.Config{TCP: true})
		require.Equal(t, mafalda.ICEStateCompleted, receive(t, states, "completed again"))
		require.Equal(t, e.peer.LocalAddr().Port(), tr.ICESelectedTuple().RemotePort)
	}
}

func testICEServerDemux(t *testing.T, s *suite) {
	a := s.room(t)
	b := newRoom(t, a.worker)
	server := a.server(t)
	type leg struct {
		e *end
		c mafalda.Consumer
		s *source
	}
	var legs []leg
	for i := range 6 {
		r := a
		if i%2 == 1 {
			r = b
		}
		e := r.webRTCEnd(t, mafalda.WebRTCTransportOptions{WebRTCServer: server}, peer.Config{TCP: i >= 3})
		p := e.produce(t, mafalda.MediaKindAudio, audio("", 1)) // the same SSRC for all
		legs = append(legs, leg{e, e.consume(t, r, p), opusSource(1)})
	}
	d := dumpServer(t, server)
	require.Len(t, d.WebRTCTransportIDs, 6)
	require.Len(t, d.LocalICEUsernameFragments, 6)
	for i, l := range legs {
		l.e.sendRTP(t, l.s.packet([]byte{'n', byte('0' + i)}))
	}
	for i, l := range legs {
		require.Equal(t, string([]byte{'n', byte('0' + i)}), string(l.e.next(t, l.c).Payload))
		require.Empty(t, l.e.rtp)
	}
}

func testICEBeforeConnect(t *testing.T, s *suite) {
	r := s.room(t)
	for _, asServer := range []bool{false, true} {
		tr := r.webRTC(t, overUDP())
		p, err := peer.New(peer.Config{Server: asServer})
		require.NoError(t, err)
		t.Cleanup(p.Close)
		require.NoError(t, p.ConnectICE(within(t, patience), tr.ICEParameters(), tr.ICECandidates()))
		eventually(t, "ICE is completed", func() bool { return tr.ICEState() == mafalda.ICEStateCompleted })
		require.NotEqual(t, mafalda.DTLSStateConnected, tr.DTLSState())
		shaken := make(chan error, 1)
		go func() { shaken <- p.Handshake(within(t, patience)) }() // ends within patience
		require.NoError(t, tr.Connect(t.Context(), mafalda.WebRTCTransportConnectOptions{DTLSParameters: p.DTLSParameters()}))
		require.NoError(t, receive(t, shaken, "the handshake"))
		eventually(t, "DTLS is connected", func() bool { return tr.DTLSState() == mafalda.DTLSStateConnected })
	}
}
