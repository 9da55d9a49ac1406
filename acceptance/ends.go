package acceptance

import (
	"encoding/base64"
	"encoding/binary"
	"net"
	"net/netip"
	"testing"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/internal/peer"
)

// An end is the far side of a Transport: the endpoint.
type end struct {
	transport mafalda.Transport
	rtp, rtcp <-chan []byte // what it receives
	writeRTP  func([]byte) error
	writeRTCP func([]byte) error

	peer   *peer.Peer // of a WebRTCTransport
	packet *socket    // of a PlainTransport
	in     chan []byte
}

func (e *end) sendRTP(t testing.TB, p *rtp.Packet) {
	t.Helper()
	require.NoError(t, e.writeRTP(marshal(t, p)))
}

func (e *end) sendRTCP(t testing.TB, p ...rtcp.Packet) {
	t.Helper()
	require.NoError(t, e.writeRTCP(marshalRTCP(t, p...)))
}

// produce creates a Producer that the end feeds.
func (e *end) produce(t testing.TB, kind mafalda.MediaKind, p mafalda.RTPParameters) mafalda.Producer {
	t.Helper()
	return e.produceWith(t, mafalda.ProducerOptions{Kind: kind, RTPParameters: p})
}

func (e *end) produceWith(t testing.TB, o mafalda.ProducerOptions) mafalda.Producer {
	t.Helper()
	p, err := e.transport.Produce(t.Context(), o)
	require.NoError(t, err)
	if e.transport.Type() == mafalda.TransportTypeDirect {
		e.writeRTP = p.Send
	}
	return p
}

// consume creates a Consumer whose packets the end receives.
func (e *end) consume(t testing.TB, r *room, p mafalda.Producer) mafalda.Consumer {
	t.Helper()
	return e.consumeWith(t, mafalda.ConsumerOptions{ProducerID: p.ID(), RTPCapabilities: r.router.RTPCapabilities()})
}

func (e *end) consumeWith(t testing.TB, o mafalda.ConsumerOptions) mafalda.Consumer {
	t.Helper()
	c, err := e.transport.Consume(t.Context(), o)
	require.NoError(t, err)
	if e.transport.Type() == mafalda.TransportTypeDirect {
		t.Cleanup(c.Events().RTP.On(func(b []byte) {
			select {
			case e.in <- b:
			default:
			}
		}))
	}
	return c
}

// nextRTP returns the next packet of the stream, in a bounded time.
func (e *end) nextRTP(t testing.TB, ssrc uint32) *rtp.Packet {
	t.Helper()
	for {
		p := parseRTP(t, receive(t, e.rtp, "an RTP packet"))
		if p.SSRC == ssrc {
			return p
		}
	}
}

// next returns the next packet that the Consumer sends in its media stream.
func (e *end) next(t testing.TB, c mafalda.Consumer) *rtp.Packet {
	t.Helper()
	return e.nextRTP(t, c.RTPParameters().Encodings[0].SSRC)
}

// nextRTCP returns the next RTCP packet of type P for which match holds.
func nextRTCP[P rtcp.Packet](t testing.TB, e *end, match func(P) bool) P {
	t.Helper()
	for {
		for _, p := range parseRTCP(t, receive(t, e.rtcp, "an RTCP packet")) {
			if x, ok := p.(P); ok && (match == nil || match(x)) {
				return x
			}
		}
	}
}

// webRTCEnd connects an endpoint to a new WebRTCTransport.
func (r *room) webRTCEnd(t testing.TB, o mafalda.WebRTCTransportOptions, cfg peer.Config) *end {
	t.Helper()
	return dial(t, r.webRTC(t, o), cfg)
}

// dial connects an endpoint to a WebRTCTransport.
func dial(t testing.TB, tr mafalda.WebRTCTransport, cfg peer.Config) *end {
	t.Helper()
	p, err := peer.Dial(t.Context(), tr, cfg)
	require.NoError(t, err)
	t.Cleanup(p.Close)
	eventually(t, "DTLS is connected on our side too", func() bool {
		return tr.DTLSState() == mafalda.DTLSStateConnected
	})
	fingerprints := tr.DTLSParameters().Fingerprints
	require.NotEmpty(t, fingerprints)
	for _, f := range fingerprints {
		require.Equal(t, digest(f.Algorithm, p.RemoteCertificate()), f.Value)
	}
	return &end{
		transport: tr, rtp: p.RTP(), rtcp: p.RTCP(), writeRTP: p.WriteRTP, writeRTCP: p.WriteRTCP, peer: p,
	}
}

// directEnd makes a DirectTransport.
func (r *room) directEnd(t testing.TB) *end {
	t.Helper()
	tr := r.direct(t)
	e := &end{transport: tr, in: make(chan []byte, 4096)}
	e.rtp, e.rtcp = e.in, hear(t, &tr.Events().RTCP)
	e.writeRTCP = tr.SendRTCP
	e.writeRTP = func([]byte) error { t.Fatal("nothing is produced here"); return nil }
	return e
}

// A socket is a plain RTP endpoint: one or two UDP sockets, with or without
// SRTP.
type socket struct {
	rtp, rtcp *net.UDPConn // the same with rtcpMux
	in, ctl   chan []byte
	tx, rx    *srtp.Context // nil without SRTP
	to, toCtl netip.AddrPort
}

func openUDP(t testing.TB, ip netip.Addr) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip, 0)))
	require.NoError(t, err)
	require.NoError(t, c.SetReadBuffer(1<<20))
	t.Cleanup(func() { c.Close() })
	return c
}

func addrOf(c *net.UDPConn) netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }

// plainEnd makes a PlainTransport and connects an endpoint, unless it is
// comedia: then the first packet does it.
func (r *room) plainEnd(t testing.TB, o mafalda.PlainTransportOptions) *end {
	t.Helper()
	tr := r.plain(t, o)
	s := newSocket(t, tr)
	connect := mafalda.PlainTransportConnectOptions{}
	if !o.Comedia {
		a := addrOf(s.rtp)
		connect.IP, connect.Port = a.Addr(), a.Port()
		if tr.RTCPTuple() != nil {
			connect.RTCPPort = addrOf(s.rtcp).Port()
		}
	}
	if o.EnableSRTP {
		connect.SRTPParameters = s.useSRTP(t, tr.SRTPParameters().CryptoSuite)
	}
	if !o.Comedia || o.EnableSRTP {
		require.NoError(t, tr.Connect(t.Context(), connect))
	}
	if o.EnableSRTP {
		s.expectSRTP(t, *tr.SRTPParameters())
	}
	s.start()
	return &end{
		transport: tr, rtp: s.in, rtcp: s.ctl, writeRTP: s.writeRTP, writeRTCP: s.writeRTCP, packet: s,
	}
}

// newSocket opens what the transport can be reached from.
func newSocket(t testing.TB, tr mafalda.PlainTransport) *socket {
	t.Helper()
	tuple := tr.Tuple()
	ip, err := netip.ParseAddr(tuple.LocalAddress)
	require.NoError(t, err)
	s := &socket{in: make(chan []byte, 4096), ctl: make(chan []byte, 4096)}
	s.rtp = openUDP(t, ip)
	s.rtcp = s.rtp
	s.to = netip.AddrPortFrom(ip, tuple.LocalPort)
	s.toCtl = s.to
	if x := tr.RTCPTuple(); x != nil {
		s.rtcp = openUDP(t, ip)
		s.toCtl = netip.AddrPortFrom(ip, x.LocalPort)
	}
	return s
}

// masterLength is the bytes of key and salt of each suite.
var masterLength = map[mafalda.SRTPCryptoSuite]int{
	mafalda.SRTPAES256GCM: 44, mafalda.SRTPAES128GCM: 28, mafalda.SRTPAES128CM80: 30, mafalda.SRTPAES128CM32: 30,
}

var profiles = map[mafalda.SRTPCryptoSuite]srtp.ProtectionProfile{
	mafalda.SRTPAES256GCM:  srtp.ProtectionProfileAeadAes256Gcm,
	mafalda.SRTPAES128GCM:  srtp.ProtectionProfileAeadAes128Gcm,
	mafalda.SRTPAES128CM80: srtp.ProtectionProfileAes128CmHmacSha1_80,
	mafalda.SRTPAES128CM32: srtp.ProtectionProfileAes128CmHmacSha1_32,
}

func srtpContext(t testing.TB, p mafalda.SRTPParameters, o ...srtp.ContextOption) *srtp.Context {
	t.Helper()
	key, err := base64.StdEncoding.DecodeString(p.KeyBase64)
	require.NoError(t, err)
	require.Len(t, key, masterLength[p.CryptoSuite])
	n := 16
	if p.CryptoSuite == mafalda.SRTPAES256GCM {
		n = 32
	}
	c, err := srtp.CreateContext(key[:n], key[n:], profiles[p.CryptoSuite], o...)
	require.NoError(t, err)
	return c
}

// srtpKey returns a key that repeats b.
func srtpKey(suite mafalda.SRTPCryptoSuite, b byte) mafalda.SRTPParameters {
	key := make([]byte, masterLength[suite])
	for i := range key {
		key[i] = b + byte(i)
	}
	return mafalda.SRTPParameters{CryptoSuite: suite, KeyBase64: base64.StdEncoding.EncodeToString(key)}
}

// useSRTP makes a key to send with.
func (s *socket) useSRTP(t testing.TB, suite mafalda.SRTPCryptoSuite) *mafalda.SRTPParameters {
	t.Helper()
	p := srtpKey(suite, 7)
	s.tx = srtpContext(t, p)
	return &p
}

func (s *socket) expectSRTP(t testing.TB, p mafalda.SRTPParameters) {
	t.Helper()
	s.rx = srtpContext(t, p, srtp.SRTPNoReplayProtection(), srtp.SRTCPNoReplayProtection())
}

// start begins to read. The goroutines end when the sockets are closed.
func (s *socket) start() {
	go s.read(s.rtp)
	if s.rtcp != s.rtp {
		go s.read(s.rtcp)
	}
}

// probationSSRC is the stream of padding by which an SFU measures how much it
// may send. It means nothing to an endpoint.
const probationSSRC = 1234

func (s *socket) read(c *net.UDPConn) {
	for {
		b := make([]byte, 2048)
		n, err := c.Read(b)
		if err != nil {
			return
		}
		b = b[:n]
		if n < 4 {
			continue
		}
		isRTCP := b[1] >= 192 && b[1] <= 223
		if s.rx != nil {
			if isRTCP {
				b, err = s.rx.DecryptRTCP(nil, b, nil)
			} else {
				b, err = s.rx.DecryptRTP(nil, b, nil)
			}
			if err != nil {
				continue
			}
		}
		queue := s.in
		switch {
		case isRTCP:
			queue = s.ctl
		case len(b) >= 12 && binary.BigEndian.Uint32(b[8:]) == probationSSRC:
			continue
		}
		select {
		case queue <- b:
		default:
		}
	}
}

func (s *socket) writeRTP(b []byte) (err error) {
	if s.tx != nil {
		if b, err = s.tx.EncryptRTP(nil, b, nil); err != nil {
			return err
		}
	}
	_, err = s.rtp.WriteToUDPAddrPort(b, s.to)
	return err
}

func (s *socket) writeRTCP(b []byte) (err error) {
	if s.tx != nil {
		if b, err = s.tx.EncryptRTCP(nil, b, nil); err != nil {
			return err
		}
	}
	_, err = s.rtcp.WriteToUDPAddrPort(b, s.toCtl)
	return err
}
