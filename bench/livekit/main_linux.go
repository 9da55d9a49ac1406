// Livekit measures what LiveKit's server makes of the fan-out of bench/fanout:
// one node without Redis, all behind one port.
//
//	go run ./bench/livekit
//	go run ./bench/livekit -batch
//
// It is measured like ours, beside the same loop; its process is charged, not
// ours that starts it. Peers join by its signalling, each with one PeerConnection,
// as its clients do. Its configuration is its default, but for where it listens;
// -batch has it send by sendmmsg, as its sample configuration shows. RTX is
// negotiated. Receivers send reports, but neither transport-cc, since by default
// it puts no such numbers on what it sends, nor REMB.
//
// The kernel counts what leaves, as datagrams. The server's reports are among
// them, two of a thousand; so a run in which receivers read tells of media alone.
//
// The server is a module of its own, bench/livekit/server, and is built before
// the measurement: the newest release that is made of pion's modules. Those after
// it replace them by forks, which not every module proxy has. If it can't be
// built, the status is 69.
//
// The last line is one JSON object, a [result].
package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mafalda-sfu/mafalda/bench/internal/harness"
)

type options struct {
	Consumers int           `json:"consumers"`
	Seconds   int           `json:"seconds"`
	Batch     bool          `json:"batch"`
	Layer     harness.Layer `json:"layer"`
}

// result is what the last line says.
type result struct {
	harness.ForeignFigures
	// Versions are those of the modules of the server that media passes through.
	Versions map[string]string `json:"versions"`
	Ran      struct {
		options
		harness.Machine
	} `json:"ran"`
}

// leastForwarded is the share below which a figure would not be one of
// forwarding.
const leastForwarded = 0.99

func main() {
	o := &options{Layer: harness.Layer{PPS: 200, Burst: 4, Size: 1100}}
	f := harness.NewFlags("livekit")
	f.IntVar(&o.Consumers, "consumers", 300, 1, 1000, "receivers")
	f.IntVar(&o.Seconds, "seconds", 7, 3, 60, "pairs of slices")
	f.BurstVar(&o.Layer.Burst)
	f.BoolVar(&o.Batch, "batch", false, "let the server send by sendmmsg, 128 packets or 2 ms at a time")
	f.MustParse()
	limit := 90*time.Second + time.Duration(4*o.Seconds)*time.Second + time.Duration(o.Consumers)*100*time.Millisecond
	harness.Main(harness.Program{Name: "livekit", Limit: limit, Prepare: buildServer, Serve: o.serve})
}

func (o *options) serve(_ context.Context, h *harness.Host) (err error) {
	if h.Sink != harness.SinkTUN {
		return errors.New("the server takes no loopback for an address of its own: it needs a TUN")
	}
	if err := h.Configure(harness.DefaultConfig(1 + o.Consumers)); err != nil {
		return err
	}
	s, err := startServer(h, o.Batch)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	room := &room{host: h, server: s}
	defer room.close()
	f, err := room.foreign(o)
	if err != nil {
		return err
	}
	v, _, err := h.MeasureForeign("LiveKit", f, o.Seconds, nil)
	if err != nil {
		return err
	}
	r := &result{ForeignFigures: v, Versions: s.versions}
	r.Ran.options, r.Ran.Machine = *o, harness.ThisMachine()
	if r.Forwarded < leastForwarded || r.Received < leastForwarded {
		return fmt.Errorf("%.4f of the packets were forwarded and %.4f received: that is no figure", r.Forwarded, r.Received)
	}
	return harness.Print(r)
}
