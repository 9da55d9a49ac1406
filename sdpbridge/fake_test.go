package sdpbridge

import (
	"context"
	"strings"

	"fmt"
	"testing"

	"github.com/mafalda-sfu/mafalda"
	"github.com/stretchr/testify/require"
)

// fakeLife is the Lifetime of a fake.
type fakeLife struct{ closed bool }

func (l *fakeLife) Close() error { l.closed = true; return nil }
func (l *fakeLife) Closed() bool { return l.closed }

type fakeProducer struct {
	mafalda.Producer
	fakeLife
	id string
	o  mafalda.ProducerOptions
}

func (p *fakeProducer) Close() error { return p.fakeLife.Close() }
func (p *fakeProducer) Closed() bool { return p.closed }
func (p *fakeProducer) ID() string   { return p.id }

type fakeConsumer struct {
	mafalda.Consumer
	fakeLife
	id     string
	o      mafalda.ConsumerOptions
	kind   mafalda.MediaKind
	p      mafalda.RTPParameters
	paused bool
}

func (c *fakeConsumer) Close() error                         { return c.fakeLife.Close() }
func (c *fakeConsumer) Closed() bool                         { return c.closed }
func (c *fakeConsumer) ID() string                           { return c.id }
func (c *fakeConsumer) Kind() mafalda.MediaKind              { return c.kind }
func (c *fakeConsumer) RTPParameters() mafalda.RTPParameters { return c.p }
func (c *fakeConsumer) Resume(context.Context) error         { c.paused = false; return nil }

// fakeRouter knows the Producers of its fakeTransports.
type fakeRouter struct {
	mafalda.Router
	caps       mafalda.RTPCapabilities
	consumable map[string]mafalda.RTPParameters
	kinds      map[string]mafalda.MediaKind
}

func (r *fakeRouter) RTPCapabilities() mafalda.RTPCapabilities { return r.caps }

func newFakeRouter(t testing.TB) *fakeRouter {
	t.Helper()
	caps, err := mafalda.GenerateRouterRTPCapabilities([]mafalda.RouterRTPCodecCapability{
		{MIMEType: "audio/opus", ClockRate: 48000, Channels: 2, Parameters: map[string]any{"usedtx": 1}},
		{MIMEType: "video/VP8", ClockRate: 90000},
		{MIMEType: "video/H264", ClockRate: 90000, Parameters: map[string]any{
			"packetization-mode": 1, "profile-level-id": "42e01f", "level-asymmetry-allowed": 1,
		}},
	})
	require.NoError(t, err)
	return &fakeRouter{caps: caps, consumable: map[string]mafalda.RTPParameters{}, kinds: map[string]mafalda.MediaKind{}}
}

// fakeTransport negotiates like a real one and moves nothing.
type fakeTransport struct {
	mafalda.WebRTCTransport
	fakeLife
	router    *fakeRouter
	connects  []mafalda.DTLSParameters
	role      mafalda.DTLSRole
	restarts  int
	producers []*fakeProducer
	consumers []*fakeConsumer
	fail      error // of the next Produce
	sctp      *mafalda.SCTPParameters
}

func (t *fakeTransport) SCTPParameters() *mafalda.SCTPParameters { return t.sctp }

func (t *fakeTransport) Close() error { return t.fakeLife.Close() }
func (t *fakeTransport) Closed() bool { return t.closed }
func (t *fakeTransport) ID() string   { return "transport" }

func (t *fakeTransport) ICEParameters() mafalda.ICEParameters {
	return mafalda.ICEParameters{UsernameFragment: fmt.Sprintf("ufrag%d", t.restarts), Password: "password-password-password", ICELite: true}
}

func (t *fakeTransport) ICECandidates() []mafalda.ICECandidate {
	return []mafalda.ICECandidate{
		{Foundation: "udpcandidate", Priority: 10, Address: "192.0.2.1", Protocol: "udp", Port: 40000, Type: "host"},
		{Foundation: "tcpcandidate", Priority: 9, Address: "192.0.2.1", Protocol: "tcp", Port: 40001, Type: "host", TCPType: "passive"},
	}
}

func (t *fakeTransport) DTLSParameters() mafalda.DTLSParameters {
	return mafalda.DTLSParameters{Role: t.role, Fingerprints: []mafalda.DTLSFingerprint{
		{Algorithm: mafalda.FingerprintSHA1, Value: strings.TrimSuffix(strings.Repeat("0A:", 20), ":")},
		{Algorithm: mafalda.FingerprintSHA256, Value: strings.TrimSuffix(strings.Repeat("0B:", 32), ":")},
	}}
}

func (t *fakeTransport) Connect(_ context.Context, o mafalda.WebRTCTransportConnectOptions) error {
	if len(t.connects) > 0 {
		return mafalda.ErrInvalidState
	}
	t.connects = append(t.connects, o.DTLSParameters)
	t.role = mafalda.DTLSRoleClient
	if o.DTLSParameters.Role == mafalda.DTLSRoleClient {
		t.role = mafalda.DTLSRoleServer
	}
	return nil
}

func (t *fakeTransport) RestartICE(context.Context) (mafalda.ICEParameters, error) {
	t.restarts++
	return t.ICEParameters(), nil
}

func (t *fakeTransport) Produce(_ context.Context, o mafalda.ProducerOptions) (mafalda.Producer, error) {
	if err := t.fail; err != nil {
		t.fail = nil
		return nil, err
	}
	p, err := mafalda.ValidateAndNormalizeRTPParameters(o.RTPParameters)
	if err != nil {
		return nil, err
	}
	p, mapping, err := mafalda.ProducerRTPParametersMapping(p, t.router.caps)
	if err != nil {
		return nil, err
	}
	consumable, err := mafalda.ConsumableRTPParameters(o.Kind, p, t.router.caps, mapping)
	if err != nil {
		return nil, err
	}
	f := &fakeProducer{id: fmt.Sprintf("producer%d", len(t.router.kinds)), o: o}
	t.producers = append(t.producers, f)
	t.router.consumable[f.id], t.router.kinds[f.id] = consumable, o.Kind
	return f, nil
}

func (t *fakeTransport) Consume(_ context.Context, o mafalda.ConsumerOptions) (mafalda.Consumer, error) {
	consumable, ok := t.router.consumable[o.ProducerID]
	if !ok {
		return nil, mafalda.ErrNotFound
	}
	kind := t.router.kinds[o.ProducerID]
	p, err := mafalda.ConsumerRTPParameters(mafalda.ConsumerRTPParametersOptions{
		ConsumableRTPParameters: consumable, RemoteRTPCapabilities: o.RTPCapabilities, EnableRTX: kind == mafalda.MediaKindVideo,
	})
	if err != nil {
		return nil, err
	}
	p.MID = o.MID
	c := &fakeConsumer{id: fmt.Sprintf("consumer%d", len(t.consumers)), o: o, kind: kind, p: p, paused: o.Paused}
	t.consumers = append(t.consumers, c)
	return c, nil
}

func newFakeSession(t testing.TB, router *fakeRouter, o Options) (*Session, *fakeTransport) {
	t.Helper()
	transport := &fakeTransport{router: router, role: mafalda.DTLSRoleAuto}
	o.Router, o.Transport = router, transport
	s, err := NewSession(o)
	require.NoError(t, err)
	return s, transport
}
