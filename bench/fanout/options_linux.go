package main

import (
	"flag"
	"fmt"
	"time"

	"github.com/mafalda-sfu/mafalda"
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
	f := flag.NewFlagSet("fanout", flag.ExitOnError)
	f.IntVar(&o.Consumers, "consumers", 300, "receivers, 1 to 10000")
	f.IntVar(&o.PPS, "pps", 200, "packets per second of the sender, 1 to 20000")
	f.IntVar(&o.Seconds, "seconds", 7, "pairs of one-second slices, 5 to 600")
	f.StringVar(&o.Suite, "suite", string(mafalda.SRTPAES128GCM), "SRTP crypto suite")
	f.IntVar(&o.Size, "size", 1100, "bytes of RTP payload, 32 to 1300")
	f.IntVar(&o.Burst, "burst", 4, "packets that are sent back to back, 1 to 64")
	f.StringVar(&o.Transport, "transport", transportWebRTC, "plain or webrtc")
	f.StringVar(&o.Ports, "ports", portsOne, "one port for all transports, or each its own; plain has each")
	f.BoolVar(&o.Feedback, "feedback", true, "receivers send reports and transport-cc")
	f.DurationVar(&o.Tick, "tick", time.Millisecond, "the peers' process sends what is due at most this often; 0 for each packet in its time")
	f.BoolVar(&o.Explain, "explain", false, "tell the nanoseconds of each stage, by a profile of slices after the measurement")
	f.StringVar(&o.cpuProfile, "cpuprofile", "", "write a CPU profile of the server, of slices after the measurement, to this file")
	f.StringVar(&o.memProfile, "memprofile", "", "write all allocations of such slices to this file; the figures are worthless then")
	f.StringVar(&o.baseline, "baseline", "", "fail below 70 % of the ratio in this file, or when packets allocate; only with a TUN")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("unknown argument %q", f.Arg(0))
	}
	for _, r := range []struct {
		name           string
		v, least, most int
	}{
		{"consumers", o.Consumers, 1, 10000}, {"pps", o.PPS, 1, 20000}, {"seconds", o.Seconds, minPairs, 600},
		{"size", o.Size, harness.MinPayload, 1300}, {"burst", o.Burst, 1, 64},
	} {
		if r.v < r.least || r.v > r.most {
			return nil, fmt.Errorf("-%s is %d, want %d to %d", r.name, r.v, r.least, r.most)
		}
	}
	if !harness.KnownSuite(o.Suite) {
		return nil, fmt.Errorf("unknown suite %q", o.Suite)
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
	if o.Tick < 0 || o.Tick > 100*time.Millisecond {
		return nil, fmt.Errorf("-tick is %v, want 0 to 100ms", o.Tick)
	}
	return o, nil
}

// limit is how long a process may take in all.
func (o *options) limit() time.Duration {
	return time.Minute + time.Duration(8*o.Seconds)*time.Second + time.Duration(o.Consumers)*20*time.Millisecond
}
