package engine

import (
	"cmp"
	"net/netip"

	"github.com/mafalda-sfu/mafalda/internal/driver"
	"github.com/mafalda-sfu/mafalda/internal/port"
)

// A Protocol is UDP or TCP.
type Protocol uint8

const (
	UDP Protocol = iota + 1
	TCP
)

// String returns "udp" or "tcp".
func (p Protocol) String() string {
	if p == TCP {
		return "tcp"
	}
	return "udp"
}

// ListenInfo says where to listen and what to tell the peers about it.
type ListenInfo struct {
	Protocol         Protocol
	IP               netip.Addr
	AnnouncedAddress string // IP or host name told to peers; empty: IP
	ExposeInternalIP bool   // tell IP too, when AnnouncedAddress is set
	Port             uint16 // 0: from the range
	PortMin, PortMax uint16 // both 0: the range of the Worker
	IPv6Only         bool
	UDPReusePort     bool
	SendBufferSize   int // bytes; 0: the engine's choice
	RecvBufferSize   int
}

// reaches reports whether a socket bound to l can send to ip: to its own family,
// and from all addresses of IPv6 to IPv4 too, unless it is for IPv6 only.
func (l *ListenInfo) reaches(ip netip.Addr) bool {
	return l.IP.Is4() == ip.Is4() || l.IP.Is6() && l.IP.IsUnspecified() && !l.IPv6Only
}

// What the kernel may queue for one UDP socket. Its own default holds some 90
// video packets, less than one burst of key frames.
const (
	defaultBuffer = 1 << 20
	sharedBuffer  = 4 << 20
)

// A listener is one bound UDP socket or one listening TCP socket.
type listener struct {
	info ListenInfo
	udp  driver.UDPSocket
	tcp  driver.TCPListener

	m    *Machine
	key  port.Range // of the range that the port came from
	pool bool       // the port came from key
}

func (l *listener) addr() netip.AddrPort {
	if l.udp != nil {
		return l.udp.LocalAddr()
	}
	return l.tcp.LocalAddr()
}

// announced returns what peers are told instead of the bound address.
func (l *listener) announced() string {
	if l.info.AnnouncedAddress != "" {
		return l.info.AnnouncedAddress
	}
	return l.info.IP.String()
}

// tuple is the path between a UDP socket and remote, which may be unknown.
func (l *listener) tuple(remote netip.AddrPort) Tuple {
	t := Tuple{LocalAddress: l.announced(), LocalPort: l.addr().Port(), Protocol: "udp"}
	if remote.IsValid() {
		t.RemoteIP, t.RemotePort = remote.Addr().String(), remote.Port()
	}
	return t
}

func (l *listener) close() {
	addr := l.addr()
	if l.udp != nil {
		l.udp.Close()
	} else {
		l.tcp.Close()
	}
	if l.pool {
		l.m.ports.Release(l.key, addr.Port())
	}
}

// listen binds what info says (media-plane §1.5). A shared port is one of many
// peers, where it pays to take runs of datagrams at once.
func (m *Machine) listen(info ListenInfo, owner socketOwner, shared bool) (*listener, error) {
	if !info.IP.IsValid() {
		return nil, invalid("listen info without IP")
	}
	if info.Protocol != UDP && info.Protocol != TCP {
		return nil, invalid("listen info without protocol")
	}
	if info.PortMax < info.PortMin {
		return nil, invalid("port range %d-%d is inverted", info.PortMin, info.PortMax)
	}
	info.IP = info.IP.Unmap()
	l := &listener{info: info, m: m}
	bind := func(p uint16) error { return l.bind(p, owner, shared) }
	low, high := info.PortMin, info.PortMax
	switch {
	case low != 0 && high != 0:
	case info.Port != 0:
		if err := bind(info.Port); err != nil {
			return nil, unavailable("binding %s %s: %v", info.Protocol, netip.AddrPortFrom(info.IP, info.Port), err)
		}
		return l, nil
	default:
		low, high = m.cfg.RTCMinPort, m.cfg.RTCMaxPort
	}
	l.key = port.Range{TCP: info.Protocol == TCP, IP: info.IP, Min: low, Max: high}
	l.pool = true
	if _, err := m.ports.Bind(l.key, bind); err != nil {
		return nil, unavailable("binding %s %s, ports %d-%d: %v", info.Protocol, info.IP, low, high, err)
	}
	return l, nil
}

func (l *listener) bind(p uint16, owner socketOwner, shared bool) (err error) {
	i := l.info
	addr := netip.AddrPortFrom(i.IP, p)
	if i.Protocol == TCP {
		l.tcp, err = l.m.drv.ListenTCP(driver.TCPConfig{
			Addr: addr, IPv6Only: i.IPv6Only, SendBuffer: i.SendBufferSize, RecvBuffer: i.RecvBufferSize,
		})
		if err == nil {
			l.tcp.SetOwner(owner)
		}
		return err
	}
	size := defaultBuffer
	if shared {
		size = sharedBuffer
	}
	i.SendBufferSize = cmp.Or(i.SendBufferSize, size)
	i.RecvBufferSize = cmp.Or(i.RecvBufferSize, size)
	l.udp, err = l.m.drv.ListenUDP(driver.UDPConfig{
		Addr: addr, IPv6Only: i.IPv6Only, ReusePort: i.UDPReusePort,
		SendBuffer: i.SendBufferSize, RecvBuffer: i.RecvBufferSize, GRO: shared,
	})
	if err == nil {
		l.udp.SetOwner(owner)
	}
	return err
}

// closeAll closes listeners in order.
func closeAll(listeners []*listener) {
	for _, l := range listeners {
		l.close()
	}
}

// listenAll binds each info; when one fails, none stays bound.
func (m *Machine) listenAll(infos []ListenInfo, owner socketOwner, shared bool) ([]*listener, error) {
	var bound []*listener
	for _, info := range infos {
		l, err := m.listen(info, owner, shared)
		if err != nil {
			closeAll(bound)
			return nil, err
		}
		bound = append(bound, l)
	}
	return bound, nil
}

// A path is a way to a peer: a UDP socket and an address, or a TCP connection.
type path struct {
	udp  driver.UDPSocket
	dest driver.Dest
	tcp  driver.TCPConn
}

func (p *path) valid() bool { return p.udp != nil || p.tcp != nil }
