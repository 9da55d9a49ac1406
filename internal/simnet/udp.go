package simnet

import (
	"net"
	"net/netip"

	"github.com/mafalda-sfu/mafalda/internal/driver"
)

const maxPayload = 65_507

type udpSocket struct {
	d      *Driver
	id     uint64
	cfg    driver.UDPConfig
	local  netip.AddrPort
	keys   []netip.AddrPort
	owner  any
	closed bool // owned by the loop
}

// ListenUDP implements [driver.Driver].
func (d *Driver) ListenUDP(cfg driver.UDPConfig) (driver.UDPSocket, error) {
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
	s := &udpSocket{d: d, cfg: cfg}
	port := cfg.Addr.Port()
	if port == 0 {
		var err error
		port, err = n.ephemeral(func(p uint16) bool {
			for _, k := range withPort(ips, p) {
				if n.udp[k] != nil {
					return false
				}
			}
			return true
		})
		if err != nil {
			return nil, err
		}
	}
	s.local = netip.AddrPortFrom(ip, port)
	s.keys = withPort(ips, port)
	if err := n.bind(s.keys, s); err != nil {
		return nil, err
	}
	s.id = d.add(s)
	return s, nil
}

func (s *udpSocket) ID() uint64                { return s.id }
func (s *udpSocket) LocalAddr() netip.AddrPort { return s.local }
func (s *udpSocket) Owner() any                { return s.owner }
func (s *udpSocket) SetOwner(o any)            { s.owner = o }
func (s *udpSocket) sharesPort() bool          { return s.cfg.ReusePort }

// Dest implements [driver.UDPSocket].
func (s *udpSocket) Dest(addr netip.AddrPort) driver.Dest {
	return driver.NewDest(netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port()))
}

// Reserve implements [driver.UDPSocket].
func (s *udpSocket) Reserve(n int) []byte {
	if len(s.d.queue) >= maxQueue {
		s.d.Flush()
	}
	s.d.room = make([]byte, max(n, 0))
	return s.d.room
}

// Commit implements [driver.UDPSocket].
func (s *udpSocket) Commit(dest *driver.Dest, n int) {
	d := s.d
	b := d.room
	d.room = nil
	from, ok := s.source(dest.Addr())
	switch {
	case n <= 0 || b == nil:
	case len(b) > maxPayload:
		d.stats.DropTooLong++
	case !ok || s.closed:
		d.stats.DropDest++
	default:
		b = b[:min(n, len(b))]
		d.queue = append(d.queue, queued{from, dest.Addr(), b})
		d.stats.Messages++
		d.stats.PacketsOut++
		d.stats.BytesOut += uint64(len(b))
	}
}

// source returns the address that a datagram to addr comes from.
func (s *udpSocket) source(addr netip.AddrPort) (netip.AddrPort, bool) {
	if addr.IsValid() && addr.Port() != 0 {
		for _, k := range s.keys {
			if k.Addr().Is4() == addr.Addr().Is4() {
				return k, true
			}
		}
	}
	return netip.AddrPort{}, false
}

func (s *udpSocket) receive(from netip.AddrPort, data []byte) {
	s.d.put(item{udp: s, from: from, data: data})
}

// Close implements [driver.UDPSocket].
func (s *udpSocket) Close() {
	if s.closed {
		return
	}
	s.d.Flush()
	s.closed = true
	s.owner = nil
	s.d.n.mu.Lock()
	defer s.d.n.mu.Unlock()
	s.d.n.unbind(s.keys, s)
	delete(s.d.open, s.id)
}
