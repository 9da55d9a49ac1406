package port

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"syscall"
	"testing"

	"github.com/mafalda-sfu/mafalda/internal/driver"
	"github.com/stretchr/testify/require"
)

var (
	v4 = netip.MustParseAddr("10.0.0.1")
	v6 = netip.MustParseAddr("2001:db8::1")
)

func good(uint16) error { return nil }

// first is a manager whose searches begin at the first port.
func first() *Manager { return newManager(func(n int) int { return n - 1 }) }

// inUse returns how many ports of the range are in use.
func (m *Manager) inUse(key Range) int {
	if p := m.used[key]; p != nil {
		return p.count
	}
	return 0
}

func TestBind(t *testing.T) {
	t.Parallel()
	m := first()
	key := Range{IP: v4, Min: 100, Max: 102}
	for want := uint16(100); want <= 102; want++ {
		port, err := m.Bind(key, good)
		require.NoError(t, err)
		require.Equal(t, want, port)
	}
	_, err := m.Bind(key, func(uint16) error { t.Fatal("tried a used port"); return nil })
	require.ErrorIs(t, err, ErrNoPort)
	require.Equal(t, 3, m.inUse(key))
	m.Release(key, 101)
	m.Release(key, 101)
	m.Release(key, 99)
	m.Release(key, 103)
	require.Equal(t, 2, m.inUse(key))
	port, err := m.Bind(key, good)
	require.NoError(t, err)
	require.EqualValues(t, 101, port)
	for p := range uint16(3) {
		require.Len(t, m.used, 1)
		m.Release(key, 100+p)
	}
	require.Empty(t, m.used, "an empty range disappears")
	require.Zero(t, m.inUse(key))
}

func TestStart(t *testing.T) {
	t.Parallel()
	m := newManager(func(n int) int { require.Equal(t, 4, n); return 1 })
	var tried []uint16
	_, err := m.Bind(Range{IP: v4, Min: 10, Max: 13}, func(p uint16) error {
		tried = append(tried, p)
		return errors.New("in use")
	})
	require.ErrorIs(t, err, ErrNoPort)
	require.ErrorContains(t, err, "in use")
	require.Equal(t, []uint16{12, 13, 10, 11}, tried, "one after the start, around, each once")
	require.Empty(t, m.used)

	seen := map[uint16]bool{}
	random := NewManager()
	for range 1000 {
		port, err := random.Bind(Range{IP: v4, Min: 65526, Max: 65535}, good)
		require.NoError(t, err)
		seen[port] = true
		random.Release(Range{IP: v4, Min: 65526, Max: 65535}, port)
	}
	require.Len(t, seen, 10)
}

func TestErrors(t *testing.T) {
	t.Parallel()
	key := Range{IP: v4, Min: 10, Max: 20}
	hopeless := []error{driver.ErrAddrNotAvailable}
	if runtime.GOOS != "windows" { // there syscall.EMFILE is not what a socket gives
		hopeless = append(hopeless, syscall.EMFILE, syscall.ENFILE)
	}
	for _, e := range hopeless {
		m, calls := first(), 0
		wrapped := &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", e)}
		_, err := m.Bind(key, func(uint16) error { calls++; return wrapped })
		require.ErrorIs(t, err, e)
		require.NotErrorIs(t, err, ErrNoPort)
		require.Equal(t, 1, calls)
		require.Empty(t, m.used)
	}
	m := first()
	port, err := m.Bind(key, func(p uint16) error {
		if p < 15 {
			return errors.New("in use")
		}
		return nil
	})
	require.NoError(t, err)
	require.EqualValues(t, 15, port)
	require.Equal(t, 1, m.inUse(key))
	_, err = m.Bind(Range{IP: v4, Min: 20, Max: 10}, good)
	require.ErrorIs(t, err, ErrNoPort)
}

// TestKeys checks that ranges which differ in one respect don't share ports.
func TestKeys(t *testing.T) {
	t.Parallel()
	keys := []Range{
		{IP: v4, Min: 100, Max: 110},
		{IP: v4, Min: 100, Max: 111},
		{IP: v4, Min: 99, Max: 110},
		{IP: v4, Min: 100, Max: 110, TCP: true},
		{IP: v4.Next(), Min: 100, Max: 110},
		{IP: v6, Min: 100, Max: 110},
		{IP: v6, Min: 100, Max: 110, TCP: true},
		{IP: v6.Next(), Min: 100, Max: 110},
		{IP: netip.AddrFrom16(v4.As16()), Min: 100, Max: 110},
		{IP: netip.IPv4Unspecified(), Min: 100, Max: 110},
		{IP: netip.IPv6Unspecified(), Min: 100, Max: 110},
	}
	m := newManager(func(n int) int { return n - 2 })
	for i, key := range keys {
		port, err := m.Bind(key, good)
		require.NoError(t, err)
		require.Equal(t, key.Max, port, "%+v", key)
		require.Len(t, m.used, i+1)
	}
	for i, key := range keys {
		again := key // an equal value, not the same one
		require.Equal(t, 1, m.inUse(again))
		m.Release(again, again.Max)
		require.Len(t, m.used, len(keys)-i-1)
	}
}

// TestExhaust takes every port of a range, in any order.
func TestExhaust(t *testing.T) {
	t.Parallel()
	m := NewManager()
	key := Range{IP: v6, Min: 65000, Max: 65535}
	seen := map[uint16]bool{}
	for range 536 {
		port, err := m.Bind(key, good)
		require.NoError(t, err)
		require.False(t, seen[port])
		require.GreaterOrEqual(t, port, key.Min)
		seen[port] = true
	}
	_, err := m.Bind(key, good)
	require.ErrorIs(t, err, ErrNoPort)
	for port := range seen {
		m.Release(key, port)
	}
	require.Empty(t, m.used)
	whole := Range{IP: v6, Min: 0, Max: 65535}
	port, err := first().Bind(whole, good)
	require.NoError(t, err)
	require.Zero(t, port)
}

// TestSocket binds real sockets on the loopback.
func TestSocket(t *testing.T) {
	t.Parallel()
	taken, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	defer taken.Close()
	p := uint16(taken.LocalAddr().(*net.UDPAddr).Port)
	m := NewManager()
	_, err = m.Bind(Range{IP: netip.MustParseAddr("127.0.0.1"), Min: p, Max: p}, func(p uint16) error {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(p)})
		if err == nil {
			c.Close()
		}
		return err
	})
	require.ErrorIs(t, err, ErrNoPort)
	calls := 0
	_, err = m.Bind(Range{IP: netip.MustParseAddr("192.0.2.1"), Min: 20000, Max: 20100}, func(p uint16) error {
		calls++
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: int(p)})
		if err == nil {
			c.Close()
		}
		return err
	})
	require.Error(t, err)
	require.NotErrorIs(t, err, ErrNoPort)
	require.Equal(t, 1, calls, "an address of another host")
}

func BenchmarkBind(b *testing.B) {
	m := NewManager()
	key := Range{IP: v4, Min: 10000, Max: 59999}
	for range 20000 {
		if _, err := m.Bind(key, good); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		port, err := m.Bind(key, good)
		if err != nil {
			b.Fatal(err)
		}
		m.Release(key, port)
	}
}
