package engine

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/rtp"
	"github.com/mafalda-sfu/mafalda/internal/srtp"
)

// A Tap gets what goes in and what goes out in the clear, drops what it has no
// record for, and is gone with its transport.
func TestTap(t *testing.T) {
	r := newRig(t, 2, srtp.AEADAES128GCM)
	in, out := NewTap(4, 2000), NewTap(4, 40)
	require.NoError(t, r.m.TapTransport("in", in))
	require.NoError(t, r.m.TapTransport("outA", out))
	require.ErrorIs(t, r.m.TapTransport("in", out), ErrInvalidState)
	require.ErrorIs(t, r.m.TapTransport("nowhere", out), ErrNotFound)
	r.send(true)
	for range 6 {
		r.send(false)
	}
	require.Len(t, in.Packets(), 4)
	require.EqualValues(t, 3, in.Dropped())
	p := <-in.Packets()
	pkt, ok := rtp.Parse(p.Data)
	require.True(t, ok)
	assert.EqualValues(t, rigSSRC, pkt.SSRC())
	assert.Len(t, pkt.Payload(), len(r.payload))
	assert.False(t, p.Out)
	assert.Equal(t, r.from, p.Remote)
	in.Release(p)

	p = <-out.Packets()
	assert.True(t, p.Out)
	assert.Len(t, p.Data, 40, "only the beginning is kept")
	assert.Greater(t, p.Length, len(r.payload))
	assert.EqualValues(t, 3000, rtp.Packet(p.Data).SSRC())

	r.m.UntapTransport("in", out) // not its own
	require.Len(t, r.m.taps, 2)
	r.m.UntapTransport("in", in)
	require.NoError(t, r.m.CloseTransport("outA"))
	require.Nil(t, r.m.taps, "packets look at nothing else")
	r.m.UntapTransport("outA", out)
	r.send(false)
	require.Len(t, in.Packets(), 3)
}

func TestTapDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	r := newRig(t, 4, srtp.AEADAES128GCM)
	tap := NewTap(16, 2000)
	require.NoError(t, r.m.TapTransport("outA", tap))
	next := func() {
		r.send(false)
		r.turn(5 * time.Millisecond)
		for len(tap.Packets()) > 0 {
			tap.Release(<-tap.Packets())
		}
	}
	r.send(true)
	for range 4000 {
		next()
	}
	require.Zero(t, tap.Dropped())
	require.Zero(t, testing.AllocsPerRun(500, next))
}
