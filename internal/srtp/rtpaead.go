package srtp

import (
	"encoding/binary"

	"github.com/mafalda-sfu/mafalda/internal/aesgcm"
)

// An rtpAEAD protects RTP with AES-GCM (RFC 7714 §8), a payload from wherever it
// lies. Pion's context, which does the same, parses each header again, looks
// the SSRC up in a map and takes twice the time.
//
//	 RTP header, CSRCs, extensions │ payload, padding, encrypted │ tag, 16
//	└────────── authenticated ────────────────────────────────────┘
type rtpAEAD struct {
	gcm   aesgcm.Cipher
	salt  [aesgcm.NonceSize]byte
	nonce [aesgcm.NonceSize]byte // scratch
}

// rtpAEAD returns that of a suite with AES-GCM.
func (k *keys) rtpAEAD() (a rtpAEAD, err error) {
	key, err := k.derive(labelRTPKey, k.profile.key)
	if err != nil {
		return a, err
	}
	salt, err := k.derive(labelRTPSalt, k.profile.salt)
	if err != nil {
		return a, err
	}
	a.salt = [aesgcm.NonceSize]byte(salt)
	a.gcm, err = aesgcm.New(key)
	return a, err
}

// prepare fills the nonce for the packet of that index.
func (a *rtpAEAD) prepare(ssrc uint32, index uint64) {
	// 0, 0, SSRC, index of 48 bits; the two zeros are the SSRC's upper half.
	n := &a.nonce
	binary.BigEndian.PutUint64(n[:], binary.BigEndian.Uint64(a.salt[:])^(uint64(ssrc)<<16|index>>32))
	binary.BigEndian.PutUint32(n[8:], binary.BigEndian.Uint32(a.salt[8:])^uint32(index))
}

// seal protects the packet of that index. Its header is dst[:header]; dst has
// room for all of it.
func (a *rtpAEAD) seal(dst []byte, header int, payload []byte, index uint64) []byte {
	a.prepare(rtpSSRC(dst), index)
	end := header + len(payload) + aesgcm.Overhead
	a.gcm.Seal(dst[header:end], payload, &a.nonce, dst[:header])
	return dst[:end]
}

// open checks and decrypts the packet of that index, into new memory if dst has
// no room for it.
func (a *rtpAEAD) open(dst, b []byte, index uint64) ([]byte, error) {
	header, ok := headerLen(b)
	if !ok || isCryptex(b) {
		return nil, ErrMalformed
	}
	end := len(b) - aesgcm.Overhead
	if end < header {
		return nil, ErrMalformed
	}
	if cap(dst) < end {
		dst = make([]byte, end)
	}
	dst = dst[:end]
	copy(dst, b[:header])
	a.prepare(rtpSSRC(b), index)
	if !a.gcm.Open(dst[header:], b[header:], &a.nonce, b[:header]) {
		return nil, ErrAuthentication
	}
	return dst, nil
}

// isCryptex reports whether the header extensions of a packet are encrypted too
// (RFC 9335), which nobody has negotiated with us. The header is complete.
func isCryptex(b []byte) bool {
	if b[0]&0x10 == 0 {
		return false
	}
	profile := binary.BigEndian.Uint16(b[rtpHeaderLen+4*int(b[0]&0x0f):])
	return profile == 0xc0de || profile == 0xc2de
}

// headerLen returns the length of an RTP header with its CSRCs and extensions;
// ok is false if b is shorter.
func headerLen(b []byte) (n int, ok bool) {
	if len(b) < rtpHeaderLen {
		return 0, false
	}
	n = rtpHeaderLen + 4*int(b[0]&0x0f)
	if b[0]&0x10 != 0 {
		if len(b) < n+4 {
			return 0, false
		}
		n += 4 + 4*int(binary.BigEndian.Uint16(b[n+2:]))
	}
	return n, n <= len(b)
}
