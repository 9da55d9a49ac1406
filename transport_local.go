package mafalda

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"

	"github.com/mafalda-sfu/mafalda/internal/engine"
)

// A transportPart is what one kind of Transport adds to the common part.
type transportPart interface {
	target
	// initLocked takes over what the engine says of the new Transport.
	initLocked(d *engine.TransportDump)
	// closeStateLocked brings the getters to their state after closing.
	closeStateLocked()
}

// A transport is what the kinds of [Transport] of a worker have in common.
type transport struct {
	object
	// Constant after the constructor.
	r    *router
	typ  TransportType
	part transportPart
	self Transport // the same as part

	server *webRTCServer // whose ports it uses, or nil; constant

	events   TransportEvents
	observer TransportObserver

	// Guarded by w.mu.
	producers []*producer // in order of creation, until they have ended
	consumers []*consumer // in order of creation, until they have ended
	// The same for data.
	dataProducers []*dataProducer
	dataConsumers []*dataConsumer
	streams       streamIDs // of the DataConsumers
	sctp          sctpState
	cname         string // of all Producers; of nobody while named is 0
	named         int    // calls of Produce that got cname and did not fail
	nextMID       int    // of the next Consumer that is given none
	seen          recency
}

func (t *transport) init(r *router, kind string, typ TransportType, data any) {
	t.object.init(r.w, kind, newID(), data)
	t.r, t.typ = r, typ
}

func (t *transport) Type() TransportType          { return t.typ }
func (t *transport) Events() *TransportEvents     { return &t.events }
func (t *transport) Observer() *TransportObserver { return &t.observer }

func (t *transport) Producers() []Producer {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	return open[Producer](t.producers)
}

func (t *transport) Consumers() []Consumer {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	return open[Consumer](t.consumers)
}

func (t *transport) Produce(ctx context.Context, o ProducerOptions) (Producer, error) {
	p, err := t.produce(ctx, &o, t.takeCNAME(o.RTPParameters.RTCP.CNAME))
	if err != nil {
		t.returnCNAME()
		return nil, t.fail("Produce", err)
	}
	return p, nil
}

func (t *transport) produce(ctx context.Context, o *ProducerOptions, cname string) (*producer, error) {
	p, err := t.newProducer(o, cname)
	if err != nil {
		return nil, err
	}
	w := t.w
	if err := w.add(&t.object, p); err != nil {
		return nil, err
	}
	e := engine.ProduceOptions{
		ID:                   p.id,
		Kind:                 engineKind(o.Kind),
		RTPParameters:        engineRTPParameters(&p.rtpParameters),
		RTPMapping:           engineRTPMapping(&p.mapping),
		Paused:               o.Paused,
		KeyFrameRequestDelay: o.KeyFrameRequestDelay,
		AddPacketID:          o.EnableMediasoupPacketIDHeaderExtension,
	}
	typ, notes, err := askNotes(ctx, &t.object, func(m machine) (engine.ProducerType, error) {
		return m.Produce(t.id, e)
	})
	if err != nil {
		w.drop(p)
		return nil, err
	}
	p.typ = ProducerType(typ.String())
	w.mu.Lock()
	if err := t.openError(); err != nil { // and the producer with it, in the engine
		w.mu.Unlock()
		w.drop(p)
		return nil, err
	}
	t.producers = append(t.producers, p)
	t.r.producers[p.id] = p
	w.mu.Unlock()
	t.observer.NewProducer.Emit(p)
	p.born.come()
	w.deliver(notes)
	return p, nil
}

// newProducer validates o and negotiates with the router.
func (t *transport) newProducer(o *ProducerOptions, cname string) (*producer, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	params, err := ValidateAndNormalizeRTPParameters(o.RTPParameters)
	if err != nil {
		return nil, err
	}
	for _, c := range params.Codecs {
		if kindOf(c.MIMEType) != o.Kind {
			return nil, invalid("codec %s of a Producer of kind %s", c.MIMEType, o.Kind)
		}
	}
	if len(params.Encodings) == 0 {
		params.Encodings = []RTPEncodingParameters{{}}
	}
	params.RTCP.CNAME = cname
	caps := t.r.capabilities()
	params, mapping, err := ProducerRTPParametersMapping(params, caps)
	if err != nil {
		return nil, err
	}
	consumable, err := ConsumableRTPParameters(o.Kind, params, caps, mapping)
	if err != nil {
		return nil, err
	}
	p := &producer{
		t:             t,
		mediaKind:     o.Kind,
		rtpParameters: params,
		mapping:       mapping,
		consumable:    consumable,
		paused:        o.Paused,
	}
	p.init(t.w, "Producer", cmp.Or(o.ID, newID()), o.AppData)
	return p, nil
}

// takeCNAME returns the CNAME of all Producers of t: that which was given to the
// first, or is made up for it. Who then does not produce calls returnCNAME.
func (t *transport) takeCNAME(given string) string {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	if t.named == 0 {
		t.cname = cmp.Or(given, rand.Text()[:8])
	}
	t.named++
	return t.cname
}

func (t *transport) returnCNAME() {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	t.named--
}

func (t *transport) Consume(ctx context.Context, o ConsumerOptions) (Consumer, error) {
	const op = "Consume"
	if err := o.validate(); err != nil {
		return nil, t.fail(op, err)
	}
	if err := o.RTPCapabilities.validate(); err != nil {
		return nil, t.fail(op, err)
	}
	if err := t.openError(); err != nil {
		return nil, t.fail(op, err)
	}
	p := t.r.producer(o.ProducerID)
	if p == nil {
		return nil, t.failArgument(op, unknownProducer(o.ProducerID))
	}
	params, err := consumerRTPParameters(ConsumerRTPParametersOptions{
		ConsumableRTPParameters: p.consumable,
		RemoteRTPCapabilities:   o.RTPCapabilities,
		Pipe:                    o.Pipe,
		EnableRTX:               o.enableRTX(p.mediaKind),
	}, randomSSRC)
	if err != nil {
		return nil, t.fail(op, err)
	}
	if !o.Pipe {
		params.MID = cmp.Or(o.MID, t.autoMID(o.MID == ""))
	}
	c := &consumer{t: t, p: p, rtpParameters: p.share(params)}
	c.init(t.w, "Consumer", newID(), o.AppData)
	e := engine.ConsumeOptions{Paused: o.Paused, IgnoreDTX: o.IgnoreDTX, Pipe: o.Pipe}
	if o.PreferredLayers != nil {
		e.PreferredLayers = new(engineLayers(o.PreferredLayers))
	}
	return t.addConsumer(ctx, c, e)
}

// addConsumer lets the engine create c and emits its birth. Of e the caller
// sets what does not follow from c.
func (t *transport) addConsumer(ctx context.Context, c *consumer, e engine.ConsumeOptions) (Consumer, error) {
	const op = "Consume"
	w, p := t.w, c.p
	if err := w.add(&t.object, c); err != nil {
		return nil, t.fail(op, err)
	}
	e.ID, e.ProducerID = c.id, p.id
	e.RTPParameters = engineRTPParameters(&c.rtpParameters)
	e.ConsumableEncodings = engineEncodings(p.consumable.Encodings)
	r, notes, err := askNotes(ctx, &t.object, func(m machine) (engine.ConsumeResult, error) {
		return m.Consume(t.id, e)
	})
	if err != nil {
		w.drop(c)
		return nil, t.failArgument(op, err)
	}
	w.mu.Lock()
	err = t.openError()
	if err == nil && p.Closed() {
		err = unknownProducer(p.id)
	}
	if err != nil { // and the consumer with its parent or Producer, in the engine
		w.mu.Unlock()
		w.drop(c)
		return nil, t.failArgument(op, err)
	}
	c.initLocked(&r)
	t.consumers = append(t.consumers, c)
	p.consumers = append(p.consumers, c)
	w.mu.Unlock()
	t.observer.NewConsumer.Emit(c)
	c.born.come()
	w.deliver(notes)
	return c, nil
}

func unknownProducer(id string) error { return fmt.Errorf("Producer %q: %w", id, ErrNotFound) }

// lastAutoMID is where the MIDs that a transport gives begin again.
const lastAutoMID = 99_999_999

// autoMID returns the next MID, or "" when none is wanted.
func (t *transport) autoMID(wanted bool) string {
	if !wanted {
		return ""
	}
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	mid := t.nextMID
	if t.nextMID++; mid == lastAutoMID {
		t.nextMID = 0
	}
	return fmt.Sprint(mid)
}

func (t *transport) SetMaxIncomingBitrate(ctx context.Context, bitrate int) error {
	const op = "SetMaxIncomingBitrate"
	if bitrate < 0 {
		return t.fail(op, invalid("bitrate %d", bitrate))
	}
	_, err := ask(ctx, &t.object, op, func(m machine) (struct{}, error) {
		return struct{}{}, m.SetMaxIncomingBitrate(t.id, uint64(bitrate))
	})
	return err
}

func (t *transport) SetMaxOutgoingBitrate(ctx context.Context, bitrate int) error {
	return t.limitOutgoing(ctx, "SetMaxOutgoingBitrate", bitrate, machine.SetMaxOutgoingBitrate)
}

func (t *transport) SetMinOutgoingBitrate(ctx context.Context, bitrate int) error {
	return t.limitOutgoing(ctx, "SetMinOutgoingBitrate", bitrate, machine.SetMinOutgoingBitrate)
}

func (t *transport) limitOutgoing(ctx context.Context, op string, bitrate int, set func(m machine, id string, bps uint32) error) error {
	if err := validateOutgoingBitrate(bitrate); err != nil {
		return t.fail(op, err)
	}
	_, err := ask(ctx, &t.object, op, func(m machine) (struct{}, error) {
		return struct{}{}, set(m, t.id, uint32(bitrate))
	})
	return err
}

func (t *transport) EnableTraceEvent(ctx context.Context, types ...TraceEventType) error {
	const op = "EnableTraceEvent"
	if err := validateTraceEvents(types, transportTraceEvents); err != nil {
		return t.fail(op, err)
	}
	names := traceNames(types)
	_, err := ask(ctx, &t.object, op, func(m machine) (struct{}, error) {
		return struct{}{}, m.TraceTransport(t.id, names)
	})
	return err
}

func (t *transport) Stats(ctx context.Context) ([]TransportStats, error) {
	s, err := ask(ctx, &t.object, "Stats", func(m machine) (engine.TransportStats, error) {
		return m.TransportStats(t.id)
	})
	if err != nil {
		return nil, err
	}
	return []TransportStats{transportStats(&s)}, nil
}

func (t *transport) Dump(ctx context.Context) (TransportDump, error) {
	d, err := ask(ctx, &t.object, "Dump", func(m machine) (engine.TransportDump, error) {
		return m.DumpTransport(t.id)
	})
	if err != nil {
		return TransportDump{}, err
	}
	return transportDump(&d), nil
}

// notifyCommon takes news that are of no kind of transport alone.
func (t *transport) notifyCommon(n engine.Notification) {
	switch b := n.Body.(type) {
	case engine.SCTPStateChange:
		state := SCTPState(b.State)
		if t.apply(noteSCTP, n.Seq, func() { t.sctp.state = state }) {
			t.events.SCTPStateChange.EmitUnlessClosed(t, state)
			t.observer.SCTPStateChange.EmitUnlessClosed(t, state)
		}
	case engine.SCTPNegotiated:
		t.apply(noteSCTPNegotiated, n.Seq, func() {
			t.sctp.negotiated = &SCTPNegotiatedCapabilities{int(b.MaxOutbound), int(b.MaxInbound)}
		})
	case engine.Trace:
		e := traceEvent(&b.Event)
		t.events.Trace.EmitUnlessClosed(t, e)
		t.observer.Trace.EmitUnlessClosed(t, e)
	}
}

// apply changes the state with f and reports true, unless the transport is
// closed or has newer state of that kind.
func (t *transport) apply(k noteKind, seq uint64, f func()) bool {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	if t.Closed() || !t.seen.fresh(k, seq) {
		return false
	}
	f()
	return true
}

// closeLocked closes the transport with what it carries.
func (t *transport) closeLocked(c *closing, cause *Event[struct{}]) {
	if !c.begin(&t.life) {
		return
	}
	t.part.closeStateLocked()
	if t.sctp.state != "" {
		t.sctp.state = SCTPStateClosed
	}
	for _, p := range t.producers {
		p.closeLocked(c, &p.events.TransportClose)
	}
	for _, x := range t.consumers {
		x.closeLocked(c, &x.events.TransportClose)
	}
	for _, p := range t.dataProducers {
		p.closeLocked(c, &p.events.TransportClose)
	}
	for _, x := range t.dataConsumers {
		x.closeLocked(c, &x.events.TransportClose)
	}
	t.w.dropLocked(t.part)
	c.emit(cause)
	unhandled := func() {
		if t.server != nil {
			t.server.observer.WebRTCTransportUnhandled.Emit(t.part.(*webRTCTransport))
		}
	}
	if cause == &t.events.ListenServerClose {
		c.emit(&t.observer.Close)
		c.do(unhandled)
	} else {
		c.do(unhandled)
		c.emit(&t.observer.Close)
	}
	c.end(&t.object, func() {
		t.producers, t.consumers = nil, nil
		t.dataProducers, t.dataConsumers = nil, nil
		forget(&t.r.life, &t.r.transports, t)
		if t.server != nil {
			forget(&t.server.life, &t.server.transports, t.part.(*webRTCTransport))
		}
	})
}

func (t *transport) Close() error {
	var c closing
	t.w.mu.Lock()
	if t.Closed() {
		t.w.mu.Unlock()
		return nil
	}
	t.closeLocked(&c, nil)
	c.orphansLocked()
	t.w.mu.Unlock()
	t.w.leaveOnLoop(t.id, func(m machine) error { return m.CloseTransport(t.id) })
	play(c.steps)
	return nil
}

// orphansLocked closes the Consumers and DataConsumers that the closed Producers
// and DataProducers have on transports which stay open.
func (c *closing) orphansLocked() {
	for _, p := range c.producers {
		for _, x := range p.consumers {
			if !x.Closed() {
				x.closeLocked(c, &x.events.ProducerClose)
			}
		}
	}
	for _, p := range c.dataProducers {
		for _, x := range p.consumers {
			if !x.Closed() {
				x.closeLocked(c, &x.events.DataProducerClose)
			}
		}
	}
}
