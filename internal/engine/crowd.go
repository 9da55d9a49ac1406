package engine

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mafalda-sfu/mafalda/internal/timer"
)

// pipeWait is how long a pipe waits for another one.
const pipeWait = 10 * time.Second

// A crowd is who waits for room in a pipe that is connected in memory. Nothing is
// lost on the way to a Router of the same process, as nothing is on the way to
// another transport of one Router: while much is in the pipe, who sends into it
// has to stop. Where pipes make a ring, as those of three Routers on several Workers
// each do, they could all wait for each other, for ever. So another pipe has to stop
// much later than who is the source, so that what is on its way goes on and finds
// room, and not for long: if a listener has filled all of a ring, it comes to an end.
// Then there may be no room any more, and messages are dropped.
type crowd struct {
	peers     []*association // whose messages are not taken
	pipes     []*association // the same of other pipes
	producers []string       // of which the application may hand in nothing

	late  timer.Timer // pipes have waited for long
	brisk bool        // pipes do not wait, until there is much more room
}

// takeCrowded returns the pipes that the last message found crowded. The slice is
// valid until the next message.
func (m *Machine) takeCrowded() []*association {
	list := m.crowded
	m.crowded = m.crowded[:0]
	return list
}

// delay lets a peer of a crowded association wait.
func (a *association) delay(peer *association) {
	list := &a.crowd.peers
	if peer.t.crossing != nil {
		if a.crowd.brisk || !a.sctp.Jammed() {
			return
		}
		list = &a.crowd.pipes
		if m := a.t.m; !a.crowd.late.Pending() {
			m.wheel.Set(&a.crowd.late, m.now+pipeWait)
		}
	}
	if !slices.Contains(*list, peer) {
		*list = append(*list, peer)
		peer.hold()
	}
}

// clear lets the pipes go on, since there is room or in spite of there being none.
func (c *crowd) clear(m *Machine, room bool) {
	m.wheel.Stop(&c.late)
	c.brisk = !room
	for _, a := range c.pipes {
		a.letGo()
	}
	c.pipes = nil
}

// refuse lets the application wait that hands in messages of a DataProducer.
func (c *crowd) refuse(m *Machine, producerID string) {
	if !slices.Contains(c.producers, producerID) {
		c.producers = append(c.producers, producerID)
		m.refused.add(producerID)
	}
}

// relieve lets all go on.
func (c *crowd) relieve(m *Machine) {
	c.clear(m, true)
	for _, a := range c.peers {
		a.letGo()
	}
	for _, id := range c.producers {
		m.refused.remove(id)
	}
	c.peers, c.producers = nil, nil
}

// unhold forgets an association that is closed while it is held, by whatever may
// be stuck for long.
func (m *Machine) unhold(a *association) {
	same := func(x *association) bool { return x == a }
	m.suspended = slices.DeleteFunc(m.suspended, same)
	for _, t := range m.transports {
		if t.sctp != nil {
			c := &t.sctp.crowd
			c.peers, c.pipes = slices.DeleteFunc(c.peers, same), slices.DeleteFunc(c.pipes, same)
			if len(c.pipes) == 0 {
				m.wheel.Stop(&c.late)
			}
		}
	}
	a.holds = 0
}

// refusals are the DataProducers of one Worker that take no messages of the
// application for now, each with how many pipes it waits for. Any goroutine may
// ask.
type refusals struct {
	some atomic.Bool // there is one
	mu   sync.Mutex
	ids  map[string]int // guarded by mu
}

func (r *refusals) add(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ids == nil {
		r.ids = map[string]int{}
	}
	r.ids[id]++
	r.some.Store(true)
}

func (r *refusals) remove(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ids[id]--; r.ids[id] == 0 {
		delete(r.ids, id)
	}
	r.some.Store(len(r.ids) > 0)
}

func (r *refusals) has(id string) bool {
	if !r.some.Load() {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ids[id] > 0
}
