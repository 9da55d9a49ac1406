package harness

import (
	"encoding/json"
	"errors"
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
// garbage of JSON for half of the time: medians of seconds that take turns.
type GC struct {
	P99Off float64   `json:"p99OffMs"` // with the collector off
	Usual  Collected `json:"usual"`    // with a GOGC of 100
	Often  Collected `json:"often"`    // with a GOGC of 10
}

// Collected is how it is with the collector on.
type Collected struct {
	P99    float64 `json:"p99Ms"`
	Adds   float64 `json:"addsMs"` // to that with the collector off
	Cycles uint32  `json:"cycles"` // in all of the seconds
}

// garbageRounds is how many seconds each has.
const garbageRounds = 5

// bearable is the median latency in ms above which more comes than goes.
const bearable = 3

// mostRate bounds the rate, and mostStep by what it grows at a time.
const (
	mostRate = 8
	mostStep = 1.5
)

// loadTries is how many rates are tried.
const loadTries = 9

// UnderLoad runs at a share of the cores of all Workers. One Worker has the last
// core for itself, and the peers have the others.
func (r *Rig) UnderLoad(share float64, duration time.Duration) (*Loaded, error) {
	l, err := r.loaded(share*float64(len(r.Workers)), duration)
	if err == nil {
		l.GC, err = r.collected()
	}
	return l, err
}

// loaded raises the rate until so many cores are used: a packet costs less the more
// there are. If the peers have no time for it, since other work or too few cores
// take it, it stays at a lower rate: the CPU tells what was reached.
func (r *Rig) loaded(cores float64, duration time.Duration) (l *Loaded, err error) {
	run := Run{Duration: time.Second, Latency: true, Apart: len(r.Workers) == 1}
	if run.Apart {
		undo, err := bind(lastCore)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, undo()) }()
	}
	try := func(rate float64, duration time.Duration) (v Slice, late bool, err error) {
		run.Rate, run.Duration = rate, duration
		if v, err = r.ProductSlice(run); err != nil {
			return v, false, err
		}
		late = v.Counted.PacketsReceived*100 < 99*uint64(v.Ran.Media) || v.Ran.Latency.Timed < 0.99 || v.Ran.Latency.P50 > bearable
		if late {
			err = r.Verify() // too much for a while lets a simulcast go to other layers
		}
		return v, late, err
	}
	rate := 1.0
	for n, next := 0, rate; n < loadTries; n++ {
		v, late, err := try(next, time.Second)
		if err != nil {
			return nil, err
		}
		if late && next > rate {
			next = (rate + next) / 2
			continue
		}
		rate = next
		next = min(rate*min(cores/v.CPU.Seconds(), mostStep), mostRate)
		if next < rate*1.05 {
			break
		}
	}
	for {
		v, late, err := try(rate, duration)
		if err != nil {
			return nil, err
		}
		if !late || rate < 1 {
			return &Loaded{
				Rate: Round(rate, 2), CPU: Round(v.CPU.Seconds()/duration.Seconds(), 3),
				Forwarded: Round(float64(v.Packets)/float64(v.Copies), 4), LatencyMs: v.Ran.Latency,
			}, nil
		}
		rate *= 0.8
	}
}

// collected compares seconds with and without a collector, at the rates of the
// tracks: with half a core of garbage beside the peers more is not to be had of
// two cores.
func (r *Rig) collected() (GC, error) {
	var cycles [3]uint32
	var p99s [3][]float64
	for range garbageRounds {
		for i, percent := range []int{-1, 100, 10} {
			p99, n, err := r.withGarbage(percent)
			if err != nil {
				return GC{}, err
			}
			p99s[i] = append(p99s[i], p99)
			cycles[i] += n
		}
	}
	off := quantile(p99s[0], 50)
	on := func(i int) Collected {
		p99 := quantile(p99s[i], 50)
		return Collected{P99: p99, Adds: Round(p99-off, 3), Cycles: cycles[i]}
	}
	return GC{P99Off: off, Usual: on(1), Often: on(2)}, nil
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
