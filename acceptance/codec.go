package acceptance

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
)

var codecCases = []testCase{
	{
		name:        "Codec/Multiopus",
		explanation: "six channels of multiopus are produced and consumed with their parameters; other stream counts and other channel counts don't fit",
		upstream:    []string{"multiopus 1", "multiopus 2", "multiopus 3"},
		run:         testCodecMultiopus,
	},
	{
		name:        "Codec/H264Profile",
		explanation: "an H264 Producer takes the profile-level-id that both sides can do, and its Consumers have it",
		upstream:    []string{"ortc 4", "Producer 8"},
		run:         testCodecH264Profile,
	},
	{
		name:        "Codec/AV1",
		explanation: "AV1 is a codec as the others",
		upstream:    []string{"newer 5", "3.16.0"},
		run:         testCodecAV1,
	},
	{
		name:        "Codec/AllSupported",
		explanation: "each supported codec that carries media by itself can be produced and consumed",
		upstream:    []string{"ortc 1"},
		run:         testCodecAllSupported,
	},
}

func multiopus(streams, coupled int) (mafalda.RouterRTPCodecCapability, mafalda.RTPParameters) {
	parameters := map[string]any{
		"useinbandfec": 1, "channel_mapping": "0,4,1,2,3,5", "num_streams": streams, "coupled_streams": coupled,
	}
	p := audio("", 1)
	p.Codecs[0] = mafalda.RTPCodecParameters{
		MIMEType: "audio/multiopus", PayloadType: 0, ClockRate: 48000, Channels: 6, Parameters: parameters,
	}
	return mafalda.RouterRTPCodecCapability{
		Kind: "audio", MIMEType: "audio/multiopus", PreferredPayloadType: new(uint8(100)), ClockRate: 48000, Channels: 6,
		Parameters: map[string]any{
			"useinbandfec": 1, "channel_mapping": "0,4,1,2,3,5", "num_streams": 4, "coupled_streams": 2,
		},
	}, p
}

func testCodecMultiopus(t *testing.T, s *suite) {
	codec, good := multiopus(4, 2)
	r := s.room(t, codec)
	in, out := r.directEnd(t), r.directEnd(t)
	p := in.produce(t, mafalda.MediaKindAudio, good)
	c := out.consume(t, r, p)
	got := c.RTPParameters().Codecs
	require.Len(t, got, 1)
	require.Equal(t, "audio/multiopus", got[0].MIMEType)
	require.Equal(t, uint8(100), got[0].PayloadType)
	require.Equal(t, uint8(6), got[0].Channels)
	require.Equal(t, good.Codecs[0].Parameters, got[0].Parameters)
	src := opusSource(1)
	src.pt = 0
	in.sendRTP(t, src.packet([]byte("six")))
	packet := out.next(t, c)
	require.Equal(t, "six", string(packet.Payload))
	require.Equal(t, uint8(100), packet.PayloadType)

	for _, v := range [][2]int{{2, 2}, {4, 1}} {
		_, wrong := multiopus(v[0], v[1])
		_, err := r.direct(t).Produce(t.Context(), mafalda.ProducerOptions{Kind: "audio", RTPParameters: wrong})
		requireError(t, err, errors.ErrUnsupported)
	}
	eight := mafalda.RTPCapabilities{Codecs: []mafalda.RTPCodecCapability{{
		Kind: "audio", MIMEType: "audio/multiopus", PreferredPayloadType: 100, ClockRate: 48000, Channels: 8,
		Parameters: map[string]any{"channel_mapping": "0,6,1,2,3,4,5,7", "num_streams": 5, "coupled_streams": 3},
	}}}
	require.False(t, r.router.CanConsume(p.ID(), eight))
	_, err := r.direct(t).Consume(t.Context(), mafalda.ConsumerOptions{ProducerID: p.ID(), RTPCapabilities: eight})
	requireError(t, err, errors.ErrUnsupported)
}

func testCodecH264Profile(t *testing.T, s *suite) {
	for _, v := range []struct{ router, producer, want string }{
		{"42e034", "42e01f", "42e01f"}, {"4d0032", "4d0032", "4d0032"}, {"42e01f", "42e034", "42e01f"},
	} {
		codec := mediaCodecs()[2]
		codec.Parameters = map[string]any{"packetization-mode": 1, "profile-level-id": v.router}
		r := s.room(t, codec)
		given := video("", 1)
		given.Codecs[0].MIMEType = "video/H264"
		given.Codecs[0].Parameters = map[string]any{"packetization-mode": 1, "profile-level-id": v.producer}
		p := produce(t, r.direct(t), mafalda.MediaKindVideo, given)
		require.Equal(t, v.want, p.RTPParameters().Codecs[0].Parameters["profile-level-id"])
		c := r.consume(t, r.direct(t), p)
		require.Equal(t, v.want, c.RTPParameters().Codecs[0].Parameters["profile-level-id"])
		require.Equal(t, uint8(100), c.RTPParameters().Codecs[0].PayloadType)
		require.Equal(t, uint8(101), c.RTPParameters().Codecs[1].PayloadType)
	}
}

func testCodecAV1(t *testing.T, s *suite) {
	r := s.room(t, mafalda.RouterRTPCodecCapability{Kind: "video", MIMEType: "video/AV1", ClockRate: 90000})
	given := video("", 1)
	given.Codecs[0].MIMEType = "video/AV1"
	in, out := r.directEnd(t), r.directEnd(t)
	c := out.consume(t, r, in.produce(t, mafalda.MediaKindVideo, given))
	require.Equal(t, "video/AV1", c.RTPParameters().Codecs[0].MIMEType)
	in.sendRTP(t, vp8Source(1).packet([]byte{0x10, 0x0a, 1, 2, 3}))
	require.Equal(t, []byte{0x10, 0x0a, 1, 2, 3}, out.next(t, c).Payload, "AV1 waits for no key frame")
}

func testCodecAllSupported(t *testing.T, s *suite) {
	w := s.worker(t)
	for _, codec := range s.sfu.SupportedRTPCapabilities().Codecs {
		r := newRoom(t, w, codec)
		c := mafalda.RTPCodecParameters{
			MIMEType: codec.MIMEType, PayloadType: 97, ClockRate: codec.ClockRate, Channels: codec.Channels,
			Parameters: codec.Parameters,
		}
		in, out := r.directEnd(t), r.directEnd(t)
		given := mafalda.RTPParameters{
			Codecs: []mafalda.RTPCodecParameters{c}, Encodings: []mafalda.RTPEncodingParameters{{SSRC: 1}},
		}
		if codec.MIMEType == "audio/CN" || codec.MIMEType == "audio/telephone-event" {
			require.Len(t, r.router.RTPCapabilities().Codecs, 1)
			continue // it goes beside a codec that carries the sound
		}
		p, err := in.transport.Produce(t.Context(), mafalda.ProducerOptions{Kind: codec.Kind, RTPParameters: given})
		require.NoError(t, err, codec.MIMEType)
		in.writeRTP = p.Send
		consumer := out.consume(t, r, p)
		src := source{ssrc: 1, pt: 97, seq: 1, step: 100}
		payload := map[string][]byte{"video/VP8": vp8Key("x"), "video/VP9": vp9Key("x"), "video/H264": h264Key("x")}[codec.MIMEType]
		if payload == nil {
			payload = []byte("xyz")
		}
		in.sendRTP(t, src.packet(payload))
		got := out.next(t, consumer)
		require.Equal(t, payload, got.Payload, codec.MIMEType)
		require.Equal(t, r.router.RTPCapabilities().Codecs[0].PreferredPayloadType, got.PayloadType)
	}
}
