package channel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	flatbuffers "github.com/google/flatbuffers/go"

	"github.com/mafalda-sfu/mafalda/internal/channel/fbs"
)

const (
	// MaxFrame is how long a frame may be, prefix included, in bytes.
	MaxFrame = 8 << 20
	prefix   = 4
)

// ErrFrame is a frame of an impossible length: what follows it can't be found.
var ErrFrame = errors.New("frame too long")

// A FrameReader reads frames from a stream.
type FrameReader struct {
	r   io.Reader
	buf []byte
}

// NewFrameReader returns a reader of the frames of r.
func NewFrameReader(r io.Reader) *FrameReader {
	return &FrameReader{r: r, buf: make([]byte, 4096)}
}

// Next returns the next frame, with its prefix. It is valid until the next call.
// Errors: [io.EOF] between two frames, [io.ErrUnexpectedEOF] within one,
// [ErrFrame], or the error of the stream.
func (f *FrameReader) Next() ([]byte, error) {
	if _, err := io.ReadFull(f.r, f.buf[:prefix]); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint32(f.buf)
	if n > MaxFrame-prefix {
		return nil, fmt.Errorf("%w: %d bytes", ErrFrame, n)
	}
	// The buffer grows with what has come, not with what was announced.
	for have, want := prefix, prefix+int(n); have < want; {
		if have == len(f.buf) {
			grown := make([]byte, min(2*len(f.buf), MaxFrame))
			copy(grown, f.buf)
			f.buf = grown
		}
		k, err := io.ReadFull(f.r, f.buf[have:min(want, len(f.buf))])
		have += k
		if err != nil {
			return nil, noEOF(err)
		}
	}
	return f.buf[:prefix+n], nil
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// A packer makes frames of messages.
type packer struct{ b *flatbuffers.Builder }

func newPacker() packer { return packer{flatbuffers.NewBuilder(1024)} }

// keptBuilder is how big a builder may stay after a message.
const keptBuilder = 256 << 10

// errTooBig is a message that is longer than a frame. It was not written.
var errTooBig = errors.New("message too big")

// pack returns the frame of a message, valid until the next call.
func (p *packer) pack(m *fbs.MessageBodyT) ([]byte, error) {
	p.b.Reset()
	p.b.FinishSizePrefixed((&fbs.MessageT{Data: m}).Pack(p.b))
	frame := p.b.FinishedBytes()
	if cap(p.b.Bytes) > keptBuilder {
		p.b = flatbuffers.NewBuilder(1024)
	}
	if len(frame) > MaxFrame {
		return nil, errTooBig
	}
	return frame, nil
}

// A frameWriter writes messages. Its methods may be called by several
// goroutines at a time.
type frameWriter struct {
	w      io.Writer
	broken chan struct{} // closed when a write has failed

	mu     sync.Mutex
	packer packer // guarded by mu
	err    error  // guarded by mu; of the first write that failed
}

func newFrameWriter(w io.Writer) *frameWriter {
	return &frameWriter{w: w, broken: make(chan struct{}), packer: newPacker()}
}

// write writes one message. Once that failed it always fails.
func (f *frameWriter) write(m *fbs.MessageBodyT) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return f.err
	}
	frame, err := f.packer.pack(m)
	if err != nil {
		return err
	}
	if _, f.err = f.w.Write(frame); f.err != nil {
		close(f.broken)
	}
	return f.err
}

// failure returns the error of the first write that failed.
func (f *frameWriter) failure() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}
