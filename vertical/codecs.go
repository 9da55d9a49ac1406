package vertical

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/mafalda-sfu/mafalda"
)

// An era is the time between two changes of a Router's codecs.
type era struct {
	update int                                // the value of router.update
	codecs []mafalda.RouterRTPCodecCapability // never modified in place
}

// A turn is a time for which a real Router keeps its codecs.
type turn struct {
	// Guarded by realRouter.changing.
	needs int           // how many calls need these codecs
	over  chan struct{} // closed when none does any more; nil while none does
	cut   bool          // other codecs came while these were needed
}

// patience is how long a call that needs codecs of one era waits for those that
// need others.
const patience = 250 * time.Millisecond

// now returns what new Producers are made with.
func (r *router) now() era {
	r.w.s.mu.Lock()
	defer r.w.s.mu.Unlock()
	return r.nowLocked()
}

func (r *router) nowLocked() era { return era{r.update, r.codecs} }

// produces reports whether a Producer with these parameters can be made with the
// codecs of e.
func (e era) produces(p mafalda.RTPParameters) bool {
	caps, err := mafalda.GenerateRouterRTPCapabilities(e.codecs)
	if err == nil {
		_, _, err = mafalda.ProducerRTPParametersMapping(p, caps)
	}
	return err == nil
}

// beginProducing has the eras of rr kept until endProducing.
func (rr *realRouter) beginProducing() {
	s := rr.r.w.s
	s.mu.Lock()
	defer s.mu.Unlock()
	rr.producing++
}

func (rr *realRouter) endProducing() {
	s := rr.r.w.s
	s.mu.Lock()
	defer s.mu.Unlock()
	rr.producing--
	rr.forgetLocked()
}

// forgetLocked forgets the eras that no Producer which is being made can be of. The
// last but one may be that of rr still.
func (rr *realRouter) forgetLocked() {
	if n := len(rr.eras); rr.producing == 0 && n > 2 {
		rr.eras = rr.eras[n-2:]
	}
}

// eraOf returns the newest era with whose codecs a Producer can be made, which is
// being made on rr.
func (rr *realRouter) eraOf(p mafalda.RTPParameters) era {
	s := rr.r.w.s
	s.mu.Lock()
	eras := slices.Clone(rr.eras)
	s.mu.Unlock()
	for _, e := range slices.Backward(eras) {
		if e.produces(p) {
			return e
		}
	}
	return eras[len(eras)-1]
}

// settled returns the turn of rr if it has the codecs that it should have, else
// nil.
func (rr *realRouter) settled() *turn {
	s := rr.r.w.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if rr.era.update != rr.r.update {
		return nil
	}
	return rr.turn
}

// set gives rr the codecs of e, whoever needs others; the caller holds changing.
func (rr *realRouter) set(e era) error {
	if rr.era.update == e.update {
		return nil
	}
	s := rr.r.w.s
	s.mu.Lock()
	rr.eras = append(rr.eras, e) // before a Producer can be of it
	rr.forgetLocked()
	s.mu.Unlock()
	if err := rr.inner.UpdateMediaCodecs(context.Background(), cloneCodecs(e.codecs)); err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		rr.eras = rr.eras[:len(rr.eras)-1]
		return err
	}
	rr.turn.cut = rr.turn.needs > 0
	s.mu.Lock()
	defer s.mu.Unlock()
	rr.era, rr.turn = e, new(turn)
	return nil
}

// take gives rr the codecs of e until the caller is done with the turn. It waits
// for those who need others, but not for longer than wait: what they do may run a
// listener that waits for the caller.
func (rr *realRouter) take(ctx context.Context, e era, wait time.Duration) (*turn, error) {
	late := time.NewTimer(wait)
	defer late.Stop()
	for hurry := false; ; {
		rr.changing.Lock()
		over := rr.turn.over
		if rr.era.update == e.update || over == nil || hurry {
			defer rr.changing.Unlock()
			if err := rr.set(e); err != nil {
				return nil, err
			}
			t := rr.turn
			if t.needs++; t.needs == 1 {
				t.over = make(chan struct{})
			}
			return t, nil
		}
		rr.changing.Unlock()
		select {
		case <-over:
		case <-late.C:
			hurry = true
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// done gives back what take gave, and reports whether it was cut short. Who is
// the last one leaves rr with the codecs that it should have.
func (rr *realRouter) done(t *turn) (cut bool) {
	rr.changing.Lock()
	defer rr.changing.Unlock()
	if t.needs--; t.needs == 0 {
		close(t.over)
		t.over = nil
		if t == rr.turn {
			_ = rr.set(rr.r.now()) // the error is that it has ended
		}
	}
	return t.cut
}

// during calls f while rr has the codecs of e. If others came in between, it
// undoes what f did, waits twice as long, and calls f again. Without undo, what f
// did with any codecs stays.
func (rr *realRouter) during(ctx context.Context, e era, f func() error, undo func()) error {
	for wait := patience; ; wait *= 2 {
		t, err := rr.take(ctx, e, wait)
		if err != nil {
			return err
		}
		cut := false
		func() {
			defer func() { cut = rr.done(t) }()
			err = f()
		}()
		switch {
		case !cut, err == nil && undo == nil, err != nil && !errors.Is(err, errors.ErrUnsupported):
			return err
		case err == nil:
			undo()
		}
	}
}

// updated brings the codecs to those of the virtual Router.
func (rr *realRouter) updated() error {
	t, err := rr.take(context.Background(), rr.r.now(), patience)
	if err == nil {
		rr.done(t)
	}
	if errors.Is(err, mafalda.ErrClosed) {
		return nil // it has ended, and the virtual Router has not
	}
	return err
}

// open lets go those who wait for rr, once it has the codecs that it should have
// by now.
func (rr *realRouter) open() {
	s := rr.r.w.s
	for {
		rr.changing.Lock()
		err := rr.set(rr.r.now())
		rr.changing.Unlock()
		s.mu.Lock()
		if err != nil || rr.era.update == rr.r.update { // where it failed Producers will tell
			close(rr.ready)
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
	}
}
