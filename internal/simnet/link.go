package simnet

import (
	"math/rand/v2"
	"net/netip"
	"time"
)

const (
	// minDelay keeps two endpoints that answer each other from stopping time.
	minDelay = time.Microsecond
	// overhead is what a datagram takes of a link besides its payload.
	overhead = 28
	// resend is the price of a loss to a TCP stream.
	resend = 200 * time.Millisecond
)

// A Link is what happens to packets in one direction. The zero Link is perfect.
type Link struct {
	Delay  time.Duration // of each packet
	Jitter time.Duration // up to this is added at random; order is kept
	Loss   float64       // share of packets that get lost, 0 to 1
	// Reorder is the share of packets that come up to ReorderBy later, behind
	// others.
	Reorder   float64
	ReorderBy time.Duration
	Duplicate float64 // share of packets that come twice
	Rate      int64   // bit/s; 0: no limit
	// Queue is how many bytes wait for their turn when the Rate is reached;
	// what comes then is lost. 0 is no limit.
	Queue int
}

// LinkStats is what a link counted.
type LinkStats struct {
	Packets  int // given to the link
	Bytes    int
	Lost     int // by chance
	Overflow int // for want of room in the queue
	Queued   time.Duration
}

type link struct {
	Link
	stats LinkStats
	rng   *rand.Rand
	free  time.Duration // the wire is busy until then
	last  time.Duration // latest arrival of a packet in order
}

// SetLink sets what happens to packets of one host to another; the zero Addr
// means any, and the hosts it stands for share the link's rate and queue. The
// first that was set of from–to, from–any, any–to, any–any applies. It may be
// called again while packets are under way.
func (n *Net) SetLink(from, to netip.Addr, l Link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.makeLink(from, to).Link = l
}

// LinkStats returns what the link that applies counted.
func (n *Net) LinkStats(from, to netip.Addr) LinkStats {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.link(from, to)
	st := l.stats
	st.Queued = max(l.free-n.now, 0)
	return st
}

func (n *Net) makeLink(from, to netip.Addr) *link {
	k := [2]netip.Addr{from.Unmap(), to.Unmap()}
	if n.links[k] == nil {
		// A generator of its own: traffic elsewhere changes nothing here.
		n.links[k] = &link{rng: rand.New(rand.NewPCG(n.seed, uint64(len(n.links))))}
	}
	return n.links[k]
}

func (n *Net) link(from, to netip.Addr) *link {
	var anyone netip.Addr
	for _, k := range [][2]netip.Addr{{from, to}, {from, anyone}, {anyone, to}, {anyone, anyone}} {
		if l := n.links[k]; l != nil {
			return l
		}
	}
	return n.makeLink(anyone, anyone)
}

// pass returns when the copies of a datagram arrive.
func (l *link) pass(now time.Duration, size int) (at []time.Duration) {
	l.stats.Packets++
	l.stats.Bytes += size
	// Always the same number of draws: a change of one parameter leaves the
	// fate of other packets alone.
	lost, late, twice := l.rng.Float64(), l.rng.Float64(), l.rng.Float64()
	jitter, by := l.rng.Float64(), l.rng.Float64()
	if lost < l.Loss {
		l.stats.Lost++
		return nil
	}
	start, ok := l.transmit(now, size)
	if !ok {
		l.stats.Overflow++
		return nil
	}
	t := start + max(l.Delay, minDelay) + time.Duration(jitter*float64(l.Jitter))
	if late < l.Reorder {
		t += time.Duration(by * float64(l.ReorderBy))
	} else {
		t = max(t, l.last)
		l.last = t
	}
	if twice < l.Duplicate {
		at = append(at, t)
	}
	return append(at, t)
}

// stream returns when a piece of a TCP stream arrives that must not come before
// after.
func (l *link) stream(now, after time.Duration, size int) time.Duration {
	lost, jitter := l.rng.Float64(), l.rng.Float64()
	start, _ := l.transmit(now, size)
	t := start + max(l.Delay, minDelay) + time.Duration(jitter*float64(l.Jitter))
	if lost < l.Loss {
		l.stats.Lost++
		t += resend
	}
	return max(t, after)
}

// transmit returns when the last bit is on the wire; ok is false when the queue
// is full.
func (l *link) transmit(now time.Duration, size int) (done time.Duration, ok bool) {
	if l.Rate <= 0 {
		l.free = now
		return now, true
	}
	wait := max(l.free-now, 0)
	ok = l.Queue == 0 || int64(wait.Seconds()*float64(l.Rate)/8)+int64(size+overhead) <= int64(l.Queue)
	if ok {
		l.free = now + wait + time.Duration(int64(size+overhead)*8*int64(time.Second)/l.Rate)
	}
	return l.free, ok
}
