// Package keyframe paces the key frame requests that go to one sender.
//
// Any number of receivers may ask for a key frame at once, and a request or its
// answer may get lost. A [Manager] sends one request for all who ask while it
// is unanswered, repeats it once after a second, and, if a delay is set, sends
// none but the forced sooner than that after the one before.
//
// The rules are those of mediasoup's KeyFrameRequestManager.
package keyframe

import (
	"slices"
	"time"
)

// repeatAfter is how long a request waits for its key frame.
const repeatAfter = time.Second

// A pending request is one that no key frame has answered.
type pending struct {
	ssrc     uint32
	deadline time.Duration
	repeat   bool // at the deadline, instead of giving up
}

// A delayer holds back requests for a while after one was sent.
type delayer struct {
	ssrc     uint32
	deadline time.Duration
	asked    bool // somebody did meanwhile
}

// A Manager decides when to send requests for the streams of one Producer. The
// SSRCs are those of its media. Make it with [New].
type Manager struct {
	delay    time.Duration // constant after New, 0: none
	pending  []pending
	delayers []delayer
}

// New returns a Manager that keeps requests for a stream apart by delay.
func New(delay time.Duration) *Manager { return &Manager{delay: max(delay, 0)} }

func (m *Manager) findPending(ssrc uint32) *pending {
	for i := range m.pending {
		if m.pending[i].ssrc == ssrc {
			return &m.pending[i]
		}
	}
	return nil
}

func (m *Manager) findDelayer(ssrc uint32) *delayer {
	for i := range m.delayers {
		if m.delayers[i].ssrc == ssrc {
			return &m.delayers[i]
		}
	}
	return nil
}

// Needed says that somebody needs a key frame. The caller sends a request now
// if the result is true.
func (m *Manager) Needed(now time.Duration, ssrc uint32) (send bool) {
	if m.delay > 0 {
		if d := m.findDelayer(ssrc); d != nil {
			d.asked = true
			return false
		}
		m.delayers = append(m.delayers, delayer{ssrc: ssrc, deadline: now + m.delay})
	}
	if p := m.findPending(ssrc); p != nil {
		p.repeat = true
		return false
	}
	m.pending = append(m.pending, pending{ssrc: ssrc, deadline: now + repeatAfter, repeat: true})
	return true
}

// Force says that a key frame is needed whatever was sent before, as for a new
// stream. The caller sends a request now; the result is always true.
func (m *Manager) Force(now time.Duration, ssrc uint32) (send bool) {
	if m.delay > 0 {
		if d := m.findDelayer(ssrc); d != nil {
			d.deadline, d.asked = now+m.delay, false
		} else {
			m.delayers = append(m.delayers, delayer{ssrc: ssrc, deadline: now + m.delay})
		}
	}
	if p := m.findPending(ssrc); p != nil {
		p.deadline, p.repeat = now+repeatAfter, true
	} else {
		m.pending = append(m.pending, pending{ssrc: ssrc, deadline: now + repeatAfter, repeat: true})
	}
	return true
}

// Received says that a key frame of the stream arrived.
func (m *Manager) Received(ssrc uint32) {
	m.pending = slices.DeleteFunc(m.pending, func(p pending) bool { return p.ssrc == ssrc })
}

// Stop forgets everything, as when the Producer pauses or its stream ends.
func (m *Manager) Stop() {
	m.pending, m.delayers = m.pending[:0], m.delayers[:0]
}

// Deadline returns when Expire is to be called; ok is false when it need not
// be.
func (m *Manager) Deadline() (at time.Duration, ok bool) {
	i, j := m.first()
	switch {
	case j >= 0:
		return m.delayers[j].deadline, true
	case i >= 0:
		return m.pending[i].deadline, true
	}
	return 0, false
}

// first returns which request or which delayer ends next; the other index is
// -1. Of two that end together it is the delayer: so a request that it lets
// through joins the one whose time is up, and both are sent as one.
func (m *Manager) first() (request, delay int) {
	request, delay = -1, -1
	for i := range m.pending {
		if request < 0 || m.pending[i].deadline < m.pending[request].deadline {
			request = i
		}
	}
	for i := range m.delayers {
		if delay < 0 || m.delayers[i].deadline < m.delayers[delay].deadline {
			delay = i
		}
	}
	if request >= 0 && delay >= 0 {
		if m.pending[request].deadline < m.delayers[delay].deadline {
			delay = -1
		} else {
			request = -1
		}
	}
	return request, delay
}

// Expire does what is due and calls send for each request that the caller has
// to send now. send must not call the Manager.
func (m *Manager) Expire(now time.Duration, send func(ssrc uint32)) {
	for {
		i, j := m.first()
		switch {
		case j >= 0 && m.delayers[j].deadline <= now:
			d := m.delayers[j]
			m.delayers = slices.Delete(m.delayers, j, j+1)
			if d.asked && m.Needed(now, d.ssrc) {
				send(d.ssrc)
			}
		case i >= 0 && m.pending[i].deadline <= now:
			p := &m.pending[i]
			if !p.repeat {
				m.pending = slices.Delete(m.pending, i, i+1)
				continue
			}
			p.deadline, p.repeat = now+repeatAfter, false
			send(p.ssrc)
		default:
			return
		}
	}
}
