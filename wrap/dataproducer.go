package wrap

import (
	"context"

	"github.com/mafalda-sfu/mafalda"
)

// A DataProducer passes everything through to an inner one.
type DataProducer struct {
	object[mafalda.DataProducer]
	events   mafalda.DataProducerEvents
	observer mafalda.DataProducerObserver
}

var _ mafalda.DataProducer = (*DataProducer)(nil)

func newDataProducer(s *Space, inner mafalda.DataProducer) *DataProducer {
	p := new(DataProducer)
	p.init(s, inner)
	return p
}

func (p *DataProducer) begin(outer any) {
	p.outer = outer
	l := &p.Life
	cause(l, &p.inner.Events().TransportClose, &p.events.TransportClose)
	from, to := p.inner.Observer(), &p.observer
	event(l, &from.Pause, &to.Pause)
	event(l, &from.Resume, &to.Resume)
	p.s.end(l, &from.Close, &to.Close)
}

func (p *DataProducer) parentClose() *mafalda.Event[struct{}] { return &p.events.TransportClose }

func (p *DataProducer) mark(c *Closing, cause *mafalda.Event[struct{}]) {
	if !c.Begin(&p.Life) {
		return
	}
	c.Emit(cause)
	c.Emit(&p.observer.Close)
	c.End(&p.Life)
}

// CloseIn adds the closing of the DataProducer to c, for that cause: one of its
// Events, or nil. Its DataConsumers are not added: if they stay open, they hear
// what their inner objects hear.
func (p *DataProducer) CloseIn(c *Closing, cause *mafalda.Event[struct{}]) {
	c.Inner(p.inner)
	p.mark(c, cause)
}

// Type implements [mafalda.DataProducer].
func (p *DataProducer) Type() mafalda.DataProducerType { return p.inner.Type() }

// SCTPStreamParameters implements [mafalda.DataProducer].
func (p *DataProducer) SCTPStreamParameters() *mafalda.SCTPStreamParameters {
	return p.inner.SCTPStreamParameters()
}

// Label implements [mafalda.DataProducer].
func (p *DataProducer) Label() string { return p.inner.Label() }

// Protocol implements [mafalda.DataProducer].
func (p *DataProducer) Protocol() string { return p.inner.Protocol() }

// Paused implements [mafalda.DataProducer].
func (p *DataProducer) Paused() bool { return p.inner.Paused() }

// Pause implements [mafalda.DataProducer].
func (p *DataProducer) Pause(ctx context.Context) error { return p.fail(p.inner.Pause(ctx)) }

// Resume implements [mafalda.DataProducer].
func (p *DataProducer) Resume(ctx context.Context) error { return p.fail(p.inner.Resume(ctx)) }

// Send implements [mafalda.DataProducer].
func (p *DataProducer) Send(m mafalda.DataMessage) error { return p.fail(p.inner.Send(m)) }

// Stats implements [mafalda.DataProducer].
func (p *DataProducer) Stats(ctx context.Context) ([]mafalda.DataProducerStats, error) {
	s, err := p.inner.Stats(ctx)
	return s, p.fail(err)
}

// Dump implements [mafalda.DataProducer].
func (p *DataProducer) Dump(ctx context.Context) (mafalda.DataProducerDump, error) {
	d, err := p.inner.Dump(ctx)
	return d, p.fail(err)
}

// Events implements [mafalda.DataProducer].
func (p *DataProducer) Events() *mafalda.DataProducerEvents { return &p.events }

// Observer implements [mafalda.DataProducer].
func (p *DataProducer) Observer() *mafalda.DataProducerObserver { return &p.observer }
