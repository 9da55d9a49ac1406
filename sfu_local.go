package mafalda

import (
	"context"
	"slices"
	"sync"

	"github.com/mafalda-sfu/mafalda/internal/driver"
	"github.com/mafalda-sfu/mafalda/internal/dtls"
)

// New returns an SFU whose Workers run in this process, unless
// [WorkerSettings.WorkerBin] names a program for them.
func New() SFU { return newSFU() }

// CreateWorker creates a Worker in this process, on an SFU that all callers
// share. Zero or one settings may be given.
func CreateWorker(settings ...WorkerSettings) (Worker, error) {
	var s WorkerSettings
	switch len(settings) {
	case 0:
	case 1:
		s = settings[0]
	default:
		return nil, &Error{Op: "CreateWorker", Object: "SFU", Err: invalid("%d settings given", len(settings))}
	}
	return defaultSFU().CreateWorker(context.Background(), s)
}

var defaultSFU = sync.OnceValue(newSFU)

// handshakes bounds the DTLS handshakes of the whole process.
var handshakes = sync.OnceValue(func() *dtls.Limiter { return dtls.NewLimiter(0) })

// An sfu is an [SFU] whose Workers run in this process, unless their settings
// name a program.
type sfu struct {
	life
	observer SFUObserver

	mu      sync.Mutex
	workers []*worker            // guarded by mu; in order of creation, until they have ended
	drive   func() driver.Driver // guarded by mu; nil: drivers of the system
}

var _ SFU = (*sfu)(nil)

func newSFU() *sfu {
	s := new(sfu)
	s.born.come()
	return s
}

func (s *sfu) Observer() *SFUObserver { return &s.observer }

func (s *sfu) SupportedRTPCapabilities() RouterRTPCapabilities { return SupportedRTPCapabilities() }

func (s *sfu) Workers() []Worker {
	s.mu.Lock()
	defer s.mu.Unlock()
	return open[Worker](s.workers)
}

// Drive gives Workers that start from now on, in this process, the drivers that f
// makes, which they close: tests of this module put all on a network of their own.
func (s *sfu) Drive(f func() driver.Driver) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drive = f
}

// driver returns the driver of a Worker that starts, nil for that of the system.
func (s *sfu) driver() driver.Driver {
	s.mu.Lock()
	drive := s.drive
	s.mu.Unlock()
	if drive == nil {
		return nil
	}
	return drive()
}

func (s *sfu) CreateWorker(ctx context.Context, settings WorkerSettings) (Worker, error) {
	w, err := s.createWorker(ctx, settings)
	if err != nil {
		return nil, &Error{Op: "CreateWorker", Object: "SFU", Err: classified(err)}
	}
	return w, nil
}

func (s *sfu) createWorker(ctx context.Context, settings WorkerSettings) (*worker, error) {
	if err := settings.Validate(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if s.Closed() {
		return nil, ErrClosed
	}
	w, err := startWorker(ctx, s, settings)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	if s.Closed() {
		s.mu.Unlock()
		w.born.come()
		_ = w.Close() // always nil
		return nil, ErrClosed
	}
	if !w.Closed() { // it may have died already
		s.workers = append(s.workers, w)
	}
	s.mu.Unlock()
	s.observer.NewWorker.Emit(w)
	w.born.come()
	return w, nil
}

func (s *sfu) forget(w *worker) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.workers = remove(s.workers, w)
}

func (s *sfu) Close() error {
	s.mu.Lock()
	if s.closed.Swap(true) {
		s.mu.Unlock()
		return nil
	}
	workers := slices.Clone(s.workers)
	s.mu.Unlock()
	var c closing
	for _, w := range workers {
		w.mu.Lock()
		w.closeLocked(&c, nil)
		w.mu.Unlock()
	}
	for _, w := range workers {
		w.back.Close()
	}
	c.emit(&s.observer.Close)
	c.do(s.ended.come)
	play(c.steps)
	return nil
}
