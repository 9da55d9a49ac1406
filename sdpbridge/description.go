package sdpbridge

import (
	"slices"
	"strings"

	"github.com/mafalda-sfu/mafalda"
)

// Direction says which way media flows, seen from who wrote the description.
type Direction string

// The directions (RFC 8866 §6.7).
const (
	SendRecv Direction = "sendrecv"
	SendOnly Direction = "sendonly"
	RecvOnly Direction = "recvonly"
	Inactive Direction = "inactive"
)

// Sends reports whether the writer sends.
func (d Direction) Sends() bool { return d == SendRecv || d == SendOnly }

// Receives reports whether the writer receives.
func (d Direction) Receives() bool { return d == SendRecv || d == RecvOnly }

// directionOf returns the direction of who sends and receives as told.
func directionOf(sends, receives bool) Direction {
	switch {
	case sends && receives:
		return SendRecv
	case sends:
		return SendOnly
	case receives:
		return RecvOnly
	}
	return Inactive
}

// A Description is a session description as far as a Router is concerned.
type Description struct {
	// ID and Version are those of the o= line.
	ID, Version uint64
	// ICELite says that the writer is an ICE-lite endpoint.
	ICELite bool
	// Bundle lists the MIDs of the BUNDLE group (RFC 9143), nil if there is none.
	Bundle []string
	// ExtmapAllowMixed allows one- and two-byte header extensions in one
	// stream (RFC 8285 §6).
	ExtmapAllowMixed bool
	// Media lists the m-sections in order.
	Media []Media
}

// A HeaderExtension is one extmap line of an m-section (RFC 8285 §5).
type HeaderExtension struct {
	ID        uint8 // 1 to 255
	URI       mafalda.RTPHeaderExtensionURI
	Direction Direction // seen from the writer; empty means sendrecv
}

// A Media is one m-section of a [Description].
type Media struct {
	// Type is the media type: audio, video, application, …
	Type string
	// Protocol is, for WebRTC media, UDP/TLS/RTP/SAVPF.
	Protocol string
	// Formats are those of the m= line: payload types, unless Type is another
	// than audio and video. When writing they are taken from Codecs, if there are any.
	Formats []string
	// Rejected says that the port is 0 and that the section is not in use.
	Rejected bool
	// MID identifies the section; empty if it has none.
	MID string
	// Direction is sendrecv where the section says nothing.
	Direction Direction
	// RTCPMux says that RTP and RTCP share a port (RFC 5761).
	RTCPMux bool

	// SCTPPort is that of data channels (RFC 8841), 0 if the section has none.
	SCTPPort uint16
	// MaxMessageSize is how long a message the writer takes, in bytes; 0 says
	// nothing. Of a section with SCTPPort.
	MaxMessageSize uint32

	// ICE has the credentials. ICELite is that of the [Description].
	ICE mafalda.ICEParameters
	// Candidates are written only: those of a peer are not needed, and Parse
	// leaves them out.
	Candidates []mafalda.ICECandidate
	// DTLS has the fingerprints of known algorithms, and as role what a=setup
	// says: auto is actpass, client is active, server is passive; empty if
	// there is none.
	DTLS mafalda.DTLSParameters

	// Codecs are in order of preference.
	Codecs []mafalda.RTPCodecParameters
	// HeaderExtensions has no id and no URI twice.
	HeaderExtensions []HeaderExtension
	// Encodings are the streams of which the SSRC is given: the first of them,
	// as there is no simulcast by SSRC.
	Encodings []mafalda.RTPEncodingParameters
	// RIDs are the RTP stream ids (RFC 8851) of the simulcast that the writer
	// sends, in its order. They are parsed only.
	RIDs []string
	// ReceiveRIDs are those of the simulcast that the writer receives. They are
	// written only.
	ReceiveRIDs []string
	// MSID is the id of the media stream and that of the track, separated by a
	// space (RFC 8830).
	MSID string
	// CNAME is the canonical name that the SSRCs are given.
	CNAME string
}

// Kind returns the kind of media, empty if the section is neither audio nor video.
func (m *Media) Kind() mafalda.MediaKind {
	switch k := mafalda.MediaKind(m.Type); k {
	case mafalda.MediaKindAudio, mafalda.MediaKindVideo:
		return k
	}
	return ""
}

// RTPParameters returns what the writer of the section sends, with all its
// codecs and with the header extensions it is able to send. Without SSRCs there
// is one encoding without one, which is recognised by the MID.
func (m *Media) RTPParameters() mafalda.RTPParameters {
	p := mafalda.RTPParameters{
		MID:              m.MID,
		MSID:             m.MSID,
		Codecs:           slices.Clone(m.Codecs),
		HeaderExtensions: []mafalda.RTPHeaderExtensionParameters{},
		Encodings:        slices.Clone(m.Encodings),
		RTCP:             mafalda.RTCPParameters{CNAME: m.CNAME, ReducedSize: true},
	}
	for _, e := range m.HeaderExtensions {
		if e.Direction == "" || e.Direction.Sends() {
			p.HeaderExtensions = append(p.HeaderExtensions, mafalda.RTPHeaderExtensionParameters{URI: e.URI, ID: e.ID})
		}
	}
	if len(p.Encodings) == 0 {
		p.Encodings = []mafalda.RTPEncodingParameters{{}}
	}
	return p
}

// NewMedia returns an m-section in which media with the given parameters is
// sent. ICE, DTLS and candidates are left to the caller.
func NewMedia(kind mafalda.MediaKind, p mafalda.RTPParameters) Media {
	m := Media{
		Type:      string(kind),
		Protocol:  webRTCProtocol,
		MID:       p.MID,
		Direction: SendOnly,
		RTCPMux:   true,
		Codecs:    p.Codecs,
		Encodings: p.Encodings,
		MSID:      p.MSID,
		CNAME:     p.RTCP.CNAME,
	}
	for _, e := range p.HeaderExtensions {
		m.HeaderExtensions = append(m.HeaderExtensions, HeaderExtension{ID: e.ID, URI: e.URI})
	}
	return m
}

// isData reports whether the section is for data channels of the port that
// every endpoint uses.
func (m *Media) isData() bool {
	return m.Type == dataType && strings.HasSuffix(m.Protocol, "DTLS/SCTP") &&
		slices.Contains(m.Formats, dataFormat) && m.SCTPPort == dataPort
}

const (
	webRTCProtocol = "UDP/TLS/RTP/SAVPF"

	dataType     = "application"
	dataProtocol = "UDP/DTLS/SCTP"
	dataFormat   = "webrtc-datachannel"
	dataPort     = 5000
)

// isRTX reports whether c is a codec for retransmission.
func isRTX(c mafalda.RTPCodecParameters) bool {
	_, name, _ := strings.Cut(c.MIMEType, "/")
	return strings.EqualFold(name, "rtx")
}

// aptOf returns the payload type that an RTX codec belongs to, -1 if it has none.
func aptOf(c mafalda.RTPCodecParameters) int {
	if apt, ok := c.Parameters["apt"].(int); ok {
		return apt
	}
	return -1
}
