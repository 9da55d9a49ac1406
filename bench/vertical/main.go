// Command vertical measures what it costs to spread a room over Workers: one
// Producer is forwarded to many Consumers by one Worker and by two, over the
// loopback interface. It prints JSON: for each number of Workers the CPU per
// forwarded packet and what was forwarded in wall-clock time; the latency of one
// Consumer on the Worker of the Producer and behind a pipe; and how long it takes,
// when a Worker is killed under that load, until a Consumer that joins again on a
// fresh one hears something.
package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/vertical"
	"github.com/mafalda-sfu/mafalda/vertical/placement"
)

var (
	consumers = flag.Int("consumers", 1200, "how `many` Consumers there are, each on a Transport of its own")
	rate      = flag.Int("rate", 50, "`packets` a second of the Producer")
	size      = flag.Int("size", 1000, "`bytes` of a payload")
	length    = flag.Duration("time", 5*time.Second, "how `long` each part takes")
	kills     = flag.Int("kills", 20, "how `many` times a Worker is killed")
)

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
	flag.Parse()
	if *consumers < 1 || *rate < 1 || *size < 8 || *size > 1400 || *length < time.Second || *kills < 0 {
		fmt.Fprintln(os.Stderr, "vertical: flags out of range")
		os.Exit(2)
	}
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.NumCPU() + 2 + 4)
	}
	r, err := measure(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, "vertical:", err)
		os.Exit(1)
	}
	e := json.NewEncoder(os.Stdout)
	e.SetIndent("", "  ")
	_ = e.Encode(r) // a reader that went away needs no report
}

func measure(ctx context.Context) (*report, error) {
	r := &report{Consumers: *consumers, Rate: *rate}
	for _, workers := range []int{1, 2} {
		f, err := measureFanOut(ctx, workers)
		if err != nil {
			return nil, err
		}
		r.FanOut = append(r.FanOut, f)
	}
	for workers, q := range map[int]*quantiles{1: &r.Latency.Near, 2: &r.Latency.Piped} {
		err := within(ctx, workers, func(b *bench) (err error) {
			*q, err = b.latency(ctx)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	if *kills > 0 {
		err := within(ctx, 2, func(b *bench) error {
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

// A bench is a Router with a Producer that receives packets all the time.
type bench struct {
	inner    mafalda.SFU
	sfu      *vertical.SFU
	router   mafalda.Router
	producer mafalda.Producer
	in       mafalda.PlainTransport
	sink     *sink

	begin time.Time
	stop  func()
	sent  int // known once stop has returned
}

// within runs f with a bench on so many Workers.
func within(ctx context.Context, workers int, f func(*bench) error) error {
	b := &bench{inner: mafalda.New(), begin: time.Now()}
	b.sfu = vertical.New(b.inner, vertical.Options{CPUs: workers, Registry: always{}, Policy: placement.Spread()})
	defer b.sfu.Close()
	w, err := b.sfu.CreateWorker(ctx, mafalda.WorkerSettings{})
	if err != nil {
		return err
	}
	b.router, err = w.CreateRouter(ctx, mafalda.RouterOptions{MediaCodecs: []mafalda.RouterRTPCodecCapability{
		{MIMEType: "audio/opus", ClockRate: 48000, Channels: 2},
	}})
	if err != nil {
		return err
	}
	if b.in, err = b.router.CreatePlainTransport(ctx, plain(true)); err != nil {
		return err
	}
	b.producer, err = b.in.Produce(ctx, mafalda.ProducerOptions{
		Kind: mafalda.MediaKindAudio,
		RTPParameters: mafalda.RTPParameters{
			Codecs:    []mafalda.RTPCodecParameters{{MIMEType: "audio/opus", PayloadType: 100, ClockRate: 48000, Channels: 2}},
			Encodings: []mafalda.RTPEncodingParameters{{SSRC: 1}},
		},
	})
	if err != nil {
		return err
	}
	if b.sink, err = newSink(); err != nil {
		return err
	}
	defer b.sink.close()
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

// send begins to send packets that have the time of their sending as payload.
func (b *bench) send() error {
	conn, err := net.DialUDP("udp", nil, &net.UDPAddr{IP: loopback.AsSlice(), Port: int(b.in.Tuple().LocalPort)})
	if err != nil {
		return err
	}
	end, ended := make(chan struct{}), make(chan struct{})
	go func() { // ends with stop
		defer close(ended)
		defer conn.Close()
		packet := make([]byte, 12+*size)
		packet[0], packet[1] = 0x80, 100
		binary.BigEndian.PutUint32(packet[8:], 1)
		tick := time.NewTicker(time.Second / time.Duration(*rate))
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-end:
				return
			case <-tick.C:
			}
			binary.BigEndian.PutUint16(packet[2:], uint16(n))
			binary.BigEndian.PutUint32(packet[4:], uint32(n*960))
			binary.BigEndian.PutUint64(packet[12:], uint64(time.Since(b.begin)))
			if _, err := conn.Write(packet); err == nil {
				b.sent++
			}
		}
	}()
	b.stop = sync.OnceFunc(func() { close(end); <-ended })
	return nil
}

// join adds a Consumer on a Transport of its own, which sends to the sink.
func (b *bench) join(ctx context.Context) (mafalda.PlainTransport, mafalda.Consumer, error) {
	t, err := b.router.CreatePlainTransport(ctx, plain(false))
	if err != nil {
		return nil, nil, err
	}
	if err := t.Connect(ctx, mafalda.PlainTransportConnectOptions{IP: loopback, Port: b.sink.port()}); err != nil {
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

func measureFanOut(ctx context.Context, workers int) (f fanOut, err error) {
	err = within(ctx, workers, func(b *bench) error {
		var list []mafalda.Consumer
		for range *consumers {
			_, c, err := b.join(ctx)
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
		time.Sleep(*length)
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
			Offered: int(took.Seconds()*float64(*rate)) * *consumers, Throughput: float64(n-before) / took.Seconds(),
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
	_, c, err := b.join(ctx)
	if err != nil {
		return quantiles{}, err
	}
	ssrc := c.RTPParameters().Encodings[0].SSRC
	var all []time.Duration
	deadline := time.Now().Add(*length)
	for time.Now().Before(deadline) {
		sent, at, err := b.sink.next(ssrc)
		if err != nil {
			return quantiles{}, err
		}
		all = append(all, at.Sub(b.begin)-sent)
	}
	return quantilesOf(all), nil
}

// recovery kills the Worker of a Consumer again and again, while others are served,
// and measures how long it takes until one that joins again gets a packet.
func (b *bench) recovery(ctx context.Context) (quantiles, error) {
	for range *consumers / 2 {
		if _, _, err := b.join(ctx); err != nil {
			return quantiles{}, err
		}
	}
	var all []time.Duration
	for range *kills {
		t, err := b.elsewhere(ctx)
		if err != nil {
			return quantiles{}, err
		}
		began := time.Now()
		if err := b.workerOf(t).(mafalda.Killer).Kill(errors.New("benchmark")); err != nil {
			return quantiles{}, err
		}
		<-t.Done()
		_, c, err := b.join(ctx)
		if err != nil {
			return quantiles{}, err
		}
		_, at, err := b.sink.next(c.RTPParameters().Encodings[0].SSRC)
		if err != nil {
			return quantiles{}, err
		}
		all = append(all, at.Sub(began))
	}
	return quantilesOf(all), nil
}

// elsewhere joins until the Transport is not on the Worker of the Producer.
func (b *bench) elsewhere(ctx context.Context) (mafalda.Transport, error) {
	for range 10_000 {
		t, _, err := b.join(ctx)
		if err != nil {
			return nil, err
		}
		if w := b.workerOf(t); w != nil && w != b.workerOf(b.in) {
			return t, nil
		}
	}
	return nil, errors.New("all Transports are on one Worker")
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

// next returns when the next packet of a stream was sent and when it came.
func (s *sink) next(ssrc uint32) (sent time.Duration, at time.Time, err error) {
	if err := s.conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return 0, time.Time{}, err
	}
	b := make([]byte, 2000)
	for {
		n, err := s.conn.Read(b)
		if err != nil {
			return 0, time.Time{}, err
		}
		if b[1]&0x7f != 100 || n < 28 || binary.BigEndian.Uint32(b[8:]) != ssrc {
			continue
		}
		header := 12
		if b[0]&0x10 != 0 { // header extensions
			header += 4 + 4*int(binary.BigEndian.Uint16(b[14:]))
		}
		return time.Duration(binary.BigEndian.Uint64(b[header:])), time.Now(), nil
	}
}
