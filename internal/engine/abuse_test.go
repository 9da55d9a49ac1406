package engine

import (
	"context"
	"errors"
	"flag"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/dtls"
	"github.com/mafalda-sfu/mafalda/internal/keyframe"
	"github.com/mafalda-sfu/mafalda/internal/rtcp"
	"github.com/mafalda-sfu/mafalda/internal/rtp"
	"github.com/mafalda-sfu/mafalda/internal/srtp"
)

var long = flag.Bool("long", false, "let the abuse last longer")

// much returns short, or with -long the other number.
func much(short, other int) int {
	if *long {
		return other
	}
	return short
}

// A fakeConn is a TCP connection whose frames are kept.
type fakeConn struct {
	frames [][]byte
	owner  any
}

func (c *fakeConn) ID() uint64                 { return 1 << 40 }
func (c *fakeConn) LocalAddr() netip.AddrPort  { return netip.MustParseAddrPort("10.0.0.1:7") }
func (c *fakeConn) RemoteAddr() netip.AddrPort { return netip.MustParseAddrPort("10.0.1.1:7") }
func (c *fakeConn) Owner() any                 { return c.owner }
func (c *fakeConn) SetOwner(o any)             { c.owner = o }
func (c *fakeConn) Close()                     {}
func (c *fakeConn) Send(b []byte) bool {
	c.frames = append(c.frames, append([]byte(nil), b...))
	return true
}

// TestAbuseCompoundOverTCP sends a compound whose first item has an answer on a
// TCP connection: the answer must not be written over what is still to be read.
func TestAbuseCompoundOverTCP(t *testing.T) {
	for _, suite := range []srtp.Suite{srtp.AEADAES128GCM, srtp.AESCM128SHA80} {
		t.Run(string(suite), func(t *testing.T) {
			r := newRig(t, 1, suite)
			c := r.m.consumers["cA"]
			conn := &fakeConn{}
			c.t.out = path{tcp: conn}
			r.send(true)
			for range 100 {
				r.send(false)
			}
			r.turn(time.Second)
			conn.frames = nil
			last := c.main.seq.MaxOutput()
			// Too far apart for one item.
			lost := []uint16{last - 54, last - 36, last - 18, last}
			from := netip.AddrPortFrom(netip.MustParseAddr("10.0.1.1"), 2000)
			r.deliver(r.consumed[0], from, r.ctx[0], rtcp.AppendNACK(r.scratch[:0], 1, c.main.ssrc, lost), true)
			require.Equal(t, len(lost), len(conn.frames), "retransmissions")
		})
	}
}

// TestAbuseNACKAmplification asks for everything again and again, and claims a
// round trip time of next to nothing.
func TestAbuseNACKAmplification(t *testing.T) {
	const seconds = 5
	ask := func(t *testing.T, r *rig) (media, answers int) {
		c := r.m.consumers["cA"]
		from := netip.AddrPortFrom(netip.MustParseAddr("10.0.1.1"), 2000)
		r.send(true)
		for ms := range seconds * 1000 {
			if ms%4 == 0 {
				before := r.d.sent
				r.send(false)
				media += (r.d.sent - before) / 2
			}
			lsr := rtcp.CompactNTP(r.m.ntp()) - 2
			r.deliver(r.consumed[0], from, r.ctx[0], rtcp.AppendReceiverReport(r.scratch[:0], 1, []rtcp.ReportBlock{{SSRC: c.main.ssrc, LSR: lsr, DLSR: 1}}), true)
			last := c.main.seq.MaxOutput()
			lost := make([]uint16, 0, 1000)
			for i := range cap(lost) {
				lost = append(lost, last-uint16(i))
			}
			before := r.d.sent
			r.deliver(r.consumed[0], from, r.ctx[0], rtcp.AppendNACK(r.scratch[:0], 1, c.main.ssrc, lost), true)
			answers += r.d.sent - before
			r.turn(time.Millisecond)
		}
		require.Less(t, c.main.send.RTT(), time.Millisecond)
		require.Positive(t, c.main.send.RTT())
		return media, answers
	}
	t.Run("bandwidth unknown", func(t *testing.T) {
		r := newRig(t, 2, srtp.AEADAES128GCM)
		r.m.transports["outA"].bandwidth = nil // as if no feedback had been negotiated
		media, answers := ask(t, r)
		require.LessOrEqual(t, answers, resendPerPacket*media+maxResends, "retransmissions of %d packets", media)
		require.Greater(t, answers, media)
	})
	t.Run("bandwidth known", func(t *testing.T) {
		r := newRig(t, 2, srtp.AEADAES128GCM)
		_, answers := ask(t, r)
		rate := resendShare * float64(r.m.transports["outA"].bandwidth.available()) / 8 // bytes per second
		require.LessOrEqual(t, float64(answers*len(r.payload)), rate*(seconds+resendWindow.Seconds()))
		require.Greater(t, float64(answers*len(r.payload)), rate*seconds/2)
	})
}

// TestAbuseKeyFrameFlood has every Consumer ask for key frames all the time.
func TestAbuseKeyFrameFlood(t *testing.T) {
	for _, test := range []struct {
		name   string
		delay  time.Duration
		answer time.Duration // of the sender; 0: never
		want   int           // requests in 10 s, at most
	}{
		{"nobody answers", 0, 0, 21},
		{"one is under way", 0, 500 * time.Millisecond, 21},
		{"paced", 2 * time.Second, 10 * time.Millisecond, 6},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, 3, srtp.AEADAES128GCM)
			r.m.producers["p"].keyFrames = keyframe.New(test.delay)
			r.send(true)
			requests, asked := 0, time.Duration(0)
			for range 10_000 {
				before := r.m.producers["p"].streams[0].recv.Stats(r.m.now).PLICount
				for i, s := range r.consumed {
					from := netip.AddrPortFrom(netip.MustParseAddr("10.0.1.1"), uint16(2000+i))
					b := rtcp.AppendFIR(rtcp.AppendPLI(r.scratch[:0], 1, 3000), 1, 3000, 3000, uint8(i))
					r.deliver(s, from, r.ctx[i], rtcp.AppendPLI(b, 1, 3000), true)
				}
				r.turn(time.Millisecond)
				if n := int(r.m.producers["p"].streams[0].recv.Stats(r.m.now).PLICount - before); n > 0 {
					requests += n
					if asked == 0 {
						asked = r.m.now
					}
				}
				if test.answer > 0 && asked > 0 && r.m.now-asked >= test.answer {
					r.send(true)
					asked = 0
				}
			}
			require.Positive(t, requests)
			require.LessOrEqual(t, requests, test.want)
		})
	}
}

// TestAbusePanicKillsOneWorker plants a panic in the loop of one Worker.
func TestAbusePanicKillsOneWorker(t *testing.T) {
	died := make(chan error, 1)
	start := func(f func(error)) *Worker {
		w, err := Start(Config{
			Certificate: testCertificate(), Limiter: dtls.NewLimiter(0),
			RTCMinPort: 20000, RTCMaxPort: 40000, Notify: func(Notification) {}, Died: f,
		})
		require.NoError(t, err)
		t.Cleanup(w.Close)
		return w
	}
	victim := start(func(err error) { died <- err })
	other := start(func(err error) { assert.NoError(t, err, "the other Worker died") })
	for _, w := range []*Worker{victim, other} {
		run(t, w, func(m *Machine) error { return m.CreateRouter("r") })
		run(t, w, func(m *Machine) error {
			_, err := m.CreateWebRTCTransport("r", WebRTCTransportOptions{ID: "t", ListenInfos: []ListenInfo{
				{Protocol: UDP, IP: netip.MustParseAddr("127.0.0.1")}, {Protocol: TCP, IP: netip.MustParseAddr("127.0.0.1")},
			}})
			return err
		})
	}
	// Callers wait while it dies; none may be left behind.
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			for {
				if _, err := Run(context.Background(), victim, func(*Machine) error { return nil }); err != nil {
					assert.ErrorIs(t, err, ErrClosed)
					return
				}
			}
		})
	}
	_, err := Run(context.Background(), victim, func(*Machine) error { panic("planted") })
	require.ErrorIs(t, err, ErrClosed)
	wg.Wait()
	select {
	case err := <-died:
		var p *PanicError
		require.True(t, errors.As(err, &p))
		require.Equal(t, "planted", p.Value)
		require.Contains(t, string(p.Stack), "TestAbusePanicKillsOneWorker")
	case <-time.After(5 * time.Second):
		t.Fatal("Died was not called")
	}
	<-victim.Done()
	require.ErrorIs(t, victim.Inject("p", []byte{0x80}), ErrClosed)
	run(t, other, func(m *Machine) error { _, err := m.DumpTransport("t"); return err })
}

// TestAbuseMedia is a peer with good keys that sends whatever it likes, and a
// Consumer whose peer answers with RTCP of the same kind.
func TestAbuseMedia(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	for _, suite := range []srtp.Suite{srtp.AEADAES128GCM, srtp.AESCM128SHA80} {
		r := newRig(t, 3, suite)
		r.m.producers["p"].trace = newTraceSet([]string{"rtp", "keyframe", "nack", "pli", "fir", "sr"})
		r.m.consumers["cA"].trace = newTraceSet([]string{"rtp", "keyframe", "nack", "pli", "fir"})
		r.m.consumers["cB"].t.out = path{tcp: &fakeConn{}}
		for i := range much(30_000, 1_000_000) {
			b := hostileRTP(rng, r.scratch[:0])
			r.try(r.in, r.from, r.tx, b, false)
			if i%3 == 0 {
				who := rng.IntN(4)
				b := hostileRTCP(rng, r.scratch[:0], r.m.consumers["cA"].main.seq.MaxOutput())
				if who == 3 {
					r.try(r.in, r.from, r.tx, b, true)
				} else {
					r.try(r.consumed[who], netip.AddrPortFrom(netip.MustParseAddr("10.0.1.1"), uint16(2000+who)), r.ctx[who], b, true)
				}
			}
			if i%7 == 0 {
				r.turn(time.Duration(rng.IntN(60)) * time.Millisecond)
			}
			if i%1000 == 0 {
				if c, ok := r.m.consumers["cB"].t.out.tcp.(*fakeConn); ok {
					c.frames = nil
				}
			}
		}
		// Everything that was kept for it comes back.
		require.NoError(t, r.m.CloseRouter("r"))
		require.Zero(t, r.m.pool.InUse(), "packets in use after closing")
		require.Empty(t, r.m.producers)
		require.Empty(t, r.m.consumers)
	}
}

// try delivers what can be protected at all.
func (r *rig) try(s *nullSocket, from netip.AddrPort, tx *srtp.Sender, plain []byte, control bool) {
	protect := tx.ProtectRTP
	if control {
		protect = tx.ProtectRTCP
	}
	b, err := protect(plain[:0], plain)
	if err != nil {
		b = plain
	}
	r.m.HandleUDP(s, from, b)
	r.m.EndOfBatch()
}

// hostileRTP appends a packet that parses, mostly.
func hostileRTP(rng *rand.Rand, b []byte) []byte {
	ssrc := uint32(rigSSRC)
	if rng.IntN(3) == 0 {
		ssrc = [...]uint32{rigRTX, 0, rng.Uint32()}[rng.IntN(3)]
	}
	seq := uint16(rng.Uint32())
	if rng.IntN(4) > 0 {
		seq = uint16(1000 + rng.IntN(200))
	}
	var elements []rtp.Element
	for range rng.IntN(5) {
		v := make([]byte, rng.IntN(17))
		if rng.IntN(20) == 0 {
			v = make([]byte, rng.IntN(256))
		}
		fill(rng, v)
		elements = append(elements, rtp.Element{ID: uint8(1 + rng.IntN(14)), Value: v})
	}
	b = rtp.AppendHeader(b, rtp.Header{
		Marker: rng.IntN(2) == 0, PayloadType: [...]uint8{101, 102, 0, uint8(rng.IntN(128))}[rng.IntN(4)],
		SequenceNumber: seq, Timestamp: rng.Uint32(), SSRC: ssrc,
	}, elements)
	payload := make([]byte, [...]int{0, 1, 2, rng.IntN(20), rng.IntN(1400), 1900}[rng.IntN(6)])
	fill(rng, payload)
	if rng.IntN(2) == 0 && len(payload) > 2 {
		payload[0], payload[1] = 0x90, 0x80 // VP8 with a short picture id
	}
	b = append(b, payload...)
	if rng.IntN(6) == 0 {
		b[0] |= 0x20
	}
	return b
}

func hostileRTCP(rng *rand.Rand, b []byte, last uint16) []byte {
	ssrc := [...]uint32{3000, 3001, rigSSRC, rigRTX, 0, rng.Uint32()}[rng.IntN(6)]
	for range 1 + rng.IntN(4) {
		switch rng.IntN(9) {
		case 0:
			var lost []uint16
			for range rng.IntN(300) {
				lost = append(lost, last-uint16(rng.IntN(400)))
			}
			b = rtcp.AppendNACK(b, 1, ssrc, append(lost, last))
		case 1:
			b = rtcp.AppendPLI(b, 1, ssrc)
		case 2:
			b = rtcp.AppendFIR(b, 1, ssrc, ssrc, uint8(rng.Uint32()))
		case 3:
			b = rtcp.AppendReceiverReport(b, 1, []rtcp.ReportBlock{{
				SSRC: ssrc, FractionLost: uint8(rng.Uint32()), CumulativeLost: int32(rng.Uint32()), HighestSeq: rng.Uint32(),
				Jitter: rng.Uint32(), LSR: rng.Uint32(), DLSR: rng.Uint32(),
			}})
		case 4:
			b = rtcp.AppendSenderReport(b, rtcp.SenderReport{
				SSRC: ssrc, NTP: rng.Uint64(), RTPTimestamp: rng.Uint32(), PacketCount: rng.Uint32(), OctetCount: rng.Uint32(),
			})
		case 5:
			b = rtcp.AppendXR(b, 1, rng.Uint64(), []rtcp.DLRREntry{{SSRC: ssrc, LRR: rng.Uint32(), DLRR: rng.Uint32()}})
		case 6:
			b = rtcp.AppendREMB(b, 1, ssrc, rng.Uint64(), []uint32{ssrc})
		case 7:
			b = rtcp.AppendSDES(b, []rtcp.SDESChunk{{SSRC: ssrc, CNAME: "x"}})
		default:
			at := len(b)
			b = append(b, make([]byte, 4*rng.IntN(20))...)
			fill(rng, b[at:])
			if len(b) >= at+8 {
				b[at], b[at+1] = 0x80|b[at]&0x1f, 200+b[at+1]%8
				b[at+2], b[at+3] = 0, byte((len(b)-at)/4-1)
			}
		}
		if len(b) > 1200 {
			break
		}
	}
	if len(b) < 8 {
		b = rtcp.AppendPLI(b[:0], 1, ssrc)
	}
	if rng.IntN(3) == 0 && len(b) > 8 {
		b[8+rng.IntN(len(b)-8)] ^= 1 << rng.IntN(8)
	}
	return b
}

func fill(rng *rand.Rand, b []byte) {
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
}
