package harness

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"
)

// A reading is what comes back during a run.
type reading struct {
	l *load
	c *Run

	received atomic.Int64
	watched  bool // a watcher tells what media passes
	stop     func() error

	// Guarded by the load's mu.
	bytes    int
	requests int
	failed   error
	tables   []table // of the sources, with Latency
	plain    []byte
	header   rtp.Header
}

// A table has how long each packet of a source took to each receiver.
// samples[n*receivers+slot] is that of packet n; 0: it has not come.
type table struct {
	receivers int
	samples   []time.Duration
}

// startReading begins to look at what comes back, until its stop is called.
func (l *load) startReading(c *Run) (*reading, error) {
	r := &reading{l: l, c: c}
	var w *watcher
	if c.Latency {
		var err error
		if w, err = l.p.link.watch(); err != nil {
			return nil, err
		}
	}
	r.watched = w != nil
	read := c.Read || w == nil
	if read {
		if err := l.p.acquire(); err != nil {
			if w != nil {
				w.close()
			}
			return nil, err
		}
	}
	r.prepare()
	var ended atomic.Bool
	done := make(chan struct{})
	if w != nil {
		go func() { // ends with ended
			defer close(done)
			w.read(&ended, r.see)
		}()
	}
	l.p.reading.Store(r)
	r.stop = func() (err error) {
		if w != nil {
			ended.Store(true)
			<-done
			w.close()
		}
		l.p.reading.Store(nil)
		if read {
			err = l.p.release()
		}
		return err
	}
	return r, nil
}

func (r *reading) prepare() {
	r.l.mu.Lock()
	defer r.l.mu.Unlock()
	for _, s := range r.l.sinks {
		s.got = 0
	}
	if !r.c.Latency {
		return
	}
	for _, s := range r.l.sources {
		most := s.Layer.Burst * int(1+r.c.Duration/s.interval)
		r.tables = append(r.tables, table{len(s.sinks), make([]time.Duration, most*len(s.sinks))})
	}
}

// see takes what passed the device.
func (r *reading) see(v passage) {
	from, to, b, ok := udpOf(v.begin)
	if !ok || len(b) < rtpHeader || b[0]>>6 != 2 {
		return
	}
	all, at := r.l.p.all, v.at.Sub(r.l.began)
	switch {
	case v.out && to >= 0 && to < len(all):
		for i := range v.n {
			r.take(all[to], b, at, i)
		}
	case !v.out && from >= 0 && from < len(all) && !isRTCP(b):
		r.enter(all[from], b, v.n, at)
	}
}

// enter takes a run of n packets on its way to the SFU, of which b is the first.
func (r *reading) enter(p *peer, b []byte, n int, at time.Duration) {
	r.l.mu.Lock()
	defer r.l.mu.Unlock()
	for _, s := range p.sources {
		if s.Stream.SSRC == binary.BigEndian.Uint32(b[8:]) {
			s.entered(binary.BigEndian.Uint16(b[2:]), n, at)
			return
		}
	}
}

func isRTCP(b []byte) bool { return b[1] >= 192 && b[1] <= 223 }

// take handles a packet from the SFU to a peer that came at a time: in a run, i
// places after the packet b. Of one that a watcher saw the end may be missing.
func (r *reading) take(p *peer, b []byte, now time.Duration, i int) {
	if len(b) < rtpHeader {
		return
	}
	r.l.mu.Lock()
	defer r.l.mu.Unlock()
	if isRTCP(b) {
		if len(p.sources) > 0 {
			r.takeRTCP(p, b, now)
		}
		return
	}
	s := p.streams[binary.BigEndian.Uint32(b[8:])]
	if s == nil {
		return
	}
	seq := binary.BigEndian.Uint16(b[2:]) + uint16(i)
	r.bytes = max(r.bytes, len(b))
	if r.c.Learn && !r.learn(s, b, seq) {
		return
	}
	if id := s.Stream.WideExtension; id != 0 && !p.wide.known {
		if v := extension(b, id); len(v) == 2 {
			p.wide.known, p.wide.base, p.wide.mark = true, binary.BigEndian.Uint16(v)+1, p.wide.total
		}
	}
	if !r.c.Latency {
		s.got++
		r.received.Add(1)
		return
	}
	if s.source.index >= len(r.tables) {
		return
	}
	t := &r.tables[s.source.index]
	n := int(seq - s.offset - s.source.first)
	if s.slot >= t.receivers || !s.learned || n >= len(t.samples)/t.receivers {
		return // it joined later, or the packet is of an earlier run
	}
	if at := &t.samples[n*t.receivers+s.slot]; *at == 0 {
		*at = max(now-time.Duration(s.source.enteredAt[(seq-s.offset)%sentKept].Load()), 1)
		s.got++
		r.received.Add(1)
	}
}

// learn decrypts a packet, compares it, and learns how the SFU numbers them.
// It returns whether the packet is a copy of one of the source of s.
func (r *reading) learn(s *sink, b []byte, seq uint16) bool {
	plain, err := s.peer.rx.DecryptRTP(r.plain[:0], b, &r.header)
	if err != nil {
		r.fail(s, err)
		return false
	}
	r.plain = plain
	payload := plain[headerLen(plain):]
	if plain[0]&0x20 != 0 && len(payload) > 0 && len(payload) <= 255 && int(payload[len(payload)-1]) == len(payload) {
		return false // a probe for bandwidth
	}
	number, index, ok := checkPayload(payload)
	if !ok || len(payload) != r.l.sources[index%len(r.l.sources)].Layer.Size {
		r.fail(s, fmt.Errorf("a payload was changed"))
		return false
	}
	if index != s.source.index {
		return false // another layer of it, until it switches
	}
	// The sender counts from 1 in both.
	offset := seq - uint16(number)
	if s.learned && offset != s.offset && r.c.Complete {
		r.fail(s, fmt.Errorf("sequence numbers jump by %d", int16(offset-s.offset)))
	}
	s.offset, s.learned, s.last = offset, true, number
	if v := extension(plain, s.Stream.WideExtension); len(v) == 2 {
		w := &s.peer.wide
		received := uint32(0)
		for _, s := range s.peer.sinks {
			if s.Stream.WideExtension != 0 {
				received += s.last - s.start
			}
		}
		// What is reported next may have been sent before or after it.
		w.base = binary.BigEndian.Uint16(v) + 1 - uint16(received-w.mark)
		w.known = true
	}
	return true
}

func (r *reading) fail(s *sink, err error) {
	if r.failed == nil {
		r.failed = fmt.Errorf("receiver %d of source %d: %w", s.peer.index, s.source.index, err)
	}
}

// takeRTCP looks for key frame requests: PLI and FIR (RFC 4585 §6.3.1, RFC 5104
// §4.3.1).
func (r *reading) takeRTCP(p *peer, b []byte, now time.Duration) {
	plain, err := p.rx.DecryptRTCP(r.plain[:0], b, nil)
	if err != nil {
		return // a copy that came before
	}
	r.plain = plain
	for at := 0; at+12 <= len(plain); {
		end := at + 4 + 4*int(binary.BigEndian.Uint16(plain[at+2:]))
		if end > len(plain) {
			return
		}
		ssrc := uint32(0)
		switch {
		case plain[at+1] != 206:
		case plain[at]&0x1f == 1:
			ssrc = binary.BigEndian.Uint32(plain[at+8:])
		case plain[at]&0x1f == 4 && at+16 <= end:
			ssrc = binary.BigEndian.Uint32(plain[at+12:])
		}
		for _, s := range p.sources {
			if ssrc != s.Stream.SSRC {
				continue
			}
			r.requests++
			if !s.key {
				s.key, s.keyAt = true, now+r.c.FrameDelay
			}
		}
		at = end
	}
}

// wait returns when all has come that was sent, or nothing comes any more.
func (r *reading) wait(want int) {
	for last, since := int64(-1), time.Now(); ; time.Sleep(5 * time.Millisecond) {
		now := r.received.Load()
		if now >= int64(want) || now == last && time.Since(since) > patience {
			return
		}
		if now != last {
			last, since = now, time.Now()
		}
	}
}

// end adds up, after the link has been read for the last time.
func (r *reading) end(a *Ran) error {
	r.l.mu.Lock()
	defer r.l.mu.Unlock()
	if r.failed != nil {
		return r.failed
	}
	for _, s := range r.l.sinks {
		if !s.learned {
			a.Waiting++
		}
		if want := int(s.source.seq - s.source.first + 1); r.c.Complete && s.got < want {
			return fmt.Errorf("receiver %d of source %d got %d of %d packets", s.peer.index, s.source.index, s.got, want)
		}
	}
	for _, s := range r.l.sources {
		for i, at := range s.keys {
			j, _ := slices.BinarySearch(s.keys, at+time.Second)
			a.MostKeyFrames = max(a.MostKeyFrames, j-i)
		}
		a.KeyFrameRate = max(a.KeyFrameRate, perSecond(s.keys))
	}
	a.Received, a.Bytes, a.KeyFrameRequests = int(r.received.Load()), r.bytes, r.requests
	a.Latency = summarize(r.tables)
	if r.tables != nil {
		copies := 0
		for i, t := range r.tables {
			s := r.l.sources[i]
			copies += int(s.seq-s.first+1) * t.receivers
		}
		a.Latency.Timed = Round(float64(a.Received)/float64(max(copies, 1)), 3)
	}
	return nil
}

// perSecond is the rate of what happened at those times, ascending: how many
// there were after the first, in the time from there to the last.
func perSecond(times []time.Duration) float64 {
	if len(times) < 2 {
		return 0
	}
	return Round(float64(len(times)-1)/(times[len(times)-1]-times[0]).Seconds(), 2)
}

// summarize makes a Latency of samples, of which 0 is none.
func summarize(tables []table) Latency {
	var all, first, median, last []time.Duration
	for _, t := range tables {
		if t.receivers == 0 {
			continue
		}
		for chunk := range slices.Chunk(t.samples, t.receivers) {
			chunk = slices.DeleteFunc(slices.Clone(chunk), func(d time.Duration) bool { return d == 0 })
			if len(chunk) == 0 {
				continue
			}
			all = append(all, chunk...)
			first = append(first, quantile(chunk, 0))
			median = append(median, quantile(chunk, 50))
			last = append(last, quantile(chunk, 100))
		}
	}
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return Latency{
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
