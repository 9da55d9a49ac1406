package mafalda_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
)

// A mesh is Workers whose Routers pipe to each other.
type mesh struct {
	t       *testing.T
	workers []mafalda.Worker
	routers []mafalda.Router
	stop    chan struct{}
	sending sync.WaitGroup

	mu        sync.Mutex
	producers []meshProducer // guarded by mu
	pipes     []mafalda.PipeToRouterResult
}

type meshProducer struct {
	router mafalda.Router
	audio  mafalda.Producer
	data   mafalda.DataProducer
}

func newMesh(t *testing.T, s *siege, workers, routers int) *mesh {
	m := &mesh{t: t, stop: make(chan struct{})}
	for range workers {
		w, err := s.sfu.CreateWorker(t.Context(), mafalda.WorkerSettings{})
		require.NoError(t, err)
		m.workers = append(m.workers, w)
		for range routers {
			r, err := w.CreateRouter(t.Context(), mafalda.RouterOptions{MediaCodecs: []mafalda.RouterRTPCodecCapability{
				{Kind: mafalda.MediaKindAudio, MIMEType: "audio/opus", ClockRate: 48000, Channels: 2},
			}})
			require.NoError(t, err)
			m.routers = append(m.routers, r)
			d, err := r.CreateDirectTransport(t.Context(), mafalda.DirectTransportOptions{})
			require.NoError(t, err)
			p := meshProducer{router: r, audio: produce(t, d, audio(7))}
			p.data, err = d.ProduceData(t.Context(), mafalda.DataProducerOptions{})
			require.NoError(t, err)
			m.producers = append(m.producers, p)
			m.sending.Go(func() { m.send(p) }) // ends with stop
		}
	}
	return m
}

// send lets a Producer and a DataProducer talk, closed or not.
func (m *mesh) send(p meshProducer) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for n := uint16(0); ; n++ {
		select {
		case <-tick.C:
		case <-m.stop:
			return
		}
		for range 4 {
			_ = p.audio.Send(opus(7, n, []byte{1, 2, 3}))
		}
		_ = p.data.Send(mafalda.TextMessage("x"))
	}
}

// anyOf returns a random thing of a list.
func anyOf[T any](m *mesh, rng *rand.Rand, list *[]T) (v T, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(*list) == 0 {
		return v, false
	}
	return (*list)[rng.IntN(len(*list))], true
}

// pipe pipes something somewhere, and lets what arrives be consumed and piped
// on: so loops come about.
func (m *mesh) pipe(ctx context.Context, rng *rand.Rand) error {
	p, _ := anyOf(m, rng, &m.producers)
	to, _ := anyOf(m, rng, &m.routers)
	for range 20 { // mostly what is open
		if !p.router.Closed() && !to.Closed() && p.router != to && (p.audio == nil || !p.audio.Closed()) {
			break
		}
		p, _ = anyOf(m, rng, &m.producers)
		to, _ = anyOf(m, rng, &m.routers)
	}
	o := mafalda.PipeToRouterOptions{
		Router: to, KeepID: new(rng.IntN(4) == 0), EnableRTX: rng.IntN(2) == 0, EnableSRTP: rng.IntN(4) == 0,
	}
	if rng.IntN(2) == 0 && p.data != nil || p.audio == nil {
		o.DataProducerID = p.data.ID()
	} else {
		o.ProducerID = p.audio.ID()
	}
	r, err := p.router.PipeToRouter(ctx, o)
	if err != nil {
		return err
	}
	d, err := to.CreateDirectTransport(ctx, mafalda.DirectTransportOptions{})
	if err != nil {
		return err
	}
	if r.PipeProducer != nil {
		_, err = d.Consume(ctx, mafalda.ConsumerOptions{ProducerID: r.PipeProducer.ID(), RTPCapabilities: to.RTPCapabilities()})
	} else {
		_, err = d.ConsumeData(ctx, mafalda.DataConsumerOptions{DataProducerID: r.PipeDataProducer.ID()})
	}
	m.mu.Lock()
	m.pipes = append(m.pipes, r)
	m.producers = append(m.producers, meshProducer{to, r.PipeProducer, r.PipeDataProducer})
	m.mu.Unlock()
	return err
}

// hurt closes, pauses or kills something.
func (m *mesh) hurt(ctx context.Context, rng *rand.Rand) error {
	switch n := rng.IntN(1000); {
	case n < 500:
		p, ok := anyOf(m, rng, &m.pipes)
		switch {
		case !ok:
		case p.PipeDataConsumer != nil && n%2 == 0:
			return p.PipeDataConsumer.Close()
		case p.PipeDataConsumer != nil:
			return p.PipeDataProducer.Close()
		case n%2 == 0:
			return p.PipeConsumer.Close()
		default:
			return p.PipeProducer.Close()
		}
	case n < 750:
		if p, _ := anyOf(m, rng, &m.producers); p.audio != nil {
			if n%2 == 0 {
				return p.audio.Pause(ctx)
			}
			return p.audio.Resume(ctx)
		}
	case n < 900:
		r, _ := anyOf(m, rng, &m.routers)
		if list := r.Transports(); len(list) > 0 {
			return list[rng.IntN(len(list))].Close()
		}
	case n < 950:
		p, _ := anyOf(m, rng, &m.producers)
		if p.audio != nil {
			return p.audio.Close()
		}
		return p.data.Close()
	case n < 965:
		r, _ := anyOf(m, rng, &m.routers)
		return r.Close()
	case n < 970:
		w, _ := anyOf(m, rng, &m.workers)
		if n%2 == 0 {
			return w.(mafalda.Killer).Kill(nil)
		}
		return w.Close()
	}
	return nil
}

func (m *mesh) end() {
	for _, w := range m.workers {
		require.NoError(m.t, w.Close())
		<-w.Done()
	}
	close(m.stop)
	m.sending.Wait()
}

// TestAbusePipes: pipes of all kinds in a mesh with loops, while everything they
// are made of closes or dies in the middle of traffic.
func TestAbusePipes(t *testing.T) {
	s := newSiege(t)
	for round := range much(4, 60) {
		m := newMesh(t, s, 3, 2)
		var wg sync.WaitGroup
		var piped, refused int
		var mu sync.Mutex
		for g := range 6 {
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(round), uint64(g)))
				for range much(60, 120) {
					ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
					err := m.pipe(ctx, rng)
					if rng.IntN(3) == 0 {
						err = errors.Join(m.hurt(ctx, rng), err)
					}
					cancel()
					mu.Lock()
					if err == nil {
						piped++
					} else {
						refused++
					}
					mu.Unlock()
					if j, ok := err.(interface{ Unwrap() []error }); ok {
						for _, err := range j.Unwrap() {
							oneClass(t, err)
							assert.NotErrorIs(t, err, context.DeadlineExceeded)
						}
					} else if err != nil {
						oneClass(t, err)
						assert.NotErrorIs(t, err, context.DeadlineExceeded)
					}
				}
			})
		}
		wg.Wait()
		t.Logf("%d piped, %d refused", piped, refused)
		m.end()
	}
	s.end(32)
}
