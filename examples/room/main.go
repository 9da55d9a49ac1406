// Command room is a video conference in one Go file and one page, without any
// third-party script: start it, open the printed URL in two windows, talk.
//
// The path of the URL is the name of the room. A page has a WebSocket to this
// server, over which the two exchange SDP, and two PeerConnections: the page
// offers on the one that sends, the server on the one that receives. Package
// sdpbridge turns the SDP into Producers and Consumers.
//
// With -workers a room is as large as the machine: package vertical spreads it,
// and the page /workers shows over what. A few people stay on one Worker, unless
// -policy spread puts them on all.
//
// A program on this machine may be in a room as well: it joins over the same
// WebSocket, and sends and receives plain RTP. See examples/ffmpeg.
package main

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/sdpbridge"
	"github.com/mafalda-sfu/mafalda/vertical"
	"github.com/mafalda-sfu/mafalda/vertical/placement"
	"golang.org/x/net/websocket"
)

var (
	//go:embed index.html
	page []byte
	//go:embed workers.html
	workersPage []byte
)

var mediaCodecs = []mafalda.RouterRTPCodecCapability{
	{MIMEType: "audio/opus", ClockRate: 48000, Channels: 2, Parameters: map[string]any{"useinbandfec": 1}},
	{MIMEType: "video/VP8", ClockRate: 90000, Parameters: map[string]any{"x-google-start-bitrate": 1000}},
	{MIMEType: "video/H264", ClockRate: 90000, Parameters: map[string]any{
		"packetization-mode": 1, "profile-level-id": "42e01f", "level-asymmetry-allowed": 1,
	}},
}

var loopback = netip.MustParseAddr("127.0.0.1")

var (
	addr      = flag.String("addr", "127.0.0.1:3000", "`address` of the page; with -tls 0.0.0.0:3000 unless given")
	secure    = flag.Bool("tls", false, "https with a self-signed certificate, so that other devices may use their camera")
	announced = flag.String("announced", "", "`address` under which browsers reach this machine, if it is behind NAT")
	mediaPort = flag.Uint("media-port", 44444, "UDP and TCP `port` of media; with -workers the first of as many")
	workers   = flag.Int("workers", 1, "spread the rooms over up to `n` Workers, but no more than there are CPUs; see /workers")
	policy    = flag.String("policy", "concentrate", "with -workers, the `rule` by which a Transport gets its Worker: concentrate, spread, cascade or twochoice; docs/vertical.md tells them apart")
)

var policies = map[string]func() placement.Policy{
	"concentrate": placement.Concentrate,
	"spread":      placement.Spread,
	"cascade":     func() placement.Policy { return placement.CascadeHysteresis(0, 0) },
	"twochoice":   func() placement.Policy { return placement.TwoChoice(uint64(time.Now().UnixNano())) },
}

func main() {
	flag.Parse()
	if flag.NArg() > 0 {
		log.Fatalf("room: unexpected argument %q", flag.Arg(0))
	}
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "addr" })
	if *secure && !given {
		*addr = "0.0.0.0:3000"
	}
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.NumCPU() + max(1, *workers) + 4) // so that nothing delays the Workers' loops
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		log.Fatal("room: ", err)
	}
}

// run serves until ctx ends or the Worker dies.
func run(ctx context.Context) error {
	if *workers < 1 || *workers > 1000 {
		return fmt.Errorf("-workers %d is not between 1 and 1000", *workers)
	}
	if *mediaPort == 0 || *mediaPort > 65536-uint(*workers) {
		return fmt.Errorf("-media-port %d is not between 1 and %d, where %d ports in a row begin", *mediaPort, 65536-*workers, *workers)
	}
	place, ok := policies[*policy]
	switch {
	case !ok:
		return fmt.Errorf("-policy %q is none of %s", *policy, strings.Join(slices.Sorted(maps.Keys(policies)), ", "))
	case *policy != "concentrate" && *workers == 1:
		return fmt.Errorf("-policy %s has nothing to choose from without -workers", *policy)
	}
	s := &server{sfu: mafalda.New(), rooms: make(map[string]*room)}
	if *workers > 1 {
		s.sfu = vertical.New(s.sfu, vertical.Options{MaxWorkers: workers, Policy: place()}) // and that is all
	}
	defer s.sfu.Close()
	worker, err := s.sfu.CreateWorker(ctx, mafalda.WorkerSettings{LogLevel: mafalda.LogLevelWarn})
	if err != nil {
		return err
	}
	s.worker = worker
	ips := localIPs()
	s.ports, err = worker.CreateWebRTCServer(ctx, mafalda.WebRTCServerOptions{
		ListenInfos: listenInfos(ips, *announced, mediaPorts(uint16(*mediaPort), *workers)),
	})
	if err != nil {
		if e, ok := errors.AsType[*mafalda.Error](err); ok {
			err = e.Err // the id of the Worker tells nobody anything
		}
		if errors.Is(err, mafalda.ErrInvalidArgument) {
			return fmt.Errorf("-announced: %w", err)
		}
		return fmt.Errorf("opening the ports of media, from -media-port %d on: %w", *mediaPort, err)
	}
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		return err
	}
	web := &http.Server{Handler: s.handler(), ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(log.Writer(), "room: ", log.Flags()|log.Lmsgprefix)}
	context.AfterFunc(ctx, func() { web.Close() })
	worker.Events().Died.On(func(err error) { log.Print("room: the worker died: ", err); web.Close() })
	scheme := "http"
	if *secure {
		scheme = "https"
		certificate, err := selfSigned(ips, *announced)
		if err != nil {
			return err
		}
		listener = tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{certificate}})
	}
	at := listener.Addr().(*net.TCPAddr)
	if !at.IP.IsUnspecified() {
		ips = []netip.Addr{at.AddrPort().Addr()}
	}
	var hosts []string
	if *announced != "" && !at.IP.IsLoopback() {
		hosts = append(hosts, *announced)
	}
	for _, ip := range ips {
		if host := ip.Unmap().String(); host != *announced {
			hosts = append(hosts, host)
		}
	}
	for i, host := range hosts {
		hosts[i] = scheme + "://" + net.JoinHostPort(host, strconv.Itoa(at.Port))
	}
	fmt.Println("Open this in two windows, and any other path for another room:")
	for _, host := range hosts {
		fmt.Printf("  %s/lobby\n", host)
	}
	if *workers > 1 {
		fmt.Printf("What each Worker does:\n  %s/workers\n", hosts[len(hosts)-1])
	}
	if err := web.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// localIPs returns the IPv4 addresses of this machine, the loopback one last.
func localIPs() []netip.Addr {
	var ips []netip.Addr
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if n, err := netip.ParsePrefix(a.String()); err == nil && n.Addr().Is4() && n.Addr().IsGlobalUnicast() && len(ips) < 8 {
			ips = append(ips, n.Addr())
		}
	}
	return append(ips, loopback)
}

// mediaPorts are the ports of media: each Worker takes one.
func mediaPorts(first uint16, workers int) mafalda.PortRange {
	return mafalda.PortRange{Min: first, Max: first + uint16(workers-1)}
}

// listenInfos are UDP and TCP on one port of every address, or of all of them
// under one announced address.
func listenInfos(ips []netip.Addr, announced string, ports mafalda.PortRange) []mafalda.ListenInfo {
	if announced != "" {
		ips = []netip.Addr{netip.IPv4Unspecified()}
	}
	var list []mafalda.ListenInfo
	for _, protocol := range []mafalda.Protocol{mafalda.ProtocolUDP, mafalda.ProtocolTCP} {
		for _, ip := range ips {
			list = append(list, mafalda.ListenInfo{Protocol: protocol, IP: ip, PortRange: ports, AnnouncedAddress: announced})
		}
	}
	return list
}

// selfSigned returns a fresh certificate for all addresses of this machine.
func selfSigned(ips []netip.Addr, announced string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().AddDate(0, 1, 0),
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     []string{"localhost", cmp.Or(announced, "localhost")},
	}
	if ip, err := netip.ParseAddr(announced); err == nil {
		template.DNSNames, ips = template.DNSNames[:1], append(ips, ip)
	}
	for _, ip := range ips {
		template.IPAddresses = append(template.IPAddresses, ip.AsSlice())
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// A server has the rooms that somebody is in.
type server struct {
	sfu    mafalda.SFU
	worker mafalda.Worker
	ports  mafalda.WebRTCServer

	mu    sync.Mutex
	rooms map[string]*room // guarded by mu
}

func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", http.RedirectHandler("/lobby", http.StatusFound))
	if v, ok := s.sfu.(*vertical.SFU); ok {
		mux.HandleFunc("GET /workers", func(w http.ResponseWriter, r *http.Request) { servePage(w, workersPage) })
		mux.HandleFunc("GET /workers/usage", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			json.NewEncoder(w).Encode(v.Usage())
		})
	} else {
		mux.HandleFunc("GET /workers", func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, "There is one Worker. Start the room with -workers 2, and this page shows what each does.", http.StatusNotFound)
		})
	}
	mux.HandleFunc("GET /{room}", func(w http.ResponseWriter, r *http.Request) {
		servePage(w, page)
	})
	mux.HandleFunc("GET /{room}/socket", func(w http.ResponseWriter, r *http.Request) {
		if origin, err := url.Parse(r.Header.Get("Origin")); err != nil || origin.Host != r.Host {
			http.Error(w, "pages of other sites stay out", http.StatusForbidden)
			return
		}
		websocket.Handler(func(socket *websocket.Conn) { s.serve(r.Context(), r.PathValue("room"), socket) }).ServeHTTP(w, r)
	})
	return mux
}

func servePage(w http.ResponseWriter, page []byte) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Security-Policy", "default-src 'self' 'unsafe-inline'; img-src data:; media-src blob:; connect-src 'self' ws: wss:")
	w.Write(page)
}

// A message goes either way over the WebSocket of a page.
type message struct {
	Type   string            `json:"type"`
	Name   string            `json:"name,omitempty"`   // join
	SDP    string            `json:"sdp,omitempty"`    // join (what it can receive), publish, published, offer, answer
	Labels map[string]string `json:"labels,omitempty"` // publish: mic, camera or screen by MID
	MID    string            `json:"mid,omitempty"`    // pause, layer
	Layer  int               `json:"layer,omitempty"`  // layer: the spatial one that is large enough
	Paused bool              `json:"paused,omitempty"` // pause
	ID     string            `json:"id,omitempty"`     // joined: who the page is
	Tracks map[string]track  `json:"tracks,omitempty"` // offer: what is sent, by MID
	Peers  []peerInfo        `json:"peers,omitempty"`  // peers
	Chats  map[uint16]string `json:"chats,omitempty"`  // peers: who writes on which stream to the page
	Error  string            `json:"error,omitempty"`  // error

	// Of a program, in place of SDP.
	Plain   bool     `json:"plain,omitempty"`   // join
	Streams []stream `json:"streams,omitempty"` // joined: what it is to send; receiving: what it gets
	Peer    string   `json:"peer,omitempty"`    // receive: whose microphone and camera; speaker: who speaks
	Ports   []uint16 `json:"ports,omitempty"`   // receive: for each the port of RTP on this machine; RTCP has the next
}

// A stream is what a program needs to know of one it sends or receives.
type stream struct {
	Kind     mafalda.MediaKind          `json:"kind"`
	Codec    mafalda.RTPCodecParameters `json:"codec"`
	SSRC     uint32                     `json:"ssrc"`
	Port     uint16                     `json:"port"` // of RTP
	RTCPPort uint16                     `json:"rtcpPort"`
}

// A track tells whose stream one is. It is the application data of Consumers.
type track struct {
	Peer  string `json:"peer"`
	Label string `json:"label"`
}

type peerInfo struct {
	ID     string          `json:"id"`
	Name   string          `json:"name"`
	Paused map[string]bool `json:"paused"` // by label
}

// A room has a Router and who is in it.
type room struct {
	router mafalda.Router

	dominant atomic.Pointer[mafalda.DominantSpeaker] // who speaks

	mu      sync.Mutex                    // held for one message at a time
	peers   []*peer                       // guarded by mu
	speaker mafalda.ActiveSpeakerObserver // guarded by mu
}

// A peer is one page, or a program. Its fields are guarded by the mutex of its room.
type peer struct {
	id, name   string // no id: not welcomed yet
	socket     *websocket.Conn
	out        chan message        // to the page
	transports []mafalda.Transport // all it has

	// Those of a page; nil in a program.
	in, outgoing mafalda.WebRTCTransport
	publish      *sdpbridge.Session   // over in: the page offers
	receive      *sdpbridge.Session   // over outgoing: we offer
	labels       map[string]string    // of what it publishes, by MID
	offering     bool                 // an offer of ours is on its way
	chat         mafalda.DataProducer // what it writes
}

// serve is the life of a page's WebSocket.
func (s *server) serve(ctx context.Context, name string, socket *websocket.Conn) {
	socket.MaxPayloadBytes = 1 << 20
	var m message
	if websocket.JSON.Receive(socket, &m) != nil || m.Type != "join" {
		return
	}
	p := &peer{name: shorten(m.Name), socket: socket, out: make(chan message, 64)}
	ended := make(chan struct{})
	defer close(ended)
	go p.write(ended)
	r, err := s.enter(ctx, name, p)
	if err == nil {
		defer s.leave(name, r, p)
		if m.Plain {
			err = r.welcomeProgram(ctx, p)
		} else {
			err = r.welcome(ctx, s.ports, p, m.SDP)
		}
	}
	for err == nil {
		m = message{}
		if websocket.JSON.Receive(socket, &m) != nil {
			return // the page is gone
		}
		err = r.handle(ctx, p, m)
	}
	log.Printf("room %q, %q: %v", name, p.name, err)
	_ = websocket.JSON.Send(socket, message{Type: "error", Error: err.Error()})
}

// enter lets p into a room, which it makes for the first one.
func (s *server) enter(ctx context.Context, name string, p *peer) (*room, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rooms[name]
	if r == nil {
		router, err := s.worker.CreateRouter(ctx, mafalda.RouterOptions{MediaCodecs: mediaCodecs})
		if err != nil {
			return nil, err
		}
		r = &room{router: router}
		if err := r.watchSpeaker(ctx); err != nil {
			router.Close()
			return nil, err
		}
		s.rooms[name] = r
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.peers = append(r.peers, p)
	return r, nil
}

// watchSpeaker has the Router say who speaks.
func (r *room) watchSpeaker(ctx context.Context) error {
	speaker, err := r.router.CreateActiveSpeakerObserver(ctx, mafalda.ActiveSpeakerObserverOptions{})
	if err != nil {
		return err
	}
	r.speaker = speaker
	speaker.Events().DominantSpeaker.On(func(d mafalda.DominantSpeaker) {
		r.dominant.Store(&d)
		go r.speaks() // who closes the Producer of who speaks holds the mutex: somebody else is dominant then
	})
	speaker.Events().RouterClose.On(func(struct{}) { go r.watchSpeakerAgain() }) // who closes the Router holds the mutex
	return nil
}

// watchSpeakerAgain is for when a Worker under vertical died: the Router goes on
// without what was there.
func (r *room) watchSpeakerAgain() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.router.Closed() {
		return
	}
	ctx := context.Background()
	if err := r.watchSpeaker(ctx); err != nil {
		log.Print("room: nobody says who speaks: ", err)
		return
	}
	for _, p := range r.peers {
		if err := r.listen(ctx, p.producers()); err != nil {
			log.Print("room: nobody says whether somebody speaks: ", err)
		}
	}
}

// leave removes p, and the room with the last one.
func (s *server) leave(name string, r *room, p *peer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.peers = slices.DeleteFunc(r.peers, func(q *peer) bool { return q == p })
	for _, t := range p.transports {
		t.Close() // and with it what others receive of p
	}
	if len(r.peers) == 0 {
		delete(s.rooms, name)
		r.router.Close()
	}
	r.announce()
}

// welcome makes the transports of p and sends it what the others publish.
func (r *room) welcome(ctx context.Context, ports mafalda.WebRTCServer, p *peer, capabilities string) (err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	caps, err := sdpbridge.ParseRTPCapabilities(capabilities, r.router.RTPCapabilities())
	if err != nil {
		return err
	}
	for _, t := range []*mafalda.WebRTCTransport{&p.in, &p.outgoing} {
		if *t, err = r.router.CreateWebRTCTransport(ctx, mafalda.WebRTCTransportOptions{
			WebRTCServer: ports, PreferUDP: true,
			SCTPOptions: mafalda.SCTPOptions{EnableSCTP: true, MaxReceiveMessageSize: maxChat},
		}); err != nil {
			return err
		}
		p.transports = append(p.transports, *t)
		(*t).Events().ICEStateChange.On(func(state mafalda.ICEState) {
			if state == mafalda.ICEStateDisconnected {
				p.socket.Close() // a page that is still there comes again
			}
		})
		// So it does when a Worker has died: vertical starts another.
		(*t).Events().RouterClose.On(func(struct{}) { p.socket.Close() })
	}
	p.id = p.in.ID()
	p.publish, err = sdpbridge.NewSession(sdpbridge.Options{Router: r.router, Transport: p.in, Accept: func(o *mafalda.ProducerOptions) bool {
		o.AppData = p.labels[o.RTPParameters.MID]
		o.KeyFrameRequestDelay = 500 * time.Millisecond
		return len(p.in.Producers()) < 8
	}})
	if err != nil {
		return err
	}
	p.receive, err = sdpbridge.NewSession(sdpbridge.Options{
		Router: r.router, Transport: p.outgoing, RTPCapabilities: caps, Probator: true,
	})
	if err != nil {
		return err
	}
	p.chat, err = p.in.ProduceData(ctx, mafalda.DataProducerOptions{
		Label: "chat", SCTPStreamParameters: &mafalda.SCTPStreamParameters{StreamID: chatStream},
	})
	if err != nil {
		return err
	}
	p.send(message{Type: "joined", ID: p.id})
	r.tellSpeaker(p)
	for _, q := range r.peers {
		if q == p || q.id == "" {
			continue
		}
		r.connect(ctx, q, q.producers(), p)
		if err := errors.Join(r.connectChat(ctx, p, q), r.connectChat(ctx, q, p)); err != nil {
			return err
		}
	}
	r.negotiate(ctx, p)
	r.announce()
	return nil
}

const (
	chatStream = 0    // on which a page writes
	maxChat    = 4000 // bytes of a message
)

// connectChat lets a page read what another writes, on a stream of its own.
func (r *room) connectChat(ctx context.Context, from, to *peer) error {
	if from.chat == nil || to.chat == nil { // a program
		return nil
	}
	_, err := to.outgoing.ConsumeData(ctx, mafalda.DataConsumerOptions{DataProducerID: from.chat.ID(), AppData: track{Peer: from.id}})
	return err
}

// welcomeProgram tells p where to send sound and a picture, and the others
// that they will come.
func (r *room) welcomeProgram(ctx context.Context, p *peer) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if from, err := netip.ParseAddrPort(p.socket.Request().RemoteAddr); err != nil || !from.Addr().Unmap().IsLoopback() {
		return errors.New("a program has to run on the machine of the room, for its RTP is not encrypted")
	}
	var streams []stream
	for i, label := range []string{"mic", "camera"} {
		codec := mediaCodecs[i]
		kind, _, _ := strings.Cut(codec.MIMEType, "/")
		t, err := r.plainTransport(ctx, p, true)
		if err != nil {
			return err
		}
		s := stream{
			Kind:  mafalda.MediaKind(kind),
			Codec: mafalda.RTPCodecParameters{MIMEType: codec.MIMEType, PayloadType: uint8(100 + i), ClockRate: codec.ClockRate, Channels: codec.Channels},
			SSRC:  uint32(1000 + i), Port: t.Tuple().LocalPort, RTCPPort: t.RTCPTuple().LocalPort,
		}
		if _, err = t.Produce(ctx, mafalda.ProducerOptions{Kind: s.Kind, AppData: label, RTPParameters: mafalda.RTPParameters{
			Codecs: []mafalda.RTPCodecParameters{s.Codec}, Encodings: []mafalda.RTPEncodingParameters{{SSRC: s.SSRC}},
		}}); err != nil {
			return err
		}
		streams = append(streams, s)
		p.id = t.ID()
	}
	if err := r.listen(ctx, p.producers()); err != nil {
		return err
	}
	p.send(message{Type: "joined", ID: p.id, Streams: streams})
	r.tellSpeaker(p)
	for _, q := range r.peers {
		if q != p {
			r.connect(ctx, p, p.producers(), q)
		}
	}
	r.announce()
	return nil
}

// plainTransport makes one of p's: to receive from wherever its RTP comes, or
// to send. RTCP has its own port, as ffmpeg wants it.
func (r *room) plainTransport(ctx context.Context, p *peer, comedia bool) (mafalda.PlainTransport, error) {
	if len(p.transports) >= 8 {
		return nil, errors.New("too many transports")
	}
	t, err := r.router.CreatePlainTransport(ctx, mafalda.PlainTransportOptions{
		ListenInfo: mafalda.ListenInfo{Protocol: mafalda.ProtocolUDP, IP: loopback}, RTCPMux: new(false), Comedia: comedia,
	})
	if err == nil {
		p.transports = append(p.transports, t)
		t.Events().RouterClose.On(func(struct{}) { p.socket.Close() }) // as of a page
	}
	return t, err
}

// receive tells a program what it gets of another peer. The Consumers are
// paused until the program listens.
func (r *room) receive(ctx context.Context, p *peer, m message) error {
	caps := r.router.RTPCapabilities()
	caps.HeaderExtensions = nil
	var streams []stream
	for _, from := range r.peers {
		for _, producer := range from.producers() {
			label, _ := mafalda.AppDataAs[string](producer)
			if from.id != m.Peer || producer.Paused() || label == "screen" || len(streams) == len(m.Ports) {
				continue
			}
			t, err := r.plainTransport(ctx, p, false)
			if err != nil {
				return err
			}
			port := m.Ports[len(streams)]
			if err := t.Connect(ctx, mafalda.PlainTransportConnectOptions{IP: loopback, Port: port, RTCPPort: port + 1}); err != nil {
				return err
			}
			consumer, err := t.Consume(ctx, mafalda.ConsumerOptions{
				ProducerID: producer.ID(), RTPCapabilities: caps, EnableRTX: new(false), Paused: true,
			})
			if err != nil {
				return err
			}
			params := consumer.RTPParameters()
			streams = append(streams, stream{
				Kind: consumer.Kind(), Codec: params.Codecs[0], SSRC: params.Encodings[0].SSRC, Port: port, RTCPPort: port + 1,
			})
		}
	}
	p.send(message{Type: "receiving", Streams: streams})
	return nil
}

// handle does what a page or a program asks for.
func (r *room) handle(ctx context.Context, p *peer, m message) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if page := m.Type == "publish" || m.Type == "answer" || m.Type == "layer"; page != (p.publish != nil) && m.Type != "pause" {
		return fmt.Errorf("%q is not for you", m.Type)
	}
	switch m.Type {
	case "publish":
		before := p.in.Producers()
		p.labels = m.Labels
		answer, err := p.publish.Answer(ctx, m.SDP)
		if err != nil {
			return err
		}
		p.send(message{Type: "published", SDP: answer})
		added := slices.DeleteFunc(p.in.Producers(), func(x mafalda.Producer) bool { return slices.Contains(before, x) })
		if err := r.listen(ctx, added); err != nil {
			return err
		}
		for _, q := range r.peers {
			if q != p {
				r.connect(ctx, p, added, q)
			}
		}
		r.announce()
	case "answer":
		if err := p.receive.SetAnswer(ctx, m.SDP); err != nil {
			return err
		}
		p.offering = false
		r.negotiate(ctx, p)
	case "pause":
		for _, producer := range p.producers() {
			change := producer.Resume
			if m.Paused {
				change = producer.Pause
			}
			if producer.RTPParameters().MID == m.MID {
				if err := change(ctx); err != nil {
					return err
				}
			}
		}
		r.announce()
	case "layer":
		for _, consumer := range p.outgoing.Consumers() {
			if consumer.RTPParameters().MID == m.MID && consumer.PreferredLayers() != nil {
				return consumer.SetPreferredLayers(ctx, mafalda.ConsumerLayers{SpatialLayer: max(0, m.Layer)})
			}
		}
	case "receive":
		return r.receive(ctx, p, m)
	case "listening": // the program is ready for what it receives
		for _, t := range p.transports {
			for _, consumer := range t.Consumers() {
				if err := consumer.Resume(ctx); err != nil { // which asks for a key frame
					return err
				}
			}
		}
	}
	return nil
}

// listen lets the room know who speaks.
func (r *room) listen(ctx context.Context, producers []mafalda.Producer) error {
	for _, p := range producers {
		if p.Kind() != mafalda.MediaKindAudio {
			continue
		}
		if err := r.speaker.AddProducer(ctx, p.ID()); err != nil && !r.speaker.Closed() { // else the next one gets it
			return err
		}
	}
	return nil
}

// speaks tells everybody who speaks.
func (r *room) speaks() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tellSpeaker(r.peers...)
}

// tellSpeaker tells those who speaks, if anybody does who is still there.
func (r *room) tellSpeaker(to ...*peer) {
	s := r.dominant.Load()
	if s == nil {
		return
	}
	for _, from := range r.peers {
		if !slices.Contains(from.producers(), s.Producer) {
			continue
		}
		for _, p := range to {
			p.send(message{Type: "speaker", Peer: from.id})
		}
	}
}

// connect sends what from publishes to another page. A program asks for what it
// wants.
func (r *room) connect(ctx context.Context, from *peer, producers []mafalda.Producer, to *peer) {
	if to.receive == nil {
		return
	}
	for _, producer := range producers {
		label, _ := mafalda.AppDataAs[string](producer)
		consumer, err := to.receive.Consume(ctx, mafalda.ConsumerOptions{
			ProducerID: producer.ID(), AppData: track{Peer: from.id, Label: label},
		})
		if err != nil {
			log.Printf("room: %q does not get the %s of %q: %v", to.name, label, from.name, err)
			continue
		}
		consumer.Observer().Close.On(func(struct{}) {
			go func() { // ends with the negotiation
				r.mu.Lock()
				defer r.mu.Unlock()
				r.negotiate(context.Background(), to)
			}()
		})
	}
	r.negotiate(ctx, to)
}

// negotiate offers to p what changed, one offer at a time.
func (r *room) negotiate(ctx context.Context, p *peer) {
	if p.offering || p.outgoing.Closed() || !p.receive.NegotiationNeeded() {
		return
	}
	offer, err := p.receive.Offer(ctx)
	if err != nil {
		log.Printf("room: offer to %q: %v", p.name, err)
		return
	}
	tracks := make(map[string]track)
	for _, c := range p.outgoing.Consumers() {
		tracks[c.RTPParameters().MID], _ = mafalda.AppDataAs[track](c)
	}
	p.offering = true
	p.send(message{Type: "offer", SDP: offer, Tracks: tracks})
}

// chats tells by stream whose messages p gets.
func (p *peer) chats() map[uint16]string {
	chats := make(map[uint16]string)
	if p.outgoing != nil {
		for _, c := range p.outgoing.DataConsumers() {
			from, _ := mafalda.AppDataAs[track](c)
			chats[c.SCTPStreamParameters().StreamID] = from.Peer
		}
	}
	return chats
}

// announce tells everybody who is there.
func (r *room) announce() {
	peers := []peerInfo{}
	for _, p := range r.peers {
		if p.id == "" {
			continue
		}
		info := peerInfo{ID: p.id, Name: p.name, Paused: map[string]bool{}}
		for _, producer := range p.producers() {
			label, _ := mafalda.AppDataAs[string](producer)
			info.Paused[label] = producer.Paused()
		}
		peers = append(peers, info)
	}
	for _, p := range r.peers {
		if p.id != "" {
			p.send(message{Type: "peers", Peers: peers, Chats: p.chats()})
		}
	}
}

// producers are what p sends.
func (p *peer) producers() (list []mafalda.Producer) {
	for _, t := range p.transports {
		list = append(list, t.Producers()...)
	}
	return list
}

// send queues a message. A page that does not read is dropped.
func (p *peer) send(m message) {
	select {
	case p.out <- m:
	default:
		p.socket.Close()
	}
}

// write sends what is queued until the page is gone.
func (p *peer) write(ended <-chan struct{}) {
	for {
		select {
		case m := <-p.out:
			p.socket.SetWriteDeadline(time.Now().Add(10 * time.Second))
			if websocket.JSON.Send(p.socket, m) != nil {
				p.socket.Close()
			}
		case <-ended:
			return
		}
	}
}

func shorten(name string) string {
	letters := []rune(strings.TrimSpace(name))
	return cmp.Or(string(letters[:min(len(letters), 40)]), "somebody")
}
