package sdpbridge

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/mafalda-sfu/mafalda"
)

// Offer returns an offer with all Consumers made by [Session.Consume]. Each
// has an m-section whose MID is that of its RTP parameters, and as id of the
// track the id of the Consumer; the media stream is the one the Producer named,
// or that of the sender's CNAME. The m-section of a closed Consumer is rejected
// and later used again, except for the one that the transport hangs on, which
// becomes inactive. If the Transport has SCTP there is an m-section for data
// channels too, unless the peer rejected it.
//
// Errors: [mafalda.ErrInvalidState] while an earlier offer waits for its
// answer, or when there never was anything to offer; [mafalda.ErrClosed].
func (s *Session) Offer(ctx context.Context) (offer string, err error) {
	const op = "Offer"
	if err := s.begin(ctx); err != nil {
		return "", s.wrap(op, err)
	}
	defer s.end()
	if err := s.live(); err != nil {
		return "", s.wrap(op, err)
	}
	if s.offered {
		return "", s.wrap(op, fmt.Errorf("an offer waits for its answer: %w", mafalda.ErrInvalidState))
	}
	s.waiting = slices.DeleteFunc(s.waiting, func(w *section) bool { return !w.sends() })
	if s.wantsData() {
		s.waiting = append(s.waiting, &section{
			typ: dataType, protocol: dataProtocol, formats: []string{dataFormat}, mid: s.newMID(), own: true, data: true,
		})
	}
	s.offerProbator()
	if len(s.sections) == 0 && len(s.waiting) == 0 {
		return "", s.wrap(op, fmt.Errorf("nothing to offer: %w", mafalda.ErrInvalidState))
	}
	s.arrange()
	offer, err = s.describe(mafalda.DTLSRoleAuto, s.group())
	if err != nil {
		return "", s.wrap(op, err)
	}
	s.offered = true
	return offer, nil
}

// arrange gives every waiting Consumer an m-line and rejects the ones without use.
func (s *Session) arrange() {
	var free []int // m-lines that are rejected on both sides
	for i, x := range s.sections {
		switch {
		case x.rejected:
			free = append(free, i)
		case x.own && !x.data && !x.probator && x.mid != s.tag && !x.sends() && !x.receives():
			s.sections[i] = x.reject()
		}
	}
	for _, w := range s.waiting {
		j := slices.IndexFunc(free, func(i int) bool { return s.sections[i].typ == w.typ })
		if j < 0 {
			s.sections = append(s.sections, w)
			continue
		}
		s.sections[free[j]] = w
		free = slices.Delete(free, j, j+1)
	}
	s.waiting = nil
	if !slices.ContainsFunc(s.sections, func(x *section) bool { return x.mid == s.tag && !x.rejected }) {
		s.tag = ""
	}
	for _, x := range s.sections {
		if s.tag == "" && !x.rejected {
			s.tag = x.mid
		}
	}
}

// reject returns the section as it is when nobody uses it.
func (s *section) reject() *section {
	return &section{typ: s.typ, protocol: s.protocol, formats: s.formats, mid: s.mid, rejected: true, codecs: s.media().Codecs}
}

// group returns the BUNDLE group of an offer: the tagged section first.
func (s *Session) group() []string {
	group := []string{}
	for _, x := range s.sections {
		switch {
		case x.rejected:
		case x.mid == s.tag:
			group = slices.Insert(group, 0, x.mid)
		default:
			group = append(group, x.mid)
		}
	}
	return group
}

// SetAnswer takes the peer's answer to the last offer. It connects the
// Transport, closes the Consumers and Producers of the m-sections that the peer
// rejected and starts the other Consumers.
//
// Errors: [mafalda.ErrInvalidArgument] for an answer that is no good, and then
// nothing has changed and the offer still waits; [mafalda.ErrInvalidState]
// without an offer, and for a peer that changed its certificate.
func (s *Session) SetAnswer(ctx context.Context, answer string) error {
	const op = "SetAnswer"
	if err := s.begin(ctx); err != nil {
		return s.wrap(op, err)
	}
	defer s.end()
	if err := s.live(); err != nil {
		return s.wrap(op, err)
	}
	if !s.offered {
		return s.wrap(op, fmt.Errorf("no offer waits for an answer: %w", mafalda.ErrInvalidState))
	}
	d, err := Parse(answer)
	if err != nil {
		return s.wrap(op, err)
	}
	accepted, err := s.checkAnswer(d)
	if err != nil {
		return s.wrap(op, err)
	}
	peer, err := transportOf(d, func(i int) bool { return accepted[i] })
	if err != nil {
		return s.wrap(op, err)
	}
	if slices.Contains(accepted, true) {
		if !s.connected && peer.dtls.Role != mafalda.DTLSRoleClient && peer.dtls.Role != mafalda.DTLSRoleServer {
			return s.wrap(op, invalid("setup is neither active nor passive"))
		}
		if err := s.checkPeer(peer); err != nil {
			return s.wrap(op, err)
		}
		if err := s.connect(ctx, peer); err != nil {
			return s.wrap(op, err)
		}
	}
	s.offered = false
	return s.wrap(op, s.settle(ctx, d, accepted))
}

// checkAnswer tells which m-sections the peer takes part in.
func (s *Session) checkAnswer(d *Description) ([]bool, error) {
	if len(d.Media) != len(s.sections) {
		return nil, invalid("%d m-sections in answer to %d", len(d.Media), len(s.sections))
	}
	accepted := make([]bool, len(d.Media))
	for i := range d.Media {
		m, x := &d.Media[i], s.sections[i]
		if x.rejected || m.Rejected {
			continue
		}
		if m.MID != x.mid || m.Type != x.typ {
			return nil, invalid("m-section %d: %s %q in answer to %s %q", i, m.Type, m.MID, x.typ, x.mid)
		}
		if !m.RTCPMux && !x.data {
			return nil, invalid("m-section %d: rtcp-mux is missing", i)
		}
		accepted[i] = (len(d.Media) == 1 || slices.Contains(d.Bundle, m.MID)) && (!x.data || m.isData())
	}
	return accepted, nil
}

// settle makes the sections what the answer says.
func (s *Session) settle(ctx context.Context, d *Description, accepted []bool) error {
	for i, x := range s.sections {
		m := &d.Media[i]
		if c := x.consumer; c != nil && !(accepted[i] && m.Direction.Receives() && m.takes(c)) {
			c.Close()
		}
		if p := x.producer; p != nil && !(accepted[i] && m.Direction.Sends()) {
			p.Close()
			x.producer = nil
		}
		if !x.rejected && !accepted[i] {
			s.noData, s.noProbator = s.noData || x.data, s.noProbator || x.probator
			s.sections[i] = x.reject()
		}
	}
	for _, x := range s.sections {
		if !x.sends() || !x.resume {
			continue
		}
		x.resume = false
		if err := x.consumer.Resume(ctx); err != nil && !x.consumer.Closed() {
			return err
		}
	}
	return nil
}

// takes reports whether the answer has the Consumer's first codec.
func (m *Media) takes(c mafalda.Consumer) bool {
	first := c.RTPParameters().Codecs[0]
	return slices.ContainsFunc(m.Codecs, func(x mafalda.RTPCodecParameters) bool {
		return x.PayloadType == first.PayloadType && strings.EqualFold(x.MIMEType, first.MIMEType)
	})
}

// msidOf returns the ids of the media stream and the track of a Consumer.
func msidOf(id string, p mafalda.RTPParameters) string {
	stream := "-"
	if words := strings.Fields(p.MSID); len(words) > 0 && words[0] != "-" {
		stream = words[0]
	} else if p.RTCP.CNAME != "" {
		stream = p.RTCP.CNAME
	}
	if !isName(stream, maxTokenLen) {
		stream = "-"
	}
	return stream + " " + id
}

// oneFingerprint returns the fingerprint that every peer understands, since
// some take one only.
func oneFingerprint(p mafalda.DTLSParameters) []mafalda.DTLSFingerprint {
	for _, f := range p.Fingerprints {
		if f.Algorithm == mafalda.FingerprintSHA256 {
			return []mafalda.DTLSFingerprint{f}
		}
	}
	return p.Fingerprints[:min(1, len(p.Fingerprints))]
}

// sameCodec reports whether a payload type that stands for x may stand for c.
func sameCodec(x mafalda.RTPCodecParameters, c mafalda.RTPCodecCapability) bool {
	return strings.EqualFold(x.MIMEType, c.MIMEType) && x.ClockRate == c.ClockRate &&
		aptOf(x) == aptOf(mafalda.RTPCodecParameters{Parameters: c.Parameters})
}
