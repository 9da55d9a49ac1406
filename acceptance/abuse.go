package acceptance

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/internal/peer"
)

var abuseCases = []testCase{
	{
		name:        "Abuse/Noise",
		explanation: "noise on every port, from strangers and from endpoints, harms nobody: media flows on and nothing dies",
		run:         testAbuseNoise,
	},
	{
		name:        "Abuse/EmptyTCP",
		explanation: "TCP connections that say nothing, nonsense or half a frame harm nobody",
		run:         testAbuseTCP,
	},
}

// noise returns n datagrams that look like something: STUN, DTLS, RTP, RTCP or
// nothing at all. The seed is logged.
func noise(t testing.TB, n int) [][]byte {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	var all [][]byte
	for range n {
		b := make([]byte, rnd.IntN(300))
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		if len(b) >= 20 {
			switch rnd.IntN(5) {
			case 0: // STUN
				binary.BigEndian.PutUint16(b, 1)
				binary.BigEndian.PutUint16(b[2:], uint16(len(b)-20)&^3)
				binary.BigEndian.PutUint32(b[4:], 0x2112a442)
			case 1: // DTLS
				b[0], b[1], b[2] = 20+byte(rnd.IntN(5)), 0xfe, 0xfd
			case 2: // RTP of a known SSRC
				b[0], b[1] = 0x80|byte(rnd.IntN(64)), 111
				binary.BigEndian.PutUint32(b[8:], 1)
			case 3: // RTCP
				b[0], b[1] = 0x80|byte(rnd.IntN(64)), 192+byte(rnd.IntN(32))
				binary.BigEndian.PutUint16(b[2:], uint16(rnd.IntN(len(b)/4+2)))
			}
		}
		all = append(all, b)
	}
	return all
}

func testAbuseNoise(t *testing.T, s *suite) {
	r := s.room(t)
	server := r.server(t)
	web := r.webRTCEnd(t, mafalda.WebRTCTransportOptions{WebRTCServer: server}, peer.Config{Queue: 8192})
	own := r.webRTCEnd(t, overUDP(), peer.Config{Queue: 8192})
	plain := r.plainEnd(t, mafalda.PlainTransportOptions{})
	sealed := r.plainEnd(t, mafalda.PlainTransportOptions{EnableSRTP: true})
	direct := r.directEnd(t)
	speaker := r.webRTCEnd(t, mafalda.WebRTCTransportOptions{WebRTCServer: server}, peer.Config{})
	p := speaker.produce(t, mafalda.MediaKindAudio, audio("", 1))
	ends := []*end{web, own, plain, sealed, direct}
	var consumers []mafalda.Consumer
	for _, e := range ends {
		consumers = append(consumers, e.consume(t, r, p))
	}
	for _, e := range ends[:4] {
		e.produce(t, mafalda.MediaKindAudio, audio("", 1))
	}
	stranger := openUDP(t, loopback)
	src := opusSource(1)
	flows := func(text string) {
		t.Helper()
		speaker.sendRTP(t, src.packet([]byte(text)))
		for i, e := range ends {
			for string(e.next(t, consumers[i]).Payload) != text {
			}
		}
	}
	flows("before")
	target := own.transport.(mafalda.WebRTCTransport).ICECandidates()[0].Port
	shared := dumpServer(t, server).UDPSockets[0].Port
	for _, b := range noise(t, 1500) {
		for _, port := range []uint16{target, shared, plain.packet.to.Port(), sealed.packet.to.Port()} {
			_, err := stranger.WriteToUDPAddrPort(b, addrWithPort(port))
			require.NoError(t, err)
		}
		for _, e := range []*end{plain, sealed} {
			_, err := e.packet.rtp.WriteToUDPAddrPort(b, e.packet.to)
			require.NoError(t, err)
		}
		if len(b) > 0 && (b[0] < 20 || b[0] > 63) { // not DTLS: a fatal alert of the peer would be heard
			require.NoError(t, own.peer.WriteRaw(b))
			require.NoError(t, web.peer.WriteRaw(b))
		}
		require.NoError(t, direct.writeRTCP(b))
	}
	for _, b := range noise(t, 500) { // inside SRTP
		if len(b) >= 12 && b[0]>>6 == 2 {
			plain.writeRTP(b)
			own.writeRTP(b)
			sealed.writeRTCP(b)
			web.writeRTCP(b)
		}
	}
	flows("after")
	require.False(t, r.worker.Closed())
}

func testAbuseTCP(t *testing.T, s *suite) {
	r := s.room(t)
	server := r.server(t)
	o := mafalda.WebRTCTransportOptions{WebRTCServer: server}
	in, out := r.webRTCEnd(t, o, peer.Config{TCP: true}), r.webRTCEnd(t, o, peer.Config{TCP: true})
	c := out.consume(t, r, in.produce(t, mafalda.MediaKindAudio, audio("", 1)))
	port := dumpServer(t, server).TCPServers[0].Port
	for i, b := range noise(t, 60) {
		conn := dialTCP(t, port)
		switch i % 4 {
		case 0:
			conn.Write(b)
		case 1:
			conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...))
		case 2:
			conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b)+100)), b...))
		}
		if i%2 == 0 {
			conn.Close()
		}
	}
	src := opusSource(1)
	for range 20 {
		in.sendRTP(t, src.packet([]byte("x")))
		require.Equal(t, "x", string(out.next(t, c).Payload))
	}
}
