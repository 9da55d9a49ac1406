package engine

import (
	"slices"
	"time"

	"github.com/mafalda-sfu/mafalda/internal/codec"
	"github.com/mafalda-sfu/mafalda/internal/keyframe"
	"github.com/mafalda-sfu/mafalda/internal/timer"
)

// A producer receives the streams of one source.
type producer struct {
	// Constant after Produce.
	m     *Machine
	t     *transport
	clock *captureSource
	ids   extensionIDs
	kind  Kind
	// addPacketID puts the packet-id extension on what has none.
	addPacketID bool

	paused       bool
	trace        traceSet
	orientation  int // last value of the extension; -1 before the first
	keyFrames    *keyframe.Manager
	last         *producerStream // that of the last packet
	consumers    []*consumer     // in order of creation
	pending      []*packet       // received, not yet forwarded
	observations []observation   // RTP observers, in order of addition
	ptMap        [128]uint8      // mapped payload type + 1; 0: unmapped; constant
	// What each packet touches ends here; see prefetch.

	// Constant after Produce.
	id      string
	typ     ProducerType
	params  RTPParameters
	mapping RTPMapping

	closed  bool
	streams []*producerStream // in order of the encodings
	learned []uint32          // SSRCs of which only packets told that they are its own

	keyFrameTimer timer.Timer
	// keyFrameOf is the SSRC of the key frame being handled: asking for it
	// again makes no sense (media-plane §6.4).
	keyFrameOf uint32
	firSeq     uint8
}

// ProduceOptions are the options of [Machine.Produce].
type ProduceOptions struct {
	ID                   string
	Kind                 Kind
	RTPParameters        RTPParameters
	RTPMapping           RTPMapping
	Paused               bool
	KeyFrameRequestDelay time.Duration
	// AddPacketID puts the mediasoup packet-id extension on every packet.
	AddPacketID bool
}

// Produce makes a Producer on a transport and returns its type. Errors:
// ErrInvalidArgument, ErrNotFound, ErrInvalidState when an id, SSRC, MID or RID
// is in use.
func (m *Machine) Produce(transportID string, o ProduceOptions) (ProducerType, error) {
	t := m.transports[transportID]
	if t == nil {
		return 0, notFound("Transport", transportID)
	}
	if err := m.unused(o.ID); err != nil {
		return 0, err
	}
	p := &producer{
		m: m, t: t, id: o.ID, kind: o.Kind, params: o.RTPParameters, mapping: o.RTPMapping,
		addPacketID: o.AddPacketID, paused: o.Paused, orientation: -1,
	}
	p.mapping.Codecs = slices.Clone(p.mapping.Codecs)
	p.mapping.Encodings = slices.Clone(p.mapping.Encodings)
	if err := p.check(); err != nil {
		return 0, err
	}
	if err := t.listener.add(p); err != nil {
		return 0, err
	}
	t.learn(&p.ids)
	p.clock = t.captureSource(p.params.CNAME, p.ids.captureTime != 0)
	if p.kind == Video {
		p.keyFrames = keyframe.New(o.KeyFrameRequestDelay)
		p.keyFrameTimer.Init(func(now time.Duration) {
			p.keyFrames.Expire(now, p.sendKeyFrameRequest)
			p.armKeyFrames()
		})
	}
	m.producers[p.id] = p
	t.producers = append(t.producers, p)
	t.feedback.choose(p)
	return p.typ, nil
}

// check applies mediasoup's rules (media-plane §6.1).
func (p *producer) check() error {
	if p.kind != Audio && p.kind != Video {
		return invalid("unknown kind")
	}
	if err := p.params.validate(); err != nil {
		return err
	}
	if err := p.ids.set(p.params.HeaderExtensions); err != nil {
		return err
	}
	if len(p.mapping.Encodings) != len(p.params.Encodings) {
		return invalid("%d encodings, but %d in the mapping", len(p.params.Encodings), len(p.mapping.Encodings))
	}
	for _, e := range p.mapping.Encodings {
		if e.MappedSSRC == 0 {
			return invalid("missing mapped SSRC")
		}
	}
	for _, c := range p.mapping.Codecs {
		if c.PayloadType > 127 || c.MappedPayloadType > 127 {
			return invalid("payload type is out of range in the mapping")
		}
		p.ptMap[c.PayloadType] = c.MappedPayloadType + 1
	}
	encodings := p.params.Encodings
	for _, e := range encodings {
		if e.SSRC == 0 && e.RID == "" && (len(encodings) > 1 || p.params.MID == "") {
			return invalid("encoding with neither ssrc nor rid")
		}
	}
	if len(encodings) > maxStreams {
		return invalid("%d encodings, %d at most", len(encodings), maxStreams)
	}
	return p.chooseType()
}

// chooseType derives the type of a Producer (media-plane §6.1).
func (p *producer) chooseType() error {
	encodings := p.params.Encodings
	kindOf := func(e *Encoding) codec.Kind { return codec.KindOf(p.params.codec(*e.CodecPayloadType).MimeType) }
	if len(encodings) > 1 {
		for i := range encodings {
			if encodings[i].layers().spatial > 1 {
				return invalid("several encodings with spatial layers")
			}
			switch kindOf(&encodings[i]) {
			case codec.VP8, codec.H264:
			default:
				return invalid("simulcast of a codec that has none")
			}
		}
		p.typ = SimulcastType
		return nil
	}
	if !encodings[0].layers().several() {
		p.typ = SimpleType
		return nil
	}
	switch kindOf(&encodings[0]) {
	case codec.VP8, codec.VP9, codec.H264, codec.AV1:
		p.typ = SVCType
		return nil
	}
	return invalid("layers of a codec that has none")
}

// learn takes over the header-extension ids that a Producer defines.
func (t *transport) learn(ids *extensionIDs) {
	for _, x := range []struct{ to, from *uint8 }{
		{&t.recvIDs.mid, &ids.mid}, {&t.recvIDs.rid, &ids.rid}, {&t.recvIDs.rrid, &ids.rrid},
		{&t.recvIDs.absSendTime, &ids.absSendTime}, {&t.recvIDs.twcc, &ids.twcc},
	} {
		if *x.from != 0 {
			*x.to = *x.from
		}
	}
}

func (m *Machine) producer(id string) (*producer, error) {
	if p := m.producers[id]; p != nil {
		return p, nil
	}
	return nil, notFound("Producer", id)
}

// CloseProducer closes a Producer. Its Consumers close with a
// [ConsumerProducerClose].
func (m *Machine) CloseProducer(id string) error {
	p, err := m.producer(id)
	if err != nil {
		return err
	}
	p.close()
	return nil
}

func (p *producer) close() {
	p.closed = true
	p.dropPending()
	for _, c := range take(&p.consumers) {
		if !c.silent {
			p.m.notify(c.id, ConsumerProducerClose{})
		}
		c.close()
	}
	for _, s := range p.streams {
		s.close()
	}
	p.t.leaveCaptureSource(p.clock)
	p.leaveObservers()
	if p.kind == Video {
		p.m.wheel.Stop(&p.keyFrameTimer)
	}
	p.t.listener.remove(p)
	delete(p.m.producers, p.id)
	p.t.producers = slices.DeleteFunc(p.t.producers, func(x *producer) bool { return x == p })
}

// PauseProducer stops forwarding. What arrives is still counted.
func (m *Machine) PauseProducer(id string) error {
	p, err := m.producer(id)
	if err != nil || p.paused {
		return err
	}
	p.m.fanOut() // what came before the call still goes
	p.paused = true
	for _, s := range p.streams {
		s.pause()
	}
	for _, c := range p.consumers {
		c.producerPaused()
	}
	for _, o := range p.observations {
		o.producerPaused()
	}
	return nil
}

// ResumeProducer goes on forwarding and asks for a key frame.
func (m *Machine) ResumeProducer(id string) error {
	p, err := m.producer(id)
	if err != nil || !p.paused {
		return err
	}
	p.paused = false
	for _, s := range p.streams {
		s.resume()
	}
	for _, c := range p.consumers {
		c.producerResumed()
	}
	for _, o := range p.observations {
		o.producerResumed()
	}
	if p.kind == Video {
		for _, s := range p.streams {
			p.forceKeyFrame(s.ssrc)
		}
	}
	return nil
}

// requestKeyFrame is a Consumer's wish for a key frame of one stream.
func (s *producerStream) requestKeyFrame() {
	p := s.p
	if p.kind != Video || p.paused || s.ssrc == p.keyFrameOf || s.keyFrameWaits() {
		return
	}
	if p.keyFrames.Needed(p.m.now, s.ssrc) {
		p.sendKeyFrameRequest(s.ssrc)
	}
	p.armKeyFrames()
}

// keyFrameWaits reports whether a key frame has come that Consumers are about to
// be sent.
func (s *producerStream) keyFrameWaits() bool {
	return slices.Contains(s.p.m.dirty, s.p) &&
		slices.ContainsFunc(s.p.pending, func(pk *packet) bool { return pk.stream == s && pk.info.KeyFrame })
}

func (p *producer) forceKeyFrame(ssrc uint32) {
	if p.keyFrames.Force(p.m.now, ssrc) {
		p.sendKeyFrameRequest(ssrc)
	}
	p.armKeyFrames()
}

func (p *producer) armKeyFrames() {
	if at, ok := p.keyFrames.Deadline(); ok {
		p.m.wheel.Set(&p.keyFrameTimer, at)
	} else {
		p.m.wheel.Stop(&p.keyFrameTimer)
	}
}

// TraceProducer replaces the set of trace events that a Producer emits.
func (m *Machine) TraceProducer(id string, types []string) error {
	p, err := m.producer(id)
	if err != nil {
		return err
	}
	p.trace = newTraceSet(types)
	return nil
}
