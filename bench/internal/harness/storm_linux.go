package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"
)

// A Storm is people who join while media flows.
type Storm struct {
	// Joins is how many peers join. Who has no Transport yet connects first.
	Joins int
	Track int // that they consume
	// AtOnce is how many joins are under way at most; Every is the least time
	// between the beginnings of two.
	AtOnce int
	Every  time.Duration
	// Run goes on meanwhile. Its Duration is a bound; the storm ends it.
	Run Run
	// After is how long the run goes on after the last join.
	After time.Duration
}

// Stormed is what came of a Storm.
type Stormed struct {
	Took     time.Duration // from the first join to the end of the last
	CPU      time.Duration // of the server in this time
	Slowest  time.Duration // join
	Median   time.Duration // join
	Packets  uint64        // forwarded in this time
	Ran      Ran
	Duration time.Duration // of the run
}

// Storm joins a rig. first is the peer that joins first.
func (r *Rig) Storm(ctx context.Context, first int, s Storm) (*Stormed, error) {
	s.Run.Read = true
	c := &calls{p: r.peers, pending: map[int]chan answer{}}
	began := time.Now()
	run, err := c.start(command{Run: &s.Run})
	if err != nil {
		return nil, err
	}
	before, err := r.counters()
	if err != nil {
		return nil, err
	}
	c0, err := ProcessCPU()
	if err != nil {
		return nil, err
	}
	v := &Stormed{}
	start := time.Now()
	took, err := r.joinAll(ctx, c, first, &s)
	if err != nil {
		return nil, err
	}
	v.Took = time.Since(start)
	c1, err := ProcessCPU()
	if err != nil {
		return nil, err
	}
	after, err := r.counters()
	if err != nil {
		return nil, err
	}
	v.CPU, v.Packets = c1-c0, after.RTPPacketsSent-before.RTPPacketsSent
	v.Slowest, v.Median = quantile(took, 100), quantile(took, 50)
	time.Sleep(s.After)
	if _, err := c.do(command{Stop: true}); err != nil {
		return nil, err
	}
	a := <-run
	if a.Error != "" {
		return nil, errors.New("peers: " + a.Error)
	}
	v.Ran, v.Duration = *a.Run, time.Since(began)
	return v, nil
}

// joinAll returns how long each join took.
func (r *Rig) joinAll(ctx context.Context, c *calls, first int, s *Storm) ([]time.Duration, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan int)
	took := make([]time.Duration, s.Joins)
	var wg sync.WaitGroup
	for range max(s.AtOnce, 1) {
		wg.Go(func() { // ends with next
			for i := range next {
				start := time.Now()
				if err := r.join(ctx, c, first+i, s.Track); err != nil {
					cancel(fmt.Errorf("peer %d: %w", first+i, err))
				}
				took[i] = time.Since(start)
			}
		})
	}
	pace := time.NewTicker(max(s.Every, 1))
	defer pace.Stop()
	for i := range s.Joins {
		if s.Every > 0 {
			<-pace.C
		}
		next <- i
	}
	close(next)
	wg.Wait()
	return took, context.Cause(ctx)
}

func (r *Rig) join(ctx context.Context, c *calls, peer, track int) error {
	if ctx.Err() != nil {
		return nil // another one failed
	}
	if peer >= len(r.Transports) || r.Transports[peer] == nil {
		t, e, err := r.create(ctx, peer)
		if err != nil {
			return err
		}
		if _, err := c.do(command{Connect: &connectCommand{First: peer, Transports: []endpoint{e}}}); err != nil {
			return err
		}
		if err := connected(ctx, t); err != nil {
			return err
		}
		r.Transports[peer] = t
	}
	info, err := r.consume(ctx, Subscription{Peer: peer, Track: track})
	if err != nil {
		return err
	}
	_, err = c.do(command{Streams: &streamsCommand{Sinks: []sinkInfo{info}}})
	return err
}

// Room makes place for the transports of n peers, which join in a [Storm].
func (r *Rig) Room(n int) {
	for len(r.Transports) < n {
		r.Transports = append(r.Transports, nil)
	}
}

// calls are commands of which many are under way.
type calls struct {
	p *remote

	mu      sync.Mutex
	pending map[int]chan answer // guarded by mu
	reading bool                // guarded by mu: somebody reads answers
	err     error               // guarded by mu: the peers' process ended
}

// start sends a command. Its answer comes through the channel.
func (c *calls) start(cmd command) (<-chan answer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return nil, c.err
	}
	id, err := c.p.send(cmd)
	if err != nil {
		return nil, err
	}
	done := make(chan answer, 1)
	c.pending[id] = done
	if !c.reading {
		c.reading = true
		go c.read() // ends when nothing is pending
	}
	return done, nil
}

// do waits for the answer.
func (c *calls) do(cmd command) (answer, error) {
	done, err := c.start(cmd)
	if err != nil {
		return answer{}, err
	}
	a := <-done
	if a.Error != "" {
		return a, errors.New("peers: " + a.Error)
	}
	return a, nil
}

// read hands answers over until there is nobody left who waits for one.
func (c *calls) read() {
	for {
		line, err := c.p.line()
		var a answer
		if err == nil {
			err = json.Unmarshal(line, &a)
		}
		c.mu.Lock()
		if err != nil {
			c.err, c.reading = err, false
			for _, done := range c.pending {
				done <- answer{Error: err.Error()}
			}
			clear(c.pending)
		} else if done := c.pending[a.ID]; done != nil {
			delete(c.pending, a.ID)
			done <- a
		}
		if len(c.pending) == 0 {
			c.reading = false
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
	}
}
