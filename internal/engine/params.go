package engine

import (
	"maps"
	"reflect"
	"slices"
	"strings"
)

// A Kind is audio or video.
type Kind uint8

const (
	Audio Kind = iota + 1
	Video
)

// String returns "audio" or "video".
func (k Kind) String() string {
	if k == Audio {
		return "audio"
	}
	return "video"
}

// RTPParameters describe what a Producer receives or a Consumer sends.
//
// The engine keeps those that it is given, and completes them before its method
// returns. From then on nobody changes them: Consumers share what is equal, and
// a dump has the same lists.
type RTPParameters struct {
	MID              string
	Codecs           []CodecParameters
	HeaderExtensions []HeaderExtension
	Encodings        []Encoding
	CNAME            string
	ReducedSize      bool
	MSID             string
}

// CodecParameters are one codec of [RTPParameters].
type CodecParameters struct {
	MimeType    string
	PayloadType uint8
	ClockRate   uint32
	Channels    uint8
	Parameters  map[string]any // string, int or float64
	Feedback    []Feedback
}

// Feedback is one kind of RTCP feedback of a codec, as in {"nack", "pli"}.
type Feedback struct{ Type, Parameter string }

// HeaderExtension is one negotiated RTP header extension.
type HeaderExtension struct {
	URI     string
	ID      uint8
	Encrypt bool
}

// Encoding is one RTP stream of [RTPParameters].
type Encoding struct {
	SSRC             uint32 // 0: unknown
	RID              string
	CodecPayloadType *uint8
	RTXSSRC          uint32 // 0: none
	DTX              bool
	ScalabilityMode  string
	MaxBitrate       uint32
}

// RTPMapping says how a Producer's payload types and encodings appear to its
// Consumers.
type RTPMapping struct {
	Codecs    []CodecMapping
	Encodings []EncodingMapping
}

// CodecMapping maps one payload type.
type CodecMapping struct{ PayloadType, MappedPayloadType uint8 }

// EncodingMapping maps one encoding to the SSRC that Consumers are told.
type EncodingMapping struct {
	RID        string
	SSRC       uint32
	MappedSSRC uint32
}

// share replaces lists of p that o has too by those of o, so that they are in
// memory once.
func (p *RTPParameters) share(o *RTPParameters) {
	if slices.EqualFunc(p.Codecs, o.Codecs, CodecParameters.equal) {
		p.Codecs = o.Codecs
	}
	if slices.Equal(p.HeaderExtensions, o.HeaderExtensions) {
		p.HeaderExtensions = o.HeaderExtensions
	}
}

func (c CodecParameters) equal(o CodecParameters) bool {
	return c.MimeType == o.MimeType && c.PayloadType == o.PayloadType && c.ClockRate == o.ClockRate &&
		c.Channels == o.Channels && slices.Equal(c.Feedback, o.Feedback) &&
		maps.EqualFunc(c.Parameters, o.Parameters, func(x, y any) bool { return reflect.DeepEqual(x, y) })
}

// URIs of the header extensions that the engine knows.
const (
	uriMID         = "urn:ietf:params:rtp-hdrext:sdes:mid"
	uriRID         = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
	uriRRID        = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
	uriAbsSendTime = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
	uriTWCC        = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
	uriAudioLevel  = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
	uriDependency  = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
	uriOrientation = "urn:3gpp:video-orientation"
	uriTimeOffset  = "urn:ietf:params:rtp-hdrext:toffset"
	uriCaptureTime = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time"
	uriPlayout     = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
	uriPacketID    = "urn:mediasoup:params:rtp-hdrext:packet-id"
)

// extensionIDs are the ids under which one side sends the extensions we know;
// 0 is «not negotiated».
type extensionIDs struct {
	mid, rid, rrid, absSendTime, twcc, audioLevel, dependency,
	orientation, timeOffset, captureTime, playout, packetID uint8
}

// set fills ids from e and reports an unknown URI or a zero id.
func (ids *extensionIDs) set(extensions []HeaderExtension) error {
	for _, e := range extensions {
		if e.ID == 0 {
			return invalid("RTP header extension %s has id 0", e.URI)
		}
		switch e.URI {
		case uriMID:
			ids.mid = e.ID
		case uriRID:
			ids.rid = e.ID
		case uriRRID:
			ids.rrid = e.ID
		case uriAbsSendTime:
			ids.absSendTime = e.ID
		case uriTWCC:
			ids.twcc = e.ID
		case uriAudioLevel:
			ids.audioLevel = e.ID
		case uriDependency:
			ids.dependency = e.ID
		case uriOrientation:
			ids.orientation = e.ID
		case uriTimeOffset:
			ids.timeOffset = e.ID
		case uriCaptureTime:
			ids.captureTime = e.ID
		case uriPlayout:
			ids.playout = e.ID
		case uriPacketID:
			ids.packetID = e.ID
		default:
			return invalid("unknown RTP header extension %q", e.URI)
		}
	}
	return nil
}

// A codecClass tells media from what repairs or complements it
// (mediasoup's RtpCodecMimeType).
type codecClass uint8

const (
	mediaCodec codecClass = iota + 1
	complementCodec
	featureCodec
)

// A codecType is a codec that the engine knows.
type codecType struct {
	name  string // the MIME type in canonical case
	class codecClass
}

// codecTypes has them by MIME type in lower case.
var codecTypes = func() map[string]codecType {
	types := map[string]codecType{}
	for class, names := range map[codecClass][]string{
		mediaCodec: {
			"audio/opus", "audio/multiopus", "audio/PCMA", "audio/PCMU", "audio/ISAC", "audio/G722",
			"audio/iLBC", "audio/SILK", "video/VP8", "video/VP9", "video/H264", "video/AV1",
		},
		complementCodec: {"audio/CN", "audio/telephone-event"},
		featureCodec: {
			"audio/rtx", "video/rtx", "audio/ulpfec", "video/ulpfec", "audio/flexfec", "video/flexfec",
			"audio/x-ulpfecuc", "video/x-ulpfecuc", "audio/red", "video/red",
		},
	} {
		for _, name := range names {
			types[strings.ToLower(name)] = codecType{name, class}
		}
	}
	return types
}()

func (c *CodecParameters) class() codecClass { return codecTypes[strings.ToLower(c.MimeType)].class }

// is reports whether the sub-type of c is name, in lower case.
func (c *CodecParameters) is(name string) bool {
	_, sub, _ := strings.Cut(c.MimeType, "/")
	return strings.EqualFold(sub, name)
}

func (c *CodecParameters) feedback(typ, parameter string) bool {
	return slices.Contains(c.Feedback, Feedback{typ, parameter})
}

// number returns an integer parameter of the codec.
func (c *CodecParameters) number(key string) (int, bool) {
	switch v := c.Parameters[key].(type) {
	case int:
		return v, true
	case float64:
		return int(v), v == float64(int(v))
	}
	return 0, false
}

// validate applies the rules of mediasoup's worker (media-plane §6.1) that
// hold for both directions, and resolves the payload type of each encoding.
func (p *RTPParameters) validate() error {
	if len(p.Codecs) == 0 {
		return invalid("empty codecs")
	}
	if len(p.Encodings) == 0 {
		return invalid("empty encodings")
	}
	if p.CNAME == "" {
		return invalid("empty CNAME")
	}
	var seen [256]bool
	for i := range p.Codecs {
		c := &p.Codecs[i]
		known, ok := codecTypes[strings.ToLower(c.MimeType)]
		if !ok {
			return invalid("unknown MIME type %q", c.MimeType)
		}
		c.MimeType = known.name
		if c.PayloadType > 127 {
			return invalid("payload type %d is out of range", c.PayloadType)
		}
		if seen[c.PayloadType] {
			return invalid("duplicated payload type %d", c.PayloadType)
		}
		seen[c.PayloadType] = true
	}
	for i := range p.Codecs {
		if err := p.validateRTX(&p.Codecs[i]); err != nil {
			return err
		}
	}
	first := p.firstMediaCodec()
	if first == nil {
		return invalid("no media codec")
	}
	for i := range p.Encodings {
		e := &p.Encodings[i]
		if e.CodecPayloadType == nil {
			e.CodecPayloadType = new(first.PayloadType)
			continue
		}
		if c := p.codec(*e.CodecPayloadType); c == nil || c.class() != mediaCodec {
			return invalid("encoding names payload type %d, which is no media codec", *e.CodecPayloadType)
		}
	}
	return nil
}

func (p *RTPParameters) validateRTX(c *CodecParameters) error {
	if !c.is("rtx") {
		return nil
	}
	apt, ok := c.number("apt")
	if !ok || apt < 0 || apt > 127 {
		return invalid("RTX codec without apt")
	}
	for i := range p.Codecs {
		o := &p.Codecs[i]
		if int(o.PayloadType) != apt {
			continue
		}
		if o.is("rtx") || o.is("ulpfec") || o.is("flexfec") {
			return invalid("apt %d of RTX codec is a %s codec", apt, o.MimeType)
		}
		return nil
	}
	return invalid("apt %d of RTX codec is no codec", apt)
}

func (p *RTPParameters) codec(pt uint8) *CodecParameters {
	for i := range p.Codecs {
		if p.Codecs[i].PayloadType == pt {
			return &p.Codecs[i]
		}
	}
	return nil
}

func (p *RTPParameters) firstMediaCodec() *CodecParameters {
	for i := range p.Codecs {
		if p.Codecs[i].class() == mediaCodec {
			return &p.Codecs[i]
		}
	}
	return nil
}

// rtxCodec returns the codec that retransmits pt, or nil.
func (p *RTPParameters) rtxCodec(pt uint8) *CodecParameters {
	for i := range p.Codecs {
		c := &p.Codecs[i]
		if c.class() != featureCodec {
			continue
		}
		if apt, ok := c.number("apt"); ok && apt == int(pt) {
			return c
		}
	}
	return nil
}
