package engine

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/dtls"
)

// dataWorker is a Worker with a Router and two direct transports, t1 and t2.
func dataWorker(t testing.TB) (*Worker, <-chan Notification) {
	t.Helper()
	w, notes := newTestWorker(t)
	run(t, w, func(m *Machine) error { return m.CreateRouter("r") })
	run(t, w, func(m *Machine) error {
		_, err := m.CreateDirectTransport("r", DirectTransportOptions{ID: "t1"})
		return err
	})
	run(t, w, func(m *Machine) error {
		_, err := m.CreateDirectTransport("r", DirectTransportOptions{ID: "t2", MaxSendMessageSize: 10})
		return err
	})
	return w, notes
}

func produceDirect(t testing.TB, w *Worker, transport, id string) {
	t.Helper()
	run(t, w, func(m *Machine) error {
		_, err := m.ProduceData(transport, ProduceDataOptions{ID: id, Type: DirectData, Label: "foo", Protocol: "bar"})
		return err
	})
}

func consumeDirect(t testing.TB, w *Worker, transport, id, producer string, subchannels ...uint16) {
	t.Helper()
	run(t, w, func(m *Machine) error {
		_, err := m.ConsumeData(transport, ConsumeDataOptions{
			ID: id, DataProducerID: producer, Type: DirectData, Label: "foo", Protocol: "bar", Subchannels: subchannels,
		})
		return err
	})
}

// settle waits until the Worker did what was injected and told of it, and
// returns the messages by DataConsumer.
func settle(t testing.TB, w *Worker, notes <-chan Notification) map[string][]DataConsumerMessage {
	t.Helper()
	got := map[string][]DataConsumerMessage{}
	done := false
	run(t, w, func(m *Machine) error {
		m.netNotes = append(m.netNotes, Notification{Target: "end", Body: VideoOrientationChange{}})
		return nil
	})
	for !done {
		select {
		case n := <-notes:
			if b, ok := n.Body.(DataConsumerMessage); ok {
				got[n.Target] = append(got[n.Target], b)
			}
			done = n.Target == "end"
		case <-time.After(5 * time.Second):
			t.Fatal("no end")
		}
	}
	return got
}

func TestDirectData(t *testing.T) {
	w, notes := dataWorker(t)
	produceDirect(t, w, "t1", "p")
	consumeDirect(t, w, "t1", "c1", "p")
	consumeDirect(t, w, "t2", "c2", "p", 1, 2, 2)
	send := func(text string, subchannels []uint16, required, ignored *uint16) {
		require.NoError(t, w.InjectData("p", DataMessage{51, []byte(text), subchannels, required, ignored}))
	}
	send("hello", nil, nil, nil)
	send("one", []uint16{1}, nil, nil)
	send("three", []uint16{3}, nil, nil)
	send("needs one", nil, new(uint16(1)), nil)
	send("not one", nil, nil, new(uint16(1)))
	send("0123456789", nil, nil, nil)
	send("0123456789A", nil, nil, nil) // too large for t2
	send("", nil, nil, nil)
	got := settle(t, w, notes)
	text := func(id string) (all []string) {
		for _, m := range got[id] {
			assert.EqualValues(t, 51, m.PPID)
			all = append(all, string(m.Data))
		}
		return all
	}
	assert.Equal(t, []string{"hello", "not one", "0123456789", "0123456789A"}, text("c1"))
	assert.Equal(t, []string{"hello", "one", "needs one", "0123456789"}, text("c2"))

	stats, _, err := Do(t.Context(), w, func(m *Machine) (DataProducerStats, error) { return m.DataProducerStats("p") })
	require.NoError(t, err)
	assert.EqualValues(t, 7, stats.MessagesReceived, "an empty message is none")
	assert.EqualValues(t, 5+3+5+9+7+10+11, stats.BytesReceived)
	assert.Equal(t, "foo", stats.Label)
	c, _, err := Do(t.Context(), w, func(m *Machine) (DataConsumerStats, error) { return m.DataConsumerStats("c2") })
	require.NoError(t, err)
	assert.EqualValues(t, 4, c.MessagesSent)
	assert.EqualValues(t, 5+3+9+10, c.BytesSent)
	ts, _, err := Do(t.Context(), w, func(m *Machine) (TransportStats, error) { return m.TransportStats("t2") })
	require.NoError(t, err)
	assert.EqualValues(t, 5+3+9+10, ts.BytesSent)
	count, _, err := Do(t.Context(), w, func(m *Machine) (Counters, error) { c, _, err := m.Counters(); return c, err })
	require.NoError(t, err)
	assert.EqualValues(t, 2, count.DropData)
}

func TestDataPause(t *testing.T) {
	w, notes := dataWorker(t)
	produceDirect(t, w, "t1", "p")
	consumeDirect(t, w, "t1", "c", "p")
	bodies := func(list []Notification) (out []any) {
		for _, n := range list {
			require.Equal(t, "c", n.Target)
			out = append(out, n.Body)
		}
		return out
	}
	step := func(op func(*Machine, string) error, id string) []any {
		n, err := Run(t.Context(), w, func(m *Machine) error { return op(m, id) })
		require.NoError(t, err)
		return bodies(n)
	}
	send := func(text string) {
		require.NoError(t, w.InjectData("p", DataMessage{PPID: 51, Data: []byte(text)}))
	}
	send("a")
	require.Empty(t, step((*Machine).PauseDataConsumer, "c"))
	send("not this")
	require.Empty(t, step((*Machine).PauseDataConsumer, "c"))
	require.Equal(t, []any{DataConsumerProducerPause{}}, step((*Machine).PauseDataProducer, "p"))
	require.Empty(t, step((*Machine).PauseDataProducer, "p"), "nothing changes")
	require.Empty(t, step((*Machine).ResumeDataConsumer, "c"))
	send("nor this")
	require.Equal(t, []any{DataConsumerProducerResume{}}, step((*Machine).ResumeDataProducer, "p"))
	send("b")
	got := settle(t, w, notes)["c"]
	require.Len(t, got, 2)
	require.Equal(t, "a", string(got[0].Data))
	require.Equal(t, "b", string(got[1].Data))
	require.Equal(t, []any{DataConsumerProducerClose{}}, step((*Machine).CloseDataProducer, "p"))
	_, err := Run(t.Context(), w, func(m *Machine) error { return m.CloseDataConsumer("c") })
	require.ErrorIs(t, err, ErrNotFound)
}

func TestDataErrors(t *testing.T) {
	w, _ := dataWorker(t)
	run(t, w, func(m *Machine) error { return m.CreateRouter("r2") })
	run(t, w, func(m *Machine) error {
		_, err := m.CreateDirectTransport("r2", DirectTransportOptions{ID: "elsewhere"})
		return err
	})
	produceDirect(t, w, "t1", "p")
	consumeDirect(t, w, "t1", "c", "p")
	for _, test := range []struct {
		name string
		want error
		op   func(m *Machine) error
	}{
		{"no transport", ErrNotFound, func(m *Machine) error {
			_, err := m.ProduceData("x", ProduceDataOptions{ID: "n", Type: DirectData})
			return err
		}},
		{"id in use", ErrInvalidState, func(m *Machine) error {
			_, err := m.ProduceData("t1", ProduceDataOptions{ID: "c", Type: DirectData})
			return err
		}},
		{"no id", ErrInvalidArgument, func(m *Machine) error {
			_, err := m.ConsumeData("t1", ConsumeDataOptions{DataProducerID: "p", Type: DirectData})
			return err
		}},
		{"SCTP on a direct transport", ErrInvalidArgument, func(m *Machine) error {
			_, err := m.ProduceData("t1", ProduceDataOptions{ID: "n", SCTPStreamParameters: &SCTPStreamParameters{}})
			return err
		}},
		{"no DataProducer", ErrNotFound, func(m *Machine) error {
			_, err := m.ConsumeData("t1", ConsumeDataOptions{ID: "n", DataProducerID: "c", Type: DirectData})
			return err
		}},
		{"DataProducer of another Router", ErrNotFound, func(m *Machine) error {
			_, err := m.ConsumeData("elsewhere", ConsumeDataOptions{ID: "n", DataProducerID: "p", Type: DirectData})
			return err
		}},
		{"buffered amount of a direct one", ErrInvalidArgument, func(m *Machine) error { _, err := m.BufferedAmount("c"); return err }},
		{"threshold of a direct one", ErrInvalidArgument, func(m *Machine) error { return m.SetBufferedAmountLowThreshold("c", 1) }},
		{"sending on a direct one", ErrInvalidArgument, func(m *Machine) error { _, err := m.SendData("c", 51, []byte("x")); return err }},
		{"sending on none", ErrNotFound, func(m *Machine) error { _, err := m.SendData("p", 51, []byte("x")); return err }},
		{"stats", ErrNotFound, func(m *Machine) error { _, err := m.DataProducerStats("c"); return err }},
		{"dump", ErrNotFound, func(m *Machine) error { _, err := m.DumpDataConsumer("p"); return err }},
		{"subchannels", ErrNotFound, func(m *Machine) error { _, err := m.SetSubchannels("p", nil); return err }},
	} {
		_, err := Run(t.Context(), w, test.op)
		assert.ErrorIs(t, err, test.want, test.name)
	}
}

func TestStreamParameters(t *testing.T) {
	for _, test := range []struct {
		in      SCTPStreamParameters
		ordered bool
		ok      bool
	}{
		{SCTPStreamParameters{}, true, true},
		{SCTPStreamParameters{StreamID: 65534}, true, true},
		{SCTPStreamParameters{StreamID: 65535}, true, false},
		{SCTPStreamParameters{MaxRetransmits: new(uint16(3))}, false, true},
		{SCTPStreamParameters{MaxPacketLifeTime: 3}, false, true},
		{SCTPStreamParameters{Ordered: new(false)}, false, true},
		{SCTPStreamParameters{Ordered: new(true), MaxRetransmits: new(uint16(3))}, false, false},
		{SCTPStreamParameters{Ordered: new(false), MaxPacketLifeTime: 3, MaxRetransmits: new(uint16(3))}, false, false},
	} {
		got, err := test.in.checked()
		if !test.ok {
			assert.ErrorIs(t, err, ErrInvalidArgument, "%+v", test.in)
			continue
		}
		require.NoError(t, err)
		want := test.in
		want.Ordered = new(test.ordered)
		assert.Empty(t, cmp.Diff(want, got))
	}
}

func TestDataClose(t *testing.T) {
	w, _ := dataWorker(t)
	produceDirect(t, w, "t1", "p")
	consumeDirect(t, w, "t1", "c1", "p")
	consumeDirect(t, w, "t2", "c2", "p")
	d, _, err := Do(t.Context(), w, func(m *Machine) (DumpRouter, error) { return m.DumpRouter("r") })
	require.NoError(t, err)
	require.Equal(t, []ProducerConsumers{{ProducerID: "p", ConsumerIDs: []string{"c1", "c2"}}}, d.DataProducers)
	require.Equal(t, []ConsumerProducer{{"c1", "p"}, {"c2", "p"}}, d.DataConsumers)
	td, _, err := Do(t.Context(), w, func(m *Machine) (TransportDump, error) { return m.DumpTransport("t2") })
	require.NoError(t, err)
	require.Empty(t, td.DataProducerIDs)
	require.Equal(t, []string{"c2"}, td.DataConsumerIDs)
	require.EqualValues(t, 10, td.MaxSendMessageSize)
	require.EqualValues(t, defaultMessageSize, td.MaxReceiveMessageSize)
	wd, _, err := Do(t.Context(), w, (*Machine).Dump)
	require.NoError(t, err)
	require.Subset(t, wd.RequestHandlers, []string{"p", "c1", "c2"})
	require.Subset(t, wd.NotificationHandlers, []string{"p"})

	notes, err := Run(t.Context(), w, func(m *Machine) error { return m.CloseTransport("t1") })
	require.NoError(t, err)
	require.Len(t, notes, 1, "c1 goes with its transport")
	require.Equal(t, "c2", notes[0].Target)
	require.Equal(t, DataConsumerProducerClose{}, notes[0].Body)
	run(t, w, func(m *Machine) error {
		if len(m.dataProducers)+len(m.dataConsumers) > 0 {
			return fmt.Errorf("%d DataProducers and %d DataConsumers are left", len(m.dataProducers), len(m.dataConsumers))
		}
		return nil
	})
}

// TestDataBacklog floods a listener that does not return: who sends is told,
// and nothing is lost.
func TestDataBacklog(t *testing.T) {
	let := make(chan struct{})
	got := make(chan int, 1<<16)
	w, err := Start(Config{
		Certificate: testCertificate(), Limiter: dtls.NewLimiter(0),
		Notify: func(n Notification) {
			if b, ok := n.Body.(DataConsumerMessage); ok {
				<-let
				got <- len(b.Data)
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
	produceDirect(t, w, "t1", "p")
	consumeDirect(t, w, "t1", "c", "p")
	message := make([]byte, 64<<10)
	sent := 0
	for ; sent < 10*maxBacklog/len(message); sent++ {
		if err = w.InjectData("p", DataMessage{PPID: 53, Data: message}); err != nil {
			break
		}
	}
	require.ErrorIs(t, err, ErrUnavailable)
	require.InDelta(t, maxBacklog/len(message), sent, 2)
	close(let)
	for range sent {
		select {
		case n := <-got:
			require.Equal(t, len(message), n)
		case <-time.After(10 * time.Second):
			t.Fatal("a message is missing")
		}
	}
	require.Eventually(t, func() bool {
		return w.InjectData("p", DataMessage{PPID: 53, Data: message}) == nil
	}, 10*time.Second, time.Millisecond)
	w.Close()
	require.ErrorIs(t, w.InjectData("p", DataMessage{PPID: 53, Data: message}), ErrClosed)
}

func TestBacklogWakes(t *testing.T) {
	woken := 0
	b := &backlog{drained: func() { woken++ }}
	b.stop()
	require.Equal(t, 1, woken, "it was not full")
	b.add(maxBacklog + 1)
	require.True(t, b.full())
	b.stop()
	b.sub(1)
	require.False(t, b.full())
	require.Equal(t, 1, woken, "a full backlog is emptied by half first")
	b.sub(maxBacklog - lowBacklog)
	require.Equal(t, 2, woken)
	b.sub(lowBacklog)
	require.Equal(t, 2, woken, "once")
}

// TestDataCopied: what is injected belongs to the caller again.
func TestDataCopied(t *testing.T) {
	w, notes := dataWorker(t)
	produceDirect(t, w, "t1", "p")
	consumeDirect(t, w, "t1", "c", "p", 5)
	data, sub, required := []byte("mine"), []uint16{5}, uint16(5)
	stop := make(chan struct{})
	ran := make(chan struct{})
	go func() { // ends with the operation
		defer close(ran)
		_, _ = Run(context.Background(), w, func(*Machine) error { <-stop; return nil })
	}()
	require.NoError(t, w.InjectData("p", DataMessage{51, data, sub, &required, nil}))
	data[0], sub[0], required = 'x', 6, 6
	close(stop)
	<-ran
	got := settle(t, w, notes)["c"]
	require.Len(t, got, 1)
	require.Equal(t, "mine", string(got[0].Data))
}
