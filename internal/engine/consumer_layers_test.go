package engine

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/codec"
	"github.com/mafalda-sfu/mafalda/internal/rtcp"
	"github.com/mafalda-sfu/mafalda/internal/rtp"
)

// vp8At is the payload of a VP8 packet with all numbers.
func vp8At(key bool, picture uint16, tl0, temporal uint8) []byte {
	b := []byte{0x90, 0xe0, 0x80 | byte(picture>>8), byte(picture), tl0, temporal<<6 | 0x20, 1, 2, 0, 9, 9}
	if key {
		b[6] = 0
	}
	return b
}

// vp9At is that of VP9: the only packet of the frame of a spatial layer.
func vp9At(key bool, picture uint16, tl0, spatial, temporal uint8) []byte {
	b := []byte{0xec, 0x80 | byte(picture>>8), byte(picture), temporal<<5 | 0x10 | spatial<<1, tl0, 9, 9, 9}
	if key {
		b[0] &^= 0x40
	}
	return b
}

// layerChanges takes the notifications of the Consumer's layers.
func (w *layerWorld) layerChanges() (list []*Layers) {
	w.notes = slices.DeleteFunc(w.notes, func(n Notification) bool {
		c, ok := n.Body.(ConsumerLayersChange)
		if ok {
			list = append(list, c.Layers)
		}
		return ok
	})
	return list
}

// simulcastWorld has a VP8 Producer of three streams with SSRCs 11 to 13 and a
// Consumer of it, both with temporal layers.
func simulcastWorld(t testing.TB, o ConsumeOptions) *layerWorld {
	w := newLayerWorld(t)
	w.unmanaged = true
	var encodings []Encoding
	for i := range uint32(3) {
		encodings = append(encodings, Encoding{SSRC: 11 + i, ScalabilityMode: "L1T3"})
	}
	require.Equal(t, SimulcastType, w.produce("video/VP8", encodings...))
	r := w.consume(o, Encoding{SSRC: 21, ScalabilityMode: "L3T3"})
	require.Equal(t, SimulcastType, r.Type)
	require.NotNil(t, r.PreferredLayers)
	return w
}

// report sends sender reports of the streams, which began with different
// timestamps at the same time.
func (w *layerWorld) report(ssrcs ...uint32) {
	for _, ssrc := range ssrcs {
		w.advance(w.d.now + time.Millisecond)
		w.udp(w.source, w.in, rtcp.AppendSenderReport(nil, rtcp.SenderReport{
			SSRC: ssrc, NTP: rtcp.NTP(time.Hour + w.d.now), RTPTimestamp: w.clock(ssrc),
		}))
	}
}

// clock is the timestamp that a stream would give to a frame captured now.
func (w *layerWorld) clock(ssrc uint32) uint32 {
	return ssrc*1_000_000 + uint32(w.d.now/time.Millisecond)*90
}

// frames sends one frame of each stream.
func (w *layerWorld) frames(key bool, temporal uint8, ssrcs ...uint32) {
	w.advance(w.d.now + 33*time.Millisecond)
	for _, ssrc := range ssrcs {
		w.picture[ssrc]++
		if temporal == 0 {
			w.tl0[ssrc]++
		}
		w.media(ssrc, w.clock(ssrc), true, vp8At(key, w.picture[ssrc]+uint16(ssrc*100), w.tl0[ssrc], temporal)...)
	}
}

// layersOf is a pair of layers.
func layersOf(spatial, temporal int8) Layers { return Layers{Spatial: spatial, Temporal: temporal} }

func pictureOf(p rtp.Packet) uint16 {
	b := p.Payload()
	return uint16(b[2]&0x7f)<<8 | uint16(b[3])
}

// requireContinuous checks that a receiver sees one stream: no gap in sequence
// numbers and picture ids, timestamps that grow.
func requireContinuous(t testing.TB, list []rtp.Packet) {
	t.Helper()
	for i := 1; i < len(list); i++ {
		a, b := list[i-1], list[i]
		require.Equal(t, a.SequenceNumber()+1, b.SequenceNumber())
		require.Equal(t, pictureOf(a)+1, pictureOf(b))
		require.Positive(t, int32(b.Timestamp()-a.Timestamp()))
		require.Less(t, int32(b.Timestamp()-a.Timestamp()), int32(90*100))
	}
}

func TestSimulcastSwitch(t *testing.T) {
	w := simulcastWorld(t, ConsumeOptions{})
	all := []uint32{11, 12, 13}
	w.frames(false, 0, all...)
	require.Empty(t, w.take(), "it waits for a key frame")
	require.Contains(t, w.takeRequested(), uint32(11))
	require.Equal(t, LayersDump{layersOf(2, 2), layersOf(0, 2), layersOf(-1, -1)}, w.layersDump())

	w.frames(true, 0, all...)
	w.frames(false, 2, all...)
	w.frames(false, 1, all...)
	sent := w.take()
	require.Len(t, sent, 3)
	require.Equal(t, []*Layers{new(layersOf(0, 0)), new(layersOf(0, 2))}, w.layerChanges())

	// With the clocks of all known, the preferred stream can be continued to.
	w.takeRequested()
	w.report(all...)
	w.report(all...)
	require.Equal(t, []uint32{13}, w.takeRequested())
	w.frames(false, 0, all...)
	w.frames(true, 0, 12) // not the one that is awaited
	w.frames(true, 0, 13)
	w.frames(false, 0, all...)
	w.frames(false, 1, all...)
	sent = append(sent, w.take()...)
	require.Len(t, sent, 7)
	requireContinuous(t, sent)
	require.Equal(t, []*Layers{new(layersOf(2, 0)), new(layersOf(2, 1))}, w.layerChanges()[0:])
	require.Equal(t, LayersDump{layersOf(2, 2), layersOf(2, 2), layersOf(2, 1)}, w.layersDump())

	// What is sent again is what was sent, whatever stream it came from.
	for _, pkt := range sent {
		w.advance(w.d.now + 200*time.Millisecond)
		w.udp(w.sink, w.out, rtcp.AppendNACK(nil, 1, 21, []uint16{pkt.SequenceNumber()}))
	}
	again := slices.DeleteFunc(w.take(), func(p rtp.Packet) bool { return len(p) < 20 })
	require.Equal(t, sent, again)

	// A PLI is for what is sent; a wish of the application as well for what is
	// awaited.
	for range 35 {
		w.frames(false, 0, all...)
	}
	w.takeRequested()
	w.udp(w.sink, w.out, rtcp.AppendPLI(nil, 1, 21))
	require.Equal(t, []uint32{13}, w.takeRequested())
	_, err := w.m.SetPreferredLayers("c", layersOf(0, 0))
	require.NoError(t, err)
	for range 100 {
		w.frames(false, 0, all...)
	}
	w.takeRequested()
	require.NoError(t, w.m.RequestKeyFrame("c"))
	w.flush()
	require.Equal(t, []uint32{11, 13}, w.takeRequested())
}

// What comes in one batch is as if it had come one after the other: a key frame
// that waits to be forwarded is not asked for again, and each report counts.
func TestSimulcastStartsInOneBatch(t *testing.T) {
	w := simulcastWorld(t, ConsumeOptions{})
	all := []uint32{11, 12, 13}
	report := func() {
		for _, ssrc := range all {
			w.udp(w.source, w.in, rtcp.AppendSenderReport(nil, rtcp.SenderReport{
				SSRC: ssrc, NTP: rtcp.NTP(time.Hour + w.d.now), RTPTimestamp: w.clock(ssrc),
			}))
		}
	}
	w.together(func() {
		w.frames(true, 0, all...)
		report()
	})
	require.Len(t, w.take(), 1)
	require.Empty(t, w.takeRequested())
	require.Equal(t, layersOf(0, 0), w.layersDump().Current)
	w.advance(w.d.now + 500*time.Millisecond)
	w.together(report)
	require.Equal(t, []uint32{13}, w.takeRequested(), "their clocks are known")

	// Those of one compound say the same.
	w = simulcastWorld(t, ConsumeOptions{})
	w.frames(true, 0, all...)
	for range 2 {
		w.advance(w.d.now + 500*time.Millisecond)
		var compound []byte
		for _, ssrc := range all {
			compound = rtcp.AppendSenderReport(compound, rtcp.SenderReport{
				SSRC: ssrc, NTP: rtcp.NTP(time.Hour + w.d.now), RTPTimestamp: w.clock(ssrc),
			})
		}
		w.udp(w.source, w.in, compound)
	}
	require.Empty(t, w.takeRequested())
	w.report(11) // the third
	w.report(12)
	require.Equal(t, []uint32{13}, w.takeRequested())
}

func (w *layerWorld) layersDump() LayersDump {
	d, err := w.m.DumpConsumer("c")
	require.NoError(w.t, err)
	require.NotNil(w.t, d.Layers)
	return *d.Layers
}

// TestSimulcastWithoutClock: without sender reports no other stream can be
// aligned, so the first one stays.
func TestSimulcastWithoutClock(t *testing.T) {
	w := simulcastWorld(t, ConsumeOptions{})
	for i := range 100 {
		w.frames(i%10 == 0, 0, 11, 12, 13)
	}
	sent := w.take()
	require.Len(t, sent, 100)
	requireContinuous(t, sent)
	require.EqualValues(t, 0, w.layersDump().Target.Spatial)
}

func TestSimulcastPreferred(t *testing.T) {
	w := simulcastWorld(t, ConsumeOptions{PreferredLayers: new(layersOf(1, 9))})
	require.Equal(t, layersOf(1, 2), w.layersDump().Preferred)
	prefer := func(l Layers) *Layers {
		got, err := w.m.SetPreferredLayers("c", l)
		require.NoError(t, err)
		w.flush()
		return got
	}
	all := []uint32{11, 12, 13}
	w.frames(true, 0, all...)
	w.report(all...)
	w.report(all...)
	w.frames(true, 0, all...)
	require.EqualValues(t, 1, w.layersDump().Current.Spatial)
	w.take()

	require.Equal(t, new(layersOf(1, 0)), prefer(layersOf(1, 0)))
	w.layerChanges()
	w.frames(false, 1, all...)
	require.Empty(t, w.take(), "temporal layers are left out at once")
	w.frames(false, 0, all...)
	require.Len(t, w.take(), 1)

	w.takeRequested()
	require.Equal(t, new(layersOf(0, 2)), prefer(layersOf(0, -1)), "the highest temporal layer")
	require.Equal(t, []uint32{11}, w.takeRequested())
	w.frames(false, 0, all...)
	require.Len(t, w.take(), 1, "until then the other stream flows on")
	w.frames(true, 0, all...)
	require.Equal(t, []*Layers{new(layersOf(0, 0))}, w.layerChanges())
	require.Equal(t, new(layersOf(2, 2)), prefer(layersOf(100, 100)))

	_, err := w.m.SetPreferredLayers("x", Layers{})
	require.ErrorIs(t, err, ErrNotFound)
}

// TestSimulcastDeath: a stream that falls silent is left for another one, and the
// Consumer tells when nothing is left.
func TestSimulcastDeath(t *testing.T) {
	w := simulcastWorld(t, ConsumeOptions{})
	all := []uint32{11, 12, 13}
	w.frames(true, 0, all...)
	w.report(all...)
	w.report(all...)
	w.frames(true, 0, all...)
	require.EqualValues(t, 2, w.layersDump().Current.Spatial)
	w.layerChanges()
	for range 60 {
		w.frames(false, 0, 11, 12)
	}
	require.EqualValues(t, 1, w.layersDump().Target.Spatial)
	w.frames(true, 0, 11, 12)
	require.Equal(t, []*Layers{new(layersOf(1, 0))}, w.layerChanges())
	w.advance(w.d.now + 2*time.Second)
	require.Equal(t, []*Layers{nil}, w.layerChanges())
	s, err := w.m.ConsumerStats("c")
	require.NoError(t, err)
	require.Nil(t, s.Received)
	w.take()
	w.frames(true, 0, all...)
	require.NotEmpty(t, w.take(), "and it comes back")
}

// TestSimulcastPause: a Consumer that resumes waits for a key frame and goes on
// where it was.
// TestSimulcastReturns: a stream that comes back after its last report has become
// too old to tell the time is found when the next one comes.
func TestSimulcastReturns(t *testing.T) {
	w := simulcastWorld(t, ConsumeOptions{})
	all, two := []uint32{11, 12, 13}, []uint32{11, 12}
	for range 3 {
		w.frames(true, 0, all...)
		w.report(all...)
	}
	require.Equal(t, layersOf(2, 2), w.layersDump().Target)
	for range 15 * 30 {
		w.frames(true, 0, two...)
		w.report(two...)
	}
	require.Equal(t, layersOf(1, 2), w.layersDump().Target)
	w.take()
	w.frames(true, 0, all...)
	require.Equal(t, layersOf(1, 2), w.layersDump().Target, "nobody knows how its timestamps go on")
	w.report(all...)
	require.Equal(t, layersOf(2, 2), w.layersDump().Target)
	w.frames(true, 0, all...)
	requireContinuous(t, w.take())
	require.Equal(t, layersOf(2, 0), w.layersDump().Current)
}

func TestSimulcastPause(t *testing.T) {
	w := simulcastWorld(t, ConsumeOptions{})
	w.frames(true, 0, 11)
	before := w.take()
	require.NoError(t, w.m.PauseConsumer("c"))
	w.flush()
	require.Equal(t, []*Layers{new(layersOf(0, 0)), nil}, w.layerChanges())
	w.frames(false, 0, 11)
	require.NoError(t, w.m.ResumeConsumer("c"))
	w.frames(false, 0, 11)
	require.Empty(t, w.take())
	w.frames(true, 0, 11)
	requireContinuous(t, append(before, w.take()...))
}

// TestSimulcastLate: packets that overtook the key frame of a switch follow it,
// those from before the switch never do.
func TestSimulcastLate(t *testing.T) {
	w := simulcastWorld(t, ConsumeOptions{PreferredLayers: new(layersOf(0, 2))})
	w.mediaAt(11, 10, 3000, true, vp8At(false, 10, 1, 0)...)
	w.mediaAt(11, 14, 9000, true, vp8At(false, 14, 1, 0)...)
	w.mediaAt(11, 13, 6000, true, vp8At(false, 13, 1, 0)...)
	require.Empty(t, w.take())
	w.mediaAt(11, 12, 3000, true, vp8At(true, 12, 1, 0)...)
	sent := w.take()
	require.Len(t, sent, 3)
	requireContinuous(t, sent)
	w.mediaAt(11, 11, 3000, true, vp8At(false, 11, 1, 0)...)
	require.Empty(t, w.take(), "from before the switch")
}

// TestSimulcastRestart: a source that numbers anew is continued.
func TestSimulcastRestart(t *testing.T) {
	w := simulcastWorld(t, ConsumeOptions{PreferredLayers: new(layersOf(0, 2))})
	w.seqs[11] = 30000
	w.frames(true, 0, 11)
	w.frames(false, 0, 11)
	w.seqs[11] = 100
	w.frames(false, 0, 11) // taken for an accident
	w.frames(false, 0, 11)
	w.frames(false, 0, 11)
	sent := w.take()
	require.Len(t, sent, 4)
	for i := range sent[1:] {
		require.Equal(t, sent[i].SequenceNumber()+1, sent[i+1].SequenceNumber())
	}
}

// scalableWorld has a VP9 Producer of that mode and a Consumer of it.
func scalableWorld(t testing.TB, mode string, o ConsumeOptions) *layerWorld {
	w := newLayerWorld(t)
	w.unmanaged = true
	require.Equal(t, SVCType, w.produce("video/VP9", Encoding{SSRC: 11, ScalabilityMode: mode}))
	require.Equal(t, SVCType, w.consume(o, Encoding{SSRC: 21, ScalabilityMode: mode}).Type)
	return w
}

// super sends the packets of all spatial layers of a picture.
func (w *layerWorld) super(key bool, spatial int, temporal uint8) {
	w.advance(w.d.now + 33*time.Millisecond)
	w.picture[11]++
	if temporal == 0 {
		w.tl0[11]++
	}
	for s := range spatial {
		w.media(11, w.clock(11), s == spatial-1, vp9At(key, w.picture[11], w.tl0[11], uint8(s), temporal)...)
	}
}

func TestSVC(t *testing.T) {
	for _, test := range []struct {
		mode            string
		keyUp, keyDown  bool // a change of the spatial layer needs a key frame
		full, highest   int  // packets of a picture, at a key frame and later
		lower, lowerKey int
	}{
		{"L3T3", true, false, 3, 3, 2, 2},
		{"L3T3_KEY", true, true, 3, 1, 1, 2},
	} {
		t.Run(test.mode, func(t *testing.T) {
			w := scalableWorld(t, test.mode, ConsumeOptions{})
			w.super(false, 3, 0)
			require.Empty(t, w.take(), "any codec waits for a key frame")
			w.super(true, 3, 0)
			require.Len(t, w.take(), 1, "which layers there are shows later")
			for range 50 {
				w.super(false, 3, 0)
			}
			require.Equal(t, layersOf(2, 2), w.layersDump().Target)
			require.Contains(t, w.takeRequested(), uint32(11))
			w.take()
			w.super(true, 3, 0)
			sent := w.take()
			require.Len(t, sent, test.full)
			require.True(t, sent[test.full-1].Marker())
			w.super(false, 3, 1)
			w.super(false, 3, 2)
			require.Len(t, w.take(), 2*test.highest)
			require.Equal(t, layersOf(2, 2), w.layersDump().Current)

			w.advance(w.d.now + 2*time.Second)
			w.takeRequested()
			_, err := w.m.SetPreferredLayers("c", layersOf(1, 2))
			require.NoError(t, err)
			w.flush()
			require.Equal(t, test.keyDown, len(w.takeRequested()) > 0)
			w.super(test.keyDown, 3, 0)
			w.take()
			w.super(false, 3, 0)
			sent = w.take()
			require.Len(t, sent, test.lower)
			require.True(t, sent[test.lower-1].Marker(), "of the last layer that is sent")
			w.super(true, 3, 0)
			require.Len(t, w.take(), test.lowerKey)

			_, err = w.m.SetPreferredLayers("c", layersOf(1, 0))
			require.NoError(t, err)
			w.super(false, 3, 0)
			w.take()
			w.super(false, 3, 1)
			require.Empty(t, w.take())
			require.NoError(t, w.m.PauseConsumer("c"))
			require.Equal(t, layersOf(-1, -1), w.layersDump().Current)
		})
	}
}

// TestSVCResumedInSilence: nothing was sent for long when the Consumer resumed,
// and something was before the layers were looked at again.
func TestSVCResumedInSilence(t *testing.T) {
	for _, mode := range []string{"L3T3", "L1T3"} {
		t.Run(mode, func(t *testing.T) {
			spatial := int(mode[1] - '0')
			w := scalableWorld(t, mode, ConsumeOptions{Paused: true})
			for range 100 { // at the end they are looked at
				w.super(true, spatial, 0)
			}
			silence := w.d.now + 2600*time.Millisecond
			for w.d.now < silence {
				w.advance(w.d.now + 33*time.Millisecond)
			}
			w.takeRequested()
			require.NoError(t, w.m.ResumeConsumer("c"))
			w.flush()
			for range 100 {
				w.super(true, spatial, 0)
			}
			require.Equal(t, layersOf(int8(spatial-1), 2), w.layersDump().Target)
			require.NotEmpty(t, w.take())
		})
	}
}

// TestSVCOfOneLayer: VP8 and H264 have temporal layers only.
func TestSVCOfOneLayer(t *testing.T) {
	w := newLayerWorld(t)
	w.unmanaged = true
	require.Equal(t, SVCType, w.produce("video/VP8", Encoding{SSRC: 11, ScalabilityMode: "L1T3"}))
	w.consume(ConsumeOptions{PreferredLayers: new(layersOf(0, 1))}, Encoding{SSRC: 21, ScalabilityMode: "L1T3"})
	w.frames(true, 0, 11)
	w.takeRequested()
	require.Equal(t, layersOf(0, 0), w.layersDump().Current)
	var sent []rtp.Packet
	for _, temporal := range []uint8{2, 1, 2, 0, 2, 1, 2, 0} {
		w.frames(false, temporal, 11)
	}
	sent = append(sent, w.take()...)
	require.Len(t, sent, 5)
	requireContinuous(t, sent)
	require.Equal(t, layersOf(0, 1), w.layersDump().Current)
}

// give is one round in which a Consumer has that bitrate for itself.
func (w *layerWorld) give(bitrate uint32) (used uint32) {
	c := w.m.consumers["c"]
	for {
		n := c.increaseLayer(bitrate-used, false)
		if used += n; n == 0 {
			c.applyLayers()
			w.flush()
			return used
		}
	}
}

func TestBandwidthOfSimulcast(t *testing.T) {
	w := simulcastWorld(t, ConsumeOptions{})
	c := w.m.consumers["c"]
	all := []uint32{11, 12, 13}
	require.Zero(t, c.bitratePriority(), "there is nothing to send")
	for range 3 {
		w.frames(true, 0, all...)
		w.report(all...)
	}
	require.EqualValues(t, 1, c.bitratePriority())
	require.Zero(t, w.give(1))
	require.Equal(t, layersOf(-1, -1), w.layersDump().Target)
	w.take()
	w.frames(true, 0, all...)
	require.Empty(t, w.take(), "there is no bandwidth")
	low := w.give(1 << 30)
	require.Positive(t, low)
	w.frames(true, 0, all...)
	require.NotEmpty(t, w.take())
	require.GreaterOrEqual(t, c.desiredBitrate(), low)
	c.params.Encodings[0].MaxBitrate = 1 << 29
	require.EqualValues(t, 1<<29, c.desiredBitrate())

	require.NoError(t, w.m.SetPriority("c", 200))
	require.EqualValues(t, 200, c.bitratePriority())
	require.ErrorIs(t, w.m.SetPriority("c", 0), ErrInvalidArgument)
	require.ErrorIs(t, w.m.SetPriority("x", 1), ErrNotFound)
	require.NoError(t, w.m.PauseConsumer("c"))
	require.Zero(t, c.bitratePriority())
	require.Zero(t, c.desiredBitrate())
	require.Zero(t, c.increaseLayer(1<<30, false))
}

func TestBandwidthOfSimpleAndPipe(t *testing.T) {
	for _, pipe := range []bool{false, true} {
		w := newLayerWorld(t)
		w.unmanaged = true
		w.produce("video/VP8", Encoding{SSRC: 11})
		w.consume(ConsumeOptions{Pipe: pipe}, Encoding{SSRC: 21})
		c := w.m.consumers["c"]
		require.EqualValues(t, 1, c.bitratePriority())
		require.Zero(t, w.give(1<<30), "there is no stream yet")
		for range 10 {
			w.frames(true, 0, 11)
		}
		rate := w.m.producers["p"].streams[0].recv.Bitrate(w.m.now)
		if pipe {
			require.Zero(t, w.give(1<<30))
			require.Zero(t, c.desiredBitrate())
		} else {
			require.Equal(t, rate, w.give(1<<30), "once in a round")
			require.EqualValues(t, 5, w.give(5), "as much as there is")
			require.Equal(t, rate, c.desiredBitrate())
		}
		require.Zero(t, w.give(0))
		require.Len(t, w.take(), 10)
		w.frames(false, 0, 11)
		require.Len(t, w.take(), 1, "it sends in any case")
		got, err := w.m.SetPreferredLayers("c", layersOf(0, 0))
		require.NoError(t, err)
		require.Nil(t, got)
	}
}

func TestNoAllocationsOfLayers(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, mode := range []string{"simulcast", "L3T3"} {
		t.Run(mode, func(t *testing.T) {
			var w *layerWorld
			kind := codec.VP8
			if mode == "simulcast" {
				w = simulcastWorld(t, ConsumeOptions{PreferredLayers: new(layersOf(0, 1))})
			} else {
				w, kind = scalableWorld(t, mode, ConsumeOptions{PreferredLayers: new(layersOf(1, 1))}), codec.VP9
			}
			sent := 0
			w.d.onUDP = nil
			buf := make([]byte, 0, 4096)
			n := uint16(0)
			step := func() {
				n++
				w.d.now += 5 * time.Millisecond
				w.m.stale = true
				w.m.tick()
				w.m.wheel.Advance(w.m.now)
				temporal := []uint8{0, 2, 1, 2}[n%4]
				for i := range uint32(3) {
					h := rtp.Header{Marker: true, PayloadType: 101, SequenceNumber: n, Timestamp: 450 * uint32(n), SSRC: 11 + i}
					b := buf[:0]
					if kind == codec.VP8 {
						b = rtp.AppendHeader(b, h, rigElements)
						b = append(b, 0x90, 0xe0, 0x80|byte(n>>8), byte(n), byte(n/4), temporal<<6|0x20, byte(n%400)&^1, 2, 0, 9, 9)
						if n%400 == 0 {
							b[len(b)-5] = 0
						}
					} else {
						h.SSRC, h.SequenceNumber = 11, 3*n+uint16(i)
						b = rtp.AppendHeader(b, h, rigElements)
						first := byte(0xec)
						if n%400 == 0 {
							first = 0xac
						}
						b = append(b, first, 0x80|byte(n>>8), byte(n), temporal<<5|0x10|byte(i)<<1, byte(n/4), 9, 9)
					}
					w.m.HandleUDP(w.source, w.in, b)
					w.m.EndOfBatch()
				}
				w.m.flush()
				w.m.takeNotes()
			}
			for range 9000 { // the stores and maps reach their size
				step()
			}
			before := w.m.count.PacketsOut
			if got := testing.AllocsPerRun(2000, step); got != 0 {
				t.Errorf("%v allocations, want 0", got)
			}
			require.Greater(t, w.m.count.PacketsOut, before+500, sent)
		})
	}
}
