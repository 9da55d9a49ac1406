package acceptance

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/internal/peer"
)

var concurrencyCases = []testCase{
	{
		name:        "Concurrency/Close",
		explanation: "Close may be called by many goroutines, on an object and its parents: each event comes once",
		run:         testConcurrencyClose,
	},
	{
		name:        "Concurrency/CreateAndClose",
		explanation: "what is created while the parent closes either fails with ErrClosed or is closed by it, heard first as new and then as closed",
		run:         testConcurrencyCreateAndClose,
	},
	{
		name:        "Concurrency/CallsWhileClosing",
		explanation: "a call that is under way when the Worker closes or dies is answered: with its result or with ErrWorkerClosed",
		upstream:    []string{"newer 10"},
		run:         testConcurrencyCallsWhileClosing,
	},
	{
		name:        "Concurrency/PauseResume",
		explanation: "Pause and Resume by many goroutines alternate in what the observer hears, and end as the getter says",
		upstream:    []string{"Producer 10", "Producer 11", "Consumer 7"},
		run:         testConcurrencyPauseResume,
	},
	{
		name:        "Concurrency/Rooms",
		explanation: "rooms on one Worker don't disturb each other while others come and go",
		run:         testConcurrencyRooms,
	},
	{
		name:        "Concurrency/SlowListener",
		explanation: "a listener that takes its time delays events but neither media nor calls",
		run:         testConcurrencySlowListener,
	},
	{
		name:        "Concurrency/EffectsBeforeReturn",
		explanation: "what a call causes is heard before it returns, on the caller's goroutine",
		upstream:    []string{"Consumer 16"},
		run:         testConcurrencyEffectsBeforeReturn,
	},
}

// together runs each f at the same time and waits for all.
func together(f ...func()) {
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for _, f := range f {
		wg.Go(func() {
			<-begin
			f()
		})
	}
	close(begin)
	wg.Wait()
}

func testConcurrencyClose(t *testing.T, s *suite) {
	w := s.worker(t)
	for range 10 {
		x := newTree(t, newRoom(t, w))
		var calls []func()
		for _, o := range []mafalda.Lifetime{x.p, x.own, x.far, x.in, x.out, x.router, x.server} {
			for range 2 {
				calls = append(calls, func() {
					if err := o.Close(); err != nil {
						t.Error(err)
					}
				})
			}
		}
		together(calls...)
		for _, o := range []mafalda.Lifetime{x.p, x.own, x.far, x.in, x.out, x.router, x.server} {
			done(t, o)
		}
		for _, name := range []string{"p close", "own close", "far close", "in close", "out close", "router close", "server close"} {
			require.Equal(t, 1, x.j.count(name), name)
		}
	}
	d, err := w.Dump(t.Context())
	require.NoError(t, err)
	require.Empty(t, d.MessageHandlers.RequestHandlers)
}

func testConcurrencyCreateAndClose(t *testing.T, s *suite) {
	for range 10 {
		r := s.room(t)
		var j journal
		r.router.Observer().NewTransport.On(func(tr mafalda.Transport) {
			j.write("new " + tr.ID())
			note(&j, &tr.Observer().Close, "close "+tr.ID())
		})
		var mu sync.Mutex
		var made []mafalda.Lifetime
		keep := func(o mafalda.Lifetime, err error) {
			if err != nil {
				if !errors.Is(err, mafalda.ErrClosed) && !errors.Is(err, mafalda.ErrNotFound) {
					t.Error(err)
				}
				return
			}
			mu.Lock()
			defer mu.Unlock()
			made = append(made, o)
		}
		tr := r.direct(t)
		p := produce(t, tr, mafalda.MediaKindAudio, audio("", 1))
		caps := r.router.RTPCapabilities()
		calls := []func(){func() { r.router.Close() }, func() { tr.Close() }, func() { p.Close() }}
		for i := range 6 {
			calls = append(calls, func() {
				o, err := r.router.CreateWebRTCTransport(t.Context(), overUDP())
				keep(o, err)
			}, func() {
				o, err := tr.Produce(t.Context(), mafalda.ProducerOptions{Kind: "audio", RTPParameters: audio(fmt.Sprint(i), uint32(10+i))})
				keep(o, err)
			}, func() {
				o, err := tr.Consume(t.Context(), mafalda.ConsumerOptions{ProducerID: p.ID(), RTPCapabilities: caps})
				keep(o, err)
			})
		}
		together(calls...)
		for _, o := range made {
			done(t, o)
			if tr, ok := o.(mafalda.Transport); ok {
				j.requireOrder(t, "new "+tr.ID(), "close "+tr.ID())
			}
		}
		d, err := r.worker.Dump(t.Context())
		require.NoError(t, err)
		require.Empty(t, d.MessageHandlers.RequestHandlers)
		require.NoError(t, r.worker.Close())
	}
}

func testConcurrencyCallsWhileClosing(t *testing.T, s *suite) {
	for _, dies := range []bool{false, true} {
		r := s.room(t)
		x := newTree(t, r)
		end := func() { r.worker.Close() }
		if dies {
			kill := s.killer(t, r.worker)
			end = func() {
				if err := kill(errors.New("planted")); err != nil {
					t.Error(err)
				}
			}
		}
		calls := []func(){end}
		for range 8 {
			for _, f := range []func(context.Context) error{
				func(ctx context.Context) error { _, err := x.p.Stats(ctx); return err },
				func(ctx context.Context) error { _, err := x.in.Dump(ctx); return err },
				x.far.Pause, x.p.Resume, x.far.RequestKeyFrame,
			} {
				calls = append(calls, func() {
					if err := f(within(t, patience)); err != nil && !errors.Is(err, mafalda.ErrWorkerClosed) {
						t.Error(err)
					}
				})
			}
		}
		together(calls...)
		done(t, r.worker)
	}
}

func testConcurrencyPauseResume(t *testing.T, s *suite) {
	r := s.room(t)
	p := produce(t, r.direct(t), mafalda.MediaKindAudio, audio("", 1))
	c := r.consume(t, r.direct(t), p)
	var jp, jc journal
	note(&jp, &p.Observer().Pause, "pause")
	note(&jp, &p.Observer().Resume, "resume")
	note(&jc, &c.Events().ProducerPause, "pause")
	note(&jc, &c.Events().ProducerResume, "resume")
	var calls []func()
	for range 8 {
		calls = append(calls, func() { p.Pause(t.Context()) }, func() { p.Resume(t.Context()) })
	}
	together(calls...)
	require.Equal(t, p.Paused(), dumpProducer(t, p).Paused)
	eventually(t, "the Consumer agrees", func() bool { return c.ProducerPaused() == p.Paused() })
	require.Equal(t, dumpConsumer(t, c).ProducerPaused, c.ProducerPaused())
	for _, j := range []*journal{&jp, &jc} {
		paused := 0
		for _, name := range j.read() {
			if name == "pause" {
				paused++
			} else {
				paused--
			}
		}
		want := 0
		if p.Paused() {
			want = 1
		}
		require.Equal(t, want, paused, "as many of each as it takes")
	}
}

func testConcurrencyRooms(t *testing.T, s *suite) {
	r := s.room(t)
	server := r.server(t)
	o := mafalda.WebRTCTransportOptions{WebRTCServer: server}
	in, out := r.webRTCEnd(t, o, peer.Config{}), r.webRTCEnd(t, o, peer.Config{})
	c := out.consume(t, r, in.produce(t, mafalda.MediaKindAudio, audio("", 1)))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for !ended(stop) {
				x, err := r.worker.CreateRouter(t.Context(), mafalda.RouterOptions{MediaCodecs: mediaCodecs()})
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := x.CreateWebRTCTransport(t.Context(), o); err != nil {
					t.Error(err)
				}
				if err := x.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	src := opusSource(1)
	var last uint16
	for i := range 200 {
		in.sendRTP(t, src.packet(fmt.Append(nil, i)))
		got := out.next(t, c)
		require.Equal(t, fmt.Sprint(i), string(got.Payload))
		if i > 0 {
			require.Equal(t, last+1, got.SequenceNumber)
		}
		last = got.SequenceNumber
	}
	close(stop)
	wg.Wait()
}

func testConcurrencySlowListener(t *testing.T, s *suite) {
	r := s.room(t)
	in, out := r.plainEnd(t, mafalda.PlainTransportOptions{}), r.plainEnd(t, mafalda.PlainTransportOptions{})
	p := in.produce(t, mafalda.MediaKindAudio, audio("", 1))
	c := out.consume(t, r, p)
	release := make(chan struct{})
	blocked := make(chan struct{}, 1)
	stop := p.Events().Score.On(func([]mafalda.ProducerScore) {
		blocked <- struct{}{}
		<-release
	})
	src := opusSource(1)
	in.sendRTP(t, src.packet([]byte("first")))
	receive(t, blocked, "the listener")
	for i := range 50 {
		in.sendRTP(t, src.packet(fmt.Append(nil, i)))
	}
	require.Equal(t, "first", string(out.next(t, c).Payload))
	for i := range 50 {
		require.Equal(t, fmt.Sprint(i), string(out.next(t, c).Payload))
	}
	require.NoError(t, p.Pause(t.Context()))
	require.True(t, p.Paused())
	_, err := c.Stats(t.Context())
	require.NoError(t, err)
	stop()
	close(release)
	require.NoError(t, r.worker.Close())
}

func testConcurrencyEffectsBeforeReturn(t *testing.T, s *suite) {
	x := newTree(t, s.room(t))
	var heard []string // without a lock: the race detector tells of another goroutine
	x.far.Events().ProducerPause.On(func(struct{}) { heard = append(heard, "producerpause") })
	x.far.Observer().Pause.On(func(struct{}) { heard = append(heard, "pause") })
	x.p.Observer().Pause.On(func(struct{}) { heard = append(heard, "producer pause") })
	x.far.Events().ProducerClose.On(func(struct{}) { heard = append(heard, "producerclose") })
	x.far.Observer().Close.On(func(struct{}) { heard = append(heard, "close") })
	require.NoError(t, x.p.Pause(t.Context()))
	require.ElementsMatch(t, []string{"producerpause", "pause", "producer pause"}, heard)
	heard = nil
	require.NoError(t, x.p.Close())
	require.Equal(t, []string{"producerclose", "close"}, heard)
	require.True(t, x.far.Closed())
}
