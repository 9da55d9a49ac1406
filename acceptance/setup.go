package acceptance

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
)

// patience is how long a case waits for what must happen.
const patience = 30 * time.Second

var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

func listen(p mafalda.Protocol) mafalda.ListenInfo {
	return mafalda.ListenInfo{Protocol: p, IP: loopback}
}

func listenUDP() mafalda.ListenInfo { return listen(mafalda.ProtocolUDP) }
func listenTCP() mafalda.ListenInfo { return listen(mafalda.ProtocolTCP) }

// overUDP are the options of a WebRTCTransport on one UDP port.
func overUDP() mafalda.WebRTCTransportOptions {
	return mafalda.WebRTCTransportOptions{ListenInfos: []mafalda.ListenInfo{listenUDP()}}
}

// mediaCodecs are the codecs of most Routers here. They get the payload types
// 100 (Opus), 101 and 102 (VP8), 103 and 104 (H264).
func mediaCodecs() []mafalda.RouterRTPCodecCapability {
	return []mafalda.RouterRTPCodecCapability{
		{Kind: mafalda.MediaKindAudio, MIMEType: "audio/opus", ClockRate: 48000, Channels: 2},
		{Kind: mafalda.MediaKindVideo, MIMEType: "video/VP8", ClockRate: 90000},
		{
			Kind: mafalda.MediaKindVideo, MIMEType: "video/H264", ClockRate: 90000,
			Parameters: map[string]any{
				"level-asymmetry-allowed": 1, "packetization-mode": 1, "profile-level-id": "4d0032",
			},
		},
	}
}

// worker creates a Worker with defaults.
func (s *suite) worker(t testing.TB) mafalda.Worker {
	t.Helper()
	w, err := s.sfu.CreateWorker(t.Context(), mafalda.WorkerSettings{})
	require.NoError(t, err)
	return w
}

// A room is a Router and its Worker.
type room struct {
	worker mafalda.Worker
	router mafalda.Router
}

// room creates a Worker and a Router with the given codecs, or [mediaCodecs].
func (s *suite) room(t testing.TB, codecs ...mafalda.RouterRTPCodecCapability) *room {
	t.Helper()
	return newRoom(t, s.worker(t), codecs...)
}

func newRoom(t testing.TB, w mafalda.Worker, codecs ...mafalda.RouterRTPCodecCapability) *room {
	t.Helper()
	if len(codecs) == 0 {
		codecs = mediaCodecs()
	}
	r, err := w.CreateRouter(t.Context(), mafalda.RouterOptions{MediaCodecs: codecs})
	require.NoError(t, err)
	return &room{worker: w, router: r}
}

func (r *room) webRTC(t testing.TB, o mafalda.WebRTCTransportOptions) mafalda.WebRTCTransport {
	t.Helper()
	tr, err := r.router.CreateWebRTCTransport(t.Context(), o)
	require.NoError(t, err)
	return tr
}

func (r *room) plain(t testing.TB, o mafalda.PlainTransportOptions) mafalda.PlainTransport {
	t.Helper()
	if !o.ListenInfo.IP.IsValid() {
		o.ListenInfo = listenUDP()
	}
	tr, err := r.router.CreatePlainTransport(t.Context(), o)
	require.NoError(t, err)
	return tr
}

func (r *room) direct(t testing.TB) mafalda.DirectTransport {
	t.Helper()
	tr, err := r.router.CreateDirectTransport(t.Context(), mafalda.DirectTransportOptions{})
	require.NoError(t, err)
	return tr
}

// server creates a WebRTCServer on one UDP and one TCP port.
func (r *room) server(t testing.TB) mafalda.WebRTCServer {
	t.Helper()
	s, err := r.worker.CreateWebRTCServer(t.Context(), mafalda.WebRTCServerOptions{
		ListenInfos: []mafalda.ListenInfo{listenUDP(), listenTCP()},
	})
	require.NoError(t, err)
	return s
}

// serverOfOnePort creates a WebRTCServer on a given UDP port. Its transports are
// served by one loop, even where a Router is spread over several.
func (r *room) serverOfOnePort(t testing.TB) mafalda.WebRTCServer {
	t.Helper()
	var s mafalda.WebRTCServer
	eventually(t, "a port is still free when it is bound", func() bool {
		info := listenUDP()
		info.Port = freePort(t)
		var err error
		s, err = r.worker.CreateWebRTCServer(t.Context(), mafalda.WebRTCServerOptions{ListenInfos: []mafalda.ListenInfo{info}})
		return err == nil
	})
	return s
}

func produce(t testing.TB, tr mafalda.Transport, kind mafalda.MediaKind, p mafalda.RTPParameters) mafalda.Producer {
	t.Helper()
	producer, err := tr.Produce(t.Context(), mafalda.ProducerOptions{Kind: kind, RTPParameters: p})
	require.NoError(t, err)
	return producer
}

func (r *room) consume(t testing.TB, tr mafalda.Transport, p mafalda.Producer) mafalda.Consumer {
	t.Helper()
	c, err := tr.Consume(t.Context(), mafalda.ConsumerOptions{
		ProducerID: p.ID(), RTPCapabilities: r.router.RTPCapabilities(),
	})
	require.NoError(t, err)
	return c
}

// audio are the parameters of an endpoint that sends Opus. Its ids are not
// those of the Router, so that a mapping that is left out shows.
func audio(mid string, ssrc uint32) mafalda.RTPParameters {
	return mafalda.RTPParameters{
		MID: mid,
		Codecs: []mafalda.RTPCodecParameters{
			{MIMEType: "audio/opus", PayloadType: 111, ClockRate: 48000, Channels: 2},
		},
		HeaderExtensions: []mafalda.RTPHeaderExtensionParameters{
			{URI: mafalda.RTPHeaderExtensionMID, ID: 10},
			{URI: mafalda.RTPHeaderExtensionSSRCAudioLevel, ID: 12},
		},
		Encodings: []mafalda.RTPEncodingParameters{{SSRC: ssrc}},
		RTCP:      mafalda.RTCPParameters{CNAME: "the-cname"},
	}
}

// video are the parameters of an endpoint that sends VP8 with retransmission
// on the next SSRC.
func video(mid string, ssrc uint32) mafalda.RTPParameters {
	return mafalda.RTPParameters{
		MID: mid,
		Codecs: []mafalda.RTPCodecParameters{
			{
				MIMEType: "video/VP8", PayloadType: 112, ClockRate: 90000,
				RTCPFeedback: []mafalda.RTCPFeedback{
					{Type: "nack"}, {Type: "nack", Parameter: "pli"}, {Type: "ccm", Parameter: "fir"},
				},
			},
			{
				MIMEType: "video/rtx", PayloadType: 113, ClockRate: 90000,
				Parameters: map[string]any{"apt": 112},
			},
		},
		HeaderExtensions: []mafalda.RTPHeaderExtensionParameters{
			{URI: mafalda.RTPHeaderExtensionMID, ID: 10},
			{URI: mafalda.RTPHeaderExtensionAbsSendTime, ID: 11},
			{URI: mafalda.RTPHeaderExtensionVideoOrientation, ID: 13},
		},
		Encodings: []mafalda.RTPEncodingParameters{
			{SSRC: ssrc, RTX: &mafalda.RTXParameters{SSRC: ssrc + 1}},
		},
		RTCP: mafalda.RTCPParameters{CNAME: "the-cname"},
	}
}

// freePort returns a port that was free a moment ago for UDP and TCP.
func freePort(t testing.TB) uint16 {
	t.Helper()
	return twoFreePorts(t).Min
}

// Ports of cases are below those that Workers and the kernel give away.
const (
	firstPort = 5000
	portPairs = (mafalda.DefaultRTCMinPort - firstPort) / 2
)

// Cases get pairs of ports by turns, so that no two have the same. Other processes
// begin elsewhere.
var (
	beginPair = rand.Uint32N(portPairs)
	pairTurn  atomic.Uint32
)

// twoFreePorts returns a range of two ports that were free a moment ago.
func twoFreePorts(t testing.TB) mafalda.PortRange {
	t.Helper()
	for range portPairs {
		port := uint16(firstPort + 2*((beginPair+pairTurn.Add(1))%portPairs))
		if isFree(port) && isFree(port+1) {
			return mafalda.PortRange{Min: port, Max: port + 1}
		}
	}
	t.Fatal("no two ports are free")
	return mafalda.PortRange{}
}

// isFree reports whether a port is free for UDP and TCP.
func isFree(port uint16) bool {
	c, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(port)})
	if err != nil {
		return false
	}
	defer c.Close()
	u, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(port)})
	if err != nil {
		return false
	}
	u.Close()
	return true
}
