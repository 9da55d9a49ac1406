package mafalda

import (
	"context"
	"fmt"
	"net/netip"
)

// PipeToRouterOptions are the options of [Router.PipeToRouter].
type PipeToRouterOptions struct {
	// ProducerID is the id of a Producer of this Router, DataProducerID that of
	// a DataProducer. One of them is required.
	ProducerID, DataProducerID string
	// Router is the one that gets the media: another one, of any Worker, host or
	// implementation. Required.
	Router Router
	// KeepID gives the new Producer or DataProducer the id of the old one, which
	// two Routers of one Worker can't have. nil means true.
	KeepID *bool

	// What follows is for the two PipeTransports, and ignored once they exist.

	// ListenInfo is where both PipeTransports receive: its IP has to be one that
	// each side reaches. nil means UDP on 127.0.0.1; RTP and RTCP between
	// Workers of this process then go through memory, unless encrypted; wrapped
	// PipeTransports too, if they have a method Inner() PipeTransport.
	ListenInfo *ListenInfo
	// EnableRTX repairs losses between the PipeTransports.
	EnableRTX bool
	// EnableSRTP encrypts RTP and RTCP.
	EnableSRTP bool
	// EnableSCTP lets them carry data. nil means true. It stands for the field
	// of that name in SCTPOptions.
	EnableSCTP *bool
	SCTPOptions
}

func (o *PipeToRouterOptions) validate(from, to Router) error {
	switch {
	case o.ProducerID == "" && o.DataProducerID == "":
		return invalid("ProducerID or DataProducerID is missing")
	case o.ProducerID != "" && o.DataProducerID != "":
		return invalid("both ProducerID and DataProducerID are given")
	case from == nil || to == nil:
		return invalid("Router is missing")
	case from == to:
		return invalid("a Router can't be piped to itself")
	}
	return nil
}

// keepID returns KeepID with its default.
func (o *PipeToRouterOptions) keepID() bool { return o.KeepID == nil || *o.KeepID }

// transportOptions are those of both PipeTransports.
func (o *PipeToRouterOptions) transportOptions() PipeTransportOptions {
	t := PipeTransportOptions{EnableRTX: o.EnableRTX, EnableSRTP: o.EnableSRTP, SCTPOptions: o.SCTPOptions}
	t.EnableSCTP = o.EnableSCTP == nil || *o.EnableSCTP
	if o.ListenInfo != nil {
		t.ListenInfo = *o.ListenInfo
	} else {
		t.ListenInfo = ListenInfo{Protocol: ProtocolUDP, IP: netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	}
	return t
}

// PipeToRouterResult is what [Router.PipeToRouter] has made.
type PipeToRouterResult struct {
	// PipeConsumer takes the media from this Router, PipeProducer brings it to
	// the other one. When one closes, so does the other, and what pauses the
	// first pauses the second. Both are nil for a DataProducer.
	PipeConsumer Consumer
	PipeProducer Producer
	// PipeDataConsumer and PipeDataProducer are the same for a DataProducer, and
	// else nil. While the first is paused no messages come to the second, which
	// itself is not paused.
	PipeDataConsumer DataConsumer
	PipeDataProducer DataProducer
}

// PipeRouters is from.PipeToRouter with to as the Router of o, whatever
// implementations they are of: it calls nothing but their public methods. It is
// there for implementations of [Router], whose PipeToRouter can be a call of it.
//
// All calls for the same two Routers, in either direction, share two
// PipeTransports, which live as long as both Routers.
func PipeRouters(ctx context.Context, from, to Router, o PipeToRouterOptions) (PipeToRouterResult, error) {
	r, err := pipeRouters(ctx, from, to, &o)
	if err != nil {
		e := &Error{Op: "PipeRouters", Object: "Router", Err: err}
		if from != nil {
			e.ID = from.ID()
		}
		return r, e
	}
	return r, nil
}

func pipeRouters(ctx context.Context, from, to Router, o *PipeToRouterOptions) (PipeToRouterResult, error) {
	var none PipeToRouterResult
	if err := o.validate(from, to); err != nil {
		return none, err
	}
	if o.DataProducerID != "" {
		return pipeData(ctx, from, to, o)
	}
	p := producerOf(from, o.ProducerID)
	if p == nil {
		if from.Closed() {
			return none, ErrClosed
		}
		return none, unknownProducer(o.ProducerID)
	}
	var c Consumer
	var far Producer
	var paused bool
	err := pipes.over(ctx, from, to, o, func(local, remote PipeTransport) (err error) {
		if c, err = made(local.Consume(ctx, ConsumerOptions{ProducerID: p.ID()})); err != nil {
			return err
		}
		paused = c.ProducerPaused()
		produce := ProducerOptions{Kind: c.Kind(), RTPParameters: c.RTPParameters(), Paused: paused, AppData: p.AppData()}
		if o.keepID() {
			produce.ID = p.ID()
		}
		if far, err = made(remote.Produce(ctx, produce)); err != nil {
			_ = c.Close() // nothing can be done about it
		}
		return err
	})
	if err != nil {
		return none, err
	}
	m := &pipeMirror{near: c, far: far, paused: paused}
	err = m.start(ctx)
	switch {
	case p.Closed():
		err = fmt.Errorf("original Producer closed: %w", ErrNotFound)
	case err == nil && (c.Closed() || far.Closed()):
		err = ErrClosed
	}
	if err != nil {
		m.close()
		return none, err
	}
	return PipeToRouterResult{PipeConsumer: c, PipeProducer: far}, nil
}

// pipeData is pipeRouters for a DataProducer.
func pipeData(ctx context.Context, from, to Router, o *PipeToRouterOptions) (PipeToRouterResult, error) {
	var none PipeToRouterResult
	p := dataProducerOf(from, o.DataProducerID)
	if p == nil {
		if from.Closed() {
			return none, ErrClosed
		}
		return none, unknownDataProducer(o.DataProducerID)
	}
	var c DataConsumer
	var far DataProducer
	err := pipes.over(ctx, from, to, o, func(local, remote PipeTransport) (err error) {
		if c, err = made(local.ConsumeData(ctx, DataConsumerOptions{DataProducerID: p.ID()})); err != nil {
			return err
		}
		produce := DataProducerOptions{
			SCTPStreamParameters: c.SCTPStreamParameters(), Label: c.Label(), Protocol: c.Protocol(), AppData: p.AppData(),
		}
		if o.keepID() {
			produce.ID = p.ID()
		}
		if far, err = made(remote.ProduceData(ctx, produce)); err != nil {
			_ = c.Close() // nothing can be done about it
		}
		return err
	})
	if err != nil {
		return none, err
	}
	end := func(struct{}) {
		_, _ = c.Close(), far.Close()
	}
	c.Observer().Close.On(end)
	far.Observer().Close.On(end)
	switch {
	case p.Closed():
		err = fmt.Errorf("original DataProducer closed: %w", ErrNotFound)
	case c.Closed() || far.Closed():
		err = ErrClosed
	}
	if err != nil {
		end(struct{}{})
		return none, err
	}
	return PipeToRouterResult{PipeDataConsumer: c, PipeDataProducer: far}, nil
}

// dataProducerOf returns the open DataProducer of r with that id, or nil.
func dataProducerOf(r Router, id string) DataProducer {
	for _, t := range r.Transports() {
		for _, p := range t.DataProducers() {
			if p.ID() == id {
				return p
			}
		}
	}
	return nil
}

// producerOf returns the open Producer of r with that id, or nil.
func producerOf(r Router, id string) Producer {
	if r, ok := r.(*router); ok {
		if p := r.producer(id); p != nil {
			return p
		}
		return nil
	}
	for _, t := range r.Transports() {
		for _, p := range t.Producers() {
			if p.ID() == id {
				return p
			}
		}
	}
	return nil
}
