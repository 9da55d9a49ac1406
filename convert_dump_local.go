package mafalda

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"time"

	"github.com/mafalda-sfu/mafalda/internal/engine"
	"github.com/mafalda-sfu/mafalda/internal/stream"
)

// From the engine: stats and dumps, in mediasoup's shapes.

// listed returns list, and an empty one for nil, which JSON has as null.
func listed[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func ipPorts(list []netip.AddrPort) []IPPort {
	out := make([]IPPort, len(list))
	for i, a := range list {
		out[i] = IPPort{IP: a.Addr().String(), Port: a.Port()}
	}
	return out
}

func webRTCServerDump(d engine.DumpWebRTCServer) WebRTCServerDump {
	out := WebRTCServerDump{
		ID:                        d.ID,
		UDPSockets:                ipPorts(d.UDPSockets),
		TCPServers:                ipPorts(d.TCPServers),
		WebRTCTransportIDs:        listed(d.TransportIDs),
		LocalICEUsernameFragments: make([]ICEUsernameOwner, len(d.Ufrags)),
	}
	for i, u := range d.Ufrags {
		out.LocalICEUsernameFragments[i] = ICEUsernameOwner{u.Ufrag, u.TransportID}
	}
	return out
}

func routerDump(d engine.DumpRouter) RouterDump {
	out := RouterDump{
		ID:                               d.ID,
		TransportIDs:                     listed(d.TransportIDs),
		RTPObserverIDs:                   listed(d.ObserverIDs),
		MapProducerIDConsumerIDs:         make([]KeyValues[string, string], len(d.Producers)),
		MapConsumerIDProducerID:          make([]KeyValue[string, string], len(d.Consumers)),
		MapProducerIDObserverIDs:         make([]KeyValues[string, string], len(d.Producers)),
		MapDataProducerIDDataConsumerIDs: make([]KeyValues[string, string], len(d.DataProducers)),
		MapDataConsumerIDDataProducerID:  make([]KeyValue[string, string], len(d.DataConsumers)),
	}
	for i, p := range d.Producers {
		out.MapProducerIDConsumerIDs[i] = KeyValues[string, string]{p.ProducerID, listed(p.ConsumerIDs)}
		out.MapProducerIDObserverIDs[i] = KeyValues[string, string]{p.ProducerID, listed(p.ObserverIDs)}
	}
	for i, c := range d.Consumers {
		out.MapConsumerIDProducerID[i] = KeyValue[string, string]{c.ConsumerID, c.ProducerID}
	}
	for i, p := range d.DataProducers {
		out.MapDataProducerIDDataConsumerIDs[i] = KeyValues[string, string]{p.ProducerID, listed(p.ConsumerIDs)}
	}
	for i, c := range d.DataConsumers {
		out.MapDataConsumerIDDataProducerID[i] = KeyValue[string, string]{c.ConsumerID, c.ProducerID}
	}
	return out
}

func transportDump(d *engine.TransportDump) TransportDump {
	out := TransportDump{
		ID:                   d.ID,
		ProducerIDs:          listed(d.ProducerIDs),
		ConsumerIDs:          listed(d.ConsumerIDs),
		MapSSRCConsumerID:    ssrcOwners(d.SSRCConsumers),
		MapRTXSSRCConsumerID: ssrcOwners(d.RTXSSRCConsumers),
		DataProducerIDs:      listed(d.DataProducerIDs),
		DataConsumerIDs:      listed(d.DataConsumerIDs),
		RecvRTPHeaderExtensions: RecvRTPHeaderExtensions{
			MID: d.MID, RID: d.RID, RRID: d.RRID, AbsSendTime: d.AbsSendTime, TransportWideCC01: d.TransportWideCC,
		},
		RTPListener: RTPListenerDump{
			SSRCTable: ssrcOwners(d.SSRCProducers),
			MIDTable:  nameOwners(d.MIDProducers),
			RIDTable:  nameOwners(d.RIDProducers),
		},
		MaxSendMessageSize:    int(d.MaxSendMessageSize),
		MaxReceiveMessageSize: int(d.MaxReceiveMessageSize),
		TraceEventTypes:       traceTypes(d.TraceEventTypes),
	}
	sctpDump(&out, d.SCTP)
	if w := d.WebRTC; w != nil {
		out.ICERole = ICERoleControlled
		out.ICEParameters = new(iceParameters(w))
		out.ICECandidates = iceCandidates(w)
		out.ICEState = ICEState(w.ICEState)
		out.ICESelectedTuple = tuplePointer(w.SelectedTuple)
		out.DTLSParameters = new(dtlsParameters(w))
		out.DTLSState = DTLSState(w.DTLSState)
	}
	if p := d.Plain; p != nil {
		out.RTCPMux, out.Comedia = new(p.RTCPMux), new(p.Comedia)
		out.Tuple, out.RTCPTuple = new(tupleOf(p.Tuple)), tuplePointer(p.RTCPTuple)
		out.SRTPParameters = srtpParameters(p.SRTP)
	}
	if p := d.Pipe; p != nil {
		out.RTX = new(p.RTX)
		out.Tuple = new(tupleOf(p.Tuple))
		out.SRTPParameters = srtpParameters(p.SRTP)
	}
	return out
}

func ssrcOwners(list []engine.SSRCOwner) []KeyValue[uint32, string] {
	out := make([]KeyValue[uint32, string], len(list))
	for i, o := range list {
		out[i] = KeyValue[uint32, string]{o.SSRC, o.ID}
	}
	return out
}

func nameOwners(list []engine.NameOwner) []KeyValue[string, string] {
	out := make([]KeyValue[string, string], len(list))
	for i, o := range list {
		out[i] = KeyValue[string, string]{o.Name, o.ID}
	}
	return out
}

func transportStats(s *engine.TransportStats) TransportStats {
	out := TransportStats{
		Type:                 DirectTransportStats,
		TransportID:          s.ID,
		Timestamp:            s.Timestamp.Milliseconds(),
		BytesReceived:        s.BytesReceived,
		RecvBitrate:          int(s.RecvBitrate),
		BytesSent:            s.BytesSent,
		SendBitrate:          int(s.SendBitrate),
		RTPBytesReceived:     s.RTPBytesReceived,
		RTPRecvBitrate:       int(s.RTPRecvBitrate),
		RTPBytesSent:         s.RTPBytesSent,
		RTPSendBitrate:       int(s.RTPSendBitrate),
		RTXBytesReceived:     s.RTXBytesReceived,
		RTXRecvBitrate:       int(s.RTXRecvBitrate),
		RTXBytesSent:         s.RTXBytesSent,
		RTXSendBitrate:       int(s.RTXSendBitrate),
		ProbationBytesSent:   s.ProbationBytesSent,
		ProbationSendBitrate: int(s.ProbationSendBitrate),
		MaxIncomingBitrate:   int(s.MaxIncomingBitrate),
		MaxOutgoingBitrate:   int(s.MaxOutgoingBitrate),
		MinOutgoingBitrate:   int(s.MinOutgoingBitrate),
		SCTPState:            SCTPState(s.SCTPState),
	}
	if s.Estimated {
		out.AvailableOutgoingBitrate = new(int(s.AvailableOutgoingBitrate))
		out.RTPPacketLossSent = new(s.PacketLossSent)
	}
	if s.Feedback {
		out.AvailableIncomingBitrate = new(int(s.AvailableIncomingBitrate))
		out.RTPPacketLossReceived = new(s.PacketLossReceived)
	}
	if w := s.WebRTC; w != nil {
		out.Type = WebRTCTransportStats
		out.ICERole = ICERoleControlled
		out.ICEState = ICEState(w.ICEState)
		out.ICESelectedTuple = tuplePointer(w.SelectedTuple)
		out.DTLSState = DTLSState(w.DTLSState)
	}
	if p := s.Plain; p != nil {
		out.Type = PlainTransportStats
		out.RTCPMux, out.Comedia = new(p.RTCPMux), new(p.Comedia)
		out.Tuple, out.RTCPTuple = new(tupleOf(p.Tuple)), tuplePointer(p.RTCPTuple)
	}
	if p := s.Pipe; p != nil {
		out.Type = PipeTransportStats
		out.Tuple = new(tupleOf(p.Tuple))
	}
	return out
}

func producerStats(s *engine.ProducerStats) []RTPStreamStats {
	out := make([]RTPStreamStats, len(s.Streams))
	for i := range s.Streams {
		out[i] = inboundStats(s.Timestamp, &s.Streams[i])
	}
	return out
}

func consumerStats(s *engine.ConsumerStats) []RTPStreamStats {
	out := make([]RTPStreamStats, 0, len(s.Sent)+1)
	for i := range s.Sent {
		out = append(out, rtpStreamStats(OutboundRTP, s.Timestamp, &s.Sent[i].Stats))
	}
	if s.Received != nil {
		out = append(out, inboundStats(s.Timestamp, s.Received))
	}
	return out
}

func inboundStats(now time.Duration, s *stream.RecvStats) RTPStreamStats {
	out := rtpStreamStats(InboundRTP, now, &s.Stats)
	out.BitrateByLayer = make(map[string]int, len(s.Layers))
	for _, l := range s.Layers {
		out.BitrateByLayer[fmt.Sprintf("%d.%d", l.Spatial, l.Temporal)] = int(l.Bitrate)
	}
	return out
}

func rtpStreamStats(typ RTPStreamStatsType, now time.Duration, s *stream.Stats) RTPStreamStats {
	return RTPStreamStats{
		Type:                 typ,
		Timestamp:            now.Milliseconds(),
		SSRC:                 s.SSRC,
		RTXSSRC:              s.RTXSSRC,
		RID:                  s.RID,
		Kind:                 mediaKindOf(s.Video),
		MIMEType:             s.MimeType,
		PacketCount:          s.PacketCount,
		ByteCount:            s.ByteCount,
		Bitrate:              int(s.Bitrate),
		PacketsLost:          int64(s.PacketsLost),
		FractionLost:         s.FractionLost,
		Jitter:               s.Jitter,
		PacketsDiscarded:     uint64(s.PacketsDiscarded),
		PacketsRetransmitted: uint64(s.PacketsRetransmitted),
		PacketsRepaired:      uint64(s.PacketsRepaired),
		NACKCount:            uint64(s.NACKCount),
		NACKPacketCount:      uint64(s.NACKPacketCount),
		PLICount:             uint64(s.PLICount),
		FIRCount:             uint64(s.FIRCount),
		RoundTripTime:        s.RoundTripTime,
		RTXPacketsDiscarded:  uint64(s.RTXPacketsDiscarded),
		Score:                int(s.Score),
	}
}

func mediaKindOf(video bool) MediaKind {
	if video {
		return MediaKindVideo
	}
	return MediaKindAudio
}

func producerDump(d *engine.ProducerDump) ProducerDump {
	out := ProducerDump{
		ID:              d.ID,
		Kind:            mediaKindOf(d.Kind == engine.Video),
		Type:            ProducerType(d.Type.String()),
		RTPParameters:   rtpParametersDump(&d.RTPParameters),
		RTPMapping:      rtpMappingDump(&d.RTPMapping),
		TraceEventTypes: traceTypes(d.TraceEventTypes),
		Paused:          d.Paused,
	}
	for i := range d.Streams {
		out.RTPStreams = append(out.RTPStreams, rtpStreamDump(&d.Streams[i]))
	}
	return out
}

func rtpMappingDump(m *engine.RTPMapping) RTPMappingDump {
	out := RTPMappingDump{
		Codecs:    make([]CodecMappingDump, len(m.Codecs)),
		Encodings: make([]EncodingMappingDump, len(m.Encodings)),
	}
	for i, c := range m.Codecs {
		out.Codecs[i] = CodecMappingDump(c)
	}
	for i, e := range m.Encodings {
		out.Encodings[i] = EncodingMappingDump{RID: e.RID, MappedSSRC: e.MappedSSRC}
		if e.SSRC != 0 {
			out.Encodings[i].SSRC = new(e.SSRC)
		}
	}
	return out
}

func consumerDump(d *engine.ConsumerDump) ConsumerDump {
	out := ConsumerDump{
		ID:                         d.ID,
		ProducerID:                 d.ProducerID,
		Kind:                       mediaKindOf(d.Kind == engine.Video),
		Type:                       ConsumerType(d.Type.String()),
		RTPParameters:              rtpParametersDump(&d.RTPParameters),
		ConsumableRTPEncodings:     encodingsDump(d.ConsumableEncodings),
		SupportedCodecPayloadTypes: make([]int, len(d.SupportedPayloadTypes)),
		TraceEventTypes:            traceTypes(d.TraceEventTypes),
		Paused:                     d.Paused,
		ProducerPaused:             d.ProducerPaused,
		Priority:                   int(d.Priority),
	}
	if l := d.Layers; l != nil {
		out.PreferredSpatialLayer, out.PreferredTemporalLayer = new(int(l.Preferred.Spatial)), new(int(l.Preferred.Temporal))
		out.TargetSpatialLayer, out.TargetTemporalLayer = new(int(l.Target.Spatial)), new(int(l.Target.Temporal))
		out.CurrentSpatialLayer, out.CurrentTemporalLayer = new(int(l.Current.Spatial)), new(int(l.Current.Temporal))
	}
	if d.Type != engine.PipeType {
		out.RTPStream = new(rtpStreamDump(&d.Streams[0]))
	} else {
		for i := range d.Streams {
			out.RTPStreams = append(out.RTPStreams, rtpStreamDump(&d.Streams[i]))
		}
	}
	for i, pt := range d.SupportedPayloadTypes {
		out.SupportedCodecPayloadTypes[i] = int(pt)
	}
	return out
}

// rtpParametersDump returns what the engine works with; like mediasoup's worker
// it leaves out the bitrates that were given.
func rtpParametersDump(p *engine.RTPParameters) RTPParameters {
	out := RTPParameters{
		MID:              p.MID,
		Codecs:           make([]RTPCodecParameters, len(p.Codecs)),
		HeaderExtensions: make([]RTPHeaderExtensionParameters, len(p.HeaderExtensions)),
		Encodings:        encodingsDump(p.Encodings),
		RTCP:             RTCPParameters{CNAME: p.CNAME, ReducedSize: p.ReducedSize},
		MSID:             p.MSID,
	}
	for i, c := range p.Codecs {
		out.Codecs[i] = RTPCodecParameters{
			MIMEType: c.MimeType, PayloadType: c.PayloadType, ClockRate: c.ClockRate, Channels: c.Channels,
			Parameters: map[string]any{}, RTCPFeedback: make([]RTCPFeedback, len(c.Feedback)),
		}
		maps.Copy(out.Codecs[i].Parameters, c.Parameters)
		for j, f := range c.Feedback {
			out.Codecs[i].RTCPFeedback[j] = RTCPFeedback(f)
		}
	}
	for i, e := range p.HeaderExtensions {
		out.HeaderExtensions[i] = RTPHeaderExtensionParameters{
			URI: RTPHeaderExtensionURI(e.URI), ID: e.ID, Encrypt: e.Encrypt, Parameters: map[string]any{},
		}
	}
	return out
}

func encodingsDump(list []engine.Encoding) []RTPEncodingParameters {
	out := make([]RTPEncodingParameters, len(list))
	for i, e := range list {
		out[i] = RTPEncodingParameters{
			SSRC: e.SSRC, RID: e.RID, CodecPayloadType: clonePointer(e.CodecPayloadType), DTX: e.DTX,
			ScalabilityMode: cmp.Or(e.ScalabilityMode, "S1T1"),
		}
		if e.RTXSSRC != 0 {
			out[i].RTX = &RTXParameters{SSRC: e.RTXSSRC}
		}
	}
	return out
}

func rtpStreamDump(d *engine.StreamDump) RTPStreamDump {
	p := &d.Params
	out := RTPStreamDump{
		Params: RTPStreamParams{
			EncodingIdx:    p.EncodingIndex,
			SSRC:           p.SSRC,
			PayloadType:    p.PayloadType,
			MIMEType:       p.MimeType,
			ClockRate:      p.ClockRate,
			RID:            p.RID,
			CNAME:          p.CNAME,
			UseNACK:        p.UseNACK,
			UsePLI:         p.UsePLI,
			UseFIR:         p.UseFIR,
			UseInBandFEC:   p.UseInBandFEC,
			UseDTX:         p.UseDTX,
			SpatialLayers:  max(1, int(p.SpatialLayers)),
			TemporalLayers: max(1, int(p.TemporalLayers)),
		},
		Score: int(d.Score),
	}
	if p.RTXSSRC != 0 {
		out.Params.RTXSSRC = p.RTXSSRC
		out.Params.RTXPayloadType = new(p.RTXPayloadType)
		out.RTXStream = &RTXStreamDump{Params: RTXStreamParams{
			SSRC:        p.RTXSSRC,
			PayloadType: p.RTXPayloadType,
			MIMEType:    string(mediaKindOf(p.Video)) + "/rtx",
			ClockRate:   p.ClockRate,
			RRID:        p.RID,
			CNAME:       p.CNAME,
		}}
	}
	return out
}
