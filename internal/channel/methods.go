package channel

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/mafalda-sfu/mafalda/internal/channel/fbs"
	"github.com/mafalda-sfu/mafalda/internal/engine"
)

// A run does what a request asks for, on the loop of the engine.
type run = func(*engine.Machine) (answer, error)

// A method is one kind of request. begin reads the request, which has the body
// that the method takes, and says what is to be run.
type method struct {
	name  string // as mediasoup writes it in errors
	begin func(s *server, id string, body any) (run, error)
}

// plain is a method without body and result.
func plain(name string, f func(m *engine.Machine, id string) error) method {
	return method{name, func(_ *server, id string, _ any) (run, error) {
		return func(m *engine.Machine) (answer, error) { return nil, f(m, id) }, nil
	}}
}

// get is a method without body.
func get[R any](name string, f func(m *engine.Machine, id string) (R, error), encode func(*R) *fbs.ResponseBodyT) method {
	return method{name, func(_ *server, id string, _ any) (run, error) {
		return func(m *engine.Machine) (answer, error) { return encoded(encode)(f(m, id)) }, nil
	}}
}

// set is a method without result.
func set[B any](name string, f func(m *engine.Machine, id string, b B) error) method {
	return method{name, func(_ *server, id string, body any) (run, error) {
		b := body.(B)
		return func(m *engine.Machine) (answer, error) { return nil, f(m, id, b) }, nil
	}}
}

// do is a method with body and result. f runs where the request is read and
// returns what runs on the loop.
func do[B, R any](
	name string, f func(id string, b B) (func(*engine.Machine) (R, error), error), encode func(*R) *fbs.ResponseBodyT,
) method {
	return method{name, func(_ *server, id string, body any) (run, error) {
		g, err := f(id, body.(B))
		if err != nil {
			return nil, err
		}
		return func(m *engine.Machine) (answer, error) { return encoded(encode)(g(m)) }, nil
	}}
}

// closing is a method that closes the object with the id that its body has. The
// peers are told first.
func closing[B any](name string, id func(b B) string, f func(m *engine.Machine, id string) error) method {
	return method{name, func(s *server, _ string, body any) (run, error) {
		x := id(body.(B))
		s.engine.Leave(x)
		return func(m *engine.Machine) (answer, error) { return nil, f(m, x) }, nil
	}}
}

// child is a method that closes a child of the transport id.
func child[B any](
	name, what string, id func(b B) string, children func(*engine.TransportDump) []string,
	f func(m *engine.Machine, id string) error,
) method {
	return set(name, func(m *engine.Machine, transport string, b B) error {
		d, err := m.DumpTransport(transport)
		if err != nil {
			return err
		}
		x := id(b)
		if !slices.Contains(children(&d), x) {
			return notFound(what, x)
		}
		return f(m, x)
	})
}

// encoded returns what makes an answer of a result.
func encoded[R any](encode func(*R) *fbs.ResponseBodyT) func(R, error) (answer, error) {
	return func(r R, err error) (answer, error) {
		if err != nil {
			return nil, err
		}
		return func() *fbs.ResponseBodyT { return encode(&r) }, nil
	}
}

// methods has all methods of mediasoup 3.27.1 but TRANSPORT_CONNECT, which has a
// number only.
var methods = map[fbs.Method]method{}

func add(list map[fbs.Method]method) { maps.Copy(methods, list) }

func notFound(what, id string) error { return fmt.Errorf("%s %q: %w", what, id, engine.ErrNotFound) }

var errUnknownServer = errors.New("unknown WebRtcServer")
