package channel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/mafalda-sfu/mafalda/internal/channel/fbs"
	"github.com/mafalda-sfu/mafalda/internal/channel/verify"
	"github.com/mafalda-sfu/mafalda/internal/engine"
)

// A Client is the other side: it drives a worker through its channel. Its
// methods may be called by many goroutines at a time.
//
// The operations are those of [engine.Machine], on a [Call]. Since a worker
// answers in order and its notifications come in the same stream, the client
// knows which of them an operation caused: an operation is followed by a request
// that does nothing, and what comes before the response to that belongs to the
// operation.
type Client struct {
	cfg ClientConfig
	out *frameWriter
	box *engine.Mailbox

	// turn is held from when an operation takes its place in the order of
	// things until it is written. See Do.
	turn sync.Mutex

	mu      sync.Mutex
	lastID  uint32             // guarded by mu; of a request
	pending []*exchange        // guarded by mu; in the order in which they were written
	tree    map[string]*branch // guarded by mu; what was created, by id
	err     error              // guarded by mu; why nothing more is answered
	ended   chan struct{}      // closed when err is set

	running chan string // gets the process id that the worker tells; capacity 1
	seq     uint64      // of notifications; owned by read
}

// ClientConfig is what a [Client] is made with.
type ClientConfig struct {
	// Requests is where requests go, Replies where the rest comes from. Required.
	Requests io.Writer
	Replies  io.Reader
	// Notify is called with each notification that no operation caused, one
	// after the other, on a goroutine that may wait as long as it likes. Required.
	Notify func(engine.Notification)
	// Log is called with each line of the worker's log; its first byte is the
	// level: D, W, E or X. It must not wait. Required.
	Log func(line string)
	// Ended is called once, after the last Notify, when the channel has ended.
	// err is why: [io.EOF] when the worker closed it. Required.
	Ended func(err error)
}

// An exchange is a request and its response.
type exchange struct {
	id, barrier uint32        // of the request and of that which follows it; 0: none does
	done        chan struct{} // closed when it is complete

	// Owned by read until done is closed.
	response *fbs.ResponseT
	notes    []engine.Notification

	abandoned bool   // guarded by Client.mu; nobody waits any more
	undo      func() // guarded by Client.mu; to be called if it succeeds nevertheless
}

// NewClient returns a client and reads Replies until they end.
func NewClient(cfg ClientConfig) *Client {
	c := &Client{
		cfg:     cfg,
		out:     newFrameWriter(cfg.Requests),
		box:     engine.NewMailbox(cfg.Notify),
		tree:    map[string]*branch{},
		ended:   make(chan struct{}),
		running: make(chan string, 1),
	}
	go func() { // ends with Replies
		err := c.read()
		c.mu.Lock()
		c.err = err
		c.pending = nil
		c.mu.Unlock()
		close(c.ended)
		c.box.Close(func() { c.cfg.Ended(err) })
	}()
	return c
}

// Running gets the process id that the worker tells once, when it has started.
func (c *Client) Running() <-chan string { return c.running }

// Ended is closed when the channel has ended.
func (c *Client) Ended() <-chan struct{} { return c.ended }

// Close tells the worker to close. It does not wait until it has.
func (c *Client) Close() {
	_ = c.out.write(bare("", fbs.EventWORKER_CLOSE)) // a worker that is gone is closed
}

// Do calls f, which does operations on its Call, and returns the notifications
// that they caused. What f does before the first happens in the order of the
// operations. Errors: those of the operations, which match one of the engine's;
// that of ctx when it ends first: what a worker then creates all the same is
// closed.
func (c *Client) Do(ctx context.Context, f func(*Call) error) ([]engine.Notification, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	k := &Call{c: c, ctx: ctx, first: true}
	c.turn.Lock()
	defer func() {
		if k.first {
			c.turn.Unlock()
		}
	}()
	err := f(k)
	return k.notes, err
}

// A Call is an operation on its way, or several one after the other.
type Call struct {
	c     *Client
	ctx   context.Context // of Do, which a Call does not outlive
	first bool            // nothing was sent yet, and the turn is held
	notes []engine.Notification
}

// A request is what a Call sends.
type request struct {
	method fbs.Method
	id     string // of the object
	kind   fbs.RequestBody
	body   any
	want   fbs.ResponseBody // or anyBody
	quiet  bool             // it causes no notification
	// undo closes what a request created for which nobody waits any more.
	undo func(*Call) error
	// class is what an «Error» means here, which the protocol does not say; nil
	// is engine.ErrInvalidState.
	class error
}

// anyBody is a response whose body depends on the object.
const anyBody fbs.ResponseBody = 255

// do sends r and returns the body of its response.
func (k *Call) do(r request) (any, error) {
	if !k.first {
		k.c.turn.Lock()
	}
	k.first = false
	x, err := k.c.send(&r)
	k.c.turn.Unlock()
	if err != nil {
		return nil, err
	}
	select {
	case <-x.done:
	case <-k.c.ended:
		return nil, engine.ErrClosed
	case <-k.ctx.Done():
		if k.c.abandon(x, r.undo) {
			return nil, k.ctx.Err()
		}
	}
	k.notes = append(k.notes, x.notes...)
	if !x.response.Accepted {
		return nil, refused(x.response, r.class)
	}
	b := x.response.Body
	switch {
	case r.want == fbs.ResponseBodyNONE:
		return nil, nil
	case b == nil || r.want != anyBody && b.Type != r.want:
		return nil, fmt.Errorf("%s was answered with something else: %w", r.method, engine.ErrUnavailable)
	}
	return b.Value, nil
}

// refused returns the error of a response.
func refused(r *fbs.ResponseT, class error) error {
	switch {
	case r.Error == "TypeError":
		class = engine.ErrInvalidArgument
	case r.Error == "NotFoundError":
		class = engine.ErrNotFound
	case class == nil:
		class = engine.ErrInvalidState
	}
	return &remoteError{text: r.Reason, class: class}
}

// A remoteError is an error that the worker told.
type remoteError struct {
	text  string
	class error
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.class }

// send writes a request, in the turn of its Call.
func (c *Client) send(r *request) (*exchange, error) {
	x := &exchange{done: make(chan struct{})}
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return nil, engine.ErrClosed
	}
	c.lastID++
	x.id = c.lastID
	if !r.quiet {
		c.lastID++
		x.barrier = c.lastID
	}
	c.pending = append(c.pending, x)
	c.mu.Unlock()
	q := &fbs.RequestT{Id: x.id, Method: r.method, HandlerId: r.id}
	if r.kind != fbs.RequestBodyNONE {
		q.Body = &fbs.RequestBodyT{Type: r.kind, Value: r.body}
	}
	err := c.out.write(&fbs.MessageBodyT{Type: fbs.MessageBodyRequest, Value: q})
	if errors.Is(err, errTooBig) {
		c.withdraw(x)
		return nil, fmt.Errorf("%w: %w", err, engine.ErrInvalidArgument)
	}
	if err == nil && x.barrier != 0 {
		err = c.out.write(&fbs.MessageBodyT{Type: fbs.MessageBodyRequest, Value: &fbs.RequestT{
			Id: x.barrier, Method: fbs.MethodWORKER_UPDATE_SETTINGS, Body: &fbs.RequestBodyT{
				Type: fbs.RequestBodyWorkerUpdateSettingsRequest, Value: emptySettings(),
			},
		}})
	}
	if err != nil {
		return nil, engine.ErrClosed
	}
	return x, nil
}

// emptySettings changes nothing: a vector that is there would.
func emptySettings() *fbs.WorkerUpdateSettingsRequestT { return &fbs.WorkerUpdateSettingsRequestT{} }

// withdraw takes back an exchange that was not written.
func (c *Client) withdraw(x *exchange) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, p := range c.pending {
		if p == x {
			c.pending = append(c.pending[:i], c.pending[i+1:]...)
			return
		}
	}
}

// abandon gives up waiting for x and reports true, unless x is complete.
func (c *Client) abandon(x *exchange, undo func(*Call) error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-x.done:
		return false
	default:
	}
	x.abandoned = true
	if undo != nil {
		x.undo = func() { _, _ = c.Do(context.Background(), undo) } // or it is closed already
	}
	return true
}

// read takes what the worker says until that ends.
func (c *Client) read() error {
	frames := NewFrameReader(c.cfg.Replies)
	for {
		frame, err := frames.Next()
		if err != nil {
			return err
		}
		// What is unpacked refers to the frame, whose memory is used again.
		frame = append([]byte(nil), frame[prefix:]...)
		if err := verify.VerifyFromWorker(frame); err != nil {
			return err
		}
		switch v := fbs.GetRootAsMessage(frame, 0).UnPack().Data.Value.(type) {
		case *fbs.LogT:
			c.cfg.Log(v.Data)
		case *fbs.ResponseT:
			if err := c.answer(v); err != nil {
				return err
			}
		case *fbs.NotificationT:
			c.hear(v)
		}
	}
}

// answer takes a response. They come in the order of the requests.
func (c *Client) answer(r *fbs.ResponseT) error {
	c.mu.Lock()
	if len(c.pending) == 0 {
		c.mu.Unlock()
		return fmt.Errorf("response %d to no request", r.Id)
	}
	x := c.pending[0]
	switch {
	case r.Id == x.id && x.response == nil:
		x.response = r
		if x.barrier != 0 {
			c.mu.Unlock()
			return nil
		}
	case r.Id == x.barrier && x.response != nil:
	default:
		c.mu.Unlock()
		return fmt.Errorf("response %d instead of that to %d", r.Id, x.id)
	}
	c.pending = c.pending[1:]
	close(x.done)
	abandoned, undo := x.abandoned, x.undo
	c.mu.Unlock()
	if abandoned {
		c.box.Put(x.notes...)
		if undo != nil && x.response.Accepted {
			go undo() // ends with its response, or with the channel
		}
	}
	return nil
}

// hear takes a notification.
func (c *Client) hear(n *fbs.NotificationT) {
	if n.Event == fbs.EventWORKER_RUNNING {
		select {
		case c.running <- n.HandlerId:
		default:
		}
		return
	}
	body := bodyOf(n)
	if body == nil {
		return
	}
	c.seq++
	note := engine.Notification{Seq: c.seq, Target: n.HandlerId, Body: body}
	switch body.(type) {
	case engine.ConsumerProducerClose, engine.DataConsumerProducerClose:
		c.forget(n.HandlerId)
	case engine.ConsumerRTP, engine.DirectRTCP, engine.DataConsumerMessage, engine.Trace:
		c.box.Put(note) // all by one goroutine, in their order
		return
	}
	c.mu.Lock()
	var x *exchange
	if len(c.pending) > 0 && c.pending[0].barrier != 0 {
		x = c.pending[0]
	}
	c.mu.Unlock()
	if x == nil {
		c.box.Put(note)
		return
	}
	x.notes = append(x.notes, note)
}

// tell writes a notification.
func (c *Client) tell(m *fbs.MessageBodyT) error {
	switch err := c.out.write(m); {
	case err == nil:
		return nil
	case errors.Is(err, errTooBig):
		return fmt.Errorf("%w: %w", err, engine.ErrInvalidArgument)
	}
	return engine.ErrClosed
}
