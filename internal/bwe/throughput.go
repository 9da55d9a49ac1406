package bwe

import "time"

const (
	slot  = 10 * time.Millisecond
	slots = 64

	longWindow  = 500 * time.Millisecond
	shortWindow = 250 * time.Millisecond
	// minWindow and minArrivals are what a rate needs.
	minWindow   = 150 * time.Millisecond
	minArrivals = 8
)

// A throughput is the rate at which the path delivers, by the receiver's clock.
type throughput struct {
	started bool
	first   time.Duration // arrival
	newest  int64         // slot
	bytes   [slots]int32
	packets [slots]uint16
}

func (t *throughput) reset() { *t = throughput{} }

// add takes a packet that arrived.
func (t *throughput) add(arrival time.Duration, size int) {
	at := int64(arrival / slot)
	if t.started && (at > t.newest+slots*8 || at < t.newest-slots) {
		t.reset() // silence, or a clock that jumped
	}
	if !t.started {
		t.started, t.first, t.newest = true, arrival, at
	}
	for at > t.newest {
		t.newest++
		i := t.newest & (slots - 1)
		t.bytes[i], t.packets[i] = 0, 0
	}
	t.bytes[at&(slots-1)] += int32(size)
	t.packets[at&(slots-1)]++
}

// fill takes packets that presumably arrived between the last packet and one
// that arrives now.
func (t *throughput) fill(arrival time.Duration, size int) {
	at := int64(arrival / slot)
	if !t.started || at <= t.newest || at > t.newest+slots {
		return
	}
	n := at - t.newest
	from := t.newest
	for i := range n {
		part := size*int(i+1)/int(n) - size*int(i)/int(n)
		t.add(time.Duration(from+i+1)*slot, part)
	}
}

// rate returns the bitrate over the last window, in bit/s; ok is false when
// too little arrived to tell.
func (t *throughput) rate(window time.Duration) (r float64, ok bool) {
	if !t.started {
		return 0, false
	}
	n := int64(window / slot)
	n = min(n, t.newest-int64(t.first/slot)+1)
	if n < int64(minWindow/slot) {
		return 0, false
	}
	bytes, packets := int64(0), 0
	for i := range n {
		at := (t.newest - i) & (slots - 1)
		bytes += int64(t.bytes[at])
		packets += int(t.packets[at])
	}
	if packets < minArrivals {
		return 0, false
	}
	return float64(bytes) * 8 / (time.Duration(n) * slot).Seconds(), true
}
