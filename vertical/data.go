package vertical

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/wrap"
)

// A dataProducer is a DataProducer on a virtual Router.
type dataProducer struct {
	*wrap.DataProducer
	appData
	// Constant after its constructor.
	t  *carrier
	rr *realRouter
	id string

	// Guarded by s.mu.
	consumers []*dataConsumer // in order of creation, until they have ended
	pipes     pipes
}

func (s *SFU) newDataProducer(pass *wrap.DataProducer) mafalda.DataProducer {
	inner := pass.Inner()
	tag, ok := inner.AppData().(*producerTag)
	if !ok {
		return pass // somebody else's
	}
	return tag.bytes.get(func() *dataProducer {
		p := &dataProducer{DataProducer: pass, t: tag.t, rr: tag.t.rr, id: cmp.Or(tag.id, inner.ID()), pipes: pipes{}}
		p.v = tag.data
		s.mu.Lock()
		p.t.dataProducers = append(p.t.dataProducers, p)
		p.t.r.dataProducers[p.id] = p
		p.home().ids[p.id] = true
		s.mu.Unlock()
		atEnd(p, &p.Observer().Close, p.ended)
		p.Observer().Pause.On(func(struct{}) { p.flipped() })
		p.Observer().Resume.On(func(struct{}) { p.flipped() })
		return p
	})
}

func (p *dataProducer) ID() string    { return p.id }
func (p *dataProducer) home() *worker { return p.t.r.w }

// ended is called before anybody else hears of the end of p.
func (p *dataProducer) ended() {
	s := p.home().s
	s.mu.Lock()
	defer s.mu.Unlock()
	p.t.dataProducers = without(p.t.dataProducers, p)
	if p.t.r.dataProducers[p.id] == p {
		delete(p.t.r.dataProducers, p.id)
	}
	delete(p.home().ids, p.id)
}

func (p *dataProducer) orphansLocked(c *wrap.Closing) {
	for _, x := range p.consumers {
		if !x.Closed() {
			x.CloseIn(c, &x.Events().DataProducerClose)
		}
	}
}

func (p *dataProducer) Close() error {
	s := p.home().s
	var c wrap.Closing
	s.mu.Lock()
	if p.Closed() {
		s.mu.Unlock()
		return nil
	}
	p.CloseIn(&c, nil)
	p.orphansLocked(&c)
	s.mu.Unlock()
	return c.Play()
}

func (p *dataProducer) Dump(ctx context.Context) (mafalda.DataProducerDump, error) {
	d, err := p.DataProducer.Dump(ctx)
	d.ID = p.id
	return d, err
}

// reach returns how p can be consumed on a real Router, as [pipes.reach].
func (p *dataProducer) reach(ctx context.Context, to *realRouter) (*outlet, error) {
	from, err := p.pipes.reach(ctx, p.rr, to, mafalda.PipeToRouterOptions{DataProducerID: p.Inner().ID()}, era{})
	if err != nil && p.Closed() {
		err = fmt.Errorf("no DataProducer %q: %w", p.id, mafalda.ErrNotFound)
	}
	return from, err
}

// flipped tells DataConsumers at the far ends of pipes that p was paused or
// resumed. The far ends are not: what is in a pipe was sent before.
func (p *dataProducer) flipped() {
	s := p.home().s
	s.mu.Lock()
	consumers := slices.Clone(p.consumers)
	s.mu.Unlock()
	for _, c := range consumers {
		if c.piped != nil {
			c.piped.follow()
		}
	}
}

// A dataConsumerTag is the app data of an inner DataConsumer.
type dataConsumerTag struct {
	t     *carrier
	p     *dataProducer
	from  *outlet
	data  any
	outer made[mafalda.DataConsumer]
}

// A dataConsumer is a DataConsumer on a virtual Router.
type dataConsumer struct {
	*wrap.DataConsumer
	appData
	// Constant after its constructor.
	t     *carrier
	p     *dataProducer
	rr    *realRouter
	from  *outlet
	piped *pipedDataConsumer // what it is part of, or nil
}

func (s *SFU) newDataConsumer(pass *wrap.DataConsumer) mafalda.DataConsumer {
	tag, ok := pass.Inner().AppData().(*dataConsumerTag)
	if !ok {
		return pass // somebody else's
	}
	return tag.outer.get(func() mafalda.DataConsumer {
		c := &dataConsumer{DataConsumer: pass, t: tag.t, p: tag.p, rr: tag.t.rr, from: tag.from}
		c.v = tag.data
		var outer mafalda.DataConsumer = c
		if tag.from.pipe != nil {
			c.piped = &pipedDataConsumer{dataConsumer: c}
			c.piped.relay()
			outer = c.piped
		}
		s.mu.Lock()
		c.p.consumers = append(c.p.consumers, c)
		s.mu.Unlock()
		atEnd(pass, &pass.Observer().Close, c.ended)
		if c.piped != nil {
			c.piped.follow() // nobody hears it yet
		}
		return outer
	})
}

func (c *dataConsumer) DataProducerID() string { return c.p.id }
func (c *dataConsumer) home() *worker          { return c.t.r.w }

// ended is called before anybody else hears of the end of c.
func (c *dataConsumer) ended() {
	s := c.home().s
	s.mu.Lock()
	c.p.consumers = without(c.p.consumers, c)
	s.mu.Unlock()
	c.from.release()
}

func (c *dataConsumer) Dump(ctx context.Context) (mafalda.DataConsumerDump, error) {
	d, err := c.DataConsumer.Dump(ctx)
	d.DataProducerID = c.p.id
	return d, err
}

// A pipedDataConsumer is a dataConsumer at the far end of a pipe. It tells of the
// DataProducer what that is itself: its copy there is never paused.
type pipedDataConsumer struct {
	*dataConsumer
	events   mafalda.DataConsumerEvents
	observer mafalda.DataConsumerObserver

	producerPaused atomic.Bool // as the DataProducer was while c was open

	mu    sync.Mutex
	busy  bool // guarded by mu; a goroutine tells of the DataProducer
	again bool // guarded by mu; and has to look again
}

func (c *pipedDataConsumer) Events() *mafalda.DataConsumerEvents     { return &c.events }
func (c *pipedDataConsumer) Observer() *mafalda.DataConsumerObserver { return &c.observer }

// relay makes c emit what the pass-through does, but for what the pausing of the
// DataProducer makes different.
func (c *pipedDataConsumer) relay() {
	in, out := c.dataConsumer.Events(), &c.events
	always(&in.TransportClose, &out.TransportClose)
	always(&in.DataProducerClose, &out.DataProducerClose)
	whileOpen(c, &in.Message, &out.Message)
	whileOpen(c, &in.SCTPSendBufferFull, &out.SCTPSendBufferFull)
	whileOpen(c, &in.BufferedAmountLow, &out.BufferedAmountLow)

	from, to := c.dataConsumer.Observer(), &c.observer
	always(&from.Close, &to.Close)
	unlessPaused := func(from, to *mafalda.Event[struct{}]) {
		from.On(func(v struct{}) {
			if !c.DataProducerPaused() { // else nothing changes
				to.EmitUnlessClosed(c, v)
			}
		})
	}
	unlessPaused(&from.Pause, &to.Pause)
	unlessPaused(&from.Resume, &to.Resume)
}

// follow tells what the DataProducer is by now, if that is something else. Of
// several goroutines, one does it for all.
func (c *pipedDataConsumer) follow() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.again = true
	if c.busy {
		return
	}
	c.busy = true
	defer func() { c.busy = false }()
	for c.again {
		c.again = false
		c.mu.Unlock()
		paused, closed := c.p.Paused(), c.Closed()
		if !closed && paused != c.DataProducerPaused() {
			c.producerPaused.Store(paused)
			event, seen := &c.events.DataProducerResume, &c.observer.Resume
			if paused {
				event, seen = &c.events.DataProducerPause, &c.observer.Pause
			}
			event.EmitUnlessClosed(c, struct{}{})
			if !c.Paused() {
				seen.EmitUnlessClosed(c, struct{}{})
			}
		}
		c.mu.Lock()
	}
}

func (c *pipedDataConsumer) DataProducerPaused() bool { return c.producerPaused.Load() }

func (c *pipedDataConsumer) Dump(ctx context.Context) (mafalda.DataConsumerDump, error) {
	d, err := c.dataConsumer.Dump(ctx)
	d.DataProducerPaused = c.DataProducerPaused()
	return d, err
}

// Send implements [mafalda.DataConsumer]. It is refused while the DataProducer is
// paused, wherever that is.
func (c *pipedDataConsumer) Send(ctx context.Context, m mafalda.DataMessage) (bufferedAmount int, err error) {
	if c.DataProducerPaused() && !c.Closed() && ctx.Err() == nil {
		return 0, &mafalda.Error{
			Op: "Send", Object: "DataConsumer", ID: c.ID(),
			Err: fmt.Errorf("the DataProducer is paused: %w", mafalda.ErrInvalidState),
		}
	}
	return c.dataConsumer.Send(ctx, m)
}
