package interop

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
)

// simulcast are three streams of one picture, the smallest first.
func simulcast(mode string) []map[string]any {
	return []map[string]any{
		{"rid": "l", "scaleResolutionDownBy": 4, "maxBitrate": 150_000, "scalabilityMode": mode},
		{"rid": "m", "scaleResolutionDownBy": 2, "maxBitrate": 500_000, "scalabilityMode": mode},
		{"rid": "h", "scaleResolutionDownBy": 1, "maxBitrate": 1_500_000, "scalabilityMode": mode},
	}
}

// svc is one stream of several layers.
func svc(mode string) []map[string]any {
	return []map[string]any{{"scalabilityMode": mode, "maxBitrate": 1_800_000}}
}

// hd is the size that Chromium needs to send three layers.
func hd(mimeType string, encodings []map[string]any) video {
	return video{mimeType: mimeType, width: 1280, height: 720, frameRate: 24, encodings: encodings}
}

// TestChromiumLayers: a page sends several layers, and what another one sees
// follows setPreferredLayers.
func TestChromiumLayers(t *testing.T) {
	needPrograms(t, "chromium")
	t.Parallel()
	pages := openPair(t)
	for _, c := range []struct {
		name    string
		video   video
		heights []int // by spatial layer
		typ     mafalda.ProducerType
	}{
		{"VP8 simulcast", hd("video/VP8", simulcast("L1T3")), []int{180, 360, 720}, mafalda.ProducerTypeSimulcast},
		{"H264 simulcast", hd("video/H264", simulcast("L1T1")), []int{180, 360, 720}, mafalda.ProducerTypeSimulcast},
		{"VP9 L3T3_KEY", hd("video/VP9", svc("L3T3_KEY")), []int{180, 360, 720}, mafalda.ProducerTypeSVC},
		{"AV1 L1T3", hd("video/AV1", svc("L1T3")), []int{720}, mafalda.ProducerTypeSVC},
		{"AV1 L2T3_KEY", hd("video/AV1", svc("L2T3_KEY")), []int{360, 720}, mafalda.ProducerTypeSVC},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			pages.fresh(t, ctx)
			r := newRoom(t)
			a, b := r.join(t, ctx, pages.a, network{}), r.join(t, ctx, pages.b, network{})
			picture := a.sendVideo(t, ctx, c.video)
			require.Equal(t, c.typ, picture.Type())
			seen := b.receive(t, ctx, picture)
			b.untilDecoded(t, ctx, seen)
			top := len(c.heights) - 1
			b.untilHeight(t, ctx, seen, c.heights[top])
			// Chromium counts the frames of every spatial layer of one stream.
			watch := func(d time.Duration) sight {
				s := look(t, ctx, a, picture, b, seen, d)
				if c.typ == mafalda.ProducerTypeSVC {
					s.sent /= float64(len(c.heights))
				}
				return s
			}
			for spatial := range c.heights {
				begin := time.Now()
				require.NoError(t, seen.SetPreferredLayers(ctx, mafalda.ConsumerLayers{SpatialLayer: spatial}))
				b.untilHeight(t, ctx, seen, c.heights[spatial])
				took := time.Since(begin)
				untilAllFrames(t, ctx, seen, picture)
				s := sees(t, clean, c.name, func() sight { return watch(3 * time.Second) })
				figures("%s layer %d after %d ms: %v", c.name, spatial, took.Milliseconds(), s)
				require.Equal(t, c.heights[spatial], s.height)
			}
			full := watch(3 * time.Second)
			if c.name == "H264 simulcast" { // which has no temporal layers in Chromium
				return
			}
			require.NoError(t, seen.SetPreferredLayers(ctx, mafalda.ConsumerLayers{SpatialLayer: top, TemporalLayer: new(0)}))
			time.Sleep(2 * time.Second)
			slow := watch(5 * time.Second)
			figures("%s temporal layer 0: %v", c.name, slow)
			require.Less(t, slow.decoded, 0.6*full.decoded, "temporal layers are left out")
			require.Greater(t, slow.decoded, 0.1*full.decoded)
			require.Greater(t, slow.known, slow.samples*9/10)
		})
	}
}

// untilAllFrames waits until no temporal layer is left out. Some are while the
// first estimate of the bandwidth does not carry all.
func untilAllFrames(t testing.TB, ctx context.Context, consumer mafalda.Consumer, p mafalda.Producer) {
	t.Helper()
	top := 0
	if mode := mafalda.ParseScalabilityMode(p.RTPParameters().Encodings[0].ScalabilityMode); mode.TemporalLayers > 1 {
		top = mode.TemporalLayers - 1
	}
	until(t, ctx, "all frames are sent", func() (bool, error) {
		now := consumer.CurrentLayers()
		if now == nil || now.TemporalLayer == nil {
			return false, fmt.Errorf("no layers")
		}
		return *now.TemporalLayer == top, fmt.Errorf("temporal layer %d of %d", *now.TemporalLayer, top)
	})
}

// untilHeight waits until the page decodes frames of that height.
func (c *client) untilHeight(t testing.TB, ctx context.Context, consumer mafalda.Consumer, height int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	until(t, ctx, fmt.Sprintf("the picture is %d high", height), func() (bool, error) {
		s, err := c.stats(ctx, consumer.ID())
		if err != nil || s.Inbound.FrameHeight == height {
			return err == nil, err
		}
		return false, fmt.Errorf("%d", s.Inbound.FrameHeight)
	})
}
