package dtls

import (
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/transport/v5/deadline"
)

const (
	// maxQueued and maxQueuedBytes bound what was fed and not read yet.
	maxQueued      = 512
	maxQueuedBytes = 512 << 10
)

// A pipe is the net.PacketConn under a pion connection: Feed puts datagrams
// in, send takes them out. Reads wait for a turn while shaking hands.
type pipe struct {
	// Constant after newPipe.
	send     func([]byte)
	panicked func(any)     // told what send panicked with
	heard    func()        // called once, at the first datagram read
	ready    chan struct{} // capacity 1: something is in queue
	done     chan struct{} // closed by Close
	read     *deadline.Deadline
	turn     *turn

	once  sync.Once
	first sync.Once

	connected atomic.Bool // reads need no turn any more

	mu   sync.Mutex
	mute func() bool // guarded by mu; true: WriteTo drops

	inMu   sync.Mutex
	queue  [][]byte // guarded by inMu
	queued int      // guarded by inMu; bytes in queue
}

func newPipe(send func([]byte), heard func(), panicked func(any), mute func() bool, t *turn) *pipe {
	return &pipe{
		send:     send,
		panicked: panicked,
		heard:    heard,
		ready:    make(chan struct{}, 1),
		done:     make(chan struct{}),
		read:     deadline.New(),
		turn:     t,
		mute:     mute,
	}
}

// put queues a datagram, which becomes the pipe's.
func (p *pipe) put(b []byte) bool {
	p.inMu.Lock()
	defer p.inMu.Unlock()
	if len(p.queue) == maxQueued || p.queued+len(b) > maxQueuedBytes {
		return false
	}
	p.queue = append(p.queue, b)
	p.queued += len(b)
	p.signal()
	return true
}

func (p *pipe) signal() {
	select {
	case p.ready <- struct{}{}:
	default:
	}
}

// take returns the next datagram, nil if there is none.
func (p *pipe) take() []byte {
	p.inMu.Lock()
	defer p.inMu.Unlock()
	if len(p.queue) == 0 {
		return nil
	}
	b := p.queue[0]
	p.queue[0] = nil
	p.queued -= len(b)
	if p.queue = p.queue[1:]; len(p.queue) == 0 {
		p.queue = nil // most connections say nothing for hours
	} else {
		p.signal()
	}
	return b
}

// ReadFrom is called by one goroutine of pion's.
func (p *pipe) ReadFrom(dst []byte) (int, net.Addr, error) {
	expired := p.read.Done()
	p.turn.settle(p.done, expired)
	select {
	case <-p.done: // before what is queued
		return 0, nil, net.ErrClosed
	case <-expired:
		return 0, nil, os.ErrDeadlineExceeded
	default:
	}
	for {
		if b := p.take(); b != nil {
			if !p.connected.Load() {
				p.first.Do(p.heard)
				if !p.turn.take(p.done, expired) {
					return 0, nil, net.ErrClosed
				}
			}
			return copy(dst, b), address{}, nil
		}
		select {
		case <-p.ready:
		case <-p.done:
			return 0, nil, net.ErrClosed
		case <-expired:
			return 0, nil, os.ErrDeadlineExceeded
		}
	}
}

// WriteTo is called by goroutines of pion's and by ours. What it hands to send
// is send's.
func (p *pipe) WriteTo(b []byte, _ net.Addr) (n int, err error) {
	defer func() {
		if v := recover(); v != nil {
			p.panicked(v)
			n, err = 0, net.ErrClosed
		}
	}()
	p.turn.give()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mute() {
		return 0, net.ErrClosed
	}
	p.send(append([]byte(nil), b...))
	return len(b), nil
}

// silence makes sure that send is not running and won't run again.
func (p *pipe) silence() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mute = func() bool { return true }
}

func (p *pipe) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipe) LocalAddr() net.Addr                { return address{} }
func (p *pipe) SetReadDeadline(t time.Time) error  { p.read.Set(t); return nil }
func (p *pipe) SetDeadline(t time.Time) error      { return p.SetReadDeadline(t) }
func (p *pipe) SetWriteDeadline(_ time.Time) error { return nil } // writes never wait

// address is that of both ends: the engine knows the real ones.
type address struct{}

func (address) Network() string { return "dtls" }
func (address) String() string  { return "peer" }
