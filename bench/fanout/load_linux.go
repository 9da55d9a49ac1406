package main

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"
)

const (
	wideEvery   = 100 * time.Millisecond // transport-cc feedback of one receiver
	reportEvery = time.Second            // receiver report of one receiver
	patience    = time.Second            // without a packet, until the rest is lost
)

// A load sends media and feedback, and reads what comes back.
type load struct {
	p           *peers
	receivers   []*peer
	media, mock *source
	interval    time.Duration // between bursts of the run under way
	began       time.Time

	wide, reports rota

	burst  [64][mtu]byte
	plain  []byte
	sealed []byte
	header rtp.Header

	sentAt [1 << 16]atomic.Int64 // ns since began, by the sender's sequence number
}

func newLoad(p *peers, producer streamInfo) *load {
	l := &load{p: p, began: time.Now()}
	interval := time.Second * time.Duration(p.o.Burst) / time.Duration(p.o.PPS)
	l.media = &source{info: producer, size: p.o.Size, interval: interval}
	l.mock = &source{info: producer, size: p.o.Size + suites[p.o.Suite].overhead, interval: interval}
	// The same every time, so that runs are alike.
	random := rand.New(rand.NewPCG(1, 2))
	l.wide = newRota(random, p.o.Consumers, wideEvery)
	l.reports = newRota(random, p.o.Consumers, reportEvery)
	return l
}

// A rota calls everybody once in each period, at a time of his own.
type rota struct {
	period time.Duration
	who    []int           // in the order of their times
	at     []time.Duration // within the period, ascending
	next   int
	start  time.Duration // of the period under way
}

func newRota(random *rand.Rand, n int, period time.Duration) rota {
	r := rota{period: period, who: random.Perm(n)}
	for range n {
		r.at = append(r.at, time.Duration(random.Int64N(int64(period))))
	}
	slices.Sort(r.at)
	return r
}

func (r *rota) reset() { r.next, r.start = 0, 0 }

// due returns when the next one is called.
func (r *rota) due() time.Duration { return r.start + r.at[r.next] }

// call returns who is called and goes on to the next.
func (r *rota) call() int {
	i := r.who[r.next]
	if r.next++; r.next == len(r.who) {
		r.next = 0
		r.start += r.period
	}
	return i
}

func (l *load) now() time.Duration { return time.Since(l.began) }

// run sends for a while, as the command says.
func (l *load) run(c *runCommand) (runAnswer, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	pps := l.p.o.PPS
	if c.PPS > 0 {
		pps = c.PPS
	}
	l.interval = time.Second * time.Duration(l.p.o.Burst) / time.Duration(pps)
	var r *reading
	if c.Read {
		if err := l.p.link.drain(); err != nil {
			return runAnswer{}, err
		}
		r = l.startReading(c)
	}
	a, err := l.send(c)
	if r != nil {
		r.wait(&a)
		if e := r.end(&a); err == nil {
			err = e
		}
	}
	return a, err
}

func (l *load) send(c *runCommand) (a runAnswer, err error) {
	o := l.p.o
	start := l.now()
	l.wide.reset()
	l.reports.reset()
	bursts := int(c.Duration / l.interval)
	for sent := 0; ; {
		at := l.now() - start
		for ; sent < bursts && at >= time.Duration(sent)*l.interval; sent++ {
			if err := l.sendBurst(c, sent == 0); err != nil {
				return a, err
			}
			a.Media += o.Burst
		}
		if o.Feedback {
			n, err := l.sendFeedback(c, at)
			if err != nil {
				return a, err
			}
			a.Feedback += n
		}
		if at = l.now() - start; at >= c.Duration {
			return a, nil
		}
		next := c.Duration
		if sent < bursts {
			next = min(next, time.Duration(sent)*l.interval)
		}
		if o.Feedback {
			next = min(next, l.wide.due(), l.reports.due())
		}
		if o.Tick > 0 {
			next = (next + o.Tick - 1) / o.Tick * o.Tick
		}
		time.Sleep(next - at)
	}
}

// sendBurst sends one frame, its packets back to back.
func (l *load) sendBurst(c *runCommand, key bool) error {
	var out [64][]byte
	var seq [64]uint16
	n := l.p.o.Burst
	sender := l.p.all[0]
	now := l.now()
	for i := range n {
		if c.Reference {
			out[i] = append(l.burst[i][:0], l.mock.next(now, i, n, key)...)
			continue
		}
		sealed, err := sender.tx.EncryptRTP(l.burst[i][:0], l.media.next(now, i, n, key), &l.header)
		if err != nil {
			return err
		}
		out[i], seq[i] = sealed, l.media.seq
	}
	to := sender.at.Addr
	if c.Reference {
		to = l.p.reference
	}
	if !c.Reference {
		for _, k := range seq[:n] {
			l.sentAt[k].Store(int64(l.now()))
		}
	}
	if err := l.p.link.writeBurst(sender.index, to, out[:n]); err != nil {
		return fmt.Errorf("sending media: %w", err)
	}
	return nil
}

// sendFeedback sends what is due at the time at of a run.
func (l *load) sendFeedback(c *runCommand, at time.Duration) (n int, err error) {
	for ; l.wide.due() <= at; n++ {
		if i := l.wide.call(); i < len(l.receivers) {
			if err := l.sendWide(c, l.receivers[i]); err != nil {
				return n, err
			}
		}
	}
	for ; l.reports.due() <= at; n++ {
		if i := l.reports.call(); i < len(l.receivers) {
			r := l.receivers[i]
			received := r.highest + l.media.number
			if err := l.sendRTCP(c, r, appendReport(l.plain[:0], r.info.SSRC, received)); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// sendWide reports what was sent since the last time: nobody reads it, but it
// can't have been anything else. The reference loop gets the same as the SFU.
func (l *load) sendWide(c *runCommand, r *peer) error {
	if r.info.WideExtension == 0 {
		return nil
	}
	n := int(l.media.number - r.reported)
	base := r.wide
	if c.Reference || n <= 0 || n > maxReported {
		n = max(1, min(maxReported, int(wideEvery*time.Duration(l.p.o.PPS)/time.Second)))
	}
	if !c.Reference {
		r.reported = l.media.number
		r.wide += uint16(n)
	}
	r.count++
	return l.sendRTCP(c, r, appendWide(l.plain[:0], r.info.SSRC, base, n, r.count, l.now(), l.p.o.Burst, l.interval))
}

func (l *load) sendRTCP(c *runCommand, r *peer, plain []byte) error {
	l.plain = plain
	out, err := r.tx.EncryptRTCP(l.sealed[:0], plain, nil)
	if err != nil {
		return err
	}
	l.sealed = out
	to := r.at.Addr
	if c.Reference {
		to = l.p.reference
	}
	if err := l.p.link.write(r.index, to, out); err != nil {
		return fmt.Errorf("sending feedback: %w", err)
	}
	return nil
}

// A reading is what comes back during a run.
type reading struct {
	l     *load
	c     *runCommand
	stop  atomic.Bool
	done  chan error
	first uint16 // sequence number of the sender's first packet
	most  int    // packets that may come for one receiver

	received atomic.Int64
	bytes    int
	failed   error
	// samples[n*receivers+i] is how long packet n took to receiver i; 0: not yet.
	samples []time.Duration
	plain   []byte
	header  rtp.Header
}

func (l *load) startReading(c *runCommand) *reading {
	r := &reading{
		l: l, c: c, done: make(chan error, 1), first: l.media.seq + 1,
		most: l.p.o.Burst * int(c.Duration/l.interval),
	}
	for _, p := range l.receivers {
		p.got = 0
	}
	r.samples = make([]time.Duration, r.most*len(l.receivers))
	go func() { // ends with stop
		runtime.LockOSThread()
		r.done <- l.p.link.read(&r.stop, r.take)
	}()
	return r
}

// take handles a packet from the SFU.
func (r *reading) take(i int, b []byte) {
	now := r.l.now()
	if i < 1 || i > len(r.l.receivers) || len(b) < rtpHeader || b[0]>>6 != 2 || b[1] >= 192 && b[1] <= 223 {
		return
	}
	p := r.l.receivers[i-1]
	if binary.BigEndian.Uint32(b[8:]) != p.info.SSRC {
		return
	}
	seq := binary.BigEndian.Uint16(b[2:])
	r.bytes = max(r.bytes, len(b))
	if r.c.Verify {
		r.verify(p, b, seq)
	}
	n := int(seq - p.offset - r.first)
	if n >= r.most || !p.learned {
		return // of an earlier run
	}
	if at := &r.samples[n*len(r.l.receivers)+i-1]; *at == 0 {
		*at = now - time.Duration(r.l.sentAt[seq-p.offset].Load())
		p.got++
		r.received.Add(1)
	}
}

// verify decrypts a packet, compares it, and learns how the SFU numbers them.
func (r *reading) verify(p *peer, b []byte, seq uint16) {
	plain, err := p.rx.DecryptRTP(r.plain[:0], b, &r.header)
	if err != nil {
		r.fail(p, err)
		return
	}
	r.plain = plain
	number, ok := checkPayload(plain[headerLen(plain):], r.l.p.o.Size)
	if !ok {
		r.fail(p, fmt.Errorf("a payload was changed"))
		return
	}
	// The sender counts from 1 in both.
	offset := seq - uint16(number)
	if p.learned && offset != p.offset {
		r.fail(p, fmt.Errorf("sequence numbers jump by %d", int16(offset-p.offset)))
	}
	p.offset, p.learned = offset, true
	p.highest = uint32(offset)
	if v := extension(plain, p.info.WideExtension); len(v) == 2 {
		p.wide = binary.BigEndian.Uint16(v) + 1
	}
	p.reported = number
}

func (r *reading) fail(p *peer, err error) {
	if r.failed == nil {
		r.failed = fmt.Errorf("receiver %d: %w", p.index, err)
	}
}

// wait returns when all has come that was sent, or nothing comes any more.
func (r *reading) wait(a *runAnswer) {
	want := int64(a.Media * len(r.l.receivers))
	for last, since := int64(-1), time.Now(); ; time.Sleep(5 * time.Millisecond) {
		now := r.received.Load()
		if now >= want || now == last && time.Since(since) > patience {
			return
		}
		if now != last {
			last, since = now, time.Now()
		}
	}
}

// end waits for the reader and adds up.
func (r *reading) end(a *runAnswer) error {
	r.stop.Store(true)
	if err := <-r.done; err != nil {
		return err
	}
	if r.failed != nil {
		return r.failed
	}
	for _, p := range r.l.receivers {
		if r.c.Verify && p.got < a.Media {
			return fmt.Errorf("receiver %d got %d of %d packets", p.index, p.got, a.Media)
		}
	}
	a.Received, a.Bytes = int(r.received.Load()), r.bytes
	a.Latency = summarize(r.samples, len(r.l.receivers))
	return nil
}

// summarize makes a latency of samples, of which 0 is none.
func summarize(samples []time.Duration, receivers int) latency {
	var all, first, median, last []time.Duration
	for chunk := range slices.Chunk(samples, receivers) {
		chunk = slices.DeleteFunc(slices.Clone(chunk), func(d time.Duration) bool { return d == 0 })
		if len(chunk) == 0 {
			continue
		}
		all = append(all, chunk...)
		first = append(first, quantile(chunk, 0))
		median = append(median, quantile(chunk, 50))
		last = append(last, quantile(chunk, 100))
	}
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return latency{
		P50: ms(quantile(all, 50)), P99: ms(quantile(all, 99)),
		First: ms(quantile(first, 50)), Median: ms(quantile(median, 50)), Last: ms(quantile(last, 50)),
	}
}

// quantile returns the value below which percent of v are. It sorts v.
func quantile[T time.Duration | float64](v []T, percent int) T {
	if len(v) == 0 {
		return 0
	}
	slices.Sort(v)
	return v[min(len(v)*percent/100, len(v)-1)]
}
