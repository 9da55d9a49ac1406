package dtls

import (
	"bytes"
	"encoding/hex"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// FuzzFeed gives hostile datagrams to a server that shakes hands and to a
// connected one. The first may fail; the second must stay alive. It holds one
// connection for many inputs, since a handshake takes long.
func FuzzFeed(f *testing.F) {
	h := hello(f)
	f.Add(h)
	f.Add(record(20, 0, 1, 9))
	f.Add(record(22, 0, 3, 1, 2, 3))
	f.Add(record(23, 0, 4, 1, 2, 3))
	f.Add(record(21, 0, 5, 2, 40))
	f.Add(append(record(20, 0, 2, 1), record(22, 1, 3, make([]byte, 40)...)...))
	f.Add(record(22, 0, 8, 1, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 4, 1, 2, 3, 4))
	for i := 13; i < len(h); i += 37 {
		b := append([]byte(nil), h...)
		b[i] ^= 0x55
		f.Add(b)
	}
	// What a client that follows the rules sends after a hello.
	for _, b := range flights(f) {
		f.Add(b)
	}

	var mu sync.Mutex
	var s, c *end
	n := 0
	connect := func(t testing.TB) {
		s, c = freeEnd(), freeEnd()
		s.Conn = Start(s.config(), Server)
		c.Conn = Start(c.config(), Client) // its first hello may be lost
		s.route(func(b []byte) { c.Feed(b) })
		c.route(func(b []byte) { s.Feed(b) })
		for _, e := range []*end{s, c} {
			e.expect(t, Connecting)
			e.expect(t, Connected)
		}
	}
	f.Cleanup(func() {
		if s != nil {
			s.Close()
			c.Close()
			s.Wait()
			c.Wait()
		}
	})
	f.Fuzz(func(t *testing.T, b []byte) {
		mu.Lock()
		defer mu.Unlock()
		for name, welcome := range map[string]func([]byte) bool{"shaking": shaking, "early": early, "established": established} {
			passed := admit(b, welcome)
			if len(passed) > len(b) || !bytes.Equal(passed, admit(passed, welcome)) {
				t.Fatal("not stable:", name)
			}
		}
		if s == nil {
			connect(t)
		}
		s.Feed(b)
		n++
		if n%16 == 0 {
			deadline := time.Now().Add(patience)
			for got := false; !got; {
				require.NoError(t, c.Write([]byte("ping")))
				select {
				case ev := <-s.events:
					require.Equal(t, NoState, ev.State, "%v", ev.Err)
					require.Equal(t, "ping", string(ev.Data), hex.EncodeToString(ev.Data))
					got = true
				case <-time.After(100 * time.Millisecond):
					require.True(t, time.Now().Before(deadline), "the connection is dead")
				}
			}
			for len(s.events) > 0 { // pings that came late
				require.Equal(t, NoState, (<-s.events).State)
			}
		}

		half := start(t, Server, nil)
		half.Feed(b)
		half.Feed(h)
		half.Feed(b)
		client := start(t, Client, nil)
		client.Feed(b)
		if n%4 == 0 {
			time.Sleep(3 * time.Millisecond) // let it be answered
		}
	})
}

// freeEnd returns an end that no test owns.
func freeEnd() *end {
	e := &end{events: make(chan Event, 10_000)}
	e.route(func([]byte) {})
	return e
}

func (e *end) config() Config {
	return Config{
		Certificate: testCertificate(),
		Send:        func(b []byte) { (*e.out.Load())(b) },
		Event:       func(ev Event) { e.events <- ev },
	}
}

// flights returns all datagrams of a handshake.
func flights(t testing.TB) [][]byte {
	var mu sync.Mutex
	var all [][]byte
	s, c := pair(t, nil, nil)
	tap := func(to *end) func([]byte) {
		return func(b []byte) {
			mu.Lock()
			all = append(all, b)
			mu.Unlock()
			to.Feed(b)
		}
	}
	s.route(tap(c))
	c.route(tap(s))
	for _, e := range []*end{s, c} {
		e.expect(t, Connecting)
		e.expect(t, Connected)
		e.Close()
	}
	mu.Lock()
	defer mu.Unlock()
	return all
}
