package wrap

import (
	"context"

	"github.com/mafalda-sfu/mafalda"
)

// A WebRTCServer passes everything through to an inner one.
type WebRTCServer struct {
	object[mafalda.WebRTCServer]
	events   mafalda.WebRTCServerEvents
	observer mafalda.WebRTCServerObserver
}

var _ mafalda.WebRTCServer = (*WebRTCServer)(nil)

func newWebRTCServer(s *Space, inner mafalda.WebRTCServer) *WebRTCServer {
	x := new(WebRTCServer)
	x.init(s, inner)
	return x
}

func (x *WebRTCServer) begin(outer any) {
	x.outer = outer
	l, s := &x.Life, x.s
	cause(l, &x.inner.Events().WorkerClose, &x.events.WorkerClose)
	from, to := x.inner.Observer(), &x.observer
	report(l, &from.WebRTCTransportHandled, &to.WebRTCTransportHandled, s.WebRTCTransport)
	report(l, &from.WebRTCTransportUnhandled, &to.WebRTCTransportUnhandled, s.WebRTCTransport)
	s.end(l, &from.Close, &to.Close)
}

func (x *WebRTCServer) parentClose() *mafalda.Event[struct{}] { return &x.events.WorkerClose }

func (x *WebRTCServer) mark(c *Closing, cause *mafalda.Event[struct{}]) {
	if !c.Begin(&x.Life) {
		return
	}
	c.Emit(cause)
	c.Emit(&x.observer.Close)
	c.End(&x.Life)
}

// CloseIn adds the closing of the WebRTCServer to c, for that cause: one of its
// Events, or nil. Of the transports on it nothing is added.
func (x *WebRTCServer) CloseIn(c *Closing, cause *mafalda.Event[struct{}]) {
	c.Inner(x.inner)
	x.mark(c, cause)
}

// server lets Routers find the inner one of an option.
func (x *WebRTCServer) server() *WebRTCServer { return x }

// Dump implements [mafalda.WebRTCServer].
func (x *WebRTCServer) Dump(ctx context.Context) (mafalda.WebRTCServerDump, error) {
	d, err := x.inner.Dump(ctx)
	return d, x.fail(err)
}

// Events implements [mafalda.WebRTCServer].
func (x *WebRTCServer) Events() *mafalda.WebRTCServerEvents { return &x.events }

// Observer implements [mafalda.WebRTCServer].
func (x *WebRTCServer) Observer() *mafalda.WebRTCServerObserver { return &x.observer }
