package harness

import (
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSource(t *testing.T) {
	s := &source{
		sourceInfo: sourceInfo{
			Stream: streamInfo{SSRC: 7, PayloadType: 96, MID: "0", MIDExtension: 4, AbsSendTimeExtension: 2, WideExtension: 3},
			Layer:  Layer{PPS: 200, Burst: 4, Size: 200},
		},
		index: 5, clock: videoClock, wide: new(uint16),
	}
	for i := range 8 {
		b := s.next(time.Duration(50+i/4)*20*time.Millisecond, i%4, 4, i < 4)
		var p rtp.Packet
		require.NoError(t, p.Unmarshal(b))
		assert.Equal(t, uint32(7), p.SSRC)
		assert.Equal(t, uint16(i+1), p.SequenceNumber)
		assert.Equal(t, i%4 == 3, p.Marker)
		assert.Equal(t, uint32(1800*(50+i/4)), p.Timestamp)
		assert.Equal(t, []byte("0"), p.GetExtension(4))
		assert.Equal(t, [][]byte{{4, 0, 0}, {4, 0x14, 0x7a}}[i/4], p.GetExtension(2), "6.18 fixed point of 1 s and 1.02 s")
		assert.Equal(t, []byte{0, byte(i + 1)}, p.GetExtension(3))
		assert.Equal(t, p.GetExtension(3), extension(b, 3))
		assert.Nil(t, extension(b, 9))

		var d codecs.VP8Packet
		frame, err := d.Unmarshal(p.Payload)
		require.NoError(t, err)
		assert.Equal(t, i%4 == 0, d.S == 1)
		assert.Equal(t, uint16(1+i/4), d.PictureID)
		if i%4 == 0 {
			assert.Equal(t, i == 0, frame[0]&1 == 0, "key frame")
		}

		payload := b[headerLen(b):]
		number, index, ok := checkPayload(payload)
		assert.True(t, ok)
		assert.Len(t, payload, s.Layer.Size)
		assert.Equal(t, s.index, index)
		assert.Equal(t, uint32(i+1), number)
		payload[len(payload)-1]++
		_, _, ok = checkPayload(payload)
		assert.False(t, ok)
	}
}

func TestFeedback(t *testing.T) {
	seven := &sink{sinkInfo: sinkInfo{Stream: streamInfo{SSRC: 7}}, offset: 0xfff0, source: &source{number: 0x15}}
	b := appendReport(nil, []*sink{seven, seven})
	list, err := rtcp.Unmarshal(b)
	require.NoError(t, err)
	require.Len(t, list, 1)
	assert.Empty(t, appendReport(nil, nil))
	report := list[0].(*rtcp.ReceiverReport)
	assert.Equal(t, uint32(7), report.Reports[0].SSRC)
	assert.Equal(t, uint32(0x10005), report.Reports[0].LastSequenceNumber)

	sender := &source{number: 9, octets: 900, clock: videoClock}
	sender.Stream.SSRC = 3
	list, err = rtcp.Unmarshal(appendSenderReport(nil, sender, time.Unix(10, 500_000_000), 2*time.Second))
	require.NoError(t, err)
	assert.Equal(t, &rtcp.SenderReport{
		SSRC: 3, NTPTime: (2208988800+10)<<32 | 1<<31, RTPTime: 180000, PacketCount: 9, OctetCount: 900,
	}, list[0])

	for n := 1; n < 30; n++ {
		var times []time.Duration
		for i := range n {
			times = append(times, time.Second+time.Duration(i/4*20_100)*time.Microsecond)
		}
		late := append(times[:n:n], 5*time.Second) // for the next one
		b, reported := appendWide(nil, 7, 65530, 3, late)
		assert.Equal(t, n, reported)
		list, err := rtcp.Unmarshal(b)
		require.NoError(t, err)
		wide := list[0].(*rtcp.TransportLayerCC)
		assert.Equal(t, uint16(65530), wide.BaseSequenceNumber)
		assert.Equal(t, uint16(n), wide.PacketStatusCount)
		require.Len(t, wide.RecvDeltas, n)
		at := time.Duration(wide.ReferenceTime) * 64 * time.Millisecond
		for i, d := range wide.RecvDeltas {
			at += time.Duration(d.Delta) * time.Microsecond
			assert.InDelta(t, times[i], at, float64(250*time.Microsecond))
		}
	}
}

func TestUDPOverIPv4(t *testing.T) {
	for _, i := range []int{0, 1, 254, 255, 300, 10000} {
		to := peerAddr(tunPeers, i)
		p := append(appendUDP(nil, netip.AddrPortFrom(tunServer, 5), to, len("payload")), "payload"...)
		assert.Equal(t, uint16(0), checksum(p[:ipHeader]), "the sum over a header with its checksum")
		_, got, b, ok := udpOf(p)
		require.True(t, ok)
		assert.Equal(t, i, got)
		assert.Equal(t, "payload", string(b))
	}
	_, _, _, ok := udpOf([]byte{0x60})
	assert.False(t, ok)
}

func TestBurst(t *testing.T) {
	from, to := peerAddr(tunPeers, 0), netip.AddrPortFrom(tunServer, 5)
	p := appendBurst(nil, from, to, [][]byte{[]byte("first one"), []byte("then more"), []byte("the end")})
	assert.Equal(t, []byte{1, 5, 28, 0, 9, 0, 20, 0, 6, 0}, p[:virtioHeader])
	got, _, b, ok := udpOf(p[virtioHeader:])
	assert.Equal(t, 0, got)
	require.True(t, ok)
	assert.Equal(t, "first onethen morethe end", string(b))

	p = appendBurst(nil, from, to, [][]byte{[]byte("alone")})
	assert.Equal(t, make([]byte, virtioHeader), p[:virtioHeader])
}

func TestDeliver(t *testing.T) {
	to := peerAddr(tunPeers, 7)
	for _, list := range [][]string{{"alone"}, {"first one", "then more", "the end"}, {"same", "same"}} {
		var run [][]byte
		for _, d := range list {
			run = append(run, []byte(d))
		}
		var got []string
		deliver(appendBurst(nil, netip.AddrPortFrom(tunServer, 5), to, run), func(i int, b []byte) {
			assert.Equal(t, 7, i)
			got = append(got, string(b))
		})
		assert.Equal(t, list, got)
	}
	for _, bad := range [][]byte{nil, make([]byte, virtioHeader), appendBurst(nil, to, to, [][]byte{nil})} {
		deliver(bad, func(int, []byte) { t.Error("a datagram of", bad) })
	}
}

// A countedLink counts who reads it.
type countedLink struct {
	link
	readers, most atomic.Int32
}

func (l *countedLink) drain() error {
	stop := new(atomic.Bool)
	stop.Store(true)
	return l.read(stop, nil)
}

func (l *countedLink) read(stop *atomic.Bool, _ func(int, []byte)) error {
	if n := l.readers.Add(1); n > 1 {
		l.most.Store(n)
	}
	for !stop.Load() {
		runtime.Gosched()
	}
	runtime.Gosched()
	l.readers.Add(-1)
	return nil
}

func TestOneReader(t *testing.T) {
	l := &countedLink{}
	p := &peers{link: l}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 1000 {
				assert.NoError(t, p.acquire())
				assert.NoError(t, p.release())
			}
		})
	}
	all.Wait()
	assert.Zero(t, l.readers.Load())
	assert.Zero(t, l.most.Load(), "read by many at once")
}

func TestRota(t *testing.T) {
	r := newRota(rand.New(rand.NewPCG(1, 2)), 10, 100*time.Millisecond)
	calls := map[int]int{}
	var last time.Duration
	for r.due() < time.Second {
		assert.GreaterOrEqual(t, r.due(), last)
		last = r.due()
		calls[r.call()]++
	}
	require.Len(t, calls, 10)
	for i, n := range calls {
		assert.Equal(t, 10, n, i)
	}
}

func TestSummarize(t *testing.T) {
	const ms = time.Millisecond
	l := summarize([]table{{3, []time.Duration{
		1 * ms, 3 * ms, 2 * ms,
		3 * ms, 0, 5 * ms, // one is lost
		0, 0, 0,
	}}, {0, nil}})
	assert.Equal(t, Latency{P50: 3, P99: 5, First: 3, Median: 5, Last: 5}, l)
	assert.Zero(t, summarize(nil))
}

// A rate is that between the first and the last: nothing after them counts.
func TestPerSecond(t *testing.T) {
	assert.Zero(t, perSecond(nil))
	assert.Zero(t, perSecond([]time.Duration{time.Second}))
	assert.Equal(t, 1.0, perSecond([]time.Duration{time.Second, 2 * time.Second, 3 * time.Second}))
}

// Figures of which packets were lost are refused.
func TestCheck(t *testing.T) {
	require.NoError(t, (&Figures{Forwarded: 1.002}).Check())
	require.ErrorContains(t, (&Figures{Forwarded: 0.898}).Check(), "89.8 %")
}

// What was not read has no latency, and is told.
func TestTimed(t *testing.T) {
	l := &load{p: &peers{}}
	s := &source{seq: 10, first: 7, sinks: make([]*sink, 2)} // four packets to two
	l.sources = []*source{s}
	r := &reading{l: l, c: &Run{Latency: true}, tables: []table{{2, make([]time.Duration, 20)}}}
	r.received.Store(6)
	var a Ran
	require.NoError(t, r.end(&a))
	assert.Equal(t, 0.75, a.Latency.Timed)
}
