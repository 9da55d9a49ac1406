package mafalda

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
)

// maxPayloadType is the largest value of the 7-bit field (RFC 3550 §5.1).
const maxPayloadType = 127

// ValidateAndNormalizeRTPCapabilities checks c and returns a copy in which
// everything optional has its default. Its error is [ErrInvalidArgument].
func ValidateAndNormalizeRTPCapabilities(c RTPCapabilities) (RTPCapabilities, error) {
	n := RTPCapabilities{
		Codecs:           make([]RTPCodecCapability, len(c.Codecs)),
		HeaderExtensions: make([]RTPHeaderExtension, len(c.HeaderExtensions)),
	}
	var err error
	for i, codec := range c.Codecs {
		if n.Codecs[i], err = normalizeCodecCapability(codec); err != nil {
			return RTPCapabilities{}, fmt.Errorf("codecs[%d]: %w", i, err)
		}
	}
	for i, e := range c.HeaderExtensions {
		if n.HeaderExtensions[i], err = normalizeHeaderExtension(e); err != nil {
			return RTPCapabilities{}, fmt.Errorf("headerExtensions[%d]: %w", i, err)
		}
	}
	return n, nil
}

// validate is [ValidateAndNormalizeRTPCapabilities] for who does not need the copy.
func (c *RTPCapabilities) validate() error {
	if err := validateCodecCapabilities(c.Codecs); err != nil {
		return err
	}
	for i, e := range c.HeaderExtensions {
		if _, err := normalizeHeaderExtension(e); err != nil {
			return fmt.Errorf("headerExtensions[%d]: %w", i, err)
		}
	}
	return nil
}

func validateCodecCapabilities(codecs []RTPCodecCapability) error {
	for i, c := range codecs {
		if err := validateCodec(c.asParameters()); err != nil {
			return fmt.Errorf("codecs[%d]: %w", i, err)
		}
	}
	return nil
}

// ValidateAndNormalizeRTPParameters checks p and returns a copy in which
// everything optional has its default. Its error is [ErrInvalidArgument].
//
// As in mediasoup, an empty but non-nil list of codecs, an unknown header
// extension and encodings without SSRC pass here: Transport.Produce refuses them.
func ValidateAndNormalizeRTPParameters(p RTPParameters) (RTPParameters, error) {
	if p.Codecs == nil {
		return RTPParameters{}, fmt.Errorf("missing codecs: %w", ErrInvalidArgument)
	}
	n := RTPParameters{
		MID:              p.MID,
		MSID:             p.MSID,
		Codecs:           make([]RTPCodecParameters, len(p.Codecs)),
		HeaderExtensions: make([]RTPHeaderExtensionParameters, len(p.HeaderExtensions)),
		Encodings:        make([]RTPEncodingParameters, len(p.Encodings)),
		RTCP:             RTCPParameters{CNAME: p.RTCP.CNAME, ReducedSize: true},
	}
	var err error
	for i, codec := range p.Codecs {
		if n.Codecs[i], err = normalizeCodecParameters(codec); err != nil {
			return RTPParameters{}, fmt.Errorf("codecs[%d]: %w", i, err)
		}
	}
	for i, e := range p.HeaderExtensions {
		if n.HeaderExtensions[i], err = normalizeHeaderExtensionParameters(e); err != nil {
			return RTPParameters{}, fmt.Errorf("headerExtensions[%d]: %w", i, err)
		}
	}
	for i, e := range p.Encodings {
		if n.Encodings[i], err = normalizeEncoding(e); err != nil {
			return RTPParameters{}, fmt.Errorf("encodings[%d]: %w", i, err)
		}
	}
	return n, nil
}

func normalizeCodecCapability(c RTPCodecCapability) (RTPCodecCapability, error) {
	base, err := normalizeCodecParameters(c.asParameters())
	if err != nil {
		return RTPCodecCapability{}, err
	}
	return RTPCodecCapability{
		Kind:                 kindOf(base.MIMEType),
		MIMEType:             base.MIMEType,
		PreferredPayloadType: base.PayloadType,
		ClockRate:            base.ClockRate,
		Channels:             base.Channels,
		Parameters:           base.Parameters,
		RTCPFeedback:         base.RTCPFeedback,
	}, nil
}

// kindOf returns the kind that a MIME type begins with, "" if it is malformed.
func kindOf(mimeType string) MediaKind {
	kind, name, _ := strings.Cut(mimeType, "/")
	if name == "" || name[0] == '\n' {
		return ""
	}
	for _, k := range [...]MediaKind{MediaKindAudio, MediaKindVideo} {
		if strings.EqualFold(kind, string(k)) {
			return k
		}
	}
	return ""
}

// channelsOf returns how many audio channels n means.
func channelsOf(mimeType string, n uint8) uint8 {
	if kindOf(mimeType) == MediaKindVideo {
		return 0
	}
	return max(n, 1)
}

func validateCodec(c RTPCodecParameters) error {
	if kindOf(c.MIMEType) == "" {
		return fmt.Errorf("invalid mimeType %q: %w", c.MIMEType, ErrInvalidArgument)
	}
	if c.PayloadType > maxPayloadType {
		return fmt.Errorf("payload type %d is above 127: %w", c.PayloadType, ErrInvalidArgument)
	}
	if c.ClockRate == 0 {
		return fmt.Errorf("missing clockRate: %w", ErrInvalidArgument)
	}
	if err := validateParameters(c.Parameters); err != nil {
		return err
	}
	apt, _ := normalizeParameter(c.Parameters["apt"])
	if _, isText := apt.(string); isText {
		return fmt.Errorf("parameter apt is not a number: %w", ErrInvalidArgument)
	}
	for i, f := range c.RTCPFeedback {
		if f.Type == "" {
			return fmt.Errorf("rtcpFeedback[%d]: missing type: %w", i, ErrInvalidArgument)
		}
	}
	return nil
}

func normalizeCodecParameters(c RTPCodecParameters) (RTPCodecParameters, error) {
	if err := validateCodec(c); err != nil {
		return RTPCodecParameters{}, err
	}
	c.Channels = channelsOf(c.MIMEType, c.Channels)
	c.Parameters = normalizeParameters(c.Parameters)
	c.RTCPFeedback = append([]RTCPFeedback{}, c.RTCPFeedback...)
	return c, nil
}

func normalizeHeaderExtension(e RTPHeaderExtension) (RTPHeaderExtension, error) {
	switch {
	case e.Kind != MediaKindAudio && e.Kind != MediaKindVideo:
		return RTPHeaderExtension{}, fmt.Errorf("invalid kind %q: %w", e.Kind, ErrInvalidArgument)
	case e.URI == "":
		return RTPHeaderExtension{}, fmt.Errorf("missing uri: %w", ErrInvalidArgument)
	case e.PreferredID == 0:
		return RTPHeaderExtension{}, fmt.Errorf("missing preferredId: %w", ErrInvalidArgument)
	}
	if e.Direction == "" {
		e.Direction = RTPHeaderExtensionSendRecv
	}
	return e, nil
}

func normalizeHeaderExtensionParameters(e RTPHeaderExtensionParameters) (RTPHeaderExtensionParameters, error) {
	switch {
	case e.URI == "":
		return RTPHeaderExtensionParameters{}, fmt.Errorf("missing uri: %w", ErrInvalidArgument)
	case e.ID == 0:
		return RTPHeaderExtensionParameters{}, fmt.Errorf("missing id: %w", ErrInvalidArgument)
	}
	if err := validateParameters(e.Parameters); err != nil {
		return RTPHeaderExtensionParameters{}, err
	}
	e.Parameters = normalizeParameters(e.Parameters)
	return e, nil
}

func normalizeEncoding(e RTPEncodingParameters) (RTPEncodingParameters, error) {
	switch {
	case e.CodecPayloadType != nil && *e.CodecPayloadType > maxPayloadType:
		return RTPEncodingParameters{}, fmt.Errorf("codecPayloadType %d is above 127: %w", *e.CodecPayloadType, ErrInvalidArgument)
	case e.RTX != nil && e.RTX.SSRC == 0:
		return RTPEncodingParameters{}, fmt.Errorf("missing rtx.ssrc: %w", ErrInvalidArgument)
	case e.MaxBitrate < 0:
		return RTPEncodingParameters{}, fmt.Errorf("negative maxBitrate: %w", ErrInvalidArgument)
	}
	return e.clone(), nil
}

func validateParameters(p map[string]any) error {
	for key, value := range p {
		if _, ok := normalizeParameter(value); !ok {
			return fmt.Errorf("parameter %q is neither a string nor a number: %w", key, ErrInvalidArgument)
		}
	}
	return nil
}

// normalizeParameters returns a copy of valid p, never nil, whose values are a
// string, an int or a float64 that is no whole number.
func normalizeParameters(p map[string]any) map[string]any {
	n := make(map[string]any, len(p))
	for key, value := range p {
		n[key], _ = normalizeParameter(value)
	}
	return n
}

func normalizeParameter(value any) (any, bool) {
	switch v := value.(type) {
	case string, int:
		return v, true
	case float64:
		return normalizeNumber(v)
	case json.Number:
		f, err := v.Float64()
		if err != nil {
			return nil, false
		}
		return normalizeNumber(f)
	}
	switch v := reflect.ValueOf(value); {
	case v.Kind() == reflect.String:
		return v.String(), true
	case v.CanInt():
		return normalizeNumber(float64(v.Int()))
	case v.CanUint():
		return normalizeNumber(float64(v.Uint()))
	case v.CanFloat():
		return normalizeNumber(v.Float())
	}
	return nil, false
}

// normalizeNumber refuses NaN and the infinities, which have no JSON.
func normalizeNumber(f float64) (any, bool) {
	const exact = 1 << 53 // up to here a float64 holds every whole number
	switch {
	case math.IsNaN(f) || math.IsInf(f, 0):
		return nil, false
	case f == math.Trunc(f) && math.Abs(f) <= exact:
		return int(f), true
	}
	return f, true
}

// isRTX reports whether mimeType is that of a codec for retransmission.
func isRTX(mimeType string) bool {
	i := strings.LastIndexByte(mimeType, '/')
	return i > 0 && strings.EqualFold(mimeType[i:], "/rtx")
}
