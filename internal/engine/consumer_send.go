package engine

import (
	"encoding/binary"
	"slices"

	"github.com/mafalda-sfu/mafalda/internal/codec"
	"github.com/mafalda-sfu/mafalda/internal/rtcp"
	"github.com/mafalda-sfu/mafalda/internal/rtp"
	"github.com/mafalda-sfu/mafalda/internal/rtx"
	"github.com/mafalda-sfu/mafalda/internal/seqnum"
	"github.com/mafalda-sfu/mafalda/internal/stream"
)

// maxWaiting is how many packets wait for the key frame that they follow.
const maxWaiting = 30

// Retransmissions are at most this many for each packet sent, a burst aside.
// Who claims a tiny round trip time could else have the whole memory of seconds
// sent again with every NACK. Unlike mediasoup, which has no such bound.
const (
	resendPerPacket = 2
	firstResends    = 500  // before anything was sent
	maxResends      = 2500 // saved up
)

// forward sends a packet of the Producer, or doesn't (media-plane §7.3, §7.5).
func (c *consumer) forward(pk *packet) {
	if !c.active {
		return
	}
	seq := pk.pkt.SequenceNumber()
	if pt := pk.out.pt; c.pts[pt>>6&1]&(1<<(pt&63)) == 0 {
		c.seq.Drop(seq)
		return
	}
	if c.wantKey && !pk.info.KeyFrame {
		c.wait(pk)
		return
	}
	if pk.out.payload() == 0 || c.noDTX && pk.info.DTX {
		c.seq.Drop(seq)
		return
	}
	first := c.sync
	if first {
		c.seq.Sync(seq - 1)
		c.sync, c.wantKey = false, false
	}
	out, ok := c.seq.Input(seq)
	if !ok {
		return
	}
	c.emit(pk, out)
	if first && len(c.waiting) > 0 {
		c.forwardWaiting(seq)
	}
}

// wait keeps a packet that overtook the start of its key frame.
func (c *consumer) wait(pk *packet) {
	if len(c.waiting) == maxWaiting {
		c.m.releasePacket(c.waiting[0])
		c.waiting = slices.Delete(c.waiting, 0, 1)
	}
	pk.holders++
	seq := pk.pkt.SequenceNumber()
	i := len(c.waiting)
	for i > 0 && seqnum.Newer16(c.waiting[i-1].pkt.SequenceNumber(), seq) {
		i--
	}
	c.waiting = slices.Insert(c.waiting, i, pk)
}

// forwardWaiting sends what waited and comes after the key frame's start.
// Unlike mediasoup it also does around the wrap of sequence numbers.
func (c *consumer) forwardWaiting(key uint16) {
	waiting := c.waiting
	c.waiting = nil
	for _, pk := range waiting {
		if seqnum.Newer16(pk.pkt.SequenceNumber(), key) {
			c.forward(pk)
		}
		c.m.releasePacket(pk)
	}
}

func (c *consumer) dropWaiting() {
	for _, pk := range c.waiting {
		c.m.releasePacket(pk)
	}
	c.waiting = nil
}

// emit sends one packet with its new sequence number.
func (c *consumer) emit(pk *packet, seq uint16) {
	o := &pk.out
	h := rtp.Header{
		Marker: pk.pkt.Marker(), PayloadType: o.pt, SequenceNumber: seq,
		Timestamp: pk.pkt.Timestamp(), SSRC: c.ssrc,
	}
	size := o.size()
	if !c.send.Accept(c.m.now, &stream.Outgoing{
		Seq: seq, Size: size, PayloadSize: o.payload(),
		Item: rtx.Item{Ingress: pk.pkt.SequenceNumber(), Timestamp: h.Timestamp, Marker: h.Marker},
	}) {
		return
	}
	c.source = pk.stream
	c.resends = min(c.resends+resendPerPacket, maxResends)
	t := c.t
	b := t.reserve(size)
	n := o.header(b, h, c.mid)
	n += copy(b[n:], o.body)
	if name, on := c.trace.packets(pk.info.KeyFrame); on {
		c.m.trace(c.id, TraceEvent{
			Type: name, Direction: "out", Packet: dumpPacket(rtp.Packet(b[:n]), &ourIDs, &pk.info),
		})
	}
	t.sentRTP.Update(c.m.now, n)
	c.commit(b, n)
}

func (c *consumer) commit(b []byte, n int) {
	if c.t.direct {
		c.t.sentBytes(n)
		c.m.notify(c.id, ConsumerRTP{slices.Clone(b[:n])})
		return
	}
	c.t.commitRTP(b, n)
}

// resend sends a packet again, in the RTX stream if there is one (RFC 4588).
func (c *consumer) resend(seq uint16, i rtx.Item) bool {
	s, m := c.source, c.m
	if s == nil || s.store == nil || c.resends == 0 {
		return false
	}
	e, ok := s.store.Lookup(i.Ingress)
	if !ok {
		return false
	}
	slot := m.pool.Bytes(e.Ref)
	pkt := rtp.Packet(slot[e.Start : int(e.Start)+int(e.Len)])
	mapped := c.producer.ptMap[pkt.PayloadType()]
	if mapped == 0 {
		return false
	}
	sendTime, packetID := readTrailer(slot, int(e.Start)+int(e.Len))
	rtxOut := c.rtxSSRC != 0
	if rtxOut {
		sendTime = rtp.AbsSendTime(m.now)
	}
	c.resends--
	o := &m.again
	o.mangle(pkt, c.kind, &c.producer.ids, mapped-1, sendTime, packetID)
	h := rtp.Header{Marker: i.Marker, PayloadType: o.pt, SequenceNumber: seq, Timestamp: i.Timestamp, SSRC: c.ssrc}
	body := o.body
	if rtxOut {
		h.PayloadType, h.SSRC, h.SequenceNumber = c.rtxPT, c.rtxSSRC, c.send.NextRTXSeq()
		body = body[:o.payload()]
		o.first &^= 0x20 // padding is not repeated
	}
	b := c.t.reserve(o.size() + 2)
	n := o.header(b, h, c.mid)
	if rtxOut {
		binary.BigEndian.PutUint16(b[n:], seq)
		n += 2
	}
	n += copy(b[n:], body)
	if c.trace.rtp || c.trace.keyFrame {
		c.traceResent(s, pkt, rtp.Packet(b[:n]))
	}
	c.t.sentRTX.Update(m.now, n)
	c.commit(b, n)
	return true
}

// traceResent tells of a packet that was sent again as sent; pkt is what the
// Producer received.
func (c *consumer) traceResent(s *producerStream, pkt, sent rtp.Packet) {
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
			Type: name, Direction: "out", IsRTX: c.rtxSSRC != 0, Packet: dumpPacket(sent, &ourIDs, &info),
		})
	}
}

// receiveNACK answers one item of a NACK.
func (c *consumer) receiveNACK(pid, blp uint16) {
	if c.active {
		c.send.NACK(c.m.now, pid, blp, c.resendIt)
	}
}

// receiveKeyFrameRequest is a PLI or FIR of the peer.
func (c *consumer) receiveKeyFrameRequest(fir bool) {
	name, on := "pli", c.trace.pli
	if fir {
		name, on = "fir", c.trace.fir
		c.send.CountFIR()
	} else {
		c.send.CountPLI()
	}
	if on {
		c.m.trace(c.id, TraceEvent{Type: name, Direction: "in", SSRC: c.ssrc})
	}
	if c.active {
		c.requestKeyFrame()
	}
}

func (c *consumer) receiveReport(b rtcp.ReportBlock, ntpNow uint32) {
	sb := stream.ReportBlock(b)
	c.send.ReceiverReport(c.m.now, ntpNow, &sb)
	if c.send.ScoreChanged() {
		c.notifyScore()
	}
}

// report adds the sender report, if there is one to give.
func (c *consumer) report(r *reports, ntp uint64) {
	sr, ok := c.send.SenderReport(c.m.now)
	if !ok {
		return
	}
	r.senders = rtcp.AppendSenderReport(r.senders, rtcp.SenderReport{
		SSRC: sr.SSRC, NTP: ntp, RTPTimestamp: sr.RTPTimestamp,
		PacketCount: sr.PacketCount, OctetCount: sr.OctetCount,
	})
	r.cnames = append(r.cnames, rtcp.SDESChunk{SSRC: c.ssrc, CNAME: c.params.CNAME})
	if last, delay, ok := c.send.DelaySinceReferenceTime(c.m.now); ok {
		r.dlrr = append(r.dlrr, rtcp.DLRREntry{SSRC: c.ssrc, LRR: last, DLRR: delay})
	}
}

func (c *consumer) score() ConsumerScore {
	s := ConsumerScore{Score: c.send.Score(), ProducerScores: make([]uint8, len(c.producer.params.Encodings))}
	for _, ps := range c.producer.streams {
		s.ProducerScores[ps.index] = ps.recv.Score()
	}
	if ps := c.producer.mainStream(); ps != nil {
		s.ProducerScore = ps.recv.Score()
	}
	return s
}

func (c *consumer) notifyScore() { c.m.notify(c.id, ConsumerScoreChange{c.score()}) }

// ourIDs are the header-extension ids of what we send.
var ourIDs = extensionIDs{
	mid: rtp.IDMID, absSendTime: rtp.IDAbsSendTime, twcc: rtp.IDTransportWideCC, audioLevel: rtp.IDAudioLevel,
	dependency: rtp.IDDependencyDescriptor, orientation: rtp.IDVideoOrientation, timeOffset: rtp.IDTimeOffset,
	captureTime: rtp.IDAbsCaptureTime, playout: rtp.IDPlayoutDelay, packetID: rtp.IDPacketID,
}
