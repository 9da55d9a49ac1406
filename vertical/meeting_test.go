package vertical_test

import (
	"encoding/binary"
	"flag"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/internal/peer"
	"github.com/mafalda-sfu/mafalda/vertical"
	"github.com/mafalda-sfu/mafalda/vertical/placement"
)

var long = flag.Bool("long", false, "let sixty meet, for 20 s")

// A meeting is a room full of endpoints that are Pion's: each sends ten packets
// of sound and twenty of a picture a second, and receives some of the others. It
// is written for any SFU, and knows of one Worker.
type meeting struct {
	router mafalda.Router
	guests []*guest
	frames [2]int // of sound and picture that each sends
}

type guest struct {
	in, out        mafalda.WebRTCTransport
	sender, viewer *peer.Peer
	producers      [2]mafalda.Producer
	from           []mafalda.Consumer

	got map[uint32][]atomic.Bool // by SSRC of a Consumer, which frames came
	dup atomic.Int32             // frames that came twice
}

const frameMark = 6 // bytes at the end of a payload: who sends, and the number of the frame

// meet lets so many guests meet, each of whom receives so many others, and returns
// once everybody has got every frame.
func meet(t *testing.T, sfu mafalda.SFU, guests, others int, length time.Duration) *meeting {
	t.Helper()
	ctx := t.Context()
	worker, err := sfu.CreateWorker(ctx, mafalda.WorkerSettings{})
	require.NoError(t, err)
	m := &meeting{router: newRouter(t, worker)}
	seconds := int(length / time.Second)
	m.frames = [2]int{10 * seconds, 20 * seconds}
	for i := range guests {
		g := &guest{got: map[uint32][]atomic.Bool{}}
		g.in, g.sender = m.dial(t)
		for kind, media := range []mafalda.MediaKind{mafalda.MediaKindAudio, mafalda.MediaKindVideo} {
			codec := mafalda.RTPCodecParameters{MIMEType: "audio/opus", PayloadType: 111, ClockRate: 48000, Channels: 2}
			if kind == 1 {
				codec = mafalda.RTPCodecParameters{MIMEType: "video/VP8", PayloadType: 112, ClockRate: 90000}
			}
			g.producers[kind], err = g.in.Produce(ctx, mafalda.ProducerOptions{Kind: media, RTPParameters: mafalda.RTPParameters{
				Codecs: []mafalda.RTPCodecParameters{codec}, Encodings: []mafalda.RTPEncodingParameters{{SSRC: ssrcOf(i, kind)}},
			}})
			require.NoError(t, err)
		}
		m.guests = append(m.guests, g)
	}
	caps := m.router.RTPCapabilities()
	caps.HeaderExtensions = nil // what nobody gives feedback on is not estimated
	for i, g := range m.guests {
		g.out, g.viewer = m.dial(t)
		for k := range others {
			for kind, p := range m.guests[(i+1+k)%guests].producers {
				c, err := g.out.Consume(ctx, mafalda.ConsumerOptions{ProducerID: p.ID(), RTPCapabilities: caps})
				require.NoError(t, err)
				g.from = append(g.from, c)
				g.got[c.RTPParameters().Encodings[0].SSRC] = make([]atomic.Bool, m.frames[kind])
			}
		}
	}
	stop := make(chan struct{})
	var readers, senders sync.WaitGroup
	for i, g := range m.guests {
		readers.Go(func() { g.read(stop) })
		senders.Go(func() { m.send(t, i, g) })
	}
	senders.Wait()
	missing := func() (n int) {
		for _, g := range m.guests {
			for _, frames := range g.got {
				for f := range frames {
					if !frames[f].Load() {
						n++
					}
				}
			}
		}
		return n
	}
	assert.Eventually(t, func() bool { return missing() == 0 }, patience, 50*time.Millisecond, "every frame has come")
	close(stop)
	readers.Wait()
	require.Zero(t, missing())
	for _, g := range m.guests {
		require.Zero(t, g.dup.Load(), "frames that came twice")
		require.Zero(t, g.viewer.Overflow())
	}
	t.Logf("%d guests, each of whom received %d others: %d frames", guests, others, guests*others*(m.frames[0]+m.frames[1]))
	return m
}

func ssrcOf(guest, kind int) uint32 { return uint32(1000 + 2*guest + kind) }

func (m *meeting) dial(t *testing.T) (mafalda.WebRTCTransport, *peer.Peer) {
	t.Helper()
	tr, err := m.router.CreateWebRTCTransport(t.Context(), mafalda.WebRTCTransportOptions{ListenInfos: udp})
	require.NoError(t, err)
	p, err := peer.Dial(t.Context(), tr, peer.Config{})
	require.NoError(t, err)
	t.Cleanup(p.Close)
	eventually(t, "DTLS is connected", func() bool { return tr.DTLSState() == mafalda.DTLSStateConnected })
	return tr, p
}

// send sends all frames at their pace.
func (m *meeting) send(t *testing.T, i int, g *guest) {
	tick := time.NewTicker(time.Second / 10)
	defer tick.Stop()
	write := func(kind, frame int, start []byte) {
		payload := binary.BigEndian.AppendUint16(slices.Clone(start), uint16(i))
		payload = binary.BigEndian.AppendUint32(payload, uint32(frame))
		p := rtp.Packet{
			Header: rtp.Header{
				Version: 2, Marker: true, PayloadType: uint8(111 + kind), SequenceNumber: uint16(frame),
				Timestamp: uint32(frame * []int{4800, 4500}[kind]), SSRC: ssrcOf(i, kind),
			},
			Payload: payload,
		}
		b, err := p.Marshal()
		if err == nil {
			err = g.sender.WriteRTP(b)
		}
		assert.NoError(t, err)
	}
	sound := make([]byte, 80)
	picture := append([]byte{0x10, 0, 0, 0, 0x9d, 0x01, 0x2a, 2, 0, 2, 0}, make([]byte, 80)...) // a key frame each
	for frame := range m.frames[0] {
		<-tick.C
		write(0, frame, sound)
		write(1, 2*frame, picture)
		write(1, 2*frame+1, picture)
	}
}

// read counts what comes until stop is closed.
func (g *guest) read(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case b := <-g.viewer.RTP():
			var p rtp.Packet
			if p.Unmarshal(b) != nil || len(p.Payload) < frameMark {
				continue
			}
			frame := binary.BigEndian.Uint32(p.Payload[len(p.Payload)-4:])
			if frames := g.got[p.SSRC]; int(frame) < len(frames) && frames[frame].Swap(true) {
				g.dup.Add(1)
			}
		}
	}
}

// The same program meets on an SFU of one Worker, and of two with policies that
// use both.
func TestMeeting(t *testing.T) {
	guests, others, length := 8, 5, 2*time.Second
	if *long {
		guests, others, length = 60, 20, 20*time.Second
	}
	t.Run("plain", func(t *testing.T) {
		sfu := mafalda.New()
		t.Cleanup(func() { require.NoError(t, sfu.Close()) })
		meet(t, sfu, guests, others, length)
	})
	for name, o := range map[string]vertical.Options{
		"one Worker":                      {CPUs: 1},
		"two Workers, Spread":             {CPUs: 2, Policy: placement.Spread()},
		"two Workers, Concentrate at 5 %": {CPUs: 2, WatermarkWorker: 0.05},
	} {
		t.Run(name, func(t *testing.T) {
			o.Registry = plenty{}
			sfu := vertical.New(mafalda.New(), o)
			t.Cleanup(func() { require.NoError(t, sfu.Close()) })
			m := meet(t, sfu, guests, others, length)

			u := sfu.Usage()
			require.Len(t, u.Workers, o.CPUs)
			for _, w := range u.Workers {
				require.Positive(t, w.Transports)
				require.Positive(t, w.CPU, "load on all")
			}
			require.Equal(t, m.pipes(), u.Pipes, "a pipe for each Producer and Worker that needs it, and no other")
			require.Equal(t, u.Pipes, u.PipesMade)
			t.Logf("%d pipes, of at most %d; load %.3f", u.Pipes, 2*guests*(o.CPUs-1), u.Load)
		})
	}
}

// pipes counts which Producers are consumed elsewhere, of two Workers at most.
func (m *meeting) pipes() int {
	far := map[string]bool{}
	for _, g := range m.guests {
		for _, c := range g.from {
			for _, from := range m.guests {
				for _, p := range from.producers {
					if p.ID() == c.ProducerID() && !vertical.SameWorker(from.in, g.out) {
						far[p.ID()] = true
					}
				}
			}
		}
	}
	return len(far)
}
