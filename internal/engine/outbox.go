package engine

import "sync"

// An outbox holds the notifications of the network until the notifier
// goroutine takes them. It is bounded: for each object by coalescing, for
// packets by number.
type outbox struct {
	ready chan struct{} // capacity 1: something is there, or closed

	mu      sync.Mutex
	items   []Notification    // guarded by mu
	pending map[outboxKey]int // guarded by mu; how many of a kind wait
	stream  int               // guarded by mu; how many packets wait
	dropped uint64            // guarded by mu; packets and states dropped
	closed  bool              // guarded by mu
	last    func()            // guarded by mu; run by the notifier as the last thing
}

type outboxKey struct {
	target string
	body   string
}

func newOutbox() *outbox {
	return &outbox{ready: make(chan struct{}, 1), pending: map[outboxKey]int{}}
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
	switch ruleOf(n.Body) {
	case keepStream:
		if o.stream == maxStream {
			o.dropOldestLocked(func(p Notification) bool { return ruleOf(p.Body) == keepStream })
			o.stream--
		}
		o.stream++
	case keepSequence:
		key := keyOf(n)
		limit := maxSequence
		if _, ok := n.Body.(Trace); ok {
			limit = maxTraces
		}
		if o.pending[key] == limit {
			o.dropOldestLocked(func(p Notification) bool { return keyOf(p) == key })
			o.pending[key]--
		}
		o.pending[key]++
	default:
		key := keyOf(n)
		if o.pending[key] > 0 {
			for i := range o.items {
				if keyOf(o.items[i]) == key {
					o.items[i] = n
					return
				}
			}
		}
		o.pending[key] = 1
	}
	o.items = append(o.items, n)
}

// dropOldestLocked removes the first item that match accepts.
func (o *outbox) dropOldestLocked(match func(Notification) bool) {
	for i, n := range o.items {
		if match(n) {
			o.dropped++
			copy(o.items[i:], o.items[i+1:])
			o.items = o.items[:len(o.items)-1]
			return
		}
	}
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
	for range o.ready {
		o.mu.Lock()
		items, closed, last := o.items, o.closed, o.last
		o.items, o.stream = nil, 0
		clear(o.pending)
		o.mu.Unlock()
		for _, n := range items {
			f(n)
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
	case ConsumerProducerPause, ConsumerProducerResume:
		body = "pause"
	case ConsumerProducerClose:
		body = "close"
	}
	return outboxKey{n.Target, body}
}
