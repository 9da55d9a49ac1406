package channel

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mafalda-sfu/mafalda/internal/engine"
)

// version is what a worker is told that it is of, in a variable that it needs.
const version = "3.27.1"

const (
	maxStart = 10 * time.Second // until a process says that it runs
	maxEnd   = 3 * time.Second  // from when it is told to close until it is killed
	maxTail  = 4 << 10          // bytes of its standard error that are kept
)

// exitSettings is how a worker ends that does not like its arguments.
const exitSettings = 42

// A Process is a worker in a process of its own, and its Client.
type Process struct {
	*Client
	cmd    *exec.Cmd
	pid    int
	stderr tail
	exited chan struct{} // closed when the process has ended
	err    error         // of that; read after exited
	stop   sync.Once
}

// ProcessConfig is what a worker process is started with.
type ProcessConfig struct {
	// Binary is the program; it is looked for like a command. Required.
	Binary string
	// Args are its arguments.
	Args []string
	// Notify and Log are those of [ClientConfig]. Required.
	Notify func(engine.Notification)
	Log    func(line string)
	// Died is called once, after the last Notify, when the process has ended
	// without Close. err says how. Required.
	Died func(err error)
}

// StartProcess starts a worker process and waits until it runs. It ends with
// Close, and when this process does: its channel is closed then. Errors:
// [engine.ErrInvalidArgument] when it does not like its arguments,
// [engine.ErrUnavailable] when it does not start, that of ctx.
func StartProcess(ctx context.Context, cfg ProcessConfig) (*Process, error) {
	requests, toWorker, err := os.Pipe()
	if err != nil {
		return nil, unavailable(err)
	}
	defer requests.Close()
	fromWorker, replies, err := os.Pipe()
	if err != nil {
		toWorker.Close()
		return nil, unavailable(err)
	}
	defer replies.Close()
	p := &Process{cmd: exec.Command(cfg.Binary, cfg.Args...), exited: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), "MEDIASOUP_VERSION="+version)
	p.cmd.ExtraFiles = []*os.File{requests, replies} // 3 and 4
	p.cmd.Stderr = &p.stderr
	p.cmd.WaitDelay = time.Second // something that it started may keep standard error open
	if err := p.cmd.Start(); err != nil {
		toWorker.Close()
		fromWorker.Close()
		return nil, unavailable(err)
	}
	go func() { // ends with the process
		p.err = p.cmd.Wait()
		close(p.exited)
	}()
	started := make(chan bool, 1) // gets whether StartProcess succeeds
	p.Client = NewClient(ClientConfig{
		Requests: toWorker, Replies: fromWorker, Notify: cfg.Notify, Log: cfg.Log,
		Ended: func(err error) {
			toWorker.Close() // it ends without it, if it has not yet
			p.end()
			fromWorker.Close()
			closed := false
			p.stop.Do(func() { closed = true }) // the first: nobody has closed it
			if <-started && closed {
				cfg.Died(p.death(err))
			}
		},
	})
	err = p.start(ctx)
	if err != nil {
		p.stop.Do(func() {})
		p.Kill()
	}
	started <- err == nil
	if err != nil {
		<-p.exited
		return nil, err
	}
	return p, nil
}

func unavailable(err error) error {
	return fmt.Errorf("worker process: %w: %w", err, engine.ErrUnavailable)
}

// start waits until the process runs.
func (p *Process) start(ctx context.Context) error {
	late := time.NewTimer(maxStart)
	defer late.Stop()
	select {
	case pid := <-p.Running():
		p.pid = p.cmd.Process.Pid
		if n, err := strconv.Atoi(pid); err == nil {
			p.pid = n
		}
		return nil
	case <-p.exited:
		if p.cmd.ProcessState.ExitCode() == exitSettings {
			return fmt.Errorf("worker process: %s: %w", p.stderr.String(), engine.ErrInvalidArgument)
		}
		return unavailable(fmt.Errorf("%s%s", p.state(), p.stderr.suffix()))
	case <-late.C:
		return unavailable(errors.New("does not say that it runs"))
	case <-ctx.Done():
		return ctx.Err()
	}
}

// PID returns the id of the process, as the worker says.
func (p *Process) PID() int { return p.pid }

// Close tells the worker to close and waits until the process has ended, which
// it helps along after a while.
func (p *Process) Close() {
	p.stop.Do(func() {})
	told := make(chan struct{})
	go func() { // ends with the process, at the latest
		p.Client.Close()
		close(told)
	}()
	p.end()
	<-told
}

// end waits until the process has ended, and kills it when that takes too long.
func (p *Process) end() {
	late := time.NewTimer(maxEnd)
	defer late.Stop()
	select {
	case <-p.exited:
	case <-late.C:
		p.Kill()
		<-p.exited
	}
}

// Kill ends the process at once, if it has not ended.
func (p *Process) Kill() { _ = p.cmd.Process.Kill() } // the error: it has

// death says how the process ended, and why its channel did.
func (p *Process) death(err error) error {
	text := "worker process ended: " + p.state() + p.stderr.suffix()
	if errors.Is(err, io.EOF) {
		return errors.New(text)
	}
	return fmt.Errorf("%s: %w", text, err)
}

// state says how the process ended. It is called after exited.
func (p *Process) state() string {
	if p.cmd.ProcessState == nil {
		return fmt.Sprint(p.err)
	}
	return p.cmd.ProcessState.String()
}

// A tail keeps the end of what is written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte // guarded by mu
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	if n := len(t.buf) - maxTail; n > 0 {
		t.buf = append([]byte(nil), t.buf[n:]...)
	}
	return len(b), nil
}

// String returns the last line, which is what it ended of.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	last := ""
	for s := bufio.NewScanner(strings.NewReader(string(t.buf))); s.Scan(); {
		if line := strings.TrimSpace(s.Text()); line != "" {
			last = line
		}
	}
	return last
}

// suffix returns String after a colon, if there is anything.
func (t *tail) suffix() string {
	if s := t.String(); s != "" {
		return ": " + s
	}
	return ""
}
