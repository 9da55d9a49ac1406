package mafalda

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// CanConsume reports whether an endpoint with the given capabilities is able to
// receive at least one media codec of consumable parameters. Malformed
// capabilities are an [ErrInvalidArgument].
func CanConsume(consumable RTPParameters, caps RTPCapabilities) (bool, error) {
	if err := caps.validate(); err != nil {
		return false, err
	}
	for _, codec := range consumable.Codecs {
		if _, ok := capabilityFor(codec, caps.Codecs); ok {
			return !isRTX(codec.MIMEType), nil
		}
	}
	return false, nil
}

// capabilityFor returns the first of codecs, which are valid, that matches codec.
func capabilityFor(codec RTPCodecParameters, codecs []RTPCodecCapability) (RTPCodecCapability, bool) {
	i := slices.IndexFunc(codecs, func(c RTPCodecCapability) bool {
		c.Channels = channelsOf(c.MIMEType, c.Channels)
		return matchCodecs(c.codecID(), codec.codecID(), matchStrict)
	})
	if i < 0 {
		return RTPCodecCapability{}, false
	}
	return codecs[i], true
}

// ConsumerRTPParametersOptions are the arguments of [ConsumerRTPParameters].
type ConsumerRTPParametersOptions struct {
	// ConsumableRTPParameters come from [ConsumableRTPParameters]. Required.
	ConsumableRTPParameters RTPParameters
	// RemoteRTPCapabilities are those of the receiving endpoint. Required.
	RemoteRTPCapabilities RTPCapabilities
	// Pipe keeps all encodings instead of merging them into one.
	Pipe bool
	// EnableRTX keeps RTX codecs and generic NACK.
	EnableRTX bool
}

// ConsumerRTPParameters returns the parameters of a Consumer: the consumable
// codecs and header extensions that the endpoint has too, with the endpoint's
// RTCP feedback, of which one kind of bandwidth estimation remains at most.
//
// Errors: [ErrInvalidArgument] for malformed capabilities,
// [errors.ErrUnsupported] if there is no media codec in common.
func ConsumerRTPParameters(o ConsumerRTPParametersOptions) (RTPParameters, error) {
	p, err := consumerRTPParameters(o, randomSSRC)
	return p.clone(), err
}

// consumerRTPParameters is ConsumerRTPParameters, but what it returns has the
// maps of the consumable parameters.
func consumerRTPParameters(o ConsumerRTPParametersOptions, ssrcs ssrcSource) (RTPParameters, error) {
	if err := validateCodecCapabilities(o.RemoteRTPCapabilities.Codecs); err != nil {
		return RTPParameters{}, err
	}
	consumable := o.ConsumableRTPParameters
	out := RTPParameters{MSID: consumable.MSID, RTCP: consumable.RTCP}
	out.Codecs = consumerCodecs(consumable.Codecs, o.RemoteRTPCapabilities.Codecs, o.EnableRTX)
	if len(out.Codecs) == 0 || isRTX(out.Codecs[0].MIMEType) {
		return RTPParameters{}, fmt.Errorf("no media codec in common: %w", errors.ErrUnsupported)
	}
	out.HeaderExtensions = keep(consumable.HeaderExtensions, func(e RTPHeaderExtensionParameters) bool {
		return slices.ContainsFunc(o.RemoteRTPCapabilities.HeaderExtensions, func(r RTPHeaderExtension) bool {
			return r.URI == e.URI && r.PreferredID == e.ID
		})
	})
	keepOneBandwidthFeedback(&out)

	rtx := slices.ContainsFunc(out.Codecs, func(c RTPCodecParameters) bool { return isRTX(c.MIMEType) })
	if o.Pipe {
		out.Encodings = pipeEncodings(consumable.Encodings, rtx, ssrcs)
	} else {
		out.Encodings = []RTPEncodingParameters{mergeEncodings(consumable.Encodings, rtx, ssrcs())}
	}
	return out, nil
}

// consumerCodecs returns the consumable codecs that the remote has too.
func consumerCodecs(consumable []RTPCodecParameters, remote []RTPCodecCapability, enableRTX bool) []RTPCodecParameters {
	codecs := make([]RTPCodecParameters, 0, len(consumable))
	for _, codec := range consumable {
		if isRTX(codec.MIMEType) && !enableRTX {
			continue
		}
		if c, ok := capabilityFor(codec, remote); ok {
			codec.RTCPFeedback = keep(c.RTCPFeedback, func(f RTCPFeedback) bool {
				return enableRTX || f != RTCPFeedback{Type: "nack"}
			})
			codecs = append(codecs, codec)
		}
	}
	return keep(codecs, func(c RTPCodecParameters) bool {
		return !isRTX(c.MIMEType) || slices.ContainsFunc(codecs, func(media RTPCodecParameters) bool {
			return int(media.PayloadType) == aptOf(c.Parameters)
		})
	})
}

// keepOneBandwidthFeedback removes the RTCP feedback of the kinds of bandwidth
// estimation that the header extensions don't allow, or for which there is a better one.
func keepOneBandwidthFeedback(p *RTPParameters) {
	has := func(uri RTPHeaderExtensionURI) bool {
		return slices.ContainsFunc(p.HeaderExtensions, func(e RTPHeaderExtensionParameters) bool { return e.URI == uri })
	}
	twcc := has(RTPHeaderExtensionTransportWideCC)
	remb := !twcc && has(RTPHeaderExtensionAbsSendTime)
	for i := range p.Codecs {
		p.Codecs[i].RTCPFeedback = slices.DeleteFunc(p.Codecs[i].RTCPFeedback, func(f RTCPFeedback) bool {
			return f.Type == "goog-remb" && !remb || f.Type == "transport-cc" && !twcc
		})
	}
}

// mergeEncodings returns the one stream that a Consumer gets of all encodings.
func mergeEncodings(encodings []RTPEncodingParameters, rtx bool, ssrc uint32) RTPEncodingParameters {
	merged := RTPEncodingParameters{SSRC: ssrc}
	if rtx {
		merged.RTX = &RTXParameters{SSRC: ssrc + 1}
	}
	for _, e := range encodings {
		merged.ScalabilityMode = cmp.Or(merged.ScalabilityMode, e.ScalabilityMode)
		merged.MaxBitrate = max(merged.MaxBitrate, e.MaxBitrate)
	}
	if len(encodings) > 1 {
		layers := ParseScalabilityMode(merged.ScalabilityMode).TemporalLayers
		merged.ScalabilityMode = fmt.Sprintf("L%dT%d", len(encodings), layers)
	}
	return merged
}

// pipeEncodings returns encodings with SSRCs of their own.
func pipeEncodings(encodings []RTPEncodingParameters, rtx bool, ssrcs ssrcSource) []RTPEncodingParameters {
	out := append(make([]RTPEncodingParameters, 0, len(encodings)), encodings...)
	ssrc, rtxSSRC := ssrcs(), ssrcs()
	for i := range out {
		out[i].SSRC = ssrc + uint32(i)
		out[i].RTX = nil
		if rtx {
			out[i].RTX = &RTXParameters{SSRC: rtxSSRC + uint32(i)}
		}
	}
	return out
}

// PipeConsumerRTPParameters returns the parameters of a Consumer on a
// PipeTransport: everything consumable but bandwidth estimation and, unless
// enableRTX, retransmission.
func PipeConsumerRTPParameters(consumable RTPParameters, enableRTX bool) RTPParameters {
	return pipeConsumerRTPParameters(consumable, enableRTX, randomSSRC).clone()
}

// pipeConsumerRTPParameters is PipeConsumerRTPParameters, but what it returns has
// the maps of the consumable parameters.
func pipeConsumerRTPParameters(consumable RTPParameters, enableRTX bool, ssrcs ssrcSource) RTPParameters {
	out := RTPParameters{MSID: consumable.MSID, RTCP: consumable.RTCP}
	out.Codecs = keep(consumable.Codecs, func(c RTPCodecParameters) bool { return enableRTX || !isRTX(c.MIMEType) })
	for i := range out.Codecs {
		out.Codecs[i].RTCPFeedback = keep(out.Codecs[i].RTCPFeedback, func(f RTCPFeedback) bool {
			return f == RTCPFeedback{"nack", "pli"} || f == RTCPFeedback{"ccm", "fir"} ||
				enableRTX && f == RTCPFeedback{Type: "nack"}
		})
	}
	out.HeaderExtensions = keep(consumable.HeaderExtensions, func(e RTPHeaderExtensionParameters) bool {
		switch e.URI {
		case RTPHeaderExtensionMID, RTPHeaderExtensionAbsSendTime, RTPHeaderExtensionTransportWideCC:
			return false
		}
		return true
	})
	slices.SortStableFunc(out.HeaderExtensions, func(a, b RTPHeaderExtensionParameters) int { return cmp.Compare(a.ID, b.ID) })
	rtx := slices.ContainsFunc(out.Codecs, func(c RTPCodecParameters) bool { return isRTX(c.MIMEType) })
	out.Encodings = pipeEncodings(consumable.Encodings, rtx, ssrcs)
	return out
}

// keep returns a new list, never nil, of those elements for which ok is true.
func keep[T any](list []T, ok func(T) bool) []T {
	out := make([]T, 0, len(list))
	for _, v := range list {
		if ok(v) {
			out = append(out, v)
		}
	}
	return out
}
