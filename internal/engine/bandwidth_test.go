package engine

import (
	"encoding/binary"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/rtcp"
	"github.com/mafalda-sfu/mafalda/internal/rtp"
	"github.com/mafalda-sfu/mafalda/internal/twcc"
)

const (
	videoFrame    = 40 * time.Millisecond
	feedbackEvery = 100 * time.Millisecond
)

// A bottleneck is what lies between a Machine and its sink: a line with a queue
// of 300 ms. The sink tells what arrives, and when, by transport-cc.
type bottleneck struct {
	*layerWorld
	rate float64 // bit/s of the line
	free time.Duration
	rec  *twcc.Recorder
	// What was sent, by SSRC, since the last look.
	bytes   map[uint32]int
	arrived []arrivedPacket
	missing map[uint16]bool // of SSRC 21, what the queue had no room for

	rates  []float64 // of the simulcast streams
	keys   []bool
	frames uint32
	events []Notification
}

type arrivedPacket struct {
	at  time.Duration
	seq uint16
}

func newBottleneck(t *testing.T, rate float64, streams ...float64) *bottleneck {
	b := &bottleneck{
		layerWorld: newLayerWorld(t), rate: rate, rec: twcc.New(), bytes: map[uint32]int{}, missing: map[uint16]bool{}, rates: streams,
		keys: make([]bool, len(streams)),
	}
	inner := b.d.onUDP
	b.d.onUDP = func(s *virtualUDP, to netip.AddrPort, p []byte) {
		if s != b.sink || rtcp.Is(p) {
			inner(s, to, p)
			return
		}
		pkt := rtp.Packet(p)
		b.bytes[pkt.SSRC()] += len(p)
		start := max(b.free, b.d.now)
		if start-b.d.now > 300*time.Millisecond {
			if pkt.SSRC() == 21 {
				b.missing[pkt.SequenceNumber()] = true
			}
			return
		}
		if pkt.SSRC() == 22 {
			delete(b.missing, binary.BigEndian.Uint16(pkt.Payload()))
		}
		b.free = start + time.Duration(float64(len(p))*8/b.rate*float64(time.Second))
		if v := pkt.Extension(rtp.IDTransportWideCC); len(v) == 2 {
			b.arrived = append(b.arrived, arrivedPacket{b.free + 20*time.Millisecond, binary.BigEndian.Uint16(v)})
		}
	}
	b.onNote = func(n Notification) { b.events = append(b.events, n) }
	var encodings []Encoding
	for i := range streams {
		encodings = append(encodings, Encoding{SSRC: uint32(11 + i)})
	}
	b.produce("video/VP8", encodings...)
	return b
}

// run lets time pass: the source sends frames and reports, the sink feedback.
func (b *bottleneck) run(d time.Duration) {
	for end := b.d.now + d; b.d.now < end; {
		now := b.d.now + 20*time.Millisecond
		b.advance(now)
		for len(b.arrived) > 0 && b.arrived[0].at <= now {
			b.rec.Received(b.arrived[0].at, b.arrived[0].seq, 1)
			b.arrived = b.arrived[1:]
		}
		for _, ssrc := range b.takeRequested() {
			if i := int(ssrc) - 11; i >= 0 && i < len(b.keys) {
				b.keys[i] = true
			}
		}
		if now%videoFrame == 0 {
			b.frame()
		}
		if now%time.Second == 0 {
			for i := range b.rates {
				b.udp(b.source, b.in, rtcp.AppendSenderReport(nil, rtcp.SenderReport{
					SSRC: uint32(11 + i), NTP: uint64(now/time.Second) << 32, RTPTimestamp: b.frames,
				}))
			}
		}
		if now%feedbackEvery == 0 {
			for {
				f, ok := b.rec.Next(nil)
				if !ok {
					break
				}
				b.udp(b.sink, b.out, f)
			}
		}
	}
}

func (b *bottleneck) frame() {
	b.frames += 3600
	for i, r := range b.rates {
		size := int(r / 8 * videoFrame.Seconds())
		payload := deltaVP8
		if b.keys[i] {
			b.keys[i], size, payload = false, 3*size, keyVP8
		}
		for size > 0 {
			n := min(size, 1100)
			size -= n
			b.media(uint32(11+i), b.frames, size <= 0, append(append(make([]byte, 0, n+8), payload...), make([]byte, n)...)...)
			payload = []byte{0, 0, 0, 0} // continues
		}
	}
}

// sentRate returns what was sent of a stream during d, in bit/s.
func (b *bottleneck) sentRate(ssrc uint32, d time.Duration) float64 {
	b.bytes[ssrc] = 0
	b.run(d)
	return float64(b.bytes[ssrc]) * 8 / d.Seconds()
}

func (b *bottleneck) available() uint64 {
	s, err := b.m.TransportStats("out")
	require.NoError(b.t, err)
	require.True(b.t, s.Estimated)
	return s.AvailableOutgoingBitrate
}

func (b *bottleneck) consumeLayers() {
	b.consume(ConsumeOptions{}, Encoding{SSRC: 21, RTXSSRC: 22, ScalabilityMode: "L3T1"})
}

// TestLayersFollowTheLine: the layer that is sent is the best that the line
// carries, after it became narrower and wider.
func TestLayersFollowTheLine(t *testing.T) {
	b := newBottleneck(t, 3e6, 100e3, 400e3, 1.5e6)
	b.consumeLayers()
	b.run(10 * time.Second)
	assert.Greater(t, b.sentRate(21, 4*time.Second), 1.3e6, "all of it")
	b.rate = 700e3
	b.run(5 * time.Second)
	assert.Less(t, b.sentRate(21, time.Second), 600e3, "less")
	b.run(12 * time.Second) // no higher layer within 10 s of a fall
	assert.InDelta(t, 430e3, b.sentRate(21, 4*time.Second), 130e3, "the middle layer; available %d", b.available())
	b.rate = 3e6
	b.run(15 * time.Second)
	assert.Greater(t, b.sentRate(21, 4*time.Second), 1.3e6, "all of it again; available %d", b.available())
}

// nackAll asks for all that is missing.
func (b *bottleneck) nackAll() {
	if len(b.missing) > 0 {
		b.udp(b.sink, b.out, rtcp.AppendNACK(nil, 1, 21, slices.Sorted(maps.Keys(b.missing))))
	}
}

// TestResendsLeaveRoom: a peer behind a line that became narrow asks for all
// that it misses until it comes. That must not fill the line.
func TestResendsLeaveRoom(t *testing.T) {
	b := newBottleneck(t, 3e6, 100e3, 400e3, 1.5e6)
	b.consumeLayers()
	b.run(10 * time.Second)
	b.rate = 500e3
	c := b.m.consumers["c"]
	took := time.Duration(0)
	for ; c.layers.chooser.Current.Spatial == 2 || took < time.Second; took += 20 * time.Millisecond {
		require.Less(t, took, 4*time.Second, "the layer")
		b.run(20 * time.Millisecond)
		b.nackAll()
	}
	require.NotEmpty(t, b.missing, "the line is too wide")
	clear(b.bytes)
	most := uint64(0)
	const rest = 3 * time.Second
	for range rest / (20 * time.Millisecond) {
		b.run(20 * time.Millisecond)
		b.nackAll()
		most = max(most, b.available())
	}
	assert.LessOrEqual(t, float64(b.bytes[22])*8/(rest+resendWindow).Seconds(), resendShare*float64(most)*1.1)
	assert.Positive(t, b.bytes[21])
}

// TestResendsOfWhoJoins: what a young Worker sent is sent again, too.
func TestResendsOfWhoJoins(t *testing.T) {
	b := newBottleneck(t, 3e6, 100e3, 400e3, 1.5e6)
	b.consumeLayers()
	b.m.now = time.Millisecond
	for range 10 {
		require.True(t, b.m.consumers["c"].t.bandwidth.takeResend(1200))
	}
}

// TestNothingFromBeforeAFall: when a lower layer is sent because of the
// bandwidth, what was sent before is not sent again.
func TestNothingFromBeforeAFall(t *testing.T) {
	b := newBottleneck(t, 3e6, 100e3, 400e3, 1.5e6)
	b.consumeLayers()
	b.run(10 * time.Second)
	c := b.m.consumers["c"]
	ask := func(seq uint16) int {
		b.bytes[22] = 0
		b.udp(b.sink, b.out, rtcp.AppendNACK(nil, 1, 21, []uint16{seq}))
		return b.bytes[22]
	}
	require.Equal(t, int8(2), c.layers.chooser.Current.Spatial)
	require.Positive(t, ask(c.main.seq.MaxOutput()))
	b.rate = 500e3
	var before uint16
	for took := time.Duration(0); c.layers.chooser.Current.Spatial == 2; took += 20 * time.Millisecond {
		require.Less(t, took, 4*time.Second, "the layer")
		before = c.main.seq.MaxOutput()
		b.run(20 * time.Millisecond)
	}
	b.run(time.Second) // something may be sent again
	assert.Zero(t, ask(before))
	assert.Positive(t, ask(c.main.seq.MaxOutput()))
}

func TestBandwidthStats(t *testing.T) {
	b := newBottleneck(t, 3e6, 100e3)
	s, err := b.m.TransportStats("out")
	require.NoError(t, err)
	assert.False(t, s.Estimated, "nobody consumes video")
	require.NoError(t, b.m.TraceTransport("out", []string{"probation", "bwe"}))
	b.consume(ConsumeOptions{}, Encoding{SSRC: 21, RTXSSRC: 22})
	assert.EqualValues(t, 600_000, b.available())
	b.run(3 * time.Second)
	require.NoError(t, b.m.SetMaxOutgoingBitrate("out", 200_000))
	assert.EqualValues(t, 200_000, b.available())
	require.NoError(t, b.m.SetMinOutgoingBitrate("out", 150_000))
	b.run(time.Second)
	s, err = b.m.TransportStats("out")
	require.NoError(t, err)
	assert.EqualValues(t, 8*452+8*900, s.ProbationBytesSent, "15 ms of 1.8 and of 3.6 Mbit/s")
	assert.Zero(t, s.PacketLossSent)

	probes, estimates := 0, []*BWETrace{}
	for _, n := range b.events {
		if tr, ok := n.Body.(Trace); ok {
			assert.Equal(t, "out", n.Target)
			switch tr.Event.Type {
			case "probation":
				probes++
			case "bwe":
				estimates = append(estimates, tr.Event.BWE)
			}
		}
	}
	assert.Equal(t, 16, probes)
	require.GreaterOrEqual(t, len(estimates), 3)
	last := estimates[len(estimates)-1]
	assert.EqualValues(t, 150_000, last.Min)
	assert.EqualValues(t, 200_000, last.Max)
	assert.EqualValues(t, 170_000, last.MaxPadding)
	assert.EqualValues(t, 200_000, last.Available)
	assert.InDelta(t, 110_000, last.Desired, 30_000)
	assert.False(t, last.REMB)
}

// TestWideNumbers: what is sent has consecutive numbers, over all streams and
// probes; what is sent again without RTX is the same packet.
func TestWideNumbers(t *testing.T) {
	b := newBottleneck(t, 3e6, 100e3)
	var sent []rtp.Packet
	inner := b.d.onUDP
	b.d.onUDP = func(s *virtualUDP, to netip.AddrPort, p []byte) {
		if s == b.sink && !rtcp.Is(p) {
			sent = append(sent, rtp.Packet(p))
		}
		inner(s, to, p)
	}
	b.consume(ConsumeOptions{}, Encoding{SSRC: 21}) // no RTX
	b.run(2 * time.Second)
	require.Greater(t, len(sent), 40)
	for i, p := range sent {
		assert.EqualValues(t, i+1, binary.BigEndian.Uint16(p.Extension(rtp.IDTransportWideCC)))
	}
	lost := sent[len(sent)-5]
	require.EqualValues(t, 21, lost.SSRC())
	n := len(sent)
	b.udp(b.sink, b.out, rtcp.AppendNACK(nil, 1, 21, []uint16{lost.SequenceNumber()}))
	require.Len(t, sent, n+1)
	assert.Equal(t, lost, sent[n], "SRTP must not see two packets with one number")
}

func TestREMBConsumer(t *testing.T) {
	b := newBottleneck(t, 3e6, 100e3, 400e3, 1.5e6)
	p := b.m.producers["p"]
	params := vp8Params(1, 0, "")
	params.Codecs[0].Feedback[3].Type = "goog-remb"
	params.HeaderExtensions = params.HeaderExtensions[:2]
	params.Encodings = []Encoding{{SSRC: 21, RTXSSRC: 22, ScalabilityMode: "L3T1"}}
	o := ConsumeOptions{ID: "c", ProducerID: "p", RTPParameters: params}
	for i := range p.params.Encodings {
		o.ConsumableEncodings = append(o.ConsumableEncodings, Encoding{SSRC: uint32(7 + i)})
	}
	_, err := b.m.Consume("out", o)
	require.NoError(t, err)
	remb := func(bitrate uint64) {
		b.udp(b.sink, b.out, rtcp.AppendREMB(nil, 1, 0, bitrate, []uint32{21}))
	}
	b.run(4 * time.Second)
	remb(900_000)
	b.run(4 * time.Second)
	assert.InDelta(t, 430e3, b.sentRate(21, 4*time.Second), 100e3)
	assert.EqualValues(t, 900_000, b.available())
	remb(200_000)
	b.run(2 * time.Second)
	assert.InDelta(t, 110e3, b.sentRate(21, 4*time.Second), 50e3)
}

// TestHostileFeedback: feedback of what was never sent, replays and nonsense
// change nothing.
func TestHostileFeedback(t *testing.T) {
	b := newBottleneck(t, 3e6, 100e3)
	b.consume(ConsumeOptions{}, Encoding{SSRC: 21, RTXSSRC: 22})
	b.run(2 * time.Second)
	before := b.available()
	other := twcc.New()
	for i := range 2000 {
		other.Received(time.Duration(i)*time.Hour, uint16(i*331), 1)
	}
	for {
		f, ok := other.Next(nil)
		if !ok {
			break
		}
		b.udp(b.sink, b.out, f)
	}
	assert.GreaterOrEqual(t, b.available(), before/2)
	b.run(5 * time.Second)
	assert.GreaterOrEqual(t, b.available(), uint64(100_000))
}

// TestREMBFlood: what a peer asks for in the same moment is shared once, and the
// last of it in the end.
func TestREMBFlood(t *testing.T) {
	b := newBottleneck(t, 3e6, 100e3, 400e3, 1.5e6)
	b.consumeLayers()
	require.NoError(t, b.m.TraceTransport("out", []string{"bwe"}))
	b.run(4 * time.Second)
	traces := func() (n int) {
		for _, e := range b.events {
			if tr, ok := e.Body.(Trace); ok && tr.Event.Type == "bwe" {
				n++
			}
		}
		return n
	}
	before := traces()
	var flood []byte
	for range 500 {
		flood = rtcp.AppendREMB(flood, 1, 0, 1<<40, []uint32{21})
		flood = rtcp.AppendREMB(flood, 1, 0, 150_000, []uint32{21})
	}
	for part := range slices.Chunk(flood, 1200) {
		b.udp(b.sink, b.out, part)
	}
	assert.LessOrEqual(t, traces()-before, 1)
	b.run(2 * time.Second)
	assert.InDelta(t, 110e3, b.sentRate(21, 2*time.Second), 50e3)
}

func TestFeedbackDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	b := newBottleneck(t, 3e6, 100e3)
	b.consume(ConsumeOptions{}, Encoding{SSRC: 21, RTXSSRC: 22})
	b.run(3 * time.Second)
	var f []rtcp.TransportCC
	seq := b.m.transports["out"].bandwidth.wideSeq
	for i := range 40 {
		for k := range 5 {
			b.rec.Received(b.d.now+time.Duration(5*i+k)*20*time.Millisecond, seq+uint16(5*i+k)+1, 1)
		}
		raw, ok := b.rec.Next(nil)
		require.True(t, ok)
		r := rtcp.NewReader(raw)
		p, _ := r.Next()
		x, ok := p.TransportCC()
		require.True(t, ok)
		f = append(f, x)
	}
	i := 0
	bw := b.m.transports["out"].bandwidth
	pkt := make([]byte, 1100)
	assert.Zero(t, testing.AllocsPerRun(len(f)-1, func() {
		for range 5 {
			bw.number(pkt, &outgoing{wide: 20}, len(pkt))
		}
		b.m.now += feedbackEvery
		bw.receiveFeedback(f[i])
		bw.tick()
		i++
	}))
}
