package vertical

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/google/uuid"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/wrap"
)

// An SFU is a [mafalda.SFU] with virtual Workers and Routers on the real ones of
// an inner SFU. Its methods may be called by many goroutines at a time. Init and
// Born are those of its [wrap.Life], and not for who uses it.
type SFU struct {
	wrap.Life
	// Constant after New.
	inner mafalda.SFU
	opts  Options
	bad   error // what is wrong with the options
	space *wrap.Space

	observer mafalda.SFUObserver
	events   Events

	mu      sync.Mutex    // of the SFU and everything below it
	workers []*worker     // guarded by mu; in order of creation
	cpus    []*cpu        // guarded by mu; that this process has
	real    []*realWorker // guarded by mu; in order of their start, until they are gone
	high    bool          // guarded by mu; above the watermark of the node
	refused bool          // guarded by mu; the Registry had no CPU when it was asked last

	pipesMade int // guarded by mu
}

var _ mafalda.SFU = (*SFU)(nil)

// New returns an SFU over inner, which is not nil. Zero or one options may be given;
// of wrong ones CreateWorker tells. New does not wait. Closing the SFU closes inner,
// which it has for itself from now on. To look at a real Worker, or to kill one and
// see what happens, is allowed: inner.Workers() has them, by the ids that [Usage] and
// [WorkerDied] give. inner has to keep the AppData that it is given with each object:
// what comes without, as somebody else's doing, is in lists, but can't be consumed
// from elsewhere.
func New(inner mafalda.SFU, options ...Options) *SFU {
	s := &SFU{inner: inner}
	var o Options
	if len(options) > 0 {
		o = options[len(options)-1]
	}
	s.bad = o.validate()
	s.opts = o.withDefaults()
	s.space = wrap.NewSpace(wrap.Hooks{
		WebRTCTransport: s.newWebRTCTransport,
		PlainTransport:  s.newPlainTransport,
		PipeTransport:   s.newPipeTransport,
		DirectTransport: s.newDirectTransport,
		Producer:        s.newProducer,
		Consumer:        s.newConsumer,
		DataProducer:    s.newDataProducer,
		DataConsumer:    s.newDataConsumer,

		AudioLevelObserver:    s.newAudioLevelObserver,
		ActiveSpeakerObserver: s.newActiveSpeakerObserver,

		Error: failure,
	})
	s.Life.Init()
	s.Life.Born()
	inner.Observer().Close.On(func(struct{}) { _ = s.Close() })
	if inner.Closed() { // perhaps before that
		_ = s.Close()
	}
	return s
}

// Events has the events of the SFU itself. The pointer never changes.
func (s *SFU) Events() *Events { return &s.events }

// Observer implements [mafalda.SFU].
func (s *SFU) Observer() *mafalda.SFUObserver { return &s.observer }

// SupportedRTPCapabilities implements [mafalda.SFU]: they are those of the inner one.
func (s *SFU) SupportedRTPCapabilities() mafalda.RouterRTPCapabilities {
	return s.inner.SupportedRTPCapabilities()
}

// Workers implements [mafalda.SFU]: they are virtual. Usage has the real ones.
func (s *SFU) Workers() []mafalda.Worker {
	s.mu.Lock()
	defer s.mu.Unlock()
	return opened[mafalda.Worker](s.workers)
}

// CreateWorker implements [mafalda.SFU]. The Worker is virtual: nothing is started
// yet, unless settings name files, which only a real Worker can try: then it waits
// for that.
// Errors: [mafalda.ErrInvalidArgument] for settings or [Options];
// [mafalda.ErrUnavailable]; [mafalda.ErrClosed].
func (s *SFU) CreateWorker(ctx context.Context, settings mafalda.WorkerSettings) (mafalda.Worker, error) {
	w, err := s.createWorker(ctx, settings)
	if err != nil {
		return nil, &mafalda.Error{Op: "CreateWorker", Object: "SFU", Err: cause(err)}
	}
	return w, nil
}

func (s *SFU) createWorker(ctx context.Context, settings mafalda.WorkerSettings) (*worker, error) {
	if s.bad != nil {
		return nil, s.bad
	}
	if err := settings.Validate(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	w := newWorker(s, settings)
	if settings.DTLSCertificateFile != "" || settings.WorkerBin != "" {
		// Only a real Worker knows whether the files are good. Where there can be none
		// just now Transports will tell.
		if err := w.try(ctx); err != nil && !errors.Is(err, errNoCPU) && !errors.Is(err, errNoWorker) {
			return nil, err
		}
	}
	s.mu.Lock()
	if s.Closed() {
		s.mu.Unlock()
		return nil, mafalda.ErrClosed
	}
	s.workers = append(s.workers, w)
	s.mu.Unlock()
	w.log("virtual Worker created")
	s.observer.NewWorker.Emit(w)
	w.Born()
	return w, nil
}

// Close implements [mafalda.SFU]. It closes the inner SFU before it tells anybody,
// and gives back all CPUs. The error is that of the inner SFU.
func (s *SFU) Close() error {
	var c wrap.Closing
	s.mu.Lock()
	if s.Closed() {
		s.mu.Unlock()
		return nil
	}
	c.Begin(&s.Life)
	for _, w := range s.workers {
		w.closeLocked(&c, nil)
	}
	c.Emit(&s.observer.Close)
	c.End(&s.Life)
	c.Inner(s.inner)
	real := slices.Clone(s.real)
	s.mu.Unlock()
	err := c.Play()
	for _, w := range real {
		w.gone()
	}
	return err
}

func newID() string { return uuid.NewString() }

// opened returns those of list that are open, as the interface that they implement.
func opened[I any, T interface{ Closed() bool }](list []T) []I {
	out := make([]I, 0, len(list))
	for _, v := range list {
		if !v.Closed() {
			out = append(out, any(v).(I))
		}
	}
	return out
}

// without returns list without v, in a new array.
func without[T comparable](list []T, v T) []T {
	return slices.DeleteFunc(slices.Clone(list), func(x T) bool { return x == v })
}

// atEnd has f called once when an object closes: before its Close is heard, or, if
// it was closed before it was met, when it has ended.
func atEnd(o interface{ OnEnd(func()) }, closing *mafalda.Event[struct{}], f func()) {
	f = sync.OnceFunc(f)
	closing.On(func(struct{}) { f() })
	o.OnEnd(f)
}

// appData implements [mafalda.AppDataHolder].
type appData struct {
	mu sync.Mutex
	v  any // guarded by mu
}

// AppData implements [mafalda.AppDataHolder].
func (a *appData) AppData() any {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.v
}

// SetAppData implements [mafalda.AppDataHolder].
func (a *appData) SetAppData(v any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.v = v
}

// A resident is an object on a real Worker that stands for a virtual one.
type resident interface {
	ID() string
	Closed() bool
	home() *worker
}

// failure returns the error of an inner object as that of the outer one: with its
// id, and saying whose closing is the reason.
func failure(outer any, err error) error {
	o, ok := outer.(resident)
	if !ok {
		return err
	}
	class := cause(err)
	if errors.Is(class, mafalda.ErrInvalidState) || errors.Is(class, mafalda.ErrNotFound) {
		switch {
		case o.home().Closed():
			class = mafalda.ErrWorkerClosed
		case o.Closed() || errors.Is(class, mafalda.ErrClosed):
			class = mafalda.ErrClosed
		}
	}
	e, ok := errors.AsType[*mafalda.Error](err)
	if !ok {
		return class
	}
	return &mafalda.Error{Op: e.Op, Object: e.Object, ID: o.ID(), Err: class}
}

// cause returns what err says without who said it.
func cause(err error) error {
	for {
		e, ok := err.(*mafalda.Error)
		if !ok {
			return err
		}
		err = e.Err
	}
}
