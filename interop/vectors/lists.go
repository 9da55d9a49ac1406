package main

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

func (c *mediaComparison) compareLists(place string, want, got mediaList) {
	if strings.HasPrefix(c.scenario, "12-pipe-") && strings.HasSuffix(place, ".score") {
		want, got = smooth(want), smooth(got)
	}
	if strings.HasSuffix(place, "/TCC") {
		c.compareCounts(place, want, got, 2)
		want, got = coverage(want), coverage(got)
	}
	if periodic.MatchString(place) {
		c.compareReports(place, certain(want), certain(got))
		return
	}
	untimed := strings.HasPrefix(place, "stats") || strings.HasSuffix(place, ".consumed")
	if untimed || strings.Contains(place, "ransport.trace ") {
		want, got = certain(want), certain(got)
	}
	equal := func(x, y mediaItem) bool { return (untimed || within(x.T, y.T, c.slack)) && c.same(x.V, y.V) }
	isState := state.MatchString(place)
	i, j := 0, 0
	for _, pair := range append(align(want.Items, got.Items, equal), [2]int{len(want.Items), len(got.Items)}) {
		x, y := want.between(i, pair[0], isState), got.between(j, pair[1], isState)
		for k := range max(len(x), len(y)) {
			place := fmt.Sprintf("%s #%d", place, i+k)
			switch {
			case k >= len(x):
				if !c.atEnd(y[k].T) {
					c.differ(place+" extra", nil, y[k].V)
				}
			case k >= len(y):
				if !c.atEnd(x[k].T) {
					c.differ(place+" missing", x[k].V, nil)
				}
			default:
				c.compareValues(place, x[k].V, y[k].V)
				if !untimed && !within(x[k].T, y[k].T, c.slack) {
					c.differ(place+" t", x[k].T, y[k].T)
				}
			}
		}
		i, j = pair[0]+1, pair[1]+1
	}
}

// smooth leaves out scores that are one less or more than the one before. They are
// those of an interval between reports, whose length is chance in a pipe.
func smooth(l mediaList) mediaList {
	var items []mediaItem
	for _, item := range l.Items {
		if len(items) == 0 || !near(items[len(items)-1].V, item.V) {
			items = append(items, item)
		}
	}
	return mediaList{l.Counts, items}
}

// near reports whether two values are the same but for numbers that differ by one.
func near(a, b any) bool {
	switch x := a.(type) {
	case float64:
		y, ok := b.(float64)
		return ok && math.Abs(x-y) <= 1
	case []any:
		y, ok := b.([]any)
		return ok && slices.EqualFunc(x, y, near)
	case map[string]any:
		y, ok := b.(map[string]any)
		return ok && maps.EqualFunc(x, y, near)
	}
	return a == b
}

// atEnd reports whether something that came then may come after the end.
func (c *mediaComparison) atEnd(t any) bool {
	_, latest := span(t)
	return latest > c.end-c.slack
}

// between returns some of the items; of states only those that lasted.
func (l mediaList) between(from, to int, isState bool) (items []mediaItem) {
	for i := from; i < to; i++ {
		if isState && i+1 < len(l.Items) && soon(l.Items[i].T, l.Items[i+1].T) {
			continue
		}
		items = append(items, l.Items[i])
	}
	return items
}

// soon reports whether b is so soon after a that whoever is told of it only has
// missed nothing.
func soon(a, b any) bool {
	first, last := span(a)
	from, to := span(b)
	return from-first < settle && to-last < settle
}

// byType makes a list for each type of a trace: the order of those that come in
// the same millisecond is chance.
func byType(lists map[string]mediaList) map[string]mediaList {
	split := map[string]mediaList{}
	for k, l := range lists {
		if !strings.HasSuffix(k, ".trace") {
			split[k] = l
			continue
		}
		for _, item := range l.Items {
			v, _ := item.V.(map[string]any)
			typ := v["type"]
			if m, ok := typ.(map[string]any); ok { // in one run there were others before
				runs, _ := m["runs"].([]any)
				typ = runs[0]
			}
			name := fmt.Sprintf("%s %v", k, typ)
			of := split[name]
			of.Items = append(of.Items, item)
			split[name] = of
		}
	}
	return split
}

// compareReports compares reports, of which one comes each 1 to 1.5 s. What each of
// them says was said in one that was recorded, in the same order, and what was said
// for longer than two intervals is said again.
func (c *mediaComparison) compareReports(place string, want, got mediaList) {
	low, high := span(want.Counts)
	if n := float64(len(got.Items)); n < low/1.5-1 || n > high*1.5+1 {
		c.differ(place+" count", want.Counts, n)
	}
	said := make([]bool, len(want.Items))
	next := 0
	for i, y := range got.Items {
		k := slices.IndexFunc(want.Items[next:], func(x mediaItem) bool { return c.same(x.V, y.V) })
		if k < 0 {
			at := min(i, len(want.Items)-1)
			if at >= 0 {
				c.compareValues(fmt.Sprintf("%s #%d", place, i), want.Items[at].V, y.V)
			}
			continue
		}
		next += k
		said[next] = true
	}
	for from := 0; from < len(want.Items); {
		to := from + 1
		for to < len(want.Items) && c.same(want.Items[from].V, want.Items[to].V) {
			to++
		}
		if to-from > 2 && !slices.Contains(said[from:to], true) {
			c.differ(fmt.Sprintf("%s #%d missing", place, from), want.Items[from].V, nil)
		}
		from = to
	}
}

func (c *mediaComparison) compareCounts(place string, want, got mediaList, slack float64) {
	counts := want.Counts
	if counts == nil {
		counts = 0.0
	}
	if n := float64(len(got.Items)); !within(counts, n, slack) {
		c.differ(place+" count", counts, n)
	}
}

// align returns the longest list of pairs of equal items, in order.
func align[T any](want, got []T, equal func(x, y T) bool) (pairs [][2]int) {
	// length[i][j] is how many pairs there are among the items from i and from j on.
	length := make([][]int, len(want)+1)
	same := make([][]bool, len(want))
	for i := range length {
		length[i] = make([]int, len(got)+1)
	}
	for i := len(want) - 1; i >= 0; i-- {
		same[i] = make([]bool, len(got))
		for j := len(got) - 1; j >= 0; j-- {
			length[i][j] = max(length[i+1][j], length[i][j+1])
			if same[i][j] = equal(want[i], got[j]); same[i][j] {
				length[i][j] = max(length[i][j], 1+length[i+1][j+1])
			}
		}
	}
	for i, j := 0, 0; i < len(want) && j < len(got); {
		switch {
		case same[i][j] && length[i][j] == 1+length[i+1][j+1]:
			pairs = append(pairs, [2]int{i, j})
			i, j = i+1, j+1
		case length[i][j] == length[i+1][j]:
			i++
		default:
			j++
		}
	}
	return pairs
}

// coverage puts in the place of transport-wide feedback what all of it says: each
// begins where the one before ended, which is a matter of milliseconds.
func coverage(l mediaList) mediaList {
	if len(l.Items) == 0 {
		return l
	}
	base, end, lost := -1, -1, []any{}
	for i, item := range l.Items {
		compound, _ := item.V.([]any)
		if len(compound) != 1 {
			return l
		}
		f, _ := compound[0].(map[string]any)
		from, last := span(f["base"])
		n, most := span(f["n"])
		if number, _ := f["fb"].(float64); int(number) != i%256 {
			return l
		}
		switch {
		case base < 0:
			base = int(from)
		case from == last && int(from) != end && end >= 0:
			return l
		}
		if end = -1; n == most && from == last {
			end = (int(from) + int(n)) % 65536
		}
		list, _ := f["lost"].([]any)
		lost = append(lost, list...)
	}
	return mediaList{1.0, []mediaItem{{l.Items[0].T, map[string]any{"base": float64(base), "lost": lost}}}}
}

// certain leaves out what is chance.
func certain(l mediaList) mediaList {
	items := make([]mediaItem, len(l.Items))
	for i, item := range l.Items {
		items[i] = mediaItem{item.T, certainValue(item.V)}
	}
	return mediaList{l.Counts, items}
}

func certainValue(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := map[string]any{}
		for k, x := range v {
			if !chance.MatchString(k) {
				m[k] = certainValue(x)
			}
		}
		return m
	case []any:
		list := make([]any, len(v))
		for i, x := range v {
			list[i] = certainValue(x)
		}
		return list
	}
	return v
}

// compareValues walks through two values and names the member that differs.
func (c *mediaComparison) compareValues(place string, want, got any) {
	switch a := want.(type) {
	case map[string]any:
		if b, ok := got.(map[string]any); ok && a["range"] == nil && a["runs"] == nil {
			for _, k := range keys(a, b) {
				c.compareValues(place+"."+k, a[k], b[k])
			}
			return
		}
	case []any:
		if b, ok := got.([]any); ok && len(a) == len(b) {
			for i := range a {
				c.compareValues(fmt.Sprintf("%s[%d]", place, i), a[i], b[i])
			}
			return
		}
	}
	if strings.HasSuffix(place, ".packetsLost") {
		// It is counted when a report is sent, and the last may have been before the loss.
		if n, ok := got.(float64); ok && n >= 0 && n <= highest(want) {
			return
		}
	}
	if !c.same(want, got) {
		c.differ(place, want, got)
	}
}

func highest(v any) float64 {
	_, high := span(v)
	return high
}

// same compares a value with what was recorded: in a range by a third of it or by
// slack; of what was not the same in the runs nothing can be said.
func (c *mediaComparison) same(want, got any) bool {
	switch a := want.(type) {
	case map[string]any:
		if a["runs"] != nil {
			return true
		}
		if a["range"] != nil {
			low, high := span(a["range"])
			return within(a["range"], got, max(c.slack, .3*max(math.Abs(low), math.Abs(high))))
		}
		b, ok := got.(map[string]any)
		if !ok {
			return false
		}
		for _, k := range keys(a, b) {
			if !c.same(a[k], b[k]) {
				return false
			}
		}
		return true
	case []any:
		b, ok := got.([]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for i := range a {
			if !c.same(a[i], b[i]) {
				return false
			}
		}
		return true
	}
	return want == got
}

// span returns the ends of a range or, of a number, that twice.
func span(v any) (low, high float64) {
	switch v := v.(type) {
	case map[string]any:
		return span(v["range"])
	case float64:
		return v, v
	case []any:
		if len(v) == 2 {
			low, _ = v[0].(float64)
			high, _ = v[1].(float64)
		}
	}
	return low, high
}

func within(want, got any, slack float64) bool {
	low, high := span(want)
	g, ok := got.(float64)
	return ok && g >= low-slack && g <= high+slack
}
