package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/mafalda-sfu/mafalda"
)

// socketBuffer is the size that sockets ask for, in bytes.
const socketBuffer = 4 << 20

// A server has the SFU under test.
type server struct {
	o       *options
	sink    string
	addr    netip.Addr
	network [4]byte // of the peers

	peers     *remotePeers
	worker    mafalda.Worker
	counters  mafalda.CounterReporter
	router    mafalda.Router
	shared    mafalda.WebRTCServer // nil with a port for each transport
	transport []mafalda.Transport  // of the sender, then of the receivers
	endpoints []endpoint
	producer  mafalda.Producer
	consumers []mafalda.Consumer
	reference *reference

	memory memory
	packet int // bytes of a packet to a receiver, sealed
}

// memory is what the server's heap and stacks have grown by, in bytes.
type memory struct {
	transports int64 // by all transports, connected
	consumers  int64 // by all consumers but the first
}

// runServer is the server's process.
func runServer(o *options, sink string) error {
	if o.memProfile != "" {
		runtime.MemProfileRate = 1
	}
	s := &server{o: o, sink: sink, addr: loopServer, network: loopPeers}
	var tun *os.File
	if sink == sinkTUN {
		var err error
		if tun, err = openTUN(); err != nil {
			fmt.Fprintln(os.Stderr, "fanout:", err)
			os.Exit(exitNoSink)
		}
		s.addr, s.network = tunServer, tunPeers
	}
	p, err := startPeers(tun)
	if tun != nil {
		tun.Close()
	}
	if err != nil {
		return err
	}
	defer p.stop()
	s.peers = p

	sfu := mafalda.New()
	defer sfu.Close()
	if err := s.prepare(sfu); err != nil {
		return err
	}
	return s.measure()
}

// prepare brings the SFU to where every consumer gets what is produced.
func (s *server) prepare(sfu mafalda.SFU) error {
	limit := time.Minute + time.Duration(s.o.Consumers)*20*time.Millisecond
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	var err error
	if s.worker, err = sfu.CreateWorker(ctx, mafalda.WorkerSettings{}); err != nil {
		return err
	}
	var ok bool
	if s.counters, ok = s.worker.(mafalda.CounterReporter); !ok {
		return errors.New("the worker has no counters")
	}
	if s.router, err = s.worker.CreateRouter(ctx, mafalda.RouterOptions{MediaCodecs: []mafalda.RouterRTPCodecCapability{
		{Kind: mafalda.MediaKindVideo, MIMEType: "video/VP8", ClockRate: clockRate},
	}}); err != nil {
		return err
	}
	if s.o.Transport == transportWebRTC && s.o.Ports == portsOne {
		s.shared, err = s.worker.CreateWebRTCServer(ctx, mafalda.WebRTCServerOptions{ListenInfos: s.listen()})
		if err != nil {
			return err
		}
	}
	empty := heap()
	if err := s.createTransports(ctx); err != nil {
		return err
	}
	connected := heap()
	s.memory.transports = connected - empty
	if err := s.createStreams(ctx); err != nil {
		return err
	}
	s.reference, err = startReference(s.o, s.addr, s.network, s.packet-suites[s.o.Suite].overhead)
	return err
}

func (s *server) listen() []mafalda.ListenInfo {
	return []mafalda.ListenInfo{{
		Protocol: mafalda.ProtocolUDP, IP: s.addr, SendBufferSize: socketBuffer, RecvBufferSize: socketBuffer,
	}}
}

// createTransports creates all transports and connects them to their peers.
func (s *server) createTransports(ctx context.Context) error {
	for i := range 1 + s.o.Consumers {
		create := s.createWebRTC
		if s.o.Transport == transportPlain {
			create = s.createPlain
		}
		t, e, err := create(ctx, peerAddr(s.network, i))
		if err != nil {
			return err
		}
		s.transport = append(s.transport, t)
		s.endpoints = append(s.endpoints, e)
	}
	// The reference loop starts later, when the length of packets is known.
	if _, err := s.peers.do(command{Connect: &connectCommand{Transport: s.endpoints}}); err != nil {
		return err
	}
	for i, t := range s.transport {
		w, ok := t.(mafalda.WebRTCTransport)
		for ok && w.DTLSState() != mafalda.DTLSStateConnected {
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("transport %d has DTLS state %s: %w", i, w.DTLSState(), err)
			}
			time.Sleep(time.Millisecond)
		}
	}
	return nil
}

func (s *server) createWebRTC(ctx context.Context, _ netip.AddrPort) (mafalda.Transport, endpoint, error) {
	// The peers make no further checks: nobody would see the answers.
	o := mafalda.WebRTCTransportOptions{ICEConsentTimeout: new(time.Duration)}
	if s.shared != nil {
		o.WebRTCServer = s.shared
	} else {
		o.ListenInfos = s.listen()
	}
	t, err := s.router.CreateWebRTCTransport(ctx, o)
	if err != nil {
		return nil, endpoint{}, err
	}
	err = t.Connect(ctx, mafalda.WebRTCTransportConnectOptions{DTLSParameters: mafalda.DTLSParameters{
		Role: mafalda.DTLSRoleClient, Fingerprints: []mafalda.DTLSFingerprint{s.peers.fingerprint},
	}})
	if err != nil {
		return nil, endpoint{}, err
	}
	return t, endpoint{
		Addr: netip.AddrPortFrom(s.addr, t.ICECandidates()[0].Port),
		ICE:  new(t.ICEParameters()),
	}, nil
}

func (s *server) createPlain(ctx context.Context, peer netip.AddrPort) (mafalda.Transport, endpoint, error) {
	t, err := s.router.CreatePlainTransport(ctx, mafalda.PlainTransportOptions{
		ListenInfo: s.listen()[0], EnableSRTP: true, SRTPCryptoSuite: mafalda.SRTPCryptoSuite(s.o.Suite),
	})
	if err != nil {
		return nil, endpoint{}, err
	}
	key := make([]byte, suites[s.o.Suite].key+suites[s.o.Suite].salt)
	rand.Read(key)
	err = t.Connect(ctx, mafalda.PlainTransportConnectOptions{
		IP: peer.Addr(), Port: peer.Port(),
		SRTPParameters: &mafalda.SRTPParameters{
			CryptoSuite: mafalda.SRTPCryptoSuite(s.o.Suite), KeyBase64: base64.StdEncoding.EncodeToString(key),
		},
	})
	if err != nil {
		return nil, endpoint{}, err
	}
	ours, err := base64.StdEncoding.DecodeString(t.SRTPParameters().KeyBase64)
	if err != nil {
		return nil, endpoint{}, err
	}
	return t, endpoint{
		Addr:    netip.AddrPortFrom(s.addr, t.Tuple().LocalPort),
		SendKey: key, ReceiveKey: ours,
	}, nil
}

// createStreams produces and consumes. The first consumer comes alone, so that
// what all share is there before the others are weighed.
func (s *server) createStreams(ctx context.Context) (err error) {
	s.producer, err = s.transport[0].Produce(ctx, mafalda.ProducerOptions{
		Kind: mafalda.MediaKindVideo, RTPParameters: sending(),
	})
	if err != nil {
		return err
	}
	if err := s.consume(ctx, 1); err != nil {
		return err
	}
	if err := s.verify(); err != nil {
		return err
	}
	first := heap()
	if err := s.consume(ctx, s.o.Consumers); err != nil {
		return err
	}
	if err := s.verify(); err != nil {
		return err
	}
	s.memory.consumers = heap() - first
	return nil
}

// consume creates consumers until there are n, and tells the peers.
func (s *server) consume(ctx context.Context, n int) error {
	caps := receiving(s.router.RTPCapabilities())
	for i := len(s.consumers); i < n; i++ {
		c, err := s.transport[1+i].Consume(ctx, mafalda.ConsumerOptions{ProducerID: s.producer.ID(), RTPCapabilities: caps})
		if err != nil {
			return err
		}
		if p := c.RTPParameters(); p.Encodings[0].RTX == nil {
			return errors.New("no RTX was negotiated")
		}
		s.consumers = append(s.consumers, c)
	}
	cmd := streamsCommand{Producer: infoOf(sending())}
	for _, c := range s.consumers {
		cmd.Consumers = append(cmd.Consumers, infoOf(c.RTPParameters()))
	}
	if cmd.Consumers[0].WideExtension == 0 {
		return errors.New("no transport-cc was negotiated")
	}
	_, err := s.peers.do(command{Streams: &cmd})
	return err
}

// verified is how many packets per second the peers' process can decrypt and
// compare on a busy machine.
const verified = 30_000

// verify lets media flow and the receivers compare it with what was sent. It
// ends with at least a burst for everyone, and fails when one packet is lost.
func (s *server) verify() error {
	pps := max(1, min(s.o.PPS, verified/s.o.Consumers))
	duration := max(time.Second, 2*time.Second*time.Duration(s.o.Burst)/time.Duration(pps))
	a, err := s.peers.do(command{Run: &runCommand{Duration: duration, PPS: pps, Read: true, Verify: true}})
	if err != nil {
		return err
	}
	s.packet = a.Run.Bytes
	return nil
}

// sending are the parameters of a browser's camera.
func sending() mafalda.RTPParameters {
	return mafalda.RTPParameters{
		MID: "0",
		Codecs: []mafalda.RTPCodecParameters{
			{
				MIMEType: "video/VP8", PayloadType: 96, ClockRate: clockRate,
				RTCPFeedback: []mafalda.RTCPFeedback{
					{Type: "goog-remb"}, {Type: "transport-cc"}, {Type: "ccm", Parameter: "fir"},
					{Type: "nack"}, {Type: "nack", Parameter: "pli"},
				},
			},
			{MIMEType: "video/rtx", PayloadType: 97, ClockRate: clockRate, Parameters: map[string]any{"apt": 96}},
		},
		HeaderExtensions: []mafalda.RTPHeaderExtensionParameters{
			{URI: mafalda.RTPHeaderExtensionAbsSendTime, ID: 2},
			{URI: mafalda.RTPHeaderExtensionTransportWideCC, ID: 3},
			{URI: mafalda.RTPHeaderExtensionMID, ID: 4},
		},
		Encodings: []mafalda.RTPEncodingParameters{{SSRC: 11111111, RTX: &mafalda.RTXParameters{SSRC: 22222222}}},
		RTCP:      mafalda.RTCPParameters{CNAME: "sender", ReducedSize: true},
	}
}

// receiving are the capabilities of a browser for what a Router has.
func receiving(c mafalda.RTPCapabilities) mafalda.RTPCapabilities {
	known := []mafalda.RTPHeaderExtensionURI{
		mafalda.RTPHeaderExtensionMID, mafalda.RTPHeaderExtensionRTPStreamID, mafalda.RTPHeaderExtensionRepairedRTPStreamID,
		mafalda.RTPHeaderExtensionAbsSendTime, mafalda.RTPHeaderExtensionTransportWideCC,
		mafalda.RTPHeaderExtensionDependencyDescriptor, mafalda.RTPHeaderExtensionVideoOrientation,
		mafalda.RTPHeaderExtensionTimeOffset, mafalda.RTPHeaderExtensionPlayoutDelay,
	}
	c.HeaderExtensions = slices.DeleteFunc(c.HeaderExtensions, func(e mafalda.RTPHeaderExtension) bool {
		return !slices.Contains(known, e.URI)
	})
	return c
}

func infoOf(p mafalda.RTPParameters) streamInfo {
	id := func(uri mafalda.RTPHeaderExtensionURI) uint8 {
		for _, e := range p.HeaderExtensions {
			if e.URI == uri {
				return e.ID
			}
		}
		return 0
	}
	return streamInfo{
		SSRC: p.Encodings[0].SSRC, PayloadType: p.Codecs[0].PayloadType, MID: p.MID,
		MIDExtension:         id(mafalda.RTPHeaderExtensionMID),
		AbsSendTimeExtension: id(mafalda.RTPHeaderExtensionAbsSendTime),
		WideExtension:        id(mafalda.RTPHeaderExtensionTransportWideCC),
	}
}

// heap returns the bytes of live objects and of stacks.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}
