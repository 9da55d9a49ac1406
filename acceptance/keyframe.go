package acceptance

import (
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
)

var keyFrameCases = []testCase{
	{
		name:        "KeyFrame/Gate",
		explanation: "a Consumer of VP8, VP9 or H264 begins with a key frame; packets of it that came early follow in order",
		upstream:    []string{"3.19.3"},
		run:         testKeyFrameGate,
	},
	{
		name:        "KeyFrame/NewStream",
		explanation: "a new video stream that does not begin with a key frame is asked for one",
		run:         testKeyFrameNewStream,
	},
	{
		name:        "KeyFrame/RequestKeyFrame",
		explanation: "RequestKeyFrame sends a PLI to the endpoint; not while something is paused, not for audio",
		upstream:    []string{"Consumer 19"},
		run:         testKeyFrameRequest,
	},
	{
		name:        "KeyFrame/FromConsumer",
		explanation: "PLI and FIR of a receiving endpoint become a PLI to the sending one",
		run:         testKeyFrameFromConsumer,
	},
	{
		name:        "KeyFrame/FIR",
		explanation: "an endpoint that knows FIR only gets FIR, with growing sequence numbers (RFC 5104 §4.3.1)",
		run:         testKeyFrameFIR,
	},
	{
		name:        "KeyFrame/NoFeedback",
		explanation: "an endpoint that knows neither PLI nor FIR gets none",
		run:         testKeyFrameNoFeedback,
	},
	{
		name:        "KeyFrame/Repeated",
		explanation: "requests that are not answered are merged and repeated after a second",
		run:         testKeyFrameRepeated,
	},
	{
		name:        "KeyFrame/Delay",
		explanation: "KeyFrameRequestDelay merges the requests within it",
		run:         testKeyFrameDelay,
	},
	{
		name:        "KeyFrame/Resume",
		explanation: "resuming a video Producer or Consumer asks for a key frame; a new Consumer does",
		upstream:    []string{"Producer 10"},
		run:         testKeyFrameResume,
	},
}

// nextPLI waits for a PLI about the stream.
func nextPLI(t testing.TB, e *end, ssrc uint32) {
	t.Helper()
	pli := nextRTCP(t, e, func(p *rtcp.PictureLossIndication) bool { return p.MediaSSRC == ssrc })
	require.Equal(t, ssrc, pli.SenderSSRC, "as some endpoints want it")
}

// requireNoRequest sends something that is answered and checks that no
// request for a key frame came before.
func requireNoRequest(t testing.TB, rtcpIn <-chan []byte) {
	t.Helper()
	for {
		select {
		case b := <-rtcpIn:
			for _, p := range parseRTCP(t, b) {
				switch p.(type) {
				case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
					t.Fatalf("unexpected %T", p)
				}
			}
		default:
			return
		}
	}
}

func testKeyFrameGate(t *testing.T, s *suite) {
	for mime, v := range map[string]struct{ key, delta func(string) []byte }{
		"video/VP8": {vp8Key, vp8Delta}, "video/VP9": {vp9Key, vp9Delta}, "video/H264": {h264Key, h264Delta},
	} {
		codec := mafalda.RouterRTPCodecCapability{Kind: "video", MIMEType: mime, ClockRate: 90000}
		given := video("", 1)
		given.Codecs[0].MIMEType = mime
		r := s.room(t, codec)
		in := r.directEnd(t)
		p := in.produce(t, mafalda.MediaKindVideo, given)
		late, out := r.directEnd(t), r.directEnd(t)
		c := out.consume(t, r, p)
		src := vp8Source(1)
		in.sendRTP(t, src.packet(v.delta("1"), marked))
		in.sendRTP(t, src.packet(v.delta("2"), marked))
		first := src.packet(v.key("3"))
		in.sendRTP(t, src.packet(v.delta("4"))) // overtakes the beginning of its frame
		in.sendRTP(t, first)
		in.sendRTP(t, src.packet(v.delta("5"), marked))
		var seq uint16
		for i, want := range [][]byte{v.key("3"), v.delta("4"), v.delta("5")} {
			got := out.next(t, c)
			require.Equal(t, want, got.Payload, mime)
			if i > 0 {
				require.Equal(t, seq+1, got.SequenceNumber, mime)
			}
			seq = got.SequenceNumber
		}
		lc := late.consume(t, r, p)
		in.sendRTP(t, src.packet(v.delta("6"), marked))
		in.sendRTP(t, src.packet(v.key("7"), marked))
		require.Equal(t, v.key("7"), late.next(t, lc).Payload, mime)
		require.Equal(t, v.delta("6"), out.next(t, c).Payload, mime)
	}
}

func testKeyFrameNewStream(t *testing.T, s *suite) {
	r := s.room(t)
	in := r.plainEnd(t, mafalda.PlainTransportOptions{})
	in.produce(t, mafalda.MediaKindVideo, video("a", 1))
	in.produce(t, mafalda.MediaKindVideo, video("b", 11))
	in.sendRTP(t, vp8Source(11).packet(vp8Key("x")))
	in.sendRTP(t, vp8Source(1).packet(vp8Delta("x")))
	for {
		pli := nextRTCP[*rtcp.PictureLossIndication](t, in, nil)
		if pli.MediaSSRC == 1 {
			return
		}
		t.Fatal("a stream that begins with a key frame needs none")
	}
}

func testKeyFrameRequest(t *testing.T, s *suite) {
	r := s.room(t)
	in, out := r.directEnd(t), r.directEnd(t)
	p := in.produce(t, mafalda.MediaKindVideo, video("", 1))
	c := out.consume(t, r, p)
	src := vp8Source(1)
	answer := func() {
		t.Helper()
		in.sendRTP(t, src.packet(vp8Key("x"), marked))
		out.next(t, c)
		drain(in.rtcp)
	}
	answer()
	for range 3 {
		require.NoError(t, c.RequestKeyFrame(t.Context()))
		nextPLI(t, in, 1)
		answer()
	}
	require.NoError(t, c.Pause(t.Context()))
	require.NoError(t, c.RequestKeyFrame(t.Context()))
	requireNoRequest(t, in.rtcp)

	sound, ear := r.directEnd(t), r.directEnd(t)
	ac := ear.consume(t, r, sound.produce(t, mafalda.MediaKindAudio, audio("", 1)))
	sound.sendRTP(t, opusSource(1).packet([]byte("x")))
	ear.next(t, ac)
	require.NoError(t, ac.RequestKeyFrame(t.Context()))
	sound.sendRTP(t, opusSource(1).packet([]byte("y")))
	requireNoRequest(t, sound.rtcp)
}

func testKeyFrameFromConsumer(t *testing.T, s *suite) {
	r := s.room(t)
	in := r.directEnd(t)
	out := r.plainEnd(t, mafalda.PlainTransportOptions{})
	c := out.consume(t, r, in.produce(t, mafalda.MediaKindVideo, video("", 1)))
	ssrc := c.RTPParameters().Encodings[0].SSRC
	src := vp8Source(1)
	for _, request := range []rtcp.Packet{
		&rtcp.PictureLossIndication{SenderSSRC: 9, MediaSSRC: ssrc},
		&rtcp.FullIntraRequest{SenderSSRC: 9, FIR: []rtcp.FIREntry{{SSRC: ssrc, SequenceNumber: 1}}},
		&rtcp.PictureLossIndication{MediaSSRC: ssrc},
	} {
		in.sendRTP(t, src.packet(vp8Key("x"), marked))
		out.next(t, c)
		drain(in.rtcp)
		out.sendRTCP(t, request)
		nextPLI(t, in, 1)
	}
	stats, err := c.Stats(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 2, stats[0].PLICount)
	require.EqualValues(t, 1, stats[0].FIRCount)
	require.EqualValues(t, 1, stats[1].Score/10)
	require.GreaterOrEqual(t, stats[1].PLICount, uint64(3))
}

func testKeyFrameFIR(t *testing.T, s *suite) {
	r := s.room(t)
	given := video("", 1)
	given.Codecs[0].RTCPFeedback = []mafalda.RTCPFeedback{{Type: "ccm", Parameter: "fir"}}
	in, out := r.directEnd(t), r.directEnd(t)
	c := out.consume(t, r, in.produce(t, mafalda.MediaKindVideo, given))
	src := vp8Source(1)
	var last uint8
	for i := range 3 {
		in.sendRTP(t, src.packet(vp8Key("x"), marked))
		out.next(t, c)
		drain(in.rtcp)
		require.NoError(t, c.RequestKeyFrame(t.Context()))
		fir := nextRTCP[*rtcp.FullIntraRequest](t, in, nil)
		require.Len(t, fir.FIR, 1)
		require.Equal(t, uint32(1), fir.FIR[0].SSRC)
		if i > 0 {
			require.Equal(t, last+1, fir.FIR[0].SequenceNumber)
		}
		last = fir.FIR[0].SequenceNumber
	}
}

func testKeyFrameNoFeedback(t *testing.T, s *suite) {
	r := s.room(t)
	given := video("", 1)
	given.Codecs[0].RTCPFeedback = nil
	in, out := r.directEnd(t), r.directEnd(t)
	c := out.consume(t, r, in.produce(t, mafalda.MediaKindVideo, given))
	src := vp8Source(1)
	in.sendRTP(t, src.packet(vp8Delta("x"), marked))
	in.sendRTP(t, src.packet(vp8Key("x"), marked))
	out.next(t, c)
	require.NoError(t, c.RequestKeyFrame(t.Context()))
	in.sendRTP(t, src.packet(vp8Key("x"), marked))
	out.next(t, c)
	requireNoRequest(t, in.rtcp)
}

func testKeyFrameRepeated(t *testing.T, s *suite) {
	r := s.room(t)
	in, out := r.directEnd(t), r.directEnd(t)
	c := out.consume(t, r, in.produce(t, mafalda.MediaKindVideo, video("", 1)))
	src := vp8Source(1)
	in.sendRTP(t, src.packet(vp8Key("x"), marked))
	out.next(t, c)
	drain(in.rtcp)
	began := time.Now()
	for range 5 {
		require.NoError(t, c.RequestKeyFrame(t.Context()))
	}
	nextPLI(t, in, 1)
	nextPLI(t, in, 1)
	require.Greater(t, time.Since(began), 900*time.Millisecond, "the next one comes a second later")
}

func testKeyFrameDelay(t *testing.T, s *suite) {
	r := s.room(t)
	in, out := r.directEnd(t), r.directEnd(t)
	p := in.produceWith(t, mafalda.ProducerOptions{
		Kind: mafalda.MediaKindVideo, RTPParameters: video("", 1), KeyFrameRequestDelay: 400 * time.Millisecond,
	})
	c := out.consume(t, r, p)
	src := vp8Source(1)
	in.sendRTP(t, src.packet(vp8Key("x"), marked))
	out.next(t, c)
	eventually(t, "the delay of the first request is over", elapsed(450*time.Millisecond))
	drain(in.rtcp)
	require.NoError(t, c.RequestKeyFrame(t.Context()))
	nextPLI(t, in, 1)
	began := time.Now()
	in.sendRTP(t, src.packet(vp8Key("x"), marked))
	out.next(t, c)
	for range 3 {
		require.NoError(t, c.RequestKeyFrame(t.Context()))
	}
	nextPLI(t, in, 1)
	require.Greater(t, time.Since(began), 300*time.Millisecond, "later requests wait for the delay")
}

func testKeyFrameResume(t *testing.T, s *suite) {
	r := s.room(t)
	in, out := r.directEnd(t), r.directEnd(t)
	p := in.produce(t, mafalda.MediaKindVideo, video("", 1))
	c := out.consume(t, r, p)
	src := vp8Source(1)
	calm := func() {
		t.Helper()
		in.sendRTP(t, src.packet(vp8Key("x"), marked))
		out.next(t, c)
		for s.Pipes > 0 { // each end of a pipe asks, one a little later
			select {
			case <-in.rtcp:
				continue
			case <-time.After(300 * time.Millisecond):
			}
			break
		}
		drain(in.rtcp)
	}
	calm()
	require.NoError(t, p.Pause(t.Context()))
	requireNoRequest(t, in.rtcp)
	require.NoError(t, p.Resume(t.Context()))
	nextPLI(t, in, 1)
	calm()
	require.NoError(t, c.Pause(t.Context()))
	requireNoRequest(t, in.rtcp)
	require.NoError(t, c.Resume(t.Context()))
	nextPLI(t, in, 1)
	calm()
	r.directEnd(t).consume(t, r, p)
	nextPLI(t, in, 1)
}
