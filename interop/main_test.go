package interop

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"testing"
)

var (
	programs = flag.Bool("interop", false, "run the tests with browsers and media programs")
	long     = flag.Bool("long", false, "run also what takes long")
)

// needPrograms skips the test unless it was asked for and all programs are
// there. In CI a missing one is a failure.
func needPrograms(t *testing.T, names ...string) {
	t.Helper()
	if !*programs {
		t.Skip("needs programs; run: go test -v ./interop -args -interop")
	}
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			missing(t, name)
		}
	}
}

// needFiles does the same for files.
func needFiles(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := os.Stat(name); err != nil {
			missing(t, name)
		}
	}
}

// needElements does the same for elements of GStreamer.
func needElements(t *testing.T, names ...string) {
	t.Helper()
	needPrograms(t, "gst-launch-1.0", "gst-inspect-1.0")
	for _, name := range names {
		if exec.Command("gst-inspect-1.0", "--exists", name).Run() != nil {
			missing(t, "GStreamer's "+name)
		}
	}
}

// missing skips the test because something is not installed, and fails it in CI.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is missing; .ci/install installs it", what)
	}
	t.Skipf("%s is missing; .ci/install installs it", what)
}

// figures prints one line of what a test measured.
func figures(format string, args ...any) {
	fmt.Printf("interop: "+format+"\n", args...)
}
