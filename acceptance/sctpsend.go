package acceptance

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/internal/peer"
)

func testSCTPSend(t *testing.T, s *suite) {
	r := s.room(t)
	p := produceData(t, r.direct(t), mafalda.DataProducerOptions{})
	r.dataEnds(t, func(e *dataEnd) {
		ctx := t.Context()
		c := consumeData(t, e.transport, mafalda.DataConsumerOptions{DataProducerID: p.ID(), Subchannels: []uint16{7}})
		n, err := c.Send(ctx, mafalda.TextMessage("foo"))
		require.NoError(t, err)
		require.Zero(t, n, "it goes out at once")
		require.Equal(t, peer.Message{PPID: 51, Data: []byte("foo")}, message(t, e.data))
		for want, m := range map[string]mafalda.DataMessage{
			" ": mafalda.TextMessage(""), "\x00": {}, "x": {PPID: 99, Data: []byte("x")},
		} {
			_, err := c.Send(ctx, m)
			require.NoError(t, err)
			require.Equal(t, want, string(message(t, e.data).Data))
		}
		for name, m := range map[string]mafalda.DataMessage{
			"too long":       {Data: make([]byte, 262145)},
			"empty":          {PPID: 99},
			"to subchannels": {Data: []byte("x"), Subchannels: []uint16{7}},
			"ignored":        {Data: []byte("x"), IgnoredSubchannel: new(uint16(7))},
		} {
			_, err := c.Send(ctx, m)
			requireErrorIn(t, name, err, mafalda.ErrInvalidArgument)
		}
		require.NoError(t, c.Pause(ctx))
		_, err = c.Send(ctx, mafalda.TextMessage("paused"))
		requireError(t, err, mafalda.ErrInvalidState)
		require.NoError(t, c.Resume(ctx))
		require.NoError(t, p.Pause(ctx))
		_, err = c.Send(ctx, mafalda.TextMessage("paused"))
		requireError(t, err, mafalda.ErrInvalidState)
		require.NoError(t, p.Resume(ctx))
		_, err = c.Send(ctx, mafalda.TextMessage("resumed"))
		require.NoError(t, err)
		require.Equal(t, "resumed", string(message(t, e.data).Data))
		stats, err := c.Stats(ctx)
		require.NoError(t, err)
		require.EqualValues(t, 5, stats[0].MessagesSent)
	})
}

func testSCTPBufferedAmount(t *testing.T, s *suite) {
	r := s.room(t)
	ctx := t.Context()
	p := produceData(t, r.direct(t), mafalda.DataProducerOptions{})
	o := withSCTP()
	o.SCTPSendBufferSize = 5000
	tr := r.plain(t, mafalda.PlainTransportOptions{Comedia: true, SCTPOptions: o})
	c := consumeData(t, tr, mafalda.DataConsumerOptions{DataProducerID: p.ID()})
	full, low := hear(t, &c.Events().SCTPSendBufferFull), hear(t, &c.Events().BufferedAmountLow)
	require.NoError(t, c.SetBufferedAmountLowThreshold(ctx, 2000))
	d, err := c.Dump(ctx)
	require.NoError(t, err)
	require.Equal(t, 2000, d.BufferedAmountLowThreshold)
	requireError(t, c.SetBufferedAmountLowThreshold(ctx, -1), mafalda.ErrInvalidArgument)
	requireError(t, c.SetBufferedAmountLowThreshold(ctx, 1<<32), mafalda.ErrInvalidArgument)
	for i := range 5 { // there is nobody to send to yet
		n, err := c.Send(ctx, mafalda.DataMessage{Data: make([]byte, 1000)})
		require.NoError(t, err)
		require.Equal(t, 1000*(i+1), n)
	}
	require.Empty(t, full)
	_, err = c.Send(ctx, mafalda.DataMessage{Data: make([]byte, 1000)})
	requireError(t, err, mafalda.ErrUnavailable)
	require.Len(t, full, 1, "before the call returns")
	require.NoError(t, p.Send(mafalda.TextMessage("one too many")))
	receive(t, full, "SCTPSendBufferFull of Send")
	receive(t, full, "SCTPSendBufferFull of a message of the DataProducer")
	n, err := c.BufferedAmount(ctx)
	require.NoError(t, err)
	require.Equal(t, 5000, n)
	d, err = c.Dump(ctx)
	require.NoError(t, err)
	require.Equal(t, 5000, d.BufferedAmount)
	require.Empty(t, low)
	data, err := peer.Associate(ctx, dialUDP(t, tr.Tuple()), true)
	newDataEnd(t, tr, data, err)
	for range 5 {
		require.Len(t, message(t, data).Data, 1000)
	}
	require.LessOrEqual(t, receive(t, low, "BufferedAmountLow"), 2000)
	eventually(t, "nothing waits", func() bool { n, err := c.BufferedAmount(ctx); return err == nil && n == 0 })
	_, err = c.Send(ctx, mafalda.TextMessage("there is room again"))
	require.NoError(t, err)
}

func testSCTPMessageSizes(t *testing.T, s *suite) {
	r := s.room(t)
	o := withSCTP()
	o.MaxReceiveMessageSize, o.MaxSendMessageSize = 2000, 1000
	e := r.plainDataEnd(t, mafalda.PlainTransportOptions{SCTPOptions: o})
	p := produceData(t, e.transport, mafalda.DataProducerOptions{SCTPStreamParameters: stream(1)})
	consumeData(t, e.transport, mafalda.DataConsumerOptions{DataProducerID: p.ID()})
	_, heard := consumeDirect(t, r.direct(t), mafalda.DataConsumerOptions{DataProducerID: p.ID()})
	for _, n := range []int{1000, 1001, 2000, 2001, 100_000, 7} {
		require.NoError(t, e.data.Send(peer.Message{Stream: 1, PPID: 53, Data: make([]byte, n)}))
	}
	for _, n := range []int{1000, 1001, 2000, 7} {
		require.Len(t, receive(t, heard, "a message").Data, n)
	}
	for _, n := range []int{1000, 7} {
		require.Len(t, message(t, e.data).Data, n)
	}
}

func testSCTPSlowListener(t *testing.T, s *suite) {
	const size = 50_000
	total := 700 + 600*s.Pipes // 35 MB and 30 for each pipe: more than windows, pipes and Workers hold
	r := s.room(t)
	e := r.plainDataEnd(t, mafalda.PlainTransportOptions{})
	p := produceData(t, e.transport, mafalda.DataProducerOptions{SCTPStreamParameters: stream(1)})
	c := consumeData(t, r.direct(t), mafalda.DataConsumerOptions{DataProducerID: p.ID()})
	let := make(chan struct{})
	got := make(chan string, total)
	c.Events().Message.On(func(m mafalda.DataMessage) {
		<-let
		got <- string(m.Data[:4])
	})
	for i := range total {
		b := make([]byte, size)
		copy(b, fmt.Sprintf("%04d", i))
		require.NoError(t, e.data.Send(peer.Message{Stream: 1, PPID: 53, Data: b}))
	}
	received := func() uint64 {
		stats, err := p.Stats(t.Context())
		require.NoError(t, err)
		return stats[0].MessagesReceived
	}
	eventually(t, "the first messages", func() bool { return received() > 100 })
	last := received()
	for quiet := 0; quiet < 50 && !s.KeepsMessages; { // it stops
		now := received()
		if quiet++; now != last {
			quiet, last = 0, now
		}
		require.Less(t, now, uint64(total), "all came, though nobody took them")
	}
	close(let)
	for i := range total {
		require.Equal(t, fmt.Sprintf("%04d", i), receive(t, got, "a message"))
	}
}

func testSCTPConcurrent(t *testing.T, s *suite) {
	r := s.room(t)
	tr, direct := r.dataTransport(t), r.direct(t)
	p := produceData(t, direct, mafalda.DataProducerOptions{})
	var mu sync.Mutex
	open := map[uint16]bool{} // guarded by mu
	var wg sync.WaitGroup
	work := func(f func(i int)) {
		wg.Go(func() {
			for i := range 50 {
				f(i)
			}
		})
	}
	check := func(err error) {
		if err != nil && !errors.Is(err, mafalda.ErrClosed) && !errors.Is(err, mafalda.ErrNotFound) {
			t.Errorf("unexpected error: %v", err)
		}
	}
	ctx := t.Context()
	for range 4 {
		work(func(i int) {
			c, err := tr.ConsumeData(ctx, mafalda.DataConsumerOptions{DataProducerID: p.ID()})
			if check(err); err != nil {
				return
			}
			id := c.SCTPStreamParameters().StreamID
			mu.Lock()
			if open[id] {
				t.Errorf("stream %d is in use twice", id)
			}
			open[id] = true
			mu.Unlock()
			check(c.SetSubchannels(ctx, []uint16{uint16(i)}))
			_, err = c.Send(ctx, mafalda.TextMessage("x"))
			check(err)
			mu.Lock()
			delete(open, id)
			mu.Unlock()
			check(c.Close())
		})
	}
	work(func(int) { check(p.Send(mafalda.TextMessage("y"))) })
	work(func(int) {
		c, err := direct.ConsumeData(ctx, mafalda.DataConsumerOptions{DataProducerID: p.ID()})
		if check(err); err == nil {
			check(c.Close())
		}
	})
	work(func(i int) {
		q, err := tr.ProduceData(ctx, mafalda.DataProducerOptions{SCTPStreamParameters: stream(uint16(i))})
		if check(err); err == nil {
			check(q.Close())
		}
	})
	work(func(i int) {
		if i == 30 {
			check(p.Close())
		}
		if i == 45 {
			check(tr.Close())
		}
		_, err := tr.Dump(ctx)
		check(err)
	})
	wg.Wait()
	done(t, p)
	done(t, tr)
	require.Empty(t, direct.DataConsumers())
	d := dumpRouter(t, r.router)
	require.Empty(t, d.MapDataProducerIDDataConsumerIDs)
	require.Empty(t, d.MapDataConsumerIDDataProducerID)
}
