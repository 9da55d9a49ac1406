//go:build linux && !portable

package driver

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// A sockaddr is struct sockaddr_in or sockaddr_in6 as bytes.
//
//	0       2      4          8                    24         28
//	+-------+------+----------+--------------------+----------+
//	| family| port | IPv4     | 8 zero bytes   |
//	| family| port | flow info| IPv6               | scope id |
//	+-------+------+----------+--------------------+----------+
//
// Family and scope id are in host order, the port is big-endian.
type sockaddr struct {
	b [unix.SizeofSockaddrInet6]byte
	n uint32 // length; 0: not valid
}

func sockaddr4(a netip.AddrPort) (s sockaddr) {
	s.n = unix.SizeofSockaddrInet4
	binary.NativeEndian.PutUint16(s.b[0:], unix.AF_INET)
	binary.BigEndian.PutUint16(s.b[2:], a.Port())
	ip := a.Addr().As4()
	copy(s.b[4:], ip[:])
	return s
}

func sockaddr6(a netip.AddrPort) (s sockaddr) {
	s.n = unix.SizeofSockaddrInet6
	binary.NativeEndian.PutUint16(s.b[0:], unix.AF_INET6)
	binary.BigEndian.PutUint16(s.b[2:], a.Port())
	ip := a.Addr().As16() // maps IPv4
	copy(s.b[8:], ip[:])
	binary.NativeEndian.PutUint32(s.b[24:], scope(a.Addr().Zone()))
	return s
}

// addrPort reads what the kernel wrote; the zero value is «not an address».
func (s *sockaddr) addrPort() netip.AddrPort {
	port := binary.BigEndian.Uint16(s.b[2:])
	switch binary.NativeEndian.Uint16(s.b[0:]) {
	case unix.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(s.b[4:8])), port)
	case unix.AF_INET6:
		ip := netip.AddrFrom16([16]byte(s.b[8:24])).Unmap()
		if id := binary.NativeEndian.Uint32(s.b[24:]); id != 0 && ip.Is6() {
			ip = ip.WithZone(strconv.Itoa(int(id)))
		}
		return netip.AddrPortFrom(ip, port)
	}
	return netip.AddrPort{}
}

// scope turns a zone, a number or the name of an interface, to a scope id.
func scope(zone string) uint32 {
	if zone == "" {
		return 0
	}
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n)
	}
	ifi, err := net.InterfaceByName(zone)
	if err != nil {
		return 0
	}
	return uint32(ifi.Index)
}

// open makes a bound, non-blocking socket.
func open(kind int, addr netip.AddrPort, only6, reusePort bool, sendBuf, recvBuf int) (fd int, err error) {
	ip := addr.Addr().Unmap()
	if !ip.IsValid() {
		return -1, errAddr
	}
	var sa unix.Sockaddr
	family := unix.AF_INET
	if ip.Is4() {
		sa = &unix.SockaddrInet4{Port: int(addr.Port()), Addr: ip.As4()}
	} else {
		family = unix.AF_INET6
		sa = &unix.SockaddrInet6{Port: int(addr.Port()), Addr: ip.As16(), ZoneId: scope(ip.Zone())}
	}
	fd, err = unix.Socket(family, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if family == unix.AF_INET6 {
		v := 0
		if only6 {
			v = 1
		}
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, v); err != nil {
			unix.Close(fd)
			return -1, os.NewSyscallError("setsockopt", err)
		}
	}
	if kind == unix.SOCK_STREAM || reusePort {
		// On a TCP listener this only allows connections in TIME_WAIT. On UDP
		// it is what other implementations set, which may share the port.
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	}
	if reusePort {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
			unix.Close(fd)
			return -1, os.NewSyscallError("setsockopt", err)
		}
	}
	setBuffer(fd, unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, sendBuf)
	setBuffer(fd, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, recvBuf)
	if err := unix.Bind(fd, sa); err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError("bind", err)
	}
	return fd, nil
}

// setBuffer sets a buffer size beyond the system's limit if it may.
func setBuffer(fd, force, opt, size int) {
	if size > 0 && unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, size) != nil {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, opt, size)
	}
}

// localAddr returns the address that fd is bound to.
func localAddr(fd int) netip.AddrPort {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return netip.AddrPort{}
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		ip := netip.AddrFrom16(sa.Addr).Unmap()
		if sa.ZoneId != 0 && ip.Is6() {
			ip = ip.WithZone(strconv.Itoa(int(sa.ZoneId)))
		}
		return netip.AddrPortFrom(ip, uint16(sa.Port))
	}
	return netip.AddrPort{}
}
