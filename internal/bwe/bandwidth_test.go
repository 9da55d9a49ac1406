package bwe

import (
	"bytes"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	update = flag.Bool("update", false, "write docs/bandwidth.md and its plots")
	long   = flag.Bool("long", false, "run each scenario with many seeds")
)

const docs = "../../docs"

// variants are the runs of each scenario: what one lucky seed passes is worth
// nothing.
var variants = []variant{
	{1, 300 * time.Millisecond},
	{2, 100 * time.Millisecond},
	{3, 300 * time.Millisecond},
	{4, 100 * time.Millisecond},
}

// outcome is the worst of all runs for a gate.
type outcome struct {
	gate
	worst variant
}

func worse(a, b gate) bool {
	if a.most {
		return a.value > b.value
	}
	return a.value < b.value
}

// TestScenarios runs the scenarios in virtual time and compares with the
// gates. With -update it writes down what came out; without it, what is
// written down must be what comes out.
func TestScenarios(t *testing.T) {
	runs := variants
	if *long {
		runs = nil
		for seed := range uint64(30) {
			runs = append(runs, variant{seed + 1, []time.Duration{300, 100, 200, 500}[seed%4] * time.Millisecond})
		}
	}
	var table strings.Builder
	for i := range scenarios {
		s := &scenarios[i]
		t.Run(s.name, func(t *testing.T) {
			var all []outcome
			for n, v := range runs {
				r := s.run(v)
				if n == 0 && !*long {
					checkDoc(t, filepath.Join("bandwidth", s.name+".svg"), plot(s, r))
				}
				for k, g := range s.gates(r) {
					assert.True(t, g.passed(), "seed %d, queue %v: %s", v.seed, v.queue, g)
					if k == len(all) {
						all = append(all, outcome{g, v})
					} else if worse(g, all[k].gate) {
						all[k] = outcome{g, v}
					}
				}
			}
			for k, o := range all {
				t.Logf("worst: seed %d, queue %v: %s", o.worst.seed, o.worst.queue, o.gate)
				about := ""
				if k == 0 {
					about = fmt.Sprintf("[%s](bandwidth/%s.svg)", s.about, s.name)
				}
				table.WriteString(row(about, o.gate))
			}
		})
	}
	if !t.Failed() && !*long && strings.Count(table.String(), ".svg") == len(scenarios) {
		page, err := os.ReadFile(filepath.Join(docs, "bandwidth.md"))
		require.NoError(t, err)
		checkDoc(t, "bandwidth.md", replaceTable(t, page, table.String()))
	}
}

func row(about string, g gate) string {
	sign, passed := "≥", "yes"
	if g.most {
		sign = "≤"
	}
	if !g.passed() {
		passed = "NO"
	}
	return fmt.Sprintf("| %s | %s | %s%s | %s %s%s | %s |\n", about, g.what, number(g.value), g.unit, sign, number(g.bound), g.unit, passed)
}

func number(v float64) string {
	if v == math.Trunc(v) || v >= 100 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

const (
	tableBegin = "<!-- table: written by go test ./internal/bwe -run Scenarios -update -->\n"
	tableEnd   = "<!-- end of table -->\n"
)

func replaceTable(t *testing.T, page []byte, table string) []byte {
	t.Helper()
	head, rest, ok := bytes.Cut(page, []byte(tableBegin))
	require.True(t, ok, "no table in bandwidth.md")
	_, tail, ok := bytes.Cut(rest, []byte(tableEnd))
	require.True(t, ok, "no end of the table in bandwidth.md")
	table = "| scenario | what | worst of four runs | gate | passed |\n| --- | --- | --- | --- | --- |\n" + table
	return []byte(string(head) + tableBegin + table + tableEnd + string(tail))
}

// checkDoc compares a file of docs with what it has to be, or writes it.
func checkDoc(t *testing.T, name string, want []byte) {
	t.Helper()
	file := filepath.Join(docs, filepath.FromSlash(name))
	if *update {
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, want, 0o644))
		return
	}
	if runtime.GOARCH != "amd64" {
		return // others may round differently: fused multiply and add
	}
	got, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(got, want), "%s is not what comes out now: run go test ./internal/bwe -run Scenarios -update", name)
}
