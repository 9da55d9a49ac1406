package channel

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/channel/fbs"
	"github.com/mafalda-sfu/mafalda/internal/engine"
)

// A worker that reads nothing holds up nobody for longer than his context
// allows, nor the memory of what is sent without one.
func TestDriveDeafWorker(t *testing.T) {
	out, replies := net.Pipe()
	requests, in := net.Pipe()
	d := newDriven(in, out)
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error)
	for range 3 {
		go func() { // ends with ctx
			_, err := d.Do(ctx, func(k *Call) error { return k.CreateRouter("r") })
			failed <- err
		}()
	}
	require.Eventually(t, func() bool { d.mu.Lock(); defer d.mu.Unlock(); return len(d.pending) == 3 }, patience, time.Millisecond)

	// What nobody waits for has a bound.
	const size = 100_000
	sent := 0
	for ; sent < 1000; sent++ {
		err := d.InjectData("d", engine.DataMessage{PPID: 53, Data: make([]byte, size)})
		if err != nil {
			require.ErrorIs(t, err, engine.ErrUnavailable)
			break
		}
	}
	assert.Less(t, sent*size, maxQueuedBytes+size)
	for sent = 0; sent < 2*maxQueued && d.Inject("p", nil) == nil; sent++ {
	}
	assert.Less(t, sent, maxQueued)

	cancel()
	for range 3 {
		select {
		case err := <-failed:
			require.ErrorIs(t, err, context.Canceled)
		case <-time.After(patience):
			t.Fatal("Do outlives its context")
		}
	}
	replies.Close()
	require.ErrorIs(t, <-d.ended, io.EOF)
	require.ErrorIs(t, d.Inject("p", nil), engine.ErrClosed)
	requests.Close()
	out.Close()
}

// When requests can't be written those who wait hear of it, though the worker
// says no end.
func TestDriveTornRequests(t *testing.T) {
	out, replies := net.Pipe()
	requests, in := net.Pipe()
	d := newDriven(in, out)
	requests.Close()
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			_, err := d.Do(t.Context(), func(k *Call) error { return k.CreateRouter("r") })
			assert.ErrorIs(t, err, engine.ErrClosed)
		})
	}
	wg.Wait()
	require.ErrorIs(t, d.Inject("p", nil), engine.ErrClosed)
	replies.Close()
	<-d.ended
	out.Close()
}

// A worker that talks instead of answering is not listened to for ever.
func TestDriveTalker(t *testing.T) {
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
	talk := frameOf(fbs.MessageBodyNotification, &fbs.NotificationT{
		HandlerId: "t", Event: fbs.EventWEBRTCTRANSPORT_DTLS_STATE_CHANGE, Body: &fbs.NotificationBodyT{
			Type:  fbs.NotificationBodyWebRtcTransportDtlsStateChangeNotification,
			Value: &fbs.WebRtcTransportDtlsStateChangeNotificationT{RemoteCert: strings.Repeat("x", 7<<20)},
		},
	})
	talked := make(chan struct{})
	go func() { // ends with d
		defer close(talked)
		for range 20 {
			if _, err := replies.Write(talk); err != nil {
				return
			}
		}
	}()
	require.ErrorIs(t, <-failed, engine.ErrClosed)
	require.ErrorContains(t, <-d.ended, "instead of a response")
	out.Close()
	<-talked
	replies.Close()
	requests.Close()
}

// What a worker says of a transport of another kind, or of a Consumer without a
// stream, is refused: who asked would look for what is not there.
func TestDriveOtherKind(t *testing.T) {
	direct := transportDump(&engine.TransportDump{ID: "x", Direct: true})
	webRTC := transportDump(&engine.TransportDump{ID: "x", WebRTC: &engine.WebRTCDump{
		ICEState: "new", Ufrag: "u", Password: "p", DTLSState: "new",
	}})
	roleless := transportDump(&engine.TransportDump{ID: "x", WebRTC: &engine.WebRTCDump{
		ICEState: "new", Ufrag: "u", Password: "p", DTLSState: "new", DTLSRole: 7,
	}})
	role := respond(fbs.ResponseBodyWebRtcTransportConnectResponse, &fbs.WebRtcTransportConnectResponseT{DtlsLocalRole: 7})
	consumer := consumerDump(&engine.ConsumerDump{ID: "x", ProducerID: "y"})
	for name, c := range map[string]struct {
		body *fbs.ResponseBodyT
		ask  func(k *Call) error
	}{
		"WebRTC": {direct, func(k *Call) error {
			_, err := k.CreateWebRTCTransport("r", engine.WebRTCTransportOptions{})
			return err
		}},
		"plain": {direct, func(k *Call) error {
			_, err := k.CreatePlainTransport("r", engine.PlainTransportOptions{})
			return err
		}},
		"pipe": {direct, func(k *Call) error {
			_, err := k.CreatePipeTransport("r", engine.PipeTransportOptions{})
			return err
		}},
		"direct": {webRTC, func(k *Call) error {
			_, err := k.CreateDirectTransport("r", engine.DirectTransportOptions{})
			return err
		}},
		"role":         {role, func(k *Call) error { _, err := k.ConnectWebRTC("x", 0, nil); return err }},
		"role in dump": {roleless, func(k *Call) error { _, err := k.DumpTransport("x"); return err }},
		"empty":        {consumer, func(k *Call) error { _, err := k.DumpConsumer("x"); return err }},
		"plain connect": {direct, func(k *Call) error {
			_, err := k.dumpTransport("x", fbs.ResponseBodyPlainTransportDumpResponse)
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			out, replies := net.Pipe()
			requests, in := net.Pipe()
			go func() { // ends when requests is closed
				frames := NewFrameReader(requests)
				for {
					frame, err := frames.Next()
					if err != nil {
						return
					}
					id := fbs.GetRootAsMessage(frame, prefix).UnPack().Data.Value.(*fbs.RequestT).Id
					_, err = replies.Write(frameOf(fbs.MessageBodyResponse, &fbs.ResponseT{Id: id, Accepted: true, Body: c.body}))
					if err != nil {
						return
					}
				}
			}()
			d := newDriven(in, out)
			_, err := d.Do(t.Context(), c.ask)
			require.ErrorIs(t, err, engine.ErrUnavailable)
			replies.Close()
			require.ErrorIs(t, <-d.ended, io.EOF)
			requests.Close()
			out.Close()
		})
	}
}
