// Package driver moves packets between the kernel and one loop: it waits for
// sockets, hands over what they received in batches, and sends what the loop
// queued in as few calls as the system allows.
//
// There are three drivers behind one interface. On Linux [New] gives one on
// epoll, recvmmsg and sendmmsg with UDP segmentation offload; elsewhere, and
// with the build tag "portable", one on package net with a goroutine for each
// socket. Package simnet has a third one for tests, in virtual time.
//
// A loop uses its driver like this:
//
//	for !done {
//		runCommands()
//		timers.Advance(d.Now())
//		d.Flush()
//		d.Wait(timers.Next(), handler)
//	}
package driver

import (
	"net/netip"
	"time"

	"github.com/mafalda-sfu/mafalda/internal/tcp"
)

// A Driver waits for and moves packets for one loop. All methods but Wake are
// called by that loop only, also while Wait calls its [Handler].
type Driver interface {
	// Now returns the monotonic time since the driver was made.
	Now() time.Duration
	// Wait blocks until something came, Wake was called, or timeout passed
	// (< 0: never, 0: at once), then delivers what came to h. One call delivers
	// a budget of some 256 packets, so that timers are served under load. It
	// may return without having delivered anything. An error is final: the
	// driver can't wait any more.
	Wait(timeout time.Duration, h Handler) error
	// Wake makes the blocked Wait, or else the next one, return without
	// waiting. Any goroutine may call it, also after Close; it costs two atomic
	// operations while the loop is awake.
	Wake()
	// Flush sends everything that is queued on all sockets.
	Flush()
	// ListenUDP binds a UDP socket.
	ListenUDP(UDPConfig) (UDPSocket, error)
	// ListenTCP binds a TCP socket and listens on it.
	ListenTCP(TCPConfig) (TCPListener, error)
	// Stats returns what the driver counted since it was made.
	Stats() Stats
	// Close closes all sockets and waits for all goroutines of the driver. The
	// second call does nothing.
	Close() error
}

// UDPConfig says how to bind a UDP socket.
type UDPConfig struct {
	Addr       netip.AddrPort // port 0: any free one
	IPv6Only   bool           // no IPv4 on an IPv6 socket
	ReusePort  bool           // other sockets may bind the same port
	SendBuffer int            // bytes the kernel may queue; 0: its default
	RecvBuffer int
	// GRO lets the kernel hand over runs of datagrams at once where it can. The
	// first such socket takes 2 MiB for the driver: for shared ports.
	GRO bool
}

// TCPConfig says how to listen for TCP. The buffer sizes, in bytes, are those
// of the accepted connections; 0 is the system's default.
type TCPConfig struct {
	Addr       netip.AddrPort // port 0: any free one
	IPv6Only   bool           // no IPv4 on an IPv6 socket
	SendBuffer int
	RecvBuffer int
}

// A UDPSocket sends and receives datagrams.
type UDPSocket interface {
	// ID is unique within the driver's life and never 0.
	ID() uint64
	// LocalAddr is the bound address.
	LocalAddr() netip.AddrPort
	// Owner returns what SetOwner was given: the loop's object behind the
	// socket.
	Owner() any
	SetOwner(any)
	// Dest prepares addr for sending from this socket. Keep and reuse the
	// value. An address of the wrong family, or port 0, makes a Dest to which
	// everything is dropped and counted.
	Dest(addr netip.AddrPort) Dest
	// Reserve returns a slice of n bytes for the next Commit; its capacity is
	// its length. A later Reserve on any socket of the driver, Flush or Wait
	// ends its life. It sends what is queued when there is no room left.
	Reserve(n int) []byte
	// Commit queues the first n bytes of the last reservation to d; 0 queues
	// nothing. Runs of equal size to one destination, the last one may be
	// shorter, become one message to the kernel. The Dest may change
	// afterwards.
	Commit(d *Dest, n int)
	// Close sends what is queued and closes the socket: its port is free on
	// return, and no more is delivered from it. The second call does nothing.
	Close()
}

// A TCPListener accepts connections.
type TCPListener interface {
	// ID is unique within the driver's life and never 0.
	ID() uint64
	// LocalAddr is the bound address.
	LocalAddr() netip.AddrPort
	// Owner returns what SetOwner was given.
	Owner() any
	SetOwner(any)
	// Close stops listening. Accepted connections live on.
	Close()
}

// A TCPConn carries frames of 2 bytes of length and the payload (RFC 4571).
type TCPConn interface {
	// ID is unique within the driver's life and never 0.
	ID() uint64
	LocalAddr() netip.AddrPort
	RemoteAddr() netip.AddrPort
	// Owner returns what SetOwner was given.
	Owner() any
	SetOwner(any)
	// Send queues one frame; it copies payload. It reports false, and drops
	// the whole frame, when the queue is full, the payload is longer than
	// [MaxFrame] or empty, or the connection is dead.
	Send(payload []byte) bool
	// Close closes the connection after a last attempt to send what is queued.
	// Nothing more is delivered from it. The second call does nothing.
	Close()
}

// MaxFrame is the length of the longest payload of a TCP frame, in bytes: with
// its header it fits mediasoup's receive buffer of 64 KiB.
const MaxFrame = tcp.MaxPayload

// A Handler gets what [Driver.Wait] received. Addresses are never IPv4-mapped
// IPv6. Data is valid during the call, may be modified in place, and has at
// least [Headroom] bytes of capacity behind its length to write to.
//
// A Handler may close any socket, and the Driver's other methods but Wait and
// Close are free to use.
type Handler interface {
	HandleUDP(s UDPSocket, from netip.AddrPort, data []byte)
	// HandleTCPOpen tells of an accepted connection, before its first frame.
	HandleTCPOpen(l TCPListener, c TCPConn)
	HandleTCPFrame(c TCPConn, frame []byte)
	// HandleTCPClose tells that the peer or an error ended a connection. It
	// does not follow our own Close.
	HandleTCPClose(c TCPConn)
	// EndOfBatch follows each batch of one socket: at most 64 datagrams or
	// the frames of one read.
	EndOfBatch()
}

// An Expecter is a [Handler] that wants to know from whom something comes before
// it does, so that it can fetch what it needs for that meanwhile.
type Expecter interface {
	// Expect says that the next but [Ahead] thing that a socket delivers, a
	// datagram or a run of them, is from that address; the zero address says that
	// it is not known. A driver that can't look ahead never calls it.
	Expect(s UDPSocket, from netip.AddrPort)
}

// Ahead is how far an [Expecter] may look.
const Ahead = 6

// Headroom is how many bytes behind received data may be written to.
const Headroom = 128

// A Dest is an address prepared by [UDPSocket.Dest] for one socket. It is a
// value; the zero Dest is not valid.
type Dest struct {
	addr netip.AddrPort
	name sockaddr // as the system calls want it; zero length: not valid
}

// NewDest returns a Dest that only knows its address, for drivers that need no
// more.
func NewDest(addr netip.AddrPort) Dest { return Dest{addr: addr} }

// Addr returns the address that the Dest was made of.
func (d *Dest) Addr() netip.AddrPort { return d.addr }
