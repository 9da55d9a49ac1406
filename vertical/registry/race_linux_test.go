package registry

import (
	"bufio"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

var long = flag.Bool("long", false, "let processes race for longer")

const (
	asRacer  = "REGISTRY_RACER"
	patience = 10 * time.Second
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(asRacer); dir != "" {
		race(dir)
		return
	}
	os.Exit(m.Run())
}

// now is a time that all processes agree on.
func now() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic(err)
	}
	return ts.Nano()
}

// race takes the second of two CPUs again and again, and says when it had it:
// the first number is after it got it, the second before it gives it away. It
// ends with its input.
func race(dir string) {
	r, err := Open(dir)
	if err != nil {
		panic(err)
	}
	end := make(chan struct{})
	go func() { // ends with the process
		_, _ = os.Stdin.Read(make([]byte, 1))
		close(end)
	}()
	for {
		select {
		case <-end:
			return
		default:
		}
		release, err := r.Acquire(2)
		if err != nil {
			time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond) // any pace will do
			continue
		}
		fmt.Printf("have %d\n", now())
		time.Sleep(time.Duration(rand.IntN(1000)) * time.Microsecond) // any moment will do
		fmt.Printf("gone %d\n", now())
		release()
	}
}

// A racer is a process in race.
type racer struct {
	cmd   *exec.Cmd
	stop  func() error
	lines chan string // closed when it has ended
	times []int64     // of having and giving away, by turns
}

func startRacer(t *testing.T, dir string) *racer {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	p := &racer{cmd: exec.Command(exe), lines: make(chan string, 1<<16)}
	p.cmd.Env = append(os.Environ(), asRacer+"="+dir)
	p.cmd.Stderr = os.Stderr
	in, err := p.cmd.StdinPipe()
	require.NoError(t, err)
	p.stop = in.Close
	out, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	go func() { // ends with the process
		defer close(p.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	return p
}

// read takes a line, and reports false at the end of the process.
func (p *racer) read(t *testing.T) bool {
	t.Helper()
	select {
	case line, ok := <-p.lines:
		if !ok {
			return false
		}
		var what string
		var at int64
		_, err := fmt.Sscan(line, &what, &at)
		require.NoError(t, err, line)
		require.Equal(t, len(p.times)%2 == 0, strings.HasPrefix(line, "have"), line)
		p.times = append(p.times, at)
		return true
	case <-time.After(patience):
		t.Fatal("starved")
		return false
	}
}

// TestRaceForTheLastCPU has two processes fight for the second of two CPUs, and
// kills one: no instant sees both have it, and the other gets it again.
func TestRaceForTheLastCPU(t *testing.T) {
	rounds := 10
	if *long {
		rounds = 100
	}
	kept, turns := 0, 0 // killed while they had it
	for range rounds {
		dir := t.TempDir()
		r, err := Open(dir)
		require.NoError(t, err)
		release, err := r.Acquire(2)
		require.NoError(t, err)
		victim, other := startRacer(t, dir), startRacer(t, dir)
		for range 2 + rand.IntN(20) { // both run, and somewhere in the middle
			require.True(t, victim.read(t))
			require.True(t, other.read(t))
		}
		killed := now()
		require.NoError(t, victim.cmd.Process.Kill())
		for victim.read(t) {
		}
		_ = victim.cmd.Wait() // it was killed
		if len(victim.times)%2 == 1 {
			kept++
			victim.times = append(victim.times, max(killed, victim.times[len(victim.times)-1]))
		}
		for dead := now(); other.times[len(other.times)-1] < dead; {
			require.True(t, other.read(t), "the other one goes on")
		}
		require.NoError(t, other.stop())
		for other.read(t) {
		}
		require.NoError(t, other.cmd.Wait())
		release()
		turns += disjoint(t, victim.times, other.times)
	}
	t.Logf("%d rounds, %d turns, %d killed while they had it", rounds, turns, kept)
}

// disjoint checks that no two intervals overlap, and returns how many there are.
func disjoint(t *testing.T, a, b []int64) int {
	t.Helper()
	for i, j := 0, 0; i < len(a) && j < len(b); {
		if a[i] < b[j] {
			assert.LessOrEqual(t, a[i+1], b[j], "both had it")
			i += 2
		} else {
			assert.LessOrEqual(t, b[j+1], a[i], "both had it")
			j += 2
		}
	}
	return (len(a) + len(b)) / 2
}
