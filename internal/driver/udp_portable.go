//go:build !linux || portable

package driver

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"
)

const (
	name4 = 16 // what sockaddr.n says of a family
	name6 = 28
)

type udpSocket struct {
	d       *portable
	c       *net.UDPConn
	id      uint64
	local   netip.AddrPort
	owner   any
	nameLen uint32
	box     *inbox
	done    chan struct{} // closed by read
	closed  bool
}

// network returns the name of the address family for package net.
func network(proto string, ip netip.Addr, only6 bool) string {
	switch {
	case ip.Is4():
		return proto + "4"
	case only6:
		return proto + "6"
	}
	return proto
}

// ListenUDP implements [Driver].
func (d *portable) ListenUDP(cfg UDPConfig) (UDPSocket, error) {
	if d.closed {
		return nil, errClosed
	}
	ip := cfg.Addr.Addr().Unmap()
	if !ip.IsValid() {
		return nil, errAddr
	}
	var lc net.ListenConfig
	if cfg.ReusePort {
		lc.Control = func(_, _ string, c syscall.RawConn) (err error) {
			if cerr := c.Control(func(fd uintptr) { err = reusePort(fd) }); cerr != nil {
				return cerr
			}
			return err
		}
	}
	pc, err := lc.ListenPacket(context.Background(), network("udp", ip, cfg.IPv6Only),
		netip.AddrPortFrom(ip, cfg.Addr.Port()).String())
	if err != nil {
		return nil, err
	}
	c := pc.(*net.UDPConn)
	if cfg.SendBuffer > 0 {
		c.SetWriteBuffer(cfg.SendBuffer)
	}
	if cfg.RecvBuffer > 0 {
		c.SetReadBuffer(cfg.RecvBuffer)
	}
	s := &udpSocket{d: d, c: c, nameLen: name4, done: make(chan struct{})}
	if !ip.Is4() {
		s.nameLen = name6
	}
	s.local = unmap(c.LocalAddr().(*net.UDPAddr).AddrPort())
	s.box = d.newInbox(s)
	s.id = d.newID(s)
	d.wg.Go(s.read) // ended by Close
	return s, nil
}

func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// read moves datagrams to the inbox until the socket is closed.
func (s *udpSocket) read() {
	defer close(s.done)
	buf := make([]byte, MaxDatagram+1)
	failed := 0
	for {
		n, from, err := s.c.ReadFromUDPAddrPort(buf)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			// About one datagram: too long for buf, or refused by its receiver
			// (Windows). Should an error stay, don't spin.
			s.d.mu.Lock()
			s.d.shared.DropTruncated++
			s.d.mu.Unlock()
			if failed++; failed > 100 {
				time.Sleep(time.Millisecond)
			}
			continue
		case n > MaxDatagram:
			s.d.mu.Lock()
			s.d.shared.DropTruncated++
			s.d.mu.Unlock()
			continue
		}
		failed = 0
		if !s.box.put(event{from: unmap(from)}, buf[:n]) {
			return
		}
	}
}

func (s *udpSocket) deliver(e *event, h Handler) int {
	if s.closed {
		return 0
	}
	s.d.stats.PacketsIn++
	s.d.stats.BytesIn += uint64(e.n)
	h.HandleUDP(s, e.from, e.buf[:e.n])
	return 1
}

func (s *udpSocket) ID() uint64                { return s.id }
func (s *udpSocket) LocalAddr() netip.AddrPort { return s.local }
func (s *udpSocket) Owner() any                { return s.owner }
func (s *udpSocket) SetOwner(o any)            { s.owner = o }
func (s *udpSocket) shut()                     { s.Close() }

// Dest implements [UDPSocket].
func (s *udpSocket) Dest(addr netip.AddrPort) Dest {
	d := Dest{addr: unmap(addr)}
	ip := d.addr.Addr()
	if ip.IsValid() && addr.Port() != 0 && (ip.Is4() || s.nameLen == name6) {
		d.name.n = s.nameLen
	}
	return d
}

// Reserve implements [UDPSocket].
func (s *udpSocket) Reserve(n int) []byte {
	n = max(n, 0)
	if cap(s.d.out) < n {
		s.d.out = make([]byte, max(n, plainBuf))
	}
	s.d.room = n
	return s.d.out[:n:n]
}

// Commit implements [UDPSocket]. It sends at once.
func (s *udpSocket) Commit(d *Dest, n int) {
	room := s.d.room
	s.d.room = -1
	st := &s.d.stats
	switch {
	case n <= 0 || room < 0:
		return
	case room > maxUDP4:
		st.DropTooLong++
		return
	case d.name.n != s.nameLen || s.closed:
		st.DropDest++
		return
	}
	b := s.d.out[:min(n, room)]
	st.SendCalls++
	if _, err := s.c.WriteToUDPAddrPort(b, d.addr); err != nil {
		st.DropSendError++
		return
	}
	st.Messages++
	st.PacketsOut++
	st.BytesOut += uint64(len(b))
	st.SendBatch[0]++
}

// Close implements [UDPSocket].
func (s *udpSocket) Close() {
	if s.closed {
		return
	}
	s.closed = true
	s.owner = nil
	s.c.Close()
	s.box.close()
	<-s.done // until then the reader keeps the port
	delete(s.d.sources, s.id)
}
