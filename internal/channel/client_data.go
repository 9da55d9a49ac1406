package channel

import (
	"errors"
	"fmt"
	"slices"

	"github.com/mafalda-sfu/mafalda/internal/channel/fbs"
	"github.com/mafalda-sfu/mafalda/internal/engine"
)

func (k *Call) ProduceData(transportID string, o engine.ProduceDataOptions) (engine.DataProducerDump, error) {
	d, err := ask[*fbs.DataProducerDumpResponseT](k, request{
		method: fbs.MethodTRANSPORT_PRODUCE_DATA, id: transportID, kind: fbs.RequestBodyTransportProduceDataRequest,
		body: &fbs.TransportProduceDataRequestT{
			DataProducerId: o.ID, Type: fbs.DataProducerType(o.Type), // numbered alike
			SctpStreamParameters: streamParametersOf(o.SCTPStreamParameters),
			Label:                o.Label, Protocol: o.Protocol, Paused: o.Paused,
		},
		want: fbs.ResponseBodyDataProducerDumpResponse,
		undo: func(k *Call) error { return k.closeDataProducer(transportID, o.ID) },
	})
	if err != nil {
		return engine.DataProducerDump{}, err
	}
	k.c.grow(o.ID, transportID, "")
	return dataProducerFrom(d), nil
}

func dataProducerFrom(d *fbs.DataProducerDumpResponseT) engine.DataProducerDump {
	return engine.DataProducerDump{
		ID: d.Id, Type: engine.DataType(d.Type), SCTPStreamParameters: streamParameters(d.SctpStreamParameters),
		Label: d.Label, Protocol: d.Protocol, Paused: d.Paused,
	}
}

func (k *Call) CloseDataProducer(id string) error {
	return k.closeChild(id, func(transport string) error { return k.closeDataProducer(transport, id) })
}

func (k *Call) closeDataProducer(transport, id string) error {
	return k.set(fbs.MethodTRANSPORT_CLOSE_DATAPRODUCER, transport, fbs.RequestBodyTransportCloseDataProducerRequest,
		&fbs.TransportCloseDataProducerRequestT{DataProducerId: id})
}

func (k *Call) PauseDataProducer(id string) error  { return k.plain(fbs.MethodDATAPRODUCER_PAUSE, id) }
func (k *Call) ResumeDataProducer(id string) error { return k.plain(fbs.MethodDATAPRODUCER_RESUME, id) }

func (k *Call) DumpDataProducer(id string) (engine.DataProducerDump, error) {
	d, err := ask[*fbs.DataProducerDumpResponseT](k, request{
		method: fbs.MethodDATAPRODUCER_DUMP, id: id, want: fbs.ResponseBodyDataProducerDumpResponse, quiet: true,
	})
	if err != nil {
		return engine.DataProducerDump{}, err
	}
	return dataProducerFrom(d), nil
}

func (k *Call) DataProducerStats(id string) (engine.DataProducerStats, error) {
	s, err := ask[*fbs.DataProducerGetStatsResponseT](k, request{
		method: fbs.MethodDATAPRODUCER_GET_STATS, id: id, want: fbs.ResponseBodyDataProducerGetStatsResponse, quiet: true,
	})
	if err != nil {
		return engine.DataProducerStats{}, err
	}
	return engine.DataProducerStats{
		Timestamp: duration(s.Timestamp), Label: s.Label, Protocol: s.Protocol,
		MessagesReceived: s.MessagesReceived, BytesReceived: s.BytesReceived,
	}, nil
}

func (k *Call) ConsumeData(transportID string, o engine.ConsumeDataOptions) (engine.DataConsumerDump, error) {
	d, err := ask[*fbs.DataConsumerDumpResponseT](k, request{
		method: fbs.MethodTRANSPORT_CONSUME_DATA, id: transportID, kind: fbs.RequestBodyTransportConsumeDataRequest,
		body: &fbs.TransportConsumeDataRequestT{
			DataConsumerId: o.ID, DataProducerId: o.DataProducerID, Type: fbs.DataConsumerType(o.Type), // numbered alike
			SctpStreamParameters: streamParametersOf(o.SCTPStreamParameters),
			Label:                o.Label, Protocol: o.Protocol, Paused: o.Paused, Subchannels: o.Subchannels,
		},
		want: fbs.ResponseBodyDataConsumerDumpResponse,
		undo: func(k *Call) error { return k.closeDataConsumer(transportID, o.ID) },
	})
	if err != nil {
		return engine.DataConsumerDump{}, err
	}
	k.c.grow(o.ID, transportID, "")
	return dataConsumerFrom(d), nil
}

func dataConsumerFrom(d *fbs.DataConsumerDumpResponseT) engine.DataConsumerDump {
	return engine.DataConsumerDump{
		ID: d.Id, DataProducerID: d.DataProducerId, Type: engine.DataType(d.Type),
		SCTPStreamParameters: streamParameters(d.SctpStreamParameters), Label: d.Label, Protocol: d.Protocol,
		BufferedAmount: d.BufferedAmount, BufferedAmountLowThreshold: d.BufferedAmountLowThreshold,
		Paused: d.Paused, DataProducerPaused: d.DataProducerPaused, Subchannels: d.Subchannels,
	}
}

func (k *Call) CloseDataConsumer(id string) error {
	return k.closeChild(id, func(transport string) error { return k.closeDataConsumer(transport, id) })
}

func (k *Call) closeDataConsumer(transport, id string) error {
	return k.set(fbs.MethodTRANSPORT_CLOSE_DATACONSUMER, transport, fbs.RequestBodyTransportCloseDataConsumerRequest,
		&fbs.TransportCloseDataConsumerRequestT{DataConsumerId: id})
}

func (k *Call) PauseDataConsumer(id string) error  { return k.plain(fbs.MethodDATACONSUMER_PAUSE, id) }
func (k *Call) ResumeDataConsumer(id string) error { return k.plain(fbs.MethodDATACONSUMER_RESUME, id) }

func (k *Call) DumpDataConsumer(id string) (engine.DataConsumerDump, error) {
	d, err := ask[*fbs.DataConsumerDumpResponseT](k, request{
		method: fbs.MethodDATACONSUMER_DUMP, id: id, want: fbs.ResponseBodyDataConsumerDumpResponse, quiet: true,
	})
	if err != nil {
		return engine.DataConsumerDump{}, err
	}
	return dataConsumerFrom(d), nil
}

func (k *Call) DataConsumerStats(id string) (engine.DataConsumerStats, error) {
	s, err := ask[*fbs.DataConsumerGetStatsResponseT](k, request{
		method: fbs.MethodDATACONSUMER_GET_STATS, id: id, want: fbs.ResponseBodyDataConsumerGetStatsResponse, quiet: true,
	})
	if err != nil {
		return engine.DataConsumerStats{}, err
	}
	return engine.DataConsumerStats{
		Timestamp: duration(s.Timestamp), Label: s.Label, Protocol: s.Protocol,
		MessagesSent: s.MessagesSent, BytesSent: s.BytesSent, BufferedAmount: s.BufferedAmount,
	}, nil
}

func (k *Call) BufferedAmount(id string) (uint32, error) {
	r, err := ask[*fbs.DataConsumerGetBufferedAmountResponseT](k, request{
		method: fbs.MethodDATACONSUMER_GET_BUFFERED_AMOUNT, id: id,
		want: fbs.ResponseBodyDataConsumerGetBufferedAmountResponse, quiet: true,
	})
	if err != nil {
		return 0, err
	}
	return r.BufferedAmount, nil
}

func (k *Call) SetBufferedAmountLowThreshold(id string, n uint32) error {
	return k.set(fbs.MethodDATACONSUMER_SET_BUFFERED_AMOUNT_LOW_THRESHOLD, id,
		fbs.RequestBodyDataConsumerSetBufferedAmountLowThresholdRequest,
		&fbs.DataConsumerSetBufferedAmountLowThresholdRequestT{Threshold: n})
}

func (k *Call) SendData(id string, ppid uint32, data []byte) (buffered uint32, err error) {
	r, err := ask[*fbs.DataConsumerSendResponseT](k, request{
		method: fbs.MethodDATACONSUMER_SEND, id: id, kind: fbs.RequestBodyDataConsumerSendRequest,
		body: &fbs.DataConsumerSendRequestT{Ppid: ppid, Data: append([]byte{}, data...)},
		want: fbs.ResponseBodyDataConsumerSendResponse,
	})
	if errors.Is(err, engine.ErrInvalidState) && k.caused(id, engine.DataConsumerSendBufferFull{}) {
		return 0, &remoteError{text: err.Error(), class: engine.ErrUnavailable}
	}
	if err != nil {
		return 0, err
	}
	return r.BufferedAmount, nil
}

// caused reports whether the operation had body happen to the object with that id.
func (k *Call) caused(id string, body any) bool {
	return slices.ContainsFunc(k.notes, func(n engine.Notification) bool { return n.Target == id && n.Body == body })
}

func (k *Call) SetSubchannels(id string, list []uint16) ([]uint16, error) {
	r, err := ask[*fbs.DataConsumerSetSubchannelsResponseT](k, request{
		method: fbs.MethodDATACONSUMER_SET_SUBCHANNELS, id: id, kind: fbs.RequestBodyDataConsumerSetSubchannelsRequest,
		body: &fbs.DataConsumerSetSubchannelsRequestT{Subchannels: subchannels(list)},
		want: fbs.ResponseBodyDataConsumerSetSubchannelsResponse,
	})
	if err != nil {
		return nil, err
	}
	return r.Subchannels, nil
}

func (k *Call) AddSubchannel(id string, n uint16) ([]uint16, error) {
	r, err := ask[*fbs.DataConsumerAddSubchannelResponseT](k, request{
		method: fbs.MethodDATACONSUMER_ADD_SUBCHANNEL, id: id, kind: fbs.RequestBodyDataConsumerAddSubchannelRequest,
		body: &fbs.DataConsumerAddSubchannelRequestT{Subchannel: n}, want: fbs.ResponseBodyDataConsumerAddSubchannelResponse,
	})
	if err != nil {
		return nil, err
	}
	return r.Subchannels, nil
}

func (k *Call) RemoveSubchannel(id string, n uint16) ([]uint16, error) {
	r, err := ask[*fbs.DataConsumerRemoveSubchannelResponseT](k, request{
		method: fbs.MethodDATACONSUMER_REMOVE_SUBCHANNEL, id: id, kind: fbs.RequestBodyDataConsumerRemoveSubchannelRequest,
		body: &fbs.DataConsumerRemoveSubchannelRequestT{Subchannel: n}, want: fbs.ResponseBodyDataConsumerRemoveSubchannelResponse,
	})
	if err != nil {
		return nil, err
	}
	return r.Subchannels, nil
}

// Inject hands an RTP packet of the application to a Producer of a direct
// transport. Errors: [engine.ErrClosed].
func (c *Client) Inject(producerID string, packet []byte) error {
	return c.tell(notification(producerID, fbs.EventPRODUCER_SEND, fbs.NotificationBodyProducerSendNotification,
		&fbs.ProducerSendNotificationT{Data: append([]byte{}, packet...)}))
}

// InjectRTCP is Inject for an RTCP packet and a direct transport.
func (c *Client) InjectRTCP(transportID string, packet []byte) error {
	return c.tell(notification(transportID, fbs.EventTRANSPORT_SEND_RTCP, fbs.NotificationBodyTransportSendRtcpNotification,
		&fbs.TransportSendRtcpNotificationT{Data: append([]byte{}, packet...)}))
}

// InjectData hands a message of the application to a DataProducer. Errors:
// [engine.ErrClosed]; [engine.ErrInvalidArgument] when it is too long for a frame;
// [engine.ErrUnavailable] when too many wait for listeners.
func (c *Client) InjectData(producerID string, m engine.DataMessage) error {
	if c.box.Full() {
		select {
		case <-c.ended: // there will never be room
			return engine.ErrClosed
		default:
			return fmt.Errorf("too many messages wait: %w", engine.ErrUnavailable)
		}
	}
	return c.tell(notification(producerID, fbs.EventDATAPRODUCER_SEND, fbs.NotificationBodyDataProducerSendNotification,
		&fbs.DataProducerSendNotificationT{
			Ppid: m.PPID, Data: append([]byte{}, m.Data...), Subchannels: m.Subchannels,
			RequiredSubchannel: m.Required, IgnoredSubchannel: m.Ignored,
		}))
}
