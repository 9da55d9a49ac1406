//go:build linux && !portable

package driver

import (
	"net"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

// An expecting handler compares what it was told to expect with what comes.
type expecting struct {
	*rig
	expected []netip.AddrPort // of the batch
	got      []netip.AddrPort
	batches  [][]netip.AddrPort
}

func (e *expecting) Expect(_ UDPSocket, from netip.AddrPort) { e.expected = append(e.expected, from) }

func (e *expecting) HandleUDP(s UDPSocket, from netip.AddrPort, data []byte) {
	e.rig.HandleUDP(s, from, data)
	e.got = append(e.got, from)
	require.Len(e.t, e.expected, len(e.got)+Ahead, "one more for each datagram")
}

func (e *expecting) EndOfBatch() {
	n := len(e.got)
	require.Equal(e.t, e.got, e.expected[:n])
	for _, from := range e.expected[n:] {
		require.False(e.t, from.IsValid(), "expected after the last one")
	}
	e.batches = append(e.batches, e.got)
	e.expected, e.got = nil, nil
}

// TestExpect is told of every datagram before it comes, in batches that are longer
// and such that are shorter than what can be looked ahead.
func TestExpect(t *testing.T) {
	e := &expecting{rig: newRig(t)}
	s := e.listen(UDPConfig{Addr: lo4})
	var peers []net.Conn
	for range 3 {
		c, err := net.Dial("udp4", s.LocalAddr().String())
		require.NoError(t, err)
		defer c.Close()
		peers = append(peers, c)
	}
	total := 0
	for _, n := range []int{1, Ahead, 5 * Ahead} {
		for i := range n { // on loopback they are there when Write returns
			_, err := peers[i*i%len(peers)].Write([]byte{byte(i)})
			require.NoError(t, err)
		}
		total += n
		for len(e.udp[s.ID()]) < total {
			require.NoError(t, e.Wait(patience, e))
		}
	}
	sum := 0
	for _, b := range e.batches {
		sum += len(b)
	}
	require.Equal(t, total, sum)
	require.Greater(t, len(e.batches[len(e.batches)-1]), 1, "several at a time")
}
