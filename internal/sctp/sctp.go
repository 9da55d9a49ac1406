// Package sctp carries data messages over SCTP (RFC 9260) for one transport,
// on pion/sctp.
//
// An [Association] has no socket: packets go in with Receive and come out
// through Config.Send, over DTLS or straight over UDP. It works in goroutines
// of its own, which it bounds together with its queues; its methods are called
// by one goroutine, the loop of a Worker, and never wait. What happens comes
// back to the loop through Config.Post.
//
// pion leaves open what this package adds: verification tags are checked;
// partial reliability of the peer can't stall its streams; what is queued, in
// either direction, is bounded; messages wait for the association; an id that
// was reset is not used again before the peer has reset it too; a peer that
// vanished is noticed; streams that nobody asked for are drained, and bounded
// in number; the buffered amount is what was not sent yet.
package sctp

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	psctp "github.com/pion/sctp"
)

// A State is a step in the life of an Association.
type State uint8

// The states. Failed and Closed are final: there is no reconnection.
const (
	Idle       State = iota // mediasoup's new: neither a packet nor Start came
	Connecting              // shaking hands
	Connected               // messages flow
	Failed                  // never connected, or lost, or its peer broke a limit
	Closed                  // ended by the peer
)

// String returns mediasoup's name of the state.
func (s State) String() string {
	switch s {
	case Idle:
		return "new"
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

// A Kind says what an [Event] is about.
type Kind uint8

const (
	// StateChanged: State is the new one, Err says why if it is Failed.
	StateChanged Kind = iota
	// Negotiated: MaxOutbound and MaxInbound are how many streams there may be
	// in each direction. It comes once, before Connected.
	Negotiated
	// Message: Data with PPID came on Stream.
	Message
	// StreamReset: the peer ended Stream in its direction, and that was no answer
	// to CloseOutbound. Only with Config.DataChannel.
	StreamReset
	// BufferedLow: what waits to be sent on Stream fell to the threshold;
	// Buffered is how much it is.
	BufferedLow
	// Relieved: after Crowded reported true, little waits to be sent again.
	Relieved
	// Unjammed: after Jammed reported true, half as much waits.
	Unjammed
)

// An Event is something that happened. What it refers to is the receiver's.
type Event struct {
	Kind                    Kind
	State                   State
	Err                     error
	MaxOutbound, MaxInbound uint16
	Stream                  uint16
	PPID                    uint32
	Data                    []byte
	Buffered                uint32 // bytes
}

// Errors of methods.
var (
	// ErrSendBufferFull: too much waits to be sent already, in bytes or in
	// messages.
	ErrSendBufferFull = errors.New("send buffer full")
	// ErrMessageTooLarge: more than Config.MaxSendMessageSize.
	ErrMessageTooLarge = errors.New("message too large")
	// ErrEmptyMessage: SCTP has no empty messages.
	ErrEmptyMessage = errors.New("empty message")
	// ErrClosed: the association failed or was closed, by whomever.
	ErrClosed = errors.New("association closed")
	// ErrNoStream: the stream was not opened.
	ErrNoStream = errors.New("stream not open")
	// ErrStreamInUse: the stream is open, or was reset by us and not by the
	// peer yet.
	ErrStreamInUse = errors.New("stream in use")
)

// Reasons of Failed.
var (
	// ErrVanished: nothing came from the peer for Config.Silence.
	ErrVanished = errors.New("peer vanished")
	// ErrWedged: the receive window is full, and no message complete.
	ErrWedged = errors.New("receive window full without a message")
	// ErrTooManyStreams: the peer used more than [MaxStrangers] streams that
	// nobody opened.
	ErrTooManyStreams = errors.New("too many inbound streams")
	// ErrHandshake: the peer did not answer.
	ErrHandshake = errors.New("handshake failed")
)

// A PanicError reports a panic on a goroutine of an Association. Its text is
// without the stack.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Defaults of a [Config], mediasoup's.
const (
	DefaultMessageSize    = 262144
	DefaultSendBufferSize = 2000000
	DefaultWindow         = 5242880
	DefaultLowThreshold   = 1024

	defaultHeartbeat = 30 * time.Second
	defaultSilence   = 5 * time.Minute
	defaultWedged    = 15 * time.Second
)

const (
	// MaxStrangers is how many inbound streams without OpenInbound there may be.
	MaxStrangers = 1024

	mtu = 1191 // bytes of a packet that we send

	// maxWaiting is how many messages may wait to be sent, of whatever size.
	maxWaiting = 1 << 16

	crowd        = DefaultSendBufferSize / 2 // bytes that wait to be sent, see Crowded
	jam          = 32 << 20                  // the same of Jammed
	patientLimit = 64 << 20                  // bytes that may wait, see SendPatiently
)

// Config says how an Association works. Post, Send and Handle are required;
// a zero elsewhere means the default.
type Config struct {
	// MaxSendMessageSize and MaxReceiveMessageSize, in bytes, are by default
	// [DefaultMessageSize]. A longer message that comes in is dropped.
	MaxSendMessageSize, MaxReceiveMessageSize uint32
	// SendBufferSize and PerStreamSendQueueLimit, in bytes, are by default
	// [DefaultSendBufferSize]: when that much waits, in all or on a stream, Send
	// refuses.
	SendBufferSize, PerStreamSendQueueLimit uint32
	// MaxReceiverWindowBufferSize, in bytes, is by default [DefaultWindow].
	MaxReceiverWindowBufferSize uint32
	// DataChannel says that the peer is a browser: streams end together in both
	// directions (RFC 8831 §6.7).
	DataChannel bool

	// Heartbeat is how long the peer may be silent before it is asked, and
	// between two questions; by default 30 s.
	Heartbeat time.Duration
	// Silence is how long it may be silent at all; by default 5 minutes.
	Silence time.Duration
	// Wedged is how long the receive window may be full while no message is
	// complete; by default 15 s.
	Wedged time.Duration

	// Post runs a function on the loop, soon. False means never: the loop ended.
	// It is called from any goroutine and must not wait.
	Post func(func()) bool
	// Send gets a packet for the peer, which becomes its own. Called on the loop.
	Send func(packet []byte)
	// Handle gets what happens, in order. Called on the loop, and may call the
	// methods of the Association. After Close it is not called any more.
	Handle func(Event)

	noInterleaving bool // a test's: DATA instead of I-DATA (RFC 8260)
}

func (c *Config) setDefaults() {
	for _, d := range []struct {
		field *uint32
		value uint32
	}{
		{&c.MaxSendMessageSize, DefaultMessageSize},
		{&c.MaxReceiveMessageSize, DefaultMessageSize},
		{&c.SendBufferSize, DefaultSendBufferSize},
		{&c.PerStreamSendQueueLimit, DefaultSendBufferSize},
		{&c.MaxReceiverWindowBufferSize, DefaultWindow},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.Heartbeat, defaultHeartbeat}, {&c.Silence, defaultSilence}, {&c.Wedged, defaultWedged},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
}

// An Association is SCTP with one peer, or the wait for it.
type Association struct {
	// Constant after New.
	cfg  Config
	box  *mailbox
	conn *conn
	done chan struct{} // closed at the end of run
	wake chan struct{} // capacity 1: the writer has something to do

	// Owned by the loop.
	state   State
	started bool
	closed  bool // by Close

	// Atomic.
	pion    atomic.Pointer[psctp.Association] // once connected
	busy    atomic.Int64
	dropped atomic.Uint64

	all sync.WaitGroup // readers and writer

	mu      sync.Mutex
	table   table     // guarded by mu
	wire    wire      // guarded by mu
	window  window    // guarded by mu
	heard   time.Time // guarded by mu; when the last packet came
	failure error     // guarded by mu; why we end it, nil if the peer did
	crowd   mark      // guarded by mu; see Crowded
	jam     mark      // guarded by mu; see Jammed
}

// New returns an Association that waits for a packet, or Start. It has no
// goroutine yet.
func New(cfg Config) *Association {
	cfg.setDefaults()
	a := &Association{
		cfg:    cfg,
		done:   make(chan struct{}),
		wake:   make(chan struct{}, 1),
		window: window{size: cfg.MaxReceiverWindowBufferSize},
		crowd:  mark{bytes: crowd, messages: maxWaiting / 4},
		jam:    mark{bytes: jam, messages: maxWaiting / 2},
	}
	a.table.init()
	a.box = newMailbox(cfg.Post, cfg.Send, a.handle, a.lost)
	a.conn = newConn(a)
	return a
}

// State returns the state as the loop knows it.
func (a *Association) State() State { return a.state }

// Start shakes hands with the peer, unless that has begun.
func (a *Association) Start() { a.start(false) }

func (a *Association) start(server bool) {
	if a.started || a.closed {
		return
	}
	a.started = true
	a.conn.open()
	a.setState(Connecting, nil)
	go a.run(server) // ends with the association
}

// Receive takes a packet of the peer, which it copies. The first INIT makes us
// the server of an association that was not started. False means that the
// packet was not taken: malformed, too early or late, or too many wait.
func (a *Association) Receive(packet []byte) bool {
	if a.closed || !looksValid(packet) {
		return false
	}
	if !a.started {
		if !isInit(packet) {
			return false
		}
		a.start(true)
	}
	return a.conn.put(packet)
}

// Close ends the association, if there is one with an ABORT to the peer, handed
// to Send at once. It does not wait; see Done.
func (a *Association) Close() {
	if a.closed {
		return
	}
	a.closed = true
	alive := a.state == Connected || a.state == Connecting
	if a.state != Idle {
		a.state = Closed
	}
	a.box.close()
	a.mu.Lock()
	abort := a.wire.abort()
	a.table.clear()
	a.mu.Unlock()
	if alive && abort != nil {
		a.cfg.Send(abort)
	}
	a.conn.Close()
	if !a.started {
		close(a.done)
	}
}

// Done returns a channel that is closed when the goroutines of the Association
// have ended: after Close, Failed or Closed. Of pion's some may have a last
// instruction to go.
func (a *Association) Done() <-chan struct{} { return a.done }

// Busy returns the time that other goroutines have computed for the
// Association. It is measured by the clock, so that waiting for a CPU counts.
func (a *Association) Busy() time.Duration { return time.Duration(a.busy.Load()) }

// Dropped counts messages that came in and were longer than allowed, or on a
// stream that nobody opened.
func (a *Association) Dropped() uint64 { return a.dropped.Load() }

// Suspend stops the delivery of messages: they wait, and with them the peer,
// whose window closes. A few that are under way still come. Resume ends it.
func (a *Association) Suspend() { a.box.suspend(true) }

// Resume lets messages come again.
func (a *Association) Resume() { a.box.suspend(false) }

// handle runs on the loop for each event that the mailbox brings.
func (a *Association) handle(e Event) {
	if a.closed {
		return
	}
	if e.Kind == StateChanged {
		a.setState(e.State, e.Err)
		return
	}
	a.cfg.Handle(e)
}

func (a *Association) setState(s State, err error) {
	if a.state == s {
		return
	}
	a.state = s
	if s == Failed || s == Closed {
		a.mu.Lock()
		a.table.clear()
		a.mu.Unlock()
	}
	a.cfg.Handle(Event{Kind: StateChanged, State: s, Err: err})
}

// lost is called when the loop has ended: nobody is there to tell.
func (a *Association) lost() { a.conn.Close() }

// fail ends the association for a reason of ours, and tells the peer. Called
// from any goroutine.
func (a *Association) fail(why error) {
	a.mu.Lock()
	first := a.failure == nil
	if first {
		a.failure = why
	}
	abort := a.wire.abort()
	a.mu.Unlock()
	if first && abort != nil {
		a.box.last(abort)
	}
	a.conn.Close()
}

func (a *Association) signal() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}
