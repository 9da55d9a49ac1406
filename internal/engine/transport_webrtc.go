package engine

import (
	"cmp"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/mafalda-sfu/mafalda/internal/driver"
	"github.com/mafalda-sfu/mafalda/internal/dtls"
	"github.com/mafalda-sfu/mafalda/internal/ice"
	"github.com/mafalda-sfu/mafalda/internal/rtcp"
	"github.com/mafalda-sfu/mafalda/internal/rtp"
	"github.com/mafalda-sfu/mafalda/internal/srtp"
	"github.com/mafalda-sfu/mafalda/internal/timer"
)

// WebRTCTransportOptions are the options of [Machine.CreateWebRTCTransport].
type WebRTCTransportOptions struct {
	ID string
	// Either a server or listen infos.
	ServerID    string
	ListenInfos []ListenInfo
	// What of the server is used; without one the listen infos decide.
	EnableUDP, EnableTCP, PreferUDP, PreferTCP bool
	// ICEConsentTimeout is 0 (off) or 10 to 60 s.
	ICEConsentTimeout time.Duration
	// InitialOutgoingBitrate is the estimate to begin with, in bit/s; 0 means
	// 600,000.
	InitialOutgoingBitrate uint32
	Certificate            *dtls.Certificate // nil: that of the Worker
	SCTP                   *SCTPOptions      // nil: none
}

// A DTLSRole is what a side of the handshake does.
type DTLSRole uint8

const (
	DTLSAuto DTLSRole = iota
	DTLSClient
	DTLSServer
)

// String returns "auto", "client" or "server".
func (r DTLSRole) String() string { return [...]string{"auto", "client", "server"}[r] }

// A webRTCTransport is ICE-lite, DTLS and SRTP over the ports of its own or of
// a server (media-plane §2, §3).
type webRTCTransport struct {
	// What each packet touches comes first.
	t         *transport
	m         *Machine
	ice       *ice.Agent
	dtlsState string

	// Ports: of a server, or our own.
	server    *webRTCServer
	listeners []*listener
	conns     tcpConns

	candidates []ice.Candidate
	consent    timer.Timer
	paths      []tuplePath // of the tuples that ICE holds
	selected   *Tuple

	certificate *dtls.Certificate // ours

	dtls      *dtls.Conn
	dtlsRun   int      // counts handshakes, so that news of an old one is ignored
	role      DTLSRole // ours
	remote    *dtls.Fingerprint
	keys      *dtls.Event // of a handshake that waits for the fingerprint
	remotePEM string
}

type tuplePath struct {
	tuple ice.Tuple
	path  path
}

// CreateWebRTCTransport makes a transport on a Router. Errors:
// ErrInvalidArgument, ErrUnavailable, ErrNotFound for the Router,
// ErrInvalidState for an unknown server.
func (m *Machine) CreateWebRTCTransport(routerID string, o WebRTCTransportOptions) (TransportDump, error) {
	r := m.routers[routerID]
	if r == nil {
		return TransportDump{}, notFound("Router", routerID)
	}
	if err := m.unused(o.ID); err != nil {
		return TransportDump{}, err
	}
	w := &webRTCTransport{m: m, dtlsState: "new", certificate: cmp.Or(o.Certificate, m.cfg.Certificate)}
	w.ice = ice.New(ice.Config{ConsentTimeout: o.ICEConsentTimeout})
	w.conns.init(m, w.ice.IsValid)
	if o.ServerID != "" {
		w.server = m.servers[o.ServerID]
		if w.server == nil {
			return TransportDump{}, invalidState("no WebRTCServer %q in this worker", o.ServerID)
		}
		w.addCandidates(w.server.listeners, &o)
	} else {
		l, err := m.listenAll(o.ListenInfos, w, false)
		if err != nil {
			return TransportDump{}, err
		}
		w.listeners = l
		w.addCandidates(l, nil)
	}
	if len(w.candidates) == 0 {
		closeAll(w.listeners)
		return TransportDump{}, invalid("empty iceCandidates")
	}
	w.consent.Init(func(now time.Duration) {
		w.ice.Tick(now)
		w.afterICE(nil, nil)
	})
	t := newTransport(m, r, o.ID, w)
	t.initial = o.InitialOutgoingBitrate
	w.t = t
	if o.SCTP != nil {
		t.enableSCTP(*o.SCTP, w.sendSCTP)
	}
	if s := w.server; s != nil {
		s.transports = append(s.transports, w)
		ufrag, _ := w.ice.Credentials()
		s.ufrags[ufrag] = w
	}
	return t.dump(), nil
}

// addCandidates derives the candidates of the listeners (media-plane §2.6).
// o is nil for listeners of our own.
func (w *webRTCTransport) addCandidates(listeners []*listener, o *WebRTCTransportOptions) {
	for i, l := range listeners {
		preferred := false
		if o != nil {
			if l.udp != nil && !o.EnableUDP || l.tcp != nil && !o.EnableTCP {
				continue
			}
			preferred = l.udp != nil && o.PreferUDP || l.tcp != nil && o.PreferTCP
		}
		w.candidates = ice.AppendCandidates(w.candidates, ice.Listen{
			Address: l.info.IP.String(), Port: l.addr().Port(), TCP: l.tcp != nil,
			Announced: l.info.AnnouncedAddress, ExposeInternal: l.info.ExposeInternalIP,
		}, ice.LocalPreference(i, preferred))
	}
}

// ConnectWebRTC gives the peer's DTLS parameters. It returns our role. Errors:
// ErrInvalidArgument, ErrNotFound, ErrInvalidState the second time.
func (m *Machine) ConnectWebRTC(id string, role DTLSRole, fingerprints []dtls.Fingerprint) (DTLSRole, error) {
	t := m.transports[id]
	if t == nil {
		return 0, notFound("Transport", id)
	}
	w, ok := t.part.(*webRTCTransport)
	if !ok {
		return 0, invalid("transport %q is no WebRTC transport", id)
	}
	if w.remote != nil {
		return 0, invalidState("connect() already called")
	}
	if len(fingerprints) == 0 {
		return 0, invalid("empty fingerprints")
	}
	f := fingerprints[0]
	w.remote = &f
	w.role = DTLSClient
	if role == DTLSClient {
		w.role = DTLSServer
	}
	if w.dtls != nil && w.role == DTLSClient { // a speculative server runs
		w.dtls.Close()
		w.dtls, w.keys = nil, nil
		w.dtlsRun++ // what it still says is ignored
	}
	w.runDTLS()
	if e := w.keys; e != nil {
		w.keys = nil
		w.dtlsConnected(*e)
	}
	return w.role, nil
}

// RestartICE makes new credentials; the old ones stay good until the new ones
// are used.
func (m *Machine) RestartICE(id string) (ufrag, password string, err error) {
	t := m.transports[id]
	if t == nil {
		return "", "", notFound("Transport", id)
	}
	w, ok := t.part.(*webRTCTransport)
	if !ok {
		return "", "", invalid("transport %q is no WebRTC transport", id)
	}
	w.ice.Restart(m.now)
	w.afterICE(nil, nil)
	ufrag, password = w.ice.Credentials()
	if w.server != nil {
		w.server.ufrags[ufrag] = w
	}
	return ufrag, password, nil
}

// Sockets of our own.

func (w *webRTCTransport) receiveUDP(s driver.UDPSocket, from netip.AddrPort, data []byte) {
	w.receive(ice.Tuple{Socket: s.ID(), Remote: from}, s, nil, data)
}

func (w *webRTCTransport) openTCP(c driver.TCPConn) { w.conns.add(c) }

func (w *webRTCTransport) receiveTCP(c driver.TCPConn, frame []byte) {
	w.receive(tcpTuple(c), nil, c, frame)
}

func (w *webRTCTransport) closeTCP(c driver.TCPConn) {
	w.conns.remove(c)
	w.closedTCP(tcpTuple(c))
}

func (w *webRTCTransport) closedTCP(tuple ice.Tuple) {
	w.ice.RemoveTuple(w.m.now, tuple)
	w.afterICE(nil, nil)
}

// receive takes one datagram or frame. Exactly one of s and c is not nil.
func (w *webRTCTransport) receive(tuple ice.Tuple, s driver.UDPSocket, c driver.TCPConn, data []byte) {
	t, m := w.t, w.m
	t.received(len(data))
	switch {
	case ice.IsSTUN(data):
		before := w.ice.Counters()
		reply, ok := w.ice.Handle(m.now, tuple, data)
		w.logRefused(before, tuple)
		if ok {
			w.reply(tuple, s, c, reply)
		}
		w.afterICE(s, c)
	case rtcp.Is(data):
		if !w.mayReceive(tuple) {
			return
		}
		plain, err := t.rx.UnprotectRTCP(m.plain[:0], data)
		if err != nil {
			t.droppedSRTCP(err)
			return
		}
		t.receiveRTCP(plain)
	case rtp.Is(data):
		if w.mayReceive(tuple) && t.receiveSRTP(data) {
			w.force(tuple)
		}
	case isDTLS(data):
		if !w.ice.IsValid(tuple) {
			m.count.DropUnknownTuple++
			w.droppedDTLS("from an address that ICE does not know", tuple)
			return
		}
		w.force(tuple)
		if w.dtls == nil || w.dtlsState != "connecting" && w.dtlsState != "connected" || !w.dtls.Feed(data) {
			m.count.DropDTLS++
			w.droppedDTLS("not now, or too many", tuple)
		}
	default:
		m.count.DropUnknownKind++
	}
}

// logRefused tells of a STUN message that ICE has just refused.
func (w *webRTCTransport) logRefused(before ice.Counters, tuple ice.Tuple) {
	now, why := w.ice.Counters(), ""
	switch {
	case now.Malformed != before.Malformed:
		why = "malformed"
	case now.BadRequests != before.BadRequests:
		why = "400: bad request"
	case now.Unauthorized != before.Unauthorized:
		why = "401: wrong user or password"
	case now.RoleConflicts != before.RoleConflicts:
		why = "487: role conflict"
	default:
		return
	}
	if n, ok := w.m.may(w.m.logs.ice, slog.LevelWarn, causeSTUN); ok {
		w.m.logs.ice.Warn("STUN refused", "transport", w.t.id, "from", tuple.Remote, "why", why, "skipped", n)
	}
}

func (w *webRTCTransport) droppedDTLS(why string, tuple ice.Tuple) {
	if n, ok := w.m.may(w.m.logs.dtls, slog.LevelWarn, causeDTLS); ok {
		w.m.logs.dtls.Warn("DTLS dropped", "transport", w.t.id, "from", tuple.Remote, "why", why, "skipped", n)
	}
}

func isDTLS(b []byte) bool { return len(b) >= 13 && b[0] > 19 && b[0] < 64 }

// mayReceive reports whether media of tuple is welcome, and counts if not.
func (w *webRTCTransport) mayReceive(tuple ice.Tuple) bool {
	if w.t.rx == nil || w.dtlsState != "connected" {
		w.m.count.DropNotConnected++
		w.t.droppedSRTP("before DTLS is connected")
		return false
	}
	if !w.ice.IsValid(tuple) {
		w.m.count.DropUnknownTuple++
		w.t.droppedSRTP("from an address that ICE does not know")
		return false
	}
	return true
}

// force moves the selection to where media comes from (media-plane §2.4).
func (w *webRTCTransport) force(tuple ice.Tuple) {
	if sel, ok := w.ice.Selected(); ok && sel == tuple {
		return
	}
	w.ice.Force(w.m.now, tuple)
	w.afterICE(nil, nil)
}

// reply answers on the way a packet came.
func (w *webRTCTransport) reply(tuple ice.Tuple, s driver.UDPSocket, c driver.TCPConn, b []byte) {
	w.t.sentBytes(len(b))
	if c != nil {
		c.Send(b)
		return
	}
	d := s.Dest(tuple.Remote)
	copy(s.Reserve(len(b)), b)
	s.Commit(&d, len(b))
}

// afterICE acts on what the ICE machine says happened. s or c is the way of
// the packet that it handled, nil without one.
func (w *webRTCTransport) afterICE(s driver.UDPSocket, c driver.TCPConn) {
	t, m := w.t, w.m
	for _, e := range w.ice.Events() {
		switch e.Kind {
		case ice.TupleAdded:
			p := tuplePath{tuple: e.Tuple, path: path{udp: s, tcp: c}}
			if s != nil {
				p.path.dest = s.Dest(e.Tuple.Remote)
			}
			w.paths = append(w.paths, p)
			if w.server != nil {
				w.server.tuples[e.Tuple] = w
			}
		case ice.TupleRemoved:
			w.removePath(e.Tuple)
		case ice.SelectedTuple:
			i := slices.IndexFunc(w.paths, func(p tuplePath) bool { return p.tuple == e.Tuple })
			if i < 0 {
				continue
			}
			t.out = w.paths[i].path
			sel := w.describe(w.paths[i])
			w.selected = &sel
			if n, ok := m.may(m.logs.ice, slog.LevelDebug, causeTuple); ok {
				m.logs.ice.Debug("ICE path", "transport", t.id, "local", sel.LocalAddress, "localPort", sel.LocalPort,
					"remote", sel.RemoteIP, "remotePort", sel.RemotePort, "protocol", sel.Protocol, "skipped", n)
			}
			m.notify(t.id, ICESelectedTupleChange{sel})
		case ice.StateChanged:
			w.iceState(e.State)
		case ice.UfragReleased:
			if w.server != nil {
				delete(w.server.ufrags, e.Ufrag)
			}
		}
	}
	if at, ok := w.ice.Deadline(); ok {
		m.wheel.Set(&w.consent, at)
	} else {
		m.wheel.Stop(&w.consent)
	}
}

func (w *webRTCTransport) removePath(tuple ice.Tuple) {
	i := slices.IndexFunc(w.paths, func(p tuplePath) bool { return p.tuple == tuple })
	if i < 0 {
		return
	}
	if c := w.paths[i].path.tcp; c != nil {
		w.conns.remove(c)
		if w.server != nil {
			w.server.conns.remove(c)
		}
		c.Close()
	}
	w.paths = slices.Delete(w.paths, i, i+1)
	if w.server != nil {
		delete(w.server.tuples, tuple)
	}
}

// describe returns the public form of a path.
func (w *webRTCTransport) describe(p tuplePath) Tuple {
	listeners := w.listeners
	if w.server != nil {
		listeners = w.server.listeners
	}
	tuple := Tuple{
		RemoteIP: p.tuple.Remote.Addr().String(), RemotePort: p.tuple.Remote.Port(), Protocol: "udp",
	}
	var local netip.AddrPort
	if p.path.tcp != nil {
		tuple.Protocol = "tcp"
		local = p.path.tcp.LocalAddr()
	} else {
		local = p.path.udp.LocalAddr()
	}
	tuple.LocalAddress, tuple.LocalPort = local.Addr().String(), local.Port()
	for _, l := range listeners {
		if (l.tcp != nil) == p.tuple.TCP && l.addr().Port() == local.Port() &&
			(p.path.udp == nil || l.udp.ID() == p.path.udp.ID()) {
			tuple.LocalAddress = l.announced()
			break
		}
	}
	return tuple
}

func (w *webRTCTransport) iceState(s ice.State) {
	if s == ice.Disconnected {
		w.m.logs.ice.Warn("ICE state", "transport", w.t.id, "state", s.String())
	} else {
		w.m.logs.ice.Debug("ICE state", "transport", w.t.id, "state", s.String())
	}
	w.m.notify(w.t.id, ICEStateChange{s.String()})
	switch s {
	case ice.Connected, ice.Completed:
		w.runDTLS()
		if w.dtlsState == "connected" {
			w.t.connect()
		}
	case ice.Disconnected:
		w.t.out = path{}
		w.selected = nil
		w.t.disconnect()
	}
}

// runDTLS starts the handshake as soon as ICE has a path: as server, in case
// the peer is early, until connect says which role is ours.
func (w *webRTCTransport) runDTLS() {
	s := w.ice.State()
	if w.dtls != nil || s != ice.Connected && s != ice.Completed || w.dtlsState == "failed" || w.dtlsState == "closed" {
		return
	}
	w.dtlsRun++
	run, m := w.dtlsRun, w.m
	cfg := dtls.Config{
		Certificate: w.certificate,
		Limiter:     m.cfg.Limiter,
		Send: func(b []byte) {
			m.post(func(*Machine) {
				if !w.t.closed && run == w.dtlsRun {
					w.t.sendRaw(b)
				}
			})
		},
		Event: func(e dtls.Event) {
			m.post(func(*Machine) {
				if !w.t.closed && run == w.dtlsRun {
					w.onDTLS(e)
				}
			})
		},
	}
	role := dtls.Server
	switch w.role {
	case DTLSAuto:
		w.role = DTLSServer // so far
	case DTLSClient:
		role = dtls.Client
	}
	w.dtls = dtls.Start(cfg, role)
	if w.dtlsState != "connecting" {
		w.setDTLS("connecting", "")
	}
}

func (w *webRTCTransport) setDTLS(state, cert string) {
	w.dtlsState = state
	w.m.logs.dtls.Debug("DTLS state", "transport", w.t.id, "state", state)
	w.m.notify(w.t.id, DTLSStateChange{State: state, RemoteCertificate: cert})
}

// sendSCTP sends one packet as application data.
func (w *webRTCTransport) sendSCTP(b []byte) {
	if w.dtls == nil || w.dtlsState != "connected" || w.dtls.Write(b) != nil {
		w.m.count.DropDTLS++
	}
}

func (w *webRTCTransport) onDTLS(e dtls.Event) {
	if p, ok := e.Err.(*dtls.PanicError); ok {
		panic(&PanicError{Value: p.Value, Stack: p.Stack})
	}
	if e.State == dtls.Connected || e.State == dtls.Failed {
		w.m.busy += w.dtls.Busy()
	}
	switch e.State {
	case dtls.NoState:
		if w.dtlsState == "connected" { // else nobody knows yet who sent it
			w.t.receiveSCTP(e.Data)
		}
	case dtls.Connected:
		if w.remote == nil {
			w.keys = &e
			return
		}
		w.dtlsConnected(e)
	case dtls.Failed:
		w.m.logs.dtls.Warn("DTLS failed", "transport", w.t.id, "error", e.Err)
		w.endDTLS("failed")
	case dtls.Closed:
		w.endDTLS("closed")
	}
}

func (w *webRTCTransport) dtlsConnected(e dtls.Event) {
	if !dtls.Match(*w.remote, e.RemoteCertificate) {
		w.m.logs.dtls.Warn("DTLS certificate does not match the fingerprint", "transport", w.t.id)
		w.endDTLS("failed")
		return
	}
	w.m.logs.srtp.Debug("SRTP keys", "transport", w.t.id, "suite", e.Keys.Suite)
	tx, err := srtp.NewSender(srtp.Suite(e.Keys.Suite), e.Keys.LocalMaster)
	if err != nil {
		w.m.logs.dtls.Warn("keys of DTLS", "transport", w.t.id, "error", err)
		w.endDTLS("failed")
		return
	}
	rx, err := srtp.NewReceiver(srtp.Suite(e.Keys.Suite), e.Keys.RemoteMaster)
	if err != nil {
		w.m.logs.dtls.Warn("keys of DTLS", "transport", w.t.id, "error", err)
		w.endDTLS("failed")
		return
	}
	w.t.tx, w.t.rx = tx, rx
	w.remotePEM = e.RemotePEM
	w.setDTLS("connected", e.RemotePEM)
	if s := w.ice.State(); s == ice.Connected || s == ice.Completed {
		w.t.connect()
	}
}

func (w *webRTCTransport) endDTLS(state string) {
	if w.dtls != nil {
		w.dtls.Close()
	}
	w.keys = nil
	w.setDTLS(state, "")
	w.t.disconnect()
}

func (w *webRTCTransport) close() {
	if w.dtls != nil { // and a peer that was to be told has been: see Close
		w.dtls.Close()
	}
	w.m.wheel.Stop(&w.consent)
	for len(w.paths) > 0 {
		w.removePath(w.paths[0].tuple)
	}
	w.conns.close()
	if s := w.server; s != nil {
		ufrag, _ := w.ice.Credentials()
		delete(s.ufrags, ufrag)
		if old := w.ice.OldUfrag(); old != "" {
			delete(s.ufrags, old)
		}
		s.transports = slices.DeleteFunc(s.transports, func(x *webRTCTransport) bool { return x == w })
	}
	closeAll(w.listeners)
}

func (w *webRTCTransport) fill(d *TransportDump) {
	ufrag, password := w.ice.Credentials()
	d.WebRTC = &WebRTCDump{
		ICEState:          w.ice.State().String(),
		Ufrag:             ufrag,
		Password:          password,
		Candidates:        slices.Clone(w.candidates),
		SelectedTuple:     w.selected,
		DTLSState:         w.dtlsState,
		DTLSRole:          w.role,
		Fingerprints:      w.certificate.Fingerprints(),
		RemoteCertificate: w.remotePEM,
	}
}

// WebRTCDump is what a WebRTC transport adds to a [TransportDump].
type WebRTCDump struct {
	ICEState          string
	Ufrag, Password   string
	Candidates        []ice.Candidate
	SelectedTuple     *Tuple
	DTLSState         string
	DTLSRole          DTLSRole
	Fingerprints      []dtls.Fingerprint
	RemoteCertificate string // PEM; empty before DTLS connected
}

// ParseDTLSRole returns the role that mediasoup calls name; "" is auto.
func ParseDTLSRole(name string) (DTLSRole, error) {
	switch strings.ToLower(name) {
	case "", "auto":
		return DTLSAuto, nil
	case "client":
		return DTLSClient, nil
	case "server":
		return DTLSServer, nil
	}
	return 0, invalid("unknown DTLS role %q", name)
}
