package mafalda

import (
	"maps"
	"strings"
)

// matchMode says how much of two codecs must agree.
type matchMode bool

const (
	matchLoose  matchMode = false // the same coding
	matchStrict matchMode = true  // and the same profile
)

// codecID is what a codec is recognised by.
type codecID struct {
	mimeType   string
	clockRate  uint32
	channels   uint8
	parameters map[string]any
}

func (c RTPCodecCapability) codecID() codecID {
	return codecID{c.MIMEType, c.ClockRate, c.Channels, c.Parameters}
}

func (c RouterRTPCodecCapability) codecID() codecID {
	return codecID{c.MIMEType, c.ClockRate, c.Channels, c.Parameters}
}

func (c RTPCodecParameters) codecID() codecID {
	return codecID{c.MIMEType, c.ClockRate, c.Channels, c.Parameters}
}

// matchCodecs reports whether a and b are the same codec.
func matchCodecs(a, b codecID, mode matchMode) bool {
	if !strings.EqualFold(a.mimeType, b.mimeType) || a.clockRate != b.clockRate || a.channels != b.channels {
		return false
	}
	switch strings.ToLower(a.mimeType) {
	case "audio/multiopus":
		return sameParameter(a, b, "num_streams") && sameParameter(a, b, "coupled_streams")
	case "video/h264":
		if mode == matchLoose {
			return true
		}
		if !sameOrZeroParameter(a, b, "packetization-mode") {
			return false
		}
		_, ok := h264Answer(a.parameters, b.parameters)
		return ok
	case "video/vp9":
		return mode == matchLoose || sameOrZeroParameter(a, b, "profile-id")
	}
	return true
}

// negotiated returns the parameters of a, which matches b: a copy with the
// profile-level-id that both agree on if the codec is H264.
func negotiated(a, b codecID) map[string]any {
	parameters := maps.Clone(a.parameters)
	if !strings.EqualFold(a.mimeType, "video/h264") {
		return parameters
	}
	answer, ok := h264Answer(a.parameters, b.parameters)
	switch {
	case !ok: // they don't match
	case answer == "":
		delete(parameters, "profile-level-id")
	case parameters == nil:
		parameters = map[string]any{"profile-level-id": answer}
	default:
		parameters["profile-level-id"] = answer
	}
	return parameters
}

// sameParameter reports whether both have the same value, of the same type, or none.
func sameParameter(a, b codecID, key string) bool {
	x, _ := normalizeParameter(a.parameters[key])
	y, _ := normalizeParameter(b.parameters[key])
	return x == y
}

// sameOrZeroParameter is like sameParameter, but a missing or empty value counts as 0.
func sameOrZeroParameter(a, b codecID, key string) bool {
	return parameterOrZero(a.parameters[key]) == parameterOrZero(b.parameters[key])
}

func parameterOrZero(value any) any {
	v, ok := normalizeParameter(value)
	if !ok || v == "" {
		return 0
	}
	return v
}

// aptOf returns the payload type that an RTX codec belongs to; -1 if there is none.
func aptOf(parameters map[string]any) int {
	v, _ := normalizeParameter(parameters["apt"])
	if apt, ok := v.(int); ok {
		return apt
	}
	return -1
}
