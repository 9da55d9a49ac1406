package main

import (
	"fmt"
	"time"

	"github.com/mafalda-sfu/mafalda/bench/internal/harness"
)

// options are the flags.
type options struct {
	Consumers int           `json:"consumers"`
	PPS       int           `json:"pps"`
	Seconds   int           `json:"seconds"`
	Suite     string        `json:"suite"`
	Size      int           `json:"size"`
	Burst     int           `json:"burst"`
	Transport string        `json:"transport"`
	Ports     string        `json:"ports"`
	Feedback  bool          `json:"feedback"`
	Tick      time.Duration `json:"tickNs"`
	Segments  bool          `json:"segments"`

	Explain bool `json:"explain"`

	cpuProfile, memProfile string
	baseline               string
}

const (
	transportWebRTC = "webrtc"
	transportPlain  = "plain"
	portsOne        = "one"
	portsEach       = "each"
	minPairs        = 5
)

func parseOptions(args []string) (*options, error) {
	o := &options{}
	f := harness.NewFlags("fanout")
	f.IntVar(&o.Consumers, "consumers", 300, 1, 10000, "receivers")
	f.IntVar(&o.PPS, "pps", 200, 1, 20000, "packets per second of the sender")
	f.IntVar(&o.Seconds, "seconds", 7, minPairs, 600, "pairs of one-second slices")
	f.SuiteVar(&o.Suite)
	f.SizeVar(&o.Size)
	f.BurstVar(&o.Burst)
	f.StringVar(&o.Transport, "transport", transportWebRTC, "plain or webrtc")
	f.StringVar(&o.Ports, "ports", portsOne, "one port for all transports, or each its own; plain has each")
	f.BoolVar(&o.Feedback, "feedback", true, "receivers send reports and transport-cc")
	f.DurationVar(&o.Tick, "tick", time.Millisecond, 0, 100*time.Millisecond,
		"the peers' process sends what is due at most this often, or with 0 each packet in its time")
	f.BoolVar(&o.Segments, "segments", false, "the device takes runs of datagrams apart, as many network cards do, and not the kernel")
	f.BoolVar(&o.Explain, "explain", false, "tell the nanoseconds of each stage, by a profile of slices after the measurement")
	f.StringVar(&o.cpuProfile, "cpuprofile", "", "write a CPU profile of the server, of slices after the measurement, to this file")
	f.StringVar(&o.memProfile, "memprofile", "", "write all allocations of such slices to this file; the figures are worthless then")
	f.StringVar(&o.baseline, "baseline", "", "fail below 70 % of the ratio in this file, or when packets allocate; only with a TUN")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if o.Transport != transportPlain && o.Transport != transportWebRTC {
		return nil, fmt.Errorf("-transport is %q, want plain or webrtc", o.Transport)
	}
	if o.Ports != portsOne && o.Ports != portsEach {
		return nil, fmt.Errorf("-ports is %q, want one or each", o.Ports)
	}
	if o.Transport == transportPlain {
		o.Ports = portsEach
	}
	return o, nil
}

// limit is how long a process may take in all.
func (o *options) limit() time.Duration {
	return time.Minute + time.Duration(8*o.Seconds)*time.Second + time.Duration(o.Consumers)*20*time.Millisecond
}
