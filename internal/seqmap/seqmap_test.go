package seqmap

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A step is one input and what becomes of it.
type step struct {
	in     uint16
	want   int // output, or one of the words below
	synced bool
}

const (
	drop    = -1 // in is dropped
	refused = -2 // in was dropped before
)

func sync(in uint16, want int) step { return step{in, want, true} } // Sync(in - 1), then Input(in)
func in(in uint16, want int) step   { return step{in, want, false} }

// The cases have the properties of mediasoup's TestSeqManager.cpp.
func TestMap(t *testing.T) {
	for _, c := range []struct {
		name    string
		bits    int
		initial uint16
		steps   []step
	}{
		{"ordered, no sync, no drop", 16, 0,
			[]step{in(0, 0), in(1, 1), in(2, 2), in(3, 3)}},
		{"ordered, initial output", 16, 1000,
			[]step{in(0, 1000), in(1, 1001), in(2, 1002)}},
		{"ordered over the wrap of 8 bits", 8, 0,
			[]step{in(254, 254), in(255, 255), in(0, 0), in(1, 1)}},
		{"ordered over the wrap of 15 bits", 15, 0,
			[]step{in(32766, 32766), in(32767, 32767), in(0, 0), in(1, 1)}},
		{"ordered over the wrap of 16 bits", 16, 0,
			[]step{in(65534, 65534), in(65535, 65535), in(0, 0), in(1, 1)}},
		{"higher bits don't count", 15, 0,
			[]step{in(32768+5, 5), in(6, 6)}},
		{"the initial output wraps", 16, 65533,
			[]step{sync(100, 65534), in(101, 65535), in(102, 0), in(103, 1)}},
		{"the initial output wraps in 15 bits", 15, 32766,
			[]step{sync(100, 32767), in(101, 0), in(102, 1)}},
		{"sync, no drop", 16, 0,
			[]step{in(0, 0), in(1, 1), in(2, 2), sync(80, 3), in(81, 4), in(82, 5)}},
		{"sync first", 16, 0,
			[]step{sync(5000, 1), in(5001, 2), in(5003, 4)}},
		{"sync backwards", 16, 0,
			[]step{in(10, 10), sync(5, 11), in(6, 12)}},
		{"sync to 0", 16, 0,
			[]step{in(10, 10), sync(0, 11), in(1, 12)}},
		{"lost inputs leave a gap", 16, 0,
			[]step{in(0, 0), in(3, 3), in(2, 2), in(1, 1)}},
		{"a loss of half the range leaves no gap", 16, 0,
			[]step{in(0, 0), in(20000, drop), in(40000, 1), in(40001, 2), in(39999, 0)}},
		{"nor does it in 8 bits", 8, 0,
			[]step{in(0, 0), in(80, drop), in(160, 1), in(162, 3)}},
		{"drop in order", 16, 0,
			[]step{in(0, 0), in(1, drop), in(2, 1), in(3, drop), in(4, 2)}},
		{"drop, initial output", 16, 1000,
			[]step{in(0, 1000), in(1, drop), in(2, 1001), in(3, drop), in(4, 1002)}},
		{"drop over the wrap of 8 bits", 8, 0,
			[]step{in(254, 254), in(255, drop), in(0, 255), in(1, drop), in(2, 0)}},
		{"drop over the wrap of 15 bits", 15, 0,
			[]step{in(32766, 32766), in(32767, drop), in(0, 32767), in(1, drop), in(2, 0)}},
		{"drop over the wrap of 16 bits", 16, 0,
			[]step{in(65534, 65534), in(65535, drop), in(0, 65535), in(1, drop), in(2, 0)}},
		{"dropped and then received", 16, 0,
			[]step{in(0, 0), in(1, drop), in(2, 1), in(1, refused), in(3, 2)}},
		{"drop too late", 16, 0,
			[]step{in(0, 0), in(1, 1), in(3, 3), in(2, drop), in(4, 4), in(2, 2), in(5, 5)}},
		{"drops in disorder before the next forwarded", 16, 0,
			[]step{in(3, 3), in(6, drop), in(5, drop), in(4, drop), in(7, 4), in(5, refused)}},
		{"a drop older than a late forwarded one", 16, 0,
			[]step{in(3, 3), in(6, drop), in(5, 5), in(4, drop), in(7, 6)}},
		{"the same drop twice", 16, 0,
			[]step{in(3, 3), in(5, drop), in(4, drop), in(5, drop), in(4, drop), in(6, 4)}},
		{"late inputs between drops", 16, 0,
			[]step{in(0, 0), in(1, drop), in(3, drop), in(4, 2), in(2, 1), in(3, refused), in(5, 3)}},
		{"late inputs keep their outputs", 16, 0,
			[]step{
				in(0, 0), in(1, 1), in(3, drop), in(4, drop), in(5, drop), in(6, 3), in(4, refused),
				in(2, 2), in(7, drop), in(8, drop), in(9, 4), in(11, 6), in(8, refused), in(10, 5),
				in(2, 2), in(6, 3), in(0, 0),
			}},
		{"drop, then sync", 16, 0,
			[]step{in(0, 0), in(1, 1), in(2, drop), in(3, 2), sync(100, 3), in(101, drop), in(102, 4), in(2, 3+2-100+1<<16)}},
		{"sync forgets drops", 16, 0,
			[]step{in(0, 0), in(1, drop), sync(1, 1), in(2, 2)}},
		{"what Sync passed can't be dropped", 16, 0,
			[]step{in(0, 0), sync(200, 1), in(201, drop), in(199, drop), in(200, drop), in(202, 2)}},
		{"drop many at once", 16, 0,
			append(append([]step{in(1, 1)}, drops(2, 9)...), in(11, 2), in(12, 3), in(13, drop), in(14, 4))},
		{"drop many, high values", 16, 0,
			append(append([]step{in(1, 1)}, drops(32768, 9)...), in(32777, 32768))},
		{"drop many of 8 bits", 8, 0,
			append(append([]step{in(1, 1)}, drops(2, 100)...), in(102, 2), in(103, 3))},
		{"drops first", 16, 0,
			append(drops(1, 10), in(11, 1), in(12, 2), in(5, refused))},
		{"drops of an earlier cycle are forgotten", 8, 0,
			[]step{
				in(1, 1), in(2, drop), in(3, 2), in(129, 128), in(2, refused), in(130, 129), in(250, 249),
				in(2, 1), in(3, 2), in(130, 129),
			}},
		{"drops only, more than a cycle", 8, 0,
			append(append([]step{in(0, 0)}, drops(1, 700)...), in(701%256, 1))},
		{"a jump over the window", 16, 0,
			[]step{in(0, 0), in(1, drop), in(2, 1), in(9000, 8999), in(1, 0), in(9001, 9000)}},
		{"a jump back goes on", 16, 0,
			[]step{in(30000, 30000), in(30001, drop), in(30002, 30001), in(10000, 10000), in(10001, 10001)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := New(c.bits, c.initial)
			check(t, &m, c.steps)
			if c.bits != 8 {
				return
			}
			m8 := New(8, uint8(c.initial))
			check(t, &m8, c.steps)
		})
	}
}

func drops(first, n int) (s []step) {
	for i := range n {
		s = append(s, step{in: uint16(first + i), want: drop})
	}
	return s
}

func check[T uint8 | uint16](t *testing.T, m *Map[T], steps []step) {
	t.Helper()
	for i, s := range steps {
		x := T(s.in)
		if s.synced {
			m.Sync(x - 1)
		}
		if s.want == drop {
			m.Drop(x)
			continue
		}
		got, ok := m.Input(x)
		require.Equal(t, s.want != refused, ok, "step %d: Input(%d)", i, s.in)
		if ok {
			require.Equal(t, T(s.want), got, "step %d: Input(%d)", i, s.in)
		}
	}
}

func TestMaxOutput(t *testing.T) {
	m := New[uint16](15, 32760)
	m.Sync(999)
	var last uint16
	for x := uint16(1000); x < 1020; x++ {
		if x%3 == 0 {
			m.Drop(x)
			continue
		}
		out, ok := m.Input(x)
		require.True(t, ok)
		last = out
		assert.Equal(t, out, m.MaxOutput())
		assert.Equal(t, x, m.MaxInput())
	}
	out, ok := m.Input(1003)
	require.True(t, ok)
	assert.Equal(t, uint16(32763), out)
	assert.Equal(t, last, m.MaxOutput(), "a late input is not the newest output")
}

// A stream with losses, disorder and drops comes out without gaps but those of
// the losses, each output once and in the order of the inputs.
func TestMapRandom(t *testing.T) {
	for _, bits := range []int{8, 15, 16} {
		rnd := rand.New(rand.NewPCG(uint64(bits), 3))
		m := New[uint16](bits, 77)
		mask := uint16(1)<<bits - 1
		const n = 200_000
		// Drops are decided when the packet comes; a drop that comes after a
		// later input was forwarded leaves a gap.
		type pending struct{ at, x int }
		var queue []pending
		next, forwarded := 0, 0
		wants := map[int]uint16{} // output of each forwarded input
		m.Sync(uint16(0xffff) & mask)
		outputs, dropped := 0, 0
		for next < n {
			x := next
			next++
			switch v := rnd.IntN(100); {
			case v < 30: // dropped
				m.Drop(uint16(x) & mask)
				dropped++
			case v < 35 && x > forwarded: // late by up to 20
				queue = append(queue, pending{x + rnd.IntN(20), x})
				wants[x] = uint16(x-dropped+77+1) & mask
			default:
				wants[x] = uint16(x-dropped+77+1) & mask
				out, ok := m.Input(uint16(x) & mask)
				require.True(t, ok)
				require.Equal(t, wants[x], out, "%d bits, input %d", bits, x)
				forwarded = x
				outputs++
			}
			for len(queue) > 0 && queue[0].at <= x {
				late := queue[0].x
				queue = queue[1:]
				out, ok := m.Input(uint16(late) & mask)
				require.True(t, ok)
				require.Equal(t, wants[late], out, "%d bits, late input %d at %d", bits, late, x)
				delete(wants, late)
			}
			delete(wants, x-100)
		}
		assert.Greater(t, outputs, n/2)
	}
}

func TestMapMemory(t *testing.T) {
	if race {
		t.Skip("counts allocations")
	}
	for _, bits := range []int{8, 15, 16} {
		m := New[uint16](bits, 0)
		x := uint16(0)
		run := func() {
			for i := range 5000 {
				// Late, too, so that both ways of remembering are used.
				if i%7 == 0 {
					m.Input(x)
				} else {
					m.Drop(x + 1)
					m.Drop(x)
					x++
				}
				x++
			}
		}
		run()
		run()
		assert.Zero(t, testing.AllocsPerRun(20, run), "%d bits", bits)
		assert.LessOrEqual(t, 2*cap(m.dropped), 16<<10, "%d bits", bits)
	}
}

func BenchmarkMap(b *testing.B) {
	m := New[uint16](16, 0)
	x := uint16(0)
	for b.Loop() {
		if x%2 == 0 {
			m.Input(x)
		} else {
			m.Drop(x)
		}
		x++
	}
}

// What one input does must never panic, and dropped ones stay refused.
func FuzzMap(f *testing.F) {
	f.Add(uint8(16), []byte{0, 0, 1, 1, 0, 2, 2, 0, 3, 0, 0, 4})
	f.Add(uint8(8), []byte{0, 0, 254, 1, 0, 255, 1, 1, 0, 0, 1, 1})
	f.Add(uint8(15), []byte{1, 127, 255, 0, 0, 0, 2, 128, 0})
	f.Fuzz(func(t *testing.T, bits uint8, ops []byte) {
		b := []int{8, 15, 16}[bits%3]
		m := New[uint16](b, 5)
		for ; len(ops) >= 3; ops = ops[3:] {
			x := uint16(ops[1])<<8 | uint16(ops[2])
			switch ops[0] % 3 {
			case 0:
				if out, ok := m.Input(x); ok && out != out&m.mask {
					t.Fatalf("Input(%d) = %d in %d bits", x, out, b)
				}
			case 1:
				m.Drop(x)
				if n := len(m.dropped); n > 0 && m.dropped[n-1] == x&m.mask {
					if _, ok := m.Input(x); ok {
						t.Fatalf("Input(%d) after Drop", x)
					}
				}
			case 2:
				m.Sync(x)
				maxOutput := m.MaxOutput()
				if out, ok := m.Input(x + 1); !ok || out != (maxOutput+1)&m.mask {
					t.Fatalf("Input(%d) after Sync(%d) = %d, %t", x+1, x, out, ok)
				}
			}
			for i := m.head + 1; i < len(m.dropped); i++ {
				if !m.newer(m.dropped[i], m.dropped[i-1]) {
					t.Fatalf("disorder: %v", m.dropped[m.head:])
				}
			}
		}
	})
}
