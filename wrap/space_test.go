package wrap

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
)

// size returns how many objects the map has.
func (s *Space) size() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.entries)
}

// eventually waits until cond holds.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	require.Eventually(t, cond, 10*time.Second, time.Millisecond, what)
}

var loopback = netip.MustParseAddr("127.0.0.1")

var codecs = []mafalda.RouterRTPCodecCapability{
	{Kind: mafalda.MediaKindAudio, MIMEType: "audio/opus", ClockRate: 48000, Channels: 2},
}

func audio(ssrc uint32) mafalda.ProducerOptions {
	return mafalda.ProducerOptions{Kind: mafalda.MediaKindAudio, RTPParameters: mafalda.RTPParameters{
		Codecs:    []mafalda.RTPCodecParameters{{MIMEType: "audio/opus", PayloadType: 100, ClockRate: 48000, Channels: 2}},
		Encodings: []mafalda.RTPEncodingParameters{{SSRC: ssrc}},
	}}
}

func newInner(t testing.TB) mafalda.SFU {
	sfu := mafalda.New()
	t.Cleanup(func() { require.NoError(t, sfu.Close()) })
	return sfu
}

func newRooms(t testing.TB, sfu mafalda.SFU) (mafalda.Worker, mafalda.Router) {
	t.Helper()
	w, err := sfu.CreateWorker(t.Context(), mafalda.WorkerSettings{})
	require.NoError(t, err)
	r, err := w.CreateRouter(t.Context(), mafalda.RouterOptions{MediaCodecs: codecs})
	require.NoError(t, err)
	return w, r
}

func direct(t testing.TB, r mafalda.Router) mafalda.DirectTransport {
	t.Helper()
	d, err := r.CreateDirectTransport(t.Context(), mafalda.DirectTransportOptions{})
	require.NoError(t, err)
	return d
}

// pair has a Producer and a Consumer of it on a transport.
func pair(t testing.TB, r mafalda.Router, d mafalda.Transport, ssrc uint32) (mafalda.Producer, mafalda.Consumer) {
	t.Helper()
	p, err := d.Produce(t.Context(), audio(ssrc))
	require.NoError(t, err)
	c, err := d.Consume(t.Context(), mafalda.ConsumerOptions{ProducerID: p.ID(), RTPCapabilities: r.RTPCapabilities()})
	require.NoError(t, err)
	return p, c
}

func TestClosedObjectsLeaveTheMap(t *testing.T) {
	s := NewSpace(Hooks{})
	sfu := s.SFU(newInner(t))
	w, r := newRooms(t, sfu)
	stays := direct(t, r)
	for i := range 50 {
		d := direct(t, r)
		_, c := pair(t, r, d, uint32(i+1))
		q, _ := pair(t, r, d, uint32(i+1000))
		require.NoError(t, c.Close())
		require.NoError(t, q.Close())
		require.NoError(t, d.Close())
	}
	eventually(t, "the Worker, the Router and a Transport are left", func() bool { return s.size() == 3 })
	require.Zero(t, r.(*Router).transports.order.Len()-1)
	require.Len(t, r.(*Router).transports.known, 1)
	require.False(t, stays.Closed())
	require.NoError(t, w.Close())
	eventually(t, "nothing is left", func() bool { return s.size() == 0 })
}

// TestObjectsThatWereThere wraps an SFU that has objects already, some closed.
func TestObjectsThatWereThere(t *testing.T) {
	inner := newInner(t)
	_, r := newRooms(t, inner)
	d := direct(t, r)
	p, c := pair(t, r, d, 1)

	s := NewSpace(Hooks{})
	sfu := s.SFU(inner)
	outer := sfu.Workers()[0].Routers()[0].Transports()[0].Producers()[0]
	require.Equal(t, p.ID(), outer.ID())
	require.True(t, outer == s.Producer(p))
	require.True(t, sfu.Workers()[0] == sfu.Workers()[0])
	closed := make(chan struct{})
	outer.Observer().Close.On(func(struct{}) { close(closed) })
	require.NoError(t, p.Close())
	<-closed
	<-outer.Done()

	<-c.Done()
	late := s.Consumer(c) // closed with its Producer, before anybody met it
	require.True(t, late.Closed())
	<-late.Done()
	eventually(t, "the Worker, the Router and the Transport are left", func() bool { return s.size() == 3 })

	require.NoError(t, inner.Close())
	<-sfu.Done()
	ended := New(inner)
	require.True(t, ended.Closed())
	<-ended.Done()
}

func TestNil(t *testing.T) {
	s := NewSpace(Hooks{})
	assert.True(t, s.Worker(nil) == nil)
	assert.True(t, s.Transport(nil) == nil)
	assert.True(t, s.RTPObserver(nil) == nil)
	assert.True(t, s.Consumer(nil) == nil)
	assert.Zero(t, s.size())
}

// An oddTransport is of no kind that this package knows.
type oddTransport struct{ mafalda.Transport }

func TestTransportOfAnotherKind(t *testing.T) {
	_, r := newRooms(t, newInner(t))
	d := direct(t, r)
	s := NewSpace(Hooks{})
	odd := s.Transport(oddTransport{d})
	require.Equal(t, d.ID(), odd.ID())
	require.NoError(t, odd.Close())
	<-odd.Done()
}

// TestOneOuterObject lets many goroutines meet an object at a time.
func TestOneOuterObject(t *testing.T) {
	_, r := newRooms(t, newInner(t))
	var made sync.Map
	s := NewSpace(Hooks{Router: func(r *Router) mafalda.Router {
		made.Store(r, true)
		return r
	}})
	got := make([]mafalda.Router, 16)
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() { got[i] = s.Router(r) })
	}
	wg.Wait()
	n := 0
	made.Range(func(any, any) bool { n++; return true })
	require.Equal(t, 1, n)
	for _, x := range got {
		require.True(t, x == got[0])
	}
}

type hooked struct {
	*Producer
	name string
}

// TestHooked checks that what a hook makes is what every road leads to.
func TestHooked(t *testing.T) {
	s := NewSpace(Hooks{Producer: func(p *Producer) mafalda.Producer { return &hooked{p, "mine"} }})
	_, r := newRooms(t, s.SFU(newInner(t)))
	d := direct(t, r)
	var told mafalda.Producer
	d.Observer().NewProducer.On(func(p mafalda.Producer) { told = p })
	p, _ := pair(t, r, d, 1)
	require.Equal(t, "mine", p.(*hooked).name)
	require.True(t, told == p)
	require.True(t, d.Producers()[0] == p)
	require.True(t, s.Producer(p.(*hooked).Inner()) == p)

	o, err := r.CreateActiveSpeakerObserver(t.Context(), mafalda.ActiveSpeakerObserverOptions{})
	require.NoError(t, err)
	speaker := make(chan mafalda.DominantSpeaker, 1)
	o.Events().DominantSpeaker.On(func(v mafalda.DominantSpeaker) { speaker <- v })
	o.Observer().AddProducer.On(func(v mafalda.Producer) { told = v })
	told = nil
	require.NoError(t, o.AddProducer(t.Context(), p.ID()))
	require.True(t, told == p)
	require.True(t, (<-speaker).Producer == p, "alone, it dominates")
}

func TestErrorHook(t *testing.T) {
	other := errors.New("other")
	var from any
	s := NewSpace(Hooks{
		Error: func(outer any, err error) error {
			from = outer
			return errors.Join(other, err)
		},
		Producer: func(p *Producer) mafalda.Producer { return &hooked{p, ""} },
	})
	_, r := newRooms(t, s.SFU(newInner(t)))
	p, _ := pair(t, r, direct(t, r), 1)
	require.NoError(t, p.Pause(t.Context()))
	require.Nil(t, from)
	require.NoError(t, p.Close())
	err := p.Pause(t.Context())
	require.ErrorIs(t, err, mafalda.ErrClosed)
	require.ErrorIs(t, err, other)
	require.True(t, from == any(p))
	_, err = r.PipeToRouter(t.Context(), mafalda.PipeToRouterOptions{})
	require.ErrorIs(t, err, mafalda.ErrInvalidArgument)
	require.True(t, from == any(r))
}

// TestPipeBetweenSpaces pipes to and from a Router that is of another SFU: both
// directions share the two PipeTransports.
func TestPipeBetweenSpaces(t *testing.T) {
	a, b := New(newInner(t)), newInner(t)
	_, here := newRooms(t, a)
	_, there := newRooms(t, b)
	p, _ := pair(t, here, direct(t, here), 1)
	q, _ := pair(t, there, direct(t, there), 1)
	res, err := here.PipeToRouter(t.Context(), mafalda.PipeToRouterOptions{ProducerID: p.ID(), Router: there})
	require.NoError(t, err)
	require.IsType(t, &Consumer{}, res.PipeConsumer)
	require.True(t, there.Transports()[1].Producers()[0] == res.PipeProducer)
	_, err = there.PipeToRouter(t.Context(), mafalda.PipeToRouterOptions{ProducerID: q.ID(), Router: here})
	require.NoError(t, err)
	require.Len(t, here.Transports(), 2)
	require.Len(t, there.Transports(), 2)

	_, err = here.PipeToRouter(t.Context(), mafalda.PipeToRouterOptions{ProducerID: "nobody", Router: there})
	require.ErrorIs(t, err, mafalda.ErrNotFound)
	e, ok := errors.AsType[*mafalda.Error](err)
	require.True(t, ok)
	require.Equal(t, "PipeToRouter", e.Op)

	_, err = here.CreateWebRTCTransport(t.Context(), mafalda.WebRTCTransportOptions{WebRTCServer: (*WebRTCServer)(nil)})
	require.ErrorIs(t, err, mafalda.ErrInvalidArgument)
	_, err = here.PipeToRouter(t.Context(), mafalda.PipeToRouterOptions{ProducerID: p.ID(), Router: here})
	require.ErrorIs(t, err, mafalda.ErrInvalidArgument, "to itself")
}

func TestListenerThatCloses(t *testing.T) {
	_, r := newRooms(t, New(newInner(t)))
	p, _ := pair(t, r, direct(t, r), 1)
	p.Observer().Pause.On(func(struct{}) { assert.NoError(t, p.Close()) })
	p.Observer().Pause.On(func(struct{}) { t.Error("called after Close") })
	require.NoError(t, p.Pause(t.Context()))
	require.True(t, p.Closed())
}

func TestRelayingAllocatesNothing(t *testing.T) {
	s := NewSpace(Hooks{})
	_, r := newRooms(t, s.SFU(newInner(t)))
	_, c := pair(t, r, direct(t, r), 1)
	n := 0
	c.Events().RTP.On(func(b []byte) { n += len(b) })
	from, packet := &c.(*Consumer).Inner().Events().RTP, make([]byte, 1)
	require.Zero(t, testing.AllocsPerRun(100, func() { from.Emit(packet) }))
	require.Equal(t, 101, n)
}

// A slowTransport returns a Producer when that has ended, and the Space above knows.
type slowTransport struct {
	*DirectTransport
	t     *testing.T
	above *Space
}

func (d *slowTransport) Produce(ctx context.Context, o mafalda.ProducerOptions) (mafalda.Producer, error) {
	p, err := d.DirectTransport.Produce(ctx, o)
	if err == nil {
		eventually(d.t, "the end is known above", func() bool { return d.above.ended(p) })
	}
	return p, err
}

// ended reports whether s has forgotten inner, or will when calls have returned.
func (s *Space) ended(inner any) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for g := s.oldest; g != nil; g = g.next {
		if slices.Contains(g.ended, inner) {
			return true
		}
	}
	return s.entries[inner] == nil
}

// TestClosedByItsBirth has listeners close what they are told of, before the call
// returns that made it.
func TestClosedByItsBirth(t *testing.T) {
	above := NewSpace(Hooks{})
	below := NewSpace(Hooks{DirectTransport: func(d *DirectTransport) mafalda.DirectTransport { return &slowTransport{d, t, above} }})
	_, r := newRooms(t, above.SFU(below.SFU(newInner(t))))
	d := direct(t, r)
	var told mafalda.Producer
	d.Observer().NewProducer.On(func(p mafalda.Producer) {
		told = p
		assert.NoError(t, p.Close())
	})
	for i := range 3 {
		p, err := d.Produce(t.Context(), audio(uint32(i+1)))
		require.NoError(t, err)
		require.True(t, p == told, "one object, two values")
		<-p.Done()
	}
	eventually(t, "the Worker, the Router and the Transport are left", func() bool { return above.size() == 3 && below.size() == 3 })
}

// TestEndOfWhatWasClosed waits for the end of what was closed before it was met.
func TestEndOfWhatWasClosed(t *testing.T) {
	_, r := newRooms(t, newInner(t))
	d := direct(t, r)
	require.NoError(t, d.Close())
	outer := NewSpace(Hooks{}).DirectTransport(d).(*DirectTransport)
	ended := make(chan struct{})
	outer.OnEnd(func() { close(ended) })
	<-ended
	outer.OnEnd(func() { ended = nil })
	require.Nil(t, ended, "at once")
}
