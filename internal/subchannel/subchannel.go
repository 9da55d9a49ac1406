// Package subchannel says which messages of a data channel a receiver gets:
// each message may name subchannels, each receiver subscribes to some. Between
// Routers the names travel in front of the message, in a header of mediasoup's
// own.
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-------------------------------+-------------------------------+
//	|                            magic                              |
//	+                                                           +-+-+
//	|                                                           |R|I|
//	+-------------------------------+---------------------------+-+-+
//	|             count             |     count subchannels …       |
//	+-------------------------------+-------------------------------+
//	|     required, if R is set     |     ignored, if I is set      |
//	+-------------------------------+-------------------------------+
//	|                         message …                             |
//
// Source: SubchannelsCodec and DataConsumer of mediasoup 3.27.1.
package subchannel

import (
	"encoding/binary"
	"slices"
)

// A Set has the subchannels that a receiver is subscribed to, in ascending
// order and each once. It is never modified in place.
type Set []uint16

// NewSet returns the set of the given subchannels, which it copies.
func NewSet(list []uint16) Set {
	s := slices.Clone(list)
	slices.Sort(s)
	return Set(slices.Compact(s))
}

// Has reports whether n is in s.
func (s Set) Has(n uint16) bool {
	_, ok := slices.BinarySearch(s, n)
	return ok
}

// With returns s and n.
func (s Set) With(n uint16) Set {
	i, ok := slices.BinarySearch(s, n)
	if ok {
		return s
	}
	return slices.Insert(slices.Clone(s), i, n)
}

// Without returns s but for n.
func (s Set) Without(n uint16) Set {
	i, ok := slices.BinarySearch(s, n)
	if !ok {
		return s
	}
	return slices.Delete(slices.Clone(s), i, i+1)
}

// Labels are what a message says about who gets it.
type Labels struct {
	// Subchannels: a receiver must be subscribed to one of them. None is no
	// condition.
	Subchannels []uint16
	// Required, if given: a receiver must be subscribed to it.
	Required *uint16
	// Ignored, if given: a receiver must not be subscribed to it.
	Ignored *uint16
}

// None reports whether l says nothing.
func (l *Labels) None() bool {
	return len(l.Subchannels) == 0 && l.Required == nil && l.Ignored == nil
}

// Reach reports whether a receiver subscribed to s gets a message labelled l.
//
// Piped is a receiver at the other end of a pipe between Routers: without
// subscriptions it gets everything, since the choice is made behind it, and
// what is ignored is for those behind it to ignore (media-plane §8.3).
func (l *Labels) Reach(s Set, piped bool) bool {
	switch {
	case piped && len(s) == 0:
		return true
	case l.Required != nil && !s.Has(*l.Required):
		return false
	case !piped && l.Ignored != nil && s.Has(*l.Ignored):
		return false
	}
	return len(l.Subchannels) == 0 || slices.ContainsFunc(l.Subchannels, s.Has)
}

// Through returns what of l goes on through a pipe whose receiver is subscribed
// to s: without subscriptions all of it, else only what both have.
func (l Labels) Through(s Set) Labels {
	if len(s) > 0 && len(l.Subchannels) > 0 {
		l.Subchannels = slices.DeleteFunc(slices.Clone(l.Subchannels), func(n uint16) bool { return !s.Has(n) })
	}
	return l
}

const (
	magic        = 0xa5f09cb3d6e1f28c
	flagRequired = 0x2
	flagIgnored  = 0x1
	flags        = flagRequired | flagIgnored

	offCount = 8
	offList  = 10
)

// Append appends to dst a message with l in front of it, and the message alone
// if l says nothing. A message has up to 65,535 subchannels; more are left out.
func (l *Labels) Append(dst, message []byte) []byte {
	if l.None() {
		return append(dst, message...)
	}
	head := uint64(magic)
	if l.Required != nil {
		head |= flagRequired
	}
	if l.Ignored != nil {
		head |= flagIgnored
	}
	list := l.Subchannels[:min(len(l.Subchannels), 0xffff)]
	dst = slices.Grow(dst, offList+2*len(list)+4+len(message))
	dst = binary.BigEndian.AppendUint64(dst, head)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(list)))
	for _, n := range list {
		dst = binary.BigEndian.AppendUint16(dst, n)
	}
	for _, n := range []*uint16{l.Required, l.Ignored} {
		if n != nil {
			dst = binary.BigEndian.AppendUint16(dst, *n)
		}
	}
	return append(dst, message...)
}

// Parse takes apart what came through a pipe. The message is a view of b. What
// does not begin with a whole header is a message without labels.
func Parse(b []byte) (l Labels, message []byte) {
	if len(b) < offList {
		return Labels{}, b
	}
	head := binary.BigEndian.Uint64(b)
	if head&^flags != magic {
		return Labels{}, b
	}
	count := int(binary.BigEndian.Uint16(b[offCount:]))
	need := offList + 2*count
	for _, f := range []uint64{flagRequired, flagIgnored} {
		if head&f != 0 {
			need += 2
		}
	}
	if len(b) < need {
		return Labels{}, b
	}
	at := offList
	next := func() uint16 {
		at += 2
		return binary.BigEndian.Uint16(b[at-2:])
	}
	if count > 0 {
		l.Subchannels = make([]uint16, count)
		for i := range l.Subchannels {
			l.Subchannels[i] = next()
		}
	}
	if head&flagRequired != 0 {
		l.Required = new(next())
	}
	if head&flagIgnored != 0 {
		l.Ignored = new(next())
	}
	return l, b[at:]
}
