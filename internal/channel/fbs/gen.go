//go:build ignore

// This program writes the Go code of channel.fbs. It needs flatc 2.0.8 (Debian's
// flatbuffers-compiler).
//
// What flatc 2.0.8 generates packs an absent string as an empty one, which the
// readers of mediasoup tell apart: an optional string is left out here when it
// is empty.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"go/format"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

var out = flag.String("o", "channel.go", "file to write")

func main() {
	log.SetFlags(0)
	flag.Parse()
	if err := generate(); err != nil {
		log.Fatal(err)
	}
}

func generate() error {
	dir, err := os.MkdirTemp("", "fbs")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	cmd := exec.Command("flatc", "--go", "--gen-object-api", "--gen-onefile", "--go-namespace", "fbs", "-o", dir, "channel.fbs")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("flatc: %w", err)
	}
	schema, err := os.ReadFile("channel.fbs")
	if err != nil {
		return err
	}
	code, err := os.ReadFile(filepath.Join(dir, "channel_generated.go"))
	if err != nil {
		return err
	}
	if code, err = format.Source(leaveOut(code, optionalStrings(schema))); err != nil {
		return err
	}
	return os.WriteFile(*out, code, 0o644)
}

var (
	table  = regexp.MustCompile(`(?m)^table (\w+) \{\n((?:.*\n)*?)\}`)
	field  = regexp.MustCompile(`(?m)^  (\w+): string;`)
	pack   = regexp.MustCompile(`^func \(t \*(\w+)T\) Pack\(`)
	create = regexp.MustCompile(`^\t(\w+Offset) := builder\.CreateString\(t\.(\w+)\)$`)
)

// optionalStrings returns the strings that may be absent, as Table.GoName.
func optionalStrings(schema []byte) map[string]bool {
	optional := map[string]bool{}
	for _, t := range table.FindAllSubmatch(schema, -1) {
		for _, f := range field.FindAllSubmatch(t[2], -1) {
			var name strings.Builder
			for word := range strings.SplitSeq(string(f[1]), "_") {
				name.WriteString(strings.ToUpper(word[:1]) + word[1:])
			}
			optional[string(t[1])+"."+name.String()] = true
		}
	}
	return optional
}

// leaveOut makes Pack leave out those strings when they are empty.
func leaveOut(code []byte, optional map[string]bool) []byte {
	var b bytes.Buffer
	var inside string
	done := 0
	for line := range strings.Lines(string(code)) {
		if m := pack.FindStringSubmatch(line); m != nil {
			inside = m[1]
		}
		if m := create.FindStringSubmatch(strings.TrimSuffix(line, "\n")); m != nil && optional[inside+"."+m[2]] {
			fmt.Fprintf(&b, "\t%s := flatbuffers.UOffsetT(0)\n\tif t.%s != \"\" {\n\t\t%[1]s = builder.CreateString(t.%[2]s)\n\t}\n", m[1], m[2])
			done++
			continue
		}
		b.WriteString(line)
	}
	if done != len(optional) {
		log.Fatalf("%d of %d optional strings found", done, len(optional))
	}
	return b.Bytes()
}
