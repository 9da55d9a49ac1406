// Mediasoup-suite runs the compiled test suite of npm's mediasoup against a
// worker binary, unedited:
//
//	go run ./interop/mediasoup-suite              # builds cmd/mafalda-worker
//	go run ./interop/mediasoup-suite -n 3         # three runs in a row
//	go run ./interop/mediasoup-suite -worker BIN  # another binary
//	go run ./interop/mediasoup-suite -test 'pipeToRouter' -v
//
// It installs what package-lock.json pins (mediasoup itself, its test runner, a
// Node that is new enough) without running any of their scripts, writes the two
// DTLS files that the tests read and the package lacks, and prints one line for
// each file of tests. Its status is 0 when all tests ran and passed: nothing
// failed, nothing was skipped, none is missing.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/mafalda-sfu/mafalda/interop/npm"
)

func main() {
	var o options
	runs := flag.Int("n", 1, "how often to run")
	flag.StringVar(&o.worker, "worker", "", "worker binary; default: build cmd/mafalda-worker")
	flag.StringVar(&o.files, "file", "", "run the files only that match this regular expression")
	flag.StringVar(&o.tests, "test", "", "run the tests only that match this regular expression")
	flag.DurationVar(&o.timeout, "timeout", 10*time.Minute, "bound of a run")
	flag.BoolVar(&o.verbose, "v", false, "show why a test failed in full")
	flag.Parse()
	if flag.NArg() > 0 || *runs < 1 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Stdout, o, *runs)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "mediasoup-suite:", err)
		os.Exit(1)
	}
}

type options struct {
	worker       string
	files, tests string // regular expressions; empty: all
	timeout      time.Duration
	verbose      bool
}

// run installs, builds and runs the suite, and reports on w.
func run(ctx context.Context, w io.Writer, o options, runs int) error {
	module, err := npm.Module(ctx)
	if err != nil {
		return err
	}
	dir := filepath.Join(module, "interop", "mediasoup-suite")
	if err := npm.Install(ctx, dir); err != nil {
		return err
	}
	tests := filepath.Join(dir, "node_modules", "mediasoup", "node", "lib", "test")
	if err := unedited(tests); err != nil {
		return err
	}
	if err := writeDTLSFiles(filepath.Join(tests, "data")); err != nil {
		return err
	}
	temp, err := os.MkdirTemp("", "mediasoup-suite")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	if o.worker, err = npm.Worker(ctx, o.worker, temp); err != nil {
		return err
	}
	bad := 0
	for i := range runs {
		if runs > 1 {
			fmt.Fprintf(w, "run %d of %d\n", i+1, runs)
		}
		r, err := suite(ctx, dir, temp, o)
		if err != nil {
			return err
		}
		r.print(w, o.verbose)
		if r.problem(o.files == "" && o.tests == "") != "" {
			bad++
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d runs were not what they should be", bad, runs)
	}
	return nil
}
