package engine

import (
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/mafalda-sfu/mafalda/internal/dtls"
)

// A stuckPair is a connected DTLS association of which one end can't send any
// more once held is set.
type stuckPair struct {
	ours, theirs *dtls.Conn
	held         atomic.Bool
	gate         chan struct{} // closed to let it go on
}

func newStuckPair(t *testing.T) *stuckPair {
	p := &stuckPair{gate: make(chan struct{})}
	up := make(chan struct{}, 2)
	event := func(e dtls.Event) {
		if e.State == dtls.Connected {
			up <- struct{}{}
		}
	}
	ready := make(chan struct{})
	p.ours = dtls.Start(dtls.Config{Certificate: testCertificate(), Event: event, Send: func(b []byte) {
		if p.held.Load() {
			<-p.gate
		}
		p.theirs.Feed(b)
	}}, dtls.Server)
	p.theirs = dtls.Start(dtls.Config{Certificate: testCertificate(), Event: event, Send: func(b []byte) {
		<-ready
		p.ours.Feed(b)
	}}, dtls.Client)
	close(ready)
	for range 2 {
		select {
		case <-up:
		case <-time.After(10 * time.Second):
			t.Fatal("no connection")
		}
	}
	p.held.Store(true)
	return p
}

func (p *stuckPair) end() {
	close(p.gate)
	p.ours.Close()
	p.theirs.Close()
	p.ours.Wait()
	p.theirs.Wait()
}

// TestCloseOfStuckDTLS closes a transport, and what it is part of, while DTLS
// can't say what it has to: Close gives up waiting, the loop goes on meanwhile,
// and ports are free after it.
func TestCloseOfStuckDTLS(t *testing.T) {
	for name, end := range map[string]func(*Worker) error{
		"transport": func(w *Worker) error {
			_, err := Close(w, "t", func(m *Machine) error { return m.CloseTransport("t") })
			return err
		},
		"router": func(w *Worker) error {
			_, err := Close(w, "r", func(m *Machine) error { return m.CloseRouter("r") })
			return err
		},
		"worker": func(w *Worker) error { w.Close(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			pair := newStuckPair(t)
			defer pair.end()
			w, _ := newTestWorker(t)
			loopback := netip.MustParseAddr("127.0.0.1")
			var addr netip.AddrPort
			run(t, w, func(m *Machine) error { return m.CreateRouter("r") })
			run(t, w, func(m *Machine) error {
				_, err := m.CreateWebRTCTransport("r", WebRTCTransportOptions{
					ID: "t", ListenInfos: []ListenInfo{{Protocol: UDP, IP: loopback}},
				})
				if err != nil {
					return err
				}
				x := m.transports["t"].part.(*webRTCTransport)
				x.dtls, x.dtlsState = pair.ours, "connected"
				s := x.listeners[0].udp
				addr = s.LocalAddr()
				x.t.out = path{udp: s, dest: s.Dest(netip.AddrPortFrom(loopback, 9))}
				return nil
			})
			closed := make(chan error, 2)
			go func() { closed <- end(w) }() // ends after maxFarewell
			go func() { closed <- end(w) }()
			var failed int
			for range 2 {
				select {
				case err := <-closed:
					if err != nil {
						require.ErrorIs(t, err, ErrNotFound)
						failed++
					}
				case <-time.After(10 * time.Second):
					t.Fatal("Close does not return")
				}
			}
			require.LessOrEqual(t, failed, 1)
			c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(addr))
			require.NoError(t, err, "the port is not free")
			c.Close()
		})
	}
}

// TestCloseWithoutPeer checks that closing takes one operation when nobody has
// to be told.
func TestCloseWithoutPeer(t *testing.T) {
	w, _ := newTestWorker(t)
	run(t, w, func(m *Machine) error { return m.CreateRouter("r") })
	calls := 0
	_, err := Close(w, "r", func(m *Machine) error { calls++; return m.CloseRouter("r") })
	require.NoError(t, err)
	_, err = Close(w, "r", func(m *Machine) error { calls++; return m.CloseRouter("r") })
	require.ErrorIs(t, err, ErrNotFound)
	require.Equal(t, 2, calls)
	w.Close()
	_, err = Close(w, "r", func(*Machine) error { calls++; return nil })
	require.ErrorIs(t, err, ErrClosed)
	require.Equal(t, 2, calls)
}

// TestReleaseOfBrokenState releases a Machine whose objects can't be closed:
// goroutines of DTLS must not outlive it.
func TestReleaseOfBrokenState(t *testing.T) {
	before := goleak.IgnoreCurrent()
	p := newWebPeer(t)
	p.connect()
	_, err := p.m.CreateWebRTCTransport("r", WebRTCTransportOptions{ID: "b", ServerID: "s", EnableUDP: true})
	require.NoError(t, err)
	ufrag, pwd := p.credentials("b")
	require.True(t, p.check(netip.MustParseAddrPort("10.1.0.2:5"), ufrag, pwd)) // DTLS waits for a hello
	p.m.routers["r"].transports[0] = nil
	require.Panics(t, func() { p.m.routers["r"].close() })
	p.m.release()
	p.conn.Close()
	goleak.VerifyNone(t, before)
}

// TestDeathOfBrokenState is the same for a Worker that dies of it.
func TestDeathOfBrokenState(t *testing.T) {
	before := goleak.IgnoreCurrent()
	pair := newStuckPair(t)
	pair.held.Store(false)
	died := make(chan error, 1)
	w, err := Start(Config{
		Certificate: testCertificate(), Limiter: dtls.NewLimiter(0), RTCMinPort: 20000, RTCMaxPort: 40000,
		Notify: func(Notification) {}, Died: func(err error) { died <- err },
	})
	require.NoError(t, err)
	_, err = Run(t.Context(), w, func(m *Machine) error {
		if err := m.CreateRouter("r"); err != nil {
			return err
		}
		if _, err := m.CreateWebRTCTransport("r", WebRTCTransportOptions{
			ID: "t", ListenInfos: []ListenInfo{{Protocol: UDP, IP: netip.MustParseAddr("127.0.0.1")}},
		}); err != nil {
			return err
		}
		m.transports["t"].part.(*webRTCTransport).dtls = pair.ours
		m.routers["r"].transports = append([]*transport{nil}, m.routers["r"].transports...)
		panic("planted")
	})
	require.ErrorIs(t, err, ErrClosed)
	select {
	case err := <-died:
		require.ErrorContains(t, err, "planted")
	case <-time.After(10 * time.Second):
		t.Fatal("the Worker did not die")
	}
	w.Close()
	select {
	case <-pair.ours.Done(): // before the peer ends it
	case <-time.After(10 * time.Second):
		t.Error("DTLS goes on")
	}
	pair.ours.Close()
	pair.theirs.Close()
	goleak.VerifyNone(t, before)
}
