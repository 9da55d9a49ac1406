package wrap

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/mafalda-sfu/mafalda"
)

// A journal keeps names in the order in which they are written.
type journal struct {
	mu    sync.Mutex
	names []string // guarded by mu
}

func (j *journal) write(name string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.names = append(j.names, name)
}

func (j *journal) read() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.names)
}

func note(j *journal, e *mafalda.Event[struct{}], name string) {
	e.On(func(struct{}) { j.write(name) })
}

// A virtualRouter has Transports on two inner Routers of two Workers.
type virtualRouter struct {
	Life
	observer mafalda.RouterObserver
	s        *Space
	inner    [2]mafalda.Router

	mu         sync.Mutex
	transports []*DirectTransport // guarded by mu
}

func newVirtualRouter(t testing.TB) *virtualRouter {
	r := &virtualRouter{s: NewSpace(Hooks{})}
	r.Init()
	r.Born()
	sfu := newInner(t)
	for i := range r.inner {
		_, r.inner[i] = newRooms(t, sfu)
	}
	return r
}

// transport adds a Transport on the inner Router i.
func (r *virtualRouter) transport(t testing.TB, i int) *DirectTransport {
	d := r.s.DirectTransport(direct(t, r.inner[i])).(*DirectTransport)
	r.mu.Lock()
	r.transports = append(r.transports, d)
	r.mu.Unlock()
	r.observer.NewTransport.Emit(d)
	d.Born()
	return d
}

func (r *virtualRouter) Close() error {
	var c Closing
	r.mu.Lock()
	if r.Closed() {
		r.mu.Unlock()
		return nil
	}
	c.Begin(&r.Life)
	for _, t := range r.transports {
		t.CloseIn(&c, &t.Events().RouterClose)
	}
	c.Emit(&r.observer.Close)
	c.End(&r.Life)
	r.mu.Unlock()
	return c.Play()
}

// TestVirtualParent closes a Router that has one Transport on each of two
// Workers, where the Consumer on one gets its media through a pipe.
func TestVirtualParent(t *testing.T) {
	r := newVirtualRouter(t)
	in, out := r.transport(t, 0), r.transport(t, 1)
	p, own := pair(t, r.inner[0], in, 1)
	_, err := r.inner[0].PipeToRouter(t.Context(), mafalda.PipeToRouterOptions{ProducerID: p.ID(), Router: r.inner[1]})
	require.NoError(t, err)
	far, err := out.Consume(t.Context(), mafalda.ConsumerOptions{
		ProducerID: p.ID(), RTPCapabilities: r.inner[1].RTPCapabilities(),
	})
	require.NoError(t, err)
	dp, err := in.ProduceData(t.Context(), mafalda.DataProducerOptions{})
	require.NoError(t, err)
	dc, err := in.ConsumeData(t.Context(), mafalda.DataConsumerOptions{DataProducerID: dp.ID()})
	require.NoError(t, err)

	var j journal
	all := []mafalda.Lifetime{p, own, far, dp, dc, in, out, r}
	note(&j, &p.Events().TransportClose, "p transportclose")
	note(&j, &p.Observer().Close, "p close")
	for c, name := range map[mafalda.Consumer]string{own: "own", far: "far"} {
		note(&j, &c.Events().TransportClose, name+" transportclose")
		note(&j, &c.Events().ProducerClose, name+" producerclose")
		note(&j, &c.Observer().Close, name+" close")
	}
	note(&j, &dp.Events().TransportClose, "dp transportclose")
	note(&j, &dp.Observer().Close, "dp close")
	note(&j, &dc.Events().TransportClose, "dc transportclose")
	note(&j, &dc.Events().DataProducerClose, "dc dataproducerclose")
	note(&j, &dc.Observer().Close, "dc close")
	for d, name := range map[*DirectTransport]string{in: "in", out: "out"} {
		note(&j, &d.Events().RouterClose, name+" routerclose")
		note(&j, &d.Observer().Close, name+" close")
	}
	note(&j, &r.observer.Close, "router close")
	p.Events().TransportClose.On(func(struct{}) {
		for _, o := range all {
			assert.True(t, o.Closed(), "all are closed before the first event")
		}
	})

	require.NoError(t, r.Close())
	require.NoError(t, r.Close())
	want := []string{
		"p transportclose", "p close", "own transportclose", "own close",
		"dp transportclose", "dp close", "dc transportclose", "dc close", "in routerclose", "in close",
		"far transportclose", "far close", "out routerclose", "out close", "router close",
	}
	require.Equal(t, want, j.read())
	for _, o := range all {
		<-o.Done()
	}
	require.False(t, r.inner[0].Closed())
	require.ErrorIs(t, p.Pause(t.Context()), mafalda.ErrClosed)
	require.Empty(t, in.Producers())
	eventually(t, "the map is empty", func() bool { return r.s.size() == 0 })
	require.Equal(t, want, j.read())
}

// TestVirtualParentOfWorkers closes whole inner Workers as parts of one tree.
func TestVirtualParentOfWorkers(t *testing.T) {
	x := New(newInner(t))
	w, r := newRooms(t, x)
	listen := mafalda.ListenInfo{Protocol: mafalda.ProtocolUDP, IP: loopback}
	server, err := w.CreateWebRTCServer(t.Context(), mafalda.WebRTCServerOptions{ListenInfos: []mafalda.ListenInfo{listen}})
	require.NoError(t, err)
	o, err := r.CreateAudioLevelObserver(t.Context(), mafalda.AudioLevelObserverOptions{})
	require.NoError(t, err)
	d := direct(t, r)
	var j journal
	note(&j, &d.Events().RouterClose, "transport routerclose")
	note(&j, &d.Observer().Close, "transport close")
	note(&j, &o.Events().RouterClose, "observer routerclose")
	note(&j, &o.Observer().Close, "observer close")
	note(&j, &r.Events().WorkerClose, "router workerclose")
	note(&j, &r.Observer().Close, "router close")
	note(&j, &server.Events().WorkerClose, "server workerclose")
	note(&j, &server.Observer().Close, "server close")
	note(&j, &w.Observer().Close, "worker close")
	var c Closing
	w.(*Worker).CloseIn(&c)
	require.NoError(t, c.Play())
	require.Equal(t, []string{
		"transport routerclose", "transport close", "observer routerclose", "observer close",
		"router workerclose", "router close", "server workerclose", "server close", "worker close",
	}, j.read())
	require.True(t, w.(*Worker).Inner().Closed())
}

// TestCloseInAlone closes single objects for a cause that only the caller knows.
func TestCloseInAlone(t *testing.T) {
	s := NewSpace(Hooks{})
	w, r := newRooms(t, s.SFU(newInner(t)))
	d := direct(t, r)
	p, c := pair(t, r, d, 1)
	dp, err := d.ProduceData(t.Context(), mafalda.DataProducerOptions{})
	require.NoError(t, err)
	dc, err := d.ConsumeData(t.Context(), mafalda.DataConsumerOptions{DataProducerID: dp.ID()})
	require.NoError(t, err)
	o, err := r.CreateActiveSpeakerObserver(t.Context(), mafalda.ActiveSpeakerObserverOptions{})
	require.NoError(t, err)
	listen := mafalda.ListenInfo{Protocol: mafalda.ProtocolUDP, IP: loopback}
	server, err := w.CreateWebRTCServer(t.Context(), mafalda.WebRTCServerOptions{ListenInfos: []mafalda.ListenInfo{listen}})
	require.NoError(t, err)
	for _, x := range []struct {
		object mafalda.Lifetime
		cause  *mafalda.Event[struct{}]
	}{
		{c, &c.Events().ProducerClose},
		{p, &p.Events().TransportClose},
		{dc, &dc.Events().DataProducerClose},
		{dp, nil},
		{o, &o.Events().RouterClose},
		{server, &server.Events().WorkerClose},
		{r, &r.Events().WorkerClose},
	} {
		caused := false
		if x.cause != nil {
			x.cause.On(func(struct{}) { caused = true })
		}
		var c Closing
		x.object.(interface {
			CloseIn(*Closing, *mafalda.Event[struct{}])
		}).CloseIn(&c, x.cause)
		require.NoError(t, c.Play())
		require.Equal(t, x.cause != nil, caused, "%T", x.object)
		<-x.object.Done()
	}
	require.False(t, w.Closed())
}

// TestVirtualBirthFirst closes the parent while a birth is told.
func TestVirtualBirthFirst(t *testing.T) {
	r := newVirtualRouter(t)
	var j journal
	r.observer.NewTransport.On(func(d mafalda.Transport) {
		closed := make(chan error)
		go func() { closed <- r.Close() }() // ends when it is received from
		require.NoError(t, <-closed)
		require.True(t, d.Closed())
		j.write("born")
		note(&j, &d.Events().RouterClose, "routerclose")
		note(&j, &d.Observer().Close, "close")
	})
	note(&j, &r.observer.Close, "router close")
	d := r.transport(t, 0)
	<-d.Done()
	<-r.Done()
	require.Equal(t, []string{"born", "routerclose", "close", "router close"}, j.read())
}

// TestBornAgain says once more that a birth is over while what waited for it runs.
func TestBornAgain(t *testing.T) {
	var l Life
	l.Init()
	var c Closing
	c.Begin(&l)
	done := false
	c.Do(func() {
		l.Born()
		done = true
	})
	c.End(&l)
	require.NoError(t, c.Play())
	require.False(t, done)
	l.Born()
	require.True(t, done)
	<-l.Done()
}

// TestVirtualChildFirst closes the parent in a listener for the end of a child.
func TestVirtualChildFirst(t *testing.T) {
	r := newVirtualRouter(t)
	for _, byParent := range []bool{false, true} {
		v := &virtualRouter{s: r.s, inner: r.inner}
		v.Init()
		v.Born()
		d := v.transport(t, 0)
		p, c := pair(t, v.inner[0], d, 1)
		var j journal
		p.Observer().Close.On(func(struct{}) {
			require.NoError(t, v.Close())
			require.True(t, d.Closed())
			j.write("producer")
		})
		note(&j, &d.Observer().Close, "transport")
		note(&j, &v.observer.Close, "router")
		if byParent {
			var x Closing
			p.(*Producer).CloseIn(&x, nil)
			require.NoError(t, x.Play())
		} else {
			require.NoError(t, p.Close())
		}
		<-v.Done()
		require.Equal(t, []string{"producer", "transport", "router"}, j.read())
		<-c.Done()
	}
}

// TestVirtualParentAndChildren closes parent and children at the same time: each
// object has one Close, and the parent's is the last.
func TestVirtualParentAndChildren(t *testing.T) {
	r := newVirtualRouter(t)
	for range 100 {
		v := &virtualRouter{s: r.s, inner: r.inner}
		v.Init()
		v.Born()
		d := v.transport(t, 0)
		p, c := pair(t, v.inner[0], d, 1)
		var j journal
		note(&j, &p.Observer().Close, "end")
		note(&j, &c.Observer().Close, "end")
		note(&j, &d.Observer().Close, "transport")
		note(&j, &v.observer.Close, "router")
		var wg sync.WaitGroup
		for _, o := range []mafalda.Lifetime{p, c, d, v} {
			wg.Go(func() { assert.NoError(t, o.Close()) })
		}
		wg.Wait()
		<-v.Done()
		require.Equal(t, []string{"end", "end", "transport", "router"}, j.read())
	}
	eventually(t, "the map is empty", func() bool { return r.s.size() == 0 })
}

// A stubborn object does not close well.
type stubborn struct{ err error }

func (s stubborn) Close() error { return s.err }

func TestPlayReturnsTheFirstError(t *testing.T) {
	var c Closing
	one := errors.New("one")
	done := false
	for _, err := range []error{nil, one, errors.New("two")} {
		c.Inner(stubborn{err})
	}
	c.Emit(nil)
	c.Do(func() { done = true })
	require.Equal(t, one, c.Play())
	require.True(t, done)
}

// TestNoGoroutineIsLeft looks before other tests of the package can hide it.
func TestNoGoroutineIsLeft(t *testing.T) {
	before := goleak.IgnoreCurrent()
	sfu := New(mafalda.New())
	_, r := newRooms(t, sfu)
	pair(t, r, direct(t, r), 1)
	require.NoError(t, sfu.Close())
	goleak.VerifyNone(t, before)
}
