//go:build !linux

// Fanout measures the fan-out of one stream. It needs Linux.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "bench/fanout needs Linux: it counts the CPU time of system calls that others don't have")
	os.Exit(1)
}
