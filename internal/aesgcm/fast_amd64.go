//go:build amd64 && !portable

package aesgcm

import (
	"crypto/aes"
	"crypto/subtle"
	"encoding/binary"
	"math/bits"
	"unsafe"

	"golang.org/x/sys/cpu"
)

// maxFastAAD is how much additional data the assembly takes: a header with the
// extensions that most packets have.
const maxFastAAD = 64

var hasFast = cpu.X86.HasAES && cpu.X86.HasAVX2 && cpu.X86.HasBMI2 &&
	cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512VL &&
	cpu.X86.HasAVX512VAES && cpu.X86.HasAVX512VPCLMULQDQ

type block [aes.BlockSize]byte

const lanes = 16 // blocks at a time

// A schedule is what the assembly wants to know of a key; it knows the layout.
type schedule struct {
	// powers are H^16 … H^1, where H is the hash key times x, bytes swapped
	// (S. Gueron, «AES-GCM for efficient authenticated encryption»). What a last
	// turn of n blocks reads begins at H^n: the zeros behind H^1 are for blocks
	// that it does not have.
	powers [lanes + lanes - 4]block
	round  [15]block
	rounds int64 // 10 or 14
}

// cryptBlocks encrypts n bytes of src to dst, if sealing has all bits, or decrypts
// them, if it has none, and writes the tag. aad has at most 64 bytes.
//
//go:noescape
func cryptBlocks(s *schedule, nonce *[NonceSize]byte, aad *byte, aadLen int, dst, src *byte, n int, tag *byte, sealing uint64)

// subWord substitutes the bytes of w by the S-box of AES.
func subWord(w uint32) uint32

func (s *schedule) seal(dst, src []byte, nonce *[NonceSize]byte, aad []byte) {
	cryptBlocks(s, nonce, unsafe.SliceData(aad), len(aad), unsafe.SliceData(dst), unsafe.SliceData(src), len(src),
		&dst[len(src)], ^uint64(0))
}

func (s *schedule) open(dst, src []byte, nonce *[NonceSize]byte, aad []byte) bool {
	n := len(src) - Overhead
	var tag [Overhead]byte
	cryptBlocks(s, nonce, unsafe.SliceData(aad), len(aad), unsafe.SliceData(dst), unsafe.SliceData(src), n, &tag[0], 0)
	if subtle.ConstantTimeCompare(tag[:], src[n:]) == 1 {
		return true
	}
	clear(dst[:n])
	return false
}

// key returns the key: the schedule begins with it.
func (s *schedule) key() []byte {
	b := append([]byte(nil), s.round[0][:]...)
	if s.rounds == 14 {
		b = append(b, s.round[1][:]...)
	}
	return b
}

func newSchedule(key []byte) *schedule {
	n := len(key) / 4 // words of the key
	s := &schedule{rounds: int64(n + 6)}
	// FIPS 197 §5.2. Words are little-endian here, so a rotation is to the right.
	word := func(i int) []byte { return s.round[i/4][i%4*4:][:4] }
	for i := range n {
		copy(word(i), key[4*i:])
	}
	constant := uint32(1)
	for i := n; i < 4*(n+7); i++ {
		w := binary.LittleEndian.Uint32(word(i - 1))
		switch {
		case i%n == 0:
			w = bits.RotateLeft32(subWord(w), -8) ^ constant
			constant = constant<<1 ^ constant>>7*0x11b
		case n == 8 && i%n == 4:
			w = subWord(w)
		}
		binary.LittleEndian.PutUint32(word(i), w^binary.LittleEndian.Uint32(word(i-n)))
	}

	cipher, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // the length was checked
	}
	var zero block
	cipher.Encrypt(zero[:], zero[:])
	h := element{binary.BigEndian.Uint64(zero[8:]), binary.BigEndian.Uint64(zero[:8])}
	// Times x, modulo x^128 + x^127 + x^126 + x^121 + 1.
	carry := -(h.high >> 63)
	h = element{h.low<<1 ^ carry&1, h.high<<1 ^ h.low>>63 ^ carry&reduction}
	p := h
	for i := lanes - 1; i >= 0; i-- {
		binary.LittleEndian.PutUint64(s.powers[i][:], p.low)
		binary.LittleEndian.PutUint64(s.powers[i][8:], p.high)
		p = p.times(h)
	}
	return s
}

// An element is one of the field of GHASH, as the assembly holds it.
type element struct{ low, high uint64 }

// reduction is the upper half of the polynomial.
const reduction = 0xc200000000000000

// times multiplies as the assembly does.
func (a element) times(b element) element {
	low, high := multiply(a.low, b.low), multiply(a.high, b.high)
	m1, m2 := multiply(a.low, b.high), multiply(a.high, b.low)
	low.high ^= m1.low ^ m2.low
	high.low ^= m1.high ^ m2.high
	for range 2 {
		t := multiply(reduction, low.low)
		low = element{low.high ^ t.low, low.low ^ t.high}
	}
	return element{low.low ^ high.low, low.high ^ high.high}
}

// multiply multiplies without carries, in constant time.
func multiply(a, b uint64) (p element) {
	for i := range 64 {
		bit := -(b >> i & 1)
		p.low ^= a << i & bit
		p.high ^= a >> (64 - i) & bit
	}
	return p
}
