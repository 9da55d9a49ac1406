package engine

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/rtcp"
	"github.com/mafalda-sfu/mafalda/internal/rtp"
)

// A stampedSource sends a stream whose packets say when they were sent, and
// keeps the REMBs that come back.
type stampedSource struct {
	*layerWorld
	rembs []rtcp.REMB
}

func newStampedSource(t *testing.T) *stampedSource {
	s := &stampedSource{layerWorld: newLayerWorld(t)}
	s.d.onUDP = func(_ *virtualUDP, _ netip.AddrPort, b []byte) {
		for r := rtcp.NewReader(b); rtcp.Is(b); {
			p, ok := r.Next()
			if !ok {
				return
			}
			if v, ok := p.REMB(); ok {
				s.rembs = append(s.rembs, v)
			}
		}
	}
	params := vp8Params(11, 0, "")
	params.Codecs[0].Feedback[3].Type = "goog-remb"
	_, err := s.m.Produce("in", ProduceOptions{ID: "p", Kind: Video, RTPParameters: params, RTPMapping: identity(params, 7)})
	require.NoError(t, err)
	return s
}

// run sends 50 packets of 500 bytes of payload a second, 200 kbit/s.
func (s *stampedSource) run(d time.Duration) (rembs []rtcp.REMB) {
	s.rembs = nil
	payload := make([]byte, 500)
	for end := s.d.now + d; s.d.now < end; {
		s.advance(s.d.now + 20*time.Millisecond)
		stamp := rtp.AbsSendTime(s.d.now)
		s.seqs[11]++
		b := rtp.AppendHeader(nil, rtp.Header{PayloadType: 101, SequenceNumber: s.seqs[11], SSRC: 11},
			[]rtp.Element{{ID: 4, Value: []byte{byte(stamp >> 16), byte(stamp >> 8), byte(stamp)}}})
		s.udp(s.source, s.in, append(b, payload...))
	}
	return s.rembs
}

func (s *stampedSource) available() uint64 {
	stats, err := s.m.TransportStats("in")
	require.NoError(s.t, err)
	require.True(s.t, stats.Feedback)
	return stats.AvailableIncomingBitrate
}

// TestREMBOfOurOwn: who knows no transport-cc is told by REMB what it may send,
// no more than the limit.
func TestREMBOfOurOwn(t *testing.T) {
	s := newStampedSource(t)
	assert.Empty(t, s.run(4500*time.Millisecond))
	assert.Zero(t, s.available())
	list := s.run(3 * time.Second)
	require.Greater(t, len(list), 5)
	assert.InDelta(t, 200_000, list[0].Bitrate, 10_000)
	require.Equal(t, 1, list[0].SSRCs.Len())
	assert.EqualValues(t, 11, list[0].SSRCs.At(0))
	assert.Greater(t, list[len(list)-1].Bitrate, list[0].Bitrate, "it grows")
	assert.Greater(t, s.available(), uint64(200_000))
	s.run(20 * time.Second)
	before := s.available()
	assert.Less(t, before, uint64(300_000), "not above what arrives by much")

	limited := func(limit uint64) {
		t.Helper()
		s.rembs = nil
		require.NoError(t, s.m.SetMaxIncomingBitrate("in", limit))
		s.flush()
	}
	limited(100_000)
	require.Len(t, s.rembs, 1, "at once")
	for _, x := range append(s.rembs, s.run(5*time.Second)...) {
		assert.InDelta(t, 100_000, x.Bitrate, 10)
	}
	assert.GreaterOrEqual(t, s.available(), before-20_000, "the estimate is another thing")
	limited(0)
	require.Len(t, s.rembs, 1, "at once")
	assert.InDelta(t, s.available(), s.rembs[0].Bitrate, 10)
}

// TestREMBOfALimit: a limit is told before there is an estimate.
func TestREMBOfALimit(t *testing.T) {
	s := newStampedSource(t)
	require.NoError(t, s.m.SetMaxIncomingBitrate("in", 100_000))
	list := s.run(10 * time.Second)
	require.Greater(t, len(list), 10)
	for _, x := range list {
		assert.InDelta(t, 100_000, x.Bitrate, 10)
	}
}

func TestREMBDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	s := newStampedSource(t)
	s.run(6 * time.Second)
	f := &s.m.transports["in"].feedback
	pkt, ok := rtp.Parse(append(rtp.AppendHeader(nil, rtp.Header{PayloadType: 101, SSRC: 11},
		[]rtp.Element{{ID: 4, Value: make([]byte, 3)}}), make([]byte, 500)...))
	require.True(t, ok)
	told := f.receiver.Available()
	s.d.onUDP = nil
	assert.Zero(t, testing.AllocsPerRun(500, func() {
		s.m.now += 20 * time.Millisecond
		v, stamp := pkt.Extension(4), rtp.AbsSendTime(s.m.now)
		v[0], v[1], v[2] = byte(stamp>>16), byte(stamp>>8), byte(stamp)
		f.received(pkt)
	}))
	assert.NotEqual(t, told, f.receiver.Available())
}
