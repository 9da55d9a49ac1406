// Scale measures what it costs to spread Consumers over two Workers, with the
// pipe through memory between them.
//
//	go run ./bench/scale
//
// Slices alternate: all Consumers of a Producer on its Worker, half of them on
// another. So do slices of Producers with one Consumer each, on the same Worker
// and on the other: the difference is what the pipe costs for a packet. Then it
// offers more and more until not all of it is forwarded. Its last line is one JSON object, a
// [result].
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
	Pairs     int           `json:"pairs"`
	Seconds   int           `json:"seconds"`
	Layer     harness.Layer `json:"layer"`
}

// result is what the last line says.
type result struct {
	OneNsPerPacket float64 `json:"oneWorkerNsPerPacket"`
	TwoNsPerPacket float64 `json:"twoWorkersNsPerPacket"`
	Ratio          float64 `json:"ratio"` // of two to one, the median of the pairs
	AllocsOne      float64 `json:"oneWorkerAllocsPerPacket"`
	AllocsTwo      float64 `json:"twoWorkersAllocsPerPacket"`
	PipeNs         float64 `json:"pipeNsPerPacket"` // of the Producer
	// Of the clock on the wall, with the cores that the server got then.
	OneThroughput float64 `json:"oneWorkerPacketsPerSecond"`
	OneCores      float64 `json:"oneWorkerCores"`
	TwoThroughput float64 `json:"twoWorkersPacketsPerSecond"`
	TwoCores      float64 `json:"twoWorkersCores"`
	Sink          string  `json:"sink"`
	unforwarded   error
	Ran           struct {
		options
		harness.Machine
	} `json:"ran"`
}

func main() {
	o := &options{Layer: harness.Layer{PPS: 200, Burst: 4, Size: 1100}}
	f := harness.NewFlags("scale")
	f.EvenVar(&o.Consumers, "consumers", 300, 2, 1000, "Consumers of the Producer")
	f.IntVar(&o.Pairs, "pairs", 100, 1, 500, "Producers with one Consumer")
	f.IntVar(&o.Seconds, "seconds", 7, 3, 60, "pairs of slices")
	f.MustParse()
	harness.Main(harness.Program{Name: "scale", Limit: o.limit(), Workers: 2, Serve: o.serve})
}

func (o *options) limit() time.Duration {
	return 100*time.Second + time.Duration(6*o.Seconds)*time.Second + time.Duration(o.peers())*20*time.Millisecond
}

// The peers, in this order: the two that send to many; their receivers; those
// that send to one, in two groups; their receivers in the same order.
func (o *options) peers() int       { return 2 + 2*o.Consumers + 4*o.Pairs }
func (o *options) firstSender() int { return 2 + 2*o.Consumers }

// place tells on which Worker a peer is.
func (o *options) place(peer int) int {
	if half := 2 + o.Consumers + o.Consumers/2; peer >= half && peer < o.firstSender() || peer >= o.firstSender()+3*o.Pairs {
		return 1
	}
	return 0
}

func (o *options) serve(ctx context.Context, h *harness.Host) error {
	if err := h.Configure(harness.DefaultConfig(o.peers())); err != nil {
		return err
	}
	rig, err := h.NewRig(ctx, harness.Settings{Count: 2, Place: o.place})
	if err != nil {
		return err
	}
	if err := rig.Connect(ctx, o.peers()); err != nil {
		return err
	}
	first := o.firstSender()
	var tracks []harness.Track
	var list []harness.Subscription
	for i := range 2 {
		tracks = append(tracks, harness.Track{Peer: i, Layers: []harness.Layer{o.Layer}})
		for k := range o.Consumers {
			list = append(list, harness.Subscription{Peer: 2 + i*o.Consumers + k, Track: i})
		}
	}
	for k := range 2 * o.Pairs {
		tracks = append(tracks, harness.Track{Peer: first + k, Layers: []harness.Layer{o.Layer}})
		list = append(list, harness.Subscription{Peer: first + 2*o.Pairs + k, Track: 2 + k})
	}
	if err := rig.Produce(ctx, tracks...); err != nil {
		return err
	}
	if err := rig.Consume(ctx, list...); err != nil {
		return err
	}
	if err := rig.Verify(); err != nil {
		return err
	}
	r := &result{Sink: h.Sink}
	r.Ran.options, r.Ran.Machine = *o, harness.ThisMachine()
	if err := o.measure(rig, r); err != nil {
		return err
	}
	return errors.Join(harness.Print(r), r.unforwarded)
}

func (o *options) measure(rig *harness.Rig, r *result) error {
	one, two, ratios, err := o.alternate(rig, []int{0}, []int{1})
	if err != nil {
		return err
	}
	r.OneNsPerPacket, r.AllocsOne = one.NsPerPacket, one.AllocsPerPacket
	r.TwoNsPerPacket, r.AllocsTwo = two.NsPerPacket, two.AllocsPerPacket
	r.Ratio = harness.Round(harness.Median(ratios), 3)

	var near, far []int
	for k := range o.Pairs {
		near, far = append(near, o.firstSender()+k), append(far, o.firstSender()+o.Pairs+k)
	}
	same, through, _, err := o.alternate(rig, near, far)
	if err != nil {
		return err
	}
	r.PipeNs = harness.Round(through.NsPerPacket-same.NsPerPacket, 1)

	for sender, to := range []struct{ packets, cores *float64 }{
		{&r.OneThroughput, &r.OneCores}, {&r.TwoThroughput, &r.TwoCores},
	} {
		t, err := o.most(rig, sender, r.OneNsPerPacket)
		if err != nil {
			return err
		}
		*to.packets, *to.cores = harness.Round(t.PerSecond, 0), harness.Round(t.Cores, 2)
	}
	r.unforwarded = errors.Join(one.Check(), two.Check(), same.Check(), through.Check())
	return nil
}

// mostPPS bounds what a sender is asked for.
const mostPPS = 100_000

// most returns how many packets of a sender were forwarded at best. It begins with
// what one core might take, and offers more until a third is left.
func (o *options) most(rig *harness.Rig, sender int, nsPerPacket float64) (best harness.Throughput, err error) {
	run := harness.Run{Duration: 2 * time.Second, Senders: []int{sender}}
	for pps := 1e9 / nsPerPacket / float64(o.Consumers); pps < mostPPS; pps *= 1.4 {
		run.Rate = pps / float64(o.Layer.PPS)
		t, err := rig.Throughput(run)
		if err != nil {
			return best, err
		}
		if t.PerSecond > best.PerSecond {
			best = t
		}
		if t.Share < 0.67 {
			return best, nil
		}
	}
	return best, fmt.Errorf("sender %d can't offer more than is forwarded", sender)
}

// alternate takes slices of two groups of senders, of which what b sends goes
// through a pipe.
func (o *options) alternate(rig *harness.Rig, a, b []int) (fa, fb *harness.Figures, ratios []float64, err error) {
	local, piped := harness.Run{Senders: a}, harness.Run{Senders: b, Piped: true}
	if err := errors.Join(rig.WarmUp(local), rig.WarmUp(piped)); err != nil {
		return nil, nil, nil, err
	}
	var as, bs []harness.Slice
	for i := range o.Seconds {
		va, err := rig.ProductSlice(local)
		if err != nil {
			return nil, nil, nil, err
		}
		vb, err := rig.ProductSlice(piped)
		if err != nil {
			return nil, nil, nil, err
		}
		as, bs, ratios = append(as, va), append(bs, vb), append(ratios, vb.NS/va.NS)
		fmt.Printf("pair %d: %.0f ns/packet on one Worker, %.0f with two\n", i+1, va.NS, vb.NS)
	}
	return rig.Summarize(as), rig.Summarize(bs), ratios, nil
}
