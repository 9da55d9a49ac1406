package verify

import (
	flatbuffers "github.com/google/flatbuffers/go"

	"github.com/mafalda-sfu/mafalda/internal/channel/fbs"
)

// requestBodies holds the body of each method; those that are left out have
// none (mediasoup-worker 3.27.1, HandleRequest of its classes).
var requestBodies = [...]fbs.RequestBody{
	fbs.MethodWORKER_UPDATE_SETTINGS:                         fbs.RequestBodyWorkerUpdateSettingsRequest,
	fbs.MethodWORKER_CREATE_WEBRTCSERVER:                     fbs.RequestBodyWorkerCreateWebRtcServerRequest,
	fbs.MethodWORKER_CREATE_ROUTER:                           fbs.RequestBodyWorkerCreateRouterRequest,
	fbs.MethodWORKER_WEBRTCSERVER_CLOSE:                      fbs.RequestBodyWorkerCloseWebRtcServerRequest,
	fbs.MethodWORKER_CLOSE_ROUTER:                            fbs.RequestBodyWorkerCloseRouterRequest,
	fbs.MethodROUTER_CREATE_WEBRTCTRANSPORT:                  fbs.RequestBodyRouterCreateWebRtcTransportRequest,
	fbs.MethodROUTER_CREATE_WEBRTCTRANSPORT_WITH_SERVER:      fbs.RequestBodyRouterCreateWebRtcTransportRequest,
	fbs.MethodROUTER_CREATE_PLAINTRANSPORT:                   fbs.RequestBodyRouterCreatePlainTransportRequest,
	fbs.MethodROUTER_CREATE_PIPETRANSPORT:                    fbs.RequestBodyRouterCreatePipeTransportRequest,
	fbs.MethodROUTER_CREATE_DIRECTTRANSPORT:                  fbs.RequestBodyRouterCreateDirectTransportRequest,
	fbs.MethodROUTER_CLOSE_TRANSPORT:                         fbs.RequestBodyRouterCloseTransportRequest,
	fbs.MethodROUTER_CREATE_ACTIVESPEAKEROBSERVER:            fbs.RequestBodyRouterCreateActiveSpeakerObserverRequest,
	fbs.MethodROUTER_CREATE_AUDIOLEVELOBSERVER:               fbs.RequestBodyRouterCreateAudioLevelObserverRequest,
	fbs.MethodROUTER_CLOSE_RTPOBSERVER:                       fbs.RequestBodyRouterCloseRtpObserverRequest,
	fbs.MethodTRANSPORT_SET_MAX_INCOMING_BITRATE:             fbs.RequestBodyTransportSetMaxIncomingBitrateRequest,
	fbs.MethodTRANSPORT_SET_MAX_OUTGOING_BITRATE:             fbs.RequestBodyTransportSetMaxOutgoingBitrateRequest,
	fbs.MethodTRANSPORT_SET_MIN_OUTGOING_BITRATE:             fbs.RequestBodyTransportSetMinOutgoingBitrateRequest,
	fbs.MethodTRANSPORT_PRODUCE:                              fbs.RequestBodyTransportProduceRequest,
	fbs.MethodTRANSPORT_PRODUCE_DATA:                         fbs.RequestBodyTransportProduceDataRequest,
	fbs.MethodTRANSPORT_CONSUME:                              fbs.RequestBodyTransportConsumeRequest,
	fbs.MethodTRANSPORT_CONSUME_DATA:                         fbs.RequestBodyTransportConsumeDataRequest,
	fbs.MethodTRANSPORT_ENABLE_TRACE_EVENT:                   fbs.RequestBodyTransportEnableTraceEventRequest,
	fbs.MethodTRANSPORT_CLOSE_PRODUCER:                       fbs.RequestBodyTransportCloseProducerRequest,
	fbs.MethodTRANSPORT_CLOSE_CONSUMER:                       fbs.RequestBodyTransportCloseConsumerRequest,
	fbs.MethodTRANSPORT_CLOSE_DATAPRODUCER:                   fbs.RequestBodyTransportCloseDataProducerRequest,
	fbs.MethodTRANSPORT_CLOSE_DATACONSUMER:                   fbs.RequestBodyTransportCloseDataConsumerRequest,
	fbs.MethodPLAINTRANSPORT_CONNECT:                         fbs.RequestBodyPlainTransportConnectRequest,
	fbs.MethodPIPETRANSPORT_CONNECT:                          fbs.RequestBodyPipeTransportConnectRequest,
	fbs.MethodWEBRTCTRANSPORT_CONNECT:                        fbs.RequestBodyWebRtcTransportConnectRequest,
	fbs.MethodPRODUCER_ENABLE_TRACE_EVENT:                    fbs.RequestBodyProducerEnableTraceEventRequest,
	fbs.MethodCONSUMER_SET_PREFERRED_LAYERS:                  fbs.RequestBodyConsumerSetPreferredLayersRequest,
	fbs.MethodCONSUMER_SET_PRIORITY:                          fbs.RequestBodyConsumerSetPriorityRequest,
	fbs.MethodCONSUMER_ENABLE_TRACE_EVENT:                    fbs.RequestBodyConsumerEnableTraceEventRequest,
	fbs.MethodDATACONSUMER_SET_BUFFERED_AMOUNT_LOW_THRESHOLD: fbs.RequestBodyDataConsumerSetBufferedAmountLowThresholdRequest,
	fbs.MethodDATACONSUMER_SEND:                              fbs.RequestBodyDataConsumerSendRequest,
	fbs.MethodDATACONSUMER_SET_SUBCHANNELS:                   fbs.RequestBodyDataConsumerSetSubchannelsRequest,
	fbs.MethodDATACONSUMER_ADD_SUBCHANNEL:                    fbs.RequestBodyDataConsumerAddSubchannelRequest,
	fbs.MethodDATACONSUMER_REMOVE_SUBCHANNEL:                 fbs.RequestBodyDataConsumerRemoveSubchannelRequest,
	fbs.MethodRTPOBSERVER_ADD_PRODUCER:                       fbs.RequestBodyRtpObserverAddProducerRequest,
	fbs.MethodRTPOBSERVER_REMOVE_PRODUCER:                    fbs.RequestBodyRtpObserverRemoveProducerRequest,
}

// notificationBodies is the same for events.
var notificationBodies = [...]fbs.NotificationBody{
	fbs.EventTRANSPORT_SEND_RTCP:                       fbs.NotificationBodyTransportSendRtcpNotification,
	fbs.EventPRODUCER_SEND:                             fbs.NotificationBodyProducerSendNotification,
	fbs.EventDATAPRODUCER_SEND:                         fbs.NotificationBodyDataProducerSendNotification,
	fbs.EventTRANSPORT_SCTP_STATE_CHANGE:               fbs.NotificationBodyTransportSctpStateChangeNotification,
	fbs.EventTRANSPORT_SCTP_NEGOTIATED_CAPABILITIES:    fbs.NotificationBodyTransportSctpNegotiatedCapabilitiesNotification,
	fbs.EventTRANSPORT_TRACE:                           fbs.NotificationBodyTransportTraceNotification,
	fbs.EventWEBRTCTRANSPORT_ICE_SELECTED_TUPLE_CHANGE: fbs.NotificationBodyWebRtcTransportIceSelectedTupleChangeNotification,
	fbs.EventWEBRTCTRANSPORT_ICE_STATE_CHANGE:          fbs.NotificationBodyWebRtcTransportIceStateChangeNotification,
	fbs.EventWEBRTCTRANSPORT_DTLS_STATE_CHANGE:         fbs.NotificationBodyWebRtcTransportDtlsStateChangeNotification,
	fbs.EventPLAINTRANSPORT_TUPLE:                      fbs.NotificationBodyPlainTransportTupleNotification,
	fbs.EventPLAINTRANSPORT_RTCP_TUPLE:                 fbs.NotificationBodyPlainTransportRtcpTupleNotification,
	fbs.EventDIRECTTRANSPORT_RTCP:                      fbs.NotificationBodyDirectTransportRtcpNotification,
	fbs.EventPRODUCER_SCORE:                            fbs.NotificationBodyProducerScoreNotification,
	fbs.EventPRODUCER_TRACE:                            fbs.NotificationBodyProducerTraceNotification,
	fbs.EventPRODUCER_VIDEO_ORIENTATION_CHANGE:         fbs.NotificationBodyProducerVideoOrientationChangeNotification,
	fbs.EventCONSUMER_LAYERS_CHANGE:                    fbs.NotificationBodyConsumerLayersChangeNotification,
	fbs.EventCONSUMER_RTP:                              fbs.NotificationBodyConsumerRtpNotification,
	fbs.EventCONSUMER_SCORE:                            fbs.NotificationBodyConsumerScoreNotification,
	fbs.EventCONSUMER_TRACE:                            fbs.NotificationBodyConsumerTraceNotification,
	fbs.EventDATACONSUMER_BUFFERED_AMOUNT_LOW:          fbs.NotificationBodyDataConsumerBufferedAmountLowNotification,
	fbs.EventDATACONSUMER_MESSAGE:                      fbs.NotificationBodyDataConsumerMessageNotification,
	fbs.EventACTIVESPEAKEROBSERVER_DOMINANT_SPEAKER:    fbs.NotificationBodyActiveSpeakerObserverDominantSpeakerNotification,
	fbs.EventAUDIOLEVELOBSERVER_VOLUMES:                fbs.NotificationBodyAudioLevelObserverVolumesNotification,
}

// message returns the kind of a verified frame, and its table.
func message(frame []byte) (fbs.MessageBody, flatbuffers.Table) {
	var m fbs.Message
	m.Init(frame, flatbuffers.GetUOffsetT(frame))
	var t flatbuffers.Table
	m.Data(&t)
	return m.DataType(), t
}

// checkToWorker checks what a verified frame asks of a worker.
func checkToWorker(frame []byte) error {
	kind, t := message(frame)
	switch kind {
	case fbs.MessageBodyRequest:
		var r fbs.Request
		r.Init(t.Bytes, t.Pos)
		if m := int(r.Method()); m < len(requestBodies) && r.BodyType() != requestBodies[m] {
			return &Error{Table: r.Method().String(), Reason: "takes " + requestBodies[m].String() + ", got " + r.BodyType().String(), Err: ErrBody}
		}
		return nil
	case fbs.MessageBodyNotification:
		return checkNotification(t)
	}
	return &Error{Reason: "a worker takes no " + kind.String(), Err: ErrBody}
}

// checkFromWorker checks what a verified frame from a worker says.
func checkFromWorker(frame []byte) error {
	kind, t := message(frame)
	switch kind {
	case fbs.MessageBodyResponse, fbs.MessageBodyLog:
		return nil
	case fbs.MessageBodyNotification:
		return checkNotification(t)
	}
	return &Error{Reason: "a worker sends no " + kind.String(), Err: ErrBody}
}

func checkNotification(t flatbuffers.Table) error {
	var n fbs.Notification
	n.Init(t.Bytes, t.Pos)
	if e := int(n.Event()); e < len(notificationBodies) && n.BodyType() != notificationBodies[e] {
		return &Error{Table: n.Event().String(), Reason: "takes " + notificationBodies[e].String() + ", got " + n.BodyType().String(), Err: ErrBody}
	}
	return nil
}
