package mafalda

import (
	"context"
	"flag"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/channel/fbs"
	"github.com/mafalda-sfu/mafalda/internal/channel/verify"
)

// asLiar is the variable that makes a worker process one that lies: it says how.
const asLiar = "MAFALDA_TEST_AS_LIAR"

// A hanging reader never has anything.
type hanging struct{}

func (hanging) Read([]byte) (int, error) { select {} }

// lie replaces what a worker reads and writes, or does not return.
func lie(how string, requests io.Reader, replies io.Writer) (io.Reader, io.Writer) {
	kind, seed, _ := strings.Cut(how, ":")
	switch kind {
	case "exit":
		os.Exit(0)
	case "silent":
		io.Copy(io.Discard, requests)
		os.Exit(0)
	case "garbage":
		rng := rand.NewChaCha8([32]byte{1})
		b := make([]byte, 1<<16)
		rng.Read(b)
		b[3] = 0 // a frame of up to 16 MiB
		for {
			if _, err := replies.Write(b); err != nil {
				os.Exit(0)
			}
		}
	case "endless":
		b := []byte{0xf0, 0xff, 0x7f, 0}
		for {
			if _, err := replies.Write(b); err != nil {
				os.Exit(0)
			}
			b = make([]byte, 1<<16)
		}
	case "deaf":
		return hanging{}, replies
	case "mutate":
		n, _ := strconv.ParseUint(seed, 10, 64)
		return requests, &mutator{replies, rand.New(rand.NewPCG(n, 0)), 0}
	}
	return requests, replies
}

// A mutator changes bits of frames, so that they are frames still and answer the
// same requests. The first one it leaves alone.
type mutator struct {
	w   io.Writer
	rng *rand.Rand
	n   int
}

func (m *mutator) Write(frame []byte) (int, error) {
	if m.n++; m.n > 1 && m.rng.IntN(2) == 0 {
		for range 50 {
			c := append([]byte(nil), frame...)
			for range 1 + m.rng.IntN(4) {
				c[4+m.rng.IntN(len(c)-4)] ^= 1 << m.rng.IntN(8)
			}
			if verify.VerifyFromWorker(c[4:]) == nil && answers(c) == answers(frame) {
				frame = c
				break
			}
		}
	}
	return m.w.Write(frame)
}

// answers says what a frame is the answer to.
func answers(frame []byte) (a struct {
	id       uint32
	accepted bool
}) {
	if r, ok := fbs.GetRootAsMessage(frame, 4).UnPack().Data.Value.(*fbs.ResponseT); ok {
		a.id, a.accepted = r.Id, r.Accepted
	}
	return a
}

// TestLyingWorkerBin: whatever a worker process is, its parent lives on.
func TestLyingWorkerBin(t *testing.T) {
	bin, err := os.Executable()
	require.NoError(t, err)
	for how, want := range map[string]error{
		"exit": ErrUnavailable, "garbage": ErrUnavailable, "endless": ErrUnavailable, "silent": context.DeadlineExceeded,
	} {
		t.Run(how, func(t *testing.T) {
			t.Setenv(asLiar, how)
			ctx := t.Context()
			if want == context.DeadlineExceeded {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, 300*time.Millisecond)
				defer cancel()
			}
			_, err := testSFU(t).CreateWorker(ctx, WorkerSettings{WorkerBin: bin})
			require.ErrorIs(t, err, want)
		})
	}
	if p, err := exec.LookPath("true"); err == nil && runtime.GOOS == "linux" {
		_, err := testSFU(t).CreateWorker(t.Context(), WorkerSettings{WorkerBin: p})
		require.ErrorIs(t, err, ErrUnavailable)
	}
}

// TestDeafWorkerBin: a process that takes no requests holds up no call for longer
// than its context, and is gone after Close.
func TestDeafWorkerBin(t *testing.T) {
	t.Setenv(asLiar, "deaf")
	w := testProcess(t)
	var errs []chan error
	for range 20 {
		failed := make(chan error, 1)
		errs = append(errs, failed)
		go func() { // ends with its contexts
			var err error
			for range 50 { // more than the pipe takes
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
				_, err = w.CreateRouter(ctx, RouterOptions{MediaCodecs: testCodecs()})
				cancel()
			}
			failed <- err
		}()
	}
	for _, failed := range errs {
		require.ErrorIs(t, wait(t, failed, "end of the call"), context.DeadlineExceeded)
	}
	require.NoError(t, w.Close())
	require.False(t, w.Died())
}

// TestMutatingWorkerBin: answers and notifications that are well formed and not
// true do no harm but to their Worker.
func TestMutatingWorkerBin(t *testing.T) {
	rounds := 4
	if flag.Lookup("long").Value.String() == "true" { // of the other test package
		rounds = 200
	}
	calls := 0
	for seed := range rounds {
		t.Setenv(asLiar, "mutate:"+strconv.Itoa(seed))
		w := testProcess(t)
		for range 20 {
			if w.Closed() {
				break
			}
			calls += callAll(t, w)
		}
		require.NoError(t, w.Close())
	}
	assert.Greater(t, calls, 20*rounds)
}

// callAll calls what there is, and returns how many calls succeeded.
func callAll(t *testing.T, w Worker) (good int) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	did := func(err error) bool {
		if err != nil {
			return false
		}
		good++
		return true
	}
	do := func(f func(context.Context) error) { did(f(ctx)) }
	r, err := w.CreateRouter(ctx, RouterOptions{MediaCodecs: testCodecs()})
	if !did(err) {
		return good
	}
	var all []Transport
	add := func(tr Transport, err error) {
		if did(err) {
			all = append(all, tr)
		}
	}
	sctp := SCTPOptions{EnableSCTP: true}
	x, err := r.CreateWebRTCTransport(ctx, WebRTCTransportOptions{ListenInfos: []ListenInfo{udp()}, SCTPOptions: sctp})
	if add(x, err); err == nil {
		did(x.Connect(ctx, WebRTCTransportConnectOptions{DTLSParameters: DTLSParameters{
			Role: DTLSRoleClient, Fingerprints: x.DTLSParameters().Fingerprints,
		}}))
		_, err = x.RestartICE(ctx)
		did(err)
		x.ICEParameters()
		x.ICECandidates()
	}
	pl, err := r.CreatePlainTransport(ctx, PlainTransportOptions{ListenInfo: udp(), SCTPOptions: sctp})
	if add(pl, err); err == nil {
		did(pl.Connect(ctx, PlainTransportConnectOptions{IP: udp().IP, Port: 9}))
	}
	pi, err := r.CreatePipeTransport(ctx, PipeTransportOptions{ListenInfo: udp(), SCTPOptions: sctp})
	if add(pi, err); err == nil {
		did(pi.Connect(ctx, PipeTransportConnectOptions{IP: udp().IP, Port: 9}))
	}
	d, err := r.CreateDirectTransport(ctx, DirectTransportOptions{})
	add(d, err)
	level, err := r.CreateAudioLevelObserver(ctx, AudioLevelObserverOptions{})
	did(err)
	for _, tr := range all {
		do(func(ctx context.Context) error { return tr.EnableTraceEvent(ctx, TraceBWE) })
		p, err := tr.Produce(ctx, audioOptions(1111))
		if did(err) {
			_, err = p.Stats(ctx)
			did(err)
			_, err = p.Dump(ctx)
			did(err)
			do(p.Pause)
			do(p.Resume)
			if level != nil {
				did(level.AddProducer(ctx, p.ID()))
			}
			for _, to := range all {
				c, err := to.Consume(ctx, ConsumerOptions{ProducerID: p.ID(), RTPCapabilities: r.RTPCapabilities()})
				if !did(err) {
					continue
				}
				_, err = c.Stats(ctx)
				did(err)
				_, err = c.Dump(ctx)
				did(err)
				do(c.Pause)
				do(c.Resume)
				do(c.RequestKeyFrame)
			}
		}
		_, err = tr.Stats(ctx)
		did(err)
		_, err = tr.Dump(ctx)
		did(err)
	}
	_, err = r.Dump(ctx)
	did(err)
	_, err = w.Dump(ctx)
	did(err)
	_, err = w.ResourceUsage(ctx)
	did(err)
	did(w.UpdateSettings(ctx, WorkerUpdateableSettings{LogLevel: LogLevelNone}))
	did(r.Close())
	return good
}
