package engine

import "cmp"

// minOutgoing is the least limit of what is sent to a peer, in bit/s
// (media-plane §5.9).
const minOutgoing = 30_000

// outgoingLimits are the limits, in bit/s, of what may be sent to the peer of a
// transport; 0 is none.
type outgoingLimits struct{ low, high uint32 }

// SetMaxOutgoingBitrate limits what is sent to the peer of a transport, in
// bit/s; 0 is no limit. Errors: ErrNotFound; ErrInvalidArgument below 30,000 or
// below the other limit; [errors.ErrUnsupported] for direct transports.
func (m *Machine) SetMaxOutgoingBitrate(id string, bps uint32) error {
	return m.limitOutgoing(id, bps, func(l *outgoingLimits) { l.high = bps })
}

// SetMinOutgoingBitrate is how much of what is sent to the peer of a transport
// is taken for granted, in bit/s; 0 is nothing. Errors: those of
// SetMaxOutgoingBitrate, above the other limit instead of below it.
func (m *Machine) SetMinOutgoingBitrate(id string, bps uint32) error {
	return m.limitOutgoing(id, bps, func(l *outgoingLimits) { l.low = bps })
}

func (m *Machine) limitOutgoing(id string, bps uint32, set func(*outgoingLimits)) error {
	t := m.transports[id]
	if t == nil {
		return notFound("Transport", id)
	}
	if t.direct {
		return unsupported("a direct transport has no bitrate limit")
	}
	if bps != 0 && bps < minOutgoing {
		return invalid("bitrate %d is below %d", bps, minOutgoing)
	}
	l := t.limits
	set(&l)
	if l.low > cmp.Or(l.high, l.low) {
		return invalid("minimum bitrate %d is above maximum %d", l.low, l.high)
	}
	t.limits = l
	if b := t.bandwidth; b != nil {
		b.limit()
		b.desire(false)
	}
	return nil
}

// A transportTrace is the set of trace events that a transport emits.
type transportTrace struct{ probation, bwe bool }

// TraceTransport replaces the set of trace events that a transport emits, of
// "probation" and "bwe"; others are ignored. Errors: ErrNotFound.
func (m *Machine) TraceTransport(id string, types []string) error {
	t := m.transports[id]
	if t == nil {
		return notFound("Transport", id)
	}
	t.trace = transportTrace{}
	for _, x := range types {
		switch x {
		case "probation":
			t.trace.probation = true
		case "bwe":
			t.trace.bwe = true
		}
	}
	return nil
}

// names lists the set in mediasoup's order.
func (s transportTrace) names() []string {
	names := []string{}
	if s.probation {
		names = append(names, "probation")
	}
	if s.bwe {
		names = append(names, "bwe")
	}
	return names
}
