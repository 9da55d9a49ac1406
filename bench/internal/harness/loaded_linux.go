package harness

import (
	"encoding/json"
	"math"
	"runtime"
	"runtime/debug"
	"time"
)

// Loaded is how a rig does at a share of its cores.
type Loaded struct {
	// Rate is what the rates of all senders were multiplied by, CPU the cores
	// that the server used then.
	Rate      float64 `json:"rate"`
	CPU       float64 `json:"cpu"`
	Forwarded float64 `json:"forwarded"`
	LatencyMs Latency `json:"latencyMs"`
	GC        GC      `json:"gc"`
}

// GC is what garbage collection does to latency, while a goroutine makes
// garbage of JSON for half of the time: medians of pairs of seconds.
type GC struct {
	P99Off float64 `json:"p99OffMs"` // with the collector off
	P99On  float64 `json:"p99OnMs"`
	Adds   float64 `json:"addsMs"` // the difference
	Cycles uint32  `json:"cycles"` // while it was on
}

const (
	garbagePairs = 5
	// garbagePercent is the GOGC of the slices with a collector. The usual 100 would
	// let it run once in those seconds, or not at all.
	garbagePercent = 10
)

// bearable is the latency in ms above which the peers are late.
const bearable = 20

// leastRate is that at which no layer of a simulcast seems to have stopped.
const leastRate = 0.4

// mostRate bounds the rate: what the peers' process can read depends on it.
const mostRate = 8

// loadTries is how many rates are tried.
const loadTries = 8

// UnderLoad runs at a share of the cores of all Workers; f is what was measured
// at the rates of the tracks. A packet costs less the more there are, so that the
// rate has to be found. If the peers have no time for it, since other work or too
// few cores take it, it goes on at a lower rate: the CPU tells what was reached.
func (r *Rig) UnderLoad(f *Figures, share float64, duration time.Duration) (*Loaded, error) {
	share *= float64(len(r.Workers))
	rate := min(share/f.CPU, mostRate)
	run := Run{Duration: time.Second, Latency: true}
	for try, wasLate := 0, false; try < loadTries; try++ {
		run.Rate = rate
		v, err := r.ProductSlice(run)
		if err != nil {
			return nil, err
		}
		late := v.Counted.PacketsReceived*100 < 99*uint64(v.Ran.Media) || uint64(v.Ran.Received)*100 < 99*v.Packets ||
			v.Ran.Latency.P50 > bearable
		next := min(rate*share/v.CPU.Seconds(), mostRate)
		if late {
			next = min(next, rate*0.8)
		}
		there := next > rate*0.95 && (next < rate*1.05 || wasLate)
		if !late && there || next < leastRate {
			break
		}
		rate, wasLate = next, wasLate || late
	}
	run.Rate, run.Duration = rate, duration
	v, err := r.ProductSlice(run)
	if err != nil {
		return nil, err
	}
	l := &Loaded{
		Rate: Round(rate, 2), CPU: Round(v.CPU.Seconds()/duration.Seconds(), 3),
		Forwarded: Round(float64(v.Packets)/float64(v.Copies), 4), LatencyMs: v.Ran.Latency,
	}
	l.GC, err = r.collected()
	return l, err
}

// collected compares slices with and without a collector, at the rates of the
// tracks: with half a core of garbage beside the peers more is not to be had of
// two cores.
func (r *Rig) collected() (GC, error) {
	var g GC
	var off, on []float64
	for range garbagePairs {
		p99, _, err := r.withGarbage(-1)
		if err != nil {
			return g, err
		}
		off = append(off, p99)
		p99, cycles, err := r.withGarbage(garbagePercent)
		if err != nil {
			return g, err
		}
		on = append(on, p99)
		g.Cycles += cycles
	}
	g.P99Off, g.P99On = quantile(off, 50), quantile(on, 50)
	g.Adds = Round(g.P99On-g.P99Off, 3)
	return g, nil
}

// withGarbage runs for a second while garbage is made, with that GOGC.
func (r *Rig) withGarbage(percent int) (p99 float64, cycles uint32, err error) {
	runtime.GC()
	defer debug.SetGCPercent(debug.SetGCPercent(percent))
	// Without a collector it must end before the machine's memory does.
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(2 << 30))
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { // ends with stop
		defer close(stopped)
		makeGarbage(stop)
	}()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	a, err := r.Run(Run{Duration: time.Second, Latency: true})
	runtime.ReadMemStats(&after)
	close(stop)
	<-stopped
	return a.Latency.P99, after.NumGC - before.NumGC, err
}

// makeGarbage keeps half a core busy with JSON.
func makeGarbage(stop <-chan struct{}) {
	const half = 5 * time.Millisecond
	type entry struct {
		ID     string
		Values map[string]float64
	}
	e := entry{"a room with people in it", map[string]float64{"a": 1, "b": math.Pi, "c": 3, "d": 1e9}}
	pause := time.NewTicker(2 * half)
	defer pause.Stop()
	for {
		for start := time.Now(); time.Since(start) < half; {
			b, err := json.Marshal(&e)
			if err != nil {
				panic(err) // it is ours
			}
			if err := json.Unmarshal(b, &e); err != nil {
				panic(err)
			}
		}
		select {
		case <-stop:
			return
		case <-pause.C:
		}
	}
}
