package engine

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/mafalda-sfu/mafalda/internal/driver"
	"github.com/mafalda-sfu/mafalda/internal/dtls"
)

// A virtualDriver has a clock that a test turns, and sockets that hand what
// was sent to it.
type virtualDriver struct {
	now   time.Duration
	ids   uint64
	bound map[netip.AddrPort]bool // UDP and TCP apart would need two; no test does
	udp   []*virtualUDP
	tcp   []*virtualListener
	onUDP func(s *virtualUDP, to netip.AddrPort, b []byte) // b is the callee's
}

func (d *virtualDriver) Now() time.Duration                       { return d.now }
func (d *virtualDriver) Wait(time.Duration, driver.Handler) error { return nil }
func (d *virtualDriver) Wake()                                    {}
func (d *virtualDriver) Flush()                                   {}
func (d *virtualDriver) Stats() driver.Stats                      { return driver.Stats{} }
func (d *virtualDriver) Close() error                             { return nil }

func (d *virtualDriver) bind(a netip.AddrPort) error {
	if d.bound[a] {
		return fmt.Errorf("%s is in use", a)
	}
	if d.bound == nil {
		d.bound = map[netip.AddrPort]bool{}
	}
	d.bound[a] = true
	d.ids++
	return nil
}

func (d *virtualDriver) ListenUDP(c driver.UDPConfig) (driver.UDPSocket, error) {
	if err := d.bind(c.Addr); err != nil {
		return nil, err
	}
	s := &virtualUDP{virtualSocket: virtualSocket{d: d, id: d.ids, local: c.Addr}, buf: make([]byte, 1<<17)}
	d.udp = append(d.udp, s)
	return s, nil
}

func (d *virtualDriver) ListenTCP(c driver.TCPConfig) (driver.TCPListener, error) {
	if err := d.bind(c.Addr); err != nil {
		return nil, err
	}
	l := &virtualListener{virtualSocket{d: d, id: d.ids, local: c.Addr}}
	d.tcp = append(d.tcp, l)
	return l, nil
}

type virtualSocket struct {
	d      *virtualDriver
	id     uint64
	local  netip.AddrPort
	owner  any
	closed bool
}

func (s *virtualSocket) ID() uint64                { return s.id }
func (s *virtualSocket) LocalAddr() netip.AddrPort { return s.local }
func (s *virtualSocket) Owner() any                { return s.owner }
func (s *virtualSocket) SetOwner(o any)            { s.owner = o }

func (s *virtualSocket) Close() {
	if !s.closed {
		s.closed = true
		delete(s.d.bound, s.local)
	}
}

type virtualUDP struct {
	virtualSocket
	buf []byte
}

func (s *virtualUDP) Dest(a netip.AddrPort) driver.Dest { return driver.NewDest(a) }
func (s *virtualUDP) Reserve(n int) []byte              { return s.buf[:n:n] }

func (s *virtualUDP) Commit(to *driver.Dest, n int) {
	if n > 0 && !s.closed && s.d.onUDP != nil {
		s.d.onUDP(s, to.Addr(), slices.Clone(s.buf[:n]))
	}
}

type virtualListener struct{ virtualSocket }

// A virtualConn is an accepted TCP connection.
type virtualConn struct {
	virtualSocket
	remote netip.AddrPort
	frames [][]byte // sent
}

func (c *virtualConn) RemoteAddr() netip.AddrPort { return c.remote }

func (c *virtualConn) Send(b []byte) bool {
	if c.closed {
		return false
	}
	c.frames = append(c.frames, slices.Clone(b))
	return true
}

// A virtualWorld is a Machine without a thread, turned by a test.
type virtualWorld struct {
	t     testing.TB
	d     *virtualDriver
	m     *Machine
	notes []Notification
	// posted is what other goroutines want done; a test that cares does it.
	posted chan func(*Machine)
	// onNote gets each notification; nil keeps them in notes.
	onNote func(Notification)
	batch  bool // datagrams wait for the end of a batch
}

func newVirtualWorld(t testing.TB) *virtualWorld {
	t.Helper()
	w := &virtualWorld{t: t, d: &virtualDriver{now: time.Second}, posted: make(chan func(*Machine), 1024)}
	w.m = newMachine(Config{
		Driver: w.d, Certificate: testCertificate(), Limiter: dtls.NewLimiter(0), RTCMinPort: 10000, RTCMaxPort: 59999,
	}, func(f func(*Machine)) bool {
		select {
		case w.posted <- f:
		default:
		}
		return true
	})
	return w
}

// advance lets time pass until to and serves the timers on the way.
func (w *virtualWorld) advance(to time.Duration) {
	for {
		at, ok := w.m.wheel.Next()
		if !ok || at >= to {
			break
		}
		w.turn(max(at, w.d.now))
	}
	w.turn(to)
}

// turn is one turn of the loop at a time.
func (w *virtualWorld) turn(at time.Duration) {
	w.d.now = at
	w.m.stale = true
	w.m.tick()
	w.m.receiveLanes()
	w.m.wheel.Advance(w.m.now)
	w.flush()
}

// flush ends a turn.
func (w *virtualWorld) flush() {
	w.m.flush()
	for _, n := range w.m.takeNotes() {
		if w.onNote != nil {
			w.onNote(n)
		} else {
			w.notes = append(w.notes, n)
		}
	}
}

// udp delivers a datagram.
func (w *virtualWorld) udp(s *virtualUDP, from netip.AddrPort, b []byte) {
	data := append(make([]byte, 0, len(b)+driver.Headroom), b...)
	w.m.HandleUDP(s, from, data)
	if w.batch {
		return
	}
	w.m.EndOfBatch()
	w.flush()
}

// together delivers the datagrams of f in one batch.
func (w *virtualWorld) together(f func()) {
	w.batch = true
	f()
	w.batch = false
	w.m.EndOfBatch()
	w.flush()
}

// accept opens a TCP connection to l.
func (w *virtualWorld) accept(l *virtualListener, from netip.AddrPort) *virtualConn {
	w.d.ids++
	c := &virtualConn{virtualSocket: virtualSocket{d: w.d, id: w.d.ids, local: l.local}, remote: from}
	w.m.HandleTCPOpen(l, c)
	w.flush()
	return c
}

// frame delivers a frame of c.
func (w *virtualWorld) frame(c *virtualConn, b []byte) {
	w.m.HandleTCPFrame(c, append(make([]byte, 0, len(b)+driver.Headroom), b...))
	w.m.EndOfBatch()
	w.flush()
}

// socket returns the UDP socket that is bound to a.
func (w *virtualWorld) socket(a netip.AddrPort) *virtualUDP {
	w.t.Helper()
	i := slices.IndexFunc(w.d.udp, func(s *virtualUDP) bool { return !s.closed && s.local == a })
	if i < 0 {
		w.t.Fatalf("no socket is bound to %s", a)
	}
	return w.d.udp[i]
}
