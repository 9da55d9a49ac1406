package aesgcm

import (
	"bytes"
	"crypto/aes"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func random(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// check seals with crypto/cipher, apart and in place, and compares. The bytes
// around the result must stay what they were.
func check(t *testing.T, key, plain, nonce, aad []byte) {
	t.Helper()
	s, err := New(key)
	require.NoError(t, err)
	n := [NonceSize]byte(nonce)
	want := standard(key).Seal(nil, nonce, plain, aad)
	const guard = 70
	for _, inPlace := range []bool{false, true} {
		out := bytes.Repeat([]byte{0xa5}, guard+len(want)+guard)
		dst, src := out[guard:][:len(want)], append(make([]byte, 0, len(plain)), plain...)
		if inPlace {
			src = dst[:copy(dst, plain)]
		}
		s.Seal(dst, src, &n, aad)
		if !bytes.Equal(dst, want) {
			t.Fatalf("key of %d, %d bytes with %d additional ones, in place %v:\n got %x\nwant %x",
				len(key), len(plain), len(aad), inPlace, dst, want)
		}
		for i, b := range out {
			if (i < guard || i >= guard+len(want)) && b != 0xa5 {
				t.Fatalf("%d bytes: wrote %d bytes from the begin", len(plain), i-guard)
			}
		}
		if !inPlace && !bytes.Equal(src, plain) {
			t.Fatal("changed the source")
		}
	}
}

// TestSeal compares with crypto/cipher: all lengths up to a packet's, all
// lengths of a header.
func TestSeal(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{16, 32} {
		for n := range 1500 {
			check(t, random(r, size), random(r, n), random(r, NonceSize), random(r, n%100))
		}
		for n := range 130 {
			check(t, random(r, size), random(r, 1100), random(r, NonceSize), random(r, n))
			check(t, random(r, size), nil, random(r, NonceSize), random(r, n))
		}
	}
}

// TestLong has more blocks than the low byte of a counter counts.
func TestLong(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	for _, n := range []int{255 * 16, 4096, 4097, 65536, 70001} {
		check(t, random(r, 16), random(r, n), random(r, NonceSize), random(r, 12))
	}
}

func TestNew(t *testing.T) {
	t.Parallel()
	for n := range 40 {
		_, err := New(make([]byte, n))
		if n == 16 || n == 32 {
			require.NoError(t, err)
			continue
		}
		require.Equal(t, aes.KeySizeError(n), err)
	}
}

// TestReuse seals many packets with one Sealer, long headers among them.
func TestReuse(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 6))
	for _, size := range []int{16, 32} {
		key := random(r, size)
		s, err := New(key)
		require.NoError(t, err)
		for range 500 {
			plain, aad := random(r, r.IntN(1300)), random(r, r.IntN(90))
			nonce := [NonceSize]byte(random(r, NonceSize))
			got := make([]byte, len(plain)+Overhead)
			s.Seal(got, plain, &nonce, aad)
			require.Equal(t, standard(key).Seal(nil, nonce[:], plain, aad), got)
		}
	}
}

func TestShortDestination(t *testing.T) {
	t.Parallel()
	s, err := New(make([]byte, 16))
	require.NoError(t, err)
	require.Panics(t, func() { s.Seal(make([]byte, 115), make([]byte, 100), new([NonceSize]byte), nil) })
}

func TestAllocations(t *testing.T) {
	s, err := New(make([]byte, 16))
	require.NoError(t, err)
	b, aad, nonce := make([]byte, 1200), make([]byte, 32), new([NonceSize]byte)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		nonce[11]++
		s.Seal(b, b[:1184], nonce, aad)
	}))
}

// FuzzSeal compares with crypto/cipher.
func FuzzSeal(f *testing.F) {
	f.Add(make([]byte, 32), []byte("some text"), make([]byte, 20), true)
	f.Add(bytes.Repeat([]byte{7}, 44), bytes.Repeat([]byte{8}, 300), bytes.Repeat([]byte{9}, 64), false)
	f.Fuzz(func(t *testing.T, secret, plain, aad []byte, long bool) {
		secret = append(secret, make([]byte, 44)...)
		size := 16
		if long {
			size = 32
		}
		check(t, secret[:size], plain, secret[size:][:NonceSize], aad)
	})
}

func BenchmarkSeal(b *testing.B) {
	for name, size := range map[string]int{"1200": 1200, "120": 120} {
		for _, key := range []int{16, 32} {
			s, err := New(make([]byte, key))
			if err != nil {
				b.Fatal(err)
			}
			buf, aad, nonce := make([]byte, size+Overhead), make([]byte, 32), new([NonceSize]byte)
			run := func(seal func()) func(b *testing.B) {
				return func(b *testing.B) {
					b.SetBytes(int64(size))
					b.ReportAllocs()
					for b.Loop() {
						nonce[11]++
						seal()
					}
				}
			}
			bits := map[int]string{16: "AES128", 32: "AES256"}[key]
			b.Run(bits+"/"+name, run(func() { s.Seal(buf, buf[:size], nonce, aad) }))
			std := standard(make([]byte, key))
			b.Run(bits+"/"+name+"/crypto", run(func() { std.Seal(buf[:0], nonce[:], buf[:size], aad) }))
		}
	}
}
