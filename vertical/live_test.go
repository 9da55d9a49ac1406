package vertical_test

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/vertical"
	"github.com/mafalda-sfu/mafalda/vertical/registry"
)

const patience = 10 * time.Second

// eventually waits until ok holds.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, patience, time.Millisecond, what)
}

var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// udp is where WebRTCServers and transports listen.
var udp = []mafalda.ListenInfo{{Protocol: mafalda.ProtocolUDP, IP: loopback}}

var bothCodecs = []mafalda.RouterRTPCodecCapability{
	{Kind: mafalda.MediaKindAudio, MIMEType: "audio/opus", ClockRate: 48000, Channels: 2},
	{Kind: mafalda.MediaKindVideo, MIMEType: "video/VP8", ClockRate: 90000},
}

// A room is a Router of an SFU, with what is below it.
type room struct {
	inner  mafalda.SFU
	sfu    *vertical.SFU
	worker mafalda.Worker
	router mafalda.Router
}

func newRoom(t testing.TB, o vertical.Options) *room {
	t.Helper()
	return newRoomOn(t, mafalda.New(), o)
}

func newRoomOn(t testing.TB, inner mafalda.SFU, o vertical.Options) *room {
	t.Helper()
	r := &room{inner: inner}
	r.sfu = vertical.New(r.inner, o)
	t.Cleanup(func() { assert.NoError(t, r.sfu.Close()) })
	var err error
	r.worker, err = r.sfu.CreateWorker(t.Context(), mafalda.WorkerSettings{})
	require.NoError(t, err)
	r.router = newRouter(t, r.worker)
	return r
}

func newRouter(t testing.TB, w mafalda.Worker) mafalda.Router {
	t.Helper()
	r, err := w.CreateRouter(t.Context(), mafalda.RouterOptions{MediaCodecs: bothCodecs})
	require.NoError(t, err)
	return r
}

func (r *room) direct(t testing.TB) mafalda.DirectTransport {
	t.Helper()
	tr, err := r.router.CreateDirectTransport(t.Context(), mafalda.DirectTransportOptions{})
	require.NoError(t, err)
	return tr
}

func produce(t testing.TB, tr mafalda.Transport) mafalda.Producer {
	t.Helper()
	return produceSSRC(t, tr, 1)
}

func produceSSRC(t testing.TB, tr mafalda.Transport, ssrc uint32) mafalda.Producer {
	t.Helper()
	p, err := tr.Produce(t.Context(), audioOf(ssrc))
	require.NoError(t, err)
	return p
}

func audioOf(ssrc uint32) mafalda.ProducerOptions {
	return mafalda.ProducerOptions{
		Kind: mafalda.MediaKindAudio,
		RTPParameters: mafalda.RTPParameters{
			Codecs:    []mafalda.RTPCodecParameters{{MIMEType: "audio/opus", PayloadType: 111, ClockRate: 48000, Channels: 2}},
			Encodings: []mafalda.RTPEncodingParameters{{SSRC: ssrc}},
		},
	}
}

func videoOf(ssrc uint32) mafalda.ProducerOptions {
	return mafalda.ProducerOptions{
		Kind: mafalda.MediaKindVideo,
		RTPParameters: mafalda.RTPParameters{
			Codecs:    []mafalda.RTPCodecParameters{{MIMEType: "video/VP8", PayloadType: 112, ClockRate: 90000}},
			Encodings: []mafalda.RTPEncodingParameters{{SSRC: ssrc}},
		},
	}
}

// server adds a WebRTCServer.
func (r *room) server(t testing.TB, listen ...mafalda.ListenInfo) mafalda.WebRTCServer {
	t.Helper()
	x, err := r.worker.CreateWebRTCServer(t.Context(), mafalda.WebRTCServerOptions{ListenInfos: listen})
	require.NoError(t, err)
	return x
}

func (r *room) consume(ctx context.Context, tr mafalda.Transport, p mafalda.Producer) (mafalda.Consumer, error) {
	return tr.Consume(ctx, mafalda.ConsumerOptions{ProducerID: p.ID(), RTPCapabilities: r.router.RTPCapabilities()})
}

// now is a set of options under which nothing lingers.
func now(n int) vertical.Options {
	o := workers(n)
	o.Linger = -1
	return o
}

func TestNothingIsStartedBeforeItIsNeeded(t *testing.T) {
	r := newRoom(t, now(2))
	require.Len(t, r.router.RTPCapabilities().Codecs, 3)
	server, err := r.worker.Dump(t.Context())
	require.NoError(t, err)
	require.Len(t, server.RouterIDs, 1)
	require.Empty(t, r.inner.Workers())

	a := r.direct(t)
	require.Len(t, r.inner.Workers(), 1)
	b := r.direct(t)
	require.Len(t, r.inner.Workers(), 2)
	require.NoError(t, a.Close())
	require.NoError(t, b.Close())
	eventually(t, "what is empty is closed", func() bool { return len(r.inner.Workers()) == 0 })
	require.False(t, r.router.Closed())
	r.direct(t)
	require.Len(t, r.inner.Workers(), 1)
}

func TestTenConsumersMakeOnePipe(t *testing.T) {
	o := workers(2)
	o.Linger = time.Hour
	r := newRoom(t, o)
	in, out := r.direct(t), r.direct(t)
	require.False(t, vertical.SameWorker(in, out))
	p := produce(t, in)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var consumers []mafalda.Consumer // guarded by mu
	for range 10 {
		wg.Go(func() {
			c, err := r.consume(t.Context(), out, p)
			if assert.NoError(t, err) {
				mu.Lock()
				defer mu.Unlock()
				consumers = append(consumers, c)
			}
		})
	}
	wg.Wait()
	u := r.sfu.Usage()
	assert.Equal(t, 1, u.Pipes)
	assert.Equal(t, 1, u.PipesMade)
	assert.Equal(t, 10, u.Consumers)
	assert.Equal(t, 1, u.Workers[0].PipesOut)
	assert.Equal(t, 1, u.Workers[1].PipesIn)
	assert.Equal(t, 10, u.Workers[1].Consumers)

	for _, c := range consumers {
		require.NoError(t, c.Close())
	}
	require.Equal(t, 1, r.sfu.Usage().Pipes, "it lingers")
	_, err := r.consume(t.Context(), out, p)
	require.NoError(t, err)
	require.Equal(t, 1, r.sfu.Usage().PipesMade, "it was used again")
	require.NoError(t, p.Close())
	require.Zero(t, r.sfu.Usage().Pipes)
}

func TestUnusedPipesAreClosed(t *testing.T) {
	r := newRoom(t, now(2))
	in, out := r.direct(t), r.direct(t)
	p := produce(t, in)
	for i := range 3 {
		c, err := r.consume(t.Context(), out, p)
		require.NoError(t, err)
		require.NoError(t, c.Close())
		eventually(t, "the pipe is closed", func() bool { return r.sfu.Usage().Pipes == 0 })
		require.Equal(t, i+1, r.sfu.Usage().PipesMade)
	}
	own, err := r.consume(t.Context(), in, p)
	require.NoError(t, err)
	require.Zero(t, r.sfu.Usage().Pipes, "none is needed on the same Worker")
	require.NoError(t, own.Close())
}

// An RTPObserver is one more that uses a pipe.
func TestTapsAreCounted(t *testing.T) {
	r := newRoom(t, now(2))
	in, out := r.direct(t), r.direct(t)
	o, err := r.router.CreateAudioLevelObserver(t.Context(), mafalda.AudioLevelObserverOptions{})
	require.NoError(t, err)
	far := in // on another Worker than o
	if vertical.OnWorkerOf(in, o) {
		far = out
	}
	p := produce(t, far)
	require.NoError(t, o.AddProducer(t.Context(), p.ID()))
	require.NoError(t, o.AddProducer(t.Context(), p.ID()))
	require.Equal(t, 1, r.sfu.Usage().Pipes)
	near := map[mafalda.Transport]mafalda.Transport{in: out, out: in}[far]
	c, err := r.consume(t.Context(), near, p)
	require.NoError(t, err)
	require.Equal(t, 1, r.sfu.Usage().PipesMade, "of the Consumer, too")
	require.NoError(t, o.RemoveProducer(t.Context(), p.ID()))
	require.Equal(t, 1, r.sfu.Usage().Pipes)
	require.NoError(t, c.Close())
	eventually(t, "the pipe is closed", func() bool { return r.sfu.Usage().Pipes == 0 })

	require.NoError(t, o.AddProducer(t.Context(), p.ID()))
	require.Equal(t, 1, r.sfu.Usage().Pipes)
	require.NoError(t, o.Close())
	eventually(t, "the pipe is closed", func() bool { return r.sfu.Usage().Pipes == 0 })
}

func TestOneWorkerIsEnough(t *testing.T) {
	r := newRoom(t, vertical.Options{CPUs: 4, Registry: plenty{}})
	in := r.direct(t)
	p := produce(t, in)
	for range 20 {
		_, err := r.consume(t.Context(), r.direct(t), p)
		require.NoError(t, err)
	}
	require.Zero(t, r.sfu.Usage().PipesMade)
	require.Len(t, r.inner.Workers(), 1)
}

func TestUnavailable(t *testing.T) {
	o := workers(2)
	o.MaxWorkers = new(0)
	r := newRoom(t, o)
	_, err := r.router.CreateDirectTransport(t.Context(), mafalda.DirectTransportOptions{})
	require.ErrorIs(t, err, mafalda.ErrUnavailable)

	for name, wrong := range map[string]vertical.Options{
		"MaxWorkers": {MaxWorkers: new(-1)}, "CPUs": {CPUs: -1},
		"WatermarkWorker": {WatermarkWorker: -0.1}, "WatermarkNode": {WatermarkNode: -1},
	} {
		sfu := vertical.New(mafalda.New(), wrong)
		_, err := sfu.CreateWorker(t.Context(), mafalda.WorkerSettings{})
		require.ErrorIs(t, err, mafalda.ErrInvalidArgument, name)
		require.NoError(t, sfu.Close())
	}
}

func TestCPUsAreShared(t *testing.T) {
	cpus, err := registry.Open(t.TempDir())
	require.NoError(t, err)
	o := now(2)
	o.Registry = cpus
	one := newRoom(t, o)
	o.Policy = new(elsewhere)
	two := newRoom(t, o)
	a, b := one.direct(t), one.direct(t)
	require.Len(t, cpus.Holders(2), 2)
	_, err = two.router.CreateDirectTransport(t.Context(), mafalda.DirectTransportOptions{})
	require.ErrorIs(t, err, mafalda.ErrUnavailable)
	require.ErrorContains(t, err, "in use by the processes")

	// Other settings need other real Workers, but no more CPUs.
	w, err := one.sfu.CreateWorker(t.Context(), mafalda.WorkerSettings{RTCMinPort: 20000, RTCMaxPort: 20999})
	require.NoError(t, err)
	other := &room{router: newRouter(t, w)}
	for range 4 {
		other.direct(t)
	}
	require.Len(t, one.inner.Workers(), 4)
	require.NoError(t, w.Close())

	require.NoError(t, a.Close())
	require.NoError(t, b.Close())
	eventually(t, "the CPUs are given back", func() bool {
		_, err := two.router.CreateDirectTransport(t.Context(), mafalda.DirectTransportOptions{})
		return err == nil
	})
}

func TestPortsOfAServer(t *testing.T) {
	r := newRoom(t, workers(2))
	create := func(x mafalda.WebRTCServer) mafalda.WebRTCTransport {
		t.Helper()
		tr, err := r.router.CreateWebRTCTransport(t.Context(), mafalda.WebRTCTransportOptions{WebRTCServer: x})
		require.NoError(t, err)
		return tr
	}
	sockets := func(x mafalda.WebRTCServer) []mafalda.IPPort {
		t.Helper()
		d, err := x.Dump(t.Context())
		require.NoError(t, err)
		return d.UDPSockets
	}
	free := r.server(t, udp...)
	require.Len(t, sockets(free), 1)
	a, same, b := create(free), create(free), create(free)
	require.True(t, vertical.SameWorker(a, same))
	require.Equal(t, a.ICECandidates()[0].Port, same.ICECandidates()[0].Port)
	require.False(t, vertical.SameWorker(a, b))
	require.Len(t, sockets(free), 2)
	require.NotEqual(t, a.ICECandidates()[0].Port, b.ICECandidates()[0].Port)
	port := sockets(free)[0].Port
	for _, tr := range []mafalda.Transport{a, same, b} {
		require.NoError(t, tr.Close())
	}
	eventually(t, "the first port is left", func() bool { return len(sockets(free)) == 1 })
	require.Equal(t, port, sockets(free)[0].Port)
	require.NoError(t, free.Close())

	fixed := r.server(t, onPort(port))
	a, b = create(fixed), create(fixed)
	require.True(t, vertical.SameWorker(a, b))
	require.Equal(t, port, b.ICECandidates()[0].Port)

	// One port for all Workers is enough for one of them only.
	port = freePort(t)
	info := onPort(0)
	info.PortRange = mafalda.PortRange{Min: port, Max: port}
	narrow := r.server(t, info)
	require.True(t, vertical.SameWorker(create(narrow), create(narrow)))
}

func TestAWorkerDies(t *testing.T) {
	r := newRoom(t, workers(2))
	var routers, died atomic.Int32
	r.sfu.Events().NewRouter.On(func(n vertical.NewRouter) {
		if assert.True(t, n.Router == r.router) {
			routers.Add(1)
		}
	})
	r.sfu.Events().WorkerDied.On(func(d vertical.WorkerDied) {
		assert.NotEmpty(t, d.WorkerID)
		assert.Error(t, d.Err)
		died.Add(1)
	})
	in, out := r.direct(t), r.direct(t)
	far := produce(t, out)
	p := produce(t, in)
	c, err := r.consume(t.Context(), out, p)
	require.NoError(t, err)
	own, err := r.consume(t.Context(), out, far)
	require.NoError(t, err)
	eventually(t, "two real Routers", func() bool { return routers.Load() == 2 })

	var cause atomic.Bool
	c.Events().ProducerClose.On(func(struct{}) { cause.Store(true) })
	require.NoError(t, vertical.Kill(in, errors.New("planted")))
	<-c.Done()
	<-in.Done()
	require.True(t, cause.Load())
	eventually(t, "WorkerDied", func() bool { return died.Load() == 1 })
	require.Len(t, r.inner.Workers(), 1)
	require.False(t, r.worker.Closed())
	require.False(t, r.worker.Died())
	require.False(t, out.Closed())
	require.False(t, own.Closed())
	require.Equal(t, []mafalda.Transport{out}, r.router.Transports())

	again := r.direct(t)
	require.False(t, vertical.SameWorker(again, out), "a fresh one takes its place")
	p = produce(t, again)
	c, err = r.consume(t.Context(), out, p)
	require.NoError(t, err)
	_, err = r.consume(t.Context(), again, far)
	require.NoError(t, err)
	eventually(t, "a third real Router", func() bool { return routers.Load() == 3 })
	require.False(t, c.Closed())
	require.Equal(t, 2, r.sfu.Usage().Pipes)
}

func TestCodecsOfAllWorkers(t *testing.T) {
	r := newRoom(t, workers(2))
	a, b := r.direct(t), r.direct(t)
	video := videoOf(3)
	before, err := a.Produce(t.Context(), video)
	require.NoError(t, err)
	caps := r.router.RTPCapabilities()
	require.NoError(t, r.router.UpdateMediaCodecs(t.Context(), bothCodecs[:1]))
	for _, tr := range []mafalda.Transport{a, b, r.direct(t)} {
		produce(t, tr)
		_, err := tr.Produce(t.Context(), video)
		require.ErrorIs(t, err, errors.ErrUnsupported)
	}

	// What exists can still be consumed, also where its codec has gone.
	c, err := b.Consume(t.Context(), mafalda.ConsumerOptions{ProducerID: before.ID(), RTPCapabilities: caps})
	require.NoError(t, err)
	near, err := a.Consume(t.Context(), mafalda.ConsumerOptions{ProducerID: before.ID(), RTPCapabilities: caps})
	require.NoError(t, err)
	require.Equal(t, near.RTPParameters().Codecs, c.RTPParameters().Codecs)
	_, err = b.Produce(t.Context(), video)
	require.ErrorIs(t, err, errors.ErrUnsupported)
}

func TestCloseOfTheInnerSFU(t *testing.T) {
	r := newRoom(t, workers(2))
	tr := r.direct(t)
	require.NoError(t, r.inner.Close())
	<-tr.Done()
	<-r.sfu.Done()
	require.True(t, r.router.Closed())
	_, err := r.sfu.CreateWorker(t.Context(), mafalda.WorkerSettings{})
	require.ErrorIs(t, err, mafalda.ErrClosed)
}
