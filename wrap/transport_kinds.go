package wrap

import (
	"context"

	"github.com/mafalda-sfu/mafalda"
)

// A WebRTCTransport passes everything through to an inner one.
type WebRTCTransport struct {
	Transport
	inner mafalda.WebRTCTransport
}

var _ mafalda.WebRTCTransport = (*WebRTCTransport)(nil)

func newWebRTCTransport(s *Space, inner mafalda.WebRTCTransport) *WebRTCTransport {
	t := &WebRTCTransport{inner: inner}
	t.init(s, inner)
	return t
}

// Inner returns the inner WebRTCTransport.
func (t *WebRTCTransport) Inner() mafalda.WebRTCTransport { return t.inner }

// ICERole implements [mafalda.WebRTCTransport].
func (t *WebRTCTransport) ICERole() mafalda.ICERole { return t.inner.ICERole() }

// ICEParameters implements [mafalda.WebRTCTransport].
func (t *WebRTCTransport) ICEParameters() mafalda.ICEParameters { return t.inner.ICEParameters() }

// ICECandidates implements [mafalda.WebRTCTransport].
func (t *WebRTCTransport) ICECandidates() []mafalda.ICECandidate { return t.inner.ICECandidates() }

// ICEState implements [mafalda.WebRTCTransport].
func (t *WebRTCTransport) ICEState() mafalda.ICEState { return t.inner.ICEState() }

// ICESelectedTuple implements [mafalda.WebRTCTransport].
func (t *WebRTCTransport) ICESelectedTuple() *mafalda.TransportTuple {
	return t.inner.ICESelectedTuple()
}

// DTLSParameters implements [mafalda.WebRTCTransport].
func (t *WebRTCTransport) DTLSParameters() mafalda.DTLSParameters { return t.inner.DTLSParameters() }

// DTLSState implements [mafalda.WebRTCTransport].
func (t *WebRTCTransport) DTLSState() mafalda.DTLSState { return t.inner.DTLSState() }

// DTLSRemoteCert implements [mafalda.WebRTCTransport].
func (t *WebRTCTransport) DTLSRemoteCert() string { return t.inner.DTLSRemoteCert() }

// SCTPParameters implements [mafalda.WebRTCTransport].
func (t *WebRTCTransport) SCTPParameters() *mafalda.SCTPParameters { return t.inner.SCTPParameters() }

// SCTPState implements [mafalda.WebRTCTransport].
func (t *WebRTCTransport) SCTPState() mafalda.SCTPState { return t.inner.SCTPState() }

// SCTPNegotiatedCapabilities implements [mafalda.WebRTCTransport].
func (t *WebRTCTransport) SCTPNegotiatedCapabilities() *mafalda.SCTPNegotiatedCapabilities {
	return t.inner.SCTPNegotiatedCapabilities()
}

// Connect implements [mafalda.WebRTCTransport].
func (t *WebRTCTransport) Connect(ctx context.Context, o mafalda.WebRTCTransportConnectOptions) error {
	return t.fail(t.inner.Connect(ctx, o))
}

// RestartICE implements [mafalda.WebRTCTransport].
func (t *WebRTCTransport) RestartICE(ctx context.Context) (mafalda.ICEParameters, error) {
	p, err := t.inner.RestartICE(ctx)
	return p, t.fail(err)
}

// A PlainTransport passes everything through to an inner one.
type PlainTransport struct {
	Transport
	inner mafalda.PlainTransport
}

var _ mafalda.PlainTransport = (*PlainTransport)(nil)

func newPlainTransport(s *Space, inner mafalda.PlainTransport) *PlainTransport {
	t := &PlainTransport{inner: inner}
	t.init(s, inner)
	return t
}

// Inner returns the inner PlainTransport.
func (t *PlainTransport) Inner() mafalda.PlainTransport { return t.inner }

// Tuple implements [mafalda.PlainTransport].
func (t *PlainTransport) Tuple() mafalda.TransportTuple { return t.inner.Tuple() }

// RTCPTuple implements [mafalda.PlainTransport].
func (t *PlainTransport) RTCPTuple() *mafalda.TransportTuple { return t.inner.RTCPTuple() }

// SRTPParameters implements [mafalda.PlainTransport].
func (t *PlainTransport) SRTPParameters() *mafalda.SRTPParameters { return t.inner.SRTPParameters() }

// SCTPParameters implements [mafalda.PlainTransport].
func (t *PlainTransport) SCTPParameters() *mafalda.SCTPParameters { return t.inner.SCTPParameters() }

// SCTPState implements [mafalda.PlainTransport].
func (t *PlainTransport) SCTPState() mafalda.SCTPState { return t.inner.SCTPState() }

// SCTPNegotiatedCapabilities implements [mafalda.PlainTransport].
func (t *PlainTransport) SCTPNegotiatedCapabilities() *mafalda.SCTPNegotiatedCapabilities {
	return t.inner.SCTPNegotiatedCapabilities()
}

// Connect implements [mafalda.PlainTransport].
func (t *PlainTransport) Connect(ctx context.Context, o mafalda.PlainTransportConnectOptions) error {
	return t.fail(t.inner.Connect(ctx, o))
}

// A PipeTransport passes everything through to an inner one.
type PipeTransport struct {
	Transport
	inner mafalda.PipeTransport
}

var _ mafalda.PipeTransport = (*PipeTransport)(nil)

func newPipeTransport(s *Space, inner mafalda.PipeTransport) *PipeTransport {
	t := &PipeTransport{inner: inner}
	t.init(s, inner)
	return t
}

// Inner returns the inner PipeTransport.
func (t *PipeTransport) Inner() mafalda.PipeTransport { return t.inner }

// Tuple implements [mafalda.PipeTransport].
func (t *PipeTransport) Tuple() mafalda.TransportTuple { return t.inner.Tuple() }

// SRTPParameters implements [mafalda.PipeTransport].
func (t *PipeTransport) SRTPParameters() *mafalda.SRTPParameters { return t.inner.SRTPParameters() }

// SCTPParameters implements [mafalda.PipeTransport].
func (t *PipeTransport) SCTPParameters() *mafalda.SCTPParameters { return t.inner.SCTPParameters() }

// SCTPState implements [mafalda.PipeTransport].
func (t *PipeTransport) SCTPState() mafalda.SCTPState { return t.inner.SCTPState() }

// SCTPNegotiatedCapabilities implements [mafalda.PipeTransport].
func (t *PipeTransport) SCTPNegotiatedCapabilities() *mafalda.SCTPNegotiatedCapabilities {
	return t.inner.SCTPNegotiatedCapabilities()
}

// Connect implements [mafalda.PipeTransport].
func (t *PipeTransport) Connect(ctx context.Context, o mafalda.PipeTransportConnectOptions) error {
	return t.fail(t.inner.Connect(ctx, o))
}

// A DirectTransport passes everything through to an inner one.
type DirectTransport struct {
	Transport
	inner mafalda.DirectTransport
}

var _ mafalda.DirectTransport = (*DirectTransport)(nil)

func newDirectTransport(s *Space, inner mafalda.DirectTransport) *DirectTransport {
	t := &DirectTransport{inner: inner}
	t.init(s, inner)
	return t
}

// Inner returns the inner DirectTransport.
func (t *DirectTransport) Inner() mafalda.DirectTransport { return t.inner }

// SendRTCP implements [mafalda.DirectTransport].
func (t *DirectTransport) SendRTCP(packet []byte) error { return t.fail(t.inner.SendRTCP(packet)) }
