// Package seqmap renumbers a stream from which packets are left out, so that who
// receives it sees no gap where none was lost. It serves RTP sequence numbers
// (16 bits), VP8 picture ids (15) and TL0PICIDX (8) alike.
package seqmap

import "github.com/mafalda-sfu/mafalda/internal/seqnum"

// maxWindow is how far behind the newest number a dropped one is remembered.
// The streams before a Map refuse packets that are later than 1,500.
const maxWindow = 4096

// A Map gives outputs to the inputs that are forwarded, contiguous across those
// dropped: inputs lost on the way leave a gap, dropped ones don't. An input that
// comes late gets the output that was left for it. An input later than all gets
// an output later than all: after a loss of half the range no gap is left. Make it
// with [New].
// It behaves like mediasoup's SeqManager (worker/src/RTC/SeqManager.cpp), but
// forgets dropped inputs 4,096 numbers later, not after half the range: a still
// later input is treated as if those had not been dropped before it. A Map takes
// 16 KiB at most, usually next to nothing, and stops allocating when it has seen
// its densest stretch of drops.
type Map[T uint8 | uint16] struct {
	bits   int
	mask   T
	window T
	offset T // added to outputs on their way out

	base         T // output - input when nothing later than the input is dropped
	maxInput     T
	maxOutput    T // without offset
	maxForwarded T // newest input not dropped
	maxDropped   T

	known   bool // maxInput and maxForwarded mean something
	started bool // maxOutput does

	// Dropped inputs within the window, oldest first, are dropped[head:].
	dropped []T
	head    int
}

// New returns a Map of a space of the given number of bits, 2 up to the size of
// T. initialOutput is added to all outputs: the input after that of the first
// [Map.Sync] comes out as initialOutput + 1.
func New[T uint8 | uint16](bits int, initialOutput T) Map[T] {
	m := Map[T]{bits: bits, mask: T(1)<<bits - 1}
	m.window = m.mask / 2
	if uint(m.window) > maxWindow {
		// Through a variable: the constant does not fit in a uint8.
		w := maxWindow
		m.window = T(w)
	}
	m.offset = initialOutput & m.mask
	return m
}

// Sync makes x the newest input, as if it had given the newest output: the next
// one, x + 1, comes out right after that. What was dropped is forgotten.
func (m *Map[T]) Sync(x T) {
	x &= m.mask
	m.base = (m.maxOutput - x) & m.mask
	m.maxInput, m.maxForwarded = x, x
	m.known = true
	m.forget()
}

// Drop takes note that x is not forwarded, so that no gap is left for it. It is
// ignored when x comes too late for that, because a later input was forwarded.
func (m *Map[T]) Drop(x T) {
	x &= m.mask
	switch {
	case !m.known:
		m.known = true
		m.maxInput, m.maxDropped, m.maxForwarded = x, x, (x-1)&m.mask
		m.append(x)
	case m.newer(x, m.maxInput):
		m.maxInput, m.maxDropped = x, x
		m.append(x)
		m.purge()
	case m.maxInput == m.maxDropped && m.newer(x, m.maxForwarded):
		m.insert(x)
		m.purge()
	}
}

// Input returns the output for x, or false if x was dropped.
func (m *Map[T]) Input(x T) (out T, ok bool) {
	x &= m.mask
	if !m.known {
		m.known = true
		m.maxInput, m.maxForwarded = x, x
	}
	newest := m.newer(x, m.maxInput)
	if newest {
		m.maxInput = x
		m.purge()
	}
	out = x + m.base
	if newest && m.started && !m.newer(out&m.mask, m.maxOutput) {
		// What was lost since the last output is more than half of the range.
		m.Sync(x - 1)
		m.maxInput = x
		out = x + m.base
	}
	if n := len(m.dropped); n > m.head && !m.newer(x, m.dropped[n-1]) {
		later, dropped := m.after(x)
		if dropped {
			return 0, false
		}
		// base counts all drops, those after x included.
		out += later
	}
	out &= m.mask
	if m.newer(x, m.maxForwarded) {
		m.maxForwarded = x
	}
	if !m.started || m.newer(out, m.maxOutput) {
		m.started = true
		m.maxOutput = out
	}
	return (out + m.offset) & m.mask, true
}

// MaxInput returns the newest input, dropped ones and that of Sync included.
func (m *Map[T]) MaxInput() T { return m.maxInput }

// MaxOutput returns the newest output, as Input returned it.
func (m *Map[T]) MaxOutput() T { return (m.maxOutput + m.offset) & m.mask }

func (m *Map[T]) newer(a, b T) bool { return seqnum.Newer(a, b, m.bits) }

// append takes x, newer than all that are remembered.
func (m *Map[T]) append(x T) {
	if len(m.dropped) == cap(m.dropped) && m.head > len(m.dropped)/4 {
		m.dropped = m.dropped[:copy(m.dropped, m.dropped[m.head:])]
		m.head = 0
	}
	m.dropped = append(m.dropped, x)
	m.base = (m.base - 1) & m.mask
}

// insert takes x at its place, near the end, unless it is there already.
func (m *Map[T]) insert(x T) {
	i := len(m.dropped)
	for i > m.head && m.newer(m.dropped[i-1], x) {
		i--
	}
	if i > m.head && m.dropped[i-1] == x {
		return
	}
	later := len(m.dropped) - i
	m.append(x) // may move all
	i = len(m.dropped) - 1 - later
	copy(m.dropped[i+1:], m.dropped[i:])
	m.dropped[i] = x
}

// after returns how many inputs after x are dropped, and whether x itself is.
func (m *Map[T]) after(x T) (later T, dropped bool) {
	low, high := m.head, len(m.dropped) // the first one newer than x
	for low < high {
		mid := int(uint(low+high) / 2)
		if m.newer(m.dropped[mid], x) {
			high = mid
		} else {
			low = mid + 1
		}
	}
	return T(len(m.dropped) - low), low > m.head && m.dropped[low-1] == x
}

// purge forgets what lies outside the window.
func (m *Map[T]) purge() {
	for m.head < len(m.dropped) && (m.maxInput-m.dropped[m.head])&m.mask > m.window {
		m.head++
	}
	if m.head == len(m.dropped) {
		m.forget()
	}
}

func (m *Map[T]) forget() {
	m.dropped = m.dropped[:0]
	m.head = 0
}
