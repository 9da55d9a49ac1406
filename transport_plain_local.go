package mafalda

import (
	"context"
	"net/netip"

	"github.com/mafalda-sfu/mafalda/internal/engine"
)

// A plainTransport is a [PlainTransport] of a worker.
type plainTransport struct {
	transport
	options PlainTransportOptions // a copy; constant

	// Guarded by w.mu; what they point to is never modified in place.
	tuple     TransportTuple
	rtcpTuple *TransportTuple
	srtp      *SRTPParameters
}

var _ PlainTransport = (*plainTransport)(nil)

func newPlainTransport(r *router, o PlainTransportOptions) *plainTransport {
	o.RTCPListenInfo = clonePointer(o.RTCPListenInfo)
	o.RTCPMux = clonePointer(o.RTCPMux)
	t := &plainTransport{options: o}
	t.init(r, "PlainTransport", TransportTypePlain, o.AppData)
	t.part, t.self = t, t
	return t
}

func (t *plainTransport) initLocked(d *engine.TransportDump) {
	t.tuple = tupleOf(d.Plain.Tuple)
	t.rtcpTuple = tuplePointer(d.Plain.RTCPTuple)
	t.srtp = srtpParameters(d.Plain.SRTP)
}

func (t *plainTransport) closeStateLocked() {}

func (t *plainTransport) Tuple() TransportTuple {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	return t.tuple
}

func (t *plainTransport) RTCPTuple() *TransportTuple {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	return clonePointer(t.rtcpTuple)
}

func (t *plainTransport) SRTPParameters() *SRTPParameters {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	return clonePointer(t.srtp)
}

func (t *plainTransport) Connect(ctx context.Context, o PlainTransportConnectOptions) error {
	const op = "Connect"
	if err := o.validate(&t.options); err != nil {
		return t.fail(op, err)
	}
	var e engine.PlainConnectOptions
	if !t.options.Comedia {
		e.Remote, e.RTCPPort = netip.AddrPortFrom(o.IP, o.Port), o.RTCPPort
	}
	if p := o.SRTPParameters; p != nil {
		e.SRTP = &engine.SRTPParameters{CryptoSuite: string(p.CryptoSuite), KeyBase64: p.KeyBase64}
	}
	d, notes, err := askNotes(ctx, &t.object, func(m machine) (engine.TransportDump, error) {
		return m.ConnectPlain(t.id, e)
	})
	if err != nil {
		return t.fail(op, err)
	}
	t.w.mu.Lock()
	t.srtp = srtpParameters(d.Plain.SRTP)
	if !t.options.Comedia { // else a packet decides, and may have done so since
		t.tuple = tupleOf(d.Plain.Tuple)
		t.rtcpTuple = tuplePointer(d.Plain.RTCPTuple)
	}
	t.w.mu.Unlock()
	t.w.deliver(notes)
	return nil
}

func (t *plainTransport) notify(n engine.Notification) {
	switch b := n.Body.(type) {
	case engine.PlainTuple:
		tuple := tupleOf(b.Tuple)
		if t.apply(noteTuple, n.Seq, func() { t.tuple = tuple }) {
			t.events.Tuple.EmitUnlessClosed(t, tuple)
			t.observer.Tuple.EmitUnlessClosed(t, tuple)
		}
	case engine.PlainRTCPTuple:
		tuple := tupleOf(b.Tuple)
		if t.apply(noteRTCPTuple, n.Seq, func() { t.rtcpTuple = new(tuple) }) {
			t.events.RTCPTuple.EmitUnlessClosed(t, tuple)
			t.observer.RTCPTuple.EmitUnlessClosed(t, tuple)
		}
	default:
		t.notifyCommon(n)
	}
}
