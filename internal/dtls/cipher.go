package dtls

import (
	"crypto/sha1" // of the MAC of cbc256
	"crypto/sha256"
	"crypto/sha512"
	"fmt"

	pdtls "github.com/pion/dtls/v3"
	"github.com/pion/dtls/v3/pkg/crypto/ciphersuite"
	"github.com/pion/dtls/v3/pkg/crypto/prf"
	"github.com/pion/dtls/v3/pkg/protocol/recordlayer"
)

// A recordCipher protects records in both directions. One goroutine at a time
// may encrypt, and another decrypt.
type recordCipher interface {
	// Encrypt returns the record sealed; plain is its header and content.
	Encrypt(r *recordlayer.RecordLayer, plain []byte) ([]byte, error)
	// Decrypt returns header and content of a record, which it overwrites. It
	// reads the header itself.
	Decrypt(h recordlayer.Header, record []byte) ([]byte, error)
}

// An algorithm is the part of a cipher suite that protects records.
type algorithm struct {
	hash         prf.HashFunc // of the PRF
	mac, key, iv int          // lengths, in bytes
	newWith      func(local, remote half) (recordCipher, error)
}

// A half is the keys of one direction.
type half struct{ mac, key, iv []byte }

var (
	gcm128 = &algorithm{sha256.New, 0, 16, 4, newGCM}
	gcm256 = &algorithm{sha512.New384, 0, 32, 4, newGCM}
	chacha = &algorithm{sha256.New, 0, 32, 12, newChaCha}
	cbc256 = &algorithm{sha256.New, sha1.Size, 32, 16, newCBC}
)

// suites are the cipher suites that we offer, in pion's order of preference.
var suites = []struct {
	id        pdtls.CipherSuiteID
	algorithm *algorithm
}{
	{pdtls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, gcm128},
	{pdtls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, gcm128},
	{pdtls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, chacha},
	{pdtls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, chacha},
	{pdtls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA, cbc256},
	{pdtls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA, cbc256},
	{pdtls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, gcm256},
	{pdtls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, gcm256},
}

func cipherSuites() []pdtls.CipherSuiteID {
	ids := make([]pdtls.CipherSuiteID, len(suites))
	for i := range suites {
		ids[i] = suites[i].id
	}
	return ids
}

// newCipher derives the keys of a suite (RFC 5246 §6.3).
func newCipher(id pdtls.CipherSuiteID, role Role, master, clientRandom, serverRandom []byte) (recordCipher, error) {
	for _, s := range suites {
		if s.id != id {
			continue
		}
		a := s.algorithm
		k, err := prf.GenerateEncryptionKeys(master, clientRandom, serverRandom, a.mac, a.key, a.iv, a.hash)
		if err != nil {
			return nil, err
		}
		local := half{k.ServerMACKey, k.ServerWriteKey, k.ServerWriteIV}
		remote := half{k.ClientMACKey, k.ClientWriteKey, k.ClientWriteIV}
		if role == Client {
			local, remote = remote, local
		}
		return a.newWith(local, remote)
	}
	return nil, fmt.Errorf("cipher suite %v is not one of ours", id)
}

func newGCM(local, remote half) (recordCipher, error) {
	return ciphersuite.NewGCM(local.key, local.iv, remote.key, remote.iv)
}

func newChaCha(local, remote half) (recordCipher, error) {
	return ciphersuite.NewChaCha20Poly1305(local.key, local.iv, remote.key, remote.iv)
}

func newCBC(local, remote half) (recordCipher, error) {
	return ciphersuite.NewCBC(local.key, local.iv, local.mac, remote.key, remote.iv, remote.mac, sha1.New)
}
