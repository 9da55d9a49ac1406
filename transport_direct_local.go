package mafalda

import "github.com/mafalda-sfu/mafalda/internal/engine"

// A directTransport is a [DirectTransport] of a worker.
type directTransport struct{ transport }

var _ DirectTransport = (*directTransport)(nil)

func newDirectTransport(r *router, data any) *directTransport {
	t := new(directTransport)
	t.init(r, "DirectTransport", TransportTypeDirect, data)
	t.part, t.self = t, t
	return t
}

func (t *directTransport) initLocked(*engine.TransportDump) {}
func (t *directTransport) closeStateLocked()                {}

func (t *directTransport) SendRTCP(packet []byte) error {
	err := t.openError()
	if err == nil {
		err = t.w.back.InjectRTCP(t.id, packet)
	}
	if err != nil {
		return t.fail("SendRTCP", err)
	}
	return nil
}

func (t *directTransport) notify(n engine.Notification) {
	switch b := n.Body.(type) {
	case engine.DirectRTCP:
		t.events.RTCP.EmitUnlessClosed(t, b.Packet)
	default:
		t.notifyCommon(n)
	}
}
