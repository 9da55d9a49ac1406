package channel

import (
	"fmt"
	"slices"
	"time"

	"github.com/mafalda-sfu/mafalda/internal/channel/fbs"
	"github.com/mafalda-sfu/mafalda/internal/engine"
	"github.com/mafalda-sfu/mafalda/internal/stream"
)

// errUnexpected is a response that does not fit its request.
var errUnexpected = fmt.Errorf("unexpected response: %w", engine.ErrUnavailable)

func (k *Call) Produce(transportID string, o engine.ProduceOptions) (engine.ProducerType, error) {
	if err := checkExtensions(o.RTPParameters.HeaderExtensions); err != nil {
		return 0, err
	}
	r, err := ask[*fbs.TransportProduceResponseT](k, request{
		method: fbs.MethodTRANSPORT_PRODUCE, id: transportID, kind: fbs.RequestBodyTransportProduceRequest,
		body: &fbs.TransportProduceRequestT{
			ProducerId: o.ID, Kind: mediaKind(o.Kind == engine.Video),
			RtpParameters: givenRTPParameters(&o.RTPParameters), RtpMapping: rtpMappingOf(&o.RTPMapping),
			Paused: o.Paused, KeyFrameRequestDelay: uint32(max(o.KeyFrameRequestDelay, 0) / time.Millisecond),
			EnableMediasoupPacketIdHeaderExtension: o.AddPacketID,
		},
		want: fbs.ResponseBodyTransportProduceResponse,
		undo: func(k *Call) error { return k.closeProducer(transportID, o.ID) },
	})
	if err != nil {
		return 0, err
	}
	k.c.grow(o.ID, transportID, "")
	return engine.ProducerType(r.Type), nil // numbered alike
}

// checkExtensions refuses what the protocol has no number for.
func checkExtensions(list []engine.HeaderExtension) error {
	for _, x := range list {
		if !slices.Contains(extensions, x.URI) {
			return invalid("header extension %q", x.URI)
		}
	}
	return nil
}

// givenRTPParameters is rtpParametersOf with the bitrates, and with nothing
// added.
func givenRTPParameters(p *engine.RTPParameters) *fbs.RtpParametersT {
	out := rtpParametersOf(p)
	out.Encodings = each(p.Encodings, givenEncoding)
	return out
}

func givenEncoding(e *engine.Encoding) *fbs.RtpEncodingParametersT {
	out := encodingOf(e)
	out.ScalabilityMode = e.ScalabilityMode
	if e.MaxBitrate != 0 {
		out.MaxBitrate = new(uint64(e.MaxBitrate))
	}
	return out
}

// closeChild does a request that closes a child of a transport.
func (k *Call) closeChild(id string, f func(transportID string) error) error {
	transport := k.c.parent(id)
	if transport == "" {
		return gone(id)
	}
	k.c.forget(id)
	return f(transport)
}

func (k *Call) CloseProducer(id string) error {
	return k.closeChild(id, func(transport string) error { return k.closeProducer(transport, id) })
}

func (k *Call) closeProducer(transport, id string) error {
	return k.set(fbs.MethodTRANSPORT_CLOSE_PRODUCER, transport, fbs.RequestBodyTransportCloseProducerRequest,
		&fbs.TransportCloseProducerRequestT{ProducerId: id})
}

func (k *Call) PauseProducer(id string) error  { return k.plain(fbs.MethodPRODUCER_PAUSE, id) }
func (k *Call) ResumeProducer(id string) error { return k.plain(fbs.MethodPRODUCER_RESUME, id) }

func (k *Call) TraceProducer(id string, types []string) error {
	return k.set(fbs.MethodPRODUCER_ENABLE_TRACE_EVENT, id, fbs.RequestBodyProducerEnableTraceEventRequest,
		&fbs.ProducerEnableTraceEventRequestT{Events: traceTypes[fbs.ProducerTraceEventType](producerTraces, types)})
}

func (k *Call) ProducerStats(id string) (engine.ProducerStats, error) {
	r, err := ask[*fbs.ProducerGetStatsResponseT](k, request{
		method: fbs.MethodPRODUCER_GET_STATS, id: id, want: fbs.ResponseBodyProducerGetStatsResponse, quiet: true,
	})
	if err != nil {
		return engine.ProducerStats{}, err
	}
	var out engine.ProducerStats
	for _, s := range r.Stats {
		v, now, err := statsFrom(s)
		if err != nil {
			return out, err
		}
		if recv, ok := v.(stream.RecvStats); ok {
			out.Timestamp, out.Streams = now, append(out.Streams, recv)
		}
	}
	return out, nil
}

func (k *Call) DumpProducer(id string) (engine.ProducerDump, error) {
	d, err := ask[*fbs.ProducerDumpResponseT](k, request{
		method: fbs.MethodPRODUCER_DUMP, id: id, want: fbs.ResponseBodyProducerDumpResponse, quiet: true,
	})
	if err != nil {
		return engine.ProducerDump{}, err
	}
	params, err := rtpParameters(d.RtpParameters)
	return engine.ProducerDump{
		ID: d.Id, Kind: kind(d.Kind), Type: engine.ProducerType(d.Type),
		RTPParameters: params, RTPMapping: rtpMapping(d.RtpMapping), Streams: streamDumpsFrom(d.RtpStreams, d.Kind),
		TraceEventTypes: traces(producerTraces, d.TraceEventTypes), Paused: d.Paused,
	}, err
}

func (k *Call) Consume(transportID string, o engine.ConsumeOptions) (engine.ConsumeResult, error) {
	if err := checkExtensions(o.RTPParameters.HeaderExtensions); err != nil {
		return engine.ConsumeResult{}, err
	}
	// The protocol wants to be told what the engine sees by itself.
	producer, err := k.DumpProducer(o.ProducerID)
	if err != nil {
		return engine.ConsumeResult{}, err
	}
	typ := producer.Type
	if o.Pipe {
		typ = engine.PipeType
	}
	r, err := ask[*fbs.TransportConsumeResponseT](k, request{
		method: fbs.MethodTRANSPORT_CONSUME, id: transportID, kind: fbs.RequestBodyTransportConsumeRequest,
		body: &fbs.TransportConsumeRequestT{
			ConsumerId: o.ID, ProducerId: o.ProducerID, Kind: mediaKind(producer.Kind == engine.Video), Type: fbs.RtpType(typ),
			RtpParameters: givenRTPParameters(&o.RTPParameters), ConsumableRtpEncodings: each(o.ConsumableEncodings, givenEncoding),
			Paused: o.Paused, IgnoreDtx: o.IgnoreDTX, PreferredLayers: givenLayers(o.PreferredLayers),
		},
		want: fbs.ResponseBodyTransportConsumeResponse,
		undo: func(k *Call) error { return k.closeConsumer(transportID, o.ID) },
	})
	if err != nil {
		return engine.ConsumeResult{}, err
	}
	k.c.grow(o.ID, transportID, "")
	return engine.ConsumeResult{
		Type: typ, Paused: r.Paused, ProducerPaused: r.ProducerPaused, Score: scoreFrom(r.Score),
		PreferredLayers: layers(r.PreferredLayers),
	}, nil
}

// givenLayers leaves out a temporal layer of -1, which is none.
func givenLayers(l *engine.Layers) *fbs.ConsumerLayersT {
	if l == nil {
		return nil
	}
	out := &fbs.ConsumerLayersT{SpatialLayer: uint8(max(l.Spatial, 0))}
	if l.Temporal >= 0 {
		out.TemporalLayer = new(uint8(l.Temporal))
	}
	return out
}

func (k *Call) SetPreferredLayers(id string, l engine.Layers) (*engine.Layers, error) {
	r, err := ask[*fbs.ConsumerSetPreferredLayersResponseT](k, request{
		method: fbs.MethodCONSUMER_SET_PREFERRED_LAYERS, id: id, kind: fbs.RequestBodyConsumerSetPreferredLayersRequest,
		body: &fbs.ConsumerSetPreferredLayersRequestT{PreferredLayers: givenLayers(&l)},
		want: fbs.ResponseBodyConsumerSetPreferredLayersResponse,
	})
	if err != nil {
		return nil, err
	}
	return layers(r.PreferredLayers), nil
}

func (k *Call) SetPriority(id string, priority uint8) error {
	return k.set(fbs.MethodCONSUMER_SET_PRIORITY, id, fbs.RequestBodyConsumerSetPriorityRequest,
		&fbs.ConsumerSetPriorityRequestT{Priority: priority})
}

func (k *Call) CloseConsumer(id string) error {
	return k.closeChild(id, func(transport string) error { return k.closeConsumer(transport, id) })
}

func (k *Call) closeConsumer(transport, id string) error {
	return k.set(fbs.MethodTRANSPORT_CLOSE_CONSUMER, transport, fbs.RequestBodyTransportCloseConsumerRequest,
		&fbs.TransportCloseConsumerRequestT{ConsumerId: id})
}

func (k *Call) PauseConsumer(id string) error  { return k.plain(fbs.MethodCONSUMER_PAUSE, id) }
func (k *Call) ResumeConsumer(id string) error { return k.plain(fbs.MethodCONSUMER_RESUME, id) }

func (k *Call) RequestKeyFrame(id string) error {
	return k.plain(fbs.MethodCONSUMER_REQUEST_KEY_FRAME, id)
}

func (k *Call) TraceConsumer(id string, types []string) error {
	return k.set(fbs.MethodCONSUMER_ENABLE_TRACE_EVENT, id, fbs.RequestBodyConsumerEnableTraceEventRequest,
		&fbs.ConsumerEnableTraceEventRequestT{Events: traceTypes[fbs.ConsumerTraceEventType](consumerTraces, types)})
}

func (k *Call) ConsumerStats(id string) (engine.ConsumerStats, error) {
	r, err := ask[*fbs.ConsumerGetStatsResponseT](k, request{
		method: fbs.MethodCONSUMER_GET_STATS, id: id, want: fbs.ResponseBodyConsumerGetStatsResponse, quiet: true,
	})
	if err != nil {
		return engine.ConsumerStats{}, err
	}
	var out engine.ConsumerStats
	for _, s := range r.Stats {
		v, now, err := statsFrom(s)
		if err != nil {
			return out, err
		}
		out.Timestamp = now
		switch v := v.(type) {
		case stream.SendStats:
			out.Sent = append(out.Sent, v)
		case stream.RecvStats:
			out.Received = &v
		}
	}
	return out, nil
}

func (k *Call) DumpConsumer(id string) (engine.ConsumerDump, error) {
	r, err := ask[*fbs.ConsumerDumpResponseT](k, request{
		method: fbs.MethodCONSUMER_DUMP, id: id, want: fbs.ResponseBodyConsumerDumpResponse, quiet: true,
	})
	if err != nil {
		return engine.ConsumerDump{}, err
	}
	b := r.Data.Base
	if engine.ProducerType(b.Type) != engine.PipeType && len(r.Data.RtpStreams) == 0 {
		return engine.ConsumerDump{}, errUnexpected
	}
	params, err := rtpParameters(b.RtpParameters)
	return engine.ConsumerDump{
		ID: b.Id, ProducerID: b.ProducerId, Kind: kind(b.Kind), Type: engine.ProducerType(b.Type),
		RTPParameters: params, ConsumableEncodings: encodings(b.ConsumableRtpEncodings),
		SupportedPayloadTypes: b.SupportedCodecPayloadTypes, TraceEventTypes: traces(consumerTraces, b.TraceEventTypes),
		Paused: b.Paused, ProducerPaused: b.ProducerPaused, Priority: b.Priority,
		Streams: streamDumpsFrom(r.Data.RtpStreams, b.Kind), Layers: layersDumpFrom(r.Data),
	}, err
}

// layersDumpFrom returns nil for what has no layers.
func layersDumpFrom(d *fbs.ConsumerDumpT) *engine.LayersDump {
	if t := engine.ProducerType(d.Base.Type); t != engine.SimulcastType && t != engine.SVCType {
		return nil
	}
	return &engine.LayersDump{
		Preferred: engine.Layers{Spatial: int8(or0(d.PreferredSpatialLayer)), Temporal: int8(or0(d.PreferredTemporalLayer))},
		Target:    engine.Layers{Spatial: int8(or0(d.TargetSpatialLayer)), Temporal: int8(or0(d.TargetTemporalLayer))},
		Current:   engine.Layers{Spatial: int8(or0(d.CurrentSpatialLayer)), Temporal: int8(or0(d.CurrentTemporalLayer))},
	}
}

func streamDumpsFrom(list []*fbs.RtpStreamDumpT, kind fbs.MediaKind) []engine.StreamDump {
	out := make([]engine.StreamDump, len(list))
	for i, d := range list {
		p := d.Params
		out[i] = engine.StreamDump{Score: d.Score, Params: stream.Params{
			EncodingIndex: int(p.EncodingIdx), SSRC: p.Ssrc, PayloadType: p.PayloadType, MimeType: p.MimeType,
			ClockRate: p.ClockRate, RID: p.Rid, CNAME: p.Cname,
			RTXSSRC: or0(p.RtxSsrc), RTXPayloadType: or0(p.RtxPayloadType),
			UseNACK: p.UseNack, UsePLI: p.UsePli, UseFIR: p.UseFir, UseInBandFEC: p.UseInBandFec, UseDTX: p.UseDtx,
			SpatialLayers: p.SpatialLayers, TemporalLayers: p.TemporalLayers, Video: kind == fbs.MediaKindVIDEO,
		}}
	}
	return out
}

// statsFrom returns a [stream.RecvStats] or a [stream.SendStats].
func statsFrom(s *fbs.RtpStreamStatsT) (any, time.Duration, error) {
	switch v := s.Data.Value.(type) {
	case *fbs.RtpStreamRecvStatsT:
		base, now, err := baseFrom(v.Base)
		base.PacketCount, base.ByteCount, base.Bitrate = v.PacketCount, v.ByteCount, uint32(v.Bitrate)
		out := stream.RecvStats{Stats: base}
		for _, l := range v.BitrateByLayer {
			layer := stream.LayerBitrate{Bitrate: uint32(l.Bitrate)}
			if _, err := fmt.Sscanf(l.Layer, "%d.%d", &layer.Spatial, &layer.Temporal); err == nil {
				out.Layers = append(out.Layers, layer)
			}
		}
		return out, now, err
	case *fbs.RtpStreamSendStatsT:
		base, now, err := baseFrom(v.Base)
		base.PacketCount, base.ByteCount, base.Bitrate = v.PacketCount, v.ByteCount, uint32(v.Bitrate)
		return stream.SendStats{Stats: base}, now, err
	}
	return nil, 0, errUnexpected
}

func baseFrom(s *fbs.RtpStreamStatsT) (stream.Stats, time.Duration, error) {
	v, ok := s.Data.Value.(*fbs.RtpStreamBaseStatsT)
	if !ok {
		return stream.Stats{}, 0, errUnexpected
	}
	return stream.Stats{
		SSRC: v.Ssrc, RTXSSRC: or0(v.RtxSsrc), RID: v.Rid, Video: v.Kind == fbs.MediaKindVIDEO, MimeType: v.MimeType,
		PacketsLost: v.PacketsLost, FractionLost: v.FractionLost, Jitter: v.Jitter,
		PacketsDiscarded: uint32(v.PacketsDiscarded), PacketsRetransmitted: uint32(v.PacketsRetransmitted),
		PacketsRepaired: uint32(v.PacketsRepaired), NACKCount: uint32(v.NackCount), NACKPacketCount: uint32(v.NackPacketCount),
		PLICount: uint32(v.PliCount), FIRCount: uint32(v.FirCount), RoundTripTime: float64(v.RoundTripTime),
		RTXPacketsDiscarded: uint32(v.RtxPacketsDiscarded), Score: v.Score,
	}, duration(v.Timestamp), nil
}
