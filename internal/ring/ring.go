// Package ring passes values from one goroutine to another, in order, without
// locks, without waiting and without allocating.
//
// It is bounded: what finds it full is the caller's to drop. Writer and reader
// work in batches, so that they touch what they share once for each batch and
// not for each value.
package ring

import (
	"math/bits"
	"sync/atomic"
)

// line is the size of a cache line, twice on some systems: the two sides of a
// ring must not share one.
const line = 128

// A Ring passes values from one writer to one reader; both may be the same
// goroutine. Make one with [New].
type Ring[T any] struct {
	buf  []T // constant; a power of two of them
	mask uint64

	_    [line]byte
	tail atomic.Uint64 // values that the reader may see; set by the writer
	next uint64        // the writer's: values written
	room uint64        // the writer's: up to where it may write, as known
	_    [line]byte
	head atomic.Uint64 // values that the writer may overwrite; set by the reader
	at   uint64        // the reader's: values read
	seen uint64        // the reader's: tail, as known
	_    [line]byte
}

// New returns an empty ring for n values, rounded up to a power of two.
func New[T any](n int) *Ring[T] {
	size := uint64(1) << bits.Len(uint(max(n, 1)-1))
	return &Ring[T]{buf: make([]T, size), mask: size - 1, room: size}
}

// Put writes v, which the reader sees after [Ring.Publish]. It reports false,
// and does nothing, when the ring is full.
func (r *Ring[T]) Put(v T) bool {
	if r.next == r.room {
		if r.room = r.head.Load() + uint64(len(r.buf)); r.next == r.room {
			return false
		}
	}
	r.buf[r.next&r.mask] = v
	r.next++
	return true
}

// Publish lets the reader see what was written. It reports whether there was
// anything new.
func (r *Ring[T]) Publish() bool {
	if r.next == r.tail.Load() {
		return false
	}
	r.tail.Store(r.next)
	return true
}

// Get reads the next value. Its place is the writer's again after [Ring.Free].
func (r *Ring[T]) Get() (v T, ok bool) {
	if r.at == r.seen {
		if r.seen = r.tail.Load(); r.at == r.seen {
			return v, false
		}
	}
	v = r.buf[r.at&r.mask]
	r.at++
	return v, true
}

// Free gives the places of what was read to the writer.
func (r *Ring[T]) Free() {
	if r.at != r.head.Load() {
		r.head.Store(r.at)
	}
}
