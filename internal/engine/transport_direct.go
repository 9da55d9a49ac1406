package engine

import (
	"slices"

	"github.com/mafalda-sfu/mafalda/internal/rtcp"
)

// A directTransport has the application itself as its peer: packets come by
// [Worker.Inject] and leave as notifications. It is always connected, and no
// periodic RTCP runs on it (media-plane §9.3).
type directTransport struct{ t *transport }

// DirectTransportOptions are the options of [Machine.CreateDirectTransport].
type DirectTransportOptions struct {
	ID string
	// MaxSendMessageSize and MaxReceiveMessageSize limit the messages of
	// DataConsumers and DataProducers, in bytes; 0 is 262,144.
	MaxSendMessageSize, MaxReceiveMessageSize uint32
}

// CreateDirectTransport makes a transport on a Router. Errors:
// ErrInvalidArgument, ErrNotFound for the Router.
func (m *Machine) CreateDirectTransport(routerID string, o DirectTransportOptions) (TransportDump, error) {
	r := m.routers[routerID]
	if r == nil {
		return TransportDump{}, notFound("Router", routerID)
	}
	if err := m.unused(o.ID); err != nil {
		return TransportDump{}, err
	}
	d := &directTransport{}
	d.t = newTransport(m, r, o.ID, d)
	d.t.direct = true
	d.t.limitMessages(o.MaxSendMessageSize, o.MaxReceiveMessageSize)
	d.t.connected = true
	return d.t.dump(), nil
}

func (d *directTransport) close() {}

func (d *directTransport) fill(dump *TransportDump) { dump.Direct = true }

// producerSend is one RTP packet of the application.
func (m *Machine) producerSend(producerID string, b []byte) {
	p := m.producers[producerID]
	if p == nil || !p.t.direct {
		m.count.DropDirect++
		return
	}
	t := p.t
	t.received(len(b))
	ref, pkt := t.readRTP(b)
	if ref == 0 {
		return
	}
	t.enter(p, ref, pkt)
	m.pool.Release(ref)
}

// maxDirectRTCP is the largest RTCP packet that an application may inject.
const maxDirectRTCP = 1600

// transportSendRTCP is one RTCP packet of the application.
func (m *Machine) transportSendRTCP(transportID string, b []byte) {
	t := m.transports[transportID]
	if t == nil || !t.direct || len(b) > maxDirectRTCP || !rtcp.Is(b) {
		m.count.DropDirect++
		return
	}
	t.received(len(b))
	t.receiveRTCP(b)
}

func (d *directTransport) deliverRTCP(b []byte) {
	d.t.m.notify(d.t.id, DirectRTCP{slices.Clone(b)})
}
