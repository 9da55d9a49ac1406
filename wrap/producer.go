package wrap

import (
	"context"

	"github.com/mafalda-sfu/mafalda"
)

// A Producer passes everything through to an inner one.
type Producer struct {
	object[mafalda.Producer]
	events   mafalda.ProducerEvents
	observer mafalda.ProducerObserver
}

var _ mafalda.Producer = (*Producer)(nil)

func newProducer(s *Space, inner mafalda.Producer) *Producer {
	p := new(Producer)
	p.init(s, inner)
	return p
}

func (p *Producer) begin(outer any) {
	p.outer = outer
	l := &p.Life

	in, out := p.inner.Events(), &p.events
	cause(l, &in.TransportClose, &out.TransportClose)
	event(l, &in.Score, &out.Score)
	event(l, &in.VideoOrientationChange, &out.VideoOrientationChange)
	event(l, &in.Trace, &out.Trace)

	from, to := p.inner.Observer(), &p.observer
	event(l, &from.Pause, &to.Pause)
	event(l, &from.Resume, &to.Resume)
	event(l, &from.Score, &to.Score)
	event(l, &from.VideoOrientationChange, &to.VideoOrientationChange)
	event(l, &from.Trace, &to.Trace)
	p.s.end(l, &from.Close, &to.Close)
}

func (p *Producer) parentClose() *mafalda.Event[struct{}] { return &p.events.TransportClose }

func (p *Producer) mark(c *Closing, cause *mafalda.Event[struct{}]) {
	if !c.Begin(&p.Life) {
		return
	}
	c.Emit(cause)
	c.Emit(&p.observer.Close)
	c.End(&p.Life)
}

// CloseIn adds the closing of the Producer to c, for that cause: one of its
// Events, or nil. Its Consumers are not added: if they stay open, they hear what
// their inner objects hear.
func (p *Producer) CloseIn(c *Closing, cause *mafalda.Event[struct{}]) {
	c.Inner(p.inner)
	p.mark(c, cause)
}

// Kind implements [mafalda.Producer].
func (p *Producer) Kind() mafalda.MediaKind { return p.inner.Kind() }

// Type implements [mafalda.Producer].
func (p *Producer) Type() mafalda.ProducerType { return p.inner.Type() }

// RTPParameters implements [mafalda.Producer].
func (p *Producer) RTPParameters() mafalda.RTPParameters { return p.inner.RTPParameters() }

// Paused implements [mafalda.Producer].
func (p *Producer) Paused() bool { return p.inner.Paused() }

// Score implements [mafalda.Producer].
func (p *Producer) Score() []mafalda.ProducerScore { return p.inner.Score() }

// Pause implements [mafalda.Producer].
func (p *Producer) Pause(ctx context.Context) error { return p.fail(p.inner.Pause(ctx)) }

// Resume implements [mafalda.Producer].
func (p *Producer) Resume(ctx context.Context) error { return p.fail(p.inner.Resume(ctx)) }

// EnableTraceEvent implements [mafalda.Producer].
func (p *Producer) EnableTraceEvent(ctx context.Context, types ...mafalda.TraceEventType) error {
	return p.fail(p.inner.EnableTraceEvent(ctx, types...))
}

// Send implements [mafalda.Producer].
func (p *Producer) Send(packet []byte) error { return p.fail(p.inner.Send(packet)) }

// Stats implements [mafalda.Producer].
func (p *Producer) Stats(ctx context.Context) ([]mafalda.RTPStreamStats, error) {
	s, err := p.inner.Stats(ctx)
	return s, p.fail(err)
}

// Dump implements [mafalda.Producer].
func (p *Producer) Dump(ctx context.Context) (mafalda.ProducerDump, error) {
	d, err := p.inner.Dump(ctx)
	return d, p.fail(err)
}

// Events implements [mafalda.Producer].
func (p *Producer) Events() *mafalda.ProducerEvents { return &p.events }

// Observer implements [mafalda.Producer].
func (p *Producer) Observer() *mafalda.ProducerObserver { return &p.observer }
