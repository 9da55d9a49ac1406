//go:build linux && !portable

package driver

import (
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// States of an epoll driver's loop, for Wake.
const (
	awake  int32 = iota
	asleep       // in epoll_wait, or about to be
)

// epoll is the driver for Linux. What has its own deadline or count in the
// kernel blocks in Syscall, which gives the processor away to other goroutines;
// all else is RawSyscall, and as short as 64 messages: the garbage collector
// has to wait for it.
type epoll struct {
	// Constant after New.
	start time.Time
	fd    int // epoll
	event int // eventfd, edge-triggered, never read

	// Atomic.
	state  atomic.Int32
	woken  atomic.Bool
	wakers atomic.Int32 // in Wake, past woken

	// Owned by the loop.
	sources []slot // what the kernel may report, by index
	unused  []int32
	nextID  uint64
	evs     [128]unix.EpollEvent
	evAt    int // evs[evAt:evN] are still to be served
	evN     int
	busy    bool // the last Wait delivered something
	closed  bool
	stats   Stats

	tx        *sender
	rx        *receiver
	rxGRO     *receiver // nil until a socket wants it
	tcpBuf    []byte    // nil until there is a listener
	dirty     []*conn   // have frames to write
	failed    []*conn   // an error while writing: to be told by Wait
	spareFile int       // closed and opened again to refuse connections; -1: none
}

// A source is what epoll reports. Ready serves it: n counts packets, again
// says that there may be more at once.
type source interface {
	ready(events uint32, h Handler, room int) (n int, again bool)
	shut()
}

type slot struct {
	src source
	gen uint32 // low bits of the id: an event may outlive its socket
}

// New returns the driver for this system.
func New() (Driver, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	ev, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("eventfd", err)
	}
	d := &epoll{start: time.Now(), fd: fd, event: ev, spareFile: -1, tx: newSender(), rx: newReceiver(false)}
	d.tx.d, d.tx.stats = d, &d.stats
	err = unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, ev, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: -1})
	if err != nil {
		unix.Close(fd)
		unix.Close(ev)
		return nil, os.NewSyscallError("epoll_ctl", err)
	}
	return d, nil
}

// Now implements [Driver].
func (d *epoll) Now() time.Duration { return time.Since(d.start) }

// Stats implements [Driver].
func (d *epoll) Stats() Stats { return d.stats }

// Wake implements [Driver]. The first Wake after a Wait does the work, the
// others see that it was done.
func (d *epoll) Wake() {
	if d.woken.Swap(true) {
		return
	}
	d.wakers.Add(1) // Close waits for those that may write
	if d.state.CompareAndSwap(asleep, awake) {
		one := uint64(1)
		syscall.RawSyscall(unix.SYS_WRITE, uintptr(d.event), uintptr(unsafe.Pointer(&one)), 8)
	}
	d.wakers.Add(-1)
}

// Wait implements [Driver].
func (d *epoll) Wait(timeout time.Duration, h Handler) error {
	if d.closed {
		return errClosed
	}
	left := budget
	if len(d.failed) > 0 {
		timeout = 0
		left -= d.tellFailed(h)
	}
	if d.evAt == d.evN {
		if err := d.poll(timeout); err != nil {
			return err
		}
	}
	for d.evAt < d.evN && left > 0 && !d.closed {
		ev := &d.evs[d.evAt]
		if ev.Fd < 0 {
			d.stats.Wakes++
			d.evAt++
			continue
		}
		s := d.sources[ev.Fd]
		if s.src == nil || s.gen != uint32(ev.Pad) {
			d.evAt++
			continue
		}
		n, again := s.src.ready(ev.Events, h, left)
		left -= max(n, 1)
		if !again {
			d.evAt++
		}
	}
	d.busy = left < budget
	// What was posted before this is seen by the loop after it.
	d.woken.Store(false)
	return nil
}

// poll fills evs. Right after a busy turn more is likely to be there already,
// so it looks before it sleeps.
func (d *epoll) poll(timeout time.Duration) error {
	d.evAt, d.evN = 0, 0
	if timeout == 0 || d.busy || d.woken.Load() {
		n, e := d.epollWait(0)
		if e != 0 && e != unix.EINTR {
			return os.NewSyscallError("epoll_wait", e)
		}
		d.evN = n
		if timeout == 0 || n > 0 {
			return nil
		}
	}
	ms := -1
	if timeout > 0 { // rounded up: no deadline is reached early
		ms = int(min((timeout+time.Millisecond-1)/time.Millisecond, 1<<30))
	}
	d.state.Store(asleep)
	if d.woken.Load() {
		d.state.Store(awake)
		return nil
	}
	n, e := d.epollWait(ms)
	d.state.Store(awake)
	if e != 0 && e != unix.EINTR { // EINTR: the runtime's preemption signal
		return os.NewSyscallError("epoll_wait", e)
	}
	d.evN = n
	return nil
}

func (d *epoll) epollWait(ms int) (int, syscall.Errno) {
	d.stats.Waits++
	var n uintptr
	var e syscall.Errno
	if ms == 0 {
		n, _, e = syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(d.fd), uintptr(unsafe.Pointer(&d.evs[0])),
			uintptr(len(d.evs)), 0, 0, 0)
	} else {
		n, _, e = syscall.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(d.fd), uintptr(unsafe.Pointer(&d.evs[0])),
			uintptr(len(d.evs)), uintptr(ms), 0, 0)
	}
	if e != 0 {
		return 0, e
	}
	return int(n), 0
}

// Flush implements [Driver].
func (d *epoll) Flush() {
	d.tx.flush()
	for i, c := range d.dirty {
		d.dirty[i] = nil
		c.dirty = false
		c.write()
	}
	d.dirty = d.dirty[:0]
}

// add registers fd and returns the new id and the index in sources.
func (d *epoll) add(fd int, events uint32, src source) (id uint64, index int32, err error) {
	d.nextID++
	id = d.nextID
	if n := len(d.unused); n > 0 {
		index = d.unused[n-1]
	} else {
		index = int32(len(d.sources))
	}
	ev := unix.EpollEvent{Events: events, Fd: index, Pad: int32(uint32(id))}
	if err := unix.EpollCtl(d.fd, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		return 0, 0, os.NewSyscallError("epoll_ctl", err)
	}
	if n := len(d.unused); n > 0 {
		d.unused = d.unused[:n-1]
	} else {
		d.sources = append(d.sources, slot{})
	}
	d.sources[index] = slot{src: src, gen: uint32(id)}
	return id, index, nil
}

// remove closes fd, which leaves epoll by that, and frees its index.
func (d *epoll) remove(fd int, index int32) {
	unix.Close(fd)
	d.sources[index] = slot{}
	d.unused = append(d.unused, index)
}

// Close implements [Driver].
func (d *epoll) Close() error {
	if d.closed {
		return nil
	}
	d.Flush()
	for _, s := range d.sources {
		if s.src != nil {
			s.src.shut()
		}
	}
	d.closed = true
	d.woken.Store(true) // no Wake goes further than this
	for d.wakers.Load() != 0 {
		syscall.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
	}
	if d.spareFile >= 0 {
		unix.Close(d.spareFile)
	}
	unix.Close(d.event)
	return os.NewSyscallError("close", unix.Close(d.fd))
}
