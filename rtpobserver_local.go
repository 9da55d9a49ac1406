package mafalda

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/mafalda-sfu/mafalda/internal/engine"
)

// An rtpObserver is an [RTPObserver] of a router, of either type.
type rtpObserver struct {
	object
	// Constant after newRTPObserver.
	r   *router
	typ RTPObserverType

	events   RTPObserverEvents
	observer RTPObserverObserver

	// Guarded by w.mu.
	paused   bool
	pauseSet uint64 // stamp of what set paused
	seen     recency
}

var (
	_ AudioLevelObserver    = (*rtpObserver)(nil)
	_ ActiveSpeakerObserver = (*rtpObserver)(nil)
)

func newRTPObserver(r *router, typ RTPObserverType, kind string, data any) *rtpObserver {
	o := &rtpObserver{r: r, typ: typ}
	o.init(r.w, kind, newID(), data)
	return o
}

func (r *router) RTPObservers() []RTPObserver {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	return open[RTPObserver](r.rtpObservers)
}

func (r *router) CreateAudioLevelObserver(ctx context.Context, o AudioLevelObserverOptions) (AudioLevelObserver, error) {
	const op = "CreateAudioLevelObserver"
	if err := o.Validate(); err != nil {
		return nil, r.fail(op, err)
	}
	x := newRTPObserver(r, RTPObserverTypeAudioLevel, "AudioLevelObserver", o.AppData)
	err := r.createRTPObserver(ctx, x, func(m machine) error {
		return m.CreateAudioLevelObserver(r.id, x.id, engine.AudioLevelOptions{
			MaxEntries: uint16(cmp.Or(o.MaxEntries, 1)), Threshold: int8(o.threshold()),
			Interval: cmp.Or(o.Interval, defaultLevelInterval),
		})
	})
	if err != nil {
		return nil, r.fail(op, err)
	}
	return x, nil
}

func (r *router) CreateActiveSpeakerObserver(ctx context.Context, o ActiveSpeakerObserverOptions) (ActiveSpeakerObserver, error) {
	const op = "CreateActiveSpeakerObserver"
	if err := o.Validate(); err != nil {
		return nil, r.fail(op, err)
	}
	x := newRTPObserver(r, RTPObserverTypeActiveSpeaker, "ActiveSpeakerObserver", o.AppData)
	err := r.createRTPObserver(ctx, x, func(m machine) error {
		return m.CreateActiveSpeakerObserver(r.id, x.id, cmp.Or(o.Interval, time.Duration(defaultSpeakerInterval)))
	})
	if err != nil {
		return nil, r.fail(op, err)
	}
	return x, nil
}

// createRTPObserver lets the engine create x, makes it known and emits its birth.
func (r *router) createRTPObserver(ctx context.Context, x *rtpObserver, op func(machine) error) error {
	w := r.w
	if err := w.add(&r.object, x); err != nil {
		return err
	}
	_, notes, err := askNotes(ctx, &r.object, func(m machine) (struct{}, error) { return struct{}{}, op(m) })
	if err != nil {
		w.drop(x)
		return err
	}
	w.mu.Lock()
	if err := r.openError(); err != nil { // and x with it, in the engine
		w.mu.Unlock()
		w.drop(x)
		return err
	}
	r.rtpObservers = append(r.rtpObservers, x)
	w.mu.Unlock()
	r.observer.NewRTPObserver.Emit(x)
	x.born.come()
	w.deliver(notes)
	return nil
}

func (o *rtpObserver) Type() RTPObserverType          { return o.typ }
func (o *rtpObserver) Events() *RTPObserverEvents     { return &o.events }
func (o *rtpObserver) Observer() *RTPObserverObserver { return &o.observer }

func (o *rtpObserver) Paused() bool {
	o.w.mu.Lock()
	defer o.w.mu.Unlock()
	return o.paused
}

func (o *rtpObserver) Pause(ctx context.Context) error {
	return o.setPaused(ctx, "Pause", true, machine.PauseRTPObserver)
}

func (o *rtpObserver) Resume(ctx context.Context) error {
	return o.setPaused(ctx, "Resume", false, machine.ResumeRTPObserver)
}

func (o *rtpObserver) setPaused(ctx context.Context, op string, paused bool, f func(machine, string) error) error {
	stamp, notes, err := askNotes(ctx, &o.object, func(m machine) (uint64, error) {
		return o.w.stampOnLoop(), f(m, o.id)
	})
	if err != nil {
		return o.fail(op, err)
	}
	o.w.mu.Lock()
	flips := false
	if stamp > o.pauseSet {
		flips = o.paused != paused
		o.pauseSet, o.paused = stamp, paused
	}
	o.w.mu.Unlock()
	switch {
	case flips && paused:
		o.observer.Pause.EmitUnlessClosed(o, struct{}{})
	case flips:
		o.observer.Resume.EmitUnlessClosed(o, struct{}{})
	}
	o.w.deliver(notes)
	return nil
}

func (o *rtpObserver) AddProducer(ctx context.Context, producerID string) error {
	return o.change(ctx, "AddProducer", producerID, machine.AddRTPObserverProducer, &o.observer.AddProducer)
}

func (o *rtpObserver) RemoveProducer(ctx context.Context, producerID string) error {
	return o.change(ctx, "RemoveProducer", producerID, machine.RemoveRTPObserverProducer, &o.observer.RemoveProducer)
}

func (o *rtpObserver) change(
	ctx context.Context, op, producerID string, f func(m machine, id, producerID string) error, done *Event[Producer],
) error {
	var notes []engine.Notification
	err := o.openError()
	p := o.r.producer(producerID)
	if err == nil && p == nil {
		err = fmt.Errorf("Producer %q: %w", producerID, ErrNotFound)
	}
	if err == nil {
		_, notes, err = askNotes(ctx, &o.object, func(m machine) (struct{}, error) {
			return struct{}{}, f(m, o.id, producerID)
		})
	}
	if err != nil {
		return o.failArgument(op, err)
	}
	done.EmitUnlessClosed(o, p)
	o.w.deliver(notes)
	return nil
}

func (o *rtpObserver) notify(n engine.Notification) {
	switch b := n.Body.(type) {
	case engine.AudioVolumes:
		volumes := make([]AudioLevelVolume, 0, len(b.Volumes))
		for _, v := range b.Volumes {
			if p := o.r.producer(v.ProducerID); p != nil { // may have closed
				volumes = append(volumes, AudioLevelVolume{p, int(v.Volume)})
			}
		}
		if o.fresh(noteLevels, n.Seq) && len(volumes) > 0 {
			o.events.Volumes.EmitUnlessClosed(o, slices.Clone(volumes))
			o.observer.Volumes.EmitUnlessClosed(o, volumes)
		}
	case engine.AudioSilence:
		if o.fresh(noteLevels, n.Seq) {
			o.events.Silence.EmitUnlessClosed(o, struct{}{})
			o.observer.Silence.EmitUnlessClosed(o, struct{}{})
		}
	case engine.DominantSpeaker:
		p := o.r.producer(b.ProducerID)
		if o.fresh(noteSpeaker, n.Seq) && p != nil {
			o.events.DominantSpeaker.EmitUnlessClosed(o, DominantSpeaker{p})
			o.observer.DominantSpeaker.EmitUnlessClosed(o, DominantSpeaker{p})
		}
	}
}

// fresh reports whether the RTPObserver is open and has no newer note of that kind.
func (o *rtpObserver) fresh(k noteKind, seq uint64) bool {
	o.w.mu.Lock()
	defer o.w.mu.Unlock()
	return !o.Closed() && o.seen.fresh(k, seq)
}

func (o *rtpObserver) closeLocked(c *closing, cause *Event[struct{}]) {
	if !c.begin(&o.life) {
		return
	}
	o.w.dropLocked(o)
	c.emit(cause)
	c.emit(&o.observer.Close)
	c.end(&o.object, func() { forget(&o.r.life, &o.r.rtpObservers, o) })
}

func (o *rtpObserver) Close() error {
	var c closing
	o.w.mu.Lock()
	if o.Closed() {
		o.w.mu.Unlock()
		return nil
	}
	o.closeLocked(&c, nil)
	o.w.mu.Unlock()
	o.w.closeOnLoop(func(m machine) error { return m.CloseRTPObserver(o.id) })
	play(c.steps)
	return nil
}
