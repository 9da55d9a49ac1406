package mafalda

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/rtp"
	"github.com/mafalda-sfu/mafalda/internal/rtptest"
)

// A logBook is a handler that keeps what is logged.
type logBook struct {
	mu    sync.Mutex
	lines []string // guarded by mu: level and message
}

func (b *logBook) Enabled(context.Context, slog.Level) bool { return true }
func (b *logBook) WithAttrs([]slog.Attr) slog.Handler       { return b }
func (b *logBook) WithGroup(string) slog.Handler            { return b }

func (b *logBook) Handle(_ context.Context, r slog.Record) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, r.Level.String()+" "+r.Message)
	return nil
}

// has reports whether a line begins with that.
func (b *logBook) has(prefix string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.ContainsFunc(b.lines, func(l string) bool { return strings.HasPrefix(l, prefix) })
}

func (b *logBook) all() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Join(b.lines, "\n")
}

func (b *logBook) clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = nil
}

// A logWorld is a Router, and what causes of messages need.
type logWorld struct {
	t *testing.T
	r Router
}

func (x *logWorld) plain(o PlainTransportOptions) PlainTransport {
	o.ListenInfo = udp()
	tr, err := x.r.CreatePlainTransport(x.t.Context(), o)
	require.NoError(x.t, err)
	return tr
}

// knock sends a datagram to a transport and waits until it came.
func (x *logWorld) knock(tr Transport, port uint16, b []byte) {
	conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)))
	require.NoError(x.t, err)
	defer conn.Close()
	_, err = conn.Write(b)
	require.NoError(x.t, err)
	require.Eventually(x.t, func() bool {
		s, err := tr.Stats(x.t.Context())
		require.NoError(x.t, err)
		return s[0].BytesReceived >= uint64(len(b))
	}, patience, time.Millisecond)
}

func (x *logWorld) web() (WebRTCTransport, uint16) {
	tr, err := x.r.CreateWebRTCTransport(x.t.Context(), WebRTCTransportOptions{ListenInfos: []ListenInfo{udp()}})
	require.NoError(x.t, err)
	return tr, tr.ICECandidates()[0].Port
}

// forward produces and consumes on DirectTransports and sends one packet.
func (x *logWorld) forward(o ProducerOptions, payload []byte) {
	d := testDirect(x.t, x.r)
	p := testProduce(x.t, d, o)
	testConsume(x.t, x.r, testDirect(x.t, x.r), p)
	c := o.RTPParameters.Codecs[0]
	require.NoError(x.t, p.Send(rtptest.Packet{
		Header: rtp.Header{PayloadType: c.PayloadType, SequenceNumber: 7, SSRC: o.RTPParameters.Encodings[0].SSRC}, Payload: payload,
	}.Bytes()))
}

func layered(mime string, pt uint8, encodings ...RTPEncodingParameters) ProducerOptions {
	o := videoOptions(0)
	o.RTPParameters.Codecs[0].MIMEType, o.RTPParameters.Codecs[0].PayloadType = mime, pt
	o.RTPParameters.Encodings = encodings
	return o
}

// logCauses has for each tag what has it say something.
var logCauses = map[LogTag]struct {
	line  string
	cause func(x *logWorld)
}{
	LogTagInfo: {"DEBUG transport created", func(x *logWorld) { testDirect(x.t, x.r) }},
	LogTagICE: {"WARN STUN refused", func(x *logWorld) {
		tr, port := x.web()
		x.knock(tr, port, append([]byte{0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42}, make([]byte, 12)...))
	}},
	LogTagDTLS: {"WARN DTLS dropped", func(x *logWorld) {
		tr, port := x.web()
		x.knock(tr, port, append([]byte{22, 0xfe, 0xfd}, make([]byte, 20)...))
	}},
	LogTagRTP: {"WARN RTP dropped", func(x *logWorld) {
		require.NoError(x.t, testProduce(x.t, testDirect(x.t, x.r), audioOptions(1)).Send([]byte("not RTP")))
	}},
	LogTagSRTP: {"WARN SRTP dropped", func(x *logWorld) {
		tr := x.plain(PlainTransportOptions{EnableSRTP: true, Comedia: true})
		require.NoError(x.t, tr.Connect(x.t.Context(), PlainTransportConnectOptions{SRTPParameters: tr.SRTPParameters()}))
		x.knock(tr, tr.Tuple().LocalPort, append([]byte{0x80, 100, 0, 1}, make([]byte, 40)...))
	}},
	LogTagRTCP: {"WARN RTCP dropped", func(x *logWorld) {
		require.NoError(x.t, testDirect(x.t, x.r).SendRTCP([]byte{0x81, 0xc9, 0, 7, 0, 0, 0, 0}))
	}},
	LogTagRTX: {"DEBUG key frame requested", func(x *logWorld) {
		x.forward(videoOptions(5), []byte{0x10, 1, 0, 0})
	}},
	LogTagBWE: {"DEBUG bandwidth is estimated", func(x *logWorld) {
		o := videoOptions(5)
		o.RTPParameters.Codecs[0].RTCPFeedback = append(o.RTPParameters.Codecs[0].RTCPFeedback, RTCPFeedback{Type: "transport-cc"})
		x.forward(o, []byte{0x10, 1, 0, 0})
	}},
	LogTagScore: {"DEBUG score of a received stream", func(x *logWorld) { x.forward(audioOptions(5), opusPayload) }},
	LogTagSimulcast: {"DEBUG layers to send", func(x *logWorld) {
		x.forward(layered("video/VP8", 96, RTPEncodingParameters{SSRC: 11}, RTPEncodingParameters{SSRC: 12}), rtptest.VP8{KeyFrame: true, Size: 50}.Payload())
	}},
	LogTagSVC: {"DEBUG layers to send", func(x *logWorld) {
		x.forward(layered("video/VP9", 98, RTPEncodingParameters{SSRC: 11, ScalabilityMode: "L3T3"}), rtptest.VP9{KeyFrame: true, Start: true, End: true, PictureIDBits: 15, HasLayers: true, Size: 50}.Payload())
	}},
	LogTagSCTP: {"DEBUG SCTP state", func(x *logWorld) {
		d, err := testDirect(x.t, x.r).ProduceData(x.t.Context(), DataProducerOptions{})
		require.NoError(x.t, err)
		tr := x.plain(PlainTransportOptions{SCTPOptions: SCTPOptions{EnableSCTP: true}})
		require.NoError(x.t, tr.Connect(x.t.Context(), PlainTransportConnectOptions{IP: netip.MustParseAddr("127.0.0.1"), Port: 9}))
		states := make(chan SCTPState, 8)
		tr.Events().SCTPStateChange.On(func(s SCTPState) { states <- s })
		_, err = tr.ConsumeData(x.t.Context(), DataConsumerOptions{DataProducerID: d.ID()})
		require.NoError(x.t, err)
		wait(x.t, states, "SCTP state")
	}},
	LogTagMessage: {"WARN message dropped", func(x *logWorld) {
		d, err := testDirect(x.t, x.r).ProduceData(x.t.Context(), DataProducerOptions{})
		require.NoError(x.t, err)
		small, err := x.r.CreateDirectTransport(x.t.Context(), DirectTransportOptions{MaxSendMessageSize: 3})
		require.NoError(x.t, err)
		_, err = small.ConsumeData(x.t.Context(), DataConsumerOptions{DataProducerID: d.ID()})
		require.NoError(x.t, err)
		require.NoError(x.t, d.Send(TextMessage("too long")))
	}},
}

// TestLogTags provokes a message of each tag: it is heard while its tag is on, and
// not while all others are.
func TestLogTags(t *testing.T) {
	for _, where := range []struct {
		name string
		sfu  func(t *testing.T) SFU
	}{
		{"in this process", func(t *testing.T) SFU { return testSFU(t) }},
		{"in another", func(t *testing.T) SFU { return processSFU{testSFU(t)} }},
	} {
		for _, tag := range logTags {
			t.Run(where.name+"/"+string(tag), func(t *testing.T) {
				t.Parallel()
				testLogTag(t, where.sfu(t), tag)
			})
		}
	}
}

func testLogTag(t *testing.T, s SFU, tag LogTag) {
	c, ok := logCauses[tag]
	require.True(t, ok, "no cause")
	book := &logBook{}
	w, err := s.CreateWorker(t.Context(), WorkerSettings{
		LogLevel: LogLevelDebug, LogTags: []LogTag{tag}, Logger: slog.New(book),
	})
	require.NoError(t, err)
	codecs := []RouterRTPCodecCapability{
		{Kind: MediaKindAudio, MIMEType: "audio/opus", ClockRate: 48000, Channels: 2},
		{Kind: MediaKindVideo, MIMEType: "video/VP8", ClockRate: 90000},
		{Kind: MediaKindVideo, MIMEType: "video/VP9", ClockRate: 90000},
	}
	cause := func(tag LogTag) {
		r, err := w.CreateRouter(t.Context(), RouterOptions{MediaCodecs: codecs})
		require.NoError(t, err)
		logCauses[tag].cause(&logWorld{t, r})
		require.NoError(t, r.Close())
	}
	heard := func(line string) {
		t.Helper()
		if !assert.Eventually(t, func() bool { return book.has(line) }, patience, time.Millisecond, line) {
			require.FailNow(t, "not heard", book.all())
		}
	}
	cause(tag)
	heard(c.line)

	// What is said last is heard, so what is said before it would have been.
	last, line := func() { testServer(t, w) }, "DEBUG WebRTC server created"
	if tag == LogTagInfo {
		last, line = func() { cause(LogTagMessage) }, logCauses[LogTagMessage].line
	}
	others := slices.DeleteFunc(slices.Clone(logTags), func(x LogTag) bool { return x == tag || logCauses[x].line == c.line })
	require.NoError(t, w.UpdateSettings(t.Context(), WorkerUpdateableSettings{LogTags: others}))
	last()
	heard(line)
	book.clear()
	cause(tag)
	last()
	heard(line)
	require.False(t, book.has(c.line), "its tag is off")

	require.NoError(t, w.UpdateSettings(t.Context(), WorkerUpdateableSettings{LogTags: []LogTag{tag}}))
	cause(tag)
	heard(c.line)
	require.NoError(t, w.Close())
}
