package mafalda

import "context"

// ConsumerOptions are the options of [Transport.Consume].
type ConsumerOptions struct {
	// ProducerID is the id of the Producer to consume. Required.
	ProducerID string
	// RTPCapabilities are what the endpoint can receive. Required, but on a
	// PipeTransport, where they are ignored.
	RTPCapabilities RTPCapabilities
	// Paused starts the Consumer paused. Recommended for video: resume it when
	// the endpoint is ready, so that it misses no key frame.
	Paused bool
	// MID is the MID of the stream, up to 8 bytes. Empty means a number that
	// counts up from 0 on the Transport.
	MID string
	// EnableRTX turns retransmission on or off; nil means on for video and off
	// for audio.
	EnableRTX *bool
	// IgnoreDTX drops the packets with which Opus fills silence.
	IgnoreDTX bool
	// PreferredLayers are the layers to forward at most, of a Producer that has
	// some; nil means all of them. What is above the highest means that.
	PreferredLayers *ConsumerLayers
	// Pipe forwards all streams of the Producer as they are, as a PipeTransport
	// does. The Consumer has no MID then.
	Pipe bool
	// AppData is kept as it is.
	AppData any
}

// validate checks all but RTPCapabilities, which negotiation does.
func (o *ConsumerOptions) validate() error {
	if o.ProducerID == "" {
		return invalid("ProducerID is missing")
	}
	if o.PreferredLayers != nil {
		return o.PreferredLayers.validate()
	}
	return nil
}

// validatePipe checks that o has nothing that a PipeTransport can't do.
func (o *ConsumerOptions) validatePipe() error {
	if o.Paused || o.MID != "" || o.EnableRTX != nil || o.IgnoreDTX || o.PreferredLayers != nil {
		return invalid("a Consumer of a PipeTransport takes everything: of its options there are ProducerID and AppData only")
	}
	return nil
}

// enableRTX returns EnableRTX with its default.
func (o *ConsumerOptions) enableRTX(kind MediaKind) bool {
	if o.EnableRTX != nil {
		return *o.EnableRTX
	}
	return kind == MediaKindVideo
}

// ConsumerType tells how a Consumer treats the streams of its Producer.
type ConsumerType string

// The types of a [Consumer].
const (
	ConsumerTypeSimple    ConsumerType = "simple"    // forwards one stream as it is
	ConsumerTypeSimulcast ConsumerType = "simulcast" // forwards one of several streams at a time
	ConsumerTypeSVC       ConsumerType = "svc"       // forwards some layers of a stream
	ConsumerTypePipe      ConsumerType = "pipe"      // forwards all streams as they are
)

// ConsumerScore is the quality of what a Consumer sends, 0 to 10 each.
type ConsumerScore struct {
	Score          int   `json:"score"`          // of the stream sent
	ProducerScore  int   `json:"producerScore"`  // of the Producer's stream in use
	ProducerScores []int `json:"producerScores"` // of all its streams
}

// ConsumerLayers are a spatial layer, for simulcast the stream, and a temporal
// layer. Both count from 0.
type ConsumerLayers struct {
	SpatialLayer int `json:"spatialLayer"`
	// TemporalLayer may be nil where layers are preferred: the highest. Layers
	// that come from a Consumer have it.
	TemporalLayer *int `json:"temporalLayer,omitempty"`
}

func (l *ConsumerLayers) validate() error {
	if l.SpatialLayer < 0 {
		return invalid("spatial layer %d", l.SpatialLayer)
	}
	if l.TemporalLayer != nil && *l.TemporalLayer < 0 {
		return invalid("temporal layer %d", *l.TemporalLayer)
	}
	return nil
}

// A Consumer is the media of a Producer that a Transport sends.
// Its methods may be called by many goroutines at a time.
type Consumer interface {
	Lifetime
	AppDataHolder

	// ID returns the id of the Consumer, a UUID.
	ID() string
	ProducerID() string
	Kind() MediaKind
	Type() ConsumerType
	// RTPParameters returns what the endpoint will receive, as a copy the
	// caller may modify.
	RTPParameters() RTPParameters
	// Paused reports whether the Consumer itself is paused, ProducerPaused
	// whether its Producer is. Media flows when neither is.
	Paused() bool
	ProducerPaused() bool
	Score() ConsumerScore
	// Priority is the weight when bandwidth is distributed among the Consumers of
	// a Transport that send video, 1 to 255; 1 at first.
	Priority() int
	// PreferredLayers returns the layers to be forwarded at most, those that exist;
	// nil if the Consumer is neither simulcast nor SVC.
	PreferredLayers() *ConsumerLayers
	// CurrentLayers returns the layers that are forwarded, nil while there are none
	// to choose from or none is.
	CurrentLayers() *ConsumerLayers

	// SetPreferredLayers sets what PreferredLayers returns. A layer above the
	// highest means that. Where there are no layers it does nothing. Errors:
	// [ErrInvalidArgument] when negative, [ErrClosed], or the error of ctx.
	SetPreferredLayers(ctx context.Context, l ConsumerLayers) error
	// SetPriority sets what Priority returns. Errors: [ErrInvalidArgument] when it
	// is not in 1 to 255, [ErrClosed], or the error of ctx.
	SetPriority(ctx context.Context, priority int) error
	// UnsetPriority sets the priority to 1.
	UnsetPriority(ctx context.Context) error

	// Pause stops sending. Pausing a paused Consumer does nothing.
	// Errors: [ErrClosed], or the error of ctx.
	Pause(ctx context.Context) error
	// Resume is the opposite of Pause. For video a key frame is requested.
	Resume(ctx context.Context) error
	// RequestKeyFrame asks the Producer for a key frame, if the Consumer is
	// active and sends video.
	RequestKeyFrame(ctx context.Context) error
	// EnableTraceEvent makes the Consumer emit trace events of the given types
	// and no others: rtp, keyframe, nack, pli, fir. No type turns them off.
	// Errors: [ErrInvalidArgument] for another type, [ErrClosed].
	EnableTraceEvent(ctx context.Context, types ...TraceEventType) error

	// Stats returns the record of the stream sent, of each one for a pipe, and
	// then, once packets flow, that of the Producer's stream behind it.
	Stats(ctx context.Context) ([]RTPStreamStats, error)
	// Dump returns the state of the Consumer.
	Dump(ctx context.Context) (ConsumerDump, error)

	// Events has the events for the code that uses the Consumer, Observer the
	// ones for code that watches it. The pointers never change.
	Events() *ConsumerEvents
	Observer() *ConsumerObserver
}

// ConsumerEvents are the events of a [Consumer].
type ConsumerEvents struct {
	TransportClose Event[struct{}] // its Transport closed, and so it is closed
	ProducerClose  Event[struct{}] // its Producer closed, and so it is closed
	ProducerPause  Event[struct{}] // its Producer was paused
	ProducerResume Event[struct{}] // its Producer was resumed
	Score          Event[ConsumerScore]
	// LayersChange has the layers that are forwarded from now on; nil for none.
	LayersChange Event[*ConsumerLayers]
	Trace        Event[TraceEvent]
	// RTP is a packet for the endpoint, on a DirectTransport. The listener may
	// keep but not modify it.
	RTP Event[[]byte]
}

// ConsumerObserver has the events that observe a [Consumer].
type ConsumerObserver struct {
	Close Event[struct{}] // once, whoever closed it
	// Pause and Resume: media stopped or began to flow, because of the Consumer
	// or of its Producer.
	Pause        Event[struct{}]
	Resume       Event[struct{}]
	Score        Event[ConsumerScore]
	LayersChange Event[*ConsumerLayers]
	Trace        Event[TraceEvent]
}

// ConsumerDump is what [Consumer.Dump] returns.
type ConsumerDump struct {
	ID                         string                  `json:"id"`
	ProducerID                 string                  `json:"producerId"`
	Kind                       MediaKind               `json:"kind"`
	Type                       ConsumerType            `json:"type"`
	RTPParameters              RTPParameters           `json:"rtpParameters"`
	ConsumableRTPEncodings     []RTPEncodingParameters `json:"consumableRtpEncodings,omitempty"`
	SupportedCodecPayloadTypes []int                   `json:"supportedCodecPayloadTypes"` // media codecs only
	TraceEventTypes            []TraceEventType        `json:"traceEventTypes"`
	Paused                     bool                    `json:"paused"`
	ProducerPaused             bool                    `json:"producerPaused"`
	Priority                   int                     `json:"priority"`
	RTPStream                  *RTPStreamDump          `json:"rtpStream,omitempty"`  // but for pipes
	RTPStreams                 []RTPStreamDump         `json:"rtpStreams,omitempty"` // of pipes
	// Of simulcast and SVC, -1 for none.
	PreferredSpatialLayer  *int `json:"preferredSpatialLayer,omitempty"`
	TargetSpatialLayer     *int `json:"targetSpatialLayer,omitempty"`
	CurrentSpatialLayer    *int `json:"currentSpatialLayer,omitempty"`
	PreferredTemporalLayer *int `json:"preferredTemporalLayer,omitempty"`
	TargetTemporalLayer    *int `json:"targetTemporalLayer,omitempty"`
	CurrentTemporalLayer   *int `json:"currentTemporalLayer,omitempty"`
}
