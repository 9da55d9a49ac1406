package mafalda

import (
	"context"
	"io"
)

// A PacketTapper is a Transport that can write down what passes it. Ask with a
// type assertion; a Transport without it has nothing to fall back on.
type PacketTapper interface {
	// Tap writes the RTP, RTCP and SCTP that the Transport receives and sends to
	// w, as a pcapng file that Wireshark opens, until ctx ends, the Transport
	// closes, or a limit of o is reached; none of these is an error. It blocks for
	// so long, and as long as w blocks; what had passed by the end is still
	// written. w is not used any more when it returns. One Tap of a Transport at a
	// time: another is [ErrInvalidState].
	//
	// The file has the media and the data in the clear: what encryption hides from
	// the network can be seen and heard by whoever reads it. Nothing turns a Tap on
	// but this call. STUN and DTLS are not in it, nor is what did not authenticate.
	//
	// RTP and RTCP stand in made up UDP datagrams between the addresses of the
	// Transport, those of a TCP connection too, SCTP right behind the IP header.
	// The time of a packet is when the Worker woke up for it or for what it
	// follows from. Wireshark takes UDP for RTP when its protocol «rtp_udp» is
	// enabled, or by «Decode as».
	//
	// A slow w delays no packet: what it does not take in time is missing, and is
	// counted. The memory is that of a thousand packets of SnapLength.
	//
	// Errors: [ErrClosed], [ErrInvalidArgument], [ErrInvalidState], that of ctx if
	// it ended before; [ErrUnavailable] and that of w; [errors.ErrUnsupported] of a
	// DirectTransport and where the media is in another process.
	Tap(ctx context.Context, w io.Writer, o TapOptions) (TapResult, error)
}

// TapOptions bound what [PacketTapper] writes.
type TapOptions struct {
	// MaxPackets ends it after so many packets; 0 means 100,000.
	MaxPackets int
	// MaxBytes ends it before the file gets longer; 0 means 64 MiB, the least is
	// 4 KiB.
	MaxBytes int64
	// SnapLength is how many bytes are kept of each packet, at most 2,000; 0 means
	// all of those.
	SnapLength int
}

const (
	defaultTapPackets = 100_000
	defaultTapBytes   = 64 << 20
	leastTapBytes     = 4 << 10
	maxTapSnap        = 2000
)

func (o *TapOptions) validate() error {
	switch {
	case o.MaxPackets < 0:
		return invalid("%d packets", o.MaxPackets)
	case o.MaxBytes < 0 || o.MaxBytes > 0 && o.MaxBytes < leastTapBytes:
		return invalid("%d bytes are less than %d", o.MaxBytes, leastTapBytes)
	case o.SnapLength < 0 || o.SnapLength > maxTapSnap:
		return invalid("a snap length of %d is not within 0 and %d", o.SnapLength, maxTapSnap)
	}
	return nil
}

func (o TapOptions) withDefaults() TapOptions {
	if o.MaxPackets == 0 {
		o.MaxPackets = defaultTapPackets
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = defaultTapBytes
	}
	if o.SnapLength == 0 {
		o.SnapLength = maxTapSnap
	}
	return o
}

// TapResult tells what was written, with an error as well.
type TapResult struct {
	Packets int    // in the file
	Bytes   int64  // of the file
	Dropped uint64 // packets that are missing because w was slow
}
