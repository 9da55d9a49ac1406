package acceptance

import (
	"crypto"
	_ "crypto/sha1"   // registers the hash
	_ "crypto/sha256" // registers two hashes
	_ "crypto/sha512" // registers two hashes

	"github.com/mafalda-sfu/mafalda"
)

// hashes are those of certificate fingerprints (RFC 8122 §5).
var hashes = map[mafalda.FingerprintAlgorithm]crypto.Hash{
	mafalda.FingerprintSHA1:   crypto.SHA1,
	mafalda.FingerprintSHA224: crypto.SHA224,
	mafalda.FingerprintSHA256: crypto.SHA256,
	mafalda.FingerprintSHA384: crypto.SHA384,
	mafalda.FingerprintSHA512: crypto.SHA512,
}
