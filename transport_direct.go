package mafalda

import "math"

// DirectTransportOptions are the options of [Router.CreateDirectTransport].
type DirectTransportOptions struct {
	// MaxSendMessageSize and MaxReceiveMessageSize are how long the messages of
	// DataConsumers and DataProducers may be, in bytes; longer ones are dropped.
	// 0 means 262,144.
	MaxSendMessageSize, MaxReceiveMessageSize int
	// AppData is kept as it is.
	AppData any
}

// Validate returns the [ErrInvalidArgument] that a call with these options gets,
// or nil. Only a call knows more: whether a port is free, or a file there.
func (o *DirectTransportOptions) Validate() error {
	return validateSizes(o.MaxSendMessageSize, o.MaxReceiveMessageSize)
}

// validateSizes checks sizes in bytes.
func validateSizes(sizes ...int) error {
	for _, n := range sizes {
		if n < 0 || n > math.MaxUint32 {
			return invalid("size of %d bytes", n)
		}
	}
	return nil
}

// A DirectTransport is a [Transport] to the application itself: it feeds its
// Producers with [Producer.Send] and its DataProducers with [DataProducer.Send],
// and gets what its Consumers and DataConsumers carry as RTP and Message events. It is always connected.
type DirectTransport interface {
	Transport

	// SendRTCP hands in an RTCP packet as if an endpoint had sent it. The
	// packet is copied. It does not wait; a malformed packet is dropped.
	// Errors: [ErrClosed]; [ErrUnavailable] when too many packets wait.
	SendRTCP(packet []byte) error
}
