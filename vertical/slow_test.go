package vertical_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/vertical"
	"github.com/mafalda-sfu/mafalda/wrap"
)

// A gate lets calls of an inner SFU wait, as if it were far away.
type gate struct {
	closed  atomic.Bool
	arrived chan struct{} // one for each call that waits
	open    chan struct{} // closed when they may go on
}

func newGate() *gate { return &gate{arrived: make(chan struct{}, 16), open: make(chan struct{})} }

func (g *gate) pass() {
	if g.closed.Load() {
		g.arrived <- struct{}{}
		<-g.open
	}
}

// A slowWorker waits at a gate before it creates something.
type slowWorker struct {
	*wrap.Worker
	g *gate
}

func (w *slowWorker) CreateRouter(ctx context.Context, o mafalda.RouterOptions) (mafalda.Router, error) {
	w.g.pass()
	return w.Worker.CreateRouter(ctx, o)
}

func (w *slowWorker) CreateWebRTCServer(ctx context.Context, o mafalda.WebRTCServerOptions) (mafalda.WebRTCServer, error) {
	w.g.pass()
	return w.Worker.CreateWebRTCServer(ctx, o)
}

// A slowRouter waits at a gate before it pipes.
type slowRouter struct {
	*wrap.Router
	g *gate
}

func (r *slowRouter) PipeToRouter(ctx context.Context, o mafalda.PipeToRouterOptions) (mafalda.PipeToRouterResult, error) {
	r.g.pass()
	return r.Router.PipeToRouter(ctx, o)
}

// newSlowRoom is newRoom, with a gate below.
func newSlowRoom(t testing.TB, o vertical.Options) (*room, *gate) {
	t.Helper()
	g := newGate()
	r := newRoomOn(t, wrap.NewSpace(wrap.Hooks{
		Worker: func(w *wrap.Worker) mafalda.Worker { return &slowWorker{w, g} },
		Router: func(r *wrap.Router) mafalda.Router { return &slowRouter{r, g} },
	}).SFU(mafalda.New()), o)
	return r, g
}

// giveUp has f wait at the gate, ends its context, and lets what it left behind go on.
func (g *gate) giveUp(t testing.TB, f func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	g.closed.Store(true)
	answer := make(chan error, 1)
	go func() { answer <- f(ctx) }() // ends with ctx
	<-g.arrived
	cancel()
	require.ErrorIs(t, <-answer, context.Canceled)
	g.closed.Store(false)
}

func TestWhoGivesUpLeavesNoRouter(t *testing.T) {
	r, g := newSlowRoom(t, now(1))
	g.giveUp(t, func(ctx context.Context) error {
		_, err := r.router.CreateDirectTransport(ctx, mafalda.DirectTransportOptions{})
		return err
	})
	// The linger is over before the Router is there.
	eventually(t, "nobody counts on it", func() bool { return vertical.RealRouters(r.router) == 0 })
	close(g.open)
	eventually(t, "what is empty is closed", func() bool { return len(r.inner.Workers()) == 0 })
}

func TestWhoGivesUpLeavesNoPort(t *testing.T) {
	r, g := newSlowRoom(t, now(2))
	server := r.server(t, udp...)
	// Two real Routers, so that nothing but a server has to be created.
	a, _, b := r.direct(t), r.direct(t), r.direct(t)
	require.False(t, vertical.SameWorker(a, b))
	// The next Transport goes where the server has no port yet.
	create := func(ctx context.Context) error {
		_, err := r.router.CreateWebRTCTransport(ctx, mafalda.WebRTCTransportOptions{WebRTCServer: server})
		return err
	}
	var late atomic.Pointer[mafalda.WebRTCServer]
	for _, w := range r.inner.Workers() {
		w.Observer().NewWebRTCServer.On(func(x mafalda.WebRTCServer) { late.Store(&x) })
	}
	g.giveUp(t, create)
	close(g.open)
	eventually(t, "the port that nobody wants is closed", func() bool {
		x := late.Load()
		return x != nil && (*x).Closed()
	})
	d, err := server.Dump(t.Context())
	require.NoError(t, err)
	require.Len(t, d.UDPSockets, 1)
}

// Pipes to one place are made at a time: where that takes long, sixty take no longer.
func TestPipesAreMadeAtATime(t *testing.T) {
	r, g := newSlowRoom(t, now(2))
	in, out := r.direct(t), r.direct(t)
	require.False(t, vertical.SameWorker(in, out))
	g.closed.Store(true)
	var consumers sync.WaitGroup
	for ssrc := range uint32(5) {
		p := produceSSRC(t, in, ssrc+1)
		consumers.Go(func() {
			_, err := r.consume(t.Context(), out, p)
			assert.NoError(t, err)
		})
	}
	for range 5 {
		select {
		case <-g.arrived:
		case <-time.After(patience):
			t.Error("one waits for the other")
		}
	}
	close(g.open)
	consumers.Wait()
	require.Equal(t, 5, r.sfu.Usage().Pipes)
}

// A fickleSFU starts so many Workers, and then no more.
type fickleSFU struct {
	mafalda.SFU
	left atomic.Int32
}

func (f *fickleSFU) CreateWorker(ctx context.Context, s mafalda.WorkerSettings) (mafalda.Worker, error) {
	if f.left.Add(-1) < 0 {
		return nil, &mafalda.Error{Op: "CreateWorker", Object: "SFU", Err: fmt.Errorf("too many open files: %w", mafalda.ErrUnavailable)}
	}
	return f.SFU.CreateWorker(ctx, s)
}

func TestWhatCanNotBeStartedIsNotNeeded(t *testing.T) {
	inner := &fickleSFU{SFU: mafalda.New()}
	r := newRoomOn(t, inner, now(4))
	_, err := r.router.CreateDirectTransport(t.Context(), mafalda.DirectTransportOptions{})
	require.ErrorContains(t, err, "too many open files")
	inner.left.Store(1)
	a, b := r.direct(t), r.direct(t)
	require.True(t, vertical.SameWorker(a, b))
}

// A Router that closes while it gets a Transport.
func TestUsageAfterACloseInBetween(t *testing.T) {
	r := newRoom(t, workers(1))
	other := &room{router: newRouter(t, r.worker)}
	other.direct(t)
	r.inner.Workers()[0].Observer().NewRouter.On(func(inner mafalda.Router) {
		inner.Observer().NewTransport.On(func(mafalda.Transport) { assert.NoError(t, r.router.Close()) })
	})
	_, err := r.router.CreateDirectTransport(t.Context(), mafalda.DirectTransportOptions{})
	require.ErrorIs(t, err, mafalda.ErrClosed)
	u := r.sfu.Usage()
	require.Equal(t, 1, u.Transports)
	require.Equal(t, 1, u.Workers[0].Transports)
}
