package engine

import (
	"slices"
	"time"

	"github.com/mafalda-sfu/mafalda/internal/audiolevel"
	"github.com/mafalda-sfu/mafalda/internal/rtp"
	"github.com/mafalda-sfu/mafalda/internal/speaker"
	"github.com/mafalda-sfu/mafalda/internal/timer"
)

// Limits of intervals (media-plane §10).
const (
	minLevelInterval   = 250 * time.Millisecond
	minSpeakerInterval = 100 * time.Millisecond
	maxInterval        = 5 * time.Second
)

// A listening is what an RTP observer keeps of one Producer.
type listening interface {
	// level takes the level of a packet, 0 (loudest) to 127.
	level(now time.Duration, level uint8)
	producerPaused()
	producerResumed()
	// end is called when the Producer is removed.
	end()
}

// An observerPart is what one kind of RTP observer adds to the common part.
type observerPart interface {
	// listen begins with a Producer. again reports that it is observed already,
	// which may be an error.
	listen(p *producer) listening
	again() error
	tick(now time.Duration)
	paused()
}

// An rtpObserver watches audio Producers of a Router. Both kinds share it.
type rtpObserver struct {
	m         *Machine
	r         *router
	id        string
	part      observerPart
	interval  time.Duration
	timer     timer.Timer
	isPaused  bool
	listening []observed // in order of addition
}

// observed is a Producer that an RTP observer listens to.
type observed struct {
	p *producer
	listening
}

// An observation is an RTP observer that listens to a Producer.
type observation struct {
	o *rtpObserver
	listening
}

func (m *Machine) newRTPObserver(routerID, id string, interval time.Duration, part func(*rtpObserver) observerPart) error {
	r := m.routers[routerID]
	if r == nil {
		return notFound("Router", routerID)
	}
	if err := m.unused(id); err != nil {
		return err
	}
	o := &rtpObserver{m: m, r: r, id: id, interval: interval}
	o.part = part(o)
	o.timer.Init(func(now time.Duration) {
		o.part.tick(now)
		m.wheel.Set(&o.timer, periodic(&o.timer, now, o.interval))
	})
	m.wheel.Set(&o.timer, m.now+o.interval)
	m.rtpObservers[id] = o
	r.observers = append(r.observers, o)
	return nil
}

func (m *Machine) rtpObserver(id string) (*rtpObserver, error) {
	if o := m.rtpObservers[id]; o != nil {
		return o, nil
	}
	return nil, notFound("RtpObserver", id)
}

// CloseRTPObserver closes an RTP observer.
func (m *Machine) CloseRTPObserver(id string) error {
	o, err := m.rtpObserver(id)
	if err == nil {
		o.close()
	}
	return err
}

func (o *rtpObserver) close() {
	o.m.wheel.Stop(&o.timer)
	for _, l := range o.listening {
		l.p.unobserve(o)
	}
	o.listening = nil
	delete(o.m.rtpObservers, o.id)
	o.r.observers = slices.DeleteFunc(o.r.observers, func(x *rtpObserver) bool { return x == o })
}

// PauseRTPObserver stops listening.
func (m *Machine) PauseRTPObserver(id string) error {
	o, err := m.rtpObserver(id)
	if err != nil || o.isPaused {
		return err
	}
	o.isPaused = true
	m.wheel.Stop(&o.timer)
	o.part.paused()
	return nil
}

// ResumeRTPObserver goes on listening.
func (m *Machine) ResumeRTPObserver(id string) error {
	o, err := m.rtpObserver(id)
	if err != nil || !o.isPaused {
		return err
	}
	o.isPaused = false
	m.wheel.Set(&o.timer, m.now+o.interval)
	return nil
}

// AddRTPObserverProducer listens to a Producer of the same Router. Errors:
// ErrNotFound; ErrInvalidArgument when it is not audio; ErrInvalidState when an
// active speaker observer has it already.
func (m *Machine) AddRTPObserverProducer(id, producerID string) error {
	o, p, err := m.observerAndProducer(id, producerID)
	if err != nil {
		return err
	}
	if p.kind != Audio {
		return invalid("Producer %s is not audio", p.id)
	}
	if slices.ContainsFunc(p.observations, func(x observation) bool { return x.o == o }) {
		return o.part.again()
	}
	l := o.part.listen(p)
	if p.paused {
		l.producerPaused()
	}
	o.listening = append(o.listening, observed{p, l})
	p.observations = append(p.observations, observation{o, l})
	return nil
}

// RemoveRTPObserverProducer stops listening to a Producer of the same Router.
// Errors: ErrNotFound.
func (m *Machine) RemoveRTPObserverProducer(id, producerID string) error {
	o, p, err := m.observerAndProducer(id, producerID)
	if err != nil {
		return err
	}
	o.remove(p)
	return nil
}

func (m *Machine) observerAndProducer(id, producerID string) (*rtpObserver, *producer, error) {
	o, err := m.rtpObserver(id)
	if err != nil {
		return nil, nil, err
	}
	p := m.producers[producerID]
	if p == nil || p.t.r != o.r {
		return nil, nil, notFound("Producer", producerID)
	}
	return o, p, nil
}

// remove forgets a Producer, which may be unknown.
func (o *rtpObserver) remove(p *producer) {
	i := slices.IndexFunc(o.listening, func(l observed) bool { return l.p == p })
	if i < 0 {
		return
	}
	l := o.listening[i].listening
	o.listening = slices.Delete(o.listening, i, i+1)
	p.unobserve(o)
	l.end()
}

func (p *producer) unobserve(o *rtpObserver) {
	p.observations = slices.DeleteFunc(p.observations, func(x observation) bool { return x.o == o })
}

// leaveObservers is called when the Producer closes.
func (p *producer) leaveObservers() {
	for len(p.observations) > 0 {
		p.observations[0].o.remove(p)
	}
}

// observe tells observers of the level of a packet, if it has one.
func (p *producer) observe(pkt rtp.Packet) {
	id := p.ids.audioLevel
	if len(p.observations) == 0 || id == 0 {
		return
	}
	v := pkt.Extension(id)
	if len(v) != 1 {
		return
	}
	level, _ := rtp.ParseAudioLevel(v[0])
	for _, o := range p.observations {
		if !o.o.isPaused {
			o.level(p.m.now, level)
		}
	}
}

// A Volume is one Producer of an [AudioVolumes].
type Volume struct {
	ProducerID string
	Volume     int8 // dBov, -127 to 0
}

// AudioLevelOptions are the options of [Machine.CreateAudioLevelObserver].
type AudioLevelOptions struct {
	// MaxEntries is of how many Producers volumes tell at most.
	MaxEntries uint16
	// Threshold is the least volume to tell of, -127 to 0 dBov.
	Threshold int8
	// Interval is brought into the range of 250 ms to 5 s.
	Interval time.Duration
}

// CreateAudioLevelObserver makes an observer that tells who is loudest. Errors:
// ErrNotFound, ErrInvalidState when the id is in use, ErrInvalidArgument.
func (m *Machine) CreateAudioLevelObserver(routerID, id string, o AudioLevelOptions) error {
	if o.Threshold > 0 {
		return invalid("threshold is above 0")
	}
	interval := min(max(o.Interval, minLevelInterval), maxInterval)
	return m.newRTPObserver(routerID, id, interval, func(x *rtpObserver) observerPart {
		return &levelObserver{x, audiolevel.New(o.Threshold, int(o.MaxEntries))}
	})
}

type levelObserver struct {
	o      *rtpObserver
	levels *audiolevel.Observer
}

func (l *levelObserver) again() error { return nil }

func (l *levelObserver) tick(time.Duration) {
	volumes, silence := l.levels.Tick()
	if len(volumes) > 0 {
		n := AudioVolumes{make([]Volume, len(volumes))}
		for i, v := range volumes {
			n.Volumes[i] = Volume{v.ID, v.Volume}
		}
		l.o.m.notify(l.o.id, n)
	}
	l.silence(silence)
}

func (l *levelObserver) silence(is bool) {
	if is {
		l.o.m.notify(l.o.id, AudioSilence{})
	}
}

func (l *levelObserver) paused() { l.silence(l.levels.Pause()) }

func (l *levelObserver) listen(p *producer) listening {
	return &levelListening{l.levels, l.levels.Add(p.id), p.id}
}

type levelListening struct {
	levels *audiolevel.Observer
	source *audiolevel.Source
	id     string
}

func (l *levelListening) level(_ time.Duration, level uint8) { l.source.Level(level) }
func (l *levelListening) end()                               { l.levels.Remove(l.source) }
func (l *levelListening) producerPaused()                    { l.levels.Remove(l.source) }
func (l *levelListening) producerResumed()                   { l.source = l.levels.Add(l.id) }

// CreateActiveSpeakerObserver makes an observer that tells who dominates the
// conversation, after each interval, which is brought into the range of 100 ms to
// 5 s. Errors: ErrNotFound, ErrInvalidState when the id is in use.
func (m *Machine) CreateActiveSpeakerObserver(routerID, id string, interval time.Duration) error {
	interval = min(max(interval, minSpeakerInterval), maxInterval)
	return m.newRTPObserver(routerID, id, interval, func(o *rtpObserver) observerPart {
		return &speakerObserver{o, speaker.New()}
	})
}

type speakerObserver struct {
	o        *rtpObserver
	speakers *speaker.Observer
}

func (s *speakerObserver) again() error { return invalidState("the Producer is observed already") }
func (s *speakerObserver) paused()      {}

func (s *speakerObserver) tick(now time.Duration) { s.changed(s.speakers.Tick(now)) }

func (s *speakerObserver) changed(producerID string, changed bool) {
	if changed {
		s.o.m.notify(s.o.id, DominantSpeaker{producerID})
	}
}

func (s *speakerObserver) listen(p *producer) listening {
	return &speakerListening{s, s.speakers.Add(s.o.m.now, p.id)}
}

type speakerListening struct {
	s       *speakerObserver
	speaker *speaker.Speaker
}

func (l *speakerListening) level(now time.Duration, level uint8) { l.speaker.Level(now, level) }
func (l *speakerListening) producerPaused()                      { l.speaker.SetPaused(true) }
func (l *speakerListening) producerResumed()                     { l.speaker.SetPaused(false) }

func (l *speakerListening) end() {
	id, changed := l.s.speakers.Remove(l.s.o.m.now, l.speaker)
	l.s.changed(id, changed)
}
