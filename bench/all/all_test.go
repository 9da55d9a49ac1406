package main

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDocument(t *testing.T) {
	dir := t.TempDir()
	doc, figures := filepath.Join(dir, "doc.md"), filepath.Join(dir, "figures.json")
	r := report{Command: "go run ./bench/all"}
	for _, s := range sections {
		for _, run := range s.Runs {
			r.Runs = append(r.Runs, outcome{Name: run.Name, Command: "go run ./bench/" + run.Command[0], Result: json.RawMessage("{}")})
		}
	}
	*r.outcome("fanout300") = outcome{Name: "fanout300", Command: "go run ./bench/fanout -explain", Others: 1.26, Result: json.RawMessage(
		`{"nsPerPacket":2034.4,"ratio":1.375,"sink":"tun","latencyMs":{"lastReceiver":12},"explained":{"stages":{"seal":530.4}}}`)}
	*r.outcome("grid") = outcome{Name: "grid", Command: "go run ./bench/grid", Error: "exit status 1:\ntoo few", Result: json.RawMessage(
		`{"sink":"loopback"}`)}
	r.outcome("pion300").Result = json.RawMessage(`{"versions":{"github.com/b":"v2","a":"v1"}}`)
	*r.outcome("livekit300") = outcome{Name: "livekit300", Command: "go run ./bench/livekit", LeftOut: "exit status 69:\nno server"}
	r.outcome("memory").Result = json.RawMessage(`{"resident":2097152,"bytesPerConsumer":1536}`)
	args := []string{"-from", figures, "-doc", doc}
	save := func() {
		b, err := json.Marshal(r)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(figures, b, 0o600))
	}
	save()

	require.NoError(t, os.WriteFile(doc, []byte("no marks\n"), 0o600))
	require.ErrorContains(t, all(t.Context(), args, io.Discard), "has no lines")

	require.NoError(t, os.WriteFile(doc, []byte("before\n"+beginMark+"\nold\n"+endMark+"\nafter\n"), 0o600))
	for range 2 { // what is written can be written again
		require.EqualError(t, all(t.Context(), args, io.Discard), "failed: grid")
	}
	b, err := os.ReadFile(doc)
	require.NoError(t, err)
	text := string(b)
	assert.Contains(t, text, "before\n"+beginMark)
	assert.Contains(t, text, endMark+"\nafter\n")
	assert.NotContains(t, text, "old")
	assert.Regexp(t, "\\| `fanout -explain` \\| 2,034 \\| – \\| 1.38 \\|.* 12.00 \\| – \\| – \\| 1.3 \\|\n", text)
	assert.Regexp(t, "\\| `memory` \\| – \\| 1.5 \\| – \\| – \\| 2 \\|", text)
	assert.Contains(t, text, "`grid` failed: exit status 1: too few.")
	assert.Contains(t, text, "\n\n`peers` is of a v1, b v2.\n\n`livekit` was left out: exit status 69: no server.\n\n")
	assert.Contains(t, text, "`grid` went over loopback")
	assert.NotContains(t, text, "`fanout -explain` went")
	assert.Contains(t, text, "| `fanout -explain` | – | – | – | – | – | – | 530 | – | – | – | – |")

	// What has no figures spoils no document.
	*r.outcome("join") = outcome{Name: "join", Command: "go run ./bench/join", Error: "it broke"}
	save()
	err = all(t.Context(), args, io.Discard)
	require.ErrorContains(t, err, "failed: grid, join")
	require.ErrorContains(t, err, "no figures of join")
	after, err := os.ReadFile(doc)
	require.NoError(t, err)
	assert.Equal(t, text, string(after))
	require.ErrorContains(t, all(t.Context(), append(args, "-only", "grid"), io.Discard), "-only")
}

// What a command prints last is its result, and what it uses is not others'.
func TestExecute(t *testing.T) {
	result, others, err := execute(t.Context(), "/bin/sh", []string{"-c", `echo pair; echo '{"a":1}'`})
	require.NoError(t, err)
	assert.JSONEq(t, `{"a":1}`, string(result))
	assert.GreaterOrEqual(t, others, 0.0)
	result, _, err = execute(t.Context(), "/bin/sh", []string{"-c", `echo '{"a":2}'; echo few >&2; exit 1`})
	require.ErrorContains(t, err, "few")
	assert.JSONEq(t, `{"a":2}`, string(result))
	_, _, err = execute(t.Context(), "/bin/sh", []string{"-c", "echo pair"})
	require.ErrorContains(t, err, "no JSON")
}

func TestGrouped(t *testing.T) {
	for in, want := range map[string]string{"1": "1", "123": "123", "1234": "1,234", "-1234567.25": "-1,234,567.25", "-123": "-123"} {
		assert.Equal(t, want, grouped(in))
	}
}

// Every command exists, and no two runs have one name.
func TestRuns(t *testing.T) {
	names := map[string]bool{}
	for _, s := range sections {
		for _, r := range s.Runs {
			assert.False(t, names[r.Name], r.Name)
			names[r.Name] = true
			assert.DirExists(t, filepath.Join("..", r.Command[0]))
		}
	}
	for _, name := range explained {
		assert.True(t, names[name], name)
	}
}
