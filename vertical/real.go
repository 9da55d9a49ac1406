package vertical

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/vertical/placement"
)

// A cpu is a share of the Registry. On it is at most one real Worker for each set
// of settings.
type cpu struct {
	release func()
	workers int // guarded by SFU.mu
}

// A realWorker is a Worker of the inner SFU.
type realWorker struct {
	// Constant after its constructor.
	s        *SFU
	key      string // of its settings
	settings mafalda.WorkerSettings

	ready chan struct{} // closed when it has started or failed to
	ended chan struct{} // closed when it is forgotten

	// Constant once ready is closed.
	inner mafalda.Worker
	err   error

	// Guarded by s.mu.
	cpu       *cpu
	users     map[*worker]int // what virtual Workers have there: Transports, servers, RTPObservers
	uses      int             // the sum of users
	routers   int
	meter     placement.Meter
	load      mafalda.Load
	usage     mafalda.WorkerResourceUsage
	idle      *time.Timer // until it is closed, while it has no users
	over      bool        // it takes nobody any more
	forgotten bool        // it has ended, or was never there
}

// settingsKey tells sets of settings apart.
func settingsKey(s *mafalda.WorkerSettings) string {
	tags := slices.Clone(s.LogTags)
	slices.Sort(tags)
	return fmt.Sprintf("%q %q %p %d %d %q %q %q", s.LogLevel, tags, s.Logger,
		s.RTCMinPort, s.RTCMaxPort, s.DTLSCertificateFile, s.DTLSPrivateKeyFile, s.WorkerBin)
}

// place chooses a real Worker for a Transport of w, or for what is as heavy: among
// those in only, if that is not nil. router says on which w's Router has something
// already. The caller has a use of the Worker then, and gives it back.
func (w *worker) place(ctx context.Context, registered func(*realWorker) bool, only *realWorker) (*realWorker, error) {
	grow := true
	var full error
	for {
		w.s.bury()
		x, closing, err := w.choose(registered, only, grow)
		if closing != nil { // there may be another one when it is gone
			select {
			case <-closing:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			grow, full = true, nil
			continue
		}
		if err != nil {
			return nil, cmp.Or(full, err)
		}
		select {
		case <-x.ready:
		case <-ctx.Done():
			w.leave(x)
			return nil, ctx.Err()
		}
		if x.err == nil {
			return x, nil
		}
		w.leave(x)
		grow, full = false, cmp.Or(full, x.err) // among those that are there
	}
}

// errNoCPU is that the Registry has none, errNoWorker that there are to be none,
// errDied that the only one which will do is not there any more.
var (
	errNoCPU    = errors.New("no CPU is free")
	errNoWorker = fmt.Errorf("no Worker is there and none can be started: %w", mafalda.ErrUnavailable)
	errDied     = fmt.Errorf("the Worker has died: %w", mafalda.ErrUnavailable)
)

// choose chooses a real Worker once. It returns a channel instead if there is none
// but one that is being closed: it waits for that.
func (w *worker) choose(registered func(*realWorker) bool, only *realWorker, grow bool) (*realWorker, <-chan struct{}, error) {
	s := w.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.Closed() || s.inner.Closed() { // then w will be at once
		return nil, nil, mafalda.ErrWorkerClosed
	}
	now := time.Now()
	v := placement.View{Watermark: s.opts.WatermarkWorker}
	var candidates []*realWorker
	total := 0
	var closing <-chan struct{}
	for _, x := range s.real {
		// What w has somewhere stays there when its settings are updated.
		if only == nil && x.key != w.key || only != nil && x != only {
			continue
		}
		total++
		if x.over {
			closing = x.ended
			continue
		}
		c := placement.Candidate{PacketsPerSecond: x.load.PacketsPerSecond, Transports: x.uses, Registered: registered(x)}
		c.Load, c.Recent = x.meter.Read(now)
		v.Candidates = append(v.Candidates, c)
		candidates = append(candidates, x)
	}
	v.CanGrow = grow && only == nil && total < *s.opts.MaxWorkers
	if len(candidates) == 0 && !v.CanGrow {
		if only != nil {
			return nil, nil, errDied
		}
		if closing != nil {
			return nil, closing, nil
		}
		return nil, nil, errNoWorker
	}
	i := s.opts.Policy.Place(&v)
	var x *realWorker
	switch {
	case i >= 0 && i < len(candidates):
		x = candidates[i]
	case v.CanGrow:
		x = s.startLocked(w)
	default: // a policy that does not heed CanGrow
		x = candidates[0]
	}
	x.meter.Place(now)
	x.enterLocked(w)
	return x, nil, nil
}

// bury forgets the real Workers whose close events are under way. A caller may be
// one of their listeners, and must not wait for anything there.
func (s *SFU) bury() {
	var dead []*realWorker
	s.mu.Lock()
	for _, x := range s.real {
		select {
		case <-x.ready:
			if x.inner != nil && x.inner.Closed() && !x.over {
				dead = append(dead, x)
			}
		default:
		}
	}
	s.mu.Unlock()
	for _, x := range dead {
		x.gone()
	}
}

func (x *realWorker) enterLocked(w *worker) {
	x.uses++
	x.users[w]++
	if x.idle != nil {
		x.idle.Stop()
		x.idle = nil
	}
}

// leave gives back a use that w has of x.
func (w *worker) leave(x *realWorker) {
	s := w.s
	s.mu.Lock()
	defer s.mu.Unlock()
	x.uses--
	if x.users[w]--; x.users[w] == 0 {
		delete(x.users, w)
	}
	x.restLocked()
}

// restLocked has x closed soon if nobody uses it.
func (x *realWorker) restLocked() {
	if x.uses > 0 || x.routers > 0 || x.over || x.idle != nil {
		return
	}
	x.idle = x.s.later(func() {
		x.s.mu.Lock()
		x.idle = nil
		if x.uses > 0 || x.routers > 0 || x.over {
			x.s.mu.Unlock()
			return
		}
		x.over = true
		x.s.mu.Unlock()
		<-x.ready
		if x.inner != nil {
			_ = x.inner.Close() // nothing can be done about it
		}
		x.gone()
	})
}

// later calls f after the linger, on a goroutine of its own that ends with it.
func (s *SFU) later(f func()) *time.Timer { return time.AfterFunc(max(s.opts.Linger, 0), f) }

// startLocked begins to start a real Worker for w.
func (s *SFU) startLocked(w *worker) *realWorker {
	x := &realWorker{s: s, key: w.key, settings: w.settings, ready: make(chan struct{}), ended: make(chan struct{}), users: map[*worker]int{}}
	x.settings.AppData = nil
	s.real = append(s.real, x)
	go x.start() // ends when the Worker has started, or failed to
	return x
}

func (x *realWorker) start() {
	s := x.s
	x.err = x.acquire()
	if x.err == nil {
		x.inner, x.err = something(s.inner.CreateWorker(context.Background(), x.settings))
	}
	if x.err != nil {
		x.inner = nil // not a nil pointer in an interface
		x.gone()
		close(x.ready)
		if errors.Is(x.err, errNoCPU) {
			s.lookAtWater()
		}
		return
	}
	var once sync.Once
	died := func(err error) {
		once.Do(func() { s.events.WorkerDied.Emit(WorkerDied{WorkerID: x.inner.ID(), Err: err}) })
	}
	x.inner.Events().Died.On(died)
	x.inner.Observer().Close.On(func(struct{}) { x.gone() })
	close(x.ready)
	if x.inner.Closed() { // perhaps before that
		x.gone()
		if x.inner.Died() {
			died(mafalda.ErrWorkerClosed)
		}
	}
	s.mu.Lock()
	closed := s.Closed()
	s.mu.Unlock()
	if closed {
		_ = x.inner.Close() // nothing can be done about it
		return
	}
	go x.watch() // ends with the Worker
}

// acquire takes a CPU: one of the Registry, or else one that this process has and
// where there is no Worker of these settings.
func (x *realWorker) acquire() error {
	s := x.s
	release, err := s.opts.Registry.Acquire(s.opts.CPUs)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused = errors.Is(err, mafalda.ErrUnavailable)
	if err == nil {
		x.cpu = &cpu{release: release}
		s.cpus = append(s.cpus, x.cpu)
		x.cpu.workers++
		return nil
	}
	for _, c := range s.cpus {
		if !slices.ContainsFunc(s.real, func(y *realWorker) bool { return y.key == x.key && y.cpu == c }) {
			x.cpu = c
			c.workers++
			return nil
		}
	}
	if errors.Is(err, mafalda.ErrUnavailable) {
		return fmt.Errorf("%w: %w", errNoCPU, err)
	}
	return fmt.Errorf("%w: registry: %v", mafalda.ErrUnavailable, err)
}

// died reports whether err is that x has died, and then sees to it that nothing is
// placed there any more.
func (x *realWorker) died(err error) bool {
	if !errors.Is(err, mafalda.ErrWorkerClosed) && !(errors.Is(err, mafalda.ErrClosed) && x.inner.Closed()) {
		return false
	}
	x.gone()
	return true
}

// gone forgets x, which has ended or was never there.
func (x *realWorker) gone() {
	s := x.s
	s.mu.Lock()
	x.over = true
	if !x.forgotten {
		x.forgotten = true
		defer close(x.ended)
	}
	if x.idle != nil {
		x.idle.Stop()
		x.idle = nil
	}
	s.real = without(s.real, x)
	c := x.cpu
	x.cpu = nil
	if c != nil {
		if c.workers--; c.workers == 0 {
			s.cpus = without(s.cpus, c)
		} else {
			c = nil
		}
	}
	s.mu.Unlock()
	if c != nil {
		c.release()
	}
}
