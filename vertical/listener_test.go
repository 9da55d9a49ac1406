package vertical_test

import (
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/vertical"
	"github.com/mafalda-sfu/mafalda/wrap"
)

// A scene has one of everything, on two real Workers.
type scene struct {
	*room
	server   mafalda.WebRTCServer
	in, out  mafalda.DirectTransport
	web      mafalda.WebRTCTransport
	producer mafalda.Producer
	consumer mafalda.Consumer
	dataIn   mafalda.DataProducer
	dataOut  mafalda.DataConsumer
	observer mafalda.AudioLevelObserver
}

func newScene(t *testing.T, below mafalda.SFU) *scene {
	t.Helper()
	s := &scene{room: newRoomOn(t, below, now(2))}
	s.in, s.out = s.direct(t), s.direct(t)
	s.server = s.room.server(t, udp...)
	var err error
	s.web, err = s.router.CreateWebRTCTransport(t.Context(), mafalda.WebRTCTransportOptions{WebRTCServer: s.server})
	require.NoError(t, err)
	s.producer = produce(t, s.in)
	s.consumer, err = s.consume(t.Context(), s.out, s.producer)
	require.NoError(t, err)
	s.dataIn, err = s.in.ProduceData(t.Context(), mafalda.DataProducerOptions{})
	require.NoError(t, err)
	s.dataOut, err = s.out.ConsumeData(t.Context(), mafalda.DataConsumerOptions{DataProducerID: s.dataIn.ID()})
	require.NoError(t, err)
	s.observer, err = s.router.CreateAudioLevelObserver(t.Context(), mafalda.AudioLevelObserverOptions{})
	require.NoError(t, err)
	require.NoError(t, s.observer.AddProducer(t.Context(), s.producer.ID()))
	return s
}

// An ending is an object with its Close.
type ending struct {
	mafalda.Lifetime
	event *mafalda.Event[struct{}]
}

func (s *scene) objects() map[string]ending {
	return map[string]ending{
		"SFU":          {s.sfu, &s.sfu.Observer().Close},
		"Worker":       {s.worker, &s.worker.Observer().Close},
		"Router":       {s.router, &s.router.Observer().Close},
		"WebRTCServer": {s.server, &s.server.Observer().Close},
		"in":           {s.in, &s.in.Observer().Close},
		"out":          {s.out, &s.out.Observer().Close},
		"WebRTC":       {s.web, &s.web.Observer().Close},
		"Producer":     {s.producer, &s.producer.Observer().Close},
		"Consumer":     {s.consumer, &s.consumer.Observer().Close},
		"DataProducer": {s.dataIn, &s.dataIn.Observer().Close},
		"DataConsumer": {s.dataOut, &s.dataOut.Observer().Close},
		"RTPObserver":  {s.observer, &s.observer.Observer().Close},
	}
}

// TestListenersClose has the listener of each object's Close close each other one,
// when the one closes, or its Worker dies.
func TestListenersClose(t *testing.T) {
	names := []string{
		"SFU", "Worker", "Router", "WebRTCServer", "in", "out", "WebRTC", "Producer", "Consumer", "DataProducer", "DataConsumer", "RTPObserver",
	}
	for _, first := range names {
		t.Run(first, func(t *testing.T) {
			for i, then := range names {
				var below mafalda.SFU = mafalda.New()
				if i%2 == 1 {
					below = wrap.New(below)
				}
				s := newScene(t, below)
				all := s.objects()
				o := all[first]
				o.event.On(func(struct{}) {
					assert.True(t, o.Closed())
					assert.NoError(t, all[then].Close())
					assert.NoError(t, s.sfu.Close())
				})
				var closes sync.Map
				for name, x := range all {
					x.event.On(func(struct{}) {
						if _, twice := closes.LoadOrStore(name, true); twice {
							t.Errorf("%s: two Close", name)
						}
					})
				}
				if i%3 == 2 {
					for _, tr := range []mafalda.Transport{s.in, s.out} {
						_ = vertical.Kill(tr, errors.New("planted")) // that of a virtual one may be gone
					}
				}
				assert.NoError(t, o.Close())
				for name, x := range all {
					<-x.Done()
					if _, ok := closes.Load(name); !ok {
						t.Errorf("%s then %s: %s has ended without Close", first, then, name)
					}
				}
				require.Empty(t, below.Workers())
			}
		})
	}
}

// TestServerHearsOfAll closes a WebRTCServer while the end of a Transport on it is
// being told: the server hears of that first.
func TestServerHearsOfAll(t *testing.T) {
	s := newScene(t, mafalda.New())
	over, unhandled := false, 0
	s.server.Observer().Close.On(func(struct{}) { over = true })
	s.server.Observer().WebRTCTransportUnhandled.On(func(mafalda.WebRTCTransport) {
		assert.False(t, over, "after Close")
		unhandled++
	})
	s.web.Events().RouterClose.On(func(struct{}) { assert.NoError(t, s.server.Close()) })
	require.NoError(t, s.router.Close())
	<-s.server.Done()
	require.Equal(t, 1, unhandled)
}

// TestBlockedListener has a listener block: others are not held up.
func TestBlockedListener(t *testing.T) {
	s := newScene(t, mafalda.New())
	blocked, let := make(chan struct{}), make(chan struct{})
	s.producer.Observer().Close.On(func(struct{}) {
		close(blocked)
		<-let
	})
	done := make(chan struct{})
	go func() { // ends when let is closed
		defer close(done)
		assert.NoError(t, s.in.Close())
	}()
	<-blocked
	p := produce(t, s.out)
	for range 4 {
		_, err := s.consume(t.Context(), s.direct(t), p)
		require.NoError(t, err)
	}
	_ = s.sfu.Usage()
	_, err := s.router.Dump(t.Context())
	require.NoError(t, err)
	require.NoError(t, s.router.Close())
	close(let)
	<-done
	<-s.router.Done()
}

// TestFlood sends packets and messages through pipes, and counts them by number.
func TestFlood(t *testing.T) {
	const packets, sinks = 2000, 6
	r := newRoom(t, workers(3))
	in := r.direct(t)
	p := produce(t, in)
	data, err := in.ProduceData(t.Context(), mafalda.DataProducerOptions{})
	require.NoError(t, err)
	type sink struct {
		got, wrong atomic.Int64
		msgs, bad  atomic.Int64
	}
	var all [sinks]sink
	for i := range all {
		out := r.direct(t)
		c, err := r.consume(t.Context(), out, p)
		require.NoError(t, err)
		x := &all[i]
		c.Events().RTP.On(func(b []byte) {
			if n := binary.BigEndian.Uint32(b[len(b)-4:]); int64(n) != x.got.Add(1)-1 {
				x.wrong.Add(1)
			}
		})
		d, err := out.ConsumeData(t.Context(), mafalda.DataConsumerOptions{DataProducerID: data.ID()})
		require.NoError(t, err)
		d.Events().Message.On(func(m mafalda.DataMessage) {
			if n := binary.BigEndian.Uint32(m.Data); int64(n) != x.msgs.Add(1)-1 {
				x.bad.Add(1)
			}
		})
	}
	require.Equal(t, 4, r.sfu.Usage().Pipes)
	b := make([]byte, 20)
	for i := range packets {
		b[0], b[1] = 0x80, 111
		binary.BigEndian.PutUint16(b[2:], uint16(65000+i)) // wraps
		binary.BigEndian.PutUint32(b[4:], uint32(i)*960)
		binary.BigEndian.PutUint32(b[8:], 1)
		binary.BigEndian.PutUint32(b[16:], uint32(i))
		require.NoError(t, p.Send(b))
		msg := binary.BigEndian.AppendUint32(nil, uint32(i))
		require.NoError(t, data.Send(mafalda.DataMessage{Data: msg, PPID: mafalda.PPIDBinary}))
		if i%50 == 49 { // an unloaded path
			eventually(t, "all have it", func() bool {
				for j := range all {
					if all[j].got.Load() != int64(i+1) || all[j].msgs.Load() != int64(i+1) {
						return false
					}
				}
				return true
			})
		}
	}
	for i := range all {
		assert.Zero(t, all[i].wrong.Load(), "packets out of order")
		assert.Zero(t, all[i].bad.Load(), "messages out of order")
	}
}
