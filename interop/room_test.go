package interop

import (
	"context"
	"encoding/json"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/interop/impair"
)

var localhost = netip.MustParseAddr("127.0.0.1")

// A room is a Router of our SFU.
type room struct {
	worker mafalda.Worker
	router mafalda.Router
	server mafalda.WebRTCServer // one UDP and one TCP port
	udp    netip.AddrPort
}

func mediaCodecs() []mafalda.RouterRTPCodecCapability {
	audio, video := mafalda.MediaKindAudio, mafalda.MediaKindVideo
	return []mafalda.RouterRTPCodecCapability{
		{Kind: audio, MIMEType: "audio/opus", ClockRate: 48000, Channels: 2},
		{Kind: video, MIMEType: "video/VP8", ClockRate: 90000},
		{Kind: video, MIMEType: "video/VP9", ClockRate: 90000, Parameters: map[string]any{"profile-id": 0}},
		{Kind: video, MIMEType: "video/H264", ClockRate: 90000, Parameters: map[string]any{
			"profile-level-id": "42e01f", "packetization-mode": 1, "level-asymmetry-allowed": 1,
		}},
		{Kind: video, MIMEType: "video/AV1", ClockRate: 90000},
	}
}

func newRoom(t testing.TB) *room {
	t.Helper()
	return newRoomAt(t, localhost)
}

// newRoomAt makes a room whose ports are on that address.
func newRoomAt(t testing.TB, ip netip.Addr) *room {
	t.Helper()
	return newRoomOf(t, ip, mafalda.WorkerSettings{})
}

// newRoomOf makes a room of a Worker of its own.
func newRoomOf(t testing.TB, ip netip.Addr, settings mafalda.WorkerSettings) *room {
	t.Helper()
	ctx := t.Context()
	r := &room{}
	sfu := mafalda.New()
	t.Cleanup(func() { require.NoError(t, sfu.Close()) })
	settings.LogLevel = mafalda.LogLevelWarn
	var err error
	r.worker, err = sfu.CreateWorker(ctx, settings)
	require.NoError(t, err)
	r.worker.Events().Died.On(func(err error) { t.Errorf("the worker died: %v", err) })
	r.router, err = r.worker.CreateRouter(ctx, mafalda.RouterOptions{MediaCodecs: mediaCodecs()})
	require.NoError(t, err)
	r.server, err = r.worker.CreateWebRTCServer(ctx, mafalda.WebRTCServerOptions{ListenInfos: []mafalda.ListenInfo{
		{Protocol: mafalda.ProtocolUDP, IP: ip}, {Protocol: mafalda.ProtocolTCP, IP: ip},
	}})
	require.NoError(t, err)
	dump, err := r.server.Dump(ctx)
	require.NoError(t, err)
	require.Len(t, dump.UDPSockets, 1)
	r.udp = netip.AddrPortFrom(ip, dump.UDPSockets[0].Port)
	t.Cleanup(func() { r.describe(t) })
	return r
}

// describe logs what the room holds when the test has failed.
func (r *room) describe(t testing.TB) {
	if !t.Failed() {
		return
	}
	log := func(what string, v any, err error) {
		b, _ := json.Marshal(v) // an error leaves it empty
		t.Logf("%s: %s %v", what, b, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for _, tr := range r.router.Transports() {
		stats, err := tr.Stats(ctx)
		log("transport", stats, err)
		for _, p := range tr.Producers() {
			stats, err := p.Stats(ctx)
			log("producer", stats, err)
		}
		for _, c := range tr.Consumers() {
			stats, err := c.Stats(ctx)
			log("consumer", stats, err)
		}
	}
}

// A network says how a client reaches the SFU.
type network struct {
	options mafalda.WebRTCTransportOptions // the WebRTCServer is filled in
	relay   *impair.Relay                  // nil: directly
	// jitterBuffer is how long the receiver's frames wait, in milliseconds; 0
	// is the browser's choice.
	jitterBuffer int
}

// A client is a page in the room.
type client struct {
	*page
	room *room
	caps mafalda.RTPCapabilities
	net  network

	mu         sync.Mutex
	transports map[string]mafalda.WebRTCTransport // guarded by mu

	send, recv mafalda.WebRTCTransport // nil until asked for
}

// join lets the page load the device.
func (r *room) join(t testing.TB, ctx context.Context, p *page, n network) *client {
	t.Helper()
	c := &client{page: p, room: r, net: n, transports: map[string]mafalda.WebRTCTransport{}}
	p.on("connect", c.connect)
	p.on("produce", c.produce)
	p.on("producedata", c.produceData)
	var loaded struct {
		Handler         string
		RTPCapabilities mafalda.RTPCapabilities `json:"rtpCapabilities"`
	}
	require.NoError(t, p.do(ctx, "load", map[string]any{"routerRtpCapabilities": r.router.RTPCapabilities()}, &loaded))
	require.Contains(t, []string{"Chrome111", "Firefox120"}, loaded.Handler)
	c.caps = loaded.RTPCapabilities
	return c
}

// transport makes a transport on both sides.
func (c *client) transport(t testing.TB, ctx context.Context, direction string) mafalda.WebRTCTransport {
	t.Helper()
	o := c.net.options
	o.WebRTCServer = c.room.server
	tr, err := c.room.router.CreateWebRTCTransport(ctx, o)
	require.NoError(t, err)
	c.mu.Lock()
	c.transports[tr.ID()] = tr
	c.mu.Unlock()
	candidates := tr.ICECandidates()
	if c.net.relay != nil {
		via := c.net.relay.Addr()
		for i := range candidates {
			candidates[i].Address, candidates[i].IP, candidates[i].Port = via.Addr().String(), via.Addr().String(), via.Port()
		}
	}
	require.NoError(t, c.do(ctx, "transport", map[string]any{"direction": direction, "options": map[string]any{
		"id": tr.ID(), "iceParameters": tr.ICEParameters(), "iceCandidates": candidates, "dtlsParameters": tr.DTLSParameters(),
		"sctpParameters": tr.SCTPParameters(),
	}}, nil))
	return tr
}

func (c *client) lookup(id string) mafalda.WebRTCTransport {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.transports[id]
}

// connect answers the page.
func (c *client) connect(ctx context.Context, body []byte) (any, error) {
	var m struct {
		TransportID    string                 `json:"transportId"`
		DTLSParameters mafalda.DTLSParameters `json:"dtlsParameters"`
	}
	if err := json.Unmarshal(body, &m); err != nil {
		return nil, err
	}
	return nil, c.lookup(m.TransportID).Connect(ctx, mafalda.WebRTCTransportConnectOptions{DTLSParameters: m.DTLSParameters})
}

// produce answers the page.
func (c *client) produce(ctx context.Context, body []byte) (any, error) {
	var m struct {
		TransportID   string                `json:"transportId"`
		Kind          mafalda.MediaKind     `json:"kind"`
		RTPParameters mafalda.RTPParameters `json:"rtpParameters"`
	}
	if err := json.Unmarshal(body, &m); err != nil {
		return nil, err
	}
	p, err := c.lookup(m.TransportID).Produce(ctx, mafalda.ProducerOptions{Kind: m.Kind, RTPParameters: m.RTPParameters})
	if err != nil {
		return nil, err
	}
	return map[string]any{"id": p.ID()}, nil
}

// produceData answers the page.
func (c *client) produceData(ctx context.Context, body []byte) (any, error) {
	var m struct {
		TransportID          string                       `json:"transportId"`
		SCTPStreamParameters mafalda.SCTPStreamParameters `json:"sctpStreamParameters"`
		Label, Protocol      string
	}
	if err := json.Unmarshal(body, &m); err != nil {
		return nil, err
	}
	p, err := c.lookup(m.TransportID).ProduceData(ctx, mafalda.DataProducerOptions{
		SCTPStreamParameters: &m.SCTPStreamParameters, Label: m.Label, Protocol: m.Protocol,
	})
	if err != nil {
		return nil, err
	}
	return map[string]any{"id": p.ID()}, nil
}

// video is a picture that a page sends.
type video struct {
	mimeType      string
	parameters    map[string]any
	width, height int
	frameRate     int
	encodings     []map[string]any // of RTCPeerConnection; nil: one
	camera        bool             // the browser's fake one instead of a canvas
	busy          bool             // full of detail
}

// sendVideo makes the page produce video, and a transport if it has none.
func (c *client) sendVideo(t testing.TB, ctx context.Context, v video) mafalda.Producer {
	t.Helper()
	command := "produceVideo"
	if v.camera {
		command = "produceCamera"
	}
	rate := 1000 // kbit/s
	if v.busy {
		rate = 2500 // for all layers
	}
	return c.sendMedia(t, ctx, command, map[string]any{
		"mimeType": v.mimeType, "parameters": v.parameters, "width": v.width, "height": v.height, "frameRate": v.frameRate, "busy": v.busy, "encodings": v.encodings,
		// Quickly to the rate of the test, which is not about the ramp.
		"codecOptions": map[string]any{"videoGoogleStartBitrate": rate},
	}, v.mimeType)
}

// sendAudio makes the page produce a tone.
func (c *client) sendAudio(t testing.TB, ctx context.Context, frequency int) mafalda.Producer {
	t.Helper()
	return c.sendMedia(t, ctx, "produceAudio", map[string]any{"frequency": frequency}, "audio/opus")
}

func (c *client) sendMedia(t testing.TB, ctx context.Context, command string, args map[string]any, mimeType string) mafalda.Producer {
	t.Helper()
	if c.send == nil {
		c.send = c.transport(t, ctx, "send")
	}
	args["transportId"] = c.send.ID()
	var produced struct{ ID, Codec string }
	require.NoError(t, c.do(ctx, command, args, &produced))
	require.Equal(t, mimeType, produced.Codec)
	for _, p := range c.send.Producers() {
		if p.ID() == produced.ID {
			return p
		}
	}
	t.Fatal("the page has a producer that the transport has not")
	return nil
}

// receive makes the page consume a producer, and a transport if it has none.
func (c *client) receive(t testing.TB, ctx context.Context, p mafalda.Producer) mafalda.Consumer {
	t.Helper()
	if c.recv == nil {
		c.recv = c.transport(t, ctx, "recv")
	}
	consumer, err := c.recv.Consume(ctx, mafalda.ConsumerOptions{ProducerID: p.ID(), RTPCapabilities: c.caps, Paused: true})
	require.NoError(t, err)
	require.NoError(t, c.do(ctx, "consume", map[string]any{"transportId": c.recv.ID(), "jitterBuffer": c.net.jitterBuffer, "options": map[string]any{
		"id": consumer.ID(), "producerId": p.ID(), "kind": consumer.Kind(), "rtpParameters": consumer.RTPParameters(),
	}}, nil))
	require.NoError(t, consumer.Resume(ctx))
	return consumer
}
