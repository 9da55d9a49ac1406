package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMeasure(t *testing.T) {
	o, err := parseOptions([]string{"-consumers", "20", "-kills", "2", "-time", "1s"})
	require.NoError(t, err)
	r, err := o.measure(t.Context())
	require.NoError(t, err)
	require.Len(t, r.FanOut, 2)
	for i, f := range r.FanOut {
		require.Equal(t, i+1, f.Workers)
		require.Equal(t, i, f.Pipes, "none on one Worker, one for the Producer on two")
		require.Positive(t, f.Forwarded)
		require.Len(t, f.CPU, i+1)
	}
	require.Positive(t, r.Latency.Near.P50)
	require.Positive(t, r.Latency.Piped.P50)
	require.Positive(t, r.Recovery.P50)
}

func TestOptions(t *testing.T) {
	for want, args := range map[string][]string{
		"-consumers is 0, want 1 to 10000": {"-consumers", "0"},
		"-rate is 0, want 1 to 20000":      {"-rate", "0"},
		"-size is 1401, want 16 to 1400":   {"-size", "1401"},
		"-time is 999ms, want 1s to 10m0s": {"-time", "999ms"},
		"-kills is -1, want 0 to 1000":     {"-kills", "-1"},
		`unknown argument "more"`:          {"more"},
	} {
		_, err := parseOptions(args)
		require.EqualError(t, err, want)
	}
}
