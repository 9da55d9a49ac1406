package rtx

import (
	"time"

	"github.com/mafalda-sfu/mafalda/internal/prefetch"
)

// stale is when a Map that got nothing new stops answering: long after any
// Store has forgotten, and before a stream can have used up all 65,536 numbers.
const stale = 10 * time.Second

const (
	flagUsed    = 1 << 4 // the low four bits are the stream
	flagMarker  = 1 << 5
	flagPicture = 1 << 6
	flagResent  = 1 << 7
)

// MaxStreams is how many Stores one [Map] can refer to.
const MaxStreams = 16

// An Item is a packet that a Consumer sent: where to find it and what to change
// in it.
type Item struct {
	Stream     uint8  // index of the Store, less than MaxStreams
	Ingress    uint16 // sequence number in the Store
	Timestamp  uint32 // as sent
	Marker     bool   // as sent
	HasPicture bool   // PictureID and TL0PICIDX replace those of a VP8 payload
	PictureID  uint16 // 15 bits
	TL0PICIDX  uint8
}

// mapped is what every Item has, in 4 bytes; the timestamp stands beside it.
// Like all items of a ring it is blank when zero, which flagUsed prevents.
type mapped struct {
	ingress uint16
	flags   uint8
}

// more is what few items have.
type more struct {
	resent  uint16 // low bits of the time in ms, when flagResent
	picture uint16 // when flagPicture, as is tl0
	tl0     uint8
}

// A Map finds the packets that one Consumer sent by the sequence numbers it
// sent them with. It takes 8 bytes for each packet that is young enough, 6 more
// once one of them was sent again or has another picture id, and nothing before
// the first one. Make it with [NewMap].
type Map struct {
	ring   ring[mapped]
	more   []more        // of the same slots; nil while no item has it
	newest time.Duration // when the last one was inserted
}

// NewMap returns an empty Map that remembers packets for age on a clock of
// clockRate Hz.
func NewMap(age time.Duration, clockRate uint32) Map {
	return Map{ring: newRing[mapped](age, clockRate, nil)}
}

// Insert takes note of a packet about to be sent with sequence number seq. A
// [Duplicate] must not be sent: it would repeat an SRTP index.
func (m *Map) Insert(now time.Duration, seq uint16, i Item) Outcome {
	v := mapped{ingress: i.Ingress, flags: i.Stream&(MaxStreams-1) | flagUsed}
	if i.Marker {
		v.flags |= flagMarker
	}
	if i.HasPicture {
		v.flags |= flagPicture
	}
	size := len(m.ring.slots)
	outcome := m.ring.insert(seq, i.Timestamp, v)
	if m.more != nil && size != len(m.ring.slots) {
		m.resize()
	}
	if outcome == Stored {
		m.newest = now
		if i.HasPicture {
			x := m.moreOf(seq)
			x.picture, x.tl0 = i.PictureID, i.TL0PICIDX
		}
	}
	return outcome
}

// moreOf returns the rest of the item of seq, which is there.
func (m *Map) moreOf(seq uint16) *more {
	if m.more == nil {
		m.more = make([]more, len(m.ring.slots))
	}
	return &m.more[int(m.ring.extend(seq))&(len(m.more)-1)]
}

// resize follows the ring, which has grown.
func (m *Map) resize() {
	old := m.more
	m.more = make([]more, len(m.ring.slots))
	for ext := m.ring.first; ext <= m.ring.last; ext++ {
		m.more[int(ext)&(len(m.more)-1)] = old[int(ext)&(len(old)-1)]
	}
}

// Prefetch asks for the memory that the next packets need.
func (m *Map) Prefetch() {
	if r := &m.ring; !r.empty() {
		prefetch.Of(r.at(r.first))
		prefetch.Of(r.at(r.last + 1))
		prefetch.Of(r.at(r.last + 4)) // maybe the next line
	}
}

// Lookup returns the packet that was sent with that sequence number.
func (m *Map) Lookup(now time.Duration, seq uint16) (Item, bool) {
	s := m.find(now, seq)
	if s == nil {
		return Item{}, false
	}
	return m.item(seq, s), true
}

// Due is Lookup for a packet that a NACK asks for: it finds none while the last
// answer is no older than one round trip, because it may still be on its way.
func (m *Map) Due(now, roundTrip time.Duration, seq uint16) (Item, bool) {
	s := m.find(now, seq)
	if s == nil {
		return Item{}, false
	}
	if s.item.flags&flagResent != 0 {
		ago := time.Duration(millis(now) - m.moreOf(seq).resent)
		if ago <= roundTrip/time.Millisecond {
			return Item{}, false
		}
	}
	return m.item(seq, s), true
}

// Resent takes note that a packet was sent again and reports whether that was
// the first time.
func (m *Map) Resent(now time.Duration, seq uint16) (first bool) {
	s := m.find(now, seq)
	if s == nil {
		return false
	}
	first = s.item.flags&flagResent == 0
	s.item.flags |= flagResent
	m.moreOf(seq).resent = millis(now)
	return first
}

// Clear forgets everything and gives up the memory.
func (m *Map) Clear() {
	m.ring.reset()
	m.more = nil
}

// Size returns the bytes of memory behind the Map.
func (m *Map) Size() int { return len(m.ring.slots)*8 + len(m.more)*6 }

func (m *Map) find(now time.Duration, seq uint16) *slot[mapped] {
	if now-m.newest > stale {
		return nil
	}
	return m.ring.get(seq)
}

// item makes the Item of seq whole.
func (m *Map) item(seq uint16, s *slot[mapped]) Item {
	v := s.item
	i := Item{
		Stream: v.flags & (MaxStreams - 1), Ingress: v.ingress, Timestamp: s.timestamp,
		Marker: v.flags&flagMarker != 0, HasPicture: v.flags&flagPicture != 0,
	}
	if i.HasPicture {
		x := m.moreOf(seq)
		i.PictureID, i.TL0PICIDX = x.picture, x.tl0
	}
	return i
}

func millis(now time.Duration) uint16 { return uint16(now / time.Millisecond) }
