package engine

import (
	"context"
	"net/netip"
)

// ConnectPipesInMemory connects two pipe transports without SRTP, of Workers of
// this process or of one Worker, so that RTP and RTCP between them take neither
// sockets nor copies. All else is as after [Machine.ConnectPipe] for each with
// the address of the other. Errors: as there. When it fails, one may be
// connected: both have to be closed then.
func ConnectPipesInMemory(
	ctx context.Context, a *Worker, idA string, b *Worker, idB string,
) (dumpA, dumpB TransportDump, notesA, notesB []Notification, err error) {
	laneA, laneB, err := lanesBetween(a, b)
	if err != nil {
		return
	}
	numberA, numberB := pipeNumbers.Add(1), pipeNumbers.Add(1)
	addrA, _, err := Do(ctx, a, func(m *Machine) (netip.AddrPort, error) {
		p, err := m.unconnectedPipe(idA)
		if err != nil {
			return netip.AddrPort{}, err
		}
		return p.udp.addr(), nil
	})
	if err != nil {
		return
	}
	type half struct {
		addr netip.AddrPort
		dump TransportDump
	}
	h, notesB, err := Do(ctx, b, func(m *Machine) (half, error) {
		p, err := m.connectPipeInMemory(idB, laneB, numberB, numberA, addrA)
		if err != nil {
			return half{}, err
		}
		return half{p.udp.addr(), p.t.dump()}, nil
	})
	if err != nil {
		return
	}
	dumpB = h.dump
	dumpA, notesA, err = Do(ctx, a, func(m *Machine) (TransportDump, error) {
		p, err := m.connectPipeInMemory(idA, laneA, numberA, numberB, h.addr)
		if err != nil {
			return TransportDump{}, err
		}
		return p.t.dump(), nil
	})
	return
}

// connectPipeInMemory connects a pipe, whose number is own, to the one with the
// number other, which is bound to remote.
func (m *Machine) connectPipeInMemory(
	id string, l *lane, own, other uint64, remote netip.AddrPort,
) (*pipeTransport, error) {
	p, err := m.unconnectedPipe(id)
	if err != nil {
		return nil, err
	}
	if p.local != nil {
		return nil, invalid("a pipe with SRTP can't be connected in memory")
	}
	if l.dead {
		return nil, ErrClosed
	}
	l.join(m)
	l.pipes[own] = p
	p.lane, p.number = l, own
	p.t.crossing = &crossing{lane: l, to: other}
	p.connect(remote)
	return p, nil
}

// lanesBetween returns the ends of the way between two Workers, which may be
// one, and makes it first if there is none. The error is ErrClosed.
func lanesBetween(a, b *Worker) (atA, atB *lane, err error) {
	first, second := a, b
	if b.number < a.number {
		first, second = b, a
	}
	first.mu.Lock()
	defer first.mu.Unlock()
	if a != b {
		second.mu.Lock()
		defer second.mu.Unlock()
	}
	if a.closed || b.closed {
		return nil, nil, ErrClosed
	}
	if l := a.lanes[b]; l != nil {
		return l, b.lanes[a], nil
	}
	if a == b {
		l := newLoop(a.drv.Wake, func() {})
		a.lanes[a] = l
		return l, l, nil
	}
	atA, atB = newLanes(a.drv.Wake, b.drv.Wake, func() { a.forgetLane(b) }, func() { b.forgetLane(a) })
	a.lanes[b], b.lanes[a] = atA, atB
	return atA, atB, nil
}

func (w *Worker) forgetLane(peer *Worker) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.lanes, peer)
}
