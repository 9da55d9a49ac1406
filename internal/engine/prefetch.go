package engine

import (
	"net/netip"
	"unsafe"

	"github.com/mafalda-sfu/mafalda/internal/driver"
	"github.com/mafalda-sfu/mafalda/internal/ice"
	"github.com/mafalda-sfu/mafalda/internal/prefetch"
)

// What a Consumer needs for a packet lies behind pointers, which have to be
// there before what they point to can be asked for. So each Consumer is visited
// in so many steps before its turn, one for each of those in front of it.
const prefetchSteps = 5

// What a packet from a peer needs lies behind pointers too: who sends is known
// so many packets, or runs of them, before they are handled.

// A coming is who sends what comes next, a ring.
type coming struct {
	list [driver.Ahead]*webRTCTransport
	at   int
}

// Expect implements [driver.Expecter].
func (m *Machine) Expect(s driver.UDPSocket, from netip.AddrPort) {
	c := &m.coming
	var w *webRTCTransport
	if from.IsValid() {
		if o, ok := s.Owner().(*webRTCServer); ok {
			w = o.tuples[ice.Tuple{Socket: s.ID(), Remote: from}]
		}
	}
	c.list[c.at] = w
	for step := range driver.Ahead {
		if w := c.list[(c.at+driver.Ahead-step)%driver.Ahead]; w != nil {
			w.prefetch(step)
		}
	}
	c.at = (c.at + 1) % driver.Ahead
}

const (
	webRTCHead   = unsafe.Offsetof(webRTCTransport{}.server)
	receiveStart = unsafe.Offsetof(transport{}.rx)
	receiveEnd   = unsafe.Offsetof(transport{}.feedback) + unsafe.Offsetof(feedback{}.timer)
	receiverHead = 160
	clockHead    = 32 // Source, but for its samples
	producerHead = unsafe.Offsetof(producer{}.id)
)

// prefetch asks for memory that the next packets from the peer need.
func (w *webRTCTransport) prefetch(step int) {
	if step == 0 {
		prefetch.Head(w, webRTCHead)
		return
	}
	t := w.t
	switch step {
	case 1:
		prefetch.Part(t, receiveStart, receiveEnd)
		w.ice.Prefetch()
	case 2:
		prefetch.Head(t.rx, receiverHead)
		prefetch.Head(t.listener.last, producerHead)
		t.recv.Prefetch()
		t.recvRTP.Prefetch()
		if r := t.feedback.recorder; r != nil {
			r.PrefetchHead()
		}
	case 3:
		if t.rx != nil {
			t.rx.Prefetch()
		}
		if p := t.listener.last; p != nil {
			prefetch.Of(p.last)
			prefetch.Head(p.clock, clockHead)
		}
		if r := t.feedback.recorder; r != nil {
			r.Prefetch()
		}
	case 4:
		if t.rx != nil {
			t.rx.PrefetchWindow()
		}
		if p := t.listener.last; p != nil && p.last != nil {
			prefetch.Of(p.last.recv)
			prefetch.Of(p.last.store)
			if len(p.consumers) > 0 {
				prefetch.Of(&p.consumers[0])
			}
		}
	case 5:
		if p := t.listener.last; p != nil && p.last != nil {
			p.last.recv.Prefetch()
			if p.last.store != nil {
				p.last.store.Prefetch()
			}
		}
	}
}

const (
	consumerHead  = unsafe.Offsetof(consumer{}.outs)
	transportHead = unsafe.Offsetof(transport{}.direct) + 1
	bandwidthHead = unsafe.Offsetof(bandwidth{}.client)
)

// A leaving goes ahead of a fan-out through the Consumers of Producers with
// packets.
type leaving struct {
	producers []*producer
	consumer  int // of producers[0]

	list [prefetchSteps]*consumer // those it came by last, a ring
	at   int
}

// prefetch takes the first step for the next Consumer, and further ones for those
// before.
func (l *leaving) prefetch() {
	var next *consumer
	for len(l.producers) > 0 {
		if p := l.producers[0]; len(p.pending) > 0 && l.consumer < len(p.consumers) {
			next = p.consumers[l.consumer]
			l.consumer++
			break
		}
		l.producers, l.consumer = l.producers[1:], 0
	}
	l.list[l.at] = next
	for step := range prefetchSteps {
		if c := l.list[(l.at+prefetchSteps-step)%prefetchSteps]; c != nil {
			c.prefetch(step)
		}
	}
	l.at = (l.at + 1) % prefetchSteps
}

// prefetch asks for memory that the next packets of c need.
func (c *consumer) prefetch(step int) {
	if step == 0 {
		prefetch.Head(c, consumerHead)
		return
	}
	t := c.t
	switch step {
	case 1:
		prefetch.Head(t, transportHead)
		c.main.send.Prefetch()
	case 2:
		prefetch.Of(t.tx)
		prefetch.Head(t.bandwidth, bandwidthHead)
		t.sent.Prefetch()
		t.sentRTP.Prefetch()
	case 3:
		if t.tx != nil {
			t.tx.Prefetch()
		}
		if t.bandwidth != nil {
			t.bandwidth.estimator.Prefetch()
		}
	case 4:
		if t.bandwidth != nil {
			t.bandwidth.estimator.PrefetchHistory()
		}
	}
}
