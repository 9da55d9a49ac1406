package acceptance

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
)

var producerCases = []testCase{
	{
		name:        "Producer/Create",
		explanation: "the observer hears of a Producer before Produce returns; it is simple, open, without score, and in the dumps",
		upstream:    []string{"Producer 1", "Producer 3"},
		run:         testProducerCreate,
	},
	{
		name:        "Producer/ID",
		explanation: "a given id is kept; one that is in use is ErrInvalidState",
		run:         testProducerID,
	},
	{
		name:        "Producer/RTPParameters",
		explanation: "RTPParameters are the given ones, normalised: reducedSize, empty lists, the CNAME of the transport",
		upstream:    []string{"Producer 8", "newer 4"},
		run:         testProducerRTPParameters,
	},
	{
		name:        "Producer/CNAME",
		explanation: "all Producers of a transport have one CNAME: the first given one, or one that is made up",
		run:         testProducerCNAME,
	},
	{
		name:        "Producer/Dump",
		explanation: "the dump has the parameters as the engine sees them and the mapping to what Consumers get",
		upstream:    []string{"Producer 8"},
		run:         testProducerDump,
	},
	{
		name:        "Producer/StatsBeforeRTP",
		explanation: "there are no stats before any RTP",
		upstream:    []string{"Producer 9"},
		run:         testProducerStatsBeforeRTP,
	},
	{
		name:        "Producer/PauseResume",
		explanation: "Pause and Resume are heard when they change something, and only then",
		upstream:    []string{"Producer 10", "Producer 11"},
		run:         testProducerPauseResume,
	},
	{
		name:        "Producer/Paused",
		explanation: "a Producer can begin paused, and its Consumers know",
		upstream:    []string{"Consumer 1"},
		run:         testProducerPaused,
	},
	{
		name:        "Producer/EnableTraceEvent",
		explanation: "EnableTraceEvent replaces the set, none clears it, an unknown type is ErrInvalidArgument",
		upstream:    []string{"Producer 12", "Producer 13"},
		run:         testProducerEnableTraceEvent,
	},
	{
		name:        "Producer/Close",
		explanation: "Close is idempotent, heard once, and takes the Producer out of dumps and listings",
		upstream:    []string{"Producer 15"},
		run:         testProducerClose,
	},
	{
		name:        "Producer/ReleasesWhatItUsed",
		explanation: "a closed Producer's id, SSRC and MID can be used again",
		upstream:    []string{"Producer 6"},
		run:         testProducerReleases,
	},
	{
		name:        "Producer/TransportClose",
		explanation: "when its transport closes, a Producer hears TransportClose and then its observer Close",
		upstream:    []string{"Producer 17"},
		run:         testProducerTransportClose,
	},
}

func dumpProducer(t testing.TB, p mafalda.Producer) mafalda.ProducerDump {
	t.Helper()
	d, err := p.Dump(t.Context())
	require.NoError(t, err)
	return d
}

func testProducerCreate(t *testing.T, s *suite) {
	r := s.room(t)
	for _, tr := range []mafalda.Transport{r.webRTC(t, overUDP()), r.plain(t, mafalda.PlainTransportOptions{}), r.direct(t)} {
		var seen []mafalda.Producer
		tr.Observer().NewProducer.On(func(p mafalda.Producer) { seen = append(seen, p) })
		pcm := mafalda.RTPParameters{ // payload type 0, no encodings, no header extensions, no rtcp
			MID: "AUDIO",
			Codecs: []mafalda.RTPCodecParameters{{
				MIMEType: "audio/opus", PayloadType: 0, ClockRate: 48000, Channels: 2,
				Parameters: map[string]any{"useinbandfec": 1, "usedtx": 1, "foo": 222.222, "bar": "333"},
			}},
		}
		a, err := tr.Produce(t.Context(), mafalda.ProducerOptions{
			Kind: mafalda.MediaKindAudio, RTPParameters: pcm, AppData: map[string]int{"foo": 1},
		})
		require.NoError(t, err)
		v := produce(t, tr, mafalda.MediaKindVideo, video("VIDEO", 22222222))
		require.Equal(t, []mafalda.Producer{a, v}, seen)
		require.Equal(t, seen, tr.Producers())
		require.NotEmpty(t, a.ID())
		require.False(t, a.Closed())
		require.Equal(t, mafalda.MediaKindAudio, a.Kind())
		require.Equal(t, mafalda.MediaKindVideo, v.Kind())
		require.Equal(t, mafalda.ProducerTypeSimple, a.Type())
		require.Equal(t, mafalda.ProducerTypeSimple, v.Type())
		require.False(t, a.Paused())
		require.Empty(t, a.Score())
		require.Equal(t, map[string]int{"foo": 1}, a.AppData())
		require.Nil(t, v.AppData())
		require.Equal(t, []string{a.ID(), v.ID()}, dumpTransport(t, tr).ProducerIDs)
		require.Empty(t, dumpTransport(t, tr).ConsumerIDs)
		listener := dumpTransport(t, tr).RTPListener
		require.Contains(t, listener.MIDTable, mafalda.KeyValue[string, string]{Key: "AUDIO", Value: a.ID()})
		require.Contains(t, listener.SSRCTable, mafalda.KeyValue[uint32, string]{Key: 22222222, Value: v.ID()})
		require.Contains(t, listener.SSRCTable, mafalda.KeyValue[uint32, string]{Key: 22222223, Value: v.ID()})
	}
}

func testProducerID(t *testing.T, s *suite) {
	r := s.room(t)
	a, b := r.direct(t), r.direct(t)
	o := mafalda.ProducerOptions{ID: "my-id", Kind: mafalda.MediaKindAudio, RTPParameters: audio("", 1)}
	p, err := a.Produce(t.Context(), o)
	require.NoError(t, err)
	require.Equal(t, "my-id", p.ID())
	for _, tr := range []mafalda.Transport{a, b} {
		o.RTPParameters = audio("", 2)
		_, err = tr.Produce(t.Context(), o)
		requireError(t, err, mafalda.ErrInvalidState)
		require.NotErrorIs(t, err, mafalda.ErrClosed)
	}
	require.Equal(t, []mafalda.Producer{p}, a.Producers())
	require.Empty(t, b.Producers())
}

func testProducerRTPParameters(t *testing.T, s *suite) {
	r := s.room(t)
	given := video("v", 7)
	given.MSID = "stream track"
	given.RTCP.ReducedSize = false
	given.Codecs[0].Parameters = map[string]any{"x-google-start-bitrate": 1000}
	p := produce(t, r.direct(t), mafalda.MediaKindVideo, given)
	got := p.RTPParameters()
	require.Equal(t, "v", got.MID)
	require.Equal(t, "stream track", got.MSID)
	require.Equal(t, mafalda.RTCPParameters{CNAME: "the-cname", ReducedSize: true}, got.RTCP)
	require.Len(t, got.Codecs, 2)
	require.Equal(t, map[string]any{"x-google-start-bitrate": 1000}, got.Codecs[0].Parameters)
	require.Equal(t, map[string]any{"apt": 112}, got.Codecs[1].Parameters)
	require.Equal(t, given.Codecs[0].RTCPFeedback, got.Codecs[0].RTCPFeedback)
	require.NotNil(t, got.Codecs[1].RTCPFeedback)
	require.Len(t, got.HeaderExtensions, 3)
	require.NotNil(t, got.HeaderExtensions[0].Parameters)
	require.Equal(t, []mafalda.RTPEncodingParameters{{SSRC: 7, RTX: &mafalda.RTXParameters{SSRC: 8}}}, got.Encodings)
}

func testProducerCNAME(t *testing.T, s *suite) {
	r := s.room(t)
	tr := r.direct(t)
	first, second, third := audio("1", 1), audio("2", 2), audio("3", 3)
	first.RTCP.CNAME, second.RTCP.CNAME, third.RTCP.CNAME = "one", "two", ""
	for _, v := range []mafalda.RTPParameters{first, second, third} {
		require.Equal(t, "one", produce(t, tr, mafalda.MediaKindAudio, v).RTPParameters().RTCP.CNAME)
	}
	tr = r.direct(t)
	made := produce(t, tr, mafalda.MediaKindAudio, third).RTPParameters().RTCP.CNAME
	require.NotEmpty(t, made)
	p := produce(t, tr, mafalda.MediaKindAudio, second)
	require.Equal(t, made, p.RTPParameters().RTCP.CNAME)
	require.Equal(t, made, r.consume(t, r.direct(t), p).RTPParameters().RTCP.CNAME)
}

func testProducerDump(t *testing.T, s *suite) {
	r := s.room(t)
	given := video("v", 7)
	given.Codecs[0].MIMEType = "video/vp8"
	p := produce(t, r.direct(t), mafalda.MediaKindVideo, given)
	d := dumpProducer(t, p)
	require.Equal(t, p.ID(), d.ID)
	require.Equal(t, mafalda.MediaKindVideo, d.Kind)
	require.Equal(t, mafalda.ProducerTypeSimple, d.Type)
	require.False(t, d.Paused)
	require.Empty(t, d.TraceEventTypes)
	require.Empty(t, d.RTPStreams)
	require.Equal(t, "video/VP8", d.RTPParameters.Codecs[0].MIMEType)
	require.Equal(t, uint8(112), d.RTPParameters.Codecs[0].PayloadType)
	require.Equal(t, given.Codecs[0].RTCPFeedback, d.RTPParameters.Codecs[0].RTCPFeedback)
	require.EqualValues(t, 112, d.RTPParameters.Codecs[1].Parameters["apt"])
	require.Equal(t, new(uint8(112)), d.RTPParameters.Encodings[0].CodecPayloadType)
	require.Equal(t, uint32(7), d.RTPParameters.Encodings[0].SSRC)
	require.Equal(t, &mafalda.RTXParameters{SSRC: 8}, d.RTPParameters.Encodings[0].RTX)
	require.Equal(t, "v", d.RTPParameters.MID)
	require.ElementsMatch(t, []mafalda.CodecMappingDump{
		{PayloadType: 112, MappedPayloadType: 101}, {PayloadType: 113, MappedPayloadType: 102},
	}, d.RTPMapping.Codecs)
	require.Len(t, d.RTPMapping.Encodings, 1)
	require.Equal(t, new(uint32(7)), d.RTPMapping.Encodings[0].SSRC)
	require.NotZero(t, d.RTPMapping.Encodings[0].MappedSSRC)

	a := dumpProducer(t, produce(t, r.direct(t), mafalda.MediaKindAudio, audio("a", 9)))
	require.Equal(t, uint8(2), a.RTPParameters.Codecs[0].Channels)
	require.Equal(t, []mafalda.CodecMappingDump{{PayloadType: 111, MappedPayloadType: 100}}, a.RTPMapping.Codecs)
}

func testProducerStatsBeforeRTP(t *testing.T, s *suite) {
	r := s.room(t)
	tr := r.direct(t)
	for _, p := range []mafalda.Producer{
		produce(t, tr, mafalda.MediaKindAudio, audio("", 1)), produce(t, tr, mafalda.MediaKindVideo, video("", 2)),
	} {
		stats, err := p.Stats(t.Context())
		require.NoError(t, err)
		require.Empty(t, stats)
	}
}

func testProducerPauseResume(t *testing.T, s *suite) {
	r := s.room(t)
	p := produce(t, r.direct(t), mafalda.MediaKindAudio, audio("", 1))
	ctx := t.Context()
	var j journal
	noteIf(t, &j, &p.Observer().Pause, "pause", p.Paused)
	noteIf(t, &j, &p.Observer().Resume, "resume", func() bool { return !p.Paused() })
	require.NoError(t, p.Pause(ctx))
	require.True(t, p.Paused())
	require.True(t, dumpProducer(t, p).Paused)
	require.NoError(t, p.Resume(ctx))
	require.False(t, p.Paused())
	require.False(t, dumpProducer(t, p).Paused)
	for _, f := range []func() error{
		func() error { return p.Resume(ctx) },
		func() error { return p.Pause(ctx) }, func() error { return p.Resume(ctx) },
		func() error { return p.Pause(ctx) }, func() error { return p.Pause(ctx) },
		func() error { return p.Pause(ctx) }, func() error { return p.Resume(ctx) },
	} {
		require.NoError(t, f())
	}
	require.Equal(t, []string{"pause", "resume", "pause", "resume", "pause", "resume"}, j.read())
}

func testProducerPaused(t *testing.T, s *suite) {
	r := s.room(t)
	p, err := r.direct(t).Produce(t.Context(), mafalda.ProducerOptions{
		Kind: mafalda.MediaKindAudio, RTPParameters: audio("", 1), Paused: true,
	})
	require.NoError(t, err)
	require.True(t, p.Paused())
	require.True(t, dumpProducer(t, p).Paused)
	c := r.consume(t, r.direct(t), p)
	require.True(t, c.ProducerPaused())
	require.False(t, c.Paused())
}

func testProducerEnableTraceEvent(t *testing.T, s *suite) {
	r := s.room(t)
	p := produce(t, r.direct(t), mafalda.MediaKindVideo, video("", 1))
	ctx := t.Context()
	types := func() []mafalda.TraceEventType { return dumpProducer(t, p).TraceEventTypes }
	require.NoError(t, p.EnableTraceEvent(ctx, mafalda.TraceRTP, mafalda.TracePLI))
	require.ElementsMatch(t, []mafalda.TraceEventType{mafalda.TraceRTP, mafalda.TracePLI}, types())
	requireError(t, p.EnableTraceEvent(ctx, mafalda.TraceNACK, "chicken"), mafalda.ErrInvalidArgument)
	require.ElementsMatch(t, []mafalda.TraceEventType{mafalda.TraceRTP, mafalda.TracePLI}, types())
	require.NoError(t, p.EnableTraceEvent(ctx))
	require.Empty(t, types())
	all := []mafalda.TraceEventType{
		mafalda.TraceRTP, mafalda.TraceKeyFrame, mafalda.TraceNACK, mafalda.TracePLI, mafalda.TraceFIR, mafalda.TraceSR,
	}
	require.NoError(t, p.EnableTraceEvent(ctx, all...))
	require.ElementsMatch(t, all, types())
}

func testProducerClose(t *testing.T, s *suite) {
	r := s.room(t)
	tr := r.direct(t)
	p := produce(t, tr, mafalda.MediaKindAudio, audio("a", 1))
	other := produce(t, tr, mafalda.MediaKindVideo, video("v", 2))
	var j journal
	note(&j, &p.Events().TransportClose, "transportclose")
	noteIf(t, &j, &p.Observer().Close, "close", func() bool { return p.Closed() && !ended(p.Done()) })
	require.NoError(t, p.Close())
	require.NoError(t, p.Close())
	done(t, p)
	require.Equal(t, []string{"close"}, j.read())
	require.Equal(t, []mafalda.Producer{other}, tr.Producers())
	require.Equal(t, []string{other.ID()}, dumpTransport(t, tr).ProducerIDs)
	require.Len(t, dumpRouter(t, r.router).MapProducerIDConsumerIDs, 1)
	require.Equal(t, "a", p.RTPParameters().MID, "getters still answer")
	require.Equal(t, mafalda.MediaKindAudio, p.Kind())
	p.SetAppData(1)
	require.Equal(t, 1, p.AppData())
}

func testProducerReleases(t *testing.T, s *suite) {
	r := s.room(t)
	tr := r.direct(t)
	o := mafalda.ProducerOptions{ID: "again", Kind: mafalda.MediaKindVideo, RTPParameters: video("v", 2)}
	for range 3 {
		p, err := tr.Produce(t.Context(), o)
		require.NoError(t, err)
		require.NoError(t, p.Close())
	}
	listener := dumpTransport(t, tr).RTPListener
	require.Empty(t, listener.SSRCTable)
	require.Empty(t, listener.MIDTable)
}

func testProducerTransportClose(t *testing.T, s *suite) {
	r := s.room(t)
	tr := r.direct(t)
	p := produce(t, tr, mafalda.MediaKindAudio, audio("a", 1))
	var j journal
	noteIf(t, &j, &p.Events().TransportClose, "transportclose", p.Closed)
	note(&j, &p.Observer().Close, "close")
	require.NoError(t, tr.Close())
	done(t, p)
	require.Equal(t, []string{"transportclose", "close"}, j.read())
	require.Empty(t, tr.Producers())
}

var produceErrorCases = []testCase{
	{
		name:        "Produce/WrongArguments",
		explanation: "a wrong option is ErrInvalidArgument and leaves nothing behind",
		upstream:    []string{"Producer 4", "Producer 7"},
		run:         testProduceWrongArguments,
	},
	{
		name:        "Produce/Unsupported",
		explanation: "a codec that the Router lacks is ErrUnsupported",
		upstream:    []string{"Producer 5", "ortc 5"},
		run:         testProduceUnsupported,
	},
	{
		name:        "Produce/InUse",
		explanation: "a MID or SSRC that is in use on the transport is ErrInvalidState; on another it is free",
		upstream:    []string{"Producer 6"},
		run:         testProduceInUse,
	},
}

func testProduceWrongArguments(t *testing.T, s *suite) {
	r := s.room(t)
	tr := r.direct(t)
	type o = mafalda.ProducerOptions
	with := func(change func(*mafalda.RTPParameters)) o {
		p := video("", 1)
		change(&p)
		return o{Kind: mafalda.MediaKindVideo, RTPParameters: p}
	}
	for name, v := range map[string]o{
		"no kind":           {RTPParameters: audio("", 1)},
		"kind":              {Kind: "chicken", RTPParameters: audio("", 1)},
		"kind of the codec": {Kind: mafalda.MediaKindAudio, RTPParameters: video("", 1)},
		"no parameters":     {Kind: mafalda.MediaKindAudio},
		"negative delay":    {Kind: mafalda.MediaKindVideo, RTPParameters: video("", 1), KeyFrameRequestDelay: -1},
		"huge delay":        {Kind: mafalda.MediaKindVideo, RTPParameters: video("", 1), KeyFrameRequestDelay: 1 << 62},
		"no codecs":         with(func(p *mafalda.RTPParameters) { p.Codecs = nil }),
		"only rtx":          with(func(p *mafalda.RTPParameters) { p.Codecs = p.Codecs[1:] }),
		"no MIME type":      with(func(p *mafalda.RTPParameters) { p.Codecs[0].MIMEType = "" }),
		"bad MIME type":     with(func(p *mafalda.RTPParameters) { p.Codecs[0].MIMEType = "VP8" }),
		"wrong apt":         with(func(p *mafalda.RTPParameters) { p.Codecs[1].Parameters["apt"] = 111 }),
		"no apt":            with(func(p *mafalda.RTPParameters) { p.Codecs[1].Parameters = nil }),
		"apt is text":       with(func(p *mafalda.RTPParameters) { p.Codecs[1].Parameters["apt"] = "112" }),
		"parameter":         with(func(p *mafalda.RTPParameters) { p.Codecs[0].Parameters = map[string]any{"a": []int{1}} }),
		"payload type":      with(func(p *mafalda.RTPParameters) { p.Codecs[1].PayloadType = 112 }),
		"big payload type":  with(func(p *mafalda.RTPParameters) { p.Codecs[0].PayloadType = 128 }),
		"feedback":          with(func(p *mafalda.RTPParameters) { p.Codecs[0].RTCPFeedback[0].Type = "" }),
		"extension URI":     with(func(p *mafalda.RTPParameters) { p.HeaderExtensions[0].URI = "" }),
		"extension unknown": with(func(p *mafalda.RTPParameters) { p.HeaderExtensions[0].URI = "urn:chicken" }),
		"extension id":      with(func(p *mafalda.RTPParameters) { p.HeaderExtensions[0].ID = 0 }),
		"no SSRC, no MID":   with(func(p *mafalda.RTPParameters) { p.Encodings = nil }),
		"RTX SSRC":          with(func(p *mafalda.RTPParameters) { p.Encodings[0].RTX.SSRC = 0 }),
		"codec payload":     with(func(p *mafalda.RTPParameters) { p.Encodings[0].CodecPayloadType = new(uint8(99)) }),
		"codec is rtx":      with(func(p *mafalda.RTPParameters) { p.Encodings[0].CodecPayloadType = new(uint8(113)) }),
	} {
		_, err := tr.Produce(t.Context(), v)
		requireErrorIn(t, name, err, mafalda.ErrInvalidArgument)
	}
	require.Empty(t, tr.Producers())
	d := dumpTransport(t, tr)
	require.Empty(t, d.ProducerIDs)
	require.Empty(t, d.RTPListener.SSRCTable)
	_, err := tr.Produce(t.Context(), o{
		Kind: mafalda.MediaKindVideo, RTPParameters: video("", 1), KeyFrameRequestDelay: time.Second,
	})
	require.NoError(t, err)
}

func testProduceUnsupported(t *testing.T, s *suite) {
	r := s.room(t)
	tr := r.direct(t)
	isac, vp9, h264 := audio("", 1), video("", 1), video("", 1)
	isac.Codecs[0] = mafalda.RTPCodecParameters{MIMEType: "audio/ISAC", PayloadType: 108, ClockRate: 32000}
	vp9.Codecs[0].MIMEType = "video/VP9"
	h264.Codecs[0].MIMEType = "video/H264"
	h264.Codecs[0].Parameters = map[string]any{"packetization-mode": 1, "profile-level-id": "CHICKEN"}
	mode0 := video("", 1)
	mode0.Codecs[0].MIMEType = "video/H264"
	mode0.Codecs[0].Parameters = map[string]any{"profile-level-id": "4d0032"}
	mono := audio("", 1)
	mono.Codecs[0].Channels = 1
	for name, v := range map[string]struct {
		kind mafalda.MediaKind
		p    mafalda.RTPParameters
	}{
		"ISAC": {"audio", isac}, "VP9": {"video", vp9}, "H264 profile": {"video", h264},
		"H264 packetization mode": {"video", mode0}, "mono": {"audio", mono},
	} {
		_, err := tr.Produce(t.Context(), mafalda.ProducerOptions{Kind: v.kind, RTPParameters: v.p})
		requireErrorIn(t, name, err, errors.ErrUnsupported)
	}
	require.Empty(t, tr.Producers())
	require.Empty(t, dumpTransport(t, tr).ProducerIDs)
}

func testProduceInUse(t *testing.T, s *suite) {
	r := s.room(t)
	tr := r.direct(t)
	produce(t, tr, mafalda.MediaKindVideo, video("v", 10)) // and RTX 11
	for name, p := range map[string]mafalda.RTPParameters{
		"MID": video("v", 20), "SSRC": video("w", 10), "RTX as media": video("w", 11), "media as RTX": video("w", 9),
	} {
		_, err := tr.Produce(t.Context(), mafalda.ProducerOptions{Kind: mafalda.MediaKindVideo, RTPParameters: p})
		requireErrorIn(t, name, err, mafalda.ErrInvalidState)
		require.NotErrorIs(t, err, mafalda.ErrClosed, name)
	}
	require.Len(t, tr.Producers(), 1)
	require.Len(t, dumpTransport(t, tr).RTPListener.SSRCTable, 2, "a failed call leaves nothing in the tables")
	produce(t, r.direct(t), mafalda.MediaKindVideo, video("v", 10))
	produce(t, tr, mafalda.MediaKindVideo, video("w", 20))
}
