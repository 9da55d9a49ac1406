// Package simnet is a network in virtual time, for tests: hosts with drivers
// that an engine takes for real ones, plain sockets that tests send from, and
// between them links that delay, lose and reorder packets and run out of
// bandwidth. The same seed gives the same run.
//
// Time stands still until [Net.Advance]. A test either turns its machine by hand,
// because [driver.Driver.Wait] returns at once, or starts a real loop on a
// [Net.BlockingDriver], for which Advance then waits whenever it has something to do:
//
//	n := simnet.New(1)
//	d := n.BlockingDriver(netip.MustParseAddr("10.0.0.1"))
//	worker := start(d)
//	n.SetLink(server, client, simnet.Link{Delay: 20 * time.Millisecond, Loss: 0.02})
//	n.Advance(5 * time.Second)
package simnet

import (
	"container/heap"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/mafalda-sfu/mafalda/internal/driver"
)

// stuck is how long, in real time, Advance waits for a loop.
const stuck = 30 * time.Second

// A Net is a network with a clock. Its methods, and those of sockets and
// connections, may be called by any goroutine, but Advance only by one, and not
// by what Advance calls.
type Net struct {
	mu   sync.Mutex
	idle sync.Cond // a blocking driver began to wait

	// Guarded by mu.
	seed    uint64
	now     time.Duration
	seq     uint64
	events  eventHeap
	calls   []func() // to be made without mu
	links   map[[2]netip.Addr]*link
	udp     map[netip.AddrPort][]receiver
	tcp     map[netip.AddrPort]*listener
	drivers []*Driver
	ports   uint16 // last ephemeral port
}

// New returns a network without delay or loss whose time is 0.
func New(seed uint64) *Net {
	n := &Net{
		seed:  seed,
		links: map[[2]netip.Addr]*link{},
		udp:   map[netip.AddrPort][]receiver{},
		tcp:   map[netip.AddrPort]*listener{},
		ports: 40_000,
	}
	n.idle.L = &n.mu
	return n
}

// Now returns the virtual time since New.
func (n *Net) Now() time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.now
}

// Next returns when the next thing happens that Advance would do.
func (n *Net) Next() (time.Duration, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.next()
}

// At calls f, during Advance, when the time is at.
func (n *Net) At(at time.Duration, f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.schedule(at, func() { n.calls = append(n.calls, f) })
}

// Advance moves time on by d. Packets arrive and functions are called in the
// order of their times, each at its time.
func (n *Net) Advance(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for end := n.now + d; ; {
		n.settle()
		at, ok := n.next()
		if !ok || at > end {
			n.now = end
			return
		}
		n.now = max(n.now, at)
		for _, d := range n.drivers {
			if d.state == waiting && d.deadline <= n.now {
				d.run()
			}
		}
		for len(n.events) > 0 && n.events[0].at <= n.now {
			heap.Pop(&n.events).(event).f()
		}
		calls := n.calls
		n.calls = nil
		n.mu.Unlock()
		for _, f := range calls {
			f()
		}
		n.mu.Lock()
	}
}

// settle waits until all blocking drivers wait at a time: one may wake another, and
// new ones may come.
func (n *Net) settle() {
	late := false
	t := time.AfterFunc(stuck, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		late = true
		n.idle.Broadcast()
	})
	defer t.Stop()
	for slices.ContainsFunc(n.drivers, (*Driver).busy) {
		if late {
			panic("simnet: a loop has not called Wait for " + stuck.String())
		}
		n.idle.Wait()
	}
}

func (n *Net) next() (time.Duration, bool) {
	at, ok := never, false
	if len(n.events) > 0 {
		at, ok = n.events[0].at, true
	}
	for _, d := range n.drivers {
		if d.state == waiting && d.deadline < at {
			at, ok = d.deadline, true
		}
	}
	return at, ok
}

// schedule calls f with mu held.
func (n *Net) schedule(at time.Duration, f func()) {
	n.seq++
	heap.Push(&n.events, event{at: max(at, n.now), seq: n.seq, f: f})
}

// A receiver is a bound UDP socket, of a driver or of a test.
type receiver interface {
	receive(from netip.AddrPort, data []byte) // with mu held; data is its own
	sharesPort() bool
}

// bind gives all of keys to r, or none.
func (n *Net) bind(keys []netip.AddrPort, r receiver) error {
	for _, k := range keys {
		for _, other := range n.udp[k] {
			if !other.sharesPort() || !r.sharesPort() {
				return driver.ErrAddrInUse
			}
		}
	}
	for _, k := range keys {
		n.udp[k] = append(n.udp[k], r)
	}
	return nil
}

func (n *Net) unbind(keys []netip.AddrPort, r receiver) {
	for _, k := range keys {
		var left []receiver
		for _, other := range n.udp[k] {
			if other != r {
				left = append(left, other)
			}
		}
		if n.udp[k] = left; left == nil {
			delete(n.udp, k)
		}
	}
}

// ephemeral returns the next port for which free reports true.
func (n *Net) ephemeral(free func(port uint16) bool) (uint16, error) {
	for range 25_000 {
		if n.ports++; n.ports == 65_535 {
			n.ports = 40_000
		}
		if free(n.ports) {
			return n.ports, nil
		}
	}
	return 0, driver.ErrAddrInUse
}

// datagram sends data, which becomes the network's.
func (n *Net) datagram(from, to netip.AddrPort, data []byte) {
	l := n.link(from.Addr(), to.Addr())
	for _, at := range l.pass(n.now, len(data)) {
		b := append(make([]byte, 0, len(data)+driver.Headroom), data...)
		n.schedule(at, func() {
			// Who shares a port gets all of a peer or nothing.
			if r := n.udp[to]; len(r) > 0 {
				r[int(from.Port())%len(r)].receive(from, b)
			}
		})
	}
}

type event struct {
	at  time.Duration
	seq uint64
	f   func()
}

type eventHeap []event

func (h eventHeap) Len() int { return len(h) }
func (h eventHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].seq < h[j].seq
}
func (h eventHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *eventHeap) Push(e any)   { *h = append(*h, e.(event)) }
func (h *eventHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = event{}
	*h = old[:len(old)-1]
	return e
}
