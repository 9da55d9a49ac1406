package harness

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/srtp/v3"
	"github.com/pion/stun/v3"
	"github.com/pion/transport/v4/packetio"
)

// A peer is one endpoint: what it needs to connect, and then its keys and
// what it received.
type peer struct {
	index int
	link  link
	at    endpoint

	answers chan []byte      // to its ICE checks
	records *packetio.Buffer // DTLS that came
	dtls    *dtls.Conn

	tx, rx *srtp.Context

	streams map[uint32]*sink // what it receives, by SSRC; guarded by the load's mu
	sinks   []*sink          // the same, in order
	sources []*source        // what it sends
	sent    uint16           // wide sequence number of its last packet
	wide    wideState
}

func newPeer(index int, l link) *peer {
	return &peer{index: index, link: l, answers: make(chan []byte, 8), records: packetio.NewBuffer(), streams: map[uint32]*sink{}}
}

// receive takes what came while peers connect.
func (p *peer) receive(b []byte) {
	switch {
	case b[0] < 4:
		select {
		case p.answers <- append([]byte(nil), b...):
		default:
		}
	case b[0] >= 20 && b[0] < 64:
		p.records.Write(b)
	}
}

func (p *peer) connect(ctx context.Context, s suite, cert tls.Certificate) error {
	if p.at.ICE == nil {
		return p.useKeys(s)
	}
	if err := p.check(ctx); err != nil {
		return fmt.Errorf("ICE of peer %d: %w", p.index, err)
	}
	if err := p.handshake(ctx, s, cert); err != nil {
		return fmt.Errorf("DTLS of peer %d: %w", p.index, err)
	}
	return nil
}

func (p *peer) useKeys(s suite) (err error) {
	if p.tx, err = s.context(p.at.SendKey); err != nil {
		return err
	}
	p.rx, err = s.context(p.at.ReceiveKey)
	return err
}

type attribute struct {
	typ   stun.AttrType
	value []byte
}

func (a attribute) AddTo(m *stun.Message) error {
	m.Add(a.typ, a.value)
	return nil
}

// check sends Binding requests with USE-CANDIDATE until one is answered.
func (p *peer) check(ctx context.Context) error {
	for {
		request, err := stun.Build(
			stun.TransactionID, stun.BindingRequest,
			stun.NewUsername(p.at.ICE.UsernameFragment+":"+PeerUfrag),
			attribute{stun.AttrPriority, []byte{0x6e, 0x7f, 0x1e, 0xff}},
			attribute{stun.AttrICEControlling, []byte{1, 2, 3, 4, 5, 6, 7, 8}},
			attribute{typ: stun.AttrUseCandidate},
			stun.NewShortTermIntegrity(p.at.ICE.Password), stun.Fingerprint,
		)
		if err != nil {
			return err
		}
		if err := p.link.write(p.index, p.at.Addr, request.Raw); err != nil {
			return err
		}
		again := time.NewTimer(250 * time.Millisecond)
		select {
		case b := <-p.answers:
			again.Stop()
			m := &stun.Message{Raw: b}
			switch err := m.Decode(); {
			case err != nil:
				return err
			case m.Type == stun.BindingSuccess:
				return nil
			case m.Type == stun.BindingError:
				return errors.New(m.String())
			}
		case <-again.C:
		case <-ctx.Done():
			again.Stop()
			return ctx.Err()
		}
	}
}

func (p *peer) handshake(ctx context.Context, s suite, cert tls.Certificate) error {
	conn, err := dtls.ClientWithOptions(records{p}, net.UDPAddrFromAddrPort(p.at.Addr),
		dtls.WithCertificates(cert), dtls.WithSRTPProtectionProfiles(s.dtls),
		dtls.WithInsecureSkipVerify(true), dtls.WithFlightInterval(500*time.Millisecond))
	if err != nil {
		return err
	}
	p.dtls = conn
	if err := conn.HandshakeContext(ctx); err != nil {
		return err
	}
	state, ok := conn.ConnectionState()
	if !ok {
		return errors.New("no state")
	}
	cfg := srtp.Config{Profile: s.srtp}
	if err := cfg.ExtractSessionKeysFromDTLS(&state, true); err != nil {
		return err
	}
	p.at.SendKey = append(cfg.Keys.LocalMasterKey, cfg.Keys.LocalMasterSalt...)
	p.at.ReceiveKey = append(cfg.Keys.RemoteMasterKey, cfg.Keys.RemoteMasterSalt...)
	return p.useKeys(s)
}

// records is the net.PacketConn of a peer's DTLS.
type records struct{ p *peer }

func (r records) ReadFrom(b []byte) (int, net.Addr, error) {
	n, err := r.p.records.Read(b)
	return n, net.UDPAddrFromAddrPort(r.p.at.Addr), err
}

func (r records) WriteTo(b []byte, _ net.Addr) (int, error) {
	return len(b), r.p.link.write(r.p.index, r.p.at.Addr, b)
}

func (r records) Close() error                      { return r.p.records.Close() }
func (r records) LocalAddr() net.Addr               { return net.UDPAddrFromAddrPort(peerAddr(tunPeers, r.p.index)) }
func (r records) SetDeadline(t time.Time) error     { return r.p.records.SetReadDeadline(t) }
func (r records) SetReadDeadline(t time.Time) error { return r.p.records.SetReadDeadline(t) }
func (r records) SetWriteDeadline(time.Time) error  { return nil }
