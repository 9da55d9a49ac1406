package channel

import (
	"slices"

	"github.com/mafalda-sfu/mafalda/internal/channel/fbs"
	"github.com/mafalda-sfu/mafalda/internal/engine"
)

// Methods of DataProducers and DataConsumers.

func init() {
	add(map[fbs.Method]method{
		fbs.MethodDATAPRODUCER_DUMP:      get("dataProducer.dump", (*engine.Machine).DumpDataProducer, dataProducerDump),
		fbs.MethodDATAPRODUCER_GET_STATS: get("dataProducer.getStats", (*engine.Machine).DataProducerStats, dataProducerStats),
		fbs.MethodDATAPRODUCER_PAUSE:     plain("dataProducer.pause", (*engine.Machine).PauseDataProducer),
		fbs.MethodDATAPRODUCER_RESUME:    plain("dataProducer.resume", (*engine.Machine).ResumeDataProducer),

		fbs.MethodDATACONSUMER_DUMP:      get("dataConsumer.dump", (*engine.Machine).DumpDataConsumer, dataConsumerDump),
		fbs.MethodDATACONSUMER_GET_STATS: get("dataConsumer.getStats", (*engine.Machine).DataConsumerStats, dataConsumerStats),
		fbs.MethodDATACONSUMER_PAUSE:     plain("dataConsumer.pause", (*engine.Machine).PauseDataConsumer),
		fbs.MethodDATACONSUMER_RESUME:    plain("dataConsumer.resume", (*engine.Machine).ResumeDataConsumer),
		fbs.MethodDATACONSUMER_GET_BUFFERED_AMOUNT: get("dataConsumer.getBufferedAmount", (*engine.Machine).BufferedAmount,
			func(n *uint32) *fbs.ResponseBodyT {
				return respond(fbs.ResponseBodyDataConsumerGetBufferedAmountResponse,
					&fbs.DataConsumerGetBufferedAmountResponseT{BufferedAmount: *n})
			}),
		fbs.MethodDATACONSUMER_SET_BUFFERED_AMOUNT_LOW_THRESHOLD: set("dataConsumer.setBufferedAmountLowThreshold",
			func(m *engine.Machine, id string, b *fbs.DataConsumerSetBufferedAmountLowThresholdRequestT) error {
				return m.SetBufferedAmountLowThreshold(id, b.Threshold)
			}),
		fbs.MethodDATACONSUMER_SEND: do("dataConsumer.send", sendData, func(n *uint32) *fbs.ResponseBodyT {
			return respond(fbs.ResponseBodyDataConsumerSendResponse, &fbs.DataConsumerSendResponseT{BufferedAmount: *n})
		}),
		fbs.MethodDATACONSUMER_SET_SUBCHANNELS: do("dataConsumer.setSubchannels",
			func(id string, b *fbs.DataConsumerSetSubchannelsRequestT) (func(*engine.Machine) ([]uint16, error), error) {
				return func(m *engine.Machine) ([]uint16, error) { return m.SetSubchannels(id, b.Subchannels) }, nil
			},
			func(l *[]uint16) *fbs.ResponseBodyT {
				return respond(fbs.ResponseBodyDataConsumerSetSubchannelsResponse,
					&fbs.DataConsumerSetSubchannelsResponseT{Subchannels: subchannels(*l)})
			}),
		fbs.MethodDATACONSUMER_ADD_SUBCHANNEL: do("dataConsumer.addSubchannel",
			func(id string, b *fbs.DataConsumerAddSubchannelRequestT) (func(*engine.Machine) ([]uint16, error), error) {
				return func(m *engine.Machine) ([]uint16, error) { return m.AddSubchannel(id, b.Subchannel) }, nil
			},
			func(l *[]uint16) *fbs.ResponseBodyT {
				return respond(fbs.ResponseBodyDataConsumerAddSubchannelResponse,
					&fbs.DataConsumerAddSubchannelResponseT{Subchannels: subchannels(*l)})
			}),
		fbs.MethodDATACONSUMER_REMOVE_SUBCHANNEL: do("dataConsumer.removeSubchannel",
			func(id string, b *fbs.DataConsumerRemoveSubchannelRequestT) (func(*engine.Machine) ([]uint16, error), error) {
				return func(m *engine.Machine) ([]uint16, error) { return m.RemoveSubchannel(id, b.Subchannel) }, nil
			},
			func(l *[]uint16) *fbs.ResponseBodyT {
				return respond(fbs.ResponseBodyDataConsumerRemoveSubchannelResponse,
					&fbs.DataConsumerRemoveSubchannelResponseT{Subchannels: subchannels(*l)})
			}),
	})
}

func sctpOptions(o *fbs.TransportOptionsT) *engine.SCTPOptions {
	if !o.EnableSctp {
		return nil
	}
	return &engine.SCTPOptions{
		MaxSendMessageSize:          o.MaxSendMessageSize,
		MaxReceiveMessageSize:       o.MaxReceiveMessageSize,
		SendBufferSize:              o.SctpSendBufferSize,
		PerStreamSendQueueLimit:     o.SctpPerStreamSendQueueLimit,
		MaxReceiverWindowBufferSize: o.SctpMaxReceiverWindowBufferSize,
		BufferedAmountLowThreshold:  o.SctpDefaultStreamBufferedAmountLowThreshold,
		DataChannel:                 o.IsDataChannel,
	}
}

var sctpStates = []string{
	fbs.SctpStateNEW: "new", fbs.SctpStateCONNECTING: "connecting", fbs.SctpStateCONNECTED: "connected",
	fbs.SctpStateFAILED: "failed", fbs.SctpStateCLOSED: "closed",
}

func sctpState(s string) fbs.SctpState { return number[fbs.SctpState](sctpStates, s) }

// sctpDump is the part of a transport's dump that only one with SCTP has.
func sctpDump(out *fbs.TransportDumpT, d *engine.SCTPDump) {
	o := &d.Options
	out.SctpParameters = &fbs.SctpParametersT{
		Port:                        d.Port,
		MaxSendMessageSize:          o.MaxSendMessageSize,
		MaxReceiveMessageSize:       o.MaxReceiveMessageSize,
		SendBufferSize:              o.SendBufferSize,
		PerStreamSendQueueLimit:     o.PerStreamSendQueueLimit,
		MaxReceiverWindowBufferSize: o.MaxReceiverWindowBufferSize,
		IsDataChannel:               o.DataChannel,
	}
	out.SctpState = new(sctpState(d.State))
	out.SctpNegotiatedCapabilities = negotiated(d.MaxOutbound, d.MaxInbound)
	out.SctpListener = &fbs.SctpListenerT{
		StreamIdTable: each(d.Streams, func(s *engine.StreamOwner) *fbs.Uint16StringT {
			return &fbs.Uint16StringT{Key: s.StreamID, Value: s.ID}
		}),
	}
}

func negotiated(outbound, inbound uint16) *fbs.SctpNegotiatedCapabilitiesT {
	return &fbs.SctpNegotiatedCapabilitiesT{
		NegotiatedMaxOutboundStreams: outbound, NegotiatedMaxInboundStreams: inbound,
	}
}

func subchannels(list []uint16) []uint16 { return append([]uint16{}, list...) }

func streamParameters(p *fbs.SctpStreamParametersT) *engine.SCTPStreamParameters {
	if p == nil {
		return nil
	}
	out := &engine.SCTPStreamParameters{StreamID: p.StreamId, Ordered: p.Ordered, MaxRetransmits: p.MaxRetransmits}
	if p.MaxPacketLifeTime != nil {
		out.MaxPacketLifeTime = *p.MaxPacketLifeTime
	}
	return out
}

func streamParametersOf(p *engine.SCTPStreamParameters) *fbs.SctpStreamParametersT {
	if p == nil {
		return nil
	}
	out := &fbs.SctpStreamParametersT{
		StreamId: p.StreamID, Ordered: p.Ordered,
		MaxPacketLifeTime: some(p.MaxPacketLifeTime), MaxRetransmits: some(uint16(0)),
	}
	if p.MaxRetransmits != nil {
		out.MaxRetransmits = some(*p.MaxRetransmits)
	}
	return out
}

func produceData(id string, b *fbs.TransportProduceDataRequestT) (func(*engine.Machine) (engine.DataProducerDump, error), error) {
	e := engine.ProduceDataOptions{
		ID: b.DataProducerId, Type: engine.DataType(b.Type), // numbered alike
		SCTPStreamParameters: streamParameters(b.SctpStreamParameters),
		Label:                b.Label, Protocol: b.Protocol, Paused: b.Paused,
	}
	return func(m *engine.Machine) (engine.DataProducerDump, error) { return m.ProduceData(id, e) }, nil
}

func consumeData(id string, b *fbs.TransportConsumeDataRequestT) (func(*engine.Machine) (engine.DataConsumerDump, error), error) {
	e := engine.ConsumeDataOptions{
		ID: b.DataConsumerId, DataProducerID: b.DataProducerId, Type: engine.DataType(b.Type), // numbered alike
		SCTPStreamParameters: streamParameters(b.SctpStreamParameters),
		Label:                b.Label, Protocol: b.Protocol, Paused: b.Paused, Subchannels: b.Subchannels,
	}
	return func(m *engine.Machine) (engine.DataConsumerDump, error) { return m.ConsumeData(id, e) }, nil
}

func sendData(id string, b *fbs.DataConsumerSendRequestT) (func(*engine.Machine) (uint32, error), error) {
	data := slices.Clone(b.Data) // a view of the frame
	return func(m *engine.Machine) (uint32, error) { return m.SendData(id, b.Ppid, data) }, nil
}

func dataProducerDump(d *engine.DataProducerDump) *fbs.ResponseBodyT {
	return respond(fbs.ResponseBodyDataProducerDumpResponse, &fbs.DataProducerDumpResponseT{
		Id: d.ID, Type: fbs.DataProducerType(d.Type), SctpStreamParameters: streamParametersOf(d.SCTPStreamParameters),
		Label: d.Label, Protocol: d.Protocol, Paused: d.Paused,
	})
}

func dataProducerStats(s *engine.DataProducerStats) *fbs.ResponseBodyT {
	return respond(fbs.ResponseBodyDataProducerGetStatsResponse, &fbs.DataProducerGetStatsResponseT{
		Timestamp: milliseconds(s.Timestamp), Label: s.Label, Protocol: s.Protocol,
		MessagesReceived: s.MessagesReceived, BytesReceived: s.BytesReceived,
	})
}

func dataConsumerDump(d *engine.DataConsumerDump) *fbs.ResponseBodyT {
	return respond(fbs.ResponseBodyDataConsumerDumpResponse, &fbs.DataConsumerDumpResponseT{
		Id: d.ID, DataProducerId: d.DataProducerID, Type: fbs.DataConsumerType(d.Type),
		SctpStreamParameters: streamParametersOf(d.SCTPStreamParameters),
		Label:                d.Label, Protocol: d.Protocol,
		BufferedAmount: d.BufferedAmount, BufferedAmountLowThreshold: d.BufferedAmountLowThreshold,
		Paused: d.Paused, DataProducerPaused: d.DataProducerPaused, Subchannels: subchannels(d.Subchannels),
	})
}

func dataConsumerStats(s *engine.DataConsumerStats) *fbs.ResponseBodyT {
	return respond(fbs.ResponseBodyDataConsumerGetStatsResponse, &fbs.DataConsumerGetStatsResponseT{
		Timestamp: milliseconds(s.Timestamp), Label: s.Label, Protocol: s.Protocol,
		MessagesSent: s.MessagesSent, BytesSent: s.BytesSent, BufferedAmount: s.BufferedAmount,
	})
}
