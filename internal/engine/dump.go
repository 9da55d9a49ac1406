package engine

import (
	"time"

	"github.com/mafalda-sfu/mafalda/internal/stream"
)

// ProducerStats are the statistics of a Producer, a record for each stream
// that was received, in order of the encodings.
type ProducerStats struct {
	Timestamp time.Duration
	Streams   []stream.RecvStats
}

// ProducerStats returns the statistics of the Producer with that id.
func (m *Machine) ProducerStats(id string) (ProducerStats, error) {
	p, err := m.producer(id)
	if err != nil {
		return ProducerStats{}, err
	}
	s := ProducerStats{Timestamp: m.now}
	for _, ps := range p.streams {
		s.Streams = append(s.Streams, ps.recv.Stats(m.now))
	}
	return s, nil
}

// ConsumerStats are the statistics of what a Consumer sends, in order of its
// encodings, and, once packets flow, of the Producer's stream behind it.
type ConsumerStats struct {
	Timestamp time.Duration
	Sent      []stream.SendStats
	Received  *stream.RecvStats
}

// ConsumerStats returns the statistics of the Consumer with that id.
func (m *Machine) ConsumerStats(id string) (ConsumerStats, error) {
	c, err := m.consumer(id)
	if err != nil {
		return ConsumerStats{}, err
	}
	s := ConsumerStats{Timestamp: m.now}
	for _, o := range c.outs {
		s.Sent = append(s.Sent, o.send.Stats(m.now))
	}
	if ps := c.source(); ps != nil && c.typ != PipeType {
		s.Received = new(ps.recv.Stats(m.now))
	}
	return s, nil
}

// StreamDump is the state of one stream.
type StreamDump struct {
	Params stream.Params
	Score  uint8
}

// ProducerDump describes a Producer. RTPParameters are those that the engine
// works with: each encoding has its payload type.
type ProducerDump struct {
	ID              string
	Kind            Kind
	Type            ProducerType
	RTPParameters   RTPParameters
	RTPMapping      RTPMapping
	Streams         []StreamDump
	TraceEventTypes []string
	Paused          bool
}

// DumpProducer describes the Producer with that id.
func (m *Machine) DumpProducer(id string) (ProducerDump, error) {
	p, err := m.producer(id)
	if err != nil {
		return ProducerDump{}, err
	}
	d := ProducerDump{
		ID: p.id, Kind: p.kind, Type: p.typ, RTPParameters: p.params, RTPMapping: p.mapping,
		TraceEventTypes: p.trace.names(), Paused: p.paused,
	}
	for _, s := range p.streams {
		d.Streams = append(d.Streams, StreamDump{*s.recv.Params(), s.recv.Score()})
	}
	return d, nil
}

// ConsumerDump describes a Consumer.
type ConsumerDump struct {
	ID, ProducerID        string
	Kind                  Kind
	Type                  ProducerType
	RTPParameters         RTPParameters
	ConsumableEncodings   []Encoding
	SupportedPayloadTypes []uint8
	TraceEventTypes       []string
	Paused                bool
	ProducerPaused        bool
	Priority              uint8
	Streams               []StreamDump // one, but for pipes
	Layers                *LayersDump  // of simulcast and SVC
}

// LayersDump are the layers that a Consumer should send at most, those it is to
// send and those it sends.
type LayersDump struct{ Preferred, Target, Current Layers }

// DumpConsumer describes the Consumer with that id.
func (m *Machine) DumpConsumer(id string) (ConsumerDump, error) {
	c, err := m.consumer(id)
	if err != nil {
		return ConsumerDump{}, err
	}
	d := ConsumerDump{
		ID: c.id, ProducerID: c.producer.id, Kind: c.kind, Type: c.typ, RTPParameters: c.params,
		ConsumableEncodings: c.consumable, TraceEventTypes: c.trace.names(),
		Paused: c.paused, ProducerPaused: c.producerIsPaused, Priority: c.priority,
	}
	if l := c.layers; l != nil {
		d.Layers = &LayersDump{l.chooser.Preferred, l.chooser.Target, l.chooser.Current}
	}
	for _, o := range c.outs {
		d.Streams = append(d.Streams, StreamDump{*o.send.Params(), o.send.Score()})
	}
	for i := range d.RTPParameters.Codecs {
		if k := &d.RTPParameters.Codecs[i]; k.class() == mediaCodec {
			d.SupportedPayloadTypes = append(d.SupportedPayloadTypes, k.PayloadType)
		}
	}
	return d, nil
}
