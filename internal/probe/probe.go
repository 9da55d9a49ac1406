// Package probe measures what a path can carry by short trains of packets.
//
// A [Pacer] says when to send padding so that, together with the media that
// goes out by itself, a cluster has a wanted rate. A [Meter] compares how the
// packets of a cluster were sent with how they arrived: a train that is faster
// than the narrowest link comes out at the rate of that link.
//
// Sizes and times are those of the pacer that mediasoup uses: a cluster lasts
// 15 ms and has five packets at least, its padding packets carry 2 ms worth of
// its rate.
package probe

import "time"

const (
	minPackets  = 5
	minDuration = 15 * time.Millisecond
	packetTime  = 2 * time.Millisecond // of the rate, in one padding packet
	// timeout is how old a cluster that waits may get.
	timeout = 5 * time.Second
	// maxQueue is how many clusters may wait. A further one is refused.
	maxQueue = 4

	// MinSize and MaxSize bound a padding packet, in bytes.
	MinSize = 200
	MaxSize = 1400
)

// A Cluster is a train of packets.
type Cluster struct {
	ID   int     // from 1
	Rate float64 // bit/s
}

// size returns how many bytes a padding packet of the cluster has.
func (c Cluster) size() int {
	return min(max(int(c.Rate*packetTime.Seconds()/8), MinSize), MaxSize)
}

// minBytes returns how long the cluster is, in bytes.
func (c Cluster) minBytes() int { return int(c.Rate * minDuration.Seconds() / 8) }

// A Pacer sends clusters one after the other. The zero Pacer has none.
type Pacer struct {
	// Tick is how coarse the timers are by which it is called: what is due
	// before the next one goes out at once, as a group.
	Tick time.Duration

	n       int
	started bool // queue[0]
	begin   time.Duration
	bytes   int // sent in the cluster, media too
	packets int
	ids     int
	queue   [maxQueue]waiting
}

type waiting struct {
	Cluster
	since time.Duration
}

// Add appends a cluster of that rate, in bit/s. It returns its ID; ok is false
// when the queue is full.
func (p *Pacer) Add(now time.Duration, rate float64) (c Cluster, ok bool) {
	p.expire(now)
	if p.n == maxQueue || rate <= 0 {
		return Cluster{}, false
	}
	p.ids++
	c = Cluster{ID: p.ids, Rate: rate}
	p.queue[p.n] = waiting{c, now}
	p.n++
	return c, true
}

// Reset forgets all clusters.
func (p *Pacer) Reset() { p.n, p.started = 0, false }

// Active reports whether there is a cluster that has not been sent whole.
func (p *Pacer) Active() bool { return p.n > 0 }

// expire drops the clusters that waited for too long.
func (p *Pacer) expire(now time.Duration) {
	for p.n > 0 && now-p.queue[0].since > timeout {
		p.next()
	}
}

// next goes on to the next cluster.
func (p *Pacer) next() {
	copy(p.queue[:], p.queue[1:p.n])
	p.n--
	p.started = false
}

// due returns when the next padding is to be sent.
func (p *Pacer) due() time.Duration {
	if !p.started {
		return p.queue[0].since
	}
	return p.begin + time.Duration(float64(p.bytes)*8/p.queue[0].Rate*float64(time.Second))
}

// wake returns when the next padding goes out: just before it is due, if the
// next tick is too late.
func (p *Pacer) wake() time.Duration {
	if p.Tick == 0 || !p.started {
		return p.due()
	}
	return p.due() - p.Tick + 1
}

// Deadline returns when to call [Pacer.Next]; ok is false while there is
// nothing to send.
func (p *Pacer) Deadline() (at time.Duration, ok bool) {
	if p.n == 0 {
		return 0, false
	}
	return p.wake(), true
}

// Next returns the size of the padding packet to send now and its cluster; ok
// is false when nothing is due. What was sent is told by [Pacer.Sent]; without
// it the same packet is due again.
func (p *Pacer) Next(now time.Duration) (size int, c Cluster, ok bool) {
	p.expire(now)
	if p.n == 0 || now < p.wake() {
		return 0, Cluster{}, false
	}
	c = p.queue[0].Cluster
	return c.size(), c, true
}

// Sent takes note of a packet, padding or media. It returns the cluster that
// the packet is part of, of ID 0 for none, and whether it is the last of it.
// Media before the first padding of a cluster is no part of it.
func (p *Pacer) Sent(now time.Duration, size int, padding bool) (c Cluster, last bool) {
	if p.n == 0 || !padding && !p.started {
		return Cluster{}, false
	}
	if !p.started {
		p.started, p.begin, p.bytes, p.packets = true, now, 0, 0
	}
	c = p.queue[0].Cluster
	p.bytes += size
	p.packets++
	if p.bytes < c.minBytes() || p.packets < minPackets {
		return c, false
	}
	p.next()
	return c, true
}
