package mafalda

import (
	"maps"
	"slices"
)

// The clones are deep and keep the difference between nil and empty.

func (c RTPCapabilities) clone() RTPCapabilities {
	c.Codecs = cloneAll(c.Codecs, RTPCodecCapability.clone)
	c.HeaderExtensions = slices.Clone(c.HeaderExtensions)
	return c
}

func (c RTPCodecCapability) clone() RTPCodecCapability {
	c.Parameters = maps.Clone(c.Parameters)
	c.RTCPFeedback = slices.Clone(c.RTCPFeedback)
	return c
}

func (c RouterRTPCapabilities) clone() RouterRTPCapabilities {
	c.Codecs = cloneAll(c.Codecs, RouterRTPCodecCapability.clone)
	c.HeaderExtensions = slices.Clone(c.HeaderExtensions)
	return c
}

func (c RouterRTPCodecCapability) clone() RouterRTPCodecCapability {
	c.PreferredPayloadType = clonePointer(c.PreferredPayloadType)
	c.Parameters = maps.Clone(c.Parameters)
	c.RTCPFeedback = slices.Clone(c.RTCPFeedback)
	return c
}

func (p RTPParameters) clone() RTPParameters {
	p.Codecs = cloneAll(p.Codecs, RTPCodecParameters.clone)
	p.HeaderExtensions = cloneAll(p.HeaderExtensions, RTPHeaderExtensionParameters.clone)
	p.Encodings = cloneAll(p.Encodings, RTPEncodingParameters.clone)
	return p
}

func (c RTPCodecParameters) clone() RTPCodecParameters {
	c.Parameters = maps.Clone(c.Parameters)
	c.RTCPFeedback = slices.Clone(c.RTCPFeedback)
	return c
}

func (e RTPHeaderExtensionParameters) clone() RTPHeaderExtensionParameters {
	e.Parameters = maps.Clone(e.Parameters)
	return e
}

func (e RTPEncodingParameters) clone() RTPEncodingParameters {
	e.CodecPayloadType = clonePointer(e.CodecPayloadType)
	e.RTX = clonePointer(e.RTX)
	return e
}

func cloneAll[T any](list []T, clone func(T) T) []T {
	if list == nil {
		return nil
	}
	out := make([]T, len(list))
	for i, v := range list {
		out[i] = clone(v)
	}
	return out
}

func clonePointer[T any](p *T) *T {
	if p == nil {
		return nil
	}
	return new(*p)
}
