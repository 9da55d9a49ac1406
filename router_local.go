package mafalda

import (
	"context"

	"github.com/mafalda-sfu/mafalda/internal/engine"
)

// A router is a [Router] of a worker.
type router struct {
	object
	events   RouterEvents
	observer RouterObserver

	caps          RTPCapabilities          // guarded by w.mu; never modified in place
	rtpObservers  []*rtpObserver           // guarded by w.mu; in order of creation, until they have ended
	transports    []*transport             // guarded by w.mu; in order of creation, until they have ended
	producers     map[string]*producer     // guarded by w.mu; open ones, of all transports
	dataProducers map[string]*dataProducer // the same for data
}

var _ Router = (*router)(nil)

func newRouter(w *worker, caps RTPCapabilities, data any) *router {
	r := &router{caps: caps, producers: map[string]*producer{}, dataProducers: map[string]*dataProducer{}}
	r.init(w, "Router", newID(), data)
	return r
}

func (r *router) Events() *RouterEvents     { return &r.events }
func (r *router) Observer() *RouterObserver { return &r.observer }

func (r *router) capabilities() RTPCapabilities {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	return r.caps
}

func (r *router) RTPCapabilities() RTPCapabilities { return r.capabilities().clone() }

func (r *router) Transports() []Transport {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	out := make([]Transport, 0, len(r.transports))
	for _, t := range r.transports {
		if !t.Closed() {
			out = append(out, t.self)
		}
	}
	return out
}

func (r *router) CreateWebRTCTransport(ctx context.Context, o WebRTCTransportOptions) (WebRTCTransport, error) {
	const op = "CreateWebRTCTransport"
	certificate, err := o.load()
	if err != nil {
		return nil, r.fail(op, err)
	}
	var server *webRTCServer
	e := engine.WebRTCTransportOptions{
		EnableUDP: o.enableUDP(), EnableTCP: o.enableTCP(),
		PreferUDP: o.PreferUDP, PreferTCP: o.PreferTCP,
		ICEConsentTimeout:      o.iceConsentTimeout(),
		InitialOutgoingBitrate: uint32(o.InitialAvailableOutgoingBitrate),
		Certificate:            certificate,
		SCTP:                   engineSCTPOptions(&o.SCTPOptions, true),
	}
	if o.WebRTCServer != nil {
		if server, err = r.serverOf(o.WebRTCServer); err != nil {
			return nil, r.fail(op, err)
		}
		e.ServerID = server.id
	} else {
		e.ListenInfos = engineListenInfos(o.ListenInfos)
	}
	t := newWebRTCTransport(r, server, o.AppData)
	e.ID = t.id
	err = r.create(ctx, &t.transport, server, func(m machine) (engine.TransportDump, error) {
		return m.CreateWebRTCTransport(r.id, e)
	})
	if err != nil {
		return nil, r.fail(op, err)
	}
	return t, nil
}

// serverOf returns s as what it is in here.
func (r *router) serverOf(s WebRTCServer) (*webRTCServer, error) {
	server, ok := s.(*webRTCServer)
	switch {
	case !ok:
		return nil, invalid("WebRTCServer is a %T, of another implementation", s)
	case server == nil:
		return nil, invalid("WebRTCServer is nil")
	case server.w != r.w:
		return nil, invalid("WebRTCServer %s is of another Worker", server.id)
	case server.Closed():
		return nil, invalidState("WebRTCServer %s is closed", server.id)
	}
	return server, nil
}

func (r *router) CreatePlainTransport(ctx context.Context, o PlainTransportOptions) (PlainTransport, error) {
	const op = "CreatePlainTransport"
	if err := o.Validate(); err != nil {
		return nil, r.fail(op, err)
	}
	t := newPlainTransport(r, o)
	e := engine.PlainTransportOptions{
		ID:         t.id,
		ListenInfo: engineListenInfo(&o.ListenInfo),
		Comedia:    o.Comedia,
		SCTP:       engineSCTPOptions(&o.SCTPOptions, false),
	}
	if l := o.rtcpListenInfo(); l != nil {
		e.RTCPListenInfo = new(engineListenInfo(l))
	}
	if o.EnableSRTP {
		e.SRTPSuite = string(o.srtpCryptoSuite())
	}
	err := r.create(ctx, &t.transport, nil, func(m machine) (engine.TransportDump, error) {
		return m.CreatePlainTransport(r.id, e)
	})
	if err != nil {
		return nil, r.fail(op, err)
	}
	return t, nil
}

func (r *router) CreatePipeTransport(ctx context.Context, o PipeTransportOptions) (PipeTransport, error) {
	const op = "CreatePipeTransport"
	if err := o.Validate(); err != nil {
		return nil, r.fail(op, err)
	}
	t := newPipeTransport(r, o)
	e := engine.PipeTransportOptions{
		ID:         t.id,
		ListenInfo: engineListenInfo(&o.ListenInfo),
		EnableRTX:  o.EnableRTX,
		EnableSRTP: o.EnableSRTP,
		SCTP:       engineSCTPOptions(&o.SCTPOptions, false),
	}
	err := r.create(ctx, &t.transport, nil, func(m machine) (engine.TransportDump, error) {
		return m.CreatePipeTransport(r.id, e)
	})
	if err != nil {
		return nil, r.fail(op, err)
	}
	return t, nil
}

func (r *router) CreateDirectTransport(ctx context.Context, o DirectTransportOptions) (DirectTransport, error) {
	const op = "CreateDirectTransport"
	if err := o.Validate(); err != nil {
		return nil, r.fail(op, err)
	}
	t := newDirectTransport(r, o.AppData)
	err := r.create(ctx, &t.transport, nil, func(m machine) (engine.TransportDump, error) {
		return m.CreateDirectTransport(r.id, engine.DirectTransportOptions{
			ID:                    t.id,
			MaxSendMessageSize:    uint32(o.MaxSendMessageSize),
			MaxReceiveMessageSize: uint32(o.MaxReceiveMessageSize),
		})
	})
	if err != nil {
		return nil, r.fail(op, err)
	}
	return t, nil
}

func (r *router) PipeToRouter(ctx context.Context, o PipeToRouterOptions) (PipeToRouterResult, error) {
	p, err := pipeRouters(ctx, r, o.Router, &o)
	if err != nil {
		return p, r.failArgument("PipeToRouter", err)
	}
	return p, nil
}

// create lets the engine create t, makes it known and emits its birth.
// server is the one whose ports it uses, or nil.
func (r *router) create(
	ctx context.Context, t *transport, server *webRTCServer,
	op func(machine) (engine.TransportDump, error),
) error {
	w := r.w
	if err := w.add(&r.object, t.part); err != nil {
		return err
	}
	dump, notes, err := askNotes(ctx, &r.object, op)
	if err != nil {
		w.drop(t.part)
		return err
	}
	w.mu.Lock()
	err = r.openError()
	if err == nil && server != nil && server.Closed() {
		err = invalidState("WebRTCServer %s was closed", server.id)
	}
	if err != nil { // and t with its parent, in the engine
		w.mu.Unlock()
		w.drop(t.part)
		return err
	}
	t.part.initLocked(&dump)
	t.sctp.init(dump.SCTP)
	r.transports = append(r.transports, t)
	if server != nil {
		server.transports = append(server.transports, t.part.(*webRTCTransport))
	}
	w.mu.Unlock()
	r.observer.NewTransport.Emit(t.self)
	if server != nil {
		server.observer.WebRTCTransportHandled.Emit(t.part.(*webRTCTransport))
	}
	t.born.come()
	w.deliver(notes)
	return nil
}

func (r *router) CanConsume(producerID string, caps RTPCapabilities) bool {
	p := r.producer(producerID)
	if p == nil {
		return false
	}
	ok, err := CanConsume(p.consumable, caps)
	return err == nil && ok
}

// producer returns the open Producer with that id, or nil.
func (r *router) producer(id string) *producer {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	return r.producers[id]
}

func (r *router) UpdateMediaCodecs(ctx context.Context, mediaCodecs []RouterRTPCodecCapability) error {
	caps, err := GenerateRouterRTPCapabilities(mediaCodecs)
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = r.openError()
	}
	if err != nil {
		return r.fail("UpdateMediaCodecs", err)
	}
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	r.caps = caps
	return nil
}

func (r *router) Dump(ctx context.Context) (RouterDump, error) {
	d, err := ask(ctx, &r.object, "Dump", func(m machine) (engine.DumpRouter, error) {
		return m.DumpRouter(r.id)
	})
	if err != nil {
		return RouterDump{}, err
	}
	return routerDump(d), nil
}

// closeLocked closes the router and its transports. Their Consumers hear of
// their transport, not of their Producer.
func (r *router) closeLocked(c *closing, cause *Event[struct{}]) {
	if !c.begin(&r.life) {
		return
	}
	for _, t := range r.transports {
		t.closeLocked(c, &t.events.RouterClose)
	}
	for _, o := range r.rtpObservers {
		o.closeLocked(c, &o.events.RouterClose)
	}
	c.emit(cause)
	c.emit(&r.observer.Close)
	c.end(&r.object, func() {
		r.transports, r.rtpObservers = nil, nil
		forget(&r.w.life, &r.w.routers, r)
	})
}

func (r *router) Close() error {
	var c closing
	r.w.mu.Lock()
	if r.Closed() {
		r.w.mu.Unlock()
		return nil
	}
	r.closeLocked(&c, nil)
	r.w.mu.Unlock()
	r.w.leaveOnLoop(r.id, func(m machine) error { return m.CloseRouter(r.id) })
	play(c.steps)
	return nil
}
