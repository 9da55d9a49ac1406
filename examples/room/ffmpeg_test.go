package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/websocket"
)

// TestFFmpeg: examples/ffmpeg publishes a pattern, which a page gets, and
// records it; all that it left in the room goes with it.
func TestFFmpeg(t *testing.T) {
	for _, name := range []string{"ffmpeg", "ffprobe"} {
		if _, err := exec.LookPath(name); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	_, err := os.ReadFile("../ffmpeg/main.go") // a change of it makes a cached result void
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	command := func(name string, args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
		require.NoError(t, err, "%s", out)
		return string(out)
	}
	dir := t.TempDir()
	program, file := filepath.Join(dir, "program"), filepath.Join(dir, "out.webm")
	if runtime.GOOS == "windows" {
		program += ".exe"
	}
	command("go", "build", "-o", program, "../ffmpeg")

	s, web := newServer(t)
	page := open(t, web, "page")
	page.wait(func(m message) bool { return m.Type == "joined" })
	said := make(chan string, 1)
	programCtx, end := context.WithCancel(ctx)
	defer end()
	go func() { // ends with the program
		cmd := exec.CommandContext(programCtx, program, "-room", web.URL+"/lobby", "-record", file)
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // so that it ends its ffmpeg
		out, err := cmd.CombinedOutput()
		said <- fmt.Sprintf("%s%v %v", out, err, cmd.ProcessState)
	}()
	var offer message
	var peers []peerInfo
	page.wait(func(m message) bool { // in any order
		switch {
		case m.Type == "offer" && len(m.Tracks) == 2:
			offer = m
		case m.Type == "peers" && len(m.Peers) == 2:
			peers = m.Peers
		}
		return offer.Tracks != nil && peers != nil
	})
	require.Equal(t, peerInfo{ID: peers[1].ID, Name: "ffmpeg", Paused: map[string]bool{"mic": false, "camera": false}}, peers[1])
	for _, tr := range offer.Tracks {
		require.Equal(t, peers[1].ID, tr.Peer)
	}
	for range 2 {
		select {
		case track := <-page.tracks:
			require.NoError(t, track.SetReadDeadline(time.Now().Add(patience)))
			for range 10 {
				_, _, err := track.ReadRTP()
				require.NoError(t, err)
			}
		case <-time.After(patience):
			t.Fatal("no track")
		}
	}
	recorded := func() bool { // more than three seconds
		info, err := os.Stat(file)
		return err == nil && info.Size() > 400e3
	}
	require.Eventually(t, recorded, time.Minute, 10*time.Millisecond)
	end()
	page.wait(func(m message) bool { return m.Type == "peers" && len(m.Peers) == 1 })
	require.Regexp(t, "^The pattern goes to http.*\nRecording \"the pattern\" to .*\n.* exit status 0$", <-said)
	require.Eventually(t, func() bool { return len(s.worker.Routers()[0].Transports()) == 2 }, patience, time.Millisecond)

	// Decoded, not counted in the file.
	for stream, atLeast := range map[string]int{"v:0": 41, "a:0": 100} {
		out := command("ffprobe", "-v", "error", "-select_streams", stream, "-show_entries", "frame=pts_time", "-of", "csv=p=0", file)
		frames := strings.Count(out, "\n")
		t.Logf("%s: %d frames", stream, frames)
		require.GreaterOrEqual(t, frames, atLeast)
	}
	sums := command("ffmpeg", "-v", "error", "-i", file, "-map", "0:v", "-f", "framehash", "-hash", "crc32", "pipe:1")
	different := map[string]bool{}
	for line := range strings.Lines(sums) {
		different[line[strings.LastIndex(line, ",")+1:]] = true
	}
	require.Greater(t, len(different), 40, "the picture stands still")
	volume := command("ffmpeg", "-hide_banner", "-nostats", "-i", file, "-map", "0:a", "-af", "volumedetect", "-f", "null", "-")
	require.NotContains(t, volume, "max_volume: -91", "silence")
}

// TestProgram: what a program may ask for, and what it may not.
func TestProgram(t *testing.T) {
	s, web := newServer(t)
	join := func() (*websocket.Conn, message) {
		socket, err := websocket.Dial(strings.Replace(web.URL, "http", "ws", 1)+"/lobby/socket", "", web.URL)
		require.NoError(t, err)
		t.Cleanup(func() { socket.Close() })
		require.NoError(t, websocket.JSON.Send(socket, message{Type: "join", Plain: true}))
		return socket, await(t, socket, "joined")
	}
	good, joined := join()
	require.Len(t, joined.Streams, 2)
	for _, m := range []message{
		{Type: "publish", SDP: "v=0"}, {Type: "answer", SDP: "v=0"},
		{Type: "receive", Peer: joined.ID, Ports: []uint16{65535}}, {Type: "receive", Peer: joined.ID, Ports: []uint16{0}},
	} {
		bad, _ := join()
		require.NoError(t, websocket.JSON.Send(bad, m))
		require.NotEmpty(t, await(t, bad, "error").Error)
	}
	for range 3 {
		require.NoError(t, websocket.JSON.Send(good, message{Type: "receive", Peer: joined.ID, Ports: []uint16{9, 19}}))
		streams := await(t, good, "receiving").Streams
		require.Len(t, streams, 2)
		require.EqualValues(t, 20, streams[1].RTCPPort)
	}
	require.NoError(t, websocket.JSON.Send(good, message{Type: "receive", Peer: "nobody", Ports: []uint16{9, 19}}))
	require.Empty(t, await(t, good, "receiving").Streams)
	require.NoError(t, websocket.JSON.Send(good, message{Type: "receive", Peer: joined.ID, Ports: []uint16{9, 19}}))
	require.Contains(t, await(t, good, "error").Error, "too many")
	require.Eventually(t, func() bool { return len(s.worker.Routers()) == 0 }, patience, time.Millisecond)

	page := open(t, web, "page")
	page.wait(func(m message) bool { return m.Type == "joined" })
	page.send(message{Type: "receive", Peer: joined.ID, Ports: []uint16{9, 19}})
	page.wait(func(m message) bool { return m.Type == "error" })
}

// await returns the next message of a type.
func await(t *testing.T, socket *websocket.Conn, kind string) message {
	t.Helper()
	require.NoError(t, socket.SetReadDeadline(time.Now().Add(patience)))
	for {
		var m message
		require.NoError(t, websocket.JSON.Receive(socket, &m))
		if m.Type == kind {
			return m
		}
	}
}
