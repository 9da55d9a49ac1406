package mafalda_test

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/internal/peer"
	"github.com/mafalda-sfu/mafalda/internal/twcc"
)

// A guest is an endpoint, or for a DirectTransport the application.
type guest struct {
	m         *meeting
	name      string
	hall      *hall
	transport mafalda.Transport
	peer      *peer.Peer         // of a WebRTCTransport
	data      *peer.Data         // nil: none
	write     func([]byte) error // nil: by the Producer
	writeRTCP func([]byte) error
	media     bool // it can do more than data
	estimated bool // it tells us what came, so that we estimate the bandwidth
	lossy     bool

	gone bool // owned by the meeting

	stop chan struct{}
	wg   sync.WaitGroup

	mu        sync.Mutex
	sources   []*origin            // guarded by mu
	datas     []*dataSource        // guarded by mu
	sinks     map[uint32]*sink     // by SSRC; guarded by mu
	dataSinks map[uint16]*dataSink // by stream; guarded by mu
	arrivals  *twcc.Recorder       // guarded by mu
	wide      uint8                // the header extension that numbers packets, 0: none yet; guarded by mu
	began     time.Time
}

func (m *meeting) newGuest(name string, h *hall, tr mafalda.Transport) *guest {
	g := &guest{
		m: m, name: name, hall: h, transport: tr, stop: make(chan struct{}), media: true, began: time.Now(), lossy: m.rng.IntN(3) == 0,
		sinks: map[uint32]*sink{}, dataSinks: map[uint16]*dataSink{}, arrivals: twcc.New(),
	}
	m.guests = append(m.guests, g)
	m.h.came()
	return g
}

// webRTC lets a guest come over WebRTC.
func (m *meeting) webRTC(name string, h *hall) *guest {
	o := webRTCOptions()
	if h.server != nil && m.rng.IntN(2) == 0 {
		o = mafalda.WebRTCTransportOptions{WebRTCServer: h.server}
	}
	withData := m.rng.IntN(2) == 0
	o.EnableSCTP = withData
	tr := newWebRTC(m, h.router, o)
	g := m.newGuest(name, h, tr)
	g.estimated = m.rng.IntN(2) == 0
	cfg := peer.Config{TCP: m.rng.IntN(4) == 0, Server: m.rng.IntN(2) == 0, Queue: 1 << 12, Probation: g.estimated}
	m.do("dial", name, func(ctx context.Context) (err error) {
		g.peer, err = peer.Dial(ctx, tr, cfg)
		return err
	})
	m.eventually("DTLS is connected", func() bool { return tr.DTLSState() == mafalda.DTLSStateConnected })
	g.write, g.writeRTCP = g.peer.WriteRTP, g.peer.WriteRTCP
	if withData {
		d, err := g.peer.Data(m.Context(), true)
		require.NoError(m, err)
		g.data = d
	}
	g.wg.Go(func() {
		for {
			select {
			case b := <-g.peer.RTP():
				g.takeRTP(b)
			case b := <-g.peer.RTCP():
				g.takeRTCP(b)
			case <-g.stop:
				return
			}
		}
	})
	g.start()
	return g
}

// plain lets a guest come over UDP without ICE, with or without SRTP.
func (m *meeting) plain(name string, h *hall) *guest {
	encrypted, comedia := m.rng.IntN(3) == 0, m.rng.IntN(2) == 0
	tr, err := h.router.CreatePlainTransport(m.Context(), mafalda.PlainTransportOptions{
		ListenInfo: webRTCOptions().ListenInfos[0], EnableSRTP: encrypted, Comedia: comedia, SRTPCryptoSuite: mafalda.SRTPAES128GCM,
	})
	require.NoError(m, err)
	g := m.newGuest(name, h, tr)
	conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(loopback, tr.Tuple().LocalPort)))
	require.NoError(m, err)
	require.NoError(m, conn.SetReadBuffer(1<<20))
	var o mafalda.PlainTransportConnectOptions
	if !comedia {
		o.IP, o.Port = loopback, conn.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	}
	var tx, rx *srtp.Context
	if encrypted {
		key := make([]byte, 28)
		fill(m.rng, key)
		o.SRTPParameters = &mafalda.SRTPParameters{CryptoSuite: mafalda.SRTPAES128GCM, KeyBase64: base64.StdEncoding.EncodeToString(key)}
		tx, err = srtp.CreateContext(key[:16], key[16:], srtp.ProtectionProfileAeadAes128Gcm)
		require.NoError(m, err)
		theirs, err := base64.StdEncoding.DecodeString(tr.SRTPParameters().KeyBase64)
		require.NoError(m, err)
		rx, err = srtp.CreateContext(theirs[:16], theirs[16:], srtp.ProtectionProfileAeadAes128Gcm,
			srtp.SRTPReplayProtection(1024), srtp.SRTCPReplayProtection(1024))
		require.NoError(m, err)
	}
	if encrypted || !comedia {
		require.NoError(m, tr.Connect(m.Context(), o))
	}
	var mu sync.Mutex // tx
	g.write = func(b []byte) (err error) {
		mu.Lock()
		defer mu.Unlock()
		if tx != nil {
			if b, err = tx.EncryptRTP(nil, b, nil); err != nil {
				return err
			}
		}
		_, err = conn.Write(b)
		return err
	}
	g.writeRTCP = func(b []byte) (err error) {
		mu.Lock()
		defer mu.Unlock()
		if tx != nil {
			if b, err = tx.EncryptRTCP(nil, b, nil); err != nil {
				return err
			}
		}
		_, err = conn.Write(b)
		return err
	}
	g.wg.Go(func() { // ends with the socket
		b := make([]byte, 2048)
		for {
			n, err := conn.Read(b)
			select {
			case <-g.stop:
				return
			default:
			}
			if err != nil || n < 12 {
				continue
			}
			p, isRTCP := append([]byte(nil), b[:n]...), b[1] >= 192 && b[1] <= 223
			if rx != nil && isRTCP {
				p, err = rx.DecryptRTCP(nil, p, nil)
			} else if rx != nil {
				p, err = rx.DecryptRTP(nil, p, nil)
			}
			switch {
			case err != nil:
			case isRTCP:
				g.takeRTCP(p)
			default:
				g.takeRTP(p)
			}
		}
	})
	g.wg.Go(func() {
		<-g.stop
		conn.Close()
	})
	if comedia { // so that the transport knows us
		r, err := rtcp.Marshal([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: 1}})
		require.NoError(m, err)
		m.eventually("the address is learned", func() bool {
			g.writeRTCP(r)
			return tr.Tuple().RemotePort != 0
		})
	}
	g.start()
	return g
}

// plainData lets a guest come with SCTP over UDP.
func (m *meeting) plainData(name string, h *hall) *guest {
	tr, err := h.router.CreatePlainTransport(m.Context(), mafalda.PlainTransportOptions{
		ListenInfo: webRTCOptions().ListenInfos[0], Comedia: true, SCTPOptions: mafalda.SCTPOptions{EnableSCTP: true},
	})
	require.NoError(m, err)
	g := m.newGuest(name, h, tr)
	g.media = false
	conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(loopback, tr.Tuple().LocalPort)))
	require.NoError(m, err)
	g.data, err = peer.Associate(m.Context(), conn, true)
	require.NoError(m, err)
	g.start()
	return g
}

// direct lets the application take part.
func (m *meeting) direct(name string, h *hall) *guest {
	tr, err := h.router.CreateDirectTransport(m.Context(), mafalda.DirectTransportOptions{})
	require.NoError(m, err)
	g := m.newGuest(name, h, tr)
	g.lossy = false // it hands out what it does not get, once
	g.writeRTCP = tr.SendRTCP
	tr.Events().RTCP.On(g.takeRTCP)
	g.start()
	return g
}

// start begins to send. What runs ends with stop.
func (g *guest) start() {
	g.wg.Go(func() {
		tick := time.NewTicker(g.m.h.beat)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-tick.C:
				g.beat(n)
			case <-g.stop:
				return
			}
		}
	})
	if g.data == nil {
		return
	}
	g.wg.Go(func() {
		for {
			select {
			case x := <-g.data.Messages():
				g.mu.Lock()
				k := g.dataSinks[x.Stream]
				g.mu.Unlock()
				if k != nil {
					k.take(x.Data)
				}
			case id := <-g.data.Resets():
				g.data.Reset(id) // as browsers do
			case <-g.stop:
				return
			}
		}
	})
}

// leave ends the far side of a guest: with good manners, or without a word.
func (g *guest) leave(silent bool) {
	close(g.stop)
	switch {
	case g.peer != nil && silent:
		g.peer.Vanish()
	case g.peer != nil:
		if g.data != nil {
			g.data.Close()
		}
		g.peer.Close()
	}
	if g.data != nil && (silent || g.peer == nil) {
		g.data.Close()
	}
	g.wg.Wait()
	g.m.h.went()
}

func (g *guest) beat(n int) {
	g.mu.Lock()
	sources, datas := slices.Clone(g.sources), slices.Clone(g.datas)
	sinks := make([]*sink, 0, len(g.sinks))
	for ssrc, k := range g.sinks {
		if ssrc == k.ssrc {
			sinks = append(sinks, k)
		}
	}
	var feedback []byte
	if g.estimated {
		feedback, _ = g.arrivals.Next(nil)
	}
	g.mu.Unlock()
	for _, s := range sources {
		s.beat(n)
	}
	for _, s := range datas {
		s.beat()
	}
	if len(feedback) > 0 {
		g.writeRTCP(feedback)
	}
	if n%3 != 0 {
		return // round trips are short, but retransmissions at most every 100 ms
	}
	for _, k := range sinks {
		if lost := k.asks(); len(lost) > 0 {
			slices.Sort(lost)
			b, err := rtcp.Marshal([]rtcp.Packet{&rtcp.TransportLayerNack{MediaSSRC: k.ssrc, Nacks: rtcp.NackPairsFromSequenceNumbers(lost)}})
			if err == nil {
				g.writeRTCP(b)
			}
		}
	}
}

func (g *guest) takeRTP(b []byte) {
	var p rtp.Packet
	if p.Unmarshal(b) != nil {
		return
	}
	g.mu.Lock()
	k := g.sinks[p.SSRC]
	if v := p.GetExtension(g.wide); g.wide != 0 && len(v) == 2 {
		g.arrivals.Received(time.Since(g.began), binary.BigEndian.Uint16(v), p.SSRC)
	}
	g.mu.Unlock()
	if k != nil {
		k.take(&p)
	}
}

func (g *guest) takeRTCP(b []byte) {
	packets, err := rtcp.Unmarshal(b)
	if err != nil {
		return
	}
	for _, p := range packets {
		switch p := p.(type) {
		case *rtcp.PictureLossIndication:
			if s := g.sourceOf(p.MediaSSRC); s != nil {
				s.keyFrame()
			}
		case *rtcp.FullIntraRequest:
			for _, f := range p.FIR {
				if s := g.sourceOf(f.SSRC); s != nil {
					s.keyFrame()
				}
			}
		case *rtcp.TransportLayerNack:
			if s := g.sourceOf(p.MediaSSRC); s != nil {
				var lost []uint16
				for _, n := range p.Nacks {
					lost = append(lost, n.PacketList()...)
				}
				s.again(p.MediaSSRC, lost)
			}
		}
	}
}

func (g *guest) sourceOf(ssrc uint32) *origin {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, s := range g.sources {
		if s.tag == ssrc>>4 {
			return s
		}
	}
	return nil
}

// feed begins or ends to send what s sends.
func (g *guest) feed(s *origin, on bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sources = slices.DeleteFunc(g.sources, func(x *origin) bool { return x == s })
	if on {
		g.sources = append(g.sources, s)
	}
}

func (g *guest) feedData(s *dataSource, on bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.datas = slices.DeleteFunc(g.datas, func(x *dataSource) bool { return x == s })
	if on {
		g.datas = append(g.datas, s)
	}
}

// expect begins or ends to check what k gets.
func (g *guest) expect(k *sink, on bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.wide = max(g.wide, k.wide) // all have the same
	for _, ssrc := range []uint32{k.ssrc, k.rtx} {
		if ssrc == 0 {
			continue
		}
		if on {
			g.sinks[ssrc] = k
		} else {
			delete(g.sinks, ssrc)
		}
	}
}

func (g *guest) expectData(k *dataSink, on bool) {
	p := k.consumer.SCTPStreamParameters()
	if p == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if on {
		g.dataSinks[p.StreamID] = k
	} else {
		delete(g.dataSinks, p.StreamID)
	}
}

// seedOf makes a generator for a goroutine of its own.
func seedOf(rng *rand.Rand) *rand.Rand { return rand.New(rand.NewPCG(rng.Uint64(), rng.Uint64())) }
