package wrap

import (
	"context"
	"errors"
	"io"

	"github.com/mafalda-sfu/mafalda"
)

// A Transport passes everything that all kinds of Transport have through to an
// inner one.
type Transport struct {
	object[mafalda.Transport]
	events   mafalda.TransportEvents
	observer mafalda.TransportObserver

	producers, consumers, dataProducers, dataConsumers children
}

var _ mafalda.Transport = (*Transport)(nil)

var _ mafalda.PacketTapper = (*Transport)(nil)

func newTransport(s *Space, inner mafalda.Transport) *Transport {
	t := new(Transport)
	t.init(s, inner)
	return t
}

func (t *Transport) begin(outer any) {
	t.outer = outer
	l, s := &t.Life, t.s

	in, out := t.inner.Events(), &t.events
	cause(l, &in.RouterClose, &out.RouterClose)
	cause(l, &in.ListenServerClose, &out.ListenServerClose)
	event(l, &in.Trace, &out.Trace)
	event(l, &in.ICEStateChange, &out.ICEStateChange)
	event(l, &in.ICESelectedTupleChange, &out.ICESelectedTupleChange)
	event(l, &in.DTLSStateChange, &out.DTLSStateChange)
	event(l, &in.SCTPStateChange, &out.SCTPStateChange)
	event(l, &in.Tuple, &out.Tuple)
	event(l, &in.RTCPTuple, &out.RTCPTuple)
	event(l, &in.RTCP, &out.RTCP)

	from, to := t.inner.Observer(), &t.observer
	birth(l, &from.NewProducer, &to.NewProducer, s.Producer, &t.producers)
	birth(l, &from.NewConsumer, &to.NewConsumer, s.Consumer, &t.consumers)
	birth(l, &from.NewDataProducer, &to.NewDataProducer, s.DataProducer, &t.dataProducers)
	birth(l, &from.NewDataConsumer, &to.NewDataConsumer, s.DataConsumer, &t.dataConsumers)
	event(l, &from.Trace, &to.Trace)
	event(l, &from.ICEStateChange, &to.ICEStateChange)
	event(l, &from.ICESelectedTupleChange, &to.ICESelectedTupleChange)
	event(l, &from.DTLSStateChange, &to.DTLSStateChange)
	event(l, &from.SCTPStateChange, &to.SCTPStateChange)
	event(l, &from.Tuple, &to.Tuple)
	event(l, &from.RTCPTuple, &to.RTCPTuple)
	s.end(l, &from.Close, &to.Close)
}

func (t *Transport) parentClose() *mafalda.Event[struct{}] { return &t.events.RouterClose }

func (t *Transport) mark(c *Closing, cause *mafalda.Event[struct{}]) {
	if !c.Begin(&t.Life) {
		return
	}
	t.producers.mark(c)
	t.consumers.mark(c)
	t.dataProducers.mark(c)
	t.dataConsumers.mark(c)
	c.Emit(cause)
	c.Emit(&t.observer.Close)
	c.End(&t.Life)
}

// CloseIn adds the closing of the Transport, with what it carries, to c, for
// that cause: one of its Events, or nil. Consumers of its Producers on other
// Transports are not added: if they stay open, they hear what their inner
// objects hear.
func (t *Transport) CloseIn(c *Closing, cause *mafalda.Event[struct{}]) {
	c.Inner(t.inner)
	t.mark(c, cause)
}

// Type implements [mafalda.Transport].
func (t *Transport) Type() mafalda.TransportType { return t.inner.Type() }

// Produce implements [mafalda.Transport].
func (t *Transport) Produce(ctx context.Context, o mafalda.ProducerOptions) (mafalda.Producer, error) {
	defer t.s.call()()
	p, err := t.inner.Produce(ctx, o)
	return met(p, err, t.s.Producer, t.fail)
}

// Consume implements [mafalda.Transport].
func (t *Transport) Consume(ctx context.Context, o mafalda.ConsumerOptions) (mafalda.Consumer, error) {
	defer t.s.call()()
	c, err := t.inner.Consume(ctx, o)
	return met(c, err, t.s.Consumer, t.fail)
}

// ProduceData implements [mafalda.Transport].
func (t *Transport) ProduceData(ctx context.Context, o mafalda.DataProducerOptions) (mafalda.DataProducer, error) {
	defer t.s.call()()
	p, err := t.inner.ProduceData(ctx, o)
	return met(p, err, t.s.DataProducer, t.fail)
}

// ConsumeData implements [mafalda.Transport].
func (t *Transport) ConsumeData(ctx context.Context, o mafalda.DataConsumerOptions) (mafalda.DataConsumer, error) {
	defer t.s.call()()
	c, err := t.inner.ConsumeData(ctx, o)
	return met(c, err, t.s.DataConsumer, t.fail)
}

// Producers implements [mafalda.Transport].
func (t *Transport) Producers() []mafalda.Producer {
	return outers(t.inner.Producers(), t.s.Producer, &t.producers)
}

// Consumers implements [mafalda.Transport].
func (t *Transport) Consumers() []mafalda.Consumer {
	return outers(t.inner.Consumers(), t.s.Consumer, &t.consumers)
}

// DataProducers implements [mafalda.Transport].
func (t *Transport) DataProducers() []mafalda.DataProducer {
	return outers(t.inner.DataProducers(), t.s.DataProducer, &t.dataProducers)
}

// DataConsumers implements [mafalda.Transport].
func (t *Transport) DataConsumers() []mafalda.DataConsumer {
	return outers(t.inner.DataConsumers(), t.s.DataConsumer, &t.dataConsumers)
}

// SetMaxIncomingBitrate implements [mafalda.Transport].
func (t *Transport) SetMaxIncomingBitrate(ctx context.Context, bitrate int) error {
	return t.fail(t.inner.SetMaxIncomingBitrate(ctx, bitrate))
}

// SetMaxOutgoingBitrate implements [mafalda.Transport].
func (t *Transport) SetMaxOutgoingBitrate(ctx context.Context, bitrate int) error {
	return t.fail(t.inner.SetMaxOutgoingBitrate(ctx, bitrate))
}

// SetMinOutgoingBitrate implements [mafalda.Transport].
func (t *Transport) SetMinOutgoingBitrate(ctx context.Context, bitrate int) error {
	return t.fail(t.inner.SetMinOutgoingBitrate(ctx, bitrate))
}

// EnableTraceEvent implements [mafalda.Transport].
func (t *Transport) EnableTraceEvent(ctx context.Context, types ...mafalda.TraceEventType) error {
	return t.fail(t.inner.EnableTraceEvent(ctx, types...))
}

// Tap implements [mafalda.PacketTapper]. The error is [errors.ErrUnsupported] if the
// inner Transport is none.
func (t *Transport) Tap(ctx context.Context, w io.Writer, o mafalda.TapOptions) (mafalda.TapResult, error) {
	x, ok := t.inner.(mafalda.PacketTapper)
	if !ok {
		return mafalda.TapResult{}, t.fail(&mafalda.Error{Op: "Tap", Object: "Transport", ID: t.ID(), Err: errors.ErrUnsupported})
	}
	r, err := x.Tap(ctx, w, o)
	return r, t.fail(err)
}

// Stats implements [mafalda.Transport].
func (t *Transport) Stats(ctx context.Context) ([]mafalda.TransportStats, error) {
	x, err := t.inner.Stats(ctx)
	return x, t.fail(err)
}

// Dump implements [mafalda.Transport].
func (t *Transport) Dump(ctx context.Context) (mafalda.TransportDump, error) {
	d, err := t.inner.Dump(ctx)
	return d, t.fail(err)
}

// Events implements [mafalda.Transport].
func (t *Transport) Events() *mafalda.TransportEvents { return &t.events }

// Observer implements [mafalda.Transport].
func (t *Transport) Observer() *mafalda.TransportObserver { return &t.observer }
