package main

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestPlanted plays the script through the Go API and plants differences in
// copies of its log: each is found where it is.
func TestPlanted(t *testing.T) {
	script, err := loadScript()
	require.NoError(t, err)
	log, err := play(t.Context(), script, "")
	require.NoError(t, err)
	require.NoError(t, asExpected(script, log))
	at := func(call string) int {
		i := slices.IndexFunc(script, func(s step) bool { return s.Call == call })
		require.GreaterOrEqual(t, i, 0, call)
		return i
	}
	found, err := compare(script, log, copyLog(t, log))
	require.NoError(t, err)
	require.Empty(t, found)

	tests := []struct {
		name, call string
		plant      func(e *entry)
		place      string
		differs    int
	}{
		{"value of a dump", "view.dump", func(e *entry) { e.Result.(map[string]any)["priority"] = 9.0 }, ".result.priority", 1},
		{"counter in stats", "listen.getStats", func(e *entry) { e.Result.([]any)[0].(map[string]any)["packetCount"] = 77.0 }, ".result[0].packetCount", 1},
		{"class of an error", "bare.updateMediaCodecs", func(e *entry) { e.Error = "Error" }, ".error", 1},
		{"another object", "heard.dump", func(e *entry) {
			m := e.Result.(map[string]any)
			m["producerId"] = m["id"]
		}, ".result.producerId", 1},
		{"payload of an event", "news.send", func(e *entry) { e.Events[0].Args[0] = map[string]any{"$bytes": "00"} }, ".events[0].args[0]", 1},
		{"lost event", "news.send", func(e *entry) { e.Events = e.Events[1:] }, ".events[]", 1},
		{"order of events of an object", "direct.close", func(e *entry) {
			i := slices.IndexFunc(e.Events, func(v event) bool { return v.Event == "producerclose" })
			e.Events[i].Event, e.Events[i+1].Event = e.Events[i+1].Event, e.Events[i].Event
		}, ".events", 2},
		{"order between objects that a close closes", "worker.close", func(e *entry) {
			for i := range e.Sync - 1 {
				if owner(e.Events[i].On) != owner(e.Events[i+1].On) {
					e.Events[i], e.Events[i+1] = e.Events[i+1], e.Events[i]
					return
				}
			}
		}, ".order", 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			other := copyLog(t, log)
			i := at(tt.call)
			if tt.call == "bare.updateMediaCodecs" {
				i++ // the one that fails
			}
			tt.plant(&other[i])
			found, err := compare(script, log, other)
			require.NoError(t, err)
			assert.Len(t, found, tt.differs)
			for _, d := range found {
				assert.Equal(t, title(i, &script[i]), d.title)
				assert.Contains(t, d.place, tt.place)
			}
		})
	}
}

// copyLog returns a deep copy.
func copyLog(t *testing.T, log []entry) []entry {
	t.Helper()
	b, err := json.Marshal(log)
	require.NoError(t, err)
	out, err := readLog(b)
	require.NoError(t, err)
	return out
}

// TestKnown: a known difference is not reported, what is beside it is, and one
// that is not there is.
func TestKnown(t *testing.T) {
	known, err := parseKnown("# comment\nnpm-go | a\\.dump | \\.x | 1 | 2 | so it is\nnpm-go | b | \\.y | 1 |  | gone\n")
	require.NoError(t, err)
	var b bytes.Buffer
	bad := report(&b, [2]string{"npm", "go"}, []difference{
		{"a.dump", "step 1 a.dump", ".x", "1", "2"},
		{"a.dump", "step 1 a.dump", ".x", "1", "3"},
		{"a.dump", "step 1 a.dump", ".xx", "1", "2"},
	}, known, false)
	assert.Equal(t, 2, bad)
	assert.Equal(t, 0, report(&b, [2]string{"npm", "go"}, []difference{{"a.dump", "", ".x", "1", "2"}}, known, false))
	assert.Equal(t, 1, report(&b, [2]string{"go", "process"}, []difference{{"a.dump", "", ".x", "1", "2"}}, known, false), "of another pair")
	b.Reset()
	assert.Equal(t, 1, unseen(&b, known))
	assert.Contains(t, b.String(), "gone: npm-go")
	_, err = parseKnown("npm-go | a | b | c | d\n")
	assert.Error(t, err, "without a reason")
}

// TestExpected: what the script says of a log is held against it.
func TestExpected(t *testing.T) {
	script := []step{{Call: "a.b", Until: map[string]any{"x.score": 1.0}}}
	for name, e := range map[string]entry{
		"failed":        {Error: "TypeError", Text: "no"},
		"missing event": {Missing: []string{"x.score"}},
		"late event":    {Events: []event{{On: "x", Event: "trace"}}},
	} {
		assert.Error(t, asExpected(script, []entry{e}), name)
	}
	assert.Error(t, asExpected(script, nil), "too short")
	assert.Error(t, asExpected([]step{{Call: "a.b", Fails: true}}, []entry{{}}), "did not fail")
	assert.NoError(t, asExpected(script, []entry{{Events: []event{{On: "x", Event: "score"}}}}))
}

// TestRules: each rule takes its own, and one that takes nothing is reported.
func TestRules(t *testing.T) {
	trace := event{On: "c", Event: "trace", Args: []any{map[string]any{"rid": nil, "ssrc": 1.0}}}
	observed := trace
	observed.On = "c.observer"
	logs := map[string][]entry{"npm": {{Events: []event{trace, observed, trace, observed}}}}
	var b bytes.Buffer
	assert.Equal(t, 0, applyRules(&b, logs))
	assert.Equal(t, []event{trace, observed}, logs["npm"][0].Events)
	assert.NotContains(t, text(logs), "rid")
	assert.Equal(t, 2, applyRules(&b, logs))
	assert.Equal(t, 2, strings.Count(b.String(), "took nothing"))
}

// TestCanonical: equal are two runs with other ids, SSRCs and times, and not a
// run in which two of them are swapped.
func TestCanonical(t *testing.T) {
	const id1, id2 = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
	script := []step{{Call: "r.consume", As: "c"}, {Call: "c.getStats"}}
	run := func(id, other string, ssrc, ms float64) []entry {
		return []entry{
			{Result: map[string]any{"$object": id, "state": map[string]any{"ssrc": ssrc}}},
			{Result: map[string]any{"ssrc": ssrc, "rtxSsrc": ssrc + 1, "timestamp": ms, "of": id, "by": other}},
		}
	}
	a, err := canonical(script, run(id1, id2, 123456789, 5))
	require.NoError(t, err)
	b, err := canonical(script, run(id2, id1, 234567890, 6))
	require.NoError(t, err)
	assert.Equal(t, a, b)
	assert.Equal(t, map[string]any{
		"ssrc": "<ssrc 1>", "rtxSsrc": "<ssrc 1 + 1>", "timestamp": "<ms>", "of": "c", "by": "<uuid 1>",
	}, a[1].(map[string]any)["result"])
	other := run(id1, id2, 123456789, 5)
	other[1].Result.(map[string]any)["of"] = id2
	b, err = canonical(script, other)
	require.NoError(t, err)
	assert.NotEqual(t, a, b)
}
