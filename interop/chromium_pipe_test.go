package interop

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/interop/npm"
)

// pipeInMemory has both Workers in this process.
func pipeInMemory(t *testing.T, ctx context.Context, pages pair) {
	from, to := newRoom(t), newRoom(t)
	counters := func() mafalda.Counters {
		c, err := to.worker.(mafalda.CounterReporter).Counters(ctx)
		require.NoError(t, err)
		return c
	}
	before := counters()
	pipe(t, ctx, pages, "in memory", from, to)
	c := counters().Since(before)
	figures("pipe in memory: the second worker received %d packets with %d system calls", c.PacketsReceived, c.ReceiveCalls)
	// The sockets brought feedback and ICE, but not the media.
	require.Less(t, c.ReceiveCalls, c.PacketsReceived/4)
}

// pipeBetweenProcesses has each Worker in a process of its own.
func pipeBetweenProcesses(t *testing.T, ctx context.Context, pages pair) {
	bin, err := npm.Worker(ctx, "", t.TempDir())
	require.NoError(t, err)
	settings := mafalda.WorkerSettings{WorkerBin: bin}
	from, to := newRoomOf(t, localhost, settings), newRoomOf(t, localhost, settings)
	require.NotEqual(t, from.worker.PID(), to.worker.PID())
	require.NotContains(t, []int{from.worker.PID(), to.worker.PID()}, os.Getpid())
	pipe(t, ctx, pages, "between processes", from, to)
}

// pipe: a page sends to one Worker and another one receives from the second.
// The pipe carries all layers, and the second Worker chooses.
func pipe(t *testing.T, ctx context.Context, pages pair, how string, from, to *room) {
	a, b := from.join(t, ctx, pages.a, network{}), to.join(t, ctx, pages.b, network{})
	v := hd("video/VP8", simulcast("L1T3"))
	v.frameRate = 15
	audio, picture := a.sendAudio(t, ctx, 440), a.sendVideo(t, ctx, v)
	through := func(p mafalda.Producer) mafalda.Producer {
		piped, err := from.router.PipeToRouter(ctx, mafalda.PipeToRouterOptions{ProducerID: p.ID(), Router: to.router})
		require.NoError(t, err)
		return piped.PipeProducer
	}
	pipedAudio, pipedPicture := through(audio), through(picture)
	require.Equal(t, mafalda.ProducerTypeSimulcast, pipedPicture.Type())
	heard, seen := b.receive(t, ctx, pipedAudio), b.receive(t, ctx, pipedPicture)
	b.untilDecoded(t, ctx, seen)

	for spatial, height := range []int{180, 360, 720} {
		begin := time.Now()
		require.NoError(t, seen.SetPreferredLayers(ctx, mafalda.ConsumerLayers{SpatialLayer: spatial}))
		b.untilHeight(t, ctx, seen, height)
		figures("pipe %s: layer %d after %d ms", how, spatial, time.Since(begin).Milliseconds())
	}
	s := sees(t, demands{decoded: 0.9}, how, func() sight { return look(t, ctx, a, picture, b, seen, 4*time.Second) })
	l := listen(t, ctx, b, heard)
	figures("pipe %s: %v; opus energy=%.3f loudest=%.0fHz (440 sent)", how, s, l.energy, l.frequency)
	require.Equal(t, 720, s.height)
	l.good(t, 440)

	require.NoError(t, picture.Pause(ctx))
	until(t, ctx, "the pause has crossed the pipe", func() (bool, error) { return seen.ProducerPaused(), nil })
	require.True(t, pipedPicture.Paused())
	still := b.untilStill(t, ctx, seen)
	require.NoError(t, picture.Resume(ctx))
	begin := time.Now()
	until(t, ctx, "frames are decoded again", func() (bool, error) {
		s, err := b.stats(ctx, seen.ID())
		return s.Inbound.FramesDecoded > still, err
	})
	figures("pipe %s: back %d ms after a pause of the producer", how, time.Since(begin).Milliseconds())
	require.False(t, pipedPicture.Paused())
	require.False(t, seen.ProducerPaused())
	listen(t, ctx, b, heard).good(t, 440)
}

// untilStill waits until the page has received no packet of a picture for a
// second, and returns how many frames it has decoded.
func (p *page) untilStill(t testing.TB, ctx context.Context, consumer object) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	packets, since, frames := -1, time.Now(), 0
	until(t, ctx, "no packet comes", func() (bool, error) {
		s, err := p.stats(ctx, consumer.ID())
		if err != nil {
			return false, err
		}
		if s.Inbound.PacketsReceived != packets {
			packets, since = s.Inbound.PacketsReceived, time.Now()
		}
		frames = s.Inbound.FramesDecoded
		return time.Since(since) > time.Second, nil
	})
	return frames
}
