//go:build unix

package main

import (
	"os/signal"
	"syscall"
)

// ignoreSignals ignores what mediasoup-worker ignores.
func ignoreSignals() {
	signal.Ignore(syscall.SIGPIPE, syscall.SIGHUP, syscall.SIGALRM, syscall.SIGUSR1, syscall.SIGUSR2)
}
