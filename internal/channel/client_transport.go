package channel

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/mafalda-sfu/mafalda/internal/channel/fbs"
	"github.com/mafalda-sfu/mafalda/internal/dtls"
	"github.com/mafalda-sfu/mafalda/internal/engine"
	"github.com/mafalda-sfu/mafalda/internal/ice"
)

// Defaults, which the protocol wants to be told; sizes are bytes.
const (
	messageSize   = 262_144
	sendBuffer    = 2_000_000
	receiveWindow = 5_242_880
	// initialBitrate is the default estimate of a transport, in bit/s.
	initialBitrate = 600_000
)

// baseOptions returns what all kinds of transports have as options.
func baseOptions(o *engine.SCTPOptions) *fbs.TransportOptionsT {
	b := &fbs.TransportOptionsT{InitialAvailableOutgoingBitrate: new(uint64(initialBitrate))}
	if o == nil {
		return b
	}
	b.EnableSctp = true
	b.MaxSendMessageSize = cmp.Or(o.MaxSendMessageSize, messageSize)
	b.MaxReceiveMessageSize = cmp.Or(o.MaxReceiveMessageSize, messageSize)
	b.SctpSendBufferSize = cmp.Or(o.SendBufferSize, sendBuffer)
	b.SctpPerStreamSendQueueLimit = cmp.Or(o.PerStreamSendQueueLimit, sendBuffer)
	b.SctpMaxReceiverWindowBufferSize = cmp.Or(o.MaxReceiverWindowBufferSize, receiveWindow)
	b.SctpDefaultStreamBufferedAmountLowThreshold = o.BufferedAmountLowThreshold
	b.IsDataChannel = o.DataChannel
	return b
}

// createTransport does a request that creates a transport in a router; its want
// is the dump of that kind of transport.
func (k *Call) createTransport(routerID, id, server string, r request) (engine.TransportDump, error) {
	r.id, r.class = routerID, engine.ErrUnavailable
	r.undo = func(k *Call) error {
		return k.set(fbs.MethodROUTER_CLOSE_TRANSPORT, routerID, fbs.RequestBodyRouterCloseTransportRequest,
			&fbs.RouterCloseTransportRequestT{TransportId: id})
	}
	body, err := k.do(r)
	if err != nil {
		return engine.TransportDump{}, err
	}
	d, err := transportDumpFrom(body)
	if err == nil {
		k.c.grow(id, routerID, server)
	}
	return d, err
}

func (k *Call) CreateWebRTCTransport(routerID string, o engine.WebRTCTransportOptions) (engine.TransportDump, error) {
	if o.Certificate != nil {
		return engine.TransportDump{}, fmt.Errorf("a certificate of its own for a transport of another process: %w", errors.ErrUnsupported)
	}
	options := &fbs.WebRtcTransportOptionsT{
		Base:      baseOptions(o.SCTP),
		EnableUdp: o.EnableUDP, EnableTcp: o.EnableTCP, PreferUdp: o.PreferUDP, PreferTcp: o.PreferTCP,
		IceConsentTimeout: seconds(o.ICEConsentTimeout),
	}
	if o.InitialOutgoingBitrate != 0 {
		options.Base.InitialAvailableOutgoingBitrate = new(uint64(o.InitialOutgoingBitrate))
	}
	method := fbs.MethodROUTER_CREATE_WEBRTCTRANSPORT
	if o.ServerID != "" {
		method = fbs.MethodROUTER_CREATE_WEBRTCTRANSPORT_WITH_SERVER
		options.Listen = &fbs.ListenT{Type: fbs.ListenListenServer, Value: &fbs.ListenServerT{WebRtcServerId: o.ServerID}}
	} else {
		options.Listen = &fbs.ListenT{
			Type: fbs.ListenListenIndividual, Value: &fbs.ListenIndividualT{ListenInfos: each(o.ListenInfos, listenInfoOf)},
		}
	}
	return k.createTransport(routerID, o.ID, o.ServerID, request{
		method: method, kind: fbs.RequestBodyRouterCreateWebRtcTransportRequest,
		body: &fbs.RouterCreateWebRtcTransportRequestT{TransportId: o.ID, Options: options},
		want: fbs.ResponseBodyWebRtcTransportDumpResponse,
	})
}

func (k *Call) CreatePlainTransport(routerID string, o engine.PlainTransportOptions) (engine.TransportDump, error) {
	options := &fbs.PlainTransportOptionsT{
		Base: baseOptions(o.SCTP), ListenInfo: listenInfoOf(&o.ListenInfo), RtcpMux: o.RTCPListenInfo == nil, Comedia: o.Comedia,
	}
	if o.RTCPListenInfo != nil {
		options.RtcpListenInfo = listenInfoOf(o.RTCPListenInfo)
	}
	if o.SRTPSuite != "" {
		options.EnableSrtp, options.SrtpCryptoSuite = true, new(number[fbs.SrtpCryptoSuite](suites, o.SRTPSuite))
	}
	return k.createTransport(routerID, o.ID, "", request{
		method: fbs.MethodROUTER_CREATE_PLAINTRANSPORT, kind: fbs.RequestBodyRouterCreatePlainTransportRequest,
		body: &fbs.RouterCreatePlainTransportRequestT{TransportId: o.ID, Options: options},
		want: fbs.ResponseBodyPlainTransportDumpResponse,
	})
}

func (k *Call) CreatePipeTransport(routerID string, o engine.PipeTransportOptions) (engine.TransportDump, error) {
	return k.createTransport(routerID, o.ID, "", request{
		method: fbs.MethodROUTER_CREATE_PIPETRANSPORT, kind: fbs.RequestBodyRouterCreatePipeTransportRequest,
		body: &fbs.RouterCreatePipeTransportRequestT{TransportId: o.ID, Options: &fbs.PipeTransportOptionsT{
			Base: baseOptions(o.SCTP), ListenInfo: listenInfoOf(&o.ListenInfo), EnableRtx: o.EnableRTX, EnableSrtp: o.EnableSRTP,
		}},
		want: fbs.ResponseBodyPipeTransportDumpResponse,
	})
}

func (k *Call) CreateDirectTransport(routerID string, o engine.DirectTransportOptions) (engine.TransportDump, error) {
	b := baseOptions(nil)
	b.Direct = true
	b.MaxSendMessageSize = cmp.Or(o.MaxSendMessageSize, messageSize)
	b.MaxReceiveMessageSize = cmp.Or(o.MaxReceiveMessageSize, messageSize)
	return k.createTransport(routerID, o.ID, "", request{
		method: fbs.MethodROUTER_CREATE_DIRECTTRANSPORT, kind: fbs.RequestBodyRouterCreateDirectTransportRequest,
		body: &fbs.RouterCreateDirectTransportRequestT{TransportId: o.ID, Options: &fbs.DirectTransportOptionsT{Base: b}},
		want: fbs.ResponseBodyDirectTransportDumpResponse,
	})
}

func (k *Call) CloseTransport(id string) error {
	router := k.c.parent(id)
	if router == "" {
		return gone(id)
	}
	k.c.forget(id)
	return k.set(fbs.MethodROUTER_CLOSE_TRANSPORT, router, fbs.RequestBodyRouterCloseTransportRequest,
		&fbs.RouterCloseTransportRequestT{TransportId: id})
}

func (k *Call) ConnectWebRTC(id string, role engine.DTLSRole, fingerprints []dtls.Fingerprint) (engine.DTLSRole, error) {
	r, err := ask[*fbs.WebRtcTransportConnectResponseT](k, request{
		method: fbs.MethodWEBRTCTRANSPORT_CONNECT, id: id, kind: fbs.RequestBodyWebRtcTransportConnectRequest,
		body: &fbs.WebRtcTransportConnectRequestT{DtlsParameters: &fbs.DtlsParametersT{
			Role: fbs.DtlsRole(role), Fingerprints: each(fingerprints, fingerprintOf), // numbered alike
		}},
		want: fbs.ResponseBodyWebRtcTransportConnectResponse,
	})
	if err != nil {
		return 0, err
	}
	return dtlsRole(r.DtlsLocalRole)
}

// dtlsRole refuses what is no role.
func dtlsRole(r fbs.DtlsRole) (engine.DTLSRole, error) {
	if r > fbs.DtlsRoleSERVER {
		return 0, errUnexpected
	}
	return engine.DTLSRole(r), nil // numbered alike
}

func fingerprintOf(f *dtls.Fingerprint) *fbs.FingerprintT {
	return &fbs.FingerprintT{
		Algorithm: number[fbs.FingerprintAlgorithm](algorithms, strings.ToLower(f.Algorithm)), Value: f.Value,
	}
}

func (k *Call) ConnectPlain(id string, o engine.PlainConnectOptions) (engine.TransportDump, error) {
	body := &fbs.PlainTransportConnectRequestT{RtcpPort: some(o.RTCPPort), SrtpParameters: srtpOf(o.SRTP)}
	if o.Remote.IsValid() {
		body.Ip, body.Port = o.Remote.Addr().String(), new(o.Remote.Port())
	}
	_, err := k.do(request{
		method: fbs.MethodPLAINTRANSPORT_CONNECT, id: id, kind: fbs.RequestBodyPlainTransportConnectRequest, body: body,
		want: fbs.ResponseBodyPlainTransportConnectResponse,
	})
	if err != nil {
		return engine.TransportDump{}, err
	}
	return k.dumpTransport(id, fbs.ResponseBodyPlainTransportDumpResponse) // of which the response has a part
}

func (k *Call) ConnectPipe(id string, o engine.PipeConnectOptions) (engine.TransportDump, error) {
	_, err := k.do(request{
		method: fbs.MethodPIPETRANSPORT_CONNECT, id: id, kind: fbs.RequestBodyPipeTransportConnectRequest,
		body: &fbs.PipeTransportConnectRequestT{
			Ip: o.Remote.Addr().String(), Port: new(o.Remote.Port()), SrtpParameters: srtpOf(o.SRTP),
		},
		want: fbs.ResponseBodyPipeTransportConnectResponse,
	})
	if err != nil {
		return engine.TransportDump{}, err
	}
	return k.dumpTransport(id, fbs.ResponseBodyPipeTransportDumpResponse) // of which the response has a part
}

func (k *Call) RestartICE(id string) (ufrag, password string, err error) {
	r, err := ask[*fbs.TransportRestartIceResponseT](k, request{
		method: fbs.MethodTRANSPORT_RESTART_ICE, id: id, want: fbs.ResponseBodyTransportRestartIceResponse,
	})
	if err != nil {
		return "", "", err
	}
	return r.UsernameFragment, r.Password, nil
}

// limit does a request that not all kinds of transport have.
func (k *Call) limit(m fbs.Method, id string, kind fbs.RequestBody, body any) error {
	_, err := k.do(request{method: m, id: id, kind: kind, body: body, class: errors.ErrUnsupported})
	return err
}

func (k *Call) SetMaxIncomingBitrate(id string, bitrate uint64) error {
	return k.limit(fbs.MethodTRANSPORT_SET_MAX_INCOMING_BITRATE, id, fbs.RequestBodyTransportSetMaxIncomingBitrateRequest,
		&fbs.TransportSetMaxIncomingBitrateRequestT{MaxIncomingBitrate: bitrate})
}

func (k *Call) SetMaxOutgoingBitrate(id string, bps uint32) error {
	return k.limit(fbs.MethodTRANSPORT_SET_MAX_OUTGOING_BITRATE, id, fbs.RequestBodyTransportSetMaxOutgoingBitrateRequest,
		&fbs.TransportSetMaxOutgoingBitrateRequestT{MaxOutgoingBitrate: uint64(bps)})
}

func (k *Call) SetMinOutgoingBitrate(id string, bps uint32) error {
	return k.limit(fbs.MethodTRANSPORT_SET_MIN_OUTGOING_BITRATE, id, fbs.RequestBodyTransportSetMinOutgoingBitrateRequest,
		&fbs.TransportSetMinOutgoingBitrateRequestT{MinOutgoingBitrate: uint64(bps)})
}

func (k *Call) TraceTransport(id string, types []string) error {
	return k.set(fbs.MethodTRANSPORT_ENABLE_TRACE_EVENT, id, fbs.RequestBodyTransportEnableTraceEventRequest,
		&fbs.TransportEnableTraceEventRequestT{Events: traceTypes[fbs.TransportTraceEventType](transportTraces, types)})
}

func (k *Call) DumpTransport(id string) (engine.TransportDump, error) {
	return k.dumpTransport(id, anyBody)
}

// dumpTransport is DumpTransport for a kind of transport.
func (k *Call) dumpTransport(id string, want fbs.ResponseBody) (engine.TransportDump, error) {
	body, err := k.do(request{method: fbs.MethodTRANSPORT_DUMP, id: id, want: want, quiet: true})
	if err != nil {
		return engine.TransportDump{}, err
	}
	return transportDumpFrom(body)
}

func (k *Call) TransportStats(id string) (engine.TransportStats, error) {
	body, err := k.do(request{method: fbs.MethodTRANSPORT_GET_STATS, id: id, want: anyBody, quiet: true})
	if err != nil {
		return engine.TransportStats{}, err
	}
	return transportStatsFrom(body)
}

func transportDumpFrom(body any) (engine.TransportDump, error) {
	var d engine.TransportDump
	var err error
	switch b := body.(type) {
	case *fbs.WebRtcTransportDumpResponseT:
		d = baseDumpFrom(b.Base)
		d.WebRTC = &engine.WebRTCDump{
			ICEState: named(iceStates, b.IceState),
			Ufrag:    b.IceParameters.UsernameFragment, Password: b.IceParameters.Password,
			SelectedTuple: tupleFrom(b.IceSelectedTuple),
			DTLSState:     named(dtlsStates, b.DtlsState),
		}
		d.WebRTC.DTLSRole, err = dtlsRole(b.DtlsParameters.Role)
		for _, c := range b.IceCandidates {
			d.WebRTC.Candidates = append(d.WebRTC.Candidates, ice.Candidate{
				Foundation: c.Foundation, Priority: c.Priority, Address: c.Address, Port: c.Port, TCP: c.Protocol == fbs.ProtocolTCP,
			})
		}
		for _, f := range b.DtlsParameters.Fingerprints {
			d.WebRTC.Fingerprints = append(d.WebRTC.Fingerprints, dtls.Fingerprint{
				Algorithm: named(algorithms, f.Algorithm), Value: f.Value,
			})
		}
	case *fbs.PlainTransportDumpResponseT:
		d = baseDumpFrom(b.Base)
		d.Plain = &engine.PlainDump{
			RTCPMux: b.RtcpMux, Comedia: b.Comedia, Tuple: *tupleFrom(b.Tuple), RTCPTuple: tupleFrom(b.RtcpTuple),
		}
		d.Plain.SRTP, err = srtpParameters(b.SrtpParameters)
	case *fbs.PipeTransportDumpResponseT:
		d = baseDumpFrom(b.Base)
		d.Pipe = &engine.PipeDump{RTX: b.Rtx, Tuple: *tupleFrom(b.Tuple)}
		d.Pipe.SRTP, err = srtpParameters(b.SrtpParameters)
	case *fbs.DirectTransportDumpResponseT:
		d = baseDumpFrom(b.Base)
	default:
		err = errUnexpected
	}
	return d, err
}

func baseDumpFrom(b *fbs.TransportDumpT) engine.TransportDump {
	x := b.RecvRtpHeaderExtensions
	return engine.TransportDump{
		SCTP:                  sctpDumpFrom(b),
		ID:                    b.Id,
		ProducerIDs:           b.ProducerIds,
		ConsumerIDs:           b.ConsumerIds,
		SSRCConsumers:         ssrcOwnersFrom(b.MapSsrcConsumerId),
		RTXSSRCConsumers:      ssrcOwnersFrom(b.MapRtxSsrcConsumerId),
		SSRCProducers:         ssrcOwnersFrom(b.RtpListener.SsrcTable),
		MIDProducers:          nameOwnersFrom(b.RtpListener.MidTable),
		RIDProducers:          nameOwnersFrom(b.RtpListener.RidTable),
		MID:                   or0(x.Mid),
		RID:                   or0(x.Rid),
		RRID:                  or0(x.Rrid),
		AbsSendTime:           or0(x.AbsSendTime),
		TransportWideCC:       or0(x.TransportWideCc01),
		DataProducerIDs:       b.DataProducerIds,
		DataConsumerIDs:       b.DataConsumerIds,
		MaxSendMessageSize:    b.MaxSendMessageSize,
		MaxReceiveMessageSize: b.MaxReceiveMessageSize,
		Direct:                b.Direct,
		TraceEventTypes:       traces(transportTraces, b.TraceEventTypes),
	}
}

func sctpDumpFrom(b *fbs.TransportDumpT) *engine.SCTPDump {
	p := b.SctpParameters
	if p == nil {
		return nil
	}
	d := &engine.SCTPDump{
		Port: p.Port,
		Options: engine.SCTPOptions{
			MaxSendMessageSize: p.MaxSendMessageSize, MaxReceiveMessageSize: p.MaxReceiveMessageSize,
			SendBufferSize: p.SendBufferSize, PerStreamSendQueueLimit: p.PerStreamSendQueueLimit,
			MaxReceiverWindowBufferSize: p.MaxReceiverWindowBufferSize, DataChannel: p.IsDataChannel,
		},
		State: named(sctpStates, or0(b.SctpState)),
	}
	if n := b.SctpNegotiatedCapabilities; n != nil {
		d.MaxOutbound, d.MaxInbound = n.NegotiatedMaxOutboundStreams, n.NegotiatedMaxInboundStreams
	}
	if b.SctpListener != nil {
		for _, s := range b.SctpListener.StreamIdTable {
			d.Streams = append(d.Streams, engine.StreamOwner{StreamID: s.Key, ID: s.Value})
		}
	}
	return d
}

// or0 returns what p points to, 0 for nil.
func or0[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

func ssrcOwnersFrom(list []*fbs.Uint32StringT) []engine.SSRCOwner {
	out := make([]engine.SSRCOwner, len(list))
	for i, o := range list {
		out[i] = engine.SSRCOwner{SSRC: o.Key, ID: o.Value}
	}
	return out
}

func nameOwnersFrom(list []*fbs.StringStringT) []engine.NameOwner {
	out := make([]engine.NameOwner, len(list))
	for i, o := range list {
		out[i] = engine.NameOwner{Name: o.Key, ID: o.Value}
	}
	return out
}

func transportStatsFrom(body any) (engine.TransportStats, error) {
	var s engine.TransportStats
	switch b := body.(type) {
	case *fbs.WebRtcTransportGetStatsResponseT:
		s = baseStatsFrom(b.Base)
		s.WebRTC = &engine.WebRTCDump{
			ICEState: named(iceStates, b.IceState), SelectedTuple: tupleFrom(b.IceSelectedTuple),
			DTLSState: named(dtlsStates, b.DtlsState),
		}
	case *fbs.PlainTransportGetStatsResponseT:
		s = baseStatsFrom(b.Base)
		s.Plain = &engine.PlainDump{
			RTCPMux: b.RtcpMux, Comedia: b.Comedia, Tuple: *tupleFrom(b.Tuple), RTCPTuple: tupleFrom(b.RtcpTuple),
		}
	case *fbs.PipeTransportGetStatsResponseT:
		s = baseStatsFrom(b.Base)
		s.Pipe = &engine.PipeDump{Tuple: *tupleFrom(b.Tuple)}
	case *fbs.DirectTransportGetStatsResponseT:
		s = baseStatsFrom(b.Base)
	default:
		return s, errUnexpected
	}
	return s, nil
}

func baseStatsFrom(b *fbs.TransportStatsT) engine.TransportStats {
	s := engine.TransportStats{
		ID:                       b.TransportId,
		Timestamp:                duration(b.Timestamp),
		BytesReceived:            b.BytesReceived,
		RecvBitrate:              b.RecvBitrate,
		BytesSent:                b.BytesSent,
		SendBitrate:              b.SendBitrate,
		RTPBytesReceived:         b.RtpBytesReceived,
		RTPRecvBitrate:           b.RtpRecvBitrate,
		RTPBytesSent:             b.RtpBytesSent,
		RTPSendBitrate:           b.RtpSendBitrate,
		RTXBytesReceived:         b.RtxBytesReceived,
		RTXRecvBitrate:           b.RtxRecvBitrate,
		RTXBytesSent:             b.RtxBytesSent,
		RTXSendBitrate:           b.RtxSendBitrate,
		Feedback:                 b.AvailableIncomingBitrate != nil,
		AvailableIncomingBitrate: or0(b.AvailableIncomingBitrate),
		PacketLossReceived:       or0(b.RtpPacketLossReceived),
		Estimated:                b.AvailableOutgoingBitrate != nil,
		AvailableOutgoingBitrate: or0(b.AvailableOutgoingBitrate),
		PacketLossSent:           or0(b.RtpPacketLossSent),
		ProbationBytesSent:       b.ProbationBytesSent,
		ProbationSendBitrate:     b.ProbationSendBitrate,
		MaxIncomingBitrate:       or0(b.MaxIncomingBitrate),
		MaxOutgoingBitrate:       uint32(min(or0(b.MaxOutgoingBitrate), math.MaxUint32)),
		MinOutgoingBitrate:       uint32(min(or0(b.MinOutgoingBitrate), math.MaxUint32)),
	}
	if b.SctpState != nil {
		s.SCTPState = named(sctpStates, *b.SctpState)
	}
	return s
}
