package mafalda

import (
	"context"
	"os"

	"github.com/mafalda-sfu/mafalda/internal/dtls"
	"github.com/mafalda-sfu/mafalda/internal/engine"
)

// An engineBackend is a loop in this process.
type engineBackend struct {
	*engine.Worker
	filter *logFilter
}

var _ backend = engineBackend{}

// startEngine starts the loop of w.
func startEngine(w *worker, settings *WorkerSettings) (backend, error) {
	certificate, err := certificateOf(settings)
	if err != nil {
		return nil, err
	}
	logger, filter := newWorkerLogger(settings)
	first, last := settings.portRange()
	e, err := engine.Start(engine.Config{
		Driver:      w.sfu.driver(),
		Certificate: certificate,
		Limiter:     handshakes(),
		RTCMinPort:  first,
		RTCMaxPort:  last,
		Notify:      w.notify,
		Died:        w.die,
		Logger:      logger,
	})
	if err != nil {
		return nil, err
	}
	return engineBackend{e, filter}, nil
}

// certificateOf returns the DTLS certificate that the settings name, or a new one.
func certificateOf(s *WorkerSettings) (*dtls.Certificate, error) {
	if s.DTLSCertificateFile == "" {
		return dtls.Generate(nil)
	}
	cert, err := os.ReadFile(s.DTLSCertificateFile)
	if err != nil {
		return nil, invalid("DTLS certificate: %v", err)
	}
	key, err := os.ReadFile(s.DTLSPrivateKeyFile)
	if err != nil {
		return nil, invalid("DTLS private key: %v", err)
	}
	c, err := dtls.Load(cert, key)
	if err != nil {
		return nil, invalid("%v", err)
	}
	return c, nil
}

func (b engineBackend) do(ctx context.Context, f func(machine) error) ([]engine.Notification, error) {
	return engine.Run(ctx, b.Worker, func(m *engine.Machine) error { return f(m) })
}

func (b engineBackend) close(f func(machine) error) []engine.Notification {
	notes, _ := b.do(context.Background(), f) // the error: the Worker, or a parent, was faster
	return notes
}

func (b engineBackend) leave(id string, f func(machine) error) []engine.Notification {
	notes, _ := engine.Close(b.Worker, id, func(m *engine.Machine) error { return f(m) })
	return notes
}

func (b engineBackend) updateSettings(_ context.Context, s *WorkerUpdateableSettings) error {
	b.filter.set(s.LogLevel, s.LogTags)
	return nil
}

func (b engineBackend) kill(reason error) {
	go func() { // ends with the loop, which ends by this
		_, _ = engine.Run(context.Background(), b.Worker, func(*engine.Machine) error { panic(reason) })
	}()
}

func (b engineBackend) PID() int { return os.Getpid() }
