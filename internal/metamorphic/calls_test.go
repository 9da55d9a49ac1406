package metamorphic

import (
	"context"
	"fmt"
	"slices"

	"github.com/mafalda-sfu/mafalda"
)

// The calls of a program. Each writes down, for the object that it is made on,
// how it ended and what its getters say then.

func (w *world) createWorker([]int) {
	x, err := w.sfu.CreateWorker(w.ctx, mafalda.WorkerSettings{})
	w.created("sfu", "worker", x, err)
}

// created writes down the result of a call that creates something.
func (w *world) created(name, call string, o any, err error) {
	if err != nil {
		w.result(name, call, err)
		return
	}
	w.j.write(name, "%s: %s", call, w.j.name(o))
}

func (w *world) createRouter(a []int) {
	p := at(w.workers, a[0])
	if p == nil {
		return
	}
	x, err := p.CreateRouter(w.ctx, mafalda.RouterOptions{MediaCodecs: mediaCodecs(), AppData: "data"})
	w.created(p.name, "router", x, err)
	if err == nil {
		w.j.write(p.name, "appdata %v", x.AppData())
	}
}

func (w *world) createDirect(a []int) {
	r := at(w.routers, a[0])
	if r == nil {
		return
	}
	x, err := r.CreateDirectTransport(w.ctx, mafalda.DirectTransportOptions{})
	w.created(r.name, "direct", x, err)
}

func (w *world) createPlain(a []int) {
	r := at(w.routers, a[0])
	if r == nil {
		return
	}
	x, err := r.CreatePlainTransport(w.ctx, mafalda.PlainTransportOptions{ListenInfo: udp})
	w.created(r.name, "plain", x, err)
	if err != nil {
		return
	}
	n := w.transports[len(w.transports)-1]
	n.end = newEndpoint(w.net, x.Tuple().LocalPort)
	w.result(n.name, "connect", x.Connect(w.ctx, mafalda.PlainTransportConnectOptions{IP: loopback, Port: n.end.Addr().Port()}))
}

func (w *world) produce(a []int) {
	t := at(w.transports, a[0])
	if t == nil || t.pipe {
		return
	}
	w.ssrc++
	o := mafalda.ProducerOptions{Kind: mafalda.MediaKindAudio, RTPParameters: mafalda.RTPParameters{
		Codecs:    []mafalda.RTPCodecParameters{{MIMEType: "audio/opus", PayloadType: 111, ClockRate: 48000, Channels: 2}},
		Encodings: []mafalda.RTPEncodingParameters{{SSRC: w.ssrc}},
	}}
	switch a[1] {
	case 1:
		o.Kind = mafalda.MediaKindVideo
		o.RTPParameters.Codecs = []mafalda.RTPCodecParameters{{MIMEType: "video/VP8", PayloadType: 112, ClockRate: 90000}}
	case 2:
		o.Kind = "smell"
	}
	x, err := t.Produce(w.ctx, o)
	w.created(t.name, "produce", x, err)
}

func (w *world) consume(a []int) {
	t, p := at(w.transports, a[0]), at(w.producers, a[1])
	if t == nil || p == nil || t.pipe {
		return
	}
	x, err := t.Consume(w.ctx, mafalda.ConsumerOptions{
		ProducerID: p.ID(), RTPCapabilities: t.r.RTPCapabilities(), Paused: a[2] == 1,
	})
	w.created(t.name, "consume", x, err)
	if err == nil {
		w.j.write(w.j.name(x), "of %s, mid %s", w.j.id(x.ProducerID()), x.RTPParameters().MID)
	}
}

// produceData needs no SCTP on a DirectTransport, and is an error elsewhere.
func (w *world) produceData(a []int) {
	t := at(w.transports, a[0])
	if t == nil || t.pipe {
		return
	}
	x, err := t.ProduceData(w.ctx, mafalda.DataProducerOptions{
		SCTPStreamParameters: &mafalda.SCTPStreamParameters{StreamID: 1}, Label: "label",
	})
	w.created(t.name, "producedata", x, err)
}

func (w *world) consumeData(a []int) {
	t, p := at(w.transports, a[0]), at(w.dataProducers, a[1])
	if t == nil || p == nil || t.pipe {
		return
	}
	x, err := t.ConsumeData(w.ctx, mafalda.DataConsumerOptions{DataProducerID: p.ID(), Paused: a[2] == 1})
	w.created(t.name, "consumedata", x, err)
}

func (w *world) createObserver(a []int) {
	r := at(w.routers, a[0])
	if r == nil {
		return
	}
	if a[1] == 0 {
		x, err := r.CreateAudioLevelObserver(w.ctx, mafalda.AudioLevelObserverOptions{})
		w.created(r.name, "levels", x, err)
	} else {
		x, err := r.CreateActiveSpeakerObserver(w.ctx, mafalda.ActiveSpeakerObserverOptions{})
		w.created(r.name, "speaker", x, err)
	}
}

func (w *world) watch(a []int) {
	if o, p := at(w.observers, a[0]), at(w.producers, a[1]); o != nil && p != nil {
		w.result(o.name, "watch "+p.name, o.AddProducer(w.ctx, p.ID()))
	}
}

func (w *world) unwatch(a []int) {
	if o, p := at(w.observers, a[0]), at(w.producers, a[1]); o != nil && p != nil {
		w.result(o.name, "unwatch "+p.name, o.RemoveProducer(w.ctx, p.ID()))
	}
}

func (w *world) pipe(a []int) {
	p, to := at(w.producers, a[0]), at(w.routers, a[1])
	if p == nil || to == nil {
		return
	}
	from := p.t.r
	// Two Routers of one Worker can't have the same id.
	keep := a[2] == 1 && from.w != to.w
	res, err := from.PipeToRouter(w.ctx, mafalda.PipeToRouterOptions{
		ProducerID: p.ID(), Router: to.Router, KeepID: &keep, EnableSCTP: new(false),
	})
	w.created(from.name, "pipe to "+to.name, res.PipeConsumer, err)
	if err != nil {
		return
	}
	w.j.write(from.name, "and %s", w.j.name(res.PipeProducer))
	near := slices.IndexFunc(w.consumers, func(c *consumerNode) bool { return c.Consumer == res.PipeConsumer })
	far := slices.IndexFunc(w.producers, func(p *producerNode) bool { return p.Producer == res.PipeProducer })
	if near < 0 || far < 0 {
		w.bad = fmt.Errorf("the ends of a pipe are strangers")
		return
	}
	w.pipes = append(w.pipes, &pipeNode{w.consumers[near], w.producers[far]})
}

// pausables are the kinds of what can be paused: each returns the object of a
// number, and what it says of itself. The Producer at the end of a pipe follows
// another object, and is left to that.
var pausables = []func(w *world, n int) (name string, o pausable, state func() string){
	func(w *world, n int) (string, pausable, func() string) {
		p := at(w.producers, n)
		if p == nil || p.pipe {
			return "", nil, nil
		}
		return p.name, p, func() string { return fmt.Sprint(p.Paused()) }
	},
	func(w *world, n int) (string, pausable, func() string) {
		c := at(w.consumers, n)
		if c == nil {
			return "", nil, nil
		}
		return c.name, c, func() string { return fmt.Sprint(c.Paused(), c.ProducerPaused()) }
	},
	func(w *world, n int) (string, pausable, func() string) {
		p := at(w.dataProducers, n)
		if p == nil {
			return "", nil, nil
		}
		return p.name, p, func() string { return fmt.Sprint(p.Paused()) }
	},
	func(w *world, n int) (string, pausable, func() string) {
		c := at(w.dataConsumers, n)
		if c == nil {
			return "", nil, nil
		}
		return c.name, c, func() string { return fmt.Sprint(c.Paused(), c.DataProducerPaused()) }
	},
	func(w *world, n int) (string, pausable, func() string) {
		o := at(w.observers, n)
		if o == nil {
			return "", nil, nil
		}
		return o.name, o, func() string { return fmt.Sprint(o.Paused()) }
	},
}

func (w *world) pause(a []int) {
	if name, o, state := pausables[a[0]%len(pausables)](w, a[1]); o != nil {
		w.result(name, "pause", o.Pause(w.ctx))
		w.j.write(name, "paused %s", state())
	}
}

func (w *world) resume(a []int) {
	if name, o, state := pausables[a[0]%len(pausables)](w, a[1]); o != nil {
		w.result(name, "resume", o.Resume(w.ctx))
		w.j.write(name, "paused %s", state())
	}
}

// closables are the kinds of what can be closed, as pausables.
var closables = []func(w *world, n int) (name string, o mafalda.Lifetime){
	func(w *world, n int) (string, mafalda.Lifetime) {
		return closable(at(w.consumers, n), func(x *consumerNode) string { return x.name })
	},
	func(w *world, n int) (string, mafalda.Lifetime) {
		return closable(at(w.producers, n), func(x *producerNode) string { return x.name })
	},
	func(w *world, n int) (string, mafalda.Lifetime) {
		return closable(at(w.transports, n), func(x *transportNode) string { return x.name })
	},
	func(w *world, n int) (string, mafalda.Lifetime) {
		return closable(at(w.dataConsumers, n), func(x *dataConsumerNode) string { return x.name })
	},
	func(w *world, n int) (string, mafalda.Lifetime) {
		return closable(at(w.dataProducers, n), func(x *dataProducerNode) string { return x.name })
	},
	func(w *world, n int) (string, mafalda.Lifetime) {
		return closable(at(w.observers, n), func(x *observerNode) string { return x.name })
	},
	func(w *world, n int) (string, mafalda.Lifetime) {
		return closable(at(w.routers, n), func(x *routerNode) string { return x.name })
	},
	func(w *world, n int) (string, mafalda.Lifetime) {
		return closable(at(w.workers, n), func(x *workerNode) string { return x.name })
	},
}

// closable returns o, if it is there, with its name.
func closable[T any, P interface {
	*T
	mafalda.Lifetime
}](o P, name func(P) string) (string, mafalda.Lifetime) {
	if o == nil {
		return "", nil
	}
	return name(o), o
}

func (w *world) close(a []int) {
	if name, o := closables[a[0]%len(closables)](w, a[1]); o != nil {
		err := o.Close()
		w.ended(name, o) // events that another goroutine emits just now may come later
		w.result(name, "close", err)
		w.j.write(name, "closed %v", o.Closed())
	}
}

func (w *world) priority(a []int) {
	if c := at(w.consumers, a[0]); c != nil {
		w.result(c.name, fmt.Sprint("priority ", a[1]), c.SetPriority(w.ctx, a[1]))
		w.j.write(c.name, "priority %d", c.Priority())
	}
}

func (w *world) layers(a []int) {
	if c := at(w.consumers, a[0]); c != nil {
		w.result(c.name, "layers", c.SetPreferredLayers(w.ctx, mafalda.ConsumerLayers{SpatialLayer: a[1] - 1}))
		w.j.write(c.name, "prefers layers: %v", c.PreferredLayers() != nil)
	}
}

func (w *world) subchannel(a []int) {
	if c := at(w.dataConsumers, a[0]); c != nil {
		w.result(c.name, "subchannel", c.AddSubchannel(w.ctx, uint16(a[1])))
		w.j.write(c.name, "subchannels %v", c.Subchannels())
	}
}

func (w *world) codecs(a []int) {
	if r := at(w.routers, a[0]); r != nil {
		w.result(r.name, "codecs", r.UpdateMediaCodecs(w.ctx, mediaCodecs()[:2-a[1]%2]))
		w.j.write(r.name, "has %d codecs", len(r.RTPCapabilities().Codecs))
	}
}

func (w *world) canConsume(a []int) {
	if r, p := at(w.routers, a[0]), at(w.producers, a[1]); r != nil && p != nil {
		w.j.write(r.name, "can consume %s: %v", p.name, r.CanConsume(p.ID(), r.RTPCapabilities()))
	}
}

// lists writes down what every object says is in it.
func (w *world) lists([]int) {
	w.j.write("sfu", "has %s", namesOf(w.j, w.sfu.Workers()))
	for _, x := range w.workers {
		w.j.write(x.name, "died %v, has %s %s", x.Died(), namesOf(w.j, x.Routers()), namesOf(w.j, x.WebRTCServers()))
	}
	for _, x := range w.routers {
		w.j.write(x.name, "has %s %s", namesOf(w.j, x.Transports()), namesOf(w.j, x.RTPObservers()))
	}
	for _, x := range w.transports {
		w.j.write(x.name, "has %s %s %s %s", namesOf(w.j, x.Producers()), namesOf(w.j, x.Consumers()),
			namesOf(w.j, x.DataProducers()), namesOf(w.j, x.DataConsumers()))
	}
	for _, x := range w.producers {
		w.j.write(x.name, "paused %v, closed %v", x.Paused(), x.Closed())
	}
	for _, x := range w.consumers {
		w.j.write(x.name, "paused %v %v, closed %v", x.Paused(), x.ProducerPaused(), x.Closed())
	}
}

// dump writes down what the dump of a Router says, by the names of the ids.
func (w *world) dump(a []int) {
	r := at(w.routers, a[0])
	if r == nil {
		return
	}
	d, err := r.Dump(w.ctx)
	w.result(r.name, "dump", err)
	if err != nil {
		return
	}
	w.j.write(r.name, "dump has %s %s", w.j.idsOf(d.TransportIDs), w.j.idsOf(d.RTPObserverIDs))
	for _, m := range []struct {
		of    string
		table []mafalda.KeyValues[string, string]
	}{
		{"consumers", d.MapProducerIDConsumerIDs},
		{"observers", d.MapProducerIDObserverIDs},
		{"dataconsumers", d.MapDataProducerIDDataConsumerIDs},
	} {
		var lines []string
		for _, e := range m.table {
			lines = append(lines, w.j.id(e.Key)+": "+w.j.idsOf(e.Values))
		}
		slices.Sort(lines)
		w.j.write(r.name, "dump of %s: %v", m.of, lines)
	}
}

// kill lets a Worker die, if it is one that can be killed.
func (w *world) kill(a []int) {
	x := at(w.workers, a[0])
	if x == nil {
		return
	}
	k, ok := x.Worker.(mafalda.Killer)
	if !ok {
		return
	}
	err := k.Kill(nil)
	if err == nil {
		w.ended(x.name, x)
	}
	w.result(x.name, "kill", err)
}

// A pausable is what all objects are that can be paused.
type pausable interface {
	Pause(ctx context.Context) error
	Resume(ctx context.Context) error
}
