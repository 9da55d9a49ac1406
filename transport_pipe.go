package mafalda

import (
	"context"
	"net/netip"
)

// PipeTransportOptions are the options of [Router.CreatePipeTransport].
type PipeTransportOptions struct {
	// ListenInfo is where RTP and RTCP are received. Required; UDP only.
	ListenInfo ListenInfo
	// EnableRTX gives Consumers RTX streams and generic NACK. Both ends of a
	// pipe must agree; it pays where packets get lost between them.
	EnableRTX bool
	// EnableSRTP encrypts with keys that are exchanged by Connect. The suite is
	// AEAD_AES_256_GCM.
	EnableSRTP bool

	// SCTP is not encrypted, whatever EnableSRTP says.
	SCTPOptions

	// AppData is kept as it is.
	AppData any
}

// Validate returns the [ErrInvalidArgument] that a call with these options gets,
// or nil. Only a call knows more: whether a port is free, or a file there.
func (o *PipeTransportOptions) Validate() error {
	if err := o.ListenInfo.validate(); err != nil {
		return err
	}
	if o.ListenInfo.Protocol != ProtocolUDP {
		return invalid("a PipeTransport listens on UDP only")
	}
	return o.validateSCTP()
}

// PipeTransportConnectOptions are the options of [PipeTransport.Connect].
type PipeTransportConnectOptions struct {
	// IP and Port are where the other PipeTransport receives. Required.
	IP   netip.Addr
	Port uint16
	// SRTPParameters are the other's. Required with EnableSRTP, an error without.
	SRTPParameters *SRTPParameters
}

// validate checks o against the options the Transport was created with.
func (o *PipeTransportConnectOptions) validate(t *PipeTransportOptions) error {
	switch {
	case t.EnableSRTP && o.SRTPParameters == nil:
		return invalid("SRTPParameters are missing")
	case !t.EnableSRTP && o.SRTPParameters != nil:
		return invalid("SRTPParameters given, but SRTP is not enabled")
	case o.SRTPParameters != nil:
		if o.SRTPParameters.CryptoSuite != SRTPAES256GCM {
			return invalid("SRTP crypto suite %q; that of a PipeTransport is %s", o.SRTPParameters.CryptoSuite, SRTPAES256GCM)
		}
		if err := o.SRTPParameters.validate(); err != nil {
			return err
		}
	}
	switch {
	case !o.IP.IsValid():
		return invalid("IP is missing")
	case o.Port == 0:
		return invalid("port is missing")
	}
	return nil
}

// A PipeTransport is a [Transport] to a PipeTransport of another Router, of
// this host or another: it carries all streams of a Producer as they are.
// [Router.PipeToRouter] creates and connects two of them.
//
// Its Consume takes all streams, so it wants no RTPCapabilities and refuses
// what selects or changes some.
type PipeTransport interface {
	Transport

	// Tuple returns the path of RTP and RTCP. Its local part is always there.
	Tuple() TransportTuple
	// SRTPParameters returns the key with which we encrypt, nil without SRTP.
	SRTPParameters() *SRTPParameters
	// SCTPParameters are for the peer; nil without EnableSCTP.
	SCTPParameters() *SCTPParameters
	// SCTPState returns "" without EnableSCTP.
	SCTPState() SCTPState
	// SCTPNegotiatedCapabilities returns nil until SCTP is connected.
	SCTPNegotiatedCapabilities() *SCTPNegotiatedCapabilities

	// Connect tells the Transport where its peer is. A call that failed may be
	// repeated. Errors: [ErrInvalidArgument]; [ErrInvalidState] when called
	// again; [ErrClosed].
	Connect(ctx context.Context, o PipeTransportConnectOptions) error
}
