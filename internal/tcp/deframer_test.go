package tcp

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

const headroom = 16

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

// feed reads stream in chunks of the sizes that size returns and compares what
// comes out with the naive way.
func feed(t testing.TB, stream []byte, size func() int) {
	t.Helper()
	want, tooLong := naive(stream)
	d := Deframer{Headroom: headroom}
	i, bad := 0, false
	frame := func(b []byte) {
		t.Helper()
		if i == len(want) || !bytes.Equal(b, want[i]) {
			t.Fatalf("frame %d of %d differs", i, len(want))
		}
		i++
	}
	for len(stream) > 0 && !bad {
		chunk := stream[:min(max(size(), 1), len(stream))]
		if space := d.Space(); space != nil {
			if len(space) == 0 {
				t.Fatal("no space")
			}
			n := copy(space, chunk)
			stream = stream[n:]
			var b []byte
			if b, bad = d.Filled(n); b != nil {
				if cap(b)-len(b) < headroom {
					t.Fatal("no headroom")
				}
				frame(b)
			}
			continue
		}
		stream = stream[len(chunk):]
		for {
			b, rest, ok, tooLong := d.Next(chunk)
			if !ok {
				bad = tooLong
				d.Keep(rest)
				break
			}
			frame(b)
			chunk = rest
		}
	}
	if i != len(want) || bad != tooLong {
		t.Fatalf("%d frames, too long %t; want %d, %t", i, bad, len(want), tooLong)
	}
}

func TestDeframer(t *testing.T) {
	t.Parallel()
	long := AppendFrame(nil, bytes.Repeat([]byte{7}, MaxPayload))
	for _, c := range []struct {
		name   string
		stream []byte
		frames int
	}{
		{"nothing", nil, 0},
		{"half a header", []byte{0}, 0},
		{"one", []byte{0, 1, 9}, 1},
		{"two and a part", []byte{0, 1, 9, 0, 2, 1, 2, 0, 3, 1, 2}, 2},
		{"empty ones", []byte{0, 0, 0, 0, 0, 1, 9, 0, 0}, 1},
		{"longest", long, 1},
		{"longest after another", append([]byte{0, 1, 9}, long...), 2},
		{"too long", []byte{0, 1, 9, 0xff, 0xff, 1}, 1},
	} {
		frames, _ := naive(c.stream)
		require.Len(t, frames, c.frames, c.name)
		for _, size := range []int{1, 2, 3, 1000, 65535, 1 << 20} {
			feed(t, c.stream, func() int { return size })
		}
	}
}

// TestMemory announces a lot and sends little.
func TestMemory(t *testing.T) {
	t.Parallel()
	var d Deframer
	_, rest, ok, bad := d.Next([]byte{0xff, 0xf0, 1})
	require.False(t, ok || bad)
	d.Keep(rest)
	require.LessOrEqual(t, len(d.Space()), 2048)
	grown, size := 0, cap(d.part)
	for range 3000 {
		d.Space()[0] = 1
		if cap(d.part) != size {
			grown, size = grown+1, cap(d.part)
		}
		frame, bad := d.Filled(1)
		require.Nil(t, frame)
		require.False(t, bad)
	}
	require.LessOrEqual(t, size, 4*3003)
	require.LessOrEqual(t, grown, 3, "not with every byte")
}

// TestStreams sends random payloads in random chunks.
func TestStreams(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(5, 6))
	for range 30 {
		var stream []byte
		for range 60 {
			n := []int{0, 1, rng.IntN(100), 1200, rng.IntN(MaxPayload + 1)}[rng.IntN(5)]
			p := make([]byte, n)
			for i := range p {
				p[i] = byte(rng.Uint32())
			}
			stream = AppendFrame(stream, p)
		}
		limit := []int{3, 1500, 70000}[rng.IntN(3)]
		feed(t, stream, func() int { return 1 + rng.IntN(limit) })
	}
}

func TestAppendFrame(t *testing.T) {
	t.Parallel()
	require.Equal(t, []byte{1, 0, 2, 8, 9}, AppendFrame([]byte{1}, []byte{8, 9}))
	require.Equal(t, []byte{0, 0}, AppendFrame(nil, nil))
	require.Empty(t, AppendFrame(nil, make([]byte, MaxPayload+1)))
	require.Len(t, AppendFrame(nil, make([]byte, MaxPayload)), HeaderSize+MaxPayload)
}

func FuzzDeframer(f *testing.F) {
	f.Add([]byte{0, 1, 9, 0, 2, 1, 2, 0, 3, 1, 2}, uint64(1))
	f.Add([]byte{0, 0, 0, 0, 0, 1, 9, 0, 0, 0xff, 0xff}, uint64(2))
	f.Add([]byte("\x00\x05hello\x00\x00\x00\x03you"), uint64(1500))
	f.Add(append([]byte{0x80, 0}, make([]byte, 0x8000)...), uint64(40000))
	f.Fuzz(func(t *testing.T, stream []byte, seed uint64) {
		chunk := 1 + int(seed%70000)
		// Repeated, a short stream makes long ones of many frames as well.
		if chunk > 1000 && len(stream) > 0 {
			stream = bytes.Repeat(stream, 1+100000/len(stream))
		}
		rng := rand.New(rand.NewPCG(seed, 0))
		feed(t, stream, func() int { return 1 + rng.IntN(chunk) })
	})
}

func BenchmarkDeframer(b *testing.B) {
	var stream []byte
	for range 10 {
		stream = AppendFrame(stream, make([]byte, 1200))
	}
	var d Deframer
	b.ReportAllocs()
	b.SetBytes(int64(len(stream)))
	for b.Loop() {
		for _, rest, ok, _ := d.Next(stream); ok; _, rest, ok, _ = d.Next(rest) {
		}
	}
}
