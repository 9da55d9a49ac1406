package engine

import (
	"net/netip"
	"sync/atomic"
	"time"
)

// A Tap gets copies of the RTP, RTCP and SCTP of one transport, decrypted. The loop
// fills its records and never waits: what finds none free is dropped and
// counted. All memory is there from the beginning.
type Tap struct {
	free, full chan *TapPacket
	dropped    atomic.Uint64
}

// A TapPacket is one packet on its way.
type TapPacket struct {
	Time          time.Duration // since the Unix epoch
	Out           bool          // to the peer
	SCTP          bool          // not RTP or RTCP
	Local, Remote netip.AddrPort
	Length        int    // of the packet
	Data          []byte // its beginning
}

// NewTap makes a Tap with so many records of so many bytes.
func NewTap(records, size int) *Tap {
	t := &Tap{free: make(chan *TapPacket, records), full: make(chan *TapPacket, records)}
	for range records {
		t.free <- &TapPacket{Data: make([]byte, 0, size)}
	}
	return t
}

// Packets has what came, oldest first. Give each back with [Tap.Release].
func (t *Tap) Packets() <-chan *TapPacket { return t.full }

// Release gives a record back.
func (t *Tap) Release(p *TapPacket) { t.free <- p }

// Dropped is how many packets found no record.
func (t *Tap) Dropped() uint64 { return t.dropped.Load() }

// TapTransport begins to copy what passes a transport. Errors: ErrNotFound,
// ErrInvalidState if it has a Tap, errors.ErrUnsupported of a direct transport,
// whose packets the application has anyway.
func (m *Machine) TapTransport(id string, tap *Tap) error {
	t := m.transports[id]
	if t == nil {
		return notFound("transport", id)
	}
	if t.direct {
		return unsupported("a direct transport has no tap")
	}
	if m.taps[t] != nil {
		return invalidState("transport %q has a tap", id)
	}
	if m.taps == nil {
		m.taps = map[*transport]*Tap{}
	}
	m.taps[t] = tap
	return nil
}

// UntapTransport ends it. It does nothing if the transport has another Tap, or is
// gone.
func (m *Machine) UntapTransport(id string, tap *Tap) {
	if t := m.transports[id]; t != nil && m.taps[t] == tap {
		t.untap()
	}
}

// untap lets a transport have no Tap. Without any there is no map: that is all
// that packets look at.
func (t *transport) untap() {
	delete(t.m.taps, t)
	if len(t.m.taps) == 0 {
		t.m.taps = nil
	}
}

// tapped copies a packet in two parts, if the transport has a Tap. Call it only
// while there are taps.
func (t *transport) tapped(by *path, out bool, head, body []byte) {
	tap := t.m.taps[t]
	if tap == nil {
		return
	}
	if p := tap.record(t.m, by, out, len(head)+len(body)); p != nil {
		p.Data = append(p.Data, head[:min(len(head), cap(p.Data))]...)
		p.Data = append(p.Data, body[:min(len(body), cap(p.Data)-len(p.Data))]...)
		tap.full <- p // it has room for all records
	}
}

// tappedSCTP copies a packet of SCTP.
func (t *transport) tappedSCTP(out bool, b []byte) {
	tap := t.m.taps[t]
	if tap == nil {
		return
	}
	if p := tap.record(t.m, &t.out, out, len(b)); p != nil {
		p.SCTP = true
		p.Data = append(p.Data, b[:min(len(b), cap(p.Data))]...)
		tap.full <- p
	}
}

// record returns a record for a packet of n bytes, empty, or nil.
func (tap *Tap) record(m *Machine, by *path, out bool, n int) *TapPacket {
	var p *TapPacket
	select {
	case p = <-tap.free:
	default:
		tap.dropped.Add(1)
		return nil
	}
	p.Time, p.Out, p.SCTP, p.Length, p.Data = m.ntpOffset+m.now, out, false, n, p.Data[:0]
	p.Local, p.Remote = by.ends()
	return p
}

// rtcpPath is where RTCP goes.
func (t *transport) rtcpPath() *path {
	if t.rtcpApart {
		return &t.rtcpOut
	}
	return &t.out
}

// ends returns the two addresses of a path; those that it has not are zero.
func (p *path) ends() (local, remote netip.AddrPort) {
	switch {
	case p.udp != nil:
		return p.udp.LocalAddr(), p.dest.Addr()
	case p.tcp != nil:
		return p.tcp.LocalAddr(), p.tcp.RemoteAddr()
	}
	return local, remote
}
