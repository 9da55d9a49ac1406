package engine

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/dtls"
)

// A pipedData is messages from the application through a pipe, over SCTP, and
// back: p on t1 → a1 on pipe a ⇒ b1 on pipe b → c1 on t2.
type pipedData struct {
	w     *Worker
	notes <-chan Notification
	seen  []Notification
}

var loopback = netip.MustParseAddr("127.0.0.1")

func newPipedData(t testing.TB, o SCTPOptions, subchannels ...uint16) *pipedData {
	t.Helper()
	w, notes := dataWorker(t)
	p := &pipedData{w: w, notes: notes}
	p.pipes(t, o)
	run(t, w, func(m *Machine) error {
		_, err := m.CreateDirectTransport("r", DirectTransportOptions{ID: "t3"})
		return err
	})
	produceDirect(t, w, "t1", "p")
	p.consume(t, "a", "a1", "p", 0, subchannels...)
	p.produce(t, "b", "b1", 0)
	consumeDirect(t, w, "t3", "c1", "b1", 1, 2)
	consumeDirect(t, w, "t3", "c2", "b1")
	return p
}

// pipes creates a and b and connects them.
func (p *pipedData) pipes(t testing.TB, o SCTPOptions) {
	t.Helper()
	ports := map[string]uint16{}
	for _, id := range []string{"a", "b"} {
		run(t, p.w, func(m *Machine) error {
			d, err := m.CreatePipeTransport("r", PipeTransportOptions{
				ID: id, ListenInfo: ListenInfo{Protocol: UDP, IP: loopback}, SCTP: &o,
			})
			if err == nil {
				ports[id] = d.Pipe.Tuple.LocalPort
			}
			return err
		})
	}
	for id, other := range map[string]string{"a": "b", "b": "a"} {
		run(t, p.w, func(m *Machine) error {
			_, err := m.ConnectPipe(id, PipeConnectOptions{Remote: netip.AddrPortFrom(loopback, ports[other])})
			return err
		})
	}
}

func (p *pipedData) consume(t testing.TB, transport, id, producer string, stream uint16, subchannels ...uint16) {
	t.Helper()
	run(t, p.w, func(m *Machine) error {
		_, err := m.ConsumeData(transport, ConsumeDataOptions{
			ID: id, DataProducerID: producer, SCTPStreamParameters: &SCTPStreamParameters{StreamID: stream},
			Subchannels: subchannels,
		})
		return err
	})
}

func (p *pipedData) produce(t testing.TB, transport, id string, stream uint16) {
	t.Helper()
	run(t, p.w, func(m *Machine) error {
		_, err := m.ProduceData(transport, ProduceDataOptions{
			ID: id, SCTPStreamParameters: &SCTPStreamParameters{StreamID: stream},
		})
		return err
	})
}

// wait returns the next notification for target that ok is true for.
func (p *pipedData) wait(t testing.TB, target string, ok func(body any) bool) any {
	t.Helper()
	late := time.After(10 * time.Second)
	for i, n := range p.seen {
		if n.Target == target && ok(n.Body) {
			p.seen = append(p.seen[:i:i], p.seen[i+1:]...)
			return n.Body
		}
	}
	for {
		select {
		case n := <-p.notes:
			if n.Target == target && ok(n.Body) {
				return n.Body
			}
			p.seen = append(p.seen, n)
		case <-late:
			t.Fatalf("nothing came for %s; seen: %+v", target, p.seen)
		}
	}
}

func (p *pipedData) message(t testing.TB, target string) string {
	t.Helper()
	b := p.wait(t, target, func(b any) bool { _, ok := b.(DataConsumerMessage); return ok })
	return string(b.(DataConsumerMessage).Data)
}

func (p *pipedData) state(t testing.TB, target, state string) {
	t.Helper()
	p.wait(t, target, func(b any) bool { return b == SCTPStateChange{State: state} })
}

func TestSCTPPipe(t *testing.T) {
	p := newPipedData(t, SCTPOptions{BufferedAmountLowThreshold: 1024})
	send := func(text string, subchannels []uint16, required, ignored *uint16) {
		require.NoError(t, p.w.InjectData("p", DataMessage{51, []byte(text), subchannels, required, ignored}))
	}
	send("for all", nil, nil, nil)
	send("for one", []uint16{1, 7}, nil, nil)
	send("needs two", nil, new(uint16(2)), nil)
	send("not two", nil, nil, new(uint16(2)))
	send("end", []uint16{2}, nil, nil)
	for _, want := range []string{"for all", "for one", "needs two", "end"} {
		require.Equal(t, want, p.message(t, "c1"))
	}
	for _, want := range []string{"for all", "not two"} {
		require.Equal(t, want, p.message(t, "c2"))
	}
	for _, id := range []string{"a", "b"} {
		p.wait(t, id, func(b any) bool { return b == SCTPNegotiated{65535, 65535} })
		p.state(t, id, "connected")
	}
	d, _, err := Do(t.Context(), p.w, func(m *Machine) (TransportDump, error) { return m.DumpTransport("b") })
	require.NoError(t, err)
	require.Equal(t, &SCTPDump{
		Port: 5000,
		Options: SCTPOptions{
			MaxSendMessageSize: 262144, MaxReceiveMessageSize: 262144, SendBufferSize: 2000000,
			PerStreamSendQueueLimit: 2000000, MaxReceiverWindowBufferSize: 5242880, BufferedAmountLowThreshold: 1024,
		},
		State: "connected", MaxOutbound: 65535, MaxInbound: 65535, Streams: []StreamOwner{{0, "b1"}},
	}, d.SCTP)
	s, _, err := Do(t.Context(), p.w, func(m *Machine) (TransportStats, error) { return m.TransportStats("b") })
	require.NoError(t, err)
	require.Equal(t, "connected", s.SCTPState)

	// A message of its own, which has no subchannels.
	n, _, err := Do(t.Context(), p.w, func(m *Machine) (uint32, error) { return m.SendData("a1", 53, []byte("own")) })
	require.NoError(t, err)
	require.Zero(t, n, "it went out at once")
	require.Equal(t, "own", p.message(t, "c2"))
	cs, _, err := Do(t.Context(), p.w, func(m *Machine) (DataConsumerStats, error) { return m.DataConsumerStats("a1") })
	require.NoError(t, err)
	require.EqualValues(t, 6, cs.MessagesSent)

	// The far end hears that the association is gone.
	run(t, p.w, func(m *Machine) error { return m.CloseTransport("a") })
	p.state(t, "b", "closed")
	d, _, err = Do(t.Context(), p.w, func(m *Machine) (TransportDump, error) { return m.DumpTransport("b") })
	require.NoError(t, err)
	require.Equal(t, "closed", d.SCTP.State)
	p.consume(t, "b", "late", "p", 9)
	_, _, err = Do(t.Context(), p.w, func(m *Machine) (uint32, error) { return m.SendData("late", 53, []byte("x")) })
	require.ErrorIs(t, err, ErrInvalidState)
}

// TestSCTPPipeSubscribed: who is subscribed on the pipe passes on what both have.
func TestSCTPPipeSubscribed(t *testing.T) {
	p := newPipedData(t, SCTPOptions{}, 1, 2)
	send := func(text string, subchannels ...uint16) {
		require.NoError(t, p.w.InjectData("p", DataMessage{PPID: 51, Data: []byte(text), Subchannels: subchannels}))
	}
	send("not through", 3)
	send("through", 3, 1)
	send("all")
	require.Equal(t, "through", p.message(t, "c1"))
	require.Equal(t, "all", p.message(t, "c1"))
	require.Equal(t, "all", p.message(t, "c2"))
}

func TestSCTPErrors(t *testing.T) {
	p := newPipedData(t, SCTPOptions{MaxSendMessageSize: 100})
	for _, test := range []struct {
		name string
		want error
		op   func(m *Machine) error
	}{
		{"stream in use inbound", ErrInvalidState, func(m *Machine) error {
			_, err := m.ProduceData("b", ProduceDataOptions{ID: "n", SCTPStreamParameters: &SCTPStreamParameters{}})
			return err
		}},
		{"stream in use outbound", ErrInvalidState, func(m *Machine) error {
			_, err := m.ConsumeData("a", ConsumeDataOptions{ID: "n", DataProducerID: "p", SCTPStreamParameters: &SCTPStreamParameters{}})
			return err
		}},
		{"no stream", ErrInvalidArgument, func(m *Machine) error {
			_, err := m.ProduceData("b", ProduceDataOptions{ID: "n"})
			return err
		}},
		{"direct on a pipe", ErrInvalidArgument, func(m *Machine) error {
			_, err := m.ProduceData("b", ProduceDataOptions{ID: "n", Type: DirectData})
			return err
		}},
		{"stream id out of range", ErrInvalidArgument, func(m *Machine) error {
			_, err := m.ProduceData("b", ProduceDataOptions{ID: "n", SCTPStreamParameters: &SCTPStreamParameters{StreamID: 65535}})
			return err
		}},
		{"too large", ErrInvalidArgument, func(m *Machine) error { _, err := m.SendData("a1", 53, make([]byte, 101)); return err }},
		{"empty", ErrInvalidState, func(m *Machine) error { _, err := m.SendData("a1", 53, nil); return err }},
		{"paused", ErrInvalidState, func(m *Machine) error {
			if err := m.PauseDataConsumer("a1"); err != nil {
				return err
			}
			_, err := m.SendData("a1", 53, []byte("x"))
			return err
		}},
		{"no SCTP", ErrInvalidState, func(m *Machine) error {
			if _, err := m.CreatePipeTransport("r", PipeTransportOptions{ID: "plain", ListenInfo: ListenInfo{Protocol: UDP, IP: loopback}}); err != nil {
				return err
			}
			_, err := m.ProduceData("plain", ProduceDataOptions{ID: "n", SCTPStreamParameters: &SCTPStreamParameters{}})
			return err
		}},
	} {
		_, err := Run(t.Context(), p.w, test.op)
		assert.ErrorIs(t, err, test.want, test.name)
	}
	// An id that failed can be had.
	p.produce(t, "b", "n", 1)
}

// TestSCTPSendBuffer fills the send buffer of an association without a peer.
func TestSCTPSendBuffer(t *testing.T) {
	w, _ := dataWorker(t)
	run(t, w, func(m *Machine) error {
		_, err := m.CreatePipeTransport("r", PipeTransportOptions{
			ID: "a", ListenInfo: ListenInfo{Protocol: UDP, IP: loopback}, SCTP: &SCTPOptions{SendBufferSize: 5000},
		})
		return err
	})
	produceDirect(t, w, "t1", "p")
	p := &pipedData{w: w}
	p.consume(t, "a", "c", "p", 0)
	for i := range 10 {
		n, notes, err := Do(t.Context(), w, func(m *Machine) (uint32, error) { return m.SendData("c", 53, make([]byte, 1000)) })
		if i < 5 {
			require.NoError(t, err)
			require.Empty(t, notes)
			require.EqualValues(t, 1000*(i+1), n)
			continue
		}
		require.ErrorIs(t, err, ErrUnavailable)
		require.EqualValues(t, 5000, n)
		require.Len(t, notes, 1)
		require.Equal(t, DataConsumerSendBufferFull{}, notes[0].Body)
	}
	n, _, err := Do(t.Context(), w, func(m *Machine) (uint32, error) { return m.BufferedAmount("c") })
	require.NoError(t, err)
	require.EqualValues(t, 5000, n)
	run(t, w, func(m *Machine) error { return m.SetBufferedAmountLowThreshold("c", 7000) })
	d, _, err := Do(t.Context(), w, func(m *Machine) (DataConsumerDump, error) { return m.DumpDataConsumer("c") })
	require.NoError(t, err)
	require.EqualValues(t, 7000, d.BufferedAmountLowThreshold)
}

// TestSCTPBacklog: a listener that does not return stops the peer, not the
// loop; and nothing is lost.
func TestSCTPBacklog(t *testing.T) {
	const size, total = 50_000, 1200 // 60 MB, more than backlog and windows hold
	let := make(chan struct{})
	got := make(chan string, total)
	w, err := Start(Config{
		Certificate: testCertificate(), Limiter: dtls.NewLimiter(0), RTCMinPort: 20000, RTCMaxPort: 40000,
		Notify: func(n Notification) {
			if b, ok := n.Body.(DataConsumerMessage); ok {
				<-let
				got <- string(b.Data[:10])
			}
		},
	})
	require.NoError(t, err)
	t.Cleanup(w.Close)
	run(t, w, func(m *Machine) error { return m.CreateRouter("r") })
	run(t, w, func(m *Machine) error {
		_, err := m.CreateDirectTransport("r", DirectTransportOptions{ID: "t1"})
		return err
	})
	p := &pipedData{w: w}
	p.pipes(t, SCTPOptions{})
	produceDirect(t, w, "t1", "p")
	p.consume(t, "a", "a1", "p", 0)
	p.produce(t, "b", "b1", 0)
	consumeDirect(t, w, "t1", "c", "b1")
	sent, refused := 0, 0
	late := time.Now().Add(20 * time.Second)
	for sent < total && time.Now().Before(late) {
		_, _, err := Do(t.Context(), w, func(m *Machine) (uint32, error) {
			b := make([]byte, size)
			copy(b, fmt.Sprintf("%010d", sent))
			return m.SendData("a1", 53, b)
		})
		if err == nil {
			sent++
			continue
		}
		require.ErrorIs(t, err, ErrUnavailable)
		if refused++; refused == 300 && sent < total {
			backlog, _, err := Do(t.Context(), w, func(m *Machine) (int64, error) { return m.backlog.n.Load(), nil })
			require.NoError(t, err)
			require.Less(t, backlog, int64(maxBacklog+16<<20), "the backlog is bounded")
			close(let)
		}
		time.Sleep(time.Millisecond) // until there may be room
	}
	require.Equal(t, total, sent)
	require.GreaterOrEqual(t, refused, 300, "the sender had to wait")
	for i := range total {
		select {
		case s := <-got:
			require.Equal(t, fmt.Sprintf("%010d", i), s)
		case <-time.After(10 * time.Second):
			t.Fatalf("message %d is missing", i)
		}
	}
}

// TestSCTPClose: an association that waits for its peer ends with its transport.
func TestSCTPClose(t *testing.T) {
	w, _ := dataWorker(t)
	p := &pipedData{w: w}
	p.pipes(t, SCTPOptions{})
	p.produce(t, "a", "p", 0)
	var done <-chan struct{}
	run(t, w, func(m *Machine) error {
		done = m.transports["a"].sctp.sctp.Done()
		return m.CloseTransport("a")
	})
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("goroutines of the association run on")
	}
}
