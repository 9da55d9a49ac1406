//go:build !windows

package port

import "syscall"

var hopelessErrors = [...]error{syscall.EMFILE, syscall.ENFILE, syscall.EADDRNOTAVAIL}
