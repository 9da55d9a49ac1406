package interop

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/interop/npm"
)

// TestExampleRoom: two people use the room of examples/room, as its users do, on
// two Workers.
func TestExampleRoom(t *testing.T) {
	needPrograms(t, "chromium")
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	url := startRoom(t, ctx)
	ann := openWindow(t, ctx, url+"/lobby?name=Ann&join=camera")
	ann.untilTrue(t, ctx, "Ann is alone", `!document.getElementById('alone').hidden`)
	bob := openWindow(t, ctx, url+"/lobby?name=Bob")
	bob.untilTrue(t, ctx, "Bob sees the lobby", `!document.getElementById('lobby').hidden`)
	bob.does(t, `document.getElementById('without').click()`)

	// plays is that the picture of somebody moves, and that it is not the avatar.
	plays := func(of string) string {
		return fmt.Sprintf(`await (async () => {
			const tile = [...document.querySelectorAll('.tile')].find(x => x.querySelector('.name').textContent === '%s')
			if (!tile || !tile.querySelector('.avatar').hidden) return false
			const frames = () => tile.querySelector('video').getVideoPlaybackQuality().totalVideoFrames
			const before = frames()
			await new Promise(done => setTimeout(done, 500))
			return frames() > before + 2
		})()`, of)
	}
	see := func() {
		t.Helper()
		ann.untilTrue(t, ctx, "Ann sees Bob", plays("Bob"))
		bob.untilTrue(t, ctx, "Bob sees Ann", plays("Ann"))
	}
	see()
	bob.untilTrue(t, ctx, "both Workers serve the room", `await fetch('/workers/usage').then(x => x.json())
		.then(u => u.pipes > 0 && u.workers.length === 2 && u.workers.every(w => w.transports > 0))`)

	bob.does(t, `document.getElementById('chat').click()`)
	ann.does(t, `document.getElementById('line').value = 'hello Bob'; document.getElementById('write').requestSubmit()`)
	bob.untilTrue(t, ctx, "Bob reads what Ann wrote", `document.getElementById('lines').innerText.includes('hello Bob')`)

	const mute = `[...document.querySelectorAll('.tile .name')].find(x => x.textContent === 'Ann')?.querySelector('svg')`
	bob.untilTrue(t, ctx, "Ann may be heard", "!"+mute)
	ann.does(t, `document.getElementById('mic').click()`)
	bob.untilTrue(t, ctx, "Bob sees that Ann is mute", mute)
	ann.does(t, `window.before = true; location.reload()`)
	ann.untilTrue(t, ctx, "Ann's page is another one", `!window.before && document.readyState === 'complete'`)
	see()
	bob.untilTrue(t, ctx, "Ann is still mute", mute)

	ann.does(t, `document.getElementById('leave').click()`)
	bob.untilTrue(t, ctx, "Bob is alone", `!document.getElementById('alone').hidden`)
}

// startRoom runs examples/room and returns where it is.
func startRoom(t *testing.T, ctx context.Context) (url string) {
	t.Helper()
	module, err := npm.Module(ctx)
	require.NoError(t, err)
	program := filepath.Join(t.TempDir(), "room")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "./examples/room")
	build.Dir = module
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	var printed tail
	// A registry of its own, since others may use the CPUs meanwhile.
	p := start(t, &printed, "env", "XDG_RUNTIME_DIR="+t.TempDir(), program, "-addr", "127.0.0.1:0",
		"-workers", "2", "-policy", "spread", "-media-port", fmt.Sprint(twoPorts(t)))
	until(t, ctx, "the room tells its address", func() (bool, error) {
		before, _, ok := strings.Cut(printed.String(), "/lobby")
		if i := strings.LastIndex(before, "http://"); ok && i >= 0 {
			url = before[i:]
		}
		return url != "", p.running()
	})
	return url
}

// twoPorts returns a port that is free on all addresses, like the one above it.
func twoPorts(t *testing.T) int {
	t.Helper()
	free := func(port int) (got int) {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{Port: port})
		if err != nil {
			return 0
		}
		defer c.Close()
		got = c.LocalAddr().(*net.UDPAddr).Port
		l, err := net.ListenTCP("tcp4", &net.TCPAddr{Port: got})
		if err != nil {
			return 0
		}
		l.Close()
		return got
	}
	for range 100 {
		if first := free(0); first != 0 && first < 65535 && free(first+1) != 0 {
			return first
		}
	}
	t.Fatal("no two ports are free")
	return 0
}
