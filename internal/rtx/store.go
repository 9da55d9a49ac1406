// Package rtx remembers packets that may be asked for again.
//
// One [Store] for each stream of a Producer holds the packets themselves, once
// for all its Consumers. Each Consumer has a [Map] from the sequence numbers
// that it sent to those of the Store, with what it changed in the packet: some
// 4 KiB where a copy of every packet would take 260.
//
// How many packets are remembered and which ones fit follows mediasoup: up to
// 2,500 sequence numbers, two seconds of video or one of audio, measured in
// RTP timestamps.
package rtx

import (
	"time"

	"github.com/mafalda-sfu/mafalda/internal/packetbuf"
)

// How long packets are remembered.
const (
	VideoAge = 2 * time.Second
	AudioAge = time.Second
)

// An Entry is a packet of a [Store]. All fields but Ref are the caller's.
type Entry struct {
	Ref        packetbuf.Ref // the slot that holds it, not 0
	Start, Len uint16        // where in the slot it is
	Info       uint32        // for the caller
}

// A Store holds the newest packets of one received stream by the sequence
// numbers they came with. It contains no pointers that the garbage collector
// would follow. Make it with [NewStore].
type Store struct {
	ring ring[Entry]
}

// NewStore returns an empty Store that remembers packets for age on a clock of
// clockRate Hz. It calls release for each Entry that leaves.
func NewStore(age time.Duration, clockRate uint32, release func(packetbuf.Ref)) *Store {
	return &Store{newRing(age, clockRate, func(e Entry) { release(e.Ref) })}
}

// Prefetch asks for the memory beside the Store itself that the next Insert needs.
func (s *Store) Prefetch() { s.ring.prefetch() }

// Insert takes a packet with the sequence number and timestamp it was received
// with. Only when the outcome is [Stored] does the Store take over one hold on
// the slot.
func (s *Store) Insert(seq uint16, timestamp uint32, e Entry) Outcome {
	return s.ring.insert(seq, timestamp, e)
}

// Lookup returns the packet with that sequence number. The Store keeps its hold
// on the slot.
func (s *Store) Lookup(seq uint16) (Entry, bool) {
	if c := s.ring.get(seq); c != nil {
		return c.item, true
	}
	return Entry{}, false
}

// Clear releases everything. The Maps that refer to the Store have to be
// cleared with it.
func (s *Store) Clear() { s.ring.reset() }

// Size returns the bytes of memory that the Store takes, without the packets.
func (s *Store) Size() int { return len(s.ring.slots) * 16 }
