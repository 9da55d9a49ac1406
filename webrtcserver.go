package mafalda

import "context"

// WebRTCServerOptions are the options of [Worker.CreateWebRTCServer].
type WebRTCServerOptions struct {
	// ListenInfos are the ports to open, in the order in which they become ICE
	// candidates. Required: at least one.
	ListenInfos []ListenInfo
	// AppData is kept as it is.
	AppData any
}

// Validate returns the [ErrInvalidArgument] that a call with these options gets,
// or nil. Only a call knows more: whether a port is free, or a file there.
func (o *WebRTCServerOptions) Validate() error {
	if len(o.ListenInfos) == 0 {
		return invalid("ListenInfos is empty")
	}
	return validateListenInfos(o.ListenInfos)
}

// A WebRTCServer has ports that many WebRTCTransports of its Worker share:
// one UDP and one TCP port are enough for all.
type WebRTCServer interface {
	Lifetime
	AppDataHolder

	// ID returns the id of the WebRTCServer, a UUID.
	ID() string
	// Dump returns its sockets and who uses them.
	Dump(ctx context.Context) (WebRTCServerDump, error)

	// Events has the events for the code that uses the WebRTCServer, Observer
	// the ones for code that watches it. The pointers never change.
	Events() *WebRTCServerEvents
	Observer() *WebRTCServerObserver
}

// WebRTCServerEvents are the events of a [WebRTCServer].
type WebRTCServerEvents struct {
	WorkerClose Event[struct{}] // its Worker closed or died, and so it is closed
}

// WebRTCServerObserver has the events that observe a [WebRTCServer].
type WebRTCServerObserver struct {
	Close Event[struct{}]
	// WebRTCTransportHandled: a transport was created on it. Comes after the
	// NewTransport of the Router.
	WebRTCTransportHandled Event[WebRTCTransport]
	// WebRTCTransportUnhandled: such a transport was closed, by whatever cause.
	// It comes before the transport's Close, or after it when the closing of
	// the server is the cause.
	WebRTCTransportUnhandled Event[WebRTCTransport]
}

// WebRTCServerDump is what [WebRTCServer.Dump] returns.
type WebRTCServerDump struct {
	ID                        string             `json:"id"`
	UDPSockets                []IPPort           `json:"udpSockets"`
	TCPServers                []IPPort           `json:"tcpServers"`
	WebRTCTransportIDs        []string           `json:"webRtcTransportIds"`
	LocalICEUsernameFragments []ICEUsernameOwner `json:"localIceUsernameFragments"`
}

// IPPort is a bound address.
type IPPort struct {
	IP   string `json:"ip"`
	Port uint16 `json:"port"`
}

// ICEUsernameOwner tells which transport an ICE username fragment belongs to.
// After RestartICE a transport has two, until the peer uses the new one.
type ICEUsernameOwner struct {
	LocalICEUsernameFragment string `json:"localIceUsernameFragment"`
	WebRTCTransportID        string `json:"webRtcTransportId"`
}
