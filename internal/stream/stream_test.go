package stream

import (
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/rtx"
)

const ms = time.Millisecond

func TestSequence(t *testing.T) {
	type in struct {
		seq  uint16
		want verdict
	}
	tests := map[string]struct {
		in        []in
		highest   uint32
		expected  uint32
		discarded uint32
	}{
		"in order":          {[]in{{10, accepted}, {11, accepted}, {12, accepted}}, 12, 3, 0},
		"begins at 0":       {[]in{{0, accepted}, {1, accepted}}, 1, 2, 0},
		"gap":               {[]in{{10, accepted}, {3009, accepted}}, 3009, 3000, 0},
		"duplicate":         {[]in{{10, accepted}, {10, accepted}}, 10, 1, 0},
		"late":              {[]in{{2000, accepted}, {501, accepted}}, 2000, 1, 0},
		"too late":          {[]in{{2000, accepted}, {500, dropped}}, 2000, 1, 1},
		"too far":           {[]in{{10, accepted}, {3010, dropped}, {11, accepted}}, 11, 2, 1},
		"restart":           {[]in{{10, accepted}, {30000, dropped}, {30001, restarted}, {30002, accepted}}, 30002, 2, 1},
		"restart over wrap": {[]in{{10, accepted}, {65535 - 5000, dropped}, {65536 - 5000, restarted}}, 65536 - 5000, 1, 1},
		"bad, but not next": {[]in{{10, accepted}, {30000, dropped}, {30002, dropped}, {30003, restarted}}, 30003, 1, 2},
		"wrap":              {[]in{{65534, accepted}, {65535, accepted}, {0, accepted}, {1, accepted}}, 65537, 4, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var s sequence
			for i, p := range test.in {
				got, _ := s.receive(0, p.seq, uint32(i))
				require.Equal(t, p.want, got, "packet %d", i)
			}
			assert.Equal(t, test.highest, s.highest())
			assert.Equal(t, test.expected, s.expected())
			assert.Equal(t, test.discarded, s.discarded)
		})
	}
	assert.Zero(t, new(sequence).expected())
}

func TestNewestTimestamp(t *testing.T) {
	var s sequence
	s.receive(1, 10, 1000)
	s.receive(2, 12, 2000)
	_, newest := s.receive(3, 11, 1500)
	assert.False(t, newest, "a late packet")
	assert.Equal(t, uint32(2000), s.timestamp)
	_, newest = s.receive(4, 13, 100)
	assert.True(t, newest, "the clock went back")
	assert.Equal(t, uint32(100), s.timestamp)
	assert.Equal(t, time.Duration(4), s.at)
	s.receive(5, 14, 1<<32-10)
	s.receive(6, 15, 5)
	assert.Equal(t, uint32(5), s.timestamp, "wrap")
}

func TestCompactNTP(t *testing.T) {
	assert.Equal(t, uint32(98304), compactDuration(1500*ms))
	assert.Zero(t, compactDuration(-time.Second))
	assert.Equal(t, 1500*ms, compactToDuration(98304))
	assert.InDelta(t, 298.858642578125, compactToMillis(19586), 0)
	assert.Equal(t, uint32(50), roundTrip(100, 1<<32-50, 100), "wrap")
	assert.Zero(t, roundTrip(100, 90, 20), "negative")
}

// TestMemory holds a Consumer's stream to its budget of 2 KiB, what it
// remembers of packets excepted.
func TestMemory(t *testing.T) {
	size := unsafe.Sizeof(Send{})
	assert.LessOrEqual(t, size, uintptr(2048))
	t.Logf("Send: %d bytes", size)
}

func TestNoAllocation(t *testing.T) {
	if race {
		t.Skip("the race detector allocates")
	}
	r := NewRecv(0, Params{ClockRate: 90_000, UseNACK: true, RTXSSRC: 1, SpatialLayers: 3, TemporalLayers: 3, Video: true}, true)
	s := newSend(0, Params{ClockRate: 90_000, UseNACK: true, Video: true}, 0)
	resend := func(uint16, rtx.Item) bool { return true }
	now, seq := time.Duration(0), uint16(0)
	turn := func() {
		for i := range 300 {
			now += 10 * ms
			seq++
			p := Packet{Seq: seq, Timestamp: uint32(now/ms) * 90, Size: 1200, PayloadSize: 1100, SpatialLayer: uint8(i % 3), TemporalLayer: uint8(i / 3 % 3)}
			if i%20 != 0 {
				r.Receive(now, &p)
			} else {
				r.ReceiveRTX(now, seq/20, &p)
			}
			r.Tick(now)
			r.PendingNACK()
			s.Accept(now, &Outgoing{Seq: seq, Size: 1200, PayloadSize: 1100, Item: rtx.Item{Timestamp: p.Timestamp, Ingress: seq}})
			s.NACK(now, seq-5, 0, resend)
		}
		r.SenderReport(now, 1, 2)
		r.ReportBlock(now, 0)
		s.ReceiverReport(now, 0, &ReportBlock{})
		s.SenderReport(now)
	}
	for range 3 {
		turn()
	}
	assert.Zero(t, testing.AllocsPerRun(5, turn))
}

func BenchmarkReceive(b *testing.B) {
	r := NewRecv(0, Params{ClockRate: 90_000, UseNACK: true, Video: true}, true)
	b.ReportAllocs()
	p := Packet{Size: 1200, PayloadSize: 1100}
	now := time.Duration(0)
	for b.Loop() {
		now += 2 * ms
		p.Seq++
		p.Timestamp += 180
		r.Receive(now, &p)
	}
}

func BenchmarkAccept(b *testing.B) {
	s := newSend(0, Params{ClockRate: 90_000, UseNACK: true, Video: true}, 0)
	b.ReportAllocs()
	o := Outgoing{Size: 1200, PayloadSize: 1100}
	now := time.Duration(0)
	for b.Loop() {
		now += 2 * ms
		o.Seq++
		o.Item.Timestamp += 180
		s.Accept(now, &o)
	}
}
