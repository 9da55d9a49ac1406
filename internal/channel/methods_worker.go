package channel

import (
	"slices"
	"time"

	flatbuffers "github.com/google/flatbuffers/go"

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

		fbs.MethodROUTER_CREATE_ACTIVESPEAKEROBSERVER: set("router.createActiveSpeakerObserver",
			func(m *engine.Machine, id string, b *fbs.RouterCreateActiveSpeakerObserverRequestT) error {
				interval := time.Duration(b.Options.Interval) * time.Millisecond
				return m.CreateActiveSpeakerObserver(id, b.RtpObserverId, interval)
			}),
		fbs.MethodROUTER_CREATE_AUDIOLEVELOBSERVER: set("router.createAudioLevelObserver",
			func(m *engine.Machine, id string, b *fbs.RouterCreateAudioLevelObserverRequestT) error {
				return m.CreateAudioLevelObserver(id, b.RtpObserverId, engine.AudioLevelOptions{
					MaxEntries: b.Options.MaxEntries, Threshold: b.Options.Threshold,
					Interval: time.Duration(b.Options.Interval) * time.Millisecond,
				})
			}),
		fbs.MethodROUTER_CLOSE_RTPOBSERVER: set("router.closeRtpObserver",
			func(m *engine.Machine, id string, b *fbs.RouterCloseRtpObserverRequestT) error {
				d, err := m.DumpRouter(id)
				if err != nil {
					return err
				}
				if !slices.Contains(d.ObserverIDs, b.RtpObserverId) {
					return notFound("RtpObserver", b.RtpObserverId)
				}
				return m.CloseRTPObserver(b.RtpObserverId)
			}),
		fbs.MethodRTPOBSERVER_PAUSE:  plain("rtpObserver.pause", (*engine.Machine).PauseRTPObserver),
		fbs.MethodRTPOBSERVER_RESUME: plain("rtpObserver.resume", (*engine.Machine).ResumeRTPObserver),
		fbs.MethodRTPOBSERVER_ADD_PRODUCER: set("rtpObserver.addProducer",
			func(m *engine.Machine, id string, b *fbs.RtpObserverAddProducerRequestT) error {
				return m.AddRTPObserverProducer(id, b.ProducerId)
			}),
		fbs.MethodRTPOBSERVER_REMOVE_PRODUCER: set("rtpObserver.removeProducer",
			func(m *engine.Machine, id string, b *fbs.RtpObserverRemoveProducerRequestT) error {
				return m.RemoveRTPObserverProducer(id, b.ProducerId)
			}),
	})
}

// hasLogTags reports whether a request to update the settings has tags, be it
// none of them: unpacked, absent ones and an empty list look alike.
func hasLogTags(r *fbs.Request) bool {
	const logTags = 6 // place in the virtual table
	var body flatbuffers.Table
	return r.Body(&body) && body.Offset(logTags) != 0
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
		RtpObserverIds:           ids(d.ObserverIDs),
		MapProducerIdConsumerIds: each(d.Producers, consumers),
		MapConsumerIdProducerId:  each(d.Consumers, producer),
		MapProducerIdObserverIds: each(d.Producers, func(p *engine.ProducerConsumers) *fbs.StringStringArrayT {
			return &fbs.StringStringArrayT{Key: p.ProducerID, Values: ids(p.ObserverIDs)}
		}),
		MapDataProducerIdDataConsumerIds: each(d.DataProducers, consumers),
		MapDataConsumerIdDataProducerId:  each(d.DataConsumers, producer),
	})
}
