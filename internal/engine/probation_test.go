package engine

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/rtcp"
	"github.com/mafalda-sfu/mafalda/internal/rtp"
)

// isProbation tells padding that only measures from media, encrypted or not.
func isProbation(b []byte) bool {
	return len(b) >= headerFixed && !rtcp.Is(b) && binary.BigEndian.Uint32(b[8:]) == probationSSRC
}

// TestProbation: probes have the length that is asked for, in whole words and
// within what a packet can have, and are one stream.
func TestProbation(t *testing.T) {
	b := newBottleneck(t, 3e6, 100e3)
	b.consume(ConsumeOptions{}, Encoding{SSRC: 21, RTXSSRC: 22})
	var sent []rtp.Packet
	b.d.onUDP = func(_ *virtualUDP, _ netip.AddrPort, p []byte) {
		if isProbation(p) {
			sent = append(sent, rtp.Packet(append([]byte(nil), p...)))
		}
	}
	bw := b.m.transports["out"].bandwidth
	sizes := []struct{ asked, want int }{{-4, 32}, {0, 32}, {32, 32}, {33, 36}, {452, 452}, {1399, 1400}, {1400, 1400}, {1 << 20, 1400}}
	for _, s := range sizes {
		bw.sendProbe(s.asked, 1)
		b.flush()
	}
	require.Len(t, sent, len(sizes))
	for i, p := range sent {
		p, ok := rtp.Parse(p)
		require.True(t, ok)
		assert.Len(t, p, sizes[i].want, "%d bytes were asked for", sizes[i].asked)
		assert.EqualValues(t, probationPT, p.PayloadType())
		assert.Equal(t, "probator", string(p.Extension(rtp.IDMID)))
		assert.Len(t, p.Extension(rtp.IDAbsSendTime), 3)
		if i > 0 {
			before := sent[i-1]
			assert.Equal(t, before.SequenceNumber()+1, p.SequenceNumber())
			assert.Equal(t, before.Timestamp()+probationStep, p.Timestamp())
			assert.Equal(t, binary.BigEndian.Uint16(before.Extension(rtp.IDTransportWideCC))+1,
				binary.BigEndian.Uint16(p.Extension(rtp.IDTransportWideCC)))
		}
	}
}
