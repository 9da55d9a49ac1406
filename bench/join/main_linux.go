// Join measures a storm of people who join: WebRTCTransports that are created,
// connected and consuming as fast as one core allows, while media flows to those
// who are in the room already.
//
//	go run ./bench/join
//
// The server is bound to one core and the peers to the others. Its last line is
// one JSON object, a [result].
package main

import (
	"context"
	"time"

	"github.com/mafalda-sfu/mafalda/bench/internal/harness"
)

type options struct {
	Joins  int           `json:"joins"`
	People int           `json:"people"`
	AtOnce int           `json:"atOnce"`
	Layer  harness.Layer `json:"layer"`
}

// result is what the last line says.
type result struct {
	JoinsPerSecond float64 `json:"joinsPerSecond"`
	// CPUMsPerJoin is what the server used, without what forwarding costs with all
	// in the room.
	CPUMsPerJoin float64 `json:"cpuMsPerJoin"`
	CPU          float64 `json:"cpu"` // cores, forwarding included
	MedianJoinMs float64 `json:"medianJoinMs"`
	LongestMs    float64 `json:"longestJoinMs"`
	// QuietLatencyMs and LatencyMs are those of who was in the room, before the
	// storm and during it.
	QuietLatencyMs harness.Latency `json:"quietLatencyMs"`
	LatencyMs      harness.Latency `json:"latencyMs"`
	Sink           string          `json:"sink"`
	Ran            struct {
		options
		harness.Machine
	} `json:"ran"`
}

func main() {
	o := &options{Layer: harness.Layer{PPS: 100, Burst: 4, Size: 1100}}
	f := harness.NewFlags("join")
	f.IntVar(&o.Joins, "joins", 500, 10, 5000, "people who join")
	f.IntVar(&o.People, "people", 20, 1, 500, "people in the room")
	f.IntVar(&o.AtOnce, "at-once", 16, 1, 200, "joins under way")
	f.MustParse()
	harness.Main(harness.Program{Name: "join", Limit: o.limit(), OneCore: true, Serve: o.serve})
}

// longest is how long the storm may take.
func (o *options) longest() time.Duration {
	return 10*time.Second + time.Duration(o.Joins)*40*time.Millisecond
}

func (o *options) limit() time.Duration { return time.Minute + o.longest() }

func (o *options) serve(ctx context.Context, h *harness.Host) error {
	if err := h.Configure(harness.DefaultConfig(1 + o.People + o.Joins)); err != nil {
		return err
	}
	rig, err := h.NewRig(ctx, harness.Settings{})
	if err != nil {
		return err
	}
	if err := rig.Connect(ctx, 1+o.People); err != nil {
		return err
	}
	if err := rig.Produce(ctx, harness.Track{Layers: []harness.Layer{o.Layer}}); err != nil {
		return err
	}
	for i := range o.People {
		if err := rig.Consume(ctx, harness.Subscription{Peer: 1 + i}); err != nil {
			return err
		}
	}
	if err := rig.Verify(); err != nil {
		return err
	}
	quiet, err := h.Run(harness.Run{Duration: 2 * time.Second, Latency: true})
	if err != nil {
		return err
	}
	rig.Room(1 + o.People + o.Joins)
	s, err := rig.Storm(ctx, 1+o.People, harness.Storm{
		Joins: o.Joins, AtOnce: o.AtOnce, Run: harness.Run{Duration: o.longest(), Latency: true},
	})
	if err != nil {
		return err
	}
	after, err := rig.Alone(3, harness.Run{})
	if err != nil {
		return err
	}
	joins := float64(o.Joins)
	ms := func(d time.Duration) float64 { return harness.Round(d.Seconds()*1000, 2) }
	r := &result{
		JoinsPerSecond: harness.Round(joins/s.Took.Seconds(), 1),
		CPUMsPerJoin:   harness.Round((s.CPU.Seconds()*1000-float64(s.Packets)*after.NsPerPacket/1e6)/joins, 3),
		CPU:            harness.Round(s.CPU.Seconds()/s.Took.Seconds(), 3),
		MedianJoinMs:   ms(s.Median), LongestMs: ms(s.Slowest),
		QuietLatencyMs: quiet.Latency, LatencyMs: s.Ran.Latency,
		Sink: h.Sink,
	}
	r.Ran.options, r.Ran.Machine = *o, harness.ThisMachine()
	return harness.Print(r)
}
