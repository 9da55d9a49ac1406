package acceptance

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
)

var eventCases = []testCase{
	{
		name:        "Events/NothingMissed",
		explanation: "a listener that is attached in NewProducer or NewConsumer misses no event, though media flows already",
		run:         testEventsNothingMissed,
	},
	{
		name:        "Events/BirthBeforeClose",
		explanation: "an object that is closed while its birth is told has its Close heard afterwards, by who listens since the birth",
		run:         testEventsBirthBeforeClose,
	},
	{
		name:        "Events/Order",
		explanation: "listeners are called in the order of On; one that was stopped is called no more; On after the fact hears nothing",
		run:         testEventsOrder,
	},
	{
		name:        "Events/FromListener",
		explanation: "a listener may call anything: what it is told about, and what creates more",
		run:         testEventsFromListener,
	},
	{
		name:        "Events/RTPInOrder",
		explanation: "RTP events come one after the other, in the order of the packets",
		run:         testEventsRTPInOrder,
	},
}

func testEventsNothingMissed(t *testing.T, s *suite) {
	r := s.room(t)
	in, out := r.plainEnd(t, mafalda.PlainTransportOptions{}), r.direct(t)
	src := opusSource(1)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for !ended(stop) {
			in.writeRTP(marshal(t, src.packet([]byte("x"))))
		}
	})
	for range 20 {
		scores := make(chan []mafalda.ProducerScore, 100)
		packets := make(chan []byte, 1)
		offs := []func(){
			in.transport.Observer().NewProducer.On(func(p mafalda.Producer) {
				p.Events().Score.On(func(v []mafalda.ProducerScore) { scores <- v })
			}),
			out.Observer().NewConsumer.On(func(c mafalda.Consumer) {
				c.Events().RTP.On(func(b []byte) {
					select {
					case packets <- b:
					default:
					}
				})
			}),
		}
		p := in.produce(t, mafalda.MediaKindAudio, audio("", 1))
		r.consume(t, out, p)
		require.Equal(t, 10, receive(t, scores, "the score")[0].Score)
		receive(t, packets, "a packet")
		for _, off := range offs {
			off()
		}
		require.NoError(t, p.Close())
	}
	close(stop)
	wg.Wait()
}

func testEventsBirthBeforeClose(t *testing.T, s *suite) {
	r := s.room(t)
	var j journal
	closed := make(chan error, 1)
	r.router.Observer().NewTransport.On(func(tr mafalda.Transport) {
		go func() { closed <- r.router.Close() }() // ends when the transport has been born
		eventually(t, "the transport is closed", tr.Closed)
		eventually(t, "and 20 ms pass", elapsed(20*time.Millisecond))
		j.write("born")
		note(&j, &tr.Events().RouterClose, "routerclose")
		note(&j, &tr.Observer().Close, "close")
	})
	tr, err := r.router.CreateDirectTransport(t.Context(), mafalda.DirectTransportOptions{})
	if err != nil {
		requireError(t, err, mafalda.ErrClosed)
	} else {
		done(t, tr)
	}
	require.NoError(t, receive(t, closed, "the Router's Close"))
	done(t, r.router)
	require.Equal(t, []string{"born", "routerclose", "close"}, j.read())
}

func testEventsOrder(t *testing.T, s *suite) {
	r := s.room(t)
	var j journal
	for i := range 5 {
		note(&j, &r.router.Observer().NewTransport, fmt.Sprint("listener ", i))
	}
	off := r.router.Observer().NewTransport.On(func(mafalda.Transport) { j.write("stopped") })
	off()
	off()
	r.direct(t)
	require.Equal(t, []string{"listener 0", "listener 1", "listener 2", "listener 3", "listener 4"}, j.read())
	p := produce(t, r.direct(t), mafalda.MediaKindAudio, audio("", 1))
	require.NoError(t, p.Close())
	note(&j, &p.Observer().Close, "too late")
	require.NoError(t, p.Close())
	require.False(t, j.has("too late"))
}

func testEventsFromListener(t *testing.T, s *suite) {
	r := s.room(t)
	var c mafalda.Consumer
	out := r.direct(t)
	in := r.directEnd(t)
	in.transport.Observer().NewProducer.On(func(p mafalda.Producer) {
		var err error
		c, err = out.Consume(t.Context(), mafalda.ConsumerOptions{
			ProducerID: p.ID(), RTPCapabilities: r.router.RTPCapabilities(),
		})
		if err != nil {
			t.Error(err)
		}
	})
	p := in.produce(t, mafalda.MediaKindAudio, audio("", 1))
	require.NotNil(t, c, "consumed before Produce returned")
	paused := make(chan error, 1)
	p.Events().Score.On(func([]mafalda.ProducerScore) { // on the goroutine of the network's events
		_, err := p.Stats(t.Context())
		if err == nil {
			err = p.Pause(t.Context())
		}
		paused <- err
	})
	in.sendRTP(t, opusSource(1).packet([]byte("x")))
	require.NoError(t, receive(t, paused, "the listener's calls"))
	require.True(t, p.Paused())
	require.True(t, c.ProducerPaused())
}

func testEventsRTPInOrder(t *testing.T, s *suite) {
	r := s.room(t)
	in, out := r.directEnd(t), r.direct(t)
	c := r.consume(t, out, in.produce(t, mafalda.MediaKindAudio, audio("", 1)))
	const n = 500
	got := make(chan uint16, n)
	var running sync.Mutex
	c.Events().RTP.On(func(b []byte) {
		if !running.TryLock() {
			t.Error("two RTP events at a time")
			return
		}
		defer running.Unlock()
		got <- parseRTP(t, b).SequenceNumber
	})
	src := opusSource(1)
	for range n {
		in.sendRTP(t, src.packet([]byte("x")))
	}
	last := receive(t, got, "a packet")
	for range n - 1 {
		seq := receive(t, got, "a packet")
		require.Equal(t, last+1, seq)
		last = seq
	}
}
