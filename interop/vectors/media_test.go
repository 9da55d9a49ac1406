package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// recordingOf reads the parts of a recording. Of inputs there are ten, one each
// 100 ms, of SSRC "a", unless it has others.
func recordingOf(t *testing.T, parts string) *mediaRecording {
	t.Helper()
	var r mediaRecording
	require.NoError(t, json.Unmarshal([]byte("{"+parts+"}"), &r))
	for i := len(r.Inputs); i < 10; i++ {
		r.Inputs = append(r.Inputs, []any{float64(i), float64(100 * i), "src", "a"})
	}
	return &r
}

// stream is the rows of a stream of RTP with packets of these inputs.
func stream(inputs ...int) string {
	var rows []string
	for i, in := range inputs {
		rows = append(rows, row(in, 100*in, i))
	}
	return rtp(rows...)
}

func row(in, t, seq int) string {
	return fmt.Sprintf(`[%d,%d,%d,%d,1,101,92,"1:30 4:T 5:%04x","90e0"]`, in, t, seq, 9000*in, in+17)
}

func rtp(rows ...string) string {
	return `"RTP":{"dst/C1":{"stable":true,"rows":[` + strings.Join(rows, ",") + `]}}`
}

// list is a list of a part, with items as [time, value].
func list(part, name string, items ...string) string {
	for i, item := range items {
		at, v, _ := strings.Cut(item, " ")
		items[i] = fmt.Sprintf(`{"t":%s,"v":%s}`, at, v)
	}
	return fmt.Sprintf(`%q:{%q:{"counts":%d,"items":[%s]}}`, part, name, len(items), strings.Join(items, ","))
}

func TestCompareMedia(t *testing.T) {
	all := stream(0, 1, 2, 3, 4, 5, 6, 7, 8, 9)
	change := func(old, new string) string {
		require.Contains(t, all, old)
		return strings.Replace(all, old, new, 1)
	}
	feedback := func(at, base, n, fb int, lost string) string {
		return fmt.Sprintf(`%d [{"type":"TCC","base":%d,"n":%d,"fb":%d,"lost":[%s]}]`, at, base, n, fb, lost)
	}
	tcc := func(items ...string) string { return list("RTCP", "src/TCC", items...) }
	state := func(items ...string) string { return list("Events", "C1.score", items...) }
	trace := func(items ...string) string { return list("Events", "P1.trace", items...) }
	twoSources := `"Inputs":[[0,0,"src","b"]],`

	tests := map[string]struct {
		want, got string
		places    []string
	}{
		"same":                    {all, all, nil},
		"missing":                 {all, stream(0, 1, 2, 4, 5, 6, 7, 8, 9), []string{"rtp dst/C1 in 3#1", "rtp dst/C1 in 4#1 seqOff"}},
		"extra":                   {stream(0, 1, 2, 4, 5, 6, 7, 8, 9), all, []string{"rtp dst/C1 in 3#1", "rtp dst/C1 in 4#1 seqOff"}},
		"twice":                   {all, change(row(4, 400, 4), row(4, 400, 4)+","+row(4, 401, 5)), []string{"rtp dst/C1 in 4#2"}},
		"order":                   {rtp(row(1, 10, 0), row(2, 10, 1)), rtp(row(2, 10, 1), row(1, 10, 0)), []string{"rtp dst/C1 in 2#1 order"}},
		"stream missing":          {rtp(row(1, 100, 0)), `"RTP":{}`, []string{"rtp dst/C1 in 1#1"}},
		"in flight at the end":    {all, stream(0, 1, 2, 3, 4, 5, 6, 7, 8), nil},
		"payload":                 {all, change(`"90e0"],[4`, `"90e1"],[4`), []string{"rtp dst/C1 in 3#1 payload8"}},
		"marker":                  {all, change(`[3,300,3,27000,1`, `[3,300,3,27000,0`), []string{"rtp dst/C1 in 3#1 marker"}},
		"extension":               {all, change(`1:30 4:T 5:0014`, `1:31 4:T 5:0014`), []string{"rtp dst/C1 in 3#1 ext"}},
		"no wide number":          {all, change(`5:0014`, `5:0000`), []string{"rtp dst/C1 in 3#1 ext"}},
		"wide numbers shift":      {rtp(row(3, 300, 0), row(4, 400, 1)), strings.NewReplacer("0014", "0013", "0015", "0014").Replace(rtp(row(3, 300, 0), row(4, 400, 1))), []string{"rtp dst/C1 in 3#1 wide"}},
		"a little late":           {all, change(`[3,300`, `[3,440`), nil},
		"late":                    {all, change(`[3,300`, `[3,460`), []string{"rtp dst/C1 in 3#1 t"}},
		"extra column":            {all, change(`"90e0"],[4`, `"90e0",{"osn":3}],[4`), []string{"rtp dst/C1 in 3#1 extra"}},
		"not in all runs":         {change(`"90e0"],[4`, `"90e0",{"inRuns":2}],[4`), stream(0, 1, 2, 4, 5, 6, 7, 8, 9), []string{"rtp dst/C1 in 4#1 seqOff"}},
		"ranges and runs":         {change(`[3,300,3,27000,1,101,92`, `[3,[290,310],3,{"range":[26900,27000]},{"runs":[0,1]},101,92`), all, nil},
		"out of range":            {change(`27000`, `{"range":[1000,2000]}`), all, []string{"rtp dst/C1 in 3#1 tsOff"}},
		"at a pause":              {stream(0, 1, 8, 9), stream(0, 1, 2, 8, 9), nil},
		"at the end of a pause":   {stream(0, 1, 8, 9), stream(0, 1, 7, 8, 9), nil},
		"sent again, or not":      {stream(4), rtp(), []string{"rtp dst/C1 in 4#1"}},
		"within a pause":          {stream(0, 1, 9), stream(0, 1, 2, 3, 9), []string{"rtp dst/C1 in 2#1", "rtp dst/C1 in 3#1", "rtp dst/C1 in 9#1 seqOff"}},
		"at a gap":                {stream(0, 1, 5, 6, 7, 8, 9), stream(0, 1, 2, 5, 6, 7, 8, 9), []string{"rtp dst/C1 in 2#1", "rtp dst/C1 in 5#1 seqOff"}},
		"at a switch":             {twoSources + stream(0, 1, 8, 9), twoSources + stream(0, 1, 2, 8, 9), []string{"rtp dst/C1 in 2#1", "rtp dst/C1 in 8#1 seqOff"}},
		"asked for again":         {`"Inputs":[[0,0,"src","a"],[1,150,"src","a"]],` + all, change(row(4, 400, 4), row(4, 400, 4)+","+row(4, 401, 4)), nil},
		"last state":              {state(`0 {"score":1}`, `[5,20] {"score":2}`, `500 {"score":3}`), state(`30 {"score":2}`, `500 {"score":3}`), nil},
		"state on the way":        {state(`10 {"score":2}`), state(`0 {"score":1}`, `20 {"score":2}`), nil},
		"first state":             {state(`0 {"score":1}`, `10 {"score":2}`), state(`0 {"score":1}`), []string{"events C1.score #1 missing"}},
		"lasting state":           {state(`0 {"score":1}`, `200 {"score":2}`), state(`200 {"score":2}`), []string{"events C1.score #0 missing"}},
		"state":                   {state(`0 {"score":1}`, `200 {"score":2}`), state(`0 {"score":1}`, `200 {"score":3}`), []string{"events C1.score #1.score"}},
		"state late":              {state(`0 {"score":1}`), state(`200 {"score":1}`), []string{"events C1.score #0 t"}},
		"extra state":             {state(`0 {"score":1}`), state(`0 {"score":1}`, `300 {"score":2}`), []string{"events C1.score #1 extra"}},
		"event at the end":        {list("Events", "x", `0 1`, `880 1`), list("Events", "x", `0 1`), nil},
		"order in a trace":        {trace(`5 {"type":"rtp"}`, `5 {"type":"pli"}`), trace(`5 {"type":"pli"}`, `6 {"type":"rtp"}`), nil},
		"missing in a trace":      {trace(`5 {"type":"rtp"}`, `5 {"type":"pli"}`), trace(`5 {"type":"rtp"}`), []string{"events P1.trace pli #0 missing"}},
		"one report more":         {list("RTCP", "src/RR", `100 [1]`), list("RTCP", "src/RR", `300 [1]`, `500 [1]`), nil},
		"reports":                 {list("RTCP", "src/RR", `100 [1]`), list("RTCP", "src/RR", `300 [2]`), []string{"rtcp src/RR #0[0]"}},
		"reports in time":         {list("RTCP", "src/RR", `1 [1]`, `2 [1]`, `3 [2]`, `4 [2]`), list("RTCP", "src/RR", `1 [1]`, `2 [1]`, `3 [1]`, `4 [2]`), nil},
		"reports out of order":    {list("RTCP", "src/RR", `1 [1]`, `2 [1]`, `3 [2]`, `4 [2]`), list("RTCP", "src/RR", `1 [1]`, `2 [2]`, `3 [1]`, `4 [2]`), []string{"rtcp src/RR #2[0]"}},
		"never reported":          {list("RTCP", "src/RR", `1 [1]`, `2 [2]`, `3 [2]`, `4 [2]`), list("RTCP", "src/RR", `1 [1]`, `2 [1]`, `3 [1]`, `4 [1]`), []string{"rtcp src/RR #1 missing"}},
		"many reports":            {list("RTCP", "src/RR", `100 [1]`), list("RTCP", "src/RR", `3 [1]`, `4 [1]`, `5 [1]`), []string{"rtcp src/RR count"}},
		"request missing":         {list("RTCP", "src/PLI", `100 [1]`), `"RTCP":{}`, []string{"rtcp src/PLI #0 missing"}},
		"chance in stats":         {list("Stats", "p", `1 {"byteCount":1,"score":1}`), list("Stats", "p", `1 {"byteCount":2,"score":1}`), nil},
		"lost before a report":    {list("Stats", "p", `1 {"packetsLost":3}`), list("Stats", "p", `1 {"packetsLost":0}`), nil},
		"more lost":               {list("Stats", "p", `1 {"packetsLost":3}`), list("Stats", "p", `1 {"packetsLost":4}`), []string{"stats p #0.packetsLost"}},
		"stats":                   {list("Stats", "p", `1 {"byteCount":1,"score":1}`), list("Stats", "p", `1 {"byteCount":1,"score":2}`), []string{"stats p #0.score"}},
		"feedback, cut elsewhere": {tcc(feedback(100, 65530, 10, 0, "65531"), feedback(200, 4, 5, 1, "6")), tcc(feedback(100, 65530, 12, 0, "65531"), feedback(200, 6, 3, 1, "6")), nil},
		"feedback, loss":          {tcc(feedback(100, 10, 10, 0, "11")), tcc(feedback(100, 10, 10, 0, "12")), []string{"rtcp src/TCC #0.lost[0]"}},
		"feedback with a gap":     {tcc(feedback(100, 10, 10, 0, ""), feedback(200, 20, 5, 1, "")), tcc(feedback(100, 10, 8, 0, ""), feedback(200, 20, 5, 1, "")), []string{"rtcp src/TCC #0"}},
		"feedback too often":      {tcc(feedback(100, 10, 10, 0, "")), tcc(feedback(1, 10, 1, 0, ""), feedback(2, 11, 1, 1, ""), feedback(3, 12, 1, 2, ""), feedback(4, 13, 7, 3, "")), []string{"rtcp src/TCC count"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := mediaComparison{slack: 150}
			c.compare(recordingOf(t, tt.want), recordingOf(t, tt.got))
			var places []string
			for _, d := range c.found {
				places = append(places, d.place)
			}
			if strings.HasSuffix(name, "with a gap") {
				require.NotEmpty(t, places)
				return
			}
			assert.ElementsMatch(t, tt.places, places)
		})
	}
}

// In a pipe it is chance how far a score falls by a little.
func TestPipeScores(t *testing.T) {
	scores := func(list ...int) mediaList {
		var l mediaList
		for i, s := range list {
			l.Items = append(l.Items, mediaItem{float64(100 * i), map[string]any{"score": float64(s), "list": []any{float64(s)}}})
		}
		return l
	}
	for _, tt := range []struct {
		scenario  string
		want, got mediaList
		same      bool
	}{
		{"12-pipe-a", scores(10, 9, 10), scores(10), true},
		{"12-pipe-a", scores(10), scores(10, 9), true},
		{"12-pipe-a", scores(10, 8), scores(10), false},
		{"12-pipe-a", scores(10, 9), scores(10, 7), false},
		{"09-a", scores(10, 9, 10), scores(10), false},
	} {
		c := mediaComparison{scenario: tt.scenario, slack: 150, end: 10_000}
		c.compareLists("events C1.score", tt.want, tt.got)
		assert.Equal(t, tt.same, len(c.found) == 0, c.found)
	}
}

// How late something came is by comparison with the slowest run.
func TestLate(t *testing.T) {
	late := func(want, got string) float64 {
		c := mediaComparison{slack: 150}
		c.compare(recordingOf(t, want), recordingOf(t, got))
		return c.late
	}
	assert.Zero(t, late(`"Inputs":[[0,[0,30],"src","a"]]`, `"Inputs":[[0,30,"src","a"]]`))
	assert.EqualValues(t, 20, late(`"Inputs":[[0,[0,30],"src","a"]]`, `"Inputs":[[0,50,"src","a"]]`))
	assert.EqualValues(t, 40, late(stream(1), rtp(row(1, 140, 0))))
	assert.Zero(t, late(stream(1), rtp(row(1, 60, 0))))
}
