// Package port chooses ports from ranges.
//
// It remembers what it gave away, for each range by itself, so that a busy range
// costs few failed binds; what other programs or ranges hold shows up as the
// failure of a bind. The behaviour is that of mediasoup's PortManager.
package port

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"

	"github.com/mafalda-sfu/mafalda/internal/driver"
)

// ErrNoPort is the error of [Manager.Bind] when every port of the range is taken.
var ErrNoPort = errors.New("no port of the range is free")

// A Range names a range of ports. Two of them are the same range only if they
// agree in all fields; 10.0.0.1 and ::ffff:10.0.0.1 are different addresses.
type Range struct {
	TCP      bool
	IP       netip.Addr
	Min, Max uint16 // both belong to the range
}

// size returns how many ports the range has, 0 if it is inverted.
func (r Range) size() int { return max(int(r.Max)-int(r.Min)+1, 0) }

// A Manager hands out the ports of one Worker. Make one with [NewManager]. It
// belongs to one loop: it is not safe for concurrent use.
type Manager struct {
	pick func(n int) int
	used map[Range]*ports
}

// ports are the ports of a range that are in use.
type ports struct {
	bits  []uint64 // bit i: port Min+i
	count int
}

func (p *ports) has(i int) bool { return p.bits[i/64]&(1<<(i%64)) != 0 }

// NewManager returns a manager without used ports.
func NewManager() *Manager { return newManager(rand.IntN) }

// newManager takes the choice of where a search begins: pick returns a number
// from 0 to n-1.
func newManager(pick func(n int) int) *Manager {
	return &Manager{pick: pick, used: map[Range]*ports{}}
}

// Bind calls try with ports of the range, each at most once, from a random one
// on, until a call succeeds. That port counts as used until [Manager.Release];
// used ports are not tried. A lack of file descriptors and an address that is
// not of this host end the search at once with the error of try; any other
// error, like a port in use, goes on to the next port. When none is left the
// error is [ErrNoPort], together with the last error of try.
func (m *Manager) Bind(key Range, try func(port uint16) error) (port uint16, err error) {
	n := key.size()
	if n == 0 {
		return 0, fmt.Errorf("range %d to %d: %w", key.Min, key.Max, ErrNoPort)
	}
	start := m.pick(n)
	var last error
	for k := range n {
		i := (start + 1 + k) % n
		if p := m.used[key]; p != nil && p.has(i) {
			continue
		}
		port = key.Min + uint16(i)
		if err = try(port); err == nil {
			m.take(key, i)
			return port, nil
		}
		if hopeless(err) {
			return 0, err
		}
		last = err
	}
	if last != nil {
		return 0, fmt.Errorf("range %d to %d: %w: %w", key.Min, key.Max, ErrNoPort, last)
	}
	return 0, fmt.Errorf("range %d to %d: %w", key.Min, key.Max, ErrNoPort)
}

// Release makes a port of the range free again. A port that isn't used is
// ignored.
func (m *Manager) Release(key Range, port uint16) {
	p := m.used[key]
	if p == nil || port < key.Min || port > key.Max {
		return
	}
	i := int(port - key.Min)
	if !p.has(i) {
		return
	}
	p.bits[i/64] &^= 1 << (i % 64)
	if p.count--; p.count == 0 {
		delete(m.used, key)
	}
}

func (m *Manager) take(key Range, i int) {
	p := m.used[key]
	if p == nil {
		p = &ports{bits: make([]uint64, (key.size()+63)/64)}
		m.used[key] = p
	}
	p.bits[i/64] |= 1 << (i % 64)
	p.count++
}

// hopeless tells whether trying other ports makes no sense.
func hopeless(err error) bool {
	return driver.IsAddrNotAvailable(err) || driver.IsTooManyFiles(err)
}
