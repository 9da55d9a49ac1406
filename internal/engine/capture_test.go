package engine

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/rtcp"
	"github.com/mafalda-sfu/mafalda/internal/rtp"
	"github.com/mafalda-sfu/mafalda/internal/rtptest"
)

// A captured stream has 48,000 ticks a second, began with 0 when the Worker's
// clock was 0, on a clock that is 3 s ahead of the Worker's, and is on the way for
// 40 ms.
const (
	captureDelay = 40 * time.Millisecond
	captureAhead = 3 * time.Second
)

type captureTest struct {
	*virtualWorld
	local, remote netip.AddrPort
	seq           uint16
	sent          []rtp.Packet
	reports       []rtcp.SenderReport
	reportedAt    []time.Duration
}

func newCaptureTest(t *testing.T, extension bool) *captureTest {
	c := &captureTest{
		virtualWorld: newVirtualWorld(t),
		local:        netip.MustParseAddrPort("10.0.0.1:1000"), remote: netip.MustParseAddrPort("10.0.0.2:2000"),
	}
	require.NoError(t, c.m.CreateRouter("r"))
	_, err := c.m.CreatePlainTransport("r", PlainTransportOptions{
		ID: "t", ListenInfo: ListenInfo{Protocol: UDP, IP: c.local.Addr(), Port: c.local.Port()},
	})
	require.NoError(t, err)
	_, err = c.m.ConnectPlain("t", PlainConnectOptions{Remote: c.remote})
	require.NoError(t, err)
	params := opusParams(1000)
	if extension {
		params.HeaderExtensions = append(params.HeaderExtensions, HeaderExtension{URI: uriCaptureTime, ID: 7})
	}
	require.NoError(t, produceOn(c.m, "t", ProduceOptions{
		ID: "p", Kind: Audio, RTPParameters: params, RTPMapping: identity(params, 5000),
	}))
	out := opusParams(2000)
	_, err = c.m.Consume("t", ConsumeOptions{ID: "c", ProducerID: "p", RTPParameters: out, ConsumableEncodings: []Encoding{{SSRC: 5000}}})
	require.NoError(t, err)
	c.d.onUDP = func(_ *virtualUDP, _ netip.AddrPort, b []byte) {
		if !rtcp.Is(b) {
			pkt, ok := rtp.Parse(b)
			require.True(t, ok)
			c.sent = append(c.sent, pkt)
			return
		}
		r := rtcp.NewReader(b)
		for p, ok := r.Next(); ok; p, ok = r.Next() {
			if sr, ok := p.SenderReport(); ok {
				c.reports, c.reportedAt = append(c.reports, sr), append(c.reportedAt, c.d.now)
			}
		}
	}
	return c
}

// captured returns the RTP timestamp of what is captured at a time.
func captured(at time.Duration) uint32 { return uint32(at * 48 / time.Millisecond) }

// theirs returns the sender's NTP time at a time of ours.
func (c *captureTest) theirs(at time.Duration) uint64 {
	return rtcp.NTP(c.m.ntpOffset + at + captureAhead)
}

// run sends a packet every 20 ms and a report every 500, with half a round trip
// unknown to the Worker.
func (c *captureTest) run(until time.Duration, reports bool, extension []byte) {
	for c.d.now < until {
		c.advance(c.d.now + 20*time.Millisecond)
		at := c.d.now - captureDelay
		c.seq++
		p := rtptest.Packet{
			Header:  rtp.Header{PayloadType: 100, SequenceNumber: c.seq, Timestamp: captured(at), SSRC: 1000},
			Payload: rtptest.Opus(20),
		}
		if extension != nil {
			p.Extensions = []rtp.Element{{ID: 7, Value: extension}}
		}
		c.udp(c.socket(c.local), c.remote, p.Bytes())
		if reports && c.d.now%(500*time.Millisecond) == 0 {
			c.udp(c.socket(c.local), c.remote, rtcp.AppendSenderReport(nil, rtcp.SenderReport{
				SSRC: 1000, NTP: c.theirs(c.d.now), RTPTimestamp: captured(c.d.now),
			}))
		}
	}
}

// TestSenderReportsOfCapture checks that sender reports name the time of capture,
// once it is known, so that audio and video that took different ways stay in step.
func TestSenderReportsOfCapture(t *testing.T) {
	for _, known := range []bool{false, true} {
		c := newCaptureTest(t, false)
		c.run(10*time.Second, known, nil)
		require.Greater(t, len(c.reports), 5)
		last := len(c.reports) - 1
		want := captured(c.reportedAt[last])
		if !known {
			want = captured(c.reportedAt[last] - captureDelay)
		}
		base := c.sent[0].Timestamp() - captured(1020*time.Millisecond-captureDelay)
		assert.InDelta(t, want, c.reports[last].RTPTimestamp-base, 2, "known: %v", known)
	}
}

func TestAbsCaptureTimeIsOfOurClock(t *testing.T) {
	second := int64(1 << 32)
	for _, c := range []struct {
		name    string
		reports bool
		value   []byte
		want    int64
		absent  bool
	}{
		{"clock unknown, short", false, rtp.AppendAbsCaptureTime(nil, 1<<40, 0)[:8], 0, false},
		{"clock unknown", false, rtp.AppendAbsCaptureTime(nil, 1<<40, second), second, false},
		{"short", true, rtp.AppendAbsCaptureTime(nil, 1<<40, 0)[:8], 3 * second, false},
		{"long", true, rtp.AppendAbsCaptureTime(nil, 1<<40, second), 4 * second, false},
		{"too far", true, rtp.AppendAbsCaptureTime(nil, 1<<40, 1<<63-1), 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := newCaptureTest(t, true)
			x.run(4*time.Second, c.reports, c.value)
			v := x.sent[len(x.sent)-1].Extension(rtp.IDAbsCaptureTime)
			at, offset, ok := rtp.ParseAbsCaptureTime(v)
			require.Equal(t, c.absent, !ok)
			if ok {
				assert.EqualValues(t, uint64(1<<40), at)
				assert.InDelta(t, c.want, offset, 100)
			}
		})
	}
}

// A transport keeps a clock as long as a Producer of that CNAME is there.
func TestCaptureSourcesEnd(t *testing.T) {
	c := newCaptureTest(t, false)
	tr := c.m.transports["t"]
	require.Len(t, tr.captures, 1)
	params := opusParams(1001)
	params.MID = "x"
	require.NoError(t, produceOn(c.m, "t", ProduceOptions{
		ID: "p2", Kind: Audio, RTPParameters: params, RTPMapping: identity(params, 5001),
	}))
	require.Len(t, tr.captures, 1)
	require.NoError(t, c.m.CloseProducer("p"))
	require.Len(t, tr.captures, 1)
	require.NoError(t, c.m.CloseProducer("p2"))
	require.Empty(t, tr.captures)
}
