package vertical_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/vertical"
	"github.com/mafalda-sfu/mafalda/vertical/placement"
	"github.com/mafalda-sfu/mafalda/wrap"
)

// A loaded is a Worker whose load a test chooses.
type loaded struct {
	*wrap.Worker
	load *atomic.Int32 // per cent
}

func (w *loaded) Load(context.Context) (mafalda.Load, error) {
	return mafalda.Load{CPU: float64(w.load.Load()) / 100, PacketsPerSecond: 7}, nil
}

// newLoadedRoom is newRoom, over Workers of that load.
func newLoadedRoom(t *testing.T, load *atomic.Int32, o vertical.Options) *room {
	t.Helper()
	return newRoomOn(t, wrap.NewSpace(wrap.Hooks{
		Worker: func(w *wrap.Worker) mafalda.Worker { return &loaded{w, load} },
	}).SFU(mafalda.New()), o)
}

func TestHighWater(t *testing.T) {
	t.Parallel()
	var load atomic.Int32
	r := newLoadedRoom(t, &load, now(1))
	sfu := r.sfu
	var high, low atomic.Int32
	sfu.Events().HighWater.On(func(u vertical.Usage) {
		assert.True(t, u.High)
		assert.InDelta(t, 0.95, u.Load, 1e-9)
		high.Add(1)
	})
	sfu.Events().LowWater.On(func(u vertical.Usage) {
		assert.False(t, u.High)
		low.Add(1)
	})
	load.Store(95)
	r.direct(t)
	eventually(t, "HighWater", func() bool { return high.Load() == 1 })
	u := sfu.Usage()
	require.Len(t, u.Workers, 1)
	require.Equal(t, 7.0, u.Workers[0].PacketsPerSecond)
	require.Zero(t, u.Headroom)
	load.Store(85) // below the watermark, but not enough
	eventually(t, "85 %", func() bool { return sfu.Usage().Load == 0.85 })
	require.Zero(t, low.Load())
	require.True(t, sfu.Usage().High)
	load.Store(20)
	eventually(t, "LowWater", func() bool { return low.Load() == 1 })
	require.EqualValues(t, 1, high.Load())
	require.InDelta(t, 0.4, sfu.Usage().Headroom, 0.011)
}

// Ten points below a low watermark there is nothing.
func TestLowWaterBelowALowWatermark(t *testing.T) {
	t.Parallel()
	var load atomic.Int32
	load.Store(20)
	o := now(1)
	o.WatermarkNode = 0.1
	r := newLoadedRoom(t, &load, o)
	var high, low atomic.Int32
	r.sfu.Events().HighWater.On(func(vertical.Usage) { high.Add(1) })
	r.sfu.Events().LowWater.On(func(vertical.Usage) { low.Add(1) })
	r.direct(t)
	eventually(t, "HighWater", func() bool { return high.Load() == 1 })
	load.Store(4)
	eventually(t, "LowWater", func() bool { return low.Load() == 1 })
}

// A few is a Registry of so many CPUs, of which others may have some.
type few struct{ free atomic.Int32 }

func (f *few) Acquire(int) (release func(), err error) {
	if f.free.Add(-1) < 0 {
		f.free.Add(1)
		return nil, fmt.Errorf("others have them: %w", mafalda.ErrUnavailable)
	}
	return func() { f.free.Add(1) }, nil
}

// The water is high where this process can't get more, whatever the machine has.
func TestHighWaterWhereOthersHaveTheCPUs(t *testing.T) {
	t.Parallel()
	var load atomic.Int32
	load.Store(95)
	var cpus few
	o := now(4)
	o.Registry = &cpus
	r := newLoadedRoom(t, &load, o)
	var high, low atomic.Int32
	r.sfu.Events().HighWater.On(func(u vertical.Usage) { high.Add(1) })
	r.sfu.Events().LowWater.On(func(u vertical.Usage) { low.Add(1) })
	require.Equal(t, 4, r.sfu.Usage().Capacity)

	_, err := r.router.CreateDirectTransport(t.Context(), mafalda.DirectTransportOptions{})
	require.ErrorIs(t, err, mafalda.ErrUnavailable)
	require.Equal(t, 0, r.sfu.Usage().Capacity)
	eventually(t, "HighWater: there is nothing to be had", func() bool { return high.Load() == 1 })

	cpus.free.Store(1)
	load.Store(20)
	r.direct(t)
	require.Equal(t, 4, r.sfu.Usage().Capacity, "there is more, as far as is known")
	eventually(t, "LowWater", func() bool { return low.Load() == 1 })

	r.direct(t) // wants another one
	u := r.sfu.Usage()
	require.Equal(t, 1, u.Capacity)
	require.Equal(t, 4, u.MaxWorkers)
	require.Less(t, u.Headroom, 0.6)
	load.Store(95)
	eventually(t, "HighWater", func() bool { return high.Load() == 2 })

	cpus.free.Store(3)
	r.direct(t)
	eventually(t, "LowWater", func() bool { return low.Load() == 2 })
}

// A witness is a policy that notes what it was told.
type witness struct{ packets atomic.Int64 }

func (p *witness) Place(v *placement.View) int {
	if v.CanGrow {
		return placement.New
	}
	p.packets.Store(int64(v.Candidates[0].PacketsPerSecond))
	return 0
}

// A policy is told of the packet rate that the Worker measured.
func TestPolicyKnowsThePackets(t *testing.T) {
	t.Parallel()
	var load atomic.Int32
	p := new(witness)
	o := now(1)
	o.Policy = p
	r := newLoadedRoom(t, &load, o)
	r.direct(t)
	eventually(t, "a measure", func() bool { return r.sfu.Usage().Workers[0].PacketsPerSecond == 7 })
	r.direct(t)
	require.EqualValues(t, 7, p.packets.Load())
}
