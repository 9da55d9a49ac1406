package harness

import (
	"container/heap"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"
	"golang.org/x/sys/unix"
)

const (
	wideEvery   = 100 * time.Millisecond // transport-cc feedback of one peer
	reportEvery = time.Second            // receiver and sender reports of one peer
	patience    = time.Second            // without a packet, until the rest is lost
	maxBurst    = 64
	// latencyTick is the least time between two sends in runs that measure latency:
	// what is sent at once waits for each other.
	latencyTick = 100 * time.Microsecond
)

// A load sends media and feedback.
type load struct {
	p     *peers
	began time.Time
	stop  atomic.Bool // the run under way

	// mu guards what follows and the streams of peers; what only the goroutine of
	// a run touches, it touches without.
	mu      sync.Mutex
	sources []*source
	sinks   []*sink

	wide, reports rota

	burst  [maxBurst][mtu]byte
	times  []time.Duration
	plain  []byte
	sealed []byte
	header rtp.Header
}

// A sink is a stream that a peer receives.
type sink struct {
	sinkInfo
	peer   *peer
	source *source
	slot   int // among the sinks of the source

	learned bool   // offset is known
	offset  uint16 // sequence number received minus the sender's
	start   uint32 // packets of the source before the sink was there
	last    uint32 // number of the last packet that was learned from
	got     int    // media packets in this run
}

// A wideState says what a peer reports next by transport-cc. While nobody reads
// what comes, it is what its sources have sent.
type wideState struct {
	known bool   // whether base is
	base  uint16 // sequence number of packet number mark
	mark  uint32 // packets before the next report
	total uint32 // packets that were sent to the peer
	count uint8  // of feedback
	times [wideKept]time.Duration
}

// wideKept is how many packets a peer keeps to report them, a power of two.
const wideKept = 1024

func newLoad(p *peers) *load {
	l := &load{p: p, began: time.Now()}
	// The same every time, so that runs are alike.
	random := rand.New(rand.NewPCG(1, 2))
	l.wide = newRota(random, len(p.all), wideEvery)
	l.reports = newRota(random, len(p.all), reportEvery)
	return l
}

// add adds sources and sinks.
func (l *load) add(c *streamsCommand) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, info := range c.Sources {
		if info.Peer < 0 || info.Peer >= len(l.p.all) || info.Layer.Burst < 1 || info.Layer.Burst > maxBurst || info.Layer.PPS < 1 {
			return fmt.Errorf("a source %+v", info)
		}
		s := &source{sourceInfo: info, index: len(l.sources), clock: videoClock}
		if info.Audio {
			s.clock = audioClock
		}
		var err error
		if s.mock, err = l.p.suite.context(referenceKey(l.p.suite, s.index, true)); err != nil {
			return err
		}
		l.sources = append(l.sources, s)
		peer := l.p.all[info.Peer]
		s.wide = &peer.sent
		peer.sources = append(peer.sources, s)
	}
	for _, info := range c.Sinks {
		if info.Peer < 0 || info.Peer >= len(l.p.all) || info.Source < 0 || info.Source >= len(l.sources) {
			return fmt.Errorf("a sink %+v", info)
		}
		s := &sink{sinkInfo: info, peer: l.p.all[info.Peer], source: l.sources[info.Source]}
		s.slot, s.start, s.last = len(s.source.sinks), s.source.number, s.source.number
		s.source.sinks = append(s.source.sinks, s)
		s.peer.streams[info.Stream.SSRC] = s
		s.peer.sinks = append(s.peer.sinks, s)
		l.sinks = append(l.sinks, s)
	}
	return nil
}

func (l *load) now() time.Duration { return time.Since(l.began) }

// run sends for a while, as the command says.
func (l *load) run(c *Run) (a Ran, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if c.Reference && l.p.reference.Load() == nil {
		return a, errors.New("no reference loop yet")
	}
	rate := c.Rate
	if rate == 0 {
		rate = 1
	}
	queue := l.prepare(rate, c.Senders)
	if !c.Read && !c.Latency {
		err = l.send(c, queue, &a)
		return a, err
	}
	r, err := l.startReading(c)
	if err != nil {
		return a, err
	}
	err = l.send(c, queue, &a)
	r.wait(a.Copies)
	return a, errors.Join(err, r.stop(), r.end(&a))
}

// prepare sets all sources to where they begin, and returns those of the senders
// by the time of their first frame.
func (l *load) prepare(rate float64, senders []int) schedule {
	l.mu.Lock()
	defer l.mu.Unlock()
	random := rand.New(rand.NewPCG(3, 4))
	queue := make(schedule, 0, len(l.sources))
	for i, s := range l.sources {
		s.interval = time.Duration(float64(time.Second) * float64(s.Layer.Burst) / float64(s.Layer.PPS) / rate)
		s.due = 0
		if i > 0 {
			s.due = time.Duration(random.Int64N(int64(s.interval)))
		}
		s.first = s.seq + 1
		s.key, s.keyAt, s.keys = true, 0, nil
		if senders == nil || slices.Contains(senders, s.Peer) {
			queue = append(queue, s)
		}
	}
	heap.Init(&queue)
	l.wide.reset()
	l.reports.reset()
	return queue
}

// A schedule is a heap of sources, that whose frame is due first on top.
type schedule []*source

func (q schedule) Len() int           { return len(q) }
func (q schedule) Less(i, j int) bool { return q[i].due < q[j].due }
func (q schedule) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *schedule) Push(any)          {}
func (q *schedule) Pop() any          { return nil }

func (l *load) send(c *Run, queue schedule, a *Ran) error {
	start := l.now()
	for {
		at := l.now() - start
		for len(queue) > 0 && queue[0].due <= at && queue[0].due < c.Duration {
			s := queue[0]
			if err := l.sendBurst(c, s, a); err != nil {
				return err
			}
			if c.Alive > 0 && s.frame%uint32(c.Alive) == 0 {
				if err := l.sendBurst(&alive, s, &Ran{}); err != nil {
					return err
				}
			}
			s.due += s.interval
			heap.Fix(&queue, 0)
		}
		if err := l.sendFeedback(c, at, a); err != nil {
			return err
		}
		if at = l.now() - start; at >= c.Duration || l.stop.Load() {
			return nil
		}
		next := min(c.Duration, l.reports.due(), l.wide.due())
		if len(queue) > 0 {
			next = min(next, queue[0].due)
		}
		tick := l.p.cfg.Tick
		if c.Latency {
			tick = min(tick, latencyTick)
		}
		if tick > 0 {
			next = (next + tick - 1) / tick * tick
		}
		sleep(next - at)
	}
}

// sleep blocks the thread for d, or less: Go's timers end a millisecond late when
// nothing else runs.
func sleep(d time.Duration) {
	ts := unix.NsecToTimespec(int64(d))
	_ = unix.Nanosleep(&ts, nil) // the caller looks at the clock
}

// sendBurst sends one frame, its packets back to back.
func (l *load) sendBurst(c *Run, s *source, a *Ran) error {
	var out [maxBurst][]byte
	n := s.Layer.Burst
	sender := l.p.all[s.Peer]
	now := l.now()
	l.mu.Lock()
	key := s.key && now >= s.keyAt
	if key {
		s.key = false
		if s.keyAt > 0 {
			s.keys = append(s.keys, now)
			a.KeyFrames++
		}
	}
	l.mu.Unlock()
	// The reference loop gets packets of its own, so that the SFU sees no gap.
	seq, wide, number, octets := s.seq, *s.wide, s.number, s.octets
	tx, to := sender.tx, sender.at.Addr
	if c.Reference {
		tx, to = s.mock, *l.p.reference.Load()
		s.seq = s.mockSeq
	}
	for i := range n {
		sealed, err := tx.EncryptRTP(l.burst[i][:0], s.next(now, i, n, key), &l.header)
		if err != nil {
			return err
		}
		out[i] = sealed
	}
	if c.Reference {
		s.mockSeq = s.seq
		s.seq, *s.wide, s.number, s.octets = seq, wide, number, octets
	}
	a.Media += n
	l.mu.Lock()
	a.Copies += n * len(s.sinks)
	for _, x := range s.sinks {
		if !c.Reference && x.Stream.WideExtension != 0 {
			x.peer.wide.sent(n, now)
		}
	}
	l.mu.Unlock()
	if !c.Reference {
		s.entered(seq+1, n, l.now())
	}
	if err := l.p.link.writeBurst(sender.index, to, out[:n]); err != nil {
		return fmt.Errorf("sending media: %w", err)
	}
	return nil
}

// sendFeedback sends what is due at the time at of a run.
func (l *load) sendFeedback(c *Run, at time.Duration, a *Ran) error {
	for l.wide.due() <= at {
		p := l.p.all[l.wide.call()]
		if err := l.sendWide(c, p, a); err != nil {
			return err
		}
		if c.Alive > 0 {
			if err := l.sendWide(&alive, p, &Ran{}); err != nil {
				return err
			}
		}
	}
	for l.reports.due() <= at {
		p := l.p.all[l.reports.call()]
		if err := l.sendReports(c, p, a); err != nil {
			return err
		}
		if c.Alive > 0 {
			if err := l.sendReports(&alive, p, &Ran{}); err != nil {
				return err
			}
		}
	}
	return nil
}

// alive is the run that goes to the SFU beside one to the reference loop.
var alive Run

func (l *load) sendWide(c *Run, p *peer, a *Ran) error {
	if !l.p.cfg.Feedback {
		return nil
	}
	l.mu.Lock()
	plain := l.appendWide(c, p)
	l.mu.Unlock()
	if len(plain) == 0 {
		return nil
	}
	return l.sendRTCP(c, p, plain, a)
}

func (l *load) sendReports(c *Run, p *peer, a *Ran) error {
	plain := l.plain[:0]
	wall, now := time.Now(), l.now()
	l.mu.Lock()
	for _, s := range p.sources {
		if s.number > 0 && len(plain) < mtu/2 {
			plain = appendSenderReport(plain, s, wall, now)
		}
	}
	if l.p.cfg.Feedback {
		plain = appendReport(plain, p.sinks)
	}
	l.mu.Unlock()
	if len(plain) == 0 {
		return nil
	}
	return l.sendRTCP(c, p, plain, a)
}

// appendWide makes a peer's report of what was sent since the last time: nobody
// may have read it, but it can't have been anything else. The reference loop
// gets the same as the SFU.
func (l *load) appendWide(c *Run, p *peer) []byte {
	i := slices.IndexFunc(p.sinks, func(s *sink) bool { return s.Stream.WideExtension != 0 })
	if i < 0 {
		return nil
	}
	s := p.sinks[i]
	w := &p.wide
	times, base, now := l.times[:0], w.base, l.now()
	switch {
	case c.Reference:
		usual := 0
		for _, s := range p.sinks {
			usual += int(time.Duration(s.source.Layer.Burst) * wideEvery / s.source.interval)
		}
		for i := range max(usual, 1) {
			times = append(times, now+time.Duration(i)*wideEvery/time.Duration(usual+1))
		}
	case !w.known:
		return nil
	default:
		if w.total-w.mark > wideKept { // it was late, or learned late
			skip := w.total - w.mark - wideKept
			w.base, w.mark = w.base+uint16(skip), w.mark+skip
			base = w.base
		}
		for i := w.mark; i != w.total; i++ {
			times = append(times, w.times[i%wideKept])
		}
		if len(times) == 0 {
			return nil
		}
	}
	l.times = times
	w.count++
	plain, n := appendWide(l.plain[:0], s.Stream.SSRC, base, w.count, times)
	if !c.Reference {
		w.base, w.mark = w.base+uint16(n), w.mark+uint32(n)
	}
	return plain
}

// sent says that n packets were sent to the peer.
func (w *wideState) sent(n int, now time.Duration) {
	for range n {
		w.times[w.total%wideKept] = now
		w.total++
	}
}

func (l *load) sendRTCP(c *Run, p *peer, plain []byte, a *Ran) error {
	l.plain = plain
	out, err := p.tx.EncryptRTCP(l.sealed[:0], plain, nil)
	if err != nil {
		return err
	}
	l.sealed = out
	to := p.at.Addr
	if c.Reference {
		to = *l.p.reference.Load()
	}
	a.Feedback++
	if err := l.p.link.write(p.index, to, out); err != nil {
		return fmt.Errorf("sending feedback: %w", err)
	}
	return nil
}
