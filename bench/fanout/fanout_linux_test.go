package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/bench/internal/harness"
)

func TestOptions(t *testing.T) {
	o, err := parseOptions([]string{"-consumers", "20", "-transport", "plain"})
	require.NoError(t, err)
	assert.Equal(t, portsEach, o.Ports)
	assert.GreaterOrEqual(t, o.Seconds, minPairs)
	for _, bad := range [][]string{
		{"-consumers", "0"}, {"-consumers", "10001"}, {"-pps", "0"}, {"-seconds", "4"}, {"-size", "10"}, {"-burst", "65"},
		{"-suite", "NULL"}, {"-transport", "tcp"}, {"-ports", "two"}, {"-tick", "-1s"}, {"more"},
	} {
		_, err := parseOptions(bad)
		assert.Error(t, err, bad)
	}
}

func TestGate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "baseline.json")
	require.NoError(t, os.WriteFile(file, []byte(`{"ratio": 2.0}`), 0o600))
	for _, c := range []struct {
		name string
		r    result
		ok   bool
	}{
		{"as good", result{Figures: harness.Figures{Sink: harness.SinkTUN, Ratio: 2, Forwarded: 1}}, true},
		{"a little worse", result{Figures: harness.Figures{Sink: harness.SinkTUN, Ratio: 1.41, Forwarded: 1}}, true},
		{"worse", result{Figures: harness.Figures{Sink: harness.SinkTUN, Ratio: 1.39, Forwarded: 1}}, false},
		{"allocates", result{Figures: harness.Figures{Sink: harness.SinkTUN, Ratio: 3, AllocsPerPacket: 0.001, Forwarded: 1}}, false},
		{"no gate on loopback", result{Figures: harness.Figures{Sink: harness.SinkLoopback, Ratio: 0.1, AllocsPerPacket: 1, Forwarded: 1}}, true},
		{"loses packets", result{Figures: harness.Figures{Sink: harness.SinkLoopback, Ratio: 3, Forwarded: 0.98}}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := &options{baseline: file}
			err := o.check(&c.r)
			assert.Equal(t, c.ok, err == nil, "%v", err)
		})
	}
}
