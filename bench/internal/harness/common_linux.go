package harness

import (
	"encoding/json"
	"fmt"
	"runtime"
	"time"
)

// Common are the flags of the benchmarks of meetings.
type Common struct {
	Seconds  int    `json:"seconds"`
	Suite    string `json:"suite"`
	Feedback bool   `json:"feedback"`
	Workers  int    `json:"workers"`
	// Loaded is how long each run at a share of the Workers' cores takes; 0
	// leaves them out.
	Loaded time.Duration `json:"loadedNs"`
	// Share of the cores.
	Share float64 `json:"share"`

	// Explain adds where the time goes.
	Explain bool `json:"explain"`

	cpuProfile, memProfile string
}

// Flags adds them.
func (c *Common) Flags(f *Flags) {
	f.IntVar(&c.Seconds, "seconds", 7, 3, 60, "slices of a second")
	f.SuiteVar(&c.Suite)
	f.BoolVar(&c.Feedback, "feedback", true, "receivers send reports and transport-cc")
	f.IntVar(&c.Workers, "workers", 1, 1, 2, "Workers")
	f.DurationVar(&c.Loaded, "loaded", 3*time.Second, 0, 30*time.Second, "duration of each run under load, or 0 for none")
	f.Float64Var(&c.Share, "share", 0.7, 0.01, 1, "load, of one core for each Worker")
	f.BoolVar(&c.Explain, "explain", false, "tell the nanoseconds of each stage, by a profile of slices after the measurement")
	f.StringVar(&c.cpuProfile, "cpuprofile", "", "write a CPU profile of the server, of slices after the measurement, to this file")
	f.StringVar(&c.memProfile, "memprofile", "", "write all allocations of such slices to this file; the figures are worthless then")
}

// Parse parses the arguments of this process and ends it if they are wrong.
func (c *Common) Parse(f *Flags) {
	f.MustParse()
	if c.memProfile != "" {
		runtime.MemProfileRate = 1
	}
}

// Limit is how long a program with these flags may take.
func (c *Common) Limit() time.Duration {
	return 90*time.Second + time.Duration(7*c.Seconds)*time.Second + 12*c.Loaded
}

// Config is that of n peers.
func (c *Common) Config(n int) Config {
	return Config{Peers: n, Suite: c.Suite, Feedback: c.Feedback, Tick: time.Millisecond}
}

// Measured is what the benchmarks of meetings print.
type Measured struct {
	Figures
	// Loaded is nil if there were no runs under load.
	Loaded *Loaded `json:"loaded,omitempty"`
	// Explained is there with -explain.
	Explained *Explanation `json:"explained,omitempty"`
}

// Measure takes all figures of a rig that has its streams.
func (c *Common) Measure(r *Rig) (*Measured, error) {
	if err := r.Verify(); err != nil {
		return nil, err
	}
	f, err := r.Pairs(c.Seconds)
	if err != nil {
		return nil, err
	}
	m := &Measured{Figures: *f}
	if c.Loaded > 0 {
		if m.Loaded, err = r.UnderLoad(c.Share, c.Loaded); err != nil {
			return nil, err
		}
	}
	if c.Explain {
		if m.Explained, err = r.Explain(c.Seconds); err != nil {
			return nil, err
		}
	}
	if c.cpuProfile != "" {
		if err := r.CPUProfile(c.cpuProfile, c.Seconds); err != nil {
			return nil, err
		}
	}
	if c.memProfile != "" {
		err = r.MemProfile(c.memProfile, c.Seconds)
	}
	return m, err
}

// Print prints v as the last line.
func Print(v any) error {
	line, err := json.Marshal(v)
	if err == nil {
		fmt.Println(string(line))
	}
	return err
}
