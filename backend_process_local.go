package mafalda

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/mafalda-sfu/mafalda/internal/channel"
	"github.com/mafalda-sfu/mafalda/internal/engine"
)

var _ machine = (*channel.Call)(nil)

// maxProcessClose bounds the closing of something in a worker process, which
// has no context: a process that hangs must not hang its parent.
const maxProcessClose = 5 * time.Second

// A processBackend is a worker process that is driven over mediasoup's worker
// protocol.
type processBackend struct {
	*channel.Process
	filter *logFilter
}

var _ backend = processBackend{}

// startProcess starts the worker process of w.
func startProcess(ctx context.Context, w *worker, settings *WorkerSettings) (backend, error) {
	logger, filter := newWorkerLogger(settings)
	p, err := channel.StartProcess(ctx, channel.ProcessConfig{
		Binary: settings.WorkerBin,
		Args:   processArgs(settings),
		Notify: w.notify,
		Died:   w.die,
		Log:    func(line string) { logProcess(logger, line) },
	})
	if err != nil {
		return nil, err
	}
	return processBackend{p, filter}, nil
}

// processArgs returns the arguments of mediasoup-worker for the settings.
func processArgs(s *WorkerSettings) []string {
	first, last := s.portRange()
	args := []string{fmt.Sprintf("--rtcMinPort=%d", first), fmt.Sprintf("--rtcMaxPort=%d", last)}
	if s.LogLevel != "" {
		args = append(args, "--logLevel="+string(s.LogLevel))
	}
	for _, tag := range s.LogTags {
		args = append(args, "--logTags="+string(tag))
	}
	if s.DTLSCertificateFile != "" {
		args = append(args, "--dtlsCertificateFile="+s.DTLSCertificateFile, "--dtlsPrivateKeyFile="+s.DTLSPrivateKeyFile)
	}
	return args
}

func (b processBackend) kill(error) { b.Process.Kill() }

// logProcess logs a line of a worker's log, which it has filtered by its tags.
func logProcess(logger *slog.Logger, line string) {
	if line == "" {
		return
	}
	level := slog.LevelDebug
	switch line[0] {
	case 'W':
		level = slog.LevelWarn
	case 'E':
		level = slog.LevelError
	}
	logger.Log(context.Background(), level, line[1:])
}

func (b processBackend) do(ctx context.Context, f func(machine) error) ([]engine.Notification, error) {
	return b.Do(ctx, func(k *channel.Call) error { return f(k) })
}

// close is do for what closes something; the error says that it was gone.
func (b processBackend) close(f func(machine) error) []engine.Notification {
	ctx, cancel := context.WithTimeout(context.Background(), maxProcessClose)
	defer cancel()
	notes, _ := b.do(ctx, f)
	return notes
}

func (b processBackend) leave(_ string, f func(machine) error) []engine.Notification {
	return b.close(f)
}

func (b processBackend) updateSettings(ctx context.Context, s *WorkerUpdateableSettings) error {
	var tags []string
	if s.LogTags != nil {
		tags = make([]string, len(s.LogTags))
		for i, t := range s.LogTags {
			tags[i] = string(t)
		}
	}
	_, err := b.Do(ctx, func(k *channel.Call) error { return k.UpdateSettings(string(s.LogLevel), tags) })
	if err == nil {
		b.filter.set(s.LogLevel, s.LogTags)
	}
	return err
}
