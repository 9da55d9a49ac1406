package srtp

import (
	"encoding/binary"
	"errors"

	psrtp "github.com/pion/srtp/v3"

	"github.com/mafalda-sfu/mafalda/internal/prefetch"
)

const (
	// Window is the number of packets behind the newest one of an SSRC that
	// may still arrive (mediasoup's replay window).
	Window = 1024

	// MaxStreams is the number of SSRCs that send RTP and are followed at a
	// time. Only authentic packets count; it is a bound on a hostile peer, and
	// well above what the largest pipe carries.
	MaxStreams = 8192

	// maxReporters bounds the SSRCs whose RTCP is followed. At one more all
	// of them are forgotten, since a refusal would silence a long-lived pipe.
	maxReporters = 1024

	maxRTPIndex  = 1<<48 - 1
	maxRTCPIndex = 1<<31 - 1
)

// A Receiver unprotects packets of any SSRC under one key. Packets that are
// not authentic leave no trace in it.
type Receiver struct {
	last  *stream // the one used last, nil after Forget
	isGCM bool    // rtp is used, else the context
	rtp   rtpAEAD
	session

	reporters map[uint32]*window // by SSRC of the first packet of a compound
}

// NewReceiver returns a Receiver with a master key and salt, one after the
// other, which it copies. Errors: [ErrSuite], [ErrMasterLength].
func NewReceiver(s Suite, master []byte) (*Receiver, error) {
	x, err := newSession(s, master)
	if err != nil {
		return nil, err
	}
	r := &Receiver{session: x, isGCM: x.keys.isGCM(), reporters: make(map[uint32]*window)}
	if r.isGCM {
		if r.rtp, err = x.keys.rtpAEAD(); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// Prefetch asks for the memory beside the Receiver itself that the next packet
// needs.
func (r *Receiver) Prefetch() {
	prefetch.Of(r.last)
	r.rtp.gcm.Prefetch()
}

// PrefetchWindow asks for the memory that Prefetch leads to.
func (r *Receiver) PrefetchWindow() {
	if st := r.last; st != nil {
		prefetch.Of(st.window)
	}
}

// UnprotectRTP verifies and decrypts an SRTP packet into dst. Errors:
// [ErrMalformed], [ErrReplay], [ErrAuthentication], [ErrTooManyStreams].
func (r *Receiver) UnprotectRTP(dst, b []byte) ([]byte, error) {
	if len(b) < rtpHeaderLen+r.keys.profile.rtpTag {
		return nil, ErrMalformed
	}
	ssrc := rtpSSRC(b)
	st := r.last
	if st == nil || st.ssrc != ssrc {
		st = r.streams[ssrc]
	}
	if st == nil {
		return r.first(dst, b, ssrc)
	}
	index, newer := st.tracker.estimate(rtpSeq(b))
	if index > maxRTPIndex || !st.window.fresh(index) {
		return nil, ErrReplay
	}
	if !r.isGCM && st.generation != r.generation {
		r.pion().SetROC(ssrc, uint32(index>>16))
	}
	out, err := r.decrypt(dst, b, index)
	if err != nil {
		return nil, err
	}
	st.window.accept(index)
	st.tracker.accept(index, newer)
	if newer {
		// From here on the context guesses from the same packet as we do.
		st.generation = r.generation
	}
	r.last = st
	return out, nil
}

// first unprotects a packet of an SSRC that is not followed yet.
func (r *Receiver) first(dst, b []byte, ssrc uint32) ([]byte, error) {
	if len(r.streams) >= MaxStreams {
		return nil, ErrTooManyStreams
	}
	index := uint64(rtpSeq(b))
	out, err := r.decrypt(dst, b, index)
	if err != nil {
		return nil, err
	}
	st := &stream{ssrc: ssrc, generation: r.generation, window: new(window)}
	st.window.accept(index)
	st.tracker.accept(index, true)
	r.streams[ssrc] = st
	r.last = st
	return out, nil
}

func (r *Receiver) decrypt(dst, b []byte, index uint64) ([]byte, error) {
	if r.isGCM {
		return r.rtp.open(dst, b, index)
	}
	out, err := r.pion().DecryptRTP(dst, b, &r.header)
	r.trim()
	if err != nil {
		return nil, reason(err)
	}
	return out, nil
}

// UnprotectRTCP verifies and decrypts an SRTCP packet into dst. Errors:
// [ErrMalformed], [ErrReplay], [ErrAuthentication].
func (r *Receiver) UnprotectRTCP(dst, b []byte) ([]byte, error) {
	if len(b) < rtcpHeaderLen+r.keys.profile.rtcpTag+indexLen || b[0]>>6 != 2 {
		return nil, ErrMalformed
	}
	ssrc := rtcpSSRC(b)
	w, known := r.reporters[ssrc]
	if !known {
		return r.firstReport(dst, b, ssrc)
	}
	index := r.rtcpIndex(b)
	if !w.fresh(index) {
		return nil, ErrReplay
	}
	out, err := r.decryptRTCP(dst, b)
	if err != nil {
		return nil, err
	}
	w.accept(index)
	return out, nil
}

// firstReport unprotects a packet of an SSRC whose RTCP is not followed yet.
func (r *Receiver) firstReport(dst, b []byte, ssrc uint32) ([]byte, error) {
	index := r.rtcpIndex(b)
	out, err := r.decryptRTCP(dst, b)
	if err != nil {
		return nil, err
	}
	if len(r.reporters) >= maxReporters {
		clear(r.reporters)
		r.rebuild()
	}
	w := new(window)
	w.accept(index)
	r.reporters[ssrc] = w
	return out, nil
}

func (r *Receiver) decryptRTCP(dst, b []byte) ([]byte, error) {
	if r.aead != nil {
		return r.aead.open(dst, b)
	}
	out, err := r.pion().DecryptRTCP(dst, b, &r.rtcpHeader)
	if err != nil {
		return nil, reason(err)
	}
	return out, nil
}

// rtcpIndex returns the SRTCP index of a packet, where the suite puts it: last
// with AES-GCM (RFC 7714 §9), before the tag with AES-CM (RFC 3711 §3.4).
func (r *Receiver) rtcpIndex(b []byte) uint64 {
	end := len(b)
	switch r.keys.suite {
	case AESCM128SHA80, AESCM128SHA32:
		end -= r.keys.profile.rtcpTag
	}
	return uint64(binary.BigEndian.Uint32(b[end-indexLen:]) & maxRTCPIndex)
}

// Forget drops what is known about an SSRC: one that no Producer wanted or
// that ended. If it sends again it is taken for new, with a rollover counter
// of 0 and an empty replay window.
func (r *Receiver) Forget(ssrc uint32) {
	r.forget(ssrc)
	r.last = nil
	delete(r.reporters, ssrc)
	if r.forgotten >= rebuildSlack+len(r.streams)+len(r.reporters) {
		r.rebuild()
	}
}

func reason(err error) error {
	if errors.Is(err, psrtp.ErrFailedToVerifyAuthTag) {
		return ErrAuthentication
	}
	return ErrMalformed
}
