package vertical_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/vertical"
)

// inTime fails unless f returns.
func inTime(t testing.TB, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { // ends with f
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Errorf("%s waits for itself", what)
	}
}

// TestCallsFromWithinAPipe makes calls on the goroutine that makes a pipe, as a
// listener does for which the end of something else was left to it. The pipe and
// the calls need the codecs of different times.
func TestCallsFromWithinAPipe(t *testing.T) {
	video := videoOf(3)
	for name, call := range map[string]func(t *testing.T, r *room, from, to mafalda.Transport, old mafalda.Producer){
		"UpdateMediaCodecs": func(t *testing.T, r *room, _, _ mafalda.Transport, _ mafalda.Producer) {
			assert.NoError(t, r.router.UpdateMediaCodecs(t.Context(), bothCodecs))
		},
		"Produce": func(t *testing.T, _ *room, _, to mafalda.Transport, _ mafalda.Producer) {
			p, err := to.Produce(t.Context(), video) // what the pipe needs has no video
			if assert.NoError(t, err) {
				assert.NoError(t, p.Close())
			}
		},
		"Consume": func(t *testing.T, r *room, from, to mafalda.Transport, _ mafalda.Producer) {
			p, err := from.Produce(t.Context(), video)
			if assert.NoError(t, err) {
				_, err = r.consume(t.Context(), to, p)
				assert.NoError(t, err)
			}
		},
		"Consume what is older": func(t *testing.T, r *room, _, to mafalda.Transport, old mafalda.Producer) {
			_, err := r.consume(t.Context(), to, old)
			assert.NoError(t, err)
		},
	} {
		for before, left := range map[string]bool{"before": true, "after": false} {
			t.Run(name+" "+before, func(t *testing.T) {
				r, g := newGated(t, workers(2))
				from, to := r.direct(t), r.direct(t)
				old := produceSSRC(t, from, 7)
				require.NoError(t, r.router.UpdateMediaCodecs(t.Context(), bothCodecs[:1]))
				p := produce(t, from)
				require.NoError(t, r.router.UpdateMediaCodecs(t.Context(), bothCodecs))
				g.at("PipeToRouter", func(pipe func()) {
					if !left {
						pipe()
					}
					inTime(t, name, func() { call(t, r, from, to, old) })
					if left {
						pipe()
					}
				})
				c, err := r.consume(t.Context(), to, p)
				require.NoError(t, err)
				require.False(t, c.Closed())
				_, err = to.Produce(t.Context(), video)
				require.NoError(t, err, "the codecs are those of now")
				eventually(t, "one pipe for each", func() bool { return pipeProducers(r) == r.sfu.Usage().Pipes })
			})
		}
	}
}

// pipeProducers counts the Producers at the far ends of pipes.
func pipeProducers(r *room) int {
	n := 0
	for _, w := range r.inner.Workers() {
		for _, x := range w.Routers() {
			for _, t := range x.Transports() {
				if t.Type() == mafalda.TransportTypePipe {
					n += len(t.Producers())
				}
			}
		}
	}
	return n
}

// TestWhoFailsIsTheTransport: what goes wrong while a real Router gets the codecs that
// a call needs is the error of that call.
func TestWhoFailsIsTheTransport(t *testing.T) {
	r, g := newGated(t, workers(2))
	from, to := r.direct(t), r.direct(t)
	require.NoError(t, r.router.UpdateMediaCodecs(t.Context(), bothCodecs[:1]))
	p := produce(t, from)
	require.NoError(t, r.router.UpdateMediaCodecs(t.Context(), bothCodecs))
	g.at("PipeToRouter", func(pipe func()) { // for which there is no video
		g.at("UpdateMediaCodecs", func(update func()) {
			assert.NoError(t, vertical.Kill(to, errors.New("planted")))
			<-to.Done()
			update()
		})
		_, err := to.Produce(t.Context(), videoOf(3))
		assert.ErrorIs(t, err, mafalda.ErrClosed)
		if e, ok := errors.AsType[*mafalda.Error](err); assert.True(t, ok) {
			assert.Equal(t, []string{"Produce", "DirectTransport", to.ID()}, []string{e.Op, e.Object, e.ID})
		}
		pipe()
	})
	_, err := r.consume(t.Context(), to, p)
	require.Error(t, err)
}

// TestUpdateWhilePiping updates the codecs while a pipe is made with those of before.
func TestUpdateWhilePiping(t *testing.T) {
	r, g := newGated(t, workers(2))
	from, to := r.direct(t), r.direct(t)
	p := produce(t, from)
	g.at("PipeToRouter", func(pipe func()) {
		inTime(t, "UpdateMediaCodecs", func() {
			assert.NoError(t, r.router.UpdateMediaCodecs(t.Context(), bothCodecs[1:]))
		})
		pipe() // with the wrong ones, so that it has to be done again
	})
	caps, err := mafalda.GenerateRouterRTPCapabilities(bothCodecs)
	require.NoError(t, err)
	_, err = to.Consume(t.Context(), mafalda.ConsumerOptions{ProducerID: p.ID(), RTPCapabilities: caps})
	require.NoError(t, err)
	_, err = to.Produce(t.Context(), audioOf(1))
	require.ErrorIs(t, err, errors.ErrUnsupported)
}

// TestUpdateWhileProducing updates the codecs when a Producer is there and was not
// heard of yet: who consumes it elsewhere needs those it was made with.
func TestUpdateWhileProducing(t *testing.T) {
	r, g := newGated(t, workers(2))
	from, to := r.direct(t), r.direct(t)
	caps := r.router.RTPCapabilities()
	g.at("NewProducer", func(func()) {
		inTime(t, "UpdateMediaCodecs", func() {
			assert.NoError(t, r.router.UpdateMediaCodecs(t.Context(), bothCodecs[1:]))
		})
	})
	p := produce(t, from)
	_, err := to.Consume(t.Context(), mafalda.ConsumerOptions{ProducerID: p.ID(), RTPCapabilities: caps})
	require.NoError(t, err)
}

// TestUpdateWhileARouterIsCreated updates the codecs on the goroutine that creates
// a real Router.
func TestUpdateWhileARouterIsCreated(t *testing.T) {
	for _, early := range []bool{true, false} {
		r, g := newGated(t, workers(1))
		g.at("CreateRouter", func(create func()) {
			if !early {
				create()
			}
			inTime(t, "UpdateMediaCodecs", func() {
				assert.NoError(t, r.router.UpdateMediaCodecs(t.Context(), bothCodecs[1:]))
			})
			if early {
				create()
			}
		})
		_, err := r.direct(t).Produce(t.Context(), audioOf(1))
		require.ErrorIs(t, err, errors.ErrUnsupported)
	}
}

// TestDeathWhileARouterIsCreated lets a real Worker die at the birth of a Router
// there: that it died is told on the goroutine that creates the Router, and who
// hears of it wants a Transport of that Router.
func TestDeathWhileARouterIsCreated(t *testing.T) {
	r := newRoom(t, workers(1))
	one := r.direct(t)
	other := newRouter(t, r.worker)
	inner := r.inner.Workers()[0]
	inner.Observer().NewRouter.On(func(mafalda.Router) {
		assert.NoError(t, vertical.Kill(one, errors.New("planted")))
		<-one.Done() // and what remains has to wait for this birth
	})
	heard := make(chan struct{})
	r.sfu.Events().WorkerDied.On(func(vertical.WorkerDied) {
		defer close(heard)
		inTime(t, "CreateDirectTransport", func() {
			_, err := other.CreateDirectTransport(t.Context(), mafalda.DirectTransportOptions{})
			assert.NoError(t, err)
		})
	})
	_, err := other.CreateDirectTransport(t.Context(), mafalda.DirectTransportOptions{})
	require.NoError(t, err)
	<-heard
}

// TestDeathWhilePiping lets a real Worker die while something is piped from it: the
// end of what is left there is told on the goroutine that makes the pipe, and who
// hears of it goes on elsewhere.
func TestDeathWhilePiping(t *testing.T) {
	r := newRoom(t, workers(3))
	from, to, third := r.direct(t), r.direct(t), r.direct(t)
	require.False(t, vertical.SameWorker(from, to))
	require.False(t, vertical.SameWorker(third, to))
	_, err := r.consume(t.Context(), to, produceSSRC(t, from, 1)) // so that there is a pair of PipeTransports
	require.NoError(t, err)
	last := r.direct(t)
	for !vertical.SameWorker(last, from) {
		last = r.direct(t)
	}
	later := produceSSRC(t, from, 2)
	there := produceSSRC(t, third, 3)
	caps := r.router.RTPCapabilities()
	inner := r.inner.Workers()[0].Routers()[0]
	for _, tr := range inner.Transports() {
		if tr.Type() == mafalda.TransportTypePipe {
			before := tr.Consumers()[0]
			tr.Observer().NewConsumer.On(func(mafalda.Consumer) {
				assert.NoError(t, vertical.Kill(from, errors.New("planted")))
				<-before.Done() // and what remains has to wait for this birth
			})
		}
	}
	heard := make(chan struct{})
	last.Events().RouterClose.On(func(struct{}) {
		defer close(heard)
		inTime(t, "a listener", func() {
			assert.NoError(t, r.router.UpdateMediaCodecs(t.Context(), bothCodecs[1:]))
			for range 3 {
				_, err := r.router.CreateDirectTransport(t.Context(), mafalda.DirectTransportOptions{})
				assert.NoError(t, err)
			}
			_, err := to.Consume(t.Context(), mafalda.ConsumerOptions{ProducerID: there.ID(), RTPCapabilities: caps})
			assert.NoError(t, err)
		})
	})
	_, err = to.Consume(t.Context(), mafalda.ConsumerOptions{ProducerID: later.ID(), RTPCapabilities: caps})
	require.Error(t, err)
	<-heard
}

// The codecs change under a Produce twice: it is tried again, and what it made is heard
// of when the codecs of the second time are gone.
func TestUpdateWhileProducingAgain(t *testing.T) {
	r, g := newGated(t, workers(2))
	from, to := r.direct(t), r.direct(t)
	caps := r.router.RTPCapabilities()
	require.NoError(t, r.router.UpdateMediaCodecs(t.Context(), bothCodecs[:1]))
	p := produce(t, from)
	require.NoError(t, r.router.UpdateMediaCodecs(t.Context(), bothCodecs))
	var v mafalda.Producer
	g.at("PipeToRouter", func(pipe func()) { // for which there is no video
		g.at("NewProducer", func(func()) {
			inTime(t, "UpdateMediaCodecs", func() {
				assert.NoError(t, r.router.UpdateMediaCodecs(t.Context(), bothCodecs[:1]))
			})
		})
		var err error
		v, err = to.Produce(t.Context(), videoOf(3))
		assert.NoError(t, err)
		pipe()
	})
	_, err := r.consume(t.Context(), to, p)
	require.NoError(t, err)
	require.NotNil(t, v)
	_, err = from.Consume(t.Context(), mafalda.ConsumerOptions{ProducerID: v.ID(), RTPCapabilities: caps})
	require.NoError(t, err)
}
