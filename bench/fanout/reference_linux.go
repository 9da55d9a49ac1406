package main

import (
	"encoding/binary"
	"net/netip"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
	"golang.org/x/sys/unix"
)

// A reference is the loop that the SFU is compared with: for each packet of the
// sender and each receiver it seals a packet in place and sends it with one
// call. It knows nothing of RTP but where the numbers are.
type reference struct {
	addr   netip.AddrPort
	fd     int
	epoll  int
	thread int // of the loop

	sent   atomic.Uint64 // packets, since it began
	failed atomic.Uint64 // packets that the kernel refused
}

type referenceReceiver struct {
	name    unix.RawSockaddrInet4
	context *srtp.Context
	ssrc    uint32
	seq     uint16
}

// startReference starts the loop; length is that of a packet before it is
// sealed. It ends with the process.
func startReference(o *options, server netip.Addr, network [4]byte, length int) (*reference, error) {
	s := suites[o.Suite]
	r := &reference{}
	receivers := make([]referenceReceiver, o.Consumers)
	for i := range receivers {
		master := make([]byte, s.key+s.salt)
		binary.BigEndian.PutUint32(master, uint32(i))
		c, err := s.context(master)
		if err != nil {
			return nil, err
		}
		a := peerAddr(network, i+1)
		x := &receivers[i]
		x.context, x.ssrc = c, uint32(1000+i)
		x.name = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: a.Addr().As4()}
		binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&x.name.Port))[:], a.Port())
	}
	if err := r.open(server); err != nil {
		return nil, err
	}
	started := make(chan int)
	go r.run(receivers, o.Size+s.overhead, length, started)
	r.thread = <-started
	return r, nil
}

// cpu returns what the loop has used.
func (r *reference) cpu() (time.Duration, error) { return clock(threadClock(r.thread)) }

func (r *reference) open(server netip.Addr) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	r.fd = fd
	// As the SFU's sockets have it.
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, socketBuffer)
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, socketBuffer)
	unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: server.As4()}); err != nil {
		return err
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return err
	}
	r.addr = netip.AddrPortFrom(server, uint16(name.(*unix.SockaddrInet4).Port))
	if r.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	return unix.EpollCtl(r.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN})
}

// run forwards packets of in bytes or more, as packets of the given length
// before they are sealed, and drops what is shorter: feedback. It says first
// which thread it runs on.
func (r *reference) run(receivers []referenceReceiver, in, length int, started chan<- int) {
	runtime.LockOSThread()
	started <- unix.Gettid()
	input := make([]byte, mtu)
	packet := make([]byte, length, length+32)
	packet[0], packet[1] = 0x80, 101
	var header rtp.Header
	var events [1]unix.EpollEvent
	for {
		n, _, e := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(r.fd), uintptr(unsafe.Pointer(&input[0])), uintptr(len(input)), 0, 0, 0)
		if e != 0 {
			syscall.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(r.epoll), uintptr(unsafe.Pointer(&events[0])), 1, ^uintptr(0), 0, 0)
			continue
		}
		if int(n) < in || input[1] >= 192 && input[1] <= 223 {
			continue
		}
		copy(packet[2:8], input[2:8])
		var failed uint64
		for i := range receivers {
			c := &receivers[i]
			c.seq++
			binary.BigEndian.PutUint16(packet[2:], c.seq)
			binary.BigEndian.PutUint32(packet[8:], c.ssrc)
			out, err := c.context.EncryptRTP(packet[:0], packet[:length], &header)
			if err != nil {
				panic(err) // the keys are ours
			}
			_, _, e := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(r.fd), uintptr(unsafe.Pointer(&out[0])), uintptr(len(out)),
				0, uintptr(unsafe.Pointer(&c.name)), unix.SizeofSockaddrInet4)
			if e != 0 {
				failed++
			}
		}
		r.failed.Add(failed)
		r.sent.Add(uint64(len(receivers)))
	}
}

// processCPU returns what this process has used.
func processCPU() (time.Duration, error) { return clock(unix.CLOCK_PROCESS_CPUTIME_ID) }

// threadClock is the clock of what a thread of this process uses, as
// pthread_getcpuclockid makes it.
func threadClock(thread int) int32 {
	const perThread, scheduled = 4, 2
	return int32(^thread<<3 | perThread | scheduled)
}

func clock(id int32) (time.Duration, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(id, &ts); err != nil {
		return 0, os.NewSyscallError("clock_gettime", err)
	}
	return time.Duration(ts.Nano()), nil
}
