package acceptance

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/internal/peer"
)

var pauseCases = []testCase{
	{
		name:        "Pause/Consumer",
		explanation: "nothing is sent while a Consumer is paused; afterwards it continues without a gap; others are not affected",
		upstream:    []string{"Consumer 7"},
		run:         testPauseConsumer,
	},
	{
		name:        "Pause/Producer",
		explanation: "nothing is forwarded while a Producer is paused, though it is counted; afterwards Consumers continue without a gap",
		upstream:    []string{"Producer 10", "Consumer 16"},
		run:         testPauseProducer,
	},
	{
		name:        "Pause/BeginPaused",
		explanation: "a Consumer that begins paused sends nothing until it is resumed",
		upstream:    []string{"Consumer 1"},
		run:         testPauseBeginPaused,
	},
	{
		name:        "Pause/Video",
		explanation: "after Resume a video Consumer waits for a key frame, and asks for it",
		run:         testPauseVideo,
	},
}

func testPauseConsumer(t *testing.T, s *suite) {
	r := s.room(t)
	in := r.plainEnd(t, mafalda.PlainTransportOptions{})
	p := in.produce(t, mafalda.MediaKindAudio, audio("", 1))
	src := opusSource(1)
	for _, out := range []*end{r.directEnd(t), r.webRTCEnd(t, overUDP(), peer.Config{})} {
		other := r.directEnd(t)
		witness := out.consume(t, r, p) // hears of a packet before c does
		c, oc := out.consume(t, r, p), other.consume(t, r, p)
		send := func(text string) {
			t.Helper()
			in.sendRTP(t, src.packet([]byte(text)))
			require.Equal(t, text, string(other.next(t, oc).Payload))
			require.Equal(t, text, string(out.next(t, witness).Payload))
		}
		send("before")
		before := out.next(t, c)
		require.NoError(t, c.Pause(t.Context()))
		for range 10 {
			send("paused")
		}
		require.NoError(t, c.Resume(t.Context()))
		send("after")
		after := out.next(t, c)
		require.Equal(t, "after", string(after.Payload), "no packet leaks while paused")
		require.Equal(t, before.SequenceNumber+1, after.SequenceNumber)
		require.Equal(t, before.Timestamp+11*960, after.Timestamp)
		require.NoError(t, out.transport.Close())
		require.NoError(t, other.transport.Close())
	}
}

func testPauseProducer(t *testing.T, s *suite) {
	r := s.room(t)
	in, out := r.plainEnd(t, mafalda.PlainTransportOptions{}), r.webRTCEnd(t, overUDP(), peer.Config{})
	p := in.produce(t, mafalda.MediaKindAudio, audio("", 1))
	c := out.consume(t, r, p)
	src := opusSource(1)
	in.sendRTP(t, src.packet([]byte("before")))
	before := out.next(t, c)
	require.NoError(t, p.Pause(t.Context()))
	for range 10 {
		in.sendRTP(t, src.packet([]byte("paused")))
	}
	eventually(t, "what came is counted", func() bool {
		stats, err := p.Stats(t.Context())
		return err == nil && len(stats) == 1 && stats[0].PacketCount == 11
	})
	require.NoError(t, p.Resume(t.Context()))
	in.sendRTP(t, src.packet([]byte("after")))
	after := out.next(t, c)
	require.Equal(t, "after", string(after.Payload), "no packet leaks while paused")
	require.Equal(t, before.SequenceNumber+1, after.SequenceNumber)
}

func testPauseBeginPaused(t *testing.T, s *suite) {
	r := s.room(t)
	in, out := r.directEnd(t), r.directEnd(t)
	p := in.produce(t, mafalda.MediaKindAudio, audio("", 1))
	witness := out.consume(t, r, p) // hears of a packet before c does
	c := out.consumeWith(t, mafalda.ConsumerOptions{
		ProducerID: p.ID(), RTPCapabilities: r.router.RTPCapabilities(), Paused: true,
	})
	src := opusSource(1)
	in.sendRTP(t, src.packet([]byte("paused")))
	require.Equal(t, "paused", string(out.next(t, witness).Payload))
	require.NoError(t, c.Resume(t.Context()))
	in.sendRTP(t, src.packet([]byte("resumed")))
	require.Equal(t, "resumed", string(out.next(t, c).Payload))
}

func testPauseVideo(t *testing.T, s *suite) {
	r := s.room(t)
	in, out := r.directEnd(t), r.directEnd(t)
	p := in.produce(t, mafalda.MediaKindVideo, video("", 1))
	c := out.consume(t, r, p)
	src := vp8Source(1)
	in.sendRTP(t, src.packet(vp8Key("one"), marked))
	before := out.next(t, c)
	drain(in.rtcp)
	require.NoError(t, c.Pause(t.Context()))
	in.sendRTP(t, src.packet(vp8Delta("paused"), marked))
	require.NoError(t, c.Resume(t.Context()))
	nextPLI(t, in, 1)
	in.sendRTP(t, src.packet(vp8Delta("no key frame yet"), marked))
	in.sendRTP(t, src.packet(vp8Key("two"), marked))
	after := out.next(t, c)
	require.Equal(t, vp8Key("two"), after.Payload)
	require.Equal(t, before.SequenceNumber+1, after.SequenceNumber)
	in.sendRTP(t, src.packet(vp8Delta("three"), marked))
	require.Equal(t, vp8Delta("three"), out.next(t, c).Payload)
}

// drain empties a channel.
func drain[T any](c <-chan T) {
	for {
		select {
		case <-c:
		default:
			return
		}
	}
}
