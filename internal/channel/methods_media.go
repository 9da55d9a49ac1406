package channel

import (
	"fmt"
	"math"
	"time"

	"github.com/mafalda-sfu/mafalda/internal/channel/fbs"
	"github.com/mafalda-sfu/mafalda/internal/engine"
	"github.com/mafalda-sfu/mafalda/internal/stream"
)

// Methods of Producers and Consumers.

func init() {
	add(map[fbs.Method]method{
		fbs.MethodPRODUCER_DUMP:      get("producer.dump", (*engine.Machine).DumpProducer, producerDump),
		fbs.MethodPRODUCER_GET_STATS: get("producer.getStats", (*engine.Machine).ProducerStats, producerStats),
		fbs.MethodPRODUCER_PAUSE:     plain("producer.pause", (*engine.Machine).PauseProducer),
		fbs.MethodPRODUCER_RESUME:    plain("producer.resume", (*engine.Machine).ResumeProducer),
		fbs.MethodPRODUCER_ENABLE_TRACE_EVENT: set("producer.enableTraceEvent",
			func(m *engine.Machine, id string, b *fbs.ProducerEnableTraceEventRequestT) error {
				return m.TraceProducer(id, traces(producerTraces, b.Events))
			}),

		fbs.MethodCONSUMER_DUMP:      get("consumer.dump", (*engine.Machine).DumpConsumer, consumerDump),
		fbs.MethodCONSUMER_GET_STATS: get("consumer.getStats", (*engine.Machine).ConsumerStats, consumerStats),
		fbs.MethodCONSUMER_PAUSE:     plain("consumer.pause", (*engine.Machine).PauseConsumer),
		fbs.MethodCONSUMER_RESUME:    plain("consumer.resume", (*engine.Machine).ResumeConsumer),
		fbs.MethodCONSUMER_SET_PREFERRED_LAYERS: do("consumer.setPreferredLayers",
			func(id string, b *fbs.ConsumerSetPreferredLayersRequestT) (func(*engine.Machine) (*engine.Layers, error), error) {
				l := layers(b.PreferredLayers)
				return func(m *engine.Machine) (*engine.Layers, error) { return m.SetPreferredLayers(id, *l) }, nil
			},
			func(l **engine.Layers) *fbs.ResponseBodyT {
				return respond(fbs.ResponseBodyConsumerSetPreferredLayersResponse,
					&fbs.ConsumerSetPreferredLayersResponseT{PreferredLayers: layersOf(*l)})
			}),
		fbs.MethodCONSUMER_SET_PRIORITY: do("consumer.setPriority",
			func(id string, b *fbs.ConsumerSetPriorityRequestT) (func(*engine.Machine) (uint8, error), error) {
				return func(m *engine.Machine) (uint8, error) { return b.Priority, m.SetPriority(id, b.Priority) }, nil
			},
			func(n *uint8) *fbs.ResponseBodyT {
				return respond(fbs.ResponseBodyConsumerSetPriorityResponse, &fbs.ConsumerSetPriorityResponseT{Priority: *n})
			}),
		fbs.MethodCONSUMER_REQUEST_KEY_FRAME: plain("consumer.requestKeyFrame", (*engine.Machine).RequestKeyFrame),
		fbs.MethodCONSUMER_ENABLE_TRACE_EVENT: set("consumer.enableTraceEvent",
			func(m *engine.Machine, id string, b *fbs.ConsumerEnableTraceEventRequestT) error {
				return m.TraceConsumer(id, traces(consumerTraces, b.Events))
			}),
	})
}

func producerDump(d *engine.ProducerDump) *fbs.ResponseBodyT {
	return respond(fbs.ResponseBodyProducerDumpResponse, &fbs.ProducerDumpResponseT{
		Id:              d.ID,
		Kind:            mediaKind(d.Kind == engine.Video),
		Type:            fbs.RtpType(d.Type), // numbered alike
		RtpParameters:   rtpParametersOf(&d.RTPParameters),
		RtpMapping:      rtpMappingOf(&d.RTPMapping),
		RtpStreams:      each(d.Streams, streamDump),
		TraceEventTypes: traceTypes[fbs.ProducerTraceEventType](producerTraces, d.TraceEventTypes),
		Paused:          d.Paused,
	})
}

// layers returns l for the engine, in which -1 stands for no temporal layer.
func layers(l *fbs.ConsumerLayersT) *engine.Layers {
	if l == nil {
		return nil
	}
	out := &engine.Layers{Spatial: int8(min(l.SpatialLayer, math.MaxInt8)), Temporal: -1}
	if l.TemporalLayer != nil {
		out.Temporal = int8(min(*l.TemporalLayer, math.MaxInt8))
	}
	return out
}

// layersOf is the opposite; layers that are none are nil.
func layersOf(l *engine.Layers) *fbs.ConsumerLayersT {
	if l == nil || l.Spatial < 0 || l.Temporal < 0 {
		return nil
	}
	return &fbs.ConsumerLayersT{SpatialLayer: uint8(l.Spatial), TemporalLayer: new(uint8(l.Temporal))}
}

func consumerDump(d *engine.ConsumerDump) *fbs.ResponseBodyT {
	none := engine.Layers{Spatial: -1, Temporal: -1}
	l := engine.LayersDump{Preferred: none, Target: none, Current: none}
	if d.Layers != nil {
		l = *d.Layers
	}
	return respond(fbs.ResponseBodyConsumerDumpResponse, &fbs.ConsumerDumpResponseT{Data: &fbs.ConsumerDumpT{
		Base: &fbs.ConsumerBaseConsumerDumpT{
			Id:                         d.ID,
			Type:                       fbs.RtpType(d.Type), // numbered alike
			ProducerId:                 d.ProducerID,
			Kind:                       mediaKind(d.Kind == engine.Video),
			RtpParameters:              rtpParametersOf(&d.RTPParameters),
			ConsumableRtpEncodings:     each(d.ConsumableEncodings, encodingOf),
			SupportedCodecPayloadTypes: append([]byte{}, d.SupportedPayloadTypes...),
			TraceEventTypes:            traceTypes[fbs.ConsumerTraceEventType](consumerTraces, d.TraceEventTypes),
			Paused:                     d.Paused,
			ProducerPaused:             d.ProducerPaused,
			Priority:                   d.Priority,
		},
		RtpStreams:             each(d.Streams, streamDump),
		PreferredSpatialLayer:  new(int16(l.Preferred.Spatial)),
		TargetSpatialLayer:     new(int16(l.Target.Spatial)),
		CurrentSpatialLayer:    new(int16(l.Current.Spatial)),
		PreferredTemporalLayer: new(int16(l.Preferred.Temporal)),
		TargetTemporalLayer:    new(int16(l.Target.Temporal)),
		CurrentTemporalLayer:   new(int16(l.Current.Temporal)),
	}})
}

func streamDump(d *engine.StreamDump) *fbs.RtpStreamDumpT {
	p := &d.Params
	out := &fbs.RtpStreamDumpT{
		Params: &fbs.RtpStreamParamsT{
			EncodingIdx:    uint32(p.EncodingIndex),
			Ssrc:           p.SSRC,
			PayloadType:    p.PayloadType,
			MimeType:       p.MimeType,
			ClockRate:      p.ClockRate,
			Rid:            p.RID,
			Cname:          p.CNAME,
			UseNack:        p.UseNACK,
			UsePli:         p.UsePLI,
			UseFir:         p.UseFIR,
			UseInBandFec:   p.UseInBandFEC,
			UseDtx:         p.UseDTX,
			SpatialLayers:  max(1, p.SpatialLayers),
			TemporalLayers: max(1, p.TemporalLayers),
		},
		Score: d.Score,
	}
	if p.RTXSSRC != 0 {
		out.Params.RtxSsrc, out.Params.RtxPayloadType = &p.RTXSSRC, &p.RTXPayloadType
		mime := "audio/rtx"
		if p.Video {
			mime = "video/rtx"
		}
		out.RtxStream = &fbs.RtxStreamDumpT{Params: &fbs.RtxStreamParamsT{
			Ssrc: p.RTXSSRC, PayloadType: p.RTXPayloadType, MimeType: mime, ClockRate: p.ClockRate,
			Rrid: p.RID, Cname: p.CNAME,
		}}
	}
	return out
}

func producerStats(s *engine.ProducerStats) *fbs.ResponseBodyT {
	return respond(fbs.ResponseBodyProducerGetStatsResponse, &fbs.ProducerGetStatsResponseT{
		Stats: each(s.Streams, func(r *stream.RecvStats) *fbs.RtpStreamStatsT { return recvStats(s.Timestamp, r) }),
	})
}

func consumerStats(s *engine.ConsumerStats) *fbs.ResponseBodyT {
	list := each(s.Sent, func(sent *stream.SendStats) *fbs.RtpStreamStatsT {
		return &fbs.RtpStreamStatsT{Data: &fbs.RtpStreamStatsDataT{
			Type: fbs.RtpStreamStatsDataRtpStreamSendStats,
			Value: &fbs.RtpStreamSendStatsT{
				Base:        baseStats(s.Timestamp, &sent.Stats),
				PacketCount: sent.PacketCount, ByteCount: sent.ByteCount, Bitrate: uint64(sent.Bitrate),
			},
		}}
	})
	if s.Received != nil {
		list = append(list, recvStats(s.Timestamp, s.Received))
	}
	return respond(fbs.ResponseBodyConsumerGetStatsResponse, &fbs.ConsumerGetStatsResponseT{Stats: list})
}

func recvStats(now time.Duration, s *stream.RecvStats) *fbs.RtpStreamStatsT {
	return &fbs.RtpStreamStatsT{Data: &fbs.RtpStreamStatsDataT{
		Type: fbs.RtpStreamStatsDataRtpStreamRecvStats,
		Value: &fbs.RtpStreamRecvStatsT{
			Base:        baseStats(now, &s.Stats),
			PacketCount: s.PacketCount, ByteCount: s.ByteCount, Bitrate: uint64(s.Bitrate),
			BitrateByLayer: each(s.Layers, func(l *stream.LayerBitrate) *fbs.RtpStreamBitrateByLayerT {
				return &fbs.RtpStreamBitrateByLayerT{
					Layer: fmt.Sprintf("%d.%d", l.Spatial, l.Temporal), Bitrate: uint64(l.Bitrate),
				}
			}),
		},
	}}
}

func baseStats(now time.Duration, s *stream.Stats) *fbs.RtpStreamStatsT {
	return &fbs.RtpStreamStatsT{Data: &fbs.RtpStreamStatsDataT{
		Type: fbs.RtpStreamStatsDataRtpStreamBaseStats,
		Value: &fbs.RtpStreamBaseStatsT{
			Timestamp:            milliseconds(now),
			Ssrc:                 s.SSRC,
			Kind:                 mediaKind(s.Video),
			MimeType:             s.MimeType,
			PacketsLost:          s.PacketsLost,
			FractionLost:         s.FractionLost,
			Jitter:               s.Jitter,
			PacketsDiscarded:     uint64(s.PacketsDiscarded),
			PacketsRetransmitted: uint64(s.PacketsRetransmitted),
			PacketsRepaired:      uint64(s.PacketsRepaired),
			NackCount:            uint64(s.NACKCount),
			NackPacketCount:      uint64(s.NACKPacketCount),
			PliCount:             uint64(s.PLICount),
			FirCount:             uint64(s.FIRCount),
			Rid:                  s.RID,
			RtxSsrc:              some(s.RTXSSRC),
			RtxPacketsDiscarded:  uint64(s.RTXPacketsDiscarded),
			RoundTripTime:        float32(s.RoundTripTime),
			Score:                s.Score,
		},
	}}
}
