package mafalda

import "context"

// DataProducerOptions are the options of [Transport.ProduceData].
type DataProducerOptions struct {
	// ID is the id of the DataProducer. Empty means a random UUID. It is there
	// for who connects Routers, where both ends should have the same id.
	ID string
	// SCTPStreamParameters are those of the stream that the endpoint sends on.
	// Required, but ignored on a DirectTransport.
	SCTPStreamParameters *SCTPStreamParameters
	// Label and Protocol are those of the endpoint's data channel. Nobody
	// interprets them.
	Label, Protocol string
	// Paused starts the DataProducer paused.
	Paused bool
	// AppData is kept as it is.
	AppData any
}

// DataProducerType tells where the messages of a DataProducer come from.
type DataProducerType string

// The types of DataProducers.
const (
	DataProducerTypeSCTP   DataProducerType = "sctp"   // from an endpoint
	DataProducerTypeDirect DataProducerType = "direct" // from the application
)

// PPID says what a message is (RFC 8831 §8): text, bytes, or what
// endpoints agree upon.
type PPID uint32

// The payload protocol identifiers of WebRTC. SCTP has no empty messages: one
// byte stands for them, which the receiver of such a PPID ignores.
const (
	PPIDString      PPID = 51 // UTF-8
	PPIDBinary      PPID = 53
	PPIDStringEmpty PPID = 56
	PPIDBinaryEmpty PPID = 57
)

// A DataMessage is one message of a data channel.
type DataMessage struct {
	// PPID says what Data is. 0 means [PPIDBinary].
	PPID PPID
	// Data is the message. Where it is empty, [PPIDString] becomes
	// [PPIDStringEmpty], [PPIDBinary] becomes [PPIDBinaryEmpty], and any
	// other PPID is an error.
	Data []byte

	// Subchannels limit who gets the message: DataConsumers that are subscribed
	// to one of them. None is no limit.
	Subchannels []uint16
	// RequiredSubchannel is one that a DataConsumer must be subscribed to, and
	// IgnoredSubchannel one that it must not; nil is no condition.
	RequiredSubchannel, IgnoredSubchannel *uint16
}

// TextMessage returns the message that a browser receives as a string.
func TextMessage(text string) DataMessage {
	return DataMessage{PPID: PPIDString, Data: []byte(text)}
}

// content returns what goes over the wire.
func (m *DataMessage) content() (PPID, []byte, error) {
	ppid := m.PPID
	if ppid == 0 {
		ppid = PPIDBinary
	}
	if len(m.Data) == 0 {
		switch ppid {
		case PPIDString:
			ppid = PPIDStringEmpty
		case PPIDBinary:
			ppid = PPIDBinaryEmpty
		}
	}
	switch ppid {
	case PPIDStringEmpty:
		return ppid, []byte{' '}, nil
	case PPIDBinaryEmpty:
		return ppid, []byte{0}, nil
	}
	if len(m.Data) == 0 {
		return 0, nil, invalid("empty message with PPID %d", ppid)
	}
	return ppid, m.Data, nil
}

// A DataProducer is messages that a Transport receives.
// Its methods may be called by many goroutines at a time.
type DataProducer interface {
	Lifetime
	AppDataHolder

	// ID returns the id of the DataProducer: the one of its options, or a UUID.
	ID() string
	Type() DataProducerType
	// SCTPStreamParameters returns those of the stream, normalised, as a copy
	// the caller may modify; nil on a DirectTransport.
	SCTPStreamParameters() *SCTPStreamParameters
	Label() string
	Protocol() string
	Paused() bool

	// Pause drops the messages that come, which are still counted. Pausing a
	// paused DataProducer does nothing. Errors: [ErrClosed], or the error of ctx.
	Pause(ctx context.Context) error
	// Resume is the opposite of Pause.
	Resume(ctx context.Context) error
	// Send hands in a message as if an endpoint had sent it, on whatever
	// Transport the DataProducer is. The message is copied. It does not wait; a
	// message longer than the MaxReceiveMessageSize of the Transport is dropped.
	// Errors: [ErrInvalidArgument] for an empty message of a PPID that can't say
	// so; [ErrUnavailable] when 4,096 calls wait for the Worker, or 16 MiB of
	// messages for it and for slow listeners, or 1 MB or 16,384 messages in a
	// pipe that takes those of this DataProducer to another Router of this
	// process, until half of that is gone; [ErrClosed].
	Send(m DataMessage) error

	// Stats returns exactly one record.
	Stats(ctx context.Context) ([]DataProducerStats, error)
	// Dump returns the state of the DataProducer.
	Dump(ctx context.Context) (DataProducerDump, error)

	// Events has the events for the code that uses the DataProducer, Observer
	// the ones for code that watches it. The pointers never change.
	Events() *DataProducerEvents
	Observer() *DataProducerObserver
}

// DataProducerEvents are the events of a [DataProducer].
type DataProducerEvents struct {
	TransportClose Event[struct{}] // its Transport closed, and so it is closed
}

// DataProducerObserver has the events that observe a [DataProducer].
type DataProducerObserver struct {
	Close  Event[struct{}] // once, whoever closed it
	Pause  Event[struct{}]
	Resume Event[struct{}]
}

// DataProducerStats is the record of [DataProducer.Stats].
type DataProducerStats struct {
	Type             string `json:"type"`      // "data-producer"
	Timestamp        int64  `json:"timestamp"` // ms of the Worker's monotonic clock
	Label            string `json:"label"`
	Protocol         string `json:"protocol"`
	MessagesReceived uint64 `json:"messagesReceived"` // those that came while paused included
	BytesReceived    uint64 `json:"bytesReceived"`
}

// DataProducerDump is what [DataProducer.Dump] returns.
type DataProducerDump struct {
	ID                   string                `json:"id"`
	Paused               bool                  `json:"paused"`
	Type                 DataProducerType      `json:"type"`
	SCTPStreamParameters *SCTPStreamParameters `json:"sctpStreamParameters,omitempty"`
	Label                string                `json:"label"`
	Protocol             string                `json:"protocol"`
}
