package mafalda

import (
	"encoding/json"
	"fmt"
)

// SCTPStreamParameters describes the SCTP stream of a data channel (RFC 8832 §5.1).
type SCTPStreamParameters struct {
	// StreamID is 0 to 65534. Required.
	StreamID uint16 `json:"streamId"`
	// Ordered asks for delivery in order. Nil means true, or false if one of the
	// two limits is given.
	Ordered *bool `json:"ordered,omitempty"`
	// MaxPacketLifeTime limits retransmission to that many milliseconds; nil or
	// 0 means no limit. Excludes MaxRetransmits.
	MaxPacketLifeTime *uint16 `json:"maxPacketLifeTime,omitempty"`
	// MaxRetransmits limits the number of retransmissions. nil means no limit,
	// and so does 0 unless Ordered is false, as in the options of a browser's
	// data channel. Excludes MaxPacketLifeTime.
	MaxRetransmits *uint16 `json:"maxRetransmits,omitempty"`
}

// UnmarshalJSON is that of encoding/json, but an absent stream id, which must not
// be taken for 0, is an [ErrInvalidArgument].
func (p *SCTPStreamParameters) UnmarshalJSON(text []byte) error {
	type plain SCTPStreamParameters
	v := struct {
		*plain
		StreamID *uint16 `json:"streamId"`
	}{plain: (*plain)(p)}
	if err := json.Unmarshal(text, &v); err != nil {
		return err
	}
	if v.StreamID == nil {
		return fmt.Errorf("missing streamId: %w", ErrInvalidArgument)
	}
	p.StreamID = *v.StreamID
	return nil
}

// ValidateAndNormalizeSCTPStreamParameters checks p and returns a copy with
// Ordered filled in. It returns [ErrInvalidArgument] if p has both limits, is
// explicitly ordered and has a limit, or has a StreamID above 65534.
//
// As in mediasoup, a limit of 0 is kept but counts as none here.
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
