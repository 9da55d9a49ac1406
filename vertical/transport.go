package vertical

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/wrap"
)

// A transport is a Transport of a virtual Router, of any kind.
type transport interface {
	mafalda.Transport
	CloseIn(c *wrap.Closing, cause *mafalda.Event[struct{}])
	part() *carrier
}

// A transportTag is the app data of an inner Transport. Transports without are
// pipes of our own, which nobody sees.
type transportTag struct {
	rr     *realRouter
	server *server // whose ports it uses, or nil
	data   any     // the app data that the application gave
	leave  func()  // gives back the use of rr; only the first call has an effect
	outer  made[transport]
}

// A made remembers what stands for an inner object, also when the Space has
// forgotten it: a call may return an object that was closed meanwhile.
type made[T any] struct {
	once sync.Once
	v    T
}

func (m *made[T]) get(f func() T) T {
	m.once.Do(func() { m.v = f() })
	return m.v
}

// A carrier is what the kinds of transport have in common.
type carrier struct {
	appData
	// Constant after init.
	self   transport
	pass   *wrap.Transport
	r      *router
	rr     *realRouter
	leave  func() // of the tag
	server *server

	// Guarded by s.mu.
	known         bool            // the Router has it, and server
	producers     []*producer     // in order of creation, until they have ended
	dataProducers []*dataProducer // the same
	serverClosing bool            // it is closed because server is
}

type webRTCTransport struct {
	*wrap.WebRTCTransport
	carrier
}

type plainTransport struct {
	*wrap.PlainTransport
	carrier
}

type pipeTransport struct {
	*wrap.PipeTransport
	carrier
}

type directTransport struct {
	*wrap.DirectTransport
	carrier
}

var (
	_ mafalda.PacketTapper = (*webRTCTransport)(nil)
	_ mafalda.PacketTapper = (*plainTransport)(nil)
	_ mafalda.PacketTapper = (*pipeTransport)(nil)
)

func (s *SFU) newWebRTCTransport(pass *wrap.WebRTCTransport) mafalda.WebRTCTransport {
	tag := pass.Inner().AppData().(*transportTag) // see newTransport
	return tag.outer.get(func() transport {
		t := &webRTCTransport{WebRTCTransport: pass}
		t.init(t, &pass.Transport, tag)
		return t
	}).(mafalda.WebRTCTransport)
}

func (s *SFU) newPlainTransport(pass *wrap.PlainTransport) mafalda.PlainTransport {
	tag := pass.Inner().AppData().(*transportTag)
	return tag.outer.get(func() transport {
		t := &plainTransport{PlainTransport: pass}
		t.init(t, &pass.Transport, tag)
		return t
	}).(mafalda.PlainTransport)
}

func (s *SFU) newPipeTransport(pass *wrap.PipeTransport) mafalda.PipeTransport {
	tag := pass.Inner().AppData().(*transportTag)
	return tag.outer.get(func() transport {
		t := &pipeTransport{PipeTransport: pass}
		t.init(t, &pass.Transport, tag)
		return t
	}).(mafalda.PipeTransport)
}

func (s *SFU) newDirectTransport(pass *wrap.DirectTransport) mafalda.DirectTransport {
	tag := pass.Inner().AppData().(*transportTag)
	return tag.outer.get(func() transport {
		t := &directTransport{DirectTransport: pass}
		t.init(t, &pass.Transport, tag)
		return t
	}).(mafalda.DirectTransport)
}

func (t *carrier) init(self transport, pass *wrap.Transport, tag *transportTag) {
	t.self, t.pass, t.r, t.rr, t.leave, t.server, t.v = self, pass, tag.rr.r, tag.rr, tag.leave, tag.server, tag.data
	atEnd(pass, &self.Observer().Close, t.ended)
}

func (t *carrier) part() *carrier { return t }
func (t *carrier) home() *worker  { return t.r.w }

// newTransport is told by a real Router of a new Transport.
func (r *router) newTransport(inner mafalda.Transport) {
	if _, ok := inner.AppData().(*transportTag); !ok {
		return // one of our own pipes
	}
	s := r.w.s
	t := s.space.Transport(inner).(transport)
	s.mu.Lock()
	if r.Closed() || t.part().server != nil && t.part().server.Closed() {
		s.mu.Unlock()
		_ = inner.Close() // nothing can be done about it
		return
	}
	r.transports = append(r.transports, t)
	t.part().known = true
	server := t.part().server
	if server != nil {
		server.transports = append(server.transports, t)
	}
	s.mu.Unlock()
	r.observer.NewTransport.Emit(t)
	if server != nil {
		server.observer.WebRTCTransportHandled.Emit(t.(mafalda.WebRTCTransport))
	}
	t.(interface{ Born() }).Born()
}

// ended is called before anybody else hears of the end of t.
func (t *carrier) ended() {
	s := t.r.w.s
	s.mu.Lock()
	unhandled := false
	if t.known {
		t.r.transports = without(t.r.transports, t.self)
		unhandled = t.server != nil && !t.serverClosing
	}
	s.mu.Unlock()
	if unhandled {
		t.server.unhandled(t.self)
	}
	t.leave()
}

func (t *carrier) Close() error {
	s := t.r.w.s
	var c wrap.Closing
	s.mu.Lock()
	if t.self.Closed() {
		s.mu.Unlock()
		return nil
	}
	t.self.CloseIn(&c, nil)
	t.orphansLocked(&c)
	s.mu.Unlock()
	return c.Play()
}

// orphansLocked closes the Consumers and DataConsumers that what t carries has on
// Transports which stay open.
func (t *carrier) orphansLocked(c *wrap.Closing) {
	for _, p := range t.producers {
		p.orphansLocked(c)
	}
	for _, p := range t.dataProducers {
		p.orphansLocked(c)
	}
}

// reserve takes an id that the application has chosen. Error:
// [mafalda.ErrInvalidState].
func (w *worker) reserve(id string) error {
	if id == "" {
		return nil
	}
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	if w.ids[id] {
		return fmt.Errorf("id %q is in use: %w", id, mafalda.ErrInvalidState)
	}
	w.ids[id] = true
	return nil
}

func (w *worker) unreserve(id string) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	delete(w.ids, id)
}

func (t *carrier) fail(op string, err error) error {
	kind := map[mafalda.TransportType]string{
		mafalda.TransportTypeWebRTC: "WebRTCTransport", mafalda.TransportTypePlain: "PlainTransport",
		mafalda.TransportTypePipe: "PipeTransport", mafalda.TransportTypeDirect: "DirectTransport",
	}[t.self.Type()]
	return &mafalda.Error{Op: op, Object: kind, ID: t.self.ID(), Err: cause(failure(t.self, err))}
}

func (t *carrier) Produce(ctx context.Context, o mafalda.ProducerOptions) (mafalda.Producer, error) {
	id := o.ID
	if err := t.r.w.reserve(id); err != nil {
		return nil, t.fail("Produce", err)
	}
	o.ID, o.AppData = "", &producerTag{t: t, id: id, data: o.AppData}
	t.rr.beginProducing()
	defer t.rr.endProducing()
	before := t.rr.settled()
	p, err := t.pass.Produce(ctx, o)
	if errors.Is(err, errors.ErrUnsupported) && (before == nil || t.rr.settled() != before) {
		err = t.rr.during(ctx, t.r.now(), func() (err error) {
			p, err = t.pass.Produce(ctx, o)
			return err
		}, nil)
		if err != nil {
			err = t.fail("Produce", err)
		}
	}
	if err != nil {
		t.r.w.unreserve(id)
		return nil, err
	}
	return p, nil
}

func (t *carrier) Consume(ctx context.Context, o mafalda.ConsumerOptions) (mafalda.Consumer, error) {
	const op = "Consume"
	p := t.r.producer(o.ProducerID)
	if p == nil || t.self.Closed() || ctx.Err() != nil {
		return nil, t.refuse(ctx, op, o.ProducerID, func() error {
			if o.ProducerID != "" {
				o.ProducerID = unknown
			}
			_, err := t.pass.Consume(ctx, o)
			return err
		})
	}
	from, err := p.reach(ctx, t.rr)
	if err != nil {
		return nil, t.fail(op, err)
	}
	o.ProducerID, o.AppData = from.id, &consumerTag{t: t, p: p, from: from, data: o.AppData}
	c, err := t.pass.Consume(ctx, o)
	if err != nil {
		from.release()
		if errors.Is(err, mafalda.ErrNotFound) {
			err = t.fail(op, fmt.Errorf("no Producer %q: %w", p.id, mafalda.ErrNotFound))
		}
		return nil, err
	}
	return c, nil
}

// unknown is an id that no object has.
const unknown = "unknown"

// refuse returns what is wrong with a call: f does it with an id that the inner
// object does not know, so it fails, but everything else is looked at first.
func (t *carrier) refuse(ctx context.Context, op, id string, f func() error) error {
	err := f()
	switch {
	case !errors.Is(err, mafalda.ErrNotFound):
		return err
	case ctx.Err() != nil && !t.self.Closed():
		return t.fail(op, ctx.Err())
	}
	return t.fail(op, fmt.Errorf("%q: %w", id, mafalda.ErrNotFound))
}

func (t *carrier) ProduceData(ctx context.Context, o mafalda.DataProducerOptions) (mafalda.DataProducer, error) {
	id := o.ID
	if err := t.r.w.reserve(id); err != nil {
		return nil, t.fail("ProduceData", err)
	}
	o.ID, o.AppData = "", &producerTag{t: t, id: id, data: o.AppData}
	p, err := t.pass.ProduceData(ctx, o)
	if err != nil {
		t.r.w.unreserve(id)
		return nil, err
	}
	return p, nil
}

func (t *carrier) ConsumeData(ctx context.Context, o mafalda.DataConsumerOptions) (mafalda.DataConsumer, error) {
	const op = "ConsumeData"
	p := t.r.dataProducer(o.DataProducerID)
	if p == nil || t.self.Closed() || ctx.Err() != nil {
		return nil, t.refuse(ctx, op, o.DataProducerID, func() error {
			if o.DataProducerID != "" {
				o.DataProducerID = unknown
			}
			_, err := t.pass.ConsumeData(ctx, o)
			return err
		})
	}
	from, err := p.reach(ctx, t.rr)
	if err != nil {
		return nil, t.fail(op, err)
	}
	o.DataProducerID, o.AppData = from.id, &dataConsumerTag{t: t, p: p, from: from, data: o.AppData}
	c, err := t.pass.ConsumeData(ctx, o)
	if err != nil {
		from.release()
		if errors.Is(err, mafalda.ErrNotFound) {
			err = t.fail(op, fmt.Errorf("no DataProducer %q: %w", p.id, mafalda.ErrNotFound))
		}
		return nil, err
	}
	return c, nil
}

// Dump implements [mafalda.Transport], with the ids that Producers were given.
func (t *carrier) Dump(ctx context.Context) (mafalda.TransportDump, error) {
	d, err := t.pass.Dump(ctx)
	if err != nil {
		return d, err
	}
	ids := map[string]string{}
	s := t.r.w.s
	s.mu.Lock()
	for _, p := range t.producers {
		ids[p.Inner().ID()] = p.id
	}
	for _, p := range t.dataProducers {
		ids[p.Inner().ID()] = p.id
	}
	s.mu.Unlock()
	given := func(id *string) {
		if v, ok := ids[*id]; ok {
			*id = v
		}
	}
	for i := range d.ProducerIDs {
		given(&d.ProducerIDs[i])
	}
	for i := range d.DataProducerIDs {
		given(&d.DataProducerIDs[i])
	}
	for i := range d.RTPListener.SSRCTable {
		given(&d.RTPListener.SSRCTable[i].Value)
	}
	for i := range d.RTPListener.MIDTable {
		given(&d.RTPListener.MIDTable[i].Value)
	}
	for i := range d.RTPListener.RIDTable {
		given(&d.RTPListener.RIDTable[i].Value)
	}
	if d.SCTPListener != nil {
		for i := range d.SCTPListener.StreamIDTable {
			given(&d.SCTPListener.StreamIDTable[i].Value)
		}
	}
	return d, nil
}
