package acceptance

import (
	"net"
	"net/netip"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// A relay stands between an endpoint and a Transport, as a NAT does: it can
// change its address, and it can stop to forward.
type relay struct {
	t      testing.TB
	front  *net.UDPConn // what the endpoint sends to
	target netip.AddrPort

	mu     sync.Mutex
	back   *net.UDPConn   // what the Transport sees; guarded by mu
	client netip.AddrPort // guarded by mu
}

func newRelay(t testing.TB, target netip.AddrPort) *relay {
	t.Helper()
	r := &relay{t: t, front: openUDP(t, target.Addr()), target: target}
	r.move()
	go r.forward() // ends with the front socket
	return r
}

// addr is where the endpoint has to send.
func (r *relay) addr() netip.AddrPort { return addrOf(r.front) }

// source is what the Transport sees as the endpoint's address.
func (r *relay) source() netip.AddrPort {
	r.mu.Lock()
	defer r.mu.Unlock()
	return addrOf(r.back)
}

// move takes another address. What is sent to the old one still arrives.
func (r *relay) move() {
	r.t.Helper()
	back := openUDP(r.t, r.target.Addr())
	r.mu.Lock()
	r.back = back
	r.mu.Unlock()
	go r.backward(back) // ends with the socket
}

func (r *relay) forward() {
	b := make([]byte, 1<<16)
	for {
		n, from, err := r.front.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		r.mu.Lock()
		r.client = from
		back := r.back
		r.mu.Unlock()
		back.WriteToUDPAddrPort(b[:n], r.target)
	}
}

func (r *relay) backward(back *net.UDPConn) {
	b := make([]byte, 1<<16)
	for {
		n, err := back.Read(b)
		if err != nil {
			return
		}
		r.mu.Lock()
		client := r.client
		r.mu.Unlock()
		if client.IsValid() {
			r.front.WriteToUDPAddrPort(b[:n], client)
		}
	}
}

// relayTo makes a relay to the first candidate of a transport.
func relayTo(t testing.TB, address string, port uint16) *relay {
	t.Helper()
	ip, err := netip.ParseAddr(address)
	require.NoError(t, err)
	return newRelay(t, netip.AddrPortFrom(ip, port))
}

// addrWithPort is a port of the loopback address.
func addrWithPort(port uint16) netip.AddrPort { return netip.AddrPortFrom(loopback, port) }

func dialTCP(t testing.TB, port uint16) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addrWithPort(port).String())
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}
