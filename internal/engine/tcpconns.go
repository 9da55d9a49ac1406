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
	// maxUnused bounds those without a tuple, each of which may hold a frame
	// that never ends. They get a second to become one, if that is enough.
	maxUnused    = 1024
	unusedMoment = time.Second
)

// A tcpConns has the accepted TCP connections of a server or transport.
type tcpConns struct {
	m     *Machine
	used  func(ice.Tuple) bool // is it a tuple of some transport?
	conns map[uint64]tcpConn
	sweep timer.Timer
	// unused is how many may be no tuple: those that were not when it was last
	// counted, and those that were accepted since.
	unused int
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
	if s.unused >= maxUnused {
		s.closeIdle(s.m.now - unusedMoment)
	}
	if s.unused >= maxUnused || len(s.conns) >= maxConns {
		s.closeIdle(s.m.now)
	}
	if len(s.conns) >= maxConns {
		c.Close()
		return
	}
	s.conns[c.ID()] = tcpConn{c, s.m.now}
	s.unused++
	if !s.sweep.Pending() {
		s.m.wheel.Set(&s.sweep, s.m.now+idleTimeout)
	}
}

// closeIdle closes what is no tuple and was accepted at or before then.
func (s *tcpConns) closeIdle(then time.Duration) {
	s.unused = 0
	for id, c := range s.conns {
		switch {
		case s.used(tcpTuple(c)):
		case c.since <= then:
			delete(s.conns, id)
			c.Close()
		default:
			s.unused++
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
