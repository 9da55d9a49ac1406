package vertical_test

import (
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/vertical"
)

// freePort returns a UDP port that was free a moment ago, below those that Workers
// and the kernel give away.
func freePort(t testing.TB) uint16 {
	t.Helper()
	for range 200 {
		port := 5000 + rand.IntN(mafalda.DefaultRTCMinPort-5000)
		if l, err := net.ListenUDP("udp4", &net.UDPAddr{IP: loopback.AsSlice(), Port: port}); err == nil {
			l.Close()
			return uint16(port)
		}
	}
	t.Fatal("no port is free")
	return 0
}

// onPort is udp with a fixed port.
func onPort(port uint16) mafalda.ListenInfo {
	info := udp[0]
	info.Port = port
	return info
}

// Two virtual Workers share a real one, on which one of them has a fixed port.
func TestFixedPortAfterUpdateSettings(t *testing.T) {
	r := newRoom(t, workers(1))
	port := freePort(t)
	server := r.server(t, onPort(port))
	other, err := r.sfu.CreateWorker(t.Context(), mafalda.WorkerSettings{})
	require.NoError(t, err)
	(&room{router: newRouter(t, other)}).direct(t)
	require.Len(t, r.inner.Workers(), 1)

	require.NoError(t, r.worker.UpdateSettings(t.Context(), mafalda.WorkerUpdateableSettings{LogLevel: mafalda.LogLevelDebug}))
	tr, err := r.router.CreateWebRTCTransport(t.Context(), mafalda.WebRTCTransportOptions{WebRTCServer: server})
	require.NoError(t, err)
	assert.Equal(t, port, tr.ICECandidates()[0].Port)
}

// Settings with files are tried on a real Worker; where there can be none, that is
// said when one is needed, as for other settings.
func TestFilesWithoutACPU(t *testing.T) {
	files := mafalda.WorkerSettings{DTLSCertificateFile: "missing.pem", DTLSPrivateKeyFile: "missing.pem"}
	none := now(2)
	none.MaxWorkers = new(0)
	taken := now(2)
	taken.Registry = new(few)
	for name, o := range map[string]vertical.Options{"MaxWorkers": none, "Registry": taken} {
		sfu := vertical.New(mafalda.New(), o)
		w, err := sfu.CreateWorker(t.Context(), files)
		require.NoError(t, err, name)
		_, err = newRouter(t, w).CreateDirectTransport(t.Context(), mafalda.DirectTransportOptions{})
		require.ErrorIs(t, err, mafalda.ErrUnavailable, name)
		require.NoError(t, sfu.Close())
	}
	r := newRoom(t, now(2))
	_, err := r.sfu.CreateWorker(t.Context(), files)
	require.ErrorIs(t, err, mafalda.ErrInvalidArgument)
}

func TestOverAClosedSFU(t *testing.T) {
	inner := mafalda.New()
	require.NoError(t, inner.Close())
	sfu := vertical.New(inner)
	require.True(t, sfu.Closed())
	_, err := sfu.CreateWorker(t.Context(), mafalda.WorkerSettings{})
	require.ErrorIs(t, err, mafalda.ErrClosed)
}

// Somebody else uses what is below.
func TestStrangersBelow(t *testing.T) {
	r := newRoom(t, now(1))
	tr := r.direct(t)
	inner := r.inner.Workers()[0].Routers()[0].Transports()[0]
	p := produce(t, inner)
	require.Len(t, tr.Producers(), 1)
	require.Equal(t, p.ID(), tr.Producers()[0].ID())
	_, err := inner.Consume(t.Context(), mafalda.ConsumerOptions{ProducerID: p.ID(), RTPCapabilities: r.router.RTPCapabilities()})
	require.NoError(t, err)
	require.Len(t, tr.Consumers(), 1)
	dp, err := inner.ProduceData(t.Context(), mafalda.DataProducerOptions{})
	require.NoError(t, err)
	_, err = inner.ConsumeData(t.Context(), mafalda.DataConsumerOptions{DataProducerID: dp.ID()})
	require.NoError(t, err)
	require.Len(t, tr.DataProducers(), 1)
	require.Len(t, tr.DataConsumers(), 1)
	require.False(t, r.router.CanConsume(p.ID(), r.router.RTPCapabilities()))
	own := produceSSRC(t, tr, 2)
	require.Len(t, tr.Producers(), 2)
	require.NoError(t, tr.Close())
	require.True(t, own.Closed())
	eventually(t, "what is empty is closed", func() bool { return len(r.inner.Workers()) == 0 })
}

// The port of a WebRTCServer outlives the real Worker that had it.
func TestFixedPortAfterADeath(t *testing.T) {
	for _, n := range []int{1, 2} {
		r := newRoom(t, workers(n))
		server := r.server(t, onPort(freePort(t)))
		create := func() mafalda.WebRTCTransport {
			tr, err := r.router.CreateWebRTCTransport(t.Context(), mafalda.WebRTCTransportOptions{WebRTCServer: server})
			require.NoError(t, err)
			return tr
		}
		a := create()
		other := r.direct(t)
		require.NoError(t, vertical.Kill(a, errors.New("planted")))
		<-a.Done()
		require.Equal(t, n == 1, other.Closed())
		require.False(t, server.Closed())
		b, c := create(), create()
		require.Equal(t, a.ICECandidates()[0].Port, b.ICECandidates()[0].Port)
		require.True(t, vertical.SameWorker(b, c))
	}
}

// A herd that joins at once, under a policy that keeps together as long as it can:
// ten are enough, so that it does not matter how long the hundred take.
func TestAHerdIsSpread(t *testing.T) {
	r := newRoom(t, vertical.Options{CPUs: 2, Registry: plenty{}, WatermarkWorker: 0.1})
	var herd sync.WaitGroup
	for range 100 {
		herd.Go(func() {
			_, err := r.router.CreateDirectTransport(t.Context(), mafalda.DirectTransportOptions{})
			assert.NoError(t, err)
		})
	}
	herd.Wait()
	u := r.sfu.Usage()
	require.Len(t, u.Workers, 2)
	for _, w := range u.Workers {
		require.Greater(t, w.Transports, 20)
	}
}

// A virtual Worker gets the settings of another one, which has as many real
// Workers as there may be.
func TestUpdateSettingsToThoseOfAnother(t *testing.T) {
	r := newRoom(t, workers(2))
	debug := mafalda.WorkerSettings{LogLevel: mafalda.LogLevelDebug}
	w, err := r.sfu.CreateWorker(t.Context(), debug)
	require.NoError(t, err)
	other := &room{router: newRouter(t, w)}
	before := []mafalda.Transport{r.direct(t), r.direct(t)}
	there := []mafalda.Transport{other.direct(t), other.direct(t)}
	require.False(t, vertical.SameWorker(there[0], there[1]))
	require.Len(t, r.inner.Workers(), 4)

	require.NoError(t, r.worker.UpdateSettings(t.Context(), mafalda.WorkerUpdateableSettings{LogLevel: debug.LogLevel}))
	for range 6 { // by turns where they may be
		for _, tr := range []mafalda.Transport{r.direct(t), other.direct(t)} {
			assert.True(t, vertical.SameWorker(tr, there[0]) || vertical.SameWorker(tr, there[1]))
		}
	}
	require.Len(t, r.inner.Workers(), 4)

	// What stayed behind is there for who has the settings of before.
	w, err = r.sfu.CreateWorker(t.Context(), mafalda.WorkerSettings{})
	require.NoError(t, err)
	late := (&room{router: newRouter(t, w)}).direct(t)
	assert.True(t, vertical.SameWorker(late, before[0]) || vertical.SameWorker(late, before[1]))
	require.Len(t, r.inner.Workers(), 4)
}

// Who made the options goes on to use them.
func TestOptionsAreCopied(t *testing.T) {
	o := workers(2)
	o.MaxWorkers = new(1)
	r := newRoom(t, o)
	*o.MaxWorkers = 2
	require.True(t, vertical.SameWorker(r.direct(t), r.direct(t)))
	require.Equal(t, 1, r.sfu.Usage().MaxWorkers)
}
