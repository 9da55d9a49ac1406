package engine

import (
	"errors"
	"slices"
	"time"

	"github.com/mafalda-sfu/mafalda/internal/sctp"
	"github.com/mafalda-sfu/mafalda/internal/subchannel"
)

// A dataConsumer sends the messages of a DataProducer.
type dataConsumer struct {
	// Constant after ConsumeData.
	m               *Machine
	t               *transport
	producer        *dataProducer
	id              string
	typ             DataType
	stream          *SCTPStreamParameters // nil unless typ is SCTPData
	label, protocol string

	paused          bool
	producerPaused  bool
	silent          bool // closes without telling of its DataProducer
	reset           bool // the peer ended the stream
	closed          bool
	lowThreshold    uint32
	subchannels     subchannel.Set
	messages, bytes uint64 // sent
}

// ConsumeDataOptions are the options of [Machine.ConsumeData].
type ConsumeDataOptions struct {
	ID, DataProducerID string
	Type               DataType
	// SCTPStreamParameters are required for SCTPData, and ignored for others.
	SCTPStreamParameters *SCTPStreamParameters
	Label, Protocol      string
	Paused               bool
	Subchannels          []uint16
}

// ConsumeData makes a DataConsumer on a transport. Errors: ErrInvalidArgument,
// ErrNotFound, and ErrInvalidState when an id or stream is in use or the
// transport has no SCTP.
func (m *Machine) ConsumeData(transportID string, o ConsumeDataOptions) (DataConsumerDump, error) {
	var none DataConsumerDump
	t := m.transports[transportID]
	if t == nil {
		return none, notFound("Transport", transportID)
	}
	if err := m.unused(o.ID); err != nil {
		return none, err
	}
	p := m.dataProducers[o.DataProducerID]
	if p == nil || p.t.r != t.r {
		return none, notFound("DataProducer", o.DataProducerID)
	}
	stream, err := t.dataStream(o.Type, o.SCTPStreamParameters)
	if err != nil {
		return none, err
	}
	if stream != nil && t.outStreams[stream.StreamID] != nil {
		return none, invalidState("streamId %d is in use", stream.StreamID)
	}
	if stream != nil {
		if err := t.sctp.openOutbound(stream); err != nil {
			return none, err
		}
	}
	c := &dataConsumer{
		m: m, t: t, producer: p, id: o.ID, typ: o.Type, stream: stream,
		label: o.Label, protocol: o.Protocol, paused: o.Paused, producerPaused: p.paused,
		subchannels: subchannel.NewSet(o.Subchannels),
	}
	m.dataConsumers[c.id] = c
	t.dataConsumers = append(t.dataConsumers, c)
	p.consumers = append(p.consumers, c)
	if stream != nil {
		t.outStreams[stream.StreamID] = c
		c.lowThreshold = t.sctp.options.BufferedAmountLowThreshold
		t.startSCTP()
	}
	return c.dump(), nil
}

func (m *Machine) dataConsumer(id string) (*dataConsumer, error) {
	if c := m.dataConsumers[id]; c != nil {
		return c, nil
	}
	return nil, notFound("DataConsumer", id)
}

// sctpConsumer is dataConsumer for what only an SCTP stream has.
func (m *Machine) sctpConsumer(id string) (*dataConsumer, error) {
	c, err := m.dataConsumer(id)
	if err == nil && c.typ != SCTPData {
		err = invalid("invalid DataConsumer type")
	}
	return c, err
}

// CloseDataConsumer closes a DataConsumer, and its stream.
func (m *Machine) CloseDataConsumer(id string) error {
	c, err := m.dataConsumer(id)
	if err != nil {
		return err
	}
	c.close()
	return nil
}

func (c *dataConsumer) close() {
	c.closed = true
	if c.stream != nil {
		delete(c.t.outStreams, c.stream.StreamID)
		c.t.sctp.sctp.CloseOutbound(c.stream.StreamID)
	}
	delete(c.m.dataConsumers, c.id)
	if c.t.r.closing {
		return
	}
	same := func(x *dataConsumer) bool { return x == c }
	c.producer.consumers = slices.DeleteFunc(c.producer.consumers, same)
	c.t.dataConsumers = slices.DeleteFunc(c.t.dataConsumers, same)
}

// PauseDataConsumer drops the messages that arrive.
func (m *Machine) PauseDataConsumer(id string) error { return m.pauseDataConsumer(id, true) }

// ResumeDataConsumer goes on sending.
func (m *Machine) ResumeDataConsumer(id string) error { return m.pauseDataConsumer(id, false) }

func (m *Machine) pauseDataConsumer(id string, paused bool) error {
	c, err := m.dataConsumer(id)
	if err != nil {
		return err
	}
	c.paused = paused
	return nil
}

// active reports whether messages may be sent; they may wait for SCTP to
// connect (media-plane §8.2).
func (c *dataConsumer) active() bool {
	return !c.paused && !c.producerPaused && !c.reset && (c.stream == nil || !c.t.sctp.ended())
}

// forward sends a message of the DataProducer, if it is for this DataConsumer.
func (c *dataConsumer) forward(msg *DataMessage) {
	if !c.active() {
		return
	}
	labels := subchannel.Labels{Subchannels: msg.Subchannels, Required: msg.Required, Ignored: msg.Ignored}
	if !labels.Reach(c.subchannels, c.t.piped) {
		return
	}
	data := msg.Data
	if c.t.piped && !labels.None() {
		labels = labels.Through(c.subchannels)
		data = labels.Append(nil, data)
	}
	if len(data) > int(c.t.maxSend) {
		c.m.droppedMessage("larger than the transport sends", "dataConsumer", c.id, len(data))
		return
	}
	if c.typ == DirectData {
		c.tell(msg.PPID, data)
		return
	}
	// Whom should the error be told? What it means was counted, and notified.
	patiently := c.t.crossing != nil // see crowd
	_, _ = c.send(msg.PPID, data, patiently)
	if patiently && c.t.sctp.sctp.Crowded() {
		c.m.crowded = append(c.m.crowded, c.t.sctp)
	}
}

// tell hands a message to the application.
func (c *dataConsumer) tell(ppid uint32, data []byte) {
	c.messages++
	c.bytes += uint64(len(data))
	c.t.sentBytes(len(data))
	c.m.told++
	c.m.backlog.add(len(data))
	c.m.notify(c.id, DataConsumerMessage{PPID: ppid, Data: data})
}

// send queues a message for the peer, patiently if its senders wait when there are
// many.
func (c *dataConsumer) send(ppid uint32, data []byte, patiently bool) (buffered uint32, err error) {
	c.messages++
	c.bytes += uint64(len(data))
	if patiently {
		buffered, err = c.t.sctp.sctp.SendPatiently(c.stream.StreamID, ppid, data)
	} else {
		buffered, err = c.t.sctp.sctp.Send(c.stream.StreamID, ppid, data)
	}
	if err != nil {
		c.m.droppedMessage(err, "dataConsumer", c.id, len(data))
	}
	switch {
	case errors.Is(err, sctp.ErrSendBufferFull):
		c.m.notify(c.id, DataConsumerSendBufferFull{})
		return buffered, unavailable("sctpsendbufferfull")
	case err != nil:
		return buffered, invalidState("message send failed: %v", err)
	}
	return buffered, nil
}

// BufferedAmount returns how many bytes wait to be sent on the stream of a
// DataConsumer. Errors: ErrNotFound, and ErrInvalidArgument without a stream.
func (m *Machine) BufferedAmount(id string) (uint32, error) {
	c, err := m.sctpConsumer(id)
	if err != nil {
		return 0, err
	}
	return c.bufferedAmount(), nil
}

func (c *dataConsumer) bufferedAmount() uint32 {
	if c.stream == nil {
		return 0
	}
	return c.t.sctp.sctp.BufferedAmount(c.stream.StreamID)
}

// SetBufferedAmountLowThreshold says when a [DataConsumerBufferedAmountLow] is
// due, in bytes. Errors: as BufferedAmount.
func (m *Machine) SetBufferedAmountLowThreshold(id string, n uint32) error {
	c, err := m.sctpConsumer(id)
	if err != nil {
		return err
	}
	c.lowThreshold = n
	c.t.sctp.sctp.SetLowThreshold(c.stream.StreamID, n)
	return nil
}

// SendData sends a message that comes from no DataProducer, and returns how
// many bytes wait then. Errors: ErrNotFound; ErrInvalidArgument without a
// stream or for a message that is too large; ErrUnavailable when the send
// buffer is full; ErrInvalidState when nothing can be sent.
func (m *Machine) SendData(id string, ppid uint32, data []byte) (buffered uint32, err error) {
	c, err := m.sctpConsumer(id)
	switch {
	case err != nil:
		return 0, err
	case len(data) > int(c.t.maxSend):
		return 0, invalid("message of %d bytes exceeds maxSendMessageSize of %d", len(data), c.t.maxSend)
	case !c.active():
		return 0, invalidState("message send failed")
	}
	return c.send(ppid, data, false)
}

// SetSubchannels replaces the subchannels of a DataConsumer and returns them.
func (m *Machine) SetSubchannels(id string, list []uint16) ([]uint16, error) {
	return m.changeSubchannels(id, func(subchannel.Set) subchannel.Set { return subchannel.NewSet(list) })
}

// AddSubchannel subscribes a DataConsumer and returns its subchannels.
func (m *Machine) AddSubchannel(id string, n uint16) ([]uint16, error) {
	return m.changeSubchannels(id, func(s subchannel.Set) subchannel.Set { return s.With(n) })
}

// RemoveSubchannel unsubscribes a DataConsumer and returns its subchannels.
func (m *Machine) RemoveSubchannel(id string, n uint16) ([]uint16, error) {
	return m.changeSubchannels(id, func(s subchannel.Set) subchannel.Set { return s.Without(n) })
}

func (m *Machine) changeSubchannels(id string, f func(subchannel.Set) subchannel.Set) ([]uint16, error) {
	c, err := m.dataConsumer(id)
	if err != nil {
		return nil, err
	}
	c.subchannels = f(c.subchannels)
	return slices.Clone(c.subchannels), nil
}

// DataConsumerDump describes a DataConsumer.
type DataConsumerDump struct {
	ID, DataProducerID   string
	Type                 DataType
	SCTPStreamParameters *SCTPStreamParameters // of SCTPData
	Label, Protocol      string
	// Bytes; 0 unless Type is SCTPData.
	BufferedAmount, BufferedAmountLowThreshold uint32
	Paused, DataProducerPaused                 bool
	Subchannels                                []uint16 // ascending
}

// DumpDataConsumer describes the DataConsumer with that id.
func (m *Machine) DumpDataConsumer(id string) (DataConsumerDump, error) {
	c, err := m.dataConsumer(id)
	if err != nil {
		return DataConsumerDump{}, err
	}
	return c.dump(), nil
}

func (c *dataConsumer) dump() DataConsumerDump {
	return DataConsumerDump{
		ID: c.id, DataProducerID: c.producer.id, Type: c.typ, SCTPStreamParameters: c.stream.clone(),
		Label: c.label, Protocol: c.protocol, BufferedAmount: c.bufferedAmount(),
		BufferedAmountLowThreshold: c.lowThreshold,
		Paused:                     c.paused, DataProducerPaused: c.producerPaused, Subchannels: slices.Clone(c.subchannels),
	}
}

// DataConsumerStats are the counters of a DataConsumer.
type DataConsumerStats struct {
	Timestamp               time.Duration
	Label, Protocol         string
	MessagesSent, BytesSent uint64
	BufferedAmount          uint32 // bytes
}

// DataConsumerStats returns the counters of the DataConsumer with that id.
func (m *Machine) DataConsumerStats(id string) (DataConsumerStats, error) {
	c, err := m.dataConsumer(id)
	if err != nil {
		return DataConsumerStats{}, err
	}
	return DataConsumerStats{
		Timestamp: m.now, Label: c.label, Protocol: c.protocol,
		MessagesSent: c.messages, BytesSent: c.bytes, BufferedAmount: c.bufferedAmount(),
	}, nil
}
