package mafalda

import (
	"flag"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "16"); err != nil { // the cases wait more than they compute
		panic(err)
	}
	fuzzing := slices.Contains(os.Args, "-test.fuzzworker") // a child that is a test itself
	if os.Getenv(asWorker) != "" && !fuzzing {
		os.Exit(serveWorker())
	}
	os.Setenv(asWorker, "1") // for what this process starts
	goleak.VerifyTestMain(m)
}

const patience = 10 * time.Second

func testCodecs() []RouterRTPCodecCapability {
	return []RouterRTPCodecCapability{
		{Kind: MediaKindAudio, MIMEType: "audio/opus", ClockRate: 48000, Channels: 2},
		{Kind: MediaKindVideo, MIMEType: "video/VP8", ClockRate: 90000},
	}
}

func testSFU(t testing.TB) *sfu {
	s := newSFU()
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func testWorker(t testing.TB) *worker {
	w, err := testSFU(t).createWorker(t.Context(), WorkerSettings{})
	require.NoError(t, err)
	return w
}

func testRouter(t testing.TB, w Worker) Router {
	r, err := w.CreateRouter(t.Context(), RouterOptions{MediaCodecs: testCodecs()})
	require.NoError(t, err)
	return r
}

// testRouters makes n Routers, each on a Worker of its own.
func testRouters(t testing.TB, s SFU, n int) []Router {
	routers := make([]Router, n)
	for i := range routers {
		w, err := s.CreateWorker(t.Context(), WorkerSettings{})
		require.NoError(t, err)
		routers[i] = testRouter(t, w)
	}
	return routers
}

func testServer(t testing.TB, w Worker) WebRTCServer {
	s, err := w.CreateWebRTCServer(t.Context(), WebRTCServerOptions{ListenInfos: []ListenInfo{udp()}})
	require.NoError(t, err)
	return s
}

func testDirect(t testing.TB, r Router) DirectTransport {
	d, err := r.CreateDirectTransport(t.Context(), DirectTransportOptions{})
	require.NoError(t, err)
	return d
}

func audioOptions(ssrc uint32) ProducerOptions {
	return ProducerOptions{Kind: MediaKindAudio, RTPParameters: RTPParameters{
		Codecs:    []RTPCodecParameters{{MIMEType: "audio/opus", PayloadType: 111, ClockRate: 48000, Channels: 2}},
		Encodings: []RTPEncodingParameters{{SSRC: ssrc}},
	}}
}

func videoOptions(ssrc uint32) ProducerOptions {
	return ProducerOptions{Kind: MediaKindVideo, RTPParameters: RTPParameters{
		Codecs: []RTPCodecParameters{{
			MIMEType: "video/VP8", PayloadType: 96, ClockRate: 90000,
			RTCPFeedback: []RTCPFeedback{{"nack", ""}, {"nack", "pli"}, {"ccm", "fir"}},
		}},
		Encodings: []RTPEncodingParameters{{SSRC: ssrc}},
	}}
}

func testProduce(t testing.TB, tr Transport, o ProducerOptions) Producer {
	p, err := tr.Produce(t.Context(), o)
	require.NoError(t, err)
	return p
}

func testConsume(t testing.TB, r Router, tr Transport, p Producer) Consumer {
	c, err := tr.Consume(t.Context(), ConsumerOptions{ProducerID: p.ID(), RTPCapabilities: r.RTPCapabilities()})
	require.NoError(t, err)
	return c
}

// wait fails the test unless ch is closed or has a value soon.
func wait[T any](t testing.TB, ch <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(patience):
		require.FailNow(t, "no "+what)
	}
	return v
}

// A journal writes down events in the order in which they come.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
}

// take returns what was written since the last call.
func (j *journal) take() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	lines := j.lines
	j.lines = nil
	return lines
}

// watch listens to all events of o: "name!Event", "name.o!Event" of its observer.
func (j *journal) watch(name string, o any) {
	v := reflect.ValueOf(o)
	for method, prefix := range map[string]string{"Events": name + "!", "Observer": name + ".o!"} {
		m := v.MethodByName(method)
		if !m.IsValid() {
			continue
		}
		bag := m.Call(nil)[0].Elem()
		for i := range bag.NumField() {
			on := bag.Field(i).Addr().MethodByName("On")
			line := prefix + bag.Type().Field(i).Name
			f := reflect.MakeFunc(on.Type().In(0), func([]reflect.Value) []reflect.Value {
				j.add(line)
				return nil
			})
			on.Call([]reflect.Value{f})
		}
	}
}

// A tree is one object of everything, and more where closing needs it.
type tree struct {
	journal
	sfu                *sfu
	worker             Worker
	server             WebRTCServer
	router             Router
	web                WebRTCTransport
	plain              PlainTransport
	direct             DirectTransport
	audio, video       Producer // on web
	sent               Producer // on direct
	own                Consumer // on web, of audio
	c1, c2, c3, c4, c5 Consumer // c1: plain, video; c2: plain, sent; c3: direct, audio; c4: direct, sent; c5: web, sent
}

// newTree returns a tree with an empty journal.
func newTree(t testing.TB) *tree {
	x := &tree{sfu: testSFU(t)}
	var err error
	x.worker, err = x.sfu.CreateWorker(t.Context(), WorkerSettings{})
	require.NoError(t, err)
	x.server = testServer(t, x.worker)
	x.router = testRouter(t, x.worker)
	x.web, err = x.router.CreateWebRTCTransport(t.Context(), WebRTCTransportOptions{WebRTCServer: x.server})
	require.NoError(t, err)
	x.plain, err = x.router.CreatePlainTransport(t.Context(), PlainTransportOptions{ListenInfo: udp()})
	require.NoError(t, err)
	x.direct = testDirect(t, x.router)
	x.audio = testProduce(t, x.web, audioOptions(1))
	x.video = testProduce(t, x.web, videoOptions(2))
	x.sent = testProduce(t, x.direct, audioOptions(3))
	x.own = testConsume(t, x.router, x.web, x.audio)
	x.c1 = testConsume(t, x.router, x.plain, x.video)
	x.c2 = testConsume(t, x.router, x.plain, x.sent)
	x.c3 = testConsume(t, x.router, x.direct, x.audio)
	x.c4 = testConsume(t, x.router, x.direct, x.sent)
	x.c5 = testConsume(t, x.router, x.web, x.sent)
	x.watch("sfu", x.sfu)
	for name, o := range x.objects() {
		x.watch(name, o)
	}
	x.take()
	return x
}

// A lived is what all objects are.
type lived interface {
	Lifetime
	AppDataHolder
	ID() string
}

func (x *tree) objects() map[string]lived {
	return map[string]lived{
		"worker": x.worker, "server": x.server, "router": x.router,
		"web": x.web, "plain": x.plain, "direct": x.direct,
		"audio": x.audio, "video": x.video, "sent": x.sent,
		"own": x.own, "c1": x.c1, "c2": x.c2, "c3": x.c3, "c4": x.c4, "c5": x.c5,
	}
}

func fields(s ...string) []string { return strings.Fields(strings.Join(s, " ")) }
