package interop

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
)

// A moment is how a page's receiver stands.
type moment struct {
	At     float64 // ms since 1970
	Late   float64 // ms that the machine let the page wait
	Frames int     // decoded
	Height int     // of the picture
	Bytes  int     // received, padding and retransmissions included
}

// An estimate is what a transport believes it can send.
type estimate struct {
	at      float64 // ms since 1970
	bitrate int
}

// A course is how a receiver fared for some time, every 100 ms.
type course struct {
	moments   []moment
	estimates []estimate
	layers    []string // from when on they were sent
	// others is how long the machine let the sender's page, or us, wait at most.
	others time.Duration
}

// late is how long the machine let anybody wait at most.
func (c course) late() time.Duration {
	late := c.others
	for _, m := range c.moments {
		late = max(late, millis(m.Late))
	}
	return late
}

// ms returns t as the page does.
func ms(t time.Time) float64 { return float64(t.UnixMicro()) / 1000 }

// record watches a receiver until stop is called.
func record(t testing.TB, ctx context.Context, from browser, to *client, c mafalda.Consumer) (stop func() course) {
	t.Helper()
	var late float64 // ms
	require.NoError(t, from.do(ctx, "late", nil, &late))
	require.NoError(t, to.do(ctx, "record", map[string]any{"consumerId": c.ID()}, nil))
	var result course
	var failed error
	var mu sync.Mutex
	begin := time.Now()
	ignore := c.Events().LayersChange.On(func(l *mafalda.ConsumerLayers) {
		mu.Lock()
		defer mu.Unlock()
		what := "none"
		if l != nil {
			what = fmt.Sprintf("%d.%d", l.SpatialLayer, *l.TemporalLayer)
		}
		result.layers = append(result.layers, fmt.Sprintf("%s at %.1fs", what, time.Since(begin).Seconds()))
	})
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { // ends with stop, or with the test
		const interval = 100 * time.Millisecond
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for begin := time.Now(); ctx.Err() == nil; begin = time.Now() {
			stats, err := to.recv.Stats(ctx)
			if err == nil && stats[0].AvailableOutgoingBitrate == nil {
				err = errors.New("the transport has no available bitrate")
			}
			if err != nil {
				failed = err
				return
			}
			result.estimates = append(result.estimates, estimate{ms(time.Now()), *stats[0].AvailableOutgoingBitrate})
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
			result.others = max(result.others, time.Since(begin)-interval)
		}
	})
	parent := t.Context()
	return func() course {
		t.Helper()
		ignore()
		cancel()
		wg.Wait()
		mu.Lock()
		defer mu.Unlock()
		if !errors.Is(failed, context.Canceled) {
			require.NoError(t, failed)
		}
		require.NoError(t, errors.Join(
			to.do(parent, "recorded", map[string]any{"consumerId": c.ID()}, &result.moments),
			from.do(parent, "late", nil, &late),
		))
		result.others = max(result.others, millis(late))
		require.Greater(t, len(result.moments), 10)
		return result
	}
}

// never is longer than any course.
const never = time.Hour

// until returns how long after a time ok was true first of the picture.
func (c course) until(from time.Time, ok func(moment) bool) time.Duration {
	for _, m := range c.moments {
		if m.At >= ms(from) && ok(m) {
			return millis(m.At - ms(from))
		}
	}
	return never
}

// untilEstimate is until for the estimate.
func (c course) untilEstimate(from time.Time, ok func(bitrate int) bool) time.Duration {
	for _, e := range c.estimates {
		if e.at >= ms(from) && ok(e.bitrate) {
			return millis(e.at - ms(from))
		}
	}
	return never
}

// exceeds returns the share of the time that the estimate is above a bitrate.
func (c course) exceeds(bitrate int, from, to time.Time) float64 {
	above, all := 0, 0
	for _, e := range c.estimates {
		if e.at < ms(from) || e.at >= ms(to) {
			continue
		}
		all++
		if e.bitrate > bitrate {
			above++
		}
	}
	return float64(above) / float64(max(all, 1))
}

func millis(v float64) time.Duration { return time.Duration(v * float64(time.Millisecond)) }

// A stretch is what a course was like between two times.
type stretch struct {
	mean, most int     // of the estimate, bit/s
	bitrate    int     // received
	fps        float64 // decoded
	still      time.Duration
	heights    map[int]float64
}

func (s stretch) String() string {
	return fmt.Sprintf("available mean=%dk most=%dk received=%dk %.1ffps longest still=%v", s.mean/1000, s.most/1000, s.bitrate/1000, s.fps, s.still.Round(time.Millisecond))
}

// between returns what the course was like.
func (c course) between(from, to time.Time) (s stretch) {
	n := 0
	for _, e := range c.estimates {
		if e.at >= ms(from) && e.at < ms(to) {
			s.mean += e.bitrate
			s.most = max(s.most, e.bitrate)
			n++
		}
	}
	if n > 0 {
		s.mean /= n
	}
	s.heights = map[int]float64{}
	var first, last, moved moment // moved is when a new frame came
	moments := 0
	for _, m := range c.moments {
		if m.At < ms(from) || m.At >= ms(to) {
			continue
		}
		if moments++; moments == 1 {
			first, moved = m, m
		}
		if m.Frames != moved.Frames {
			moved = m
		}
		last = m
		s.still = max(s.still, millis(m.At-moved.At))
		s.heights[m.Height]++
	}
	for h := range s.heights {
		s.heights[h] /= float64(moments)
	}
	if seconds := (last.At - first.At) / 1000; seconds > 0 {
		s.bitrate = int(float64(last.Bytes-first.Bytes) * 8 / seconds)
		s.fps = float64(last.Frames-first.Frames) / seconds
	}
	return s
}
