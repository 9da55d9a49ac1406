package main

import (
	"context"
	"fmt"
	"time"

	"github.com/mafalda-sfu/mafalda"
)

// The options of mediasoup that are not the fields of ours: objects, and times
// in other units.
type (
	webRTCTransportOptions struct {
		WebRTCServer      string
		ICEConsentTimeout *int // s
		mafalda.WebRTCTransportOptions
	}
	producerOptions struct {
		KeyFrameRequestDelay int // ms
		mafalda.ProducerOptions
	}
	pipeToRouterOptions struct {
		Router string
		mafalda.PipeToRouterOptions
	}
	audioLevelObserverOptions struct {
		Interval int // ms
		mafalda.AudioLevelObserverOptions
	}
	activeSpeakerObserverOptions struct {
		Interval int // ms
		mafalda.ActiveSpeakerObserverOptions
	}
)

func milliseconds(n int) time.Duration { return time.Duration(n) * time.Millisecond }

// object returns the T that an argument «$name» names, or nil.
func object[T any](p *player, argument string) T {
	var o T
	if argument != "" {
		o, _ = p.objects[argument[1:]].(T)
	}
	return o
}

func (p *player) callRouter(o mafalda.Router, method string, a arguments) (any, error) {
	ctx := p.ctx
	switch method {
	case "createWebRtcTransport":
		return options(a, func(x webRTCTransportOptions) (any, error) {
			y := x.WebRTCTransportOptions
			y.WebRTCServer = object[mafalda.WebRTCServer](p, x.WebRTCServer)
			if x.ICEConsentTimeout != nil {
				y.ICEConsentTimeout = new(time.Duration(*x.ICEConsentTimeout) * time.Second)
			}
			return o.CreateWebRTCTransport(ctx, y)
		})
	case "createPlainTransport":
		return options(a, func(x mafalda.PlainTransportOptions) (any, error) { return o.CreatePlainTransport(ctx, x) })
	case "createPipeTransport":
		return options(a, func(x mafalda.PipeTransportOptions) (any, error) { return o.CreatePipeTransport(ctx, x) })
	case "createDirectTransport":
		return options(a, func(x mafalda.DirectTransportOptions) (any, error) { return o.CreateDirectTransport(ctx, x) })
	case "createAudioLevelObserver":
		return options(a, func(x audioLevelObserverOptions) (any, error) {
			y := x.AudioLevelObserverOptions
			y.Interval = milliseconds(x.Interval)
			return o.CreateAudioLevelObserver(ctx, y)
		})
	case "createActiveSpeakerObserver":
		return options(a, func(x activeSpeakerObserverOptions) (any, error) {
			y := x.ActiveSpeakerObserverOptions
			y.Interval = milliseconds(x.Interval)
			return o.CreateActiveSpeakerObserver(ctx, y)
		})
	case "pipeToRouter":
		return options(a, func(x pipeToRouterOptions) (any, error) {
			y := x.PipeToRouterOptions
			y.Router = object[mafalda.Router](p, x.Router)
			r, err := o.PipeToRouter(ctx, y)
			if err != nil {
				return nil, err
			}
			if r.PipeDataConsumer != nil {
				return map[string]any{"pipeDataConsumer": r.PipeDataConsumer, "pipeDataProducer": r.PipeDataProducer}, nil
			}
			return map[string]any{"pipeConsumer": r.PipeConsumer, "pipeProducer": r.PipeProducer}, nil
		})
	case "canConsume":
		return options(a, func(x struct {
			ProducerID      string
			RTPCapabilities mafalda.RTPCapabilities
		}) (bool, error) {
			return o.CanConsume(x.ProducerID, x.RTPCapabilities), nil
		})
	case "updateMediaCodecs":
		return action(a, func(c []mafalda.RouterRTPCodecCapability) error { return o.UpdateMediaCodecs(ctx, c) })
	}
	return nil, fmt.Errorf("%w: no method %s of a Router", errScript, method)
}

func (p *player) callTransport(o mafalda.Transport, method string, a arguments) (any, error) {
	ctx := p.ctx
	switch method {
	case "connect":
		return nil, connect(ctx, o, a)
	case "produce":
		return options(a, func(x producerOptions) (any, error) {
			y := x.ProducerOptions
			y.KeyFrameRequestDelay = milliseconds(x.KeyFrameRequestDelay)
			return o.Produce(ctx, y)
		})
	case "consume":
		return options(a, func(x mafalda.ConsumerOptions) (any, error) { return o.Consume(ctx, x) })
	case "produceData":
		return options(a, func(x mafalda.DataProducerOptions) (any, error) { return o.ProduceData(ctx, x) })
	case "consumeData":
		return options(a, func(x mafalda.DataConsumerOptions) (any, error) { return o.ConsumeData(ctx, x) })
	case "setMaxIncomingBitrate":
		return action(a, func(n int) error { return o.SetMaxIncomingBitrate(ctx, n) })
	case "setMaxOutgoingBitrate":
		return action(a, func(n int) error { return o.SetMaxOutgoingBitrate(ctx, n) })
	case "setMinOutgoingBitrate":
		return action(a, func(n int) error { return o.SetMinOutgoingBitrate(ctx, n) })
	case "enableTraceEvent":
		return action(a, func(t []mafalda.TraceEventType) error { return o.EnableTraceEvent(ctx, t...) })
	}
	switch o := o.(type) {
	case mafalda.WebRTCTransport:
		if method == "restartIce" {
			return o.RestartICE(ctx)
		}
	case mafalda.DirectTransport:
		if method == "sendRtcp" {
			b, err := a.buffer(0)
			if err != nil {
				return nil, err
			}
			return nil, o.SendRTCP(b)
		}
	}
	return nil, fmt.Errorf("%w: no method %s of %T", errScript, method, o)
}

func connect(ctx context.Context, o mafalda.Transport, a arguments) error {
	var err error
	switch o := o.(type) {
	case mafalda.WebRTCTransport:
		_, err = action(a, func(x mafalda.WebRTCTransportConnectOptions) error { return o.Connect(ctx, x) })
	case mafalda.PlainTransport:
		_, err = action(a, func(x mafalda.PlainTransportConnectOptions) error { return o.Connect(ctx, x) })
	case mafalda.PipeTransport:
		_, err = action(a, func(x mafalda.PipeTransportConnectOptions) error { return o.Connect(ctx, x) })
	default:
		err = fmt.Errorf("%w: no method connect of %T", errScript, o)
	}
	return err
}

func pauseOrResume(ctx context.Context, o any, method string) error {
	x, ok := o.(interface {
		Pause(context.Context) error
		Resume(context.Context) error
	})
	switch {
	case !ok:
		return fmt.Errorf("%w: no method %s of %T", errScript, method, o)
	case method == "pause":
		return x.Pause(ctx)
	}
	return x.Resume(ctx)
}

func dump(ctx context.Context, o any) (any, error) {
	switch o := o.(type) {
	case mafalda.Worker:
		return o.Dump(ctx)
	case mafalda.WebRTCServer:
		return o.Dump(ctx)
	case mafalda.Router:
		return o.Dump(ctx)
	case mafalda.Transport:
		return o.Dump(ctx)
	case mafalda.Producer:
		return o.Dump(ctx)
	case mafalda.Consumer:
		return o.Dump(ctx)
	case mafalda.DataProducer:
		return o.Dump(ctx)
	case mafalda.DataConsumer:
		return o.Dump(ctx)
	}
	return nil, fmt.Errorf("%w: no method dump of %T", errScript, o)
}

func stats(ctx context.Context, o any) (any, error) {
	switch o := o.(type) {
	case mafalda.Transport:
		return o.Stats(ctx)
	case mafalda.Producer:
		return o.Stats(ctx)
	case mafalda.Consumer:
		return o.Stats(ctx)
	case mafalda.DataProducer:
		return o.Stats(ctx)
	case mafalda.DataConsumer:
		return o.Stats(ctx)
	}
	return nil, fmt.Errorf("%w: no method getStats of %T", errScript, o)
}
