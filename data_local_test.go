package mafalda

import (
	"encoding/binary"
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestStreamIDs(t *testing.T) {
	var s streamIDs
	take := func(limit int) int {
		id, err := s.take(limit)
		if err != nil {
			require.ErrorIs(t, err, ErrUnavailable)
			return -1
		}
		return int(id)
	}
	for i := range 5 {
		require.Equal(t, i, take(maxStreams))
	}
	s.give(1)
	s.give(3)
	require.Equal(t, 5, take(maxStreams), "a free id is not taken before the search comes round")
	require.Equal(t, 1, take(6))
	require.Equal(t, 3, take(6))
	require.Equal(t, -1, take(6), "of six, none is free")
	s.give(4)
	require.Equal(t, 4, take(6))
	require.Equal(t, 6, take(maxStreams), "who fails does not move on")
	require.Equal(t, -1, take(3), "all below the limit are in use")
	require.Equal(t, -1, take(0))

	var all streamIDs
	for range maxStreams {
		_, err := all.take(maxStreams)
		require.NoError(t, err)
	}
	all.give(65534)
	id, err := all.take(maxStreams)
	require.NoError(t, err)
	require.EqualValues(t, 65534, id)
	_, err = all.take(maxStreams)
	require.ErrorIs(t, err, ErrUnavailable)
}

// TestDataConsumerStream has the combinations that were recorded of mediasoup.
func TestDataConsumerStream(t *testing.T) {
	limited := &SCTPStreamParameters{StreamID: 12, Ordered: new(false), MaxPacketLifeTime: new(uint16(5000))}
	plain := &SCTPStreamParameters{StreamID: 12, Ordered: new(true)}
	for _, test := range []struct {
		name     string
		producer *SCTPStreamParameters
		o        DataConsumerOptions
		want     SCTPStreamParameters
	}{
		{"as the producer", limited, DataConsumerOptions{}, *limited},
		{"of a direct one", nil, DataConsumerOptions{}, SCTPStreamParameters{Ordered: new(true)}},
		{"ordered", limited, DataConsumerOptions{Ordered: new(true)}, SCTPStreamParameters{StreamID: 12, Ordered: new(true)}},
		{
			"ordered beats a limit", limited, DataConsumerOptions{Ordered: new(true), MaxRetransmits: new(uint16(4))},
			SCTPStreamParameters{StreamID: 12, Ordered: new(true)},
		},
		{"unordered", limited, DataConsumerOptions{Ordered: new(false)}, *limited},
		{
			"unordered without a limit", plain, DataConsumerOptions{Ordered: new(false)},
			SCTPStreamParameters{StreamID: 12, Ordered: new(false)},
		},
		{
			"a lifetime", plain, DataConsumerOptions{MaxPacketLifeTime: new(uint16(77))},
			SCTPStreamParameters{StreamID: 12, Ordered: new(false), MaxPacketLifeTime: new(uint16(77))},
		},
		{
			"another lifetime", limited, DataConsumerOptions{MaxPacketLifeTime: new(uint16(4000))},
			SCTPStreamParameters{StreamID: 12, Ordered: new(false), MaxPacketLifeTime: new(uint16(4000))},
		},
		{
			"retransmits", plain, DataConsumerOptions{MaxRetransmits: new(uint16(0))},
			SCTPStreamParameters{StreamID: 12, Ordered: new(false), MaxRetransmits: new(uint16(0))},
		},
	} {
		assert.Empty(t, cmp.Diff(test.want, test.o.stream(test.producer)), test.name)
	}
	require.EqualValues(t, 5000, *limited.MaxPacketLifeTime)
}

func TestDataMessageContent(t *testing.T) {
	for _, test := range []struct {
		in   DataMessage
		ppid PPID
		data string
	}{
		{TextMessage("hi"), 51, "hi"},
		{TextMessage(""), 56, " "},
		{DataMessage{Data: []byte("bin")}, 53, "bin"},
		{DataMessage{}, 57, "\x00"},
		{DataMessage{PPID: PPIDBinary}, 57, "\x00"},
		{DataMessage{PPID: 99, Data: []byte("x")}, 99, "x"},
		{DataMessage{PPID: PPIDStringEmpty, Data: []byte("y")}, 56, " "},
		{DataMessage{PPID: PPIDBinaryEmpty, Data: []byte("y")}, 57, "\x00"},
	} {
		ppid, data, err := test.in.content()
		require.NoError(t, err)
		assert.Equal(t, test.ppid, ppid, "%v", test.in)
		assert.Equal(t, test.data, string(data), "%v", test.in)
	}
	_, _, err := (&DataMessage{PPID: 99}).content()
	require.ErrorIs(t, err, ErrInvalidArgument)
}

// TestDataPipesLoseNothing: who sends into a pipe has to wait for a listener at
// its end, as for one on its own Router.
func TestDataPipesLoseNothing(t *testing.T) {
	s := testSFU(t)
	for name, to := range map[string]func(t testing.TB, from Router) Router{
		"to another Worker": func(t testing.TB, _ Router) Router { return testRouters(t, s, 1)[0] },
		"within a Worker":   func(t testing.TB, from Router) Router { return testRouter(t, from.(*router).w) },
	} {
		t.Run(name, func(t *testing.T) {
			from := testRouters(t, s, 1)[0]
			to := to(t, from)
			in := testDirect(t, from)
			p, err := in.ProduceData(t.Context(), DataProducerOptions{})
			require.NoError(t, err)
			other, err := in.ProduceData(t.Context(), DataProducerOptions{})
			require.NoError(t, err)
			pipe, err := from.PipeToRouter(t.Context(), PipeToRouterOptions{DataProducerID: p.ID(), Router: to, KeepID: new(false)})
			require.NoError(t, err)
			c, err := testDirect(t, to).ConsumeData(t.Context(), DataConsumerOptions{DataProducerID: pipe.PipeDataProducer.ID()})
			require.NoError(t, err)
			let, heard := make(chan struct{}), make(chan uint32, 1<<16)
			c.Events().Message.On(func(m DataMessage) {
				<-let
				heard <- binary.BigEndian.Uint32(m.Data)
			})
			sent := uint32(0)
			send := func() error {
				err := p.Send(DataMessage{Data: binary.BigEndian.AppendUint32(make([]byte, 0, 50_000), sent)[:50_000]})
				if err == nil {
					sent++
				}
				return err
			}
			refused := 0
			deadline := time.Now().Add(patience)
			for refused < 200 { // it goes on for a while as more gets through the pipe
				if err := send(); err != nil {
					require.ErrorIs(t, err, ErrUnavailable)
					refused++
					runtime.Gosched()
				}
				require.Less(t, sent, uint32(2000), "100 MB are nowhere")
				require.True(t, time.Now().Before(deadline))
			}
			close(let)
			for i := range sent {
				require.Equal(t, i, wait(t, heard, "message"))
			}
			require.Eventually(t, func() bool { return send() == nil && other.Send(TextMessage("x")) == nil }, patience, time.Millisecond)
			require.Equal(t, sent-1, wait(t, heard, "message"))
		})
	}
}

// TestDataPipeHasALimit: who sends with the DataConsumer of a pipe, and does not wait,
// takes no room from those who do.
func TestDataPipeHasALimit(t *testing.T) {
	s := testSFU(t)
	routers := testRouters(t, s, 2)
	in, out := testDirect(t, routers[0]), testDirect(t, routers[1])
	piped := func() (DataProducer, DataConsumer, DataConsumer) {
		p, err := in.ProduceData(t.Context(), DataProducerOptions{})
		require.NoError(t, err)
		pipe, err := routers[0].PipeToRouter(t.Context(), PipeToRouterOptions{DataProducerID: p.ID(), Router: routers[1]})
		require.NoError(t, err)
		c, err := out.ConsumeData(t.Context(), DataConsumerOptions{DataProducerID: pipe.PipeDataProducer.ID()})
		require.NoError(t, err)
		return p, pipe.PipeDataConsumer, c
	}
	_, near, slow := piped()
	p, _, c := piped()
	let, heard := make(chan struct{}), make(chan string, 1)
	slow.Events().Message.On(func(DataMessage) { <-let })
	c.Events().Message.On(func(m DataMessage) { heard <- string(m.Data) })
	var err error
	for range 1000 { // 200 MB
		if _, err = near.Send(t.Context(), DataMessage{Data: make([]byte, 200_000)}); err != nil {
			break
		}
	}
	require.ErrorIs(t, err, ErrUnavailable)
	require.NoError(t, p.Send(TextMessage("x")))
	close(let)
	require.Equal(t, "x", wait(t, heard, "message"))
}

// TestDataPipesInARing: what goes through two pipes each, of three that make a ring,
// goes on, however much is sent.
func TestDataPipesInARing(t *testing.T) {
	const total = 600 // messages of 50 KB from each
	s := testSFU(t)
	routers := testRouters(t, s, 3)
	var senders sync.WaitGroup
	defer senders.Wait()
	defer s.Close() // ends those that wait
	var heard [3]chan uint32
	for i := range routers {
		p, err := testDirect(t, routers[i]).ProduceData(t.Context(), DataProducerOptions{})
		require.NoError(t, err)
		for hop := i; hop < i+2; hop++ {
			_, err := routers[hop%3].PipeToRouter(t.Context(), PipeToRouterOptions{DataProducerID: p.ID(), Router: routers[(hop+1)%3]})
			require.NoError(t, err)
		}
		c, err := testDirect(t, routers[(i+2)%3]).ConsumeData(t.Context(), DataConsumerOptions{DataProducerID: p.ID()})
		require.NoError(t, err)
		heard[i] = make(chan uint32, total)
		c.Events().Message.On(func(m DataMessage) { heard[i] <- binary.BigEndian.Uint32(m.Data) })
		senders.Go(func() {
			data := make([]byte, 50_000)
			for n := uint32(0); n < total; {
				binary.BigEndian.PutUint32(data, n)
				err := p.Send(DataMessage{Data: data})
				switch {
				case err == nil:
					n++
				case errors.Is(err, ErrUnavailable):
					time.Sleep(time.Millisecond) // until there may be room
				default:
					return
				}
			}
		})
	}
	for i := range heard {
		for n := range uint32(total) {
			require.Equal(t, n, wait(t, heard[i], "message"))
		}
	}
}

// What is piped, said and closed again leaves nothing behind in the pipe, which
// stays.
func TestDataPipesEnd(t *testing.T) {
	s := testSFU(t)
	worker := func() Worker {
		w, err := s.CreateWorker(t.Context(), WorkerSettings{})
		require.NoError(t, err)
		return w
	}
	from, to := testRouter(t, worker()), testRouter(t, worker())
	in, out := testDirect(t, from), testDirect(t, to)
	round := func(says bool) {
		p, err := in.ProduceData(t.Context(), DataProducerOptions{})
		require.NoError(t, err)
		_, err = from.PipeToRouter(t.Context(), PipeToRouterOptions{DataProducerID: p.ID(), Router: to})
		require.NoError(t, err)
		c, err := out.ConsumeData(t.Context(), DataConsumerOptions{DataProducerID: p.ID()})
		require.NoError(t, err)
		heard, closed := make(chan string, 1), make(chan struct{})
		c.Events().Message.On(func(m DataMessage) { heard <- string(m.Data) })
		c.Observer().Close.On(func(struct{}) { close(closed) })
		if says {
			require.NoError(t, p.Send(TextMessage("x")))
			require.Equal(t, "x", wait(t, heard, "message"))
		}
		require.NoError(t, p.Close())
		wait(t, closed, "close")
	}
	round(true)
	before := runtime.NumGoroutine()
	for i := range 60 {
		round(i%3 > 0)
	}
	require.Eventually(t, func() bool { return runtime.NumGoroutine() < before+10 }, patience, 10*time.Millisecond,
		"goroutines of streams stay: %d, then %d", before, runtime.NumGoroutine())
}
