// Package wrap makes an SFU of another one, of which only some methods differ.
//
// [New] returns an SFU that passes everything through. Whoever wants to do
// something differently does not write fourteen types: he embeds the
// pass-through of one object, overrides the methods that matter, and says with a
// hook where to put it:
//
//	// A transport counts what is produced.
//	type transport struct {
//		*wrap.DirectTransport
//		produced *atomic.Int64
//	}
//
//	func (t *transport) Produce(ctx context.Context, o mafalda.ProducerOptions) (mafalda.Producer, error) {
//		p, err := t.DirectTransport.Produce(ctx, o)
//		if err == nil {
//			t.produced.Add(1)
//		}
//		return p, err
//	}
//
//	space := wrap.NewSpace(wrap.Hooks{
//		DirectTransport: func(t *wrap.DirectTransport) mafalda.DirectTransport {
//			return &transport{t, &produced}
//		},
//	})
//	sfu := space.SFU(mafalda.New())
//
// # Objects
//
// An inner object is one of the SFU below, an outer object what stands for it
// and what the application sees. The outer object is a pass-through ([Worker],
// [Router], [Producer], …) or what the hook made of one.
//
// A [Space] maps each inner object to its outer one. Two roads to an object
// give values that are ==: the call that creates it, the event of its birth,
// lists, and the events and results that carry it. Options that hold an outer
// object are handed on with the inner one. An object leaves the map when it has
// ended and no call is under way that may return it.
//
// The other way goes by the method Inner that every pass-through has. What
// embeds one has it too. Its result is the interface of the same name: where go
// doc shows an I, that of a [Worker] is a mafalda.Worker.
//
// Methods of a pass-through may be called by many goroutines at a time. They wait
// when the inner ones do, and return what these return, errors too, with outer
// objects in place of inner ones.
//
// # Events
//
// A pass-through has Events and an Observer of its own, to which it relays
// those of the inner object, on the same goroutine and in the same order, from
// before the birth of the outer object is told until its end. While a listener
// runs, the getters of the outer object say what those of the inner one say.
//
// # Virtual objects
//
// An object may stand for several inner ones, or for none: a Router whose
// Transports are on Routers of many Workers. It implements its interface
// itself, with a [Life] of its own, and has the Space make outer objects of what
// is below: the identity map does not care whose child an inner object is.
//
// Nobody but the virtual parent can tell its children that it closed. It does so
// with a [Closing]: the children are closed for the cause that it gives
// (RouterClose for a Transport, and so TransportClose for what that carries), in
// mediasoup's order, as one tree, and what their inner objects say of it is not
// heard:
//
//	func (r *router) Close() error {
//		var c wrap.Closing
//		r.mu.Lock()
//		if r.Closed() {
//			r.mu.Unlock()
//			return nil
//		}
//		c.Begin(&r.Life)
//		for _, t := range r.transports {
//			t.CloseIn(&c, &t.Events().RouterClose)
//		}
//		c.Emit(&r.observer.Close)
//		c.End(&r.Life)
//		r.mu.Unlock()
//		return c.Play()
//	}
//
// What its methods return for a closed child is [Hooks.Error]'s to say: the
// inner object knows that it is closed, but not that its virtual Worker is.
package wrap
