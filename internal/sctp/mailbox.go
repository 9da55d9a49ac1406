package sctp

import (
	"net"
	"sync"
)

const (
	maxBoxedPackets = 1024    // before pion waits to send
	maxBoxedBytes   = 1 << 20 // of messages, before readers wait
	maxBoxedEvents  = 1024    // messages, before readers wait
)

// A mailbox brings packets and events to the loop. It is bounded: who puts in
// too much waits until the loop has taken it.
type mailbox struct {
	// Constant after newMailbox.
	post   func(func()) bool
	send   func([]byte)
	handle func(Event)
	lost   func() // called once, when the loop has ended

	mu        sync.Mutex
	room      *sync.Cond // something was taken, or closed
	packets   [][]byte   // guarded by mu
	events    []Event    // guarded by mu
	bytes     int        // guarded by mu; of messages in events
	messages  int        // guarded by mu; in events
	held      int        // guarded by mu; readers that wait
	posted    bool       // guarded by mu; drain will run
	closed    bool       // guarded by mu; nothing is taken any more
	suspended bool       // guarded by mu; no messages are taken
	over      bool       // guarded by mu; the association has ended, readers wait no more

	// Owned by the loop: what drain swaps with.
	sparePackets [][]byte
	spareEvents  []Event
}

func newMailbox(post func(func()) bool, send func([]byte), handle func(Event), lost func()) *mailbox {
	b := &mailbox{post: post, send: send, handle: handle, lost: lost}
	b.room = sync.NewCond(&b.mu)
	return b
}

// packet queues a packet, which becomes the mailbox's, and waits for room.
func (b *mailbox) packet(p []byte) error {
	b.mu.Lock()
	for len(b.packets) >= maxBoxedPackets && !b.closed {
		b.room.Wait()
	}
	if b.closed {
		b.mu.Unlock()
		return net.ErrClosed
	}
	b.packets = append(b.packets, p)
	b.ring()
	return nil
}

// last queues a packet without waiting.
func (b *mailbox) last(p []byte) {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return
	}
	b.packets = append(b.packets, p)
	b.ring()
}

// event queues an event without waiting. Who calls it bounds how many there
// are.
func (b *mailbox) event(e Event) {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return
	}
	b.events = append(b.events, e)
	b.ring()
}

// low queues BufferedLow for a stream. One that waits already becomes it, so
// that there is at most one for each stream.
func (b *mailbox) low(id uint16, amount uint32) {
	b.mu.Lock()
	for i := range b.events {
		if e := &b.events[i]; e.Kind == BufferedLow && e.Stream == id {
			e.Buffered = amount
			b.mu.Unlock()
			return
		}
	}
	b.mu.Unlock()
	b.event(Event{Kind: BufferedLow, Stream: id, Buffered: amount})
}

// message queues a message.
func (b *mailbox) message(e Event) {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return
	}
	b.events = append(b.events, e)
	b.bytes += len(e.Data)
	b.messages++
	b.ring()
}

// ready waits until there is room for messages.
func (b *mailbox) ready() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held++
	for (b.suspended || b.bytes >= maxBoxedBytes || b.messages >= maxBoxedEvents) && !b.closed && !b.over {
		b.room.Wait()
	}
	b.held--
}

// finish lets readers take what is left without waiting: at most a window.
func (b *mailbox) finish() {
	b.mu.Lock()
	b.over = true
	b.room.Broadcast()
	b.mu.Unlock()
}

// holding reports whether a reader waits for room.
func (b *mailbox) holding() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.held > 0
}

// calm waits until at most half of the packets that may wait do.
func (b *mailbox) calm() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.packets) > maxBoxedPackets/2 && !b.closed {
		b.room.Wait()
	}
}

// ring makes sure that drain will run, and unlocks.
func (b *mailbox) ring() {
	first := !b.posted
	b.posted = true
	b.mu.Unlock()
	if first && !b.post(b.drain) {
		b.close()
		b.lost()
	}
}

// drain runs on the loop.
func (b *mailbox) drain() {
	b.mu.Lock()
	packets, events := b.packets, b.events
	b.packets, b.events = b.sparePackets[:0], b.spareEvents[:0]
	b.bytes, b.messages, b.posted = 0, 0, false
	b.room.Broadcast()
	b.mu.Unlock()
	for i, p := range packets {
		b.send(p)
		packets[i] = nil
	}
	for i, e := range events {
		events[i] = Event{}
		b.handle(e)
	}
	b.sparePackets, b.spareEvents = packets, events
}

// suspend stops messages, or lets them come again.
func (b *mailbox) suspend(on bool) {
	b.mu.Lock()
	b.suspended = on
	b.room.Broadcast()
	b.mu.Unlock()
}

// close drops what is queued and lets everybody go who waits.
func (b *mailbox) close() {
	b.mu.Lock()
	b.closed = true
	b.packets, b.events, b.bytes, b.messages = nil, nil, 0, 0
	b.room.Broadcast()
	b.mu.Unlock()
}
