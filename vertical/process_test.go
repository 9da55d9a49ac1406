package vertical_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/internal/channel"
)

// asWorker is the variable that makes the test binary a worker process.
const asWorker = "VERTICAL_TEST_AS_WORKER"

// serveWorker is what cmd/mafalda-worker does.
func serveWorker() int {
	settings, err := channel.ParseArgs(os.Args[1:])
	if err == nil {
		err = channel.Serve(context.Background(), channel.Config{
			Settings: settings, Requests: os.NewFile(3, "requests"), Replies: os.NewFile(4, "replies"),
			Stderr: os.Stderr, PID: os.Getpid(),
		})
	}
	switch {
	case err == nil, errors.Is(err, channel.ErrOrphaned):
		return 0
	case errors.Is(err, channel.ErrSettings):
		return 42
	}
	fmt.Fprintln(os.Stderr, err)
	return 134
}

// A processSFU is an SFU whose Workers are processes.
type processSFU struct{ mafalda.SFU }

func (s processSFU) CreateWorker(ctx context.Context, settings mafalda.WorkerSettings) (mafalda.Worker, error) {
	var err error
	if settings.WorkerBin, err = os.Executable(); err != nil {
		return nil, err
	}
	return s.SFU.CreateWorker(ctx, settings)
}

// inProcesses are the cases that an SFU can't pass whose real Workers are processes,
// and shared.
var inProcesses = map[string]string{
	"DTLS/WorkerCertificate": "a process has one certificate, and several virtual Workers",
	"SCTP/SlowListener":      "what comes out of a pipe of data too fast is dropped there, as by mediasoup's",
}

// Where real Workers are processes their pipes take UDP.
func TestAcceptanceOverProcesses(t *testing.T) {
	accept(t, 2, 1, func() mafalda.SFU { return processSFU{mafalda.New()} }, inProcesses)
}
