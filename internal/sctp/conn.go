package sctp

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxQueued and maxQueuedBytes bound what was received and not read yet.
	maxQueued      = 1024
	maxQueuedBytes = 2 << 20
)

// A conn is the net.Conn under a pion association: put brings packets in, the
// mailbox takes them out. On their way they are checked and counted.
type conn struct {
	// Constant after open.
	a    *Association
	in   chan []byte   // nil before
	done chan struct{} // closed by Close
	// turn is held while pion works on a packet, and by the writer while the
	// ordering flag of a stream is not at rest.
	turn chan struct{}

	once   sync.Once
	queued atomic.Int64 // bytes in in

	// Owned by the one goroutine that reads.
	working  bool // holds turn
	reopened bool // what pion works on says that the peer has room again
	began    time.Time
}

func newConn(a *Association) *conn {
	return &conn{
		a:    a,
		done: make(chan struct{}),
		turn: make(chan struct{}, 1),
	}
}

// open makes room for packets, which an association needs that was started.
func (c *conn) open() { c.in = make(chan []byte, maxQueued) }

// put queues a copy of a packet.
func (c *conn) put(packet []byte) bool {
	select {
	case <-c.done:
		return false
	default:
	}
	if c.queued.Add(int64(len(packet))) <= maxQueuedBytes {
		select {
		case c.in <- append([]byte(nil), packet...):
			return true
		default:
		}
	}
	c.queued.Add(-int64(len(packet)))
	return false
}

// Read is called by one goroutine of pion's, again when it is done with what
// came before.
func (c *conn) Read(dst []byte) (int, error) {
	if c.working {
		c.working = false
		c.a.busy.Add(int64(time.Since(c.began)))
		<-c.turn
		if p := c.a.pion.Load(); p != nil && c.reopened {
			// pion does not look whether it can send now, until something else
			// makes it.
			p.ActiveHeartbeat()
		}
	}
	for {
		c.a.box.calm()
		select {
		case <-c.done: // before what is queued
			return 0, net.ErrClosed
		default:
		}
		select {
		case p := <-c.in:
			c.queued.Add(-int64(len(p)))
			if p, c.reopened = c.a.incoming(p); p == nil {
				continue
			}
			select {
			case c.turn <- struct{}{}:
			case <-c.done:
				return 0, net.ErrClosed
			}
			c.working, c.began = true, time.Now()
			return copy(dst, p), nil
		case <-c.done:
			return 0, net.ErrClosed
		}
	}
}

// Write is called by one goroutine of pion's, and keeps nothing of b.
func (c *conn) Write(b []byte) (int, error) {
	select {
	case <-c.done:
		return 0, net.ErrClosed
	default:
	}
	if isNudge(b) {
		return len(b), nil
	}
	p := append([]byte(nil), b...)
	c.a.outgoing(p)
	if err := c.a.box.packet(p); err != nil {
		return 0, err
	}
	return len(b), nil
}

// exclusive runs f while pion works on no packet, or not at all when the
// association has ended.
func (c *conn) exclusive(f func()) {
	select {
	case c.turn <- struct{}{}:
	case <-c.done:
		return
	}
	defer func() { <-c.turn }()
	f()
}

// Close makes pion end.
func (c *conn) Close() error {
	c.once.Do(func() { close(c.done) })
	return nil
}

func (c *conn) LocalAddr() net.Addr                { return address{} }
func (c *conn) RemoteAddr() net.Addr               { return address{} }
func (c *conn) SetDeadline(_ time.Time) error      { return nil } // Close ends reads and writes
func (c *conn) SetReadDeadline(_ time.Time) error  { return nil }
func (c *conn) SetWriteDeadline(_ time.Time) error { return nil }

// address is that of both ends: the engine knows the real ones.
type address struct{}

func (address) Network() string { return "sctp" }
func (address) String() string  { return "peer" }
