package sctp

import (
	"slices"
	"time"

	psctp "github.com/pion/sctp"
)

// StreamParameters say how messages travel on a stream.
type StreamParameters struct {
	// Ordered: in the order they were sent.
	Ordered bool
	// MaxPacketLifeTime is how long a message is tried, in whole milliseconds;
	// 0 is for ever.
	MaxPacketLifeTime time.Duration
	// MaxRetransmits is how often it is sent again; nil is as often as it takes.
	MaxRetransmits *uint16
}

// A message waits to be sent.
type message struct {
	ppid   uint32
	data   []byte
	expiry time.Time // zero: never
}

// A stream is one id, in both directions.
type stream struct {
	id uint16

	in        bool // somebody wants what comes
	inOrdered bool // how the peer sends
	stranger  bool // something came that nobody wants
	absent    bool // and pion knew nothing of it when last looked

	out    bool // open to send
	params StreamParameters
	low    uint32    // threshold
	queue  []message // not given to pion yet
	queued int       // bytes in queue
	given  int       // bytes that pion has and did not send yet

	over bool // the peer has reset it
	// dying: reset by us, not by the peer yet; no new life before.
	dying bool
	asked bool // the writer has not reset it yet
	// What pion has for the id: what is read, and what is written to. They are
	// different when the peer has reset its direction and we have not.
	reads, writes *psctp.Stream
}

// unsent is mediasoup's buffered amount: queued, not yet sent.
func (s *stream) unsent() int { return s.queued + s.given }

// idle reports whether nothing is known of the stream any more.
func (s *stream) idle() bool {
	return !s.in && !s.out && !s.dying && !s.stranger && s.reads == nil && s.writes == nil
}

// table holds the streams of an Association, and what waits to be sent on
// them. It belongs to the lock of its Association.
type table struct {
	streams   map[uint16]*stream
	readers   map[*psctp.Stream]bool
	strangers int
	closed    bool

	active   []*stream // with messages in queue, in turn
	queued   int       // bytes in the queues
	waiting  int       // messages there and with pion, not sent yet
	given    int       // bytes that pion has and did not send yet
	givenMsg int       // messages of these

	resets []*stream // to be reset by the writer
	dirty  []*stream // whose flags the writer must set
}

func (t *table) init() {
	t.streams = map[uint16]*stream{}
	t.readers = map[*psctp.Stream]bool{}
}

// clear drops what waits: nothing will be sent any more.
func (t *table) clear() {
	t.closed = true
	for _, s := range t.streams {
		s.queue, s.queued, s.given = nil, 0, 0
	}
	t.active, t.resets, t.dirty = nil, nil, nil
	t.queued, t.waiting, t.given, t.givenMsg = 0, 0, 0, 0
}

// get returns the stream with that id, which it makes if need be.
func (t *table) get(id uint16) *stream {
	s := t.streams[id]
	if s == nil {
		s = &stream{id: id}
		t.streams[id] = s
	}
	return s
}

// settle forgets a stream that is idle.
func (t *table) settle(s *stream) {
	if s.idle() && t.streams[s.id] == s {
		delete(t.streams, s.id)
	}
}

// touch lets the writer set the flags of a stream.
func (t *table) touch(s *stream) {
	if (s.reads != nil || s.writes != nil) && !slices.Contains(t.dirty, s) {
		t.dirty = append(t.dirty, s)
	}
}

// know ends the life of a stream as a stranger.
func (t *table) know(s *stream) {
	if s.stranger {
		s.stranger = false
		t.strangers--
	}
}

// sweep forgets strangers that pion knows nothing of, twice in a row: what came
// was old, or was refused.
func (t *table) sweep() {
	for _, s := range t.streams {
		if !s.stranger || s.reads != nil {
			s.absent = false
			continue
		}
		if s.absent {
			t.know(s)
			t.settle(s)
		}
		s.absent = s.stranger
	}
}

// arrives notes a fragment on its way to pion; false if the peer has used too
// many streams that nobody opened.
func (t *table) arrives(id uint16, ordered bool) bool {
	s := t.get(id)
	if s.in {
		return true
	}
	if !s.stranger {
		s.stranger = true
		t.strangers++
		if t.strangers > MaxStrangers {
			return false
		}
		s.inOrdered = !ordered
	}
	if s.inOrdered != ordered { // nobody says, so what comes tells
		s.inOrdered = ordered
		t.touch(s)
	}
	return true
}

// push queues a message.
func (t *table) push(s *stream, m message) {
	if len(s.queue) == 0 {
		t.active = append(t.active, s)
	}
	s.queue = append(s.queue, m)
	s.queued += len(m.data)
	t.queued += len(m.data)
	t.waiting++
}

// pop takes the next message: streams take turns.
func (t *table) pop() (*stream, message) {
	s := t.active[0]
	t.active[0] = nil
	t.active = t.active[1:]
	m := s.queue[0]
	s.queue[0] = message{}
	s.queue = s.queue[1:]
	if len(s.queue) > 0 {
		t.active = append(t.active, s)
	} else {
		s.queue = nil
	}
	s.queued -= len(m.data)
	t.queued -= len(m.data)
	t.waiting--
	return s, m
}

// drop forgets what waits on a stream.
func (t *table) drop(s *stream) {
	if len(s.queue) > 0 {
		t.active = slices.DeleteFunc(t.active, func(x *stream) bool { return x == s })
		t.queued -= s.queued
		t.waiting -= len(s.queue)
	}
	s.queue, s.queued, s.given = nil, 0, 0
}

// give notes that pion gets a message.
func (t *table) give(s *stream, n int) {
	s.given += n
	t.given += n
	t.givenMsg++
	t.waiting++
}

// takeBack notes that pion did not want it.
func (t *table) takeBack(s *stream, n int) {
	s.given = max(s.given-n, 0)
	t.given -= n
	t.givenMsg--
	t.waiting--
}

// sent notes that n bytes of a stream went out for the first time. It reports
// whether the amount fell to the threshold.
func (t *table) sent(id uint16, n int, end bool) (*stream, bool) {
	t.given = max(t.given-n, 0)
	if end {
		t.givenMsg = max(t.givenMsg-1, 0)
		t.waiting = max(t.waiting-1, 0)
	}
	s := t.streams[id]
	if s == nil || !s.out {
		return nil, false
	}
	before := s.unsent()
	s.given = max(s.given-n, 0)
	return s, before > int(s.low) && s.unsent() <= int(s.low)
}

// A mark is how much may wait to be sent, and whether more does. Once somebody saw
// that it stays passed until half as much waits.
type mark struct {
	bytes, messages int // constant
	passed          bool
}

// look reports whether the mark is passed.
func (m *mark) look(t *table) bool {
	m.passed = m.passed || t.queued+t.given > m.bytes || t.waiting > m.messages
	return m.passed
}

// fell reports, once, that it is not passed any more.
func (m *mark) fell(t *table) bool {
	if !m.passed || t.queued+t.given > m.bytes/2 || t.waiting > m.messages/2 {
		return false
	}
	m.passed = false
	return true
}
