package acceptance

// A checklistLine is something that mediasoup's own tests assert, or that a
// release after the tests at hand changed, in few words.
type checklistLine struct {
	id   string // of the file and the number of the test in it
	rule string
	// absent says why no case stands for it: what it needs comes later, or is
	// not in our API (docs/differences.md). Empty: some case does.
	absent string
}

const (
	withData  = "comes with data channels"
	withBWE   = "comes with bandwidth estimation"
	workerBin = "TestWorkerBin and TestAcceptanceProcess of the root package: which programs there are only a test of its own knows"
	noProcess = "no counterpart: a Worker has no process of its own"
)

// checklist is mediasoup's suite (3.14.16 and what is known of newer versions).
var checklist = []checklistLine{
	{id: "mediasoup 1", rule: "version"},
	{id: "mediasoup 2", rule: "log listeners are called when a Worker is created and closed"},
	{id: "mediasoup 3", rule: "getSupportedRtpCapabilities returns a fresh clone"},
	{id: "mediasoup 4", rule: "parseScalabilityMode"},

	{id: "Worker 1", rule: "workerBin", absent: workerBin},
	{id: "Worker 2", rule: "createWorker succeeds, with defaults and with all settings"},
	{id: "Worker 3", rule: "createWorker with wrong settings"},
	{id: "Worker 4", rule: "updateSettings"},
	{id: "Worker 5", rule: "updateSettings with wrong arguments"},
	{id: "Worker 6", rule: "updateSettings after close"},
	{id: "Worker 7", rule: "dump"},
	{id: "Worker 8", rule: "dump after close"},
	{id: "Worker 9", rule: "getResourceUsage"},
	{id: "Worker 10", rule: "close"},
	{id: "Worker 11", rule: "died comes once, after closed and before the observer's close"},
	{id: "Worker 12", rule: "harmless signals don't end the process", absent: noProcess},

	{id: "WebRtcServer 1", rule: "create on fixed UDP and TCP ports"},
	{id: "WebRtcServer 2", rule: "create with a port range"},
	{id: "WebRtcServer 3", rule: "create without port and range"},
	{id: "WebRtcServer 4", rule: "wrong arguments"},
	{id: "WebRtcServer 5", rule: "unavailable addresses; a failed attempt leaves no port bound"},
	{id: "WebRtcServer 6", rule: "create on a closed Worker"},
	{id: "WebRtcServer 7", rule: "close"},
	{id: "WebRtcServer 8", rule: "workerclose"},
	{id: "WebRtcServer 9", rule: "a transport on the server, TCP only; handled and unhandled; dumps"},
	{id: "WebRtcServer 10", rule: "a transport on the server, then the server closes; restartIce; dumps"},

	{id: "Router 1", rule: "create; capabilities; dumps"},
	{id: "Router 2", rule: "wrong arguments"},
	{id: "Router 3", rule: "create on a closed Worker"},
	{id: "Router 4", rule: "close"},
	{id: "Router 5", rule: "workerclose"},
	{id: "Router 6", rule: "unsupported codecs"},
	{id: "Router 7", rule: "updateMediaCodecs"},

	{id: "WebRtcTransport 1", rule: "create with six listenInfos; getters; dump"},
	{id: "WebRtcTransport 2", rule: "create with listenIps", absent: "no counterpart: deprecated there"},
	{id: "WebRtcTransport 3", rule: "a fixed port"},
	{id: "WebRtcTransport 4", rule: "a port range gives as many ports as it has"},
	{id: "WebRtcTransport 5", rule: "wrong arguments"},
	{id: "WebRtcTransport 6", rule: "an address that can't be bound"},
	{id: "WebRtcTransport 7", rule: "getStats"},
	{id: "WebRtcTransport 8", rule: "connect; a second connect; roles"},
	{id: "WebRtcTransport 9", rule: "connect with wrong arguments"},
	{id: "WebRtcTransport 10", rule: "setMaxIncomingBitrate"},
	{id: "WebRtcTransport 11", rule: "setMaxOutgoingBitrate", absent: withBWE},
	{id: "WebRtcTransport 12", rule: "setMinOutgoingBitrate", absent: withBWE},
	{id: "WebRtcTransport 13", rule: "a maximum below the minimum", absent: withBWE},
	{id: "WebRtcTransport 14", rule: "a minimum above the maximum", absent: withBWE},
	{id: "WebRtcTransport 15", rule: "restartIce"},
	{id: "WebRtcTransport 16", rule: "enableTraceEvent", absent: withBWE},
	{id: "WebRtcTransport 17", rule: "enableTraceEvent with wrong arguments", absent: withBWE},
	{id: "WebRtcTransport 18", rule: "events of ICE and DTLS"},
	{id: "WebRtcTransport 19", rule: "methods after close"},
	{id: "WebRtcTransport 20", rule: "routerclose when the Router closes"},
	{id: "WebRtcTransport 21", rule: "routerclose when the Worker closes"},

	{id: "PlainTransport 1", rule: "create; tuples; dump; a separate RTCP port"},
	{id: "PlainTransport 2", rule: "wrong arguments"},
	{id: "PlainTransport 3", rule: "SRTP: keys, wrong parameters, another suite"},
	{id: "PlainTransport 4", rule: "an address that can't be bound"},
	{id: "PlainTransport 5", rule: "udpReusePort: two transports on one multicast address"},
	{id: "PlainTransport 6", rule: "the same without udpReusePort"},
	{id: "PlainTransport 7", rule: "getStats"},
	{id: "PlainTransport 8", rule: "connect; a second connect; tuples"},
	{id: "PlainTransport 9", rule: "connect with wrong arguments"},
	{id: "PlainTransport 10", rule: "methods after close"},
	{id: "PlainTransport 11", rule: "a fixed port"},
	{id: "PlainTransport 12", rule: "routerclose when the Router closes"},
	{id: "PlainTransport 13", rule: "routerclose when the Worker closes"},

	{id: "PipeTransport 1", rule: "pipeToRouter with audio"},
	{id: "PipeTransport 2", rule: "pipeToRouter with video that is paused"},
	{id: "PipeTransport 3", rule: "wrong arguments"},
	{id: "PipeTransport 4", rule: "enableRtx"},
	{id: "PipeTransport 5", rule: "connect with SRTP"},
	{id: "PipeTransport 6", rule: "connect with SRTP that is not enabled"},
	{id: "PipeTransport 7", rule: "connect with wrong SRTP parameters"},
	{id: "PipeTransport 8", rule: "a fixed port"},
	{id: "PipeTransport 9", rule: "consume a pipe Producer"},
	{id: "PipeTransport 10", rule: "pause and resume of the Producer propagate"},
	{id: "PipeTransport 11", rule: "the end of the Producer propagates"},
	{id: "PipeTransport 12", rule: "pipeToRouter within one Worker"},
	{id: "PipeTransport 13", rule: "pipeToRouter with data"},
	{id: "PipeTransport 14", rule: "consume a pipe DataProducer"},
	{id: "PipeTransport 15", rule: "the end of the DataProducer propagates"},
	{id: "PipeTransport 16", rule: "two concurrent calls of pipeToRouter make one pair"},
	{id: "PipeTransport 17", rule: "two concurrent calls in opposite directions too"},

	{id: "DirectTransport 1", rule: "create; dump"},
	{id: "DirectTransport 2", rule: "wrong message sizes"},
	{id: "DirectTransport 3", rule: "getStats"},
	{id: "DirectTransport 4", rule: "connect does nothing", absent: "no counterpart: a DirectTransport has no Connect"},
	{id: "DirectTransport 5", rule: "messages of a DataProducer"},
	{id: "DirectTransport 6", rule: "subchannels"},
	{id: "DirectTransport 7", rule: "methods after close"},
	{id: "DirectTransport 8", rule: "routerclose when the Router closes"},
	{id: "DirectTransport 9", rule: "routerclose when the Worker closes"},

	{id: "Producer 1", rule: "produce audio without encodings; dumps"},
	{id: "Producer 2", rule: "produce video with four encodings"},
	{id: "Producer 3", rule: "produce without headerExtensions and rtcp"},
	{id: "Producer 4", rule: "wrong arguments"},
	{id: "Producer 5", rule: "codecs that the Router lacks"},
	{id: "Producer 6", rule: "a MID or SSRC in use"},
	{id: "Producer 7", rule: "nothing to know the stream by"},
	{id: "Producer 8", rule: "dump"},
	{id: "Producer 9", rule: "getStats is empty before any RTP"},
	{id: "Producer 10", rule: "pause and resume; events on flips only"},
	{id: "Producer 11", rule: "pause and resume in a row"},
	{id: "Producer 12", rule: "enableTraceEvent"},
	{id: "Producer 13", rule: "enableTraceEvent with wrong arguments"},
	{id: "Producer 14", rule: "score"},
	{id: "Producer 15", rule: "close"},
	{id: "Producer 16", rule: "methods after close"},
	{id: "Producer 17", rule: "transportclose"},

	{id: "Consumer 1", rule: "consume; RTP parameters; dumps"},
	{id: "Consumer 2", rule: "enableRtx on audio keeps nack"},
	{id: "Consumer 3", rule: "own and automatic MIDs"},
	{id: "Consumer 4", rule: "incompatible capabilities"},
	{id: "Consumer 5", rule: "dump"},
	{id: "Consumer 6", rule: "getStats"},
	{id: "Consumer 7", rule: "pause and resume; events on flips only"},
	{id: "Consumer 8", rule: "pause and resume of the Producer are heard in order"},
	{id: "Consumer 9", rule: "setPreferredLayers"},
	{id: "Consumer 10", rule: "setPreferredLayers with wrong arguments"},
	{id: "Consumer 11", rule: "setPriority"},
	{id: "Consumer 12", rule: "setPriority with wrong arguments"},
	{id: "Consumer 13", rule: "unsetPriority"},
	{id: "Consumer 14", rule: "enableTraceEvent"},
	{id: "Consumer 15", rule: "enableTraceEvent with wrong arguments"},
	{id: "Consumer 16", rule: "producerpause and producerresume"},
	{id: "Consumer 17", rule: "score"},
	{id: "Consumer 18", rule: "close"},
	{id: "Consumer 19", rule: "methods after close"},
	{id: "Consumer 20", rule: "producerclose"},
	{id: "Consumer 21", rule: "transportclose"},

	{id: "DataProducer 1", rule: "produceData; order by default; dumps"},
	{id: "DataProducer 2", rule: "produceData with a limit, paused"},
	{id: "DataProducer 3", rule: "wrong arguments"},
	{id: "DataProducer 4", rule: "a streamId in use"},
	{id: "DataProducer 5", rule: "ordered with a limit"},
	{id: "DataProducer 6", rule: "dump"},
	{id: "DataProducer 7", rule: "getStats"},
	{id: "DataProducer 8", rule: "pause and resume; events on flips only"},
	{id: "DataProducer 9", rule: "pause and resume in a row"},
	{id: "DataProducer 10", rule: "close"},
	{id: "DataProducer 11", rule: "methods after close"},
	{id: "DataProducer 12", rule: "transportclose"},

	{id: "DataConsumer 1", rule: "consumeData; another lifetime; subchannels; dumps"},
	{id: "DataConsumer 2", rule: "dump"},
	{id: "DataConsumer 3", rule: "getStats"},
	{id: "DataConsumer 4", rule: "setSubchannels"},
	{id: "DataConsumer 5", rule: "addSubchannel and removeSubchannel"},
	{id: "DataConsumer 6", rule: "consumeData on a DirectTransport"},
	{id: "DataConsumer 7", rule: "dump on a DirectTransport"},
	{id: "DataConsumer 8", rule: "getStats on a DirectTransport"},
	{id: "DataConsumer 9", rule: "pause and resume; events on flips only"},
	{id: "DataConsumer 10", rule: "pause and resume of the DataProducer are heard in order"},
	{id: "DataConsumer 11", rule: "close"},
	{id: "DataConsumer 12", rule: "methods after close"},
	{id: "DataConsumer 13", rule: "dataproducerclose"},
	{id: "DataConsumer 14", rule: "transportclose"},

	{id: "AudioLevelObserver 1", rule: "create; dump"},
	{id: "AudioLevelObserver 2", rule: "wrong arguments"},
	{id: "AudioLevelObserver 3", rule: "pause and resume"},
	{id: "AudioLevelObserver 4", rule: "close"},
	{id: "AudioLevelObserver 5", rule: "routerclose when the Router closes"},
	{id: "AudioLevelObserver 6", rule: "routerclose when the Worker closes"},
	{id: "ActiveSpeakerObserver 1", rule: "create; dump"},
	{id: "ActiveSpeakerObserver 2", rule: "wrong arguments"},
	{id: "ActiveSpeakerObserver 3", rule: "pause and resume"},
	{id: "ActiveSpeakerObserver 4", rule: "close"},
	{id: "ActiveSpeakerObserver 5", rule: "routerclose when the Router closes"},
	{id: "ActiveSpeakerObserver 6", rule: "routerclose when the Worker closes"},

	{id: "multiopus 1", rule: "produce and consume six channels"},
	{id: "multiopus 2", rule: "other numbers of streams are unsupported"},
	{id: "multiopus 3", rule: "capabilities with eight channels can't consume six"},

	{id: "node-sctp 1", rule: "messages over a PlainTransport"},
	{id: "werift-sctp 1–2", rule: "the state of an association"},

	{id: "ortc 1", rule: "capabilities of a Router from its codecs"},
	{id: "ortc 2", rule: "unsupported codecs"},
	{id: "ortc 3", rule: "too many codecs"},
	{id: "ortc 4", rule: "from H264 Producer to Consumer: payload types, profiles, extensions"},
	{id: "ortc 5", rule: "a codec that the Router lacks"},

	{id: "newer 1", rule: "pipeToRouter with keepId false"},
	{id: "newer 2", rule: "pipeToRouter with keepId true in one Worker"},
	{id: "newer 3", rule: "exposeInternalIp adds candidates after the announced ones"},
	{id: "newer 4", rule: "msid reaches Consumers"},
	{id: "newer 5", rule: "AV1"},
	{id: "newer 6", rule: "the dependency descriptor in pipe Consumers"},
	{id: "newer 7", rule: "dataConsumer.send and bufferedAmount"},
	{id: "newer 8", rule: "createWorker with a workerBin", absent: workerBin},
	{id: "newer 9", rule: "NotFoundError for an unknown producerId"},
	{id: "newer 10", rule: "WorkerClosedError for everything after worker.close()"},
}

// releases is what the releases 3.15.0 to 3.27.1 changed, as far as it is
// seen from outside and in our API.
var releases = []checklistLine{
	{id: "3.15.0", rule: "transport.type"},
	{id: "3.15.2", rule: "port ranges of many transports don't collide"},
	{id: "3.15.4", rule: "VP8 packets above the temporal layer are dropped"},
	{id: "3.15.4 feedback", rule: "transport-cc feedback leaves no packet out"},
	{id: "3.15.5", rule: "no gap in sequence numbers for what is not forwarded; order of VP9"},
	{id: "3.15.8", rule: "retransmissions are those of the Consumer's own stream"},
	{id: "3.16.0", rule: "AV1 is a supported codec"},
	{id: "3.16.6", rule: "H265 and H264-SVC are not supported"},
	{id: "3.16.7", rule: "updateMediaCodecs"},
	{id: "3.16.7 padding", rule: "packets of padding alone are not forwarded"},
	{id: "3.17.0", rule: "exposeInternalIp"},
	{id: "3.17.1", rule: "more than eight listenInfos of a WebRtcServer"},
	{id: "3.18.0", rule: "preferredPayloadType is optional for a Router only"},
	{id: "3.18.1", rule: "the selected tuple changes on nomination only; a tuple has its local address"},
	{id: "3.19.2", rule: "selection of tuples when ICE is completed"},
	{id: "3.19.3", rule: "VP8 key frames are recognised"},
	{id: "3.19.5", rule: "enableMediasoupPacketIdHeaderExtension"},
	{id: "3.19.7", rule: "msid"},
	{id: "3.19.8", rule: "packetsLost counts what is missing"},
	{id: "3.19.10", rule: "jitter of outbound streams"},
	{id: "3.19.12", rule: "a RID counts only in a packet without MID"},
	{id: "3.20.1", rule: "getters return clones"},
	{id: "3.20.10", rule: "the NOMINATION attribute of STUN"},
	{id: "3.21.0", rule: "WorkerClosedError and NotFoundError"},
	{id: "3.25.0", rule: "abs-capture-time only where the Producer negotiated it"},
	{id: "3.25.0 CNAME", rule: "each Producer of a PipeTransport has its own CNAME"},
	{id: "3.19.0", rule: "pipeToRouter with keepId"},
	{id: "3.19.4", rule: "the dependency descriptor travels through pipes"},
	{id: "3.20.0", rule: "the options of the new SCTP stack"},
	{id: "3.21.1", rule: "SVC for VP8 and H264"},
	{id: "3.22.0 to 3.24.2", rule: "subchannels"},
	{id: "3.26.0", rule: "preferred temporal layers"},
}

// ruleOf returns what a line says.
func ruleOf(id string) string {
	for _, lines := range [][]checklistLine{checklist, releases} {
		for _, l := range lines {
			if l.id == id {
				return l.rule
			}
		}
	}
	return ""
}
