package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// A difference is something that is not as recorded.
type difference struct {
	scenario string
	place    string // where in it, as a path
	text     string // what was recorded, and what came
}

// A result is what comparing the recordings of one scenario gave.
type result struct {
	scenario string
	found    []difference
	late     float64 // ms; see mediaComparison
}

// scenarios returns the names of those recorded in a folder that match.
func scenarios(folder string, match *regexp.Regexp) (names []string, err error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		if name := strings.TrimSuffix(filepath.Base(file), ".json"); match.MatchString(name) {
			names = append(names, name)
		}
	}
	if names == nil {
		err = fmt.Errorf("no scenario in %s", folder)
	}
	return names, err
}

// compareAll compares the files of two folders whose scenarios match.
func compareAll(want, got string, match *regexp.Regexp, compare func(scenario, want, got string) (result, error)) ([]result, error) {
	names, err := scenarios(want, match)
	if err != nil {
		return nil, err
	}
	var list []result
	for _, name := range names {
		file := name + ".json"
		r, err := compare(name, filepath.Join(want, file), filepath.Join(got, file))
		if errors.Is(err, fs.ErrNotExist) {
			r = result{scenario: name, found: []difference{{name, "", "nothing was recorded"}}}
		} else if err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, nil
}

// compareControl compares two files of the control-plane recorder.
func compareControl(scenario, want, got string) (result, error) {
	var a, b any
	if err := errors.Join(readJSON(want, &a), readJSON(got, &b)); err != nil {
		return result{}, err
	}
	c := comparison{scenario: scenario}
	c.compareTicking(a, b)
	return result{scenario: scenario, found: c.found}, nil
}

func (c *comparison) compareTicking(a, b any) {
	a, n := ticks(a)
	b, m := ticks(b)
	if (n == 0) != (m == 0) {
		c.differ("traces of NACKs", n, m)
	}
	c.compare("", a, b)
}

// ticks takes out what a timer tells in the middle of something else if that takes
// long: who dominates, which was recorded nowhere, and that NACKs are repeated. It
// returns how many of the latter there are.
func ticks(v any) (rest any, nacks int) {
	switch v := v.(type) {
	case map[string]any:
		m := map[string]any{}
		for k, x := range v {
			y, n := ticks(x)
			nacks += n
			if list, ok := y.([]any); !ok || k != "events" || len(list) > 0 {
				m[k] = y
			}
		}
		return m, nacks
	case []any:
		list := []any{}
		for _, x := range v {
			y, n := ticks(x)
			nacks += n
			m, _ := y.(map[string]any)
			switch {
			case m["event"] == "dominantspeaker":
			case m["event"] == "trace" && strings.Contains(entry(m), `"nack"`):
				nacks++
			case m["later"] != nil && m["events"] == nil: // nothing else came
			default:
				list = append(list, y)
			}
		}
		return list, nacks
	}
	return v, 0
}

func readJSON(file string, v any) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

// A comparison collects what differs between two values.
type comparison struct {
	scenario string
	found    []difference
	// Labels that were recorded, and those that stand for them now; and the reverse.
	labels, recorded map[string]string
}

func (c *comparison) differ(place string, want, got any) {
	c.found = append(c.found, difference{c.scenario, place, contrast(want, got)})
}

// contrast shows two values that came from JSON.
func contrast(want, got any) string {
	text := func(v any) string {
		var b strings.Builder
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		_ = e.Encode(v)
		return short(strings.TrimSpace(b.String()))
	}
	return fmt.Sprintf("recorded %s, got %s", text(want), text(got))
}

func short(s string) string {
	if len(s) > 160 {
		return s[:160] + "…"
	}
	return s
}

// compare walks through two values. An entry of the log is named by its call.
func (c *comparison) compare(place string, want, got any) {
	switch a := want.(type) {
	case map[string]any:
		b, ok := got.(map[string]any)
		if !ok {
			c.differ(place, want, got)
			return
		}
		if call, ok := a["call"].(string); ok && entry(a) == entry(b) {
			place += "{" + call + "}"
		}
		for _, k := range keys(a, b) {
			x, inA := a[k]
			y, inB := b[k]
			switch {
			case inA != inB:
				c.differ(place+"."+k, x, y)
			case k == "message" && isError(a):
				// The text of an error is everybody's own; class and name are not.
			case timed.MatchString(k) && positive(x) && positive(y):
			case k == "events":
				c.compare(place+"."+k, byObject(x), byObject(y))
			default:
				c.compare(place+"."+k, x, y)
			}
		}
	case []any:
		b, ok := got.([]any)
		if !ok || len(a) != len(b) && !isEntries(a) {
			c.differ(place, want, got)
			return
		}
		c.compareList(place, a, b)
	case string:
		if b, ok := got.(string); !ok && !alike(want, got) || ok && !c.sameText(a, b) {
			c.differ(place, want, got)
		}
	default:
		if want != got {
			c.differ(place, want, got)
		}
	}
}

// compareList compares lists, entries of the log and events even if some are
// missing.
func (c *comparison) compareList(place string, a, b []any) {
	i, j := 0, 0
	equal := func(x, y string) bool { return x == y }
	for _, pair := range append(align(entries(a), entries(b), equal), [2]int{len(a), len(b)}) {
		for i < pair[0] || j < pair[1] {
			place := fmt.Sprintf("%s[%d]", place, i)
			switch {
			case i < pair[0] && j < pair[1]:
				c.compare(place, a[i], b[j])
				i, j = i+1, j+1
			case i < pair[0]:
				c.differ(place+" missing", a[i], nil)
				i++
			default:
				c.differ(place+" extra", nil, b[j])
				j++
			}
		}
		if i < len(a) {
			c.compare(fmt.Sprintf("%s[%d]", place, i), a[i], b[j])
		}
		i, j = pair[0]+1, pair[1]+1
	}
}

// isEntries says whether a list is a log, or one of events.
func isEntries(list []any) bool {
	return slices.ContainsFunc(list, func(v any) bool {
		m, _ := v.(map[string]any)
		return m["call"] != nil || m["event"] != nil
	})
}

// byObject sorts events by the kind of their object, but those that a call emitted
// before it returned: between objects the order of the others is not recorded. New
// objects come first, since other events of the same parent come from the network.
func byObject(v any) any {
	list, _ := v.([]any)
	list = slices.Clone(list)
	field := func(v any, k string) any {
		m, _ := v.(map[string]any)
		return m[k]
	}
	key := func(v any) string {
		return labels.ReplaceAllString(fmt.Sprint(field(v, "on"), field(v, "beforeResult") == nil), "$1$2")
	}
	for from := 0; from < len(list); {
		to := from
		for to < len(list) && field(list[to], "sync") == nil {
			to++
		}
		slices.SortStableFunc(list[from:to], func(a, b any) int { return strings.Compare(key(a), key(b)) })
		from = to + 1
	}
	return list
}

func entries(list []any) []string {
	names := make([]string, len(list))
	for i, v := range list {
		names[i] = entry(v)
	}
	return names
}

// entry is the same for entries of a log that are of the same call, and for events
// of the same kind. What is neither is known by its place in the list.
func entry(v any) string {
	m, _ := v.(map[string]any)
	kind := []any{m["call"], m["args"], m["on"], m["event"], m["note"]}
	if p, _ := m["payload"].([]any); len(p) > 0 {
		if p, ok := p[0].(map[string]any); ok {
			kind = append(kind, p["type"])
		}
	}
	b, _ := json.Marshal(kind) // it came from JSON
	return labels.ReplaceAllString(string(b), "$1")
}

// labels are the names that the recorder gives to objects and to random values: it
// counts them. They are the same if it is always the same one that stands for
// another.
var labels = regexp.MustCompile(`(\b(?:worker|router|webRtcServer|(?:webRtc|plain|pipe|direct)Transport|(?:data)?(?:[pP]roducer|[cC]onsumer)|audioLevelObserver|activeSpeakerObserver)|<(?:ssrc|(?:uuid|string\d+|base\d+|fingerprint\d+)_))\d+`)

// sameText compares two strings but for the numbers of labels.
func (c *comparison) sameText(a, b string) bool {
	if labels.ReplaceAllString(a, "$1") != labels.ReplaceAllString(b, "$1") {
		return false
	}
	if c.labels == nil {
		c.labels, c.recorded = map[string]string{}, map[string]string{}
	}
	got := labels.FindAllString(b, -1)
	for i, x := range labels.FindAllString(a, -1) {
		y := got[i]
		if known, ok := c.labels[x]; ok && known != y {
			return false
		}
		if known, ok := c.recorded[y]; ok && known != x {
			return false
		}
		c.labels[x], c.recorded[y] = y, x
	}
	return true
}

// keys returns the keys of both, in order.
func keys[V any](a, b map[string]V) []string {
	var list []string
	for k := range a {
		list = append(list, k)
	}
	for k := range b {
		if _, ok := a[k]; !ok {
			list = append(list, k)
		}
	}
	slices.Sort(list)
	return list
}

// timed are counters that grow while time passes.
var timed = regexp.MustCompile(`^nack(Packet)?Count$`)

func positive(v any) bool {
	n, _ := v.(float64)
	return n > 0
}

func isError(m map[string]any) bool {
	_, name := m["name"]
	_, class := m["class"]
	return name && class
}

// alike says whether a number is as good as a placeholder that the recorder puts
// in its place when it is large: a clock that has just begun shows small ones.
func alike(want, got any) bool {
	_, isNumber := got.(float64)
	return want == "<ms>" && isNumber
}
