//go:build !linux || portable

package driver

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/mafalda-sfu/mafalda/internal/tcp"
)

// lastWrite is how long Close lets a connection send what is queued.
const lastWrite = 50 * time.Millisecond

type listener struct {
	d      *portable
	l      *net.TCPListener
	cfg    TCPConfig
	id     uint64
	local  netip.AddrPort
	owner  any
	box    *inbox
	stop   chan struct{} // closed by Close
	done   chan struct{} // closed by accept
	closed bool
}

// ListenTCP implements [Driver].
func (d *portable) ListenTCP(cfg TCPConfig) (TCPListener, error) {
	if d.closed {
		return nil, errClosed
	}
	ip := cfg.Addr.Addr().Unmap()
	if !ip.IsValid() {
		return nil, errAddr
	}
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	nl, err := lc.Listen(context.Background(), network("tcp", ip, cfg.IPv6Only),
		netip.AddrPortFrom(ip, cfg.Addr.Port()).String())
	if err != nil {
		return nil, err
	}
	l := &listener{
		d: d, l: nl.(*net.TCPListener), cfg: cfg,
		local: unmap(nl.Addr().(*net.TCPAddr).AddrPort()),
		stop:  make(chan struct{}), done: make(chan struct{}),
	}
	l.box = d.newInbox(l)
	l.id = d.newID(l)
	d.wg.Go(l.accept) // ended by Close
	return l, nil
}

// accept moves connections to the inbox until the listener is closed.
func (l *listener) accept() {
	defer close(l.done)
	for {
		c, err := l.l.AcceptTCP()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // no file descriptor left, or the peer went away
			select {
			case <-l.stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
			continue
		}
		if !l.box.put(event{conn: c}, nil) {
			c.Close()
			return
		}
	}
}

func (l *listener) ID() uint64                { return l.id }
func (l *listener) LocalAddr() netip.AddrPort { return l.local }
func (l *listener) Owner() any                { return l.owner }
func (l *listener) SetOwner(o any)            { l.owner = o }
func (l *listener) shut()                     { l.Close() }

// Close implements [TCPListener].
func (l *listener) Close() {
	if l.closed {
		return
	}
	l.closed = true
	l.owner = nil
	close(l.stop)
	l.l.Close()
	l.box.close()
	<-l.done
	delete(l.d.sources, l.id)
}

func (l *listener) deliver(e *event, h Handler) int {
	if l.closed {
		e.discard()
		return 0
	}
	if n := l.cfg.SendBuffer; n > 0 {
		e.conn.SetWriteBuffer(n)
	}
	if n := l.cfg.RecvBuffer; n > 0 {
		e.conn.SetReadBuffer(n)
	}
	c := &conn{
		d: l.d, c: e.conn,
		local:  unmap(e.conn.LocalAddr().(*net.TCPAddr).AddrPort()),
		remote: unmap(e.conn.RemoteAddr().(*net.TCPAddr).AddrPort()),
	}
	c.work.L = &l.d.mu
	c.box = l.d.newInbox(c)
	c.id = l.d.newID(c)
	l.d.wg.Go(c.read)     // ended by Close through writeOut
	l.d.wg.Go(c.writeOut) // ended by Close
	h.HandleTCPOpen(l, c)
	return 0
}

// conn is an accepted connection.
type conn struct {
	d             *portable
	c             *net.TCPConn
	id            uint64
	local, remote netip.AddrPort
	owner         any
	box           *inbox
	work          sync.Cond // for writeOut

	dirty  bool // in portable.dirty
	dead   bool
	closed bool

	// Guarded by d.mu.
	out     []byte // queued
	writing int    // bytes that writeOut holds
	ready   bool   // writeOut may take out
	ending  bool
}

func (c *conn) ID() uint64                 { return c.id }
func (c *conn) LocalAddr() netip.AddrPort  { return c.local }
func (c *conn) RemoteAddr() netip.AddrPort { return c.remote }
func (c *conn) Owner() any                 { return c.owner }
func (c *conn) SetOwner(o any)             { c.owner = o }
func (c *conn) shut()                      { c.Close() }

// read moves frames to the inbox until the connection ends.
func (c *conn) read() {
	defer c.box.put(event{}, nil)
	in := tcp.Deframer{Headroom: Headroom}
	buf := make([]byte, 16<<10)
	for {
		if b := in.Space(); b != nil {
			n, err := c.c.Read(b)
			frame, bad := in.Filled(n)
			if frame != nil && !c.box.put(event{}, frame) || bad || err != nil {
				return
			}
			continue
		}
		n, err := c.c.Read(buf)
		for rest := buf[:n]; ; {
			frame, after, ok, bad := in.Next(rest)
			if bad {
				return
			}
			if !ok {
				in.Keep(after)
				break
			}
			if !c.box.put(event{}, frame) {
				return
			}
			rest = after
		}
		if err != nil {
			return
		}
	}
}

func (c *conn) deliver(e *event, h Handler) int {
	if c.closed {
		return 0
	}
	if e.buf == nil {
		c.flush() // the peer may still read
		c.dead = true
		h.HandleTCPClose(c)
		c.Close()
		return 0
	}
	c.d.stats.PacketsIn++
	c.d.stats.BytesIn += uint64(e.n)
	h.HandleTCPFrame(c, e.buf[:e.n])
	return 1
}

// Send implements [TCPConn].
func (c *conn) Send(payload []byte) bool {
	d := c.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if c.dead || c.closed || len(payload) == 0 || len(payload) > MaxFrame ||
		len(c.out)+c.writing+tcp.HeaderSize+len(payload) > tcpQueue {
		d.stats.DropTCPQueue++
		return false
	}
	c.out = tcp.AppendFrame(c.out, payload)
	d.stats.PacketsOut++
	d.stats.BytesOut += uint64(len(payload))
	if len(c.out) >= tcpReadLen {
		c.ready = true
		c.work.Signal()
	} else if !c.dirty {
		c.dirty = true
		d.dirty = append(d.dirty, c)
	}
	return true
}

// flush lets writeOut write.
func (c *conn) flush() {
	c.d.mu.Lock()
	defer c.d.mu.Unlock()
	c.dirty = false
	c.ready = true
	c.work.Signal()
}

// writeOut writes what Send queued until Close, then closes the connection.
func (c *conn) writeOut() {
	defer c.c.Close()
	var spare []byte
	for {
		b, end := c.takeOut(spare)
		if len(b) > 0 {
			if _, err := c.c.Write(b); err != nil {
				return // the reader tells it
			}
		}
		if end {
			return
		}
		if spare = b; cap(b) > tcpReadLen {
			spare = nil // was a congestion
		}
	}
}

// takeOut waits for something to write; end is true after Close.
func (c *conn) takeOut(spare []byte) (b []byte, end bool) {
	c.d.mu.Lock()
	defer c.d.mu.Unlock()
	c.writing = 0
	for !c.ending && !(c.ready && len(c.out) > 0) {
		c.work.Wait()
	}
	b = c.out
	c.out = spare[:0]
	c.ready = false
	c.writing = len(b)
	return b, c.ending
}

// Close implements [TCPConn].
func (c *conn) Close() {
	if c.closed {
		return
	}
	c.closed = true
	c.owner = nil
	c.c.SetWriteDeadline(time.Now().Add(lastWrite))
	c.box.close()
	c.d.mu.Lock()
	c.ending = true
	c.work.Signal()
	c.d.mu.Unlock()
	delete(c.d.sources, c.id)
}
