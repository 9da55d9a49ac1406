package vertical

import (
	"context"
	"time"

	"github.com/mafalda-sfu/mafalda"
)

// Events are the events of an [SFU] itself. They come on the goroutine that found
// out, with no lock held; listeners of several may run at a time, and may call
// anything. One that does not return delays the call that found out, or the next
// measurement, but no packet.
type Events struct {
	// WorkerDied: a real Worker ended without being closed. What lived on it has
	// been closed before.
	WorkerDied mafalda.Event[WorkerDied]
	// NewRouter: a virtual Router got a real one, on a Worker where it had none.
	NewRouter mafalda.Event[NewRouter]
	// HighWater: the mean load of all real Workers that there can be
	// (Usage.Capacity) rose above Options.WatermarkNode, or there can be none. It is
	// time for another machine.
	HighWater mafalda.Event[Usage]
	// LowWater: after HighWater, it has fallen 10 points below the watermark, or to
	// half of it where that is less.
	LowWater mafalda.Event[Usage]
}

// WorkerDied says which real Worker died.
type WorkerDied struct {
	WorkerID string // as in WorkerUsage.ID
	Err      error  // the cause, as Died of the real Worker tells it; never nil
}

// NewRouter says where a virtual Router has a real one.
type NewRouter struct {
	Router   mafalda.Router // the virtual one
	WorkerID string         // of the real Worker
}

// Usage is how much of what there may be is used. It is a copy. Its JSON is for a
// page or a dashboard.
type Usage struct {
	// MaxWorkers is how many real Workers there may be, for each set of settings.
	MaxWorkers int `json:"maxWorkers"`
	// Capacity is how many there can be, as far as is known: MaxWorkers, or, since
	// the Registry had no further CPU when it was asked last, those that this process
	// has.
	Capacity int `json:"capacity"`
	// Workers are the real ones, in the order in which they were started.
	Workers []WorkerUsage `json:"workers"`
	// Routers are the virtual ones. Transports, Producers and Consumers are what
	// they have: what pipes are made of is not counted, DataProducers count as
	// Producers and DataConsumers as Consumers. Pipes are those between real
	// Workers, one for each Producer and destination.
	Routers    int `json:"routers"`
	Transports int `json:"transports"`
	Producers  int `json:"producers"`
	Consumers  int `json:"consumers"`
	Pipes      int `json:"pipes"`
	// PipesMade is how many there have been.
	PipesMade int `json:"pipesMade"`
	// Load is the sum of the CPU of all Workers, 1 is one core.
	Load float64 `json:"load"`
	// Headroom is how much load Capacity Workers can take, 1 is one core, until all
	// are at Options.WatermarkWorker. It is not less than 0.
	Headroom float64 `json:"headroom"`
	// High is true between HighWater and LowWater.
	High bool `json:"high"`
}

// WorkerUsage is what one real Worker does. Load and rates are those of the last
// measurement, once a second; all are 0 before the first one.
type WorkerUsage struct {
	// ID is that of the real Worker, which is among the Workers of the inner SFU,
	// and PID its process: this one, unless it has a WorkerBin.
	ID  string `json:"id"`
	PID int    `json:"pid"`
	// CPU is its own load, 1 is one core.
	CPU float64 `json:"cpu"`
	// PacketsPerSecond and BytesPerSecond are what it receives and sends, together.
	// 0 if the inner Worker is no [mafalda.LoadReporter].
	PacketsPerSecond float64 `json:"packetsPerSecond"`
	BytesPerSecond   float64 `json:"bytesPerSecond"`
	// MaxTurn is how long a packet may have waited in that second; see
	// [mafalda.Load]. Nanoseconds in JSON.
	MaxTurn time.Duration `json:"maxTurn"`
	// Expected is CPU and what Transports will add that were placed lately.
	Expected float64 `json:"expected"`
	// Headroom is how much Expected is below Options.WatermarkWorker, not less than
	// 0.
	Headroom float64 `json:"headroom"`
	// Routers are the real ones there. The rest is counted as in Usage.
	Routers    int `json:"routers"`
	Transports int `json:"transports"`
	Producers  int `json:"producers"`
	Consumers  int `json:"consumers"`
	// PipesIn are the pipes that end there, PipesOut those that begin there.
	PipesIn  int `json:"pipesIn"`
	PipesOut int `json:"pipesOut"`
}

// loadInterval is how often real Workers are measured.
const loadInterval = time.Second

// watch measures x until it has ended.
func (x *realWorker) watch() {
	tick := time.NewTicker(loadInterval)
	defer tick.Stop()
	var meter loadMeter
	for {
		select {
		case <-x.inner.Done():
			return
		case <-tick.C:
		}
		ctx, cancel := context.WithTimeout(context.Background(), loadInterval)
		x.measure(ctx, &meter)
		cancel()
	}
}

// measure asks x for its load and gives each virtual Worker its part of the usage.
func (x *realWorker) measure(ctx context.Context, meter *loadMeter) {
	x.account(ctx)
	var l mafalda.Load
	if r, ok := x.inner.(mafalda.LoadReporter); ok {
		var err error
		if l, err = r.Load(ctx); err != nil {
			return // it is closing, or out of reach
		}
	} else {
		x.s.mu.Lock()
		u := x.usage
		x.s.mu.Unlock()
		l = meter.read(time.Now(), u)
	}
	x.s.mu.Lock()
	x.load = l
	x.meter.Measure(l.CPU)
	x.s.mu.Unlock()
	x.s.lookAtWater()
}

// account reads the resource usage of x and gives each virtual Worker its part of
// what was used since the last time, by what it has there.
func (x *realWorker) account(ctx context.Context) {
	u, err := x.inner.ResourceUsage(ctx)
	if err != nil {
		return // it is closing, or out of reach
	}
	s := x.s
	s.mu.Lock()
	defer s.mu.Unlock()
	last := x.usage
	if u.Utime < last.Utime || u.Stime < last.Stime {
		return // two readings in the wrong order
	}
	x.usage = u
	for w, n := range x.users {
		part := float64(n) / float64(x.uses)
		w.utime += float64(u.Utime-last.Utime) * part
		w.stime += float64(u.Stime-last.Stime) * part
	}
}

// A loadMeter makes loads of readings of the resource usage.
type loadMeter struct {
	at   time.Time
	last mafalda.WorkerResourceUsage
}

func (m *loadMeter) read(now time.Time, u mafalda.WorkerResourceUsage) mafalda.Load {
	var l mafalda.Load
	if !m.at.IsZero() {
		l = mafalda.LoadBetween(m.last, u, now.Sub(m.at))
	}
	m.at, m.last = now, u
	return l
}

// lookAtWater emits HighWater or LowWater if the load calls for it.
func (s *SFU) lookAtWater() {
	s.mu.Lock()
	load := s.loadLocked()
	capacity := s.capacityLocked()
	mean := load / float64(max(1, capacity))
	was := s.high
	switch {
	case s.refused && capacity == 0, mean >= s.opts.WatermarkNode:
		s.high = true
	case mean < max(s.opts.WatermarkNode-slack, s.opts.WatermarkNode/2):
		s.high = false
	}
	now := s.high
	s.mu.Unlock()
	switch {
	case now && !was:
		s.events.HighWater.Emit(s.Usage())
	case was && !now:
		s.events.LowWater.Emit(s.Usage())
	}
}

func (s *SFU) capacityLocked() int {
	if s.refused {
		return min(*s.opts.MaxWorkers, len(s.cpus))
	}
	return *s.opts.MaxWorkers
}

func (s *SFU) loadLocked() float64 {
	load := 0.0
	for _, x := range s.real {
		load += x.load.CPU
	}
	return load
}

// Usage returns how much is used now. Loads are measured once a second. It does
// not wait, and costs a look at each object of the SFU.
func (s *SFU) Usage() Usage {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := Usage{
		MaxWorkers: *s.opts.MaxWorkers, Capacity: s.capacityLocked(), Workers: []WorkerUsage{},
		Load: s.loadLocked(), High: s.high, PipesMade: s.pipesMade,
	}
	index := map[*realWorker]int{}
	now := time.Now()
	expected := 0.0
	for _, x := range s.real {
		select {
		case <-x.ready:
		default:
			continue // it starts just now
		}
		if x.inner == nil {
			continue
		}
		load, recent := x.meter.Read(now)
		expected += load + recent
		index[x] = len(u.Workers)
		u.Workers = append(u.Workers, WorkerUsage{
			ID: x.inner.ID(), PID: x.inner.PID(),
			CPU: x.load.CPU, PacketsPerSecond: x.load.PacketsPerSecond, BytesPerSecond: x.load.BytesPerSecond,
			MaxTurn: x.load.MaxTurn, Expected: load + recent,
			Headroom: max(0, s.opts.WatermarkWorker-load-recent),
			Routers:  x.routers,
		})
	}
	u.Headroom = max(0, float64(u.Capacity)*s.opts.WatermarkWorker-expected)
	at := func(rr *realRouter) *WorkerUsage {
		if i, ok := index[rr.w]; ok {
			return &u.Workers[i]
		}
		return new(WorkerUsage) // it has just ended
	}
	for _, w := range s.workers {
		for _, r := range w.routers {
			if r.Closed() {
				continue
			}
			u.Routers++
			for _, t := range r.transports {
				if !t.Closed() {
					u.Transports++
					at(t.part().rr).Transports++
				}
			}
			for _, p := range r.producers {
				u.Producers++
				at(p.rr).Producers++
				for _, c := range p.consumers {
					u.Consumers++
					at(c.rr).Consumers++
				}
				for to := range p.pipes {
					u.Pipes++
					at(p.rr).PipesOut++
					at(to).PipesIn++
				}
			}
			for _, p := range r.dataProducers {
				u.Producers++
				at(p.rr).Producers++
				for _, c := range p.consumers {
					u.Consumers++
					at(c.rr).Consumers++
				}
				for to := range p.pipes {
					u.Pipes++
					at(p.rr).PipesOut++
					at(to).PipesIn++
				}
			}
		}
	}
	return u
}
