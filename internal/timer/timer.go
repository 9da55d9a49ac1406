// Package timer keeps the timers of one loop in a hierarchical wheel.
//
// Timers are parts of the structs that they serve: setting and stopping one
// costs a few pointer writes and allocates nothing. Deadlines are rounded up
// to the tick, so that timers which are due at about the same time share one
// wake-up; within one [Wheel.Advance] they fire in the order of their exact
// deadlines, and those with equal deadlines in the order in which they were set.
//
// A Wheel reads no clock. It and its timers belong to one loop: they are not
// safe for concurrent use.
package timer

import (
	"math"
	"math/bits"
	"time"
)

// DefaultTick is the tick of a [Wheel] that was made without one.
const DefaultTick = 5 * time.Millisecond

// A Timer calls a function once, at a deadline. Call [Timer.Init] before its
// first use; a Timer must not be copied while it is pending.
type Timer struct {
	f     func(now time.Duration)
	at    time.Duration
	due   uint64 // at in ticks, rounded up
	next  *Timer
	prev  *Timer
	where int32 // the list that holds the timer: 0 none, firing, else slot index + 1
}

// firing is the place of a timer that expired in the running Advance and whose
// turn has not come.
const firing = -1

// Init sets the function, which gets the time of the [Wheel.Advance] that calls
// it. It may set and stop any timer, its own as well.
func (t *Timer) Init(f func(now time.Duration)) { t.f = f }

// Pending tells whether the timer is set and has not fired. In its own function
// it is false, unless the function has set it again.
func (t *Timer) Pending() bool { return t.where != 0 }

// Deadline returns the time for which the timer was last set, not rounded.
func (t *Timer) Deadline() time.Duration { return t.at }

// The wheel has levels of 64 slots. A timer lies at the level of the highest
// group of six bits in which its tick differs from the current one, in the slot
// that this group of its tick names. So
//   - all timers of a level are due before all timers of a higher one,
//   - within a level they are due in the order of the slots,
//   - a slot of level 0 holds one tick.
//
// When time reaches the first tick of a slot of a higher level, its timers move
// down. A timer that is already due lies in the current slot of level 0.
const (
	slotBits = 6
	slots    = 1 << slotBits
	slotMask = slots - 1
	levels   = (64 + slotBits - 1) / slotBits // every tick number has a place
)

// A list of timers, in the order in which they were added.
type list struct{ head, tail *Timer }

func (l *list) push(t *Timer) {
	t.prev, t.next = l.tail, nil
	if l.tail == nil {
		l.head = t
	} else {
		l.tail.next = t
	}
	l.tail = t
}

func (l *list) remove(t *Timer) {
	if t.prev == nil {
		l.head = t.next
	} else {
		t.prev.next = t.next
	}
	if t.next == nil {
		l.tail = t.prev
	} else {
		t.next.prev = t.prev
	}
	t.prev, t.next = nil, nil
}

// A Wheel holds pending timers. Make one with [NewWheel].
type Wheel struct {
	tick    uint64 // ns
	current uint64 // the last tick that Advance has handled
	count   int

	filled   uint16         // bit l: level l has a timer
	occupied [levels]uint64 // bit s: slot s has a timer
	slots    [levels * slots]list

	expired list // of the running Advance
	running bool

	// The earliest tick, if known: finding it may walk one slot.
	earliest uint64
	known    bool
}

// NewWheel returns an empty wheel at time 0. A tick of 0 or less means
// [DefaultTick].
func NewWheel(tick time.Duration) *Wheel {
	if tick <= 0 {
		tick = DefaultTick
	}
	return &Wheel{tick: uint64(tick)}
}

// Len returns how many timers are pending.
func (w *Wheel) Len() int { return w.count }

// Set makes t fire in the first Advance whose time has reached the deadline at,
// rounded up to the tick. A pending timer is moved. A deadline in the past is
// due at the next Advance; one that is set by a function that the wheel calls
// never fires in the same Advance, so that functions which set themselves again
// don't hold up the loop.
func (w *Wheel) Set(t *Timer, at time.Duration) {
	if t.where != 0 {
		w.unlink(t)
	}
	at = max(at, 0)
	t.at = at
	t.due = max((uint64(at)+w.tick-1)/w.tick, w.current)
	w.link(t)
	w.count++
	if w.known && t.due < w.earliest {
		w.earliest = t.due
	}
}

// Stop makes t not fire. Stopping a timer that isn't pending does nothing.
func (w *Wheel) Stop(t *Timer) {
	if t.where != 0 {
		w.unlink(t)
	}
}

// Next returns the earliest time at which Advance has something to do: the
// earliest deadline, rounded up to the tick. It may lie in the past. It is false
// while no timer is pending.
func (w *Wheel) Next() (at time.Duration, ok bool) {
	if w.count == 0 {
		return 0, false
	}
	if !w.known {
		w.earliest, w.known = w.find(), true
	}
	high, ns := bits.Mul64(w.earliest, w.tick)
	if high != 0 || ns > math.MaxInt64 {
		return math.MaxInt64, true
	}
	return time.Duration(ns), true
}

// Advance sets the time to now and calls the functions of all timers that are
// due. Time does not go backwards: an earlier now counts as the latest one.
// Called by one of these functions it does nothing.
func (w *Wheel) Advance(now time.Duration) {
	if w.running {
		return
	}
	w.running = true
	w.expire(max(uint64(max(now, 0))/w.tick, w.current))
	w.expired.sort()
	for t := w.expired.head; t != nil; t = w.expired.head {
		w.unlink(t)
		if t.f != nil {
			t.f(now)
		}
	}
	w.running = false
}

// expire moves the current tick to target and what is due until then to the
// list of expired timers, tick by tick.
func (w *Wheel) expire(target uint64) {
	for w.filled != 0 {
		level := bits.TrailingZeros16(w.filled)
		slot := bits.TrailingZeros64(w.occupied[level])
		shift := uint(level * slotBits)
		start := w.current>>shift&^slotMask | uint64(slot)
		start <<= shift
		if start > target {
			break
		}
		w.known = false
		w.current = start
		l := w.take(level, slot)
		for t := l.head; t != nil; {
			next := t.next
			if level == 0 {
				t.where = firing
				w.expired.push(t)
			} else {
				w.link(t)
			}
			t = next
		}
	}
	w.current = target
}

// find returns the earliest tick of all pending timers, of which there is one.
func (w *Wheel) find() uint64 {
	if t := w.expired.head; t != nil {
		return t.due
	}
	level := bits.TrailingZeros16(w.filled)
	slot := bits.TrailingZeros64(w.occupied[level])
	t := w.slots[level*slots+slot].head
	due := t.due
	if level > 0 {
		for t = t.next; t != nil; t = t.next {
			due = min(due, t.due)
		}
	}
	return due
}

func (w *Wheel) link(t *Timer) {
	level := (bits.Len64(t.due^w.current|1) - 1) / slotBits
	slot := int(t.due>>(level*slotBits)) & slotMask
	index := level*slots + slot
	w.slots[index].push(t)
	w.occupied[level] |= 1 << slot
	w.filled |= 1 << level
	t.where = int32(index + 1)
}

// unlink takes a pending timer from its list.
func (w *Wheel) unlink(t *Timer) {
	w.count--
	if t.due == w.earliest {
		w.known = false
	}
	if t.where == firing {
		w.expired.remove(t)
	} else {
		index := int(t.where - 1)
		w.slots[index].remove(t)
		if w.slots[index].head == nil {
			w.vacate(index/slots, index%slots)
		}
	}
	t.where = 0
}

// take empties a slot and returns its timers, still linked to each other.
func (w *Wheel) take(level, slot int) list {
	l := w.slots[level*slots+slot]
	w.slots[level*slots+slot] = list{}
	w.vacate(level, slot)
	return l
}

func (w *Wheel) vacate(level, slot int) {
	if w.occupied[level] &^= 1 << slot; w.occupied[level] == 0 {
		w.filled &^= 1 << level
	}
}
