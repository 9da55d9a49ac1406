// Package codec reads what the payload of a media packet says about itself: is
// it the beginning of a key frame, which layer does it belong to, is it silence?
//
// It looks at descriptors only, never at coded media, and allocates nothing.
package codec

import "strings"

// A Kind is a codec whose payload is understood.
type Kind uint8

// The codecs. Other is any whose packets are forwarded unseen.
const (
	Other Kind = iota
	Opus
	VP8
	VP9
	H264
	AV1
)

// KindOf returns the codec of a MIME type like "video/VP8", in any case.
// Multi-channel Opus ("audio/multiopus") is Opus here.
func KindOf(mimeType string) Kind {
	for _, m := range [...]struct {
		name string
		kind Kind
	}{
		{"audio/opus", Opus}, {"audio/multiopus", Opus}, {"video/VP8", VP8},
		{"video/VP9", VP9}, {"video/H264", H264}, {"video/AV1", AV1},
	} {
		if strings.EqualFold(mimeType, m.name) {
			return m.kind
		}
	}
	return Other
}

// String returns the name of the codec.
func (k Kind) String() string {
	switch k {
	case Opus:
		return "opus"
	case VP8:
		return "VP8"
	case VP9:
		return "VP9"
	case H264:
		return "H264"
	case AV1:
		return "AV1"
	}
	return "other"
}

// CanBeKeyFrame reports whether forwarding a stream of the codec may wait for a
// key frame. AV1 can't: without a dependency descriptor none is ever seen.
func (k Kind) CanBeKeyFrame() bool { return k == VP8 || k == VP9 || k == H264 }

// An Info is what [Parse] found out about a packet. Fields that a codec does not
// have, or the packet does not carry, are zero. It holds no pointer.
type Info struct {
	// KeyFrame: the packet begins a key frame; forwarding may start with it.
	KeyFrame bool
	// DTX: an Opus packet of discontinuous transmission, which may be left out.
	DTX bool

	// SpatialLayer is 0 to 7 in VP9 and with a dependency descriptor.
	SpatialLayer uint8
	// TemporalLayer is 0 to 3 in VP8, 0 to 7 in VP9 and with a dependency
	// descriptor.
	TemporalLayer uint8
	// HasLayers: the packet says which layers it is of; else both are 0.
	HasLayers bool

	// StartOfFrame and EndOfFrame: the packet is the first or the last one of a
	// frame, of its spatial layer where there are several. VP8 knows no end, H264
	// neither without a dependency descriptor.
	StartOfFrame, EndOfFrame bool
	// SwitchingUp: from this frame on its temporal layer can be decoded by who
	// got only lower ones (VP8 Y, VP9 U).
	SwitchingUp bool
	// InterPicture: predicted from an earlier picture (VP9 P).
	InterPicture bool
	// InterLayer: predicted from the spatial layer below (VP9 D).
	InterLayer bool
	// Discardable: no other frame refers to this one (VP8 N).
	Discardable bool

	// HasPictureID, PictureID: number of the picture, with PictureIDBits 7 or 15
	// bits (VP8, VP9).
	HasPictureID  bool
	PictureIDBits uint8
	PictureID     uint16
	// HasTL0PICIDX, TL0PICIDX: number of the picture of temporal layer 0 that this
	// one depends on (VP8, VP9).
	HasTL0PICIDX bool
	TL0PICIDX    uint8
	// PictureIDAt and TL0PICIDXAt are offsets in the payload; 0 where absent.
	PictureIDAt, TL0PICIDXAt uint8

	// HasDependency: Template and FrameNumber come from a dependency descriptor.
	HasDependency bool
	// HasStructure: the descriptor carries a template structure.
	HasStructure bool
	// Template is the template id, 0 to 63; see [Structure].
	Template    uint8
	FrameNumber uint16
	// HasActiveTargets, ActiveTargets: which decode targets the sender produces,
	// one bit for each; the lowest is the first target.
	HasActiveTargets bool
	ActiveTargets    uint32
	// NeededBy and Targets come from the decode target indications: who needs the
	// frame, and who is known at all. See [Info.Needed].
	NeededBy, Targets uint64
}

// Parse reads the payload of a packet of codec k, padding left out, and its
// dependency descriptor if it has one (else nil), and sets *info. It returns
// false, and info is zero, when the codec is not understood or the payload is
// not what it must be; such a packet is to be forwarded as it is.
//
// Of AV1 it reads the dependency descriptor only. Of H264, too, if there is one.
// A descriptor with a template structure gives the layers; for those that follow
// it, use [ParseStream].
func Parse(k Kind, payload, dependencyDescriptor []byte, info *Info) bool {
	return ParseStream(k, payload, dependencyDescriptor, nil, info)
}

// ParseStream is [Parse] for the packets of one stream in the order in which they
// come: s, which is the stream's, keeps the template structure that dependency
// descriptors refer to. A descriptor that refers to one that never came is as good
// as none.
func ParseStream(k Kind, payload, dependencyDescriptor []byte, s *Structure, info *Info) bool {
	*info = Info{}
	ok := false
	switch k {
	case Opus:
		ok = parseOpus(payload, info)
	case VP8:
		ok = parseVP8(payload, info)
	case VP9:
		ok = parseVP9(payload, info)
	case H264:
		ok = ParseDependency(dependencyDescriptor, s, info) || parseH264(payload, info)
	case AV1:
		ok = ParseDependency(dependencyDescriptor, s, info)
	}
	if !ok {
		*info = Info{}
	}
	return ok
}

// parseOpus reads the first byte of a packet (RFC 6716 §3.1). A packet whose
// frames are all empty is of discontinuous transmission.
//
//	| config (5) | s | c (2) |    c: 0 one frame, 1 two alike, 2 two, 3 many
func parseOpus(b []byte, info *Info) bool {
	if len(b) == 0 {
		return false
	}
	switch code := b[0] & 0x03; code {
	case 0, 1:
		info.DTX = len(b) == 1
	default: // a second byte says how long or how many the frames are
		if len(b) == 1 {
			return false
		}
		info.DTX = code == 2 && len(b) == 2
	}
	return true
}
