package interop

import (
	"encoding/binary"
	"hash/fnv"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// frames takes the raw pictures that a program has decoded: I420, all of one
// size, one after the other.
type frames struct {
	size int // bytes of a picture

	mu    sync.Mutex
	part  []byte          // of the next picture; guarded by mu
	times []time.Time     // of each picture; guarded by mu
	seen  map[uint64]bool // hashes; guarded by mu
}

func newFrames(width, height int) *frames {
	return &frames{size: width * height * 3 / 2, seen: map[uint64]bool{}}
}

func (f *frames) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.part = append(f.part, b...)
	for len(f.part) >= f.size {
		h := fnv.New64a()
		h.Write(f.part[:f.size])
		f.seen[h.Sum64()] = true
		f.times = append(f.times, time.Now())
		f.part = append([]byte(nil), f.part[f.size:]...)
	}
	return len(b), nil
}

// take returns how many pictures came in how long, and how many of them
// differ, and starts afresh.
func (f *frames) take() (n, different int, fps float64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, different = len(f.times), len(f.seen)
	if n > 1 {
		fps = float64(n-1) / f.times[n-1].Sub(f.times[0]).Seconds()
	}
	f.times, f.seen = nil, map[uint64]bool{}
	return n, different, fps
}

// started reports whether a picture came since the last take.
func (f *frames) started() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.times) > 0
}

// samples takes decoded sound: 16 bit, one channel, 48 kHz.
type samples struct {
	mu      sync.Mutex
	odd     []byte  // half a sample; guarded by mu
	n       int     // guarded by mu
	squares float64 // guarded by mu
	rising  int     // passes through zero; guarded by mu
	last    float64 // guarded by mu
}

func (s *samples) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	in := append(s.odd, b...)
	for ; len(in) >= 2; in = in[2:] {
		v := float64(int16(binary.LittleEndian.Uint16(in))) / math.MaxInt16
		if s.last < 0 && v >= 0 {
			s.rising++
		}
		s.last = v
		s.squares += v * v
		s.n++
	}
	s.odd = append([]byte(nil), in...)
	return len(b), nil
}

// take returns seconds of sound, its frequency and loudness (root mean
// square, 1 is full scale), and starts afresh.
func (s *samples) take() (seconds, frequency, rms float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n > 0 {
		seconds = float64(s.n) / 48000
		frequency = float64(s.rising) / seconds
		rms = math.Sqrt(s.squares / float64(s.n))
	}
	s.n, s.squares, s.rising = 0, 0, 0
	return seconds, frequency, rms
}

func (s *samples) started() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n > 0
}

func TestFrames(t *testing.T) {
	f := newFrames(4, 2)
	f.Write([]byte("abcdefghijklABCDEFGHIJKLabc"))
	f.Write([]byte("defghijkl12"))
	n, different, _ := f.take()
	require.Equal(t, []int{3, 2}, []int{n, different})
}

func TestSamples(t *testing.T) {
	s := &samples{}
	for i := range 48000 {
		v := int16(16000 * math.Sin(2*math.Pi*440*float64(i)/48000))
		b := binary.LittleEndian.AppendUint16(nil, uint16(v))
		s.Write(b[:1])
		s.Write(b[1:])
	}
	seconds, frequency, rms := s.take()
	require.Equal(t, 1.0, seconds)
	require.InDelta(t, 440, frequency, 2)
	require.InDelta(t, 16000.0/32767/math.Sqrt2, rms, 0.01)
}
