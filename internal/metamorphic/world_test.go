package metamorphic

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/internal/driver"
	"github.com/mafalda-sfu/mafalda/internal/simnet"
)

// A target is an implementation, over the one that everything comes down to.
type target struct {
	name string
	new  func(mafalda.SFU) mafalda.SFU
	late bool // it has pipes of its own, in which packets take a moment
}

// A world is a program that runs.
type world struct {
	ctx context.Context
	j   *journal
	sfu mafalda.SFU
	net *simnet.Net // of all its Workers; time passes in until

	// In the order of their creation, closed ones too. Births are told by the
	// goroutine that runs the program.
	workers       []*workerNode
	routers       []*routerNode
	transports    []*transportNode
	producers     []*producerNode
	consumers     []*consumerNode
	dataProducers []*dataProducerNode
	dataConsumers []*dataConsumerNode
	observers     []*observerNode
	pipes         []*pipeNode

	ssrc uint32 // the last that was given to a Producer
	text int    // the number of the last packet or message
	mark int    // the number of the last mark
	bad  error  // why the run can't go on
}

// A node is what the world knows of an object.
type (
	workerNode struct {
		mafalda.Worker
		name string
	}
	routerNode struct {
		mafalda.Router
		name string
		w    *workerNode
	}
	transportNode struct {
		mafalda.Transport
		name string
		r    *routerNode
		end  *endpoint // of a PlainTransport
		pipe bool
	}
	producerNode struct {
		mafalda.Producer
		name string
		t    *transportNode
		src  *source
		pipe bool // its state follows from that of a Consumer elsewhere
	}
	consumerNode struct {
		mafalda.Consumer
		name  string
		t     *transportNode
		p     *producerNode
		heard *tally
		pipe  bool
	}
	dataProducerNode struct {
		mafalda.DataProducer
		name string
		t    *transportNode
	}
	dataConsumerNode struct {
		mafalda.DataConsumer
		name  string
		p     *dataProducerNode
		t     *transportNode
		heard *tally
	}
	observerNode struct {
		mafalda.RTPObserver
		name string
		r    *routerNode
	}
	pipeNode struct {
		near *consumerNode
		far  *producerNode
	}
)

// patience is how long a run waits for what must happen.
const patience = 10 * time.Second

// run runs p on a new SFU of t. The error is that something which must happen
// did not.
func run(t target, p program) (j *journal, err error) {
	w := &world{ctx: context.Background(), j: newJournal(), net: simnet.New(1)}
	w.sfu = t.new(w.real())
	w.sfu.Observer().NewWorker.On(w.bornWorker)
	hear(w.j, "sfu", &w.sfu.Observer().Close, "close")
	for _, s := range p {
		verbs[s.verb].run(w, s.args)
		w.settle()
		if w.bad != nil {
			break
		}
	}
	bad := w.bad
	w.lists(nil)
	err = w.sfu.Close()
	w.ended("sfu", w.sfu)
	w.result("sfu", "close", err)
	w.settle()
	for _, c := range w.consumers {
		w.j.write(c.name+" media", "%v", c.heard.texts())
	}
	for _, c := range w.dataConsumers {
		w.j.write(c.name+" messages", "%v", c.heard.texts())
	}
	return w.j, errors.Join(bad, w.bad)
}

// real returns an SFU whose Workers are on w.net.
func (w *world) real() mafalda.SFU {
	sfu := mafalda.New()
	sfu.(interface{ Drive(func() driver.Driver) }).Drive(func() driver.Driver { return w.net.BlockingDriver(loopback) })
	return sfu
}

// result writes down how a call ended: by the class of its error.
func (w *world) result(name, call string, err error) {
	w.j.write(name, "%s: %s", call, classOf(err))
}

func classOf(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, mafalda.ErrWorkerClosed):
		return "worker closed"
	case errors.Is(err, mafalda.ErrClosed):
		return "closed"
	case errors.Is(err, mafalda.ErrInvalidArgument):
		return "invalid argument"
	case errors.Is(err, mafalda.ErrInvalidState):
		return "invalid state"
	case errors.Is(err, mafalda.ErrNotFound):
		return "not found"
	case errors.Is(err, mafalda.ErrUnavailable):
		return "unavailable"
	case errors.Is(err, errors.ErrUnsupported):
		return "unsupported"
	}
	return err.Error()
}

// until lets time pass until cond holds.
func (w *world) until(what string, cond func() bool) {
	if w.bad != nil || cond() {
		return
	}
	end := time.Now().Add(patience)
	tick := time.NewTicker(200 * time.Microsecond)
	defer tick.Stop()
	for {
		w.net.Advance(time.Millisecond)
		if cond() {
			return
		}
		if time.Now().After(end) {
			w.bad = fmt.Errorf("waited %v for: %s", patience, what)
			return
		}
		<-tick.C // for listeners, and for what has timers of its own
	}
}

// ended waits for the end of an object.
func (w *world) ended(name string, o mafalda.Lifetime) {
	w.until(name+" has ended", func() bool {
		select {
		case <-o.Done():
			return true
		default:
			return false
		}
	})
}

// settle waits until what a step caused elsewhere has happened: what is below
// something closed has ended, and Consumers know of their Producers, through
// pipes too.
func (w *world) settle() {
	end := func(name string, o mafalda.Lifetime, parents ...mafalda.Lifetime) {
		if o.Closed() || slices.ContainsFunc(parents, mafalda.Lifetime.Closed) {
			w.ended(name, o)
		}
	}
	for _, x := range w.workers {
		end(x.name, x)
	}
	for _, x := range w.routers {
		end(x.name, x, x.w)
	}
	for _, x := range w.observers {
		end(x.name, x, x.r)
	}
	for _, x := range w.transports {
		end(x.name, x, x.r)
	}
	for range len(w.pipes) + 1 { // along chains of pipes
		for _, x := range w.producers {
			end(x.name, x, x.t)
		}
		for _, x := range w.consumers {
			end(x.name, x, x.t, x.p)
		}
		for _, x := range w.pipes {
			end(x.near.name, x.near, x.far)
			end(x.far.name, x.far, x.near)
		}
	}
	for _, x := range w.dataProducers {
		end(x.name, x, x.t)
	}
	for _, x := range w.dataConsumers {
		end(x.name, x, x.t, x.p)
	}
	for range len(w.pipes) + 1 {
		for _, x := range w.consumers {
			w.until(x.name+" knows of its Producer", func() bool {
				return x.Closed() || x.ProducerPaused() == x.p.Paused()
			})
		}
		for _, x := range w.pipes {
			w.until(x.far.name+" knows of its Consumer", func() bool {
				return x.far.Closed() || x.far.Paused() == (x.near.Paused() || x.near.ProducerPaused())
			})
		}
	}
	for _, x := range w.dataConsumers {
		w.until(x.name+" knows of its DataProducer", func() bool {
			return x.Closed() || x.DataProducerPaused() == x.p.Paused()
		})
	}
}

// at returns the object that a number stands for, nil if there is none.
func at[T any](list []*T, n int) *T {
	if len(list) == 0 {
		return nil
	}
	return list[n%len(list)]
}

var (
	loopback = netip.MustParseAddr("127.0.0.1")
	udp      = mafalda.ListenInfo{Protocol: mafalda.ProtocolUDP, IP: loopback}
)

// mediaCodecs are the codecs of a Router.
func mediaCodecs() []mafalda.RouterRTPCodecCapability {
	return []mafalda.RouterRTPCodecCapability{
		{Kind: mafalda.MediaKindAudio, MIMEType: "audio/opus", ClockRate: 48000, Channels: 2},
		{Kind: mafalda.MediaKindVideo, MIMEType: "video/VP8", ClockRate: 90000},
	}
}

// The births. Each names the object, and listens to it.

func (w *world) bornWorker(x mafalda.Worker) {
	n := &workerNode{x, w.j.born("worker", x, x.ID())}
	w.workers = append(w.workers, n)
	hear(w.j, n.name, &x.Events().Died, "died")
	hear(w.j, n.name, &x.Observer().Close, "close")
	x.Observer().NewRouter.On(func(r mafalda.Router) { w.bornRouter(n, r) })
}

func (w *world) bornRouter(parent *workerNode, x mafalda.Router) {
	n := &routerNode{x, w.j.born("router", x, x.ID()), parent}
	w.routers = append(w.routers, n)
	w.j.write(parent.name, "heard newrouter of %s", n.name)
	hear(w.j, n.name, &x.Events().WorkerClose, "workerclose")
	hear(w.j, n.name, &x.Observer().Close, "close")
	x.Observer().NewTransport.On(func(t mafalda.Transport) { w.bornTransport(n, t) })
	x.Observer().NewRTPObserver.On(func(o mafalda.RTPObserver) { w.bornObserver(n, o) })
}

func (w *world) bornTransport(parent *routerNode, x mafalda.Transport) {
	n := &transportNode{Transport: x, name: w.j.born("transport", x, x.ID()), r: parent}
	n.pipe = x.Type() == mafalda.TransportTypePipe
	w.transports = append(w.transports, n)
	w.j.write(parent.name, "heard newtransport of %s, %s", n.name, x.Type())
	hear(w.j, n.name, &x.Events().RouterClose, "routerclose")
	hear(w.j, n.name, &x.Events().ListenServerClose, "listenserverclose")
	hear(w.j, n.name, &x.Observer().Close, "close")
	o := x.Observer()
	o.NewProducer.On(func(p mafalda.Producer) { w.bornProducer(n, p) })
	o.NewConsumer.On(func(c mafalda.Consumer) { w.bornConsumer(n, c) })
	o.NewDataProducer.On(func(p mafalda.DataProducer) { w.bornDataProducer(n, p) })
	o.NewDataConsumer.On(func(c mafalda.DataConsumer) { w.bornDataConsumer(n, c) })
}

func (w *world) bornProducer(parent *transportNode, x mafalda.Producer) {
	n := &producerNode{Producer: x, name: w.j.born("producer", x, x.ID()), t: parent, pipe: parent.pipe}
	n.src = newSource(x)
	w.producers = append(w.producers, n)
	w.j.write(parent.name, "heard newproducer of %s, %s %s", n.name, x.Kind(), x.Type())
	hear(w.j, n.name, &x.Events().TransportClose, "transportclose")
	o := x.Observer()
	hear(w.j, n.name, &o.Pause, "pause")
	hear(w.j, n.name, &o.Resume, "resume")
	hear(w.j, n.name, &o.Close, "close")
}

func (w *world) bornConsumer(parent *transportNode, x mafalda.Consumer) {
	n := &consumerNode{Consumer: x, name: w.j.born("consumer", x, x.ID()), t: parent, heard: &tally{}, pipe: parent.pipe}
	for _, p := range w.producers { // the open one of that id, on the same Router
		if p.ID() == x.ProducerID() && p.t.r == parent.r && (n.p == nil || !p.Closed()) {
			n.p = p
		}
	}
	w.consumers = append(w.consumers, n)
	w.j.write(parent.name, "heard newconsumer of %s, %s %s", n.name, x.Kind(), x.Type())
	e := x.Events()
	hear(w.j, n.name, &e.TransportClose, "transportclose")
	hear(w.j, n.name, &e.ProducerClose, "producerclose")
	hear(w.j, n.name, &e.ProducerPause, "producerpause")
	hear(w.j, n.name, &e.ProducerResume, "producerresume")
	o := x.Observer()
	hear(w.j, n.name, &o.Pause, "pause")
	hear(w.j, n.name, &o.Resume, "resume")
	hear(w.j, n.name, &o.Close, "close")
	if parent.end != nil {
		parent.end.expect(x, n.heard)
	} else {
		e.RTP.On(n.heard.packet)
	}
}

func (w *world) bornDataProducer(parent *transportNode, x mafalda.DataProducer) {
	n := &dataProducerNode{x, w.j.born("dataproducer", x, x.ID()), parent}
	w.dataProducers = append(w.dataProducers, n)
	w.j.write(parent.name, "heard newdataproducer of %s, %s %q", n.name, x.Type(), x.Label())
	hear(w.j, n.name, &x.Events().TransportClose, "transportclose")
	o := x.Observer()
	hear(w.j, n.name, &o.Pause, "pause")
	hear(w.j, n.name, &o.Resume, "resume")
	hear(w.j, n.name, &o.Close, "close")
}

func (w *world) bornDataConsumer(parent *transportNode, x mafalda.DataConsumer) {
	n := &dataConsumerNode{DataConsumer: x, name: w.j.born("dataconsumer", x, x.ID()), t: parent, heard: &tally{}}
	for _, p := range w.dataProducers {
		if p.ID() == x.DataProducerID() && p.t.r == parent.r {
			n.p = p
		}
	}
	w.dataConsumers = append(w.dataConsumers, n)
	w.j.write(parent.name, "heard newdataconsumer of %s, %s %q", n.name, x.Type(), x.Label())
	e := x.Events()
	hear(w.j, n.name, &e.TransportClose, "transportclose")
	hear(w.j, n.name, &e.DataProducerClose, "dataproducerclose")
	hear(w.j, n.name, &e.DataProducerPause, "dataproducerpause")
	hear(w.j, n.name, &e.DataProducerResume, "dataproducerresume")
	e.Message.On(func(m mafalda.DataMessage) { n.heard.text(string(m.Data)) })
	o := x.Observer()
	hear(w.j, n.name, &o.Pause, "pause")
	hear(w.j, n.name, &o.Resume, "resume")
	hear(w.j, n.name, &o.Close, "close")
}

func (w *world) bornObserver(parent *routerNode, x mafalda.RTPObserver) {
	n := &observerNode{x, w.j.born("observer", x, x.ID()), parent}
	w.observers = append(w.observers, n)
	w.j.write(parent.name, "heard newrtpobserver of %s, %s", n.name, x.Type())
	hear(w.j, n.name, &x.Events().RouterClose, "routerclose")
	o := x.Observer()
	hearAbout(w.j, n.name, &o.AddProducer, "addproducer")
	hearAbout(w.j, n.name, &o.RemoveProducer, "removeproducer")
	hear(w.j, n.name, &o.Pause, "pause")
	hear(w.j, n.name, &o.Resume, "resume")
	hear(w.j, n.name, &o.Close, "close")
}
