package main

import (
	"encoding/json"
	"errors"
	"flag"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/vertical"
	"github.com/mafalda-sfu/mafalda/vertical/placement"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/websocket"
)

const patience = time.Minute

func newServer(t *testing.T) (*server, *httptest.Server) {
	t.Helper()
	return newServerOn(t, mafalda.New())
}

func newServerOn(t *testing.T, sfu mafalda.SFU) (*server, *httptest.Server) {
	t.Helper()
	t.Cleanup(func() { require.NoError(t, sfu.Close()) })
	worker, err := sfu.CreateWorker(t.Context(), mafalda.WorkerSettings{})
	require.NoError(t, err)
	infos := listenInfos([]netip.Addr{netip.MustParseAddr("127.0.0.1")}, "", mafalda.PortRange{})
	ports, err := worker.CreateWebRTCServer(t.Context(), mafalda.WebRTCServerOptions{ListenInfos: infos})
	require.NoError(t, err)
	s := &server{sfu: sfu, worker: worker, ports: ports, rooms: make(map[string]*room)}
	web := httptest.NewServer(s.handler())
	t.Cleanup(web.Close)
	return s, web
}

// A browser does what the page does, with Pion.
type browser struct {
	t                  *testing.T
	socket             *websocket.Conn
	sending, receiving *webrtc.PeerConnection
	heard              chan message // published, offer (once answered), peers, error
	tracks             chan *webrtc.TrackRemote
}

func open(t *testing.T, web *httptest.Server, name string) *browser {
	t.Helper()
	socket, err := websocket.Dial(strings.Replace(web.URL, "http", "ws", 1)+"/lobby/socket", "", web.URL)
	require.NoError(t, err)
	b := &browser{t: t, socket: socket, heard: make(chan message, 64), tracks: make(chan *webrtc.TrackRemote, 8)}
	var settings webrtc.SettingEngine
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	api := webrtc.NewAPI(webrtc.WithSettingEngine(settings))
	for _, pc := range []**webrtc.PeerConnection{&b.sending, &b.receiving} {
		*pc, err = api.NewPeerConnection(webrtc.Configuration{})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, (*pc).Close()) })
	}
	t.Cleanup(func() { socket.Close() })
	b.receiving.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		if track.ID() != "probator" {
			b.tracks <- track
		}
	})

	probe, err := api.NewPeerConnection(webrtc.Configuration{})
	require.NoError(t, err)
	for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeAudio, webrtc.RTPCodecTypeVideo} {
		_, err = probe.AddTransceiverFromKind(kind, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly})
		require.NoError(t, err)
	}
	offer, err := probe.CreateOffer(nil)
	require.NoError(t, err)
	require.NoError(t, probe.Close())
	b.send(message{Type: "join", Name: name, SDP: offer.SDP})
	go b.listen() // ends with the socket
	return b
}

func (b *browser) send(m message) { require.NoError(b.t, websocket.JSON.Send(b.socket, m)) }

func (b *browser) listen() {
	for {
		var m message
		if websocket.JSON.Receive(b.socket, &m) != nil {
			return
		}
		switch m.Type {
		case "published":
			_ = b.sending.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: m.SDP})
		case "offer":
			_ = b.receiving.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: m.SDP})
			answer, err := b.receiving.CreateAnswer(nil)
			if err != nil {
				return
			}
			_ = b.receiving.SetLocalDescription(answer)
			_ = websocket.JSON.Send(b.socket, message{Type: "answer", SDP: answer.SDP})
		}
		b.heard <- m
	}
}

// wait returns the next message for which ok is true.
func (b *browser) wait(ok func(message) bool) message {
	b.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case m := <-b.heard:
			if ok(m) {
				return m
			}
		case <-timeout:
			b.t.Fatal("no such message")
		}
	}
}

// publish sends a VP8 key frame every 20 ms until the test ends.
func (b *browser) publish() {
	b.t.Helper()
	track, err := webrtc.NewTrackLocalStaticSample(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8}, "v", "s")
	require.NoError(b.t, err)
	transceiver, err := b.sending.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	require.NoError(b.t, err)
	offer, err := b.sending.CreateOffer(nil)
	require.NoError(b.t, err)
	require.NoError(b.t, b.sending.SetLocalDescription(offer))
	b.send(message{Type: "publish", SDP: offer.SDP, Labels: map[string]string{transceiver.Mid(): "camera"}})
	stop := make(chan struct{})
	b.t.Cleanup(func() { close(stop) })
	go func() { // ends with the test
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				sample := []byte{0x10, 0, 0, 0x9d, 0x01, 0x2a, 2, 0, 2, 0, 1, 2, 3}
				_ = track.WriteSample(media.Sample{Data: sample, Duration: 20 * time.Millisecond})
			}
		}
	}()
}

func TestRoom(t *testing.T) {
	s, web := newServer(t)
	meet(t, s, web)
	for _, path := range []string{"/workers", "/workers/usage"} {
		resp, err := http.Get(web.URL + path)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, http.StatusNotFound, resp.StatusCode, path)
	}
}

// A plenty has CPUs for everybody: tests run in many processes at a time.
type plenty struct{}

func (plenty) Acquire(int) (release func(), err error) { return func() {}, nil }

// The same over two Workers, by another SFU and nothing else.
func TestRoomOverTwoWorkers(t *testing.T) {
	sfu := vertical.New(mafalda.New(), vertical.Options{CPUs: 2, Registry: plenty{}, Policy: placement.Spread()})
	s, web := newServerOn(t, sfu)
	meet(t, s, web)
	resp, err := http.Get(web.URL + "/workers/usage")
	require.NoError(t, err)
	defer resp.Body.Close()
	var u vertical.Usage
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&u))
	require.Equal(t, 2, u.MaxWorkers)
	require.Positive(t, u.PipesMade)
	page, err := http.Get(web.URL + "/workers")
	require.NoError(t, err)
	require.NoError(t, page.Body.Close())
	require.Equal(t, http.StatusOK, page.StatusCode)
}

// killUnder lets the Worker die on which find finds something.
func killUnder(t *testing.T, inner mafalda.SFU, find func(mafalda.Router) bool) {
	t.Helper()
	for _, w := range inner.Workers() {
		if slices.ContainsFunc(w.Routers(), find) {
			require.NoError(t, w.(mafalda.Killer).Kill(errors.New("planted")))
			return
		}
	}
	t.Fatal("on no Worker")
}

// A Worker under the room dies: pages that were on it come again, and who speaks
// is found out on another one.
func TestWorkerDiesUnderARoom(t *testing.T) {
	inner := mafalda.New()
	s, web := newServerOn(t, vertical.New(inner, vertical.Options{CPUs: 2, Registry: plenty{}, Policy: placement.Spread()}))
	stays := &peer{out: make(chan message, 64)} // has nothing that can die
	r, err := s.enter(t.Context(), "lobby", stays)
	require.NoError(t, err)
	in := func() int {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.peers)
	}
	alice := open(t, web, "Alice")
	id := alice.wait(func(m message) bool { return m.Type == "joined" }).ID
	killUnder(t, inner, func(r mafalda.Router) bool {
		return slices.ContainsFunc(r.Transports(), func(t mafalda.Transport) bool { return t.ID() == id })
	})
	require.Eventually(t, func() bool { return in() == 1 }, patience, time.Millisecond, "her page has left")

	r.mu.Lock()
	speaker := r.speaker
	r.mu.Unlock()
	if !speaker.Closed() { // it was on the other Worker
		killUnder(t, inner, func(r mafalda.Router) bool { return len(r.RTPObservers()) > 0 })
	}
	require.Eventually(t, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return !r.speaker.Closed()
	}, patience, time.Millisecond, "there is another one")
	alice = open(t, web, "Alice")
	alice.wait(func(m message) bool { return m.Type == "joined" })
	r.talk(t, r.peers[1], 1, 10)
	alice.wait(func(m message) bool { return m.Type == "speaker" })
	s.leave("lobby", r, stays)
}

// meet lets two browsers meet in a room.
func meet(t *testing.T, s *server, web *httptest.Server) {
	t.Helper()
	alice := open(t, web, " Alice ")
	id := alice.wait(func(m message) bool { return m.Type == "joined" }).ID
	alice.publish()
	alice.wait(func(m message) bool { return m.Type == "published" })

	bob := open(t, web, "")
	offer := bob.wait(func(m message) bool { return m.Type == "offer" })
	require.Equal(t, map[string]track{"s0": {Peer: id, Label: "camera"}}, offer.Tracks)
	got := bob.wait(func(m message) bool { return m.Type == "peers" && len(m.Peers) == 2 })
	require.Equal(t, peerInfo{ID: id, Name: "Alice", Paused: map[string]bool{"camera": false}}, got.Peers[0])
	require.Equal(t, "somebody", got.Peers[1].Name)
	select {
	case track := <-bob.tracks:
		require.NoError(t, track.SetReadDeadline(time.Now().Add(patience)))
		for range 10 {
			_, _, err := track.ReadRTP()
			require.NoError(t, err)
		}
	case <-time.After(patience):
		t.Fatal("no track")
	}

	bob.send(message{Type: "layer", MID: "s0", Layer: -1}) // nothing to choose from
	alice.send(message{Type: "pause", MID: "0", Paused: true})
	bob.wait(func(m message) bool { return m.Type == "peers" && m.Peers[0].Paused["camera"] })
	alice.send(message{Type: "pause", MID: "0"})
	bob.wait(func(m message) bool { return m.Type == "peers" && !m.Peers[0].Paused["camera"] })

	require.NoError(t, alice.socket.Close())
	left := 0
	bob.wait(func(m message) bool { // in any order
		if m.Type == "peers" && len(m.Peers) == 1 || m.Type == "offer" && len(m.Tracks) == 0 {
			left++
		}
		return left == 2
	})
	require.NoError(t, bob.socket.Close())
	require.Eventually(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.rooms) == 0 && len(s.worker.Routers()) == 0
	}, patience, time.Millisecond)
}

// talk makes a peer speak that loud, in -dBov, until it leaves.
func (r *room) talk(t *testing.T, p *peer, ssrc uint32, level byte) mafalda.Producer {
	t.Helper()
	const extension = 1
	r.mu.Lock()
	defer r.mu.Unlock()
	direct, err := r.router.CreateDirectTransport(t.Context(), mafalda.DirectTransportOptions{})
	require.NoError(t, err)
	p.transports = append(p.transports, direct)
	producer, err := direct.Produce(t.Context(), mafalda.ProducerOptions{Kind: mafalda.MediaKindAudio, RTPParameters: mafalda.RTPParameters{
		Codecs:           []mafalda.RTPCodecParameters{{MIMEType: "audio/opus", PayloadType: 111, ClockRate: 48000, Channels: 2}},
		HeaderExtensions: []mafalda.RTPHeaderExtensionParameters{{URI: "urn:ietf:params:rtp-hdrext:ssrc-audio-level", ID: extension}},
		Encodings:        []mafalda.RTPEncodingParameters{{SSRC: ssrc}},
	}})
	require.NoError(t, err)
	require.NoError(t, r.listen(t.Context(), []mafalda.Producer{producer}))
	go func() { // ends with the Producer
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for seq := uint16(0); ; seq++ {
			packet := rtp.Packet{
				Header:  rtp.Header{Version: 2, PayloadType: 111, SSRC: ssrc, SequenceNumber: seq, Timestamp: uint32(seq) * 960},
				Payload: []byte("sound"),
			}
			_ = packet.SetExtension(extension, []byte{0x80 | level})
			b, _ := packet.Marshal()
			_ = producer.Send(b)
			select {
			case <-tick.C:
			case <-producer.Done():
				return
			}
		}
	}()
	return producer
}

// TestSpeakerLeaves: when the one leaves who speaks the next one is told at once,
// while the room is busy.
func TestSpeakerLeaves(t *testing.T) {
	s, web := newServer(t)
	a := open(t, web, "a")
	a.wait(func(m message) bool { return m.Type == "joined" })
	b := open(t, web, "b")
	b.wait(func(m message) bool { return m.Type == "peers" && len(m.Peers) == 2 })
	s.mu.Lock()
	r := s.rooms["lobby"]
	s.mu.Unlock()
	dominant := make(chan mafalda.Producer, 64)
	r.speaker.Events().DominantSpeaker.On(func(d mafalda.DominantSpeaker) { dominant <- d.Producer })
	await := func(p mafalda.Producer) {
		t.Helper()
		for end := time.After(patience); ; {
			select {
			case got := <-dominant:
				if got == p {
					return
				}
			case <-end:
				t.Fatal("somebody else speaks")
			}
		}
	}
	loud := r.talk(t, r.peers[0], 1, 10)
	await(loud)
	quiet := r.talk(t, r.peers[1], 2, 60)
	require.NoError(t, a.socket.Close())
	await(quiet)
	b.wait(func(m message) bool { return m.Type == "peers" && len(m.Peers) == 1 })
	open(t, web, "c").wait(func(m message) bool { return m.Type == "peers" && len(m.Peers) == 2 })
}

// TestSpeakerIsTold: who comes later hears who speaks, though nothing changes.
func TestSpeakerIsTold(t *testing.T) {
	s, web := newServer(t)
	a := open(t, web, "a")
	id := a.wait(func(m message) bool { return m.Type == "joined" }).ID
	s.mu.Lock()
	r := s.rooms["lobby"]
	s.mu.Unlock()
	r.talk(t, r.peers[0], 1, 10)
	speaks := func(m message) bool { return m.Type == "speaker" && m.Peer == id }
	a.wait(speaks)
	open(t, web, "b").wait(speaks)
}

func TestHostilePage(t *testing.T) {
	s, web := newServer(t)
	good := open(t, web, "good")
	good.wait(func(m message) bool { return m.Type == "peers" })
	for _, m := range []message{{Type: "publish", SDP: "v=0"}, {Type: "answer", SDP: "v=0"}} {
		bad := open(t, web, strings.Repeat("é", 1000))
		bad.wait(func(m message) bool { return m.Type == "joined" })
		bad.send(m)
		bad.wait(func(m message) bool { return m.Type == "error" })
	}
	good.wait(func(m message) bool { return m.Type == "peers" && len(m.Peers) == 1 })

	_, err := websocket.Dial(strings.Replace(web.URL, "http", "ws", 1)+"/lobby/socket", "", "https://evil.example")
	require.Error(t, err)
	require.Len(t, s.worker.Routers(), 1)
}

func TestPage(t *testing.T) {
	_, web := newServer(t)
	for path, status := range map[string]int{"/": http.StatusOK, "/any%20room": http.StatusOK, "/a/b": http.StatusNotFound} {
		resp, err := http.Get(web.URL + path)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, status, resp.StatusCode, path)
	}
}

// TestWrongFlags: what can't be is told before anything is opened.
func TestWrongFlags(t *testing.T) {
	for _, c := range []struct{ flag, value, says string }{
		{"workers", "0", "between 1 and 1000"},
		{"media-port", "0", "between 1 and 65535"},
		{"policy", "random", "cascade, concentrate, spread, twochoice"},
		{"policy", "spread", "without -workers"},
		{"announced", "not an address", "neither an IP address nor a host name"},
	} {
		f := flag.Lookup(c.flag)
		require.NoError(t, f.Value.Set(c.value))
		require.ErrorContains(t, run(t.Context()), c.says)
		require.NoError(t, f.Value.Set(f.DefValue))
	}
}

func TestSelfSigned(t *testing.T) {
	for _, announced := range []string{"", "192.0.2.9", "room.example"} {
		c, err := selfSigned(localIPs(), announced)
		require.NoError(t, err)
		require.Len(t, c.Certificate, 1)
	}
}
