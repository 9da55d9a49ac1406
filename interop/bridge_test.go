package interop

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/sdpbridge"
)

// rampTime is how long a page may take to be sent everything. Who does not
// report the probation packets needs more than half a minute for it.
const rampTime = 15 * time.Second

// withoutLibrary lets a page receive simulcast through SDP alone. It begins with
// an estimate that has no room for any but the smallest stream.
func withoutLibrary(t *testing.T, ctx context.Context, sender *client, p *page) {
	r := sender.room
	picture := sender.sendVideo(t, ctx, hd("video/VP8", simulcast("L1T3")))
	tr, err := r.router.CreateWebRTCTransport(ctx, mafalda.WebRTCTransportOptions{
		WebRTCServer: r.server, InitialAvailableOutgoingBitrate: 100_000,
	})
	require.NoError(t, err)
	session, err := sdpbridge.NewSession(sdpbridge.Options{Router: r.router, Transport: tr, Probator: true})
	require.NoError(t, err)
	c, err := session.Consume(ctx, mafalda.ConsumerOptions{ProducerID: picture.ID()})
	require.NoError(t, err)
	offer, err := session.Offer(ctx)
	require.NoError(t, err)
	var answer struct{ SDP string }
	require.NoError(t, p.do(ctx, "answer", map[string]any{"sdp": offer}, &answer))
	require.NoError(t, session.SetAnswer(ctx, answer.SDP))

	begin := time.Now()
	ramp, cancel := context.WithTimeout(ctx, rampTime)
	defer cancel()
	available := 0
	until(t, ramp, "there is room for more than 1 Mbit/s", func() (bool, error) {
		stats, err := tr.Stats(ctx)
		if err != nil {
			return false, err
		}
		available = *stats[0].AvailableOutgoingBitrate
		return available > 1_000_000, fmt.Errorf("%d, %.0f %% lost", available, 100**stats[0].RTPPacketLossSent)
	})
	took := time.Since(begin)
	until(t, ctx, "the largest picture is decoded", func() (bool, error) {
		var heights []int
		err := p.do(ctx, "heights", nil, &heights)
		return slices.Contains(heights, 720), cmp.Or(err, fmt.Errorf("%v, layers %+v", heights, c.CurrentLayers()))
	})
	figures("without a library: %d kbit/s available after %d ms", available/1000, took.Milliseconds())
}
