package acceptance

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
)

var closedCases = []testCase{
	{
		name:        "Closed/ErrClosed",
		explanation: "every call on a closed object is ErrClosed, and not ErrWorkerClosed while the Worker is open",
		upstream: []string{
			"WebRtcTransport 19", "PlainTransport 10", "DirectTransport 7", "Producer 16", "Consumer 19",
			"DataProducer 11", "DataConsumer 12",
		},
		run: testClosedErrClosed,
	},
	{
		name:        "Closed/ErrWorkerClosed",
		explanation: "every call on an object whose Worker is closed is ErrWorkerClosed",
		upstream:    []string{"newer 10", "3.21.0"},
		run:         testClosedErrWorkerClosed,
	},
	{
		name:        "Closed/ValidatedFirst",
		explanation: "a wrong option is ErrInvalidArgument on a closed object too",
		run:         testClosedValidatedFirst,
	},
	{
		name:        "Closed/Context",
		explanation: "a context that ended is the error of every call, and nothing was changed",
		run:         testClosedContext,
	},
}

// A call is one method of one object.
type call struct {
	name string
	do   func(context.Context) error
}

// calls has every method that can fail, with arguments that are valid.
func (x *tree) calls(t testing.TB) []call {
	var calls []call
	add := func(name string, f func(context.Context) error) { calls = append(calls, call{name, f}) }
	caps := x.router.RTPCapabilities()
	for _, tr := range []mafalda.Transport{x.in, x.out} {
		kind := string(tr.Type())
		add(kind+".Produce", func(ctx context.Context) error {
			_, err := tr.Produce(ctx, mafalda.ProducerOptions{Kind: "audio", RTPParameters: audio("other", 2)})
			return err
		})
		add(kind+".Consume", func(ctx context.Context) error {
			_, err := tr.Consume(ctx, mafalda.ConsumerOptions{ProducerID: x.p.ID(), RTPCapabilities: caps})
			return err
		})
		add(kind+".ProduceData", func(ctx context.Context) error {
			_, err := tr.ProduceData(ctx, mafalda.DataProducerOptions{SCTPStreamParameters: stream(2)})
			return err
		})
		add(kind+".ConsumeData", func(ctx context.Context) error {
			_, err := tr.ConsumeData(ctx, mafalda.DataConsumerOptions{DataProducerID: x.dp.ID()})
			return err
		})
		add(kind+".SetMaxIncomingBitrate", func(ctx context.Context) error { return tr.SetMaxIncomingBitrate(ctx, 5) })
		add(kind+".SetMaxOutgoingBitrate", func(ctx context.Context) error { return tr.SetMaxOutgoingBitrate(ctx, 50_000) })
		add(kind+".SetMinOutgoingBitrate", func(ctx context.Context) error { return tr.SetMinOutgoingBitrate(ctx, 40_000) })
		add(kind+".EnableTraceEvent", func(ctx context.Context) error { return tr.EnableTraceEvent(ctx) })
		add(kind+".Stats", func(ctx context.Context) error { _, err := tr.Stats(ctx); return err })
		add(kind+".Dump", func(ctx context.Context) error { _, err := tr.Dump(ctx); return err })
	}
	add("webrtc.Connect", func(ctx context.Context) error {
		return x.in.(mafalda.WebRTCTransport).Connect(ctx, connectOptions("client", fingerprint(mafalda.FingerprintSHA256)))
	})
	add("webrtc.RestartICE", func(ctx context.Context) error {
		_, err := x.in.(mafalda.WebRTCTransport).RestartICE(ctx)
		return err
	})
	add("plain.Connect", func(ctx context.Context) error {
		return x.out.(mafalda.PlainTransport).Connect(ctx, mafalda.PlainTransportConnectOptions{IP: loopback, Port: 9})
	})
	add("Producer.Pause", x.p.Pause)
	add("Producer.Resume", x.p.Resume)
	add("Producer.EnableTraceEvent", func(ctx context.Context) error { return x.p.EnableTraceEvent(ctx) })
	add("Producer.Stats", func(ctx context.Context) error { _, err := x.p.Stats(ctx); return err })
	add("Producer.Dump", func(ctx context.Context) error { _, err := x.p.Dump(ctx); return err })
	add("Consumer.Pause", x.far.Pause)
	add("Consumer.Resume", x.far.Resume)
	add("Consumer.RequestKeyFrame", x.far.RequestKeyFrame)
	add("Consumer.SetPreferredLayers", func(ctx context.Context) error { return x.far.SetPreferredLayers(ctx, mafalda.ConsumerLayers{}) })
	add("Consumer.SetPriority", func(ctx context.Context) error { return x.far.SetPriority(ctx, 2) })
	add("Consumer.UnsetPriority", x.far.UnsetPriority)
	add("Consumer.EnableTraceEvent", func(ctx context.Context) error { return x.far.EnableTraceEvent(ctx) })
	add("Consumer.Stats", func(ctx context.Context) error { _, err := x.far.Stats(ctx); return err })
	add("Consumer.Dump", func(ctx context.Context) error { _, err := x.far.Dump(ctx); return err })
	add("DataProducer.Pause", x.dp.Pause)
	add("DataProducer.Resume", x.dp.Resume)
	add("DataProducer.Stats", func(ctx context.Context) error { _, err := x.dp.Stats(ctx); return err })
	add("DataProducer.Dump", func(ctx context.Context) error { _, err := x.dp.Dump(ctx); return err })
	c := x.dataFar
	add("DataConsumer.Pause", c.Pause)
	add("DataConsumer.Resume", c.Resume)
	add("DataConsumer.SetSubchannels", func(ctx context.Context) error { return c.SetSubchannels(ctx, []uint16{1}) })
	add("DataConsumer.AddSubchannel", func(ctx context.Context) error { return c.AddSubchannel(ctx, 1) })
	add("DataConsumer.RemoveSubchannel", func(ctx context.Context) error { return c.RemoveSubchannel(ctx, 1) })
	add("DataConsumer.Send", func(ctx context.Context) error { _, err := c.Send(ctx, mafalda.TextMessage("x")); return err })
	add("DataConsumer.BufferedAmount", func(ctx context.Context) error { _, err := c.BufferedAmount(ctx); return err })
	add("DataConsumer.SetBufferedAmountLowThreshold", func(ctx context.Context) error { return c.SetBufferedAmountLowThreshold(ctx, 5) })
	add("DataConsumer.Stats", func(ctx context.Context) error { _, err := c.Stats(ctx); return err })
	add("DataConsumer.Dump", func(ctx context.Context) error { _, err := c.Dump(ctx); return err })
	add("WebRTCServer.Dump", func(ctx context.Context) error { _, err := x.server.Dump(ctx); return err })
	return calls
}

func testClosedErrClosed(t *testing.T, s *suite) {
	x := newTree(t, s.room(t))
	calls := x.calls(t)
	for _, o := range []mafalda.Lifetime{x.far, x.own, x.p, x.dataFar, x.dataOwn, x.dp, x.in, x.out, x.server} {
		require.NoError(t, o.Close())
	}
	for _, c := range calls {
		err := c.do(t.Context())
		requireErrorIn(t, c.name, err, mafalda.ErrClosed)
		require.NotErrorIs(t, err, mafalda.ErrWorkerClosed, c.name)
	}
}

func testClosedErrWorkerClosed(t *testing.T, s *suite) {
	x := newTree(t, s.room(t))
	calls := x.calls(t)
	require.NoError(t, x.worker.Close())
	for _, c := range calls {
		requireErrorIn(t, c.name, c.do(t.Context()), mafalda.ErrWorkerClosed)
	}
	d := s.room(t)
	e := d.directEnd(t)
	p := e.produce(t, mafalda.MediaKindAudio, audio("", 1))
	require.NoError(t, d.worker.Close())
	b := marshal(t, opusSource(1).packet([]byte("x")))
	requireError(t, p.Send(b), mafalda.ErrWorkerClosed)
	requireError(t, x.dp.Send(mafalda.TextMessage("x")), mafalda.ErrWorkerClosed)
	requireError(t, e.transport.(mafalda.DirectTransport).SendRTCP(b), mafalda.ErrWorkerClosed)
}

func testClosedValidatedFirst(t *testing.T, s *suite) {
	x := newTree(t, s.room(t))
	require.NoError(t, x.worker.Close())
	ctx := t.Context()
	_, err := x.in.Produce(ctx, mafalda.ProducerOptions{Kind: "chicken"})
	requireErrorIn(t, "Produce", err, mafalda.ErrInvalidArgument)
	_, err = x.in.Consume(ctx, mafalda.ConsumerOptions{})
	requireErrorIn(t, "Consume", err, mafalda.ErrInvalidArgument)
	err = x.in.(mafalda.WebRTCTransport).Connect(ctx, mafalda.WebRTCTransportConnectOptions{})
	requireErrorIn(t, "Connect", err, mafalda.ErrInvalidArgument)
	requireErrorIn(t, "Connect", x.out.(mafalda.PlainTransport).Connect(ctx, mafalda.PlainTransportConnectOptions{}),
		mafalda.ErrInvalidArgument)
	requireErrorIn(t, "EnableTraceEvent", x.p.EnableTraceEvent(ctx, "chicken"), mafalda.ErrInvalidArgument)
	requireErrorIn(t, "EnableTraceEvent", x.far.EnableTraceEvent(ctx, "chicken"), mafalda.ErrInvalidArgument)
	requireErrorIn(t, "SetMaxIncomingBitrate", x.in.SetMaxIncomingBitrate(ctx, -1), mafalda.ErrInvalidArgument)
	_, err = x.router.CreateWebRTCTransport(ctx, mafalda.WebRTCTransportOptions{})
	requireErrorIn(t, "CreateWebRTCTransport", err, mafalda.ErrInvalidArgument)
	_, err = x.worker.CreateWebRTCServer(ctx, mafalda.WebRTCServerOptions{})
	requireErrorIn(t, "CreateWebRTCServer", err, mafalda.ErrInvalidArgument)
	requireErrorIn(t, "UpdateSettings", x.worker.UpdateSettings(ctx, mafalda.WorkerUpdateableSettings{LogLevel: "chicken"}),
		mafalda.ErrInvalidArgument)
}

func testClosedContext(t *testing.T, s *suite) {
	x := newTree(t, s.room(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range x.calls(t) {
		requireErrorIn(t, c.name, c.do(ctx), context.Canceled)
	}
	require.Len(t, x.in.Producers(), 1)
	require.Len(t, x.in.Consumers(), 1)
	require.Len(t, x.out.Consumers(), 1)
	require.False(t, x.p.Paused())
	require.False(t, x.far.Paused())
	require.Len(t, x.in.DataProducers(), 1)
	require.Len(t, x.in.DataConsumers(), 1)
	require.Len(t, x.out.DataConsumers(), 1)
	require.False(t, x.dp.Paused())
	require.False(t, x.dataFar.Paused())
	require.Empty(t, x.dataFar.Subchannels())
	require.Empty(t, x.out.(mafalda.PlainTransport).Tuple().RemoteIP)
	require.Empty(t, x.j.read())
}
