package interop

import (
	"bytes"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A process is a program that a test started. It ends with the test, and with
// this process whatever ends that.
type process struct {
	cmd    *exec.Cmd
	stderr tail
	exited chan struct{}
	err    error // of Wait; nil or read after exited
}

// start starts a program. When the test fails the end of what it wrote to
// standard error is logged. stdout may be nil.
func start(t *testing.T, stdout io.Writer, name string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(name, args...), exited: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = stdout, &p.stderr
	p.cmd.WaitDelay = 2 * time.Second
	ownGroup(p.cmd)
	started := make(chan error)
	go func() { // ends with the program
		lockThread() // which the program's life depends on
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.err = p.cmd.Wait()
			close(p.exited)
		}
	}()
	require.NoError(t, <-started)
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s %s\nwrote:\n%s", name, strings.Join(args, " "), p.stderr.String())
		}
	})
	return p
}

// kill ends the program and what it started, and waits for it.
func (p *process) kill() {
	select {
	case <-p.exited:
	default:
		killGroup(p.cmd)
		<-p.exited
	}
}

// running returns an error when the program has ended.
func (p *process) running() error {
	select {
	case <-p.exited:
		return fmt.Errorf("%s ended: %w", p.cmd.Path, p.err)
	default:
		return nil
	}
}

// A tail keeps the last of what is written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte // guarded by mu
}

func (w *tail) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buf = append(w.buf, b...)
	if n := len(w.buf) - 8192; n > 0 {
		w.buf = append([]byte(nil), w.buf[n:]...)
	}
	return len(b), nil
}

func (w *tail) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(bytes.ToValidUTF8(w.buf, []byte("?")))
}
