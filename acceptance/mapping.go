package acceptance

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
)

var mappingCases = []testCase{
	{
		name:        "Mapping/SequenceNumbers",
		explanation: "a Consumer's sequence numbers begin anywhere and keep the gaps and the order of what was sent, across the wrap",
		upstream:    []string{"3.15.5"},
		run:         testMappingSequenceNumbers,
	},
	{
		name:        "Mapping/Duplicates",
		explanation: "a packet that comes twice is sent once; a late one keeps its place",
		upstream:    []string{"3.19.8"},
		run:         testMappingDuplicates,
	},
	{
		name:        "Mapping/BeginAgain",
		explanation: "a Consumer begins with what comes next, though its Producer had these numbers before; one that had them too drops them; a pipe is such a one",
		run:         testMappingBeginAgain,
	},
	{
		name:        "Mapping/SequenceJump",
		explanation: "one packet whose sequence number is far off is dropped, two in a row are a new beginning (RFC 3550 §A.1); each Producer and Consumer on the way looks for itself, those of pipes too, as mediasoup's do, so each of them may drop one",
		run:         testMappingSequenceJump,
	},
	{
		name:        "Mapping/Padding",
		explanation: "a packet of padding alone is not forwarded, and leaves no gap",
		upstream:    []string{"3.16.7 padding"},
		run:         testMappingPadding,
	},
	{
		name:        "Mapping/AudioExtensions",
		explanation: "header extensions of audio get the Router's ids; MID is the Consumer's, the level is kept",
		upstream:    []string{"Consumer 5"},
		run:         testMappingAudioExtensions,
	},
	{
		name:        "Mapping/VideoExtensions",
		explanation: "header extensions of video get the Router's ids; MID is the Consumer's, the send time is ours, what describes the picture is kept",
		upstream:    []string{"Consumer 5"},
		run:         testMappingVideoExtensions,
	},
	{
		name:        "Mapping/TwoByteExtensions",
		explanation: "header extensions in the two-byte form are read (RFC 8285 §4.3)",
		run:         testMappingTwoByteExtensions,
	},
	{
		name:        "Mapping/AbsCaptureTime",
		explanation: "abs-capture-time is announced and forwarded only where the Producer negotiated it",
		upstream:    []string{"3.25.0"},
		run:         testMappingAbsCaptureTime,
	},
	{
		name:        "Mapping/PacketID",
		explanation: "EnableMediasoupPacketIDHeaderExtension numbers the received packets one by one",
		upstream:    []string{"3.19.5"},
		run:         testMappingPacketID,
	},
	{
		name:        "Mapping/PayloadTypes",
		explanation: "packets of a payload type that was not negotiated are dropped",
		run:         testMappingPayloadTypes,
	},
	{
		name:        "Mapping/CSRC",
		explanation: "a list of contributing sources does not disturb the payload",
		run:         testMappingCSRC,
	},
	{
		name:        "Mapping/IgnoreDTX",
		explanation: "IgnoreDTX drops the packets with which Opus fills silence, without a gap; others get them",
		run:         testMappingIgnoreDTX,
	},
}

func testMappingSequenceNumbers(t *testing.T, s *suite) {
	r := s.room(t)
	in := r.directEnd(t)
	p := in.produce(t, mafalda.MediaKindAudio, audio("", 1))
	a, b := r.directEnd(t), r.directEnd(t)
	ca, cb := a.consume(t, r, p), b.consume(t, r, p)
	src := opusSource(1)
	src.seq = 65530
	var first [2]uint16
	sent := []uint16{65530, 65531, 65533, 65532, 65535, 0, 1, 4, 3}
	for i, seq := range sent {
		src.seq = seq
		in.sendRTP(t, src.packet([]byte{byte(seq)}))
		for k, got := range []*rtp.Packet{a.next(t, ca), b.next(t, cb)} {
			if i == 0 {
				first[k] = got.SequenceNumber
			}
			require.Equal(t, first[k]+(seq-sent[0]), got.SequenceNumber, "of packet %d", seq)
			require.Equal(t, []byte{byte(seq)}, got.Payload)
		}
	}
}

func testMappingDuplicates(t *testing.T, s *suite) {
	r := s.room(t)
	in, out := r.directEnd(t), r.directEnd(t)
	p := in.produce(t, mafalda.MediaKindVideo, video("", 1))
	c := out.consume(t, r, p)
	src := vp8Source(1)
	first := src.packet(vp8Key("0"), marked)
	late := src.packet(vp8Delta("1"), marked)
	second := src.packet(vp8Delta("2"), marked)
	last := src.packet(vp8Delta("3"), marked)
	for _, x := range []*rtp.Packet{first, first, second, second, late, late, first, last} {
		in.sendRTP(t, x)
	}
	seq := out.next(t, c).SequenceNumber
	for _, want := range []struct {
		seq     uint16
		payload []byte
	}{{seq + 2, vp8Delta("2")}, {seq + 1, vp8Delta("1")}, {seq + 3, vp8Delta("3")}} {
		got := out.next(t, c)
		require.Equal(t, want.seq, got.SequenceNumber)
		require.Equal(t, want.payload, got.Payload)
	}
	require.Empty(t, out.rtp)
}

func testMappingBeginAgain(t *testing.T, s *suite) {
	r := s.room(t)
	in, out, later := r.directEnd(t), r.directEnd(t), r.directEnd(t)
	p := in.produce(t, mafalda.MediaKindAudio, audio("", 1))
	const n = 7
	send := func() {
		t.Helper()
		src := opusSource(1)
		for i := range n {
			in.sendRTP(t, src.packet([]byte{byte(i)}))
		}
	}
	requireAll := func(e *end, c mafalda.Consumer) {
		t.Helper()
		for i := range n {
			require.Equal(t, []byte{byte(i)}, e.next(t, c).Payload)
		}
	}
	c := out.consume(t, r, p)
	send()
	requireAll(out, c)
	lc := later.consume(t, r, p)
	send()
	if s.Pipes == 0 {
		requireAll(later, lc)
	}
	src := opusSource(1)
	src.skip(n)
	in.sendRTP(t, src.packet([]byte("new")))
	require.Equal(t, "new", string(out.next(t, c).Payload), "it had the others")
}

func testMappingSequenceJump(t *testing.T, s *suite) {
	r := s.room(t)
	in, out := r.directEnd(t), r.directEnd(t)
	c := out.consume(t, r, in.produce(t, mafalda.MediaKindAudio, audio("", 1)))
	src := opusSource(1)
	in.sendRTP(t, src.packet([]byte("before")))
	require.Equal(t, "before", string(out.next(t, c).Payload))
	src.seq += 10000
	in.sendRTP(t, src.packet([]byte("alone")))
	src.seq -= 10001
	in.sendRTP(t, src.packet([]byte("after")))
	require.Equal(t, "after", string(out.next(t, c).Payload))
	src.seq += 20000
	// The first is dropped on the way in; the next one may be on the way out, where
	// it is the first that is far off, and so on at both ends of each pipe between.
	dropped := 2 + 2*s.Pipes
	sent := dropped + 3
	for i := range sent {
		in.sendRTP(t, src.packet(fmt.Append(nil, i)))
	}
	got := out.next(t, c)
	first, err := strconv.Atoi(string(got.Payload))
	require.NoError(t, err)
	require.GreaterOrEqual(t, first, 1)
	require.LessOrEqual(t, first, dropped)
	for i, seq := first+1, got.SequenceNumber+1; i < sent; i, seq = i+1, seq+1 {
		got := out.next(t, c)
		require.Equal(t, fmt.Sprint(i), string(got.Payload))
		require.Equal(t, seq, got.SequenceNumber)
	}
}

func testMappingPadding(t *testing.T, s *suite) {
	r := s.room(t)
	in, out := r.directEnd(t), r.directEnd(t)
	c := out.consume(t, r, in.produce(t, mafalda.MediaKindVideo, video("", 1)))
	src := vp8Source(1)
	in.sendRTP(t, src.packet(vp8Key("one")))
	first := out.next(t, c)
	for range 3 {
		in.sendRTP(t, src.packet(nil, func(p *rtp.Packet) { p.Padding, p.PaddingSize, p.Header.PaddingSize = true, 200, 200 }))
	}
	in.sendRTP(t, src.packet(vp8Delta("two")))
	second := out.next(t, c)
	require.Equal(t, vp8Delta("two"), second.Payload)
	require.Equal(t, first.SequenceNumber+1, second.SequenceNumber)
}

func testMappingAudioExtensions(t *testing.T, s *suite) {
	r := s.room(t)
	in := r.directEnd(t)
	given := audio("sent", 1)
	given.HeaderExtensions = append(given.HeaderExtensions,
		mafalda.RTPHeaderExtensionParameters{URI: mafalda.RTPHeaderExtensionPlayoutDelay, ID: 3})
	p := in.produce(t, mafalda.MediaKindAudio, given)
	out := r.directEnd(t)
	c := out.consume(t, r, p)
	named := out.consumeWith(t, mafalda.ConsumerOptions{
		ProducerID: p.ID(), RTPCapabilities: r.router.RTPCapabilities(), MID: "of-eight",
	})
	long := out.consumeWith(t, mafalda.ConsumerOptions{
		ProducerID: p.ID(), RTPCapabilities: r.router.RTPCapabilities(), MID: "longer-than-that",
	})
	require.Equal(t, "longer-than-that", long.RTPParameters().MID)
	in.sendRTP(t, opusSource(1).packet([]byte("x"),
		extended(t, 10, []byte("sent")), extended(t, 12, []byte{0x85}), extended(t, 3, []byte{1, 2, 3})))
	got := map[uint32]*rtp.Packet{}
	for range 3 {
		x := parseRTP(t, receive(t, out.rtp, "a packet"))
		got[x.SSRC] = x
	}
	require.Empty(t, got[long.RTPParameters().Encodings[0].SSRC].GetExtension(1), "no room")
	for consumer, mid := range map[mafalda.Consumer]string{c: "0", named: "of-eight"} {
		x := got[consumer.RTPParameters().Encodings[0].SSRC]
		require.NotNil(t, x)
		require.Equal(t, mid, string(x.GetExtension(1)))
		require.Equal(t, []byte{0x85}, x.GetExtension(6))
		require.Equal(t, []byte{1, 2, 3}, x.GetExtension(11))
		require.Subset(t, []uint8{1, 6, 11}, x.GetExtensionIDs(), "nothing else")
	}
}

func testMappingVideoExtensions(t *testing.T, s *suite) {
	r := s.room(t)
	given := video("sent", 1)
	given.HeaderExtensions = append(given.HeaderExtensions,
		mafalda.RTPHeaderExtensionParameters{URI: mafalda.RTPHeaderExtensionTimeOffset, ID: 4},
		mafalda.RTPHeaderExtensionParameters{URI: mafalda.RTPHeaderExtensionRTPStreamID, ID: 5},
		mafalda.RTPHeaderExtensionParameters{URI: mafalda.RTPHeaderExtensionPlayoutDelay, ID: 6},
	)
	in := r.plainEnd(t, mafalda.PlainTransportOptions{})
	p := in.produce(t, mafalda.MediaKindVideo, given)
	out := r.plainEnd(t, mafalda.PlainTransportOptions{})
	c := out.consume(t, r, p)
	src := vp8Source(1)
	var times []uint32
	for i, wait := range []bool{false, true} {
		if wait {
			eventually(t, "20 ms pass", elapsed(20*time.Millisecond))
		}
		in.sendRTP(t, src.packet(vp8Key("x"),
			extended(t, 10, []byte("sent")), extended(t, 11, []byte{9, 9, 9}), extended(t, 13, []byte{0x0b}),
			extended(t, 4, []byte{4, 5, 6}), extended(t, 5, []byte("rid")), extended(t, 6, []byte{7, 8, 9})))
		x := out.next(t, c)
		require.Equal(t, "0", string(x.GetExtension(1)))
		require.Equal(t, []byte{0x0b}, x.GetExtension(8))
		require.Equal(t, []byte{4, 5, 6}, x.GetExtension(9))
		require.Equal(t, []byte{7, 8, 9}, x.GetExtension(11))
		require.Nil(t, x.GetExtension(2), "no RID goes out")
		sendTime := x.GetExtension(4)
		require.Len(t, sendTime, 3)
		require.NotEqual(t, []byte{9, 9, 9}, sendTime, i)
		times = append(times, uint32(sendTime[0])<<16|uint32(sendTime[1])<<8|uint32(sendTime[2]))
	}
	passed := float64((times[1]-times[0])&(1<<24-1)) / (1 << 18)
	require.Greater(t, passed, 0.015, "seconds between the two (24 bits, 6.18)")
	require.Less(t, passed, 10.0)
}

// elapsed returns a condition that holds after d.
func elapsed(d time.Duration) func() bool {
	end := time.Now().Add(d)
	return func() bool { return time.Now().After(end) }
}

func testMappingTwoByteExtensions(t *testing.T, s *suite) {
	r := s.room(t)
	given := audio("a-long-media-identification", 0)
	given.Encodings = nil // known by its MID alone
	given.HeaderExtensions[0].ID = 20
	in, out := r.directEnd(t), r.directEnd(t)
	c := out.consume(t, r, in.produce(t, mafalda.MediaKindAudio, given))
	x := opusSource(77).packet([]byte("x"))
	x.Extension, x.ExtensionProfile = true, 0x1000
	require.NoError(t, x.SetExtension(20, []byte(given.MID)))
	require.NoError(t, x.SetExtension(12, []byte{0x42}))
	in.sendRTP(t, x)
	got := out.next(t, c)
	require.Equal(t, "x", string(got.Payload))
	require.Equal(t, []byte{0x42}, got.GetExtension(6))
}

func testMappingAbsCaptureTime(t *testing.T, s *suite) {
	r := s.room(t)
	for _, negotiated := range []bool{false, true} {
		given := video("", 1)
		if negotiated {
			given.HeaderExtensions = append(given.HeaderExtensions,
				mafalda.RTPHeaderExtensionParameters{URI: mafalda.RTPHeaderExtensionAbsCaptureTime, ID: 7})
		}
		in, out := r.directEnd(t), r.directEnd(t)
		c := out.consume(t, r, in.produce(t, mafalda.MediaKindVideo, given))
		announced := false
		for _, h := range c.RTPParameters().HeaderExtensions {
			announced = announced || h.URI == mafalda.RTPHeaderExtensionAbsCaptureTime
		}
		require.Equal(t, negotiated, announced)
		captured := []byte{0xe9, 1, 2, 3, 4, 5, 6, 7}
		in.sendRTP(t, vp8Source(1).packet(vp8Key("x"), extended(t, 7, captured)))
		got := out.next(t, c).GetExtension(10)
		if negotiated {
			require.GreaterOrEqual(t, len(got), 8)
			require.Equal(t, captured, got[:8])
		} else {
			require.Nil(t, got)
		}
	}
}

func testMappingPacketID(t *testing.T, s *suite) {
	r := s.room(t)
	in, out := r.directEnd(t), r.directEnd(t)
	p := in.produceWith(t, mafalda.ProducerOptions{
		Kind: mafalda.MediaKindAudio, RTPParameters: audio("", 1), EnableMediasoupPacketIDHeaderExtension: true,
	})
	c := out.consume(t, r, p)
	src := opusSource(1)
	var last uint32
	for i := range 5 {
		in.sendRTP(t, src.packet([]byte("x")))
		id := out.next(t, c).GetExtension(12)
		require.Len(t, id, 4)
		n := binary.BigEndian.Uint32(id)
		if i > 0 {
			require.Equal(t, last+1, n)
		}
		last = n
	}
}

func testMappingPayloadTypes(t *testing.T, s *suite) {
	r := s.room(t)
	in, out := r.directEnd(t), r.directEnd(t)
	c := out.consume(t, r, in.produce(t, mafalda.MediaKindAudio, audio("", 1)))
	src := opusSource(1)
	in.sendRTP(t, src.packet([]byte("one")))
	require.Equal(t, "one", string(out.next(t, c).Payload))
	in.sendRTP(t, src.packet([]byte("alien"), func(p *rtp.Packet) { p.PayloadType = 99 }))
	in.sendRTP(t, src.packet([]byte("two")))
	require.Equal(t, "two", string(out.next(t, c).Payload))
}

func testMappingCSRC(t *testing.T, s *suite) {
	r := s.room(t)
	in, out := r.directEnd(t), r.directEnd(t)
	c := out.consume(t, r, in.produce(t, mafalda.MediaKindAudio, audio("", 1)))
	in.sendRTP(t, opusSource(1).packet([]byte("mixed"), func(p *rtp.Packet) { p.CSRC = []uint32{5, 6, 7} },
		extended(t, 12, []byte{0x11})))
	got := out.next(t, c)
	require.Equal(t, "mixed", string(got.Payload))
	require.Equal(t, []byte{0x11}, got.GetExtension(6))
}

func testMappingIgnoreDTX(t *testing.T, s *suite) {
	r := s.room(t)
	in, out := r.directEnd(t), r.directEnd(t)
	p := in.produce(t, mafalda.MediaKindAudio, audio("", 1))
	all := out.consume(t, r, p)
	fewEnd := r.directEnd(t)
	few := fewEnd.consumeWith(t, mafalda.ConsumerOptions{
		ProducerID: p.ID(), RTPCapabilities: r.router.RTPCapabilities(), IgnoreDTX: true,
	})
	src := opusSource(1)
	sound, silence := []byte{0x78, 1, 2, 3}, []byte{0x78}
	for _, payload := range [][]byte{sound, silence, sound} {
		in.sendRTP(t, src.packet(payload))
		require.Equal(t, payload, out.next(t, all).Payload)
	}
	one, two := fewEnd.next(t, few), fewEnd.next(t, few)
	require.Equal(t, [][]byte{sound, sound}, [][]byte{one.Payload, two.Payload})
	require.Equal(t, one.SequenceNumber+1, two.SequenceNumber)
	require.Empty(t, fewEnd.rtp)
}
