package mafalda

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/mafalda-sfu/mafalda/internal/engine"
)

// A worker is a [Worker] on a backend.
type worker struct {
	object
	// Constant after startWorker.
	sfu  *sfu
	back backend

	events   WorkerEvents
	observer WorkerObserver

	mu      sync.Mutex        // of the Worker and everything below it
	died    bool              // guarded by mu
	servers []*webRTCServer   // guarded by mu; in order of creation, until they have ended
	routers []*router         // guarded by mu; in order of creation, until they have ended
	meter   loadMeter         // guarded by mu; of a process
	targets map[string]target // guarded by mu; by id, from before its creation until it is closed

	stamps uint64 // owned by whoever does an operation of the backend
}

var (
	_ Worker       = (*worker)(nil)
	_ LoadReporter = (*worker)(nil)
	_ Killer       = (*worker)(nil)
)

// startWorker starts a Worker in this process, or in the one that the settings name.
// It is not born yet.
func startWorker(ctx context.Context, s *sfu, settings WorkerSettings) (*worker, error) {
	w := &worker{sfu: s, targets: map[string]target{}}
	w.init(w, "Worker", newID(), settings.AppData)
	var err error
	if settings.WorkerBin != "" {
		w.back, err = startProcess(ctx, w, &settings)
	} else {
		w.back, err = startEngine(w, &settings)
	}
	if err != nil {
		return nil, err
	}
	return w, nil
}

func (w *worker) PID() int                  { return w.back.PID() }
func (w *worker) Events() *WorkerEvents     { return &w.events }
func (w *worker) Observer() *WorkerObserver { return &w.observer }

func (w *worker) Died() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.died
}

func (w *worker) WebRTCServers() []WebRTCServer {
	w.mu.Lock()
	defer w.mu.Unlock()
	return open[WebRTCServer](w.servers)
}

func (w *worker) Routers() []Router {
	w.mu.Lock()
	defer w.mu.Unlock()
	return open[Router](w.routers)
}

func (w *worker) CreateWebRTCServer(ctx context.Context, o WebRTCServerOptions) (WebRTCServer, error) {
	const op = "CreateWebRTCServer"
	if err := o.Validate(); err != nil {
		return nil, w.fail(op, err)
	}
	s := newWebRTCServer(w, o.AppData)
	infos := engineListenInfos(o.ListenInfos)
	_, err := ask(ctx, &w.object, op, func(m machine) (struct{}, error) {
		return struct{}{}, m.CreateWebRTCServer(s.id, infos)
	})
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	if w.Closed() { // and with it the server, in the engine
		w.mu.Unlock()
		return nil, w.fail(op, ErrWorkerClosed)
	}
	w.servers = append(w.servers, s)
	w.mu.Unlock()
	w.observer.NewWebRTCServer.Emit(s)
	s.born.come()
	return s, nil
}

func (w *worker) CreateRouter(ctx context.Context, o RouterOptions) (Router, error) {
	const op = "CreateRouter"
	caps, err := GenerateRouterRTPCapabilities(o.MediaCodecs)
	if err != nil {
		return nil, w.fail(op, err)
	}
	r := newRouter(w, caps, o.AppData)
	_, err = ask(ctx, &w.object, op, func(m machine) (struct{}, error) {
		return struct{}{}, m.CreateRouter(r.id)
	})
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	if w.Closed() { // and with it the router, in the engine
		w.mu.Unlock()
		return nil, w.fail(op, ErrWorkerClosed)
	}
	w.routers = append(w.routers, r)
	w.mu.Unlock()
	w.observer.NewRouter.Emit(r)
	r.born.come()
	return r, nil
}

func (w *worker) UpdateSettings(ctx context.Context, s WorkerUpdateableSettings) error {
	const op = "UpdateSettings"
	err := s.Validate()
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = w.openError()
	}
	if err != nil {
		return w.fail(op, err)
	}
	if err := w.back.updateSettings(ctx, &s); err != nil {
		return w.fail(op, err)
	}
	return nil
}

func (w *worker) Dump(ctx context.Context) (WorkerDump, error) {
	d, err := ask(ctx, &w.object, "Dump", machine.Dump)
	if err != nil {
		return WorkerDump{}, err
	}
	return WorkerDump{
		PID:             w.PID(),
		WebRTCServerIDs: listed(d.WebRTCServerIDs),
		RouterIDs:       listed(d.RouterIDs),
		MessageHandlers: WorkerMessageHandlers{
			RequestHandlers:      listed(d.RequestHandlers),
			NotificationHandlers: listed(d.NotificationHandlers),
		},
	}, nil
}

func (w *worker) ResourceUsage(ctx context.Context) (WorkerResourceUsage, error) {
	u, err := ask(ctx, &w.object, "ResourceUsage", machine.Usage)
	if err != nil {
		return WorkerResourceUsage{}, err
	}
	return WorkerResourceUsage{
		Utime:   uint64(u.User.Milliseconds()),
		Stime:   uint64(u.System.Milliseconds()),
		Maxrss:  u.MaxRSS,
		Minflt:  u.MinorFaults,
		Majflt:  u.MajorFaults,
		Inblock: u.InBlock,
		Oublock: u.OutBlock,
		Nvcsw:   u.VoluntaryCS,
		Nivcsw:  u.InvoluntaryCS,
	}, nil
}

// Load implements [LoadReporter]. Of a process only CPU is known.
func (w *worker) Load(ctx context.Context) (Load, error) {
	l, err := ask(ctx, &w.object, "Load", onEngine((*engine.Machine).Load))
	if err == nil {
		return Load(l), nil
	}
	if !errors.Is(err, errors.ErrUnsupported) {
		return Load{}, err
	}
	u, err := w.ResourceUsage(ctx)
	if err != nil {
		return Load{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.meter.read(time.Now(), u), nil
}

// A loadMeter makes loads of readings of the resource usage. Readings less than
// a second apart give the same.
type loadMeter struct {
	at   time.Time // of the last reading
	last WorkerResourceUsage
	load Load
}

func (m *loadMeter) read(now time.Time, u WorkerResourceUsage) Load {
	if elapsed := now.Sub(m.at); m.at.IsZero() {
		m.at, m.last = now, u
	} else if elapsed >= time.Second {
		m.load = LoadBetween(m.last, u, elapsed)
		m.at, m.last = now, u
	}
	return m.load
}

// stampOnLoop numbers operations in their order, so that two goroutines agree on
// whose result is the latest. It is called before the operation.
func (w *worker) stampOnLoop() uint64 {
	w.stamps++
	return w.stamps
}

// add makes t known as the target of notifications, which wait until it is
// born. Errors: those of parent when closed, [ErrInvalidState] when the id is
// in use.
func (w *worker) add(parent *object, t target) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := parent.openError(); err != nil {
		return err
	}
	id := t.base().id
	if _, ok := w.targets[id]; ok {
		return invalidState("id %q is in use", id)
	}
	w.targets[id] = t
	return nil
}

// drop undoes add for a t that was never born.
func (w *worker) drop(t target) {
	w.mu.Lock()
	w.dropLocked(t)
	w.mu.Unlock()
	t.base().born.come()
}

func (w *worker) dropLocked(t target) {
	if id := t.base().id; w.targets[id] == t {
		delete(w.targets, id)
	}
}

func (w *worker) target(id string) target {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.targets[id]
}

// deliver emits what an operation caused. What is for an object whose birth
// event is being emitted comes after it, on the goroutine that emits it.
func (w *worker) deliver(notes []engine.Notification) {
	for _, n := range notes {
		t := w.target(n.Target)
		if t == nil {
			continue
		}
		if t.base().born.then(func() { t.notify(n) }) {
			t.notify(n)
		}
	}
}

// notify emits what the network caused. It runs on the notifier goroutine of
// the engine, and has it wait for the birth of the object: what comes meanwhile
// is bounded in the engine.
func (w *worker) notify(n engine.Notification) {
	t := w.target(n.Target)
	if t == nil {
		return
	}
	<-t.base().born.done()
	t.notify(n)
}

// closeLocked closes everything; cause is an event to emit before Close, or nil.
func (w *worker) closeLocked(c *closing, cause func()) {
	if !c.begin(&w.life) {
		return
	}
	for _, r := range w.routers {
		r.closeLocked(c, &r.events.WorkerClose)
	}
	for _, s := range w.servers {
		s.closeLocked(c, &s.events.WorkerClose)
	}
	if cause != nil {
		c.do(cause)
	}
	c.emit(&w.observer.Close)
	c.do(func() { w.sfu.forget(w) })
	c.end(&w.object, func() { w.routers, w.servers = nil, nil })
}

func (w *worker) Close() error {
	var c closing
	w.mu.Lock()
	if w.Closed() {
		w.mu.Unlock()
		return nil
	}
	w.closeLocked(&c, nil)
	w.mu.Unlock()
	w.back.Close()
	play(c.steps)
	return nil
}

// Kill implements [Killer]. A process is killed whatever the reason.
func (w *worker) Kill(reason error) error {
	if err := w.openError(); err != nil {
		return w.fail("Kill", err)
	}
	if reason == nil {
		reason = errKilled
	}
	w.back.kill(reason)
	return nil
}

var errKilled = errors.New("killed")

// die is told by the engine that the loop has ended by itself.
func (w *worker) die(err error) {
	var c closing
	w.mu.Lock()
	if w.Closed() {
		w.mu.Unlock()
		return
	}
	w.died = true
	w.closeLocked(&c, func() { w.events.Died.Emit(err) })
	w.mu.Unlock()
	play(c.steps)
}

// closeOnLoop lets the backend close something. A Worker that is gone has closed
// it already.
func (w *worker) closeOnLoop(f func(machine) error) { w.deliverRest(w.back.close(f)) }

// leaveOnLoop is closeOnLoop for the object with that id, whose transports may
// have peers that are told first.
func (w *worker) leaveOnLoop(id string, f func(machine) error) { w.deliverRest(w.back.leave(id, f)) }

// deliverRest emits what the closing of something caused elsewhere, but for what
// is known here and part of the closing.
func (w *worker) deliverRest(notes []engine.Notification) {
	for i, n := range notes {
		if _, ok := n.Body.(engine.DominantSpeaker); ok {
			w.deliver(notes[i : i+1])
		}
	}
}
