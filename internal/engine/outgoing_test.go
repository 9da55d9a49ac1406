package engine

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestOutgoingLimits(t *testing.T) {
	w, _ := newTestWorker(t)
	run(t, w, func(m *Machine) error {
		if err := m.CreateRouter("r"); err != nil {
			return err
		}
		_, err := m.CreateDirectTransport("r", DirectTransportOptions{ID: "d"})
		if err != nil {
			return err
		}
		_, err = m.CreatePlainTransport("r", PlainTransportOptions{
			ID: "t", ListenInfo: ListenInfo{Protocol: UDP, IP: loopback},
		})
		return err
	})
	run(t, w, func(m *Machine) error {
		low, high := m.SetMinOutgoingBitrate, m.SetMaxOutgoingBitrate
		for _, set := range []func(string, uint32) error{low, high} {
			assert.ErrorIs(t, set("nobody", 0), ErrNotFound)
			assert.ErrorIs(t, set("d", 0), errors.ErrUnsupported)
			assert.ErrorIs(t, set("t", 29_999), ErrInvalidArgument)
		}
		assert.NoError(t, high("t", 100_000))
		assert.ErrorIs(t, low("t", 100_001), ErrInvalidArgument)
		assert.NoError(t, low("t", 100_000))
		assert.ErrorIs(t, high("t", 99_999), ErrInvalidArgument)
		s, err := m.TransportStats("t")
		require.NoError(t, err)
		assert.Equal(t, [2]uint32{100_000, 100_000}, [2]uint32{s.MinOutgoingBitrate, s.MaxOutgoingBitrate})
		assert.NoError(t, high("t", 0))
		assert.NoError(t, low("t", 200_000))
		return nil
	})
}

func TestTraceTransport(t *testing.T) {
	w, _ := newTestWorker(t)
	run(t, w, func(m *Machine) error {
		require.NoError(t, m.CreateRouter("r"))
		_, err := m.CreateDirectTransport("r", DirectTransportOptions{ID: "d"})
		require.NoError(t, err)
		assert.ErrorIs(t, m.TraceTransport("nobody", nil), ErrNotFound)
		for _, types := range [][]string{{"bwe"}, {"probation", "bwe"}, {}} {
			assert.NoError(t, m.TraceTransport("d", append(types, "chicken")))
			d, err := m.DumpTransport("d")
			assert.NoError(t, err)
			assert.Equal(t, types, d.TraceEventTypes)
		}
		return nil
	})
}
