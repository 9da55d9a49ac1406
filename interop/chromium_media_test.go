package interop

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
)

// TestChromium: mediasoup-client in two pages, one sends to the other.
func TestChromium(t *testing.T) {
	onPair(t, []pairCase{
		{"vp8", codec("VP8", video{mimeType: "video/VP8"})},
		{"vp9", codec("VP9", video{mimeType: "video/VP9", parameters: map[string]any{"profile-id": 0}})},
		{"h264", codec("H264", video{mimeType: "video/H264", parameters: map[string]any{"packetization-mode": 1}})},
		{"av1", codec("AV1", video{mimeType: "video/AV1"})},
		{"ice restart", restart},
		{"tcp only", tcpOnly},
		{"pause", pause},
	})
}

// TestChromiumPaths: what two pages send takes other ways than one clean path.
func TestChromiumPaths(t *testing.T) {
	onPair(t, []pairCase{
		{"pipe in memory", pipeInMemory},
		{"pipe between processes", pipeBetweenProcesses},
		{"speakers", speakers},
		{"loss down", lossDown},
		{"loss up", lossUp},
		{"data channels", dataChannels},
		{"from ffmpeg", fromProgram},
		{"to gstreamer", toProgram},
		{"without a library", func(t *testing.T, ctx context.Context, pages pair) {
			withoutLibrary(t, ctx, newRoom(t).join(t, ctx, pages.a, network{}), pages.b)
		}},
	})
}

func vga(v video) video {
	v.width, v.height, v.frameRate = 640, 480, 24
	return v
}

var vp8 = vga(video{mimeType: "video/VP8"})

// codec sends Opus and video for 10 s.
func codec(name string, v video) func(*testing.T, context.Context, pair) {
	return func(t *testing.T, ctx context.Context, pages pair) {
		r := newRoom(t)
		a, b := r.join(t, ctx, pages.a, network{}), r.join(t, ctx, pages.b, network{})
		audio, picture := a.sendAudio(t, ctx, 440), a.sendVideo(t, ctx, vga(v))
		heard, seen := b.receive(t, ctx, audio), b.receive(t, ctx, picture)
		b.untilDecoded(t, ctx, seen)
		time.Sleep(2 * time.Second) // the encoder finds its pace

		s := sees(t, clean, name, func() sight { return look(t, ctx, a, picture, b, seen, 10*time.Second) })
		l := listen(t, ctx, b, heard)
		figures("%s %v", name, s)
		figures("opus with %s energy=%.3f loudest=%.0fHz (440 sent) %.0fdB", name, l.energy, l.frequency, l.decibels)
		l.good(t, 440)
	}
}

// restart gives both transports new ICE credentials while media flows.
func restart(t *testing.T, ctx context.Context, pages pair) {
	r := newRoom(t)
	a, b := r.join(t, ctx, pages.a, network{}), r.join(t, ctx, pages.b, network{})
	picture := a.sendVideo(t, ctx, vp8)
	seen := b.receive(t, ctx, picture)
	b.untilDecoded(t, ctx, seen)
	restarted := make(chan error, 1)
	go func() { restarted <- restartBoth(ctx, r, a, b) }() // ends with ctx
	s := sees(t, clean, "ice restart", func() sight { return look(t, ctx, a, picture, b, seen, 10*time.Second) })
	require.NoError(t, <-restarted)
	figures("ice restart, both ends, while watched: vp8 %v send=%s recv=%s", s, a.send.ICEState(), b.recv.ICEState())
	for _, tr := range []mafalda.WebRTCTransport{a.send, b.recv} {
		require.Equal(t, mafalda.ICEStateCompleted, tr.ICEState())
		require.Equal(t, mafalda.DTLSStateConnected, tr.DTLSState())
	}
}

// restartBoth restarts the sending transport of a and the receiving one of b
// and waits until the browsers use the new credentials.
func restartBoth(ctx context.Context, r *room, a, b *client) error {
	for _, c := range []struct {
		*client
		tr mafalda.WebRTCTransport
	}{{a, a.send}, {b, b.recv}} {
		time.Sleep(2 * time.Second)
		old := c.tr.ICEParameters()
		params, err := c.tr.RestartICE(ctx)
		if err != nil {
			return err
		}
		if params.UsernameFragment == old.UsernameFragment {
			return errors.New("the credentials are the old ones")
		}
		if err := c.do(ctx, "restartIce", map[string]any{"transportId": c.tr.ID(), "iceParameters": params}, nil); err != nil {
			return err
		}
		// Only the new name is left once the browser uses it.
		for names := 2; names != 1; {
			dump, err := r.server.Dump(ctx)
			if err != nil {
				return err
			}
			names = 0
			for _, u := range dump.LocalICEUsernameFragments {
				if u.WebRTCTransportID == c.tr.ID() {
					names++
				}
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	return nil
}

// tcpOnly offers no UDP candidate.
func tcpOnly(t *testing.T, ctx context.Context, pages pair) {
	r := newRoom(t)
	tcp := network{options: mafalda.WebRTCTransportOptions{EnableUDP: new(false)}}
	a, b := r.join(t, ctx, pages.a, tcp), r.join(t, ctx, pages.b, tcp)
	audio, picture := a.sendAudio(t, ctx, 600), a.sendVideo(t, ctx, vp8)
	heard, seen := b.receive(t, ctx, audio), b.receive(t, ctx, picture)
	b.untilDecoded(t, ctx, seen)
	time.Sleep(time.Second)

	s := sees(t, clean, "tcp only", func() sight { return look(t, ctx, a, picture, b, seen, 10*time.Second) })
	l := listen(t, ctx, b, heard)
	up, down := a.send.ICESelectedTuple(), b.recv.ICESelectedTuple()
	require.NotNil(t, up)
	require.NotNil(t, down)
	figures("tcp only: vp8 %v up=%s down=%s loudest=%.0fHz (600 sent)", s, up.Protocol, down.Protocol, l.frequency)
	require.Equal(t, mafalda.ProtocolTCP, up.Protocol)
	require.Equal(t, mafalda.ProtocolTCP, down.Protocol)
	l.good(t, 600)
}

// pause stops the consumer, then the producer at the server, then the
// producer in the page. Nothing may leak, and media must come back.
func pause(t *testing.T, ctx context.Context, pages pair) {
	r := newRoom(t)
	a, b := r.join(t, ctx, pages.a, network{}), r.join(t, ctx, pages.b, network{})
	picture := a.sendVideo(t, ctx, vp8)
	seen := b.receive(t, ctx, picture)
	b.untilDecoded(t, ctx, seen)

	page := func(command string) func(context.Context) error {
		return func(ctx context.Context) error {
			return a.do(ctx, command, map[string]any{"producerId": picture.ID()}, nil)
		}
	}
	for _, c := range []struct {
		name          string
		pause, resume func(context.Context) error
	}{
		{"consumer", seen.Pause, seen.Resume},
		{"producer", picture.Pause, picture.Resume},
		{"producer in the page", page("pauseProducer"), page("resumeProducer")},
	} {
		require.NoError(t, c.pause(ctx))
		time.Sleep(500 * time.Millisecond) // what is under way arrives
		before, err := b.stats(ctx, seen.ID())
		require.NoError(t, err)
		time.Sleep(2 * time.Second)
		after, err := b.stats(ctx, seen.ID())
		require.NoError(t, err)
		leaked := after.Inbound.FramesReceived - before.Inbound.FramesReceived
		packets := after.Inbound.PacketsReceived - before.Inbound.PacketsReceived

		require.NoError(t, c.resume(ctx))
		begin := time.Now()
		until(t, ctx, "frames are decoded again", func() (bool, error) {
			s, err := b.stats(ctx, seen.ID())
			return err == nil && s.Inbound.FramesDecoded > after.Inbound.FramesDecoded, err
		})
		back := time.Since(begin)
		s := sees(t, clean, c.name, func() sight { return look(t, ctx, a, picture, b, seen, 3*time.Second) })
		figures("pause of the %s: leaked frames=%d packets=%d, back after %d ms, then vp8 %v", c.name, leaked, packets, back.Milliseconds(), s)
		require.Zero(t, leaked)
		require.Zero(t, packets)
		require.Less(t, back, 3*time.Second)
	}
}
