package dtls

import (
	"bytes"
	"encoding/binary"
	"encoding/gob"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pdtls "github.com/pion/dtls/v3"
	"github.com/pion/dtls/v3/pkg/protocol/recordlayer"
	"github.com/stretchr/testify/require"
)

// seal makes the end send one record of any kind.
func (e *end) seal(t testing.TB, kind byte, body ...byte) {
	t.Helper()
	s := e.session.Load()
	s.mu.Lock()
	defer s.mu.Unlock()
	require.NoError(t, s.sealLocked(kind, body))
}

// collect keeps what the end sends.
func (e *end) collect() chan []byte {
	sent := make(chan []byte, 10_000)
	e.route(func(b []byte) { sent <- b })
	return sent
}

// A ledger checks that no two records of one end have the same number, but for
// copies.
type ledger struct {
	mu      sync.Mutex
	records map[[8]byte][]byte // guarded by mu; by epoch and number
	repeats int                // guarded by mu
	bad     []string           // guarded by mu
}

func (l *ledger) note(datagram []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.records == nil {
		l.records = map[[8]byte][]byte{}
	}
	for {
		record, rest, ok := cut(datagram)
		if !ok {
			return
		}
		number := [8]byte(record[offEpoch:])
		if old := l.records[number]; old != nil {
			l.repeats++
			if !bytes.Equal(old, record) {
				l.bad = append(l.bad, fmt.Sprintf("%x: %x and %x", number, old, record))
			}
		}
		l.records[number], datagram = bytes.Clone(record), rest
	}
}

func (l *ledger) check(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	require.NotEmpty(t, l.records)
	require.Empty(t, l.bad, "a number was used twice")
}

// Connected Conns are no goroutines and little memory, also after they have
// been woken.
func TestNothingRunsWhenConnected(t *testing.T) {
	const pairs = 50
	_, _, _, _ = connectedPair(t, nil, nil) // what is made once
	before := runtime.NumGoroutine()
	var empty, full runtime.MemStats
	for range 4 { // what other tests left behind
		runtime.GC()
	}
	runtime.ReadMemStats(&empty)
	var all [][2]*end
	for range pairs {
		s, c, _, _ := connectedPair(t, nil, nil)
		all = append(all, [2]*end{s, c})
	}
	// Eventually has a goroutine of its own.
	for began := time.Now(); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		require.Less(t, time.Since(began), patience, "%d goroutines, %d before", runtime.NumGoroutine(), before)
	}
	for _, p := range all {
		p[0].events, p[1].events = make(chan Event, 1), make(chan Event, 1) // the old are large
	}
	for range 4 {
		runtime.GC()
	}
	runtime.ReadMemStats(&full)
	each := (int64(full.HeapAlloc) - int64(empty.HeapAlloc)) / (2 * pairs)
	t.Logf("%d bytes live for each connected Conn", each)
	require.Less(t, each, int64(8<<10))
}

func TestWoken(t *testing.T) {
	s, c, _, _ := connectedPair(t, nil, nil)
	require.Eventually(t, func() bool { return !s.runs() && !c.runs() }, patience, time.Millisecond)
	for i := range 100 {
		text := fmt.Sprint(i)
		require.NoError(t, c.Write([]byte(text)))
		require.Equal(t, text, string(s.expect(t, NoState).Data))
		require.NoError(t, s.Write([]byte(text)))
		require.Equal(t, text, string(c.expect(t, NoState).Data))
		require.Eventually(t, func() bool { return !s.runs() && !c.runs() }, patience, 100*time.Microsecond)
	}
	s.Close()
	c.expect(t, Closed)
	c.quiet(t)
	s.quiet(t)
}

func (e *end) runs() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.running
}

// No number of a record is used for two, whatever the peer asks for at the
// moment at which the session takes over from pion.
func TestRecordNumbers(t *testing.T) {
	repeats := 0
	for range 10 {
		s, c := pair(t, nil, nil)
		var ofServer, ofClient ledger
		var lost atomic.Int64
		s.route(func(b []byte) {
			ofServer.note(b)
			if b[0] != typeChangeCipherSpec || lost.Add(1) > 1 {
				c.Feed(b)
			}
		})
		c.route(func(b []byte) {
			ofClient.note(b)
			for range 5 { // pion answers what comes twice
				s.Feed(b)
			}
		})
		for _, e := range []*end{s, c} {
			e.expect(t, Connecting)
			e.expect(t, Connected)
		}
		var wg sync.WaitGroup
		for _, e := range []*end{s, c} {
			for range 4 {
				wg.Go(func() {
					for range 25 {
						_ = e.Write([]byte("data"))
					}
				})
			}
		}
		wg.Wait()
		for range 100 {
			s.expect(t, NoState)
			c.expect(t, NoState)
		}
		c.Close()
		s.expect(t, Closed)
		s.quiet(t)
		c.quiet(t)
		ofServer.check(t)
		ofClient.check(t)
		repeats += ofServer.repeats
		// Data and close_notify.
		require.GreaterOrEqual(t, len(ofServer.records), 101)
		require.GreaterOrEqual(t, len(ofClient.records), 101)
	}
	t.Logf("%d records were sent again as they were", repeats)
	require.Positive(t, repeats)
}

// A state without one of the fields is refused: a session would begin with a
// number that was used, or with keys that anybody can derive.
func TestReadState(t *testing.T) {
	whole := keptState{LocalEpoch: 1, RemoteEpoch: 1, SequenceNumber: 1, MasterSecret: make([]byte, 48)}
	read := func(change func(*keptState)) error {
		k := whole
		change(&k)
		var b bytes.Buffer
		require.NoError(t, gob.NewEncoder(&b).Encode(k))
		_, err := readState(b.Bytes())
		return err
	}
	require.NoError(t, read(func(*keptState) {}))
	require.Error(t, read(func(k *keptState) { k.LocalEpoch = 0 }))
	require.Error(t, read(func(k *keptState) { k.RemoteEpoch = 2 }))
	require.Error(t, read(func(k *keptState) { k.SequenceNumber = 0 }))
	require.Error(t, read(func(k *keptState) { k.MasterSecret = nil }))
	_, err := readState([]byte("no state"))
	require.Error(t, err)
}

// Each record is taken once, late ones too if they are not too late.
func TestReplay(t *testing.T) {
	s, c, _, _ := connectedPair(t, nil, nil)
	sent := c.collect()
	var b [][]byte
	for i := range 200 {
		require.NoError(t, c.Write([]byte{byte(i)}))
		b = append(b, <-sent)
	}
	// The first are early enough to be taken at the end of the window, the last
	// is newest when the others come.
	order := []int{2, 0, 1, 1, 2, 0, 3, 64, 5, 64, 5, 0, 4, 190, 120, 126, 127, 127, 150, 190, 3, 199, 199}
	want := []int{2, 0, 1, 3, 64, 5, 4, 190, 127, 150, 199}
	for _, i := range order {
		require.True(t, s.Feed(b[i]))
	}
	for _, i := range want {
		require.Equal(t, []byte{byte(i)}, s.expect(t, NoState).Data)
	}
	// Two records in one datagram, and the beginning of a third.
	require.True(t, s.Feed(bytes.Join([][]byte{b[195], b[196], b[197][:20]}, nil)))
	require.Equal(t, []byte{195}, s.expect(t, NoState).Data)
	require.Equal(t, []byte{196}, s.expect(t, NoState).Data)
	c.route(func(b []byte) { s.Feed(b) })
	require.NoError(t, c.Write([]byte("last")))
	require.Equal(t, "last", string(s.expect(t, NoState).Data))
}

// A server's data and close_notify overtake its last flight.
func TestEarly(t *testing.T) {
	s, c := pair(t, nil, nil)
	var last atomic.Pointer[[]byte]
	s.route(func(b []byte) {
		if b[0] == typeChangeCipherSpec {
			last.Store(&b)
			return
		}
		c.Feed(b)
	})
	s.expect(t, Connecting)
	s.expect(t, Connected)
	require.NoError(t, s.Write([]byte("early")))
	s.Close()
	s.quiet(t)
	require.True(t, c.Feed(*last.Load()))
	c.expect(t, Connecting)
	c.expect(t, Connected)
	require.Equal(t, "early", string(c.expect(t, NoState).Data))
	c.expect(t, Closed)
	c.quiet(t)
}

func TestEarlyIsBounded(t *testing.T) {
	s := start(t, Server, nil)
	b := record(typeApplicationData, 1, 0, make([]byte, 200)...)
	took := 0
	for range 2 * maxEarly / len(b) {
		if s.Feed(b) {
			took++
		}
	}
	require.Equal(t, maxEarly/len(b), took)
	s.expect(t, Connecting)
	require.Nil(t, s.timer.Load(), "this is no handshake")
}

// A datagram of which little is welcome takes no more memory than that.
func TestLittleIsKept(t *testing.T) {
	s := start(t, Server, nil)
	b := record(typeApplicationData, 1, 0, 1)
	for len(b) < maxDatagram-300 {
		b = append(b, record(99, 1, 0, make([]byte, 200)...)...)
	}
	for s.Feed(b) {
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	require.Len(t, s.inbox.datagrams, maxQueued)
	held := 0
	for _, d := range s.inbox.datagrams {
		held += cap(d)
	}
	require.LessOrEqual(t, held, maxEarly)
}

func TestInboxIsBounded(t *testing.T) {
	held := make(chan struct{})
	s, c, _, _ := connectedPair(t, func(cfg *Config) {
		event := cfg.Event
		cfg.Event = func(ev Event) {
			if ev.Data != nil {
				<-held
			}
			event(ev)
		}
	}, nil)
	sent := c.collect()
	took := 0
	for range 2 * maxQueued {
		require.NoError(t, c.Write([]byte("data")))
		if s.Feed(<-sent) {
			took++
		}
	}
	require.GreaterOrEqual(t, took, maxQueued)
	require.LessOrEqual(t, took, maxQueued+1)
	close(held)
	for range took {
		s.expect(t, NoState)
	}
}

// What a peer may send that has the keys.
func TestSealedRecords(t *testing.T) {
	s, c, _, _ := connectedPair(t, nil, nil)
	toClient := s.collect()
	for _, x := range []struct {
		name string
		kind byte
		body []byte
	}{
		{"warning", typeAlert, []byte{1, 100}},
		{"short alert", typeAlert, []byte{2}},
		{"long alert", typeAlert, []byte{2, 0, 0}},
		{"no data", typeApplicationData, nil},
		{"empty handshake message", typeHandshake, nil},
		{"hello", typeHandshake, []byte{1, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 4, 1, 2, 3, 4}},
		{"ChangeCipherSpec", typeChangeCipherSpec, []byte{1}},
		{"unknown", 99, []byte{1}},
	} {
		c.seal(t, x.kind, x.body...)
		require.NoError(t, c.Write([]byte(x.name)))
		require.Equal(t, x.name, string(s.expect(t, NoState).Data))
		require.Empty(t, toClient, x.name)
	}
	fromClient := c.collect()
	c.seal(t, typeHandshake, 20, 0, 0, 12)
	finished := <-fromClient
	for range 3 { // one is enough
		s.Feed(finished)
	}
	again := <-toClient
	require.Equal(t, s.session.Load().flight, again)
	require.Equal(t, byte(typeChangeCipherSpec), again[0])
	c.route(func(b []byte) { s.Feed(b) })
	require.NoError(t, c.Write([]byte("x")))
	s.expect(t, NoState)
	require.Empty(t, toClient)

	s.route(func(b []byte) { c.Feed(b) })
	s.seal(t, typeHandshake, 20, 0, 0, 12)
	require.NoError(t, s.Write([]byte("y")))
	c.expect(t, NoState)
	s.collect()
	sent := s.sent.Load()
	c.seal(t, typeAlert, 2, 80)
	s.expect(t, Closed)
	s.quiet(t)
	require.Equal(t, sent, s.sent.Load(), "a fatal alert has no answer")
	require.ErrorIs(t, s.Write([]byte("x")), ErrNotConnected)
}

func TestWriteLimits(t *testing.T) {
	s, c, _, _ := connectedPair(t, nil, nil)
	sent := c.collect()
	require.NoError(t, c.Write(make([]byte, maxPlaintext)))
	require.Greater(t, len(<-sent), maxPlaintext)
	require.ErrorIs(t, c.Write(make([]byte, maxPlaintext+1)), ErrTooLong)
	c.session.Load().next = recordlayer.MaxSequenceNumber
	c.route(func(b []byte) { s.Feed(b) })
	require.NoError(t, c.Write([]byte("last number")))
	require.Equal(t, "last number", string(s.expect(t, NoState).Data))
	require.ErrorIs(t, c.Write([]byte("none left")), ErrNotConnected)
	require.Equal(t, uint64(recordlayer.MaxSequenceNumber+1), c.session.Load().next)
}

// All cipher suites, with pion at the other end.
func TestCipherSuites(t *testing.T) {
	for _, suite := range suites {
		for _, role := range []Role{Server, Client} {
			name := suite.id.String()
			cert := plainCertificate(t)
			if bytes.Contains([]byte(name), []byte("RSA_WITH")) && !bytes.Contains([]byte(name), []byte("ECDSA")) {
				if role == Server {
					continue // our certificate decides, and is of ECDSA
				}
				cert = rsaCertificate(t)
			}
			t.Run(fmt.Sprintf("%s as %d", name, role), func(t *testing.T) {
				e := start(t, role, nil)
				p := newPeer(t, e, role == Server, pdtls.WithCertificates(cert), pdtls.WithCipherSuites(suite.id),
					pdtls.WithSRTPProtectionProfiles(pdtls.SRTP_AEAD_AES_128_GCM))
				e.expect(t, Connecting)
				e.expect(t, Connected)
				require.NoError(t, <-p.err)
				for i := 1; i < 1200; i += 97 {
					data := bytes.Repeat([]byte{byte(i)}, i)
					_, err := p.conn.Write(data)
					require.NoError(t, err)
					require.Equal(t, data, e.expect(t, NoState).Data)
					require.NoError(t, e.Write(data))
					got := make([]byte, 2000)
					require.NoError(t, p.conn.SetReadDeadline(time.Now().Add(patience)))
					n, err := p.conn.Read(got)
					require.NoError(t, err)
					require.Equal(t, data, got[:n])
				}
				e.Close()
				e.quiet(t)
				_, err := p.conn.Read(make([]byte, 100))
				require.Error(t, err, "close_notify")
			})
		}
	}
}

// sessions returns the two ends of a session that shook no hands.
func sessions(t testing.TB, id pdtls.CipherSuiteID) (server, client *session, sent chan []byte) {
	t.Helper()
	sent = make(chan []byte, 10)
	secret := func(n int, b byte) []byte { return bytes.Repeat([]byte{b}, n) }
	var of [2]*session
	for _, role := range []Role{Server, Client} {
		c, err := newCipher(id, role, secret(48, 1), secret(32, 2), secret(32, 3))
		require.NoError(t, err)
		of[role] = newSession(c, func(b []byte) { sent <- b }, func(any) {})
	}
	return of[Server], of[Client], sent
}

// FuzzOpen gives hostile records to a session, and content that it must get
// from its peer as it was.
func FuzzOpen(f *testing.F) {
	f.Add([]byte{0}, byte(typeAlert))
	f.Add([]byte{}, byte(typeApplicationData))
	f.Add(make([]byte, 13), byte(typeHandshake))
	f.Add(record(23, 1, 3, make([]byte, 60)...), byte(99))
	f.Fuzz(func(t *testing.T, b []byte, kind byte) {
		if len(b) > maxPlaintext || kind == 25 {
			return // 25 would be a record with a connection id, which has another header
		}
		for _, a := range suites {
			server, client, sent := sessions(t, a.id)
			if r, _, ok := cut(bytes.Clone(b)); ok {
				if got, _ := server.open(r); got != 0 {
					t.Fatalf("%v: took a record that nobody sealed: %x", a.id, b)
				}
			}
			client.mu.Lock()
			err := client.sealLocked(kind, b)
			client.mu.Unlock()
			require.NoError(t, err)
			good := <-sent
			for i := 0; i < len(good); i += 1 + len(good)/20 {
				if i == offLength || i == offLength+1 {
					continue // checked by cut
				}
				bad := bytes.Clone(good)
				bad[i] ^= 1
				if got, _ := server.open(bad); got != 0 {
					t.Fatalf("%v: took a record with a wrong byte at %d", a.id, i)
				}
			}
			got, body := server.open(bytes.Clone(good))
			switch kind {
			case typeAlert, typeHandshake, typeApplicationData:
				if got != kind || !bytes.Equal(body, b) {
					t.Fatalf("%v: sent %d, %x, got %d, %x", a.id, kind, b, got, body)
				}
			default:
				if got != 0 {
					t.Fatalf("%v: took kind %d", a.id, kind)
				}
			}
			if got, _ = server.open(good); got != 0 {
				t.Fatal("took it twice")
			}
		}
	})
}

// BenchmarkData is one record of data to a Conn at rest, from Write to Event.
func BenchmarkData(b *testing.B) {
	s, c, _, _ := connectedPair(b, nil, nil)
	data := make([]byte, 1200)
	b.ReportAllocs()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		_ = c.Write(data)
		<-s.events
	}
}

// BenchmarkGarbage is a record of which the MAC is wrong to a Conn at rest, with
// the goroutine that looks at it.
func BenchmarkGarbage(b *testing.B) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	s, _, _, _ := connectedPair(b, nil, nil)
	bad := record(typeApplicationData, 1, 0, make([]byte, 100)...)
	b.ReportAllocs()
	n := uint64(1 << 20)
	for b.Loop() {
		n++
		binary.BigEndian.PutUint32(bad[offEpoch+4:], uint32(n))
		s.Feed(bad)
		for s.runs() {
			runtime.Gosched()
		}
	}
}
