//go:build unix

package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	flatbuffers "github.com/google/flatbuffers/go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/channel"
	"github.com/mafalda-sfu/mafalda/internal/channel/fbs"
)

// asWorker makes the test binary a worker.
const asWorker = "MAFALDA_TEST_AS_WORKER"

func TestMain(m *testing.M) {
	if os.Getenv(asWorker) != "" {
		os.Exit(run())
	}
	os.Exit(m.Run())
}

const patience = 20 * time.Second

// A process is a worker in a process of its own.
type process struct {
	t        *testing.T
	cmd      *exec.Cmd
	requests *os.File
	frames   *channel.FrameReader
	stderr   bytes.Buffer
}

// spawn starts a worker. Without version its variable is missing.
func spawn(t *testing.T, version bool, args ...string) *process {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	p := &process{t: t, cmd: exec.Command(exe, args...)}
	fd3, requests, err := os.Pipe()
	require.NoError(t, err)
	replies, fd4, err := os.Pipe()
	require.NoError(t, err)
	p.requests, p.frames = requests, channel.NewFrameReader(replies)
	p.cmd.ExtraFiles = []*os.File{fd3, fd4}
	p.cmd.Stderr = &p.stderr
	p.cmd.Env = []string{asWorker + "=1", "GOCOVERDIR=" + t.TempDir()} // a test binary with coverage warns without
	if version {
		p.cmd.Env = append(p.cmd.Env, "MEDIASOUP_VERSION=3.27.1")
	}
	require.NoError(t, p.cmd.Start())
	fd3.Close()
	fd4.Close()
	require.NoError(t, replies.SetReadDeadline(time.Now().Add(patience)))
	kill := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() }) // the error is that it ended
	t.Cleanup(func() {
		kill.Stop()
		_ = p.cmd.Process.Kill()
		requests.Close()
		replies.Close()
	})
	return p
}

// running reads the first message.
func (p *process) running() {
	p.t.Helper()
	frame, err := p.frames.Next()
	require.NoError(p.t, err, "%s", &p.stderr)
	n := fbs.GetSizePrefixedRootAsMessage(frame, 0).UnPack().Data.Value.(*fbs.NotificationT)
	assert.Equal(p.t, fbs.EventWORKER_RUNNING, n.Event)
	assert.Equal(p.t, strconv.Itoa(p.cmd.Process.Pid), n.HandlerId)
}

// exits waits for the end and its status.
func (p *process) exits(code int) {
	p.t.Helper()
	err := p.cmd.Wait()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		require.NoError(p.t, err)
	}
	require.Equal(p.t, code, p.cmd.ProcessState.ExitCode(), "%v %s", p.cmd.ProcessState, &p.stderr)
}

func TestVersionMissing(t *testing.T) {
	p := spawn(t, false)
	p.exits(exitVersion)
	assert.Contains(t, p.stderr.String(), "MEDIASOUP_VERSION")
}

func TestWrongSettings(t *testing.T) {
	for name, args := range map[string][]string{
		"option":      {"--chicken=1"},
		"log level":   {"--logLevel=chicken"},
		"ports":       {"--rtcMinPort=1000", "--rtcMaxPort=999"},
		"certificate": {"--dtlsCertificateFile=missing.pem", "--dtlsPrivateKeyFile=missing.pem"},
	} {
		t.Run(name, func(t *testing.T) {
			p := spawn(t, true, args...)
			p.exits(exitSettings)
			assert.NotEmpty(t, p.stderr.String())
		})
	}
}

func TestToldToClose(t *testing.T) {
	p := spawn(t, true, "--logLevel=none", "--logTag=ice")
	p.running()
	b := flatbuffers.NewBuilder(0)
	b.FinishSizePrefixed((&fbs.MessageT{Data: &fbs.MessageBodyT{
		Type: fbs.MessageBodyNotification, Value: &fbs.NotificationT{Event: fbs.EventWORKER_CLOSE},
	}}).Pack(b))
	_, err := p.requests.Write(b.FinishedBytes())
	require.NoError(t, err)
	p.exits(0)
	assert.Empty(t, p.stderr.String())
}

func TestOrphan(t *testing.T) {
	p := spawn(t, true)
	p.running()
	p.requests.Close()
	p.exits(0)
	assert.NotEmpty(t, p.stderr.String())
}

func TestGarbage(t *testing.T) {
	p := spawn(t, true)
	p.running()
	_, err := p.requests.Write([]byte{0xff, 0xff, 0xff, 0xff})
	require.NoError(t, err)
	p.exits(exitChannel)
	assert.NotEmpty(t, p.stderr.String())
}

func TestSignals(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(s.String(), func(t *testing.T) {
			p := spawn(t, true)
			p.running()
			for _, ignored := range []syscall.Signal{syscall.SIGPIPE, syscall.SIGHUP, syscall.SIGALRM, syscall.SIGUSR1, syscall.SIGUSR2} {
				require.NoError(t, p.cmd.Process.Signal(ignored))
			}
			require.NoError(t, p.cmd.Process.Signal(s))
			p.exits(0)
			assert.Empty(t, p.stderr.String())
		})
	}
}
