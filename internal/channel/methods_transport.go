package channel

import (
	"math"
	"time"

	"github.com/mafalda-sfu/mafalda/internal/channel/fbs"
	"github.com/mafalda-sfu/mafalda/internal/dtls"
	"github.com/mafalda-sfu/mafalda/internal/engine"
	"github.com/mafalda-sfu/mafalda/internal/ice"
)

// Methods of transports, and those of a Router that make them.

func init() {
	add(map[fbs.Method]method{
		fbs.MethodROUTER_CREATE_WEBRTCTRANSPORT:             do("router.createWebRtcTransport", createWebRTC, transportDump),
		fbs.MethodROUTER_CREATE_WEBRTCTRANSPORT_WITH_SERVER: do("router.createWebRtcTransportWithServer", createWebRTC, transportDump),
		fbs.MethodROUTER_CREATE_PLAINTRANSPORT:              do("router.createPlainTransport", createPlain, transportDump),
		fbs.MethodROUTER_CREATE_PIPETRANSPORT:               do("router.createPipeTransport", createPipe, transportDump),
		fbs.MethodROUTER_CREATE_DIRECTTRANSPORT:             do("router.createDirectTransport", createDirect, transportDump),

		fbs.MethodWEBRTCTRANSPORT_CONNECT: do("webRtcTransport.connect", connectWebRTC, func(r *engine.DTLSRole) *fbs.ResponseBodyT {
			return respond(fbs.ResponseBodyWebRtcTransportConnectResponse, &fbs.WebRtcTransportConnectResponseT{DtlsLocalRole: fbs.DtlsRole(*r)})
		}),
		fbs.MethodPLAINTRANSPORT_CONNECT: do("plainTransport.connect", connectPlain, func(d *engine.TransportDump) *fbs.ResponseBodyT {
			return respond(fbs.ResponseBodyPlainTransportConnectResponse, &fbs.PlainTransportConnectResponseT{
				Tuple: tuple(&d.Plain.Tuple), RtcpTuple: tuple(d.Plain.RTCPTuple), SrtpParameters: srtpOf(d.Plain.SRTP),
			})
		}),
		fbs.MethodPIPETRANSPORT_CONNECT: do("pipeTransport.connect", connectPipe, func(d *engine.TransportDump) *fbs.ResponseBodyT {
			return respond(fbs.ResponseBodyPipeTransportConnectResponse, &fbs.PipeTransportConnectResponseT{Tuple: tuple(&d.Pipe.Tuple)})
		}),

		fbs.MethodTRANSPORT_DUMP:      get("transport.dump", (*engine.Machine).DumpTransport, transportDump),
		fbs.MethodTRANSPORT_GET_STATS: get("transport.getStats", (*engine.Machine).TransportStats, transportStats),
		fbs.MethodTRANSPORT_SET_MAX_INCOMING_BITRATE: set("transport.setMaxIncomingBitrate",
			func(m *engine.Machine, id string, b *fbs.TransportSetMaxIncomingBitrateRequestT) error {
				if err := checkBitrate(b.MaxIncomingBitrate); err != nil {
					return err
				}
				return m.SetMaxIncomingBitrate(id, b.MaxIncomingBitrate)
			}),
		fbs.MethodTRANSPORT_SET_MAX_OUTGOING_BITRATE: set("transport.setMaxOutgoingBitrate",
			func(m *engine.Machine, id string, b *fbs.TransportSetMaxOutgoingBitrateRequestT) error {
				if err := checkBitrate(b.MaxOutgoingBitrate); err != nil {
					return err
				}
				return m.SetMaxOutgoingBitrate(id, uint32(min(b.MaxOutgoingBitrate, math.MaxUint32)))
			}),
		fbs.MethodTRANSPORT_SET_MIN_OUTGOING_BITRATE: set("transport.setMinOutgoingBitrate",
			func(m *engine.Machine, id string, b *fbs.TransportSetMinOutgoingBitrateRequestT) error {
				if err := checkBitrate(b.MinOutgoingBitrate); err != nil {
					return err
				}
				return m.SetMinOutgoingBitrate(id, uint32(min(b.MinOutgoingBitrate, math.MaxUint32)))
			}),
		fbs.MethodTRANSPORT_ENABLE_TRACE_EVENT: set("transport.enableTraceEvent",
			func(m *engine.Machine, id string, b *fbs.TransportEnableTraceEventRequestT) error {
				return m.TraceTransport(id, traces(transportTraces, b.Events))
			}),
		fbs.MethodTRANSPORT_RESTART_ICE: get("transport.restartIce", restartICE, func(p *fbs.TransportRestartIceResponseT) *fbs.ResponseBodyT {
			return respond(fbs.ResponseBodyTransportRestartIceResponse, p)
		}),

		fbs.MethodTRANSPORT_PRODUCE: do("transport.produce", produce, func(t *engine.ProducerType) *fbs.ResponseBodyT {
			return respond(fbs.ResponseBodyTransportProduceResponse, &fbs.TransportProduceResponseT{Type: fbs.RtpType(*t)}) // numbered alike
		}),
		fbs.MethodTRANSPORT_CONSUME:      do("transport.consume", consume, consumeResponse),
		fbs.MethodTRANSPORT_PRODUCE_DATA: do("transport.produceData", produceData, dataProducerDump),
		fbs.MethodTRANSPORT_CONSUME_DATA: do("transport.consumeData", consumeData, dataConsumerDump),
		fbs.MethodTRANSPORT_CLOSE_PRODUCER: child("transport.closeProducer", "Producer",
			func(b *fbs.TransportCloseProducerRequestT) string { return b.ProducerId },
			func(d *engine.TransportDump) []string { return d.ProducerIDs }, (*engine.Machine).CloseProducer),
		fbs.MethodTRANSPORT_CLOSE_CONSUMER: child("transport.closeConsumer", "Consumer",
			func(b *fbs.TransportCloseConsumerRequestT) string { return b.ConsumerId },
			func(d *engine.TransportDump) []string { return d.ConsumerIDs }, (*engine.Machine).CloseConsumer),
		fbs.MethodTRANSPORT_CLOSE_DATAPRODUCER: child("transport.closeDataProducer", "DataProducer",
			func(b *fbs.TransportCloseDataProducerRequestT) string { return b.DataProducerId },
			func(d *engine.TransportDump) []string { return d.DataProducerIDs }, (*engine.Machine).CloseDataProducer),
		fbs.MethodTRANSPORT_CLOSE_DATACONSUMER: child("transport.closeDataConsumer", "DataConsumer",
			func(b *fbs.TransportCloseDataConsumerRequestT) string { return b.DataConsumerId },
			func(d *engine.TransportDump) []string { return d.DataConsumerIDs }, (*engine.Machine).CloseDataConsumer),
	})
}

type dumping = func(*engine.Machine) (engine.TransportDump, error)

func createWebRTC(routerID string, b *fbs.RouterCreateWebRtcTransportRequestT) (dumping, error) {
	o := b.Options
	e := engine.WebRTCTransportOptions{
		ID:        b.TransportId,
		EnableUDP: o.EnableUdp, EnableTCP: o.EnableTcp, PreferUDP: o.PreferUdp, PreferTCP: o.PreferTcp,
		ICEConsentTimeout: consentTimeout(o.IceConsentTimeout),
		SCTP:              sctpOptions(o.Base),
	}
	if initial := o.Base.InitialAvailableOutgoingBitrate; initial != nil {
		if err := checkBitrate(*initial); err != nil {
			return nil, err
		}
		e.InitialOutgoingBitrate = uint32(min(*initial, math.MaxUint32))
	}
	switch l := o.Listen.Value.(type) {
	case *fbs.ListenServerT:
		e.ServerID = l.WebRtcServerId
	case *fbs.ListenIndividualT:
		infos, err := listenInfos(l.ListenInfos)
		if err != nil {
			return nil, err
		}
		e.ListenInfos = infos
	}
	return func(m *engine.Machine) (engine.TransportDump, error) {
		if e.ServerID != "" {
			if _, err := m.DumpWebRTCServer(e.ServerID); err != nil {
				return engine.TransportDump{}, errUnknownServer
			}
		}
		return m.CreateWebRTCTransport(routerID, e)
	}, nil
}

// checkBitrate refuses what mediasoup does, for instance what was below zero.
func checkBitrate(bps uint64) error {
	if bps > math.MaxInt64-1 {
		return invalid("bitrate %d is above %d", bps, uint64(math.MaxInt64-1))
	}
	return nil
}

func createPlain(routerID string, b *fbs.RouterCreatePlainTransportRequestT) (dumping, error) {
	o := b.Options
	info, err := listenInfo(o.ListenInfo)
	if err != nil {
		return nil, err
	}
	e := engine.PlainTransportOptions{ID: b.TransportId, ListenInfo: info, Comedia: o.Comedia, SCTP: sctpOptions(o.Base)}
	if !o.RtcpMux {
		rtcp := info
		rtcp.Port = 0 // that one is RTP's
		if o.RtcpListenInfo != nil {
			if rtcp, err = listenInfo(o.RtcpListenInfo); err != nil {
				return nil, err
			}
		}
		e.RTCPListenInfo = &rtcp
	}
	if o.EnableSrtp {
		if o.SrtpCryptoSuite == nil {
			return nil, invalid("missing srtpCryptoSuite")
		}
		if e.SRTPSuite, err = name(suites, *o.SrtpCryptoSuite); err != nil {
			return nil, err
		}
	}
	return func(m *engine.Machine) (engine.TransportDump, error) { return m.CreatePlainTransport(routerID, e) }, nil
}

func createPipe(routerID string, b *fbs.RouterCreatePipeTransportRequestT) (dumping, error) {
	info, err := listenInfo(b.Options.ListenInfo)
	if err != nil {
		return nil, err
	}
	e := engine.PipeTransportOptions{
		ID: b.TransportId, ListenInfo: info, EnableRTX: b.Options.EnableRtx, EnableSRTP: b.Options.EnableSrtp,
		SCTP: sctpOptions(b.Options.Base),
	}
	return func(m *engine.Machine) (engine.TransportDump, error) { return m.CreatePipeTransport(routerID, e) }, nil
}

func createDirect(routerID string, b *fbs.RouterCreateDirectTransportRequestT) (dumping, error) {
	o := b.Options.Base
	e := engine.DirectTransportOptions{
		ID: b.TransportId, MaxSendMessageSize: o.MaxSendMessageSize, MaxReceiveMessageSize: o.MaxReceiveMessageSize,
	}
	return func(m *engine.Machine) (engine.TransportDump, error) { return m.CreateDirectTransport(routerID, e) }, nil
}

func connectWebRTC(id string, b *fbs.WebRtcTransportConnectRequestT) (func(*engine.Machine) (engine.DTLSRole, error), error) {
	role, fingerprints, err := dtlsParameters(b.DtlsParameters)
	if err != nil {
		return nil, err
	}
	return func(m *engine.Machine) (engine.DTLSRole, error) { return m.ConnectWebRTC(id, role, fingerprints) }, nil
}

func connectPlain(id string, b *fbs.PlainTransportConnectRequestT) (dumping, error) {
	srtp, err := srtpParameters(b.SrtpParameters)
	if err != nil {
		return nil, err
	}
	return func(m *engine.Machine) (engine.TransportDump, error) {
		d, err := m.DumpTransport(id)
		if err != nil {
			return d, err
		}
		e := engine.PlainConnectOptions{SRTP: srtp}
		if d.Plain != nil && !d.Plain.Comedia {
			if e.Remote, err = remoteAddr(b.Ip, b.Port); err != nil {
				return d, err
			}
			if b.RtcpPort != nil {
				e.RTCPPort = *b.RtcpPort
			}
		}
		return m.ConnectPlain(id, e)
	}, nil
}

func connectPipe(id string, b *fbs.PipeTransportConnectRequestT) (dumping, error) {
	var e engine.PipeConnectOptions
	var err error
	if e.SRTP, err = srtpParameters(b.SrtpParameters); err != nil {
		return nil, err
	}
	if e.Remote, err = remoteAddr(b.Ip, b.Port); err != nil {
		return nil, err
	}
	return func(m *engine.Machine) (engine.TransportDump, error) { return m.ConnectPipe(id, e) }, nil
}

func restartICE(m *engine.Machine, id string) (fbs.TransportRestartIceResponseT, error) {
	ufrag, password, err := m.RestartICE(id)
	return fbs.TransportRestartIceResponseT{UsernameFragment: ufrag, Password: password, IceLite: true}, err
}

func produce(id string, b *fbs.TransportProduceRequestT) (func(*engine.Machine) (engine.ProducerType, error), error) {
	params, err := rtpParameters(b.RtpParameters)
	if err != nil {
		return nil, err
	}
	e := engine.ProduceOptions{
		ID: b.ProducerId, Kind: kind(b.Kind), RTPParameters: params, RTPMapping: rtpMapping(b.RtpMapping),
		Paused: b.Paused, KeyFrameRequestDelay: time.Duration(b.KeyFrameRequestDelay) * time.Millisecond,
		AddPacketID: b.EnableMediasoupPacketIdHeaderExtension,
	}
	return func(m *engine.Machine) (engine.ProducerType, error) { return m.Produce(id, e) }, nil
}

func consume(id string, b *fbs.TransportConsumeRequestT) (func(*engine.Machine) (engine.ConsumeResult, error), error) {
	params, err := rtpParameters(b.RtpParameters)
	if err != nil {
		return nil, err
	}
	e := engine.ConsumeOptions{
		ID: b.ConsumerId, ProducerID: b.ProducerId, RTPParameters: params,
		ConsumableEncodings: encodings(b.ConsumableRtpEncodings), Paused: b.Paused, IgnoreDTX: b.IgnoreDtx,
		Pipe: b.Type == fbs.RtpTypePIPE, PreferredLayers: layers(b.PreferredLayers),
	}
	return func(m *engine.Machine) (engine.ConsumeResult, error) { return m.Consume(id, e) }, nil
}

func consumeResponse(r *engine.ConsumeResult) *fbs.ResponseBodyT {
	return respond(fbs.ResponseBodyTransportConsumeResponse, &fbs.TransportConsumeResponseT{
		Paused: r.Paused, ProducerPaused: r.ProducerPaused, Score: consumerScore(&r.Score),
		PreferredLayers: layersOf(r.PreferredLayers),
	})
}

func transportDump(d *engine.TransportDump) *fbs.ResponseBodyT {
	base := &fbs.TransportDumpT{
		Id:                   d.ID,
		Direct:               d.Direct,
		ProducerIds:          ids(d.ProducerIDs),
		ConsumerIds:          ids(d.ConsumerIDs),
		MapSsrcConsumerId:    each(d.SSRCConsumers, ssrcOwner),
		MapRtxSsrcConsumerId: each(d.RTXSSRCConsumers, ssrcOwner),
		DataProducerIds:      ids(d.DataProducerIDs),
		DataConsumerIds:      ids(d.DataConsumerIDs),
		RecvRtpHeaderExtensions: &fbs.RecvRtpHeaderExtensionsT{
			Mid: some(d.MID), Rid: some(d.RID), Rrid: some(d.RRID),
			AbsSendTime: some(d.AbsSendTime), TransportWideCc01: some(d.TransportWideCC),
		},
		RtpListener: &fbs.RtpListenerT{
			SsrcTable: each(d.SSRCProducers, ssrcOwner),
			MidTable:  each(d.MIDProducers, nameOwner),
			RidTable:  each(d.RIDProducers, nameOwner),
		},
		MaxSendMessageSize:    d.MaxSendMessageSize,
		MaxReceiveMessageSize: d.MaxReceiveMessageSize,
		TraceEventTypes:       traceTypes[fbs.TransportTraceEventType](transportTraces, d.TraceEventTypes),
	}
	if d.SCTP != nil {
		sctpDump(base, d.SCTP)
	}
	switch {
	case d.WebRTC != nil:
		w := d.WebRTC
		return respond(fbs.ResponseBodyWebRtcTransportDumpResponse, &fbs.WebRtcTransportDumpResponseT{
			Base:             base,
			IceRole:          fbs.IceRoleCONTROLLED,
			IceParameters:    &fbs.IceParametersT{UsernameFragment: w.Ufrag, Password: w.Password, IceLite: true},
			IceCandidates:    each(w.Candidates, candidate),
			IceState:         iceState(w.ICEState),
			IceSelectedTuple: tuple(w.SelectedTuple),
			DtlsParameters: &fbs.DtlsParametersT{
				Role: fbs.DtlsRole(w.DTLSRole), // numbered alike
				Fingerprints: each(w.Fingerprints, func(f *dtls.Fingerprint) *fbs.FingerprintT {
					return &fbs.FingerprintT{Algorithm: number[fbs.FingerprintAlgorithm](algorithms, f.Algorithm), Value: f.Value}
				}),
			},
			DtlsState: dtlsState(w.DTLSState),
		})
	case d.Plain != nil:
		p := d.Plain
		return respond(fbs.ResponseBodyPlainTransportDumpResponse, &fbs.PlainTransportDumpResponseT{
			Base: base, RtcpMux: p.RTCPMux, Comedia: p.Comedia,
			Tuple: tuple(&p.Tuple), RtcpTuple: tuple(p.RTCPTuple), SrtpParameters: srtpOf(p.SRTP),
		})
	case d.Pipe != nil:
		p := d.Pipe
		return respond(fbs.ResponseBodyPipeTransportDumpResponse, &fbs.PipeTransportDumpResponseT{
			Base: base, Tuple: tuple(&p.Tuple), Rtx: p.RTX, SrtpParameters: srtpOf(p.SRTP),
		})
	}
	return respond(fbs.ResponseBodyDirectTransportDumpResponse, &fbs.DirectTransportDumpResponseT{Base: base})
}

func ssrcOwner(o *engine.SSRCOwner) *fbs.Uint32StringT {
	return &fbs.Uint32StringT{Key: o.SSRC, Value: o.ID}
}

func nameOwner(o *engine.NameOwner) *fbs.StringStringT {
	return &fbs.StringStringT{Key: o.Name, Value: o.ID}
}

func candidate(c *ice.Candidate) *fbs.IceCandidateT {
	out := &fbs.IceCandidateT{
		Foundation: c.Foundation, Priority: c.Priority, Address: c.Address, Port: c.Port,
		Protocol: fbs.ProtocolUDP, Type: fbs.IceCandidateTypeHOST,
	}
	if c.TCP {
		out.Protocol, out.TcpType = fbs.ProtocolTCP, new(fbs.IceCandidateTcpTypePASSIVE)
	}
	return out
}

var (
	iceStates = []string{
		fbs.IceStateNEW: "new", fbs.IceStateCONNECTED: "connected",
		fbs.IceStateCOMPLETED: "completed", fbs.IceStateDISCONNECTED: "disconnected",
	}
	dtlsStates = []string{
		fbs.DtlsStateNEW: "new", fbs.DtlsStateCONNECTING: "connecting", fbs.DtlsStateCONNECTED: "connected",
		fbs.DtlsStateFAILED: "failed", fbs.DtlsStateCLOSED: "closed",
	}
)

func iceState(s string) fbs.IceState   { return number[fbs.IceState](iceStates, s) }
func dtlsState(s string) fbs.DtlsState { return number[fbs.DtlsState](dtlsStates, s) }

func transportStats(s *engine.TransportStats) *fbs.ResponseBodyT {
	base := &fbs.TransportStatsT{
		TransportId:        s.ID,
		Timestamp:          milliseconds(s.Timestamp),
		BytesReceived:      s.BytesReceived,
		RecvBitrate:        s.RecvBitrate,
		BytesSent:          s.BytesSent,
		SendBitrate:        s.SendBitrate,
		RtpBytesReceived:   s.RTPBytesReceived,
		RtpRecvBitrate:     s.RTPRecvBitrate,
		RtpBytesSent:       s.RTPBytesSent,
		RtpSendBitrate:     s.RTPSendBitrate,
		RtxBytesReceived:   s.RTXBytesReceived,
		RtxRecvBitrate:     s.RTXRecvBitrate,
		RtxBytesSent:       s.RTXBytesSent,
		RtxSendBitrate:     s.RTXSendBitrate,
		MaxIncomingBitrate: some(s.MaxIncomingBitrate),
		MaxOutgoingBitrate: some(uint64(s.MaxOutgoingBitrate)),
		MinOutgoingBitrate: some(uint64(s.MinOutgoingBitrate)),
	}
	if s.Feedback {
		base.AvailableIncomingBitrate = &s.AvailableIncomingBitrate
		base.RtpPacketLossReceived = &s.PacketLossReceived
	}
	if s.Estimated {
		base.AvailableOutgoingBitrate = &s.AvailableOutgoingBitrate
		base.RtpPacketLossSent = &s.PacketLossSent
		base.ProbationBytesSent, base.ProbationSendBitrate = s.ProbationBytesSent, s.ProbationSendBitrate
	}
	if s.SCTPState != "" {
		base.SctpState = new(sctpState(s.SCTPState))
	}
	switch {
	case s.WebRTC != nil:
		w := s.WebRTC
		return respond(fbs.ResponseBodyWebRtcTransportGetStatsResponse, &fbs.WebRtcTransportGetStatsResponseT{
			Base: base, IceRole: fbs.IceRoleCONTROLLED, IceState: iceState(w.ICEState),
			IceSelectedTuple: tuple(w.SelectedTuple), DtlsState: dtlsState(w.DTLSState),
		})
	case s.Plain != nil:
		p := s.Plain
		return respond(fbs.ResponseBodyPlainTransportGetStatsResponse, &fbs.PlainTransportGetStatsResponseT{
			Base: base, RtcpMux: p.RTCPMux, Comedia: p.Comedia, Tuple: tuple(&p.Tuple), RtcpTuple: tuple(p.RTCPTuple),
		})
	case s.Pipe != nil:
		return respond(fbs.ResponseBodyPipeTransportGetStatsResponse, &fbs.PipeTransportGetStatsResponseT{
			Base: base, Tuple: tuple(&s.Pipe.Tuple),
		})
	}
	return respond(fbs.ResponseBodyDirectTransportGetStatsResponse, &fbs.DirectTransportGetStatsResponseT{Base: base})
}
