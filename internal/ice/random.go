package ice

import (
	"crypto/rand"
	"encoding/binary"
	"io"
)

const (
	credentialLength = 32
	alphabet         = "0123456789abcdefghijklmnopqrstuvwxyz"
)

// randomText returns 32 characters, each from 64 random bits, so that no
// character is more likely than another by more than one in 2^58.
func randomText(r io.Reader) string {
	var seed [credentialLength * 8]byte
	if r == nil {
		r = rand.Reader
	}
	if _, err := io.ReadFull(r, seed[:]); err != nil {
		rand.Read(seed[:]) // never fails
	}
	var text [credentialLength]byte
	for i := range text {
		text[i] = alphabet[binary.BigEndian.Uint64(seed[8*i:])%uint64(len(alphabet))]
	}
	return string(text[:])
}
