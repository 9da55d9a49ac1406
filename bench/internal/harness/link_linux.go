package harness

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// A link carries datagrams between the peers and the server. Write may be
// called by many goroutines, read by one at a time.
type link interface {
	// write sends a datagram of peer i.
	write(i int, to netip.AddrPort, b []byte) error
	// writeBurst sends datagrams of equal length that arrive together, as those
	// do that a network card hands over after one interrupt.
	writeBurst(i int, to netip.AddrPort, list [][]byte) error
	// read hands over what came for the peers until stop is set.
	read(stop *atomic.Bool, f func(i int, b []byte)) error
	// drain throws away what waits to be read.
	drain() error
	// watch returns what sees the packets that pass, or nil if nothing can.
	watch() (*watcher, error)
}

const (
	pollTime = 20 // ms that a stop may be late
	mtu      = 1500
)

// A tunLink reads and writes whole IPv4 packets, each behind a header of the
// kind that network cards of virtual machines have.
type tunLink struct {
	fd    int
	buf   [virtioHeader + maxPacket]byte
	spare sync.Pool // of *[]byte, for bursts
}

const (
	ipHeader  = 20
	udpHeader = 8

	// struct virtio_net_hdr: flags, GSO type, and 16-bit fields in the order of
	// the machine.
	virtioHeader    = 10
	virtioChecksum  = 1 // flag: the checksum is to be completed
	virtioUDPBurst  = 5 // GSO type: a run of UDP datagrams
	maxBurstPayload = 60000
	maxPacket       = 65535
)

func newTUNLink(fd int) (*tunLink, error) {
	unix.CloseOnExec(fd)
	l := &tunLink{fd: fd, spare: sync.Pool{New: func() any { return new([]byte) }}}
	return l, unix.SetNonblock(fd, true)
}

func (l *tunLink) write(i int, to netip.AddrPort, b []byte) error {
	var p [virtioHeader + mtu]byte
	if len(b) > mtu-ipHeader-udpHeader {
		return fmt.Errorf("a datagram of %d bytes", len(b))
	}
	_, err := unix.Write(l.fd, append(appendUDP(p[:virtioHeader], peerAddr(tunPeers, i), to, len(b)), b...))
	return err
}

func (l *tunLink) writeBurst(i int, to netip.AddrPort, list [][]byte) error {
	p := l.spare.Get().(*[]byte) // what is allocated is collected by the core that sends
	defer l.spare.Put(p)
	for len(list) > 0 {
		n := min(len(list), maxBurstPayload/len(list[0]))
		*p = appendBurst((*p)[:0], peerAddr(tunPeers, i), to, list[:n])
		if _, err := unix.Write(l.fd, *p); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

// appendBurst appends a run of datagrams for the kernel to take apart.
func appendBurst(p []byte, from, to netip.AddrPort, list [][]byte) []byte {
	start := len(p)
	p = append(p, make([]byte, virtioHeader)...)
	total := 0
	for _, b := range list {
		total += len(b)
	}
	p = appendUDP(p, from, to, total)
	if h := p[start:]; len(list) > 1 {
		h[0], h[1] = virtioChecksum, virtioUDPBurst
		binary.NativeEndian.PutUint16(h[2:], ipHeader+udpHeader)
		binary.NativeEndian.PutUint16(h[4:], uint16(len(list[0])))
		binary.NativeEndian.PutUint16(h[6:], ipHeader) // where the checksum begins
		binary.NativeEndian.PutUint16(h[8:], 6)        // and its field
		ip := h[virtioHeader:]
		// What the kernel completes: the sum over the pseudo header.
		pseudo := append([]byte{0, unix.IPPROTO_UDP, ip[ipHeader+4], ip[ipHeader+5]}, ip[12:20]...)
		binary.BigEndian.PutUint16(ip[ipHeader+6:], ^checksum(pseudo))
	}
	for _, b := range list {
		p = append(p, b...)
	}
	return p
}

// appendUDP appends the IPv4 and UDP headers of n bytes. A UDP checksum of 0
// says that there is none: a network card would have checked it.
func appendUDP(p []byte, from, to netip.AddrPort, n int) []byte {
	start := len(p)
	total := ipHeader + udpHeader + n
	src, dst := from.Addr().As4(), to.Addr().As4()
	p = append(p, 0x45, 0, byte(total>>8), byte(total), 0, 0, 0x40, 0, 64, unix.IPPROTO_UDP, 0, 0)
	p = append(p, src[:]...)
	p = append(p, dst[:]...)
	binary.BigEndian.PutUint16(p[start+10:], checksum(p[start:]))
	p = binary.BigEndian.AppendUint16(p, from.Port())
	p = binary.BigEndian.AppendUint16(p, to.Port())
	p = binary.BigEndian.AppendUint16(p, uint16(udpHeader+n))
	return append(p, 0, 0)
}

// checksum is that of RFC 1071 over an even number of bytes.
func checksum(h []byte) uint16 {
	var sum uint32
	for i := 0; i < len(h); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(h[i:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// udpOf returns the payload of an IPv4 packet, if it is UDP, and the peer that it
// is from or to. Of the server's end the index means nothing.
func udpOf(p []byte) (from, to int, b []byte, ok bool) {
	if len(p) < ipHeader+udpHeader || p[0] != 0x45 || p[9] != unix.IPPROTO_UDP {
		return 0, 0, nil, false
	}
	from, to = peerIndex(binary.BigEndian.Uint16(p[14:])), peerIndex(binary.BigEndian.Uint16(p[18:]))
	return from, to, p[ipHeader+udpHeader:], true
}

// datagramSize returns how long the datagrams are that n bytes of payload are, by
// the header before the packet; the last one may be shorter.
func datagramSize(h []byte, n int) int {
	if h[1] != virtioUDPBurst {
		return max(n, 1)
	}
	return max(int(binary.NativeEndian.Uint16(h[4:])), 1)
}

// deliver hands over the datagrams of a packet behind its header.
func deliver(p []byte, f func(i int, b []byte)) {
	if _, i, b, ok := udpOf(p[min(len(p), virtioHeader):]); ok {
		for d := range slices.Chunk(b, datagramSize(p, len(b))) {
			f(i, d)
		}
	}
}

func (l *tunLink) read(stop *atomic.Bool, f func(i int, b []byte)) error {
	for !stop.Load() {
		n, err := unix.Read(l.fd, l.buf[:])
		switch err {
		case nil:
			deliver(l.buf[:n], f)
		case unix.EAGAIN:
			unix.Poll([]unix.PollFd{{Fd: int32(l.fd), Events: unix.POLLIN}}, pollTime)
		case unix.EINTR:
		default:
			return err
		}
	}
	return nil
}

func (l *tunLink) drain() error {
	for {
		if _, err := unix.Read(l.fd, l.buf[:]); err == unix.EAGAIN {
			return nil
		} else if err != nil && err != unix.EINTR {
			return err
		}
	}
}

func (l *tunLink) watch() (*watcher, error) { return newWatcher() }

// A loopLink has a socket on loopback for each peer.
type loopLink struct {
	fds   []int
	epoll int
	buf   [mtu]byte
}

func newLoopLink(peers int) (*loopLink, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	l := &loopLink{epoll: ep}
	for i := range peers {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		l.fds = append(l.fds, fd)
		a := peerAddr(loopPeers, i)
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}); err != nil {
			return nil, fmt.Errorf("binding %v: %w", a, err)
		}
		if err := unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)}); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func (l *loopLink) write(i int, to netip.AddrPort, b []byte) error {
	return unix.Sendto(l.fds[i], b, 0, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())})
}

func (l *loopLink) writeBurst(i int, to netip.AddrPort, list [][]byte) error {
	for _, b := range list {
		if err := l.write(i, to, b); err != nil {
			return err
		}
	}
	return nil
}

func (l *loopLink) read(stop *atomic.Bool, f func(i int, b []byte)) error {
	for !stop.Load() {
		if _, err := l.turn(pollTime, f); err != nil {
			return err
		}
	}
	return nil
}

func (l *loopLink) drain() error {
	for {
		if n, err := l.turn(0, func(int, []byte) {}); n == 0 || err != nil {
			return err
		}
	}
}

func (l *loopLink) watch() (*watcher, error) { return nil, nil }

func (l *loopLink) turn(timeout int, f func(i int, b []byte)) (int, error) {
	var events [64]unix.EpollEvent
	n, err := unix.EpollWait(l.epoll, events[:], timeout)
	if err == unix.EINTR {
		return 1, nil
	}
	for _, e := range events[:max(n, 0)] {
		for {
			n, _, err := unix.Recvfrom(l.fds[e.Fd], l.buf[:], 0)
			if err != nil { // empty, or an ICMP message about what was sent
				break
			}
			f(int(e.Fd), l.buf[:n])
		}
	}
	return n, err
}
