package vertical

import (
	"context"
	"slices"
	"sync"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/wrap"
)

// A consumerTag is the app data of an inner Consumer.
type consumerTag struct {
	t     *carrier
	p     *producer
	from  *outlet
	data  any
	outer made[mafalda.Consumer]
}

// A consumer is a Consumer on a virtual Router.
type consumer struct {
	*wrap.Consumer
	appData
	// Constant after its constructor.
	t    *carrier
	p    *producer
	rr   *realRouter
	from *outlet
}

func (s *SFU) newConsumer(pass *wrap.Consumer) mafalda.Consumer {
	tag, ok := pass.Inner().AppData().(*consumerTag)
	if !ok {
		return pass // somebody else's
	}
	return tag.outer.get(func() mafalda.Consumer {
		c := &consumer{Consumer: pass, t: tag.t, p: tag.p, rr: tag.t.rr, from: tag.from}
		c.v = tag.data
		s.mu.Lock()
		c.p.consumers = append(c.p.consumers, c)
		s.mu.Unlock()
		atEnd(pass, &pass.Observer().Close, c.ended)
		if tag.from.pipe == nil {
			return c
		}
		x := &pipedConsumer{consumer: c}
		x.relay()
		return x
	})
}

func (c *consumer) ProducerID() string { return c.p.id }
func (c *consumer) home() *worker      { return c.t.r.w }

// ended is called before anybody else hears of the end of c.
func (c *consumer) ended() {
	s := c.home().s
	s.mu.Lock()
	c.p.consumers = without(c.p.consumers, c)
	s.mu.Unlock()
	c.from.release()
}

func (c *consumer) Dump(ctx context.Context) (mafalda.ConsumerDump, error) {
	d, err := c.Consumer.Dump(ctx)
	d.ProducerID = c.p.id
	return d, err
}

// A pipedConsumer is a consumer at the far end of a pipe. It tells of the Producer
// what it is itself, not what its copy there is: its score above all, since
// nothing gets lost in the pipe.
type pipedConsumer struct {
	*consumer
	events   mafalda.ConsumerEvents
	observer mafalda.ConsumerObserver

	mu    sync.Mutex
	score mafalda.ConsumerScore // guarded by mu; of the last event
	busy  bool                  // guarded by mu; a goroutine emits scores
	again bool                  // guarded by mu; and has to look again
}

func (c *pipedConsumer) Events() *mafalda.ConsumerEvents     { return &c.events }
func (c *pipedConsumer) Observer() *mafalda.ConsumerObserver { return &c.observer }

// relay makes c emit what the pass-through does, but for scores.
func (c *pipedConsumer) relay() {
	in, out := c.consumer.Events(), &c.events
	always(&in.TransportClose, &out.TransportClose)
	always(&in.ProducerClose, &out.ProducerClose)
	whileOpen(c, &in.ProducerPause, &out.ProducerPause)
	whileOpen(c, &in.ProducerResume, &out.ProducerResume)
	whileOpen(c, &in.LayersChange, &out.LayersChange)
	whileOpen(c, &in.Trace, &out.Trace)
	whileOpen(c, &in.RTP, &out.RTP)
	in.Score.On(func(mafalda.ConsumerScore) { c.rescore() })

	from, to := c.consumer.Observer(), &c.observer
	whileOpen(c, &from.Pause, &to.Pause)
	whileOpen(c, &from.Resume, &to.Resume)
	whileOpen(c, &from.LayersChange, &to.LayersChange)
	whileOpen(c, &from.Trace, &to.Trace)
	always(&from.Close, &to.Close)

	c.score = c.current()
	stop := c.p.Events().Score.On(func([]mafalda.ProducerScore) { c.rescore() })
	from.Close.On(func(struct{}) { stop() })
}

// always relays an event.
func always[T any](from, to *mafalda.Event[T]) { from.On(to.Emit) }

// whileOpen relays an event of an object that must not come after its end.
func whileOpen[T any](o interface{ Closed() bool }, from, to *mafalda.Event[T]) {
	from.On(func(v T) { to.EmitUnlessClosed(o, v) })
}

// Score has the scores of the Producer's streams from where they are received.
func (c *pipedConsumer) Score() mafalda.ConsumerScore {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.score
	s.ProducerScores = slices.Clone(s.ProducerScores)
	return s
}

// current computes the score.
func (c *pipedConsumer) current() mafalda.ConsumerScore {
	s := c.consumer.Score()
	if c.Type() == mafalda.ConsumerTypePipe {
		return s // it is always 10
	}
	s.ProducerScores = make([]int, len(c.from.pipe.media.Encodings))
	for _, p := range c.p.Score() {
		if p.EncodingIdx < len(s.ProducerScores) {
			s.ProducerScores[p.EncodingIdx] = p.Score
		}
	}
	s.ProducerScore = 0
	if len(s.ProducerScores) == 1 {
		s.ProducerScore = s.ProducerScores[0]
	} else if l := c.CurrentLayers(); l != nil && l.SpatialLayer < len(s.ProducerScores) {
		s.ProducerScore = s.ProducerScores[l.SpatialLayer]
	}
	return s
}

// rescore emits the score if it is another one. Of several goroutines, one does
// it for all.
func (c *pipedConsumer) rescore() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.again = true
	if c.busy {
		return
	}
	c.busy = true
	defer func() { c.busy = false }()
	for c.again {
		c.again = false
		c.mu.Unlock()
		s, closed := c.current(), c.Closed()
		c.mu.Lock()
		if closed {
			return
		}
		if s.Score == c.score.Score && s.ProducerScore == c.score.ProducerScore &&
			slices.Equal(s.ProducerScores, c.score.ProducerScores) {
			continue
		}
		c.score = s
		c.mu.Unlock()
		s.ProducerScores = slices.Clone(s.ProducerScores) // the listener's
		c.events.Score.EmitUnlessClosed(c, s)
		c.observer.Score.EmitUnlessClosed(c, s)
		c.mu.Lock()
	}
}

// Dump has the encodings of the Producer itself.
func (c *pipedConsumer) Dump(ctx context.Context) (mafalda.ConsumerDump, error) {
	d, err := c.consumer.Dump(ctx)
	if err != nil {
		return d, err
	}
	p, err := c.p.Dump(ctx)
	if err != nil {
		return d, nil // it is closing, and c with it
	}
	for i := range d.ConsumableRTPEncodings {
		if i < len(p.RTPMapping.Encodings) {
			d.ConsumableRTPEncodings[i].SSRC = p.RTPMapping.Encodings[i].MappedSSRC
		}
	}
	return d, nil
}

// Stats has the record of the Producer's stream from where it is received.
func (c *pipedConsumer) Stats(ctx context.Context) ([]mafalda.RTPStreamStats, error) {
	stats, err := c.consumer.Stats(ctx)
	if err != nil || len(stats) < 2 {
		return stats, err
	}
	d, err := c.p.Dump(ctx)
	if err != nil {
		return stats, nil // it is closing, and c with it
	}
	own, err := c.p.Stats(ctx)
	if err != nil {
		return stats, nil
	}
	for i := range stats {
		if stats[i].Type != mafalda.InboundRTP {
			continue
		}
		n := slices.IndexFunc(c.from.pipe.media.Encodings, func(e mafalda.RTPEncodingParameters) bool { return e.SSRC == stats[i].SSRC })
		if n < 0 || n >= len(d.RTPMapping.Encodings) {
			continue
		}
		e := d.RTPMapping.Encodings[n]
		for _, o := range own {
			if e.SSRC != nil && o.SSRC == *e.SSRC || e.RID != "" && o.RID == e.RID {
				stats[i] = o
			}
		}
	}
	return stats, nil
}
