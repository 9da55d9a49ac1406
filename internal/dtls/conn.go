// Package dtls runs DTLS 1.2 handshakes for SRTP keys (RFC 5764) and carries
// application data, on pion/dtls.
//
// A [Conn] has no socket: datagrams go in with Feed and come out through
// Config.Send. It works in goroutines of its own; all of its methods may be
// called from anywhere and, but for Wait, return without waiting for the
// network or the handshake.
//
// Pion shakes hands. Then the Conn seals and opens records itself, with pion's
// ciphers, so that one which has nothing to do is no goroutine and some 4 KiB.
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
	// ErrTooLong means that data does not fit into a record.
	ErrTooLong = errors.New("more than 16384 bytes for one dtls record")
)

// A PanicError reports a panic on a goroutine of a Conn, or in a function that
// it called. Its text is without the stack.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

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
	// overlap. After Close it gets at most what was being sent already and, if
	// the Conn was connected, a close_notify.
	Send func(datagram []byte)
	// Event gets what happens, in order; calls don't overlap. No call begins
	// after Close but one that was about to, so the receiver discards what
	// comes of a Conn that it closed.
	//
	// Event may call the methods of the Conn except Wait, Send may call Close
	// only. Both are called from goroutines of the Conn, Send from those that
	// Write too; they must not block, and are not called after Wait returned.
	Event func(Event)
}

// A Conn is one end of a DTLS association, or its attempt. Its methods are
// safe for concurrent use.
//
// It has one goroutine at a time (see run) beside those of pion, which end with
// the handshake: from Start until it is connected, and later whenever something
// was fed, or it is to end, until that is done.
type Conn struct {
	// Constant after Start.
	cfg    Config
	role   Role
	pipe   *pipe // of the handshake
	turn   *turn
	ctx    context.Context // of the handshake: ends when closing or timed out
	cancel context.CancelFunc
	awake  chan struct{} // closed by the first Feed
	done   chan struct{} // closed at the end

	wake     sync.Once
	busy     atomic.Int64
	session  atomic.Pointer[session] // when connected
	closing  atomic.Bool
	timedOut atomic.Bool
	panicked atomic.Pointer[PanicError]

	timer atomic.Pointer[time.Timer]

	mu      sync.Mutex
	inbox   queue // guarded by mu; for the session
	running bool  // guarded by mu; a goroutine will look at inbox, closing and panicked
	over    bool  // guarded by mu; nothing is taken any more
}

// maxEarly is how much is kept for the session before there is one, in bytes.
const maxEarly = 64 << 10

// Start returns a Conn that begins to shake hands: a Client at once, a Server
// at the first datagram. Until then it is one goroutine.
func Start(cfg Config, role Role) *Conn {
	if cfg.Suites == nil {
		cfg.Suites = srtp.Suites()
	}
	c := &Conn{
		cfg:     cfg,
		role:    role,
		awake:   make(chan struct{}),
		done:    make(chan struct{}),
		running: true,
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.turn = &turn{limiter: cfg.Limiter, busy: &c.busy}
	c.pipe = newPipe(cfg.Send, c.heard, c.caught, c.closing.Load, c.turn)
	go c.run(c.live) // ends by itself when connected or failed, or by Close
	return c
}

// Feed gives a datagram of the peer to the Conn, which copies it. It returns
// false when nothing of it was taken: malformed, dangerous in clear (see
// shaking and established), too long, too much is waiting already, or the Conn
// has ended.
func (c *Conn) Feed(datagram []byte) bool {
	if len(datagram) > maxDatagram || c.closing.Load() {
		return false
	}
	if c.session.Load() != nil {
		return c.put(admit(datagram, established), maxQueuedBytes)
	}
	kept := c.put(admit(datagram, early), maxEarly)
	if c.pipe.put(admit(datagram, shaking)) {
		c.wake.Do(func() { close(c.awake) })
		return true
	}
	return kept
}

// put queues records for the session, most bytes at most.
func (c *Conn) put(records []byte, most int) bool {
	if len(records) == 0 {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over || c.inbox.bytes+len(records) > most || !c.inbox.put(records) {
		return false
	}
	c.runLocked()
	return true
}

// Write sends application data in one record. Errors: [ErrNotConnected],
// [ErrTooLong].
func (c *Conn) Write(data []byte) error {
	s := c.session.Load()
	if s == nil || c.closing.Load() {
		return ErrNotConnected
	}
	return s.write(data)
}

// Close ends the Conn. It returns at once; a connected one hands a
// close_notify to Send a little later, any other one sends nothing.
func (c *Conn) Close() {
	if c.closing.Swap(true) {
		return
	}
	c.end()
}

// end makes run see that closing or panicked is set.
func (c *Conn) end() {
	c.cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.runLocked()
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
	c.end()
}

// runLocked makes sure that a goroutine runs, unless the Conn has ended.
func (c *Conn) runLocked() {
	if !c.running {
		c.running = true
		go c.run(c.serve) // ends by itself when nothing is left to do
	}
}

// run does some of the work, and the rest too if that is over. It alone calls
// Event, and never runs twice at a time.
func (c *Conn) run(work func() (over bool)) {
	over := true // if it panics
	err := c.guard(func() { over = work() })
	if !over {
		return
	}
	defer close(c.done)
	if e := c.guard(c.release); e != nil {
		err = e
	}
	if p := c.panicked.Load(); p != nil {
		err = p
	}
	if err != nil {
		// A second panic, in Event, is not caught: nobody could be told.
		c.cfg.Event(Event{State: Failed, Err: err})
	}
}

// guard returns what f panicked with.
func (c *Conn) guard(f func()) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{v, debug.Stack()}
		}
	}()
	f()
	return nil
}

// live is what run does first.
func (c *Conn) live() (over bool) {
	c.emit(Event{State: Connecting})
	connected, err := c.handshake()
	if err == nil {
		c.emit(connected)
		return c.serve()
	}
	if c.timedOut.Load() {
		err = ErrTimeout
	}
	if c.panicked.Load() == nil {
		c.emit(Event{State: Failed, Err: err})
	}
	return true
}

func (c *Conn) emit(e Event) {
	if !c.closing.Load() {
		c.cfg.Event(e)
	}
}

// serve reads what was fed to a connected Conn. It reports whether the
// connection has ended.
func (c *Conn) serve() (over bool) {
	for {
		rest, over := c.next()
		if rest == nil {
			return over
		}
		for {
			record, after, ok := cut(rest)
			if !ok {
				break
			}
			if c.take(record) {
				if c.panicked.Load() == nil {
					c.emit(Event{State: Closed})
				}
				return true
			}
			rest = after
		}
	}
}

// next returns the next of inbox. If that is nil, run must return.
func (c *Conn) next() (b []byte, over bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing.Load() || c.panicked.Load() != nil {
		return nil, true
	}
	b = c.inbox.take()
	c.running = b != nil
	return b, false
}

// take handles a record of the peer, and reports whether it was the last.
func (c *Conn) take(record []byte) (last bool) {
	s := c.session.Load()
	kind, body := s.open(record)
	switch kind {
	case typeApplicationData:
		if len(body) > 0 {
			c.emit(Event{Data: body[:len(body):len(body)]})
		}
	case typeHandshake:
		if isFinished(body) {
			s.repeat()
		}
	case typeAlert:
		var closeNotify bool
		if last, closeNotify = isLast(body); last {
			s.end(closeNotify) // which is answered
		}
	}
	return last
}

// release ends what of the Conn is left. A connected one that the peer did not
// end sends close_notify.
func (c *Conn) release() {
	c.mu.Lock()
	c.over, c.inbox = true, queue{}
	c.mu.Unlock()
	c.cancel()
	_ = c.pipe.Close() // if it came to no handshake
	if s := c.session.Load(); s != nil {
		s.end(true)
	}
}
