package main

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// A difference is something that two sides do not have alike.
type difference struct {
	call  string // of the script
	title string // the step
	place string // where in what came of it, as a path
	a, b  string // JSON of both sides, empty: nothing
}

// compare makes two logs comparable and compares them.
func compare(script []step, a, b []entry) ([]difference, error) {
	x, err := canonical(script, a)
	if err != nil {
		return nil, err
	}
	y, err := canonical(script, b)
	if err != nil {
		return nil, err
	}
	var found []difference
	for i := range script {
		c := comparison{call: script[i].Call, title: title(i, &script[i])}
		inCommon(x[i].(map[string]any), y[i].(map[string]any))
		c.compare("", x[i], y[i])
		found = append(found, c.found...)
	}
	return found, nil
}

// inCommon leaves in the orders of two entries what both have: over the channel
// some of what a call ends is told of later.
func inCommon(a, b map[string]any) {
	x, _ := a["order"].([]any)
	y, _ := b["order"].([]any)
	keep := func(list, other []any) []any {
		return slices.DeleteFunc(slices.Clone(list), func(v any) bool { return !slices.Contains(other, v) })
	}
	a["order"], b["order"] = keep(x, y), keep(y, x)
}

// A comparison collects what differs between two values.
type comparison struct {
	call, title string
	found       []difference
}

func (c *comparison) differ(place, a, b string) {
	c.found = append(c.found, difference{c.call, c.title, place, a, b})
}

func text(v any) string {
	b, _ := json.Marshal(v) // came from JSON
	return string(b)
}

func (c *comparison) compare(place string, a, b any) {
	switch x := a.(type) {
	case map[string]any:
		y, ok := b.(map[string]any)
		if !ok {
			break
		}
		keys := maps.Clone(x)
		maps.Copy(keys, y)
		for _, k := range slices.Sorted(maps.Keys(keys)) {
			p, inX := x[k]
			q, inY := y[k]
			switch {
			case !inY:
				c.differ(place+"."+k, text(p), "")
			case !inX:
				c.differ(place+"."+k, "", text(q))
			default:
				c.compare(place+"."+k, p, q)
			}
		}
		return
	case []any:
		y, ok := b.([]any)
		if !ok {
			break
		}
		c.lists(place, x, y)
		return
	}
	if a != b {
		c.differ(place, text(a), text(b))
	}
}

// lists compares lists: element by element or, where they have not as many, as
// what one of them has more than the other between what both have.
func (c *comparison) lists(place string, a, b []any) {
	if len(a) == len(b) {
		for i := range a {
			c.compare(fmt.Sprintf("%s[%d]", place, i), a[i], b[i])
		}
		return
	}
	for len(a) > 0 && len(b) > 0 && text(a[0]) == text(b[0]) {
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && text(a[len(a)-1]) == text(b[len(b)-1]) {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	for _, v := range a {
		c.differ(place+"[]", text(v), "")
	}
	for _, v := range b {
		c.differ(place+"[]", "", text(v))
	}
}

//go:embed known.txt
var knownText string

// A knownDifference is one that is meant.
type knownDifference struct {
	pair              string
	call, place, a, b *regexp.Regexp
	reason            string
	seen              int
}

// parseKnown reads known.txt. Lines that begin with # are comments.
func parseKnown(text string) ([]*knownDifference, error) {
	var list []*knownDifference
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		part := strings.SplitN(line, " | ", 6)
		if len(part) != 6 || strings.TrimSpace(part[5]) == "" {
			return nil, fmt.Errorf("known.txt: %q", line)
		}
		k := &knownDifference{pair: part[0], reason: part[5]}
		for i, to := range []**regexp.Regexp{&k.call, &k.place, &k.a, &k.b} {
			x, err := regexp.Compile("^(?:" + strings.TrimSpace(part[i+1]) + ")$")
			if err != nil {
				return nil, fmt.Errorf("known.txt: %w", err)
			}
			*to = x
		}
		list = append(list, k)
	}
	return list, nil
}

// report writes the differences that are not known and returns how many they are.
func report(w io.Writer, pair [2]string, found []difference, known []*knownDifference, verbose bool) int {
	bad := 0
	for _, d := range found {
		i := slices.IndexFunc(known, func(k *knownDifference) bool {
			return k.pair == pair[0]+"-"+pair[1] && k.call.MatchString(d.call) && k.place.MatchString(d.place) &&
				k.a.MatchString(d.a) && k.b.MatchString(d.b)
		})
		if i >= 0 {
			known[i].seen++
		} else {
			bad++
		}
		if i < 0 || verbose {
			fmt.Fprintf(w, "%s %s\n    %-8s%s\n    %-8s%s\n", d.title, d.place, pair[0], short(d.a), pair[1], short(d.b))
		}
		if i >= 0 && verbose {
			fmt.Fprintf(w, "    known: %s\n", known[i].reason)
		}
	}
	return bad
}

// unseen writes the known differences that were not seen and returns how many
// they are.
func unseen(w io.Writer, known []*knownDifference) int {
	n := 0
	for _, k := range known {
		if k.seen == 0 {
			n++
			fmt.Fprintf(w, "a known difference is gone: %s %s %s\n", k.pair, k.call, k.place)
		}
	}
	return n
}

func short(s string) string {
	if len(s) > 300 {
		return s[:300] + "…"
	}
	return s
}
