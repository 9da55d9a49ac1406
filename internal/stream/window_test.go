package stream

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/rtx"
)

func TestWindow(t *testing.T) {
	var w window
	use := func(seq uint16, want bool) {
		t.Helper()
		require.Equal(t, want, w.use(seq), "use(%d)", seq)
	}
	use(65_000, true)
	use(65_000, false)
	use(64_999, true) // late
	use(64_999, false)
	use(65_002, true)
	use(65_001, true)
	use(65_001, false)
	use(500, true) // over the wrap
	use(65_002, false)
	use(499, true)
	use(500, false)
	use(500+windowSize-1, true)
	use(500, false) // the oldest that is known
	use(499, false) // older: counts as used
	use(500+5*windowSize, true)
	use(500+5*windowSize-1, true)
	use(500, false)
}

// TestSendsOnce checks that no number is sent twice where no NACK is negotiated:
// SRTP must never see two different packets with one index.
func TestSendsOnce(t *testing.T) {
	for _, nack := range []bool{false, true} {
		s := newSend(0, Params{SSRC: 1, ClockRate: 90000, Video: true, UseNACK: nack}, 0)
		send := func(seq uint16, timestamp uint32) bool {
			return s.Accept(time.Second, &Outgoing{
				Seq: seq, Size: 100, PayloadSize: 80, Item: rtx.Item{Ingress: seq, Timestamp: timestamp},
			})
		}
		require.True(t, send(10, 3000))
		require.False(t, send(10, 3000), "the same again")
		require.True(t, send(12, 6000))
		require.True(t, send(11, 3000), "late")
		require.False(t, send(11, 3000))
		require.True(t, send(13, 0), "with a timestamp that does not fit")
		require.False(t, send(13, 0))
	}
}
