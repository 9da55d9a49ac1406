// Fanout measures what it costs to forward one stream to many: CPU time of the
// server's process for each packet sent, beside a loop that only seals packets
// and sends each with a call of its own.
//
//	go run ./bench/fanout -consumers 300 -transport webrtc
//
// Its last line is one JSON object, a [result]. How it is measured stands in
// bench/internal/harness.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/mafalda-sfu/mafalda/bench/internal/harness"
)

func main() {
	o, err := parseOptions(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "fanout:", err)
		os.Exit(1)
	}
	harness.Main(harness.Program{Name: "fanout", Limit: o.limit(), Segments: o.Segments, Serve: o.serve})
}

// serve brings the SFU to where every consumer gets what is produced, and
// measures. The first consumer comes alone, so that what all share is there
// before the others are weighed.
func (o *options) serve(ctx context.Context, h *harness.Host) error {
	if o.memProfile != "" {
		runtime.MemProfileRate = 1
	}
	r := &result{Ran: ran{options: *o, Machine: harness.ThisMachine()}}
	if err := h.Configure(harness.Config{Peers: 1 + o.Consumers, Suite: o.Suite, Feedback: o.Feedback, Tick: o.Tick}); err != nil {
		return err
	}
	rig, err := h.NewRig(ctx, harness.Settings{Plain: o.Transport == transportPlain, EachPort: o.Ports == portsEach})
	if err != nil {
		return err
	}
	empty := harness.LiveBytes()
	if err := rig.Connect(ctx, 1+o.Consumers); err != nil {
		return err
	}
	r.BytesPerTransport = (harness.LiveBytes() - empty) / int64(o.Consumers+1)
	layer := harness.Layer{PPS: o.PPS, Burst: o.Burst, Size: o.Size}
	if err := rig.Produce(ctx, harness.Track{Peer: 0, Layers: []harness.Layer{layer}}); err != nil {
		return err
	}
	first := int64(0)
	for i := 1; i <= o.Consumers; i++ {
		if err := rig.Consume(ctx, harness.Subscription{Peer: i}); err != nil {
			return err
		}
		if i == 1 {
			if err := rig.Verify(); err != nil {
				return err
			}
			first = harness.LiveBytes()
		}
	}
	if err := rig.Verify(); err != nil {
		return err
	}
	r.BytesPerConsumer = (harness.LiveBytes() - first) / int64(max(o.Consumers-1, 1))

	f, err := rig.Pairs(o.Seconds)
	if err != nil {
		return err
	}
	r.Figures = *f
	a, err := h.Run(harness.Run{Duration: 2 * time.Second, Latency: true})
	if err != nil {
		return err
	}
	r.LatencyMs = a.Latency
	r.LastOfTurn = harness.Round(a.Latency.Last*1e6/(float64(o.Burst*o.Consumers)*r.NsPerPacket), 2)
	if o.Explain {
		if r.Explained, err = rig.Explain(o.Seconds); err != nil {
			return err
		}
	}
	if o.cpuProfile != "" {
		if err := rig.CPUProfile(o.cpuProfile, o.Seconds); err != nil {
			return err
		}
	}
	if o.memProfile != "" {
		if err := rig.MemProfile(o.memProfile, o.Seconds); err != nil {
			return err
		}
	}
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	verdict := o.check(r)
	fmt.Println(string(line))
	return verdict
}
