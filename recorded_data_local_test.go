package mafalda

import (
	"bytes"
	"encoding/hex"
	"encoding/json"

	"github.com/stretchr/testify/require"
)

// The data calls of TestRecorded.

// label returns the id of an object of the recording, or text itself.
func (x *replay) label(text string) string {
	if id, ok := x.labels[text]; ok {
		return id
	}
	return text
}

func (x *replay) doData(o Transport, method string, args json.RawMessage) (any, error) {
	ctx := x.t.Context()
	if method == "produceData" {
		var a struct {
			ID                   string
			SCTPStreamParameters *SCTPStreamParameters
			Label, Protocol      string
			Paused               bool
		}
		if err := decode(args, &a); err != nil {
			return nil, err
		}
		return o.ProduceData(ctx, DataProducerOptions{
			ID: x.label(a.ID), SCTPStreamParameters: a.SCTPStreamParameters, Label: a.Label, Protocol: a.Protocol, Paused: a.Paused,
		})
	}
	var a struct {
		DataProducerID                    string
		Ordered                           *bool
		MaxPacketLifeTime, MaxRetransmits *uint16
		Paused                            bool
		Subchannels                       []uint16
	}
	if err := decode(args, &a); err != nil {
		return nil, err
	}
	return o.ConsumeData(ctx, DataConsumerOptions{
		DataProducerID: x.label(a.DataProducerID), Ordered: a.Ordered, MaxPacketLifeTime: a.MaxPacketLifeTime,
		MaxRetransmits: a.MaxRetransmits, Paused: a.Paused, Subchannels: a.Subchannels,
	})
}

// message reads the arguments of send.
func (x *replay) message() DataMessage {
	var m DataMessage
	var buffer struct {
		Buffer int `json:"$buffer"`
		Hex    string
	}
	var text string
	if json.Unmarshal(x.args[0], &text) == nil {
		m = TextMessage(text)
	} else {
		require.NoError(x.t, json.Unmarshal(x.args[0], &buffer))
		b, err := hex.DecodeString(buffer.Hex)
		require.NoError(x.t, err)
		m.Data = append(b, bytes.Repeat([]byte{0}, buffer.Buffer-len(b))...)
	}
	for i, v := range []any{&m.PPID, &m.Subchannels, &m.RequiredSubchannel, &m.IgnoredSubchannel} {
		if len(x.args) > i+1 {
			require.NoError(x.t, json.Unmarshal(x.args[i+1], v))
		}
	}
	return m
}

func (x *replay) doDataProducer(o DataProducer, method string) (any, error) {
	ctx := x.t.Context()
	switch method {
	case "pause":
		return nil, o.Pause(ctx)
	case "resume":
		return nil, o.Resume(ctx)
	case "dump":
		return o.Dump(ctx)
	case "getStats":
		return o.Stats(ctx)
	case "close":
		return nil, o.Close()
	case "send":
		return nil, o.Send(x.message())
	}
	require.FailNow(x.t, "unknown call", "data producer %s", method)
	return nil, nil
}

func (x *replay) doDataConsumer(o DataConsumer, method string) (any, error) {
	ctx := x.t.Context()
	argument := func(v any) {
		require.NotEmpty(x.t, x.args)
		require.NoError(x.t, json.Unmarshal(x.args[0], v))
	}
	switch method {
	case "pause":
		return nil, o.Pause(ctx)
	case "resume":
		return nil, o.Resume(ctx)
	case "dump":
		return o.Dump(ctx)
	case "getStats":
		return o.Stats(ctx)
	case "close":
		return nil, o.Close()
	case "send":
		return o.Send(ctx, x.message())
	case "getBufferedAmount":
		return o.BufferedAmount(ctx)
	case "setBufferedAmountLowThreshold":
		var n int
		argument(&n)
		return nil, o.SetBufferedAmountLowThreshold(ctx, n)
	case "setSubchannels":
		var list []uint16
		argument(&list)
		return nil, o.SetSubchannels(ctx, list)
	case "addSubchannel", "removeSubchannel":
		var n uint16
		argument(&n)
		if method == "addSubchannel" {
			return nil, o.AddSubchannel(ctx, n)
		}
		return nil, o.RemoveSubchannel(ctx, n)
	}
	require.FailNow(x.t, "unknown call", "data consumer %s", method)
	return nil, nil
}

// dataStateOf adds the getters of o that concern data.
func dataStateOf(m map[string]any, o any) {
	switch o := o.(type) {
	case interface {
		SCTPParameters() *SCTPParameters
		SCTPState() SCTPState
		SCTPNegotiatedCapabilities() *SCTPNegotiatedCapabilities
	}:
		m["sctpParameters"], m["sctpNegotiatedCapabilities"] = o.SCTPParameters(), o.SCTPNegotiatedCapabilities()
		if s := o.SCTPState(); s != "" {
			m["sctpState"] = s
		}
	case DataProducer:
		m["type"], m["paused"], m["label"], m["protocol"] = o.Type(), o.Paused(), o.Label(), o.Protocol()
		m["sctpStreamParameters"] = o.SCTPStreamParameters()
	case DataConsumer:
		m["type"], m["paused"], m["label"], m["protocol"] = o.Type(), o.Paused(), o.Label(), o.Protocol()
		m["sctpStreamParameters"], m["dataProducerId"] = o.SCTPStreamParameters(), o.DataProducerID()
		m["dataProducerPaused"], m["subchannels"] = o.DataProducerPaused(), o.Subchannels()
	}
}
