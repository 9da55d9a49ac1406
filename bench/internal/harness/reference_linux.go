package harness

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

// A reference is the loop that the SFU is compared with: it decrypts each packet
// of a source, and for each receiver it seals a packet in place and sends it with
// one call. It knows nothing of RTP but where the numbers are.
type reference struct {
	addr   netip.AddrPort
	fd     int
	epoll  int
	thread int // of the loop

	sent   atomic.Uint64 // packets, since it began
	failed atomic.Uint64 // packets that the kernel refused
}

// A referenceRoute is where packets of one source go.
type referenceRoute struct {
	ssrc      uint32
	context   *srtp.Context
	receivers []referenceReceiver
}

type referenceReceiver struct {
	name    unix.RawSockaddrInet4
	context *srtp.Context
	ssrc    uint32
	seq     uint16
}

// referenceKey is the key of the packets from source i, or of those to sink i.
func referenceKey(s suite, i int, source bool) []byte {
	master := make([]byte, s.key+s.salt)
	binary.BigEndian.PutUint32(master, uint32(i))
	if source {
		master[4] = 1
	}
	return master
}

// newReferenceRoutes makes a route for each source, and so many receivers as it
// has sinks.
func newReferenceRoutes(s suite, network [4]byte, sources []sourceInfo, sinks []sinkInfo) ([]referenceRoute, error) {
	routes := make([]referenceRoute, len(sources))
	for i, info := range sources {
		c, err := s.context(referenceKey(s, i, true))
		if err != nil {
			return nil, err
		}
		routes[i] = referenceRoute{ssrc: info.Stream.SSRC, context: c}
	}
	for i, info := range sinks {
		c, err := s.context(referenceKey(s, i, false))
		if err != nil {
			return nil, err
		}
		a := peerAddr(network, info.Peer)
		x := referenceReceiver{context: c, ssrc: uint32(1000 + i)}
		x.name = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: a.Addr().As4()}
		binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&x.name.Port))[:], a.Port())
		route := &routes[info.Source]
		route.receivers = append(route.receivers, x)
	}
	return routes, nil
}

// startReference starts the loop. It ends with the process.
func startReference(server netip.Addr, routes []referenceRoute) (*reference, error) {
	r := &reference{}
	if err := r.open(server); err != nil {
		return nil, err
	}
	bySSRC := make(map[uint32]*referenceRoute, len(routes))
	for i := range routes {
		bySSRC[routes[i].ssrc] = &routes[i]
	}
	started := make(chan int)
	go r.run(bySSRC, started)
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

// run forwards media and drops what is none: feedback. It says first which
// thread it runs on.
func (r *reference) run(routes map[uint32]*referenceRoute, started chan<- int) {
	runtime.LockOSThread()
	started <- unix.Gettid()
	input := make([]byte, mtu)
	packet := make([]byte, 0, mtu)
	var header rtp.Header
	var events [1]unix.EpollEvent
	for {
		n, _, e := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(r.fd), uintptr(unsafe.Pointer(&input[0])), uintptr(len(input)), 0, 0, 0)
		if e != 0 {
			syscall.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(r.epoll), uintptr(unsafe.Pointer(&events[0])), 1, ^uintptr(0), 0, 0)
			continue
		}
		if n < rtpHeader || input[1] >= 192 && input[1] <= 223 {
			continue
		}
		route := routes[binary.BigEndian.Uint32(input[8:])]
		if route == nil {
			continue
		}
		plain, err := route.context.DecryptRTP(input[:0], input[:n], &header)
		if err != nil {
			r.failed.Add(1)
			continue
		}
		var failed uint64
		packet = append(packet[:0], plain...)
		for i := range route.receivers {
			c := &route.receivers[i]
			c.seq++
			binary.BigEndian.PutUint16(packet[2:], c.seq)
			binary.BigEndian.PutUint32(packet[8:], c.ssrc)
			out, err := c.context.EncryptRTP(packet[:0], packet, &header)
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
		r.sent.Add(uint64(len(route.receivers)))
	}
}

// ProcessCPU returns what this process has used.
func ProcessCPU() (time.Duration, error) { return clock(unix.CLOCK_PROCESS_CPUTIME_ID) }

// cpu returns what the process of the SFU has used.
func (r *Rig) cpu() (time.Duration, error) {
	if r.process != 0 {
		return clock(processClock(r.process))
	}
	return ProcessCPU()
}

// processClock is the clock of what a process uses, as clock_getcpuclockid
// makes it.
func processClock(process int) int32 { return int32(^process<<3 | scheduled) }

// scheduled is the kind of the clocks here: what the scheduler has counted.
const scheduled = 2

// threadClock is the clock of what a thread of this process uses, as
// pthread_getcpuclockid makes it.
func threadClock(thread int) int32 {
	const perThread = 4
	return int32(^thread<<3 | perThread | scheduled)
}

func clock(id int32) (time.Duration, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(id, &ts); err != nil {
		return 0, os.NewSyscallError("clock_gettime", err)
	}
	return time.Duration(ts.Nano()), nil
}
