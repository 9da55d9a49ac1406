package engine

import (
	"slices"
	"sync/atomic"

	"github.com/mafalda-sfu/mafalda/internal/packetbuf"
	"github.com/mafalda-sfu/mafalda/internal/ring"
	"github.com/mafalda-sfu/mafalda/internal/rtcp"
	"github.com/mafalda-sfu/mafalda/internal/rtp"
)

const (
	laneSize  = 4096    // packets under way in one direction
	laneSlots = 1 << 16 // packets that the peer may hold: 128 MiB
	laneChunk = 64      // slots that memory is taken for at a time
	laneTurn  = 256     // packets taken in one turn, so that sockets are served
)

// A handover is a packet on its way. The slot that holds it is the receiver's,
// to read and to write, until it gives the slot back.
type handover struct {
	data []byte // capacity to the end of the slot
	pipe uint64 // whom it is for
	slot packetbuf.Ref
}

// A lane is the end that one Worker has of the way to another one of this
// process, or to itself: packets of all pipes between them go there in the
// memory of the sender, and are read where they lie.
//
// The loops share two things only, rings and a flag. Each ring has one writer
// and one reader; what is behind them is plain memory. A loop that ends, even by
// a panic in the midst of a turn, has published whole packets only, and touches
// none of those; what it lent is no part of its own pool, but of one that is
// garbage when both have let go.
type lane struct {
	// Constant after newLanes.
	out, in   *ring.Ring[handover]
	give, get *ring.Ring[packetbuf.Ref] // slots of the peer, slots of ours
	ended     *atomic.Bool              // our loop has
	peerEnded *atomic.Bool
	wakePeer  func()
	forget    func() // lets the Worker forget the lane

	// Owned by our loop, from join on.
	m        *Machine
	pool     *packetbuf.Pool // what the peer may hold
	reserved packetbuf.Ref   // a slot of it for the next packet, or 0
	inSlot   bool            // the next packet was written there
	owed     []packetbuf.Ref // slots of the peer that give had no room for
	pipes    map[uint64]*pipeTransport
	dead     bool // the peer has ended, and its packets were taken
}

// pipeNumbers tells pipes apart on all lanes, for ever.
var pipeNumbers atomic.Uint64

// newLanes returns both ends of a way between two loops, which wakeA and wakeB
// wake; forgetA and forgetB are called when the other one has ended.
func newLanes(wakeA, wakeB, forgetA, forgetB func()) (a, b *lane) {
	there, back := ring.New[handover](laneSize), ring.New[handover](laneSize)
	gotThere, gotBack := ring.New[packetbuf.Ref](laneSize), ring.New[packetbuf.Ref](laneSize)
	endedA, endedB := new(atomic.Bool), new(atomic.Bool)
	a = &lane{
		out: there, in: back, get: gotThere, give: gotBack,
		ended: endedA, peerEnded: endedB, wakePeer: wakeB, forget: forgetA,
	}
	b = &lane{
		out: back, in: there, get: gotBack, give: gotThere,
		ended: endedB, peerEnded: endedA, wakePeer: wakeA, forget: forgetB,
	}
	for _, l := range []*lane{a, b} {
		l.pool = packetbuf.NewPool(slotSize, laneChunk, laneSlots)
		l.pipes = map[uint64]*pipeTransport{}
	}
	return a, b
}

// newLoop returns the lane of a loop to itself.
func newLoop(wake, forget func()) *lane {
	packets, slots := ring.New[handover](laneSize), ring.New[packetbuf.Ref](laneSize)
	ended := new(atomic.Bool)
	return &lane{
		out: packets, in: packets, get: slots, give: slots,
		ended: ended, peerEnded: ended, wakePeer: wake, forget: forget,
		pool:  packetbuf.NewPool(slotSize, laneChunk, laneSlots),
		pipes: map[uint64]*pipeTransport{},
	}
}

// join lets the loop of m serve the lane.
func (l *lane) join(m *Machine) {
	if l.m == nil {
		l.m = m
		m.lanes = append(m.lanes, l)
	}
}

// end tells the peer that our loop has ended. Any goroutine may call it, once
// the loop touches the lane no more.
func (l *lane) end() {
	l.ended.Store(true)
	l.wakePeer()
}

// reserve returns room for a packet of n bytes: a slot or, if there is none,
// memory to write it to in vain.
func (l *lane) reserve(n int) []byte {
	if l.inSlot = n <= slotSize-slotSlack; !l.inSlot {
		return l.m.scratch
	}
	if l.reserved == 0 {
		if l.reserved = l.pool.Get(); l.reserved == 0 {
			return l.m.scratch
		}
	}
	return l.pool.Bytes(l.reserved)
}

// send hands over the first n bytes of the reserved slot, and reports false if
// it can't.
func (l *lane) send(to uint64, n int) bool {
	c := &l.m.count
	switch {
	case !l.inSlot:
		c.DropTooLarge++
		return false
	case l.reserved == 0:
		c.DropNoSlot++
		return false
	case l.dead || !l.out.Put(handover{l.pool.Bytes(l.reserved)[:n], to, l.reserved}):
		c.DropLane++
		return false
	}
	l.reserved = 0
	return true
}

// Return implements [packetbuf.Owner]: the slot goes back to the peer.
func (l *lane) Return(slot packetbuf.Ref) {
	if !l.dead && (len(l.owed) > 0 || !l.give.Put(slot)) {
		l.owed = append(l.owed, slot)
	}
}

// receive takes what the peer has handed over and given back, and reports
// whether there may be more.
func (l *lane) receive() (more bool) {
	ended := l.peerEnded.Load() // before the rings: after it they don't change
	for {
		slot, ok := l.get.Get()
		if !ok {
			break
		}
		l.pool.Release(slot)
	}
	l.get.Free()
	n := 0
	for n < laneTurn {
		h, ok := l.in.Get()
		if !ok {
			break
		}
		n++
		l.take(&h)
	}
	l.in.Free()
	if n == laneTurn {
		return true
	}
	if ended {
		l.dead, l.owed = true, nil
	}
	return false
}

// take receives one packet.
func (l *lane) take(h *handover) {
	m := l.m
	m.count.PacketsIn++
	m.count.BytesIn += uint64(len(h.data))
	p := l.pipes[h.pipe]
	if p == nil { // it was closed meanwhile
		m.count.DropNotConnected++
		l.Return(h.slot)
		return
	}
	t := p.t
	t.received(len(h.data))
	ref := m.pool.Borrow(h.data[:cap(h.data)], l, h.slot)
	if rtcp.Is(h.data) {
		t.receiveRTCP(h.data)
	} else if pkt, ok := rtp.Parse(h.data); ok {
		t.receiveRTP(ref, pkt)
	} else {
		m.count.DropMalformed++
		t.droppedRTP("malformed", h.data)
	}
	m.pool.Release(ref)
}

// flush lets the peer see what was sent, and wakes it for packets.
func (l *lane) flush() {
	n := 0
	for n < len(l.owed) && l.give.Put(l.owed[n]) {
		n++
	}
	l.owed = slices.Delete(l.owed, 0, n)
	l.give.Publish()
	if l.out.Publish() {
		l.wakePeer()
	}
}

// receiveLanes takes what came from other Workers, and reports whether there
// may be more. It is called once a turn.
func (m *Machine) receiveLanes() (more bool) {
	dead := false
	for _, l := range m.lanes {
		more = l.receive() || more
		dead = dead || l.dead
	}
	if dead {
		m.lanes = slices.DeleteFunc(m.lanes, func(l *lane) bool {
			if l.dead {
				l.forget()
			}
			return l.dead
		})
	}
	return more
}

// A crossing is the way of one pipe through a lane.
type crossing struct {
	lane *lane
	to   uint64 // the number of the other pipe
}

func (x *crossing) sendRTP(t *transport, n int) {
	if x.lane.send(x.to, n) {
		t.sentBytes(n)
		t.m.count.PacketsOut++
		t.m.count.BytesOut += uint64(n)
	}
}

func (x *crossing) sendRTCP(t *transport, plain []byte) {
	if n := copy(x.lane.reserve(len(plain)), plain); x.lane.send(x.to, n) {
		t.sentBytes(n)
	}
}
