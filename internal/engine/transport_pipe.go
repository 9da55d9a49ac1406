package engine

import (
	"net/netip"

	"github.com/mafalda-sfu/mafalda/internal/driver"
	"github.com/mafalda-sfu/mafalda/internal/rtcp"
	"github.com/mafalda-sfu/mafalda/internal/rtp"
	"github.com/mafalda-sfu/mafalda/internal/srtp"
)

// PipeTransportOptions are the options of [Machine.CreatePipeTransport].
type PipeTransportOptions struct {
	ID         string
	ListenInfo ListenInfo
	// EnableRTX is for who negotiates: it is only remembered here.
	EnableRTX bool
	// EnableSRTP encrypts with AEAD_AES_256_GCM.
	EnableSRTP bool
	SCTP       *SCTPOptions // nil: none
}

// A pipeTransport is RTP and RTCP on one UDP port, with or without SRTP, to a
// pipeTransport of another Router (media-plane §9.2).
type pipeTransport struct {
	t *transport
	m *Machine

	udp       *listener
	rtx       bool
	connected bool           // connect was called
	remote    netip.AddrPort // zero until then

	local *SRTPParameters // nil without SRTP

	lane   *lane  // nil unless connected in memory
	number uint64 // on the lane
}

// CreatePipeTransport makes a transport on a Router. Errors:
// ErrInvalidArgument, ErrUnavailable, ErrNotFound for the Router.
func (m *Machine) CreatePipeTransport(routerID string, o PipeTransportOptions) (TransportDump, error) {
	r := m.routers[routerID]
	if r == nil {
		return TransportDump{}, notFound("Router", routerID)
	}
	if err := m.unused(o.ID); err != nil {
		return TransportDump{}, err
	}
	if o.ListenInfo.Protocol != UDP {
		return TransportDump{}, invalid("unsupported listen protocol")
	}
	p := &pipeTransport{m: m, rtx: o.EnableRTX}
	if o.EnableSRTP {
		key, err := newSRTPKey(string(srtp.AEADAES256GCM))
		if err != nil {
			return TransportDump{}, err
		}
		p.local = &key
	}
	l, err := m.listen(o.ListenInfo, p, false)
	if err != nil {
		return TransportDump{}, err
	}
	p.udp = l
	p.t = newTransport(m, r, o.ID, p)
	p.t.piped = true
	if o.SCTP != nil {
		p.t.enableSCTP(*o.SCTP, p.t.sendRaw)
	}
	return p.t.dump(), nil
}

// PipeConnectOptions are the options of [Machine.ConnectPipe].
type PipeConnectOptions struct {
	Remote netip.AddrPort
	SRTP   *SRTPParameters // of AEAD_AES_256_GCM
}

// ConnectPipe names the peer and its key. Errors: ErrInvalidArgument,
// ErrNotFound, ErrInvalidState the second time. A call that fails can be
// repeated.
func (m *Machine) ConnectPipe(id string, o PipeConnectOptions) (TransportDump, error) {
	p, err := m.unconnectedPipe(id)
	if err != nil {
		return TransportDump{}, err
	}
	if err := p.checkRemote(o.Remote); err != nil {
		return TransportDump{}, err
	}
	if o.SRTP != nil && p.local != nil && o.SRTP.CryptoSuite != string(srtp.AEADAES256GCM) {
		return TransportDump{}, invalid("SRTP crypto suite %q of a pipe", o.SRTP.CryptoSuite)
	}
	if err := p.t.connectSRTP(p.local, o.SRTP); err != nil {
		return TransportDump{}, err
	}
	p.connect(o.Remote)
	return p.t.dump(), nil
}

// unconnectedPipe returns the pipe transport with that id.
func (m *Machine) unconnectedPipe(id string) (*pipeTransport, error) {
	t := m.transports[id]
	if t == nil {
		return nil, notFound("Transport", id)
	}
	p, ok := t.part.(*pipeTransport)
	if !ok {
		return nil, invalid("transport %q is no pipe transport", id)
	}
	if p.connected {
		return nil, invalidState("connect() already called")
	}
	return p, nil
}

func (p *pipeTransport) checkRemote(a netip.AddrPort) error {
	if !a.Addr().IsValid() {
		return invalid("missing ip")
	}
	if a.Port() == 0 {
		return invalid("missing port")
	}
	if ip := a.Addr().Unmap(); !p.udp.info.reaches(ip) {
		return invalid("remote %s is of another family than local %s", ip, p.udp.info.IP)
	}
	return nil
}

func (p *pipeTransport) connect(a netip.AddrPort) {
	p.connected = true
	p.remote = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
	p.t.out = path{udp: p.udp.udp, dest: p.udp.udp.Dest(p.remote)}
	p.t.connect()
}

func (p *pipeTransport) receiveUDP(_ driver.UDPSocket, from netip.AddrPort, data []byte) {
	t, m := p.t, p.m
	t.received(len(data))
	switch {
	case !rtp.Is(data) && !rtcp.Is(data) && (t.sctp == nil || !isSCTP(data)):
		m.count.DropUnknownKind++
	case !p.connected:
		m.count.DropNotConnected++
	case from != p.remote:
		t.stranger(from)
	case !rtp.Is(data) && !rtcp.Is(data):
		t.receiveSCTP(data)
	case !rtcp.Is(data):
		t.receiveSRTP(data)
	default:
		if t.rx != nil {
			var err error
			if data, err = t.rx.UnprotectRTCP(m.plain[:0], data); err != nil {
				t.droppedSRTCP(err)
				return
			}
		}
		t.receiveRTCP(data)
	}
}

func (p *pipeTransport) openTCP(c driver.TCPConn)          { c.Close() }
func (p *pipeTransport) receiveTCP(driver.TCPConn, []byte) {}
func (p *pipeTransport) closeTCP(driver.TCPConn)           {}

func (p *pipeTransport) close() {
	if p.lane != nil {
		delete(p.lane.pipes, p.number)
	}
	p.udp.close()
}

// PipeDump is what a pipe transport adds to a [TransportDump].
type PipeDump struct {
	RTX   bool
	Tuple Tuple
	SRTP  *SRTPParameters
}

func (p *pipeTransport) fill(d *TransportDump) {
	d.Pipe = &PipeDump{RTX: p.rtx, Tuple: p.udp.tuple(p.remote)}
	if p.local != nil {
		d.Pipe.SRTP = new(*p.local)
	}
}
