package channel

import (
	"github.com/mafalda-sfu/mafalda/internal/channel/fbs"
	"github.com/mafalda-sfu/mafalda/internal/engine"
)

// Methods of Worker, WebRtcServer, Router and RtpObserver.

func init() {
	add(map[fbs.Method]method{
		fbs.MethodWORKER_DUMP: {"worker.dump", func(s *server, _ string, _ any) (run, error) {
			return func(m *engine.Machine) (answer, error) {
				return encoded(func(d *engine.DumpWorker) *fbs.ResponseBodyT { return workerDump(s.cfg.PID, d) })(m.Dump())
			}, nil
		}},
		fbs.MethodWORKER_GET_RESOURCE_USAGE: get("worker.getResourceUsage",
			func(m *engine.Machine, _ string) (fbs.WorkerResourceUsageResponseT, error) { return usage(m) },
			func(u *fbs.WorkerResourceUsageResponseT) *fbs.ResponseBodyT {
				return respond(fbs.ResponseBodyWorkerResourceUsageResponse, u)
			}),
		fbs.MethodWORKER_UPDATE_SETTINGS: {"worker.updateSettings", updateSettings},
		fbs.MethodWORKER_CREATE_WEBRTCSERVER: {"worker.createWebRtcServer", func(_ *server, _ string, body any) (run, error) {
			b := body.(*fbs.WorkerCreateWebRtcServerRequestT)
			infos, err := listenInfos(b.ListenInfos)
			return func(m *engine.Machine) (answer, error) {
				return nil, m.CreateWebRTCServer(b.WebRtcServerId, infos)
			}, err
		}},
		fbs.MethodWORKER_CREATE_ROUTER: set("worker.createRouter",
			func(m *engine.Machine, _ string, b *fbs.WorkerCreateRouterRequestT) error {
				return m.CreateRouter(b.RouterId)
			}),
		fbs.MethodWORKER_WEBRTCSERVER_CLOSE: closing("worker.closeWebRtcServer",
			func(b *fbs.WorkerCloseWebRtcServerRequestT) string { return b.WebRtcServerId },
			(*engine.Machine).CloseWebRTCServer),
		fbs.MethodWORKER_CLOSE_ROUTER: closing("worker.closeRouter",
			func(b *fbs.WorkerCloseRouterRequestT) string { return b.RouterId },
			(*engine.Machine).CloseRouter),
		fbs.MethodWEBRTCSERVER_DUMP: get("webRtcServer.dump", (*engine.Machine).DumpWebRTCServer, webRTCServerDump),
		fbs.MethodROUTER_DUMP:       get("router.dump", (*engine.Machine).DumpRouter, routerDump),
		fbs.MethodROUTER_CLOSE_TRANSPORT: closing("router.closeTransport",
			func(b *fbs.RouterCloseTransportRequestT) string { return b.TransportId },
			(*engine.Machine).CloseTransport),
	})
}

// updateSettings applies at once: the log has no place in the order of things.
func updateSettings(s *server, _ string, body any) (run, error) {
	b := body.(*fbs.WorkerUpdateSettingsRequestT)
	if b.LogLevel != "" && !s.log.setLevel(b.LogLevel) {
		return nil, invalid("invalid value %q for logLevel", b.LogLevel)
	}
	if b.LogTags != nil {
		s.log.setTags(b.LogTags)
	}
	return func(*engine.Machine) (answer, error) { return nil, nil }, nil
}

func workerDump(pid int, d *engine.DumpWorker) *fbs.ResponseBodyT {
	return respond(fbs.ResponseBodyWorkerDumpResponse, &fbs.WorkerDumpResponseT{
		Pid:             uint32(pid),
		WebRtcServerIds: ids(d.WebRTCServerIDs),
		RouterIds:       ids(d.RouterIDs),
		ChannelMessageHandlers: &fbs.ChannelMessageHandlersT{
			ChannelRequestHandlers:      ids(d.RequestHandlers),
			ChannelNotificationHandlers: ids(d.NotificationHandlers),
		},
	})
}

func webRTCServerDump(d *engine.DumpWebRTCServer) *fbs.ResponseBodyT {
	return respond(fbs.ResponseBodyWebRtcServerDumpResponse, &fbs.WebRtcServerDumpResponseT{
		Id:                 d.ID,
		UdpSockets:         each(d.UDPSockets, ipPort),
		TcpServers:         each(d.TCPServers, ipPort),
		WebRtcTransportIds: ids(d.TransportIDs),
		LocalIceUsernameFragments: each(d.Ufrags, func(u *engine.UfragOwner) *fbs.IceUserNameFragmentT {
			return &fbs.IceUserNameFragmentT{LocalIceUsernameFragment: u.Ufrag, WebRtcTransportId: u.TransportID}
		}),
	})
}

func routerDump(d *engine.DumpRouter) *fbs.ResponseBodyT {
	consumers := func(p *engine.ProducerConsumers) *fbs.StringStringArrayT {
		return &fbs.StringStringArrayT{Key: p.ProducerID, Values: ids(p.ConsumerIDs)}
	}
	producer := func(c *engine.ConsumerProducer) *fbs.StringStringT {
		return &fbs.StringStringT{Key: c.ConsumerID, Value: c.ProducerID}
	}
	return respond(fbs.ResponseBodyRouterDumpResponse, &fbs.RouterDumpResponseT{
		Id:                       d.ID,
		TransportIds:             ids(d.TransportIDs),
		RtpObserverIds:           []string{},
		MapProducerIdConsumerIds: each(d.Producers, consumers),
		MapConsumerIdProducerId:  each(d.Consumers, producer),
		MapProducerIdObserverIds: each(d.Producers, func(p *engine.ProducerConsumers) *fbs.StringStringArrayT {
			return &fbs.StringStringArrayT{Key: p.ProducerID, Values: []string{}}
		}),
		MapDataProducerIdDataConsumerIds: each(d.DataProducers, consumers),
		MapDataConsumerIdDataProducerId:  each(d.DataConsumers, producer),
	})
}
