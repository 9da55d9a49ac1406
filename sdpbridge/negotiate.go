package sdpbridge

import (
	"cmp"
	"slices"
	"strings"

	"github.com/mafalda-sfu/mafalda"
)

// ParseRTPCapabilities returns what the writer of an offer is able to receive
// from a Router with the given capabilities, for [mafalda.ConsumerOptions]: the
// codecs and header extensions that both have, with the Router's numbers. A
// peer that only receives can send an offer that it never applies. Error:
// [mafalda.ErrInvalidArgument] for an offer that is no good.
func ParseRTPCapabilities(text string, router mafalda.RTPCapabilities) (mafalda.RTPCapabilities, error) {
	d, err := Parse(text)
	if err != nil {
		return mafalda.RTPCapabilities{}, err
	}
	return d.capabilities(router), nil
}

func (d *Description) capabilities(router mafalda.RTPCapabilities) mafalda.RTPCapabilities {
	var caps mafalda.RTPCapabilities
	for i := range d.Media {
		if m := &d.Media[i]; !m.Rejected && m.Direction.Receives() {
			caps = mergeCapabilities(caps, m.capabilities(router))
		}
	}
	return caps
}

// capabilities returns what can be received in the section, with the Router's
// numbers. Neither list is nil.
func (m *Media) capabilities(router mafalda.RTPCapabilities) mafalda.RTPCapabilities {
	caps := mafalda.RTPCapabilities{Codecs: []mafalda.RTPCodecCapability{}, HeaderExtensions: []mafalda.RTPHeaderExtension{}}
	for _, p := range m.pairs(router) {
		c := p.router
		c.Parameters = p.peer.Parameters
		c.RTCPFeedback = p.feedback()
		if slices.ContainsFunc(caps.Codecs, func(x mafalda.RTPCodecCapability) bool {
			return x.PreferredPayloadType == c.PreferredPayloadType
		}) {
			continue
		}
		caps.Codecs = append(caps.Codecs, c)
		if p.rtx {
			caps.Codecs = append(caps.Codecs, p.routerRTX)
		}
	}
	for _, e := range router.HeaderExtensions {
		if e.Kind == m.Kind() && slices.ContainsFunc(m.HeaderExtensions, func(x HeaderExtension) bool {
			return x.URI == e.URI && (x.Direction == "" || x.Direction.Receives())
		}) {
			caps.HeaderExtensions = append(caps.HeaderExtensions, e)
		}
	}
	return caps
}

// mergeCapabilities returns a with what b has more.
func mergeCapabilities(a, b mafalda.RTPCapabilities) mafalda.RTPCapabilities {
	for _, c := range b.Codecs {
		if !slices.ContainsFunc(a.Codecs, func(x mafalda.RTPCodecCapability) bool {
			return x.PreferredPayloadType == c.PreferredPayloadType
		}) {
			a.Codecs = append(a.Codecs, c)
		}
	}
	for _, e := range b.HeaderExtensions {
		if !slices.ContainsFunc(a.HeaderExtensions, func(x mafalda.RTPHeaderExtension) bool {
			return x.URI == e.URI && x.Kind == e.Kind
		}) {
			a.HeaderExtensions = append(a.HeaderExtensions, e)
		}
	}
	return a
}

// A pair is a media codec that the peer and the Router both have.
type pair struct {
	peer      mafalda.RTPCodecParameters // normalised, with the H264 profile agreed on
	router    mafalda.RTPCodecCapability
	rank      int // position among the Router's codecs
	rtx       bool
	peerRTX   mafalda.RTPCodecParameters // if rtx
	routerRTX mafalda.RTPCodecCapability // if rtx
}

// feedback returns what both want of RTCP feedback.
func (p *pair) feedback() []mafalda.RTCPFeedback {
	both := []mafalda.RTCPFeedback{}
	for _, f := range p.router.RTCPFeedback {
		if slices.Contains(p.peer.RTCPFeedback, f) {
			both = append(both, f)
		}
	}
	return both
}

// pairs returns the codecs of the section that the Router has too, in the
// order of the section.
func (m *Media) pairs(router mafalda.RTPCapabilities) []pair {
	var list []pair
	for _, c := range m.Codecs {
		if isRTX(c) {
			continue
		}
		one, err := mafalda.ValidateAndNormalizeRTPParameters(mafalda.RTPParameters{Codecs: []mafalda.RTPCodecParameters{c}})
		if err != nil {
			continue
		}
		one, mapping, err := mafalda.ProducerRTPParametersMapping(one, router)
		if err != nil {
			continue
		}
		p := pair{peer: one.Codecs[0]}
		p.rank = slices.IndexFunc(router.Codecs, func(r mafalda.RTPCodecCapability) bool {
			return r.PreferredPayloadType == mapping.Codecs[0].MappedPayloadType
		})
		if p.rank < 0 {
			continue
		}
		p.router = router.Codecs[p.rank]
		i := slices.IndexFunc(m.Codecs, func(x mafalda.RTPCodecParameters) bool {
			return isRTX(x) && aptOf(x) == int(c.PayloadType) && x.ClockRate == c.ClockRate
		})
		j := slices.IndexFunc(router.Codecs, func(x mafalda.RTPCodecCapability) bool {
			return isRTX(mafalda.RTPCodecParameters{MIMEType: x.MIMEType}) && x.Parameters["apt"] == int(p.router.PreferredPayloadType)
		})
		if i >= 0 && j >= 0 {
			p.rtx, p.peerRTX, p.routerRTX = true, m.Codecs[i], router.Codecs[j]
		}
		list = append(list, p)
	}
	return list
}

// receive returns what a Producer of the section gets, if the Router has a
// codec for it: the Router's first codec with its retransmission, and the header
// extensions that the Router reads. answer has the codecs with the Router's
// own format parameters, by which an application tells encoders what it wants.
func (m *Media) receive(router mafalda.RTPCapabilities) (p mafalda.RTPParameters, answer []mafalda.RTPCodecParameters, ok bool) {
	var best *pair
	list := m.pairs(router)
	for i := range list {
		if !isAuxiliary(list[i].peer) && (best == nil || list[i].rank < best.rank) {
			best = &list[i]
		}
	}
	if best == nil {
		return p, nil, false
	}
	p = m.RTPParameters()
	media := best.peer
	simulcast := m.simulcasts(media)
	if simulcast {
		p.Encodings = nil
		for _, rid := range m.RIDs {
			p.Encodings = append(p.Encodings, mafalda.RTPEncodingParameters{RID: rid})
		}
	}
	media.RTCPFeedback = best.feedback()
	p.Codecs = []mafalda.RTPCodecParameters{media}
	e := &p.Encodings[0]
	if best.rtx && (e.SSRC == 0 || e.RTX != nil) {
		rtx := best.peerRTX
		rtx.RTCPFeedback = []mafalda.RTCPFeedback{}
		p.Codecs = append(p.Codecs, rtx)
	} else {
		e.RTX = nil
	}
	p.HeaderExtensions = slices.DeleteFunc(p.HeaderExtensions, func(x mafalda.RTPHeaderExtensionParameters) bool {
		return !reads(router, m.Kind(), x.URI, simulcast)
	})
	// Some endpoints list them in another order each time.
	slices.SortFunc(p.HeaderExtensions, func(a, b mafalda.RTPHeaderExtensionParameters) int { return cmp.Compare(a.ID, b.ID) })
	answer = slices.Clone(p.Codecs)
	answer[0].Parameters = preferred(media, best.router)
	return p, answer, true
}

// isAuxiliary reports whether a codec only comes beside a real one.
func isAuxiliary(c mafalda.RTPCodecParameters) bool {
	switch strings.ToLower(c.MIMEType) {
	case "audio/cn", "audio/telephone-event":
		return true
	}
	return false
}

// simulcasts reports whether the section has simulcast that a Producer of codec
// c can have: several streams, told from each other by their RIDs.
func (m *Media) simulcasts(c mafalda.RTPCodecParameters) bool {
	switch strings.ToLower(c.MIMEType) {
	case "video/vp8", "video/h264":
	default:
		return false
	}
	return len(m.RIDs) > 1 && slices.ContainsFunc(m.HeaderExtensions, func(e HeaderExtension) bool {
		return e.URI == mafalda.RTPHeaderExtensionRTPStreamID && (e.Direction == "" || e.Direction.Sends())
	})
}

// reads reports whether a Router takes note of a header extension that it
// receives. RIDs are none of its business where there is no simulcast.
func reads(router mafalda.RTPCapabilities, kind mafalda.MediaKind, uri mafalda.RTPHeaderExtensionURI, simulcast bool) bool {
	switch uri {
	case mafalda.RTPHeaderExtensionRTPStreamID, mafalda.RTPHeaderExtensionRepairedRTPStreamID:
		if !simulcast {
			return false
		}
	}
	return slices.ContainsFunc(router.HeaderExtensions, func(e mafalda.RTPHeaderExtension) bool {
		return e.Kind == kind && e.URI == uri &&
			(e.Direction == mafalda.RTPHeaderExtensionSendRecv || e.Direction == mafalda.RTPHeaderExtensionRecvOnly)
	})
}

// preferred returns the format parameters for the peer's encoder: its own with
// those that the application gave the Router.
func preferred(c mafalda.RTPCodecParameters, router mafalda.RTPCodecCapability) map[string]any {
	out := make(map[string]any, len(c.Parameters)+len(router.Parameters))
	for k, v := range c.Parameters {
		out[k] = v
	}
	for k, v := range router.Parameters {
		if k != "profile-level-id" {
			out[k] = v
		}
	}
	return out
}

// sameNumbers returns caps without the codecs and header extensions that m has
// under other numbers than the Router: what can be sent in a section of the
// peer's own offer.
func (m *Media) sameNumbers(caps mafalda.RTPCapabilities) mafalda.RTPCapabilities {
	out := mafalda.RTPCapabilities{Codecs: []mafalda.RTPCodecCapability{}, HeaderExtensions: []mafalda.RTPHeaderExtension{}}
	for _, c := range caps.Codecs {
		if slices.ContainsFunc(m.Codecs, func(x mafalda.RTPCodecParameters) bool {
			return x.PayloadType == c.PreferredPayloadType && strings.EqualFold(x.MIMEType, c.MIMEType) &&
				x.ClockRate == c.ClockRate && x.Parameters["apt"] == c.Parameters["apt"]
		}) {
			out.Codecs = append(out.Codecs, c)
		}
	}
	for _, e := range caps.HeaderExtensions {
		if slices.ContainsFunc(m.HeaderExtensions, func(x HeaderExtension) bool { return x.ID == e.PreferredID && x.URI == e.URI }) {
			out.HeaderExtensions = append(out.HeaderExtensions, e)
		}
	}
	return out
}
