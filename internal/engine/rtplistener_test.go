package engine

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/rtp"
)

// TestListenerForgets takes Producers from a listener: what is theirs goes, named or
// learned from packets, and nothing else.
func TestListenerForgets(t *testing.T) {
	l := newRTPListener()
	ids := &extensionIDs{mid: 1, rid: 2}
	packet := func(ssrc uint32, id uint8, name string) rtp.Packet {
		b := rtp.AppendHeader(nil, rtp.Header{SSRC: ssrc}, []rtp.Element{{ID: id, Value: []byte(name)}})
		pkt, ok := rtp.Parse(b)
		require.True(t, ok)
		return pkt
	}
	a := &producer{params: RTPParameters{MID: "a", Encodings: []Encoding{{SSRC: 1, RTXSSRC: 2}}}}
	b := &producer{params: RTPParameters{MID: "b", Encodings: []Encoding{{RID: "x"}, {RID: "y"}}}}
	c := &producer{params: RTPParameters{MID: "c", Encodings: []Encoding{{RID: "y"}, {RID: "z"}}}} // y is b's
	for _, p := range []*producer{a, b, c} {
		require.NoError(t, l.add(p))
	}
	require.Same(t, a, l.find(packet(3, 1, "a"), ids))
	require.Same(t, b, l.find(packet(4, 2, "y"), ids))
	require.Same(t, c, l.find(packet(5, 1, "c"), ids))

	require.Error(t, l.add(&producer{params: RTPParameters{MID: "c", Encodings: []Encoding{{SSRC: 9}, {RID: "z"}}}}))
	require.Len(t, l.ssrcs, 5, "what was not added is not there")
	l.remove(c)
	require.Equal(t, map[uint32]*producer{1: a, 2: a, 3: a, 4: b}, l.ssrcs)
	require.Equal(t, map[string]*producer{"a": a, "b": b}, l.mids)
	require.Equal(t, map[string]*producer{"x": b, "y": b}, l.rids)
	require.Nil(t, l.last)
	l.remove(b)
	l.remove(a)
	require.Empty(t, l.ssrcs)
	require.Empty(t, l.mids)
	require.Empty(t, l.rids)
}
