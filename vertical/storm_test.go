package vertical_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/vertical"
	"github.com/mafalda-sfu/mafalda/vertical/placement"
	"github.com/mafalda-sfu/mafalda/wrap"
)

var stormSeed = flag.Uint64("storm.seed", 0, "seed of a storm; 0 for another one each time")

// A counted is a Registry that counts what is taken.
type counted struct {
	mu         sync.Mutex
	used, most int // guarded by mu
}

func (c *counted) Acquire(limit int) (release func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.used >= limit {
		return nil, fmt.Errorf("all %d are taken: %w", limit, mafalda.ErrUnavailable)
	}
	c.used++
	c.most = max(c.most, c.used)
	return sync.OnceFunc(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.used--
	}), nil
}

func (c *counted) now() (used, most int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.used, c.most
}

// classes are those of which each error is to be exactly one.
var classes = []error{
	mafalda.ErrInvalidArgument, mafalda.ErrInvalidState, mafalda.ErrNotFound, mafalda.ErrUnavailable,
	errors.ErrUnsupported, context.Canceled, context.DeadlineExceeded,
}

// A storm has many goroutines do anything to anything.
type storm struct {
	t   testing.TB
	sfu mafalda.SFU

	mu        sync.Mutex
	workers   []mafalda.Worker // guarded by mu, as all lists; what is closed stays there
	servers   []mafalda.WebRTCServer
	routers   []mafalda.Router
	transport []mafalda.Transport
	producers []mafalda.Producer
	consumers []mafalda.Consumer
	dataIn    []mafalda.DataProducer
	dataOut   []mafalda.DataConsumer
	observers []mafalda.RTPObserver
	errors    map[string]int

	ssrc      atomic.Uint32
	births    atomic.Int64
	closes    atomic.Int64
	unordered atomic.Int64
}

func pick[T any](s *storm, r *rand.Rand, list *[]T) (T, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var none T
	if len(*list) == 0 {
		return none, false
	}
	// What is young is more often open.
	n := len(*list)
	return (*list)[n-1-r.IntN(min(n, 8))], true
}

func keep[T any](s *storm, list *[]T, v T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*list = append(*list, v)
	if len(*list) > 200 {
		*list = slices.Clone((*list)[100:])
	}
}

func closeOne[T mafalda.Lifetime](s *storm, r *rand.Rand, list *[]T) {
	if x, ok := pick(s, r, list); ok {
		s.check("Close", x.Close())
	}
}

// flip pauses or resumes a Producer or DataProducer.
func (s *storm) flip(ctx context.Context, r *rand.Rand, x interface {
	mafalda.Lifetime
	Pause(context.Context) error
	Resume(context.Context) error
}) {
	if r.IntN(2) == 0 {
		s.blame("Pause", x, x.Pause(ctx))
	} else {
		s.blame("Resume", x, x.Resume(ctx))
	}
}

// check checks the class of an error.
func (s *storm) check(op string, err error) bool {
	if err == nil {
		return true
	}
	n := 0
	class := ""
	for _, c := range classes {
		if errors.Is(err, c) {
			n++
			class = c.Error()
		}
	}
	if errors.Is(err, mafalda.ErrWorkerClosed) {
		class = "worker closed"
	} else if errors.Is(err, mafalda.ErrClosed) {
		class = "closed"
	}
	if n != 1 {
		s.t.Errorf("%s: %d classes: %v", op, n, err)
	}
	if class == mafalda.ErrUnavailable.Error() {
		s.t.Logf("%s: %v", op, err)
	}
	s.mu.Lock()
	s.errors[op+": "+class]++
	s.mu.Unlock()
	return false
}

// blame checks that an object that says it is closed is, or will be at once: its
// real Worker has died.
func (s *storm) blame(op string, o mafalda.Lifetime, err error) bool {
	if errors.Is(err, mafalda.ErrClosed) && !o.Closed() {
		select {
		case <-o.Done():
		case <-time.After(patience):
			s.t.Errorf("%s: it is open, but says %v", op, err)
		}
	}
	return s.check(op, err)
}

// watch counts an object, whose close events come once.
func (s *storm) watch(o mafalda.Lifetime, e *mafalda.Event[struct{}]) {
	s.births.Add(1)
	var n atomic.Int32
	e.On(func(struct{}) {
		if n.Add(1) != 1 {
			s.t.Errorf("%T: two Close", o)
		}
		if !o.Closed() {
			s.t.Errorf("%T: Close but open", o)
		}
		select {
		case <-o.Done():
			s.unordered.Add(1)
		default:
		}
		s.closes.Add(1)
	})
}

func (s *storm) watchTransport(t mafalda.Transport) {
	s.watch(t, &t.Observer().Close)
	t.Observer().NewProducer.On(func(p mafalda.Producer) { s.watch(p, &p.Observer().Close) })
	t.Observer().NewConsumer.On(func(p mafalda.Consumer) { s.watch(p, &p.Observer().Close) })
	t.Observer().NewDataProducer.On(func(p mafalda.DataProducer) { s.watch(p, &p.Observer().Close) })
	t.Observer().NewDataConsumer.On(func(p mafalda.DataConsumer) { s.watch(p, &p.Observer().Close) })
}

func (s *storm) newWorker(ctx context.Context) {
	w, err := s.sfu.CreateWorker(ctx, mafalda.WorkerSettings{})
	if s.check("CreateWorker", err) {
		s.watch(w, &w.Observer().Close)
		keep(s, &s.workers, w)
	}
}

func (s *storm) newRouter(ctx context.Context, w mafalda.Worker) {
	r, err := w.CreateRouter(ctx, mafalda.RouterOptions{MediaCodecs: bothCodecs})
	if s.blame("CreateRouter", w, err) {
		s.watch(r, &r.Observer().Close)
		r.Observer().NewTransport.On(s.watchTransport)
		r.Observer().NewRTPObserver.On(func(o mafalda.RTPObserver) { s.watch(o, &o.Observer().Close) })
		keep(s, &s.routers, r)
	}
}

// match looks for a Router with a Transport that can consume a Producer.
func (s *storm) match(r *rand.Rand) (x mafalda.Router, t mafalda.Transport, p mafalda.Producer, ok bool) {
	for range 20 {
		x, ok = pick(s, r, &s.routers)
		p, ok2 := pick(s, r, &s.producers)
		if !ok || !ok2 || !x.CanConsume(p.ID(), x.RTPCapabilities()) {
			continue
		}
		if all := x.Transports(); len(all) > 0 {
			return x, all[r.IntN(len(all))], p, true
		}
	}
	return nil, nil, nil, false
}

// step does something.
func (s *storm) step(r *rand.Rand) {
	ctx := s.t.Context()
	if r.IntN(6) == 0 { // cancelled mid-way
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(r.IntN(1500))*time.Microsecond)
		defer cancel()
	}
	switch n := r.IntN(100); {
	case n < 2:
		s.newWorker(ctx)
	case n < 6:
		if w, ok := pick(s, r, &s.workers); ok {
			s.newRouter(ctx, w)
		}
	case n < 20:
		if x, ok := pick(s, r, &s.routers); ok {
			t, err := x.CreateDirectTransport(ctx, mafalda.DirectTransportOptions{})
			if s.blame("CreateDirectTransport", x, err) {
				keep[mafalda.Transport](s, &s.transport, t)
			}
		}
	case n < 24:
		if x, ok := pick(s, r, &s.workers); ok {
			v, err := x.CreateWebRTCServer(ctx, mafalda.WebRTCServerOptions{ListenInfos: udp})
			if s.blame("CreateWebRTCServer", x, err) {
				s.watch(v, &v.Observer().Close)
				keep(s, &s.servers, v)
			}
		}
	case n < 30:
		x, ok := pick(s, r, &s.routers)
		v, ok2 := pick(s, r, &s.servers)
		if ok && ok2 {
			t, err := x.CreateWebRTCTransport(ctx, mafalda.WebRTCTransportOptions{WebRTCServer: v})
			if s.blame("CreateWebRTCTransport", x, err) {
				keep[mafalda.Transport](s, &s.transport, t)
			}
		}
	case n < 42:
		if t, ok := pick(s, r, &s.transport); ok {
			o := audioOf(s.ssrc.Add(1))
			if r.IntN(3) == 0 {
				o.ID = fmt.Sprint("id", r.IntN(20))
			}
			p, err := t.Produce(ctx, o)
			if s.blame("Produce", t, err) {
				keep(s, &s.producers, p)
			}
		}
	case n < 58:
		if x, t, p, ok := s.match(r); ok {
			c, err := t.Consume(ctx, mafalda.ConsumerOptions{ProducerID: p.ID(), RTPCapabilities: x.RTPCapabilities()})
			if s.blame("Consume", t, err) {
				keep(s, &s.consumers, c)
			}
		}
	case n < 62:
		if t, ok := pick(s, r, &s.transport); ok && t.Type() == mafalda.TransportTypeDirect {
			p, err := t.ProduceData(ctx, mafalda.DataProducerOptions{})
			if s.blame("ProduceData", t, err) {
				keep(s, &s.dataIn, p)
			}
		}
	case n < 67:
		t, ok := pick(s, r, &s.transport)
		p, ok2 := pick(s, r, &s.dataIn)
		if ok && ok2 && t.Type() == mafalda.TransportTypeDirect {
			c, err := t.ConsumeData(ctx, mafalda.DataConsumerOptions{DataProducerID: p.ID()})
			if s.blame("ConsumeData", t, err) {
				keep(s, &s.dataOut, c)
			}
		}
	case n < 69:
		if x, ok := pick(s, r, &s.routers); ok {
			o, err := x.CreateAudioLevelObserver(ctx, mafalda.AudioLevelObserverOptions{})
			if s.blame("CreateAudioLevelObserver", x, err) {
				keep[mafalda.RTPObserver](s, &s.observers, o)
			}
		}
	case n < 73:
		var p mafalda.Producer
		o, ok := pick(s, r, &s.observers)
		if x, _, q, ok2 := s.match(r); ok2 {
			if all := x.RTPObservers(); len(all) > 0 {
				o, ok = all[r.IntN(len(all))], true
			}
			p = q
		}
		if ok && p != nil {
			if r.IntN(3) > 0 {
				s.blame("AddProducer", o, o.AddProducer(ctx, p.ID()))
			} else {
				s.blame("RemoveProducer", o, o.RemoveProducer(ctx, p.ID()))
			}
		}
	case n < 77:
		b, ok := pick(s, r, &s.routers)
		if a, _, p, ok2 := s.match(r); ok && ok2 {
			_, err := a.PipeToRouter(ctx, mafalda.PipeToRouterOptions{ProducerID: p.ID(), Router: b, KeepID: new(r.IntN(2) == 0)})
			s.check("PipeToRouter", err)
		}
	case n < 82:
		if p, ok := pick(s, r, &s.producers); ok {
			s.flip(ctx, r, p)
		}
	case n < 84:
		if p, ok := pick(s, r, &s.dataIn); ok {
			s.flip(ctx, r, p)
		}
	case n < 86:
		if x, ok := pick(s, r, &s.routers); ok {
			_, err := x.Dump(ctx)
			s.blame("Dump", x, err)
		}
		if x, ok := pick(s, r, &s.workers); ok {
			_, err := x.Dump(ctx)
			s.blame("Dump", x, err)
			_, err = x.ResourceUsage(ctx)
			s.blame("ResourceUsage", x, err)
		}
		if x, ok := pick(s, r, &s.consumers); ok {
			_, err := x.Stats(ctx)
			s.blame("Stats", x, err)
			_ = x.Score()
		}
	case n < 88:
		if x, ok := pick(s, r, &s.routers); ok {
			codecs := bothCodecs
			if r.IntN(2) == 0 {
				codecs = bothCodecs[:1]
			}
			s.blame("UpdateMediaCodecs", x, x.UpdateMediaCodecs(ctx, codecs))
		}
	case n < 91:
		closeOne(s, r, &s.consumers)
	case n < 93:
		closeOne(s, r, &s.producers)
	case n < 94:
		closeOne(s, r, &s.dataIn)
	case n < 96:
		closeOne(s, r, &s.transport)
	case n < 97:
		closeOne(s, r, &s.observers)
		if r.IntN(3) == 0 {
			closeOne(s, r, &s.servers)
		}
	case n < 98:
		closeOne(s, r, &s.routers)
	case n < 99:
		if x, ok := pick(s, r, &s.workers); ok && r.IntN(4) == 0 {
			if r.IntN(2) == 0 {
				s.check("Close", x.Close())
			} else {
				s.blame("Kill", x, x.(mafalda.Killer).Kill(nil))
			}
		}
	default:
		if x, ok := pick(s, r, &s.transport); ok && r.IntN(2) == 0 {
			s.check("Kill", vertical.Kill(x, errors.New("planted")))
		}
	}
}

// run has many goroutines step, and closes what is left.
func (s *storm) run(goroutines, steps int, seed uint64) {
	s.errors = map[string]int{}
	for range 2 {
		s.newWorker(s.t.Context())
	}
	var wg sync.WaitGroup
	for i := range goroutines {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(i)))
			for range steps {
				s.step(r)
			}
		})
	}
	done := make(chan struct{})
	go func() { // ends with the goroutines
		wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(time.Minute + time.Duration(steps)*20*time.Millisecond):
		panic("a deadlock") // with the stacks
	}
	for _, w := range s.sfu.Workers() {
		require.NoError(s.t, w.Close())
	}
}

func storms(t *testing.T, policy placement.Policy, below func(mafalda.SFU) mafalda.SFU) {
	seed := *stormSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-storm.seed %d", seed)
	var cpus counted
	real := mafalda.New()
	inner := below(real)
	sfu := vertical.New(inner, vertical.Options{CPUs: 3, Registry: &cpus, Policy: policy, Linger: -1})
	s := &storm{t: t, sfu: sfu}
	steps := 300
	if *long {
		steps = 5000
	}
	s.run(8, steps, seed)
	assert.Eventually(t, func() bool {
		used, _ := cpus.now()
		return used == 0 && len(inner.Workers()) == 0 && len(real.Workers()) == 0
	}, patience, time.Millisecond, "everything is reaped")
	if t.Failed() {
		used, _ := cpus.now()
		t.Fatalf("%d CPUs, %d and %d Workers\n%s", used, len(inner.Workers()), len(real.Workers()), sfu.Left())
	}
	u := sfu.Usage()
	assert.Zero(t, u.Routers)
	assert.Zero(t, u.Transports)
	assert.Zero(t, u.Producers)
	assert.Zero(t, u.Consumers)
	assert.Zero(t, u.Pipes)
	assert.Empty(t, u.Workers)
	_, most := cpus.now()
	assert.LessOrEqual(t, most, 3)
	assert.NoError(t, sfu.Close())
	assert.Greater(t, s.births.Load(), int64(100), "objects")
	eventually(t, "each object that was born ends", func() bool { return s.births.Load() == s.closes.Load() })
	assert.Zero(t, s.unordered.Load(), "Done before Close")
	t.Logf("%d objects, %d pipes, errors: %v", s.births.Load(), u.PipesMade, s.errors)
}

func TestStorm(t *testing.T) {
	plain := func(s mafalda.SFU) mafalda.SFU { return s }
	for name, p := range map[string]func() placement.Policy{
		"Elsewhere":         func() placement.Policy { return new(elsewhere) },
		"Concentrate":       placement.Concentrate,
		"Spread":            placement.Spread,
		"CascadeHysteresis": func() placement.Policy { return placement.CascadeHysteresis(0.05, 0) },
		"TwoChoice":         func() placement.Policy { return placement.TwoChoice(1) },
	} {
		t.Run(name, func(t *testing.T) { storms(t, p(), plain) })
	}
	t.Run("Over wrap", func(t *testing.T) {
		storms(t, new(elsewhere), func(s mafalda.SFU) mafalda.SFU { return wrap.New(s) })
	})
	t.Run("Over vertical over wrap", func(t *testing.T) {
		storms(t, new(elsewhere), func(s mafalda.SFU) mafalda.SFU {
			return vertical.New(wrap.New(s), vertical.Options{CPUs: 3, Registry: plenty{}, Policy: new(elsewhere), Linger: -1})
		})
	})
}
