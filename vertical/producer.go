package vertical

import (
	"cmp"
	"context"
	"fmt"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/wrap"
)

// A producerTag is the app data of an inner Producer or DataProducer. The far end
// of a pipe has that of the near one.
type producerTag struct {
	t     *carrier
	id    string // that the application gave, or empty
	data  any
	media made[*producer]
	bytes made[*dataProducer]
}

// A producer is a Producer on a virtual Router. Its inner one has an id of its
// own, since other virtual Workers may have given the same one.
type producer struct {
	*wrap.Producer
	appData
	// Constant after its constructor.
	t    *carrier
	rr   *realRouter
	id   string
	born era // with whose codecs it can be made

	// Guarded by s.mu.
	consumers []*consumer // in order of creation, until they have ended
	pipes     pipes
}

func (s *SFU) newProducer(pass *wrap.Producer) mafalda.Producer {
	inner := pass.Inner()
	tag, ok := inner.AppData().(*producerTag)
	if !ok {
		return pass // somebody else's
	}
	return tag.media.get(func() *producer {
		p := &producer{Producer: pass, t: tag.t, rr: tag.t.rr, id: cmp.Or(tag.id, inner.ID()), pipes: pipes{}}
		p.v = tag.data
		p.born = p.rr.eraOf(inner.RTPParameters())
		s.mu.Lock()
		p.t.producers = append(p.t.producers, p)
		p.t.r.producers[p.id] = p
		p.home().ids[p.id] = true
		s.mu.Unlock()
		atEnd(p, &p.Observer().Close, p.ended)
		return p
	})
}

func (p *producer) ID() string    { return p.id }
func (p *producer) home() *worker { return p.t.r.w }

// ended is called before anybody else hears of the end of p.
func (p *producer) ended() {
	s := p.home().s
	s.mu.Lock()
	defer s.mu.Unlock()
	p.t.producers = without(p.t.producers, p)
	if p.t.r.producers[p.id] == p {
		delete(p.t.r.producers, p.id)
	}
	delete(p.home().ids, p.id)
}

func (p *producer) orphansLocked(c *wrap.Closing) {
	for _, x := range p.consumers {
		if !x.Closed() {
			x.CloseIn(c, &x.Events().ProducerClose)
		}
	}
}

func (p *producer) Close() error {
	s := p.home().s
	var c wrap.Closing
	s.mu.Lock()
	if p.Closed() {
		s.mu.Unlock()
		return nil
	}
	p.CloseIn(&c, nil)
	p.orphansLocked(&c)
	s.mu.Unlock()
	return c.Play()
}

func (p *producer) Dump(ctx context.Context) (mafalda.ProducerDump, error) {
	d, err := p.Producer.Dump(ctx)
	d.ID = p.id
	return d, err
}

// reach returns how p can be consumed on a real Router, as [pipes.reach].
func (p *producer) reach(ctx context.Context, to *realRouter) (*outlet, error) {
	from, err := p.pipes.reach(ctx, p.rr, to, mafalda.PipeToRouterOptions{ProducerID: p.Inner().ID()}, p.born)
	if err != nil && p.Closed() {
		err = fmt.Errorf("no Producer %q: %w", p.id, mafalda.ErrNotFound)
	}
	return from, err
}
