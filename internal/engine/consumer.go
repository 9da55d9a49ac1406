package engine

import (
	"slices"

	"github.com/mafalda-sfu/mafalda/internal/codec"
	"github.com/mafalda-sfu/mafalda/internal/rtx"
	"github.com/mafalda-sfu/mafalda/internal/seqmap"
	"github.com/mafalda-sfu/mafalda/internal/stream"
)

// A consumer sends the stream of a Producer to the peer of its transport.
// Fields that each packet touches come first.
type consumer struct {
	m        *Machine
	t        *transport
	producer *producer

	active   bool // may send: nothing is paused, the transport is connected
	wantKey  bool // the next packet must begin a key frame
	sync     bool // the next packet continues the numbering
	keyCodec bool // the codec has key frames that we recognise
	noDTX    bool
	pts      [2]uint64 // bit set of the payload types that may be sent
	ssrc     uint32
	mid      string
	seq      seqmap.Map[uint16]
	source   *producerStream // whose packets were forwarded last
	send     *stream.Send
	rtxSSRC  uint32
	rtxPT    uint8
	trace    traceSet
	resendIt func(seq uint16, i rtx.Item) bool // c.resend, made once
	resends  int                               // how many packets may be sent again

	// waiting holds packets that came before the key frame they belong to.
	waiting []*packet

	id               string
	kind             Kind
	params           RTPParameters
	consumable       []Encoding
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
}

// ConsumeResult is how a new Consumer begins.
type ConsumeResult struct {
	Paused, ProducerPaused bool
	Score                  ConsumerScore
}

// Consume makes a Consumer on a transport. Errors: ErrInvalidArgument,
// ErrNotFound, ErrInvalidState when an id or SSRC is in use, and
// [errors.ErrUnsupported] for several encodings.
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
	params := o.RTPParameters.clone()
	if err := checkConsumer(&params, o.ConsumableEncodings); err != nil {
		return none, err
	}
	e := params.Encodings[0]
	for _, ssrc := range []uint32{e.SSRC, e.RTXSSRC} {
		if ssrc != 0 && (t.bySSRC[ssrc] != nil || t.byRTXSSRC[ssrc] != nil) {
			return none, invalidState("ssrc %d is in use", ssrc)
		}
	}
	media := params.codec(*e.CodecPayloadType)
	c := &consumer{
		m: m, t: t, producer: p, id: o.ID, kind: p.kind, params: params,
		consumable: slices.Clone(o.ConsumableEncodings),
		keyCodec:   codec.KindOf(media.MimeType).CanBeKeyFrame(),
		noDTX:      o.IgnoreDTX,
		ssrc:       e.SSRC, mid: params.MID,
		paused: o.Paused, producerIsPaused: p.paused,
		// Not near 65,535, where a lost first packet would leave the peer's
		// SRTP rollover counter behind (media-plane §7.1).
		seq: seqmap.New(16, uint16(1000+m.random.IntN(31768))),
	}
	for i := range params.Codecs {
		if k := &params.Codecs[i]; k.class() == mediaCodec {
			c.pts[k.PayloadType>>6] |= 1 << (k.PayloadType & 63)
		}
	}
	sp := streamParams(&params, 0, p.kind)
	if sp.RTXSSRC != 0 {
		c.rtxSSRC, c.rtxPT = sp.RTXSSRC, sp.RTXPayloadType
	}
	c.send = stream.NewSend(m.now, sp, uint16(m.random.Uint32()))
	c.resendIt, c.resends = c.resend, firstResends
	m.consumers[c.id] = c
	t.consumers = append(t.consumers, c)
	t.bySSRC[c.ssrc] = c
	if c.rtxSSRC != 0 {
		t.byRTXSSRC[c.rtxSSRC] = c
	}
	p.consumers = append(p.consumers, c)
	c.update()
	return ConsumeResult{Paused: c.paused, ProducerPaused: c.producerIsPaused, Score: c.score()}, nil
}

// checkConsumer applies mediasoup's rules (media-plane §7.1).
func checkConsumer(p *RTPParameters, consumable []Encoding) error {
	if err := p.validate(); err != nil {
		return err
	}
	var ids extensionIDs
	if err := ids.set(p.HeaderExtensions); err != nil {
		return err
	}
	if len(consumable) == 0 {
		return invalid("empty consumable encodings")
	}
	for _, e := range consumable {
		if e.SSRC == 0 {
			return invalid("consumable encoding without ssrc")
		}
	}
	for _, e := range p.Encodings {
		if e.SSRC == 0 {
			return invalid("encoding without ssrc")
		}
	}
	if len(p.MID) > midRoom {
		return invalid("mid %q is longer than %d bytes", p.MID, midRoom)
	}
	if len(consumable) > 1 || len(p.Encodings) > 1 {
		return unsupported("several encodings")
	}
	return nil
}

// streamParams describes the stream of one encoding.
func streamParams(p *RTPParameters, index int, kind Kind) stream.Params {
	e := &p.Encodings[index]
	media := p.codec(*e.CodecPayloadType)
	s := stream.Params{
		EncodingIndex: index, SSRC: e.SSRC, PayloadType: media.PayloadType, MimeType: media.MimeType,
		ClockRate: media.ClockRate, RID: e.RID, CNAME: p.CNAME,
		UseNACK: media.feedback("nack", ""), UsePLI: media.feedback("nack", "pli"), UseFIR: media.feedback("ccm", "fir"),
		SpatialLayers: 1, TemporalLayers: 1, Video: kind == Video,
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
	c.dropWaiting()
	c.send.Pause() // gives up its memory
	if c.t.tx != nil {
		c.t.tx.Forget(c.ssrc)
		if c.rtxSSRC != 0 {
			c.t.tx.Forget(c.rtxSSRC)
		}
	}
	delete(c.t.bySSRC, c.ssrc)
	delete(c.t.byRTXSSRC, c.rtxSSRC)
	delete(c.m.consumers, c.id)
	same := func(x *consumer) bool { return x == c }
	c.producer.consumers = slices.DeleteFunc(c.producer.consumers, same)
	c.t.consumers = slices.DeleteFunc(c.t.consumers, same)
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
	if active {
		c.sync, c.wantKey = true, c.keyCodec
		c.requestKeyFrame()
		return
	}
	c.dropWaiting()
	c.send.Pause()
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

func (c *consumer) requestKeyFrame() {
	if c.kind == Video {
		c.producer.requestKeyFrame()
	}
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
