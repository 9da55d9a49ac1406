package harness

import (
	"bytes"
	"runtime/pprof"
	"strings"
	"time"
)

// Explanation says where the time of a packet goes.
type Explanation struct {
	// NsPerPacket is what the slices of the profile cost.
	NsPerPacket float64 `json:"nsPerPacket"`
	// Stages has the nanoseconds of each stage, by [StageNames].
	Stages map[string]float64 `json:"stages"`
	// Samples is how many the profile has: a hundred for each second of CPU.
	Samples           int64      `json:"samples"`
	PacketsPerSyscall PerCall    `json:"packetsPerSyscall"`
	GSO               Runs       `json:"gso"`
	GRO               Runs       `json:"gro"`
	Turns             []TurnBand `json:"turns"`
}

// A TurnBand is how many turns of the loop were shorter than BelowUs, and not
// shorter than that of the band before; 0 is no bound.
type TurnBand struct {
	BelowUs int64  `json:"belowUs"`
	Turns   uint64 `json:"turns"`
}

// Stages of a packet.
const (
	stageWait     = "wait"     // asking the kernel what is ready, and sleeping
	stageReceive  = "receive"  // system calls that read
	stageOpen     = "open"     // SRTP of what came
	stageParse    = "parse"    // headers and codecs, statistics and store of what came
	stageRoute    = "route"    // which Transport, Producer and Consumers
	stageRewrite  = "rewrite"  // numbers, header extensions and notes of what is sent
	stageSeal     = "seal"     // SRTP of what is sent
	stageSend     = "send"     // system calls that write
	stageFeedback = "feedback" // RTCP that came
	stageTimers   = "timers"   // reports, bandwidth and whatever has its time
	stageRuntime  = "runtime"  // the Go runtime and everything beside the loop
)

// StageNames are in the order in which a packet passes them.
func StageNames() []string {
	return []string{
		stageWait, stageReceive, stageOpen, stageParse, stageRoute, stageRewrite, stageSeal, stageSend,
		stageFeedback, stageTimers, stageRuntime,
	}
}

// stageOf tells the stage of a function and of what it calls; the callee's
// counts first.
var stageOf = []struct{ part, stage string }{
	{"internal/srtp.(*Sender)", stageSeal},
	{"internal/srtp.(*Receiver)", stageOpen},
	{"internal/driver.(*epoll).poll", stageWait},
	{"internal/driver.(*epoll).epollWait", stageWait},
	{"internal/driver.(*sender)", stageSend},
	{"internal/driver.(*epoll).Flush", stageSend},
	{"internal/driver.(*udpSocket).Commit", stageSend},
	{"internal/driver.(*udpSocket).Reserve", stageSend},
	{"internal/driver.(*udpSocket).ready", stageReceive},
	{"internal/driver.(*epoll).Wait", stageReceive},
	{"internal/rtp.Parse", stageParse},
	{"internal/codec.", stageParse},
	{"internal/stream.(*Recv)", stageParse},
	{"internal/twcc.(*Recorder).Received", stageParse},
	{"internal/engine.(*producerStream).describe", stageParse},
	{"internal/engine.(*producerStream).keep", stageParse},
	{"internal/engine.(*producer).receive", stageParse},
	{"internal/engine.(*outbound).emit", stageRewrite},
	{"internal/engine.(*outbound).resend", stageRewrite},
	{"internal/engine.(*consumer).commit", stageRewrite},
	{"internal/engine.(*transport).receiveRTCP", stageFeedback},
	{"internal/timer.(*Wheel).Advance", stageTimers},
	{"internal/engine.", stageRoute},
}

// Explain profiles three times n slices: a profile has few samples of a server
// that has little to do.
func (r *Rig) Explain(n int) (*Explanation, error) {
	var file bytes.Buffer
	if err := pprof.StartCPUProfile(&file); err != nil {
		return nil, err
	}
	var slices []Slice
	for range 3 * n {
		v, err := r.ProductSlice(Run{})
		if err != nil {
			pprof.StopCPUProfile()
			return nil, err
		}
		slices = append(slices, v)
	}
	pprof.StopCPUProfile()
	p, err := parseProfile(file.Bytes())
	if err != nil {
		return nil, err
	}
	f := r.Summarize(slices)
	e := &Explanation{PacketsPerSyscall: f.PacketsPerSyscall, GSO: f.GSO, GRO: f.GRO}
	var cpu time.Duration
	var packets uint64
	total := slices[0].Counted
	for i, v := range slices {
		cpu += v.CPU
		packets += v.Packets
		if i > 0 {
			total = plus(total, v.Counted)
		}
	}
	for _, l := range total.TurnLengths {
		e.Turns = append(e.Turns, TurnBand{l.Below.Microseconds(), l.Turns})
	}
	e.NsPerPacket = Round(float64(cpu)/float64(packets), 1)
	counts := p.stages()
	for _, c := range counts {
		e.Samples += c
	}
	e.Stages = map[string]float64{}
	for _, name := range StageNames() {
		e.Stages[name] = Round(e.NsPerPacket*float64(counts[name])/float64(max(e.Samples, 1)), 1)
	}
	return e, nil
}

// stages counts the samples of each stage. What the engine does is routing, if
// nothing that called it says more.
func (p *profile) stages() map[string]int64 {
	counts := map[string]int64{}
	for i := range p.samples {
		stage := stageRuntime
		p.stack(&p.samples[i], func(name string) bool {
			switch s := nameStage(name); {
			case s == "", stage == stageRoute && (s == stageRoute || s == stageReceive):
				return true
			default:
				stage = s
				return s == stageRoute
			}
		})
		counts[stage] += p.samples[i].count
	}
	return counts
}

// nameStage returns the stage that a function stands for, "" for none.
func nameStage(name string) string {
	for _, s := range stageOf {
		if strings.Contains(name, "mafalda/"+s.part) {
			return s.stage
		}
	}
	return ""
}
