package harness

import (
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// The network of the benchmark: RFC 2544's, which no other route needs.
var (
	tunServer = netip.AddrFrom4([4]byte{198, 18, 0, 1})
	tunMask   = []byte{255, 254, 0, 0}
	tunPeers  = [4]byte{198, 19, 0, 0}

	loopServer = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	loopPeers  = [4]byte{127, 19, 0, 0}
)

const (
	tunName  = "sink"
	tunQueue = 65536 // packets that wait while the peers read
	peerPort = 40000
)

// peerAddr is the address of peer i in a network: the sender is 0.
func peerAddr(network [4]byte, i int) netip.AddrPort {
	network[2], network[3] = byte((i+1)>>8), byte(i+1)
	return netip.AddrPortFrom(netip.AddrFrom4(network), peerPort)
}

// peerIndex is the inverse of peerAddr.
func peerIndex(low16 uint16) int { return int(low16) - 1 }

// What a device can do (linux/if_tun.h): complete checksums, and take runs of UDP
// datagrams apart.
const (
	tunChecksums   = 0x01
	tunSegmentUDP4 = 0x20
	tunSegmentUDP6 = 0x40 // comes with the other
)

// openTUN makes the device in the namespace of the process and returns the end
// that its peers hold. One that segments gets runs of datagrams whole, as network
// cards do that take them apart; for any other the kernel does it. It starts
// loopback, too, where Workers bind their pipes.
func openTUN(segments bool) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("opening the TUN driver: %w", err)
	}
	err = configureTUN(fd)
	if err == nil && segments {
		const all = tunChecksums | tunSegmentUDP4 | tunSegmentUDP6
		if err = unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, all); err != nil {
			err = fmt.Errorf("letting the TUN segment: %w", err) // before Linux 6.2
		}
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), tunName), nil
}

func configureTUN(fd int) error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	for _, step := range []struct {
		what string
		name string
		fd   int
		call uint
		set  func(*unix.Ifreq) error
	}{
		{"making the TUN", tunName, fd, unix.TUNSETIFF, func(r *unix.Ifreq) error { r.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR); return nil }},
		{"naming the TUN", tunName, s, unix.SIOCSIFADDR, func(r *unix.Ifreq) error { return r.SetInet4Addr(tunServer.AsSlice()) }},
		{"masking the TUN", tunName, s, unix.SIOCSIFNETMASK, func(r *unix.Ifreq) error { return r.SetInet4Addr(tunMask) }},
		{"lengthening the TUN", tunName, s, unix.SIOCSIFTXQLEN, func(r *unix.Ifreq) error { r.SetUint32(tunQueue); return nil }},
		{"starting the TUN", tunName, s, unix.SIOCSIFFLAGS, func(r *unix.Ifreq) error { r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING); return nil }},
		{"starting loopback", "lo", s, unix.SIOCSIFFLAGS, func(r *unix.Ifreq) error { r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING); return nil }},
	} {
		r, err := unix.NewIfreq(step.name)
		if err == nil {
			err = step.set(r)
		}
		if err == nil {
			err = unix.IoctlIfreq(step.fd, step.call, r)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return nil
}
