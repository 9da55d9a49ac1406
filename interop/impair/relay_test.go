package impair

import (
	"encoding/binary"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var loopback = netip.MustParseAddrPort("127.0.0.1:0")

// echo answers each datagram with itself.
func echo(t *testing.T) netip.AddrPort {
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(loopback))
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	go func() { // ends when c is closed
		b := make([]byte, 2048)
		for {
			n, from, err := c.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			c.WriteToUDPAddrPort(b[:n], from)
		}
	}()
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

func dial(t *testing.T, to netip.AddrPort) *net.UDPConn {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(5 * time.Second))
	return c
}

func TestRelayDelaysBothWays(t *testing.T) {
	r, err := NewRelay(Options{Listen: loopback, Target: echo(t), Up: Config{Delay: 30 * ms}, Down: Config{Delay: 20 * ms}})
	require.NoError(t, err)
	defer r.Close()
	b := make([]byte, 2048)
	for _, c := range []*net.UDPConn{dial(t, r.Addr()), dial(t, r.Addr())} {
		begin := time.Now()
		_, err := c.Write([]byte("hello"))
		require.NoError(t, err)
		n, err := c.Read(b)
		require.NoError(t, err)
		require.Equal(t, "hello", string(b[:n]))
		require.GreaterOrEqual(t, time.Since(begin), 50*ms)
	}
	require.Equal(t, 2, r.Clients())
}

func TestRelayKeepsOrderAndLoses(t *testing.T) {
	var lost, seen atomic.Int64
	r, err := NewRelay(Options{
		Listen: loopback, Target: echo(t),
		Up: Config{Jitter: 3 * ms, Loss: 0.2, Seed: 1},
		Observe: func(d Direction, b []byte, l bool) {
			if d == Up {
				seen.Add(1)
				if l {
					lost.Add(1)
				}
			}
		},
	})
	require.NoError(t, err)
	defer r.Close()
	c := dial(t, r.Addr())
	for i := range 200 {
		_, err := c.Write(binary.BigEndian.AppendUint32(nil, uint32(i)))
		require.NoError(t, err)
		time.Sleep(ms / 4)
	}
	require.Eventually(t, func() bool { return seen.Load() == 200 }, 5*time.Second, ms)
	require.InDelta(t, 40, lost.Load(), 20)
	last := -1
	for range 200 - lost.Load() {
		b := make([]byte, 4)
		_, err := c.Read(b)
		require.NoError(t, err)
		i := int(binary.BigEndian.Uint32(b))
		require.Greater(t, i, last)
		last = i
	}
}

func TestRelaySet(t *testing.T) {
	r, err := NewRelay(Options{Listen: loopback, Target: echo(t), Up: Config{Loss: 1}})
	require.NoError(t, err)
	defer r.Close()
	c := dial(t, r.Addr())
	_, err = c.Write([]byte("lost"))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return r.Clients() == 1 }, 5*time.Second, ms)
	time.Sleep(20 * ms)
	require.Error(t, r.Set(Config{Loss: 2}, Config{}))
	require.NoError(t, r.Set(Config{}, Config{}))
	_, err = c.Write([]byte("there"))
	require.NoError(t, err)
	b := make([]byte, 16)
	n, err := c.Read(b)
	require.NoError(t, err)
	require.Equal(t, "there", string(b[:n]))
}

func TestRelayClose(t *testing.T) {
	r, err := NewRelay(Options{Listen: loopback, Target: echo(t), Up: Config{Delay: time.Hour}})
	require.NoError(t, err)
	c := dial(t, r.Addr())
	c.Write([]byte("never"))
	require.Eventually(t, func() bool { return r.Clients() == 1 }, 5*time.Second, ms)
	require.NoError(t, r.Close())
	require.NoError(t, r.Close())
	_, err = NewRelay(Options{Listen: loopback, Up: Config{Loss: 2}})
	require.Error(t, err)
}
