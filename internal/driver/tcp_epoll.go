//go:build linux && !portable

package driver

import (
	"net/netip"
	"os"
	"syscall"
	"unsafe"

	"github.com/mafalda-sfu/mafalda/internal/tcp"
	"golang.org/x/sys/unix"
)

type listener struct {
	d      *epoll
	fd     int
	id     uint64
	index  int32
	local  netip.AddrPort
	owner  any
	closed bool
}

// ListenTCP implements [Driver].
func (d *epoll) ListenTCP(cfg TCPConfig) (TCPListener, error) {
	if d.closed {
		return nil, errClosed
	}
	if d.spareFile < 0 {
		fd, err := openSpare()
		if err != nil {
			return nil, err
		}
		d.spareFile = fd
	}
	// Buffer sizes are inherited, and must be known before the handshake.
	fd, err := open(unix.SOCK_STREAM, cfg.Addr, cfg.IPv6Only, false, cfg.SendBuffer, cfg.RecvBuffer)
	if err != nil {
		return nil, err
	}
	if err := unix.Listen(fd, listenLen); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("listen", err)
	}
	if d.tcpBuf == nil {
		d.tcpBuf = make([]byte, tcpReadLen+Headroom)
	}
	l := &listener{d: d, fd: fd, local: localAddr(fd)}
	l.id, l.index, err = d.add(fd, unix.EPOLLIN, l)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return l, nil
}

func openSpare() (int, error) {
	fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("open", err)
	}
	return fd, nil
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
	l.d.remove(l.fd, l.index)
}

func (l *listener) accept(name *sockaddr) (int, syscall.Errno) {
	size := uint32(len(name.b))
	r, _, e := syscall.RawSyscall6(unix.SYS_ACCEPT4, uintptr(l.fd), uintptr(unsafe.Pointer(&name.b[0])),
		uintptr(unsafe.Pointer(&size)), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	return int(r), e
}

// ready implements source: it accepts some connections.
func (l *listener) ready(_ uint32, h Handler, _ int) (int, bool) {
	for i := range acceptMax {
		var name sockaddr
		fd, e := l.accept(&name)
		switch e {
		case 0:
		case unix.EINTR, unix.ECONNABORTED:
			continue
		case unix.EMFILE, unix.ENFILE:
			l.refuse()
			return i + 1, false
		default:
			return i, false
		}
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) // a turn is one write
		c := &conn{
			d: l.d, fd: fd, local: localAddr(fd), remote: name.addrPort(), in: tcp.Deframer{Headroom: Headroom},
		}
		var err error
		c.id, c.index, err = l.d.add(fd, unix.EPOLLIN, c)
		if err != nil {
			unix.Close(fd)
			l.d.stats.DropAccept++
			continue
		}
		h.HandleTCPOpen(l, c)
		if l.closed {
			return i + 1, false
		}
	}
	return acceptMax, false // epoll tells again
}

// refuse takes one connection out of the backlog although there is no file
// descriptor left, and closes it: epoll would report it for ever.
func (l *listener) refuse() {
	d := l.d
	if d.spareFile >= 0 {
		unix.Close(d.spareFile)
		d.spareFile = -1
	}
	var name sockaddr
	if fd, e := l.accept(&name); e == 0 {
		unix.Close(fd)
		d.stats.DropAccept++
	}
	if fd, err := openSpare(); err == nil {
		d.spareFile = fd
	}
}

// conn is an accepted connection.
type conn struct {
	d             *epoll
	fd            int
	id            uint64
	index         int32
	local, remote netip.AddrPort
	owner         any

	in      tcp.Deframer
	out     []byte // out[sent:] is to be written
	sent    int
	dirty   bool // in epoll.dirty
	blocked bool // waits for EPOLLOUT
	dead    bool // an error while writing
	closed  bool
}

func (c *conn) ID() uint64                 { return c.id }
func (c *conn) LocalAddr() netip.AddrPort  { return c.local }
func (c *conn) RemoteAddr() netip.AddrPort { return c.remote }
func (c *conn) Owner() any                 { return c.owner }
func (c *conn) SetOwner(o any)             { c.owner = o }
func (c *conn) shut()                      { c.Close() }

// Send implements [TCPConn].
func (c *conn) Send(payload []byte) bool {
	n := tcp.HeaderSize + len(payload)
	if !c.dead && !c.closed && !c.blocked && len(c.out)-c.sent >= tcpReadLen {
		c.write()
	}
	if c.dead || c.closed || len(payload) == 0 || len(payload) > MaxFrame || len(c.out)-c.sent+n > tcpQueue {
		c.d.stats.DropTCPQueue++
		return false
	}
	if c.sent > 0 && len(c.out)+n > cap(c.out) {
		c.out = c.out[:copy(c.out, c.out[c.sent:])]
		c.sent = 0
	}
	c.out = tcp.AppendFrame(c.out, payload)
	c.d.stats.PacketsOut++
	c.d.stats.BytesOut += uint64(len(payload))
	if !c.dirty && !c.blocked {
		c.dirty = true
		c.d.dirty = append(c.d.dirty, c)
	}
	return true
}

// write writes what is queued, as far as the kernel takes it.
func (c *conn) write() {
	for tries := 0; !c.closed && !c.dead && c.sent < len(c.out); {
		b := c.out[c.sent:]
		n, _, e := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(c.fd), uintptr(unsafe.Pointer(&b[0])),
			uintptr(min(len(b), tcpReadLen)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		c.d.stats.SendCalls++
		switch e {
		case 0:
			c.sent += int(n)
		case unix.EINTR:
			if tries++; tries > retries {
				c.watch(true)
				return
			}
		case unix.EAGAIN, unix.ENOBUFS, unix.ENOMEM:
			c.watch(true)
			return
		default:
			c.dead = true
			c.out, c.sent = nil, 0
			c.d.failed = append(c.d.failed, c)
			return
		}
	}
	if c.closed || c.dead {
		return
	}
	c.sent = 0
	c.out = c.out[:0]
	if cap(c.out) > tcpReadLen {
		c.out = nil // was a congestion
	}
	c.watch(false)
}

// watch asks epoll to tell when there is room to write, or no longer.
func (c *conn) watch(on bool) {
	if c.blocked == on {
		return
	}
	c.blocked = on
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: c.index, Pad: int32(uint32(c.id))}
	if on {
		ev.Events |= unix.EPOLLOUT
	}
	unix.EpollCtl(c.d.fd, unix.EPOLL_CTL_MOD, c.fd, &ev)
}

// Close implements [TCPConn].
func (c *conn) Close() {
	if c.closed {
		return
	}
	c.write()
	c.closed = true
	c.owner = nil
	c.out, c.in = nil, tcp.Deframer{}
	c.d.remove(c.fd, c.index)
}

// lost tells the handler that the connection is over.
func (c *conn) lost(h Handler) {
	if c.closed {
		return
	}
	c.write() // the peer may still read
	c.dead = true
	h.HandleTCPClose(c)
	c.Close()
}

// tellFailed tells of connections that broke while they were written to.
func (d *epoll) tellFailed(h Handler) (n int) {
	for len(d.failed) > 0 {
		c := d.failed[len(d.failed)-1]
		d.failed = d.failed[:len(d.failed)-1]
		c.lost(h)
		n++
	}
	return n
}

// ready implements source: one read and its frames.
func (c *conn) ready(events uint32, h Handler, _ int) (int, bool) {
	if events&unix.EPOLLOUT != 0 {
		c.write()
		if c.dead { // tellFailed is next
			return 1, false
		}
	}
	if events&^uint32(unix.EPOLLOUT) == 0 {
		return 1, false
	}
	b := c.in.Space()
	whole := b == nil
	if whole {
		b = c.d.tcpBuf[:tcpReadLen]
	}
	r, _, e := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(c.fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)),
		unix.MSG_DONTWAIT, 0, 0)
	c.d.stats.RecvCalls++
	switch {
	case e == unix.EAGAIN || e == unix.EINTR:
		return 1, false
	case e != 0 || r == 0:
		c.lost(h)
		return 1, false
	}
	n, bad := 0, false
	if whole {
		n, bad = c.deliver(h, int(r))
	} else {
		var frame []byte
		if frame, bad = c.in.Filled(int(r)); frame != nil {
			n = 1
			c.frame(h, frame)
		}
	}
	if bad && !c.closed {
		c.lost(h)
	}
	if n > 0 {
		h.EndOfBatch()
	}
	return max(n, 1), !whole && n > 0 && !c.closed
}

// deliver hands over the frames in tcpBuf[:size]. What a handler may write
// behind one of them is the next: it is kept aside.
func (c *conn) deliver(h Handler, size int) (n int, bad bool) {
	buf := c.d.tcpBuf
	rest := buf[:size]
	for !c.closed {
		frame, after, ok, bad := c.in.Next(rest)
		if !ok {
			c.in.Keep(after)
			return n, bad
		}
		end := size - len(after)
		var saved [Headroom]byte
		copy(saved[:], buf[end:])
		c.frame(h, buf[end-len(frame):end:end+Headroom])
		copy(buf[end:end+Headroom], saved[:])
		rest = after
		n++
	}
	return n, false
}

func (c *conn) frame(h Handler, b []byte) {
	c.d.stats.PacketsIn++
	c.d.stats.BytesIn += uint64(len(b))
	h.HandleTCPFrame(c, b)
}
