package harness

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"github.com/mafalda-sfu/mafalda"
)

// Settings are how a [Rig] is built.
type Settings struct {
	// Plain makes PlainTransports with SRTP instead of WebRTCTransports.
	Plain bool
	// EachPort gives each WebRTCTransport a port of its own.
	EachPort bool
	// Count is the number of Workers, 0 is 1; Place tells on which the transport
	// of a peer is, nil: all on the first.
	Count int
	Place func(peer int) int
	// LeastBitrate is what the estimates of WebRTCTransports begin with and never
	// fall below, in bit/s; 0: the defaults. Peers that nobody lets read can only
	// guess when packets came.
	LeastBitrate int
}

// A Layer is one stream of a [Track].
type Layer struct {
	PPS   int `json:"pps"`   // packets per second
	Burst int `json:"burst"` // packets that are sent back to back
	Size  int `json:"size"`  // bytes of RTP payload
}

// A Track is what one Producer forwards.
type Track struct {
	Peer   int
	Audio  bool
	Layers []Layer // more than one is simulcast, lowest first
	// KeyFrameRequestDelay is that of [mafalda.ProducerOptions].
	KeyFrameRequestDelay time.Duration
}

// A Subscription makes a peer receive a track, by its index.
type Subscription struct{ Peer, Track int }

// A Rig is a set of Workers, their Routers, and a Transport for each peer.
type Rig struct {
	*Host
	Settings
	Workers    []mafalda.Worker
	Routers    []mafalda.Router
	Transports []mafalda.Transport
	Producers  []mafalda.Producer
	Consumers  []mafalda.Consumer // guarded by mu in a storm

	shared    []mafalda.WebRTCServer // by Worker; nil with a port for each transport
	tracks    []Track
	first     []int // source of the lowest layer, by track
	sources   []sourceInfo
	mu        sync.Mutex
	piped     map[[2]int]bool // by track and Worker; guarded by mu in a storm
	sinks     []sinkInfo      // as piped
	reference *reference
	packet    int // bytes of the largest packet to a receiver, sealed

	// Of a forwarder that is not ours; see [Foreign].
	sent    func() uint64
	process int
}

// NewRig makes the Workers and Routers.
func (h *Host) NewRig(ctx context.Context, s Settings) (*Rig, error) {
	r := &Rig{Host: h, Settings: s, piped: map[[2]int]bool{}}
	if r.Place == nil {
		r.Place = func(int) int { return 0 }
	}
	for range max(s.Count, 1) {
		w, err := h.SFU.CreateWorker(ctx, mafalda.WorkerSettings{})
		if err != nil {
			return nil, err
		}
		if _, ok := w.(mafalda.CounterReporter); !ok {
			return nil, errors.New("the worker has no counters")
		}
		router, err := w.CreateRouter(ctx, mafalda.RouterOptions{MediaCodecs: []mafalda.RouterRTPCodecCapability{
			{Kind: mafalda.MediaKindVideo, MIMEType: "video/VP8", ClockRate: videoClock},
			{Kind: mafalda.MediaKindAudio, MIMEType: "audio/opus", ClockRate: audioClock, Channels: 2},
		}})
		if err != nil {
			return nil, err
		}
		r.Workers, r.Routers = append(r.Workers, w), append(r.Routers, router)
		var shared mafalda.WebRTCServer
		if !s.Plain && !s.EachPort {
			shared, err = w.CreateWebRTCServer(ctx, mafalda.WebRTCServerOptions{ListenInfos: h.listen()})
			if err != nil {
				return nil, err
			}
		}
		r.shared = append(r.shared, shared)
	}
	return r, nil
}

// Connect makes the Transports of the next n peers, and connects them.
func (r *Rig) Connect(ctx context.Context, n int) error {
	first := len(r.Transports)
	var endpoints []endpoint
	for i := first; i < first+n; i++ {
		t, e, err := r.create(ctx, i)
		if err != nil {
			return err
		}
		r.Transports = append(r.Transports, t)
		endpoints = append(endpoints, e)
	}
	if _, err := r.peers.do(command{Connect: &connectCommand{First: first, Transports: endpoints}}); err != nil {
		return err
	}
	for i, t := range r.Transports[first:] {
		if err := connected(ctx, t); err != nil {
			return fmt.Errorf("transport %d: %w", first+i, err)
		}
	}
	return nil
}

func (r *Rig) create(ctx context.Context, peer int) (mafalda.Transport, endpoint, error) {
	if r.Plain {
		return r.createPlain(ctx, peer)
	}
	return r.createWebRTC(ctx, peer)
}

// connected returns when the DTLS of a WebRTCTransport is connected. The peer
// thinks so before the SFU does.
func connected(ctx context.Context, t mafalda.Transport) error {
	w, ok := t.(mafalda.WebRTCTransport)
	if !ok {
		return nil
	}
	change := make(chan struct{}, 1)
	stop := w.Events().DTLSStateChange.On(func(mafalda.DTLSState) {
		select {
		case change <- struct{}{}:
		default:
		}
	})
	defer stop()
	for w.DTLSState() != mafalda.DTLSStateConnected {
		select {
		case <-change:
		case <-ctx.Done():
			return fmt.Errorf("DTLS state %s: %w", w.DTLSState(), ctx.Err())
		}
	}
	return nil
}

func (r *Rig) createWebRTC(ctx context.Context, peer int) (mafalda.Transport, endpoint, error) {
	// The peers make no further checks: nobody would see the answers.
	o := mafalda.WebRTCTransportOptions{
		ICEConsentTimeout:               new(time.Duration),
		InitialAvailableOutgoingBitrate: r.LeastBitrate,
	}
	worker := r.Place(peer)
	if o.WebRTCServer = r.shared[worker]; o.WebRTCServer == nil {
		o.ListenInfos = r.listen()
	}
	t, err := r.Routers[worker].CreateWebRTCTransport(ctx, o)
	if err != nil {
		return nil, endpoint{}, err
	}
	err = t.Connect(ctx, mafalda.WebRTCTransportConnectOptions{DTLSParameters: mafalda.DTLSParameters{
		Role: mafalda.DTLSRoleClient, Fingerprints: []mafalda.DTLSFingerprint{r.fingerprint},
	}})
	if err != nil {
		return nil, endpoint{}, err
	}
	if r.LeastBitrate > 0 {
		if err := t.SetMinOutgoingBitrate(ctx, r.LeastBitrate); err != nil {
			return nil, endpoint{}, err
		}
	}
	return t, endpoint{
		Addr: netip.AddrPortFrom(r.addr, t.ICECandidates()[0].Port),
		ICE:  new(t.ICEParameters()),
	}, nil
}

func (r *Rig) createPlain(ctx context.Context, peer int) (mafalda.Transport, endpoint, error) {
	name := mafalda.SRTPCryptoSuite(r.cfg.Suite)
	t, err := r.Routers[r.Place(peer)].CreatePlainTransport(ctx, mafalda.PlainTransportOptions{
		ListenInfo: r.listen()[0], EnableSRTP: true, SRTPCryptoSuite: name,
	})
	if err != nil {
		return nil, endpoint{}, err
	}
	key := make([]byte, suites[r.cfg.Suite].key+suites[r.cfg.Suite].salt)
	rand.Read(key)
	to := peerAddr(r.network, peer)
	err = t.Connect(ctx, mafalda.PlainTransportConnectOptions{
		IP: to.Addr(), Port: to.Port(),
		SRTPParameters: &mafalda.SRTPParameters{CryptoSuite: name, KeyBase64: base64.StdEncoding.EncodeToString(key)},
	})
	if err != nil {
		return nil, endpoint{}, err
	}
	ours, err := base64.StdEncoding.DecodeString(t.SRTPParameters().KeyBase64)
	if err != nil {
		return nil, endpoint{}, err
	}
	return t, endpoint{
		Addr:    netip.AddrPortFrom(r.addr, t.Tuple().LocalPort),
		SendKey: key, ReceiveKey: ours,
	}, nil
}

// Produce makes Producers of tracks.
func (r *Rig) Produce(ctx context.Context, tracks ...Track) error {
	var cmd streamsCommand
	for _, t := range tracks {
		index := len(r.tracks)
		params := sending(index, &t)
		o := mafalda.ProducerOptions{Kind: mafalda.MediaKindVideo, RTPParameters: params, KeyFrameRequestDelay: t.KeyFrameRequestDelay}
		if t.Audio {
			o.Kind = mafalda.MediaKindAudio
		}
		p, err := r.Transports[t.Peer].Produce(ctx, o)
		if err != nil {
			return err
		}
		r.tracks, r.Producers, r.first = append(r.tracks, t), append(r.Producers, p), append(r.first, len(r.sources))
		r.piped[[2]int{index, r.Place(t.Peer)}] = true
		for i, l := range t.Layers {
			info := sourceInfo{Peer: t.Peer, Stream: infoOf(params), Layer: l, Audio: t.Audio}
			info.Stream.SSRC = params.Encodings[i].SSRC
			cmd.Sources, r.sources = append(cmd.Sources, info), append(r.sources, info)
		}
	}
	_, err := r.peers.do(command{Streams: &cmd})
	return err
}

// Consume makes Consumers of subscriptions.
func (r *Rig) Consume(ctx context.Context, list ...Subscription) error {
	var cmd streamsCommand
	for _, s := range list {
		info, err := r.consume(ctx, s)
		if err != nil {
			return err
		}
		cmd.Sinks = append(cmd.Sinks, info)
	}
	_, err := r.peers.do(command{Streams: &cmd})
	return err
}

func (r *Rig) consume(ctx context.Context, s Subscription) (sinkInfo, error) {
	t, p := &r.tracks[s.Track], r.Producers[s.Track]
	worker := r.Place(s.Peer)
	router := r.Routers[worker]
	if err := r.pipe(ctx, s.Track, worker); err != nil {
		return sinkInfo{}, err
	}
	c, err := r.Transports[s.Peer].Consume(ctx, mafalda.ConsumerOptions{
		ProducerID: p.ID(), RTPCapabilities: receiving(router.RTPCapabilities()),
	})
	if err != nil {
		return sinkInfo{}, err
	}
	params := c.RTPParameters()
	info := sinkInfo{Peer: s.Peer, Stream: infoOf(params), Source: r.first[s.Track] + len(t.Layers) - 1}
	if !t.Audio && (params.Encodings[0].RTX == nil || info.Stream.WideExtension == 0) {
		return sinkInfo{}, errors.New("no RTX or no transport-cc was negotiated")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Consumers, r.sinks = append(r.Consumers, c), append(r.sinks, info)
	return info, nil
}

// pipe brings a track to a Worker.
func (r *Rig) pipe(ctx context.Context, track, worker int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if key := [2]int{track, worker}; !r.piped[key] {
		_, err := r.Routers[r.Place(r.tracks[track].Peer)].PipeToRouter(ctx, mafalda.PipeToRouterOptions{
			ProducerID: r.Producers[track].ID(), Router: r.Routers[worker],
		})
		if err != nil {
			return err
		}
		r.piped[key] = true
	}
	return nil
}

// decrypted is how many packets per second the peers' process can decrypt and
// compare on a busy machine.
const decrypted = 30_000

// Verify lets media flow and the receivers compare it with what was sent, until
// every receiver has the stream that it shall have. It ends with a run of which
// not one packet was lost; a busy machine has some tries for that.
func (r *Rig) Verify() error {
	var pps, longest, least float64
	copies := make([]float64, len(r.sources))
	for _, s := range r.sinks {
		copies[s.Source]++
	}
	for i, s := range r.sources {
		pps += float64(s.Layer.PPS) * (copies[i] + 0.5)
		longest = max(longest, float64(s.Layer.Burst)/float64(s.Layer.PPS))
	}
	if len(r.sources) > len(r.tracks) { // layers that stop are left
		least = min(1, 5*longest)
	}
	rate := min(1, max(decrypted/pps, least))
	run := Run{Duration: max(time.Second, time.Duration(2*longest/rate*float64(time.Second))), Rate: rate, Read: true, Learn: true}
	var err error
	for range verifications {
		var a Ran
		if a, err = r.Run(run); err != nil {
			run.Complete = false
			continue
		}
		r.packet = max(r.packet, a.Bytes)
		if a.Waiting == 0 && run.Complete {
			return nil
		}
		if run.Complete = a.Waiting == 0; !run.Complete {
			err = fmt.Errorf("%d of %d receivers do not get what they should", a.Waiting, len(r.sinks))
		}
	}
	return err
}

// verifications are the tries of [Rig.Verify].
const verifications = 12

// LiveBytes returns the bytes of live objects and of stacks.
func LiveBytes() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}
