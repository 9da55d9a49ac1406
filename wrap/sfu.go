package wrap

import (
	"context"

	"github.com/mafalda-sfu/mafalda"
)

// An SFU passes everything through to an inner one.
type SFU struct {
	Life
	s     *Space
	inner mafalda.SFU

	observer mafalda.SFUObserver
}

var _ mafalda.SFU = (*SFU)(nil)

// New returns an SFU that does what inner does, which is not nil. Closing it closes
// inner.
func New(inner mafalda.SFU) *SFU { return NewSpace(Hooks{}).SFU(inner) }

// SFU returns an SFU that does what inner does, with the hooks of the Space.
// Unlike the other objects it is a new one each time. Closing it closes inner.
func (s *Space) SFU(inner mafalda.SFU) *SFU {
	x := &SFU{s: s, inner: inner}
	x.Life.Init()
	x.Life.inner = inner
	from := inner.Observer()
	birth(&x.Life, &from.NewWorker, &x.observer.NewWorker, s.Worker, nil)
	s.end(&x.Life, &from.Close, &x.observer.Close)
	if inner.Closed() { // its close event may be over
		s.retire(inner, &x.Life)
	}
	return x
}

// Inner returns the inner SFU.
func (x *SFU) Inner() mafalda.SFU { return x.inner }

// Close closes the inner SFU.
func (x *SFU) Close() error { return x.fail(x.inner.Close()) }

// CreateWorker implements [mafalda.SFU].
func (x *SFU) CreateWorker(ctx context.Context, settings mafalda.WorkerSettings) (mafalda.Worker, error) {
	defer x.s.call()()
	w, err := x.inner.CreateWorker(ctx, settings)
	return met(w, err, x.s.Worker, x.fail)
}

// Workers implements [mafalda.SFU].
func (x *SFU) Workers() []mafalda.Worker { return outers(x.inner.Workers(), x.s.Worker, nil) }

// SupportedRTPCapabilities implements [mafalda.SFU].
func (x *SFU) SupportedRTPCapabilities() mafalda.RouterRTPCapabilities {
	return x.inner.SupportedRTPCapabilities()
}

// Observer implements [mafalda.SFU].
func (x *SFU) Observer() *mafalda.SFUObserver { return &x.observer }

func (x *SFU) fail(err error) error { return x.s.fail(x, err) }
