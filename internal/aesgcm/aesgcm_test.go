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

// guard is how much around a result is looked at.
const guard = 70

// guarded calls f with room for n bytes, of which src are the first if f is to
// work in place, and returns them. The bytes around must stay what they were.
func guarded(t *testing.T, n int, src []byte, inPlace bool, f func(dst, src []byte)) []byte {
	t.Helper()
	room := max(n, len(src))
	out := bytes.Repeat([]byte{0xa5}, guard+room+guard)
	dst, from := out[guard:][:room], append(make([]byte, 0, len(src)), src...)
	if inPlace {
		from = dst[:copy(dst, src)]
	}
	f(dst, from)
	end := guard + n
	if inPlace {
		end = guard + room
	}
	for i, b := range out {
		if (i < guard || i >= end) && b != 0xa5 {
			t.Fatalf("%d bytes: wrote %d bytes from the begin", len(src), i-guard)
		}
	}
	if inPlace && !bytes.Equal(dst[n:], src[min(n, len(src)):]) {
		t.Fatal("changed what is behind the result")
	}
	if !inPlace && !bytes.Equal(from, src) {
		t.Fatal("changed the source")
	}
	return dst[:n]
}

// check seals and opens with crypto/cipher, apart and in place, and compares.
// What was changed on the way must not open, and leave nothing.
func check(t *testing.T, key, plain, nonce, aad []byte) {
	t.Helper()
	c, err := New(key)
	require.NoError(t, err)
	n := [NonceSize]byte(nonce)
	want := standard(key).Seal(nil, nonce, plain, aad)
	for _, inPlace := range []bool{false, true} {
		got := guarded(t, len(want), plain, inPlace, func(dst, src []byte) { c.Seal(dst, src, &n, aad) })
		if !bytes.Equal(got, want) {
			t.Fatalf("key of %d, %d bytes with %d additional ones, in place %v:\n got %x\nwant %x",
				len(key), len(plain), len(aad), inPlace, got, want)
		}
		var ok bool
		open := func(dst, src []byte) { ok = c.Open(dst, src, &n, aad) }
		if got = guarded(t, len(plain), want, inPlace, open); !ok || !bytes.Equal(got, plain) {
			t.Fatalf("key of %d, %d bytes with %d additional ones, in place %v: opened %v\n got %x\nwant %x",
				len(key), len(plain), len(aad), inPlace, ok, got, plain)
		}
		refused := func(sealed []byte, what string) {
			t.Helper()
			got := guarded(t, len(plain), sealed, inPlace, open)
			if ok || !bytes.Equal(got, make([]byte, len(plain))) {
				t.Fatalf("key of %d, %d bytes with %d additional ones, in place %v, %s: opened %v, left %x",
					len(key), len(plain), len(aad), inPlace, what, ok, got)
			}
		}
		bit := byte(1) << (nonce[0] & 7)
		bad := bytes.Clone(want)
		bad[int(nonce[1])%len(bad)] ^= bit
		refused(bad, "a changed bit")
		bad = bytes.Clone(want)
		bad[len(plain)+int(nonce[2])%Overhead] ^= bit
		refused(bad, "a changed tag")
		if len(aad) > 0 {
			aad[int(nonce[1])%len(aad)] ^= bit
			refused(want, "a changed additional byte")
			aad[int(nonce[1])%len(aad)] ^= bit
		}
	}
}

// TestSealOpen compares with crypto/cipher: all lengths up to a packet's, all
// lengths of a header.
func TestSealOpen(t *testing.T) {
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

// TestReuse seals and opens many packets with one Cipher, long headers among them.
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
			require.True(t, s.Open(got, got, &nonce, aad))
			require.Equal(t, plain, got[:len(plain)])
		}
	}
}

func TestShortDestination(t *testing.T) {
	t.Parallel()
	s, err := New(make([]byte, 16))
	require.NoError(t, err)
	require.Panics(t, func() { s.Seal(make([]byte, 115), make([]byte, 100), new([NonceSize]byte), nil) })
}

// TestShort opens what is shorter than a tag.
func TestShort(t *testing.T) {
	t.Parallel()
	c, err := New(make([]byte, 16))
	require.NoError(t, err)
	for n := range Overhead {
		require.False(t, c.Open(nil, make([]byte, n), new([NonceSize]byte), nil))
	}
	require.Panics(t, func() { c.Open(make([]byte, 83), make([]byte, 100), new([NonceSize]byte), nil) })
}

func TestAllocations(t *testing.T) {
	s, err := New(make([]byte, 16))
	require.NoError(t, err)
	b, aad, nonce := make([]byte, 1200), make([]byte, 32), new([NonceSize]byte)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		nonce[11]++
		s.Seal(b, b[:1184], nonce, aad)
		if !s.Open(b, b, nonce, aad) {
			t.Fatal("not opened")
		}
	}))
}

// FuzzSealOpen compares with crypto/cipher.
func FuzzSealOpen(f *testing.F) {
	f.Add(make([]byte, 32), []byte("some text"), make([]byte, 20), true)
	f.Add(bytes.Repeat([]byte{7}, 44), bytes.Repeat([]byte{8}, 300), bytes.Repeat([]byte{9}, 64), false)
	f.Fuzz(func(t *testing.T, secret, plain, aad []byte, long bool) {
		secret = append(secret, make([]byte, 44)...)
		size := 16
		if long {
			size = 32
		}
		check(t, secret[:size], plain, secret[size:][:NonceSize], bytes.Clone(aad))
	})
}

// FuzzOpen opens what nobody sealed: what crypto/cipher says, we say.
func FuzzOpen(f *testing.F) {
	f.Add(make([]byte, 32), make([]byte, 15), make([]byte, 12))
	f.Add(make([]byte, 44), standard(make([]byte, 16)).Seal(nil, make([]byte, NonceSize), make([]byte, 40), nil), []byte(nil))
	f.Fuzz(func(t *testing.T, secret, sealed, aad []byte) {
		secret = append(secret, make([]byte, 28)...)
		c, err := New(secret[:16])
		require.NoError(t, err)
		nonce := [NonceSize]byte(secret[16:])
		want, err := standard(secret[:16]).Open(nil, nonce[:], sealed, aad)
		dst := make([]byte, len(sealed))
		require.Equal(t, err == nil, c.Open(dst, sealed, &nonce, aad))
		require.True(t, bytes.Equal(want, dst[:len(want)]))
	})
}

func BenchmarkSealOpen(b *testing.B) {
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
			// Into another buffer, so that it opens every time.
			sealed, out := make([]byte, size+Overhead), make([]byte, size)
			nonce = new([NonceSize]byte)
			s.Seal(sealed, out, nonce, aad)
			fixed := *nonce
			b.Run(bits+"/"+name+"/open", run(func() {
				if !s.Open(out, sealed, &fixed, aad) {
					b.Fatal("not opened")
				}
			}))
			b.Run(bits+"/"+name+"/open/crypto", run(func() {
				if _, err := std.Open(out[:0], fixed[:], sealed, aad); err != nil {
					b.Fatal(err)
				}
			}))
		}
	}
}
