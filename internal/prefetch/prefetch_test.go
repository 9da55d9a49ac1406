package prefetch

import (
	"math/rand/v2"
	"testing"
)

// TestOf asks for memory of all lengths, on its way over what may not be read.
func TestOf(t *testing.T) {
	t.Parallel()
	Of[[1 << 20]byte](nil)
	Of(new(byte))
	Head(new(byte), 1000)
	Head(new([1000]byte), 65)
	Of(new([line]byte))
	Of(new(struct{ a, b [100]int64 }))
}

// BenchmarkOf walks through peers whose state is in no cache, with and without
// asking for that of the next but one.
func BenchmarkOf(b *testing.B) {
	type peer [line]int64
	peers := make([]*peer, 1<<16) // 32 MiB
	for i := range peers {
		peers[i] = new(peer)
	}
	rand.Shuffle(len(peers), func(i, k int) { peers[i], peers[k] = peers[k], peers[i] })
	for _, ahead := range []int{0, 2} {
		b.Run(map[int]string{0: "without", 2: "with"}[ahead], func(b *testing.B) {
			i := 0
			for b.Loop() {
				if ahead > 0 {
					Of(peers[(i+ahead)&(len(peers)-1)])
				}
				p := peers[i&(len(peers)-1)]
				var sum int64
				for k := 0; k < len(p); k += 8 { // each line waits for the one before
					sum += p[(int64(k)+sum)&(line-1)]
				}
				p[0] = sum
				i++
			}
		})
	}
}
