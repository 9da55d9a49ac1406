package channel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"time"

	flatbuffers "github.com/google/flatbuffers/go"

	"github.com/mafalda-sfu/mafalda/internal/channel/fbs"
	"github.com/mafalda-sfu/mafalda/internal/channel/verify"
	"github.com/mafalda-sfu/mafalda/internal/driver"
	"github.com/mafalda-sfu/mafalda/internal/dtls"
	"github.com/mafalda-sfu/mafalda/internal/engine"
)

// Config is what a worker is served with.
type Config struct {
	Settings Settings
	// Driver is that of the engine; nil is that of the system.
	Driver driver.Driver
	// Requests is where requests come from, Replies where the rest goes. Required.
	Requests io.Reader
	Replies  io.Writer
	// Stderr gets what can't be said through the channel. Required.
	Stderr io.Writer
	// PID is the process id that the worker reports.
	PID int
}

// pending is how many requests may wait for their response to be written. Who
// sends more without reading has to wait.
const pending = 256

// maxFarewell is how long a worker that has ended waits until somebody reads
// what it still has to say.
const maxFarewell = time.Second

// A server is one worker and its channel.
type server struct {
	cfg    Config
	log    *Log
	out    *frameWriter
	engine *engine.Worker
	slots  chan struct{} // one for each request that is pending
	quit   chan struct{} // closed when Serve is about to return
}

// Serve runs a worker until it is told to close, Requests end, Replies fail or
// ctx ends. When it returns everything is closed and what there was to say is
// written, if somebody read it. Errors: ErrOrphaned, a frame that can't be
// read, that of Replies, ErrDied, ErrSettings, or that of starting the engine. A
// worker that was told to close is no error, nor is the end of ctx.
//
// The goroutine that reads Requests ends with them.
func Serve(ctx context.Context, cfg Config) error {
	log, err := cfg.Settings.log()
	if err != nil {
		return err
	}
	first, last, err := cfg.Settings.ports()
	if err != nil {
		return err
	}
	certificate, err := cfg.Settings.certificate()
	if err != nil {
		return err
	}
	s := &server{
		cfg:   cfg,
		log:   log,
		out:   newFrameWriter(cfg.Replies),
		slots: make(chan struct{}, pending),
		quit:  make(chan struct{}),
	}
	defer close(s.quit)
	var died error
	w, err := engine.Start(engine.Config{
		Driver:      cfg.Driver,
		Certificate: certificate,
		Limiter:     dtls.NewLimiter(2 * runtime.NumCPU()),
		RTCMinPort:  first,
		RTCMaxPort:  last,
		Notify:      s.notify,
		Died:        func(err error) { died = err }, // before Told
		Logger:      log.Logger(),
	})
	if err != nil {
		return err
	}
	s.engine = w
	s.send(notification(strconv.Itoa(cfg.PID), fbs.EventWORKER_RUNNING, fbs.NotificationBodyNONE, nil))
	stop, logged := make(chan struct{}), make(chan struct{})
	go func() { // ends with stop
		defer close(logged)
		s.writeLog(stop)
	}()
	read := make(chan error, 1)
	go func() { read <- s.read() }() // ends with Requests
	select {
	case err = <-read:
	case <-w.Done():
	case <-s.out.broken:
		err = s.out.failure()
	case <-ctx.Done():
	}
	w.Close()
	late := time.NewTimer(maxFarewell)
	defer late.Stop()
	select {
	case <-w.Told():
		if died != nil {
			err = fmt.Errorf("%w: %+v", ErrDied, died)
		}
	case <-late.C:
	}
	close(stop)
	select {
	case <-logged:
	case <-late.C:
	}
	return err
}

var (
	// ErrOrphaned is the end of Requests: whoever sends them is gone.
	ErrOrphaned = errors.New("channel closed by the other side")
	// ErrDied is a worker that ended by itself; the error has the stack.
	ErrDied = errors.New("worker died")
)

// errClosed ends the reading: the worker was told to close.
var errClosed = errors.New("closed")

// read takes requests until it is told to close, which is no error.
func (s *server) read() error {
	frames := NewFrameReader(s.cfg.Requests)
	for {
		frame, err := frames.Next()
		if errors.Is(err, ErrFrame) {
			return err
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrOrphaned, err)
		}
		switch err := s.handle(frame); {
		case errors.Is(err, errClosed):
			return nil
		case errors.Is(err, verify.ErrMalformed):
			return err
		case err != nil:
			fmt.Fprintf(s.cfg.Stderr, "channel: message discarded: %v\n", err)
		}
	}
}

// handle takes one frame, with its prefix. After [verify.ErrMalformed] nothing
// is certain any more; other errors say that the frame was of no use.
func (s *server) handle(frame []byte) error {
	frame = frame[prefix:]
	wrong := verify.Verify(frame)
	if errors.Is(wrong, verify.ErrMalformed) {
		return wrong
	}
	m := fbs.GetRootAsMessage(frame, 0)
	var table flatbuffers.Table
	m.Data(&table)
	switch m.DataType() {
	case fbs.MessageBodyRequest:
		var r fbs.Request
		r.Init(table.Bytes, table.Pos)
		s.request(&r, wrong)
		return nil
	case fbs.MessageBodyNotification:
		if wrong != nil {
			return wrong
		}
		var n fbs.Notification
		n.Init(table.Bytes, table.Pos)
		return s.notified(&n)
	}
	return wrong
}

// notified takes a notification of the other side. It waits when more come than
// the engine takes.
func (s *server) notified(n *fbs.Notification) error {
	id := string(n.HandlerId())
	var body flatbuffers.Table
	n.Body(&body)
	switch n.Event() {
	case fbs.EventWORKER_CLOSE:
		return errClosed
	case fbs.EventTRANSPORT_SEND_RTCP:
		var x fbs.TransportSendRtcpNotification
		x.Init(body.Bytes, body.Pos)
		return s.insist(func() error { return s.engine.InjectRTCP(id, x.DataBytes()) })
	case fbs.EventPRODUCER_SEND:
		var x fbs.ProducerSendNotification
		x.Init(body.Bytes, body.Pos)
		return s.insist(func() error { return s.engine.Inject(id, x.DataBytes()) })
	case fbs.EventDATAPRODUCER_SEND:
		var x fbs.DataProducerSendNotification
		x.Init(body.Bytes, body.Pos)
		msg := engine.DataMessage{
			PPID: x.Ppid(), Data: x.DataBytes(),
			Required: x.RequiredSubchannel(), Ignored: x.IgnoredSubchannel(),
		}
		for i := range x.SubchannelsLength() {
			msg.Subchannels = append(msg.Subchannels, x.Subchannels(i))
		}
		return s.insist(func() error { return s.engine.InjectData(id, msg) })
	}
	return fmt.Errorf("unexpected %s", n.Event())
}

// retryAfter is how long a full engine is left alone.
const retryAfter = time.Millisecond

// insist calls inject until the engine has room, or Serve returns.
func (s *server) insist(inject func() error) error {
	for {
		err := inject()
		if !errors.Is(err, engine.ErrUnavailable) {
			return err
		}
		select {
		case <-time.After(retryAfter):
		case <-s.quit:
			return err
		}
	}
}

// A ticket is a request on its way through the engine.
type ticket struct {
	id   uint32
	name string // of the method
}

// An answer is what a request leads to. It makes the body of the response, on
// the goroutine that writes it; nil is an empty one.
type answer func() *fbs.ResponseBodyT

// request takes a request and sees to it that there is one response. wrong says
// that its body is not the one that it should have.
func (s *server) request(r *fbs.Request, wrong error) {
	select {
	case s.slots <- struct{}{}:
	case <-s.quit:
		return
	}
	t := ticket{r.Id(), r.Method().String()}
	m, ok := methods[r.Method()]
	if !ok {
		s.refuse(t, errors.New("unknown method"))
		return
	}
	t.name = m.name
	if wrong != nil {
		s.refuse(t, invalid("%v", wrong))
		return
	}
	q := r.UnPack()
	var body any
	if q.Body != nil {
		body = q.Body.Value
	}
	if b, ok := body.(*fbs.WorkerUpdateSettingsRequestT); ok && !hasLogTags(r) {
		b.LogTags = nil
	}
	run, err := m.begin(s, q.HandlerId, body)
	if err != nil {
		s.refuse(t, err)
		return
	}
	s.submit(t, run)
}

// refuse answers in turn.
func (s *server) refuse(t ticket, err error) {
	s.submit(t, func(*engine.Machine) (answer, error) { return nil, err })
}

func (s *server) submit(t ticket, run func(*engine.Machine) (answer, error)) {
	s.engine.Submit(t, func(m *engine.Machine) (any, error) { return run(m) })
}

// notify writes what the engine has to say. It runs on the notifier goroutine.
func (s *server) notify(n engine.Notification) {
	r, ok := n.Body.(engine.Reply)
	if !ok {
		if m := notificationOf(n); m != nil {
			s.send(m)
		}
		return
	}
	t := r.Tag.(ticket)
	if r.Err != nil {
		s.send(refusal(t, r.Err))
	} else {
		response := &fbs.ResponseT{Id: t.id, Accepted: true}
		if f := r.Result.(answer); f != nil {
			response.Body = f()
		}
		s.sendOr(&fbs.MessageBodyT{Type: fbs.MessageBodyResponse, Value: response}, &t)
	}
	<-s.slots
}

// send writes one message. When the stream breaks, Serve returns.
func (s *server) send(m *fbs.MessageBodyT) { s.sendOr(m, nil) }

// sendOr is send; a response that is too big is replaced by a refusal of t.
func (s *server) sendOr(m *fbs.MessageBodyT, t *ticket) {
	err := s.out.write(m)
	if !errors.Is(err, errTooBig) {
		return
	}
	fmt.Fprintf(s.cfg.Stderr, "channel: %v\n", err)
	if t != nil {
		s.send(refusal(*t, err))
	}
}

// refusal is the response to a request that failed.
func refusal(t ticket, err error) *fbs.MessageBodyT {
	class := "Error"
	switch {
	case errors.Is(err, engine.ErrInvalidArgument):
		class = "TypeError"
	case errors.Is(err, engine.ErrNotFound):
		class = "NotFoundError"
	}
	return &fbs.MessageBodyT{Type: fbs.MessageBodyResponse, Value: &fbs.ResponseT{
		Id: t.id, Error: class, Reason: fmt.Sprintf("%v [method:%s]", err, t.name),
	}}
}

// writeLog writes the log until stop, and then what is left.
func (s *server) writeLog(stop chan struct{}) {
	for last := false; !last; {
		select {
		case <-s.log.ready:
		case <-stop:
			last = true
		}
		lines, dropped := s.log.take()
		if dropped > 0 {
			lines = append(lines, fmt.Sprintf("W%d lines of the log were dropped", dropped))
		}
		for _, line := range lines {
			s.send(&fbs.MessageBodyT{Type: fbs.MessageBodyLog, Value: &fbs.LogT{Data: line}})
		}
	}
}

// invalid is an error that the other side sees as a TypeError.
func invalid(format string, a ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, a...), engine.ErrInvalidArgument)
}
