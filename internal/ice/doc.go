// Package ice is the ICE-lite side of a transport: it answers connectivity
// checks, remembers the transport addresses they come from, and says which of
// them is in use.
//
// An [Agent] is a machine without I/O, clock or goroutine. It gets STUN
// messages with the [Tuple] they came from, and gives replies and events. As a
// lite agent it never sends a check of its own and is always controlled (RFC
// 8445 §2.5); it follows mediasoup's IceServer in which tuple a check selects
// and when it counts as connected.
//
// The bytes of STUN messages are read and written by pion/stun.
package ice

import "net/netip"

// A Tuple is one path: the local socket and the remote address. Tuples are
// compared with ==, so equal paths must be described by equal values.
type Tuple struct {
	// Socket is the identity of the local UDP socket or TCP listener.
	Socket uint64
	// Conn is the identity of the accepted connection, 0 for UDP.
	Conn   uint64
	TCP    bool
	Remote netip.AddrPort
}

// A State is the state of an [Agent].
type State uint8

// The states, with the numbers of mediasoup's worker protocol.
const (
	Waiting      State = iota // "new": no check has selected a tuple
	Connected                 // a tuple is selected, none nominated
	Completed                 // the remote nominated a tuple
	Disconnected              // consent expired or the last TCP connection closed
)

// String returns mediasoup's name of the state.
func (s State) String() string {
	switch s {
	case Waiting:
		return "new"
	case Connected:
		return "connected"
	case Completed:
		return "completed"
	case Disconnected:
		return "disconnected"
	}
	return "unknown"
}

// An EventKind says what an [Event] reports.
type EventKind uint8

// The kinds of events.
const (
	// TupleAdded: packets of Tuple are ours from now on.
	TupleAdded EventKind = iota + 1
	// TupleRemoved: packets of Tuple are no longer ours; if it is a TCP
	// connection that is still open, close it.
	TupleRemoved
	// SelectedTuple: packets to the remote go to Tuple from now on.
	SelectedTuple
	// StateChanged: State is the new state.
	StateChanged
	// UfragReleased: checks for Ufrag, of credentials before a restart, are no
	// longer ours.
	UfragReleased
)

// String returns a name for logs.
func (k EventKind) String() string {
	switch k {
	case TupleAdded:
		return "added"
	case TupleRemoved:
		return "removed"
	case SelectedTuple:
		return "selected"
	case StateChanged:
		return "state"
	case UfragReleased:
		return "released"
	}
	return "unknown"
}

// An Event is something that a call of an [Agent] caused.
type Event struct {
	Kind  EventKind
	State State
	Tuple Tuple
	Ufrag string
}

// Counters count the STUN messages that an [Agent] got, by what became of them.
type Counters struct {
	Malformed     uint64 // dropped: not a valid message, or wrong FINGERPRINT
	Ignored       uint64 // dropped: indication or response
	BadRequests   uint64 // answered 400
	Unauthorized  uint64 // answered 401
	RoleConflicts uint64 // answered 487
	Accepted      uint64 // answered with success
}
