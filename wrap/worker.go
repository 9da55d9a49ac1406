package wrap

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/mafalda-sfu/mafalda"
)

// A Worker passes everything through to an inner one.
type Worker struct {
	object[mafalda.Worker]
	events   mafalda.WorkerEvents
	observer mafalda.WorkerObserver

	routers, servers children
	meter            loadMeter
}

var (
	_ mafalda.Worker          = (*Worker)(nil)
	_ mafalda.LoadReporter    = (*Worker)(nil)
	_ mafalda.CounterReporter = (*Worker)(nil)
	_ mafalda.Killer          = (*Worker)(nil)
)

func newWorker(s *Space, inner mafalda.Worker) *Worker {
	w := new(Worker)
	w.init(s, inner)
	return w
}

func (w *Worker) begin(outer any) {
	w.outer = outer
	l, s := &w.Life, w.s
	cause(l, &w.inner.Events().Died, &w.events.Died)
	from, to := w.inner.Observer(), &w.observer
	birth(l, &from.NewWebRTCServer, &to.NewWebRTCServer, s.WebRTCServer, &w.servers)
	birth(l, &from.NewRouter, &to.NewRouter, s.Router, &w.routers)
	s.end(l, &from.Close, &to.Close)
}

// CloseIn adds the closing of the Worker, with what is in it, to c.
func (w *Worker) CloseIn(c *Closing) {
	c.Inner(w.inner)
	if !c.Begin(&w.Life) {
		return
	}
	w.routers.mark(c)
	w.servers.mark(c)
	c.Emit(&w.observer.Close)
	c.End(&w.Life)
}

// PID implements [mafalda.Worker].
func (w *Worker) PID() int { return w.inner.PID() }

// Died implements [mafalda.Worker].
func (w *Worker) Died() bool { return w.inner.Died() }

// CreateWebRTCServer implements [mafalda.Worker].
func (w *Worker) CreateWebRTCServer(ctx context.Context, o mafalda.WebRTCServerOptions) (mafalda.WebRTCServer, error) {
	defer w.s.call()()
	x, err := w.inner.CreateWebRTCServer(ctx, o)
	return met(x, err, w.s.WebRTCServer, w.fail)
}

// CreateRouter implements [mafalda.Worker].
func (w *Worker) CreateRouter(ctx context.Context, o mafalda.RouterOptions) (mafalda.Router, error) {
	defer w.s.call()()
	r, err := w.inner.CreateRouter(ctx, o)
	return met(r, err, w.s.Router, w.fail)
}

// WebRTCServers implements [mafalda.Worker].
func (w *Worker) WebRTCServers() []mafalda.WebRTCServer {
	return outers(w.inner.WebRTCServers(), w.s.WebRTCServer, &w.servers)
}

// Routers implements [mafalda.Worker].
func (w *Worker) Routers() []mafalda.Router {
	return outers(w.inner.Routers(), w.s.Router, &w.routers)
}

// UpdateSettings implements [mafalda.Worker].
func (w *Worker) UpdateSettings(ctx context.Context, s mafalda.WorkerUpdateableSettings) error {
	return w.fail(w.inner.UpdateSettings(ctx, s))
}

// Dump implements [mafalda.Worker].
func (w *Worker) Dump(ctx context.Context) (mafalda.WorkerDump, error) {
	d, err := w.inner.Dump(ctx)
	return d, w.fail(err)
}

// ResourceUsage implements [mafalda.Worker].
func (w *Worker) ResourceUsage(ctx context.Context) (mafalda.WorkerResourceUsage, error) {
	u, err := w.inner.ResourceUsage(ctx)
	return u, w.fail(err)
}

// Events implements [mafalda.Worker].
func (w *Worker) Events() *mafalda.WorkerEvents { return &w.events }

// Observer implements [mafalda.Worker].
func (w *Worker) Observer() *mafalda.WorkerObserver { return &w.observer }

// Load implements [mafalda.LoadReporter]. Of an inner Worker that is none, it
// knows the CPU only, by its resource usage.
func (w *Worker) Load(ctx context.Context) (mafalda.Load, error) {
	if r, ok := w.inner.(mafalda.LoadReporter); ok {
		l, err := r.Load(ctx)
		return l, w.fail(err)
	}
	u, err := w.ResourceUsage(ctx)
	if err != nil {
		return mafalda.Load{}, err
	}
	return w.meter.read(time.Now(), u), nil
}

// Counters implements [mafalda.CounterReporter]. The error is
// [errors.ErrUnsupported] if the inner Worker is none.
func (w *Worker) Counters(ctx context.Context) (mafalda.Counters, error) {
	r, ok := w.inner.(mafalda.CounterReporter)
	if !ok {
		return mafalda.Counters{}, w.unsupported("Counters")
	}
	c, err := r.Counters(ctx)
	return c, w.fail(err)
}

// Kill implements [mafalda.Killer]. The error is [errors.ErrUnsupported] if the
// inner Worker is none.
func (w *Worker) Kill(reason error) error {
	k, ok := w.inner.(mafalda.Killer)
	if !ok {
		return w.unsupported("Kill")
	}
	return w.fail(k.Kill(reason))
}

func (w *Worker) unsupported(op string) error {
	return w.fail(&mafalda.Error{Op: op, Object: "Worker", ID: w.ID(), Err: errors.ErrUnsupported})
}

// A loadMeter makes loads of readings of the resource usage. Readings less than
// a second apart give the same.
type loadMeter struct {
	mu   sync.Mutex
	at   time.Time // guarded by mu; of the last reading
	last mafalda.WorkerResourceUsage
	load mafalda.Load
}

func (m *loadMeter) read(now time.Time, u mafalda.WorkerResourceUsage) mafalda.Load {
	m.mu.Lock()
	defer m.mu.Unlock()
	if elapsed := now.Sub(m.at); m.at.IsZero() {
		m.at, m.last = now, u
	} else if elapsed >= time.Second {
		m.load = mafalda.LoadBetween(m.last, u, elapsed)
		m.at, m.last = now, u
	}
	return m.load
}
