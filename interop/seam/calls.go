package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"

	"github.com/mafalda-sfu/mafalda"
)

// arguments are those of mediasoup, as JSON.
type arguments []json.RawMessage

// decode reads argument i into v, if it is there. A value that the type does not
// hold is an invalid argument, a property that it lacks a mistake of the script.
func (a arguments) decode(i int, v any) error {
	if i >= len(a) || string(a[i]) == "null" {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(a[i]))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%w: argument %d: %w", errScript, i+1, err)
	}
	return nil
}

// options decodes the first argument and hands it on.
func options[O, R any](a arguments, f func(O) (R, error)) (any, error) {
	var o O
	if err := a.decode(0, &o); err != nil {
		return nil, err
	}
	return f(o)
}

// action is options for what returns an error only.
func action[O any](a arguments, f func(O) error) (any, error) {
	return options(a, func(o O) (any, error) { return nil, f(o) })
}

// buffer returns argument i, a Buffer.
func (a arguments) buffer(i int) ([]byte, error) {
	var v struct {
		Bytes *string `json:"$bytes"`
	}
	if err := a.decode(i, &v); err != nil {
		return nil, err
	}
	if v.Bytes == nil {
		return nil, fmt.Errorf("%w: argument %d is no Buffer", errScript, i+1)
	}
	return hex.DecodeString(*v.Bytes)
}

// call calls mediasoup's method of o.
func (p *player) call(o any, method string, a arguments) (any, error) {
	ctx := p.ctx
	switch method {
	case "close":
		if s, ok := o.(*socket); ok {
			s.close()
			return nil, nil
		}
		return nil, o.(mafalda.Lifetime).Close()
	case "pause", "resume":
		return nil, pauseOrResume(ctx, o, method)
	case "dump":
		return dump(ctx, o)
	case "getStats":
		return stats(ctx, o)
	}
	switch o := o.(type) {
	case mafalda.SFU:
		if method == "createWorker" {
			return options(a, func(s mafalda.WorkerSettings) (any, error) {
				s.WorkerBin = p.bin
				return o.CreateWorker(ctx, s)
			})
		}
	case mafalda.Worker:
		switch method {
		case "createRouter":
			return options(a, func(x mafalda.RouterOptions) (mafalda.Router, error) { return o.CreateRouter(ctx, x) })
		case "createWebRtcServer":
			return options(a, func(x mafalda.WebRTCServerOptions) (mafalda.WebRTCServer, error) { return o.CreateWebRTCServer(ctx, x) })
		case "updateSettings":
			return action(a, func(s mafalda.WorkerUpdateableSettings) error { return o.UpdateSettings(ctx, s) })
		case "getResourceUsage":
			return o.ResourceUsage(ctx)
		}
	case mafalda.Router:
		return p.callRouter(o, method, a)
	case mafalda.Transport:
		return p.callTransport(o, method, a)
	case mafalda.Producer:
		switch method {
		case "enableTraceEvent":
			return action(a, func(t []mafalda.TraceEventType) error { return o.EnableTraceEvent(ctx, t...) })
		case "send":
			b, err := a.buffer(0)
			if err != nil {
				return nil, err
			}
			return nil, o.Send(b)
		}
	case mafalda.Consumer:
		return p.callConsumer(o, method, a)
	case mafalda.DataProducer:
		if method == "send" {
			m, err := a.message()
			if err != nil {
				return nil, err
			}
			return nil, o.Send(m)
		}
	case mafalda.DataConsumer:
		return p.callDataConsumer(o, method, a)
	case mafalda.RTPObserver:
		type options struct{ ProducerID string }
		switch method {
		case "addProducer":
			return action(a, func(x options) error { return o.AddProducer(ctx, x.ProducerID) })
		case "removeProducer":
			return action(a, func(x options) error { return o.RemoveProducer(ctx, x.ProducerID) })
		}
	case *socket:
		if method == "send" {
			return nil, o.send(a)
		}
	}
	return nil, fmt.Errorf("%w: no method %s of %T", errScript, method, o)
}

func (p *player) callConsumer(o mafalda.Consumer, method string, a arguments) (any, error) {
	ctx := p.ctx
	switch method {
	case "setPreferredLayers":
		return action(a, func(l mafalda.ConsumerLayers) error { return o.SetPreferredLayers(ctx, l) })
	case "setPriority":
		return action(a, func(n int) error { return o.SetPriority(ctx, n) })
	case "unsetPriority":
		return nil, o.UnsetPriority(ctx)
	case "requestKeyFrame":
		return nil, o.RequestKeyFrame(ctx)
	case "enableTraceEvent":
		return action(a, func(t []mafalda.TraceEventType) error { return o.EnableTraceEvent(ctx, t...) })
	}
	return nil, fmt.Errorf("%w: no method %s of a Consumer", errScript, method)
}

func (p *player) callDataConsumer(o mafalda.DataConsumer, method string, a arguments) (any, error) {
	ctx := p.ctx
	switch method {
	case "setSubchannels":
		return action(a, func(list []uint16) error { return o.SetSubchannels(ctx, list) })
	case "addSubchannel":
		return action(a, func(n uint16) error { return o.AddSubchannel(ctx, n) })
	case "removeSubchannel":
		return action(a, func(n uint16) error { return o.RemoveSubchannel(ctx, n) })
	case "setBufferedAmountLowThreshold":
		return action(a, func(n int) error { return o.SetBufferedAmountLowThreshold(ctx, n) })
	case "getBufferedAmount":
		return o.BufferedAmount(ctx)
	case "send":
		m, err := a.message()
		if err != nil {
			return nil, err
		}
		_, err = o.Send(ctx, m)
		return nil, err
	}
	return nil, fmt.Errorf("%w: no method %s of a DataConsumer", errScript, method)
}

// message returns the arguments of the methods send for data: a string or a
// Buffer, PPID, subchannels, the required and the ignored one.
func (a arguments) message() (mafalda.DataMessage, error) {
	var m mafalda.DataMessage
	if len(a) == 0 {
		return m, fmt.Errorf("%w: no message", errScript)
	}
	if a[0][0] == '"' {
		var text string
		if err := a.decode(0, &text); err != nil {
			return m, err
		}
		m = mafalda.TextMessage(text)
	} else {
		b, err := a.buffer(0)
		if err != nil {
			return m, err
		}
		m.Data = b
	}
	for i, to := range []any{&m.PPID, &m.Subchannels, &m.RequiredSubchannel, &m.IgnoredSubchannel} {
		if err := a.decode(i+1, to); err != nil {
			return m, err
		}
	}
	return m, nil
}

// send sends packets to a port.
func (s *socket) send(a arguments) error {
	var port int
	if err := a.decode(0, &port); err != nil {
		return err
	}
	to := *s.conn.LocalAddr().(*net.UDPAddr)
	to.Port = port
	for i := 1; i < len(a); i++ {
		b, err := a.buffer(i)
		if err != nil {
			return err
		}
		if _, err := s.conn.WriteToUDP(b, &to); err != nil {
			return err
		}
	}
	return nil
}
