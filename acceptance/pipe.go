package acceptance

import (
	"encoding/base64"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
)

var pipeTransportCases = []testCase{
	{
		name:        "PipeTransport/Create",
		explanation: "the local part of the tuple is there from the beginning; dump and stats agree with the getters",
		upstream:    []string{"PipeTransport 8"},
		run:         testPipeCreate,
	},
	{
		name:        "PipeTransport/WrongArguments",
		explanation: "wrong options are ErrInvalidArgument; UDP is the only protocol",
		upstream:    []string{"PipeTransport 3"},
		run:         testPipeWrongArguments,
	},
	{
		name:        "PipeTransport/Connect",
		explanation: "Connect gives the tuple its remote part, once; a wrong one changes nothing and may be repeated",
		upstream:    []string{"PipeTransport 6"},
		run:         testPipeConnect,
	},
	{
		name:        "PipeTransport/SRTPParameters",
		explanation: "SRTP has a key of AEAD_AES_256_GCM, and takes no other suite",
		upstream:    []string{"PipeTransport 5", "PipeTransport 7"},
		run:         testPipeSRTPParameters,
	},
	{
		name:        "PipeTransport/Consume",
		explanation: "a Consumer is of type pipe and takes all: no MID, router codecs with PLI and FIR only; what selects is ErrInvalidArgument",
		upstream:    []string{"newer 6"},
		run:         testPipeConsume,
	},
	{
		name:        "PipeTransport/EnableRTX",
		explanation: "EnableRTX adds RTX and generic NACK to Consumers",
		upstream:    []string{"PipeTransport 4"},
		run:         testPipeEnableRTX,
	},
	{
		name:        "PipeTransport/CNAME",
		explanation: "each Producer keeps its own CNAME; one that is missing is made up",
		upstream:    []string{"3.25.0 CNAME"},
		run:         testPipeCNAME,
	},
}

func (r *room) pipe(t testing.TB, o mafalda.PipeTransportOptions) mafalda.PipeTransport {
	t.Helper()
	if !o.ListenInfo.IP.IsValid() {
		o.ListenInfo = listenUDP()
	}
	tr, err := r.router.CreatePipeTransport(t.Context(), o)
	require.NoError(t, err)
	return tr
}

func testPipeCreate(t *testing.T, s *suite) {
	r := s.room(t)
	l := listenUDP()
	l.AnnouncedAddress = "4.4.4.4"
	l.Port = freePort(t)
	seen := hear(t, &r.router.Observer().NewTransport)
	tr := r.pipe(t, mafalda.PipeTransportOptions{ListenInfo: l, AppData: "foo"})
	require.Equal(t, mafalda.Transport(tr), receive(t, seen, "NewTransport"))
	require.Equal(t, []mafalda.Transport{tr}, r.router.Transports())
	require.Equal(t, mafalda.TransportTypePipe, tr.Type())
	require.Equal(t, "foo", tr.AppData())
	require.Equal(t, mafalda.TransportTuple{
		LocalIP: "4.4.4.4", LocalAddress: "4.4.4.4", LocalPort: l.Port, Protocol: mafalda.ProtocolUDP,
	}, tr.Tuple())
	require.Nil(t, tr.SRTPParameters())
	d := dumpTransport(t, tr)
	require.Equal(t, tr.ID(), d.ID)
	require.Equal(t, new(tr.Tuple()), d.Tuple)
	require.Equal(t, new(false), d.RTX)
	require.Nil(t, d.SRTPParameters)
	require.Nil(t, d.RTCPMux)
	require.Nil(t, d.Comedia)
	stats := transportStats(t, tr)
	require.Equal(t, mafalda.PipeTransportStats, stats.Type)
	require.Equal(t, tr.ID(), stats.TransportID)
	require.Equal(t, new(tr.Tuple()), stats.Tuple)
	require.Equal(t, new(true), dumpTransport(t, r.pipe(t, mafalda.PipeTransportOptions{EnableRTX: true})).RTX)
	require.NoError(t, tr.Close())
	require.True(t, tr.Closed())
	again := r.pipe(t, mafalda.PipeTransportOptions{ListenInfo: l})
	require.Equal(t, l.Port, again.Tuple().LocalPort, "the port is free at once")
}

func testPipeWrongArguments(t *testing.T, s *suite) {
	r := s.room(t)
	ranged := listenUDP()
	ranged.PortRange = mafalda.PortRange{Min: 3000, Max: 2999}
	for name, o := range map[string]mafalda.PipeTransportOptions{
		"nothing":     {},
		"no protocol": {ListenInfo: mafalda.ListenInfo{IP: loopback}},
		"port range":  {ListenInfo: ranged},
		"TCP":         {ListenInfo: listenTCP()},
	} {
		_, err := r.router.CreatePipeTransport(t.Context(), o)
		requireErrorIn(t, name, err, mafalda.ErrInvalidArgument)
	}
	require.Empty(t, r.router.Transports())
}

func testPipeConnect(t *testing.T, s *suite) {
	r := s.room(t)
	tr := r.pipe(t, mafalda.PipeTransportOptions{})
	type o = mafalda.PipeTransportConnectOptions
	key := srtpKey(mafalda.SRTPAES256GCM, 1)
	for name, v := range map[string]o{
		"nothing":  {},
		"no port":  {IP: loopback},
		"no IP":    {Port: 1234},
		"SRTP":     {IP: loopback, Port: 1234, SRTPParameters: &key},
		"bad SRTP": {IP: loopback, Port: 1234, SRTPParameters: new(mafalda.SRTPParameters)},
	} {
		requireErrorIn(t, name, tr.Connect(t.Context(), v), mafalda.ErrInvalidArgument)
		require.Empty(t, tr.Tuple().RemoteIP, name)
		require.Nil(t, tr.SRTPParameters(), name)
	}
	require.NoError(t, tr.Connect(t.Context(), o{IP: loopback, Port: 9999}))
	require.Equal(t, "127.0.0.1", tr.Tuple().RemoteIP)
	require.Equal(t, uint16(9999), tr.Tuple().RemotePort)
	require.Equal(t, new(tr.Tuple()), dumpTransport(t, tr).Tuple)
	requireError(t, tr.Connect(t.Context(), o{IP: loopback, Port: 9999}), mafalda.ErrInvalidState)
}

func testPipeSRTPParameters(t *testing.T, s *suite) {
	r := s.room(t)
	tr := r.pipe(t, mafalda.PipeTransportOptions{EnableSRTP: true})
	own := tr.SRTPParameters()
	require.Equal(t, mafalda.SRTPAES256GCM, own.CryptoSuite)
	require.Len(t, own.KeyBase64, 60)
	require.Equal(t, own, dumpTransport(t, tr).SRTPParameters)
	type o = mafalda.PipeTransportConnectOptions
	good := srtpKey(mafalda.SRTPAES256GCM, 1)
	for name, p := range map[string]*mafalda.SRTPParameters{
		"missing":  nil,
		"empty":    {},
		"no suite": {KeyBase64: good.KeyBase64},
		"no key":   {CryptoSuite: good.CryptoSuite},
		"suite":    {CryptoSuite: "FOO", KeyBase64: good.KeyBase64},
		"other":    new(srtpKey(mafalda.SRTPAES128CM80, 1)),
		"length":   {CryptoSuite: good.CryptoSuite, KeyBase64: base64.StdEncoding.EncodeToString(make([]byte, 43))},
	} {
		err := tr.Connect(t.Context(), o{IP: loopback, Port: 9999, SRTPParameters: p})
		requireErrorIn(t, name, err, mafalda.ErrInvalidArgument)
		require.Equal(t, own, tr.SRTPParameters(), name)
	}
	require.NoError(t, tr.Connect(t.Context(), o{IP: loopback, Port: 9999, SRTPParameters: &good}))
	require.Equal(t, own, tr.SRTPParameters())
}

func testPipeConsume(t *testing.T, s *suite) {
	r := s.room(t)
	p := produce(t, r.direct(t), mafalda.MediaKindVideo, video("", 1))
	tr := r.pipe(t, mafalda.PipeTransportOptions{})
	type o = mafalda.ConsumerOptions
	for name, v := range map[string]o{
		"nothing":   {},
		"paused":    {ProducerID: p.ID(), Paused: true},
		"MID":       {ProducerID: p.ID(), MID: "x"},
		"EnableRTX": {ProducerID: p.ID(), EnableRTX: new(true)},
		"IgnoreDTX": {ProducerID: p.ID(), IgnoreDTX: true},
	} {
		_, err := tr.Consume(t.Context(), v)
		requireErrorIn(t, name, err, mafalda.ErrInvalidArgument)
	}
	_, err := tr.Consume(t.Context(), o{ProducerID: "foo"})
	requireError(t, err, mafalda.ErrNotFound)
	c, err := tr.Consume(t.Context(), o{ProducerID: p.ID(), AppData: "bar"})
	require.NoError(t, err)
	require.Equal(t, []mafalda.Consumer{c}, tr.Consumers())
	require.Equal(t, mafalda.ConsumerTypePipe, c.Type())
	require.Equal(t, mafalda.MediaKindVideo, c.Kind())
	require.Equal(t, "bar", c.AppData())
	require.False(t, c.Paused())
	require.Equal(t, mafalda.ConsumerScore{Score: 10, ProducerScore: 10, ProducerScores: []int{}}, c.Score())
	params := c.RTPParameters()
	require.Empty(t, params.MID)
	require.Len(t, params.Codecs, 1)
	require.Equal(t, "video/VP8", params.Codecs[0].MIMEType)
	require.Equal(t, uint8(101), params.Codecs[0].PayloadType)
	require.Equal(t, []mafalda.RTCPFeedback{{Type: "nack", Parameter: "pli"}, {Type: "ccm", Parameter: "fir"}}, params.Codecs[0].RTCPFeedback)
	require.Len(t, params.Encodings, 1)
	require.NotZero(t, params.Encodings[0].SSRC)
	require.Nil(t, params.Encodings[0].RTX)
	require.Equal(t, []uint8{7, 8, 9, 11, 12}, extensionIDs(params))
	d := dumpConsumer(t, c)
	require.Equal(t, mafalda.ConsumerTypePipe, d.Type)
	require.False(t, d.Paused)
}

func extensionIDs(p mafalda.RTPParameters) (ids []uint8) {
	for _, e := range p.HeaderExtensions {
		ids = append(ids, uint8(e.ID))
	}
	return ids
}

func testPipeEnableRTX(t *testing.T, s *suite) {
	r := s.room(t)
	p := produce(t, r.direct(t), mafalda.MediaKindVideo, video("", 1))
	c, err := r.pipe(t, mafalda.PipeTransportOptions{EnableRTX: true}).Consume(t.Context(), mafalda.ConsumerOptions{ProducerID: p.ID()})
	require.NoError(t, err)
	params := c.RTPParameters()
	require.Len(t, params.Codecs, 2)
	require.Equal(t, []mafalda.RTCPFeedback{
		{Type: "nack"}, {Type: "nack", Parameter: "pli"}, {Type: "ccm", Parameter: "fir"},
	}, params.Codecs[0].RTCPFeedback)
	require.Equal(t, "video/rtx", params.Codecs[1].MIMEType)
	require.Equal(t, uint8(102), params.Codecs[1].PayloadType)
	require.EqualValues(t, 101, params.Codecs[1].Parameters["apt"])
	require.NotNil(t, params.Encodings[0].RTX)
}

func testPipeCNAME(t *testing.T, s *suite) {
	r := s.room(t)
	tr := r.pipe(t, mafalda.PipeTransportOptions{})
	names := map[string]bool{}
	for i, cname := range []string{"one", "two", "", ""} {
		params := audio("", uint32(100+i))
		params.RTCP.CNAME = cname
		got := produce(t, tr, mafalda.MediaKindAudio, params).RTPParameters().RTCP.CNAME
		if cname != "" {
			require.Equal(t, cname, got)
		}
		require.NotEmpty(t, got)
		require.False(t, names[got], got)
		names[got] = true
	}
}
