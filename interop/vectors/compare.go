package main

import (
	"encoding/json"
	"fmt"
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

// compareControl compares the JSON files of two folders.
func compareControl(want, got string, match *regexp.Regexp) (found []difference, scenarios int, err error) {
	files, err := filepath.Glob(filepath.Join(want, "*.json"))
	if err != nil {
		return nil, 0, err
	}
	for _, file := range files {
		scenario := strings.TrimSuffix(filepath.Base(file), ".json")
		if !match.MatchString(scenario) {
			continue
		}
		scenarios++
		var a, b any
		if err := readJSON(file, &a); err != nil {
			return nil, 0, err
		}
		if err := readJSON(filepath.Join(got, scenario+".json"), &b); err != nil {
			found = append(found, difference{scenario, "", err.Error()})
			continue
		}
		c := comparison{scenario: scenario}
		c.compare("", a, b)
		found = append(found, c.found...)
	}
	if scenarios == 0 {
		err = fmt.Errorf("no scenario in %s", want)
	}
	return found, scenarios, err
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
}

func (c *comparison) differ(place string, want, got any) {
	a, _ := json.Marshal(want) // both came from JSON
	b, _ := json.Marshal(got)
	c.found = append(c.found, difference{c.scenario, place, fmt.Sprintf("recorded %s, got %s", short(a), short(b))})
}

func short(b []byte) string {
	if len(b) > 160 {
		return string(b[:160]) + "…"
	}
	return string(b)
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
		if call, ok := a["call"].(string); ok && call == b["call"] {
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
			default:
				c.compare(place+"."+k, x, y)
			}
		}
	case []any:
		b, ok := got.([]any)
		if !ok || len(a) != len(b) {
			c.differ(place, want, got)
			return
		}
		for i := range a {
			c.compare(fmt.Sprintf("%s[%d]", place, i), a[i], b[i])
		}
	default:
		if want != got && !alike(want, got) {
			c.differ(place, want, got)
		}
	}
}

func keys(a, b map[string]any) []string {
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

// mediaDifferences reads what compare.mjs of the media recorder prints: the name
// of a file, and what differs in it as indented lines.
func mediaDifferences(text string, match *regexp.Regexp) (found []difference, scenarios int, err error) {
	scenario := ""
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		var equal, different int
		if n, _ := fmt.Sscanf(line, "%d equal, %d different", &equal, &different); n == 2 {
			return found, equal + different, nil
		}
		if !strings.HasPrefix(line, "  ") {
			var rest string
			scenario, rest, _ = strings.Cut(line, ".json")
			if rest = strings.TrimSpace(rest); rest != "" && match.MatchString(scenario) { // «missing»
				found = append(found, difference{scenario, "", rest})
			}
			continue
		}
		if match.MatchString(scenario) {
			place, rest, _ := strings.Cut(strings.TrimSpace(line), ": ")
			found = append(found, difference{scenario, place, rest})
		}
	}
	return nil, 0, fmt.Errorf("compare.mjs did not end as expected: %q", text)
}
