package dtls

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pdtls "github.com/pion/dtls/v3"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/mafalda-sfu/mafalda/internal/srtp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

var testCertificate = sync.OnceValue(func() *Certificate {
	c, err := Generate(nil)
	if err != nil {
		panic(err)
	}
	return c
})

// end is a Conn under test with what it reported.
type end struct {
	*Conn
	events chan Event
	sent   atomic.Int64
	// out gets what the Conn sends. It may be changed at any time.
	out atomic.Pointer[func([]byte)]
}

func (e *end) route(f func([]byte)) { e.out.Store(&f) }

func start(t testing.TB, role Role, change func(*Config)) *end {
	t.Helper()
	e := &end{events: make(chan Event, 10_000)}
	e.route(func([]byte) {})
	cfg := Config{
		Certificate: testCertificate(),
		Send: func(b []byte) {
			e.sent.Add(1)
			(*e.out.Load())(b)
		},
		Event: func(ev Event) { e.events <- ev },
	}
	if change != nil {
		change(&cfg)
	}
	e.Conn = Start(cfg, role)
	t.Cleanup(func() {
		e.Close()
		e.Wait()
	})
	return e
}

func (e *end) next(t testing.TB) Event {
	t.Helper()
	select {
	case ev := <-e.events:
		return ev
	case <-time.After(patience):
		require.Fail(t, "no event")
		return Event{}
	}
}

func (e *end) expect(t testing.TB, s State) Event {
	t.Helper()
	ev := e.next(t)
	require.Equal(t, s, ev.State, "event %v: %v", ev.State, ev.Err)
	return ev
}

// quiet checks that the Conn has ended and reported nothing more.
func (e *end) quiet(t testing.TB) {
	t.Helper()
	select {
	case <-e.done:
	case <-time.After(patience):
		require.Fail(t, "did not end")
	}
	select {
	case ev := <-e.events:
		require.Fail(t, "one event too many", "%v %v", ev.State, ev.Err)
	default:
	}
}

// pair starts a server and a client that are connected to each other.
func pair(t testing.TB, server, client func(*Config)) (s, c *end) {
	t.Helper()
	s = start(t, Server, server)
	ready := make(chan struct{})
	c = start(t, Client, func(cfg *Config) {
		send := cfg.Send
		cfg.Send = func(b []byte) { <-ready; send(b) }
		if client != nil {
			client(cfg)
		}
	})
	c.route(func(b []byte) { s.Feed(b) })
	s.route(func(b []byte) { c.Feed(b) })
	close(ready)
	return s, c
}

func connectedPair(t testing.TB, server, client func(*Config)) (s, c *end, se, ce Event) {
	t.Helper()
	s, c = pair(t, server, client)
	s.expect(t, Connecting)
	c.expect(t, Connecting)
	return s, c, s.expect(t, Connected), c.expect(t, Connected)
}

func requireSameKeys(t testing.TB, a, b *Keys) {
	t.Helper()
	require.Equal(t, a.Suite, b.Suite)
	require.Len(t, a.LocalMaster, a.Suite.MasterLen())
	require.Equal(t, a.LocalMaster, b.RemoteMaster)
	require.Equal(t, a.RemoteMaster, b.LocalMaster)
	require.NotEqual(t, a.LocalMaster, a.RemoteMaster)
}

// peer is a pion connection at the other end.
type peer struct {
	conn *pdtls.Conn
	pipe *pipe
	err  chan error
}

func newPeer(t testing.TB, e *end, client bool, options ...pdtls.Option) *peer {
	t.Helper()
	p := &peer{err: make(chan error, 1)}
	free := &turn{busy: new(atomic.Int64)}
	p.pipe = newPipe(func(b []byte) { e.Feed(b) }, func() {}, func(any) {}, func() bool { return false }, free)
	e.route(func(b []byte) { p.pipe.put(b) })
	options = append([]pdtls.Option{pdtls.WithInsecureSkipVerify(true),
		pdtls.WithFlightInterval(100 * time.Millisecond), pdtls.WithLoggerFactory(silent)}, options...)
	var err error
	if client {
		var o []pdtls.ClientOption
		for _, x := range options {
			o = append(o, x)
		}
		p.conn, err = pdtls.ClientWithOptions(p.pipe, address{}, o...)
	} else {
		o := []pdtls.ServerOption{pdtls.WithClientAuth(pdtls.RequireAnyClientCert)}
		for _, x := range options {
			o = append(o, x)
		}
		p.conn, err = pdtls.ServerWithOptions(p.pipe, address{}, o...)
	}
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.err <- p.conn.HandshakeContext(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		_ = p.conn.Close()
		_ = p.pipe.Close()
	})
	return p
}

func (p *peer) keys(t testing.TB, s srtp.Suite, client bool) *Keys {
	t.Helper()
	state, ok := p.conn.ConnectionState()
	require.True(t, ok)
	role := Server
	if client {
		role = Client
	}
	k, err := (&Conn{role: role}).export(&state, s)
	require.NoError(t, err)
	return k
}

func plainCertificate(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(7), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func rsaCertificate(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(7), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// record returns one record.
func record(kind, epoch, seq byte, body ...byte) []byte {
	return append([]byte{kind, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, 1, seq, 0, byte(len(body))}, body...)
}
