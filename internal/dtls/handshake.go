package dtls

import (
	"fmt"
	"io"
	"time"

	pdtls "github.com/pion/dtls/v3"
	"github.com/pion/logging"

	"github.com/mafalda-sfu/mafalda/internal/srtp"
)

const (
	// flightInterval is the first retransmission interval (mediasoup's
	// DtlsTransport.cpp); it doubles each time.
	flightInterval = 100 * time.Millisecond
	// flightMTU is the greatest length of a datagram of a flight, in bytes.
	flightMTU = 1350

	exportLabel = "EXTRACTOR-dtls_srtp" // RFC 5764 §4.2
)

// silent makes pion's loggers do nothing, whatever the environment says.
var silent = &logging.DefaultLoggerFactory{
	Writer:          io.Discard,
	DefaultLogLevel: logging.LogLevelDisabled,
	ScopeLevels:     map[string]logging.LogLevel{},
}

// profiles pairs our names with those of the use_srtp extension.
var profiles = []struct {
	suite srtp.Suite
	pion  pdtls.SRTPProtectionProfile
}{
	{srtp.AEADAES128GCM, pdtls.SRTP_AEAD_AES_128_GCM},
	{srtp.AEADAES256GCM, pdtls.SRTP_AEAD_AES_256_GCM},
	{srtp.AESCM128SHA80, pdtls.SRTP_AES128_CM_HMAC_SHA1_80},
	{srtp.AESCM128SHA32, pdtls.SRTP_AES128_CM_HMAC_SHA1_32},
}

// handshake waits for the end of the handshake and returns the event of its
// success. Then there is a session, and pion's half is gone.
func (c *Conn) handshake() (Event, error) {
	var p *pdtls.Conn
	defer func() { c.hangUp(p) }()
	if c.role == Server {
		select {
		case <-c.awake:
		case <-c.ctx.Done():
			return Event{}, c.ctx.Err()
		}
	}
	p, err := c.dial()
	if err != nil {
		return Event{}, err
	}
	if err := p.HandshakeContext(c.ctx); err != nil {
		return Event{}, err
	}
	e, err := c.result(p)
	if err != nil {
		return Event{}, err
	}
	s, err := c.takeOver(p)
	if err != nil {
		return Event{}, err
	}
	c.session.Store(s)
	return e, nil
}

// hangUp ends pion's half of the handshake, if there is one, and all that served
// it. After a handshake that is of no use it sends close_notify.
func (c *Conn) hangUp(p *pdtls.Conn) {
	if t := c.timer.Load(); t != nil {
		t.Stop()
	}
	if p != nil {
		_ = p.Close()
	}
	_ = c.pipe.Close()
	c.turn.end()
	c.pipe.silence()
}

// dial makes pion's half, which does nothing yet.
func (c *Conn) dial() (*pdtls.Conn, error) {
	var offered []pdtls.SRTPProtectionProfile
	for _, s := range c.cfg.Suites {
		for _, p := range profiles {
			if p.suite == s {
				offered = append(offered, p.pion)
			}
		}
	}
	if len(offered) == 0 {
		return nil, ErrNoSRTP
	}
	shared := []pdtls.Option{
		pdtls.WithCertificates(c.cfg.Certificate.tls),
		pdtls.WithCipherSuites(cipherSuites()...),
		pdtls.WithSRTPProtectionProfiles(offered...),
		// Certificates are self-signed; the caller compares fingerprints.
		pdtls.WithInsecureSkipVerify(true),
		pdtls.WithExtendedMasterSecret(pdtls.RequestExtendedMasterSecret),
		pdtls.WithFlightInterval(flightInterval),
		pdtls.WithMTU(flightMTU),
		pdtls.WithLoggerFactory(silent),
	}
	if c.role == Client {
		options := make([]pdtls.ClientOption, 0, len(shared))
		for _, o := range shared {
			options = append(options, o)
		}
		return pdtls.ClientWithOptions(c.pipe, address{}, options...)
	}
	options := []pdtls.ServerOption{
		pdtls.WithClientAuth(pdtls.RequireAnyClientCert),
		// No cookie: it costs a round trip, and ICE has verified the address.
		pdtls.WithInsecureSkipVerifyHello(true),
	}
	for _, o := range shared {
		options = append(options, o)
	}
	return pdtls.ServerWithOptions(c.pipe, address{}, options...)
}

// result returns what a finished handshake agreed on.
func (c *Conn) result(p *pdtls.Conn) (Event, error) {
	state, ok := p.ConnectionState()
	if !ok {
		return Event{}, ErrNotConnected
	}
	if len(state.PeerCertificates) == 0 {
		return Event{}, ErrNoCertificate
	}
	selected, ok := p.SelectedSRTPProtectionProfile()
	if !ok {
		return Event{}, ErrNoSRTP
	}
	for _, known := range profiles {
		if known.pion != selected {
			continue
		}
		keys, err := c.export(&state, known.suite)
		if err != nil {
			return Event{}, err
		}
		der := append([]byte(nil), state.PeerCertificates[0]...)
		return Event{State: Connected, Keys: keys, RemoteCertificate: der, RemotePEM: encodePEM(der)}, nil
	}
	return Event{}, fmt.Errorf("%w: profile %d", ErrNoSRTP, selected)
}

// export derives the SRTP keys: client key, server key, client salt, server
// salt (RFC 5764 §4.2).
func (c *Conn) export(state *pdtls.State, s srtp.Suite) (*Keys, error) {
	b, err := state.ExportKeyingMaterial(exportLabel, nil, 2*s.MasterLen())
	if err != nil {
		return nil, err
	}
	key, salt := s.KeyLen(), s.SaltLen()
	master := func(i int) []byte {
		m := append(make([]byte, 0, key+salt), b[i*key:(i+1)*key]...)
		return append(m, b[2*key+i*salt:2*key+(i+1)*salt]...)
	}
	client, server := master(0), master(1)
	if c.role == Client {
		return &Keys{s, client, server}, nil
	}
	return &Keys{s, server, client}, nil
}
