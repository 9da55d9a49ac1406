package mafalda

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A foreignRouter is of another implementation, which misbehaves.
type foreignRouter struct {
	Router
	create func(context.Context, PipeTransportOptions) (PipeTransport, error)
}

func (r *foreignRouter) CreatePipeTransport(ctx context.Context, o PipeTransportOptions) (PipeTransport, error) {
	return r.create(ctx, o)
}

// A foreignPipe is a PipeTransport of such a Router. What is nil is as usual.
type foreignPipe struct {
	PipeTransport
	tuple       func() TransportTuple
	connect     func() error
	produce     func(ProducerOptions) (Producer, error)
	consume     func() (Consumer, error)
	produceData func() (DataProducer, error)
}

func (p *foreignPipe) Tuple() TransportTuple {
	if p.tuple != nil {
		return p.tuple()
	}
	return p.PipeTransport.Tuple()
}

func (p *foreignPipe) Connect(ctx context.Context, o PipeTransportConnectOptions) error {
	if p.connect != nil {
		return p.connect()
	}
	return p.PipeTransport.Connect(ctx, o)
}

func (p *foreignPipe) Produce(ctx context.Context, o ProducerOptions) (Producer, error) {
	if p.produce != nil {
		return p.produce(o)
	}
	return p.PipeTransport.Produce(ctx, o)
}

func (p *foreignPipe) ProduceData(ctx context.Context, o DataProducerOptions) (DataProducer, error) {
	if p.produceData != nil {
		return p.produceData()
	}
	return p.PipeTransport.ProduceData(ctx, o)
}

func (p *foreignPipe) Consume(ctx context.Context, o ConsumerOptions) (Consumer, error) {
	if p.consume != nil {
		return p.consume()
	}
	return p.PipeTransport.Consume(ctx, o)
}

// TestPipeToForeignRouters: a Router that fails in any way, or says that it did
// not, leaves nothing behind and may be tried again.
func TestPipeToForeignRouters(t *testing.T) {
	failed := errors.New("foreign")
	for name, c := range map[string]struct {
		want   error
		panics bool
		data   bool
		back   bool // the pipe is from it
		pipe   foreignPipe
		create func(context.Context, PipeTransportOptions) (PipeTransport, error)
	}{
		"no transport":       {want: failed, create: func(context.Context, PipeTransportOptions) (PipeTransport, error) { return nil, failed }},
		"nil":                {want: ErrUnavailable, create: func(context.Context, PipeTransportOptions) (PipeTransport, error) { return nil, nil }},
		"nil from it":        {want: ErrUnavailable, back: true, create: func(context.Context, PipeTransportOptions) (PipeTransport, error) { return nil, nil }},
		"panic":              {panics: true, create: func(context.Context, PipeTransportOptions) (PipeTransport, error) { panic("foreign") }},
		"no address":         {want: ErrInvalidArgument, pipe: foreignPipe{tuple: func() TransportTuple { return TransportTuple{} }}},
		"no port":            {want: ErrInvalidArgument, pipe: foreignPipe{tuple: func() TransportTuple { return TransportTuple{LocalAddress: "127.0.0.1"} }}},
		"not connected":      {want: failed, pipe: foreignPipe{connect: func() error { return failed }}},
		"connect panics":     {panics: true, pipe: foreignPipe{connect: func() error { panic("foreign") }}},
		"no Producer":        {want: failed, pipe: foreignPipe{produce: func(ProducerOptions) (Producer, error) { return nil, failed }}},
		"Producer of nil":    {want: ErrUnavailable, pipe: foreignPipe{produce: func(ProducerOptions) (Producer, error) { return nil, nil }}},
		"Consumer of nil":    {want: ErrUnavailable, back: true, pipe: foreignPipe{consume: func() (Consumer, error) { return nil, nil }}},
		"DataProducer, none": {want: failed, data: true, pipe: foreignPipe{produceData: func() (DataProducer, error) { return nil, failed }}},
		"DataProducer, nil":  {want: ErrUnavailable, data: true, pipe: foreignPipe{produceData: func() (DataProducer, error) { return nil, nil }}},
	} {
		t.Run(name, func(t *testing.T) {
			s := testSFU(t)
			routers := testRouters(t, s, 2)
			bad := true
			foreign := &foreignRouter{Router: routers[1]}
			foreign.create = func(ctx context.Context, o PipeTransportOptions) (PipeTransport, error) {
				if bad && c.create != nil {
					return c.create(ctx, o)
				}
				inner, err := foreign.Router.CreatePipeTransport(ctx, o)
				if err != nil || !bad {
					return inner, err
				}
				p := c.pipe
				p.PipeTransport = inner
				return &p, nil
			}
			from, to := routers[0], Router(foreign)
			if c.back {
				from, to = to, from
			}
			o := PipeToRouterOptions{Router: to}
			d := testDirect(t, from)
			p := testProduce(t, d, audioOptions(1111))
			o.ProducerID = p.ID()
			if c.data {
				data, err := d.ProduceData(t.Context(), DataProducerOptions{})
				require.NoError(t, err)
				o.ProducerID, o.DataProducerID = "", data.ID()
			}
			pipe := func() (err error) {
				defer func() {
					if recover() != nil {
						err = errPanicked
					}
				}()
				_, err = PipeRouters(t.Context(), from, to, o)
				return err
			}
			want := c.want
			if c.panics {
				want = errPanicked
			}
			for range 2 {
				require.ErrorIs(t, pipe(), want)
			}
			for _, r := range routers {
				for _, tr := range r.Transports() {
					assert.Empty(t, tr.Consumers(), "Consumers are left")
					assert.Empty(t, tr.DataConsumers(), "DataConsumers are left")
					if tr.Type() == TransportTypePipe { // made in time, it may stay
						require.NoError(t, tr.Close())
					}
				}
			}
			pipes.mu.Lock()
			left := pipes.pairs[pipeKey{from, to}]
			pipes.mu.Unlock()
			assert.Nil(t, left, "the pair is left")
			bad = false
			require.NoError(t, pipe())
		})
	}
}

// TestPipeOverAnotherPair has an end of a pair say that it is closed before it is,
// while the Routers are open: the Worker has died on which a Router has that one.
func TestPipeOverAnotherPair(t *testing.T) {
	for _, always := range []bool{false, true} {
		s := testSFU(t)
		routers := testRouters(t, s, 2)
		made := 0
		foreign := &foreignRouter{Router: routers[1]}
		foreign.create = func(ctx context.Context, o PipeTransportOptions) (PipeTransport, error) {
			inner, err := foreign.Router.CreatePipeTransport(ctx, o)
			made++
			if made > 1 && !always {
				return inner, err
			}
			return &foreignPipe{PipeTransport: inner, produce: func(ProducerOptions) (Producer, error) { return nil, ErrClosed }}, err
		}
		p := testProduce(t, testDirect(t, routers[0]), audioOptions(1111))
		_, err := PipeRouters(t.Context(), routers[0], foreign, PipeToRouterOptions{ProducerID: p.ID(), Router: foreign})
		if always {
			require.ErrorIs(t, err, ErrClosed)
			require.Equal(t, 1+renewals, made)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, 2, made)
		require.Len(t, routers[1].Transports(), 1, "the first one is closed")
	}
}

var errPanicked = errors.New("panicked")
