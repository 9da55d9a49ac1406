package engine

import "cmp"

// defaultMessageSize is how large a message may be unless an option says so,
// in bytes.
const defaultMessageSize = 262144

// limitMessages sets the largest messages in both directions; 0 is the default.
func (t *transport) limitMessages(send, receive uint32) {
	t.maxSend = cmp.Or(send, defaultMessageSize)
	t.maxReceive = cmp.Or(receive, defaultMessageSize)
}

// fillData describes what t has of data.
func (t *transport) fillData(d *TransportDump) {
	d.MaxSendMessageSize, d.MaxReceiveMessageSize = t.maxSend, t.maxReceive
	for _, p := range t.dataProducers {
		d.DataProducerIDs = append(d.DataProducerIDs, p.id)
	}
	for _, c := range t.dataConsumers {
		d.DataConsumerIDs = append(d.DataConsumerIDs, c.id)
	}
	if t.sctp != nil {
		d.SCTP = t.sctp.dump()
	}
}
