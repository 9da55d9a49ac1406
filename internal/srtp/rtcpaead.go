package srtp

import (
	"encoding/binary"

	"github.com/mafalda-sfu/mafalda/internal/aesgcm"
)

// An rtcpAEAD protects RTCP with AES-GCM (RFC 7714 §9). Pion's context does
// the same but allocates for each packet, and a fan-out receives a tenth as
// many reports as it sends packets.
//
//	 RTCP header, 8 │ rest of the compound, encrypted │ tag, 16 │ E, index
//	└── authenticated ─────────────────────────────────────────└─ too ─┘
type rtcpAEAD struct {
	gcm   aesgcm.Cipher
	salt  [aesgcm.NonceSize]byte
	nonce [aesgcm.NonceSize]byte // scratch
	aad   [rtcpHeaderLen + indexLen]byte
}

const encryptedFlag = 1 << 31

// rtcpAEAD returns nil for the suites without AES-GCM.
func (k *keys) rtcpAEAD() (*rtcpAEAD, error) {
	if !k.isGCM() {
		return nil, nil
	}
	key, err := k.derive(labelRTCPKey, k.profile.key)
	if err != nil {
		return nil, err
	}
	salt, err := k.derive(labelRTCPSalt, k.profile.salt)
	if err != nil {
		return nil, err
	}
	gcm, err := aesgcm.New(key)
	if err != nil {
		return nil, err
	}
	return &rtcpAEAD{gcm: gcm, salt: [aesgcm.NonceSize]byte(salt)}, nil
}

// prepare fills nonce and additional data for the packet with that header.
func (a *rtcpAEAD) prepare(header []byte, index uint32) {
	clear(a.nonce[:])
	copy(a.nonce[2:6], header[4:8])
	binary.BigEndian.PutUint32(a.nonce[8:], index)
	for i := range a.nonce {
		a.nonce[i] ^= a.salt[i]
	}
	copy(a.aad[:], header[:rtcpHeaderLen])
	binary.BigEndian.PutUint32(a.aad[rtcpHeaderLen:], index|encryptedFlag)
}

func (a *rtcpAEAD) seal(dst, plain []byte, index uint32) []byte {
	a.prepare(plain, index)
	end := len(plain) + aesgcm.Overhead
	if cap(dst) < end+indexLen {
		dst = make([]byte, end+indexLen)
	}
	dst = dst[:end+indexLen]
	copy(dst, plain[:rtcpHeaderLen])
	a.gcm.Seal(dst[rtcpHeaderLen:end], plain[rtcpHeaderLen:], &a.nonce, a.aad[:])
	binary.BigEndian.PutUint32(dst[end:], index|encryptedFlag)
	return dst
}

// open checks and decrypts b, which is long enough. One that is only
// authenticated is refused: nobody who speaks WebRTC sends it.
func (a *rtcpAEAD) open(dst, b []byte) ([]byte, error) {
	end := len(b) - indexLen
	index := binary.BigEndian.Uint32(b[end:])
	if index&encryptedFlag == 0 {
		return nil, ErrAuthentication
	}
	a.prepare(b, index&^encryptedFlag)
	n := end - aesgcm.Overhead
	if cap(dst) < n {
		dst = make([]byte, n)
	}
	dst = dst[:n]
	copy(dst, b[:rtcpHeaderLen])
	if !a.gcm.Open(dst[rtcpHeaderLen:], b[rtcpHeaderLen:end], &a.nonce, a.aad[:]) {
		return nil, ErrAuthentication
	}
	return dst, nil
}
