//go:build linux && !portable

package driver

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestRunsRefused makes the kernel refuse UDP_SEGMENT: it does on sockets
// without checksums.
func TestRunsRefused(t *testing.T) {
	r := newRig(t)
	p := peer(t, "127.0.0.1:0")
	s := r.listen(UDPConfig{Addr: lo4})
	require.NoError(t, unix.SetsockoptInt(s.(*udpSocket).fd, unix.SOL_SOCKET, unix.SO_NO_CHECK, 1))
	d := s.Dest(addrOf(p))
	bad := s.Dest(mustAddr("255.255.255.255:9"))
	send(s, &bad, "a bad run first")
	send(s, &bad, "a bad run first")
	var want []string
	for i := range 30 {
		for range 3 {
			want = append(want, text(i, 100+i))
			send(s, &d, text(i, 100+i))
		}
	}
	r.Flush()
	require.Equal(t, want, read(t, p, 90))
	silent(t, p)
	st := r.Stats()
	require.EqualValues(t, 1, st.GSORefused)
	require.EqualValues(t, 90, st.PacketsOut)
	require.EqualValues(t, 2, st.DropSendError)
	require.Zero(t, st.GSOMessages)
	// It is remembered.
	for range 3 {
		send(s, &d, "again")
	}
	r.Flush()
	require.Len(t, read(t, p, 3), 3)
	require.Equal(t, st.SendCalls+1, r.Stats().SendCalls)
}

// TestFragments sends more than the loopback device takes in one packet.
func TestFragments(t *testing.T) {
	r := newRig(t)
	p := peer(t, "[::1]:0")
	s := r.listen(UDPConfig{Addr: lo6, SendBuffer: 4 << 20})
	d := s.Dest(addrOf(p))
	require.True(t, s.(*udpSocket).probe)
	for _, n := range []int{10, maxUDP4, 20} {
		send(s, &d, text(1, n))
	}
	r.Flush()
	for i, g := range read(t, p, 3) {
		require.Len(t, g, []int{10, maxUDP4, 20}[i])
	}
	require.False(t, s.(*udpSocket).probe)
	require.Zero(t, r.Stats().DropSendError)
}

// TestNoFiles accepts without a file descriptor left.
func TestNoFiles(t *testing.T) {
	r := newRig(t)
	l := r.listenTCP(TCPConfig{Addr: lo4})
	dial := func() net.Conn {
		c, err := net.Dial("tcp", l.LocalAddr().String())
		require.NoError(t, err)
		t.Cleanup(func() { c.Close() })
		return c
	}
	refused, kept := dial(), dial()
	var old unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &old))
	next, err := unix.Dup(0) // the lowest free number is the new limit
	require.NoError(t, err)
	unix.Close(next)
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(next), Max: old.Max}))
	restore := func() { unix.Setrlimit(unix.RLIMIT_NOFILE, &old) }
	t.Cleanup(restore)
	_, err = r.ListenUDP(UDPConfig{Addr: lo4})
	require.True(t, IsTooManyFiles(err), "%v", err)
	require.NoError(t, r.Wait(0, r))
	restore()
	require.Empty(t, r.opened)
	require.EqualValues(t, 1, r.Stats().DropAccept)
	require.NoError(t, refused.SetReadDeadline(time.Now().Add(patience)))
	_, err = refused.Read(make([]byte, 1))
	require.Error(t, err)
	require.NotErrorIs(t, err, unix.EAGAIN)
	r.until("connection", func() bool { return len(r.opened) == 1 })
	require.Equal(t, kept.LocalAddr().String(), r.opened[0].RemoteAddr().String())
}
