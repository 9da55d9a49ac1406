// Peers measures what others make of the fan-out of bench/fanout: a forwarder
// on pion/webrtc, with one TrackLocalStaticRTP for each receiver and the
// interceptors that it has by default, behind one port.
//
//	go run ./bench/peers
//
// It is measured like ours, beside the same loop. Its receivers send reports, but
// no transport-cc: pion puts no such numbers on what it sends unless it is asked.
// The last line is one JSON object, a [result].
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/webrtc/v4"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/bench/internal/harness"
)

type options struct {
	Consumers int           `json:"consumers"`
	Seconds   int           `json:"seconds"`
	Layer     harness.Layer `json:"layer"`
}

// result is what the last line says.
type result struct {
	harness.ForeignFigures
	AllocsPerPacket float64 `json:"allocsPerPacket"`
	Ran             struct {
		options
		harness.Machine
	} `json:"ran"`
}

func main() {
	o := &options{Layer: harness.Layer{PPS: 200, Burst: 4, Size: 1100}}
	f := harness.NewFlags("peers")
	f.IntVar(&o.Consumers, "consumers", 300, 1, 2000, "receivers")
	f.IntVar(&o.Seconds, "seconds", 7, 3, 60, "pairs of slices")
	f.BurstVar(&o.Layer.Burst)
	f.MustParse()
	limit := 90*time.Second + time.Duration(4*o.Seconds)*time.Second + time.Duration(o.Consumers)*20*time.Millisecond
	harness.Main(harness.Program{Name: "peers", Limit: limit, Serve: o.serve})
}

func (o *options) serve(_ context.Context, h *harness.Host) error {
	if err := h.Configure(harness.DefaultConfig(1 + o.Consumers)); err != nil {
		return err
	}
	p, err := newForwarder(h)
	if err != nil {
		return err
	}
	f, err := p.listen(h, o)
	if err != nil {
		return err
	}
	v, pairs, err := h.MeasureForeign("pion/webrtc", f, o.Seconds, p.start)
	if err != nil {
		return err
	}
	r := &result{ForeignFigures: v, AllocsPerPacket: pairs.AllocsPerPacket}
	r.Ran.options, r.Ran.Machine = *o, harness.ThisMachine()
	return errors.Join(harness.Print(r), pairs.Check())
}

// A forwarder is an SFU for one sender, as one makes it of pion/webrtc.
type forwarder struct {
	api    *webrtc.API
	conn   *net.UDPConn
	peers  []*transport
	tracks []*webrtc.TrackLocalStaticRTP
	sent   atomic.Uint64
}

// A transport is one peer. The first one sends.
type transport struct {
	gatherer *webrtc.ICEGatherer
	ice      *webrtc.ICETransport
	dtls     *webrtc.DTLSTransport
	sender   *webrtc.RTPSender
	started  chan error
}

var vp8 = webrtc.RTPCodecParameters{
	RTPCodecCapability: webrtc.RTPCodecCapability{
		MimeType: webrtc.MimeTypeVP8, ClockRate: 90000,
		RTCPFeedback: []webrtc.RTCPFeedback{{Type: "nack"}, {Type: "nack", Parameter: "pli"}},
	},
	PayloadType: harness.ForeignPayloadType,
}

// socketBuffer is the size that our sockets ask for as well, in bytes.
const socketBuffer = 4 << 20

func newForwarder(h *harness.Host) (*forwarder, error) {
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(addrPort(h)))
	if err != nil {
		return nil, err
	}
	if err := errors.Join(conn.SetReadBuffer(socketBuffer), conn.SetWriteBuffer(socketBuffer)); err != nil {
		return nil, err
	}
	var s webrtc.SettingEngine
	s.SetLite(true)
	s.SetICEUDPMux(webrtc.NewICEUDPMux(nil, conn))
	s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	s.SetIncludeLoopbackCandidate(true)
	s.SetICETimeouts(time.Hour, time.Hour, 0) // the peers make no further checks
	var m webrtc.MediaEngine
	if err := m.RegisterCodec(vp8, webrtc.RTPCodecTypeVideo); err != nil {
		return nil, err
	}
	var i interceptor.Registry
	if err := webrtc.RegisterDefaultInterceptors(&m, &i); err != nil {
		return nil, err
	}
	return &forwarder{
		conn: conn,
		api:  webrtc.NewAPI(webrtc.WithSettingEngine(s), webrtc.WithMediaEngine(&m), webrtc.WithInterceptorRegistry(&i)),
	}, nil
}

// listen makes a transport for each peer, which then wait for it.
func (p *forwarder) listen(h *harness.Host, o *options) (harness.Foreign, error) {
	f := harness.Foreign{
		Addr: p.conn.LocalAddr().(*net.UDPAddr).AddrPort(), Layer: o.Layer, Sent: p.sent.Load,
	}
	fingerprint := h.Fingerprint()
	for i := range 1 + o.Consumers {
		t, err := p.transport()
		if err != nil {
			return f, err
		}
		p.peers = append(p.peers, t)
		local, err := t.gatherer.GetLocalParameters()
		if err != nil {
			return f, err
		}
		f.ICE = append(f.ICE, mafalda.ICEParameters{UsernameFragment: local.UsernameFragment, Password: local.Password, ICELite: true})
		if i > 0 {
			ssrc, err := p.addTrack(t)
			if err != nil {
				return f, err
			}
			f.SSRCs = append(f.SSRCs, ssrc)
		}
		go func() { // ends when the peer has connected, or with the process
			role := webrtc.ICERoleControlled
			err := t.ice.Start(t.gatherer, webrtc.ICEParameters{
				UsernameFragment: harness.PeerUfrag, Password: harness.PeerPassword,
			}, &role)
			if err == nil {
				err = t.dtls.Start(webrtc.DTLSParameters{
					Role:         webrtc.DTLSRoleClient,
					Fingerprints: []webrtc.DTLSFingerprint{{Algorithm: string(fingerprint.Algorithm), Value: fingerprint.Value}},
				})
			}
			t.started <- err
		}()
	}
	return f, nil
}

func (p *forwarder) transport() (t *transport, err error) {
	t = &transport{started: make(chan error, 1)}
	if t.gatherer, err = p.api.NewICEGatherer(webrtc.ICEGatherOptions{}); err != nil {
		return nil, err
	}
	done := make(chan struct{})
	t.gatherer.OnLocalCandidate(func(c *webrtc.ICECandidate) {
		if c == nil {
			close(done)
		}
	})
	if err := t.gatherer.Gather(); err != nil {
		return nil, err
	}
	<-done
	t.ice = p.api.NewICETransport(t.gatherer)
	t.dtls, err = p.api.NewDTLSTransport(t.ice, nil)
	return t, err
}

// addTrack gives a peer what it receives, and returns its SSRC.
func (p *forwarder) addTrack(t *transport) (uint32, error) {
	track, err := webrtc.NewTrackLocalStaticRTP(vp8.RTPCodecCapability, "video", "stream")
	if err != nil {
		return 0, err
	}
	if t.sender, err = p.api.NewRTPSender(track, t.dtls); err != nil {
		return 0, err
	}
	p.tracks = append(p.tracks, track)
	return uint32(t.sender.GetParameters().Encodings[0].SSRC), nil
}

// connecting is how long the handshakes may take after the peers are done.
const connecting = 10 * time.Second

// start begins to forward, when all have connected.
func (p *forwarder) start() error {
	ctx, cancel := context.WithTimeout(context.Background(), connecting)
	defer cancel()
	for i, t := range p.peers {
		select {
		case err := <-t.started:
			if err != nil {
				return fmt.Errorf("peer %d: %w", i, err)
			}
		case <-ctx.Done():
			return fmt.Errorf("peer %d: %w", i, ctx.Err())
		}
		if t.sender == nil {
			continue
		}
		if err := t.sender.Send(t.sender.GetParameters()); err != nil {
			return err
		}
		go func() { // reports have to be read; ends with the process
			b := make([]byte, 1500)
			for {
				if _, _, err := t.sender.Read(b); err != nil {
					return
				}
			}
		}()
	}
	receiver, err := p.api.NewRTPReceiver(webrtc.RTPCodecTypeVideo, p.peers[0].dtls)
	if err != nil {
		return err
	}
	err = receiver.Receive(webrtc.RTPReceiveParameters{Encodings: []webrtc.RTPDecodingParameters{{
		RTPCodingParameters: webrtc.RTPCodingParameters{SSRC: harness.ForeignSSRC, PayloadType: vp8.PayloadType},
	}}})
	if err != nil {
		return err
	}
	go p.forward(receiver.Track()) // ends with the process
	return nil
}

func (p *forwarder) forward(from *webrtc.TrackRemote) {
	for {
		packet, _, err := from.ReadRTP()
		if err != nil {
			return
		}
		for _, to := range p.tracks {
			if err := to.WriteRTP(packet); err == nil {
				p.sent.Add(1)
			}
		}
	}
}

// addrPort is any port of the server's address.
func addrPort(h *harness.Host) netip.AddrPort { return netip.AddrPortFrom(h.Addr(), 0) }
