package mafalda_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/internal/peer"
)

// TestAbuseTransports opens and closes transports of all kinds, several
// goroutines at a time, with Producers and Consumers on them and packets on
// their way to them.
func TestAbuseTransports(t *testing.T) {
	s := newSiege(t)
	server := newServer(t, s.worker)
	noise := udpSocket(t)
	rounds := func(n int) {
		var wg sync.WaitGroup
		const workers = 4
		for w := range workers {
			wg.Go(func() {
				for i := range n / workers {
					openAndClose(t, s.router, server, 4*i+w, func(a netip.AddrPort) {
						noise.WriteToUDPAddrPort(opus(5, uint16(i), []byte{1}), a)
						noise.WriteToUDPAddrPort(check{ufrag: "x", password: "y"}.build(t), a)
					})
				}
			})
		}
		wg.Wait()
	}
	rounds(200) // what grows once is there
	s.before = used()
	n := much(2000, 10_000)
	began := time.Now()
	rounds(n)
	t.Logf("%d transports in %v", n, time.Since(began).Round(time.Millisecond))
	require.Empty(t, openTransports(s.router))
	d, err := server.Dump(t.Context())
	require.NoError(t, err)
	require.Empty(t, d.LocalICEUsernameFragments)
	s.before.returns(t, 8)
	noise.Close()
	require.NoError(t, server.Close())
	s.end(8)
}

// openTransports lists those that are not of the honest room.
func openTransports(r mafalda.Router) (list []mafalda.Transport) {
	for _, tr := range r.Transports() {
		if len(tr.Producers())+len(tr.Consumers()) == 0 {
			list = append(list, tr)
		}
	}
	return list
}

func openAndClose(t *testing.T, r mafalda.Router, server mafalda.WebRTCServer, i int, shoot func(netip.AddrPort)) {
	ctx := context.Background()
	var tr mafalda.Transport
	var err error
	switch i / 4 % 4 {
	case 0:
		var w mafalda.WebRTCTransport
		if w, err = r.CreateWebRTCTransport(ctx, webRTCOptions()); err == nil {
			tr = w
			shoot(netip.AddrPortFrom(loopback, w.ICECandidates()[0].Port))
		}
	case 1:
		var w mafalda.WebRTCTransport
		if w, err = r.CreateWebRTCTransport(ctx, mafalda.WebRTCTransportOptions{WebRTCServer: server}); err == nil {
			tr = w
			shoot(netip.AddrPortFrom(loopback, w.ICECandidates()[0].Port))
		}
	case 2:
		var p mafalda.PlainTransport
		p, err = r.CreatePlainTransport(ctx, mafalda.PlainTransportOptions{
			ListenInfo: mafalda.ListenInfo{Protocol: mafalda.ProtocolUDP, IP: loopback}, RTCPMux: new(i%8 < 4), Comedia: true,
		})
		if err == nil {
			tr = p
			shoot(netip.AddrPortFrom(loopback, p.Tuple().LocalPort))
		}
	default:
		tr, err = r.CreateDirectTransport(ctx, mafalda.DirectTransportOptions{})
	}
	if !assert.NoError(t, err) {
		return
	}
	if i%3 > 0 {
		p, err := tr.Produce(ctx, audio(5))
		if assert.NoError(t, err) {
			_, err = tr.Consume(ctx, mafalda.ConsumerOptions{ProducerID: p.ID(), RTPCapabilities: r.RTPCapabilities()})
			assert.NoError(t, err)
			if tr.Type() == mafalda.TransportTypeDirect {
				assert.NoError(t, p.Send(opus(5, 1, []byte{1})))
			}
		}
	}
	assert.NoError(t, tr.Close())
}

// TestAbuseHandshakes closes transports at any moment between their creation
// and media, in both DTLS roles, over UDP and TCP.
func TestAbuseHandshakes(t *testing.T) {
	s := newSiege(t)
	server := newServer(t, s.worker)
	rng := rand.New(rand.NewPCG(9, 10))
	var wg sync.WaitGroup
	for i := range much(60, 3000) {
		o := webRTCOptions()
		if i%2 == 0 {
			o = mafalda.WebRTCTransportOptions{WebRTCServer: server}
		}
		tr := newWebRTC(t, s.router, o)
		producer := produce(t, tr, video(100, "v"))
		consume(t, s.router, tr, producer)
		cfg := peer.Config{Server: i%4 < 2, TCP: i%8 < 4}
		after := time.Duration(rng.IntN(40_000)) * time.Microsecond
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
			defer cancel()
			p, err := peer.New(cfg)
			if !assert.NoError(t, err) {
				return
			}
			defer p.Close()
			if err := tr.Connect(ctx, mafalda.WebRTCTransportConnectOptions{DTLSParameters: p.DTLSParameters()}); err != nil {
				return
			}
			if p.Connect(ctx, tr.ICEParameters(), tr.ICECandidates()) != nil {
				return
			}
			for n := range 50 {
				if p.WriteRTP(vp8(100, uint16(n), n == 0, "v")) != nil {
					return
				}
			}
		})
		wg.Go(func() {
			time.Sleep(after) // any moment will do
			assert.NoError(t, tr.Close())
		})
		if i%8 == 7 {
			wg.Wait()
		}
	}
	wg.Wait()
	require.NoError(t, server.Close())
	s.end(16)
}

// TestAbuseListenersThatClose closes an object from each event that the network
// causes, and from birth and close events.
func TestAbuseListenersThatClose(t *testing.T) {
	s := newSiege(t)
	type live struct {
		worker   mafalda.Worker
		router   mafalda.Router
		in, out  mafalda.WebRTCTransport
		producer mafalda.Producer
		consumer mafalda.Consumer
	}
	objects := map[string]func(*live) io.Closer{
		"worker":   func(x *live) io.Closer { return x.worker },
		"router":   func(x *live) io.Closer { return x.router },
		"in":       func(x *live) io.Closer { return x.in },
		"producer": func(x *live) io.Closer { return x.producer },
		"consumer": func(x *live) io.Closer { return x.consumer },
	}
	events := map[string]func(x *live, f func()){
		"ice":   func(x *live, f func()) { x.in.Events().ICEStateChange.On(func(mafalda.ICEState) { f() }) },
		"tuple": func(x *live, f func()) { x.in.Events().ICESelectedTupleChange.On(func(mafalda.TransportTuple) { f() }) },
		"dtls": func(x *live, f func()) {
			x.in.Events().DTLSStateChange.On(func(s mafalda.DTLSState) {
				if s == mafalda.DTLSStateConnected {
					f()
				}
			})
		},
		"score": func(x *live, f func()) { x.producer.Events().Score.On(func([]mafalda.ProducerScore) { f() }) },
		"trace": func(x *live, f func()) { x.producer.Events().Trace.On(func(mafalda.TraceEvent) { f() }) },
		"close": func(x *live, f func()) { x.consumer.Observer().Close.On(func(struct{}) { f() }) },
	}
	for name, on := range events {
		for target, of := range objects {
			t.Run(name+" closes "+target, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				var x live
				x.worker, x.router = s.addWorker()
				x.in, x.out = newWebRTC(t, x.router, webRTCOptions()), newWebRTC(t, x.router, webRTCOptions())
				x.producer = produce(t, x.in, video(100, "v"))
				x.consumer = consume(t, x.router, x.out, x.producer)
				require.NoError(t, x.producer.EnableTraceEvent(ctx, mafalda.TraceRTP))
				done := make(chan struct{})
				connecting, connected := context.WithTimeout(ctx, 5*time.Second)
				defer connected()
				var once sync.Once
				on(&x, func() {
					once.Do(func() {
						defer close(done)
						defer connected() // or never will be
						assert.NoError(t, of(&x).Close())
					})
				})
				e, err := peer.New(peer.Config{})
				require.NoError(t, err)
				defer e.Close()
				require.NoError(t, x.in.Connect(ctx, mafalda.WebRTCTransportConnectOptions{DTLSParameters: e.DTLSParameters()}))
				if e.Connect(connecting, x.in.ICEParameters(), x.in.ICECandidates()) == nil {
					for n := range 20 {
						_ = e.WriteRTP(vp8(100, uint16(n), n == 0, "v"))
						time.Sleep(time.Millisecond) // the pace of a sender
					}
				}
				if name == "close" {
					require.NoError(t, x.consumer.Close())
				}
				select {
				case <-done:
				case <-ctx.Done():
					t.Fatal("the listener that closes was not called, or does not return")
				}
				require.NoError(t, x.worker.Close())
				select {
				case <-x.worker.Done():
				case <-ctx.Done():
					t.Fatal("the Worker does not end")
				}
			})
		}
	}
	s.end(16)
}

// TestAbuseWorkerClose closes Workers with everything in them, while packets
// flow and calls of all kinds are under way.
func TestAbuseWorkerClose(t *testing.T) {
	s := newSiege(t)
	rng := rand.New(rand.NewPCG(11, 12))
	for i := range much(6, 200) {
		worker, router := s.addWorker()
		server := newServer(t, worker)
		in := newWebRTC(t, router, mafalda.WebRTCTransportOptions{WebRTCServer: server})
		sender := connect(t, in, peer.Config{TCP: i%2 == 0})
		producer := produce(t, in, video(100, "v"))
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			for n := uint16(0); ; n++ {
				select {
				case <-stop:
					return
				default:
					_ = sender.WriteRTP(vp8(100, n, n%30 == 0, "v"))
					time.Sleep(100 * time.Microsecond) // the pace of a sender
				}
			}
		})
		for g := range 6 {
			wg.Go(func() {
				for {
					over := worker.Closed()
					if err := everyCall(t, router, server, in, producer, g); err != nil {
						oneClass(t, err)
						if errors.Is(err, mafalda.ErrClosed) {
							return
						}
						if !assert.False(t, over, "call %d on what is closed: %v", g, err) {
							return
						}
					} else if !assert.False(t, over, "call %d has worked", g) {
						return
					}
				}
			})
		}
		time.Sleep(time.Duration(rng.IntN(30)) * time.Millisecond) // any moment will do
		for _, c := range [][]io.Closer{{worker}, {router, worker}, {server, router, worker}, {worker, server}}[rng.IntN(4)] {
			wg.Go(func() { assert.NoError(t, c.Close()) })
		}
		<-worker.Done()
		close(stop)
		wg.Wait()
		sender.Close()
		require.False(t, worker.Died())
		require.Empty(t, router.Transports())
	}
	s.end(16)
}

// everyCall makes a few calls and returns the first error.
func everyCall(t *testing.T, r mafalda.Router, server mafalda.WebRTCServer, tr mafalda.WebRTCTransport, p mafalda.Producer, which int) error {
	ctx := context.Background()
	switch which {
	case 0:
		n, err := r.CreateWebRTCTransport(ctx, mafalda.WebRTCTransportOptions{WebRTCServer: server})
		if err != nil {
			return err
		}
		if _, err = n.Consume(ctx, mafalda.ConsumerOptions{ProducerID: p.ID(), RTPCapabilities: r.RTPCapabilities()}); err != nil {
			return err
		}
		return n.Close()
	case 1:
		if _, err := tr.RestartICE(ctx); err != nil {
			return err
		}
		_, err := tr.Dump(ctx)
		return err
	case 2:
		if err := p.Pause(ctx); err != nil {
			return err
		}
		return p.Resume(ctx)
	case 3:
		d, err := r.CreateDirectTransport(ctx, mafalda.DirectTransportOptions{})
		if err != nil {
			return err
		}
		q, err := d.Produce(ctx, audio(1))
		if err != nil {
			return err
		}
		for n := range 20 {
			if err := q.Send(opus(1, uint16(n), []byte{1})); err != nil {
				return err
			}
		}
		return d.Close()
	case 4:
		_, err := p.Stats(ctx)
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 50*time.Microsecond)
	defer cancel()
	_, err := server.Dump(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

// oneClass checks that an error belongs to exactly one class.
func oneClass(t testing.TB, err error) {
	t.Helper()
	n := 0
	for _, class := range []error{
		mafalda.ErrInvalidArgument, mafalda.ErrInvalidState, mafalda.ErrNotFound, mafalda.ErrUnavailable,
		errors.ErrUnsupported, context.Canceled, context.DeadlineExceeded,
	} {
		if errors.Is(err, class) {
			n++
		}
	}
	assert.Equal(t, 1, n, "classes of %v", err)
	var e *mafalda.Error
	assert.True(t, errors.As(err, &e), fmt.Sprintf("%T is no *Error", err))
}
