package mafalda

import (
	"context"
	"slices"
	"strings"

	"github.com/mafalda-sfu/mafalda/internal/dtls"
	"github.com/mafalda-sfu/mafalda/internal/engine"
)

// A webRTCTransport is a [WebRTCTransport] of a worker.
type webRTCTransport struct {
	transport

	// Guarded by w.mu.
	iceParameters  ICEParameters
	iceCandidates  []ICECandidate
	iceState       ICEState
	tuple          *TransportTuple // selected; never modified in place
	dtlsParameters DTLSParameters
	dtlsState      DTLSState
	remoteCert     string
	restart        uint64 // stamp of the last RestartICE
}

var _ WebRTCTransport = (*webRTCTransport)(nil)

// GenerateDTLSCertificate returns a fresh self-signed certificate and its key, ECDSA
// on P-256, in PEM: like those of a Worker, for [WebRTCTransportOptions]. The
// certificate is good for ten years.
func GenerateDTLSCertificate() (certificate, privateKey string, err error) {
	c, err := dtls.Generate(nil)
	if err != nil {
		return "", "", err
	}
	key, err := c.KeyPEM()
	return c.PEM(), key, err
}

// load is Validate, and returns the certificate of the options, nil for that of the
// Worker.
func (o *WebRTCTransportOptions) load() (*dtls.Certificate, error) {
	err := o.validate()
	if err != nil || o.DTLSCertificate == "" && o.DTLSPrivateKey == "" {
		return nil, err
	}
	c, err := dtls.Load([]byte(o.DTLSCertificate), []byte(o.DTLSPrivateKey))
	if err != nil {
		return nil, invalid("DTLSCertificate and DTLSPrivateKey: %v", err)
	}
	return c, nil
}

func newWebRTCTransport(r *router, server *webRTCServer, data any) *webRTCTransport {
	t := new(webRTCTransport)
	t.init(r, "WebRTCTransport", TransportTypeWebRTC, data)
	t.server, t.part, t.self = server, t, t
	return t
}

func (t *webRTCTransport) initLocked(d *engine.TransportDump) {
	x := d.WebRTC
	t.iceParameters = iceParameters(x)
	t.iceCandidates = iceCandidates(x)
	t.iceState = ICEState(x.ICEState)
	t.dtlsParameters = dtlsParameters(x)
	t.dtlsState = DTLSState(x.DTLSState)
}

func (t *webRTCTransport) closeStateLocked() {
	t.iceState, t.dtlsState, t.tuple = ICEStateClosed, DTLSStateClosed, nil
}

func (t *webRTCTransport) ICERole() ICERole { return ICERoleControlled }

func (t *webRTCTransport) ICEParameters() ICEParameters {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	return t.iceParameters
}

func (t *webRTCTransport) ICECandidates() []ICECandidate {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	return slices.Clone(t.iceCandidates)
}

func (t *webRTCTransport) ICEState() ICEState {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	return t.iceState
}

func (t *webRTCTransport) ICESelectedTuple() *TransportTuple {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	return clonePointer(t.tuple)
}

func (t *webRTCTransport) DTLSParameters() DTLSParameters {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	return t.dtlsParameters.clone()
}

func (t *webRTCTransport) DTLSState() DTLSState {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	return t.dtlsState
}

func (t *webRTCTransport) DTLSRemoteCert() string {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	return t.remoteCert
}

func (t *webRTCTransport) Connect(ctx context.Context, o WebRTCTransportConnectOptions) error {
	const op = "Connect"
	if err := o.validate(); err != nil {
		return t.fail(op, err)
	}
	role, err := engine.ParseDTLSRole(string(o.DTLSParameters.Role))
	if err != nil {
		return t.fail(op, err)
	}
	remote := make([]dtls.Fingerprint, len(o.DTLSParameters.Fingerprints))
	for i, f := range o.DTLSParameters.Fingerprints {
		remote[i] = dtls.Fingerprint{Algorithm: string(f.Algorithm), Value: strings.ToUpper(f.Value)}
	}
	local, notes, err := askNotes(ctx, &t.object, func(m machine) (engine.DTLSRole, error) {
		return m.ConnectWebRTC(t.id, role, remote)
	})
	if err != nil {
		return t.fail(op, err)
	}
	t.w.mu.Lock()
	t.dtlsParameters.Role = DTLSRole(local.String())
	t.w.mu.Unlock()
	t.w.deliver(notes)
	return nil
}

func (t *webRTCTransport) RestartICE(ctx context.Context) (ICEParameters, error) {
	type result struct {
		p     ICEParameters
		stamp uint64
	}
	r, notes, err := askNotes(ctx, &t.object, func(m machine) (result, error) {
		stamp := t.w.stampOnLoop()
		ufrag, password, err := m.RestartICE(t.id)
		return result{ICEParameters{ufrag, password, true}, stamp}, err
	})
	if err != nil {
		return ICEParameters{}, t.fail("RestartICE", err)
	}
	t.w.mu.Lock()
	if r.stamp > t.restart {
		t.restart, t.iceParameters = r.stamp, r.p
	}
	t.w.mu.Unlock()
	t.w.deliver(notes)
	return r.p, nil
}

func (t *webRTCTransport) notify(n engine.Notification) {
	switch b := n.Body.(type) {
	case engine.ICEStateChange:
		state := ICEState(b.State)
		if t.apply(noteICE, n.Seq, func() {
			if t.iceState = state; state == ICEStateDisconnected {
				t.tuple = nil
			}
		}) {
			t.events.ICEStateChange.EmitUnlessClosed(t, state)
			t.observer.ICEStateChange.EmitUnlessClosed(t, state)
		}
	case engine.ICESelectedTupleChange:
		tuple := tupleOf(b.Tuple)
		if t.apply(noteTuple, n.Seq, func() { t.tuple = new(tuple) }) {
			t.events.ICESelectedTupleChange.EmitUnlessClosed(t, tuple)
			t.observer.ICESelectedTupleChange.EmitUnlessClosed(t, tuple)
		}
	case engine.DTLSStateChange:
		state := DTLSState(b.State)
		if t.apply(noteDTLS, n.Seq, func() {
			if t.dtlsState = state; b.RemoteCertificate != "" {
				t.remoteCert = b.RemoteCertificate
			}
		}) {
			t.events.DTLSStateChange.EmitUnlessClosed(t, state)
			t.observer.DTLSStateChange.EmitUnlessClosed(t, state)
		}
	default:
		t.notifyCommon(n)
	}
}
