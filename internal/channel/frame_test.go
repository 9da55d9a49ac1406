package channel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/channel/fbs"
)

func framed(payload []byte) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, uint32(len(payload))), payload...)
}

func TestFrameReader(t *testing.T) {
	payloads := [][]byte{{}, {1}, bytes.Repeat([]byte{2}, 4092), bytes.Repeat([]byte{3}, 4093), bytes.Repeat([]byte{4}, 1<<20), {5}}
	var all []byte
	for _, p := range payloads {
		all = append(all, framed(p)...)
	}
	for name, r := range map[string]io.Reader{
		"at once":      bytes.NewReader(all),
		"byte by byte": iotest.OneByteReader(bytes.NewReader(all)),
		"by halves":    iotest.HalfReader(bytes.NewReader(all)),
	} {
		t.Run(name, func(t *testing.T) {
			f := NewFrameReader(r)
			for _, p := range payloads {
				got, err := f.Next()
				require.NoError(t, err)
				require.True(t, bytes.Equal(framed(p), got))
			}
			_, err := f.Next()
			require.Equal(t, io.EOF, err)
		})
	}
}

func TestFrameReaderErrors(t *testing.T) {
	broken := errors.New("broken")
	limit := binary.LittleEndian.AppendUint32(nil, MaxFrame-prefix)
	for name, test := range map[string]struct {
		r    io.Reader
		want error
	}{
		"cut prefix":  {bytes.NewReader([]byte{1, 0}), io.ErrUnexpectedEOF},
		"cut frame":   {bytes.NewReader([]byte{2, 0, 0, 0, 9}), io.ErrUnexpectedEOF},
		"no payload":  {bytes.NewReader([]byte{2, 0, 0, 0}), io.ErrUnexpectedEOF},
		"too long":    {bytes.NewReader(binary.LittleEndian.AppendUint32(nil, MaxFrame-prefix+1)), ErrFrame},
		"the longest": {bytes.NewReader(limit), io.ErrUnexpectedEOF},
		"broken":      {iotest.ErrReader(broken), broken},
	} {
		t.Run(name, func(t *testing.T) {
			f := NewFrameReader(test.r)
			_, err := f.Next()
			require.ErrorIs(t, err, test.want)
			assert.LessOrEqual(t, len(f.buf), 8192, "memory is for what came, not for what was announced")
		})
	}
}

func TestFrameWriter(t *testing.T) {
	var b bytes.Buffer
	w := newFrameWriter(&b)
	log := func(n int) *fbs.MessageBodyT {
		return &fbs.MessageBodyT{Type: fbs.MessageBodyLog, Value: &fbs.LogT{Data: string(bytes.Repeat([]byte("x"), n))}}
	}
	require.NoError(t, w.write(log(10)))
	require.NoError(t, w.write(log(MaxFrame-100)))
	require.ErrorIs(t, w.write(log(MaxFrame)), errTooBig)
	require.NoError(t, w.write(log(20)))
	require.NoError(t, w.failure())
	r := NewFrameReader(&b)
	for _, n := range []int{10, MaxFrame - 100, 20} {
		frame, err := r.Next()
		require.NoError(t, err)
		got := fbs.GetSizePrefixedRootAsMessage(frame, 0).UnPack().Data.Value.(*fbs.LogT)
		require.Len(t, got.Data, n)
	}
	require.LessOrEqual(t, cap(w.packer.b.Bytes), keptBuilder)
}

type refusing struct{}

func (refusing) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestFrameWriterBreaks(t *testing.T) {
	w := newFrameWriter(refusing{})
	for range 2 {
		require.ErrorIs(t, w.write(&fbs.MessageBodyT{Type: fbs.MessageBodyLog, Value: &fbs.LogT{}}), io.ErrClosedPipe)
	}
	<-w.broken
	require.ErrorIs(t, w.failure(), io.ErrClosedPipe)
}
