package main

import (
	"bytes"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/pion/rtp"
)

//go:embed script.json
var scriptText []byte

// A step is one call of the script.
type step struct {
	// Call is «name.method»: the name that an earlier step gave to an object,
	// «mediasoup» or «udp», and mediasoup's name of a method. «get» reads the
	// getters, «udp.open» opens a socket, «udp.wait» waits for milliseconds.
	Call string `json:"call"`
	// Args are mediasoup's arguments. In them «$name» is an object, «$name.id» a
	// property of one, {"$bytes": hex} a Buffer, and {"$rtp": packets} becomes
	// as many Buffers.
	Args []any `json:"args,omitempty"`
	// As names what the call returns: a string or, for an object with objects,
	// a name for each.
	As any `json:"as,omitempty"`
	// Fails is whether the call has to fail.
	Fails bool `json:"fails,omitempty"`
	// Until has all that comes after the call has returned, for each «name.event»
	// or «name.observer.event» how many events or, as a string, the value that one
	// of them has to have. The next step waits for them. The observer's events of
	// the same names and its close come with them. A socket has the event packet.
	Until map[string]any `json:"until,omitempty"`
	// Found names what events told of: «name.observer.event», and a name for the
	// object in the first such event of the step.
	Found map[string]string `json:"found,omitempty"`
}

// loadScript reads script.json: an object with definitions, for which «@name»
// stands in arguments, and a list of steps. In the list a string is a comment,
// and a list of strings has as many steps without arguments.
func loadScript() ([]step, error) {
	var all struct {
		Define map[string]any
		Steps  []json.RawMessage
	}
	if err := decodeStrictly(scriptText, &all); err != nil {
		return nil, fmt.Errorf("script.json: %w", err)
	}
	var script []step
	for _, text := range all.Steps {
		switch text[0] {
		case '"':
		case '[':
			var calls []string
			if err := json.Unmarshal(text, &calls); err != nil {
				return nil, fmt.Errorf("script.json: %w in %s", err, text)
			}
			for _, call := range calls {
				script = append(script, step{Call: call})
			}
		default:
			var s step
			if err := decodeStrictly(text, &s); err != nil {
				return nil, fmt.Errorf("script.json: %w in %s", err, text)
			}
			args := s.Args
			s.Args = nil
			for _, a := range args {
				list, err := expand(defined(a, all.Define))
				if err != nil {
					return nil, fmt.Errorf("script.json: %s: %w", s.Call, err)
				}
				s.Args = append(s.Args, list...)
			}
			script = append(script, s)
		}
	}
	return script, nil
}

func decodeStrictly(text []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	return d.Decode(v)
}

// defined replaces «@name». The members of an object beside "@": "@name" are
// added to the object so named, or replace its own.
func defined(v any, define map[string]any) any {
	switch v := v.(type) {
	case string:
		if d, ok := define[strings.TrimPrefix(v, "@")]; ok && v[0] == '@' {
			return defined(d, define)
		}
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = defined(v[i], define)
		}
		return out
	case map[string]any:
		out := map[string]any{}
		if base, ok := v["@"]; ok {
			maps.Copy(out, defined(base, define).(map[string]any))
		}
		for k, x := range v {
			if k != "@" {
				out[k] = defined(x, define)
			}
		}
		return out
	}
	return v
}

// packets says what to send: Count packets that follow each other.
type packets struct {
	Count       int
	PayloadType uint8
	Sequence    uint16
	Timestamp   uint32
	Step        uint32 // of the timestamp
	SSRC        uint32
	Marker      bool
	Payload     string           // hex
	Extensions  map[uint8]string // hex by id
}

// expand returns what an argument stands for.
func expand(a any) ([]any, error) {
	m, ok := a.(map[string]any)
	if !ok || m["$rtp"] == nil {
		return []any{a}, nil
	}
	text, err := json.Marshal(m["$rtp"])
	if err != nil {
		return nil, err
	}
	p := packets{Count: 1}
	if err := decodeStrictly(text, &p); err != nil {
		return nil, err
	}
	payload, err := hex.DecodeString(p.Payload)
	if err != nil {
		return nil, err
	}
	var header rtp.Header
	for id := uint8(1); id < 15; id++ {
		if x, ok := p.Extensions[id]; ok {
			v, err := hex.DecodeString(x)
			if err != nil {
				return nil, err
			}
			if err := header.SetExtension(id, v); err != nil {
				return nil, err
			}
		}
	}
	var list []any
	for i := range p.Count {
		header.Version, header.Marker, header.PayloadType, header.SSRC = 2, p.Marker, p.PayloadType, p.SSRC
		header.SequenceNumber, header.Timestamp = p.Sequence+uint16(i), p.Timestamp+uint32(i)*p.Step
		b, err := header.Marshal()
		if err != nil {
			return nil, err
		}
		list = append(list, map[string]any{"$bytes": hex.EncodeToString(append(b, payload...))})
	}
	return list, nil
}

// An entry is what came of a step.
type entry struct {
	Result any    `json:"result,omitempty"`
	Error  string `json:"error,omitempty"` // class
	Text   string `json:"text,omitempty"`  // of the error, for people
	// Events are those of all objects since the step before; the first Sync came
	// before the call returned.
	Events []event `json:"events"`
	Sync   int     `json:"sync"`
	// Missing are the expected events that did not come.
	Missing []string `json:"missing,omitempty"`
}

type event struct {
	On    string `json:"on"` // id, with «.observer» if it is the observer's
	Event string `json:"event"`
	Args  []any  `json:"args"`
}

func readLog(text []byte) ([]entry, error) {
	var log []entry
	if err := json.Unmarshal(text, &log); err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	return log, nil
}

// asExpected checks a log against what the script itself says.
func asExpected(script []step, log []entry) error {
	if len(log) != len(script) {
		return fmt.Errorf("%d of %d steps were played", len(log), len(script))
	}
	var errs []error
	for i, e := range log {
		s := &script[i]
		switch {
		case e.Error != "" && !s.Fails:
			errs = append(errs, fmt.Errorf("%s %s: %s: %s", title(i, s), argsOf(s), e.Error, e.Text))
		case e.Error == "" && s.Fails:
			errs = append(errs, fmt.Errorf("%s %s: did not fail", title(i, s), argsOf(s)))
		}
		if late := unexpected(s, &e); late != "" {
			errs = append(errs, fmt.Errorf("%s: the script does not wait for %s", title(i, s), late))
		}
		if len(e.Missing) > 0 {
			errs = append(errs, fmt.Errorf("%s: missing events: %s; came: %s", title(i, s), strings.Join(e.Missing, ", "), text(e.Events)))
		}
	}
	return errors.Join(errs...)
}

// unexpected returns an event that came after the call had returned, and of which
// the script knows nothing. «on» is an id there and a name here: only events count.
func unexpected(s *step, e *entry) string {
	for _, v := range e.Events[min(e.Sync, len(e.Events)):] {
		known := isReport(v) || v.Event == "close" && len(s.Until) > 0
		for key := range s.Until {
			known = known || strings.HasSuffix(key, v.Event) // producerpause brings pause
		}
		if !known {
			return v.On + " " + v.Event
		}
	}
	return ""
}

func title(i int, s *step) string { return fmt.Sprintf("step %d %s", i+1, s.Call) }

func argsOf(s *step) string {
	b, _ := json.Marshal(s.Args) // came from JSON
	return short(string(b))
}
