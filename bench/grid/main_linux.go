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
	"flag"
	"fmt"
	"os"

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
	f := flag.NewFlagSet("grid", flag.ExitOnError)
	o.Flags(f)
	f.IntVar(&o.Producers, "producers", 300, "Producers, each with one Consumer, 4 to 2000, even")
	f.IntVar(&o.Layer.PPS, "pps", 100, "packets per second of each, 1 to 2000")
	f.IntVar(&o.Layer.Burst, "burst", 4, "packets that are sent back to back, 1 to 64")
	f.IntVar(&o.Layer.Size, "size", 1100, "bytes of RTP payload, 32 to 1300")
	o.Parse(f)
	for _, r := range []struct {
		name           string
		v, least, most int
	}{
		{"producers", o.Producers, 4, 2000}, {"pps", o.Layer.PPS, 1, 2000},
		{"burst", o.Layer.Burst, 1, 64}, {"size", o.Layer.Size, harness.MinPayload, 1300},
		{"producers modulo 2", o.Producers % 2, 0, 0},
	} {
		if r.v < r.least || r.v > r.most {
			fmt.Fprintf(os.Stderr, "grid: -%s is %d, want %d to %d\n", r.name, r.v, r.least, r.most)
			os.Exit(1)
		}
	}
	harness.Main(harness.Program{Name: "grid", Limit: o.Limit(), Workers: o.Workers, Serve: o.serve})
}

func (o *options) serve(h *harness.Host) error {
	ctx, cancel := context.WithTimeout(context.Background(), o.Limit())
	defer cancel()
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
