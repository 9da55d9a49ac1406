//go:build !linux || portable

package driver

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// portable is the driver for systems without epoll. Each socket has a goroutine
// that reads and puts what came into the socket's inbox; the loop takes whole
// inboxes. A full inbox stops its goroutine, so that the rest waits in the
// kernel as it does with epoll.
type portable struct {
	// Constant after New.
	start time.Time
	wake  chan struct{} // capacity 1: a token ends a Wait
	wg    sync.WaitGroup

	mu sync.Mutex
	// Guarded by mu.
	full   []*inbox // have events; full[first:]
	first  int
	free   [][]byte // buffers of plainBuf bytes
	shared Stats    // what goroutines count

	// Owned by the loop.
	timer   *time.Timer
	sources map[uint64]source
	nextID  uint64
	closed  bool
	stats   Stats
	spare   []event
	out     []byte // the reservation
	room    int
	dirty   []*conn
}

// A source is a socket: deliver hands over one event, shut closes.
type source interface {
	deliver(e *event, h Handler) (packets int)
	shut()
}

// An event is what a goroutine gives to the loop.
type event struct {
	from netip.AddrPort
	buf  []byte // of the driver's; nil: the end of a connection
	n    int
	conn *net.TCPConn // accepted
}

const (
	inboxLen = batchSize
	plainBuf = 2048
	freeBufs = 512
)

// discard closes an accepted connection that nobody wants.
func (e *event) discard() {
	if e.conn != nil {
		e.conn.Close()
	}
}

// An inbox is a bounded queue of events of one source.
type inbox struct {
	d    *portable
	src  source
	room sync.Cond

	// Guarded by d.mu.
	q      []event
	listed bool // in d.full
	closed bool
}

func (d *portable) newInbox(src source) *inbox {
	b := &inbox{d: d, src: src}
	b.room.L = &d.mu
	return b
}

// put queues an event with a copy of data. It waits while the inbox is full
// and reports false when it was closed.
func (b *inbox) put(e event, data []byte) bool {
	d := b.d
	d.mu.Lock()
	defer d.mu.Unlock()
	d.shared.RecvCalls++
	for len(b.q) == inboxLen && !b.closed {
		b.room.Wait()
	}
	if b.closed {
		return false
	}
	if data != nil {
		e.buf = d.buffer(len(data))
		e.n = copy(e.buf, data)
	}
	b.q = append(b.q, e)
	if !b.listed {
		b.listed = true
		d.full = append(d.full, b)
		d.Wake()
	}
	return true
}

// close wakes a waiting put and drops what is queued.
func (b *inbox) close() {
	d := b.d
	d.mu.Lock()
	defer d.mu.Unlock()
	b.closed = true
	for i := range b.q {
		b.q[i].discard()
	}
	b.q = nil
	b.room.Broadcast()
}

// buffer returns memory for n bytes and headroom. The caller holds mu.
func (d *portable) buffer(n int) []byte {
	if n+Headroom > plainBuf {
		return make([]byte, n+Headroom)
	}
	if k := len(d.free); k > 0 {
		b := d.free[k-1]
		d.free = d.free[:k-1]
		return b
	}
	return make([]byte, plainBuf)
}

// take returns the next inbox's source and its events.
func (d *portable) take() (source, []event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.first < len(d.full) {
		b := d.full[d.first]
		d.full[d.first] = nil
		d.first++
		b.listed = false
		if b.closed {
			continue
		}
		q := b.q
		b.q = d.spare[:0]
		d.spare = nil
		b.room.Broadcast()
		return b.src, q
	}
	d.full, d.first = d.full[:0], 0
	return nil, nil
}

// give returns the memory of events that were delivered.
func (d *portable) give(q []event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range q {
		if b := q[i].buf; cap(b) == plainBuf && len(d.free) < freeBufs {
			d.free = append(d.free, b)
		}
		q[i] = event{}
	}
	d.spare = q[:0]
}

// New returns the driver for this system.
func New() (Driver, error) {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return &portable{
		start:   time.Now(),
		wake:    make(chan struct{}, 1),
		timer:   t,
		sources: map[uint64]source{},
		room:    -1,
	}, nil
}

// Now implements [Driver].
func (d *portable) Now() time.Duration { return time.Since(d.start) }

// Wake implements [Driver].
func (d *portable) Wake() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Stats implements [Driver].
func (d *portable) Stats() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	st := d.stats
	st.RecvCalls = d.shared.RecvCalls
	st.DropTruncated = d.shared.DropTruncated
	st.DropAccept = d.shared.DropAccept
	return st
}

// Wait implements [Driver].
func (d *portable) Wait(timeout time.Duration, h Handler) error {
	if d.closed {
		return errClosed
	}
	src, q := d.take()
	if src == nil && timeout != 0 {
		d.sleep(timeout)
		src, q = d.take()
	}
	for left := budget; src != nil; src, q = d.take() {
		n := 0
		for i := range q {
			n += src.deliver(&q[i], h)
		}
		if n > 0 {
			d.stats.RecvBatch[bucket(n)]++
			h.EndOfBatch()
		}
		left -= len(q)
		d.give(q)
		if left < inboxLen || d.closed {
			break
		}
	}
	select { // what was posted before this is seen by the loop after it
	case <-d.wake:
	default:
	}
	return nil
}

func (d *portable) sleep(timeout time.Duration) {
	d.stats.Waits++
	if timeout < 0 {
		<-d.wake
		d.stats.Wakes++
		return
	}
	d.timer.Reset(timeout)
	select {
	case <-d.wake:
		d.stats.Wakes++
		d.timer.Stop()
	case <-d.timer.C:
	}
}

// Flush implements [Driver]. Datagrams have left already.
func (d *portable) Flush() {
	for i, c := range d.dirty {
		d.dirty[i] = nil
		c.flush()
	}
	d.dirty = d.dirty[:0]
}

func (d *portable) newID(s source) uint64 {
	d.nextID++
	d.sources[d.nextID] = s
	return d.nextID
}

// Close implements [Driver].
func (d *portable) Close() error {
	if d.closed {
		return nil
	}
	d.Flush()
	for _, s := range d.sources {
		s.shut()
	}
	d.closed = true
	d.wg.Wait()
	return nil
}
