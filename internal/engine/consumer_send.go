package engine

import (
	"encoding/binary"
	"log/slog"
	"slices"

	"github.com/mafalda-sfu/mafalda/internal/codec"
	"github.com/mafalda-sfu/mafalda/internal/rtcp"
	"github.com/mafalda-sfu/mafalda/internal/rtp"
	"github.com/mafalda-sfu/mafalda/internal/rtx"
	"github.com/mafalda-sfu/mafalda/internal/seqmap"
	"github.com/mafalda-sfu/mafalda/internal/seqnum"
	"github.com/mafalda-sfu/mafalda/internal/stream"
)

const (
	// maxWaiting is how many packets wait for the key frame that they follow.
	maxWaiting = 30
	// maxOvertaken is by how much they may be later than its start.
	maxOvertaken = 1000
)

// Retransmissions are at most this many for each packet sent, a burst aside.
// Who claims a tiny round trip time could else have the whole memory of seconds
// sent again with every NACK. Unlike mediasoup, which has no such bound.
const (
	resendPerPacket = 2
	firstResends    = 500  // before anything was sent
	maxResends      = 2500 // saved up
)

// An outbound is one stream that a Consumer sends.
type outbound struct {
	c        *consumer
	wantKey  bool // the next packet must begin a key frame
	sync     bool // the next packet continues the numbering
	rtxPT    uint8
	ssrc     uint32
	rtxSSRC  uint32 // 0: no RTX
	encoding int    // of a pipe: index of the Producer's encoding
	seq      seqmap.Map[uint16]
	send     stream.Send
	resendIt func(seq uint16, i rtx.Item) bool // o.resend, made once
	resends  int                               // how many packets may be sent again
	wides    []wideNumber                      // without RTX; see stamp
	reported reported

	// waiting holds packets that came before the key frame they belong to.
	waiting []*packet
}

// init makes the stream of an encoding of c.
func (o *outbound) init(c *consumer, index int) {
	m := c.m
	sp := streamParams(&c.params, index, c.kind)
	o.c, o.ssrc, o.rtxSSRC, o.rtxPT = c, sp.SSRC, sp.RTXSSRC, sp.RTXPayloadType
	o.encoding = c.producer.encodingOfMapped(c.consumable[index].SSRC, index)
	// Not near 65,535, where a lost first packet would leave the peer's SRTP
	// rollover counter behind (media-plane §7.1).
	o.seq = seqmap.New(16, uint16(1000+m.random.IntN(31768)))
	o.send = stream.NewSend(m.now, sp, uint16(m.random.Uint32()))
	o.resendIt, o.resends = o.resend, firstResends
	c.t.bySSRC[o.ssrc] = o
	if o.rtxSSRC != 0 {
		c.t.byRTXSSRC[o.rtxSSRC] = o
	}
}

func (o *outbound) close() {
	t := o.c.t
	o.pause() // gives up its memory
	if t.tx != nil {
		t.tx.Forget(o.ssrc)
		if o.rtxSSRC != 0 {
			t.tx.Forget(o.rtxSSRC)
		}
	}
	delete(t.bySSRC, o.ssrc)
	delete(t.byRTXSSRC, o.rtxSSRC)
}

func (o *outbound) pause() {
	o.dropWaiting()
	o.send.Pause()
}

// forward sends a packet of the Producer, or doesn't (media-plane §7.3).
func (c *consumer) forward(pk *packet) {
	if !c.active {
		return
	}
	switch c.typ {
	case SimpleType:
		c.main.forward(pk)
	case SimulcastType:
		c.layers.simulcast(pk)
	case SVCType:
		c.layers.svc(pk)
	case PipeType:
		for _, out := range c.outs {
			if out.encoding == pk.stream.index {
				out.forward(pk)
				return
			}
		}
	}
}

// sends reports whether packets of a payload type are sent.
func (c *consumer) sends(pt uint8) bool { return c.pts[pt>>6&1]&(1<<(pt&63)) != 0 }

// forward sends a packet of the stream as it is, from a key frame on
// (media-plane §7.5).
func (o *outbound) forward(pk *packet) {
	c := o.c
	seq := pk.pkt.SequenceNumber()
	if !c.sends(pk.out.pt) {
		o.seq.Drop(seq)
		return
	}
	if o.wantKey && !pk.info.KeyFrame {
		o.wait(pk)
		return
	}
	if pk.out.payload() == 0 || c.noDTX && pk.info.DTX {
		o.seq.Drop(seq)
		return
	}
	first := o.sync
	if first {
		o.seq.Sync(seq - 1)
		o.sync, o.wantKey = false, false
	}
	out, ok := o.seq.Input(seq)
	if !ok {
		return
	}
	o.emit(pk, rtx.Item{Timestamp: pk.pkt.Timestamp(), Marker: pk.pkt.Marker()}, out)
	if first && len(o.waiting) > 0 {
		o.forwardWaiting(pk)
	}
}

// wait keeps a packet that overtook the start of its key frame.
func (o *outbound) wait(pk *packet) {
	if len(o.waiting) == maxWaiting {
		o.c.m.releasePacket(o.waiting[0])
		o.waiting = slices.Delete(o.waiting, 0, 1)
	}
	pk.holders++
	seq := pk.pkt.SequenceNumber()
	i := len(o.waiting)
	for i > 0 && seqnum.Newer16(o.waiting[i-1].pkt.SequenceNumber(), seq) {
		i--
	}
	o.waiting = slices.Insert(o.waiting, i, pk)
}

// forwardWaiting sends what waited and comes after the start of a key frame.
// Unlike mediasoup it also does around the wrap of sequence numbers. What is far
// ahead has numbers from before the source began anew: it is no part of what
// follows.
func (o *outbound) forwardWaiting(key *packet) {
	waiting := o.waiting
	o.waiting = nil
	for _, pk := range waiting {
		if ahead := pk.pkt.SequenceNumber() - key.pkt.SequenceNumber(); pk.stream == key.stream && ahead-1 < maxOvertaken {
			o.c.forward(pk)
		}
		o.c.m.releasePacket(pk)
	}
}

func (o *outbound) dropWaiting() {
	for _, pk := range o.waiting {
		o.c.m.releasePacket(pk)
	}
	o.waiting = nil
}

// emit sends one packet with its new sequence number and what i changes in it.
// It reports whether the packet was sent.
func (o *outbound) emit(pk *packet, i rtx.Item, seq uint16) bool {
	c, p := o.c, &pk.out
	i.Stream, i.Ingress = uint8(pk.stream.index), pk.pkt.SequenceNumber()
	h := rtp.Header{Marker: i.Marker, PayloadType: p.pt, SequenceNumber: seq, Timestamp: i.Timestamp, SSRC: o.ssrc}
	size := p.size()
	if !o.send.Accept(c.m.now, &stream.Outgoing{
		Seq: seq, Size: size, PayloadSize: p.payload(), Item: i,
		Captured: pk.captured, HasCaptured: pk.hasCaptured,
	}) {
		return false
	}
	o.resends = min(o.resends+resendPerPacket, maxResends)
	t := c.t
	b := t.reserve(size)
	n := p.header(b, h, c.mid)
	o.stamp(b[:n], p, seq, size)
	body := p.body // of all, unless it is changed
	name, traced := c.trace.packets(pk.info.KeyFrame)
	if i.HasPicture || traced {
		body = b[n : n+copy(b[n:], body)]
	}
	if i.HasPicture {
		pk.info.RewriteVP8(body, i.PictureID, i.TL0PICIDX)
	}
	if traced {
		c.m.trace(c.id, TraceEvent{
			Type: name, Direction: "out", Packet: dumpPacket(rtp.Packet(b[:size]), &ourIDs, &pk.info),
		})
	}
	t.sentRTP.Update(c.m.now, size)
	c.commit(b, n, body)
	return true
}

// commit sends the packet whose header is b[:n]; its body may already be behind
// that, or is somewhere else.
func (c *consumer) commit(b []byte, n int, body []byte) {
	if c.t.direct {
		n += copy(b[n:], body)
		c.t.sentBytes(n)
		c.m.notify(c.id, ConsumerRTP{slices.Clone(b[:n])})
		return
	}
	c.t.commitRTP(b, n, body)
}

// resend sends a packet again, in the RTX stream if there is one (RFC 4588).
func (o *outbound) resend(seq uint16, i rtx.Item) bool {
	c, m := o.c, o.c.m
	s := c.producer.streamAt(int(i.Stream))
	if s == nil || s.store == nil || o.resends == 0 {
		return false
	}
	e, ok := s.store.Lookup(i.Ingress)
	if !ok {
		return false
	}
	slot := m.pool.Bytes(e.Ref)
	pkt := rtp.Packet(slot[e.Start : int(e.Start)+int(e.Len)])
	mapped := c.producer.ptMap[pkt.PayloadType()]
	if mapped == 0 || c.kind == Video && c.t.bandwidth != nil && !c.t.bandwidth.takeResend(len(pkt)) {
		return false
	}
	a := readAdded(slot, int(e.Start)+int(e.Len))
	rtxOut := o.rtxSSRC != 0
	if rtxOut {
		a.sendTime = rtp.AbsSendTime(m.now)
	}
	o.resends--
	p := &m.again
	p.mangle(pkt, c.kind, &c.producer.ids, mapped-1, a)
	h := rtp.Header{Marker: i.Marker, PayloadType: p.pt, SequenceNumber: seq, Timestamp: i.Timestamp, SSRC: o.ssrc}
	body := p.body
	if rtxOut {
		h.PayloadType, h.SSRC, h.SequenceNumber = o.rtxPT, o.rtxSSRC, o.send.NextRTXSeq()
		body = body[:p.payload()]
		p.first &^= 0x20 // padding is not repeated
	}
	b := c.t.reserve(p.size() + 2)
	header := p.header(b, h, c.mid)
	n := header
	if rtxOut {
		binary.BigEndian.PutUint16(b[n:], seq)
		n += 2
	}
	body = b[n : n+copy(b[n:], body)]
	n += len(body)
	if i.HasPicture {
		var info codec.Info
		codec.Parse(s.codec, body, nil, &info)
		info.RewriteVP8(body, i.PictureID, i.TL0PICIDX)
	}
	if !o.stampAgain(b[:header], p, seq, n) {
		return false
	}
	if c.trace.rtp || c.trace.keyFrame {
		c.traceResent(s, pkt, rtp.Packet(b[:n]), rtxOut)
	}
	c.t.sentRTX.Update(m.now, n)
	c.commit(b, header, b[header:n])
	return true
}

// traceResent tells of a packet that was sent again as sent; pkt is what the
// Producer received.
func (c *consumer) traceResent(s *producerStream, pkt, sent rtp.Packet, rtxOut bool) {
	var info codec.Info
	var templates codec.Structure // describe keeps those that it sees
	if s.templates != nil {
		templates = *s.templates
	}
	s.describe(pkt, &info)
	if s.templates != nil {
		*s.templates = templates
	}
	if name, on := c.trace.packets(info.KeyFrame); on {
		c.m.trace(c.id, TraceEvent{
			Type: name, Direction: "out", IsRTX: rtxOut, Packet: dumpPacket(sent, &ourIDs, &info),
		})
	}
}

// receiveNACK answers one item of a NACK.
func (o *outbound) receiveNACK(pid, blp uint16) {
	if o.c.active {
		o.send.NACK(o.c.m.now, pid, blp, o.resendIt)
	}
}

// receiveKeyFrameRequest is a PLI or FIR of the peer.
func (o *outbound) receiveKeyFrameRequest(fir bool) {
	c := o.c
	name, on := "pli", c.trace.pli
	if fir {
		name, on = "fir", c.trace.fir
		o.send.CountFIR()
	} else {
		o.send.CountPLI()
	}
	if on {
		c.m.trace(c.id, TraceEvent{Type: name, Direction: "in", SSRC: o.ssrc})
	}
	if n, ok := c.m.may(c.m.logs.rtx, slog.LevelDebug, causeKeyFrameIn); ok {
		c.m.logs.rtx.Debug("key frame requested by the peer", "consumer", c.id, "ssrc", o.ssrc, "by", name, "skipped", n)
	}
	switch {
	case !c.active:
	case c.layers == nil:
		c.requestKeyFrame()
	default: // the peer misses what it is sent, and that only
		if s := c.layers.current(); s != nil {
			s.requestKeyFrame()
		}
	}
}

func (o *outbound) receiveReport(b rtcp.ReportBlock, ntpNow uint32) {
	sb := stream.ReportBlock(b)
	o.send.ReceiverReport(o.c.m.now, ntpNow, &sb)
	if o.send.ScoreChanged() {
		if n, ok := o.c.m.may(o.c.m.logs.score, slog.LevelDebug, causeScoreOut); ok {
			o.c.m.logs.score.Debug("score of a sent stream", "consumer", o.c.id, "ssrc", o.ssrc, "score", o.send.Score(), "skipped", n)
		}
		o.c.notifyScore()
	}
}

// report adds the sender reports, if there are any to give.
func (c *consumer) report(r *reports, ntp uint64) {
	for _, o := range c.outs {
		sr, ok := o.send.SenderReport(c.m.now)
		if !ok {
			continue
		}
		r.senders = rtcp.AppendSenderReport(r.senders, rtcp.SenderReport{
			SSRC: sr.SSRC, NTP: ntp, RTPTimestamp: sr.RTPTimestamp,
			PacketCount: sr.PacketCount, OctetCount: sr.OctetCount,
		})
		r.cnames = append(r.cnames, rtcp.SDESChunk{SSRC: o.ssrc, CNAME: c.params.CNAME})
		if last, delay, ok := c.t.reference.Delay(c.m.now); ok {
			r.dlrr = append(r.dlrr, rtcp.DLRREntry{SSRC: o.ssrc, LRR: last, DLRR: delay})
		}
	}
}

// fractionLost is the worst loss that the peer reported last, of 256.
func (c *consumer) fractionLost() (worst uint8) {
	for _, o := range c.outs {
		worst = max(worst, o.send.FractionLost())
	}
	return worst
}

func (c *consumer) score() ConsumerScore {
	s := ConsumerScore{Score: 10, ProducerScore: 10, ProducerScores: make([]uint8, len(c.producer.params.Encodings))}
	for _, ps := range c.producer.streams {
		s.ProducerScores[ps.index] = ps.recv.Score()
	}
	if c.typ == PipeType {
		return s
	}
	s.Score, s.ProducerScore = c.main.send.Score(), 0
	if ps := c.source(); ps != nil {
		s.ProducerScore = ps.recv.Score()
	}
	return s
}

// source is the stream of the Producer that is sent, nil if there is none.
func (c *consumer) source() *producerStream {
	if c.layers != nil {
		return c.layers.current()
	}
	return c.producer.mainStream()
}

// notifyScore tells of the scores; those of a pipe are constant, or of somebody
// else.
func (c *consumer) notifyScore() {
	if c.typ != PipeType {
		c.m.notify(c.id, ConsumerScoreChange{c.score()})
	}
}

// ourIDs are the header-extension ids of what we send.
var ourIDs = extensionIDs{
	mid: rtp.IDMID, absSendTime: rtp.IDAbsSendTime, twcc: rtp.IDTransportWideCC, audioLevel: rtp.IDAudioLevel,
	dependency: rtp.IDDependencyDescriptor, orientation: rtp.IDVideoOrientation, timeOffset: rtp.IDTimeOffset,
	captureTime: rtp.IDAbsCaptureTime, playout: rtp.IDPlayoutDelay, packetID: rtp.IDPacketID,
}
