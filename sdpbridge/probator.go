package sdpbridge

import (
	"slices"

	"github.com/mafalda-sfu/mafalda"
)

// How a Router sends the packets by which it measures how much more the peer
// could be sent (media-plane §5.14). They are a stream of their own.
const (
	probatorMID         = "probator"
	probatorSSRC        = 1234
	probatorPayloadType = 127
)

// offerProbator adds an m-section for the probation packets to those that wait
// to be offered, if one is wanted and missing.
func (s *Session) offerProbator() {
	if !s.probator || s.noProbator {
		return
	}
	var like mafalda.Consumer // whose codec and header extensions it takes
	for _, x := range slices.Concat(s.sections, s.waiting) {
		if x.rejected {
			continue
		}
		if x.mid == probatorMID || slices.ContainsFunc(x.codecs, func(c mafalda.RTPCodecParameters) bool {
			return c.PayloadType == probatorPayloadType
		}) {
			return // it is there, or its numbers mean something else
		}
		if !x.sends() {
			continue
		}
		p := x.consumer.RTPParameters()
		if slices.ContainsFunc(p.Codecs, func(c mafalda.RTPCodecParameters) bool { return c.PayloadType == probatorPayloadType }) {
			return
		}
		if like == nil && x.consumer.Kind() == mafalda.MediaKindVideo && reportsBandwidth(p) {
			like = x.consumer
		}
	}
	if like == nil {
		return
	}
	p := like.RTPParameters()
	codec := p.Codecs[0]
	codec.PayloadType = probatorPayloadType
	m := NewMedia(mafalda.MediaKindVideo, p)
	s.waiting = append(s.waiting, &section{
		typ: m.Type, protocol: m.Protocol, mid: probatorMID, own: true, probator: true,
		codecs: []mafalda.RTPCodecParameters{codec}, extensions: m.HeaderExtensions,
	})
}

// reportsBandwidth reports whether the packets of a Consumer have what the peer
// needs to tell how they arrive.
func reportsBandwidth(p mafalda.RTPParameters) bool {
	return slices.ContainsFunc(p.HeaderExtensions, func(e mafalda.RTPHeaderExtensionParameters) bool {
		return e.URI == mafalda.RTPHeaderExtensionTransportWideCC || e.URI == mafalda.RTPHeaderExtensionAbsSendTime
	})
}

// probatorMedia returns the m-section for probation packets.
func (s *section) probatorMedia() Media {
	return Media{
		Type: s.typ, Protocol: s.protocol, MID: s.mid, Direction: SendOnly, RTCPMux: true,
		Codecs: s.codecs, HeaderExtensions: s.extensions,
		Encodings: []mafalda.RTPEncodingParameters{{SSRC: probatorSSRC}},
		MSID:      "- " + probatorMID, CNAME: probatorMID,
	}
}
