package engine

import "sync"

// An outbox holds the notifications of the network until the notifier
// goroutine takes them. It is bounded: for each object by coalescing, for
// packets by number, for data messages by a backlog that stops their sources. What a slow listener costs the loop does not depend on how
// much waits.
type outbox struct {
	ready   chan struct{} // capacity 1: something is there, or closed
	backlog *backlog      // of the data messages that wait

	mu      sync.Mutex
	items   []boxed            // guarded by mu
	lines   map[outboxKey]line // guarded by mu; what waits, by kind; never empty ones
	gone    int                // guarded by mu; how many items were dropped
	dropped uint64             // guarded by mu; packets and states dropped
	closed  bool               // guarded by mu
	last    func()             // guarded by mu; run by the notifier as the last thing
}

// boxed is a notification that waits, or one without Body that was dropped.
type boxed struct {
	Notification
	next int  // index of the next one of the same line, if there is one
	kept bool // in no line
}

// A line has those of one kind, in order, as a list through items.
type line struct{ first, last, n int }

// An outboxKey is a kind: what is coalesced, or dropped for each other. That of
// all packets is the zero key.
type outboxKey struct {
	target string
	body   string
}

const (
	keptItems = 4096 // that the notifier's slices may have room for while idle
	minGone   = 1024 // dropped items before a cleaning pays
)

func newOutbox() *outbox {
	return &outbox{ready: make(chan struct{}, 1), backlog: &backlog{}, lines: map[outboxKey]line{}}
}

// put adds notes in order. It does not keep the slice.
func (o *outbox) put(notes []Notification) {
	if len(notes) == 0 {
		return
	}
	o.mu.Lock()
	for _, n := range notes {
		o.addLocked(n)
	}
	o.mu.Unlock()
	o.signal()
}

// putAll adds first and notes in order, whatever waits already.
func (o *outbox) putAll(first Notification, notes []Notification) {
	o.mu.Lock()
	if !o.closed {
		o.keepLocked(first)
		for _, n := range notes {
			o.keepLocked(n)
		}
	}
	o.mu.Unlock()
	o.signal()
}

// keepLocked adds n so that nothing later replaces it. What waits stays where
// it is: that of its kind, before a Reply everything but packets.
func (o *outbox) keepLocked(n Notification) {
	if _, ok := n.Body.(Reply); ok {
		packets, some := o.lines[outboxKey{}]
		clear(o.lines)
		if some {
			o.lines[outboxKey{}] = packets
		}
	} else if ruleOf(n.Body) != keepAll {
		delete(o.lines, keyOf(n))
	}
	o.items = append(o.items, boxed{Notification: n, kept: true})
}

func (o *outbox) signal() {
	select {
	case o.ready <- struct{}{}:
	default:
	}
}

func (o *outbox) addLocked(n Notification) {
	if o.closed {
		return
	}
	var key outboxKey
	limit := 0
	switch ruleOf(n.Body) {
	case keepAll:
		o.items = append(o.items, boxed{Notification: n})
		return
	case keepStream:
		limit = maxStream
	case keepSequence:
		key, limit = keyOf(n), maxSequence
		if _, ok := n.Body.(Trace); ok {
			limit = maxTraces
		}
	default:
		key = keyOf(n)
		if l := o.lines[key]; l.n > 0 {
			o.items[l.first].Notification = n
			return
		}
	}
	l := o.lines[key]
	if limit > 0 && l.n == limit {
		first := &o.items[l.first]
		l.first, l.n = first.next, l.n-1
		*first = boxed{}
		o.gone++
		o.dropped++
	}
	o.lines[key] = o.joinLocked(l, n)
	if o.gone >= minGone && o.gone > len(o.items)/2 {
		o.cleanLocked()
	}
}

// joinLocked appends n to items, as the last of l.
func (o *outbox) joinLocked(l line, n Notification) line {
	at := len(o.items)
	o.items = append(o.items, boxed{Notification: n})
	if l.n == 0 {
		l.first = at
	} else {
		o.items[l.last].next = at
	}
	l.last = at
	l.n++
	return l
}

// cleanLocked removes what was dropped.
func (o *outbox) cleanLocked() {
	all := o.items
	o.items = all[:0]
	clear(o.lines)
	for i := range all {
		n := all[i].Notification
		if n.Body == nil {
			continue
		}
		if all[i].kept {
			o.keepLocked(n)
			continue
		}
		var key outboxKey
		switch ruleOf(n.Body) {
		case keepAll:
			o.items = append(o.items, boxed{Notification: n})
			continue
		case keepStream:
		default:
			key = keyOf(n)
		}
		o.lines[key] = o.joinLocked(o.lines[key], n)
	}
	clear(all[len(o.items):])
	o.gone = 0
}

// close lets run end after what is pending and then last.
func (o *outbox) close(last func()) {
	o.mu.Lock()
	o.closed = true
	o.last = last
	o.mu.Unlock()
	o.signal()
}

// run hands each notification to f until close.
func (o *outbox) run(f func(Notification)) {
	var spare []boxed
	for range o.ready {
		o.mu.Lock()
		items, closed, last := o.items, o.closed, o.last
		o.items, o.gone = spare[:0], 0
		clear(o.lines)
		o.mu.Unlock()
		for i := range items {
			if items[i].Body != nil {
				f(items[i].Notification)
			}
			if d, ok := items[i].Body.(DataConsumerMessage); ok {
				o.backlog.sub(len(d.Data))
			}
		}
		clear(items)
		if spare = items; cap(spare) > keptItems {
			spare = nil
		}
		if closed {
			if last != nil {
				last()
			}
			return
		}
	}
}

func keyOf(n Notification) outboxKey {
	var body string
	switch n.Body.(type) {
	case ICEStateChange:
		body = "ice"
	case ICESelectedTupleChange:
		body = "iceTuple"
	case DTLSStateChange:
		body = "dtls"
	case SCTPStateChange:
		body = "sctp"
	case SCTPNegotiated:
		body = "sctpNegotiated"
	case DataConsumerBufferedAmountLow:
		body = "bufferedAmountLow"
	case DataConsumerSendBufferFull:
		body = "sendBufferFull"
	case PlainTuple:
		body = "tuple"
	case PlainRTCPTuple:
		body = "rtcpTuple"
	case ProducerScoreChange, ConsumerScoreChange:
		body = "score"
	case VideoOrientationChange:
		body = "orientation"
	case Trace:
		body = "trace"
	case ConsumerProducerPause, ConsumerProducerResume, DataConsumerProducerPause, DataConsumerProducerResume:
		body = "pause"
	case ConsumerProducerClose, DataConsumerProducerClose:
		body = "close"
	}
	return outboxKey{n.Target, body}
}
