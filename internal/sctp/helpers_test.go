package sctp

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// An end is an Association with a loop of its own.
type end struct {
	t    testing.TB
	a    *Association
	peer *end

	mu    sync.Mutex
	calls []func() // guarded by mu
	ready chan struct{}
	quit  chan struct{}
	gone  chan struct{}

	// Owned by the loop.
	drop   func(p []byte) bool // what the link to the peer loses
	delay  time.Duration
	log    func(p []byte)
	events func(Event)

	messages chan Event
	others   chan Event
}

func newEnd(t testing.TB, cfg Config) *end {
	e := &end{
		t: t, ready: make(chan struct{}, 1), quit: make(chan struct{}), gone: make(chan struct{}),
		messages: make(chan Event, 1<<17), others: make(chan Event, 1<<12),
	}
	cfg.Post, cfg.Send, cfg.Handle = e.post, e.send, e.handle
	e.a = New(cfg)
	go e.loop()
	return e
}

func (e *end) post(f func()) bool {
	e.mu.Lock()
	e.calls = append(e.calls, f)
	e.mu.Unlock()
	select {
	case e.ready <- struct{}{}:
	default:
	}
	return true
}

func (e *end) loop() {
	defer close(e.gone)
	for {
		select {
		case <-e.ready:
			e.mu.Lock()
			calls := e.calls
			e.calls = nil
			e.mu.Unlock()
			for _, f := range calls {
				f()
			}
		case <-e.quit:
			return
		}
	}
}

// do runs f while the loop waits, and waits for it: f may end the test.
func (e *end) do(f func()) {
	done := make(chan struct{})
	e.post(func() {
		go func() {
			defer close(done)
			f()
		}()
		<-done
	})
	<-done
	if e.t.Failed() {
		runtime.Goexit()
	}
}

func (e *end) send(p []byte) {
	if e.log != nil {
		e.log(p)
	}
	if e.peer == nil || e.drop != nil && e.drop(p) {
		return
	}
	deliver := func() { e.peer.post(func() { e.peer.a.Receive(p) }) }
	if e.delay > 0 {
		time.AfterFunc(e.delay, deliver)
		return
	}
	deliver()
}

func (e *end) handle(ev Event) {
	if e.events != nil {
		e.events(ev)
	}
	switch ev.Kind {
	case Message:
		e.messages <- ev
	default:
		select {
		case e.others <- ev:
		default:
		}
	}
}

// next returns the next event that is no message.
func (e *end) next() Event {
	select {
	case ev := <-e.others:
		return ev
	case <-time.After(10 * time.Minute):
		e.t.Fatal("no event")
		return Event{}
	}
}

// until waits for a state.
func (e *end) until(s State) Event {
	e.t.Helper()
	for {
		if ev := e.next(); ev.Kind == StateChanged && ev.State == s {
			return ev
		}
	}
}

func (e *end) message() Event {
	e.t.Helper()
	select {
	case ev := <-e.messages:
		return ev
	case <-time.After(10 * time.Minute):
		e.t.Fatal("no message")
		return Event{}
	}
}

func (e *end) close() {
	e.post(e.a.Close)
	<-e.a.Done()
	close(e.quit)
	<-e.gone
}

// link makes two ends that are not started.
func link(t testing.TB, a, b Config) (*end, *end) {
	x, y := newEnd(t, a), newEnd(t, b)
	x.peer, y.peer = y, x
	t.Cleanup(func() { x.close(); y.close() })
	return x, y
}

// pair makes two ends that are connected.
func pair(t testing.TB, a, b Config) (*end, *end) {
	x, y := link(t, a, b)
	x.do(x.a.Start)
	x.until(Connected)
	y.until(Connected)
	return x, y
}

func (e *end) openIn(id uint16, p StreamParameters) {
	e.do(func() { require.NoError(e.t, e.a.OpenInbound(id, p)) })
}

func (e *end) openOut(id uint16, p StreamParameters) {
	e.do(func() { require.NoError(e.t, e.a.OpenOutbound(id, p, DefaultLowThreshold)) })
}

func (e *end) write(id uint16, ppid uint32, data []byte) (n uint32, err error) {
	e.do(func() { n, err = e.a.Send(id, ppid, data) })
	return n, err
}

var ordered = StreamParameters{Ordered: true}
