package interop

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
)

// fromProgram lets the page see and hear what ffmpeg sends by plain RTP.
func fromProgram(t *testing.T, ctx context.Context, pages pair) {
	needPrograms(t, ffmpeg.command)
	r := newRoom(t)
	b := r.join(t, ctx, pages.b, network{})
	picture, _ := r.publish(t, ctx, ffmpeg, mafalda.MediaKindVideo, "video/H264", "")
	audio, _ := r.publish(t, ctx, ffmpeg, mafalda.MediaKindAudio, "audio/opus", "")
	heard, seen := b.receive(t, ctx, audio), b.receive(t, ctx, picture)
	b.untilDecoded(t, ctx, seen)

	before, err := b.stats(ctx, seen.ID())
	require.NoError(t, err)
	var s seenPicture
	require.NoError(t, b.do(ctx, "watch", map[string]any{"consumerId": seen.ID(), "milliseconds": 5000}, &s))
	after, err := b.stats(ctx, seen.ID())
	require.NoError(t, err)
	fps := 1000 * float64(after.Inbound.FramesDecoded-before.Inbound.FramesDecoded) / (after.Inbound.Timestamp - before.Inbound.Timestamp)
	l := listen(t, ctx, b, heard)
	figures("ffmpeg to chromium: h264 %dx%d %.1ffps (%d sent) content=%d/%d, opus energy=%.3f loudest=%.0fHz (%d sent)",
		s.Width, s.Height, fps, plainFrameRate, s.Different, s.Samples, l.energy, l.frequency, plainTone)
	require.GreaterOrEqual(t, fps, 0.9*plainFrameRate)
	require.GreaterOrEqual(t, s.Different, s.Samples*7/10, "the picture stands still")
	require.InDelta(t, plainTone, l.frequency, 20)
	require.Positive(t, l.energy)
}

// toProgram lets GStreamer decode what the page sends.
func toProgram(t *testing.T, ctx context.Context, pages pair) {
	needElements(t, gstreamerElements...)
	r := newRoom(t)
	a := r.join(t, ctx, pages.a, network{})
	// The size that the program expects.
	picture := a.sendVideo(t, ctx, video{mimeType: "video/VP8", width: plainWidth, height: plainHeight, frameRate: plainFrameRate})
	audio := a.sendAudio(t, ctx, 440)
	pictures, sound := newFrames(plainWidth, plainHeight), &samples{}
	_, p1 := r.decode(t, ctx, gstreamer, picture, "", pictures)
	_, p2 := r.decode(t, ctx, gstreamer, audio, "", sound)
	until(t, ctx, "pictures and sound are decoded", func() (bool, error) {
		require.NoError(t, p1.running())
		require.NoError(t, p2.running())
		return pictures.started() && sound.started(), nil
	})
	time.Sleep(time.Second)
	pictures.take()
	sound.take()
	before, err := a.stats(ctx, picture.ID())
	require.NoError(t, err)
	time.Sleep(5 * time.Second)
	n, different, fps := pictures.take()
	seconds, frequency, rms := sound.take()
	after, err := a.stats(ctx, picture.ID())
	require.NoError(t, err)
	sent := 1000 * float64(after.Outbound.FramesSent-before.Outbound.FramesSent) / (after.Outbound.Timestamp - before.Outbound.Timestamp)
	figures("chromium to gstreamer: vp8 frames=%d different=%d %.1ffps (%.1f sent), opus %.1fs of %.0fHz (440 sent) rms=%.2f",
		n, different, fps, sent, seconds, frequency, rms)
	require.GreaterOrEqual(t, fps, 0.9*sent)
	require.GreaterOrEqual(t, different, n*9/10)
	require.GreaterOrEqual(t, seconds, 4.5)
	require.InDelta(t, 440, frequency, 15)
}
