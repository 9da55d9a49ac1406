package srtp

import "github.com/mafalda-sfu/mafalda/internal/prefetch"

// A Sender protects packets of any SSRC under one key.
//
// It sets no order: a packet may be older than the last one, and may be
// protected again, which gives the same bytes if its content is the same
// (retransmission without RTX; libsrtp's allow_repeat_tx). Two different
// packets with one SSRC and index must never be protected: that gives away
// their plaintext.
type Sender struct {
	last  *stream // the one used last, nil after Forget
	isGCM bool    // rtp is used, else the context
	rtp   rtpAEAD
	session

	rtcpHighest uint32 // greatest SRTCP index used so far, of any SSRC
	rtcpFloor   uint32 // SSRCs new to the context begin after it
}

// NewSender returns a Sender with a master key and salt, one after the other,
// which it copies. Errors: [ErrSuite], [ErrMasterLength].
func NewSender(s Suite, master []byte) (*Sender, error) {
	x, err := newSession(s, master)
	if err != nil {
		return nil, err
	}
	tx := &Sender{session: x, isGCM: x.keys.isGCM()}
	if tx.isGCM {
		if tx.rtp, err = x.keys.rtpAEAD(); err != nil {
			return nil, err
		}
	}
	return tx, nil
}

// Prefetch asks for the memory beside the Sender itself that the next packet
// needs.
func (s *Sender) Prefetch() {
	prefetch.Of(s.last)
	s.rtp.gcm.Prefetch()
}

// ProtectRTP encrypts and signs an RTP packet into dst, which needs up to
// [MaxOverhead] more bytes. Errors: [ErrMalformed], [ErrExhausted].
func (s *Sender) ProtectRTP(dst, plain []byte) ([]byte, error) {
	if !s.isGCM {
		return s.protect(dst, plain)
	}
	n, ok := headerLen(plain)
	if !ok {
		return nil, ErrMalformed
	}
	total := len(plain) + s.keys.profile.rtpTag
	if cap(dst) < total {
		dst = make([]byte, total)
	}
	dst = dst[:total]
	copy(dst, plain[:n])
	return s.SealRTP(dst, n, plain[n:])
}

// SealRTP is ProtectRTP for a packet that is in two places: its header, with
// CSRCs and extensions, is dst[:header], and payload goes behind it. dst is
// long enough for the result, [MaxOverhead] included; payload may be that very
// part of dst, or must not overlap it. Errors: [ErrMalformed], [ErrExhausted].
func (s *Sender) SealRTP(dst []byte, header int, payload []byte) ([]byte, error) {
	if !s.isGCM {
		copy(dst[header:], payload)
		return s.protect(dst, dst[:header+len(payload)])
	}
	st := s.stream(rtpSSRC(dst))
	index, newer := st.tracker.estimate(rtpSeq(dst))
	if index>>48 != 0 {
		return nil, ErrExhausted
	}
	if !st.tracker.started {
		s.streams[st.ssrc] = st
	}
	st.tracker.accept(index, newer)
	s.last = st
	return s.rtp.seal(dst, header, payload, index), nil
}

// stream returns what is known of an SSRC; it is kept when a packet was sent.
func (s *Sender) stream(ssrc uint32) *stream {
	if st := s.last; st != nil && st.ssrc == ssrc {
		return st
	}
	if st := s.streams[ssrc]; st != nil {
		return st
	}
	return &stream{ssrc: ssrc, generation: s.generation}
}

// protect lets the context do it.
func (s *Sender) protect(dst, plain []byte) ([]byte, error) {
	if len(plain) < rtpHeaderLen {
		return nil, ErrMalformed
	}
	ssrc := rtpSSRC(plain)
	st := s.stream(ssrc)
	index, newer := st.tracker.estimate(rtpSeq(plain))
	if index>>48 != 0 {
		return nil, ErrExhausted
	}
	if st.generation != s.generation {
		s.pion().SetROC(ssrc, uint32(index>>16))
	}
	out, err := s.pion().EncryptRTP(dst, plain, &s.header)
	s.trim()
	if err != nil {
		return nil, ErrMalformed
	}
	if !st.tracker.started {
		s.streams[ssrc] = st
	}
	st.tracker.accept(index, newer)
	if newer {
		// From here on the context guesses from the same packet as we do.
		st.generation = s.generation
	}
	s.last = st
	return out, nil
}

// ProtectRTCP encrypts and signs a compound RTCP packet into dst, which needs
// up to [MaxOverhead] more bytes. Errors: [ErrMalformed], [ErrExhausted].
func (s *Sender) ProtectRTCP(dst, plain []byte) ([]byte, error) {
	if len(plain) < rtcpHeaderLen || plain[0]>>6 != 2 {
		return nil, ErrMalformed
	}
	if s.aead != nil {
		// One count for all SSRCs: each needs no more than to differ.
		if s.rtcpHighest == maxRTCPIndex {
			return nil, ErrExhausted
		}
		s.rtcpHighest++
		return s.aead.seal(dst, plain, s.rtcpHighest), nil
	}
	ssrc := rtcpSSRC(plain)
	if s.rtcpFloor > 0 {
		if _, known := s.pion().Index(ssrc); !known {
			s.pion().SetIndex(ssrc, s.rtcpFloor)
		}
	}
	out, err := s.pion().EncryptRTCP(dst, plain, &s.rtcpHeader)
	if err != nil {
		return nil, ErrExhausted
	}
	if i, _ := s.pion().Index(ssrc); i > s.rtcpHighest {
		s.rtcpHighest = i
	}
	return out, nil
}

// Forget drops what is known about an SSRC that will send no more. Should it
// be used again, its rollover counter begins at 0, as in mediasoup. Its SRTCP
// index goes on: two reports under one index would give away their content.
func (s *Sender) Forget(ssrc uint32) {
	s.forget(ssrc)
	s.last = nil
	if s.forgotten >= rebuildSlack+len(s.streams) {
		s.rebuild()
		s.rtcpFloor = s.rtcpHighest
	}
}
