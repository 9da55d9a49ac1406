package rtx

import (
	"time"

	"github.com/mafalda-sfu/mafalda/internal/prefetch"
	"github.com/mafalda-sfu/mafalda/internal/seqnum"
)

const (
	// maxSlots is the longest run of sequence numbers held, blanks included.
	maxSlots = 2500
	// minSlots is the size a ring begins with; it doubles up to 4,096, the
	// power of two that holds maxSlots.
	minSlots = 64
)

// An Outcome says what became of a packet.
type Outcome uint8

const (
	// Stored means that the packet can be asked for from now on.
	Stored Outcome = iota
	// Refused means that the packet does not fit: it is too old, or its
	// timestamp contradicts those of its neighbours. It may be sent once.
	Refused
	// Duplicate means that its place is taken.
	Duplicate
)

type slot[T comparable] struct {
	timestamp uint32
	item      T
}

// A ring holds items by sequence number. The oldest and the newest slot are
// never blank; timestamps do not decrease from one to the next. An item is
// blank when it is the zero value.
//
// The rules are those of mediasoup's RtpRetransmissionBuffer.
type ring[T comparable] struct {
	// Constant.
	maxAge  uint32  // in units of the RTP clock
	removed func(T) // called for each item that leaves; may be nil

	slots       []slot[T] // length a power of two; unused ones are zero
	first, last int64     // extended sequence numbers; empty when last < first
}

func newRing[T comparable](age time.Duration, clockRate uint32, removed func(T)) ring[T] {
	return ring[T]{
		maxAge:  uint32(int64(age/time.Millisecond) * int64(clockRate) / 1000),
		removed: removed,
		last:    -1,
	}
}

func (r *ring[T]) empty() bool { return r.last < r.first }

func (r *ring[T]) at(ext int64) *slot[T] { return &r.slots[int(ext)&(len(r.slots)-1)] }

// prefetch asks for the oldest slot, which may have to go, and the newest.
func (r *ring[T]) prefetch() {
	if !r.empty() {
		prefetch.Of(r.at(r.first))
		prefetch.Of(r.at(r.last))
	}
}

func (r *ring[T]) blank(ext int64) bool {
	var zero T
	return r.at(ext).item == zero
}

// extend widens seq to the number nearest to the newest one; at half the range
// the numerically larger is the newer.
func (r *ring[T]) extend(seq uint16) int64 {
	last := uint16(r.last)
	d := int64(int16(seq - last))
	if d == -1<<15 && seq > last {
		d = 1 << 15
	}
	return r.last + d
}

func (r *ring[T]) tooOld(timestamp, newest uint32) bool {
	return seqnum.Newer32(newest, timestamp) && newest-timestamp > r.maxAge
}

// get returns the slot of seq, nil when it is blank or not there.
func (r *ring[T]) get(seq uint16) *slot[T] {
	if r.empty() {
		return nil
	}
	ext := r.extend(seq)
	if ext < r.first || ext > r.last || r.blank(ext) {
		return nil
	}
	return r.at(ext)
}

func (r *ring[T]) insert(seq uint16, timestamp uint32, item T) Outcome {
	if r.empty() {
		return r.begin(seq, timestamp, item)
	}
	ext := r.extend(seq)
	newest := r.at(r.last).timestamp
	horizon := newest
	if seqnum.Newer32(timestamp, newest) {
		if ext < r.last {
			// An older number with a newer time: the numbering went back.
			r.clear()
			return r.begin(seq, timestamp, item)
		}
		horizon = timestamp
	}
	r.expire(horizon)
	if r.empty() {
		return r.begin(seq, timestamp, item)
	}
	switch {
	case ext > r.last:
		return r.append(ext, timestamp, item)
	case ext < r.first:
		return r.prepend(ext, timestamp, item)
	}
	return r.fill(ext, timestamp, item)
}

func (r *ring[T]) begin(seq uint16, timestamp uint32, item T) Outcome {
	r.first, r.last = int64(seq), int64(seq)-1
	r.put(int64(seq), timestamp, item)
	return Stored
}

func (r *ring[T]) append(ext int64, timestamp uint32, item T) Outcome {
	if seqnum.Newer32(r.at(r.last).timestamp, timestamp) {
		return Refused
	}
	r.dropBefore(ext - maxSlots + 1)
	if r.empty() {
		r.first, r.last = ext, ext-1
	}
	r.put(ext, timestamp, item)
	return Stored
}

func (r *ring[T]) prepend(ext int64, timestamp uint32, item T) Outcome {
	switch {
	case r.tooOld(timestamp, r.at(r.last).timestamp),
		seqnum.Newer32(timestamp, r.at(r.first).timestamp),
		r.last-ext >= maxSlots:
		return Refused
	}
	r.put(ext, timestamp, item)
	return Stored
}

// fill takes a blank place between two others.
func (r *ring[T]) fill(ext int64, timestamp uint32, item T) Outcome {
	if !r.blank(ext) {
		return Duplicate
	}
	older := ext - 1
	for r.blank(older) {
		older--
	}
	newer := ext + 1
	for r.blank(newer) {
		newer++
	}
	if seqnum.Newer32(r.at(older).timestamp, timestamp) || seqnum.Newer32(timestamp, r.at(newer).timestamp) {
		return Refused
	}
	r.put(ext, timestamp, item)
	return Stored
}

// put widens the window to ext, which fits into maxSlots, and writes there.
func (r *ring[T]) put(ext int64, timestamp uint32, item T) {
	first, last := min(r.first, ext), max(r.last, ext)
	if n := int(last - first + 1); n > len(r.slots) {
		r.grow(n)
	}
	r.first, r.last = first, last
	*r.at(ext) = slot[T]{timestamp, item}
}

func (r *ring[T]) grow(n int) {
	size := max(minSlots, len(r.slots))
	for size < n {
		size *= 2
	}
	old := r.slots
	r.slots = make([]slot[T], size)
	for ext := r.first; ext <= r.last; ext++ {
		*r.at(ext) = old[int(ext)&(len(old)-1)]
	}
}

// expire removes what is too old at the RTP time newest.
func (r *ring[T]) expire(newest uint32) {
	for !r.empty() && r.tooOld(r.at(r.first).timestamp, newest) {
		r.dropBefore(r.first + 1)
	}
}

// dropBefore removes what is older than ext, and the blanks that follow.
func (r *ring[T]) dropBefore(ext int64) {
	for !r.empty() && (r.first < ext || r.blank(r.first)) {
		if s := r.at(r.first); !r.blank(r.first) {
			if r.removed != nil {
				r.removed(s.item)
			}
			*s = slot[T]{}
		}
		r.first++
	}
}

func (r *ring[T]) clear() {
	if !r.empty() {
		r.dropBefore(r.last + 1)
	}
}

// reset empties the ring and gives up its memory.
func (r *ring[T]) reset() {
	r.clear()
	r.slots = nil
}
