package sdpbridge

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"

	"github.com/mafalda-sfu/mafalda"
)

// Options are the options of [NewSession].
type Options struct {
	// Router is the Router of Transport. Required.
	Router mafalda.Router
	// Transport is the Transport that the peer gets for itself. The Session
	// connects it. Required.
	Transport mafalda.WebRTCTransport
	// RTPCapabilities are what the peer can receive, as [ParseRTPCapabilities]
	// returns it. Without codecs it is what the peer's offers say, and as long as
	// it made none everything the Router has.
	RTPCapabilities mafalda.RTPCapabilities
	// Accept is asked before each Producer is made and may change its options,
	// but for kind and RTP parameters. What it refuses is answered so that the
	// peer does not send it. It must not call the Session. nil accepts all.
	Accept func(*mafalda.ProducerOptions) bool
	// Probator adds an m-section with the MID «probator» to offers with video,
	// for the packets by which the Transport measures how much more the peer
	// could be sent. Firefox needs it to tell how they arrive, and without that
	// the quality rises slowly; Chromium does not. The peer gets a track of no
	// media stream for it, which the application has to ignore.
	Probator bool
}

// A Session negotiates one PeerConnection of a peer over one WebRTCTransport.
// It ends when the Transport is closed, which is up to the application: a peer
// has gone when the ICE state of the Transport is disconnected or its DTLS state
// is closed or failed.
//
// Its methods may be called by many goroutines at a time, and wait for each
// other; a listener that is called meanwhile must not call them.
type Session struct {
	// Constant after NewSession.
	router    mafalda.Router
	transport mafalda.WebRTCTransport
	accept    func(*mafalda.ProducerOptions) bool
	probator  bool
	id        uint64

	turn chan struct{} // holds a value while a method runs

	// Owned by the method that runs.
	version   uint64                  // of the next description of ours
	sections  []*section              // m-lines in order
	waiting   []*section              // Consumers that no offer has yet
	caps      mafalda.RTPCapabilities // of the peer, with the Router's numbers
	fixedCaps bool                    // caps were given, offers don't add to them
	offered   bool                    // an offer of ours waits for its answer
	tag       string                  // MID of the section that stands for the transport
	connected bool                    // Transport.Connect succeeded
	peer      peerTransport           // if connected
	described string                  // username fragment of our last description
	lastMID   int
	noData    bool // the peer wants no data channels
	// noProbator: the peer wants no m-section for probation packets.
	noProbator bool
}

// A section is one m-line, with the media that flows in it.
type section struct {
	typ, protocol string
	formats       []string // of the peer
	mid           string
	rejected      bool
	own           bool      // made by Consume or Offer
	data          bool      // has data channels
	probator      bool      // has probation packets
	said          Direction // what our last description said

	// Of a section that the peer offered: what we accept there, in its numbers.
	// Of a rejected section: what was offered.
	codecs     []mafalda.RTPCodecParameters
	extensions []HeaderExtension
	rids       []string // of simulcast

	source   mafalda.RTPParameters // what producer was made of
	producer mafalda.Producer      // nil if the peer does not send
	consumer mafalda.Consumer      // nil if we do not send
	resume   bool                  // consumer starts when the peer is ready
}

func (s *section) sends() bool    { return s.consumer != nil && !s.consumer.Closed() }
func (s *section) receives() bool { return s.producer != nil && !s.producer.Closed() }

// direction is which way media flows in a section that is not rejected.
func (s *section) direction() Direction { return directionOf(s.sends() || s.probator, s.receives()) }

// peerTransport is what a description of the peer says of its transport.
type peerTransport struct {
	ice  mafalda.ICEParameters
	dtls mafalda.DTLSParameters
}

// NewSession returns a Session for a Transport that is not connected yet.
// Error: [mafalda.ErrInvalidArgument].
func NewSession(o Options) (*Session, error) {
	if o.Router == nil || o.Transport == nil {
		return nil, fmt.Errorf("sdpbridge.NewSession: Router or Transport is missing: %w", mafalda.ErrInvalidArgument)
	}
	return &Session{
		router:    o.Router,
		transport: o.Transport,
		accept:    o.Accept,
		probator:  o.Probator,
		id:        rand.Uint64() >> 2, // fits a signed number (RFC 9429 §5.2.1)
		turn:      make(chan struct{}, 1),
		caps:      o.RTPCapabilities,
		fixedCaps: len(o.RTPCapabilities.Codecs) > 0,
	}, nil
}

// begin waits for the turn of op.
func (s *Session) begin(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Session) end() { <-s.turn }

// wrap says in which call err happened.
func (s *Session) wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	return &mafalda.Error{Op: op, Object: "sdpbridge.Session", ID: s.transport.ID(), Err: err}
}

// NegotiationNeeded reports whether an offer would tell the peer something
// new: a Consumer came or went, a Producer was closed, ICE was restarted, or
// the Transport has SCTP and the peer knows of no data channels yet.
func (s *Session) NegotiationNeeded() bool {
	s.turn <- struct{}{}
	defer s.end()
	if s.wantsData() {
		return true
	}
	if len(s.sections) == 0 && len(s.waiting) == 0 {
		return false
	}
	if s.described != "" && s.described != s.transport.ICEParameters().UsernameFragment {
		return true
	}
	changed := func(x *section) bool {
		return !x.rejected && x.said != x.direction()
	}
	return slices.ContainsFunc(s.sections, changed) || slices.ContainsFunc(s.waiting, (*section).sends)
}

// Consume makes a Consumer that the next offer tells the peer of. It is paused
// until the answer is there, unless o.Paused keeps it so. RTPCapabilities of o
// may be left out; MID must be.
//
// Errors: those of [mafalda.Transport.Consume].
func (s *Session) Consume(ctx context.Context, o mafalda.ConsumerOptions) (mafalda.Consumer, error) {
	const op = "Consume"
	if err := s.begin(ctx); err != nil {
		return nil, s.wrap(op, err)
	}
	defer s.end()
	if o.MID != "" {
		return nil, s.wrap(op, fmt.Errorf("the MID is up to the Session: %w", mafalda.ErrInvalidArgument))
	}
	if len(o.RTPCapabilities.Codecs) == 0 {
		o.RTPCapabilities = s.capabilities()
	}
	o.RTPCapabilities = s.withoutCollisions(o.RTPCapabilities)
	x := &section{protocol: webRTCProtocol, mid: s.newMID(), own: true, resume: !o.Paused}
	o.MID, o.Paused = x.mid, true
	c, err := s.transport.Consume(ctx, o)
	if err != nil {
		return nil, err
	}
	x.typ, x.consumer = string(c.Kind()), c
	s.waiting = append(s.waiting, x)
	return c, nil
}

// wantsData reports whether a section for data channels is missing.
func (s *Session) wantsData() bool {
	return s.transport.SCTPParameters() != nil && !s.noData &&
		!slices.ContainsFunc(s.sections, func(x *section) bool { return x.data && !x.rejected })
}

// capabilities returns what the peer can receive, as far as is known.
func (s *Session) capabilities() mafalda.RTPCapabilities {
	if len(s.caps.Codecs) == 0 {
		return s.router.RTPCapabilities()
	}
	return s.caps
}

// withoutCollisions returns caps without the codecs and header extensions whose
// numbers mean something else in a section of the peer: in a BUNDLE group a
// number has one meaning (RFC 9143 §9.1, §15).
func (s *Session) withoutCollisions(caps mafalda.RTPCapabilities) mafalda.RTPCapabilities {
	out := mafalda.RTPCapabilities{Codecs: []mafalda.RTPCodecCapability{}, HeaderExtensions: []mafalda.RTPHeaderExtension{}}
	for _, c := range caps.Codecs {
		if !slices.ContainsFunc(s.sections, func(x *section) bool { return !x.rejected && x.takes(c) }) {
			out.Codecs = append(out.Codecs, c)
		}
	}
	for _, e := range caps.HeaderExtensions {
		if !slices.ContainsFunc(s.sections, func(x *section) bool {
			return !x.rejected && slices.ContainsFunc(x.extensions, func(y HeaderExtension) bool {
				return (y.ID == e.PreferredID) != (y.URI == e.URI)
			})
		}) {
			out.HeaderExtensions = append(out.HeaderExtensions, e)
		}
	}
	return out
}

// takes reports whether the section has another codec under c's payload type.
func (s *section) takes(c mafalda.RTPCodecCapability) bool {
	return slices.ContainsFunc(s.codecs, func(x mafalda.RTPCodecParameters) bool {
		return x.PayloadType == c.PreferredPayloadType && !sameCodec(x, c)
	})
}

func (s *Session) newMID() string {
	for {
		mid := "s" + strconv.Itoa(s.lastMID)
		s.lastMID++
		if !slices.ContainsFunc(s.sections, func(x *section) bool { return x.mid == mid }) {
			return mid
		}
	}
}

// live returns an error if the Transport is closed.
func (s *Session) live() error {
	if s.transport.Closed() {
		return mafalda.ErrClosed
	}
	return nil
}

// transportOf returns the transport that d speaks of, in the first m-section
// in use: the tagged one of the BUNDLE group.
func transportOf(d *Description, used func(i int) bool) (peerTransport, error) {
	at := -1
	for i := range d.Media {
		if used(i) && (at < 0 || len(d.Bundle) > 0 && d.Media[i].MID == d.Bundle[0]) {
			at = i
		}
	}
	if at < 0 {
		return peerTransport{}, nil
	}
	m := &d.Media[at]
	switch {
	case d.ICELite:
		return peerTransport{}, invalid("both sides are ICE-lite")
	case m.ICE.UsernameFragment == "" || m.ICE.Password == "":
		return peerTransport{}, invalid("m-section %d: ICE credentials are missing", at)
	case len(m.DTLS.Fingerprints) == 0:
		return peerTransport{}, invalid("m-section %d: fingerprint is missing", at)
	}
	return peerTransport{ice: m.ICE, dtls: m.DTLS}, nil
}

// connect connects the transport if it is not, and remembers the peer's side.
func (s *Session) connect(ctx context.Context, p peerTransport) error {
	if !s.connected {
		if err := s.transport.Connect(ctx, mafalda.WebRTCTransportConnectOptions{DTLSParameters: p.dtls}); err != nil {
			return err
		}
		s.connected = true
	}
	s.peer = p
	return nil
}

// checkPeer refuses a peer with another certificate than the one connected to.
func (s *Session) checkPeer(p peerTransport) error {
	if s.connected && !slices.ContainsFunc(p.dtls.Fingerprints, func(f mafalda.DTLSFingerprint) bool {
		return sameFingerprint(f, s.peer.dtls.Fingerprints[0])
	}) {
		return fmt.Errorf("connected to a peer with another certificate: %w", mafalda.ErrInvalidState)
	}
	return nil
}

// describe returns the sections as they are now. role is what a=setup says.
// bundle are the MIDs of a BUNDLE group, nil for none.
func (s *Session) describe(role mafalda.DTLSRole, bundle []string) (string, error) {
	d := Description{ID: s.id, Version: s.version, ICELite: true, Bundle: bundle, ExtmapAllowMixed: true}
	ice := s.transport.ICEParameters()
	dtls := mafalda.DTLSParameters{Role: role, Fingerprints: oneFingerprint(s.transport.DTLSParameters())}
	for _, x := range s.sections {
		m := x.media()
		if x.data && !m.Rejected {
			m.SCTPPort, m.MaxMessageSize = dataPort, uint32(s.transport.SCTPParameters().MaxReceiveMessageSize)
		}
		if !m.Rejected {
			m.ICE, m.DTLS, m.Candidates = ice, dtls, s.transport.ICECandidates()
		}
		x.said = m.Direction
		d.Media = append(d.Media, m)
	}
	text, err := d.Marshal()
	if err != nil {
		return "", err
	}
	s.version++
	s.described = ice.UsernameFragment
	return text, nil
}

// media returns the m-section as we describe it.
func (s *section) media() Media {
	if s.rejected {
		return Media{Type: s.typ, Protocol: s.protocol, Formats: s.formats, MID: s.mid, Rejected: true, Codecs: s.codecs}
	}
	if s.data {
		return Media{Type: s.typ, Protocol: s.protocol, Formats: s.formats, MID: s.mid, Direction: Inactive}
	}
	if s.probator {
		return s.probatorMedia()
	}
	m := Media{Codecs: s.codecs, HeaderExtensions: s.extensions}
	if s.consumer != nil && (s.sends() || len(s.codecs) == 0) {
		p := s.consumer.RTPParameters()
		own := m
		m = NewMedia(s.consumer.Kind(), p)
		m.MSID = msidOf(s.consumer.ID(), p)
		if s.receives() {
			m.Codecs = union(m.Codecs, own.Codecs, func(c mafalda.RTPCodecParameters) uint8 { return c.PayloadType })
			m.HeaderExtensions = union(m.HeaderExtensions, own.HeaderExtensions, func(e HeaderExtension) uint8 { return e.ID })
		}
		if !s.sends() {
			m.Encodings, m.MSID, m.CNAME = nil, "", ""
		}
	}
	m.Type, m.Protocol, m.MID, m.RTCPMux = s.typ, s.protocol, s.mid, true
	m.Direction = s.direction()
	if s.receives() {
		m.ReceiveRIDs = s.rids
	}
	return m
}

// union returns a and those of b whose key a lacks.
func union[T any](a, b []T, key func(T) uint8) []T {
	out := slices.Clone(a)
	for _, v := range b {
		if !slices.ContainsFunc(a, func(x T) bool { return key(x) == key(v) }) {
			out = append(out, v)
		}
	}
	return out
}
