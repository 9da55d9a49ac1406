package acceptance

import (
	"testing"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/internal/peer"
)

var demuxCases = []testCase{
	{
		name:        "Demux/BySSRC",
		explanation: "packets belong to the Producer whose SSRC they have; others are dropped",
		run:         testDemuxBySSRC,
	},
	{
		name:        "Demux/ByMID",
		explanation: "a Producer without SSRC is found by MID, and then by the SSRC that was learned",
		run:         testDemuxByMID,
	},
	{
		name:        "Demux/ByRID",
		explanation: "a Producer without SSRC and MID is found by RID",
		upstream:    []string{"3.19.12"},
		run:         testDemuxByRID,
	},
	{
		name:        "Demux/MIDBeforeRID",
		explanation: "a RID counts only in a packet without MID",
		upstream:    []string{"3.19.12"},
		run:         testDemuxMIDBeforeRID,
	},
	{
		name:        "Demux/AfterClose",
		explanation: "what belonged to a closed Producer is dropped, and comes through again for a new one, encrypted too",
		run:         testDemuxAfterClose,
	},
	{
		name:        "Demux/ManyProducers",
		explanation: "many Producers on one transport don't mix",
		run:         testDemuxManyProducers,
	},
}

func testDemuxBySSRC(t *testing.T, s *suite) {
	r := s.room(t)
	in, out := r.plainEnd(t, mafalda.PlainTransportOptions{}), r.directEnd(t)
	a := in.produce(t, mafalda.MediaKindAudio, audio("a", 1))
	b := in.produce(t, mafalda.MediaKindAudio, audio("b", 2))
	ca, cb := out.consume(t, r, a), out.consume(t, r, b)
	in.sendRTP(t, opusSource(3).packet([]byte("nobody's")))
	in.sendRTP(t, opusSource(2).packet([]byte("b")))
	require.Equal(t, "b", string(out.next(t, cb).Payload))
	in.sendRTP(t, opusSource(1).packet([]byte("a")))
	require.Equal(t, "a", string(out.next(t, ca).Payload))
	require.Empty(t, out.rtp)
}

func testDemuxByMID(t *testing.T, s *suite) {
	r := s.room(t)
	in, out := r.plainEnd(t, mafalda.PlainTransportOptions{}), r.directEnd(t)
	given := audio("by-mid", 0)
	given.Encodings = nil
	c := out.consume(t, r, in.produce(t, mafalda.MediaKindAudio, given))
	src := opusSource(555)
	in.sendRTP(t, src.packet([]byte("too early")))
	in.sendRTP(t, src.packet([]byte("other"), extended(t, 10, []byte("other"))))
	in.sendRTP(t, src.packet([]byte("first"), extended(t, 10, []byte("by-mid"))))
	require.Equal(t, "first", string(out.next(t, c).Payload))
	in.sendRTP(t, src.packet([]byte("second")))
	require.Equal(t, "second", string(out.next(t, c).Payload))
	require.Contains(t, dumpTransport(t, in.transport).RTPListener.SSRCTable,
		mafalda.KeyValue[uint32, string]{Key: 555, Value: c.ProducerID()})
}

func ridVideo(mid, rid string) mafalda.RTPParameters {
	p := video(mid, 0)
	p.HeaderExtensions = append(p.HeaderExtensions,
		mafalda.RTPHeaderExtensionParameters{URI: mafalda.RTPHeaderExtensionRTPStreamID, ID: 5},
		mafalda.RTPHeaderExtensionParameters{URI: mafalda.RTPHeaderExtensionRepairedRTPStreamID, ID: 6})
	p.Encodings = []mafalda.RTPEncodingParameters{{RID: rid}}
	return p
}

func testDemuxByRID(t *testing.T, s *suite) {
	r := s.room(t)
	in, out := r.plainEnd(t, mafalda.PlainTransportOptions{}), r.directEnd(t)
	p := in.produce(t, mafalda.MediaKindVideo, ridVideo("", "hi"))
	c := out.consume(t, r, p)
	src := vp8Source(666)
	in.sendRTP(t, src.packet(vp8Key("lo"), extended(t, 5, []byte("lo"))))
	in.sendRTP(t, src.packet(vp8Key("hi"), extended(t, 5, []byte("hi"))))
	require.Equal(t, vp8Key("hi"), out.next(t, c).Payload)
	require.Equal(t, []mafalda.KeyValue[string, string]{{Key: "hi", Value: p.ID()}},
		dumpTransport(t, in.transport).RTPListener.RIDTable)
	stats, err := p.Stats(t.Context())
	require.NoError(t, err)
	require.Len(t, stats, 1)
	require.Equal(t, "hi", stats[0].RID)
	require.Equal(t, uint32(666), stats[0].SSRC)
	eventually(t, "the score", func() bool { return len(p.Score()) == 1 })
	require.Equal(t, []mafalda.ProducerScore{{SSRC: 666, RID: "hi", Score: 10}}, p.Score())
}

func testDemuxMIDBeforeRID(t *testing.T, s *suite) {
	r := s.room(t)
	in, out := r.plainEnd(t, mafalda.PlainTransportOptions{}), r.directEnd(t)
	c := out.consume(t, r, in.produce(t, mafalda.MediaKindVideo, ridVideo("mine", "hi")))
	d := out.consume(t, r, in.produce(t, mafalda.MediaKindVideo, ridVideo("yours", "hi")))
	in.sendRTP(t, vp8Source(1).packet(vp8Key("nobody"), extended(t, 10, []byte("none")), extended(t, 5, []byte("hi"))))
	in.sendRTP(t, vp8Source(2).packet(vp8Key("yours"), extended(t, 10, []byte("yours")), extended(t, 5, []byte("hi"))))
	require.Equal(t, vp8Key("yours"), out.next(t, d).Payload)
	in.sendRTP(t, vp8Source(3).packet(vp8Key("mine"), extended(t, 10, []byte("mine")), extended(t, 5, []byte("hi"))))
	require.Equal(t, vp8Key("mine"), out.next(t, c).Payload)
	require.Empty(t, out.rtp)
}

func testDemuxAfterClose(t *testing.T, s *suite) {
	r := s.room(t)
	in, out := r.webRTCEnd(t, overUDP(), peer.Config{}), r.directEnd(t)
	src := opusSource(1)
	for i := range 3 {
		p := in.produce(t, mafalda.MediaKindAudio, audio("a", 1))
		c := out.consume(t, r, p)
		text := string(rune('a' + i))
		in.sendRTP(t, src.packet([]byte(text)))
		for string(out.next(t, c).Payload) != text { // what was for nobody may come late
		}
		require.NoError(t, p.Close())
		done(t, c)
		in.sendRTP(t, src.packet([]byte("to nobody")))
	}
}

func testDemuxManyProducers(t *testing.T, s *suite) {
	r := s.room(t)
	in, out := r.webRTCEnd(t, overUDP(), peer.Config{}), r.webRTCEnd(t, overUDP(), peer.Config{})
	const n = 30
	text := map[uint32]string{}
	var sources []*source
	for i := range n {
		name := "m" + string(rune('A'+i))
		p := in.produce(t, mafalda.MediaKindAudio, audio(name, uint32(100+i)))
		c := out.consume(t, r, p)
		text[c.RTPParameters().Encodings[0].SSRC] = name
		sources = append(sources, opusSource(uint32(100+i)))
	}
	require.Len(t, text, n, "each Consumer has an SSRC of its own")
	for i, src := range sources {
		in.sendRTP(t, src.packet([]byte("m"+string(rune('A'+i))), func(p *rtp.Packet) { p.Marker = i%2 == 0 }))
	}
	for range n {
		p := parseRTP(t, receive(t, out.rtp, "a packet"))
		require.Equal(t, text[p.SSRC], string(p.Payload))
		delete(text, p.SSRC)
	}
	require.Empty(t, text)
}
