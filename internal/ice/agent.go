package ice

import (
	"io"
	"time"
	"unsafe"

	"github.com/pion/stun/v3"

	"github.com/mafalda-sfu/mafalda/internal/prefetch"
)

const (
	// MaxTuples is how many tuples an [Agent] remembers.
	MaxTuples = 8

	minConsentTimeout = 10 * time.Second
	maxConsentTimeout = 60 * time.Second
)

// Config configures an [Agent].
type Config struct {
	// ConsentTimeout is the time without an accepted check after which the
	// agent is disconnected (RFC 7675). 0 means never; other values are moved
	// into the range of 10 to 60 s, as mediasoup does.
	ConsentTimeout time.Duration
	// Rand is the source of the credentials; nil means crypto/rand, and so does
	// a reader that fails.
	Rand io.Reader
}

// An Agent is the ICE-lite end of one transport. Make one with [New]. It belongs
// to one loop: it is not safe for concurrent use. Its times are those of the
// loop, from any fixed moment on.
type Agent struct {
	// What each packet is compared with.
	selected   Tuple // the zero Tuple unless isSelected
	isSelected bool

	rand           io.Reader
	consentTimeout time.Duration

	current credentials
	old     credentials // before a restart, until current is used

	state      State
	tuples     [MaxTuples + 1]Tuple // the newest first
	count      int
	nomination uint32

	consent   time.Duration
	consentOn bool

	events  []Event
	handed  []Event // what Events returned last
	counter Counters

	in      stun.Message
	request request
	out     stun.Message
	ip      [16]byte
}

// Prefetch asks for the memory that [Agent.IsValid] needs.
func (a *Agent) Prefetch() { prefetch.Head(a, unsafe.Offsetof(a.rand)) }

// New returns an agent in the state Waiting, with fresh credentials.
func New(cfg Config) *Agent {
	a := &Agent{rand: cfg.Rand}
	if cfg.ConsentTimeout > 0 {
		a.consentTimeout = min(max(cfg.ConsentTimeout, minConsentTimeout), maxConsentTimeout)
	}
	a.current = newCredentials(a.rand)
	return a
}

// Handle processes a datagram or frame for which [IsSTUN] is true. If ok, reply
// is to be sent back on the tuple from, before the events are acted upon; it is
// valid until the next call. The agent does not keep b, nor change it.
func (a *Agent) Handle(now time.Duration, from Tuple, b []byte) (reply []byte, ok bool) {
	defer a.trim()
	if !a.decode(b) {
		a.counter.Malformed++
		return nil, false
	}
	if a.in.Type.Class != stun.ClassRequest {
		a.counter.Ignored++
		return nil, false
	}
	r := &a.request
	if a.in.Type.Method != stun.MethodBinding || !r.hasFingerprint || !r.hasPriority {
		return a.fail(stun.CodeBadRequest)
	}
	used := &a.current
	code := a.authenticate(used)
	if code == stun.CodeUnauthorized && a.old.ufrag != "" {
		if used = &a.old; a.authenticate(used) == 0 {
			code = 0
		}
	}
	if code != 0 {
		return a.fail(code)
	}
	if used == &a.current {
		a.releaseOld()
	}
	if r.controlledTieBreaker != 0 {
		return a.fail(stun.CodeRoleConflict)
	}
	a.counter.Accepted++
	a.succeed(from, used)
	a.accept(from, r)
	if a.live() {
		a.startConsent(now)
	}
	return a.out.Raw, true
}

// Events returns what the calls since the last call of Events caused, in order.
// The slice is valid until the next call of Events.
func (a *Agent) Events() []Event {
	a.events, a.handed = a.handed[:0], a.events
	return a.handed
}

// Force selects t if the agent is connected or completed and t is a known tuple.
// It is called for DTLS and for valid RTP, so that media follow a remote that
// moves to another path without saying so. It is cheap when t is selected.
func (a *Agent) Force(_ time.Duration, t Tuple) {
	if a.selected != t && a.live() && a.has(t) {
		a.choose(t)
	}
}

// IsValid tells whether t is a known tuple. Anything but STUN from another one is
// to be dropped.
func (a *Agent) IsValid(t Tuple) bool {
	return a.isSelected && a.selected == t || a.has(t)
}

// RemoveTuple forgets t: its TCP connection was closed. If t was selected, the
// newest of the other tuples takes its place; without one the agent is
// disconnected.
func (a *Agent) RemoveTuple(now time.Duration, t Tuple) {
	i := a.index(t)
	if i < 0 {
		return
	}
	a.remove(i)
	if !a.isSelected || a.selected != t {
		return
	}
	a.isSelected, a.selected = false, Tuple{}
	if a.count > 0 {
		a.choose(a.tuples[0])
		if a.consentOn {
			a.startConsent(now)
		}
		return
	}
	a.disconnect()
}

// Deadline returns when [Agent.Tick] has to be called: the time at which consent
// expires. It is false while there is none.
func (a *Agent) Deadline() (at time.Duration, ok bool) { return a.consent, a.consentOn }

// Tick disconnects the agent and removes all tuples if consent has expired.
func (a *Agent) Tick(now time.Duration) {
	if !a.consentOn || now < a.consent {
		return
	}
	for i := range a.count {
		a.emit(Event{Kind: TupleRemoved, Tuple: a.tuples[i]})
	}
	clear(a.tuples[:])
	a.count = 0
	a.isSelected, a.selected = false, Tuple{}
	a.disconnect()
}

// Restart makes new credentials. State, tuples and media go on; the credentials
// of before are honoured until the first check that uses the new ones, but only
// one generation of them.
func (a *Agent) Restart(now time.Duration) {
	a.releaseOld()
	a.old = a.current
	a.current = newCredentials(a.rand)
	a.nomination = 0
	if a.consentOn {
		a.startConsent(now)
	}
}

// Credentials returns the local user name fragment and password.
func (a *Agent) Credentials() (ufrag, pwd string) { return a.current.ufrag, a.current.pwd }

// OldUfrag returns the user name fragment of before the last restart while it is
// honoured, else "".
func (a *Agent) OldUfrag() string { return a.old.ufrag }

// State returns the state.
func (a *Agent) State() State { return a.state }

// Selected returns the tuple in use; it is false while there is none.
func (a *Agent) Selected() (t Tuple, ok bool) { return a.selected, a.isSelected }

// Counters returns what became of the messages so far.
func (a *Agent) Counters() Counters { return a.counter }

// authenticate checks the request against c (RFC 8489 §9.1.3). It returns 0 or
// the error code to answer.
func (a *Agent) authenticate(c *credentials) stun.ErrorCode {
	r := &a.request
	if !r.hasUsername || !r.hasIntegrity {
		return stun.CodeBadRequest
	}
	n := len(c.ufrag)
	if len(r.username) <= n || string(r.username[:n]) != c.ufrag || r.username[n] != ':' {
		return stun.CodeUnauthorized
	}
	if c.key.Check(&a.in) != nil {
		return stun.CodeUnauthorized
	}
	return 0
}

// accept moves tuples and state for an authenticated check from t.
func (a *Agent) accept(t Tuple, r *request) {
	renominated := r.hasNomination && r.nomination > a.nomination
	nominated := renominated || r.useCandidate && !r.hasNomination
	switch a.state {
	case Waiting, Disconnected:
		a.store(t)
		switch {
		case nominated:
			a.choose(t)
			a.setState(Completed)
		case !r.hasNomination:
			a.choose(t)
			a.setState(Connected)
		}
		// A nomination that is not above the last one, which is 0 at first, selects
		// nothing, as in mediasoup.
	case Connected:
		a.store(t)
		if nominated {
			a.choose(t)
			a.setState(Completed)
		}
	case Completed:
		a.store(t)
		if nominated || r.useCandidate {
			a.choose(t)
		}
	}
	if renominated {
		a.nomination = r.nomination
	}
}

// live tells whether the agent has a path.
func (a *Agent) live() bool { return a.state == Connected || a.state == Completed }

func (a *Agent) setState(s State) {
	if a.state != s {
		a.state = s
		a.emit(Event{Kind: StateChanged, State: s})
	}
}

func (a *Agent) disconnect() {
	a.nomination = 0
	a.consentOn = false
	a.setState(Disconnected)
}

func (a *Agent) startConsent(now time.Duration) {
	if a.consentTimeout > 0 {
		a.consent, a.consentOn = now+a.consentTimeout, true
	}
}

func (a *Agent) releaseOld() {
	if a.old.ufrag != "" {
		a.emit(Event{Kind: UfragReleased, Ufrag: a.old.ufrag})
		a.old = credentials{}
	}
}

func (a *Agent) index(t Tuple) int {
	for i := range a.tuples[:a.count] {
		if a.tuples[i] == t {
			return i
		}
	}
	return -1
}

func (a *Agent) has(t Tuple) bool { return a.index(t) >= 0 }

// store puts t in front if it is new, and drops the oldest that may go if there
// are too many.
func (a *Agent) store(t Tuple) {
	if a.has(t) {
		return
	}
	copy(a.tuples[1:a.count+1], a.tuples[:a.count])
	a.tuples[0] = t
	a.count++
	a.emit(Event{Kind: TupleAdded, Tuple: t})
	if a.count <= MaxTuples {
		return
	}
	i := a.count - 1
	if a.isSelected && a.tuples[i] == a.selected {
		i--
	}
	a.remove(i)
}

func (a *Agent) remove(i int) {
	t := a.tuples[i]
	copy(a.tuples[i:a.count-1], a.tuples[i+1:a.count])
	a.count--
	a.tuples[a.count] = Tuple{}
	a.emit(Event{Kind: TupleRemoved, Tuple: t})
}

func (a *Agent) choose(t Tuple) {
	if a.isSelected && a.selected == t {
		return
	}
	a.selected, a.isSelected = t, true
	a.emit(Event{Kind: SelectedTuple, Tuple: t})
}

func (a *Agent) emit(e Event) { a.events = append(a.events, e) }

// credentials are a user name fragment and a password (RFC 8445 §5.3).
type credentials struct {
	ufrag, pwd string
	key        stun.MessageIntegrity
}

func newCredentials(r io.Reader) credentials {
	ufrag, pwd := randomText(r), randomText(r)
	return credentials{ufrag: ufrag, pwd: pwd, key: stun.NewShortTermIntegrity(pwd)}
}
