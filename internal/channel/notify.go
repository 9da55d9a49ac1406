package channel

import (
	"github.com/mafalda-sfu/mafalda/internal/channel/fbs"
	"github.com/mafalda-sfu/mafalda/internal/engine"
)

func notification(id string, e fbs.Event, t fbs.NotificationBody, body any) *fbs.MessageBodyT {
	n := &fbs.NotificationT{HandlerId: id, Event: e}
	if t != fbs.NotificationBodyNONE {
		n.Body = &fbs.NotificationBodyT{Type: t, Value: body}
	}
	return &fbs.MessageBodyT{Type: fbs.MessageBodyNotification, Value: n}
}

// notificationOf returns n as a message, nil if the protocol has none for it.
func notificationOf(n engine.Notification) *fbs.MessageBodyT {
	id := n.Target
	switch b := n.Body.(type) {
	case engine.ICEStateChange:
		return notification(id, fbs.EventWEBRTCTRANSPORT_ICE_STATE_CHANGE,
			fbs.NotificationBodyWebRtcTransportIceStateChangeNotification,
			&fbs.WebRtcTransportIceStateChangeNotificationT{IceState: iceState(b.State)})
	case engine.ICESelectedTupleChange:
		return notification(id, fbs.EventWEBRTCTRANSPORT_ICE_SELECTED_TUPLE_CHANGE,
			fbs.NotificationBodyWebRtcTransportIceSelectedTupleChangeNotification,
			&fbs.WebRtcTransportIceSelectedTupleChangeNotificationT{Tuple: tuple(&b.Tuple)})
	case engine.DTLSStateChange:
		return notification(id, fbs.EventWEBRTCTRANSPORT_DTLS_STATE_CHANGE,
			fbs.NotificationBodyWebRtcTransportDtlsStateChangeNotification,
			&fbs.WebRtcTransportDtlsStateChangeNotificationT{DtlsState: dtlsState(b.State), RemoteCert: b.RemoteCertificate})
	case engine.PlainTuple:
		return notification(id, fbs.EventPLAINTRANSPORT_TUPLE, fbs.NotificationBodyPlainTransportTupleNotification,
			&fbs.PlainTransportTupleNotificationT{Tuple: tuple(&b.Tuple)})
	case engine.PlainRTCPTuple:
		return notification(id, fbs.EventPLAINTRANSPORT_RTCP_TUPLE, fbs.NotificationBodyPlainTransportRtcpTupleNotification,
			&fbs.PlainTransportRtcpTupleNotificationT{Tuple: tuple(&b.Tuple)})
	case engine.DirectRTCP:
		return notification(id, fbs.EventDIRECTTRANSPORT_RTCP, fbs.NotificationBodyDirectTransportRtcpNotification,
			&fbs.DirectTransportRtcpNotificationT{Data: b.Packet})
	case engine.ProducerScoreChange:
		return notification(id, fbs.EventPRODUCER_SCORE, fbs.NotificationBodyProducerScoreNotification,
			&fbs.ProducerScoreNotificationT{Scores: each(b.Scores, func(s *engine.StreamScore) *fbs.ProducerScoreT {
				return &fbs.ProducerScoreT{EncodingIdx: uint32(s.EncodingIndex), Ssrc: s.SSRC, Rid: s.RID, Score: s.Score}
			})})
	case engine.VideoOrientationChange:
		return notification(id, fbs.EventPRODUCER_VIDEO_ORIENTATION_CHANGE,
			fbs.NotificationBodyProducerVideoOrientationChangeNotification,
			&fbs.ProducerVideoOrientationChangeNotificationT{Camera: b.Camera, Flip: b.Flip, Rotation: uint16(b.Rotation)})
	case engine.ConsumerProducerPause:
		return bare(id, fbs.EventCONSUMER_PRODUCER_PAUSE)
	case engine.ConsumerProducerResume:
		return bare(id, fbs.EventCONSUMER_PRODUCER_RESUME)
	case engine.ConsumerProducerClose:
		return bare(id, fbs.EventCONSUMER_PRODUCER_CLOSE)
	case engine.ConsumerRTP:
		return notification(id, fbs.EventCONSUMER_RTP, fbs.NotificationBodyConsumerRtpNotification,
			&fbs.ConsumerRtpNotificationT{Data: b.Packet})
	case engine.ConsumerScoreChange:
		return notification(id, fbs.EventCONSUMER_SCORE, fbs.NotificationBodyConsumerScoreNotification,
			&fbs.ConsumerScoreNotificationT{Score: consumerScore(&b.Score)})
	case engine.SCTPStateChange:
		return notification(id, fbs.EventTRANSPORT_SCTP_STATE_CHANGE,
			fbs.NotificationBodyTransportSctpStateChangeNotification,
			&fbs.TransportSctpStateChangeNotificationT{SctpState: sctpState(b.State)})
	case engine.SCTPNegotiated:
		return notification(id, fbs.EventTRANSPORT_SCTP_NEGOTIATED_CAPABILITIES,
			fbs.NotificationBodyTransportSctpNegotiatedCapabilitiesNotification,
			&fbs.TransportSctpNegotiatedCapabilitiesNotificationT{
				NegotiatedCapabilities: negotiated(b.MaxOutbound, b.MaxInbound),
			})
	case engine.DataConsumerBufferedAmountLow:
		return notification(id, fbs.EventDATACONSUMER_BUFFERED_AMOUNT_LOW,
			fbs.NotificationBodyDataConsumerBufferedAmountLowNotification,
			&fbs.DataConsumerBufferedAmountLowNotificationT{BufferedAmount: b.Amount})
	case engine.DataConsumerSendBufferFull:
		return bare(id, fbs.EventDATACONSUMER_SCTP_SENDBUFFER_FULL)
	case engine.DataConsumerProducerPause:
		return bare(id, fbs.EventDATACONSUMER_DATAPRODUCER_PAUSE)
	case engine.DataConsumerProducerResume:
		return bare(id, fbs.EventDATACONSUMER_DATAPRODUCER_RESUME)
	case engine.DataConsumerProducerClose:
		return bare(id, fbs.EventDATACONSUMER_DATAPRODUCER_CLOSE)
	case engine.DataConsumerMessage:
		return notification(id, fbs.EventDATACONSUMER_MESSAGE, fbs.NotificationBodyDataConsumerMessageNotification,
			&fbs.DataConsumerMessageNotificationT{Ppid: b.PPID, Data: b.Data})
	case engine.ConsumerLayersChange:
		return notification(id, fbs.EventCONSUMER_LAYERS_CHANGE, fbs.NotificationBodyConsumerLayersChangeNotification,
			&fbs.ConsumerLayersChangeNotificationT{Layers: layersOf(b.Layers)})
	case engine.DominantSpeaker:
		return notification(id, fbs.EventACTIVESPEAKEROBSERVER_DOMINANT_SPEAKER,
			fbs.NotificationBodyActiveSpeakerObserverDominantSpeakerNotification,
			&fbs.ActiveSpeakerObserverDominantSpeakerNotificationT{ProducerId: b.ProducerID})
	case engine.AudioVolumes:
		return notification(id, fbs.EventAUDIOLEVELOBSERVER_VOLUMES,
			fbs.NotificationBodyAudioLevelObserverVolumesNotification,
			&fbs.AudioLevelObserverVolumesNotificationT{Volumes: each(b.Volumes, func(v *engine.Volume) *fbs.AudioLevelObserverVolumeT {
				return &fbs.AudioLevelObserverVolumeT{ProducerId: v.ProducerID, Volume: v.Volume}
			})})
	case engine.AudioSilence:
		return bare(id, fbs.EventAUDIOLEVELOBSERVER_SILENCE)
	case engine.Trace:
		return trace(id, &b.Event)
	}
	return nil
}

func bare(id string, e fbs.Event) *fbs.MessageBodyT {
	return notification(id, e, fbs.NotificationBodyNONE, nil)
}
