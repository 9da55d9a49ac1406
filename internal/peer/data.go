package peer

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/pion/logging"
	"github.com/pion/sctp"
)

// A Message is one message of an SCTP stream.
type Message struct {
	Stream uint16
	PPID   uint32
	Data   []byte
}

// A Data is the SCTP side of an endpoint. It has streams by number, and no data
// channel establishment, as mediasoup's clients. Its methods may be called by
// many goroutines.
type Data struct {
	assoc    *sctp.Association
	messages chan Message
	resets   chan uint16
	done     chan struct{} // closed when the association has ended
	wg       sync.WaitGroup

	mu      sync.Mutex
	streams map[uint16]*sctp.Stream // guarded by mu
}

const (
	maxMessage = 1 << 20
	streamType = sctp.PayloadTypeWebRTCBinary // of a stream; each message has its own
)

// Associate makes an association over conn, which it closes with it: as client
// it sends an INIT, as server it waits for one. It returns when the association
// is there. Conn brings one SCTP packet at each Read: a connected UDP socket,
// or [Peer.Data].
func Associate(ctx context.Context, conn net.Conn, client bool) (*Data, error) {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	logs := &logging.DefaultLoggerFactory{Writer: io.Discard, DefaultLogLevel: logging.LogLevelDisabled}
	var a *sctp.Association
	var err error
	if client {
		a, err = sctp.ClientWithOptions(sctp.WithNetConn(conn), sctp.WithLoggerFactory(logs), sctp.WithMTU(1191),
			sctp.WithMaxMessageSize(maxMessage))
	} else {
		a, err = sctp.ServerWithOptions(sctp.WithNetConn(conn), sctp.WithLoggerFactory(logs), sctp.WithMTU(1191),
			sctp.WithMaxMessageSize(maxMessage))
	}
	if err != nil {
		conn.Close()
		return nil, errors.Join(err, ctx.Err())
	}
	d := &Data{
		assoc: a, messages: make(chan Message, 1<<14), resets: make(chan uint16, 1<<10),
		done: make(chan struct{}), streams: map[uint16]*sctp.Stream{},
	}
	d.wg.Add(1)
	go d.accept() // ends with the association
	return d, nil
}

func (d *Data) accept() {
	defer d.wg.Done()
	defer close(d.done)
	for {
		s, err := d.assoc.AcceptStream()
		if err != nil {
			return
		}
		d.adopt(s)
	}
}

// adopt reads a stream, once.
func (d *Data) adopt(s *sctp.Stream) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.streams[s.StreamIdentifier()] == s {
		return
	}
	d.streams[s.StreamIdentifier()] = s
	d.wg.Add(1)
	go d.read(s) // ends with the stream or the association
}

func (d *Data) read(s *sctp.Stream) {
	defer d.wg.Done()
	b := make([]byte, maxMessage)
	for {
		n, ppid, err := s.ReadSCTP(b)
		if errors.Is(err, io.EOF) {
			d.mu.Lock()
			if d.streams[s.StreamIdentifier()] == s {
				delete(d.streams, s.StreamIdentifier())
			}
			d.mu.Unlock()
			select {
			case d.resets <- s.StreamIdentifier():
			default:
			}
		}
		if err != nil {
			return
		}
		d.messages <- Message{s.StreamIdentifier(), uint32(ppid), append([]byte(nil), b[:n]...)}
	}
}

func (d *Data) stream(id uint16) (*sctp.Stream, error) {
	s, err := d.assoc.OpenStream(id, streamType)
	if err == nil {
		d.adopt(s)
	}
	return s, err
}

// Send sends a message, in order and reliably.
func (d *Data) Send(m Message) error {
	s, err := d.stream(m.Stream)
	if err != nil {
		return err
	}
	_, err = s.WriteSCTP(m.Data, sctp.PayloadProtocolIdentifier(m.PPID))
	return err
}

// Unordered makes a stream one without order or, as the argument says,
// retransmissions, in both directions.
func (d *Data) Unordered(id uint16, maxRetransmits uint32) error {
	s, err := d.stream(id)
	if err == nil {
		s.SetReliabilityParams(true, sctp.ReliabilityTypeRexmit, maxRetransmits)
	}
	return err
}

// Reset ends a stream in our direction.
func (d *Data) Reset(id uint16) error {
	s, err := d.stream(id)
	if err != nil {
		return err
	}
	return s.Close()
}

// Messages has what came. Who does not read it stops the association: its
// window closes.
func (d *Data) Messages() <-chan Message { return d.messages }

// Resets has the streams that the other side ended.
func (d *Data) Resets() <-chan uint16 { return d.resets }

// Done is closed when the association has ended.
func (d *Data) Done() <-chan struct{} { return d.done }

// Close ends the association with an ABORT.
func (d *Data) Close() {
	d.assoc.Abort("")
	stop := make(chan struct{})
	go func() { // ends with the readers
		for {
			select {
			case <-d.messages:
			case <-stop:
				return
			}
		}
	}()
	d.wg.Wait()
	close(stop)
}

// Data makes an association over the DTLS of p; see [Associate].
func (p *Peer) Data(ctx context.Context, client bool) (*Data, error) {
	return Associate(ctx, &appConn{p: p, closed: make(chan struct{})}, client)
}

// An appConn is the application data of DTLS as a net.Conn.
type appConn struct {
	p      *Peer
	once   sync.Once
	closed chan struct{}
}

func (c *appConn) Read(b []byte) (int, error) {
	select {
	case m := <-c.p.app:
		return copy(b, m), nil
	case <-c.closed:
		return 0, net.ErrClosed
	case <-c.p.dtlsDone:
		return 0, io.EOF
	}
}

func (c *appConn) Write(b []byte) (int, error) { return c.p.dtls.Write(b) }

func (c *appConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

func (c *appConn) LocalAddr() net.Addr              { return c.p.dtls.LocalAddr() }
func (c *appConn) RemoteAddr() net.Addr             { return c.p.dtls.RemoteAddr() }
func (c *appConn) SetDeadline(time.Time) error      { return os.ErrNoDeadline }
func (c *appConn) SetReadDeadline(time.Time) error  { return os.ErrNoDeadline }
func (c *appConn) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }
