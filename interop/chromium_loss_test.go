package interop

import (
	"context"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/internal/rtp"
	"github.com/mafalda-sfu/mafalda/interop/impair"
)

// lossy is the bad path of the tests: 5 % loss and 50 ms each way.
func lossy(seed uint64) impair.Config {
	return impair.Config{Loss: 0.05, Delay: 50 * time.Millisecond, Seed: seed}
}

// A witness counts what a relay did to RTP streams.
type witness struct {
	mu      sync.Mutex
	on      bool                                      // guarded by mu
	streams map[impair.Direction]map[uint32]*transits // guarded by mu
}

// transits are the packets of one SSRC.
type transits struct{ passed, lost int }

func (w *witness) observe(d impair.Direction, b []byte, lost bool) {
	if !rtp.Is(b) || b[1] >= 192 && b[1] <= 223 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.on {
		return
	}
	s := w.streams[d][rtp.Packet(b).SSRC()]
	if s == nil {
		s = &transits{}
		w.streams[d][rtp.Packet(b).SSRC()] = s
	}
	if lost {
		s.lost++
	} else {
		s.passed++
	}
}

// count starts the counting from zero, or stops it.
func (w *witness) count(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.on = on; on {
		w.streams = map[impair.Direction]map[uint32]*transits{impair.Up: {}, impair.Down: {}}
	}
}

// of returns what happened to a stream.
func (w *witness) of(d impair.Direction, ssrc uint32) transits {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s := w.streams[d][ssrc]; s != nil {
		return *s
	}
	return transits{}
}

// newBadNetwork puts a relay with the bad path before the room.
func newBadNetwork(t *testing.T, r *room) (network, *witness) {
	w := &witness{}
	return newRelay(t, r, impair.Options{Up: lossy(1), Down: lossy(2), Observe: w.observe}), w
}

// newRelay puts a relay before the room.
func newRelay(t *testing.T, r *room, o impair.Options) network {
	t.Helper()
	o.Listen, o.Target = netip.AddrPortFrom(localhost, 0), r.udp
	relay, err := impair.NewRelay(o)
	require.NoError(t, err)
	t.Cleanup(func() { relay.Close() })
	n := network{relay: relay}
	n.options.EnableTCP = new(false)
	return n
}

// patience is the jitter buffer of receivers behind a bad path: the browser by
// itself waits for no retransmission and shows late frames all at once.
const patience = 300

// bearable is what a bad path gives such receivers.
var bearable = demands{decoded: 0.85, shown: 0.85, freezes: 3}

// lossDown has the bad path between SFU and receiver: the SFU repairs.
func lossDown(t *testing.T, ctx context.Context, pages pair) {
	r := newRoom(t)
	bad, w := newBadNetwork(t, r)
	bad.jitterBuffer = patience
	a, b := r.join(t, ctx, pages.a, network{}), r.join(t, ctx, pages.b, bad)
	picture := a.sendVideo(t, ctx, vp8)
	seen := b.receive(t, ctx, picture)
	b.untilDecoded(t, ctx, seen)
	time.Sleep(2 * time.Second)

	s := sees(t, bearable, "loss down", func() sight {
		w.count(true)
		defer w.count(false)
		return look(t, ctx, a, picture, b, seen, 10*time.Second)
	})
	time.Sleep(300 * time.Millisecond) // for what was asked for at the end
	stats, err := seen.Stats(ctx)
	require.NoError(t, err)
	e := seen.RTPParameters().Encodings[0]
	media, rtx := w.of(impair.Down, e.SSRC), w.of(impair.Down, e.RTX.SSRC)
	// What arrives twice, because it was asked for twice, counts twice.
	repaired := float64(s.rtx) / float64(media.lost)
	figures("5%% loss and 50 ms each way, down: vp8 %v media passed=%d lost=%d, rtx passed=%d lost=%d (%.0f%% of the lost arrived), in all nacked=%d resent=%d pli=%d",
		s, media.passed, media.lost, rtx.passed, rtx.lost, 100*repaired,
		stats[0].NACKPacketCount, stats[0].PacketsRetransmitted, stats[0].PLICount)
	require.Greater(t, media.lost, 10, "the path is too good")
	require.GreaterOrEqual(t, repaired, 0.8)
}

// lossUp has it between sender and SFU: the sender repairs what the SFU asks for.
func lossUp(t *testing.T, ctx context.Context, pages pair) {
	r := newRoom(t)
	bad, w := newBadNetwork(t, r)
	a, b := r.join(t, ctx, pages.a, bad), r.join(t, ctx, pages.b, network{jitterBuffer: patience})
	picture := a.sendVideo(t, ctx, vp8)
	seen := b.receive(t, ctx, picture)
	b.untilDecoded(t, ctx, seen)
	time.Sleep(2 * time.Second)

	var before []mafalda.RTPStreamStats
	s := sees(t, bearable, "loss up", func() sight {
		var err error
		before, err = picture.Stats(ctx)
		require.NoError(t, err)
		w.count(true)
		defer w.count(false)
		return look(t, ctx, a, picture, b, seen, 10*time.Second)
	})
	time.Sleep(300 * time.Millisecond)
	after, err := picture.Stats(ctx)
	require.NoError(t, err)
	media := w.of(impair.Up, after[0].SSRC)
	fixed := after[0].PacketsRepaired - before[0].PacketsRepaired
	repaired := float64(fixed) / float64(media.lost)
	figures("5%% loss and 50 ms each way, up: vp8 %v media passed=%d lost=%d, nacked=%d, repaired=%d (%.0f%%) pli=%d sender limited by %s",
		s, media.passed, media.lost, after[0].NACKPacketCount-before[0].NACKPacketCount, fixed, 100*repaired,
		after[0].PLICount-before[0].PLICount, s.sender.Outbound.QualityLimitationReason)
	require.Greater(t, media.lost, 10, "the path is too good")
	require.GreaterOrEqual(t, repaired, 0.8)
}
