package engine

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A Mailbox hands on what it took, in order, and then calls last.
func TestMailbox(t *testing.T) {
	var got []any
	last := make(chan struct{})
	m := NewMailbox(func(n Notification) { got = append(got, n.Body) })
	m.Put(Notification{Target: "a", Body: ConsumerProducerPause{}}, Notification{Target: "a", Body: ConsumerProducerResume{}})
	m.Close(func() { close(last) })
	<-last
	assert.Equal(t, []any{ConsumerProducerPause{}, ConsumerProducerResume{}}, got)
}

// It is full at a bound, and takes no more at another.
func TestMailboxFull(t *testing.T) {
	release, last := make(chan struct{}), make(chan struct{})
	taken := 0
	m := NewMailbox(func(Notification) { <-release; taken++ })
	message := Notification{Target: "a", Body: DataConsumerMessage{Data: make([]byte, 1<<20)}}
	put, full := 0, 0
	for ; m.Put(message); put++ {
		require.Less(t, put, 1000)
		if !m.Full() {
			full++
		}
	}
	assert.InDelta(t, maxBacklog>>20, full, 1)
	assert.InDelta(t, hardBacklog>>20, put, 1)
	close(release)
	m.Close(func() { close(last) })
	<-last
	assert.Equal(t, put, taken)
}
