package vertical

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"sync"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/wrap"
)

// A worker is a virtual Worker.
type worker struct {
	wrap.Life
	appData
	// Constant after newWorker.
	s  *SFU
	id string

	identity func() (identity, error) // of its WebRTCTransports

	events   mafalda.WorkerEvents
	observer mafalda.WorkerObserver

	// Guarded by s.mu.
	key          string // of settings, which real Workers of it have
	settings     mafalda.WorkerSettings
	routers      []*router       // in order of creation, until they have ended
	servers      []*server       // the same
	ids          map[string]bool // of Producers and DataProducers
	utime, stime float64         // ms of CPU used on real Workers
	died         bool
}

var (
	_ mafalda.Worker       = (*worker)(nil)
	_ mafalda.LoadReporter = (*worker)(nil)
	_ mafalda.Killer       = (*worker)(nil)
)

func newWorker(s *SFU, settings mafalda.WorkerSettings) *worker {
	settings.LogTags = slices.Clone(settings.LogTags)
	w := &worker{s: s, id: newID(), key: settingsKey(&settings), settings: settings, ids: map[string]bool{}}
	w.identity = sync.OnceValues(func() (x identity, err error) {
		if settings.DTLSCertificateFile == "" && settings.WorkerBin == "" {
			x.certificate, x.key, err = mafalda.GenerateDTLSCertificate()
		}
		return x, err
	})
	w.Life.Init()
	w.v = settings.AppData
	return w
}

// An identity is a DTLS certificate and its key in PEM. An empty one is that of the
// real Workers: from their settings, or each its own.
type identity struct{ certificate, key string }

// try starts a real Worker to see whether the settings are good, unless there is
// one. It stays for a while.
func (w *worker) try(ctx context.Context) error {
	x, err := w.place(ctx, func(*realWorker) bool { return false }, nil)
	if err == nil {
		w.leave(x)
	}
	return err
}

func (w *worker) log(what string) {
	if l := w.settings.Logger; l != nil && w.settings.LogLevel == mafalda.LogLevelDebug {
		l.Debug(what, slog.String("worker", w.id))
	}
}

func (w *worker) ID() string                        { return w.id }
func (w *worker) PID() int                          { return os.Getpid() }
func (w *worker) Events() *mafalda.WorkerEvents     { return &w.events }
func (w *worker) Observer() *mafalda.WorkerObserver { return &w.observer }

func (w *worker) Died() bool {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	return w.died
}

func (w *worker) Routers() []mafalda.Router {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	return opened[mafalda.Router](w.routers)
}

func (w *worker) WebRTCServers() []mafalda.WebRTCServer {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	return opened[mafalda.WebRTCServer](w.servers)
}

// fail returns err as what the method op returns.
func (w *worker) fail(op string, err error) error {
	return &mafalda.Error{Op: op, Object: "Worker", ID: w.id, Err: cause(err)}
}

// check returns the error of a call that must not go on.
func (w *worker) check(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if w.Closed() {
		return mafalda.ErrWorkerClosed
	}
	return nil
}

func (w *worker) CreateRouter(ctx context.Context, o mafalda.RouterOptions) (mafalda.Router, error) {
	const op = "CreateRouter"
	caps, err := mafalda.GenerateRouterRTPCapabilities(o.MediaCodecs)
	if err == nil {
		err = w.check(ctx)
	}
	if err != nil {
		return nil, w.fail(op, err)
	}
	r := newRouter(w, caps, o)
	w.s.mu.Lock()
	if w.Closed() {
		w.s.mu.Unlock()
		return nil, w.fail(op, mafalda.ErrWorkerClosed)
	}
	w.routers = append(w.routers, r)
	w.s.mu.Unlock()
	w.observer.NewRouter.Emit(r)
	r.Born()
	return r, nil
}

func (w *worker) UpdateSettings(ctx context.Context, u mafalda.WorkerUpdateableSettings) error {
	const op = "UpdateSettings"
	err := u.Validate()
	if err == nil {
		err = w.check(ctx)
	}
	if err != nil {
		return w.fail(op, err)
	}
	w.s.mu.Lock()
	w.settings.LogLevel = cmp.Or(u.LogLevel, w.settings.LogLevel)
	if u.LogTags != nil {
		w.settings.LogTags = slices.Clone(u.LogTags)
	}
	w.key = settingsKey(&w.settings)
	var own []*realWorker
	for _, x := range w.usedLocked() {
		if len(x.users) == 1 && x.fitsLocked(w.key) { // nobody else is there
			x.key = w.key
			own = append(own, x)
		}
	}
	w.s.mu.Unlock()
	for _, x := range own {
		if err := x.inner.UpdateSettings(ctx, u); err != nil && !errors.Is(err, mafalda.ErrClosed) {
			return w.fail(op, err)
		}
	}
	return nil
}

// fitsLocked reports whether x can be one of the real Workers with the settings of
// key, of which there are at most MaxWorkers, and one on each CPU. One that is being
// closed counts, as in choose: it has its CPU until it is gone. If x does not fit it
// stays what it is, for those who have its settings and for what is there.
func (x *realWorker) fitsLocked(key string) bool {
	n := 0
	for _, y := range x.s.real {
		if y == x || y.key != key {
			continue
		}
		if n++; y.cpu == x.cpu {
			return false
		}
	}
	return n < *x.s.opts.MaxWorkers
}

// usedLocked returns the real Workers on which w has something.
func (w *worker) usedLocked() []*realWorker {
	var used []*realWorker
	for _, x := range w.s.real {
		select {
		case <-x.ready:
			if x.users[w] > 0 && x.inner != nil {
				used = append(used, x)
			}
		default:
		}
	}
	return used
}

func (w *worker) Dump(ctx context.Context) (mafalda.WorkerDump, error) {
	if err := w.check(ctx); err != nil {
		return mafalda.WorkerDump{}, w.fail("Dump", err)
	}
	d := mafalda.WorkerDump{
		PID: w.PID(), WebRTCServerIDs: []string{}, RouterIDs: []string{},
		MessageHandlers: mafalda.WorkerMessageHandlers{RequestHandlers: []string{}, NotificationHandlers: []string{}},
	}
	requests, notifications := &d.MessageHandlers.RequestHandlers, &d.MessageHandlers.NotificationHandlers
	for _, x := range w.WebRTCServers() {
		d.WebRTCServerIDs = append(d.WebRTCServerIDs, x.ID())
		*requests = append(*requests, x.ID())
	}
	for _, r := range w.Routers() {
		d.RouterIDs = append(d.RouterIDs, r.ID())
		*requests = append(*requests, r.ID())
		for _, x := range r.RTPObservers() {
			*requests = append(*requests, x.ID())
		}
		for _, t := range r.Transports() {
			*requests = append(*requests, t.ID())
			*notifications = append(*notifications, t.ID())
			for _, p := range t.Producers() {
				*requests = append(*requests, p.ID())
				*notifications = append(*notifications, p.ID())
			}
			for _, c := range t.Consumers() {
				*requests = append(*requests, c.ID())
			}
			for _, p := range t.DataProducers() {
				*requests = append(*requests, p.ID())
				*notifications = append(*notifications, p.ID())
			}
			for _, c := range t.DataConsumers() {
				*requests = append(*requests, c.ID())
			}
		}
	}
	return d, nil
}

// ResourceUsage implements [mafalda.Worker]: the CPU that real Workers used for w,
// by its part of what they had.
func (w *worker) ResourceUsage(ctx context.Context) (mafalda.WorkerResourceUsage, error) {
	if err := w.check(ctx); err != nil {
		return mafalda.WorkerResourceUsage{}, w.fail("ResourceUsage", err)
	}
	w.s.mu.Lock()
	used := w.usedLocked()
	w.s.mu.Unlock()
	for _, x := range used {
		x.account(ctx)
	}
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	return mafalda.WorkerResourceUsage{Utime: uint64(w.utime), Stime: uint64(w.stime)}, nil
}

// Load implements [mafalda.LoadReporter]: what real Workers do for w, by its part
// of what they have. It is measured once a second.
func (w *worker) Load(ctx context.Context) (mafalda.Load, error) {
	if err := w.check(ctx); err != nil {
		return mafalda.Load{}, w.fail("Load", err)
	}
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	var l mafalda.Load
	for _, x := range w.usedLocked() {
		part := float64(x.users[w]) / float64(x.uses)
		l.CPU += x.load.CPU * part
		l.PacketsPerSecond += x.load.PacketsPerSecond * part
		l.BytesPerSecond += x.load.BytesPerSecond * part
		l.MaxTurn = max(l.MaxTurn, x.load.MaxTurn)
	}
	return l, nil
}

// Kill implements [mafalda.Killer]: the virtual Worker dies as a whole. The real
// ones go on, for others.
func (w *worker) Kill(reason error) error {
	if reason == nil {
		reason = errors.New("killed")
	}
	var c wrap.Closing
	w.s.mu.Lock()
	if w.Closed() {
		w.s.mu.Unlock()
		return w.fail("Kill", mafalda.ErrWorkerClosed)
	}
	w.died = true
	w.closeLocked(&c, func() { w.events.Died.Emit(reason) })
	w.s.mu.Unlock()
	return c.Play()
}

// closeLocked marks w and what it has as closed; cause is an event to emit before
// Close, or nil.
func (w *worker) closeLocked(c *wrap.Closing, cause func()) {
	if !c.Begin(&w.Life) {
		return
	}
	for _, r := range w.routers {
		r.closeLocked(c, &r.events.WorkerClose)
	}
	for _, x := range w.servers {
		x.closeLocked(c, &x.events.WorkerClose)
	}
	if cause != nil {
		c.Do(cause)
	}
	c.Emit(&w.observer.Close)
	c.Do(func() {
		w.s.mu.Lock()
		defer w.s.mu.Unlock()
		w.s.workers = without(w.s.workers, w)
		w.routers, w.servers = nil, nil
	})
	c.End(&w.Life)
}

// Close implements [mafalda.Worker].
func (w *worker) Close() error {
	var c wrap.Closing
	w.s.mu.Lock()
	if w.Closed() {
		w.s.mu.Unlock()
		return nil
	}
	w.closeLocked(&c, nil)
	w.s.mu.Unlock()
	w.log("virtual Worker closed")
	return c.Play()
}
