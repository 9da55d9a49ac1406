// Command vertical measures what it costs to spread a room over Workers: one
// Producer is forwarded to many Consumers by one Worker and by two, over the
// loopback interface. It prints JSON: for each number of Workers the CPU per
// forwarded packet and what was forwarded in wall-clock time; the latency of one
// Consumer on the Worker of the Producer and behind a pipe; and how long it takes,
// when a Worker is killed under that load, until a Consumer of video that joins
// again on a fresh one has something to decode: a key frame.
package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/bench/internal/harness"
	"github.com/mafalda-sfu/mafalda/vertical"
	"github.com/mafalda-sfu/mafalda/vertical/placement"
)

// options are the flags.
type options struct {
	consumers, rate, size, kills int
	length                       time.Duration
}

func parseOptions(args []string) (*options, error) {
	o := &options{}
	f := harness.NewFlags("vertical")
	f.IntVar(&o.consumers, "consumers", 1200, 1, 10000, "Consumers, each on a Transport of its own")
	f.IntVar(&o.rate, "rate", 50, 1, 20000, "packets per second of the Producer")
	f.IntVar(&o.size, "size", 1000, 16, 1400, "bytes of RTP payload, which is a frame where it is video")
	f.DurationVar(&o.length, "time", 5*time.Second, time.Second, 10*time.Minute, "duration of each part")
	f.IntVar(&o.kills, "kills", 20, 0, 1000, "times that a Worker is killed")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	return o, nil
}

var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// A report is what is printed.
type report struct {
	Consumers int        `json:"consumers"`
	Rate      int        `json:"packetsPerSecond"` // of the Producer
	FanOut    []fanOut   `json:"fanOut"`
	Latency   latencies  `json:"latencyMs"`
	Recovery  *quantiles `json:"recoveryMs,omitempty"`
}

// A fanOut is one Producer and many Consumers.
type fanOut struct {
	Workers        int       `json:"workers"`
	Pipes          int       `json:"pipes"`
	Forwarded      int       `json:"forwarded"`     // packets that were sent to Consumers
	Offered        int       `json:"offered"`       // that should have been
	Throughput     float64   `json:"forwardedPerS"` // wall clock
	CPU            []float64 `json:"cpu"`           // of each Worker, 1 is a core
	CPUNsPerPacket float64   `json:"cpuNsPerPacket"`
}

type latencies struct {
	Near  quantiles `json:"sameWorker"`
	Piped quantiles `json:"piped"`
}

type quantiles struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
}

func quantilesOf(d []time.Duration) quantiles {
	slices.Sort(d)
	at := func(q float64) float64 {
		if len(d) == 0 {
			return 0
		}
		return d[min(len(d)-1, int(q*float64(len(d))))].Seconds() * 1000
	}
	return quantiles{at(0.5), at(0.95), at(0.99)}
}

func main() {
	o, err := parseOptions(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "vertical:", err)
		os.Exit(1)
	}
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.NumCPU() + 2 + 4)
	}
	r, err := o.measure(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, "vertical:", err)
		os.Exit(1)
	}
	e := json.NewEncoder(os.Stdout)
	e.SetIndent("", "  ")
	_ = e.Encode(r) // a reader that went away needs no report
}

func (o *options) measure(ctx context.Context) (*report, error) {
	r := &report{Consumers: o.consumers, Rate: o.rate}
	for _, workers := range []int{1, 2} {
		f, err := o.measureFanOut(ctx, workers)
		if err != nil {
			return nil, err
		}
		r.FanOut = append(r.FanOut, f)
	}
	for workers, q := range map[int]*quantiles{1: &r.Latency.Near, 2: &r.Latency.Piped} {
		err := o.within(ctx, workers, opus, func(b *bench) (err error) {
			*q, err = b.latency(ctx)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	if o.kills > 0 {
		err := o.within(ctx, 2, vp8, func(b *bench) error {
			q, err := b.recovery(ctx)
			r.Recovery = &q
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return r, nil
}

// A always is a Registry for a benchmark, which has the machine to itself.
type always struct{}

func (always) Acquire(int) (release func(), err error) { return func() {}, nil }

// The payload type of either codec.
const payloadType = 100

var (
	opus = mafalda.RTPCodecParameters{MIMEType: "audio/opus", PayloadType: payloadType, ClockRate: 48000, Channels: 2}
	vp8  = mafalda.RTPCodecParameters{
		MIMEType: "video/VP8", PayloadType: payloadType, ClockRate: 90000,
		RTCPFeedback: []mafalda.RTCPFeedback{{Type: "nack", Parameter: "pli"}},
	}
)

// A bench is a Router with a Producer that receives packets all the time.
type bench struct {
	*options
	inner    mafalda.SFU
	sfu      *vertical.SFU
	router   mafalda.Router
	producer mafalda.Producer
	in       mafalda.PlainTransport
	crowd    *sink // of Consumers that are only there
	probe    *sink // of those that are looked at

	begin time.Time
	stop  func()
}

// within runs f with a bench on so many Workers.
func (o *options) within(ctx context.Context, workers int, codec mafalda.RTPCodecParameters, f func(*bench) error) error {
	b := &bench{options: o, inner: mafalda.New(), begin: time.Now()}
	b.sfu = vertical.New(b.inner, vertical.Options{CPUs: workers, Registry: always{}, Policy: placement.Spread()})
	defer b.sfu.Close()
	w, err := b.sfu.CreateWorker(ctx, mafalda.WorkerSettings{})
	if err != nil {
		return err
	}
	b.router, err = w.CreateRouter(ctx, mafalda.RouterOptions{MediaCodecs: []mafalda.RouterRTPCodecCapability{
		{MIMEType: codec.MIMEType, ClockRate: codec.ClockRate, Channels: codec.Channels, PreferredPayloadType: new(uint8(payloadType))},
	}})
	if err != nil {
		return err
	}
	if b.in, err = b.router.CreatePlainTransport(ctx, plain(true)); err != nil {
		return err
	}
	kind, _, _ := strings.Cut(codec.MIMEType, "/")
	b.producer, err = b.in.Produce(ctx, mafalda.ProducerOptions{
		Kind: mafalda.MediaKind(kind),
		RTPParameters: mafalda.RTPParameters{
			Codecs: []mafalda.RTPCodecParameters{codec}, Encodings: []mafalda.RTPEncodingParameters{{SSRC: 1}},
		},
	})
	if err != nil {
		return err
	}
	if b.crowd, err = newSink(); err != nil {
		return err
	}
	defer b.crowd.close()
	if b.probe, err = newSink(); err != nil {
		return err
	}
	defer b.probe.close()
	if err := b.send(); err != nil {
		return err
	}
	defer b.stop()
	return f(b)
}

func plain(comedia bool) mafalda.PlainTransportOptions {
	return mafalda.PlainTransportOptions{
		ListenInfo: mafalda.ListenInfo{Protocol: mafalda.ProtocolUDP, IP: loopback}, Comedia: comedia,
	}
}

// What payloads of VP8 begin with: a descriptor (RFC 7741 §4.2) and the tag of a
// frame, which for a key frame has its size too (RFC 6386 §9.1).
var (
	keyFrame   = []byte{0x10, 0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0x00}
	deltaFrame = []byte{0x10, 0x11, 0x02, 0x00}
)

// send begins to send packets: of sound those that have the time of their sending as
// payload, of video a frame each, which is a key frame when one was asked for.
func (b *bench) send() error {
	conn, err := net.DialUDP("udp", nil, &net.UDPAddr{IP: loopback.AsSlice(), Port: int(b.in.Tuple().LocalPort)})
	if err != nil {
		return err
	}
	var wanted atomic.Bool // a key frame
	var running sync.WaitGroup
	end := make(chan struct{})
	running.Go(func() { // ends with conn
		p := make([]byte, 2000)
		for {
			n, err := conn.Read(p)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil && wantsKeyFrame(p[:n]) {
				wanted.Store(true)
			}
		}
	})
	running.Go(func() { // ends with stop
		defer conn.Close()
		packet := make([]byte, 12+b.size)
		packet[0], packet[1] = 0x80, 0x80|payloadType
		binary.BigEndian.PutUint32(packet[8:], 1)
		tick := time.NewTicker(time.Second / time.Duration(b.rate))
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-end:
				return
			case <-tick.C:
			}
			binary.BigEndian.PutUint16(packet[2:], uint16(n))
			binary.BigEndian.PutUint32(packet[4:], uint32(n*960))
			switch {
			case b.producer.Kind() == mafalda.MediaKindAudio:
				binary.BigEndian.PutUint64(packet[12:], uint64(time.Since(b.begin)))
			case n == 0 || wanted.Swap(false):
				copy(packet[12:], keyFrame)
			default:
				copy(packet[12:], deltaFrame)
			}
			_, _ = conn.Write(packet) // one that is lost does not count
		}
	})
	b.stop = sync.OnceFunc(func() { close(end); running.Wait() })
	return nil
}

// wantsKeyFrame reports whether there is a PLI in an RTCP compound (RFC 4585 §6.3.1).
func wantsKeyFrame(p []byte) bool {
	for len(p) >= 4 {
		if p[0] == 0x81 && p[1] == 206 {
			return true
		}
		p = p[min(len(p), 4+4*int(binary.BigEndian.Uint16(p[2:]))):]
	}
	return false
}

// join adds a Consumer on a Transport of its own, which sends to a sink.
func (b *bench) join(ctx context.Context, to *sink) (mafalda.PlainTransport, mafalda.Consumer, error) {
	t, err := b.router.CreatePlainTransport(ctx, plain(false))
	if err != nil {
		return nil, nil, err
	}
	if err := t.Connect(ctx, mafalda.PlainTransportConnectOptions{IP: loopback, Port: to.port()}); err != nil {
		return nil, nil, err
	}
	c, err := t.Consume(ctx, mafalda.ConsumerOptions{ProducerID: b.producer.ID(), RTPCapabilities: b.router.RTPCapabilities()})
	return t, c, err
}

// cpu returns the CPU time that all Workers have used, and that of each.
func (b *bench) cpu(ctx context.Context) (sum time.Duration, each []time.Duration, err error) {
	for _, w := range b.inner.Workers() {
		u, err := w.ResourceUsage(ctx)
		if err != nil {
			return 0, nil, err
		}
		d := time.Duration(u.Utime+u.Stime) * time.Millisecond
		sum += d
		each = append(each, d)
	}
	return sum, each, nil
}

// forwarded returns how many packets Consumers have sent.
func forwarded(ctx context.Context, list []mafalda.Consumer) (n int, err error) {
	for _, c := range list {
		stats, err := c.Stats(ctx)
		if err != nil {
			return 0, err
		}
		n += int(stats[0].PacketCount)
	}
	return n, nil
}

func (o *options) measureFanOut(ctx context.Context, workers int) (f fanOut, err error) {
	err = o.within(ctx, workers, opus, func(b *bench) error {
		var list []mafalda.Consumer
		for range o.consumers {
			_, c, err := b.join(ctx, b.crowd)
			if err != nil {
				return err
			}
			list = append(list, c)
		}
		before, err := forwarded(ctx, list)
		if err != nil {
			return err
		}
		began := time.Now()
		used, each, err := b.cpu(ctx)
		if err != nil {
			return err
		}
		time.Sleep(o.length)
		after, eachAfter, err := b.cpu(ctx)
		if err != nil {
			return err
		}
		took := time.Since(began)
		n, err := forwarded(ctx, list)
		if err != nil {
			return err
		}
		f = fanOut{
			Workers: len(each), Pipes: b.sfu.Usage().Pipes, Forwarded: n - before,
			Offered: int(took.Seconds()*float64(o.rate)) * o.consumers, Throughput: float64(n-before) / took.Seconds(),
		}
		for i := range each {
			f.CPU = append(f.CPU, (eachAfter[i]-each[i]).Seconds()/took.Seconds())
		}
		if f.Forwarded == 0 {
			return errors.New("nothing was forwarded")
		}
		f.CPUNsPerPacket = float64(after-used) / float64(f.Forwarded)
		return nil
	})
	return f, err
}

// latency measures one Consumer: with one Worker it is where the Producer is, with
// two it is on the other one.
func (b *bench) latency(ctx context.Context) (quantiles, error) {
	_, c, err := b.join(ctx, b.probe)
	if err != nil {
		return quantiles{}, err
	}
	ssrc := c.RTPParameters().Encodings[0].SSRC
	var all []time.Duration
	deadline := time.Now().Add(b.length)
	for time.Now().Before(deadline) {
		payload, at, err := b.probe.next(ssrc)
		if err != nil {
			return quantiles{}, err
		}
		all = append(all, at.Sub(b.begin)-time.Duration(binary.BigEndian.Uint64(payload)))
	}
	return quantilesOf(all), nil
}

// recovery kills the Worker of half the Consumers again and again, and measures how
// long it takes until the first that joins again, on a fresh Worker, gets a key
// frame. Then the others come back.
func (b *bench) recovery(ctx context.Context) (quantiles, error) {
	on := map[mafalda.Worker]int{} // Transports of the crowd
	join := func() error {
		t, _, err := b.join(ctx, b.crowd)
		if err == nil {
			on[b.workerOf(t)]++
		}
		return err
	}
	for range b.consumers {
		if err := join(); err != nil {
			return quantiles{}, err
		}
	}
	var all []time.Duration
	for range b.kills {
		victim := b.other()
		if victim == nil || on[victim] == 0 {
			return quantiles{}, errors.New("all Transports are on one Worker")
		}
		began := time.Now()
		if err := victim.(mafalda.Killer).Kill(errors.New("benchmark")); err != nil {
			return quantiles{}, err
		}
		<-victim.Done()
		t, c, err := b.join(ctx, b.probe)
		if err != nil {
			return quantiles{}, err
		}
		at, err := b.probe.nextKeyFrame(c.RTPParameters().Encodings[0].SSRC)
		if err != nil {
			return quantiles{}, err
		}
		all = append(all, at.Sub(began))
		if w := b.workerOf(t); w != b.other() || on[w] > 0 {
			return quantiles{}, errors.New("the Consumer that joined again is not on a fresh Worker")
		}
		for range on[victim] {
			if err := join(); err != nil {
				return quantiles{}, err
			}
		}
		delete(on, victim)
		if err := t.Close(); err != nil {
			return quantiles{}, err
		}
	}
	return quantilesOf(all), nil
}

// other returns the real Worker where the Producer is not, or nil.
func (b *bench) other() mafalda.Worker {
	in := b.workerOf(b.in)
	for _, w := range b.inner.Workers() {
		if w != in {
			return w
		}
	}
	return nil
}

// workerOf returns the real Worker of a Transport, or nil. Inner Transports have
// the same ids.
func (b *bench) workerOf(t mafalda.Transport) mafalda.Worker {
	for _, w := range b.inner.Workers() {
		for _, r := range w.Routers() {
			for _, x := range r.Transports() {
				if x.ID() == t.ID() {
					return w
				}
			}
		}
	}
	return nil
}

// A sink is where all Consumers send.
type sink struct{ conn *net.UDPConn }

func newSink() (*sink, error) {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: loopback.AsSlice()})
	if err != nil {
		return nil, err
	}
	_ = conn.SetReadBuffer(8 << 20) // less is enough for one Consumer
	return &sink{conn}, nil
}

func (s *sink) close() { s.conn.Close() }

func (s *sink) port() uint16 { return s.conn.LocalAddr().(*net.UDPAddr).AddrPort().Port() }

// next returns the payload of the next packet of a stream, and when it came.
func (s *sink) next(ssrc uint32) (payload []byte, at time.Time, err error) {
	if err := s.conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return nil, time.Time{}, err
	}
	b := make([]byte, 2000)
	for {
		n, err := s.conn.Read(b)
		if err != nil {
			return nil, time.Time{}, err
		}
		if b[1]&0x7f != payloadType || n < 28 || binary.BigEndian.Uint32(b[8:]) != ssrc {
			continue
		}
		header := 12
		if b[0]&0x10 != 0 { // header extensions
			header += 4 + 4*int(binary.BigEndian.Uint16(b[14:]))
		}
		return b[min(header, n):n], time.Now(), nil
	}
}

// nextKeyFrame returns when the next key frame of a stream came.
func (s *sink) nextKeyFrame(ssrc uint32) (time.Time, error) {
	for {
		payload, at, err := s.next(ssrc)
		if err != nil || bytes.HasPrefix(payload, keyFrame) {
			return at, err
		}
	}
}
