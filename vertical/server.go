package vertical

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/wrap"
)

// A server is a WebRTCServer of a virtual Worker. It has ports on the real Worker
// where it was created, and, unless they are fixed, others on each one where a
// Transport wants them.
type server struct {
	wrap.Life
	appData
	// Constant after its constructor.
	w     *worker
	id    string
	infos []mafalda.ListenInfo
	fixed bool // other real Workers can't have the same ports

	events   mafalda.WebRTCServerEvents
	observer mafalda.WebRTCServerObserver

	// Guarded by s.mu.
	reals      []*realServer // in order of creation, until they are gone
	transports []transport   // in order of creation, until they have ended
}

// A realServer is what a server has on one real Worker.
type realServer struct {
	// Constant after its constructor.
	x *server
	w *realWorker

	ready chan struct{} // closed when it was created or could not be

	// Constant once ready is closed.
	inner mafalda.WebRTCServer
	err   error

	// Guarded by s.mu.
	transports int
	over       bool // it is closing
}

var _ mafalda.WebRTCServer = (*server)(nil)

func (x *server) home() *worker                           { return x.w }
func (x *server) ID() string                              { return x.id }
func (x *server) Events() *mafalda.WebRTCServerEvents     { return &x.events }
func (x *server) Observer() *mafalda.WebRTCServerObserver { return &x.observer }

// CreateWebRTCServer implements [mafalda.Worker].
func (w *worker) CreateWebRTCServer(ctx context.Context, o mafalda.WebRTCServerOptions) (mafalda.WebRTCServer, error) {
	x, err := w.createServer(ctx, o)
	if err != nil {
		return nil, w.fail("CreateWebRTCServer", err)
	}
	return x, nil
}

func (w *worker) createServer(ctx context.Context, o mafalda.WebRTCServerOptions) (*server, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if err := w.check(ctx); err != nil {
		return nil, err
	}
	x := &server{w: w, id: newID(), infos: slices.Clone(o.ListenInfos)}
	x.Life.Init()
	x.v = o.AppData
	for _, l := range x.infos {
		if r := l.PortRange; r != (mafalda.PortRange{}) {
			x.fixed = x.fixed || r.Min == r.Max
		} else {
			x.fixed = x.fixed || l.Port != 0
		}
	}
	release, err := x.open(ctx)
	if err != nil {
		x.drop()
		return nil, err
	}
	w.s.mu.Lock()
	if w.Closed() {
		w.s.mu.Unlock()
		x.drop()
		return nil, mafalda.ErrWorkerClosed
	}
	w.servers = append(w.servers, x)
	w.s.mu.Unlock()
	w.observer.NewWebRTCServer.Emit(x)
	x.Born()
	release()
	return x, nil
}

// open opens the first ports, on some real Worker. The caller calls release when x
// is known.
func (x *server) open(ctx context.Context) (release func(), err error) {
	for i := 0; ; i++ {
		w, err := x.w.place(ctx, func(*realWorker) bool { return false }, nil)
		if err != nil {
			return nil, err
		}
		_, release, err := x.on(ctx, w)
		x.w.leave(w) // x has a use of its own
		if err == nil {
			return release, nil
		}
		if !w.died(err) {
			return nil, err
		}
		if err := exhausted(i); err != nil {
			return nil, err
		}
	}
}

// drop closes x, of which nobody has heard, with ports that are being opened.
func (x *server) drop() {
	x.Born()
	_ = x.Close() // nothing can be done about it
}

// on returns the ports on a real Worker, where the caller has a use; they are
// opened if there are none. The caller calls release when it does not need them
// any more.
func (x *server) on(ctx context.Context, w *realWorker) (mafalda.WebRTCServer, func(), error) {
	s := x.w.s
	s.mu.Lock()
	if x.Closed() {
		s.mu.Unlock()
		return nil, nil, fmt.Errorf("WebRTCServer %s is closed: %w", x.id, mafalda.ErrInvalidState)
	}
	i := slices.IndexFunc(x.reals, func(y *realServer) bool { return y.w == w && !y.over })
	if i < 0 {
		y := &realServer{x: x, w: w, ready: make(chan struct{})}
		i = len(x.reals)
		x.reals = append(slices.Clip(x.reals), y)
		w.enterLocked(x.w)
		go y.create() // ends when it is created
	}
	y := x.reals[i]
	y.transports++
	s.mu.Unlock()
	select {
	case <-y.ready:
	case <-ctx.Done():
		y.release()
		return nil, nil, ctx.Err()
	}
	if y.err == nil {
		return y.inner, y.release, nil
	}
	y.release()
	if i > 0 && errors.Is(y.err, mafalda.ErrUnavailable) {
		return nil, nil, errNoPort
	}
	return nil, nil, cause(y.err)
}

func (y *realServer) create() {
	y.inner, y.err = something(y.w.inner.CreateWebRTCServer(context.Background(), mafalda.WebRTCServerOptions{
		ListenInfos: slices.Clone(y.x.infos),
	}))
	if y.err != nil {
		y.inner = nil // not a nil pointer in an interface
		y.gone()
		close(y.ready)
		return
	}
	y.inner.Observer().Close.On(func(struct{}) { y.gone() })
	close(y.ready)
	if y.inner.Closed() { // perhaps before that
		y.gone()
	} else if y.x.Closed() || y.isOver() {
		_ = y.inner.Close() // nothing can be done about it
	}
}

// isOver reports whether everybody who wanted y gave up.
func (y *realServer) isOver() bool {
	s := y.x.w.s
	s.mu.Lock()
	defer s.mu.Unlock()
	return y.over
}

// Close closes the ports; those that are being opened close themselves.
func (y *realServer) Close() error {
	select {
	case <-y.ready:
		if y.inner != nil {
			return y.inner.Close()
		}
	default:
	}
	return nil
}

// release gives back ports. The first ones stay open, others while they are used.
func (y *realServer) release() {
	s := y.x.w.s
	s.mu.Lock()
	y.transports--
	unused := y.transports == 0 && len(y.x.reals) > 0 && y.x.reals[0] != y && !y.over
	y.over = y.over || unused
	s.mu.Unlock()
	if unused {
		_ = y.Close() // nothing can be done about it
	}
}

// gone forgets ports that are closed.
func (y *realServer) gone() {
	s := y.x.w.s
	s.mu.Lock()
	known := slices.Contains(y.x.reals, y)
	y.over = true
	y.x.reals = without(y.x.reals, y)
	s.mu.Unlock()
	if known {
		y.x.w.leave(y.w)
	}
}

// only returns the real Worker on which Transports of x have to be, nil for any.
func (x *server) only() *realWorker {
	if x == nil || !x.fixed {
		return nil
	}
	return x.first()
}

// first returns the real Worker of the first ports, nil if there are none. That of a
// Worker that is known to have died counts as none: its close events may be under way.
func (x *server) first() *realWorker {
	x.w.s.mu.Lock()
	defer x.w.s.mu.Unlock()
	for _, y := range x.reals {
		if !y.w.over {
			return y.w
		}
	}
	return nil
}

// serverOf returns v as what it is in here.
func (r *router) serverOf(v mafalda.WebRTCServer) (*server, error) {
	x, ok := v.(*server)
	switch {
	case !ok:
		return nil, fmt.Errorf("WebRTCServer is a %T, of another implementation: %w", v, mafalda.ErrInvalidArgument)
	case x == nil:
		return nil, fmt.Errorf("WebRTCServer is nil: %w", mafalda.ErrInvalidArgument)
	case x.w != r.w:
		return nil, fmt.Errorf("WebRTCServer %s is of another Worker: %w", x.id, mafalda.ErrInvalidArgument)
	case x.Closed():
		return nil, fmt.Errorf("WebRTCServer %s is closed: %w", x.id, mafalda.ErrInvalidState)
	}
	return x, nil
}

func (x *server) fail(op string, err error) error {
	return &mafalda.Error{Op: op, Object: "WebRTCServer", ID: x.id, Err: cause(failure(x, err))}
}

// Dump implements [mafalda.WebRTCServer], with the sockets of all real Workers.
func (x *server) Dump(ctx context.Context) (mafalda.WebRTCServerDump, error) {
	d := mafalda.WebRTCServerDump{
		ID: x.id, UDPSockets: []mafalda.IPPort{}, TCPServers: []mafalda.IPPort{},
		WebRTCTransportIDs: []string{}, LocalICEUsernameFragments: []mafalda.ICEUsernameOwner{},
	}
	err := ctx.Err()
	if err == nil && x.Closed() {
		err = mafalda.ErrClosed
	}
	if err != nil {
		return d, x.fail("Dump", err)
	}
	x.w.s.mu.Lock()
	reals := slices.Clone(x.reals)
	x.w.s.mu.Unlock()
	for _, y := range reals {
		select {
		case <-y.ready:
		default: // being opened just now
			continue
		}
		if y.inner == nil {
			continue
		}
		p, err := y.inner.Dump(ctx)
		switch {
		case err == nil:
		case errors.Is(err, mafalda.ErrClosed) && !x.Closed():
			continue
		default:
			return d, x.fail("Dump", err)
		}
		d.UDPSockets = append(d.UDPSockets, p.UDPSockets...)
		d.TCPServers = append(d.TCPServers, p.TCPServers...)
		d.WebRTCTransportIDs = append(d.WebRTCTransportIDs, p.WebRTCTransportIDs...)
		d.LocalICEUsernameFragments = append(d.LocalICEUsernameFragments, p.LocalICEUsernameFragments...)
	}
	return d, nil
}

// unhandled says that a Transport is gone.
func (x *server) unhandled(t transport) {
	x.w.s.mu.Lock()
	x.transports = without(x.transports, t)
	x.w.s.mu.Unlock()
	x.observer.WebRTCTransportUnhandled.Emit(t.(mafalda.WebRTCTransport))
}

// closeLocked marks x and the Transports on it as closed.
func (x *server) closeLocked(c *wrap.Closing, cause *mafalda.Event[struct{}]) {
	if !c.Begin(&x.Life) {
		return
	}
	for _, t := range x.transports {
		closed := t.Closed()
		if !closed {
			t.part().serverClosing = true
		}
		t.CloseIn(c, &t.Events().ListenServerClose) // or waits for its end
		if !closed {
			c.Do(func() { x.unhandled(t) })
		}
	}
	c.Emit(cause)
	c.Emit(&x.observer.Close)
	for _, y := range x.reals {
		c.Inner(y)
	}
	c.Do(func() {
		x.w.s.mu.Lock()
		defer x.w.s.mu.Unlock()
		x.w.servers = without(x.w.servers, x)
	})
	c.End(&x.Life)
}

// Close implements [mafalda.WebRTCServer].
func (x *server) Close() error {
	var c wrap.Closing
	s := x.w.s
	s.mu.Lock()
	if x.Closed() {
		s.mu.Unlock()
		return nil
	}
	transports := slices.Clone(x.transports)
	x.closeLocked(&c, nil)
	for _, t := range transports {
		t.part().orphansLocked(&c)
	}
	s.mu.Unlock()
	return c.Play()
}
