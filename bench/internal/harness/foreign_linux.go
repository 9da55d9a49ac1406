package harness

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

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

	// Join is for a forwarder that lets people come only to what is there
	// already. Then ICE is of peer 0 alone, which sends while Join is called, by
	// many goroutines, for each of the peers from 1 to Joins.
	Join  func(peer int) (ice mafalda.ICEParameters, ssrc uint32, err error)
	Joins int
	// Process is what is charged, if the forwarder is a process of its own.
	Process int
}

// The stream that peer 0 sends to a [Foreign].
const (
	ForeignSSRC        = 10_000_000
	ForeignPayloadType = payloadVideo
)

// What all peers say of themselves in ICE. They make checks, but answer none.
const (
	PeerUfrag    = "receiver"
	PeerPassword = "of/nobody/who/is/checked"
)

// Addr is the address of the server.
func (h *Host) Addr() netip.Addr { return h.addr }

// Fingerprint is that of the certificate of all peers.
func (h *Host) Fingerprint() mafalda.DTLSFingerprint { return h.fingerprint }

// Connect lets the peers connect to f. It returns a rig without Workers.
func (h *Host) Connect(f Foreign) (*Rig, error) {
	if len(f.ICE) != len(f.SSRCs)+1 {
		return nil, fmt.Errorf("%d peers, and %d that receive", len(f.ICE), len(f.SSRCs))
	}
	if _, err := h.peers.do(command{Connect: &connectCommand{Transports: f.endpoints(f.ICE...)}}); err != nil {
		return nil, err
	}
	r := &Rig{Host: h, sent: f.Sent, process: f.Process, tracks: make([]Track, 1)}
	r.sources = []sourceInfo{{Stream: streamInfo{SSRC: ForeignSSRC, PayloadType: ForeignPayloadType}, Layer: f.Layer}}
	for i, ssrc := range f.SSRCs {
		r.sinks = append(r.sinks, foreignSink(1+i, ssrc))
	}
	_, err := h.peers.do(command{Streams: &streamsCommand{Sources: r.sources, Sinks: r.sinks}})
	if err == nil && f.Join != nil {
		err = r.joinForeign(f)
	}
	return r, err
}

func (f *Foreign) endpoints(list ...mafalda.ICEParameters) []endpoint {
	var out []endpoint
	for i := range list {
		out = append(out, endpoint{Addr: f.Addr, ICE: &list[i]})
	}
	return out
}

func foreignSink(peer int, ssrc uint32) sinkInfo {
	return sinkInfo{Peer: peer, Stream: streamInfo{SSRC: ssrc, PayloadType: ForeignPayloadType}}
}

const (
	// joinsAtOnce is enough to keep both processes busy.
	joinsAtOnce = 8
	// joiningRate is what peer 0 sends while others join, of what it sends later.
	joiningRate = 0.2
	joiningTime = 2 * time.Minute
)

// joinForeign lets the peers join one by one while peer 0 sends.
func (r *Rig) joinForeign(f Foreign) error {
	c := &calls{p: r.peers, pending: map[int]chan answer{}}
	run, err := c.start(command{Run: &Run{Duration: joiningTime, Rate: joiningRate, Read: true}})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	r.sinks = make([]sinkInfo, f.Joins)
	next := make(chan int)
	var wg sync.WaitGroup
	for range joinsAtOnce {
		wg.Go(func() { // ends with next
			for peer := range next {
				if ctx.Err() != nil {
					continue // another one failed
				}
				if err := r.joinOne(c, f, peer); err != nil {
					cancel(fmt.Errorf("peer %d: %w", peer, err))
				}
			}
		})
	}
	for i := range f.Joins {
		next <- 1 + i
	}
	close(next)
	wg.Wait()
	_, err = c.do(command{Stop: true})
	if a := <-run; a.Error != "" {
		err = errors.Join(err, errors.New("peers: "+a.Error))
	}
	return errors.Join(context.Cause(ctx), err)
}

func (r *Rig) joinOne(c *calls, f Foreign, peer int) error {
	ice, ssrc, err := f.Join(peer)
	if err != nil {
		return err
	}
	r.sinks[peer-1] = foreignSink(peer, ssrc)
	if _, err := c.do(command{Connect: &connectCommand{First: peer, Transports: f.endpoints(ice)}}); err != nil {
		return err
	}
	_, err = c.do(command{Streams: &streamsCommand{Sinks: r.sinks[peer-1 : peer]}})
	return err
}

// ForeignFigures are what is told of a forwarder that is not ours, beside the
// reference loop.
type ForeignFigures struct {
	Forwarder            string    `json:"forwarder"`
	NsPerPacket          float64   `json:"nsPerPacket"`
	ReferenceNsPerPacket float64   `json:"referenceNsPerPacket"`
	Ratio                float64   `json:"ratio"`
	Ratios               []float64 `json:"ratios"`
	Forwarded            float64   `json:"forwarded"`
	// Received is the share of what should have come to receivers that did, in a
	// run in which they read.
	Received  float64 `json:"received"`
	CPU       float64 `json:"cpu"`
	LatencyMs Latency `json:"latencyMs"`
	Sink      string  `json:"sink"`
}

// MeasureForeign connects the peers of a forwarder, calls start unless it is nil,
// checks that everything is forwarded, and measures: pairs of slices, then two
// seconds in which receivers read. The second result is what the pairs gave.
func (h *Host) MeasureForeign(name string, f Foreign, pairs int, start func() error) (ForeignFigures, *Figures, error) {
	var none ForeignFigures
	rig, err := h.Connect(f)
	if err != nil {
		return none, nil, err
	}
	if start != nil {
		if err := start(); err != nil {
			return none, nil, err
		}
	}
	if err := rig.Verify(); err != nil {
		return none, nil, err
	}
	v, err := rig.Pairs(pairs)
	if err != nil {
		return none, nil, err
	}
	ran, err := h.Run(Run{Duration: 2 * time.Second, Latency: true})
	if err != nil {
		return none, nil, err
	}
	return ForeignFigures{
		Forwarder: name, NsPerPacket: v.NsPerPacket, ReferenceNsPerPacket: v.ReferenceNsPerPacket,
		Ratio: v.Ratio, Ratios: v.Ratios, Forwarded: v.Forwarded,
		Received: Round(float64(ran.Received)/float64(ran.Copies), 4),
		CPU:      v.CPU, LatencyMs: ran.Latency, Sink: h.Sink,
	}, v, nil
}
