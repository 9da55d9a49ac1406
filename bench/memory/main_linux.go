// Memory measures what Transports and Consumers take of memory.
//
//	go run ./bench/memory
//
// It connects Transports, gives each its Consumers, lets media flow to all of
// them for longer than packets are kept, and reads what is live and what is
// resident. Its last line is one JSON object, a [result].
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"github.com/mafalda-sfu/mafalda/bench/internal/harness"
)

type options struct {
	Transports int `json:"transports"`
	Consumers  int `json:"consumersEach"`
}

// result is what the last line says. Bytes are those of live objects and stacks,
// resident ones those of the process after a collection.
type result struct {
	BytesPerTransport         int64 `json:"bytesPerTransport"` // connected, without SCTP
	BytesPerConsumer          int64 `json:"bytesPerConsumer"`  // beyond the shared store
	ResidentPerTransport      int64 `json:"residentPerTransport"`
	ResidentPerConsumer       int64 `json:"residentPerConsumer"`
	ResidentEmpty             int64 `json:"residentEmpty"` // an SFU with one Worker
	Resident                  int64 `json:"resident"`      // with all of it
	ResidentBeforeCollections int64 `json:"residentBeforeCollections"`
	Ran                       struct {
		options
		harness.Machine
	} `json:"ran"`
}

func main() {
	o := &options{}
	f := harness.NewFlags("memory")
	f.IntVar(&o.Transports, "transports", 1000, 10, 5000, "Transports of receivers")
	f.IntVar(&o.Consumers, "consumers", 10, 1, 50, "Consumers on each")
	f.MustParse()
	harness.Main(harness.Program{Name: "memory", Limit: o.limit(), Serve: o.serve})
}

func (o *options) limit() time.Duration {
	return 2*time.Minute + time.Duration(o.Transports*(20+o.Consumers))*time.Millisecond
}

func (o *options) serve(ctx context.Context, h *harness.Host) error {
	if err := h.Configure(harness.DefaultConfig(1 + o.Transports)); err != nil {
		return err
	}
	rig, err := h.NewRig(ctx, harness.Settings{LeastBitrate: 20_000_000})
	if err != nil {
		return err
	}
	r := &result{}
	r.Ran.options, r.Ran.Machine = *o, harness.ThisMachine()
	empty, emptyRSS, err := settled()
	if err != nil {
		return err
	}
	if err := rig.Connect(ctx, 1+o.Transports); err != nil {
		return err
	}
	transports, transportsRSS, err := settled()
	if err != nil {
		return err
	}
	// One sender: what a Consumer takes does not depend on how many there are.
	for range o.Consumers {
		track := harness.Track{Layers: []harness.Layer{{PPS: 20, Burst: 1, Size: 1100}}}
		if err := rig.Produce(ctx, track); err != nil {
			return err
		}
	}
	// The first receiver brings what all share.
	if err := o.consume(ctx, rig, 1); err != nil {
		return err
	}
	if err := o.flow(rig); err != nil {
		return err
	}
	first, firstRSS, err := settled()
	if err != nil {
		return err
	}
	for i := 2; i <= o.Transports; i++ {
		if err := o.consume(ctx, rig, i); err != nil {
			return err
		}
	}
	if err := o.flow(rig); err != nil {
		return err
	}
	if r.ResidentBeforeCollections, err = resident(); err != nil {
		return err
	}
	all, allRSS, err := settled()
	if err != nil {
		return err
	}
	consumers := int64((o.Transports - 1) * o.Consumers)
	r.BytesPerTransport = (transports - empty) / int64(o.Transports+1)
	r.BytesPerConsumer = (all - first) / consumers
	r.ResidentPerTransport = (transportsRSS - emptyRSS) / int64(o.Transports+1)
	r.ResidentPerConsumer = (allRSS - firstRSS) / consumers
	r.ResidentEmpty, r.Resident = emptyRSS, allRSS
	return harness.Print(r)
}

func (o *options) consume(ctx context.Context, rig *harness.Rig, peer int) error {
	list := make([]harness.Subscription, o.Consumers)
	for i := range list {
		list[i] = harness.Subscription{Peer: peer, Track: i}
	}
	return rig.Consume(ctx, list...)
}

// flow lets media flow: first until every receiver is known to get it, then for
// longer than packets are kept. Nobody reads it then.
func (o *options) flow(rig *harness.Rig) error {
	if err := rig.Verify(); err != nil {
		return err
	}
	v, err := rig.ProductSlice(harness.Run{Duration: 3 * time.Second, Rate: 0.25})
	if err == nil && v.Packets < v.Copies/2 {
		err = fmt.Errorf("the SFU sent %d of %d packets", v.Packets, v.Copies)
	}
	return err
}

// settled returns live and resident bytes after collections.
func settled() (live, rss int64, err error) {
	live = harness.LiveBytes()
	debug.FreeOSMemory()
	rss, err = resident()
	return live, rss, err
}

// resident returns the bytes of this process that are in memory.
func resident() (int64, error) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	_, after, ok := bytes.Cut(b, []byte("VmRSS:"))
	var kib int64
	if _, err := fmt.Sscan(string(after), &kib); !ok || err != nil {
		return 0, errors.Join(errors.New("/proc/self/status has no VmRSS"), err)
	}
	return kib << 10, nil
}
