// Mafalda-worker is a drop-in for the mediasoup-worker of mediasoup 3.27.1: a
// process with one Worker, which the npm package mediasoup starts when the
// variable MEDIASOUP_WORKER_BIN, or the setting workerBin, names it.
//
// It reads requests from file descriptor 3, writes to 4, and ends when it is
// told to, on SIGINT or SIGTERM, and when descriptor 3 ends because its parent
// did. Arguments are those of mediasoup-worker:
//
//	--logLevel=debug|warn|error|none    default error
//	--logTags=TAG                       repeatable
//	--rtcMinPort=N --rtcMaxPort=N       default 10000 and 59999
//	--dtlsCertificateFile=PEM --dtlsPrivateKeyFile=PEM
//	--libwebrtcFieldTrials=TEXT         ignored
//
// Exit codes: 0 closed, 40 descriptors 3 and 4 can't be used or were broken, 41
// the variable MEDIASOUP_VERSION is not set, 42 wrong arguments, 134 died.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/mafalda-sfu/mafalda/internal/channel"
)

const (
	exitChannel  = 40
	exitVersion  = 41
	exitSettings = 42
	exitDied     = 134
)

func main() { os.Exit(run()) }

func run() int {
	if _, ok := os.LookupEnv("MEDIASOUP_VERSION"); !ok {
		complain("MEDIASOUP_VERSION is not set: mediasoup starts this program")
		return exitVersion
	}
	settings, err := channel.ParseArgs(os.Args[1:])
	if err != nil {
		complain(err)
		return exitSettings
	}
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.NumCPU() + 1 + 4) // so that nothing delays the loop
	}
	ignoreSignals()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err = channel.Serve(ctx, channel.Config{
		Settings: settings,
		Requests: os.NewFile(3, "requests"),
		Replies:  os.NewFile(4, "replies"),
		Stderr:   os.Stderr,
		PID:      os.Getpid(),
	})
	switch {
	case err == nil:
		return 0
	case errors.Is(err, channel.ErrSettings):
		complain(err)
		return exitSettings
	case errors.Is(err, channel.ErrOrphaned): // the usual end of who lost its parent
		complain(err)
		return 0
	case errors.Is(err, channel.ErrDied):
		complain(err)
		return exitDied
	}
	complain(err)
	return exitChannel
}

func complain(what any) { fmt.Fprintf(os.Stderr, "mafalda-worker: %v\n", what) }
