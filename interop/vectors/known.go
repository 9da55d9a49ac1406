package main

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// A known difference is one that has a reason.
type knownDifference struct {
	kind            string
	scenario, place *regexp.Regexp
	reason          string
	seen            bool
	maybe           bool // whether it is seen is chance
}

// parseKnown reads known.txt: on each line kind, scenario, difference and reason,
// separated by « | »; scenario and difference are regular expressions, and the
// difference is its place, «: » and what it is. Lines that begin with # are
// comments. A «?» behind the kind says that it is chance whether the difference is
// seen.
func parseKnown(text string) ([]*knownDifference, error) {
	var list []*knownDifference
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		part := strings.SplitN(line, " | ", 4)
		kind, maybe := strings.CutSuffix(part[0], "?")
		if len(part) != 4 || kind != "control" && kind != "media" || strings.TrimSpace(part[3]) == "" {
			return nil, fmt.Errorf("known.txt: %q", line)
		}
		scenario, err := regexp.Compile("^(?:" + part[1] + ")$")
		if err != nil {
			return nil, fmt.Errorf("known.txt: %w", err)
		}
		place, err := regexp.Compile(part[2])
		if err != nil {
			return nil, fmt.Errorf("known.txt: %w", err)
		}
		list = append(list, &knownDifference{kind: kind, scenario: scenario, place: place, reason: part[3], maybe: maybe})
	}
	return list, nil
}

// find returns what a difference is known as, nil if it is not.
func (d difference) find(kind string, known []*knownDifference) *knownDifference {
	for _, k := range known {
		if k.kind == kind && k.scenario.MatchString(d.scenario) && k.place.MatchString(d.place+": "+d.text) {
			return k
		}
	}
	return nil
}

// unknown reports whether there is a difference that is not known.
func (r *result) unknown(kind string, known []*knownDifference) bool {
	return slices.ContainsFunc(r.found, func(d difference) bool { return d.find(kind, known) == nil })
}

// report writes what is not known and, when everything was recorded, what is
// known and was not seen. It returns how many these are.
func report(w io.Writer, kind string, results []result, known []*knownDifference, all, verbose bool) int {
	bad := 0
	for _, r := range results {
		for _, d := range r.found {
			k := d.find(kind, known)
			if k != nil {
				k.seen = true
			} else {
				bad++
			}
			if k == nil || verbose {
				fmt.Fprintf(w, "%s %s %s\n    %s\n", kind, d.scenario, d.place, d.text)
			}
			if k != nil && verbose {
				fmt.Fprintf(w, "    known: %s\n", k.reason)
			}
		}
	}
	for _, k := range known {
		if all && k.kind == kind && !k.seen && !k.maybe {
			bad++
			fmt.Fprintf(w, "%s: a known difference is gone: %s | %s\n", kind, k.scenario, k.place)
		}
	}
	return bad
}
