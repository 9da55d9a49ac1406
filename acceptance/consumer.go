package acceptance

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
)

var consumerCases = []testCase{
	{
		name:        "Consumer/Create",
		explanation: "the observer hears of a Consumer before Consume returns; it is simple and has the Producer's kind, state and score, and is in the dumps",
		upstream:    []string{"Consumer 1"},
		run:         testConsumerCreate,
	},
	{
		name:        "Consumer/RTPParameters",
		explanation: "a Consumer has the payload types of the Router, the parameters of the Producer, the feedback of the endpoint, and the header extensions that both know",
		upstream:    []string{"Consumer 1", "Consumer 5", "newer 4", "3.19.7"},
		run:         testConsumerRTPParameters,
	},
	{
		name:        "Consumer/EnableRTX",
		explanation: "retransmission is on for video and off for audio unless EnableRTX says otherwise",
		upstream:    []string{"Consumer 2"},
		run:         testConsumerEnableRTX,
	},
	{
		name:        "Consumer/BandwidthFeedback",
		explanation: "of goog-remb and transport-cc only the one stays whose header extension was negotiated",
		upstream:    []string{"Consumer 1"},
		run:         testConsumerBandwidthFeedback,
	},
	{
		name:        "Consumer/MID",
		explanation: "a given MID is used as it is; others count up from 0 and don't count the given ones",
		upstream:    []string{"Consumer 3"},
		run:         testConsumerMID,
	},
	{
		name:        "Consumer/WrongArguments",
		explanation: "a wrong option is ErrInvalidArgument, an unknown Producer ErrNotFound, capabilities without its codec ErrUnsupported",
		upstream:    []string{"Consumer 4", "newer 9"},
		run:         testConsumerWrongArguments,
	},
	{
		name:        "Consumer/Dump",
		explanation: "the dump has the parameters as the engine sees them and the stream that is sent",
		upstream:    []string{"Consumer 5"},
		run:         testConsumerDump,
	},
	{
		name:        "Consumer/StatsBeforeRTP",
		explanation: "before any RTP the stats are one outbound record",
		upstream:    []string{"Consumer 6"},
		run:         testConsumerStatsBeforeRTP,
	},
	{
		name:        "Consumer/PauseResume",
		explanation: "Pause and Resume are heard when they change something, and only then",
		upstream:    []string{"Consumer 7"},
		run:         testConsumerPauseResume,
	},
	{
		name:        "Consumer/ProducerPauseResume",
		explanation: "the Producer's pause is heard as ProducerPause and, as it stops media, by the observer; the Consumer's own state stays",
		upstream:    []string{"Consumer 8", "Consumer 16"},
		run:         testConsumerProducerPauseResume,
	},
	{
		name:        "Consumer/BothPaused",
		explanation: "the observer hears Pause when media stops and Resume when it flows again, whoever of the two is paused",
		upstream:    []string{"Consumer 8"},
		run:         testConsumerBothPaused,
	},
	{
		name:        "Consumer/EnableTraceEvent",
		explanation: "EnableTraceEvent replaces the set, none clears it, an unknown type is ErrInvalidArgument",
		upstream:    []string{"Consumer 14", "Consumer 15"},
		run:         testConsumerEnableTraceEvent,
	},
	{
		name:        "Consumer/Close",
		explanation: "Close is idempotent, heard once, and takes the Consumer out of dumps and listings",
		upstream:    []string{"Consumer 18"},
		run:         testConsumerClose,
	},
	{
		name:        "Consumer/ProducerClose",
		explanation: "when its Producer closes, a Consumer hears ProducerClose and then its observer Close",
		upstream:    []string{"Consumer 20"},
		run:         testConsumerProducerClose,
	},
	{
		name:        "Consumer/TransportClose",
		explanation: "when its transport closes, a Consumer hears TransportClose and then its observer Close; the Producer stays",
		upstream:    []string{"Consumer 21"},
		run:         testConsumerTransportClose,
	},
}

func dumpConsumer(t testing.TB, c mafalda.Consumer) mafalda.ConsumerDump {
	t.Helper()
	d, err := c.Dump(t.Context())
	require.NoError(t, err)
	return d
}

func testConsumerCreate(t *testing.T, s *suite) {
	r := s.room(t)
	in := r.direct(t)
	a := produce(t, in, mafalda.MediaKindAudio, audio("", 1))
	v := produce(t, in, mafalda.MediaKindVideo, video("", 2))
	require.NoError(t, v.Pause(t.Context()))
	for _, tr := range []mafalda.Transport{r.webRTC(t, overUDP()), r.plain(t, mafalda.PlainTransportOptions{}), r.direct(t)} {
		var seen []mafalda.Consumer
		tr.Observer().NewConsumer.On(func(c mafalda.Consumer) { seen = append(seen, c) })
		caps := r.router.RTPCapabilities()
		ca, err := tr.Consume(t.Context(), mafalda.ConsumerOptions{ProducerID: a.ID(), RTPCapabilities: caps, AppData: "baz"})
		require.NoError(t, err)
		cv, err := tr.Consume(t.Context(), mafalda.ConsumerOptions{ProducerID: v.ID(), RTPCapabilities: caps, Paused: true})
		require.NoError(t, err)
		require.Equal(t, []mafalda.Consumer{ca, cv}, seen)
		require.Equal(t, seen, tr.Consumers())
		require.NotEmpty(t, ca.ID())
		require.False(t, ca.Closed())
		require.Equal(t, a.ID(), ca.ProducerID())
		require.Equal(t, mafalda.MediaKindAudio, ca.Kind())
		require.Equal(t, mafalda.ConsumerTypeSimple, ca.Type())
		require.False(t, ca.Paused())
		require.False(t, ca.ProducerPaused())
		require.Equal(t, "baz", ca.AppData())
		require.Equal(t, mafalda.ConsumerScore{Score: 10, ProducerScore: 0, ProducerScores: []int{0}}, ca.Score())
		require.Equal(t, mafalda.MediaKindVideo, cv.Kind())
		require.True(t, cv.Paused())
		require.True(t, cv.ProducerPaused())
		require.Nil(t, cv.AppData())
		d := dumpTransport(t, tr)
		require.Equal(t, []string{ca.ID(), cv.ID()}, d.ConsumerIDs)
		ea, ev := ca.RTPParameters().Encodings[0], cv.RTPParameters().Encodings[0]
		require.ElementsMatch(t, []mafalda.KeyValue[uint32, string]{{Key: ea.SSRC, Value: ca.ID()}, {Key: ev.SSRC, Value: cv.ID()}},
			d.MapSSRCConsumerID)
		require.Equal(t, []mafalda.KeyValue[uint32, string]{{Key: ev.RTX.SSRC, Value: cv.ID()}}, d.MapRTXSSRCConsumerID)
	}
}

func testConsumerRTPParameters(t *testing.T, s *suite) {
	r := s.room(t)
	given := video("sent", 2)
	given.MSID = "stream track"
	given.Codecs[0].Parameters = map[string]any{"x": 1}
	v := produce(t, r.direct(t), mafalda.MediaKindVideo, given)
	caps := r.router.RTPCapabilities()
	for i := range caps.Codecs {
		if caps.Codecs[i].MIMEType == "video/VP8" {
			caps.Codecs[i].RTCPFeedback = []mafalda.RTCPFeedback{
				{Type: "nack"}, {Type: "nack", Parameter: "pli"}, {Type: "transport-cc"}, {Type: "foo"},
			}
		}
	}
	caps.HeaderExtensions = []mafalda.RTPHeaderExtension{
		{Kind: "video", URI: mafalda.RTPHeaderExtensionMID, PreferredID: 1},
		{Kind: "video", URI: mafalda.RTPHeaderExtensionAbsSendTime, PreferredID: 14}, // another id than the Router's
		{Kind: "video", URI: mafalda.RTPHeaderExtensionTransportWideCC, PreferredID: 5},
		{Kind: "video", URI: mafalda.RTPHeaderExtensionVideoOrientation, PreferredID: 8},
	}
	c, err := r.direct(t).Consume(t.Context(), mafalda.ConsumerOptions{ProducerID: v.ID(), RTPCapabilities: caps})
	require.NoError(t, err)
	p := c.RTPParameters()
	require.Equal(t, "0", p.MID)
	require.Equal(t, "stream track", p.MSID)
	require.Equal(t, mafalda.RTCPParameters{CNAME: "the-cname", ReducedSize: true}, p.RTCP)
	require.Equal(t, []mafalda.RTPCodecParameters{
		{
			MIMEType: "video/VP8", PayloadType: 101, ClockRate: 90000, Parameters: map[string]any{"x": 1},
			RTCPFeedback: []mafalda.RTCPFeedback{
				{Type: "nack"}, {Type: "nack", Parameter: "pli"}, {Type: "transport-cc"}, {Type: "foo"},
			},
		},
		{
			MIMEType: "video/rtx", PayloadType: 102, ClockRate: 90000, Parameters: map[string]any{"apt": 101},
			RTCPFeedback: []mafalda.RTCPFeedback{},
		},
	}, p.Codecs)
	ids := map[mafalda.RTPHeaderExtensionURI]uint8{}
	for _, h := range p.HeaderExtensions {
		ids[h.URI] = h.ID
	}
	require.Equal(t, map[mafalda.RTPHeaderExtensionURI]uint8{
		mafalda.RTPHeaderExtensionMID: 1, mafalda.RTPHeaderExtensionTransportWideCC: 5,
		mafalda.RTPHeaderExtensionVideoOrientation: 8,
	}, ids)
	require.Len(t, p.Encodings, 1)
	require.NotEqual(t, uint32(2), p.Encodings[0].SSRC)
	require.Equal(t, p.Encodings[0].SSRC+1, p.Encodings[0].RTX.SSRC)
}

func testConsumerEnableRTX(t *testing.T, s *suite) {
	r := s.room(t)
	in, out := r.direct(t), r.direct(t)
	a := produce(t, in, mafalda.MediaKindAudio, audio("", 1))
	v := produce(t, in, mafalda.MediaKindVideo, video("", 2))
	nack := mafalda.RTCPFeedback{Type: "nack"}
	for _, x := range []struct {
		p         mafalda.Producer
		enable    *bool
		nack, rtx bool
	}{
		{a, nil, false, false}, {a, new(true), true, false}, {a, new(false), false, false},
		{v, nil, true, true}, {v, new(true), true, true}, {v, new(false), false, false},
	} {
		c, err := out.Consume(t.Context(), mafalda.ConsumerOptions{
			ProducerID: x.p.ID(), RTPCapabilities: r.router.RTPCapabilities(), EnableRTX: x.enable,
		})
		require.NoError(t, err)
		p := c.RTPParameters()
		if x.nack {
			require.Contains(t, p.Codecs[0].RTCPFeedback, nack)
		} else {
			require.NotContains(t, p.Codecs[0].RTCPFeedback, nack)
		}
		require.Equal(t, x.rtx, len(p.Codecs) == 2)
		require.Equal(t, x.rtx, p.Encodings[0].RTX != nil)
	}
}

func testConsumerBandwidthFeedback(t *testing.T, s *suite) {
	r := s.room(t)
	v := produce(t, r.direct(t), mafalda.MediaKindVideo, video("", 2))
	out := r.direct(t)
	for _, x := range []struct {
		name string
		drop []mafalda.RTPHeaderExtensionURI
		want []string
	}{
		{"both", nil, []string{"transport-cc"}},
		{"no transport-cc", []mafalda.RTPHeaderExtensionURI{mafalda.RTPHeaderExtensionTransportWideCC}, []string{"goog-remb"}},
		{"neither", []mafalda.RTPHeaderExtensionURI{mafalda.RTPHeaderExtensionTransportWideCC, mafalda.RTPHeaderExtensionAbsSendTime}, nil},
	} {
		caps := r.router.RTPCapabilities()
		var kept []mafalda.RTPHeaderExtension
		for _, h := range caps.HeaderExtensions {
			dropped := false
			for _, uri := range x.drop {
				dropped = dropped || h.URI == uri
			}
			if !dropped {
				kept = append(kept, h)
			}
		}
		caps.HeaderExtensions = kept
		c, err := out.Consume(t.Context(), mafalda.ConsumerOptions{ProducerID: v.ID(), RTPCapabilities: caps})
		require.NoError(t, err)
		var got []string
		for _, f := range c.RTPParameters().Codecs[0].RTCPFeedback {
			if f.Type == "goog-remb" || f.Type == "transport-cc" {
				got = append(got, f.Type)
			}
		}
		require.Equal(t, x.want, got, x.name)
	}
}

func testConsumerMID(t *testing.T, s *suite) {
	r := s.room(t)
	p := produce(t, r.direct(t), mafalda.MediaKindAudio, audio("", 1))
	a, b := r.direct(t), r.direct(t)
	mid := func(tr mafalda.Transport, given string) string {
		t.Helper()
		c, err := tr.Consume(t.Context(), mafalda.ConsumerOptions{
			ProducerID: p.ID(), RTPCapabilities: r.router.RTPCapabilities(), MID: given,
		})
		require.NoError(t, err)
		return c.RTPParameters().MID
	}
	require.Equal(t, []string{"0", "1", "mine", "2", "0"}, []string{
		mid(a, ""), mid(a, ""), mid(a, "mine"), mid(a, ""), mid(b, ""),
	})
}

func testConsumerWrongArguments(t *testing.T, s *suite) {
	r := s.room(t)
	p := produce(t, r.direct(t), mafalda.MediaKindAudio, audio("", 1))
	out := r.direct(t)
	caps := r.router.RTPCapabilities()
	bad := r.router.RTPCapabilities()
	bad.Codecs[0].MIMEType = "chicken"
	badExtension := r.router.RTPCapabilities()
	badExtension.HeaderExtensions[0].URI = ""
	wrong := mafalda.RTPCapabilities{Codecs: []mafalda.RTPCodecCapability{
		{Kind: "audio", MIMEType: "audio/ISAC", ClockRate: 32000, PreferredPayloadType: 100},
	}}
	mono := r.router.RTPCapabilities()
	mono.Codecs = mono.Codecs[:1]
	mono.Codecs[0].Channels = 1
	for name, v := range map[string]struct {
		o     mafalda.ConsumerOptions
		class error
	}{
		"no producer":      {mafalda.ConsumerOptions{RTPCapabilities: caps}, mafalda.ErrInvalidArgument},
		"unknown producer": {mafalda.ConsumerOptions{ProducerID: "bogus", RTPCapabilities: caps}, mafalda.ErrNotFound},
		"codec":            {mafalda.ConsumerOptions{ProducerID: p.ID(), RTPCapabilities: bad}, mafalda.ErrInvalidArgument},
		"extension":        {mafalda.ConsumerOptions{ProducerID: p.ID(), RTPCapabilities: badExtension}, mafalda.ErrInvalidArgument},
		"other codec":      {mafalda.ConsumerOptions{ProducerID: p.ID(), RTPCapabilities: wrong}, errors.ErrUnsupported},
		"no codec":         {mafalda.ConsumerOptions{ProducerID: p.ID()}, errors.ErrUnsupported},
		"mono":             {mafalda.ConsumerOptions{ProducerID: p.ID(), RTPCapabilities: mono}, errors.ErrUnsupported},
	} {
		_, err := out.Consume(t.Context(), v.o)
		requireErrorIn(t, name, err, v.class)
	}
	require.Empty(t, out.Consumers())
	require.Empty(t, dumpTransport(t, out).ConsumerIDs)
	require.False(t, r.router.CanConsume(p.ID(), wrong))
	require.NoError(t, p.Close())
	_, err := out.Consume(t.Context(), mafalda.ConsumerOptions{ProducerID: p.ID(), RTPCapabilities: caps})
	requireError(t, err, mafalda.ErrNotFound)
}

func testConsumerDump(t *testing.T, s *suite) {
	r := s.room(t)
	in := r.direct(t)
	v := produce(t, in, mafalda.MediaKindVideo, video("", 2))
	c := r.consume(t, r.direct(t), v)
	d := dumpConsumer(t, c)
	require.Equal(t, c.ID(), d.ID)
	require.Equal(t, v.ID(), d.ProducerID)
	require.Equal(t, mafalda.MediaKindVideo, d.Kind)
	require.Equal(t, mafalda.ConsumerTypeSimple, d.Type)
	require.Equal(t, 1, d.Priority)
	require.False(t, d.Paused)
	require.False(t, d.ProducerPaused)
	require.Empty(t, d.TraceEventTypes)
	require.Equal(t, []int{101}, d.SupportedCodecPayloadTypes)
	require.Len(t, d.ConsumableRTPEncodings, 1)
	require.Equal(t, dumpProducer(t, v).RTPMapping.Encodings[0].MappedSSRC, d.ConsumableRTPEncodings[0].SSRC)
	p := c.RTPParameters()
	require.Equal(t, p.Encodings[0].SSRC, d.RTPParameters.Encodings[0].SSRC)
	require.Equal(t, p.Encodings[0].RTX, d.RTPParameters.Encodings[0].RTX)
	require.Equal(t, new(uint8(101)), d.RTPParameters.Encodings[0].CodecPayloadType)
	require.NotNil(t, d.RTPStream)
	require.Equal(t, 10, d.RTPStream.Score)
	require.Equal(t, p.Encodings[0].SSRC, d.RTPStream.Params.SSRC)
	require.Equal(t, uint8(101), d.RTPStream.Params.PayloadType)
	require.Equal(t, "video/VP8", d.RTPStream.Params.MIMEType)
	require.Equal(t, uint32(90000), d.RTPStream.Params.ClockRate)
	require.Equal(t, "the-cname", d.RTPStream.Params.CNAME)
	require.True(t, d.RTPStream.Params.UseNACK)
	require.True(t, d.RTPStream.Params.UsePLI)
	require.Equal(t, p.Encodings[0].RTX.SSRC, d.RTPStream.Params.RTXSSRC)
	require.Equal(t, new(uint8(102)), d.RTPStream.Params.RTXPayloadType)
	require.NotNil(t, d.RTPStream.RTXStream)
	require.Equal(t, p.Encodings[0].RTX.SSRC, d.RTPStream.RTXStream.Params.SSRC)

	a := dumpConsumer(t, r.consume(t, r.direct(t), produce(t, in, mafalda.MediaKindAudio, audio("", 9))))
	require.Equal(t, []int{100}, a.SupportedCodecPayloadTypes)
	require.Nil(t, a.RTPStream.RTXStream)
}

func testConsumerStatsBeforeRTP(t *testing.T, s *suite) {
	r := s.room(t)
	c := r.consume(t, r.direct(t), produce(t, r.direct(t), mafalda.MediaKindVideo, video("", 2)))
	stats, err := c.Stats(t.Context())
	require.NoError(t, err)
	require.Len(t, stats, 1)
	require.Equal(t, mafalda.OutboundRTP, stats[0].Type)
	require.Equal(t, mafalda.MediaKindVideo, stats[0].Kind)
	require.Equal(t, "video/VP8", stats[0].MIMEType)
	require.Equal(t, c.RTPParameters().Encodings[0].SSRC, stats[0].SSRC)
	require.Equal(t, c.RTPParameters().Encodings[0].RTX.SSRC, stats[0].RTXSSRC)
	require.Equal(t, 10, stats[0].Score)
	require.Zero(t, stats[0].PacketCount)
	require.Zero(t, stats[0].ByteCount)
}

func testConsumerPauseResume(t *testing.T, s *suite) {
	r := s.room(t)
	c := r.consume(t, r.direct(t), produce(t, r.direct(t), mafalda.MediaKindAudio, audio("", 1)))
	ctx := t.Context()
	var j journal
	noteIf(t, &j, &c.Observer().Pause, "pause", c.Paused)
	noteIf(t, &j, &c.Observer().Resume, "resume", func() bool { return !c.Paused() })
	require.NoError(t, c.Pause(ctx))
	require.True(t, c.Paused())
	require.True(t, dumpConsumer(t, c).Paused)
	require.NoError(t, c.Resume(ctx))
	require.False(t, c.Paused())
	require.False(t, dumpConsumer(t, c).Paused)
	for _, f := range []func() error{
		func() error { return c.Resume(ctx) },
		func() error { return c.Pause(ctx) }, func() error { return c.Resume(ctx) },
		func() error { return c.Pause(ctx) }, func() error { return c.Pause(ctx) },
		func() error { return c.Pause(ctx) }, func() error { return c.Resume(ctx) },
	} {
		require.NoError(t, f())
	}
	require.Equal(t, []string{"pause", "resume", "pause", "resume", "pause", "resume"}, j.read())
}

func testConsumerProducerPauseResume(t *testing.T, s *suite) {
	r := s.room(t)
	p := produce(t, r.direct(t), mafalda.MediaKindAudio, audio("", 1))
	c := r.consume(t, r.direct(t), p)
	var j journal
	noteIf(t, &j, &c.Events().ProducerPause, "producerpause", c.ProducerPaused)
	noteIf(t, &j, &c.Events().ProducerResume, "producerresume", func() bool { return !c.ProducerPaused() })
	note(&j, &c.Observer().Pause, "pause")
	note(&j, &c.Observer().Resume, "resume")
	for range 2 {
		require.NoError(t, p.Pause(t.Context()))
		require.NoError(t, p.Pause(t.Context()))
		eventually(t, "the Consumer knows", c.ProducerPaused)
		require.False(t, c.Paused())
		require.True(t, dumpConsumer(t, c).ProducerPaused)
		require.NoError(t, p.Resume(t.Context()))
		eventually(t, "the Consumer knows", func() bool { return !c.ProducerPaused() })
	}
	eventually(t, "all is heard", func() bool { return j.count("resume") == 2 })
	j.requireRounds(t, []string{"producerpause", "producerresume"}, 2)
	j.requireRounds(t, []string{"pause", "resume"}, 2)
}

// requireRounds checks that names were written n times, each round in order.
func (j *journal) requireRounds(t testing.TB, names []string, n int) {
	t.Helper()
	var want []string
	for range n {
		want = append(want, names...)
	}
	require.Equal(t, want, j.only(names...))
}

func testConsumerBothPaused(t *testing.T, s *suite) {
	r := s.room(t)
	p := produce(t, r.direct(t), mafalda.MediaKindAudio, audio("", 1))
	c := r.consume(t, r.direct(t), p)
	ctx := t.Context()
	var j journal
	note(&j, &c.Observer().Pause, "pause")
	note(&j, &c.Observer().Resume, "resume")
	knows := func(paused bool) {
		t.Helper()
		eventually(t, "the Consumer knows", func() bool { return c.ProducerPaused() == paused })
	}
	require.NoError(t, c.Pause(ctx)) // media stops
	require.NoError(t, p.Pause(ctx))
	knows(true)
	require.NoError(t, c.Resume(ctx))
	require.False(t, c.Paused())
	require.NoError(t, p.Resume(ctx)) // media flows
	knows(false)
	eventually(t, "it resumed", func() bool { return j.count("resume") == 1 })
	require.NoError(t, p.Pause(ctx)) // media stops
	knows(true)
	require.NoError(t, c.Pause(ctx))
	require.NoError(t, p.Resume(ctx))
	knows(false)
	require.True(t, c.Paused())
	require.NoError(t, c.Resume(ctx)) // media flows
	require.Equal(t, []string{"pause", "resume", "pause", "resume"}, j.read())
}

func testConsumerEnableTraceEvent(t *testing.T, s *suite) {
	r := s.room(t)
	c := r.consume(t, r.direct(t), produce(t, r.direct(t), mafalda.MediaKindVideo, video("", 1)))
	ctx := t.Context()
	types := func() []mafalda.TraceEventType { return dumpConsumer(t, c).TraceEventTypes }
	require.NoError(t, c.EnableTraceEvent(ctx, mafalda.TraceRTP, mafalda.TracePLI))
	require.ElementsMatch(t, []mafalda.TraceEventType{mafalda.TraceRTP, mafalda.TracePLI}, types())
	for _, bad := range []mafalda.TraceEventType{"chicken", mafalda.TraceSR, ""} {
		requireError(t, c.EnableTraceEvent(ctx, mafalda.TraceNACK, bad), mafalda.ErrInvalidArgument)
	}
	require.ElementsMatch(t, []mafalda.TraceEventType{mafalda.TraceRTP, mafalda.TracePLI}, types())
	require.NoError(t, c.EnableTraceEvent(ctx))
	require.Empty(t, types())
}

func testConsumerClose(t *testing.T, s *suite) {
	r := s.room(t)
	p := produce(t, r.direct(t), mafalda.MediaKindVideo, video("", 1))
	out := r.direct(t)
	c, other := r.consume(t, out, p), r.consume(t, out, p)
	var j journal
	note(&j, &c.Events().ProducerClose, "producerclose")
	note(&j, &c.Events().TransportClose, "transportclose")
	noteIf(t, &j, &c.Observer().Close, "close", func() bool { return c.Closed() && !ended(c.Done()) })
	require.NoError(t, c.Close())
	require.NoError(t, c.Close())
	done(t, c)
	require.Equal(t, []string{"close"}, j.read())
	require.Equal(t, []mafalda.Consumer{other}, out.Consumers())
	d := dumpTransport(t, out)
	require.Equal(t, []string{other.ID()}, d.ConsumerIDs)
	require.Len(t, d.MapSSRCConsumerID, 1)
	require.Len(t, d.MapRTXSSRCConsumerID, 1)
	require.False(t, p.Closed())
	require.Equal(t, "0", c.RTPParameters().MID, "getters still answer")
}

func testConsumerProducerClose(t *testing.T, s *suite) {
	r := s.room(t)
	in := r.direct(t)
	p := produce(t, in, mafalda.MediaKindAudio, audio("", 1))
	outs := []mafalda.Transport{r.direct(t), in}
	var consumers []mafalda.Consumer
	var journals []*journal
	for _, out := range outs {
		c, j := r.consume(t, out, p), new(journal)
		noteIf(t, j, &c.Events().ProducerClose, "producerclose", c.Closed)
		note(j, &c.Events().TransportClose, "transportclose")
		note(j, &c.Observer().Close, "close")
		consumers, journals = append(consumers, c), append(journals, j)
	}
	require.NoError(t, p.Close())
	for i, c := range consumers {
		done(t, c)
		require.Equal(t, []string{"producerclose", "close"}, journals[i].read())
		require.Empty(t, outs[i].Consumers())
	}
}

func testConsumerTransportClose(t *testing.T, s *suite) {
	r := s.room(t)
	p := produce(t, r.direct(t), mafalda.MediaKindAudio, audio("", 1))
	out := r.direct(t)
	c := r.consume(t, out, p)
	var j journal
	noteIf(t, &j, &c.Events().TransportClose, "transportclose", c.Closed)
	note(&j, &c.Events().ProducerClose, "producerclose")
	note(&j, &c.Observer().Close, "close")
	require.NoError(t, out.Close())
	done(t, c)
	require.Equal(t, []string{"transportclose", "close"}, j.read())
	require.Equal(t, []mafalda.KeyValues[string, string]{{Key: p.ID(), Values: []string{}}},
		dumpRouter(t, r.router).MapProducerIDConsumerIDs)
	require.False(t, p.Closed())
}
