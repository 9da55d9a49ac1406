package mafalda

import (
	"fmt"
)

// SCTPStreamParameters describes the SCTP stream of a data channel (RFC 8832 §5.1).
type SCTPStreamParameters struct {
	// StreamID is 0 to 65534. Required: an absent one counts as 0.
	StreamID uint16 `json:"streamId"`
	// Ordered asks for delivery in order. Nil means true, or false if one of the
	// two limits is given.
	Ordered *bool `json:"ordered,omitempty"`
	// MaxPacketLifeTime limits retransmission to that many milliseconds; nil or
	// 0 means no limit. Excludes MaxRetransmits.
	MaxPacketLifeTime *uint16 `json:"maxPacketLifeTime,omitempty"`
	// MaxRetransmits limits the number of retransmissions; nil or 0 means no
	// limit. Excludes MaxPacketLifeTime.
	MaxRetransmits *uint16 `json:"maxRetransmits,omitempty"`
}

// ValidateAndNormalizeSCTPStreamParameters checks p and returns a copy with
// Ordered filled in. It returns [ErrInvalidArgument] if p has both limits, is
// explicitly ordered and has a limit, or has a StreamID above 65534.
//
// As in mediasoup, a limit of 0 is kept but counts as none.
func ValidateAndNormalizeSCTPStreamParameters(p SCTPStreamParameters) (SCTPStreamParameters, error) {
	lifeTime := p.MaxPacketLifeTime != nil && *p.MaxPacketLifeTime != 0
	retransmits := p.MaxRetransmits != nil && *p.MaxRetransmits != 0
	switch {
	case p.StreamID > 65534:
		return SCTPStreamParameters{}, fmt.Errorf("streamId must not be greater than 65534: %w", ErrInvalidArgument)
	case lifeTime && retransmits:
		return SCTPStreamParameters{}, fmt.Errorf("both maxPacketLifeTime and maxRetransmits: %w", ErrInvalidArgument)
	case p.Ordered != nil && *p.Ordered && (lifeTime || retransmits):
		return SCTPStreamParameters{}, fmt.Errorf("ordered with maxPacketLifeTime or maxRetransmits: %w", ErrInvalidArgument)
	}
	n := p.clone()
	if n.Ordered == nil {
		n.Ordered = new(!lifeTime && !retransmits)
	}
	return n, nil
}

func (p SCTPStreamParameters) clone() SCTPStreamParameters {
	p.Ordered = clonePointer(p.Ordered)
	p.MaxPacketLifeTime = clonePointer(p.MaxPacketLifeTime)
	p.MaxRetransmits = clonePointer(p.MaxRetransmits)
	return p
}
