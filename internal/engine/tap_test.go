package engine

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/rtcp"
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

// A pipe in memory has a Tap at each end, with the addresses of its ports, which
// see RTP one way and RTCP the other.
func TestTapLane(t *testing.T) {
	p := newLanePair(t, false)
	near, far := NewTap(64, 2000), NewTap(64, 2000)
	require.NoError(t, p.a.m.TapTransport("pa", near))
	require.NoError(t, p.b.m.TapTransport("pb", far))
	p.inject(3)
	p.turn()
	require.NoError(t, p.b.m.RequestKeyFrame("c"))
	p.b.d.now += time.Second
	p.b.turn(p.b.d.now)
	p.a.turn(p.a.d.now)
	for _, end := range []struct {
		tap *Tap
		out bool // RTP goes that way
	}{{near, true}, {far, false}} {
		media, control := 0, 0
		for len(end.tap.Packets()) > 0 {
			x := <-end.tap.Packets()
			require.True(t, x.Local.IsValid() && x.Remote.IsValid())
			if rtcp.Is(x.Data) {
				if x.Out != end.out {
					control++
				}
				continue
			}
			require.Equal(t, end.out, x.Out)
			require.Len(t, x.Data, x.Length)
			media++
		}
		assert.Equal(t, 3, media)
		assert.Positive(t, control)
	}
}

// Data is in a Tap as packets of SCTP.
func TestTapSCTP(t *testing.T) {
	w, notes := dataWorker(t)
	p := &pipedData{w: w, notes: notes}
	p.pipes(t, SCTPOptions{})
	tap := NewTap(64, 2000)
	run(t, w, func(m *Machine) error { return m.TapTransport("b", tap) })
	produceDirect(t, w, "t1", "p")
	p.consume(t, "a", "a1", "p", 0)
	p.state(t, "b", "connected")
	require.NoError(t, w.InjectData("p", DataMessage{PPID: 51, Data: []byte("a message")}))
	seen := false
	for in, out := 0, 0; !seen || in == 0 || out == 0; {
		select {
		case x := <-tap.Packets():
			require.True(t, x.SCTP)
			require.EqualValues(t, sctpPort, binary.BigEndian.Uint16(x.Data))
			require.True(t, x.Local.IsValid() && x.Remote.IsValid())
			if x.Out {
				out++
			} else {
				in++
				seen = seen || bytes.Contains(x.Data, []byte("a message"))
			}
			tap.Release(x)
		case <-time.After(10 * time.Second):
			t.Fatal("not in the tap: ", in, out, seen)
		}
	}
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
