package mafalda

import (
	"context"
	"math"
	"net/netip"
	"regexp"
)

// Protocol is the transport protocol under ICE or RTP.
type Protocol string

// The protocols.
const (
	ProtocolUDP Protocol = "udp"
	ProtocolTCP Protocol = "tcp"
)

// PortRange is a range of ports, both ends included. The zero value is no range.
type PortRange struct {
	Min, Max uint16
}

// SocketFlags are options of a socket. One that does not fit the socket is ignored.
type SocketFlags struct {
	// IPv6Only keeps IPv4 away from a socket bound to an IPv6 address.
	IPv6Only bool
	// UDPReusePort lets several UDP sockets bind the same address and port.
	// What arrives is then spread by the system: for multicast, or for
	// Transports that only send.
	UDPReusePort bool
}

// ListenInfo is one address to listen on.
type ListenInfo struct {
	// Protocol is required.
	Protocol Protocol
	// IP is the address of a local interface, or 0.0.0.0 or :: for all.
	// Required.
	IP netip.Addr
	// AnnouncedAddress is what peers are told instead of IP: an IPv4 or IPv6
	// address or a host name. Default: IP. Needed behind NAT and when IP is 0.0.0.0 or ::.
	AnnouncedAddress string
	// ExposeInternalIP adds an ICE candidate with IP, of lower priority, where
	// AnnouncedAddress is given.
	ExposeInternalIP bool
	// Port is the port to bind. 0 means one of PortRange.
	Port uint16
	// PortRange is where a free port is taken from; it wins over Port. With
	// neither it is the range of the [WorkerSettings].
	PortRange PortRange
	// Flags are options of the socket.
	Flags SocketFlags
	// SendBufferSize and RecvBufferSize are sizes of the socket's buffers in
	// bytes, up to 2³¹−1, as far as the system allows them. 0 means 1 MiB for UDP,
	// 4 MiB on a WebRTCServer, and what the system gives for TCP.
	SendBufferSize, RecvBufferSize int
}

func (l *ListenInfo) validate() error {
	if l.Protocol != ProtocolUDP && l.Protocol != ProtocolTCP {
		return invalid("protocol %q is neither udp nor tcp", l.Protocol)
	}
	if !l.IP.IsValid() {
		return invalid("IP to listen on is missing")
	}
	if !isHost(l.AnnouncedAddress) {
		return invalid("announced address %q is neither an IP address nor a host name", l.AnnouncedAddress)
	}
	if r := l.PortRange; r != (PortRange{}) && (r.Min == 0 || r.Max < r.Min) {
		return invalid("port range %d to %d", r.Min, r.Max)
	}
	for _, size := range []int{l.SendBufferSize, l.RecvBufferSize} {
		if size < 0 || size > math.MaxInt32 {
			return invalid("socket buffer size %d", size)
		}
	}
	return nil
}

// isHost reports whether s is empty, an IP address or a host name.
func isHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil || s == "" {
		return true
	}
	return len(s) <= 253 && hostName.MatchString(s)
}

// hostName is a name whose last label is no number, so that it can't be taken
// for an IP address (RFC 1123 §2.1).
var hostName = regexp.MustCompile(`^([a-zA-Z0-9_]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9_])?\.)*[a-zA-Z_]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9_])?$`)

// validateOutgoingBitrate refuses what the estimator does not hold.
func validateOutgoingBitrate(bitrate int) error {
	if uint64(bitrate) > math.MaxUint32 { // or negative
		return invalid("bitrate %d", bitrate)
	}
	return nil
}

func validateListenInfos(l []ListenInfo) error {
	for i := range l {
		if err := l[i].validate(); err != nil {
			return err
		}
	}
	return nil
}

// TransportTuple is a path between a local and a remote address.
type TransportTuple struct {
	// LocalIP is LocalAddress, under the name that older clients know.
	LocalIP string `json:"localIp"`
	// LocalAddress is the announced address, if any, else the bound IP.
	LocalAddress string `json:"localAddress"`
	LocalPort    uint16 `json:"localPort"`
	// RemoteIP is empty and RemotePort 0 while the peer is unknown.
	RemoteIP   string   `json:"remoteIp,omitempty"`
	RemotePort uint16   `json:"remotePort"`
	Protocol   Protocol `json:"protocol"`
}

// TransportType tells the kinds of Transport apart.
type TransportType string

// The kinds of Transport.
const (
	TransportTypeWebRTC TransportType = "webrtc"
	TransportTypePlain  TransportType = "plain"
	TransportTypePipe   TransportType = "pipe"
	TransportTypeDirect TransportType = "direct"
)

// A Transport connects one endpoint to a Router. It carries Producers, for
// what the endpoint sends, and Consumers, for what it receives. It is a
// [WebRTCTransport], a [PlainTransport], a [PipeTransport] or a
// [DirectTransport].
type Transport interface {
	Lifetime
	AppDataHolder

	// ID returns the id of the Transport, a UUID.
	ID() string
	// Type tells what kind of Transport it is.
	Type() TransportType

	// Produce makes the Transport receive media. Errors: [ErrInvalidArgument];
	// [errors.ErrUnsupported] for a codec that the Router lacks; [ErrInvalidState]
	// for an id, SSRC, MID or RID that is in use; [ErrClosed].
	Produce(ctx context.Context, o ProducerOptions) (Producer, error)
	// Consume makes the Transport send the media of a Producer of its Router.
	// Errors: [ErrInvalidArgument]; [ErrNotFound] for an unknown Producer;
	// [errors.ErrUnsupported] when capabilities and Producer have no codec in
	// common; [ErrClosed].
	Consume(ctx context.Context, o ConsumerOptions) (Consumer, error)
	// ProduceData makes the Transport receive messages. Errors:
	// [ErrInvalidArgument]; [ErrInvalidState] for an id or SCTP stream that is in
	// use, and where there is no SCTP; [ErrClosed].
	ProduceData(ctx context.Context, o DataProducerOptions) (DataProducer, error)
	// ConsumeData makes the Transport send the messages of a DataProducer of its
	// Router. Errors: [ErrInvalidArgument]; [ErrNotFound] for an unknown
	// DataProducer; [ErrInvalidState] where there is no SCTP; [ErrUnavailable]
	// when all SCTP streams are in use; [ErrClosed].
	ConsumeData(ctx context.Context, o DataConsumerOptions) (DataConsumer, error)
	// Producers returns the open Producers in the order of their creation.
	Producers() []Producer
	// Consumers returns the open Consumers in the order of their creation.
	Consumers() []Consumer
	// DataProducers returns the open DataProducers in the order of their creation.
	DataProducers() []DataProducer
	// DataConsumers returns the open DataConsumers in the order of their creation.
	DataConsumers() []DataConsumer

	// SetMaxIncomingBitrate limits what the endpoint may send, in bit/s, as far
	// as it heeds REMB or transport-cc. 0 means no limit. Errors:
	// [ErrInvalidArgument] when negative; [errors.ErrUnsupported] on a
	// DirectTransport; [ErrClosed].
	SetMaxIncomingBitrate(ctx context.Context, bitrate int) error
	// SetMaxOutgoingBitrate limits the estimate of what the endpoint can be
	// sent, in bit/s: at least 30,000, at most 4,294,967,295. 0 means no limit.
	// Errors: [ErrInvalidArgument] for another value, and for one below the
	// minimum; [errors.ErrUnsupported] on a DirectTransport; [ErrClosed].
	SetMaxOutgoingBitrate(ctx context.Context, bitrate int) error
	// SetMinOutgoingBitrate keeps that estimate from falling below so many
	// bit/s. Range and errors are those of SetMaxOutgoingBitrate; a value above
	// the maximum is [ErrInvalidArgument].
	SetMinOutgoingBitrate(ctx context.Context, bitrate int) error

	// EnableTraceEvent makes the Transport emit trace events of the given types
	// and no others: probation, bwe. Errors: [ErrInvalidArgument], [ErrClosed].
	EnableTraceEvent(ctx context.Context, types ...TraceEventType) error

	// Stats returns exactly one record.
	Stats(ctx context.Context) ([]TransportStats, error)
	// Dump returns the state of the Transport.
	Dump(ctx context.Context) (TransportDump, error)

	// Events has the events for the code that uses the Transport, Observer the
	// ones for code that watches it. The pointers never change.
	Events() *TransportEvents
	Observer() *TransportObserver
}

// TransportEvents are the events of a [Transport]. Those of the network belong
// to one kind of Transport and are never emitted by the others.
type TransportEvents struct {
	RouterClose       Event[struct{}] // its Router closed, and so it is closed
	ListenServerClose Event[struct{}] // its WebRTCServer closed, and so it is closed
	Trace             Event[TraceEvent]

	// Of a WebRTCTransport. The getters have the new value already. Neither
	// new nor closed is ever emitted as ICE state, nor new as DTLS state.
	ICEStateChange         Event[ICEState]
	ICESelectedTupleChange Event[TransportTuple]
	DTLSStateChange        Event[DTLSState]

	// Of a WebRTCTransport, PlainTransport or PipeTransport. Never new.
	SCTPStateChange Event[SCTPState]

	// Of a PlainTransport with Comedia: the address of the endpoint was learned.
	Tuple     Event[TransportTuple]
	RTCPTuple Event[TransportTuple]

	// Of a DirectTransport: an RTCP packet for the endpoint, which the listener
	// may keep but not modify.
	RTCP Event[[]byte]
}

// TransportObserver has the events that observe a [Transport].
type TransportObserver struct {
	Close       Event[struct{}]
	NewProducer Event[Producer]
	NewConsumer Event[Consumer]
	// The same for data.
	NewDataProducer Event[DataProducer]
	NewDataConsumer Event[DataConsumer]

	ICEStateChange         Event[ICEState]
	ICESelectedTupleChange Event[TransportTuple]
	DTLSStateChange        Event[DTLSState]
	SCTPStateChange        Event[SCTPState]
	Tuple                  Event[TransportTuple]
	RTCPTuple              Event[TransportTuple]
	Trace                  Event[TraceEvent]
}

// TransportStatsType is the type of a [TransportStats] record.
type TransportStatsType string

// The types of [TransportStats].
const (
	WebRTCTransportStats TransportStatsType = "webrtc-transport"
	PlainTransportStats  TransportStatsType = "plain-rtp-transport"
	PipeTransportStats   TransportStatsType = "pipe-transport"
	DirectTransportStats TransportStatsType = "direct-transport"
)

// TransportStats is the record of [Transport.Stats]. Bitrates are in bit/s.
type TransportStats struct {
	Type        TransportStatsType `json:"type"`
	TransportID string             `json:"transportId"`
	Timestamp   int64              `json:"timestamp"`           // ms of the Worker's monotonic clock
	SCTPState   SCTPState          `json:"sctpState,omitempty"` // where SCTP is enabled

	BytesReceived    uint64 `json:"bytesReceived"`
	RecvBitrate      int    `json:"recvBitrate"`
	BytesSent        uint64 `json:"bytesSent"`
	SendBitrate      int    `json:"sendBitrate"`
	RTPBytesReceived uint64 `json:"rtpBytesReceived"`
	RTPRecvBitrate   int    `json:"rtpRecvBitrate"`
	RTPBytesSent     uint64 `json:"rtpBytesSent"`
	RTPSendBitrate   int    `json:"rtpSendBitrate"`
	RTXBytesReceived uint64 `json:"rtxBytesReceived"`
	RTXRecvBitrate   int    `json:"rtxRecvBitrate"`
	RTXBytesSent     uint64 `json:"rtxBytesSent"`
	RTXSendBitrate   int    `json:"rtxSendBitrate"`
	// Probation is padding by which it is measured how much can be sent.
	ProbationBytesSent   uint64 `json:"probationBytesSent"`
	ProbationSendBitrate int    `json:"probationSendBitrate"`

	// AvailableOutgoingBitrate and RTPPacketLossSent (0 to 1) are there once a
	// Consumer of video negotiated transport-cc or REMB. The first is 0 until
	// the Transport is connected.
	AvailableOutgoingBitrate *int     `json:"availableOutgoingBitrate,omitempty"`
	RTPPacketLossSent        *float64 `json:"rtpPacketLossSent,omitempty"`
	// AvailableIncomingBitrate and RTPPacketLossReceived (0 to 1) are there once
	// a Producer negotiated transport-cc or REMB. The first is what the endpoint
	// is told by REMB; it is 0 until there is an estimate, and with transport-cc.
	AvailableIncomingBitrate *int     `json:"availableIncomingBitrate,omitempty"`
	RTPPacketLossReceived    *float64 `json:"rtpPacketLossReceived,omitempty"`
	// These are there when they limit.
	MaxIncomingBitrate int `json:"maxIncomingBitrate,omitempty"`
	MaxOutgoingBitrate int `json:"maxOutgoingBitrate,omitempty"`
	MinOutgoingBitrate int `json:"minOutgoingBitrate,omitempty"`

	// Of a WebRTCTransport.
	ICERole          ICERole         `json:"iceRole,omitempty"`
	ICEState         ICEState        `json:"iceState,omitempty"`
	ICESelectedTuple *TransportTuple `json:"iceSelectedTuple,omitempty"`
	DTLSState        DTLSState       `json:"dtlsState,omitempty"`

	// Of a PlainTransport; never nil there, but for RTCPTuple. Tuple is of a
	// PipeTransport too.
	RTCPMux   *bool           `json:"rtcpMux,omitempty"`
	Comedia   *bool           `json:"comedia,omitempty"`
	Tuple     *TransportTuple `json:"tuple,omitempty"`
	RTCPTuple *TransportTuple `json:"rtcpTuple,omitempty"`
}

// TransportDump is what [Transport.Dump] returns.
type TransportDump struct {
	ID                      string                     `json:"id"`
	ProducerIDs             []string                   `json:"producerIds"`
	ConsumerIDs             []string                   `json:"consumerIds"`
	MapSSRCConsumerID       []KeyValue[uint32, string] `json:"mapSsrcConsumerId"`
	MapRTXSSRCConsumerID    []KeyValue[uint32, string] `json:"mapRtxSsrcConsumerId"`
	DataProducerIDs         []string                   `json:"dataProducerIds"`
	DataConsumerIDs         []string                   `json:"dataConsumerIds"`
	RecvRTPHeaderExtensions RecvRTPHeaderExtensions    `json:"recvRtpHeaderExtensions"`
	RTPListener             RTPListenerDump            `json:"rtpListener"`
	MaxSendMessageSize      int                        `json:"maxSendMessageSize"`    // bytes
	MaxReceiveMessageSize   int                        `json:"maxReceiveMessageSize"` // bytes
	TraceEventTypes         []TraceEventType           `json:"traceEventTypes"`

	// Where SCTP is enabled. Before it is connected the capabilities are 0.
	SCTPParameters             *SCTPParameters             `json:"sctpParameters,omitempty"`
	SCTPState                  SCTPState                   `json:"sctpState,omitempty"`
	SCTPNegotiatedCapabilities *SCTPNegotiatedCapabilities `json:"sctpNegotiatedCapabilities,omitempty"`
	SCTPListener               *SCTPListenerDump           `json:"sctpListener,omitempty"`

	// Of a WebRTCTransport.
	ICERole          ICERole         `json:"iceRole,omitempty"`
	ICEParameters    *ICEParameters  `json:"iceParameters,omitempty"`
	ICECandidates    []ICECandidate  `json:"iceCandidates,omitempty"`
	ICEState         ICEState        `json:"iceState,omitempty"`
	ICESelectedTuple *TransportTuple `json:"iceSelectedTuple,omitempty"`
	DTLSParameters   *DTLSParameters `json:"dtlsParameters,omitempty"`
	DTLSState        DTLSState       `json:"dtlsState,omitempty"`

	// Of a PlainTransport. Tuple and SRTPParameters are of a PipeTransport too.
	RTCPMux        *bool           `json:"rtcpMux,omitempty"`
	Comedia        *bool           `json:"comedia,omitempty"`
	Tuple          *TransportTuple `json:"tuple,omitempty"`
	RTCPTuple      *TransportTuple `json:"rtcpTuple,omitempty"`
	SRTPParameters *SRTPParameters `json:"srtpParameters,omitempty"`

	// Of a PipeTransport: EnableRTX of its options; never nil there.
	RTX *bool `json:"rtx,omitempty"`
}

// RecvRTPHeaderExtensions are the ids of header extensions that the Producers
// of a Transport negotiated; 0 means none.
type RecvRTPHeaderExtensions struct {
	MID               uint8 `json:"mid,omitempty"`
	RID               uint8 `json:"rid,omitempty"`
	RRID              uint8 `json:"rrid,omitempty"`
	AbsSendTime       uint8 `json:"absSendTime,omitempty"`
	TransportWideCC01 uint8 `json:"transportWideCc01,omitempty"`
}

// RTPListenerDump tells to which Producer id a Transport gives what it receives.
type RTPListenerDump struct {
	SSRCTable []KeyValue[uint32, string] `json:"ssrcTable"`
	MIDTable  []KeyValue[string, string] `json:"midTable"`
	RIDTable  []KeyValue[string, string] `json:"ridTable"`
}
