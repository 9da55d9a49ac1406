package wrap

import (
	"context"

	"github.com/mafalda-sfu/mafalda"
)

// An RTPObserver passes everything through to an inner one, of either type.
type RTPObserver struct {
	object[mafalda.RTPObserver]
	events   mafalda.RTPObserverEvents
	observer mafalda.RTPObserverObserver
}

// An AudioLevelObserver passes everything through to an inner one.
type AudioLevelObserver struct{ RTPObserver }

// An ActiveSpeakerObserver passes everything through to an inner one.
type ActiveSpeakerObserver struct{ RTPObserver }

var (
	_ mafalda.RTPObserver           = (*RTPObserver)(nil)
	_ mafalda.AudioLevelObserver    = (*AudioLevelObserver)(nil)
	_ mafalda.ActiveSpeakerObserver = (*ActiveSpeakerObserver)(nil)
)

func newAudioLevelObserver(s *Space, inner mafalda.AudioLevelObserver) *AudioLevelObserver {
	o := new(AudioLevelObserver)
	o.init(s, inner)
	return o
}

func newActiveSpeakerObserver(s *Space, inner mafalda.ActiveSpeakerObserver) *ActiveSpeakerObserver {
	o := new(ActiveSpeakerObserver)
	o.init(s, inner)
	return o
}

func (o *RTPObserver) begin(outer any) {
	o.outer = outer
	l, s := &o.Life, o.s

	in, out := o.inner.Events(), &o.events
	cause(l, &in.RouterClose, &out.RouterClose)
	o.levels(&in.Volumes, &out.Volumes)
	event(l, &in.Silence, &out.Silence)
	o.speaker(&in.DominantSpeaker, &out.DominantSpeaker)

	from, to := o.inner.Observer(), &o.observer
	event(l, &from.Pause, &to.Pause)
	event(l, &from.Resume, &to.Resume)
	o.producer(&from.AddProducer, &to.AddProducer)
	o.producer(&from.RemoveProducer, &to.RemoveProducer)
	o.levels(&from.Volumes, &to.Volumes)
	event(l, &from.Silence, &to.Silence)
	o.speaker(&from.DominantSpeaker, &to.DominantSpeaker)
	s.end(l, &from.Close, &to.Close)
}

// producer relays an event that carries a Producer.
func (o *RTPObserver) producer(from, to *mafalda.Event[mafalda.Producer]) {
	from.On(func(p mafalda.Producer) { to.EmitUnlessClosed(&o.Life, o.s.Producer(p)) })
}

// levels relays volumes, of outer Producers.
func (o *RTPObserver) levels(from, to *mafalda.Event[[]mafalda.AudioLevelVolume]) {
	from.On(func(volumes []mafalda.AudioLevelVolume) {
		out := make([]mafalda.AudioLevelVolume, len(volumes))
		for i, v := range volumes {
			out[i] = mafalda.AudioLevelVolume{Producer: o.s.Producer(v.Producer), Volume: v.Volume}
		}
		to.EmitUnlessClosed(&o.Life, out)
	})
}

// speaker relays who speaks, as an outer Producer.
func (o *RTPObserver) speaker(from, to *mafalda.Event[mafalda.DominantSpeaker]) {
	from.On(func(v mafalda.DominantSpeaker) {
		to.EmitUnlessClosed(&o.Life, mafalda.DominantSpeaker{Producer: o.s.Producer(v.Producer)})
	})
}

func (o *RTPObserver) parentClose() *mafalda.Event[struct{}] { return &o.events.RouterClose }

func (o *RTPObserver) mark(c *Closing, cause *mafalda.Event[struct{}]) {
	if !c.Begin(&o.Life) {
		return
	}
	c.Emit(cause)
	c.Emit(&o.observer.Close)
	c.End(&o.Life)
}

// CloseIn adds the closing of the RTPObserver to c, for that cause: one of its
// Events, or nil.
func (o *RTPObserver) CloseIn(c *Closing, cause *mafalda.Event[struct{}]) {
	c.Inner(o.inner)
	o.mark(c, cause)
}

// Type implements [mafalda.RTPObserver].
func (o *RTPObserver) Type() mafalda.RTPObserverType { return o.inner.Type() }

// Paused implements [mafalda.RTPObserver].
func (o *RTPObserver) Paused() bool { return o.inner.Paused() }

// Pause implements [mafalda.RTPObserver].
func (o *RTPObserver) Pause(ctx context.Context) error { return o.fail(o.inner.Pause(ctx)) }

// Resume implements [mafalda.RTPObserver].
func (o *RTPObserver) Resume(ctx context.Context) error { return o.fail(o.inner.Resume(ctx)) }

// AddProducer implements [mafalda.RTPObserver].
func (o *RTPObserver) AddProducer(ctx context.Context, producerID string) error {
	return o.fail(o.inner.AddProducer(ctx, producerID))
}

// RemoveProducer implements [mafalda.RTPObserver].
func (o *RTPObserver) RemoveProducer(ctx context.Context, producerID string) error {
	return o.fail(o.inner.RemoveProducer(ctx, producerID))
}

// Events implements [mafalda.RTPObserver].
func (o *RTPObserver) Events() *mafalda.RTPObserverEvents { return &o.events }

// Observer implements [mafalda.RTPObserver].
func (o *RTPObserver) Observer() *mafalda.RTPObserverObserver { return &o.observer }
