package mafalda

import (
	"context"
	"math"
	"slices"

	"github.com/mafalda-sfu/mafalda/internal/engine"
)

// A dataConsumer is a [DataConsumer] of a worker.
type dataConsumer struct {
	object
	// Constant after ConsumeData.
	t      *transport
	p      *dataProducer
	stream *SCTPStreamParameters // nil on a direct transport

	events   DataConsumerEvents
	observer DataConsumerObserver

	// Guarded by w.mu.
	paused         bool
	pauseSet       uint64 // stamp of what set paused
	producerPaused bool
	subchannels    []uint16 // never modified in place
	subchannelsSet uint64   // stamp of what set them
	seen           recency
}

var _ DataConsumer = (*dataConsumer)(nil)

func (c *dataConsumer) initLocked(d *engine.DataConsumerDump) {
	c.paused, c.producerPaused, c.subchannels = d.Paused, d.DataProducerPaused, d.Subchannels
}

func (c *dataConsumer) DataProducerID() string { return c.p.id }

func (c *dataConsumer) Type() DataConsumerType {
	if c.stream == nil {
		return DataConsumerTypeDirect
	}
	return DataConsumerTypeSCTP
}

func (c *dataConsumer) SCTPStreamParameters() *SCTPStreamParameters { return c.stream.copied() }
func (c *dataConsumer) Label() string                               { return c.p.label }
func (c *dataConsumer) Protocol() string                            { return c.p.protocol }
func (c *dataConsumer) Events() *DataConsumerEvents                 { return &c.events }
func (c *dataConsumer) Observer() *DataConsumerObserver             { return &c.observer }

func (c *dataConsumer) Paused() bool {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	return c.paused
}

func (c *dataConsumer) DataProducerPaused() bool {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	return c.producerPaused
}

func (c *dataConsumer) Subchannels() []uint16 {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	return append([]uint16{}, c.subchannels...)
}

func (c *dataConsumer) Pause(ctx context.Context) error {
	return c.setPaused(ctx, "Pause", true, machine.PauseDataConsumer)
}

func (c *dataConsumer) Resume(ctx context.Context) error {
	return c.setPaused(ctx, "Resume", false, machine.ResumeDataConsumer)
}

func (c *dataConsumer) setPaused(ctx context.Context, op string, paused bool, f func(machine, string) error) error {
	stamp, notes, err := askNotes(ctx, &c.object, func(m machine) (uint64, error) {
		return c.w.stampOnLoop(), f(m, c.id)
	})
	if err != nil {
		return c.fail(op, err)
	}
	c.w.mu.Lock()
	flips := false
	if stamp > c.pauseSet {
		flips = c.paused != paused && !c.producerPaused
		c.pauseSet, c.paused = stamp, paused
	}
	c.w.mu.Unlock()
	switch {
	case flips && paused:
		c.observer.Pause.EmitUnlessClosed(c, struct{}{})
	case flips:
		c.observer.Resume.EmitUnlessClosed(c, struct{}{})
	}
	c.w.deliver(notes)
	return nil
}

func (c *dataConsumer) SetSubchannels(ctx context.Context, subchannels []uint16) error {
	list := slices.Clone(subchannels)
	return c.subscribe(ctx, "SetSubchannels", func(m machine) ([]uint16, error) {
		return m.SetSubchannels(c.id, list)
	})
}

func (c *dataConsumer) AddSubchannel(ctx context.Context, n uint16) error {
	return c.subscribe(ctx, "AddSubchannel", func(m machine) ([]uint16, error) {
		return m.AddSubchannel(c.id, n)
	})
}

func (c *dataConsumer) RemoveSubchannel(ctx context.Context, n uint16) error {
	return c.subscribe(ctx, "RemoveSubchannel", func(m machine) ([]uint16, error) {
		return m.RemoveSubchannel(c.id, n)
	})
}

func (c *dataConsumer) subscribe(ctx context.Context, op string, f func(machine) ([]uint16, error)) error {
	type result struct {
		list  []uint16
		stamp uint64
	}
	r, err := ask(ctx, &c.object, op, func(m machine) (result, error) {
		stamp := c.w.stampOnLoop()
		list, err := f(m)
		return result{list, stamp}, err
	})
	if err != nil {
		return err
	}
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	if r.stamp > c.subchannelsSet {
		c.subchannelsSet, c.subchannels = r.stamp, r.list
	}
	return nil
}

func (c *dataConsumer) Send(ctx context.Context, m DataMessage) (int, error) {
	const op = "Send"
	ppid, data, err := m.content()
	if err == nil && (len(m.Subchannels) > 0 || m.RequiredSubchannel != nil || m.IgnoredSubchannel != nil) {
		err = invalid("a message of a DataConsumer has no subchannels")
	}
	if err != nil {
		return 0, c.fail(op, err)
	}
	data = slices.Clone(data) // ctx may end before the loop has read it
	buffered, notes, err := askNotes(ctx, &c.object, func(m machine) (uint32, error) {
		return m.SendData(c.id, uint32(ppid), data)
	})
	c.w.deliver(notes)
	if err != nil {
		return int(buffered), c.fail(op, err)
	}
	return int(buffered), nil
}

func (c *dataConsumer) BufferedAmount(ctx context.Context) (int, error) {
	n, err := ask(ctx, &c.object, "BufferedAmount", func(m machine) (uint32, error) {
		return m.BufferedAmount(c.id)
	})
	return int(n), err
}

func (c *dataConsumer) SetBufferedAmountLowThreshold(ctx context.Context, threshold int) error {
	const op = "SetBufferedAmountLowThreshold"
	if threshold < 0 || threshold > math.MaxUint32 {
		return c.fail(op, invalid("threshold %d", threshold))
	}
	_, err := ask(ctx, &c.object, op, func(m machine) (struct{}, error) {
		return struct{}{}, m.SetBufferedAmountLowThreshold(c.id, uint32(threshold))
	})
	return err
}

func (c *dataConsumer) Stats(ctx context.Context) ([]DataConsumerStats, error) {
	s, err := ask(ctx, &c.object, "Stats", func(m machine) (engine.DataConsumerStats, error) {
		return m.DataConsumerStats(c.id)
	})
	if err != nil {
		return nil, err
	}
	return []DataConsumerStats{{
		Type: "data-consumer", Timestamp: s.Timestamp.Milliseconds(), Label: s.Label, Protocol: s.Protocol,
		MessagesSent: s.MessagesSent, BytesSent: s.BytesSent, BufferedAmount: int(s.BufferedAmount),
	}}, nil
}

func (c *dataConsumer) Dump(ctx context.Context) (DataConsumerDump, error) {
	d, err := ask(ctx, &c.object, "Dump", func(m machine) (engine.DataConsumerDump, error) {
		return m.DumpDataConsumer(c.id)
	})
	if err != nil {
		return DataConsumerDump{}, err
	}
	return DataConsumerDump{
		ID: d.ID, DataProducerID: d.DataProducerID, Type: DataConsumerType(d.Type.String()),
		SCTPStreamParameters: streamParameters(d.SCTPStreamParameters), Label: d.Label, Protocol: d.Protocol,
		BufferedAmount: int(d.BufferedAmount), BufferedAmountLowThreshold: int(d.BufferedAmountLowThreshold),
		Paused: d.Paused, DataProducerPaused: d.DataProducerPaused, Subchannels: listed(d.Subchannels),
	}, nil
}

func (c *dataConsumer) notify(n engine.Notification) {
	switch b := n.Body.(type) {
	case engine.DataConsumerMessage:
		c.events.Message.EmitUnlessClosed(c, DataMessage{PPID: PPID(b.PPID), Data: b.Data})
	case engine.DataConsumerSendBufferFull:
		c.events.SCTPSendBufferFull.EmitUnlessClosed(c, struct{}{})
	case engine.DataConsumerBufferedAmountLow:
		c.events.BufferedAmountLow.EmitUnlessClosed(c, int(b.Amount))
	case engine.DataConsumerProducerPause:
		c.dataProducerPause(n.Seq, true, &c.events.DataProducerPause, &c.observer.Pause)
	case engine.DataConsumerProducerResume:
		c.dataProducerPause(n.Seq, false, &c.events.DataProducerResume, &c.observer.Resume)
	}
	// engine.DataConsumerProducerClose is nothing new: whoever closed the
	// DataProducer closed its DataConsumers here, before the engine did.
}

// dataProducerPause takes the news that the DataProducer was paused or resumed.
func (c *dataConsumer) dataProducerPause(seq uint64, paused bool, event, effect *Event[struct{}]) {
	c.w.mu.Lock()
	news := !c.Closed() && c.seen.fresh(notePause, seq) && c.producerPaused != paused
	effective := !c.paused
	if news {
		c.producerPaused = paused
	}
	c.w.mu.Unlock()
	if !news {
		return
	}
	event.EmitUnlessClosed(c, struct{}{})
	if effective {
		effect.EmitUnlessClosed(c, struct{}{})
	}
}

// closeLocked closes the DataConsumer.
func (c *dataConsumer) closeLocked(x *closing, cause *Event[struct{}]) {
	if !x.begin(&c.life) {
		return
	}
	c.w.dropLocked(c)
	x.emit(cause)
	x.emit(&c.observer.Close)
	x.end(&c.object, func() {
		if c.stream != nil { // the engine has given it up by now
			c.t.streams.give(c.stream.StreamID)
		}
		forget(&c.t.life, &c.t.dataConsumers, c)
		forget(&c.p.life, &c.p.consumers, c)
	})
}

func (c *dataConsumer) Close() error {
	var x closing
	c.w.mu.Lock()
	if c.Closed() {
		c.w.mu.Unlock()
		return nil
	}
	c.closeLocked(&x, nil)
	c.w.mu.Unlock()
	c.w.closeOnLoop(func(m machine) error { return m.CloseDataConsumer(c.id) })
	play(x.steps)
	return nil
}
