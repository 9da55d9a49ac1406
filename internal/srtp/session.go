package srtp

import (
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	psrtp "github.com/pion/srtp/v3"
)

// A session is what a Sender and a Receiver have in common: one pion context
// and the SSRCs in it.
type session struct {
	keys keys

	context    *psrtp.Context // nil until a packet needs it
	aead       *rtcpAEAD      // for RTCP, nil where the context does it
	generation uint32
	streams    map[uint32]*stream
	forgotten  int // SSRCs in context that are in use no more

	header     rtp.Header
	rtcpHeader rtcp.Header
}

func newSession(s Suite, master []byte) (session, error) {
	k, err := newKeys(s, master)
	if err != nil {
		return session{}, err
	}
	aead, err := k.rtcpAEAD()
	if err != nil {
		return session{}, err
	}
	return session{keys: k, aead: aead, streams: make(map[uint32]*stream)}, nil
}

// pion returns the context. With AES-GCM there is none.
func (s *session) pion() *psrtp.Context {
	if s.context == nil {
		c, err := s.keys.context()
		if err != nil {
			panic(err) // the lengths were checked
		}
		s.context = c
	}
	return s.context
}

// Suite returns the suite.
func (s *session) Suite() Suite { return s.keys.suite }

// Streams returns how many SSRCs are being followed that send RTP.
func (s *session) Streams() int { return len(s.streams) }

// forget drops a stream. The context can't, so it counts as one too many there.
func (s *session) forget(ssrc uint32) {
	if s.context != nil {
		_, rtp := s.context.ROC(ssrc)
		_, rtcp := s.context.Index(ssrc)
		if rtp {
			s.context.SetROC(ssrc, 0)
		}
		if rtp || rtcp {
			s.forgotten++
		}
	}
	delete(s.streams, ssrc)
}

// rebuild goes on with a new context.
func (s *session) rebuild() {
	s.context = nil
	s.generation++
	s.forgotten = 0
}

// trim bounds what is kept of a packet's header.
func (s *session) trim() {
	if cap(s.header.Extensions) > maxRetainedExtensions {
		s.header.Extensions = nil
	}
}
