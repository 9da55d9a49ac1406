package mafalda

import "context"

// DataConsumerOptions are the options of [Transport.ConsumeData].
type DataConsumerOptions struct {
	// DataProducerID is the id of the DataProducer to consume. Required.
	DataProducerID string

	// How the stream to the endpoint delivers; nil is as the DataProducer's does,
	// and in order without limits where that is on a DirectTransport. They are
	// ignored on a DirectTransport.
	//
	// Ordered true lifts the limits. Without it each limit that is given makes
	// the stream unordered; in all there may be one limit.
	Ordered *bool
	// MaxPacketLifeTime limits retransmission to that many milliseconds, 0 is no
	// limit.
	MaxPacketLifeTime *uint16
	// MaxRetransmits limits the number of retransmissions, 0 is no limit.
	MaxRetransmits *uint16

	// Paused starts the DataConsumer paused.
	Paused bool
	// Subchannels are what the DataConsumer is subscribed to. One without any
	// gets the messages that name none; see [DataMessage].
	Subchannels []uint16
	// AppData is kept as it is.
	AppData any
}

func (o *DataConsumerOptions) validate() error {
	if o.DataProducerID == "" {
		return invalid("DataProducerID is missing")
	}
	return nil
}

// stream returns the parameters of the stream for a DataProducer with the given
// ones, nil on a DirectTransport.
func (o *DataConsumerOptions) stream(p *SCTPStreamParameters) SCTPStreamParameters {
	s := SCTPStreamParameters{Ordered: new(true)}
	if p != nil {
		s = p.clone()
	}
	if o.Ordered != nil {
		s.Ordered = new(*o.Ordered)
	}
	switch {
	case o.Ordered != nil && *o.Ordered:
		s.MaxPacketLifeTime, s.MaxRetransmits = nil, nil
	default:
		if o.MaxPacketLifeTime != nil {
			s.Ordered, s.MaxPacketLifeTime = new(false), new(*o.MaxPacketLifeTime)
		}
		if o.MaxRetransmits != nil {
			s.Ordered, s.MaxRetransmits = new(false), new(*o.MaxRetransmits)
		}
	}
	return s
}

// DataConsumerType tells where the messages of a DataConsumer go to.
type DataConsumerType string

// The types of DataConsumers.
const (
	DataConsumerTypeSCTP   DataConsumerType = "sctp"   // to an endpoint
	DataConsumerTypeDirect DataConsumerType = "direct" // to the application
)

// A DataConsumer is the messages of a DataProducer that a Transport sends.
// Its methods may be called by many goroutines at a time.
type DataConsumer interface {
	Lifetime
	AppDataHolder

	// ID returns the id of the DataConsumer, a UUID.
	ID() string
	DataProducerID() string
	Type() DataConsumerType
	// SCTPStreamParameters returns those of the stream to the endpoint, as a
	// copy the caller may modify; nil on a DirectTransport.
	SCTPStreamParameters() *SCTPStreamParameters
	// Label and Protocol are those of the DataProducer.
	Label() string
	Protocol() string
	// Paused reports whether the DataConsumer itself is paused,
	// DataProducerPaused whether its DataProducer is. Messages flow when neither
	// is; the others are dropped.
	Paused() bool
	DataProducerPaused() bool
	// Subchannels returns what it is subscribed to, in ascending order, as a
	// copy the caller may modify.
	Subchannels() []uint16

	// Pause stops sending. Pausing a paused DataConsumer does nothing.
	// Errors: [ErrClosed], or the error of ctx.
	Pause(ctx context.Context) error
	// Resume is the opposite of Pause.
	Resume(ctx context.Context) error
	// SetSubchannels replaces the subscriptions; the slice is copied.
	SetSubchannels(ctx context.Context, subchannels []uint16) error
	// AddSubchannel and RemoveSubchannel change one subscription. What is there
	// already, or not there, is no error.
	AddSubchannel(ctx context.Context, subchannel uint16) error
	RemoveSubchannel(ctx context.Context, subchannel uint16) error

	// Send sends a message that does not come from the DataProducer; its
	// subchannels must be empty. The message is copied. It returns how many
	// bytes of the stream wait to be sent then. Errors: [ErrInvalidArgument] on
	// a DirectTransport, and for a message that is longer than the
	// MaxSendMessageSize of the Transport; [ErrUnavailable] when the send buffer
	// is full; [ErrInvalidState] when nothing is sent, since the DataConsumer or
	// its DataProducer is paused or the association has ended; [ErrClosed].
	Send(ctx context.Context, m DataMessage) (bufferedAmount int, err error)
	// BufferedAmount returns how many bytes wait to be sent. Errors:
	// [ErrInvalidArgument] on a DirectTransport; [ErrClosed].
	BufferedAmount(ctx context.Context) (int, error)
	// SetBufferedAmountLowThreshold sets the amount, in bytes, at or below which
	// the event BufferedAmountLow is emitted when it falls. Errors:
	// [ErrInvalidArgument] on a DirectTransport, or when out of range; [ErrClosed].
	SetBufferedAmountLowThreshold(ctx context.Context, threshold int) error

	// Stats returns exactly one record.
	Stats(ctx context.Context) ([]DataConsumerStats, error)
	// Dump returns the state of the DataConsumer.
	Dump(ctx context.Context) (DataConsumerDump, error)

	// Events has the events for the code that uses the DataConsumer, Observer
	// the ones for code that watches it. The pointers never change.
	Events() *DataConsumerEvents
	Observer() *DataConsumerObserver
}

// DataConsumerEvents are the events of a [DataConsumer].
type DataConsumerEvents struct {
	TransportClose     Event[struct{}] // its Transport closed, and so it is closed
	DataProducerClose  Event[struct{}] // its DataProducer closed, and so it is closed
	DataProducerPause  Event[struct{}] // its DataProducer was paused
	DataProducerResume Event[struct{}] // its DataProducer was resumed
	// Message, on a DirectTransport: a message for the endpoint, which the
	// listener may keep but not modify. It names no subchannels. None is
	// dropped: while listeners are slow, [DataProducer.Send] is refused and
	// endpoints have to wait.
	Message Event[DataMessage]
	// SCTPSendBufferFull: a message was dropped, since too many wait.
	SCTPSendBufferFull Event[struct{}]
	// BufferedAmountLow: what waits to be sent, in bytes, fell to the threshold.
	BufferedAmountLow Event[int]
}

// DataConsumerObserver has the events that observe a [DataConsumer].
type DataConsumerObserver struct {
	Close  Event[struct{}] // once, whoever closed it
	Pause  Event[struct{}] // no messages any more: it was paused, or its DataProducer
	Resume Event[struct{}] // messages again
}

// DataConsumerStats is the record of [DataConsumer.Stats].
type DataConsumerStats struct {
	Type           string `json:"type"`      // "data-consumer"
	Timestamp      int64  `json:"timestamp"` // ms of the Worker's monotonic clock
	Label          string `json:"label"`
	Protocol       string `json:"protocol"`
	MessagesSent   uint64 `json:"messagesSent"`
	BytesSent      uint64 `json:"bytesSent"`
	BufferedAmount int    `json:"bufferedAmount"` // bytes
}

// DataConsumerDump is what [DataConsumer.Dump] returns.
type DataConsumerDump struct {
	ID                         string                `json:"id"`
	DataProducerID             string                `json:"dataProducerId"`
	Type                       DataConsumerType      `json:"type"`
	SCTPStreamParameters       *SCTPStreamParameters `json:"sctpStreamParameters,omitempty"`
	Label                      string                `json:"label"`
	Protocol                   string                `json:"protocol"`
	BufferedAmount             int                   `json:"bufferedAmount"`             // bytes
	BufferedAmountLowThreshold int                   `json:"bufferedAmountLowThreshold"` // bytes
	Paused                     bool                  `json:"paused"`
	DataProducerPaused         bool                  `json:"dataProducerPaused"`
	Subchannels                []uint16              `json:"subchannels"` // ascending
}
