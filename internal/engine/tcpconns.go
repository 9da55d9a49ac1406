package engine

import (
	"time"

	"github.com/mafalda-sfu/mafalda/internal/driver"
	"github.com/mafalda-sfu/mafalda/internal/ice"
	"github.com/mafalda-sfu/mafalda/internal/timer"
)

const (
	// idleTimeout is how long a TCP connection may live without being a tuple
	// of some transport.
	idleTimeout = 10 * time.Second
	// maxConns bounds the TCP connections of one listener. Those without a
	// tuple make way first, so that whoever opens many hurts nobody for long.
	maxConns = 8192
)

// A tcpConns has the accepted TCP connections of a server or transport.
type tcpConns struct {
	m     *Machine
	used  func(ice.Tuple) bool // is it a tuple of some transport?
	conns map[uint64]tcpConn
	sweep timer.Timer
}

type tcpConn struct {
	driver.TCPConn
	since time.Duration
}

func (s *tcpConns) init(m *Machine, used func(ice.Tuple) bool) {
	s.m, s.used, s.conns = m, used, map[uint64]tcpConn{}
	s.sweep.Init(func(now time.Duration) { s.closeIdle(now - idleTimeout) })
}

func (s *tcpConns) add(c driver.TCPConn) {
	if len(s.conns) >= maxConns {
		s.closeIdle(s.m.now)
	}
	if len(s.conns) >= maxConns {
		c.Close()
		return
	}
	s.conns[c.ID()] = tcpConn{c, s.m.now}
	if !s.sweep.Pending() {
		s.m.wheel.Set(&s.sweep, s.m.now+idleTimeout)
	}
}

// closeIdle closes what is no tuple and was accepted at or before then.
func (s *tcpConns) closeIdle(then time.Duration) {
	for id, c := range s.conns {
		if c.since <= then && !s.used(tcpTuple(c)) {
			delete(s.conns, id)
			c.Close()
		}
	}
	if len(s.conns) > 0 {
		s.m.wheel.Set(&s.sweep, s.m.now+idleTimeout)
	}
}

func (s *tcpConns) remove(c driver.TCPConn) { delete(s.conns, c.ID()) }

func (s *tcpConns) close() {
	s.m.wheel.Stop(&s.sweep)
	for _, c := range s.conns {
		c.Close()
	}
	clear(s.conns)
}

func tcpTuple(c driver.TCPConn) ice.Tuple {
	return ice.Tuple{TCP: true, Conn: c.ID(), Remote: c.RemoteAddr()}
}
