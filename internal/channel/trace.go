package channel

import (
	"github.com/mafalda-sfu/mafalda/internal/channel/fbs"
	"github.com/mafalda-sfu/mafalda/internal/engine"
)

// trace returns the notification of a trace event. Whose it is follows from type
// and direction: packets come in at a Producer and go out of a Consumer, what
// asks for packets goes the other way, and only a Producer has sender reports.
func trace(id string, e *engine.TraceEvent) *fbs.MessageBodyT {
	in := e.Direction == "in"
	direction := fbs.TraceDirectionDIRECTION_OUT
	if in {
		direction = fbs.TraceDirectionDIRECTION_IN
	}
	switch e.Type {
	case "probation", "bwe":
		return notification(id, fbs.EventTRANSPORT_TRACE, fbs.NotificationBodyTransportTraceNotification,
			&fbs.TransportTraceNotificationT{
				Type: number[fbs.TransportTraceEventType](transportTraces, e.Type), Timestamp: milliseconds(e.Timestamp),
				Direction: direction, Info: transportTrace(e),
			})
	}
	if e.Type == "sr" || in == (e.Packet != nil) {
		return notification(id, fbs.EventPRODUCER_TRACE, fbs.NotificationBodyProducerTraceNotification,
			&fbs.ProducerTraceNotificationT{
				Type: number[fbs.ProducerTraceEventType](producerTraces, e.Type), Timestamp: milliseconds(e.Timestamp),
				Direction: direction, Info: producerTrace(e),
			})
	}
	return notification(id, fbs.EventCONSUMER_TRACE, fbs.NotificationBodyConsumerTraceNotification,
		&fbs.ConsumerTraceNotificationT{
			Type: number[fbs.ConsumerTraceEventType](consumerTraces, e.Type), Timestamp: milliseconds(e.Timestamp),
			Direction: direction, Info: consumerTrace(e),
		})
}

func transportTrace(e *engine.TraceEvent) *fbs.TransportTraceInfoT {
	b := e.BWE
	if b == nil {
		return nil
	}
	kind := fbs.BweTypeTRANSPORT_CC
	if b.REMB {
		kind = fbs.BweTypeREMB
	}
	return &fbs.TransportTraceInfoT{Type: fbs.TransportTraceInfoBweTraceInfo, Value: &fbs.BweTraceInfoT{
		BweType: kind, DesiredBitrate: b.Desired, EffectiveDesiredBitrate: b.EffectiveDesired,
		MinBitrate: b.Min, MaxBitrate: b.Max, StartBitrate: b.Start,
		MaxPaddingBitrate: b.MaxPadding, AvailableBitrate: b.Available,
	}}
}

func producerTrace(e *engine.TraceEvent) *fbs.ProducerTraceInfoT {
	switch e.Type {
	case "keyframe":
		return &fbs.ProducerTraceInfoT{
			Type:  fbs.ProducerTraceInfoProducerKeyFrameTraceInfo,
			Value: &fbs.ProducerKeyFrameTraceInfoT{RtpPacket: packet(e.Packet), IsRtx: e.IsRTX},
		}
	case "rtp":
		return &fbs.ProducerTraceInfoT{
			Type:  fbs.ProducerTraceInfoProducerRtpTraceInfo,
			Value: &fbs.ProducerRtpTraceInfoT{RtpPacket: packet(e.Packet), IsRtx: e.IsRTX},
		}
	case "fir":
		return &fbs.ProducerTraceInfoT{
			Type: fbs.ProducerTraceInfoProducerFirTraceInfo, Value: &fbs.ProducerFirTraceInfoT{Ssrc: e.SSRC},
		}
	case "pli":
		return &fbs.ProducerTraceInfoT{
			Type: fbs.ProducerTraceInfoProducerPliTraceInfo, Value: &fbs.ProducerPliTraceInfoT{Ssrc: e.SSRC},
		}
	case "sr":
		return &fbs.ProducerTraceInfoT{
			Type: fbs.ProducerTraceInfoProducerSrTraceInfo,
			Value: &fbs.ProducerSrTraceInfoT{
				Ssrc: e.SR.SSRC, NtpSec: e.SR.NTPSeconds, NtpFrac: e.SR.NTPFraction, RtpTs: e.SR.RTPTimestamp,
				PacketCount: e.SR.PacketCount, OctetCount: e.SR.OctetCount,
			},
		}
	}
	return nil
}

func consumerTrace(e *engine.TraceEvent) *fbs.ConsumerTraceInfoT {
	switch e.Type {
	case "keyframe":
		return &fbs.ConsumerTraceInfoT{
			Type:  fbs.ConsumerTraceInfoConsumerKeyFrameTraceInfo,
			Value: &fbs.ConsumerKeyFrameTraceInfoT{RtpPacket: packet(e.Packet), IsRtx: e.IsRTX},
		}
	case "rtp":
		return &fbs.ConsumerTraceInfoT{
			Type:  fbs.ConsumerTraceInfoConsumerRtpTraceInfo,
			Value: &fbs.ConsumerRtpTraceInfoT{RtpPacket: packet(e.Packet), IsRtx: e.IsRTX},
		}
	case "fir":
		return &fbs.ConsumerTraceInfoT{
			Type: fbs.ConsumerTraceInfoConsumerFirTraceInfo, Value: &fbs.ConsumerFirTraceInfoT{Ssrc: e.SSRC},
		}
	case "pli":
		return &fbs.ConsumerTraceInfoT{
			Type: fbs.ConsumerTraceInfoConsumerPliTraceInfo, Value: &fbs.ConsumerPliTraceInfoT{Ssrc: e.SSRC},
		}
	}
	return nil
}

func packet(p *engine.PacketDump) *fbs.RtpPacketDumpT {
	d := &fbs.RtpPacketDumpT{
		PayloadType: p.PayloadType, SequenceNumber: p.SequenceNumber, Timestamp: p.Timestamp, Marker: p.Marker,
		Ssrc: p.SSRC, IsKeyFrame: p.KeyFrame, Size: uint64(p.Size), PayloadSize: uint64(p.PayloadSize),
		SpatialLayer: p.SpatialLayer, TemporalLayer: p.TemporalLayer, Mid: p.MID, Rid: p.RID, Rrid: p.RRID,
	}
	if p.HasWideSequenceNumber {
		d.WideSequenceNumber = &p.WideSequenceNumber
	}
	return d
}
