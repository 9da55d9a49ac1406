package mafalda

import (
	"context"
	"time"
)

// ProducerOptions are the options of [Transport.Produce].
type ProducerOptions struct {
	// ID is the id of the Producer. Empty means a random UUID. It is there for
	// who connects Routers, where both ends should have the same id.
	ID string
	// Kind is required.
	Kind MediaKind
	// RTPParameters are what the endpoint sends. Required.
	RTPParameters RTPParameters
	// Paused starts the Producer paused.
	Paused bool
	// KeyFrameRequestDelay is the least time between two key frame requests to
	// the endpoint, in whole milliseconds up to 2³²−1. Zero means no limit: each
	// Consumer that begins after a key frame asks for another. Where many may
	// begin at about the same time, a second spares the sender and the lines of
	// all others. Video only.
	KeyFrameRequestDelay time.Duration
	// EnableMediasoupPacketIDHeaderExtension gives each received packet a
	// number in a header extension of that name, for Consumers that negotiated it.
	EnableMediasoupPacketIDHeaderExtension bool
	// AppData is kept as it is.
	AppData any
}

// maxKeyFrameRequestDelay is what mediasoup's worker protocol can carry.
const maxKeyFrameRequestDelay = (1<<32 - 1) * time.Millisecond

// validate checks all but RTPParameters, which negotiation does.
func (o *ProducerOptions) validate() error {
	if o.Kind != MediaKindAudio && o.Kind != MediaKindVideo {
		return invalid("kind %q is neither audio nor video", o.Kind)
	}
	if d := o.KeyFrameRequestDelay; d < 0 || d > maxKeyFrameRequestDelay {
		return invalid("key frame request delay %v", d)
	}
	return nil
}

// ProducerType tells how many streams and layers a Producer has.
type ProducerType string

// The types of a [Producer].
const (
	ProducerTypeSimple    ProducerType = "simple"    // one stream without layers
	ProducerTypeSimulcast ProducerType = "simulcast" // several streams of one source
	ProducerTypeSVC       ProducerType = "svc"       // one stream with spatial or temporal layers
)

// ProducerScore is the quality of one received RTP stream.
type ProducerScore struct {
	EncodingIdx int    `json:"encodingIdx"`
	SSRC        uint32 `json:"ssrc"`
	RID         string `json:"rid,omitempty"`
	Score       int    `json:"score"` // 0 (nothing arrives) to 10 (no loss)
}

// ProducerVideoOrientation is what the sender says about its camera
// (header extension urn:3gpp:video-orientation).
type ProducerVideoOrientation struct {
	Camera   bool `json:"camera"` // it faces away from the user
	Flip     bool `json:"flip"`
	Rotation int  `json:"rotation"` // degrees clockwise: 0, 90, 180, 270
}

// A Producer is media that a Transport receives.
// Its methods may be called by many goroutines at a time.
type Producer interface {
	Lifetime
	AppDataHolder

	// ID returns the id of the Producer: the one of its options, or a UUID.
	ID() string
	Kind() MediaKind
	Type() ProducerType
	// RTPParameters returns what the endpoint sends, normalised, as a copy the
	// caller may modify.
	RTPParameters() RTPParameters
	Paused() bool
	// Score returns the score of each stream, as the last Score event; empty
	// before the first.
	Score() []ProducerScore

	// Pause stops forwarding to every Consumer. Pausing a paused Producer does
	// nothing. Errors: [ErrClosed], or the error of ctx.
	Pause(ctx context.Context) error
	// Resume is the opposite of Pause. For video a key frame is requested.
	Resume(ctx context.Context) error
	// EnableTraceEvent makes the Producer emit trace events of the given types
	// and no others: rtp, keyframe, nack, pli, fir, sr. No type turns them off.
	// Errors: [ErrInvalidArgument] for another type, [ErrClosed].
	EnableTraceEvent(ctx context.Context, types ...TraceEventType) error
	// Send hands in an RTP packet as if an endpoint had sent it. The packet is
	// copied. It does not wait; a packet that is malformed, or longer than 1,984
	// bytes, is dropped. Errors:
	// [errors.ErrUnsupported] unless the Producer is on a DirectTransport;
	// [ErrClosed]; [ErrUnavailable] when too many packets wait.
	Send(packet []byte) error

	// Stats returns one record for each stream that was received yet.
	Stats(ctx context.Context) ([]RTPStreamStats, error)
	// Dump returns the state of the Producer.
	Dump(ctx context.Context) (ProducerDump, error)

	// Events has the events for the code that uses the Producer, Observer the
	// ones for code that watches it. The pointers never change.
	Events() *ProducerEvents
	Observer() *ProducerObserver
}

// ProducerEvents are the events of a [Producer].
type ProducerEvents struct {
	TransportClose         Event[struct{}] // its Transport closed, and so it is closed
	Score                  Event[[]ProducerScore]
	VideoOrientationChange Event[ProducerVideoOrientation]
	Trace                  Event[TraceEvent]
}

// ProducerObserver has the events that observe a [Producer].
type ProducerObserver struct {
	Close                  Event[struct{}] // once, whoever closed it
	Pause                  Event[struct{}]
	Resume                 Event[struct{}]
	Score                  Event[[]ProducerScore]
	VideoOrientationChange Event[ProducerVideoOrientation]
	Trace                  Event[TraceEvent]
}

// ProducerDump is what [Producer.Dump] returns. RTPParameters are those the
// engine works with: MIME types in canonical case, a payload type in each
// encoding.
type ProducerDump struct {
	ID              string           `json:"id"`
	Kind            MediaKind        `json:"kind"`
	Type            ProducerType     `json:"type"`
	RTPParameters   RTPParameters    `json:"rtpParameters"`
	RTPMapping      RTPMappingDump   `json:"rtpMapping"`
	RTPStreams      []RTPStreamDump  `json:"rtpStreams,omitempty"` // those received yet
	TraceEventTypes []TraceEventType `json:"traceEventTypes"`
	Paused          bool             `json:"paused"`
}

// RTPMappingDump says under which payload types and SSRCs the Router knows the
// streams of a Producer.
type RTPMappingDump struct {
	Codecs    []CodecMappingDump    `json:"codecs"`
	Encodings []EncodingMappingDump `json:"encodings"`
}

// CodecMappingDump is the mapping of one payload type.
type CodecMappingDump struct {
	PayloadType       uint8 `json:"payloadType"`
	MappedPayloadType uint8 `json:"mappedPayloadType"`
}

// EncodingMappingDump is the mapping of one stream.
type EncodingMappingDump struct {
	RID        string  `json:"rid,omitempty"`
	SSRC       *uint32 `json:"ssrc"` // nil while unknown
	MappedSSRC uint32  `json:"mappedSsrc"`
}
