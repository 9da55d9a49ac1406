package rtx

import (
	"math/rand/v2"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/packetbuf"
	"github.com/mafalda-sfu/mafalda/internal/seqnum"
)

// pkt is a packet given to a ring with a clock of 90 kHz and an age of 2 s.
type pkt struct {
	seq  uint16
	ts   uint32
	want Outcome
}

// slots reads what a ring holds, oldest first, with zeroes for blanks.
func slots(r *ring[Entry]) (list [][2]uint32) {
	for ext := r.first; ext <= r.last; ext++ {
		if r.blank(ext) {
			list = append(list, [2]uint32{})
			continue
		}
		list = append(list, [2]uint32{uint32(uint16(ext)), r.at(ext).timestamp})
	}
	return list
}

// TestRules follows the cases of upstream's TestRetransmissionBuffer.
func TestRules(t *testing.T) {
	const second = 90_000
	tests := map[string]struct {
		in   []pkt
		want [][2]uint32
	}{
		"in order": {
			[]pkt{{1, 100, Stored}, {2, 200, Stored}, {3, 200, Stored}},
			[][2]uint32{{1, 100}, {2, 200}, {3, 200}},
		},
		"out of order": {
			[]pkt{{20000, 2, Stored}, {20002, 4, Stored}, {19998, 1, Stored}, {20001, 3, Stored}, {19999, 2, Stored}},
			[][2]uint32{{19998, 1}, {19999, 2}, {20000, 2}, {20001, 3}, {20002, 4}},
		},
		"over the wrap": {
			[]pkt{{65534, 4294967290, Stored}, {1, 20, Stored}, {65535, 4294967295, Stored}},
			[][2]uint32{{65534, 4294967290}, {65535, 4294967295}, {}, {1, 20}},
		},
		"duplicates": {
			[]pkt{{1, 100, Stored}, {2, 200, Stored}, {1, 100, Duplicate}, {2, 200, Duplicate}, {2, 150, Duplicate}},
			[][2]uint32{{1, 100}, {2, 200}},
		},
		"too far ahead empties": {
			[]pkt{{1, 100, Stored}, {2, 200, Stored}, {2 + maxSlots, 300, Stored}},
			[][2]uint32{{2 + maxSlots, 300}},
		},
		"older packet, newer time: numbering went back": {
			[]pkt{{2000, 100, Stored}, {2001, 200, Stored}, {1000, 300, Stored}},
			[][2]uint32{{1000, 300}},
		},
		"newer packet, older time is not stored": {
			[]pkt{{1, 100, Stored}, {2, 50, Refused}, {3, 100, Stored}},
			[][2]uint32{{1, 100}, {}, {3, 100}},
		},
		"too old a time is removed": {
			[]pkt{{1, 0, Stored}, {3, second, Stored}, {4, 2*second + 1, Stored}},
			[][2]uint32{{3, second}, {4, 2*second + 1}},
		},
		"exactly two seconds stays": {
			[]pkt{{1, 0, Stored}, {2, 2 * second, Stored}},
			[][2]uint32{{1, 0}, {2, 2 * second}},
		},
		"all too old": {
			[]pkt{{1, 0, Stored}, {2, 1, Stored}, {3, 5 * second, Stored}},
			[][2]uint32{{3, 5 * second}},
		},
		"late and too old": {
			[]pkt{{10, 3 * second, Stored}, {9, second - 1, Refused}, {8, second, Stored}},
			[][2]uint32{{8, second}, {}, {10, 3 * second}},
		},
		"late with a time newer than the oldest": {
			[]pkt{{10, 100, Stored}, {12, 200, Stored}, {9, 150, Refused}},
			[][2]uint32{{10, 100}, {}, {12, 200}},
		},
		"late and too far behind": {
			[]pkt{{maxSlots, 100, Stored}, {1, 100, Stored}, {0, 100, Refused}},
			nil,
		},
		"between with a time that contradicts": {
			[]pkt{{10, 100, Stored}, {15, 200, Stored}, {12, 99, Refused}, {12, 201, Stored}},
			[][2]uint32{{12, 201}},
		},
		"between two": {
			[]pkt{{10, 100, Stored}, {15, 200, Stored}, {13, 150, Stored}, {11, 151, Refused}, {14, 149, Refused}, {12, 120, Stored}},
			[][2]uint32{{10, 100}, {}, {12, 120}, {13, 150}, {}, {15, 200}},
		},
		"full: the oldest goes with its blanks": {
			[]pkt{{1, 100, Stored}, {5, 100, Stored}, {1 + maxSlots, 100, Stored}},
			nil,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRing[Entry](VideoAge, second, nil)
			for i, p := range test.in {
				require.Equal(t, p.want, r.insert(p.seq, p.ts, Entry{Ref: 1}), "packet %d", i)
			}
			if test.want != nil {
				assert.Equal(t, test.want, slots(&r))
			}
			check(t, &r)
		})
	}
}

// check verifies what must be true of every ring.
func check(t *testing.T, r *ring[Entry]) {
	t.Helper()
	used := 0
	for i := range r.slots {
		if r.slots[i].item.Ref != 0 {
			used++
		}
	}
	if r.empty() {
		require.Zero(t, used)
		return
	}
	require.LessOrEqual(t, r.last-r.first+1, int64(maxSlots))
	require.False(t, r.blank(r.first), "oldest is blank")
	require.False(t, r.blank(r.last), "newest is blank")
	seen, last := 0, r.at(r.first).timestamp
	for ext := r.first; ext <= r.last; ext++ {
		if !r.blank(ext) {
			seen++
			require.False(t, seqnum.Newer32(last, r.at(ext).timestamp), "time goes back")
			last = r.at(ext).timestamp
		}
	}
	require.Equal(t, used, seen, "an item outside of the window")
}

// TestHolds gives a Store packets in wild order and counts holds.
func TestHolds(t *testing.T) {
	pool := packetbuf.NewPool(64, 256, 10_000)
	s := NewStore(VideoAge, 90_000, pool.Release)
	rnd := rand.New(rand.NewPCG(1, 2))
	seq, ts := uint16(0), uint32(0)
	for i := range 100_000 {
		seq += uint16(rnd.IntN(4))
		ts += uint32(rnd.IntN(900))
		n, at := seq, ts
		switch rnd.IntN(200) {
		case 0:
			n = uint16(rnd.Uint32())
		case 1:
			at = rnd.Uint32()
		case 2, 3, 4, 5:
			n -= uint16(rnd.IntN(50))
			at -= uint32(rnd.IntN(5000))
		}
		ref := pool.Get()
		require.NotZero(t, ref)
		if s.Insert(n, at, Entry{Ref: ref, Info: uint32(i)}) == Stored {
			e, ok := s.Lookup(n)
			require.True(t, ok)
			require.Equal(t, uint32(i), e.Info)
		} else {
			pool.Release(ref)
		}
		if i%1000 == 0 {
			check(t, &s.ring)
		}
	}
	assert.NotZero(t, pool.InUse())
	s.Clear()
	assert.Zero(t, pool.InUse())
	assert.Zero(t, s.Size())
}

func TestMap(t *testing.T) {
	const ms = time.Millisecond
	m := NewMap(VideoAge, 90_000)
	_, ok := m.Lookup(0, 1)
	require.False(t, ok, "empty")
	want := Item{Stream: 3, Ingress: 65535, Timestamp: 12345, Marker: true, HasPicture: true, PictureID: 1<<15 - 1, TL0PICIDX: 255}
	require.Equal(t, Stored, m.Insert(0, 1000, want))
	require.Equal(t, Duplicate, m.Insert(0, 1000, want))
	require.Equal(t, Stored, m.Insert(0, 1001, Item{Timestamp: 12345}))
	got, ok := m.Lookup(0, 1000)
	require.True(t, ok)
	assert.Equal(t, want, got)
	got, ok = m.Lookup(0, 1001)
	require.True(t, ok)
	assert.Equal(t, Item{Timestamp: 12345}, got)
	_, ok = m.Lookup(0, 1002)
	assert.False(t, ok, "never sent")

	due := func(now time.Duration) bool {
		_, ok := m.Due(now, 100*ms, 1000)
		return ok
	}
	assert.True(t, due(5*ms))
	assert.True(t, m.Resent(5*ms, 1000), "first time")
	assert.False(t, due(5*ms))
	assert.False(t, due(105*ms), "one round trip")
	assert.True(t, due(106*ms))
	assert.False(t, m.Resent(106*ms, 1000), "second time")
	assert.False(t, due(200*ms))
	_, ok = m.Lookup(10*time.Second, 1000)
	assert.True(t, ok)
	_, ok = m.Lookup(10*time.Second+1, 1000)
	assert.False(t, ok, "stale")

	m.Clear()
	_, ok = m.Lookup(0, 1000)
	assert.False(t, ok)
	assert.Zero(t, m.Size())
}

// TestMapSize holds a Consumer to its budget: 110 packets/s of video fit 2 KiB.
func TestMapSize(t *testing.T) {
	assert.Equal(t, uintptr(8), unsafe.Sizeof(slot[mapped]{}))
	assert.Equal(t, uintptr(16), unsafe.Sizeof(slot[Entry]{}))
	m := NewMap(VideoAge, 90_000)
	assert.Zero(t, m.Size())
	for i := range 5000 {
		require.Equal(t, Stored, m.Insert(0, uint16(i), Item{Timestamp: uint32(i * 90_000 / 110)}))
	}
	assert.Equal(t, 256*8, m.Size())
	for i := range 70_000 {
		m.Insert(0, uint16(5000+i), Item{Timestamp: uint32(5000*90_000/110 + i)})
	}
	assert.Equal(t, 4096*8, m.Size(), "the most it takes")
}

// TestMapMore lets a Map grow that has items with pictures and resent ones.
func TestMapMore(t *testing.T) {
	const ms = time.Millisecond
	m := NewMap(VideoAge, 90_000)
	want := func(i int) Item {
		x := Item{Timestamp: uint32(i * 10), Ingress: uint16(i + 7), Stream: uint8(i % MaxStreams), Marker: i%4 == 0}
		if i%3 == 0 {
			x.HasPicture, x.PictureID, x.TL0PICIDX = true, uint16(i), uint8(i)
		}
		return x
	}
	const first = 65_000 // the numbers wrap
	for i := range 5000 {
		require.Equal(t, Stored, m.Insert(0, uint16(first+i), want(i)))
		if i%5 == 0 {
			require.True(t, m.Resent(time.Duration(i)*ms, uint16(first+i)))
		}
		if i%100 != 99 {
			continue
		}
		for k := max(0, i-maxSlots+1); k <= i; k++ {
			got, ok := m.Lookup(0, uint16(first+k))
			require.True(t, ok)
			require.Equal(t, want(k), got)
			_, due := m.Due(time.Duration(k)*ms, ms, uint16(first+k))
			require.Equal(t, k%5 != 0, due)
		}
	}
	assert.Equal(t, 4096*(8+6), m.Size())
}

func TestNoAllocation(t *testing.T) {
	if race {
		t.Skip("the race detector allocates")
	}
	s := NewStore(VideoAge, 90_000, func(packetbuf.Ref) {})
	m := NewMap(VideoAge, 90_000)
	seq, ts := uint16(0), uint32(0)
	turn := func() {
		for range 1000 {
			seq++
			ts += 450
			s.Insert(seq, ts, Entry{Ref: 1})
			m.Insert(0, seq+7, Item{Ingress: seq, Timestamp: ts})
			if i, ok := m.Due(0, 0, seq); ok {
				s.Lookup(i.Ingress)
				m.Resent(0, seq)
			}
		}
	}
	turn()
	assert.Zero(t, testing.AllocsPerRun(10, turn))
}

func FuzzRing(f *testing.F) {
	f.Add([]byte{0, 1, 0, 0, 0, 2, 0, 9, 0, 1, 0, 200})
	f.Add([]byte{255, 255, 0, 1, 0, 0, 0, 2, 9, 255, 255, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		held := 0
		r := newRing[Entry](VideoAge, 1000, func(Entry) { held-- })
		seq, ts := uint16(0), uint32(0)
		for ; len(data) >= 4; data = data[4:] {
			seq += uint16(data[0])<<8 | uint16(data[1])
			ts += uint32(int32(int16(uint16(data[2])<<8 | uint16(data[3]))))
			if r.insert(seq, ts, Entry{Ref: 1}) == Stored {
				held++
				require.NotNil(t, r.get(seq))
			}
			check(t, &r)
		}
		r.reset()
		require.Zero(t, held)
	})
}

func BenchmarkMapInsert(b *testing.B) {
	m := NewMap(VideoAge, 90_000)
	b.ReportAllocs()
	seq, ts := uint16(0), uint32(0)
	for b.Loop() {
		seq++
		ts += 900
		m.Insert(0, seq, Item{Ingress: seq, Timestamp: ts, Marker: true})
	}
}
