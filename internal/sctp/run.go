package sctp

import (
	"errors"
	"io"
	"runtime/debug"
	"time"

	"github.com/pion/logging"
	psctp "github.com/pion/sctp"
)

// silent makes pion's loggers do nothing, whatever the environment says.
var silent = &logging.DefaultLoggerFactory{
	Writer:          io.Discard,
	DefaultLogLevel: logging.LogLevelDisabled,
	ScopeLevels:     map[string]logging.LogLevel{},
}

// minCwnd is the least congestion window, in bytes: four packets, as upstream.
const minCwnd = 4 * mtu

// guard turns a panic of f into the end of the association, which the loop
// hears of. False means that there was one.
func (a *Association) guard(f func()) (ok bool) {
	defer func() {
		if v := recover(); v != nil {
			a.fail(&PanicError{v, debug.Stack()})
		}
	}()
	f()
	return true
}

// run lives as long as the association does.
func (a *Association) run(server bool) {
	defer close(a.done)
	connected := false
	a.guard(func() { connected = a.live(server) })
	a.conn.Close()
	a.box.finish()
	if p := a.pion.Load(); p != nil {
		_ = p.Close() // waits for the goroutine that reads
	}
	a.all.Wait()
	a.mu.Lock()
	why := a.failure
	a.mu.Unlock()
	switch {
	case why != nil:
		a.box.event(Event{Kind: StateChanged, State: Failed, Err: why})
	case connected:
		a.box.event(Event{Kind: StateChanged, State: Closed})
	default:
		a.box.event(Event{Kind: StateChanged, State: Failed, Err: ErrHandshake})
	}
}

// live shakes hands and accepts streams until the end. It reports whether the
// association was ever connected.
func (a *Association) live(server bool) bool {
	p, err := a.dial(server)
	if err != nil {
		return false
	}
	a.mu.Lock()
	a.pion.Store(p)
	a.heard = time.Now()
	a.wire.connected = true
	streams := a.wire.peerStreams
	a.mu.Unlock()
	a.box.event(Event{Kind: Negotiated, MaxOutbound: streams.in, MaxInbound: streams.out})
	a.box.event(Event{Kind: StateChanged, State: Connected})
	a.all.Add(1)
	go a.write(p) // ends with the conn
	for {
		s, err := p.AcceptStream()
		if err != nil {
			return true
		}
		a.adopt(s.StreamIdentifier(), s, false)
	}
}

func (a *Association) dial(server bool) (*psctp.Association, error) {
	shared := []psctp.AssociationOption{
		psctp.WithNetConn(a.conn),
		psctp.WithLoggerFactory(silent),
		psctp.WithMTU(mtu),
		psctp.WithMinCwnd(minCwnd),
		psctp.WithMaxReceiveBufferSize(a.cfg.MaxReceiverWindowBufferSize),
		psctp.WithMaxMessageSize(a.cfg.MaxSendMessageSize),
		psctp.WithMaxReassemblyQueueEntries(maxEntries),
		psctp.WithEnableInterleaving(!a.cfg.noInterleaving),
	}
	if server {
		var options []psctp.ServerOption
		for _, o := range shared {
			options = append(options, o)
		}
		return psctp.ServerWithOptions(options...)
	}
	var options []psctp.ClientOption
	for _, o := range shared {
		options = append(options, o)
	}
	return psctp.ClientWithOptions(options...)
}

// read takes the messages of a stream until its end.
func (a *Association) read(s *stream, ps *psctp.Stream) {
	defer a.all.Done()
	a.guard(func() {
		var err error
		for err == nil {
			a.box.ready()
			err = a.readOne(s, ps)
		}
		a.ended(s, ps, errors.Is(err, io.EOF))
	})
}

// smallMessage is what a reader has room for before it knows more, in bytes.
const smallMessage = 1500

func (a *Association) readOne(s *stream, ps *psctp.Stream) error {
	var small [smallMessage]byte
	buf := small[:]
	for {
		n, ppid, err := ps.ReadSCTP(buf)
		if errors.Is(err, io.ErrShortBuffer) {
			buf = make([]byte, n)
			continue
		}
		if err != nil {
			return err
		}
		var update []byte
		a.mu.Lock()
		wanted := s.in && n <= int(a.cfg.MaxReceiveMessageSize)
		if credit, tell := a.window.took(n); tell {
			update = a.wire.update(credit)
		}
		a.mu.Unlock()
		if update != nil {
			a.box.last(update)
		}
		switch {
		case !wanted:
			a.dropped.Add(1)
			return nil
		case n <= smallMessage:
			buf = append([]byte(nil), buf[:n]...)
		}
		a.box.message(Event{Kind: Message, Stream: s.id, PPID: uint32(ppid), Data: buf[:n]})
		return nil
	}
}

// ended notes that the peer will send nothing more on ps: it reset the stream,
// or the association has ended.
func (a *Association) ended(s *stream, ps *psctp.Stream, reset bool) {
	a.mu.Lock()
	t := &a.table
	delete(t.readers, ps)
	if s.reads == ps {
		s.reads = nil
	}
	t.know(s)
	if s.out && s.writes == nil {
		s.writes = ps // pion would make another, and wait for its end again
	}
	answer := s.dying
	s.over = reset
	switch {
	case reset && !answer && !s.out:
		// Nobody sends here, so nobody but us can answer; else the stream would
		// stay with the peer for as long as the association.
		s.writes = ps
		a.resetLocked(s)
	case answer && s.asked:
		// The writer resets it on ps: another stream of pion's would wait for a
		// second end for ever.
		s.writes = ps
	case answer && s.writes == ps:
		s.dying, s.writes = false, nil
	}
	t.settle(s)
	a.mu.Unlock()
	if reset && !answer && a.cfg.DataChannel {
		a.box.event(Event{Kind: StreamReset, Stream: s.id})
	}
}
