package engine

import (
	"crypto/rand"
	"encoding/base64"

	"github.com/mafalda-sfu/mafalda/internal/srtp"
)

// SRTPParameters are the suite and master key of one direction.
type SRTPParameters struct {
	CryptoSuite string
	KeyBase64   string // of master key and salt
}

// newSRTPKey makes a random key. Like upstream's it is text, since some tools
// take keys as text only.
func newSRTPKey(suite string) (SRTPParameters, error) {
	s := srtp.Suite(suite)
	if !s.Valid() {
		return SRTPParameters{}, invalid("unknown SRTP crypto suite %q", suite)
	}
	const letters = "0123456789abcdefghijklmnopqrstuvwxyz"
	key := make([]byte, s.MasterLen())
	for i := range key {
		for { // without bias: 252 is 7 × 36
			var b [1]byte
			rand.Read(b[:])
			if b[0] < 252 {
				key[i] = letters[b[0]%36]
				break
			}
		}
	}
	return SRTPParameters{CryptoSuite: suite, KeyBase64: base64.StdEncoding.EncodeToString(key)}, nil
}

// connectSRTP begins SRTP with our key and that of the peer. local, nil without
// SRTP, becomes a key of the peer's suite if that is another.
func (t *transport) connectSRTP(local, remote *SRTPParameters) error {
	if local == nil {
		if remote != nil {
			return invalid("invalid srtpParameters (SRTP not enabled)")
		}
		return nil
	}
	if remote == nil {
		return invalid("missing srtpParameters (SRTP enabled)")
	}
	suite := srtp.Suite(remote.CryptoSuite)
	if !suite.Valid() {
		return invalid("unknown SRTP crypto suite %q", remote.CryptoSuite)
	}
	master, err := base64.StdEncoding.DecodeString(remote.KeyBase64)
	if err != nil || len(master) != suite.MasterLen() {
		return invalid("SRTP key is not base64 of %d bytes", suite.MasterLen())
	}
	ours := *local
	if ours.CryptoSuite != remote.CryptoSuite {
		if ours, err = newSRTPKey(remote.CryptoSuite); err != nil {
			return err
		}
	}
	key, err := base64.StdEncoding.DecodeString(ours.KeyBase64)
	if err != nil {
		return invalid("local SRTP key: %v", err)
	}
	tx, err := srtp.NewSender(suite, key)
	if err != nil {
		return invalid("SRTP: %v", err)
	}
	rx, err := srtp.NewReceiver(suite, master)
	if err != nil {
		return invalid("SRTP: %v", err)
	}
	*local = ours
	t.tx, t.rx = tx, rx
	return nil
}
