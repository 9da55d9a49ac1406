// Package srtp protects and unprotects RTP and RTCP packets (RFC 3711, RFC
// 7714), without allocating for a packet: AES-GCM with internal/aesgcm, the rest
// with pion/srtp.
//
// Where a [Sender] or a [Receiver] needs one it holds a pion context. Since that
// can't drop the state of an SSRC, they follow packet indices themselves and,
// when many SSRCs have been forgotten, go on with a new context that is told
// the rollover counters. So their size depends on the SSRCs in use and not on
// those that ever were.
//
// In all methods the result begins at the first byte of dst, whatever len(dst)
// is; it has new memory when cap(dst) is too small. dst may be nil, may begin
// at the very byte where the input begins (in place), or must not overlap it.
// After an error the content of dst, and of the input when in place, is
// undefined.
//
// Nothing here is safe for concurrent use.
package srtp

import "encoding/binary"

const (
	// rtpHeaderLen and rtcpHeaderLen are what every packet has in clear.
	rtpHeaderLen  = 12
	rtcpHeaderLen = 8

	offSeq      = 2 // RTP
	offSSRC     = 8 // RTP
	offRTCPSSRC = 4

	seqMedian = 1 << 15

	// maxRetainedExtensions is how large a list of parsed header extensions
	// may be kept for the next packet.
	maxRetainedExtensions = 64

	// rebuildSlack is the number of forgotten SSRCs above the live ones at
	// which the pion context is replaced.
	rebuildSlack = 64
)

func rtpSSRC(b []byte) uint32  { return binary.BigEndian.Uint32(b[offSSRC:]) }
func rtpSeq(b []byte) uint16   { return binary.BigEndian.Uint16(b[offSeq:]) }
func rtcpSSRC(b []byte) uint32 { return binary.BigEndian.Uint32(b[offRTCPSSRC:]) }

// A tracker follows the 48 bit packet index of one SSRC (RFC 3711 §3.3.1,
// Appendix A). It must guess exactly like pion's context.
type tracker struct {
	highest uint64 // ROC << 16 | SEQ of the newest packet
	started bool
}

// estimate returns the index of a packet with the number seq, and whether that
// is newer than all before.
func (t *tracker) estimate(seq uint16) (index uint64, newer bool) {
	if !t.started {
		return t.highest&^0xffff | uint64(seq), true
	}
	roc, local := t.highest>>16, int32(t.highest&0xffff)
	diff := int32(seq) - local
	// Below the median with ROC 0 there is no earlier cycle to belong to.
	if t.highest > seqMedian {
		if local < seqMedian {
			if diff > seqMedian {
				return (roc-1)<<16 | uint64(seq), false
			}
		} else if local-seqMedian > int32(seq) {
			return (roc+1)<<16 | uint64(seq), true
		}
	}
	return roc<<16 | uint64(seq), diff > 0
}

// accept notes that a packet with that index was protected or unprotected.
func (t *tracker) accept(index uint64, newer bool) {
	if newer {
		t.highest = index
	}
	t.started = true
}

// A stream is the state of one SSRC.
type stream struct {
	ssrc uint32
	// generation tells in which context the rollover counter is known; every
	// new context has the next number.
	generation uint32
	tracker    tracker
	window     *window // receiving only
}
