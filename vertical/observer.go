package vertical

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/wrap"
)

// An rtpObserver is an RTPObserver of a virtual Router, of either type.
type rtpObserver interface {
	mafalda.RTPObserver
	CloseIn(c *wrap.Closing, cause *mafalda.Event[struct{}])
	part() *watcher
}

// An observerTag is the app data of an inner RTPObserver.
type observerTag struct {
	rr    *realRouter
	data  any
	leave func() // gives back the use of rr; only the first call has an effect
	outer made[rtpObserver]
}

// A watcher is what both types of rtpObserver have in common. It lives on one real
// Router, and taps the Producers elsewhere.
type watcher struct {
	appData
	// Constant after init.
	self  rtpObserver
	inner mafalda.RTPObserver
	r     *router
	rr    *realRouter

	leave func() // of the tag

	taps map[*producer]*tap // guarded by s.mu; what it watches
}

// A tap is where a watcher gets a Producer.
type tap struct {
	*outlet
	stop func() // stops to listen for the end of the Producer; constant
}

type audioLevelObserver struct {
	*wrap.AudioLevelObserver
	watcher
}

type activeSpeakerObserver struct {
	*wrap.ActiveSpeakerObserver
	watcher
}

func (s *SFU) newAudioLevelObserver(pass *wrap.AudioLevelObserver) mafalda.AudioLevelObserver {
	tag := pass.Inner().AppData().(*observerTag) // see newRTPObserver
	return tag.outer.get(func() rtpObserver {
		o := &audioLevelObserver{AudioLevelObserver: pass}
		o.init(o, pass.Inner(), tag)
		return o
	})
}

func (s *SFU) newActiveSpeakerObserver(pass *wrap.ActiveSpeakerObserver) mafalda.ActiveSpeakerObserver {
	tag := pass.Inner().AppData().(*observerTag)
	return tag.outer.get(func() rtpObserver {
		o := &activeSpeakerObserver{ActiveSpeakerObserver: pass}
		o.init(o, pass.Inner(), tag)
		return o
	})
}

func (o *watcher) init(self rtpObserver, inner mafalda.RTPObserver, tag *observerTag) {
	o.self, o.inner, o.r, o.rr, o.leave, o.v, o.taps = self, inner, tag.rr.r, tag.rr, tag.leave, tag.data, map[*producer]*tap{}
	atEnd(self.(interface{ OnEnd(func()) }), &self.Observer().Close, o.ended)
}

func (o *watcher) part() *watcher { return o }
func (o *watcher) home() *worker  { return o.r.w }

// newRTPObserver is told by a real Router of a new RTPObserver.
func (r *router) newRTPObserver(inner mafalda.RTPObserver) {
	if _, ok := inner.AppData().(*observerTag); !ok {
		return
	}
	s := r.w.s
	o := s.space.RTPObserver(inner).(rtpObserver)
	s.mu.Lock()
	if r.Closed() {
		s.mu.Unlock()
		_ = inner.Close() // nothing can be done about it
		return
	}
	r.observers = append(r.observers, o)
	s.mu.Unlock()
	r.observer.NewRTPObserver.Emit(o)
	o.(interface{ Born() }).Born()
}

// ended is called before anybody else hears of the end of o.
func (o *watcher) ended() {
	s := o.r.w.s
	s.mu.Lock()
	o.r.observers = without(o.r.observers, o.self)
	taps := o.taps
	o.taps = nil
	s.mu.Unlock()
	for _, t := range taps {
		t.drop()
	}
	o.leave()
}

func (o *watcher) fail(op string, err error) error {
	kind := "AudioLevelObserver"
	if o.self.Type() == mafalda.RTPObserverTypeActiveSpeaker {
		kind = "ActiveSpeakerObserver"
	}
	return &mafalda.Error{Op: op, Object: kind, ID: o.self.ID(), Err: cause(failure(o.self, err))}
}

// find returns the Producer with that id.
func (o *watcher) find(ctx context.Context, id string) (*producer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if o.self.Closed() {
		return nil, mafalda.ErrClosed
	}
	p := o.r.producer(id)
	if p == nil {
		return nil, fmt.Errorf("no Producer %q: %w", id, mafalda.ErrNotFound)
	}
	return p, nil
}

// AddProducer implements [mafalda.RTPObserver]: what is produced elsewhere is
// piped, once its kind has been found to be audio.
func (o *watcher) AddProducer(ctx context.Context, producerID string) error {
	const op = "AddProducer"
	p, err := o.find(ctx, producerID)
	if err == nil && p.Kind() != mafalda.MediaKindAudio {
		err = fmt.Errorf("the Producer %q is not audio: %w", producerID, mafalda.ErrInvalidArgument)
	}
	if err != nil {
		return o.fail(op, err)
	}
	from, err := p.reach(ctx, o.rr)
	if err != nil {
		return o.fail(op, err)
	}
	t := &tap{outlet: from, stop: p.Observer().Close.On(func(struct{}) { o.untap(p) })}
	s := o.r.w.s
	s.mu.Lock()
	old, had := o.taps[p]
	if o.taps == nil {
		s.mu.Unlock()
		t.drop()
		return o.fail(op, mafalda.ErrClosed)
	}
	o.taps[p] = t
	s.mu.Unlock()
	err = o.inner.AddProducer(ctx, from.id)
	if had {
		old.drop()
	} else if err != nil {
		o.untap(p)
	}
	if p.Closed() { // perhaps before that
		o.untap(p)
		if errors.Is(err, mafalda.ErrNotFound) {
			err = fmt.Errorf("no Producer %q: %w", producerID, mafalda.ErrNotFound)
		}
	}
	if err != nil {
		return o.fail(op, err)
	}
	return nil
}

func (t *tap) drop() {
	t.stop()
	t.release()
}

// untap gives back what o holds of p.
func (o *watcher) untap(p *producer) {
	s := o.r.w.s
	s.mu.Lock()
	t, ok := o.taps[p]
	delete(o.taps, p)
	s.mu.Unlock()
	if ok {
		t.drop()
	}
}

// RemoveProducer implements [mafalda.RTPObserver].
func (o *watcher) RemoveProducer(ctx context.Context, producerID string) error {
	const op = "RemoveProducer"
	p, err := o.find(ctx, producerID)
	if err != nil {
		return o.fail(op, err)
	}
	s := o.r.w.s
	s.mu.Lock()
	t, ok := o.taps[p]
	s.mu.Unlock()
	if !ok { // the inner one may not know it
		o.self.Observer().RemoveProducer.EmitUnlessClosed(o.self, p)
		return nil
	}
	if err := o.inner.RemoveProducer(ctx, t.id); err != nil {
		return o.fail(op, err)
	}
	o.untap(p)
	return nil
}

// createObserver has f create an inner RTPObserver on a real Router.
func (r *router) createObserver(
	ctx context.Context, op string, wrong error, data any, f func(mafalda.Router, any) (mafalda.RTPObserver, error),
) (mafalda.RTPObserver, error) {
	if wrong != nil {
		return nil, r.fail(op, wrong)
	}
	if err := r.check(ctx); err != nil {
		return nil, r.fail(op, err)
	}
	for i := 0; ; i++ {
		rr, err := r.enter(ctx, nil)
		if err != nil {
			return nil, r.fail(op, err)
		}
		tag := &observerTag{rr: rr, data: data, leave: sync.OnceFunc(rr.leave)}
		inner, err := f(rr.inner, tag)
		if err == nil {
			return r.w.s.space.RTPObserver(inner), nil
		}
		tag.leave()
		if err := rr.again(err, i); err != nil {
			return nil, r.fail(op, err)
		}
	}
}

func (r *router) CreateAudioLevelObserver(ctx context.Context, o mafalda.AudioLevelObserverOptions) (mafalda.AudioLevelObserver, error) {
	return r.createObserver(ctx, "CreateAudioLevelObserver", o.Validate(), o.AppData,
		func(inner mafalda.Router, tag any) (mafalda.RTPObserver, error) {
			o.AppData = tag
			return inner.CreateAudioLevelObserver(ctx, o)
		})
}

func (r *router) CreateActiveSpeakerObserver(ctx context.Context, o mafalda.ActiveSpeakerObserverOptions) (mafalda.ActiveSpeakerObserver, error) {
	return r.createObserver(ctx, "CreateActiveSpeakerObserver", o.Validate(), o.AppData,
		func(inner mafalda.Router, tag any) (mafalda.RTPObserver, error) {
			o.AppData = tag
			return inner.CreateActiveSpeakerObserver(ctx, o)
		})
}
