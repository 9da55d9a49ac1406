package channel

import (
	"context"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/channel/fbs"
	"github.com/mafalda-sfu/mafalda/internal/channel/verify"
	"github.com/mafalda-sfu/mafalda/internal/engine"
)

// A driven is a Client with what it told.
type driven struct {
	*Client
	notes chan engine.Notification
	ended chan error
}

func newDriven(requests io.Writer, replies io.Reader) *driven {
	d := &driven{notes: make(chan engine.Notification, 1024), ended: make(chan error, 1)}
	d.Client = NewClient(ClientConfig{
		Requests: requests, Replies: replies,
		Notify: func(n engine.Notification) { d.notes <- n },
		Log:    func(string) {},
		Ended:  func(err error) { d.ended <- err },
	})
	return d
}

// drive returns a Client of a worker.
func drive(t *testing.T) *driven {
	requests, in := net.Pipe()
	out, replies := net.Pipe()
	served := make(chan error, 1)
	go func() { // ends when the worker is told to close
		err := Serve(context.Background(), Config{Requests: requests, Replies: replies, Stderr: io.Discard, PID: 4711})
		replies.Close()
		served <- err
	}()
	d := newDriven(in, out)
	t.Cleanup(func() {
		d.Close()
		require.NoError(t, <-served)
		require.ErrorIs(t, <-d.ended, io.EOF)
		requests.Close()
	})
	select {
	case pid := <-d.Running():
		require.Equal(t, "4711", pid)
	case <-time.After(patience):
		t.Fatal("the worker does not run")
	}
	return d
}

func (d *driven) do(t *testing.T, f func(k *Call) error) []engine.Notification {
	t.Helper()
	notes, err := d.Do(t.Context(), f)
	require.NoError(t, err)
	return notes
}

var opus = engine.RTPParameters{
	Codecs:    []engine.CodecParameters{{MimeType: "audio/opus", PayloadType: 100, ClockRate: 48000, Channels: 2, Parameters: map[string]any{"useinbandfec": 1}}},
	Encodings: []engine.Encoding{{SSRC: 11, CodecPayloadType: new(uint8(100)), MaxBitrate: 64000}},
	CNAME:     "c", ReducedSize: true,
}

func produceOpus(id string) engine.ProduceOptions {
	return engine.ProduceOptions{
		ID: id, Kind: engine.Audio, RTPParameters: opus,
		RTPMapping: engine.RTPMapping{
			Codecs:    []engine.CodecMapping{{PayloadType: 100, MappedPayloadType: 100}},
			Encodings: []engine.EncodingMapping{{SSRC: 11, MappedSSRC: 22}},
		},
	}
}

// What an operation caused comes with it, and the worker is told the right
// parent when something is closed.
func TestDrive(t *testing.T) {
	d := drive(t)
	consumer := opus
	consumer.Encodings = []engine.Encoding{{SSRC: 33}}
	d.do(t, func(k *Call) error { return k.CreateRouter("r") })
	d.do(t, func(k *Call) error {
		_, err := k.CreateDirectTransport("r", engine.DirectTransportOptions{ID: "t"})
		return err
	})
	d.do(t, func(k *Call) error {
		typ, err := k.Produce("t", produceOpus("p"))
		assert.Equal(t, engine.SimpleType, typ)
		return err
	})
	d.do(t, func(k *Call) error {
		r, err := k.Consume("t", engine.ConsumeOptions{ID: "c", ProducerID: "p", RTPParameters: consumer, ConsumableEncodings: []engine.Encoding{{SSRC: 22}}})
		assert.Equal(t, engine.SimpleType, r.Type)
		return err
	})
	notes := d.do(t, func(k *Call) error { return k.PauseProducer("p") })
	require.Len(t, notes, 1)
	assert.Equal(t, "c", notes[0].Target)
	assert.Equal(t, engine.ConsumerProducerPause{}, notes[0].Body)
	d.do(t, func(k *Call) error { return k.ResumeProducer("p") })

	require.NoError(t, d.Inject("p", []byte{0x80, 100, 0, 1, 0, 0, 0, 1, 0, 0, 0, 11, 1, 2, 3, 4}))
	for late := time.After(patience); ; {
		select {
		case n := <-d.notes:
			if _, ok := n.Body.(engine.ConsumerRTP); !ok {
				continue
			}
		case <-late:
			t.Fatal("no packet")
		}
		break
	}

	d.do(t, func(k *Call) error {
		dump, err := k.DumpProducer("p")
		assert.Equal(t, opus.Codecs[0].Parameters, dump.RTPParameters.Codecs[0].Parameters)
		return err
	})
	notes = d.do(t, func(k *Call) error { return k.CloseProducer("p") })
	require.Len(t, notes, 1)
	assert.Equal(t, engine.ConsumerProducerClose{}, notes[0].Body)
	_, err := d.Do(t.Context(), func(k *Call) error { return k.CloseConsumer("c") })
	require.ErrorIs(t, err, engine.ErrNotFound, "closed with its Producer")
	d.do(t, func(k *Call) error { return k.CloseRouter("r") })
	d.mu.Lock()
	defer d.mu.Unlock()
	assert.Empty(t, d.tree)
}

func TestDriveErrors(t *testing.T) {
	d := drive(t)
	d.do(t, func(k *Call) error { return k.CreateRouter("r") })
	taken, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	info := engine.ListenInfo{Protocol: engine.UDP, IP: netip.MustParseAddr("127.0.0.1"), Port: uint16(taken.LocalAddr().(*net.UDPAddr).Port)}
	tests := map[string]struct {
		op   func(k *Call) error
		want error
	}{
		"id in use":      {func(k *Call) error { return k.CreateRouter("r") }, engine.ErrInvalidState},
		"unknown":        {func(k *Call) error { return k.PauseProducer("x") }, engine.ErrNotFound},
		"unknown parent": {func(k *Call) error { return k.CloseTransport("x") }, engine.ErrNotFound},
		"port in use": {func(k *Call) error {
			_, err := k.CreatePlainTransport("r", engine.PlainTransportOptions{ID: "t", ListenInfo: info})
			return err
		}, engine.ErrUnavailable},
		"wrong argument": {func(k *Call) error { return k.UpdateSettings("loud", nil) }, engine.ErrInvalidArgument},
		"too long":       {func(k *Call) error { _, err := k.SendData("x", 51, make([]byte, MaxFrame)); return err }, engine.ErrInvalidArgument},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := d.Do(t.Context(), tt.op)
			require.ErrorIs(t, err, tt.want)
		})
	}
	d.do(t, func(k *Call) error { _, err := k.Dump(); return err }) // it lives
}

// Many callers at a time each get their own answer.
func TestDriveConcurrently(t *testing.T) {
	d := drive(t)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			id := string(rune('a' + i))
			for range 20 {
				_, err := d.Do(t.Context(), func(k *Call) error { return k.CreateRouter(id) })
				assert.NoError(t, err)
				_, err = d.Do(t.Context(), func(k *Call) error {
					dump, err := k.DumpRouter(id)
					assert.Equal(t, id, dump.ID)
					return err
				})
				assert.NoError(t, err)
				_, err = d.Do(t.Context(), func(k *Call) error { return k.CloseRouter(id) })
				assert.NoError(t, err)
			}
		})
	}
	wg.Wait()
}

// A worker that says what it should not say ends the channel; who waits hears of it.
func TestDriveBadWorker(t *testing.T) {
	for name, frames := range map[string][][]byte{
		"garbage":        {{8, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8}},
		"no such id":     {frameOf(fbs.MessageBodyResponse, &fbs.ResponseT{Id: 99, Accepted: true})},
		"out of order":   {frameOf(fbs.MessageBodyResponse, &fbs.ResponseT{Id: 2, Accepted: true})},
		"twice":          slices.Repeat([][]byte{frameOf(fbs.MessageBodyResponse, &fbs.ResponseT{Id: 1, Accepted: true})}, 2),
		"asks":           {frameOf(fbs.MessageBodyRequest, &fbs.RequestT{})},
		"ends":           {},
		"only the first": {frameOf(fbs.MessageBodyResponse, &fbs.ResponseT{Id: 1, Accepted: true})},
	} {
		t.Run(name, func(t *testing.T) {
			out, replies := net.Pipe()
			requests, in := net.Pipe()
			go io.Copy(io.Discard, requests) // ends when requests is closed
			d := newDriven(in, out)
			failed := make(chan error, 1)
			go func() {
				_, err := d.Do(t.Context(), func(k *Call) error { return k.CreateRouter("r") })
				failed <- err
			}()
			require.Eventually(t, func() bool { d.mu.Lock(); defer d.mu.Unlock(); return len(d.pending) == 1 }, patience, time.Millisecond)
			for _, f := range frames {
				_, _ = replies.Write(f) // it may have given up
			}
			replies.Close()
			require.ErrorIs(t, <-failed, engine.ErrClosed)
			require.Error(t, <-d.ended)
			require.ErrorIs(t, d.tell(bare("x", fbs.EventWORKER_CLOSE)), engine.ErrClosed)
			_, err := d.Do(t.Context(), func(k *Call) error { return k.CreateRouter("r") })
			require.ErrorIs(t, err, engine.ErrClosed)
			requests.Close()
			out.Close()
		})
	}
}

// What a worker creates for nobody is closed.
func TestDriveAbandoned(t *testing.T) {
	out, replies := net.Pipe()
	requests, in := net.Pipe()
	d := newDriven(in, out)
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, err := d.Do(ctx, func(k *Call) error { return k.CreateRouter("r") })
		failed <- err
	}()
	frames := NewFrameReader(requests)
	next := func() *fbs.RequestT {
		frame, err := frames.Next()
		require.NoError(t, err)
		return fbs.GetSizePrefixedRootAsMessage(slices.Clone(frame), 0).UnPack().Data.Value.(*fbs.RequestT)
	}
	create, barrier := next(), next()
	require.Equal(t, fbs.MethodWORKER_CREATE_ROUTER, create.Method)
	cancel()
	require.ErrorIs(t, <-failed, context.Canceled)
	for _, id := range []uint32{create.Id, barrier.Id} {
		_, err := replies.Write(frameOf(fbs.MessageBodyResponse, &fbs.ResponseT{Id: id, Accepted: true}))
		require.NoError(t, err)
	}
	undo := next()
	require.Equal(t, fbs.MethodWORKER_CLOSE_ROUTER, undo.Method)
	require.Equal(t, "r", undo.Body.Value.(*fbs.WorkerCloseRouterRequestT).RouterId)
	requests.Close()
	replies.Close()
	<-d.ended
	out.Close()
}

// Every notification that the worker's side can write is read back as it was.
func TestDriveNotifications(t *testing.T) {
	tuple := engine.Tuple{LocalAddress: "127.0.0.1", LocalPort: 1, RemoteIP: "127.0.0.2", RemotePort: 2, Protocol: "tcp"}
	packet := &engine.PacketDump{PayloadType: 1, SequenceNumber: 2, Timestamp: 3, SSRC: 4, Size: 5, MID: "m", WideSequenceNumber: 7, HasWideSequenceNumber: true}
	for _, body := range []any{
		engine.ICEStateChange{State: "completed"},
		engine.ICESelectedTupleChange{Tuple: tuple},
		engine.DTLSStateChange{State: "connected", RemoteCertificate: "pem"},
		engine.PlainTuple{Tuple: tuple},
		engine.PlainRTCPTuple{Tuple: tuple},
		engine.DirectRTCP{Packet: []byte{1}},
		engine.ProducerScoreChange{Scores: []engine.StreamScore{{EncodingIndex: 1, SSRC: 2, RID: "r", Score: 3}}},
		engine.VideoOrientationChange{Camera: true, Flip: true, Rotation: 270},
		engine.ConsumerProducerPause{}, engine.ConsumerProducerResume{}, engine.ConsumerProducerClose{},
		engine.ConsumerRTP{Packet: []byte{1, 2}},
		engine.ConsumerScoreChange{Score: engine.ConsumerScore{Score: 1, ProducerScore: 2, ProducerScores: []uint8{3, 4}}},
		engine.ConsumerLayersChange{Layers: &engine.Layers{Spatial: 1, Temporal: 2}}, engine.ConsumerLayersChange{},
		engine.SCTPStateChange{State: "connected"},
		engine.SCTPNegotiated{MaxOutbound: 1, MaxInbound: 2},
		engine.DataConsumerProducerPause{}, engine.DataConsumerProducerResume{}, engine.DataConsumerProducerClose{},
		engine.DataConsumerMessage{PPID: 51, Data: []byte("x")},
		engine.DataConsumerBufferedAmountLow{Amount: 1}, engine.DataConsumerSendBufferFull{},
		engine.DominantSpeaker{ProducerID: "p"},
		engine.AudioVolumes{Volumes: []engine.Volume{{ProducerID: "p", Volume: -3}}}, engine.AudioSilence{},
		engine.Trace{Event: engine.TraceEvent{Type: "rtp", Direction: "in", Timestamp: time.Second, Packet: packet, IsRTX: true}},
		engine.Trace{Event: engine.TraceEvent{Type: "keyframe", Direction: "out", Packet: packet}},
		engine.Trace{Event: engine.TraceEvent{Type: "pli", Direction: "out", SSRC: 1}},
		engine.Trace{Event: engine.TraceEvent{Type: "fir", Direction: "in", SSRC: 1}},
		engine.Trace{Event: engine.TraceEvent{Type: "sr", Direction: "in", SSRC: 1, SR: &engine.SenderReport{SSRC: 1, PacketCount: 2}}},
		engine.Trace{Event: engine.TraceEvent{Type: "bwe", Direction: "out", BWE: &engine.BWETrace{REMB: true, Desired: 1, Available: 2}}},
	} {
		m := notificationOf(engine.Notification{Target: "id", Body: body})
		require.NotNil(t, m, "%#v", body)
		frame := frameOf(m.Type, m.Value)
		require.NoError(t, verify.VerifyFromWorker(frame[prefix:]), "%#v", body)
		n := fbs.GetSizePrefixedRootAsMessage(frame, 0).UnPack().Data.Value.(*fbs.NotificationT)
		assert.Equal(t, "id", n.HandlerId)
		assert.Equal(t, body, bodyOf(n))
	}
}
