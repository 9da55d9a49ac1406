package mafalda

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
)

// The functions of ORTC are those of mediasoup's ortc namespace. They are pure,
// except that they draw SSRCs; none of them changes or keeps what it is given.

// RTPMapping translates what a Producer sends into what its Router forwards.
type RTPMapping struct {
	Codecs []RTPCodecMapping `json:"codecs"`
	// Encodings has one element for each encoding of the Producer, in order.
	Encodings []RTPEncodingMapping `json:"encodings"`
}

// RTPCodecMapping gives the Router's payload type of a Producer's codec.
type RTPCodecMapping struct {
	PayloadType       uint8 `json:"payloadType"`
	MappedPayloadType uint8 `json:"mappedPayloadType"`
}

// RTPEncodingMapping gives the SSRC by which a Router knows a Producer's encoding.
type RTPEncodingMapping struct {
	SSRC       uint32 `json:"ssrc,omitempty"`
	RID        string `json:"rid,omitempty"`
	MappedSSRC uint32 `json:"mappedSsrc"`
}

// ssrcSource draws the first of a few consecutive SSRCs.
type ssrcSource func() uint32

// randomSSRC returns a number of nine digits, as mediasoup does.
func randomSSRC() uint32 { return 100_000_000 + rand.Uint32N(899_999_999) }

// dynamicPayloadTypes is the order in which a Router gives them out.
func dynamicPayloadTypes() []uint8 {
	list := make([]uint8, 0, 32)
	for pt := uint8(100); pt <= 127; pt++ {
		list = append(list, pt)
	}
	return append(list, 96, 97, 98, 99)
}

// GenerateRouterRTPCapabilities returns the capabilities of a Router that has
// the given media codecs, a video one followed by its RTX codec, and all
// supported header extensions.
//
// A codec keeps its payload type if it has one, else it gets its static one or
// the next dynamic one. Its parameters are added to those of the supported
// codec; its RTCP feedback is ignored.
//
// Errors: [ErrInvalidArgument] for a malformed codec and for a payload type
// that an earlier codec has, [errors.ErrUnsupported] for an unknown codec,
// [ErrUnavailable] if there are more codecs than payload types.
func GenerateRouterRTPCapabilities(mediaCodecs []RouterRTPCodecCapability) (RTPCapabilities, error) {
	caps := RTPCapabilities{
		Codecs:           make([]RTPCodecCapability, 0, 2*len(mediaCodecs)),
		HeaderExtensions: supportedHeaderExtensions(),
	}
	supported := supportedCodecs()
	free := dynamicPayloadTypes()
	next := func() (uint8, error) {
		if len(free) == 0 {
			return 0, fmt.Errorf("no dynamic payload type is left: %w", ErrUnavailable)
		}
		pt := free[0]
		free = free[1:]
		return pt, nil
	}

	for i, given := range mediaCodecs {
		codec, err := routerCodec(given, supported)
		if err != nil {
			return RTPCapabilities{}, fmt.Errorf("mediaCodecs[%d]: %w", i, err)
		}
		switch {
		case given.PreferredPayloadType != nil:
			pt := *given.PreferredPayloadType
			codec.PreferredPayloadType = pt
			free = slices.DeleteFunc(free, func(x uint8) bool { return x == pt })
		case codec.PreferredPayloadType != noPayloadType: // a static one
		default:
			if codec.PreferredPayloadType, err = next(); err != nil {
				return RTPCapabilities{}, err
			}
		}
		pt := codec.PreferredPayloadType
		if slices.ContainsFunc(caps.Codecs, func(c RTPCodecCapability) bool { return c.PreferredPayloadType == pt }) {
			return RTPCapabilities{}, fmt.Errorf("mediaCodecs[%d]: payload type %d is taken: %w", i, pt, ErrInvalidArgument)
		}
		caps.Codecs = append(caps.Codecs, codec)
		if codec.Kind != MediaKindVideo {
			continue
		}
		rtx, err := next()
		if err != nil {
			return RTPCapabilities{}, err
		}
		caps.Codecs = append(caps.Codecs, RTPCodecCapability{
			Kind:                 MediaKindVideo,
			MIMEType:             "video/rtx",
			PreferredPayloadType: rtx,
			ClockRate:            codec.ClockRate,
			Parameters:           map[string]any{"apt": int(pt)},
			RTCPFeedback:         []RTCPFeedback{},
		})
	}
	return caps, nil
}

// noPayloadType marks a codec of a Router that has not got one yet.
const noPayloadType = 255

// routerCodec returns the supported codec that given asks for, with the
// parameters of both and with its static payload type or noPayloadType.
func routerCodec(given RouterRTPCodecCapability, supported []RouterRTPCodecCapability) (RTPCodecCapability, error) {
	want := RTPCodecCapability{
		MIMEType:     given.MIMEType,
		ClockRate:    given.ClockRate,
		Channels:     given.Channels,
		Parameters:   given.Parameters,
		RTCPFeedback: given.RTCPFeedback,
	}
	if given.PreferredPayloadType != nil {
		want.PreferredPayloadType = *given.PreferredPayloadType
	}
	want, err := normalizeCodecCapability(want)
	if err != nil {
		return RTPCodecCapability{}, err
	}
	i := slices.IndexFunc(supported, func(s RouterRTPCodecCapability) bool {
		return matchCodecs(want.codecID(), s.codecID(), matchLoose)
	})
	if i < 0 {
		return RTPCodecCapability{}, fmt.Errorf("media codec %s with clock rate %d and %d channels: %w",
			want.MIMEType, want.ClockRate, want.Channels, errors.ErrUnsupported)
	}
	base := supported[i].clone()
	codec := RTPCodecCapability{
		Kind:                 base.Kind,
		MIMEType:             base.MIMEType,
		PreferredPayloadType: noPayloadType,
		ClockRate:            base.ClockRate,
		Channels:             base.Channels,
		Parameters:           base.Parameters,
		RTCPFeedback:         base.RTCPFeedback,
	}
	if base.PreferredPayloadType != nil {
		codec.PreferredPayloadType = *base.PreferredPayloadType
	}
	maps.Copy(codec.Parameters, want.Parameters)
	return codec, nil
}

// ProducerRTPParametersMapping matches the parameters of a Producer, which must
// be normalised, with the capabilities of its Router. Beside the mapping it
// returns the parameters with the H264 profile-level-id that was agreed on.
//
// Errors: [errors.ErrUnsupported] if the Router lacks a codec,
// [ErrInvalidArgument] if an RTX codec belongs to no codec.
func ProducerRTPParametersMapping(p RTPParameters, caps RTPCapabilities) (RTPParameters, RTPMapping, error) {
	return producerRTPParametersMapping(p, caps, randomSSRC)
}

func producerRTPParametersMapping(p RTPParameters, caps RTPCapabilities, ssrcs ssrcSource) (RTPParameters, RTPMapping, error) {
	fail := func(err error) (RTPParameters, RTPMapping, error) { return RTPParameters{}, RTPMapping{}, err }
	p = p.clone()
	mapping := RTPMapping{
		Codecs:    make([]RTPCodecMapping, 0, len(p.Codecs)),
		Encodings: make([]RTPEncodingMapping, 0, len(p.Encodings)),
	}
	mapped := make([]uint8, len(p.Codecs)) // by index of the media codec
	for i, codec := range p.Codecs {
		if isRTX(codec.MIMEType) {
			continue
		}
		j := slices.IndexFunc(caps.Codecs, func(c RTPCodecCapability) bool {
			return matchCodecs(codec.codecID(), c.codecID(), matchStrict)
		})
		if j < 0 {
			return fail(fmt.Errorf("codec %s with payload type %d: %w", codec.MIMEType, codec.PayloadType, errors.ErrUnsupported))
		}
		p.Codecs[i].Parameters = negotiated(codec.codecID(), caps.Codecs[j].codecID())
		mapped[i] = caps.Codecs[j].PreferredPayloadType
		mapping.Codecs = append(mapping.Codecs, RTPCodecMapping{codec.PayloadType, mapped[i]})
	}
	for _, codec := range p.Codecs {
		if !isRTX(codec.MIMEType) {
			continue
		}
		apt := aptOf(codec.Parameters)
		i := slices.IndexFunc(p.Codecs, func(c RTPCodecParameters) bool { return int(c.PayloadType) == apt })
		if i < 0 || isRTX(p.Codecs[i].MIMEType) {
			return fail(fmt.Errorf("RTX codec with payload type %d belongs to no media codec: %w", codec.PayloadType, ErrInvalidArgument))
		}
		rtx, ok := rtxOf(caps.Codecs, mapped[i])
		if !ok {
			return fail(fmt.Errorf("RTX for payload type %d of the router: %w", mapped[i], errors.ErrUnsupported))
		}
		mapping.Codecs = append(mapping.Codecs, RTPCodecMapping{codec.PayloadType, rtx.PreferredPayloadType})
	}
	ssrc := ssrcs()
	for i, e := range p.Encodings {
		mapping.Encodings = append(mapping.Encodings, RTPEncodingMapping{SSRC: e.SSRC, RID: e.RID, MappedSSRC: ssrc + uint32(i)})
	}
	return p, mapping, nil
}

// rtxOf returns the RTX codec of the media codec with the given payload type.
func rtxOf(codecs []RTPCodecCapability, payloadType uint8) (RTPCodecCapability, bool) {
	i := slices.IndexFunc(codecs, func(c RTPCodecCapability) bool {
		return isRTX(c.MIMEType) && aptOf(c.Parameters) == int(payloadType)
	})
	if i < 0 {
		return RTPCodecCapability{}, false
	}
	return codecs[i], true
}

// ConsumableRTPParameters returns the parameters that a Router forwards the
// media of a Producer with: the Router's payload types, RTCP feedback and
// header extensions, the Producer's codec parameters, the mapped SSRCs.
// Parameters and mapping are those of [ProducerRTPParametersMapping]; one that
// does not cover all codecs and encodings is an [ErrInvalidArgument].
func ConsumableRTPParameters(kind MediaKind, p RTPParameters, caps RTPCapabilities, mapping RTPMapping) (RTPParameters, error) {
	out := RTPParameters{
		MSID:             p.MSID,
		Codecs:           make([]RTPCodecParameters, 0, 2*len(p.Codecs)),
		HeaderExtensions: make([]RTPHeaderExtensionParameters, 0, len(caps.HeaderExtensions)),
		Encodings:        make([]RTPEncodingParameters, 0, len(p.Encodings)),
		RTCP:             RTCPParameters{CNAME: p.RTCP.CNAME, ReducedSize: true},
	}
	for _, codec := range p.Codecs {
		if isRTX(codec.MIMEType) {
			continue
		}
		c, ok := mappedCodec(codec.PayloadType, caps.Codecs, mapping.Codecs)
		if !ok {
			return RTPParameters{}, fmt.Errorf("no mapping for payload type %d: %w", codec.PayloadType, ErrInvalidArgument)
		}
		media := c.clone().asParameters()
		media.Parameters = maps.Clone(codec.Parameters)
		out.Codecs = append(out.Codecs, media)
		// Even if the Producer has no RTX, its Router retransmits to Consumers.
		if rtx, ok := rtxOf(caps.Codecs, c.PreferredPayloadType); ok {
			out.Codecs = append(out.Codecs, rtx.clone().asParameters())
		}
	}
	// A Router adds what it offers itself; a capture time only the Producer knows.
	captured := slices.ContainsFunc(p.HeaderExtensions, func(e RTPHeaderExtensionParameters) bool {
		return e.URI == RTPHeaderExtensionAbsCaptureTime
	})
	for _, e := range caps.HeaderExtensions {
		if e.Kind != kind || e.Direction != RTPHeaderExtensionSendRecv && e.Direction != RTPHeaderExtensionSendOnly {
			continue
		}
		if e.URI == RTPHeaderExtensionAbsCaptureTime && !captured {
			continue
		}
		out.HeaderExtensions = append(out.HeaderExtensions, RTPHeaderExtensionParameters{
			URI: e.URI, ID: e.PreferredID, Encrypt: e.PreferredEncrypt, Parameters: map[string]any{},
		})
	}
	if len(mapping.Encodings) < len(p.Encodings) {
		return RTPParameters{}, fmt.Errorf("no mapping for encoding %d: %w", len(mapping.Encodings), ErrInvalidArgument)
	}
	for i, e := range p.Encodings {
		out.Encodings = append(out.Encodings, RTPEncodingParameters{
			SSRC:            mapping.Encodings[i].MappedSSRC,
			DTX:             e.DTX,
			ScalabilityMode: e.ScalabilityMode,
			MaxBitrate:      e.MaxBitrate,
		})
	}
	return out, nil
}

// mappedCodec returns the Router's codec for a payload type of the Producer.
func mappedCodec(payloadType uint8, codecs []RTPCodecCapability, mapping []RTPCodecMapping) (RTPCodecCapability, bool) {
	i := slices.IndexFunc(mapping, func(m RTPCodecMapping) bool { return m.PayloadType == payloadType })
	if i < 0 {
		return RTPCodecCapability{}, false
	}
	j := slices.IndexFunc(codecs, func(c RTPCodecCapability) bool {
		return c.PreferredPayloadType == mapping[i].MappedPayloadType
	})
	if j < 0 {
		return RTPCodecCapability{}, false
	}
	return codecs[j], true
}

// asParameters returns c as a codec in use, with the same map and list.
func (c RTPCodecCapability) asParameters() RTPCodecParameters {
	return RTPCodecParameters{
		MIMEType:     c.MIMEType,
		PayloadType:  c.PreferredPayloadType,
		ClockRate:    c.ClockRate,
		Channels:     c.Channels,
		Parameters:   c.Parameters,
		RTCPFeedback: c.RTCPFeedback,
	}
}
