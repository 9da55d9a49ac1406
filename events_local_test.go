package mafalda

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/engine"
	"github.com/mafalda-sfu/mafalda/internal/rtp"
	"github.com/mafalda-sfu/mafalda/internal/rtptest"
)

// opus makes packets for audioOptions(ssrc).
func opus(ssrc uint32) *rtptest.Source {
	return &rtptest.Source{Header: rtp.Header{PayloadType: 111, SequenceNumber: 1, SSRC: ssrc}, Step: 960}
}

var opusPayload = []byte{0xfc, 1, 2, 3, 4, 5}

// TestBirthOrder: a creation event comes before the call returns, once, and with
// the value that the call returns.
func TestBirthOrder(t *testing.T) {
	s := testSFU(t)
	var j journal
	j.watch("sfu", s)
	var seen []any
	s.Observer().NewWorker.On(func(w Worker) {
		seen = append(seen, w)
		j.watch("worker", w)
		assert.Equal(t, []Worker{w}, s.Workers())
		w.Observer().NewRouter.On(func(r Router) {
			seen = append(seen, r)
			j.watch("router", r)
			r.Observer().NewTransport.On(func(tr Transport) {
				seen = append(seen, tr)
				j.watch("transport", tr)
				assert.Equal(t, []Transport{tr}, r.Transports())
				tr.Observer().NewProducer.On(func(p Producer) { seen = append(seen, p) })
				tr.Observer().NewConsumer.On(func(c Consumer) { seen = append(seen, c) })
			})
		})
		w.Observer().NewWebRTCServer.On(func(s WebRTCServer) {
			seen = append(seen, s)
			j.watch("server", s)
		})
	})
	w, err := s.CreateWorker(t.Context(), WorkerSettings{AppData: 1})
	require.NoError(t, err)
	server := testServer(t, w)
	r := testRouter(t, w)
	tr, err := r.CreateWebRTCTransport(t.Context(), WebRTCTransportOptions{WebRTCServer: server})
	require.NoError(t, err)
	p := testProduce(t, tr, audioOptions(1))
	c := testConsume(t, r, tr, p)
	assert.Equal(t, []any{w, server, r, tr, p, c}, seen, "two roads, one value")
	assert.Equal(t, fields(`sfu.o!NewWorker worker.o!NewWebRTCServer worker.o!NewRouter router.o!NewTransport
		server.o!WebRTCTransportHandled transport.o!NewProducer transport.o!NewConsumer`), j.take())
	n, ok := AppDataAs[int](w)
	assert.True(t, ok)
	assert.Equal(t, 1, n)
	assert.Equal(t, []Producer{p}, tr.Producers())
	assert.Equal(t, []Consumer{c}, tr.Consumers())
	assert.Equal(t, []WebRTCServer{server}, w.WebRTCServers())
	assert.Equal(t, []Router{r}, w.Routers())
}

// TestCloseInBirth closes an object, or its parent, in its birth event: every
// listener of the birth is called, and before any close event.
func TestCloseInBirth(t *testing.T) {
	for _, test := range []struct {
		close func(r Router, tr Transport) error
		want  string
	}{
		{func(_ Router, tr Transport) error { return tr.Close() }, `birth1 birth2 transport.o!Close`},
		{func(r Router, _ Transport) error { return r.Close() }, `birth1 birth2 transport!RouterClose transport.o!Close router.o!Close`},
	} {
		w := testWorker(t)
		r := testRouter(t, w)
		var j journal
		r.Observer().Close.On(func(struct{}) { j.add("router.o!Close") })
		r.Observer().NewTransport.On(func(tr Transport) {
			j.add("birth1")
			require.NoError(t, test.close(r, tr))
			assert.True(t, tr.Closed(), "inside the listener")
		})
		r.Observer().NewTransport.On(func(tr Transport) {
			j.add("birth2")
			j.watch("transport", tr)
		})
		tr := testDirect(t, r)
		assert.True(t, tr.Closed())
		wait(t, tr.Done(), "Done")
		assert.Equal(t, fields(test.want), j.take())
	}
}

// TestSlowBirth: Close by another goroutine does not wait for a listener of a
// birth event, and its events come after it.
func TestSlowBirth(t *testing.T) {
	w := testWorker(t)
	r := testRouter(t, w)
	var j journal
	j.watch("worker", w)
	j.watch("router", r)
	entered, release := make(chan struct{}), make(chan struct{})
	r.Observer().NewTransport.On(func(tr Transport) {
		close(entered)
		<-release
		j.watch("transport", tr)
	})
	created := make(chan Transport, 1)
	go func() { created <- testDirect(t, r) }() // ends with release
	wait(t, entered, "birth")
	require.NoError(t, w.Close())
	assert.True(t, r.Closed())
	assert.Equal(t, []string{"router.o!NewTransport"}, j.take(), "before the listener returned")
	select {
	case <-w.Done():
		assert.Fail(t, "done before the last close event")
	default:
	}
	close(release)
	tr := wait(t, created, "transport")
	assert.True(t, tr.Closed())
	wait(t, w.Done(), "Done")
	assert.Equal(t, fields(`transport!RouterClose transport.o!Close router!WorkerClose router.o!Close worker.o!Close`), j.take())
}

// TestCloseInClose: a listener of a close event may close what is above. That
// ends after what is closing already.
func TestCloseInClose(t *testing.T) {
	x := newTree(t)
	x.audio.Observer().Close.On(func(struct{}) {
		require.NoError(t, x.worker.Close())
		require.NoError(t, x.audio.Close())
		assert.True(t, x.worker.Closed())
	})
	require.NoError(t, x.web.Close())
	wait(t, x.worker.Done(), "Done")
	lines := x.take()
	// What the closing of web has left to do is done before the worker's.
	assert.Equal(t, fields(inWeb, `server.o!WebRTCTransportUnhandled web.o!Close`), lines[:10])
	assert.Equal(t, "worker.o!Close", lines[len(lines)-1])
	assert.Less(t, slices.Index(lines, "c3!ProducerClose"), slices.Index(lines, "direct.o!Close"))
	all := fields(inWorker)
	for _, o := range x.objects() {
		wait(t, o.Done(), "Done")
	}
	assert.Len(t, lines, len(all)-1+1, "web has no RouterClose, the worker a Close")
}

// TestCloseInNetworkEvent closes objects from inside what the network caused.
func TestCloseInNetworkEvent(t *testing.T) {
	for _, level := range []string{"consumer", "producer", "transport", "router", "worker"} {
		t.Run(level, func(t *testing.T) {
			w := testWorker(t)
			r := testRouter(t, w)
			in, out := testDirect(t, r), testDirect(t, r)
			p := testProduce(t, in, audioOptions(1))
			c := testConsume(t, r, out, p)
			var after, calls atomic.Int32
			c.Events().RTP.On(func([]byte) {
				calls.Add(1)
				require.NoError(t, map[string]Lifetime{
					"consumer": c, "producer": p, "transport": out, "router": r, "worker": w,
				}[level].Close())
				select {
				case <-c.Done():
				default:
					assert.Fail(t, "Close returned before its events")
				}
			})
			c.Events().RTP.On(func([]byte) { after.Add(1) })
			source := opus(1)
			for range 5 {
				_ = p.Send(source.Next(opusPayload)) // the later ones may meet a closed Producer
			}
			wait(t, c.Done(), "Done")
			require.NoError(t, w.Close())
			assert.Equal(t, int32(1), calls.Load())
			assert.Zero(t, after.Load(), "listeners called after Close")
		})
	}
}

// A told counts what it is notified of.
type told struct {
	object
	notes int
}

func (x *told) notify(engine.Notification) { x.notes++ }

// TestGateHolds: the notifier waits until an object is born.
func TestGateHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := new(told)
		w := &worker{targets: map[string]target{"x": x}}
		x.init(w, "Consumer", "x", nil)
		go w.notify(engine.Notification{Target: "x"}) // ends when x is born
		synctest.Wait()
		assert.Zero(t, x.notes)
		x.born.come()
		synctest.Wait()
		assert.Equal(t, 1, x.notes)
	})
}

// TestGate: nothing of the network before the birth event has returned, and
// nothing of it is lost.
func TestGate(t *testing.T) {
	r := testRouter(t, testWorker(t))
	in, out := testDirect(t, r), testDirect(t, r)
	p := testProduce(t, in, audioOptions(1))
	source := opus(1)
	got := make(chan []byte, 10)
	var born atomic.Bool
	out.Observer().NewConsumer.On(func(c Consumer) {
		c.Events().RTP.On(func(b []byte) {
			assert.True(t, born.Load(), "packet before the birth event returned")
			got <- b
		})
		// The loop forwards this one before the listener returns.
		require.NoError(t, p.Send(source.Next(opusPayload)))
		_, err := out.Dump(t.Context())
		require.NoError(t, err)
		// So does it with what this call causes.
		require.NoError(t, p.Pause(t.Context()))
		assert.False(t, c.ProducerPaused(), "not told yet")
		c.Events().ProducerPause.On(func(struct{}) { got <- nil })
		born.Store(true)
	})
	c := testConsume(t, r, out, p)
	assert.True(t, c.ProducerPaused())
	require.NoError(t, p.Resume(t.Context()))
	require.NoError(t, p.Send(source.Next(opusPayload)))
	var packets, pauses int
	for range 3 {
		if b := wait(t, got, "event"); b == nil {
			pauses++
		} else {
			packets++
		}
	}
	assert.Equal(t, []int{2, 1}, []int{packets, pauses})
}

// TestSlowListener: it delays the events of its Worker and no packet, and a
// Close from elsewhere does not wait for it.
func TestSlowListener(t *testing.T) {
	w := testWorker(t)
	r := testRouter(t, w)
	in, out := testDirect(t, r), testDirect(t, r)
	p := testProduce(t, in, audioOptions(1))
	c := testConsume(t, r, out, p)
	entered, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	var calls atomic.Int32
	c.Events().RTP.On(func([]byte) {
		calls.Add(1)
		once.Do(func() {
			close(entered)
			<-release
		})
	})
	source := opus(1)
	require.NoError(t, p.Send(source.Next(opusPayload)))
	wait(t, entered, "packet")
	for range 100 {
		require.NoError(t, p.Send(source.Next(opusPayload)))
	}
	s, err := p.Stats(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 101, s[0].PacketCount, "the loop goes on")
	require.NoError(t, p.Pause(t.Context()))
	assert.True(t, c.ProducerPaused(), "what a call causes does not wait either")
	require.NoError(t, c.Close())
	wait(t, c.Done(), "Done")
	close(release)
	require.NoError(t, w.Close())
	assert.EqualValues(t, 1, calls.Load(), "packets after Close")
}

// TestPauseEvents is mediasoup's rule for the events of pausing
// (recording 07-pause-matrix).
func TestPauseEvents(t *testing.T) {
	ctx := t.Context()
	r := testRouter(t, testWorker(t))
	d := testDirect(t, r)
	p := testProduce(t, d, audioOptions(1))
	c := testConsume(t, r, d, p)
	var j journal
	j.watch("p", p)
	j.watch("c", c)
	for _, step := range []struct {
		do   func() error
		want string
	}{
		{func() error { return c.Resume(ctx) }, ``},
		{func() error { return c.Pause(ctx) }, `c.o!Pause`},
		{func() error { return c.Pause(ctx) }, ``},
		{func() error { return p.Pause(ctx) }, `p.o!Pause c!ProducerPause`},
		{func() error { return p.Pause(ctx) }, ``},
		{func() error { return c.Resume(ctx) }, ``},
		{func() error { return c.Pause(ctx) }, ``},
		{func() error { return p.Resume(ctx) }, `p.o!Resume c!ProducerResume`},
		{func() error { return c.Resume(ctx) }, `c.o!Resume`},
		{func() error { return p.Pause(ctx) }, `p.o!Pause c!ProducerPause c.o!Pause`},
		{func() error { return p.Resume(ctx) }, `p.o!Resume c!ProducerResume c.o!Resume`},
	} {
		require.NoError(t, step.do())
		assert.Equal(t, fields(step.want), fields(j.take()...))
	}
}

// TestRecency: of two notifications that come out of order the newer wins.
func TestRecency(t *testing.T) {
	var r recency
	assert.True(t, r.fresh(noteICE, 5))
	assert.False(t, r.fresh(noteICE, 4))
	assert.True(t, r.fresh(noteDTLS, 4))
	assert.True(t, r.fresh(noteICE, 6))
}
