package mafalda

import (
	"context"
	"time"
)

// A CounterReporter is a Worker that counts what its loop and its sockets do,
// beyond what the statistics of the single objects tell. Ask with a type
// assertion; a Worker without it has nothing to fall back on.
type CounterReporter interface {
	// Counters returns what was counted since the Worker began.
	// Errors: [ErrWorkerClosed], or the error of ctx.
	Counters(ctx context.Context) (Counters, error)
}

// Counters count what a Worker did. They only grow; the
// difference of two readings is [Counters.Since].
type Counters struct {
	// PacketsReceived and PacketsSent count datagrams and TCP frames of every
	// kind, STUN and DTLS included. Bytes are those of their payload.
	PacketsReceived uint64 `json:"packetsReceived"`
	BytesReceived   uint64 `json:"bytesReceived"`
	PacketsSent     uint64 `json:"packetsSent"`
	BytesSent       uint64 `json:"bytesSent"`
	// RTPPacketsSent count what Consumers sent over the network, retransmissions
	// included; RTPBytesSent are the bytes of these, with those of SRTP.
	RTPPacketsSent uint64 `json:"rtpPacketsSent"`
	RTPBytesSent   uint64 `json:"rtpBytesSent"`

	// ReceiveCalls and SendCalls are system calls that move packets, WaitCalls
	// those that wait or poll for them.
	ReceiveCalls uint64 `json:"receiveCalls"`
	SendCalls    uint64 `json:"sendCalls"`
	WaitCalls    uint64 `json:"waitCalls"`
	// Wakes are the times that a call of the API woke the loop from sleep.
	Wakes uint64 `json:"wakes"`

	// GSOMessages are runs of datagrams that were handed to the kernel as one
	// message, and GSOSegments the datagrams in them. GRO is the same for what
	// was received.
	GSOMessages uint64 `json:"gsoMessages"`
	GSOSegments uint64 `json:"gsoSegments"`
	GROMessages uint64 `json:"groMessages"`
	GROSegments uint64 `json:"groSegments"`

	// Drops has what was dropped, by reason; no reason is missing.
	Drops map[DropReason]uint64 `json:"drops"`

	// Turns of the loop: one waits, reads a batch, forwards it and sends.
	Turns uint64 `json:"turns"`
	// TurnLengths is a histogram of them, shortest first.
	TurnLengths []TurnLength `json:"turnLengths"`
	// MaxTurn is the longest since the Worker began.
	MaxTurn time.Duration `json:"maxTurn"`
}

// TurnLength counts turns of a loop that took less than Below, and not less
// than the Below of the entry before. The last entry has the rest; its Below
// is 0.
type TurnLength struct {
	Below time.Duration `json:"below"`
	Turns uint64        `json:"turns"`
}

// A DropReason says why a Worker dropped a packet.
type DropReason string

// The reasons of a drop.
const (
	DropUnknownTuple  DropReason = "unknown-tuple"  // neither STUN nor from a known peer
	DropUnknownKind   DropReason = "unknown-kind"   // neither STUN, RTP, RTCP nor DTLS
	DropNotConnected  DropReason = "not-connected"  // media before the transport was connected
	DropSRTP          DropReason = "srtp"           // did not authenticate, was replayed, or could not be protected
	DropMalformed     DropReason = "malformed"      // RTP or RTCP that can't be parsed
	DropUnknownStream DropReason = "unknown-stream" // RTP of no Producer
	DropNoMemory      DropReason = "no-memory"      // the Worker's packet memory is full
	DropDTLS          DropReason = "dtls"           // DTLS records refused or not taken
	DropDirect        DropReason = "direct"         // RTP or RTCP handed in that could not be used
	DropSCTP          DropReason = "sctp"           // SCTP packets refused or not taken
	DropData          DropReason = "data"           // messages that are too large, or for which the send buffer is full
	DropPipe          DropReason = "pipe"           // to a Worker of this process that takes no more
	DropTooLarge      DropReason = "too-large"      // does not fit a datagram, in or out
	DropDestination   DropReason = "destination"    // to an address that its socket can't reach
	DropNoBuffer      DropReason = "no-buffer"      // the system's send buffer is full
	DropSendError     DropReason = "send-error"     // the system refused to send
	DropTCPQueue      DropReason = "tcp-queue"      // to a TCP connection that is slow or dead
	DropAccept        DropReason = "accept"         // TCP connections refused for want of files
)

// Since returns what was counted between the reading before and c. MaxTurn is
// that of c.
func (c Counters) Since(before Counters) Counters {
	c.PacketsReceived -= before.PacketsReceived
	c.BytesReceived -= before.BytesReceived
	c.PacketsSent -= before.PacketsSent
	c.BytesSent -= before.BytesSent
	c.RTPPacketsSent -= before.RTPPacketsSent
	c.RTPBytesSent -= before.RTPBytesSent
	c.ReceiveCalls -= before.ReceiveCalls
	c.SendCalls -= before.SendCalls
	c.WaitCalls -= before.WaitCalls
	c.Wakes -= before.Wakes
	c.GSOMessages -= before.GSOMessages
	c.GSOSegments -= before.GSOSegments
	c.GROMessages -= before.GROMessages
	c.GROSegments -= before.GROSegments
	drops := make(map[DropReason]uint64, len(c.Drops))
	for reason, n := range c.Drops {
		drops[reason] = n - before.Drops[reason]
	}
	c.Drops = drops
	c.Turns -= before.Turns
	lengths := make([]TurnLength, len(c.TurnLengths))
	for i, l := range c.TurnLengths {
		if i < len(before.TurnLengths) {
			l.Turns -= before.TurnLengths[i].Turns
		}
		lengths[i] = l
	}
	c.TurnLengths = lengths
	return c
}

// PacketsPerReceiveCall returns how many packets one receiving system call
// brought, 0 when there was none.
func (c Counters) PacketsPerReceiveCall() float64 { return ratio(c.PacketsReceived, c.ReceiveCalls) }

// PacketsPerSendCall returns how many packets one sending system call took, 0
// when there was none.
func (c Counters) PacketsPerSendCall() float64 { return ratio(c.PacketsSent, c.SendCalls) }

// Dropped returns the drops of all reasons.
func (c Counters) Dropped() uint64 {
	var n uint64
	for _, d := range c.Drops {
		n += d
	}
	return n
}

func ratio(a, b uint64) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}
