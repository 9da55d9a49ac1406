package mafalda

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/rtcp"
	"github.com/mafalda-sfu/mafalda/internal/rtp"
)

// A tapWorld sends opus through a PlainTransport that encrypts.
type tapWorld struct {
	t      *testing.T
	worker *worker
	router Router
	in     Producer
	out    PlainTransport
	conn   net.PacketConn
	source interface{ Next([]byte) []byte }
}

func newTapWorld(t *testing.T) *tapWorld {
	worker := testWorker(t)
	r := testRouter(t, worker)
	p := testProduce(t, testDirect(t, r), audioOptions(1))
	out, err := r.CreatePlainTransport(t.Context(), PlainTransportOptions{ListenInfo: udp(), EnableSRTP: true})
	require.NoError(t, err)
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	to := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	keys := *out.SRTPParameters()
	require.NoError(t, out.Connect(t.Context(), PlainTransportConnectOptions{IP: to.Addr(), Port: to.Port(), SRTPParameters: &keys}))
	testConsume(t, r, out, p)
	return &tapWorld{t: t, worker: worker, router: r, in: p, out: out, conn: conn, source: opus(1)}
}

// send forwards one packet and returns when it has come.
func (w *tapWorld) send() {
	w.t.Helper()
	w.sendPayload(opusPayload)
}

func (w *tapWorld) sendPayload(payload []byte) {
	w.t.Helper()
	require.NoError(w.t, w.in.Send(w.source.Next(payload)))
	b := make([]byte, 2000)
	require.NoError(w.t, w.conn.SetReadDeadline(time.Now().Add(patience)))
	for {
		n, _, err := w.conn.ReadFrom(b)
		require.NoError(w.t, err)
		if !rtcp.Is(b[:n]) {
			assert.NotContains(w.t, string(b[:n]), string(payload), "the wire has no plain text")
			return
		}
	}
}

// tap starts a Tap, and returns when it runs and how to get what it answers.
func (w *tapWorld) tap(ctx context.Context, file *bytes.Buffer, o TapOptions) func() (TapResult, error) {
	w.t.Helper()
	begun := make(chan struct{})
	return w.tapTo(ctx, &beginning{file, begun}, begun, o)
}

// tapTo is tap for a writer that closes begun when the Tap runs.
func (w *tapWorld) tapTo(ctx context.Context, to io.Writer, begun <-chan struct{}, o TapOptions) func() (TapResult, error) {
	w.t.Helper()
	type answer struct {
		r   TapResult
		err error
	}
	done := make(chan answer, 1)
	go func() { // ends with ctx, the transport or a limit
		r, err := w.out.(PacketTapper).Tap(ctx, to, o)
		done <- answer{r, err}
	}()
	wait(w.t, begun, "the beginning of the file")
	return func() (TapResult, error) {
		w.t.Helper()
		a := wait(w.t, done, "the end of the tap")
		return a.r, a.err
	}
}

// A beginning tells when the first bytes are written.
type beginning struct {
	*bytes.Buffer
	begun chan struct{}
}

func (b *beginning) Write(p []byte) (int, error) {
	n, err := b.Buffer.Write(p)
	if b.begun != nil {
		close(b.begun)
		b.begun = nil
	}
	return n, err
}

// tapped returns the RTP of a file, by the ends of its datagrams.
func tapped(t *testing.T, file []byte) (list []rtp.Packet, from, to netip.AddrPort) {
	t.Helper()
	require.Equal(t, []byte{0x0a, 0x0d, 0x0d, 0x0a}, file[:4])
	for len(file) > 0 {
		n := binary.LittleEndian.Uint32(file[4:])
		block := file[:n]
		file = file[n:]
		if block[0] != 6 {
			continue
		}
		ip := block[28 : 28+binary.LittleEndian.Uint32(block[20:])]
		udp := ip[28:]
		if rtcp.Is(udp) {
			continue
		}
		p, ok := rtp.Parse(udp)
		require.True(t, ok)
		list = append(list, p)
		from = netip.AddrPortFrom(netip.AddrFrom4([4]byte(ip[12:16])), binary.BigEndian.Uint16(ip[20:]))
		to = netip.AddrPortFrom(netip.AddrFrom4([4]byte(ip[16:20])), binary.BigEndian.Uint16(ip[22:]))
	}
	return list, from, to
}

func TestTap(t *testing.T) {
	w := newTapWorld(t)
	w.send() // before there is a tap
	ctx, cancel := context.WithCancel(t.Context())
	var file bytes.Buffer
	end := w.tap(ctx, &file, TapOptions{})
	_, err := w.out.(PacketTapper).Tap(ctx, &file, TapOptions{})
	require.ErrorIs(t, err, ErrInvalidState, "one at a time")
	for range 5 {
		w.send()
	}
	cancel()
	r, err := end()
	require.NoError(t, err)
	w.send() // after it
	list, from, to := tapped(t, file.Bytes())
	require.Len(t, list, 5)
	assert.GreaterOrEqual(t, r.Packets, 5)
	assert.EqualValues(t, file.Len(), r.Bytes)
	assert.Zero(t, r.Dropped)
	assert.Equal(t, w.out.Tuple().LocalPort, from.Port())
	assert.Equal(t, w.conn.LocalAddr().String(), to.String())
	for i, p := range list {
		assert.Equal(t, opusPayload, []byte(p.Payload()))
		assert.Equal(t, list[0].SequenceNumber()+uint16(i), p.SequenceNumber())
	}
}

func TestTapEnds(t *testing.T) {
	w := newTapWorld(t)
	var file bytes.Buffer
	end := w.tap(t.Context(), &file, TapOptions{MaxPackets: 3})
	for range 10 {
		w.send()
	}
	r, err := end()
	require.NoError(t, err)
	assert.Equal(t, 3, r.Packets)

	file.Reset()
	end = w.tap(t.Context(), &file, TapOptions{MaxBytes: leastTapBytes})
	for range 100 {
		w.send()
	}
	r, err = end()
	require.NoError(t, err)
	assert.LessOrEqual(t, file.Len(), leastTapBytes)
	assert.Greater(t, r.Packets, 10)

	file.Reset()
	end = w.tap(t.Context(), &file, TapOptions{SnapLength: 13})
	w.send()
	require.NoError(t, w.out.Close())
	_, err = end()
	require.NoError(t, err)
	assert.NotContains(t, file.String(), string(opusPayload))
	_, err = w.out.(PacketTapper).Tap(t.Context(), &file, TapOptions{})
	require.ErrorIs(t, err, ErrClosed)
}

// A gate lets a writer wait in its first call.
type gate struct {
	bytes.Buffer
	waits, open chan struct{}
}

func newGate() *gate { return &gate{waits: make(chan struct{}), open: make(chan struct{})} }

func (g *gate) Write(p []byte) (int, error) {
	if g.Len() == 0 {
		close(g.waits)
		<-g.open
	}
	return g.Buffer.Write(p)
}

// While a writer blocks, packets pass; what there is no memory for is counted.
func TestTapBlocked(t *testing.T) {
	const sent = tapRecords + 50
	w := newTapWorld(t)
	g := newGate()
	end := w.tapTo(t.Context(), g, g.waits, TapOptions{})
	for range sent {
		w.send()
	}
	require.NoError(t, w.out.Close())
	close(g.open)
	r, err := end()
	require.NoError(t, err)
	list, _, _ := tapped(t, g.Bytes())
	assert.Equal(t, tapRecords, r.Packets)
	assert.GreaterOrEqual(t, r.Dropped, uint64(sent-tapRecords))
	for i, p := range list {
		require.Equal(t, list[0].SequenceNumber()+uint16(i), p.SequenceNumber())
	}
}

// After a packet that there is no room for comes no smaller one.
func TestTapHasNoHoles(t *testing.T) {
	w := newTapWorld(t)
	g := newGate()
	end := w.tapTo(t.Context(), g, g.waits, TapOptions{MaxBytes: leastTapBytes})
	for _, size := range []int{1100, 1100, 1100, 1100, 10, 10} {
		w.sendPayload(bytes.Repeat([]byte{0xfc}, size))
	}
	close(g.open)
	_, err := end()
	require.NoError(t, err)
	list, _, _ := tapped(t, g.Bytes())
	require.Equal(t, 3, len(list), "packets")
}

// Whatever closes the Transport ends a Tap, also one whose writer waits just now.
func TestTapClosing(t *testing.T) {
	for name, end := range map[string]func(*tapWorld) error{
		"Transport": func(w *tapWorld) error { return w.out.Close() },
		"Router":    func(w *tapWorld) error { return w.router.Close() },
		"Worker":    func(w *tapWorld) error { return w.worker.Close() },
		"Kill":      func(w *tapWorld) error { return w.worker.Kill(nil) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newTapWorld(t)
			var file bytes.Buffer
			taken := w.tap(t.Context(), &file, TapOptions{})
			w.send()
			require.NoError(t, end(w))
			r, err := taken()
			require.NoError(t, err)
			assert.EqualValues(t, file.Len(), r.Bytes)

			w = newTapWorld(t)
			g := newGate()
			taken = w.tapTo(t.Context(), g, g.waits, TapOptions{})
			w.send()
			require.NoError(t, end(w))
			wait(t, w.out.Done(), "end of the transport")
			close(g.open)
			_, err = taken()
			require.NoError(t, err)
		})
	}
}

// A writer is a function that writes.
type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }

// A writer that panics leaves no tap.
func TestTapPanics(t *testing.T) {
	w := newTapWorld(t)
	require.PanicsWithValue(t, "broken", func() {
		_, _ = w.out.(PacketTapper).Tap(t.Context(), writer(func([]byte) (int, error) { panic("broken") }), TapOptions{})
	})
	var file bytes.Buffer
	end := w.tap(t.Context(), &file, TapOptions{MaxPackets: 1})
	w.send()
	_, err := end()
	require.NoError(t, err)
}

func TestTapErrors(t *testing.T) {
	w := newTapWorld(t)
	tap := w.out.(PacketTapper)
	full := errors.New("full")
	_, err := tap.Tap(t.Context(), writer(func([]byte) (int, error) { return 0, full }), TapOptions{})
	require.ErrorIs(t, err, full)
	require.ErrorIs(t, err, ErrUnavailable)
	_, err = tap.Tap(t.Context(), writer(func(b []byte) (int, error) { return len(b) - 1, nil }), TapOptions{})
	require.ErrorIs(t, err, io.ErrShortWrite)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = tap.Tap(ended, io.Discard, TapOptions{})
	require.ErrorIs(t, err, context.Canceled)
	_, err = tap.Tap(t.Context(), nil, TapOptions{})
	require.ErrorIs(t, err, ErrInvalidArgument)
	for _, o := range []TapOptions{{MaxPackets: -1}, {MaxBytes: -1}, {MaxBytes: 100}, {SnapLength: -1}, {SnapLength: 2001}} {
		_, err = tap.Tap(t.Context(), &bytes.Buffer{}, o)
		require.ErrorIs(t, err, ErrInvalidArgument, "%+v", o)
	}
	direct := testDirect(t, testRouter(t, testWorker(t)))
	_, err = direct.(PacketTapper).Tap(t.Context(), &bytes.Buffer{}, TapOptions{})
	require.ErrorIs(t, err, errors.ErrUnsupported)
	w.send() // nothing of it is left
}
