package mafalda

import (
	"cmp"
	"context"
	"fmt"

	"github.com/mafalda-sfu/mafalda/internal/engine"
)

// The data side of a transport.

func (t *transport) DataProducers() []DataProducer {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	return open[DataProducer](t.dataProducers)
}

func (t *transport) DataConsumers() []DataConsumer {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	return open[DataConsumer](t.dataConsumers)
}

// dataType returns the type of the data ends of t.
func (t *transport) dataType() engine.DataType {
	if t.typ == TransportTypeDirect {
		return engine.DirectData
	}
	return engine.SCTPData
}

func (t *transport) ProduceData(ctx context.Context, o DataProducerOptions) (DataProducer, error) {
	p, err := t.produceData(ctx, &o)
	if err != nil {
		return nil, t.fail("ProduceData", err)
	}
	return p, nil
}

func (t *transport) produceData(ctx context.Context, o *DataProducerOptions) (*dataProducer, error) {
	p := &dataProducer{t: t, label: o.Label, protocol: o.Protocol, paused: o.Paused}
	p.init(t.w, "DataProducer", cmp.Or(o.ID, newID()), o.AppData)
	e := engine.ProduceDataOptions{
		ID: p.id, Type: t.dataType(), Label: o.Label, Protocol: o.Protocol, Paused: o.Paused,
	}
	if e.Type == engine.SCTPData {
		if o.SCTPStreamParameters == nil {
			return nil, invalid("SCTPStreamParameters are missing")
		}
		s, err := ValidateAndNormalizeSCTPStreamParameters(*o.SCTPStreamParameters)
		if err != nil {
			return nil, err
		}
		e.SCTPStreamParameters = engineStreamParameters(&s)
	}
	w := t.w
	if err := w.add(&t.object, p); err != nil {
		return nil, err
	}
	d, notes, err := askNotes(ctx, &t.object, func(m machine) (engine.DataProducerDump, error) {
		return m.ProduceData(t.id, e)
	})
	if err != nil {
		w.drop(p)
		return nil, err
	}
	p.stream = streamParameters(d.SCTPStreamParameters)
	w.mu.Lock()
	if err := t.openError(); err != nil { // and the DataProducer with it, in the engine
		w.mu.Unlock()
		w.drop(p)
		return nil, err
	}
	t.dataProducers = append(t.dataProducers, p)
	t.r.dataProducers[p.id] = p
	w.mu.Unlock()
	t.observer.NewDataProducer.Emit(p)
	p.born.come()
	w.deliver(notes)
	return p, nil
}

func (t *transport) ConsumeData(ctx context.Context, o DataConsumerOptions) (DataConsumer, error) {
	const op = "ConsumeData"
	if err := o.validate(); err != nil {
		return nil, t.fail(op, err)
	}
	if err := t.openError(); err != nil {
		return nil, t.fail(op, err)
	}
	p := t.r.dataProducer(o.DataProducerID)
	if p == nil {
		return nil, t.failArgument(op, unknownDataProducer(o.DataProducerID))
	}
	c, err := t.consumeData(ctx, &o, p)
	if err != nil {
		return nil, t.failArgument(op, err)
	}
	return c, nil
}

func (t *transport) consumeData(ctx context.Context, o *DataConsumerOptions, p *dataProducer) (*dataConsumer, error) {
	c := &dataConsumer{t: t, p: p}
	c.init(t.w, "DataConsumer", newID(), o.AppData)
	e := engine.ConsumeDataOptions{
		ID: c.id, DataProducerID: p.id, Type: t.dataType(), Label: p.label, Protocol: p.protocol,
		Paused: o.Paused, Subchannels: o.Subchannels,
	}
	if e.Type == engine.SCTPData {
		s := o.stream(p.stream)
		var err error
		if s.StreamID, err = t.takeStream(); err != nil {
			return nil, err
		}
		e.SCTPStreamParameters = engineStreamParameters(&s)
		defer func() {
			if c.stream == nil { // unlike mediasoup's, the id of a call that failed is free again
				t.returnStream(s.StreamID)
			}
		}()
	}
	w := t.w
	if err := w.add(&t.object, c); err != nil {
		return nil, err
	}
	d, notes, err := askNotes(ctx, &t.object, func(m machine) (engine.DataConsumerDump, error) {
		return m.ConsumeData(t.id, e)
	})
	if err != nil {
		w.drop(c)
		return nil, err
	}
	w.mu.Lock()
	err = t.openError()
	if err == nil && p.Closed() {
		err = unknownDataProducer(p.id)
	}
	if err != nil { // and the DataConsumer with its parent or DataProducer, in the engine
		w.mu.Unlock()
		w.drop(c)
		return nil, err
	}
	c.stream = streamParameters(d.SCTPStreamParameters)
	c.initLocked(&d)
	t.dataConsumers = append(t.dataConsumers, c)
	p.consumers = append(p.consumers, c)
	w.mu.Unlock()
	t.observer.NewDataConsumer.Emit(c)
	c.born.come()
	w.deliver(notes)
	return c, nil
}

func unknownDataProducer(id string) error { return fmt.Errorf("DataProducer %q: %w", id, ErrNotFound) }

// dataProducer returns the open DataProducer with that id, or nil.
func (r *router) dataProducer(id string) *dataProducer {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	return r.dataProducers[id]
}

// streamIDs are the ids of the SCTP streams of the DataConsumers of a transport.
type streamIDs struct {
	used map[uint16]bool
	next int // where the search begins
}

// maxStreams is how many streams there are: 0 to 65534.
const maxStreams = 65535

var errNoStream = fmt.Errorf("no SCTP stream is free: %w", ErrUnavailable)

// take returns a free id less than limit, that after the last one if it is.
func (s *streamIDs) take(limit int) (uint16, error) {
	if s.used == nil {
		s.used = map[uint16]bool{}
	}
	for i := range limit {
		id := uint16((s.next + i) % limit)
		if s.next >= limit {
			id = uint16(i)
		}
		if !s.used[id] {
			s.used[id] = true
			s.next = int(id) + 1
			return id, nil
		}
	}
	return 0, errNoStream
}

func (s *streamIDs) give(id uint16) { delete(s.used, id) }

func (t *transport) takeStream() (uint16, error) {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	limit := maxStreams
	if n := t.sctp.negotiated; n != nil {
		limit = min(limit, n.NegotiatedMaxOutboundStreams)
	}
	return t.streams.take(limit)
}

func (t *transport) returnStream(id uint16) {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	t.streams.give(id)
}

func engineStreamParameters(p *SCTPStreamParameters) *engine.SCTPStreamParameters {
	e := &engine.SCTPStreamParameters{
		StreamID: p.StreamID, Ordered: clonePointer(p.Ordered), MaxRetransmits: clonePointer(p.MaxRetransmits),
	}
	if p.MaxPacketLifeTime != nil {
		e.MaxPacketLifeTime = *p.MaxPacketLifeTime
	}
	return e
}

func streamParameters(e *engine.SCTPStreamParameters) *SCTPStreamParameters {
	if e == nil {
		return nil
	}
	p := &SCTPStreamParameters{StreamID: e.StreamID, Ordered: clonePointer(e.Ordered)}
	if e.MaxPacketLifeTime != 0 {
		p.MaxPacketLifeTime = new(e.MaxPacketLifeTime)
	}
	p.MaxRetransmits = clonePointer(e.MaxRetransmits)
	return p
}

// copied returns a deep copy, nil for nil.
func (p *SCTPStreamParameters) copied() *SCTPStreamParameters {
	if p == nil {
		return nil
	}
	return new(p.clone())
}
