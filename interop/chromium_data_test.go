package interop

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
)

// received is what a page got on a data channel.
type received struct {
	Texts, InOrder, Bytes, Longest, Sum int
}

func (c *client) received(ctx context.Context, d mafalda.DataConsumer) (r received, err error) {
	err = c.do(ctx, "received", map[string]any{"id": d.ID()}, &r)
	return r, err
}

// sendData makes the page open a data channel, and a transport if it has none.
func (c *client) sendData(t testing.TB, ctx context.Context, options map[string]any) mafalda.DataProducer {
	t.Helper()
	if c.send == nil {
		c.send = c.transport(t, ctx, "send")
	}
	var produced struct{ ID string }
	require.NoError(t, c.do(ctx, "produceData", map[string]any{"transportId": c.send.ID(), "options": options}, &produced))
	for _, p := range c.send.DataProducers() {
		if p.ID() == produced.ID {
			return p
		}
	}
	t.Fatal("the page has a data producer that the transport has not")
	return nil
}

// receiveData makes the page consume messages, and a transport if it has none.
func (c *client) receiveData(t testing.TB, ctx context.Context, p mafalda.DataProducer) mafalda.DataConsumer {
	t.Helper()
	if c.recv == nil {
		c.recv = c.transport(t, ctx, "recv")
	}
	d, err := c.recv.ConsumeData(ctx, mafalda.DataConsumerOptions{DataProducerID: p.ID()})
	require.NoError(t, err)
	require.NoError(t, c.do(ctx, "consumeData", map[string]any{"transportId": c.recv.ID(), "options": map[string]any{
		"id": d.ID(), "dataProducerId": p.ID(), "sctpStreamParameters": d.SCTPStreamParameters(), "label": d.Label(), "protocol": d.Protocol(),
	}}, nil))
	until(t, ctx, "the data channel is open", func() (bool, error) {
		return c.recv.SCTPState() == mafalda.SCTPStateConnected, nil
	})
	return d
}

// dataChannels: a reliable channel loses nothing and keeps its order over a bad
// path, an unreliable one loses and keeps going.
func dataChannels(t *testing.T, ctx context.Context, pages pair) {
	r := newRoom(t)
	n, _ := newBadNetwork(t, r)
	n.options.EnableSCTP = true
	clear := network{options: n.options}
	a, b := r.join(t, ctx, pages.a, clear), r.join(t, ctx, pages.b, n) // the way down is bad
	reliable := a.sendData(t, ctx, map[string]any{"label": "reliable"})
	unreliable := a.sendData(t, ctx, map[string]any{"label": "unreliable", "ordered": false, "maxRetransmits": 0})
	sure, unsure := b.receiveData(t, ctx, reliable), b.receiveData(t, ctx, unreliable)
	const count = 1000
	for _, p := range []mafalda.DataProducer{reliable, unreliable} {
		require.NoError(t, a.do(ctx, "sendTexts", map[string]any{"dataProducerId": p.ID(), "count": count, "each": 5}, nil))
	}
	var got received
	until(t, ctx, "all messages came", func() (bool, error) {
		var err error
		got, err = b.received(ctx, sure)
		return got.Texts == count, err
	})
	require.Equal(t, count, got.InOrder)
	time.Sleep(2 * time.Second)
	some, err := b.received(ctx, unsure)
	require.NoError(t, err)
	figures("data channels with 5 %% loss: reliable %d of %d in order, unreliable %d", got.InOrder, count, some.Texts)
	require.Less(t, some.Texts, count)
	require.Greater(t, some.Texts, count*8/10)

	var sent struct{ Sum int }
	begin := time.Now()
	require.NoError(t, a.do(ctx, "sendBytes", map[string]any{"dataProducerId": reliable.ID(), "length": 200_000}, &sent))
	until(t, ctx, "the long message came", func() (bool, error) {
		var err error
		got, err = b.received(ctx, sure)
		return got.Bytes > 0, err
	})
	figures("data channels with 5 %% loss: a message of 200,000 bytes took %d ms", time.Since(begin).Milliseconds())
	require.Equal(t, 200_000, got.Longest)
	require.Equal(t, sent.Sum, got.Sum)
}
