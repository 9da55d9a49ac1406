// Vectors runs the recorders of shared/vectors against a worker binary and
// compares what they record with what they recorded of mediasoup's own worker:
//
//	go run ./interop/vectors               # builds cmd/mafalda-worker
//	go run ./interop/vectors -worker BIN
//	go run ./interop/vectors -only control -match '^03-' -v
//
// The recorders stand beside the checkout, in ../shared/vectors. Differences
// that are known stand in known.txt, each with its reason. The status is 0 when
// there are no others and each of those was seen.
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"github.com/mafalda-sfu/mafalda/interop/npm"
)

//go:embed known.txt
var knownText string

type options struct {
	worker, shared string
	only           string // "control", "media" or both
	match          string // of scenarios
	jobs, slack    int
	verbose        bool
}

func main() {
	var o options
	flag.StringVar(&o.worker, "worker", "", "worker binary; default: build cmd/mafalda-worker")
	flag.StringVar(&o.shared, "shared", "", "folder with the recorders; default: ../shared/vectors beside the module")
	flag.StringVar(&o.only, "only", "", "control or media; default: both")
	flag.StringVar(&o.match, "match", "", "scenarios that match this regular expression only; known differences may be missing then")
	flag.IntVar(&o.jobs, "jobs", 10, "media scenarios at a time")
	flag.IntVar(&o.slack, "slack", 150, "ms by which media may come at another time")
	flag.BoolVar(&o.verbose, "v", false, "show known differences too")
	flag.Parse()
	if flag.NArg() > 0 || o.only != "" && o.only != "control" && o.only != "media" {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Stdout, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "vectors:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, w io.Writer, o options) error {
	known, err := parseKnown(knownText)
	if err != nil {
		return err
	}
	match, err := regexp.Compile(o.match)
	if err != nil {
		return err
	}
	module, err := npm.Module(ctx)
	if err != nil {
		return err
	}
	if o.shared == "" {
		o.shared = filepath.Join(module, "..", "shared", "vectors")
	}
	if _, err := os.Stat(filepath.Join(o.shared, "control", "record.mjs")); err != nil {
		return fmt.Errorf("the recorders are not there, name their folder with -shared: %w", err)
	}
	temp, err := os.MkdirTemp("", "vectors")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	if o.worker, err = npm.Worker(ctx, o.worker, temp); err != nil {
		return err
	}
	dir := filepath.Join(module, "interop", "mediasoup-suite") // whose packages the recorders need
	if err := npm.Install(ctx, dir); err != nil {
		return err
	}
	r := &recorder{ctx: ctx, dir: dir, options: o}
	bad := 0
	for _, kind := range []string{"control", "media"} {
		if o.only != "" && o.only != kind {
			continue
		}
		found, scenarios, err := r.differences(kind, filepath.Join(temp, kind), match)
		if err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
		n := report(w, kind, found, known, o.match == "", o.verbose)
		fmt.Fprintf(w, "%s: %d scenarios, %d differences, %d of them unknown or gone\n", kind, scenarios, len(found), n)
		bad += n
	}
	if bad > 0 {
		return errors.New("not as recorded")
	}
	return nil
}

// A recorder runs the recorders.
type recorder struct {
	ctx context.Context
	dir string
	options
}

// maxRecording bounds one run of a recorder.
const maxRecording = 15 * time.Minute

// differences records one kind into out and returns what is not as recorded.
func (r *recorder) differences(kind, out string, match *regexp.Regexp) (found []difference, scenarios int, err error) {
	from := filepath.Join(r.shared, kind)
	if kind == "control" {
		args := []string{filepath.Join(from, "record.mjs"), out}
		if r.match != "" {
			args = append(args, r.match)
		}
		if _, err := r.node(args...); err != nil {
			return nil, 0, err
		}
		return compareControl(filepath.Join(from, "recorded"), out, match)
	}
	if _, err := r.node(filepath.Join(from, "record.mjs"), "--out", out, "--runs", "1", "--jobs", strconv.Itoa(r.jobs)); err != nil {
		return nil, 0, err
	}
	// Its status says that there are differences.
	text, err := r.node(filepath.Join(from, "compare.mjs"), filepath.Join(from, "recorded"), out, "--slack", strconv.Itoa(r.slack))
	if len(text) == 0 && err != nil {
		return nil, 0, err
	}
	return mediaDifferences(string(text), match)
}

// node runs a script and returns what it wrote to standard output.
func (r *recorder) node(args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(r.ctx, maxRecording)
	defer cancel()
	cmd := exec.CommandContext(ctx, npm.Node(r.dir), args...)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), "MEDIASOUP_WORKER_BIN="+r.worker, "MEDIASOUP_NODE_DIR="+r.dir, "MEDIASOUP_FROM="+r.dir)
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.Output()
	if err != nil {
		text := ""
		if e := (*exec.ExitError)(nil); errors.As(err, &e) {
			text = string(e.Stderr)
		}
		return out, fmt.Errorf("%s: %w\n%s", filepath.Base(args[0]), err, text)
	}
	return out, nil
}
