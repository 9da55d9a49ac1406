package srtp

// A Sender protects packets of any SSRC under one key.
//
// It sets no order: a packet may be older than the last one, and may be
// protected again, which gives the same bytes if its content is the same
// (retransmission without RTX; libsrtp's allow_repeat_tx). Two different
// packets with one SSRC and index must never be protected: that gives away
// their plaintext.
type Sender struct {
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
	return &Sender{session: x}, nil
}

// ProtectRTP encrypts and signs an RTP packet into dst, which needs up to
// [MaxOverhead] more bytes. Errors: [ErrMalformed], [ErrExhausted].
func (s *Sender) ProtectRTP(dst, plain []byte) ([]byte, error) {
	if len(plain) < rtpHeaderLen {
		return nil, ErrMalformed
	}
	ssrc := rtpSSRC(plain)
	st := s.last
	if st == nil || st.ssrc != ssrc {
		st = s.streams[ssrc]
		if st == nil {
			st = &stream{ssrc: ssrc, generation: s.generation}
		}
	}
	index, newer := st.tracker.estimate(rtpSeq(plain))
	if index>>48 != 0 {
		return nil, ErrExhausted
	}
	if st.generation != s.generation {
		s.context.SetROC(ssrc, uint32(index>>16))
	}
	out, err := s.context.EncryptRTP(dst, plain, &s.header)
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
		if _, known := s.context.Index(ssrc); !known {
			s.context.SetIndex(ssrc, s.rtcpFloor)
		}
	}
	out, err := s.context.EncryptRTCP(dst, plain, &s.rtcpHeader)
	if err != nil {
		return nil, ErrExhausted
	}
	if i, _ := s.context.Index(ssrc); i > s.rtcpHighest {
		s.rtcpHighest = i
	}
	return out, nil
}

// Forget drops what is known about an SSRC that will send no more. Should it
// be used again, its rollover counter begins at 0, as in mediasoup. Its SRTCP
// index goes on: two reports under one index would give away their content.
func (s *Sender) Forget(ssrc uint32) {
	s.forget(ssrc)
	if s.forgotten >= rebuildSlack+len(s.streams) && s.rebuild() {
		s.rtcpFloor = s.rtcpHighest
	}
}
