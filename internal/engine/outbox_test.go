package engine

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// slow returns an outbox whose listener waits for let, and what it got so far.
func slow(t *testing.T) (o *outbox, let chan struct{}, got func() []Notification) {
	o, let = newOutbox(), make(chan struct{})
	done := make(chan struct{})
	var list []Notification
	began := make(chan struct{})
	go func() { // ends with the outbox
		o.run(func(n Notification) {
			if len(list) == 0 {
				close(began)
				<-let
			}
			list = append(list, n)
		})
	}()
	o.put([]Notification{{Target: "first", Body: ICEStateChange{}}})
	<-began
	return o, let, func() []Notification {
		close(let)
		o.close(func() { close(done) })
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Fatal("the notifier does not end")
		}
		return list[1:]
	}
}

func TestOutboxCoalesces(t *testing.T) {
	o, _, got := slow(t)
	for i := range 100 {
		o.put([]Notification{
			{Seq: uint64(10 * i), Target: "a", Body: ProducerScoreChange{}},
			{Seq: uint64(10*i + 1), Target: "a", Body: ICEStateChange{State: fmt.Sprint(i)}},
			{Seq: uint64(10*i + 2), Target: "b", Body: ICEStateChange{State: fmt.Sprint(i)}},
			{Seq: uint64(10*i + 3), Target: "a", Body: Trace{}},
		})
	}
	kinds := map[outboxKey][]uint64{}
	for _, n := range got() {
		kinds[keyOf(n)] = append(kinds[keyOf(n)], n.Seq)
	}
	assert.Equal(t, []uint64{990}, kinds[outboxKey{"a", "score"}])
	for key, want := range map[outboxKey]int{{"a", "ice"}: maxSequence, {"b", "ice"}: maxSequence, {"a", "trace"}: maxTraces} {
		list := kinds[key]
		require.Len(t, list, want, "%v", key)
		for i := range list[1:] {
			assert.Equal(t, list[i]+10, list[i+1], "%v keeps the newest, in order", key)
		}
		assert.GreaterOrEqual(t, list[len(list)-1], uint64(990))
	}
}

// TestAbuseSlowListener floods a listener that does not return. The loop, which
// fills the outbox, must neither run out of memory nor become slow.
func TestAbuseSlowListener(t *testing.T) {
	const objects = 1000
	o, _, got := slow(t)
	began := time.Now()
	rounds := much(300, 5000)
	targets := make([]string, objects)
	for i := range targets {
		targets[i] = fmt.Sprint("object ", i)
	}
	seq := uint64(0)
	for range rounds {
		for i := range objects {
			seq += 4
			o.put([]Notification{
				{Seq: seq, Target: targets[i], Body: Trace{}},
				{Seq: seq + 1, Target: targets[i], Body: ProducerScoreChange{}},
				{Seq: seq + 2, Target: targets[i], Body: ConsumerRTP{}},
				{Seq: seq + 3, Target: targets[i], Body: DTLSStateChange{}},
			})
		}
	}
	each := time.Since(began) / time.Duration(4*rounds*objects)
	t.Log(each, "for each notification")
	require.Less(t, each, 20*time.Microsecond)
	const most = objects*(maxTraces+1+maxSequence) + maxStream
	o.mu.Lock()
	waiting := len(o.items)
	o.mu.Unlock()
	require.LessOrEqual(t, waiting, 2*most+minGone)
	list := got()
	require.LessOrEqual(t, len(list), most)
	packets, last := 0, uint64(0)
	for _, n := range list {
		if _, ok := n.Body.(ConsumerRTP); ok {
			packets++
			require.Greater(t, n.Seq, last, "packets keep their order")
			last = n.Seq
		}
	}
	require.Equal(t, maxStream, packets)
	require.Equal(t, seq+2, last, "the newest stay")
}
