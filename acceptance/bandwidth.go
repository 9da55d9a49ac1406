package acceptance

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/pion/rtcp"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/internal/peer"
)

var bandwidthCases = []testCase{
	{
		name:        "Bandwidth/OutgoingLimits",
		explanation: "a maximum and a minimum of what is sent can be set and lifted and are in the stats; what is below 30,000 and not 0, or out of order, is ErrInvalidArgument and changes nothing",
		upstream:    []string{"WebRtcTransport 11", "WebRtcTransport 12", "WebRtcTransport 13", "WebRtcTransport 14"},
		run:         testBandwidthOutgoingLimits,
	},
	{
		name:        "Bandwidth/EnableTraceEvent",
		explanation: "each call replaces the set of trace events of a Transport, which is in the dump; another type is ErrInvalidArgument and changes nothing",
		upstream:    []string{"WebRtcTransport 16", "WebRtcTransport 17"},
		run:         testBandwidthEnableTraceEvent,
	},
	{
		name:        "Bandwidth/Initial",
		explanation: "what can be sent is estimated from the first Consumer of video on: nothing until the Transport is connected, then InitialAvailableOutgoingBitrate to begin with",
		run:         testBandwidthInitial,
	},
	{
		name:        "Bandwidth/Probation",
		explanation: "packets of padding, which find out what can be sent, are counted and traced",
		run:         testBandwidthProbation,
	},
	{
		name:        "Bandwidth/REMB",
		explanation: "without transport-cc the estimate is what the endpoint asks for by REMB, between the limits; bwe events tell it",
		run:         testBandwidthREMB,
	},
	{
		name:        "Bandwidth/Layers",
		explanation: "a Consumer of several layers is sent what the estimate has room for",
		run:         testBandwidthLayers,
	},
}

func testBandwidthOutgoingLimits(t *testing.T, s *suite) {
	r := s.room(t)
	for _, tr := range []mafalda.Transport{r.webRTC(t, overUDP()), r.plain(t, mafalda.PlainTransportOptions{}), r.pipe(t, mafalda.PipeTransportOptions{})} {
		limits := func(low, high int) {
			t.Helper()
			stats := transportStats(t, tr)
			require.Equal(t, low, stats.MinOutgoingBitrate)
			require.Equal(t, high, stats.MaxOutgoingBitrate)
		}
		low := func(v int) error { return tr.SetMinOutgoingBitrate(t.Context(), v) }
		high := func(v int) error { return tr.SetMaxOutgoingBitrate(t.Context(), v) }
		limits(0, 0)
		for _, set := range []func(int) error{low, high} {
			for _, v := range []int{-1, 1, 29_999, math.MinInt} {
				requireError(t, set(v), mafalda.ErrInvalidArgument)
			}
		}
		limits(0, 0)
		require.NoError(t, high(2_000_000))
		require.NoError(t, low(100_000))
		limits(100_000, 2_000_000)
		requireError(t, high(99_999), mafalda.ErrInvalidArgument)
		requireError(t, low(2_000_001), mafalda.ErrInvalidArgument)
		limits(100_000, 2_000_000)
		require.NoError(t, low(2_000_000))
		limits(2_000_000, 2_000_000)
		require.NoError(t, high(0))
		require.NoError(t, low(3_000_000))
		limits(3_000_000, 0)
		require.NoError(t, low(0))
		require.NoError(t, high(30_000))
		limits(0, 30_000)
		require.NoError(t, high(0))
		limits(0, 0)
	}
	d := r.direct(t)
	requireError(t, d.SetMaxOutgoingBitrate(t.Context(), 500_000), errors.ErrUnsupported)
	requireError(t, d.SetMinOutgoingBitrate(t.Context(), 500_000), errors.ErrUnsupported)
}

func testBandwidthEnableTraceEvent(t *testing.T, s *suite) {
	r := s.room(t)
	for _, tr := range []mafalda.Transport{r.webRTC(t, overUDP()), r.direct(t)} {
		traced := func() []mafalda.TraceEventType {
			t.Helper()
			d, err := tr.Dump(t.Context())
			require.NoError(t, err)
			return d.TraceEventTypes
		}
		require.Empty(t, traced())
		require.NoError(t, tr.EnableTraceEvent(t.Context(), mafalda.TraceProbation))
		require.Equal(t, []mafalda.TraceEventType{mafalda.TraceProbation}, traced())
		require.NoError(t, tr.EnableTraceEvent(t.Context()))
		require.Empty(t, traced())
		both := []mafalda.TraceEventType{mafalda.TraceProbation, mafalda.TraceBWE}
		require.NoError(t, tr.EnableTraceEvent(t.Context(), mafalda.TraceBWE, mafalda.TraceProbation, mafalda.TraceBWE))
		require.ElementsMatch(t, both, traced())
		for _, wrong := range []mafalda.TraceEventType{"", "foo", "BWE", mafalda.TraceRTP} {
			requireError(t, tr.EnableTraceEvent(t.Context(), mafalda.TraceBWE, wrong), mafalda.ErrInvalidArgument)
		}
		require.ElementsMatch(t, both, traced())
	}
}

func testBandwidthInitial(t *testing.T, s *suite) {
	r := s.room(t)
	p := produce(t, r.direct(t), mafalda.MediaKindVideo, video("", 1))
	sound := produce(t, r.direct(t), mafalda.MediaKindAudio, audio("", 1))
	for given, want := range map[int]int{0: 600_000, 1_000_000: 1_000_000, 90_000: 90_000} {
		o := overUDP()
		o.InitialAvailableOutgoingBitrate = given
		tr := r.webRTC(t, o)
		r.consume(t, tr, sound)
		_, err := tr.Consume(t.Context(), mafalda.ConsumerOptions{ProducerID: p.ID(), RTPCapabilities: r.unlimited()})
		require.NoError(t, err)
		stats := transportStats(t, tr)
		require.Nil(t, stats.AvailableOutgoingBitrate, "nothing was negotiated by which to know it")
		require.Nil(t, stats.RTPPacketLossSent)
		r.consume(t, tr, p)
		stats = transportStats(t, tr)
		require.Equal(t, new(0), stats.AvailableOutgoingBitrate)
		require.Equal(t, new(0.0), stats.RTPPacketLossSent)
		dial(t, tr, peer.Config{})
		require.Equal(t, new(want), transportStats(t, tr).AvailableOutgoingBitrate)
	}
	for _, wrong := range []int{-1, math.MinInt} {
		o := overUDP()
		o.InitialAvailableOutgoingBitrate = wrong
		_, err := r.router.CreateWebRTCTransport(t.Context(), o)
		requireError(t, err, mafalda.ErrInvalidArgument)
	}
}

func testBandwidthProbation(t *testing.T, s *suite) {
	r := s.room(t)
	in, out := r.directEnd(t), r.webRTCEnd(t, overUDP(), peer.Config{})
	tr := out.transport
	events, observed := hear(t, &tr.Events().Trace), hear(t, &tr.Observer().Trace)
	require.NoError(t, tr.EnableTraceEvent(t.Context(), mafalda.TraceProbation))
	require.Zero(t, transportStats(t, tr).ProbationBytesSent)
	out.consume(t, r, in.produce(t, mafalda.MediaKindVideo, video("", 1)))
	src := vp8Source(1)
	eventually(t, "padding", func() bool {
		in.sendRTP(t, src.packet(vp8Key("x"), marked))
		return out.peer.Probation() > 0
	})
	v := nextTrace(t, events, observed)
	require.Equal(t, mafalda.TraceProbation, v.Type)
	require.Equal(t, mafalda.TraceOut, v.Direction)
	require.Nil(t, v.Info)
	require.Positive(t, transportStats(t, tr).ProbationBytesSent)
}

// askingREMB are the capabilities of an endpoint that knows no transport-cc.
func (r *room) askingREMB() mafalda.RTPCapabilities {
	caps := r.router.RTPCapabilities()
	caps.HeaderExtensions = slices.DeleteFunc(caps.HeaderExtensions, func(x mafalda.RTPHeaderExtension) bool {
		return x.URI == mafalda.RTPHeaderExtensionTransportWideCC
	})
	return caps
}

// ask sends a REMB.
func (e *end) ask(t testing.TB, c mafalda.Consumer, bitrate float32) {
	t.Helper()
	e.sendRTCP(t, &rtcp.ReceiverEstimatedMaximumBitrate{
		SenderSSRC: 1, Bitrate: bitrate, SSRCs: []uint32{c.RTPParameters().Encodings[0].SSRC},
	})
}

func testBandwidthREMB(t *testing.T, s *suite) {
	r := s.room(t)
	in, out := r.directEnd(t), r.webRTCEnd(t, overUDP(), peer.Config{})
	tr := out.transport
	events, observed := hear(t, &tr.Events().Trace), hear(t, &tr.Observer().Trace)
	require.NoError(t, tr.EnableTraceEvent(t.Context(), mafalda.TraceBWE))
	c := out.consumeWith(t, mafalda.ConsumerOptions{
		ProducerID: in.produce(t, mafalda.MediaKindVideo, video("", 1)).ID(), RTPCapabilities: r.askingREMB(),
	})
	available := func() int { return *transportStats(t, tr).AvailableOutgoingBitrate }
	asked := func(bitrate float32, want int) {
		t.Helper()
		eventually(t, "the estimate", func() bool {
			out.ask(t, c, bitrate)
			return available() == want
		})
	}
	asked(500_000, 500_000)
	asked(200_000, 200_000)
	require.NoError(t, tr.SetMinOutgoingBitrate(t.Context(), 300_000))
	asked(200_000, 300_000)
	require.NoError(t, tr.SetMinOutgoingBitrate(t.Context(), 0))
	require.NoError(t, tr.SetMaxOutgoingBitrate(t.Context(), 150_000))
	asked(400_000, 150_000)
	require.NoError(t, tr.SetMaxOutgoingBitrate(t.Context(), 0))
	asked(400_000, 400_000)
	for {
		v := nextTrace(t, events, observed)
		require.Equal(t, mafalda.TraceBWE, v.Type)
		require.Equal(t, mafalda.TraceOut, v.Direction)
		info := v.Info.(mafalda.BWETraceInfo)
		require.Equal(t, mafalda.BWEREMB, info.Type)
		require.GreaterOrEqual(t, info.MinBitrate, 30_000)
		if info.AvailableBitrate == 400_000 {
			break
		}
	}
}

// testBandwidthLayers sends a stream of less than 50 kbit/s and a heavy one to
// endpoints that can receive both, and only the first.
func testBandwidthLayers(t *testing.T, s *suite) {
	const low, high = 60_000, 30_000_000
	r := s.room(t)
	in := r.directEnd(t)
	p := in.produce(t, mafalda.MediaKindVideo, scalable("video/VP8", "L1T1", "L1T1"))
	var ends []*end
	var consumers []mafalda.Consumer
	asked := []float32{low, high}
	ask := func() {
		for i, e := range ends {
			e.ask(t, consumers[i], asked[i])
		}
	}
	for _, bitrate := range []int{low, high} {
		o := overUDP()
		o.InitialAvailableOutgoingBitrate = bitrate
		e := r.webRTCEnd(t, o, peer.Config{})
		ends = append(ends, e)
		consumers = append(consumers, e.consumeWith(t, mafalda.ConsumerOptions{ProducerID: p.ID(), RTPCapabilities: r.askingREMB()}))
	}
	cam := newCamera(in, 2)
	cam.fill = []int{0, 1100}
	rounds := 0
	sent := func(i, layer int) func() bool {
		return func() bool {
			if rounds%8 == 0 {
				cam.frame(t, 0, true, 0)
				cam.report(t)
				ask()
			}
			rounds++
			cam.frame(t, 1, true, 0)
			l := consumers[i].CurrentLayers()
			return l != nil && l.SpatialLayer == layer
		}
	}
	eventually(t, "the heavy stream where there is room", sent(1, 1))
	eventually(t, "the light stream where there is not", sent(0, 0))
	asked[1] = low
	eventually(t, "the light stream where there is no room any more", sent(1, 0))
}
