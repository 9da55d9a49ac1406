package engine

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/dtls"
)

func TestDoWithEndedContext(t *testing.T) {
	w, _ := newTestWorker(t)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Run(ended, w, func(*Machine) error { t.Error("the operation ran"); return nil })
	require.ErrorIs(t, err, context.Canceled)

	// One that ends while the operation waits for its turn.
	entered, leave := make(chan struct{}), make(chan struct{})
	blocked := make(chan error, 1)
	go func() { // ends when leave is closed
		_, err := Run(context.Background(), w, func(*Machine) error { close(entered); <-leave; return nil })
		blocked <- err
	}()
	<-entered
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err = Run(short, w, func(*Machine) error { t.Error("the operation ran"); return nil })
	require.ErrorIs(t, err, context.DeadlineExceeded)
	close(leave)
	require.NoError(t, <-blocked)

	// One that ends while the operation runs: it is waited for.
	ctx, cancel := context.WithCancel(t.Context())
	v, _, err := Do(ctx, w, func(*Machine) (int, error) { cancel(); return 7, nil })
	require.NoError(t, err)
	require.Equal(t, 7, v)
}

func TestDoAfterClose(t *testing.T) {
	w, _ := newTestWorker(t)
	run(t, w, func(m *Machine) error { return m.CreateRouter("r") })
	w.Close()
	w.Close() // has no effect
	<-w.Done()
	_, err := Run(t.Context(), w, func(*Machine) error { t.Error("the operation ran"); return nil })
	require.ErrorIs(t, err, ErrClosed)
	require.ErrorIs(t, w.Inject("p", []byte{0x80}), ErrClosed)
	require.ErrorIs(t, w.InjectRTCP("t", []byte{0x80}), ErrClosed)
}

// TestCloseAnswersEveryCall closes a Worker that has calls to answer.
func TestCloseAnswersEveryCall(t *testing.T) {
	w, _ := newTestWorker(t)
	entered, leave := make(chan struct{}), make(chan struct{})
	go Run(context.Background(), w, func(*Machine) error { close(entered); <-leave; return nil }) // ends when leave is closed
	<-entered
	const calls = 20
	answers := make(chan error, calls)
	for range calls {
		go func() { // ends with the Worker
			_, err := Run(context.Background(), w, func(*Machine) error { return nil })
			answers <- err
		}()
	}
	go w.Close() // ends with the loop
	close(leave)
	for range calls {
		select {
		case err := <-answers:
			if err != nil {
				require.ErrorIs(t, err, ErrClosed)
			}
		case <-time.After(5 * time.Second):
			t.Fatal("a call was not answered")
		}
	}
}

// TestDoReturnsWhatItCaused checks that an operation returns its notifications
// in order, and that Notify hears none of them.
func TestDoReturnsWhatItCaused(t *testing.T) {
	w, notes := newTestWorker(t)
	run(t, w, func(m *Machine) error { return m.CreateRouter("r") })
	run(t, w, func(m *Machine) error {
		_, err := m.CreateDirectTransport("r", DirectTransportOptions{ID: "t"})
		return err
	})
	params := opusParams(1111)
	run(t, w, func(m *Machine) error {
		return produceOn(m, "t", ProduceOptions{ID: "p", Kind: Audio, RTPParameters: params, RTPMapping: identity(params, 7)})
	})
	ids := []string{"c0", "c1", "c2"}
	for i, id := range ids {
		run(t, w, func(m *Machine) error {
			_, err := m.Consume("t", ConsumeOptions{
				ID: id, ProducerID: "p", RTPParameters: opusParams(2000 + uint32(i)), ConsumableEncodings: []Encoding{{SSRC: 7}},
			})
			return err
		})
	}
	var seq uint64
	check := func(body any, got []Notification) {
		t.Helper()
		require.Len(t, got, len(ids))
		for i, n := range got {
			assert.Equal(t, ids[i], n.Target)
			assert.IsType(t, body, n.Body)
			assert.Greater(t, n.Seq, seq)
			seq = n.Seq
		}
	}
	got, err := Run(t.Context(), w, func(m *Machine) error { return m.PauseProducer("p") })
	require.NoError(t, err)
	check(ConsumerProducerPause{}, got)
	got, err = Run(t.Context(), w, func(m *Machine) error { return m.PauseProducer("p") })
	require.NoError(t, err)
	require.Empty(t, got, "it was paused already")
	got, err = Run(t.Context(), w, func(m *Machine) error { return m.ResumeProducer("p") })
	require.NoError(t, err)
	check(ConsumerProducerResume{}, got)
	got, err = Run(t.Context(), w, func(m *Machine) error { return m.CloseProducer("p") })
	require.NoError(t, err)
	check(ConsumerProducerClose{}, got)
	_, err = Run(t.Context(), w, func(m *Machine) error { return m.PauseConsumer("c0") })
	require.ErrorIs(t, err, ErrNotFound)
	w.Close()
	select {
	case n := <-notes:
		t.Errorf("notified of %+v", n)
	default:
	}
}

// TestCloseFreesPorts binds the port of a Worker right after its Close.
func TestCloseFreesPorts(t *testing.T) {
	w, err := Start(Config{
		Certificate: testCertificate(), Limiter: dtls.NewLimiter(0), RTCMinPort: 20000, RTCMaxPort: 40000,
		Notify: func(Notification) {},
	})
	require.NoError(t, err)
	t.Cleanup(w.Close)
	loopback := netip.MustParseAddr("127.0.0.1")
	run(t, w, func(m *Machine) error { return m.CreateRouter("r") })
	d, _, err := Do(t.Context(), w, func(m *Machine) (TransportDump, error) {
		return m.CreatePlainTransport("r", PlainTransportOptions{ID: "t", ListenInfo: ListenInfo{Protocol: UDP, IP: loopback}})
	})
	require.NoError(t, err)
	addr := net.UDPAddrFromAddrPort(netip.AddrPortFrom(loopback, d.Plain.Tuple.LocalPort))
	_, err = net.ListenUDP("udp4", addr)
	require.Error(t, err)
	w.Close()
	c, err := net.ListenUDP("udp4", addr)
	require.NoError(t, err)
	c.Close()
}
