// Package prefetch tells the processor which memory is going to be used. A
// fan-out that comes round every few milliseconds finds the state of its
// hundreds of peers in no cache; asked for in time, it comes while others are
// being served, instead of line by line while nothing else can be done.
package prefetch

import "unsafe"

// line is the length of a line of the cache, in bytes.
const line = 64

// Of asks for the memory of *p. Nothing is read: p may be nil.
func Of[T any](p *T) { lines(unsafe.Pointer(p), unsafe.Sizeof(*p)) }

// Part asks for the bytes of *p from start up to end, of which there may be less.
func Part[T any](p *T, start, end uintptr) {
	end = min(end, unsafe.Sizeof(*p))
	lines(unsafe.Add(unsafe.Pointer(p), start), end-start)
}

// Head asks for the first n bytes of *p, of which there may be less.
func Head[T any](p *T, n uintptr) { lines(unsafe.Pointer(p), min(n, unsafe.Sizeof(*p))) }
