package acceptance

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
)

var closeCases = []testCase{
	{
		name:        "Close/Worker",
		explanation: "worker.Close: each Router with all in it, then the WebRTCServers, then the Worker; each object one cause and one Close, children first",
		upstream:    []string{"Worker 10", "Router 5", "WebRtcServer 8", "WebRtcTransport 21", "PlainTransport 13", "DirectTransport 9"},
		run:         testCloseWorker,
	},
	{
		name:        "Close/Router",
		explanation: "router.Close: per transport its Producers, Consumers, DataProducers, DataConsumers, RouterClose, Close; then the Router's Close",
		upstream:    []string{"Router 4", "WebRtcTransport 20", "PlainTransport 12", "DirectTransport 8"},
		run:         testCloseRouter,
	},
	{
		name:        "Close/Transport",
		explanation: "transport.Close: its Producers, Consumers, DataProducers and DataConsumers hear TransportClose and Close, then the transport's Close; Consumers elsewhere hear ProducerClose and Close, DataConsumers DataProducerClose and Close",
		upstream:    []string{"Producer 17", "Consumer 20", "Consumer 21", "DataProducer 12", "DataConsumer 13", "DataConsumer 14"},
		run:         testCloseTransport,
	},
	{
		name:        "Close/Producer",
		explanation: "producer.Close: its Close, and every Consumer hears ProducerClose and Close, on any transport",
		upstream:    []string{"Producer 15", "Consumer 20"},
		run:         testCloseProducer,
	},
	{
		name:        "Close/WebRTCServer",
		explanation: "webRTCServer.Close: per transport its Producers, Consumers, DataProducers, DataConsumers, ListenServerClose, Close, WebRTCTransportUnhandled; then the server's Close; Consumers elsewhere hear ProducerClose",
		upstream:    []string{"WebRtcServer 7", "WebRtcServer 10"},
		run:         testCloseWebRTCServer,
	},
	{
		name:        "Close/FromListener",
		explanation: "a listener may close any object, also the one that emits or its parents",
		run:         testCloseFromListener,
	},
	{
		name:        "Close/NothingAfterClose",
		explanation: "nothing is emitted on an object after its observer's Close",
		run:         testCloseNothingAfterClose,
	},
}

// A tree has one of everything: what is produced on in is consumed on in and
// on out.
type tree struct {
	*room
	server   mafalda.WebRTCServer
	in, out  mafalda.Transport
	p        mafalda.Producer
	own, far mafalda.Consumer // on in and on out
	dp       mafalda.DataProducer
	dataOwn  mafalda.DataConsumer
	dataFar  mafalda.DataConsumer
	j        journal
}

func newTree(t testing.TB, r *room) *tree {
	t.Helper()
	x := &tree{room: r, server: r.server(t)}
	x.in = r.webRTC(t, mafalda.WebRTCTransportOptions{WebRTCServer: x.server, SCTPOptions: withSCTP()})
	x.out = r.plain(t, mafalda.PlainTransportOptions{SCTPOptions: withSCTP()})
	x.p = produce(t, x.in, mafalda.MediaKindAudio, audio("", 1))
	x.own, x.far = r.consume(t, x.in, x.p), r.consume(t, x.out, x.p)
	x.dp = produceData(t, x.in, mafalda.DataProducerOptions{SCTPStreamParameters: stream(1)})
	x.dataOwn = consumeData(t, x.in, mafalda.DataConsumerOptions{DataProducerID: x.dp.ID()})
	x.dataFar = consumeData(t, x.out, mafalda.DataConsumerOptions{DataProducerID: x.dp.ID()})
	j := &x.j
	note(j, &r.worker.Observer().Close, "worker close")
	note(j, &r.worker.Events().Died, "died")
	note(j, &x.server.Events().WorkerClose, "server workerclose")
	note(j, &x.server.Observer().Close, "server close")
	note(j, &r.router.Events().WorkerClose, "router workerclose")
	note(j, &r.router.Observer().Close, "router close")
	for tr, name := range map[mafalda.Transport]string{x.in: "in", x.out: "out"} {
		note(j, &tr.Events().RouterClose, name+" routerclose")
		note(j, &tr.Events().ListenServerClose, name+" listenserverclose")
		note(j, &tr.Observer().Close, name+" close")
	}
	note(j, &x.p.Events().TransportClose, "p transportclose")
	note(j, &x.p.Observer().Close, "p close")
	for c, name := range map[mafalda.Consumer]string{x.own: "own", x.far: "far"} {
		note(j, &c.Events().TransportClose, name+" transportclose")
		note(j, &c.Events().ProducerClose, name+" producerclose")
		note(j, &c.Observer().Close, name+" close")
	}
	note(j, &x.dp.Events().TransportClose, "data transportclose")
	note(j, &x.dp.Observer().Close, "data close")
	for c, name := range map[mafalda.DataConsumer]string{x.dataOwn: "data own", x.dataFar: "data far"} {
		note(j, &c.Events().TransportClose, name+" transportclose")
		note(j, &c.Events().DataProducerClose, name+" dataproducerclose")
		note(j, &c.Observer().Close, name+" close")
	}
	return x
}

func testCloseWorker(t *testing.T, s *suite) {
	x := newTree(t, s.room(t))
	require.NoError(t, x.worker.Close())
	done(t, x.worker)
	require.Equal(t, []string{
		"p transportclose", "p close", "own transportclose", "own close",
		"data transportclose", "data close", "data own transportclose", "data own close", "in routerclose", "in close",
		"far transportclose", "far close", "data far transportclose", "data far close", "out routerclose", "out close",
		"router workerclose", "router close", "server workerclose", "server close", "worker close",
	}, x.j.read())
	for _, o := range []mafalda.Lifetime{x.p, x.own, x.far, x.dp, x.dataOwn, x.dataFar, x.in, x.out, x.router, x.server, x.worker} {
		require.True(t, o.Closed())
		done(t, o)
		require.NoError(t, o.Close())
	}
	require.Len(t, x.j.read(), 21)
}

func testCloseRouter(t *testing.T, s *suite) {
	x := newTree(t, s.room(t))
	require.NoError(t, x.router.Close())
	done(t, x.router)
	require.Equal(t, []string{
		"p transportclose", "p close", "own transportclose", "own close",
		"data transportclose", "data close", "data own transportclose", "data own close", "in routerclose", "in close",
		"far transportclose", "far close", "data far transportclose", "data far close", "out routerclose", "out close", "router close",
	}, x.j.read())
	require.False(t, x.worker.Closed())
	require.False(t, x.server.Closed())
	d, err := x.worker.Dump(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{x.server.ID()}, d.MessageHandlers.RequestHandlers)
}

func testCloseTransport(t *testing.T, s *suite) {
	x := newTree(t, s.room(t))
	require.NoError(t, x.in.Close())
	done(t, x.in)
	done(t, x.far)
	done(t, x.dataFar)
	isFar := func(n string) bool { return strings.HasPrefix(n, "far ") || strings.HasPrefix(n, "data far ") }
	require.Equal(t, []string{
		"p transportclose", "p close", "own transportclose", "own close",
		"data transportclose", "data close", "data own transportclose", "data own close", "in close",
	}, slices.DeleteFunc(x.j.read(), isFar))
	require.Equal(t, []string{"far producerclose", "far close"},
		x.j.only("far producerclose", "far transportclose", "far close"))
	require.Equal(t, []string{"data far dataproducerclose", "data far close"},
		x.j.only("data far dataproducerclose", "data far transportclose", "data far close"))
	require.Len(t, x.j.read(), 13)
	require.False(t, x.out.Closed())
	require.Empty(t, x.out.Consumers())
	require.Empty(t, x.out.DataConsumers())
	require.Equal(t, []mafalda.Transport{x.out}, x.router.Transports())

	y := newTree(t, newRoom(t, x.worker))
	require.NoError(t, y.out.Close())
	done(t, y.out)
	require.Equal(t, []string{
		"far transportclose", "far close", "data far transportclose", "data far close", "out close",
	}, y.j.read())
	require.False(t, y.p.Closed())
	require.False(t, y.dp.Closed())
}

func testCloseProducer(t *testing.T, s *suite) {
	x := newTree(t, s.room(t))
	require.NoError(t, x.p.Close())
	for _, o := range []mafalda.Lifetime{x.p, x.own, x.far} {
		done(t, o)
	}
	x.j.requireOrder(t, "p close")
	x.j.requireOrder(t, "own producerclose", "own close")
	x.j.requireOrder(t, "far producerclose", "far close")
	require.Len(t, x.j.read(), 5)
	require.Empty(t, x.in.Consumers())
	require.Empty(t, x.out.Consumers())
	require.Empty(t, x.in.Producers())
	d := dumpRouter(t, x.router)
	require.Empty(t, d.MapProducerIDConsumerIDs)
	require.Empty(t, d.MapConsumerIDProducerID)

	y := newTree(t, newRoom(t, x.worker))
	require.NoError(t, y.own.Close())
	require.Equal(t, []string{"own close"}, y.j.read())
}

func testCloseWebRTCServer(t *testing.T, s *suite) {
	x := newTree(t, s.room(t))
	note(&x.j, &x.server.Observer().WebRTCTransportUnhandled, "unhandled")
	require.NoError(t, x.server.Close())
	done(t, x.server)
	done(t, x.far)
	done(t, x.dataFar)
	require.Equal(t, []string{
		"p transportclose", "p close", "own transportclose", "own close",
		"data transportclose", "data close", "data own transportclose", "data own close", "in listenserverclose", "in close",
		"unhandled", "server close",
	}, slices.DeleteFunc(x.j.read(), func(n string) bool {
		return strings.HasPrefix(n, "far ") || strings.HasPrefix(n, "data far ")
	}))
	x.j.requireOrder(t, "far producerclose", "far close")
	x.j.requireOrder(t, "data far dataproducerclose", "data far close")
	require.Len(t, x.j.read(), 16)
	require.Equal(t, []mafalda.Transport{x.out}, x.router.Transports())
}

func testCloseFromListener(t *testing.T, s *suite) {
	r := s.room(t)
	for name, f := range map[string]func(x *tree){
		"itself":      func(x *tree) { x.p.Observer().Close.On(func(struct{}) { x.p.Close() }) },
		"its parent":  func(x *tree) { x.p.Observer().Close.On(func(struct{}) { x.in.Close() }) },
		"the router":  func(x *tree) { x.p.Observer().Close.On(func(struct{}) { x.router.Close() }) },
		"a consumer":  func(x *tree) { x.p.Observer().Close.On(func(struct{}) { x.far.Close() }) },
		"another one": func(x *tree) { x.far.Events().ProducerClose.On(func(struct{}) { x.out.Close() }) },
	} {
		x := newTree(t, newRoom(t, r.worker))
		f(x)
		require.NoError(t, x.p.Close(), name)
		for _, o := range []mafalda.Lifetime{x.p, x.own, x.far} {
			done(t, o)
		}
		for _, event := range []string{"p close", "own close", "far close"} {
			require.Equal(t, 1, x.j.count(event), "%s: %s", name, event)
		}
	}
	x := newTree(t, newRoom(t, r.worker))
	x.p.Events().TransportClose.On(func(struct{}) { r.worker.Close() })
	require.NoError(t, x.in.Close())
	done(t, r.worker)
	done(t, x.router)
	done(t, x.in)
	require.True(t, x.server.Closed())
}

func testCloseNothingAfterClose(t *testing.T, s *suite) {
	r := s.room(t)
	in, out := r.directEnd(t), r.directEnd(t)
	p := in.produce(t, mafalda.MediaKindAudio, audio("", 1))
	c := out.consume(t, r, p)
	require.NoError(t, p.EnableTraceEvent(t.Context(), mafalda.TraceRTP))
	require.NoError(t, c.EnableTraceEvent(t.Context(), mafalda.TraceRTP))
	check := func(o mafalda.Lifetime, what string) {
		if ended(o.Done()) {
			t.Errorf("%s was emitted after the end", what)
		}
	}
	p.Events().Trace.On(func(mafalda.TraceEvent) { check(p, "Producer trace") })
	p.Events().Score.On(func([]mafalda.ProducerScore) { check(p, "Producer score") })
	c.Events().Trace.On(func(mafalda.TraceEvent) { check(c, "Consumer trace") })
	c.Events().Score.On(func(mafalda.ConsumerScore) { check(c, "Consumer score") })
	c.Events().RTP.On(func([]byte) { check(c, "Consumer RTP") })
	src := opusSource(1)
	for range 500 {
		in.sendRTP(t, src.packet([]byte("x")))
	}
	require.NoError(t, c.Close())
	require.NoError(t, p.Close())
	done(t, c)
	done(t, p)
	_, err := r.worker.Dump(t.Context())
	require.NoError(t, err)
	require.NoError(t, r.worker.Close())
}
