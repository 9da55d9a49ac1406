package dtls

import (
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pdtls "github.com/pion/dtls/v3"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/srtp"
)

func TestConnect(t *testing.T) {
	s, c, se, ce := connectedPair(t, nil, nil)
	requireSameKeys(t, se.Keys, ce.Keys)
	require.Equal(t, srtp.AEADAES128GCM, se.Keys.Suite)
	require.Equal(t, testCertificate().PEM(), se.RemotePEM)
	for _, fp := range testCertificate().Fingerprints() {
		require.True(t, Match(fp, se.RemoteCertificate), fp.Algorithm)
	}
	require.Positive(t, s.Busy())
	require.Positive(t, c.Busy())
	require.Less(t, s.Busy(), 5*time.Second)

	require.NoError(t, c.Write([]byte("hello")))
	ev := s.expect(t, NoState)
	require.Equal(t, "hello", string(ev.Data))
	require.NoError(t, s.Write(make([]byte, 1200)))
	require.Len(t, c.expect(t, NoState).Data, 1200)

	c.Close()
	c.Close()
	s.expect(t, Closed)
	s.quiet(t)
	c.quiet(t)
	require.ErrorIs(t, s.Write([]byte("x")), ErrNotConnected)
	require.ErrorIs(t, c.Write([]byte("x")), ErrNotConnected)
	require.False(t, s.Feed(record(22, 0, 1, 1)))
	s.Close()
}

func TestPion(t *testing.T) {
	gcm256, cm32 := pdtls.SRTP_AEAD_AES_256_GCM, pdtls.SRTP_AES128_CM_HMAC_SHA1_32
	all := []pdtls.SRTPProtectionProfile{pdtls.SRTP_AES128_CM_HMAC_SHA1_80, gcm256, pdtls.SRTP_AEAD_AES_128_GCM}
	for _, c := range []struct {
		name    string
		offer   []pdtls.SRTPProtectionProfile
		options []pdtls.Option
		as      map[Role]srtp.Suite
	}{
		{"our order as server, theirs as client", all, nil,
			map[Role]srtp.Suite{Server: srtp.AEADAES128GCM, Client: srtp.AESCM128SHA80}},
		{"only CM_32", []pdtls.SRTPProtectionProfile{cm32}, nil,
			map[Role]srtp.Suite{Server: srtp.AESCM128SHA32, Client: srtp.AESCM128SHA32}},
		{"GCM-256", []pdtls.SRTPProtectionProfile{gcm256}, nil,
			map[Role]srtp.Suite{Server: srtp.AEADAES256GCM, Client: srtp.AEADAES256GCM}},
		{"fragmented flights", all, []pdtls.Option{pdtls.WithMTU(200)},
			map[Role]srtp.Suite{Server: srtp.AEADAES128GCM, Client: srtp.AESCM128SHA80}},
		{"no extended master secret", all, []pdtls.Option{pdtls.WithExtendedMasterSecret(pdtls.DisableExtendedMasterSecret)},
			map[Role]srtp.Suite{Server: srtp.AEADAES128GCM, Client: srtp.AESCM128SHA80}},
	} {
		for _, role := range []Role{Server, Client} {
			t.Run(fmt.Sprintf("%s as %d", c.name, role), func(t *testing.T) {
				e := start(t, role, nil)
				cert := plainCertificate(t)
				p := newPeer(t, e, role == Server, append(c.options,
					pdtls.WithCertificates(cert), pdtls.WithSRTPProtectionProfiles(c.offer...))...)
				e.expect(t, Connecting)
				ev := e.expect(t, Connected)
				require.NoError(t, <-p.err)
				// pion as a server also goes by its own order.
				require.Equal(t, c.as[role], ev.Keys.Suite)
				requireSameKeys(t, ev.Keys, p.keys(t, ev.Keys.Suite, role == Server))
				require.Equal(t, cert.Certificate[0], ev.RemoteCertificate)
				_, err := p.conn.Write([]byte("data"))
				require.NoError(t, err)
				require.Equal(t, "data", string(e.expect(t, NoState).Data))
				require.NoError(t, p.conn.Close())
				e.expect(t, Closed)
				e.quiet(t)
			})
		}
	}
}

func TestFailures(t *testing.T) {
	ours := pdtls.WithSRTPProtectionProfiles(pdtls.SRTP_AEAD_AES_128_GCM)
	for _, c := range []struct {
		name    string
		role    Role
		options func(t *testing.T) []pdtls.Option
		err     error
	}{
		{"no srtp", Server, func(t *testing.T) []pdtls.Option {
			return []pdtls.Option{pdtls.WithCertificates(plainCertificate(t))}
		}, ErrNoSRTP},
		{"no srtp", Client, func(t *testing.T) []pdtls.Option {
			return []pdtls.Option{pdtls.WithCertificates(plainCertificate(t))}
		}, nil},
		{"no common srtp profile", Server, func(t *testing.T) []pdtls.Option {
			return []pdtls.Option{pdtls.WithCertificates(plainCertificate(t)),
				pdtls.WithSRTPProtectionProfiles(pdtls.SRTP_NULL_HMAC_SHA1_80)}
		}, nil},
		{"no client certificate", Server, func(t *testing.T) []pdtls.Option {
			return []pdtls.Option{ours}
		}, nil},
	} {
		t.Run(fmt.Sprintf("%s as %d", c.name, c.role), func(t *testing.T) {
			e := start(t, c.role, nil)
			newPeer(t, e, c.role == Server, c.options(t)...)
			e.expect(t, Connecting)
			ev := e.expect(t, Failed)
			require.Error(t, ev.Err)
			if c.err != nil {
				require.ErrorIs(t, ev.Err, c.err)
			}
			e.quiet(t)
		})
	}
	t.Run("no suite of ours", func(t *testing.T) {
		e := start(t, Client, func(c *Config) { c.Suites = []srtp.Suite{"x"} })
		e.expect(t, Connecting)
		require.ErrorIs(t, e.expect(t, Failed).Err, ErrNoSRTP)
		e.quiet(t)
		require.Zero(t, e.sent.Load())
	})
}

// A server that was started before the roles were known is closed and a client
// takes its place: nothing was sent until then.
func TestSpeculativeServer(t *testing.T) {
	s := start(t, Server, nil)
	s.expect(t, Connecting)
	s.Close()
	s.quiet(t)
	require.Zero(t, s.sent.Load())

	_, _, se, ce := connectedPair(t, nil, nil)
	requireSameKeys(t, se.Keys, ce.Keys)
}

// Half a handshake: Close sends nothing any more and reports nothing.
func TestCloseHalfOpen(t *testing.T) {
	s, c := pair(t, nil, nil)
	s.route(func([]byte) {})
	s.expect(t, Connecting)
	c.expect(t, Connecting)
	require.Eventually(t, func() bool { return s.sent.Load() > 0 }, patience, time.Millisecond)
	for _, e := range []*end{s, c} {
		e.pipe.mu.Lock() // between two calls of Send
		e.Close()
		sent := e.sent.Load()
		e.pipe.mu.Unlock()
		e.quiet(t) // none follows this
		require.Equal(t, sent, e.sent.Load())
	}
}

// Loss of each single datagram of the handshake, on either side.
func TestLoss(t *testing.T) {
	for lost := range 5 {
		t.Run(fmt.Sprint(lost), func(t *testing.T) {
			t.Parallel()
			s, c := pair(t, nil, nil)
			var n atomic.Int64
			drop := func(to *end) func([]byte) {
				return func(b []byte) {
					if n.Add(1) != int64(lost)+1 {
						to.Feed(b)
					}
				}
			}
			s.route(drop(c))
			c.route(drop(s))
			for _, e := range []*end{s, c} {
				e.expect(t, Connecting)
				e.expect(t, Connected)
			}
		})
	}
}

// The client misses the server's last flight, and asks again when the server is
// done.
func TestLastFlightLost(t *testing.T) {
	s, c := pair(t, nil, nil)
	var deaf atomic.Bool
	s.route(func(b []byte) {
		if b[0] == typeChangeCipherSpec { // the last flight begins with it
			deaf.Store(true)
		}
		if !deaf.Load() {
			c.Feed(b)
		}
	})
	s.expect(t, Connecting)
	s.expect(t, Connected)
	asked, answered := c.sent.Load(), s.sent.Load()
	require.Eventually(t, func() bool { return c.sent.Load() >= asked+3 && s.sent.Load() >= answered+3 },
		patience, time.Millisecond)
	s.route(func(b []byte) { c.Feed(b) })
	c.expect(t, Connecting)
	c.expect(t, Connected)
}

func TestGarbageFirst(t *testing.T) {
	s, c := pair(t, nil, nil)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 300 {
		b := make([]byte, 13+r.IntN(200))
		for j := range b {
			b[j] = byte(r.Uint32())
		}
		b[0], b[1], b[2] = byte(18+r.IntN(10)), 0xfe, 0xfd
		if b[0] == typeAlert || i%2 == 0 && b[0] != typeHandshake {
			continue // an alert in clear may end a handshake
		}
		s.Feed(b)
	}
	s.expect(t, Connecting)
	c.expect(t, Connecting)
	s.expect(t, Connected)
	c.expect(t, Connected)
}

// What anybody can send who can forge a source address does not end an
// established connection, and does not reach pion.
func TestHostileRecords(t *testing.T) {
	s, c, _, _ := connectedPair(t, nil, nil)
	for _, x := range []struct {
		name string
		b    []byte
		took bool
	}{
		{"ChangeCipherSpec with a bad body", record(20, 0, 1, 9), false},
		{"ChangeCipherSpec", record(20, 0, 2, 1), false},
		{"handshake junk", record(22, 0, 3, 1, 2, 3), false},
		{"application data in clear", record(23, 0, 4, 1, 2, 3), false},
		{"close_notify in clear", record(21, 0, 5, 1, 0), false},
		{"fatal alert in clear", record(21, 0, 6, 2, 40), false},
		{"unknown type", record(25, 0, 7, 1), false},
		{"heartbeat", record(24, 1, 7, 1), false},
		{"hello", record(22, 0, 8, 1, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 4, 1, 2, 3, 4), false},
		{"truncated", record(22, 1, 9, 1)[:13], false},
		{"empty record", record(23, 1, 9), false},
		{"other version", []byte{22, 3, 1, 0, 1, 0, 0, 0, 0, 0, 10, 0, 1, 1}, false},
		{"bad ciphertext", record(23, 1, 200, make([]byte, 40)...), true},
		{"bad alert", record(21, 1, 201, make([]byte, 26)...), true},
		{"epoch 2", record(23, 2, 202, make([]byte, 40)...), true},
		{"hidden behind a good one", append(record(20, 0, 20, 1), record(20, 0, 21, 7)...), false},
		{"hidden before a good one", append(record(20, 0, 20, 7), record(23, 1, 203, make([]byte, 40)...)...), true},
		{"too long", make([]byte, maxDatagram+1), false},
	} {
		require.Equal(t, x.took, s.Feed(x.b), x.name)
		require.NoError(t, c.Write([]byte(x.name)))
		require.Equal(t, x.name, string(s.expect(t, NoState).Data))
	}
	r := rand.New(rand.NewPCG(3, 4))
	took := 0
	for i := range 20_000 {
		b := make([]byte, 13+i%200)
		for j := range b {
			b[j] = byte(r.Uint32())
		}
		b[0], b[1], b[2], b[3], b[4] = byte(18+r.IntN(9)), 0xfe, 0xfd, 0, byte(r.IntN(3))
		b[11], b[12] = 0, byte(i%200)
		if s.Feed(b) {
			took++
		}
		if i%100 == 0 {
			time.Sleep(time.Millisecond) // a pace at which the queue is not always full
		}
	}
	t.Logf("%d of 20000 hostile records passed the filter", took)
	// The queue may be full of them at first.
	require.Eventually(t, func() bool {
		require.NoError(t, c.Write([]byte("ok")))
		select {
		case ev := <-s.events:
			require.Equal(t, NoState, ev.State)
			return true
		case <-time.After(20 * time.Millisecond):
			return false
		}
	}, patience, time.Millisecond)
}

func TestBoundedQueue(t *testing.T) {
	s := start(t, Server, func(c *Config) { c.Limiter = NewLimiter(1) })
	s.cfg.Limiter.turns <- struct{}{} // somebody else's turn lasts
	took := 0
	for i := range 3000 {
		if s.Feed(record(22, 0, byte(i), 1, 2, 3)) {
			took++
		}
	}
	require.LessOrEqual(t, took, maxQueued+1)
	require.GreaterOrEqual(t, took, maxQueued)
	big := start(t, Server, func(c *Config) { c.Limiter = s.cfg.Limiter })
	b := append(record(22, 0, 1), make([]byte, 4000)...)
	b[11], b[12] = 4000>>8, 4000&255
	took = 0
	for range 3000 {
		if big.Feed(b) {
			took++
		}
	}
	require.LessOrEqual(t, took*len(b), maxQueuedBytes+2*len(b))
	s.Close()
	big.Close()
	s.Wait()
	big.Wait()
	<-s.cfg.Limiter.turns
}

// hello returns the first datagram of a client.
func hello(t testing.TB) []byte {
	t.Helper()
	out := make(chan []byte, 100)
	c := start(t, Client, func(cfg *Config) { cfg.Send = func(b []byte) { out <- b } })
	defer c.Close()
	select {
	case b := <-out:
		return b
	case <-time.After(patience):
		require.Fail(t, "no hello")
		return nil
	}
}

// A thousand hellos at once: no more than the limit compute at a time, all get
// an answer, all end.
func TestFlood(t *testing.T) {
	if testing.Short() {
		t.Skip("short")
	}
	const n, limit = 1000, 2
	h := hello(t)
	l := NewLimiter(limit)
	before := runtime.NumGoroutine()
	var ends []*end
	for range n {
		ends = append(ends, start(t, Server, func(c *Config) { c.Limiter = l }))
	}
	require.LessOrEqual(t, runtime.NumGoroutine()-before, n+5, "one goroutine each before a hello")
	began := time.Now()
	most := 0
	for _, e := range ends {
		require.True(t, e.Feed(h))
		most = max(most, len(l.turns))
	}
	require.Eventually(t, func() bool {
		most = max(most, len(l.turns))
		for _, e := range ends {
			if e.sent.Load() == 0 {
				return false
			}
		}
		return true
	}, 2*time.Minute, 10*time.Millisecond)
	t.Logf("%d hellos answered in %v, %v of computing, at most %d at a time, %.1f goroutines each",
		n, time.Since(began).Round(time.Millisecond), l.Busy().Round(time.Millisecond), most,
		float64(runtime.NumGoroutine()-before)/n)
	require.LessOrEqual(t, most, limit)
	began = time.Now()
	for _, e := range ends {
		e.Close()
	}
	t.Logf("Close of all: %v", time.Since(began))
	for _, e := range ends {
		e.Wait()
	}
	require.Empty(t, l.turns)
}

// Pion may have a datagram in hand when its half is ended, and won't read again.
func TestNoTurnAfterTheEnd(t *testing.T) {
	l := NewLimiter(1)
	for range 50 { // it was a matter of chance
		c := &Conn{turn: &turn{limiter: l, busy: new(atomic.Int64)}}
		heard := func() { c.hangUp(nil) }
		c.pipe = newPipe(func([]byte) {}, heard, func(any) {}, func() bool { return false }, c.turn)
		require.True(t, c.pipe.put([]byte{1}))
		_, _, err := c.pipe.ReadFrom(make([]byte, 10))
		require.ErrorIs(t, err, net.ErrClosed)
		require.Empty(t, l.turns)
	}
}

// Closing at any moment leaves no goroutine, takes no time, and every state
// comes at most once and in order.
func TestCloseAnytime(t *testing.T) {
	l := NewLimiter(2)
	share := func(c *Config) { c.Limiter = l }
	var slowest time.Duration
	for i := range 60 {
		s, c := pair(t, share, share)
		time.Sleep(time.Duration(i) * 100 * time.Microsecond) // any moment will do
		first, second := s, c
		if i%2 == 1 {
			first, second = c, s
		}
		began := time.Now()
		first.Close()
		slowest = max(slowest, time.Since(began))
		if i%3 == 0 {
			time.Sleep(time.Millisecond) // the first may say that it closes
		}
		second.Close()
		for _, e := range []*end{s, c} {
			e.Wait()
			last := NoState
			for len(e.events) > 0 {
				ev := <-e.events
				require.Greater(t, ev.State, last)
				require.NotEqual(t, Failed, ev.State, "%v", ev.Err)
				last = ev.State
			}
		}
	}
	t.Logf("slowest Close: %v", slowest)
	require.Empty(t, l.turns)
}

func TestVanishedPeer(t *testing.T) {
	s, c := pair(t, nil, nil)
	s.route(func([]byte) {})
	s.expect(t, Connecting)
	c.expect(t, Connecting)
	require.Eventually(t, func() bool { return s.timer.Load() != nil }, patience, time.Millisecond)
	s.timer.Load().Reset(0) // instead of HandshakeTimeout
	require.ErrorIs(t, s.expect(t, Failed).Err, ErrTimeout)
	s.quiet(t)
}

func TestPanics(t *testing.T) {
	require.Implements(t, (*error)(nil), &PanicError{})
	check := func(t *testing.T, e *end) {
		t.Helper()
		for {
			ev := e.next(t)
			if ev.State != Failed {
				continue
			}
			p, ok := ev.Err.(*PanicError)
			require.True(t, ok, "%v", ev.Err)
			require.Equal(t, "oops", p.Value)
			require.Contains(t, string(p.Stack), "dtls")
			require.Equal(t, "panic: oops", p.Error(), "the stack is told elsewhere")
			e.quiet(t)
			return
		}
	}
	t.Run("in Send", func(t *testing.T) {
		e := start(t, Client, func(c *Config) { c.Send = func([]byte) { panic("oops") } })
		check(t, e)
	})
	t.Run("in Event", func(t *testing.T) {
		var once sync.Once
		e := start(t, Client, func(c *Config) {
			event := c.Event
			c.Event = func(ev Event) {
				once.Do(func() { panic("oops") })
				event(ev)
			}
		})
		check(t, e)
	})
	t.Run("in Event with data", func(t *testing.T) {
		s, c, _, _ := connectedPair(t, func(cfg *Config) {
			event := cfg.Event
			cfg.Event = func(ev Event) {
				if ev.Data != nil {
					panic("oops")
				}
				event(ev)
			}
		}, nil)
		require.NoError(t, c.Write([]byte("x")))
		check(t, s)
		c.expect(t, Closed)
	})
	t.Run("in Send when connected", func(t *testing.T) {
		s, _, _, _ := connectedPair(t, nil, nil)
		s.route(func([]byte) { panic("oops") })
		_ = s.Write([]byte("x"))
		check(t, s)
	})
}

func BenchmarkHandshake(b *testing.B) {
	for b.Loop() {
		s, c, _, _ := connectedPair(b, nil, nil)
		s.Close()
		c.Close()
	}
}
