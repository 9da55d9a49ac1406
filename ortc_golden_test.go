package mafalda

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

// The golden files hold what mediasoup's own ortc answered; see
// interop/ortc-golden/README.md.

// goldenCase is one call: its arguments, and either its result or the name of
// its error, all as plain JSON values.
type goldenCase struct {
	file  string
	Name  string `json:"name"`
	In    []any  `json:"in"`
	Out   any    `json:"out"`
	Error string `json:"error"`
}

// goldenFunctions has an entry for each file: it calls our function and returns
// its result, to be compared as JSON.
var goldenFunctions = map[string]func(in *goldenInput) (any, error){
	"capabilities": func(in *goldenInput) (any, error) {
		return result(ValidateAndNormalizeRTPCapabilities(argument[RTPCapabilities](in)))
	},
	"parameters": func(in *goldenInput) (any, error) {
		return result(ValidateAndNormalizeRTPParameters(argument[RTPParameters](in)))
	},
	"sctp": func(in *goldenInput) (any, error) {
		return result(ValidateAndNormalizeSCTPStreamParameters(argument[SCTPStreamParameters](in)))
	},
	"scalability": func(in *goldenInput) (any, error) {
		return ParseScalabilityMode(argument[string](in)), nil
	},
	"router": func(in *goldenInput) (any, error) {
		return result(GenerateRouterRTPCapabilities(argument[[]RouterRTPCodecCapability](in)))
	},
	"supported": func(*goldenInput) (any, error) { return SupportedRTPCapabilities(), nil },
	"h264": func(in *goldenInput) (any, error) {
		router, producer := argument[map[string]any](in), argument[map[string]any](in)
		caps := RTPCapabilities{Codecs: []RTPCodecCapability{{MIMEType: "video/H264", ClockRate: 90000, Parameters: router}}}
		p := RTPParameters{Codecs: []RTPCodecParameters{{MIMEType: "video/H264", ClockRate: 90000, Parameters: producer}}}
		p, _, err := ProducerRTPParametersMapping(p, caps)
		if err != nil {
			return nil, err
		}
		return p.Codecs[0].Parameters, nil
	},
	"mapping": func(in *goldenInput) (any, error) {
		p, mapping, err := producerRTPParametersMapping(argument[RTPParameters](in), argument[RTPCapabilities](in), in.ssrcs)
		return map[string]any{"params": p, "mapping": mapping}, err
	},
	"consumable": func(in *goldenInput) (any, error) {
		return result(ConsumableRTPParameters(argument[MediaKind](in), argument[RTPParameters](in), argument[RTPCapabilities](in), argument[RTPMapping](in)))
	},
	"canconsume": func(in *goldenInput) (any, error) {
		return result(CanConsume(argument[RTPParameters](in), argument[RTPCapabilities](in)))
	},
	"consumer": func(in *goldenInput) (any, error) {
		return result(consumerRTPParameters(ConsumerRTPParametersOptions{
			ConsumableRTPParameters: argument[RTPParameters](in),
			RemoteRTPCapabilities:   argument[RTPCapabilities](in),
			Pipe:                    argument[bool](in),
			EnableRTX:               argument[bool](in),
		}, in.ssrcs))
	},
	"pipe": func(in *goldenInput) (any, error) {
		return pipeConsumerRTPParameters(argument[RTPParameters](in), argument[bool](in), in.ssrcs), nil
	},
}

func result[T any](v T, err error) (any, error) { return v, err }

// goldenInput hands out the arguments of a case. What our types can't express
// is an error in place of a call.
type goldenInput struct {
	args  []any
	err   error // of the first argument that did not decode
	drawn uint32
}

// ssrcs returns multiples of 111111111, as the generator's random numbers are.
func (in *goldenInput) ssrcs() uint32 {
	in.drawn++
	return 111_111_111 * in.drawn
}

func argument[T any](in *goldenInput) T {
	var v T
	if len(in.args) == 0 { // undefined
		return v
	}
	text, err := json.Marshal(in.args[0])
	in.args = in.args[1:]
	if err == nil {
		err = json.Unmarshal(text, &v)
	}
	if in.err == nil {
		in.err = err
	}
	return v
}

// call returns what our function answers, as plain JSON values, or its error.
// undecodable says that the input does not fit our types.
func (c *goldenCase) call() (out any, err error, undecodable bool) {
	in := &goldenInput{args: c.In}
	v, err := goldenFunctions[c.file](in)
	if in.err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidArgument, in.err), true
	}
	if err != nil {
		return nil, err, false
	}
	return plain(v), nil, false
}

// plain turns v into plain JSON values.
func plain(v any) any {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var out any
	if err := json.Unmarshal(text, &out); err != nil {
		return err
	}
	return out
}

func TestORTCGolden(t *testing.T) {
	t.Parallel()
	values := readValues(t)
	used := make(map[string]int)
	for file := range goldenFunctions {
		cases := readGolden[[]goldenCase](t, file+".json")
		undecodable, different := 0, 0
		for _, c := range cases {
			c.file = file
			c.In, c.Out = resolve(c.In, values).([]any), resolve(c.Out, values)
			before, err := json.Marshal(c)
			require.NoError(t, err)
			got, err, bad := c.call()
			if bad {
				undecodable++
			}
			names, problem := c.judge(got, err, bad)
			if len(names) > 0 {
				different++
			}
			for _, name := range names {
				used[name]++
			}
			if problem != "" {
				t.Errorf("%s: %s: %s\n%s", file, c.Name, problem, before)
			}
		}
		t.Logf("%s: %d cases, %d that our types can't hold, %d that differ on purpose", file, len(cases), undecodable, different)
	}
	for _, d := range goldenDifferences {
		t.Logf("%s: %d cases", d.name, used[d.name])
		if used[d.name] == 0 {
			t.Errorf("the difference %q is used by no case", d.name)
		}
	}
}

// TestGoldenDifferencesAreListed holds the differences against the document that
// tells users of them.
func TestGoldenDifferencesAreListed(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("docs", "differences.md"))
	require.NoError(t, err)
	for _, d := range goldenDifferences {
		require.Contains(t, string(text), "\n| "+d.name+" | ", "docs/differences.md lacks a line")
	}
}

// judge compares our answer with mediasoup's. It returns the names of the
// differences that explain a deviation, or what is wrong.
func (c *goldenCase) judge(got any, err error, undecodable bool) (names []string, problem string) {
	switch {
	case c.Error != "" && c.Error == goldenErrorName(err):
		return nil, ""
	case c.Error == "" && err == nil:
		want := c.Out
		for _, d := range goldenDifferences {
			if d.rewrite == nil {
				continue
			}
			if rewritten := d.rewrite(c, want); !reflect.DeepEqual(rewritten, want) {
				want = rewritten
				names = append(names, d.name)
			}
		}
		if !reflect.DeepEqual(want, got) {
			return nil, "(-mediasoup +ours)\n" + cmp.Diff(want, got)
		}
		return names, ""
	}
	for _, d := range goldenDifferences {
		refused := c.Error != "TypeError" && errors.Is(err, ErrInvalidArgument) && d.refuses != nil && d.refuses(c, undecodable)
		accepted := c.Error == "TypeError" && d.accepts != nil && d.accepts(c, err)
		if refused || accepted {
			return []string{d.name}, ""
		}
	}
	return nil, fmt.Sprintf("error %v, want %q", err, c.Error)
}

// goldenErrorName gives the class that mediasoup has for an error of ours.
func goldenErrorName(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, ErrInvalidArgument):
		return "TypeError"
	case errors.Is(err, errors.ErrUnsupported):
		return "UnsupportedError"
	case errors.Is(err, ErrUnavailable):
		return "Error"
	}
	return err.Error()
}

// resolve replaces each {"$": n} in v by the nth value.
func resolve(v any, values []any) any {
	switch v := v.(type) {
	case map[string]any:
		if n, ok := v["$"].(float64); ok {
			return values[int(n)]
		}
		out := make(map[string]any, len(v))
		for key, value := range v {
			out[key] = resolve(value, values)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, value := range v {
			out[i] = resolve(value, values)
		}
		return out
	}
	return v
}

// readValues returns what {"$": n} stands for.
func readValues(t testing.TB) []any {
	t.Helper()
	values := readGolden[[]any](t, "values.json")
	for i, v := range values {
		values[i] = resolve(v, values) // which stands for earlier ones only
	}
	return values
}

func readGolden[T any](t testing.TB, name string) T {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "ortc", name))
	require.NoError(t, err)
	var v T
	require.NoError(t, json.NewDecoder(bytes.NewReader(text)).Decode(&v))
	return v
}
