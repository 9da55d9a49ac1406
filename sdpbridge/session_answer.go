package sdpbridge

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/mafalda-sfu/mafalda"
)

// Answer takes an offer of the peer and returns the answer. It connects the
// Transport and makes, keeps and closes Producers so that there is one for
// each m-section in which the peer sends something that the Router has a codec
// for; their RTP parameters have the MID. A Producer that the application
// closed stays closed until the peer stops sending in between. Consumers whose
// m-section the peer stopped are closed.
//
// The Producers of consume are sent to the peer in the m-sections in which it
// offers to receive, as far as the numbers agree (see the package comment):
// each takes the first free one where it fits, and for what fits nowhere there
// is no Consumer. RTPCapabilities and MID of the options are ignored. Nothing
// is paused for the sake of the peer, which asks for a key frame itself.
//
// Errors: [mafalda.ErrInvalidArgument] for an offer that is no good, and then
// nothing has changed; [mafalda.ErrInvalidState] while an offer of the Session
// waits for its answer, in which case the peer rolls back its own, and for a
// peer that changed its certificate; those of Transport.Produce.
func (s *Session) Answer(ctx context.Context, offer string, consume ...mafalda.ConsumerOptions) (answer string, err error) {
	const op = "Answer"
	if err := s.begin(ctx); err != nil {
		return "", s.wrap(op, err)
	}
	defer s.end()
	p, err := s.planAnswer(offer)
	if err != nil {
		return "", s.wrap(op, err)
	}
	if err := p.apply(ctx, consume); err != nil {
		return "", s.wrap(op, err)
	}
	answer, err = s.describe(s.transport.DTLSParameters().Role, p.bundle())
	return answer, s.wrap(op, err)
}

// A plan is what an offer makes of the sections of a Session.
type plan struct {
	s        *Session
	offer    *Description
	peer     peerTransport
	sections []*section
	produce  map[*section]mafalda.ProducerOptions // Producers to make
	replaced []mafalda.Producer                   // closed before
	dropped  []mafalda.Lifetime                   // closed after
	made     []mafalda.Lifetime                   // by apply, for the way back
}

// planAnswer checks an offer and changes nothing.
func (s *Session) planAnswer(text string) (*plan, error) {
	if err := s.live(); err != nil {
		return nil, err
	}
	if s.offered {
		return nil, fmt.Errorf("an offer waits for its answer: %w", mafalda.ErrInvalidState)
	}
	d, err := Parse(text)
	if err != nil {
		return nil, err
	}
	if len(d.Media) == 0 || len(d.Media) < len(s.sections) {
		return nil, invalid("%d m-sections after %d", len(d.Media), len(s.sections))
	}
	p := &plan{s: s, offer: d, produce: make(map[*section]mafalda.ProducerOptions)}
	router := s.router.RTPCapabilities()
	for i := range d.Media {
		x, err := p.planSection(i, router)
		if err != nil {
			return nil, fmt.Errorf("m-section %d: %w", i, err)
		}
		p.sections = append(p.sections, x)
	}
	if p.peer, err = transportOf(d, func(i int) bool { return !p.sections[i].rejected }); err != nil {
		return nil, err
	}
	if err := p.checkNumbers(); err != nil {
		return nil, err
	}
	if p.used() {
		err = s.checkPeer(p.peer)
	}
	return p, err
}

func (p *plan) planSection(i int, router mafalda.RTPCapabilities) (*section, error) {
	m := &p.offer.Media[i]
	x := &section{typ: m.Type, protocol: m.Protocol, formats: m.Formats, mid: m.MID}
	var old *section
	if i < len(p.s.sections) {
		old = p.s.sections[i]
		if !old.rejected && (m.Type != old.typ || m.MID != old.mid) {
			return nil, invalid("%s %q was %s %q", m.Type, m.MID, old.typ, old.mid)
		}
		if m.MID == old.mid {
			x.source, x.producer, x.consumer, x.own, x.resume = old.source, old.producer, old.consumer, old.own, old.resume
		}
	}
	if (old == nil || old.mid != m.MID) && slices.ContainsFunc(p.s.waiting, func(w *section) bool { return w.mid == m.MID }) {
		return nil, invalid("MID %q is taken", m.MID)
	}
	if m.isData() && p.s.transport.SCTPParameters() != nil && p.bundled(m) {
		x.data = true
		return x, nil
	}
	if old != nil && old.probator && m.MID == old.mid && p.usable(m) {
		return old, nil
	}
	source, codecs, ok := m.receive(router)
	if !ok && old != nil && !old.rejected {
		// A section of ours has the Consumer's codecs, whatever else the peer lists.
		codecs, ok = old.codecs, x.consumer != nil && !x.consumer.Closed()
	}
	if !p.usable(m) || !ok {
		x.rejected, x.codecs = true, m.Codecs
		p.drop(x, true, true)
		return x, nil
	}
	if !m.RTCPMux {
		return nil, invalid("rtcp-mux is missing")
	}
	simulcast := len(source.Encodings) > 1
	x.codecs, x.extensions = codecs, mirrored(m, router, simulcast)
	if simulcast {
		x.rids = m.RIDs
	}
	p.drop(x, !m.Direction.Sends() || len(source.Codecs) == 0, !m.Direction.Receives())
	if m.Direction.Sends() && len(source.Codecs) > 0 && (x.producer == nil || !sameSource(x.source, source)) {
		p.planProducer(x, m.Kind(), source)
	}
	return x, nil
}

// planProducer asks the application for a Producer in x.
func (p *plan) planProducer(x *section, kind mafalda.MediaKind, source mafalda.RTPParameters) {
	o := mafalda.ProducerOptions{Kind: kind, RTPParameters: source}
	if p.s.accept != nil {
		if !p.s.accept(&o) {
			p.drop(x, true, false)
			return
		}
		o.Kind, o.RTPParameters = kind, source
	}
	if x.producer != nil {
		p.replaced = append(p.replaced, x.producer)
	}
	x.producer, x.source = nil, source
	p.produce[x] = o
}

// drop lets go of what x has, after everything else went well.
func (p *plan) drop(x *section, producer, consumer bool) {
	if producer && x.producer != nil {
		p.dropped = append(p.dropped, x.producer)
		x.producer = nil
	}
	if consumer && x.consumer != nil {
		p.dropped = append(p.dropped, x.consumer)
		x.consumer = nil
	}
}

// usable reports whether we take part in a section of media at all.
func (p *plan) usable(m *Media) bool {
	return m.Kind() != "" && strings.Contains(m.Protocol, "TLS/RTP/SAVP") && p.bundled(m)
}

// bundled reports whether a section is in use and shares our transport.
func (p *plan) bundled(m *Media) bool {
	return !m.Rejected && (len(p.offer.Media) == 1 || m.MID != "" && slices.Contains(p.offer.Bundle, m.MID))
}

func (p *plan) used() bool {
	return slices.ContainsFunc(p.sections, func(x *section) bool { return !x.rejected })
}

// checkNumbers makes sure that no SSRC and no header-extension id has two
// meanings on the transport.
func (p *plan) checkNumbers() error {
	ssrcs := make(map[uint32]bool)
	uris := make(map[uint8]mafalda.RTPHeaderExtensionURI)
	for _, x := range p.sections {
		if _, isNew := p.produce[x]; !isNew && x.producer == nil {
			continue
		}
		for _, e := range x.source.Encodings {
			list := []uint32{e.SSRC}
			if e.RTX != nil {
				list = append(list, e.RTX.SSRC)
			}
			for _, ssrc := range list {
				if ssrc != 0 && ssrcs[ssrc] {
					return invalid("SSRC %d occurs twice", ssrc)
				}
				ssrcs[ssrc] = true
			}
		}
		for _, e := range x.source.HeaderExtensions {
			if uri, ok := uris[e.ID]; ok && uri != e.URI {
				return invalid("header extension id %d has two meanings", e.ID)
			}
			uris[e.ID] = e.URI
		}
	}
	return nil
}

// apply makes the plan real. After an error the Session is as before, but for
// replaced Producers, which are gone.
func (p *plan) apply(ctx context.Context, consume []mafalda.ConsumerOptions) error {
	s := p.s
	for _, r := range p.replaced {
		r.Close()
	}
	err := p.makeProducers(ctx)
	if err == nil {
		err = p.makeConsumers(ctx, consume)
	}
	if err == nil && p.used() {
		err = p.connect(ctx)
	}
	if err != nil {
		for _, c := range p.made {
			c.Close()
		}
		return err
	}
	for _, c := range p.dropped {
		c.Close()
	}
	s.sections = p.sections
	if !s.fixedCaps {
		s.caps = mergeCapabilities(s.caps, p.offer.capabilities(s.router.RTPCapabilities()))
	}
	if bundle := p.bundle(); len(bundle) > 0 {
		s.tag = bundle[0]
	}
	return nil
}

func (p *plan) makeProducers(ctx context.Context) error {
	for i, x := range p.sections {
		o, ok := p.produce[x]
		if !ok {
			continue
		}
		producer, err := p.s.transport.Produce(ctx, o)
		if err != nil {
			return fmt.Errorf("m-section %d: %w", i, err)
		}
		x.producer = producer
		p.made = append(p.made, producer)
	}
	return nil
}

// makeConsumers fills m-sections in which the peer offers to receive.
func (p *plan) makeConsumers(ctx context.Context, consume []mafalda.ConsumerOptions) error {
	router := p.s.router.RTPCapabilities()
	for _, o := range consume {
		for i, x := range p.sections {
			m := &p.offer.Media[i]
			if x.rejected || !m.Direction.Receives() || x.consumer != nil || x.probator {
				continue
			}
			o.RTPCapabilities, o.MID = m.sameNumbers(m.capabilities(router)), m.MID
			c, err := p.s.transport.Consume(ctx, o)
			if errors.Is(err, errors.ErrUnsupported) {
				continue // of another kind, or no codec under the same number
			}
			if err != nil {
				return err
			}
			x.consumer = c
			p.made = append(p.made, c)
			break
		}
	}
	return nil
}

// connect connects the transport, or restarts ICE if the peer did.
func (p *plan) connect(ctx context.Context) error {
	s := p.s
	if s.connected && p.peer.ice != s.peer.ice {
		if _, err := s.transport.RestartICE(ctx); err != nil {
			return err
		}
	}
	if p.peer.dtls.Role == "" {
		p.peer.dtls.Role = mafalda.DTLSRoleAuto
	}
	return s.connect(ctx, p.peer)
}

// bundle returns the BUNDLE group of the answer, nil if the offer has none.
func (p *plan) bundle() []string {
	if p.offer.Bundle == nil {
		return nil
	}
	group := []string{}
	for _, mid := range p.offer.Bundle {
		if slices.ContainsFunc(p.sections, func(x *section) bool { return !x.rejected && x.mid == mid }) && !slices.Contains(group, mid) {
			group = append(group, mid)
		}
	}
	return group
}

// mirrored returns the header extensions of an answer to m: those that the
// Router reads or writes under the same id, with the direction turned round.
func mirrored(m *Media, router mafalda.RTPCapabilities, simulcast bool) []HeaderExtension {
	var list []HeaderExtension
	for _, e := range m.HeaderExtensions {
		if !reads(router, m.Kind(), e.URI, simulcast) || e.Direction == Inactive {
			continue
		}
		if e.Direction != "" {
			e.Direction = directionOf(e.Direction.Receives(), e.Direction.Sends())
		}
		list = append(list, e)
	}
	return list
}

// sameSource reports whether a Producer made of a serves b too. The names that
// only receivers see can't be changed, so they don't count.
func sameSource(a, b mafalda.RTPParameters) bool {
	a.MSID, b.MSID = "", ""
	a.RTCP, b.RTCP = mafalda.RTCPParameters{}, mafalda.RTCPParameters{}
	return reflect.DeepEqual(a, b)
}

func sameFingerprint(a, b mafalda.DTLSFingerprint) bool {
	return a.Algorithm == b.Algorithm && strings.EqualFold(a.Value, b.Value)
}
