package sctp

import (
	"time"

	psctp "github.com/pion/sctp"
)

const (
	// What pion gets ahead of what it has sent, and keeps until the peer has
	// acknowledged it, is bounded: its own windows are the peer's to choose.
	maxGiven       = 128 << 10 // bytes, not sent yet
	maxGivenMsg    = 1024      // messages, not sent yet
	maxOutstanding = 8192      // fragments, not acknowledged yet

	watchEvery = 5 * time.Second
)

// write gives pion what waits to be sent, as long as it takes it, and watches
// the peer. It alone writes to streams and resets them.
func (a *Association) write(p *psctp.Association) {
	defer a.all.Done()
	a.guard(func() {
		watch := watcher{a: a}
		tick := time.NewTicker(min(watchEvery, a.cfg.Heartbeat, a.cfg.Silence, a.cfg.Wedged))
		defer tick.Stop()
		for {
			for a.writeOne(p) {
			}
			select {
			case <-a.wake:
			case now := <-tick.C:
				watch.check(now)
			case <-a.conn.done:
				return
			}
		}
	})
}

// writeOne does one thing, and reports whether there was one.
func (a *Association) writeOne(p *psctp.Association) bool {
	select {
	case <-a.conn.done:
		return false
	default:
	}
	a.mu.Lock()
	t := &a.table
	switch {
	case len(t.dirty) > 0:
		s := t.dirty[0]
		t.dirty = t.dirty[1:]
		rest, reads, writes := s.rest(), s.reads, s.writes
		a.mu.Unlock()
		for _, ps := range []*psctp.Stream{reads, writes} {
			if ps != nil {
				rest.apply(ps)
			}
		}
	case len(t.resets) > 0:
		s := t.resets[0]
		t.resets = t.resets[1:]
		a.mu.Unlock()
		a.reset(p, s)
	case len(t.active) > 0 && t.given < maxGiven && t.givenMsg < maxGivenMsg && a.wire.outstanding() < maxOutstanding:
		s, m := t.pop()
		if !m.expiry.IsZero() && time.Now().After(m.expiry) {
			after := s.unsent()
			fell := after+len(m.data) > int(s.low) && after <= int(s.low)
			a.mu.Unlock()
			a.relieve()
			if fell {
				a.box.low(s.id, uint32(after))
			}
			return true
		}
		t.give(s, len(m.data))
		a.mu.Unlock()
		began := time.Now()
		a.writeMessage(p, s, m)
		a.busy.Add(int64(time.Since(began)))
	default:
		a.mu.Unlock()
		return false
	}
	return true
}

// open returns what pion writes to for a stream; nil when the association has
// ended.
func (a *Association) open(p *psctp.Association, s *stream) *psctp.Stream {
	a.mu.Lock()
	if s.writes == nil {
		s.writes = s.reads // pion makes another when the peer has just reset this one, and waits for its end for ever
	}
	ps := s.writes
	a.mu.Unlock()
	if ps != nil {
		return ps
	}
	ps, err := p.OpenStream(s.id, psctp.PayloadTypeWebRTCBinary)
	if err != nil {
		return nil
	}
	a.adopt(s.id, ps, true)
	return ps
}

func (a *Association) writeMessage(p *psctp.Association, s *stream, m message) {
	ps := a.open(p, s)
	if ps == nil {
		return
	}
	a.mu.Lock()
	flags, rest := s.write(), s.rest()
	a.mu.Unlock()
	var err error
	put := func() { _, err = ps.WriteSCTP(m.data, psctp.PayloadProtocolIdentifier(m.ppid)) }
	if flags == rest {
		put()
	} else {
		// A FORWARD TSN that pion handled now would be lost, and the stream with
		// it: not while a packet is worked on.
		a.conn.exclusive(func() {
			flags.apply(ps)
			put()
			rest.apply(ps)
		})
	}
	if err != nil {
		a.mu.Lock()
		a.table.takeBack(s, len(m.data))
		a.mu.Unlock()
		a.relieve()
	}
}

// reset ends a stream in our direction.
func (a *Association) reset(p *psctp.Association, s *stream) {
	ps := a.open(p, s)
	if ps == nil {
		return
	}
	_ = ps.Close() // it fails only when the association has ended
	a.mu.Lock()
	defer a.mu.Unlock()
	s.asked = false
	if !a.table.readers[ps] { // the peer was first
		s.dying, s.writes = false, nil
		a.table.settle(s)
	}
}

// A watcher looks after a connected association now and then.
type watcher struct {
	a     *Association
	asked time.Time
}

func (w *watcher) check(now time.Time) {
	a := w.a
	holding := a.box.holding()
	a.mu.Lock()
	heard, full, beat := a.heard, a.window.full, a.wire.heartbeat()
	a.table.sweep()
	a.mu.Unlock()
	if silence := now.Sub(heard); silence >= a.cfg.Silence {
		a.fail(ErrVanished)
		return
	} else if silence >= a.cfg.Heartbeat && now.Sub(w.asked) >= a.cfg.Heartbeat {
		w.asked = now
		if beat != nil { // pion's own have no content, and get no answer
			a.box.last(beat)
		}
	}
	if !full.IsZero() && !holding && now.Sub(full) >= a.cfg.Wedged {
		a.fail(ErrWedged)
	}
}
