package bwe

import (
	"container/heap"
	"math"
	"math/rand/v2"
	"time"

	"github.com/mafalda-sfu/mafalda/internal/rtcp"
	"github.com/mafalda-sfu/mafalda/internal/twcc"
)

// A world is a bottleneck and those who share it, in virtual time.
type world struct {
	now    time.Duration
	rand   *rand.Rand
	events eventHeap
	n      int

	link  link
	flows []*flow
	tcp   *tcpFlow

	waits []wait // of each packet in the queue
	count struct{ sent, lost int }

	shares struct{ n, ordered, served int } // of consumers, see watchShares
}

type event struct {
	at time.Duration
	n  int
	do func()
}

type eventHeap []event

func (h eventHeap) Len() int { return len(h) }
func (h eventHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].n < h[j].n
}
func (h eventHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *eventHeap) Push(x any)   { *h = append(*h, x.(event)) }
func (h *eventHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	*h = old[:len(old)-1]
	return e
}

func newWorld(seed uint64) *world { return &world{rand: rand.New(rand.NewPCG(seed, 7))} }

func (w *world) at(t time.Duration, do func()) {
	w.n++
	heap.Push(&w.events, event{max(t, w.now), w.n, do})
}

func (w *world) run(until time.Duration) {
	for len(w.events) > 0 && w.events[0].at <= until {
		e := heap.Pop(&w.events).(event)
		w.now = e.at
		e.do()
	}
	w.now = until
}

// A wait is how long a packet that was sent at a time stood in the queue.
type wait struct{ at, d time.Duration }

// A step is a change of the rate of a link.
type step struct {
	at   time.Duration
	rate float64
}

// A link is a queue of a limited size before a line of a limited rate, with
// losses by chance behind it.
type link struct {
	steps  []step
	queue  float64       // bytes
	delay  time.Duration // one way
	jitter time.Duration // further, uniform up to; no packet overtakes another
	loss   func(*rand.Rand) bool

	free    time.Duration // when the line is free
	arrived time.Duration // of the last packet
	bytes   []carried
}

type carried struct {
	at   time.Duration
	size int
	flow int
}

func (l *link) rate(at time.Duration) float64 {
	r := 0.0
	for _, s := range l.steps {
		if s.at <= at {
			r = s.rate
		}
	}
	return r
}

// serve returns when a packet is through whose first bit leaves at a time.
func (l *link) serve(at time.Duration, size int) time.Duration {
	bits := float64(size) * 8
	for i, s := range l.steps {
		if i+1 < len(l.steps) && l.steps[i+1].at <= at {
			continue
		}
		d := time.Duration(bits / s.rate * float64(time.Second))
		if i+1 == len(l.steps) || at+d <= l.steps[i+1].at {
			return at + d
		}
		bits -= (l.steps[i+1].at - at).Seconds() * s.rate
		at = l.steps[i+1].at
	}
	return at
}

// send takes a packet; arrive is called when it comes out. flow is who sends.
func (w *world) send(flow, size int, arrive func()) {
	l := &w.link
	w.count.sent++
	wait1 := max(l.free-w.now, 0)
	if wait1.Seconds()*l.rate(w.now)/8+float64(size) > l.queue && wait1 > 0 {
		w.count.lost++
		return
	}
	w.waits = append(w.waits, wait{w.now, wait1})
	l.free = l.serve(w.now+wait1, size)
	l.bytes = append(l.bytes, carried{l.free, size, flow})
	if l.loss != nil && l.loss(w.rand) {
		w.count.lost++
		return
	}
	at := l.free + l.delay
	if l.jitter > 0 {
		at += time.Duration(w.rand.Int64N(int64(l.jitter)))
	}
	l.arrived = max(l.arrived, at)
	w.at(l.arrived, arrive)
}

func randomLoss(p float64) func(*rand.Rand) bool {
	return func(r *rand.Rand) bool { return r.Float64() < p }
}

// burstLoss is the model of Gilbert and Elliott: mean loss p in bursts, within
// which half of the packets are lost; length is how many, in the mean.
func burstLoss(p, length float64) func(*rand.Rand) bool {
	const within = 0.5
	bad := false
	share := p / within // of the time
	leave := within / length
	enter := leave * share / (1 - share)
	return func(r *rand.Rand) bool {
		if bad {
			bad = r.Float64() >= leave
		} else {
			bad = r.Float64() < enter
		}
		return bad && r.Float64() < within
	}
}

// A flow is an SFU that sends to one peer.
type flow struct {
	w      *world
	id     int
	est    *Estimator
	client *Client
	seq    uint16
	rec    *twcc.Recorder
	buf    []byte
	source source
	every  time.Duration // of feedback
	lossy  bool          // some feedback is lost
	fixed  bool          // limits are given, the source has no say
	paced  bool          // frames leave at 2.5 times their rate, not at once

	available uint64 // told
	sent      []carried
	probes    int
	samples   []sample
}

// A source is an application.
type source interface {
	start(f *flow)
	// told hears of a new bitrate to distribute.
	told(f *flow, available uint64)
	// desired returns what could be used.
	desired() uint64
}

type sample struct {
	at             time.Duration
	estimate, sent float64
}

// tick is how coarse the timers of a loop are.
const tick = 5 * time.Millisecond

const sampleEvery = 100 * time.Millisecond

// start adds a flow that begins at a time.
func (w *world) start(at time.Duration, initial uint64, s source, limits *Limits) *flow {
	f := &flow{w: w, id: len(w.flows), source: s, every: 100 * time.Millisecond, fixed: limits != nil}
	w.flows = append(w.flows, f)
	w.at(at, func() {
		f.est = New(Config{Initial: initial, Probe: limits == nil, Tick: tick}, w.now)
		f.rec = twcc.New()
		if limits == nil {
			f.client = NewClient(initial)
			f.client.SetDesired(w.now, s.desired(), false)
			f.est.SetLimits(w.now, f.client.Limits())
		} else {
			f.client = NewClient(initial)
			f.est.SetLimits(w.now, *limits)
		}
		f.available = initial
		f.est.SetNetwork(w.now, true)
		s.start(f)
		f.tick()
		w.at(w.now+f.every, f.feedback)
		w.at(w.now+sampleEvery, f.sample)
	})
	return f
}

func (f *flow) tick() {
	now := f.w.now
	f.est.Tick(now)
	for {
		size, cluster, ok := f.est.NextProbe(now)
		if !ok {
			break
		}
		f.probes++
		f.send(size, cluster)
	}
	f.changed()
	at, _ := f.est.Deadline()
	at = (at + tick - 1).Truncate(tick)
	f.w.at(max(at, now+time.Millisecond), f.tick)
}

func (f *flow) changed() {
	if f.client.Update(f.w.now, f.est.Available()) {
		f.available = f.client.Available()
		f.source.told(f, f.available)
		if !f.fixed {
			f.client.SetDesired(f.w.now, f.source.desired(), false)
			f.est.SetLimits(f.w.now, f.client.Limits())
		}
	}
}

func (f *flow) send(size, cluster int) {
	f.seq++
	seq := f.seq
	f.est.Sent(f.w.now, seq, size, cluster)
	f.sent = append(f.sent, carried{f.w.now, size, f.id})
	f.w.send(f.id, size, func() { f.rec.Received(f.w.now+17*time.Second, seq, 1) })
}

// frame sends bytes of media, back to back or within 40 % of gap.
func (f *flow) frame(bytes int, gap time.Duration) {
	n := (bytes + 1199) / 1200
	for i := range n {
		size := bytes*(i+1)/n - bytes*i/n
		if !f.paced {
			f.send(size, 0)
			continue
		}
		f.w.at(f.w.now+gap*2/5*time.Duration(i)/time.Duration(n), func() { f.send(size, 0) })
	}
}

func (f *flow) feedback() {
	for {
		b, ok := f.rec.Next(f.buf[:0])
		if !ok {
			break
		}
		f.buf = b
		data := append([]byte(nil), b...)
		if f.w.link.loss != nil && f.lossy && f.w.link.loss(f.w.rand) {
			continue
		}
		f.w.at(f.w.now+f.w.link.delay, func() {
			r := rtcp.NewReader(data)
			p, _ := r.Next()
			fb, ok := p.TransportCC()
			if !ok {
				panic("no feedback")
			}
			f.est.Feedback(f.w.now, fb)
			f.changed()
		})
	}
	f.w.at(f.w.now+f.every, f.feedback)
}

func (f *flow) sample() {
	now := f.w.now
	f.samples = append(f.samples, sample{now, float64(f.est.Available()), f.rate(now-500*time.Millisecond, now)})
	f.w.at(now+sampleEvery, f.sample)
}

// rate returns what was sent in an interval, in bit/s.
func (f *flow) rate(from, to time.Duration) float64 {
	bytes := 0
	for i := len(f.sent) - 1; i >= 0 && f.sent[i].at > from; i-- {
		if f.sent[i].at <= to {
			bytes += f.sent[i].size
		}
	}
	return float64(bytes) * 8 / (to - from).Seconds()
}

// frames makes a flow send frames at a rate that is asked for each time, with
// audio besides.
func frames(f *flow, fps int, rate func() float64) {
	gap := time.Second / time.Duration(fps)
	var next func()
	next = func() {
		if r := rate(); r > 0 {
			noise := math.Exp(0.15 * f.w.rand.NormFloat64())
			if n := int(r / 8 * gap.Seconds() * noise); n > 0 {
				f.frame(max(n, 100), gap)
			}
		}
		f.w.at(f.w.now+gap, next)
	}
	f.w.at(f.w.now+time.Duration(f.w.rand.Int64N(int64(gap))), next)
}

func audio(f *flow) {
	var next func()
	next = func() {
		f.send(100, 0)
		f.w.at(f.w.now+20*time.Millisecond, next)
	}
	f.w.at(f.w.now, next)
}

const audioRate = 40_000

// elastic sends as much as it may.
type elastic struct{ max uint64 }

func (s *elastic) start(f *flow) {
	audio(f)
	frames(f, 30, func() float64 { return min(float64(f.est.Available()), float64(s.max)) - audioRate })
}
func (s *elastic) told(*flow, uint64) {}
func (s *elastic) desired() uint64    { return s.max }

// fixed sends at a rate, whatever it may.
type fixed struct{ rate float64 }

func (s *fixed) start(f *flow) {
	audio(f)
	frames(f, 30, func() float64 { return s.rate - audioRate })
}
func (s *fixed) told(*flow, uint64) {}
func (s *fixed) desired() uint64    { return uint64(s.rate) }

// layered forwards one of some streams; a switch takes a key frame.
type layered struct {
	rates   []float64
	current int // -1: none
	target  int
	key     bool
	tops    []time.Duration // when the highest one began
}

func (s *layered) start(f *flow) {
	s.current, s.target = -1, -1
	s.told(f, f.available)
	audio(f)
	frames(f, 25, func() float64 {
		if s.current < 0 {
			return 0
		}
		r := s.rates[s.current]
		if s.key {
			s.key = false
			r *= 5
		}
		return r
	})
}

func (s *layered) told(f *flow, available uint64) {
	target := -1
	for i, r := range s.rates {
		if r+audioRate <= float64(available) {
			target = i
		}
	}
	if target == s.target {
		return
	}
	s.target = target
	if target < 0 {
		s.current = -1
		return
	}
	f.w.at(f.w.now+time.Duration(50+f.w.rand.IntN(200))*time.Millisecond, func() {
		if s.target == target && s.current != target {
			s.current, s.key = target, true
			if target == len(s.rates)-1 {
				s.tops = append(s.tops, f.w.now)
			}
		}
	})
}

func (s *layered) desired() uint64 { return uint64(s.rates[len(s.rates)-1]) }

// A tcpFlow fills the queue until packets get lost: additive increase of its
// window, halved on loss.
type tcpFlow struct {
	w         *world
	window    float64 // packets
	threshold float64
	next      int64
	flight    int
	recover   int64
	bytes     []carried
}

func (w *world) startTCP(at time.Duration) {
	t := &tcpFlow{w: w, window: 10, threshold: 1e9}
	w.tcp = t
	w.at(at, t.fill)
}

func (t *tcpFlow) fill() {
	for t.flight < int(t.window) {
		t.flight++
		t.next++
		seq := t.next
		before := t.w.count.lost
		t.w.send(-1, 1200, func() {
			t.bytes = append(t.bytes, carried{t.w.now, 1200, -1})
			t.w.at(t.w.now+t.w.link.delay, func() { t.ack(seq) })
		})
		if t.w.count.lost > before { // seen by the sender a round trip later
			t.w.at(max(t.w.link.free, t.w.now)+2*t.w.link.delay, func() { t.loss(seq) })
		}
	}
}

func (t *tcpFlow) ack(int64) {
	t.flight--
	if t.window < t.threshold {
		t.window++
	} else {
		t.window += 1 / t.window
	}
	t.fill()
}

func (t *tcpFlow) loss(seq int64) {
	t.flight--
	if seq > t.recover {
		t.recover = t.next
		t.window = max(2, t.window/2)
		t.threshold = t.window
	}
	t.fill()
}

// shared is what a transport with several consumers sends: each has the same
// layers and a priority, and the bitrate is distributed in rounds, the higher
// priority first and with more steps in a round.
type shared struct {
	rates      []float64 // of a layer
	priorities []int
	layers     []int // in force; -1: none
	targets    []int
	keys       []bool
}

func newShared(rates []float64, priorities ...int) *shared {
	s := &shared{rates: rates, priorities: priorities}
	for range priorities {
		s.layers, s.targets = append(s.layers, -1), append(s.targets, -1)
	}
	s.keys = make([]bool, len(priorities))
	return s
}

func (s *shared) start(f *flow) {
	s.told(f, f.available)
	audio(f)
	for i := range s.priorities {
		frames(f, 25, func() float64 {
			if s.layers[i] < 0 {
				return 0
			}
			r := s.rates[s.layers[i]]
			if s.keys[i] {
				s.keys[i] = false
				r *= 4
			}
			return r
		})
	}
}

func (s *shared) told(f *flow, available uint64) {
	left := float64(available) - audioRate
	next := make([]int, len(s.priorities))
	for i := range next {
		next[i] = -1
	}
	raise := func(i int) bool {
		if next[i]+1 == len(s.rates) {
			return false
		}
		cost := s.rates[next[i]+1]
		if next[i] >= 0 {
			cost -= s.rates[next[i]]
		}
		if cost > left {
			return false
		}
		left -= cost
		next[i]++
		return true
	}
	for base, raised := true, true; raised; base = false {
		raised = false
		for i, p := range s.priorities { // highest first
			n := p
			if base {
				n = 1
			}
			for range n {
				if !raise(i) {
					break
				}
				raised = true
			}
		}
	}
	for i, t := range next {
		if t == s.targets[i] {
			continue
		}
		s.targets[i] = t
		if t < 0 {
			s.layers[i] = -1
			continue
		}
		f.w.at(f.w.now+time.Duration(50+f.w.rand.IntN(200))*time.Millisecond, func() {
			if s.targets[i] == t && s.layers[i] != t {
				s.layers[i], s.keys[i] = t, true
			}
		})
	}
}

func (s *shared) desired() uint64 {
	return uint64(s.rates[len(s.rates)-1]) * uint64(len(s.priorities))
}
