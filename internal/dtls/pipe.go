package dtls

import (
	"net"
	"os"
	"sync"
	"time"

	"github.com/pion/transport/v5/deadline"
)

// A pipe is the net.PacketConn under a pion connection, for as long as it shakes
// hands: Feed puts datagrams in, send takes them out. Reads wait for a turn.
type pipe struct {
	// Constant after newPipe.
	send     func([]byte)
	panicked func(any)     // told what send panicked with
	heard    func()        // called once, at the first datagram read
	ready    chan struct{} // capacity 1: something is in queue
	done     chan struct{} // closed by Close
	read     *deadline.Deadline
	turn     *turn

	first sync.Once

	mu   sync.Mutex
	mute func() bool // guarded by mu; true: WriteTo drops
	last []byte      // guarded by mu; the last that began with a ChangeCipherSpec

	inMu   sync.Mutex
	queue  queue // guarded by inMu
	closed bool  // guarded by inMu
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
	if p.closed || !p.queue.put(b) {
		return false
	}
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
	b := p.queue.take()
	if len(p.queue.datagrams) > 0 {
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
			p.first.Do(p.heard)
			if !p.turn.take(p.done, expired) {
				return 0, nil, net.ErrClosed
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

// WriteTo is called by goroutines of pion's. What it hands to send is send's.
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
	if b[0] == typeChangeCipherSpec {
		p.last = append([]byte(nil), b...)
	}
	p.send(append([]byte(nil), b...))
	return len(b), nil
}

// silence makes sure that send is not running and won't run again. It returns
// the last flight of a server that is done: ChangeCipherSpec and Finished, which
// fit into one datagram.
func (p *pipe) silence() (flight []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mute = func() bool { return true }
	return p.last
}

func (p *pipe) Close() error {
	p.inMu.Lock()
	defer p.inMu.Unlock()
	if !p.closed {
		p.closed, p.queue = true, queue{}
		close(p.done)
	}
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
