package peer

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/pion/stun/v3"

	"github.com/mafalda-sfu/mafalda"
)

// An agent makes the checks of a controlling ICE agent.
type agent struct {
	local string

	mu       sync.Mutex
	remote   mafalda.ICEParameters // guarded by mu
	nominate bool                  // guarded by mu
	waiting  map[[stun.TransactionIDSize]byte]chan error
}

func (a *agent) init(remote mafalda.ICEParameters, nominate bool) {
	a.local = randomText(8)
	a.remote, a.nominate = remote, nominate
	a.waiting = map[[stun.TransactionIDSize]byte]chan error{}
}

func (a *agent) use(remote mafalda.ICEParameters) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.remote = remote
}

type attribute struct {
	typ   stun.AttrType
	value []byte
}

func (a attribute) AddTo(m *stun.Message) error {
	m.Add(a.typ, a.value)
	return nil
}

// request builds a Binding request.
func (a *agent) request() ([]byte, [stun.TransactionIDSize]byte, error) {
	a.mu.Lock()
	remote, nominate := a.remote, a.nominate
	a.mu.Unlock()
	setters := []stun.Setter{
		stun.TransactionID, stun.BindingRequest,
		stun.NewUsername(remote.UsernameFragment + ":" + a.local),
		attribute{stun.AttrPriority, []byte{0x6e, 0x7f, 0x1e, 0xff}},
		attribute{stun.AttrICEControlling, []byte{1, 2, 3, 4, 5, 6, 7, 8}},
	}
	if nominate {
		setters = append(setters, attribute{typ: stun.AttrUseCandidate})
	}
	setters = append(setters, stun.NewShortTermIntegrity(remote.Password), stun.Fingerprint)
	m, err := stun.Build(setters...)
	if err != nil {
		return nil, [stun.TransactionIDSize]byte{}, err
	}
	return m.Raw, m.TransactionID, nil
}

// check sends requests until one is answered.
func (a *agent) check(ctx context.Context, w *wire) error {
	for {
		b, id, err := a.request()
		if err != nil {
			return err
		}
		done := make(chan error, 1)
		a.mu.Lock()
		a.waiting[id] = done
		a.mu.Unlock()
		if err := w.write(b); err != nil {
			return err
		}
		again := time.NewTimer(200 * time.Millisecond)
		select {
		case err := <-done:
			again.Stop()
			return err
		case <-again.C:
		case <-ctx.Done():
			again.Stop()
			return ctx.Err()
		}
		a.mu.Lock()
		delete(a.waiting, id)
		a.mu.Unlock()
	}
}

// answer takes a response.
func (a *agent) answer(b []byte) {
	m := &stun.Message{Raw: b}
	if m.Decode() != nil {
		return
	}
	a.mu.Lock()
	done := a.waiting[m.TransactionID]
	delete(a.waiting, m.TransactionID)
	a.mu.Unlock()
	if done == nil {
		return
	}
	if m.Type == stun.BindingSuccess {
		done <- nil
		return
	}
	var code stun.ErrorCodeAttribute
	if code.GetFrom(m) != nil {
		done <- errors.New("binding error")
		return
	}
	done <- errors.New(code.String())
}
