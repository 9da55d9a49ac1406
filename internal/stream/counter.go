package stream

import "time"

// counterItems is how many parts a window has.
const counterItems = 100

// A counter measures the bitrate over a sliding window. It forgets bytes in
// steps of a hundredth of the window.
type counter struct {
	window, step time.Duration
	items        []counterItem // ring, made by the first packet
	first, n     int
	total        uint64 // bytes
}

type counterItem struct {
	start uint32 // ms
	bytes uint32
}

func newCounter(window time.Duration) counter {
	return counter{window: window, step: (window + counterItems - 1) / counterItems}
}

func (c *counter) add(now time.Duration, bytes int) {
	if c.items == nil {
		c.items = make([]counterItem, counterItems)
	}
	ms := uint32(now / time.Millisecond)
	c.forget(ms)
	c.total += uint64(bytes)
	if c.n > 0 {
		last := &c.items[(c.first+c.n-1)%counterItems]
		if ms-last.start < uint32(c.step/time.Millisecond) || c.n == counterItems {
			last.bytes += uint32(bytes)
			return
		}
	}
	c.items[(c.first+c.n)%counterItems] = counterItem{ms, uint32(bytes)}
	c.n++
}

// forget drops what is a whole window old.
func (c *counter) forget(ms uint32) {
	for c.n > 0 && ms-c.items[c.first].start >= uint32(c.window/time.Millisecond) {
		c.total -= uint64(c.items[c.first].bytes)
		c.first = (c.first + 1) % counterItems
		c.n--
	}
}

func (c *counter) bitrate(now time.Duration) uint32 {
	c.forget(uint32(now / time.Millisecond))
	window := uint64(c.window / time.Millisecond)
	return uint32((c.total*8000 + window/2) / window)
}
