// Package aesgcm seals and opens packets with AES-GCM (NIST SP 800-38D), for SRTP: nonces
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
	// Overhead is how many bytes longer than the plaintext a sealed packet is.
	Overhead = 16
)

// A Cipher seals and opens under one key. Make it with [New], where it is to stay.
// It is not safe for concurrent use.
type Cipher struct {
	fast *schedule   // nil where crypto/cipher does it
	std  cipher.AEAD // nil until it is needed
}

// New returns a Cipher for a key of 16 or 32 bytes, which it copies. The error
// is an [aes.KeySizeError].
func New(key []byte) (Cipher, error) {
	if len(key) != 16 && len(key) != 32 {
		return Cipher{}, aes.KeySizeError(len(key))
	}
	if hasFast {
		return Cipher{fast: newSchedule(key)}, nil
	}
	return Cipher{std: standard(key)}, nil
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
func (c *Cipher) Prefetch() { prefetch.Of(c.fast) }

// Seal encrypts src and writes it and the tag, which also covers aad, to the
// beginning of dst, which must have room for len(src)+[Overhead] bytes. dst may
// begin where src does, or must not overlap it. No nonce may be used twice with
// one key.
func (c *Cipher) Seal(dst, src []byte, nonce *[NonceSize]byte, aad []byte) {
	dst = dst[:len(src)+Overhead]
	if c.isFast(aad) {
		c.fast.seal(dst, src, nonce, aad)
		return
	}
	c.std.Seal(dst[:0], nonce[:], src, aad)
}

// Open decrypts src, of which the last [Overhead] bytes are the tag, to the
// beginning of dst, which must have room for len(src)-[Overhead] bytes. dst may
// begin where src does, or must not overlap it. When src or aad are not what was
// sealed, Open reports false and that room is zero.
func (c *Cipher) Open(dst, src []byte, nonce *[NonceSize]byte, aad []byte) bool {
	if len(src) < Overhead {
		return false
	}
	dst = dst[:len(src)-Overhead]
	if c.isFast(aad) {
		return c.fast.open(dst, src, nonce, aad)
	}
	_, err := c.std.Open(dst[:0], nonce[:], src, aad)
	if err != nil {
		clear(dst)
	}
	return err == nil
}

// isFast reports whether assembly does it; else std is there.
func (c *Cipher) isFast(aad []byte) bool {
	if c.fast == nil {
		return false
	}
	if len(aad) <= maxFastAAD {
		return true
	}
	if c.std == nil {
		c.std = standard(c.fast.key())
	}
	return false
}
