package mafalda

import (
	"context"

	"github.com/mafalda-sfu/mafalda/internal/engine"
)

// A dataProducer is a [DataProducer] of a worker.
type dataProducer struct {
	object
	// Constant after ProduceData.
	t               *transport
	stream          *SCTPStreamParameters // nil on a direct transport
	label, protocol string

	events   DataProducerEvents
	observer DataProducerObserver

	// Guarded by w.mu.
	paused    bool
	pauseSet  uint64          // stamp of what set paused
	consumers []*dataConsumer // in order of creation, until they have ended
}

var _ DataProducer = (*dataProducer)(nil)

func (p *dataProducer) Type() DataProducerType {
	if p.stream == nil {
		return DataProducerTypeDirect
	}
	return DataProducerTypeSCTP
}

func (p *dataProducer) SCTPStreamParameters() *SCTPStreamParameters { return p.stream.copied() }
func (p *dataProducer) Label() string                               { return p.label }
func (p *dataProducer) Protocol() string                            { return p.protocol }
func (p *dataProducer) Events() *DataProducerEvents                 { return &p.events }
func (p *dataProducer) Observer() *DataProducerObserver             { return &p.observer }

func (p *dataProducer) Paused() bool {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	return p.paused
}

func (p *dataProducer) Pause(ctx context.Context) error {
	return p.setPaused(ctx, "Pause", true, machine.PauseDataProducer)
}

func (p *dataProducer) Resume(ctx context.Context) error {
	return p.setPaused(ctx, "Resume", false, machine.ResumeDataProducer)
}

func (p *dataProducer) setPaused(ctx context.Context, op string, paused bool, f func(machine, string) error) error {
	stamp, notes, err := askNotes(ctx, &p.object, func(m machine) (uint64, error) {
		return p.w.stampOnLoop(), f(m, p.id)
	})
	if err != nil {
		return p.fail(op, err)
	}
	p.w.mu.Lock()
	flips := false
	if stamp > p.pauseSet {
		flips = p.paused != paused
		p.pauseSet, p.paused = stamp, paused
	}
	p.w.mu.Unlock()
	switch {
	case flips && paused:
		p.observer.Pause.EmitUnlessClosed(p, struct{}{})
	case flips:
		p.observer.Resume.EmitUnlessClosed(p, struct{}{})
	}
	p.w.deliver(notes)
	return nil
}

func (p *dataProducer) Send(m DataMessage) error {
	const op = "Send"
	ppid, data, err := m.content()
	if err == nil {
		err = p.openError()
	}
	if err == nil {
		err = p.w.back.InjectData(p.id, engine.DataMessage{
			PPID: uint32(ppid), Data: data, Subchannels: m.Subchannels,
			Required: m.RequiredSubchannel, Ignored: m.IgnoredSubchannel,
		})
	}
	if err != nil {
		return p.fail(op, err)
	}
	return nil
}

func (p *dataProducer) Stats(ctx context.Context) ([]DataProducerStats, error) {
	s, err := ask(ctx, &p.object, "Stats", func(m machine) (engine.DataProducerStats, error) {
		return m.DataProducerStats(p.id)
	})
	if err != nil {
		return nil, err
	}
	return []DataProducerStats{{
		Type: "data-producer", Timestamp: s.Timestamp.Milliseconds(), Label: s.Label, Protocol: s.Protocol,
		MessagesReceived: s.MessagesReceived, BytesReceived: s.BytesReceived,
	}}, nil
}

func (p *dataProducer) Dump(ctx context.Context) (DataProducerDump, error) {
	d, err := ask(ctx, &p.object, "Dump", func(m machine) (engine.DataProducerDump, error) {
		return m.DumpDataProducer(p.id)
	})
	if err != nil {
		return DataProducerDump{}, err
	}
	return DataProducerDump{
		ID: d.ID, Paused: d.Paused, Type: DataProducerType(d.Type.String()),
		SCTPStreamParameters: streamParameters(d.SCTPStreamParameters), Label: d.Label, Protocol: d.Protocol,
	}, nil
}

// notify implements target: nothing happens to a DataProducer by itself.
func (p *dataProducer) notify(engine.Notification) {}

// closeLocked closes the DataProducer, but not its DataConsumers: see
// closing.orphansLocked.
func (p *dataProducer) closeLocked(c *closing, cause *Event[struct{}]) {
	if !c.begin(&p.life) {
		return
	}
	c.dataProducers = append(c.dataProducers, p)
	delete(p.t.r.dataProducers, p.id)
	p.w.dropLocked(p)
	c.emit(cause)
	c.emit(&p.observer.Close)
	c.end(&p.object, func() {
		p.consumers = nil
		forget(&p.t.life, &p.t.dataProducers, p)
	})
}

func (p *dataProducer) Close() error {
	var c closing
	p.w.mu.Lock()
	if p.Closed() {
		p.w.mu.Unlock()
		return nil
	}
	p.closeLocked(&c, nil)
	c.orphansLocked()
	p.w.mu.Unlock()
	p.w.closeOnLoop(func(m machine) error { return m.CloseDataProducer(p.id) })
	play(c.steps)
	return nil
}
