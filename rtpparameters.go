package mafalda

import (
	"encoding/json"
	"fmt"
)

// MediaKind says whether a stream carries sound or pictures.
type MediaKind string

// The two kinds of media.
const (
	MediaKindAudio MediaKind = "audio"
	MediaKindVideo MediaKind = "video"
)

// RTPCapabilities is what a Router or an endpoint is able to receive.
//
// All types of this file have mediasoup's JSON, so that mediasoup-client reads
// and writes them. A nil list is left out of the JSON, an empty one is kept;
// the functions of ORTC return lists that are never nil.
type RTPCapabilities struct {
	Codecs           []RTPCodecCapability `json:"codecs,omitzero"`
	HeaderExtensions []RTPHeaderExtension `json:"headerExtensions,omitzero"`
}

// RTPCodecCapability is one codec of [RTPCapabilities].
type RTPCodecCapability struct {
	// Kind is taken from MIMEType when the capabilities are normalised.
	Kind MediaKind `json:"kind"`
	// MIMEType is, for instance, «audio/opus»; case does not matter. Required.
	MIMEType string `json:"mimeType"`
	// PreferredPayloadType is the RTP payload type, 0 to 127. In JSON an absent
	// one counts as 0, because the payload types of a receiver don't matter.
	PreferredPayloadType uint8 `json:"preferredPayloadType"`
	// ClockRate is in Hz. Required.
	ClockRate uint32 `json:"clockRate"`
	// Channels counts audio channels; 0 means 1. Normalising removes it from video.
	Channels uint8 `json:"channels,omitempty"`
	// Parameters holds the codec's format parameters: strings and numbers.
	// Normalised, a whole number is an int and any other one a float64.
	Parameters map[string]any `json:"parameters,omitzero"`
	// RTCPFeedback lists what may be sent to the encoder. A Router's own list
	// comes from the supported codecs; what an application gives is ignored.
	RTCPFeedback []RTCPFeedback `json:"rtcpFeedback,omitzero"`
}

// RouterRTPCapabilities is what an application may choose the codecs of a
// Router from; see [SupportedRTPCapabilities].
type RouterRTPCapabilities struct {
	Codecs           []RouterRTPCodecCapability `json:"codecs,omitzero"`
	HeaderExtensions []RTPHeaderExtension       `json:"headerExtensions,omitzero"`
}

// RouterRTPCodecCapability is an [RTPCodecCapability] whose payload type is
// optional: one of the media codecs that a Router is created with.
type RouterRTPCodecCapability struct {
	// Kind is taken from MIMEType when the capabilities are normalised.
	Kind MediaKind `json:"kind"`
	// MIMEType is, for instance, «audio/opus»; case does not matter. Required.
	MIMEType string `json:"mimeType"`
	// PreferredPayloadType is the RTP payload type, 0 to 127; nil lets the
	// Router choose.
	PreferredPayloadType *uint8 `json:"preferredPayloadType,omitempty"`
	// ClockRate is in Hz. Required.
	ClockRate uint32 `json:"clockRate"`
	// Channels counts audio channels; 0 means 1. Normalising removes it from video.
	Channels uint8 `json:"channels,omitempty"`
	// Parameters holds the codec's format parameters: strings and numbers.
	Parameters map[string]any `json:"parameters,omitzero"`
	// RTCPFeedback is ignored in favour of the list of the supported codec.
	RTCPFeedback []RTCPFeedback `json:"rtcpFeedback,omitzero"`
}

// RTCPFeedback is a kind of RTCP message that a receiver may send to the
// encoder (RFC 4585 §4.2), such as «nack» with the parameter «pli».
type RTCPFeedback struct {
	Type      string `json:"type"` // required
	Parameter string `json:"parameter"`
}

// RTPHeaderExtensionURI names a kind of RTP header extension (RFC 8285 §5).
type RTPHeaderExtensionURI string

// The header extensions that a Router supports.
const (
	RTPHeaderExtensionMID                  RTPHeaderExtensionURI = "urn:ietf:params:rtp-hdrext:sdes:mid"
	RTPHeaderExtensionRTPStreamID          RTPHeaderExtensionURI = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
	RTPHeaderExtensionRepairedRTPStreamID  RTPHeaderExtensionURI = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
	RTPHeaderExtensionAbsSendTime          RTPHeaderExtensionURI = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
	RTPHeaderExtensionTransportWideCC      RTPHeaderExtensionURI = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
	RTPHeaderExtensionSSRCAudioLevel       RTPHeaderExtensionURI = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
	RTPHeaderExtensionDependencyDescriptor RTPHeaderExtensionURI = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
	RTPHeaderExtensionVideoOrientation     RTPHeaderExtensionURI = "urn:3gpp:video-orientation"
	RTPHeaderExtensionTimeOffset           RTPHeaderExtensionURI = "urn:ietf:params:rtp-hdrext:toffset"
	RTPHeaderExtensionAbsCaptureTime       RTPHeaderExtensionURI = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time"
	RTPHeaderExtensionPlayoutDelay         RTPHeaderExtensionURI = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
	RTPHeaderExtensionPacketID             RTPHeaderExtensionURI = "urn:mediasoup:params:rtp-hdrext:packet-id"
)

// RTPHeaderExtensionDirection says in which direction, seen from the Router, a
// header extension is used.
type RTPHeaderExtensionDirection string

// The directions of a header extension.
const (
	RTPHeaderExtensionSendRecv RTPHeaderExtensionDirection = "sendrecv"
	RTPHeaderExtensionSendOnly RTPHeaderExtensionDirection = "sendonly"
	RTPHeaderExtensionRecvOnly RTPHeaderExtensionDirection = "recvonly"
	RTPHeaderExtensionInactive RTPHeaderExtensionDirection = "inactive"
)

// RTPHeaderExtension is one header extension of [RTPCapabilities].
type RTPHeaderExtension struct {
	Kind MediaKind             `json:"kind"` // required
	URI  RTPHeaderExtensionURI `json:"uri"`  // required
	// PreferredID is the id in the packets, 1 to 255. Required.
	PreferredID uint8 `json:"preferredId"`
	// PreferredEncrypt asks for encryption (RFC 6904), which no Router does.
	PreferredEncrypt bool `json:"preferredEncrypt"`
	// Direction has a meaning in the capabilities of a Router only; empty means
	// sendrecv.
	Direction RTPHeaderExtensionDirection `json:"direction,omitempty"`
}

// RTPParameters describes how one Producer or Consumer uses RTP.
type RTPParameters struct {
	// MID is the media id (RFC 9143 §15.1); empty if there is none.
	MID string `json:"mid,omitempty"`
	// Codecs lists media codecs, the one in use first, and their RTX codecs. Required.
	Codecs           []RTPCodecParameters           `json:"codecs,omitzero"`
	HeaderExtensions []RTPHeaderExtensionParameters `json:"headerExtensions,omitzero"`
	// Encodings lists the streams; several ones are simulcast, lowest quality first.
	Encodings []RTPEncodingParameters `json:"encodings,omitzero"`
	RTCP      RTCPParameters          `json:"rtcp"`
	// MSID is the WebRTC media stream id (RFC 8830); a Consumer has that of its
	// Producer. Empty if there is none.
	MSID string `json:"msid,omitempty"`
}

// RTPCodecParameters is one codec of [RTPParameters].
type RTPCodecParameters struct {
	// MIMEType is, for instance, «audio/opus»; case does not matter. Required.
	MIMEType string `json:"mimeType"`
	// PayloadType is the RTP payload type, 0 to 127. Required.
	PayloadType uint8 `json:"payloadType"`
	// ClockRate is in Hz. Required.
	ClockRate uint32 `json:"clockRate"`
	// Channels counts audio channels; 0 means 1. Normalising removes it from video.
	Channels uint8 `json:"channels,omitempty"`
	// Parameters holds the codec's format parameters: strings and numbers.
	// Normalised, a whole number is an int and any other one a float64.
	Parameters   map[string]any `json:"parameters,omitzero"`
	RTCPFeedback []RTCPFeedback `json:"rtcpFeedback,omitzero"`
}

// UnmarshalJSON is that of encoding/json, but an absent payload type, which must
// not be taken for 0, is an [ErrInvalidArgument].
func (c *RTPCodecParameters) UnmarshalJSON(text []byte) error {
	type plain RTPCodecParameters
	v := struct {
		*plain
		PayloadType *uint8 `json:"payloadType"`
	}{plain: (*plain)(c)}
	if err := json.Unmarshal(text, &v); err != nil {
		return err
	}
	if v.PayloadType == nil {
		return fmt.Errorf("missing payloadType: %w", ErrInvalidArgument)
	}
	c.PayloadType = *v.PayloadType
	return nil
}

// RTPHeaderExtensionParameters is one header extension of [RTPParameters].
type RTPHeaderExtensionParameters struct {
	URI RTPHeaderExtensionURI `json:"uri"` // required
	// ID is the id in the packets, 1 to 255. Required.
	ID uint8 `json:"id"`
	// Encrypt asks for encryption (RFC 6904), which no Router does.
	Encrypt bool `json:"encrypt"`
	// Parameters holds strings and numbers.
	Parameters map[string]any `json:"parameters,omitzero"`
}

// RTPEncodingParameters is one stream of [RTPParameters].
type RTPEncodingParameters struct {
	// SSRC is the RTP synchronisation source; 0 means not given.
	SSRC uint32 `json:"ssrc,omitempty"`
	// RID is the RTP stream id (RFC 8852); empty means not given.
	RID string `json:"rid,omitempty"`
	// CodecPayloadType is the payload type of the media codec in use; nil means
	// the first media codec.
	CodecPayloadType *uint8 `json:"codecPayloadType,omitempty"`
	// RTX is the stream of retransmissions; nil if there is none.
	RTX *RTXParameters `json:"rtx,omitempty"`
	// DTX says that the encoder pauses when there is nothing new to send. Unlike
	// mediasoup's, our JSON leaves a false one out.
	DTX bool `json:"dtx,omitempty"`
	// ScalabilityMode is, for instance, «L1T3»; see [ParseScalabilityMode].
	ScalabilityMode string `json:"scalabilityMode,omitempty"`
	// MaxBitrate is in bit/s; 0 means not given.
	MaxBitrate int `json:"maxBitrate,omitempty"`
}

// RTXParameters describes a stream of retransmissions (RFC 4588).
type RTXParameters struct {
	SSRC uint32 `json:"ssrc"` // required
}

// RTCPParameters describes the RTCP of a Producer or Consumer.
type RTCPParameters struct {
	// CNAME is the canonical name (RFC 3550 §6.5.1); empty if there is none.
	CNAME string `json:"cname,omitempty"`
	// ReducedSize allows RFC 5506 packets. Normalising makes it true, whatever
	// was given, as mediasoup does.
	ReducedSize bool `json:"reducedSize"`
}
