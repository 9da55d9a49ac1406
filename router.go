package mafalda

import "context"

// RouterOptions are the options of [Worker.CreateRouter].
type RouterOptions struct {
	// MediaCodecs are the codecs of the Router: those of
	// [SFU.SupportedRTPCapabilities] in any selection, with parameters of
	// their own. Retransmission and payload types are added. Default: none,
	// and then nothing can be produced.
	MediaCodecs []RouterRTPCodecCapability
	// AppData is kept as it is.
	AppData any
}

// A Router forwards RTP between the Transports created on it: what is produced
// on one can be consumed on all.
type Router interface {
	Lifetime
	AppDataHolder

	// ID returns the id of the Router, a UUID.
	ID() string
	// RTPCapabilities returns the codecs and header extensions of the Router,
	// as a copy the caller may modify. Endpoints derive theirs from it.
	RTPCapabilities() RTPCapabilities

	// CreateWebRTCTransport creates a Transport for a browser or the like.
	// Errors: [ErrInvalidArgument]; [ErrInvalidState] when the WebRTCServer is
	// closed; [errors.ErrUnsupported] for a DTLSCertificate on a Worker with a
	// WorkerBin; [ErrUnavailable]; [ErrClosed].
	CreateWebRTCTransport(ctx context.Context, o WebRTCTransportOptions) (WebRTCTransport, error)
	// CreatePlainTransport creates a Transport for RTP over UDP, as ffmpeg or
	// GStreamer speak it. Errors: [ErrInvalidArgument], [ErrUnavailable], [ErrClosed].
	CreatePlainTransport(ctx context.Context, o PlainTransportOptions) (PlainTransport, error)
	// CreatePipeTransport creates a Transport to a PipeTransport of another
	// Router. Errors: [ErrInvalidArgument], [ErrUnavailable], [ErrClosed].
	CreatePipeTransport(ctx context.Context, o PipeTransportOptions) (PipeTransport, error)
	// CreateDirectTransport creates a Transport for packets of the application
	// itself. Errors: [ErrClosed].
	CreateDirectTransport(ctx context.Context, o DirectTransportOptions) (DirectTransport, error)
	// Transports returns the open Transports in the order of their creation.
	Transports() []Transport

	// CreateAudioLevelObserver creates an RTPObserver that tells who is loudest.
	// Errors: [ErrInvalidArgument], [ErrClosed].
	CreateAudioLevelObserver(ctx context.Context, o AudioLevelObserverOptions) (AudioLevelObserver, error)
	// CreateActiveSpeakerObserver creates an RTPObserver that tells who dominates
	// the conversation. Errors: [ErrInvalidArgument], [ErrClosed].
	CreateActiveSpeakerObserver(ctx context.Context, o ActiveSpeakerObserverOptions) (ActiveSpeakerObserver, error)
	// RTPObservers returns the open RTPObservers in the order of their creation.
	RTPObservers() []RTPObserver

	// PipeToRouter makes a Producer or DataProducer of this Router available on
	// another one, over two PipeTransports that all calls for the same two
	// Routers share, in both directions, and that live as long as the Routers.
	// What pauses, resumes or closes the Producer does it to the new one, what
	// closes the DataProducer too. Errors: [ErrInvalidArgument]; [ErrNotFound]
	// for an unknown Producer, or one that closed meanwhile; [ErrInvalidState] when the other Router, or with KeepID
	// its Worker, has a Producer of that id; [ErrUnavailable]; [ErrClosed] of
	// either Router.
	PipeToRouter(ctx context.Context, o PipeToRouterOptions) (PipeToRouterResult, error)

	// CanConsume reports whether an endpoint with the given capabilities can
	// consume the Producer. It is false for an unknown Producer and for invalid
	// capabilities.
	CanConsume(producerID string, caps RTPCapabilities) bool
	// UpdateMediaCodecs replaces the codecs of the Router, for Producers to
	// come; those that exist are not affected. Errors: as CreateRouter.
	UpdateMediaCodecs(ctx context.Context, mediaCodecs []RouterRTPCodecCapability) error

	// Dump returns what the Router holds.
	Dump(ctx context.Context) (RouterDump, error)

	// Events has the events for the code that uses the Router, Observer the
	// ones for code that watches it. The pointers never change.
	Events() *RouterEvents
	Observer() *RouterObserver
}

// RouterEvents are the events of a [Router].
type RouterEvents struct {
	WorkerClose Event[struct{}] // its Worker closed or died, and so it is closed
}

// RouterObserver has the events that observe a [Router].
type RouterObserver struct {
	Close          Event[struct{}]
	NewTransport   Event[Transport]
	NewRTPObserver Event[RTPObserver]
}

// RouterDump is what [Router.Dump] returns. A Producer without Consumers has
// an entry with no values.
type RouterDump struct {
	ID                               string                      `json:"id"`
	TransportIDs                     []string                    `json:"transportIds"`
	RTPObserverIDs                   []string                    `json:"rtpObserverIds"`
	MapProducerIDConsumerIDs         []KeyValues[string, string] `json:"mapProducerIdConsumerIds"`
	MapConsumerIDProducerID          []KeyValue[string, string]  `json:"mapConsumerIdProducerId"`
	MapProducerIDObserverIDs         []KeyValues[string, string] `json:"mapProducerIdObserverIds"`
	MapDataProducerIDDataConsumerIDs []KeyValues[string, string] `json:"mapDataProducerIdDataConsumerIds"`
	MapDataConsumerIDDataProducerID  []KeyValue[string, string]  `json:"mapDataConsumerIdDataProducerId"`
}
