package vertical

import (
	"context"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/wrap"
)

// A router is a virtual Router.
type router struct {
	wrap.Life
	appData
	// Constant after newRouter.
	w  *worker
	id string

	events   mafalda.RouterEvents
	observer mafalda.RouterObserver

	// Guarded by s.mu.
	caps          mafalda.RTPCapabilities // never modified in place
	codecs        []mafalda.RouterRTPCodecCapability
	update        int                         // counts what changed codecs
	reals         map[*realWorker]*realRouter // until they are gone
	transports    []transport                 // in order of creation, until they have ended
	observers     []rtpObserver               // the same
	producers     map[string]*producer        // open ones, of all transports
	dataProducers map[string]*dataProducer    // the same for data
}

var _ mafalda.Router = (*router)(nil)

func newRouter(w *worker, caps mafalda.RTPCapabilities, o mafalda.RouterOptions) *router {
	r := &router{
		w: w, id: newID(), caps: caps, codecs: cloneCodecs(o.MediaCodecs),
		reals:     map[*realWorker]*realRouter{},
		producers: map[string]*producer{}, dataProducers: map[string]*dataProducer{},
	}
	r.Life.Init()
	r.v = o.AppData
	return r
}

func (r *router) home() *worker                     { return r.w }
func (r *router) ID() string                        { return r.id }
func (r *router) Events() *mafalda.RouterEvents     { return &r.events }
func (r *router) Observer() *mafalda.RouterObserver { return &r.observer }

func (r *router) RTPCapabilities() mafalda.RTPCapabilities {
	r.w.s.mu.Lock()
	defer r.w.s.mu.Unlock()
	return cloneCapabilities(r.caps)
}

func (r *router) Transports() []mafalda.Transport {
	r.w.s.mu.Lock()
	defer r.w.s.mu.Unlock()
	return opened[mafalda.Transport](r.transports)
}

func (r *router) RTPObservers() []mafalda.RTPObserver {
	r.w.s.mu.Lock()
	defer r.w.s.mu.Unlock()
	return opened[mafalda.RTPObserver](r.observers)
}

func (r *router) fail(op string, err error) error {
	return &mafalda.Error{Op: op, Object: "Router", ID: r.id, Err: r.reason(err)}
}

// reason returns the class of err, or why r is closed.
func (r *router) reason(err error) error { return cause(failure(r, err)) }

// check returns the error of a call that must not go on.
func (r *router) check(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return r.openError()
}

func (r *router) openError() error {
	switch {
	case r.w.Closed():
		return mafalda.ErrWorkerClosed
	case r.Closed():
		return mafalda.ErrClosed
	}
	return nil
}

// producer returns the open Producer with that id, or nil.
func (r *router) producer(id string) *producer {
	r.w.s.mu.Lock()
	defer r.w.s.mu.Unlock()
	if p := r.producers[id]; p != nil && !p.Closed() {
		return p
	}
	return nil
}

// dataProducer returns the open DataProducer with that id, or nil.
func (r *router) dataProducer(id string) *dataProducer {
	r.w.s.mu.Lock()
	defer r.w.s.mu.Unlock()
	if p := r.dataProducers[id]; p != nil && !p.Closed() {
		return p
	}
	return nil
}

func (r *router) CanConsume(producerID string, caps mafalda.RTPCapabilities) bool {
	p := r.producer(producerID)
	return p != nil && p.rr.inner.CanConsume(p.Inner().ID(), caps)
}

func (r *router) UpdateMediaCodecs(ctx context.Context, mediaCodecs []mafalda.RouterRTPCodecCapability) error {
	const op = "UpdateMediaCodecs"
	caps, err := mafalda.GenerateRouterRTPCapabilities(mediaCodecs)
	if err == nil {
		err = r.check(ctx)
	}
	if err != nil {
		return r.fail(op, err)
	}
	r.w.s.mu.Lock()
	r.caps, r.codecs = caps, cloneCodecs(mediaCodecs)
	r.update++
	reals := make([]*realRouter, 0, len(r.reals))
	for _, rr := range r.reals {
		select {
		case <-rr.ready:
			if rr.inner != nil {
				reals = append(reals, rr)
			}
		default: // it will have them when it is there
		}
	}
	r.w.s.mu.Unlock()
	done := make(chan error, 1)
	go func() { // ends when all have them: what is begun is not left half done
		var first error
		for _, rr := range reals {
			if err := rr.updated(); first == nil {
				first = err
			}
		}
		done <- first
	}()
	select {
	case err = <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		return r.fail(op, err)
	}
	return nil
}

// PipeToRouter implements [mafalda.Router]. It takes two PipeTransports, placed as
// any other, to Routers of this SFU too, so that ids and events are as with those
// of any implementation.
func (r *router) PipeToRouter(ctx context.Context, o mafalda.PipeToRouterOptions) (mafalda.PipeToRouterResult, error) {
	p, err := mafalda.PipeRouters(ctx, r, o.Router, o)
	if err == nil {
		return p, nil
	}
	if class := cause(err); !r.Closed() { // the other one may be
		return p, &mafalda.Error{Op: "PipeToRouter", Object: "Router", ID: r.id, Err: class}
	}
	return p, r.fail("PipeToRouter", err)
}

func (r *router) Dump(ctx context.Context) (mafalda.RouterDump, error) {
	if err := r.check(ctx); err != nil {
		return mafalda.RouterDump{}, r.fail("Dump", err)
	}
	type values = mafalda.KeyValues[string, string]
	type value = mafalda.KeyValue[string, string]
	d := mafalda.RouterDump{
		ID: r.id, TransportIDs: []string{}, RTPObserverIDs: []string{},
		MapProducerIDConsumerIDs: []values{}, MapConsumerIDProducerID: []value{}, MapProducerIDObserverIDs: []values{},
		MapDataProducerIDDataConsumerIDs: []values{}, MapDataConsumerIDDataProducerID: []value{},
	}
	s := r.w.s
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range r.observers {
		if !o.Closed() {
			d.RTPObserverIDs = append(d.RTPObserverIDs, o.ID())
		}
	}
	for _, t := range r.transports {
		if t.Closed() {
			continue
		}
		d.TransportIDs = append(d.TransportIDs, t.ID())
		for _, p := range t.part().producers {
			if p.Closed() {
				continue
			}
			v := values{Key: p.ID(), Values: []string{}}
			for _, c := range p.consumers {
				if c.Closed() {
					continue
				}
				v.Values = append(v.Values, c.ID())
				d.MapConsumerIDProducerID = append(d.MapConsumerIDProducerID, value{Key: c.ID(), Value: p.ID()})
			}
			d.MapProducerIDConsumerIDs = append(d.MapProducerIDConsumerIDs, v)
			watched := values{Key: p.ID(), Values: []string{}}
			for _, o := range r.observers {
				if _, ok := o.part().taps[p]; ok {
					watched.Values = append(watched.Values, o.ID())
				}
			}
			d.MapProducerIDObserverIDs = append(d.MapProducerIDObserverIDs, watched)
		}
		for _, p := range t.part().dataProducers {
			if p.Closed() {
				continue
			}
			v := values{Key: p.ID(), Values: []string{}}
			for _, c := range p.consumers {
				if c.Closed() {
					continue
				}
				v.Values = append(v.Values, c.ID())
				d.MapDataConsumerIDDataProducerID = append(d.MapDataConsumerIDDataProducerID, value{Key: c.ID(), Value: p.ID()})
			}
			d.MapDataProducerIDDataConsumerIDs = append(d.MapDataProducerIDDataConsumerIDs, v)
		}
	}
	return d, nil
}

// closeLocked marks r and what it has as closed. Consumers hear of their
// Transport, not of their Producer.
func (r *router) closeLocked(c *wrap.Closing, cause *mafalda.Event[struct{}]) {
	if !c.Begin(&r.Life) {
		return
	}
	for _, t := range r.transports {
		t.CloseIn(c, &t.Events().RouterClose)
	}
	for _, o := range r.observers {
		o.CloseIn(c, &o.Events().RouterClose)
	}
	c.Emit(cause)
	c.Emit(&r.observer.Close)
	for _, rr := range r.reals {
		c.Inner(rr)
	}
	c.Do(func() {
		r.w.s.mu.Lock()
		defer r.w.s.mu.Unlock()
		r.w.routers = without(r.w.routers, r)
		r.transports, r.observers = nil, nil
	})
	c.End(&r.Life)
}

// Close implements [mafalda.Router].
func (r *router) Close() error {
	var c wrap.Closing
	r.w.s.mu.Lock()
	if r.Closed() {
		r.w.s.mu.Unlock()
		return nil
	}
	r.closeLocked(&c, nil)
	r.w.s.mu.Unlock()
	return c.Play()
}
