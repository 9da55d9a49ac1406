package wrap

import (
	"sync"

	"github.com/mafalda-sfu/mafalda"
)

// Hooks say what stands for an inner object. Each gets the pass-through, which
// works already but is not heard of yet, and returns the outer object: what
// lists, events and results have from then on; not nil. It embeds the pass-through,
// has methods of its own for what it does differently, and can be compared.
//
// A nil hook means the pass-through itself. A hook may register listeners and
// look up other objects of the [Space], but not the one it makes. It is called
// once for each inner object, with no lock held, on the goroutine that met the
// object first, and must not wait for others; hooks of several objects may run at
// a time. Whoever else meets the object waits for it.
type Hooks struct {
	Worker                func(*Worker) mafalda.Worker
	WebRTCServer          func(*WebRTCServer) mafalda.WebRTCServer
	Router                func(*Router) mafalda.Router
	WebRTCTransport       func(*WebRTCTransport) mafalda.WebRTCTransport
	PlainTransport        func(*PlainTransport) mafalda.PlainTransport
	PipeTransport         func(*PipeTransport) mafalda.PipeTransport
	DirectTransport       func(*DirectTransport) mafalda.DirectTransport
	Producer              func(*Producer) mafalda.Producer
	Consumer              func(*Consumer) mafalda.Consumer
	DataProducer          func(*DataProducer) mafalda.DataProducer
	DataConsumer          func(*DataConsumer) mafalda.DataConsumer
	AudioLevelObserver    func(*AudioLevelObserver) mafalda.AudioLevelObserver
	ActiveSpeakerObserver func(*ActiveSpeakerObserver) mafalda.ActiveSpeakerObserver

	// Error returns the error to return instead of err, which a method of the
	// outer object is about to return; err is not nil. It is called for what
	// goes through to the inner object, by methods that the outer object has
	// overridden too, if they call the pass-through. nil means err itself. Calls may
	// overlap.
	Error func(outer any, err error) error
}

// A Space is an identity map: it has one outer object for each inner one, from
// when it is first met until it has ended, whatever road leads to it. The inner
// objects may be of several SFUs. Its methods may be called by many goroutines
// at a time.
//
// Each method but SFU returns the outer object of an inner one, which it makes with
// the hooks if there is none; it waits for nothing but the hook. From nil it makes
// nil. Inner objects must be comparable, as pointers are.
type Space struct {
	hooks Hooks

	mu             sync.Mutex
	entries        map[any]*entry // guarded by mu; by inner object
	oldest, newest *generation    // guarded by mu; of calls
}

// A generation are the calls that began between two ends of objects. One of them
// may return an object that has ended meanwhile, if a listener of its birth closed
// it: so it is forgotten when they and all older ones have returned.
type generation struct {
	calls int   // that have not returned
	ended []any // inner objects that have ended since
	next  *generation
}

// An entry is the outer object of an inner one.
type entry struct {
	ready chan struct{} // closed by who makes the outer object
	outer any           // constant once ready is closed
}

// NewSpace returns a Space without objects.
func NewSpace(h Hooks) *Space {
	g := new(generation)
	return &Space{hooks: h, entries: map[any]*entry{}, oldest: g, newest: g}
}

// call says that a call begins which may create an object. The caller calls
// returned when it knows what stands for that.
func (s *Space) call() (returned func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.newest
	g.calls++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		g.calls--
		s.forgetLocked()
	}
}

// forgetLocked forgets what no call can return any more.
func (s *Space) forgetLocked() {
	for g := s.oldest; g.calls == 0; g = g.next {
		for _, inner := range g.ended {
			delete(s.entries, inner)
		}
		g.ended = nil
		if g == s.newest {
			return
		}
		s.oldest = g.next
	}
}

// A pass is the pass-through of an inner object.
type pass interface {
	life() *Life
	// begin makes the pass-through relay what the inner object emits. outer is
	// what stands for it.
	begin(outer any)
}

// outerOf returns what stands for inner, which may be nil. create makes its
// pass-through, and hook, if not nil, what embeds it.
func outerOf[I mafalda.Lifetime, P pass](s *Space, inner I, create func(*Space, I) P, hook func(P) I) I {
	var none I
	if any(inner) == nil {
		return none
	}
	s.mu.Lock()
	e, ok := s.entries[inner]
	if !ok {
		e = &entry{ready: make(chan struct{})}
		s.entries[inner] = e
	}
	s.mu.Unlock()
	if ok {
		<-e.ready
		return e.outer.(I)
	}
	defer close(e.ready)
	p := create(s, inner)
	outer, ok := any(p).(I)
	if hook != nil {
		outer, ok = hook(p), true
	}
	if !ok {
		panic("wrap: a pass-through lacks methods of what it stands for")
	}
	e.outer = outer
	p.begin(outer)
	if inner.Closed() { // its close events may be over
		s.retire(inner, p.life())
	}
	return outer
}

// retire forgets an inner object that is closing, once it has ended. Events of
// its parents may still carry it before that.
func (s *Space) retire(inner mafalda.Lifetime, l *Life) {
	go func() { // ends when the inner object has ended, which is closed
		<-inner.Done()
		if l.relaying() {
			l.ended.come()
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		g := s.newest
		g.ended = append(g.ended, inner)
		if g.calls > 0 {
			g.next = new(generation)
			s.newest = g.next
		}
		s.forgetLocked()
	}()
}

// Worker returns the outer Worker of an inner one.
func (s *Space) Worker(inner mafalda.Worker) mafalda.Worker {
	return outerOf(s, inner, newWorker, s.hooks.Worker)
}

// WebRTCServer returns the outer WebRTCServer of an inner one.
func (s *Space) WebRTCServer(inner mafalda.WebRTCServer) mafalda.WebRTCServer {
	return outerOf(s, inner, newWebRTCServer, s.hooks.WebRTCServer)
}

// Router returns the outer Router of an inner one.
func (s *Space) Router(inner mafalda.Router) mafalda.Router {
	return outerOf(s, inner, newRouter, s.hooks.Router)
}

// Transport returns the outer Transport of an inner one, of the same kind.
func (s *Space) Transport(inner mafalda.Transport) mafalda.Transport {
	switch t := inner.(type) {
	case mafalda.WebRTCTransport:
		return s.WebRTCTransport(t)
	case mafalda.PlainTransport:
		return s.PlainTransport(t)
	case mafalda.PipeTransport:
		return s.PipeTransport(t)
	case mafalda.DirectTransport:
		return s.DirectTransport(t)
	}
	return outerOf(s, inner, newTransport, nil) // a kind that is none of ours
}

// WebRTCTransport returns the outer WebRTCTransport of an inner one.
func (s *Space) WebRTCTransport(inner mafalda.WebRTCTransport) mafalda.WebRTCTransport {
	return outerOf(s, inner, newWebRTCTransport, s.hooks.WebRTCTransport)
}

// PlainTransport returns the outer PlainTransport of an inner one.
func (s *Space) PlainTransport(inner mafalda.PlainTransport) mafalda.PlainTransport {
	return outerOf(s, inner, newPlainTransport, s.hooks.PlainTransport)
}

// PipeTransport returns the outer PipeTransport of an inner one.
func (s *Space) PipeTransport(inner mafalda.PipeTransport) mafalda.PipeTransport {
	return outerOf(s, inner, newPipeTransport, s.hooks.PipeTransport)
}

// DirectTransport returns the outer DirectTransport of an inner one.
func (s *Space) DirectTransport(inner mafalda.DirectTransport) mafalda.DirectTransport {
	return outerOf(s, inner, newDirectTransport, s.hooks.DirectTransport)
}

// Producer returns the outer Producer of an inner one.
func (s *Space) Producer(inner mafalda.Producer) mafalda.Producer {
	return outerOf(s, inner, newProducer, s.hooks.Producer)
}

// Consumer returns the outer Consumer of an inner one.
func (s *Space) Consumer(inner mafalda.Consumer) mafalda.Consumer {
	return outerOf(s, inner, newConsumer, s.hooks.Consumer)
}

// DataProducer returns the outer DataProducer of an inner one.
func (s *Space) DataProducer(inner mafalda.DataProducer) mafalda.DataProducer {
	return outerOf(s, inner, newDataProducer, s.hooks.DataProducer)
}

// DataConsumer returns the outer DataConsumer of an inner one.
func (s *Space) DataConsumer(inner mafalda.DataConsumer) mafalda.DataConsumer {
	return outerOf(s, inner, newDataConsumer, s.hooks.DataConsumer)
}

// RTPObserver returns the outer RTPObserver of an inner one, of the same type.
func (s *Space) RTPObserver(inner mafalda.RTPObserver) mafalda.RTPObserver {
	if inner == nil {
		return nil
	}
	if inner.Type() == mafalda.RTPObserverTypeAudioLevel {
		return s.AudioLevelObserver(inner)
	}
	return s.ActiveSpeakerObserver(inner)
}

// AudioLevelObserver returns the outer AudioLevelObserver of an inner one.
func (s *Space) AudioLevelObserver(inner mafalda.AudioLevelObserver) mafalda.AudioLevelObserver {
	return outerOf(s, inner, newAudioLevelObserver, s.hooks.AudioLevelObserver)
}

// ActiveSpeakerObserver returns the outer ActiveSpeakerObserver of an inner one.
func (s *Space) ActiveSpeakerObserver(inner mafalda.ActiveSpeakerObserver) mafalda.ActiveSpeakerObserver {
	return outerOf(s, inner, newActiveSpeakerObserver, s.hooks.ActiveSpeakerObserver)
}
