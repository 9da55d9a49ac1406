package mafalda

// DirectTransportOptions are the options of [Router.CreateDirectTransport].
type DirectTransportOptions struct {
	// AppData is kept as it is.
	AppData any
}

// A DirectTransport is a [Transport] to the application itself: it feeds its
// Producers with [Producer.Send] and gets the packets of its Consumers as RTP
// events. It is always connected.
type DirectTransport interface {
	Transport

	// SendRTCP hands in an RTCP packet as if an endpoint had sent it. The
	// packet is copied. It does not wait; a malformed packet is dropped.
	// Errors: [ErrClosed]; [ErrUnavailable] when too many packets wait.
	SendRTCP(packet []byte) error
}
