package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// suiteSHA256 is the hash of the files test-*.js of mediasoup 3.27.1.
const suiteSHA256 = "0e54c032ce0bf18facc03afd87f85c7c682b429326a1611d6fdd6beca19f841e"

// unedited checks that the tests are those of the package.
func unedited(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "test-*.js"))
	if err != nil {
		return err
	}
	h := sha256.New()
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "%s %d\n", filepath.Base(file), len(text))
		h.Write(text)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != suiteSHA256 {
		return fmt.Errorf("%d test files in %s are not those of mediasoup 3.27.1: %s", len(files), dir, got)
	}
	return nil
}

// writeDTLSFiles writes the certificate and the key that test-Worker.js names.
func writeDTLSFiles(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "mediasoup-suite"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, block := range map[string]*pem.Block{
		"dtls-cert.pem": {Type: "CERTIFICATE", Bytes: cert},
		"dtls-key.pem":  {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			return err
		}
	}
	return nil
}
