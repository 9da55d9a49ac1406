// Package aesgcm seals packets with AES-GCM (NIST SP 800-38D), for SRTP: nonces
// of 12 bytes, tags of 16 bytes.
//
// Where the processor has AVX-512 with VAES and VPCLMULQDQ it does so with
// assembly of our own, which takes less than half the time of crypto/cipher for
// a packet of 1,200 bytes: there 16 blocks are under way at a time, and the
// keys of a fan-out, which are different for each packet, cost nothing to
// change. Elsewhere, and with the build tag "portable", it is crypto/cipher.
package aesgcm

import (
	"crypto/aes"
	"crypto/cipher"

	"github.com/mafalda-sfu/mafalda/internal/prefetch"
)

const (
	// NonceSize is the length of a nonce, in bytes.
	NonceSize = 12
	// Overhead is how many bytes longer than the plaintext the result is.
	Overhead = 16
)

// A Sealer seals under one key. Make it with [New], where it is to stay. It is
// not safe for concurrent use.
type Sealer struct {
	fast *schedule   // nil where crypto/cipher does it
	std  cipher.AEAD // nil until it is needed
}

// New returns a Sealer for a key of 16 or 32 bytes, which it copies. The error
// is an [aes.KeySizeError].
func New(key []byte) (Sealer, error) {
	if len(key) != 16 && len(key) != 32 {
		return Sealer{}, aes.KeySizeError(len(key))
	}
	if hasFast {
		return Sealer{fast: newSchedule(key)}, nil
	}
	return Sealer{std: standard(key)}, nil
}

// standard returns the implementation of crypto/cipher.
func standard(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // the length was checked
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // AES has blocks of 16 bytes
	}
	return aead
}

// Prefetch asks for the memory of the key.
func (s *Sealer) Prefetch() { prefetch.Of(s.fast) }

// Seal encrypts src and writes it and the tag, which also covers aad, to the
// beginning of dst, which must have room for len(src)+[Overhead] bytes. dst may
// begin where src does, or must not overlap it. No nonce may be used twice with
// one key.
func (s *Sealer) Seal(dst, src []byte, nonce *[NonceSize]byte, aad []byte) {
	dst = dst[:len(src)+Overhead]
	if s.fast != nil {
		if len(aad) <= maxFastAAD {
			s.fast.seal(dst, src, nonce, aad)
			return
		}
		if s.std == nil {
			s.std = standard(s.fast.key())
		}
	}
	s.std.Seal(dst[:0], nonce[:], src, aad)
}
