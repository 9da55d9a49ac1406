package channel

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/channel/fbs"
)

func TestClose(t *testing.T) {
	p := start(t, Settings{})
	p.router("r")
	p.notify(fbs.EventWORKER_CLOSE, "", fbs.NotificationBodyNONE, nil)
	require.NoError(t, p.wait())
	require.Empty(t, p.stderr.String())
}

func TestContextEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	p := launch(t, ctx, Settings{})
	p.notification()
	cancel()
	require.NoError(t, p.wait())
}

func TestOrphan(t *testing.T) {
	p := start(t, Settings{})
	p.conn.Close()
	require.ErrorIs(t, p.wait(), ErrOrphaned)
}

func TestOrphanWithinFrame(t *testing.T) {
	p := start(t, Settings{})
	p.write([]byte{100, 0, 0, 0, 1})
	p.conn.Close()
	require.ErrorIs(t, p.wait(), ErrOrphaned)
}

func TestMalformed(t *testing.T) {
	for name, frame := range map[string][]byte{
		"too long": {0xff, 0xff, 0xff, 0xff},
		"empty":    {0, 0, 0, 0},
		"garbage":  {8, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f, 1, 2, 3, 4},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, Settings{})
			p.write(frame)
			require.Error(t, p.wait())
		})
	}
}

// What can be read and is of no use does not end the worker.
func TestUseless(t *testing.T) {
	p := start(t, Settings{})
	p.write(frameOf(fbs.MessageBodyLog, &fbs.LogT{Data: "x"}))
	p.notify(fbs.EventWORKER_RUNNING, "x", fbs.NotificationBodyNONE, nil)
	p.notify(fbs.EventPRODUCER_SEND, "x", fbs.NotificationBodyTransportSendRtcpNotification,
		&fbs.TransportSendRtcpNotificationT{Data: []byte{1}})
	p.notify(fbs.EventPRODUCER_SEND, "nobody", fbs.NotificationBodyProducerSendNotification,
		&fbs.ProducerSendNotificationT{Data: []byte{1}})
	p.router("r")
	p.refused("TypeError", fbs.MethodWORKER_CREATE_ROUTER, "", fbs.RequestBodyNONE, nil)
	p.refused("TypeError", fbs.MethodWORKER_CREATE_ROUTER, "", fbs.RequestBodyWorkerCloseRouterRequest,
		&fbs.WorkerCloseRouterRequestT{RouterId: "r"})
	assert.Contains(t, p.stderr.String(), "discarded")
}

func TestErrors(t *testing.T) {
	p := start(t, Settings{})
	p.router("r")
	p.direct("r", "t")
	p.refused("Error", fbs.MethodWORKER_CREATE_ROUTER, "", fbs.RequestBodyWorkerCreateRouterRequest,
		&fbs.WorkerCreateRouterRequestT{RouterId: "r"})
	p.refused("Error", fbs.MethodTRANSPORT_CONNECT, "t", fbs.RequestBodyNONE, nil)
	p.refused("Error", fbs.Method(200), "t", fbs.RequestBodyNONE, nil)
	p.refused("NotFoundError", fbs.MethodROUTER_DUMP, "nobody", fbs.RequestBodyNONE, nil)
	p.refused("NotFoundError", fbs.MethodWORKER_CLOSE_ROUTER, "", fbs.RequestBodyWorkerCloseRouterRequest,
		&fbs.WorkerCloseRouterRequestT{RouterId: "nobody"})
	p.refused("NotFoundError", fbs.MethodTRANSPORT_CLOSE_PRODUCER, "t", fbs.RequestBodyTransportCloseProducerRequest,
		&fbs.TransportCloseProducerRequestT{ProducerId: "nobody"})
	p.refused("TypeError", fbs.MethodWORKER_UPDATE_SETTINGS, "", fbs.RequestBodyWorkerUpdateSettingsRequest,
		&fbs.WorkerUpdateSettingsRequestT{LogLevel: "chicken"})
	p.refused("TypeError", fbs.MethodWORKER_CREATE_WEBRTCSERVER, "", fbs.RequestBodyWorkerCreateWebRtcServerRequest,
		&fbs.WorkerCreateWebRtcServerRequestT{WebRtcServerId: "s", ListenInfos: []*fbs.ListenInfoT{listen("chicken")}})
	p.refused("Error", fbs.MethodWORKER_CREATE_WEBRTCSERVER, "", fbs.RequestBodyWorkerCreateWebRtcServerRequest,
		&fbs.WorkerCreateWebRtcServerRequestT{WebRtcServerId: "s", ListenInfos: []*fbs.ListenInfoT{listen("1.2.3.4")}})
	p.refused("Error", fbs.MethodROUTER_CREATE_WEBRTCTRANSPORT_WITH_SERVER, "r", fbs.RequestBodyRouterCreateWebRtcTransportRequest,
		&fbs.RouterCreateWebRtcTransportRequestT{TransportId: "w", Options: &fbs.WebRtcTransportOptionsT{
			Base:   &fbs.TransportOptionsT{},
			Listen: &fbs.ListenT{Type: fbs.ListenListenServer, Value: &fbs.ListenServerT{WebRtcServerId: "nobody"}},
		}})
}

func listen(ip string) *fbs.ListenInfoT {
	return &fbs.ListenInfoT{
		Protocol: fbs.ProtocolUDP, Ip: ip, PortRange: &fbs.PortRangeT{}, Flags: &fbs.SocketFlagsT{},
	}
}

func TestDump(t *testing.T) {
	p := start(t, Settings{})
	p.router("r")
	d := p.ask(fbs.MethodWORKER_DUMP, "", fbs.RequestBodyNONE, nil).(*fbs.WorkerDumpResponseT)
	assert.Equal(t, &fbs.WorkerDumpResponseT{
		Pid: 4711, WebRtcServerIds: []string{}, RouterIds: []string{"r"},
		ChannelMessageHandlers: &fbs.ChannelMessageHandlersT{
			ChannelRequestHandlers: []string{"r"}, ChannelNotificationHandlers: []string{},
		},
	}, d)
	u := p.ask(fbs.MethodWORKER_GET_RESOURCE_USAGE, "", fbs.RequestBodyNONE, nil).(*fbs.WorkerResourceUsageResponseT)
	assert.NotZero(t, u.RuMaxrss)
}

// Requests that are sent at once are answered in order, and what each causes
// comes right after its response.
func TestOrder(t *testing.T) {
	p := start(t, Settings{})
	p.router("r")
	p.direct("r", "t")
	p.produce("t", "p", 1000)
	p.consume("t", "p", "c", 3000, 1001)
	const rounds = 100
	go func() {
		for i := range rounds {
			m := fbs.MethodPRODUCER_PAUSE
			if i%2 == 1 {
				m = fbs.MethodPRODUCER_RESUME
			}
			p.send(m, "p", fbs.RequestBodyNONE, nil)
			p.send(fbs.MethodPRODUCER_DUMP, "p", fbs.RequestBodyNONE, nil)
		}
	}()
	id := uint32(4)
	for i := range rounds {
		id++
		require.True(t, p.response(id).Accepted)
		n := p.notification()
		assert.Equal(t, "c", n.HandlerId)
		assert.Equal(t, fbs.EventCONSUMER_PRODUCER_PAUSE+fbs.Event(i%2), n.Event)
		id++
		d := p.response(id).Body.Value.(*fbs.ProducerDumpResponseT)
		assert.Equal(t, i%2 == 0, d.Paused)
	}
}
