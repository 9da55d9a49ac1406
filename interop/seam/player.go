package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mafalda-sfu/mafalda"
)

const (
	patience = 10 * time.Second     // that an event may take
	settle   = 5 * time.Millisecond // in which more events than expected may come
)

// A player plays a script through the Go API, as play.mjs does through npm's
// mediasoup.
type player struct {
	ctx     context.Context
	bin     string         // of WorkerBin
	objects map[string]any // by name in the script
	names   map[any]string // of Workers and sockets

	mu     sync.Mutex
	hooked map[any]bool  // guarded by mu
	events []event       // guarded by mu
	about  []any         // guarded by mu: the first argument of each event
	came   chan struct{} // has room for one: an event came
}

// play plays script; bin is the worker binary of all Workers, none if empty.
func play(ctx context.Context, script []step, bin string) ([]entry, error) {
	sfu := mafalda.New()
	defer sfu.Close()
	p := &player{
		ctx: ctx, bin: bin, objects: map[string]any{"mediasoup": sfu}, names: map[any]string{},
		hooked: map[any]bool{}, events: []event{}, came: make(chan struct{}, 1),
	}
	defer p.closeSockets()
	sfu.Observer().NewWorker.On(func(w mafalda.Worker) { p.emit("mediasoup.observer", "newworker", w) })
	var log []entry
	for i := range script {
		e, err := p.step(&script[i])
		if err != nil {
			return log, fmt.Errorf("%s: %w", title(i, &script[i]), err)
		}
		log = append(log, e)
	}
	return log, nil
}

// errScript is a mistake of the script.
var errScript = errors.New("script")

func (p *player) step(s *step) (entry, error) {
	var e entry
	result, err := p.act(s)
	p.mu.Lock()
	e.Sync = len(p.events)
	p.mu.Unlock()
	switch {
	case errors.Is(err, errScript):
		return e, err
	case err != nil:
		e.Error, e.Text = className(err), err.Error()
	case s.As != nil:
		if result, err = p.keep(s.As, result); err != nil {
			return e, err
		}
		fallthrough
	default:
		if e.Result, err = p.plain(result); err != nil {
			return e, err
		}
	}
	if err := p.expect(s.Until, &e); err != nil {
		return e, err
	}
	p.mu.Lock()
	err = p.find(s.Found)
	e.Events, p.events, p.about = p.events, []event{}, nil
	p.mu.Unlock()
	if err != nil {
		return e, err
	}
	return e, nil
}

// className returns the name of the class of an error in mediasoup, or ours if
// it has none there.
func className(err error) string {
	for _, c := range []struct {
		err  error
		name string
	}{
		{mafalda.ErrInvalidArgument, "TypeError"}, {errors.ErrUnsupported, "UnsupportedError"},
		{mafalda.ErrNotFound, "NotFoundError"}, {mafalda.ErrWorkerClosed, "WorkerClosedError"},
		{mafalda.ErrClosed, "ErrClosed"}, {mafalda.ErrInvalidState, "ErrInvalidState"}, {mafalda.ErrUnavailable, "ErrUnavailable"},
	} {
		if errors.Is(err, c.err) {
			return c.name
		}
	}
	return err.Error()
}

func (p *player) act(s *step) (any, error) {
	name, method, _ := strings.Cut(s.Call, ".")
	switch s.Call {
	case "udp.open":
		return openSocket(p, s.As)
	case "udp.wait":
		return nil, p.wait(s.Args)
	}
	o := p.objects[name]
	if o == nil {
		return nil, fmt.Errorf("%w: no object %s", errScript, name)
	}
	args := make(arguments, len(s.Args))
	for i, a := range s.Args {
		v, err := p.resolve(a)
		if err != nil {
			return nil, err
		}
		if args[i], err = json.Marshal(v); err != nil {
			return nil, err
		}
	}
	if method == "get" {
		return state(o), nil
	}
	return p.call(o, method, args)
}

// wait waits for so many milliseconds.
func (p *player) wait(args []any) error {
	ms, ok := 0.0, false
	if len(args) == 1 {
		ms, ok = args[0].(float64)
	}
	if !ok {
		return fmt.Errorf("%w: wait needs a number", errScript)
	}
	select {
	case <-time.After(time.Duration(ms) * time.Millisecond):
		return nil
	case <-p.ctx.Done():
		return p.ctx.Err()
	}
}

// keep names what a call returned and returns what is logged of it.
func (p *player) keep(as, result any) (any, error) {
	switch as := as.(type) {
	case string:
		p.objects[as] = result
		switch result.(type) {
		case *socket:
			p.names[result] = as
			return nil, nil
		case mafalda.Worker:
			p.names[result] = as
		}
		p.hook(result)
		return map[string]any{"$object": p.nameOf(result), "state": state(result)}, nil
	case map[string]any:
		results, ok := result.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("%w: the call returns one object", errScript)
		}
		out := map[string]any{}
		for k, name := range as {
			v, err := p.keep(name, results[k])
			if err != nil {
				return nil, err
			}
			out[k] = v
		}
		return out, nil
	}
	return nil, fmt.Errorf("%w: as %v", errScript, as)
}

func (p *player) nameOf(o any) string {
	if o, ok := o.(interface{ ID() string }); ok {
		if _, isWorker := o.(mafalda.Worker); !isWorker {
			return o.ID()
		}
	}
	if name := p.names[o]; name != "" {
		return name
	}
	return "worker"
}

// resolve replaces «$name.property…» in arguments; «$name» stays.
func (p *player) resolve(v any) (any, error) {
	switch v := v.(type) {
	case string:
		path, ok := strings.CutPrefix(v, "$")
		if !ok {
			return v, nil
		}
		name, path, ok := strings.Cut(path, ".")
		if p.objects[name] == nil {
			return nil, fmt.Errorf("%w: no object %s", errScript, name)
		}
		if !ok {
			return v, nil
		}
		found, err := p.plain(state(p.objects[name]))
		if err != nil {
			return nil, err
		}
		for property := range strings.SplitSeq(path, ".") {
			m, _ := found.(map[string]any)
			if found, ok = m[property]; !ok {
				return nil, fmt.Errorf("%w: no %s", errScript, v)
			}
		}
		return found, nil
	case []any:
		out := make([]any, len(v))
		for i := range v {
			x, err := p.resolve(v[i])
			if err != nil {
				return nil, err
			}
			out[i] = x
		}
		return out, nil
	case map[string]any:
		out := map[string]any{}
		for k := range v {
			x, err := p.resolve(v[k])
			if err != nil {
				return nil, err
			}
			out[k] = x
		}
		return out, nil
	}
	return v, nil
}

// plain returns what JSON holds of a value.
func (p *player) plain(v any) (any, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var out any
	return out, json.Unmarshal(b, &out)
}

// emit logs an event. Objects among the arguments are logged from now on.
func (p *player) emit(on, name string, args ...any) {
	list := []any{}
	var about any
	if len(args) > 0 {
		about = args[0]
	}
	for _, a := range args {
		if isObject(a) {
			p.hook(a)
			a = map[string]any{"$object": p.nameOf(a)}
		}
		if b, ok := a.([]byte); ok {
			a = map[string]any{"$bytes": hex.EncodeToString(b)}
		}
		v, err := p.plain(a)
		if err != nil {
			v = err.Error() // is different from the other side
		}
		list = append(list, v)
	}
	p.mu.Lock()
	p.events = append(p.events, event{On: on, Event: name, Args: list})
	p.about = append(p.about, about)
	p.mu.Unlock()
	select {
	case p.came <- struct{}{}:
	default:
	}
}

// expect waits for events.
func (p *player) expect(until map[string]any, e *entry) error {
	timeout := time.After(patience)
	for {
		missing, err := p.missing(until)
		if err != nil {
			return err
		}
		if len(missing) == 0 {
			break
		}
		select {
		case <-p.came:
			continue
		case <-p.ctx.Done():
			return p.ctx.Err()
		case <-timeout:
			e.Missing = missing
		}
		break
	}
	select {
	case <-time.After(settle):
	case <-p.ctx.Done():
	}
	return nil
}

// missing returns those of the expected events that are missing.
func (p *player) missing(until map[string]any) ([]string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []string
	for _, key := range slices.Sorted(maps.Keys(until)) {
		on, name, err := p.split(key)
		if err != nil {
			return nil, err
		}
		if !came(p.events, on, name, until[key]) {
			list = append(list, key)
		}
	}
	return list, nil
}

// came reports whether an event came so often or, if that is a string, with that
// value.
func came(events []event, on, name string, wanted any) bool {
	n := 0
	for _, e := range events {
		if e.On != on || e.Event != name {
			continue
		}
		n++
		if value, ok := wanted.(string); ok && len(e.Args) > 0 && e.Args[0] == value {
			return true
		}
	}
	count, ok := wanted.(float64)
	return ok && n >= int(count)
}

// split returns where «name.event» or «name.observer.event» comes, and the event.
func (p *player) split(key string) (on, name string, err error) {
	dot := max(strings.LastIndexByte(key, '.'), 0)
	object, rest, isObserver := strings.Cut(key[:dot], ".")
	o := p.objects[object]
	if o == nil {
		return "", "", fmt.Errorf("%w: no object %s", errScript, object)
	}
	on = p.nameOf(o)
	if isObserver {
		on += "." + rest
	}
	return on, key[dot+1:], nil
}

// find names what events of the step told of; mu is held.
func (p *player) find(found map[string]string) error {
	for key, name := range found {
		on, event, err := p.split(key)
		if err != nil {
			return err
		}
		for i, e := range p.events {
			if e.On == on && e.Event == event && p.objects[name] == nil {
				p.objects[name] = p.about[i]
			}
		}
		if p.objects[name] == nil {
			return fmt.Errorf("%w: no %s", errScript, key)
		}
	}
	return nil
}

// A socket is a UDP socket beside mafalda; what RTP it gets is logged.
type socket struct {
	conn *net.UDPConn
	done chan struct{} // closed when nothing is logged any more
}

func openSocket(p *player, as any) (*socket, error) {
	name, ok := as.(string)
	if !ok {
		return nil, fmt.Errorf("%w: a socket needs a name", errScript)
	}
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		return nil, err
	}
	s := &socket{conn: conn, done: make(chan struct{})}
	go func() { // ends with the socket
		defer close(s.done)
		b := make([]byte, 2048)
		for {
			n, err := conn.Read(b)
			if err != nil {
				return
			}
			if n >= 12 && b[0]>>6 == 2 && (b[1] < 192 || b[1] > 223) {
				p.emit(name, "packet", slices.Clone(b[:n]))
			}
		}
	}()
	return s, nil
}

func (s *socket) port() int { return s.conn.LocalAddr().(*net.UDPAddr).Port }

func (s *socket) close() {
	_ = s.conn.Close() // nothing can be done about it
	<-s.done
}

func (p *player) closeSockets() {
	for _, o := range p.objects {
		if s, ok := o.(*socket); ok {
			s.close()
		}
	}
}
