package engine

import (
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/mafalda-sfu/mafalda/internal/packetbuf"
	"github.com/mafalda-sfu/mafalda/internal/rate"
	"github.com/mafalda-sfu/mafalda/internal/rtp"
	"github.com/mafalda-sfu/mafalda/internal/srtp"
	"github.com/mafalda-sfu/mafalda/internal/stream"
	"github.com/mafalda-sfu/mafalda/internal/timer"
)

const (
	bytesWindow = time.Second             // of a transport's byte counters
	rtxWindow   = time.Second             // of its RTX counters
	mediaWindow = 2500 * time.Millisecond // of its RTP counters

	rtcpFirst = 500 * time.Millisecond // after connecting
	rtcpBase  = time.Second            // between reports; up to half as much is added
)

// A transportPart is what one kind of transport adds to the common part.
type transportPart interface {
	fill(*TransportDump)
	close()
}

// A transport moves the media of its Producers and Consumers to and from one
// peer. All kinds share it; what differs is in part.
type transport struct {
	m        *Machine     // constant
	crossing *crossing    // of a pipe in memory, RTP and RTCP take it; else nil
	tx       *srtp.Sender // nil without SRTP, as is rx
	// bandwidth distributes what may be sent; nil: everybody takes what it wants.
	bandwidth     *bandwidth
	out           path // of RTP
	sent, sentRTP rate.Counter
	direct        bool // constant
	// What each packet to the peer touches ends here; see prefetch. That of a
	// packet from the peer begins with the next.

	rx            *srtp.Receiver
	recv, recvRTP rate.Counter
	listener      rtpListener
	recvIDs       extensionIDs // last Producer wins (media-plane §5.3)
	feedback      feedback

	closed    bool
	connected bool // media may flow
	rtcpApart bool // RTCP has a path of its own
	rtcpOut   path

	// Constant after newTransport.
	r    *router
	id   string
	part transportPart

	producers []*producer // in order of creation
	captures  []*captureSource
	consumers []*consumer
	bySSRC    map[uint32]*outbound
	byRTXSSRC map[uint32]*outbound

	dataProducers []*dataProducer // in order of creation
	dataConsumers []*dataConsumer
	inStreams     map[uint16]*dataProducer // by SCTP stream id
	outStreams    map[uint16]*dataConsumer
	sctp          *association // nil without SCTP
	piped         bool         // messages carry their subchannels
	maxSend       uint32       // bytes of a message
	maxReceive    uint32

	reports timer.Timer
	// Of the peer, answered in the reports on all that is sent.
	reference stream.ReferenceTime
	limits    outgoingLimits
	trace     transportTrace
	initial   uint32 // estimate of the bandwidth to begin with, bit/s; 0: the default

	recvRTX, sentRTX rate.Counter
}

func newTransport(m *Machine, r *router, id string, part transportPart) *transport {
	t := &transport{
		m: m, r: r, id: id, part: part,
		listener:  newRTPListener(),
		bySSRC:    map[uint32]*outbound{},
		byRTXSSRC: map[uint32]*outbound{},

		inStreams: map[uint16]*dataProducer{}, outStreams: map[uint16]*dataConsumer{},
		maxSend: defaultMessageSize, maxReceive: defaultMessageSize,

		recv: rate.New(bytesWindow), sent: rate.New(bytesWindow),
		recvRTP: rate.New(mediaWindow), sentRTP: rate.New(mediaWindow),
		recvRTX: rate.New(rtxWindow), sentRTX: rate.New(rtxWindow),
	}
	t.reports.Init(t.sendReports)
	t.feedback.init(t)
	m.transports[id] = t
	m.logs.info.Debug("transport created", "transport", id, "router", r.id)
	r.transports = append(r.transports, t)
	return t
}

// close closes what is on the transport, and the transport. Consumers of its
// Producers that live elsewhere are told.
func (t *transport) close() {
	if t.closed {
		return
	}
	t.closed = true
	if t.sctp != nil {
		t.sctp.close()
	}
	for _, c := range t.consumers { // they go with their transport, not with a Producer
		c.silent = true
	}
	for _, c := range t.dataConsumers {
		c.silent = true
	}
	for _, p := range take(&t.producers) {
		p.close()
	}
	for _, c := range take(&t.consumers) {
		if !c.closed {
			c.close()
		}
	}
	for _, p := range take(&t.dataProducers) {
		p.close()
	}
	for _, c := range take(&t.dataConsumers) {
		if !c.closed {
			c.close()
		}
	}
	t.m.wheel.Stop(&t.reports)
	t.feedback.stop()
	if t.bandwidth != nil {
		t.bandwidth.stop()
	}
	t.m.drv.Flush() // what was queued, before the sockets go
	t.part.close()
	t.untap()
	delete(t.m.transports, t.id)
	t.m.logs.info.Debug("transport closed", "transport", t.id)
	t.r.transports = slices.DeleteFunc(t.r.transports, func(x *transport) bool { return x == t })
}

// take empties a list and returns what was in it: so the closing of many does not go
// through the list of the others for each.
func take[T any](list *[]T) []T {
	all := *list
	*list = nil
	return all
}

// connect lets media flow; again, after the path was lost and found.
func (t *transport) connect() {
	if t.connected {
		return
	}
	t.connected = true
	t.m.wheel.Set(&t.reports, t.m.now+rtcpFirst)
	t.feedback.start()
	if t.bandwidth != nil {
		t.bandwidth.connect()
	}
	for _, c := range t.consumers {
		c.transportConnected()
	}
	t.startSCTP()
}

func (t *transport) disconnect() {
	if !t.connected {
		return
	}
	t.connected = false
	t.m.wheel.Stop(&t.reports)
	t.feedback.pause()
	for _, c := range t.consumers {
		c.transportDisconnected()
	}
	if t.bandwidth != nil {
		t.bandwidth.disconnect()
	}
}

// received counts a datagram from the peer.
func (t *transport) received(n int) { t.recv.Update(t.m.now, n) }

// sentBytes counts a datagram to the peer.
func (t *transport) sentBytes(n int) { t.sent.Update(t.m.now, n) }

// readRTP decrypts a packet into a slot of the pool and parses it. The caller
// releases the slot; 0 means that the packet was dropped and counted.
func (t *transport) readRTP(data []byte) (packetbuf.Ref, rtp.Packet) {
	m := t.m
	if len(data) > slotSize-slotSlack {
		m.count.DropTooLarge++
		t.droppedRTP("too large", data)
		return 0, nil
	}
	ref := m.pool.Get()
	if ref == 0 {
		m.count.DropNoSlot++
		return 0, nil
	}
	slot := m.pool.Bytes(ref)
	var plain []byte
	if t.rx != nil {
		var err error
		if plain, err = t.rx.UnprotectRTP(slot[:0], data); err != nil {
			m.count.DropSRTP++
			t.droppedSRTP(err)
			m.pool.Release(ref)
			return 0, nil
		}
	} else {
		plain = slot[:copy(slot, data)]
	}
	pkt, ok := rtp.Parse(plain)
	if !ok {
		m.count.DropMalformed++
		t.droppedRTP("malformed", data)
		m.pool.Release(ref)
		return 0, nil
	}
	return ref, pkt
}

// droppedRTP logs a packet that is none.
func (t *transport) droppedRTP(why string, data []byte) {
	if n, ok := t.m.may(t.m.logs.rtp, slog.LevelWarn, causeMalformedRTP); ok {
		t.m.logs.rtp.Warn("RTP dropped", "transport", t.id, "bytes", len(data), "why", why, "skipped", n)
	}
}

// stranger counts and logs a datagram of an address that is not the peer's.
func (t *transport) stranger(from netip.AddrPort) {
	t.m.count.DropUnknownTuple++
	if n, ok := t.m.may(t.m.logs.rtp, slog.LevelWarn, causeStranger); ok {
		t.m.logs.rtp.Warn("datagram of another address", "transport", t.id, "from", from, "skipped", n)
	}
}

// unknownRTP logs a packet that nobody takes.
func (t *transport) unknownRTP(why string, pkt rtp.Packet) {
	if n, ok := t.m.may(t.m.logs.rtp, slog.LevelWarn, causeUnknownRTP); ok {
		t.m.logs.rtp.Warn("unknown RTP", "transport", t.id, "ssrc", pkt.SSRC(), "payloadType", pkt.PayloadType(),
			"why", why, "skipped", n)
	}
}

// droppedSRTP logs media that was not decrypted, or not encrypted.
func (t *transport) droppedSRTP(why any) {
	if n, ok := t.m.may(t.m.logs.srtp, slog.LevelWarn, causeSRTP); ok {
		t.m.logs.srtp.Warn("SRTP dropped", "transport", t.id, "why", why, "skipped", n)
	}
}

// droppedSRTCP counts and logs the same of RTCP.
func (t *transport) droppedSRTCP(err error) {
	t.m.count.DropSRTP++
	if n, ok := t.m.may(t.m.logs.srtp, slog.LevelWarn, causeSRTCP); ok {
		t.m.logs.srtp.Warn("SRTCP dropped", "transport", t.id, "why", err, "skipped", n)
	}
}

// slotSlack is room in a slot for what a packet grows by in place.
const slotSlack = 64

// receiveSRTP takes one protected packet and reports whether it was one.
func (t *transport) receiveSRTP(data []byte) bool {
	ref, pkt := t.readRTP(data)
	if ref == 0 {
		return false
	}
	t.receiveRTP(ref, pkt)
	t.m.pool.Release(ref)
	return true
}

// receiveRTP finds the Producer of a packet (media-plane §5.2). The slot stays
// the caller's.
func (t *transport) receiveRTP(ref packetbuf.Ref, pkt rtp.Packet) {
	if t.m.taps != nil {
		t.tapped(&t.out, false, pkt, nil)
	}
	p := t.listener.find(pkt, &t.recvIDs)
	if p == nil {
		t.feedback.received(pkt)
		t.m.count.DropUnknownStream++
		t.unknownRTP("no Producer has its SSRC, MID or RID", pkt)
		if t.rx != nil {
			t.rx.Forget(pkt.SSRC())
		}
		return
	}
	t.enter(p, ref, pkt)
}

// enter hands a packet to its Producer.
func (t *transport) enter(p *producer, ref packetbuf.Ref, pkt rtp.Packet) {
	t.feedback.received(pkt)
	size := len(pkt)
	switch p.receive(ref, pkt) {
	case packetMedia:
		t.recvRTP.Update(t.m.now, size)
	case packetRTX:
		t.recvRTX.Update(t.m.now, size)
	case packetUnmapped:
		// Unlike mediasoup, which forgets the rollover counter here and then can
		// not decrypt what follows in the same stream.
		t.m.count.DropUnknownStream++
		t.unknownRTP("its Producer has no such payload type", pkt)
	case packetDiscarded:
		t.m.count.DropUnknownStream++
		t.unknownRTP("its Producer has no encoding for it", pkt)
		if t.rx != nil {
			t.rx.Forget(pkt.SSRC())
		}
	}
}

// reserve returns room for an RTP packet of n bytes on its way to the peer.
func (t *transport) reserve(n int) []byte {
	if t.crossing != nil {
		return t.crossing.lane.reserve(n)
	}
	if t.out.udp != nil {
		return t.out.udp.Reserve(n + srtp.MaxOverhead)
	}
	return t.m.scratch
}

// commitRTP sends the packet whose header is the first n bytes of the last
// reservation, b, and whose payload may already be behind that, or is somewhere
// else.
func (t *transport) commitRTP(b []byte, n int, payload []byte) {
	if !t.out.valid() {
		return
	}
	if t.m.taps != nil {
		t.tapped(&t.out, true, b[:n], payload)
	}
	if t.crossing != nil {
		t.crossing.sendRTP(t, n+copy(b[n:], payload))
		return
	}
	if t.tx != nil {
		sealed, err := t.tx.SealRTP(b, n, payload)
		if err != nil {
			t.m.count.DropSRTP++
			t.droppedSRTP(err)
			return
		}
		n = len(sealed)
	} else {
		n += copy(b[n:], payload)
	}
	t.sentBytes(n)
	t.m.count.PacketsOut++
	t.m.count.BytesOut += uint64(n)
	switch {
	case t.out.udp != nil:
		t.out.udp.Commit(&t.out.dest, n)
	case t.out.tcp != nil:
		t.out.tcp.Send(b[:n])
	}
}

// sendRTCP sends one compound, or a part of one (RFC 5506).
func (t *transport) sendRTCP(plain []byte) {
	if t.direct {
		t.sentBytes(len(plain))
		t.part.(*directTransport).deliverRTCP(plain)
		return
	}
	if !t.connected {
		return
	}
	out := t.rtcpPath()
	if !out.valid() {
		return
	}
	if t.m.taps != nil {
		t.tapped(out, true, plain, nil)
	}
	if t.crossing != nil {
		t.crossing.sendRTCP(t, plain)
		return
	}
	need := len(plain) + srtp.MaxOverhead
	b := t.m.scratch
	if out.udp != nil {
		b = out.udp.Reserve(need)
	}
	n := len(plain)
	if t.tx != nil {
		sealed, err := t.tx.ProtectRTCP(b[:0], plain)
		if err != nil {
			t.droppedSRTCP(err)
			return
		}
		n = len(sealed)
	} else {
		copy(b, plain)
	}
	t.sentBytes(n)
	if out.udp != nil {
		out.udp.Commit(&out.dest, n)
	} else {
		out.tcp.Send(b[:n])
	}
}

// sendRaw sends b as it is: DTLS.
func (t *transport) sendRaw(b []byte) {
	switch {
	case t.out.udp != nil:
		copy(t.out.udp.Reserve(len(b)), b)
		t.out.udp.Commit(&t.out.dest, len(b))
	case t.out.tcp != nil:
		t.out.tcp.Send(b)
	default:
		return
	}
	t.sentBytes(len(b))
}

// nextReport is when the next compound is due: one of six steps up to half the
// base later, so that transports don't all report at once (media-plane §16).
func (t *transport) nextReport() time.Duration {
	return t.m.now + rtcpBase + rtcpBase*time.Duration(t.m.random.IntN(6))/10
}

// SetMaxIncomingBitrate limits what the peer sends, in bit/s; 0 is no limit.
// It reaches the peer as REMB (media-plane §5.11).
func (m *Machine) SetMaxIncomingBitrate(id string, bitrate uint64) error {
	t := m.transports[id]
	if t == nil {
		return notFound("Transport", id)
	}
	if t.direct {
		return unsupported("a direct transport has no bitrate limit")
	}
	t.feedback.setMax(bitrate)
	return nil
}

// TransportDump describes a transport.
type TransportDump struct {
	ID                       string
	ProducerIDs, ConsumerIDs []string
	SSRCConsumers            []SSRCOwner
	RTXSSRCConsumers         []SSRCOwner
	SSRCProducers            []SSRCOwner
	MIDProducers             []NameOwner
	RIDProducers             []NameOwner
	// Ids of the header extensions that the peer sends; 0: not negotiated.
	MID, RID, RRID, AbsSendTime, TransportWideCC uint8
	TraceEventTypes                              []string
	// Of data; the limits are bytes of a message.
	DataProducerIDs, DataConsumerIDs          []string
	MaxSendMessageSize, MaxReceiveMessageSize uint32
	SCTP                                      *SCTPDump // nil without SCTP
	// One of these.
	WebRTC *WebRTCDump
	Plain  *PlainDump
	Pipe   *PipeDump
	Direct bool
}

// SSRCOwner says to which Producer or Consumer an SSRC belongs.
type SSRCOwner struct {
	SSRC uint32
	ID   string
}

// NameOwner says to which Producer a MID or RID belongs.
type NameOwner struct{ Name, ID string }

// DumpTransport describes the transport with that id.
func (m *Machine) DumpTransport(id string) (TransportDump, error) {
	t := m.transports[id]
	if t == nil {
		return TransportDump{}, notFound("Transport", id)
	}
	return t.dump(), nil
}

func (t *transport) dump() TransportDump {
	d := TransportDump{
		ID: t.id, MID: t.recvIDs.mid, RID: t.recvIDs.rid, RRID: t.recvIDs.rrid,
		AbsSendTime: t.recvIDs.absSendTime, TransportWideCC: t.recvIDs.twcc,
		TraceEventTypes: t.trace.names(),
	}
	for _, p := range t.producers {
		d.ProducerIDs = append(d.ProducerIDs, p.id)
	}
	for _, c := range t.consumers {
		d.ConsumerIDs = append(d.ConsumerIDs, c.id)
		for _, o := range c.outs {
			d.SSRCConsumers = append(d.SSRCConsumers, SSRCOwner{o.ssrc, c.id})
			if o.rtxSSRC != 0 {
				d.RTXSSRCConsumers = append(d.RTXSSRCConsumers, SSRCOwner{o.rtxSSRC, c.id})
			}
		}
	}
	t.listener.fill(&d)
	t.fillData(&d)
	t.part.fill(&d)
	return d
}

// TransportStats are the counters of a transport; rates are in bit/s.
type TransportStats struct {
	ID                               string
	Timestamp                        time.Duration
	BytesReceived, RecvBitrate       uint64
	BytesSent, SendBitrate           uint64
	RTPBytesReceived, RTPRecvBitrate uint64
	RTPBytesSent, RTPSendBitrate     uint64
	RTXBytesReceived, RTXRecvBitrate uint64
	RTXBytesSent, RTXSendBitrate     uint64
	// Of feedback to the peer, when it runs.
	Feedback                 bool
	AvailableIncomingBitrate uint64
	PacketLossReceived       float64
	MaxIncomingBitrate       uint64 // 0: no limit
	// Limits of what is sent to the peer, in bit/s; 0: none.
	MinOutgoingBitrate, MaxOutgoingBitrate uint32
	// Of what is sent to the peer, once its bandwidth is estimated.
	Estimated                                bool
	AvailableOutgoingBitrate                 uint64
	PacketLossSent                           float64
	ProbationBytesSent, ProbationSendBitrate uint64
	SCTPState                                string // empty without SCTP
	// State of the part, as in its dump.
	WebRTC *WebRTCDump
	Plain  *PlainDump
	Pipe   *PipeDump
}

// TransportStats returns the counters of the transport with that id.
func (m *Machine) TransportStats(id string) (TransportStats, error) {
	t := m.transports[id]
	if t == nil {
		return TransportStats{}, notFound("Transport", id)
	}
	var d TransportDump
	t.part.fill(&d)
	s := TransportStats{
		ID: id, Timestamp: m.now, WebRTC: d.WebRTC, Plain: d.Plain, Pipe: d.Pipe,
		MinOutgoingBitrate: t.limits.low, MaxOutgoingBitrate: t.limits.high,
	}
	for _, c := range []struct {
		counter        *rate.Counter
		bytes, bitrate *uint64
	}{
		{&t.recv, &s.BytesReceived, &s.RecvBitrate},
		{&t.sent, &s.BytesSent, &s.SendBitrate},
		{&t.recvRTP, &s.RTPBytesReceived, &s.RTPRecvBitrate},
		{&t.sentRTP, &s.RTPBytesSent, &s.RTPSendBitrate},
		{&t.recvRTX, &s.RTXBytesReceived, &s.RTXRecvBitrate},
		{&t.sentRTX, &s.RTXBytesSent, &s.RTXSendBitrate},
	} {
		*c.bytes, *c.bitrate = c.counter.Bytes(), c.counter.Rate(m.now)
	}
	if p := s.Plain; p != nil && p.RTCPTuple != nil && p.RTCPTuple.RemotePort == 0 {
		p.RTCPTuple = nil // only the dump tells where RTCP is awaited
	}
	s.Feedback = t.feedback.mode != feedbackOff
	s.AvailableIncomingBitrate = t.feedback.available()
	s.PacketLossReceived = t.feedback.loss()
	s.MaxIncomingBitrate = t.feedback.max
	t.fillOutgoing(&s)
	if t.sctp != nil {
		s.SCTPState = t.sctp.state()
	}
	return s, nil
}
