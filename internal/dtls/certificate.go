package dtls

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1"   // fingerprints
	_ "crypto/sha256" // fingerprints
	_ "crypto/sha512" // fingerprints
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"time"
)

// ErrCertificate means that a certificate or its key can't be used.
var ErrCertificate = errors.New("bad dtls certificate")

// A Certificate is a certificate with its private key. It does not change and
// may be shared by all Conns.
type Certificate struct {
	tls          tls.Certificate
	fingerprints []Fingerprint
}

// Generate returns a self-signed certificate with a new ECDSA key on P-256,
// signed with SHA-256 and valid from ten years ago to ten years ahead
// (mediasoup's DtlsTransport.cpp). Its serial number and name are drawn from
// random, nil meaning crypto/rand; the key always comes from crypto/rand.
func Generate(random io.Reader) (*Certificate, error) {
	if random == nil {
		random = rand.Reader
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(random, big.NewInt(9_000_000))
	if err != nil {
		return nil, err
	}
	number, err := rand.Int(random, big.NewInt(900_000))
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("mafalda%d", number.Int64()+100_000)
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:       serial.Add(serial, big.NewInt(1_000_000)),
		Subject:            pkix.Name{CommonName: name, Organization: []string{name}},
		NotBefore:          now.AddDate(-10, 0, 0),
		NotAfter:           now.AddDate(10, 0, 0),
		SignatureAlgorithm: x509.ECDSAWithSHA256,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	return newCertificate(tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key})
}

const (
	// maxPEM is the greatest length of a certificate or a key in PEM, in bytes. A
	// peer gets the certificate in each attempt of a flight.
	maxPEM = 64 << 10
	// With a smaller RSA key crypto/rsa does not sign, and a greater one pion does
	// not accept (nor does crypto/tls).
	minRSA, maxRSA = 1024, 8192
)

// Load returns a certificate from PEM and its key: ECDSA, Ed25519, or RSA of 1024
// to 8192 bits. Of several certificates it is the first, as in mediasoup: the
// fingerprint is of that one, and nobody looks at a chain. Errors: [ErrCertificate].
func Load(certPEM, keyPEM []byte) (*Certificate, error) {
	if n := max(len(certPEM), len(keyPEM)); n > maxPEM {
		return nil, fmt.Errorf("%w: %d bytes of PEM, more than %d", ErrCertificate, n, maxPEM)
	}
	c, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCertificate, err)
	}
	if key, ok := c.PrivateKey.(*rsa.PrivateKey); ok {
		if n := key.N.BitLen(); n < minRSA || n > maxRSA {
			return nil, fmt.Errorf("%w: RSA key of %d bits, not %d to %d", ErrCertificate, n, minRSA, maxRSA)
		}
	}
	c.Certificate = c.Certificate[:1]
	return newCertificate(c)
}

func newCertificate(c tls.Certificate) (*Certificate, error) {
	leaf, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCertificate, err)
	}
	c.Leaf = leaf
	certificate := &Certificate{tls: c}
	for _, h := range hashes {
		certificate.fingerprints = append(certificate.fingerprints,
			Fingerprint{h.name, digest(h.hash, c.Certificate[0])})
	}
	return certificate, nil
}

// Fingerprints returns those with sha-1, sha-224, sha-256, sha-384 and
// sha-512, in this order.
func (c *Certificate) Fingerprints() []Fingerprint {
	return append([]Fingerprint(nil), c.fingerprints...)
}

// PEM returns the certificate itself, without its key.
func (c *Certificate) PEM() string { return encodePEM(c.tls.Certificate[0]) }

// KeyPEM returns the key (RFC 5958).
func (c *Certificate) KeyPEM() (string, error) {
	der, err := x509.MarshalPKCS8PrivateKey(c.tls.PrivateKey)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), err
}

func encodePEM(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// A Fingerprint identifies a certificate (RFC 8122 §5).
type Fingerprint struct {
	Algorithm string // «sha-256»
	Value     string // «AB:CD:…», upper case
}

var hashes = []struct {
	name string
	hash crypto.Hash
}{
	{"sha-1", crypto.SHA1},
	{"sha-224", crypto.SHA224},
	{"sha-256", crypto.SHA256},
	{"sha-384", crypto.SHA384},
	{"sha-512", crypto.SHA512},
}

// Match reports whether der, a certificate, has that fingerprint. Value and
// algorithm are compared as text, as in mediasoup. An unknown algorithm
// matches nothing.
func Match(fp Fingerprint, der []byte) bool {
	for _, h := range hashes {
		if h.name == fp.Algorithm {
			return digest(h.hash, der) == fp.Value
		}
	}
	return false
}

func digest(h crypto.Hash, der []byte) string {
	const digits = "0123456789ABCDEF"
	w := h.New()
	w.Write(der)
	sum := w.Sum(nil)
	out := make([]byte, 0, 3*len(sum))
	for i, b := range sum {
		if i > 0 {
			out = append(out, ':')
		}
		out = append(out, digits[b>>4], digits[b&15])
	}
	return string(out)
}
