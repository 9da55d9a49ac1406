package vertical_test

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
	"github.com/mafalda-sfu/mafalda/vertical"
	"github.com/mafalda-sfu/mafalda/wrap"
)

// A crowd are goroutines that do at random what applications do, all at once, on
// virtual Workers that share the real ones, while real ones die, and that give up
// now and then. Errors are not looked at: whatever they do it with may be gone.
type crowd struct {
	t     *testing.T
	sfu   *vertical.SFU
	rooms []*room

	mu        sync.Mutex
	producers map[*room][]mafalda.Producer     // guarded by mu; open or not
	data      map[*room][]mafalda.DataProducer // the same
}

func (c *crowd) any(r *rand.Rand, of *room) (p mafalda.Producer, d mafalda.DataProducer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l := c.producers[of]; len(l) > 0 {
		p = l[r.IntN(len(l))]
	}
	if l := c.data[of]; len(l) > 0 {
		d = l[r.IntN(len(l))]
	}
	return p, d
}

// run is one of them, who leaves nothing open.
func (c *crowd) run(seed uint64, steps int) {
	r := rand.New(rand.NewPCG(seed, 2))
	var open []mafalda.Lifetime
	var transports []mafalda.DirectTransport
	where := map[mafalda.Transport]*room{}
	for i := range steps {
		ctx, giveUp := context.WithTimeout(c.t.Context(), time.Duration(r.IntN(1000))*time.Microsecond)
		if r.IntN(4) > 0 {
			ctx = c.t.Context()
		}
		defer giveUp() // there are not many
		in := c.rooms[r.IntN(len(c.rooms))]
		if len(transports) == 0 || r.IntN(6) == 0 {
			t, err := in.router.CreateDirectTransport(ctx, mafalda.DirectTransportOptions{})
			if err == nil {
				transports = append(transports, t)
				where[t] = in
				open = append(open, t)
			}
			continue
		}
		t := transports[r.IntN(len(transports))]
		in = where[t]
		p, d := c.any(r, in)
		switch r.IntN(9) {
		case 0:
			p, err := t.Produce(ctx, audioOf(uint32(i+1)))
			if err == nil {
				c.mu.Lock()
				c.producers[in] = append(c.producers[in], p)
				c.mu.Unlock()
				open = append(open, p)
			}
		case 1, 2:
			if p != nil {
				x, err := t.Consume(ctx, mafalda.ConsumerOptions{ProducerID: p.ID(), RTPCapabilities: in.router.RTPCapabilities()})
				if err == nil {
					open = append(open, x)
				}
			}
		case 3:
			d, err := t.ProduceData(ctx, mafalda.DataProducerOptions{})
			if err == nil {
				c.mu.Lock()
				c.data[in] = append(c.data[in], d)
				c.mu.Unlock()
				open = append(open, d)
			}
		case 4:
			if d != nil {
				x, err := t.ConsumeData(ctx, mafalda.DataConsumerOptions{DataProducerID: d.ID()})
				if err == nil {
					open = append(open, x)
				}
			}
		case 5:
			o, err := in.router.CreateAudioLevelObserver(ctx, mafalda.AudioLevelObserverOptions{})
			if err == nil {
				open = append(open, o)
				if p != nil {
					_ = o.AddProducer(ctx, p.ID())
				}
			}
		case 6:
			if p != nil {
				_ = p.Pause(ctx)
				_ = p.Resume(ctx)
			}
		case 7, 8:
			if len(open) == 0 {
				continue
			}
			n := r.IntN(len(open))
			assert.NoError(c.t, open[n].Close())
			open[n] = open[len(open)-1]
			open = open[:len(open)-1]
		}
	}
	for _, o := range open {
		assert.NoError(c.t, o.Close())
	}
}

// TestNothingIsLeft lets a crowd go, and looks at what it left.
func TestNothingIsLeft(t *testing.T) {
	inner := wrap.New(mafalda.New())
	c := &crowd{t: t, producers: map[*room][]mafalda.Producer{}, data: map[*room][]mafalda.DataProducer{}}
	c.sfu = vertical.New(inner, now(3))
	t.Cleanup(func() { assert.NoError(t, c.sfu.Close()) })
	for range 2 {
		w, err := c.sfu.CreateWorker(t.Context(), mafalda.WorkerSettings{})
		require.NoError(t, err)
		for range 2 {
			c.rooms = append(c.rooms, &room{inner: inner, sfu: c.sfu, worker: w, router: newRouter(t, w)})
		}
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	end := make(chan struct{})
	var people, reaper sync.WaitGroup
	for i := range uint64(8) {
		people.Go(func() { c.run(seed+i, 1000) })
	}
	reaper.Go(func() { // ends with end
		for r := rand.New(rand.NewPCG(seed, 3)); ; {
			select {
			case <-end:
				return
			case <-time.After(100 * time.Millisecond):
			}
			if l := inner.Workers(); len(l) > 0 {
				_ = l[r.IntN(len(l))].(mafalda.Killer).Kill(errors.New("planted"))
			}
			c.sfu.Usage()
		}
	})
	people.Wait()
	close(end)
	reaper.Wait()
	eventually(t, "all real Workers are reaped", func() bool {
		return len(inner.Workers()) == 0 && len(c.sfu.Usage().Workers) == 0
	})
	u := c.sfu.Usage()
	assert.Equal(t, []int{0, 0, 0, 0}, []int{u.Transports, u.Producers, u.Consumers, u.Pipes})
	for _, r := range c.rooms {
		assert.False(t, r.router.Closed())
		assert.Empty(t, r.router.Transports())
		assert.Empty(t, r.router.RTPObservers())
		assert.Zero(t, vertical.RealRouters(r.router))
		r.direct(t)
	}
	assert.Positive(t, u.PipesMade)
	t.Logf("%d pipes were made", u.PipesMade)
}
