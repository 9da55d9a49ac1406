package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
)

// What is between these lines of a document is written from a report.
const (
	beginMark = "<!-- figures: go run ./bench/all -doc writes what follows -->"
	endMark   = "<!-- end of figures -->"
)

// writeDocument leaves the document as it is if a run has no figures.
func writeDocument(file string, r *report) error {
	var missing []string
	for _, s := range sections {
		for _, run := range s.Runs {
			if o := r.outcome(run.Name); o == nil || len(o.Result) == 0 && o.LeftOut == "" {
				missing = append(missing, run.Name)
			}
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%s stays as it was: no figures of %s", file, strings.Join(missing, ", "))
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(b), beginMark+"\n")
	_, after, ok2 := strings.Cut(rest, endMark+"\n")
	if !ok || !ok2 {
		return fmt.Errorf("%s has no lines %q and %q", file, beginMark, endMark)
	}
	return os.WriteFile(file, []byte(before+beginMark+"\n\n"+tables(r)+endMark+"\n"+after), 0o644)
}

// tables writes what a report tells.
func tables(r *report) string {
	var b strings.Builder
	m := &r.Machine
	fmt.Fprintf(&b, "`%s`\non %s: %d cores of %s, %s, %s, commit %s; load before it began: %s.\nIt took %.0f s.\n"+
		"`others` is how many cores other work on the machine had meanwhile.\n\n",
		r.Command, m.Date, m.CPUs, m.CPU, m.Kernel, m.Go, m.Commit, m.Load, r.Seconds)
	if len(m.Modules) > 0 {
		fmt.Fprintf(&b, "With %s.\n\n", versionList(m.Modules))
	}
	for _, s := range sections {
		s.write(&b, r)
	}
	writeStages(&b, r)
	return b.String()
}

func (s *section) write(b *strings.Builder, r *report) {
	fmt.Fprintf(b, "### %s\n\n%s\n\n|", s.Title, s.Text)
	heads := []string{"command"}
	for _, c := range s.Columns {
		heads = append(heads, c.Head)
	}
	heads = append(heads, "others")
	var notes []string
	fmt.Fprintf(b, " %s |\n|%s\n", strings.Join(heads, " | "), strings.Repeat(" --- |", len(heads)))
	for _, run := range s.Runs {
		o := r.outcome(run.Name)
		if o == nil {
			continue
		}
		cells := []string{o.short()}
		for _, c := range s.Columns {
			cells = append(cells, c.cell(o))
		}
		fmt.Fprintf(b, "| %s | %.1f |\n", strings.Join(cells, " | "), o.Others)
		if o.Error != "" {
			notes = append(notes, fmt.Sprintf("%s failed: %s.", o.short(), strings.Join(strings.Fields(o.Error), " ")))
		}
		if o.LeftOut != "" {
			notes = append(notes, fmt.Sprintf("%s was left out: %s.", o.short(), strings.Join(strings.Fields(o.LeftOut), " ")))
		}
		if v := o.versions(); len(v) > 0 {
			notes = append(notes, fmt.Sprintf("%s is of %s.", o.short(), versionList(v)))
		}
		if o.overLoopback() {
			notes = append(notes, fmt.Sprintf("%s went over loopback, for lack of a privilege: its figures can't be compared.", o.short()))
		}
	}
	b.WriteString("\n")
	for _, n := range notes {
		b.WriteString(n + "\n\n")
	}
}

// outcome returns that of the run of that name, or nil.
func (r *report) outcome(name string) *outcome {
	if i := slices.IndexFunc(r.Runs, func(o outcome) bool { return o.Name == name }); i >= 0 {
		return &r.Runs[i]
	}
	return nil
}

func (o *outcome) short() string { return "`" + strings.TrimPrefix(o.Command, "go run ./bench/") + "`" }

// overLoopback reports whether what was sent went to other sockets, not away.
func (o *outcome) overLoopback() bool {
	var v struct{ Sink string }
	return json.Unmarshal(o.Result, &v) == nil && v.Sink == "loopback"
}

// versions are those of the modules of what was measured, if it tells.
func (o *outcome) versions() map[string]string {
	var v struct{ Versions map[string]string }
	if json.Unmarshal(o.Result, &v) != nil {
		return nil
	}
	return v.Versions
}

// versionList tells versions of modules.
func versionList(modules map[string]string) string {
	list := slices.Sorted(maps.Keys(modules))
	for i, path := range list {
		list[i] = strings.TrimPrefix(path, "github.com/") + " " + modules[path]
	}
	return strings.Join(list, ", ")
}

func (c *column) cell(o *outcome) string {
	v, ok := number(o.Result, c.Path)
	if !ok {
		return "–"
	}
	if c.Factor != 0 {
		v *= c.Factor
	}
	return grouped(strconv.FormatFloat(v, 'f', c.Digits, 64))
}

// number finds a figure by its path.
func number(result json.RawMessage, path string) (float64, bool) {
	var v any
	if json.Unmarshal(result, &v) != nil {
		return 0, false
	}
	for name := range strings.SplitSeq(path, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return 0, false
		}
		v = m[name]
	}
	f, ok := v.(float64)
	return f, ok
}

// grouped puts a comma before each third digit of the whole part.
func grouped(s string) string {
	whole, fraction, point := strings.Cut(s, ".")
	sign := ""
	if strings.HasPrefix(whole, "-") {
		sign, whole = "-", whole[1:]
	}
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if point {
		whole += "." + fraction
	}
	return sign + whole
}

// stages are in the order in which a packet passes them; bench/internal/harness
// says what each is.
var stages = []string{"wait", "receive", "open", "parse", "route", "rewrite", "seal", "send", "feedback", "timers", "runtime"}

func writeStages(b *strings.Builder, r *report) {
	fmt.Fprintf(b, "### Where the time goes\n\nNanoseconds of each stage, by a profile.\n\n| run | %s |\n|%s\n",
		strings.Join(stages, " | "), strings.Repeat(" --- |", len(stages)+1))
	for _, name := range explained {
		o := r.outcome(name)
		if o == nil {
			continue
		}
		cells := []string{o.short()}
		for _, s := range stages {
			c := column{Path: "explained.stages." + s}
			cells = append(cells, c.cell(o))
		}
		fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | "))
	}
	b.WriteString("\n")
}
