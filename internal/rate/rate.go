// Package rate measures bitrates over a sliding window.
//
// A [Counter] cuts its window into a hundred items and forgets bytes item by
// item, so that its answer is that of mediasoup's RateCalculator: the bytes of
// the last window, to within a hundredth of it.
package rate

import (
	"time"

	"github.com/mafalda-sfu/mafalda/internal/prefetch"
)

// items is how many parts a window has.
const items = 100

// maxWindow keeps the times of two windows apart in 16 bits of milliseconds.
const maxWindow = 30 * time.Second

// A Counter adds up packets and tells their rate over the last window. It must
// not be copied once it has counted. It takes 72 bytes, and 6 for each item that
// packets make necessary: one that nothing passes is small. Make it with [New].
//
// An item begins with the first packet after the previous item has lasted for
// a hundredth of the window, rounded up to whole milliseconds. It is forgotten
// as a whole, once its beginning is a window old.
type Counter struct {
	packets, bytes uint64 // ever
	total          uint64 // bytes within the window
	newest         int64  // beginning of the newest item, ms
	window, item   uint16 // ms
	first, n       uint8  // ring: oldest item, how many
	ring           []part // grows up to items
}

// A part is one item.
type part struct {
	start     uint16 // low bits of the beginning, ms
	low, high uint16 // bytes; as one number it would take two more
}

func (p *part) size() uint32 { return uint32(p.high)<<16 | uint32(p.low) }

func (p *part) add(bytes int) {
	n := p.size() + uint32(bytes)
	p.low, p.high = uint16(n), uint16(n>>16)
}

const minItems = 16

// New returns a Counter over that window, in whole milliseconds from 1
// ms to 30 s; what is beyond is clamped.
func New(window time.Duration) Counter {
	ms := min(max(window, time.Millisecond), maxWindow) / time.Millisecond
	return Counter{window: uint16(ms), item: uint16((ms + items - 1) / items)}
}

// Update counts a packet.
func (c *Counter) Update(now time.Duration, bytes int) {
	c.packets++
	c.bytes += uint64(bytes)
	ms := now.Milliseconds()
	c.forget(ms)
	c.total += uint64(bytes)
	if c.n > 0 && (ms-c.newest < int64(c.item) || c.n == items) {
		c.ring[c.at(c.n-1)].add(bytes)
		return
	}
	if int(c.n) == len(c.ring) {
		c.grow()
	}
	p := &c.ring[c.at(c.n)]
	*p = part{start: uint16(ms)}
	p.add(bytes)
	c.newest = ms
	c.n++
}

// grow makes room for more items.
func (c *Counter) grow() {
	ring := make([]part, min(max(2*len(c.ring), minItems), items))
	k := copy(ring, c.ring[c.first:])
	copy(ring[k:], c.ring[:c.first])
	c.ring, c.first = ring, 0
}

// at returns where in the ring item i is, counted from the oldest.
func (c *Counter) at(i uint8) uint8 {
	if i += c.first; int(i) >= len(c.ring) {
		i -= uint8(len(c.ring))
	}
	return i
}

// forget drops the items that are a whole window old.
func (c *Counter) forget(ms int64) {
	if c.n == 0 {
		return
	}
	if ms-c.newest >= int64(c.window) {
		c.n, c.total = 0, 0
		return
	}
	if ms < c.newest {
		return
	}
	// The newest item is younger than a window, and when it began the oldest
	// was: the age of the oldest is less than two windows, which 16 bits hold.
	for c.n > 0 && uint16(ms)-c.ring[c.first].start >= c.window {
		c.total -= uint64(c.ring[c.first].size())
		c.first = c.at(1)
		c.n--
	}
}

// Prefetch asks for the memory that the next Update needs.
func (c *Counter) Prefetch() {
	if c.n > 0 {
		prefetch.Of(&c.ring[c.first])
		prefetch.Of(&c.ring[c.at(c.n-1)])
	}
}

// Rate returns the bitrate over the window that ends now, in bit/s.
func (c *Counter) Rate(now time.Duration) uint64 {
	c.forget(now.Milliseconds())
	window := uint64(c.window)
	return (c.total*8000 + window/2) / window
}

// Packets returns how many packets were ever counted.
func (c *Counter) Packets() uint64 { return c.packets }

// Bytes returns how many bytes were ever counted.
func (c *Counter) Bytes() uint64 { return c.bytes }
