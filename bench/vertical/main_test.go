package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestMeasure(t *testing.T) {
	*consumers, *kills, *length = 20, 2, time.Second
	r, err := measure(t.Context())
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
