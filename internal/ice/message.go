package ice

import (
	"encoding/binary"
	"slices"

	"github.com/pion/stun/v3"
)

// The header of a STUN message (RFC 8489 §5):
//
//	 0                   1                   2                   3
//	|0 0|     message type          |            length             |
//	|                         magic cookie                          |
//	|                     transaction id (96 bits)                  |
const (
	headerSize     = 20
	offLength      = 2
	offCookie      = 4
	magicCookie    = 0x2112A442
	attrHeaderSize = 4
	integritySize  = 20

	// maxFirstByte keeps STUN apart from what shares the port (RFC 9443 §3);
	// all types that ICE uses begin with 0 or 1.
	maxFirstByte = 2
)

// Attributes of the renomination draft, which pion/stun does not name.
const (
	attrNomination       stun.AttrType = 0x0030
	attrNominationLegacy stun.AttrType = 0xC001 // what libwebrtc sends
)

// maxAttributes bounds the attributes of a message that is read at all. Checks
// have some ten; without a bound a frame of 64 KiB has 16,000 and takes the loop
// milliseconds, whoever sends it. mediasoup has none.
const maxAttributes = 64

// Limits of what an agent keeps between messages.
const (
	maxKeptBytes      = 2048
	maxKeptAttributes = 32
)

// IsSTUN tells whether a datagram or frame is taken for a STUN message. It need
// not be a valid one.
func IsSTUN(b []byte) bool {
	return len(b) >= headerSize && b[0] <= maxFirstByte && binary.BigEndian.Uint32(b[offCookie:]) == magicCookie
}

// LocalUfragBytes returns the user name fragment of the agent for which the
// message b is meant: the USERNAME up to the first colon, or all of it (RFC 8445
// §7.2.2). Nothing else is checked. It is for the first packet of a tuple. The
// result is a part of b.
func LocalUfragBytes(b []byte) ([]byte, bool) {
	if !IsSTUN(b) {
		return nil, false
	}
	for b = b[headerSize:]; len(b) >= attrHeaderSize; {
		kind := stun.AttrType(binary.BigEndian.Uint16(b))
		n := int(binary.BigEndian.Uint16(b[2:]))
		b = b[attrHeaderSize:]
		if n > len(b) {
			break
		}
		if kind == stun.AttrUsername {
			for i, c := range b[:n] {
				if c == ':' {
					return b[:i], true
				}
			}
			return b[:n], true
		}
		b = b[min((n+3)&^3, len(b)):]
	}
	return nil, false
}

// A request is what an agent wants to know of a message.
type request struct {
	username             []byte // a part of Agent.in
	controlledTieBreaker uint64
	nomination           uint32

	hasUsername, hasIntegrity, hasFingerprint bool
	hasPriority, hasNomination, useCandidate  bool
}

// known lists the attributes whose size is checked and that may come only once.
var known = [...]struct {
	kind     stun.AttrType
	min, max int // bytes
}{
	{stun.AttrUsername, 0, 513},
	{stun.AttrPriority, 4, 4},
	{stun.AttrICEControlled, 8, 8},
	{stun.AttrICEControlling, 8, 8},
	{stun.AttrUseCandidate, 0, 0},
	{attrNomination, 4, 4},
	{attrNominationLegacy, 4, 4},
	{stun.AttrSoftware, 0, 763},
	{stun.AttrXORMappedAddress, 8, 20},
	{stun.AttrErrorCode, 4, 1 << 16},
	{stun.AttrMessageIntegrity, integritySize, integritySize},
	{stun.AttrFingerprint, 4, 4},
}

// decode reads b into a.in and a.request. It is false for what has to be dropped
// without an answer.
func (a *Agent) decode(b []byte) bool {
	size := len(b) - headerSize
	if !IsSTUN(b) || size%4 != 0 || int(binary.BigEndian.Uint16(b[offLength:])) != size || !fits(b[headerSize:]) {
		return false
	}
	// Where the message ends pion puts the HMAC that it expects.
	a.in.Raw = slices.Grow(a.in.Raw[:0], len(b)+integritySize)
	if stun.Decode(b, &a.in) != nil {
		return false
	}
	r := &a.request
	*r = request{}
	seen := 0 // bit i: known[i]
	for i := range a.in.Attributes {
		attr := &a.in.Attributes[i]
		if r.hasFingerprint || r.hasIntegrity && attr.Type != stun.AttrFingerprint {
			return false
		}
		for k := range known {
			if known[k].kind != attr.Type {
				continue
			}
			n := len(attr.Value)
			if seen&(1<<k) != 0 || n < known[k].min || n > known[k].max {
				return false
			}
			seen |= 1 << k
			if !r.set(attr) {
				return false
			}
			break
		}
	}
	return !r.hasFingerprint || stun.Fingerprint.Check(&a.in) == nil
}

// fits tells whether the attributes fill b, each with its padding, and are no
// more than there may be. It spares hostile messages the errors that pion/stun
// would make for them.
func fits(b []byte) bool {
	for i := 0; i < maxAttributes && len(b) >= attrHeaderSize; i++ {
		n := attrHeaderSize + (int(binary.BigEndian.Uint16(b[2:]))+3)&^3
		if n > len(b) {
			return false
		}
		b = b[n:]
	}
	return len(b) == 0
}

// set takes over one known attribute, whose size fits.
func (r *request) set(attr *stun.RawAttribute) bool {
	v := attr.Value
	switch attr.Type {
	case stun.AttrUsername:
		r.username, r.hasUsername = v, true
	case stun.AttrPriority:
		r.hasPriority = true
	case stun.AttrICEControlled:
		r.controlledTieBreaker = binary.BigEndian.Uint64(v)
	case stun.AttrUseCandidate:
		r.useCandidate = true
	case attrNomination:
		r.nomination, r.hasNomination = binary.BigEndian.Uint32(v), true
	case attrNominationLegacy:
		if !r.hasNomination {
			r.nomination, r.hasNomination = binary.BigEndian.Uint32(v), true
		}
	case stun.AttrXORMappedAddress:
		return len(v) == 8 || len(v) == 20
	case stun.AttrMessageIntegrity:
		r.hasIntegrity = true
	case stun.AttrFingerprint:
		r.hasFingerprint = true
	}
	return true
}

// begin starts the response of class c to the request in a.in.
func (a *Agent) begin(c stun.MessageClass) {
	a.out.Reset()
	a.out.Type = stun.NewType(a.in.Type.Method, c)
	a.out.TransactionID = a.in.TransactionID
	a.out.WriteHeader()
}

// succeed builds the success response: the address from which the request came,
// signed with the password that the request used.
func (a *Agent) succeed(from Tuple, c *credentials) {
	a.begin(stun.ClassSuccessResponse)
	a.ip = from.Remote.Addr().As16()
	mapped := stun.XORMappedAddress{IP: a.ip[:], Port: int(from.Remote.Port())}
	// None of these can fail: the IP has 16 bytes and the order is right.
	_ = mapped.AddTo(&a.out)
	_ = c.key.AddTo(&a.out)
	_ = stun.Fingerprint.AddTo(&a.out)
}

// fail builds an error response. As in mediasoup it has no MESSAGE-INTEGRITY.
func (a *Agent) fail(code stun.ErrorCode) ([]byte, bool) {
	switch code {
	case stun.CodeUnauthorized:
		a.counter.Unauthorized++
	case stun.CodeRoleConflict:
		a.counter.RoleConflicts++
	default:
		a.counter.BadRequests++
	}
	a.begin(stun.ClassErrorResponse)
	_ = code.AddTo(&a.out) // has a default reason
	_ = stun.Fingerprint.AddTo(&a.out)
	return a.out.Raw, true
}

// trim gives back the memory of an unusually large message.
func (a *Agent) trim() {
	if cap(a.in.Raw) > maxKeptBytes {
		a.in.Raw, a.request = nil, request{}
		a.in.Attributes = nil
	} else if cap(a.in.Attributes) > maxKeptAttributes {
		a.in.Attributes = nil
	}
}
