package channel

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/channel/fbs"
	"github.com/mafalda-sfu/mafalda/internal/rtp"
	"github.com/mafalda-sfu/mafalda/internal/rtptest"
)

// until returns the next notification of that kind and forgets others.
func (p *peer) until(e fbs.Event) *fbs.NotificationT {
	p.t.Helper()
	for {
		if n := p.notification(); n.Event == e {
			return n
		}
	}
}

// vp8 is a payload that begins a key frame, or does not.
func vp8(key bool) []byte {
	if key {
		return []byte{0x10, 0x10, 0, 0, 0x9d, 1, 0x2a, 0x40, 1, 0xf0, 0}
	}
	return []byte{0x10, 0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0}
}

// Packets go in by the channel, through Producer and Consumer, and out again.
func TestMedia(t *testing.T) {
	p := start(t, Settings{})
	p.router("r")
	p.direct("r", "t")
	p.produce("t", "p", 1000)
	r := p.consume("t", "p", "c", 3000, 1001)
	assert.False(t, r.Paused)
	assert.Equal(t, &fbs.ConsumerScoreT{Score: 10, ProducerScores: []byte{0}}, r.Score)
	p.ask(fbs.MethodPRODUCER_ENABLE_TRACE_EVENT, "p", fbs.RequestBodyProducerEnableTraceEventRequest,
		&fbs.ProducerEnableTraceEventRequestT{Events: []fbs.ProducerTraceEventType{
			fbs.ProducerTraceEventTypeKEYFRAME, fbs.ProducerTraceEventTypeRTP, fbs.ProducerTraceEventTypePLI,
			fbs.ProducerTraceEventTypeSR, 99,
		}})
	p.ask(fbs.MethodCONSUMER_ENABLE_TRACE_EVENT, "c", fbs.RequestBodyConsumerEnableTraceEventRequest,
		&fbs.ConsumerEnableTraceEventRequestT{Events: []fbs.ConsumerTraceEventType{
			fbs.ConsumerTraceEventTypeRTP, fbs.ConsumerTraceEventTypePLI, fbs.ConsumerTraceEventTypeNACK,
		}})
	source := rtptest.Source{Header: rtp.Header{PayloadType: 96, SSRC: 1000, SequenceNumber: 100, Timestamp: 5}, Step: 3000}
	send := func(key bool) {
		p.notify(fbs.EventPRODUCER_SEND, "p", fbs.NotificationBodyProducerSendNotification,
			&fbs.ProducerSendNotificationT{Data: source.Next(vp8(key))})
	}
	send(true)
	seen := map[fbs.Event]*fbs.NotificationT{}
	for seen[fbs.EventCONSUMER_RTP] == nil || seen[fbs.EventPRODUCER_TRACE] == nil ||
		seen[fbs.EventCONSUMER_TRACE] == nil || seen[fbs.EventPRODUCER_SCORE] == nil {
		n := p.notification()
		seen[n.Event] = n
	}
	got := seen[fbs.EventCONSUMER_RTP]
	assert.Equal(t, "c", got.HandlerId)
	rtptest.Check(t, got.Body.Value.(*fbs.ConsumerRtpNotificationT).Data, rtptest.SSRC(3000), rtptest.PayloadType(101))
	score := seen[fbs.EventPRODUCER_SCORE].Body.Value.(*fbs.ProducerScoreNotificationT)
	assert.Equal(t, []*fbs.ProducerScoreT{{Ssrc: 1000, Score: 10}}, score.Scores)
	trace := seen[fbs.EventPRODUCER_TRACE].Body.Value.(*fbs.ProducerTraceNotificationT)
	assert.Equal(t, fbs.ProducerTraceEventTypeKEYFRAME, trace.Type)
	assert.Equal(t, fbs.TraceDirectionDIRECTION_IN, trace.Direction)
	packet := trace.Info.Value.(*fbs.ProducerKeyFrameTraceInfoT).RtpPacket
	assert.Equal(t, uint32(1000), packet.Ssrc)
	assert.True(t, packet.IsKeyFrame)
	assert.Nil(t, packet.WideSequenceNumber)
	out := seen[fbs.EventCONSUMER_TRACE].Body.Value.(*fbs.ConsumerTraceNotificationT)
	assert.Equal(t, fbs.ConsumerTraceEventTypeRTP, out.Type)
	assert.Equal(t, fbs.TraceDirectionDIRECTION_OUT, out.Direction)
	assert.Equal(t, uint32(3000), out.Info.Value.(*fbs.ConsumerRtpTraceInfoT).RtpPacket.Ssrc)

	// A PLI of the application reaches the Producer's side as RTCP.
	p.notify(fbs.EventTRANSPORT_SEND_RTCP, "t", fbs.NotificationBodyTransportSendRtcpNotification,
		&fbs.TransportSendRtcpNotificationT{Data: []byte{0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0x0b, 0xb8}})
	pli := p.until(fbs.EventCONSUMER_TRACE).Body.Value.(*fbs.ConsumerTraceNotificationT)
	assert.Equal(t, fbs.ConsumerTraceEventTypePLI, pli.Type)
	assert.Equal(t, uint32(3000), pli.Info.Value.(*fbs.ConsumerPliTraceInfoT).Ssrc)
	rtcp := p.until(fbs.EventDIRECTTRANSPORT_RTCP)
	assert.Equal(t, "t", rtcp.HandlerId)
	assert.Equal(t, byte(206), rtcp.Body.Value.(*fbs.DirectTransportRtcpNotificationT).Data[1])

	// A sender report is traced.
	sr := make([]byte, 28)
	copy(sr, []byte{0x80, 200, 0, 6, 0, 0, 0x03, 0xe8, 0, 0, 0, 7})
	p.notify(fbs.EventTRANSPORT_SEND_RTCP, "t", fbs.NotificationBodyTransportSendRtcpNotification,
		&fbs.TransportSendRtcpNotificationT{Data: sr})
	for {
		trace := p.until(fbs.EventPRODUCER_TRACE).Body.Value.(*fbs.ProducerTraceNotificationT)
		if trace.Type == fbs.ProducerTraceEventTypeSR {
			assert.Equal(t, &fbs.ProducerSrTraceInfoT{Ssrc: 1000, NtpSec: 7}, trace.Info.Value)
			break
		}
		assert.Equal(t, fbs.ProducerTraceEventTypePLI, trace.Type)
		assert.Equal(t, fbs.TraceDirectionDIRECTION_OUT, trace.Direction)
		assert.Equal(t, &fbs.ProducerPliTraceInfoT{Ssrc: 1000}, trace.Info.Value)
	}

	testMediaDumps(t, p)
}

func testMediaDumps(t *testing.T, p *peer) {
	d := p.ask(fbs.MethodPRODUCER_DUMP, "p", fbs.RequestBodyNONE, nil).(*fbs.ProducerDumpResponseT)
	want := video(1000)
	want.Encodings[0].MaxBitrate = nil
	want.Encodings[0].CodecPayloadType = new(byte(96))
	want.Encodings[0].ScalabilityMode = "S1T1"
	want.HeaderExtensions[0].Parameters = []*fbs.ParameterT{}
	assert.Equal(t, want, d.RtpParameters)
	assert.Equal(t, []fbs.ProducerTraceEventType{
		fbs.ProducerTraceEventTypeRTP, fbs.ProducerTraceEventTypeKEYFRAME, fbs.ProducerTraceEventTypePLI, fbs.ProducerTraceEventTypeSR,
	}, d.TraceEventTypes)
	require.Len(t, d.RtpStreams, 1)
	assert.Equal(t, uint32(1000), d.RtpStreams[0].Params.Ssrc)
	assert.Nil(t, d.RtpStreams[0].RtxStream)

	c := p.ask(fbs.MethodCONSUMER_DUMP, "c", fbs.RequestBodyNONE, nil).(*fbs.ConsumerDumpResponseT)
	assert.Equal(t, "p", c.Data.Base.ProducerId)
	assert.Equal(t, []byte{101}, c.Data.Base.SupportedCodecPayloadTypes)
	assert.Equal(t, int16(-1), *c.Data.CurrentSpatialLayer)

	s := p.ask(fbs.MethodPRODUCER_GET_STATS, "p", fbs.RequestBodyNONE, nil).(*fbs.ProducerGetStatsResponseT)
	require.Len(t, s.Stats, 1)
	recv := s.Stats[0].Data.Value.(*fbs.RtpStreamRecvStatsT)
	assert.Equal(t, uint64(1), recv.PacketCount)
	base := recv.Base.Data.Value.(*fbs.RtpStreamBaseStatsT)
	assert.Equal(t, fbs.MediaKindVIDEO, base.Kind)
	assert.Equal(t, uint32(1000), base.Ssrc)

	cs := p.ask(fbs.MethodCONSUMER_GET_STATS, "c", fbs.RequestBodyNONE, nil).(*fbs.ConsumerGetStatsResponseT)
	require.Len(t, cs.Stats, 2)
	assert.Equal(t, uint64(1), cs.Stats[0].Data.Value.(*fbs.RtpStreamSendStatsT).PacketCount)
	assert.Equal(t, fbs.RtpStreamStatsDataRtpStreamRecvStats, cs.Stats[1].Data.Type)

	r := p.ask(fbs.MethodROUTER_DUMP, "r", fbs.RequestBodyNONE, nil).(*fbs.RouterDumpResponseT)
	assert.Equal(t, []*fbs.StringStringArrayT{{Key: "p", Values: []string{"c"}}}, r.MapProducerIdConsumerIds)
	assert.Equal(t, []*fbs.StringStringT{{Key: "c", Value: "p"}}, r.MapConsumerIdProducerId)

	td := p.ask(fbs.MethodTRANSPORT_DUMP, "t", fbs.RequestBodyNONE, nil).(*fbs.DirectTransportDumpResponseT)
	assert.True(t, td.Base.Direct)
	assert.Equal(t, []*fbs.Uint32StringT{{Key: 3000, Value: "c"}}, td.Base.MapSsrcConsumerId)
	assert.Equal(t, []*fbs.Uint32StringT{{Key: 1000, Value: "p"}}, td.Base.RtpListener.SsrcTable)
	assert.Equal(t, byte(10), *td.Base.RecvRtpHeaderExtensions.Mid)
	assert.Nil(t, td.Base.RecvRtpHeaderExtensions.Rid)
	ts := p.ask(fbs.MethodTRANSPORT_GET_STATS, "t", fbs.RequestBodyNONE, nil).(*fbs.DirectTransportGetStatsResponseT)
	assert.NotZero(t, ts.Base.BytesReceived)
	assert.Nil(t, ts.Base.MaxIncomingBitrate)

	// Closing the Producer closes the Consumer, which hears of it.
	id := p.send(fbs.MethodTRANSPORT_CLOSE_PRODUCER, "t", fbs.RequestBodyTransportCloseProducerRequest,
		&fbs.TransportCloseProducerRequestT{ProducerId: "p"})
	require.True(t, p.response(id).Accepted)
	n := p.notification()
	assert.Equal(t, fbs.EventCONSUMER_PRODUCER_CLOSE, n.Event)
	assert.Equal(t, "c", n.HandlerId)
	p.refused("NotFoundError", fbs.MethodCONSUMER_DUMP, "c", fbs.RequestBodyNONE, nil)
}

func TestData(t *testing.T) {
	p := start(t, Settings{})
	p.router("r")
	p.direct("r", "t")
	d := p.ask(fbs.MethodTRANSPORT_PRODUCE_DATA, "t", fbs.RequestBodyTransportProduceDataRequest,
		&fbs.TransportProduceDataRequestT{DataProducerId: "dp", Type: fbs.DataProducerTypeDIRECT, Label: "l"}).(*fbs.DataProducerDumpResponseT)
	assert.Equal(t, &fbs.DataProducerDumpResponseT{Id: "dp", Type: fbs.DataProducerTypeDIRECT, Label: "l"}, d)
	c := p.ask(fbs.MethodTRANSPORT_CONSUME_DATA, "t", fbs.RequestBodyTransportConsumeDataRequest,
		&fbs.TransportConsumeDataRequestT{
			DataConsumerId: "dc", DataProducerId: "dp", Type: fbs.DataConsumerTypeDIRECT, Subchannels: []uint16{3, 1},
		}).(*fbs.DataConsumerDumpResponseT)
	assert.Equal(t, []uint16{1, 3}, c.Subchannels)
	send := func(text string, m fbs.DataProducerSendNotificationT) {
		m.Ppid, m.Data = 51, []byte(text)
		p.notify(fbs.EventDATAPRODUCER_SEND, "dp", fbs.NotificationBodyDataProducerSendNotification, &m)
	}
	send("not for us", fbs.DataProducerSendNotificationT{Subchannels: []uint16{2}})
	send("nor this", fbs.DataProducerSendNotificationT{RequiredSubchannel: new(uint16(2))})
	send("for us", fbs.DataProducerSendNotificationT{Subchannels: []uint16{2, 3}})
	n := p.notification()
	require.Equal(t, fbs.EventDATACONSUMER_MESSAGE, n.Event)
	assert.Equal(t, &fbs.DataConsumerMessageNotificationT{Ppid: 51, Data: []byte("for us")}, n.Body.Value)
	assert.Equal(t, []uint16{1, 2, 3}, p.ask(fbs.MethodDATACONSUMER_ADD_SUBCHANNEL, "dc",
		fbs.RequestBodyDataConsumerAddSubchannelRequest, &fbs.DataConsumerAddSubchannelRequestT{Subchannel: 2},
	).(*fbs.DataConsumerAddSubchannelResponseT).Subchannels)
	assert.Equal(t, []uint16{1, 3}, p.ask(fbs.MethodDATACONSUMER_REMOVE_SUBCHANNEL, "dc",
		fbs.RequestBodyDataConsumerRemoveSubchannelRequest, &fbs.DataConsumerRemoveSubchannelRequestT{Subchannel: 2},
	).(*fbs.DataConsumerRemoveSubchannelResponseT).Subchannels)
	assert.Empty(t, p.ask(fbs.MethodDATACONSUMER_SET_SUBCHANNELS, "dc",
		fbs.RequestBodyDataConsumerSetSubchannelsRequest, &fbs.DataConsumerSetSubchannelsRequestT{Subchannels: []uint16{}},
	).(*fbs.DataConsumerSetSubchannelsResponseT).Subchannels)
	s := p.ask(fbs.MethodDATAPRODUCER_GET_STATS, "dp", fbs.RequestBodyNONE, nil).(*fbs.DataProducerGetStatsResponseT)
	assert.Equal(t, uint64(3), s.MessagesReceived)
	id := p.send(fbs.MethodDATAPRODUCER_PAUSE, "dp", fbs.RequestBodyNONE, nil)
	require.True(t, p.response(id).Accepted)
	assert.Equal(t, fbs.EventDATACONSUMER_DATAPRODUCER_PAUSE, p.notification().Event)
	dump := p.ask(fbs.MethodDATACONSUMER_DUMP, "dc", fbs.RequestBodyNONE, nil).(*fbs.DataConsumerDumpResponseT)
	assert.True(t, dump.DataProducerPaused)
	id = p.send(fbs.MethodTRANSPORT_CLOSE_DATAPRODUCER, "t", fbs.RequestBodyTransportCloseDataProducerRequest,
		&fbs.TransportCloseDataProducerRequestT{DataProducerId: "dp"})
	require.True(t, p.response(id).Accepted)
	assert.Equal(t, fbs.EventDATACONSUMER_DATAPRODUCER_CLOSE, p.notification().Event)
}

func TestTransports(t *testing.T) {
	p := start(t, Settings{})
	p.router("r")
	sctp := &fbs.TransportOptionsT{
		EnableSctp: true, MaxSendMessageSize: 1000, MaxReceiveMessageSize: 2000, SctpSendBufferSize: 3000,
		SctpPerStreamSendQueueLimit: 4000, SctpMaxReceiverWindowBufferSize: 5000,
	}
	require.Nil(t, p.ask(fbs.MethodWORKER_CREATE_WEBRTCSERVER, "", fbs.RequestBodyWorkerCreateWebRtcServerRequest,
		&fbs.WorkerCreateWebRtcServerRequestT{WebRtcServerId: "s", ListenInfos: []*fbs.ListenInfoT{listen("127.0.0.1")}}))
	options := &fbs.WebRtcTransportOptionsT{
		Base: sctp, EnableUdp: true, IceConsentTimeout: 5,
		Listen: &fbs.ListenT{Type: fbs.ListenListenServer, Value: &fbs.ListenServerT{WebRtcServerId: "s"}},
	}
	w := p.ask(fbs.MethodROUTER_CREATE_WEBRTCTRANSPORT_WITH_SERVER, "r", fbs.RequestBodyRouterCreateWebRtcTransportRequest,
		&fbs.RouterCreateWebRtcTransportRequestT{TransportId: "w", Options: options}).(*fbs.WebRtcTransportDumpResponseT)
	require.Len(t, w.IceCandidates, 1)
	assert.Equal(t, fbs.SctpStateNEW, *w.Base.SctpState)
	assert.Equal(t, uint32(2000), w.Base.SctpParameters.MaxReceiveMessageSize)
	assert.Equal(t, &fbs.SctpNegotiatedCapabilitiesT{}, w.Base.SctpNegotiatedCapabilities)
	assert.Equal(t, fbs.DtlsStateNEW, w.DtlsState)
	assert.Len(t, w.DtlsParameters.Fingerprints, 5)
	sd := p.ask(fbs.MethodWEBRTCSERVER_DUMP, "s", fbs.RequestBodyNONE, nil).(*fbs.WebRtcServerDumpResponseT)
	assert.Equal(t, []string{"w"}, sd.WebRtcTransportIds)
	restarted := p.ask(fbs.MethodTRANSPORT_RESTART_ICE, "w", fbs.RequestBodyNONE, nil).(*fbs.TransportRestartIceResponseT)
	assert.NotEqual(t, w.IceParameters.UsernameFragment, restarted.UsernameFragment)
	connect := &fbs.WebRtcTransportConnectRequestT{DtlsParameters: &fbs.DtlsParametersT{
		Role:         fbs.DtlsRoleCLIENT,
		Fingerprints: []*fbs.FingerprintT{{Algorithm: fbs.FingerprintAlgorithmSHA256, Value: w.DtlsParameters.Fingerprints[0].Value}},
	}}
	assert.Equal(t, fbs.DtlsRoleSERVER, p.ask(fbs.MethodWEBRTCTRANSPORT_CONNECT, "w",
		fbs.RequestBodyWebRtcTransportConnectRequest, connect).(*fbs.WebRtcTransportConnectResponseT).DtlsLocalRole)
	p.refused("Error", fbs.MethodWEBRTCTRANSPORT_CONNECT, "w", fbs.RequestBodyWebRtcTransportConnectRequest, connect)
	connect.DtlsParameters.Fingerprints[0].Algorithm = 77
	p.refused("TypeError", fbs.MethodWEBRTCTRANSPORT_CONNECT, "w", fbs.RequestBodyWebRtcTransportConnectRequest, connect)

	plain := p.ask(fbs.MethodROUTER_CREATE_PLAINTRANSPORT, "r", fbs.RequestBodyRouterCreatePlainTransportRequest,
		&fbs.RouterCreatePlainTransportRequestT{TransportId: "p", Options: &fbs.PlainTransportOptionsT{
			Base: &fbs.TransportOptionsT{}, ListenInfo: listen("127.0.0.1"), EnableSrtp: true,
			SrtpCryptoSuite: new(fbs.SrtpCryptoSuiteAES_CM_128_HMAC_SHA1_32),
		}}).(*fbs.PlainTransportDumpResponseT)
	assert.Equal(t, fbs.SrtpCryptoSuiteAES_CM_128_HMAC_SHA1_32, plain.SrtpParameters.CryptoSuite)
	require.NotNil(t, plain.RtcpTuple)
	assert.Empty(t, plain.Tuple.RemoteIp)
	toPlain := &fbs.PlainTransportConnectRequestT{Ip: "127.0.0.1", Port: new(uint16(9))}
	p.refused("TypeError", fbs.MethodPLAINTRANSPORT_CONNECT, "p", fbs.RequestBodyPlainTransportConnectRequest, toPlain)
	toPlain.RtcpPort, toPlain.SrtpParameters = new(uint16(10)), plain.SrtpParameters
	connected := p.ask(fbs.MethodPLAINTRANSPORT_CONNECT, "p", fbs.RequestBodyPlainTransportConnectRequest, toPlain).(*fbs.PlainTransportConnectResponseT)
	assert.Equal(t, uint16(10), connected.RtcpTuple.RemotePort)

	pipe := p.ask(fbs.MethodROUTER_CREATE_PIPETRANSPORT, "r", fbs.RequestBodyRouterCreatePipeTransportRequest,
		&fbs.RouterCreatePipeTransportRequestT{TransportId: "q", Options: &fbs.PipeTransportOptionsT{
			Base: &fbs.TransportOptionsT{}, ListenInfo: listen("127.0.0.1"), EnableRtx: true,
		}}).(*fbs.PipeTransportDumpResponseT)
	assert.True(t, pipe.Rtx)
	p.ask(fbs.MethodPIPETRANSPORT_CONNECT, "q", fbs.RequestBodyPipeTransportConnectRequest,
		&fbs.PipeTransportConnectRequestT{Ip: "127.0.0.1", Port: new(uint16(9))})
	for id, want := range map[string]any{
		"w": &fbs.WebRtcTransportGetStatsResponseT{}, "p": &fbs.PlainTransportGetStatsResponseT{}, "q": &fbs.PipeTransportGetStatsResponseT{},
	} {
		assert.IsType(t, want, p.ask(fbs.MethodTRANSPORT_GET_STATS, id, fbs.RequestBodyNONE, nil))
	}
	require.Nil(t, p.ask(fbs.MethodTRANSPORT_SET_MAX_INCOMING_BITRATE, "w", fbs.RequestBodyTransportSetMaxIncomingBitrateRequest,
		&fbs.TransportSetMaxIncomingBitrateRequestT{MaxIncomingBitrate: 100000}))
	require.Nil(t, p.ask(fbs.MethodTRANSPORT_SET_MIN_OUTGOING_BITRATE, "w", fbs.RequestBodyTransportSetMinOutgoingBitrateRequest,
		&fbs.TransportSetMinOutgoingBitrateRequestT{MinOutgoingBitrate: 100000}))
	p.refused("TypeError", fbs.MethodTRANSPORT_SET_MAX_OUTGOING_BITRATE, "w", fbs.RequestBodyTransportSetMaxOutgoingBitrateRequest,
		&fbs.TransportSetMaxOutgoingBitrateRequestT{MaxOutgoingBitrate: 50000})
	require.Nil(t, p.ask(fbs.MethodTRANSPORT_SET_MAX_OUTGOING_BITRATE, "w", fbs.RequestBodyTransportSetMaxOutgoingBitrateRequest,
		&fbs.TransportSetMaxOutgoingBitrateRequestT{MaxOutgoingBitrate: 1 << 40}))
	for _, bps := range []uint64{1<<63 - 1, 1<<64 - 1} {
		p.refused("TypeError", fbs.MethodTRANSPORT_SET_MAX_INCOMING_BITRATE, "w", fbs.RequestBodyTransportSetMaxIncomingBitrateRequest,
			&fbs.TransportSetMaxIncomingBitrateRequestT{MaxIncomingBitrate: bps})
		p.refused("TypeError", fbs.MethodTRANSPORT_SET_MAX_OUTGOING_BITRATE, "w", fbs.RequestBodyTransportSetMaxOutgoingBitrateRequest,
			&fbs.TransportSetMaxOutgoingBitrateRequestT{MaxOutgoingBitrate: bps})
		p.refused("TypeError", fbs.MethodTRANSPORT_SET_MIN_OUTGOING_BITRATE, "w", fbs.RequestBodyTransportSetMinOutgoingBitrateRequest,
			&fbs.TransportSetMinOutgoingBitrateRequestT{MinOutgoingBitrate: bps})
		p.refused("TypeError", fbs.MethodROUTER_CREATE_WEBRTCTRANSPORT, "r", fbs.RequestBodyRouterCreateWebRtcTransportRequest,
			&fbs.RouterCreateWebRtcTransportRequestT{TransportId: "x", Options: &fbs.WebRtcTransportOptionsT{
				Base: &fbs.TransportOptionsT{InitialAvailableOutgoingBitrate: new(bps)}, EnableUdp: true,
				Listen: &fbs.ListenT{Type: fbs.ListenListenServer, Value: &fbs.ListenServerT{WebRtcServerId: "s"}},
			}})
	}
	require.Nil(t, p.ask(fbs.MethodTRANSPORT_ENABLE_TRACE_EVENT, "w", fbs.RequestBodyTransportEnableTraceEventRequest,
		&fbs.TransportEnableTraceEventRequestT{Events: []fbs.TransportTraceEventType{fbs.TransportTraceEventTypeBWE, 9}}))
	wd := p.ask(fbs.MethodTRANSPORT_DUMP, "w", fbs.RequestBodyNONE, nil).(*fbs.WebRtcTransportDumpResponseT)
	assert.Equal(t, []fbs.TransportTraceEventType{fbs.TransportTraceEventTypeBWE}, wd.Base.TraceEventTypes)
	ws := p.ask(fbs.MethodTRANSPORT_GET_STATS, "w", fbs.RequestBodyNONE, nil).(*fbs.WebRtcTransportGetStatsResponseT)
	assert.Equal(t, uint64(100000), *ws.Base.MinOutgoingBitrate)
	require.Nil(t, p.ask(fbs.MethodROUTER_CLOSE_TRANSPORT, "r", fbs.RequestBodyRouterCloseTransportRequest,
		&fbs.RouterCloseTransportRequestT{TransportId: "w"}))
	require.Nil(t, p.ask(fbs.MethodWORKER_WEBRTCSERVER_CLOSE, "", fbs.RequestBodyWorkerCloseWebRtcServerRequest,
		&fbs.WorkerCloseWebRtcServerRequestT{WebRtcServerId: "s"}))
	require.Nil(t, p.ask(fbs.MethodWORKER_CLOSE_ROUTER, "", fbs.RequestBodyWorkerCloseRouterRequest,
		&fbs.WorkerCloseRouterRequestT{RouterId: "r"}))
	d := p.ask(fbs.MethodWORKER_DUMP, "", fbs.RequestBodyNONE, nil).(*fbs.WorkerDumpResponseT)
	assert.Empty(t, d.ChannelMessageHandlers.ChannelRequestHandlers)
	assert.Empty(t, d.ChannelMessageHandlers.ChannelNotificationHandlers)
}

func TestObservers(t *testing.T) {
	p := start(t, Settings{})
	p.router("r")
	require.Nil(t, p.ask(fbs.MethodROUTER_CREATE_AUDIOLEVELOBSERVER, "r", fbs.RequestBodyRouterCreateAudioLevelObserverRequest,
		&fbs.RouterCreateAudioLevelObserverRequestT{RtpObserverId: "o", Options: &fbs.AudioLevelObserverOptionsT{
			MaxEntries: 1, Threshold: -80, Interval: 1000,
		}}))
	require.Nil(t, p.ask(fbs.MethodROUTER_CREATE_ACTIVESPEAKEROBSERVER, "r", fbs.RequestBodyRouterCreateActiveSpeakerObserverRequest,
		&fbs.RouterCreateActiveSpeakerObserverRequestT{RtpObserverId: "a", Options: &fbs.ActiveSpeakerObserverOptionsT{Interval: 300}}))
	require.Nil(t, p.ask(fbs.MethodRTPOBSERVER_PAUSE, "o", fbs.RequestBodyNONE, nil))
	require.Nil(t, p.ask(fbs.MethodRTPOBSERVER_RESUME, "o", fbs.RequestBodyNONE, nil))
	p.refused("NotFoundError", fbs.MethodRTPOBSERVER_ADD_PRODUCER, "o", fbs.RequestBodyRtpObserverAddProducerRequest,
		&fbs.RtpObserverAddProducerRequestT{ProducerId: "nobody"})
	p.refused("NotFoundError", fbs.MethodRTPOBSERVER_REMOVE_PRODUCER, "o", fbs.RequestBodyRtpObserverRemoveProducerRequest,
		&fbs.RtpObserverRemoveProducerRequestT{ProducerId: "nobody"})
	d := p.ask(fbs.MethodROUTER_DUMP, "r", fbs.RequestBodyNONE, nil).(*fbs.RouterDumpResponseT)
	assert.Equal(t, []string{"o", "a"}, d.RtpObserverIds)
	p.refused("NotFoundError", fbs.MethodROUTER_CLOSE_RTPOBSERVER, "r", fbs.RequestBodyRouterCloseRtpObserverRequest,
		&fbs.RouterCloseRtpObserverRequestT{RtpObserverId: "nobody"})
	require.Nil(t, p.ask(fbs.MethodROUTER_CLOSE_RTPOBSERVER, "r", fbs.RequestBodyRouterCloseRtpObserverRequest,
		&fbs.RouterCloseRtpObserverRequestT{RtpObserverId: "o"}))
}
