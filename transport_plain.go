package mafalda

import (
	"context"
	"encoding/base64"
	"net/netip"
)

// PlainTransportOptions are the options of [Router.CreatePlainTransport].
type PlainTransportOptions struct {
	// ListenInfo is where RTP is received. Required; UDP only.
	ListenInfo ListenInfo
	// RTCPListenInfo is where RTCP is received; with it RTCPMux is false.
	// nil means as ListenInfo, on another port of its range or else of the
	// Worker's, where RTCPMux is false. UDP only.
	RTCPListenInfo *ListenInfo
	// RTCPMux receives and sends RTCP on the port of RTP. nil means true.
	RTCPMux *bool
	// Comedia learns the address of the endpoint from its first packet, so
	// that Connect is not needed, but for SRTP. Without it whatever arrives
	// before Connect is dropped.
	Comedia bool
	// EnableSRTP encrypts with keys that are exchanged by Connect.
	EnableSRTP bool
	// SRTPCryptoSuite is the suite of our key, unless the endpoint's is
	// another. Empty means AES_CM_128_HMAC_SHA1_80.
	SRTPCryptoSuite SRTPCryptoSuite

	// SCTP is not encrypted, whatever EnableSRTP says.
	SCTPOptions

	// AppData is kept as it is.
	AppData any
}

// Validate returns the [ErrInvalidArgument] that a call with these options gets,
// or nil. Only a call knows more: whether a port is free, or a file there.
func (o *PlainTransportOptions) Validate() error {
	for _, l := range []*ListenInfo{&o.ListenInfo, o.RTCPListenInfo} {
		if l == nil {
			continue
		}
		if err := l.validate(); err != nil {
			return err
		}
		if l.Protocol != ProtocolUDP {
			return invalid("a PlainTransport listens on UDP only")
		}
	}
	if err := o.validateSCTP(); err != nil {
		return err
	}
	return o.srtpCryptoSuite().validate()
}

// rtcpMux returns RTCPMux with its default.
func (o *PlainTransportOptions) rtcpMux() bool {
	return o.RTCPListenInfo == nil && (o.RTCPMux == nil || *o.RTCPMux)
}

// rtcpListenInfo returns where RTCP is received, nil with rtcpMux.
func (o *PlainTransportOptions) rtcpListenInfo() *ListenInfo {
	switch {
	case o.rtcpMux():
		return nil
	case o.RTCPListenInfo != nil:
		return o.RTCPListenInfo
	}
	l := o.ListenInfo
	l.Port = 0 // that one is RTP's
	return &l
}

// srtpCryptoSuite returns SRTPCryptoSuite with its default.
func (o *PlainTransportOptions) srtpCryptoSuite() SRTPCryptoSuite {
	if o.SRTPCryptoSuite == "" {
		return SRTPAES128CM80
	}
	return o.SRTPCryptoSuite
}

// PlainTransportConnectOptions are the options of [PlainTransport.Connect].
type PlainTransportConnectOptions struct {
	// IP and Port are where the endpoint receives RTP. Required without
	// Comedia, ignored with it.
	IP   netip.Addr
	Port uint16
	// RTCPPort is where it receives RTCP. Required without Comedia where
	// RTCPMux is false, an error where it is true.
	RTCPPort uint16
	// SRTPParameters are the endpoint's. Required with EnableSRTP, an error
	// without.
	SRTPParameters *SRTPParameters
}

// validate checks o against the options the Transport was created with.
func (o *PlainTransportConnectOptions) validate(t *PlainTransportOptions) error {
	switch {
	case t.EnableSRTP && o.SRTPParameters == nil:
		return invalid("SRTPParameters are missing")
	case !t.EnableSRTP && o.SRTPParameters != nil:
		return invalid("SRTPParameters given, but SRTP is not enabled")
	case o.SRTPParameters != nil:
		if err := o.SRTPParameters.validate(); err != nil {
			return err
		}
	}
	if t.Comedia {
		return nil
	}
	switch {
	case !o.IP.IsValid():
		return invalid("IP is missing")
	case o.Port == 0:
		return invalid("port is missing")
	case t.rtcpMux() && o.RTCPPort != 0:
		return invalid("RTCP port given, but RTCP is on the port of RTP")
	case !t.rtcpMux() && o.RTCPPort == 0:
		return invalid("RTCP port is missing")
	}
	return nil
}

// A PlainTransport is a [Transport] for RTP over UDP, without ICE and DTLS: for
// ffmpeg, GStreamer, recorders, other servers.
type PlainTransport interface {
	Transport

	// Tuple returns the path of RTP. Its local part is always there.
	Tuple() TransportTuple
	// RTCPTuple returns the path of RTCP, nil where it is that of RTP.
	RTCPTuple() *TransportTuple
	// SRTPParameters returns the key with which we encrypt, nil without SRTP.
	// Connect changes it when the endpoint uses another suite.
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
	Connect(ctx context.Context, o PlainTransportConnectOptions) error
}

// masterLen returns the bytes of master key and salt, 0 for an unknown suite.
func (s SRTPCryptoSuite) masterLen() int {
	switch s {
	case SRTPAES128CM80, SRTPAES128CM32:
		return 16 + 14
	case SRTPAES128GCM:
		return 16 + 12
	case SRTPAES256GCM:
		return 32 + 12
	}
	return 0
}

func (s SRTPCryptoSuite) validate() error {
	if s.masterLen() == 0 {
		return invalid("SRTP crypto suite %q", s)
	}
	return nil
}

// master returns the key and salt of p.
func (p *SRTPParameters) master() ([]byte, error) {
	if err := p.CryptoSuite.validate(); err != nil {
		return nil, err
	}
	b, err := base64.StdEncoding.DecodeString(p.KeyBase64)
	if err != nil || len(b) != p.CryptoSuite.masterLen() {
		return nil, invalid("SRTP key of %s is not %d bytes in base64", p.CryptoSuite, p.CryptoSuite.masterLen())
	}
	return b, nil
}

func (p *SRTPParameters) validate() error {
	_, err := p.master()
	return err
}
