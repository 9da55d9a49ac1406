package sctp

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMessages(t *testing.T) {
	x, y := pair(t, Config{}, Config{})
	y.openIn(7, ordered)
	x.openOut(7, ordered)
	for i, ppid := range []uint32{51, 53, 56, 57, 50, 1000} {
		n, err := x.write(7, ppid, []byte{byte(i)})
		require.NoError(t, err)
		require.Zero(t, n)
		m := y.message()
		require.Equal(t, Event{Kind: Message, Stream: 7, PPID: ppid, Data: []byte{byte(i)}}, m)
	}
	y.openOut(7, ordered)
	x.openIn(7, ordered)
	big := make([]byte, 200000)
	_, err := y.write(7, 53, big)
	require.NoError(t, err)
	require.Equal(t, big, x.message().Data)
}
