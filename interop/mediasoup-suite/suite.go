package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mafalda-sfu/mafalda/interop/npm"
)

// suiteTests is how many tests mediasoup 3.27.1 has.
const suiteTests = 202

// A result is what jest writes with --json.
type result struct {
	Tests  int        `json:"numTotalTests"`
	Passed int        `json:"numPassedTests"`
	Failed int        `json:"numFailedTests"`
	Files  []testFile `json:"testResults"`
}

type testFile struct {
	Name    string     `json:"name"`
	Start   int64      `json:"startTime"` // ms
	End     int64      `json:"endTime"`
	Message string     `json:"message"` // why the file did not load, among others
	Tests   []testCase `json:"assertionResults"`
}

type testCase struct {
	Name     string   `json:"fullName"`
	Status   string   `json:"status"` // "passed", "failed", else it did not run
	Messages []string `json:"failureMessages"`
}

// suite runs all files once.
func suite(ctx context.Context, dir, temp string, o options) (*result, error) {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	match := []string{"**/test-*.js"}
	config, err := json.Marshal(map[string]any{
		"rootDir":                filepath.Join(dir, "node_modules", "mediasoup", "node", "lib", "test"),
		"testMatch":              match,
		"testPathIgnorePatterns": []string{}, // by default node_modules
		"haste":                  map[string]bool{"retainAllFiles": true},
		"transform":              map[string]string{},
		"testEnvironment":        "node",
		"cacheDirectory":         filepath.Join(temp, "cache"),
	})
	if err != nil {
		return nil, err
	}
	out := filepath.Join(temp, "result.json")
	_ = os.Remove(out)
	args := []string{
		filepath.Join("node_modules", "jest", "bin", "jest.js"),
		"--config", string(config), "--runInBand", "--silent", "--json", "--outputFile", out,
	}
	if o.tests != "" {
		args = append(args, "--testNamePattern", o.tests)
	}
	if o.files != "" {
		args = append(args, "--testPathPatterns", o.files)
	}
	cmd := exec.CommandContext(ctx, npm.Node(dir), args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "MEDIASOUP_WORKER_BIN="+o.worker)
	cmd.WaitDelay = 5 * time.Second
	text, runErr := cmd.CombinedOutput() // an error also when a test failed
	if ctx.Err() != nil {
		return nil, fmt.Errorf("the suite did not end: %w\n%s", ctx.Err(), text)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		return nil, fmt.Errorf("the suite left no result: %w\n%s", runErr, text)
	}
	r := new(result)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("result: %w", err)
	}
	return r, nil
}

// problem says what is wrong with a run; empty: nothing. all is whether the
// whole suite was to run.
func (r *result) problem(all bool) string {
	ran := r.Passed + r.Failed
	switch {
	case r.Failed > 0:
		return fmt.Sprintf("%d failed", r.Failed)
	case all && ran != suiteTests:
		return fmt.Sprintf("%d of %d ran", ran, suiteTests)
	case all && r.Tests != ran:
		return fmt.Sprintf("%d skipped", r.Tests-ran)
	case ran == 0:
		return "no test ran"
	}
	for _, f := range r.Files {
		if len(f.Tests) == 0 {
			return filepath.Base(f.Name) + " did not load"
		}
	}
	return ""
}

// print writes a line for each file, those tests that did not pass, and the
// totals.
func (r *result) print(w io.Writer, verbose bool) {
	slices.SortFunc(r.Files, func(a, b testFile) int { return strings.Compare(a.Name, b.Name) })
	for _, f := range r.Files {
		count := map[string]int{}
		for _, t := range f.Tests {
			count[t.Status]++
		}
		fmt.Fprintf(w, "%-32s %3d passed %3d failed %3d skipped %6.1f s\n", filepath.Base(f.Name), count["passed"], count["failed"],
			len(f.Tests)-count["passed"]-count["failed"], float64(f.End-f.Start)/1000)
		if len(f.Tests) == 0 {
			fmt.Fprintln(w, indent(f.Message))
		}
		for _, t := range f.Tests {
			if t.Status != "failed" {
				continue
			}
			fmt.Fprintf(w, "    %s\n", t.Name)
			for _, m := range t.Messages {
				if !verbose {
					m, _, _ = strings.Cut(m, "\n    at ")
				}
				fmt.Fprintln(w, indent(m))
			}
		}
	}
	fmt.Fprintf(w, "%d passed, %d failed, %d skipped\n", r.Passed, r.Failed, r.Tests-r.Passed-r.Failed)
}

func indent(text string) string {
	return "        " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n        ")
}
