package acceptance

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
)

var dataConsumerCases = []testCase{
	{
		name:        "DataConsumer/Create",
		explanation: "NewDataConsumer comes once, before the call returns; the stream is as the DataProducer's but for what was asked for; subchannels are a set; dumps know it",
		upstream:    []string{"DataConsumer 1", "DataConsumer 2", "DataConsumer 3"},
		run:         testDataConsumerCreate,
	},
	{
		name:        "DataConsumer/Streams",
		explanation: "streams count up from 0 on each transport, and a call that failed takes none; of a direct DataProducer they are ordered and reliable",
		upstream:    []string{"3.15.7"},
		run:         testDataConsumerStreams,
	},
	{
		name:        "DataConsumer/WrongArguments",
		explanation: "contradicting limits are ErrInvalidArgument; an unknown DataProducer, or one of another Router, is ErrNotFound",
		upstream:    []string{"newer 9"},
		run:         testDataConsumerWrongArguments,
	},
	{
		name:        "DataConsumer/Subchannels",
		explanation: "subscriptions are a set: what is there, or not there, already is no error; dump and getter have all",
		upstream:    []string{"DataConsumer 4", "DataConsumer 5"},
		run:         testDataConsumerSubchannels,
	},
	{
		name:        "DataConsumer/Direct",
		explanation: "on a DirectTransport there is no stream and no buffer: what concerns them is ErrInvalidArgument",
		upstream:    []string{"DataConsumer 6", "DataConsumer 7", "DataConsumer 8"},
		run:         testDataConsumerDirect,
	},
	{
		name:        "DataConsumer/Pause",
		explanation: "Pause and Resume emit on flips only, and not while the DataProducer is paused",
		upstream:    []string{"DataConsumer 9"},
		run:         testDataConsumerPause,
	},
	{
		name:        "DataConsumer/Close",
		explanation: "a closed DataConsumer is in no dump and no list, and its Close comes once",
		upstream:    []string{"DataConsumer 11"},
		run:         testDataConsumerClose,
	},
}

func testDataConsumerCreate(t *testing.T, s *suite) {
	r := s.room(t)
	in, out := r.dataTransport(t), r.plain(t, mafalda.PlainTransportOptions{SCTPOptions: withSCTP()})
	p := produceData(t, in, mafalda.DataProducerOptions{
		SCTPStreamParameters: &mafalda.SCTPStreamParameters{StreamID: 12345, Ordered: new(false), MaxPacketLifeTime: new(uint16(5000))},
		Label:                "foo", Protocol: "bar",
	})
	var seen []mafalda.DataConsumer
	out.Observer().NewDataConsumer.On(func(c mafalda.DataConsumer) { seen = append(seen, c) })
	subchannels := []uint16{0, 1, 1, 1, 2, 65535, 0, 1, 100}
	c := consumeData(t, out, mafalda.DataConsumerOptions{
		DataProducerID: p.ID(), MaxPacketLifeTime: new(uint16(4000)), Subchannels: subchannels, AppData: "mine",
	})
	require.Equal(t, []mafalda.DataConsumer{c}, seen)
	require.NotEmpty(t, c.ID())
	require.Equal(t, p.ID(), c.DataProducerID())
	require.False(t, c.Closed())
	require.Equal(t, mafalda.DataConsumerTypeSCTP, c.Type())
	want := &mafalda.SCTPStreamParameters{StreamID: 0, Ordered: new(false), MaxPacketLifeTime: new(uint16(4000))}
	require.Equal(t, want, c.SCTPStreamParameters())
	require.Equal(t, "foo", c.Label())
	require.Equal(t, "bar", c.Protocol())
	require.False(t, c.Paused())
	require.False(t, c.DataProducerPaused())
	require.Equal(t, []uint16{0, 1, 2, 100, 65535}, c.Subchannels())
	require.Equal(t, "mine", c.AppData())
	subchannels[0] = 5
	c.Subchannels()[0] = 6
	*c.SCTPStreamParameters().MaxPacketLifeTime = 7
	require.Equal(t, []uint16{0, 1, 2, 100, 65535}, c.Subchannels(), "a copy")
	require.Equal(t, want, c.SCTPStreamParameters(), "a copy")
	require.Equal(t, []mafalda.DataConsumer{c}, out.DataConsumers())
	require.Empty(t, in.DataConsumers())

	d, err := c.Dump(t.Context())
	require.NoError(t, err)
	require.Equal(t, mafalda.DataConsumerDump{
		ID: c.ID(), DataProducerID: p.ID(), Type: c.Type(), SCTPStreamParameters: want, Label: "foo", Protocol: "bar",
		BufferedAmountLowThreshold: 1024, Subchannels: []uint16{0, 1, 2, 100, 65535},
	}, d)
	stats, err := c.Stats(t.Context())
	require.NoError(t, err)
	require.Len(t, stats, 1)
	stats[0].Timestamp = 0
	require.Equal(t, mafalda.DataConsumerStats{Type: "data-consumer", Label: "foo", Protocol: "bar"}, stats[0])
	rd := dumpRouter(t, r.router)
	require.Equal(t, []mafalda.KeyValues[string, string]{{Key: p.ID(), Values: []string{c.ID()}}}, rd.MapDataProducerIDDataConsumerIDs)
	require.Equal(t, []mafalda.KeyValue[string, string]{{Key: c.ID(), Value: p.ID()}}, rd.MapDataConsumerIDDataProducerID)
	x := dumpTransport(t, out)
	require.Equal(t, []string{c.ID()}, x.DataConsumerIDs)
	require.Empty(t, x.DataProducerIDs)
	wd, err := r.worker.Dump(t.Context())
	require.NoError(t, err)
	require.Subset(t, wd.MessageHandlers.RequestHandlers, []string{p.ID(), c.ID()})
	require.Contains(t, wd.MessageHandlers.NotificationHandlers, p.ID())

	for _, test := range []struct {
		o    mafalda.DataConsumerOptions
		want mafalda.SCTPStreamParameters
	}{
		{mafalda.DataConsumerOptions{}, mafalda.SCTPStreamParameters{Ordered: new(false), MaxPacketLifeTime: new(uint16(5000))}},
		{mafalda.DataConsumerOptions{Ordered: new(true)}, mafalda.SCTPStreamParameters{Ordered: new(true)}},
		{
			mafalda.DataConsumerOptions{Ordered: new(true), MaxRetransmits: new(uint16(4))},
			mafalda.SCTPStreamParameters{Ordered: new(true)},
		},
	} {
		test.o.DataProducerID = p.ID()
		c := consumeData(t, in, test.o)
		test.want.StreamID = c.SCTPStreamParameters().StreamID
		require.Equal(t, &test.want, c.SCTPStreamParameters())
	}
	fromDirect := produceData(t, r.direct(t), mafalda.DataProducerOptions{})
	c = consumeData(t, in, mafalda.DataConsumerOptions{DataProducerID: fromDirect.ID(), Paused: true})
	require.Equal(t, &mafalda.SCTPStreamParameters{StreamID: 3, Ordered: new(true)}, c.SCTPStreamParameters())
	require.True(t, c.Paused())
	require.Empty(t, c.Subchannels())
}

func testDataConsumerStreams(t *testing.T, s *suite) {
	r := s.room(t)
	p := produceData(t, r.direct(t), mafalda.DataProducerOptions{})
	for range 2 {
		tr := r.dataTransport(t)
		next := func() uint16 {
			t.Helper()
			params := consumeData(t, tr, mafalda.DataConsumerOptions{DataProducerID: p.ID()}).SCTPStreamParameters()
			require.Equal(t, &mafalda.SCTPStreamParameters{StreamID: params.StreamID, Ordered: new(true)}, params)
			return params.StreamID
		}
		require.EqualValues(t, 0, next())
		require.EqualValues(t, 1, next())
		_, err := tr.ConsumeData(t.Context(), mafalda.DataConsumerOptions{
			DataProducerID: p.ID(), MaxPacketLifeTime: new(uint16(1)), MaxRetransmits: new(uint16(1)),
		})
		requireError(t, err, mafalda.ErrInvalidArgument)
		require.Less(t, next(), uint16(4))
		require.Len(t, tr.DataConsumers(), 3)
	}
}

func testDataConsumerWrongArguments(t *testing.T, s *suite) {
	r := s.room(t)
	other := newRoom(t, r.worker)
	limited := produceData(t, r.dataTransport(t), mafalda.DataProducerOptions{
		SCTPStreamParameters: &mafalda.SCTPStreamParameters{StreamID: 1, MaxPacketLifeTime: new(uint16(5000))},
	})
	elsewhere := produceData(t, other.direct(t), mafalda.DataProducerOptions{})
	for _, tr := range []mafalda.Transport{r.dataTransport(t), r.direct(t)} {
		for name, test := range map[string]struct {
			o    mafalda.DataConsumerOptions
			want error
		}{
			"no id":          {mafalda.DataConsumerOptions{}, mafalda.ErrInvalidArgument},
			"unknown id":     {mafalda.DataConsumerOptions{DataProducerID: "chicken"}, mafalda.ErrNotFound},
			"another Router": {mafalda.DataConsumerOptions{DataProducerID: elsewhere.ID()}, mafalda.ErrNotFound},
		} {
			_, err := tr.ConsumeData(t.Context(), test.o)
			requireErrorIn(t, name, err, test.want)
		}
	}
	_, err := r.dataTransport(t).ConsumeData(t.Context(), mafalda.DataConsumerOptions{
		DataProducerID: limited.ID(), MaxRetransmits: new(uint16(4)),
	})
	requireError(t, err, mafalda.ErrInvalidArgument)
	require.Equal(t, []mafalda.KeyValues[string, string]{{Key: limited.ID(), Values: []string{}}},
		dumpRouter(t, r.router).MapDataProducerIDDataConsumerIDs)
}

func testDataConsumerSubchannels(t *testing.T, s *suite) {
	r := s.room(t)
	p := produceData(t, r.dataTransport(t), mafalda.DataProducerOptions{SCTPStreamParameters: stream(1)})
	for _, tr := range []mafalda.Transport{r.dataTransport(t), r.direct(t)} {
		c := consumeData(t, tr, mafalda.DataConsumerOptions{DataProducerID: p.ID()})
		has := func(want ...uint16) {
			t.Helper()
			require.Equal(t, append([]uint16{}, want...), c.Subchannels())
			d, err := c.Dump(t.Context())
			require.NoError(t, err)
			require.Equal(t, append([]uint16{}, want...), d.Subchannels)
		}
		ctx := t.Context()
		has()
		list := []uint16{999, 999, 998, 0}
		require.NoError(t, c.SetSubchannels(ctx, list))
		list[0] = 5
		has(0, 998, 999)
		require.NoError(t, c.AddSubchannel(ctx, 5))
		require.NoError(t, c.AddSubchannel(ctx, 998))
		has(0, 5, 998, 999)
		require.NoError(t, c.RemoveSubchannel(ctx, 666))
		require.NoError(t, c.RemoveSubchannel(ctx, 5))
		has(0, 998, 999)
		require.NoError(t, c.SetSubchannels(ctx, nil))
		has()
	}
}

func testDataConsumerDirect(t *testing.T, s *suite) {
	r := s.room(t)
	p := produceData(t, r.dataTransport(t), mafalda.DataProducerOptions{SCTPStreamParameters: stream(1), Label: "foo"})
	c := consumeData(t, r.direct(t), mafalda.DataConsumerOptions{DataProducerID: p.ID(), Paused: true, Ordered: new(false)})
	require.Equal(t, mafalda.DataConsumerTypeDirect, c.Type())
	require.Nil(t, c.SCTPStreamParameters())
	require.Equal(t, "foo", c.Label())
	require.True(t, c.Paused())
	d, err := c.Dump(t.Context())
	require.NoError(t, err)
	require.Equal(t, mafalda.DataConsumerDump{
		ID: c.ID(), DataProducerID: p.ID(), Type: c.Type(), Label: "foo", Paused: true, Subchannels: []uint16{},
	}, d)
	stats, err := c.Stats(t.Context())
	require.NoError(t, err)
	require.Len(t, stats, 1)
	stats[0].Timestamp = 0
	require.Equal(t, mafalda.DataConsumerStats{Type: "data-consumer", Label: "foo"}, stats[0])
	_, err = c.BufferedAmount(t.Context())
	requireError(t, err, mafalda.ErrInvalidArgument)
	requireError(t, c.SetBufferedAmountLowThreshold(t.Context(), 10), mafalda.ErrInvalidArgument)
	_, err = c.Send(t.Context(), mafalda.TextMessage("x"))
	requireError(t, err, mafalda.ErrInvalidArgument)
}

func testDataConsumerPause(t *testing.T, s *suite) {
	r := s.room(t)
	p := produceData(t, r.dataTransport(t), mafalda.DataProducerOptions{SCTPStreamParameters: stream(1)})
	c := consumeData(t, r.dataTransport(t), mafalda.DataConsumerOptions{DataProducerID: p.ID()})
	var j journal
	note(&j, &c.Observer().Pause, "pause")
	note(&j, &c.Observer().Resume, "resume")
	for _, f := range []func(context.Context) error{c.Pause, c.Pause, c.Resume, c.Resume, c.Pause, c.Resume, c.Pause, c.Pause, c.Resume} {
		require.NoError(t, f(t.Context()))
	}
	require.Equal(t, []string{"pause", "resume", "pause", "resume", "pause", "resume"}, j.read())
	require.False(t, c.Paused())
	require.NoError(t, p.Pause(t.Context()))
	require.NoError(t, c.Pause(t.Context()))
	require.True(t, c.Paused())
	require.NoError(t, c.Resume(t.Context()))
	require.NoError(t, p.Resume(t.Context()))
	require.Equal(t, 4, j.count("pause"), "once: the DataProducer's")
	require.Equal(t, 4, j.count("resume"), "once: the DataProducer's")
	require.NoError(t, c.Pause(t.Context()))
	d, err := c.Dump(t.Context())
	require.NoError(t, err)
	require.True(t, d.Paused)
	require.False(t, d.DataProducerPaused)
}

func testDataConsumerClose(t *testing.T, s *suite) {
	r := s.room(t)
	out := r.dataTransport(t)
	p := produceData(t, r.dataTransport(t), mafalda.DataProducerOptions{SCTPStreamParameters: stream(1)})
	c, other := consumeData(t, out, mafalda.DataConsumerOptions{DataProducerID: p.ID()}), consumeData(t, out, mafalda.DataConsumerOptions{DataProducerID: p.ID()})
	closes := hear(t, &c.Observer().Close)
	require.NoError(t, c.Close())
	require.NoError(t, c.Close())
	done(t, c)
	require.Len(t, closes, 1)
	require.True(t, c.Closed())
	require.False(t, p.Closed())
	require.Equal(t, []mafalda.DataConsumer{other}, out.DataConsumers())
	require.Equal(t, []string{other.ID()}, dumpTransport(t, out).DataConsumerIDs)
	require.Equal(t, []mafalda.KeyValues[string, string]{{Key: p.ID(), Values: []string{other.ID()}}},
		dumpRouter(t, r.router).MapDataProducerIDDataConsumerIDs)
}
