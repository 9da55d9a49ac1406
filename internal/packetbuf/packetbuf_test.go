package packetbuf

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPool(t *testing.T) {
	for _, c := range []struct {
		name                    string
		slot, chunk, max, bytes int
	}{
		{"one chunk", 100, 8, 8, 800},
		{"last chunk shorter", 64, 4, 10, 640},
		{"chunk rounded up", 16, 3, 8, 128},
		{"chunk larger than all", 16, 1024, 5, 80},
		{"chunk of one", 16, 1, 3, 48},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := NewPool(c.slot, c.chunk, c.max)
			require.Zero(t, p.Size())
			var refs []Ref
			seen := map[Ref]bool{}
			for i := range c.max {
				r := p.Get()
				require.NotZero(t, r)
				require.False(t, seen[r], "slot %d handed out twice", r)
				seen[r] = true
				b := p.Bytes(r)
				require.Len(t, b, c.slot)
				require.Equal(t, c.slot, cap(b), "a slot must not reach into the next")
				for j := range b {
					b[j] = byte(i)
				}
				refs = append(refs, r)
				require.Equal(t, i+1, p.InUse())
			}
			require.Zero(t, p.Get(), "more than maxSlots")
			require.Equal(t, c.bytes, p.Size())
			for i, r := range refs {
				for _, v := range p.Bytes(r) {
					require.Equal(t, byte(i), v, "slots overlap")
				}
			}
			for _, r := range refs {
				p.Release(r)
			}
			require.Zero(t, p.InUse())
			require.NotZero(t, p.Get())
		})
	}
}

func TestHolders(t *testing.T) {
	p := NewPool(8, 2, 2)
	r := p.Get()
	p.Retain(r)
	p.Release(r)
	require.Equal(t, 1, p.InUse())
	p.Release(r)
	require.Zero(t, p.InUse())
	p.Release(0)
	require.Panics(t, func() { p.Release(r) })
	require.Panics(t, func() { NewPool(8, 2, 2).Retain(1) })
	require.Zero(t, NewPool(8, 2, 0).Get())
}

func TestRandom(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	p := NewPool(8, 16, 100)
	held := map[Ref]int{}
	any := func() Ref {
		for r := range held {
			return r
		}
		return 0
	}
	for range 20_000 {
		switch r := any(); rng.IntN(3) {
		case 0:
			g := p.Get()
			require.Equal(t, len(held) == 100, g == 0)
			if g != 0 {
				require.NotContains(t, held, g)
				held[g] = 1
			}
		case 1:
			if r != 0 {
				p.Retain(r)
				held[r]++
			}
		case 2:
			if r != 0 {
				p.Release(r)
				if held[r]--; held[r] == 0 {
					delete(held, r)
				}
			}
		}
		require.Equal(t, len(held), p.InUse())
	}
}

func TestAllocs(t *testing.T) {
	p := NewPool(2048, 64, 256)
	var refs [256]Ref
	turn := func() {
		for i := range refs {
			refs[i] = p.Get()
			p.Retain(refs[i])
			p.Bytes(refs[i])[0] = 1
		}
		for _, r := range refs {
			p.Release(r)
			p.Release(r)
		}
	}
	turn()
	require.Zero(t, testing.AllocsPerRun(100, turn))
}

func BenchmarkGetRelease(b *testing.B) {
	p := NewPool(2048, 1024, 4096)
	b.ReportAllocs()
	for b.Loop() {
		r := p.Get()
		p.Bytes(r)[0] = 1
		p.Release(r)
	}
}

// A lender counts what comes back to it.
type lender map[Ref]int

func (l lender) Return(token Ref) { l[token]++ }

func TestBorrow(t *testing.T) {
	p := NewPool(8, 2, 2)
	own := p.Get()
	back := lender{}
	slots := [][]byte{{1, 1}, {2, 2}, {3, 3}}
	var refs []Ref
	for i, b := range slots {
		refs = append(refs, p.Borrow(b, back, Ref(70+i)))
	}
	require.Equal(t, 4, p.InUse())
	for i, r := range refs {
		require.NotEqual(t, own, r)
		require.Equal(t, slots[i], p.Bytes(r))
	}
	p.Retain(refs[1])
	for _, r := range refs {
		p.Release(r)
	}
	require.Equal(t, lender{70: 1, 72: 1}, back)
	require.Equal(t, 2, p.InUse())
	p.Release(refs[1])
	require.Equal(t, lender{70: 1, 71: 1, 72: 1}, back)
	require.Panics(t, func() { p.Release(refs[1]) })
	require.Panics(t, func() { p.Retain(refs[1]) })
	require.Len(t, p.Bytes(own), 8)
	p.Release(own)
	require.Zero(t, p.InUse())
}

func TestBorrowAllocatesNothing(t *testing.T) {
	p := NewPool(8, 2, 2)
	var back counter
	b := []byte{1}
	for range 100 { // as many entries as are in use at a time
		p.Borrow(b, &back, 1)
	}
	for i := range 100 {
		p.Release(borrowedRef + Ref(i))
	}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		for range 100 {
			p.Borrow(b, &back, 1)
		}
		for i := range 100 {
			p.Release(borrowedRef + Ref(i))
		}
	}))
}

type counter int

func (c *counter) Return(Ref) { *c++ }
