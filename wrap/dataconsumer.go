package wrap

import (
	"context"

	"github.com/mafalda-sfu/mafalda"
)

// A DataConsumer passes everything through to an inner one.
type DataConsumer struct {
	object[mafalda.DataConsumer]
	events   mafalda.DataConsumerEvents
	observer mafalda.DataConsumerObserver
}

var _ mafalda.DataConsumer = (*DataConsumer)(nil)

func newDataConsumer(s *Space, inner mafalda.DataConsumer) *DataConsumer {
	c := new(DataConsumer)
	c.init(s, inner)
	return c
}

func (c *DataConsumer) begin(outer any) {
	c.outer = outer
	l := &c.Life

	in, out := c.inner.Events(), &c.events
	cause(l, &in.TransportClose, &out.TransportClose)
	cause(l, &in.DataProducerClose, &out.DataProducerClose)
	event(l, &in.DataProducerPause, &out.DataProducerPause)
	event(l, &in.DataProducerResume, &out.DataProducerResume)
	event(l, &in.Message, &out.Message)
	event(l, &in.SCTPSendBufferFull, &out.SCTPSendBufferFull)
	event(l, &in.BufferedAmountLow, &out.BufferedAmountLow)

	from, to := c.inner.Observer(), &c.observer
	event(l, &from.Pause, &to.Pause)
	event(l, &from.Resume, &to.Resume)
	c.s.end(l, &from.Close, &to.Close)
}

func (c *DataConsumer) parentClose() *mafalda.Event[struct{}] { return &c.events.TransportClose }

func (c *DataConsumer) mark(x *Closing, cause *mafalda.Event[struct{}]) {
	if !x.Begin(&c.Life) {
		return
	}
	x.Emit(cause)
	x.Emit(&c.observer.Close)
	x.End(&c.Life)
}

// CloseIn adds the closing of the DataConsumer to x, for that cause: one of its
// Events, or nil.
func (c *DataConsumer) CloseIn(x *Closing, cause *mafalda.Event[struct{}]) {
	x.Inner(c.inner)
	c.mark(x, cause)
}

// DataProducerID implements [mafalda.DataConsumer].
func (c *DataConsumer) DataProducerID() string { return c.inner.DataProducerID() }

// Type implements [mafalda.DataConsumer].
func (c *DataConsumer) Type() mafalda.DataConsumerType { return c.inner.Type() }

// SCTPStreamParameters implements [mafalda.DataConsumer].
func (c *DataConsumer) SCTPStreamParameters() *mafalda.SCTPStreamParameters {
	return c.inner.SCTPStreamParameters()
}

// Label implements [mafalda.DataConsumer].
func (c *DataConsumer) Label() string { return c.inner.Label() }

// Protocol implements [mafalda.DataConsumer].
func (c *DataConsumer) Protocol() string { return c.inner.Protocol() }

// Paused implements [mafalda.DataConsumer].
func (c *DataConsumer) Paused() bool { return c.inner.Paused() }

// DataProducerPaused implements [mafalda.DataConsumer].
func (c *DataConsumer) DataProducerPaused() bool { return c.inner.DataProducerPaused() }

// Subchannels implements [mafalda.DataConsumer].
func (c *DataConsumer) Subchannels() []uint16 { return c.inner.Subchannels() }

// Pause implements [mafalda.DataConsumer].
func (c *DataConsumer) Pause(ctx context.Context) error { return c.fail(c.inner.Pause(ctx)) }

// Resume implements [mafalda.DataConsumer].
func (c *DataConsumer) Resume(ctx context.Context) error { return c.fail(c.inner.Resume(ctx)) }

// SetSubchannels implements [mafalda.DataConsumer].
func (c *DataConsumer) SetSubchannels(ctx context.Context, subchannels []uint16) error {
	return c.fail(c.inner.SetSubchannels(ctx, subchannels))
}

// AddSubchannel implements [mafalda.DataConsumer].
func (c *DataConsumer) AddSubchannel(ctx context.Context, subchannel uint16) error {
	return c.fail(c.inner.AddSubchannel(ctx, subchannel))
}

// RemoveSubchannel implements [mafalda.DataConsumer].
func (c *DataConsumer) RemoveSubchannel(ctx context.Context, subchannel uint16) error {
	return c.fail(c.inner.RemoveSubchannel(ctx, subchannel))
}

// Send implements [mafalda.DataConsumer].
func (c *DataConsumer) Send(ctx context.Context, m mafalda.DataMessage) (bufferedAmount int, err error) {
	n, err := c.inner.Send(ctx, m)
	return n, c.fail(err)
}

// BufferedAmount implements [mafalda.DataConsumer].
func (c *DataConsumer) BufferedAmount(ctx context.Context) (int, error) {
	n, err := c.inner.BufferedAmount(ctx)
	return n, c.fail(err)
}

// SetBufferedAmountLowThreshold implements [mafalda.DataConsumer].
func (c *DataConsumer) SetBufferedAmountLowThreshold(ctx context.Context, threshold int) error {
	return c.fail(c.inner.SetBufferedAmountLowThreshold(ctx, threshold))
}

// Stats implements [mafalda.DataConsumer].
func (c *DataConsumer) Stats(ctx context.Context) ([]mafalda.DataConsumerStats, error) {
	s, err := c.inner.Stats(ctx)
	return s, c.fail(err)
}

// Dump implements [mafalda.DataConsumer].
func (c *DataConsumer) Dump(ctx context.Context) (mafalda.DataConsumerDump, error) {
	d, err := c.inner.Dump(ctx)
	return d, c.fail(err)
}

// Events implements [mafalda.DataConsumer].
func (c *DataConsumer) Events() *mafalda.DataConsumerEvents { return &c.events }

// Observer implements [mafalda.DataConsumer].
func (c *DataConsumer) Observer() *mafalda.DataConsumerObserver { return &c.observer }
