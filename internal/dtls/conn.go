// Package dtls runs DTLS 1.2 handshakes for SRTP keys (RFC 5764) and carries
// application data, on pion/dtls.
//
// A [Conn] has no socket: datagrams go in with Feed and come out through
// Config.Send. It works in goroutines of its own; all of its methods may be
// called from anywhere and, but for Wait, return without waiting for the
// network or the handshake.
//
// The peer must present a certificate. Whose it is, is for the caller to check
// after the handshake, with [Match]: a fingerprint may come later.
//
// Unlike mediasoup, DTLS 1.0 is refused (pion has none), the retransmission
// interval may grow above four seconds, and a handshake that goes on for
// [HandshakeTimeout] fails.
package dtls

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	pdtls "github.com/pion/dtls/v3"

	"github.com/mafalda-sfu/mafalda/internal/srtp"
)

// HandshakeTimeout is how long a handshake may last, counted from the peer's
// first datagram. A Conn that heard nothing waits without a bound: its
// transport is there, and so may the peer be soon.
const HandshakeTimeout = 30 * time.Second

// A Role is an end of a handshake.
type Role uint8

// The roles: a Server waits for a hello, a Client sends one.
const (
	Server Role = iota
	Client
)

// A State is a step in the life of a Conn.
type State uint8

// The states. A Conn is Connecting first, then Connected and Closed or Failed,
// or Failed at once; each of them is reported once. Failed and Closed are
// final. A Conn on which Close was called reports nothing more, with one
// exception: a panic.
const (
	NoState    State = iota // not a change: an Event with Data
	Connecting              // Start
	Connected               // handshake finished, keys exported
	Failed                  // error before Connected, or a panic at any time
	Closed                  // close_notify or fatal alert after Connected
)

func (s State) String() string {
	switch s {
	case NoState:
		return "none"
	case Connecting:
		return "connecting"
	case Connected:
		return "connected"
	case Failed:
		return "failed"
	case Closed:
		return "closed"
	}
	return "unknown"
}

// Errors of Events and methods.
var (
	// ErrNoSRTP means that no SRTP suite was agreed on.
	ErrNoSRTP = errors.New("no srtp suite negotiated")
	// ErrNoCertificate means that the peer presented none.
	ErrNoCertificate = errors.New("no peer certificate")
	// ErrTimeout means that the handshake took longer than HandshakeTimeout.
	ErrTimeout = errors.New("dtls handshake timed out")
	// ErrNotConnected means that there is no connection, yet or any more.
	ErrNotConnected = errors.New("dtls not connected")
)

// A PanicError reports a panic on a goroutine of a Conn, or in a function that
// it called.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v\n\n%s", e.Value, e.Stack) }

// Keys are what a handshake yields for SRTP, split by role (RFC 5764 §4.2).
type Keys struct {
	Suite srtp.Suite
	// LocalMaster protects what we send, RemoteMaster what we receive: key and
	// salt, one after the other.
	LocalMaster, RemoteMaster []byte
}

// An Event is a change of state or a message from the peer. All it holds is
// the receiver's.
type Event struct {
	State State
	// Keys, RemoteCertificate (DER) and RemotePEM come with Connected.
	Keys              *Keys
	RemoteCertificate []byte
	RemotePEM         string
	// Err comes with Failed.
	Err error
	// Data is application data and comes with NoState.
	Data []byte
}

// Config says how a Conn works. Certificate, Send and Event are required.
type Config struct {
	Certificate *Certificate
	// Limiter is shared by all Conns; nil means no limit.
	Limiter *Limiter
	// Suites in order of preference; nil means [srtp.Suites].
	Suites []srtp.Suite

	// Send gets a datagram for the peer, which becomes its own. Calls don't
	// overlap. After Close it gets at most a close_notify, and that only if
	// the Conn was connected.
	Send func(datagram []byte)
	// Event gets what happens, in order; calls don't overlap. No call begins
	// after Close but one that was about to, so the receiver discards what
	// comes of a Conn that it closed.
	//
	// Event may call the methods of the Conn except Wait, Send may call Close
	// only. Both are called from goroutines of the Conn, must not block, and
	// are not called after Wait returned.
	Event func(Event)
}

// A Conn is one end of a DTLS association, or its attempt. Its methods are
// safe for concurrent use.
type Conn struct {
	// Constant after Start.
	cfg    Config
	role   Role
	pipe   *pipe
	turn   *turn
	ctx    context.Context // ends when closing or timed out
	cancel context.CancelFunc
	awake  chan struct{} // closed by the first Feed
	done   chan struct{} // closed at the end of run

	wake     sync.Once
	busy     atomic.Int64
	pion     atomic.Pointer[pdtls.Conn]
	closing  atomic.Bool
	ready    atomic.Bool // connected
	timedOut atomic.Bool
	panicked atomic.Pointer[PanicError]

	timer atomic.Pointer[time.Timer]
}

// Start returns a Conn that begins to shake hands: a Client at once, a Server
// at the first datagram. Until then it is one goroutine.
func Start(cfg Config, role Role) *Conn {
	if cfg.Suites == nil {
		cfg.Suites = srtp.Suites()
	}
	c := &Conn{
		cfg:   cfg,
		role:  role,
		awake: make(chan struct{}),
		done:  make(chan struct{}),
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.turn = &turn{limiter: cfg.Limiter, busy: &c.busy}
	mute := func() bool { return c.closing.Load() && !c.ready.Load() }
	c.pipe = newPipe(cfg.Send, c.heard, c.caught, mute, c.turn)
	go c.run() // ends by itself after the last state, or by Close
	return c
}

// Feed gives a datagram of the peer to the Conn, which copies it. It returns
// false when nothing of it was taken: malformed, dangerous in clear (see
// admit), too long, too much is waiting already, or the Conn has ended.
func (c *Conn) Feed(datagram []byte) bool {
	if len(datagram) > maxDatagram || c.closing.Load() {
		return false
	}
	b := admit(make([]byte, 0, len(datagram)), datagram, c.ready.Load())
	if len(b) == 0 {
		return false
	}
	select {
	case <-c.pipe.done:
		return false
	default:
	}
	if !c.pipe.put(b) {
		return false
	}
	c.wake.Do(func() { close(c.awake) })
	return true
}

// Write sends application data in one record. Errors: [ErrNotConnected].
func (c *Conn) Write(data []byte) error {
	p := c.pion.Load()
	if p == nil || !c.ready.Load() || c.closing.Load() {
		return ErrNotConnected
	}
	if _, err := p.Write(data); err != nil {
		return fmt.Errorf("%w: %w", ErrNotConnected, err)
	}
	return nil
}

// Close ends the Conn. It returns at once; a connected one hands a
// close_notify to Send a little later, any other one sends nothing.
func (c *Conn) Close() {
	if c.closing.Swap(true) {
		return
	}
	c.cancel()
	if p := c.pion.Load(); p != nil {
		_ = p.SetReadDeadline(time.Unix(1, 0)) // wakes run
	}
}

// Wait waits until the Conn has ended: after Close, Failed or Closed. Of pion's
// goroutines some may have a last instruction to go.
func (c *Conn) Wait() { <-c.done }

// Done returns a channel that is closed when Wait would return. All calls of
// Send, that with the close_notify too, have returned by then.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Busy returns the time that the handshake has computed. It is measured by the
// clock, so that waiting for a CPU counts too.
func (c *Conn) Busy() time.Duration { return time.Duration(c.busy.Load()) }

// heard is called at the peer's first datagram.
func (c *Conn) heard() {
	c.timer.Store(time.AfterFunc(HandshakeTimeout, func() {
		c.timedOut.Store(true)
		c.cancel()
	}))
}

// caught notes a panic outside run and wakes run to report it.
func (c *Conn) caught(v any) {
	c.panicked.CompareAndSwap(nil, &PanicError{v, debug.Stack()})
	c.cancel()
	if p := c.pion.Load(); p != nil {
		_ = p.SetReadDeadline(time.Unix(1, 0))
	}
}

// run lives as long as the Conn does. It alone calls Event.
func (c *Conn) run() {
	defer close(c.done)
	err := c.guard(c.live)
	if e := c.guard(c.release); e != nil {
		err = e
	}
	if p := c.panicked.Load(); p != nil {
		err = p
	}
	if _, isPanic := errors.AsType[*PanicError](err); isPanic {
		// A second panic, in Event, is not caught: nobody could be told.
		c.cfg.Event(Event{State: Failed, Err: err})
	}
}

// guard turns a panic of f into an error.
func (c *Conn) guard(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{v, debug.Stack()}
		}
	}()
	return f()
}

// live is what run does until the end, which it reports.
func (c *Conn) live() error {
	c.emit(Event{State: Connecting})
	connected, err := c.handshake()
	if err == nil {
		c.emit(connected)
		err = c.receive()
		if c.panicked.Load() == nil {
			c.emit(Event{State: Closed})
		}
		return err
	}
	if c.timedOut.Load() {
		err = ErrTimeout
	}
	if c.panicked.Load() == nil {
		c.emit(Event{State: Failed, Err: err})
	}
	return err
}

func (c *Conn) emit(e Event) {
	if !c.closing.Load() {
		c.cfg.Event(e)
	}
}

// receive reads until the connection ends.
func (c *Conn) receive() error {
	p, buf := c.pion.Load(), make([]byte, maxDatagram)
	for {
		if c.closing.Load() || c.panicked.Load() != nil {
			return nil
		}
		n, err := p.Read(buf)
		switch {
		case err == nil:
			c.emit(Event{Data: append([]byte(nil), buf[:n]...)})
		case ended(err):
			return nil
		}
		// Anything else is the fault of one record.
	}
}

// release ends pion's goroutines and Send.
func (c *Conn) release() error {
	if t := c.timer.Load(); t != nil {
		t.Stop()
	}
	if p := c.pion.Load(); p != nil {
		_ = p.Close() // sends close_notify if connected
	}
	_ = c.pipe.Close()
	c.cancel()
	c.turn.give()
	c.pipe.silence()
	return nil
}
