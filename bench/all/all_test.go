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
	r := report{
		Command: "go run ./bench/all",
		Runs: []outcome{
			{Name: "fanout300", Command: "go run ./bench/fanout -explain", Result: json.RawMessage(
				`{"nsPerPacket":2034.4,"ratio":1.375,"latencyMs":{"lastReceiver":12},"explained":{"stages":{"seal":530.4}}}`)},
			{Name: "memory", Command: "go run ./bench/memory", Result: json.RawMessage(`{"resident":2097152,"bytesPerConsumer":1536}`)},
			{Name: "join", Command: "go run ./bench/join", Error: "it broke"},
		},
	}
	b, err := json.Marshal(r)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(figures, b, 0o600))
	args := []string{"-from", figures, "-doc", doc}

	require.NoError(t, os.WriteFile(doc, []byte("no marks\n"), 0o600))
	require.ErrorContains(t, all(t.Context(), args, io.Discard), "has no lines")

	require.NoError(t, os.WriteFile(doc, []byte("before\n"+beginMark+"\nold\n"+endMark+"\nafter\n"), 0o600))
	for range 2 { // what is written can be written again
		require.EqualError(t, all(t.Context(), args, io.Discard), "failed: join")
	}
	b, err = os.ReadFile(doc)
	require.NoError(t, err)
	text := string(b)
	assert.Contains(t, text, "before\n"+beginMark)
	assert.Contains(t, text, endMark+"\nafter\n")
	assert.NotContains(t, text, "old")
	assert.Contains(t, text, "| `fanout -explain` | 2,034 | – | 1.38 | – | – | – | – | 12.00 | – |")
	assert.Contains(t, text, "| `memory` | – | 1.5 | – | – | 2 |")
	assert.Contains(t, text, "| `join` | – | – | – | – | – |")
	assert.Contains(t, text, "| `fanout -explain` | – | – | – | – | – | – | 530 | – | – | – | – |")
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
