package acceptance

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/pion/rtcp"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
)

var pipeToRouterCases = []testCase{
	{
		name:        "PipeToRouter/Audio",
		explanation: "a pipe Consumer has what the Producer has, without MID; the pipe Producer has the same id, parameters and AppData; each Router has one PipeTransport more",
		upstream:    []string{"PipeTransport 1"},
		run:         testPipeAudio,
	},
	{
		name:        "PipeToRouter/PausedVideo",
		explanation: "a Producer that is paused has a pipe Producer that is paused; the pair of PipeTransports is shared",
		upstream:    []string{"PipeTransport 2"},
		run:         testPipePausedVideo,
	},
	{
		name:        "PipeToRouter/WrongArguments",
		explanation: "wrong options are ErrInvalidArgument, an unknown Producer is ErrNotFound, and nothing was created",
		run:         testPipeToRouterWrongArguments,
	},
	{
		name:        "PipeToRouter/Again",
		explanation: "a Producer that was piped can't be piped again with its id, and what was made for it is closed; with another id it can",
		upstream:    []string{"newer 1", "3.19.0"},
		run:         testPipeAgain,
	},
	{
		name:        "PipeToRouter/SameWorker",
		explanation: "within one Worker KeepID is ErrInvalidState; without it the pipe Producer has an id of its own",
		upstream:    []string{"PipeTransport 12", "newer 1", "newer 2", "3.19.0"},
		run:         testPipeSameWorker,
	},
	{
		name:        "PipeToRouter/Pause",
		explanation: "pause and resume of the Producer, or of the pipe Consumer, reach the pipe Producer and its Consumers",
		upstream:    []string{"PipeTransport 10"},
		run:         testPipePause,
	},
	{
		name:        "PipeToRouter/Close",
		explanation: "whatever ends the pipe Consumer ends the pipe Producer and the other way round, but never the Producer; PipeTransports end together",
		upstream:    []string{"PipeTransport 11", "PipeTransport 17"},
		run:         testPipeClose,
	},
	{
		name:        "PipeToRouter/CloseOrder",
		explanation: "closing a Router closes both PipeTransports, in mediasoup's order, before Close returns",
		upstream:    []string{"PipeTransport 17"},
		run:         testPipeCloseOrder,
	},
	{
		name:        "PipeToRouter/Concurrent",
		explanation: "concurrent calls, in one direction or both, make one pair, whose tuples name each other",
		upstream:    []string{"PipeTransport 16", "PipeTransport 17"},
		run:         testPipeConcurrent,
	},
	{
		name:        "PipeToRouter/FailedPair",
		explanation: "a pair that could not be made leaves nothing behind, and the next call makes one",
		run:         testPipeFailedPair,
	},
	{
		name:        "PipeToRouter/Context",
		explanation: "a context that ended is the error, and a call that waits for a pair of another caller does not share its fate",
		run:         testPipeContext,
	},
	{
		name:        "PipeToRouter/Media",
		explanation: "RTP crosses unchanged but for SSRC and numbering, with header extensions; key frame requests and reports cross back; stats count as on a wire",
		upstream:    []string{"3.19.4"},
		run:         testPipeMedia,
	},
	{
		name:        "PipeToRouter/Simulcast",
		explanation: "all streams of a Producer cross, and a Consumer of the pipe Producer is negotiated with its endpoint like any other, of type simulcast",
		upstream:    []string{"PipeTransport 9"},
		run:         testPipeSimulcast,
	},
	{
		name:        "PipeToRouter/Chain",
		explanation: "a pipe Producer can be piped on, back to the Router of its origin too under another id",
		run:         testPipeChain,
	},
	{
		name:        "PipeRouters/Foreign",
		explanation: "Routers that this implementation does not know are piped by their public methods, in all directions",
		run:         testPipeForeign,
	},
	{
		name:        "PipeTransport/ByHand",
		explanation: "two SFUs that share nothing are connected over UDP by hand, with RTX and SRTP or without",
		run:         testPipeByHand,
	},
}

// A road is a way for packets between two PipeTransports.
type road struct {
	name    string
	options mafalda.PipeToRouterOptions
}

// roads are the options with which packets take different ways.
func roads() []road {
	return []road{
		{"default", mafalda.PipeToRouterOptions{}},
		{"RTX", mafalda.PipeToRouterOptions{EnableRTX: true}},
		{"UDP", mafalda.PipeToRouterOptions{ListenInfo: new(listenUDP())}},
		{"UDP with RTX", mafalda.PipeToRouterOptions{ListenInfo: new(listenUDP()), EnableRTX: true}},
		{"SRTP", mafalda.PipeToRouterOptions{EnableSRTP: true}},
	}
}

// A piped is a Producer and its copy on another Router.
type piped struct {
	near, far *room
	in        *end // of the Producer, a DirectTransport
	p         mafalda.Producer
	mafalda.PipeToRouterResult
}

// pipe produces on one Worker and pipes to another.
func (s *suite) pipe(t testing.TB, kind mafalda.MediaKind, o mafalda.PipeToRouterOptions) *piped {
	t.Helper()
	x := &piped{near: s.room(t), far: s.room(t)}
	x.in = x.near.directEnd(t)
	params := audio("", 1111)
	if kind == mafalda.MediaKindVideo {
		params = video("", 1111)
	}
	x.p = x.in.produceWith(t, mafalda.ProducerOptions{Kind: kind, RTPParameters: params, AppData: "mine"})
	x.PipeToRouterResult = x.near.pipeTo(t, x.far, x.p, o)
	return x
}

func (r *room) pipeTo(t testing.TB, to *room, p mafalda.Producer, o mafalda.PipeToRouterOptions) mafalda.PipeToRouterResult {
	t.Helper()
	o.ProducerID, o.Router = p.ID(), to.router
	got, err := r.router.PipeToRouter(t.Context(), o)
	require.NoError(t, err)
	return got
}

// pipes are the open PipeTransports of the room.
func (r *room) pipes() (list []mafalda.PipeTransport) {
	for _, tr := range r.router.Transports() {
		if p, ok := tr.(mafalda.PipeTransport); ok {
			list = append(list, p)
		}
	}
	return list
}

// requirePair checks that each of two rooms has one PipeTransport, connected to
// that of the other.
func requirePair(t testing.TB, a, b *room) (x, y mafalda.PipeTransport) {
	t.Helper()
	require.Len(t, a.pipes(), 1)
	require.Len(t, b.pipes(), 1)
	x, y = a.pipes()[0], b.pipes()[0]
	require.NotZero(t, x.Tuple().LocalPort)
	require.Equal(t, x.Tuple().LocalPort, y.Tuple().RemotePort)
	require.Equal(t, y.Tuple().LocalPort, x.Tuple().RemotePort)
	require.Equal(t, x.Tuple().LocalAddress, y.Tuple().RemoteIP)
	require.Equal(t, y.Tuple().LocalAddress, x.Tuple().RemoteIP)
	for _, tr := range []mafalda.PipeTransport{x, y} {
		d := dumpTransport(t, tr)
		require.Equal(t, new(tr.Tuple()), d.Tuple)
	}
	return x, y
}

func testPipeAudio(t *testing.T, s *suite) {
	x := s.pipe(t, mafalda.MediaKindAudio, mafalda.PipeToRouterOptions{})
	require.Len(t, x.near.router.Transports(), 2)
	require.Len(t, x.far.router.Transports(), 1)
	from, to := requirePair(t, x.near, x.far)
	c, p := x.PipeConsumer, x.PipeProducer
	require.Equal(t, []mafalda.Consumer{c}, from.Consumers())
	require.Equal(t, []mafalda.Producer{p}, to.Producers())
	require.Equal(t, x.p.ID(), c.ProducerID())
	require.Equal(t, mafalda.MediaKindAudio, c.Kind())
	require.Equal(t, mafalda.ConsumerTypePipe, c.Type())
	require.False(t, c.Paused())
	require.False(t, c.ProducerPaused())
	require.Nil(t, c.AppData())
	require.Equal(t, mafalda.ConsumerScore{Score: 10, ProducerScore: 10, ProducerScores: []int{}}, c.Score())
	params := c.RTPParameters()
	require.Empty(t, params.MID)
	require.Len(t, params.Codecs, 1)
	require.Equal(t, "audio/opus", params.Codecs[0].MIMEType)
	require.Equal(t, uint8(100), params.Codecs[0].PayloadType)
	require.Empty(t, params.Codecs[0].RTCPFeedback)
	require.Equal(t, "the-cname", params.RTCP.CNAME)
	require.Equal(t, []uint8{6, 11, 12}, extensionIDs(params))

	require.Equal(t, x.p.ID(), p.ID())
	require.Equal(t, mafalda.MediaKindAudio, p.Kind())
	require.Equal(t, mafalda.ProducerTypeSimple, p.Type())
	require.Equal(t, "mine", p.AppData())
	require.False(t, p.Paused())
	require.Equal(t, params, p.RTPParameters())
	require.Empty(t, p.Score())
}

func testPipePausedVideo(t *testing.T, s *suite) {
	near, far := s.room(t), s.room(t)
	in := near.direct(t)
	first := produce(t, in, mafalda.MediaKindAudio, audio("", 1))
	near.pipeTo(t, far, first, mafalda.PipeToRouterOptions{})
	p, err := in.Produce(t.Context(), mafalda.ProducerOptions{Kind: mafalda.MediaKindVideo, RTPParameters: video("", 3), Paused: true})
	require.NoError(t, err)
	got := near.pipeTo(t, far, p, mafalda.PipeToRouterOptions{EnableRTX: true, EnableSRTP: true})
	from, to := requirePair(t, near, far)
	require.Nil(t, from.SRTPParameters(), "the options of the first call count")
	require.Len(t, from.Consumers(), 2)
	require.Len(t, to.Producers(), 2)
	c := got.PipeConsumer
	require.False(t, c.Paused())
	require.True(t, c.ProducerPaused())
	require.True(t, got.PipeProducer.Paused())
	params := c.RTPParameters()
	require.Len(t, params.Codecs, 1, "no RTX")
	require.Equal(t, uint8(101), params.Codecs[0].PayloadType)
	require.Equal(t, []mafalda.RTCPFeedback{{Type: "nack", Parameter: "pli"}, {Type: "ccm", Parameter: "fir"}}, params.Codecs[0].RTCPFeedback)
	require.Equal(t, []uint8{7, 8, 9, 11, 12}, extensionIDs(params))
	require.Equal(t, params, got.PipeProducer.RTPParameters())
}

func testPipeToRouterWrongArguments(t *testing.T, s *suite) {
	near, far := s.room(t), s.room(t)
	p := produce(t, near.direct(t), mafalda.MediaKindAudio, audio("", 1))
	type o = mafalda.PipeToRouterOptions
	for name, v := range map[string]o{
		"nothing":     {},
		"no Producer": {Router: far.router},
		"no Router":   {ProducerID: p.ID()},
		"same Router": {ProducerID: p.ID(), Router: near.router},
		"TCP":         {ProducerID: p.ID(), Router: far.router, ListenInfo: new(listenTCP())},
		"no IP":       {ProducerID: p.ID(), Router: far.router, ListenInfo: new(mafalda.ListenInfo)},
	} {
		_, err := near.router.PipeToRouter(t.Context(), v)
		requireErrorIn(t, name, err, mafalda.ErrInvalidArgument)
	}
	_, err := near.router.PipeToRouter(t.Context(), o{ProducerID: "foo", Router: far.router})
	requireError(t, err, mafalda.ErrNotFound)
	_, err = far.router.PipeToRouter(t.Context(), o{ProducerID: p.ID(), Router: near.router})
	requireError(t, err, mafalda.ErrNotFound)
	require.Empty(t, near.pipes())
	require.Empty(t, far.router.Transports())

	require.NoError(t, far.router.Close())
	_, err = near.router.PipeToRouter(t.Context(), o{ProducerID: p.ID(), Router: far.router})
	requireError(t, err, mafalda.ErrClosed)
	require.Empty(t, near.pipes())
	require.NoError(t, near.router.Close())
	_, err = near.router.PipeToRouter(t.Context(), o{ProducerID: p.ID(), Router: s.room(t).router})
	requireError(t, err, mafalda.ErrClosed)
}

func testPipeAgain(t *testing.T, s *suite) {
	x := s.pipe(t, mafalda.MediaKindAudio, mafalda.PipeToRouterOptions{})
	o := mafalda.PipeToRouterOptions{ProducerID: x.p.ID(), Router: x.far.router}
	_, err := x.near.router.PipeToRouter(t.Context(), o)
	requireError(t, err, mafalda.ErrInvalidState)
	from, to := requirePair(t, x.near, x.far)
	require.Equal(t, []mafalda.Consumer{x.PipeConsumer}, from.Consumers())
	require.Equal(t, []mafalda.Producer{x.PipeProducer}, to.Producers())
	o.KeepID = new(false)
	again, err := x.near.router.PipeToRouter(t.Context(), o)
	require.NoError(t, err)
	require.NotEqual(t, x.p.ID(), again.PipeProducer.ID())
	require.Len(t, to.Producers(), 2)
}

func testPipeSameWorker(t *testing.T, s *suite) {
	a := s.room(t)
	b := newRoom(t, a.worker)
	e := a.directEnd(t)
	p := e.produce(t, mafalda.MediaKindAudio, audio("", 1))
	o := mafalda.PipeToRouterOptions{ProducerID: p.ID(), Router: b.router}
	_, err := a.router.PipeToRouter(t.Context(), o)
	requireError(t, err, mafalda.ErrInvalidState)
	from, to := requirePair(t, a, b)
	require.Empty(t, from.Consumers())
	require.Empty(t, to.Producers())

	got := a.pipeTo(t, b, p, mafalda.PipeToRouterOptions{KeepID: new(false)})
	require.NotEqual(t, p.ID(), got.PipeProducer.ID())
	out := b.directEnd(t)
	c := out.consume(t, b, got.PipeProducer)
	src := opusSource(1)
	for i := range 20 {
		e.sendRTP(t, src.packet(fmt.Appendf(nil, "packet %d", i)))
		require.Equal(t, fmt.Sprintf("packet %d", i), string(out.next(t, c).Payload))
	}
}

func testPipePause(t *testing.T, s *suite) {
	x := s.pipe(t, mafalda.MediaKindAudio, mafalda.PipeToRouterOptions{})
	c := x.far.consume(t, x.far.direct(t), x.PipeProducer)
	var j journal
	note(&j, &x.PipeProducer.Observer().Pause, "far pause")
	note(&j, &x.PipeProducer.Observer().Resume, "far resume")
	note(&j, &c.Events().ProducerPause, "consumer pause")
	note(&j, &c.Events().ProducerResume, "consumer resume")
	ctx := t.Context()
	pause, resume := []string{"far pause", "consumer pause"}, []string{"far resume", "consumer resume"}
	var want []string
	for i, step := range []struct {
		name   string
		do     func(context.Context) error
		paused bool
		events []string
	}{
		{"Producer pauses", x.p.Pause, true, pause},
		{"again", x.p.Pause, true, nil},
		{"Producer resumes", x.p.Resume, false, resume},
		{"pipe Consumer pauses", x.PipeConsumer.Pause, true, pause},
		{"Producer pauses too", x.p.Pause, true, nil},
		{"pipe Consumer resumes", x.PipeConsumer.Resume, true, nil},
		{"Producer resumes at last", x.p.Resume, false, resume},
	} {
		require.NoError(t, step.do(ctx), step.name)
		want = append(want, step.events...)
		require.Equal(t, want, j.read(), "%d: %s", i, step.name)
		require.Equal(t, step.paused, x.PipeProducer.Paused(), step.name)
		require.Equal(t, step.paused, c.ProducerPaused(), step.name)
		require.False(t, c.Paused(), step.name)
	}

	// Whoever comes last, both sides agree in the end.
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 25 {
				_ = x.p.Pause(ctx)
				_ = x.p.Resume(ctx)
			}
		})
	}
	wg.Wait()
	eventually(t, "both sides agree", func() bool { return x.PipeProducer.Paused() == x.p.Paused() })
}

func testPipeClose(t *testing.T, s *suite) {
	for name, v := range map[string]struct {
		close    func(x *piped) mafalda.Lifetime
		producer bool // ends with it
		pair     bool
	}{
		"Producer":             {close: func(x *piped) mafalda.Lifetime { return x.p }, producer: true},
		"Producer's transport": {close: func(x *piped) mafalda.Lifetime { return x.in.transport }, producer: true},
		"pipe Consumer":        {close: func(x *piped) mafalda.Lifetime { return x.PipeConsumer }},
		"pipe Producer":        {close: func(x *piped) mafalda.Lifetime { return x.PipeProducer }},
		"near PipeTransport":   {close: func(x *piped) mafalda.Lifetime { return x.near.pipes()[0] }, pair: true},
		"far PipeTransport":    {close: func(x *piped) mafalda.Lifetime { return x.far.pipes()[0] }, pair: true},
		"near Router":          {close: func(x *piped) mafalda.Lifetime { return x.near.router }, producer: true, pair: true},
		"far Router":           {close: func(x *piped) mafalda.Lifetime { return x.far.router }, pair: true},
		"near Worker":          {close: func(x *piped) mafalda.Lifetime { return x.near.worker }, producer: true, pair: true},
		"far Worker":           {close: func(x *piped) mafalda.Lifetime { return x.far.worker }, pair: true},
	} {
		x := s.pipe(t, mafalda.MediaKindAudio, mafalda.PipeToRouterOptions{})
		out := x.far.direct(t)
		c := x.far.consume(t, out, x.PipeProducer)
		from, to := requirePair(t, x.near, x.far)
		require.NoError(t, v.close(x).Close(), name)
		require.True(t, x.PipeConsumer.Closed(), name)
		require.True(t, x.PipeProducer.Closed(), name)
		require.True(t, c.Closed(), name)
		require.Equal(t, v.producer, x.p.Closed(), name)
		require.Equal(t, v.pair, from.Closed(), name)
		require.Equal(t, v.pair, to.Closed(), name)
		for _, o := range []mafalda.Lifetime{x.PipeConsumer, x.PipeProducer, c} {
			done(t, o)
		}
		if v.pair && !x.near.router.Closed() && !x.far.router.Closed() {
			again := x.near.pipeTo(t, x.far, x.p, mafalda.PipeToRouterOptions{})
			require.False(t, again.PipeProducer.Closed(), name)
			near, _ := requirePair(t, x.near, x.far)
			require.NotEqual(t, from, near, name)
		}
	}
}

func testPipeCloseOrder(t *testing.T, s *suite) {
	x := s.pipe(t, mafalda.MediaKindAudio, mafalda.PipeToRouterOptions{})
	from, to := requirePair(t, x.near, x.far)
	var j journal
	note(&j, &x.PipeProducer.Events().TransportClose, "producer transportclose")
	note(&j, &x.PipeProducer.Observer().Close, "producer close")
	note(&j, &x.PipeConsumer.Events().TransportClose, "consumer transportclose")
	note(&j, &x.PipeConsumer.Observer().Close, "consumer close")
	note(&j, &to.Events().RouterClose, "far routerclose")
	note(&j, &to.Observer().Close, "far close")
	note(&j, &from.Events().RouterClose, "near routerclose")
	note(&j, &from.Observer().Close, "near close")
	note(&j, &x.far.router.Observer().Close, "router close")
	require.NoError(t, x.far.router.Close())
	got := j.read()
	require.ElementsMatch(t, []string{
		"producer transportclose", "producer close", "consumer close", "far routerclose", "far close", "near close", "router close",
	}, got)
	j.requireOrder(t, got...)
	before := func(a, b string) { require.Less(t, indexOf(got, a), indexOf(got, b), "%s before %s", a, b) }
	before("producer transportclose", "producer close")
	before("producer close", "far routerclose")
	before("consumer close", "far routerclose")
	before("far routerclose", "far close")
	before("far close", "router close")
	before("near close", "router close")
	require.False(t, x.p.Closed())
}

func indexOf(list []string, v string) int {
	for i, x := range list {
		if x == v {
			return i
		}
	}
	return -1
}

func testPipeConcurrent(t *testing.T, s *suite) {
	const n = 10
	a, b := s.room(t), s.room(t)
	sides := [2]*room{a, b}
	var producers [2][n]mafalda.Producer
	for side, r := range sides {
		tr := r.direct(t)
		for i := range n {
			producers[side][i] = produce(t, tr, mafalda.MediaKindAudio, audio("", uint32(1+i)))
		}
	}
	var wg sync.WaitGroup
	errs := make(chan error, 2*n)
	for side := range sides {
		for _, p := range producers[side] {
			wg.Go(func() {
				_, err := sides[side].router.PipeToRouter(t.Context(), mafalda.PipeToRouterOptions{
					ProducerID: p.ID(), Router: sides[1-side].router,
				})
				errs <- err
			})
		}
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
	x, y := requirePair(t, a, b)
	for _, tr := range []mafalda.PipeTransport{x, y} {
		require.Len(t, tr.Producers(), n)
		require.Len(t, tr.Consumers(), n)
	}
	require.NoError(t, a.router.Close())
	require.True(t, x.Closed())
	require.True(t, y.Closed())
	require.Empty(t, b.pipes())
}

func testPipeFailedPair(t *testing.T, s *suite) {
	near, far := s.room(t), s.room(t)
	p := produce(t, near.direct(t), mafalda.MediaKindAudio, audio("", 1))
	o := mafalda.PipeToRouterOptions{ProducerID: p.ID(), Router: far.router, ListenInfo: new(listenUDP())}
	o.ListenInfo.Port = freePort(t) // two can't have it
	for range 2 {
		_, err := near.router.PipeToRouter(t.Context(), o)
		requireError(t, err, mafalda.ErrUnavailable)
		require.Empty(t, near.pipes())
		require.Empty(t, far.pipes())
	}
	o.ListenInfo = nil
	_, err := near.router.PipeToRouter(t.Context(), o)
	require.NoError(t, err)
	requirePair(t, near, far)
}

func testPipeContext(t *testing.T, s *suite) {
	near, far := s.room(t), s.room(t)
	tr := near.direct(t)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	var wg sync.WaitGroup
	for i := range 10 {
		p := produce(t, tr, mafalda.MediaKindAudio, audio("", uint32(1+i)))
		o := mafalda.PipeToRouterOptions{ProducerID: p.ID(), Router: far.router}
		wg.Go(func() {
			if i%2 == 0 {
				_, err := near.router.PipeToRouter(ended, o)
				if err == nil {
					t.Error("a context that ended was of no effect")
				}
				return
			}
			if _, err := near.router.PipeToRouter(t.Context(), o); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	_, to := requirePair(t, near, far)
	require.Len(t, to.Producers(), 5)
}

func testPipeMedia(t *testing.T, s *suite) {
	for _, road := range roads() {
		t.Run(road.name, func(t *testing.T) {
			x := s.pipe(t, mafalda.MediaKindVideo, road.options)
			out := x.far.plainEnd(t, mafalda.PlainTransportOptions{})
			c := out.consume(t, x.far, x.PipeProducer)
			from, to := requirePair(t, x.near, x.far)
			// The Consumer wants a key frame, which the endpoint hears of.
			src := vp8Source(1111)
			x.in.sendRTP(t, src.packet(vp8Delta("no key")))
			nextPLI(t, x.in, 1111)
			const n = 200
			orientation := byte(0x01)
			for i := range n {
				payload := vp8Delta(fmt.Sprintf("frame %d", i))
				if i == 0 {
					payload = vp8Key("frame 0")
				}
				x.in.sendRTP(t, src.packet(payload, marked, extended(t, 13, []byte{orientation})))
			}
			first := out.next(t, c)
			require.Contains(t, string(first.Payload), "frame 0")
			require.Equal(t, []byte{orientation}, first.GetExtension(8))
			require.True(t, first.Marker)
			for i := 1; i < n; i++ {
				p := out.next(t, c)
				require.Contains(t, string(p.Payload), fmt.Sprintf("frame %d", i))
				require.Equal(t, first.SequenceNumber+uint16(i), p.SequenceNumber)
			}

			out.sendRTCP(t, &rtcp.PictureLossIndication{MediaSSRC: c.RTPParameters().Encodings[0].SSRC})
			nextPLI(t, x.in, 1111)

			sent, received := transportStats(t, from), transportStats(t, to)
			require.Equal(t, sent.RTPBytesSent, received.RTPBytesReceived)
			require.NotZero(t, sent.RTPBytesSent)
			require.GreaterOrEqual(t, sent.BytesSent, sent.RTPBytesSent)
			require.NotZero(t, sent.BytesReceived, "the key frame request")
			require.NotZero(t, received.BytesSent)

			// Reports of both PipeTransports. There is no sender report without media,
			// and one that is handled late tells no round trip time.
			eventually(t, "a receiver report crosses", func() bool {
				x.in.sendRTP(t, src.packet(vp8Delta("on"), marked))
				stats, err := x.PipeConsumer.Stats(t.Context())
				return err == nil && len(stats) > 0 && stats[0].RoundTripTime > 0
			})
		})
	}
}

func testPipeSimulcast(t *testing.T, s *suite) {
	for _, road := range roads() {
		t.Run(road.name, func(t *testing.T) {
			near, far := s.room(t), s.room(t)
			in := near.directEnd(t)
			params := video("", 0)
			params.HeaderExtensions = nil
			params.Encodings = nil
			for i := range uint32(3) {
				params.Encodings = append(params.Encodings, mafalda.RTPEncodingParameters{
					SSRC: 1111 + i, RTX: &mafalda.RTXParameters{SSRC: 2111 + i}, MaxBitrate: 100_000 * int(i+1), ScalabilityMode: "L1T3",
				})
			}
			p := in.produce(t, mafalda.MediaKindVideo, params)
			got := near.pipeTo(t, far, p, road.options)
			require.Equal(t, mafalda.ConsumerTypePipe, got.PipeConsumer.Type())
			require.Equal(t, mafalda.ProducerTypeSimulcast, got.PipeProducer.Type())
			encodings := got.PipeProducer.RTPParameters().Encodings
			require.Len(t, encodings, 3)
			for i, e := range encodings {
				require.Equal(t, encodings[0].SSRC+uint32(i), e.SSRC)
				require.Equal(t, 100_000*(i+1), e.MaxBitrate)
				require.Equal(t, "L1T3", e.ScalabilityMode)
				require.Equal(t, road.options.EnableRTX, e.RTX != nil)
			}
			d := dumpConsumer(t, got.PipeConsumer)
			require.Nil(t, d.RTPStream)
			require.Len(t, d.RTPStreams, 3)

			out := far.directEnd(t)
			c := out.consume(t, far, got.PipeProducer)
			require.Equal(t, mafalda.ConsumerTypeSimulcast, c.Type())
			require.Equal(t, mafalda.ConsumerScore{Score: 10, ProducerScores: []int{0, 0, 0}}, c.Score())
			final := c.RTPParameters()
			require.Equal(t, "0", final.MID)
			require.Equal(t, []uint8{101, 102}, []uint8{final.Codecs[0].PayloadType, final.Codecs[1].PayloadType})
			require.Contains(t, final.Codecs[0].RTCPFeedback, mafalda.RTCPFeedback{Type: "nack"})
			require.Len(t, final.Encodings, 1)
			require.NotNil(t, final.Encodings[0].RTX)
			require.Equal(t, "L3T3", final.Encodings[0].ScalabilityMode)

			for i := range 20 {
				for ssrc := range uint32(3) {
					payload := vp8Delta(fmt.Sprintf("frame %d", i))
					if i == 0 {
						payload = vp8Key("key")
					}
					in.sendRTP(t, (&source{ssrc: 1111 + ssrc, pt: 112, seq: uint16(i), ts: uint32(3000 * i)}).packet(payload, marked))
				}
			}
			eventually(t, "three streams arrive", func() bool {
				stats, err := got.PipeProducer.Stats(t.Context())
				require.NoError(t, err)
				n := 0
				for _, s := range stats {
					if s.PacketCount == 20 {
						n++
					}
				}
				return n == 3
			})
			stats, err := got.PipeConsumer.Stats(t.Context())
			require.NoError(t, err)
			require.Len(t, stats, 3)
			for i, s := range stats {
				require.Equal(t, encodings[i].SSRC, s.SSRC)
				require.EqualValues(t, 20, s.PacketCount)
			}
		})
	}
}

func testPipeChain(t *testing.T, s *suite) {
	x := s.pipe(t, mafalda.MediaKindAudio, mafalda.PipeToRouterOptions{})
	third := s.room(t)
	onward := x.far.pipeTo(t, third, x.PipeProducer, mafalda.PipeToRouterOptions{})
	back := third.pipeTo(t, x.near, onward.PipeProducer, mafalda.PipeToRouterOptions{KeepID: new(false)})
	require.Equal(t, x.p.ID(), onward.PipeProducer.ID())
	out := x.near.directEnd(t)
	c := out.consume(t, x.near, back.PipeProducer)
	src := opusSource(1111)
	for i := range 50 {
		x.in.sendRTP(t, src.packet(fmt.Appendf(nil, "packet %d", i)))
	}
	for i := range 50 {
		require.Equal(t, fmt.Sprintf("packet %d", i), string(out.next(t, c).Payload))
	}
	require.NoError(t, x.p.Pause(t.Context()))
	require.True(t, back.PipeProducer.Paused())
	require.NoError(t, x.p.Close())
	require.True(t, back.PipeProducer.Closed())
	require.True(t, c.Closed())
}

// A foreignRouter is of another implementation, as far as anybody can see.
type foreignRouter struct{ mafalda.Router }

func (r *foreignRouter) PipeToRouter(ctx context.Context, o mafalda.PipeToRouterOptions) (mafalda.PipeToRouterResult, error) {
	return mafalda.PipeRouters(ctx, r, o.Router, o)
}

func testPipeForeign(t *testing.T, s *suite) {
	ours, theirs, more := s.room(t), s.room(t), s.room(t)
	theirs.router = &foreignRouter{theirs.router}
	more.router = &foreignRouter{more.router}
	e := ours.directEnd(t)
	p := e.produce(t, mafalda.MediaKindAudio, audio("", 1))
	there := ours.pipeTo(t, theirs, p, mafalda.PipeToRouterOptions{})
	onward := theirs.pipeTo(t, more, there.PipeProducer, mafalda.PipeToRouterOptions{})
	back, err := mafalda.PipeRouters(t.Context(), more.router, ours.router, mafalda.PipeToRouterOptions{
		ProducerID: onward.PipeProducer.ID(), KeepID: new(false),
	})
	require.NoError(t, err)
	for _, r := range []*room{theirs, more} {
		require.Len(t, r.pipes(), 2)
	}
	out := ours.directEnd(t)
	c := out.consume(t, ours, back.PipeProducer)
	e.sendRTP(t, opusSource(1).packet([]byte("around the world")))
	require.Equal(t, "around the world", string(out.next(t, c).Payload))
	require.NoError(t, p.Pause(t.Context()))
	require.True(t, back.PipeProducer.Paused())

	_, err = theirs.router.PipeToRouter(t.Context(), mafalda.PipeToRouterOptions{ProducerID: "foo", Router: ours.router})
	require.ErrorIs(t, err, mafalda.ErrNotFound)
	_, err = mafalda.PipeRouters(t.Context(), nil, ours.router, mafalda.PipeToRouterOptions{ProducerID: "foo"})
	requireError(t, err, mafalda.ErrInvalidArgument)

	require.NoError(t, theirs.router.Close())
	require.Empty(t, ours.pipes()[0].Producers())
	require.Len(t, more.pipes(), 1)
	require.True(t, back.PipeProducer.Closed())
	require.False(t, p.Closed())
}

func testPipeByHand(t *testing.T, s *suite) {
	for _, o := range []mafalda.PipeTransportOptions{
		{}, {EnableRTX: true}, {EnableSRTP: true}, {EnableRTX: true, EnableSRTP: true},
	} {
		near, far := s.room(t), (&suite{Target: s.Target, sfu: s.New(t)}).room(t)
		a, b := near.pipe(t, o), far.pipe(t, o)
		connect := func(x, y mafalda.PipeTransport) {
			t.Helper()
			require.NoError(t, x.Connect(t.Context(), mafalda.PipeTransportConnectOptions{
				IP: loopback, Port: y.Tuple().LocalPort, SRTPParameters: y.SRTPParameters(),
			}))
		}
		connect(a, b)
		connect(b, a)
		e := near.directEnd(t)
		p := e.produce(t, mafalda.MediaKindVideo, video("", 1))
		c, err := a.Consume(t.Context(), mafalda.ConsumerOptions{ProducerID: p.ID()})
		require.NoError(t, err)
		copied := produce(t, b, mafalda.MediaKindVideo, c.RTPParameters())
		out := far.directEnd(t)
		last := out.consume(t, far, copied)
		src := vp8Source(1)
		e.sendRTP(t, src.packet(vp8Key("one"), marked))
		e.sendRTP(t, src.packet(vp8Delta("two"), marked))
		require.Contains(t, string(out.next(t, last).Payload), "one")
		require.Contains(t, string(out.next(t, last).Payload), "two")

		// Nobody else is listened to.
		other := openUDP(t, loopback)
		stranger := vp8Source(c.RTPParameters().Encodings[0].SSRC).packet(vp8Key("intruder"), marked)
		_, err = other.WriteToUDPAddrPort(marshal(t, stranger), addrWithPort(b.Tuple().LocalPort))
		require.NoError(t, err)
		e.sendRTP(t, src.packet(vp8Delta("three"), marked))
		require.Contains(t, string(out.next(t, last).Payload), "three")
	}
}
