package peer

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// A wire is a UDP socket or a TCP connection with RFC 4571 framing.
type wire struct {
	udp    *net.UDPConn
	tcp    net.Conn
	in     *bufio.Reader
	remote net.Addr

	writing sync.Mutex
	records *records
}

func openWire(ctx context.Context, tcp bool, local, remote netip.AddrPort) (*wire, error) {
	w := &wire{records: newRecords()}
	if tcp {
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp", remote.String())
		if err != nil {
			return nil, err
		}
		w.tcp, w.in, w.remote = c, bufio.NewReaderSize(c, 1<<16), c.RemoteAddr()
		return w, nil
	}
	if !local.IsValid() {
		loopback := netip.MustParseAddr("127.0.0.1")
		if remote.Addr().Is6() && !remote.Addr().Is4In6() {
			loopback = netip.IPv6Loopback()
		}
		local = netip.AddrPortFrom(loopback, 0)
	}
	c, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(local), net.UDPAddrFromAddrPort(remote))
	if err != nil {
		return nil, err
	}
	c.SetReadBuffer(4 << 20)
	w.udp, w.remote = c, c.RemoteAddr()
	return w, nil
}

func (w *wire) local() netip.AddrPort {
	if w.tcp != nil {
		return w.tcp.LocalAddr().(*net.TCPAddr).AddrPort()
	}
	return w.udp.LocalAddr().(*net.UDPAddr).AddrPort()
}

func (w *wire) write(b []byte) error {
	if w.udp != nil {
		_, err := w.udp.Write(b)
		return err
	}
	w.writing.Lock()
	defer w.writing.Unlock()
	_, err := w.tcp.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...))
	return err
}

// read returns one packet in new memory. What an ICMP message says about an
// earlier packet is no end.
func (w *wire) read() ([]byte, error) {
	if w.tcp != nil {
		var head [2]byte
		if _, err := io.ReadFull(w.in, head[:]); err != nil {
			return nil, err
		}
		b := make([]byte, binary.BigEndian.Uint16(head[:]))
		_, err := io.ReadFull(w.in, b)
		return b, err
	}
	var b [2048]byte
	for refused := 0; ; refused++ {
		n, err := w.udp.Read(b[:])
		if err == nil {
			return append([]byte(nil), b[:n]...), nil
		}
		if ne, ok := err.(net.Error); !ok || ne.Timeout() || refused > 100 || isClosed(err) {
			return nil, err
		}
	}
}

func isClosed(err error) bool {
	op, ok := err.(*net.OpError)
	return ok && op.Err == net.ErrClosed
}

func (w *wire) close() {
	if w.udp != nil {
		w.udp.Close()
	} else {
		w.tcp.Close()
	}
	w.hangUp()
}

func (w *wire) hangUp()       { w.records.Close() }
func (w *wire) feed(b []byte) { w.records.feed(b) }

// dtls returns what carries DTLS records over w.
func (w *wire) dtls() net.PacketConn {
	w.records.wire = w
	return w.records
}

// records is a net.PacketConn of the DTLS datagrams of a wire. Closing it
// leaves the wire open.
type records struct {
	wire   *wire
	in     chan []byte
	closed chan struct{}
	once   sync.Once

	mu       sync.Mutex
	deadline chan struct{} // closed when the read deadline has passed; guarded by mu
	timer    *time.Timer   // guarded by mu
}

func newRecords() *records {
	return &records{in: make(chan []byte, 64), closed: make(chan struct{}), deadline: make(chan struct{})}
}

func (r *records) feed(b []byte) {
	select {
	case r.in <- b:
	default: // DTLS sends it again
	}
}

func (r *records) ReadFrom(b []byte) (int, net.Addr, error) {
	r.mu.Lock()
	deadline := r.deadline
	r.mu.Unlock()
	select {
	case p := <-r.in:
		return copy(b, p), r.wire.remote, nil
	case <-r.closed:
		return 0, nil, net.ErrClosed
	case <-deadline:
		return 0, nil, os.ErrDeadlineExceeded
	}
}

func (r *records) WriteTo(b []byte, _ net.Addr) (int, error) { return len(b), r.wire.write(b) }

func (r *records) Close() error {
	r.once.Do(func() { close(r.closed) })
	return nil
}

func (r *records) LocalAddr() net.Addr {
	if r.wire.tcp != nil {
		return r.wire.tcp.LocalAddr()
	}
	return r.wire.udp.LocalAddr()
}

func (r *records) SetDeadline(t time.Time) error    { return r.SetReadDeadline(t) }
func (r *records) SetWriteDeadline(time.Time) error { return nil }

func (r *records) SetReadDeadline(t time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.timer != nil {
		r.timer.Stop()
	}
	select {
	case <-r.deadline:
		r.deadline = make(chan struct{})
	default:
	}
	if t.IsZero() {
		return nil
	}
	passed := r.deadline
	end := sync.OnceFunc(func() { close(passed) })
	if wait := time.Until(t); wait <= 0 {
		end()
	} else {
		r.timer = time.AfterFunc(wait, end)
	}
	return nil
}
