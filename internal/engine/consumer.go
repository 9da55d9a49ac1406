package engine

import (
	"slices"

	"github.com/mafalda-sfu/mafalda/internal/codec"
	"github.com/mafalda-sfu/mafalda/internal/stream"
)

// A consumer sends the streams of a Producer to the peer of its transport.
// Fields that each packet touches come first.
type consumer struct {
	m        *Machine
	t        *transport
	producer *producer

	typ      ProducerType
	active   bool // may send: nothing is paused, the transport is connected
	keyCodec bool // the codec has key frames that we recognise
	noDTX    bool
	pts      [2]uint64 // bit set of the payload types that may be sent
	mid      string
	trace    traceSet
	main     outbound    // the only stream, but for pipes
	outs     []*outbound // all of them, main first
	layers   *layered    // of simulcast and SVC, else nil
	served   bool        // has got its share of the bandwidth

	id               string
	kind             Kind
	params           RTPParameters
	consumable       []Encoding
	priority         uint8
	paused           bool
	producerIsPaused bool
	silent           bool // closes without telling of its Producer
	closed           bool
}

// ConsumeOptions are the options of [Machine.Consume].
type ConsumeOptions struct {
	ID            string
	ProducerID    string
	RTPParameters RTPParameters
	// ConsumableEncodings are the Producer's, with their mapped SSRCs.
	ConsumableEncodings []Encoding
	Paused              bool
	IgnoreDTX           bool
	// PreferredLayers are the layers to send at most, all of them if nil. A
	// temporal layer of -1 is the highest.
	PreferredLayers *Layers
	// Pipe sends all streams as they are. RTPParameters have as many encodings
	// as ConsumableEncodings then.
	Pipe bool
}

// ConsumeResult is how a new Consumer begins.
type ConsumeResult struct {
	Type                   ProducerType
	Paused, ProducerPaused bool
	Score                  ConsumerScore
	// PreferredLayers are those that exist; nil where there are no layers.
	PreferredLayers *Layers
}

// Consume makes a Consumer on a transport. Errors: ErrInvalidArgument,
// ErrNotFound, ErrInvalidState when an id or SSRC is in use.
func (m *Machine) Consume(transportID string, o ConsumeOptions) (ConsumeResult, error) {
	var none ConsumeResult
	t := m.transports[transportID]
	if t == nil {
		return none, notFound("Transport", transportID)
	}
	if err := m.unused(o.ID); err != nil {
		return none, err
	}
	p := m.producers[o.ProducerID]
	if p == nil || p.t.r != t.r {
		return none, notFound("Producer", o.ProducerID)
	}
	params, consumable := o.RTPParameters, o.ConsumableEncodings
	typ, err := checkConsumer(&params, &o)
	if err != nil {
		return none, err
	}
	encodings := params.Encodings[:1]
	if typ == PipeType {
		encodings = params.Encodings
	}
	if err := t.ssrcsUnused(encodings); err != nil {
		return none, err
	}
	if n := len(p.consumers); n > 0 {
		last := p.consumers[n-1]
		params.share(&last.params)
		if slices.Equal(consumable, last.consumable) {
			consumable = last.consumable
		}
	}
	kind := codec.KindOf(params.codec(*encodings[0].CodecPayloadType).MimeType)
	c := &consumer{
		m: m, t: t, producer: p, id: o.ID, kind: p.kind, typ: typ, params: params,
		consumable: consumable,
		keyCodec:   kind.CanBeKeyFrame(),
		noDTX:      o.IgnoreDTX && typ != PipeType,
		mid:        wireMID(params.MID),
		priority:   1,
		paused:     o.Paused, producerIsPaused: p.paused,
	}
	for i := range params.Codecs {
		if k := &params.Codecs[i]; k.class() == mediaCodec {
			c.pts[k.PayloadType>>6] |= 1 << (k.PayloadType & 63)
		}
	}
	for i := range encodings {
		out := &c.main
		if i > 0 {
			out = new(outbound)
		}
		out.init(c, i)
		c.outs = append(c.outs, out)
	}
	if typ == SimulcastType || typ == SVCType {
		c.layers = newLayered(c, kind, o.PreferredLayers)
	}
	m.consumers[c.id] = c
	t.consumers = append(t.consumers, c)
	p.consumers = append(p.consumers, c)
	t.manageBandwidth(c)
	c.update()
	r := ConsumeResult{Type: c.typ, Paused: c.paused, ProducerPaused: c.producerIsPaused, Score: c.score()}
	if c.layers != nil {
		r.PreferredLayers = new(c.layers.chooser.Preferred)
	}
	return r, nil
}

// ssrcsUnused checks that no Consumer of the transport sends these.
func (t *transport) ssrcsUnused(encodings []Encoding) error {
	own := map[uint32]bool{}
	for _, e := range encodings {
		for _, ssrc := range []uint32{e.SSRC, e.RTXSSRC} {
			if ssrc != 0 && (t.bySSRC[ssrc] != nil || t.byRTXSSRC[ssrc] != nil || own[ssrc]) {
				return invalidState("ssrc %d is in use", ssrc)
			}
			own[ssrc] = true
		}
	}
	return nil
}

// checkConsumer applies mediasoup's rules and derives the type (media-plane
// §7.1).
func checkConsumer(p *RTPParameters, o *ConsumeOptions) (ProducerType, error) {
	if err := p.validate(); err != nil {
		return 0, err
	}
	var ids extensionIDs
	if err := ids.set(p.HeaderExtensions); err != nil {
		return 0, err
	}
	consumable := o.ConsumableEncodings
	if len(consumable) == 0 || len(consumable) > maxStreams {
		return 0, invalid("%d consumable encodings, 1 to %d are possible", len(consumable), maxStreams)
	}
	for _, e := range consumable {
		if e.SSRC == 0 {
			return 0, invalid("consumable encoding without ssrc")
		}
	}
	for _, e := range p.Encodings {
		if e.SSRC == 0 {
			return 0, invalid("encoding without ssrc")
		}
	}
	kind := codec.KindOf(p.codec(*p.Encodings[0].CodecPayloadType).MimeType)
	switch {
	case o.Pipe:
		if len(p.Encodings) != len(consumable) {
			return 0, invalid("%d encodings of %d consumable ones", len(p.Encodings), len(consumable))
		}
		return PipeType, nil
	case len(consumable) > 1:
		if n := p.Encodings[0].layers().spatial; n != len(consumable) {
			return 0, invalid("%d spatial layers of %d encodings", n, len(consumable))
		}
		if kind != codec.VP8 && kind != codec.H264 {
			return 0, invalid("simulcast of a codec that has none")
		}
		return SimulcastType, nil
	case consumable[0].layers().several():
		switch kind {
		case codec.VP8, codec.VP9, codec.H264, codec.AV1:
			return SVCType, nil
		}
		return 0, invalid("layers of a codec that has none")
	}
	return SimpleType, nil
}

// wireMID returns mid as it is put into packets: one for which they have no room
// is left out.
func wireMID(mid string) string {
	if len(mid) > midRoom {
		return ""
	}
	return mid
}

// streamParams describes the stream of one encoding.
func streamParams(p *RTPParameters, index int, kind Kind) stream.Params {
	e := &p.Encodings[index]
	media, layers := p.codec(*e.CodecPayloadType), e.layers()
	s := stream.Params{
		EncodingIndex: index, SSRC: e.SSRC, PayloadType: media.PayloadType, MimeType: media.MimeType,
		ClockRate: media.ClockRate, RID: e.RID, CNAME: p.CNAME,
		UseNACK: media.feedback("nack", ""), UsePLI: media.feedback("nack", "pli"), UseFIR: media.feedback("ccm", "fir"),
		SpatialLayers: uint8(layers.spatial), TemporalLayers: uint8(layers.temporal), Video: kind == Video,
	}
	if n, ok := media.number("useinbandfec"); ok && n == 1 {
		s.UseInBandFEC = true
	}
	if n, ok := media.number("usedtx"); e.DTX || ok && n == 1 {
		s.UseDTX = true
	}
	if x := p.rtxCodec(media.PayloadType); x != nil && e.RTXSSRC != 0 {
		s.RTXSSRC, s.RTXPayloadType = e.RTXSSRC, x.PayloadType
	}
	return s
}

func (m *Machine) consumer(id string) (*consumer, error) {
	if c := m.consumers[id]; c != nil {
		return c, nil
	}
	return nil, notFound("Consumer", id)
}

// CloseConsumer closes a Consumer.
func (m *Machine) CloseConsumer(id string) error {
	c, err := m.consumer(id)
	if err != nil {
		return err
	}
	c.close()
	return nil
}

func (c *consumer) close() {
	c.closed = true
	c.active = false
	for _, out := range c.outs {
		out.close()
	}
	delete(c.m.consumers, c.id)
	if c.t.r.closing {
		return
	}
	same := func(x *consumer) bool { return x == c }
	c.producer.consumers = slices.DeleteFunc(c.producer.consumers, same)
	c.t.consumers = slices.DeleteFunc(c.t.consumers, same)
	if b := c.t.bandwidth; b != nil && !c.t.closed {
		b.left()
	}
}

// update derives active and acts on a change (media-plane §7.2).
func (c *consumer) update() {
	active := c.t.connected && !c.paused && !c.producerIsPaused
	if active == c.active {
		return
	}
	if !active {
		c.m.fanOut() // what came before still goes
	}
	c.active = active
	for _, out := range c.outs {
		if active {
			out.sync, out.wantKey = true, c.keyCodec
		} else {
			out.pause()
		}
	}
	switch {
	case c.layers == nil:
		if active {
			c.requestKeyFrame()
		}
	case active:
		c.layers.begin()
	default:
		c.layers.end()
	}
	if !active && c.kind == Video && c.t.bandwidth != nil {
		c.t.bandwidth.needNothing()
	}
}

func (c *consumer) transportConnected()    { c.update() }
func (c *consumer) transportDisconnected() { c.update() }

func (c *consumer) producerPaused() {
	c.producerIsPaused = true
	c.m.notify(c.id, ConsumerProducerPause{})
	c.update()
}

func (c *consumer) producerResumed() {
	c.producerIsPaused = false
	c.m.notify(c.id, ConsumerProducerResume{})
	c.update()
}

// PauseConsumer stops sending.
func (m *Machine) PauseConsumer(id string) error {
	c, err := m.consumer(id)
	if err != nil {
		return err
	}
	c.paused = true
	c.update()
	return nil
}

// ResumeConsumer goes on sending and asks for a key frame.
func (m *Machine) ResumeConsumer(id string) error {
	c, err := m.consumer(id)
	if err != nil {
		return err
	}
	c.paused = false
	c.update()
	return nil
}

// RequestKeyFrame asks the Producer for a key frame if the Consumer is active.
func (m *Machine) RequestKeyFrame(id string) error {
	c, err := m.consumer(id)
	if err != nil {
		return err
	}
	if c.active {
		c.requestKeyFrame()
	}
	return nil
}

// requestKeyFrame asks for a key frame of each stream that is forwarded.
func (c *consumer) requestKeyFrame() {
	if c.layers != nil {
		c.layers.requestKeyFrame()
		return
	}
	for _, s := range c.producer.streams {
		s.requestKeyFrame()
	}
}

// SetPreferredLayers sets the layers that a Consumer is to send at most and
// returns those that exist; nil if the Consumer has no layers to choose from.
func (m *Machine) SetPreferredLayers(id string, l Layers) (*Layers, error) {
	c, err := m.consumer(id)
	if err != nil || c.layers == nil {
		return nil, err
	}
	return new(c.layers.prefer(l)), nil
}

// SetPriority sets the weight of a Consumer when bandwidth is distributed, 1 to
// 255. Errors: ErrInvalidArgument for 0, ErrNotFound.
func (m *Machine) SetPriority(id string, priority uint8) error {
	c, err := m.consumer(id)
	if err != nil {
		return err
	}
	if priority == 0 {
		return invalid("priority 0")
	}
	changed := c.priority != priority
	c.priority = priority
	if changed && c.t.bandwidth != nil && c.bitratePriority() != 0 {
		c.t.bandwidth.needChange()
	}
	return nil
}

// TraceConsumer replaces the set of trace events that a Consumer emits.
func (m *Machine) TraceConsumer(id string, types []string) error {
	c, err := m.consumer(id)
	if err != nil {
		return err
	}
	c.trace = newTraceSet(types)
	c.trace.sr = false
	return nil
}
