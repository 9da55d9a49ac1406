package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"time"

	"github.com/mafalda-sfu/mafalda"
)

// result is what the last line says.
type result struct {
	NsPerPacket          float64   `json:"nsPerPacket"`
	ReferenceNsPerPacket float64   `json:"referenceNsPerPacket"`
	Ratio                float64   `json:"ratio"` // median of Ratios
	Ratios               []float64 `json:"ratios"`
	AllocsPerPacket      float64   `json:"allocsPerPacket"`
	// BytesPerConsumer is what one more Consumer takes of heap and stacks,
	// BytesPerTransport a connected Transport, with its share of the socket's.
	BytesPerConsumer  int64   `json:"bytesPerConsumer"`
	BytesPerTransport int64   `json:"bytesPerTransport"`
	LatencyMs         latency `json:"latencyMs"`
	Sink              string  `json:"sink"`

	PacketsPerSyscall perCall `json:"packetsPerSyscall"`
	GSO               gso     `json:"gso"`
	// PerSecond tells how often the loop slept, turned and was woken.
	PerSecond perSecond `json:"perSecond"`
	// Forwarded is the share of what should have been sent that was: 1.
	Forwarded float64 `json:"forwarded"`
	// Dropped counts drops by reason; those that are 0 are left out.
	Dropped map[mafalda.DropReason]uint64 `json:"dropped,omitempty"`
	// TurnP99 is the length in ms that 99 of 100 turns did not reach.
	TurnP99 float64 `json:"turnP99Ms"`
	// CPU is the share of one core that the server used.
	CPU float64 `json:"cpu"`

	Ran ran `json:"ran"`
}

type perCall struct {
	In  float64 `json:"in"`
	Out float64 `json:"out"`
}

type perSecond struct {
	Turns        uint64 `json:"turns"`
	WaitCalls    uint64 `json:"waitCalls"`
	ReceiveCalls uint64 `json:"receiveCalls"`
	SendCalls    uint64 `json:"sendCalls"`
	Wakes        uint64 `json:"wakes"`
}

// gso tells how many datagrams left in runs.
type gso struct {
	Segments           uint64  `json:"segments"`
	SegmentsPerMessage float64 `json:"segmentsPerMessage"`
	Share              float64 `json:"share"` // of all datagrams sent
}

// ran tells what was measured, and on what.
type ran struct {
	options
	PacketBytes int    `json:"packetBytes"` // of UDP payload to a receiver
	Packets     uint64 `json:"packets"`     // forwarded in the slices
	Go          string `json:"go"`
	Arch        string `json:"arch"`
	CPUs        int    `json:"cpus"`
	GOMAXPROCS  int    `json:"gomaxprocs"`
}

// A slice is one second of one side.
type slice struct {
	ns      float64 // CPU per packet
	cpu     time.Duration
	packets uint64 // forwarded
	media   int    // packets that the sender sent
	mallocs uint64
	counted mafalda.Counters
}

// drained is enough for what the sender sent last to be forwarded, unless the
// machine has no time for us. Then we give it up to patience.
const drained = 20 * time.Millisecond

// productSlice is one second of the SFU. Everything that is read but the clock
// is read outside of what the clock measures.
func (s *server) productSlice() (slice, error) {
	cmd, err := encode(command{Run: &runCommand{Duration: time.Second}})
	if err != nil {
		return slice{}, err
	}
	before, err := s.counters.Counters(context.Background())
	if err != nil {
		return slice{}, err
	}
	var m0, m1 runtime.MemStats
	runtime.ReadMemStats(&m0)
	c0, err := processCPU()
	if err != nil {
		return slice{}, err
	}
	if _, err := s.peers.in.Write(cmd); err != nil {
		return slice{}, err
	}
	line, err := s.peers.line()
	if err != nil {
		return slice{}, err
	}
	var v slice
	var want uint64
	for deadline := time.Now().Add(patience); ; {
		time.Sleep(drained)
		c1, err := processCPU()
		if err != nil {
			return slice{}, err
		}
		runtime.ReadMemStats(&m1)
		if want == 0 { // decoding allocates
			a, err := decodeAnswer(line)
			if err != nil {
				return slice{}, err
			}
			v.media = a.Run.Media
			want = uint64(v.media * s.o.Consumers)
		}
		after, err := s.counters.Counters(context.Background())
		if err != nil {
			return slice{}, err
		}
		v.cpu, v.mallocs, v.counted = c1-c0, m1.Mallocs-m0.Mallocs, after.Since(before)
		v.packets = v.counted.RTPPacketsSent
		if v.packets >= want || time.Now().After(deadline) {
			break
		}
	}
	if v.packets < want*99/100 {
		return slice{}, fmt.Errorf("the SFU sent %d of %d packets; it dropped %v", v.packets, want, v.counted.Drops)
	}
	v.ns = float64(v.cpu) / float64(v.packets)
	return v, nil
}

// referenceSlice is one second of the reference loop, measured by the clock of
// its thread: what the Go runtime and the idle SFU take for themselves
// meanwhile is no cost of it.
func (s *server) referenceSlice() (slice, error) {
	n0, f0 := s.reference.sent.Load(), s.reference.failed.Load()
	c0, err := s.reference.cpu()
	if err != nil {
		return slice{}, err
	}
	a, err := s.peers.do(command{Run: &runCommand{Duration: time.Second, Reference: true}})
	if err != nil {
		return slice{}, err
	}
	want := uint64(a.Run.Media * s.o.Consumers)
	v := slice{media: a.Run.Media}
	for deadline := time.Now().Add(patience); ; {
		time.Sleep(drained)
		c1, err := s.reference.cpu()
		if err != nil {
			return slice{}, err
		}
		v.cpu, v.packets = c1-c0, s.reference.sent.Load()-n0
		if v.packets >= want || time.Now().After(deadline) {
			break
		}
	}
	if failed := s.reference.failed.Load() - f0; v.packets < want*99/100 || failed > 0 {
		return slice{}, fmt.Errorf("the reference loop sent %d of %d packets, %d failed", v.packets, want, failed)
	}
	v.ns = float64(v.cpu) / float64(v.packets)
	return v, nil
}

// measure alternates both sides and prints the result.
func (s *server) measure() error {
	if _, err := s.peers.do(command{Reference: &s.reference.addr}); err != nil {
		return err
	}
	// Without counting: caches, pools, what remembers the packets of two seconds,
	// and the device that nobody reads.
	for range 3 {
		if _, err := s.productSlice(); err != nil {
			return err
		}
	}
	if _, err := s.referenceSlice(); err != nil {
		return err
	}
	var ours, theirs []slice
	for i := range s.o.Seconds {
		p, err := s.productSlice()
		if err != nil {
			return err
		}
		r, err := s.referenceSlice()
		if err != nil {
			return err
		}
		fmt.Printf("pair %d: %.0f ns/packet, reference %.0f, ratio %.2f\n", i+1, p.ns, r.ns, r.ns/p.ns)
		ours, theirs = append(ours, p), append(theirs, r)
	}
	a, err := s.peers.do(command{Run: &runCommand{Duration: 2 * time.Second, Read: true}})
	if err != nil {
		return err
	}
	r := s.summarize(ours, theirs)
	r.LatencyMs = a.Run.Latency
	if err := s.profile(); err != nil {
		return err
	}
	return s.print(r)
}

func (s *server) summarize(ours, theirs []slice) *result {
	r := &result{
		Sink:              s.sink,
		BytesPerConsumer:  s.memory.consumers / int64(max(s.o.Consumers-1, 1)),
		BytesPerTransport: s.memory.transports / int64(s.o.Consumers+1),
		Dropped:           map[mafalda.DropReason]uint64{},
		Ran: ran{
			options: *s.o, PacketBytes: s.packet,
			Go: runtime.Version(), Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), GOMAXPROCS: runtime.GOMAXPROCS(0),
		},
	}
	var ns, reference []float64
	var c mafalda.Counters // sums
	var mallocs, turns uint64
	var media int
	var cpu time.Duration
	lengths := make([]mafalda.TurnLength, len(ours[0].counted.TurnLengths))
	for i, p := range ours {
		ns, reference = append(ns, p.ns), append(reference, theirs[i].ns)
		r.Ratios = append(r.Ratios, round(theirs[i].ns/p.ns, 3))
		mallocs += p.mallocs
		media += p.media
		cpu += p.cpu
		r.Ran.Packets += p.packets
		d := p.counted
		c.PacketsReceived += d.PacketsReceived
		c.ReceiveCalls += d.ReceiveCalls
		c.PacketsSent += d.PacketsSent
		c.SendCalls += d.SendCalls
		c.WaitCalls += d.WaitCalls
		c.Wakes += d.Wakes
		c.GSOMessages += d.GSOMessages
		c.GSOSegments += d.GSOSegments
		for reason, n := range d.Drops {
			if n > 0 {
				r.Dropped[reason] += n
			}
		}
		turns += d.Turns
		for k, l := range d.TurnLengths {
			lengths[k].Below = l.Below
			lengths[k].Turns += l.Turns
		}
	}
	packets := float64(r.Ran.Packets)
	r.NsPerPacket = round(quantile(ns, 50), 1)
	r.ReferenceNsPerPacket = round(quantile(reference, 50), 1)
	r.Ratio = quantile(append([]float64(nil), r.Ratios...), 50)
	r.AllocsPerPacket = round(float64(mallocs)/packets, 6)
	r.PacketsPerSyscall = perCall{In: round(c.PacketsPerReceiveCall(), 2), Out: round(c.PacketsPerSendCall(), 2)}
	n := uint64(len(ours))
	r.PerSecond = perSecond{turns / n, c.WaitCalls / n, c.ReceiveCalls / n, c.SendCalls / n, c.Wakes / n}
	r.GSO.Segments = c.GSOSegments
	if c.GSOMessages > 0 {
		r.GSO.SegmentsPerMessage = round(float64(c.GSOSegments)/float64(c.GSOMessages), 2)
	}
	r.GSO.Share = round(float64(c.GSOSegments)/float64(c.PacketsSent), 3)
	r.Forwarded = round(packets/float64(media*s.o.Consumers), 4)
	r.CPU = round(cpu.Seconds()/float64(len(ours)), 3)
	var sum uint64
	for _, l := range lengths {
		if sum += l.Turns; sum*100 >= turns*99 {
			r.TurnP99 = float64(l.Below) / float64(time.Millisecond)
			break
		}
	}
	return r
}

func round(v float64, digits int) float64 {
	p := 1.0
	for range digits {
		p *= 10
	}
	return float64(int64(v*p+0.5)) / p
}

// profile runs some slices more for the profiles that were asked for.
func (s *server) profile() error {
	more := func() error {
		for range s.o.Seconds {
			if _, err := s.productSlice(); err != nil {
				return err
			}
		}
		return nil
	}
	if s.o.cpuProfile != "" {
		f, err := os.Create(s.o.cpuProfile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		err = more()
		pprof.StopCPUProfile()
		if err != nil {
			return err
		}
	}
	if s.o.memProfile == "" {
		return nil
	}
	for _, name := range []string{s.o.memProfile + ".base", s.o.memProfile} {
		if err := more(); err != nil {
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

func (s *server) print(r *result) error {
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	verdict := s.check(r)
	fmt.Println(string(line))
	return verdict
}

// Limits of the gate.
const (
	maxAllocs     = 0.001 // per packet
	leastOfRatio  = 0.7   // of the baseline
	leastForwards = 0.99
)

// check compares with the baseline, if there is one to compare with.
func (s *server) check(r *result) error {
	if r.Forwarded < leastForwards {
		return fmt.Errorf("only %.1f %% of the packets were forwarded", 100*r.Forwarded)
	}
	if s.o.baseline == "" || r.Sink != sinkTUN {
		return nil
	}
	b, err := os.ReadFile(s.o.baseline)
	if err != nil {
		return err
	}
	var base result
	if err := json.Unmarshal(b, &base); err != nil {
		return fmt.Errorf("%s: %w", s.o.baseline, err)
	}
	if r.Ratio < leastOfRatio*base.Ratio {
		return fmt.Errorf("ratio %.2f is less than 70 %% of the baseline %.2f", r.Ratio, base.Ratio)
	}
	if r.AllocsPerPacket >= maxAllocs {
		return fmt.Errorf("%.4f allocations per packet, want less than %v", r.AllocsPerPacket, maxAllocs)
	}
	return nil
}
