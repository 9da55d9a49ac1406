package vertical_test

import (
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/vertical"
)

// Two virtual Workers share a real one, on which one of them has a fixed port.
func TestFixedPortAfterUpdateSettings(t *testing.T) {
	r := newRoom(t, workers(1))
	l, err := net.ListenUDP("udp4", &net.UDPAddr{IP: loopback.AsSlice()})
	require.NoError(t, err)
	port := l.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	require.NoError(t, l.Close())
	server, err := r.worker.CreateWebRTCServer(t.Context(), mafalda.WebRTCServerOptions{
		ListenInfos: []mafalda.ListenInfo{{Protocol: mafalda.ProtocolUDP, IP: loopback, Port: port}},
	})
	require.NoError(t, err)
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
