package harness

import (
	"fmt"
	"net/netip"

	"github.com/mafalda-sfu/mafalda"
)

// A Foreign is how a forwarder that is not ours meets the peers: a fan-out of
// what peer 0 sends to all others.
type Foreign struct {
	// Addr is where it listens, ICE what each peer has to know.
	Addr netip.AddrPort
	ICE  []mafalda.ICEParameters
	// SSRCs are those of what the peers from 1 on get.
	SSRCs []uint32
	// Layer is what peer 0 sends.
	Layer Layer
	// Sent returns how many packets it has sent.
	Sent func() uint64
}

// The stream that peer 0 sends to a [Foreign].
const (
	ForeignSSRC        = 10_000_000
	ForeignPayloadType = payloadVideo
)

// PeerUfrag is the ICE user name fragment of all peers.
const PeerUfrag = "receiver"

// Addr is the address of the server.
func (h *Host) Addr() netip.Addr { return h.addr }

// Fingerprint is that of the certificate of all peers.
func (h *Host) Fingerprint() mafalda.DTLSFingerprint { return h.fingerprint }

// Connect lets the peers connect to f. It returns a rig without Workers.
func (h *Host) Connect(f Foreign) (*Rig, error) {
	if len(f.ICE) != len(f.SSRCs)+1 {
		return nil, fmt.Errorf("%d peers, and %d that receive", len(f.ICE), len(f.SSRCs))
	}
	var endpoints []endpoint
	for i := range f.ICE {
		endpoints = append(endpoints, endpoint{Addr: f.Addr, ICE: &f.ICE[i]})
	}
	if _, err := h.peers.do(command{Connect: &connectCommand{Transports: endpoints}}); err != nil {
		return nil, err
	}
	r := &Rig{Host: h, sent: f.Sent, tracks: make([]Track, 1)}
	r.sources = []sourceInfo{{Stream: streamInfo{SSRC: ForeignSSRC, PayloadType: ForeignPayloadType}, Layer: f.Layer}}
	for i, ssrc := range f.SSRCs {
		r.sinks = append(r.sinks, sinkInfo{Peer: 1 + i, Stream: streamInfo{SSRC: ssrc, PayloadType: ForeignPayloadType}})
	}
	_, err := h.peers.do(command{Streams: &streamsCommand{Sources: r.sources, Sinks: r.sinks}})
	return r, err
}
