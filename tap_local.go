package mafalda

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/mafalda-sfu/mafalda/internal/engine"
	"github.com/mafalda-sfu/mafalda/internal/pcapng"
)

var _ PacketTapper = (*transport)(nil)

// tapRecords is how many packets may wait for the writer.
const tapRecords = 1024

// Tap implements [PacketTapper].
func (t *transport) Tap(ctx context.Context, w io.Writer, o TapOptions) (TapResult, error) {
	const op = "Tap"
	if err := o.validate(); err != nil {
		return TapResult{}, t.fail(op, err)
	}
	if w == nil {
		return TapResult{}, t.fail(op, invalid("no writer"))
	}
	o = o.withDefaults()
	tap := engine.NewTap(tapRecords, o.SnapLength)
	_, err := ask(ctx, &t.object, op, onEngine(func(m *engine.Machine) (struct{}, error) {
		return struct{}{}, m.TapTransport(t.id, tap)
	}))
	if err != nil {
		return TapResult{}, err
	}
	f := tapFile{w: w, o: o, tap: tap}
	err = t.follow(ctx, &f)
	if err == nil {
		err = f.end()
	}
	f.r.Dropped = tap.Dropped()
	if err != nil {
		err = t.fail(op, err)
	}
	return f.r, err
}

// follow writes until something ends it. The transport has no tap then, even if
// the writer panicked.
func (t *transport) follow(ctx context.Context, f *tapFile) error {
	defer func() { // a Worker that has ended has no tap
		_, _ = ask(context.WithoutCancel(ctx), &t.object, "Tap", onEngine(func(m *engine.Machine) (struct{}, error) {
			m.UntapTransport(t.id, f.tap)
			return struct{}{}, nil
		}))
	}()
	if err := f.begin(); err != nil {
		return err
	}
	return f.follow(ctx, t.Done())
}

// A tapFile is what one call of Tap writes.
type tapFile struct {
	w    io.Writer
	o    TapOptions
	tap  *engine.Tap
	buf  []byte
	r    TapResult
	full bool // a limit was reached
}

func (f *tapFile) begin() error {
	f.buf = pcapng.AppendHeader(f.buf[:0], f.o.SnapLength)
	return f.write()
}

func (f *tapFile) write() error {
	n, err := f.w.Write(f.buf)
	f.r.Bytes += int64(n)
	if err == nil && n < len(f.buf) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}

// follow writes packets until something ends it.
func (f *tapFile) follow(ctx context.Context, closed <-chan struct{}) error {
	for !f.full {
		select {
		case p := <-f.tap.Packets():
			if err := f.packet(p); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		case <-closed:
			return nil
		}
	}
	return nil
}

// countsRoom is kept for the end of the file.
const countsRoom = 64

// packet writes one, if there is room for it.
func (f *tapFile) packet(p *engine.TapPacket) error {
	defer f.tap.Release(p)
	x := pcapng.Packet{Time: time.Unix(0, int64(p.Time)), From: p.Remote, To: p.Local, SCTP: p.SCTP, Payload: p.Data, Length: p.Length}
	if x.Out = p.Out; p.Out {
		x.From, x.To = p.Local, p.Remote
	}
	f.buf = pcapng.AppendPacket(f.buf[:0], &x)
	if f.r.Bytes+int64(len(f.buf))+countsRoom > f.o.MaxBytes {
		f.full = true
		return nil
	}
	if err := f.write(); err != nil {
		return err
	}
	f.r.Packets++
	f.full = f.r.Packets >= f.o.MaxPackets
	return nil
}

// end writes what came until the tap was ended, and the counts.
func (f *tapFile) end() error {
	for !f.full && len(f.tap.Packets()) > 0 {
		if err := f.packet(<-f.tap.Packets()); err != nil {
			return err
		}
	}
	dropped := f.tap.Dropped()
	f.buf = pcapng.AppendCounts(f.buf[:0], time.Now(), uint64(f.r.Packets)+dropped, dropped)
	return f.write()
}
