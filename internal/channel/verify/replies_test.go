package verify_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"sync/atomic"
	"testing"

	flatbuffers "github.com/google/flatbuffers/go"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/channel"
	"github.com/mafalda-sfu/mafalda/internal/channel/fbs"
	"github.com/mafalda-sfu/mafalda/internal/channel/verify"
	"github.com/mafalda-sfu/mafalda/internal/engine"
)

// operations are those whose responses are read.
var operations = map[string]func(*channel.Call) error{
	"worker dump":      func(k *channel.Call) error { _, err := k.Dump(); return err },
	"usage":            func(k *channel.Call) error { _, err := k.Usage(); return err },
	"server dump":      func(k *channel.Call) error { _, err := k.DumpWebRTCServer("x"); return err },
	"router dump":      func(k *channel.Call) error { _, err := k.DumpRouter("x"); return err },
	"transport dump":   func(k *channel.Call) error { _, err := k.DumpTransport("x"); return err },
	"transport stats":  func(k *channel.Call) error { _, err := k.TransportStats("x"); return err },
	"connect":          func(k *channel.Call) error { _, err := k.ConnectWebRTC("x", 0, nil); return err },
	"connect plain":    func(k *channel.Call) error { _, err := k.ConnectPlain("x", engine.PlainConnectOptions{}); return err },
	"connect pipe":     func(k *channel.Call) error { _, err := k.ConnectPipe("x", engine.PipeConnectOptions{}); return err },
	"restart ICE":      func(k *channel.Call) error { _, _, err := k.RestartICE("x"); return err },
	"producer dump":    func(k *channel.Call) error { _, err := k.DumpProducer("x"); return err },
	"producer stats":   func(k *channel.Call) error { _, err := k.ProducerStats("x"); return err },
	"consumer dump":    func(k *channel.Call) error { _, err := k.DumpConsumer("x"); return err },
	"consumer stats":   func(k *channel.Call) error { _, err := k.ConsumerStats("x"); return err },
	"preferred layers": func(k *channel.Call) error { _, err := k.SetPreferredLayers("x", engine.Layers{}); return err },
	"produce":          func(k *channel.Call) error { _, err := k.Produce("x", engine.ProduceOptions{}); return err },
	"consume":          func(k *channel.Call) error { _, err := k.Consume("x", engine.ConsumeOptions{}); return err },
	"data producer":    func(k *channel.Call) error { _, err := k.DumpDataProducer("x"); return err },
	"data consumer":    func(k *channel.Call) error { _, err := k.DumpDataConsumer("x"); return err },
	"data stats":       func(k *channel.Call) error { _, err := k.DataProducerStats("x"); return err },
	"more data stats":  func(k *channel.Call) error { _, err := k.DataConsumerStats("x"); return err },
	"produce data":     func(k *channel.Call) error { _, err := k.ProduceData("x", engine.ProduceDataOptions{}); return err },
	"consume data":     func(k *channel.Call) error { _, err := k.ConsumeData("x", engine.ConsumeDataOptions{}); return err },
	"subchannels":      func(k *channel.Call) error { _, err := k.SetSubchannels("x", nil); return err },
	"buffered amount":  func(k *channel.Call) error { _, err := k.BufferedAmount("x"); return err },
	"direct transport": func(k *channel.Call) error {
		_, err := k.CreateDirectTransport("x", engine.DirectTransportOptions{})
		return err
	},
	"plain transport": func(k *channel.Call) error {
		_, err := k.CreatePlainTransport("x", engine.PlainTransportOptions{})
		return err
	},
}

// A liar is a worker that answers every request with the same frame.
type liar struct {
	response *fbs.MessageT
	replies  *io.PipeWriter
}

func (l *liar) run(requests io.Reader) {
	frames := channel.NewFrameReader(requests)
	for {
		frame, err := frames.Next()
		if err != nil {
			return
		}
		q, ok := fbs.GetRootAsMessage(frame, 4).UnPack().Data.Value.(*fbs.RequestT)
		if !ok {
			continue
		}
		r := l.response.Data.Value.(*fbs.ResponseT)
		r.Id, r.Accepted = q.Id, true
		b := flatbuffers.NewBuilder(0)
		b.FinishSizePrefixed(l.response.Pack(b))
		if _, err := l.replies.Write(b.FinishedBytes()); err != nil {
			return
		}
	}
}

// TestAnyReply gives a Client whatever a worker could say, which may be any
// program: random responses of every type to every operation, and random
// notifications. It is a result, an error of a known class, or the end.
func TestAnyReply(t *testing.T) {
	responses, notifications := verify.RandomReplies(5, 10)
	results, refused := 0, 0
	for name, operation := range operations {
		for _, frame := range responses {
			err := ask(t, frame, operation)
			classes := 0
			for _, class := range []error{
				engine.ErrClosed, engine.ErrUnavailable, engine.ErrInvalidState, engine.ErrInvalidArgument, engine.ErrNotFound,
			} {
				if errors.Is(err, class) {
					classes++
				}
			}
			if err == nil {
				results++
				continue
			}
			refused++
			require.Positive(t, classes, "%s: an error of no class: %v", name, err)
		}
	}
	require.Positive(t, results)
	require.Positive(t, refused)

	var heard atomic.Int64
	in, out := io.Pipe()
	ended := make(chan error, 1)
	channel.NewClient(channel.ClientConfig{
		Requests: io.Discard, Replies: in, Log: func(string) {},
		Notify: func(engine.Notification) { heard.Add(1) },
		Ended:  func(err error) { ended <- err },
	})
	for _, frame := range notifications {
		_, err := out.Write(append(binary.LittleEndian.AppendUint32(nil, uint32(len(frame))), frame...))
		require.NoError(t, err)
	}
	require.NoError(t, out.Close())
	require.ErrorIs(t, <-ended, io.EOF)
	require.Positive(t, heard.Load())
}

// ask does an operation that is answered with frame.
func ask(t *testing.T, frame []byte, operation func(*channel.Call) error) error {
	t.Helper()
	requests, toWorker := io.Pipe()
	fromWorker, replies := io.Pipe()
	l := &liar{response: fbs.GetRootAsMessage(frame, 0).UnPack(), replies: replies}
	done := make(chan struct{})
	go func() { // ends with requests
		defer close(done)
		l.run(requests)
	}()
	ended := make(chan error, 1)
	c := channel.NewClient(channel.ClientConfig{
		Requests: toWorker, Replies: fromWorker, Notify: func(engine.Notification) {}, Log: func(string) {},
		Ended: func(err error) { ended <- err },
	})
	_, err := c.Do(t.Context(), operation)
	require.NotErrorIs(t, err, context.Canceled)
	requests.Close()
	replies.Close()
	<-ended
	fromWorker.Close()
	<-done
	return err
}
