package mafalda

import (
	"cmp"
	"context"
	"crypto/rand"
	"net/netip"

	"github.com/mafalda-sfu/mafalda/internal/engine"
)

// A pipeTransport is a [PipeTransport] of a worker.
type pipeTransport struct {
	transport
	options PipeTransportOptions // constant

	// Guarded by w.mu; what they point to is never modified in place.
	tuple TransportTuple
	srtp  *SRTPParameters
}

var _ PipeTransport = (*pipeTransport)(nil)

func newPipeTransport(r *router, o PipeTransportOptions) *pipeTransport {
	t := &pipeTransport{options: o}
	t.init(r, "PipeTransport", TransportTypePipe, o.AppData)
	t.part, t.self = t, t
	return t
}

func (t *pipeTransport) initLocked(d *engine.TransportDump) {
	t.tuple = tupleOf(d.Pipe.Tuple)
	t.srtp = srtpParameters(d.Pipe.SRTP)
}

func (t *pipeTransport) closeStateLocked() {}

func (t *pipeTransport) Tuple() TransportTuple {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	return t.tuple
}

func (t *pipeTransport) SRTPParameters() *SRTPParameters {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	return clonePointer(t.srtp)
}

func (t *pipeTransport) Connect(ctx context.Context, o PipeTransportConnectOptions) error {
	const op = "Connect"
	if err := o.validate(&t.options); err != nil {
		return t.fail(op, err)
	}
	e := engine.PipeConnectOptions{Remote: netip.AddrPortFrom(o.IP, o.Port)}
	if p := o.SRTPParameters; p != nil {
		e.SRTP = &engine.SRTPParameters{CryptoSuite: string(p.CryptoSuite), KeyBase64: p.KeyBase64}
	}
	d, notes, err := askNotes(ctx, &t.object, func(m machine) (engine.TransportDump, error) {
		return m.ConnectPipe(t.id, e)
	})
	if err != nil {
		return t.fail(op, err)
	}
	t.connected(&d, notes)
	return nil
}

// Produce keeps the CNAME of each Producer: they are of different endpoints.
func (t *pipeTransport) Produce(ctx context.Context, o ProducerOptions) (Producer, error) {
	p, err := t.produce(ctx, &o, cmp.Or(o.RTPParameters.RTCP.CNAME, rand.Text()[:8]))
	if err != nil {
		return nil, t.fail("Produce", err)
	}
	return p, nil
}

// Consume takes all that the Producer has.
func (t *pipeTransport) Consume(ctx context.Context, o ConsumerOptions) (Consumer, error) {
	const op = "Consume"
	err := o.validate()
	if err == nil {
		err = o.validatePipe()
	}
	if err == nil {
		err = t.openError()
	}
	if err != nil {
		return nil, t.fail(op, err)
	}
	p := t.r.producer(o.ProducerID)
	if p == nil {
		return nil, t.failArgument(op, unknownProducer(o.ProducerID))
	}
	c := &consumer{
		t: &t.transport, p: p,
		rtpParameters: p.share(pipeConsumerRTPParameters(p.consumable, t.options.EnableRTX, randomSSRC)),
	}
	c.init(t.w, "Consumer", newID(), o.AppData)
	return t.addConsumer(ctx, c, engine.ConsumeOptions{Pipe: true})
}

// connected takes over what connecting has changed.
func (t *pipeTransport) connected(d *engine.TransportDump, notes []engine.Notification) {
	t.w.mu.Lock()
	t.initLocked(d)
	t.w.mu.Unlock()
	t.w.deliver(notes)
}

func (t *pipeTransport) notify(n engine.Notification) { t.notifyCommon(n) }

// connectInMemory connects two PipeTransports of Workers of this process, and
// reports whether they are such, or pass everything through to such.
func connectInMemory(ctx context.Context, a, b PipeTransport) (done bool, err error) {
	x, okX := innermost(a).(*pipeTransport)
	y, okY := innermost(b).(*pipeTransport)
	if !okX || !okY {
		return false, nil
	}
	atX, okX := x.w.back.(engineBackend)
	atY, okY := y.w.back.(engineBackend)
	if !okX || !okY {
		return false, nil
	}
	dumpX, dumpY, notesX, notesY, err := engine.ConnectPipesInMemory(ctx, atX.Worker, x.id, atY.Worker, y.id)
	if err != nil {
		return false, x.failArgument("Connect", err)
	}
	x.connected(&dumpX, notesX)
	y.connected(&dumpY, notesY)
	return true, nil
}

// innermost returns what t passes everything through to, if it says so.
func innermost(t PipeTransport) PipeTransport {
	for {
		w, ok := t.(interface{ Inner() PipeTransport })
		if !ok {
			return t
		}
		t = w.Inner()
	}
}
