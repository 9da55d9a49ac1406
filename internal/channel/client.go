package channel

import (
	"context"
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
	out *queue
	box *engine.Mailbox

	// turn has a token while an operation takes its place in the order of things,
	// until it is queued. See Do.
	turn chan struct{}

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

const (
	// maxPending is how many requests may wait for their response, those
	// included that nobody waits for any more.
	maxPending = 1 << 16
	// maxNoted is how much a worker may say before it answers a request, bytes.
	maxNoted = 64 << 20
)

// An exchange is a request and its response.
type exchange struct {
	id, barrier uint32        // of the request and of that which follows it; 0: none does
	done        chan struct{} // closed when it is complete
	lost        chan struct{} // closed when it could not be written

	// Owned by read until done is closed.
	response *fbs.ResponseT
	notes    []engine.Notification
	noted    int // bytes of the frames that notes came in

	abandoned bool   // guarded by Client.mu; nobody waits any more
	undo      func() // guarded by Client.mu; to be called if it succeeds nevertheless
}

// NewClient returns a client and reads Replies until they end.
func NewClient(cfg ClientConfig) *Client {
	c := &Client{
		cfg:     cfg,
		turn:    make(chan struct{}, 1),
		box:     engine.NewMailbox(cfg.Notify),
		tree:    map[string]*branch{},
		ended:   make(chan struct{}),
		running: make(chan string, 1),
	}
	c.out = newQueue(cfg.Requests, c.ended)
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

// Close tells the worker to close. It does not wait until it has, but as long as
// the worker reads nothing.
func (c *Client) Close() {
	frame, err := c.out.pack(bare("", fbs.EventWORKER_CLOSE))
	if err == nil && c.out.reserve(context.Background()) == nil { // a worker that is gone is closed
		c.out.put(entry{frame: frame})
	}
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
	if err := c.takeTurn(ctx); err != nil {
		return nil, err
	}
	k := &Call{c: c, ctx: ctx, first: true}
	defer func() {
		if k.first {
			<-c.turn
		}
	}()
	err := f(k)
	return k.notes, err
}

// takeTurn waits for its turn, which has to be given back.
func (c *Client) takeTurn(ctx context.Context) error {
	select {
	case c.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
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
		if err := k.c.takeTurn(k.ctx); err != nil {
			return nil, err
		}
	}
	k.first = false
	x, err := k.c.send(k.ctx, &r)
	<-k.c.turn
	if err != nil {
		return nil, err
	}
	select {
	case <-x.done:
	case <-x.lost:
		return nil, engine.ErrClosed
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

// send queues a request, in the turn of its Call.
func (c *Client) send(ctx context.Context, r *request) (*exchange, error) {
	if err := c.out.reserve(ctx); err != nil {
		return nil, err
	}
	x := &exchange{done: make(chan struct{}), lost: make(chan struct{})}
	c.mu.Lock()
	c.lastID++
	x.id = c.lastID
	if !r.quiet {
		c.lastID++
		x.barrier = c.lastID
	}
	c.mu.Unlock()
	q := &fbs.RequestT{Id: x.id, Method: r.method, HandlerId: r.id}
	if r.kind != fbs.RequestBodyNONE {
		q.Body = &fbs.RequestBodyT{Type: r.kind, Value: r.body}
	}
	messages := []*fbs.MessageBodyT{{Type: fbs.MessageBodyRequest, Value: q}}
	if x.barrier != 0 {
		messages = append(messages, &fbs.MessageBodyT{Type: fbs.MessageBodyRequest, Value: &fbs.RequestT{
			Id: x.barrier, Method: fbs.MethodWORKER_UPDATE_SETTINGS, Body: &fbs.RequestBodyT{
				Type: fbs.RequestBodyWorkerUpdateSettingsRequest, Value: emptySettings(),
			},
		}})
	}
	frames, err := c.out.pack(messages...)
	if err != nil {
		c.out.release()
		return nil, fmt.Errorf("%w: %w", err, engine.ErrInvalidArgument)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil:
		c.out.release()
		return nil, engine.ErrClosed
	case len(c.pending) == maxPending:
		c.out.release()
		return nil, fmt.Errorf("the worker answers nothing: %w", engine.ErrUnavailable)
	}
	c.pending = append(c.pending, x)
	c.out.put(entry{frames, x})
	return x, nil
}

// emptySettings changes nothing: a vector that is there would.
func emptySettings() *fbs.WorkerUpdateSettingsRequestT { return &fbs.WorkerUpdateSettingsRequestT{} }

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
			if err := c.hear(v, len(frame)); err != nil {
				return err
			}
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

// hear takes a notification that came in a frame of size bytes.
func (c *Client) hear(n *fbs.NotificationT, size int) error {
	if n.Event == fbs.EventWORKER_RUNNING {
		select {
		case c.running <- n.HandlerId:
		default:
		}
		return nil
	}
	body := bodyOf(n)
	if body == nil {
		return nil
	}
	c.seq++
	note := engine.Notification{Seq: c.seq, Target: n.HandlerId, Body: body}
	switch body.(type) {
	case engine.ConsumerProducerClose, engine.DataConsumerProducerClose:
		c.forget(n.HandlerId)
	case engine.ConsumerRTP, engine.DirectRTCP, engine.DataConsumerMessage, engine.Trace:
		c.box.Put(note) // all by one goroutine, in their order
		return nil
	}
	c.mu.Lock()
	var x *exchange
	if len(c.pending) > 0 && c.pending[0].barrier != 0 {
		x = c.pending[0]
	}
	c.mu.Unlock()
	if x == nil {
		c.box.Put(note)
		return nil
	}
	if x.noted += size; x.noted > maxNoted {
		return fmt.Errorf("more than %d bytes instead of a response to %d", maxNoted, x.id)
	}
	x.notes = append(x.notes, note)
	return nil
}

// tell queues a notification. It does not wait.
func (c *Client) tell(m *fbs.MessageBodyT) error {
	frame, err := c.out.pack(m)
	if err != nil {
		return fmt.Errorf("%w: %w", err, engine.ErrInvalidArgument)
	}
	return c.out.tell(frame)
}
