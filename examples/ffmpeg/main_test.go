package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/websocket"
)

// The way of pictures through a room is tested in examples/room.

func TestNoFFmpeg(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	require.ErrorContains(t, run(t.Context(), "http://127.0.0.1:1/lobby", "", 0), "install it")
}

func TestJoin(t *testing.T) {
	for _, address := range []string{"", "127.0.0.1:3000/lobby", "http://127.0.0.1:3000", "http://127.0.0.1:3000/", "ftp://127.0.0.1/lobby"} {
		_, err := join(t.Context(), address)
		require.ErrorContains(t, err, "is no address", address)
	}
	_, err := join(t.Context(), "http://127.0.0.1:1/lobby")
	require.ErrorContains(t, err, "is examples/room running?")

	web := httptest.NewTLSServer(http.NewServeMux()) // with a certificate of its own
	defer web.Close()
	_, err = join(t.Context(), web.URL+"/lobby")
	require.ErrorContains(t, err, "bad status")
}

func TestAwait(t *testing.T) {
	web := httptest.NewServer(websocket.Handler(func(socket *websocket.Conn) {
		var m message
		_ = websocket.JSON.Receive(socket, &m)
		_ = websocket.JSON.Send(socket, m)
		_ = websocket.JSON.Send(socket, message{Type: "joined", ID: "1"})
		_ = websocket.JSON.Send(socket, message{Type: "error", Error: "no"})
	}))
	defer web.Close()
	socket, err := join(t.Context(), web.URL+"/lobby")
	require.NoError(t, err)
	defer socket.Close()
	g := &guest{socket: socket}
	joined, err := g.await("joined")
	require.NoError(t, err)
	require.Equal(t, "1", joined.ID)
	_, err = g.await("peers")
	require.EqualError(t, err, "the room says: no")
	_, err = g.await("peers")
	require.ErrorContains(t, err, "the room is gone")
}

func TestFreePorts(t *testing.T) {
	ports := freePorts(2)
	require.Len(t, ports, 2)
	for _, port := range ports {
		require.Zero(t, port%2)
		require.False(t, isOpen(port))
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(port)})
		require.NoError(t, err)
		require.True(t, isOpen(port))
		require.NoError(t, c.Close())
	}
}
