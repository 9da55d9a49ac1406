package main

import (
	"fmt"
	"io"
	"regexp"
	"strings"
)

// A known difference is one that has a reason.
type knownDifference struct {
	kind            string
	scenario, place *regexp.Regexp
	reason          string
	seen            bool
}

// parseKnown reads known.txt: on each line kind, scenario, place and reason,
// separated by «|»; scenario and place are regular expressions. Lines that begin
// with # are comments.
func parseKnown(text string) ([]*knownDifference, error) {
	var list []*knownDifference
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		part := strings.SplitN(line, " | ", 4)
		if len(part) != 4 || part[0] != "control" && part[0] != "media" || strings.TrimSpace(part[3]) == "" {
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
		list = append(list, &knownDifference{kind: part[0], scenario: scenario, place: place, reason: part[3]})
	}
	return list, nil
}

// report writes what is not known and, when everything was recorded, what is
// known and was not seen. It returns how many these are.
func report(w io.Writer, kind string, found []difference, known []*knownDifference, all, verbose bool) int {
	bad := 0
	for _, d := range found {
		reason := ""
		for _, k := range known {
			if k.kind == kind && k.scenario.MatchString(d.scenario) && k.place.MatchString(d.place) {
				k.seen, reason = true, k.reason
				break
			}
		}
		if reason == "" {
			bad++
		}
		if reason == "" || verbose {
			fmt.Fprintf(w, "%s %s %s\n    %s\n", kind, d.scenario, d.place, d.text)
		}
		if reason != "" && verbose {
			fmt.Fprintf(w, "    known: %s\n", reason)
		}
	}
	for _, k := range known {
		if all && k.kind == kind && !k.seen {
			bad++
			fmt.Fprintf(w, "%s: a known difference is gone: %s | %s\n", kind, k.scenario, k.place)
		}
	}
	return bad
}
