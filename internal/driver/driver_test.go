package driver

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// isAddrInUse reports whether err says that another socket holds the port.
func isAddrInUse(err error) bool { return isOneOf(err, addrInUse[:]) }

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of a test.
const patience = 5 * time.Second

var (
	lo4 = netip.MustParseAddrPort("127.0.0.1:0")
	lo6 = netip.MustParseAddrPort("[::1]:0")
)

type datagram struct {
	from netip.AddrPort
	data string
}

// rig is a driver and a handler that writes down what comes.
type rig struct {
	t *testing.T
	Driver

	udp     map[uint64][]datagram
	opened  []TCPConn
	frames  map[uint64][]string
	closed  []uint64
	batches int

	onUDP   func(s UDPSocket, from netip.AddrPort, data []byte)
	onFrame func(c TCPConn, frame []byte)
}

func newRig(t *testing.T) *rig {
	t.Helper()
	d, err := New()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return &rig{t: t, Driver: d, udp: map[uint64][]datagram{}, frames: map[uint64][]string{}}
}

func (r *rig) HandleUDP(s UDPSocket, from netip.AddrPort, data []byte) {
	r.t.Helper()
	if cap(data)-len(data) < Headroom {
		r.t.Errorf("only %d bytes behind a datagram", cap(data)-len(data))
	}
	r.udp[s.ID()] = append(r.udp[s.ID()], datagram{from, string(data)})
	scribble(data)
	if r.onUDP != nil {
		r.onUDP(s, from, data)
	}
}

func (r *rig) HandleTCPOpen(_ TCPListener, c TCPConn) { r.opened = append(r.opened, c) }

func (r *rig) HandleTCPFrame(c TCPConn, frame []byte) {
	if cap(frame)-len(frame) < Headroom {
		r.t.Errorf("only %d bytes behind a frame", cap(frame)-len(frame))
	}
	r.frames[c.ID()] = append(r.frames[c.ID()], string(frame))
	if r.onFrame != nil {
		r.onFrame(c, frame)
	}
	scribble(frame)
}

func (r *rig) HandleTCPClose(c TCPConn) { r.closed = append(r.closed, c.ID()) }
func (r *rig) EndOfBatch()              { r.batches++ }

// scribble writes wherever a handler may write.
func scribble(b []byte) {
	b = b[:len(b)+Headroom]
	for i := range b {
		b[i] = 0xee
	}
}

// until turns the driver until ok.
func (r *rig) until(what string, ok func() bool) {
	r.t.Helper()
	for end := time.Now().Add(patience); !ok(); {
		if time.Now().After(end) {
			r.t.Fatalf("no %s within %v", what, patience)
		}
		require.NoError(r.t, r.Wait(10*time.Millisecond, r))
	}
}

func (r *rig) listen(cfg UDPConfig) UDPSocket {
	r.t.Helper()
	s, err := r.ListenUDP(cfg)
	require.NoError(r.t, err)
	return s
}

func send(s UDPSocket, d *Dest, b string) {
	copy(s.Reserve(len(b)), b)
	s.Commit(d, len(b))
}

// peer is an ordinary socket of package net.
func peer(t *testing.T, addr string) *net.UDPConn {
	t.Helper()
	a, err := net.ResolveUDPAddr("udp", addr)
	require.NoError(t, err)
	c, err := net.ListenUDP("udp", a)
	require.NoError(t, err)
	require.NoError(t, c.SetReadBuffer(8<<20))
	t.Cleanup(func() { c.Close() })
	return c
}

func addrOf(c *net.UDPConn) netip.AddrPort {
	a := c.LocalAddr().(*net.UDPAddr).AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

func mustAddr(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// read returns the next n datagrams.
func read(t *testing.T, c *net.UDPConn, n int) []string {
	t.Helper()
	var got []string
	b := make([]byte, 65_536)
	require.NoError(t, c.SetReadDeadline(time.Now().Add(patience)))
	for len(got) < n {
		k, _, err := c.ReadFromUDPAddrPort(b)
		if err != nil {
			t.Fatalf("%d of %d datagrams came: %v", len(got), n, err)
		}
		got = append(got, string(b[:k]))
	}
	return got
}

// silent checks that nothing more comes.
func silent(t *testing.T, c *net.UDPConn) {
	t.Helper()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(20*time.Millisecond)))
	b := make([]byte, 65_536)
	n, _, err := c.ReadFromUDPAddrPort(b)
	require.Error(t, err, "unexpected %d bytes", n)
}

// text is a payload that says who it is.
func text(i, size int) string {
	b := bytes.Repeat([]byte{byte('a' + i%26)}, size)
	copy(b, fmt.Sprintf("%d.", i))
	return string(b)
}

func TestUDPBothWays(t *testing.T) {
	for _, c := range []struct {
		name, peer string
		bind       netip.AddrPort
		only6      bool
		gro        bool
	}{
		{"IPv4", "127.0.0.1:0", lo4, false, false},
		{"IPv4 GRO", "127.0.0.1:0", lo4, false, true},
		{"IPv4 any", "127.0.0.1:0", netip.MustParseAddrPort("0.0.0.0:0"), false, false},
		{"IPv6", "[::1]:0", lo6, false, false},
		{"IPv6 only", "[::1]:0", netip.MustParseAddrPort("[::]:0"), true, false},
		{"IPv6 GRO", "[::1]:0", lo6, false, true},
		{"dual, IPv4 peer", "127.0.0.1:0", netip.MustParseAddrPort("[::]:0"), false, false},
		{"dual, IPv6 peer", "[::1]:0", netip.MustParseAddrPort("[::]:0"), false, false},
		{"mapped bind", "127.0.0.1:0", netip.MustParseAddrPort("[::ffff:127.0.0.1]:0"), false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			p := peer(t, c.peer)
			s := r.listen(UDPConfig{Addr: c.bind, IPv6Only: c.only6, GRO: c.gro, SendBuffer: 1 << 20, RecvBuffer: 1 << 20})
			require.NotZero(t, s.ID())
			require.Equal(t, c.bind.Addr().Unmap(), s.LocalAddr().Addr())
			s.SetOwner("me")
			require.Equal(t, "me", s.Owner())
			to := netip.AddrPortFrom(addrOf(p).Addr(), s.LocalAddr().Port())
			for i := range 3 {
				_, err := p.WriteToUDPAddrPort([]byte(text(i, 100)), to)
				require.NoError(t, err)
			}
			r.until("datagrams", func() bool { return len(r.udp[s.ID()]) == 3 })
			for i, g := range r.udp[s.ID()] {
				require.Equal(t, datagram{addrOf(p), text(i, 100)}, g)
			}
			require.NotZero(t, r.batches)
			d := s.Dest(addrOf(p))
			require.Equal(t, addrOf(p), d.Addr())
			for i := range 3 {
				send(s, &d, text(i, 50+i))
			}
			r.Flush()
			for i, g := range read(t, p, 3) {
				require.Equal(t, text(i, 50+i), g)
			}
			st := r.Stats()
			require.EqualValues(t, 3, st.PacketsIn)
			require.EqualValues(t, 300, st.BytesIn)
			require.EqualValues(t, 3, st.PacketsOut)
			require.EqualValues(t, 153, st.BytesOut)
		})
	}
}

func TestIPv6OnlyRefusesIPv4(t *testing.T) {
	r := newRig(t)
	s := r.listen(UDPConfig{Addr: netip.MustParseAddrPort("[::]:0"), IPv6Only: true})
	other := r.listen(UDPConfig{Addr: netip.AddrPortFrom(lo4.Addr(), s.LocalAddr().Port())})
	require.Equal(t, s.LocalAddr().Port(), other.LocalAddr().Port())
	p := peer(t, "127.0.0.1:0")
	_, err := p.WriteToUDPAddrPort([]byte("x"), other.LocalAddr())
	require.NoError(t, err)
	r.until("datagram", func() bool { return len(r.udp[other.ID()]) == 1 })
	require.Empty(t, r.udp[s.ID()])
}

func TestPorts(t *testing.T) {
	r := newRig(t)
	t.Run("conflict", func(t *testing.T) {
		s := r.listen(UDPConfig{Addr: lo4})
		_, err := r.ListenUDP(UDPConfig{Addr: s.LocalAddr()})
		require.True(t, isAddrInUse(err), "%v", err)
		require.False(t, IsAddrNotAvailable(err) || IsTooManyFiles(err))
		s.Close()
		s.Close()
		s2 := r.listen(UDPConfig{Addr: s.LocalAddr()})
		require.NotEqual(t, s.ID(), s2.ID())
		s2.Close()
	})
	t.Run("reuse", func(t *testing.T) {
		a := r.listen(UDPConfig{Addr: lo4, ReusePort: true})
		b := r.listen(UDPConfig{Addr: a.LocalAddr(), ReusePort: true})
		_, err := r.ListenUDP(UDPConfig{Addr: a.LocalAddr()})
		require.True(t, isAddrInUse(err), "%v", err)
		a.Close()
		b.Close()
	})
	t.Run("tcp conflict", func(t *testing.T) {
		a, err := r.ListenTCP(TCPConfig{Addr: lo4})
		require.NoError(t, err)
		_, err = r.ListenTCP(TCPConfig{Addr: a.LocalAddr()})
		require.True(t, isAddrInUse(err), "%v", err)
		a.Close()
		a.Close()
		b, err := r.ListenTCP(TCPConfig{Addr: a.LocalAddr()})
		require.NoError(t, err)
		b.Close()
	})
	t.Run("no such address", func(t *testing.T) {
		addr := netip.MustParseAddrPort("192.0.2.1:0")
		_, err := r.ListenUDP(UDPConfig{Addr: addr})
		require.True(t, IsAddrNotAvailable(err), "%v", err)
		_, err = r.ListenTCP(TCPConfig{Addr: addr})
		require.True(t, IsAddrNotAvailable(err), "%v", err)
		_, err = r.ListenUDP(UDPConfig{})
		require.Error(t, err)
		_, err = r.ListenTCP(TCPConfig{})
		require.Error(t, err)
	})
	require.False(t, isAddrInUse(nil))
	require.False(t, IsTooManyFiles(errors.New("x")))
}

// TestRuns sends what becomes runs on Linux, and looks that nobody can tell.
func TestRuns(t *testing.T) {
	same := func(n, size int) (a []int) {
		for range n {
			a = append(a, size)
		}
		return a
	}
	for _, c := range []struct {
		name     string
		sizes    []int
		messages uint64 // to the kernel, on epoll
	}{
		{"one", []int{1200}, 1},
		{"run", same(4, 1200), 1},
		{"run with a short tail", append(same(4, 1200), 700), 1},
		{"nothing follows a short tail", []int{1200, 1200, 700, 700, 1200}, 3},
		{"growing", []int{100, 200, 300}, 3},
		{"mixed", []int{1200, 1200, 1100, 1100, 1100, 1200, 5, 5}, 4},
		{"64 segments", same(64, 100), 1},
		{"65 segments", same(65, 100), 2},
		{"200 segments", same(200, 1), 4},
		{"more bytes than a run takes", same(60, 1200), 2},
		{"too large for a run", same(3, 1453), 3},
		{"many sizes", []int{9, 8, 7, 6, 5, 4, 3, 2, 1}, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, gro := range []bool{false, true} {
				r := newRig(t)
				p := r.listen(UDPConfig{Addr: lo4, RecvBuffer: 4 << 20, GRO: gro})
				s := r.listen(UDPConfig{Addr: lo4, SendBuffer: 4 << 20})
				d := s.Dest(p.LocalAddr())
				for i, n := range c.sizes {
					send(s, &d, text(i, n))
				}
				r.Flush()
				r.until("datagrams", func() bool { return len(r.udp[p.ID()]) == len(c.sizes) })
				for i, g := range r.udp[p.ID()] {
					require.Equal(t, datagram{s.LocalAddr(), text(i, c.sizes[i])}, g, "datagram %d", i)
				}
				if onEpoll {
					require.Equal(t, c.messages, r.Stats().Messages)
					require.Zero(t, r.Stats().GSORefused)
					require.Equal(t, gro && r.Stats().GSOMessages > 0, r.Stats().GRORuns > 0)
				}
			}
		})
	}
}

// TestManyDestinations interleaves destinations and sockets.
func TestManyDestinations(t *testing.T) {
	r := newRig(t)
	var peers []UDPSocket
	var socks []UDPSocket
	for range 5 {
		peers = append(peers, r.listen(UDPConfig{Addr: lo4, RecvBuffer: 4 << 20}))
		socks = append(socks, r.listen(UDPConfig{Addr: lo4, SendBuffer: 4 << 20}))
	}
	want := map[uint64]int{}
	n := 0
	for i := range 3000 {
		s, p := socks[i%7%5], peers[i/3%5]
		d := s.Dest(p.LocalAddr()) // may be overwritten after Commit
		send(s, &d, text(i, 20+i%3))
		d = Dest{}
		want[p.ID()]++
		if n++; n == 300 {
			r.Flush()
			for range 10 { // receive: the kernel's buffers are bounded
				require.NoError(t, r.Wait(0, r))
			}
			n = 0
		}
	}
	r.Flush()
	for _, p := range peers {
		r.until("datagrams", func() bool { return len(r.udp[p.ID()]) == want[p.ID()] })
		last := map[netip.AddrPort]int{}
		for _, g := range r.udp[p.ID()] {
			var k int
			fmt.Sscanf(g.data, "%d.", &k)
			require.GreaterOrEqual(t, k, last[g.from], "out of order")
			last[g.from] = k
		}
	}
}

func TestBurst(t *testing.T) {
	const n = 2_000
	r := newRig(t)
	s := r.listen(UDPConfig{Addr: lo4, SendBuffer: 8 << 20, RecvBuffer: 8 << 20})
	p := peer(t, "127.0.0.1:0")
	d := s.Dest(addrOf(p))
	const burst = 100 // as much as the kernel's buffers hold
	for i := range n {
		send(s, &d, text(i, 100+i%2*5)) // no runs
		if (i+1)%burst > 0 {
			continue
		}
		r.Flush()
		for k, g := range read(t, p, burst) {
			require.Equal(t, text(i+1-burst+k, 100+k%2*5), g)
		}
	}
	// The other way.
	for i := range n {
		_, err := p.WriteToUDPAddrPort([]byte(text(i, 100)), s.LocalAddr())
		require.NoError(t, err)
		if (i+1)%burst == 0 {
			r.until("datagrams", func() bool { return len(r.udp[s.ID()]) == i+1 })
		}
	}
	for i, g := range r.udp[s.ID()] {
		require.Equal(t, text(i, 100), g.data)
	}
}

func TestBadDestinations(t *testing.T) {
	r := newRig(t)
	p := peer(t, "127.0.0.1:0")
	s := r.listen(UDPConfig{Addr: lo4})
	good := s.Dest(addrOf(p))
	bad := map[string]Dest{
		"zero":         {},
		"port 0":       s.Dest(netip.MustParseAddrPort("127.0.0.1:0")),
		"other family": s.Dest(netip.MustParseAddrPort("[::1]:9")),
		"unreachable":  s.Dest(netip.MustParseAddrPort("192.0.2.1:9")), // from 127.0.0.1
		"broadcast":    s.Dest(netip.MustParseAddrPort("255.255.255.255:9")),
	}
	if !onEpoll { // package net allows it
		delete(bad, "broadcast")
	}
	for name, b := range bad {
		t.Run(name, func(t *testing.T) {
			before := r.Stats()
			for i := range 90 {
				if i%9 == 4 {
					for range 3 { // a run
						send(s, &b, "lost")
					}
				}
				send(s, &good, text(i, 10+i%2*10))
			}
			r.Flush()
			for i, g := range read(t, p, 90) {
				require.Equal(t, text(i, 10+i%2*10), g)
			}
			silent(t, p)
			st := r.Stats()
			require.EqualValues(t, 30, st.DropDest+st.DropSendError-before.DropDest-before.DropSendError)
			require.EqualValues(t, 90, st.PacketsOut-before.PacketsOut)
			require.Zero(t, st.GSORefused, "a bad destination is not the kernel's refusal")
		})
	}
	t.Run("too long", func(t *testing.T) {
		send(s, &good, "a")
		require.Len(t, s.Reserve(70_000), 70_000)
		s.Commit(&good, 70_000)
		send(s, &good, "b")
		r.Flush()
		require.Equal(t, []string{"a", "b"}, read(t, p, 2))
		require.EqualValues(t, 1, r.Stats().DropTooLong)
	})
	t.Run("nothing committed", func(t *testing.T) {
		s.Reserve(100)
		s.Commit(&good, 0)
		s.Commit(&good, 50)
		s.Reserve(10)
		send(s, &good, "c")
		r.Flush()
		require.Equal(t, []string{"c"}, read(t, p, 1))
		silent(t, p)
	})
	t.Run("unreachable port", func(t *testing.T) {
		q := peer(t, "127.0.0.1:0")
		dead := s.Dest(addrOf(q))
		q.Close()
		for i := range 10 {
			send(s, &dead, "x")
			send(s, &good, text(i, 20))
			r.Flush()
		}
		require.Len(t, read(t, p, 10), 10)
		require.NoError(t, r.Wait(0, r))
	})
}

func TestLargest(t *testing.T) {
	r := newRig(t)
	p := peer(t, "127.0.0.1:0")
	s := r.listen(UDPConfig{Addr: lo4, SendBuffer: 1 << 20, RecvBuffer: 1 << 20})
	d := s.Dest(addrOf(p))
	for _, n := range []int{maxUDP4, 1, maxUDP4, maxUDP4, maxUDP4, maxUDP4, 1} {
		send(s, &d, text(n, n))
		require.Len(t, read1(t, r, p), n)
	}
	for _, n := range []int{MaxDatagram, MaxDatagram + 1, 20_000, 1} {
		_, err := p.WriteToUDPAddrPort([]byte(text(n, n)), s.LocalAddr())
		require.NoError(t, err)
	}
	r.until("datagrams", func() bool { return len(r.udp[s.ID()]) == 2 && r.Stats().DropTruncated == 2 })
	require.Equal(t, text(MaxDatagram, MaxDatagram), r.udp[s.ID()][0].data)
}

func read1(t *testing.T, r *rig, p *net.UDPConn) string {
	t.Helper()
	r.Flush()
	return read(t, p, 1)[0]
}

func TestWake(t *testing.T) {
	r := newRig(t)
	var wg sync.WaitGroup
	// Before: the next Wait returns.
	r.Wake()
	require.NoError(t, r.Wait(-1, r))
	// During.
	for range 20 {
		wg.Go(func() {
			time.Sleep(time.Millisecond) // so that Wait sleeps, mostly
			r.Wake()
		})
		require.NoError(t, r.Wait(-1, r))
		wg.Wait()
		require.NoError(t, r.Wait(0, r))
	}
	// No wake-up is lost: each post is followed by a Wait that returns.
	const posters, each = 8, 2_000
	var mu sync.Mutex
	posted, done := 0, 0
	for range posters {
		wg.Go(func() {
			for range each {
				mu.Lock()
				posted++
				mu.Unlock()
				r.Wake()
				runtime.Gosched()
			}
		})
	}
	for end := time.Now().Add(2 * patience); done < posters*each; {
		require.True(t, time.Now().Before(end), "%d of %d", done, posters*each)
		require.NoError(t, r.Wait(-1, r))
		mu.Lock()
		done = posted
		mu.Unlock()
	}
	wg.Wait()
	require.NoError(t, r.Close())
	for range 10 {
		r.Wake() // harmless
	}
	require.Error(t, r.Wait(-1, r))
	_, err := r.ListenUDP(UDPConfig{Addr: lo4})
	require.Error(t, err)
	_, err = r.ListenTCP(TCPConfig{Addr: lo4})
	require.Error(t, err)
}

func TestTimeout(t *testing.T) {
	r := newRig(t)
	for _, d := range []time.Duration{0, time.Microsecond, 3 * time.Millisecond, 20 * time.Millisecond} {
		at := r.Now()
		require.NoError(t, r.Wait(d, r))
		require.GreaterOrEqual(t, r.Now()-at, d)
		require.Less(t, r.Now()-at, d+patience)
	}
}

// TestBudget looks that Wait returns although more keeps coming.
func TestBudget(t *testing.T) {
	r := newRig(t)
	var socks []UDPSocket
	p := peer(t, "127.0.0.1:0")
	for range 6 {
		socks = append(socks, r.listen(UDPConfig{Addr: lo4, RecvBuffer: 4 << 20}))
	}
	for range 300 {
		for _, s := range socks {
			_, err := p.WriteToUDPAddrPort([]byte("x"), s.LocalAddr())
			require.NoError(t, err)
		}
	}
	total := 0
	r.until("datagrams", func() bool { // after each Wait
		n := 0
		for _, s := range socks {
			n += len(r.udp[s.ID()])
		}
		require.LessOrEqual(t, n-total, budget+batchSize)
		total = n
		return total == 1800
	})
}

func TestCloseWhileReceiving(t *testing.T) {
	r := newRig(t)
	p := peer(t, "127.0.0.1:0")
	a := r.listen(UDPConfig{Addr: lo4, RecvBuffer: 1 << 20})
	b := r.listen(UDPConfig{Addr: lo4, RecvBuffer: 1 << 20})
	back := a.Dest(addrOf(p))
	r.onUDP = func(s UDPSocket, _ netip.AddrPort, _ []byte) {
		if s.ID() != a.ID() || len(r.udp[a.ID()]) != 5 {
			return
		}
		send(a, &back, "last words")
		a.Close()
		b.Close()
		// The port is free, and an index may be reused at once.
		c := r.listen(UDPConfig{Addr: a.LocalAddr()})
		require.NotEqual(t, a.ID(), c.ID())
	}
	for range 20 {
		for _, s := range []UDPSocket{a, b} {
			_, err := p.WriteToUDPAddrPort([]byte("x"), s.LocalAddr())
			require.NoError(t, err)
		}
	}
	r.until("close", func() bool { return len(r.udp[a.ID()]) >= 5 })
	require.Equal(t, []string{"last words"}, read(t, p, 1))
	n := len(r.udp[b.ID()])
	for range 5 {
		require.NoError(t, r.Wait(time.Millisecond, r))
	}
	require.Len(t, r.udp[a.ID()], 5)
	require.Len(t, r.udp[b.ID()], n)
	send(a, &back, "from the grave")
	r.Flush()
	silent(t, p)
}
