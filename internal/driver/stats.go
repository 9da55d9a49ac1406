package driver

import "math/bits"

// Stats is what a driver counted since it was made.
type Stats struct {
	Waits     uint64 // calls to the kernel that wait or poll
	Wakes     uint64 // of a sleeping loop, by Wake
	RecvCalls uint64 // receiving system calls
	SendCalls uint64 // sending system calls

	PacketsIn  uint64 // datagrams and frames delivered
	BytesIn    uint64
	PacketsOut uint64 // datagrams and frames given to the kernel
	BytesOut   uint64

	Messages    uint64 // UDP messages given to the kernel: a run is one
	GSOMessages uint64 // of these, runs of several datagrams
	GSOSegments uint64 // datagrams in these runs
	GSORefused  uint64 // sockets on which the kernel refused runs
	GRORuns     uint64 // received runs of several datagrams
	GROSegments uint64 // datagrams in these runs

	DropTruncated uint64 // received datagrams larger than [MaxDatagram]
	DropNoBuffer  uint64 // datagrams for which the kernel had no room
	DropDest      uint64 // datagrams to an invalid [Dest]
	DropTooLong   uint64 // datagrams that don't fit UDP
	DropSendError uint64 // datagrams that the kernel refused otherwise
	DropTCPQueue  uint64 // frames to a slow or dead connection
	DropAccept    uint64 // connections closed at once for want of files

	// Batch sizes: [0] 1, [1] 2–3, [2] 4–7, … [6] 64 datagrams or messages per
	// system call.
	RecvBatch [7]uint64
	SendBatch [7]uint64
}

// bucket returns the place of a batch of n (≥ 1) in a histogram of Stats.
func bucket(n int) int { return min(bits.Len(uint(n))-1, 6) }

const (
	// MaxDatagram is the size in bytes of the largest datagram that is
	// received, that of a jumbo frame. Larger ones are dropped and counted.
	MaxDatagram = 9_216

	maxUDP4    = 65_507 // largest payload of a datagram over IPv4
	batchSize  = 64     // messages per system call
	budget     = 256    // packets per Wait
	listenLen  = 512    // backlog of a listener
	acceptMax  = 16     // connections accepted per event
	tcpQueue   = 512 << 10
	tcpReadLen = 64 << 10
)
