// Grid measures forwarding one to one: as many Producers as peers, each with one
// Consumer, as in a meeting that everybody watches a different tile of. Here the
// cost of receiving counts as much as that of sending.
//
//	go run ./bench/grid
//
// It compares with a loop that has one recvmsg and one sendto for each packet,
// and tells the latency at a share of one core. Its last line is one JSON object,
// a [result].
package main

import (
	"context"
	"errors"

	"github.com/mafalda-sfu/mafalda/bench/internal/harness"
)

type options struct {
	harness.Common
	Producers int           `json:"producers"`
	Layer     harness.Layer `json:"layer"`
}

// result is what the last line says.
type result struct {
	harness.Measured
	Ran struct {
		options
		harness.Machine
	} `json:"ran"`
}

func main() {
	o := &options{}
	f := harness.NewFlags("grid")
	o.Flags(f)
	f.EvenVar(&o.Producers, "producers", 300, 4, 2000, "Producers, each with one Consumer")
	f.IntVar(&o.Layer.PPS, "pps", 100, 1, 2000, "packets per second of each")
	f.BurstVar(&o.Layer.Burst)
	f.SizeVar(&o.Layer.Size)
	o.Parse(f)
	harness.Main(harness.Program{Name: "grid", Limit: o.Limit(), Workers: o.Workers, Serve: o.serve})
}

func (o *options) serve(ctx context.Context, h *harness.Host) error {
	if err := h.Configure(o.Config(o.Producers)); err != nil {
		return err
	}
	rig, err := h.NewRig(ctx, harness.Settings{Count: o.Workers, Place: func(peer int) int { return peer % o.Workers }})
	if err != nil {
		return err
	}
	if err := rig.Connect(ctx, o.Producers); err != nil {
		return err
	}
	for i := range o.Producers {
		if err := rig.Produce(ctx, harness.Track{Peer: i, Layers: []harness.Layer{o.Layer}}); err != nil {
			return err
		}
	}
	for i := range o.Producers {
		// That of a peer on the same Worker.
		if err := rig.Consume(ctx, harness.Subscription{Peer: i, Track: (i + 2) % o.Producers}); err != nil {
			return err
		}
	}
	r := &result{}
	r.Ran.options, r.Ran.Machine = *o, harness.ThisMachine()
	m, err := o.Measure(rig)
	if err != nil {
		return err
	}
	r.Measured = *m
	return errors.Join(harness.Print(r), r.Check())
}
