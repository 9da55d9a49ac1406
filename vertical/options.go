package vertical

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/vertical/placement"
	"github.com/mafalda-sfu/mafalda/vertical/registry"
)

// Defaults of [Options].
const (
	// DefaultWatermarkWorker is the default of Options.WatermarkWorker.
	DefaultWatermarkWorker = placement.DefaultWatermark
	// DefaultWatermarkNode is the default of Options.WatermarkNode.
	DefaultWatermarkNode = 0.9
	// DefaultLinger is the default of Options.Linger.
	DefaultLinger = 2 * time.Second
)

// slack is how far the load has to fall below the watermark of the node until
// that counts as cleared.
const slack = 0.1

// Options are the options of [New]. The zero value is valid. What is said to be
// wrong is an [mafalda.ErrInvalidArgument] of CreateWorker.
type Options struct {
	// MaxWorkers is how many real Workers there may be at most for each set of
	// worker settings, 0 or more; nil means one for each usable CPU, and more than
	// that there never are. 0 means none: every Transport is refused. It is copied.
	MaxWorkers *int
	// CPUs is how many CPUs may be used by all processes that share the Registry, 0
	// or more. 0 means what [registry.CPUs] says: those of the affinity of this
	// process, and no more than its cgroups grant.
	CPUs int
	// WatermarkWorker is the load, 1 is one core, above which a real Worker gets no
	// Transports while another one could take them. It is for the Policy to heed. 0
	// means [DefaultWatermarkWorker]; less than 0, NaN and infinity are wrong.
	WatermarkWorker float64
	// WatermarkNode is the mean load of all real Workers that there can be (see
	// Usage.Capacity), above which HighWater is emitted; 1 is one core. 0 means
	// [DefaultWatermarkNode]; less than 0, NaN and infinity are wrong.
	WatermarkNode float64
	// Policy chooses where a Transport goes. It must not be shared among SFUs. nil
	// means [placement.Concentrate].
	Policy placement.Policy
	// Registry counts real Workers across processes. nil means
	// [registry.Default], opened when it is needed first, and for a system without
	// file locks none.
	Registry Registry
	// Linger is how long a pipe without Consumers is kept, and a real Router or
	// Worker without Transports, in case somebody comes back. 0 means
	// [DefaultLinger], less than 0 not at all.
	Linger time.Duration
}

// A Registry hands out CPUs to processes. A [registry.Registry] is one. Its method
// is called by many goroutines at a time, with no lock held.
type Registry interface {
	// Acquire takes one of limit CPUs until release is called, which is once, or the
	// process ends. It does not wait. Error: [mafalda.ErrUnavailable] when none is
	// free. After any error the SFU goes on with the CPUs that it has.
	Acquire(limit int) (release func(), err error)
}

func (o *Options) validate() error {
	switch {
	case o.MaxWorkers != nil && *o.MaxWorkers < 0:
		return fmt.Errorf("MaxWorkers %d: %w", *o.MaxWorkers, mafalda.ErrInvalidArgument)
	case o.CPUs < 0:
		return fmt.Errorf("CPUs %d: %w", o.CPUs, mafalda.ErrInvalidArgument)
	case !(o.WatermarkWorker >= 0) || math.IsInf(o.WatermarkWorker, 1):
		return fmt.Errorf("WatermarkWorker %v: %w", o.WatermarkWorker, mafalda.ErrInvalidArgument)
	case !(o.WatermarkNode >= 0) || math.IsInf(o.WatermarkNode, 1):
		return fmt.Errorf("WatermarkNode %v: %w", o.WatermarkNode, mafalda.ErrInvalidArgument)
	}
	return nil
}

func (o Options) withDefaults() Options {
	if o.CPUs == 0 {
		o.CPUs = registry.CPUs()
	}
	most := o.CPUs
	if o.MaxWorkers != nil {
		most = min(most, *o.MaxWorkers)
	}
	o.MaxWorkers = &most
	if o.WatermarkWorker == 0 {
		o.WatermarkWorker = DefaultWatermarkWorker
	}
	if o.WatermarkNode == 0 {
		o.WatermarkNode = DefaultWatermarkNode
	}
	if o.Policy == nil {
		o.Policy = placement.Concentrate()
	}
	if o.Registry == nil {
		o.Registry = new(defaultRegistry)
	}
	if o.Linger == 0 {
		o.Linger = DefaultLinger
	}
	return o
}

// A defaultRegistry is the [registry.Default], opened when it is needed.
type defaultRegistry struct {
	once sync.Once
	r    *registry.Registry // nil where there is none
	err  error
}

func (d *defaultRegistry) Acquire(limit int) (release func(), err error) {
	d.once.Do(func() {
		if d.r, d.err = registry.Default(); errors.Is(d.err, errors.ErrUnsupported) {
			d.err = nil // MaxWorkers has to do
		}
	})
	switch {
	case d.err != nil:
		return nil, d.err
	case d.r == nil:
		return func() {}, nil
	}
	return d.r.Acquire(limit)
}
