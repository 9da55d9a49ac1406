package mafalda

import (
	"errors"
	"io"
	"maps"
	"net"
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What is emitted when a transport of a tree closes, but for itself.
const (
	inWeb = `audio!TransportClose audio.o!Close video!TransportClose video.o!Close
		own!TransportClose own.o!Close c5!TransportClose c5.o!Close`
	inPlain  = `c1!TransportClose c1.o!Close c2!TransportClose c2.o!Close`
	inDirect = `sent!TransportClose sent.o!Close
		c3!TransportClose c3.o!Close c4!TransportClose c4.o!Close`
	ofWeb    = `c3!ProducerClose c3.o!Close c1!ProducerClose c1.o!Close`
	ofDirect = `c2!ProducerClose c2.o!Close c5!ProducerClose c5.o!Close`
	inRouter = inWeb + ` web!RouterClose server.o!WebRTCTransportUnhandled web.o!Close ` +
		inPlain + ` plain!RouterClose plain.o!Close ` +
		inDirect + ` direct!RouterClose direct.o!Close`
	inWorker = inRouter + ` router!WorkerClose router.o!Close server!WorkerClose server.o!Close`
)

// TestCloseMatrix has the sequences of mediasoup's control-plane recordings
// (03-close-*), as far as its objects exist here.
func TestCloseMatrix(t *testing.T) {
	tests := []struct {
		name  string
		close func(x *tree) io.Closer
		want  []string
		gone  string // objects that are closed then
	}{
		{
			"sfu", func(x *tree) io.Closer { return x.sfu }, fields(inWorker, `worker.o!Close sfu.o!Close`),
			"worker server router web plain direct audio video sent own c1 c2 c3 c4 c5",
		},
		{
			"worker", func(x *tree) io.Closer { return x.worker }, fields(inWorker, `worker.o!Close`),
			"worker server router web plain direct audio video sent own c1 c2 c3 c4 c5",
		},
		{
			"router", func(x *tree) io.Closer { return x.router }, fields(inRouter, `router.o!Close`),
			"router web plain direct audio video sent own c1 c2 c3 c4 c5",
		},
		{
			"WebRTCServer", func(x *tree) io.Closer { return x.server },
			fields(inWeb, `web!ListenServerClose web.o!Close server.o!WebRTCTransportUnhandled server.o!Close`, ofWeb),
			"server web audio video own c1 c3 c5",
		},
		{
			"WebRTCTransport", func(x *tree) io.Closer { return x.web },
			fields(inWeb, `server.o!WebRTCTransportUnhandled web.o!Close`, ofWeb), "web audio video own c1 c3 c5",
		},
		{"PlainTransport", func(x *tree) io.Closer { return x.plain }, fields(inPlain, `plain.o!Close`), "plain c1 c2"},
		{
			"DirectTransport", func(x *tree) io.Closer { return x.direct }, fields(inDirect, `direct.o!Close`, ofDirect),
			"direct sent c2 c3 c4 c5",
		},
		{
			"Producer", func(x *tree) io.Closer { return x.audio },
			fields(`audio.o!Close own!ProducerClose own.o!Close c3!ProducerClose c3.o!Close`), "audio own c3",
		},
		{"Consumer", func(x *tree) io.Closer { return x.c2 }, fields(`c2.o!Close`), "c2"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			x := newTree(t)
			c := test.close(x)
			require.NoError(t, c.Close())
			assert.Equal(t, test.want, x.take())
			require.NoError(t, c.Close())
			assert.Empty(t, x.take(), "events of the second Close")
			gone := fields(test.gone)
			for _, name := range slices.Sorted(maps.Keys(x.objects())) {
				o := x.objects()[name]
				assert.Equal(t, slices.Contains(gone, name), o.Closed(), "%s.Closed()", name)
				select {
				case <-o.Done():
					assert.Contains(t, gone, name, "%s is done", name)
				default:
					assert.NotContains(t, gone, name, "%s is not done", name)
				}
				o.SetAppData(name) // works on a closed one too
				assert.Equal(t, name, o.AppData())
			}
			x.checkListings(t)
		})
	}
}

// checkListings compares the listings and the engine's with what is closed.
func (x *tree) checkListings(t *testing.T) {
	open := func(list ...lived) []string {
		var ids []string
		for _, o := range list {
			if !o.Closed() {
				ids = append(ids, o.ID())
			}
		}
		return ids
	}
	assert.Equal(t, open(x.worker), idsOf(x.sfu.Workers()))
	assert.Equal(t, open(x.router), idsOf(x.worker.Routers()))
	assert.Equal(t, open(x.server), idsOf(x.worker.WebRTCServers()))
	assert.Equal(t, open(x.web, x.plain, x.direct), idsOf(x.router.Transports()))
	assert.Equal(t, open(x.audio, x.video), idsOf(x.web.Producers()))
	assert.Equal(t, open(x.own, x.c5), idsOf(x.web.Consumers()))
	assert.Equal(t, open(x.c3, x.c4), idsOf(x.direct.Consumers()))
	for _, p := range []Producer{x.audio, x.video, x.sent} {
		assert.Equal(t, !p.Closed(), x.router.CanConsume(p.ID(), x.router.RTPCapabilities()))
	}
	if x.worker.Closed() {
		return
	}
	w, err := x.worker.Dump(t.Context())
	require.NoError(t, err)
	all := open(x.server, x.router, x.web, x.plain, x.direct, x.audio, x.video, x.sent, x.own, x.c1, x.c2, x.c3, x.c4, x.c5)
	assert.ElementsMatch(t, all, w.MessageHandlers.RequestHandlers, "what the engine has")
	impl := x.worker.(*worker)
	impl.mu.Lock()
	defer impl.mu.Unlock()
	assert.Len(t, impl.targets, len(open(x.web, x.plain, x.direct, x.audio, x.video, x.sent, x.own, x.c1, x.c2, x.c3, x.c4, x.c5)))
}

func idsOf[T interface{ ID() string }](list []T) []string {
	var ids []string
	for _, o := range list {
		ids = append(ids, o.ID())
	}
	return ids
}

// TestClosed calls everything on closed objects.
func TestClosed(t *testing.T) {
	calls := func(x *tree) map[string]func() error {
		ctx := t.Context()
		return map[string]func() error{
			"server.Dump": func() error { _, err := x.server.Dump(ctx); return err },
			"router.Dump": func() error { _, err := x.router.Dump(ctx); return err },
			"router.CreateWebRTCTransport": func() error {
				_, err := x.router.CreateWebRTCTransport(ctx, WebRTCTransportOptions{ListenInfos: []ListenInfo{udp()}})
				return err
			},
			"router.CreatePlainTransport": func() error {
				_, err := x.router.CreatePlainTransport(ctx, PlainTransportOptions{ListenInfo: udp()})
				return err
			},
			"router.CreateDirectTransport": func() error {
				_, err := x.router.CreateDirectTransport(ctx, DirectTransportOptions{})
				return err
			},
			"router.UpdateMediaCodecs": func() error { return x.router.UpdateMediaCodecs(ctx, nil) },
			"web.Dump":                 func() error { _, err := x.web.Dump(ctx); return err },
			"web.Stats":                func() error { _, err := x.web.Stats(ctx); return err },
			"web.Connect": func() error {
				return x.web.Connect(ctx, WebRTCTransportConnectOptions{DTLSParameters{
					DTLSRoleClient, []DTLSFingerprint{fingerprint(FingerprintSHA256, 32)},
				}})
			},
			"web.RestartICE":            func() error { _, err := x.web.RestartICE(ctx); return err },
			"web.SetMaxIncomingBitrate": func() error { return x.web.SetMaxIncomingBitrate(ctx, 0) },
			"web.SetMaxOutgoingBitrate": func() error { return x.web.SetMaxOutgoingBitrate(ctx, 0) },
			"web.SetMinOutgoingBitrate": func() error { return x.web.SetMinOutgoingBitrate(ctx, 0) },
			"web.EnableTraceEvent":      func() error { return x.web.EnableTraceEvent(ctx) },
			"web.Produce":               func() error { _, err := x.web.Produce(ctx, audioOptions(9)); return err },
			"web.Consume": func() error {
				_, err := x.web.Consume(ctx, ConsumerOptions{ProducerID: x.sent.ID(), RTPCapabilities: x.router.RTPCapabilities()})
				return err
			},
			"plain.Connect": func() error {
				return x.plain.Connect(ctx, PlainTransportConnectOptions{IP: localhost, Port: 9})
			},
			"direct.SendRTCP":        func() error { return x.direct.SendRTCP([]byte{1}) },
			"audio.Dump":             func() error { _, err := x.audio.Dump(ctx); return err },
			"audio.Stats":            func() error { _, err := x.audio.Stats(ctx); return err },
			"audio.Pause":            func() error { return x.audio.Pause(ctx) },
			"audio.Resume":           func() error { return x.audio.Resume(ctx) },
			"audio.EnableTraceEvent": func() error { return x.audio.EnableTraceEvent(ctx) },
			"sent.Send":              func() error { return x.sent.Send([]byte{1}) },
			"own.Dump":               func() error { _, err := x.own.Dump(ctx); return err },
			"own.Stats":              func() error { _, err := x.own.Stats(ctx); return err },
			"own.Pause":              func() error { return x.own.Pause(ctx) },
			"own.Resume":             func() error { return x.own.Resume(ctx) },
			"own.RequestKeyFrame":    func() error { return x.own.RequestKeyFrame(ctx) },
			"own.EnableTraceEvent":   func() error { return x.own.EnableTraceEvent(ctx) },
		}
	}
	workerCalls := func(x *tree) map[string]func() error {
		ctx := t.Context()
		m := calls(x)
		maps.Copy(m, map[string]func() error{
			"worker.Dump":           func() error { _, err := x.worker.Dump(ctx); return err },
			"worker.ResourceUsage":  func() error { _, err := x.worker.ResourceUsage(ctx); return err },
			"worker.Load":           func() error { _, err := x.worker.(LoadReporter).Load(ctx); return err },
			"worker.UpdateSettings": func() error { return x.worker.UpdateSettings(ctx, WorkerUpdateableSettings{}) },
			"worker.CreateRouter":   func() error { _, err := x.worker.CreateRouter(ctx, RouterOptions{}); return err },
			"worker.CreateWebRTCServer": func() error {
				_, err := x.worker.CreateWebRTCServer(ctx, WebRTCServerOptions{ListenInfos: []ListenInfo{udp()}})
				return err
			},
		})
		return m
	}
	check := func(t *testing.T, calls map[string]func() error, worker bool) {
		for name, f := range calls {
			err := f()
			assert.ErrorIs(t, err, ErrClosed, name)
			assert.ErrorIs(t, err, ErrInvalidState, name)
			assert.NotErrorIs(t, err, ErrNotFound, name)
			assert.Equal(t, worker, errors.Is(err, ErrWorkerClosed), "%s: %v is ErrWorkerClosed", name, err)
			_, ok := errors.AsType[*Error](err)
			assert.True(t, ok, "%s: %v is no *Error", name, err)
		}
	}
	t.Run("by the parents", func(t *testing.T) {
		x := newTree(t)
		require.NoError(t, x.router.Close())
		require.NoError(t, x.server.Close())
		check(t, calls(x), false)
	})
	t.Run("with the Worker", func(t *testing.T) {
		x := newTree(t)
		require.NoError(t, x.worker.Close())
		check(t, workerCalls(x), true)
		_, err := x.worker.CreateRouter(t.Context(), RouterOptions{MediaCodecs: []RouterRTPCodecCapability{{MIMEType: "x"}}})
		assert.ErrorIs(t, err, ErrInvalidArgument, "validation comes first")
		assert.False(t, x.router.CanConsume(x.audio.ID(), x.router.RTPCapabilities()))
	})
	t.Run("SFU", func(t *testing.T) {
		s := New()
		require.NoError(t, s.Close())
		_, err := s.CreateWorker(t.Context(), WorkerSettings{})
		assert.ErrorIs(t, err, ErrClosed)
		assert.NotErrorIs(t, err, ErrWorkerClosed)
		assert.True(t, s.Closed())
		wait(t, s.Done(), "Done")
	})
	t.Run("getters", func(t *testing.T) {
		x := newTree(t)
		x.web.Events().ICESelectedTupleChange.On(func(TransportTuple) {})
		require.NoError(t, x.worker.Close())
		assert.Equal(t, ICEStateClosed, x.web.ICEState())
		assert.Equal(t, DTLSStateClosed, x.web.DTLSState())
		assert.Nil(t, x.web.ICESelectedTuple())
		assert.NotEmpty(t, x.web.ICECandidates())
		assert.NotZero(t, x.plain.Tuple().LocalPort)
		assert.Len(t, x.router.RTPCapabilities().Codecs, 3)
		assert.False(t, x.worker.Died())
	})
}

// TestClosePorts binds the ports of what was closed.
func TestClosePorts(t *testing.T) {
	for _, name := range []string{"transport", "server", "router", "worker"} {
		x := newTree(t)
		plain := x.plain.Tuple().LocalPort
		d, err := x.server.Dump(t.Context())
		require.NoError(t, err)
		ports := map[string][]uint16{
			"transport": {plain}, "router": {plain},
			"server": {d.UDPSockets[0].Port}, "worker": {plain, d.UDPSockets[0].Port},
		}
		require.NoError(t, map[string]io.Closer{
			"transport": x.plain, "router": x.router, "server": x.server, "worker": x.worker,
		}[name].Close())
		for _, p := range ports[name] {
			c, err := net.ListenUDP("udp", &net.UDPAddr{IP: localhost.AsSlice(), Port: int(p)})
			require.NoError(t, err, "%s: port %d after Close", name, p)
			require.NoError(t, c.Close())
		}
	}
}

// TestCloseOfManyChildren: what closing a Router allocates grows with the number
// of its transports, not with the square.
func TestCloseOfManyChildren(t *testing.T) {
	w := testWorker(t)
	cost := func(n int) uint64 {
		r := testRouter(t, w)
		var last DirectTransport
		for range n {
			last = testDirect(t, r)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		require.NoError(t, r.Close())
		runtime.ReadMemStats(&after)
		wait(t, last.Done(), "Done of the last transport")
		require.Empty(t, r.Transports())
		require.Nil(t, r.(*router).transports)
		return after.TotalAlloc - before.TotalAlloc
	}
	few, many := cost(200), cost(2000)
	require.Less(t, many, 30*few, "ten times as many")
	t.Logf("%d and %d bytes", few, many)
}
