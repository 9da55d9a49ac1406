package peer

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/mafalda-sfu/mafalda"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestMedia sends Opus from one Peer to another through a Router, over each
// transport protocol and in both DTLS roles.
func TestMedia(t *testing.T) {
	for _, c := range []struct {
		name string
		cfg  Config
	}{
		{"udp client", Config{}},
		{"udp server", Config{Server: true}},
		{"tcp client", Config{TCP: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			sfu := mafalda.New()
			t.Cleanup(func() { require.NoError(t, sfu.Close()) })
			worker, err := sfu.CreateWorker(ctx, mafalda.WorkerSettings{})
			require.NoError(t, err)
			router, err := worker.CreateRouter(ctx, mafalda.RouterOptions{MediaCodecs: []mafalda.RouterRTPCodecCapability{
				{Kind: mafalda.MediaKindAudio, MIMEType: "audio/opus", ClockRate: 48000, Channels: 2},
			}})
			require.NoError(t, err)
			loopback := netip.MustParseAddr("127.0.0.1")
			dial := func() (mafalda.WebRTCTransport, *Peer) {
				tr, err := router.CreateWebRTCTransport(ctx, mafalda.WebRTCTransportOptions{ListenInfos: []mafalda.ListenInfo{
					{Protocol: mafalda.ProtocolUDP, IP: loopback}, {Protocol: mafalda.ProtocolTCP, IP: loopback},
				}})
				require.NoError(t, err)
				p, err := Dial(ctx, tr, c.cfg)
				require.NoError(t, err)
				t.Cleanup(p.Close)
				return tr, p
			}
			in, speaker := dial()
			out, listener := dial()
			producer, err := in.Produce(ctx, mafalda.ProducerOptions{Kind: mafalda.MediaKindAudio, RTPParameters: mafalda.RTPParameters{
				Codecs:    []mafalda.RTPCodecParameters{{MIMEType: "audio/opus", PayloadType: 111, ClockRate: 48000, Channels: 2}},
				Encodings: []mafalda.RTPEncodingParameters{{SSRC: 42}},
			}})
			require.NoError(t, err)
			consumer, err := out.Consume(ctx, mafalda.ConsumerOptions{ProducerID: producer.ID(), RTPCapabilities: router.RTPCapabilities()})
			require.NoError(t, err)
			ssrc := consumer.RTPParameters().Encodings[0].SSRC
			for seq := uint16(0); ; seq++ {
				b, err := (&rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 111, SequenceNumber: seq, SSRC: 42}, Payload: []byte{0x78, 9}}).Marshal()
				require.NoError(t, err)
				require.NoError(t, speaker.WriteRTP(b))
				select {
				case got := <-listener.RTP():
					var pkt rtp.Packet
					require.NoError(t, pkt.Unmarshal(got))
					require.Equal(t, ssrc, pkt.SSRC)
					require.Equal(t, []byte{0x78, 9}, pkt.Payload)
					return
				case <-time.After(50 * time.Millisecond):
				case <-ctx.Done():
					t.Fatal("no packet came through")
				}
			}
		})
	}
}
