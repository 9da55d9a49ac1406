package simnet

import (
	"net"
	"net/netip"
	"time"

	"github.com/mafalda-sfu/mafalda/internal/driver"
	"github.com/mafalda-sfu/mafalda/internal/tcp"
)

// maxUnsent is how many bytes of a connection may be under way.
const maxUnsent = 512 << 10

type listener struct {
	d      *Driver
	id     uint64
	local  netip.AddrPort
	keys   []netip.AddrPort
	owner  any
	closed bool // owned by the loop
}

// ListenTCP implements [driver.Driver].
func (d *Driver) ListenTCP(cfg driver.TCPConfig) (driver.TCPListener, error) {
	if d.closed {
		return nil, net.ErrClosed
	}
	n := d.n
	n.mu.Lock()
	defer n.mu.Unlock()
	ip := cfg.Addr.Addr().Unmap()
	ips := d.ipsFor(ip, cfg.IPv6Only)
	if len(ips) == 0 {
		return nil, driver.ErrAddrNotAvailable
	}
	isFree := func(port uint16) bool {
		for _, k := range withPort(ips, port) {
			if n.tcp[k] != nil {
				return false
			}
		}
		return true
	}
	port := cfg.Addr.Port()
	if port == 0 {
		var err error
		if port, err = n.ephemeral(isFree); err != nil {
			return nil, err
		}
	} else if !isFree(port) {
		return nil, driver.ErrAddrInUse
	}
	l := &listener{d: d, local: netip.AddrPortFrom(ip, port), keys: withPort(ips, port)}
	for _, k := range l.keys {
		n.tcp[k] = l
	}
	l.id = d.add(l)
	return l, nil
}

func (l *listener) ID() uint64                { return l.id }
func (l *listener) LocalAddr() netip.AddrPort { return l.local }
func (l *listener) Owner() any                { return l.owner }
func (l *listener) SetOwner(o any)            { l.owner = o }

// Close implements [driver.TCPListener].
func (l *listener) Close() {
	if l.closed {
		return
	}
	l.closed = true
	l.owner = nil
	n := l.d.n
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, k := range l.keys {
		delete(n.tcp, k)
	}
	delete(l.d.open, l.id)
}

// conn is the driver's end of a connection.
type conn struct {
	d             *Driver
	id            uint64
	local, remote netip.AddrPort
	owner         any
	peer          *Conn

	// Owned by the loop.
	in     tcp.Deframer
	frame  []byte
	out    []byte
	dirty  bool
	dead   bool
	closed bool

	// Guarded by d.n.mu.
	unsent int
	last   time.Duration // arrival of the last piece
}

func (c *conn) ID() uint64                 { return c.id }
func (c *conn) LocalAddr() netip.AddrPort  { return c.local }
func (c *conn) RemoteAddr() netip.AddrPort { return c.remote }
func (c *conn) Owner() any                 { return c.owner }
func (c *conn) SetOwner(o any)             { c.owner = o }

// Send implements [driver.TCPConn].
func (c *conn) Send(payload []byte) bool {
	d := c.d
	d.n.mu.Lock()
	defer d.n.mu.Unlock()
	if c.dead || c.closed || len(payload) == 0 || len(payload) > driver.MaxFrame ||
		c.unsent+tcp.HeaderSize+len(payload) > maxUnsent {
		d.stats.DropTCPQueue++
		return false
	}
	c.unsent += tcp.HeaderSize + len(payload)
	c.out = tcp.AppendFrame(c.out, payload)
	d.stats.PacketsOut++
	d.stats.BytesOut += uint64(len(payload))
	if !c.dirty {
		c.dirty = true
		d.dirty = append(d.dirty, c)
	}
	return true
}

// flush sends what is queued. The caller holds mu.
func (c *conn) flush() {
	c.dirty = false
	if b := c.out; len(b) > 0 {
		c.out = nil
		c.piece(len(b), func() {
			c.unsent -= len(b)
			c.peer.receive(b)
		})
	}
}

func (c *conn) piece(size int, f func()) {
	n := c.d.n
	c.last = n.link(c.local.Addr(), c.remote.Addr()).stream(n.now, c.last, size)
	n.schedule(c.last, f)
}

// Close implements [driver.TCPConn].
func (c *conn) Close() {
	if c.closed {
		return
	}
	c.closed = true
	c.owner = nil
	c.d.n.mu.Lock()
	defer c.d.n.mu.Unlock()
	c.flush()
	c.piece(0, func() { c.peer.closed = true })
	delete(c.d.open, c.id)
}

// deliver hands over the frames that a piece completes, or the end.
func (c *conn) deliver(it item, h driver.Handler) (frames int) {
	if c.closed {
		return 0
	}
	bad := cut(&c.in, it.data, func(f []byte) bool {
		// A copy: behind f is the next frame, where a handler may write.
		c.frame = append(append(c.frame[:0], f...), make([]byte, driver.Headroom)...)
		c.d.stats.PacketsIn++
		c.d.stats.BytesIn += uint64(len(f))
		h.HandleTCPFrame(c, c.frame[:len(f)])
		frames++
		return !c.closed
	})
	if (it.end || bad) && !c.closed {
		c.d.Flush()
		c.dead = true
		h.HandleTCPClose(c)
		c.Close()
	}
	return frames
}

// A Conn is a test's end of a TCP connection to a driver.
type Conn struct {
	// OnFrame, when set, gets each frame at its time instead of [Conn.Frames].
	// It may use the network in any way but Advance.
	OnFrame func(now time.Duration, frame []byte)

	n      *Net
	local  netip.AddrPort
	remote netip.AddrPort

	// Guarded by n.mu.
	other  *conn // nil until the driver's host has heard of it
	last   time.Duration
	in     tcp.Deframer
	broken bool // a frame was too long
	frames [][]byte
	closed bool
}

// Dial connects a test at ip to a listener. The connection is usable at once;
// it closes when nobody listens.
func (n *Net) Dial(ip netip.Addr, to netip.AddrPort) *Conn {
	n.mu.Lock()
	defer n.mu.Unlock()
	p, _ := n.ephemeral(func(uint16) bool { return true })
	c := &Conn{n: n, local: netip.AddrPortFrom(ip, p), remote: to}
	c.piece(0, func() {
		l := n.tcp[to]
		if l == nil {
			back := n.link(to.Addr(), ip).stream(n.now, 0, 0)
			n.schedule(back, func() { c.closed = true })
			return
		}
		c.other = &conn{d: l.d, local: to, remote: c.local, peer: c}
		c.other.id = l.d.add(c.other)
		l.d.put(item{listener: l, conn: c.other})
	})
	return c
}

func (c *Conn) piece(size int, f func()) {
	c.last = c.n.link(c.local.Addr(), c.remote.Addr()).stream(c.n.now, c.last, size)
	c.n.schedule(c.last, f)
}

// LocalAddr returns the address of the test's end.
func (c *Conn) LocalAddr() netip.AddrPort { return c.local }

// Write sends bytes of the stream: frames, or pieces of them.
func (c *Conn) Write(b []byte) {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	b = append([]byte(nil), b...)
	c.piece(len(b), func() {
		if c.other != nil {
			c.other.d.put(item{conn: c.other, data: b})
		}
	})
}

// Send sends one frame.
func (c *Conn) Send(payload []byte) { c.Write(tcp.AppendFrame(nil, payload)) }

// Frames returns the frames that came since the last call.
func (c *Conn) Frames() [][]byte {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	f := c.frames
	c.frames = nil
	return f
}

// Closed reports whether the other end is closed.
func (c *Conn) Closed() bool {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	return c.closed
}

// Close ends the connection.
func (c *Conn) Close() {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	c.piece(0, func() {
		if c.other != nil {
			c.other.d.put(item{conn: c.other, end: true})
		}
	})
}

func (c *Conn) receive(b []byte) {
	if c.broken {
		return
	}
	c.broken = cut(&c.in, b, func(f []byte) bool {
		f = append([]byte(nil), f...)
		now := c.n.now
		if c.OnFrame != nil {
			c.n.calls = append(c.n.calls, func() { c.OnFrame(now, f) })
		} else {
			c.frames = append(c.frames, f)
		}
		return true
	})
}

// cut calls f for the frames that b, a piece of a stream, completes, until it
// returns false. bad reports that the stream can't be read on.
func cut(in *tcp.Deframer, b []byte, f func(frame []byte) bool) (bad bool) {
	for len(b) > 0 {
		var frame []byte
		if space := in.Space(); space != nil {
			n := copy(space, b)
			b = b[n:]
			frame, bad = in.Filled(n)
		} else if frame, b, _, bad = in.Next(b); frame == nil {
			in.Keep(b)
			return bad
		}
		if bad || frame != nil && !f(frame) {
			return bad
		}
	}
	return false
}
