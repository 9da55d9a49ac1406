package wrap

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
)

func TestLoadMeter(t *testing.T) {
	var m loadMeter
	at := time.Unix(1000, 0)
	require.Zero(t, m.read(at, mafalda.WorkerResourceUsage{Utime: 100}))
	require.Zero(t, m.read(at.Add(time.Second/2), mafalda.WorkerResourceUsage{Utime: 400}), "too soon")
	got := m.read(at.Add(2*time.Second), mafalda.WorkerResourceUsage{Utime: 900, Stime: 200})
	require.Equal(t, mafalda.Load{CPU: 0.5}, got)
	require.Equal(t, got, m.read(at.Add(2500*time.Millisecond), mafalda.WorkerResourceUsage{Utime: 5000}), "too soon")
}
