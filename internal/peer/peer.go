// Package peer is the other side of a WebRTC transport for tests, benchmarks
// and load: a controlling ICE agent of few lines, Pion's DTLS and SRTP, and
// whole RTP and RTCP packets in and out. It does what it is told, also what a
// well-behaved endpoint would not do.
package peer

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/dtls/v3/pkg/crypto/selfsign"
	"github.com/pion/srtp/v3"

	"github.com/mafalda-sfu/mafalda"
)

// Config says how a Peer behaves. The zero value is a DTLS client over UDP.
type Config struct {
	// Server makes the Peer the DTLS server.
	Server bool
	// TCP makes it use a TCP candidate.
	TCP bool
	// Local is the address to bind; invalid: any loopback port.
	Local netip.AddrPort
	// Remote replaces the address of the candidate, as a relay does.
	Remote netip.AddrPort
	// Profiles are the SRTP profiles it offers or takes, default all four.
	Profiles []dtls.SRTPProtectionProfile
	// Certificate is its own, default a fresh one.
	Certificate *tls.Certificate
	// NoNominate leaves USE-CANDIDATE out of the checks.
	NoNominate bool
	// Keepalive is the time between ICE checks, default 1 s; negative: none.
	Keepalive time.Duration
	// Queue is how many packets wait to be read, default 1,024. When it is
	// full the newest is dropped.
	Queue int
	// Probation lets [Peer.RTP] have the packets of padding, too.
	Probation bool
}

// A Peer is one endpoint. Its methods may be called by many goroutines.
type Peer struct {
	cfg    Config
	wire   *wire
	ice    agent
	cert   tls.Certificate
	dtls   *dtls.Conn
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	rtp, rtcp chan []byte
	app       chan []byte // application data of DTLS

	lost      atomic.Int64 // packets that found the queue full
	probation atomic.Int64 // packets of padding
	dtlsDone  chan struct{}

	// Guarded by mu.
	mu         sync.Mutex
	tx, rx     *srtp.Context
	profile    dtls.SRTPProtectionProfile
	remoteCert []byte // DER
}

// New makes a Peer that does nothing yet.
func New(cfg Config) (*Peer, error) {
	if cfg.Certificate == nil {
		c, err := selfsign.GenerateSelfSigned()
		if err != nil {
			return nil, err
		}
		cfg.Certificate = &c
	}
	if len(cfg.Profiles) == 0 {
		cfg.Profiles = []dtls.SRTPProtectionProfile{
			dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AEAD_AES_256_GCM,
			dtls.SRTP_AES128_CM_HMAC_SHA1_80, dtls.SRTP_AES128_CM_HMAC_SHA1_32,
		}
	}
	if cfg.Keepalive == 0 {
		cfg.Keepalive = time.Second
	}
	if cfg.Queue == 0 {
		cfg.Queue = 1024
	}
	p := &Peer{
		cfg: cfg, cert: *cfg.Certificate,
		rtp: make(chan []byte, cfg.Queue), rtcp: make(chan []byte, cfg.Queue),
		app: make(chan []byte, cfg.Queue), dtlsDone: make(chan struct{}),
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p, nil
}

// Dial connects a new Peer to a transport: ICE, DTLS, SRTP.
func Dial(ctx context.Context, t mafalda.WebRTCTransport, cfg Config) (*Peer, error) {
	p, err := New(cfg)
	if err != nil {
		return nil, err
	}
	if err := t.Connect(ctx, mafalda.WebRTCTransportConnectOptions{DTLSParameters: p.DTLSParameters()}); err != nil {
		return nil, err
	}
	if err := p.Connect(ctx, t.ICEParameters(), t.ICECandidates()); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// DTLSParameters are what the transport has to be connected with.
func (p *Peer) DTLSParameters() mafalda.DTLSParameters {
	sum := sha256.Sum256(p.cert.Certificate[0])
	hexes := make([]string, len(sum))
	for i, b := range sum {
		hexes[i] = strings.ToUpper(hex.EncodeToString([]byte{b}))
	}
	role := mafalda.DTLSRoleClient
	if p.cfg.Server {
		role = mafalda.DTLSRoleServer
	}
	return mafalda.DTLSParameters{Role: role, Fingerprints: []mafalda.DTLSFingerprint{
		{Algorithm: mafalda.FingerprintSHA256, Value: strings.Join(hexes, ":")},
	}}
}

// Connect runs ICE and DTLS and returns when media can flow.
func (p *Peer) Connect(ctx context.Context, ice mafalda.ICEParameters, candidates []mafalda.ICECandidate) error {
	if err := p.ConnectICE(ctx, ice, candidates); err != nil {
		return err
	}
	return p.Handshake(ctx)
}

// ConnectICE opens the socket and returns when a check was answered.
func (p *Peer) ConnectICE(ctx context.Context, ice mafalda.ICEParameters, candidates []mafalda.ICECandidate) error {
	remote, err := p.candidate(candidates)
	if err != nil {
		return err
	}
	w, err := openWire(ctx, p.cfg.TCP, p.cfg.Local, remote)
	if err != nil {
		return err
	}
	p.wire = w
	p.ice.init(ice, !p.cfg.NoNominate)
	p.wg.Add(1)
	go p.read() // ends with the wire
	if err := p.ice.check(ctx, w); err != nil {
		return err
	}
	if p.cfg.Keepalive > 0 {
		p.wg.Add(1)
		go p.keepalive() // ends with p.ctx
	}
	return nil
}

func (p *Peer) candidate(candidates []mafalda.ICECandidate) (netip.AddrPort, error) {
	if p.cfg.Remote.IsValid() {
		return p.cfg.Remote, nil
	}
	want := mafalda.ProtocolUDP
	if p.cfg.TCP {
		want = mafalda.ProtocolTCP
	}
	for _, c := range candidates {
		if c.Protocol != want {
			continue
		}
		a, err := netip.ParseAddr(c.Address)
		if err != nil {
			return netip.AddrPort{}, err
		}
		return netip.AddrPortFrom(a, c.Port), nil
	}
	return netip.AddrPort{}, fmt.Errorf("no %s candidate", want)
}

// Handshake runs DTLS and makes the SRTP keys.
func (p *Peer) Handshake(ctx context.Context) error {
	var conn *dtls.Conn
	var err error
	if p.cfg.Server {
		conn, err = dtls.ServerWithOptions(p.wire.dtls(), p.wire.remote,
			dtls.WithCertificates(p.cert), dtls.WithSRTPProtectionProfiles(p.cfg.Profiles...),
			dtls.WithInsecureSkipVerify(true), dtls.WithClientAuth(dtls.RequireAnyClientCert),
			dtls.WithFlightInterval(100*time.Millisecond), dtls.WithInsecureSkipVerifyHello(true))
	} else {
		conn, err = dtls.ClientWithOptions(p.wire.dtls(), p.wire.remote,
			dtls.WithCertificates(p.cert), dtls.WithSRTPProtectionProfiles(p.cfg.Profiles...),
			dtls.WithInsecureSkipVerify(true), dtls.WithFlightInterval(100*time.Millisecond))
	}
	if err != nil {
		return err
	}
	p.dtls = conn
	if err := conn.HandshakeContext(ctx); err != nil {
		return err
	}
	state, ok := conn.ConnectionState()
	if !ok {
		return errors.New("no DTLS state")
	}
	profile, ok := conn.SelectedSRTPProtectionProfile()
	if !ok {
		return errors.New("no SRTP profile")
	}
	cfg := srtp.Config{Profile: srtp.ProtectionProfile(profile)}
	if err := cfg.ExtractSessionKeysFromDTLS(&state, !p.cfg.Server); err != nil {
		return err
	}
	tx, err := srtp.CreateContext(cfg.Keys.LocalMasterKey, cfg.Keys.LocalMasterSalt, cfg.Profile)
	if err != nil {
		return err
	}
	rx, err := srtp.CreateContext(cfg.Keys.RemoteMasterKey, cfg.Keys.RemoteMasterSalt, cfg.Profile,
		srtp.SRTPReplayProtection(1024), srtp.SRTCPReplayProtection(1024))
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.tx, p.rx, p.profile, p.remoteCert = tx, rx, profile, state.PeerCertificates[0]
	p.mu.Unlock()
	p.wg.Add(1)
	go p.readDTLS() // ends with the DTLS connection
	return nil
}

// RemoteCertificate returns the certificate of the other side in DER, nil before the
// Handshake. It is not checked: that is for who knows what it must be.
func (p *Peer) RemoteCertificate() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.remoteCert
}

// readDTLS takes application data, and notices the other side's close_notify.
func (p *Peer) readDTLS() {
	defer p.wg.Done()
	defer close(p.dtlsDone)
	b := make([]byte, 1<<16)
	for {
		n, err := p.dtls.Read(b)
		if err != nil {
			return
		}
		select {
		case p.app <- append([]byte(nil), b[:n]...):
		default:
			p.lost.Add(1)
		}
	}
}

// DTLSClosed is closed when the other side has ended DTLS.
func (p *Peer) DTLSClosed() <-chan struct{} { return p.dtlsDone }

// Profile is the SRTP profile that was agreed on.
func (p *Peer) Profile() dtls.SRTPProtectionProfile {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.profile
}

// RTP has the RTP packets received, decrypted.
func (p *Peer) RTP() <-chan []byte { return p.rtp }

// RTCP has the RTCP compounds received, decrypted.
func (p *Peer) RTCP() <-chan []byte { return p.rtcp }

// Overflow returns how many packets found their queue full.
func (p *Peer) Overflow() int64 { return p.lost.Load() }

// WriteRTP encrypts and sends an RTP packet.
func (p *Peer) WriteRTP(b []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tx == nil {
		return net.ErrClosed
	}
	out, err := p.tx.EncryptRTP(nil, b, nil)
	if err != nil {
		return err
	}
	return p.wire.write(out)
}

// WriteRTCP encrypts and sends an RTCP compound.
func (p *Peer) WriteRTCP(b []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tx == nil {
		return net.ErrClosed
	}
	out, err := p.tx.EncryptRTCP(nil, b, nil)
	if err != nil {
		return err
	}
	return p.wire.write(out)
}

// WriteRaw sends b as it is.
func (p *Peer) WriteRaw(b []byte) error { return p.wire.write(b) }

// Check runs one ICE check with these credentials and waits for the answer.
func (p *Peer) Check(ctx context.Context, ice mafalda.ICEParameters) error {
	p.ice.use(ice)
	return p.ice.check(ctx, p.wire)
}

// LocalAddr is the address it sends from.
func (p *Peer) LocalAddr() netip.AddrPort { return p.wire.local() }

func (p *Peer) read() {
	defer p.wg.Done()
	for {
		b, err := p.wire.read()
		if err != nil {
			p.wire.hangUp()
			return
		}
		switch {
		case len(b) < 2:
		case b[0] < 4:
			p.ice.answer(b)
		case b[0] >= 20 && b[0] < 64:
			p.wire.feed(b)
		case b[0]&0xc0 == 0x80:
			p.media(b)
		}
	}
}

// probationSSRC is the stream of padding by which an SFU measures how much it
// may send. It means nothing.
const probationSSRC = 1234

// Probation returns how many packets of padding came.
func (p *Peer) Probation() int64 { return p.probation.Load() }

func (p *Peer) media(b []byte) {
	isRTCP := b[1] >= 192 && b[1] <= 223
	p.mu.Lock()
	rx := p.rx
	var plain []byte
	var err error
	switch {
	case rx == nil:
		err = net.ErrClosed
	case isRTCP:
		plain, err = rx.DecryptRTCP(nil, b, nil)
	default:
		plain, err = rx.DecryptRTP(nil, b, nil)
	}
	p.mu.Unlock()
	if err != nil {
		return
	}
	queue := p.rtp
	switch {
	case isRTCP:
		queue = p.rtcp
	case len(plain) >= 12 && binary.BigEndian.Uint32(plain[8:]) == probationSSRC:
		p.probation.Add(1)
		if !p.cfg.Probation {
			return
		}
	}
	select {
	case queue <- plain:
	default:
		p.lost.Add(1)
	}
}

func (p *Peer) keepalive() {
	defer p.wg.Done()
	tick := time.NewTicker(p.cfg.Keepalive)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if b, _, err := p.ice.request(); err == nil {
				p.wire.write(b)
			}
		case <-p.ctx.Done():
			return
		}
	}
}

// Vanish ends the Peer without a word to the other side.
func (p *Peer) Vanish() {
	p.cancel()
	if p.wire != nil {
		p.wire.close()
	}
	if p.dtls != nil {
		p.dtls.Close()
	}
	p.wg.Wait()
}

// Close ends the Peer, with close_notify.
func (p *Peer) Close() {
	p.cancel()
	if p.dtls != nil {
		p.dtls.Close()
	}
	if p.wire != nil {
		p.wire.close()
	}
	p.wg.Wait()
}

func randomText(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return hex.EncodeToString(b)[:n]
}
