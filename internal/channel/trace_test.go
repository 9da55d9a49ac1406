package channel

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/mafalda-sfu/mafalda/internal/channel/fbs"
	"github.com/mafalda-sfu/mafalda/internal/engine"
)

// Whose a trace event is follows from its type and direction.
func TestTrace(t *testing.T) {
	dump := &engine.PacketDump{SSRC: 5, HasWideSequenceNumber: true, WideSequenceNumber: 6}
	packet := &fbs.RtpPacketDumpT{Ssrc: 5, WideSequenceNumber: new(uint16(6))}
	for name, test := range map[string]struct {
		e     engine.TraceEvent
		event fbs.Event
		info  any
	}{
		"rtp in": {
			engine.TraceEvent{Type: "rtp", Direction: "in", Packet: dump, IsRTX: true},
			fbs.EventPRODUCER_TRACE, &fbs.ProducerRtpTraceInfoT{RtpPacket: packet, IsRtx: true},
		},
		"rtp out": {
			engine.TraceEvent{Type: "rtp", Direction: "out", Packet: dump},
			fbs.EventCONSUMER_TRACE, &fbs.ConsumerRtpTraceInfoT{RtpPacket: packet},
		},
		"keyframe in": {
			engine.TraceEvent{Type: "keyframe", Direction: "in", Packet: dump},
			fbs.EventPRODUCER_TRACE, &fbs.ProducerKeyFrameTraceInfoT{RtpPacket: packet},
		},
		"keyframe out": {
			engine.TraceEvent{Type: "keyframe", Direction: "out", Packet: dump, IsRTX: true},
			fbs.EventCONSUMER_TRACE, &fbs.ConsumerKeyFrameTraceInfoT{RtpPacket: packet, IsRtx: true},
		},
		"nack out": {engine.TraceEvent{Type: "nack", Direction: "out"}, fbs.EventPRODUCER_TRACE, nil},
		"nack in":  {engine.TraceEvent{Type: "nack", Direction: "in"}, fbs.EventCONSUMER_TRACE, nil},
		"pli out": {
			engine.TraceEvent{Type: "pli", Direction: "out", SSRC: 5},
			fbs.EventPRODUCER_TRACE, &fbs.ProducerPliTraceInfoT{Ssrc: 5},
		},
		"pli in": {
			engine.TraceEvent{Type: "pli", Direction: "in", SSRC: 5},
			fbs.EventCONSUMER_TRACE, &fbs.ConsumerPliTraceInfoT{Ssrc: 5},
		},
		"fir out": {
			engine.TraceEvent{Type: "fir", Direction: "out", SSRC: 5},
			fbs.EventPRODUCER_TRACE, &fbs.ProducerFirTraceInfoT{Ssrc: 5},
		},
		"fir in": {
			engine.TraceEvent{Type: "fir", Direction: "in", SSRC: 5},
			fbs.EventCONSUMER_TRACE, &fbs.ConsumerFirTraceInfoT{Ssrc: 5},
		},
		"sr in": {
			engine.TraceEvent{Type: "sr", Direction: "in", SR: &engine.SenderReport{SSRC: 5, OctetCount: 7}},
			fbs.EventPRODUCER_TRACE, &fbs.ProducerSrTraceInfoT{Ssrc: 5, OctetCount: 7},
		},
		"probation": {engine.TraceEvent{Type: "probation", Direction: "out"}, fbs.EventTRANSPORT_TRACE, nil},
		"bwe": {
			engine.TraceEvent{Type: "bwe", Direction: "out", BWE: &engine.BWETrace{
				REMB: true, Desired: 1, EffectiveDesired: 2, Min: 3, Max: 4, Start: 5, MaxPadding: 6, Available: 7,
			}},
			fbs.EventTRANSPORT_TRACE, &fbs.BweTraceInfoT{
				BweType: fbs.BweTypeREMB, DesiredBitrate: 1, EffectiveDesiredBitrate: 2, MinBitrate: 3, MaxBitrate: 4,
				StartBitrate: 5, MaxPaddingBitrate: 6, AvailableBitrate: 7,
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			test.e.Timestamp = 1500 * time.Millisecond
			n := notificationOf(engine.Notification{Target: "x", Body: engine.Trace{Event: test.e}}).Value.(*fbs.NotificationT)
			assert.Equal(t, "x", n.HandlerId)
			assert.Equal(t, test.event, n.Event)
			direction := fbs.TraceDirectionDIRECTION_OUT
			if test.e.Direction == "in" {
				direction = fbs.TraceDirectionDIRECTION_IN
			}
			var info any
			switch b := n.Body.Value.(type) {
			case *fbs.ProducerTraceNotificationT:
				assert.Equal(t, direction, b.Direction)
				assert.Equal(t, uint64(1500), b.Timestamp)
				if b.Info != nil {
					info = b.Info.Value
				}
			case *fbs.ConsumerTraceNotificationT:
				assert.Equal(t, direction, b.Direction)
				assert.Equal(t, uint64(1500), b.Timestamp)
				if b.Info != nil {
					info = b.Info.Value
				}
			case *fbs.TransportTraceNotificationT:
				assert.Equal(t, direction, b.Direction)
				assert.Equal(t, uint64(1500), b.Timestamp)
				if b.Info != nil {
					info = b.Info.Value
				}
			}
			assert.Equal(t, test.info, info)
		})
	}
}
