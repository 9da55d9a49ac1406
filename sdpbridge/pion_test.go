package sdpbridge_test

import (
	"context"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/sdpbridge"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"
	"github.com/stretchr/testify/require"
)

const patience = 10 * time.Second

var mediaCodecs = []mafalda.RouterRTPCodecCapability{
	{Kind: mafalda.MediaKindAudio, MIMEType: "audio/opus", ClockRate: 48000, Channels: 2},
	{Kind: mafalda.MediaKindVideo, MIMEType: "video/VP8", ClockRate: 90000},
	{Kind: mafalda.MediaKindVideo, MIMEType: "video/H264", ClockRate: 90000, Parameters: map[string]any{
		"packetization-mode": 1, "profile-level-id": "42e01f", "level-asymmetry-allowed": 1,
	}},
}

// A room has a Router and makes Sessions on it.
type room struct {
	t      *testing.T
	ctx    context.Context
	router mafalda.Router
}

func newRoom(t *testing.T, codecs []mafalda.RouterRTPCodecCapability) *room {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(cancel)
	sfu := mafalda.New()
	t.Cleanup(func() { require.NoError(t, sfu.Close()) })
	worker, err := sfu.CreateWorker(ctx, mafalda.WorkerSettings{})
	require.NoError(t, err)
	router, err := worker.CreateRouter(ctx, mafalda.RouterOptions{MediaCodecs: codecs})
	require.NoError(t, err)
	return &room{t, ctx, router}
}

func (r *room) session(o sdpbridge.Options) (*sdpbridge.Session, mafalda.WebRTCTransport) {
	r.t.Helper()
	return r.sessionWith(o, mafalda.WebRTCTransportOptions{})
}

func (r *room) sessionWith(o sdpbridge.Options, w mafalda.WebRTCTransportOptions) (*sdpbridge.Session, mafalda.WebRTCTransport) {
	r.t.Helper()
	w.ListenInfos = []mafalda.ListenInfo{
		{Protocol: mafalda.ProtocolUDP, IP: netip.MustParseAddr("127.0.0.1")},
		{Protocol: mafalda.ProtocolTCP, IP: netip.MustParseAddr("127.0.0.1")},
	}
	transport, err := r.router.CreateWebRTCTransport(r.ctx, w)
	require.NoError(r.t, err)
	o.Router, o.Transport = r.router, transport
	s, err := sdpbridge.NewSession(o)
	require.NoError(r.t, err)
	return s, transport
}

func newPeer(t *testing.T) *webrtc.PeerConnection {
	t.Helper()
	var settings webrtc.SettingEngine
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	settings.SetICETimeouts(5*time.Second, 25*time.Second, 200*time.Millisecond)
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(settings), webrtc.WithMediaEngine(defaultCodecs(t))).
		NewPeerConnection(webrtc.Configuration{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, pc.Close()) })
	return pc
}

func defaultCodecs(t *testing.T) *webrtc.MediaEngine {
	t.Helper()
	var engine webrtc.MediaEngine
	require.NoError(t, engine.RegisterDefaultCodecs())
	for _, uri := range []mafalda.RTPHeaderExtensionURI{mafalda.RTPHeaderExtensionMID, mafalda.RTPHeaderExtensionTransportWideCC} {
		for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeAudio, webrtc.RTPCodecTypeVideo} {
			require.NoError(t, engine.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: string(uri)}, kind))
		}
	}
	return &engine
}

// publish sends a sample every 20 ms until the test ends.
func publish(t *testing.T, pc *webrtc.PeerConnection, mimeType, id string) *webrtc.RTPSender {
	t.Helper()
	track, err := webrtc.NewTrackLocalStaticSample(webrtc.RTPCodecCapability{MimeType: mimeType}, id, "stream")
	require.NoError(t, err)
	transceiver, err := pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	require.NoError(t, err)
	sample := []byte{0x10, 0, 0, 0x9d, 0x01, 0x2a, 2, 0, 2, 0, 1, 2, 3} // a VP8 key frame
	if mimeType == webrtc.MimeTypeOpus {
		sample = []byte{0xf8, 1, 2, 3}
	}
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	go func() { // ends with the test
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				_ = track.WriteSample(media.Sample{Data: sample, Duration: 20 * time.Millisecond})
			}
		}
	}()
	return transceiver.Sender()
}

// offer lets pc offer to the Session.
func offer(t *testing.T, pc *webrtc.PeerConnection, s *sdpbridge.Session, o *webrtc.OfferOptions, consume ...mafalda.ConsumerOptions) {
	t.Helper()
	d, err := pc.CreateOffer(o)
	require.NoError(t, err)
	require.NoError(t, pc.SetLocalDescription(d))
	answer, err := s.Answer(t.Context(), d.SDP, consume...)
	require.NoError(t, err, d.SDP)
	require.NoError(t, pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}), answer)
}

// take lets pc answer an offer of the Session.
func take(t *testing.T, s *sdpbridge.Session, pc *webrtc.PeerConnection) {
	t.Helper()
	text, err := s.Offer(t.Context())
	require.NoError(t, err)
	require.NoError(t, pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: text}), text)
	answer, err := pc.CreateAnswer(nil)
	require.NoError(t, err, text)
	require.NoError(t, pc.SetLocalDescription(answer))
	require.NoError(t, s.SetAnswer(t.Context(), answer.SDP), answer.SDP)
}

// A sink counts what arrives on the tracks of a peer, by id of the track.
type sink struct {
	t      *testing.T
	tracks chan *webrtc.TrackRemote
	counts map[string]*atomic.Int64
}

func newSink(t *testing.T, pc *webrtc.PeerConnection) *sink {
	k := &sink{t, make(chan *webrtc.TrackRemote, 16), make(map[string]*atomic.Int64)}
	pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) { k.tracks <- track })
	return k
}

// next returns the next track once ten packets have come.
func (k *sink) next() *webrtc.TrackRemote {
	k.t.Helper()
	select {
	case track := <-k.tracks:
		require.NoError(k.t, track.SetReadDeadline(time.Now().Add(patience)))
		for range 10 {
			_, _, err := track.ReadRTP()
			require.NoError(k.t, err)
		}
		return track
	case <-time.After(patience):
		k.t.Fatal("no track")
		return nil
	}
}

func consumeAll(t *testing.T, from mafalda.Transport, s *sdpbridge.Session) map[string]mafalda.Consumer {
	t.Helper()
	consumers := make(map[string]mafalda.Consumer)
	for _, p := range from.Producers() {
		c, err := s.Consume(t.Context(), mafalda.ConsumerOptions{ProducerID: p.ID()})
		require.NoError(t, err)
		consumers[c.ID()] = c
	}
	return consumers
}

func TestPionPublishesAndReceives(t *testing.T) {
	r := newRoom(t, mediaCodecs)
	in, inTransport := r.session(sdpbridge.Options{})
	publisher := newPeer(t)
	publish(t, publisher, webrtc.MimeTypeOpus, "a")
	publish(t, publisher, webrtc.MimeTypeVP8, "v")
	offer(t, publisher, in, nil)
	require.Len(t, inTransport.Producers(), 2)

	out, outTransport := r.session(sdpbridge.Options{})
	subscriber := newPeer(t)
	tracks := newSink(t, subscriber)
	consumers := consumeAll(t, inTransport, out)
	require.True(t, out.NegotiationNeeded())
	take(t, out, subscriber)
	require.False(t, out.NegotiationNeeded())
	kinds := map[webrtc.RTPCodecType]bool{}
	for range 2 {
		track := tracks.next()
		require.Contains(t, consumers, track.ID())
		require.Equal(t, "stream", track.StreamID())
		require.Equal(t, string(consumers[track.ID()].Kind()), track.Kind().String())
		kinds[track.Kind()] = true
	}
	require.Len(t, kinds, 2)

	// A third stream comes, in a new m-section on both sides.
	publish(t, publisher, webrtc.MimeTypeVP8, "w")
	offer(t, publisher, in, nil)
	producers := inTransport.Producers()
	require.Len(t, producers, 3)
	third, err := out.Consume(t.Context(), mafalda.ConsumerOptions{ProducerID: producers[2].ID()})
	require.NoError(t, err)
	take(t, out, subscriber)
	require.Equal(t, third.ID(), tracks.next().ID())

	// It goes again: its Producer and its Consumer are closed.
	transceivers := publisher.GetTransceivers()
	require.NoError(t, transceivers[2].Stop())
	offer(t, publisher, in, nil)
	require.True(t, producers[2].Closed())
	require.Len(t, inTransport.Producers(), 2)
	require.Eventually(t, third.Closed, patience, time.Millisecond)
	require.True(t, out.NegotiationNeeded())
	take(t, out, subscriber)
	require.False(t, out.NegotiationNeeded())

	// The next stream takes the m-line that became free.
	again, err := out.Consume(t.Context(), mafalda.ConsumerOptions{ProducerID: producers[1].ID()})
	require.NoError(t, err)
	take(t, out, subscriber)
	require.Equal(t, again.ID(), tracks.next().ID())
	d, err := sdpbridge.Parse(subscriber.RemoteDescription().SDP)
	require.NoError(t, err)
	require.Len(t, d.Media, 3)
	require.Equal(t, again.RTPParameters().MID, d.Media[2].MID)
	require.Equal(t, mafalda.DTLSStateConnected, outTransport.DTLSState())
}

// TestPionProbator: the m-section for probation packets does no harm to media
// that comes and goes, on either side.
func TestPionProbator(t *testing.T) {
	r := newRoom(t, mediaCodecs)
	in, inTransport := r.session(sdpbridge.Options{})
	publisher := newPeer(t)
	publish(t, publisher, webrtc.MimeTypeVP8, "v")
	offer(t, publisher, in, nil)

	out, outTransport := r.session(sdpbridge.Options{Probator: true})
	subscriber := newPeer(t)
	tracks := newSink(t, subscriber)
	subscriber.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		if track.ID() != "probator" {
			tracks.tracks <- track
		}
	})
	consumers := consumeAll(t, inTransport, out)
	take(t, out, subscriber)
	require.False(t, out.NegotiationNeeded())
	require.Contains(t, consumers, tracks.next().ID())
	stats, err := outTransport.Stats(t.Context())
	require.NoError(t, err)
	require.Positive(t, stats[0].ProbationBytesSent)

	// Media of the same kind comes and goes, the m-section stays.
	again, err := out.Consume(t.Context(), mafalda.ConsumerOptions{ProducerID: inTransport.Producers()[0].ID()})
	require.NoError(t, err)
	take(t, out, subscriber)
	require.NoError(t, again.Close())
	require.True(t, out.NegotiationNeeded())
	take(t, out, subscriber)
	require.False(t, out.NegotiationNeeded())
	d, err := sdpbridge.Parse(subscriber.RemoteDescription().SDP)
	require.NoError(t, err)
	require.Len(t, d.Media, 3)
	require.Equal(t, "probator", d.Media[1].MID)
	require.False(t, d.Media[1].Rejected)

	// The peer offers, for media of its own.
	publish(t, subscriber, webrtc.MimeTypeOpus, "a")
	offer(t, subscriber, out, nil, mafalda.ConsumerOptions{ProducerID: inTransport.Producers()[0].ID()})
	require.Len(t, outTransport.Producers(), 1)
	require.Len(t, outTransport.Consumers(), 1, "nothing else is sent in the m-section of probation packets")
	require.False(t, out.NegotiationNeeded())
}

func TestPionRestartsICE(t *testing.T) {
	r := newRoom(t, mediaCodecs)
	in, inTransport := r.session(sdpbridge.Options{})
	publisher := newPeer(t)
	publish(t, publisher, webrtc.MimeTypeOpus, "a")
	offer(t, publisher, in, nil)
	out, outTransport := r.session(sdpbridge.Options{})
	subscriber := newPeer(t)
	tracks := newSink(t, subscriber)
	consumeAll(t, inTransport, out)
	take(t, out, subscriber)
	track := tracks.next()

	// The peer restarts.
	before := inTransport.ICEParameters()
	offer(t, publisher, in, &webrtc.OfferOptions{ICERestart: true})
	require.NotEqual(t, before, inTransport.ICEParameters())
	require.Len(t, inTransport.Producers(), 1)
	// We restart.
	_, err := outTransport.RestartICE(t.Context())
	require.NoError(t, err)
	require.True(t, out.NegotiationNeeded())
	take(t, out, subscriber)
	require.False(t, out.NegotiationNeeded())

	require.NoError(t, track.SetReadDeadline(time.Now().Add(patience)))
	for range 50 {
		_, _, err := track.ReadRTP()
		require.NoError(t, err)
	}
}

// A WHEP player offers to receive; the Router has the player's numbers.
func TestPionPlays(t *testing.T) {
	codecs := []mafalda.RouterRTPCodecCapability{
		{Kind: mafalda.MediaKindAudio, MIMEType: "audio/opus", ClockRate: 48000, Channels: 2, PreferredPayloadType: new(uint8(111))},
		{Kind: mafalda.MediaKindVideo, MIMEType: "video/VP8", ClockRate: 90000, PreferredPayloadType: new(uint8(96))},
	}
	r := newRoom(t, codecs)
	in, inTransport := r.session(sdpbridge.Options{})
	publisher := newPeer(t)
	publish(t, publisher, webrtc.MimeTypeOpus, "a")
	publish(t, publisher, webrtc.MimeTypeVP8, "v")
	offer(t, publisher, in, nil)

	out, outTransport := r.session(sdpbridge.Options{Accept: func(*mafalda.ProducerOptions) bool { return false }})
	player := newPeer(t)
	tracks := newSink(t, player)
	for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeVideo, webrtc.RTPCodecTypeAudio} {
		_, err := player.AddTransceiverFromKind(kind, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly})
		require.NoError(t, err)
	}
	publish(t, player, webrtc.MimeTypeOpus, "uninvited")
	var consume []mafalda.ConsumerOptions
	for _, p := range inTransport.Producers() {
		consume = append(consume, mafalda.ConsumerOptions{ProducerID: p.ID()})
	}
	offer(t, player, out, nil, consume...)
	require.Empty(t, outTransport.Producers())
	require.Len(t, outTransport.Consumers(), 2)
	got := []webrtc.RTPCodecType{tracks.next().Kind(), tracks.next().Kind()}
	require.ElementsMatch(t, []webrtc.RTPCodecType{webrtc.RTPCodecTypeAudio, webrtc.RTPCodecTypeVideo}, got)
}

// One PeerConnection both ways.
func TestPionBothWays(t *testing.T) {
	r := newRoom(t, mediaCodecs)
	a, aTransport := r.session(sdpbridge.Options{})
	b, bTransport := r.session(sdpbridge.Options{})
	alice, bob := newPeer(t), newPeer(t)
	aliceTracks, bobTracks := newSink(t, alice), newSink(t, bob)
	publish(t, alice, webrtc.MimeTypeVP8, "a")
	publish(t, bob, webrtc.MimeTypeOpus, "b")
	offer(t, alice, a, nil)
	offer(t, bob, b, nil)
	consumeAll(t, bTransport, a)
	consumeAll(t, aTransport, b)
	take(t, a, alice)
	take(t, b, bob)
	require.Equal(t, webrtc.RTPCodecTypeAudio, aliceTracks.next().Kind())
	require.Equal(t, webrtc.RTPCodecTypeVideo, bobTracks.next().Kind())
	offer(t, alice, a, nil) // nothing new
	require.Len(t, aTransport.Consumers(), 1)
	require.Len(t, aTransport.Producers(), 1)
	require.False(t, a.NegotiationNeeded())
}

// TestPionData: a data channel each way, in the offers of the peer and of the
// Session, without any media.
func TestPionData(t *testing.T) {
	r := newRoom(t, mediaCodecs)
	withData := mafalda.WebRTCTransportOptions{SCTPOptions: mafalda.SCTPOptions{EnableSCTP: true}}
	in, inTransport := r.sessionWith(sdpbridge.Options{}, withData)
	publisher := newPeer(t)
	channel := func(pc *webrtc.PeerConnection, id uint16) *webrtc.DataChannel {
		c, err := pc.CreateDataChannel("chat", &webrtc.DataChannelInit{Negotiated: new(true), ID: &id})
		require.NoError(t, err)
		return c
	}
	to := channel(publisher, 7)
	opened := make(chan struct{})
	to.OnOpen(func() { close(opened) })
	producer, err := inTransport.ProduceData(t.Context(), mafalda.DataProducerOptions{
		SCTPStreamParameters: &mafalda.SCTPStreamParameters{StreamID: 7}, Label: "chat",
	})
	require.NoError(t, err)
	offer(t, publisher, in, nil)

	out, outTransport := r.sessionWith(sdpbridge.Options{}, withData)
	require.True(t, out.NegotiationNeeded())
	consumer, err := outTransport.ConsumeData(t.Context(), mafalda.DataConsumerOptions{DataProducerID: producer.ID()})
	require.NoError(t, err)
	subscriber := newPeer(t)
	from := channel(subscriber, consumer.SCTPStreamParameters().StreamID)
	heard := make(chan string, 1)
	from.OnMessage(func(m webrtc.DataChannelMessage) { heard <- string(m.Data) })
	take(t, out, subscriber)
	require.False(t, out.NegotiationNeeded())
	require.Eventually(t, func() bool { return outTransport.SCTPState() == mafalda.SCTPStateConnected }, patience, time.Millisecond)

	select {
	case <-opened:
	case <-time.After(patience):
		t.Fatal("the channel does not open")
	}
	require.NoError(t, to.SendText("hello"))
	select {
	case text := <-heard:
		require.Equal(t, "hello", text)
	case <-time.After(patience):
		t.Fatal("no message")
	}

	// Media comes later, beside the channel.
	publish(t, publisher, webrtc.MimeTypeOpus, "a")
	offer(t, publisher, in, nil)
	tracks := newSink(t, subscriber)
	consumeAll(t, inTransport, out)
	take(t, out, subscriber)
	tracks.next()
	require.NoError(t, to.SendText("again"))
	select {
	case text := <-heard:
		require.Equal(t, "again", text)
	case <-time.After(patience):
		t.Fatal("no message after another negotiation")
	}
}
