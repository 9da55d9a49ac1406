package interop

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// browserStats are the statistics of a sender or receiver in the browser, as
// far as the tests look at them.
type browserStats struct {
	Outbound struct {
		Timestamp                float64
		FramesSent, FrameWidth   int
		PacketsSent              int
		RetransmittedPacketsSent int
		NACKCount, PLICount      int
		QualityLimitationReason  string
	} `json:"outbound-rtp"`
	Inbound struct {
		Timestamp                                       float64
		FramesReceived, FramesDecoded, KeyFramesDecoded int
		FrameWidth, FrameHeight                         int
		FramesDropped, FreezeCount                      int
		TotalFreezesDuration                            float64
		PacketsReceived, PacketsLost                    int
		RetransmittedPacketsReceived                    int
		NACKCount, PLICount                             int
		TotalAudioEnergy                                float64
		TotalSamplesReceived, ConcealedSamples          int
		DecoderImplementation                           string
	} `json:"inbound-rtp"`
}

// An object is a producer or consumer, ours or that of another program.
type object interface{ ID() string }

// A browser is a page, or a client with one.
type browser interface {
	do(ctx context.Context, name string, args, result any) error
	stats(ctx context.Context, id string) (browserStats, error)
}

func (p *page) stats(ctx context.Context, id string) (s browserStats, err error) {
	err = p.do(ctx, "stats", map[string]any{"id": id}, &s)
	return s, err
}

// until asks f every 100 ms until it says yes.
func until(t testing.TB, ctx context.Context, what string, f func() (bool, error)) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		ok, err := f()
		if ok {
			return
		}
		if err != nil && ctx.Err() == nil {
			last = err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited in vain until %s: %v", what, last)
		}
	}
}

// untilDecoded waits until the consumer shows more frames than it had.
func (p *page) untilDecoded(t testing.TB, ctx context.Context, consumer object) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	first := -1
	until(t, ctx, "frames are decoded", func() (bool, error) {
		s, err := p.stats(ctx, consumer.ID())
		if err != nil {
			return false, err
		}
		if first < 0 {
			first = s.Inbound.FramesDecoded
		}
		if s.Inbound.FramesDecoded > first+3 {
			return true, nil
		}
		return false, fmt.Errorf("%+v", s.Inbound)
	})
}

// sight is what the sender sent and what the receiver saw in the same time.
type sight struct {
	sent, received float64 // frames per second
	decoded, shown float64
	width, height  int
	samples        int // looks at the picture
	different      int // of these
	known          int // of these, with the sender's colour in its place
	freezes        int
	frozen         float64 // seconds
	rtx, lost      int     // packets received again and lost
	late           float64 // ms that the machine let a page wait at most
	sender         browserStats
	receiver       browserStats
}

func (s sight) String() string {
	return fmt.Sprintf("%dx%d sent=%.1ffps received=%.1ffps decoded=%.1ffps (%.0f%%) shown=%.1ffps content=%d/%d freezes=%d lost=%d rtx=%d",
		s.width, s.height, s.sent, s.received, s.decoded, 100*s.decoded/s.sent, s.shown, s.different, s.samples, s.freezes, s.lost, s.rtx)
}

// seenPicture is what the page tells about the picture it watched.
type seenPicture struct {
	Samples, Different, Known, Width, Height int
	FPS, Late                                float64
}

// look watches for some time.
func look(t testing.TB, ctx context.Context, from browser, p object, to browser, c object, d time.Duration) (s sight) {
	t.Helper()
	var late float64
	both := func() (out, in browserStats) {
		out, errOut := from.stats(ctx, p.ID())
		in, errIn := to.stats(ctx, c.ID())
		require.NoError(t, errors.Join(errOut, errIn, from.do(ctx, "late", nil, &late)))
		return out, in
	}
	out0, in0 := both()
	var seen seenPicture
	require.NoError(t, to.do(ctx, "watch", map[string]any{"consumerId": c.ID(), "milliseconds": d.Milliseconds()}, &seen))
	out1, in1 := both()
	o0, o1, i0, i1 := out0.Outbound, out1.Outbound, in0.Inbound, in1.Inbound
	s.sent = 1000 * float64(o1.FramesSent-o0.FramesSent) / (o1.Timestamp - o0.Timestamp)
	s.received = 1000 * float64(i1.FramesReceived-i0.FramesReceived) / (i1.Timestamp - i0.Timestamp)
	s.decoded = 1000 * float64(i1.FramesDecoded-i0.FramesDecoded) / (i1.Timestamp - i0.Timestamp)
	s.freezes, s.frozen = i1.FreezeCount-i0.FreezeCount, i1.TotalFreezesDuration-i0.TotalFreezesDuration
	s.rtx = i1.RetransmittedPacketsReceived - i0.RetransmittedPacketsReceived
	s.lost = i1.PacketsLost - i0.PacketsLost
	s.samples, s.different, s.known, s.shown = seen.Samples, seen.Different, seen.Known, seen.FPS
	s.width, s.height, s.late = seen.Width, seen.Height, max(late, seen.Late)
	s.sender, s.receiver = out1, in1
	return s
}

// demands are what a sight has to fulfil.
type demands struct {
	decoded, shown float64 // shares of the frames that were sent
	freezes        int     // at most
}

// clean is what a clean path gives.
var clean = demands{decoded: 0.9, freezes: 1}

// check returns an error unless the picture moves, is the one that was sent,
// and is as d demands.
func (s sight) check(d demands) error {
	switch {
	case s.sent < 5:
		return fmt.Errorf("the sender hardly sends: %.1f fps", s.sent)
	case s.decoded < d.decoded*s.sent:
		return fmt.Errorf("%.1f of %.1f fps decoded", s.decoded, s.sent)
	case s.shown < d.shown*s.sent:
		return fmt.Errorf("%.1f of %.1f fps shown", s.shown, s.sent)
	case s.freezes > d.freezes:
		return fmt.Errorf("%d freezes", s.freezes)
	case s.samples < 10 || s.different < s.samples*7/10:
		return fmt.Errorf("the picture stands still: %d of %d", s.different, s.samples)
	case s.known < s.samples*9/10:
		return fmt.Errorf("another picture than the one sent: %d of %d", s.known, s.samples)
	}
	return nil
}

// stalled reports whether it was the machine that held the picture up: a page
// had to wait, or whole frames came as demanded but were not decoded in time.
func (s sight) stalled(d demands) bool {
	return s.late >= 100 || s.received >= d.decoded*s.sent && s.decoded < d.decoded*s.sent
}

// sees returns what check takes. When the machine stalled a page itself, a
// failure says nothing about us, and it looks again, twice at most.
func sees(t testing.TB, d demands, what string, look func() sight) sight {
	t.Helper()
	for try := 1; ; try++ {
		s := look()
		err := s.check(d)
		if err == nil {
			return s
		}
		figures("%s: %v: %v, machine late=%.0fms", what, err, s, s.late)
		if !s.stalled(d) || try == 3 {
			require.NoError(t, err, what)
		}
	}
}

// sound is what a receiver hears.
type sound struct {
	energy    float64 // of what was decoded in a second
	frequency float64 // the loudest, Hz
	decibels  float64
}

func listen(t testing.TB, ctx context.Context, to browser, c object) (s sound) {
	t.Helper()
	before, err := to.stats(ctx, c.ID())
	require.NoError(t, err)
	var heard struct{ Frequency, Decibels float64 }
	require.NoError(t, to.do(ctx, "loudest", map[string]any{"consumerId": c.ID()}, &heard))
	after, err := to.stats(ctx, c.ID())
	require.NoError(t, err)
	return sound{after.Inbound.TotalAudioEnergy - before.Inbound.TotalAudioEnergy, heard.Frequency, heard.Decibels}
}

func (s sound) good(t testing.TB, frequency float64) {
	t.Helper()
	require.Greater(t, s.energy, 0.005, "it is silent")
	require.InDelta(t, frequency, s.frequency, 20, "another tone")
	require.Greater(t, s.decibels, -40.0)
}
