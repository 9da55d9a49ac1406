package ring

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSize(t *testing.T) {
	for n, want := range map[int]int{-1: 1, 0: 1, 1: 1, 2: 2, 3: 4, 64: 64, 65: 128} {
		r := New[int](n)
		got := 0
		for r.Put(got) {
			got++
		}
		require.Equal(t, want, got, "New(%d)", n)
	}
}

func TestBatches(t *testing.T) {
	r := New[int](4)
	_, ok := r.Get()
	require.False(t, ok)
	require.False(t, r.Publish(), "nothing was written")
	for i := range 4 {
		require.True(t, r.Put(i))
	}
	require.False(t, r.Put(4), "full")
	_, ok = r.Get()
	require.False(t, ok, "nothing was published")
	require.True(t, r.Publish())
	require.False(t, r.Publish())
	for i := range 3 {
		v, ok := r.Get()
		require.True(t, ok)
		require.Equal(t, i, v)
	}
	require.False(t, r.Put(4), "what was read is not free yet")
	r.Free()
	for i := range 3 {
		require.True(t, r.Put(4+i))
	}
	require.False(t, r.Put(7))
	v, ok := r.Get()
	require.True(t, ok)
	require.Equal(t, 3, v)
	_, ok = r.Get()
	require.False(t, ok)
}

// TestModel compares a ring with a list, through many times its size.
func TestModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	r := New[int](16)
	var written, published, read, freed int
	for range 200_000 {
		switch rng.IntN(4) {
		case 0:
			ok := r.Put(written)
			require.Equal(t, written-freed < 16, ok)
			if ok {
				written++
			}
		case 1:
			require.Equal(t, written > published, r.Publish())
			published = written
		case 2:
			v, ok := r.Get()
			require.Equal(t, read < published, ok)
			if ok {
				require.Equal(t, read, v)
				read++
			}
		case 3:
			r.Free()
			freed = read
		}
	}
	require.Greater(t, read, 10_000)
}

// TestTwoGoroutines is for the race detector: what is passed is plain memory.
func TestTwoGoroutines(t *testing.T) {
	const n = 100_000
	there, back := New[*int](64), New[*int](64)
	var wg sync.WaitGroup
	wg.Go(func() {
		free := make([]*int, 0, 64)
		for range 64 {
			free = append(free, new(int))
		}
		for i := 0; i < n; {
			for len(free) > 0 && i < n {
				p := free[len(free)-1]
				*p = i
				if !there.Put(p) {
					break
				}
				free = free[:len(free)-1]
				i++
			}
			there.Publish()
			for {
				p, ok := back.Get()
				if !ok {
					break
				}
				*p = -1
				free = append(free, p)
			}
			back.Free()
			runtime.Gosched()
		}
	})
	for i := 0; i < n; {
		p, ok := there.Get()
		if !ok {
			there.Free()
			back.Publish()
			runtime.Gosched()
			continue
		}
		require.Equal(t, i, *p)
		*p = -2
		require.True(t, back.Put(p))
		i++
	}
	wg.Wait()
}

func BenchmarkRing(b *testing.B) {
	type value struct {
		a uint64
		_ [4]uint64 // as large as what Workers hand over
	}
	for _, batch := range []int{1, 16} {
		b.Run(map[int]string{1: "one by one", 16: "batches of 16"}[batch], func(b *testing.B) {
			r := New[value](1024)
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				r.Put(value{a: 1})
				if n++; n%batch == 0 {
					r.Publish()
					for range batch {
						r.Get()
					}
					r.Free()
				}
			}
		})
	}
}
