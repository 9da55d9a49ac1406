package dtls

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

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

func TestLoad(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(7), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	require.NoError(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	certPEM := []byte(encodePEM(der))

	c, err := Load(certPEM, keyPEM)
	require.NoError(t, err)
	rsaEnd := func(cfg *Config) { cfg.Certificate = c }
	_, _, se, ce := connectedPair(t, rsaEnd, rsaEnd)
	requireSameKeys(t, se.Keys, ce.Keys)
	require.True(t, Match(c.Fingerprints()[0], ce.RemoteCertificate))

	for _, bad := range [][2][]byte{
		{nil, nil},
		{certPEM, nil},
		{certPEM, certPEM},
		{keyPEM, keyPEM},
		{[]byte(testCertificate().PEM()), keyPEM},
	} {
		_, err := Load(bad[0], bad[1])
		require.ErrorIs(t, err, ErrCertificate)
	}
}
