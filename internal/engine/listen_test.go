package engine

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPortsReturn checks that ports of a range come back, whichever way their
// owner ends.
func TestPortsReturn(t *testing.T) {
	ip := netip.MustParseAddr("10.0.0.1")
	info := ListenInfo{Protocol: UDP, IP: ip, PortMin: 4000, PortMax: 4001}
	w := newVirtualWorld(t)
	m := w.m
	require.NoError(t, m.CreateRouter("r"))
	plain := func(id string) error {
		_, err := m.CreatePlainTransport("r", PlainTransportOptions{ID: id, ListenInfo: info})
		return err
	}
	require.NoError(t, plain("a"))
	require.NoError(t, plain("b"))
	require.ErrorIs(t, plain("c"), ErrUnavailable)
	require.NoError(t, m.CloseTransport("a"))
	require.NoError(t, plain("c"))
	require.NoError(t, m.CloseRouter("r"))
	require.Empty(t, w.d.bound)

	// Of several infos the last fails: the others are given back.
	require.NoError(t, m.CreateRouter("r"))
	bad := []ListenInfo{info, info, info}
	for range 3 {
		require.ErrorIs(t, m.CreateWebRTCServer("s", bad), ErrUnavailable)
		require.Empty(t, w.d.bound)
		_, err := m.CreateWebRTCTransport("r", WebRTCTransportOptions{ID: "w", ListenInfos: bad})
		require.ErrorIs(t, err, ErrUnavailable)
		require.Empty(t, w.d.bound)
		_, err = m.CreatePlainTransport("r", PlainTransportOptions{
			ID: "d", ListenInfo: info, RTCPListenInfo: &ListenInfo{Protocol: TCP, IP: ip},
		})
		require.ErrorIs(t, err, ErrInvalidArgument)
		require.Empty(t, w.d.bound)
	}
	require.NoError(t, m.CreateWebRTCServer("s", bad[:2]))
	require.Len(t, w.d.bound, 2)
	require.ErrorIs(t, plain("d"), ErrUnavailable)
	require.NoError(t, m.CloseWebRTCServer("s"))
	require.NoError(t, plain("d"))

	// A fixed port.
	fixed := ListenInfo{Protocol: UDP, IP: ip, Port: 9}
	one := func(id string) error {
		_, err := m.CreatePlainTransport("r", PlainTransportOptions{ID: id, ListenInfo: fixed})
		return err
	}
	require.NoError(t, one("e"))
	require.ErrorIs(t, one("f"), ErrUnavailable)
	require.NoError(t, m.CloseTransport("e"))
	require.NoError(t, one("f"))
	m.release()
	require.Empty(t, w.d.bound)
	require.Zero(t, m.pool.InUse())
}

func TestListenInfoErrors(t *testing.T) {
	ip := netip.MustParseAddr("10.0.0.1")
	w := newVirtualWorld(t)
	require.NoError(t, w.m.CreateRouter("r"))
	for name, info := range map[string]ListenInfo{
		"no IP":       {Protocol: UDP},
		"no protocol": {IP: ip},
		"inverted":    {Protocol: UDP, IP: ip, PortMin: 5, PortMax: 4},
	} {
		require.ErrorIs(t, w.m.CreateWebRTCServer("s", []ListenInfo{info}), ErrInvalidArgument, name)
	}
	require.ErrorIs(t, w.m.CreateWebRTCServer("s", nil), ErrInvalidArgument)
	_, err := w.m.CreateWebRTCTransport("r", WebRTCTransportOptions{ID: "t"})
	require.ErrorIs(t, err, ErrInvalidArgument)
	_, err = w.m.CreateWebRTCTransport("r", WebRTCTransportOptions{ID: "t", ServerID: "none"})
	require.Error(t, err)
	require.Empty(t, w.d.bound)
	require.Empty(t, w.m.transports)
	require.Empty(t, w.m.servers)
}

func TestReaches(t *testing.T) {
	for _, test := range []struct {
		local  string
		only6  bool
		remote string
		want   bool
	}{
		{"10.0.0.1", false, "10.0.0.2", true},
		{"10.0.0.1", false, "fd00::2", false},
		{"0.0.0.0", false, "10.0.0.2", true},
		{"0.0.0.0", false, "fd00::2", false},
		{"fd00::1", false, "fd00::2", true},
		{"fd00::1", false, "10.0.0.2", false},
		{"::", false, "fd00::2", true},
		{"::", false, "10.0.0.2", true},
		{"::", true, "fd00::2", true},
		{"::", true, "10.0.0.2", false},
	} {
		l := ListenInfo{IP: netip.MustParseAddr(test.local), IPv6Only: test.only6}
		require.Equal(t, test.want, l.reaches(netip.MustParseAddr(test.remote)),
			"from %s to %s, IPv6 only: %v", test.local, test.remote, test.only6)
	}
}
