package srtp

import (
	"math/rand/v2"
	"testing"

	"github.com/pion/transport/v4/replaydetector"
	"github.com/stretchr/testify/require"
)

// followDetector compares a window with Pion's detector: each step goes so far
// ahead or back, and the index counts if it was fresh and take says so.
func followDetector(t *testing.T, start uint64, steps []int16, take func() bool) {
	t.Helper()
	var w window
	d := replaydetector.New(Window, maxRTPIndex)
	index := int64(start)
	for i, step := range steps {
		if index+int64(step) >= 0 {
			index += int64(step)
		}
		accept, want := d.Check(uint64(index))
		if got := w.fresh(uint64(index)); got != want {
			t.Fatalf("step %d: fresh(%d) = %v, want %v; newest %d", i, index, got, want, w.newest)
		}
		if want && take() {
			accept()
			w.accept(uint64(index))
		}
	}
}

func TestWindow(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for _, spread := range []int{2, 10, 500, 3000} {
		steps := make([]int16, 20_000)
		for i := range steps {
			steps[i] = int16(random.IntN(2*spread) - spread + 1)
		}
		followDetector(t, 5000, steps, func() bool { return random.IntN(8) > 0 })
	}
	// At the edges.
	followDetector(t, 5000, []int16{0, Window - 1, 1 - Window, 0, Window, -1, 1, -Window, 0}, func() bool { return true })

	var w window
	for _, c := range []struct {
		index uint64
		fresh bool
	}{
		{0, true}, {0, false}, {maxRTPIndex, true}, {maxRTPIndex, false}, {maxRTPIndex - Window, false},
		{maxRTPIndex - Window + 1, true}, {maxRTPIndex - Window + 1, false}, {0, false},
	} {
		require.Equal(t, c.fresh, w.fresh(c.index), c.index)
		if c.fresh {
			w.accept(c.index)
		}
	}
}

// FuzzWindow compares a window with Pion's detector.
func FuzzWindow(f *testing.F) {
	f.Add(uint64(7), []byte{1, 0, 0xff, 0xff, 4, 0, 0xfc, 0x03})
	f.Fuzz(func(t *testing.T, start uint64, b []byte) {
		var steps []int16
		for ; len(b) >= 2; b = b[2:] {
			steps = append(steps, int16(b[0])|int16(b[1])<<8)
		}
		followDetector(t, start%(1<<40)+1, steps, func() bool { return true })
	})
}
