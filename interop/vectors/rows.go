package main

import (
	"fmt"
	"strconv"
	"strings"
)

// A rowComparison compares the packets of one stream. Each is found by the input
// that it came of.
type rowComparison struct {
	*mediaComparison
	stream    string
	want, got [][]any
	stable    bool         // it was the same in all runs
	late      map[any]bool // inputs from just before the end
	edge      map[any]bool // inputs beside a pause; see findEdges

	shift     float64 // of sequence numbers, from here on
	wideShift int64   // of transport-wide numbers
	slip      bool    // shift may change by one
}

// pause is how many packets in a row are left out when somebody pauses.
const pause = 5

// findEdges finds the inputs between those that both recordings have something of
// and a pause, when neither has. Whether a packet that is sent together with a call
// comes before it or after it is chance. Simulcast and SVC leave packets out without
// a pause.
func (r *rowComparison) findEdges(inputs [][]any) {
	const ssrc = 3
	r.edge = map[any]bool{}
	want, got, sources := map[any]bool{}, map[any]bool{}, map[any]bool{}
	for _, row := range r.want {
		want[row[columnIn]] = true
	}
	for _, row := range r.got {
		got[row[columnIn]] = true
	}
	var list []any
	for _, in := range inputs {
		if k := in[columnIn]; k != "rtcp" {
			list = append(list, k)
			if want[k] || got[k] {
				sources[in[ssrc]] = true
			}
		}
	}
	if len(sources) != 1 {
		return
	}
	both := func(i int) bool { return i >= 0 && i < len(list) && want[list[i]] && got[list[i]] }
	silent := func(from int) bool {
		for i := from; i < from+pause; i++ {
			if i < 0 || i >= len(list) || want[list[i]] || got[list[i]] {
				return false
			}
		}
		return true
	}
	for i, in := range list {
		r.edge[in] = both(i-1) && silent(i+1) || both(i+1) && silent(i-pause)
	}
}

// chance reports whether a row may be there or not.
func (r *rowComparison) chance(key string, row []any) bool {
	if r.early > tardy && !strings.HasSuffix(key, "#1") {
		return true // how often something is sent again depends on when it is asked for
	}
	extra, _ := at(row, columnExtra).(map[string]any)
	if r.edge[row[columnIn]] {
		r.slip = true
		return true
	}
	return r.late[row[columnIn]] || extra["inRuns"] != nil // not all runs had it
}

func (r *rowComparison) compare() {
	index := map[string]int{}
	for i, k := range rowKeys(r.got) {
		index[k] = i
	}
	wanted := map[string]bool{}
	for _, k := range rowKeys(r.want) {
		wanted[k] = true
	}
	extra := func(from, to int) { // those that were not recorded
		for i, k := range rowKeys(r.got)[:to] {
			if i >= from && !wanted[k] && !r.chance(k, r.got[i]) {
				r.differ(fmt.Sprintf("%s in %s", r.stream, k), nil, r.got[i])
			}
		}
	}
	next := 0 // in got
	for i, k := range rowKeys(r.want) {
		place := fmt.Sprintf("%s in %s", r.stream, k)
		j, ok := index[k]
		switch {
		case !ok:
			if !r.chance(k, r.want[i]) {
				r.differ(place, r.want[i], nil)
			}
			continue
		case j >= next:
			extra(next, j)
			next = j + 1
		case r.stable:
			r.differ(place+" order", i, j)
		}
		r.compareRow(place, r.want[i], r.got[j])
	}
	extra(next, len(r.got))
}

func (r *rowComparison) compareRow(place string, want, got []any) {
	for column, name := range strings.Split(rowColumns, ",") {
		x, y := at(want, column), at(got, column)
		switch column {
		case columnTime:
			r.lag(x, y)
			if !within(x, y, r.slack) {
				r.differ(place+" t", x, y)
			}
		case columnSeq:
			// Where a packet is missing, those after it are not all different.
			n, isNumber := x.(float64)
			m, _ := y.(float64)
			if !isNumber || m-n == r.shift {
				continue
			}
			if by := m - n - r.shift; !r.slip || by*by > 1 {
				r.differ(place+" seqOff", x, y)
			}
			r.shift, r.slip = m-n, false
		case columnExt:
			// So it is with transport-wide numbers.
			x, n := cutWide(x)
			y, m := cutWide(y)
			if !r.same(x, y) || (n == 0) != (m == 0) {
				r.differ(place+" ext", want[column], got[column])
			} else if m-n != r.wideShift && n != 0 {
				r.differ(place+" wide", n, m)
				r.wideShift = m - n
			}
		case columnExtra:
			if x, ok := x.(map[string]any); ok {
				delete(x, "inRuns")
				delete(x, "unstable")
			}
			if !r.same(x, y) && (!empty(x) || !empty(y)) {
				r.differ(place+" extra", x, y)
			}
		default:
			if !r.same(x, y) {
				r.differ(place+" "+name, x, y)
			}
		}
	}
}

// cutWide takes the transport-wide number, which has id 5, out of header extensions.
func cutWide(v any) (rest any, number int64) {
	s, ok := v.(string)
	if !ok {
		return v, 0
	}
	before, after, ok := strings.Cut(s, " 5:")
	if !ok {
		return v, 0
	}
	digits, after, _ := strings.Cut(after, " ")
	number, err := strconv.ParseInt(digits, 16, 32)
	if err != nil {
		return v, 0
	}
	return strings.TrimSpace(before + " " + after), number
}

// rowKeys names rows after their input and, when there are several of one, the
// number among them.
func rowKeys(rows [][]any) []string {
	seen := map[any]int{}
	list := make([]string, len(rows))
	for i, row := range rows {
		in := row[columnIn]
		seen[in]++
		list[i] = fmt.Sprintf("%v#%d", in, seen[in])
	}
	return list
}

func at(row []any, column int) any {
	if column < len(row) {
		return row[column]
	}
	return nil
}

func empty(v any) bool {
	m, isMap := v.(map[string]any)
	return v == nil || isMap && len(m) == 0
}
