// Seam plays one script of calls on mafalda three times and compares what came
// of each call: through npm's mediasoup 3.27.1 on cmd/mafalda-worker, through
// the Go API with the Worker in this process, and through the Go API with the
// Worker in a process of its own.
//
//	go run ./interop/seam              # builds cmd/mafalda-worker
//	go run ./interop/seam -worker BIN
//	go run ./interop/seam -v           # shows the known differences too
//
// Compared are results, classes of errors, getters, dumps, stats, and all events
// of all objects with what they carry, in their order, as JSON. What differs from
// run to run (ids, ports, random SSRCs, times, bit rates) is replaced by how often
// something new of its kind had come before. Differences that are meant stand in known.txt,
// each with its reason, and in rules.go. The status is 0 when there are no others and each of
// those was seen.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/mafalda-sfu/mafalda/interop/npm"
)

func main() {
	worker := flag.String("worker", "", "worker binary; default: build cmd/mafalda-worker")
	verbose := flag.Bool("v", false, "show known differences too")
	logs := flag.String("log", "", "folder for what each side logged, as it is")
	flag.Parse()
	if flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Stdout, *worker, *logs, *verbose)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "seam:", err)
		os.Exit(1)
	}
}

// maxRun bounds one playing of the script.
const maxRun = 3 * time.Minute

func run(ctx context.Context, w io.Writer, worker, logs string, verbose bool) error {
	script, err := loadScript()
	if err != nil {
		return err
	}
	known, err := parseKnown(knownText)
	if err != nil {
		return err
	}
	temp, err := os.MkdirTemp("", "seam")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	if worker, err = npm.Worker(ctx, worker, temp); err != nil {
		return err
	}
	played := map[string][]entry{}
	for _, side := range []struct {
		name string
		play func(context.Context) ([]entry, error)
	}{
		{"npm", func(ctx context.Context) ([]entry, error) { return playNode(ctx, script, worker, temp) }},
		{"go", func(ctx context.Context) ([]entry, error) { return play(ctx, script, "") }},
		{"process", func(ctx context.Context) ([]entry, error) { return play(ctx, script, worker) }},
	} {
		ctx, cancel := context.WithTimeout(ctx, maxRun)
		log, err := side.play(ctx)
		cancel()
		if logs != "" && log != nil {
			err = errors.Join(err, writeLog(filepath.Join(logs, side.name+".json"), script, log))
		}
		if err == nil {
			err = asExpected(script, log)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", side.name, err)
		}
		played[side.name] = log
	}
	bad := applyRules(w, played)
	for _, pair := range [][2]string{{"npm", "go"}, {"go", "process"}} {
		found, err := compare(script, played[pair[0]], played[pair[1]])
		if err != nil {
			return err
		}
		n := report(w, pair, found, known, verbose)
		fmt.Fprintf(w, "%s and %s: %d steps, %d differences (%d known)\n", pair[0], pair[1], len(script), n, len(found)-n)
		bad += n
	}
	if n := unseen(w, known); n+bad > 0 {
		return errors.New("not the same")
	}
	return nil
}

// writeLog writes a log with its steps, one on each line.
func writeLog(file string, script []step, log []entry) error {
	var b bytes.Buffer
	for i := range log {
		fmt.Fprintf(&b, "%s %s %s\n", title(i, &script[i]), text(script[i].Args), text(log[i]))
	}
	return os.WriteFile(file, b.Bytes(), 0o644)
}

// playNode plays the script through npm's mediasoup.
func playNode(ctx context.Context, script []step, worker, temp string) ([]entry, error) {
	module, err := npm.Module(ctx)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(module, "interop", "mediasoup-suite") // which has the package
	if err := npm.Install(ctx, dir); err != nil {
		return nil, err
	}
	steps, err := json.Marshal(script)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(temp, "steps.json")
	if err := os.WriteFile(file, steps, 0o644); err != nil {
		return nil, err
	}
	var out, text bytes.Buffer
	cmd := exec.CommandContext(ctx, npm.Node(dir), filepath.Join(module, "interop", "seam", "play.mjs"), file)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "MEDIASOUP_WORKER_BIN="+worker)
	cmd.Stdout, cmd.Stderr = &out, &text
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("play.mjs: %w\n%s", err, text.Bytes())
	}
	return readLog(out.Bytes())
}
