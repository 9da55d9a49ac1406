//go:build linux && !portable

package driver

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// udpSocket is small: all memory for packets is the driver's.
type udpSocket struct {
	d     *epoll
	fd    int
	id    uint64
	index int32
	local netip.AddrPort
	owner any

	nameLen uint32 // of the addresses that this socket can send to
	gro     bool
	gso     bool // the kernel has not refused runs
	probe   bool // sends with «don't fragment»
	closed  bool

	// Queue of messages in sender.msgs; head < 0: empty.
	head, tail int32
	queued     int
}

// ListenUDP implements [Driver].
func (d *epoll) ListenUDP(cfg UDPConfig) (UDPSocket, error) {
	if d.closed {
		return nil, errClosed
	}
	fd, err := open(unix.SOCK_DGRAM, cfg.Addr, cfg.IPv6Only, cfg.ReusePort, cfg.SendBuffer, cfg.RecvBuffer)
	if err != nil {
		return nil, err
	}
	s := &udpSocket{d: d, fd: fd, local: localAddr(fd), gso: true, head: -1, nameLen: unix.SizeofSockaddrInet4}
	if !cfg.Addr.Addr().Unmap().Is4() {
		s.nameLen = unix.SizeofSockaddrInet6
	}
	s.setProbe(true)
	if cfg.GRO && unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_GRO, 1) == nil {
		s.gro = true
		if d.rxGRO == nil {
			d.rxGRO = newReceiver(true)
		}
	}
	s.id, s.index, err = d.add(fd, unix.EPOLLIN, s)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return s, nil
}

// setProbe turns «don't fragment, and never mind what ICMP says about the
// path» on: it saves the kernel the choice of an IP id. When off, the kernel
// fragments what is too large for the way out.
func (s *udpSocket) setProbe(on bool) {
	v4, v6 := unix.IP_PMTUDISC_PROBE, unix.IPV6_PMTUDISC_PROBE
	if !on {
		v4, v6 = unix.IP_PMTUDISC_WANT, unix.IPV6_PMTUDISC_WANT
	}
	err := unix.SetsockoptInt(s.fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, v4)
	if s.nameLen == unix.SizeofSockaddrInet6 {
		err = unix.SetsockoptInt(s.fd, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, v6)
	}
	s.probe = on && err == nil
}

func (s *udpSocket) ID() uint64                { return s.id }
func (s *udpSocket) LocalAddr() netip.AddrPort { return s.local }
func (s *udpSocket) Owner() any                { return s.owner }
func (s *udpSocket) SetOwner(o any)            { s.owner = o }

// Dest implements [UDPSocket].
func (s *udpSocket) Dest(addr netip.AddrPort) Dest {
	addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
	d := Dest{addr: addr}
	switch ip := addr.Addr(); {
	case !ip.IsValid() || addr.Port() == 0:
	case s.nameLen == unix.SizeofSockaddrInet6:
		d.name = sockaddr6(addr)
	case ip.Is4():
		d.name = sockaddr4(addr)
	}
	return d
}

// Close implements [UDPSocket].
func (s *udpSocket) Close() {
	if s.closed {
		return
	}
	if s.head >= 0 {
		s.d.tx.flush()
	}
	s.closed = true
	s.owner = nil
	s.d.remove(s.fd, s.index)
}

func (s *udpSocket) shut() { s.Close() }

// mmsghdr is struct mmsghdr.
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

const (
	groSlots = 32
	groSize  = 65_535
	// Slots are not a power of two apart, so that their first lines fall into
	// different sets of the cache.
	plainStride = MaxDatagram + Headroom
	groStride   = 65_536 + 1_344
)

var cmsgLen = unix.CmsgSpace(4)

// A receiver is the memory that recvmmsg fills, shared by all sockets of a
// driver.
type receiver struct {
	hdrs   []mmsghdr
	iovs   []unix.Iovec
	names  []sockaddr
	ctls   []byte // for UDP_GRO
	buf    []byte
	stride int
	saved  [Headroom]byte
}

func newReceiver(gro bool) *receiver {
	n, size, stride := batchSize, MaxDatagram, plainStride
	if gro {
		n, size, stride = groSlots, groSize, groStride
	}
	r := &receiver{
		hdrs:   make([]mmsghdr, n),
		iovs:   make([]unix.Iovec, n),
		names:  make([]sockaddr, n),
		buf:    make([]byte, n*stride+Headroom),
		stride: stride,
	}
	if gro {
		r.ctls = make([]byte, n*cmsgLen)
	}
	for i := range r.hdrs {
		h := &r.hdrs[i].hdr
		r.iovs[i].Base = &r.buf[i*stride]
		r.iovs[i].SetLen(size)
		h.Iov = &r.iovs[i]
		h.SetIovlen(1)
		h.Name = &r.names[i].b[0]
		h.Namelen = uint32(len(r.names[i].b))
		if gro {
			h.Control = &r.ctls[i*cmsgLen]
			h.SetControllen(cmsgLen)
		}
	}
	return r
}

// ready implements source: one recvmmsg and its datagrams.
func (s *udpSocket) ready(_ uint32, h Handler, room int) (int, bool) {
	r, st := s.d.rx, &s.d.stats
	if s.gro {
		r = s.d.rxGRO
	}
	want := min(room, len(r.hdrs))
	got, _, e := syscall.RawSyscall6(unix.SYS_RECVMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&r.hdrs[0])),
		uintptr(want), unix.MSG_DONTWAIT, 0, 0)
	st.RecvCalls++
	if e != 0 {
		// EAGAIN, or an error that was pending on the socket and is gone now.
		return 0, e == unix.EINTR
	}
	n := int(got)
	if n == 0 {
		return 0, false
	}
	st.RecvBatch[bucket(n)]++
	count := 0
	ahead, _ := h.(Expecter)
	if ahead != nil {
		for i := range Ahead {
			s.expect(ahead, r, i, n)
		}
	}
	for i := range n {
		if ahead != nil {
			s.expect(ahead, r, i+Ahead, n)
		}
		m := &r.hdrs[i]
		size, flags := int(m.n), m.hdr.Flags
		seg := size
		if s.gro {
			seg = r.segment(i, size)
			m.hdr.SetControllen(cmsgLen)
		}
		m.hdr.Namelen = uint32(len(r.names[i].b))
		if flags&unix.MSG_TRUNC != 0 || seg > MaxDatagram {
			st.DropTruncated++
			continue
		}
		if s.closed {
			continue // by the handler; go on for the headers
		}
		from := r.names[i].addrPort()
		b := r.buf[i*r.stride : (i+1)*r.stride]
		if seg < size {
			st.GRORuns++
			count += s.deliverRun(r, h, from, b, size, seg)
			continue
		}
		count++
		st.BytesIn += uint64(size)
		h.HandleUDP(s, from, b[:size:size+Headroom])
	}
	st.PacketsIn += uint64(count)
	h.EndOfBatch()
	return max(count, n), n == want && !s.closed
}

// expect tells of message i of n.
func (s *udpSocket) expect(h Expecter, r *receiver, i, n int) {
	var from netip.AddrPort
	if i < n {
		from = r.names[i].addrPort()
	}
	h.Expect(s, from)
}

// deliverRun hands over the datagrams of size seg, the last one maybe shorter,
// in b[:size]. What a handler may write behind one of them is the beginning of
// the next: it is kept aside.
func (s *udpSocket) deliverRun(r *receiver, h Handler, from netip.AddrPort, b []byte, size, seg int) int {
	n := 0
	for at := 0; at < size && !s.closed; at += seg {
		end := min(at+seg, size)
		copy(r.saved[:], b[end:end+Headroom])
		s.d.stats.BytesIn += uint64(end - at)
		h.HandleUDP(s, from, b[at:end:end+Headroom])
		copy(b[end:], r.saved[:])
		n++
	}
	s.d.stats.GROSegments += uint64(n)
	return n
}

// segment returns the size of the datagrams in message i, whose size in all is
// given: the kernel tells it in a control message if there are several.
func (r *receiver) segment(i, size int) int {
	c := r.ctls[i*cmsgLen : (i+1)*cmsgLen]
	if int(r.hdrs[i].hdr.Controllen) < unix.CmsgLen(4) {
		return size
	}
	h := (*unix.Cmsghdr)(unsafe.Pointer(&c[0]))
	if h.Level != unix.SOL_UDP || h.Type != unix.UDP_GRO {
		return size
	}
	if n := int(int32(binary.NativeEndian.Uint32(c[unix.CmsgLen(0):]))); n > 0 {
		return min(n, size)
	}
	return size
}
