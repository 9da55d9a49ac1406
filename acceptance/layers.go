package acceptance

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
)

var layersCases = []testCase{
	{
		name:        "Layers/ProducerTypes",
		explanation: "several encodings make a simulcast Producer, layers in the only one an SVC Producer; both only of codecs that can",
		upstream:    []string{"Producer 2", "3.21.1"},
		run:         testLayersProducerTypes,
	},
	{
		name:        "Layers/ConsumerTypes",
		explanation: "a Consumer has the type of its Producer, and the layers that it prefers in its dump; with Pipe it is a pipe of one stream for each encoding, without MID",
		upstream:    []string{"Consumer 1", "Consumer 5"},
		run:         testLayersConsumerTypes,
	},
	{
		name:        "Layers/Preferred",
		explanation: "preferred layers are at most the highest, which is what a missing temporal layer means; where there are none they stay nil; a negative one is ErrInvalidArgument",
		upstream:    []string{"Consumer 9", "Consumer 10"},
		run:         testLayersPreferred,
	},
	{
		name:        "Layers/Priority",
		explanation: "the priority is 1 to 255, 1 at first and after UnsetPriority; others are ErrInvalidArgument",
		upstream:    []string{"Consumer 11", "Consumer 12", "Consumer 13"},
		run:         testLayersPriority,
	},
	{
		name:        "Layers/Simulcast",
		explanation: "of several streams the preferred one is forwarded once sender reports tell how they relate, from a key frame on; sequence numbers, picture ids and timestamps go on; LayersChange and Score tell",
		upstream:    []string{"3.16.6 layers", "3.26.0"},
		run:         testLayersSimulcast,
	},
	{
		name:        "Layers/Temporal",
		explanation: "VP8 packets above the preferred temporal layer are dropped, without gaps in sequence numbers and picture ids",
		upstream:    []string{"3.20.1 layers", "3.15.4", "3.26.0"},
		run:         testLayersTemporal,
	},
	{
		name:        "Layers/SVC",
		explanation: "of an SVC stream the preferred spatial layer is forwarded without gaps in sequence numbers; when it stops coming the Consumer goes on with the highest that comes",
		upstream:    []string{"3.27.0", "3.20.1 layers"},
		run:         testLayersSVC,
	},
	{
		name:        "Layers/Silence",
		explanation: "when all streams of a simulcast have fallen silent, or the Consumer is paused, LayersChange says nil",
		run:         testLayersSilence,
	},
	{
		name:        "Layers/Pipe",
		explanation: "a pipe forwards each stream as it is, from its key frame on, and asks all of them for key frames",
		run:         testLayersPipe,
	},
}

// scalable are the parameters of an endpoint that sends encodings of a codec,
// with SSRCs 1, 11, 21 …
func scalable(mime string, modes ...string) mafalda.RTPParameters {
	p := video("", 1)
	p.Codecs[0].MIMEType = mime
	p.Encodings = nil
	for i, mode := range modes {
		p.Encodings = append(p.Encodings, mafalda.RTPEncodingParameters{SSRC: uint32(1 + 10*i), ScalabilityMode: mode})
	}
	return p
}

func videoCodecs(mimes ...string) (list []mafalda.RouterRTPCodecCapability) {
	for _, mime := range mimes {
		list = append(list, mafalda.RouterRTPCodecCapability{Kind: mafalda.MediaKindVideo, MIMEType: mime, ClockRate: 90000})
	}
	return list
}

// unlimited are the capabilities of an endpoint for which no bandwidth is
// estimated.
func (r *room) unlimited() mafalda.RTPCapabilities {
	caps := r.router.RTPCapabilities()
	caps.HeaderExtensions = slices.DeleteFunc(caps.HeaderExtensions, func(x mafalda.RTPHeaderExtension) bool {
		return x.URI == mafalda.RTPHeaderExtensionTransportWideCC || x.URI == mafalda.RTPHeaderExtensionAbsSendTime
	})
	return caps
}

func layersOf(spatial, temporal int) *mafalda.ConsumerLayers {
	return &mafalda.ConsumerLayers{SpatialLayer: spatial, TemporalLayer: &temporal}
}

func testLayersProducerTypes(t *testing.T, s *suite) {
	codecs := []string{"video/VP8", "video/VP9", "video/H264", "video/AV1"}
	r := s.room(t, append(videoCodecs(codecs...), mediaCodecs()[0])...)
	four := scalable("video/VP8", "L1T3", "L1T3", "L1T3", "L1T3")
	p := produce(t, r.direct(t), mafalda.MediaKindVideo, four)
	require.Equal(t, mafalda.ProducerTypeSimulcast, p.Type())
	d := dumpProducer(t, p)
	require.Equal(t, mafalda.ProducerTypeSimulcast, d.Type)
	require.Len(t, d.RTPParameters.Encodings, 4)
	require.Len(t, d.RTPMapping.Encodings, 4)
	for _, mime := range codecs {
		for _, mode := range []string{"L3T3", "L1T2", "S2T1", "L3T3_KEY"} {
			p := produce(t, r.direct(t), mafalda.MediaKindVideo, scalable(mime, mode))
			require.Equal(t, mafalda.ProducerTypeSVC, p.Type(), "%s %s", mime, mode)
			require.Equal(t, mafalda.ProducerTypeSVC, dumpProducer(t, p).Type)
		}
		require.Equal(t, mafalda.ProducerTypeSimple, produce(t, r.direct(t), mafalda.MediaKindVideo, scalable(mime, "L1T1")).Type())
	}
	sound := audio("", 1)
	sound.Encodings[0].ScalabilityMode = "L1T2"
	for name, p := range map[string]mafalda.RTPParameters{
		"simulcast of VP9":        scalable("video/VP9", "L1T1", "L1T1"),
		"simulcast of AV1":        scalable("video/AV1", "L1T1", "L1T1"),
		"spatial layers in these": scalable("video/VP8", "L2T1", "L2T1"),
		"layers of Opus":          sound,
	} {
		kind := mafalda.MediaKindVideo
		if p.Codecs[0].MIMEType == "audio/opus" {
			kind = mafalda.MediaKindAudio
		}
		_, err := r.direct(t).Produce(t.Context(), mafalda.ProducerOptions{Kind: kind, RTPParameters: p})
		requireErrorIn(t, name, err, mafalda.ErrInvalidArgument)
	}
}

func testLayersConsumerTypes(t *testing.T, s *suite) {
	r := s.room(t, videoCodecs("video/VP8", "video/VP9")...)
	in, out := r.direct(t), r.direct(t)
	simulcast := produce(t, in, mafalda.MediaKindVideo, scalable("video/VP8", "L1T3", "L1T3"))
	svc := scalable("video/VP9", "L3T2")
	svc.Encodings[0].SSRC = 100
	layered := produce(t, in, mafalda.MediaKindVideo, svc)
	for _, v := range []struct {
		p         mafalda.Producer
		preferred *mafalda.ConsumerLayers
		typ       mafalda.ConsumerType
		want      *mafalda.ConsumerLayers
	}{
		{simulcast, nil, mafalda.ConsumerTypeSimulcast, layersOf(1, 2)},
		{simulcast, layersOf(0, 1), mafalda.ConsumerTypeSimulcast, layersOf(0, 1)},
		{layered, nil, mafalda.ConsumerTypeSVC, layersOf(2, 1)},
		{layered, &mafalda.ConsumerLayers{SpatialLayer: 1}, mafalda.ConsumerTypeSVC, layersOf(1, 1)},
		{layered, layersOf(9, 9), mafalda.ConsumerTypeSVC, layersOf(2, 1)},
	} {
		c, err := out.Consume(t.Context(), mafalda.ConsumerOptions{
			ProducerID: v.p.ID(), RTPCapabilities: r.router.RTPCapabilities(), PreferredLayers: v.preferred,
		})
		require.NoError(t, err)
		require.Equal(t, v.typ, c.Type())
		require.Equal(t, v.want, c.PreferredLayers())
		require.Nil(t, c.CurrentLayers())
		require.Equal(t, mafalda.ConsumerScore{Score: 10, ProducerScores: make([]int, len(v.p.RTPParameters().Encodings))}, c.Score())
		require.Len(t, c.RTPParameters().Encodings, 1)
		d := dumpConsumer(t, c)
		require.Equal(t, v.typ, d.Type)
		require.Equal(t, v.want.SpatialLayer, *d.PreferredSpatialLayer)
		require.Equal(t, *v.want.TemporalLayer, *d.PreferredTemporalLayer)
		for _, layer := range []*int{d.TargetSpatialLayer, d.TargetTemporalLayer, d.CurrentSpatialLayer, d.CurrentTemporalLayer} {
			require.Equal(t, -1, *layer)
		}
		require.NotNil(t, d.RTPStream)
		require.Empty(t, d.RTPStreams)
	}
	c, err := out.Consume(t.Context(), mafalda.ConsumerOptions{
		ProducerID: simulcast.ID(), RTPCapabilities: r.router.RTPCapabilities(), Pipe: true, MID: "x",
	})
	require.NoError(t, err)
	require.Equal(t, mafalda.ConsumerTypePipe, c.Type())
	require.Len(t, c.RTPParameters().Encodings, 2)
	require.Empty(t, c.RTPParameters().MID)
	require.Nil(t, c.PreferredLayers())
	require.Equal(t, mafalda.ConsumerScore{Score: 10, ProducerScore: 10, ProducerScores: []int{0, 0}}, c.Score())
	d := dumpConsumer(t, c)
	require.Len(t, d.RTPStreams, 2)
	require.Nil(t, d.RTPStream)
	require.Nil(t, d.PreferredSpatialLayer)
	stats, err := c.Stats(t.Context())
	require.NoError(t, err)
	require.Len(t, stats, 2)
}

func testLayersPreferred(t *testing.T, s *suite) {
	r := s.room(t)
	p := produce(t, r.direct(t), mafalda.MediaKindVideo, scalable("video/VP8", "L1T3", "L1T3", "L1T3"))
	c := r.consume(t, r.direct(t), p)
	for _, v := range []struct {
		in   mafalda.ConsumerLayers
		want *mafalda.ConsumerLayers
	}{
		{*layersOf(1, 0), layersOf(1, 0)},
		{*layersOf(7, 9), layersOf(2, 2)},
		{mafalda.ConsumerLayers{SpatialLayer: 0}, layersOf(0, 2)},
		{*layersOf(1000, 1000), layersOf(2, 2)},
	} {
		require.NoError(t, c.SetPreferredLayers(t.Context(), v.in))
		require.Equal(t, v.want, c.PreferredLayers())
		require.Equal(t, v.want.SpatialLayer, *dumpConsumer(t, c).PreferredSpatialLayer)
	}
	*c.PreferredLayers().TemporalLayer = 0
	require.Equal(t, layersOf(2, 2), c.PreferredLayers(), "what is returned is a copy")
	for name, l := range map[string]mafalda.ConsumerLayers{
		"spatial": *layersOf(-1, 0), "temporal": *layersOf(0, -1),
	} {
		requireErrorIn(t, name, c.SetPreferredLayers(t.Context(), l), mafalda.ErrInvalidArgument)
		_, err := r.direct(t).Consume(t.Context(), mafalda.ConsumerOptions{
			ProducerID: p.ID(), RTPCapabilities: r.router.RTPCapabilities(), PreferredLayers: &l,
		})
		requireErrorIn(t, name, err, mafalda.ErrInvalidArgument)
	}
	require.Equal(t, layersOf(2, 2), c.PreferredLayers())

	sound := r.consume(t, r.direct(t), produce(t, r.direct(t), mafalda.MediaKindAudio, audio("", 1)))
	require.NoError(t, sound.SetPreferredLayers(t.Context(), *layersOf(1, 1)))
	require.Nil(t, sound.PreferredLayers())
	require.NoError(t, c.Close())
	requireError(t, c.SetPreferredLayers(t.Context(), *layersOf(0, 0)), mafalda.ErrClosed)
}

func testLayersPriority(t *testing.T, s *suite) {
	r := s.room(t)
	c := r.consume(t, r.direct(t), produce(t, r.direct(t), mafalda.MediaKindVideo, video("", 1)))
	require.Equal(t, 1, c.Priority())
	for _, n := range []int{2, 255, 1} {
		require.NoError(t, c.SetPriority(t.Context(), n))
		require.Equal(t, n, c.Priority())
		require.Equal(t, n, dumpConsumer(t, c).Priority)
	}
	require.NoError(t, c.SetPriority(t.Context(), 7))
	for _, n := range []int{0, -1, 256, 1 << 40} {
		requireError(t, c.SetPriority(t.Context(), n), mafalda.ErrInvalidArgument)
	}
	require.Equal(t, 7, c.Priority())
	require.NoError(t, c.UnsetPriority(t.Context()))
	require.Equal(t, 1, c.Priority())
	require.NoError(t, c.Close())
	requireError(t, c.SetPriority(t.Context(), 3), mafalda.ErrClosed)
	requireError(t, c.UnsetPriority(t.Context()), mafalda.ErrClosed)
}

// A camera sends VP8 in several streams that began at different timestamps and
// numbers.
type camera struct {
	end     *end
	streams []*source
	began   time.Time
	picture []uint16
	tl0     []byte
	fill    []int // bytes of each frame beyond those that matter; nil: none
}

func newCamera(e *end, streams int) *camera {
	c := &camera{end: e, began: time.Now()}
	for i := range streams {
		s := vp8Source(uint32(1 + 10*i))
		s.seq = uint16(6000 + 20000*i)
		c.streams = append(c.streams, s)
		c.picture, c.tl0 = append(c.picture, uint16(1000*i)), append(c.tl0, byte(50*i))
	}
	return c
}

// at is the timestamp of stream i now.
func (c *camera) at(i int) uint32 {
	return uint32(i+1)<<28 + uint32(time.Since(c.began).Milliseconds()*90)
}

// frame sends a frame of stream i.
func (c *camera) frame(t testing.TB, i int, key bool, temporal byte) {
	t.Helper()
	c.picture[i]++
	if temporal == 0 {
		c.tl0[i]++
	}
	b := []byte{0x90, 0xe0, 0x80 | byte(c.picture[i]>>8), byte(c.picture[i]), c.tl0[i], temporal<<6 | 0x20, 1, 2, 0, byte(i)}
	if key {
		b[6] = 0
	}
	if c.fill != nil {
		b = append(b, make([]byte, c.fill[i])...)
	}
	c.streams[i].ts = c.at(i)
	c.end.sendRTP(t, c.streams[i].packet(b, marked))
}

// report sends a sender report of each stream.
func (c *camera) report(t testing.TB) {
	t.Helper()
	for i, s := range c.streams {
		c.end.sendRTCP(t, &rtcp.SenderReport{SSRC: s.ssrc, NTPTime: ntpOf(time.Now()), RTPTime: c.at(i)})
	}
}

// play sends key frames and reports of all streams until cond holds.
func (c *camera) play(t testing.TB, what string, cond func() bool) {
	t.Helper()
	eventually(t, what, func() bool {
		for i := range c.streams {
			c.frame(t, i, true, 0)
		}
		c.report(t)
		return cond()
	})
}

func testLayersSimulcast(t *testing.T, s *suite) {
	r := s.room(t)
	in, out := r.directEnd(t), r.directEnd(t)
	p := in.produce(t, mafalda.MediaKindVideo, scalable("video/VP8", "L1T3", "L1T3"))
	c := out.consumeWith(t, mafalda.ConsumerOptions{ProducerID: p.ID(), RTPCapabilities: r.unlimited()})
	own, watched := hear(t, &c.Events().LayersChange), hear(t, &c.Observer().LayersChange)
	scores := hear(t, &c.Events().Score)
	cam := newCamera(in, 2)
	cam.frame(t, 0, true, 0)
	require.Equal(t, layersOf(0, 0), receive(t, own, "the first layers"))
	require.Equal(t, layersOf(0, 0), receive(t, watched, "the first layers"))
	require.Equal(t, layersOf(0, 0), c.CurrentLayers())
	first := out.next(t, c)
	cam.play(t, "the preferred layer", func() bool {
		l := c.CurrentLayers()
		return l != nil && l.SpatialLayer == 1
	})
	for second := false; !second; {
		l := receive(t, own, "the second stream")
		second = l != nil && l.SpatialLayer == 1 // nil when a stream seemed dead for a moment
	}
	eventually(t, "the score of the stream that is sent", func() bool {
		select {
		case x := <-scores:
			return x.ProducerScore == 10 && slices.Equal(x.ProducerScores, []int{10, 10})
		default:
			return false
		}
	})
	last, changed := first, false
	for !changed || last.Payload[9] == 0 {
		next := out.next(t, c)
		require.Equal(t, last.SequenceNumber+1, next.SequenceNumber)
		require.Equal(t, vp8Picture(last.Payload)+1, vp8Picture(next.Payload))
		require.Equal(t, last.Payload[4]+1, next.Payload[4], "TL0PICIDX")
		require.GreaterOrEqual(t, int32(next.Timestamp-last.Timestamp), int32(0))
		require.Less(t, next.Timestamp-first.Timestamp, uint32(60*90000))
		last, changed = next, next.Payload[9] == 1
	}
	stats, err := c.Stats(t.Context())
	require.NoError(t, err)
	require.Len(t, stats, 2)
	require.EqualValues(t, 11, stats[1].SSRC, "the stream that is sent")

	require.NoError(t, c.SetPreferredLayers(t.Context(), *layersOf(0, 2)))
	cam.play(t, "the lower stream", func() bool {
		l := c.CurrentLayers()
		return l != nil && l.SpatialLayer == 0
	})
}

// vp8Picture is the picture id of a payload that the camera made.
func vp8Picture(b []byte) uint16 { return uint16(b[2]&0x7f)<<8 | uint16(b[3]) }

func testLayersTemporal(t *testing.T, s *suite) {
	for _, encodings := range []int{1, 2} { // SVC, simulcast
		r := s.room(t)
		in, out := r.directEnd(t), r.directEnd(t)
		p := in.produce(t, mafalda.MediaKindVideo, scalable("video/VP8", []string{"L1T3", "L1T3"}[:encodings]...))
		c := out.consumeWith(t, mafalda.ConsumerOptions{
			ProducerID: p.ID(), RTPCapabilities: r.unlimited(), PreferredLayers: layersOf(0, 1),
		})
		cam := newCamera(in, 1)
		want := 0
		for i, temporal := range []byte{0, 2, 1, 2, 0, 2, 1, 2, 0} {
			cam.frame(t, 0, i == 0, temporal)
			if temporal < 2 {
				want++
			}
		}
		last := out.next(t, c)
		for range want - 1 {
			next := out.next(t, c)
			require.NotEqual(t, byte(2), next.Payload[5]>>6)
			require.Equal(t, last.SequenceNumber+1, next.SequenceNumber)
			require.Equal(t, vp8Picture(last.Payload)+1, vp8Picture(next.Payload))
			last = next
		}
		require.Equal(t, layersOf(0, 1), c.CurrentLayers())
		require.NoError(t, c.SetPreferredLayers(t.Context(), *layersOf(0, 0)))
		cam.frame(t, 0, false, 1)
		cam.frame(t, 0, false, 0)
		next := out.next(t, c)
		require.Equal(t, last.SequenceNumber+1, next.SequenceNumber)
		require.Equal(t, byte(0), next.Payload[5]>>6)
	}
}

func testLayersSVC(t *testing.T, s *suite) {
	r := s.room(t, videoCodecs("video/VP9")...)
	in, out := r.directEnd(t), r.directEnd(t)
	p := in.produce(t, mafalda.MediaKindVideo, scalable("video/VP9", "L3T1"))
	c := out.consumeWith(t, mafalda.ConsumerOptions{
		ProducerID: p.ID(), RTPCapabilities: r.unlimited(), PreferredLayers: layersOf(1, 0),
	})
	src := vp8Source(1)
	src.step = 0 // all layers of a picture have its timestamp
	picture, layers, key := uint16(100), byte(3), true
	frame := func() {
		picture++
		src.ts += 3000
		for layer := range layers {
			b := []byte{0xac, 0x80 | byte(picture>>8), byte(picture), layer<<1 | 0x10, byte(picture), 1, layer}
			if layer > 0 {
				b[3] |= 1 // depends on the layer below
			}
			if !key {
				b[0] |= 0x40
			}
			in.sendRTP(t, src.packet(b, func(p *rtp.Packet) { p.Marker = layer == layers-1 }))
		}
	}
	at := func(spatial int) func() bool {
		return func() bool {
			frame()
			key = keyFrameWanted(t, in)
			l := c.CurrentLayers()
			return l != nil && l.SpatialLayer == spatial
		}
	}
	eventually(t, "the preferred layer", at(1))
	drain(out.rtp)
	require.NoError(t, c.SetPreferredLayers(t.Context(), *layersOf(2, 0)))
	eventually(t, "the highest layer", at(2))
	last := out.next(t, c)
	frame()
	for seen := false; !seen; {
		next := out.next(t, c)
		require.Equal(t, last.SequenceNumber+1, next.SequenceNumber)
		last, seen = next, next.Payload[6] == 2
	}
	layers = 2
	eventually(t, "the highest layer that comes", at(1))
}

// keyFrameWanted reports whether an endpoint was asked for a key frame.
func keyFrameWanted(t testing.TB, e *end) (wanted bool) {
	t.Helper()
	for len(e.rtcp) > 0 {
		for _, p := range parseRTCP(t, <-e.rtcp) {
			_, ok := p.(*rtcp.PictureLossIndication)
			wanted = wanted || ok
		}
	}
	return wanted
}

func testLayersSilence(t *testing.T, s *suite) {
	r := s.room(t)
	in, out := r.directEnd(t), r.directEnd(t)
	p := in.produce(t, mafalda.MediaKindVideo, scalable("video/VP8", "L1T3", "L1T3"))
	c := out.consumeWith(t, mafalda.ConsumerOptions{ProducerID: p.ID(), RTPCapabilities: r.unlimited()})
	changes := hear(t, &c.Events().LayersChange)
	cam := newCamera(in, 2)
	cam.frame(t, 0, true, 0)
	require.Equal(t, layersOf(0, 0), receive(t, changes, "the first layers"))
	require.Nil(t, receive(t, changes, "that nothing is left"))
	require.Nil(t, c.CurrentLayers())
	eventually(t, "the score of a silent stream", func() bool { return c.Score().ProducerScores[0] == 0 })
	cam.frame(t, 0, true, 0)
	require.Equal(t, layersOf(0, 0), receive(t, changes, "layers again"))
	require.NoError(t, c.Pause(t.Context()))
	require.Nil(t, receive(t, changes, "that nothing is sent"))
}

func testLayersPipe(t *testing.T, s *suite) {
	r := s.room(t)
	in, out := r.directEnd(t), r.directEnd(t)
	p := in.produce(t, mafalda.MediaKindVideo, scalable("video/VP8", "L1T3", "L1T3"))
	c := out.consumeWith(t, mafalda.ConsumerOptions{ProducerID: p.ID(), RTPCapabilities: r.unlimited(), Pipe: true})
	encodings := c.RTPParameters().Encodings
	cam := newCamera(in, 2)
	cam.frame(t, 0, false, 0)
	cam.frame(t, 1, true, 0)
	cam.frame(t, 0, true, 0)
	cam.frame(t, 1, false, 2)
	seqs := map[uint32]uint16{}
	for _, want := range []struct{ stream, picture int }{{1, 1001}, {0, 2}, {1, 1002}} {
		got := out.nextRTP(t, encodings[want.stream].SSRC)
		require.EqualValues(t, want.picture, vp8Picture(got.Payload))
		require.Equal(t, byte(want.stream), got.Payload[9])
		if seq, ok := seqs[got.SSRC]; ok {
			require.Equal(t, seq+1, got.SequenceNumber)
		}
		seqs[got.SSRC] = got.SequenceNumber
	}
	drain(in.rtcp)
	require.NoError(t, c.RequestKeyFrame(t.Context()))
	asked := map[uint32]bool{}
	for len(asked) < 2 {
		asked[nextRTCP[*rtcp.PictureLossIndication](t, in, nil).MediaSSRC] = true
	}
	require.NoError(t, c.SetPreferredLayers(t.Context(), *layersOf(0, 0)))
	require.Nil(t, c.PreferredLayers())
	require.Equal(t, 10, c.Score().ProducerScore)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.True(t, errors.Is(c.SetPriority(ctx, 2), context.Canceled))
}
