package main

import (
	"fmt"
	"io"
	"reflect"
	"slices"
)

// A rule takes from a log what does not matter, beside the differences of
// known.txt: what would hide others if it stayed.
type rule struct {
	side   string                // empty: of both
	reason string                // a line of docs/differences.md in other words
	apply  func(log []entry) int // how much it took
}

var rules = []rule{
	{"", "fields that are absent are absent, not null", dropNulls},
	{"npm", "a Consumer's trace is emitted once", dropSecondTraces},
}

// applyRules applies all rules and returns how many of them were of no use.
func applyRules(w io.Writer, logs map[string][]entry) int {
	useless := 0
	for _, r := range rules {
		n := 0
		for side, log := range logs {
			if r.side == "" || r.side == side {
				n += r.apply(log)
			}
		}
		if n == 0 {
			useless++
			fmt.Fprintf(w, "a rule took nothing: %s\n", r.reason)
		}
	}
	return useless
}

func dropNulls(log []entry) int {
	n := 0
	for i := range log {
		n += dropNullsOf(log[i].Result)
		for j := range log[i].Events {
			n += dropNullsOf(log[i].Events[j].Args)
		}
	}
	return n
}

func dropNullsOf(v any) int {
	n := 0
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			if x == nil {
				delete(v, k)
				n++
			}
			n += dropNullsOf(x)
		}
	case []any:
		for _, x := range v {
			n += dropNullsOf(x)
		}
	}
	return n
}

// dropSecondTraces drops «trace» on an object and its observer where the same
// two came just before.
func dropSecondTraces(log []entry) int {
	n := 0
	for i := range log {
		e := &log[i]
		for j := 0; j+3 < len(e.Events); j++ {
			if e.Events[j].Event == "trace" && reflect.DeepEqual(e.Events[j:j+2], e.Events[j+2:j+4]) {
				e.Events = slices.Delete(e.Events, j+2, j+4)
				n++
			}
		}
	}
	return n
}
