package wrap

import (
	"context"
	"errors"

	"github.com/mafalda-sfu/mafalda"
)

// A Router passes everything through to an inner one.
type Router struct {
	object[mafalda.Router]
	events   mafalda.RouterEvents
	observer mafalda.RouterObserver

	transports, rtpObservers children
}

var _ mafalda.Router = (*Router)(nil)

func newRouter(s *Space, inner mafalda.Router) *Router {
	r := new(Router)
	r.init(s, inner)
	return r
}

func (r *Router) begin(outer any) {
	r.outer = outer
	l, s := &r.Life, r.s
	cause(l, &r.inner.Events().WorkerClose, &r.events.WorkerClose)
	from, to := r.inner.Observer(), &r.observer
	birth(l, &from.NewTransport, &to.NewTransport, s.Transport, &r.transports)
	birth(l, &from.NewRTPObserver, &to.NewRTPObserver, s.RTPObserver, &r.rtpObservers)
	s.end(l, &from.Close, &to.Close)
}

func (r *Router) parentClose() *mafalda.Event[struct{}] { return &r.events.WorkerClose }

func (r *Router) mark(c *Closing, cause *mafalda.Event[struct{}]) {
	if !c.Begin(&r.Life) {
		return
	}
	r.transports.mark(c)
	r.rtpObservers.mark(c)
	c.Emit(cause)
	c.Emit(&r.observer.Close)
	c.End(&r.Life)
}

// CloseIn adds the closing of the Router, with what is in it, to c, for that
// cause: one of its Events, or nil.
func (r *Router) CloseIn(c *Closing, cause *mafalda.Event[struct{}]) {
	c.Inner(r.inner)
	r.mark(c, cause)
}

// router lets PipeToRouter find the inner one of an option.
func (r *Router) router() *Router { return r }

// RTPCapabilities implements [mafalda.Router].
func (r *Router) RTPCapabilities() mafalda.RTPCapabilities { return r.inner.RTPCapabilities() }

// CreateWebRTCTransport implements [mafalda.Router]. A WebRTCServer of the same
// Space stands for its inner one.
func (r *Router) CreateWebRTCTransport(ctx context.Context, o mafalda.WebRTCTransportOptions) (mafalda.WebRTCTransport, error) {
	if x, ok := o.WebRTCServer.(interface{ server() *WebRTCServer }); ok {
		if x := x.server(); x != nil && x.s == r.s {
			o.WebRTCServer = x.inner
		}
	}
	defer r.s.call()()
	t, err := r.inner.CreateWebRTCTransport(ctx, o)
	return met(t, err, r.s.WebRTCTransport, r.fail)
}

// CreatePlainTransport implements [mafalda.Router].
func (r *Router) CreatePlainTransport(ctx context.Context, o mafalda.PlainTransportOptions) (mafalda.PlainTransport, error) {
	defer r.s.call()()
	t, err := r.inner.CreatePlainTransport(ctx, o)
	return met(t, err, r.s.PlainTransport, r.fail)
}

// CreatePipeTransport implements [mafalda.Router].
func (r *Router) CreatePipeTransport(ctx context.Context, o mafalda.PipeTransportOptions) (mafalda.PipeTransport, error) {
	defer r.s.call()()
	t, err := r.inner.CreatePipeTransport(ctx, o)
	return met(t, err, r.s.PipeTransport, r.fail)
}

// CreateDirectTransport implements [mafalda.Router].
func (r *Router) CreateDirectTransport(ctx context.Context, o mafalda.DirectTransportOptions) (mafalda.DirectTransport, error) {
	defer r.s.call()()
	t, err := r.inner.CreateDirectTransport(ctx, o)
	return met(t, err, r.s.DirectTransport, r.fail)
}

// Transports implements [mafalda.Router].
func (r *Router) Transports() []mafalda.Transport {
	return outers(r.inner.Transports(), r.s.Transport, &r.transports)
}

// CreateAudioLevelObserver implements [mafalda.Router].
func (r *Router) CreateAudioLevelObserver(ctx context.Context, o mafalda.AudioLevelObserverOptions) (mafalda.AudioLevelObserver, error) {
	defer r.s.call()()
	x, err := r.inner.CreateAudioLevelObserver(ctx, o)
	return met(x, err, r.s.AudioLevelObserver, r.fail)
}

// CreateActiveSpeakerObserver implements [mafalda.Router].
func (r *Router) CreateActiveSpeakerObserver(ctx context.Context, o mafalda.ActiveSpeakerObserverOptions) (mafalda.ActiveSpeakerObserver, error) {
	defer r.s.call()()
	x, err := r.inner.CreateActiveSpeakerObserver(ctx, o)
	return met(x, err, r.s.ActiveSpeakerObserver, r.fail)
}

// RTPObservers implements [mafalda.Router].
func (r *Router) RTPObservers() []mafalda.RTPObserver {
	return outers(r.inner.RTPObservers(), r.s.RTPObserver, &r.rtpObservers)
}

// PipeToRouter implements [mafalda.Router]. To a Router of the same Space it is
// a call of the inner one, which does not see methods that a hook overrides. To
// any other Router it is [mafalda.PipeRouters] between the outer ones.
func (r *Router) PipeToRouter(ctx context.Context, o mafalda.PipeToRouterOptions) (mafalda.PipeToRouterResult, error) {
	if x, ok := o.Router.(interface{ router() *Router }); ok {
		if x := x.router(); x != nil && x.s == r.s {
			o.Router = x.inner
			defer r.s.call()()
			p, err := r.inner.PipeToRouter(ctx, o)
			return r.piped(p), r.fail(err)
		}
	}
	if o.Router == nil {
		p, err := r.inner.PipeToRouter(ctx, o) // says what is missing
		return p, r.fail(err)
	}
	p, err := mafalda.PipeRouters(ctx, r.outer.(mafalda.Router), o.Router, o)
	if e, ok := errors.AsType[*mafalda.Error](err); ok && e.Op == "PipeRouters" {
		e.Op = "PipeToRouter"
	}
	return p, r.fail(err)
}

// piped has the outer objects of p.
func (r *Router) piped(p mafalda.PipeToRouterResult) mafalda.PipeToRouterResult {
	return mafalda.PipeToRouterResult{
		PipeConsumer: r.s.Consumer(p.PipeConsumer), PipeProducer: r.s.Producer(p.PipeProducer),
		PipeDataConsumer: r.s.DataConsumer(p.PipeDataConsumer), PipeDataProducer: r.s.DataProducer(p.PipeDataProducer),
	}
}

// CanConsume implements [mafalda.Router].
func (r *Router) CanConsume(producerID string, caps mafalda.RTPCapabilities) bool {
	return r.inner.CanConsume(producerID, caps)
}

// UpdateMediaCodecs implements [mafalda.Router].
func (r *Router) UpdateMediaCodecs(ctx context.Context, mediaCodecs []mafalda.RouterRTPCodecCapability) error {
	return r.fail(r.inner.UpdateMediaCodecs(ctx, mediaCodecs))
}

// Dump implements [mafalda.Router].
func (r *Router) Dump(ctx context.Context) (mafalda.RouterDump, error) {
	d, err := r.inner.Dump(ctx)
	return d, r.fail(err)
}

// Events implements [mafalda.Router].
func (r *Router) Events() *mafalda.RouterEvents { return &r.events }

// Observer implements [mafalda.Router].
func (r *Router) Observer() *mafalda.RouterObserver { return &r.observer }
