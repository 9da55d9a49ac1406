package engine

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/rtp"
	"github.com/mafalda-sfu/mafalda/internal/srtp"
)

// TestUnmappedKeepsRollover has a packet of an unknown payload type in a stream
// whose sequence numbers have wrapped: what follows must still be decrypted.
func TestUnmappedKeepsRollover(t *testing.T) {
	r := newRig(t, 1, srtp.AEADAES128GCM)
	r.seq = 65533
	for range 10 {
		r.send(true)
	}
	r.seq++
	b := rtp.AppendHeader(nil, rtp.Header{
		PayloadType: 77, SequenceNumber: r.seq, Timestamp: 3000 * uint32(r.seq), SSRC: rigSSRC,
	}, nil)
	r.deliver(r.in, r.from, r.tx, append(append(make([]byte, 0, 2048), b...), 1, 2, 3), false)
	require.EqualValues(t, 1, r.m.count.DropUnknownStream)

	sent := r.d.sent
	r.send(false)
	require.Zero(t, r.m.count.DropSRTP)
	require.Equal(t, 1, r.d.sent-sent, "the packet after it is forwarded")
}

// TestNoSSRCIsNoRTX has a packet whose SSRC is 0 come to a stream that has no
// retransmissions yet.
func TestNoSSRCIsNoRTX(t *testing.T) {
	s := &producerStream{ssrc: 5}
	require.True(t, s.has(5))
	require.False(t, s.has(0))
	s.rtx = 6
	require.True(t, s.has(6))
}
