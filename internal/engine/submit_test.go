package engine

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// replies are what an outbox hands on, as short words.
func replies(list []Notification) []string {
	var out []string
	for _, n := range list {
		switch b := n.Body.(type) {
		case Reply:
			out = append(out, "reply "+b.Tag.(string))
		case ProducerScoreChange:
			out = append(out, "score "+n.Target)
		case ConsumerProducerPause:
			out = append(out, "pause "+n.Target)
		case ConsumerRTP:
			out = append(out, "packet")
		}
	}
	return out
}

// What an operation led to is neither replaced nor moved, whatever comes before
// and after it.
func TestOutboxKeepsReplies(t *testing.T) {
	o, _, got := slow(t)
	score := func(id string) Notification { return Notification{Target: id, Body: ProducerScoreChange{}} }
	o.put([]Notification{score("p"), {Body: ConsumerRTP{}}})
	o.putAll(Notification{Body: Reply{Tag: "1"}}, []Notification{score("p"), {Target: "c", Body: ConsumerProducerPause{}}})
	o.put([]Notification{score("p"), score("p"), {Body: ConsumerRTP{}}})
	o.putAll(Notification{Body: Reply{Tag: "2"}}, nil)
	o.put([]Notification{score("p")})
	assert.Equal(t, []string{
		"score p", "packet", "reply 1", "score p", "pause c", "score p", "packet", "reply 2", "score p",
	}, replies(got()))
}

// Replies stay when the outbox throws out what was dropped.
func TestOutboxCleansAroundReplies(t *testing.T) {
	o, _, got := slow(t)
	for range maxStream {
		o.put([]Notification{{Body: ConsumerRTP{}}})
	}
	o.putAll(Notification{Body: Reply{Tag: "1"}}, []Notification{{Target: "c", Body: ConsumerProducerPause{}}})
	for range 3 * maxStream {
		o.put([]Notification{{Body: ConsumerRTP{}}})
	}
	var packets int
	var rest []string
	for _, s := range replies(got()) {
		if s == "packet" {
			packets++
		} else {
			rest = append(rest, s)
		}
	}
	assert.Equal(t, maxStream, packets)
	assert.Equal(t, []string{"reply 1", "pause c"}, rest)
}

func TestSubmit(t *testing.T) {
	w, got := newTestWorker(t)
	next := func() Notification {
		select {
		case n := <-got:
			return n
		case <-time.After(10 * time.Second):
			t.Fatal("nothing came")
			return Notification{}
		}
	}
	wrong := errors.New("wrong")
	require.True(t, w.Submit("a", func(m *Machine) (any, error) {
		m.notify("x", ConsumerProducerPause{})
		return 1, nil
	}))
	require.True(t, w.Submit("b", func(*Machine) (any, error) { return nil, wrong }))
	assert.Equal(t, Reply{"a", 1, nil}, next().Body)
	assert.Equal(t, ConsumerProducerPause{}, next().Body)
	assert.Equal(t, Reply{"b", nil, wrong}, next().Body)

	_, notes, err := Do(context.Background(), w, func(*Machine) (int, error) { return 0, nil })
	require.NoError(t, err)
	assert.Empty(t, notes, "they went with the reply")
	w.Leave("nobody")
	w.Close()
	require.False(t, w.Submit("c", nil))
	select {
	case <-w.Told():
	case <-time.After(10 * time.Second):
		t.Fatal("the notifier does not end")
	}
}
