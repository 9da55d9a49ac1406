package mafalda

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/channel"
)

// asWorker is the variable that makes the test binary a worker process.
const asWorker = "MAFALDA_TEST_AS_WORKER"

// serveWorker is what cmd/mafalda-worker does.
func serveWorker() int {
	settings, err := channel.ParseArgs(os.Args[1:])
	if err == nil {
		requests, replies := lie(os.Getenv(asLiar), os.NewFile(3, "requests"), os.NewFile(4, "replies"))
		err = channel.Serve(context.Background(), channel.Config{
			Settings: settings, Requests: requests, Replies: replies, Stderr: os.Stderr, PID: os.Getpid(),
		})
	}
	switch {
	case err == nil, errors.Is(err, channel.ErrOrphaned):
		return 0
	case errors.Is(err, channel.ErrSettings):
		fmt.Fprintln(os.Stderr, err)
		return 42
	}
	fmt.Fprintln(os.Stderr, err)
	return 134
}

// A processSFU is an SFU whose Workers are processes.
type processSFU struct{ SFU }

var workerBin = flag.String("worker-bin", "", "`file` of the worker that processes run, instead of the tests themselves")

func (s processSFU) CreateWorker(ctx context.Context, settings WorkerSettings) (Worker, error) {
	var err error
	if settings.WorkerBin = *workerBin; settings.WorkerBin == "" {
		if settings.WorkerBin, err = os.Executable(); err != nil {
			return nil, err
		}
	}
	return s.SFU.CreateWorker(ctx, settings)
}

// NewProcessSFU is for the acceptance tests.
func NewProcessSFU() SFU { return processSFU{New()} }

func testProcess(t testing.TB) *worker {
	s := testSFU(t)
	w, err := processSFU{s}.CreateWorker(t.Context(), WorkerSettings{})
	require.NoError(t, err)
	return w.(*worker)
}

func TestWorkerProcess(t *testing.T) {
	w := testProcess(t)
	assert.NotEqual(t, os.Getpid(), w.PID())
	r := testRouter(t, w)
	d := testDirect(t, r)
	p := testProduce(t, d, audioOptions(1111))
	c := testConsume(t, r, d, p)

	// What a method causes is emitted before it returns.
	paused := 0
	c.Events().ProducerPause.On(func(struct{}) { paused++ })
	require.NoError(t, p.Pause(t.Context()))
	assert.Equal(t, 1, paused)
	assert.True(t, c.ProducerPaused())

	o := WebRTCTransportOptions{ListenInfos: []ListenInfo{udp()}}
	var err error
	o.DTLSCertificate, o.DTLSPrivateKey, err = GenerateDTLSCertificate()
	require.NoError(t, err)
	_, err = r.CreateWebRTCTransport(t.Context(), o)
	require.ErrorIs(t, err, errors.ErrUnsupported)

	dump, err := r.Dump(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{d.ID()}, dump.TransportIDs)
	require.NoError(t, p.Close())
	assert.True(t, c.Closed())
	require.NoError(t, w.Close())
	assert.False(t, w.Died())
}

func TestWorkerProcessDies(t *testing.T) {
	w := testProcess(t)
	r := testRouter(t, w)
	died := make(chan error, 1)
	w.Events().Died.On(func(err error) { died <- err })
	require.NoError(t, w.Kill(errors.New("x")))
	require.ErrorContains(t, wait(t, died, "death"), "killed")
	wait(t, w.Done(), "end")
	assert.True(t, w.Died())
	assert.True(t, r.Closed())
	_, err := w.CreateRouter(t.Context(), RouterOptions{})
	require.ErrorIs(t, err, ErrWorkerClosed)
}

func TestWorkerBin(t *testing.T) {
	_, err := New().CreateWorker(t.Context(), WorkerSettings{WorkerBin: "no-such-program"})
	require.ErrorIs(t, err, ErrUnavailable)
	bin, err := os.Executable()
	require.NoError(t, err)
	_, err = New().CreateWorker(t.Context(), WorkerSettings{
		WorkerBin: bin, DTLSCertificateFile: "no-such-file", DTLSPrivateKeyFile: "no-such-file",
	})
	require.ErrorIs(t, err, ErrInvalidArgument)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = New().CreateWorker(ctx, WorkerSettings{WorkerBin: bin})
	require.ErrorIs(t, err, context.Canceled)
}
