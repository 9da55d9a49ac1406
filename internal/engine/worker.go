package engine

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mafalda-sfu/mafalda/internal/driver"
	"github.com/mafalda-sfu/mafalda/internal/dtls"
)

// Config is what a Worker is started with.
type Config struct {
	// Driver brings clock and sockets; nil makes one of the kernel's.
	Driver driver.Driver
	// Certificate is the DTLS certificate of every transport without one of its own.
	// Required.
	Certificate *dtls.Certificate
	// Limiter bounds the DTLS handshakes that run at once. Required.
	Limiter *dtls.Limiter
	// RTCMinPort and RTCMaxPort are the ports of a listen info without one.
	RTCMinPort, RTCMaxPort uint16
	// Notify is called with each notification that no operation caused, one
	// after the other, on a goroutine that may wait as long as it likes.
	Notify func(Notification)
	// Died is called once, after the last Notify, when the loop ended without
	// Close. err is a *PanicError.
	Died func(err error)
	// Logger gets what the engine has to say; nil discards it.
	Logger *slog.Logger
}

// A Worker is a loop that owns all media state of its Routers. Its methods may
// be called by many goroutines at a time.
type Worker struct {
	// Constant after Start.
	drv     driver.Driver
	cfg     Config
	out     *outbox
	refused *refusals     // the Machine's
	done    chan struct{} // closed by the loop, as the last thing
	told    chan struct{} // closed by the notifier, as the last thing

	number uint64 // constant; the order in which locks of two Workers are taken

	calls []func(*Machine) // owned by the loop; taken from queue, not begun

	mu     sync.Mutex
	lanes  map[*Worker]*lane // guarded by mu; to other Workers and to itself
	queue  []func(*Machine)  // guarded by mu
	closed bool              // guarded by mu; nothing is queued any more
}

// A PanicError says that the loop of a Worker, or a goroutine that works for
// it, panicked.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Format adds the stack to %+v.
func (e *PanicError) Format(f fmt.State, verb rune) {
	switch {
	case verb == 'v' && f.Flag('+'):
		fmt.Fprintf(f, "%s\n%s", e.Error(), e.Stack)
	case verb == 'q':
		fmt.Fprintf(f, "%q", e.Error())
	default:
		_, _ = io.WriteString(f, e.Error()) // f keeps the error
	}
}

// Unwrap returns the value of the panic if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// Start starts a Worker. It ends with [Worker.Close], or by a panic.
func Start(cfg Config) (*Worker, error) {
	if cfg.Driver == nil {
		d, err := driver.New()
		if err != nil {
			return nil, unavailable("starting a loop: %v", err)
		}
		cfg.Driver = d
	}
	w := &Worker{
		drv: cfg.Driver, cfg: cfg, out: newOutbox(), done: make(chan struct{}), told: make(chan struct{}),
		number: workerNumbers.Add(1), lanes: map[*Worker]*lane{},
	}
	m := newMachine(cfg, w.post)
	w.out.backlog, w.refused = m.backlog, m.refused
	go w.run(m) // ends with Close or a panic
	go func() { // ends when the loop has closed the outbox
		defer close(w.told)
		w.out.run(w.cfg.Notify)
	}()
	return w, nil
}

// workerNumbers numbers the Workers of the process.
var workerNumbers atomic.Uint64

// Done returns a channel that is closed when the loop has ended.
func (w *Worker) Done() <-chan struct{} { return w.done }

// Told returns a channel that is closed when the loop has ended and the last
// call of Notify, or of Died, has returned.
func (w *Worker) Told() <-chan struct{} { return w.told }

// post runs f on the loop. When the loop ends before, f gets nil instead; when
// it has ended already, post reports false and f won't run.
func (w *Worker) post(f func(*Machine)) bool {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return false
	}
	w.queue = append(w.queue, f)
	w.mu.Unlock()
	w.drv.Wake()
	return true
}

func (w *Worker) take(spare []func(*Machine)) []func(*Machine) {
	w.mu.Lock()
	defer w.mu.Unlock()
	q := w.queue
	w.queue = spare[:0]
	return q
}

const (
	pause   = 50 * time.Microsecond // in Wait: it has blocked
	maxBusy = time.Millisecond      // without giving way to other goroutines
	maxHold = 8 * time.Millisecond  // without a look of the scheduler; see run
)

func (w *Worker) run(m *Machine) {
	defer close(w.done)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer wakeSoon()()
	defer w.end(m)
	m.load.start()
	m.log.Debug("worker runs")
	m.stale = true
	var batch []func(*Machine)
	// The end of the last turn, since when it is without a pause, and when it
	// last gave way.
	var end, busy, gave time.Duration
	for {
		m.tick()
		if m.now-end > pause {
			busy = m.now
		}
		batch = w.take(batch)
		for i, f := range batch {
			w.calls = batch[i+1:]
			batch[i] = nil
			f(m)
		}
		if m.stopped {
			return
		}
		more := m.receiveLanes()
		m.wheel.Advance(m.now)
		m.flush()
		w.out.put(m.takeNotes())
		end = w.drv.Now()
		m.turnEnds(end)
		if end-busy > maxBusy || end-gave > maxHold {
			// Others wait for the P that a thread in raw system calls never gives.
			// And the runtime's monitor takes a goroutine that was not scheduled
			// for 10 ms, asleep in a system call or not, for one that hogs its P:
			// from then on it looks every 20 µs, and sends signals.
			runtime.Gosched()
			busy, gave = end, end
		}
		timeout := m.timeout(end)
		if len(batch) > 0 || more {
			timeout = 0
		}
		m.stale = true
		if err := w.drv.Wait(timeout, m); err != nil {
			panic(err)
		}
	}
}

// end releases everything, in order: objects, sockets, callers that wait.
func (w *Worker) end(m *Machine) {
	var why *PanicError
	if v := recover(); v != nil {
		var ok bool
		if why, ok = v.(*PanicError); !ok {
			why = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}
	w.mu.Lock()
	w.closed = true
	queue := w.queue
	w.queue = nil
	lanes := w.lanes
	w.lanes = nil
	w.mu.Unlock()
	m.release()
	for _, l := range lanes {
		l.end()
	}
	w.drv.Close()
	if why != nil {
		m.log.Error("worker died", "error", why.Error(), "stack", string(why.Stack))
	} else {
		m.log.Debug("worker closed")
	}
	m.stopped = true
	for _, f := range append(w.calls, queue...) {
		f(nil)
	}
	w.out.close(func() {
		if why != nil && w.cfg.Died != nil {
			w.cfg.Died(why)
		}
	})
}

// Do runs op on the loop of w and returns its result and, in order, the
// notifications that it caused. When ctx ends before op began, op does not run
// and the error is that of ctx; once begun, it is waited for. A Worker that has
// ended answers ErrClosed.
func Do[R any](ctx context.Context, w *Worker, op func(*Machine) (R, error)) (R, []Notification, error) {
	const (
		queued = iota
		running
		cancelled
	)
	var (
		result R
		notes  []Notification
		err    error = ErrClosed
		state  atomic.Int32
		done   = make(chan struct{})
	)
	if e := ctx.Err(); e != nil {
		return result, nil, e
	}
	ok := w.post(func(m *Machine) {
		if !state.CompareAndSwap(queued, running) {
			return
		}
		defer close(done)
		if m == nil { // the loop has ended
			return
		}
		m.beginOp()
		r, e := op(m)
		m.inOp = false
		result, err = r, e
		notes, m.opNotes = m.opNotes, nil
	})
	if !ok {
		return result, nil, ErrClosed
	}
	select {
	case <-done:
	case <-ctx.Done():
		if state.CompareAndSwap(queued, cancelled) {
			return result, nil, ctx.Err()
		}
		<-done
	}
	return result, notes, err
}

// Run is Do for an operation without a result.
func Run(ctx context.Context, w *Worker, op func(*Machine) error) ([]Notification, error) {
	_, notes, err := Do(ctx, w, func(m *Machine) (struct{}, error) { return struct{}{}, op(m) })
	return notes, err
}

// Inject hands an RTP packet of the application to a Producer of a direct
// transport. It copies packet and does not wait; what is wrong with it is
// counted on the loop. Errors: ErrClosed, ErrUnavailable when too many wait.
func (w *Worker) Inject(producerID string, packet []byte) error {
	return w.inject(packet, func(m *Machine, b []byte) { m.producerSend(producerID, b) })
}

// InjectRTCP hands an RTCP packet of the application to a direct transport,
// like [Worker.Inject].
func (w *Worker) InjectRTCP(transportID string, packet []byte) error {
	return w.inject(packet, func(m *Machine, b []byte) { m.transportSendRTCP(transportID, b) })
}

// maxQueued is how many injected packets may wait for the loop.
const maxQueued = 4096

func (w *Worker) inject(packet []byte, f func(*Machine, []byte)) error {
	b := append([]byte(nil), packet...)
	return w.enqueue(func(m *Machine) {
		if m != nil {
			f(m, b)
		}
	})
}

// InjectData hands a message of the application to a DataProducer, which may be
// on any transport. It copies what msg refers to and does not wait; a message
// that is empty or too large is dropped and counted on the loop. Errors:
// ErrClosed, ErrUnavailable when too many wait for the loop, for listeners or in
// a pipe connected in memory.
func (w *Worker) InjectData(producerID string, msg DataMessage) error {
	if err := w.room(producerID); err != nil {
		return err
	}
	backlog := w.out.backlog
	msg.Data = slices.Clone(msg.Data)
	msg.Subchannels = slices.Clone(msg.Subchannels)
	for _, n := range []**uint16{&msg.Required, &msg.Ignored} {
		if *n != nil {
			*n = new(**n)
		}
	}
	backlog.add(len(msg.Data))
	err := w.enqueue(func(m *Machine) {
		if m != nil {
			m.dataProducerSend(producerID, &msg)
		}
		backlog.sub(len(msg.Data))
	})
	if err != nil {
		backlog.sub(len(msg.Data))
	}
	return err
}

// room returns why a message for a DataProducer can't be taken; nil if it can.
func (w *Worker) room(producerID string) error {
	var full error
	switch {
	case w.out.backlog.full():
		full = unavailable("more than %d bytes of messages wait", maxBacklog)
	case w.refused.has(producerID):
		full = unavailable("too many messages of the DataProducer wait in a pipe")
	default:
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed { // there will never be room
		return ErrClosed
	}
	return full
}

// enqueue is post for what the application hands in.
func (w *Worker) enqueue(f func(*Machine)) error {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return ErrClosed
	}
	if len(w.queue) >= maxQueued {
		w.mu.Unlock()
		return unavailable("%d packets wait for the worker", maxQueued)
	}
	w.queue = append(w.queue, f)
	w.mu.Unlock()
	w.drv.Wake()
	return nil
}
