package acceptance

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
)

var isolationCases = []testCase{
	{
		name:        "Isolation/Routers",
		explanation: "two Routers with the same options, of one Worker or of two with the same settings, know nothing of each other: not what is produced, nor ids, nor codecs, nor an end",
		run:         testIsolationRouters,
	},
	{
		name:        "Isolation/IDs",
		explanation: "two Workers may give the same ids: each gets its own media, messages, dumps and events under them",
		run:         testIsolationIDs,
	},
}

func testIsolationRouters(t *testing.T, s *suite) {
	ctx := t.Context()
	a := s.room(t)
	for _, b := range []*room{newRoom(t, a.worker), s.room(t)} {
		in, out := a.direct(t), b.direct(t)
		p := produce(t, in, mafalda.MediaKindAudio, audio("", 1))
		dp := produceData(t, in, mafalda.DataProducerOptions{})
		caps := b.router.RTPCapabilities()
		require.True(t, a.router.CanConsume(p.ID(), caps))
		require.False(t, b.router.CanConsume(p.ID(), caps))
		_, err := out.Consume(ctx, mafalda.ConsumerOptions{ProducerID: p.ID(), RTPCapabilities: caps})
		requireErrorIn(t, "Consume", err, mafalda.ErrNotFound)
		_, err = out.ConsumeData(ctx, mafalda.DataConsumerOptions{DataProducerID: dp.ID()})
		requireErrorIn(t, "ConsumeData", err, mafalda.ErrNotFound)
		o, err := b.router.CreateAudioLevelObserver(ctx, mafalda.AudioLevelObserverOptions{})
		require.NoError(t, err)
		requireErrorIn(t, "AddProducer", o.AddProducer(ctx, p.ID()), mafalda.ErrNotFound)

		d := dumpRouter(t, b.router)
		require.Equal(t, []string{out.ID()}, d.TransportIDs)
		require.Equal(t, []string{o.ID()}, d.RTPObserverIDs)
		require.Empty(t, d.MapProducerIDConsumerIDs)
		require.Empty(t, d.MapDataProducerIDDataConsumerIDs)
		require.Equal(t, []mafalda.Transport{out}, b.router.Transports())
		wd, err := b.worker.Dump(ctx)
		require.NoError(t, err)
		if b.worker != a.worker {
			require.Equal(t, []string{b.router.ID()}, wd.RouterIDs)
			require.ElementsMatch(t, []string{b.router.ID(), out.ID(), o.ID()}, wd.MessageHandlers.RequestHandlers)
			require.Equal(t, []mafalda.Router{b.router}, b.worker.Routers())
		}

		require.NoError(t, b.router.UpdateMediaCodecs(ctx, mediaCodecs()[:1]))
		require.Len(t, a.router.RTPCapabilities().Codecs, 5)
		produce(t, in, mafalda.MediaKindVideo, video("", 2))
		require.NoError(t, b.router.Close())
		require.False(t, p.Closed())
		require.False(t, a.router.Closed())
		require.Len(t, in.Producers(), 2)
		require.NoError(t, in.Close())
	}
	require.False(t, a.worker.Closed())
}

func testIsolationIDs(t *testing.T, s *suite) {
	ctx := t.Context()
	type side struct {
		*room
		in, out *end
		p       mafalda.Producer
		c       mafalda.Consumer
		dp      mafalda.DataProducer
		got     <-chan mafalda.DataMessage
	}
	var sides []*side
	for range 2 {
		x := &side{room: s.room(t)}
		x.in, x.out = x.directEnd(t), x.directEnd(t)
		var err error
		x.p, err = x.in.transport.Produce(ctx, mafalda.ProducerOptions{
			ID: "microphone", Kind: mafalda.MediaKindAudio, RTPParameters: audio("", 1),
		})
		require.NoError(t, err)
		require.Equal(t, "microphone", x.p.ID())
		_, err = x.out.transport.Produce(ctx, mafalda.ProducerOptions{
			ID: "microphone", Kind: mafalda.MediaKindAudio, RTPParameters: audio("", 1),
		})
		requireErrorIn(t, "Produce again", err, mafalda.ErrInvalidState)
		x.c = x.out.consume(t, x.room, x.p)
		x.dp = produceData(t, x.in.transport, mafalda.DataProducerOptions{ID: "chat"})
		require.Equal(t, "chat", x.dp.ID())
		_, x.got = consumeDirect(t, x.out.transport, mafalda.DataConsumerOptions{DataProducerID: "chat"})
		sides = append(sides, x)
	}
	for i, x := range sides {
		mine := []string{"first", "second"}[i]
		require.NoError(t, x.p.Send(marshal(t, opusSource(1).packet([]byte(mine)))))
		require.Equal(t, mine, string(x.out.next(t, x.c).Payload))
		require.NoError(t, x.dp.Send(mafalda.TextMessage(mine)))
		require.Equal(t, mine, text(t, x.got))

		require.Equal(t, "microphone", x.c.ProducerID())
		require.Equal(t, "microphone", dumpConsumer(t, x.c).ProducerID)
		require.Equal(t, "microphone", dumpProducer(t, x.p).ID)
		d := dumpTransport(t, x.in.transport)
		require.Equal(t, []string{"microphone"}, d.ProducerIDs)
		require.Equal(t, []string{"chat"}, d.DataProducerIDs)
		require.Equal(t, []mafalda.KeyValue[uint32, string]{{Key: 1, Value: "microphone"}}, d.RTPListener.SSRCTable)
		require.Equal(t, []mafalda.KeyValues[string, string]{{Key: "microphone", Values: []string{x.c.ID()}}},
			dumpRouter(t, x.router).MapProducerIDConsumerIDs)
	}
	require.NoError(t, sides[0].p.Close())
	require.True(t, sides[0].c.Closed())
	require.False(t, sides[1].c.Closed())
	require.False(t, sides[0].router.CanConsume("microphone", sides[0].router.RTPCapabilities()))
	require.True(t, sides[1].router.CanConsume("microphone", sides[1].router.RTPCapabilities()))
	_, err := sides[0].in.transport.Produce(ctx, mafalda.ProducerOptions{
		ID: "microphone", Kind: mafalda.MediaKindAudio, RTPParameters: audio("", 1),
	})
	require.NoError(t, err, "the id is free again")
}
