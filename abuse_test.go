package mafalda_test

import (
	"context"
	"encoding/binary"
	"flag"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/internal/peer"
)

var long = flag.Bool("long", false, "let the abuse last longer")

// much returns short, or with -long the other number.
func much(short, other int) int {
	if *long {
		return other
	}
	return short
}

var loopback = netip.MustParseAddr("127.0.0.1")

// A siege is a Worker under attack. A room in it and one in another Worker are
// honest: all their packets have to come through, in order.
type siege struct {
	t      *testing.T
	sfu    mafalda.SFU
	worker mafalda.Worker
	router mafalda.Router
	rooms  []*room
	before usage
}

func newSiege(t *testing.T) *siege {
	s := &siege{t: t, sfu: mafalda.New()}
	t.Cleanup(func() { require.NoError(t, s.sfu.Close()) })
	s.worker, s.router = s.addWorker()
	_, elsewhere := s.addWorker()
	s.rooms = []*room{newRoom(t, "in the same Worker", s.router), newRoom(t, "in another Worker", elsewhere)}
	s.before = used()
	return s
}

func (s *siege) addWorker() (mafalda.Worker, mafalda.Router) {
	w, err := s.sfu.CreateWorker(s.t.Context(), mafalda.WorkerSettings{})
	require.NoError(s.t, err)
	w.Events().Died.On(func(err error) { assert.NoError(s.t, err, "a Worker died") })
	r, err := w.CreateRouter(s.t.Context(), mafalda.RouterOptions{MediaCodecs: []mafalda.RouterRTPCodecCapability{
		{Kind: mafalda.MediaKindAudio, MIMEType: "audio/opus", ClockRate: 48000, Channels: 2},
		{Kind: mafalda.MediaKindVideo, MIMEType: "video/VP8", ClockRate: 90000},
	}})
	require.NoError(s.t, err)
	return w, r
}

// end checks what an attack must leave behind: nothing, and honest rooms that
// did not notice. heap is what may be kept, in MiB.
func (s *siege) end(heap int) {
	s.t.Helper()
	require.False(s.t, s.worker.Died())
	s.before.returns(s.t, heap)
	for _, r := range s.rooms {
		r.end()
	}
}

// usage is what the process holds.
type usage struct {
	goroutines, files int
	heap              uint64 // bytes
}

func used() usage {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	u := usage{goroutines: runtime.NumGoroutine(), heap: m.HeapAlloc}
	if d, err := os.ReadDir("/proc/self/fd"); err == nil {
		u.files = len(d)
	}
	return u
}

// returns waits until the process is back where it was.
func (u usage) returns(t testing.TB, heap int) {
	t.Helper()
	var now usage
	for deadline := time.Now().Add(15 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		now = used()
		if now.goroutines <= u.goroutines+4 && now.files <= u.files+4 && now.heap <= u.heap+uint64(heap)<<20 {
			t.Logf("goroutines %+d, files %+d, heap %+d KiB", now.goroutines-u.goroutines, now.files-u.files, (int64(now.heap)-int64(u.heap))>>10)
			return
		}
		if time.Now().After(deadline) {
			break
		}
	}
	if now.goroutines > u.goroutines+4 {
		b := make([]byte, 1<<20)
		t.Logf("%s", b[:runtime.Stack(b, true)])
	}
	require.FailNow(t, "resources are lost", "before %+v, now %+v, may keep %d MiB", u, now, heap)
}

// A room is a speaker and a listener who want to be left alone.
type room struct {
	t    *testing.T
	name string
	stop chan struct{}
	wg   sync.WaitGroup
	sent atomic.Int64
	got  atomic.Int64
	bad  atomic.Int64 // the number of the first packet out of order, plus 1
	sets []*peer.Peer
}

const roomSSRC = 4242

// newRoom returns a room on ports of its own in which packets flow.
func newRoom(t *testing.T, name string, r mafalda.Router) *room {
	m := &room{t: t, name: name, stop: make(chan struct{})}
	in, speaker := dial(t, r, webRTCOptions(), peer.Config{})
	out, listener := dial(t, r, webRTCOptions(), peer.Config{Queue: 1 << 16})
	m.sets = []*peer.Peer{speaker, listener}
	producer := produce(t, in, audio(roomSSRC))
	consume(t, r, out, producer)
	m.wg.Go(func() { // ends with stop
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			n := m.sent.Add(1) - 1
			speaker.WriteRTP(opus(roomSSRC, uint16(n), binary.BigEndian.AppendUint64(nil, uint64(n))))
			select {
			case <-tick.C:
			case <-m.stop:
				return
			}
		}
	})
	done := make(chan struct{})
	t.Cleanup(func() { close(done) })
	go func() { // ends with the test
		for {
			select {
			case b := <-listener.RTP():
				var p rtp.Packet
				n := m.got.Load()
				if p.Unmarshal(b) != nil || len(p.Payload) != 8 || binary.BigEndian.Uint64(p.Payload) != uint64(n) {
					m.bad.CompareAndSwap(0, n+1)
				}
				m.got.Add(1)
			case <-done:
				return
			}
		}
	}()
	require.Eventually(t, func() bool { return m.got.Load() > 3 }, 10*time.Second, time.Millisecond)
	return m
}

// end stops the room and checks that everything came through.
func (m *room) end() {
	m.t.Helper()
	close(m.stop)
	m.wg.Wait()
	assert.Eventually(m.t, func() bool { return m.got.Load() == m.sent.Load() }, 5*time.Second, 5*time.Millisecond, "room %s: the last packets", m.name)
	require.Zero(m.t, m.bad.Load(), "room %s: packet out of order or lost, of %d", m.name, m.sent.Load())
	require.Equal(m.t, m.sent.Load(), m.got.Load(), "room %s: packets", m.name)
	m.t.Logf("room %s: %d packets, all in order", m.name, m.got.Load())
}

func webRTCOptions() mafalda.WebRTCTransportOptions {
	return mafalda.WebRTCTransportOptions{ListenInfos: []mafalda.ListenInfo{
		{Protocol: mafalda.ProtocolUDP, IP: loopback}, {Protocol: mafalda.ProtocolTCP, IP: loopback},
	}}
}

func newWebRTC(t testing.TB, r mafalda.Router, o mafalda.WebRTCTransportOptions) mafalda.WebRTCTransport {
	t.Helper()
	tr, err := r.CreateWebRTCTransport(t.Context(), o)
	require.NoError(t, err)
	return tr
}

func newServer(t testing.TB, w mafalda.Worker) mafalda.WebRTCServer {
	t.Helper()
	s, err := w.CreateWebRTCServer(t.Context(), mafalda.WebRTCServerOptions{ListenInfos: webRTCOptions().ListenInfos})
	require.NoError(t, err)
	return s
}

// dial connects a new peer to a new transport.
func dial(t testing.TB, r mafalda.Router, o mafalda.WebRTCTransportOptions, cfg peer.Config) (mafalda.WebRTCTransport, *peer.Peer) {
	t.Helper()
	tr := newWebRTC(t, r, o)
	return tr, dialTo(t, tr, cfg)
}

func dialTo(t testing.TB, tr mafalda.WebRTCTransport, cfg peer.Config) *peer.Peer {
	t.Helper()
	p := connect(t, tr, cfg)
	t.Cleanup(p.Close)
	return p
}

// connect is dialTo for a peer that the caller closes.
func connect(t testing.TB, tr mafalda.WebRTCTransport, cfg peer.Config) *peer.Peer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	p, err := peer.Dial(ctx, tr, cfg)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return tr.DTLSState() == mafalda.DTLSStateConnected }, 10*time.Second, time.Millisecond)
	return p
}

func produce(t testing.TB, tr mafalda.Transport, o mafalda.ProducerOptions) mafalda.Producer {
	t.Helper()
	p, err := tr.Produce(t.Context(), o)
	require.NoError(t, err)
	return p
}

func consume(t testing.TB, r mafalda.Router, tr mafalda.Transport, p mafalda.Producer) mafalda.Consumer {
	t.Helper()
	c, err := tr.Consume(t.Context(), mafalda.ConsumerOptions{ProducerID: p.ID(), RTPCapabilities: r.RTPCapabilities()})
	require.NoError(t, err)
	return c
}

func audio(ssrc uint32) mafalda.ProducerOptions {
	return mafalda.ProducerOptions{Kind: mafalda.MediaKindAudio, RTPParameters: mafalda.RTPParameters{
		Codecs:    []mafalda.RTPCodecParameters{{MIMEType: "audio/opus", PayloadType: 111, ClockRate: 48000, Channels: 2}},
		Encodings: []mafalda.RTPEncodingParameters{{SSRC: ssrc}},
	}}
}

// video has all that a browser negotiates; with ssrc 0 packets are found by mid.
func video(ssrc uint32, mid string) mafalda.ProducerOptions {
	e := mafalda.RTPEncodingParameters{SSRC: ssrc}
	if ssrc != 0 {
		e.RTX = &mafalda.RTXParameters{SSRC: ssrc + 1}
	}
	return mafalda.ProducerOptions{Kind: mafalda.MediaKindVideo, RTPParameters: mafalda.RTPParameters{
		MID: mid,
		Codecs: []mafalda.RTPCodecParameters{
			{MIMEType: "video/VP8", PayloadType: 96, ClockRate: 90000, RTCPFeedback: []mafalda.RTCPFeedback{
				{Type: "nack"}, {Type: "nack", Parameter: "pli"}, {Type: "ccm", Parameter: "fir"}, {Type: "transport-cc"},
			}},
			{MIMEType: "video/rtx", PayloadType: 97, ClockRate: 90000, Parameters: map[string]any{"apt": 96}},
		},
		HeaderExtensions: []mafalda.RTPHeaderExtensionParameters{
			{URI: mafalda.RTPHeaderExtensionMID, ID: 1}, {URI: mafalda.RTPHeaderExtensionRTPStreamID, ID: 2},
			{URI: mafalda.RTPHeaderExtensionAbsSendTime, ID: 4}, {URI: mafalda.RTPHeaderExtensionTransportWideCC, ID: 5},
			{URI: mafalda.RTPHeaderExtensionVideoOrientation, ID: 8},
		},
		Encodings: []mafalda.RTPEncodingParameters{e},
	}}
}

func opus(ssrc uint32, seq uint16, payload []byte) []byte {
	b, err := (&rtp.Packet{
		Header:  rtp.Header{Version: 2, PayloadType: 111, SequenceNumber: seq, Timestamp: 960 * uint32(seq), SSRC: ssrc},
		Payload: payload,
	}).Marshal()
	if err != nil {
		panic(err)
	}
	return b
}

// vp8 returns a packet of a video Producer.
func vp8(ssrc uint32, seq uint16, key bool, mid string) []byte {
	p := &rtp.Packet{
		Header:  rtp.Header{Version: 2, Marker: true, PayloadType: 96, SequenceNumber: seq, Timestamp: 3000 * uint32(seq), SSRC: ssrc},
		Payload: append([]byte{0x10, 1}, make([]byte, 300)...),
	}
	if key {
		p.Payload[1] = 0
	}
	if mid != "" {
		if err := p.SetExtension(1, []byte(mid)); err != nil {
			panic(err)
		}
	}
	b, err := p.Marshal()
	if err != nil {
		panic(err)
	}
	return b
}

// candidate returns where a transport listens.
func candidate(t testing.TB, tr mafalda.WebRTCTransport, protocol mafalda.Protocol) netip.AddrPort {
	t.Helper()
	for _, c := range tr.ICECandidates() {
		if c.Protocol == protocol {
			return netip.AddrPortFrom(netip.MustParseAddr(c.Address), c.Port)
		}
	}
	require.FailNow(t, "no candidate")
	return netip.AddrPort{}
}

func udpSocket(t testing.TB) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(loopback, 0)))
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

// A flood paces what one attacker sends: the kernel would else drop it.
type flood struct{ n int }

func (f *flood) pace() {
	if f.n++; f.n%32 == 0 {
		time.Sleep(time.Millisecond)
	}
}

func fill(rng *rand.Rand, b []byte) []byte {
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// spoil returns a damaged copy of b: cut, with a few bits changed, extended,
// or another one altogether.
func spoil(rng *rand.Rand, b []byte) []byte {
	c := append([]byte(nil), b...)
	switch rng.IntN(5) {
	case 0:
		c = c[:rng.IntN(len(c)+1)]
	case 1, 2:
		for range 1 + rng.IntN(4) {
			c[rng.IntN(len(c))] ^= 1 << rng.IntN(8)
		}
	case 3:
		c = append(c, fill(rng, make([]byte, rng.IntN(64)))...)
	default:
		c = fill(rng, make([]byte, 1+rng.IntN(1400)))
		if rng.IntN(2) == 0 {
			copy(c, b[:min(len(b), 1+rng.IntN(20))])
		}
	}
	return c
}

// A tap is between a peer and a transport. It keeps what passes, and can send
// from the address that the transport takes for the peer's.
type tap struct {
	near, far *net.UDPConn
	sfu       netip.AddrPort

	mu   sync.Mutex
	peer netip.AddrPort // guarded by mu
	seen [][]byte       // guarded by mu; what the peer sent
}

func newTap(t testing.TB, sfu netip.AddrPort) *tap {
	p := &tap{near: udpSocket(t), far: udpSocket(t), sfu: sfu}
	go func() { // ends with the socket
		b := make([]byte, 4096)
		for {
			n, from, err := p.near.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			p.mu.Lock()
			p.peer = from
			if len(p.seen) < 4096 {
				p.seen = append(p.seen, append([]byte(nil), b[:n]...))
			}
			p.mu.Unlock()
			p.far.WriteToUDPAddrPort(b[:n], p.sfu)
		}
	}()
	go func() { // ends with the socket
		b := make([]byte, 4096)
		for {
			n, _, err := p.far.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			p.mu.Lock()
			to := p.peer
			p.mu.Unlock()
			p.near.WriteToUDPAddrPort(b[:n], to)
		}
	}()
	return p
}

func (p *tap) addr() netip.AddrPort { return p.near.LocalAddr().(*net.UDPAddr).AddrPort() }

// inject sends b as if the peer had.
func (p *tap) inject(b []byte) { p.far.WriteToUDPAddrPort(b, p.sfu) }

func (p *tap) packets() [][]byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([][]byte(nil), p.seen...)
}
