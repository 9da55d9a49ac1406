package vertical

import (
	"maps"
	"slices"

	"github.com/mafalda-sfu/mafalda"
)

// The clones are deep and keep the difference between nil and empty.

func cloneCodecs(codecs []mafalda.RouterRTPCodecCapability) []mafalda.RouterRTPCodecCapability {
	codecs = slices.Clone(codecs)
	for i := range codecs {
		c := &codecs[i]
		if c.PreferredPayloadType != nil {
			c.PreferredPayloadType = new(*c.PreferredPayloadType)
		}
		c.Parameters = maps.Clone(c.Parameters)
		c.RTCPFeedback = slices.Clone(c.RTCPFeedback)
	}
	return codecs
}

func cloneCapabilities(c mafalda.RTPCapabilities) mafalda.RTPCapabilities {
	c.Codecs = slices.Clone(c.Codecs)
	for i := range c.Codecs {
		c.Codecs[i].Parameters = maps.Clone(c.Codecs[i].Parameters)
		c.Codecs[i].RTCPFeedback = slices.Clone(c.Codecs[i].RTCPFeedback)
	}
	c.HeaderExtensions = slices.Clone(c.HeaderExtensions)
	return c
}
