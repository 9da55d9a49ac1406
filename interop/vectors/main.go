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
	"strings"
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
	keep           string // folder for what is recorded
	verbose        bool
}

// longest bounds all of it.
const longest = 6 * time.Minute

func main() {
	var o options
	flag.StringVar(&o.worker, "worker", "", "worker binary; default: build cmd/mafalda-worker")
	flag.StringVar(&o.shared, "shared", "", "folder with the recorders; default: ../shared/vectors beside the module")
	flag.StringVar(&o.only, "only", "", "control or media; default: both")
	flag.StringVar(&o.match, "match", "", "scenarios that match this regular expression only; known differences may be missing then")
	flag.IntVar(&o.jobs, "jobs", 10, "media scenarios at a time")
	flag.IntVar(&o.slack, "slack", 150, "ms by which media may come at another time")
	flag.StringVar(&o.keep, "keep", "", "folder to leave what is recorded in, as new folders control and media")
	flag.BoolVar(&o.verbose, "v", false, "show known differences too")
	flag.Parse()
	if flag.NArg() > 0 || o.only != "" && o.only != "control" && o.only != "media" {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	ctx, cancel := context.WithTimeout(ctx, longest)
	err := run(ctx, os.Stdout, o)
	cancel()
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
	r := &recorder{ctx: ctx, w: w, dir: dir, scenarios: match, options: o}
	bad := 0
	for _, kind := range []string{"control", "media"} {
		if o.only != "" && o.only != kind {
			continue
		}
		out := o.keep
		if out == "" {
			out = temp
		}
		results, err := r.results(kind, filepath.Join(out, kind), known)
		if err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
		n, found := report(w, kind, results, known, o.match == "", o.verbose), 0
		for _, x := range results {
			found += len(x.found)
		}
		fmt.Fprintf(w, "%s: %d scenarios, %d differences, %d of them unknown or gone\n", kind, len(results), found, n)
		bad += n
	}
	if bad > 0 {
		return errors.New("not as recorded")
	}
	return nil
}

// A recorder runs the recorders.
type recorder struct {
	ctx       context.Context
	w         io.Writer
	dir       string
	scenarios *regexp.Regexp
	options
}

const (
	// tardy is by how many ms something may come late because the machine was busy
	// with something else: what is sent then is no longer what was to be sent.
	tardy = 15
	// repeats is how often a scenario is recorded again that was held up.
	repeats = 6
	// patience is for how many ms events of a call are waited for at last.
	patience = 200
)

// results records one kind into out, a new folder, and compares it with what was
// recorded. Media that is not as recorded, and was held up, is recorded again.
func (r *recorder) results(kind, out string, known []*knownDifference) ([]result, error) {
	want := filepath.Join(r.shared, kind, "recorded")
	if err := os.Mkdir(out, 0o755); err != nil {
		return nil, err
	}
	if kind == "control" {
		return r.control(want, out, known)
	}
	compare := func(scenario, want, got string) (result, error) {
		return compareMedia(scenario, want, got, float64(r.slack))
	}
	names, err := scenarios(want, r.scenarios)
	if err != nil {
		return nil, err
	}
	jobs := r.jobs
	for again := 0; ; again++ {
		if err := r.node("", filepath.Join(r.shared, kind, "record.mjs"), "--out", out, "--runs", "1",
			"--jobs", strconv.Itoa(jobs), "--only", strings.Join(names, ",")); err != nil {
			return nil, err
		}
		results, err := compareAll(want, out, r.scenarios, compare)
		if err != nil {
			return nil, err
		}
		late := heldUp(results, known)
		if len(late) == 0 || again == repeats {
			return results, nil
		}
		fmt.Fprintf(r.w, "media: held up, recorded again: %s\n", strings.Join(late, " "))
		names, jobs = late, max(1, jobs/2)
	}
}

// control records what the control-plane recorder does, and again what is not as
// recorded, waiting longer for the events that a call causes.
func (r *recorder) control(want, out string, known []*knownDifference) ([]result, error) {
	pattern := r.match
	for settle := 8; ; settle *= 5 { // ms
		args := []string{filepath.Join(r.shared, "control", "record.mjs"), out}
		if pattern != "" {
			args = append(args, pattern)
		}
		if err := r.node(fmt.Sprintf("SETTLE=%d", settle), args...); err != nil {
			return nil, err
		}
		results, err := compareAll(want, out, r.scenarios, compareControl)
		if err != nil {
			return nil, err
		}
		var names []string
		for _, x := range results {
			if x.unknown("control", known) {
				names = append(names, x.scenario)
			}
		}
		if len(names) == 0 || settle == patience {
			return results, nil
		}
		fmt.Fprintf(r.w, "control: recorded again, with more patience: %s\n", strings.Join(names, " "))
		pattern = "^(" + strings.Join(names, "|") + ")$"
	}
}

// heldUp returns the scenarios of media that are to be recorded again.
func heldUp(results []result, known []*knownDifference) (list []string) {
	for _, x := range results {
		if x.late > tardy && x.unknown("media", known) {
			list = append(list, x.scenario)
		}
	}
	return list
}

// node runs a script with a variable of its environment.
func (r *recorder) node(variable string, args ...string) error {
	cmd := exec.CommandContext(r.ctx, npm.Node(r.dir), args...)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), "MEDIASOUP_WORKER_BIN="+r.worker, "MEDIASOUP_NODE_DIR="+r.dir, "MEDIASOUP_FROM="+r.dir, variable)
	cmd.WaitDelay = 5 * time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(args[0]), errors.Join(err, r.ctx.Err()), out)
	}
	return nil
}
