package engine

import (
	"context"
	"time"
)

// maxFarewell is how long closing waits for the close_notifys of all peers
// together.
const maxFarewell = 10 * time.Millisecond

// Close runs op, which closes the object with that id, on the loop of w, like
// [Run]. Before, the peers of its connected transports are told: DTLS makes a
// close_notify on a goroutine of its own, for which the caller waits, up to
// 10 ms in all. The loop never does; media flows until op runs.
//
// Ports are free when Close returns. A Worker that has ended answers ErrClosed.
func Close(w *Worker, id string, op func(*Machine) error) ([]Notification, error) {
	ended, notes, err := Do(context.Background(), w, func(m *Machine) ([]<-chan struct{}, error) {
		if ended := m.leave(id); len(ended) > 0 {
			return ended, nil
		}
		return nil, op(m)
	})
	if len(ended) == 0 {
		return notes, err
	}
	await(ended)
	return Run(context.Background(), w, op)
}

// Close ends the loop and waits until every port is free. It tells the peers
// first, like [Close], and does not wait for Notify. Only the first call has an
// effect.
func (w *Worker) Close() {
	// The error is that the loop has ended.
	ended, _, _ := Do(context.Background(), w, func(m *Machine) ([]<-chan struct{}, error) {
		ended := m.leaveAll()
		m.stopped = m.stopped || len(ended) == 0
		return ended, nil
	})
	if len(ended) > 0 {
		await(ended)
		w.post(func(m *Machine) {
			if m != nil {
				m.stopped = true
			}
		})
	}
	<-w.done
}

// await waits until all channels are closed, or for maxFarewell.
func await(ended []<-chan struct{}) {
	late := time.NewTimer(maxFarewell)
	defer late.Stop()
	for _, c := range ended {
		select {
		case <-c:
		case <-late.C:
			return
		}
	}
}

// leave begins to end DTLS of what closes with the Router, WebRTCServer or
// transport that id names, and stays open until then. What DTLS still has to
// send is posted before the channel of its transport is closed; without a
// channel, nobody has to be told.
func (m *Machine) leave(id string) (ended []<-chan struct{}) {
	if t := m.transports[id]; t != nil {
		return t.leave(nil)
	}
	if r := m.routers[id]; r != nil {
		return r.leave(nil)
	}
	if s := m.servers[id]; s != nil {
		for _, w := range s.transports {
			ended = w.t.leave(ended)
		}
	}
	return ended
}

// leaveAll is leave for everything.
func (m *Machine) leaveAll() (ended []<-chan struct{}) {
	for _, r := range m.routerList {
		ended = r.leave(ended)
	}
	return ended
}

func (r *router) leave(ended []<-chan struct{}) []<-chan struct{} {
	for _, t := range r.transports {
		ended = t.leave(ended)
	}
	return ended
}

func (t *transport) leave(ended []<-chan struct{}) []<-chan struct{} {
	w, ok := t.part.(*webRTCTransport)
	if !ok || w.dtls == nil || w.dtlsState != "connected" || !t.out.valid() {
		return ended
	}
	if t.sctp != nil {
		t.sctp.close() // while DTLS can still tell the peer
	}
	w.dtls.Close()
	return append(ended, w.dtls.Done())
}
