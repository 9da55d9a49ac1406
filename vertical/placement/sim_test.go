package placement

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// What media costs in the model. A Worker forwards some 500 streams before it
// is full: that is the watermark.
const (
	streamCost       = DefaultWatermark / 500 // of a Producer, a Consumer, and of each end of a pipe
	producersPerPeer = 2
)

// A simWorker is a Worker of the model.
type simWorker struct {
	id         int
	cpu        int // which it has, from 0
	meter      Meter
	transports int
	streams    int // Producers, Consumers and ends of pipes
}

func (w *simWorker) load() float64 { return float64(w.streams) * streamCost }

// A simPeer sends on one Transport and receives on another.
type simPeer struct {
	send, recv *simWorker
	// Consumers of its Producers by Worker. Elsewhere than on send each entry is
	// a pipe for each Producer.
	consumers map[*simWorker]int
}

// A simRoom is one Router.
type simRoom struct {
	peers      []*simPeer
	transports map[*simWorker]int
}

// A sim is a vertical SFU without media: it places, pipes and reaps.
type sim struct {
	policy     Policy
	max        int
	watermark  float64
	now        time.Time
	nextID     int
	workers    []*simWorker
	rooms      []*simRoom
	pipes      int
	full       int // placements on a Worker over the watermark
	mistakes   []string
	checkPlace func(v *View, choice int) string // what is wrong with it, or ""
}

func newSim(p Policy, workers, rooms int) *sim {
	s := &sim{policy: p, max: workers, watermark: DefaultWatermark, now: time.Unix(0, 0)}
	for range rooms {
		s.rooms = append(s.rooms, &simRoom{transports: map[*simWorker]int{}})
	}
	return s
}

// step lets time pass. Loads are measured once a second.
func (s *sim) step(d time.Duration) {
	seconds := s.now.Unix()
	s.now = s.now.Add(d)
	if s.now.Unix() == seconds {
		return
	}
	for _, w := range s.workers {
		w.meter.Measure(w.load())
	}
}

func (s *sim) place(r *simRoom) *simWorker {
	v := View{CanGrow: len(s.workers) < s.max, Watermark: s.watermark}
	for _, w := range s.workers {
		c := Candidate{Transports: w.transports, Registered: r.transports[w] > 0}
		c.Load, c.Recent = w.meter.Read(s.now)
		v.Candidates = append(v.Candidates, c)
	}
	i := s.policy.Place(&v)
	if i == New && !v.CanGrow {
		s.mistakes = append(s.mistakes, "started more Workers than there may be")
	}
	if i != New && !v.below(&v.Candidates[i]) {
		s.full++
	}
	if s.checkPlace != nil {
		if wrong := s.checkPlace(&v, i); wrong != "" {
			s.mistakes = append(s.mistakes, fmt.Sprintf("%s: %+v, chose %d", wrong, v, i))
		}
	}
	if i == New {
		s.workers = append(s.workers, &simWorker{id: s.nextID, cpu: s.freeCPU()})
		s.nextID++
		i = len(s.workers) - 1
	}
	w := s.workers[i]
	w.meter.Place(s.now)
	w.transports++
	r.transports[w]++
	return w
}

// freeCPU returns the first CPU without a Worker.
func (s *sim) freeCPU() int {
	taken := map[int]bool{}
	for _, w := range s.workers {
		taken[w.cpu] = true
	}
	n := 0
	for taken[n] {
		n++
	}
	return n
}

func (s *sim) unplace(r *simRoom, w *simWorker) {
	if r.transports[w]--; r.transports[w] == 0 {
		delete(r.transports, w)
	}
	if w.transports--; w.transports > 0 {
		return
	}
	if w.streams != 0 {
		s.mistakes = append(s.mistakes, fmt.Sprintf("%d streams on a Worker without Transports", w.streams))
	}
	for i := range s.workers {
		if s.workers[i] == w {
			s.workers = append(s.workers[:i:i], s.workers[i+1:]...)
			return
		}
	}
}

func (s *sim) join(r *simRoom) {
	p := &simPeer{consumers: map[*simWorker]int{}}
	p.send = s.place(r)
	p.recv = s.place(r)
	p.send.streams += producersPerPeer
	for _, other := range r.peers {
		s.consume(other, p.recv)
		s.consume(p, other.recv)
	}
	r.peers = append(r.peers, p)
}

func (s *sim) leave(r *simRoom, i int) {
	p := r.peers[i]
	r.peers = append(r.peers[:i:i], r.peers[i+1:]...)
	for _, other := range r.peers {
		s.unconsume(other, p.recv)
		s.unconsume(p, other.recv)
	}
	p.send.streams -= producersPerPeer
	s.unplace(r, p.send)
	s.unplace(r, p.recv)
}

// consume adds Consumers on w of all Producers of p, with a pipe for each if
// they are the first there.
func (s *sim) consume(p *simPeer, w *simWorker) {
	if p.consumers[w]++; p.consumers[w] == 1 && w != p.send {
		s.pipe(p, w, +producersPerPeer)
	}
	w.streams += producersPerPeer
}

func (s *sim) unconsume(p *simPeer, w *simWorker) {
	w.streams -= producersPerPeer
	if p.consumers[w]--; p.consumers[w] == 0 {
		delete(p.consumers, w)
		if w != p.send {
			s.pipe(p, w, -producersPerPeer)
		}
	}
}

func (s *sim) pipe(p *simPeer, w *simWorker, n int) {
	p.send.streams += n
	w.streams += n
	s.pipes += n
}

// bound counts from scratch what a tree for each Producer needs at most: a pipe
// to each Worker, but its own, that has a subscriber.
func (s *sim) bound() int {
	n := 0
	for _, r := range s.rooms {
		for _, p := range r.peers {
			nodes := map[*simWorker]bool{p.send: true}
			for _, other := range r.peers {
				if other != p {
					nodes[other.recv] = true
				}
			}
			n += producersPerPeer * (len(nodes) - 1)
		}
	}
	return n
}

// mesh is what it costs to pipe each Producer to all Workers of its room.
func (s *sim) mesh() int {
	n := 0
	for _, r := range s.rooms {
		n += len(r.peers) * producersPerPeer * max(0, len(r.transports)-1)
	}
	return n
}

// A simRun sums up a run of many events.
type simRun struct {
	peakWorkers, peakPipes, peakMesh int
	peakLoad                         float64
	pipes, mesh, events              int
}

// run lets peers join and leave at random, now and then twenty within a second,
// and calls check after each event. At the end all leave. The rooms are small,
// middle and large ones.
func (s *sim) run(seed uint64, events int, check func()) simRun {
	rnd := rand.New(rand.NewPCG(seed, 1))
	var sum simRun
	look := func() {
		mesh := s.mesh()
		sum.events++
		sum.pipes += s.pipes
		sum.mesh += mesh
		sum.peakWorkers = max(sum.peakWorkers, len(s.workers))
		sum.peakPipes = max(sum.peakPipes, s.pipes)
		sum.peakMesh = max(sum.peakMesh, mesh)
		for _, w := range s.workers {
			sum.peakLoad = max(sum.peakLoad, w.load())
		}
		check()
	}
	for n := 0; n < events; {
		i := rnd.IntN(len(s.rooms))
		r, size := s.rooms[i], 4<<(i%3)
		herd := 1
		if rnd.IntN(200) == 0 {
			herd = 20
		}
		for range herd {
			// A room is drawn to its size: the fuller, the more leave.
			if rnd.IntN(2*size) < len(r.peers) {
				s.leave(r, rnd.IntN(len(r.peers)))
			} else {
				s.join(r)
			}
			s.step(time.Second / 30)
			n++
			look()
		}
		s.step(time.Duration(rnd.ExpFloat64() * float64(2*time.Second)))
	}
	for _, r := range s.rooms {
		for len(r.peers) > 0 {
			s.leave(r, rnd.IntN(len(r.peers)))
			look()
		}
	}
	return sum
}
