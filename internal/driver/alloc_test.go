package driver

import (
	"net/netip"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// echo sends every datagram back to where it came from.
type echo struct {
	dest  map[netip.AddrPort]*Dest
	count int
}

func (e *echo) HandleUDP(s UDPSocket, from netip.AddrPort, data []byte) {
	e.count++
	if d := e.dest[from]; d != nil {
		b := s.Reserve(len(data))
		s.Commit(d, copy(b, data))
	}
}
func (e *echo) HandleTCPOpen(TCPListener, TCPConn) {}
func (e *echo) HandleTCPFrame(c TCPConn, b []byte) { e.count++; c.Send(b) }
func (e *echo) HandleTCPClose(TCPConn)             {}
func (e *echo) EndOfBatch()                        {}

func TestUDPAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	r := newRig(t)
	var a UDPSocket
	e := &echo{dest: map[netip.AddrPort]*Dest{}}
	var socks []UDPSocket
	for _, bind := range []netip.AddrPort{lo4, lo6} {
		a = r.listen(UDPConfig{Addr: bind})
		b := r.listen(UDPConfig{Addr: bind, GRO: true})
		d := b.Dest(a.LocalAddr())
		e.dest[a.LocalAddr()] = &d
		socks = append(socks, a, b)
	}
	to := []Dest{socks[0].Dest(socks[1].LocalAddr()), socks[2].Dest(socks[3].LocalAddr())}
	turn := func() {
		for i := range 40 {
			s := socks[i/4%2*2]
			s.Reserve(1200)
			s.Commit(&to[i/4%2], 1200-i%3)
		}
		r.Flush()
		for e.count = 0; e.count < 80; {
			if err := r.Wait(-1, e); err != nil {
				t.Fatal(err)
			}
			r.Flush()
		}
	}
	for range 20 {
		turn()
	}
	require.Zero(t, testing.AllocsPerRun(50, turn))
}

func TestTCPAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	r := newRig(t)
	p, _ := r.dial(r.listenTCP(TCPConfig{Addr: lo4}), "127.0.0.1")
	e := &echo{}
	var out []byte
	for i := range 20 {
		out = append(out, stream(text(i, 1200))...)
	}
	in := make([]byte, len(out))
	turn := func() {
		e.count = 0
		n := len(out) / 3 // cuts a frame
		for _, b := range [][]byte{out[:n], out[n:]} {
			if _, err := p.Write(b); err != nil {
				t.Fatal(err)
			}
			r.Wait(0, e)
		}
		for e.count < 20 {
			r.Wait(-1, e)
		}
		r.Flush()
		for got := 0; got < len(in); {
			k, err := p.Read(in[got:])
			if err != nil {
				t.Fatal(err)
			}
			got += k
		}
	}
	for range 20 {
		turn()
	}
	require.Zero(t, testing.AllocsPerRun(50, turn))
}

// TestManySockets opens a socket for each of a thousand transports.
func TestManySockets(t *testing.T) {
	const n = 1_000
	r := newRig(t)
	p := r.listen(UDPConfig{Addr: lo4, RecvBuffer: 4 << 20})
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	before := heap()
	var socks []UDPSocket
	for range n {
		socks = append(socks, r.listen(UDPConfig{Addr: lo4}))
	}
	for i, s := range socks {
		d := s.Dest(p.LocalAddr())
		send(s, &d, text(i, 1000))
		if i%50 == 49 {
			r.Flush()
			require.NoError(t, r.Wait(0, r))
		}
	}
	r.Flush()
	r.until("datagrams", func() bool { return len(r.udp[p.ID()]) == n })
	require.Len(t, socks, n)
	r.udp = nil
	per := (int64(heap()) - int64(before)) / n
	t.Logf("%d bytes per socket", per)
	if onEpoll && !raceEnabled {
		require.Less(t, per, int64(1024))
	}
}
