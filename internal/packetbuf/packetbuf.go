// Package packetbuf keeps packets in slots of a fixed size that several
// holders may share.
//
// The slots lie in large chunks that contain no pointer, so the garbage
// collector never scans them, and on the Go heap, where their size makes it run
// less often. A [Pool] belongs to one loop: it is not safe for concurrent use.
package packetbuf

import (
	"math/bits"
	"slices"
)

// A Ref names one slot of a [Pool]. The zero Ref names none.
type Ref uint32

// A Pool hands out slots. Make one with [NewPool].
type Pool struct {
	slotSize int
	maxSlots int
	shift    uint // log2 of the slots in a chunk

	chunks  [][]byte
	holders []int32 // by Ref-1; 0: the slot is free
	free    []Ref   // stack; capacity for all slots that exist
	inUse   int

	borrowed []borrowedSlot // by Ref-borrowedRef
	spare    []Ref          // of borrowed; stack with capacity for all of them
}

// An Owner lends slots of its own to a [Pool].
type Owner interface {
	// Return is called when the last holder has released a slot. The token says
	// which.
	Return(token Ref)
}

// A borrowedSlot is somebody else's.
type borrowedSlot struct {
	bytes   []byte // nil: this entry is free
	owner   Owner
	token   Ref
	holders int32
}

// borrowedRef is the Ref of the first borrowed slot.
const borrowedRef Ref = 1 << 31

// NewPool returns an empty pool of at most maxSlots slots of slotSize bytes.
// Memory is taken in chunks of chunkSlots slots, rounded up to a power of two,
// when it is first needed, and kept.
func NewPool(slotSize, chunkSlots, maxSlots int) *Pool {
	return &Pool{
		slotSize: max(slotSize, 1),
		maxSlots: maxSlots,
		shift:    uint(bits.Len(uint(max(chunkSlots, 1) - 1))),
	}
}

// Get takes a free slot, which then has one holder. Its bytes are those of the
// last use. It returns 0 while maxSlots slots are in use.
func (p *Pool) Get() Ref {
	if len(p.free) == 0 && !p.grow() {
		return 0
	}
	r := p.free[len(p.free)-1]
	p.free = p.free[:len(p.free)-1]
	p.holders[r-1] = 1
	p.inUse++
	return r
}

// Borrow makes a slot of owner one of the pool, with one holder. Owner hears of
// it when the last one has released it.
func (p *Pool) Borrow(b []byte, owner Owner, token Ref) Ref {
	if len(p.spare) == 0 {
		p.borrowed = append(p.borrowed, borrowedSlot{})
		p.spare = append(slices.Grow(p.spare, cap(p.borrowed)), borrowedRef+Ref(len(p.borrowed)-1))
	}
	r := p.spare[len(p.spare)-1]
	p.spare = p.spare[:len(p.spare)-1]
	p.borrowed[r-borrowedRef] = borrowedSlot{bytes: b, owner: owner, token: token, holders: 1}
	p.inUse++
	return r
}

// giveBack releases a borrowed slot.
func (p *Pool) giveBack(r Ref) {
	s := &p.borrowed[r-borrowedRef]
	s.holders--
	switch {
	case s.holders == 0:
		owner, token := s.owner, s.token
		*s = borrowedSlot{}
		p.spare = append(p.spare, r)
		p.inUse--
		owner.Return(token)
	case s.holders < 0:
		panic("packetbuf: release of a free slot")
	}
}

// Bytes returns the whole slot. It is valid until the last holder released it.
func (p *Pool) Bytes(r Ref) []byte {
	if r >= borrowedRef {
		return p.borrowed[r-borrowedRef].bytes
	}
	i := int(r - 1)
	off := (i & (1<<p.shift - 1)) * p.slotSize
	return p.chunks[i>>p.shift][off : off+p.slotSize : off+p.slotSize]
}

// Retain adds a holder to a slot in use.
func (p *Pool) Retain(r Ref) {
	if r >= borrowedRef {
		s := &p.borrowed[r-borrowedRef]
		if s.holders <= 0 {
			panic("packetbuf: retain of a free slot")
		}
		s.holders++
		return
	}
	if p.holders[r-1] <= 0 {
		panic("packetbuf: retain of a free slot")
	}
	p.holders[r-1]++
}

// Release removes a holder; after the last one the slot is free. Release of 0
// does nothing.
func (p *Pool) Release(r Ref) {
	if r == 0 {
		return
	}
	if r >= borrowedRef {
		p.giveBack(r)
		return
	}
	p.holders[r-1]--
	switch n := p.holders[r-1]; {
	case n == 0:
		p.free = append(p.free, r)
		p.inUse--
	case n < 0:
		panic("packetbuf: release of a free slot")
	}
}

// InUse returns how many slots have a holder, borrowed ones included.
func (p *Pool) InUse() int { return p.inUse }

// SlotSize returns the size of a slot in bytes.
func (p *Pool) SlotSize() int { return p.slotSize }

// Size returns how many bytes of slots the pool has taken from the heap.
func (p *Pool) Size() int {
	n := 0
	for _, c := range p.chunks {
		n += len(c)
	}
	return n
}

// grow adds a chunk, a shorter one where maxSlots says so.
func (p *Pool) grow() bool {
	have := len(p.holders)
	n := min(1<<p.shift, p.maxSlots-have)
	if n <= 0 {
		return false
	}
	p.chunks = append(p.chunks, make([]byte, n*p.slotSize))
	p.holders = append(p.holders, make([]int32, n)...)
	if cap(p.free) < have+n {
		p.free = make([]Ref, 0, 2*(have+n))
	}
	for i := have + n; i > have; i-- { // the lowest is taken first
		p.free = append(p.free, Ref(i))
	}
	return true
}
