package vertical_test

import (
	"context"
	"errors"
	"math"
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

// A gated is the SFU below, which waits, fails or returns nothing when it is told
// to.
type gated struct {
	mu sync.Mutex
	do map[string]func(first func()) // guarded by mu; by method
}

// at has f called in a method of any object, once; first is the method itself.
func (g *gated) at(op string, f func(first func())) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.do[op] = f
}

// pass calls first, or what the test wants instead.
func (g *gated) pass(op string, first func()) {
	g.mu.Lock()
	f := g.do[op]
	delete(g.do, op)
	g.mu.Unlock()
	if f == nil {
		first()
		return
	}
	f(first)
}

type gatedSFU struct {
	*wrap.SFU
	g *gated
}

func (s *gatedSFU) CreateWorker(ctx context.Context, o mafalda.WorkerSettings) (w mafalda.Worker, err error) {
	s.g.pass("CreateWorker", func() { w, err = s.SFU.CreateWorker(ctx, o) })
	return w, err
}

type gatedWorker struct {
	*wrap.Worker
	g *gated
}

type gatedRouter struct {
	*wrap.Router
	g *gated
}

func (w *gatedWorker) Close() (err error) {
	w.g.pass("Worker.Close", func() { err = w.Worker.Close() })
	return err
}

func (w *gatedWorker) CreateRouter(ctx context.Context, o mafalda.RouterOptions) (r mafalda.Router, err error) {
	w.g.pass("CreateRouter", func() { r, err = w.Worker.CreateRouter(ctx, o) })
	return r, err
}

func (w *gatedWorker) CreateWebRTCServer(ctx context.Context, o mafalda.WebRTCServerOptions) (x mafalda.WebRTCServer, err error) {
	w.g.pass("CreateWebRTCServer", func() { x, err = w.Worker.CreateWebRTCServer(ctx, o) })
	return x, err
}

func (r *gatedRouter) CreateDirectTransport(ctx context.Context, o mafalda.DirectTransportOptions) (t mafalda.DirectTransport, err error) {
	r.g.pass("CreateDirectTransport", func() { t, err = r.Router.CreateDirectTransport(ctx, o) })
	return t, err
}

func (r *gatedRouter) UpdateMediaCodecs(ctx context.Context, codecs []mafalda.RouterRTPCodecCapability) (err error) {
	r.g.pass("UpdateMediaCodecs", func() { err = r.Router.UpdateMediaCodecs(ctx, codecs) })
	return err
}

func (r *gatedRouter) PipeToRouter(ctx context.Context, o mafalda.PipeToRouterOptions) (p mafalda.PipeToRouterResult, err error) {
	r.g.pass("PipeToRouter", func() { p, err = r.Router.PipeToRouter(ctx, o) })
	return p, err
}

// before is a gate before an event is heard by who comes later.
func before[T any](g *gated, op string, e *mafalda.Event[T]) {
	e.On(func(T) { g.pass(op, func() {}) })
}

// newGated returns a room over a gated SFU.
func newGated(t *testing.T, o vertical.Options) (*room, *gated) {
	t.Helper()
	g := &gated{do: map[string]func(func()){}}
	s := wrap.NewSpace(wrap.Hooks{
		Worker: func(w *wrap.Worker) mafalda.Worker { return &gatedWorker{w, g} },
		Router: func(r *wrap.Router) mafalda.Router {
			before(g, "NewTransport", &r.Observer().NewTransport)
			return &gatedRouter{r, g}
		},
		DirectTransport: func(d *wrap.DirectTransport) mafalda.DirectTransport {
			before(g, "NewProducer", &d.Observer().NewProducer)
			before(g, "NewConsumer", &d.Observer().NewConsumer)
			before(g, "NewDataConsumer", &d.Observer().NewDataConsumer)
			return d
		},
		DataProducer: func(p *wrap.DataProducer) mafalda.DataProducer {
			before(g, "Pause", &p.Observer().Pause)
			return p
		},
	})
	return newRoomOn(t, &gatedSFU{s.SFU(mafalda.New()), g}, o), g
}

// reaped waits until nothing is left below.
func (r *room) reaped(t *testing.T) {
	t.Helper()
	assert.Eventually(t, func() bool { return len(r.inner.Workers()) == 0 }, patience, time.Millisecond)
	if t.Failed() {
		t.Fatal(r.sfu.Left())
	}
}

// TestCancelledMidWay cancels calls while what they need is being made: it is
// closed when it is there.
func TestCancelledMidWay(t *testing.T) {
	for op, call := range map[string]func(*room, context.Context) error{
		"CreateRouter": func(r *room, ctx context.Context) error {
			_, err := r.router.CreateDirectTransport(ctx, mafalda.DirectTransportOptions{})
			return err
		},
		"CreateWebRTCServer": func(r *room, ctx context.Context) error {
			_, err := r.worker.CreateWebRTCServer(ctx, mafalda.WebRTCServerOptions{ListenInfos: udp})
			return err
		},
	} {
		t.Run(op, func(t *testing.T) {
			r, g := newGated(t, now(1))
			ctx, cancel := context.WithCancel(t.Context())
			returned := make(chan struct{})
			g.at(op, func(first func()) {
				cancel()
				<-returned
				first()
			})
			err := call(r, ctx)
			require.ErrorIs(t, err, context.Canceled)
			close(returned)
			r.reaped(t)
		})
	}
	t.Run("ports on another Worker", func(t *testing.T) {
		r, g := newGated(t, now(2))
		x := r.server(t, udp...)
		ctx, cancel := context.WithCancel(t.Context())
		returned := make(chan struct{})
		g.at("CreateWebRTCServer", func(first func()) {
			cancel()
			<-returned
			first()
		})
		_, err := r.router.CreateWebRTCTransport(ctx, mafalda.WebRTCTransportOptions{WebRTCServer: x})
		require.ErrorIs(t, err, context.Canceled)
		close(returned)
		eventually(t, "the first port is left", func() bool {
			return len(r.inner.Workers()) == 1 && len(r.inner.Workers()[0].WebRTCServers()) == 1
		})
		require.NoError(t, x.Close())
		r.reaped(t)
	})
}

// TestClosedBeforeMet closes a Transport when the SFU below has made something on it,
// and nobody here was told of it.
func TestClosedBeforeMet(t *testing.T) {
	r, g := newGated(t, now(2))
	for _, op := range []string{"NewProducer", "NewConsumer", "NewDataConsumer"} {
		in, out := r.direct(t), r.direct(t)
		p := produce(t, in)
		data, err := in.ProduceData(t.Context(), mafalda.DataProducerOptions{})
		require.NoError(t, err)
		closed := in
		if op != "NewProducer" {
			closed = out
		}
		// The near ends of pipes are not on these.
		g.at(op, func(func()) { assert.NoError(t, closed.Close()) })
		var end mafalda.Lifetime
		switch op {
		case "NewProducer":
			o := mafalda.ProducerOptions{ID: "mine", Kind: mafalda.MediaKindAudio, RTPParameters: p.RTPParameters()}
			o.RTPParameters.MID, o.RTPParameters.Encodings[0].SSRC = "", 2
			end, err = in.Produce(t.Context(), o)
		case "NewConsumer":
			end, err = r.consume(t.Context(), out, p)
		case "NewDataConsumer":
			end, err = out.ConsumeData(t.Context(), mafalda.DataConsumerOptions{DataProducerID: data.ID()})
		}
		require.NoError(t, err)
		<-end.Done()
		eventually(t, "it is not counted", func() bool {
			u := r.sfu.Usage()
			return u.Consumers == 0 && u.Pipes == 0 && u.Producers <= 2
		})
		require.NoError(t, in.Close())
		require.NoError(t, out.Close())
	}
	r.reaped(t)
}

// TestRouterClosesUnderCreation closes a Router when a Transport has been made, and
// nobody here was told of it.
func TestRouterClosesUnderCreation(t *testing.T) {
	o := now(1)
	o.Linger = time.Hour
	r, g := newGated(t, o)
	other := &room{router: newRouter(t, r.worker)}
	other.direct(t)
	g.at("NewTransport", func(func()) { assert.NoError(t, r.router.Close()) })
	_, err := r.router.CreateDirectTransport(t.Context(), mafalda.DirectTransportOptions{})
	require.ErrorIs(t, err, mafalda.ErrClosed)
	<-r.router.Done()
	require.Equal(t, 1, r.sfu.Usage().Workers[0].Transports, "that of the other one")
}

// TestReplacesAWorkerThatIsClosing asks for a Worker while the only one there may
// be is being closed.
func TestReplacesAWorkerThatIsClosing(t *testing.T) {
	o := now(1)
	o.Registry = new(counted)
	r, g := newGated(t, o)
	closing, created := make(chan struct{}), make(chan error, 1)
	g.at("Worker.Close", func(first func()) {
		close(closing)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := r.router.CreateDirectTransport(ctx, mafalda.DirectTransportOptions{})
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		go func() { // ends when it is received from
			_, err := r.router.CreateDirectTransport(t.Context(), mafalda.DirectTransportOptions{})
			created <- err
		}()
		first()
	})
	require.NoError(t, r.direct(t).Close())
	<-closing
	require.NoError(t, <-created)
	require.Len(t, r.inner.Workers(), 1)
}

// TestDeadWorkerIsNoExcuse has the SFU below make nothing without saying why, and
// kills a Worker on which the ports of a WebRTCServer are being opened.
func TestDeadWorkerIsNoExcuse(t *testing.T) {
	r, g := newGated(t, now(2))
	d, out := r.direct(t), r.direct(t)
	p := produce(t, d)
	g.at("PipeToRouter", func(func()) {})
	_, err := r.consume(t.Context(), out, p)
	require.ErrorIs(t, err, mafalda.ErrUnavailable, "nothing was made, and nobody says why")
	_, err = r.consume(t.Context(), out, p)
	require.NoError(t, err)
	g.at("CreateDirectTransport", func(func()) {})
	_, err = r.router.CreateDirectTransport(t.Context(), mafalda.DirectTransportOptions{})
	require.ErrorIs(t, err, mafalda.ErrUnavailable)

	g.at("CreateWebRTCServer", func(first func()) {
		for _, w := range r.inner.Workers() {
			assert.NoError(t, w.(mafalda.Killer).Kill(errors.New("planted")))
		}
		first()
	})
	r.server(t, udp...) // there are others
	<-d.Done()
}

// TestPausedByTwo has events of a DataProducer come in another order than that in
// which it was paused and resumed.
func TestPausedByTwo(t *testing.T) {
	r, g := newGated(t, now(2))
	in, out := r.direct(t), r.direct(t)
	p, err := in.ProduceData(t.Context(), mafalda.DataProducerOptions{})
	require.NoError(t, err)
	c, err := out.ConsumeData(t.Context(), mafalda.DataConsumerOptions{DataProducerID: p.ID()})
	require.NoError(t, err)
	told := false
	c.Events().DataProducerPause.On(func(struct{}) { told = true })
	c.Events().DataProducerResume.On(func(struct{}) { told = false })
	g.at("Pause", func(func()) { assert.NoError(t, p.Resume(t.Context())) })
	require.NoError(t, p.Pause(t.Context()))
	require.False(t, p.Paused())
	require.False(t, c.DataProducerPaused())
	require.False(t, told)
	require.NoError(t, p.Pause(t.Context()))
	require.True(t, c.DataProducerPaused())
	require.True(t, told)
}

// TestWatchersForget adds a Producer to an RTPObserver and removes it, many times.
func TestWatchersForget(t *testing.T) {
	r := newRoom(t, workers(2))
	o, err := r.router.CreateAudioLevelObserver(t.Context(), mafalda.AudioLevelObserverOptions{})
	require.NoError(t, err)
	p := produce(t, r.direct(t))
	before := vertical.CloseListeners(p)
	for range 20 {
		require.NoError(t, o.AddProducer(t.Context(), p.ID()))
		require.NoError(t, o.RemoveProducer(t.Context(), p.ID()))
	}
	require.Equal(t, before, vertical.CloseListeners(p))
}

func TestWatermarksAreNumbers(t *testing.T) {
	for _, o := range []vertical.Options{
		{WatermarkWorker: math.NaN()}, {WatermarkNode: math.NaN()},
		{WatermarkWorker: math.Inf(1)}, {WatermarkNode: math.Inf(1)},
	} {
		sfu := vertical.New(mafalda.New(), o)
		_, err := sfu.CreateWorker(t.Context(), mafalda.WorkerSettings{})
		require.ErrorIs(t, err, mafalda.ErrInvalidArgument)
		require.NoError(t, sfu.Close())
	}
}

// TestRealRouterIsClosed closes the real Router of a virtual one, which goes on.
func TestRealRouterIsClosed(t *testing.T) {
	r, g := newGated(t, now(1))
	old := r.direct(t)
	g.at("CreateDirectTransport", func(first func()) {
		for _, x := range r.inner.Workers()[0].Routers() {
			assert.NoError(t, x.Close())
		}
		first()
	})
	fresh := r.direct(t)
	<-old.Done()
	require.False(t, r.router.Closed())
	require.Equal(t, []mafalda.Transport{fresh}, r.router.Transports())
}

// A failing Registry has one CPU, and then an error.
type failing struct{ taken atomic.Bool }

func (f *failing) Acquire(int) (func(), error) {
	if f.taken.Swap(true) {
		return nil, errors.New("planted")
	}
	return func() {}, nil
}

// TestRegistryFails has a Registry that breaks: what is there is used.
func TestRegistryFails(t *testing.T) {
	o := now(3)
	o.Registry = new(failing)
	r, g := newGated(t, o)
	for range 3 {
		r.direct(t)
	}
	require.Len(t, r.inner.Workers(), 1)

	// The same when the Worker itself can't be started.
	w, err := r.sfu.CreateWorker(t.Context(), mafalda.WorkerSettings{RTCMinPort: 20000, RTCMaxPort: 20999})
	require.NoError(t, err)
	g.at("CreateWorker", func(func()) {})
	other := &room{router: newRouter(t, w)}
	_, err = other.router.CreateDirectTransport(t.Context(), mafalda.DirectTransportOptions{})
	require.ErrorIs(t, err, mafalda.ErrUnavailable)
	other.direct(t)
}

// TestCodecsAreUpdatedAllTheSame cancels UpdateMediaCodecs between two real Routers.
func TestCodecsAreUpdatedAllTheSame(t *testing.T) {
	r, g := newGated(t, workers(2))
	transports := []mafalda.Transport{r.direct(t), r.direct(t)}
	ctx, cancel := context.WithCancel(t.Context())
	returned := make(chan struct{})
	g.at("UpdateMediaCodecs", func(first func()) {
		cancel()
		<-returned
		first()
	})
	require.ErrorIs(t, r.router.UpdateMediaCodecs(ctx, bothCodecs[1:]), context.Canceled)
	close(returned)
	for _, tr := range transports {
		eventually(t, "no audio any more", func() bool {
			p, err := tr.Produce(t.Context(), audioOf(1))
			if err == nil {
				_ = p.Close()
			}
			return errors.Is(err, errors.ErrUnsupported)
		})
	}
}
