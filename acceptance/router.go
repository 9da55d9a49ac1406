package acceptance

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
)

var routerCases = []testCase{
	{
		name:        "Router/Create",
		explanation: "a Router has the capabilities of its codecs, keeps appData, and is in its Worker's dump",
		upstream:    []string{"Router 1", "ortc 1", "3.18.0"},
		run:         testRouterCreate,
	},
	{
		name:        "Router/WithoutCodecs",
		explanation: "a Router without codecs has header extensions only, and nothing can be produced",
		upstream:    []string{"Router 1"},
		run:         testRouterWithoutCodecs,
	},
	{
		name:        "Router/WrongCodecs",
		explanation: "a malformed codec is ErrInvalidArgument, an unknown one ErrUnsupported, too many are ErrUnavailable",
		upstream:    []string{"Router 2", "Router 6", "ortc 2", "ortc 3", "3.16.6"},
		run:         testRouterWrongCodecs,
	},
	{
		name:        "Router/UpdateMediaCodecs",
		explanation: "UpdateMediaCodecs replaces the capabilities for Producers to come and leaves the others",
		upstream:    []string{"Router 7", "3.16.7"},
		run:         testRouterUpdateMediaCodecs,
	},
	{
		name:        "Router/Close",
		explanation: "Close is idempotent and heard once; later calls give ErrClosed",
		upstream:    []string{"Router 4"},
		run:         testRouterClose,
	},
	{
		name:        "Router/WorkerClose",
		explanation: "when its Worker closes, a Router hears WorkerClose and then its observer Close; later calls give ErrWorkerClosed",
		upstream:    []string{"Router 5", "newer 10", "3.21.0"},
		run:         testRouterWorkerClose,
	},
	{
		name:        "Router/Transports",
		explanation: "the observer hears of a transport before the call returns and gets the caller's value; transports are listed in the order of creation, each of its type",
		upstream:    []string{"3.15.0"},
		run:         testRouterTransports,
	},
	{
		name:        "Router/CanConsume",
		explanation: "CanConsume never fails: an unknown Producer or invalid capabilities can't",
		upstream:    []string{"Consumer 4"},
		run:         testRouterCanConsume,
	},
	{
		name:        "Router/Dump",
		explanation: "the dump maps Producers to Consumers and back",
		upstream:    []string{"Producer 1", "Consumer 1", "Consumer 18"},
		run:         testRouterDump,
	},
	{
		name:        "Router/Isolation",
		explanation: "a Producer is known in its own Router only",
		upstream:    []string{"newer 9"},
		run:         testRouterIsolation,
	},
}

func dumpRouter(t testing.TB, r mafalda.Router) mafalda.RouterDump {
	t.Helper()
	d, err := r.Dump(t.Context())
	require.NoError(t, err)
	return d
}

func testRouterCreate(t *testing.T, s *suite) {
	w := s.worker(t)
	r, err := w.CreateRouter(t.Context(), mafalda.RouterOptions{MediaCodecs: mediaCodecs(), AppData: "foo"})
	require.NoError(t, err)
	require.NotEmpty(t, r.ID())
	require.False(t, r.Closed())
	require.Equal(t, "foo", r.AppData())
	r.SetAppData(nil)
	require.Nil(t, r.AppData())

	caps := r.RTPCapabilities()
	var got []string
	pts := map[string][]uint8{}
	for _, c := range caps.Codecs {
		got = append(got, c.MIMEType)
		pts[c.MIMEType] = append(pts[c.MIMEType], c.PreferredPayloadType)
	}
	require.Equal(t, []string{"audio/opus", "video/VP8", "video/rtx", "video/H264", "video/rtx"}, got)
	require.Equal(t, map[string][]uint8{
		"audio/opus": {100}, "video/VP8": {101}, "video/H264": {103}, "video/rtx": {102, 104},
	}, pts)
	require.Equal(t, mafalda.MediaKindVideo, caps.Codecs[2].Kind)
	require.EqualValues(t, 101, caps.Codecs[2].Parameters["apt"])
	require.EqualValues(t, 103, caps.Codecs[4].Parameters["apt"])
	require.Equal(t, "4d0032", caps.Codecs[3].Parameters["profile-level-id"])
	require.Equal(t, []mafalda.RTCPFeedback{
		{Type: "nack"}, {Type: "nack", Parameter: "pli"}, {Type: "ccm", Parameter: "fir"},
		{Type: "goog-remb"}, {Type: "transport-cc"},
	}, caps.Codecs[1].RTCPFeedback)
	require.Len(t, caps.HeaderExtensions, 18)

	require.Equal(t, mafalda.RouterDump{
		ID: r.ID(), TransportIDs: []string{}, RTPObserverIDs: []string{},
		MapProducerIDConsumerIDs:         []mafalda.KeyValues[string, string]{},
		MapConsumerIDProducerID:          []mafalda.KeyValue[string, string]{},
		MapProducerIDObserverIDs:         []mafalda.KeyValues[string, string]{},
		MapDataProducerIDDataConsumerIDs: []mafalda.KeyValues[string, string]{},
		MapDataConsumerIDDataProducerID:  []mafalda.KeyValue[string, string]{},
	}, dumpRouter(t, r))
	d, err := w.Dump(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{r.ID()}, d.RouterIDs)
	require.Equal(t, []string{r.ID()}, d.MessageHandlers.RequestHandlers)
	require.NoError(t, w.Close())
	require.True(t, r.Closed())
	require.Empty(t, w.Routers())
}

func testRouterWithoutCodecs(t *testing.T, s *suite) {
	w := s.worker(t)
	r, err := w.CreateRouter(t.Context(), mafalda.RouterOptions{})
	require.NoError(t, err)
	require.Empty(t, r.RTPCapabilities().Codecs)
	require.NotEmpty(t, r.RTPCapabilities().HeaderExtensions)
	tr, err := r.CreateDirectTransport(t.Context(), mafalda.DirectTransportOptions{})
	require.NoError(t, err)
	_, err = tr.Produce(t.Context(), mafalda.ProducerOptions{
		Kind: mafalda.MediaKindAudio, RTPParameters: audio("", 1),
	})
	requireError(t, err, errors.ErrUnsupported)
}

// wrongCodecs has the codecs that no Router takes, with the class of the error.
func wrongCodecs() map[string]struct {
	codecs []mafalda.RouterRTPCodecCapability
	class  error
} {
	type codec = mafalda.RouterRTPCodecCapability
	many := make([]codec, 100)
	for i := range many {
		many[i] = codec{Kind: "audio", MIMEType: "audio/opus", ClockRate: 48000, Channels: 2}
	}
	vp8 := codec{Kind: "video", MIMEType: "video/VP8", ClockRate: 90000, PreferredPayloadType: new(uint8(110))}
	parameter := vp8
	parameter.Parameters = map[string]any{"list": []int{1}}
	return map[string]struct {
		codecs []codec
		class  error
	}{
		"no MIME type":  {[]codec{{Kind: "audio", ClockRate: 48000}}, mafalda.ErrInvalidArgument},
		"bad MIME type": {[]codec{{Kind: "audio", MIMEType: "opus", ClockRate: 48000}}, mafalda.ErrInvalidArgument},
		"duplicated payload type": {[]codec{vp8, {
			Kind: "video", MIMEType: "video/VP9", ClockRate: 90000, PreferredPayloadType: new(uint8(110)),
		}}, mafalda.ErrInvalidArgument},
		"parameter":  {[]codec{parameter}, mafalda.ErrInvalidArgument},
		"unknown":    {[]codec{{Kind: "audio", MIMEType: "audio/chicken", ClockRate: 8000, Channels: 4}}, errors.ErrUnsupported},
		"aiff":       {[]codec{{Kind: "audio", MIMEType: "audio/x-aiff", ClockRate: 48000}}, errors.ErrUnsupported},
		"3gpp":       {[]codec{{Kind: "video", MIMEType: "video/3gpp", ClockRate: 90000}}, errors.ErrUnsupported},
		"mono opus":  {[]codec{{Kind: "audio", MIMEType: "audio/opus", ClockRate: 48000, Channels: 1}}, errors.ErrUnsupported},
		"H265":       {[]codec{{Kind: "video", MIMEType: "video/H265", ClockRate: 90000}}, errors.ErrUnsupported},
		"H264-SVC":   {[]codec{{Kind: "video", MIMEType: "video/H264-SVC", ClockRate: 90000}}, errors.ErrUnsupported},
		"clock rate": {[]codec{{Kind: "video", MIMEType: "video/VP8", ClockRate: 80000}}, errors.ErrUnsupported},
		"too many":   {many, mafalda.ErrUnavailable},
	}
}

func testRouterWrongCodecs(t *testing.T, s *suite) {
	w := s.worker(t)
	for name, v := range wrongCodecs() {
		_, err := w.CreateRouter(t.Context(), mafalda.RouterOptions{MediaCodecs: v.codecs})
		requireErrorIn(t, name, err, v.class)
	}
	require.Empty(t, w.Routers())
}

func testRouterUpdateMediaCodecs(t *testing.T, s *suite) {
	r := s.room(t)
	ctx := t.Context()
	tr := r.direct(t)
	before := produce(t, tr, mafalda.MediaKindVideo, video("", 41))
	for name, v := range wrongCodecs() {
		requireErrorIn(t, name, r.router.UpdateMediaCodecs(ctx, v.codecs), v.class)
	}
	require.Len(t, r.router.RTPCapabilities().Codecs, 5, "a failed call changes nothing")
	caps := r.router.RTPCapabilities()

	require.NoError(t, r.router.UpdateMediaCodecs(ctx, mediaCodecs()[:1]))
	require.Len(t, r.router.RTPCapabilities().Codecs, 1)
	produce(t, tr, mafalda.MediaKindAudio, audio("", 22))
	_, err := tr.Produce(ctx, mafalda.ProducerOptions{Kind: mafalda.MediaKindVideo, RTPParameters: video("", 31)})
	requireError(t, err, errors.ErrUnsupported)
	require.True(t, r.router.CanConsume(before.ID(), caps))
	_, err = tr.Consume(ctx, mafalda.ConsumerOptions{ProducerID: before.ID(), RTPCapabilities: caps})
	require.NoError(t, err, "what exists can be consumed by who has the codec")

	require.NoError(t, r.router.UpdateMediaCodecs(ctx, nil))
	require.Empty(t, r.router.RTPCapabilities().Codecs)
	require.Len(t, r.router.RTPCapabilities().HeaderExtensions, 18)
}

func testRouterClose(t *testing.T, s *suite) {
	r := s.room(t)
	var j journal
	note(&j, &r.router.Events().WorkerClose, "workerclose")
	noteIf(t, &j, &r.router.Observer().Close, "close", func() bool { return r.router.Closed() && !ended(r.router.Done()) })
	require.NoError(t, r.router.Close())
	require.NoError(t, r.router.Close())
	done(t, r.router)
	require.Equal(t, []string{"close"}, j.read())
	require.NotEmpty(t, r.router.ID())
	require.Len(t, r.router.RTPCapabilities().Codecs, 5, "getters keep their value")
	requireRouterRefuses(t, r.router, mafalda.ErrClosed)
	_, err := r.router.Dump(t.Context())
	require.NotErrorIs(t, err, mafalda.ErrWorkerClosed)
	require.Empty(t, r.worker.Routers())
}

// requireRouterRefuses checks that every call gives the error.
func requireRouterRefuses(t testing.TB, r mafalda.Router, class error) {
	t.Helper()
	ctx := t.Context()
	_, err := r.Dump(ctx)
	requireErrorIn(t, "Dump", err, class)
	_, err = r.CreateDirectTransport(ctx, mafalda.DirectTransportOptions{})
	requireErrorIn(t, "CreateDirectTransport", err, class)
	_, err = r.CreatePlainTransport(ctx, mafalda.PlainTransportOptions{ListenInfo: listenUDP()})
	requireErrorIn(t, "CreatePlainTransport", err, class)
	_, err = r.CreateWebRTCTransport(ctx, overUDP())
	requireErrorIn(t, "CreateWebRTCTransport", err, class)
	requireErrorIn(t, "UpdateMediaCodecs", r.UpdateMediaCodecs(ctx, nil), class)
	require.False(t, r.CanConsume("", r.RTPCapabilities()))
	require.Empty(t, r.Transports())
}

func testRouterWorkerClose(t *testing.T, s *suite) {
	r := s.room(t)
	var j journal
	noteIf(t, &j, &r.router.Events().WorkerClose, "workerclose", r.router.Closed)
	note(&j, &r.router.Observer().Close, "close")
	require.NoError(t, r.worker.Close())
	done(t, r.router)
	require.Equal(t, []string{"workerclose", "close"}, j.read())
	requireRouterRefuses(t, r.router, mafalda.ErrWorkerClosed)
	require.NoError(t, r.router.Close())
	require.Len(t, j.read(), 2)
}

func testRouterTransports(t *testing.T, s *suite) {
	r := s.room(t)
	var seen []mafalda.Transport
	r.router.Observer().NewTransport.On(func(tr mafalda.Transport) { seen = append(seen, tr) })
	a := r.webRTC(t, overUDP())
	b := r.plain(t, mafalda.PlainTransportOptions{})
	c := r.direct(t)
	require.Equal(t, []mafalda.Transport{a, b, c}, seen)
	require.Equal(t, seen, r.router.Transports())
	require.Equal(t, []mafalda.TransportType{
		mafalda.TransportTypeWebRTC, mafalda.TransportTypePlain, mafalda.TransportTypeDirect,
	}, []mafalda.TransportType{a.Type(), b.Type(), c.Type()})
	for _, tr := range seen {
		switch tr.(type) {
		case mafalda.WebRTCTransport:
			require.Equal(t, mafalda.TransportTypeWebRTC, tr.Type())
		case mafalda.PlainTransport:
			require.Equal(t, mafalda.TransportTypePlain, tr.Type())
		case mafalda.DirectTransport:
			require.Equal(t, mafalda.TransportTypeDirect, tr.Type())
		}
	}
	require.Equal(t, []string{a.ID(), b.ID(), c.ID()}, dumpRouter(t, r.router).TransportIDs)
	require.NoError(t, b.Close())
	require.Equal(t, []mafalda.Transport{a, c}, r.router.Transports())
	require.Equal(t, []string{a.ID(), c.ID()}, dumpRouter(t, r.router).TransportIDs)
}

func testRouterCanConsume(t *testing.T, s *suite) {
	r := s.room(t)
	p := produce(t, r.direct(t), mafalda.MediaKindAudio, audio("", 1))
	caps := r.router.RTPCapabilities()
	require.True(t, r.router.CanConsume(p.ID(), caps))
	require.False(t, r.router.CanConsume("bogus", caps))
	require.False(t, r.router.CanConsume(p.ID(), mafalda.RTPCapabilities{}))
	video := caps
	video.Codecs = caps.Codecs[1:]
	require.False(t, r.router.CanConsume(p.ID(), video))
	caps.Codecs[0].MIMEType = "nonsense"
	require.False(t, r.router.CanConsume(p.ID(), caps))
	require.NoError(t, p.Close())
	require.False(t, r.router.CanConsume(p.ID(), r.router.RTPCapabilities()))
}

func testRouterDump(t *testing.T, s *suite) {
	r := s.room(t)
	in, out := r.direct(t), r.direct(t)
	a := produce(t, in, mafalda.MediaKindAudio, audio("", 1))
	v := produce(t, in, mafalda.MediaKindVideo, video("", 2))
	x, y := r.consume(t, out, a), r.consume(t, out, a)
	type values = mafalda.KeyValues[string, string]
	type value = mafalda.KeyValue[string, string]
	d := dumpRouter(t, r.router)
	require.Equal(t, []values{{Key: a.ID(), Values: []string{x.ID(), y.ID()}}, {Key: v.ID(), Values: []string{}}},
		d.MapProducerIDConsumerIDs)
	require.Equal(t, []value{{Key: x.ID(), Value: a.ID()}, {Key: y.ID(), Value: a.ID()}}, d.MapConsumerIDProducerID)

	require.NoError(t, x.Close())
	d = dumpRouter(t, r.router)
	require.Equal(t, []values{{Key: a.ID(), Values: []string{y.ID()}}, {Key: v.ID(), Values: []string{}}},
		d.MapProducerIDConsumerIDs)
	require.Equal(t, []value{{Key: y.ID(), Value: a.ID()}}, d.MapConsumerIDProducerID)

	require.NoError(t, out.Close())
	d = dumpRouter(t, r.router)
	require.Equal(t, []values{{Key: a.ID(), Values: []string{}}, {Key: v.ID(), Values: []string{}}},
		d.MapProducerIDConsumerIDs)
	require.Empty(t, d.MapConsumerIDProducerID)
	require.NoError(t, in.Close())
	require.Empty(t, dumpRouter(t, r.router).MapProducerIDConsumerIDs)
}

func testRouterIsolation(t *testing.T, s *suite) {
	a := s.room(t)
	b := newRoom(t, a.worker)
	p := produce(t, a.direct(t), mafalda.MediaKindAudio, audio("", 1))
	require.False(t, b.router.CanConsume(p.ID(), b.router.RTPCapabilities()))
	_, err := b.direct(t).Consume(t.Context(), mafalda.ConsumerOptions{
		ProducerID: p.ID(), RTPCapabilities: b.router.RTPCapabilities(),
	})
	requireError(t, err, mafalda.ErrNotFound)
}
