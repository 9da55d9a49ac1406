package vertical_test

import (
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
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
