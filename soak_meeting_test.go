package mafalda_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
)

// soakPatience is how long a meeting waits for what must happen: long, as all
// of it may run on few slow processors.
const soakPatience = 2 * time.Minute

// A crew lets a goroutine that is not the test's end the test.
type crew struct{ testing.TB }

func (c crew) FailNow() {
	c.Fail()
	runtime.Goexit()
}

// A meeting has Routers on several Workers, between which media is piped.
type meeting struct {
	crew
	h     *house
	name  string
	rng   *rand.Rand
	pipes mafalda.PipeToRouterOptions // the options of its pipes
	halls []*hall

	guests    []*guest
	sources   []*origin
	sinks     []*sink
	datas     []*dataSource
	dataSinks []*dataSink
	piped     map[piped]bool

	tags, names int
	log         []string // what was done last
}

// A hall is one Router of a meeting.
type hall struct {
	worker  mafalda.Worker // its own, or nil
	server  mafalda.WebRTCServer
	router  mafalda.Router
	levels  mafalda.AudioLevelObserver
	speaker mafalda.ActiveSpeakerObserver
	gone    bool
}

// piped is the way of a Producer to a Router.
type piped struct {
	id   string
	hall *hall
}

func newMeeting(h *house, name string, rng *rand.Rand) *meeting {
	return &meeting{crew: crew{h.tb}, h: h, name: name, rng: rng, piped: map[piped]bool{}}
}

// hold holds the meeting: up to so many guests, so many steps.
func (m *meeting) hold(guests, steps int) {
	defer func() {
		if m.Failed() {
			m.Logf("meeting %s ended with:\n%s", m.name, strings.Join(m.log, "\n"))
		}
		for _, g := range slices.Clone(m.guests) {
			m.leave(g, true)
		}
	}()
	m.open()
	pace := time.NewTicker(m.h.beat)
	defer pace.Stop()
	for i := range steps {
		if m.Failed() {
			return
		}
		if len(m.guests) < guests && i*guests < 2*steps*(len(m.guests)+1) {
			m.join()
		}
		m.step()
		if i == steps/2 {
			m.settle()
		}
		<-pace.C
	}
	m.settle()
	m.end()
}

// eventually waits until cond holds.
func (m *meeting) eventually(what string, cond func() bool) {
	m.Helper()
	for end := time.Now().Add(soakPatience); !cond(); time.Sleep(5 * time.Millisecond) {
		if m.Failed() { // elsewhere
			m.FailNow()
		}
		if time.Now().After(end) {
			require.FailNow(m, "meeting "+m.name+" waited for: "+what)
		}
	}
}

// do makes a call that has to succeed.
func (m *meeting) do(step string, what any, call func(context.Context) error) {
	m.Helper()
	m.note("%s %v", step, what)
	m.h.count(step)
	ctx, cancel := context.WithTimeout(m.Context(), soakPatience)
	defer cancel()
	require.NoError(m, call(ctx), "meeting %s: %s %v", m.name, step, what)
}

func (m *meeting) note(format string, args ...any) {
	if m.log = append(m.log, fmt.Sprintf(format, args...)); len(m.log) > 60 {
		m.log = m.log[1:]
	}
}

// open makes the Routers: on two Workers that stay, and sometimes on one that
// does not, in this process or in another.
func (m *meeting) open() {
	workers := slices.Clone(m.h.workers)
	m.rng.Shuffle(len(workers), func(i, j int) { workers[i], workers[j] = workers[j], workers[i] })
	workers = workers[:2]
	if m.rng.IntN(2) == 0 {
		var s mafalda.WorkerSettings
		if m.rng.IntN(2) == 0 {
			bin, err := os.Executable()
			require.NoError(m, err)
			s.WorkerBin = bin
		}
		workers = append(workers, m.h.addWorker(m, s))
	}
	m.pipes = mafalda.PipeToRouterOptions{EnableRTX: m.rng.IntN(2) == 0, EnableSRTP: m.rng.IntN(3) == 0}
	for i, w := range workers {
		h := new(hall)
		if i == 2 {
			h.worker = w
		}
		m.do("open", i, func(ctx context.Context) (err error) {
			if h.router, err = w.CreateRouter(ctx, mafalda.RouterOptions{MediaCodecs: soakCodecs()}); err != nil {
				return err
			}
			if m.rng.IntN(3) > 0 {
				h.server = newServer(m, w)
			}
			if h.levels, err = h.router.CreateAudioLevelObserver(ctx, mafalda.AudioLevelObserverOptions{MaxEntries: 3, Interval: max(20*m.h.beat, 250*time.Millisecond)}); err != nil {
				return err
			}
			h.speaker, err = h.router.CreateActiveSpeakerObserver(ctx, mafalda.ActiveSpeakerObserverOptions{})
			return err
		})
		h.levels.Events().Volumes.On(func(v []mafalda.AudioLevelVolume) {
			m.h.volumes.Add(1)
			for _, x := range v {
				if x.Producer.Kind() != mafalda.MediaKindAudio || x.Volume < -40 {
					m.Errorf("volume %d of %s", x.Volume, x.Producer.ID())
				}
			}
		})
		h.speaker.Events().DominantSpeaker.On(func(mafalda.DominantSpeaker) { m.h.speakers.Add(1) })
		m.halls = append(m.halls, h)
	}
}

func (m *meeting) join() {
	h := m.halls[m.rng.IntN(len(m.halls))]
	if h.gone {
		return
	}
	m.names++
	name := fmt.Sprintf("%s/%d", m.name, m.names)
	kinds := []func(string, *hall) *guest{m.webRTC, m.webRTC, m.webRTC, m.plain, m.plain, m.plain, m.direct, m.plainData}
	which := m.rng.IntN(len(kinds))
	m.note("join %s as %d", name, which)
	m.h.count("join")
	g := kinds[which](name, h)
	if g.media {
		m.publish(g)
	}
	if g.data != nil || g.write == nil {
		m.publishData(g)
	}
	for range 3 {
		m.subscribe()
	}
}

// step does something at random.
func (m *meeting) step() {
	steps := []func(){
		m.subscribe, m.subscribe, m.subscribe, m.subscribeData, m.subscribeData,
		m.pauseSink, m.pauseSink, m.pauseSource, m.pauseData, m.layers, m.layers, m.layers, m.streams,
		m.closeSink, m.closeSource, m.closeData, m.restart, m.observe, m.look, m.push,
		func() {
			if g := choose(m, m.guests, func(g *guest) bool { return g.media }); g != nil && len(m.sources) < 2*len(m.guests) {
				m.publish(g)
			}
		},
		func() {
			if g := choose(m, m.guests, nil); g != nil && len(m.guests) > 3 {
				m.leave(g, m.rng.IntN(2) == 0)
			}
		},
		func() { // a Router goes, and all with it
			if h := choose(m, m.halls, func(h *hall) bool { return !h.gone }); h != nil && m.rng.IntN(40) == 0 && m.hasRoom() {
				m.close("close Router", h)
			}
		},
	}
	steps[m.rng.IntN(len(steps))]()
}

// hasRoom reports whether two Routers at least are open.
func (m *meeting) hasRoom() bool {
	n := 0
	for _, h := range m.halls {
		if !h.gone {
			n++
		}
	}
	return n > 1
}

// choose returns one of those for which ok holds, or nil.
func choose[T any](m *meeting, from []*T, ok func(*T) bool) *T {
	if ok != nil {
		from = slices.DeleteFunc(slices.Clone(from), func(x *T) bool { return !ok(x) })
	}
	if len(from) == 0 {
		return nil
	}
	return from[m.rng.IntN(len(from))]
}

func (m *meeting) publish(g *guest) {
	m.tags++
	s := newOrigin(g, []form{sound, picture, simulcast, simulcast, svc}[m.rng.IntN(5)], uint32(m.tags), seedOf(m.rng))
	if g.lossy {
		s.loss = 2
	}
	m.do("publish", fmt.Sprint(s.form, " ", s.tag, " of ", g.name), func(ctx context.Context) (err error) {
		s.producer, err = g.transport.Produce(ctx, s.options())
		return err
	})
	if s.write = g.write; s.write == nil {
		s.write = s.producer.Send
	}
	m.sources = append(m.sources, s)
	g.feed(s, true)
	if s.form == sound {
		m.do("observe", s.tag, func(ctx context.Context) error {
			if err := g.hall.levels.AddProducer(ctx, s.producer.ID()); err != nil {
				return err
			}
			return g.hall.speaker.AddProducer(ctx, s.producer.ID())
		})
	}
}

func (m *meeting) publishData(g *guest) {
	m.tags++
	// A stream that is reset in one direction is answered in the other, so that
	// DataProducers and DataConsumers keep to streams of their own.
	s := &dataSource{guest: g, tag: uint32(m.tags), stream: uint16(1000 + m.tags)}
	o := mafalda.DataProducerOptions{Label: g.name}
	if g.data != nil {
		o.SCTPStreamParameters = &mafalda.SCTPStreamParameters{StreamID: s.stream}
	}
	m.do("publish data", fmt.Sprint(s.tag, " of ", g.name), func(ctx context.Context) (err error) {
		s.producer, err = g.transport.ProduceData(ctx, o)
		return err
	})
	m.datas = append(m.datas, s)
	g.feedData(s, true)
}

// pipe takes a Producer or a DataProducer to another Router.
func (m *meeting) pipe(from, to *hall, o mafalda.PipeToRouterOptions) {
	key := piped{o.ProducerID + o.DataProducerID, to}
	if from == to || m.piped[key] {
		return
	}
	m.piped[key] = true
	o.Router, o.EnableRTX, o.EnableSRTP = to.router, m.pipes.EnableRTX, m.pipes.EnableSRTP
	m.do("pipe", key.id, func(ctx context.Context) error {
		_, err := from.router.PipeToRouter(ctx, o)
		return err
	})
}

func (m *meeting) subscribe() {
	g := choose(m, m.guests, func(g *guest) bool { return g.media })
	if g == nil {
		return
	}
	taken := map[*origin]bool{}
	for _, k := range m.sinks {
		taken[k.source] = taken[k.source] || k.guest == g
	}
	s := choose(m, m.sources, func(s *origin) bool { return s.guest != g && !taken[s] })
	if s == nil || len(taken) > 5 {
		return
	}
	m.pipe(s.guest.hall, g.hall, mafalda.PipeToRouterOptions{ProducerID: s.producer.ID()})
	caps := g.hall.router.RTPCapabilities()
	caps.HeaderExtensions = slices.DeleteFunc(caps.HeaderExtensions, func(x mafalda.RTPHeaderExtension) bool {
		return !g.estimated && (x.URI == mafalda.RTPHeaderExtensionTransportWideCC || x.URI == mafalda.RTPHeaderExtensionAbsSendTime)
	})
	paused := m.rng.IntN(2) == 0
	o := mafalda.ConsumerOptions{ProducerID: s.producer.ID(), RTPCapabilities: caps, Paused: paused}
	var c mafalda.Consumer
	m.do("subscribe", fmt.Sprint(g.name, " to ", s.tag), func(ctx context.Context) (err error) {
		c, err = g.transport.Consume(ctx, o)
		return err
	})
	k := newSink(g, s, c)
	if g.lossy && s.form != sound {
		k.rng = seedOf(m.rng)
	}
	c.Events().LayersChange.On(func(*mafalda.ConsumerLayers) { m.h.switches.Add(1) })
	g.expect(k, true)
	if g.write == nil {
		c.Events().RTP.On(g.takeRTP)
	}
	if k.paused = paused; paused && m.rng.IntN(3) > 0 {
		m.do("resume", k.ssrc, c.Resume)
		k.paused = false
	}
	m.sinks = append(m.sinks, k)
}

func (m *meeting) subscribeData() {
	g := choose(m, m.guests, func(g *guest) bool { return g.data != nil || g.write == nil && g.media })
	s := choose(m, m.datas, func(s *dataSource) bool { return s.guest != g })
	if g == nil || s == nil || len(m.dataSinks) > 2*len(m.guests) {
		return
	}
	m.pipe(s.guest.hall, g.hall, mafalda.PipeToRouterOptions{DataProducerID: s.producer.ID()})
	k := &dataSink{guest: g, source: s, ordered: m.rng.IntN(3) > 0, had: map[uint64]bool{}}
	m.do("subscribe data", fmt.Sprint(g.name, " to ", s.tag), func(ctx context.Context) (err error) {
		k.consumer, err = g.transport.ConsumeData(ctx, mafalda.DataConsumerOptions{DataProducerID: s.producer.ID(), Ordered: &k.ordered})
		return err
	})
	if g.data == nil {
		k.consumer.Events().Message.On(func(x mafalda.DataMessage) { k.take(x.Data) })
	}
	g.expectData(k, true)
	m.dataSinks = append(m.dataSinks, k)
}
