package engine

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestCrowd has a source and a pipe wait for a pipe that takes nothing: the source
// for as long as it takes, the pipe for a while.
func TestCrowd(t *testing.T) {
	w := newVirtualWorld(t)
	require.NoError(t, w.m.CreateRouter("r"))
	of := func(id string, port uint16) *association {
		_, err := w.m.CreatePipeTransport("r", PipeTransportOptions{
			ID: id, SCTP: &SCTPOptions{},
			ListenInfo: ListenInfo{Protocol: UDP, IP: netip.MustParseAddr("10.0.0.1"), Port: port},
		})
		require.NoError(t, err)
		return w.m.transports[id].sctp
	}
	full, pipe, source := of("full", 1000), of("pipe", 1001), of("source", 1002)
	pipe.t.crossing = &crossing{}
	stream := &SCTPStreamParameters{StreamID: 1, Ordered: new(true)}
	require.NoError(t, full.openOutbound(stream))
	fill := func(until func() bool) {
		for !until() {
			_, err := full.sctp.SendPatiently(1, 51, make([]byte, 100_000))
			require.NoError(t, err)
		}
	}
	delayed := func() { full.delay(source); full.delay(pipe) }

	fill(full.sctp.Crowded)
	delayed()
	require.Equal(t, []int{1, 0}, []int{source.holds, pipe.holds}, "a pipe goes on for a while")
	full.crowd.refuse(w.m, "p")
	require.True(t, w.m.refused.has("p"))
	fill(full.sctp.Jammed)
	delayed()
	delayed()
	require.Equal(t, []int{1, 1}, []int{source.holds, pipe.holds})
	w.advance(w.d.now + pipeWait + time.Second)
	require.Equal(t, []int{1, 0}, []int{source.holds, pipe.holds}, "and then goes on in spite of it")
	delayed()
	require.Equal(t, []int{1, 0}, []int{source.holds, pipe.holds})

	full.crowd.clear(w.m, true) // as if half had gone
	last := of("last", 1004)
	last.t.crossing = &crossing{}
	full.delay(last)
	require.True(t, full.crowd.late.Pending())
	require.NoError(t, w.m.CloseTransport("last"))
	require.False(t, full.crowd.late.Pending(), "who comes later waits as long")
	delayed()
	require.Equal(t, []int{1, 1}, []int{source.holds, pipe.holds})
	gone := of("gone", 1003)
	full.delay(gone)
	require.Len(t, full.crowd.peers, 2)
	require.NoError(t, w.m.CloseTransport("gone"))
	require.Equal(t, []*association{source}, full.crowd.peers, "who is closed is not kept")
	require.NoError(t, w.m.CloseTransport("full"))
	require.Equal(t, []int{0, 0}, []int{source.holds, pipe.holds})
	require.False(t, w.m.refused.has("p"))
	require.False(t, full.crowd.late.Pending())
}

// TestNoRoomAfterTheEnd: who tries until there is room hears that there will be none.
func TestNoRoomAfterTheEnd(t *testing.T) {
	for name, fill := range map[string]func(w *Worker){
		"listeners": func(w *Worker) { w.out.backlog.add(maxBacklog + 1) },
		"a pipe":    func(w *Worker) { w.refused.add("p") },
	} {
		w, _ := newTestWorker(t)
		fill(w)
		require.ErrorIs(t, w.InjectData("p", DataMessage{PPID: 51, Data: []byte{1}}), ErrUnavailable, name)
		w.Close()
		require.ErrorIs(t, w.InjectData("p", DataMessage{PPID: 51, Data: []byte{1}}), ErrClosed, name)
	}
}
