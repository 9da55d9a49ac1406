package stream

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/rtx"
)

// accept sends one packet of 112 bytes.
func accept(s *Send, now time.Duration, seq uint16, timestamp uint32) bool {
	return s.Accept(now, &Outgoing{Seq: seq, Size: 112, PayloadSize: 100, Item: rtx.Item{Timestamp: timestamp, Ingress: seq + 1}})
}

// ask asks for packets and returns those sent again.
func ask(s *Send, now time.Duration, pid, blp uint16) (list []uint16) {
	s.CountNACK()
	s.NACK(now, pid, blp, func(seq uint16, i rtx.Item) bool {
		list = append(list, seq)
		return i.Ingress == seq+1
	})
	return list
}

func TestNACK(t *testing.T) {
	s := newSend(0, video, 99)
	for i := range uint16(5) {
		require.True(t, accept(s, 0, 21006+i, 1533790901))
	}
	assert.Equal(t, []uint16{21006, 21007, 21008, 21009, 21010}, ask(s, 0, 21006, 0b1111))
	assert.Empty(t, ask(s, 100*ms, 21006, 0b1111), "one round trip")
	assert.Equal(t, []uint16{21006, 21010}, ask(s, 101*ms, 21006, 1<<3|1<<15), "21022 was never sent")
	v := s.Stats(0)
	assert.Equal(t, uint32(3), v.NACKCount)
	assert.Equal(t, uint32(13), v.NACKPacketCount)
	assert.Equal(t, uint32(7), v.PacketsRetransmitted)
	assert.Equal(t, uint32(5), v.PacketsRepaired)
	assert.Equal(t, uint64(5), v.PacketCount)
	assert.Equal(t, []uint16{100, 101}, []uint16{s.NextRTXSeq(), s.NextRTXSeq()})

	s.NACK(time.Second, 21006, 0, func(uint16, rtx.Item) bool { return false })
	assert.Equal(t, uint32(7), s.Stats(0).PacketsRetransmitted, "what could not be sent does not count")
	assert.Equal(t, []uint16{21006}, ask(s, time.Second, 21006, 0))
}

func TestResendOverWrap(t *testing.T) {
	s := newSend(0, video, 0)
	for i := range uint16(4) {
		require.True(t, accept(s, 0, 65534+i, 1))
	}
	assert.Equal(t, []uint16{65534, 65535, 0, 1}, ask(s, 0, 65534, 0b111))
}

func TestNACKWithRTT(t *testing.T) {
	s := newSend(0, video, 0)
	accept(s, 0, 1, 1)
	s.ReceiverReport(0, 1<<17, &ReportBlock{LSR: 1<<17 - 1<<16 - 1, DLSR: 1 << 16})
	assert.Less(t, s.RTT(), ms)
	s.ReceiverReport(0, 1<<17, &ReportBlock{LSR: 1<<17 - 1<<16, DLSR: 1 << 15})
	assert.Equal(t, 500*ms, s.RTT())
	s.ReceiverReport(0, 1<<17, &ReportBlock{})
	assert.Equal(t, 500*ms, s.RTT(), "a report without times changes nothing")
	assert.Len(t, ask(s, 0, 1, 0), 1)
	assert.Empty(t, ask(s, 500*ms, 1, 0))
	assert.Len(t, ask(s, 501*ms, 1, 0), 1)
}

func TestNACKNotNegotiated(t *testing.T) {
	p := video
	p.UseNACK = false
	s := newSend(0, p, 0)
	require.True(t, accept(s, 0, 1, 1))
	assert.Empty(t, ask(s, 0, 1, 0))
	assert.Equal(t, uint32(1), s.Stats(0).NACKPacketCount)
	assert.Zero(t, s.sent.Size())
}

func TestAge(t *testing.T) {
	tests := map[string]struct {
		p    Params
		kept uint32
	}{
		"video": {video, 180_000},
		"audio": {Params{ClockRate: 48_000, UseNACK: true}, 48_000},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := newSend(0, test.p, 0)
			accept(s, 0, 1, 0)
			accept(s, 0, 2, test.kept)
			assert.Equal(t, []uint16{1, 2}, ask(s, 0, 1, 1))
			accept(s, 0, 3, test.kept+1)
			assert.Equal(t, []uint16{2}, ask(s, time.Second, 1, 1))
		})
	}
}

func TestDuplicateAndRestart(t *testing.T) {
	s := newSend(0, video, 0)
	require.True(t, accept(s, 0, 1000, 1))
	assert.False(t, accept(s, 0, 1000, 1), "duplicate")
	assert.False(t, accept(s, 0, 20000, 2), "far off")
	require.True(t, accept(s, 0, 20001, 3), "restart")
	assert.Empty(t, ask(s, 0, 1000, 0), "forgotten")
	assert.Equal(t, []uint16{20001}, ask(s, 0, 20001, 0))
	s.Pause()
	assert.Empty(t, ask(s, time.Second, 20001, 0), "forgotten")
	v := s.Stats(0)
	assert.Equal(t, uint64(2), v.PacketCount)
	assert.Equal(t, uint64(224), v.ByteCount)
	assert.Equal(t, uint32(1), v.PacketsDiscarded)
}

func TestSenderReport(t *testing.T) {
	s := newSend(0, video, 0)
	_, ok := s.SenderReport(0)
	assert.False(t, ok, "nothing sent")
	accept(s, 100*ms, 1, 9000)
	accept(s, 100*ms, 2, 9000)
	r, ok := s.SenderReport(150 * ms)
	require.True(t, ok)
	assert.Equal(t, SenderReport{SSRC: 1111, RTPTimestamp: 9000 + 4500, PacketCount: 2, OctetCount: 224}, r)
	_, ok = s.SenderReport(2100 * ms)
	assert.True(t, ok)
	_, ok = s.SenderReport(2100*ms + 1)
	assert.False(t, ok, "silent for two seconds")

	s.Accept(200*ms, &Outgoing{Seq: 3, Size: 50, Captured: 160 * ms, HasCaptured: true, Item: rtx.Item{Timestamp: 18_000}})
	r, _ = s.SenderReport(200 * ms)
	assert.Equal(t, SenderReport{SSRC: 1111, RTPTimestamp: 18_000 + 3600, PacketCount: 3, OctetCount: 224}, r, "the time of capture counts")
	accept(s, 210*ms, 0, 0)
	r, _ = s.SenderReport(210 * ms)
	assert.Equal(t, uint32(18_000+4500), r.RTPTimestamp, "a late packet changes nothing")
	s.Accept(220*ms, &Outgoing{Seq: 4, Captured: time.Second, HasCaptured: true, Item: rtx.Item{Timestamp: 20_000}})
	r, _ = s.SenderReport(220 * ms)
	assert.Equal(t, uint32(20_000), r.RTPTimestamp, "captured in the future")
	ts, ok := s.MaxTimestamp()
	assert.True(t, ok)
	assert.Equal(t, uint32(20_000), ts)
}

func TestReceiverReport(t *testing.T) {
	s := newSend(0, video, 0)
	for i := range uint16(100) {
		accept(s, 0, i, 0)
	}
	s.ReceiverReport(0, 0, &ReportBlock{FractionLost: 64, CumulativeLost: 50, Jitter: 33})
	assert.True(t, s.ScoreChanged())
	assert.False(t, s.ScoreChanged())
	assert.Equal(t, uint8(1), s.Score())
	assert.InDelta(t, 25, s.LossPercentage(), 0)
	assert.Equal(t, uint8(64), s.FractionLost())
	v := s.Stats(0)
	assert.Equal(t, []any{int32(50), uint8(64), uint32(33), uint8(1)}, []any{v.PacketsLost, v.FractionLost, v.Jitter, v.Score})
	s.ReceiverReport(0, 0, &ReportBlock{CumulativeLost: 40})
	assert.Equal(t, uint8(7), s.Score(), "nothing sent is no loss")
	s.ReceiverReport(0, 0, &ReportBlock{CumulativeLost: -5})
	assert.Equal(t, int32(-5), s.Stats(0).PacketsLost)
	s.ScoreChanged()
	s.ResetScore(0)
	assert.Equal(t, uint8(10), s.Score())
	assert.False(t, s.ScoreChanged(), "silently")

	accept(s, 0, 100, 0)
	s.ReceiverReport(0, 0, &ReportBlock{CumulativeLost: 1000})
	require.Zero(t, s.Score())
	s.ReceiverReport(7*time.Second, 0, &ReportBlock{CumulativeLost: 1000})
	assert.Equal(t, time.Second, s.ActiveFor(8*time.Second))
	s.CountPLI()
	s.CountFIR()
	assert.Equal(t, uint32(1), s.Stats(0).PLICount)
	assert.Equal(t, uint32(1), s.Stats(0).FIRCount)
}

func TestReferenceTime(t *testing.T) {
	var r ReferenceTime
	_, _, ok := r.Delay(0)
	assert.False(t, ok)
	r.Set(time.Second, 0x1122_3344_5566_7788)
	last, delay, ok := r.Delay(3 * time.Second)
	assert.True(t, ok)
	assert.Equal(t, []uint32{0x3344_5566, 2 << 16}, []uint32{last, delay})
}

func newSend(now time.Duration, p Params, rtxSeq uint16) *Send { return new(NewSend(now, p, rtxSeq)) }
