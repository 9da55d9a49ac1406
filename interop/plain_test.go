package interop

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
)

// The pictures and the sound that programs send.
const (
	plainWidth, plainHeight, plainFrameRate = 320, 240, 25
	plainTone                               = 440
)

// A stream is one RTP stream as a program needs to know it.
type stream struct {
	kind        mafalda.MediaKind
	mimeType    string // with the case that SDP uses
	payloadType uint8
	ssrc        uint32
	ip          string
	port        uint16 // of RTP, where it is sent to
	rtcpPort    uint16
	key         *mafalda.SRTPParameters // that it is encrypted with; nil: it is not
}

func (s stream) encoding() string { return strings.SplitN(s.mimeType, "/", 2)[1] }

// A program is a sender and receiver of RTP.
type program struct {
	name    string
	command string
	// publish returns the arguments that send a stream, receive those that
	// decode one to standard output.
	publish, receive func(t *testing.T, s stream) []string
}

var (
	ffmpeg    = program{"ffmpeg", "ffmpeg", ffmpegPublish, ffmpegReceive}
	gstreamer = program{"gstreamer", "gst-launch-1.0", gstreamerPublish, gstreamerReceive}
)

// TestPlain: ffmpeg and GStreamer send to each other through PlainTransports.
func TestPlain(t *testing.T) {
	needPrograms(t, ffmpeg.command)
	needElements(t, gstreamerElements...)
	for _, c := range []struct {
		from, to program
		suite    mafalda.SRTPCryptoSuite
		video    string
	}{
		{ffmpeg, ffmpeg, "", "video/VP8"},
		{ffmpeg, gstreamer, "", "video/H264"},
		{gstreamer, ffmpeg, "", "video/VP9"},
		{gstreamer, gstreamer, "", "video/VP8"},
		{ffmpeg, gstreamer, mafalda.SRTPAES128CM80, "video/VP8"},
		{gstreamer, ffmpeg, mafalda.SRTPAES128CM80, "video/VP8"},
		{ffmpeg, ffmpeg, mafalda.SRTPAES128CM80, "video/H264"},
		{gstreamer, gstreamer, mafalda.SRTPAES128CM32, "video/VP8"},
		{gstreamer, gstreamer, mafalda.SRTPAES128GCM, "video/VP8"},
		{gstreamer, gstreamer, mafalda.SRTPAES256GCM, "video/VP8"},
	} {
		wire := string(c.suite)
		if wire == "" {
			wire = "plain"
		}
		name := fmt.Sprintf("%s to %s, %s", c.from.name, c.to.name, wire)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			r := newRoom(t)
			video, p1 := r.publish(t, ctx, c.from, mafalda.MediaKindVideo, c.video, c.suite)
			audio, p2 := r.publish(t, ctx, c.from, mafalda.MediaKindAudio, "audio/opus", c.suite)
			pictures, sound := newFrames(plainWidth, plainHeight), &samples{}
			seen, p3 := r.decode(t, ctx, c.to, video, c.suite, pictures)
			_, p4 := r.decode(t, ctx, c.to, audio, c.suite, sound)
			until(t, ctx, "pictures and sound are decoded", func() (bool, error) {
				for _, p := range []*process{p1, p2, p3, p4} {
					require.NoError(t, p.running())
				}
				return pictures.started() && sound.started(), nil
			})
			time.Sleep(time.Second)
			pictures.take()
			sound.take()
			time.Sleep(4 * time.Second)
			n, different, fps := pictures.take()
			seconds, frequency, rms := sound.take()
			figures("%s: %s frames=%d different=%d %.1ffps (%d sent), opus %.1fs of %.0fHz (%d sent) rms=%.2f",
				name, seen.RTPParameters().Codecs[0].MIMEType, n, different, fps, plainFrameRate, seconds, frequency, plainTone, rms)
			require.GreaterOrEqual(t, float64(n), 0.9*4*plainFrameRate)
			require.GreaterOrEqual(t, fps, 0.9*plainFrameRate)
			require.GreaterOrEqual(t, different, n*9/10, "the picture stands still")
			require.GreaterOrEqual(t, seconds, 0.9*4)
			require.InDelta(t, plainTone, frequency, 15)
			require.Greater(t, rms, 0.03)
		})
	}
}

// plainTransport makes a PlainTransport with RTCP on a port of its own, as
// these programs want it.
func (r *room) plainTransport(t *testing.T, ctx context.Context, comedia bool, suite mafalda.SRTPCryptoSuite) mafalda.PlainTransport {
	t.Helper()
	tr, err := r.router.CreatePlainTransport(ctx, mafalda.PlainTransportOptions{
		ListenInfo: mafalda.ListenInfo{Protocol: mafalda.ProtocolUDP, IP: localhost}, RTCPMux: new(false),
		Comedia: comedia, EnableSRTP: suite != "", SRTPCryptoSuite: suite,
	})
	require.NoError(t, err)
	return tr
}

// newKey makes the key of a program, nil without suite.
func newKey(suite mafalda.SRTPCryptoSuite) *mafalda.SRTPParameters {
	size := map[mafalda.SRTPCryptoSuite]int{
		mafalda.SRTPAES128CM80: 30, mafalda.SRTPAES128CM32: 30, mafalda.SRTPAES128GCM: 28, mafalda.SRTPAES256GCM: 44,
	}[suite]
	if size == 0 {
		return nil
	}
	key := make([]byte, size)
	rand.Read(key)
	return &mafalda.SRTPParameters{CryptoSuite: suite, KeyBase64: base64.StdEncoding.EncodeToString(key)}
}

// codec returns the codec of the Router.
func (r *room) codec(t *testing.T, mimeType string) mafalda.RTPCodecCapability {
	t.Helper()
	for _, c := range r.router.RTPCapabilities().Codecs {
		if strings.EqualFold(c.MIMEType, mimeType) {
			return c
		}
	}
	t.Fatal("the router has no " + mimeType)
	return mafalda.RTPCodecCapability{}
}

// publish lets a program send a stream.
func (r *room) publish(t *testing.T, ctx context.Context, p program, kind mafalda.MediaKind, mimeType string, suite mafalda.SRTPCryptoSuite) (mafalda.Producer, *process) {
	t.Helper()
	tr := r.plainTransport(t, ctx, true, suite)
	s := stream{
		kind: kind, mimeType: mimeType, payloadType: 110, ssrc: 11_000_000 + uint32(len(kind)+len(mimeType)),
		ip: localhost.String(), port: tr.Tuple().LocalPort, rtcpPort: tr.RTCPTuple().LocalPort, key: newKey(suite),
	}
	if suite != "" {
		require.NoError(t, tr.Connect(ctx, mafalda.PlainTransportConnectOptions{SRTPParameters: s.key}))
	}
	c := r.codec(t, mimeType)
	producer, err := tr.Produce(ctx, mafalda.ProducerOptions{Kind: kind, RTPParameters: mafalda.RTPParameters{
		Codecs: []mafalda.RTPCodecParameters{{
			MIMEType: c.MIMEType, PayloadType: s.payloadType, ClockRate: c.ClockRate, Channels: c.Channels, Parameters: c.Parameters,
		}},
		Encodings: []mafalda.RTPEncodingParameters{{SSRC: s.ssrc}},
		RTCP:      mafalda.RTCPParameters{CNAME: p.name},
	}})
	require.NoError(t, err)
	return producer, start(t, nil, p.command, p.publish(t, s)...)
}

// decode lets a program receive a stream and decode it into out.
func (r *room) decode(t *testing.T, ctx context.Context, p program, producer mafalda.Producer, suite mafalda.SRTPCryptoSuite, out io.Writer) (mafalda.Consumer, *process) {
	t.Helper()
	tr := r.plainTransport(t, ctx, false, suite)
	var caps mafalda.RTPCapabilities // no retransmission, no header extension
	for _, c := range r.router.RTPCapabilities().Codecs {
		if !strings.HasSuffix(c.MIMEType, "/rtx") {
			caps.Codecs = append(caps.Codecs, c)
		}
	}
	consumer, err := tr.Consume(ctx, mafalda.ConsumerOptions{ProducerID: producer.ID(), RTPCapabilities: caps, Paused: true})
	require.NoError(t, err)
	params := consumer.RTPParameters()
	port := freePorts(t)
	require.NotEmpty(t, params.Codecs)
	proc := start(t, out, p.command, p.receive(t, stream{
		kind: consumer.Kind(), mimeType: params.Codecs[0].MIMEType, payloadType: params.Codecs[0].PayloadType,
		ssrc: params.Encodings[0].SSRC, ip: localhost.String(), port: port, rtcpPort: port + 1, key: tr.SRTPParameters(),
	})...)
	until(t, ctx, "the program listens", func() (bool, error) {
		require.NoError(t, proc.running())
		return listening(port) && listening(port+1), nil
	})
	require.NoError(t, tr.Connect(ctx, mafalda.PlainTransportConnectOptions{
		IP: localhost, Port: port, RTCPPort: port + 1, SRTPParameters: newKey(suite),
	}))
	require.NoError(t, consumer.Resume(ctx))
	return consumer, proc
}

// freePorts returns an even UDP port that is free, as is the next.
func freePorts(t *testing.T) uint16 {
	t.Helper()
	for range 100 {
		c, err := net.ListenUDP("udp", &net.UDPAddr{IP: localhost.AsSlice()})
		require.NoError(t, err)
		port := uint16(c.LocalAddr().(*net.UDPAddr).Port)
		c.Close()
		if port%2 == 0 && !listening(port+1) {
			return port
		}
	}
	t.Fatal("no two free ports in a row")
	return 0
}

// listening reports whether somebody has the UDP port.
func listening(port uint16) bool {
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: localhost.AsSlice(), Port: int(port)})
	if err != nil {
		return true
	}
	c.Close()
	return false
}
