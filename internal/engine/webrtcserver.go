package engine

import (
	"log/slog"
	"net/netip"
	"slices"

	"github.com/mafalda-sfu/mafalda/internal/driver"
	"github.com/mafalda-sfu/mafalda/internal/ice"
)

// A webRTCServer shares its ports among many WebRTC transports
// (media-plane §1.6). A packet finds its transport by the pair of addresses,
// and a first STUN request by its user name.
type webRTCServer struct {
	m         *Machine
	id        string
	listeners []*listener

	transports []*webRTCTransport // in order of creation
	ufrags     map[string]*webRTCTransport
	tuples     map[ice.Tuple]*webRTCTransport
	conns      tcpConns
}

// CreateWebRTCServer binds every info for transports to come. Errors:
// ErrInvalidArgument, ErrUnavailable, ErrInvalidState when id is in use.
func (m *Machine) CreateWebRTCServer(id string, infos []ListenInfo) error {
	if err := m.unused(id); err != nil {
		return err
	}
	if len(infos) == 0 {
		return invalid("empty listenInfos")
	}
	s := &webRTCServer{
		m: m, id: id,
		ufrags: map[string]*webRTCTransport{},
		tuples: map[ice.Tuple]*webRTCTransport{},
	}
	s.conns.init(m, func(tuple ice.Tuple) bool { return s.tuples[tuple] != nil })
	l, err := m.listenAll(infos, s, true)
	if err != nil {
		return err
	}
	s.listeners = l
	m.servers[id] = s
	m.serverList = append(m.serverList, s)
	m.logs.info.Debug("WebRTC server created", "server", id, "listeners", len(l))
	return nil
}

// unused reports an error when id names a live object.
func (m *Machine) unused(id string) error {
	if id == "" {
		return invalid("empty id")
	}
	_, server := m.servers[id]
	_, router := m.routers[id]
	_, transport := m.transports[id]
	_, producer := m.producers[id]
	_, consumer := m.consumers[id]
	_, dataProducer := m.dataProducers[id]
	_, dataConsumer := m.dataConsumers[id]
	_, observer := m.rtpObservers[id]
	if server || router || transport || producer || consumer || dataProducer || dataConsumer || observer {
		return invalidState("id %q is in use", id)
	}
	return nil
}

// CloseWebRTCServer closes the transports of a server and then its ports.
func (m *Machine) CloseWebRTCServer(id string) error {
	s := m.servers[id]
	if s == nil {
		return notFound("WebRTCServer", id)
	}
	s.close()
	return nil
}

func (s *webRTCServer) close() {
	for len(s.transports) > 0 {
		s.transports[0].t.close()
	}
	s.conns.close()
	closeAll(s.listeners)
	delete(s.m.servers, s.id)
	s.m.serverList = slices.DeleteFunc(s.m.serverList, func(x *webRTCServer) bool { return x == s })
}

// A DumpWebRTCServer describes a WebRTCServer.
type DumpWebRTCServer struct {
	ID                     string
	UDPSockets, TCPServers []netip.AddrPort
	TransportIDs           []string
	Ufrags                 []UfragOwner
}

// UfragOwner says which transport a local ICE user name fragment leads to.
type UfragOwner struct{ Ufrag, TransportID string }

// DumpWebRTCServer describes the server with that id.
func (m *Machine) DumpWebRTCServer(id string) (DumpWebRTCServer, error) {
	s := m.servers[id]
	if s == nil {
		return DumpWebRTCServer{}, notFound("WebRTCServer", id)
	}
	d := DumpWebRTCServer{ID: id}
	for _, l := range s.listeners {
		a := netip.AddrPortFrom(l.info.IP, l.addr().Port())
		if l.udp != nil {
			d.UDPSockets = append(d.UDPSockets, a)
		} else {
			d.TCPServers = append(d.TCPServers, a)
		}
	}
	for _, t := range s.transports {
		d.TransportIDs = append(d.TransportIDs, t.t.id)
		ufrag, _ := t.ice.Credentials()
		for _, u := range []string{t.ice.OldUfrag(), ufrag} {
			if u != "" {
				d.Ufrags = append(d.Ufrags, UfragOwner{u, t.t.id})
			}
		}
	}
	return d, nil
}

// find returns the transport that a packet is for, or nil.
func (s *webRTCServer) find(tuple ice.Tuple, data []byte) *webRTCTransport {
	if t := s.tuples[tuple]; t != nil {
		return t
	}
	if !ice.IsSTUN(data) {
		return nil
	}
	ufrag, ok := ice.LocalUfragBytes(data)
	if !ok {
		return nil
	}
	return s.ufrags[string(ufrag)]
}

func (s *webRTCServer) receiveUDP(sock driver.UDPSocket, from netip.AddrPort, data []byte) {
	tuple := ice.Tuple{Socket: sock.ID(), Remote: from}
	if t := s.find(tuple, data); t != nil {
		t.receive(tuple, sock, nil, data)
		return
	}
	s.stranger(from)
}

// stranger counts and logs what belongs to no transport.
func (s *webRTCServer) stranger(from netip.AddrPort) {
	s.m.count.DropUnknownTuple++
	if n, ok := s.m.may(s.m.logs.ice, slog.LevelWarn, causeStranger); ok {
		s.m.logs.ice.Warn("datagram for no transport", "server", s.id, "from", from, "skipped", n)
	}
}

func (s *webRTCServer) openTCP(c driver.TCPConn) { s.conns.add(c) }

func (s *webRTCServer) receiveTCP(c driver.TCPConn, frame []byte) {
	tuple := tcpTuple(c)
	if t := s.find(tuple, frame); t != nil {
		t.receive(tuple, nil, c, frame)
		return
	}
	s.stranger(tuple.Remote)
}

func (s *webRTCServer) closeTCP(c driver.TCPConn) {
	s.conns.remove(c)
	tuple := tcpTuple(c)
	if t := s.tuples[tuple]; t != nil {
		t.closedTCP(tuple)
	}
}
