package impair

import (
	"container/heap"
	"context"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Direction says which way a packet goes.
type Direction int

// The directions.
const (
	Up   Direction = iota // from a client to the target
	Down                  // from the target to a client
)

// Options are the options of [NewRelay].
type Options struct {
	// Listen is where clients send to. Required; port 0 takes a free one.
	Listen netip.AddrPort
	// Target is where their packets go. Required.
	Target netip.AddrPort
	// Up and Down impair the packets of each client on its own. The seeds of
	// the first client are those given, the next one's follow.
	Up, Down Config
	// Observe, if not nil, is told about each packet before it is delayed. It
	// is called by several goroutines and must not keep b.
	Observe func(d Direction, b []byte, lost bool)
}

// A Relay forwards UDP between any number of clients and one target. The
// target sees each client at an address of its own, as behind a NAT.
type Relay struct {
	opts  Options
	in    *net.UDPConn
	start time.Time
	wg    sync.WaitGroup

	mu      sync.Mutex
	up      Config                  // guarded by mu
	down    Config                  // guarded by mu
	clients map[netip.AddrPort]*leg // guarded by mu
	closed  bool                    // guarded by mu
}

// A leg is one client.
type leg struct {
	out      *net.UDPConn // towards the target
	up, down *pipe
}

// NewRelay opens a Relay. It runs until Close.
func NewRelay(o Options) (*Relay, error) {
	for _, c := range []Config{o.Up, o.Down} {
		if err := c.Validate(); err != nil {
			return nil, err
		}
	}
	in, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(o.Listen))
	if err != nil {
		return nil, err
	}
	in.SetReadBuffer(4 << 20) // the system's limit is good enough
	r := &Relay{opts: o, in: in, start: time.Now(), up: o.Up, down: o.Down, clients: map[netip.AddrPort]*leg{}}
	r.wg.Go(r.readClients) // ends when in is closed
	return r, nil
}

// Addr is where clients send to.
func (r *Relay) Addr() netip.AddrPort { return r.in.LocalAddr().(*net.UDPAddr).AddrPort() }

// Clients returns how many clients there were.
func (r *Relay) Clients() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.clients)
}

// Set changes what happens to packets to come, of all clients. Seeds are kept.
func (r *Relay) Set(up, down Config) error {
	for _, c := range []Config{up, down} {
		if err := c.Validate(); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	up.Seed, down.Seed = r.up.Seed, r.down.Seed
	r.up, r.down = up, down
	for _, l := range r.clients {
		l.up.set(up)
		l.down.set(down)
	}
	return nil
}

// Close ends the Relay. What was delayed is lost.
func (r *Relay) Close() error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil
	}
	r.closed = true
	r.in.Close()
	for _, l := range r.clients {
		l.out.Close()
		l.up.close()
		l.down.close()
	}
	r.mu.Unlock()
	r.wg.Wait()
	return nil
}

func (r *Relay) readClients() {
	b := make([]byte, 1<<16)
	for failed := 0; failed < 1000; {
		n, from, err := r.in.ReadFromUDPAddrPort(b)
		if err != nil {
			if r.isClosed() {
				return
			}
			failed++ // an ICMP message about an earlier packet
			continue
		}
		failed = 0
		if l := r.leg(from); l != nil {
			r.forward(Up, l.up, b[:n])
		}
	}
}

func (r *Relay) readTarget(l *leg) {
	b := make([]byte, 1<<16)
	for failed := 0; failed < 1000; {
		n, err := l.out.Read(b)
		if err != nil {
			if r.isClosed() {
				return
			}
			failed++
			continue
		}
		failed = 0
		r.forward(Down, l.down, b[:n])
	}
}

func (r *Relay) isClosed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed
}

func (r *Relay) forward(d Direction, p *pipe, b []byte) {
	at, ok := p.offer(time.Since(r.start), len(b))
	if r.opts.Observe != nil {
		r.opts.Observe(d, b, !ok)
	}
	if ok {
		p.put(at, append([]byte(nil), b...))
	}
}

// leg returns the leg of a client and opens it at its first packet, nil when
// that is not possible.
func (r *Relay) leg(client netip.AddrPort) *leg {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l := r.clients[client]; l != nil || r.closed {
		return l
	}
	out, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(r.opts.Target))
	if err != nil {
		return nil
	}
	out.SetReadBuffer(4 << 20)
	up, down := r.up, r.down
	up.Seed += uint64(len(r.clients))
	down.Seed += uint64(len(r.clients))
	l := &leg{out: out}
	l.up = newPipe(up, func(b []byte) { out.Write(b) })
	l.down = newPipe(down, func(b []byte) { r.in.WriteToUDPAddrPort(b, client) })
	r.clients[client] = l
	for _, f := range []func(){
		func() { r.readTarget(l) },   // ends when out is closed
		func() { l.up.run(r.start) }, // ends with its pipe
		func() { l.down.run(r.start) },
	} {
		r.wg.Go(f)
	}
	return l
}

// A pipe is a Link with the packets that are under way.
type pipe struct {
	write func([]byte)
	wake  chan struct{}
	done  context.CancelFunc
	ctx   context.Context

	mu      sync.Mutex
	link    *Link   // guarded by mu
	waiting packets // guarded by mu
	order   uint64  // guarded by mu
}

func newPipe(c Config, write func([]byte)) *pipe {
	p := &pipe{write: write, wake: make(chan struct{}, 1), link: NewLink(c)}
	p.ctx, p.done = context.WithCancel(context.Background())
	return p
}

func (p *pipe) set(c Config) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.link.Set(c)
}

func (p *pipe) close() { p.done() }

func (p *pipe) offer(now time.Duration, size int) (time.Duration, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.link.Send(now, size)
}

func (p *pipe) put(at time.Duration, b []byte) {
	p.mu.Lock()
	p.order++
	heap.Push(&p.waiting, packet{at: at, order: p.order, b: b})
	first := p.waiting[0].order == p.order
	p.mu.Unlock()
	if first {
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
}

// due takes out the next packet that is due, or says how long to wait for it.
func (p *pipe) due(now time.Duration) (b []byte, wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiting) == 0 {
		return nil, time.Hour
	}
	if wait := p.waiting[0].at - now; wait > 0 {
		return nil, wait
	}
	return heap.Pop(&p.waiting).(packet).b, 0
}

func (p *pipe) run(start time.Time) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		b, wait := p.due(time.Since(start))
		if b != nil {
			p.write(b)
			continue
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-p.wake:
		case <-p.ctx.Done():
			return
		}
	}
}

type packet struct {
	at    time.Duration
	order uint64 // of those that arrive together
	b     []byte
}

// packets is a heap, the first to arrive on top.
type packets []packet

func (p packets) Len() int { return len(p) }
func (p packets) Less(i, j int) bool {
	return p[i].at < p[j].at || p[i].at == p[j].at && p[i].order < p[j].order
}
func (p packets) Swap(i, j int) { p[i], p[j] = p[j], p[i] }
func (p *packets) Push(x any)   { *p = append(*p, x.(packet)) }
func (p *packets) Pop() any {
	n := len(*p) - 1
	x := (*p)[n]
	(*p)[n] = packet{}
	*p = (*p)[:n]
	return x
}
