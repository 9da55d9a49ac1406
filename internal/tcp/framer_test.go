package tcp

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// naive cuts a whole stream into payloads; tooLong tells that it stopped early.
func naive(b []byte) (payloads [][]byte, tooLong bool) {
	for len(b) >= 2 {
		n := int(b[0])<<8 | int(b[1])
		if n > 65534 {
			return payloads, true
		}
		if len(b) < 2+n {
			break
		}
		if n > 0 {
			payloads = append(payloads, b[2:2+n])
		}
		b = b[2+n:]
	}
	return payloads, false
}

// feed gives stream to f in chunks of the sizes that size returns and compares
// what comes out with want.
func feed(t testing.TB, f *Framer, stream []byte, want [][]byte, size func() int) {
	t.Helper()
	i := 0
	for len(stream) > 0 && f.Err() == nil {
		space := f.Space()
		if len(space) == 0 {
			t.Fatal("no space though all frames were taken")
		}
		n := copy(space, stream[:min(max(size(), 1), len(stream))])
		f.Filled(n)
		stream = stream[n:]
		for p, ok := f.Next(); ok; p, ok = f.Next() {
			if i == len(want) || !bytes.Equal(p, want[i]) {
				t.Fatalf("frame %d of %d differs", i, len(want))
			}
			i++
		}
	}
	if i != len(want) {
		t.Fatalf("%d frames, want %d", i, len(want))
	}
}

func constant(n int) func() int { return func() int { return n } }

func TestFramer(t *testing.T) {
	t.Parallel()
	long := bytes.Repeat([]byte{7}, MaxPayload)
	for _, c := range []struct {
		name   string
		stream []byte
		want   [][]byte
		err    error
	}{
		{"nothing", nil, nil, nil},
		{"half a header", []byte{0}, nil, nil},
		{"one", []byte{0, 1, 9}, [][]byte{{9}}, nil},
		{"two and a part", []byte{0, 1, 9, 0, 2, 1, 2, 0, 3, 1, 2}, [][]byte{{9}, {1, 2}}, nil},
		{"empty ones", []byte{0, 0, 0, 0, 0, 1, 9, 0, 0}, [][]byte{{9}}, nil},
		{"longest", AppendFrame(nil, long), [][]byte{long}, nil},
		{"longest after another", append([]byte{0, 1, 9}, AppendFrame(nil, long)...), [][]byte{{9}, long}, nil},
		{"too long", []byte{0, 1, 9, 0xff, 0xff, 1}, [][]byte{{9}}, ErrFrameTooLong},
	} {
		for _, size := range []int{1, 2, 3, 1000, 65535, 1 << 20} {
			var f Framer
			feed(t, &f, c.stream, c.want, constant(size))
			require.Equal(t, c.err, f.Err(), c.name)
			if c.err != nil {
				_, ok := f.Next()
				require.False(t, ok)
				require.Empty(t, f.Space())
				require.Zero(t, f.Append([]byte{1}))
			}
		}
	}
}

func TestAppend(t *testing.T) {
	t.Parallel()
	var f Framer
	stream := bytes.Repeat([]byte{0, 1, 5}, 50000)
	count := 0
	for len(stream) > 0 {
		n := f.Append(stream)
		require.NotZero(t, n)
		stream = stream[n:]
		for _, ok := f.Next(); ok; _, ok = f.Next() {
			count++
		}
	}
	require.Equal(t, 50000, count)

	require.Equal(t, BufferSize, f.Append(make([]byte, BufferSize+1)))
	require.Zero(t, f.Append([]byte{1}), "full until Next is called")
	f.Filled(10)
	f.Filled(-1)
	_, ok := f.Next()
	require.False(t, ok)
	require.Equal(t, 1, f.Append([]byte{1}))
}

func TestAppendFrame(t *testing.T) {
	t.Parallel()
	require.Equal(t, []byte{1, 0, 2, 8, 9}, AppendFrame([]byte{1}, []byte{8, 9}))
	require.Equal(t, []byte{0, 0}, AppendFrame(nil, nil))
	require.Empty(t, AppendFrame(nil, make([]byte, MaxPayload+1)))
	require.Len(t, AppendFrame(nil, make([]byte, MaxPayload)), BufferSize)
	require.Equal(t, []byte{1, 2}, AppendHeader(nil, 258))
}

// TestStreams sends random payloads in random chunks.
func TestStreams(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(5, 6))
	for range 30 {
		var stream []byte
		var want [][]byte
		for range 60 {
			n := []int{0, 1, rng.IntN(100), 1200, rng.IntN(MaxPayload + 1)}[rng.IntN(5)]
			p := make([]byte, n)
			for i := range p {
				p[i] = byte(rng.Uint32())
			}
			stream = AppendFrame(stream, p)
			if n > 0 {
				want = append(want, p)
			}
		}
		limit := []int{3, 1500, 70000}[rng.IntN(3)]
		var f Framer
		feed(t, &f, stream, want, func() int { return 1 + rng.IntN(limit) })
	}
}

func FuzzFramer(f *testing.F) {
	f.Add([]byte{0, 1, 9, 0, 2, 1, 2, 0, 3, 1, 2}, uint64(1))
	f.Add([]byte{0, 0, 0, 0, 0, 1, 9, 0, 0, 0xff, 0xff}, uint64(2))
	f.Add([]byte("\x00\x05hello\x00\x00\x00\x03you"), uint64(1500))
	f.Add(append([]byte{0x80, 0}, make([]byte, 0x8000)...), uint64(40000))
	f.Fuzz(func(t *testing.T, stream []byte, seed uint64) {
		chunk := 1 + int(seed%70000)
		// Repeated, a short stream goes around the buffer as well.
		if chunk > 1000 && len(stream) > 0 {
			stream = bytes.Repeat(stream, 1+100000/len(stream))
		}
		want, tooLong := naive(stream)
		rng := rand.New(rand.NewPCG(seed, 0))
		var framer Framer
		feed(t, &framer, stream, want, func() int { return 1 + rng.IntN(chunk) })
		require.Equal(t, tooLong, framer.Err() != nil)
	})
}

func BenchmarkFramer(b *testing.B) {
	var stream []byte
	for range 10 {
		stream = AppendFrame(stream, make([]byte, 1200))
	}
	var f Framer
	b.ReportAllocs()
	b.SetBytes(int64(len(stream)))
	for b.Loop() {
		f.Append(stream)
		for _, ok := f.Next(); ok; _, ok = f.Next() {
		}
	}
}
