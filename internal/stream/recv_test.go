package stream

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var video = Params{SSRC: 1111, ClockRate: 90_000, UseNACK: true, Video: true}

func newRecv(change func(*Params), check bool) *Recv {
	p := video
	if change != nil {
		change(&p)
	}
	return NewRecv(0, p, check)
}

// packet returns a packet of 100 bytes whose timestamp fits now.
func packet(now time.Duration, seq uint16) *Packet {
	return &Packet{Seq: seq, Timestamp: uint32(now/ms) * 90, Size: 112, PayloadSize: 100}
}

// feed receives packets one each 20 ms and returns the time after the last.
func feed(t *testing.T, r *Recv, now time.Duration, seqs ...uint16) time.Duration {
	t.Helper()
	for _, seq := range seqs {
		require.True(t, r.Receive(now, packet(now, seq)), "packet %d", seq)
		now += 20 * ms
	}
	return now
}

// The four next follow upstream's TestRtpStreamRecv.

func TestNACKOneMissing(t *testing.T) {
	r := newRecv(nil, false)
	now := feed(t, r, 0, 1, 3)
	assert.Empty(t, r.PendingNACK())
	feed(t, r, now, 4)
	assert.Equal(t, []uint16{2}, r.PendingNACK())
	assert.Empty(t, r.PendingNACK())
	s := r.Stats(now)
	assert.Equal(t, uint32(1), s.NACKCount)
	assert.Equal(t, uint32(1), s.NACKPacketCount)
}

func TestRTXBeforeMedia(t *testing.T) {
	r := newRecv(func(p *Params) { p.RTXSSRC = 2222 }, false)
	feed(t, r, 0, 1)
	assert.True(t, r.ReceiveRTX(20*ms, 500, packet(20*ms, 3)), "newer than all")
	feed(t, r, 40*ms, 4)
	assert.Equal(t, []uint16{2}, r.PendingNACK(), "3 is not missing")
	assert.False(t, r.ReceiveRTX(60*ms, 501, packet(60*ms, 3)), "again")
	assert.True(t, r.ReceiveRTX(60*ms, 502, packet(60*ms, 2)))
	s := r.Stats(60 * ms)
	assert.Equal(t, uint32(3), s.PacketsRetransmitted)
	assert.Equal(t, uint32(2), s.PacketsRepaired)
	assert.Equal(t, uint64(4), s.PacketCount)
}

func TestNACKOverWrap(t *testing.T) {
	r := newRecv(nil, false)
	now := feed(t, r, 0, 0xfffe, 0xffff, 1)
	feed(t, r, now, 2)
	assert.Equal(t, []uint16{0}, r.PendingNACK())
}

func TestKeyFrameOnHugeGap(t *testing.T) {
	r := newRecv(nil, false)
	feed(t, r, 0, 1, 1003)
	assert.Empty(t, r.PendingNACK())
	assert.True(t, r.NeedKeyFrame())
	assert.False(t, r.NeedKeyFrame())
}

func TestRTXRefused(t *testing.T) {
	without := newRecv(func(p *Params) { p.UseNACK = false; p.RTXSSRC = 1 }, false)
	feed(t, without, 0, 1, 3)
	assert.False(t, without.ReceiveRTX(0, 1, packet(0, 2)), "no NACK negotiated")
	assert.Empty(t, without.PendingNACK())
	assert.False(t, without.NeedKeyFrame())

	r := newRecv(nil, false)
	feed(t, r, 0, 1, 3)
	assert.False(t, r.ReceiveRTX(0, 1, packet(0, 2)), "no RTX")
	_, ok := r.RTXReportBlock(0)
	assert.False(t, ok)
	r.SetRTX(2222, 97)
	assert.False(t, r.ReceiveRTX(0, 1, nil), "empty")
	assert.True(t, r.ReceiveRTX(0, 2, packet(0, 2)))
	assert.False(t, r.ReceiveRTX(0, 9000, packet(0, 2)), "far off")
	r.RTXSenderReport(time.Second, 7<<32, 0)
	b, ok := r.RTXReportBlock(2 * time.Second)
	require.True(t, ok)
	assert.Equal(t, ReportBlock{SSRC: 2222, HighestSeq: 2, LSR: 7 << 16, DLSR: 1 << 16}, b)
	assert.Equal(t, uint32(1), r.Stats(0).RTXPacketsDiscarded)
	assert.False(t, r.Receive(0, packet(0, 20000)), "a media packet far off")
}

func TestPaddingOnly(t *testing.T) {
	r := newRecv(nil, true)
	p := packet(0, 1)
	p.PayloadSize = 0
	require.True(t, r.Receive(0, p))
	s := r.Stats(0)
	assert.Equal(t, uint64(1), s.PacketCount)
	assert.Zero(t, s.ByteCount)
	assert.Zero(t, s.Bitrate)
	assert.Zero(t, r.ReportBlock(0, 0).CumulativeLost)
	r.Tick(1500 * ms)
	require.True(t, r.Inactive())
	p.Seq++
	r.Receive(1500*ms, p)
	assert.True(t, r.Inactive(), "padding revives nothing")
}

func TestInactivity(t *testing.T) {
	tests := []struct {
		name    string
		dtx     bool
		timeout time.Duration
	}{{"video", false, 1500 * ms}, {"DTX", true, 5000 * ms}}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := newRecv(func(p *Params) { p.UseDTX = test.dtx }, true)
			feed(t, r, 100*ms, 1)
			at, ok := r.Deadline()
			require.True(t, ok)
			require.Equal(t, 100*ms+test.timeout, at)
			r.Tick(at - 1)
			assert.False(t, r.Inactive())
			r.Tick(at)
			assert.True(t, r.Inactive())
			assert.True(t, r.ScoreChanged())
			assert.False(t, r.ScoreChanged())
			assert.Zero(t, r.Score())
			_, ok = r.Deadline()
			assert.False(t, ok)
			r.SenderReport(at, 1, 0)
			assert.Zero(t, r.Score(), "no samples while inactive")
			feed(t, r, at+time.Second, 2)
			assert.False(t, r.Inactive())
			assert.Equal(t, uint8(10), r.Score())
			assert.True(t, r.ScoreChanged())
			assert.Equal(t, time.Second, r.ActiveFor(at+2*time.Second))
		})
	}
	r := newRecv(nil, false)
	feed(t, r, 0, 1)
	_, ok := r.Deadline()
	assert.False(t, ok, "the only stream of a producer")
}

func TestPause(t *testing.T) {
	r := newRecv(func(p *Params) { p.RTXSSRC = 2 }, true)
	now := feed(t, r, 0, 1, 3)
	r.Pause()
	_, ok := r.Deadline()
	assert.False(t, ok)
	r.Tick(time.Minute)
	assert.False(t, r.Inactive())
	now = feed(t, r, now, 6, 7)
	assert.Empty(t, r.PendingNACK(), "nothing is asked for")
	assert.False(t, r.ReceiveRTX(now, 1, packet(now, 2)))
	assert.Equal(t, uint64(4), r.Stats(now).PacketCount, "but counted")
	r.Resume(time.Minute)
	at, ok := r.Deadline()
	require.True(t, ok)
	assert.Equal(t, time.Minute+1500*ms, at)
	feed(t, r, time.Minute, 10, 12, 13)
	assert.Equal(t, []uint16{11}, r.PendingNACK())
}

func TestBackwardRestart(t *testing.T) {
	r := newRecv(nil, false)
	feed(t, r, 0, 30000)
	assert.False(t, r.Receive(0, packet(0, 10000)))
	feed(t, r, 0, 10001, 10003, 10004)
	assert.Equal(t, []uint16{10002}, r.PendingNACK())
	r.SenderReport(0, 1, 0)
	assert.Less(t, r.Score(), uint8(11))
}

func TestReportBlock(t *testing.T) {
	r := newRecv(func(p *Params) { p.UseNACK = false }, false)
	now := feed(t, r, 0, 10, 11, 12, 13, 15) // 1 of 6
	b := r.ReportBlock(now, 0)
	assert.Equal(t, ReportBlock{SSRC: 1111, FractionLost: 43, CumulativeLost: 1, HighestSeq: 15}, b)
	r.SenderReport(now, 0x1122_3344_5566_7788, 5)
	now = feed(t, r, now, 14, 16, 17) // the missing one came late
	b = r.ReportBlock(now, 0)
	assert.Equal(t, uint8(0), b.FractionLost)
	assert.Zero(t, b.CumulativeLost)
	assert.Equal(t, uint32(0x3344_5566), b.LSR)
	assert.Equal(t, uint32(60*65536/1000), b.DLSR)
	ntp, ts, at, ok := r.SenderClock()
	assert.Equal(t, []any{uint64(0x1122_3344_5566_7788), uint32(5), 100 * ms, true}, []any{ntp, ts, at, ok})
	r.SenderReport(now, 0, 9)
	assert.Equal(t, uint32(0x3344_5566), r.ReportBlock(now, 0).LSR, "a report without time changes none")
	assert.Zero(t, r.ReportBlock(now, 0).FractionLost, "nothing expected")
	ts, at, ok = r.MaxTimestamp()
	assert.Equal(t, []any{uint32(140 * 90), 140 * ms, true}, []any{ts, at, ok})
}

// TestWorstFractionLost checks that a stream with in-band FEC reports the loss
// of its receivers.
func TestWorstFractionLost(t *testing.T) {
	r := newRecv(func(p *Params) { p.UseNACK = false; p.UseInBandFEC = true }, false)
	var seq uint16
	hundred := func() {
		for range 100 {
			seq++
			r.Receive(0, packet(0, seq))
		}
	}
	hundred()
	b := r.ReportBlock(0, 64)
	assert.Equal(t, uint8(64), b.FractionLost)
	assert.Equal(t, int32(25), b.CumulativeLost)
	hundred()
	b = r.ReportBlock(0, 0)
	assert.Zero(t, b.FractionLost)
	assert.Equal(t, int32(25), b.CumulativeLost, "what was reported stays")
	seq += 50
	hundred()
	b = r.ReportBlock(0, 10)
	assert.Equal(t, uint8(85), b.FractionLost, "our own loss is worse")
	assert.Equal(t, int32(75), b.CumulativeLost)
}

func TestJitter(t *testing.T) {
	var j jitter
	j.receive(0, 1000, 90_000)
	j.receive(20*ms, 2800, 90_000)
	assert.Zero(t, j.value)
	j.receive(41*ms, 4600, 90_000) // 1 ms late
	assert.InDelta(t, 90.0/16, j.value, 0.001)
	var w jitter
	w.receive(0, 1<<32-900, 90_000)
	w.receive(20*ms, 900, 90_000)
	assert.Zero(t, w.value, "wrap")
}

func TestRoundTrip(t *testing.T) {
	r := newRecv(nil, false)
	r.DelaySinceLastRR(1<<16, 0, 0)
	assert.Zero(t, r.RTT(), "no report received yet")
	r.DelaySinceLastRR(10<<16, 9<<16, 1<<15)
	assert.Equal(t, 500*ms, r.RTT())
	assert.InDelta(t, 500, r.Stats(0).RoundTripTime, 0)
	// NACKs repeat after that time.
	feed(t, r, 0, 1, 3, 4)
	assert.Equal(t, []uint16{2}, r.PendingNACK())
	var again time.Duration
	for now := 40 * ms; again == 0 && now < 5*time.Second; now += ms {
		if r.Tick(now); len(r.PendingNACK()) > 0 {
			again = now
		}
	}
	assert.GreaterOrEqual(t, again, 540*ms)
	assert.LessOrEqual(t, again, 580*ms)
}

func TestLayers(t *testing.T) {
	r := newRecv(func(p *Params) { p.SpatialLayers = 2; p.TemporalLayers = 2 }, false)
	seq := uint16(0)
	send := func(now time.Duration, s, temporal uint8) {
		seq++
		p := packet(now, seq)
		p.Size, p.SpatialLayer, p.TemporalLayer = 250, s, temporal
		require.True(t, r.Receive(now, p))
	}
	at, ok := r.Deadline()
	require.True(t, ok)
	require.Equal(t, 1500*ms, at)
	send(1000*ms, 0, 0)
	send(1000*ms, 0, 1)
	send(1000*ms, 1, 0)
	now := 1500 * ms
	r.Tick(now)
	assert.True(t, r.LayersChanged())
	assert.False(t, r.LayersChanged())
	assert.Equal(t, uint32(2400), r.Bitrate(now))
	assert.Equal(t, uint32(1600), r.SpatialBitrate(now, 0))
	assert.Equal(t, uint32(800), r.LayerBitrate(now, 0, 1))
	assert.Equal(t, uint32(1600), r.BitrateUpTo(now, 0, 1))
	assert.Equal(t, uint32(2400), r.BitrateUpTo(now, 1, 0))
	assert.Zero(t, r.BitrateUpTo(now, 1, 1), "that layer is silent")
	assert.Zero(t, r.BitrateUpTo(now, 2, 0), "not declared")
	assert.Equal(t, []LayerBitrate{{0, 0, 800}, {0, 1, 1600}, {1, 0, 2400}, {1, 1, 0}}, r.Stats(now).Layers)
	send(now, 7, 7)
	assert.Equal(t, uint32(800), r.LayerBitrate(now, 1, 1), "undeclared layers count for the last")

	for now := 3000 * ms; now <= 6000*ms; now += 1500 * ms {
		send(now, 0, 0)
		r.Tick(now)
	}
	assert.True(t, r.LayersChanged(), "spatial layer 1 went away")
}
