package sctp

import (
	"slices"
	"time"

	psctp "github.com/pion/sctp"
)

// OpenInbound says that somebody wants the messages that come on a stream, and
// how the peer sends them. Errors: [ErrStreamInUse], [ErrClosed].
func (a *Association) OpenInbound(id uint16, p StreamParameters) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.table.closed {
		return ErrClosed
	}
	s := a.table.get(id)
	if s.in {
		return ErrStreamInUse
	}
	s.in, s.inOrdered = true, p.Ordered
	a.table.know(s)
	a.table.touch(s)
	a.signal()
	return nil
}

// CloseInbound ends OpenInbound: what still comes is dropped. With
// Config.DataChannel the stream is reset in our direction, too, unless it is
// open there.
func (a *Association) CloseInbound(id uint16) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.table.streams[id]
	if s == nil || !s.in {
		return
	}
	s.in = false
	if a.cfg.DataChannel && !s.out && !s.over {
		a.resetLocked(s)
	}
	a.table.settle(s)
}

// OpenOutbound opens a stream to send on, before or after the association is
// connected. BufferedLow comes when what waits falls to lowThreshold, in bytes.
// Errors: [ErrStreamInUse], [ErrClosed].
func (a *Association) OpenOutbound(id uint16, p StreamParameters, lowThreshold uint32) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.table.closed {
		return ErrClosed
	}
	s := a.table.get(id)
	if s.out || s.dying {
		return ErrStreamInUse
	}
	if p.MaxRetransmits != nil {
		p.MaxRetransmits = new(*p.MaxRetransmits)
	}
	s.out, s.params, s.low = true, p, lowThreshold
	a.table.touch(s)
	a.signal()
	return nil
}

// CloseOutbound drops what waits to be sent on a stream and resets it. Its id
// can be opened again when the peer has reset it, too.
func (a *Association) CloseOutbound(id uint16) {
	a.mu.Lock()
	s := a.table.streams[id]
	if s == nil || !s.out {
		a.mu.Unlock()
		return
	}
	s.out = false
	a.table.drop(s)
	a.resetLocked(s)
	a.table.settle(s)
	a.mu.Unlock()
	a.relieve()
}

// resetLocked lets the writer reset a stream, if there is an association that
// could know of it. Where the peer is told of streams by others, it knows nothing
// of one that nothing was sent on, and would not answer.
func (a *Association) resetLocked(s *stream) {
	if s.dying || a.table.closed || a.pion.Load() == nil {
		return
	}
	if !a.cfg.DataChannel && s.writes == nil {
		return
	}
	s.dying, s.asked = true, true
	a.table.resets = append(a.table.resets, s)
	a.signal()
}

// Send queues a message, which it copies. It returns how many bytes of the
// stream wait to be sent, those not counted that go out at once. Errors:
// [ErrNoStream], [ErrClosed], [ErrEmptyMessage], [ErrMessageTooLarge],
// [ErrSendBufferFull].
func (a *Association) Send(id uint16, ppid uint32, data []byte) (buffered uint32, err error) {
	return a.send(id, ppid, data, int(a.cfg.SendBufferSize), int(a.cfg.PerStreamSendQueueLimit))
}

// SendPatiently is Send for those who look at Crowded after each message, and then
// stop: more may wait than Config allows, so that nothing of theirs is lost.
func (a *Association) SendPatiently(id uint16, ppid uint32, data []byte) (buffered uint32, err error) {
	return a.send(id, ppid, data, patientLimit, patientLimit)
}

// send is Send with limits, in bytes, of all that waits and of that on the stream.
func (a *Association) send(id uint16, ppid uint32, data []byte, most, ofStream int) (buffered uint32, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := &a.table
	s := t.streams[id]
	switch {
	case t.closed:
		return 0, ErrClosed
	case s == nil || !s.out:
		return 0, ErrNoStream
	case len(data) == 0:
		return a.bufferedLocked(s), ErrEmptyMessage
	case len(data) > int(a.cfg.MaxSendMessageSize):
		return a.bufferedLocked(s), ErrMessageTooLarge
	case t.waiting >= maxWaiting, t.queued+t.given >= most, s.unsent() >= ofStream:
		return a.bufferedLocked(s), ErrSendBufferFull
	}
	m := message{ppid: ppid, data: append([]byte(nil), data...)}
	if l := s.params.MaxPacketLifeTime; l > 0 {
		m.expiry = time.Now().Add(l)
	}
	t.push(s, m)
	a.signal()
	return a.bufferedLocked(s), nil
}

// Crowded reports whether so much waits to be sent that senders should stop. If
// so, Relieved comes later, or the end of the association.
func (a *Association) Crowded() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.crowd.look(&a.table)
}

// Jammed reports whether much more waits than it takes to be crowded. If so,
// Unjammed comes later, or the end of the association.
func (a *Association) Jammed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.jam.look(&a.table)
}

// relieve is called after something does not wait any more. It tells once that
// an association is not jammed now, or not crowded.
func (a *Association) relieve() {
	a.mu.Lock()
	unjammed, relieved := a.jam.fell(&a.table), a.crowd.fell(&a.table)
	a.mu.Unlock()
	if unjammed {
		a.box.event(Event{Kind: Unjammed})
	}
	if relieved {
		a.box.event(Event{Kind: Relieved})
	}
}

// BufferedAmount returns how many bytes of a stream wait to be sent.
func (a *Association) BufferedAmount(id uint16) uint32 {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := a.table.streams[id]; s != nil {
		return a.bufferedLocked(s)
	}
	return 0
}

// bufferedLocked leaves out what the windows have room for: it is on its way.
func (a *Association) bufferedLocked(s *stream) uint32 {
	waits := a.table.queued + a.table.given
	if p := a.pion.Load(); p != nil {
		room := min(int(p.CWND())-a.wire.flightBytes, int(p.RWND()))
		waits -= max(room, 0)
	}
	return uint32(max(min(s.unsent(), waits), 0))
}

// SetLowThreshold changes the threshold of BufferedLow. If what waits is above
// the old one and not above the new one, the event comes at once.
func (a *Association) SetLowThreshold(id uint16, n uint32) {
	a.mu.Lock()
	s := a.table.streams[id]
	if s == nil || !s.out {
		a.mu.Unlock()
		return
	}
	amount := s.unsent()
	fire := amount > int(s.low) && amount <= int(n)
	s.low = n
	a.mu.Unlock()
	if fire {
		a.box.low(id, uint32(amount))
	}
}

// incoming checks a packet of the peer on its way to pion; nil drops it. The
// peer had no room and has it again if reopened.
func (a *Association) incoming(p []byte) (_ []byte, reopened bool) {
	holding := a.box.holding()
	a.mu.Lock()
	tooMany := false
	acked := a.wire.acked
	p = a.wire.filter(p, holding, func(c chunk) bool {
		n, ok := c.payload()
		if !ok {
			return false
		}
		before, ahead := a.wire.seen.has(c.tsn())
		if !a.window.admit(n, c.single() && !before, ahead) {
			return false
		}
		if !before {
			a.wire.seen.add(c.tsn())
		}
		id := uint16(c[8])<<8 | uint16(c[9])
		if !a.table.arrives(id, c.flags()&flagUnordered == 0) {
			tooMany = true
			return false
		}
		return true
	})
	if p != nil {
		a.heard = time.Now()
	}
	work := a.wire.acked != acked || len(a.table.dirty) > 0
	reopened = a.wire.reopened
	a.wire.reopened = false
	reply := a.wire.reply
	a.wire.reply = nil
	a.mu.Unlock()
	if tooMany {
		a.fail(ErrTooManyStreams)
		return nil, false
	}
	if work {
		a.signal()
	}
	if reply != nil {
		a.box.last(reply)
	}
	return p, reopened
}

// outgoing learns from a packet of ours on its way to the peer, and may change
// the window that it advertises.
func (a *Association) outgoing(p []byte) {
	var fell []*stream
	var amounts []uint32
	a.mu.Lock()
	given := a.table.given
	a.wire.outgoing(p, func(id uint16, n int, end bool) {
		if s, fires := a.table.sent(id, n, end); fires && !slices.Contains(fell, s) {
			fell = append(fell, s)
		}
	}, func(credit uint32) uint32 { return a.window.told(credit, time.Now()) })
	work := a.table.given != given
	for _, s := range fell {
		amounts = append(amounts, uint32(s.unsent()))
	}
	a.mu.Unlock()
	for i, s := range fell {
		a.box.low(s.id, amounts[i])
	}
	if work {
		a.relieve()
		a.signal()
	}
}

// adopt makes what pion has for an id ours: it gets flags and a reader.
func (a *Association) adopt(id uint16, ps *psctp.Stream, writes bool) {
	a.mu.Lock()
	t := &a.table
	s := t.get(id)
	if s.reads == nil || writes {
		s.reads = ps
	}
	if writes {
		s.writes = ps
	}
	fresh := !t.readers[ps]
	if fresh {
		s.over = false
		t.readers[ps] = true
		a.all.Add(1)
	}
	rest := s.rest()
	a.mu.Unlock()
	rest.apply(ps)
	if fresh {
		go a.read(s, ps) // ends when the peer resets the stream, or with the association
	}
}

// A reliability is what pion wants to know of a stream.
type reliability struct {
	unordered bool
	kind      byte
	value     uint32
}

func (r reliability) apply(ps *psctp.Stream) { ps.SetReliabilityParams(r.unordered, r.kind, r.value) }

// rest is what pion must know while nothing is written: the limits of what we
// send, and the order of what the peer sends, by which FORWARD TSN is applied.
func (s *stream) rest() reliability {
	r := s.write()
	if s.in || s.stranger {
		r.unordered = !s.inOrdered
	}
	return r
}

// write is what pion must know while a message is written.
func (s *stream) write() reliability {
	r := reliability{unordered: !s.params.Ordered, kind: psctp.ReliabilityTypeReliable}
	switch p := s.params; {
	case !s.out:
	case p.MaxPacketLifeTime > 0:
		r.kind = psctp.ReliabilityTypeTimed
		r.value = uint32(max(p.MaxPacketLifeTime/time.Millisecond, 1))
	case p.MaxRetransmits != nil:
		r.kind = psctp.ReliabilityTypeRexmit
		r.value = uint32(*p.MaxRetransmits)
	}
	return r
}
