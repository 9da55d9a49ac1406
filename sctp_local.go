package mafalda

import "github.com/mafalda-sfu/mafalda/internal/engine"

// The SCTP of a transport.

// sctpState is what a transport knows of its SCTP; all of it is zero without.
type sctpState struct {
	parameters *SCTPParameters // constant after init
	state      SCTPState
	negotiated *SCTPNegotiatedCapabilities // never modified in place
}

// engineSCTPOptions returns o for the engine, nil if it turns SCTP off.
func engineSCTPOptions(o *SCTPOptions, dataChannel bool) *engine.SCTPOptions {
	if !o.EnableSCTP {
		return nil
	}
	return &engine.SCTPOptions{
		MaxSendMessageSize:          uint32(o.MaxSendMessageSize),
		MaxReceiveMessageSize:       uint32(o.MaxReceiveMessageSize),
		SendBufferSize:              uint32(o.SCTPSendBufferSize),
		PerStreamSendQueueLimit:     uint32(o.SCTPPerStreamSendQueueLimit),
		MaxReceiverWindowBufferSize: uint32(o.SCTPMaxReceiverWindowBufferSize),
		BufferedAmountLowThreshold:  uint32(o.bufferedAmountLowThreshold()),
		DataChannel:                 dataChannel,
	}
}

func (s *sctpState) init(d *engine.SCTPDump) {
	if d == nil {
		return
	}
	s.parameters = sctpParameters(d)
	s.state = SCTPState(d.State)
}

// SCTPParameters is that of the kinds of transport that may have SCTP.
func (t *transport) SCTPParameters() *SCTPParameters {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	return clonePointer(t.sctp.parameters)
}

// SCTPState is that of the kinds of transport that may have SCTP.
func (t *transport) SCTPState() SCTPState {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	return t.sctp.state
}

// SCTPNegotiatedCapabilities is that of the kinds of transport that may have SCTP.
func (t *transport) SCTPNegotiatedCapabilities() *SCTPNegotiatedCapabilities {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	return clonePointer(t.sctp.negotiated)
}

func sctpParameters(d *engine.SCTPDump) *SCTPParameters {
	o := &d.Options
	return &SCTPParameters{
		Port:                        d.Port,
		MaxSendMessageSize:          int(o.MaxSendMessageSize),
		MaxReceiveMessageSize:       int(o.MaxReceiveMessageSize),
		SendBufferSize:              int(o.SendBufferSize),
		PerStreamSendQueueLimit:     int(o.PerStreamSendQueueLimit),
		MaxReceiverWindowBufferSize: int(o.MaxReceiverWindowBufferSize),
		IsDataChannel:               o.DataChannel,
		OS:                          maxStreams,
		MIS:                         maxStreams,
		MaxMessageSize:              int(o.MaxReceiveMessageSize),
	}
}

// sctpDump fills in what SCTP adds to the dump of a transport.
func sctpDump(out *TransportDump, d *engine.SCTPDump) {
	if d == nil {
		return
	}
	out.SCTPParameters = sctpParameters(d)
	out.SCTPState = SCTPState(d.State)
	out.SCTPNegotiatedCapabilities = &SCTPNegotiatedCapabilities{int(d.MaxOutbound), int(d.MaxInbound)}
	out.SCTPListener = &SCTPListenerDump{StreamIDTable: make([]KeyValue[uint16, string], len(d.Streams))}
	for i, s := range d.Streams {
		out.SCTPListener.StreamIDTable[i] = KeyValue[uint16, string]{s.StreamID, s.ID}
	}
}
