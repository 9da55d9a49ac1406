package harness

import (
	"fmt"
	"slices"

	"github.com/mafalda-sfu/mafalda"
)

// Payload types of the senders.
const (
	payloadVideo = 96
	payloadRTX   = 97
	payloadAudio = 111
)

// sending are the parameters of a browser's camera or microphone; index tells
// its SSRCs from those of others.
func sending(index int, t *Track) mafalda.RTPParameters {
	ssrc := uint32(10_000_000 + 100*index)
	p := mafalda.RTPParameters{
		MID:  fmt.Sprint(index),
		RTCP: mafalda.RTCPParameters{CNAME: fmt.Sprint("sender", t.Peer), ReducedSize: true},
		HeaderExtensions: []mafalda.RTPHeaderExtensionParameters{
			{URI: mafalda.RTPHeaderExtensionAbsSendTime, ID: 2},
			{URI: mafalda.RTPHeaderExtensionTransportWideCC, ID: 3},
			{URI: mafalda.RTPHeaderExtensionMID, ID: 4},
		},
	}
	if t.Audio {
		p.Codecs = []mafalda.RTPCodecParameters{{
			MIMEType: "audio/opus", PayloadType: payloadAudio, ClockRate: audioClock, Channels: 2,
			RTCPFeedback: []mafalda.RTCPFeedback{{Type: "transport-cc"}},
		}}
		p.Encodings = []mafalda.RTPEncodingParameters{{SSRC: ssrc}}
		return p
	}
	p.Codecs = []mafalda.RTPCodecParameters{
		{
			MIMEType: "video/VP8", PayloadType: payloadVideo, ClockRate: videoClock,
			RTCPFeedback: []mafalda.RTCPFeedback{
				{Type: "goog-remb"}, {Type: "transport-cc"}, {Type: "ccm", Parameter: "fir"},
				{Type: "nack"}, {Type: "nack", Parameter: "pli"},
			},
		},
		{MIMEType: "video/rtx", PayloadType: payloadRTX, ClockRate: videoClock, Parameters: map[string]any{"apt": payloadVideo}},
	}
	for i := range t.Layers {
		s := ssrc + uint32(2*i)
		p.Encodings = append(p.Encodings, mafalda.RTPEncodingParameters{SSRC: s, RTX: &mafalda.RTXParameters{SSRC: s + 1}})
	}
	return p
}

// receiving are the capabilities of a browser for what a Router has.
func receiving(c mafalda.RTPCapabilities) mafalda.RTPCapabilities {
	known := []mafalda.RTPHeaderExtensionURI{
		mafalda.RTPHeaderExtensionMID, mafalda.RTPHeaderExtensionRTPStreamID, mafalda.RTPHeaderExtensionRepairedRTPStreamID,
		mafalda.RTPHeaderExtensionAbsSendTime, mafalda.RTPHeaderExtensionTransportWideCC,
		mafalda.RTPHeaderExtensionDependencyDescriptor, mafalda.RTPHeaderExtensionVideoOrientation,
		mafalda.RTPHeaderExtensionTimeOffset, mafalda.RTPHeaderExtensionPlayoutDelay,
	}
	c.HeaderExtensions = slices.DeleteFunc(c.HeaderExtensions, func(e mafalda.RTPHeaderExtension) bool {
		return !slices.Contains(known, e.URI)
	})
	return c
}

func infoOf(p mafalda.RTPParameters) streamInfo {
	id := func(uri mafalda.RTPHeaderExtensionURI) uint8 {
		for _, e := range p.HeaderExtensions {
			if e.URI == uri {
				return e.ID
			}
		}
		return 0
	}
	return streamInfo{
		SSRC: p.Encodings[0].SSRC, PayloadType: p.Codecs[0].PayloadType, MID: p.MID,
		MIDExtension:         id(mafalda.RTPHeaderExtensionMID),
		AbsSendTimeExtension: id(mafalda.RTPHeaderExtensionAbsSendTime),
		WideExtension:        id(mafalda.RTPHeaderExtensionTransportWideCC),
	}
}
