package dtls

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	pdtls "github.com/pion/dtls/v3"
	"github.com/stretchr/testify/require"
)

func TestGenerate(t *testing.T) {
	c, err := Generate(nil)
	require.NoError(t, err)
	leaf := c.tls.Leaf
	require.Equal(t, "P-256", leaf.PublicKey.(*ecdsa.PublicKey).Params().Name)
	require.Equal(t, x509.ECDSAWithSHA256, leaf.SignatureAlgorithm)
	require.InDelta(t, 0, time.Until(leaf.NotBefore.AddDate(10, 0, 0)).Hours(), 25)
	require.InDelta(t, 0, time.Until(leaf.NotAfter.AddDate(-10, 0, 0)).Hours(), 25)
	require.Regexp(t, `^mafalda\d{6}$`, leaf.Subject.CommonName)
	other, err := Generate(rand.Reader)
	require.NoError(t, err)
	require.NotEqual(t, leaf.SerialNumber, other.tls.Leaf.SerialNumber)

	var names []string
	for _, fp := range c.Fingerprints() {
		names = append(names, fp.Algorithm)
		require.Regexp(t, `^([0-9A-F]{2}:)+[0-9A-F]{2}$`, fp.Value)
		require.True(t, Match(fp, leaf.Raw))
		require.False(t, Match(fp, other.tls.Leaf.Raw))
		require.False(t, Match(Fingerprint{fp.Algorithm, strings.ToLower(fp.Value)}, leaf.Raw))
	}
	require.Equal(t, []string{"sha-1", "sha-224", "sha-256", "sha-384", "sha-512"}, names)
	sum := sha256.Sum256(leaf.Raw)
	require.Equal(t, strings.ReplaceAll(fmt.Sprintf("% X", sum), " ", ":"), c.Fingerprints()[2].Value)
	require.False(t, Match(Fingerprint{"md5", "00"}, leaf.Raw))
	require.False(t, Match(Fingerprint{}, nil))
	block, _ := pem.Decode([]byte(c.PEM()))
	require.Equal(t, leaf.Raw, block.Bytes)
}

// encoded returns a certificate for the key and the key itself, both in PEM.
func encoded(t testing.TB, key crypto.Signer) (certificate, keyPEM []byte) {
	t.Helper()
	_, issuer, err := ed25519.GenerateKey(nil) // not the key, which may be too small to sign
	require.NoError(t, err)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(7), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), issuer)
	require.NoError(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	return []byte(encodePEM(der)), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

func ecdsaKey(t testing.TB, c elliptic.Curve) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(c, rand.Reader)
	require.NoError(t, err)
	return key
}

// mersenneKey returns an RSA key of a+b bits, or one less. 2^a-1 and 2^b-1 are prime.
func mersenneKey(t testing.TB, a, b uint) crypto.Signer {
	t.Helper()
	one := big.NewInt(1)
	prime := func(n uint) *big.Int { x := new(big.Int).Lsh(one, n); return x.Sub(x, one) }
	p, q := prime(a), prime(b)
	phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
	key := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: new(big.Int).Mul(p, q), E: 65537}, Primes: []*big.Int{p, q}}
	key.D = new(big.Int).ModInverse(big.NewInt(65537), phi)
	key.Precompute()
	return key
}

// TestLoad shakes hands with a certificate of each kind at both ends.
func TestLoad(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	keys := []crypto.Signer{ed}
	for _, c := range []elliptic.Curve{elliptic.P224(), elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		keys = append(keys, ecdsaKey(t, c))
	}
	for _, bits := range []int{minRSA, 2048} {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		require.NoError(t, err)
		keys = append(keys, key)
	}
	for _, key := range keys {
		c, err := Load(encoded(t, key))
		require.NoError(t, err)
		use := func(cfg *Config) { cfg.Certificate = c }
		_, _, se, ce := connectedPair(t, use, use)
		requireSameKeys(t, se.Keys, ce.Keys)
		require.True(t, Match(c.Fingerprints()[0], se.RemoteCertificate))
		require.True(t, Match(c.Fingerprints()[0], ce.RemoteCertificate))
	}
}

func TestLoadNothingElse(t *testing.T) {
	certificate, key := encoded(t, ecdsaKey(t, elliptic.P256()))
	weakCertificate, weak := encoded(t, mersenneKey(t, 521, 127))
	strongCertificate, strong := encoded(t, mersenneKey(t, 4423, 4253))
	locked := pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte{1}})
	for name, bad := range map[string][2][]byte{
		"nothing":        {nil, nil},
		"no key":         {certificate, nil},
		"no certificate": {nil, key},
		"key is none":    {certificate, certificate},
		"swapped":        {key, certificate},
		"another's key":  {[]byte(testCertificate().PEM()), key},
		"encrypted":      {certificate, locked},
		"small RSA":      {weakCertificate, weak},
		"great RSA":      {strongCertificate, strong},
		"great PEM":      {append(bytes.Repeat([]byte{'\n'}, maxPEM), certificate...), key},
		"great key":      {certificate, append(bytes.Repeat([]byte{'\n'}, maxPEM), key...)},
	} {
		_, err := Load(bad[0], bad[1])
		require.ErrorIs(t, err, ErrCertificate, name)
	}
}

// Peers get the first certificate alone: not one that is empty, with which there is
// no handshake, nor thousands of datagrams.
func TestLoadFirstOfChain(t *testing.T) {
	certificate, key := encoded(t, ecdsaKey(t, elliptic.P256()))
	chain := slices.Concat([]byte("text\n"), key, certificate, []byte(testCertificate().PEM()), []byte(encodePEM(nil)))
	c, err := Load(chain, slices.Concat(certificate, key))
	require.NoError(t, err)
	s := start(t, Server, func(cfg *Config) { cfg.Certificate = c })
	p := newPeer(t, s, true, pdtls.WithCertificates(plainCertificate(t)),
		pdtls.WithSRTPProtectionProfiles(pdtls.SRTP_AEAD_AES_128_GCM))
	require.NoError(t, <-p.err)
	state, ok := p.conn.ConnectionState()
	require.True(t, ok)
	require.Len(t, state.PeerCertificates, 1)
	require.Equal(t, certificate, []byte(encodePEM(state.PeerCertificates[0])))
}

// FuzzLoad loads a certificate and a key of somebody; what loads signs.
func FuzzLoad(f *testing.F) {
	_, ed, err := ed25519.GenerateKey(nil)
	require.NoError(f, err)
	for _, key := range []crypto.Signer{ed, ecdsaKey(f, elliptic.P256()), ecdsaKey(f, elliptic.P521()), mersenneKey(f, 607, 521), mersenneKey(f, 521, 127)} {
		certificate, keyPEM := encoded(f, key)
		f.Add(certificate, keyPEM)
		f.Add(slices.Concat(keyPEM, certificate), slices.Concat(certificate, keyPEM))
	}
	f.Fuzz(func(t *testing.T, certificate, key []byte) {
		c, err := Load(certificate, key)
		if err != nil {
			require.ErrorIs(t, err, ErrCertificate)
			return
		}
		require.Len(t, c.tls.Certificate, 1)
		signer := c.tls.PrivateKey.(crypto.Signer)
		text, hash := make([]byte, 32), crypto.SHA256
		if _, ok := signer.(ed25519.PrivateKey); ok {
			hash = 0
		}
		_, err = signer.Sign(rand.Reader, text, hash)
		require.NoError(t, err)
		keyPEM, err := c.KeyPEM()
		require.NoError(t, err)
		again, err := Load([]byte(c.PEM()), []byte(keyPEM))
		require.NoError(t, err)
		require.Equal(t, c.Fingerprints(), again.Fingerprints())
	})
}
