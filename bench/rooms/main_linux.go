// Rooms measures small meetings: everybody sends audio and three layers of
// simulcast video, and gets those of all others in the room.
//
//	go run ./bench/rooms
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
	Rooms  int `json:"rooms"`
	People int `json:"people"`
}

// What everybody sends: 32 kbit/s of audio, and video of 150, 500 and
// 1,200 kbit/s.
var (
	audio = []harness.Layer{{PPS: 50, Burst: 1, Size: 80}}
	video = []harness.Layer{{PPS: 20, Burst: 1, Size: 900}, {PPS: 60, Burst: 2, Size: 1000}, {PPS: 120, Burst: 4, Size: 1100}}
)

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
	f := harness.NewFlags("rooms")
	o.Flags(f)
	f.IntVar(&o.Rooms, "rooms", 30, 1, 200, "rooms")
	f.IntVar(&o.People, "people", 6, 2, 20, "people in each")
	o.Parse(f)
	harness.Main(harness.Program{Name: "rooms", Limit: o.Limit(), Workers: o.Workers, Serve: o.serve})
}

func (o *options) serve(ctx context.Context, h *harness.Host) error {
	people := o.Rooms * o.People
	if err := h.Configure(o.Config(people)); err != nil {
		return err
	}
	rig, err := h.NewRig(ctx, harness.Settings{
		Count: o.Workers, Place: func(peer int) int { return peer / o.People % o.Workers },
		LeastBitrate: 20_000_000,
	})
	if err != nil {
		return err
	}
	if err := rig.Connect(ctx, people); err != nil {
		return err
	}
	for i := range people {
		err := rig.Produce(ctx, harness.Track{Peer: i, Audio: true, Layers: audio}, harness.Track{Peer: i, Layers: video})
		if err != nil {
			return err
		}
	}
	if err := rig.Verify(); err != nil { // nobody consumes yet: let all layers be seen
		return err
	}
	for i := range people {
		room := i / o.People * o.People
		for j := room; j < room+o.People; j++ {
			if j == i {
				continue
			}
			err := rig.Consume(ctx, harness.Subscription{Peer: i, Track: 2 * j}, harness.Subscription{Peer: i, Track: 2*j + 1})
			if err != nil {
				return err
			}
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
