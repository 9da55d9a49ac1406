package engine

import (
	"log/slog"
	"slices"
	"time"
)

// A DataType tells where the messages of a data end come from, or go to.
type DataType uint8

const (
	SCTPData   DataType = iota // a stream of an SCTP association
	DirectData                 // the application
)

// String returns "sctp" or "direct".
func (t DataType) String() string {
	if t == DirectData {
		return "direct"
	}
	return "sctp"
}

// maxStreamID is the highest id of an SCTP stream (RFC 8831 §6.2).
const maxStreamID = 65534

// SCTPStreamParameters describe a stream of an SCTP association.
type SCTPStreamParameters struct {
	StreamID uint16
	// Ordered is nil for true, or for false if there is a limit. Of what the
	// engine returns it is never nil.
	Ordered *bool
	// MaxPacketLifeTime, in ms, and MaxRetransmits limit how long a message is
	// sent again; at most one of them does. A life time of 0 is no limit. For
	// MaxRetransmits nil is none, and so is 0 unless Ordered is false.
	MaxPacketLifeTime uint16
	MaxRetransmits    *uint16
}

// checked applies mediasoup's rules and fills in Ordered (media-plane §8.2).
func (p *SCTPStreamParameters) checked() (SCTPStreamParameters, error) {
	retransmits := p.MaxRetransmits != nil && *p.MaxRetransmits != 0
	limited := p.MaxPacketLifeTime != 0 || retransmits
	switch {
	case p.StreamID > maxStreamID:
		return SCTPStreamParameters{}, invalid("streamId must not be greater than %d", maxStreamID)
	case p.MaxPacketLifeTime != 0 && retransmits:
		return SCTPStreamParameters{}, invalid("cannot provide both maxPacketLifeTime and maxRetransmits")
	case limited && p.Ordered != nil && *p.Ordered:
		return SCTPStreamParameters{}, invalid("cannot be ordered with maxPacketLifeTime or maxRetransmits")
	}
	out := *p
	if p.Ordered == nil {
		out.Ordered = new(!limited)
	} else {
		out.Ordered = new(*p.Ordered)
	}
	if !retransmits && (*out.Ordered || p.MaxPacketLifeTime != 0) {
		out.MaxRetransmits = nil
	}
	return out, nil
}

func (p *SCTPStreamParameters) clone() *SCTPStreamParameters {
	if p == nil {
		return nil
	}
	c := *p
	c.Ordered = new(*p.Ordered)
	return &c
}

// A DataMessage is one message of a data channel. The numbers are those of its
// subchannels; nil is none.
type DataMessage struct {
	PPID              uint32 // what Data is (RFC 8831 §8)
	Data              []byte
	Subchannels       []uint16 // a receiver must have one of them
	Required, Ignored *uint16  // that a receiver must, or must not have
}

// A dataProducer receives messages.
type dataProducer struct {
	// Constant after ProduceData.
	m               *Machine
	t               *transport
	id              string
	typ             DataType
	stream          *SCTPStreamParameters // nil unless typ is SCTPData
	label, protocol string

	paused          bool
	consumers       []*dataConsumer // in order of creation
	messages, bytes uint64          // received
}

// ProduceDataOptions are the options of [Machine.ProduceData].
type ProduceDataOptions struct {
	ID   string
	Type DataType
	// SCTPStreamParameters are required for SCTPData, and ignored for others.
	SCTPStreamParameters *SCTPStreamParameters
	Label, Protocol      string
	Paused               bool
}

// ProduceData makes a DataProducer on a transport. Errors: ErrInvalidArgument,
// ErrNotFound, and ErrInvalidState when an id or stream is in use or the
// transport has no SCTP.
func (m *Machine) ProduceData(transportID string, o ProduceDataOptions) (DataProducerDump, error) {
	var none DataProducerDump
	t := m.transports[transportID]
	if t == nil {
		return none, notFound("Transport", transportID)
	}
	if err := m.unused(o.ID); err != nil {
		return none, err
	}
	stream, err := t.dataStream(o.Type, o.SCTPStreamParameters)
	if err != nil {
		return none, err
	}
	if stream != nil && t.inStreams[stream.StreamID] != nil {
		return none, invalidState("streamId %d is in use", stream.StreamID)
	}
	if stream != nil {
		if err := t.sctp.openInbound(stream); err != nil {
			return none, err
		}
	}
	p := &dataProducer{
		m: m, t: t, id: o.ID, typ: o.Type, stream: stream,
		label: o.Label, protocol: o.Protocol, paused: o.Paused,
	}
	m.dataProducers[p.id] = p
	t.dataProducers = append(t.dataProducers, p)
	if stream != nil {
		t.inStreams[stream.StreamID] = p
		t.startSCTP()
	}
	return p.dump(), nil
}

// dataStream checks that t can have an end of that type, and its stream.
func (t *transport) dataStream(typ DataType, p *SCTPStreamParameters) (*SCTPStreamParameters, error) {
	switch {
	case t.direct && typ != DirectData:
		return nil, invalid("data of a direct transport is of type direct")
	case t.direct:
		return nil, nil
	case t.sctp == nil:
		return nil, invalidState("SCTP not enabled and not a direct transport")
	case typ != SCTPData:
		return nil, invalid("data of an SCTP transport is of type sctp")
	case p == nil:
		return nil, invalid("missing sctpStreamParameters")
	}
	s, err := p.checked()
	return &s, err
}

func (m *Machine) dataProducer(id string) (*dataProducer, error) {
	if p := m.dataProducers[id]; p != nil {
		return p, nil
	}
	return nil, notFound("DataProducer", id)
}

// CloseDataProducer closes a DataProducer. Its DataConsumers close with a
// [DataConsumerProducerClose].
func (m *Machine) CloseDataProducer(id string) error {
	p, err := m.dataProducer(id)
	if err != nil {
		return err
	}
	p.close()
	return nil
}

func (p *dataProducer) close() {
	for _, c := range take(&p.consumers) {
		if !c.silent {
			p.m.notify(c.id, DataConsumerProducerClose{})
		}
		c.close()
	}
	if p.stream != nil {
		delete(p.t.inStreams, p.stream.StreamID)
		p.t.sctp.sctp.CloseInbound(p.stream.StreamID)
	}
	delete(p.m.dataProducers, p.id)
	p.t.dataProducers = slices.DeleteFunc(p.t.dataProducers, func(x *dataProducer) bool { return x == p })
}

// PauseDataProducer drops the messages that arrive; they are still counted.
func (m *Machine) PauseDataProducer(id string) error { return m.pauseDataProducer(id, true) }

// ResumeDataProducer goes on forwarding.
func (m *Machine) ResumeDataProducer(id string) error { return m.pauseDataProducer(id, false) }

func (m *Machine) pauseDataProducer(id string, paused bool) error {
	p, err := m.dataProducer(id)
	if err != nil || p.paused == paused {
		return err
	}
	p.paused = paused
	for _, c := range p.consumers {
		c.producerPaused = paused
		if paused {
			m.notify(c.id, DataConsumerProducerPause{})
		} else {
			m.notify(c.id, DataConsumerProducerResume{})
		}
	}
	return nil
}

// receive hands a message to the DataConsumers. They may keep what it refers to.
func (p *dataProducer) receive(msg *DataMessage) {
	p.messages++
	p.bytes += uint64(len(msg.Data))
	if p.paused {
		return
	}
	for _, c := range p.consumers {
		c.forward(msg)
	}
}

// droppedMessage counts and logs a message that could not be used; who and id
// name the object that had to.
func (m *Machine) droppedMessage(why any, who, id string, size int) {
	m.count.DropData++
	if n, ok := m.may(m.logs.message, slog.LevelWarn, causeMessage); ok {
		m.logs.message.Warn("message dropped", who, id, "bytes", size, "why", why, "skipped", n)
	}
}

// dataProducerSend is one message of the application.
func (m *Machine) dataProducerSend(id string, msg *DataMessage) {
	p := m.dataProducers[id]
	if p == nil || len(msg.Data) == 0 || len(msg.Data) > int(p.t.maxReceive) {
		m.droppedMessage("its DataProducer is closed, or it is empty or larger than the transport receives", "dataProducer", id, len(msg.Data))
		return
	}
	p.t.received(len(msg.Data))
	p.receive(msg)
	for _, to := range m.takeCrowded() {
		to.crowd.refuse(m, id)
	}
}

// DataProducerDump describes a DataProducer.
type DataProducerDump struct {
	ID                   string
	Type                 DataType
	SCTPStreamParameters *SCTPStreamParameters // of SCTPData
	Label, Protocol      string
	Paused               bool
}

// DumpDataProducer describes the DataProducer with that id.
func (m *Machine) DumpDataProducer(id string) (DataProducerDump, error) {
	p, err := m.dataProducer(id)
	if err != nil {
		return DataProducerDump{}, err
	}
	return p.dump(), nil
}

func (p *dataProducer) dump() DataProducerDump {
	return DataProducerDump{
		ID: p.id, Type: p.typ, SCTPStreamParameters: p.stream.clone(),
		Label: p.label, Protocol: p.protocol, Paused: p.paused,
	}
}

// DataProducerStats are the counters of a DataProducer.
type DataProducerStats struct {
	Timestamp                       time.Duration
	Label, Protocol                 string
	MessagesReceived, BytesReceived uint64
}

// DataProducerStats returns the counters of the DataProducer with that id.
func (m *Machine) DataProducerStats(id string) (DataProducerStats, error) {
	p, err := m.dataProducer(id)
	if err != nil {
		return DataProducerStats{}, err
	}
	return DataProducerStats{
		Timestamp: m.now, Label: p.label, Protocol: p.protocol,
		MessagesReceived: p.messages, BytesReceived: p.bytes,
	}, nil
}
