package interop

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/interop/impair"
)

// The line behind which the receiver is, in bit/s, when it is wide and narrow.
const (
	wide   = 2_000_000
	narrow = 500_000
)

// TestChromiumBandwidth: a page sends three layers of VP8, another one is
// behind a line of our relay. What it is sent follows what the line carries.
func TestChromiumBandwidth(t *testing.T) {
	needPrograms(t, "chromium")
	pages := openPair(t)
	for _, c := range []struct {
		name string
		run  func(t *testing.T, ctx context.Context, pages pair) (figures string, c course, err error)
		long bool
	}{
		{"step 2M 500k 2M", bandwidthStep, false},
		{"ramp up from 300k", bandwidthRamp, false},
		{"10% random loss", bandwidthOf(impair.Config{Rate: wide, Loss: 0.1}), false},
		{"200ms round trip", bandwidthOf(impair.Config{Rate: wide, Delay: 100 * time.Millisecond}), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.long && !*long {
				t.Skip("takes long; run with -long")
			}
			for try := 1; ; try++ {
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
				defer cancel()
				pages.fresh(t, ctx)
				text, course, err := c.run(t, ctx, pages)
				figures("bandwidth, %s: %s", c.name, text)
				if err == nil {
					return
				}
				// When the machine stalled anybody, that says nothing about us.
				figures("bandwidth, %s: %v, machine late=%v, layers %v", c.name, err, course.late(), course.layers)
				if course.late() < 150*time.Millisecond || try == 3 {
					require.NoError(t, err)
				}
			}
		})
	}
}

// phase is how long a phase of a scenario takes: longer with -long.
func phase(d time.Duration) time.Duration {
	if *long {
		return 4 * d
	}
	return d
}

// behindLine lets a page send three layers, all of which flow, and another one
// join behind a relay, at the time that it returns.
func behindLine(t *testing.T, ctx context.Context, pages pair, line impair.Config, o mafalda.WebRTCTransportOptions) (a, b *client, seen mafalda.Consumer, joined time.Time) {
	t.Helper()
	r := newRoom(t)
	up := impair.Config{Loss: line.Loss, Delay: line.Delay, Seed: 1}
	line.Seed = 2
	n := newRelay(t, r, impair.Options{Up: up, Down: line})
	o.EnableTCP = new(false)
	n.options, n.jitterBuffer = o, patience
	a = r.join(t, ctx, pages.a, network{})
	b = r.join(t, ctx, pages.b, n)
	v := hd("video/VP8", simulcast("L1T3"))
	v.frameRate, v.busy = 15, true
	picture := a.sendVideo(t, ctx, v)
	until(t, ctx, "the page sends all layers", func() (bool, error) {
		stats, err := picture.Stats(ctx)
		if err != nil || len(stats) < 3 || stats[2].Bitrate < 1_000_000 {
			return false, fmt.Errorf("%v %w", stats, err)
		}
		return true, nil
	})
	joined = time.Now()
	return a, b, b.receive(t, ctx, picture), joined
}

// watch looks at the picture for some time, which has to be the one sent.
func (c *client) watch(t *testing.T, ctx context.Context, consumer object, d time.Duration) {
	t.Helper()
	var s seenPicture
	require.NoError(t, c.do(ctx, "watch", map[string]any{"consumerId": consumer.ID(), "milliseconds": d.Milliseconds()}, &s))
	require.Greater(t, s.Samples, 5)
	require.GreaterOrEqual(t, s.Known, s.Samples*9/10, "another picture than the one sent: %+v", s)
}

func top(m moment) bool { return m.Height == 720 }

// bandwidthStep makes the line narrow, and wide again.
func bandwidthStep(t *testing.T, ctx context.Context, pages pair) (string, course, error) {
	a, b, seen, _ := behindLine(t, ctx, pages, impair.Config{Rate: wide}, mafalda.WebRTCTransportOptions{})
	b.untilHeight(t, ctx, seen, 720)
	begin := time.Now()
	stop := record(t, ctx, a, b, seen)
	// Of a stream that is younger than 8 s a fall is not remembered.
	b.watch(t, ctx, seen, phase(8*time.Second))
	down := time.Now()
	require.NoError(t, b.net.relay.Set(impair.Config{}, impair.Config{Rate: narrow}))
	b.watch(t, ctx, seen, phase(6*time.Second))
	up := time.Now()
	require.NoError(t, b.net.relay.Set(impair.Config{}, impair.Config{Rate: wide}))
	b.watch(t, ctx, seen, phase(8*time.Second))
	c := stop()
	end := time.Now()

	follows := c.untilEstimate(down, func(v int) bool { return v <= narrow*11/10 })
	exceeds := c.exceeds(narrow*11/10, down.Add(follows), up)
	fell := c.until(down, func(m moment) bool { return m.Height < 720 })
	rose := c.untilEstimate(up, func(v int) bool { return v >= wide/2 })
	believed := c.untilEstimate(up, func(v int) bool { return v >= wide*85/100 })
	back := c.until(up, top)
	const grace = 2 * time.Second // after a step
	before, between, after := c.between(begin, down), c.between(down.Add(grace), up), c.between(up.Add(grace), end)
	text := fmt.Sprintf("down: available under the line after %v (but for %.0f%% of the time), 720p left after %v; up: half of the line available after %v, 85%% after %v, 720p back after %v; at 2M %v; at 500k %v; at 2M %v",
		follows.Round(time.Millisecond), 100*exceeds, fell.Round(time.Millisecond), rose.Round(time.Millisecond), believed.Round(time.Millisecond), back.Round(time.Millisecond), before, between, after)
	switch {
	case follows > 4*time.Second || exceeds > 0.2:
		return text, c, fmt.Errorf("the estimate exceeds the line for %v, and then for %.0f%% of the time", follows, 100*exceeds)
	case fell > 4*time.Second:
		return text, c, fmt.Errorf("the top layer stays for %v", fell)
	case rose > 8*time.Second:
		return text, c, fmt.Errorf("the estimate does not return: %v", rose)
	case back > 8*time.Second:
		return text, c, fmt.Errorf("the top layer does not return: %v", back)
	}
	for _, s := range []stretch{before, between, after} {
		if s.still > time.Second || s.fps < 3 {
			return text, c, fmt.Errorf("the picture stands still: %v", s)
		}
	}
	return text, c, nil
}

// bandwidthRamp begins with an estimate far below the line.
func bandwidthRamp(t *testing.T, ctx context.Context, pages pair) (string, course, error) {
	a, b, seen, begin := behindLine(t, ctx, pages, impair.Config{Rate: wide},
		mafalda.WebRTCTransportOptions{InitialAvailableOutgoingBitrate: 300_000})
	stop := record(t, ctx, a, b, seen)
	b.untilDecoded(t, ctx, seen)
	b.watch(t, ctx, seen, phase(5*time.Second))
	c := stop()
	end := time.Now()
	rose := c.untilEstimate(begin, func(v int) bool { return v >= wide/2 })
	believed := c.untilEstimate(begin, func(v int) bool { return v >= wide*85/100 })
	reached := c.until(begin, top)
	const grace = 2 * time.Second
	s := c.between(begin.Add(grace), end)
	text := fmt.Sprintf("half of the line available after %v, 85%% after %v, 720p after %v, then %v",
		rose.Round(time.Millisecond), believed.Round(time.Millisecond), reached.Round(time.Millisecond), s)
	switch {
	case rose > 4*time.Second:
		return text, c, fmt.Errorf("the estimate does not rise: %v", rose)
	case reached > 6*time.Second:
		return text, c, fmt.Errorf("the top layer does not come: %v", reached)
	case s.still > time.Second || s.fps < 3:
		return text, c, fmt.Errorf("the picture stands still: %v", s)
	}
	return text, c, nil
}

// bandwidthOf has a line that stays as it is, and that the top layer fits into.
func bandwidthOf(line impair.Config) func(t *testing.T, ctx context.Context, pages pair) (string, course, error) {
	return func(t *testing.T, ctx context.Context, pages pair) (string, course, error) {
		a, b, seen, _ := behindLine(t, ctx, pages, line, mafalda.WebRTCTransportOptions{})
		b.untilHeight(t, ctx, seen, 720)
		begin := time.Now()
		stop := record(t, ctx, a, b, seen)
		b.watch(t, ctx, seen, phase(8*time.Second))
		c := stop()
		s := c.between(begin, time.Now())
		text := fmt.Sprintf("720p for %.0f%% of the time, %v", 100*s.heights[720], s)
		switch {
		case s.heights[720] < 0.8:
			return text, c, fmt.Errorf("the top layer is there for %.0f%% of the time", 100*s.heights[720])
		case s.mean < wide*60/100:
			return text, c, fmt.Errorf("the estimate is %d", s.mean)
		case s.still > time.Second || s.fps < 3:
			return text, c, fmt.Errorf("the picture stands still: %v", s)
		}
		return text, c, nil
	}
}
