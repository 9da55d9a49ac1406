package interop

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/ice/v4"
	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
)

// An ortcPeer is an endpoint made with Pion's ORTC API: a full ICE agent, DTLS
// and real RTPSenders and RTPReceivers. Outside of a PeerConnection these have
// no interceptors, so that they make no reports and repair nothing.
type ortcPeer struct {
	api       *webrtc.API
	gatherer  *webrtc.ICEGatherer
	ice       *webrtc.ICETransport
	dtls      *webrtc.DTLSTransport
	transport mafalda.WebRTCTransport
}

// ortcConfig says how an ortcPeer connects.
type ortcConfig struct {
	role    webrtc.DTLSRole            // its own; required
	profile dtls.SRTPProtectionProfile // 0: Pion's choice
	tcp     bool
}

// payloadTypes are those of the Router, so that both directions agree.
const (
	opusPayloadType = 100
	vp8PayloadType  = 101
)

func newORTCPeer(t testing.TB, ctx context.Context, r *room, cfg ortcConfig) *ortcPeer {
	t.Helper()
	p := &ortcPeer{}
	p.api = newORTCAPI(t, cfg)
	var err error
	p.gatherer, err = p.api.NewICEGatherer(webrtc.ICEGatherOptions{})
	require.NoError(t, err)
	p.ice = p.api.NewICETransport(p.gatherer)
	p.dtls, err = p.api.NewDTLSTransport(p.ice, nil)
	require.NoError(t, err)
	t.Cleanup(func() {
		stopped := make(chan struct{})
		go func() { // ends with the endpoint
			p.dtls.Stop() // the other side may be gone
			p.ice.Stop()
			close(stopped)
		}()
		select {
		case <-stopped:
		case <-time.After(2 * time.Second):
			t.Error("the endpoint does not stop")
		}
	})
	gathered := make(chan struct{})
	p.gatherer.OnLocalCandidate(func(c *webrtc.ICECandidate) {
		if c == nil {
			close(gathered)
		}
	})
	require.NoError(t, p.gatherer.Gather())
	select {
	case <-gathered:
	case <-ctx.Done():
		t.Fatal("gathers no candidates")
	}

	p.transport, err = r.router.CreateWebRTCTransport(ctx, mafalda.WebRTCTransportOptions{
		WebRTCServer: r.server, EnableUDP: new(!cfg.tcp), EnableTCP: new(cfg.tcp),
	})
	require.NoError(t, err)
	p.connect(t, ctx, cfg)
	return p
}

func newORTCAPI(t testing.TB, cfg ortcConfig) *webrtc.API {
	t.Helper()
	media := &webrtc.MediaEngine{}
	require.NoError(t, media.RegisterCodec(webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2},
		PayloadType:        opusPayloadType,
	}, webrtc.RTPCodecTypeAudio))
	require.NoError(t, media.RegisterCodec(webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000, RTCPFeedback: []webrtc.RTCPFeedback{
			{Type: "nack"}, {Type: "nack", Parameter: "pli"},
		}},
		PayloadType: vp8PayloadType,
	}, webrtc.RTPCodecTypeVideo))

	var s webrtc.SettingEngine
	s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	s.SetIncludeLoopbackCandidate(true)
	s.SetIPFilter(func(ip net.IP) bool { return ip.IsLoopback() })
	s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	if cfg.tcp {
		s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeTCP4})
	}
	if cfg.profile != 0 {
		s.SetSRTPProtectionProfiles(cfg.profile)
	}
	return webrtc.NewAPI(webrtc.WithMediaEngine(media), webrtc.WithSettingEngine(s))
}

// connect runs ICE and DTLS.
func (p *ortcPeer) connect(t testing.TB, ctx context.Context, cfg ortcConfig) {
	t.Helper()
	local, err := p.dtls.GetLocalParameters()
	require.NoError(t, err)
	ours := mafalda.DTLSParameters{Role: mafalda.DTLSRoleClient}
	theirs := webrtc.DTLSParameters{Role: webrtc.DTLSRoleServer}
	if cfg.role == webrtc.DTLSRoleServer {
		ours.Role, theirs.Role = mafalda.DTLSRoleServer, webrtc.DTLSRoleClient
	}
	for _, f := range local.Fingerprints {
		ours.Fingerprints = append(ours.Fingerprints, mafalda.DTLSFingerprint{
			Algorithm: mafalda.FingerprintAlgorithm(f.Algorithm), Value: f.Value,
		})
	}
	require.NoError(t, p.transport.Connect(ctx, mafalda.WebRTCTransportConnectOptions{DTLSParameters: ours}))
	for _, f := range p.transport.DTLSParameters().Fingerprints {
		theirs.Fingerprints = append(theirs.Fingerprints, webrtc.DTLSFingerprint{Algorithm: string(f.Algorithm), Value: f.Value})
	}
	require.Equal(t, strings.ToLower(theirs.Role.String()), string(p.transport.DTLSParameters().Role))

	var candidates []webrtc.ICECandidate
	for _, c := range p.transport.ICECandidates() {
		protocol := webrtc.ICEProtocolUDP
		if c.Protocol == mafalda.ProtocolTCP {
			protocol = webrtc.ICEProtocolTCP
		}
		candidates = append(candidates, webrtc.ICECandidate{
			Foundation: c.Foundation, Priority: c.Priority, Address: c.Address, Protocol: protocol,
			Port: c.Port, Typ: webrtc.ICECandidateTypeHost, Component: 1, TCPType: c.TCPType,
		})
	}
	require.NoError(t, p.ice.SetRemoteCandidates(candidates))
	require.NoError(t, p.ice.AddRemoteCandidate(nil))
	remote := p.transport.ICEParameters()
	require.NoError(t, p.ice.StartContext(ctx, nil, webrtc.ICEParameters{
		UsernameFragment: remote.UsernameFragment, Password: remote.Password, ICELite: remote.ICELite,
	}, new(webrtc.ICERoleControlling)))
	require.NoError(t, p.dtls.StartContext(ctx, theirs))

	// Outside of a PeerConnection Pion's session stops at the first RTCP about
	// an SSRC that nobody has opened, and it counts the sender of an extended
	// report, which is 0 with us as with mediasoup. The packets that probe for
	// bandwidth have an SSRC of their own, mediasoup's.
	for _, ssrc := range []webrtc.SSRC{0, 1234} {
		r, err := p.api.NewRTPReceiver(webrtc.RTPCodecTypeVideo, p.dtls)
		require.NoError(t, err)
		coding := webrtc.RTPCodingParameters{SSRC: ssrc}
		require.NoError(t, r.Receive(webrtc.RTPReceiveParameters{Encodings: []webrtc.RTPDecodingParameters{{RTPCodingParameters: coding}}}))
	}
}

// send makes an RTPSender of the track, and a Producer of what it sends.
func (p *ortcPeer) send(t testing.TB, ctx context.Context, track webrtc.TrackLocal) (*webrtc.RTPSender, mafalda.Producer) {
	t.Helper()
	sender, err := p.api.NewRTPSender(track, p.dtls)
	require.NoError(t, err)
	t.Cleanup(func() { sender.Stop() }) // its transport may be closed
	parameters := sender.GetParameters()
	encoding := mafalda.RTPEncodingParameters{SSRC: uint32(parameters.Encodings[0].SSRC)}
	o := mafalda.ProducerOptions{Kind: mafalda.MediaKind(track.Kind().String()), RTPParameters: mafalda.RTPParameters{
		Encodings: []mafalda.RTPEncodingParameters{encoding},
		RTCP:      mafalda.RTCPParameters{CNAME: track.StreamID()},
	}}
	for _, c := range parameters.Codecs {
		codec := mafalda.RTPCodecParameters{
			MIMEType: c.MimeType, PayloadType: uint8(c.PayloadType), ClockRate: c.ClockRate, Channels: uint8(c.Channels),
		}
		for _, f := range c.RTCPFeedback {
			codec.RTCPFeedback = append(codec.RTCPFeedback, mafalda.RTCPFeedback{Type: f.Type, Parameter: f.Parameter})
		}
		o.RTPParameters.Codecs = append(o.RTPParameters.Codecs, codec)
	}
	for _, e := range parameters.HeaderExtensions {
		o.RTPParameters.HeaderExtensions = append(o.RTPParameters.HeaderExtensions, mafalda.RTPHeaderExtensionParameters{
			URI: mafalda.RTPHeaderExtensionURI(e.URI), ID: uint8(e.ID),
		})
	}
	producer, err := p.transport.Produce(ctx, o)
	require.NoError(t, err)
	require.NoError(t, sender.Send(parameters))
	return sender, producer
}

// receive consumes a Producer with an RTPReceiver.
func (p *ortcPeer) receive(t testing.TB, ctx context.Context, r *room, producer mafalda.Producer) (*webrtc.RTPReceiver, mafalda.Consumer) {
	t.Helper()
	consumer, err := p.transport.Consume(ctx, mafalda.ConsumerOptions{
		ProducerID: producer.ID(), RTPCapabilities: r.router.RTPCapabilities(), Paused: true, EnableRTX: new(false),
	})
	require.NoError(t, err)
	kind := webrtc.RTPCodecTypeAudio
	if consumer.Kind() == mafalda.MediaKindVideo {
		kind = webrtc.RTPCodecTypeVideo
	}
	receiver, err := p.api.NewRTPReceiver(kind, p.dtls)
	require.NoError(t, err)
	t.Cleanup(func() { receiver.Stop() })
	e := consumer.RTPParameters().Encodings[0]
	coding := webrtc.RTPCodingParameters{SSRC: webrtc.SSRC(e.SSRC)}
	require.NoError(t, receiver.Receive(webrtc.RTPReceiveParameters{
		Encodings: []webrtc.RTPDecodingParameters{{RTPCodingParameters: coding}},
	}))
	require.NoError(t, consumer.Resume(ctx))
	return receiver, consumer
}
