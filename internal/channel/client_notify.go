package channel

import (
	"time"

	"github.com/mafalda-sfu/mafalda/internal/channel/fbs"
	"github.com/mafalda-sfu/mafalda/internal/engine"
)

// bodyOf returns the engine's body of a notification, nil for what is not known.
func bodyOf(n *fbs.NotificationT) any {
	switch n.Event {
	case fbs.EventCONSUMER_PRODUCER_PAUSE:
		return engine.ConsumerProducerPause{}
	case fbs.EventCONSUMER_PRODUCER_RESUME:
		return engine.ConsumerProducerResume{}
	case fbs.EventCONSUMER_PRODUCER_CLOSE:
		return engine.ConsumerProducerClose{}
	case fbs.EventDATACONSUMER_DATAPRODUCER_PAUSE:
		return engine.DataConsumerProducerPause{}
	case fbs.EventDATACONSUMER_DATAPRODUCER_RESUME:
		return engine.DataConsumerProducerResume{}
	case fbs.EventDATACONSUMER_DATAPRODUCER_CLOSE:
		return engine.DataConsumerProducerClose{}
	case fbs.EventDATACONSUMER_SCTP_SENDBUFFER_FULL:
		return engine.DataConsumerSendBufferFull{}
	case fbs.EventAUDIOLEVELOBSERVER_SILENCE:
		return engine.AudioSilence{}
	}
	if n.Body == nil {
		return nil
	}
	switch b := n.Body.Value.(type) {
	case *fbs.WebRtcTransportIceStateChangeNotificationT:
		return engine.ICEStateChange{State: named(iceStates, b.IceState)}
	case *fbs.WebRtcTransportIceSelectedTupleChangeNotificationT:
		return engine.ICESelectedTupleChange{Tuple: *tupleFrom(b.Tuple)}
	case *fbs.WebRtcTransportDtlsStateChangeNotificationT:
		return engine.DTLSStateChange{State: named(dtlsStates, b.DtlsState), RemoteCertificate: b.RemoteCert}
	case *fbs.PlainTransportTupleNotificationT:
		return engine.PlainTuple{Tuple: *tupleFrom(b.Tuple)}
	case *fbs.PlainTransportRtcpTupleNotificationT:
		return engine.PlainRTCPTuple{Tuple: *tupleFrom(b.Tuple)}
	case *fbs.DirectTransportRtcpNotificationT:
		return engine.DirectRTCP{Packet: b.Data}
	case *fbs.ProducerScoreNotificationT:
		scores := make([]engine.StreamScore, len(b.Scores))
		for i, s := range b.Scores {
			scores[i] = engine.StreamScore{EncodingIndex: int(s.EncodingIdx), SSRC: s.Ssrc, RID: s.Rid, Score: s.Score}
		}
		return engine.ProducerScoreChange{Scores: scores}
	case *fbs.ProducerVideoOrientationChangeNotificationT:
		return engine.VideoOrientationChange{Camera: b.Camera, Flip: b.Flip, Rotation: int(b.Rotation)}
	case *fbs.ProducerTraceNotificationT:
		e := engine.TraceEvent{
			Type: named(producerTraces, b.Type), Direction: direction(b.Direction), Timestamp: duration(b.Timestamp),
		}
		if b.Info != nil {
			traceInfo(&e, b.Info.Value)
		}
		return engine.Trace{Event: e}
	case *fbs.ConsumerRtpNotificationT:
		return engine.ConsumerRTP{Packet: b.Data}
	case *fbs.ConsumerScoreNotificationT:
		return engine.ConsumerScoreChange{Score: scoreFrom(b.Score)}
	case *fbs.ConsumerLayersChangeNotificationT:
		return engine.ConsumerLayersChange{Layers: layers(b.Layers)}
	case *fbs.ConsumerTraceNotificationT:
		e := engine.TraceEvent{
			Type: named(consumerTraces, b.Type), Direction: direction(b.Direction), Timestamp: duration(b.Timestamp),
		}
		if b.Info != nil {
			traceInfo(&e, b.Info.Value)
		}
		return engine.Trace{Event: e}
	case *fbs.TransportTraceNotificationT:
		e := engine.TraceEvent{
			Type: named(transportTraces, b.Type), Direction: direction(b.Direction), Timestamp: duration(b.Timestamp),
		}
		if b.Info != nil {
			traceInfo(&e, b.Info.Value)
		}
		return engine.Trace{Event: e}
	case *fbs.TransportSctpStateChangeNotificationT:
		return engine.SCTPStateChange{State: named(sctpStates, b.SctpState)}
	case *fbs.TransportSctpNegotiatedCapabilitiesNotificationT:
		if n := b.NegotiatedCapabilities; n != nil {
			return engine.SCTPNegotiated{MaxOutbound: n.NegotiatedMaxOutboundStreams, MaxInbound: n.NegotiatedMaxInboundStreams}
		}
	case *fbs.DataConsumerBufferedAmountLowNotificationT:
		return engine.DataConsumerBufferedAmountLow{Amount: b.BufferedAmount}
	case *fbs.ActiveSpeakerObserverDominantSpeakerNotificationT:
		return engine.DominantSpeaker{ProducerID: b.ProducerId}
	case *fbs.AudioLevelObserverVolumesNotificationT:
		volumes := make([]engine.Volume, len(b.Volumes))
		for i, v := range b.Volumes {
			volumes[i] = engine.Volume{ProducerID: v.ProducerId, Volume: v.Volume}
		}
		return engine.AudioVolumes{Volumes: volumes}
	case *fbs.DataConsumerMessageNotificationT:
		return engine.DataConsumerMessage{PPID: b.Ppid, Data: b.Data}
	}
	return nil
}

// named returns what v is called, "" when it is not known.
func named[E ~uint8](names []string, v E) string {
	if int(v) >= len(names) {
		return ""
	}
	return names[v]
}

func direction(d fbs.TraceDirection) string {
	if d == fbs.TraceDirectionDIRECTION_IN {
		return "in"
	}
	return "out"
}

func duration(ms uint64) time.Duration { return time.Duration(ms) * time.Millisecond }

// traceInfo adds what a trace event of some type has.
func traceInfo(e *engine.TraceEvent, info any) {
	switch i := info.(type) {
	case *fbs.BweTraceInfoT:
		e.BWE = &engine.BWETrace{
			REMB:    i.BweType == fbs.BweTypeREMB,
			Desired: i.DesiredBitrate, EffectiveDesired: i.EffectiveDesiredBitrate,
			Min: i.MinBitrate, Max: i.MaxBitrate, Start: i.StartBitrate,
			MaxPadding: i.MaxPaddingBitrate, Available: i.AvailableBitrate,
		}
	case *fbs.ProducerKeyFrameTraceInfoT:
		e.Packet, e.IsRTX = packetFrom(i.RtpPacket), i.IsRtx
	case *fbs.ProducerRtpTraceInfoT:
		e.Packet, e.IsRTX = packetFrom(i.RtpPacket), i.IsRtx
	case *fbs.ProducerFirTraceInfoT:
		e.SSRC = i.Ssrc
	case *fbs.ProducerPliTraceInfoT:
		e.SSRC = i.Ssrc
	case *fbs.ProducerSrTraceInfoT:
		e.SSRC = i.Ssrc
		e.SR = &engine.SenderReport{
			SSRC: i.Ssrc, NTPSeconds: i.NtpSec, NTPFraction: i.NtpFrac, RTPTimestamp: i.RtpTs,
			PacketCount: i.PacketCount, OctetCount: i.OctetCount,
		}
	case *fbs.ConsumerKeyFrameTraceInfoT:
		e.Packet, e.IsRTX = packetFrom(i.RtpPacket), i.IsRtx
	case *fbs.ConsumerRtpTraceInfoT:
		e.Packet, e.IsRTX = packetFrom(i.RtpPacket), i.IsRtx
	case *fbs.ConsumerFirTraceInfoT:
		e.SSRC = i.Ssrc
	case *fbs.ConsumerPliTraceInfoT:
		e.SSRC = i.Ssrc
	}
}

func packetFrom(p *fbs.RtpPacketDumpT) *engine.PacketDump {
	d := &engine.PacketDump{
		PayloadType: p.PayloadType, SequenceNumber: p.SequenceNumber, Timestamp: p.Timestamp, SSRC: p.Ssrc,
		Marker: p.Marker, KeyFrame: p.IsKeyFrame, Size: int(p.Size), PayloadSize: int(p.PayloadSize),
		SpatialLayer: p.SpatialLayer, TemporalLayer: p.TemporalLayer, MID: p.Mid, RID: p.Rid, RRID: p.Rrid,
	}
	if p.WideSequenceNumber != nil {
		d.WideSequenceNumber, d.HasWideSequenceNumber = *p.WideSequenceNumber, true
	}
	return d
}

func scoreFrom(s *fbs.ConsumerScoreT) engine.ConsumerScore {
	return engine.ConsumerScore{Score: s.Score, ProducerScore: s.ProducerScore, ProducerScores: s.ProducerScores}
}

func tupleFrom(t *fbs.TupleT) *engine.Tuple {
	if t == nil {
		return nil
	}
	out := &engine.Tuple{
		LocalAddress: t.LocalAddress, LocalPort: t.LocalPort, RemoteIP: t.RemoteIp, RemotePort: t.RemotePort, Protocol: "udp",
	}
	if t.Protocol == fbs.ProtocolTCP {
		out.Protocol = "tcp"
	}
	return out
}
