package channel

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/engine"
)

// A listener that tries until there is room for its message hears that there will
// be none. Ended would have to wait for it.
func TestNoRoomAfterTheEnd(t *testing.T) {
	replies, worker := io.Pipe()
	var c *Client
	full, done := make(chan struct{}), make(chan struct{})
	errs := make(chan error, 2)
	first := true
	send := func() { errs <- c.InjectData("p", engine.DataMessage{PPID: 51, Data: []byte{1}}) }
	c = NewClient(ClientConfig{
		Requests: io.Discard, Replies: replies, Log: func(string) {}, Ended: func(error) { close(done) },
		Notify: func(engine.Notification) {
			if !first {
				return
			}
			first = false
			<-full
			send()
			worker.Close()
			<-c.Ended()
			send()
		},
	})
	for range 20 {
		c.box.Put(engine.Notification{Target: "c", Body: engine.DataConsumerMessage{Data: make([]byte, 1<<20)}})
	}
	close(full)
	<-done
	require.ErrorIs(t, <-errs, engine.ErrUnavailable)
	require.ErrorIs(t, <-errs, engine.ErrClosed)
}
