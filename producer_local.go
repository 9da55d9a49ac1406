package mafalda

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/mafalda-sfu/mafalda/internal/engine"
)

// A producer is a [Producer] of a worker.
type producer struct {
	object
	// Constant after newProducer.
	t             *transport
	mediaKind     MediaKind
	typ           ProducerType
	rtpParameters RTPParameters
	mapping       RTPMapping
	consumable    RTPParameters // what Consumers negotiate from; parts are shared with them

	events   ProducerEvents
	observer ProducerObserver

	// Guarded by w.mu.
	paused    bool
	pauseSet  uint64          // stamp of what set paused
	score     []ProducerScore // never modified in place
	consumers []*consumer     // in order of creation, until they have ended
	seen      recency
}

var _ Producer = (*producer)(nil)

// share returns the negotiated parameters of a new Consumer, in which what the
// newest Consumer has too is in memory once.
func (p *producer) share(params RTPParameters) RTPParameters {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if n := len(p.consumers); n > 0 {
		last := &p.consumers[n-1].rtpParameters
		// They are parts of the consumable ones: all but the feedback follows from the ids.
		if slices.EqualFunc(params.Codecs, last.Codecs, func(a, b RTPCodecParameters) bool {
			return a.PayloadType == b.PayloadType && slices.Equal(a.RTCPFeedback, b.RTCPFeedback)
		}) {
			params.Codecs = last.Codecs
		}
		if slices.EqualFunc(params.HeaderExtensions, last.HeaderExtensions, func(a, b RTPHeaderExtensionParameters) bool {
			return a.ID == b.ID
		}) {
			params.HeaderExtensions = last.HeaderExtensions
		}
	}
	return params
}

func (p *producer) Kind() MediaKind              { return p.mediaKind }
func (p *producer) Type() ProducerType           { return p.typ }
func (p *producer) RTPParameters() RTPParameters { return p.rtpParameters.clone() }
func (p *producer) Events() *ProducerEvents      { return &p.events }
func (p *producer) Observer() *ProducerObserver  { return &p.observer }

func (p *producer) Paused() bool {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	return p.paused
}

func (p *producer) Score() []ProducerScore {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	return append([]ProducerScore{}, p.score...)
}

func (p *producer) Pause(ctx context.Context) error {
	return p.setPaused(ctx, "Pause", true, machine.PauseProducer)
}

func (p *producer) Resume(ctx context.Context) error {
	return p.setPaused(ctx, "Resume", false, machine.ResumeProducer)
}

func (p *producer) setPaused(ctx context.Context, op string, paused bool, f func(machine, string) error) error {
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

func (p *producer) EnableTraceEvent(ctx context.Context, types ...TraceEventType) error {
	const op = "EnableTraceEvent"
	if err := validateTraceEvents(types, producerTraceEvents); err != nil {
		return p.fail(op, err)
	}
	names := traceNames(types)
	_, err := ask(ctx, &p.object, op, func(m machine) (struct{}, error) {
		return struct{}{}, m.TraceProducer(p.id, names)
	})
	return err
}

func (p *producer) Send(packet []byte) error {
	err := p.openError()
	if err == nil && p.t.typ != TransportTypeDirect {
		err = fmt.Errorf("sending on a Producer of a %s transport: %w", p.t.typ, errors.ErrUnsupported)
	}
	if err == nil {
		err = p.w.back.Inject(p.id, packet)
	}
	if err != nil {
		return p.fail("Send", err)
	}
	return nil
}

func (p *producer) Stats(ctx context.Context) ([]RTPStreamStats, error) {
	s, err := ask(ctx, &p.object, "Stats", func(m machine) (engine.ProducerStats, error) {
		return m.ProducerStats(p.id)
	})
	if err != nil {
		return nil, err
	}
	return producerStats(&s), nil
}

func (p *producer) Dump(ctx context.Context) (ProducerDump, error) {
	d, err := ask(ctx, &p.object, "Dump", func(m machine) (engine.ProducerDump, error) {
		return m.DumpProducer(p.id)
	})
	if err != nil {
		return ProducerDump{}, err
	}
	return producerDump(&d), nil
}

func (p *producer) notify(n engine.Notification) {
	switch b := n.Body.(type) {
	case engine.ProducerScoreChange:
		score := producerScores(b.Scores)
		if p.apply(noteScore, n.Seq, func() { p.score = score }) {
			p.events.Score.EmitUnlessClosed(p, slices.Clone(score))
			p.observer.Score.EmitUnlessClosed(p, slices.Clone(score))
		}
	case engine.VideoOrientationChange:
		o := ProducerVideoOrientation(b)
		if p.apply(noteOrientation, n.Seq, func() {}) {
			p.events.VideoOrientationChange.EmitUnlessClosed(p, o)
			p.observer.VideoOrientationChange.EmitUnlessClosed(p, o)
		}
	case engine.Trace:
		e := traceEvent(&b.Event)
		p.events.Trace.EmitUnlessClosed(p, e)
		p.observer.Trace.EmitUnlessClosed(p, e)
	}
}

// apply changes the state with f and reports true, unless the Producer is
// closed or has newer state of that kind.
func (p *producer) apply(k noteKind, seq uint64, f func()) bool {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if p.Closed() || !p.seen.fresh(k, seq) {
		return false
	}
	f()
	return true
}

// closeLocked closes the Producer, but not its Consumers: see
// closing.orphansLocked.
func (p *producer) closeLocked(c *closing, cause *Event[struct{}]) {
	if !c.begin(&p.life) {
		return
	}
	c.producers = append(c.producers, p)
	delete(p.t.r.producers, p.id)
	p.w.dropLocked(p)
	c.emit(cause)
	c.emit(&p.observer.Close)
	c.end(&p.object, func() {
		p.consumers = nil
		forget(&p.t.life, &p.t.producers, p)
	})
}

func (p *producer) Close() error {
	var c closing
	p.w.mu.Lock()
	if p.Closed() {
		p.w.mu.Unlock()
		return nil
	}
	p.closeLocked(&c, nil)
	c.orphansLocked()
	p.w.mu.Unlock()
	p.w.closeOnLoop(func(m machine) error { return m.CloseProducer(p.id) })
	play(c.steps)
	return nil
}
