package acceptance

import (
	"encoding/base64"
	"errors"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
)

var plainTransportCases = []testCase{
	{
		name:        "PlainTransport/Create",
		explanation: "the local part of the tuples is there from the beginning, RTCPTuple without RTCPMux only; the dump agrees with the getters",
		upstream:    []string{"PlainTransport 1"},
		run:         testPlainCreate,
	},
	{
		name:        "PlainTransport/WrongArguments",
		explanation: "wrong options are ErrInvalidArgument; UDP is the only protocol",
		upstream:    []string{"PlainTransport 2"},
		run:         testPlainWrongArguments,
	},
	{
		name:        "PlainTransport/Connect",
		explanation: "Connect gives the tuples their remote part, once; a second call is ErrInvalidState",
		upstream:    []string{"PlainTransport 8"},
		run:         testPlainConnect,
	},
	{
		name:        "PlainTransport/ConnectWrongArguments",
		explanation: "a wrong Connect is ErrInvalidArgument, changes nothing and may be repeated",
		upstream:    []string{"PlainTransport 9"},
		run:         testPlainConnectWrongArguments,
	},
	{
		name:        "PlainTransport/SRTPParameters",
		explanation: "SRTP has a key of the chosen suite; the endpoint's suite wins; wrong parameters are ErrInvalidArgument and may be corrected",
		upstream:    []string{"PlainTransport 3"},
		run:         testPlainSRTPParameters,
	},
	{
		name:        "PlainTransport/MaxIncomingBitrate",
		explanation: "a limit can be set on a PlainTransport",
		upstream:    []string{"WebRtcTransport 10"},
		run:         testPlainMaxIncomingBitrate,
	},
}

func testPlainCreate(t *testing.T, s *suite) {
	r := s.room(t)
	l := listenUDP()
	l.AnnouncedAddress = "4.4.4.4"
	l.PortRange = mafalda.PortRange{Min: 23000, Max: 23999}
	tr := r.plain(t, mafalda.PlainTransportOptions{ListenInfo: l, AppData: "foo"})
	require.Equal(t, []mafalda.Transport{tr}, r.router.Transports())
	require.Equal(t, "foo", tr.AppData())
	require.False(t, tr.Closed())
	tuple := tr.Tuple()
	require.Equal(t, "4.4.4.4", tuple.LocalAddress)
	require.Equal(t, "4.4.4.4", tuple.LocalIP)
	require.GreaterOrEqual(t, tuple.LocalPort, l.PortRange.Min)
	require.LessOrEqual(t, tuple.LocalPort, l.PortRange.Max)
	require.Empty(t, tuple.RemoteIP)
	require.Zero(t, tuple.RemotePort)
	require.Equal(t, mafalda.ProtocolUDP, tuple.Protocol)
	require.Nil(t, tr.RTCPTuple())
	require.Nil(t, tr.SRTPParameters())
	d := dumpTransport(t, tr)
	require.Equal(t, tr.ID(), d.ID)
	require.Equal(t, &tuple, d.Tuple)
	require.Nil(t, d.RTCPTuple)
	require.Nil(t, d.SRTPParameters)
	require.Equal(t, new(true), d.RTCPMux)
	require.Equal(t, new(false), d.Comedia)
	require.Empty(t, d.ProducerIDs)
	require.Empty(t, d.ConsumerIDs)
	require.Empty(t, d.ICEState)
	require.NoError(t, tr.Close())

	rtp, rtcp := listenUDP(), listenUDP()
	rtp.Port, rtcp.Port = freePort(t), freePort(t)
	two := r.plain(t, mafalda.PlainTransportOptions{ListenInfo: rtp, RTCPListenInfo: &rtcp})
	require.Nil(t, two.AppData())
	require.Equal(t, rtp.Port, two.Tuple().LocalPort)
	require.Equal(t, rtcp.Port, two.RTCPTuple().LocalPort)
	d = dumpTransport(t, two)
	require.Equal(t, new(false), d.RTCPMux)
	require.Equal(t, two.RTCPTuple(), d.RTCPTuple)

	twice := r.plain(t, mafalda.PlainTransportOptions{RTCPMux: new(false), Comedia: true})
	require.NotEqual(t, twice.Tuple().LocalPort, twice.RTCPTuple().LocalPort)
	require.Equal(t, new(true), dumpTransport(t, twice).Comedia)
}

func testPlainWrongArguments(t *testing.T, s *suite) {
	r := s.room(t)
	ranged := listenUDP()
	ranged.PortRange = mafalda.PortRange{Min: 3000, Max: 2999}
	for name, o := range map[string]mafalda.PlainTransportOptions{
		"nothing":       {},
		"port range":    {ListenInfo: ranged},
		"TCP":           {ListenInfo: listenTCP()},
		"RTCP over TCP": {ListenInfo: listenUDP(), RTCPListenInfo: new(listenTCP())},
		"RTCP range":    {ListenInfo: listenUDP(), RTCPListenInfo: &ranged},
		"SRTP suite":    {ListenInfo: listenUDP(), EnableSRTP: true, SRTPCryptoSuite: "chicken"},
	} {
		_, err := r.router.CreatePlainTransport(t.Context(), o)
		requireErrorIn(t, name, err, mafalda.ErrInvalidArgument)
	}
	require.Empty(t, r.router.Transports())
}

func testPlainConnect(t *testing.T, s *suite) {
	r := s.room(t)
	tr := r.plain(t, mafalda.PlainTransportOptions{RTCPMux: new(false)})
	tuples, rtcpTuples := hear(t, &tr.Events().Tuple), hear(t, &tr.Events().RTCPTuple)
	o := mafalda.PlainTransportConnectOptions{IP: loopback, Port: 9999, RTCPPort: 9998}
	require.NoError(t, tr.Connect(t.Context(), o))
	requireError(t, tr.Connect(t.Context(), o), mafalda.ErrInvalidState)
	require.Equal(t, "127.0.0.1", tr.Tuple().RemoteIP)
	require.Equal(t, uint16(9999), tr.Tuple().RemotePort)
	require.Equal(t, "127.0.0.1", tr.RTCPTuple().RemoteIP)
	require.Equal(t, uint16(9998), tr.RTCPTuple().RemotePort)
	require.Equal(t, new(tr.Tuple()), dumpTransport(t, tr).Tuple)
	require.Empty(t, tuples, "what Connect does is no event")
	require.Empty(t, rtcpTuples)
}

func testPlainConnectWrongArguments(t *testing.T, s *suite) {
	r := s.room(t)
	mux := r.plain(t, mafalda.PlainTransportOptions{})
	split := r.plain(t, mafalda.PlainTransportOptions{RTCPMux: new(false)})
	type o = mafalda.PlainTransportConnectOptions
	key := srtpKey(mafalda.SRTPAES128CM80, 1)
	for name, v := range map[string]struct {
		tr mafalda.PlainTransport
		o  o
	}{
		"nothing":      {mux, o{}},
		"no port":      {mux, o{IP: loopback}},
		"no IP":        {mux, o{Port: 1234}},
		"RTCP port":    {mux, o{IP: loopback, Port: 1234, RTCPPort: 1235}},
		"no RTCP port": {split, o{IP: loopback, Port: 1234}},
		"SRTP":         {mux, o{IP: loopback, Port: 1234, SRTPParameters: &key}},
		"bad SRTP":     {mux, o{IP: loopback, Port: 1234, SRTPParameters: new(mafalda.SRTPParameters)}},
	} {
		requireErrorIn(t, name, v.tr.Connect(t.Context(), v.o), mafalda.ErrInvalidArgument)
		require.Empty(t, v.tr.Tuple().RemoteIP, name)
		require.Zero(t, v.tr.Tuple().RemotePort, name)
	}
	require.NoError(t, mux.Connect(t.Context(), o{IP: loopback, Port: 1234}))
	comedia := r.plain(t, mafalda.PlainTransportOptions{Comedia: true})
	require.NoError(t, comedia.Connect(t.Context(), o{IP: loopback, Port: 1234}), "it is allowed, once")
	require.Empty(t, comedia.Tuple().RemoteIP, "but the address is learned")
	requireError(t, comedia.Connect(t.Context(), o{}), mafalda.ErrInvalidState)
	require.NoError(t, split.Connect(t.Context(), o{IP: loopback, Port: 1234, RTCPPort: 1235}))
}

func testPlainSRTPParameters(t *testing.T, s *suite) {
	r := s.room(t)
	tr := r.plain(t, mafalda.PlainTransportOptions{EnableSRTP: true})
	own := tr.SRTPParameters()
	require.Equal(t, mafalda.SRTPAES128CM80, own.CryptoSuite)
	require.Len(t, own.KeyBase64, 40)
	require.Equal(t, own, dumpTransport(t, tr).SRTPParameters)

	type o = mafalda.PlainTransportConnectOptions
	short := srtpKey(mafalda.SRTPAES128CM80, 1)
	short.KeyBase64 = base64.StdEncoding.EncodeToString(make([]byte, 29))
	for name, p := range map[string]*mafalda.SRTPParameters{
		"missing":  nil,
		"empty":    {},
		"no suite": {KeyBase64: srtpKey(mafalda.SRTPAES128CM80, 1).KeyBase64},
		"no key":   {CryptoSuite: mafalda.SRTPAES128CM80},
		"suite":    {CryptoSuite: "FOO", KeyBase64: srtpKey(mafalda.SRTPAES128CM80, 1).KeyBase64},
		"base64":   {CryptoSuite: mafalda.SRTPAES128CM80, KeyBase64: "ÄÖ!"},
		"length":   &short,
		"of other": {CryptoSuite: mafalda.SRTPAES256GCM, KeyBase64: srtpKey(mafalda.SRTPAES128CM80, 1).KeyBase64},
	} {
		err := tr.Connect(t.Context(), o{IP: loopback, Port: 9999, SRTPParameters: p})
		requireErrorIn(t, name, err, mafalda.ErrInvalidArgument)
		require.Equal(t, own, tr.SRTPParameters(), name)
	}
	require.NoError(t, tr.Connect(t.Context(), o{
		IP: loopback, Port: 9999, SRTPParameters: new(srtpKey(mafalda.SRTPAES256GCM, 1)),
	}))
	require.Equal(t, mafalda.SRTPAES256GCM, tr.SRTPParameters().CryptoSuite)
	require.Len(t, tr.SRTPParameters().KeyBase64, 60)

	for suite, n := range masterLength {
		same := r.plain(t, mafalda.PlainTransportOptions{EnableSRTP: true, SRTPCryptoSuite: suite})
		before := same.SRTPParameters()
		require.Equal(t, suite, before.CryptoSuite)
		key, err := base64.StdEncoding.DecodeString(before.KeyBase64)
		require.NoError(t, err)
		require.Len(t, key, n)
		require.NoError(t, same.Connect(t.Context(), o{IP: loopback, Port: 9999, SRTPParameters: new(srtpKey(suite, 1))}))
		require.Equal(t, before, same.SRTPParameters(), "the same suite keeps the key")
	}
}

func testPlainMaxIncomingBitrate(t *testing.T, s *suite) {
	r := s.room(t)
	tr := r.plain(t, mafalda.PlainTransportOptions{})
	require.NoError(t, tr.SetMaxIncomingBitrate(t.Context(), 500_000))
	require.Equal(t, 500_000, transportStats(t, tr).MaxIncomingBitrate)
	require.NoError(t, tr.SetMaxIncomingBitrate(t.Context(), 0))
	requireError(t, tr.SetMaxIncomingBitrate(t.Context(), -5), mafalda.ErrInvalidArgument)
	requireError(t, r.direct(t).SetMaxIncomingBitrate(t.Context(), 500_000), errors.ErrUnsupported)
}

var plainMediaCases = []testCase{
	{
		name:        "PlainTransport/Comedia",
		explanation: "with Comedia the first packet's source is the endpoint: Tuple is emitted once, media goes there, other sources are ignored",
		upstream:    []string{"PlainTransport 1"},
		run:         testPlainComedia,
	},
	{
		name:        "PlainTransport/ComediaRTCP",
		explanation: "with Comedia and without RTCPMux each port learns its own source",
		run:         testPlainComediaRTCP,
	},
	{
		name:        "PlainTransport/ComediaMuxedRTCP",
		explanation: "with Comedia and RTCPMux an RTCP packet teaches the address too",
		run:         testPlainComediaMuxedRTCP,
	},
	{
		name:        "PlainTransport/OtherSources",
		explanation: "a connected transport ignores packets from elsewhere",
		upstream:    []string{"PlainTransport 8"},
		run:         testPlainOtherSources,
	},
	{
		name:        "PlainTransport/SRTPWrongKey",
		explanation: "packets under another key, altered packets and replayed ones are dropped",
		run:         testPlainSRTPWrongKey,
	},
	{
		name:        "PlainTransport/ComediaSRTP",
		explanation: "with Comedia and SRTP Connect needs the keys alone, and the address is learned from the first packet that is authentic",
		upstream:    []string{"PlainTransport 3"},
		run:         testPlainComediaSRTP,
	},
}

func testPlainComedia(t *testing.T, s *suite) {
	r := s.room(t)
	e := r.plainEnd(t, mafalda.PlainTransportOptions{Comedia: true})
	tr := e.transport.(mafalda.PlainTransport)
	var j journal
	tr.Events().Tuple.On(func(v mafalda.TransportTuple) {
		j.write("tuple")
		if got := tr.Tuple(); got != v {
			t.Errorf("Tuple is %v in the event %v", got, v)
		}
	})
	observed := hear(t, &tr.Observer().Tuple)
	far := r.directEnd(t)
	p := e.produce(t, mafalda.MediaKindAudio, audio("", 1))
	c := far.consume(t, r, p)
	down := far.produce(t, mafalda.MediaKindAudio, audio("", 2))
	back := e.consume(t, r, down)
	src, ret := opusSource(1), opusSource(2)
	far.sendRTP(t, ret.packet([]byte("to nobody yet")))
	require.Empty(t, dumpTransport(t, tr).Tuple.RemoteIP) // the loop answers after that packet

	e.sendRTP(t, src.packet([]byte("hello")))
	require.Equal(t, "hello", string(far.next(t, c).Payload))
	tuple := receive(t, observed, "the tuple")
	require.Equal(t, "127.0.0.1", tuple.RemoteIP)
	require.Equal(t, addrOf(e.packet.rtp).Port(), tuple.RemotePort)
	require.Equal(t, tuple, tr.Tuple())

	other := openUDP(t, loopback)
	_, err := other.WriteToUDPAddrPort(marshal(t, src.packet([]byte("from elsewhere"))), e.packet.to)
	require.NoError(t, err)
	_, err = other.WriteToUDPAddrPort(marshalRTCP(t, senderReport(1, 1, 1)), e.packet.to)
	require.NoError(t, err)
	e.sendRTP(t, src.packet([]byte("again")))
	require.Equal(t, "again", string(far.next(t, c).Payload))
	far.sendRTP(t, ret.packet([]byte("back")))
	got := e.next(t, back)
	if s.Pipes > 0 && string(got.Payload) == "to nobody yet" { // it was in one all the time
		got = e.next(t, back)
	}
	require.Equal(t, "back", string(got.Payload))
	require.Equal(t, []string{"tuple"}, j.read())
	require.Equal(t, tuple, tr.Tuple())
}

func testPlainComediaRTCP(t *testing.T, s *suite) {
	r := s.room(t)
	e := r.plainEnd(t, mafalda.PlainTransportOptions{Comedia: true, RTCPMux: new(false)})
	tr := e.transport.(mafalda.PlainTransport)
	tuples, rtcpTuples := hear(t, &tr.Events().Tuple), hear(t, &tr.Events().RTCPTuple)
	e.produce(t, mafalda.MediaKindAudio, audio("", 1))
	e.sendRTP(t, opusSource(1).packet([]byte("hello")))
	require.Equal(t, addrOf(e.packet.rtp).Port(), receive(t, tuples, "the tuple").RemotePort)
	require.Empty(t, rtcpTuples)
	e.sendRTCP(t, senderReport(1, 0, 0))
	require.Equal(t, addrOf(e.packet.rtcp).Port(), receive(t, rtcpTuples, "the RTCP tuple").RemotePort)
	require.Equal(t, addrOf(e.packet.rtcp).Port(), tr.RTCPTuple().RemotePort)
	require.Empty(t, tuples)
}

func testPlainComediaMuxedRTCP(t *testing.T, s *suite) {
	r := s.room(t)
	e := r.plainEnd(t, mafalda.PlainTransportOptions{Comedia: true})
	tuples := hear(t, &e.transport.Events().Tuple)
	e.sendRTCP(t, senderReport(1, 0, 0))
	require.Equal(t, addrOf(e.packet.rtp).Port(), receive(t, tuples, "the tuple").RemotePort)
}

func testPlainOtherSources(t *testing.T, s *suite) {
	r := s.room(t)
	e := r.plainEnd(t, mafalda.PlainTransportOptions{})
	far := r.directEnd(t)
	c := far.consume(t, r, e.produce(t, mafalda.MediaKindAudio, audio("", 1)))
	src := opusSource(1)
	other := openUDP(t, loopback)
	_, err := other.WriteToUDPAddrPort(marshal(t, src.packet([]byte("from elsewhere"))), e.packet.to)
	require.NoError(t, err)
	e.sendRTP(t, src.packet([]byte("from the endpoint")))
	require.Equal(t, "from the endpoint", string(far.next(t, c).Payload))
	require.Equal(t, addrOf(e.packet.rtp), netip.AddrPortFrom(loopback, e.transport.(mafalda.PlainTransport).Tuple().RemotePort))
}

func testPlainSRTPWrongKey(t *testing.T, s *suite) {
	r := s.room(t)
	for suite := range masterLength {
		e := r.plainEnd(t, mafalda.PlainTransportOptions{EnableSRTP: true, SRTPCryptoSuite: suite})
		far := r.directEnd(t)
		c := far.consume(t, r, e.produce(t, mafalda.MediaKindAudio, audio("", 1)))
		src := opusSource(1)
		write := func(b []byte) {
			t.Helper()
			_, err := e.packet.rtp.WriteToUDPAddrPort(b, e.packet.to)
			require.NoError(t, err)
		}
		good, err := e.packet.tx.EncryptRTP(nil, marshal(t, src.packet([]byte("good"))), nil)
		require.NoError(t, err)
		write(good)
		require.Equal(t, "good", string(far.next(t, c).Payload))
		write(good)
		foreign := srtpContext(t, srtpKey(suite, 99))
		b, err := foreign.EncryptRTP(nil, marshal(t, src.packet([]byte("foreign"))), nil)
		require.NoError(t, err)
		write(b)
		b, err = e.packet.tx.EncryptRTP(nil, marshal(t, src.packet([]byte("altered"))), nil)
		require.NoError(t, err)
		b[len(b)-1] ^= 1
		write(b)
		write(marshal(t, src.packet([]byte("in clear"))))
		e.sendRTP(t, src.packet([]byte("good too")))
		require.Equal(t, "good too", string(far.next(t, c).Payload), suite)
	}
}

func testPlainComediaSRTP(t *testing.T, s *suite) {
	r := s.room(t)
	e := r.plainEnd(t, mafalda.PlainTransportOptions{EnableSRTP: true, Comedia: true})
	tr := e.transport.(mafalda.PlainTransport)
	tuples := hear(t, &tr.Events().Tuple)
	far := r.directEnd(t)
	c := far.consume(t, r, e.produce(t, mafalda.MediaKindAudio, audio("", 1)))
	src := opusSource(1)
	other := openUDP(t, loopback)
	_, err := other.WriteToUDPAddrPort(marshal(t, src.packet([]byte("in clear"))), e.packet.to)
	require.NoError(t, err)
	e.sendRTP(t, src.packet([]byte("authentic")))
	require.Equal(t, "authentic", string(far.next(t, c).Payload))
	require.Equal(t, addrOf(e.packet.rtp).Port(), receive(t, tuples, "the tuple").RemotePort)
}
