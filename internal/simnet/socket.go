package simnet

import (
	"fmt"
	"net/netip"
	"time"
)

// A Datagram is what came to a Socket.
type Datagram struct {
	At   time.Duration
	From netip.AddrPort
	Data []byte
}

// A Socket is a UDP socket that a test sends from and collects with.
type Socket struct {
	// OnReceive, when set, gets each datagram at its time instead of
	// [Socket.Received]. Set it before the first one comes. It may use the
	// network in any way but Advance.
	OnReceive func(now time.Duration, from netip.AddrPort, data []byte)

	n    *Net
	addr netip.AddrPort
	got  []Datagram
}

// Socket binds addr; port 0 is any free one. It panics when the port is in use.
func (n *Net) Socket(addr netip.AddrPort) *Socket {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := &Socket{n: n, addr: netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())}
	if s.addr.Port() == 0 {
		p, err := n.ephemeral(func(p uint16) bool { return n.udp[netip.AddrPortFrom(s.addr.Addr(), p)] == nil })
		if err != nil {
			panic(err)
		}
		s.addr = netip.AddrPortFrom(s.addr.Addr(), p)
	}
	if err := n.bind([]netip.AddrPort{s.addr}, s); err != nil {
		panic(fmt.Sprintf("simnet: %v: %v", s.addr, err))
	}
	return s
}

// Addr returns the bound address.
func (s *Socket) Addr() netip.AddrPort { return s.addr }

// Send sends a copy of data.
func (s *Socket) Send(to netip.AddrPort, data []byte) {
	s.n.mu.Lock()
	defer s.n.mu.Unlock()
	s.n.datagram(s.addr, to, data)
}

// Received returns what came since the last call.
func (s *Socket) Received() []Datagram {
	s.n.mu.Lock()
	defer s.n.mu.Unlock()
	got := s.got
	s.got = nil
	return got
}

// Close frees the port.
func (s *Socket) Close() {
	s.n.mu.Lock()
	defer s.n.mu.Unlock()
	s.n.unbind([]netip.AddrPort{s.addr}, s)
}

func (s *Socket) sharesPort() bool { return false }

func (s *Socket) receive(from netip.AddrPort, data []byte) {
	now := s.n.now
	if s.OnReceive != nil {
		s.n.calls = append(s.n.calls, func() { s.OnReceive(now, from, data) })
		return
	}
	s.got = append(s.got, Datagram{now, from, data})
}
