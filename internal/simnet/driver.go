package simnet

import (
	"math"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/mafalda-sfu/mafalda/internal/driver"
)

const (
	never     = time.Duration(math.MaxInt64)
	budget    = 256 // packets per Wait
	batchSize = 64
	maxQueue  = 256 // datagrams between two flushes
)

type state uint8

const (
	fresh   state = iota // Wait was not called yet, or does not block
	running              // its loop works: time stands still
	waiting              // its loop is in Wait
	ended                // closed
)

// A Driver is a host's [driver.Driver] in virtual time.
type Driver struct {
	// OnArrival, when set on a driver that is not blocking, is called by
	// Advance after something came, at its time: turn the machine there.
	OnArrival func()

	// Constant.
	n        *Net
	ips      []netip.Addr
	blocking bool

	wake sync.Cond

	// Guarded by n.mu.
	state    state
	deadline time.Duration // while waiting
	woken    bool
	called   bool // OnArrival is about to be called
	inbox    []item
	nextID   uint64
	open     map[uint64]closer

	// Owned by the loop.
	closed bool
	stats  driver.Stats
	room   []byte // the reservation
	queue  []queued
	dirty  []*conn
}

type closer interface{ Close() }

// An item is what Wait hands over.
type item struct {
	udp  *udpSocket
	from netip.AddrPort
	data []byte

	listener *listener // with conn: was accepted
	conn     *conn
	end      bool // of conn
}

type queued struct {
	from, to netip.AddrPort
	data     []byte
}

var _ driver.Driver = (*Driver)(nil)

// Driver makes a host with these addresses, whose Wait returns at once. An address
// that a second host is given belongs to both.
func (n *Net) Driver(ips ...netip.Addr) *Driver { return n.driver(ips, false) }

// BlockingDriver is Driver for a loop of its own: Wait blocks until something came.
// Advance waits for that loop's first Wait, too, from now on.
func (n *Net) BlockingDriver(ips ...netip.Addr) *Driver { return n.driver(ips, true) }

func (n *Net) driver(ips []netip.Addr, blocking bool) *Driver {
	n.mu.Lock()
	defer n.mu.Unlock()
	d := &Driver{n: n, ips: ips, blocking: blocking, open: map[uint64]closer{}}
	d.wake.L = &n.mu
	n.drivers = append(n.drivers, d)
	return d
}

// Now implements [driver.Driver].
func (d *Driver) Now() time.Duration { return d.n.Now() }

// Stats implements [driver.Driver].
func (d *Driver) Stats() driver.Stats { return d.stats }

// Wake implements [driver.Driver].
func (d *Driver) Wake() {
	d.n.mu.Lock()
	defer d.n.mu.Unlock()
	d.woken = true
	d.run()
}

// run lets the loop work, if it waits. The caller holds mu.
func (d *Driver) run() {
	if d.state == waiting {
		d.state = running
		d.wake.Broadcast()
	}
}

// busy reports whether the loop has something to do, which begins with its
// start. The caller holds mu.
func (d *Driver) busy() bool { return d.state == running || d.state == fresh && d.blocking }

// put queues an item. The caller holds mu.
func (d *Driver) put(it item) {
	d.inbox = append(d.inbox, it)
	d.run()
	if f := d.OnArrival; f != nil && !d.blocking && !d.called {
		d.called = true
		d.n.calls = append(d.n.calls, func() {
			d.n.mu.Lock()
			d.called = false
			d.n.mu.Unlock()
			f()
		})
	}
}

// Wait implements [driver.Driver].
func (d *Driver) Wait(timeout time.Duration, h driver.Handler) error {
	if d.closed {
		return net.ErrClosed
	}
	d.stats.Waits++
	items := d.take(timeout)
	n := 0
	for i, it := range items {
		if n > 0 && (n == batchSize || it.udp != items[i-1].udp || it.conn != items[i-1].conn) {
			h.EndOfBatch()
			n = 0
		}
		n += d.deliver(it, h)
	}
	if n > 0 {
		h.EndOfBatch()
	}
	return nil
}

// take returns what came, after having waited for it if the driver blocks.
func (d *Driver) take(timeout time.Duration) []item {
	n := d.n
	n.mu.Lock()
	defer n.mu.Unlock()
	if d.blocking {
		if timeout != 0 && len(d.inbox) == 0 && !d.woken {
			d.deadline = never
			if timeout > 0 {
				d.deadline = n.now + timeout
			}
			d.state = waiting
			n.idle.Broadcast()
			for d.state == waiting {
				d.wake.Wait()
			}
		}
		d.state = running
	}
	d.woken = false
	items := d.inbox[:min(len(d.inbox), budget)]
	d.inbox = d.inbox[len(items):]
	return items
}

// deliver hands over one item and returns how many packets that was.
func (d *Driver) deliver(it item, h driver.Handler) int {
	switch {
	case it.udp != nil && !it.udp.closed:
		d.stats.PacketsIn++
		d.stats.BytesIn += uint64(len(it.data))
		h.HandleUDP(it.udp, it.from, it.data)
		return 1
	case it.conn != nil && it.listener != nil:
		if it.listener.closed {
			it.conn.Close()
		} else {
			h.HandleTCPOpen(it.listener, it.conn)
		}
	case it.conn != nil:
		return it.conn.deliver(it, h)
	}
	return 0
}

// Flush implements [driver.Driver].
func (d *Driver) Flush() {
	d.n.mu.Lock()
	defer d.n.mu.Unlock()
	if len(d.queue) > 0 {
		d.stats.SendCalls++
	}
	for i, q := range d.queue {
		d.n.datagram(q.from, q.to, q.data)
		d.queue[i] = queued{}
	}
	d.queue = d.queue[:0]
	for _, c := range d.dirty {
		c.flush()
	}
	d.dirty = d.dirty[:0]
}

// Close implements [driver.Driver].
func (d *Driver) Close() error {
	if d.closed {
		return nil
	}
	d.Flush()
	for _, c := range d.sockets() {
		c.Close()
	}
	d.closed = true
	n := d.n
	n.mu.Lock()
	defer n.mu.Unlock()
	d.state = ended
	d.inbox = nil
	n.idle.Broadcast()
	for i, other := range n.drivers {
		if other == d {
			n.drivers = append(n.drivers[:i:i], n.drivers[i+1:]...)
			break
		}
	}
	return nil
}

func (d *Driver) sockets() (all []closer) {
	d.n.mu.Lock()
	defer d.n.mu.Unlock()
	for id := uint64(1); id <= d.nextID; id++ {
		if c := d.open[id]; c != nil {
			all = append(all, c)
		}
	}
	return all
}

// add returns a new id. The caller holds mu.
func (d *Driver) add(c closer) uint64 {
	d.nextID++
	d.open[d.nextID] = c
	return d.nextID
}

// ipsFor returns the addresses of the host that a socket bound to ip listens on.
func (d *Driver) ipsFor(ip netip.Addr, only6 bool) (ips []netip.Addr) {
	for _, own := range d.ips {
		if own == ip || ip.IsUnspecified() && (ip.Is4() == own.Is4() || ip.Is6() && !only6) {
			ips = append(ips, own)
		}
	}
	return ips
}

func withPort(ips []netip.Addr, port uint16) (all []netip.AddrPort) {
	for _, ip := range ips {
		all = append(all, netip.AddrPortFrom(ip, port))
	}
	return all
}
