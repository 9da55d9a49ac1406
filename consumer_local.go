package mafalda

import (
	"context"
	"slices"

	"github.com/mafalda-sfu/mafalda/internal/engine"
)

// A consumer is a [Consumer] of a worker.
type consumer struct {
	object
	// Constant after the constructor.
	t             *transport
	p             *producer
	typ           ConsumerType
	rtpParameters RTPParameters // parts are shared with other Consumers

	events   ConsumerEvents
	observer ConsumerObserver

	// Guarded by w.mu.
	paused         bool
	pauseSet       uint64 // stamp of what set paused
	producerPaused bool
	score          ConsumerScore // its list is never modified in place
	priority       int
	prioritySet    uint64          // stamp of what set priority
	preferred      *ConsumerLayers // never modified in place
	preferredSet   uint64          // stamp of what set preferred
	current        *ConsumerLayers // never modified in place
	seen           recency
}

var _ Consumer = (*consumer)(nil)

// initLocked takes over what the engine says, before anybody knows c.
func (c *consumer) initLocked(r *engine.ConsumeResult) {
	c.typ = ConsumerType(r.Type.String())
	c.paused, c.producerPaused = r.Paused, r.ProducerPaused
	c.priority, c.preferred = 1, consumerLayers(r.PreferredLayers)
	if c.score = consumerScore(r.Score); c.t.typ == TransportTypePipe { // and so it stays
		c.score = ConsumerScore{Score: 10, ProducerScore: 10, ProducerScores: []int{}}
	}
}

func (c *consumer) ProducerID() string           { return c.p.id }
func (c *consumer) Kind() MediaKind              { return c.p.mediaKind }
func (c *consumer) Type() ConsumerType           { return c.typ }
func (c *consumer) RTPParameters() RTPParameters { return c.rtpParameters.clone() }
func (c *consumer) Events() *ConsumerEvents      { return &c.events }
func (c *consumer) Observer() *ConsumerObserver  { return &c.observer }

func (c *consumer) Paused() bool {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	return c.paused
}

func (c *consumer) ProducerPaused() bool {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	return c.producerPaused
}

func (c *consumer) Score() ConsumerScore {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	return c.score.clone()
}

func (c *consumer) Priority() int {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	return c.priority
}

func (c *consumer) PreferredLayers() *ConsumerLayers {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	return c.preferred.clone()
}

func (c *consumer) CurrentLayers() *ConsumerLayers {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	return c.current.clone()
}

func (l *ConsumerLayers) clone() *ConsumerLayers {
	if l == nil {
		return nil
	}
	return &ConsumerLayers{l.SpatialLayer, clonePointer(l.TemporalLayer)}
}

func (s ConsumerScore) clone() ConsumerScore {
	s.ProducerScores = slices.Clone(s.ProducerScores)
	return s
}

func (c *consumer) Pause(ctx context.Context) error {
	return c.setPaused(ctx, "Pause", true, machine.PauseConsumer)
}

func (c *consumer) Resume(ctx context.Context) error {
	return c.setPaused(ctx, "Resume", false, machine.ResumeConsumer)
}

func (c *consumer) setPaused(ctx context.Context, op string, paused bool, f func(machine, string) error) error {
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

func (c *consumer) SetPreferredLayers(ctx context.Context, l ConsumerLayers) error {
	const op = "SetPreferredLayers"
	if err := l.validate(); err != nil {
		return c.fail(op, err)
	}
	type result struct {
		stamp  uint64
		layers *engine.Layers
	}
	r, notes, err := askNotes(ctx, &c.object, func(m machine) (result, error) {
		got, err := m.SetPreferredLayers(c.id, engineLayers(&l))
		return result{c.w.stampOnLoop(), got}, err
	})
	if err != nil {
		return c.fail(op, err)
	}
	c.w.mu.Lock()
	if r.stamp > c.preferredSet {
		c.preferredSet, c.preferred = r.stamp, consumerLayers(r.layers)
	}
	c.w.mu.Unlock()
	c.w.deliver(notes)
	return nil
}

func (c *consumer) SetPriority(ctx context.Context, priority int) error {
	return c.setPriority(ctx, "SetPriority", priority)
}

func (c *consumer) UnsetPriority(ctx context.Context) error {
	return c.setPriority(ctx, "UnsetPriority", 1)
}

func (c *consumer) setPriority(ctx context.Context, op string, priority int) error {
	if priority < 1 || priority > 255 {
		return c.fail(op, invalid("priority %d", priority))
	}
	stamp, notes, err := askNotes(ctx, &c.object, func(m machine) (uint64, error) {
		return c.w.stampOnLoop(), m.SetPriority(c.id, uint8(priority))
	})
	if err != nil {
		return c.fail(op, err)
	}
	c.w.mu.Lock()
	if stamp > c.prioritySet {
		c.prioritySet, c.priority = stamp, priority
	}
	c.w.mu.Unlock()
	c.w.deliver(notes)
	return nil
}

func (c *consumer) RequestKeyFrame(ctx context.Context) error {
	_, err := ask(ctx, &c.object, "RequestKeyFrame", func(m machine) (struct{}, error) {
		return struct{}{}, m.RequestKeyFrame(c.id)
	})
	return err
}

func (c *consumer) EnableTraceEvent(ctx context.Context, types ...TraceEventType) error {
	const op = "EnableTraceEvent"
	if err := validateTraceEvents(types, consumerTraceEvents); err != nil {
		return c.fail(op, err)
	}
	names := traceNames(types)
	_, err := ask(ctx, &c.object, op, func(m machine) (struct{}, error) {
		return struct{}{}, m.TraceConsumer(c.id, names)
	})
	return err
}

func (c *consumer) Stats(ctx context.Context) ([]RTPStreamStats, error) {
	s, err := ask(ctx, &c.object, "Stats", func(m machine) (engine.ConsumerStats, error) {
		return m.ConsumerStats(c.id)
	})
	if err != nil {
		return nil, err
	}
	return consumerStats(&s), nil
}

func (c *consumer) Dump(ctx context.Context) (ConsumerDump, error) {
	d, err := ask(ctx, &c.object, "Dump", func(m machine) (engine.ConsumerDump, error) {
		return m.DumpConsumer(c.id)
	})
	if err != nil {
		return ConsumerDump{}, err
	}
	out := consumerDump(&d)
	out.Type = c.Type()
	return out, nil
}

func (c *consumer) notify(n engine.Notification) {
	switch b := n.Body.(type) {
	case engine.ConsumerRTP:
		c.events.RTP.EmitUnlessClosed(c, b.Packet)
	case engine.ConsumerProducerPause:
		c.producerPause(n.Seq, true, &c.events.ProducerPause, &c.observer.Pause)
	case engine.ConsumerProducerResume:
		c.producerPause(n.Seq, false, &c.events.ProducerResume, &c.observer.Resume)
	case engine.ConsumerScoreChange:
		score := consumerScore(b.Score)
		if c.apply(noteScore, n.Seq, func() { c.score = score }) {
			c.events.Score.EmitUnlessClosed(c, score.clone())
			c.observer.Score.EmitUnlessClosed(c, score.clone())
		}
	case engine.ConsumerLayersChange:
		layers := consumerLayers(b.Layers)
		if c.apply(noteLayers, n.Seq, func() { c.current = layers }) {
			c.events.LayersChange.EmitUnlessClosed(c, layers.clone())
			c.observer.LayersChange.EmitUnlessClosed(c, layers.clone())
		}
	case engine.Trace:
		e := traceEvent(&b.Event)
		c.events.Trace.EmitUnlessClosed(c, e)
		c.observer.Trace.EmitUnlessClosed(c, e)
	}
	// engine.ConsumerProducerClose is nothing new: whoever closed the Producer
	// closed its Consumers here, before the engine did.
}

// producerPause takes the news that the Producer was paused or resumed.
func (c *consumer) producerPause(seq uint64, paused bool, event, effect *Event[struct{}]) {
	var flips, effective bool
	if !c.apply(notePause, seq, func() {
		flips, effective = c.producerPaused != paused, !c.paused
		c.producerPaused = paused
	}) || !flips {
		return
	}
	event.EmitUnlessClosed(c, struct{}{})
	if effective {
		effect.EmitUnlessClosed(c, struct{}{})
	}
}

// apply changes the state with f and reports true, unless the Consumer is
// closed or has newer state of that kind.
func (c *consumer) apply(k noteKind, seq uint64, f func()) bool {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	if c.Closed() || !c.seen.fresh(k, seq) {
		return false
	}
	f()
	return true
}

// closeLocked closes the Consumer.
func (c *consumer) closeLocked(x *closing, cause *Event[struct{}]) {
	if !x.begin(&c.life) {
		return
	}
	c.w.dropLocked(c)
	x.emit(cause)
	x.emit(&c.observer.Close)
	x.end(&c.object, func() {
		forget(&c.t.life, &c.t.consumers, c)
		forget(&c.p.life, &c.p.consumers, c)
	})
}

func (c *consumer) Close() error {
	var x closing
	c.w.mu.Lock()
	if c.Closed() {
		c.w.mu.Unlock()
		return nil
	}
	c.closeLocked(&x, nil)
	c.w.mu.Unlock()
	c.w.closeOnLoop(func(m machine) error { return m.CloseConsumer(c.id) })
	play(x.steps)
	return nil
}
