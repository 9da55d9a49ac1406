package mafalda

import (
	"context"
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
	err = f.begin()
	if err == nil {
		err = f.follow(ctx, t.Done())
	}
	// Whatever ended it; a Worker that has ended has no tap.
	_, _ = ask(context.WithoutCancel(ctx), &t.object, op, onEngine(func(m *engine.Machine) (struct{}, error) {
		m.UntapTransport(t.id, tap)
		return struct{}{}, nil
	}))
	if err == nil {
		err = f.end()
	}
	f.r.Dropped = tap.Dropped()
	if err != nil {
		err = t.fail(op, err)
	}
	return f.r, err
}

// A tapFile is what one call of Tap writes.
type tapFile struct {
	w   io.Writer
	o   TapOptions
	tap *engine.Tap
	buf []byte
	r   TapResult
}

func (f *tapFile) begin() error {
	f.buf = pcapng.AppendHeader(f.buf[:0], f.o.SnapLength)
	return f.write()
}

func (f *tapFile) write() error {
	n, err := f.w.Write(f.buf)
	f.r.Bytes += int64(n)
	return err
}

// follow writes packets until something ends it.
func (f *tapFile) follow(ctx context.Context, closed <-chan struct{}) error {
	for {
		select {
		case p := <-f.tap.Packets():
			if more, err := f.packet(p); !more || err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		case <-closed:
			return nil
		}
	}
}

// countsRoom is kept for the end of the file.
const countsRoom = 64

// packet writes one, and reports whether there is room for more.
func (f *tapFile) packet(p *engine.TapPacket) (more bool, err error) {
	defer f.tap.Release(p)
	if f.r.Packets >= f.o.MaxPackets {
		return false, nil
	}
	x := pcapng.Packet{Time: time.Unix(0, int64(p.Time)), From: p.Remote, To: p.Local, Payload: p.Data, Length: p.Length}
	if x.Out = p.Out; p.Out {
		x.From, x.To = p.Local, p.Remote
	}
	f.buf = pcapng.AppendPacket(f.buf[:0], &x)
	if f.r.Bytes+int64(len(f.buf))+countsRoom > f.o.MaxBytes {
		return false, nil
	}
	err = f.write()
	f.r.Packets++
	return f.r.Packets < f.o.MaxPackets, err
}

// end writes what came until the tap was ended, and the counts.
func (f *tapFile) end() error {
	for more := true; more; {
		select {
		case p := <-f.tap.Packets():
			var err error
			if more, err = f.packet(p); err != nil {
				return err
			}
		default:
			more = false
		}
	}
	dropped := f.tap.Dropped()
	f.buf = pcapng.AppendCounts(f.buf[:0], time.Now(), uint64(f.r.Packets)+dropped, dropped)
	return f.write()
}
