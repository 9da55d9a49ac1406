package mafalda

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

// TestJSONKeys compares the keys of our records with those that mediasoup
// 3.27.1 gave for the same state (control-plane recordings).
func TestJSONKeys(t *testing.T) {
	tuple := TransportTuple{Protocol: ProtocolUDP}
	tests := []struct {
		name string
		v    any
		want string
	}{
		{"worker dump", WorkerDump{}, "pid webRtcServerIds routerIds channelMessageHandlers"},
		{"message handlers", WorkerMessageHandlers{}, "channelRequestHandlers channelNotificationHandlers"},
		{"resource usage", WorkerResourceUsage{}, "ru_utime ru_stime ru_maxrss ru_ixrss ru_idrss ru_isrss ru_minflt ru_majflt ru_nswap ru_inblock ru_oublock ru_msgsnd ru_msgrcv ru_nsignals ru_nvcsw ru_nivcsw"},
		{"server dump", WebRTCServerDump{}, "id udpSockets tcpServers webRtcTransportIds localIceUsernameFragments"},
		{"router dump", RouterDump{}, "id transportIds rtpObserverIds mapProducerIdConsumerIds mapConsumerIdProducerId mapProducerIdObserverIds mapDataProducerIdDataConsumerIds mapDataConsumerIdDataProducerId"},
		{"direct dump", TransportDump{}, "id producerIds consumerIds mapSsrcConsumerId mapRtxSsrcConsumerId dataProducerIds dataConsumerIds recvRtpHeaderExtensions rtpListener maxSendMessageSize maxReceiveMessageSize traceEventTypes"},
		{"plain dump", TransportDump{RTCPMux: new(true), Comedia: new(false), Tuple: &tuple}, "id producerIds consumerIds mapSsrcConsumerId mapRtxSsrcConsumerId dataProducerIds dataConsumerIds recvRtpHeaderExtensions rtpListener maxSendMessageSize maxReceiveMessageSize traceEventTypes rtcpMux comedia tuple"},
		{"webrtc dump", TransportDump{ICERole: ICERoleControlled, ICEParameters: new(ICEParameters{}), ICECandidates: make([]ICECandidate, 1), ICEState: ICEStateNew, DTLSParameters: new(DTLSParameters{}), DTLSState: DTLSStateNew}, "id producerIds consumerIds mapSsrcConsumerId mapRtxSsrcConsumerId dataProducerIds dataConsumerIds recvRtpHeaderExtensions rtpListener maxSendMessageSize maxReceiveMessageSize traceEventTypes iceRole iceParameters iceCandidates iceState dtlsParameters dtlsState"},
		{"dump with SCTP", TransportDump{SCTPParameters: new(SCTPParameters{}), SCTPState: SCTPStateNew, SCTPNegotiatedCapabilities: new(SCTPNegotiatedCapabilities{}), SCTPListener: new(SCTPListenerDump{})}, "id producerIds consumerIds mapSsrcConsumerId mapRtxSsrcConsumerId dataProducerIds dataConsumerIds recvRtpHeaderExtensions rtpListener maxSendMessageSize maxReceiveMessageSize sctpParameters sctpState sctpNegotiatedCapabilities sctpListener traceEventTypes"},
		{"SCTP parameters", SCTPParameters{}, "port maxSendMessageSize maxReceiveMessageSize sendBufferSize perStreamSendQueueLimit maxReceiverWindowBufferSize isDataChannel OS MIS maxMessageSize"},
		{"SCTP capabilities", SCTPNegotiatedCapabilities{}, "negotiatedMaxOutboundStreams negotiatedMaxInboundStreams"},
		{"SCTP listener", SCTPListenerDump{}, "streamIdTable"},
		{"rtp listener", RTPListenerDump{}, "ssrcTable midTable ridTable"},
		{"no extensions", RecvRTPHeaderExtensions{}, ""},
		{"extensions", RecvRTPHeaderExtensions{1, 2, 3, 4, 5}, "mid rid rrid absSendTime transportWideCc01"},
		{"direct stats", TransportStats{}, "type transportId timestamp bytesReceived recvBitrate bytesSent sendBitrate rtpBytesReceived rtpRecvBitrate rtpBytesSent rtpSendBitrate rtxBytesReceived rtxRecvBitrate rtxBytesSent rtxSendBitrate probationBytesSent probationSendBitrate"},
		{"stats with bandwidth", TransportStats{AvailableOutgoingBitrate: new(0), RTPPacketLossSent: new(0.0), AvailableIncomingBitrate: new(0), RTPPacketLossReceived: new(0.0), MaxIncomingBitrate: 1, MaxOutgoingBitrate: 1, MinOutgoingBitrate: 1}, "type transportId timestamp bytesReceived recvBitrate bytesSent sendBitrate rtpBytesReceived rtpRecvBitrate rtpBytesSent rtpSendBitrate rtxBytesReceived rtxRecvBitrate rtxBytesSent rtxSendBitrate probationBytesSent probationSendBitrate availableOutgoingBitrate rtpPacketLossSent availableIncomingBitrate rtpPacketLossReceived maxIncomingBitrate maxOutgoingBitrate minOutgoingBitrate"},
		{"candidate", ICECandidate{}, "foundation priority ip address protocol port type"},
		{"tuple", TransportTuple{}, "localIp localAddress localPort remotePort protocol"},
		{"producer dump", ProducerDump{}, "id kind type rtpParameters rtpMapping traceEventTypes paused"},
		{"encoding mapping", EncodingMappingDump{RID: "r"}, "rid ssrc mappedSsrc"},
		{"consumer dump", ConsumerDump{RTPStream: new(RTPStreamDump{}), ConsumableRTPEncodings: make([]RTPEncodingParameters, 1)}, "id producerId kind rtpParameters consumableRtpEncodings traceEventTypes supportedCodecPayloadTypes paused producerPaused priority type rtpStream"},
		{"stream params", RTPStreamParams{RTXSSRC: 1, RTXPayloadType: new(uint8(0))}, "encodingIdx ssrc payloadType mimeType clockRate cname rtxSsrc rtxPayloadType useNack usePli useFir useInBandFec useDtx spatialLayers temporalLayers"},
		{"rtx params", RTXStreamParams{}, "ssrc payloadType mimeType clockRate cname"},
		{"inbound stats", RTPStreamStats{BitrateByLayer: map[string]int{}}, "timestamp ssrc kind mimeType packetsLost fractionLost jitter packetsDiscarded packetsRetransmitted packetsRepaired nackCount nackPacketCount pliCount firCount roundTripTime score type byteCount packetCount bitrate bitrateByLayer"},
		{"outbound stats", RTPStreamStats{RTXSSRC: 1}, "timestamp ssrc rtxSsrc kind mimeType packetsLost fractionLost jitter packetsDiscarded packetsRetransmitted packetsRepaired nackCount nackPacketCount pliCount firCount roundTripTime score type byteCount packetCount bitrate"},
		{"consumer score", ConsumerScore{}, "score producerScore producerScores"},
		{"producer score", ProducerScore{}, "encodingIdx ssrc score"},
		{"orientation", ProducerVideoOrientation{}, "camera flip rotation"},
		{"packet", RTPPacketDump{MID: "0", RID: "r", RRID: "r", WideSequenceNumber: new(uint16(0))}, "payloadType sequenceNumber timestamp marker ssrc isKeyFrame size payloadSize spatialLayer temporalLayer mid rid rrid wideSequenceNumber"},
		{"data producer dump", DataProducerDump{}, "id paused type label protocol"},
		{"data producer dump with a stream", DataProducerDump{SCTPStreamParameters: new(SCTPStreamParameters{})}, "id paused type sctpStreamParameters label protocol"},
		{"data producer stats", DataProducerStats{}, "type timestamp label protocol messagesReceived bytesReceived"},
		{"data consumer dump", DataConsumerDump{}, "id dataProducerId type label protocol bufferedAmount bufferedAmountLowThreshold paused dataProducerPaused subchannels"},
		{"data consumer stats", DataConsumerStats{}, "type timestamp label protocol messagesSent bytesSent bufferedAmount"},
		{"bandwidth estimate", BWETraceInfo{}, "desiredBitrate effectiveDesiredBitrate minBitrate maxBitrate startBitrate maxPaddingBitrate availableBitrate bweType"},
		{"sender report", SenderReportTraceInfo{}, "ssrc ntpSec ntpFrac rtpTs packetCount octetCount"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, err := json.Marshal(tt.v)
			require.NoError(t, err)
			var m map[string]any
			require.NoError(t, json.Unmarshal(b, &m))
			got, want := slices.Sorted(maps.Keys(m)), strings.Fields(tt.want)
			slices.Sort(want)
			if !slices.Equal(want, got) {
				t.Errorf("keys of %s:\n got %v\nwant %v", b, got, want)
			}
		})
	}
}

func TestTraceEventJSON(t *testing.T) {
	tests := []struct {
		name string
		in   TraceEvent
		want string
	}{
		{"rtp", TraceEvent{TraceRTP, 7, TraceIn, RTPTraceInfo{RTPPacketDump{SSRC: 5, WideSequenceNumber: new(uint16(9))}, true}},
			`{"type":"rtp","timestamp":7,"direction":"in","info":{"rtpPacket":{"payloadType":0,"sequenceNumber":0,"timestamp":0,"marker":false,"ssrc":5,"isKeyFrame":false,"size":0,"payloadSize":0,"spatialLayer":0,"temporalLayer":0,"wideSequenceNumber":9},"isRtx":true}}`},
		{"keyframe", TraceEvent{TraceKeyFrame, 7, TraceOut, RTPTraceInfo{}}, ""},
		{"nack", TraceEvent{TraceNACK, 8, TraceOut, nil}, `{"type":"nack","timestamp":8,"direction":"out"}`},
		{"pli", TraceEvent{TracePLI, 8, TraceOut, KeyFrameRequestTraceInfo{3}}, `{"type":"pli","timestamp":8,"direction":"out","info":{"ssrc":3}}`},
		{"fir", TraceEvent{TraceFIR, 8, TraceIn, KeyFrameRequestTraceInfo{3}}, ""},
		{"sr", TraceEvent{TraceSR, 8, TraceIn, SenderReportTraceInfo{1, 2, 3, 4, 5, 6}},
			`{"type":"sr","timestamp":8,"direction":"in","info":{"ssrc":1,"ntpSec":2,"ntpFrac":3,"rtpTs":4,"packetCount":5,"octetCount":6}}`},
		{"probation", TraceEvent{TraceProbation, 8, TraceOut, nil}, `{"type":"probation","timestamp":8,"direction":"out"}`},
		{"bwe", TraceEvent{TraceBWE, 8, TraceOut, BWETraceInfo{1, 2, 3, 4, 5, 6, 7, BWEREMB}},
			`{"type":"bwe","timestamp":8,"direction":"out","info":{"desiredBitrate":1,"effectiveDesiredBitrate":2,"minBitrate":3,"maxBitrate":4,"startBitrate":5,"maxPaddingBitrate":6,"availableBitrate":7,"bweType":"remb"}}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, err := json.Marshal(tt.in)
			require.NoError(t, err)
			if tt.want != "" {
				require.JSONEq(t, tt.want, string(b))
			}
			var got TraceEvent
			require.NoError(t, json.Unmarshal(b, &got))
			if d := cmp.Diff(tt.in, got); d != "" {
				t.Error(d)
			}
		})
	}
	var e TraceEvent
	require.Error(t, json.Unmarshal([]byte(`{"type":"pli","info":{"ssrc":"x"}}`), &e))
	require.NoError(t, json.Unmarshal([]byte(`{"type":"new","info":{"x":1}}`), &e))
	require.Nil(t, e.Info)
}

// own is an object as somebody outside this module would write one.
type own struct {
	Producer
	appData any
}

func (o *own) AppData() any { return o.appData }

var _ Producer = (*own)(nil)

func TestAppDataAs(t *testing.T) {
	v, ok := AppDataAs[int](&own{appData: 7})
	require.True(t, ok)
	require.Equal(t, 7, v)
	_, ok = AppDataAs[string](&own{appData: 7})
	require.False(t, ok)
	_, ok = AppDataAs[any](&own{})
	require.False(t, ok)
}
