// All runs every benchmark below bench, one after the other, and prints one JSON
// object with what each of them printed, a [report]. It takes less than ten
// minutes. It runs where the module is.
//
//	go run ./bench/all -json
//	go run ./bench/all -json -doc docs/performance.md
//	go run ./bench/all -from figures.json -doc docs/performance.md
//
// -doc writes the tables of a document from it, between two marks, if every
// benchmark had figures; else the document stays as it was.
package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/mafalda-sfu/mafalda/bench/internal/harness"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := all(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "all:", err)
		os.Exit(1)
	}
}

func all(ctx context.Context, args []string, out io.Writer) error {
	f := flag.NewFlagSet("all", flag.ContinueOnError)
	line := f.Bool("json", false, "print the JSON in one line; else it is indented")
	doc := f.String("doc", "", "write the tables of this document")
	from := f.String("from", "", "take the figures from this file instead of running anything")
	only := f.String("only", "", "run only those whose name begins with this")
	limit := f.Duration("limit", 10*time.Minute, "end after this time, up to 1h")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *doc != "" && *only != "" {
		return errors.New("-doc takes all runs, not -only some")
	}
	if f.NArg() > 0 || *limit <= 0 || *limit > time.Hour {
		return fmt.Errorf("unknown argument %q, or a limit of %v", f.Args(), *limit)
	}
	ctx, cancel := context.WithTimeout(ctx, *limit)
	defer cancel()
	r := &report{}
	if *from != "" {
		b, err := os.ReadFile(*from)
		if err == nil {
			err = json.Unmarshal(b, r)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", *from, err)
		}
	} else {
		var err error
		if r, err = measure(ctx, *only); err != nil {
			return err
		}
		r.Command = strings.Join(append([]string{"go run ./bench/all"}, args...), " ")
	}
	var undocumented error
	if *doc != "" {
		undocumented = writeDocument(*doc, r)
	}
	if *from == "" || *doc == "" {
		e := json.NewEncoder(out)
		if !*line {
			e.SetIndent("", "  ")
		}
		if err := e.Encode(r); err != nil {
			return err
		}
	}
	var failed []string
	for _, o := range r.Runs {
		if o.Error != "" {
			failed = append(failed, o.Name)
		}
	}
	if len(failed) > 0 {
		return errors.Join(undocumented, fmt.Errorf("failed: %s", strings.Join(failed, ", ")))
	}
	return undocumented
}

// measure builds the benchmarks and runs them.
func measure(ctx context.Context, only string) (*report, error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	began := time.Now()
	r := &report{Machine: thisMachine(ctx)}
	built := map[string]error{}
	for _, s := range sections {
		for _, run := range s.Runs {
			if !strings.HasPrefix(run.Name, only) {
				continue
			}
			name := run.Command[0]
			if _, ok := built[name]; !ok {
				built[name] = build(ctx, dir, name)
			}
			o := outcome{Name: run.Name, Command: "go run ./bench/" + strings.Join(run.Command, " ")}
			start := time.Now()
			err := built[name]
			if err == nil {
				o.Result, o.Others, err = execute(ctx, filepath.Join(dir, name), run.Command[1:])
			}
			if status, ok := errors.AsType[*exec.ExitError](err); ok && status.ExitCode() == harness.ExitUnavailable {
				o.LeftOut = err.Error()
			} else if err != nil {
				o.Error = err.Error()
			}
			o.Seconds = time.Since(start).Round(100 * time.Millisecond).Seconds()
			fmt.Fprintf(os.Stderr, "%-18s %5.1f s  others %.1f  %s\n", o.Name, o.Seconds, o.Others, cmp.Or(o.Error, o.LeftOut))
			r.Runs = append(r.Runs, o)
		}
	}
	r.Seconds = time.Since(began).Round(time.Second).Seconds()
	return r, nil
}

// build puts the command of bench/name into dir. What has a module of its own is
// built there.
func build(ctx context.Context, dir, name string) error {
	c := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(dir, name), ".")
	c.Dir = filepath.Join("bench", name)
	if b, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w\n%s", name, err, b)
	}
	return nil
}

// execute runs a command and returns the last line of what it prints, and how
// many cores other work had.
func execute(ctx context.Context, file string, args []string) (json.RawMessage, float64, error) {
	c := exec.CommandContext(ctx, file, args...)
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) } // it ends its own processes
	c.WaitDelay = 5 * time.Second
	var out, said bytes.Buffer
	c.Stdout, c.Stderr = &out, &said
	busy, start := busyCPU(), time.Now()
	err := c.Run()
	busy = busyCPU() - busy
	if s := c.ProcessState; s != nil { // with what it has waited for
		busy -= s.UserTime() + s.SystemTime()
	}
	others := max(busy.Seconds()/time.Since(start).Seconds(), 0)
	var last []byte
	for s := bufio.NewScanner(&out); s.Scan(); {
		last = bytes.Clone(s.Bytes())
	}
	if !json.Valid(last) {
		last = nil
		if err == nil {
			err = fmt.Errorf("its last line is no JSON")
		}
	}
	if err != nil {
		err = fmt.Errorf("%w: %s", err, strings.TrimSpace(said.String()))
	}
	return last, math.Round(others*10) / 10, err
}

// busyCPU is what all cores have worked since the machine began, for whomever;
// what a host took away from it counts. It is 0 where there is no /proc.
func busyCPU() time.Duration {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	// proc(5): user nice system idle iowait irq softirq steal, in hundredths.
	first, _, _ := strings.Cut(string(b), "\n")
	var ticks time.Duration
	for i, f := range strings.Fields(first) {
		if i == 0 || i == 4 || i == 5 || i > 8 {
			continue
		}
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0
		}
		ticks += time.Duration(n)
	}
	return ticks * 10 * time.Millisecond
}

func thisMachine(ctx context.Context) machine {
	m := machine{Date: time.Now().UTC().Format(time.DateOnly), Go: runtime.Version(), CPUs: runtime.NumCPU(), CPU: runtime.GOARCH}
	output := func(name string, args ...string) string {
		b, err := exec.CommandContext(ctx, name, args...).Output()
		if err != nil {
			return "unknown"
		}
		return strings.TrimSpace(string(b))
	}
	m.Commit = output("git", "describe", "--always", "--dirty", "--exclude=*")
	m.Kernel = output("uname", "-sr")
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, after, ok := strings.Cut(string(b), "model name"); ok {
			name, _, _ := strings.Cut(after, "\n")
			m.CPU = strings.TrimSpace(strings.TrimLeft(name, "\t: "))
		}
	}
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		m.Load = strings.Join(strings.Fields(string(b))[:3], " ")
	}
	m.Modules = map[string]string{}
	for l := range strings.Lines(output("go", "list", "-m", "-f", "{{.Path}} {{.Version}}", "all")) {
		if path, version, _ := strings.Cut(strings.TrimSpace(l), " "); strings.HasPrefix(path, "github.com/pion/") {
			m.Modules[path] = version
		}
	}
	return m
}
