package srtp

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"

	psrtp "github.com/pion/srtp/v3"
)

// A Suite names a protection profile of SRTP, as mediasoup spells it. Its
// methods answer 0 for a name that is not one of the constants.
type Suite string

// The suites, in our order of preference (AES-GCM: RFC 7714; AES-CM: RFC 3711
// and RFC 5764 §4.1.2).
const (
	AEADAES128GCM Suite = "AEAD_AES_128_GCM"
	AEADAES256GCM Suite = "AEAD_AES_256_GCM"
	AESCM128SHA80 Suite = "AES_CM_128_HMAC_SHA1_80"
	AESCM128SHA32 Suite = "AES_CM_128_HMAC_SHA1_32"
)

// MaxOverhead is the largest number of bytes by which any suite lengthens a
// packet, RTP or RTCP.
const MaxOverhead = 20

// indexLen is the length of the SRTCP index and its E bit (RFC 3711 §3.4).
const indexLen = 4

type profile struct {
	pion      psrtp.ProtectionProfile
	key, salt int
	rtpTag    int
	rtcpTag   int
}

func (s Suite) profile() (profile, bool) {
	switch s {
	case AEADAES128GCM:
		return profile{psrtp.ProtectionProfileAeadAes128Gcm, 16, 12, 16, 16}, true
	case AEADAES256GCM:
		return profile{psrtp.ProtectionProfileAeadAes256Gcm, 32, 12, 16, 16}, true
	case AESCM128SHA80:
		return profile{psrtp.ProtectionProfileAes128CmHmacSha1_80, 16, 14, 10, 10}, true
	case AESCM128SHA32:
		// RTCP keeps the 80 bit tag (RFC 5764 §4.1.2).
		return profile{psrtp.ProtectionProfileAes128CmHmacSha1_32, 16, 14, 4, 10}, true
	}
	return profile{}, false
}

// Suites returns all suites in our order of preference.
func Suites() []Suite {
	return []Suite{AEADAES128GCM, AEADAES256GCM, AESCM128SHA80, AESCM128SHA32}
}

// Valid reports whether s is one of the four suites.
func (s Suite) Valid() bool { _, ok := s.profile(); return ok }

// KeyLen returns the length of the master key in bytes.
func (s Suite) KeyLen() int { p, _ := s.profile(); return p.key }

// SaltLen returns the length of the master salt in bytes.
func (s Suite) SaltLen() int { p, _ := s.profile(); return p.salt }

// MasterLen returns the length of key and salt together, in bytes.
func (s Suite) MasterLen() int { return s.KeyLen() + s.SaltLen() }

// Errors of this package. Those of single packets carry no details, so that a
// flood of bad packets formats no text.
var (
	// ErrSuite means that the suite is not one of ours.
	ErrSuite = errors.New("unknown srtp suite")
	// ErrMasterLength means that key and salt don't have the suite's length.
	ErrMasterLength = errors.New("wrong srtp master length")
	// ErrMalformed means that the bytes are no RTP or RTCP packet.
	ErrMalformed = errors.New("malformed packet")
	// ErrReplay means that the packet came before or is older than the window.
	ErrReplay = errors.New("replayed packet")
	// ErrAuthentication means that the tag does not fit the packet.
	ErrAuthentication = errors.New("packet not authentic")
	// ErrTooManyStreams means that a Receiver follows as many SSRCs as it may.
	ErrTooManyStreams = errors.New("too many srtp streams")
	// ErrExhausted means that the key has protected all packets it may
	// (RFC 3711 §9.2).
	ErrExhausted = errors.New("srtp key exhausted")
)

// keys is what a pion context is made of, kept to make another one.
type keys struct {
	suite   Suite
	profile profile
	master  []byte
}

func newKeys(s Suite, master []byte) (keys, error) {
	p, ok := s.profile()
	if !ok {
		return keys{}, fmt.Errorf("%w: %q", ErrSuite, string(s))
	}
	if len(master) != p.key+p.salt {
		return keys{}, fmt.Errorf("%w: %d bytes, want %d", ErrMasterLength, len(master), p.key+p.salt)
	}
	return keys{s, p, append([]byte(nil), master...)}, nil
}

// isGCM reports whether the suite has AES-GCM.
func (k *keys) isGCM() bool { return k.suite == AEADAES128GCM || k.suite == AEADAES256GCM }

// Labels of the key derivation (RFC 3711 §4.3.2).
const (
	labelRTPKey   = 0
	labelRTPSalt  = 2
	labelRTCPKey  = 3
	labelRTCPSalt = 5
)

// derive returns n bytes of a session key or salt (RFC 3711 §4.3.1).
func (k *keys) derive(label byte, n int) ([]byte, error) {
	prf, err := aes.NewCipher(k.master[:k.profile.key])
	if err != nil {
		return nil, err
	}
	var iv [aes.BlockSize]byte
	copy(iv[:], k.master[k.profile.key:])
	iv[7] ^= label
	out := make([]byte, n)
	cipher.NewCTR(prf, iv[:]).XORKeyStream(out, out)
	return out, nil
}

func (k *keys) context() (*psrtp.Context, error) {
	return psrtp.CreateContext(k.master[:k.profile.key], k.master[k.profile.key:], k.profile.pion)
}
