package mafalda

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"sync"
)

// pipes are the pairs of PipeTransports that PipeToRouter has made.
var pipes = pipePairs{pairs: map[pipeKey]*pipePair{}}

// pipePairs has the pair of each two Routers, open or being made.
type pipePairs struct {
	mu    sync.Mutex
	pairs map[pipeKey]*pipePair // guarded by mu; under one order of the two
}

type pipeKey struct{ from, to Router }

// A pipePair are two connected PipeTransports.
type pipePair struct {
	key   pipeKey
	ready chan struct{} // closed by who makes the pair

	// Constant once ready is closed.
	from, to PipeTransport
	err      error
}

// renewals is how many pairs may end under one call.
const renewals = 3

// over has f pipe something over the pair on two Routers. If an end has ended of
// which nothing was heard yet, though the Routers are open, it is another pair the
// next time.
func (g *pipePairs) over(ctx context.Context, from, to Router, o *PipeToRouterOptions, f func(local, remote PipeTransport) error) error {
	for i := 0; ; i++ {
		p, err := g.join(ctx, from, to, o)
		if err == nil {
			local, remote := p.from, p.to
			if p.key.from != from {
				local, remote = remote, local
			}
			err = f(local, remote)
		}
		if i == renewals || !errors.Is(err, ErrClosed) || from.Closed() || to.Closed() {
			return err
		}
		if p != nil {
			g.forget(p)
			p.close()
		}
	}
}

// join returns the pair on two Routers, which it makes first if there is none. A
// pair that can't be made is forgotten.
func (g *pipePairs) join(ctx context.Context, from, to Router, o *PipeToRouterOptions) (*pipePair, error) {
	if !reflect.ValueOf(from).Comparable() || !reflect.ValueOf(to).Comparable() {
		return nil, invalid("a Router of type %T or %T can't be compared", from, to)
	}
	for {
		p, mine := g.find(from, to)
		if mine {
			g.make(ctx, p, o)
		}
		select {
		case <-p.ready:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		switch {
		case p.err == nil:
			return p, nil
		case mine || !(errors.Is(p.err, context.Canceled) || errors.Is(p.err, context.DeadlineExceeded)):
			return nil, p.err
		}
		// The context was that of another caller.
	}
}

// find returns the pair of two Routers. It is the caller's to make if mine is
// true.
func (g *pipePairs) find(from, to Router) (p *pipePair, mine bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, k := range []pipeKey{{from, to}, {to, from}} {
		if p := g.pairs[k]; p != nil {
			return p, false
		}
	}
	p = &pipePair{key: pipeKey{from, to}, ready: make(chan struct{})}
	g.pairs[p.key] = p
	return p, true
}

func (g *pipePairs) forget(p *pipePair) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pairs[p.key] == p {
		delete(g.pairs, p.key)
	}
}

// make creates and connects the two ends of p, and sees to it that they close
// together.
func (g *pipePairs) make(ctx context.Context, p *pipePair, o *PipeToRouterOptions) {
	defer close(p.ready)
	end := func(struct{}) {
		g.forget(p)
		p.close()
	}
	p.err = errors.New("making a pipe panicked") // who waits is not left alone
	defer func() {
		if p.err != nil {
			end(struct{}{})
		}
	}()
	if p.err = p.connect(ctx, o); p.err == nil {
		p.from.Observer().Close.On(end)
		p.to.Observer().Close.On(end)
		if p.from.Closed() || p.to.Closed() { // before that
			p.err = ErrClosed
		}
	}
}

func (p *pipePair) connect(ctx context.Context, o *PipeToRouterOptions) (err error) {
	t := o.transportOptions()
	if p.from, err = made(p.key.from.CreatePipeTransport(ctx, t)); err != nil {
		p.from = nil // not a nil pointer in an interface
		return err
	}
	if p.to, err = made(p.key.to.CreatePipeTransport(ctx, t)); err != nil {
		p.to = nil
		return err
	}
	if o.ListenInfo == nil && !o.EnableSRTP {
		if done, err := connectInMemory(ctx, p.from, p.to); done || err != nil {
			return err
		}
	}
	if err := connectPipe(ctx, p.from, p.to); err != nil {
		return err
	}
	return connectPipe(ctx, p.to, p.from)
}

// made returns what an implementation made, which may be foreign and have made
// nothing without saying why.
func made[T comparable](v T, err error) (T, error) {
	var nothing T
	if err == nil && v == nothing {
		err = fmt.Errorf("nil instead of a %v: %w", reflect.TypeFor[T](), ErrUnavailable)
	}
	return v, err
}

// connectPipe tells t where the other one is.
func connectPipe(ctx context.Context, t, other PipeTransport) error {
	tuple := other.Tuple()
	ip, err := netip.ParseAddr(tuple.LocalAddress)
	if err != nil {
		return invalid("the PipeTransports can't reach %q: it is no IP", tuple.LocalAddress)
	}
	return t.Connect(ctx, PipeTransportConnectOptions{
		IP: ip, Port: tuple.LocalPort, SRTPParameters: other.SRTPParameters(),
	})
}

func (p *pipePair) close() {
	for _, t := range []PipeTransport{p.from, p.to} {
		if t != nil {
			_ = t.Close() // nothing can be done about it
		}
	}
}

// A pipeMirror does to a pipe Producer what happens to its pipe Consumer.
type pipeMirror struct {
	near Consumer
	far  Producer

	mu      sync.Mutex
	paused  bool // guarded by mu; what far was told last
	busy    bool // guarded by mu; a goroutine is telling it
	changed bool // guarded by mu; and has to look again
}

// start begins to mirror, and brings both to one state.
func (m *pipeMirror) start(ctx context.Context) error {
	pause := func(struct{}) {
		// The error is that far is closed, or out of reach, and then so is near.
		_ = m.pause(context.Background())
	}
	m.near.Observer().Pause.On(pause)
	m.near.Observer().Resume.On(pause)
	m.near.Observer().Close.On(func(struct{}) { m.close() })
	m.far.Observer().Close.On(func(struct{}) { m.close() })
	if m.near.Closed() || m.far.Closed() {
		m.close()
		return nil
	}
	return m.pause(ctx)
}

func (m *pipeMirror) close() {
	_, _ = m.near.Close(), m.far.Close() // nothing can be done about it
}

// pause pauses or resumes far, as near is by now. Of several goroutines, one
// does it for all.
func (m *pipeMirror) pause(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.busy {
		m.changed = true
		return nil
	}
	m.busy = true
	defer func() { m.busy = false }()
	for {
		m.changed = false
		m.mu.Unlock()
		paused := m.near.Paused() || m.near.ProducerPaused()
		m.mu.Lock()
		if m.changed {
			continue
		}
		if paused == m.paused {
			return nil
		}
		m.mu.Unlock()
		err := error(nil)
		if paused {
			err = m.far.Pause(ctx)
		} else {
			err = m.far.Resume(ctx)
		}
		m.mu.Lock()
		if err != nil {
			return err
		}
		m.paused = paused
		if !m.changed {
			return nil
		}
	}
}
