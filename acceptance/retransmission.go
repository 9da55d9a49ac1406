package acceptance

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/internal/peer"
)

var retransmissionCases = []testCase{
	{
		name:        "Retransmission/DownByRTX",
		explanation: "what a receiving endpoint NACKs is sent again in the RTX stream of its Consumer, with the Consumer's sequence number (RFC 4588 §4)",
		upstream:    []string{"3.15.8"},
		run:         testRetransmissionDownByRTX,
	},
	{
		name:        "Retransmission/DownWithoutRTX",
		explanation: "without RTX the same packet is sent again",
		upstream:    []string{"Consumer 2"},
		run:         testRetransmissionDownWithoutRTX,
	},
	{
		name:        "Retransmission/DownOncePerRTT",
		explanation: "a packet that was sent again is not repeated within a round trip, which is 100 ms while unknown",
		run:         testRetransmissionDownOncePerRTT,
	},
	{
		name:        "Retransmission/DownUnknown",
		explanation: "what was never sent or is too old is not sent again; a NACK about another stream is ignored",
		run:         testRetransmissionDownUnknown,
	},
	{
		name:        "Retransmission/DownManyConsumers",
		explanation: "each Consumer repeats its own stream, also one that joined later",
		upstream:    []string{"3.15.8"},
		run:         testRetransmissionDownManyConsumers,
	},
	{
		name:        "Retransmission/DownAfterPause",
		explanation: "pausing forgets what could be sent again",
		run:         testRetransmissionDownAfterPause,
	},
	{
		name:        "Retransmission/UpNACK",
		explanation: "what is missing from an endpoint is NACKed, once the gap is a little old, and again until it comes",
		run:         testRetransmissionUpNACK,
	},
	{
		name:        "Retransmission/UpByRTX",
		explanation: "a packet that the endpoint repeats in its RTX stream fills the gap at every Consumer, and is counted",
		run:         testRetransmissionUpByRTX,
	},
	{
		name:        "Retransmission/UpWithoutRTX",
		explanation: "without RTX a repeated packet fills the gap as well",
		run:         testRetransmissionUpWithoutRTX,
	},
	{
		name:        "Retransmission/UpNotNegotiated",
		explanation: "an endpoint that does not know NACK gets none",
		run:         testRetransmissionUpNotNegotiated,
	},
	{
		name:        "Retransmission/UpHugeGap",
		explanation: "a gap too large to repair is answered by a request for a key frame",
		run:         testRetransmissionUpHugeGap,
	},
}

// nack asks for packets.
func nack(ssrc uint32, seqs ...uint16) *rtcp.TransportLayerNack {
	return &rtcp.TransportLayerNack{SenderSSRC: 9, MediaSSRC: ssrc, Nacks: rtcp.NackPairsFromSequenceNumbers(seqs)}
}

// requested returns what a NACK asks for.
func requested(n *rtcp.TransportLayerNack) (seqs []uint16) {
	for _, p := range n.Nacks {
		seqs = append(seqs, p.PacketList()...)
	}
	slices.Sort(seqs)
	return seqs
}

func testRetransmissionDownByRTX(t *testing.T, s *suite) {
	r := s.room(t)
	in := r.directEnd(t)
	p := in.produce(t, mafalda.MediaKindVideo, video("", 1))
	src := vp8Source(1)
	for _, out := range []*end{
		r.webRTCEnd(t, overUDP(), peer.Config{}), r.plainEnd(t, mafalda.PlainTransportOptions{}), r.directEnd(t),
	} {
		c := out.consume(t, r, p)
		rtx := c.RTPParameters().Encodings[0].RTX.SSRC
		var sent []*rtp.Packet
		for i := range 20 {
			in.sendRTP(t, src.packet(vp8Key(fmt.Sprint(i)), marked, extended(t, 13, []byte{0x0b})))
			sent = append(sent, out.next(t, c))
		}
		out.sendRTCP(t, nack(c.RTPParameters().Encodings[0].SSRC,
			sent[3].SequenceNumber, sent[4].SequenceNumber, sent[18].SequenceNumber))
		var seq uint16
		for i, want := range []*rtp.Packet{sent[3], sent[4], sent[18]} {
			x := parseRTP(t, receive(t, out.rtp, "a retransmission"))
			require.Equal(t, rtx, x.SSRC)
			require.Equal(t, uint8(102), x.PayloadType)
			require.Equal(t, want.Timestamp, x.Timestamp)
			require.Equal(t, want.Marker, x.Marker)
			osn, payload := original(t, x)
			require.Equal(t, want.SequenceNumber, osn)
			require.Equal(t, want.Payload, payload)
			require.Equal(t, want.GetExtension(1), x.GetExtension(1), "MID")
			require.Equal(t, []byte{0x0b}, x.GetExtension(8))
			if i > 0 {
				require.Equal(t, seq+1, x.SequenceNumber, "the RTX stream counts by itself")
			}
			seq = x.SequenceNumber
		}
		stats, err := c.Stats(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 1, stats[0].NACKCount)
		require.EqualValues(t, 3, stats[0].NACKPacketCount)
		require.EqualValues(t, 3, stats[0].PacketsRetransmitted)
		require.EqualValues(t, 3, stats[0].PacketsRepaired)
		require.EqualValues(t, 20, stats[0].PacketCount)
		require.Positive(t, transportStats(t, out.transport).RTXBytesSent)
		require.NoError(t, out.transport.Close())
	}
}

func testRetransmissionDownWithoutRTX(t *testing.T, s *suite) {
	r := s.room(t)
	in, out := r.directEnd(t), r.directEnd(t)
	p := in.produce(t, mafalda.MediaKindAudio, audio("", 1))
	c := out.consumeWith(t, mafalda.ConsumerOptions{
		ProducerID: p.ID(), RTPCapabilities: r.router.RTPCapabilities(), EnableRTX: new(true),
	})
	src := opusSource(1)
	var sent []*rtp.Packet
	for i := range 5 {
		in.sendRTP(t, src.packet(fmt.Append(nil, "sound ", i)))
		sent = append(sent, out.next(t, c))
	}
	out.sendRTCP(t, nack(c.RTPParameters().Encodings[0].SSRC, sent[1].SequenceNumber))
	again := out.next(t, c)
	require.Equal(t, sent[1].SequenceNumber, again.SequenceNumber)
	require.Equal(t, sent[1].Payload, again.Payload)
	require.Equal(t, sent[1].PayloadType, again.PayloadType)
}

func testRetransmissionDownOncePerRTT(t *testing.T, s *suite) {
	r := s.room(t)
	in, out := r.directEnd(t), r.directEnd(t)
	c := out.consume(t, r, in.produce(t, mafalda.MediaKindVideo, video("", 1)))
	e := c.RTPParameters().Encodings[0]
	src := vp8Source(1)
	in.sendRTP(t, src.packet(vp8Key("0"), marked))
	first := out.next(t, c)
	in.sendRTP(t, src.packet(vp8Delta("1"), marked))
	second := out.next(t, c)
	began := time.Now()
	out.sendRTCP(t, nack(e.SSRC, first.SequenceNumber))
	osn, _ := original(t, out.nextRTP(t, e.RTX.SSRC))
	require.Equal(t, first.SequenceNumber, osn)
	eventually(t, "a part of the round trip passes", elapsed(20*time.Millisecond))
	out.sendRTCP(t, nack(e.SSRC, first.SequenceNumber))
	out.sendRTCP(t, nack(e.SSRC, second.SequenceNumber))
	osn, _ = original(t, out.nextRTP(t, e.RTX.SSRC))
	if osn == first.SequenceNumber {
		require.GreaterOrEqual(t, time.Since(began), 90*time.Millisecond, "it was sent a moment ago")
		osn, _ = original(t, out.nextRTP(t, e.RTX.SSRC))
	}
	require.Equal(t, second.SequenceNumber, osn)
	eventually(t, "a round trip passes", elapsed(120*time.Millisecond))
	out.sendRTCP(t, nack(e.SSRC, first.SequenceNumber))
	osn, _ = original(t, out.nextRTP(t, e.RTX.SSRC))
	require.Equal(t, first.SequenceNumber, osn)
}

func testRetransmissionDownUnknown(t *testing.T, s *suite) {
	r := s.room(t)
	in, out := r.directEnd(t), r.directEnd(t)
	p := in.produce(t, mafalda.MediaKindVideo, video("", 1))
	c := out.consume(t, r, p)
	off := out.consumeWith(t, mafalda.ConsumerOptions{
		ProducerID: p.ID(), RTPCapabilities: r.router.RTPCapabilities(), EnableRTX: new(false),
	})
	e := c.RTPParameters().Encodings[0]
	src := vp8Source(1)
	in.sendRTP(t, src.packet(vp8Key("0"), marked))
	first := out.next(t, c)
	src.skip(1)
	src.ts += 3 * 90000 // three seconds later: the first packet is too old
	in.sendRTP(t, src.packet(vp8Key("1"), marked))
	last := out.next(t, c)
	out.sendRTCP(t, nack(e.SSRC, first.SequenceNumber))
	out.sendRTCP(t, nack(e.SSRC, last.SequenceNumber-1, last.SequenceNumber+5))
	out.sendRTCP(t, nack(12345, last.SequenceNumber))
	out.sendRTCP(t, nack(off.RTPParameters().Encodings[0].SSRC, last.SequenceNumber))
	out.sendRTCP(t, nack(e.SSRC, last.SequenceNumber))
	x := parseRTP(t, receive(t, out.rtp, "a retransmission"))
	for x.SSRC == off.RTPParameters().Encodings[0].SSRC { // it has no RTX, and may send the packet again
		x = parseRTP(t, receive(t, out.rtp, "a retransmission"))
	}
	require.Equal(t, e.RTX.SSRC, x.SSRC)
	osn, _ := original(t, x)
	require.Equal(t, last.SequenceNumber, osn)
}

func testRetransmissionDownManyConsumers(t *testing.T, s *suite) {
	r := s.room(t)
	in := r.plainEnd(t, mafalda.PlainTransportOptions{})
	p := in.produce(t, mafalda.MediaKindVideo, video("", 1))
	src := vp8Source(1)
	type leg struct {
		e    *end
		c    mafalda.Consumer
		last *rtp.Packet
	}
	var legs []leg
	for i := range 4 {
		e := r.webRTCEnd(t, overUDP(), peer.Config{})
		legs = append(legs, leg{e: e, c: e.consume(t, r, p)})
		in.sendRTP(t, src.packet(vp8Key(fmt.Sprint("picture ", i)), marked))
		for k := range legs {
			legs[k].last = legs[k].e.next(t, legs[k].c)
		}
	}
	for _, l := range legs {
		enc := l.c.RTPParameters().Encodings[0]
		l.e.sendRTCP(t, nack(enc.SSRC, l.last.SequenceNumber))
		osn, payload := original(t, l.e.nextRTP(t, enc.RTX.SSRC))
		require.Equal(t, l.last.SequenceNumber, osn)
		require.Equal(t, vp8Key("picture 3"), payload)
	}
}

func testRetransmissionDownAfterPause(t *testing.T, s *suite) {
	r := s.room(t)
	in, out := r.directEnd(t), r.directEnd(t)
	c := out.consume(t, r, in.produce(t, mafalda.MediaKindVideo, video("", 1)))
	e := c.RTPParameters().Encodings[0]
	src := vp8Source(1)
	in.sendRTP(t, src.packet(vp8Key("0"), marked))
	first := out.next(t, c)
	require.NoError(t, c.Pause(t.Context()))
	require.NoError(t, c.Resume(t.Context()))
	in.sendRTP(t, src.packet(vp8Key("1"), marked))
	second := out.next(t, c)
	out.sendRTCP(t, nack(e.SSRC, first.SequenceNumber, second.SequenceNumber))
	osn, _ := original(t, out.nextRTP(t, e.RTX.SSRC))
	require.Equal(t, second.SequenceNumber, osn)
}

func testRetransmissionUpNACK(t *testing.T, s *suite) {
	r := s.room(t)
	in := r.webRTCEnd(t, overUDP(), peer.Config{})
	in.produce(t, mafalda.MediaKindVideo, video("", 1))
	src := vp8Source(1)
	in.sendRTP(t, src.packet(vp8Key("0"), marked))
	missing := []uint16{src.seq, src.seq + 1, src.seq + 2}
	src.skip(3)
	in.sendRTP(t, src.packet(vp8Delta("4"), marked))
	began := time.Now()
	for i := range 3 {
		n := nextRTCP[*rtcp.TransportLayerNack](t, in, nil)
		require.Equal(t, uint32(1), n.MediaSSRC)
		require.Equal(t, missing, requested(n))
		if i == 2 {
			require.Greater(t, time.Since(began), 100*time.Millisecond, "not more than once in a round trip")
		}
	}
}

func testRetransmissionUpByRTX(t *testing.T, s *suite) {
	r := s.room(t)
	in := r.plainEnd(t, mafalda.PlainTransportOptions{})
	a, b := r.directEnd(t), r.webRTCEnd(t, overUDP(), peer.Config{})
	p := in.produce(t, mafalda.MediaKindVideo, video("", 1))
	ca, cb := a.consume(t, r, p), b.consume(t, r, p)
	src := vp8Source(1)
	in.sendRTP(t, src.packet(vp8Key("0"), marked))
	first, firstB := a.next(t, ca), b.next(t, cb)
	lost := src.packet(vp8Delta("lost"), marked)
	in.sendRTP(t, src.packet(vp8Delta("2"), marked))
	require.Equal(t, first.SequenceNumber+2, a.next(t, ca).SequenceNumber)
	b.next(t, cb)
	n := nextRTCP[*rtcp.TransportLayerNack](t, in, nil)
	require.Equal(t, []uint16{lost.SequenceNumber}, requested(n))
	in.sendRTP(t, retransmission(lost, 2, 113, 777))
	for e, v := range map[*end]struct {
		c     mafalda.Consumer
		first uint16
	}{a: {ca, first.SequenceNumber}, b: {cb, firstB.SequenceNumber}} {
		got := e.next(t, v.c)
		require.Equal(t, vp8Delta("lost"), got.Payload)
		require.Equal(t, v.first+1, got.SequenceNumber)
		require.Equal(t, lost.Timestamp, got.Timestamp)
		require.Equal(t, uint8(101), got.PayloadType)
		require.True(t, got.Marker)
	}
	in.sendRTP(t, retransmission(lost, 2, 113, 778)) // again: nobody asked
	in.sendRTP(t, src.packet(vp8Delta("3"), marked))
	require.Equal(t, vp8Delta("3"), a.next(t, ca).Payload)

	stats, err := p.Stats(t.Context())
	require.NoError(t, err)
	require.Len(t, stats, 1)
	require.EqualValues(t, 2, stats[0].RTXSSRC)
	require.EqualValues(t, 1, stats[0].PacketsRepaired)
	require.GreaterOrEqual(t, stats[0].PacketsRetransmitted, uint64(1))
	require.GreaterOrEqual(t, stats[0].NACKCount, uint64(1))
	require.GreaterOrEqual(t, stats[0].NACKPacketCount, uint64(1))
	require.Positive(t, transportStats(t, in.transport).RTXBytesReceived)
	require.Contains(t, dumpTransport(t, in.transport).RTPListener.SSRCTable,
		mafalda.KeyValue[uint32, string]{Key: 2, Value: p.ID()})
}

func testRetransmissionUpWithoutRTX(t *testing.T, s *suite) {
	r := s.room(t)
	given := video("", 1)
	given.Codecs = given.Codecs[:1]
	given.Encodings[0].RTX = nil
	in, out := r.directEnd(t), r.directEnd(t)
	p := in.produce(t, mafalda.MediaKindVideo, given)
	c := out.consume(t, r, p)
	src := vp8Source(1)
	in.sendRTP(t, src.packet(vp8Key("0"), marked))
	first := out.next(t, c)
	lost := src.packet(vp8Delta("lost"), marked)
	in.sendRTP(t, src.packet(vp8Delta("2"), marked))
	out.next(t, c)
	n := nextRTCP[*rtcp.TransportLayerNack](t, in, nil)
	require.Equal(t, []uint16{lost.SequenceNumber}, requested(n))
	in.sendRTP(t, lost)
	got := out.next(t, c)
	require.Equal(t, vp8Delta("lost"), got.Payload)
	require.Equal(t, first.SequenceNumber+1, got.SequenceNumber)
}

func testRetransmissionUpNotNegotiated(t *testing.T, s *suite) {
	r := s.room(t)
	given := video("", 1)
	given.Codecs[0].RTCPFeedback = []mafalda.RTCPFeedback{{Type: "nack", Parameter: "pli"}}
	in := r.directEnd(t)
	with := r.directEnd(t)
	in.produce(t, mafalda.MediaKindVideo, given)
	with.produce(t, mafalda.MediaKindVideo, video("", 1))
	for _, e := range []*end{in, with} {
		src := vp8Source(1)
		e.sendRTP(t, src.packet(vp8Key("0"), marked))
		src.skip(3)
		e.sendRTP(t, src.packet(vp8Delta("4"), marked))
	}
	nextRTCP[*rtcp.TransportLayerNack](t, with, nil)
	for len(in.rtcp) > 0 {
		for _, p := range parseRTCP(t, <-in.rtcp) {
			require.IsNotType(t, &rtcp.TransportLayerNack{}, p)
		}
	}
}

func testRetransmissionUpHugeGap(t *testing.T, s *suite) {
	r := s.room(t)
	in, out := r.directEnd(t), r.directEnd(t)
	c := out.consume(t, r, in.produce(t, mafalda.MediaKindVideo, video("", 1)))
	src := vp8Source(1)
	in.sendRTP(t, src.packet(vp8Key("0"), marked))
	out.next(t, c)
	drain(in.rtcp)
	src.skip(1200)
	in.sendRTP(t, src.packet(vp8Delta("1200"), marked))
	nextPLI(t, in, 1)
}
