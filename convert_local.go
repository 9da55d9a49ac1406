package mafalda

import (
	"math"

	"github.com/mafalda-sfu/mafalda/internal/engine"
)

// To the engine and back: what an application gives and gets as parameters.
// convert_dump_local.go has what is only reported.

func engineListenInfo(l *ListenInfo) engine.ListenInfo {
	e := engine.ListenInfo{
		Protocol:         engine.UDP,
		IP:               l.IP,
		AnnouncedAddress: l.AnnouncedAddress,
		ExposeInternalIP: l.ExposeInternalIP,
		Port:             l.Port,
		PortMin:          l.PortRange.Min,
		PortMax:          l.PortRange.Max,
		IPv6Only:         l.Flags.IPv6Only,
		UDPReusePort:     l.Flags.UDPReusePort,
		SendBufferSize:   l.SendBufferSize,
		RecvBufferSize:   l.RecvBufferSize,
	}
	if l.Protocol == ProtocolTCP {
		e.Protocol = engine.TCP
	}
	return e
}

func engineListenInfos(list []ListenInfo) []engine.ListenInfo {
	out := make([]engine.ListenInfo, len(list))
	for i := range list {
		out[i] = engineListenInfo(&list[i])
	}
	return out
}

func engineKind(k MediaKind) engine.Kind {
	if k == MediaKindVideo {
		return engine.Video
	}
	return engine.Audio
}

// engineRTPParameters returns p for the engine, which keeps it; the maps of p, too.
func engineRTPParameters(p *RTPParameters) engine.RTPParameters {
	e := engine.RTPParameters{
		MID:              p.MID,
		Codecs:           make([]engine.CodecParameters, len(p.Codecs)),
		HeaderExtensions: make([]engine.HeaderExtension, len(p.HeaderExtensions)),
		Encodings:        engineEncodings(p.Encodings),
		CNAME:            p.RTCP.CNAME,
		ReducedSize:      p.RTCP.ReducedSize,
		MSID:             p.MSID,
	}
	for i, c := range p.Codecs {
		e.Codecs[i] = engine.CodecParameters{
			MimeType: c.MIMEType, PayloadType: c.PayloadType, ClockRate: c.ClockRate, Channels: c.Channels,
			Parameters: c.Parameters, Feedback: make([]engine.Feedback, len(c.RTCPFeedback)),
		}
		for j, f := range c.RTCPFeedback {
			e.Codecs[i].Feedback[j] = engine.Feedback(f)
		}
	}
	for i, x := range p.HeaderExtensions {
		e.HeaderExtensions[i] = engine.HeaderExtension{URI: string(x.URI), ID: x.ID, Encrypt: x.Encrypt}
	}
	return e
}

func engineEncodings(list []RTPEncodingParameters) []engine.Encoding {
	out := make([]engine.Encoding, len(list))
	for i, x := range list {
		out[i] = engine.Encoding{
			SSRC: x.SSRC, RID: x.RID, CodecPayloadType: clonePointer(x.CodecPayloadType),
			DTX: x.DTX, ScalabilityMode: x.ScalabilityMode,
			MaxBitrate: uint32(min(max(x.MaxBitrate, 0), math.MaxUint32)),
		}
		if x.RTX != nil {
			out[i].RTXSSRC = x.RTX.SSRC
		}
	}
	return out
}

func engineRTPMapping(m *RTPMapping) engine.RTPMapping {
	e := engine.RTPMapping{
		Codecs:    make([]engine.CodecMapping, len(m.Codecs)),
		Encodings: make([]engine.EncodingMapping, len(m.Encodings)),
	}
	for i, c := range m.Codecs {
		e.Codecs[i] = engine.CodecMapping(c)
	}
	for i, x := range m.Encodings {
		e.Encodings[i] = engine.EncodingMapping{RID: x.RID, SSRC: x.SSRC, MappedSSRC: x.MappedSSRC}
	}
	return e
}

func tupleOf(t engine.Tuple) TransportTuple {
	return TransportTuple{
		LocalIP: t.LocalAddress, LocalAddress: t.LocalAddress, LocalPort: t.LocalPort,
		RemoteIP: t.RemoteIP, RemotePort: t.RemotePort, Protocol: Protocol(t.Protocol),
	}
}

func tuplePointer(t *engine.Tuple) *TransportTuple {
	if t == nil {
		return nil
	}
	return new(tupleOf(*t))
}

func srtpParameters(p *engine.SRTPParameters) *SRTPParameters {
	if p == nil {
		return nil
	}
	return &SRTPParameters{CryptoSuite: SRTPCryptoSuite(p.CryptoSuite), KeyBase64: p.KeyBase64}
}

func iceParameters(d *engine.WebRTCDump) ICEParameters {
	return ICEParameters{UsernameFragment: d.Ufrag, Password: d.Password, ICELite: true}
}

func iceCandidates(d *engine.WebRTCDump) []ICECandidate {
	out := make([]ICECandidate, len(d.Candidates))
	for i, c := range d.Candidates {
		out[i] = ICECandidate{
			Foundation: c.Foundation, Priority: c.Priority, IP: c.Address, Address: c.Address,
			Protocol: ProtocolUDP, Port: c.Port, Type: "host",
		}
		if c.TCP {
			out[i].Protocol, out[i].TCPType = ProtocolTCP, "passive"
		}
	}
	return out
}

func dtlsParameters(d *engine.WebRTCDump) DTLSParameters {
	p := DTLSParameters{Role: DTLSRole(d.DTLSRole.String())}
	for _, f := range d.Fingerprints {
		p.Fingerprints = append(p.Fingerprints, DTLSFingerprint{FingerprintAlgorithm(f.Algorithm), f.Value})
	}
	return p
}

func producerScores(list []engine.StreamScore) []ProducerScore {
	out := make([]ProducerScore, len(list))
	for i, s := range list {
		out[i] = ProducerScore{EncodingIdx: s.EncodingIndex, SSRC: s.SSRC, RID: s.RID, Score: int(s.Score)}
	}
	return out
}

func consumerScore(s engine.ConsumerScore) ConsumerScore {
	out := ConsumerScore{
		Score: int(s.Score), ProducerScore: int(s.ProducerScore),
		ProducerScores: make([]int, len(s.ProducerScores)),
	}
	for i, v := range s.ProducerScores {
		out.ProducerScores[i] = int(v)
	}
	return out
}

func engineLayers(l *ConsumerLayers) engine.Layers {
	e := engine.Layers{Spatial: int8(min(l.SpatialLayer, math.MaxInt8)), Temporal: -1}
	if l.TemporalLayer != nil {
		e.Temporal = int8(min(*l.TemporalLayer, math.MaxInt8))
	}
	return e
}

func consumerLayers(l *engine.Layers) *ConsumerLayers {
	if l == nil {
		return nil
	}
	return &ConsumerLayers{int(l.Spatial), new(int(l.Temporal))}
}

// traceNames returns names of trace events as the engine takes them.
func traceNames(types []TraceEventType) []string {
	out := make([]string, len(types))
	for i, t := range types {
		out[i] = string(t)
	}
	return out
}

func traceTypes(names []string) []TraceEventType {
	out := make([]TraceEventType, len(names))
	for i, n := range names {
		out[i] = TraceEventType(n)
	}
	return out
}

func traceEvent(e *engine.TraceEvent) TraceEvent {
	out := TraceEvent{
		Type:      TraceEventType(e.Type),
		Timestamp: e.Timestamp.Milliseconds(),
		Direction: TraceDirection(e.Direction),
	}
	switch {
	case e.Packet != nil:
		out.Info = RTPTraceInfo{RTPPacket: rtpPacketDump(e.Packet), IsRTX: e.IsRTX}
	case e.SR != nil:
		out.Info = SenderReportTraceInfo(*e.SR)
	case e.BWE != nil:
		out.Info = bweTraceInfo(e.BWE)
	case out.Type == TracePLI || out.Type == TraceFIR:
		out.Info = KeyFrameRequestTraceInfo{SSRC: e.SSRC}
	}
	return out
}

func bweTraceInfo(b *engine.BWETrace) BWETraceInfo {
	info := BWETraceInfo{
		DesiredBitrate: int(b.Desired), EffectiveDesiredBitrate: int(b.EffectiveDesired),
		MinBitrate: int(b.Min), MaxBitrate: int(b.Max), StartBitrate: int(b.Start),
		MaxPaddingBitrate: int(b.MaxPadding), AvailableBitrate: int(b.Available), Type: BWETransportCC,
	}
	if b.REMB {
		info.Type = BWEREMB
	}
	return info
}

func rtpPacketDump(p *engine.PacketDump) RTPPacketDump {
	d := RTPPacketDump{
		PayloadType: p.PayloadType, SequenceNumber: p.SequenceNumber, Timestamp: p.Timestamp, Marker: p.Marker,
		SSRC: p.SSRC, IsKeyFrame: p.KeyFrame, Size: p.Size, PayloadSize: p.PayloadSize,
		SpatialLayer: p.SpatialLayer, TemporalLayer: p.TemporalLayer, MID: p.MID, RID: p.RID, RRID: p.RRID,
	}
	if p.HasWideSequenceNumber {
		d.WideSequenceNumber = new(p.WideSequenceNumber)
	}
	return d
}
