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
// garbage of JSON for half of the time.
type GC struct {
	P99Off float64 `json:"p99OffMs"` // with the collector off
	P99On  float64 `json:"p99OnMs"`
	Adds   float64 `json:"addsMs"` // the difference
	Cycles uint32  `json:"cycles"` // while it was on
}

// bearable is the latency in ms above which the peers are late.
const bearable = 20

// leastRate is that at which no layer of a simulcast seems to have stopped.
const leastRate = 0.4

// mostRate bounds the rate: what the peers' process can read depends on it.
const mostRate = 8

// UnderLoad runs at a share of the cores of all Workers; f is what was measured
// at the rates of the tracks. What the receivers get is read then. If the peers
// have no time for that, since other work or too few cores take it, it goes on at
// a lower rate: the CPU tells what was reached.
func (r *Rig) UnderLoad(f *Figures, share float64, duration time.Duration) (*Loaded, error) {
	rate := min(share*float64(len(r.Workers))/f.CPU, mostRate)
	run := Run{Duration: time.Second, Read: true, Latency: true}
	for ; ; rate *= 0.7 {
		run.Rate = rate
		v, err := r.ProductSlice(run)
		if err != nil {
			return nil, err
		}
		late := v.Counted.PacketsReceived*100 < 99*uint64(v.Ran.Media) || uint64(v.Ran.Received)*100 < 99*v.Packets ||
			v.Ran.Latency.P50 > bearable
		if !late || rate*0.7 < leastRate {
			break
		}
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
	for _, on := range []bool{false, true} {
		p99, cycles, err := r.withGarbage(run, on)
		if err != nil {
			return nil, err
		}
		if on {
			l.GC.P99On, l.GC.Cycles = p99, cycles
		} else {
			l.GC.P99Off = p99
		}
	}
	l.GC.Adds = Round(l.GC.P99On-l.GC.P99Off, 3)
	return l, nil
}

// withGarbage runs while garbage is made, and collected if on is true.
func (r *Rig) withGarbage(run Run, on bool) (p99 float64, cycles uint32, err error) {
	runtime.GC()
	if !on {
		defer debug.SetGCPercent(debug.SetGCPercent(-1))
		// Without a collector it must end before the machine's memory does.
		defer debug.SetMemoryLimit(debug.SetMemoryLimit(2 << 30))
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { // ends with stop
		defer close(stopped)
		makeGarbage(stop)
	}()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	a, err := r.Run(run)
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
