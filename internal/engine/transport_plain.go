package engine

import (
	"net/netip"

	"github.com/mafalda-sfu/mafalda/internal/driver"
	"github.com/mafalda-sfu/mafalda/internal/rtcp"
	"github.com/mafalda-sfu/mafalda/internal/rtp"
)

// PlainTransportOptions are the options of [Machine.CreatePlainTransport].
type PlainTransportOptions struct {
	ID         string
	ListenInfo ListenInfo
	// RTCPListenInfo is where RTCP has a port of its own; nil: the same port.
	RTCPListenInfo *ListenInfo
	Comedia        bool
	// SRTPSuite turns SRTP on; empty is off.
	SRTPSuite string
	SCTP      *SCTPOptions // nil: none
}

// A plainTransport is RTP and RTCP over UDP, with or without SRTP, to one peer
// that connect names or, with comedia, the first packet (media-plane §9.1).
type plainTransport struct {
	t *transport
	m *Machine

	rtp, rtcp *listener // rtcp is nil with rtcp-mux
	comedia   bool
	connected bool // connect was called

	remote     netip.AddrPort // of RTP; zero while unknown
	remoteRTCP netip.AddrPort

	local *SRTPParameters // nil without SRTP
}

// CreatePlainTransport makes a transport on a Router. Errors:
// ErrInvalidArgument, ErrUnavailable, ErrNotFound for the Router.
func (m *Machine) CreatePlainTransport(routerID string, o PlainTransportOptions) (TransportDump, error) {
	r := m.routers[routerID]
	if r == nil {
		return TransportDump{}, notFound("Router", routerID)
	}
	if err := m.unused(o.ID); err != nil {
		return TransportDump{}, err
	}
	if o.ListenInfo.Protocol != UDP || o.RTCPListenInfo != nil && o.RTCPListenInfo.Protocol != UDP {
		return TransportDump{}, invalid("unsupported listen protocol")
	}
	p := &plainTransport{m: m, comedia: o.Comedia}
	if o.SRTPSuite != "" {
		key, err := newSRTPKey(o.SRTPSuite)
		if err != nil {
			return TransportDump{}, err
		}
		p.local = &key
	}
	infos := []ListenInfo{o.ListenInfo}
	if o.RTCPListenInfo != nil {
		infos = append(infos, *o.RTCPListenInfo)
	}
	bound, err := m.listenAll(infos, p, false)
	if err != nil {
		return TransportDump{}, err
	}
	p.rtp = bound[0]
	if len(bound) > 1 {
		p.rtcp = bound[1]
	}
	p.t = newTransport(m, r, o.ID, p)
	p.t.rtcpApart = p.rtcp != nil
	if o.SCTP != nil {
		p.t.enableSCTP(*o.SCTP, p.t.sendRaw)
	}
	return p.t.dump(), nil
}

// PlainConnectOptions are the options of [Machine.ConnectPlain].
type PlainConnectOptions struct {
	Remote   netip.AddrPort // zero with comedia
	RTCPPort uint16         // 0 with rtcp-mux or comedia
	SRTP     *SRTPParameters
}

// ConnectPlain names the peer and its keys. Errors: ErrInvalidArgument,
// ErrNotFound, ErrInvalidState the second time. A call that fails can be
// repeated.
func (m *Machine) ConnectPlain(id string, o PlainConnectOptions) (TransportDump, error) {
	t := m.transports[id]
	if t == nil {
		return TransportDump{}, notFound("Transport", id)
	}
	p, ok := t.part.(*plainTransport)
	if !ok {
		return TransportDump{}, invalid("transport %q is no plain transport", id)
	}
	if p.connected {
		return TransportDump{}, invalidState("connect() already called")
	}
	if err := p.checkRemote(o); err != nil {
		return TransportDump{}, err
	}
	if err := t.connectSRTP(p.local, o.SRTP); err != nil {
		return TransportDump{}, err
	}
	p.connected = true
	if !p.comedia {
		remote := netip.AddrPortFrom(o.Remote.Addr().Unmap(), o.Remote.Port())
		p.setRemote(remote)
		if p.rtcp != nil {
			p.setRemoteRTCP(netip.AddrPortFrom(remote.Addr(), o.RTCPPort))
		}
	}
	t.connect()
	return t.dump(), nil
}

func (p *plainTransport) checkRemote(o PlainConnectOptions) error {
	if p.comedia {
		return nil
	}
	if !o.Remote.Addr().IsValid() {
		return invalid("missing ip")
	}
	if o.Remote.Port() == 0 {
		return invalid("missing port")
	}
	if p.rtcp != nil && o.RTCPPort == 0 {
		return invalid("missing rtcpPort (required by rtcpMux: false)")
	}
	if p.rtcp == nil && o.RTCPPort != 0 {
		return invalid("cannot set rtcpPort with rtcpMux")
	}
	if ip := o.Remote.Addr().Unmap(); !p.rtp.info.reaches(ip) || p.rtcp != nil && !p.rtcp.info.reaches(ip) {
		return invalid("remote %s is of another family than local %s", ip, p.rtp.info.IP)
	}
	return nil
}

func (p *plainTransport) setRemote(a netip.AddrPort) {
	p.remote = a
	p.t.out = path{udp: p.rtp.udp, dest: p.rtp.udp.Dest(a)}
}

func (p *plainTransport) setRemoteRTCP(a netip.AddrPort) {
	p.remoteRTCP = a
	p.t.rtcpOut = path{udp: p.rtcp.udp, dest: p.rtcp.udp.Dest(a)}
}

func (p *plainTransport) receiveUDP(s driver.UDPSocket, from netip.AddrPort, data []byte) {
	t, m := p.t, p.m
	t.received(len(data))
	if !rtp.Is(data) && !rtcp.Is(data) {
		if t.sctp != nil && isSCTP(data) {
			if p.from(from) {
				t.receiveSCTP(data)
			}
			return
		}
		m.count.DropUnknownKind++
		return
	}
	if p.local != nil && t.rx == nil {
		m.count.DropNotConnected++
		return
	}
	if !rtcp.Is(data) {
		p.receiveRTP(from, data)
		return
	}
	plain := data
	if t.rx != nil {
		var err error
		if plain, err = t.rx.UnprotectRTCP(m.plain[:0], data); err != nil {
			t.droppedSRTCP(err)
			return
		}
	}
	if p.rtcp != nil {
		if !p.fromRTCP(from) {
			return
		}
	} else if !p.from(from) {
		return
	}
	t.receiveRTCP(plain)
}

func (p *plainTransport) receiveRTP(from netip.AddrPort, data []byte) {
	if p.remote.IsValid() && p.remote != from {
		p.t.stranger(from)
		return
	}
	ref, pkt := p.t.readRTP(data)
	if ref == 0 {
		return
	}
	if p.from(from) {
		p.t.receiveRTP(ref, pkt)
	}
	p.m.pool.Release(ref)
}

// from reports whether RTP of a is welcome; with comedia the first is, and
// stays the only one.
func (p *plainTransport) from(a netip.AddrPort) bool {
	if p.remote == a {
		return true
	}
	if p.remote.IsValid() || !p.comedia {
		p.t.stranger(a)
		return false
	}
	p.setRemote(a)
	p.m.notify(p.t.id, PlainTuple{p.rtp.tuple(p.remote)})
	p.t.connect()
	return true
}

func (p *plainTransport) fromRTCP(a netip.AddrPort) bool {
	if p.remoteRTCP == a {
		return true
	}
	if p.remoteRTCP.IsValid() || !p.comedia {
		p.t.stranger(a)
		return false
	}
	p.setRemoteRTCP(a)
	p.m.notify(p.t.id, PlainRTCPTuple{p.rtcp.tuple(p.remoteRTCP)})
	return true
}

func (p *plainTransport) openTCP(c driver.TCPConn)          { c.Close() }
func (p *plainTransport) receiveTCP(driver.TCPConn, []byte) {}
func (p *plainTransport) closeTCP(driver.TCPConn)           {}

func (p *plainTransport) close() {
	p.rtp.close()
	if p.rtcp != nil {
		p.rtcp.close()
	}
}

// PlainDump is what a plain transport adds to a [TransportDump].
type PlainDump struct {
	RTCPMux, Comedia bool
	Tuple            Tuple
	RTCPTuple        *Tuple
	SRTP             *SRTPParameters
}

func (p *plainTransport) fill(d *TransportDump) {
	d.Plain = &PlainDump{RTCPMux: p.rtcp == nil, Comedia: p.comedia, Tuple: p.rtp.tuple(p.remote)}
	if p.rtcp != nil {
		d.Plain.RTCPTuple = new(p.rtcp.tuple(p.remoteRTCP))
	}
	if p.local != nil {
		d.Plain.SRTP = new(*p.local)
	}
}
