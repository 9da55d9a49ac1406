package harness

import (
	"fmt"

	"github.com/pion/dtls/v3"
	"github.com/pion/srtp/v3"

	"github.com/mafalda-sfu/mafalda"
)

// A suite is what the packages call one SRTP crypto suite.
type suite struct {
	srtp srtp.ProtectionProfile
	dtls dtls.SRTPProtectionProfile
	// Lengths in bytes: of master key and salt, and of what a packet grows by.
	key, salt, overhead int
}

var suites = map[string]suite{
	string(mafalda.SRTPAES128GCM):  {srtp.ProtectionProfileAeadAes128Gcm, dtls.SRTP_AEAD_AES_128_GCM, 16, 12, 16},
	string(mafalda.SRTPAES256GCM):  {srtp.ProtectionProfileAeadAes256Gcm, dtls.SRTP_AEAD_AES_256_GCM, 32, 12, 16},
	string(mafalda.SRTPAES128CM80): {srtp.ProtectionProfileAes128CmHmacSha1_80, dtls.SRTP_AES128_CM_HMAC_SHA1_80, 16, 14, 10},
	string(mafalda.SRTPAES128CM32): {srtp.ProtectionProfileAes128CmHmacSha1_32, dtls.SRTP_AES128_CM_HMAC_SHA1_32, 16, 14, 4},
}

// knownSuite returns an error if peers do not have the SRTP crypto suite of that
// name.
func knownSuite(name string) error {
	if _, ok := suites[name]; !ok {
		return fmt.Errorf("unknown suite %q", name)
	}
	return nil
}

// SuiteVar defines the flag of an SRTP crypto suite.
func (f *Flags) SuiteVar(p *string) {
	f.StringVar(p, "suite", string(mafalda.SRTPAES128GCM), "SRTP crypto suite")
	f.Check(func() error { return knownSuite(*p) })
}

// context makes an SRTP context of a master key followed by its salt.
func (s suite) context(master []byte) (*srtp.Context, error) {
	if len(master) != s.key+s.salt {
		return nil, fmt.Errorf("SRTP master key and salt of %d bytes, want %d", len(master), s.key+s.salt)
	}
	return srtp.CreateContext(master[:s.key], master[s.key:], s.srtp)
}
