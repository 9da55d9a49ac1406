package mafalda

import (
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A familyCheck watches births and closings: a child is born before its parent
// closes, closes after its birth and before its parent, once.
type familyCheck struct {
	t      *testing.T
	mu     sync.Mutex
	closed map[string]bool     // guarded by mu; false: born, true: closed
	kids   map[string][]string // guarded by mu
	births int                 // guarded by mu
}

func newFamilyCheck(t *testing.T) *familyCheck {
	return &familyCheck{t: t, closed: map[string]bool{}, kids: map[string][]string{}}
}

func (f *familyCheck) born(parent, child string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.births++
	assert.False(f.t, f.closed[parent], "birth after the parent's Close")
	_, twice := f.closed[child]
	assert.False(f.t, twice, "born twice")
	f.closed[child] = false
	f.kids[parent] = append(f.kids[parent], child)
}

func (f *familyCheck) end(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	closed, born := f.closed[id]
	assert.True(f.t, born, "Close before birth")
	assert.False(f.t, closed, "Close twice")
	for _, kid := range f.kids[id] {
		assert.True(f.t, f.closed[kid], "Close before a child's")
	}
	f.closed[id] = true
}

func (f *familyCheck) allClosed() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, closed := range f.closed {
		assert.True(f.t, closed, "never closed")
	}
}

// watch follows everything that is created in s.
func (f *familyCheck) watch(s SFU) {
	s.Observer().NewWorker.On(func(w Worker) {
		f.born("", w.ID())
		w.Observer().Close.On(func(struct{}) { f.end(w.ID()) })
		w.Observer().NewWebRTCServer.On(func(s WebRTCServer) {
			f.born(w.ID(), s.ID())
			s.Observer().Close.On(func(struct{}) { f.end(s.ID()) })
			var handled sync.Map
			s.Observer().WebRTCTransportHandled.On(func(t WebRTCTransport) { handled.Store(t, true) })
			s.Observer().WebRTCTransportUnhandled.On(func(t WebRTCTransport) {
				_, ok := handled.LoadAndDelete(t)
				assert.True(f.t, ok, "unhandled, but was not handled")
			})
			s.Observer().Close.On(func(struct{}) {
				handled.Range(func(any, any) bool {
					assert.Fail(f.t, "never unhandled")
					return false
				})
			})
		})
		w.Observer().NewRouter.On(func(r Router) {
			f.born(w.ID(), r.ID())
			r.Observer().Close.On(func(struct{}) { f.end(r.ID()) })
			r.Observer().NewTransport.On(func(t Transport) {
				f.born(r.ID(), t.ID())
				t.Observer().Close.On(func(struct{}) { f.end(t.ID()) })
				t.Observer().NewProducer.On(func(p Producer) {
					f.born(t.ID(), p.ID())
					p.Observer().Close.On(func(struct{}) { f.end(p.ID()) })
				})
				t.Observer().NewConsumer.On(func(c Consumer) {
					f.born(t.ID(), c.ID())
					var causes atomic.Int32
					c.Events().ProducerClose.On(func(struct{}) { causes.Add(1) })
					c.Events().TransportClose.On(func(struct{}) { causes.Add(1) })
					c.Observer().Close.On(func(struct{}) {
						assert.LessOrEqual(f.t, causes.Load(), int32(1), "causes")
						f.end(c.ID())
					})
				})
			})
		})
	})
}

// expected reports an error that no race explains.
func expected(t *testing.T, err error) {
	if err != nil && !errors.Is(err, ErrInvalidState) && !errors.Is(err, ErrNotFound) {
		assert.NoError(t, err)
	}
}

// TestChaos creates and closes at every level from many goroutines.
func TestChaos(t *testing.T) {
	s := newSFU()
	f := newFamilyCheck(t)
	f.watch(s)
	deadline := time.Now().Add(2 * time.Second)
	var wg sync.WaitGroup
	for range 12 {
		wg.Go(func() {
			for time.Now().Before(deadline) {
				chaosStep(t, s)
			}
		})
	}
	wg.Wait()
	require.NoError(t, s.Close())
	wait(t, s.Done(), "Done")
	f.allClosed()
	t.Logf("%d births", f.births)
	assert.Empty(t, s.Workers())
}

// pick returns an element of list whose birth event has been delivered, so that
// who watches it misses nothing, or the zero value.
func pick[T any](list []T) (v T, ok bool) {
	if len(list) == 0 {
		return v, false
	}
	v = list[rand.IntN(len(list))]
	<-any(v).(node).base().born.done()
	return v, true
}

type node interface{ base() *object }

// chaosStep does one random thing somewhere in s.
func chaosStep(t *testing.T, s SFU) {
	ctx := t.Context()
	w, ok := pick(s.Workers())
	if !ok || len(s.Workers()) < 3 && rand.IntN(20) == 0 {
		_, err := s.CreateWorker(ctx, WorkerSettings{})
		expected(t, err)
		return
	}
	r, ok := pick(w.Routers())
	server, served := pick(w.WebRTCServers())
	tr, hasTransport := Transport(nil), false
	if ok {
		tr, hasTransport = pick(r.Transports())
	}
	switch n := rand.IntN(100); {
	case n == 0:
		expected(t, w.Close())
	case n < 3 && served:
		expected(t, server.Close())
	case n < 6 && !served:
		_, err := w.CreateWebRTCServer(ctx, WebRTCServerOptions{ListenInfos: []ListenInfo{udp()}})
		expected(t, err)
	case !ok || n < 8:
		_, err := w.CreateRouter(ctx, RouterOptions{MediaCodecs: testCodecs()})
		expected(t, err)
	case n < 11:
		expected(t, r.Close())
	case !hasTransport || n < 20:
		_, err := r.CreateDirectTransport(ctx, DirectTransportOptions{})
		expected(t, err)
	case n < 30 && served:
		_, err := r.CreateWebRTCTransport(ctx, WebRTCTransportOptions{WebRTCServer: server})
		expected(t, err)
	case n < 38:
		expected(t, tr.Close())
	case n < 55:
		_, err := tr.Produce(ctx, audioOptions(rand.Uint32()))
		expected(t, err)
	default:
		chaosMedia(t, r, tr)
	}
}

func chaosMedia(t *testing.T, r Router, tr Transport) {
	ctx := t.Context()
	from, _ := pick(r.Transports())
	if from == nil {
		return
	}
	p, ok := pick(from.Producers())
	if !ok {
		return
	}
	c, hasConsumer := pick(tr.Consumers())
	switch n := rand.IntN(10); {
	case n == 0:
		expected(t, p.Close())
	case n == 1 && hasConsumer:
		expected(t, c.Close())
	case n == 2:
		expected(t, p.Pause(ctx))
	case n == 3:
		expected(t, p.Resume(ctx))
	case n == 4 && hasConsumer:
		expected(t, c.Pause(ctx))
	case n == 5 && hasConsumer:
		expected(t, c.Resume(ctx))
	default:
		_, err := tr.Consume(ctx, ConsumerOptions{ProducerID: p.ID(), RTPCapabilities: r.RTPCapabilities()})
		expected(t, err)
	}
}

// TestPauseRace checks that concurrent calls leave the same state everywhere.
func TestPauseRace(t *testing.T) {
	r := testRouter(t, testWorker(t))
	d := testDirect(t, r)
	p := testProduce(t, d, audioOptions(1))
	c := testConsume(t, r, d, p)
	for range 50 {
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				if i%2 == 0 {
					assert.NoError(t, p.Pause(t.Context()))
					assert.NoError(t, c.Resume(t.Context()))
				} else {
					assert.NoError(t, p.Resume(t.Context()))
					assert.NoError(t, c.Pause(t.Context()))
				}
			})
		}
		wg.Wait()
		pd, err := p.Dump(t.Context())
		require.NoError(t, err)
		cd, err := c.Dump(t.Context())
		require.NoError(t, err)
		assert.Equal(t, pd.Paused, p.Paused())
		assert.Equal(t, pd.Paused, c.ProducerPaused())
		assert.Equal(t, cd.Paused, c.Paused())
	}
}

// TestConcurrentClose lets everything be closed by many goroutines at a time.
func TestConcurrentClose(t *testing.T) {
	for range 20 {
		x := newTree(t)
		f := newFamilyCheck(t)
		for _, o := range x.objects() {
			f.born("", o.ID())
			closer := o
			onClose(o, func() { f.end(closer.ID()) })
		}
		f.births = 0
		f.kids = map[string][]string{
			x.worker.ID(): {x.server.ID(), x.router.ID()},
			x.router.ID(): {x.web.ID(), x.plain.ID(), x.direct.ID()},
			x.web.ID():    {x.audio.ID(), x.video.ID(), x.own.ID(), x.c5.ID()},
			x.server.ID(): {x.web.ID()},
			x.plain.ID():  {x.c1.ID(), x.c2.ID()},
			x.direct.ID(): {x.sent.ID(), x.c3.ID(), x.c4.ID()},
		}
		var wg sync.WaitGroup
		for _, o := range x.objects() {
			wg.Go(func() { assert.NoError(t, o.Close()) })
		}
		wg.Wait()
		for name, o := range x.objects() {
			wait(t, o.Done(), "Done of "+name)
		}
		f.allClosed()
	}
}

// onClose calls f when the observer of o hears Close.
func onClose(o lived, f func()) {
	on := func(e *Event[struct{}]) { e.On(func(struct{}) { f() }) }
	switch o := o.(type) {
	case Worker:
		on(&o.Observer().Close)
	case WebRTCServer:
		on(&o.Observer().Close)
	case Router:
		on(&o.Observer().Close)
	case Transport:
		on(&o.Observer().Close)
	case Producer:
		on(&o.Observer().Close)
	case Consumer:
		on(&o.Observer().Close)
	}
}
