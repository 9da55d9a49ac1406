package mafalda

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
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
	in     Producer
	out    PlainTransport
	conn   net.PacketConn
	source interface{ Next([]byte) []byte }
}

func newTapWorld(t *testing.T) *tapWorld {
	r := testRouter(t, testWorker(t))
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
	return &tapWorld{t: t, in: p, out: out, conn: conn, source: opus(1)}
}

// send forwards one packet and returns when it has come.
func (w *tapWorld) send() {
	w.t.Helper()
	require.NoError(w.t, w.in.Send(w.source.Next(opusPayload)))
	b := make([]byte, 2000)
	require.NoError(w.t, w.conn.SetReadDeadline(time.Now().Add(patience)))
	for {
		n, _, err := w.conn.ReadFrom(b)
		require.NoError(w.t, err)
		if !rtcp.Is(b[:n]) {
			assert.NotContains(w.t, string(b[:n]), string(opusPayload), "the wire has no plain text")
			return
		}
	}
}

// tap starts a Tap, and returns when it runs and how to get what it answers.
func (w *tapWorld) tap(ctx context.Context, file *bytes.Buffer, o TapOptions) func() (TapResult, error) {
	w.t.Helper()
	type answer struct {
		r   TapResult
		err error
	}
	done := make(chan answer, 1)
	begun := make(chan struct{})
	go func() { // ends with ctx, the transport or a limit
		r, err := w.out.(PacketTapper).Tap(ctx, &beginning{file, begun}, o)
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

type refusing struct{}

func (refusing) Write([]byte) (int, error) { return 0, errors.New("full") }

func TestTapErrors(t *testing.T) {
	w := newTapWorld(t)
	tap := w.out.(PacketTapper)
	_, err := tap.Tap(t.Context(), refusing{}, TapOptions{})
	require.ErrorContains(t, err, "full")
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
