package acceptance

import (
	"fmt"
	"testing"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/internal/peer"
)

// An endKind is a way to reach a Router.
type endKind struct {
	name string
	open func(t testing.TB, r *room) *end
}

func endKinds() []endKind {
	kinds := []endKind{
		{"WebRTC over UDP", func(t testing.TB, r *room) *end { return r.webRTCEnd(t, overUDP(), peer.Config{}) }},
		{"WebRTC over TCP", func(t testing.TB, r *room) *end {
			o := mafalda.WebRTCTransportOptions{ListenInfos: []mafalda.ListenInfo{listenTCP()}}
			return r.webRTCEnd(t, o, peer.Config{TCP: true})
		}},
		{"WebRTCServer over UDP", func(t testing.TB, r *room) *end {
			return r.webRTCEnd(t, mafalda.WebRTCTransportOptions{WebRTCServer: r.sharedServer(t)}, peer.Config{})
		}},
		{"WebRTCServer over TCP", func(t testing.TB, r *room) *end {
			return r.webRTCEnd(t, mafalda.WebRTCTransportOptions{WebRTCServer: r.sharedServer(t)}, peer.Config{TCP: true})
		}},
		{"Plain", func(t testing.TB, r *room) *end { return r.plainEnd(t, mafalda.PlainTransportOptions{}) }},
		{"Plain without RTCPMux", func(t testing.TB, r *room) *end {
			return r.plainEnd(t, mafalda.PlainTransportOptions{RTCPMux: new(false)})
		}},
		{"Direct", func(t testing.TB, r *room) *end { return r.directEnd(t) }},
	}
	for _, suite := range []mafalda.SRTPCryptoSuite{
		mafalda.SRTPAES256GCM, mafalda.SRTPAES128GCM, mafalda.SRTPAES128CM80, mafalda.SRTPAES128CM32,
	} {
		kinds = append(kinds, endKind{"Plain with " + string(suite), func(t testing.TB, r *room) *end {
			return r.plainEnd(t, mafalda.PlainTransportOptions{EnableSRTP: true, SRTPCryptoSuite: suite})
		}})
	}
	return kinds
}

// sharedServer returns the first WebRTCServer of the Worker.
func (r *room) sharedServer(t testing.TB) mafalda.WebRTCServer {
	t.Helper()
	if s := r.worker.WebRTCServers(); len(s) > 0 {
		return s[0]
	}
	return r.server(t)
}

// forwardingCases has a case for each kind of sender; it sends to all kinds.
var forwardingCases = func() []testCase {
	var cases []testCase
	for _, from := range endKinds() {
		cases = append(cases, testCase{
			name:        "Forwarding/From " + from.name,
			explanation: "sound and pictures that are produced over one kind of transport reach Consumers over every kind, unchanged but for what is mapped",
			run:         func(t *testing.T, s *suite) { testForwarding(t, s, from) },
		})
	}
	return append(cases, testCase{
		name:        "Forwarding/Sizes",
		explanation: "packets from the smallest to what fits an Ethernet frame are forwarded as they are",
		run:         testForwardingSizes,
	}, testCase{
		name:        "Forwarding/Volume",
		explanation: "some hundred packets in a row reach several Consumers, none lost, each in order",
		run:         testForwardingVolume,
	})
}()

func testForwarding(t *testing.T, s *suite, from endKind) {
	r := s.room(t)
	in := from.open(t, r)
	a := in.produce(t, mafalda.MediaKindAudio, audio("a", 1))
	sendAudio := in.writeRTP
	v := in.produce(t, mafalda.MediaKindVideo, video("v", 2))
	sendVideo := in.writeRTP
	type leg struct {
		name string
		e    *end
		a, v mafalda.Consumer
	}
	var legs []leg
	for _, to := range endKinds() {
		e := to.open(t, r)
		legs = append(legs, leg{to.name, e, e.consume(t, r, a), e.consume(t, r, v)})
	}
	opus, vp8 := opusSource(1), vp8Source(2)
	for i := range 5 {
		sound := opus.packet([]byte(fmt.Sprint("sound ", i)))
		picture := vp8.packet(vp8Key(fmt.Sprint("picture ", i)), marked)
		require.NoError(t, sendAudio(marshal(t, sound)))
		require.NoError(t, sendVideo(marshal(t, picture)))
		for _, l := range legs {
			got := map[uint32]*rtp.Packet{}
			for range 2 {
				p := parseRTP(t, receive(t, l.e.rtp, "a packet at "+l.name))
				got[p.SSRC] = p
			}
			requireForwarded(t, l.name, sound, got[l.a.RTPParameters().Encodings[0].SSRC], 100)
			requireForwarded(t, l.name, picture, got[l.v.RTPParameters().Encodings[0].SSRC], 101)
		}
	}
	for _, l := range legs {
		require.Empty(t, l.e.rtp, l.name)
	}
}

func requireForwarded(t testing.TB, name string, sent, got *rtp.Packet, pt uint8) {
	t.Helper()
	require.NotNil(t, got, name)
	require.Equal(t, pt, got.PayloadType, name)
	require.Equal(t, sent.Timestamp, got.Timestamp, name)
	require.Equal(t, sent.Marker, got.Marker, name)
	require.Equal(t, sent.Payload, got.Payload, name)
}

func testForwardingSizes(t *testing.T, s *suite) {
	r := s.room(t)
	in := r.webRTCEnd(t, overUDP(), peer.Config{})
	p := in.produce(t, mafalda.MediaKindAudio, audio("", 1))
	var outs []*end
	var consumers []mafalda.Consumer
	for _, kind := range endKinds() {
		e := kind.open(t, r)
		outs, consumers = append(outs, e), append(consumers, e.consume(t, r, p))
	}
	src := opusSource(1)
	for _, n := range []int{1, 2, 3, 4, 5, 15, 16, 17, 127, 128, 500, 1000, 1199, 1200, 1201, 1350, 1400} {
		payload := make([]byte, n)
		for i := range payload {
			payload[i] = byte(n + i)
		}
		in.sendRTP(t, src.packet(payload))
		for i, e := range outs {
			require.Equal(t, payload, e.next(t, consumers[i]).Payload, "%d bytes", n)
		}
	}
}

func testForwardingVolume(t *testing.T, s *suite) {
	r := s.room(t)
	in := r.webRTCEnd(t, overUDP(), peer.Config{})
	p := in.produce(t, mafalda.MediaKindAudio, audio("", 1))
	var outs []*end
	var consumers []mafalda.Consumer
	for range 4 {
		e := r.webRTCEnd(t, overUDP(), peer.Config{Queue: 4096})
		outs, consumers = append(outs, e), append(consumers, e.consume(t, r, p))
	}
	src := opusSource(1)
	const rounds, burst = 40, 20
	last := make([]uint16, len(outs))
	for n := range rounds {
		for i := range burst {
			in.sendRTP(t, src.packet(fmt.Appendf(nil, "%d", n*burst+i)))
		}
		for k, out := range outs {
			for i := range burst {
				got := out.next(t, consumers[k])
				require.Equal(t, fmt.Sprint(n*burst+i), string(got.Payload))
				if n+i > 0 {
					require.Equal(t, last[k]+1, got.SequenceNumber)
				}
				last[k] = got.SequenceNumber
			}
		}
	}
}
