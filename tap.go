package mafalda

import (
	"context"
	"io"
)

// A PacketTapper is a Transport that can write down what passes it. Ask with a
// type assertion; a Transport without it has nothing to fall back on.
type PacketTapper interface {
	// Tap writes the RTP and RTCP that the Transport receives and sends to w, as
	// a pcapng file that Wireshark opens, until ctx ends, the Transport closes, or
	// a limit of o is reached; none of these is an error. It blocks for so long,
	// and w is not used any more when it returns. One Tap at a time: another is
	// [ErrInvalidState].
	//
	// The file has the media in the clear: what encryption hides from the network
	// can be seen and heard by whoever reads it. Nothing turns a Tap on but this
	// call. STUN, DTLS and data channels are not in it, nor is what did not
	// authenticate. Packets stand in made up UDP datagrams between the addresses
	// of the Transport, those of a TCP connection too.
	//
	// A slow w delays no packet: what it does not take in time is missing, and is
	// counted. The memory is that of a thousand packets of SnapLength.
	//
	// Errors: [ErrClosed], [ErrInvalidArgument], [ErrInvalidState], that of w;
	// [errors.ErrUnsupported] of a DirectTransport and where the media is in
	// another process.
	Tap(ctx context.Context, w io.Writer, o TapOptions) (TapResult, error)
}

// TapOptions bound what [PacketTapper] writes.
type TapOptions struct {
	// MaxPackets ends it after so many; 0 means 100,000.
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

// TapResult tells what was written.
type TapResult struct {
	Packets int    // in the file
	Bytes   int64  // of the file
	Dropped uint64 // packets that are missing because w was slow
}
