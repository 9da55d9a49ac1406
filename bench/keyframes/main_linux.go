// Keyframes measures a storm of key frame requests: many who begin to consume
// within some seconds all want a key frame of the one sender.
//
//	go run ./bench/keyframes
//
// The sender answers a request with a key frame, as an encoder does after a
// while. Its last line is one JSON object, a [result].
package main

import (
	"context"
	"time"

	"github.com/mafalda-sfu/mafalda/bench/internal/harness"
)

type options struct {
	Consumers int           `json:"consumers"`
	Within    time.Duration `json:"withinNs"`
	Delay     time.Duration `json:"keyFrameRequestDelayNs"`
	Encoder   time.Duration `json:"encoderNs"`
}

// result is what the last line says.
type result struct {
	Seconds   float64 `json:"seconds"`
	Requests  int     `json:"requests"` // that the sender got
	KeyFrames int     `json:"keyFrames"`
	PerSecond float64 `json:"keyFramesPerSecond"` // from the first to the last
	Most      int     `json:"mostWithinOneSecond"`
	Sink      string  `json:"sink"`
	Ran       struct {
		options
		harness.Machine
	} `json:"ran"`
}

func main() {
	o := &options{}
	f := harness.NewFlags("keyframes")
	f.IntVar(&o.Consumers, "consumers", 300, 1, 2000, "Consumers")
	f.DurationVar(&o.Within, "within", 5*time.Second, time.Second, time.Minute, "time in which they begin")
	f.DurationVar(&o.Delay, "delay", time.Second, 0, time.Minute, "keyFrameRequestDelay of the Producer, or 0 for none")
	f.DurationVar(&o.Encoder, "encoder", 50*time.Millisecond, 0, time.Second, "time from a request to its key frame")
	f.MustParse()
	harness.Main(harness.Program{Name: "keyframes", Limit: o.limit(), Serve: o.serve})
}

func (o *options) limit() time.Duration {
	return time.Minute + 4*o.Within + time.Duration(o.Consumers)*20*time.Millisecond
}

func (o *options) serve(ctx context.Context, h *harness.Host) error {
	if err := h.Configure(harness.DefaultConfig(1 + o.Consumers)); err != nil {
		return err
	}
	rig, err := h.NewRig(ctx, harness.Settings{})
	if err != nil {
		return err
	}
	if err := rig.Connect(ctx, 1+o.Consumers); err != nil {
		return err
	}
	err = rig.Produce(ctx, harness.Track{
		Layers: []harness.Layer{{PPS: 100, Burst: 4, Size: 1100}}, KeyFrameRequestDelay: o.Delay,
	})
	if err != nil {
		return err
	}
	s, err := rig.Storm(ctx, 1, harness.Storm{
		Joins: o.Consumers, AtOnce: 16, Every: o.Within / time.Duration(o.Consumers),
		Run: harness.Run{Duration: 3 * o.Within, FrameDelay: o.Encoder}, After: 2 * time.Second,
	})
	if err != nil {
		return err
	}
	r := &result{
		Seconds: harness.Round(s.Duration.Seconds(), 2), Requests: s.Ran.KeyFrameRequests, KeyFrames: s.Ran.KeyFrames,
		PerSecond: s.Ran.KeyFrameRate, Most: s.Ran.MostKeyFrames, Sink: h.Sink,
	}
	r.Ran.options, r.Ran.Machine = *o, harness.ThisMachine()
	return harness.Print(r)
}
