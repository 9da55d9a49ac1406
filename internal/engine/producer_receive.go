package engine

import (
	"log/slog"
	"slices"
	"time"

	"github.com/mafalda-sfu/mafalda/internal/capture"
	"github.com/mafalda-sfu/mafalda/internal/codec"
	"github.com/mafalda-sfu/mafalda/internal/packetbuf"
	"github.com/mafalda-sfu/mafalda/internal/rtcp"
	"github.com/mafalda-sfu/mafalda/internal/rtp"
	"github.com/mafalda-sfu/mafalda/internal/rtx"
	"github.com/mafalda-sfu/mafalda/internal/score"
	"github.com/mafalda-sfu/mafalda/internal/stream"
	"github.com/mafalda-sfu/mafalda/internal/timer"
)

// A producerStream is one RTP stream that a Producer receives.
type producerStream struct {
	p     *producer
	ssrc  uint32 // of the media
	pt    uint8  // of the media
	rtx   uint32 // SSRC of its retransmissions; 0 while unknown
	rtxPT uint8
	index int // of its encoding
	codec codec.Kind
	// templates is what dependency descriptors refer to; nil before the first.
	templates *codec.Structure
	reference capture.Reference // ties timestamps to the sender's clock
	recv      *stream.Recv
	timer     timer.Timer
	store     *rtx.Store // what Consumers may ask for again; nil before one might
	prior     uint8      // score at the last look
}

// maxStreams bounds the streams of a Producer, whose packets Consumers refer
// to by a small number.
const maxStreams = rtx.MaxStreams

// receive takes one packet (media-plane §6.4). The slot stays the caller's.
func (p *producer) receive(ref packetbuf.Ref, pkt rtp.Packet) packetFate {
	m := p.m
	s, created := p.streamOf(pkt)
	if s == nil {
		return packetDiscarded
	}
	fate := packetMedia
	var rtxSeq uint16
	if pkt.SSRC() != s.ssrc {
		fate = packetRTX
		rtxSeq = pkt.SequenceNumber()
		if pkt.PayloadType() != s.rtxPT {
			return fate
		}
		var ok bool
		if pkt, ok = rtp.DecodeRTX(pkt, s.ssrc, s.pt); !ok {
			s.recv.ReceiveRTX(m.now, rtxSeq, nil)
			return fate
		}
	}
	pk := m.newPacket()
	pk.ref, pk.stream = ref, s
	m.pool.Retain(ref)
	defer m.releasePacket(pk)

	pkt = s.describe(pkt, &pk.info)
	pk.pkt = pkt
	in := stream.Packet{
		Seq: pkt.SequenceNumber(), Timestamp: pkt.Timestamp(), Size: len(pkt), PayloadSize: len(pkt.Payload()),
		KeyFrame: pk.info.KeyFrame, SpatialLayer: pk.info.SpatialLayer, TemporalLayer: pk.info.TemporalLayer,
	}
	var ok bool
	if fate == packetRTX {
		ok = s.recv.ReceiveRTX(m.now, rtxSeq, &in)
	} else {
		ok = s.recv.Receive(m.now, &in)
		if s.recv.WentBack() {
			s.wentBack()
		}
	}
	if ok && pk.info.KeyFrame && p.kind == Video {
		p.keyFrames.Received(s.ssrc)
		p.armKeyFrames()
		p.keyFrameOf = s.ssrc
	}
	s.after()
	if created {
		p.appeared(s, pk.info.KeyFrame)
	}
	p.keyFrameOf = 0
	if !ok || p.paused {
		return fate
	}
	mapped := p.ptMap[pkt.PayloadType()]
	if mapped == 0 {
		if fate == packetMedia {
			return packetUnmapped
		}
		return fate
	}
	if name, on := p.trace.packets(pk.info.KeyFrame); on {
		m.trace(p.id, TraceEvent{
			Type: name, Direction: "in", IsRTX: fate == packetRTX,
			Packet: dumpPacket(pkt, &p.ids, &pk.info),
		})
	}
	p.watchOrientation(pkt)
	p.observe(pkt)
	if len(p.consumers) == 0 {
		return fate
	}
	a := added{sendTime: rtp.AbsSendTime(m.now)}
	if p.addPacketID {
		m.packetID++
		a.packetID = max(1, m.packetID)
	}
	if p.ids.captureTime != 0 {
		a.ahead = p.clock.ahead(m)
	}
	pk.noteCapture(p)
	pk.out.mangle(pkt, p.kind, &p.ids, mapped-1, a)
	s.keep(pk, a)
	pk.holders++
	if len(p.pending) == 0 {
		m.dirty = append(m.dirty, p)
	}
	p.pending = append(p.pending, pk)
	return fate
}

// describe finds out what a media packet carries. A VP8 picture id of 7 bits
// grows to 15, so that it can be rewritten later.
func (s *producerStream) describe(pkt rtp.Packet, info *codec.Info) rtp.Packet {
	*info = codec.Info{}
	if pkt.PayloadType() != s.pt || s.codec == codec.Other {
		return pkt
	}
	if s.codec == codec.VP8 && len(pkt.Payload()) > 0 {
		n := codec.WidenVP8(pkt[pkt.HeaderLen() : len(pkt)+1])
		pkt = pkt[:len(pkt)+n]
	}
	var dependency []byte
	if id := s.p.ids.dependency; id != 0 && s.p.kind == Video {
		dependency = pkt.Extension(id)
	}
	if len(dependency) > 0 && s.templates == nil {
		s.templates = new(codec.Structure)
	}
	codec.ParseStream(s.codec, pkt.Payload(), dependency, s.templates, info)
	return pkt
}

// keep puts a packet into the store if some Consumer may ask for it again.
func (s *producerStream) keep(pk *packet, a added) {
	if s.store == nil {
		if !slices.ContainsFunc(s.p.consumers, func(c *consumer) bool { return c.main.send.Params().UseNACK }) {
			return
		}
		s.store = rtx.NewStore(storeAge(s.p.kind), s.recv.Params().ClockRate, s.p.m.pool.Release)
	}
	slot := s.p.m.pool.Bytes(pk.ref)
	a.write(slot, len(pk.pkt))
	s.p.m.pool.Retain(pk.ref)
	e := rtx.Entry{Ref: pk.ref, Start: 0, Len: uint16(len(pk.pkt))}
	if s.store.Insert(pk.pkt.SequenceNumber(), pk.pkt.Timestamp(), e) != rtx.Stored {
		s.p.m.pool.Release(pk.ref)
	}
}

// wentBack is called when the sender has restarted with lower sequence numbers.
// What Consumers send goes on contiguously: unlike mediasoup's, whose numbers go
// back too, so that packets are taken for old ones and, worse, two different
// packets have one SRTP index (RFC 7714 §8.1).
func (s *producerStream) wentBack() {
	if n, ok := s.p.m.may(s.p.m.logs.rtp, slog.LevelWarn, causeRestart); ok {
		s.p.m.logs.rtp.Warn("stream numbers its packets anew", "producer", s.p.id, "ssrc", s.ssrc, "skipped", n)
	}
	s.p.m.fanOut() // what came before
	if s.store != nil {
		s.store.Clear()
	}
	for _, c := range s.p.consumers {
		for _, o := range c.outs {
			if c.typ == PipeType && o.encoding != s.index || c.typ == SimulcastType && c.source() != s {
				continue
			}
			o.sync = true
			o.send.Forget()
		}
	}
}

func storeAge(kind Kind) time.Duration {
	if kind == Video {
		return rtx.VideoAge
	}
	return rtx.AudioAge
}

// streamOf finds the stream of a packet, or makes it (media-plane §6.2).
func (p *producer) streamOf(pkt rtp.Packet) (s *producerStream, created bool) {
	ssrc := pkt.SSRC()
	if s := p.last; s != nil && s.has(ssrc) {
		return s, false
	}
	for _, s := range p.streams {
		if s.has(ssrc) {
			p.last = s
			return s, false
		}
	}
	i, isRTX := p.encodingOf(pkt)
	if i < 0 || len(p.streams) >= maxStreams {
		return nil, false
	}
	at := slices.IndexFunc(p.streams, func(s *producerStream) bool { return s.index == i })
	switch {
	case isRTX && at >= 0 && p.streams[at].rtx == 0:
		s := p.streams[at]
		s.rtx, s.rtxPT = ssrc, pkt.PayloadType()
		if n, ok := p.m.may(p.m.logs.rtx, slog.LevelDebug, causeNewStream); ok {
			p.m.logs.rtx.Debug("stream of retransmissions", "producer", p.id, "ssrc", ssrc, "of", s.ssrc, "skipped", n)
		}
		s.recv.SetRTX(ssrc, s.rtxPT)
		return s, false
	case !isRTX && at < 0:
		return p.newStream(i, ssrc), true
	}
	return nil, false
}

// has reports whether ssrc is that of the media or of its retransmissions.
func (s *producerStream) has(ssrc uint32) bool {
	return s.ssrc == ssrc || s.rtx == ssrc && s.rtx != 0
}

// encodingOf returns the encoding that a packet of an unknown SSRC belongs to,
// or -1.
func (p *producer) encodingOf(pkt rtp.Packet) (index int, isRTX bool) {
	ssrc, pt := pkt.SSRC(), pkt.PayloadType()
	kindOf := func(i int) (media, retransmission bool) {
		media = pt == *p.params.Encodings[i].CodecPayloadType
		x := p.params.rtxCodec(*p.params.Encodings[i].CodecPayloadType)
		return media, x != nil && pt == x.PayloadType
	}
	encodings := p.params.Encodings
	for i := range encodings {
		media, again := kindOf(i)
		if encodings[i].SSRC == ssrc && media {
			return i, false
		}
		if encodings[i].RTXSSRC == ssrc && again && ssrc != 0 {
			return i, true
		}
	}
	if name := rid(pkt, &p.ids); len(name) > 0 {
		for i := range encodings {
			if encodings[i].RID != string(name) {
				continue
			}
			if media, again := kindOf(i); media || again {
				return i, again
			}
		}
	}
	if len(encodings) == 1 && encodings[0].SSRC == 0 && encodings[0].RID == "" {
		if media, again := kindOf(0); media || again {
			return 0, again
		}
	}
	return -1, false
}

func (p *producer) newStream(index int, ssrc uint32) *producerStream {
	sp := streamParams(&p.params, index, p.kind)
	sp.SSRC = ssrc
	sp.RTXSSRC, sp.RTXPayloadType = 0, 0 // until its first packet comes
	s := &producerStream{
		p: p, ssrc: ssrc, pt: sp.PayloadType, index: index,
		codec: codec.KindOf(sp.MimeType),
		prior: score.Max,
		recv:  stream.NewRecv(p.m.now, sp, p.typ == SimulcastType),
	}
	s.timer.Init(func(now time.Duration) {
		s.recv.Tick(now)
		s.after()
	})
	p.streams = append(p.streams, s)
	slices.SortFunc(p.streams, func(a, b *producerStream) int { return a.index - b.index })
	p.last = s
	return s
}

// appeared tells of a new stream, and asks it for a key frame.
func (p *producer) appeared(s *producerStream, key bool) {
	if n, ok := p.m.may(p.m.logs.rtp, slog.LevelDebug, causeNewStream); ok {
		p.m.logs.rtp.Debug("new stream", "producer", p.id, "ssrc", s.ssrc, "rid", p.params.Encodings[s.index].RID,
			"payloadType", s.pt, "skipped", n)
	}
	s.logScore()
	if p.kind == Video && !p.paused && !key {
		p.forceKeyFrame(s.ssrc)
	}
	p.notifyScore()
	for _, c := range p.consumers {
		c.notifyScore()
		if c.layers != nil {
			c.layers.streamAppeared()
		}
	}
}

// after does what the stream asks for after a packet, a report or a tick.
func (s *producerStream) after() {
	p, m := s.p, s.p.m
	if missing := s.recv.PendingNACK(); len(missing) > 0 {
		b := rtcp.AppendNACK(m.compound[:0], 0, s.ssrc, missing)
		p.t.sendRTCP(b)
		if n, ok := m.may(m.logs.rtx, slog.LevelDebug, causeNACKOut); ok {
			m.logs.rtx.Debug("NACK sent", "producer", p.id, "ssrc", s.ssrc, "packets", len(missing), "skipped", n)
		}
		if p.trace.nack {
			m.trace(p.id, TraceEvent{Type: "nack", Direction: "out"})
		}
	}
	if s.recv.NeedKeyFrame() && p.kind == Video && !p.paused {
		if p.keyFrames.Needed(m.now, s.ssrc) {
			p.sendKeyFrameRequest(s.ssrc)
		}
		p.armKeyFrames()
	}
	if s.recv.ScoreChanged() {
		score, before := s.recv.Score(), s.prior
		s.prior = score
		s.logScore()
		p.notifyScore()
		for _, c := range p.consumers {
			c.notifyScore()
			if c.layers != nil {
				c.layers.scoreChanged(score, before)
			}
		}
	}
	if s.recv.LayersChanged() {
		for _, c := range p.consumers {
			if c.layers != nil {
				c.layers.layersChanged()
			}
		}
	}
	if at, ok := s.recv.Deadline(); ok {
		m.wheel.Set(&s.timer, at)
	} else {
		m.wheel.Stop(&s.timer)
	}
}

func (s *producerStream) pause()  { s.recv.Pause(); s.after() }
func (s *producerStream) resume() { s.recv.Resume(s.p.m.now); s.after() }

func (s *producerStream) close() {
	s.p.m.wheel.Stop(&s.timer)
	if s.store != nil {
		s.store.Clear()
	}
	if rx := s.p.t.rx; rx != nil {
		rx.Forget(s.ssrc)
		if s.rtx != 0 {
			rx.Forget(s.rtx)
		}
	}
}

// sendKeyFrameRequest sends PLI or, where only that is known, FIR. The sender
// is named like the media: some endpoints want it so (media-plane §6.10).
func (p *producer) sendKeyFrameRequest(ssrc uint32) {
	i := slices.IndexFunc(p.streams, func(s *producerStream) bool { return s.ssrc == ssrc })
	if i < 0 {
		return
	}
	m, s := p.m, p.streams[i]
	if n, ok := m.may(m.logs.rtx, slog.LevelDebug, causeKeyFrameOut); ok {
		m.logs.rtx.Debug("key frame requested", "producer", p.id, "ssrc", ssrc, "skipped", n)
	}
	switch params := s.recv.Params(); {
	case params.UsePLI:
		s.recv.CountPLI()
		p.t.sendRTCP(rtcp.AppendPLI(m.compound[:0], ssrc, ssrc))
		if p.trace.pli {
			m.trace(p.id, TraceEvent{Type: "pli", Direction: "out", SSRC: ssrc})
		}
	case params.UseFIR:
		s.recv.CountFIR()
		p.firSeq++
		p.t.sendRTCP(rtcp.AppendFIR(m.compound[:0], ssrc, ssrc, ssrc, p.firSeq))
		if p.trace.fir {
			m.trace(p.id, TraceEvent{Type: "fir", Direction: "out", SSRC: ssrc})
		}
	}
}

func (s *producerStream) logScore() {
	if n, ok := s.p.m.may(s.p.m.logs.score, slog.LevelDebug, causeScoreIn); ok {
		s.p.m.logs.score.Debug("score of a received stream", "producer", s.p.id, "ssrc", s.ssrc, "score", s.recv.Score(), "skipped", n)
	}
}

func (p *producer) notifyScore() {
	var scores []StreamScore
	for _, s := range p.streams {
		scores = append(scores, StreamScore{
			EncodingIndex: s.index, SSRC: s.ssrc, RID: p.params.Encodings[s.index].RID, Score: s.recv.Score(),
		})
	}
	p.m.notify(p.id, ProducerScoreChange{scores})
}

// watchOrientation tells when the camera is turned (3GPP TS 26.114 §7.4.5).
func (p *producer) watchOrientation(pkt rtp.Packet) {
	if p.kind != Video || p.ids.orientation == 0 {
		return
	}
	v := pkt.Extension(p.ids.orientation)
	if len(v) != 1 {
		return
	}
	camera, flip, rotation := rtp.ParseVideoOrientation(v[0])
	now := int(v[0] & 0x0f)
	if now == p.orientation {
		return
	}
	p.orientation = now
	p.m.notify(p.id, VideoOrientationChange{Camera: camera, Flip: flip, Rotation: int(rotation)})
}

// streamAt returns the stream of an encoding, nil before it appeared.
func (p *producer) streamAt(index int) *producerStream {
	for _, s := range p.streams {
		if s.index == index {
			return s
		}
	}
	return nil
}

// encodingOfMapped returns the index of the encoding that Consumers know as
// ssrc; fallback if there is none.
func (p *producer) encodingOfMapped(ssrc uint32, fallback int) int {
	for i, e := range p.mapping.Encodings {
		if e.MappedSSRC == ssrc {
			return i
		}
	}
	return fallback
}

// mainStream is the stream that Consumers forward, nil before it appeared.
func (p *producer) mainStream() *producerStream {
	if len(p.streams) == 0 {
		return nil
	}
	return p.streams[0]
}

// report adds what the Producer's streams received.
func (p *producer) report(r *reports) {
	m := p.m
	for _, s := range p.streams {
		var worst uint8
		if s.recv.Params().UseInBandFEC {
			for _, c := range p.consumers {
				worst = max(worst, c.fractionLost())
			}
		}
		r.blocks = append(r.blocks, rtcp.ReportBlock(s.recv.ReportBlock(m.now, worst)))
		if b, ok := s.recv.RTXReportBlock(m.now); ok {
			r.blocks = append(r.blocks, rtcp.ReportBlock(b))
		}
		r.rrt = true
	}
}

func (p *producer) dropPending() {
	for i, pk := range p.pending {
		p.m.releasePacket(pk)
		p.pending[i] = nil
	}
	p.pending = p.pending[:0]
}

// fanOut forwards what the Producers received, Consumer by Consumer, so that
// the packets of one burst to one peer stay together.
func (m *Machine) fanOut() {
	dirty := m.dirty
	m.dirty = m.dirty[:0]
	next := leaving{producers: dirty}
	for range prefetchSteps {
		next.prefetch()
	}
	for _, p := range dirty {
		if len(p.pending) == 0 {
			continue
		}
		for _, c := range p.consumers {
			next.prefetch()
			for _, pk := range p.pending {
				c.forward(pk)
			}
		}
		p.dropPending()
	}
	clear(dirty)
}
