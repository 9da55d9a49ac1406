package mafalda

// SCTPOptions are the options of [WebRTCTransportOptions],
// [PlainTransportOptions] and [PipeTransportOptions] that concern data. Sizes
// are in bytes, up to 2³²−1, and 0 means the default.
type SCTPOptions struct {
	// EnableSCTP lets the Transport carry data. Without it the others have no
	// effect.
	EnableSCTP bool
	// MaxSendMessageSize is how long the messages of DataConsumers may be; longer
	// ones are dropped. Default: 262,144.
	MaxSendMessageSize int
	// MaxReceiveMessageSize is how long the messages of DataProducers may be;
	// longer ones are dropped. Default: 262,144.
	MaxReceiveMessageSize int
	// SCTPSendBufferSize is how much may wait to be sent, in all. Default:
	// 2,000,000.
	SCTPSendBufferSize int
	// SCTPPerStreamSendQueueLimit is how much of one DataConsumer may wait to be
	// sent. Default: 2,000,000.
	SCTPPerStreamSendQueueLimit int
	// SCTPMaxReceiverWindowBufferSize is how much the endpoint may send before
	// we have taken it. Default: 5,242,880.
	SCTPMaxReceiverWindowBufferSize int
	// SCTPDefaultStreamBufferedAmountLowThreshold is the threshold of new
	// DataConsumers; see [DataConsumer.SetBufferedAmountLowThreshold]. nil means
	// 1,024.
	SCTPDefaultStreamBufferedAmountLowThreshold *int
}

const defaultBufferedAmountLowThreshold = 1024

func (o *SCTPOptions) validateSCTP() error {
	return validateSizes(
		o.MaxSendMessageSize, o.MaxReceiveMessageSize, o.SCTPSendBufferSize,
		o.SCTPPerStreamSendQueueLimit, o.SCTPMaxReceiverWindowBufferSize, o.bufferedAmountLowThreshold(),
	)
}

// bufferedAmountLowThreshold returns the option with its default.
func (o *SCTPOptions) bufferedAmountLowThreshold() int {
	if o.SCTPDefaultStreamBufferedAmountLowThreshold == nil {
		return defaultBufferedAmountLowThreshold
	}
	return *o.SCTPDefaultStreamBufferedAmountLowThreshold
}

// SCTPState is the state of the SCTP association of a Transport.
type SCTPState string

// The SCTP states. Stats and dumps have closed for an association that failed.
const (
	SCTPStateNew        SCTPState = "new"
	SCTPStateConnecting SCTPState = "connecting"
	SCTPStateConnected  SCTPState = "connected"
	SCTPStateFailed     SCTPState = "failed"
	SCTPStateClosed     SCTPState = "closed"
)

// SCTPParameters are what an endpoint has to know of the SCTP of a Transport.
// Sizes are in bytes.
type SCTPParameters struct {
	Port                        uint16 `json:"port"` // 5000
	MaxSendMessageSize          int    `json:"maxSendMessageSize"`
	MaxReceiveMessageSize       int    `json:"maxReceiveMessageSize"`
	SendBufferSize              int    `json:"sendBufferSize"`
	PerStreamSendQueueLimit     int    `json:"perStreamSendQueueLimit"`
	MaxReceiverWindowBufferSize int    `json:"maxReceiverWindowBufferSize"`
	// IsDataChannel: the streams are data channels of WebRTC, so that both
	// directions of one end together. True on a WebRTCTransport only.
	IsDataChannel bool `json:"isDataChannel"`

	// What older clients know: numbers of streams in both directions, and
	// MaxReceiveMessageSize under another name.
	OS             int `json:"OS"`
	MIS            int `json:"MIS"`
	MaxMessageSize int `json:"maxMessageSize"`
}

// SCTPNegotiatedCapabilities are what both sides of an association agreed upon.
type SCTPNegotiatedCapabilities struct {
	NegotiatedMaxOutboundStreams int `json:"negotiatedMaxOutboundStreams"`
	NegotiatedMaxInboundStreams  int `json:"negotiatedMaxInboundStreams"`
}

// SCTPListenerDump tells to which DataProducer id a Transport gives what it
// receives on a stream.
type SCTPListenerDump struct {
	StreamIDTable []KeyValue[uint16, string] `json:"streamIdTable"`
}
