package driver

import (
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/mafalda-sfu/mafalda/internal/tcp"
	"github.com/stretchr/testify/require"
)

func (r *rig) listenTCP(cfg TCPConfig) TCPListener {
	r.t.Helper()
	l, err := r.ListenTCP(cfg)
	require.NoError(r.t, err)
	return l
}

// dial connects to l and waits for the acceptance.
func (r *rig) dial(l TCPListener, ip string) (*net.TCPConn, TCPConn) {
	r.t.Helper()
	a := net.TCPAddr{IP: net.ParseIP(ip), Port: int(l.LocalAddr().Port())}
	p, err := net.DialTCP("tcp", nil, &a)
	require.NoError(r.t, err)
	r.t.Cleanup(func() { p.Close() })
	n := len(r.opened)
	r.until("connection", func() bool { return len(r.opened) > n })
	return p, r.opened[n]
}

func readFrame(t *testing.T, p net.Conn) string {
	t.Helper()
	require.NoError(t, p.SetReadDeadline(time.Now().Add(patience)))
	var h [2]byte
	_, err := io.ReadFull(p, h[:])
	require.NoError(t, err)
	b := make([]byte, binary.BigEndian.Uint16(h[:]))
	_, err = io.ReadFull(p, b)
	require.NoError(t, err)
	return string(b)
}

func stream(frames ...string) []byte {
	var b []byte
	for _, f := range frames {
		b = tcp.AppendFrame(b, []byte(f))
	}
	return b
}

func TestTCP(t *testing.T) {
	for _, c := range []struct{ name, bind, ip string }{
		{"IPv4", "127.0.0.1:0", "127.0.0.1"},
		{"IPv6", "[::1]:0", "::1"},
		{"dual, IPv4 peer", "[::]:0", "127.0.0.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			l := r.listenTCP(TCPConfig{Addr: mustAddr(c.bind), SendBuffer: 1 << 18, RecvBuffer: 1 << 18})
			l.SetOwner(7)
			require.Equal(t, 7, l.Owner())
			p, s := r.dial(l, c.ip)
			require.NotZero(t, s.ID())
			s.SetOwner(8)
			require.Equal(t, 8, s.Owner())
			require.Equal(t, l.LocalAddr().Port(), s.LocalAddr().Port())
			require.Equal(t, p.LocalAddr().(*net.TCPAddr).AddrPort(), s.RemoteAddr())
			_, err := p.Write(stream("hello", "", "world"))
			require.NoError(t, err)
			r.until("frames", func() bool { return len(r.frames[s.ID()]) == 2 })
			require.Equal(t, []string{"hello", "world"}, r.frames[s.ID()])
			require.True(t, s.Send([]byte("one")))
			require.True(t, s.Send([]byte("two")))
			require.False(t, s.Send(nil))
			require.False(t, s.Send(make([]byte, MaxFrame+1)))
			r.Flush()
			require.Equal(t, "one", readFrame(t, p))
			require.Equal(t, "two", readFrame(t, p))
			l.Close() // the connection lives on
			require.True(t, s.Send([]byte("three")))
			r.Flush()
			require.Equal(t, "three", readFrame(t, p))
			require.True(t, s.Send([]byte("last")))
			s.Close()
			s.Close()
			require.False(t, s.Send([]byte("late")))
			require.Equal(t, "last", readFrame(t, p))
			_, err = p.Read(make([]byte, 1))
			require.Error(t, err)
			require.NoError(t, r.Wait(0, r))
			require.Empty(t, r.closed, "our own close is not told")
		})
	}
}

func TestTCPChunks(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", MaxFrame/16+1)[:MaxFrame]
	frames := []string{"a", "", long[:3000], "bc", long, long[:1], "", long[:60_000], long[:1200], "end"}
	all := stream(frames...)
	var want []string
	for _, f := range frames {
		if f != "" {
			want = append(want, f)
		}
	}
	for _, c := range []struct {
		name  string
		chunk func(i int) int
		ends  bool
	}{
		{"whole", func(int) int { return len(all) }, false},
		{"1000", func(int) int { return 1000 }, false},
		{"1 to 5000", func(i int) int { return 1 + i*i*37%5000 }, false},
		{"65,536 then close", func(int) int { return 65_536 }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			p, s := r.dial(r.listenTCP(TCPConfig{Addr: lo4}), "127.0.0.1")
			rest := all
			for i := 0; len(rest) > 0; i++ {
				n := min(c.chunk(i), len(rest))
				_, err := p.Write(rest[:n])
				require.NoError(t, err)
				rest = rest[n:]
				require.NoError(t, r.Wait(0, r))
			}
			if c.ends {
				require.NoError(t, p.CloseWrite())
				r.until("close", func() bool { return len(r.closed) == 1 })
			}
			r.until("frames", func() bool { return len(r.frames[s.ID()]) == len(want) })
			require.Equal(t, want, r.frames[s.ID()])
		})
	}
	t.Run("byte by byte", func(t *testing.T) {
		r := newRig(t)
		p, s := r.dial(r.listenTCP(TCPConfig{Addr: lo4}), "127.0.0.1")
		for _, b := range stream("ab", "", "c") {
			_, err := p.Write([]byte{b})
			require.NoError(t, err)
			require.NoError(t, r.Wait(20*time.Millisecond, r))
		}
		r.until("frames", func() bool { return len(r.frames[s.ID()]) == 2 })
		require.Equal(t, []string{"ab", "c"}, r.frames[s.ID()])
	})
}

func TestTCPFrameTooLong(t *testing.T) {
	for _, head := range []string{"", "x"} {
		r := newRig(t)
		p, s := r.dial(r.listenTCP(TCPConfig{Addr: lo4}), "127.0.0.1")
		var b []byte
		if head != "" {
			b = stream(head)
		}
		_, err := p.Write(append(b, 0xff))
		require.NoError(t, err)
		require.NoError(t, r.Wait(20*time.Millisecond, r))
		_, err = p.Write([]byte{0xff, 0})
		require.NoError(t, err)
		r.until("close", func() bool { return len(r.closed) == 1 })
		require.Equal(t, s.ID(), r.closed[0])
		require.Len(t, r.frames[s.ID()], len(head))
		require.False(t, s.Send([]byte("x")))
	}
}

func TestTCPEnds(t *testing.T) {
	t.Run("half-closed", func(t *testing.T) {
		r := newRig(t)
		p, s := r.dial(r.listenTCP(TCPConfig{Addr: lo4}), "127.0.0.1")
		_, err := p.Write(stream("bye"))
		require.NoError(t, err)
		require.NoError(t, p.CloseWrite())
		r.onFrame = func(c TCPConn, _ []byte) { require.True(t, c.Send([]byte("bye, too"))) }
		r.until("close", func() bool { return len(r.closed) == 1 })
		require.Equal(t, []string{"bye"}, r.frames[s.ID()])
		require.Equal(t, "bye, too", readFrame(t, p), "what was queued is sent")
		for range 3 {
			require.NoError(t, r.Wait(time.Millisecond, r))
		}
		require.Len(t, r.closed, 1)
	})
	t.Run("reset", func(t *testing.T) {
		r := newRig(t)
		p, s := r.dial(r.listenTCP(TCPConfig{Addr: lo4}), "127.0.0.1")
		require.NoError(t, p.SetLinger(0))
		require.NoError(t, p.Close())
		for range 3 { // errors while writing
			s.Send([]byte("x"))
			r.Flush()
		}
		r.until("close", func() bool { return len(r.closed) == 1 })
		require.False(t, s.Send([]byte("x")))
		for range 3 {
			require.NoError(t, r.Wait(time.Millisecond, r))
		}
		require.Equal(t, []uint64{s.ID()}, r.closed)
	})
	t.Run("closed by the handler", func(t *testing.T) {
		r := newRig(t)
		p, s := r.dial(r.listenTCP(TCPConfig{Addr: lo4}), "127.0.0.1")
		r.onFrame = func(c TCPConn, _ []byte) { c.Close() }
		_, err := p.Write(stream("1", "2", "3"))
		require.NoError(t, err)
		r.until("frame", func() bool { return len(r.frames[s.ID()]) > 0 })
		for range 3 {
			require.NoError(t, r.Wait(time.Millisecond, r))
		}
		require.Equal(t, []string{"1"}, r.frames[s.ID()])
		require.Empty(t, r.closed)
	})
	t.Run("many", func(t *testing.T) {
		r := newRig(t)
		l := r.listenTCP(TCPConfig{Addr: lo4})
		var ps []net.Conn
		for range 100 {
			p, err := net.Dial("tcp", l.LocalAddr().String())
			require.NoError(t, err)
			defer p.Close()
			_, err = p.Write(stream("hi"))
			require.NoError(t, err)
			ps = append(ps, p)
		}
		r.until("frames", func() bool { return len(r.frames) == 100 })
		for _, c := range r.opened {
			require.True(t, c.Send([]byte("ho")))
		}
		r.Flush()
		for _, p := range ps {
			require.Equal(t, "ho", readFrame(t, p))
			require.NoError(t, p.Close())
		}
		r.until("closes", func() bool { return len(r.closed) == 100 })
	})
}

// TestTCPSlowReader looks that what a peer does not read stays bounded, that
// no frame is cut, and that a late reader gets what was accepted.
func TestTCPSlowReader(t *testing.T) {
	r := newRig(t)
	l := r.listenTCP(TCPConfig{Addr: lo4, SendBuffer: 64 << 10})
	p, s := r.dial(l, "127.0.0.1")
	require.NoError(t, p.SetReadBuffer(64<<10))
	const size = 1200
	accepted := 0
	for i := range 20_000 {
		if s.Send([]byte(text(i, size))) {
			accepted++
		}
		if i%10 == 0 {
			r.Flush()
			require.NoError(t, r.Wait(0, r))
		}
	}
	require.Less(t, accepted, 12_000, "more than 14 MB accepted")
	require.Greater(t, accepted, 100)
	require.EqualValues(t, 20_000-accepted, r.Stats().DropTCPQueue)
	done := make(chan string) // ended by the read of all
	go func() {
		for range accepted - 1 {
			f := readFrame(t, p)
			if len(f) != size || f[size-1] == 0 {
				done <- "a frame was cut"
				return
			}
		}
		done <- readFrame(t, p)
	}()
	var last string
	r.until("reading", func() bool {
		select {
		case last = <-done:
			return true
		default:
			return false
		}
	})
	require.Len(t, last, size)
	require.True(t, s.Send([]byte("again")))
	r.Flush()
	r.until("flush", func() bool { return true })
	require.Equal(t, "again", readFrame(t, p))
}

// TestCloseWithConnections leaves everything open.
func TestCloseWithConnections(t *testing.T) {
	r := newRig(t)
	l := r.listenTCP(TCPConfig{Addr: lo4})
	p, s := r.dial(l, "127.0.0.1")
	r.listen(UDPConfig{Addr: lo4})
	for range 2_000 { // a queue that nobody reads
		s.Send(make([]byte, 1200))
	}
	require.NoError(t, r.Close())
	require.NoError(t, r.Close())
	require.NoError(t, p.SetReadDeadline(time.Now().Add(patience)))
	_, err := io.Copy(io.Discard, p)
	if ne, ok := err.(net.Error); ok {
		require.False(t, ne.Timeout(), "still open")
	}
	require.Empty(t, r.closed)
}
