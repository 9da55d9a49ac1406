package harness

import (
	"context"
	"fmt"
	"maps"
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
	"time"

	"github.com/mafalda-sfu/mafalda"
)

// Figures are what slices tell.
type Figures struct {
	NsPerPacket          float64   `json:"nsPerPacket"`
	ReferenceNsPerPacket float64   `json:"referenceNsPerPacket,omitempty"`
	Ratio                float64   `json:"ratio,omitempty"` // median of Ratios
	Ratios               []float64 `json:"ratios,omitempty"`
	AllocsPerPacket      float64   `json:"allocsPerPacket"`
	Sink                 string    `json:"sink"`

	PacketsPerSyscall PerCall `json:"packetsPerSyscall"`
	GSO               Runs    `json:"gso"`
	GRO               Runs    `json:"gro"`
	// PerSecond tells how often the loop slept, turned and was woken.
	PerSecond PerSecond `json:"perSecond"`
	// Forwarded is the share of what should have been sent that was: 1.
	Forwarded float64 `json:"forwarded"`
	// Arrived is the share of what the peers sent that the Workers read: below 1
	// they had no time, and the sockets' buffers were full.
	Arrived float64 `json:"arrived"`
	// Dropped counts drops by reason; those that are 0 are left out.
	Dropped map[mafalda.DropReason]uint64 `json:"dropped,omitempty"`
	// TurnP50 and TurnP99 are the lengths in ms that half and 99 of 100 turns did
	// not reach.
	TurnP50 float64 `json:"turnP50Ms"`
	TurnP99 float64 `json:"turnP99Ms"`
	// CPU is the share of one core that the server used.
	CPU     float64 `json:"cpu"`
	Packets uint64  `json:"packets"` // forwarded in the slices
	// PacketBytes are those of UDP payload of the largest packet to a receiver.
	PacketBytes int `json:"packetBytes"`
}

// leastForwarded is the share of packets below which figures tell nothing: what
// was dropped cost less.
const leastForwarded = 0.99

// Check returns an error if too few packets were forwarded.
func (f *Figures) Check() error {
	if f.Forwarded < leastForwarded {
		return fmt.Errorf("only %.1f %% of the packets were forwarded", 100*f.Forwarded)
	}
	return nil
}

// PerCall is how many packets one system call moves.
type PerCall struct {
	In  float64 `json:"in"`
	Out float64 `json:"out"`
}

// PerSecond is what a Worker does.
type PerSecond struct {
	Turns        uint64 `json:"turns"`
	WaitCalls    uint64 `json:"waitCalls"`
	ReceiveCalls uint64 `json:"receiveCalls"`
	SendCalls    uint64 `json:"sendCalls"`
	Wakes        uint64 `json:"wakes"`
}

// Runs tell how many datagrams went through the kernel in runs.
type Runs struct {
	Segments           uint64  `json:"segments"`
	SegmentsPerMessage float64 `json:"segmentsPerMessage"`
	Share              float64 `json:"share"` // of all datagrams
}

func runsOf(messages, segments, all uint64) Runs {
	r := Runs{Segments: segments}
	if messages > 0 && all > 0 {
		r.SegmentsPerMessage = Round(float64(segments)/float64(messages), 2)
		r.Share = Round(float64(segments)/float64(all), 3)
	}
	return r
}

// A Machine is on what figures were taken.
type Machine struct {
	Go         string `json:"go"`
	Arch       string `json:"arch"`
	CPUs       int    `json:"cpus"`
	GOMAXPROCS int    `json:"gomaxprocs"`
}

// ThisMachine describes the process that asks.
func ThisMachine() Machine {
	return Machine{Go: runtime.Version(), Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), GOMAXPROCS: runtime.GOMAXPROCS(0)}
}

// A Slice is a while of one side, a second for most.
type Slice struct {
	NS      float64 // CPU per packet
	CPU     time.Duration
	Packets uint64 // forwarded
	Copies  uint64 // that should have been
	Mallocs uint64
	Counted mafalda.Counters // of all Workers
	Ran     Ran              // what the peers say of it
}

// drained is enough for what the sender sent last to be forwarded, unless the
// machine has no time for us. Then we give it up to patience.
const drained = 20 * time.Millisecond

// counters returns the sum over all Workers.
func (r *Rig) counters() (mafalda.Counters, error) {
	var sum mafalda.Counters
	for _, w := range r.Workers {
		c, err := w.(mafalda.CounterReporter).Counters(context.Background())
		if err != nil {
			return sum, err
		}
		sum = plus(sum, c)
	}
	return sum, nil
}

// plus adds b to what figures need of a.
func plus(a, b mafalda.Counters) mafalda.Counters {
	b.PacketsReceived += a.PacketsReceived
	b.PacketsSent += a.PacketsSent
	b.RTPPacketsSent += a.RTPPacketsSent
	b.ReceiveCalls += a.ReceiveCalls
	b.SendCalls += a.SendCalls
	b.WaitCalls += a.WaitCalls
	b.Wakes += a.Wakes
	b.GSOMessages += a.GSOMessages
	b.GSOSegments += a.GSOSegments
	b.GROMessages += a.GROMessages
	b.GROSegments += a.GROSegments
	b.Turns += a.Turns
	b.Drops, b.TurnLengths = maps.Clone(b.Drops), slices.Clone(b.TurnLengths)
	for reason, n := range a.Drops {
		b.Drops[reason] += n
	}
	for i, l := range a.TurnLengths {
		b.TurnLengths[i].Turns += l.Turns
	}
	return b
}

// ProductSlice lets the peers send to the SFU as run says; its Duration is a
// second by default. Everything that is read but the clock is read outside of
// what the clock measures.
func (r *Rig) ProductSlice(run Run) (Slice, error) {
	if run.Duration == 0 {
		run.Duration = time.Second
	}
	cmd, err := r.peers.encode(command{Run: &run})
	if err != nil {
		return Slice{}, err
	}
	before, err := r.counters()
	if err != nil {
		return Slice{}, err
	}
	var sent uint64
	if r.sent != nil {
		sent = r.sent()
	}
	var m0, m1 runtime.MemStats
	runtime.ReadMemStats(&m0)
	c0, err := r.cpu()
	if err != nil {
		return Slice{}, err
	}
	if _, err := r.peers.in.Write(cmd); err != nil {
		return Slice{}, err
	}
	line, err := r.peers.line()
	if err != nil {
		return Slice{}, err
	}
	var v Slice
	for deadline := time.Now().Add(patience); ; {
		time.Sleep(drained)
		c1, err := r.cpu()
		if err != nil {
			return Slice{}, err
		}
		if v.Copies == 0 {
			runtime.ReadMemStats(&m1) // what follows allocates
			a, err := decodeAnswer(line)
			if err != nil {
				return Slice{}, err
			}
			v.Copies, v.Ran = uint64(a.Run.Copies), *a.Run
		}
		after, err := r.counters()
		if err != nil {
			return Slice{}, err
		}
		v.CPU, v.Mallocs, v.Counted = c1-c0, m1.Mallocs-m0.Mallocs, after.Since(before)
		if v.Packets = v.Counted.RTPPacketsSent; r.sent != nil {
			v.Packets = r.sent() - sent
		}
		if run.Piped {
			v.Packets -= min(v.Packets, uint64(v.Ran.Media))
		}
		if v.Packets >= v.Copies || time.Now().After(deadline) {
			break
		}
	}
	if v.Packets == 0 {
		return v, fmt.Errorf("the SFU sent nothing of %d packets; it dropped %v", v.Copies, v.Counted.Drops)
	}
	v.NS = float64(v.CPU) / float64(v.Packets)
	return v, nil
}

// A Throughput is how many packets were forwarded per second of the clock on the
// wall, what share that is of those that were offered, and the cores that it took.
type Throughput struct{ PerSecond, Share, Cores float64 }

// Throughput offers what run says, after what came before has been forwarded.
func (r *Rig) Throughput(run Run) (t Throughput, err error) {
	before, err := r.counters()
	for deadline := time.Now().Add(5 * patience); err == nil && time.Now().Before(deadline); {
		time.Sleep(5 * drained)
		last := before.RTPPacketsSent
		if before, err = r.counters(); before.RTPPacketsSent == last {
			break
		}
	}
	if err != nil {
		return t, err
	}
	c0, err := ProcessCPU()
	if err != nil {
		return t, err
	}
	start := time.Now()
	ran, err := r.Run(run)
	if err != nil {
		return t, err
	}
	took := time.Since(start).Seconds()
	c1, err := ProcessCPU()
	if err != nil {
		return t, err
	}
	after, err := r.counters()
	sent := float64(after.RTPPacketsSent - before.RTPPacketsSent)
	return Throughput{sent / took, sent / float64(max(ran.Copies, 1)), (c1 - c0).Seconds() / took}, err
}

// referenceSlice is one second of the reference loop, measured by the clock of
// its thread: what the Go runtime and the idle SFU take for themselves
// meanwhile is no cost of it.
func (r *Rig) referenceSlice() (Slice, error) {
	n0, f0 := r.reference.sent.Load(), r.reference.failed.Load()
	c0, err := r.reference.cpu()
	if err != nil {
		return Slice{}, err
	}
	run := Run{Duration: time.Second, Reference: true}
	if len(r.sources) > len(r.tracks) {
		run.Alive = 5
	}
	a, err := r.Run(run)
	if err != nil {
		return Slice{}, err
	}
	v := Slice{Copies: uint64(a.Copies)}
	for deadline := time.Now().Add(patience); ; {
		time.Sleep(drained)
		c1, err := r.reference.cpu()
		if err != nil {
			return Slice{}, err
		}
		v.CPU, v.Packets = c1-c0, r.reference.sent.Load()-n0
		if v.Packets >= v.Copies || time.Now().After(deadline) {
			break
		}
	}
	if v.Packets == 0 {
		return v, fmt.Errorf("the reference loop sent nothing of %d packets, %d failed", v.Copies, r.reference.failed.Load()-f0)
	}
	v.NS = float64(v.CPU) / float64(v.Packets)
	return v, nil
}

// WarmUp runs three slices without counting: caches, pools, what remembers the
// packets of two seconds, and the device that nobody reads.
func (r *Rig) WarmUp(run Run) error {
	for range 3 {
		if _, err := r.ProductSlice(run); err != nil {
			return err
		}
	}
	return nil
}

// Pairs alternates n slices of the SFU with as many of the reference loop.
func (r *Rig) Pairs(n int) (*Figures, error) {
	routes, err := newReferenceRoutes(suites[r.cfg.Suite], r.network, r.sources, r.sinks)
	if err != nil {
		return nil, err
	}
	if r.reference, err = startReference(r.addr, routes); err != nil {
		return nil, err
	}
	if _, err := r.peers.do(command{Reference: &r.reference.addr}); err != nil {
		return nil, err
	}
	if err := r.WarmUp(Run{}); err != nil {
		return nil, err
	}
	if _, err := r.referenceSlice(); err != nil {
		return nil, err
	}
	var ours, theirs []Slice
	for i := range n {
		p, err := r.ProductSlice(Run{})
		if err != nil {
			return nil, err
		}
		q, err := r.referenceSlice()
		if err != nil {
			return nil, err
		}
		fmt.Printf("pair %d: %.0f ns/packet, reference %.0f, ratio %.2f\n", i+1, p.NS, q.NS, q.NS/p.NS)
		ours, theirs = append(ours, p), append(theirs, q)
	}
	f := r.Summarize(ours)
	var ns []float64
	for i, q := range theirs {
		ns = append(ns, q.NS)
		f.Ratios = append(f.Ratios, Round(q.NS/ours[i].NS, 3))
	}
	f.ReferenceNsPerPacket = Round(Median(ns), 1)
	f.Ratio = Median(f.Ratios)
	return f, nil
}

// Alone runs n slices of the SFU.
func (r *Rig) Alone(n int, run Run) (*Figures, error) {
	if err := r.WarmUp(Run{}); err != nil {
		return nil, err
	}
	var ours []Slice
	for range n {
		p, err := r.ProductSlice(run)
		if err != nil {
			return nil, err
		}
		ours = append(ours, p)
	}
	return r.Summarize(ours), nil
}

// Summarize makes figures of slices.
func (r *Rig) Summarize(ours []Slice) *Figures {
	f := &Figures{Sink: r.Sink, Dropped: map[mafalda.DropReason]uint64{}, PacketBytes: r.packet}
	var ns []float64
	var c mafalda.Counters // sum
	var mallocs, copies, sent uint64
	var cpu time.Duration
	for _, p := range ours {
		ns = append(ns, p.NS)
		mallocs += p.Mallocs
		copies += p.Copies
		sent += uint64(p.Ran.Media + p.Ran.Feedback)
		cpu += p.CPU
		f.Packets += p.Packets
		c = plus(c, p.Counted)
	}
	for reason, n := range c.Drops {
		if n > 0 {
			f.Dropped[reason] = n
		}
	}
	f.NsPerPacket = Round(Median(ns), 1)
	f.AllocsPerPacket = Round(float64(mallocs)/float64(f.Packets), 6)
	f.PacketsPerSyscall = PerCall{In: Round(c.PacketsPerReceiveCall(), 2), Out: Round(c.PacketsPerSendCall(), 2)}
	n := uint64(len(ours))
	f.PerSecond = PerSecond{c.Turns / n, c.WaitCalls / n, c.ReceiveCalls / n, c.SendCalls / n, c.Wakes / n}
	f.GSO = runsOf(c.GSOMessages, c.GSOSegments, c.PacketsSent)
	f.GRO = runsOf(c.GROMessages, c.GROSegments, c.PacketsReceived)
	f.Forwarded = Round(float64(f.Packets)/float64(copies), 4)
	f.Arrived = Round(float64(c.PacketsReceived)/float64(max(sent, 1)), 4)
	f.CPU = Round(cpu.Seconds()/float64(n), 3)
	f.TurnP50, f.TurnP99 = turnLength(&c, 50), turnLength(&c, 99)
	return f
}

// turnLength returns the length in ms that percent of the turns did not reach.
func turnLength(c *mafalda.Counters, percent uint64) float64 {
	var sum uint64
	for _, l := range c.TurnLengths {
		if sum += l.Turns; sum*100 >= c.Turns*percent {
			return float64(l.Below) / float64(time.Millisecond)
		}
	}
	return 0
}

// Median returns the value that half of v are below. It sorts v's copy.
func Median(v []float64) float64 { return quantile(append([]float64(nil), v...), 50) }

// Round rounds to so many digits behind the point.
func Round(v float64, digits int) float64 {
	p := 1.0
	for range digits {
		p *= 10
	}
	if v < 0 {
		return float64(int64(v*p-0.5)) / p
	}
	return float64(int64(v*p+0.5)) / p
}

// CPUProfile writes a profile of n slices into a file.
func (r *Rig) CPUProfile(file string, n int) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := pprof.StartCPUProfile(f); err != nil {
		return err
	}
	defer pprof.StopCPUProfile()
	return r.more(n)
}

// MemProfile writes all allocations of n slices into a file, those before it
// into another. [runtime.MemProfileRate] has to be 1 from the beginning.
func (r *Rig) MemProfile(file string, n int) error {
	for _, name := range []string{file + ".base", file} {
		if err := r.more(n); err != nil {
			return err
		}
		runtime.GC()
		runtime.GC() // a profile is of the time before the last but one
		f, err := os.Create(name)
		if err != nil {
			return err
		}
		err = pprof.Lookup("allocs").WriteTo(f, 0)
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *Rig) more(n int) error {
	for range n {
		if _, err := r.ProductSlice(Run{}); err != nil {
			return err
		}
	}
	return nil
}
