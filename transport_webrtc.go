package mafalda

import (
	"context"
	"encoding/hex"
	"slices"
	"strings"
	"time"
)

// WebRTCTransportOptions are the options of [Router.CreateWebRTCTransport].
type WebRTCTransportOptions struct {
	// WebRTCServer has the ports to use. It must be of the same Worker.
	// It wins over ListenInfos; one of the two is required.
	WebRTCServer WebRTCServer
	// ListenInfos are the ports to open for this Transport alone, in the order
	// in which they become ICE candidates.
	ListenInfos []ListenInfo

	// EnableUDP and EnableTCP choose among the ports of the WebRTCServer; nil
	// means true. With ListenInfos they have no effect: list what you want.
	EnableUDP, EnableTCP *bool
	// PreferUDP and PreferTCP give the candidates of that protocol a higher
	// priority. With ListenInfos they have no effect: the order decides.
	PreferUDP, PreferTCP bool

	// ICEConsentTimeout is how long the peer may be silent on ICE before the
	// ICE state becomes disconnected: 10 to 60 s, or 0 for no limit. nil means
	// 30 s.
	ICEConsentTimeout *time.Duration

	// InitialAvailableOutgoingBitrate is how much the peer can be sent until
	// the estimator knows better, in bit/s, at most 4,294,967,295. 0 means
	// 600,000.
	InitialAvailableOutgoingBitrate int

	// DTLSCertificate and DTLSPrivateKey are the certificate of this Transport
	// alone and its key, both in PEM of at most 64 KiB: both or none, as
	// [GenerateDTLSCertificate] returns them. The key is an ECDSA, Ed25519 or RSA
	// one (1024 to 8192 bits) and not encrypted; what browsers have to take is ECDSA
	// on P-256 (RFC 8827 §6.5). Of several certificates the first is used. Empty
	// means those of the Worker, as for all transports of mediasoup. A Worker with a
	// WorkerBin can't have them: [errors.ErrUnsupported].
	DTLSCertificate, DTLSPrivateKey string

	SCTPOptions

	// AppData is kept as it is.
	AppData any
}

const (
	defaultICEConsentTimeout = 30 * time.Second
	minICEConsentTimeout     = 10 * time.Second
	maxICEConsentTimeout     = 60 * time.Second
)

// Validate returns the [ErrInvalidArgument] that a call with these options gets,
// or nil. Only a call knows more: whether a port is free, or a file there.
func (o *WebRTCTransportOptions) Validate() error {
	_, err := o.load()
	return err
}

// validate is Validate without the certificate.
func (o *WebRTCTransportOptions) validate() error {
	if o.WebRTCServer == nil {
		if len(o.ListenInfos) == 0 {
			return invalid("neither WebRTCServer nor ListenInfos is given")
		}
		if err := validateListenInfos(o.ListenInfos); err != nil {
			return err
		}
	}
	if t := o.iceConsentTimeout(); t != 0 && (t < minICEConsentTimeout || t > maxICEConsentTimeout) {
		return invalid("ICE consent timeout %v", t)
	}
	if err := validateOutgoingBitrate(o.InitialAvailableOutgoingBitrate); err != nil {
		return err
	}
	return o.validateSCTP()
}

// iceConsentTimeout returns ICEConsentTimeout with its default.
func (o *WebRTCTransportOptions) iceConsentTimeout() time.Duration {
	if o.ICEConsentTimeout == nil {
		return defaultICEConsentTimeout
	}
	return *o.ICEConsentTimeout
}

// enableUDP and enableTCP return the options with their default.
func (o *WebRTCTransportOptions) enableUDP() bool { return o.EnableUDP == nil || *o.EnableUDP }
func (o *WebRTCTransportOptions) enableTCP() bool { return o.EnableTCP == nil || *o.EnableTCP }

// ICERole is the role of our side in ICE: always controlled, since we are ICE-lite.
type ICERole string

// The ICE roles.
const (
	ICERoleControlled  ICERole = "controlled"
	ICERoleControlling ICERole = "controlling"
)

// ICEState is the state of ICE.
type ICEState string

// The ICE states.
const (
	ICEStateNew          ICEState = "new"
	ICEStateConnected    ICEState = "connected" // a path works, none is nominated
	ICEStateCompleted    ICEState = "completed" // a path is nominated
	ICEStateDisconnected ICEState = "disconnected"
	ICEStateClosed       ICEState = "closed"
)

// ICEParameters are our ICE credentials.
type ICEParameters struct {
	UsernameFragment string `json:"usernameFragment"`
	Password         string `json:"password"`
	ICELite          bool   `json:"iceLite"` // always true
}

// ICECandidate is an address at which we can be reached.
type ICECandidate struct {
	Foundation string `json:"foundation"`
	Priority   uint32 `json:"priority"`
	// IP is Address, under the name that older clients know.
	IP string `json:"ip"`
	// Address is the announced address, if any, else the bound IP.
	Address  string   `json:"address"`
	Protocol Protocol `json:"protocol"`
	Port     uint16   `json:"port"`
	Type     string   `json:"type"`              // always "host"
	TCPType  string   `json:"tcpType,omitempty"` // "passive" for TCP
}

// DTLSRole is who begins the DTLS handshake.
type DTLSRole string

// The DTLS roles.
const (
	DTLSRoleAuto   DTLSRole = "auto" // not decided yet
	DTLSRoleClient DTLSRole = "client"
	DTLSRoleServer DTLSRole = "server"
)

// DTLSState is the state of DTLS.
type DTLSState string

// The DTLS states.
const (
	DTLSStateNew        DTLSState = "new"
	DTLSStateConnecting DTLSState = "connecting"
	DTLSStateConnected  DTLSState = "connected"
	DTLSStateFailed     DTLSState = "failed"
	DTLSStateClosed     DTLSState = "closed"
)

// FingerprintAlgorithm is the hash function of a certificate's fingerprint.
type FingerprintAlgorithm string

// The fingerprint algorithms.
const (
	FingerprintSHA1   FingerprintAlgorithm = "sha-1"
	FingerprintSHA224 FingerprintAlgorithm = "sha-224"
	FingerprintSHA256 FingerprintAlgorithm = "sha-256"
	FingerprintSHA384 FingerprintAlgorithm = "sha-384"
	FingerprintSHA512 FingerprintAlgorithm = "sha-512"
)

// size returns the length of the hash in bytes, 0 for an unknown algorithm.
func (a FingerprintAlgorithm) size() int {
	switch a {
	case FingerprintSHA1:
		return 20
	case FingerprintSHA224:
		return 28
	case FingerprintSHA256:
		return 32
	case FingerprintSHA384:
		return 48
	case FingerprintSHA512:
		return 64
	}
	return 0
}

// DTLSFingerprint is the hash of a certificate: hexadecimal bytes separated by
// colons. Ours are in upper case; both cases are taken.
type DTLSFingerprint struct {
	Algorithm FingerprintAlgorithm `json:"algorithm"`
	Value     string               `json:"value"`
}

func (f *DTLSFingerprint) validate() error {
	n := f.Algorithm.size()
	if n == 0 {
		return invalid("fingerprint algorithm %q", f.Algorithm)
	}
	parts := strings.Split(f.Value, ":")
	ok := len(parts) == n
	for _, p := range parts {
		_, err := hex.DecodeString(p)
		ok = ok && err == nil && len(p) == 2
	}
	if !ok {
		return invalid("%s fingerprint is not %d hexadecimal bytes separated by colons", f.Algorithm, n)
	}
	return nil
}

// DTLSParameters are the DTLS role and certificate of one side.
type DTLSParameters struct {
	// Role is that of the side which sends them. Empty means auto.
	Role DTLSRole `json:"role,omitempty"`
	// Fingerprints are those of its certificate. Of a peer's, the first is checked.
	Fingerprints []DTLSFingerprint `json:"fingerprints"`
}

func (p *DTLSParameters) validate() error {
	switch p.Role {
	case "", DTLSRoleAuto, DTLSRoleClient, DTLSRoleServer:
	default:
		return invalid("DTLS role %q", p.Role)
	}
	if len(p.Fingerprints) == 0 {
		return invalid("DTLS fingerprints are missing")
	}
	for i := range p.Fingerprints {
		if err := p.Fingerprints[i].validate(); err != nil {
			return err
		}
	}
	return nil
}

func (p DTLSParameters) clone() DTLSParameters {
	p.Fingerprints = slices.Clone(p.Fingerprints)
	return p
}

// WebRTCTransportConnectOptions are the options of [WebRTCTransport.Connect].
type WebRTCTransportConnectOptions struct {
	// DTLSParameters are those of the peer. Required.
	DTLSParameters DTLSParameters `json:"dtlsParameters"`
}

func (o *WebRTCTransportConnectOptions) validate() error { return o.DTLSParameters.validate() }

// A WebRTCTransport is a [Transport] to a browser or another WebRTC endpoint:
// ICE-lite, DTLS and SRTP, everything on one path.
//
// A peer that goes away does not close it: the ICE state becomes disconnected,
// or the DTLS state closed, and the application decides.
type WebRTCTransport interface {
	Transport

	ICERole() ICERole
	// ICEParameters and ICECandidates are for the peer. RestartICE changes the
	// parameters; the candidates stay.
	ICEParameters() ICEParameters
	ICECandidates() []ICECandidate
	ICEState() ICEState
	// ICESelectedTuple returns the path in use, nil if there is none.
	ICESelectedTuple() *TransportTuple
	// DTLSParameters are for the peer. Their role is auto until Connect.
	DTLSParameters() DTLSParameters
	DTLSState() DTLSState
	// DTLSRemoteCert returns the certificate of the peer in PEM, "" until DTLS
	// is connected.
	DTLSRemoteCert() string
	// SCTPParameters are for the peer; nil without EnableSCTP.
	SCTPParameters() *SCTPParameters
	// SCTPState returns "" without EnableSCTP.
	SCTPState() SCTPState
	// SCTPNegotiatedCapabilities returns nil until SCTP is connected.
	SCTPNegotiatedCapabilities() *SCTPNegotiatedCapabilities

	// Connect tells the Transport who its peer is. It does not wait for ICE
	// and DTLS. A call that failed may be repeated. Errors:
	// [ErrInvalidArgument]; [ErrInvalidState] when called again; [ErrClosed].
	Connect(ctx context.Context, o WebRTCTransportConnectOptions) error
	// RestartICE makes new ICE credentials. The old ones work until the peer
	// uses the new. Errors: [ErrClosed], or the error of ctx.
	RestartICE(ctx context.Context) (ICEParameters, error)
}
