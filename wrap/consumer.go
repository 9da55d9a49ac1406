package wrap

import (
	"context"

	"github.com/mafalda-sfu/mafalda"
)

// A Consumer passes everything through to an inner one.
type Consumer struct {
	object[mafalda.Consumer]
	events   mafalda.ConsumerEvents
	observer mafalda.ConsumerObserver
}

var _ mafalda.Consumer = (*Consumer)(nil)

func newConsumer(s *Space, inner mafalda.Consumer) *Consumer {
	c := new(Consumer)
	c.init(s, inner)
	return c
}

func (c *Consumer) begin(outer any) {
	c.outer = outer
	l := &c.Life

	in, out := c.inner.Events(), &c.events
	cause(l, &in.TransportClose, &out.TransportClose)
	cause(l, &in.ProducerClose, &out.ProducerClose)
	event(l, &in.ProducerPause, &out.ProducerPause)
	event(l, &in.ProducerResume, &out.ProducerResume)
	event(l, &in.Score, &out.Score)
	event(l, &in.LayersChange, &out.LayersChange)
	event(l, &in.Trace, &out.Trace)
	event(l, &in.RTP, &out.RTP)

	from, to := c.inner.Observer(), &c.observer
	event(l, &from.Pause, &to.Pause)
	event(l, &from.Resume, &to.Resume)
	event(l, &from.Score, &to.Score)
	event(l, &from.LayersChange, &to.LayersChange)
	event(l, &from.Trace, &to.Trace)
	c.s.end(l, &from.Close, &to.Close)
}

func (c *Consumer) parentClose() *mafalda.Event[struct{}] { return &c.events.TransportClose }

func (c *Consumer) mark(x *Closing, cause *mafalda.Event[struct{}]) {
	if !x.Begin(&c.Life) {
		return
	}
	x.Emit(cause)
	x.Emit(&c.observer.Close)
	x.End(&c.Life)
}

// CloseIn adds the closing of the Consumer to x, for that cause: one of its
// Events, or nil.
func (c *Consumer) CloseIn(x *Closing, cause *mafalda.Event[struct{}]) {
	x.Inner(c.inner)
	c.mark(x, cause)
}

// ProducerID implements [mafalda.Consumer].
func (c *Consumer) ProducerID() string { return c.inner.ProducerID() }

// Kind implements [mafalda.Consumer].
func (c *Consumer) Kind() mafalda.MediaKind { return c.inner.Kind() }

// Type implements [mafalda.Consumer].
func (c *Consumer) Type() mafalda.ConsumerType { return c.inner.Type() }

// RTPParameters implements [mafalda.Consumer].
func (c *Consumer) RTPParameters() mafalda.RTPParameters { return c.inner.RTPParameters() }

// Paused implements [mafalda.Consumer].
func (c *Consumer) Paused() bool { return c.inner.Paused() }

// ProducerPaused implements [mafalda.Consumer].
func (c *Consumer) ProducerPaused() bool { return c.inner.ProducerPaused() }

// Score implements [mafalda.Consumer].
func (c *Consumer) Score() mafalda.ConsumerScore { return c.inner.Score() }

// Priority implements [mafalda.Consumer].
func (c *Consumer) Priority() int { return c.inner.Priority() }

// PreferredLayers implements [mafalda.Consumer].
func (c *Consumer) PreferredLayers() *mafalda.ConsumerLayers { return c.inner.PreferredLayers() }

// CurrentLayers implements [mafalda.Consumer].
func (c *Consumer) CurrentLayers() *mafalda.ConsumerLayers { return c.inner.CurrentLayers() }

// SetPreferredLayers implements [mafalda.Consumer].
func (c *Consumer) SetPreferredLayers(ctx context.Context, l mafalda.ConsumerLayers) error {
	return c.fail(c.inner.SetPreferredLayers(ctx, l))
}

// SetPriority implements [mafalda.Consumer].
func (c *Consumer) SetPriority(ctx context.Context, priority int) error {
	return c.fail(c.inner.SetPriority(ctx, priority))
}

// UnsetPriority implements [mafalda.Consumer].
func (c *Consumer) UnsetPriority(ctx context.Context) error {
	return c.fail(c.inner.UnsetPriority(ctx))
}

// Pause implements [mafalda.Consumer].
func (c *Consumer) Pause(ctx context.Context) error { return c.fail(c.inner.Pause(ctx)) }

// Resume implements [mafalda.Consumer].
func (c *Consumer) Resume(ctx context.Context) error { return c.fail(c.inner.Resume(ctx)) }

// RequestKeyFrame implements [mafalda.Consumer].
func (c *Consumer) RequestKeyFrame(ctx context.Context) error {
	return c.fail(c.inner.RequestKeyFrame(ctx))
}

// EnableTraceEvent implements [mafalda.Consumer].
func (c *Consumer) EnableTraceEvent(ctx context.Context, types ...mafalda.TraceEventType) error {
	return c.fail(c.inner.EnableTraceEvent(ctx, types...))
}

// Stats implements [mafalda.Consumer].
func (c *Consumer) Stats(ctx context.Context) ([]mafalda.RTPStreamStats, error) {
	s, err := c.inner.Stats(ctx)
	return s, c.fail(err)
}

// Dump implements [mafalda.Consumer].
func (c *Consumer) Dump(ctx context.Context) (mafalda.ConsumerDump, error) {
	d, err := c.inner.Dump(ctx)
	return d, c.fail(err)
}

// Events implements [mafalda.Consumer].
func (c *Consumer) Events() *mafalda.ConsumerEvents { return &c.events }

// Observer implements [mafalda.Consumer].
func (c *Consumer) Observer() *mafalda.ConsumerObserver { return &c.observer }
