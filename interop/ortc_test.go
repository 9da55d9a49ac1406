package interop

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/internal/rtptest"
)

// A counted stream is a track whose packets are numbered in their last bytes.
type counted struct {
	track *webrtc.TrackLocalStaticRTP
	video bool
	n     uint32
	plis  atomic.Int32 // key frames asked for
	key   atomic.Bool  // the next packet is one
	rr    chan rtcp.ReceptionReport
}

func newCounted(t testing.TB, video bool) *counted {
	t.Helper()
	mime := webrtc.MimeTypeOpus
	if video {
		mime = webrtc.MimeTypeVP8
	}
	track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: mime}, "track", "stream")
	require.NoError(t, err)
	return &counted{track: track, video: video, rr: make(chan rtcp.ReceptionReport, 100)}
}

// obey takes the RTCP for the sender until that ends.
func (c *counted) obey(s *webrtc.RTPSender) {
	for {
		packets, _, err := s.ReadRTCP()
		if err != nil {
			return
		}
		for _, p := range packets {
			switch p := p.(type) {
			case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
				c.plis.Add(1)
				c.key.Store(true)
			case *rtcp.ReceiverReport:
				for _, r := range p.Reports {
					select {
					case c.rr <- r:
					default:
					}
				}
			}
		}
	}
}

// write sends the next packet, one frame.
func (c *counted) write(t testing.TB) {
	t.Helper()
	payload, step := rtptest.Opus(200), uint32(960)
	if c.video {
		payload, step = rtptest.VP8{KeyFrame: c.key.Swap(false), Size: 900}.Payload(), 3000
	}
	payload = binary.BigEndian.AppendUint32(payload, c.n)
	require.NoError(t, c.track.WriteRTP(&rtp.Packet{
		Header: rtp.Header{
			Version: 2, Marker: c.video, SequenceNumber: uint16(c.n) + 65500, Timestamp: c.n * step,
		},
		Payload: payload,
	}))
	c.n++
}

// numbers delivers the numbers of the packets that a receiver gets.
func numbers(r *webrtc.RTPReceiver) <-chan uint32 {
	out := make(chan uint32, 10_000)
	go func() { // ends with the receiver
		defer close(out)
		for {
			p, _, err := r.Track().ReadRTP()
			if err != nil {
				return
			}
			if n := len(p.Payload); n >= 4 {
				out <- binary.BigEndian.Uint32(p.Payload[n-4:])
			}
		}
	}()
	return out
}

// senderReports delivers the sender reports that a receiver gets.
func senderReports(r *webrtc.RTPReceiver) <-chan *rtcp.SenderReport {
	out := make(chan *rtcp.SenderReport, 100)
	go func() { // ends with the receiver
		for {
			packets, _, err := r.ReadRTCP()
			if err != nil {
				return
			}
			for _, p := range packets {
				if p, ok := p.(*rtcp.SenderReport); ok {
					select {
					case out <- p:
					default:
					}
				}
			}
		}
	}()
	return out
}

// await returns the next number.
func await(t testing.TB, ctx context.Context, in <-chan uint32) uint32 {
	t.Helper()
	select {
	case n, ok := <-in:
		require.True(t, ok, "the receiver ended")
		return n
	case <-ctx.Done():
		t.Fatal("nothing arrives")
		return 0
	}
}

// begin writes until the first packet arrives and returns how many were
// written then.
func (c *counted) begin(t testing.TB, ctx context.Context, in <-chan uint32) {
	t.Helper()
	for {
		c.write(t)
		select {
		case n := <-in:
			for ; n+1 < c.n; n = await(t, ctx, in) {
			}
			return
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			t.Fatal("no first packet arrives")
		}
	}
}

// TestORTC: Pion endpoints send Opus and VP8 to each other, in both DTLS
// roles, with each SRTP profile, over UDP and TCP.
func TestORTC(t *testing.T) {
	client, server := webrtc.DTLSRoleClient, webrtc.DTLSRoleServer
	for _, c := range []struct {
		name string
		from ortcConfig
		to   ortcConfig
	}{
		{"client to server", ortcConfig{role: client}, ortcConfig{role: server}},
		{"server to client", ortcConfig{role: server}, ortcConfig{role: client}},
		{"tcp", ortcConfig{role: client, tcp: true}, ortcConfig{role: server, tcp: true}},
		{"AES_128_GCM to AES_256_GCM", ortcConfig{role: client, profile: dtls.SRTP_AEAD_AES_128_GCM}, ortcConfig{role: server, profile: dtls.SRTP_AEAD_AES_256_GCM}},
		{"CM_80 to any", ortcConfig{role: client, profile: dtls.SRTP_AES128_CM_HMAC_SHA1_80}, ortcConfig{role: server}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			r := newRoom(t)
			from, to := newORTCPeer(t, ctx, r, c.from), newORTCPeer(t, ctx, r, c.to)
			var got [2]int
			for i, video := range []bool{false, true} {
				s := newCounted(t, video)
				sender, producer := from.send(t, ctx, s.track)
				go s.obey(sender) // ends with the sender
				receiver, consumer := to.receive(t, ctx, r, producer)
				reports := senderReports(receiver)
				in := numbers(receiver)
				s.begin(t, ctx, in)
				for range 200 {
					n := s.n
					s.write(t)
					require.Equal(t, n, await(t, ctx, in))
					got[i]++
				}
				if video { // audio has its reports every 5 s
					require.Positive(t, s.plis.Load(), "nobody asked for a key frame")
					checkReports(t, ctx, from, to, s, producer, consumer, reports)
				}
			}
			figures("pion ortc %s: opus=%d/200 vp8=%d/200 in order, %s to %s", c.name, got[0], got[1],
				from.transport.ICESelectedTuple().Protocol, to.transport.ICESelectedTuple().Protocol)
			require.Equal(t, mafalda.DTLSStateConnected, from.transport.DTLSState())
			require.Equal(t, mafalda.ICEStateCompleted, to.transport.ICEState())
		})
	}
}

// checkReports exchanges sender and receiver reports on both sides.
func checkReports(t *testing.T, ctx context.Context, from, to *ortcPeer, s *counted,
	p mafalda.Producer, c mafalda.Consumer, reports <-chan *rtcp.SenderReport,
) {
	t.Helper()
	const ntp = 0xe0000000_80000000
	out, in := p.RTPParameters().Encodings[0].SSRC, c.RTPParameters().Encodings[0].SSRC
	_, err := from.dtls.WriteRTCP([]rtcp.Packet{&rtcp.SenderReport{SSRC: out, NTPTime: ntp, RTPTime: 1000, PacketCount: s.n}})
	require.NoError(t, err)
	for {
		select {
		case r := <-s.rr:
			if r.SSRC != out || r.LastSenderReport == 0 {
				continue // about another stream, or from before our report
			}
			require.Equal(t, uint32(ntp>>16&0xffffffff), r.LastSenderReport)
			require.Zero(t, r.TotalLost)
		case <-ctx.Done():
			t.Fatal("the sender gets no report about our report")
		}
		break
	}
	select {
	case r := <-reports:
		require.Equal(t, in, r.SSRC)
		require.Positive(t, r.PacketCount)
		_, err := to.dtls.WriteRTCP([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: 1, Reports: []rtcp.ReceptionReport{{
			SSRC: in, FractionLost: 64, TotalLost: 7, LastSenderReport: uint32(r.NTPTime >> 16), Delay: 1,
		}}}})
		require.NoError(t, err)
	case <-ctx.Done():
		t.Fatal("the receiver gets no sender report")
	}
	until(t, ctx, "the consumer knows what the receiver lost", func() (bool, error) {
		stats, err := c.Stats(ctx)
		if err != nil {
			return false, err
		}
		got := stats[0]
		return got.FractionLost == 64 && got.PacketsLost == 7 && got.RoundTripTime > 0, fmt.Errorf("%+v", got)
	})
}
